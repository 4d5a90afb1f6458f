//! What is looked for in arguments and results.

use std::collections::BTreeMap;

use tollgate_guard::rules::FileRule;
use tollgate_guard::{
    Action, Beyond, Bound, Direction, Family, GuardSettings, Pattern, PatternSettings, Rule,
    usual_of_arguments, usual_of_definitions, usual_of_results,
};
use tollgate_model::TenantId;

use super::{Meaning, defaults, shown};
use crate::config::forms::{Items, Keyed};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::rule_files;
use crate::config::section::{
    ArgumentsActionSection, ArgumentsGuardSection, BeyondSection, DefinitionsActionSection,
    DefinitionsGuardSection, GuardActionSection, GuardModeSection, GuardSection, PatternSection,
    ResultsGuardSection,
};

/// The longest name of a pattern.
const NAME_MAX: usize = 32;
/// The most patterns: every text is held against each.
const PATTERNS_MAX: usize = 64;

/// The most expressions and phrases of all files: every text is held against each.
const EXPRESSIONS_MAX: usize = 512;

/// Why nothing is held in results, and what can be done instead.
pub(super) const RESULTS_HOLD: (&str, &str) = (
    "`hold` is nothing that can be done in results: by then their server has carried the call out, and its client waits",
    "write `block`, or `hold` in `arguments`",
);
/// Why definitions are not held where nobody could approve them.
pub(super) const DEFINITIONS_HOLD: (&str, &str) =
    ("`hold` needs `pins`: an operator approves there what is held", "add `pins: {}`, or write `block`");

/// What is said of a family or a rule.
#[derive(Clone, Copy)]
pub(super) enum Word {
    /// It is not looked for.
    Off,
    Do(Action),
}

/// What is said of families and rules in one direction, whatever the direction is.
pub(super) struct Said<'s> {
    pub(super) mode: Option<GuardModeSection>,
    pub(super) families: [(Family, Option<Word>); 3],
    pub(super) rules: Vec<(&'s str, Word)>,
    pub(super) usual: fn(Rule) -> Action,
    /// What an action that is meant for results is in this direction.
    pub(super) takes: fn(Action) -> Action,
}

/// Something that the operator looks for.
pub(super) struct Own<'f> {
    pub(super) rule: Rule,
    pub(super) id: String,
    /// The rule of a file that it is.
    pub(super) file: Option<&'f FileRule>,
}

fn own<'f>(patterns: &[PatternSettings], files: &'f [FileRule]) -> Vec<Own<'f>> {
    let patterns = patterns.iter().map(|pattern| (&pattern.name, None));
    let files = files.iter().map(|file| (&file.id, Some(file)));
    let of = |(nth, (name, file)): (u16, (&String, _))| Own {
        rule: Rule::Own(nth),
        id: format!("own.{name}"),
        file,
    };
    (0..).zip(patterns.chain(files)).map(of).collect()
}

/// A rule by which what is usual for a family is found.
const fn like(rule: Rule, family: Family) -> Rule {
    match (rule, family) {
        (Rule::Own(_), Family::Personal) => Rule::Email,
        (Rule::Own(_), Family::Secret) => Rule::Jwt,
        (Rule::Own(_), Family::Injection) => Rule::Override,
        _ => rule,
    }
}

impl Meaning<'_> {
    /// What guards look for.
    pub(super) fn guards(
        &mut self,
        section: Option<&GuardSection>,
        tenants: &[TenantId],
        has_pins: bool,
        place: &Place<'_>,
    ) -> GuardSettings {
        let Some(section) = section else { return GuardSettings::default() };
        let patterns = self.patterns(section.patterns.as_ref(), &place.key("patterns"));
        let files = self.rule_files(section.rule_files.as_ref(), &patterns, &place.key("rule_files"));
        let own = own(&patterns, &files);
        let results = of_results(section.results.as_ref());
        let arguments = of_arguments(section.arguments.as_ref());
        let definitions = of_definitions(section.definitions.as_ref());
        self.holds(&results, Some(RESULTS_HOLD), &place.key("results"));
        self.holds(&definitions, (!has_pins).then_some(DEFINITIONS_HOLD), &place.key("definitions"));
        // An override may say that something becomes of it.
        if section.overrides.is_none() {
            self.without_mode(&results, &place.key("results"));
            self.without_mode(&arguments, &place.key("arguments"));
            self.without_mode(&definitions, &place.key("definitions"));
        }
        GuardSettings {
            results: self.direction(&results, &own, &place.key("results")),
            arguments: self.direction(&arguments, &own, &place.key("arguments")),
            definitions: self.direction(&definitions, &own, &place.key("definitions")),
            bound: bound(section),
            overrides: self.overrides(
                section.overrides.as_ref(),
                (tenants, has_pins),
                &own,
                &place.key("overrides"),
            ),
            pseudonyms: self.pseudonyms(section.pseudonyms.as_ref(), &place.key("pseudonyms")),
            pseudonym_key: self.pseudonym_key(section.pseudonyms.as_ref(), &place.key("pseudonyms")),
            patterns,
            files,
            outside: self.external_guards(section.external.as_ref(), &place.key("external")),
        }
    }

    /// Tells of actions that are written where nobody has said that anything is to become of what is found.
    fn without_mode(&mut self, said: &Said<'_>, place: &Place<'_>) {
        let does = |word: &Word| matches!(word, Word::Do(action) if *action != Action::Report);
        let of_families = said.families.iter().any(|(_, word)| word.as_ref().is_some_and(does));
        if said.mode.is_none() && (of_families || said.rules.iter().any(|(_, word)| does(word))) {
            let how = "write `mode: act`, or `mode: report` for a trial";
            self.problems.warning(
                place,
                "what is found is only reported: there is no `mode`",
                Some(how.to_owned()),
            );
        }
    }

    /// Says why something cannot be held here, if it is to be and cannot.
    pub(super) fn holds(&mut self, said: &Said<'_>, why: Option<(&str, &str)>, place: &Place<'_>) {
        let Some((why, instead)) = why else { return };
        let is_hold = |word: &Word| matches!(word, Word::Do(Action::Hold));
        let families = said.families.iter().filter(|(_, word)| word.as_ref().is_some_and(is_hold));
        let families: Vec<Family> = families.map(|(family, _)| *family).collect();
        for family in families {
            self.problems.error_with(&place.key(family.as_str()), why, instead);
        }
        for (id, _) in said.rules.iter().filter(|(_, word)| is_hold(word)) {
            self.problems.error_with(&place.key("rules").key(id), why, instead);
        }
    }

    fn direction(&mut self, said: &Said<'_>, own: &[Own<'_>], place: &Place<'_>) -> Option<Direction> {
        let mut known: Vec<(Rule, String)> =
            Rule::ALL.iter().map(|rule| (*rule, rule.id().to_owned())).collect();
        known.extend(own.iter().map(|own| (own.rule, own.id.clone())));
        let mut rules = BTreeMap::new();
        for (rule, _) in known.iter().filter(|(rule, _)| rule.is_default()) {
            let file = own.iter().find(|own| own.rule == *rule).and_then(|own| own.file);
            if let Some(file) = file.filter(|file| file.is_off || file.action.is_some()) {
                if let Some(action) = file.action.filter(|_| !file.is_off) {
                    rules.insert(*rule, (said.takes)(action));
                }
                continue;
            }
            let family = file.map_or(rule.family(), |file| file.family);
            let of_family = said.families.iter().find(|(one, _)| *one == family);
            match of_family.and_then(|(_, word)| *word) {
                Some(Word::Off) => {}
                Some(Word::Do(action)) => {
                    rules.insert(*rule, action);
                }
                None => {
                    rules.insert(*rule, (said.usual)(like(*rule, family)));
                }
            }
        }
        for (id, word) in &said.rules {
            let Some((rule, _)) = known.iter().find(|(_, known)| known.as_str() == *id) else {
                let place = place.key("rules").key(id);
                let message = format!("there is no rule {}", shown(&place, id));
                let ids = known.iter().map(|(_, id)| id.as_str());
                let suggestion = match closest(id, ids) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "`docs/reference/guards.md` lists them".to_owned(),
                };
                self.problems.error_with(&place, message, suggestion);
                continue;
            };
            match word {
                Word::Do(action) => {
                    rules.insert(*rule, *action);
                }
                Word::Off => {
                    rules.remove(rule);
                }
            }
        }
        let mode = said.mode.unwrap_or(GuardModeSection::Report);
        let acts = mode == GuardModeSection::Act;
        (mode != GuardModeSection::Off).then_some(Direction { acts, rules })
    }

    /// The rules of files. What is wrong with one is told where it is named.
    fn rule_files(
        &mut self,
        section: Option<&Items<String>>,
        patterns: &[PatternSettings],
        place: &Place<'_>,
    ) -> Vec<FileRule> {
        let mut rules: Vec<FileRule> = Vec::new();
        for (index, path) in Items::iter(section) {
            let place = place.item(index);
            let path = self.files.path(path);
            self.files.watch(&path);
            let written = match rule_files::load(&path) {
                Ok(written) => written,
                Err(error) => {
                    let more = error.problems.len() + error.left_out;
                    let first = error.problems.first().map(ToString::to_string).unwrap_or_default();
                    let how = format!("`tollgate guard test {}` shows all ({more})", path.display());
                    self.problems.error_with(&place, first, how);
                    continue;
                }
            };
            for one in written {
                let is_there = patterns.iter().any(|other| other.name == one.rule.id)
                    || rules.iter().any(|other| other.id == one.rule.id);
                if is_there {
                    let at = format!("{}:{}", one.file.display(), one.line);
                    let message = format!("{at}: there is a rule or pattern `{}` already", one.rule.id);
                    self.problems.error(&place, message);
                }
                rules.push(one.rule);
            }
        }
        let looked_for = |rule: &FileRule| rule.expressions.len() + rule.phrases.len();
        if rules.len() > rule_files::RULES_MAX
            || rules.iter().map(looked_for).sum::<usize>() > EXPRESSIONS_MAX
        {
            let message = format!(
                "there are more than {} rules or {EXPRESSIONS_MAX} expressions and phrases together",
                rule_files::RULES_MAX
            );
            self.problems.error(place, message);
        }
        rules
    }

    fn patterns(
        &mut self,
        section: Option<&Keyed<PatternSection>>,
        place: &Place<'_>,
    ) -> Vec<PatternSettings> {
        let mut patterns = Vec::new();
        for (name, pattern) in Keyed::iter(section) {
            let place = place.key(name);
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            if name.is_empty() || name.len() > NAME_MAX || !name.bytes().all(is_name) {
                let message = format!("{} is no name of a pattern", shown(&place, name));
                self.problems.error_with(
                    &place,
                    message,
                    format!("write letters, digits, `-` and `_`, {NAME_MAX} characters at most"),
                );
            }
            let words: Vec<String> =
                Items::iter(pattern.words.as_ref()).map(|(_, word)| word.clone()).collect();
            let Some(expression) = &pattern.expression else {
                self.problems.error(&place, "a pattern needs an `expression`".to_owned());
                continue;
            };
            if let Err(why) = Pattern::new(name, expression, &words) {
                self.problems.error(&place.key("expression"), format!("it cannot be used: {why}"));
            }
            patterns.push(PatternSettings { name: name.to_owned(), expression: expression.clone(), words });
        }
        if patterns.len() > PATTERNS_MAX {
            self.problems.error(place, format!("there are more than {PATTERNS_MAX} patterns"));
        }
        patterns
    }
}

fn bound(section: &GuardSection) -> Bound {
    let usual = defaults::guard_bound();
    Bound {
        bytes_max: section.inspect_bytes_max.unwrap_or(usual.bytes_max),
        beyond: match section.beyond {
            None => usual.beyond,
            Some(BeyondSection::Refuse) => Beyond::Refuse,
            Some(BeyondSection::Report) => Beyond::Report,
        },
    }
}

pub(super) fn of_results(section: Option<&ResultsGuardSection>) -> Said<'_> {
    let of = |action: &GuardActionSection| action_of(*action).map_or(Word::Off, Word::Do);
    let family =
        |action: fn(&ResultsGuardSection) -> Option<&GuardActionSection>| section.and_then(action).map(of);
    Said {
        mode: section.and_then(|section| section.mode),
        families: [
            (Family::Personal, family(|section| section.personal.as_ref())),
            (Family::Secret, family(|section| section.secret.as_ref())),
            (Family::Injection, family(|section| section.injection.as_ref())),
        ],
        rules: Keyed::iter(section.and_then(|section| section.rules.as_ref()))
            .map(|(id, action)| (id, of(action)))
            .collect(),
        usual: usual_of_results,
        takes: |action| if action == Action::Hold { Action::Block } else { action },
    }
}

/// What is said of something; nothing if it is not looked for.
pub(in crate::config) const fn action_of(action: GuardActionSection) -> Option<Action> {
    Some(match action {
        GuardActionSection::Off => return None,
        GuardActionSection::Report => Action::Report,
        GuardActionSection::Mask => Action::Mask,
        GuardActionSection::Partial => Action::Partial,
        GuardActionSection::Hash => Action::Hash,
        GuardActionSection::Pseudonym => Action::Pseudonym,
        GuardActionSection::Strip => Action::Strip,
        GuardActionSection::Drop => Action::Drop,
        GuardActionSection::Fence => Action::Fence,
        GuardActionSection::Hold => Action::Hold,
        GuardActionSection::Block => Action::Block,
    })
}

pub(super) fn of_arguments(section: Option<&ArgumentsGuardSection>) -> Said<'_> {
    let of = |action: &ArgumentsActionSection| match action {
        ArgumentsActionSection::Off => Word::Off,
        ArgumentsActionSection::Report => Word::Do(Action::Report),
        ArgumentsActionSection::Mask => Word::Do(Action::Mask),
        ArgumentsActionSection::Partial => Word::Do(Action::Partial),
        ArgumentsActionSection::Hash => Word::Do(Action::Hash),
        ArgumentsActionSection::Strip => Word::Do(Action::Strip),
        ArgumentsActionSection::Drop => Word::Do(Action::Drop),
        ArgumentsActionSection::Hold => Word::Do(Action::Hold),
        ArgumentsActionSection::Block => Word::Do(Action::Block),
    };
    let family = |action: fn(&ArgumentsGuardSection) -> Option<&ArgumentsActionSection>| {
        section.and_then(action).map(of)
    };
    Said {
        mode: section.and_then(|section| section.mode),
        families: [
            (Family::Personal, family(|section| section.personal.as_ref())),
            (Family::Secret, family(|section| section.secret.as_ref())),
            (Family::Injection, family(|section| section.injection.as_ref())),
        ],
        rules: Keyed::iter(section.and_then(|section| section.rules.as_ref()))
            .map(|(id, action)| (id, of(action)))
            .collect(),
        usual: usual_of_arguments,
        takes: |action| match action {
            Action::Hold | Action::Block => action,
            _ => Action::Report,
        },
    }
}

pub(super) fn of_definitions(section: Option<&DefinitionsGuardSection>) -> Said<'_> {
    let of = |action: &DefinitionsActionSection| match action {
        DefinitionsActionSection::Off => Word::Off,
        DefinitionsActionSection::Report => Word::Do(Action::Report),
        DefinitionsActionSection::Strip => Word::Do(Action::Strip),
        DefinitionsActionSection::Fence => Word::Do(Action::Fence),
        DefinitionsActionSection::Hold => Word::Do(Action::Hold),
        DefinitionsActionSection::Block => Word::Do(Action::Block),
    };
    let family = |action: fn(&DefinitionsGuardSection) -> Option<&DefinitionsActionSection>| {
        section.and_then(action).map(of)
    };
    Said {
        mode: section.and_then(|section| section.mode),
        families: [
            (Family::Personal, family(|section| section.personal.as_ref())),
            (Family::Secret, family(|section| section.secret.as_ref())),
            (Family::Injection, family(|section| section.injection.as_ref())),
        ],
        rules: Keyed::iter(section.and_then(|section| section.rules.as_ref()))
            .map(|(id, action)| (id, of(action)))
            .collect(),
        usual: usual_of_definitions,
        takes: |action| match action {
            Action::Strip | Action::Fence | Action::Hold | Action::Block => action,
            _ => Action::Report,
        },
    }
}
