//! Reads JSON as people write it: with comments and trailing commas (JSONC), as VS Code and others allow.

use super::node::{DEPTH_MAX, Entry, NODES_MAX, Node, Number, Span, Text, Value};

/// Why a text is not JSON.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

/// Reads one JSON value that fills the whole text, with at most [`DEPTH_MAX`] levels and [`NODES_MAX`] values.
pub(super) fn read(source: &str) -> Result<Node, Syntax> {
    let mut reader = Reader { source, at: 0, nodes: 0 };
    reader.skip()?;
    let node = reader.value(0)?;
    reader.skip()?;
    if reader.at < source.len() {
        return Err(reader.unexpected("the end of the file", "after the first value nothing may follow"));
    }
    Ok(node)
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    nodes: usize,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Result<Node, Syntax> {
        self.nodes += 1;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(self.fault(1, format!("nested more than {DEPTH_MAX} deep, or too large")));
        }
        let start = self.at;
        let value = match self.peek() {
            Some('{') => self.map(depth)?,
            Some('[') => self.list(depth)?,
            Some('"') => Value::Text(Text { text: self.string()?, expanded: false }),
            Some('-' | '0'..='9') => self.number()?,
            Some(c) if c.is_ascii_alphabetic() => self.word()?,
            Some('\'') => {
                return Err(Syntax {
                    span: Span { start, end: start + 1 },
                    message: "JSON has no single quotes".into(),
                    suggestion: Some("write the text in double quotes".into()),
                });
            }
            _ => return Err(self.unexpected("a value", "")),
        };
        Ok(Node { span: Span { start, end: self.at }, value })
    }

    fn map(&mut self, depth: usize) -> Result<Value, Syntax> {
        let open = self.at;
        self.at += 1;
        let mut entries = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some('}') => {
                    self.at += 1;
                    return Ok(Value::Map(entries));
                }
                Some('"') => {}
                None => return Err(self.unclosed(open, '{', '}')),
                _ => return Err(self.unexpected("a key in double quotes, or `}`", "")),
            }
            let key_start = self.at;
            let key = self.string()?;
            let key_span = Span { start: key_start, end: self.at };
            self.skip()?;
            if self.peek() != Some(':') {
                return Err(self.unexpected("`:` after the key", ""));
            }
            self.at += 1;
            self.skip()?;
            let value = self.value(depth + 1)?;
            entries.push(Entry { key, written: None, key_span, value });
            self.comma(open, '{', '}')?;
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, Syntax> {
        let open = self.at;
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip()?;
            match self.peek() {
                Some(']') => {
                    self.at += 1;
                    return Ok(Value::List(items));
                }
                None => return Err(self.unclosed(open, '[', ']')),
                _ => items.push(self.value(depth + 1)?),
            }
            self.comma(open, '[', ']')?;
        }
    }

    /// After a value: a comma is passed, a closing bracket is left for the caller.
    fn comma(&mut self, open: usize, opening: char, closing: char) -> Result<(), Syntax> {
        let value_end = self.at;
        self.skip()?;
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(())
            }
            Some(c) if c == closing => Ok(()),
            None => Err(self.unclosed(open, opening, closing)),
            Some('"' | '{' | '[' | '0'..='9') => Err(Syntax {
                span: Span { start: value_end, end: value_end },
                message: format!("expected `,` or `{closing}`"),
                suggestion: Some("a comma is missing here".into()),
            }),
            Some(_) => Err(self.unexpected(&format!("`,` or `{closing}`"), "")),
        }
    }

    fn string(&mut self) -> Result<String, Syntax> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let Some(c) = self.peek() else {
                return Err(open_text(start));
            };
            let at = self.at;
            self.at += c.len_utf8();
            match c {
                '"' => return Ok(text),
                '\n' | '\r' => return Err(open_text(start)),
                c if c < '\u{20}' => {
                    self.at = at;
                    return Err(self.fault(1, "a control character in a text has to be escaped".into()));
                }
                '\\' => text.push(self.escape(at)?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self, start: usize) -> Result<char, Syntax> {
        let kind = self.peek();
        self.at += kind.map_or(0, char::len_utf8);
        Ok(match kind {
            Some('"') => '"',
            Some('\\') => '\\',
            Some('/') => '/',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let bad = |this: &Self| Syntax {
                    span: Span { start, end: this.at },
                    message: "not a Unicode character".into(),
                    suggestion: None,
                };
                let first = self.hex().ok_or_else(|| bad(self))?;
                let code = if (0xD800..0xDC00).contains(&first) && self.source[self.at..].starts_with("\\u") {
                    self.at += 2;
                    let second = self.hex().ok_or_else(|| bad(self))?;
                    if !(0xDC00..0xE000).contains(&second) {
                        return Err(bad(self));
                    }
                    0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00)
                } else {
                    first
                };
                char::from_u32(code).ok_or_else(|| bad(self))?
            }
            _ => {
                return Err(Syntax {
                    span: Span { start, end: self.at },
                    message: "unknown escape in a text".into(),
                    suggestion: Some("a backslash itself is written `\\\\`, also in Windows paths".into()),
                });
            }
        })
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = self.source.get(self.at..self.at + 4)?;
        let code =
            digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        self.at += 4;
        Some(code)
    }

    fn number(&mut self) -> Result<Value, Syntax> {
        let start = self.at;
        let length = self.source[start..]
            .bytes()
            .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
            .count();
        let written = &self.source[start..start + length];
        if !is_number(written) {
            return Err(self.fault(length, "not a number".into()));
        }
        self.at += length;
        Ok(Value::Number(Number { written: written.to_owned(), json: written.to_owned() }))
    }

    fn word(&mut self) -> Result<Value, Syntax> {
        let rest = &self.source[self.at..];
        let length = rest.bytes().take_while(u8::is_ascii_alphanumeric).count();
        let value = match &rest[..length] {
            "true" => Value::Bool(true, "true".into()),
            "false" => Value::Bool(false, "false".into()),
            "null" => Value::Null,
            _ => {
                return Err(Syntax {
                    span: Span { start: self.at, end: self.at + length },
                    message: "expected a value".into(),
                    suggestion: Some("write a text in double quotes".into()),
                });
            }
        };
        self.at += length;
        Ok(value)
    }

    /// Passes white space and comments.
    fn skip(&mut self) -> Result<(), Syntax> {
        loop {
            let rest = &self.source[self.at..];
            if rest.starts_with("//") {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if rest.starts_with("/*") {
                let Some(length) = rest.find("*/") else {
                    return Err(self.fault(2, "a comment is not closed".into()));
                };
                self.at += length + 2;
            } else {
                let blank = rest.bytes().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
                if blank == 0 {
                    return Ok(());
                }
                self.at += blank;
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.source[self.at..].chars().next()
    }

    fn fault(&self, length: usize, message: String) -> Syntax {
        Syntax { span: Span { start: self.at, end: self.at + length }, message, suggestion: None }
    }

    fn unexpected(&self, expected: &str, suggestion: &str) -> Syntax {
        let found = match self.peek() {
            Some(c) => format!("`{}`", c.escape_debug()),
            None => "the end of the file".into(),
        };
        Syntax {
            span: Span { start: self.at, end: self.at + 1 },
            message: format!("expected {expected}, found {found}"),
            suggestion: (!suggestion.is_empty()).then(|| suggestion.to_owned()),
        }
    }

    fn unclosed(&self, open: usize, opening: char, closing: char) -> Syntax {
        let line = self.source[..open].bytes().filter(|b| *b == b'\n').count() + 1;
        Syntax {
            span: Span { start: self.at, end: self.at },
            message: format!("the file ends before `{opening}` of line {line} is closed"),
            suggestion: Some(format!("a `{closing}` is missing")),
        }
    }
}

fn open_text(start: usize) -> Syntax {
    Syntax {
        span: Span { start, end: start + 1 },
        message: "a text is not closed on its line".into(),
        suggestion: Some("a double quote is missing".into()),
    }
}

/// Whether this is a number by the grammar of JSON (RFC 8259, section 6).
pub(super) fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_trailing_commas_are_fine() {
        let node =
            read("// a\n{ /* b */ \"x\": [1, 2.50, ], \"y\": \"\\u00e9\\ud83d\\ude00\", }\n").expect("JSONC");
        let mut out = String::new();
        node.write_json(&mut out);
        assert_eq!(out, r#"{"x":[1,2.50],"y":"é😀"}"#);
    }

    #[test]
    fn faults_say_what_is_missing() {
        for (source, message) in [
            ("{\"a\": 1 \"b\": 2}", "expected `,` or `}`"),
            ("{\"a\": 1", "the file ends before `{` of line 1 is closed"),
            ("{\"a\": \"x\n\"}", "a text is not closed on its line"),
            ("{\"a\": 'x'}", "JSON has no single quotes"),
            ("{\"a\": 01}", "not a number"),
            ("{\"a\": yes}", "expected a value"),
            ("{\"a\": \"C:\\dir\"}", "unknown escape in a text"),
            ("{\"a\": \"\\ud800\"}", "not a Unicode character"),
            ("{} {}", "expected the end of the file, found `{`"),
            ("{\"a\" 1}", "expected `:` after the key, found `1`"),
            ("{/*", "a comment is not closed"),
        ] {
            assert_eq!(read(source).map_err(|syntax| syntax.message), Err(message.to_owned()), "{source}");
        }
        assert!(read(&"[".repeat(100_000)).is_err());
    }
}
