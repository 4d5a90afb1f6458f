//! Definitions of servers that are pinned.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_model::TenantId;
use tollgate_store::{Pin, PinOf, WhichPins};
use utoipa::{IntoParams, ToSchema};

use super::blocks::Why;
use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, once, pack, tagged, time, unpack};
use crate::acts::pins;
use crate::front::{Input, Shared};
use crate::problem::Problem;
use crate::roles::{ChangePins, May, ReadPins};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/pins", get(list))
        .route("/api/v1/pins/{id}", get(one).delete(forget))
        .route("/api/v1/pins/{id}/approve", post(approve))
}

/// By what a pin is named in paths.
pub(crate) fn id(of: &PinOf) -> String {
    let tenant = of.tenant.as_ref().map_or("", TenantId::as_str);
    pack(&[tenant, of.server.as_str(), of.kind.as_str(), &of.item])
}

/// The other way round.
pub(crate) fn named(id: &str) -> Result<PinOf, Problem> {
    unpack(id)
        .and_then(|[tenant, server, kind, item]| PinOf::from_parts(&tenant, &server, &kind, &item))
        .ok_or_else(|| Problem::not_found("nothing can have this id"))
}

/// A definition that is pinned.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Pin)]
pub(crate) struct PinView {
    /// By what it is named in paths.
    id: String,
    /// Whose server it is; absent if it is every tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    /// The server.
    server: String,
    /// `tool`, `prompt`, `resource`, `template` or `instructions`.
    kind: &'static str,
    /// The server's own name or URI of it.
    item: String,
    /// The digest of the definition that is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    approved: Option<String>,
    /// Who approved it.
    by: String,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    /// The digest of what its server shows in its place, which nobody has approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<String>,
    /// When that was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
}

impl PinView {
    fn of(pin: &Pin) -> Self {
        Self {
            id: id(&pin.of),
            tenant: pin.of.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()),
            server: pin.of.server.to_string(),
            kind: pin.of.kind.as_str(),
            item: pin.of.item.to_string(),
            approved: pin.approved.as_ref().map(|shape| shape.digest.to_string()),
            by: pin.by.to_string(),
            since: pin.since.map(time),
            waiting: pin.waiting.as_ref().map(|shape| shape.digest.to_string()),
            seen: pin.seen.map(time),
        }
    }
}

/// Which pins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// Only those of which something waits.
    waiting: Option<bool>,
}

/// Lists the definitions that are pinned.
#[utoipa::path(get, path = "/api/v1/pins", tag = "pins", params(Which, Paging, Tagged),
    responses((status = 200, body = Page<PinView>)),
    extensions(("x-tollgate-permission" = json!("pins:read"))))]
async fn list(
    may: May<ReadPins>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let limit = paging.limit()?;
    let after = paging.after.as_deref().map(named).transpose();
    let after = after.map_err(|_| Problem::invalid("after: nothing can have this name"))?;
    let is_waiting = which.waiting == Some(true);
    let wanted = WhichPins { is_waiting, after, most: limit + 1, ..WhichPins::default() };
    let mut found = pins::some(&plane, &may, wanted).await?;
    let has_more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| has_more).map(|last| id(&last.of));
    Ok(tagged(&headers, &Page { items: found.iter().map(PinView::of).collect(), next }))
}

/// A pin, and how what waits differs from what was approved.
#[derive(Debug, Serialize, ToSchema)]
struct PinShown {
    /// The pin.
    #[serde(flatten)]
    pin: PinView,
    /// What a change risks, in words; the worst first.
    risks: Vec<String>,
    /// The lines that differ. They are the server's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    diff: Option<String>,
}

impl PinShown {
    fn of(pin: &Pin) -> Self {
        let difference = pins::difference(pin);
        let risks = difference.iter().flat_map(|(difference, _)| &difference.risks);
        let risks = risks.map(ToString::to_string).collect();
        Self { pin: PinView::of(pin), risks, diff: difference.map(|(_, diff)| diff) }
    }
}

/// Shows a pin, and how what waits differs from what was approved.
#[utoipa::path(get, path = "/api/v1/pins/{id}", tag = "pins", params(("id" = String, Path), Tagged),
    responses((status = 200, body = PinShown)),
    extensions(("x-tollgate-permission" = json!("pins:read"))))]
async fn one(
    may: May<ReadPins>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let found = pins::one(&plane, &may, &named(&id)?).await?;
    Ok(tagged(&headers, &PinShown::of(&found)))
}

/// What is approved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Looked {
    /// The digest of the definition that was looked at: `waiting` of the pin.
    digest: String,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Approves what waits: the very definition that was looked at, and no other that came since. Refused with 409 (`locked`) where a
/// lock file says what is approved.
#[utoipa::path(post, path = "/api/v1/pins/{id}/approve", tag = "pins", params(("id" = String, Path), Seen, Repeatable),
    request_body = Looked, responses((status = 200, body = PinView)),
    extensions(("x-tollgate-permission" = json!("pins:change"))))]
async fn approve(
    may: May<ChangePins>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: looked, bytes }: Input<Looked>,
) -> Result<Response, Problem> {
    let of = named(&id)?;
    pins::one(&plane, &may, &of).await?;
    let sure = may.over(of.tenant.as_ref())?;
    let seen = Seen::of(&headers);
    let fits = move |now: &Pin| seen.fits(&PinShown::of(now));
    let digest = pins::digest(&looked.digest)?;
    let act = {
        let plane = plane.clone();
        async move {
            pins::approve(plane.clone(), sure, of.clone(), (digest, &looked.reason), fits).await?;
            let found = plane.make_store()?.pin(&of).await?;
            let found = found.ok_or_else(|| Problem::not_found("there is no such pin"))?;
            Ok(Made::new(StatusCode::OK, &PinView::of(&found)))
        }
    };
    let what = format!("POST /api/v1/pins/{id}/approve");
    Ok(once(&plane, &may.who, &headers, (&what, &bytes), act).await)
}

/// Forgets a pin: what its server shows next is pinned as if it were seen for the first time.
#[utoipa::path(delete, path = "/api/v1/pins/{id}", tag = "pins", params(("id" = String, Path), Why, Seen),
    responses((status = 204, description = "It is forgotten")),
    extensions(("x-tollgate-permission" = json!("pins:change"))))]
async fn forget(
    may: May<ChangePins>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Asked(why): Asked<Why>,
) -> Result<Response, Problem> {
    let of = named(&id)?;
    pins::one(&plane, &may, &of).await?;
    let sure = may.over(of.tenant.as_ref())?;
    let seen = Seen::of(&headers);
    let fits = move |now: &Pin| seen.fits(&PinShown::of(now));
    let reason = why.reason.unwrap_or_default();
    crate::acts::see_through(async move { pins::forget(plane, sure, of, &reason, fits).await })
        .await
        .map_err(Seen::overtaken(&headers))?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
