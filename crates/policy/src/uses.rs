//! What an expression of a policy reads.

use std::sync::Arc;

use cedar_policy::pst::{BinaryOp, Clause, EntityUID, Expr, Literal, UnaryOp, Var};

use crate::names::Kind;

/// The members of `context.env`, as bits.
pub(crate) mod env {
    pub(crate) const NOW: u16 = 1;
    pub(crate) const HOUR: u16 = 1 << 1;
    pub(crate) const MINUTE: u16 = 1 << 2;
    pub(crate) const WEEKDAY: u16 = 1 << 3;
    pub(crate) const SOURCE: u16 = 1 << 4;
    pub(crate) const ENVIRONMENT: u16 = 1 << 5;
    pub(crate) const ENDPOINT: u16 = 1 << 6;
    pub(crate) const ERA: u16 = 1 << 7;
    pub(crate) const ALL: u16 = (1 << 8) - 1;

    pub(crate) fn of(name: &str) -> u16 {
        match name {
            "now" => NOW,
            "hour" => HOUR,
            "minute" => MINUTE,
            "weekday" => WEEKDAY,
            "source" => SOURCE,
            "environment" => ENVIRONMENT,
            "endpoint" => ENDPOINT,
            "era" => ERA,
            _ => 0,
        }
    }
}

/// An argument, or a part of one, that an expression reads. An empty path is all arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) path: Vec<Arc<str>>,
    /// Only whether it is there.
    pub(crate) is_presence: bool,
}

/// What an expression reads.
#[derive(Debug, Clone, Default)]
pub(crate) struct Uses {
    pub(crate) principal: bool,
    pub(crate) action: bool,
    pub(crate) resource: bool,
    /// The caller's attributes.
    pub(crate) caller: bool,
    /// Attributes of anything but `context`.
    pub(crate) attributes: bool,
    pub(crate) env: u16,
    pub(crate) input: Vec<Read>,
    /// Entities that are named.
    pub(crate) literals: Vec<(Kind, Arc<str>)>,
}

impl Uses {
    /// What one expression reads.
    pub(crate) fn of(expr: &Expr) -> Self {
        let mut uses = Self::default();
        uses.walk(expr);
        uses
    }

    /// Whether it reads anything that differs from call to call.
    pub(crate) fn is_static(&self) -> bool {
        self.env == 0 && self.input.is_empty()
    }

    /// Whether it reads who calls what: anything but the circumstances and arguments.
    pub(crate) fn reads_entities(&self) -> bool {
        self.principal || self.action || self.resource || !self.literals.is_empty()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.principal |= other.principal;
        self.action |= other.action;
        self.resource |= other.resource;
        self.caller |= other.caller;
        self.attributes |= other.attributes;
        self.env |= other.env;
        self.input.extend(other.input.iter().cloned());
        self.literals.extend(other.literals.iter().cloned());
    }

    fn walk(&mut self, expr: &Expr) {
        match expr {
            Expr::Literal(Literal::EntityUID(uid)) => self.literals.extend(literal(uid)),
            Expr::Var(Var::Principal) => self.principal = true,
            Expr::Var(Var::Action) => self.action = true,
            Expr::Var(Var::Resource) => self.resource = true,
            Expr::Var(Var::Context) => self.context(&[], false),
            Expr::GetAttr { expr: base, attr } => {
                self.caller |= matches!(attr.as_str(), "agent" | "user");
                match chain(expr) {
                    Some(path) => self.context(&path, false),
                    None => {
                        self.attributes = true;
                        self.walk(base);
                    }
                }
            }
            Expr::HasAttr { expr: base, attrs } => {
                self.caller |= attrs.iter().any(|attr| matches!(attr.as_str(), "agent" | "user"));
                match chain(base) {
                    Some(mut path) => {
                        path.extend(attrs.iter().map(|attr| Arc::from(attr.as_str())));
                        self.context(&path, true);
                    }
                    None => {
                        self.attributes = true;
                        self.walk(base);
                    }
                }
            }
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => self.walk(expr),
            Expr::BinaryOp { left, right, .. } => {
                self.walk(left);
                self.walk(right);
            }
            Expr::Is { expr, in_expr, .. } => {
                self.walk(expr);
                if let Some(expr) = in_expr {
                    self.walk(expr);
                }
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                for expr in [cond, then_expr, else_expr] {
                    self.walk(expr);
                }
            }
            Expr::Set(elements) => elements.iter().for_each(|expr| self.walk(expr)),
            Expr::Record(members) => members.values().for_each(|expr| self.walk(expr)),
            Expr::Literal(_) => {}
            // Whatever Cedar may come to have: it could read anything.
            _ => {
                (self.principal, self.action, self.resource) = (true, true, true);
                (self.caller, self.attributes) = (true, true);
                self.context(&[], false);
            }
        }
    }

    /// Notes what is read at a path below `context`.
    fn context(&mut self, path: &[Arc<str>], is_presence: bool) {
        match path.split_first() {
            None => {
                self.env |= env::ALL;
                self.input.push(Read { path: Vec::new(), is_presence: false });
            }
            Some((first, rest)) if &**first == "input" => {
                // That there are arguments, if only none, is always so.
                if !(is_presence && rest.is_empty()) {
                    self.input.push(Read { path: rest.to_vec(), is_presence });
                }
            }
            Some((first, rest)) if &**first == "env" => match rest.first() {
                Some(name) => self.env |= env::of(name),
                None if is_presence => {}
                None => self.env |= env::ALL,
            },
            Some(_) => {}
        }
    }
}

/// The names in `context.a.b.c`.
pub(crate) fn chain(expr: &Expr) -> Option<Vec<Arc<str>>> {
    match expr {
        Expr::Var(Var::Context) => Some(Vec::new()),
        Expr::GetAttr { expr, attr } => {
            let mut path = chain(expr)?;
            path.push(Arc::from(attr.as_str()));
            Some(path)
        }
        _ => None,
    }
}

/// An entity that is named, if it is of a type that there is.
pub(crate) fn literal(uid: &EntityUID) -> Option<(Kind, Arc<str>)> {
    let name = &uid.ty.0;
    let kind = Kind::of(name.id.as_str()).filter(|_| name.namespace.is_empty())?;
    Some((kind, Arc::from(uid.eid.as_str())))
}

/// The conditions of a policy, taken apart where all of several parts must hold. Evaluating the parts from left to right
/// until one is false, or fails, is evaluating the whole.
pub(crate) fn conjuncts(clauses: &[Clause]) -> Vec<Arc<Expr>> {
    let mut parts = Vec::new();
    for clause in clauses {
        match clause {
            Clause::When(expr) => split(expr, &mut parts),
            Clause::Unless(expr) => split_not(expr, &mut parts),
        }
    }
    parts
}

fn split(expr: &Arc<Expr>, parts: &mut Vec<Arc<Expr>>) {
    match &**expr {
        Expr::BinaryOp { op: BinaryOp::And, left, right } => {
            split(left, parts);
            split(right, parts);
        }
        Expr::UnaryOp { op: UnaryOp::Not, expr } => split_not(expr, parts),
        _ => parts.push(expr.clone()),
    }
}

/// `!(a || b)` is `!a` and then `!b`.
fn split_not(expr: &Arc<Expr>, parts: &mut Vec<Arc<Expr>>) {
    match &**expr {
        Expr::BinaryOp { op: BinaryOp::Or, left, right } => {
            split_not(left, parts);
            split_not(right, parts);
        }
        Expr::UnaryOp { op: UnaryOp::Not, expr } => split(expr, parts),
        _ => parts.push(Arc::new(Expr::UnaryOp { op: UnaryOp::Not, expr: expr.clone() })),
    }
}
