//! The id of a message that cannot be read whole: too large, cut off, or refused.
//!
//! An error that names its request ends a wait; one that does not leaves it hanging. This reader takes a message piece
//! by piece, keeps only what could be the id, and validates nothing but the id itself.

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use crate::json::{self, JsonKind, Limits, Span};

/// A longer raw id is not kept.
const ID_BYTES_MAX: usize = 1024;
/// A longer raw key is none of those looked for, even if all of it is escaped.
const KEY_BYTES_MAX: usize = 64;

/// The raw id (a JSON string or integer) of a truncated JSON-RPC message, as far as its head tells. A best effort: what
/// was cut off could contradict it.
pub fn peek_id(head: &[u8]) -> Option<Bytes> {
    let mut peek = Peek::default();
    peek.feed(head);
    peek.id()
}

/// Whether a message with an id looks like a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It has a result or an error, and no method.
    Response,
    /// It has a method, or none of the three.
    Other,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// Before the opening brace.
    #[default]
    Before,
    /// Before a key.
    BeforeKey,
    /// Within a key.
    Key,
    /// Between a key and its colon.
    AfterKey,
    /// Between a colon and the end of the value.
    Value,
    /// After the closing brace, or somewhere that makes no sense.
    Done,
}

/// Looks for the id in a message that comes in pieces.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peek {
    state: State,
    /// Within a string, at any depth.
    in_string: bool,
    /// Right after a backslash within a string.
    escaped: bool,
    /// How many containers of the current value are open.
    depth: usize,
    key: Vec<u8>,
    id: Vec<u8>,
    /// The current value is that of `id`.
    is_id: bool,
    /// The id was read to its end.
    has_id: bool,
    ids: usize,
    has_method: bool,
    has_answer: bool,
    is_closed: bool,
}

impl Peek {
    /// Takes in the next piece.
    pub(crate) fn feed(&mut self, piece: &[u8]) {
        let mut at = 0;
        while let Some(&byte) = piece.get(at) {
            // Within strings that are not kept, only quotes and backslashes matter.
            let is_kept = self.is_id || self.state == State::Key;
            if self.in_string && !self.escaped && !is_kept {
                match memchr2(b'"', b'\\', piece.get(at..).unwrap_or_default()) {
                    Some(ahead) => at += ahead,
                    None => return,
                }
                self.escaped = piece.get(at) == Some(&b'\\');
                self.in_string = self.escaped;
                at += 1;
                continue;
            }
            if self.state == State::Done {
                return;
            }
            self.step(byte);
            at += 1;
        }
    }

    fn step(&mut self, byte: u8) {
        let is_blank = matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        match self.state {
            State::Before => match byte {
                b'{' => self.state = State::BeforeKey,
                _ if is_blank => {}
                _ => self.state = State::Done,
            },
            State::BeforeKey => match byte {
                b'"' => {
                    self.key.clear();
                    self.key.push(byte);
                    self.in_string = true;
                    self.state = State::Key;
                }
                b'}' => self.close(),
                _ if is_blank => {}
                _ => self.state = State::Done,
            },
            State::Key => {
                if self.key.len() < KEY_BYTES_MAX {
                    self.key.push(byte);
                }
                if self.escaped {
                    self.escaped = false;
                } else if byte == b'\\' {
                    self.escaped = true;
                } else if byte == b'"' {
                    self.in_string = false;
                    self.state = State::AfterKey;
                }
            }
            State::AfterKey => match byte {
                b':' => self.begin_value(),
                _ if is_blank => {}
                _ => self.state = State::Done,
            },
            State::Value => self.step_value(byte),
            State::Done => {}
        }
    }

    fn begin_value(&mut self) {
        let key = json::text(&self.key, Span::all(&self.key)).unwrap_or_default();
        match &*key {
            "id" => {
                self.ids += 1;
                self.is_id = true;
                self.id.clear();
            }
            "method" => self.has_method = true,
            "result" | "error" => self.has_answer = true,
            _ => {}
        }
        self.depth = 0;
        self.state = State::Value;
    }

    fn step_value(&mut self, byte: u8) {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
            } else if byte == b'\\' {
                self.escaped = true;
            } else if byte == b'"' {
                self.in_string = false;
            }
        } else {
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => self.depth -= 1,
                b',' if self.depth == 0 => {
                    self.end_value();
                    self.state = State::BeforeKey;
                    return;
                }
                b'}' => {
                    self.end_value();
                    self.close();
                    return;
                }
                _ => {}
            }
        }
        // Whitespace around the id counts for nothing; one byte of it shows where two values stand side by side.
        let is_blank = |byte: u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        let is_padding = !self.in_string && is_blank(byte) && self.id.last().copied().is_none_or(is_blank);
        // One byte more than fits shows that the id is too long.
        if self.is_id && !is_padding && self.id.len() <= ID_BYTES_MAX + 2 {
            self.id.push(byte);
        }
    }

    fn end_value(&mut self) {
        self.has_id |= self.is_id;
        self.is_id = false;
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.state = State::Done;
    }

    /// The id, if exactly one was found so far.
    pub(crate) fn id(&self) -> Option<Bytes> {
        if !self.has_id || self.ids != 1 || self.id.len() > ID_BYTES_MAX + 1 {
            return None;
        }
        let limits = Limits { depth_max: 0, bytes_max: ID_BYTES_MAX + 1 };
        let span = json::validate(&self.id, &limits).ok()?;
        let raw = span.of(&self.id);
        is_id(raw).then(|| Bytes::copy_from_slice(raw))
    }

    /// The id and what it is an id of, if the message came to its end and has exactly one.
    pub(crate) fn whole_id(&self) -> Option<(Bytes, Role)> {
        let role = if self.has_answer && !self.has_method { Role::Response } else { Role::Other };
        self.is_closed.then(|| self.id()).flatten().map(|id| (id, role))
    }
}

/// How much of a message that is too large is kept.
const HEAD_BYTES_MAX: usize = 4096;

/// What is kept of a message that is too large, while it is skipped.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oversize {
    head: BytesMut,
    peek: Peek,
}

impl Oversize {
    /// Of what has come in these parts so far.
    pub(crate) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut oversize = Self::default();
        parts.into_iter().for_each(|part| oversize.feed(part));
        oversize
    }

    /// Takes in the next part.
    pub(crate) fn feed(&mut self, part: &[u8]) {
        let room = HEAD_BYTES_MAX.saturating_sub(self.head.len());
        self.head.extend_from_slice(part.get(..room).unwrap_or(part));
        self.peek.feed(part);
    }

    /// Whether nothing was taken in yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// The first bytes, and the id if one was found.
    pub(crate) fn end(self) -> (Bytes, Option<Bytes>) {
        let id = self.peek.id();
        (self.head.freeze(), id)
    }
}

/// Whether raw JSON may be an id: a string, or a number without fraction and exponent.
pub(crate) fn is_id(raw: &[u8]) -> bool {
    match json::kind_of(raw, Span::all(raw)) {
        JsonKind::String => true,
        JsonKind::Number => is_integer(raw),
        _ => false,
    }
}

/// Whether a raw JSON number has neither fraction nor exponent.
pub(crate) fn is_integer(number: &[u8]) -> bool {
    number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(head: &str) -> Option<String> {
        peek_id(head.as_bytes()).map(|id| String::from_utf8_lossy(&id).into_owned())
    }

    #[test]
    fn the_id_is_found_in_a_head() {
        assert_eq!(id(r#"{"jsonrpc":"2.0","id":17,"result":{"content":[{"te"#).as_deref(), Some("17"));
        assert_eq!(id(r#" { "id" : "a\"b" , "x"#).as_deref(), Some(r#""a\"b""#));
        assert_eq!(id(r#"{"\u0069d":-3}"#).as_deref(), Some("-3"));
        assert_eq!(id(r#"{"params":{"id":9},"s":"\"id\":8","id":7}"#).as_deref(), Some("7"));
    }

    #[test]
    fn what_may_not_be_an_id_is_not_given() {
        for head in [
            "",
            "[{\"id\":1}]",
            r#"{"id":1"#,
            r#"{"id":null}"#,
            r#"{"id":1.5}"#,
            r#"{"id":{"a":1}}"#,
            r#"{"id":"\ud800"}"#,
            r#"{"id":1,"id":2}"#,
            r#"{"id":1,"\u0069d":2}"#,
            r#"{"id":1 2}"#,
        ] {
            assert_eq!(id(head), None, "{head}");
        }
        assert_eq!(id(&format!("{{\"id\":\"{}\"}}", "a".repeat(2000))), None);
    }

    #[test]
    fn pieces_make_no_difference() {
        let message = br#"{"result":{"text":"\\\"id\": 3 {"},"jsonrpc":"2.0","id": "\u0041\\" }"#;
        for size in 1..message.len() {
            let mut peek = Peek::default();
            for piece in message.chunks(size) {
                peek.feed(piece);
            }
            assert_eq!(peek.whole_id(), Some((Bytes::from_static(br#""\u0041\\""#), Role::Response)));
        }
    }
}
