//! Servers, and what they last listed.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tollgate_model::{ServerName, TenantId};
use tollgate_store::{Definitions, DefinitionsOf, List};
use utoipa::{IntoParams, ToSchema};

use super::{Asked, Page, Paging, pack, tagged, time};
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadServers, ReadTools};
use crate::{ServerLine, ServerReach};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/servers", get(list)).route("/api/v1/tools", get(tools))
}

/// A server behind the gateway.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Server)]
pub(crate) struct ServerView {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is; absent if it is every tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// `http`, `sse` or `stdio`.
    pub(crate) transport: &'static str,
    /// Where it is said: `file`.
    pub(crate) origin: &'static str,
    /// `up`, `down` or `unknown`, as last seen.
    pub(crate) state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Since when it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// The revision of the protocol that is spoken with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<&'static str>,
    /// Its sessions or processes.
    pub(crate) instances: u64,
    /// How often one was started again.
    pub(crate) restarts: u64,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// How dangerous it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) risk: Option<String>,
}

impl ServerView {
    fn of(line: &ServerLine, plane: &Plane) -> Self {
        let card = plane.parts().ok().and_then(|parts| {
            parts.configured.servers.iter().find(|card| card.server == line.server).cloned()
        });
        let text = |text: Option<&std::sync::Arc<str>>| text.map(ToString::to_string);
        let (state, reason, since, revision) = match &line.reach {
            ServerReach::Unknown => ("unknown", None, None, None),
            ServerReach::Up { revision } => ("up", None, None, Some(*revision)),
            ServerReach::Down { reason, since, .. } => {
                ("down", Some(reason.to_string()), Some(time(*since)), None)
            }
        };
        Self {
            name: line.server.name().to_string(),
            tenant: line.server.holder().tenant().map(|tenant| tenant.as_str().to_owned()),
            transport: line.transport,
            origin: "file",
            state,
            reason,
            since,
            revision,
            instances: line.instances,
            restarts: line.restarts,
            owner: text(card.as_ref().and_then(|card| card.owner.as_ref())),
            environment: text(card.as_ref().and_then(|card| card.environment.as_ref())),
            risk: text(card.as_ref().and_then(|card| card.risk.as_ref())),
        }
    }
}

/// The servers that whoever asks may see.
pub(crate) fn servers<P: Permission>(plane: &Plane, may: &May<P>) -> Vec<ServerView> {
    let lines = plane.snapshot().servers;
    let seen = lines.iter().filter(|line| may.sees(line.server.holder().tenant()));
    seen.map(|line| ServerView::of(line, plane)).collect()
}

/// Lists the servers, and how they do.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", params(Paging),
    responses((status = 200, body = Page<ServerView>)),
    extensions(("x-tollgate-permission" = json!("servers:read"))))]
async fn list(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let cursor = |one: &ServerView| pack(&[one.tenant.as_deref().unwrap_or_default(), &one.name]);
    Ok(tagged(&headers, &paging.cut(servers(&plane, &may), cursor)?))
}

/// Which tools.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The server.
    server: String,
    /// The tenant whose it is; every tenant's if absent.
    tenant: Option<String>,
    /// `tools`, `prompts`, `resources` or `resource_templates`: `tools` if absent.
    list: Option<String>,
}

/// What a server last listed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// The digest of all that it listed.
    digest: String,
    /// Since when it lists just that.
    seen: String,
    /// Each as the server wrote it. Whatever stands in it are the server's words, and nobody else's.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// What to ask for as `after` to have the next; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a server last listed, if whoever asks may see the server.
pub(crate) async fn definitions<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    (tenant, server, list): (Option<&str>, &str, List),
) -> Result<Definitions, Problem> {
    let missing = || Problem::not_found("nothing of this server is known");
    let tenant = tenant.filter(|tenant| !tenant.is_empty()).map(TenantId::new);
    if !may.sees(tenant.as_ref()) {
        return Err(missing());
    }
    let server = ServerName::new(server).map_err(|_| missing())?;
    let store = plane.store()?.ok_or_else(missing)?;
    let found = store.definitions(&DefinitionsOf { tenant, server, list }).await?;
    found.ok_or_else(missing)
}

/// Lists what a server last listed.
#[utoipa::path(get, path = "/api/v1/tools", tag = "servers", params(Which, Paging),
    responses((status = 200, body = Listed)),
    extensions(("x-tollgate-permission" = json!("tools:read"))))]
async fn tools(
    may: May<ReadTools>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let list = List::from_stored(which.list.as_deref().unwrap_or("tools"));
    let list =
        list.ok_or_else(|| Problem::invalid("list: tools, prompts, resources or resource_templates"))?;
    let found = definitions(&plane, &may, (which.tenant.as_deref(), &which.server, list)).await?;
    let all = found
        .items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((at, serde_json::from_slice(item).ok()?)));
    let page = paging.cut(all.collect(), |(at, _): &(usize, Box<RawValue>)| at.to_string())?;
    let items = page.items.into_iter().map(|(_, item)| item).collect();
    let shown = Listed { digest: found.digest.to_string(), seen: time(found.seen), items, next: page.next };
    Ok(tagged(&headers, &shown))
}
