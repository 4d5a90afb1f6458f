//! What an operator wants looked for, and what becomes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::action::Action;
use crate::guard::Guard;
use crate::outside::OutsideSettings;
use crate::own::Pattern;
use crate::rule::{Family, Rule, RuleSet};
use crate::rules::FileRule;
use crate::scanner::Scanner;

/// How many guards there have been.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// What is looked for in which direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardSettings {
    /// In what servers answer; nothing if it is not inspected.
    pub results: Option<Direction>,
    /// In the arguments of calls and prompts; nothing if they are not inspected.
    pub arguments: Option<Direction>,
    /// In what servers define: their tools, prompts and resources, and what they say of themselves; nothing if it is not
    /// inspected.
    pub definitions: Option<Direction>,
    /// The operator's own patterns. [`Rule::Own`] counts them from 0.
    pub patterns: Vec<PatternSettings>,
    /// How much is looked at.
    pub bound: Bound,
    /// The rules of files. [`Rule::Own`] goes on counting with them.
    pub files: Vec<FileRule>,
    /// Guards outside of the gateway, in the order in which they are asked.
    pub outside: Vec<OutsideSettings>,
}

/// How much is looked at: arguments, a result or a notification with more bytes is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The most bytes.
    pub bytes_max: usize,
    /// What becomes of what has more, where guards act.
    pub beyond: Beyond,
}

/// What becomes of what is too large to be looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Beyond {
    /// It does not pass.
    #[default]
    Refuse,
    /// It passes, which is on record.
    Report,
}

impl Default for Bound {
    fn default() -> Self {
        Self { bytes_max: 16 << 20, beyond: Beyond::Refuse }
    }
}

/// What is looked for in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Whether anything becomes of what is found, beside being on record.
    pub acts: bool,
    /// What becomes of what each rule finds. What is not here is not looked for.
    pub rules: BTreeMap<Rule, Action>,
}

/// A pattern of the operator's. See [`Pattern::new`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternSettings {
    /// Its name.
    pub name: String,
    /// The regular expression.
    pub expression: String,
    /// Words of which one has to stand before it.
    pub words: Vec<String>,
}

/// What becomes of what a rule finds in results where nobody says otherwise: what hides is stripped, other injections are
/// only reported, since a text about them is like one of them.
pub const fn usual_of_results(rule: Rule) -> Action {
    match (rule, rule.family()) {
        (Rule::Tags | Rule::ZeroWidth | Rule::Bidi | Rule::Ansi, _) => Action::Strip,
        (_, Family::Injection) => Action::Report,
        _ => Action::Mask,
    }
}

/// The same in arguments: secrets do not leave, everything else does.
pub const fn usual_of_arguments(rule: Rule) -> Action {
    match rule.family() {
        Family::Secret => Action::Block,
        _ => Action::Report,
    }
}

/// The same in definitions: what hides is stripped. Everything else is only reported: a definition that is no server's own any
/// more helps nobody.
pub const fn usual_of_definitions(rule: Rule) -> Action {
    match rule {
        Rule::Tags | Rule::ZeroWidth | Rule::Bidi | Rule::Ansi => Action::Strip,
        _ => Action::Report,
    }
}

/// What can be taken out of results, by the words that policies may write (`@redact`): families, `pii`, and rules.
pub fn redactions(patterns: &[PatternSettings]) -> impl Iterator<Item = String> {
    let families = ["pii", "personal", "secret", "injection", "own"].map(str::to_owned);
    // What is about definitions alone stands in no result.
    let rules = Rule::ALL.iter().filter(|rule| !rule.is_of_definitions()).map(|rule| rule.id().to_owned());
    let own = patterns.iter().map(|pattern| format!("own.{}", pattern.name));
    families.into_iter().chain(rules).chain(own)
}

/// The guards of a gateway.
#[derive(Clone, Debug)]
pub struct Guards {
    /// Of what servers answer.
    pub results: Option<Guard>,
    /// Of arguments.
    pub arguments: Option<Guard>,
    /// Of definitions.
    pub definitions: Option<Guard>,
    /// Of what nobody said anything about.
    bare: Guard,
    /// The operator's patterns, all of them on.
    patterns: Vec<Pattern>,
    /// What they were made of.
    settings: GuardSettings,
    /// Others have another one.
    number: u64,
    /// How much is looked at.
    pub bound: Bound,
}

impl Guards {
    /// Guards as the settings say; digests are made with a key of each tenant's, drawn from this one. Whoever reads settings
    /// looks at their patterns with [`Pattern::new`] first: one that is none is left out, and those behind it move up.
    pub fn new(settings: &GuardSettings, key: &[u8]) -> Self {
        let patterns: Vec<Pattern> = settings
            .patterns
            .iter()
            .filter_map(|one| Pattern::new(&one.name, &one.expression, &one.words).ok())
            .chain(settings.files.iter().filter_map(|rule| rule.pattern().ok()))
            .collect();
        let of = |direction: &Direction| {
            let rules = direction.rules.keys().fold(RuleSet::NONE, |set, rule| set.with(*rule));
            let own = (0..).zip(&patterns).map(|(place, pattern)| {
                let is_on = direction.rules.contains_key(&Rule::Own(place));
                if is_on { pattern.clone() } else { pattern.clone().off() }
            });
            let scanner = Scanner::new(rules, own.collect());
            let act = |rule: Rule| direction.rules.get(&rule).copied().unwrap_or_default();
            Guard::new(scanner, patterns.len(), act, key, direction.acts)
        };
        let bare = of(&Direction { acts: true, rules: BTreeMap::new() });
        Self {
            bare,
            results: settings.results.as_ref().map(of),
            arguments: settings.arguments.as_ref().map(of),
            definitions: settings.definitions.as_ref().map(of),
            bound: settings.bound,
            patterns,
            settings: settings.clone(),
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// What takes out of results what these [words](redactions) stand for, whatever else is done. None if one of them stands for
    /// nothing.
    pub fn redacting(&self, words: &[Arc<str>]) -> Option<Guard> {
        let (mut rules, mut own) = (RuleSet::NONE, vec![false; self.patterns.len()]);
        for word in words {
            let family = match &**word {
                "pii" | "personal" => Some(Family::Personal),
                "secret" => Some(Family::Secret),
                "injection" => Some(Family::Injection),
                "own" => Some(Family::Own),
                _ => None,
            };
            match (family, Rule::of_id(word)) {
                (Some(Family::Own), _) => own.fill(true),
                (Some(family), _) => {
                    let usual = Rule::ALL.iter().filter(|rule| rule.family() == family && rule.is_default());
                    rules = usual.fold(rules, |rules, rule| rules.with(*rule));
                }
                (None, Some(rule)) => rules = rules.with(rule),
                (None, None) => {
                    let name = word.strip_prefix("own.")?;
                    *own.get_mut(self.patterns.iter().position(|pattern| pattern.name() == name)?)? = true;
                }
            }
        }
        Some(self.results.as_ref().unwrap_or(&self.bare).redacting(rules, &own, &self.patterns))
    }

    /// Tells these guards from all others: what was judged by others has to be judged again.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether definitions are judged as by these.
    pub fn define_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.settings, &other.settings);
        own.definitions == others.definitions && own.patterns == others.patterns && own.files == others.files
    }
}
