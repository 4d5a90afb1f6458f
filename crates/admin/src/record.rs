//! Administrative acts, on record: who did what, and what was so before and after.

use http::StatusCode;
use serde_json::{Map, Value};
use std::sync::Arc;
use tollgate_ledger::{Draft, Entry, Health, Kind, NameKind};
use tollgate_model::{Principal, PrincipalId, Proof, TenantId};

use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::Operator;

/// An act, as the record has it. Names of agents and users stand in it as references.
#[derive(Debug, Default)]
pub(crate) struct Act {
    /// In a word: `block`, `key.create`.
    pub(crate) word: &'static str,
    /// What it was done to.
    pub(crate) what: Value,
    /// What was so before; null for nothing.
    pub(crate) before: Value,
    /// What is so now; null for nothing.
    pub(crate) after: Value,
    /// Why, in their words.
    pub(crate) reason: Option<String>,
}

/// Refuses to begin an act that could not be put on record.
pub(crate) fn ready(plane: &Plane) -> Result<(), Problem> {
    match plane.parts()?.ledger.health() {
        Health::Down { .. } => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_recorded",
            "nothing can be put on record just now, so nothing is changed",
        )),
        Health::Off | Health::Up => Ok(()),
    }
}

/// Puts an act on record, and waits until it is.
pub(crate) async fn record(
    plane: &Plane,
    who: &Operator,
    tenant: Option<&TenantId>,
    act: Act,
) -> Result<(), Problem> {
    let ledger = plane.parts()?.ledger;
    if !ledger.is_on() {
        return Ok(());
    }
    let by = Principal {
        user: Some(Arc::clone(&who.by)),
        ..Principal::new(tenant.cloned().unwrap_or_default(), PrincipalId::new(&who.by), Proof::Local)
    };
    let mut entry = Entry::of(Kind::Change);
    entry.change = Some(format!("admin.{}", act.word).into());
    let mut detail = Map::new();
    detail.insert("how".to_owned(), Value::from(&*who.how));
    detail.insert("everywhere".to_owned(), Value::from(tenant.is_none()));
    for (name, value) in [("what", act.what), ("before", act.before), ("after", act.after)] {
        if !value.is_null() {
            detail.insert(name.to_owned(), value);
        }
    }
    if let Some(reason) = act.reason.filter(|reason| !reason.is_empty()) {
        detail.insert("reason".to_owned(), reason.into());
    }
    entry.detail = Some(detail);
    let noted = ledger.note(Draft { who: Some(&by), ..Draft::of(entry) });
    noted.await.map_err(|error| {
        tracing::error!(%error, by = %who.by, act = act.word, "an administrative act is not on record");
        Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not_recorded",
            "it was done, and could not be put on record",
        )
    })
}

/// The reference under which the record has an agent or a user.
pub(crate) fn reference(plane: &Plane, tenant: &TenantId, kind: NameKind, name: &str) -> Value {
    let vault = plane
        .parts()
        .ok()
        .and_then(|parts| parts.ledger.vault().map(|vault| vault.reference(tenant.as_str(), kind, name)));
    vault.map_or(Value::Null, Value::from)
}
