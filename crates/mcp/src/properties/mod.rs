//! What must hold for any input.

mod edits;
mod framing;
mod generate;
mod headers;
mod messages;
mod reading;
mod reference;
