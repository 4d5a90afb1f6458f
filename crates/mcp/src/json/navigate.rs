//! Walking validated JSON in place.
//!
//! Nothing is validated again: the walk only tells strings from brackets. On bytes that were never validated it stops
//! early or gives spans of no meaning, but it neither panics nor runs long.

use memchr::memmem;

use super::{JsonKind, Member, Span, key_is, skip_plain};

/// The members of the object at `object`, in order; none if there is no object.
pub fn members(bytes: &[u8], object: Span) -> Members<'_> {
    Members(Walk::into_container(bytes, object, b'{'))
}

/// The elements of the array at `array`, in order; none if there is no array.
pub fn elements(bytes: &[u8], array: Span) -> Elements<'_> {
    Elements(Walk::into_container(bytes, array, b'['))
}

/// The value of the member `key` (compared unescaped) of the object at `object`.
pub fn find(bytes: &[u8], object: Span, key: &str) -> Option<Span> {
    members(bytes, object).find(|member| key_is(bytes, member.key, key)).map(|member| member.value)
}

/// Whether a name or text may stand somewhere in these bytes: one quick look, which says yes for nothing where other text
/// reads alike, but never no where it stands, since letters that are spelt as escapes count as any.
pub fn mentions(bytes: &[u8], text: &str) -> bool {
    memmem::find(bytes, text.as_bytes()).is_some() || spells_out(bytes)
}

/// Whether a letter may be spelt as an escape. Most texts have no backslash at all.
fn spells_out(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\\', bytes).any(|at| bytes.get(at + 1) == Some(&b'u'))
}

/// What the value at `value` is, by its first byte; [`JsonKind::Null`] if there is none.
pub fn kind_of(bytes: &[u8], value: Span) -> JsonKind {
    match value.of(bytes).first() {
        Some(b'{') => JsonKind::Object,
        Some(b'[') => JsonKind::Array,
        Some(b'"') => JsonKind::String,
        Some(b't' | b'f') => JsonKind::Bool,
        Some(b'-' | b'0'..=b'9') => JsonKind::Number,
        _ => JsonKind::Null,
    }
}

/// The members of an object, in order. See [`members`].
#[derive(Clone, Debug)]
pub struct Members<'a>(Walk<'a>);

impl Iterator for Members<'_> {
    type Item = Member;

    fn next(&mut self) -> Option<Member> {
        let walk = &mut self.0;
        walk.separator()?;
        if walk.peek() != Some(b'"') {
            return walk.give_up();
        }
        let key = walk.value()?;
        walk.blank();
        if walk.peek() != Some(b':') {
            return walk.give_up();
        }
        walk.at += 1;
        walk.blank();
        let value = walk.value()?;
        Some(Member { key, value })
    }
}

/// The elements of an array, in order. See [`elements`].
#[derive(Clone, Debug)]
pub struct Elements<'a>(Walk<'a>);

impl Iterator for Elements<'_> {
    type Item = Span;

    fn next(&mut self) -> Option<Span> {
        self.0.separator()?;
        self.0.value()
    }
}

/// A cursor inside of a container.
#[derive(Clone, Debug)]
struct Walk<'a> {
    /// The input up to the end of the container.
    bytes: &'a [u8],
    at: usize,
    is_first: bool,
}

impl<'a> Walk<'a> {
    fn into_container(bytes: &'a [u8], container: Span, opening: u8) -> Self {
        let bytes = if container.of(bytes).first() == Some(&opening) {
            bytes.get(..container.end as usize).unwrap_or_default()
        } else {
            &[]
        };
        Self { bytes, at: (container.start as usize).saturating_add(1), is_first: true }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn blank(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Ends the walk for good.
    fn give_up<T>(&mut self) -> Option<T> {
        self.bytes = &[];
        None
    }

    /// Moves to the next member or element, over the comma before it.
    #[inline]
    fn separator(&mut self) -> Option<()> {
        self.blank();
        if !std::mem::take(&mut self.is_first) {
            if self.peek() != Some(b',') {
                return self.give_up();
            }
            self.at += 1;
            self.blank();
        }
        match self.peek() {
            Some(b'}' | b']') | None => self.give_up(),
            Some(_) => Some(()),
        }
    }

    /// Moves over the value at the cursor.
    #[inline]
    fn value(&mut self) -> Option<Span> {
        let start = self.at;
        let end = match self.peek() {
            Some(b'"') => string_end(self.bytes, start),
            Some(b'{' | b'[') => container_end(self.bytes, start),
            _ => Some(scalar_end(self.bytes, start)).filter(|&end| end > start),
        };
        let Some(end) = end else { return self.give_up() };
        self.at = end;
        Some(Span::new(start, end))
    }
}

/// One past the closing quote of the string that opens at `start`.
#[inline]
fn string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at = skip_plain(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// One past the bracket that closes the container that opens at `start`.
fn container_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string_end(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
}

/// One past the last byte of the number or literal that begins at `start`.
#[inline]
fn scalar_end(bytes: &[u8], start: usize) -> usize {
    let rest = bytes.get(start..).unwrap_or_default();
    let ends = |byte: &u8| {
        matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t' | b':' | b'"' | b'{' | b'[')
    };
    start + rest.iter().position(ends).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::text;

    #[test]
    fn members_and_elements_come_in_order() {
        let bytes = br#" { "a" : 1 , "b":[ true, {"x":"]}"} ,"\\\""],"c":{}} "#;
        let object = Span::new(1, bytes.len() - 1);
        let pairs: Vec<_> = members(bytes, object)
            .map(|member| (member.key(bytes).into_owned(), member.value.of(bytes).to_vec()))
            .collect();
        assert_eq!(pairs.len(), 3);
        assert_eq!(pairs[0], ("a".to_owned(), b"1".to_vec()));
        assert_eq!(pairs[2], ("c".to_owned(), b"{}".to_vec()));
        let array = find(bytes, object, "b").unwrap();
        let items: Vec<_> = elements(bytes, array).map(|item| item.of(bytes).to_vec()).collect();
        assert_eq!(items, [b"true".to_vec(), br#"{"x":"]}"}"#.to_vec(), br#""\\\"""#.to_vec()]);
        assert_eq!(find(bytes, object, "d"), None);
        assert_eq!(members(bytes, array).count(), 0);
        assert_eq!(elements(bytes, object).count(), 0);
        assert_eq!(text(bytes, array), None);
    }

    #[test]
    fn broken_bytes_end_the_walk() {
        for broken in
            ["{", "{\"", "{\"a", "{\"a\"", "{\"a\":", "{\"a\":[", "{\"a\":\"\\", "{,", "{]", "{a:1}"]
        {
            let bytes = broken.as_bytes();
            assert!(members(bytes, Span::all(bytes)).count() <= 1, "{broken}");
        }
        assert_eq!(members(b"{}", Span { start: 5, end: 3 }).count(), 0);
        assert_eq!(members(b"{}", Span { start: 0, end: u32::MAX }).count(), 0);
        assert_eq!(elements(b"[1 2]", Span { start: 0, end: 5 }).count(), 1);
    }
}
