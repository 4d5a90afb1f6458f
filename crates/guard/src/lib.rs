//! Is what passes clean? Personal data, secrets and injections: found in texts and in JSON, and taken out. And is what servers define still what was
//! approved ([`pins`])?
//!
//! Nothing here does I/O. A [`Scanner`] finds in texts; a [`Guard`] walks JSON, and changes what has to be by splices: where nothing
//! is found, no byte is another. The time it takes grows with the length of a text alone, whatever the
//! text is.

mod action;
mod fold;
mod guard;
mod guards;
mod injection;
mod json;
mod neighbours;
pub mod outside;
mod own;
mod personal;
pub mod pins;
mod pseudonym;
mod rule;
pub mod rules;
mod scanner;
pub mod schema;
mod secret;
mod settings;
pub mod shape;
mod starters;
mod subject;
mod sweep;
mod text;

pub use action::Action;
pub use guard::{Guard, Inspection, Noted};
pub use guards::{Guards, Set};
pub use neighbours::{Neighbours, looks_like, skeleton};
pub use own::Pattern;
pub use pseudonym::{Pseudonyms, pseudonym, restored, written};
pub use rule::{Family, Finding, Rule, RuleSet, Severity};
pub use scanner::Scanner;
pub use settings::{
    Beyond, Bound, Direction, FieldSettings, GuardSettings, Mode, Overlay, Override, PatternSettings, Place,
    PseudonymSettings, redactions, usual_of_arguments, usual_of_definitions, usual_of_results,
};
pub use subject::{Reading, Subject};
