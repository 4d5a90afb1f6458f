//! HTTP headers of the protocol, and the rules for values that 2026-07-28 mirrors from the body into headers
//! (Streamable HTTP, request metadata).

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::json::{self, JsonKind, Span};

/// The revision that a request speaks. Required since 2025-06-18, repeated in the body since 2026-07-28.
pub const MCP_PROTOCOL_VERSION: &str = "mcp-protocol-version";
/// The method of a request (2026-07-28).
pub const MCP_METHOD: &str = "mcp-method";
/// What a request names (2026-07-28); [`crate::methods::name_param`] says where the body says it.
pub const MCP_NAME: &str = "mcp-name";
/// The session (2025-03-26 to 2025-11-25).
pub const MCP_SESSION_ID: &str = "mcp-session-id";
/// How headers begin that mirror arguments of a tool (2026-07-28).
pub const MCP_PARAM_PREFIX: &str = "mcp-param-";
/// The last event that a resuming client has seen (2025-03-26 to 2025-11-25).
pub const LAST_EVENT_ID: &str = "last-event-id";
/// Tells reverse proxies not to hold events back; its value is `no`.
pub const X_ACCEL_BUFFERING: &str = "x-accel-buffering";
/// The media type of a single message.
pub const APPLICATION_JSON: &str = "application/json";
/// The media type of a stream of events.
pub const TEXT_EVENT_STREAM: &str = "text/event-stream";

const SENTINEL_START: &str = "=?base64?";
const SENTINEL_END: &str = "?=";

/// A header value breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum InvalidValue {
    /// A byte that is neither visible ASCII, space nor tab.
    #[error("the header value contains an invalid character")]
    Character,
    /// Marked as base64, and is not.
    #[error("the header value is not valid base64")]
    Base64,
    /// Decodes to something that is not UTF-8.
    #[error("the header value does not decode to UTF-8")]
    NotUtf8,
}

/// A value of `Mcp-Name` or `Mcp-Param-*` as it is sent: plain where that is safe, otherwise `=?base64?…?=`.
pub fn encode_value(text: &str) -> String {
    let bytes = text.as_bytes();
    let is_padded =
        [bytes.first(), bytes.last()].into_iter().flatten().any(|byte| matches!(byte, b' ' | b'\t'));
    if !is_padded && text.bytes().all(is_value_byte) && sentinel(text).is_none() {
        return text.to_owned();
    }
    let mut value = SENTINEL_START.to_owned();
    BASE64_STANDARD.encode_string(text, &mut value);
    value.push_str(SENTINEL_END);
    value
}

/// What a received value of `Mcp-Name` or `Mcp-Param-*` means. Whitespace around it belongs to HTTP, not to the value.
pub fn decode_value(value: &[u8]) -> Result<Cow<'_, str>, InvalidValue> {
    if !value.iter().copied().all(is_value_byte) {
        return Err(InvalidValue::Character);
    }
    let text = std::str::from_utf8(value).map_err(|_| InvalidValue::Character)?;
    let text = text.trim_matches([' ', '\t']);
    let Some(encoded) = sentinel(text) else { return Ok(Cow::Borrowed(text)) };
    let decoded = BASE64_STANDARD.decode(encoded).map_err(|_| InvalidValue::Base64)?;
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| InvalidValue::NotUtf8)
}

/// Whether a received value means `text`. An invalid value means nothing.
pub fn values_equal(value: &[u8], text: &str) -> bool {
    decode_value(value).is_ok_and(|decoded| decoded == text)
}

/// The value of `Mcp-Param-*` for the JSON value at `argument`, as it is sent. Nothing for `null` (the header is left
/// out), nor for what cannot be mirrored: objects, arrays, and numbers that are not integers.
pub fn argument_value(bytes: &[u8], argument: Span) -> Option<String> {
    match json::kind_of(bytes, argument) {
        JsonKind::String => Some(encode_value(&json::text(bytes, argument)?)),
        JsonKind::Bool => Some(String::from_utf8_lossy(argument.of(bytes)).into_owned()),
        JsonKind::Number => Some(integer(argument.of(bytes))?.to_string()),
        JsonKind::Object | JsonKind::Array | JsonKind::Null => None,
    }
}

/// Whether a received value of `Mcp-Param-*` means the JSON value at `argument`. Numbers are compared as numbers:
/// `42.0` is `42`. Nothing equals `null`, an object or an array: their headers are left out.
pub fn argument_equals(value: &[u8], bytes: &[u8], argument: Span) -> bool {
    let Ok(value) = decode_value(value) else { return false };
    match json::kind_of(bytes, argument) {
        JsonKind::String => json::text(bytes, argument).is_some_and(|text| text == value),
        JsonKind::Bool => value.as_bytes() == argument.of(bytes),
        JsonKind::Number => json::numbers_equal(value.as_bytes(), argument.of(bytes)),
        JsonKind::Object | JsonKind::Array | JsonKind::Null => false,
    }
}

/// Whether `x-mcp-header: text` may name a header `Mcp-Param-text`: a token of RFC 9110, so not empty.
pub fn is_param_name(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

/// What stands between the marks of an encoded value.
fn sentinel(text: &str) -> Option<&str> {
    text.strip_prefix(SENTINEL_START)?.strip_suffix(SENTINEL_END)
}

/// Visible ASCII, space and tab (RFC 9110, section 5.5, without what it calls obsolete).
fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// The value of a JSON number that is an integer within ±(2^53−1), however it is written.
fn integer(number: &[u8]) -> Option<i64> {
    const SAFE_MAX: u64 = (1 << 53) - 1;
    let text = std::str::from_utf8(number).ok()?;
    let value = match text.parse::<i64>() {
        Ok(value) => value,
        // Written with a fraction or an exponent. Within the safe range a float is exact; beyond it, refused below.
        Err(_) => format!("{:.0}", text.parse::<f64>().ok()?).parse().ok()?,
    };
    let is_same = json::numbers_equal(value.to_string().as_bytes(), number);
    (is_same && value.unsigned_abs() <= SAFE_MAX).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_hold() {
        for (text, value) in [
            ("us-west1", "us-west1"),
            ("Hello, 世界", "=?base64?SGVsbG8sIOS4lueVjA==?="),
            (" padded ", "=?base64?IHBhZGRlZCA=?="),
            ("line1\nline2", "=?base64?bGluZTEKbGluZTI=?="),
            ("=?base64?literal?=", "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="),
        ] {
            assert_eq!(encode_value(text), value);
            assert_eq!(decode_value(value.as_bytes()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn plain_values_stay_plain() {
        for text in ["", "a b", "a\tb", "=?base64?", "=?BASE64?eA==?=", "?=", "file:///a/b.json"] {
            assert_eq!(encode_value(text), text);
            assert!(values_equal(text.as_bytes(), text));
        }
        assert_eq!(decode_value(b"=?base64??=").as_deref(), Ok(""));
        assert_eq!(decode_value(b" a ").as_deref(), Ok("a"));
    }

    #[test]
    fn broken_values_mean_nothing() {
        assert_eq!(decode_value(b"a\x01"), Err(InvalidValue::Character));
        assert_eq!(decode_value("é".as_bytes()), Err(InvalidValue::Character));
        assert_eq!(decode_value(b"=?base64?e?="), Err(InvalidValue::Base64));
        assert_eq!(decode_value(b"=?base64?eA?="), Err(InvalidValue::Base64));
        assert_eq!(decode_value(b"=?base64?/w==?="), Err(InvalidValue::NotUtf8));
        assert!(!values_equal(b"=?base64?e?=", "=?base64?e?="));
    }

    fn mirrored(json: &str) -> Option<String> {
        argument_value(json.as_bytes(), Span::all(json.as_bytes()))
    }

    fn means(value: &str, json: &str) -> bool {
        argument_equals(value.as_bytes(), json.as_bytes(), Span::all(json.as_bytes()))
    }

    #[test]
    fn arguments_are_mirrored_by_their_type() {
        assert_eq!(mirrored(r#""a\u0062""#).as_deref(), Some("ab"));
        assert_eq!(mirrored("true").as_deref(), Some("true"));
        assert_eq!(mirrored("-7").as_deref(), Some("-7"));
        assert_eq!(mirrored("42.0").as_deref(), Some("42"));
        assert_eq!(mirrored("4.2e1").as_deref(), Some("42"));
        for json in ["null", "{}", "[1]", "1.5", "9007199254740992", "1e400", "-9223372036854775808"] {
            assert_eq!(mirrored(json), None, "{json}");
        }
    }

    #[test]
    fn arguments_are_compared_by_their_type() {
        assert!(means("ab", r#""a\u0062""#) && means("=?base64?YWI=?=", "\"ab\"") && !means("AB", "\"ab\""));
        assert!(means("42", "42.0") && means("42.0", "42") && !means("43", "42"));
        assert!(means("true", "true") && !means("True", "true") && !means("false", "true"));
        assert!(!means("null", "null") && !means("{}", "{}"));
    }

    #[test]
    fn param_names_are_tokens() {
        assert!(is_param_name("Region") && is_param_name("a_b-c.d"));
        assert!(
            !is_param_name("") && !is_param_name("a b") && !is_param_name("a:") && !is_param_name("é\r\n")
        );
    }
}
