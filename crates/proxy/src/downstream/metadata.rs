//! Protected resource metadata (RFC 9728): where a client finds out by whose tokens it can come in.
//!
//! Served to anyone, of any web origin, and for every name that an endpoint could have: it says nothing of what is there.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE,
};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tollgate_identity::METADATA_PATH;
use tollgate_mcp::Segments;
use tollgate_model::{Code, Refusal, Stage};

use super::body::Body;
use super::front::{empty, refused};
use super::headers;
use crate::gateway::Gateway;
use crate::resource::{Address, Family, Name};
use crate::snapshot::Snapshot;
use crate::stages::record::Early;

/// How long clients may keep a document.
const FRESH: HeaderValue = HeaderValue::from_static("public, max-age=300");
const METHODS: &str = "GET, HEAD, OPTIONS";

/// The path behind the well-known one, if a request is for metadata. A public prefix stands behind the well-known path,
/// as RFC 9728, section 3.1, wants it; or before it, if a reverse proxy forwards nothing else.
pub(crate) fn path_of<'a>(path: &'a str, public_prefix: &str) -> Option<&'a str> {
    let inner = path.strip_prefix(public_prefix).unwrap_or(path);
    let rest = path.strip_prefix(METADATA_PATH).or_else(|| inner.strip_prefix(METADATA_PATH))?;
    if !rest.is_empty() && !rest.starts_with('/') {
        return None;
    }
    Some(rest.strip_prefix(public_prefix).unwrap_or(rest))
}

/// Answers a request for metadata.
pub(crate) async fn answer<B>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    (host, path): (&str, &str),
    request: &Request<B>,
    stranger: Early<'_>,
) -> Response<Body> {
    let mut response = match *request.method() {
        Method::GET | Method::HEAD => document(gateway, snapshot, (host, path), stranger).await,
        Method::OPTIONS => options(headers::is_preflight(request.method(), request.headers())),
        _ => {
            let text = format!("only {METHODS} is served at this address");
            let refusal = Refusal::new(Stage::Transport, Code::HttpMethod, text);
            let mut response = refused(gateway, &refusal, stranger, None).await;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(METHODS));
            response
        }
    };
    response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

async fn document(
    gateway: &Gateway,
    snapshot: &Snapshot,
    (host, path): (&str, &str),
    stranger: Early<'_>,
) -> Response<Body> {
    // Clients that find nothing at an endpoint's own address look at the root (2025-11-25, authorization).
    let address = match path {
        "" | "/" => Some(Address { family: Family::Mcp, name: Name::Merged }),
        path => Address::read(path),
    };
    let served = |address: &Address<'_>| {
        matches!(address.family, Family::Mcp | Family::Sse) && address.name != Name::Impossible
    };
    let document = address.filter(served).and_then(|address| {
        snapshot.identity.metadata(&address.resource(snapshot.base(gateway.bound(), host)))
    });
    let Some(document) = document else {
        let text = "there is no protected resource metadata at this address";
        let refusal = Refusal::new(Stage::Transport, Code::UnknownEndpoint, text);
        return refused(gateway, &refusal, stranger, None).await;
    };
    let mut response = Response::new(Body::whole(Segments::from(document)));
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(CACHE_CONTROL, FRESH);
    response
}

fn options(is_preflight: bool) -> Response<Body> {
    let mut response = empty(StatusCode::NO_CONTENT);
    let map = response.headers_mut();
    map.insert(ALLOW, HeaderValue::from_static(METHODS));
    if is_preflight {
        map.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
        // Browsers' clients send the revision that they speak with every request.
        map.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Accept, Content-Type, Authorization, MCP-Protocol-Version"),
        );
        map.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_prefix_may_stand_before_or_behind_the_well_known_path() {
        let well_known = |rest: &str| format!("/.well-known/oauth-protected-resource{rest}");
        let path = |path: &str, prefix: &str| path_of(path, prefix).map(str::to_owned);
        assert_eq!(path(&well_known("/mcp/files"), "").as_deref(), Some("/mcp/files"));
        assert_eq!(path(&well_known(""), "").as_deref(), Some(""));
        assert_eq!(path(&well_known("/gate/mcp"), "/gate").as_deref(), Some("/mcp"));
        assert_eq!(path(&format!("/gate{}", well_known("/mcp")), "/gate").as_deref(), Some("/mcp"));
        assert_eq!(path(&well_known("x"), ""), None);
        assert_eq!(path("/mcp", ""), None);
    }
}
