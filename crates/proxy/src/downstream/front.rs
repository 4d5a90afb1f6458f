//! The data plane over HTTP: what comes before any message is read, and which handler an address leads to.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    CONTENT_TYPE, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use tollgate_catalog::Endpoint;
use tollgate_identity::NotKnown;
use tollgate_mcp::{headers as names, methods};
use tollgate_model::{Code, Era, Refusal, Stage, TenantId};

use super::address::{Peer, client_address};
use super::body::Body;
use super::classify::VersionHeader;
use super::registry::{self, Asked};
use super::taken::{self, Broken, Turned};
use super::{headers, intake, limited, metadata, sse, streamable};
use crate::gateway::Gateway;
use crate::load;
use crate::refuse;
use crate::reply::Reply;
use crate::resource::{Address, Family, Name};
use crate::snapshot::Snapshot;
use crate::stages::record::Early;
use crate::stages::{Identified, block, identify, policy};

/// Where an address leads. An endpoint is absent if nothing of its name is served.
enum Place {
    Mcp(Option<Arc<Endpoint>>),
    Sse(Option<Arc<Endpoint>>),
    Messages(Option<Arc<Endpoint>>),
    Registry,
    Nowhere,
}

impl Place {
    /// The place as a caller finds it: an endpoint of which it may see nothing is not there.
    fn seen(self, may_see: impl Fn(&Endpoint) -> bool) -> Self {
        let filter = |endpoint: Option<Arc<Endpoint>>| endpoint.filter(|endpoint| may_see(endpoint));
        match self {
            Self::Mcp(endpoint) => Self::Mcp(filter(endpoint)),
            Self::Sse(endpoint) => Self::Sse(filter(endpoint)),
            Self::Messages(_) | Self::Registry | Self::Nowhere => self,
        }
    }
}

/// Answers one HTTP request on the data plane. Never fails: what cannot be served is answered with an error.
pub async fn serve_http<B>(gateway: &Gateway, peer: Peer, request: Request<B>) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let snapshot = gateway.snapshot();
    let settings = &snapshot.settings;
    let era = VersionHeader::read(request.headers()).era();
    let path = request.uri().path();
    let metadata = metadata::path_of(path, &snapshot.public_prefix);
    let checked = headers::check_host(request.uri(), request.headers(), settings).and_then(|host| {
        // Metadata is for every origin.
        let origin = match metadata {
            Some(_) => None,
            None => headers::check_origin(request.headers(), host, settings)?,
        };
        headers::check_query(request.uri())?;
        headers::check_size(request.headers())?;
        Ok((host, origin))
    });
    let (host, origin) = match checked {
        Ok(checked) => checked,
        Err(refusal) => {
            let client = client_address(&peer, request.headers(), &settings.trusted_proxies);
            tracing::warn!(%client, refusal = %refusal, "turned away");
            return refused(gateway, &refusal, Early::stranger(client, era), None).await;
        }
    };
    let stranger = |request: &Request<B>| {
        let source = client_address(&peer, request.headers(), &snapshot.settings.trusted_proxies);
        Early::stranger(source, era)
    };
    if let Some(path) = metadata {
        let answer = metadata::answer(gateway, &snapshot, (host, path), &request, stranger(&request));
        return Box::pin(answer).await;
    }
    let mut response = if headers::is_preflight(request.method(), request.headers()) {
        preflight(request.headers())
    } else if gateway.refuses() {
        let refusal = Refusal::new(Stage::Transport, Code::Draining, "the gateway is stopping");
        refused(gateway, &refusal, stranger(&request), None).await
    } else {
        let path = path.strip_prefix(snapshot.public_prefix.as_str()).unwrap_or(path);
        match address_of(path) {
            Some(address) => {
                let resource = (!snapshot.identity.is_off())
                    .then(|| address.resource(snapshot.base(gateway.bound(), host)));
                serve(gateway, &snapshot, &peer, resource.as_deref(), request, era).await
            }
            None => refused(gateway, &nowhere(), stranger(&request), None).await,
        }
    };
    if let Some(origin) = origin {
        let map = response.headers_mut();
        map.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        map.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(
                "Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy",
            ),
        );
        map.append(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Serves a request at an address, if there is room for it.
async fn serve<B>(
    gateway: &Gateway,
    snapshot: &Arc<Snapshot>,
    peer: &Peer,
    resource: Option<&str>,
    request: Request<B>,
    era: Era,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
{
    let source = client_address(peer, request.headers(), &snapshot.settings.trusted_proxies);
    let listens =
        request.headers().get(names::MCP_METHOD).is_some_and(|name| name == methods::SUBSCRIPTIONS_LISTEN);
    let (request, work) = match taken::take(gateway, &snapshot.settings, request).await {
        Ok(taken) => taken,
        Err(Turned(id)) => {
            gateway.load().hold_back().await;
            return refused(gateway, &load::overloaded(), Early::stranger(source, era), id.as_ref()).await;
        }
    };
    let response = match identify(gateway, snapshot, peer, &request, resource).await {
        Ok(who) => {
            let path = request.uri().path();
            let path = path.strip_prefix(snapshot.public_prefix.as_str()).unwrap_or(path);
            let place = address_of(path).map_or(Place::Nowhere, |at| place(snapshot, &who.who().tenant, at));
            let mut response = route(gateway, Arc::clone(snapshot), who, place, request, era).await;
            if let Some(resource) = resource {
                // One who is known is told this only where the proof was taken back meanwhile.
                if response.status() == StatusCode::UNAUTHORIZED {
                    challenge(&mut response, &snapshot.identity.taken_back(resource));
                }
                ask_for_scopes(&mut response, snapshot, resource);
            }
            response
        }
        Err(not_known) => {
            intake::discard(request.into_body()).await;
            Box::pin(unknown(gateway, &not_known, Early::stranger(source, era))).await
        }
    };
    match work {
        // Who listens is counted among the listeners.
        Some(work) if !listens => response.map(|body| body.keeping(work)),
        _ => response,
    }
}

/// Who calls, by what the request says before its body, and by its connection. `resource`: none while identity is off.
async fn identify<B>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    peer: &Peer,
    request: &Request<B>,
    resource: Option<&str>,
) -> Result<Identified, Box<NotKnown>> {
    let source = client_address(peer, request.headers(), &snapshot.settings.trusted_proxies);
    let Some(resource) = resource else { return identify::on_loopback(gateway, peer, source) };
    identify::over_http(gateway, snapshot, (peer, request.headers()), source, resource).await
}

async fn route<B>(
    gateway: &Gateway,
    snapshot: Arc<Snapshot>,
    who: Identified,
    place: Place,
    request: Request<B>,
    era: Era,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Broken> + Send + 'static,
{
    let place = place.seen(|at| !policy::hides(gateway, &who, era, at));
    // A message is read first, so that its answer can be told from others.
    if request.method() != Method::POST
        && let Err(refusal) = block::admit(gateway, who.who())
    {
        return refused(gateway, &refusal, Early::known(&who, era), None).await;
    }
    // What is rare, on the heap.
    match (place, request.method()) {
        (Place::Mcp(endpoint), &Method::POST) => {
            streamable::post(gateway, snapshot, who, endpoint, request).await
        }
        (Place::Mcp(endpoint), &Method::GET) => {
            Box::pin(streamable::get(gateway, &snapshot, &who, endpoint, &request)).await
        }
        (Place::Mcp(endpoint), &Method::DELETE) => {
            Box::pin(streamable::delete(gateway, &who, endpoint, &request)).await
        }
        (Place::Mcp(_), _) => not_allowed(gateway, Early::known(&who, era), "POST, GET, DELETE").await,
        (Place::Sse(endpoint), &Method::GET) => {
            Box::pin(sse::open(gateway, &snapshot, &who, endpoint, &request)).await
        }
        (Place::Registry, &Method::GET) => {
            let path = request.uri().path();
            match Asked::read(path.strip_prefix(snapshot.public_prefix.as_str()).unwrap_or(path)) {
                Some(asked) => registry::answer(gateway, &snapshot, &who, &asked, &request),
                None => refused(gateway, &nowhere(), Early::known(&who, era), None).await,
            }
        }
        (Place::Sse(_) | Place::Registry, _) => not_allowed(gateway, Early::known(&who, era), "GET").await,
        (Place::Messages(endpoint), &Method::POST) => {
            Box::pin(sse::post(gateway, who, endpoint, request)).await
        }
        (Place::Messages(_), _) => not_allowed(gateway, Early::known(&who, era), "POST").await,
        (Place::Nowhere, _) => refused(gateway, &nowhere(), Early::known(&who, era), None).await,
    }
}

/// What an address leads to, a registry's among them.
fn address_of(path: &str) -> Option<Address<'_>> {
    let is_registry = || Asked::read(path).is_some();
    let registry = Address { family: Family::Registry, name: Name::Merged };
    Address::read(path).or_else(|| is_registry().then_some(registry))
}

fn nowhere() -> Refusal {
    let text = "nothing is served at this address; MCP endpoints are at /mcp and /mcp/{server or toolset}";
    Refusal::new(Stage::Transport, Code::UnknownEndpoint, text)
}

fn place(snapshot: &Snapshot, tenant: &TenantId, address: Address<'_>) -> Place {
    let endpoint = match address.name {
        Name::Merged => snapshot.endpoint_named(tenant, None),
        Name::Endpoint(name) => snapshot.endpoint_named(tenant, Some(name)),
        Name::Impossible => return Place::Nowhere,
    };
    let endpoint = endpoint.cloned();
    match address.family {
        Family::Mcp => Place::Mcp(endpoint),
        Family::Sse => Place::Sse(endpoint),
        Family::Messages => Place::Messages(endpoint),
        Family::Registry => Place::Registry,
    }
}

/// The answer to who is not let in.
async fn unknown(gateway: &Gateway, not_known: &NotKnown, early: Early<'_>) -> Response<Body> {
    let mut response = refused(gateway, &not_known.refusal, early, None).await;
    if let Some(text) = &not_known.challenge {
        challenge(&mut response, text);
    }
    if let Some(seconds) = not_known.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// Completes the challenge of a response to one whose token was not granted for the request: so far it has the scopes that
/// are needed, and no address.
fn ask_for_scopes(response: &mut Response<Body>, snapshot: &Snapshot, resource: &str) {
    if response.status() != StatusCode::FORBIDDEN {
        return;
    }
    let Some(scopes) = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok()) else {
        return;
    };
    let scopes: Vec<Arc<str>> = scopes.split(' ').map(Arc::from).collect();
    if let Some(text) = snapshot.identity.insufficient_scope(resource, &scopes).challenge {
        challenge(response, &text);
    }
}

fn challenge(response: &mut Response<Body>, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        response.headers_mut().insert(WWW_AUTHENTICATE, value);
    }
}

/// The endpoint of an address, which must be there.
pub(crate) fn served(endpoint: Option<Arc<Endpoint>>) -> Result<Arc<Endpoint>, Refusal> {
    endpoint.ok_or_else(policy::no_endpoint)
}

/// A refusal of what the stages never had, as a response. On the heap: it is waited for at a dozen places, of which none must
/// make every request's state large.
pub(crate) fn refused<'a>(
    gateway: &'a Gateway,
    refusal: &'a Refusal,
    early: Early<'a>,
    id: Option<&'a Bytes>,
) -> Pin<Box<dyn Future<Output = Response<Body>> + Send + 'a>> {
    Box::pin(async move { json(refuse::early(gateway, refusal, early, id).await) })
}

/// A reply that travels alone.
pub(crate) fn json(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::whole(reply.body).holding(reply.places));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if !reply.scopes.is_empty() {
        challenge(&mut response, &reply.scopes.join(" "));
    }
    if let Some(exceeded) = &reply.exceeded {
        limited::write(response.headers_mut(), exceeded);
    }
    if let Some(wait) = reply.retry_after {
        limited::write_wait(response.headers_mut(), wait);
    }
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
pub(crate) async fn not_allowed(
    gateway: &Gateway,
    early: Early<'_>,
    allowed: &'static str,
) -> Response<Body> {
    let text = format!("only {allowed} is served at this address");
    let refusal = Refusal::new(Stage::Transport, Code::HttpMethod, text);
    let mut response = refused(gateway, &refusal, early, None).await;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

/// What a browser may send. Which arguments are repeated as headers, the schemas of tools say, so that those are allowed that
/// are asked for.
fn preflight(asked: &HeaderMap) -> Response<Body> {
    let mut allowed = "Content-Type, Accept, Authorization, Last-Event-ID, MCP-Protocol-Version, Mcp-Session-Id, Mcp-Method, Mcp-Name".to_owned();
    let asked = asked.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let asked = asked.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    for name in asked.filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok()) {
        if name.as_str().starts_with(names::MCP_PARAM_PREFIX) {
            allowed += ", ";
            allowed += name.as_str();
        }
    }
    let mut response = empty(StatusCode::NO_CONTENT);
    let map = response.headers_mut();
    map.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
    if let Ok(allowed) = HeaderValue::try_from(allowed) {
        map.insert(ACCESS_CONTROL_ALLOW_HEADERS, allowed);
    }
    map.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    fn size_of_answer<'a, F>(_: fn(&'a Gateway, Peer, Request<Full<Bytes>>) -> F) -> usize {
        size_of::<F>()
    }

    /// Every request has one of these on the heap, and it is moved there whole. What is rare belongs into a box of its own.
    #[test]
    fn a_request_on_its_way_in_is_small() {
        let bytes = size_of_answer(serve_http::<Full<Bytes>>);
        assert!(bytes <= 6 * 1024 + 512, "{bytes} bytes");
    }
}
