//! A phrase, ready to be looked for.

use super::settings::PhraseSettings;
use crate::rule::Rule;

/// Some words of which one has to follow, within so many words.
#[derive(Clone, Debug)]
pub(crate) struct Then {
    pub(crate) words: Box<[Box<str>]>,
    pub(crate) within: usize,
}

/// A phrase. Words are compared whatever their case; one that ends with a star may go on.
#[derive(Clone, Debug)]
pub(crate) struct Phrase {
    pub(crate) rule: Rule,
    /// Its first word is one of these.
    pub(crate) first: Box<[Box<str>]>,
    /// What has to follow, in this order.
    pub(crate) then: Box<[Then]>,
    /// How sure it is where it stands by itself.
    pub(crate) weight: u8,
    /// Words shortly before or after it that make it surer, and by how much.
    pub(crate) stronger: (Box<[Box<str>]>, u8),
    /// Whether an address has to follow it shortly.
    pub(crate) needs_address: bool,
}

impl Phrase {
    pub(crate) fn new(rule: Rule, settings: &PhraseSettings) -> Self {
        let boxed = |words: &[String]| words.iter().map(|word| word.as_str().into()).collect();
        Self {
            rule,
            first: boxed(&settings.first),
            then: settings
                .then
                .iter()
                .map(|then| Then { words: boxed(&then.words), within: then.within })
                .collect(),
            weight: settings.confidence,
            stronger: (boxed(&settings.stronger.words), settings.stronger.by),
            needs_address: settings.needs_address,
        }
    }
}
