//! The MCP Registry API v0.1, to read: what a caller may use here, so that clients can take this gateway as their registry.
//! The API's own document: `docs/reference/api/openapi.yaml` of the MCP Registry, 2025-12-01.
//!
//! Each endpoint that a caller may see something of is a server, whose one remote is the endpoint's address here. Its name is
//! the gateway's host the other way round, and the endpoint's name.

use std::borrow::Cow;

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::{Value, json};
use tollgate_catalog::{Endpoint, Published};
use tollgate_mcp::Segments;
use tollgate_model::{Era, ServerName, Timestamp};
use url::form_urlencoded;

use super::body::Body;
use super::headers;
use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
use crate::stages::{Identified, block, policy};

/// Where the API is.
const PATH: &str = "/v0.1/servers";
/// The `_meta` key of what a registry says.
const OFFICIAL: &str = "io.modelcontextprotocol.registry/official";
/// The schema of what is said of a server.
const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json";
/// The version of what says none.
const VERSION: &str = "1.0.0";
/// How many servers a page has, unless a client says otherwise, and at most.
const LIMIT: usize = 30;
const LIMIT_MAX: usize = 100;
/// How long a description may be there, in characters.
const DESCRIPTION_MAX: usize = 100;

/// What is asked for, if it is of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked<'a> {
    /// All servers.
    Servers,
    /// All versions of one.
    Versions(Cow<'a, str>),
    /// One version of one.
    Version(Cow<'a, str>, Cow<'a, str>),
}

impl<'a> Asked<'a> {
    /// Reads a path without its public prefix.
    pub(crate) fn read(path: &'a str) -> Option<Self> {
        let rest = path.strip_prefix(PATH)?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::Servers);
        }
        // A name has a slash in it, which not everybody encodes.
        let (name, version) = rest.strip_prefix('/')?.rsplit_once("/versions")?;
        let name = decoded(name)?;
        match version.strip_prefix('/') {
            None if version.is_empty() => Some(Self::Versions(name)),
            Some(version) if !version.is_empty() && !version.contains('/') => {
                Some(Self::Version(name, decoded(version)?))
            }
            _ => None,
        }
    }
}

fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        match (first, others) {
            (b'%', [high, low, others @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push(u8::try_from(digit(high)? * 16 + digit(low)?).ok()?);
                rest = others;
            }
            (b'%', _) => return None,
            _ => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// One version of a server, as a registry has it.
struct Entry<'a> {
    name: &'a ServerName,
    published: Option<&'a Published>,
    is_latest: bool,
}

impl Entry<'_> {
    fn version(&self) -> &str {
        self.published.map_or(VERSION, |published| &published.version)
    }

    /// By which entries stand in their order, and pages go on.
    fn place(&self) -> (&str, &str) {
        (self.name.as_str(), self.version())
    }
}

/// Answers a request of a caller who is known.
pub(crate) fn answer<B>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    who: &Identified,
    asked: &Asked<'_>,
    request: &Request<B>,
) -> Response<Body> {
    let host = headers::check_host(request.uri(), request.headers(), &snapshot.settings).unwrap_or_default();
    let base = snapshot.base(gateway.bound(), host);
    let namespace = namespace_of(base);
    let entries = entries(gateway, snapshot, who);
    let is = |entry: &Entry<'_>, name: &str| name.strip_prefix(&namespace) == Some(entry.name.as_str());
    let shown = |entry: &Entry<'_>| shown(entry, &namespace, base);
    match asked {
        Asked::Servers => match Query::read(request.uri().query().unwrap_or_default()) {
            Ok(query) => page(entries, &query, &namespace, base),
            Err(reason) => said(StatusCode::BAD_REQUEST, &json!({ "error": reason })),
        },
        Asked::Versions(name) => {
            let own: Vec<Value> = entries.iter().filter(|entry| is(entry, name)).map(shown).collect();
            if own.is_empty() {
                return not_found("Server not found");
            }
            let count = own.len();
            said(StatusCode::OK, &json!({ "servers": own, "metadata": { "count": count } }))
        }
        Asked::Version(name, version) => {
            let is_version = |entry: &&Entry<'_>| match &**version {
                "latest" => entry.is_latest,
                version => entry.version() == version,
            };
            match entries.iter().filter(|entry| is(entry, name)).find(is_version) {
                Some(entry) => said(StatusCode::OK, &shown(entry)),
                None => not_found("Server or version not found"),
            }
        }
    }
}

/// What a caller may see something of, each server's newest version first.
fn entries<'a>(gateway: &Gateway, snapshot: &'a Snapshot, who: &Identified) -> Vec<Entry<'a>> {
    let tenant = &who.who().tenant;
    let is_seen = |endpoint: &Endpoint| {
        let mut servers = endpoint.servers().iter();
        servers.any(|server| !block::stops_server(gateway, tenant, server))
            && !policy::hides(gateway, who, Era::Modern, endpoint)
    };
    let mut entries = Vec::new();
    for endpoint in snapshot.endpoints(tenant) {
        let Some(name) = endpoint.name().filter(|_| is_seen(endpoint)) else { continue };
        let published =
            snapshot.server(tenant, name).map_or(&[][..], |server| snapshot.published(server.id()));
        let of = |published, is_latest| Entry { name, published, is_latest };
        if published.is_empty() {
            entries.push(of(None, true));
        }
        entries.extend(published.iter().enumerate().map(|(nth, one)| of(Some(one), nth == 0)));
    }
    entries.sort_by_key(|entry| entry.name);
    entries
}

/// What a client wants of all servers.
struct Query {
    search: Option<String>,
    updated_since: Option<Timestamp>,
    version: Option<String>,
    limit: usize,
    /// Behind which entry to go on.
    after: Option<(String, String)>,
}

impl Query {
    fn read(text: &str) -> Result<Self, &'static str> {
        let mut query = Self { search: None, updated_since: None, version: None, limit: LIMIT, after: None };
        for (key, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            match &*key {
                "search" => query.search = Some(value.to_lowercase()),
                "version" => query.version = Some(value.into_owned()),
                "updated_since" => {
                    let time = value.parse().map_err(|_| "updated_since is no RFC 3339 time")?;
                    query.updated_since = Some(time);
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
                    query.limit = limit.ok_or("limit is a number from 1 to 100")?;
                }
                "cursor" => {
                    let (name, version) = value.split_once(':').ok_or("this is no cursor of this list")?;
                    query.after = Some((name.to_owned(), version.to_owned()));
                }
                _ => {}
            }
        }
        Ok(query)
    }

    fn wants(&self, entry: &Entry<'_>, name: &str) -> bool {
        let changed = entry.published.map(|published| published.changed);
        self.search.as_ref().is_none_or(|part| name.to_lowercase().contains(part))
            // Of what the file says nobody knows since when.
            && self.updated_since.is_none_or(|since| changed.is_none_or(|changed| changed >= since))
            && self.version.as_ref().is_none_or(|version| match version.as_str() {
                "latest" => entry.is_latest,
                version => entry.version() == version,
            })
    }
}

fn page(mut entries: Vec<Entry<'_>>, query: &Query, namespace: &str, base: &str) -> Response<Body> {
    // Pages go on by name and version, whatever comes and goes between.
    entries.sort_by(|one, other| one.place().cmp(&other.place()));
    let is_later = |entry: &Entry<'_>| {
        query.after.as_ref().is_none_or(|(name, version)| entry.place() > (name.as_str(), version.as_str()))
    };
    entries.retain(|entry| is_later(entry) && query.wants(entry, &format!("{namespace}{}", entry.name)));
    let is_last = entries.len() <= query.limit;
    entries.truncate(query.limit);
    let mut metadata = json!({ "count": entries.len() });
    if let (false, Some(last)) = (is_last, entries.last()) {
        let (name, version) = last.place();
        metadata["nextCursor"] = format!("{name}:{version}").into();
    }
    let servers: Vec<Value> = entries.iter().map(|entry| shown(entry, namespace, base)).collect();
    said(StatusCode::OK, &json!({ "servers": servers, "metadata": metadata }))
}

/// An entry as the API has it.
fn shown(entry: &Entry<'_>, namespace: &str, base: &str) -> Value {
    let name = entry.name;
    let text = entry.published.and_then(|published| published.description.as_deref());
    let description: String = match text {
        Some(text) => text.chars().take(DESCRIPTION_MAX).collect(),
        None => format!("{name}, through Tollgate"),
    };
    let mut server = json!({
        "$schema": SCHEMA,
        "name": format!("{namespace}{name}"),
        "description": description,
        "title": name.as_str(),
        "version": entry.version(),
        "remotes": [{ "type": "streamable-http", "url": format!("{base}/mcp/{name}") }],
    });
    let mut official = json!({ "status": "active", "isLatest": entry.is_latest });
    if let Some(published) = entry.published {
        if let Some(documentation) = &published.documentation {
            server["websiteUrl"] = (&**documentation).into();
        }
        official["publishedAt"] = published.since.to_string().into();
        official["updatedAt"] = published.changed.to_string().into();
        official["statusChangedAt"] = published.changed.to_string().into();
        if let Some(sunset) = published.sunset {
            official["status"] = "deprecated".into();
            official["statusMessage"] = format!("It will be gone after {sunset}.").into();
        }
    }
    json!({ "server": server, "_meta": { OFFICIAL: official } })
}

/// What names begin with: the host of a URL, its parts the other way round.
fn namespace_of(base: &str) -> String {
    let host = base.split_once("://").map_or(base, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or_default();
    // An address of IPv6 could not stand in a name.
    let host = if host.starts_with('[') { "localhost" } else { host.split(':').next().unwrap_or_default() };
    let is_address = host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let mut parts: Vec<&str> = host.split('.').collect();
    if !is_address {
        parts.reverse();
    }
    format!("{}/", parts.join("."))
}

fn not_found(reason: &str) -> Response<Body> {
    said(StatusCode::NOT_FOUND, &json!({ "error": reason }))
}

/// What one caller may see is nobody else's.
fn said(status: StatusCode, document: &Value) -> Response<Body> {
    let mut response = Response::new(Body::whole(Segments::from(document.to_string().into_bytes())));
    *response.status_mut() = status;
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    map.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_encoded_or_not() {
        let owned = |text: &str| Cow::Owned::<str>(text.to_owned());
        for (path, asked) in [
            ("/v0.1/servers", Some(Asked::Servers)),
            ("/v0.1/servers/", Some(Asked::Servers)),
            ("/v0.1/servers/com.example%2Fcrm/versions", Some(Asked::Versions(owned("com.example/crm")))),
            ("/v0.1/servers/com.example/crm/versions", Some(Asked::Versions(owned("com.example/crm")))),
            (
                "/v0.1/servers/com.example%2fcrm/versions/1.0%2B2",
                Some(Asked::Version(owned("com.example/crm"), owned("1.0+2"))),
            ),
            ("/v0.1/servers/versions", None),
            ("/v0.1/servers/a%2/versions", None),
            ("/v0.1/servers/a%ff/versions", None),
            ("/v0.1/servers/a/versions/1/status", None),
            ("/v0.1/servers/a/versionsx", None),
            ("/v0.1/serversx", None),
            ("/v0.1/publish", None),
        ] {
            assert_eq!(Asked::read(path), asked, "{path}");
        }
    }

    #[test]
    fn a_namespace_is_the_host_the_other_way_round() {
        for (base, namespace) in [
            ("https://tools.example.com", "com.example.tools/"),
            ("https://tools.example.com:8443/gate", "com.example.tools/"),
            ("http://localhost:8080", "localhost/"),
            ("http://127.0.0.1:8080", "127.0.0.1/"),
            ("http://[::1]:8080", "localhost/"),
        ] {
            assert_eq!(namespace_of(base), namespace, "{base}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        for bad in ["limit=0", "limit=101", "limit=x", "updated_since=today", "cursor=x"] {
            assert!(Query::read(bad).is_err(), "{bad}");
        }
        for good in ["", "limit=100", "cursor=&search=", "updated_since=2025-08-07T13:15:04.280Z", "other=1"]
        {
            assert!(Query::read(good).is_ok(), "{good}");
        }
    }
}
