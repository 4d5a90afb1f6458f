//! A policy, ready to be matched and evaluated.

use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::pst::{
    ActionConstraint, EntityOrSlot, EntityType, Expr, PrincipalConstraint, ResourceConstraint, Template,
};
use cedar_policy::{Expression, Policy};
use tollgate_model::{PolicyRef, RecordLevel};

use crate::names::Kind;
use crate::quick::{Facts, Quick};
use crate::uses::{Uses, literal};

/// The entities that policies name, numbered: matching compares numbers.
#[derive(Debug, Default)]
pub(crate) struct Literals {
    all: Vec<(Kind, Arc<str>)>,
    by_kind: HashMap<Kind, HashMap<Arc<str>, u32>>,
}

impl Literals {
    /// The number of an entity that a policy names.
    pub(crate) fn intern(&mut self, kind: Kind, id: &Arc<str>) -> u32 {
        if let Some(number) = self.find(kind, id) {
            return number;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push((kind, id.clone()));
        self.by_kind.entry(kind).or_default().insert(id.clone(), number);
        number
    }

    /// The number of an entity, if a policy names it.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Option<u32> {
        self.by_kind.get(&kind)?.get(id).copied()
    }

    /// Whether policies name any entity of this type.
    pub(crate) fn any(&self, kind: Kind) -> bool {
        self.by_kind.contains_key(&kind)
    }

    /// All entities of this type that policies name.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<str>> {
        self.by_kind.get(&kind).into_iter().flat_map(HashMap::keys)
    }

    pub(crate) fn get(&self, number: u32) -> Option<&(Kind, Arc<str>)> {
        self.all.get(number as usize)
    }
}

/// Which callers, actions or resources a policy is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Any,
    /// Those that are one of these entities, or in one.
    In(Vec<u32>),
    /// None: a type that callers or resources never are.
    Never,
}

impl Scope {
    /// Whether what is all of `ids`, or in them, is in scope.
    pub(crate) fn holds(&self, ids: &[u32]) -> bool {
        match self {
            Self::Any => true,
            Self::In(wanted) => wanted.iter().any(|id| ids.contains(id)),
            Self::Never => false,
        }
    }
}

/// What has become of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It means what it says.
    Live,
    /// A permit that does not fit what is known: it permits nothing.
    Inert,
    /// A forbid that does not fit what is known: its scope alone decides.
    Whole,
}

/// One of the parts of a policy's conditions, all of which must hold.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) text: String,
    pub(crate) expr: Expression,
    /// The same, where it can be judged without Cedar.
    pub(crate) quick: Option<Quick>,
    pub(crate) uses: Uses,
}

/// What the annotations of a policy say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Notes {
    pub(crate) reason: Option<Arc<str>>,
    pub(crate) description: Option<Arc<str>>,
    pub(crate) approval: Option<Arc<str>>,
    pub(crate) redactions: Vec<Arc<str>>,
    pub(crate) holds: Vec<Arc<str>>,
    pub(crate) record: Option<RecordLevel>,
}

/// Where a policy stands.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) path: Arc<str>,
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A policy.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) id: PolicyRef,
    pub(crate) place: Place,
    pub(crate) is_permit: bool,
    pub(crate) is_operator: bool,
    pub(crate) state: State,
    /// Why it is not live.
    pub(crate) why: Option<String>,
    pub(crate) notes: Notes,
    pub(crate) principal: Scope,
    pub(crate) action: Scope,
    pub(crate) resource: Scope,
    /// The type that resources must have, whatever else.
    pub(crate) on: Option<Kind>,
    pub(crate) parts: Vec<Part>,
    /// So many of the first parts are the same for every call of a caller to a tool.
    pub(crate) fixed: usize,
    /// The parts after those, as one.
    pub(crate) rest: Option<Expression>,
    /// What the parts after those read.
    pub(crate) uses: Uses,
}

impl Rule {
    /// Whether it is about these, its conditions aside.
    pub(crate) fn is_about(&self, on: Kind, actions: &[u32], resources: &[u32]) -> bool {
        self.on.is_none_or(|kind| kind == on) && self.action.holds(actions) && self.resource.holds(resources)
    }

    /// Whether the parts of it that differ from call to call hold, from left to right; none if that is for Cedar to say.
    pub(crate) fn holds(&self, facts: Facts<'_>) -> Option<bool> {
        for part in self.parts.iter().skip(self.fixed) {
            if !part.quick.as_ref()?.holds(facts)? {
                return Some(false);
            }
        }
        Some(true)
    }
}

/// The scope and the conditions of a policy, before it is known whether they fit.
pub(crate) struct Shape {
    pub(crate) principal: Scope,
    pub(crate) action: Scope,
    pub(crate) resource: Scope,
    pub(crate) on: Option<Kind>,
}

impl Shape {
    /// Numbers what the scope names.
    pub(crate) fn of(body: &Template, literals: &mut Literals) -> Self {
        let (principal, kind) = match &body.principal {
            PrincipalConstraint::Any => (Scope::Any, None),
            PrincipalConstraint::Eq(one) => (one_of(one, literals, |kind| kind == Kind::Caller), None),
            PrincipalConstraint::In(one) => (one_of(one, literals, |_| true), None),
            PrincipalConstraint::Is(kind) => (Scope::Any, Some(kind)),
            PrincipalConstraint::IsIn(kind, one) => (one_of(one, literals, |_| true), Some(kind)),
        };
        let is_caller = kind.is_none_or(|kind| kind_of(kind) == Some(Kind::Caller));
        let (resource, on) = match &body.resource {
            ResourceConstraint::Any => (Scope::Any, None),
            ResourceConstraint::Eq(one) => (one_of(one, literals, |kind| kind != Kind::Server), None),
            ResourceConstraint::In(one) => (one_of(one, literals, |_| true), None),
            ResourceConstraint::Is(kind) => (Scope::Any, Some(kind)),
            ResourceConstraint::IsIn(kind, one) => (one_of(one, literals, |_| true), Some(kind)),
        };
        // A type that there is not has no resources.
        let on = on.map(|kind| kind_of(kind).unwrap_or(Kind::Caller));
        let mut number = |uid: &_| literal(uid).map(|(kind, id)| literals.intern(kind, &id));
        let action = match &body.action {
            ActionConstraint::Any => Scope::Any,
            ActionConstraint::Eq(uid) => number(uid).map_or(Scope::Never, |id| Scope::In(vec![id])),
            ActionConstraint::In(uids) => Scope::In(uids.iter().filter_map(number).collect()),
        };
        Self { principal: if is_caller { principal } else { Scope::Never }, action, resource, on }
    }
}

fn kind_of(name: &EntityType) -> Option<Kind> {
    Kind::of(name.0.id.as_str()).filter(|_| name.0.namespace.is_empty())
}

fn one_of(one: &EntityOrSlot, literals: &mut Literals, may: impl Fn(Kind) -> bool) -> Scope {
    let EntityOrSlot::Entity(uid) = one else { return Scope::Never };
    match literal(uid) {
        Some((kind, id)) if may(kind) => Scope::In(vec![literals.intern(kind, &id)]),
        _ => Scope::Never,
    }
}

/// Makes an expression that can be evaluated by itself. Nothing if Cedar's text of it does not read as the same.
pub(crate) fn expression(expr: &Expr) -> Option<(String, Expression)> {
    let text = expr.to_string();
    let policy =
        Policy::parse(None, format!("permit(principal, action, resource) when {{ {text} }};")).ok()?;
    let read = policy.to_pst().ok()?;
    let clauses = read.body().clauses();
    let [cedar_policy::pst::Clause::When(again)] = clauses.as_slice() else { return None };
    if **again != *expr {
        return None;
    }
    let parsed = Expression::from_str(&text).ok()?;
    Some((text, parsed))
}
