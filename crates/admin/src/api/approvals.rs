//! Calls that wait until people agree.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_approvals::show;
use tollgate_model::Timestamp;
use tollgate_store::Approval;
use utoipa::{IntoParams, ToSchema};

use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, once, tagged};
use crate::acts::approvals::{self, Word};
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangeApprovals, May, Operator, ReadApprovals};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/approvals", get(list))
        .route("/api/v1/approvals/{id}", get(one))
        .route("/api/v1/approvals/{id}/approve", post(approve))
        .route("/api/v1/approvals/{id}/deny", post(deny))
}

/// An approval: who calls what, why it is held, who has to agree, who said what. Arguments stand in it as far as whoever asks
/// may see them.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(transparent)]
#[schema(as = Approval, value_type = Object)]
pub(crate) struct ApprovalView(Value);

impl ApprovalView {
    fn of(approval: &Approval, who: &Operator) -> Self {
        Self(show::object(approval, approvals::sees(who, &approval.of.tenant), Timestamp::now()))
    }
}

/// Which approvals.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Also those that wait no more.
    all: Option<bool>,
}

/// Lists approvals, the newest first: those that wait.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "approvals", params(Which, Paging, Tagged),
    responses((status = 200, body = Page<ApprovalView>)),
    extensions(("x-tollgate-permission" = json!("approvals:read"))))]
async fn list(
    may: May<ReadApprovals>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let limit = paging.limit()?;
    let last = match &paging.after {
        // Also one that was decided meanwhile says where to go on.
        Some(id) => Some(approvals::one(&plane, &may, id).await.map_err(no_place)?),
        None => None,
    };
    let is_waiting = which.all != Some(true);
    let mut found = approvals::some(&plane, &may, is_waiting, (last.as_ref(), limit + 1)).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| last.id.as_str().to_owned());
    let items = found.iter().map(|approval| ApprovalView::of(approval, &may.who)).collect();
    Ok(tagged(&headers, &Page { items, next }))
}

fn no_place(problem: Problem) -> Problem {
    if problem.status() == StatusCode::NOT_FOUND {
        return Problem::invalid("after: this is no `next` of a page");
    }
    problem
}

/// Shows one approval.
#[utoipa::path(get, path = "/api/v1/approvals/{id}", tag = "approvals", params(("id" = String, Path), Tagged),
    responses((status = 200, body = ApprovalView)),
    extensions(("x-tollgate-permission" = json!("approvals:read"))))]
async fn one(
    may: May<ReadApprovals>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let found = approvals::one(&plane, &may, &id).await?;
    Ok(tagged(&headers, &ApprovalView::of(&found, &may.who)))
}

/// What somebody says.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Said {
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
    /// Arguments in place of the caller's: a JSON object. Policy decides on them anew. Only of a yes.
    #[schema(value_type = Option<Object>)]
    arguments: Option<Box<serde_json::value::RawValue>>,
    /// For whom somebody speaks who types on the gateway's own machine. Of nobody else.
    #[serde(rename = "as")]
    named: Option<String>,
}

async fn decide(
    (may, plane, headers): (May<ChangeApprovals>, Shared, HeaderMap),
    id: String,
    (said, bytes): (Said, bytes::Bytes),
    agrees: bool,
) -> Result<Response, Problem> {
    let before = approvals::one(&plane, &may, &id).await?;
    let sure = may.over(Some(&before.of.tenant))?;
    let (seen, looks) = (Seen::of(&headers), may.who.clone());
    let fits = move |now: &Approval| seen.fits(&ApprovalView::of(now, &looks));
    let arguments = said.arguments.map(|arguments| arguments.get().to_owned());
    let word = Word { agrees, reason: said.reason, arguments, named: said.named, via: "api" };
    let act = {
        let (plane, who) = (plane.clone(), may.who.clone());
        async move {
            let decided = approvals::decide(plane, sure, before, word, fits).await?;
            Ok(Made::new(StatusCode::OK, &ApprovalView::of(&decided, &who)))
        }
    };
    let what = format!("POST /api/v1/approvals/{id}/{}", if agrees { "approve" } else { "deny" });
    Ok(Box::pin(once(&plane, &may.who, &headers, (&what, &bytes), act)).await)
}

/// Agrees to a call, or to other arguments in place of its own.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/approve", tag = "approvals",
    params(("id" = String, Path), Seen, Repeatable),
    request_body = Said, responses((status = 200, body = ApprovalView)),
    extensions(("x-tollgate-permission" = json!("approvals:change"))))]
async fn approve(
    may: May<ChangeApprovals>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: said, bytes }: Input<Said>,
) -> Result<Response, Problem> {
    Box::pin(decide((may, plane, headers), id, (said, bytes), true)).await
}

/// Does not agree to a call. One no is enough.
#[utoipa::path(post, path = "/api/v1/approvals/{id}/deny", tag = "approvals", params(("id" = String, Path), Seen, Repeatable),
    request_body = Said, responses((status = 200, body = ApprovalView)),
    extensions(("x-tollgate-permission" = json!("approvals:change"))))]
async fn deny(
    may: May<ChangeApprovals>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: said, bytes }: Input<Said>,
) -> Result<Response, Problem> {
    Box::pin(decide((may, plane, headers), id, (said, bytes), false)).await
}
