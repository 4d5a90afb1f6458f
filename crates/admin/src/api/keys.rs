//! API keys of agents.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_identity::key::MintedKey;
use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};
use tollgate_store::WhichKeys;
use utoipa::{IntoParams, ToSchema};

use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, once, tagged, time};
use crate::acts::Ends;
use crate::acts::keys::{self, Wanted};
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangeKeys, May, ReadKeys};

/// How long both keys of a rotation are good if nothing is said.
const OVERLAP: u64 = 86_400;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/keys", get(list).post(create))
        .route("/api/v1/keys/{id}", get(one).delete(revoke))
        .route("/api/v1/keys/{id}/rotate", post(rotate))
}

/// An API key: never the key itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Key)]
pub(crate) struct KeyView {
    /// By what it is named.
    id: String,
    /// The tenant of its agent.
    tenant: String,
    /// The agent that calls with it.
    agent: String,
    /// The agent's groups.
    groups: Vec<String>,
    /// When it was made.
    created: String,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<String>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked: Option<String>,
    /// The key that takes its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced_by: Option<String>,
    /// Whether callers come in with it just now.
    good: bool,
}

impl KeyView {
    pub(crate) fn of(key: &KeyRecord) -> Self {
        Self {
            id: key.id.as_str().to_owned(),
            tenant: key.tenant.as_str().to_owned(),
            agent: key.agent.to_string(),
            groups: key.groups.iter().map(ToString::to_string).collect(),
            created: time(key.created),
            expires: key.expires.map(time),
            revoked: key.revoked.map(time),
            replaced_by: key.replaced_by.as_ref().map(|id| id.as_str().to_owned()),
            good: key.is_good(Timestamp::now()),
        }
    }
}

/// A key that was just made.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NewKeyShown<V> {
    /// What callers present. It is shown this once, and kept nowhere; absent where an answer is repeated.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// What is kept.
    #[serde(flatten)]
    view: V,
}

/// What is answered of a new key, of which the key itself is not kept.
pub(super) fn shown(minted: &MintedKey, view: impl Serialize) -> Made {
    let made = Made::new(StatusCode::CREATED, &NewKeyShown { key: None, view });
    let mut body = made.body.clone();
    body["key"] = Value::from(minted.text.expose());
    Made { body, ..made }
}

/// A key that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewKey {
    /// The tenant of its agent.
    #[schema(example = "default")]
    tenant: String,
    /// The agent that will call with it.
    #[schema(min_length = 1, max_length = 256, example = "support-bot")]
    agent: String,
    /// The agent's groups.
    #[serde(default)]
    groups: Vec<String>,
    /// After how long it ends; never if absent.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// When it ends, in place of `seconds`.
    expires: Option<String>,
}

/// Which keys.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only this tenant's.
    tenant: Option<String>,
    /// Only this agent's.
    agent: Option<String>,
}

/// Lists keys, also those that have ended.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", params(Paging, Which, Tagged),
    responses((status = 200, body = Page<KeyView>)),
    extensions(("x-tollgate-permission" = json!("keys:read"))))]
async fn list(
    may: May<ReadKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    let limit = paging.limit()?;
    let which = WhichKeys {
        tenant: which.tenant.as_deref().map(TenantId::new),
        agent: which.agent.as_deref().map(Into::into),
        after: paging.after.as_deref().map(KeyId::new),
        most: limit + 1,
    };
    let mut items: Vec<KeyView> = keys::some(&plane, &may, which).await?.iter().map(KeyView::of).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = if more { items.last().map(|last| last.id.clone()) } else { None };
    Ok(tagged(&headers, &Page { items, next }))
}

/// Says what is known of a key.
#[utoipa::path(get, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path), Tagged),
    responses((status = 200, body = KeyView)),
    extensions(("x-tollgate-permission" = json!("keys:read"))))]
async fn one(
    may: May<ReadKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &KeyView::of(&keys::one(&plane, &may, &id).await?)))
}

/// Makes a key for an agent, and shows it once.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", params(Repeatable), request_body = NewKey,
    responses((status = 201, description = "It is good from now on", body = NewKeyShown<KeyView>)),
    extensions(("x-tollgate-permission" = json!("keys:change"))))]
async fn create(
    may: May<ChangeKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewKey>,
) -> Result<Response, Problem> {
    let sure = may.over(Some(&TenantId::new(&new.tenant)))?;
    crate::acts::tenant(&plane, &new.tenant)?;
    let ends = Ends::read(new.seconds, new.expires.as_deref())?;
    let wanted = Wanted { agent: new.agent, groups: new.groups, ends };
    let act = {
        let plane = plane.clone();
        async move {
            let (minted, record) = keys::create(plane, sure, wanted).await?;
            Ok(shown(&minted, KeyView::of(&record)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/keys", &bytes), act).await)
}

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rotation {
    /// How long the old key stays good: a day if absent.
    overlap_seconds: Option<u64>,
    /// After how long the new one ends; if nothing is said, after as long as the old one was made for.
    #[schema(minimum = 1)]
    seconds: Option<u64>,
    /// When the new one ends, in place of `seconds`.
    expires: Option<String>,
}

/// Makes a key that takes another one's place, and shows it once. Both are good for a while.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", tag = "keys", params(("id" = String, Path), Seen, Repeatable),
    request_body = Rotation,
    responses((status = 201, description = "Both are good for a while", body = NewKeyShown<KeyView>)),
    extensions(("x-tollgate-permission" = json!("keys:change"))))]
async fn rotate(
    may: May<ChangeKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: rotation, bytes }: Input<Rotation>,
) -> Result<Response, Problem> {
    let old = keys::one(&plane, &may, &id).await?;
    let sure = may.over(Some(&old.tenant))?;
    let seen = Seen::of(&headers);
    let ends = Ends::read(rotation.seconds, rotation.expires.as_deref())?;
    let how = (rotation.overlap_seconds.unwrap_or(OVERLAP), ends);
    let act = {
        let plane = plane.clone();
        async move {
            let fits = move |now: &KeyRecord| seen.fits(&KeyView::of(now));
            let (minted, record) = keys::rotate(plane, sure, old, how, fits).await?;
            Ok(shown(&minted, KeyView::of(&record)))
        }
    };
    let what = format!("POST /api/v1/keys/{id}/rotate");
    Ok(once(&plane, &may.who, &headers, (&what, &bytes), act).await)
}

/// Revokes a key for good. One that is revoked stays so.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", params(("id" = String, Path), Seen),
    responses((status = 204, description = "It is revoked")),
    extensions(("x-tollgate-permission" = json!("keys:change"))))]
async fn revoke(
    may: May<ChangeKeys>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let key = keys::one(&plane, &may, &id).await?;
    let sure = may.over(Some(&key.tenant))?;
    let seen = Seen::of(&headers);
    let fits = move |now: &KeyRecord| seen.fits(&KeyView::of(now));
    crate::acts::see_through(async move { keys::revoke(plane, sure, key, fits).await.map(drop) })
        .await
        .map_err(Seen::overtaken(&headers))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
