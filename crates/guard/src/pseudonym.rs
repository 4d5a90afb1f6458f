//! Names that stand for texts, and the texts put back where they are meant.

use std::ops::Range;

use bytes::Bytes;
use tollgate_mcp::Span;

use crate::guard::{Changed, Changing, located, spliced};
use crate::json::{Leaf, View, Walk};

/// The longest kind of a name, and the most digits of its number.
const KIND_MAX: usize = 40;
const DIGITS_MAX: usize = 12;

/// The names that stand for texts, for one caller.
pub trait Pseudonyms {
    /// The name that stands for a text from now on, such as `<EMAIL_1>`: always the same for the same text. None if there is no
    /// room for another: then nothing may stand for it.
    fn name(&self, kind: &str, text: &str) -> Option<String>;

    /// What a name stands for.
    fn text(&self, name: &str) -> Option<String>;
}

/// A name of this kind.
pub fn pseudonym(kind: &str, number: u64) -> String {
    let kind: String = kind
        .chars()
        .take(KIND_MAX)
        .map(|one| if one.is_ascii_alphanumeric() { one.to_ascii_uppercase() } else { '_' })
        .collect();
    // A name begins with a letter.
    if kind.starts_with(|one: char| one.is_ascii_uppercase()) {
        format!("<{kind}_{number}>")
    } else {
        format!("<X{kind}_{number}>")
    }
}

/// Where in a text something stands that is written as such a name is, whether it is one or not.
pub(crate) fn places(text: &str) -> impl Iterator<Item = Range<usize>> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'<', bytes).filter_map(|start| {
        let inner = bytes.get(start + 1..(start + 4 + KIND_MAX + DIGITS_MAX).min(bytes.len()))?;
        let length = memchr::memchr(b'>', inner)?;
        let inner = inner.get(..length)?;
        let digits = inner.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let kind = inner.get(..length - digits)?.strip_suffix(b"_")?;
        let is_kind = kind.first().is_some_and(u8::is_ascii_uppercase)
            && kind.iter().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_');
        (is_kind && (1..=DIGITS_MAX).contains(&digits)).then_some(start..start + length + 2)
    })
}

/// What is written as a name within a JSON value, whether it is one or not.
pub fn written(bytes: &Bytes, value: Span) -> Vec<String> {
    let mut all = Vec::new();
    let _ = restored(bytes, value, |name| {
        all.push(name.to_owned());
        None
    });
    all
}

/// A JSON value within validated bytes with texts put back in place of the names that stand for them, as far as `text` knows them.
/// None if it knows none. Names of members stay as they are.
pub fn restored(bytes: &Bytes, value: Span, mut text: impl FnMut(&str) -> Option<String>) -> Option<Bytes> {
    let whole = value.slice(bytes);
    memchr::memchr2(b'<', b'\\', &whole)?;
    let mut walk = Walk::new(&whole, 0, whole.len());
    let (mut view, mut changed) = (View::default(), Vec::new());
    while let Some(leaf) = walk.next() {
        let Leaf::Text(start, end) = leaf else { continue };
        let Some(said) = whole.get(start..end).and_then(|raw| view.read(raw)) else { continue };
        let known = places(said).filter_map(|place| Some((place.clone(), text(said.get(place)?)?)));
        let edits: Vec<_> = known.collect();
        if !edits.is_empty() {
            changed.push(Changed { raw: start..end, kind: located(Changing::Text(edits), &view) });
        }
    }
    (!changed.is_empty()).then(|| spliced(&whole, changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_written_as_a_name_is_one() {
        let of = |text: &str| places(text).map(|place| text[place].to_owned()).collect::<Vec<_>>();
        assert_eq!(of("to <EMAIL_1> and <US_SSN_12>, <<IBAN_3>"), ["<EMAIL_1>", "<US_SSN_12>", "<IBAN_3>"]);
        for text in ["<email_1>", "<EMAIL_>", "<EMAIL1>", "<_1>", "<EMAIL_1", "<EMAIL_1 >", "<1_1>"] {
            assert_eq!(of(text), [""; 0], "{text}");
        }
        assert_eq!(of(&pseudonym("email", 1)), ["<EMAIL_1>"]);
        assert_eq!(of(&pseudonym("9-lives", 7)), ["<X9_LIVES_7>"]);
    }

    #[test]
    fn texts_are_put_back_where_their_names_stand_and_nothing_else_changes() {
        let json = Bytes::from_static(br#"{"<EMAIL_1>":1.0,"a":["x <EMAIL_1>\u003cEMAIL_1>","<EMAIL_2>"]}"#);
        let text = |name: &str| (name == "<EMAIL_1>").then(|| "a\"b@c.d".to_owned());
        let back = restored(&json, Span::all(&json), text).unwrap();
        assert_eq!(back, r#"{"<EMAIL_1>":1.0,"a":["x a\"b@c.da\"b@c.d","<EMAIL_2>"]}"#);
        assert_eq!(restored(&json, Span::all(&json), |_| None), None);
    }
}
