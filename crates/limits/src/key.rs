//! What a counter is found by.

use std::sync::Arc;

use smallvec::SmallVec;
use tollgate_model::{TenantId, folded};
use tollgate_store::{Digest, SharedBound};

use crate::rule::{Bound, Dimension, Rule, Unit};
use crate::subject::Subject;

/// The bytes that a counter is found by: the rule, and each thing that it counts apart, behind its length. Two that differ in
/// anything are never the same bytes.
pub(crate) type Key = SmallVec<[u8; 128]>;

/// Whose counter it is, for the shares of tenants: none is everybody's.
pub(crate) type Whose<'a> = Option<&'a str>;

/// What a rule counts a request under. `slot` stands for the rule.
pub(crate) fn of(slot: u32, rule: &Rule, subject: &Subject<'_>) -> Key {
    let mut key = begin(slot, rule, subject.tenant);
    for dimension in &rule.per {
        match dimension {
            Dimension::Tenant => {}
            Dimension::Agent => put(&mut key, subject.agent),
            Dimension::User => put(&mut key, subject.user),
            Dimension::Key => put(&mut key, subject.key),
            Dimension::Server => put_server(&mut key, subject),
            Dimension::Tool => {
                put_server(&mut key, subject);
                // A server that does not look at case has one tool of all these names.
                put(&mut key, subject.tool.map(folded).as_deref());
            }
            Dimension::Toolset => put(&mut key, subject.toolset),
            Dimension::Endpoint => put(&mut key, Some(subject.endpoint)),
            Dimension::Method => put(&mut key, Some(subject.method)),
        }
    }
    key
}

/// The same for operators to read.
pub(crate) fn said(rule: &Rule, subject: &Subject<'_>) -> Arc<str> {
    let tenant = rule.is_per_tenant().then_some(("tenant", Some(subject.tenant)));
    let others = rule.per.iter().filter(|dimension| **dimension != Dimension::Tenant).map(|dimension| {
        let name = match dimension {
            Dimension::Tenant => Some(subject.tenant),
            Dimension::Agent => subject.agent,
            Dimension::User => subject.user,
            Dimension::Key => subject.key,
            Dimension::Server => subject.server.map(|server| server.name().as_str()),
            Dimension::Tool => subject.tool,
            Dimension::Toolset => subject.toolset,
            Dimension::Endpoint => Some(subject.endpoint),
            Dimension::Method => Some(subject.method),
        };
        (dimension.as_str(), name)
    });
    let said = tenant.into_iter().chain(others);
    let said: Vec<String> = said.map(|(what, name)| format!("{what}={}", name.unwrap_or_default())).collect();
    said.join(" ").into()
}

/// What a rule counts those under for whom there is no counter of their own: all of a tenant together.
pub(crate) fn shared(slot: u32, rule: &Rule, subject: &Subject<'_>) -> Key {
    let mut key = begin(slot, rule, subject.tenant);
    key.push(0xff);
    key
}

/// The bytes by which every process knows the same quota or budget: the rule's names in place of its number.
pub(crate) fn stored(rule: &Rule, key: &[u8]) -> Digest {
    let of = match &rule.bound {
        Bound::Budget { of: Unit::Tokens, .. } => "tokens",
        Bound::Budget { of: Unit::Cost, .. } => "cost",
        _ => "calls",
    };
    named(rule, key, of.as_bytes())
}

/// The same for what is counted together. What is known of a rate is a time, which means nothing for another rate.
pub(crate) fn counted_together(rule: &Rule, key: &[u8], bound: &SharedBound) -> Digest {
    match bound {
        SharedBound::Rate { each, window, .. } => {
            named(rule, key, &[each.as_nanos().to_be_bytes(), window.as_nanos().to_be_bytes()].concat())
        }
        SharedBound::Places(_) => named(rule, key, b"places"),
    }
}

fn named(rule: &Rule, key: &[u8], of: &[u8]) -> Digest {
    let plan = rule.plan.as_ref().map_or("", |plan| &*plan.name);
    let per = rule.per.iter().map(|dimension| dimension.as_str().as_bytes());
    let whose = key.get(size_of::<u32>()..).unwrap_or_default();
    Digest::of([plan.as_bytes(), rule.name.as_bytes(), of, whose].into_iter().chain(per))
}

fn begin(slot: u32, rule: &Rule, tenant: &str) -> Key {
    let mut key = Key::new();
    key.extend_from_slice(&slot.to_be_bytes());
    put(&mut key, rule.is_per_tenant().then_some(tenant));
    key
}

fn put_server(key: &mut Key, subject: &Subject<'_>) {
    put(key, subject.server.and_then(|server| server.holder().tenant()).map(TenantId::as_str));
    put(key, subject.server.map(|server| server.name().as_str()));
}

/// None is no text, nor the empty one.
fn put(key: &mut Key, text: Option<&str>) {
    match text {
        Some(text) => {
            key.push(1);
            key.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
            key.extend_from_slice(text.as_bytes());
        }
        None => key.push(0),
    }
}
