//! The arguments of a tool that its schema wants repeated as HTTP headers: `x-mcp-header` (2026-07-28, Streamable
//! HTTP, custom headers from tool parameters).

use tollgate_mcp::headers::{MCP_PARAM_PREFIX, is_param_name};
use tollgate_mcp::json::{self, JsonKind, Span};

use crate::list::Item;

/// How deep a schema is searched. Deeper ones are taken to be invalid.
const DEPTH_MAX: usize = 64;

/// One such argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The header's whole name, in lower case: `mcp-param-region`.
    pub header: String,
    /// Where the argument stands: the keys that lead to it from `arguments`.
    pub path: Vec<String>,
}

/// A schema breaks the rules for such arguments. A tool that has one must not be listed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMirror {
    /// The value of `x-mcp-header` cannot name a header.
    #[error("an `x-mcp-header` is not a header-field token")]
    Token,
    /// Two arguments want the same header.
    #[error("two `x-mcp-header` annotations name the same header")]
    Twice,
    /// The argument is not a string, an integer or a boolean.
    #[error("an `x-mcp-header` stands on something other than a string, integer or boolean")]
    Kind,
    /// The annotation stands where no fixed path of properties leads.
    #[error("an `x-mcp-header` stands where only `properties` may not lead")]
    Place,
}

/// The arguments of a tool that are repeated as headers.
pub fn mirrored(item: &Item) -> Result<Vec<Mirrored>, InvalidMirror> {
    let bytes = item.raw();
    // Nearly no tool has any: one look at the bytes spares the walk. An escaped spelling has a backslash.
    if !json::mentions(bytes, "x-mcp-header") {
        return Ok(Vec::new());
    }
    let Some(schema) = json::find(bytes, Span::all(bytes), "inputSchema") else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    schema_at(bytes, schema, &mut Vec::new(), &mut found)?;
    Ok(found)
}

/// A schema that a chain of `properties` has led to.
fn schema_at(
    bytes: &[u8],
    schema: Span,
    path: &mut Vec<String>,
    found: &mut Vec<Mirrored>,
) -> Result<(), InvalidMirror> {
    if path.len() > DEPTH_MAX {
        return Err(InvalidMirror::Place);
    }
    for member in json::members(bytes, schema) {
        match &*member.key(bytes) {
            "x-mcp-header" => found.push(annotation(bytes, schema, member.value, path, found)?),
            "properties" => {
                for property in json::members(bytes, member.value) {
                    path.push(property.key(bytes).into_owned());
                    schema_at(bytes, property.value, path, found)?;
                    path.pop();
                }
            }
            // What these hold is data, not schemas.
            "default" | "const" | "enum" | "examples" => {}
            _ => nowhere_below(bytes, member.value, 0)?,
        }
    }
    Ok(())
}

fn annotation(
    bytes: &[u8],
    schema: Span,
    value: Span,
    path: &[String],
    found: &[Mirrored],
) -> Result<Mirrored, InvalidMirror> {
    if path.is_empty() {
        return Err(InvalidMirror::Place);
    }
    let name = json::text(bytes, value).filter(|name| is_param_name(name)).ok_or(InvalidMirror::Token)?;
    let kind = json::find(bytes, schema, "type").and_then(|span| json::text(bytes, span));
    if !matches!(kind.as_deref(), Some("string" | "integer" | "boolean")) {
        return Err(InvalidMirror::Kind);
    }
    let header = format!("{MCP_PARAM_PREFIX}{}", name.to_ascii_lowercase());
    if found.iter().any(|other| other.header == header) {
        return Err(InvalidMirror::Twice);
    }
    Ok(Mirrored { header, path: path.to_vec() })
}

/// Below any other keyword there may be no annotation.
fn nowhere_below(bytes: &[u8], value: Span, depth: usize) -> Result<(), InvalidMirror> {
    if depth > DEPTH_MAX {
        return Err(InvalidMirror::Place);
    }
    match json::kind_of(bytes, value) {
        JsonKind::Object => {
            for member in json::members(bytes, value) {
                match &*member.key(bytes) {
                    "x-mcp-header" => return Err(InvalidMirror::Place),
                    "properties" => {
                        // The keys here are names of properties, whatever they are.
                        for property in json::members(bytes, member.value) {
                            nowhere_below(bytes, property.value, depth + 1)?;
                        }
                    }
                    "default" | "const" | "enum" | "examples" => {}
                    _ => nowhere_below(bytes, member.value, depth + 1)?,
                }
            }
        }
        JsonKind::Array => {
            for element in json::elements(bytes, value) {
                nowhere_below(bytes, element, depth + 1)?;
            }
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::list::ListKind;
    use bytes::Bytes;

    fn of(schema: &str) -> Result<Vec<(String, String)>, InvalidMirror> {
        let raw = Bytes::from(format!(r#"{{"name":"t","inputSchema":{schema}}}"#));
        let item = Item::read(raw, ListKind::Tools).expect("an item");
        let found = mirrored(&item)?;
        Ok(found.into_iter().map(|mirrored| (mirrored.header, mirrored.path.join("."))).collect())
    }

    #[test]
    fn annotations_are_found_where_they_may_stand() {
        let schema = r#"{"type":"object","properties":{
            "region":{"type":"string","x-mcp-header":"Region"},
            "where":{"type":"object","properties":{"zone":{"type":"integer","x-mcp-header":"Zone"}}},
            "x-mcp-header":{"type":"string"},
            "data":{"type":"object","default":{"x-mcp-header":"no annotation"}}}}"#;
        let found = of(schema).expect("valid");
        let expected = [("mcp-param-region", "region"), ("mcp-param-zone", "where.zone")];
        assert_eq!(found, expected.map(|(header, path)| (header.to_owned(), path.to_owned())));
    }

    #[test]
    fn annotations_elsewhere_or_of_another_kind_are_invalid() {
        for (schema, error) in [
            (r#"{"x-mcp-header":"A"}"#, InvalidMirror::Place),
            (
                r#"{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}"#,
                InvalidMirror::Place,
            ),
            (
                r#"{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}"#,
                InvalidMirror::Place,
            ),
            (r#"{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}"#, InvalidMirror::Kind),
            (r#"{"properties":{"a":{"x-mcp-header":"A"}}}"#, InvalidMirror::Kind),
            (r#"{"properties":{"a":{"type":"string","x-mcp-header":""}}}"#, InvalidMirror::Token),
            (r#"{"properties":{"a":{"type":"string","x-mcp-header":"a b"}}}"#, InvalidMirror::Token),
            (r#"{"properties":{"a":{"type":"string","x-mcp-header":7}}}"#, InvalidMirror::Token),
            (
                r#"{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}"#,
                InvalidMirror::Twice,
            ),
        ] {
            assert_eq!(of(schema), Err(error), "{schema}");
        }
    }
}
