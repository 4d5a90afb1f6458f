//! What is on the wire: JSON-RPC envelopes of every revision of the Model Context Protocol, the header rules of
//! 2026-07-28, Server-Sent Events and stdio framing.
//!
//! Nothing here does I/O. A message is scanned once ([`Message::parse`]), read in place, and changed by splices into
//! its original bytes ([`Edit`]), so members that nobody here knows survive to the letter and numbers keep their
//! digits. Whatever two readers could understand differently is refused: duplicate member names at any depth, lone
//! surrogates, bytes after the message.

pub mod codes;
pub mod compose;
mod edit;
mod gathered;
pub mod headers;
pub mod json;
pub mod lines;
mod log_level;
mod message;
pub mod meta;
pub mod methods;
mod peek;
#[cfg(test)]
mod properties;
mod segments;
pub mod sse;

pub use edit::{Change, Edit};
pub use gathered::Gathered;
pub use json::{Fault, JsonKind, Limits, Member, ScanError, Span};
pub use json::{canonical, elements, find, kind_of, members, numbers_equal, quote, text, validate};
pub use lines::{Line, LineDecoder, encode_line};
pub use log_level::{LogLevel, NoLogLevel};
pub use message::{Kind, Message};
pub use peek::peek_id;
pub use segments::Segments;
pub use sse::{SseDecoder, SseError, SseEvent, encode_comment, encode_event, encode_named, encode_priming};
