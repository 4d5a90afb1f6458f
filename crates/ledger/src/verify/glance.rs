//! What verification needs of every entry, without reading all of it.

use serde::Deserialize;

use crate::Kind;

/// Number, time and kind of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Glance {
    pub(super) seq: u64,
    pub(super) time_ms: u64,
    pub(super) kind: Kind,
}

impl Glance {
    /// They stand first, as this program writes them. Where they do not, the whole entry is read.
    pub(super) fn of(json: &[u8]) -> Option<Self> {
        Self::first(json).or_else(|| serde_json::from_slice(json).ok())
    }

    fn first(json: &[u8]) -> Option<Self> {
        let (seq, rest) = digits(json.strip_prefix(b"{\"seq\":")?)?;
        let (time_ms, rest) = digits(rest.strip_prefix(b",\"time_ms\":")?)?;
        let rest = rest.strip_prefix(b",\"kind\":\"")?;
        let (kind, _) = rest.split_at(rest.iter().position(|byte| *byte == b'"')?);
        Some(Self { seq, time_ms, kind: named(kind)? })
    }
}

/// A number without leading zeros, and what follows it.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let len = text.iter().position(|byte| !byte.is_ascii_digit())?;
    if len == 0 || (len > 1 && text[0] == b'0') {
        return None;
    }
    let number = text[..len]
        .iter()
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some((number, &text[len..]))
}

fn named(kind: &[u8]) -> Option<Kind> {
    Some(match kind {
        b"intent" => Kind::Intent,
        b"outcome" => Kind::Outcome,
        b"refusal" => Kind::Refusal,
        b"list" => Kind::List,
        b"checkpoint" => Kind::Checkpoint,
        // All others are rare.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Entry;

    #[test]
    fn a_glance_sees_what_reading_all_of_it_sees() {
        let kinds = [Kind::Intent, Kind::Outcome, Kind::Refusal, Kind::List, Kind::Checkpoint, Kind::Erasure];
        for kind in kinds {
            let entry = Entry { seq: 1_234, time_ms: 99, ..Entry::of(kind) };
            let json = serde_json::to_vec(&entry).expect("JSON");
            let found = Glance::of(&json).expect("an entry");
            assert_eq!(found, Glance { seq: 1_234, time_ms: 99, kind });
            assert_eq!(Glance::first(&json).is_some(), kind != Kind::Erasure, "{kind:?} is seen at once");
        }
        let other_order = br#"{"kind":"intent","time_ms":2,"seq":1}"#;
        assert_eq!(Glance::of(other_order), Some(Glance { seq: 1, time_ms: 2, kind: Kind::Intent }));
        for wrong in
            ["", "{}", r#"{"seq":01,"time_ms":1,"kind":"intent"}"#, r#"{"seq":1,"time_ms":1,"kind":"x"}"#]
        {
            assert_eq!(Glance::of(wrong.as_bytes()), None, "{wrong}");
        }
    }
}
