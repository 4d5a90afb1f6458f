//! Random JSON: as values, and as text with random whitespace and escapes.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

/// A JSON value. Keys of an object are unique; numbers are as written.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Word(&'static str),
    Number(String),
    Text(String),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Random values, nested and of all kinds.
pub(super) fn node() -> impl Strategy<Value = Node> + Clone {
    leaf().prop_recursive(4, 32, 5, |inner| {
        prop_oneof![vec(inner.clone(), 0..5).prop_map(Node::Array), members(inner).prop_map(Node::Object)]
    })
}

/// A random object; sometimes with so many members that duplicates are looked for in the other way.
pub(super) fn object() -> impl Strategy<Value = Node> {
    let many = vec((text(), leaf()), 30..45).prop_map(unique);
    prop_oneof![19 => members(node()), 1 => many].prop_map(Node::Object)
}

fn leaf() -> impl Strategy<Value = Node> + Clone {
    prop_oneof![
        prop::sample::select(vec!["null", "true", "false"]).prop_map(Node::Word),
        number().prop_map(Node::Number),
        text().prop_map(Node::Text),
    ]
}

fn members(value: impl Strategy<Value = Node> + Clone) -> impl Strategy<Value = Vec<(String, Node)>> + Clone {
    vec((text(), value), 0..6).prop_map(unique)
}

fn unique(mut pairs: Vec<(String, Node)>) -> Vec<(String, Node)> {
    let mut seen = HashSet::new();
    pairs.retain(|(key, _)| seen.insert(key.clone()));
    pairs
}

/// Random text: short, of many scripts, or full of what needs escaping.
pub(super) fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        4 => "[a-c_]{0,3}",
        2 => any::<String>(),
        2 => "[\"\\\\\u{0}-\u{20}/aé😀]{0,80}",
        1 => "[ -~]{0,100}",
    ]
}

fn number() -> impl Strategy<Value = String> + Clone {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?",
        "-?[1-9][0-9]{400}",
        any::<i64>().prop_map(|n| n.to_string()),
    ]
}

/// Writes a value with whitespace and escapes chosen by `noise`, which is used over and over.
pub(super) fn write(node: &Node, noise: &[u8]) -> String {
    let mut writer = Writer { text: String::new(), noise: noise.iter().cycle() };
    writer.node(node);
    writer.blank();
    writer.text
}

struct Writer<'a> {
    text: String,
    noise: std::iter::Cycle<std::slice::Iter<'a, u8>>,
}

impl Writer<'_> {
    fn dice(&mut self) -> u8 {
        self.noise.next().copied().unwrap_or(0)
    }

    fn blank(&mut self) {
        match self.dice() % 16 {
            1 => self.text.push(' '),
            2 => self.text.push_str("\r\n\t"),
            3 => self.text.push_str("\n        "),
            _ => {}
        }
    }

    fn node(&mut self, node: &Node) {
        self.blank();
        match node {
            Node::Word(word) => self.text.push_str(word),
            Node::Number(number) => self.text.push_str(number),
            Node::Text(text) => self.string(text),
            Node::Array(items) => {
                self.text.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.comma(index);
                    self.node(item);
                }
                self.blank();
                self.text.push(']');
            }
            Node::Object(members) => {
                self.text.push('{');
                for (index, (key, value)) in members.iter().enumerate() {
                    self.comma(index);
                    self.blank();
                    self.string(key);
                    self.blank();
                    self.text.push(':');
                    self.node(value);
                }
                self.blank();
                self.text.push('}');
            }
        }
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.blank();
            self.text.push(',');
        }
    }

    fn string(&mut self, text: &str) {
        self.text.push('"');
        for character in text.chars() {
            let must_escape = matches!(character, '"' | '\\' | '\0'..='\u{1f}');
            let dice = self.dice();
            match character {
                '\n' if dice.is_multiple_of(2) => self.text.push_str("\\n"),
                '"' | '\\' | '/' if dice.is_multiple_of(2) => self.text.extend(['\\', character]),
                _ if must_escape || dice.is_multiple_of(16) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        let escape = if dice.is_multiple_of(3) {
                            format!("\\u{unit:04X}")
                        } else {
                            format!("\\u{unit:04x}")
                        };
                        self.text.push_str(&escape);
                    }
                }
                _ => self.text.push(character),
            }
        }
        self.text.push('"');
    }
}

/// Bytes that are nearly JSON: valid text with a few changes, or a soup of its characters.
pub(super) fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), 0..4_u8, piece());
    let mutated = (node(), vec(any::<u8>(), 1..20), vec(change, 1..4)).prop_map(|(node, noise, changes)| {
        let mut bytes = write(&node, &noise).into_bytes();
        for (index, kind, piece) in changes {
            let at = index.index(bytes.len().max(1));
            match kind {
                0 if at < bytes.len() => drop(bytes.remove(at)),
                1 => bytes.truncate(at),
                2 if at < bytes.len() => bytes[at] = piece[0],
                _ => drop(bytes.splice(at..at, piece)),
            }
        }
        bytes
    });
    prop_oneof![mutated, vec(piece(), 0..12).prop_map(|pieces| pieces.concat()), vec(any::<u8>(), 0..40)]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let pieces: &[&[u8]] = &[
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\"",
        b"\\",
        b"\"a\"",
        b"\"\\u0061\"",
        b"\"a\":1",
        b"\\u",
        b"\\ud83d",
        b"\\udE00",
        b"\\uD800",
        b"\\n",
        b"\\x",
        b"0",
        b"01",
        b"1",
        b"-",
        b".",
        b"e",
        b"E+",
        b"1.5e3",
        b"true",
        b"nul",
        b"false",
        b" ",
        b"\n",
        b"\x0b",
        b"\x00",
        b"\x1f",
        b"\x7f",
        b"\xc3\xa9",
        b"\xff",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"/*x*/",
        b"'a'",
    ];
    prop::sample::select(pieces.to_vec()).prop_map(<[u8]>::to_vec)
}
