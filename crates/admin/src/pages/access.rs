//! Tenants, agents and their keys, what is taken back, and the keys of machines that administer.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};
use tollgate_store::{AdminKey, Revocable, Revocation, WhichKeys};

use super::{Query, Shell, error, page};
use crate::acts::{self, Ends, keys, revocations, see_through};
use crate::api::{pack, unpack};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{
    Act, ChangeAdminKeys, ChangeKeys, ChangeRevocations, Grant, May, ReadAdminKeys, ReadKeys,
    ReadRevocations, Resource, Role,
};

const HERE: &str = "/access";
/// How many keys are shown.
const SHOWN: usize = 500;

#[derive(Debug, Template)]
#[template(path = "access.html")]
struct Access {
    shell: Shell,
    tenants: Vec<String>,
    roles: Vec<&'static str>,
    may_change: bool,
    may_revoke: bool,
    may_change_admins: bool,
    keys: Vec<KeyLine>,
    /// Where the keys behind these are.
    more: Option<String>,
    revocations: Vec<RevokedLine>,
    admins: Option<Vec<AdminLine>>,
    has_more_admins: bool,
}

#[derive(Debug)]
struct KeyLine {
    id: String,
    tenant: String,
    agent: String,
    groups: String,
    created: String,
    expires: Option<String>,
    good: bool,
    state: &'static str,
}

impl KeyLine {
    fn of(key: &KeyRecord, now: Timestamp) -> Self {
        let good = key.is_good(now);
        let state = match (&key.revoked, &key.replaced_by) {
            (Some(_), _) => "revoked",
            _ if !good => "expired",
            (None, Some(_)) => "replaced",
            (None, None) => "good",
        };
        Self {
            id: key.id.as_str().to_owned(),
            tenant: key.tenant.as_str().to_owned(),
            agent: key.agent.to_string(),
            groups: key.groups.join(", "),
            created: key.created.to_string(),
            expires: key.expires.map(|time| time.to_string()),
            good,
            state,
        }
    }
}

#[derive(Debug)]
struct RevokedLine {
    id: String,
    kind: &'static str,
    of: String,
    name: String,
    since: String,
    until: Option<String>,
}

impl RevokedLine {
    fn of(revocation: &Revocation) -> Self {
        let (kind, whose, name) = revocation.what.parts();
        Self {
            id: pack(&[kind, whose, name]),
            kind,
            of: whose.to_owned(),
            name: name.to_owned(),
            since: revocation.since.to_string(),
            until: revocation.until.map(|time| time.to_string()),
        }
    }
}

#[derive(Debug)]
struct AdminLine {
    id: String,
    name: String,
    roles: String,
    created: String,
    by: String,
    good: bool,
}

impl AdminLine {
    fn of(key: &AdminKey, now: Timestamp) -> Self {
        let role = |(role, tenant): (String, Option<String>)| match tenant {
            Some(tenant) => format!("{role}@{tenant}"),
            None => role,
        };
        let roles: Vec<String> = key.grants.iter().map(|grant| role(grant.to_pair())).collect();
        Self {
            id: key.id.as_str().to_owned(),
            name: key.name.to_string(),
            roles: roles.join(", "),
            created: key.created.to_string(),
            by: key.by.to_string(),
            good: key.is_good(now),
        }
    }
}

/// Which part of the keys.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part {
    /// The key behind which it begins.
    after: Option<String>,
}

pub(super) async fn show(
    may: May<ReadKeys>,
    State(plane): State<Shared>,
    Query(part): Query<Part>,
) -> Response {
    shown(&plane, &may, part).await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

async fn shown(plane: &Shared, may: &May<ReadKeys>, part: Part) -> Result<Access, Problem> {
    let now = Timestamp::now();
    let after = part.after.as_deref().map(KeyId::new);
    let mut found =
        keys::some(plane, may, WhichKeys { after, most: SHOWN + 1, ..WhichKeys::default() }).await?;
    let has_more = found.len() > SHOWN;
    found.truncate(SHOWN);
    let more = found.last().filter(|_| has_more).map(|last| {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        format!("{HERE}?{}", query.append_pair("after", last.id.as_str()).finish())
    });
    let revoked = match May::<ReadRevocations>::check(may.who.clone()) {
        Ok(may) => revocations::all(plane, &may).await?,
        Err(_) => Vec::new(),
    };
    let admins = match May::<ReadAdminKeys>::check(may.who.clone()) {
        Ok(may) if may.is_everywhere() => Some(match plane.store()? {
            Some(store) => store.admin_keys(None, SHOWN + 1).await?,
            None => Vec::new(),
        }),
        _ => None,
    };
    let has_more_admins = admins.as_ref().is_some_and(|keys| keys.len() > SHOWN);
    let configured = plane.parts()?.configured;
    let tenants = configured.tenants.iter().filter(|tenant| may.sees(Some(tenant)));
    Ok(Access {
        shell: Shell::of(&may.who, HERE),
        tenants: tenants.map(|tenant| tenant.as_str().to_owned()).collect(),
        roles: Role::ALL.map(Role::as_str).to_vec(),
        may_change: may.who.may(Resource::Keys, Act::Change),
        may_revoke: may.who.may(Resource::Revocations, Act::Change),
        may_change_admins: May::<ChangeAdminKeys>::check(may.who.clone())
            .is_ok_and(|may| may.is_everywhere()),
        keys: found.iter().map(|key| KeyLine::of(key, now)).collect(),
        more,
        revocations: revoked.iter().map(RevokedLine::of).collect(),
        admins: admins.map(|keys| keys.iter().take(SHOWN).map(|key| AdminLine::of(key, now)).collect()),
        has_more_admins,
    })
}

/// A key that was just made: shown this once.
#[derive(Debug, Template)]
#[template(path = "new_key.html")]
struct NewKeyPage {
    shell: Shell,
    key: String,
    id: String,
}

fn back(done: Result<(), Problem>) -> Response {
    match done {
        Ok(()) => Redirect::to(HERE).into_response(),
        Err(problem) => error(&problem),
    }
}

/// How long, of a form in days; for ever if nothing is said.
fn ends(days: &str) -> Result<Ends, Problem> {
    match days.trim() {
        "" => Ok(Ends::Unsaid),
        text => {
            let days = text.parse::<u64>().map_err(|_| Problem::invalid("days: write a number"))?;
            Ok(Ends::After(days.saturating_mul(86_400)))
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct NewKey {
    tenant: String,
    agent: String,
    groups: String,
    days: String,
}

pub(super) async fn create(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeKeys, NewKey>,
) -> Response {
    let made = async {
        let sure = may.over(Some(&TenantId::new(&form.tenant)))?;
        acts::tenant(&plane, &form.tenant)?;
        let groups = form.groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        let wanted = keys::Wanted {
            agent: form.agent.trim().to_owned(),
            groups: groups.map(str::to_owned).collect(),
            ends: ends(&form.days)?,
        };
        let plane = Arc::clone(&plane);
        see_through(async move { keys::create(plane, sure, wanted).await }).await
    };
    match made.await {
        Ok((minted, record)) => page(&NewKeyPage {
            shell: Shell::of(&may.who, HERE),
            key: minted.text.expose().to_owned(),
            id: record.id.as_str().to_owned(),
        }),
        Err(problem) => error(&problem),
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Named {
    id: String,
}

pub(super) async fn revoke_key(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeKeys, Named>,
) -> Response {
    let done = async {
        let key = keys::one(&plane, &may, &form.id).await?;
        let sure = may.over(Some(&key.tenant))?;
        let plane = Arc::clone(&plane);
        see_through(async move { keys::revoke(plane, sure, key, |_| Ok(())).await }).await.map(drop)
    };
    back(done.await)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewRevocation {
    kind: String,
    of: String,
    name: String,
}

pub(super) async fn revoke(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeRevocations, NewRevocation>,
) -> Response {
    let done = async {
        let what = revocations::revocable(&form.kind, form.of.trim(), form.name.trim())?;
        let sure = may.over(revocations::tenant_of(&what))?;
        if let Some(tenant) = revocations::tenant_of(&what) {
            acts::tenant(&plane, tenant.as_str())?;
        }
        let plane = Arc::clone(&plane);
        see_through(async move { revocations::revoke(plane, sure, what, Ends::Unsaid).await }).await.map(drop)
    };
    back(done.await)
}

pub(super) async fn reinstate(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeRevocations, Named>,
) -> Response {
    let done = async {
        let parts = unpack::<3>(&form.id);
        let what = parts.and_then(|[kind, whose, name]| Revocable::from_parts(&kind, &whose, &name));
        let what = what.ok_or_else(|| Problem::not_found("nothing can have this id"))?;
        let sure = may.over(revocations::tenant_of(&what))?;
        let plane = Arc::clone(&plane);
        see_through(async move { revocations::reinstate(plane, sure, what).await }).await
    };
    back(done.await)
}

#[derive(Debug, Deserialize)]
pub(super) struct NewAdminKey {
    name: String,
    role: String,
    tenant: String,
    days: String,
}

pub(super) async fn create_admin(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeAdminKeys, NewAdminKey>,
) -> Response {
    let made = async {
        let sure = may.over(None)?;
        let role = Role::read(&form.role).ok_or_else(|| Problem::invalid("role: there is no such role"))?;
        let tenant = Some(form.tenant.as_str()).filter(|tenant| !tenant.is_empty()).map(TenantId::new);
        let (grants, days) = (vec![Grant { role, tenant }], ends(&form.days)?);
        let plane = Arc::clone(&plane);
        see_through(async move { keys::create_admin(plane, sure, form.name.trim(), grants, days).await })
            .await
    };
    match made.await {
        Ok((minted, record)) => page(&NewKeyPage {
            shell: Shell::of(&may.who, HERE),
            key: minted.text.expose().to_owned(),
            id: record.id.as_str().to_owned(),
        }),
        Err(problem) => error(&problem),
    }
}

pub(super) async fn revoke_admin(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeAdminKeys, Named>,
) -> Response {
    let done = async {
        let sure = may.over(None)?;
        let plane = Arc::clone(&plane);
        see_through(async move { keys::revoke_admin(plane, sure, &form.id, |_| Ok(())).await })
            .await
            .map(drop)
    };
    back(done.await)
}
