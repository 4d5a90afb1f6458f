//! The data plane over HTTP: what comes before any message is read, and which handler an address leads to.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, VARY,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tollgate_catalog::Endpoint;
use tollgate_model::{Code, Era, Principal, Refusal, Stage, TenantId};

use super::address::{Peer, client_address};
use super::body::Body;
use super::classify::VersionHeader;
use super::{headers, sse, streamable};
use crate::gateway::Gateway;
use crate::refuse;
use crate::reply::Reply;
use crate::snapshot::Snapshot;
use crate::stages::policy;

/// The path of the Streamable HTTP endpoints: `/mcp` and `/mcp/{endpoint}`.
const MCP_PATH: &str = "/mcp";
/// The path of the HTTP+SSE streams: `/sse` and `/sse/{endpoint}`.
const SSE_PATH: &str = "/sse";
/// The path to which HTTP+SSE clients post.
pub(crate) const MESSAGES_PATH: &str = "/messages";

/// Where an address leads. An endpoint is absent if nothing of its name is served.
enum Place {
    Mcp(Option<Arc<Endpoint>>),
    Sse(Option<Arc<Endpoint>>),
    Messages,
    Nowhere,
}

impl Place {
    /// The place as a caller finds it: an endpoint of which it may see nothing is not there.
    fn seen(self, may_see: impl Fn(&Endpoint) -> bool) -> Self {
        let filter = |endpoint: Option<Arc<Endpoint>>| endpoint.filter(|endpoint| may_see(endpoint));
        match self {
            Self::Mcp(endpoint) => Self::Mcp(filter(endpoint)),
            Self::Sse(endpoint) => Self::Sse(filter(endpoint)),
            Self::Messages | Self::Nowhere => self,
        }
    }
}

/// Answers one HTTP request on the data plane. Never fails: what cannot be served is answered with an error.
pub async fn serve_http<B>(gateway: &Gateway, peer: Peer, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    let snapshot = gateway.snapshot();
    let settings = &snapshot.settings;
    let era = VersionHeader::read(request.headers()).era();
    let checked = headers::check_host(request.uri(), request.headers(), settings)
        .and_then(|host| headers::check_origin(request.headers(), host, settings))
        .and_then(|origin| headers::check_query(request.uri()).map(|()| origin))
        .and_then(|origin| headers::check_size(request.headers()).map(|()| origin));
    let origin = match checked {
        Ok(origin) => origin,
        Err(refusal) => {
            let client = client_address(&peer, request.headers(), &settings.trusted_proxies);
            tracing::warn!(%client, refusal = %refusal, "turned away");
            return refused(gateway, &refusal, era, None);
        }
    };
    let mut response = if headers::is_preflight(request.method(), request.headers()) {
        preflight()
    } else if gateway.is_draining() {
        let refusal = Refusal::new(Stage::Transport, Code::Draining, "the gateway is stopping");
        refused(gateway, &refusal, era, None)
    } else {
        let source = client_address(&peer, request.headers(), &settings.trusted_proxies);
        let who = (gateway.local_caller(), source);
        route(gateway, snapshot, who, request, era).await
    };
    if let Some(origin) = origin {
        let map = response.headers_mut();
        map.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        map.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version"),
        );
        map.append(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

async fn route<B>(
    gateway: &Gateway,
    snapshot: Arc<Snapshot>,
    (who, source): (Arc<Principal>, IpAddr),
    request: Request<B>,
    era: Era,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
{
    let path = request.uri().path();
    let path = path.strip_prefix(snapshot.public_prefix.as_str()).unwrap_or(path);
    let place =
        place(&snapshot, &who.tenant, path).seen(|at| !policy::hides(gateway, (&who, source), era, at));
    match (place, request.method()) {
        (Place::Mcp(endpoint), &Method::POST) => {
            streamable::post(gateway, snapshot, (who, source), endpoint, request).await
        }
        (Place::Mcp(endpoint), &Method::GET) => streamable::get(gateway, &snapshot, &who, endpoint, &request),
        (Place::Mcp(endpoint), &Method::DELETE) => streamable::delete(gateway, &who, endpoint, &request),
        (Place::Mcp(_), _) => not_allowed(gateway, era, "POST, GET, DELETE"),
        (Place::Sse(endpoint), &Method::GET) => {
            sse::open(gateway, &snapshot, (who, source), endpoint, &request)
        }
        (Place::Sse(_), _) => not_allowed(gateway, era, "GET"),
        (Place::Messages, &Method::POST) => sse::post(gateway, &who, request).await,
        (Place::Messages, _) => not_allowed(gateway, era, "POST"),
        (Place::Nowhere, _) => {
            let text =
                "nothing is served at this address; MCP endpoints are at /mcp and /mcp/{server or toolset}";
            refused(gateway, &Refusal::new(Stage::Transport, Code::UnknownEndpoint, text), era, None)
        }
    }
}

fn place(snapshot: &Snapshot, tenant: &TenantId, path: &str) -> Place {
    let path = path.strip_suffix('/').unwrap_or(path);
    let below = |root: &str| -> Option<Option<Arc<Endpoint>>> {
        let rest = path.strip_prefix(root)?;
        if rest.is_empty() {
            return Some(snapshot.endpoint_named(tenant, None).cloned());
        }
        let name = rest.strip_prefix('/')?;
        (!name.contains('/')).then(|| snapshot.endpoint_named(tenant, Some(name)).cloned())
    };
    if let Some(endpoint) = below(MCP_PATH) {
        return Place::Mcp(endpoint);
    }
    if let Some(endpoint) = below(SSE_PATH) {
        return Place::Sse(endpoint);
    }
    if path == MESSAGES_PATH { Place::Messages } else { Place::Nowhere }
}

/// The endpoint of an address, which must be there.
pub(crate) fn served(endpoint: Option<Arc<Endpoint>>) -> Result<Arc<Endpoint>, Refusal> {
    endpoint.ok_or_else(policy::no_endpoint)
}

/// A refusal as a response.
pub(crate) fn refused(gateway: &Gateway, refusal: &Refusal, era: Era, id: Option<&Bytes>) -> Response<Body> {
    json(refuse::render(gateway, refusal, era, id))
}

/// A reply that travels alone.
pub(crate) fn json(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::whole(reply.body));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response without a body.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// An event stream.
pub(crate) fn events(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    map.insert(http::header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    map.insert(tollgate_mcp::headers::X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// The HTTP method is not served at this address.
pub(crate) fn not_allowed(gateway: &Gateway, era: Era, allowed: &'static str) -> Response<Body> {
    let text = format!("only {allowed} is served at this address");
    let mut response = refused(gateway, &Refusal::new(Stage::Transport, Code::HttpMethod, text), era, None);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn preflight() -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let map = response.headers_mut();
    map.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
    map.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Content-Type, Accept, Authorization, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name",
        ),
    );
    map.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}
