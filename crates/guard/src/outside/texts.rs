//! The texts of a JSON value, each with where it stands.

use std::ops::Range;

use crate::json::{Leaf, Step, View, Walk};

/// The most texts that a guard is asked about at once.
const TEXTS_MAX: usize = 1_024;
/// The longest way to a text that is told.
const POINTER_BYTES_MAX: usize = 1_024;
/// How many bytes of JSON a byte of a text may take.
const ESCAPED_MAX: usize = 6;

/// A text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it stands: a JSON pointer (RFC 6901) from the value.
    pub pointer: String,
    /// The text, without the escapes of JSON.
    pub text: String,
    /// Its bytes, without quotes.
    pub(super) raw: Range<usize>,
}

/// The texts of a JSON value, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    pub(super) pieces: Vec<Piece>,
}

/// There is more text than a guard is asked about at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMuch;

impl Texts {
    /// The texts of a value within validated bytes, but for members of it (at the top) that are named here, for empty texts,
    /// for binary data (`blob`, `data`) and for the kinds of blocks of content.
    ///
    /// # Errors
    /// [`TooMuch`] if they have more bytes than this together, or there are too many.
    pub fn of(value: &[u8], except: &[&str], bytes_max: usize) -> Result<Self, TooMuch> {
        let mut walk = Walk::new(value, 0, value.len());
        let mut texts = Self::default();
        let mut view = View::default();
        let mut bytes = 0;
        while let Some(leaf) = walk.next() {
            match leaf {
                Leaf::Name(start, end) => {
                    let name = value.get(start..end).unwrap_or_default();
                    if walk.way().len() == 1 && except.iter().any(|except| except.as_bytes() == name) {
                        walk.skip();
                    }
                }
                Leaf::Text(start, end) if end > start => {
                    let raw = value.get(start..end).unwrap_or_default();
                    if is_apart(value, walk.way(), raw) {
                        continue;
                    }
                    let Some(text) = view.read(raw) else { continue };
                    bytes += text.len();
                    if bytes > bytes_max || texts.pieces.len() == TEXTS_MAX {
                        return Err(TooMuch);
                    }
                    let pointer = pointer(value, walk.way());
                    texts.pieces.push(Piece { pointer, text: text.to_owned(), raw: start..end });
                }
                Leaf::Text(..) | Leaf::Number(..) => {}
            }
        }
        Ok(texts)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Them, in order.
    pub fn pieces(&self) -> &[Piece] {
        &self.pieces
    }
}

/// Whether no guard reads it: binary data of a block of content or of a resource, and the kind of a block.
fn is_apart(value: &[u8], way: &[Step], text: &[u8]) -> bool {
    let name = |step: &Step| match step {
        Step::Member(start, end) => value.get(*start..*end),
        Step::Element(_) => None,
    };
    let is_of_content =
        matches!(way, [first, Step::Element(_), ..] if matches!(name(first), Some(b"content" | b"contents")));
    match way.last().and_then(name) {
        Some(b"blob" | b"data") => is_of_content && is_encoded(text),
        Some(b"type") => {
            matches!(text, b"text" | b"image" | b"audio" | b"resource" | b"resource_link")
        }
        _ => false,
    }
}

/// Whether it can be nothing but base64.
fn is_encoded(text: &[u8]) -> bool {
    text.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'-' | b'_'))
}

fn pointer(value: &[u8], way: &[Step]) -> String {
    let mut pointer = String::new();
    let mut view = View::default();
    for step in way {
        let name = match *step {
            Step::Element(place) => place.to_string(),
            Step::Member(start, end) => {
                // What is longer is told of no text.
                if end - start >= ESCAPED_MAX * POINTER_BYTES_MAX {
                    break;
                }
                let raw = value.get(start..end).unwrap_or_default();
                view.read(raw).unwrap_or_default().replace('~', "~0").replace('/', "~1")
            }
        };
        if pointer.len() + name.len() >= POINTER_BYTES_MAX {
            break;
        }
        pointer.push('/');
        pointer.push_str(&name);
    }
    pointer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_stands_where_its_pointer_says() {
        let value = r#"{"_meta":{"x":"no"},"content":[{"type":"text","text":"a\"b"},{"type":"image","data":"AAA="}],
            "structuredContent":{"a/b":{"~":["x",1,"",true]},"data":"sk_live_x","type":"other"},"contents":[{"blob":"no base64!"}]}"#;
        let texts = Texts::of(value.as_bytes(), &["_meta"], 100).unwrap();
        let seen: Vec<(&str, &str)> = texts.pieces().iter().map(|one| (&*one.pointer, &*one.text)).collect();
        assert_eq!(
            seen,
            [
                ("/content/0/text", "a\"b"),
                ("/structuredContent/a~1b/~0/0", "x"),
                ("/structuredContent/data", "sk_live_x"),
                ("/structuredContent/type", "other"),
                ("/contents/0/blob", "no base64!"),
            ]
        );
        let parsed: serde_json::Value = serde_json::from_str(value).unwrap();
        for (pointer, text) in seen {
            assert_eq!(parsed.pointer(pointer).and_then(|one| one.as_str()), Some(text));
        }
    }

    #[test]
    fn more_than_a_guard_is_asked_at_once_is_told() {
        assert_eq!(Texts::of(br#"["abc","de"]"#, &[], 4), Err(TooMuch));
        assert_eq!(Texts::of(br#"["abc","d"]"#, &[], 4).unwrap().pieces().len(), 2);
        let many = format!("[{}]", vec!["\"a\""; TEXTS_MAX + 1].join(","));
        assert_eq!(Texts::of(many.as_bytes(), &[], 1 << 20), Err(TooMuch));
    }
}
