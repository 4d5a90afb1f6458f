//! What of a definition is pinned: all of it that a model reads, or a client or the gateway acts on.

use std::collections::HashMap;

use bytes::Bytes;
use ring::digest::{SHA256, digest};
use tollgate_mcp::{JsonKind, Span, canonical, find, kind_of, members, quote};
use tollgate_store::{Digest, PinKind, PinShape};

/// One item's definition as it is pinned: canonical JSON of all but what says how its content is just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    kind: PinKind,
    text: Bytes,
}

/// Members whose own members are pinned each for itself.
const SPLIT: [&str; 2] = ["annotations", "_meta"];

impl Definition {
    /// From an item as its server lists it; for instructions from the JSON string of them. The JSON must have been validated.
    pub fn read(kind: PinKind, item: &[u8]) -> Self {
        let item = item.trim_ascii();
        let whole = Span::all(item);
        let mut text = Vec::with_capacity(item.len());
        if kind_of(item, whole) == JsonKind::Object {
            text.push(b'{');
            let mut sorted: Vec<_> =
                members(item, whole).map(|member| (member.key(item), member.value)).collect();
            sorted.sort_by(|(one, _), (other, _)| one.cmp(other));
            for (key, value) in sorted {
                let mut written = Vec::new();
                match (kind, &*key) {
                    (PinKind::Resource | PinKind::Template, "size") => continue,
                    (PinKind::Resource | PinKind::Template, "annotations") => {
                        without(item, value, "lastModified", &mut written);
                    }
                    _ => canonical(item, value, &mut written),
                }
                // None of them says as much.
                if SPLIT.contains(&&*key) && written == b"{}" {
                    continue;
                }
                if text.len() > 1 {
                    text.push(b',');
                }
                text.extend_from_slice(&quote(&key));
                text.push(b':');
                text.extend_from_slice(&written);
            }
            text.push(b'}');
        } else {
            canonical(item, whole, &mut text);
        }
        Self { kind, text: text.into() }
    }

    /// From its text, as a store or a lock file has it. The JSON must have been validated.
    pub fn from_text(kind: PinKind, text: &[u8]) -> Self {
        Self::read(kind, text)
    }

    /// What kind of thing it defines.
    pub fn kind(&self) -> PinKind {
        self.kind
    }

    /// All that is pinned of it, as canonical JSON: no whitespace, members ordered by name, numbers with their digits.
    pub fn text(&self) -> &Bytes {
        &self.text
    }

    /// SHA-256 of the text.
    pub fn digest(&self) -> Digest {
        sha256(&self.text)
    }

    /// As a store keeps it.
    pub fn shape(&self) -> PinShape {
        PinShape::new(self.digest(), self.text.clone())
    }

    /// Its fields in their order, each with its canonical value. Each annotation and each member of `_meta` is one. Each has a name of
    /// its own, also where a server gives one twice.
    pub fn fields(&self) -> Vec<(String, Bytes)> {
        let text = &self.text;
        let whole = Span::all(text);
        if kind_of(text, whole) != JsonKind::Object {
            return vec![("instructions".to_owned(), text.clone())];
        }
        let mut fields = Vec::new();
        let mut seen = HashMap::new();
        for member in members(text, whole) {
            let key = member.key(text);
            if SPLIT.contains(&&*key) && kind_of(text, member.value) == JsonKind::Object {
                let inner = members(text, member.value);
                fields.extend(inner.map(|inner| {
                    (apart(&mut seen, &format!("{key}.{}", inner.key(text))), inner.value.slice(text))
                }));
            } else {
                fields.push((apart(&mut seen, &key), member.value.slice(text)));
            }
        }
        fields
    }

    /// The SHA-256 of each field's canonical value.
    pub fn digests(&self) -> Vec<(String, Digest)> {
        self.fields().into_iter().map(|(field, value)| (field, sha256(&value))).collect()
    }

    /// One member of it, as canonical JSON.
    pub(crate) fn member(&self, key: &str) -> Option<&[u8]> {
        find(&self.text, Span::all(&self.text), key).map(|span| span.of(&self.text))
    }
}

/// A name that no field has yet: this one, or one with a number behind it.
fn apart(seen: &mut HashMap<String, usize>, name: &str) -> String {
    let mut one = name.to_owned();
    loop {
        let count = seen.entry(one.clone()).or_default();
        *count += 1;
        if *count == 1 {
            return one;
        }
        one = format!("{name}#{count}");
    }
}

fn sha256(bytes: &[u8]) -> Digest {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    Digest(sum)
}

/// The canonical form of an object without one of its members.
fn without(item: &[u8], value: Span, key: &str, out: &mut Vec<u8>) {
    if kind_of(item, value) != JsonKind::Object {
        return canonical(item, value, out);
    }
    let mut kept: Vec<_> = members(item, value)
        .map(|member| (member.key(item), member.value))
        .filter(|(name, _)| name != key)
        .collect();
    kept.sort_by(|(one, _), (other, _)| one.cmp(other));
    out.push(b'{');
    for (at, (name, value)) in kept.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&quote(&name));
        out.push(b':');
        canonical(item, value, out);
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tool(text: &str) -> Definition {
        Definition::read(PinKind::Tool, text.as_bytes())
    }

    #[test]
    fn what_means_the_same_has_one_digest_and_anything_else_another() {
        let one =
            tool(r#"{"name":"a", "inputSchema":{"type":"object","properties":{}}, "description":"\u0041"}"#);
        let same = tool(r#"{"description":"A","inputSchema":{"properties":{},"type":"object"},"name":"a"}"#);
        assert_eq!(one, same);
        assert_eq!(one.digest(), same.digest());
        let spaced = format!("\n {} ", String::from_utf8_lossy(one.text()));
        assert_eq!(tool(&spaced), one, "whatever stands around it");
        for other in [
            r#"{"description":"A ","inputSchema":{"properties":{},"type":"object"},"name":"a"}"#,
            r#"{"description":"A","inputSchema":{"properties":{},"type":"object"},"name":"a","x":1}"#,
            r#"{"description":"A","inputSchema":{"properties":{}},"name":"a"}"#,
        ] {
            assert_ne!(tool(other).digest(), one.digest(), "{other}");
        }
        assert_eq!(Definition::from_text(PinKind::Tool, one.text()), one);
    }

    #[test]
    fn what_says_how_a_resource_is_just_now_is_not_pinned() {
        let of = |text: &str| Definition::read(PinKind::Resource, text.as_bytes()).text().clone();
        let plain = of(r#"{"uri":"file:///a","name":"a"}"#);
        assert_eq!(
            of(r#"{"uri":"file:///a","name":"a","size":7,"annotations":{"lastModified":"x"}}"#),
            plain
        );
        let rated = of(r#"{"uri":"file:///a","name":"a","annotations":{"lastModified":"x","priority":1}}"#);
        assert_eq!(rated, r#"{"annotations":{"priority":1},"name":"a","uri":"file:///a"}"#);
        assert_eq!(of(r#"{"uri":"file:///a","name":"a","annotations":{},"_meta":{}}"#), plain);
        // Of a tool everything counts.
        assert_ne!(tool(r#"{"name":"a","size":7}"#).digest(), tool(r#"{"name":"a"}"#).digest());
    }

    #[test]
    fn each_annotation_is_a_field() {
        let tool = tool(
            r#"{"name":"a","annotations":{"readOnlyHint":true,"title":"A"},"_meta":{"ui/x":1},"title":"B"}"#,
        );
        let names: Vec<String> = tool.digests().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["_meta.ui/x", "annotations.readOnlyHint", "annotations.title", "name", "title"]);
        let twice = Definition::read(
            PinKind::Tool,
            br#"{"a#2":0,"a":1,"a":2,"annotations":{"x":1},"annotations.x":2}"#,
        );
        let names: Vec<String> = twice.fields().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["a", "a#2", "a#2#2", "annotations.x", "annotations.x#2"]);
        let said = Definition::read(PinKind::Instructions, br#""do so""#);
        assert_eq!(said.fields(), [("instructions".to_owned(), Bytes::from_static(b"\"do so\""))]);
    }

    proptest! {
        /// Reading what was read changes nothing, whatever it is.
        #[test]
        fn a_definition_is_its_own_definition(members in proptest::collection::btree_map("[a-z]{1,6}|size|annotations", ".{0,12}", 0..6)) {
            let text = serde_json::to_vec(&members).expect("JSON");
            for kind in PinKind::ALL {
                let once = Definition::read(kind, &text);
                prop_assert_eq!(&Definition::from_text(kind, once.text()), &once);
            }
        }
    }
}
