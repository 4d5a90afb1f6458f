//! One pass over a text.
//!
//! Each byte is looked at once, by a table. Words are passed over whole; only one whose first three letters begin something
//! known is looked at, and so is what follows a digit, a capital letter or one of a few marks. Whatever is looked at looks no
//! further than a bound, so that no text takes longer than its length times a constant.

use crate::injection;
use crate::personal;
use crate::rule::{Finding, Rule, RuleSet};
use crate::secret;
use crate::starters;
use crate::text::{CLASS, Text, class};

/// Words of at least this length may be encoded text.
const ENCODED_MIN: usize = 20;

/// A pass over a text, and what it found.
pub(crate) struct Sweep<'s, 't> {
    pub(crate) text: Text<'t>,
    pub(crate) rules: RuleSet,
    /// How many encodings it lies in.
    pub(crate) depth: u8,
    /// Whether nobody sees the text, so that little is enough.
    pub(crate) is_hidden: bool,
    /// Up to where encoded text has been looked for.
    pub(crate) decoded_until: usize,
    /// Up to where text that nobody sees has been looked into.
    pub(crate) looked_until: usize,
    pub(crate) found: &'s mut Vec<Finding>,
}

impl<'s, 't> Sweep<'s, 't> {
    /// A pass over a text.
    pub(crate) fn new(text: Text<'t>, rules: RuleSet, depth: u8, found: &'s mut Vec<Finding>) -> Self {
        Self { text, rules, depth, is_hidden: false, decoded_until: 0, looked_until: 0, found }
    }

    /// Notes a finding, if its rule is on and it is sure enough. Gives back where it ends.
    pub(crate) fn add(&mut self, rule: Rule, start: usize, end: usize, confidence: u8) -> Option<usize> {
        if confidence < Finding::CONFIDENCE_MIN || !self.rules.has(rule) || start >= end {
            return None;
        }
        self.found.push(Finding::new(rule, start, end.min(self.text.bytes.len()), confidence));
        Some(end)
    }

    /// Looks at all of it.
    pub(crate) fn run(&mut self) {
        if !self.text.key.is_empty() {
            secret::named(self);
        }
        let bytes = self.text.bytes;
        let mut at = 0;
        while let Some(byte) = bytes.get(at).copied() {
            let is = CLASS[byte as usize];
            at = if is & class::WORD != 0 {
                self.word(at, byte)
            } else if is & class::MARK != 0 {
                self.mark(at, byte).max(at + 1)
            } else {
                at + 1
            };
        }
    }

    /// A word begins here. Gives back where to go on.
    #[inline]
    fn word(&mut self, start: usize, first: u8) -> usize {
        if self.text.before(start) >= 0x80 && self.text.goes_on(start) {
            return self.word_end(start);
        }
        if first.is_ascii_digit() {
            let end = personal::number(self, start);
            let rest = self.word_end(end);
            if rest - start >= ENCODED_MIN && rest > end {
                return self.long(start, rest).unwrap_or(rest);
            }
            return rest;
        }
        if starters::may_begin(self.text.slice(start, start + 3))
            && let Some(end) = starters::begin(self, start)
        {
            return end;
        }
        let end = self.word_end(start);
        if first.is_ascii_uppercase()
            && (2..=34).contains(&(end - start))
            && let Some(end) = personal::code(self, start, end)
        {
            return end;
        }
        if end - start >= ENCODED_MIN {
            return self.long(start, end).unwrap_or(end);
        }
        end
    }

    #[inline]
    fn word_end(&self, start: usize) -> usize {
        let mut at = start;
        while self.text.is(at, class::WORD) {
            at += 1;
        }
        at
    }

    /// A long word: a token that is known by what is within it, or encoded text, perhaps.
    fn long(&mut self, start: usize, end: usize) -> Option<usize> {
        let found = secret::marked_within(self, start, end);
        if found.is_none() && end > self.decoded_until {
            injection::encoded(self, start);
        }
        found
    }

    /// Something may begin or be at this byte, which is of no word. Gives back where to go on.
    fn mark(&mut self, at: usize, byte: u8) -> usize {
        let found = match byte {
            b'@' => personal::email(self, at),
            b':' => self.colon(at),
            b'=' => secret::assigned(self, at),
            b'+' => personal::international(self, at),
            b'(' => personal::parenthesis(self, at),
            b'-' => secret::private_key(self, at).or_else(|| personal::company(self, at)),
            b'~' => secret::azure(self, at),
            b'<' => injection::tag(self, at),
            b'[' | b'#' => injection::role(self, at),
            b']' => injection::link(self, at),
            b'\\' if self.text.is_escape(at + 1) => Some(at + 2),
            b'%' | b'\\' | b'&' => injection::escapes(self, at),
            0x1B => injection::ansi(self, at),
            0x80.. => return injection::hidden(self, at),
            _ => None,
        };
        found.unwrap_or(at + 1)
    }

    fn colon(&mut self, at: usize) -> Option<usize> {
        let (next, after) = (self.text.at(at + 1), self.text.at(at + 2));
        if next == b'/' && after == b'/' {
            return secret::url(self, at);
        }
        let is_address = next == b':' || next.is_ascii_hexdigit() && self.text.before(at).is_ascii_hexdigit();
        if is_address
            && (self.rules.has(Rule::Ip) || self.rules.has(Rule::Mac))
            && let Some(end) = personal::colons(self, at)
        {
            return Some(end);
        }
        secret::telegram(self, at).or_else(|| secret::assigned(self, at))
    }
}
