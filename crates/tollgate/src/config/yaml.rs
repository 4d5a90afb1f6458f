//! Reads one YAML 1.2 document (core schema) into a tree. Aliases are followed; tags other than the core schema's, several
//! documents, and keys that are no scalars are refused.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, Tag};

use super::json::{Syntax, is_number};
use super::node::{DEPTH_MAX, Entry, NODES_MAX, Node, Number, Span, Text, Value};

/// Reads the one document of a text. An empty text is [`Value::Null`].
pub(super) fn read(source: &str) -> Result<Node, Syntax> {
    let mut options = granit_parser::options! { disallow_directives: true, block_nesting_limit: DEPTH_MAX, flow_nesting_limit: DEPTH_MAX };
    options.set_emit_comments(false);
    let mut reader = Reader {
        events: Parser::new_from_str_with_options(source, options),
        anchors: HashMap::new(),
        nodes: 0,
        source,
    };
    let mut document = None;
    while let Some((event, span)) = reader.event()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(..) if document.is_some() => {
                return Err(fault(
                    span,
                    "a second YAML document begins here",
                    "one file holds one configuration",
                ));
            }
            Event::DocumentStart(..) => {
                let (event, span) = reader.expect()?;
                document = Some(reader.node(event, span, 0)?);
            }
            _ => return Err(fault(span, "not expected here", "")),
        }
    }
    Ok(document.unwrap_or(Node { span: Span::default(), value: Value::Null }))
}

struct Reader<'a> {
    events: Parser<'a, granit_parser::StrInput<'a>>,
    /// Anchored nodes and how many values each has.
    anchors: HashMap<usize, (Node, usize)>,
    nodes: usize,
    source: &'a str,
}

impl<'a> Reader<'a> {
    fn event(&mut self) -> Result<Option<(Event<'a>, Span)>, Syntax> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => {
                let range = span.byte_range().unwrap_or(0..0);
                Ok(Some((event, Span { start: range.start, end: range.end })))
            }
            Some(Err(error)) => {
                let start = error.marker().byte_offset().unwrap_or(self.source.len());
                Err(Syntax {
                    span: Span { start, end: start },
                    suggestion: self.hint(&error.info(), start),
                    message: format!("not YAML: {}", error.info()),
                })
            }
        }
    }

    fn expect(&mut self) -> Result<(Event<'a>, Span), Syntax> {
        match self.event()? {
            Some(found) => Ok(found),
            None => {
                let end = self.source.len();
                Err(fault(Span { start: end, end }, "the file ends too early", ""))
            }
        }
    }

    /// What people most often get wrong.
    fn hint(&self, message: &str, at: usize) -> Option<String> {
        if message.contains("quoted scalar") {
            return Some("a closing quote may be missing further up".to_owned());
        }
        let at = at.min(self.source.len());
        let line_start = self.source.get(..at)?.rfind('\n').map_or(0, |newline| newline + 1);
        let indent = self.source.get(line_start..)?.split(|c: char| c != ' ' && c != '\t').next()?;
        indent.contains('\t').then(|| "YAML is indented with spaces, never with tabs".to_owned())
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node, Syntax> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(fault(span, "nested too deep, or too large", ""));
        }
        let before = self.nodes;
        let (value, anchor, end) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                (scalar(&text, style, tag.as_deref(), span)?, anchor, span.end)
            }
            Event::SequenceStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), "seq", span)?;
                let mut items = Vec::new();
                let end = loop {
                    match self.expect()? {
                        (Event::SequenceEnd, end) => break end.end,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                };
                (Value::List(items), anchor, end)
            }
            Event::MappingStart(_, anchor, tag) => {
                known_tag(tag.as_deref(), "map", span)?;
                let mut entries = Vec::new();
                let end = loop {
                    let (key, key_span) = match self.expect()? {
                        (Event::MappingEnd, end) => break end.end,
                        (Event::Scalar(text, ..), span) => (text.into_owned(), span),
                        (_, span) => return Err(fault(span, "a key has to be a plain text", "")),
                    };
                    let (event, span) = self.expect()?;
                    let value = self.node(event, span, depth + 1)?;
                    entries.push(Entry { key, written: None, key_span, value });
                };
                (Value::Map(entries), anchor, end)
            }
            Event::Alias(id) => {
                let Some((node, count)) = self.anchors.get(&id) else {
                    return Err(fault(span, "an alias inside what it stands for", ""));
                };
                self.nodes += count;
                if self.nodes > NODES_MAX {
                    return Err(fault(span, "too large once its aliases are followed", ""));
                }
                // What is wrong inside is shown where it was written.
                return Ok(node.clone());
            }
            _ => return Err(fault(span, "expected a value", "")),
        };
        let node = Node { span: Span { start: span.start, end: end.max(span.start) }, value };
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), self.nodes - before + 1));
        }
        Ok(node)
    }
}

fn known_tag(tag: Option<&Tag>, expected: &str, span: Span) -> Result<(), Syntax> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema_tag(expected) => Err(unknown_tag(tag, span)),
        _ => Ok(()),
    }
}

fn unknown_tag(tag: &Tag, span: Span) -> Syntax {
    fault(span, &format!("the tag `{}` means nothing here", tag.original()), "leave it out")
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, Syntax> {
    let as_text = || Value::Text(Text { text: text.to_owned(), expanded: false });
    match tag {
        Some(tag) if tag.is_yaml_core_schema_tag("str") => Ok(as_text()),
        Some(tag)
            if !["int", "float", "bool", "null"].iter().any(|kind| tag.is_yaml_core_schema_tag(kind)) =>
        {
            Err(unknown_tag(tag, span))
        }
        None if style != ScalarStyle::Plain => Ok(as_text()),
        _ => Ok(plain(text).unwrap_or_else(as_text)),
    }
}

/// A plain scalar that is no text by the core schema (YAML 1.2.2, section 10.3.2).
pub(super) fn plain(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true, text.to_owned()),
        "false" | "False" | "FALSE" => Value::Bool(false, text.to_owned()),
        _ => Value::Number(Number { written: text.to_owned(), json: number(text)? }),
    })
}

/// The number as JSON writes it. Infinity and NaN, which JSON has not, stay texts.
fn number(text: &str) -> Option<String> {
    let based =
        |digits: &str, radix| u128::from_str_radix(digits, radix).ok().map(|number| number.to_string());
    if let Some(digits) = text.strip_prefix("0o") {
        return based(digits, 8);
    }
    if let Some(digits) = text.strip_prefix("0x") {
        return based(digits, 16);
    }
    let (sign, unsigned) = match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    if !unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let split = unsigned.find(['e', 'E']).unwrap_or(unsigned.len());
    let (mantissa, exponent) = unsigned.split_at(split);
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    let json = format!("{sign}{whole}{point}{fraction}{exponent}");
    is_number(&json).then_some(json)
}

fn fault(span: Span, message: &str, suggestion: &str) -> Syntax {
    Syntax {
        span,
        message: message.to_owned(),
        suggestion: (!suggestion.is_empty()).then(|| suggestion.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(source: &str) -> Result<String, String> {
        let node = read(source).map_err(|syntax| syntax.message)?;
        let mut out = String::new();
        node.write_json(&mut out);
        Ok(out)
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (yaml, expected) in [
            ("1.10", "1.10"),
            ("0x1F", "31"),
            ("0o17", "15"),
            ("+007", "7"),
            (".5", "0.5"),
            ("1.", "1"),
            ("-0.5e-3", "-0.5e-3"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ("yes", "\"yes\""),
            ("~", "null"),
            ("True", "true"),
            (".inf", "\".inf\""),
            ("1.2.3", "\"1.2.3\""),
            ("127.0.0.1:80", "\"127.0.0.1:80\""),
            ("1e", "\"1e\""),
            ("!!str 5", "\"5\""),
            ("'5'", "\"5\""),
            ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
            ("", "null"),
        ] {
            assert_eq!(json(yaml), Ok(expected.to_owned()), "{yaml}");
        }
    }

    #[test]
    fn what_could_be_misread_is_refused() {
        for yaml in [
            "a: 1\n---\nb: 2",
            "? [a]\n: 1",
            "!secret x",
            "a: [1",
            "a:\n\t- x",
            "&a [*a]",
            "%YAML 1.1\n---\na",
        ] {
            assert!(read(yaml).is_err(), "{yaml}");
        }
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let alias = format!("*a{},", level - 1).repeat(10);
            bomb.extend(["a", &level.to_string(), ": &a", &level.to_string(), " [", &alias, "]\n"]);
        }
        assert_eq!(json(&bomb), Err("too large once its aliases are followed".into()));
    }
}
