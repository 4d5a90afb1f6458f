//! Raw JSON: members as they stand in the text, read by `serde_json` and thus not by the gateway's own scanner.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of an object, in order, each value as it is written.
#[derive(Debug, Clone, Default)]
pub struct Members(pub Vec<(String, Box<RawValue>)>);

impl Members {
    /// The first member of this name, as it is written.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.get())
    }

    /// The names, in order.
    pub fn keys(&self) -> Vec<&str> {
        self.0.iter().map(|(name, _)| name.as_str()).collect()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    all.push(entry);
                }
                Ok(Members(all))
            }
        }
        deserializer.deserialize_map(Visit)
    }
}

/// The members of the object that `raw` is; none if it is something else.
pub fn members(raw: &str) -> Members {
    serde_json::from_str(raw).unwrap_or_default()
}

/// The value at a path of member names, as it is written.
pub fn find(raw: &str, path: &[&str]) -> Option<String> {
    let mut here = raw.to_owned();
    for key in path {
        let inner = members(&here).get(key)?.to_owned();
        here = inner;
    }
    Some(here)
}

/// The text that a JSON string means.
pub fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The text at a path of member names.
pub fn text_at(raw: &str, path: &[&str]) -> Option<String> {
    find(raw, path).and_then(|value| text(&value))
}

/// `text` as a JSON string.
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The elements of an array, each as it is written; none if `raw` is something else.
pub fn elements(raw: &str) -> Vec<String> {
    serde_json::from_str::<Vec<Box<RawValue>>>(raw)
        .unwrap_or_default()
        .iter()
        .map(|value| value.get().to_owned())
        .collect()
}
