//! Patterns and rules of the operator's.

use std::sync::Arc;

use regex::{Regex, RegexBuilder};

use crate::injection::weigh;
use crate::rule::{Family, Finding, Rule, Severity};
use crate::rules::{FileRule, Phrase};
use crate::text::Text;

/// A pattern is looked for in windows of this size, so that the time it takes grows with the text's length alone.
const WINDOW: usize = 4_096;
/// How much two windows have in common: what is longer is not found everywhere.
const OVERLAP: usize = 512;
/// How large a pattern may become when it is compiled.
const COMPILED_MAX: usize = 1 << 20;
/// How sure one is where it does not say.
const CONFIDENCE: u8 = 90;

/// Something that an operator looks for: a pattern of the configuration, or a rule of a file.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// Made once: whoever clones it looks with the same, ready expressions.
    made: Arc<Made>,
    is_on: bool,
}

#[derive(Debug)]
struct Made {
    name: String,
    family: Family,
    severity: Severity,
    expressions: Vec<Regex>,
    context: Vec<String>,
    confidence: u8,
    /// Each with an expression that finds its first words.
    phrases: Vec<(Regex, Phrase)>,
}

impl Pattern {
    /// A pattern by its name, a regular expression in the syntax of the crate `regex`, and words of which one has to begin a word
    /// of the member's name or of the 56 bytes before; none if it stands for itself.
    ///
    /// # Errors
    /// What is wrong with the expression: its syntax, its size, or that it finds nothing in something.
    pub fn new(name: &str, expression: &str, context: &[String]) -> Result<Self, String> {
        Self::of_rule(&FileRule {
            id: name.to_owned(),
            expressions: vec![expression.to_owned()],
            words: context.to_vec(),
            ..FileRule::default()
        })
    }

    /// The pattern that a rule of a file is.
    pub(crate) fn of_rule(rule: &FileRule) -> Result<Self, String> {
        let build = |expression: &str| {
            let mut builder = RegexBuilder::new(expression);
            builder.size_limit(COMPILED_MAX).case_insensitive(rule.ignore_case).multi_line(rule.lines);
            let regex = builder.build().map_err(|error| error.to_string())?;
            if regex.is_match("") {
                return Err("it matches the empty text".to_owned());
            }
            Ok(regex)
        };
        let expressions = rule.expressions.iter().map(|one| build(one)).collect::<Result<_, String>>()?;
        let phrases = rule.phrases.iter().map(|phrase| {
            let words: Vec<String> = phrase.first.iter().map(|word| regex::escape(word)).collect();
            let first =
                RegexBuilder::new(&format!(r"\b(?:{})", words.join("|"))).case_insensitive(true).build();
            Ok((first.map_err(|error| error.to_string())?, Phrase::new(Rule::Own(0), phrase)))
        });
        let made = Made {
            name: rule.id.clone(),
            family: rule.family,
            severity: rule.severity,
            expressions,
            context: rule.words.iter().map(|word| word.to_lowercase()).collect(),
            confidence: rule.confidence.unwrap_or(CONFIDENCE),
            phrases: phrases.collect::<Result<_, String>>()?,
        };
        Ok(Self { made: Arc::new(made), is_on: true })
    }

    /// The same, which keeps its place among others and is not looked for.
    pub(crate) fn off(self) -> Self {
        Self { is_on: false, ..self }
    }

    /// Whether it is looked for.
    pub(crate) fn is_on(&self) -> bool {
        self.is_on
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.made.name
    }

    /// What it is about.
    pub(crate) fn family(&self) -> Family {
        self.made.family
    }

    /// How bad it is if it is true.
    pub(crate) fn severity(&self) -> Severity {
        self.made.severity
    }

    pub(crate) fn find(&self, place: u16, text: &Text<'_>, found: &mut Vec<Finding>) {
        if !self.is_on {
            return;
        }
        let made = &*self.made;
        let words: Vec<&str> = made.context.iter().map(String::as_str).collect();
        for expression in &made.expressions {
            each(expression, text, |start, end| {
                let is = words.is_empty() || text.mentions(start, &words);
                if is {
                    found.push(Finding::new(Rule::Own(place), start, end, made.confidence));
                }
                is
            });
        }
        for (first, phrase) in &made.phrases {
            each(first, text, |start, _| {
                let Some((end, confidence)) = weigh(text, start, phrase, false) else { return false };
                if confidence >= Finding::CONFIDENCE_MIN {
                    found.push(Finding::new(Rule::Own(place), start, end, confidence));
                }
                true
            });
        }
    }
}

/// Shows everything that an expression finds, window by window. What was taken is not found again.
fn each(expression: &Regex, text: &Text<'_>, mut take: impl FnMut(usize, usize) -> bool) {
    let mut from = 0;
    let mut after = 0;
    while from < text.bytes.len() {
        let mut end = (from + WINDOW).min(text.bytes.len());
        while !text.whole.is_char_boundary(end) {
            end += 1;
        }
        let window = text.whole.get(from..end).unwrap_or_default();
        for one in expression.find_iter(window) {
            let (start, end) = (from + one.start(), from + one.end());
            if start >= after && take(start, end) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{PhraseSettings, ThenSettings};

    fn found(rule: &FileRule, text: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        Pattern::of_rule(rule).unwrap().find(0, &Text::new(text, ""), &mut found);
        found.iter().map(|one| (one.start, one.end)).collect()
    }

    #[test]
    fn everything_is_found_once_wherever_windows_end() {
        let then = ThenSettings { within: 2, words: vec!["gamma".to_owned()] };
        let phrase = PhraseSettings {
            first: vec!["alpha".to_owned()],
            then: vec![then],
            confidence: 70,
            ..PhraseSettings::default()
        };
        let phrase = FileRule { phrases: vec![phrase], ..FileRule::default() };
        let expression =
            FileRule { expressions: vec!["alpha[a-z ]*?gamma".to_owned()], ..FileRule::default() };
        for before in
            [0, 1, WINDOW - OVERLAP - 5, WINDOW - OVERLAP, WINDOW - 8, WINDOW - 1, WINDOW, 3 * WINDOW - 700]
        {
            let text = format!("{} Alpha beta gamma {}", "é".repeat(before / 2), "x ".repeat(WINDOW));
            let start = text.find('A').unwrap();
            assert_eq!(found(&phrase, &text), [(start, start + 16)], "{before}");
            let text = text.to_lowercase();
            assert_eq!(found(&expression, &text), [(start, start + 16)], "{before}");
        }
    }

    #[test]
    fn a_line_has_ends_and_letters_have_cases_only_where_a_rule_says_so() {
        let rule = FileRule { expressions: vec!["^abc$".to_owned()], ..FileRule::default() };
        assert_eq!(found(&rule, "x\nabc\ny"), []);
        assert_eq!(found(&FileRule { lines: true, ..rule.clone() }, "x\nabc\ny"), [(2, 5)]);
        assert_eq!(found(&rule, "ABC"), []);
        assert_eq!(found(&FileRule { ignore_case: true, ..rule }, "ABC"), [(0, 3)]);
    }
}
