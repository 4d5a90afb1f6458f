//! Text that is meant for the model and not for whoever asked.

mod ansi;
mod encoded;
mod hidden;
mod link;
mod phrase;
mod tag;

pub(crate) use ansi::ansi;
pub(crate) use encoded::{encoded, escapes};
pub(crate) use hidden::hidden;
pub(crate) use link::link;
pub(crate) use phrase::{Words, phrase, weigh};
pub(crate) use tag::{role, tag};
