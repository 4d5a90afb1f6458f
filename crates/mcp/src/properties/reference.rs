//! The same questions answered another way, by serde_json.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Whether bytes are JSON by the rules of this crate: RFC 8259, without duplicate names and lone surrogates.
pub(super) fn is_strict_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes)
        .is_ok_and(|text| serde_json::from_str::<&RawValue>(text).is_ok_and(|raw| is_strict(raw.get())))
}

fn is_strict(text: &str) -> bool {
    match text.trim_start().as_bytes().first() {
        Some(b'{') => serde_json::from_str::<Entries>(text).is_ok_and(|Entries(entries)| {
            let names: HashSet<_> = entries.iter().map(|(name, _)| name).collect();
            names.len() == entries.len() && entries.iter().all(|(_, value)| is_strict(value))
        }),
        Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
            .is_ok_and(|items| items.iter().all(|item| is_strict(item.get()))),
        Some(b'"') => serde_json::from_str::<String>(text).is_ok(),
        _ => true,
    }
}

/// The members of an object, in order, duplicates included: names as text, values as they are written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entries(pub(super) Vec<(String, String)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    entries.push((name, value.get().to_owned()));
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}
