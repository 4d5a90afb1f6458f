//! A text under inspection, and looking around in it without ever going far.

use crate::fold::is_unseen;

/// How far back a word that gives a meaning may stand.
const BEFORE_MAX: usize = 56;

/// Bits of what a byte may be.
pub(crate) mod class {
    /// A letter, digit or underscore.
    pub(crate) const WORD: u8 = 1;
    /// A digit.
    pub(crate) const DIGIT: u8 = 2;
    /// Something may begin or be here.
    pub(crate) const MARK: u8 = 4;
    /// Of base64, in either alphabet.
    pub(crate) const BASE64: u8 = 8;
    /// A hexadecimal digit.
    pub(crate) const HEX: u8 = 16;
    /// May stand in a URL as it is.
    pub(crate) const URL: u8 = 32;
}

/// What each byte may be.
pub(crate) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0_u8; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "less than 256")]
        let one = byte as u8;
        let mut is = 0;
        if one.is_ascii_alphanumeric() || one == b'_' {
            is |= class::WORD;
        }
        if one.is_ascii_digit() {
            is |= class::DIGIT;
        }
        if one.is_ascii_hexdigit() {
            is |= class::HEX;
        }
        if one.is_ascii_alphanumeric() || matches!(one, b'+' | b'/' | b'-' | b'_' | b'=') {
            is |= class::BASE64;
        }
        if one.is_ascii_alphanumeric()
            || matches!(
                one,
                b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b'?' | b'#' | b'[' | b']' | b'@' | b'!'
            )
            || matches!(one, b'$' | b'&' | b'*' | b'+' | b',' | b';' | b'=' | b'%' | b'{' | b'}' | b'|')
        {
            is |= class::URL;
        }
        if matches!(
            one,
            b'@' | b':'
                | b'='
                | b'<'
                | b'['
                | b']'
                | b'-'
                | b'+'
                | b'('
                | b'%'
                | b'\\'
                | b'&'
                | b'#'
                | b'~'
                | 0x1B
        ) || one >= 0x80
        {
            is |= class::MARK;
        }
        table[byte] = is;
        byte += 1;
    }
    table
}

/// A text, and the name of the member that it stands in.
#[derive(Clone, Copy)]
pub(crate) struct Text<'t> {
    pub(crate) whole: &'t str,
    pub(crate) bytes: &'t [u8],
    /// The name of the member whose value it is; empty if it has none.
    pub(crate) key: &'t str,
}

impl<'t> Text<'t> {
    pub(crate) fn new(text: &'t str, key: &'t str) -> Self {
        Self { whole: text, bytes: text.as_bytes(), key }
    }

    /// The byte there; zero beyond the end.
    #[inline]
    pub(crate) fn at(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The byte before; zero at the beginning.
    #[inline]
    pub(crate) fn before(&self, at: usize) -> u8 {
        at.checked_sub(1).map_or(0, |at| self.at(at))
    }

    /// Whether the letter there is of an escape: `\n`, `\r` or `\t`, as JSON within a text has them. A word begins behind it.
    #[inline]
    pub(crate) fn is_escape(&self, at: usize) -> bool {
        matches!(self.at(at), b'n' | b'r' | b't') && self.before(at) == b'\\'
    }

    /// Where what was found by going back begins, if that went into an escape.
    pub(crate) fn behind_escape(&self, start: usize, end: usize) -> usize {
        if start < end && self.is_escape(start) { start + 1 } else { start }
    }

    /// Whether the byte there is of a class.
    #[inline]
    pub(crate) fn is(&self, at: usize, class: u8) -> bool {
        CLASS[self.at(at) as usize] & class != 0
    }

    /// The bytes from one place to another, as far as there are any.
    #[inline]
    pub(crate) fn slice(&self, start: usize, end: usize) -> &'t [u8] {
        let end = end.min(self.bytes.len());
        self.bytes.get(start..end).unwrap_or_default()
    }

    /// The end of what is of a class from here on, after so many bytes at most.
    #[inline]
    pub(crate) fn run(&self, start: usize, class: u8, most: usize) -> usize {
        let rest = self.slice(start, start.saturating_add(most));
        start + rest.iter().position(|byte| CLASS[*byte as usize] & class == 0).unwrap_or(rest.len())
    }

    /// The beginning of what satisfies a condition up to here, over so many bytes at most.
    pub(crate) fn run_back(&self, end: usize, most: usize, is: impl Fn(u8) -> bool) -> usize {
        let from = end.saturating_sub(most);
        let before = self.slice(from, end);
        before.iter().rposition(|byte| !is(*byte)).map_or(from, |place| from + place + 1)
    }

    /// Whether a word ends here.
    #[inline]
    pub(crate) fn is_end(&self, at: usize) -> bool {
        match self.at(at) {
            0x80.. => self.whole.get(at..).and_then(|rest| rest.chars().next()).is_some_and(closes),
            _ => !self.is(at, class::WORD),
        }
    }

    /// Whether what begins here behind a character beyond ASCII goes on with it: a word with a letter, a number with anything but
    /// what opens a text.
    pub(crate) fn goes_on(&self, at: usize) -> bool {
        let Some(before) = self.whole.get(..at).and_then(|text| text.chars().next_back()) else {
            return true;
        };
        if is_unparted(before) || opens(before) {
            return false;
        }
        self.is(at, class::DIGIT) || before.is_alphanumeric() || is_unseen(before)
    }

    /// Whether one of these words (lower case) begins a word shortly before this place, or of the member's name.
    pub(crate) fn mentions(&self, at: usize, words: &[&str]) -> bool {
        let from = at.saturating_sub(BEFORE_MAX);
        begins_any(self.slice(from, at), words)
            || (!self.key.is_empty() && begins_any(self.key.as_bytes(), words))
    }

    /// Whether one of these words (lower case) begins a word in the few bytes before this place.
    pub(crate) fn mentions_within(&self, at: usize, bytes: usize, words: &[&str]) -> bool {
        begins_any(self.slice(at.saturating_sub(bytes), at), words)
    }
}

/// Whether a character opens a text, or parts it from what is said of it. Signs of currencies and of numbers, and spaces between the
/// groups of one, do not.
const fn opens(character: char) -> bool {
    matches!(
        character,
        '«' | '‹'
            | '‘'
            | '‚'
            | '“'
            | '„'
            | '•'
            | '…'
            | '→'
            | '、'
            | '。'
            | '「'
            | '『'
            | '（'
            | '，'
            | '：'
            | '；'
            | '＝'
    )
}

/// Whether a character closes a text, or a part of one.
const fn closes(character: char) -> bool {
    matches!(
        character,
        '»' | '›'
            | '’'
            | '”'
            | '“'
            | '…'
            | '、'
            | '。'
            | '」'
            | '』'
            | '）'
            | '，'
            | '：'
            | '；'
            | '！'
            | '？'
    )
}

/// Whether a letter is of a script in which words stand without spaces between them and what is of another.
const fn is_unparted(character: char) -> bool {
    matches!(
        character,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17B3}' | '\u{3005}'..='\u{3007}'
            | '\u{3041}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7A3}'
            | '\u{20000}'..='\u{323AF}'
    )
}

/// Whether one of these words begins a word of a text, whatever the case. A word within a name in camel case counts.
fn begins_any(text: &[u8], words: &[&str]) -> bool {
    let mut before = b' ';
    for (at, byte) in text.iter().copied().enumerate() {
        if before == b'\\' && matches!(byte, b'n' | b'r' | b't') {
            before = b' ';
            continue;
        }
        let is_start = (byte.is_ascii_alphanumeric() && !before.is_ascii_alphanumeric())
            || (byte.is_ascii_uppercase() && before.is_ascii_lowercase())
            || (byte >= 0xC0 && !before.is_ascii_alphanumeric());
        before = byte;
        if is_start {
            let rest = text.get(at..).unwrap_or_default();
            if words.iter().any(|word| {
                rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
            }) {
                return true;
            }
        }
    }
    false
}

/// Shannon's entropy of a text, in bits per byte.
#[expect(clippy::cast_precision_loss, reason = "texts of at most a few hundred bytes")]
pub(crate) fn entropy(text: &[u8]) -> f32 {
    let mut counts = [0_u16; 256];
    let text = text.get(..text.len().min(512)).unwrap_or_default();
    for byte in text {
        counts[*byte as usize] += 1;
    }
    let total = text.len() as f32;
    counts.iter().filter(|count| **count > 0).fold(0.0, |sum, count| {
        let share = f32::from(*count) / total;
        sum - share * share.log2()
    })
}
