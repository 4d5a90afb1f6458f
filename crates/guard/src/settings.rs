//! What an operator wants looked for, and what becomes of it.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_model::{Glob, Secret};

use crate::action::Action;
use crate::outside::OutsideSettings;
use crate::rule::{Family, Rule};
use crate::rules::FileRule;

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
    /// What is otherwise for some tenants, servers or tools. Of two that are about the same the more specific one holds, and of
    /// two that are as specific the later one.
    pub overrides: Vec<Override>,
    /// For how long names stand for texts, and how many.
    pub pseudonyms: PseudonymSettings,
    /// The key by which all gateways on a store know each other's names. Without it each knows its own.
    pub pseudonym_key: Option<Secret>,
}

/// Bounds of the names that stand for texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PseudonymSettings {
    /// A caller's names are forgotten when it has used none of them for so long.
    pub idle: Duration,
    /// How many one caller may have.
    pub texts_max: usize,
}

impl Default for PseudonymSettings {
    fn default() -> Self {
        Self { idle: Duration::from_hours(1), texts_max: 10_000 }
    }
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

impl Direction {
    /// What is looked for where nobody says otherwise, and only reported; and so many patterns of the operator's.
    pub fn usual(usual: fn(Rule) -> Action, own: usize) -> Self {
        let own = (0..).take(own).map(Rule::Own);
        let rules = Rule::ALL.iter().copied().filter(|rule| rule.is_default()).chain(own);
        Self { acts: false, rules: rules.map(|rule| (rule, usual(rule))).collect() }
    }
}

/// Whether something is looked for, and what comes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Nothing is looked for.
    Off,
    /// What is found is on record, and passes.
    Report,
    /// What is said of each rule is done.
    Act,
}

/// What is otherwise in one direction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay {
    /// Whether it is looked, where that is said.
    pub mode: Option<Mode>,
    /// What becomes of what these rules find; nothing for one that is not looked for.
    pub rules: BTreeMap<Rule, Option<Action>>,
}

/// Where something is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In what servers answer, ask and say.
    Results,
    /// In arguments.
    Arguments,
    /// In definitions.
    Definitions,
}

impl Place {
    /// Whether this can be done there.
    pub const fn knows(self, action: Action) -> bool {
        match self {
            // Its server has done it already, and its caller waits for no one's word on what came of it.
            Self::Results => !matches!(action, Action::Hold),
            Self::Arguments => !matches!(action, Action::Pseudonym | Action::Fence),
            Self::Definitions => {
                matches!(
                    action,
                    Action::Report | Action::Strip | Action::Fence | Action::Hold | Action::Block
                )
            }
        }
    }
}

/// What is otherwise at one place of what passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldSettings {
    /// In which direction.
    pub place: Place,
    /// The way to it: a JSON pointer in which `*` is any name or number. It is about everything that is there.
    pub path: String,
    /// What becomes of what these rules find; nothing for one that is not looked for.
    pub rules: BTreeMap<Rule, Option<Action>>,
}

/// What is otherwise for some tenants, servers and tools.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Override {
    /// For which tenants; all if there is none.
    pub tenants: Vec<Glob>,
    /// For which servers.
    pub servers: Vec<Glob>,
    /// For which tools, by their own names. With one it is about tools alone. Case is not looked at.
    pub tools: Vec<Glob>,
    /// In what servers answer.
    pub results: Overlay,
    /// In arguments.
    pub arguments: Overlay,
    /// In definitions.
    pub definitions: Overlay,
    /// At places.
    pub fields: Vec<FieldSettings>,
    /// Whether texts are put back into arguments in place of the names that stand for them, where that is said.
    pub restores: Option<bool>,
}

impl Override {
    /// How specific it is: first by tools, then by servers, then by tenants. A name is more than a pattern.
    pub(crate) fn rank(&self) -> [u8; 3] {
        let of = |globs: &[Glob]| match globs {
            [] => 0,
            globs if globs.iter().all(Glob::is_exact) => 2,
            _ => 1,
        };
        [of(&self.tools), of(&self.servers), of(&self.tenants)]
    }

    pub(crate) fn is_about(&self, tenant: &str, server: &str, tool: Option<&str>) -> bool {
        let fits =
            |globs: &[Glob], name: &str| globs.is_empty() || globs.iter().any(|glob| glob.matches(name));
        fits(&self.tenants, tenant)
            && fits(&self.servers, server)
            && match tool {
                Some(tool) => fits(&self.tools, tool),
                None => self.tools.is_empty(),
            }
    }

    pub(crate) fn overlay(&self, place: Place) -> &Overlay {
        match place {
            Place::Results => &self.results,
            Place::Arguments => &self.arguments,
            Place::Definitions => &self.definitions,
        }
    }
}

/// A pattern of the operator's. See [`crate::Pattern::new`].
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

/// What can be taken out of results, or looked for in arguments, by the words that policies may write (`@redact`, `@hold`):
/// families, `pii`, and rules.
pub fn redactions(settings: &GuardSettings) -> impl Iterator<Item = String> {
    let families = ["pii", "personal", "secret", "injection", "own"].map(str::to_owned);
    // What is about definitions alone stands in no result.
    let rules = Rule::ALL.iter().filter(|rule| !rule.is_of_definitions()).map(|rule| rule.id().to_owned());
    let patterns = settings.patterns.iter().map(|pattern| &pattern.name);
    let own = patterns.chain(settings.files.iter().map(|rule| &rule.id)).map(|name| format!("own.{name}"));
    families.into_iter().chain(rules).chain(own)
}
