//! Who administers: admin keys; and what is taken back of callers.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{AdminKey, Revocable, Revocation};
use utoipa::ToSchema;

use super::keys::{NewKeyShown, shown};
use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, once, pack, tagged, time, unpack};
use crate::acts::{Ends, keys, revocations};
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangeAdminKeys, ChangeRevocations, Grant, May, ReadAdminKeys, ReadRevocations, Role};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/admin-keys", get(list_keys).post(create_key))
        .route("/api/v1/admin-keys/{id}", get(one_key).delete(revoke_key))
        .route("/api/v1/revocations", get(list).post(revoke))
        .route("/api/v1/revocations/{id}", delete(reinstate))
}

/// A role, and where it holds.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Grant)]
pub(crate) struct GrantView {
    /// `admin`, `security`, `operator`, `server-owner`, `approver`, `auditor` or `viewer`.
    pub(crate) role: String,
    /// The tenant; all of them, and what is no tenant's, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
}

impl GrantView {
    fn meant(&self) -> Result<Grant, Problem> {
        let unknown = || Problem::invalid(format!("grants: there is no role {:?}", self.role));
        let role = Role::read(&self.role).ok_or_else(unknown)?;
        Ok(Grant { role, tenant: self.tenant.as_deref().map(TenantId::new) })
    }

    pub(crate) fn of(grant: &Grant) -> Self {
        let tenant = grant.tenant.as_ref().map(|tenant| tenant.as_str().to_owned());
        Self { role: grant.role.to_string(), tenant }
    }
}

/// A key of a machine that administers: never the key itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AdminKey)]
pub(crate) struct AdminKeyView {
    /// By what it is named.
    id: String,
    /// What it is called.
    name: String,
    /// What it may.
    grants: Vec<GrantView>,
    /// When it was made.
    created: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// Who made it, or revoked it.
    by: String,
    /// Whether somebody comes in with it just now.
    good: bool,
}

impl AdminKeyView {
    pub(crate) fn of(key: &AdminKey) -> Self {
        let grant = |pair: (String, Option<String>)| GrantView { role: pair.0, tenant: pair.1 };
        Self {
            id: key.id.as_str().to_owned(),
            name: key.name.to_string(),
            grants: key.grants.iter().map(|stored| grant(stored.to_pair())).collect(),
            created: time(key.created),
            expires: key.expires.map(time),
            revoked: key.revoked.map(time),
            by: key.by.to_string(),
            good: key.is_good(Timestamp::now()),
        }
    }
}

/// A key of a machine that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewAdminKey {
    /// What it is called.
    #[schema(min_length = 1, max_length = 256, example = "deploy")]
    name: String,
    /// What it may.
    #[serde(deserialize_with = "crate::front::objects")]
    grants: Vec<GrantView>,
    /// After how long it ends; never if absent.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// When it ends, in place of `seconds`.
    expires: Option<String>,
}

/// Admin keys reach further than one tenant: only those see them who may everywhere.
fn everywhere<P: crate::roles::Permission>(may: &May<P>) -> Result<(), Problem> {
    may.over(None).map(drop).map_err(Problem::from)
}

/// Lists the keys of machines that administer.
#[utoipa::path(get, path = "/api/v1/admin-keys", tag = "admin keys", params(Paging, Tagged),
    responses((status = 200, body = Page<AdminKeyView>)),
    extensions(("x-tollgate-permission" = json!("admin-keys:read"))))]
async fn list_keys(
    may: May<ReadAdminKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    everywhere(&may)?;
    let limit = paging.limit()?;
    let after = paging.after.as_deref().map(tollgate_model::KeyId::new);
    let found = match plane.store()? {
        Some(store) => store.admin_keys(after.as_ref(), limit + 1).await?,
        None => Vec::new(),
    };
    let mut items: Vec<AdminKeyView> = found.iter().map(AdminKeyView::of).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|last| last.id.clone()) } else { None };
    Ok(tagged(&headers, &Page { items, next }))
}

/// Says what is known of a key of a machine.
#[utoipa::path(get, path = "/api/v1/admin-keys/{id}", tag = "admin keys", params(("id" = String, Path), Tagged),
    responses((status = 200, body = AdminKeyView)),
    extensions(("x-tollgate-permission" = json!("admin-keys:read"))))]
async fn one_key(
    may: May<ReadAdminKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    everywhere(&may)?;
    let store = plane.store()?.ok_or_else(|| Problem::not_found("there is no such key"))?;
    Ok(tagged(&headers, &AdminKeyView::of(&keys::one_admin(&*store, &id).await?)))
}

/// Makes a key of a machine, and shows it once.
#[utoipa::path(post, path = "/api/v1/admin-keys", tag = "admin keys", params(Repeatable), request_body = NewAdminKey,
    responses((status = 201, description = "It is good from now on", body = NewKeyShown<AdminKeyView>)),
    extensions(("x-tollgate-permission" = json!("admin-keys:change"))))]
async fn create_key(
    may: May<ChangeAdminKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewAdminKey>,
) -> Result<Response, Problem> {
    let sure = may.over(None)?;
    let grants = new.grants.iter().map(GrantView::meant).collect::<Result<Vec<_>, _>>()?;
    let ends = Ends::read(new.seconds, new.expires.as_deref())?;
    let act = {
        let plane = plane.clone();
        async move {
            let (minted, record) = keys::create_admin(plane, sure, &new.name, grants, ends).await?;
            Ok(shown(&minted, AdminKeyView::of(&record)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/admin-keys", &bytes), act).await)
}

/// Revokes a key of a machine for good, and ends the sessions that were begun with it.
#[utoipa::path(delete, path = "/api/v1/admin-keys/{id}", tag = "admin keys", params(("id" = String, Path), Seen),
    responses((status = 204, description = "It is revoked")),
    extensions(("x-tollgate-permission" = json!("admin-keys:change"))))]
async fn revoke_key(
    may: May<ChangeAdminKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let sure = may.over(None)?;
    let seen = Seen::of(&headers);
    let fits = move |now: &AdminKey| seen.fits(&AdminKeyView::of(now));
    crate::acts::see_through(async move { keys::revoke_admin(plane, sure, &id, fits).await.map(drop) })
        .await
        .map_err(Seen::overtaken(&headers))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A token, user or agent that is taken back.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Revocation)]
pub(crate) struct RevocationView {
    /// By what it is named in paths.
    id: String,
    /// `token`, `user` or `agent`.
    kind: &'static str,
    /// The issuer of a token, the tenant of a user or agent.
    of: String,
    /// Its name there; of a token its `jti`.
    name: String,
    /// Since when.
    since: String,
    /// Until when; for good if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
}

impl RevocationView {
    pub(crate) fn of(revocation: &Revocation) -> Self {
        let (kind, whose, name) = revocation.what.parts();
        Self {
            id: pack(&[kind, whose, name]),
            kind,
            of: whose.to_owned(),
            name: name.to_owned(),
            since: time(revocation.since),
            until: revocation.until.map(time),
        }
    }
}

/// What is to be taken back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewRevocation {
    /// `token`, `user` or `agent`.
    #[schema(pattern = "^(token|user|agent)$", example = "user")]
    kind: String,
    /// The issuer of a token, the tenant of a user or agent.
    #[schema(min_length = 1, example = "default")]
    of: String,
    /// Its name there; of a token its `jti`.
    #[schema(min_length = 1, example = "okta:ada")]
    name: String,
    /// For how long; for good if absent.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// Until when, in place of `seconds`.
    until: Option<String>,
}

/// Lists what is taken back.
#[utoipa::path(get, path = "/api/v1/revocations", tag = "revocations", params(Paging, Tagged),
    responses((status = 200, body = Page<RevocationView>)),
    extensions(("x-tollgate-permission" = json!("revocations:read"))))]
async fn list(
    may: May<ReadRevocations>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let all = revocations::all(&plane, &may).await?.iter().map(RevocationView::of).collect();
    Ok(tagged(&headers, &paging.cut(all, |one: &RevocationView| one.id.clone())?))
}

/// Takes back a token, a user or an agent.
#[utoipa::path(post, path = "/api/v1/revocations", tag = "revocations", params(Repeatable), request_body = NewRevocation,
    responses((status = 201, description = "It is taken back", body = RevocationView)),
    extensions(("x-tollgate-permission" = json!("revocations:change"))))]
async fn revoke(
    may: May<ChangeRevocations>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewRevocation>,
) -> Result<Response, Problem> {
    let what = revocations::revocable(&new.kind, &new.of, &new.name)?;
    let sure = may.over(revocations::tenant_of(&what))?;
    if let Some(tenant) = revocations::tenant_of(&what) {
        crate::acts::tenant(&plane, tenant.as_str())?;
    }
    let ends = Ends::read(new.seconds, new.until.as_deref())?;
    let act = {
        let plane = plane.clone();
        async move {
            let made = revocations::revoke(plane, sure, what, ends).await?;
            Ok(Made::new(StatusCode::CREATED, &RevocationView::of(&made)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/revocations", &bytes), act).await)
}

/// Lets it in again.
#[utoipa::path(delete, path = "/api/v1/revocations/{id}", tag = "revocations", params(("id" = String, Path)),
    responses((status = 204, description = "It is let in again")),
    extensions(("x-tollgate-permission" = json!("revocations:change"))))]
async fn reinstate(
    may: May<ChangeRevocations>,
    State(plane): State<Shared>,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let what = unpack(&id).and_then(|[kind, whose, name]| Revocable::from_parts(&kind, &whose, &name));
    let what = what.ok_or_else(|| Problem::not_found("nothing can have this id"))?;
    let sure = may.over(revocations::tenant_of(&what))?;
    crate::acts::see_through(async move { revocations::reinstate(plane, sure, what).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
