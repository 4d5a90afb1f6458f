//! Guards outside of the gateway: what they are asked, what they answer, and what becomes of it.
//!
//! Nothing here does I/O. A guard is asked about the texts of one JSON value ([`Texts`]) with [`questions`]; its answers are
//! read with [`opinions`], and carried out with [`apply`]. `docs/external-guards.md` is the contract.

mod answer;
mod apply;
mod classifier;
mod presidio;
mod question;
mod settings;
mod texts;

pub use answer::{Malformed, Opinion, Place, Verdict, opinions};
pub use apply::{Outcome, OutsideNoted, Stopped, apply};
pub use classifier::{ClassifierRule, ClassifierSettings};
pub use presidio::PresidioSettings;
pub use question::{About, Question, questions};
pub use settings::{Heard, OnFailure, OutsideKind, OutsideSettings};
pub use texts::{Piece, Texts, TooMuch};
