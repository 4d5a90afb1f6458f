//! How two JSON Schemas differ, as far as it says what a tool takes that it did not take before.
//!
//! This compares how schemas are written, and understands no more than what is commonly written: what cannot be told
//! is said to have changed, and nothing more.

use tollgate_mcp::{JsonKind, Span, elements, find, kind_of, members, text};

/// How deep and how many places are compared. Beyond it nothing is said but that something changed.
const DEPTH_MAX: usize = 32;
const PLACES_MAX: usize = 4096;

/// What is different of a schema: each with the path of where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shift {
    /// Properties that there were not.
    pub(super) added: Vec<String>,
    /// Properties that there are no longer.
    pub(super) removed: Vec<String>,
    /// What else takes more than before: why, and where.
    pub(super) looser: Vec<(&'static str, String)>,
    /// What else takes less than before.
    pub(super) tighter: Vec<(&'static str, String)>,
    /// Texts in it that a model reads: descriptions, titles, examples, defaults.
    pub(super) texts: Vec<String>,
    left: usize,
}

/// One schema, or a part of it.
#[derive(Clone, Copy)]
struct Part<'a> {
    bytes: &'a [u8],
    span: Span,
}

impl<'a> Part<'a> {
    fn get(self, key: &str) -> Option<Self> {
        find(self.bytes, self.span, key).map(|span| Self { span, ..self })
    }

    fn raw(self) -> &'a [u8] {
        self.span.of(self.bytes)
    }

    fn kind(self) -> JsonKind {
        kind_of(self.bytes, self.span)
    }

    fn items(self) -> Vec<Self> {
        let parts = |span| Self { span, ..self };
        match self.kind() {
            JsonKind::Array => elements(self.bytes, self.span).map(parts).collect(),
            _ => vec![self],
        }
    }

    fn keys(self) -> Vec<(String, Self)> {
        if self.kind() != JsonKind::Object {
            return Vec::new();
        }
        let member = |member: tollgate_mcp::Member| {
            (member.key(self.bytes).into_owned(), Self { span: member.value, ..self })
        };
        members(self.bytes, self.span).map(member).collect()
    }

    fn keys_of(self, key: &str) -> Vec<(String, Self)> {
        self.get(key).map(Self::keys).unwrap_or_default()
    }

    fn number(self) -> Option<f64> {
        std::str::from_utf8(self.raw()).ok()?.parse().ok()
    }
}

/// Compares two schemas, both as canonical JSON.
pub(super) fn shift(before: &[u8], after: &[u8]) -> Shift {
    let mut shift = Shift { left: PLACES_MAX, ..Shift::default() };
    let part = |bytes| Part { bytes, span: Span::all(bytes) };
    shift.compare(part(before), part(after), "", DEPTH_MAX);
    shift
}

impl Shift {
    fn compare(&mut self, before: Part<'_>, after: Part<'_>, path: &str, depth: usize) {
        if before.raw() == after.raw() || depth == 0 || self.left == 0 {
            return;
        }
        self.left -= 1;
        let place = || if path.is_empty() { "the whole".to_owned() } else { path.to_owned() };
        match (before.raw(), after.raw()) {
            (b"false", _) | (_, b"true") => return self.looser.push(("anything is taken", place())),
            (b"true", _) | (_, b"false") => return self.tighter.push(("not everything is taken", place())),
            _ => {}
        }
        for key in ["description", "title", "examples", "default", "$comment"] {
            if before.get(key).map(Part::raw) != after.get(key).map(Part::raw) {
                self.texts.push(at(path, key));
            }
        }
        self.sets(before, after, path);
        self.bounds(before, after, path);
        self.required(before, after, path);
        self.additional(before, after, path, depth);
        self.properties(before, after, path, depth);
        for key in ["items", "contains", "not", "if", "then", "else", "propertyNames"] {
            if let (Some(one), Some(other)) = (before.get(key), after.get(key)) {
                self.compare(one, other, &at(path, key), depth - 1);
            }
        }
        for key in ["anyOf", "oneOf", "allOf", "prefixItems"] {
            self.alternatives(before.get(key), after.get(key), &at(path, key), depth);
        }
        for key in ["$defs", "definitions"] {
            let (Some(one), Some(other)) = (before.get(key), after.get(key)) else { continue };
            for (name, one) in one.keys() {
                if let Some(other) = other.get(&name) {
                    self.compare(one, other, &at(&at(path, key), &name), depth - 1);
                }
            }
        }
    }

    /// What may be one of some values.
    fn sets(&mut self, before: Part<'_>, after: Part<'_>, path: &str) {
        for (key, wider, narrower) in [
            ("enum", "further values are taken", "fewer values are taken"),
            ("type", "further types are taken", "fewer types are taken"),
        ] {
            match (before.get(key), after.get(key)) {
                (Some(_), None) => self.looser.push((wider, at(path, key))),
                (None, Some(_)) => self.tighter.push((narrower, at(path, key))),
                (Some(one), Some(other)) => {
                    let (one, other) = (one.items(), other.items());
                    let has = |all: &[Part<'_>], it: &Part<'_>| all.iter().any(|part| part.raw() == it.raw());
                    // Each against each: of many it is told that they changed.
                    if one.len().saturating_mul(other.len()) > 65_536 {
                        self.looser.push((wider, at(path, key)));
                        continue;
                    }
                    if other.iter().any(|value| !has(&one, value)) {
                        self.looser.push((wider, at(path, key)));
                    }
                    if one.iter().any(|value| !has(&other, value)) {
                        self.tighter.push((narrower, at(path, key)));
                    }
                }
                (None, None) => {}
            }
        }
        for key in ["const", "pattern", "format", "multipleOf", "uniqueItems", "contentEncoding"] {
            match (before.get(key), after.get(key)) {
                (Some(_), None) => self.looser.push(("a restriction is gone", at(path, key))),
                (None, Some(_)) => self.tighter.push(("a restriction came", at(path, key))),
                (Some(one), Some(other)) if one.raw() != other.raw() => {
                    self.looser.push(("a restriction is another", at(path, key)));
                }
                _ => {}
            }
        }
    }

    fn bounds(&mut self, before: Part<'_>, after: Part<'_>, path: &str) {
        for (key, is_upper) in [
            ("maxLength", true),
            ("maximum", true),
            ("exclusiveMaximum", true),
            ("maxItems", true),
            ("maxProperties", true),
            ("minLength", false),
            ("minimum", false),
            ("exclusiveMinimum", false),
            ("minItems", false),
            ("minProperties", false),
        ] {
            match (before.get(key), after.get(key)) {
                (Some(_), None) => self.looser.push(("a bound is gone", at(path, key))),
                (None, Some(_)) => self.tighter.push(("a bound came", at(path, key))),
                (Some(one), Some(other)) if one.raw() != other.raw() => {
                    let wider = match (one.number(), other.number()) {
                        (Some(one), Some(other)) => (other > one) == is_upper,
                        _ => true,
                    };
                    let (list, why) = if wider {
                        (&mut self.looser, "a bound is wider")
                    } else {
                        (&mut self.tighter, "a bound is narrower")
                    };
                    list.push((why, at(path, key)));
                }
                _ => {}
            }
        }
    }

    fn required(&mut self, before: Part<'_>, after: Part<'_>, path: &str) {
        let names = |part: Part<'_>| -> std::collections::BTreeSet<String> {
            let found = part.get("required").filter(|part| part.kind() == JsonKind::Array);
            let names = found.map(Part::items).unwrap_or_default();
            names.into_iter().filter_map(|name| text(name.bytes, name.span).map(Into::into)).collect()
        };
        let (one, other) = (names(before), names(after));
        for gone in one.difference(&other) {
            self.looser.push(("no longer required", at(path, gone)));
        }
        for come in other.difference(&one) {
            self.tighter.push(("required now", at(path, come)));
        }
    }

    fn additional(&mut self, before: Part<'_>, after: Part<'_>, path: &str, depth: usize) {
        for key in ["additionalProperties", "unevaluatedProperties", "additionalItems", "unevaluatedItems"] {
            match (before.get(key), after.get(key)) {
                (Some(one), None) if one.raw() != b"true" => {
                    self.looser.push(("others are taken too", at(path, key)));
                }
                (None, Some(other)) if other.raw() != b"true" => {
                    self.tighter.push(("others are taken no more", at(path, key)));
                }
                (Some(one), Some(other)) => self.compare(one, other, &at(path, key), depth - 1),
                _ => {}
            }
        }
    }

    fn properties(&mut self, before: Part<'_>, after: Part<'_>, path: &str, depth: usize) {
        for key in ["properties", "patternProperties"] {
            let (one, other) = (before.keys_of(key), after.keys_of(key));
            let known: std::collections::HashMap<&str, Part<'_>> =
                one.iter().map(|(name, part)| (name.as_str(), *part)).collect();
            let now: std::collections::HashSet<&str> = other.iter().map(|(name, _)| name.as_str()).collect();
            for (name, part) in &other {
                match known.get(name.as_str()) {
                    None => self.added.push(at(path, name)),
                    Some(was) => self.compare(*was, *part, &at(path, name), depth - 1),
                }
            }
            self.removed.extend(
                one.iter().filter(|(name, _)| !now.contains(name.as_str())).map(|(name, _)| at(path, name)),
            );
        }
    }

    fn alternatives(&mut self, before: Option<Part<'_>>, after: Option<Part<'_>>, path: &str, depth: usize) {
        let is_all = path.ends_with("allOf");
        match (before, after) {
            (Some(_), None) => self.looser.push(("a restriction is gone", path.to_owned())),
            (None, Some(_)) => self.tighter.push(("a restriction came", path.to_owned())),
            (Some(one), Some(other)) => {
                let (one, other) = (one.items(), other.items());
                if (other.len() > one.len()) != is_all && other.len() != one.len() {
                    self.looser.push(("further forms are taken", path.to_owned()));
                } else if other.len() != one.len() {
                    self.tighter.push(("fewer forms are taken", path.to_owned()));
                }
                for (nth, (one, other)) in one.into_iter().zip(other).enumerate() {
                    self.compare(one, other, &at(path, &nth.to_string()), depth - 1);
                }
            }
            (None, None) => {}
        }
    }
}

fn at(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(before: &str, after: &str) -> Shift {
        shift(before.as_bytes(), after.as_bytes())
    }

    #[test]
    fn what_takes_more_is_looser() {
        for (before, after, place) in [
            (r#"{"properties":{"a":{}},"required":["a"]}"#, r#"{"properties":{"a":{}}}"#, "a"),
            (r#"{"additionalProperties":false}"#, "{}", "additionalProperties"),
            (r#"{"additionalProperties":false}"#, r#"{"additionalProperties":true}"#, "additionalProperties"),
            (r#"{"enum":["a"]}"#, r#"{"enum":["a","b"]}"#, "enum"),
            (r#"{"type":"string"}"#, r#"{"type":["string","null"]}"#, "type"),
            (r#"{"maxLength":5}"#, r#"{"maxLength":50}"#, "maxLength"),
            (r#"{"minimum":5}"#, r#"{"minimum":0}"#, "minimum"),
            (r#"{"pattern":"^a$"}"#, "{}", "pattern"),
            (r#"{"anyOf":[{}]}"#, r#"{"anyOf":[{},{}]}"#, "anyOf"),
            (r#"{"properties":{"a":{"enum":[1]}}}"#, r#"{"properties":{"a":{}}}"#, "a.enum"),
            (r#"{"items":{"maximum":1}}"#, r#"{"items":{"maximum":2}}"#, "items.maximum"),
        ] {
            let shift = of(before, after);
            assert!(shift.looser.iter().any(|(_, at)| at == place), "{before} {after}: {shift:?}");
            let back = of(after, before);
            assert!(back.tighter.iter().any(|(_, at)| at == place), "{after} {before}: {back:?}");
        }
    }

    #[test]
    fn properties_that_come_and_go_are_named() {
        let shift =
            of(r#"{"properties":{"a":{},"b":{}}}"#, r#"{"properties":{"a":{"description":"x"},"c":{}}}"#);
        assert_eq!((&*shift.added, &*shift.removed), (&["c".to_owned()][..], &["b".to_owned()][..]));
        assert_eq!(shift.texts, ["a.description"]);
        assert!(shift.looser.is_empty() && shift.tighter.is_empty());
    }

    #[test]
    fn what_is_deep_or_large_ends() {
        let deep = |leaf: &str| format!("{}{leaf}{}", r#"{"items":"#.repeat(100), "}".repeat(100));
        assert_eq!(of(&deep("1"), &deep("2")).looser, []);
        let wide = |kind: &str| {
            let all: Vec<String> = (0..10_000).map(|nth| format!("\"p{nth}\":{{\"type\":{kind}}}")).collect();
            format!("{{\"properties\":{{{}}}}}", all.join(","))
        };
        assert!(of(&wide("1"), &wide("2")).looser.len() <= PLACES_MAX);
    }
}
