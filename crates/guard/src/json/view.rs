//! The text of a JSON string, and which bytes of the string each part of it is.

/// Reads strings without their escapes. Its buffers are used again.
#[derive(Default)]
pub(crate) struct View {
    text: String,
    /// For each escape that was passed: where the text goes on, and where the string does.
    breaks: Vec<(usize, usize)>,
    is_plain: bool,
}

impl View {
    /// Reads what stands between the quotes of a string. Nothing if that is no text; then what was read before is lost.
    pub(crate) fn read<'a>(&'a mut self, raw: &'a [u8]) -> Option<&'a str> {
        let raw = std::str::from_utf8(raw).ok()?;
        self.breaks.clear();
        let Some(first) = memchr::memchr(b'\\', raw.as_bytes()) else {
            self.is_plain = true;
            return Some(raw);
        };
        self.is_plain = false;
        self.text.clear();
        let mut from = 0;
        let mut next = Some(first);
        while let Some(at) = next {
            self.text.push_str(raw.get(from..at)?);
            let (meant, length) = escaped(raw.as_bytes(), at)?;
            self.text.push(meant);
            from = at + length;
            self.breaks.push((self.text.len(), from));
            next = memchr::memchr(b'\\', raw.as_bytes().get(from..)?).map(|ahead| from + ahead);
        }
        self.text.push_str(raw.get(from..)?);
        Some(&self.text)
    }

    /// Where in the string a place of the text is. The end of an escaped character is behind its escape.
    pub(crate) fn raw(&self, at: usize) -> usize {
        if self.is_plain {
            return at;
        }
        let passed = self.breaks.partition_point(|(text, _)| *text <= at);
        match passed.checked_sub(1).and_then(|place| self.breaks.get(place)) {
            Some((text, raw)) => raw + (at - text),
            None => at,
        }
    }
}

/// The character that the escape here stands for, and how long it is.
fn escaped(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let short = match bytes.get(at + 1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => return long(bytes, at),
        _ => return None,
    };
    Some((short, 2))
}

fn long(bytes: &[u8], at: usize) -> Option<(char, usize)> {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0_u32, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    };
    match unit(at)? {
        high @ 0xD800..=0xDBFF => {
            let low = unit(at + 6).filter(|low| (0xDC00..=0xDFFF).contains(low))?;
            Some((char::from_u32(0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00))?, 12))
        }
        unit => Some((char::from_u32(unit)?, 6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_of_the_text_is_a_place_of_the_string() {
        let raw = r#"a\n\"b\u00e9\ud83d\ude00c\\"#;
        let mut view = View::default();
        let text = view.read(raw.as_bytes()).unwrap().to_owned();
        assert_eq!(text, "a\n\"bé😀c\\");
        let pieces: Vec<&str> =
            text.char_indices().map(|(at, one)| &raw[view.raw(at)..view.raw(at + one.len_utf8())]).collect();
        assert_eq!(pieces, ["a", "\\n", "\\\"", "b", "\\u00e9", "\\ud83d\\ude00", "c", "\\\\"]);
        assert_eq!(view.read(b"plain").map(str::to_owned).as_deref(), Some("plain"));
        assert_eq!(view.raw(3), 3);
        for broken in [&b"\\"[..], b"\\u12", b"\\ud800", b"\\q", b"\xff"] {
            assert_eq!(view.read(broken), None);
        }
    }
}
