//! Who asks, how the gateway does, and how it is set up.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use super::access::GrantView;
use super::{Tagged, json, tagged};
use crate::degraded;
use crate::front::{Known, Shared};
use crate::problem::Problem;
use crate::roles::{self, May, ReadOverview, ReadSettings};

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/whoami", get(whoami))
        .route("/api/v1/overview", get(overview))
        .route("/api/v1/settings", get(settings))
}

/// Whoever asks.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Whoami {
    /// What they are called.
    name: String,
    /// As the record has them.
    by: String,
    /// How they came in: `oidc`, `key` or `link`.
    how: String,
    /// What they are, and where.
    grants: Vec<GrantView>,
    /// What they may, somewhere: `blocks:change`.
    permissions: Vec<String>,
    /// What writes of a browser have to show as `X-CSRF-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    csrf_token: Option<String>,
}

/// Says who asks, and what they may.
#[utoipa::path(get, path = "/api/v1/whoami", tag = "about", responses((status = 200, body = Whoami)),
    extensions(("x-tollgate-permission" = json!(null))))]
async fn whoami(Known(who): Known) -> Response {
    let permissions = roles::all()
        .filter(|(resource, act)| who.may(*resource, *act))
        .map(|(resource, act)| format!("{}:{}", resource.as_str(), act.as_str()));
    let shown = Whoami {
        name: who.name.to_string(),
        by: who.by.to_string(),
        how: who.how.to_string(),
        grants: who.grants.iter().map(GrantView::of).collect(),
        permissions: permissions.collect(),
        csrf_token: who.csrf.as_ref().map(ToString::to_string),
    };
    json(http::StatusCode::OK, serde_json::to_string(&shown).unwrap_or_default())
}

/// How the gateway does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Overview {
    /// Whether clients are served.
    ready: bool,
    /// `starting`, `serving` or `draining`.
    state: &'static str,
    /// What does not work, with its reason.
    degraded: Vec<serde_json::Value>,
    /// How many servers there are, of those that whoever asks may see.
    servers: usize,
    /// How many of them do not answer.
    servers_down: usize,
}

/// Says how the gateway does.
#[utoipa::path(get, path = "/api/v1/overview", tag = "about", responses((status = 200, body = Overview)),
    extensions(("x-tollgate-permission" = json!("overview:read"))))]
async fn overview(may: May<ReadOverview>, State(plane): State<Shared>) -> Response {
    let mut snapshot = plane.snapshot();
    snapshot.servers.retain(|line| may.sees(line.server.holder().tenant()));
    let is_down = |line: &&crate::ServerLine| matches!(line.reach, crate::ServerReach::Down { .. });
    let shown = Overview {
        ready: snapshot.is_ready(),
        state: snapshot.standing.as_str(),
        degraded: degraded::of(&snapshot),
        servers: snapshot.servers.len(),
        servers_down: snapshot.servers.iter().filter(is_down).count(),
    };
    json(http::StatusCode::OK, serde_json::to_string(&shown).unwrap_or_default())
}

/// A setting.
#[derive(Debug, Serialize, ToSchema)]
struct Setting {
    /// Its name.
    name: &'static str,
    /// Its value; never a secret.
    value: String,
}

/// Says how the gateway is set up. Secrets never show.
#[utoipa::path(get, path = "/api/v1/settings", tag = "about", params(Tagged), responses((status = 200, body = Vec<Setting>)),
    extensions(("x-tollgate-permission" = json!("settings:read"))))]
async fn settings(
    may: May<ReadSettings>,
    State(plane): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    // They are the whole process's.
    may.over(None)?;
    let configured = plane.parts()?.configured;
    let shown = configured.settings.iter().map(|(name, value)| Setting { name, value: value.clone() });
    Ok(tagged(&headers, &shown.collect::<Vec<_>>()))
}
