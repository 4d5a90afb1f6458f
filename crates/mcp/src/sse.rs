//! Server-Sent Events, decoded and encoded without I/O.

use std::borrow::Cow;

use bytes::Bytes;

use crate::Segments;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The event's type, if it names one.
    pub event: Option<Cow<'static, str>>,
    /// The data; empty also for a block that only carries an id or a retry time.
    pub data: Bytes,
    /// The id that this event sets.
    pub id: Option<String>,
    /// The reconnection time that this event sets, in milliseconds.
    pub retry: Option<u64>,
}

impl SseEvent {
    /// The event's type: `message` unless it says otherwise.
    pub fn event_type(&self) -> &str {
        self.event.as_deref().unwrap_or("message")
    }
}

/// An event could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// More bytes than one event may have. The rest of the event is skipped.
    #[error("an event is too large")]
    TooLarge {
        /// The first bytes of its data.
        head: Bytes,
        /// The raw id of the JSON-RPC message in it, where it could be found.
        id: Option<Bytes>,
    },
}

/// Decodes a stream of events, chunk by chunk: push a chunk, then take events until there are none.
#[derive(Debug)]
pub struct SseDecoder {
    event_bytes_max: usize,
}

impl SseDecoder {
    /// A decoder that keeps at most `event_bytes_max` bytes of one event.
    pub fn new(event_bytes_max: usize) -> Self {
        Self { event_bytes_max }
    }
    /// Takes in the next bytes of the stream.
    pub fn push(&mut self, chunk: Bytes) {
        let _ = (chunk, self.event_bytes_max);
    }
    /// Whether the stream, if it ended now, would end within an event.
    pub fn has_partial(&self) -> bool {
        false
    }
    /// The id that the stream last set, for `Last-Event-ID`.
    pub fn last_event_id(&self) -> Option<&str> {
        None
    }
}

impl Iterator for SseDecoder {
    type Item = Result<SseEvent, SseError>;
    fn next(&mut self) -> Option<Self::Item> {
        None
    }
}

/// Encodes a JSON-RPC message as one event.
pub fn encode_event(message: &Segments, _event_id: Option<&str>) -> Segments {
    message.clone()
}
/// Encodes an event of another type, such as `endpoint`.
pub fn encode_named(event: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {event}\ndata: {data}\n\n"))
}
/// Encodes an event with an id and no data, which lets a client resume before the first message (2025-11-25).
pub fn encode_priming(event_id: &str, retry_ms: Option<u64>) -> Bytes {
    let _ = retry_ms;
    Bytes::from(format!("id: {event_id}\ndata: \n\n"))
}
/// A comment: what keeps a silent stream alive.
pub fn encode_comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}
