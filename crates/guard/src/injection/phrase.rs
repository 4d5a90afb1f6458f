//! Phrases: a first word, and others that follow it within a few words.

use smallvec::SmallVec;

use crate::rules::{Phrase, Then};
use crate::sweep::Sweep;
use crate::text::Text;

/// The longest stretch of text that a phrase is looked for in.
const STRETCH_MAX: usize = 320;
/// How far around a phrase lies what makes it surer.
const AROUND: usize = 96;
/// How much surer a phrase is in text that nobody sees.
const HIDDEN: u8 = 30;
/// How much less sure one is that is spoken of.
const SPOKEN_OF: u8 = 40;

/// Words that are about phrases like these, before one.
const ABOUT: &[&str] = &[
    "example",
    "e.g",
    "such as",
    "like",
    "phrase",
    "attack",
    "injection",
    "inject",
    "jailbreak",
    "adversar",
    "malicious",
    "detect",
    "string",
    "assert",
    "test",
    "beispiel",
    "exemple",
    "ejemplo",
    "esempio",
    "exemplo",
    "called",
    "says",
    "quote",
    "payload",
    "pattern",
    "contain",
    "regex",
    "prevent",
    "mitigat",
];

/// A phrase of this kind, if it begins with the how manieth of its first words here.
pub(crate) fn phrase(sweep: &mut Sweep<'_, '_>, words: &mut Words<'_>, phrase: &Phrase, first: usize) {
    if phrase.weight < 40 && !sweep.is_hidden || !sweep.rules.has(phrase.rule) {
        return;
    }
    let is_first =
        phrase.first.get(first).is_some_and(|word| words.nth(0).is_some_and(|one| is_word(one, word)));
    if is_first && let Some((end, weight)) = goes_on(&sweep.text, words, phrase, sweep.is_hidden) {
        sweep.add(phrase.rule, words.start, end, weight);
    }
}

/// Where a phrase that begins here ends, and how sure it is; nothing if none does.
pub(crate) fn weigh(text: &Text<'_>, start: usize, phrase: &Phrase, is_hidden: bool) -> Option<(usize, u8)> {
    let mut words = Words::new(text, start);
    let first = words.nth(0)?;
    if !phrase.first.iter().any(|word| is_word(first, word)) {
        return None;
    }
    goes_on(text, &mut words, phrase, is_hidden)
}

/// The same of one whose first word stands there.
fn goes_on(text: &Text<'_>, words: &mut Words<'_>, phrase: &Phrase, is_hidden: bool) -> Option<(usize, u8)> {
    let start = words.start;
    let end = start + follow(words, &phrase.then)?;
    if phrase.needs_address && !has_address(text.slice(end, end + 120)) {
        return None;
    }
    let (stronger, by) = &phrase.stronger;
    let mut weight = phrase.weight;
    if *by > 0 && near(text, start, end, stronger) {
        weight = weight.saturating_add(*by);
    }
    if is_hidden {
        weight = weight.saturating_add(HIDDEN);
    } else if is_spoken_of(text, start) {
        weight = weight.saturating_sub(SPOKEN_OF);
    }
    Some((end, weight.min(99)))
}

/// Where the last of the words stands that have to follow.
fn follow(words: &mut Words<'_>, then: &[Then]) -> Option<usize> {
    let mut at = 0;
    for one in then {
        let mut left = one.within;
        loop {
            if left == 0 {
                return None;
            }
            left -= 1;
            at += 1;
            let word = words.nth(at)?;
            if one.words.iter().any(|wanted| is_word(word, wanted)) {
                break;
            }
        }
    }
    words.end(at)
}

/// Whether it is this word, or begins like it if that one ends with a star.
fn is_word(word: &[u8], wanted: &str) -> bool {
    let (wanted, may_go_on) = match wanted.strip_suffix('*') {
        Some(start) => (start.as_bytes(), true),
        None => (wanted.as_bytes(), false),
    };
    if word.len() < wanted.len() || word.len() > wanted.len() && !may_go_on {
        return false;
    }
    word.iter().zip(wanted).all(|(one, other)| one.eq_ignore_ascii_case(other) || meant(*one) == *other)
}

/// The letter that a digit in its place is meant for.
const fn meant(byte: u8) -> u8 {
    match byte {
        b'0' => b'o',
        b'1' => b'i',
        b'3' => b'e',
        b'4' => b'a',
        b'5' => b's',
        b'7' => b't',
        other => other,
    }
}

/// The words from a place of a text on, up to where a sentence ends. An apostrophe is of its word. Each is looked for once, however many
/// phrases begin with the first.
pub(crate) struct Words<'t> {
    /// Where they begin.
    start: usize,
    text: &'t [u8],
    at: usize,
    known: SmallVec<[(u16, u16); 24]>,
    is_over: bool,
}

impl<'t> Words<'t> {
    /// Those from here on.
    pub(crate) fn new(text: &Text<'t>, start: usize) -> Self {
        let text = text.slice(start, start + STRETCH_MAX);
        Self { start, text, at: 0, known: SmallVec::new(), is_over: false }
    }

    fn find(&mut self, nth: usize) -> Option<(u16, u16)> {
        while self.known.len() <= nth && !self.is_over {
            match self.next() {
                Some((start, end)) => {
                    self.known.push((u16::try_from(start).ok()?, u16::try_from(end).ok()?));
                }
                None => self.is_over = true,
            }
        }
        self.known.get(nth).copied()
    }

    fn nth(&mut self, nth: usize) -> Option<&'t [u8]> {
        let (start, end) = self.find(nth)?;
        self.text.get(usize::from(start)..usize::from(end))
    }

    /// Where one ends, from where they begin.
    fn end(&mut self, nth: usize) -> Option<usize> {
        self.find(nth).map(|(_, end)| usize::from(end))
    }

    fn next(&mut self) -> Option<(usize, usize)> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'\'' | b'_');
        loop {
            let byte = *self.text.get(self.at)?;
            let gap = gap(self.text, self.at);
            if gap > 0 {
                self.at += gap;
                continue;
            }
            if is_word(byte) && byte != b'\'' {
                break;
            }
            // A line ends here, as JSON within a text has it.
            if byte == b'\\' && matches!(self.text.get(self.at + 1), Some(b'n' | b'r' | b't')) {
                self.at += 2;
                continue;
            }
            let ends_sentence = matches!(byte, b'.' | b'!' | b'?')
                && matches!(self.text.get(self.at + 1), Some(b' ' | b'\n' | b'\r') | None)
                || byte == b'\n' && self.text.get(self.at + 1) == Some(&b'\n');
            if ends_sentence {
                return None;
            }
            self.at += 1;
        }
        let start = self.at;
        while self.text.get(self.at).is_some_and(|byte| is_word(*byte)) && gap(self.text, self.at) == 0 {
            self.at += 1;
        }
        let mut end = self.at;
        while end > start && self.text.get(end - 1) == Some(&b'\'') {
            end -= 1;
        }
        Some((start, end))
    }
}

/// How long the space or mark of punctuation beyond ASCII is that stands there; nothing if there is none. An apostrophe is none.
fn gap(text: &[u8], at: usize) -> usize {
    let next = |nth: usize| text.get(at + nth).copied().unwrap_or(0);
    match next(0) {
        0xC2 if matches!(next(1), 0x80..=0xA1 | 0xAB | 0xBB | 0xBF) => 2,
        0xE2 if next(1) == 0x80 && matches!(next(2), 0x80..=0x8A | 0x90..=0x98 | 0x9A..=0xA9 | 0xAF) => 3,
        0xE2 if next(1) == 0x81 && next(2) == 0x9F => 3,
        0xE3 if next(1) == 0x80 && matches!(next(2), 0x80..=0x82 | 0x88..=0x91) => 3,
        _ => 0,
    }
}

/// Whether an address stands there: of the web, or of a person.
fn has_address(text: &[u8]) -> bool {
    memchr::memmem::find(text, b"://").is_some()
        || memchr::memchr(b'@', text).is_some_and(|sign| {
            sign > 0
                && text.get(sign - 1).is_some_and(u8::is_ascii_alphanumeric)
                && text.get(sign + 1).is_some_and(u8::is_ascii_alphanumeric)
        })
}

/// Whether one of these words stands shortly before or after, or within.
fn near(text: &Text<'_>, start: usize, end: usize, words: &[Box<str>]) -> bool {
    let around = text.slice(start.saturating_sub(AROUND), end + AROUND).to_ascii_lowercase();
    words.iter().any(|word| {
        let word = word.trim_end_matches('*').as_bytes();
        memchr::memmem::find_iter(&around, word)
            .any(|place| place == 0 || !around.get(place - 1).is_some_and(u8::is_ascii_alphanumeric))
    })
}

/// Whether a phrase is quoted by a text that is about such phrases.
fn is_spoken_of(text: &Text<'_>, start: usize) -> bool {
    let before = text.slice(start.saturating_sub(4), start);
    let is_quoted = before.iter().any(|byte| matches!(byte, b'"' | b'\'' | b'`'))
        || before.ends_with("“".as_bytes())
        || before.ends_with("«".as_bytes());
    is_quoted && text.mentions_within(start, 80, ABOUT)
}
