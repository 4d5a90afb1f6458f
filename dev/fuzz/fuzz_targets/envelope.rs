//! One JSON-RPC message: what is accepted is JSON to another parser too, and can be walked and edited.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use serde_json::value::RawValue;
use tollgate_mcp::{
    Change, Edit, Kind, Limits, Member, Message, Span, elements, find, kind_of, members, peek_id, text,
    validate,
};

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok())
}

/// Visits everything, so that anything that can panic does.
fn walk(bytes: &[u8], span: Span, depth: usize) {
    let _ = (text(bytes, span), kind_of(bytes, span), find(bytes, span, "id"));
    if depth > 0 {
        for Member { key, value } in members(bytes, span) {
            assert!(
                text(bytes, key).is_some()
                    || std::str::from_utf8(bytes).is_err()
                    || validate(bytes, &LIMITS).is_err()
            );
            walk(bytes, value, depth - 1);
        }
        for element in elements(bytes, span) {
            walk(bytes, element, depth - 1);
        }
    }
}

const LIMITS: Limits = Limits { depth_max: 64, bytes_max: 1 << 20 };

fuzz_target!(|data: &[u8]| {
    // Not validated: must not panic.
    walk(data, Span::all(data), 3);
    let _ = peek_id(data);

    match validate(data, &LIMITS) {
        Ok(span) => {
            assert!(is_json(data));
            walk(data, span, 3);
        }
        Err(error) => assert!(!error.fault.is_parse_error() || !is_json(data) || is_surrogate(error.fault)),
    }

    let bytes = Bytes::copy_from_slice(data);
    let mut blind = Edit::new(&bytes);
    blind.object(Span::all(data), &[Change::Set("a", Bytes::from_static(b"1")), Change::Remove("id")]);
    let _ = blind.finish();

    let message = match Message::parse(bytes, &LIMITS) {
        Ok(message) => message,
        Err(error) => {
            for id in [error.id, error.response_id].into_iter().flatten() {
                assert!(is_json(&id));
            }
            return;
        }
    };
    assert!(validate(data, &LIMITS).is_ok());
    if let Some(id) = message.id_raw().filter(|id| id != "null" && id.len() < 1000) {
        assert_eq!(peek_id(data), Some(id));
    }

    let mut edit = message.edit();
    message.set_id(&mut edit, Bytes::from_static(b"77"));
    message
        .change_body(&mut edit, &[Change::Remove("name"), Change::Set("uri", Bytes::from_static(b"\"u\""))]);
    message.change_meta(
        &mut edit,
        &[Change::Set("progressToken", Bytes::from_static(b"77")), Change::Remove("a")],
    );
    let edited = Message::parse(edit.finish().into_bytes(), &Limits { depth_max: 66, ..LIMITS });
    let edited = edited.expect("an edited message is a message");
    let kind = if message.kind() == Kind::Notification { Kind::Request } else { message.kind() };
    assert_eq!(edited.kind(), kind);
    assert_eq!(edited.id_u64(), Some(77));
    assert_eq!(edited.member("name"), None);
    assert_eq!(edited.text("uri").as_deref(), Some("u"));
    assert_eq!(
        edited.meta_member("progressToken").map(|token| edited.raw(token)),
        Some(Bytes::from_static(b"77"))
    );
});

fn is_surrogate(fault: tollgate_mcp::Fault) -> bool {
    fault == tollgate_mcp::Fault::LoneSurrogate
}
