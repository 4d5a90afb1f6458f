//! May they? Cedar policies over what the catalogue last knew of servers' tools.
//!
//! Nothing here does I/O or waits. Cedar's types never show.

mod ask;
mod set;
mod source;

pub use ask::{Ask, Scene, What};
pub use set::{PolicySet, Visible};
pub use source::{Finding, Level, Mode, Source, Sources};
