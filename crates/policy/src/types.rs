//! What Cedar type an argument has, as its tool's JSON Schema says.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};

/// Schemas that nest more deeply, or that refer to themselves, give no type from there on.
const DEPTH_MAX: usize = 16;
/// How many types one tool may have, so that `$ref` cannot multiply a small schema into a huge one.
const TYPES_MAX: usize = 4_096;

/// The type of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Type {
    /// A string.
    Text,
    /// An integer of 64 bits.
    Long,
    /// `true` or `false`.
    Bool,
    /// A number with at most four decimals.
    Decimal,
    /// An array, without order and repetition.
    Set(Box<Type>),
    /// An object.
    Record(Record),
}

/// The members of an object that have a type.
pub(crate) type Record = BTreeMap<Arc<str>, Field>;

/// One member of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) kind: Type,
    pub(crate) is_required: bool,
}

/// What is known of the arguments of a tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Input {
    /// Those that have a type.
    pub(crate) record: Record,
    /// Those that have none, and why; the whole is named by an empty path.
    pub(crate) untyped: Vec<(String, Why)>,
}

/// Why something has no type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Why {
    #[error("the tool has no input schema")]
    NoSchema,
    #[error("its schema is not JSON")]
    NotJson,
    #[error("its schema describes no object with properties")]
    NoObject,
    #[error("its schema names no type")]
    NoType,
    #[error("its schema names a type that JSON Schema does not have")]
    UnknownType,
    #[error("it may be of several types")]
    Several,
    #[error("its schema refers to something that is not there")]
    Dangling,
    #[error("its schema refers to itself, or nests too deeply")]
    Depth,
    #[error("it is an array whose elements have no one type")]
    Elements,
    #[error("its schema is too large")]
    Size,
}

impl Input {
    /// Reads the schema of a tool's arguments.
    pub(crate) fn of(schema: Option<&[u8]>) -> Self {
        let none = |why| Self { record: Record::new(), untyped: vec![(String::new(), why)] };
        let Some(schema) = schema else { return none(Why::NoSchema) };
        let Ok(root) = serde_json::from_slice::<Value>(schema) else { return none(Why::NotJson) };
        let mut reader = Reader { root: &root, left: TYPES_MAX, untyped: Vec::new() };
        match reader.whole(&root) {
            Ok(record) => Self { record, untyped: reader.untyped },
            Err(why) => none(why),
        }
    }
}

struct Reader<'a> {
    root: &'a Value,
    left: usize,
    untyped: Vec<(String, Why)>,
}

impl<'a> Reader<'a> {
    fn whole(&mut self, schema: &'a Value) -> Result<Record, Why> {
        let schema = self.resolve(schema, DEPTH_MAX)?.as_object().ok_or(Why::NoObject)?;
        let is_object = schema.get("type").is_none_or(|kind| kind == "object");
        let is_open = ["properties", "additionalProperties"].iter().any(|key| schema.contains_key(*key));
        // An object without properties is one without arguments, unless what it may have is said elsewhere.
        let is_elsewhere = ["anyOf", "oneOf", "allOf", "if", "patternProperties"]
            .iter()
            .any(|key| schema.contains_key(*key));
        if !is_object || (!is_open && is_elsewhere) || (schema.get("type").is_none() && !is_open) {
            return Err(Why::NoObject);
        }
        self.record(schema, "", DEPTH_MAX)
    }

    /// The members of an object that have a type; of the others it is noted that they have none.
    fn record(&mut self, schema: &'a Map<String, Value>, path: &str, depth: usize) -> Result<Record, Why> {
        let required: Vec<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        let mut record = Record::new();
        let Some(properties) = schema.get("properties") else { return Ok(record) };
        for (name, property) in properties.as_object().ok_or(Why::NoObject)? {
            let mut place = path.to_owned();
            let _ = write!(place, "{}{name}", if path.is_empty() { "" } else { "." });
            match self.kind(property, &place, depth) {
                Ok((kind, is_nullable)) => {
                    let is_required = required.contains(&name.as_str()) && !is_nullable;
                    record.insert(Arc::from(name.as_str()), Field { kind, is_required });
                }
                Err(Why::Size) => return Err(Why::Size),
                Err(why) => self.untyped.push((place, why)),
            }
        }
        Ok(record)
    }

    /// The type that a schema describes, and whether `null` is allowed beside it.
    fn kind(&mut self, schema: &'a Value, path: &str, depth: usize) -> Result<(Type, bool), Why> {
        self.left = self.left.checked_sub(1).ok_or(Why::Size)?;
        let depth = depth.checked_sub(1).ok_or(Why::Depth)?;
        let schema = self.resolve(schema, depth)?.as_object().ok_or(Why::NoType)?;
        match schema.get("type") {
            Some(Value::String(name)) => Ok((self.named(name, schema, path, depth)?, false)),
            Some(Value::Array(names)) => {
                let is_nullable = names.iter().any(|name| name == "null");
                let mut names = names.iter().filter(|name| *name != "null");
                let (Some(name), None) = (names.next(), names.next()) else { return Err(Why::Several) };
                let name = name.as_str().ok_or(Why::UnknownType)?;
                Ok((self.named(name, schema, path, depth)?, is_nullable))
            }
            Some(_) => Err(Why::UnknownType),
            None => self.unnamed(schema, path, depth),
        }
    }

    fn named(
        &mut self,
        name: &str,
        schema: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<Type, Why> {
        match name {
            "string" => Ok(Type::Text),
            "integer" => Ok(Type::Long),
            "boolean" => Ok(Type::Bool),
            "number" => Ok(Type::Decimal),
            "object" => Ok(Type::Record(self.record(schema, path, depth)?)),
            "array" if schema.contains_key("prefixItems") => Err(Why::Elements),
            "array" => {
                let items = schema.get("items").ok_or(Why::Elements)?;
                let noted = self.untyped.len();
                let (element, is_nullable) = self.kind(items, path, depth).map_err(|why| match why {
                    Why::Size => why,
                    _ => Why::Elements,
                })?;
                // An element of which a part cannot be seen would be taken for another one.
                if is_nullable || self.untyped.len() > noted {
                    self.untyped.truncate(noted);
                    return Err(Why::Elements);
                }
                Ok(Type::Set(Box::new(element)))
            }
            "null" => Err(Why::NoType),
            _ => Err(Why::UnknownType),
        }
    }

    /// The type where `type` does not name it.
    fn unnamed(
        &mut self,
        schema: &'a Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Result<(Type, bool), Why> {
        for key in ["anyOf", "oneOf", "allOf"] {
            if let Some(branches) = schema.get(key).and_then(Value::as_array) {
                return self.branches(branches, path, depth);
            }
        }
        if schema.contains_key("properties") {
            return Ok((Type::Record(self.record(schema, path, depth)?), false));
        }
        let values: Vec<&Value> = match (schema.get("enum"), schema.get("const")) {
            (Some(values), _) => values.as_array().map(|values| values.iter().collect()).unwrap_or_default(),
            (None, Some(value)) => vec![value],
            (None, None) => Vec::new(),
        };
        let is_nullable = values.iter().any(|value| value.is_null());
        let values: Vec<_> = values.into_iter().filter(|value| !value.is_null()).collect();
        let kind = |value: &Value| match value {
            Value::String(_) => Some(Type::Text),
            Value::Number(number) => (!number.is_f64()).then_some(Type::Long),
            Value::Bool(_) => Some(Type::Bool),
            _ => None,
        };
        let first = values.first().and_then(|value| kind(value)).ok_or(Why::NoType)?;
        let is_same = values.iter().all(|value| kind(value).as_ref() == Some(&first));
        if is_same { Ok((first, is_nullable)) } else { Err(Why::NoType) }
    }

    /// The type on which all branches agree, `null` aside.
    fn branches(&mut self, branches: &'a [Value], path: &str, depth: usize) -> Result<(Type, bool), Why> {
        let mut agreed = None;
        let mut is_nullable = false;
        for branch in branches {
            if branch.get("type").is_some_and(|name| name == "null") {
                is_nullable = true;
                continue;
            }
            let (kind, with_null) = self.kind(branch, path, depth)?;
            is_nullable |= with_null;
            match &agreed {
                None => agreed = Some(kind),
                Some(other) if *other == kind => {}
                Some(_) => return Err(Why::Several),
            }
        }
        agreed.map(|kind| (kind, is_nullable)).ok_or(Why::NoType)
    }

    /// Follows `$ref`s within the schema.
    fn resolve(&self, schema: &'a Value, depth: usize) -> Result<&'a Value, Why> {
        let mut schema = schema;
        for _ in 0..=depth {
            let Some(reference) = schema.get("$ref") else { return Ok(schema) };
            let pointer = reference.as_str().and_then(|text| text.strip_prefix('#')).ok_or(Why::Dangling)?;
            schema = self.root.pointer(pointer).ok_or(Why::Dangling)?;
        }
        Err(Why::Depth)
    }
}

/// A type in Cedar's JSON form of schemas.
pub(crate) fn emit(kind: &Type) -> Value {
    match kind {
        Type::Text => json!({"type": "String"}),
        Type::Long => json!({"type": "Long"}),
        Type::Bool => json!({"type": "Boolean"}),
        Type::Decimal => json!({"type": "Extension", "name": "decimal"}),
        Type::Set(element) => json!({"type": "Set", "element": emit(element)}),
        Type::Record(record) => emit_record(record.iter().map(|(name, field)| (&**name, field))),
    }
}

/// A record in Cedar's JSON form of schemas.
pub(crate) fn emit_record<'a>(fields: impl Iterator<Item = (&'a str, &'a Field)>) -> Value {
    let attributes: Map<String, Value> = fields
        .map(|(name, field)| {
            let mut kind = emit(&field.kind);
            if let Some(kind) = kind.as_object_mut() {
                kind.insert("required".to_owned(), Value::Bool(field.is_required));
            }
            (name.to_owned(), kind)
        })
        .collect();
    json!({"type": "Record", "attributes": attributes})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(schema: &str) -> Result<(Type, bool), Why> {
        let root: Value = serde_json::from_str(schema).unwrap();
        Reader { root: &root, left: TYPES_MAX, untyped: Vec::new() }.kind(&root, "x", DEPTH_MAX)
    }

    fn text_set() -> Type {
        Type::Set(Box::new(Type::Text))
    }

    #[test]
    fn what_has_a_type() {
        for (schema, expected) in [
            (r#"{"type":"string","format":"date-time"}"#, (Type::Text, false)),
            (r#"{"type":["integer","null"]}"#, (Type::Long, true)),
            (r#"{"type":"number"}"#, (Type::Decimal, false)),
            (r#"{"enum":["a","b"]}"#, (Type::Text, false)),
            (r#"{"enum":["a",null]}"#, (Type::Text, true)),
            (r#"{"const":7}"#, (Type::Long, false)),
            (r#"{"anyOf":[{"type":"boolean"},{"type":"null"}]}"#, (Type::Bool, true)),
            (r#"{"oneOf":[{"type":"string"},{"type":"string","maxLength":3}]}"#, (Type::Text, false)),
            (r#"{"type":"array","items":{"type":"string"}}"#, (text_set(), false)),
            (r##"{"allOf":[{"$ref":"#/$defs/a"}],"$defs":{"a":{"type":"string"}}}"##, (Type::Text, false)),
        ] {
            assert_eq!(kind(schema), Ok(expected), "{schema}");
        }
    }

    #[test]
    fn what_has_none() {
        for (schema, why) in [
            ("true", Why::NoType),
            ("{}", Why::NoType),
            (r#"{"type":"String"}"#, Why::UnknownType),
            (r#"{"type":["string","integer"]}"#, Why::Several),
            (r#"{"anyOf":[{"type":"string"},{"type":"integer"}]}"#, Why::Several),
            (r#"{"enum":["a",1]}"#, Why::NoType),
            (r#"{"type":"array"}"#, Why::Elements),
            (r#"{"type":"array","items":{"type":["string","null"]}}"#, Why::Elements),
            (r#"{"type":"array","items":{"type":"object","properties":{"a":{}}}}"#, Why::Elements),
            (r##"{"$ref":"#/nowhere"}"##, Why::Dangling),
            (r##"{"$ref":"#"}"##, Why::Depth),
        ] {
            assert_eq!(kind(schema), Err(why), "{schema}");
        }
    }

    #[test]
    fn an_odd_argument_loses_only_its_own_type() {
        let schema = br##"{"type":"object","required":["a","n"],"properties":{"a":{"type":"string"},"odd":{},
            "in":{"type":"integer"},"n":{"type":["string","null"]},"tree":{"$ref":"#/$defs/tree"}},
            "$defs":{"tree":{"type":"object","properties":{"down":{"$ref":"#/$defs/tree"},"leaf":{"type":"string"}}}}}"##;
        let input = Input::of(Some(schema));
        assert_eq!(input.record.keys().map(|name| &**name).collect::<Vec<_>>(), ["a", "in", "n", "tree"]);
        assert!(input.record["a"].is_required && !input.record["n"].is_required);
        assert_eq!(input.untyped[0], ("odd".to_owned(), Why::NoType));
        assert!(input.untyped[1].0.starts_with("tree.down.down") && input.untyped[1].1 == Why::Depth);
    }

    #[test]
    fn schemas_that_describe_no_object() {
        for (schema, why) in [
            (None, Why::NoSchema),
            (Some("{"), Why::NotJson),
            (Some("true"), Why::NoObject),
            (Some("{}"), Why::NoObject),
            (Some(r#"{"type":"string"}"#), Why::NoObject),
            (Some(r#"{"type":"object","anyOf":[{"properties":{"a":{"type":"string"}}}]}"#), Why::NoObject),
        ] {
            let input = Input::of(schema.map(str::as_bytes));
            assert_eq!(input.untyped, [(String::new(), why)], "{schema:?}");
        }
        assert_eq!(Input::of(Some(br#"{"type":"object"}"#)), Input::default());
    }

    #[test]
    fn references_cannot_multiply_a_schema() {
        let mut defs = String::new();
        for level in 0..14 {
            let next = format!(r##"{{"$ref":"#/$defs/d{}"}}"##, level + 1);
            let _ = write!(
                defs,
                r#""d{level}":{{"type":"object","properties":{{"a":{next},"b":{next},"c":{next}}}}},"#
            );
        }
        let schema = format!(
            r##"{{"type":"object","properties":{{"x":{{"$ref":"#/$defs/d0"}}}},"$defs":{{{defs}"d14":{{"type":"string"}}}}}}"##
        );
        assert_eq!(Input::of(Some(schema.as_bytes())).untyped, [(String::new(), Why::Size)]);
    }
}
