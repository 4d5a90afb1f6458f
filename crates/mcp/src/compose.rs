//! New JSON-RPC messages out of raw parts.

use bytes::{BufMut, Bytes, BytesMut};

use crate::json;

/// A request. `id` and `params` are raw JSON.
pub fn request(id: &[u8], method: &str, params: Option<&[u8]>) -> Bytes {
    let method = json::quote(method);
    let mut parts = vec![("id", id), ("method", &*method)];
    parts.extend(params.map(|params| ("params", params)));
    message(&parts)
}

/// A notification. `params` is raw JSON.
pub fn notification(method: &str, params: Option<&[u8]>) -> Bytes {
    let method = json::quote(method);
    let mut parts = vec![("method", &*method)];
    parts.extend(params.map(|params| ("params", params)));
    message(&parts)
}

/// A response that succeeded. `id` and `result` are raw JSON.
pub fn result(id: &[u8], result: &[u8]) -> Bytes {
    message(&[("id", id), ("result", result)])
}

/// A response that failed. `id` and `data` are raw JSON. An error that answers nothing in particular has no id: `null`
/// is not an id in MCP.
pub fn error(id: Option<&[u8]>, code: i32, text: &str, data: Option<&[u8]>) -> Bytes {
    let code = code.to_string();
    let text = json::quote(text);
    let mut parts = vec![("code", code.as_bytes()), ("message", &*text)];
    parts.extend(data.map(|data| ("data", data)));
    let error = object(&parts);
    match id {
        Some(id) => message(&[("id", id), ("error", &*error)]),
        None => message(&[("error", &*error)]),
    }
}

/// An object of these members, in this order. Values are raw JSON; keys are plain text.
pub fn object(members: &[(&str, &[u8])]) -> Bytes {
    let mut text = BytesMut::with_capacity(
        2 + members.iter().map(|(key, value)| key.len() + value.len() + 4).sum::<usize>(),
    );
    text.put_u8(b'{');
    for (index, (key, value)) in members.iter().enumerate() {
        if index > 0 {
            text.put_u8(b',');
        }
        text.extend_from_slice(&json::quote(key));
        text.put_u8(b':');
        text.extend_from_slice(value);
    }
    text.put_u8(b'}');
    text.freeze()
}

fn message(parts: &[(&str, &[u8])]) -> Bytes {
    let mut members = vec![("jsonrpc", &b"\"2.0\""[..])];
    members.extend_from_slice(parts);
    object(&members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, Limits, Message};

    #[test]
    fn what_is_composed_parses() {
        let limits = Limits::default();
        let kind = |bytes| Message::parse(bytes, &limits).map(|message| message.kind());
        assert_eq!(kind(request(b"1", "a\"b", Some(b"{}"))), Ok(Kind::Request));
        assert_eq!(kind(notification("n", None)), Ok(Kind::Notification));
        assert_eq!(kind(result(b"\"x\"", b"{}")), Ok(Kind::Result));
        assert_eq!(kind(error(None, -32603, "no\n", Some(b"[1]"))), Ok(Kind::Error));
        assert_eq!(
            error(Some(b"1"), 1, "m", None),
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#
        );
    }
}
