//! JSON, inspected as configured.

mod edits;
mod field;
mod inspection;
mod pass;

use std::borrow::Cow;

use bytes::Bytes;
use ring::hmac;
use tollgate_mcp::Span;

use crate::action::{self, Action};
use crate::own::Pattern;
use crate::rule::{Family, Finding, Rule, RuleSet};
use crate::scanner::Scanner;
use crate::subject::Subject;

pub(crate) use edits::{Changed, Changing, edited, located, merged, spliced};
pub(crate) use field::Field;
use inspection::NOTED_MAX;
pub use inspection::{Inspection, Noted};
use pass::Pass;

/// How often what was changed is looked at again. What is not clean by then does not pass.
const ROUNDS_MAX: usize = 4;

/// What is looked for, and what becomes of it.
#[derive(Clone, Debug)]
pub struct Guard {
    scanner: Scanner,
    /// By place in [`Rule::ALL`]. None of what is only looked for somewhere.
    actions: Vec<Option<Action>>,
    /// By the operator's patterns.
    own: Vec<Option<Action>>,
    /// What is otherwise at some places, the most specific last.
    fields: Vec<Field>,
    key: hmac::Key,
    acts: bool,
    /// Whether names may come to stand for anything.
    pseudonymises: bool,
    /// What has to be taken out wherever it stands.
    demanded: RuleSet,
    demanded_own: Vec<bool>,
}

impl Guard {
    /// Looks for what the scanner looks for; `act` says of each rule what becomes of what it finds, the keys that digests are
    /// made with are drawn from `key`, one for each tenant. Without `acts` everything is only reported.
    pub fn new(scanner: Scanner, own: usize, act: impl Fn(Rule) -> Action, key: &[u8], acts: bool) -> Self {
        Self::of(scanner, own, |rule| Some(act(rule)), key, acts, Vec::new())
    }

    /// The same, with what is otherwise at some places.
    pub(crate) fn of(
        scanner: Scanner,
        own: usize,
        act: impl Fn(Rule) -> Option<Action>,
        key: &[u8],
        acts: bool,
        mut fields: Vec<Field>,
    ) -> Self {
        fields.sort_by_key(Field::rank);
        let actions = Rule::ALL.iter().map(|rule| act(*rule)).collect();
        let own = (0..).take(own).map(|place| act(Rule::Own(place))).collect();
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let (demanded, demanded_own) = (RuleSet::NONE, Vec::new());
        let pseudonymises = false;
        let guard = Self { scanner, actions, own, fields, key, acts, pseudonymises, demanded, demanded_own };
        guard.settled()
    }

    /// Looks for what these find, wherever it stands, and has it wait for people.
    pub(crate) fn holding(rules: RuleSet, own: &[bool], patterns: &[Pattern], key: &[u8]) -> Self {
        let scanner = Scanner::new(RuleSet::NONE, Vec::new()).with(rules, own, patterns);
        let act = |rule| demands(rules, own, rule).then_some(Action::Hold);
        let guard = Self::of(scanner, patterns.len(), act, key, true, Vec::new());
        // What is too large to be looked at cannot be known to be without it.
        Self { demanded: rules, demanded_own: own.to_vec(), ..guard }
    }

    /// The same, which also takes out what these find: as it is configured to, if it is, or by a mask.
    pub(crate) fn redacting(&self, rules: RuleSet, own: &[bool], patterns: &[Pattern]) -> Self {
        let done = |is_demanded: bool, action: Option<Action>| match action {
            action if !is_demanded => action.map(|action| if self.acts { action } else { Action::Report }),
            Some(action) if self.acts && !matches!(action, Action::Report | Action::Fence | Action::Hold) => {
                Some(action)
            }
            _ => Some(Action::Mask),
        };
        let actions =
            Rule::ALL.iter().zip(&self.actions).map(|(rule, action)| done(rules.has(*rule), *action));
        let own_actions = own.iter().zip(&self.own).map(|(is_demanded, action)| done(*is_demanded, *action));
        Self {
            scanner: self.scanner.with(rules, own, patterns),
            actions: actions.collect(),
            own: own_actions.collect(),
            fields: self
                .fields
                .iter()
                .map(|field| field.done(&done, |rule| demands(rules, own, rule)))
                .collect(),
            key: self.key.clone(),
            acts: true,
            pseudonymises: false,
            demanded: rules,
            demanded_own: own.to_vec(),
        }
        .settled()
    }

    fn settled(self) -> Self {
        let of_fields = self.fields.iter().flat_map(|field| field.rules.values());
        let mut all = self.actions.iter().chain(&self.own).chain(of_fields);
        let pseudonymises = self.acts && all.any(|action| *action == Some(Action::Pseudonym));
        Self { pseudonymises, ..self }
    }

    /// Whether names may come to stand for anything.
    pub fn pseudonymises(&self) -> bool {
        self.pseudonymises
    }

    /// Whether what a rule finds has to be taken out wherever it stands.
    fn demands(&self, rule: Rule) -> bool {
        demands(self.demanded, &self.demanded_own, rule)
    }

    /// What becomes of something that cannot be taken out of where it stands: what is meant for the model, or has to go, keeps the
    /// whole from passing.
    fn unchanging(&self, rule: Rule, action: Action) -> Action {
        match action {
            Action::Report | Action::Hold | Action::Block => action,
            _ if self.demands(rule) => Action::Block,
            Action::Fence => Action::Report,
            _ if self.scanner.family(rule) == Family::Injection => Action::Block,
            _ => Action::Report,
        }
    }

    /// Whether something has to be taken out, whatever else is done.
    pub fn has_demands(&self) -> bool {
        !self.demanded.is_empty() || self.demanded_own.contains(&true)
    }

    /// Whether anything becomes of what is found, beside being on record.
    pub fn acts(&self) -> bool {
        self.acts
    }

    /// What looks.
    pub fn scanner(&self) -> &Scanner {
        &self.scanner
    }

    /// What becomes of what a rule finds, where nothing else is said of its place. Nothing of what is not looked for there.
    fn action(&self, rule: Rule) -> Option<Action> {
        let action = match rule {
            Rule::Own(place) => self.own.get(usize::from(place)),
            rule => Rule::ALL.iter().position(|one| *one == rule).and_then(|place| self.actions.get(place)),
        };
        let action = action.copied().flatten()?;
        Some(if self.acts { action } else { Action::Report })
    }

    /// The same at a place.
    fn action_at(&self, rule: Rule, way: &[Cow<'_, str>]) -> Option<Action> {
        let field = self.fields.iter().rev().find_map(|field| field.says(rule, way));
        match field {
            Some(action) => action.map(|action| if self.acts { action } else { Action::Report }),
            None => self.action(rule),
        }
    }

    /// Whether a finding lies in what stands for something that was taken out.
    fn is_of_mark(&self, text: &str, finding: &Finding) -> bool {
        let is_name =
            |name: &str| Rule::ALL.iter().any(|rule| rule.short() == name) || self.scanner.has_own(name);
        action::is_of_mark(text, &(finding.start..finding.end), is_name)
    }

    /// Inspects a JSON value within validated bytes, except for the members of it (at the top) that are named. Digests are made
    /// with the tenant's key.
    ///
    /// Texts of `content` that follow each other are also read as one, since a reader may.
    pub fn inspect(&self, bytes: &Bytes, value: Span, except: &[&str], tenant: &str) -> Inspection {
        self.inspect_as(bytes, value, &Subject { except, tenant, ..Subject::default() })
    }

    /// The same of something that is read in a way of its own.
    pub fn inspect_as(&self, bytes: &Bytes, value: Span, subject: &Subject<'_>) -> Inspection {
        let mut inspection = Inspection::default();
        if self.scanner.is_idle() {
            return inspection;
        }
        let mut current = value.slice(bytes);
        let mut is_changed = false;
        for round in 0.. {
            let mut pass = Pass::new(self, &current, subject, round > 0);
            pass.held = std::mem::take(&mut inspection.held);
            pass.run();
            let Pass { changed, noted, more, blocked, held, .. } = pass;
            inspection.held = held;
            inspection.noted.extend(noted);
            inspection.more += more;
            if inspection.noted.len() > NOTED_MAX {
                inspection.more += inspection.noted.len() - NOTED_MAX;
                inspection.noted.truncate(NOTED_MAX);
            }
            if let Some(rule) = blocked {
                inspection.blocked = Some(Some(rule));
                return inspection;
            }
            if changed.is_empty() {
                break;
            }
            if round == ROUNDS_MAX {
                inspection.blocked = Some(None);
                return inspection;
            }
            current = spliced(&current, changed);
            is_changed = true;
        }
        if is_changed {
            inspection.changed = Some(current);
        }
        inspection
    }
}

/// Whether these have a rule among them.
fn demands(rules: RuleSet, own: &[bool], rule: Rule) -> bool {
    match rule {
        Rule::Own(place) => own.get(usize::from(place)).copied().unwrap_or_default(),
        rule => rules.has(rule),
    }
}
