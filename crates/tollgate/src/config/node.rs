//! A configuration file as a tree that remembers where each part stands, whatever the syntax was.

use std::fmt::Write as _;

/// The deepest nesting that a configuration may have.
pub(super) const DEPTH_MAX: usize = 64;
/// The most values that a configuration may have, counted after aliases are followed.
pub(super) const NODES_MAX: usize = 200_000;

/// A stretch of the source, half-open, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// A value, of one of the kinds that JSON knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool, String),
    Number(Number),
    Text(Text),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A number, with all its digits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Number {
    /// As it stands in the source: `0x1F`, `1.10`.
    pub(super) written: String,
    /// As JSON writes it.
    pub(super) json: String,
}

/// A text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether something from the environment or a file was put in: then it may stand for a number, and is never shown.
    pub(super) expanded: bool,
}

/// One key of a mapping and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The key that Tollgate reads.
    pub(super) key: String,
    /// The key as the file has it, where a client's own word was translated.
    pub(super) written: Option<String>,
    pub(super) key_span: Span,
    pub(super) value: Node,
}

impl Node {
    pub(super) fn map(span: Span, entries: Vec<Entry>) -> Self {
        Self { span, value: Value::Map(entries) }
    }

    /// The entries, if this is a mapping.
    pub(super) fn entries(&self) -> Option<&[Entry]> {
        match &self.value {
            Value::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The entry of this key, if this is a mapping that has it.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries()?.iter().find(|entry| entry.key == key)
    }

    /// The value of this key, if this is a mapping that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// What this is, in the words of a message.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(..) => "true or false",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    /// Appends the value as JSON, numbers with all their digits.
    pub(super) fn write_json(&self, out: &mut String) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(yes, _) => out.push_str(if *yes { "true" } else { "false" }),
            Value::Number(number) => out.push_str(&number.json),
            Value::Text(text) => write_quoted(&text.text, out),
            Value::List(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_json(out);
                }
                out.push(']');
            }
            Value::Map(entries) => {
                out.push('{');
                for (index, entry) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    write_quoted(&entry.key, out);
                    out.push(':');
                    entry.value.write_json(out);
                }
                out.push('}');
            }
        }
    }
}

fn write_quoted(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < '\u{20}' => {
                // Writing to a `String` cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A place in the tree: how it is reached, where it stands, and what is there (perhaps nothing).
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    /// `servers.files.args[0]`.
    pub(super) path: String,
    /// What a message should point at: the value if it is short, otherwise its key.
    pub(super) span: Span,
    pub(super) node: Option<&'a Node>,
}

impl<'a> Place<'a> {
    pub(super) fn root(node: &'a Node) -> Self {
        Self {
            path: String::new(),
            span: Span { start: node.span.start, end: node.span.start },
            node: Some(node),
        }
    }

    /// The place of a key. If the key is not there, messages point at where it would belong.
    pub(super) fn key(&self, key: &str) -> Self {
        match self.node.and_then(|node| node.entry(key)) {
            Some(entry) => Self {
                path: joined(&self.path, entry.written.as_deref().unwrap_or(key)),
                span: pointed(&entry.value, entry.key_span),
                node: Some(&entry.value),
            },
            None => Self { path: joined(&self.path, key), span: self.span, node: None },
        }
    }

    /// The place of an item of a list.
    pub(super) fn item(&self, index: usize) -> Self {
        let items = match self.node.map(|node| &node.value) {
            Some(Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let node = items.get(index);
        Self {
            path: format!("{}[{index}]", self.path),
            span: node.map_or(self.span, |node| {
                pointed(node, Span { start: node.span.start, end: node.span.start })
            }),
            node,
        }
    }
}

/// What to point at for a value under this key.
pub(super) fn pointed(value: &Node, key: Span) -> Span {
    match value.value {
        Value::List(_) | Value::Map(_) | Value::Null => key,
        _ => value.span,
    }
}

/// The path of a key below another path: `servers.files`, `mcpServers."My files"`.
pub(super) fn joined(path: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let key = if plain { key.to_owned() } else { format!("{key:?}") };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}
