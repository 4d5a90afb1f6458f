//! Rules as data: what is looked for, written down in files. The phrases that are built in are in such a file too.

mod builtin;
mod phrase;
mod settings;

pub(crate) use builtin::PHRASES;
pub(crate) use phrase::{Phrase, Then};
pub use settings::{Examples, FileRule, PhraseSettings, Stronger, ThenSettings};
