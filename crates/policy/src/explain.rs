//! Why a decision is what it is: for whoever writes policies.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::Request;
use tollgate_mcp::{JsonKind, find, kind_of};
use tollgate_model::Decision;

use crate::plan::{Arguments, Outcome, blind, context, evaluate, input, request};
use crate::rule::{Part, Rule, Scope, State};
use crate::rules::{Rules, Target};
use crate::set::RuleInfo;
use crate::uses::{Uses, env};
use crate::value::{Unreadable, Wanted};
use crate::{Scene, circumstances};

/// A longer value is shown by its beginning.
const SHOWN_CHARS_MAX: usize = 120;

/// What decided on one request, and what nearly did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// Every rule that is about this caller and this request, in the order of the files.
    pub rules: Vec<Judged>,
}

/// One rule that is about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// The rule.
    pub rule: RuleInfo,
    /// What became of it.
    pub verdict: Verdict,
    /// Its conditions, in order, as far as they were looked at. The last one is the one that does not hold, if one does not.
    pub conditions: Vec<Condition>,
}

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, and is one of those that decide.
    Decides,
    /// It holds, and is a permit that a forbid overrules.
    Overruled,
    /// One of its conditions does not hold.
    Fails,
    /// One of its conditions cannot be judged: it permits nothing, and forbids.
    Errs,
    /// It is a permit that does not fit what is known of the server, and has no effect.
    Inert,
}

/// A condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its text, as Cedar writes it.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// Why it cannot be judged.
    pub error: Option<String>,
    /// What it read.
    pub read: Vec<Reading>,
}

/// Something that a condition read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    /// What, as policies write it, such as `context.input.amount`.
    pub name: String,
    /// Its value; none where it is not there.
    pub value: Option<String>,
}

/// A rule that is about something, whoever calls or whatever is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The rule.
    pub rule: RuleInfo,
    /// Whom it is about, as policies write it; none is anybody.
    pub principal: Option<String>,
    /// Its conditions.
    pub conditions: Vec<String>,
}

/// One request, with everything that explaining it takes.
pub(crate) struct Case<'a> {
    pub(crate) rules: &'a Rules,
    pub(crate) profile: &'a crate::profile::Profile,
    pub(crate) target: &'a Target,
    pub(crate) arguments: Arguments<'a>,
    pub(crate) scene: &'a Scene<'a>,
}

impl Case<'_> {
    /// Says of every rule that is about this what became of it.
    pub(crate) fn explain(&self, decision: Decision) -> Explanation {
        let about = self.profile.about.iter().filter_map(|at| self.rules.rule(*at));
        let (on, actions, resources) = (self.target.on, &self.target.actions, &self.target.resources);
        let about: Vec<&Rule> = about.filter(|rule| rule.is_about(on, actions, resources)).collect();
        let parts = || about.iter().flat_map(|rule| &rule.parts);
        let mut wanted = Wanted::default();
        parts().flat_map(|part| &part.uses.input).for_each(|read| wanted.add(read));
        let (input, unreadable) = input(&wanted, self.arguments);
        let context = context(self.rules, &input, env::ALL, self.scene);
        let named = parts().flat_map(|part| &part.uses.literals);
        let entities = self.rules.entities(&self.profile.caller, self.target, named);
        let request = context.and_then(|context| request(&self.profile.caller, self.target, context));
        let outcome = |part: &Part| match (&request, &entities) {
            (Ok(request), Some(entities)) => judge(request, entities, part, &unreadable),
            (Err(error), _) => Outcome::Failed(error.clone()),
            (_, None) => Outcome::Failed("what the rule is about could not be made known to it".to_owned()),
        };
        let rules = about.iter().map(|rule| {
            let (conditions, verdict) = self.conditions(rule, outcome, &unreadable);
            let is_one = decision.policies.contains(&rule.id);
            let verdict = match verdict {
                Verdict::Decides if !is_one => Verdict::Overruled,
                verdict => verdict,
            };
            Judged { rule: RuleInfo::of(rule), verdict, conditions }
        });
        Explanation { rules: rules.collect(), decision }
    }

    fn conditions(
        &self,
        rule: &Rule,
        judge: impl Fn(&Part) -> Outcome,
        unreadable: &[Unreadable],
    ) -> (Vec<Condition>, Verdict) {
        if rule.state == State::Inert {
            return (Vec::new(), Verdict::Inert);
        }
        let mut conditions = Vec::new();
        for part in &rule.parts {
            let outcome = judge(part);
            let holds = matches!(outcome, Outcome::True);
            let error = match outcome {
                Outcome::Failed(error) => Some(error),
                _ => None,
            };
            let is_error = error.is_some();
            let condition =
                Condition { text: part.text.clone(), holds, error, read: self.readings(&part.uses) };
            conditions.push(condition);
            if !holds {
                return (conditions, if is_error { Verdict::Errs } else { Verdict::Fails });
            }
        }
        // What a rule reads is judged before any of it: what cannot be read denies, wherever it stands.
        let verdict = match blind(unreadable, &rule.uses.input) {
            Some(_) => Verdict::Errs,
            None => Verdict::Decides,
        };
        (conditions, verdict)
    }

    /// What a condition reads, and what is there.
    fn readings(&self, uses: &Uses) -> Vec<Reading> {
        let mut read = Vec::new();
        let mut add = |name: String, value: Option<String>| read.push(Reading { name, value });
        if uses.principal {
            let traits = self.profile.names(self.rules);
            add("principal in".to_owned(), Some(format!("[{}]", traits.join(", "))));
        }
        if uses.resource {
            for (name, value) in self.rules.facts(self.target) {
                add(format!("resource.{name}"), value);
            }
        }
        for (name, value) in circumstances::shown(self.scene, self.rules.environment.as_deref(), uses.env) {
            add(format!("context.env.{name}"), value);
        }
        let paths: BTreeSet<&[Arc<str>]> = uses.input.iter().map(|read| &*read.path).collect();
        for path in paths {
            let name = path.iter().fold("context.input".to_owned(), |name, part| format!("{name}.{part}"));
            add(name, self.argument(path));
        }
        read
    }

    /// An argument as it stands in the message.
    fn argument(&self, path: &[Arc<str>]) -> Option<String> {
        let text = match self.arguments {
            Arguments::Uri(uri) => format!("{uri:?}"),
            Arguments::Json(arguments, _) => {
                let (bytes, mut span) = arguments?;
                for name in path {
                    if kind_of(bytes, span) != JsonKind::Object {
                        return None;
                    }
                    span = find(bytes, span, name)?;
                }
                String::from_utf8_lossy(span.of(bytes)).into_owned()
            }
        };
        let is_long = text.chars().count() > SHOWN_CHARS_MAX;
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        if is_long {
            shown.push('…');
        }
        Some(shown)
    }
}

fn judge(
    request: &Request,
    entities: &cedar_policy::Entities,
    part: &Part,
    unreadable: &[Unreadable],
) -> Outcome {
    match blind(unreadable, &part.uses.input) {
        Some(error) => Outcome::Failed(error),
        None => evaluate(request, entities, &part.expr),
    }
}

impl Rules {
    /// The rules that are about a target, whoever calls.
    pub(crate) fn about(&self, target: &Target) -> Vec<About> {
        let rules = self.all.iter();
        let rules = rules.filter(|rule| rule.is_about(target.on, &target.actions, &target.resources));
        let about = rules.map(|rule| About {
            rule: RuleInfo::of(rule),
            principal: self.scope_text(&rule.principal),
            conditions: rule.parts.iter().map(|part| part.text.clone()).collect(),
        });
        about.collect()
    }

    fn scope_text(&self, scope: &Scope) -> Option<String> {
        match scope {
            Scope::Any => None,
            Scope::Never => Some("nobody".to_owned()),
            Scope::In(ids) => {
                let names = ids.iter().filter_map(|id| self.name(*id)).collect::<Vec<_>>();
                Some(names.join(", "))
            }
        }
    }
}
