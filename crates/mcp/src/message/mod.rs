//! One JSON-RPC message, scanned once.

mod change;
mod read;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use bytes::Bytes;

use crate::json::{self, JsonKind, Limits, Member, ScanError, Span};
use read::{Parts, Reading};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// A response with `result`.
    Result,
    /// A response with `error`.
    Error,
}

impl Kind {
    /// Whether it answers a request.
    pub const fn is_response(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }
}

/// One JSON-RPC message as MCP has them: never a batch, ids never null in requests, `params` and `result` always
/// objects. Members that the protocol does not know stay where they are.
///
/// Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    reading: Reading,
    parts: Parts,
}

/// Messages are equal if their bytes are.
impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Message {}

impl std::hash::Hash for Message {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.bytes.hash(state);
    }
}

#[derive(Clone, Debug)]
enum Method {
    /// A response.
    None,
    /// Stands in the message as it is meant, here without its quotes.
    Plain(Span),
    /// One of those that come often.
    Known(&'static str),
    /// Was written with escapes.
    Unescaped(Box<str>),
}

impl Message {
    /// Reads one message in one validating pass.
    ///
    /// # Errors
    /// The first fault in reading order; see [`json::Fault`]. A JSON array is a [`json::Fault::Batch`]: only 2025-03-26 has
    /// batches, and whoever takes them splits them with [`json::elements`] (after [`json::validate`]) and parses each
    /// element for itself.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, ScanError> {
        let mut parts = Parts::default();
        match read::read(&bytes, limits, &mut parts) {
            Ok(reading) => Ok(Self { bytes, reading, parts }),
            Err(stop) => Err(ScanError::new(stop, &bytes)),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.reading.kind
    }

    /// The whole message as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole message as it came.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The id: a JSON string or an integer; `null` only in error responses, which may also have none.
    pub fn id(&self) -> Option<Span> {
        self.reading.id
    }

    /// The id as raw JSON, sharing the message's bytes.
    pub fn id_raw(&self) -> Option<Bytes> {
        self.reading.id.map(|id| self.raw(id))
    }

    /// The id, if it is an unsigned integer that fits.
    pub fn id_u64(&self) -> Option<u64> {
        self.integer(self.reading.id?)
    }

    /// The method; empty for responses.
    pub fn method(&self) -> &str {
        match &self.reading.method {
            Method::None => "",
            Method::Plain(span) => std::str::from_utf8(span.of(&self.bytes)).unwrap_or_default(),
            Method::Known(method) => method,
            Method::Unescaped(method) => method,
        }
    }

    /// The body: the value of `params`, `result` or `error`, always an object. A request may have none.
    pub fn body(&self) -> Option<Span> {
        self.reading.body
    }

    /// The members of the body, in order.
    pub fn members(&self) -> &[Member] {
        &self.parts.members
    }

    /// The value of a member of the body.
    pub fn member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.parts.members, key)
    }

    /// The text of a member of the body, if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.member(key)?)
    }

    /// `_meta` of the body, if it is an object.
    pub fn meta(&self) -> Option<Span> {
        self.parts.meta
    }

    /// The members of `_meta`, in order; none if it is no object.
    pub fn meta_members(&self) -> &[Member] {
        &self.parts.meta_members
    }

    /// The value of a member of `_meta`.
    pub fn meta_member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.parts.meta_members, key)
    }

    /// The text of a member of `_meta`, if it is a string.
    pub fn meta_text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.meta_member(key)?)
    }

    /// The members of the envelope, in order.
    pub fn envelope(&self) -> &[Member] {
        &self.parts.envelope
    }

    /// The code of an error response, if it fits 64 bits.
    pub fn error_code(&self) -> Option<i64> {
        (self.reading.kind == Kind::Error).then(|| self.integer(self.member("code")?)).flatten()
    }

    /// What the value at `span` is.
    pub fn kind_of(&self, span: Span) -> JsonKind {
        json::kind_of(&self.bytes, span)
    }

    /// A part of the message, sharing its bytes.
    pub fn raw(&self, span: Span) -> Bytes {
        span.slice(&self.bytes)
    }

    fn value_of(&self, members: &[Member], key: &str) -> Option<Span> {
        let mut members = members.iter();
        let found = if self.reading.has_escaped_keys {
            members.find(|member| member.key_is(&self.bytes, key))
        } else {
            // Between its quotes.
            let is_key =
                |raw: &[u8]| raw.len() == key.len() + 2 && raw.get(1..=key.len()) == Some(key.as_bytes());
            members.find(|member| is_key(member.key.of(&self.bytes)))
        };
        found.map(|member| member.value)
    }

    fn integer<T: std::str::FromStr>(&self, value: Span) -> Option<T> {
        std::str::from_utf8(value.of(&self.bytes)).ok()?.parse().ok()
    }
}
