//! The kill switch.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_store::{Blockable, Blocking};
use utoipa::ToSchema;

use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, once, pack, tagged, time, unpack};
use crate::acts::blocks;
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangeBlocks, May, ReadBlocks};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/blocks", get(list).post(block))
        .route("/api/v1/blocks/{id}", get(one).delete(unblock))
}

/// Something that is stopped.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Block)]
pub(crate) struct BlockView {
    /// By what it is named in paths.
    id: String,
    /// `agent`, `key`, `server`, `tenant`, `tool` or `user`.
    kind: &'static str,
    /// Whose callers it is about; absent for everybody's, and for a key or tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// Its name: of a tool `SERVER/TOOL`.
    name: String,
    /// Why, in the words of whoever stopped it.
    reason: String,
    /// Whether those who are stopped are told why.
    shown: bool,
    /// Who stopped it.
    by: String,
    /// Since when.
    since: String,
}

impl BlockView {
    pub(crate) fn of(blocking: &Blocking) -> Self {
        let (kind, whose, name) = blocking.what.parts();
        Self {
            id: pack(&[kind, &whose, &name]),
            kind,
            tenant: (!whose.is_empty()).then_some(whose),
            name,
            reason: blocking.reason.to_string(),
            shown: blocking.is_public,
            by: blocking.by.to_string(),
            since: time(blocking.since),
        }
    }
}

/// What is to be stopped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewBlock)]
struct NewBlock {
    /// `agent`, `key`, `server`, `tenant`, `tool` or `user`.
    #[schema(pattern = "^(agent|key|server|tenant|tool|user)$", example = "tool")]
    kind: String,
    /// Whose it is. A server or tool without it is stopped for the callers of every tenant.
    #[schema(example = "default")]
    tenant: Option<String>,
    /// Its name: of a tool `SERVER/TOOL`.
    #[schema(min_length = 1, max_length = 256, example = "crm/search")]
    name: String,
    /// Why. It is on record, and shown to operators.
    #[schema(min_length = 1, max_length = 1024, example = "It leaks.")]
    reason: String,
    /// Tells those who are stopped why.
    #[serde(default)]
    shown: bool,
}

/// Lists what is stopped.
#[utoipa::path(get, path = "/api/v1/blocks", tag = "blocks", params(Paging, Tagged),
    responses((status = 200, body = Page<BlockView>)),
    extensions(("x-tollgate-permission" = json!("blocks:read"))))]
async fn list(
    may: May<ReadBlocks>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let all = blocks::all(&plane, &may).await?.iter().map(BlockView::of).collect();
    Ok(tagged(&headers, &paging.cut(all, |block: &BlockView| block.id.clone())?))
}

fn named(id: &str) -> Result<Blockable, Problem> {
    unpack(id)
        .and_then(|[kind, whose, name]| Blockable::from_parts(&kind, &whose, &name))
        .ok_or_else(|| Problem::not_found("nothing can have this id"))
}

/// Says what is known of something that is stopped.
#[utoipa::path(get, path = "/api/v1/blocks/{id}", tag = "blocks", params(("id" = String, Path), Tagged),
    responses((status = 200, body = BlockView)),
    extensions(("x-tollgate-permission" = json!("blocks:read"))))]
async fn one(
    may: May<ReadBlocks>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let what = named(&id)?;
    let missing = || Problem::not_found("it is not blocked");
    let store = plane.store()?.ok_or_else(missing)?;
    if !blocks::sees(&*store, &may, &what).await? {
        return Err(missing());
    }
    let found = blocks::one(&*store, &what).await?.ok_or_else(missing)?;
    Ok(tagged(&headers, &BlockView::of(&found)))
}

/// Stops something at once, at every gateway of the same store.
#[utoipa::path(post, path = "/api/v1/blocks", tag = "blocks", params(Repeatable), request_body = NewBlock,
    responses((status = 201, description = "It is stopped", body = BlockView),
        (status = 200, description = "It was stopped before, and what was said of it is replaced", body = BlockView)),
    extensions(("x-tollgate-permission" = json!("blocks:change"))))]
async fn block(
    may: May<ChangeBlocks>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewBlock>,
) -> Result<Response, Problem> {
    let what = blocks::blockable(&new.kind, new.tenant.as_deref(), &new.name)?;
    let tenant = blocks::tenant_of(plane.store()?.as_deref(), &what).await?;
    let sure = may.over(tenant.as_ref())?;
    let act = {
        let plane = plane.clone();
        async move {
            let (made, is_new) = blocks::block(plane, sure, what, &new.reason, new.shown).await?;
            let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
            Ok(Made::new(status, &BlockView::of(&made)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/blocks", &bytes), act).await)
}

/// Why something is let go on.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Why {
    /// Why. It is on record.
    pub(super) reason: Option<String>,
}

/// Lets something go on.
#[utoipa::path(delete, path = "/api/v1/blocks/{id}", tag = "blocks", params(("id" = String, Path), Why, Seen),
    responses((status = 204, description = "It is no longer stopped")),
    extensions(("x-tollgate-permission" = json!("blocks:change"))))]
async fn unblock(
    may: May<ChangeBlocks>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Asked(why): Asked<Why>,
) -> Result<Response, Problem> {
    let what = named(&id)?;
    let tenant = blocks::tenant_of(plane.store()?.as_deref(), &what).await?;
    let sure = may.over(tenant.as_ref())?;
    let seen = Seen::of(&headers);
    let fits = move |now: &Blocking| seen.fits(&BlockView::of(now));
    let reason = why.reason.unwrap_or_default();
    crate::acts::see_through(async move { blocks::unblock(plane, sure, what, &reason, fits).await })
        .await
        .map_err(Seen::overtaken(&headers))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
