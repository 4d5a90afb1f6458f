//! A rule of a file, as it is written.

use serde::Deserialize;

use crate::action::Action;
use crate::own::Pattern;
use crate::rule::{Family, Severity};
use crate::text::Text;

/// The most expressions and phrases of a rule.
const EXPRESSIONS_MAX: usize = 64;
/// The most words of an expression's context, or in one place of a phrase.
const WORDS_MAX: usize = 256;
/// The longest word.
const WORD_BYTES_MAX: usize = 64;
/// The most places of a phrase behind its first word.
const THEN_MAX: usize = 8;
/// The most words that may stand between two of a phrase.
const WITHIN_MAX: usize = 32;

/// A rule of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FileRule {
    /// Its name: the rule is `own.ID`.
    pub id: String,
    /// What it is about.
    pub family: Family,
    /// How bad it is if it is true.
    pub severity: Severity,
    /// Whether it is not looked for where the configuration says nothing of it.
    #[serde(skip)]
    pub is_off: bool,
    /// What becomes of what it finds, where the configuration says nothing of the rule.
    pub action: Option<Action>,
    /// Regular expressions.
    pub expressions: Vec<String>,
    /// Whether letters are the same in either case.
    pub ignore_case: bool,
    /// Whether `^` and `$` are at each line.
    pub lines: bool,
    /// Words of which one has to begin a word shortly before what an expression finds.
    pub words: Vec<String>,
    /// Words that follow each other.
    pub phrases: Vec<PhraseSettings>,
    /// How sure it is of what an expression finds, in percent; 90 if nothing is said.
    pub confidence: Option<u8>,
    /// What it has to find, and what not.
    pub examples: Examples,
}

/// Words that follow each other, within some words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhraseSettings {
    /// The first is one of these.
    pub first: Vec<String>,
    /// What follows, in this order.
    pub then: Vec<ThenSettings>,
    /// How sure it is where it stands by itself, in percent.
    pub confidence: u8,
    /// What makes it surer.
    pub stronger: Stronger,
    /// Whether an address has to follow it shortly: of the web, or of a person.
    pub needs_address: bool,
}

/// One of some words has to follow.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThenSettings {
    /// Within so many words.
    pub within: usize,
    /// One of these. One that ends with a star may go on.
    pub words: Vec<String>,
}

/// Words shortly before or after a phrase that make it surer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Stronger {
    /// These.
    pub words: Vec<String>,
    /// By how much, in percent.
    pub by: u8,
}

/// What a rule has to find, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Examples {
    /// In each of these it finds something.
    #[serde(rename = "match")]
    pub matches: Vec<String>,
    /// In none of these.
    #[serde(rename = "pass")]
    pub passes: Vec<String>,
}

impl FileRule {
    /// The rule, ready to look.
    ///
    /// # Errors
    /// What is wrong with it: an expression, or a bound that it exceeds.
    pub fn pattern(&self) -> Result<Pattern, String> {
        if self.expressions.is_empty() && self.phrases.is_empty() {
            return Err("it has neither `expressions` nor `phrases`".to_owned());
        }
        if self.expressions.len() + self.phrases.len() > EXPRESSIONS_MAX {
            return Err(format!("it has more than {EXPRESSIONS_MAX} expressions and phrases"));
        }
        let lists = self.phrases.iter().flat_map(|phrase| {
            let then = phrase.then.iter().map(|then| &then.words);
            then.chain([&phrase.first, &phrase.stronger.words])
        });
        for words in lists.chain([&self.words]) {
            if words.len() > WORDS_MAX || words.iter().any(|word| word.len() > WORD_BYTES_MAX) {
                return Err(format!(
                    "more than {WORDS_MAX} words, or one of more than {WORD_BYTES_MAX} bytes"
                ));
            }
            if words.iter().any(|word| word.trim_end_matches('*').is_empty()) {
                return Err("a word is empty".to_owned());
            }
        }
        for phrase in &self.phrases {
            if phrase.first.is_empty() || phrase.then.iter().any(|then| then.words.is_empty()) {
                return Err("a phrase has no words in one of its places".to_owned());
            }
            if phrase.then.len() > THEN_MAX
                || phrase.then.iter().any(|then| !(1..=WITHIN_MAX).contains(&then.within))
            {
                return Err(format!(
                    "a phrase has more than {THEN_MAX} places, or one within 0 or more than {WITHIN_MAX} words"
                ));
            }
        }
        Pattern::of_rule(self)
    }

    /// Whether it finds what it has to, and nothing else: the examples of which that is not so, each with whether something was found.
    pub fn examine(&self, pattern: &Pattern) -> Vec<(&str, bool)> {
        let finds = |text: &str| {
            let mut found = Vec::new();
            pattern.find(0, &Text::new(text, ""), &mut found);
            !found.is_empty()
        };
        let missed =
            self.examples.matches.iter().filter(|text| !finds(text)).map(|text| (text.as_str(), false));
        let wrong = self.examples.passes.iter().filter(|text| finds(text)).map(|text| (text.as_str(), true));
        missed.chain(wrong).collect()
    }
}
