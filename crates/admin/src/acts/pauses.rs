//! Agents that are paused.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_ledger::NameKind;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Pausable, Pausing, Resuming, Store};

use super::reason;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act, reference};
use crate::roles::{ChangePauses, May, Permission, Sure};

const PAGE: usize = 500;
/// The longest pause. What is to last is blocked.
const PAUSE_MAX: Duration = Duration::from_hours(24 * 30);

/// Who is paused, and whoever asks may see.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<Pausing>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let (mut found, mut after, now) = (Vec::new(), None::<Pausable>, Timestamp::now());
    loop {
        let page = store.pauses(after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|last| last.who.clone());
        found.extend(page.into_iter().filter(|one| one.until > now && may.sees(Some(&one.who.tenant))));
        if is_last {
            return Ok(found);
        }
    }
}

async fn one(store: &dyn Store, who: &Pausable) -> Result<Option<Pausing>, Problem> {
    let mut after: Option<Pausable> = None;
    loop {
        let page = store.pauses(after.as_ref(), PAGE).await?;
        if let Some(found) = page.iter().find(|one| one.who == *who) {
            return Ok(Some(found.clone()));
        }
        if page.len() < PAGE {
            return Ok(None);
        }
        after = page.last().map(|last| last.who.clone());
    }
}

/// Pauses an agent for a while.
pub(crate) async fn pause(
    plane: Arc<Plane>,
    sure: Sure<ChangePauses>,
    who: Pausable,
    why: &str,
    seconds: u64,
) -> Result<Pausing, Problem> {
    let why = reason(why, true)?;
    let span = Duration::from_secs(seconds);
    if span.is_zero() || span > PAUSE_MAX {
        return Err(Problem::invalid(format!("seconds: from 1 to {}", PAUSE_MAX.as_secs())));
    }
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &who).await?;
    let since = Timestamp::now();
    let pausing = Pausing { who, why, since, until: since.after(span) };
    store.pause(pausing.clone()).await?;
    let act = Act {
        word: "pause",
        what: named(&plane, &pausing.who),
        before: before.as_ref().map_or(Value::Null, said),
        after: said(&pausing),
        reason: Some(pausing.why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(pausing)
}

/// Lets an agent go on.
pub(crate) async fn resume(
    plane: Arc<Plane>,
    sure: Sure<ChangePauses>,
    who: Pausable,
    why: &str,
) -> Result<(), Problem> {
    let why = reason(why, false)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &who).await?;
    let resuming = Resuming { who: who.clone(), reason: Arc::clone(&why), by: Arc::clone(&sure.who.by) };
    if !store.resume(resuming).await? {
        return Err(Problem::not_found("it is not paused"));
    }
    let act = Act {
        word: "resume",
        what: named(&plane, &who),
        before: before.as_ref().map_or(Value::Null, said),
        after: Value::Null,
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await
}

/// Who is meant.
pub(crate) fn pausable(tenant: &TenantId, agent: &str) -> Result<Pausable, Problem> {
    Ok(Pausable { tenant: tenant.clone(), agent: super::name("agent", agent)? })
}

fn said(pausing: &Pausing) -> Value {
    json!({ "why": &*pausing.why, "since": pausing.since.to_string(), "until": pausing.until.to_string() })
}

fn named(plane: &Plane, who: &Pausable) -> Value {
    let name = reference(plane, &who.tenant, NameKind::Agent, &who.agent);
    json!({ "tenant": who.tenant.as_str(), "agent": name })
}
