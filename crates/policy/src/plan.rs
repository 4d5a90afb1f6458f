//! What remains to be judged of a caller's calls of one tool, once everything is judged that is the same for all of them.

use std::cell::OnceCell;
use std::sync::Arc;

use cedar_policy::{Context, Entities, Entity, EvalResult, Expression, Request, eval_expression};
use tollgate_mcp::Span;
use tollgate_model::{Decision, Obligations};

use crate::quick::Facts;
use crate::rule::State;
use crate::rules::{Rules, Target};
use crate::types::Record;
use crate::value::{self, Unreadable, Value, Wanted};
use crate::{Scene, circumstances};

/// What remains to be judged.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Rules that hold for every call.
    permits: Vec<u32>,
    forbids: Vec<u32>,
    errors: Vec<String>,
    /// Rules that hold for some.
    open_permits: Vec<u32>,
    open_forbids: Vec<u32>,
    /// The answer, where nothing is open.
    constant: Option<Decision>,
    could_differ: bool,
    wanted: Wanted,
    env: u16,
    entities: Entities,
}

/// The arguments of a call, and what is known of them.
#[derive(Clone, Copy)]
pub(crate) enum Arguments<'a> {
    /// Those of a tool or prompt.
    Json(Option<(&'a [u8], Span)>, &'a Record),
    /// The one of a read.
    Uri(&'a str),
}

/// What evaluating an expression gives.
pub(crate) enum Outcome {
    True,
    False,
    Failed(String),
}

/// Evaluates one condition.
pub(crate) fn evaluate(request: &Request, entities: &Entities, expr: &Expression) -> Outcome {
    match eval_expression(request, entities, expr) {
        Ok(EvalResult::Bool(true)) => Outcome::True,
        Ok(EvalResult::Bool(false)) => Outcome::False,
        Ok(_) => Outcome::Failed("a condition is neither true nor false".to_owned()),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// A request about a target. Its types were checked when the rules were read.
pub(crate) fn request(caller: &Entity, target: &Target, context: Context) -> Result<Request, String> {
    Request::new(caller.uid(), target.action.clone(), target.resource.clone(), context, None)
        .map_err(|error| error.to_string())
}

/// Judges what is the same for every call of a caller, and gathers the rest. `about` are the rules that are about the
/// caller.
pub(crate) fn plan(rules: &Rules, caller: &Entity, about: &[u32], target: &Target) -> Plan {
    let mut plan = Plan {
        permits: Vec::new(),
        forbids: Vec::new(),
        errors: Vec::new(),
        open_permits: Vec::new(),
        open_forbids: Vec::new(),
        constant: None,
        could_differ: false,
        wanted: Wanted::default(),
        env: 0,
        entities: Entities::empty(),
    };
    let found = |at: &u32| {
        rules.rule(*at).filter(|rule| rule.is_about(target.on, &target.actions, &target.resources))
    };
    let applicable: Vec<(u32, _)> = about.iter().filter_map(|at| Some((*at, found(at)?))).collect();
    let parts = || applicable.iter().flat_map(|(_, rule)| &rule.parts);
    let mut is_blind = false;
    if parts().any(|part| part.uses.reads_entities()) {
        let named = parts().flat_map(|part| &part.uses.literals);
        match rules.entities(caller, target, named) {
            Some(entities) => plan.entities = entities,
            None => is_blind = true,
        }
    }
    let fixed = request(caller, target, Context::empty());
    let judge = |expr: &Expression| match &fixed {
        Ok(_) if is_blind => {
            Outcome::Failed("what the rule is about could not be made known to it".to_owned())
        }
        Ok(request) => evaluate(request, &plan.entities, expr),
        Err(error) => Outcome::Failed(error.clone()),
    };
    for (at, rule) in &applicable {
        if rule.state == State::Inert {
            continue;
        }
        // The parts before the first one that reads the context decide first; where one of them fails, the rule does. A
        // permit moreover needs each of its parts, wherever it stands.
        let first = rule.parts.iter().take(rule.fixed);
        let later = rule.parts.iter().skip(rule.fixed).filter(|part| rule.is_permit && part.uses.is_static());
        let outcomes = first.chain(later).map(|part| judge(&part.expr));
        let mut outcome = Outcome::True;
        for one in outcomes {
            outcome = one;
            if !matches!(outcome, Outcome::True) {
                break;
            }
        }
        let is_open = rule.rest.is_some();
        match (outcome, rule.is_permit) {
            (Outcome::False, _) => {}
            (Outcome::Failed(error), is_permit) => {
                plan.errors.push(format!("{}: {error}", rule.id.id));
                if !is_permit {
                    plan.forbids.push(*at);
                }
            }
            (Outcome::True, true) if is_open => plan.open_permits.push(*at),
            (Outcome::True, true) => plan.permits.push(*at),
            (Outcome::True, false) if is_open => plan.open_forbids.push(*at),
            (Outcome::True, false) => plan.forbids.push(*at),
        }
    }
    plan.finish(rules)
}

impl Plan {
    fn finish(mut self, rules: &Rules) -> Self {
        // Where something forbids always, no permit counts.
        if !self.forbids.is_empty() {
            self.permits.clear();
            self.open_permits.clear();
        }
        self.could_differ = !(self.permits.is_empty() && self.open_permits.is_empty());
        let open = self.open_permits.iter().chain(&self.open_forbids);
        for rule in open.filter_map(|at| rules.rule(*at)) {
            rule.uses.input.iter().for_each(|read| self.wanted.add(read));
            self.env |= rule.uses.env;
        }
        if self.open_permits.is_empty() && self.open_forbids.is_empty() {
            let decision =
                decision(rules, self.permits.clone(), self.forbids.clone(), self.errors.clone(), false);
            self.constant = Some(decision);
            self.entities = Entities::empty();
        }
        self
    }

    /// The rules that hold for some calls only.
    pub(crate) fn open(&self) -> impl Iterator<Item = u32> {
        self.open_permits.iter().chain(&self.open_forbids).copied()
    }

    /// How much it takes to keep, in units of some 64 bytes.
    pub(crate) fn weight(&self) -> usize {
        let entities = if self.entities.is_empty() { 0 } else { 48 };
        let decided = self.constant.as_ref().map_or(0, |decision| decision.policies.len());
        8 + entities + (self.open_permits.len() + self.open_forbids.len() + decided) / 2
    }

    /// Decides on one call.
    pub(crate) fn decide(
        &self,
        rules: &Rules,
        caller: &Entity,
        target: &Target,
        arguments: Arguments<'_>,
        scene: &Scene<'_>,
    ) -> Decision {
        if let Some(decision) = &self.constant {
            return decision.clone();
        }
        let (input, unreadable) = input(&self.wanted, arguments);
        let facts = Facts { input: &input, scene, environment: rules.environment.as_deref() };
        let mut errors = self.errors.clone();
        // Made for the first rule that takes Cedar to judge.
        let asked: OnceCell<Result<Request, String>> = OnceCell::new();
        let ask = || {
            asked.get_or_init(|| {
                let context = context(rules, &input, self.env, scene);
                context.and_then(|context| request(caller, target, context))
            })
        };
        let mut holds = |at: &u32| {
            let Some(rule) = rules.rule(*at) else { return false };
            let outcome = match (blind(&unreadable, &rule.uses.input), &rule.rest) {
                (Some(error), _) => Outcome::Failed(error),
                (None, Some(expr)) => match rule.holds(facts) {
                    Some(true) => Outcome::True,
                    Some(false) => Outcome::False,
                    None => match ask() {
                        Ok(request) => evaluate(request, &self.entities, expr),
                        // Nothing is allowed, see below.
                        Err(_) => Outcome::False,
                    },
                },
                (None, None) => Outcome::True,
            };
            match outcome {
                Outcome::True => true,
                Outcome::False => false,
                Outcome::Failed(error) => {
                    errors.push(format!("{}: {error}", rule.id.id));
                    !rule.is_permit
                }
            }
        };
        let mut forbids = self.forbids.clone();
        forbids.extend(self.open_forbids.iter().filter(|at| holds(at)));
        let mut permits = Vec::new();
        if forbids.is_empty() {
            permits.clone_from(&self.permits);
            permits.extend(self.open_permits.iter().filter(|at| holds(at)));
        }
        if let Some(Err(error)) = asked.into_inner() {
            errors.push(error);
            let mut denied = decision(rules, Vec::new(), self.forbids.clone(), errors, false);
            denied.allowed = false;
            return denied;
        }
        decision(rules, permits, forbids, errors, self.could_differ)
    }
}

/// Why a rule that reads these arguments cannot be judged, if it cannot. The text names arguments, never their values.
pub(crate) fn blind(unreadable: &[Unreadable], reads: &[crate::uses::Read]) -> Option<String> {
    let found = unreadable.iter().find(|one| reads.iter().any(|read| one.concerns(read)))?;
    let name = if found.path.is_empty() { "the whole".to_owned() } else { found.path.join(".") };
    Some(format!("the argument `{name}` {}", found.why))
}

/// The arguments as far as they are read, and what cannot be read of them.
pub(crate) fn input(wanted: &Wanted, arguments: Arguments<'_>) -> (Value, Vec<Unreadable>) {
    match arguments {
        Arguments::Json(arguments, types) => value::read(arguments, types, wanted),
        Arguments::Uri(uri) => {
            (Value::Record(vec![("uri".to_owned(), Value::Text(uri.to_owned()))]), Vec::new())
        }
    }
}

/// The context as far as it is read.
pub(crate) fn context(rules: &Rules, input: &Value, env: u16, scene: &Scene<'_>) -> Result<Context, String> {
    let env = circumstances::record(scene, rules.environment.as_deref(), env);
    let pairs = [("input".to_owned(), input.expression()), ("env".to_owned(), env)];
    Context::from_pairs(pairs).map_err(|error| error.to_string())
}

/// The decision that these rules make. Forbids win, and without a permit nothing is allowed.
fn decision(
    rules: &Rules,
    mut permits: Vec<u32>,
    mut forbids: Vec<u32>,
    errors: Vec<String>,
    could_differ: bool,
) -> Decision {
    let allowed = forbids.is_empty() && !permits.is_empty();
    permits.sort_unstable();
    forbids.sort_unstable();
    let decided = if forbids.is_empty() { &permits } else { &forbids };
    let decided = decided.iter().filter_map(|at| rules.rule(*at));
    let mut reasons: Vec<Arc<str>> = Vec::new();
    for reason in forbids.iter().filter_map(|at| rules.rule(*at)?.notes.reason.clone()) {
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    Decision {
        allowed,
        policies: decided.map(|rule| rule.id.clone()).collect(),
        obligations: if allowed { rules.obligations(&permits) } else { Obligations::default() },
        reasons,
        could_differ: could_differ && !allowed,
        errors,
    }
}
