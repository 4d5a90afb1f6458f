//! The kill switch.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_ledger::NameKind;
use tollgate_model::{KeyId, ServerName, TenantId, Timestamp};
use tollgate_store::{Blockable, Blocking, Store, Unblocking};

use super::{name, reason};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act, reference};
use crate::roles::{ChangeBlocks, May, Permission, Sure};

/// How many are read at once.
const PAGE: usize = 500;

/// What somebody names, in words.
pub(crate) fn blockable(kind: &str, tenant: Option<&str>, text: &str) -> Result<Blockable, Problem> {
    let tenant = tenant.filter(|tenant| !tenant.is_empty());
    if let Some(tenant) = tenant {
        name("tenant", tenant)?;
    }
    let callers = || tenant.map(TenantId::new);
    let whose = || callers().ok_or_else(|| Problem::invalid("tenant: say whose it is"));
    let nobodys = || match tenant {
        Some(_) => Err(Problem::invalid("tenant: a key or a tenant is named without it")),
        None => Ok(()),
    };
    let server = |text: &str| {
        ServerName::new(text).map_err(|bad| Problem::invalid(format!("name: {text:?} is no server: {bad}")))
    };
    match kind {
        "tool" => {
            let parts = text.split_once('/').or_else(|| text.split_once("__"));
            let (of, native) = parts.ok_or_else(|| Problem::invalid("name: write SERVER/TOOL"))?;
            if native.is_empty() || native.chars().any(char::is_control) {
                return Err(Problem::invalid("name: write SERVER/TOOL"));
            }
            let native = if text.contains('/') { native.into() } else { name("name", native)? };
            Ok(Blockable::Tool { tenant: callers(), server: server(of)?, native })
        }
        "server" => Ok(Blockable::Server { tenant: callers(), server: server(text)? }),
        "agent" => Ok(Blockable::Agent { tenant: whose()?, agent: name("name", text)? }),
        "user" => Ok(Blockable::User { tenant: whose()?, user: name("name", text)? }),
        "key" => {
            nobodys()?;
            let id = tollgate_identity::key::id_in(text);
            Ok(Blockable::Key { id: id.map_or_else(|| name("name", text).map(|id| KeyId::new(&id)), Ok)? })
        }
        "tenant" => {
            nobodys()?;
            Ok(Blockable::Tenant { tenant: TenantId::new(&name("name", text)?) })
        }
        _ => Err(Problem::invalid(format!("kind: one of {}", Blockable::KINDS.join(", ")))),
    }
}

/// Whose callers it is about: a key is its agent's tenant's.
pub(crate) async fn tenant_of(
    store: Option<&dyn Store>,
    what: &Blockable,
) -> Result<Option<TenantId>, Problem> {
    match (what, store) {
        (Blockable::Key { id }, Some(store)) => Ok(store.key(id).await?.map(|key| key.tenant)),
        _ => Ok(what.tenant().cloned()),
    }
}

/// All that is stopped and that whoever asks may see.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<Blocking>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let (mut found, mut after) = (Vec::new(), None::<Blockable>);
    loop {
        let page = store.blocks(after.as_ref(), PAGE).await?;
        let is_last = page.len() < PAGE;
        after = page.last().map(|last| last.what.clone());
        for blocking in page {
            if sees(&*store, may, &blocking.what).await? {
                found.push(blocking);
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}

pub(crate) async fn sees<P: Permission>(
    store: &dyn Store,
    may: &May<P>,
    what: &Blockable,
) -> Result<bool, Problem> {
    let tenant = tenant_of(Some(store), what).await?;
    // A key that nobody knows may be anybody's.
    Ok(may.sees(tenant.as_ref())
        && (may.is_everywhere() || tenant.is_some() || !matches!(what, Blockable::Key { .. })))
}

/// What is said of something, if it is stopped.
pub(crate) async fn one(store: &dyn Store, what: &Blockable) -> Result<Option<Blocking>, Problem> {
    let mut after: Option<Blockable> = None;
    loop {
        let page = store.blocks(after.as_ref(), PAGE).await?;
        if let Some(found) = page.iter().find(|blocking| blocking.what == *what) {
            return Ok(Some(found.clone()));
        }
        if page.len() < PAGE {
            return Ok(None);
        }
        after = page.last().map(|last| last.what.clone());
    }
}

/// Stops something. Says whether it was not stopped before.
pub(crate) async fn block(
    plane: Arc<Plane>,
    sure: Sure<ChangeBlocks>,
    what: Blockable,
    why: &str,
    is_public: bool,
) -> Result<(Blocking, bool), Problem> {
    let why = reason(why, true)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &what).await?;
    let blocking =
        Blocking { what, reason: why, is_public, by: Arc::clone(&sure.who.by), since: Timestamp::now() };
    store.block(blocking.clone()).await?;
    let act = Act {
        word: "block",
        what: named(&plane, &blocking.what),
        before: before.as_ref().map_or(Value::Null, said),
        after: said(&blocking),
        reason: Some(blocking.reason.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok((blocking, before.is_none()))
}

/// Lets something go on.
pub(crate) async fn unblock(
    plane: Arc<Plane>,
    sure: Sure<ChangeBlocks>,
    what: Blockable,
    why: &str,
    fits: impl FnOnce(&Blocking) -> Result<(), Problem> + Send,
) -> Result<(), Problem> {
    let why = reason(why, false)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one(&*store, &what).await?.ok_or_else(|| Problem::not_found("it is not blocked"))?;
    fits(&before)?;
    let unblocking = Unblocking { what, reason: Arc::clone(&why), by: Arc::clone(&sure.who.by) };
    if !store.unblock_seen(unblocking, Some(&before)).await? {
        return Err(Problem::not_found("it is not blocked"));
    }
    let act = Act {
        word: "unblock",
        what: named(&plane, &before.what),
        before: said(&before),
        after: Value::Null,
        reason: Some(why.to_string()),
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await
}

fn said(blocking: &Blocking) -> Value {
    json!({ "reason": &*blocking.reason, "shown": blocking.is_public, "since": blocking.since.to_string() })
}

/// As the record has it: agents and users by reference.
fn named(plane: &Plane, what: &Blockable) -> Value {
    let name = match what {
        Blockable::Agent { tenant, agent } => reference(plane, tenant, NameKind::Agent, agent),
        Blockable::User { tenant, user } => reference(plane, tenant, NameKind::User, user),
        _ => Value::from(what.name()),
    };
    json!({ "kind": what.kind(), "tenant": what.tenant().map(TenantId::as_str), "name": name })
}
