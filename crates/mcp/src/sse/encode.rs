//! From messages to events.

use bytes::Bytes;

use crate::Segments;

/// A JSON-RPC message as one event: `event: message`, the id if there is one, one line of data.
///
/// Line breaks in the message become spaces; valid JSON has them only between tokens. Large messages are not copied.
pub fn encode_event(message: &Segments, event_id: Option<&str>) -> Segments {
    const PREFIX: &[u8] = b"event: message\ndata: ";
    match event_id {
        None => message.on_one_line(PREFIX, b"\n\n"),
        Some(id) => {
            let mut prefix = b"event: message\n".to_vec();
            put_field(&mut prefix, "id", id);
            prefix.extend_from_slice(b"data: ");
            message.on_one_line(&prefix, b"\n\n")
        }
    }
}

/// An event of another type, such as `endpoint` (2024-11-05). Data of several lines arrives as such.
pub fn encode_named(event: &str, data: &str) -> Bytes {
    let mut text = Vec::with_capacity(event.len() + data.len() + 32);
    put_field(&mut text, "event", event);
    let unified = data.replace("\r\n", "\n");
    for line in unified.split(['\n', '\r']) {
        put_field(&mut text, "data", line);
    }
    text.push(b'\n');
    text.into()
}

/// An event with an id and empty data: from it a client can resume before it has seen any message (2025-11-25,
/// Streamable HTTP). `retry_ms` tells it how long to wait before it reconnects.
pub fn encode_priming(event_id: &str, retry_ms: Option<u64>) -> Bytes {
    let mut text = Vec::with_capacity(event_id.len() + 48);
    put_field(&mut text, "id", event_id);
    if let Some(retry_ms) = retry_ms {
        put_field(&mut text, "retry", &retry_ms.to_string());
    }
    text.extend_from_slice(b"data: \n\n");
    text.into()
}

/// A comment, which means nothing and keeps a silent stream alive. Only between events.
pub fn encode_comment() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// One field. What could end the line, or make an id invalid, is left out.
fn put_field(text: &mut Vec<u8>, field: &str, value: &str) {
    text.extend_from_slice(field.as_bytes());
    text.extend_from_slice(b": ");
    text.extend(value.bytes().filter(|byte| !matches!(byte, b'\n' | b'\r' | 0)));
    text.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SseDecoder;

    #[test]
    fn a_message_becomes_one_line_of_data() {
        let message: Segments =
            [Bytes::from_static(b"{\n\"a\":\r\n1"), Bytes::from_static(b"}")].into_iter().collect();
        assert_eq!(encode_event(&message, None).into_bytes(), "event: message\ndata: { \"a\":  1}\n\n");
        let with_id = encode_event(&Bytes::from_static(b"{}").into(), Some("4\n\0data: x")).into_bytes();
        assert_eq!(with_id, "event: message\nid: 4data: x\ndata: {}\n\n");
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let mut decoder = SseDecoder::new(1000);
        decoder.push(encode_priming("a", Some(500)));
        decoder.push(encode_comment());
        decoder.push(encode_named("endpoint", "/messages?a=b\r\nline\rline"));
        let events: Vec<_> = decoder.map(Result::unwrap).collect();
        assert_eq!(
            (events[0].id.as_deref(), events[0].retry, events[0].data.len()),
            (Some("a"), Some(500), 0)
        );
        assert_eq!(
            (events[1].event_type(), &*events[1].data),
            ("endpoint", &b"/messages?a=b\nline\nline"[..])
        );
        assert_eq!(events.len(), 2);
    }
}
