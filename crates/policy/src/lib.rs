//! May they? Cedar policies over what the catalogue last knew of servers' tools.
//!
//! Nothing here does I/O or waits. Cedar's types never show.

mod again;
mod ask;
mod circumstances;
mod compile;
mod digest;
mod explain;
mod fit;
mod names;
mod plan;
mod profile;
mod quick;
mod rule;
mod rules;
mod schema;
mod set;
mod source;
mod text;
mod types;
mod uri;
mod uses;
mod value;
mod visible;
mod world;

pub use again::{Gap, Gaps};
pub use ask::{Ask, Scene, What};
pub use compile::{ANNOTATIONS, POLICIES_MAX, POLICY_BYTES_MAX};
pub use explain::{About, Condition, Explanation, Judged, Reading, Verdict};
pub use set::{PolicySet, RuleInfo, Untyped};
pub use source::{Finding, Level, Mode, Source, Sources};
pub use value::is_same as is_same_but_for_case;
pub use visible::Visible;
