//! JSON strings: reading and writing.

use std::borrow::Cow;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::memchr;

use super::{Span, skip_plain};

/// The text of the JSON string at `value`, unescaped; nothing if there is no string. Borrowed unless it has escapes.
pub fn text(bytes: &[u8], value: Span) -> Option<Cow<'_, str>> {
    let content = std::str::from_utf8(content(bytes, value)?).ok()?;
    match memchr(b'\\', content.as_bytes()) {
        None => Some(Cow::Borrowed(content)),
        Some(first) => unescape(content, first).map(Cow::Owned),
    }
}

/// What stands between the quotes of the JSON string at `value`.
pub(crate) fn content(bytes: &[u8], value: Span) -> Option<&[u8]> {
    value.of(bytes).strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// What the JSON string at `key` says, as bytes.
#[inline]
pub(crate) fn name(bytes: &[u8], key: Span) -> Cow<'_, [u8]> {
    let content = content(bytes, key).unwrap_or_default();
    if memchr(b'\\', content).is_none() {
        return Cow::Borrowed(content);
    }
    Cow::Owned(text(bytes, key).unwrap_or_default().into_owned().into_bytes())
}

/// Whether the JSON string at `key` says `name`.
#[inline]
pub(crate) fn key_is(bytes: &[u8], key: Span, name: &str) -> bool {
    let Some(content) = content(bytes, key) else { return false };
    // An escape is always longer than what it stands for.
    if content.len() == name.len() {
        content == name.as_bytes() && memchr(b'\\', content).is_none()
    } else {
        content.len() > name.len()
            && memchr(b'\\', content).is_some()
            && text(bytes, key).is_some_and(|text| text == name)
    }
}

/// The four hex digits of the escape `\uXXXX` at `at`.
#[inline]
pub(super) fn code_unit(bytes: &[u8], at: usize) -> Option<u32> {
    let escape = bytes.get(at..)?.first_chunk::<6>()?;
    let digits = escape.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, &digit| Some((unit << 4) | char::from(digit).to_digit(16)?))
}

#[cold]
fn unescape(content: &str, first: usize) -> Option<String> {
    let bytes = content.as_bytes();
    let mut text = String::with_capacity(content.len());
    let mut from = 0;
    let mut next = Some(first);
    while let Some(at) = next {
        text.push_str(content.get(from..at)?);
        let (meant, length) = match bytes.get(at + 1)? {
            b'"' => ('"', 2),
            b'\\' => ('\\', 2),
            b'/' => ('/', 2),
            b'b' => ('\u{8}', 2),
            b'f' => ('\u{c}', 2),
            b'n' => ('\n', 2),
            b'r' => ('\r', 2),
            b't' => ('\t', 2),
            b'u' => match code_unit(bytes, at)? {
                high @ 0xD800..=0xDBFF => {
                    let low = code_unit(bytes, at + 6).filter(|low| (0xDC00..=0xDFFF).contains(low))?;
                    (char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12)
                }
                unit => (char::from_u32(unit)?, 6),
            },
            _ => return None,
        };
        text.push(meant);
        from = at + length;
        next = memchr(b'\\', bytes.get(from..)?).map(|ahead| from + ahead);
    }
    text.push_str(content.get(from..)?);
    Some(text)
}

/// `text` as a JSON string literal, quotes included. Escapes only what must be.
pub fn quote(text: &str) -> Bytes {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let bytes = text.as_bytes();
    let mut literal = BytesMut::with_capacity(bytes.len() + 2);
    literal.put_u8(b'"');
    let mut from = 0;
    loop {
        let at = skip_plain(bytes, from);
        literal.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        let Some(&byte) = bytes.get(at) else { break };
        let short = match byte {
            b'"' | b'\\' => Some(byte),
            b'\n' => Some(b'n'),
            b'\r' => Some(b'r'),
            b'\t' => Some(b't'),
            0x08 => Some(b'b'),
            0x0c => Some(b'f'),
            _ => None,
        };
        if let Some(letter) = short {
            literal.extend_from_slice(&[b'\\', letter]);
        } else {
            let digit = |nibble: u8| HEX.get(usize::from(nibble)).copied().unwrap_or(b'0');
            literal.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 0xf)]);
        }
        from = at + 1;
    }
    literal.put_u8(b'"');
    literal.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(literal: &str) -> Option<String> {
        text(literal.as_bytes(), Span::all(literal.as_bytes())).map(Cow::into_owned)
    }

    #[test]
    fn escapes_are_read() {
        assert_eq!(read(r#""plain""#).as_deref(), Some("plain"));
        assert_eq!(read(r#""a\"\\\/\b\f\n\r\tz""#).as_deref(), Some("a\"\\/\u{8}\u{c}\n\r\tz"));
        assert_eq!(read(r#""\u0061\u00e9\u4E16\ud83d\ude00""#).as_deref(), Some("aé世😀"));
    }

    #[test]
    fn what_is_no_string_has_no_text() {
        for literal in
            ["", "\"", "1", "null", "{}", r#""\"#, r#""\x""#, r#""\ud800""#, r#""\udc00""#, r#""\u00""#]
        {
            assert_eq!(read(literal), None, "{literal}");
        }
    }

    #[test]
    fn keys_are_compared_unescaped() {
        let bytes = br#""\u0061b""#;
        assert!(key_is(bytes, Span::all(bytes), "ab"));
        assert!(!key_is(bytes, Span::all(bytes), r"\u0061b"));
        let bytes = br#""ab""#;
        assert!(key_is(bytes, Span::all(bytes), "ab"));
        assert!(!key_is(bytes, Span::all(bytes), "a"));
    }

    #[test]
    fn quoting_escapes_what_must_be() {
        assert_eq!(quote("a\"b\\c\n\u{1}\u{1f}é"), r#""a\"b\\c\n\u0001\u001fé""#);
    }
}
