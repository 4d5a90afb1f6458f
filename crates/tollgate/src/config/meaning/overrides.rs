//! What guards do otherwise for some tenants, servers, tools and places.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_guard::{
    Action, Family, FieldSettings, Guards, Mode, Overlay, Override, Place as FieldPlace, PseudonymSettings,
    Rule,
};
use tollgate_model::{Glob, Secret, TenantId};

use super::guard::{
    DEFINITIONS_HOLD, Own, RESULTS_HOLD, Said, Word, action_of, of_arguments, of_definitions, of_results,
};
use super::{Meaning, shown};
use crate::config::forms::{Items, Keyed, Several, Short};
use crate::config::node::Place;
use crate::config::problem::closest;
use crate::config::section::{
    FieldSection, GuardActionSection, GuardModeSection, GuardPlaceSection, OverrideSection, PseudonymsSection,
};

/// The shortest key of names.
const KEY_BYTES_MIN: usize = 32;

impl Meaning<'_> {
    pub(super) fn overrides(
        &mut self,
        section: Option<&Items<OverrideSection>>,
        (tenants, has_pins): (&[TenantId], bool),
        own: &[Own<'_>],
        place: &Place<'_>,
    ) -> Vec<Override> {
        let mut overrides = Vec::new();
        for (nth, section) in Items::iter(section) {
            let place = place.item(nth);
            let globs = |several: Option<&Several>| -> Vec<Glob> {
                several.into_iter().flat_map(Several::iter).map(|(_, text)| Glob::new(text)).collect()
            };
            let about = section.about.as_ref();
            let tenant = about.and_then(|about| about.tenant.as_ref());
            for (index, text) in tenant.into_iter().flat_map(Several::iter) {
                let is_known = tenants.iter().any(|tenant| tenant.as_str() == text);
                if Glob::new(text).is_exact() && !is_known {
                    let place = place.key("match").key("tenant").item(index);
                    self.problems.error(&place, format!("there is no tenant {}", shown(&place, text)));
                }
            }
            let results = of_results(section.results.as_ref());
            let arguments = of_arguments(section.arguments.as_ref());
            let definitions = of_definitions(section.definitions.as_ref());
            self.holds(&results, Some(RESULTS_HOLD), &place.key("results"));
            let cannot = (!has_pins).then_some(DEFINITIONS_HOLD);
            self.holds(&definitions, cannot, &place.key("definitions"));
            overrides.push(Override {
                tenants: globs(tenant),
                servers: globs(about.and_then(|about| about.server.as_ref())),
                tools: globs(about.and_then(|about| about.tool.as_ref())),
                results: self.overlay(&results, own, &place.key("results")),
                arguments: self.overlay(&arguments, own, &place.key("arguments")),
                definitions: self.overlay(&definitions, own, &place.key("definitions")),
                restores: section.restore,
                fields: self.fields(section.fields.as_ref(), (own, has_pins), &place.key("fields")),
            });
        }
        if overrides.len() > Guards::OVERRIDES_MAX {
            self.problems.error(place, format!("there are more than {} overrides", Guards::OVERRIDES_MAX));
        }
        overrides
    }

    /// The key by which gateways know each other's names.
    pub(super) fn pseudonym_key(
        &mut self,
        section: Option<&PseudonymsSection>,
        place: &Place<'_>,
    ) -> Option<Secret> {
        let Short(key) = section?.key.as_ref()?;
        let place = place.key("key");
        let key = self.secret(key, &place)?;
        if key.expose().len() < KEY_BYTES_MIN {
            let message = format!("it has less than {KEY_BYTES_MIN} bytes, and could be guessed");
            self.problems.error(&place, message);
        }
        Some(key)
    }

    pub(super) fn pseudonyms(
        &mut self,
        section: Option<&PseudonymsSection>,
        place: &Place<'_>,
    ) -> PseudonymSettings {
        let usual = PseudonymSettings::default();
        let Some(section) = section else { return usual };
        let mut within = |said: Option<u32>, most: u32, key: &str| {
            let said = said?;
            if !(1..=most).contains(&said) {
                self.problems.error(&place.key(key), format!("it is from 1 to {most}"));
            }
            Some(said)
        };
        let idle = within(section.idle_s, 86_400, "idle_s").map(|idle| Duration::from_secs(idle.into()));
        let texts_max = within(section.texts_max, 1_000_000, "texts_max");
        let texts_max = texts_max.and_then(|most| usize::try_from(most).ok());
        PseudonymSettings {
            idle: idle.unwrap_or(usual.idle),
            texts_max: texts_max.unwrap_or(usual.texts_max),
        }
    }

    fn fields(
        &mut self,
        section: Option<&Items<FieldSection>>,
        (own, has_pins): (&[Own<'_>], bool),
        place: &Place<'_>,
    ) -> Vec<FieldSettings> {
        let mut fields = Vec::new();
        for (nth, section) in Items::iter(section) {
            let place = place.item(nth);
            let path = section.path.clone().unwrap_or_default();
            if !path.starts_with('/') {
                let message = "a field needs a `path` that begins with `/`".to_owned();
                self.problems.error_with(
                    &place,
                    message,
                    "write a JSON pointer, such as `/structuredContent/*/email`",
                );
            }
            let rules = self.overlay(&of_field(section), own, &place).rules;
            let (at, name) = match section.place.unwrap_or(GuardPlaceSection::Results) {
                GuardPlaceSection::Results => (FieldPlace::Results, "results"),
                GuardPlaceSection::Arguments => (FieldPlace::Arguments, "arguments"),
                GuardPlaceSection::Definitions => (FieldPlace::Definitions, "definitions"),
            };
            if at == FieldPlace::Definitions {
                self.holds(&of_field(section), (!has_pins).then_some(DEFINITIONS_HOLD), &place);
            }
            let wrong = rules.values().flatten().find(|action| !at.knows(**action));
            if let Some(action) = wrong {
                let message = format!("`{}` is nothing that can be done in {name}", action.as_str());
                self.problems.error(&place, message);
            }
            fields.push(FieldSettings { place: at, path, rules });
        }
        fields
    }

    /// What is said, and no more.
    fn overlay(&mut self, said: &Said<'_>, own: &[Own<'_>], place: &Place<'_>) -> Overlay {
        let built_in = Rule::ALL.iter().map(|rule| (*rule, rule.id().to_owned(), rule.family()));
        let family_of = |own: &Own<'_>| own.file.map_or(Family::Own, |file| file.family);
        let known: Vec<(Rule, String, Family)> =
            built_in.chain(own.iter().map(|own| (own.rule, own.id.clone(), family_of(own)))).collect();
        let mut rules = BTreeMap::new();
        for (rule, _, family) in &known {
            let of_family = said.families.iter().find(|(one, _)| one == family);
            match of_family.and_then(|(_, word)| *word) {
                Some(Word::Off) => drop(rules.insert(*rule, None)),
                Some(Word::Do(action)) if rule.is_default() => drop(rules.insert(*rule, Some(action))),
                _ => {}
            }
        }
        for (id, word) in &said.rules {
            let Some((rule, ..)) = known.iter().find(|(_, known, _)| known.as_str() == *id) else {
                let place = place.key("rules").key(id);
                let message = format!("there is no rule {}", shown(&place, id));
                let ids = known.iter().map(|(_, id, _)| id.as_str());
                let suggestion = match closest(id, ids) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "`docs/reference/guards.md` lists them".to_owned(),
                };
                self.problems.error_with(&place, message, suggestion);
                continue;
            };
            let action = match word {
                Word::Do(action) => Some(*action),
                Word::Off => None,
            };
            rules.insert(*rule, action);
        }
        let mode = said.mode.map(|mode| match mode {
            GuardModeSection::Off => Mode::Off,
            GuardModeSection::Report => Mode::Report,
            GuardModeSection::Act => Mode::Act,
        });
        Overlay { mode, rules }
    }
}

fn word(action: GuardActionSection) -> Word {
    action_of(action).map_or(Word::Off, Word::Do)
}

fn of_field(section: &FieldSection) -> Said<'_> {
    Said {
        mode: None,
        families: [
            (Family::Personal, section.personal.map(word)),
            (Family::Secret, section.secret.map(word)),
            (Family::Injection, section.injection.map(word)),
        ],
        rules: Keyed::iter(section.rules.as_ref()).map(|(id, action)| (id, word(*action))).collect(),
        usual: |_| Action::Report,
        takes: |action| action,
    }
}
