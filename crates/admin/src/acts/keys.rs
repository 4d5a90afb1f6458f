//! API keys of agents, and keys of machines that administer.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use tollgate_identity::key::{self, MintedKey, NoRandomness};
use tollgate_identity::names;
use tollgate_ledger::NameKind;
use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};
use tollgate_store::{AdminKey, Store, WhichKeys};

use super::{Ends, SECONDS_MAX, name};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::record::{self, Act, reference};
use crate::roles::{ChangeAdminKeys, ChangeKeys, Grant, May, Permission, Sure};
use crate::sessions::ADMIN_KEY;

/// How many are asked who made a key with a key that was made with a key.
const MAKERS_MAX: usize = 16;

/// A key as somebody wants it.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) agent: String,
    pub(crate) groups: Vec<String>,
    pub(crate) ends: Ends,
}

fn minted(minted: Result<MintedKey, NoRandomness>) -> Result<MintedKey, Problem> {
    minted.map_err(|error| Problem::unavailable(error.to_string()))
}

/// Keys that whoever asks may see, in the order of their ids, after one; at most so many.
pub(crate) async fn some<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: WhichKeys,
) -> Result<Vec<KeyRecord>, Problem> {
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let (most, mut which, mut found) = (which.most, WhichKeys { most: 500, ..which }, Vec::new());
    loop {
        let page = store.keys(&which).await?;
        let is_last = page.len() < which.most;
        which.after = page.last().map(|last| last.id.clone());
        found.extend(page.into_iter().filter(|key| may.sees(Some(&key.tenant))));
        if is_last || found.len() >= most {
            found.truncate(most);
            return Ok(found);
        }
    }
}

/// The key of this id, if whoever asks may see it.
pub(crate) async fn one<P: Permission>(plane: &Plane, may: &May<P>, id: &str) -> Result<KeyRecord, Problem> {
    let missing = || Problem::not_found("there is no such key");
    let store = plane.store()?.ok_or_else(missing)?;
    let found = store.key(&KeyId::new(id)).await?;
    found.filter(|key| may.sees(Some(&key.tenant))).ok_or_else(missing)
}

/// Makes a key.
pub(crate) async fn create(
    plane: Arc<Plane>,
    sure: Sure<ChangeKeys>,
    wanted: Wanted,
) -> Result<(MintedKey, KeyRecord), Problem> {
    let Some(tenant) = sure.tenant.clone() else { return Err(Problem::invalid("tenant: say whose it is")) };
    names::check_caller(&wanted.agent).map_err(|bad| Problem::invalid(format!("agent: {bad}")))?;
    let agent = name("agent", &wanted.agent)?;
    if wanted.groups.len() > names::NAMES_MAX {
        return Err(Problem::invalid(format!("groups: more than {}", names::NAMES_MAX)));
    }
    let groups = wanted.groups.iter().map(|group| name("groups", group));
    let mut groups = groups.collect::<Result<Vec<_>, _>>()?;
    groups.sort();
    groups.dedup();
    let now = Timestamp::now();
    let expires = wanted.ends.from(now)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let minted = minted(key::mint())?;
    let record = KeyRecord {
        id: minted.id.clone(),
        tenant,
        agent,
        groups,
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        replaced_by: None,
    };
    store.add_key(record.clone()).await?;
    let act =
        Act { word: "key.create", what: named(&plane, &record), after: said(&record), ..Act::default() };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok((minted, record))
}

/// Makes a key that takes another's place, good for as long as that one was made for if nothing is said. Both are good for a
/// while.
pub(crate) async fn rotate(
    plane: Arc<Plane>,
    sure: Sure<ChangeKeys>,
    old: KeyRecord,
    (overlap, ends): (u64, Ends),
    fits: impl FnOnce(&KeyRecord) -> Result<(), Problem> + Send,
) -> Result<(MintedKey, KeyRecord), Problem> {
    if overlap > SECONDS_MAX {
        return Err(Problem::invalid(format!("overlapSeconds: {SECONDS_MAX} at most")));
    }
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let old = store.key(&old.id).await?.ok_or_else(|| Problem::not_found("there is no such key"))?;
    fits(&old)?;
    let now = Timestamp::now();
    let expires = match ends {
        Ends::Unsaid => old.expires.map(|expires| now.after(expires.since(old.created))),
        ends => ends.from(now)?,
    };
    let minted = minted(key::mint())?;
    let new = KeyRecord {
        id: minted.id.clone(),
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        replaced_by: None,
        ..old.clone()
    };
    let rotated = store.rotate_key(&old.id, new.clone(), now.after(Duration::from_secs(overlap))).await?;
    let after = json!({ "old": said(&rotated), "new": said(&new) });
    let act = Act { word: "key.rotate", what: named(&plane, &old), before: said(&old), after, reason: None };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok((minted, new))
}

/// Revokes a key for good.
pub(crate) async fn revoke(
    plane: Arc<Plane>,
    sure: Sure<ChangeKeys>,
    key: KeyRecord,
    fits: impl FnOnce(&KeyRecord) -> Result<(), Problem> + Send,
) -> Result<KeyRecord, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = store.key(&key.id).await?.ok_or_else(|| Problem::not_found("there is no such key"))?;
    fits(&before)?;
    let after = store.revoke_seen_key(&key.id, Timestamp::now(), Some(&before)).await?;
    let act = Act {
        word: "key.revoke",
        what: named(&plane, &before),
        before: said(&before),
        after: said(&after),
        reason: None,
    };
    record::record(&plane, &sure.who, sure.tenant.as_ref(), act).await?;
    Ok(after)
}

fn said(key: &KeyRecord) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    json!({
        "id": key.id.as_str(), "expires": time(key.expires), "revoked": time(key.revoked),
        "replacedBy": key.replaced_by.as_ref().map(KeyId::as_str), "groups": key.groups.len(),
    })
}

fn named(plane: &Plane, key: &KeyRecord) -> Value {
    let agent = reference(plane, &key.tenant, NameKind::Agent, &key.agent);
    json!({ "key": key.id.as_str(), "tenant": key.tenant.as_str(), "agent": agent })
}

/// Makes a key of a machine that administers: nobody gives away more than they may themselves, which only those may who are
/// admins everywhere.
pub(crate) async fn create_admin(
    plane: Arc<Plane>,
    sure: Sure<ChangeAdminKeys>,
    called: &str,
    grants: Vec<Grant>,
    ends: Ends,
) -> Result<(MintedKey, AdminKey), Problem> {
    let called = name("name", called)?;
    if grants.is_empty() {
        return Err(Problem::invalid("grants: without a role it could do nothing"));
    }
    for grant in &grants {
        if let Some(named) = &grant.tenant {
            super::tenant(&plane, named.as_str())?;
        }
    }
    let now = Timestamp::now();
    let expires = ends.from(now)?;
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let minted = minted(key::mint_admin())?;
    let record = AdminKey {
        id: minted.id.clone(),
        name: called,
        grants: grants.iter().map(Grant::to_stored).collect(),
        hash: minted.hash,
        created: now,
        expires,
        revoked: None,
        by: Arc::clone(&sure.who.by),
    };
    store.add_admin_key(record.clone()).await?;
    let act = Act {
        word: "admin_key.create",
        what: json!({ "key": record.id.as_str() }),
        after: said_admin(&record),
        ..Act::default()
    };
    record::record(&plane, &sure.who, None::<&TenantId>, act).await?;
    Ok((minted, record))
}

/// The admin key of this id.
pub(crate) async fn one_admin(store: &dyn Store, id: &str) -> Result<AdminKey, Problem> {
    let mut after = None::<KeyId>;
    loop {
        let page = store.admin_keys(after.as_ref(), 500).await?;
        if let Some(found) = page.iter().find(|key| key.id.as_str() == id) {
            return Ok(found.clone());
        }
        if page.len() < 500 {
            return Err(Problem::not_found("there is no such key"));
        }
        after = page.last().map(|last| last.id.clone());
    }
}

/// Who made the admin key with which somebody came in, and who made the key with which that was done, and so on: whoever gives
/// themselves a key under another name is still who they are. Of a key that was revoked it is not known any more who made it.
pub(crate) async fn makers(store: &dyn Store, by: &str) -> Result<Vec<Arc<str>>, Problem> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut last: Arc<str> = Arc::from(by);
    while found.len() < MAKERS_MAX {
        let Some(id) = last.strip_prefix(ADMIN_KEY) else { break };
        let made = match one_admin(store, id).await {
            Ok(key) if key.revoked.is_none() => key.by,
            Ok(_) => break,
            Err(problem) if problem.status() == StatusCode::NOT_FOUND => break,
            Err(problem) => return Err(problem),
        };
        found.push(Arc::clone(&made));
        last = made;
    }
    Ok(found)
}

/// Revokes a key of a machine for good. Sessions that were begun with it end.
pub(crate) async fn revoke_admin(
    plane: Arc<Plane>,
    sure: Sure<ChangeAdminKeys>,
    id: &str,
    fits: impl FnOnce(&AdminKey) -> Result<(), Problem> + Send,
) -> Result<AdminKey, Problem> {
    record::ready(&plane)?;
    let store = plane.make_store()?;
    let _one = plane.changing.lock().await;
    let before = one_admin(&*store, id).await?;
    fits(&before)?;
    let doing = (Timestamp::now(), &*sure.who.by);
    let after = store.revoke_seen_admin_key(&before.id, doing, Some(&before)).await?;
    let act = Act {
        word: "admin_key.revoke",
        what: json!({ "key": id }),
        before: said_admin(&before),
        after: said_admin(&after),
        reason: None,
    };
    record::record(&plane, &sure.who, None::<&TenantId>, act).await?;
    Ok(after)
}

fn said_admin(key: &AdminKey) -> Value {
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string());
    let grants: Vec<Value> = key.grants.iter().map(|grant| json!(grant.to_pair())).collect();
    json!({ "name": &*key.name, "grants": grants, "expires": time(key.expires), "revoked": time(key.revoked) })
}
