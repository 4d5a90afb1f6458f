//! What is taken back before it ends by itself.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_ledger::NameKind;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Revocable, Revocation, Store};

use super::{Ends, name};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act, reference};
use crate::roles::{ChangeRevocations, May, Permission, Sure};

const PAGE: usize = 500;

/// What somebody names, in words. `whose`: the issuer of a token, the tenant of the others.
pub(crate) fn revocable(kind: &str, whose: &str, text: &str) -> Result<Revocable, Problem> {
    let (whose, text) = (name("of", whose)?, name("name", text)?);
    Revocable::from_parts(kind, &whose, &text)
        .ok_or_else(|| Problem::invalid("kind: one of token, user, agent"))
}

/// Whose it is; a token may be anybody's.
pub(crate) fn tenant_of(what: &Revocable) -> Option<&TenantId> {
    match what {
        Revocable::Token { .. } => None,
        Revocable::User { tenant, .. } | Revocable::Agent { tenant, .. } => Some(tenant),
    }
}

/// What is taken back, and whoever asks may see.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<Revocation>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let (mut found, mut after, now) = (Vec::new(), None::<Revocable>, Timestamp::now());
    loop {
        let page = store.revocations(after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|last| last.what.clone());
        let sees = |one: &Revocation| match tenant_of(&one.what) {
            None => may.is_everywhere(),
            tenant => may.sees(tenant),
        };
        found.extend(page.into_iter().filter(|one| one.holds(now) && sees(one)));
        if is_last {
            return Ok(found);
        }
    }
}

async fn one(store: &dyn Store, what: &Revocable) -> Result<Option<Revocation>, Problem> {
    let mut after: Option<Revocable> = None;
    loop {
        let page = store.revocations(after.as_ref(), PAGE).await?;
        if let Some(found) = page.iter().find(|one| one.what == *what) {
            return Ok(Some(found.clone()));
        }
        if page.len() < PAGE {
            return Ok(None);
        }
        after = page.last().map(|last| last.what.clone());
    }
}

/// Takes something back; for good if nothing is said.
pub(crate) async fn revoke(
    plane: Arc<Plane>,
    sure: Sure<ChangeRevocations>,
    what: Revocable,
    ends: Ends,
) -> Result<Revocation, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &what).await?;
    let since = Timestamp::now();
    let until = ends.from(since)?;
    let revocation = Revocation { what, since, until };
    store.revoke(revocation.clone()).await?;
    let act = Act {
        word: "revoke",
        what: named(&plane, &revocation.what),
        before: before.as_ref().map_or(Value::Null, said),
        after: said(&revocation),
        reason: None,
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(revocation)
}

/// Lets it in again.
pub(crate) async fn reinstate(
    plane: Arc<Plane>,
    sure: Sure<ChangeRevocations>,
    what: Revocable,
) -> Result<(), Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &what).await?;
    if !store.reinstate(&what).await? {
        return Err(Problem::not_found("it is not taken back"));
    }
    let act = Act {
        word: "reinstate",
        what: named(&plane, &what),
        before: before.as_ref().map_or(Value::Null, said),
        after: Value::Null,
        reason: None,
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await
}

fn said(revocation: &Revocation) -> Value {
    let until = revocation.until.map(|until| until.to_string());
    json!({ "since": revocation.since.to_string(), "until": until })
}

fn named(plane: &Plane, what: &Revocable) -> Value {
    let (kind, whose, name) = what.parts();
    let name = match what {
        Revocable::Token { .. } => Value::from(name),
        Revocable::User { tenant, user } => reference(plane, tenant, NameKind::User, user),
        Revocable::Agent { tenant, agent } => reference(plane, tenant, NameKind::Agent, agent),
    };
    json!({ "kind": kind, "of": whose, "name": name })
}
