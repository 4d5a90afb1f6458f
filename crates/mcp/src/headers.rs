//! HTTP headers of the protocol, and the rules for the values that 2026-07-28 mirrors from body to header.

use std::borrow::Cow;

use crate::json::Span;

/// The revision that a request speaks.
pub const MCP_PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The method of a request (2026-07-28).
pub const MCP_METHOD: &str = "mcp-method";
/// What a request names (2026-07-28); see [`crate::methods::name_param`].
pub const MCP_NAME: &str = "mcp-name";
/// The session (2025-03-26 to 2025-11-25).
pub const MCP_SESSION_ID: &str = "mcp-session-id";
/// The prefix of headers that mirror tool arguments (2026-07-28).
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// The last event that a resuming client saw (2025-03-26 to 2025-11-25).
pub const LAST_EVENT_ID: &str = "last-event-id";
/// Tells reverse proxies not to hold events back; its value is `no`.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
/// `Content-Type` of a single message.
pub const APPLICATION_JSON: &str = "application/json";
/// `Content-Type` of a stream of events.
pub const TEXT_EVENT_STREAM: &str = "text/event-stream";

/// A header value breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    /// A byte that is neither visible ASCII, space nor tab.
    #[error("the header value contains an invalid character")]
    Character,
    /// Marked as base64, but is not.
    #[error("the header value is not valid base64")]
    Base64,
    /// Decodes to something that is not UTF-8.
    #[error("the header value does not decode to UTF-8")]
    NotUtf8,
}

/// A value as it is sent: plain where that is safe, otherwise as `=?base64?…?=`.
pub fn encode_value(text: &str) -> String {
    text.to_owned()
}
/// The meaning of a received value.
pub fn decode_value(value: &[u8]) -> Result<Cow<'_, str>, InvalidValue> {
    std::str::from_utf8(value).map(Cow::Borrowed).map_err(|_| InvalidValue::NotUtf8)
}
/// Whether a received value means `text`.
pub fn values_equal(value: &[u8], text: &str) -> bool {
    decode_value(value).is_ok_and(|decoded| decoded == text)
}
/// Whether a received `Mcp-Param-*` value means the JSON value at `argument`.
pub fn argument_equals(value: &[u8], bytes: &[u8], argument: Span) -> bool {
    let _ = (value, bytes, argument);
    false
}
/// The `Mcp-Param-*` value (encoded) for the JSON value at `argument`; nothing for null and for other kinds.
pub fn argument_value(bytes: &[u8], argument: Span) -> Option<String> {
    let _ = (bytes, argument);
    None
}
/// Whether `text` may name an `Mcp-Param-*` header: an RFC 9110 token, not empty.
pub fn is_param_name(text: &str) -> bool {
    !text.is_empty()
}
