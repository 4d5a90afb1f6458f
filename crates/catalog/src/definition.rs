//! Reads from a server's list what policies are written about.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_mcp::Span;
use tollgate_mcp::json;

use crate::known::ToolDefinition;

impl ToolDefinition {
    /// One item of `tools/list`, as the server wrote it. `None` if it has no name, so that nobody can call it.
    pub fn read(item: &Bytes) -> Option<Self> {
        let find = |object, key| json::find(item, object, key);
        let whole = Span::all(item);
        let native = find(whole, "name").and_then(|name| json::text(item, name))?;
        let annotations = find(whole, "annotations");
        let hint = |key| {
            let value = annotations.and_then(|annotations| find(annotations, key))?;
            match value.of(item) {
                b"true" => Some(true),
                b"false" => Some(false),
                _ => None,
            }
        };
        let read_only = hint("readOnlyHint").unwrap_or(false);
        Some(Self {
            native: Arc::from(&*native),
            input_schema: find(whole, "inputSchema").map(|schema| schema.slice(item)),
            read_only,
            destructive: !read_only && hint("destructiveHint").unwrap_or(true),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(item: &str) -> Option<(String, Option<String>, bool, bool)> {
        let tool = ToolDefinition::read(&Bytes::copy_from_slice(item.as_bytes()))?;
        let schema = tool.input_schema.map(|schema| String::from_utf8_lossy(&schema).into_owned());
        Some((tool.native.to_string(), schema, tool.read_only, tool.destructive))
    }

    #[test]
    fn hints_have_the_defaults_of_the_specification() {
        let hints = |annotations: &str| {
            read(&format!(r#"{{"name":"a","annotations":{annotations}}}"#)).map(|tool| (tool.2, tool.3))
        };
        assert_eq!(read(r#"{"name":"a"}"#), Some(("a".into(), None, false, true)));
        assert_eq!(hints(r#"{"readOnlyHint":true,"destructiveHint":true}"#), Some((true, false)));
        assert_eq!(hints(r#"{"destructiveHint":false}"#), Some((false, false)));
        assert_eq!(hints(r#"{"readOnlyHint":"yes","destructiveHint":null}"#), Some((false, true)));
        assert_eq!(hints("[]"), Some((false, true)));
    }

    #[test]
    fn the_schema_stays_as_it_was_written_and_a_tool_needs_a_name() {
        let item =
            r#"{"title":"A","name":"\u0061","inputSchema": {"type":"object", "maxProperties": 1e400}}"#;
        let schema = r#"{"type":"object", "maxProperties": 1e400}"#;
        assert_eq!(read(item), Some(("a".into(), Some(schema.into()), false, true)));
        assert_eq!(read(r#"{"name":7}"#), None);
        assert_eq!(read("[]"), None);
    }
}
