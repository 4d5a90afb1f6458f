//! Compares a tree with the schema: unknown keys, wrong kinds, values out of range. What is refused is reported and
//! taken out of the tree, so that the rest can be read and everything wrong with a file is told at once.

use std::borrow::Cow;

use serde_json::Value as Schema;

use super::node::{Entry, Node, Number, Place, Text, Value, joined, pointed};
use super::problem::{Problems, Severity, closest};
use super::yaml::plain;

/// Words that people bring from elsewhere, and the key that they mean here.
const FOREIGN: [(&str, &str); 14] = [
    ("mcpServers", "servers"),
    ("mcp_servers", "servers"),
    ("type", "transport"),
    ("serverUrl", "url"),
    ("httpUrl", "url"),
    ("endpoint", "url"),
    ("timeout", "request_timeout_ms"),
    ("port", "listen"),
    ("bind", "listen"),
    ("address", "listen"),
    ("cert", "certificate"),
    ("cert_file", "certificate"),
    ("environment", "env"),
    ("enabled", "disabled"),
];
/// The most known keys that a message names.
const KNOWN_SHOWN_MAX: usize = 24;

/// Takes out of the tree what the schema refuses, and says why.
pub(super) struct Checker<'s, 'p> {
    pub(super) root: &'s Schema,
    pub(super) problems: &'p mut Problems,
}

impl<'s> Checker<'s, '_> {
    /// Whether the value may stay.
    pub(super) fn check(&mut self, node: &mut Node, schema: &'s Schema, place: &At<'_>) -> bool {
        let whole = schema;
        let Some(schema) = self.resolve(node, whole) else {
            return self.wrong_kind(node, whole, place);
        };
        if let Some(words) = Self::words(schema) {
            return self.check_word(node, &words, place);
        }
        let types = types(schema);
        if types.is_empty() {
            return true;
        }
        adapt(node, &types);
        let is_number = types.contains(&"number") && matches!(node.value, Value::Number(_));
        if !types.contains(&kind(node)) && !is_number {
            return self.wrong_kind(node, whole, place);
        }
        match &mut node.value {
            Value::Map(entries) => {
                self.check_map(entries, schema, place);
                true
            }
            Value::List(items) => {
                if let Some(items_schema) = schema.get("items") {
                    for (index, item) in items.iter_mut().enumerate() {
                        let path = format!("{}[{index}]", place.path);
                        let span = pointed(item, place_start(item));
                        if !self.check(item, items_schema, &At { path: &path, span }) {
                            item.value = Value::Null;
                        } else if matches!(item.value, Value::Null) {
                            self.fault(&At { path: &path, span }, "an empty item".into(), None);
                        }
                    }
                }
                true
            }
            Value::Number(number) if is_number => self.check_real_range(number, schema, place),
            Value::Number(number) => self.check_range(number, schema, place),
            Value::Text(text) => self.check_length(text, schema, place),
            Value::Null | Value::Bool(..) => true,
        }
    }

    fn check_map(&mut self, entries: &mut Vec<Entry>, schema: &'s Schema, place: &At<'_>) {
        let properties = schema.get("properties").and_then(Schema::as_object);
        let others = schema.get("additionalProperties");
        entries.retain_mut(|entry| {
            let path = joined(place.path, entry.written.as_deref().unwrap_or(&entry.key));
            let known = properties.and_then(|properties| properties.get(&entry.key));
            let schema = match (known, others) {
                (None, Some(Schema::Bool(false))) => {
                    self.unknown_key(entry, properties, &path);
                    return false;
                }
                (Some(schema), _) | (None, Some(schema)) => schema,
                (None, None) => return true,
            };
            let span = pointed(&entry.value, entry.key_span);
            if known.is_some() && matches!(entry.value.value, Value::Null) {
                // A key without a value is as good as no key.
                return false;
            }
            self.check(&mut entry.value, schema, &At { path: &path, span })
        });
        let required = schema.get("required").and_then(Schema::as_array).into_iter().flatten();
        for key in required.filter_map(Schema::as_str) {
            if !entries.iter().any(|entry| entry.key == key) && !self.problems.below(&joined(place.path, key))
            {
                self.fault(place, format!("`{key}` is missing"), None);
            }
        }
    }

    fn unknown_key(
        &mut self,
        entry: &Entry,
        properties: Option<&serde_json::Map<String, Schema>>,
        path: &str,
    ) {
        let mut known: Vec<&str> =
            properties.into_iter().flat_map(|map| map.keys()).map(String::as_str).collect();
        known.sort_unstable();
        let foreign = FOREIGN
            .iter()
            .find(|(word, meant)| word.eq_ignore_ascii_case(&entry.key) && known.contains(meant))
            .map(|(_, meant)| *meant);
        let suggestion = match foreign.or_else(|| closest(&entry.key, known.iter().copied())) {
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None if known.len() <= KNOWN_SHOWN_MAX => Some(format!("known here: {}", listed(&known))),
            None => None,
        };
        self.problems.add(
            Severity::Error,
            entry.key_span,
            path,
            format!("unknown key `{}`", entry.written.as_deref().unwrap_or(&entry.key)),
            suggestion,
        );
    }

    /// Follows references, and picks the alternative that fits the kind of the value. `None` if none fits.
    fn resolve(&self, node: &Node, schema: &'s Schema) -> Option<&'s Schema> {
        let mut schema = schema;
        loop {
            if let Some(reference) = schema.get("$ref").and_then(Schema::as_str) {
                schema = self.root.pointer(reference.strip_prefix('#')?)?;
            } else if let Some(alternatives) = schema.get("anyOf").and_then(Schema::as_array) {
                schema = alternatives.iter().find(|alternative| {
                    self.resolve(node, alternative).is_some_and(|alternative| {
                        let types = types(alternative);
                        let accepts = |kind: &str| types.contains(&kind);
                        accepts(kind(node))
                            || (accepts("number") && kind(node) == "integer")
                            || (accepts("string") && is_scalar(node))
                            || Self::words(alternative).is_some()
                    })
                })?;
            } else {
                return Some(schema);
            }
        }
    }

    /// The words among which a schema lets choose, if it does.
    fn words(schema: &'s Schema) -> Option<Vec<&'s str>> {
        let list = schema.get("enum").or_else(|| schema.get("oneOf")).and_then(Schema::as_array)?;
        let word = |item: &'s Schema| item.as_str().or_else(|| item.get("const").and_then(Schema::as_str));
        Some(list.iter().filter_map(word).collect())
    }

    fn check_word(&mut self, node: &Node, words: &[&str], place: &At<'_>) -> bool {
        match &node.value {
            Value::Null => true,
            Value::Text(text) if words.contains(&text.text.as_str()) => true,
            Value::Text(text) => {
                let shown: Cow<'_, str> =
                    if text.expanded { "the value".into() } else { format!("`{}`", text.text).into() };
                let meant = if text.expanded { None } else { closest(&text.text, words.iter().copied()) };
                let suggestion = meant.map(|meant| format!("did you mean `{meant}`?"));
                self.fault(place, format!("{shown} is none of {}", listed(words)), suggestion);
                false
            }
            _ => {
                self.fault(place, format!("expected one of {}, found {}", listed(words), node.kind()), None);
                false
            }
        }
    }

    fn check_range(&mut self, number: &Number, schema: &Schema, place: &At<'_>) -> bool {
        let bound = |key| schema.get(key).and_then(Schema::as_u64);
        let (least, most) = (bound("minimum").unwrap_or(0), bound("maximum").unwrap_or(u64::MAX));
        match number.json.parse::<u64>() {
            Ok(value) if (least..=most).contains(&value) => true,
            _ => {
                let written = &number.written;
                self.fault(place, format!("{written} is not a whole number from {least} to {most}"), None);
                false
            }
        }
    }

    fn check_real_range(&mut self, number: &Number, schema: &Schema, place: &At<'_>) -> bool {
        let bound = |key| schema.get(key).and_then(Schema::as_f64);
        let (least, most) = (bound("minimum").unwrap_or(f64::MIN), bound("maximum").unwrap_or(f64::MAX));
        let fits = number.json.parse::<f64>().is_ok_and(|value| (least..=most).contains(&value));
        if !fits {
            let written = &number.written;
            self.fault(place, format!("{written} is not a number from {least} to {most}"), None);
        }
        fits
    }

    fn check_length(&mut self, text: &Text, schema: &Schema, place: &At<'_>) -> bool {
        let bound = |key| schema.get(key).and_then(Schema::as_u64);
        let length = text.text.chars().count() as u64;
        let (least, most) = (bound("minLength").unwrap_or(0), bound("maxLength").unwrap_or(u64::MAX));
        let fits = (least..=most).contains(&length);
        if !fits {
            self.fault(place, format!("has {length} characters; {least} to {most} are allowed"), None);
        }
        fits
    }

    fn wrong_kind(&mut self, node: &Node, schema: &'s Schema, place: &At<'_>) -> bool {
        let mut expected: Vec<&str> = Vec::new();
        self.expected(schema, &mut expected);
        let wants = |word: &str| expected.contains(&word);
        let suggestion = match &node.value {
            Value::Text(text) if wants("a whole number") && !text.expanded && plain(&text.text).is_some() => {
                Some("write the number without quotes".to_owned())
            }
            Value::Text(_) if wants("a list") => Some("write it as a list: `[…]`".to_owned()),
            Value::Null if wants("text") => Some("an empty text is written `\"\"`".to_owned()),
            Value::Number(_) | Value::Bool(..) if wants("text") => Some("write it in quotes".to_owned()),
            _ => None,
        };
        self.fault(place, format!("expected {}, found {}", expected.join(" or "), node.kind()), suggestion);
        false
    }

    fn expected(&self, schema: &'s Schema, out: &mut Vec<&'static str>) {
        if let Some(target) =
            schema.get("$ref").and_then(Schema::as_str).and_then(|r| self.root.pointer(r.strip_prefix('#')?))
        {
            self.expected(target, out);
        }
        for alternative in schema.get("anyOf").and_then(Schema::as_array).into_iter().flatten() {
            self.expected(alternative, out);
        }
        let types = types(schema);
        for (kind, word) in [
            ("string", "text"),
            ("integer", "a whole number"),
            ("number", "a number"),
            ("boolean", "true or false"),
            ("array", "a list"),
            ("object", "a mapping"),
        ] {
            let instead_of_text = matches!(kind, "boolean" | "number") && types.contains(&"string");
            if types.contains(&kind) && !instead_of_text && !out.contains(&word) {
                out.push(word);
            }
        }
    }

    fn fault(&mut self, place: &At<'_>, message: String, suggestion: Option<String>) {
        self.problems.add(Severity::Error, place.span, place.path, message, suggestion);
    }
}

/// Where the value under check stands.
pub(super) struct At<'a> {
    pub(super) path: &'a str,
    pub(super) span: super::node::Span,
}

impl<'a> From<&'a Place<'_>> for At<'a> {
    fn from(place: &'a Place<'_>) -> Self {
        Self { path: &place.path, span: place.span }
    }
}

fn place_start(node: &Node) -> super::node::Span {
    super::node::Span { start: node.span.start, end: node.span.start }
}

/// Reads a value as the kind that the schema wants, where nothing is lost: a number where text is wanted, and a text out of
/// the environment where a number or truth value is wanted.
fn adapt(node: &mut Node, types: &[&str]) {
    let wants = |kind: &str| types.contains(&kind);
    let adapted = match &node.value {
        Value::Number(Number { written, .. }) | Value::Bool(_, written)
            if wants("string") && (wants("number") || wants("boolean")) =>
        {
            Value::Text(Text { text: written.clone(), expanded: false })
        }
        Value::Text(Text { text, expanded: true })
            if wants("integer") || ((wants("number") || wants("boolean")) && !wants("string")) =>
        {
            match plain(text) {
                Some(value) => value,
                None => return,
            }
        }
        _ => return,
    };
    node.value = adapted;
}

fn types(schema: &Schema) -> Vec<&str> {
    match schema.get("type") {
        Some(Schema::String(kind)) => vec![kind],
        Some(Schema::Array(kinds)) => kinds.iter().filter_map(Schema::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The JSON Schema type of a value. A number counts as whole here; its range is checked later.
fn kind(node: &Node) -> &'static str {
    match &node.value {
        Value::Null => "null",
        Value::Bool(..) => "boolean",
        Value::Number(_) => "integer",
        Value::Text(_) => "string",
        Value::List(_) => "array",
        Value::Map(_) => "object",
    }
}

fn is_scalar(node: &Node) -> bool {
    matches!(node.value, Value::Bool(..) | Value::Number(_) | Value::Text(_))
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}
