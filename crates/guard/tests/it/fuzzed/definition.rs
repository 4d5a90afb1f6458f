//! What holds of definitions whatever they are: comparing, showing and locking them never panics, what is read is its own definition,
//! and an own schema is checked against the bytes themselves or said not to be. Of two values, one behind the other.

use bytes::Bytes;
use tollgate_guard::pins::{Definition, Lock, compare, unified};
use tollgate_guard::schema::Schema;
use tollgate_guard::shape::{Shape, cut};
use tollgate_mcp::{Limits, validate};
use tollgate_store::{PinKind, PinOf};

pub(crate) fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = Lock::parse(text);
    }
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (one, other) = (&data[..at], data.get(at + 1..).unwrap_or_default());
    let limits = Limits::default();
    if validate(one, &limits).is_err() || validate(other, &limits).is_err() {
        return;
    }
    for kind in PinKind::ALL {
        let (before, after) = (Definition::read(kind, one), Definition::read(kind, other));
        assert_eq!(Definition::from_text(kind, before.text()), before);
        let difference = compare(Some(&before), &after);
        assert_eq!(difference.fields.is_empty(), before.digests() == after.digests());
        let _ = unified(Some(&before), &after);
        let mut lock = Lock::default();
        let server = tollgate_model::ServerName::new("s").expect("a name");
        // A server has one text of instructions, which has no name.
        let item = if kind == PinKind::Instructions { "" } else { "i" };
        lock.add(PinOf { tenant: None, server, kind, item: item.into() }, before);
        assert_eq!(Lock::parse(&lock.to_json()).expect("what it wrote"), lock);
    }
    let shape = Shape::of(one);
    assert!(shape.nodes > 0 && shape.depth <= 128);
    if let Some(cut) = cut(&Bytes::copy_from_slice(one), 2048, "cut", None) {
        assert!(validate(&cut, &limits).is_ok());
    }
    if let Ok(schema) = Schema::compile(one) {
        let _ = schema.check(other);
    }
}
