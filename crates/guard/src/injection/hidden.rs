//! Characters that nobody sees, and those that turn what one sees.
//!
//! Each of them has its uses: joiners in emoji and in several scripts, marks of direction where two directions meet, tags in
//! some flags. What has no such use is found.

use super::ansi::short;
use crate::rule::Rule;
use crate::sweep::Sweep;
use crate::text::class;

/// How many in a row have no use.
const ROW_MIN: usize = 3;

/// How many tags the flag of a region has at most.
const FLAG_MAX: usize = 8;

/// What a character is here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Tag,
    Selector,
    Zero,
    /// Overrides the direction.
    Override,
    /// Embeds or isolates another direction.
    Embed,
    Other,
}

fn kind(character: char) -> Kind {
    match character {
        '\u{E0000}'..='\u{E00FF}' | '\u{E01F0}'..='\u{E0FFF}' => Kind::Tag,
        '\u{E0100}'..='\u{E01EF}' | '\u{FE00}'..='\u{FE0F}' => Kind::Selector,
        '\u{200B}'..='\u{200F}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206A}'..='\u{206F}'
        | '\u{FEFF}'
        | '\u{FFA0}'
        | '\u{FFF0}'..='\u{FFFB}'
        | '\u{34F}'
        | '\u{17B4}'
        | '\u{17B5}'
        | '\u{180B}'..='\u{180F}'
        | '\u{1BCA0}'..='\u{1BCA3}'
        | '\u{1D173}'..='\u{1D17A}'
        | '\u{115F}'
        | '\u{1160}'
        | '\u{3164}'
        | '\u{AD}' => Kind::Zero,
        '\u{202D}' | '\u{202E}' => Kind::Override,
        '\u{202A}' | '\u{202B}' | '\u{2066}'..='\u{2068}' => Kind::Embed,
        _ => Kind::Other,
    }
}

/// A character beyond ASCII begins here. Gives back where to go on: behind all that are not hidden.
pub(crate) fn hidden(sweep: &mut Sweep<'_, '_>, start: usize) -> usize {
    let text = sweep.text;
    let mut at = start;
    // Most have a first byte with which none of these begins.
    while let Some(byte) = text.bytes.get(at).copied() {
        match byte {
            0..0x80 => return at,
            0xF0 if matches!(text.at(at + 1), 0x9B | 0x9D) => break,
            0xC2 | 0xCD | 0xE1 | 0xE2 | 0xE3 | 0xEF | 0xF3 => break,
            0xC3..=0xDF => at += 2,
            0xE0..=0xEF => at += 3,
            0xF0.. => at += 4,
            _ => at += 1,
        }
    }
    let Some(character) = text.whole.get(at..).and_then(|rest| rest.chars().next()) else {
        return at.max(start + 1);
    };
    let next = at + character.len_utf8();
    if character == '\u{9B}' {
        return short(sweep, at).unwrap_or(next);
    }
    let kind = kind(character);
    if kind == Kind::Other {
        return next;
    }
    let mut end = next;
    let mut count = 1;
    while let Some(other) = text.whole.get(end..).and_then(|rest| rest.chars().next())
        && self::kind(other) == kind
    {
        end += other.len_utf8();
        count += 1;
    }
    match kind {
        Kind::Tag if count > FLAG_MAX || !is_flag(&text, at) => sweep.add(Rule::Tags, at, end, 98),
        Kind::Selector if count >= ROW_MIN => sweep.add(Rule::Tags, at, end, 90),
        Kind::Zero if count >= ROW_MIN => sweep.add(Rule::ZeroWidth, at, end, 92),
        Kind::Zero if is_within_word(sweep, at, end, character) => sweep.add(Rule::ZeroWidth, at, end, 80),
        Kind::Override => sweep.add(Rule::Bidi, at, end, 92),
        Kind::Embed if !turns(&text, at) => sweep.add(Rule::Bidi, at, end, 75),
        _ => None,
    };
    end
}

/// Whether tags belong to a flag of a region: a black flag stands before them.
fn is_flag(text: &crate::text::Text<'_>, at: usize) -> bool {
    text.slice(at.saturating_sub(4), at) == "\u{1F3F4}".as_bytes()
}

/// Whether it parts an ASCII word that it has no use in. A soft hyphen may part words, which is its use, and a mark of direction numbers.
fn is_within_word(sweep: &Sweep<'_, '_>, at: usize, end: usize, character: char) -> bool {
    !matches!(character, '\u{AD}' | '\u{200E}' | '\u{200F}')
        && sweep.text.is(at.wrapping_sub(1), class::WORD)
        && sweep.text.is(end, class::WORD)
}

/// Whether letters that are written from right to left, or the end of what is embedded, stand near: then it has its use.
fn turns(text: &crate::text::Text<'_>, at: usize) -> bool {
    let around = |from: usize, to: usize| {
        // Hebrew, Arabic and what is like them begin with these bytes.
        text.slice(from, to).iter().any(|byte| matches!(byte, 0xD6..=0xDF))
    };
    around(at.saturating_sub(160), at + 160)
}
