//! Phrases: a first word, and others that follow it within a few words.

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

/// A phrase of this kind, if it begins here.
pub(crate) fn phrase(sweep: &mut Sweep<'_, '_>, start: usize, phrase: &Phrase) {
    if phrase.weight < 40 && !sweep.is_hidden || !sweep.rules.has(phrase.rule) {
        return;
    }
    if let Some((end, weight)) = weigh(&sweep.text, start, phrase, sweep.is_hidden) {
        sweep.add(phrase.rule, start, end, weight);
    }
}

/// Where a phrase that begins here ends, and how sure it is; nothing if none does.
pub(crate) fn weigh(text: &Text<'_>, start: usize, phrase: &Phrase, is_hidden: bool) -> Option<(usize, u8)> {
    let stretch = text.slice(start, start + STRETCH_MAX);
    let mut words = Words { text: stretch, at: 0 };
    let first = words.next()?;
    let first = stretch.get(first.0..first.1).unwrap_or_default();
    if !phrase.first.iter().any(|word| is_word(first, word)) {
        return None;
    }
    let end = start + follow(&mut words, &phrase.then)?;
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
    let mut end = words.at;
    for one in then {
        let mut left = one.within;
        loop {
            if left == 0 {
                return None;
            }
            left -= 1;
            let (start, until) = words.next()?;
            let word = words.text.get(start..until)?;
            if one.words.iter().any(|wanted| is_word(word, wanted)) {
                end = until;
                break;
            }
        }
    }
    Some(end)
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

/// The words of a text, up to where a sentence ends. An apostrophe is of its word.
struct Words<'t> {
    text: &'t [u8],
    at: usize,
}

impl Words<'_> {
    fn next(&mut self) -> Option<(usize, usize)> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte >= 0x80 || matches!(byte, b'\'' | b'_');
        loop {
            let byte = *self.text.get(self.at)?;
            if is_word(byte) && byte != b'\'' {
                break;
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
        while self.text.get(self.at).is_some_and(|byte| is_word(*byte)) {
            self.at += 1;
        }
        let mut end = self.at;
        while end > start && self.text.get(end - 1) == Some(&b'\'') {
            end -= 1;
        }
        Some((start, end))
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
