//! Patterns of the operator's.

use regex::{Regex, RegexBuilder};

use crate::rule::{Finding, Rule};
use crate::text::Text;

/// A pattern is looked for in windows of this size, so that the time it takes grows with the text's length alone.
const WINDOW: usize = 4_096;
/// How much two windows have in common: what is longer is not found everywhere.
const OVERLAP: usize = 512;
/// How large a pattern may become when it is compiled.
const COMPILED_MAX: usize = 1 << 20;

/// A pattern, and the words of which one has to stand before it.
#[derive(Clone, Debug)]
pub struct Pattern {
    name: String,
    regex: Regex,
    context: Vec<String>,
    is_on: bool,
}

impl Pattern {
    /// A pattern by its name, a regular expression in the syntax of the crate `regex`, and words of which one has to begin a word
    /// of the member's name or of the 56 bytes before; none if it stands for itself.
    ///
    /// # Errors
    /// What is wrong with the expression: its syntax, its size, or that it finds nothing in something.
    pub fn new(name: &str, expression: &str, context: &[String]) -> Result<Self, String> {
        let built = RegexBuilder::new(expression).size_limit(COMPILED_MAX).build();
        let regex = built.map_err(|error| error.to_string())?;
        if regex.is_match("") {
            return Err("it matches the empty text".to_owned());
        }
        let context = context.iter().map(|word| word.to_lowercase()).collect();
        Ok(Self { name: name.to_owned(), regex, context, is_on: true })
    }

    /// The same, which keeps its place among others and is not looked for.
    pub(crate) fn off(self) -> Self {
        Self { is_on: false, ..self }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn find(&self, place: u16, text: &Text<'_>, found: &mut Vec<Finding>) {
        if !self.is_on {
            return;
        }
        let words: Vec<&str> = self.context.iter().map(String::as_str).collect();
        let mut from = 0;
        let mut after = 0;
        while from < text.bytes.len() {
            let mut end = (from + WINDOW).min(text.bytes.len());
            while !text.whole.is_char_boundary(end) {
                end += 1;
            }
            let window = text.whole.get(from..end).unwrap_or_default();
            for one in self.regex.find_iter(window) {
                let (start, end) = (from + one.start(), from + one.end());
                if start >= after && (words.is_empty() || text.mentions(start, &words)) {
                    found.push(Finding::new(Rule::Own(place), start, end, 90));
                    after = end;
                }
            }
            if end == text.bytes.len() {
                break;
            }
            from = end - OVERLAP;
            while !text.whole.is_char_boundary(from) {
                from += 1;
            }
        }
    }
}
