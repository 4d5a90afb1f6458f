//! What is looked for in arguments and results.

use std::collections::BTreeMap;

use tollgate_guard::{
    Action, Direction, Family, GuardSettings, Pattern, PatternSettings, Rule, usual_of_arguments,
    usual_of_definitions, usual_of_results,
};

use super::{Meaning, shown};
use crate::config::forms::{Items, Keyed};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{
    ArgumentsActionSection, ArgumentsGuardSection, DefinitionsActionSection, DefinitionsGuardSection,
    GuardActionSection, GuardModeSection, GuardSection, PatternSection, ResultsGuardSection,
};

/// The longest name of a pattern.
const NAME_MAX: usize = 32;
/// The most patterns: every text is held against each.
const PATTERNS_MAX: usize = 64;

/// What is said of a family or a rule.
#[derive(Clone, Copy)]
enum Word {
    /// It is not looked for.
    Off,
    Do(Action),
}

/// What is said of families and rules in one direction, whatever the direction is.
struct Said<'s> {
    mode: Option<GuardModeSection>,
    families: [(Family, Option<Word>); 3],
    rules: Vec<(&'s str, Word)>,
    usual: fn(Rule) -> Action,
}

impl Meaning<'_> {
    /// What guards look for.
    pub(super) fn guards(&mut self, section: Option<&GuardSection>, place: &Place<'_>) -> GuardSettings {
        let Some(section) = section else { return GuardSettings::default() };
        let patterns = self.patterns(section.patterns.as_ref(), &place.key("patterns"));
        let results = of_results(section.results.as_ref());
        let arguments = of_arguments(section.arguments.as_ref());
        let definitions = of_definitions(section.definitions.as_ref());
        GuardSettings {
            results: self.direction(&results, &patterns, &place.key("results")),
            arguments: self.direction(&arguments, &patterns, &place.key("arguments")),
            definitions: self.direction(&definitions, &patterns, &place.key("definitions")),
            patterns,
            outside: self.external_guards(section.external.as_ref(), &place.key("external")),
        }
    }

    fn direction(
        &mut self,
        said: &Said<'_>,
        patterns: &[PatternSettings],
        place: &Place<'_>,
    ) -> Option<Direction> {
        let own = (0..).zip(patterns).map(|(nth, pattern)| (Rule::Own(nth), format!("own.{}", pattern.name)));
        let mut known: Vec<(Rule, String)> =
            Rule::ALL.iter().map(|rule| (*rule, rule.id().to_owned())).collect();
        known.extend(own);
        let mut rules = BTreeMap::new();
        for (rule, _) in known.iter().filter(|(rule, _)| rule.is_default()) {
            let of_family = said.families.iter().find(|(family, _)| *family == rule.family());
            match of_family.and_then(|(_, word)| *word) {
                Some(Word::Off) => {}
                Some(Word::Do(action)) => {
                    rules.insert(*rule, action);
                }
                None => {
                    rules.insert(*rule, (said.usual)(*rule));
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

fn of_results(section: Option<&ResultsGuardSection>) -> Said<'_> {
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
    }
}

/// What is said of something; nothing if it is not looked for.
pub(super) const fn action_of(action: GuardActionSection) -> Option<Action> {
    Some(match action {
        GuardActionSection::Off => return None,
        GuardActionSection::Report => Action::Report,
        GuardActionSection::Mask => Action::Mask,
        GuardActionSection::Partial => Action::Partial,
        GuardActionSection::Hash => Action::Hash,
        GuardActionSection::Strip => Action::Strip,
        GuardActionSection::Drop => Action::Drop,
        GuardActionSection::Fence => Action::Fence,
        GuardActionSection::Block => Action::Block,
    })
}

fn of_arguments(section: Option<&ArgumentsGuardSection>) -> Said<'_> {
    let of = |action: &ArgumentsActionSection| match action {
        ArgumentsActionSection::Off => Word::Off,
        ArgumentsActionSection::Report => Word::Do(Action::Report),
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
    }
}

fn of_definitions(section: Option<&DefinitionsGuardSection>) -> Said<'_> {
    let of = |action: &DefinitionsActionSection| match action {
        DefinitionsActionSection::Off => Word::Off,
        DefinitionsActionSection::Report => Word::Do(Action::Report),
        DefinitionsActionSection::Strip => Word::Do(Action::Strip),
        DefinitionsActionSection::Fence => Word::Do(Action::Fence),
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
    }
}
