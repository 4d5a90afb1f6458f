//! Agents that are paused.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_model::TenantId;
use tollgate_store::Pausing;
use utoipa::ToSchema;

use super::blocks::Why;
use super::{Asked, At, Made, Page, Paging, Repeatable, Tagged, once, pack, tagged, time};
use crate::acts::pauses;
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangePauses, May, ReadPauses};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/pauses", get(list).post(pause))
        .route("/api/v1/pauses/{tenant}/{agent}", delete(resume))
}

/// An agent that is paused.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pause)]
pub(crate) struct PauseView {
    /// Its tenant.
    tenant: String,
    /// The agent.
    agent: String,
    /// Why: the words of an operator, or what it was taken to have run away by.
    why: String,
    /// Since when.
    since: String,
    /// Until when.
    until: String,
}

impl PauseView {
    pub(crate) fn of(pausing: &Pausing) -> Self {
        Self {
            tenant: pausing.who.tenant.as_str().to_owned(),
            agent: pausing.who.agent.to_string(),
            why: pausing.why.to_string(),
            since: time(pausing.since),
            until: time(pausing.until),
        }
    }
}

/// An agent to be paused.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewPause {
    /// Its tenant.
    #[schema(example = "default")]
    tenant: String,
    /// The agent.
    #[schema(min_length = 1, max_length = 256, example = "support-bot")]
    agent: String,
    /// Why. It is on record.
    #[schema(min_length = 1, max_length = 1024, example = "It runs in circles.")]
    reason: String,
    /// For how long.
    #[schema(minimum = 1, maximum = 2_592_000, example = 900)]
    seconds: u64,
}

/// Lists the agents that are paused.
#[utoipa::path(get, path = "/api/v1/pauses", tag = "pauses", params(Paging, Tagged),
    responses((status = 200, body = Page<PauseView>)),
    extensions(("x-tollgate-permission" = json!("pauses:read"))))]
async fn list(
    may: May<ReadPauses>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let all = pauses::all(&plane, &may).await?.iter().map(PauseView::of).collect();
    Ok(tagged(&headers, &paging.cut(all, |one: &PauseView| pack(&[&one.tenant, &one.agent]))?))
}

/// Pauses an agent for a while, at every gateway of the same store.
#[utoipa::path(post, path = "/api/v1/pauses", tag = "pauses", params(Repeatable), request_body = NewPause,
    responses((status = 201, description = "It is paused", body = PauseView)),
    extensions(("x-tollgate-permission" = json!("pauses:change"))))]
async fn pause(
    may: May<ChangePauses>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewPause>,
) -> Result<Response, Problem> {
    let sure = may.over(Some(&TenantId::new(&new.tenant)))?;
    let tenant = crate::acts::tenant(&plane, &new.tenant)?;
    let who = pauses::pausable(&tenant, &new.agent)?;
    let act = {
        let plane = plane.clone();
        async move {
            let made = pauses::pause(plane, sure, who, &new.reason, new.seconds).await?;
            Ok(Made::new(StatusCode::CREATED, &PauseView::of(&made)))
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/pauses", &bytes), act).await)
}

/// Lets an agent go on before its pause is over.
#[utoipa::path(delete, path = "/api/v1/pauses/{tenant}/{agent}", tag = "pauses",
    params(("tenant" = String, Path), ("agent" = String, Path), Why),
    responses((status = 204, description = "It goes on")),
    extensions(("x-tollgate-permission" = json!("pauses:change"))))]
async fn resume(
    may: May<ChangePauses>,
    State(plane): State<Shared>,
    At((tenant, agent)): At<(String, String)>,
    Asked(why): Asked<Why>,
) -> Result<Response, Problem> {
    let tenant = TenantId::new(&tenant);
    let sure = may.over(Some(&tenant))?;
    let who = pauses::pausable(&tenant, &agent)?;
    let reason = why.reason.unwrap_or_default();
    crate::acts::see_through(async move { pauses::resume(plane, sure, who, &reason).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
