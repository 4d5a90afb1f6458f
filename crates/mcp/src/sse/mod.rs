//! Server-Sent Events, decoded and encoded without I/O (WHATWG HTML, section 9.2).

mod decode;
mod encode;

pub use decode::{SseDecoder, SseError, SseEvent};
pub use encode::{encode_comment, encode_event, encode_named, encode_priming};
