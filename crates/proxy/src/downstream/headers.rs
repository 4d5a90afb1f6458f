//! The HTTP rules that come before any message is read: `Host`, `Origin`, `Accept`, `Content-Type`.

use http::header::{ACCEPT, ACCESS_CONTROL_REQUEST_METHOD, CONTENT_ENCODING, CONTENT_TYPE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, Method, Uri};
use percent_encoding::percent_decode_str;
use tollgate_model::{Code, Refusal, Stage};

use crate::settings::ProxySettings;

fn refuse(code: Code, text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Stage::Transport, code, text)
}

/// Refuses a `Host` that is not this gateway's. A web page that has pointed a name of its own at this address (DNS
/// rebinding) is found out by it.
pub(crate) fn check_host<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    settings: &ProxySettings,
) -> Result<&'a str, Refusal> {
    // HTTP/2 carries it in `:authority`.
    if headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(refuse(Code::Host, "there is more than one `Host` header")); // RFC 9112, section 3.2
    }
    let named = match uri.authority() {
        Some(authority) => authority.as_str(),
        None => headers.get(HOST).and_then(|value| value.to_str().ok()).unwrap_or_default(),
    };
    let host = host_of(named);
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || host
            .trim_matches(['[', ']'])
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
    let public = settings.public_url.as_deref().and_then(authority_of);
    let is_known = is_loopback
        || public.is_some_and(|public| same_host(public, named))
        || settings.allowed_hosts.iter().any(|allowed| same_host(allowed, named));
    if is_known {
        return Ok(named);
    }
    Err(refuse(Code::Host, "this gateway is not known by the name in the `Host` header"))
}

/// `allowed` with a port must match whole; without one it allows every port.
fn same_host(allowed: &str, named: &str) -> bool {
    allowed.eq_ignore_ascii_case(named)
        || (host_of(allowed) == allowed && allowed.eq_ignore_ascii_case(host_of(named)))
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn authority_of(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    Some(rest.split(['/', '?', '#']).next().unwrap_or(rest))
}

/// Refuses a browser origin that is not allowed. The gateway's own origin is.
pub(crate) fn check_origin(
    headers: &HeaderMap,
    host: &str,
    settings: &ProxySettings,
) -> Result<Option<HeaderValue>, Refusal> {
    let Some(value) = headers.get(ORIGIN) else { return Ok(None) };
    let origin = value.to_str().unwrap_or_default();
    let own = ["http://", "https://"].iter().any(|scheme| {
        origin.strip_prefix(scheme).is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    });
    let public = settings.public_url.as_deref().is_some_and(|url| {
        authority_of(origin).is_some()
            && authority_of(origin) == authority_of(url)
            && origin.split("://").next() == url.split("://").next()
    });
    if own || public || settings.allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin)) {
        return Ok(Some(value.clone()));
    }
    Err(refuse(Code::Origin, "requests from this `Origin` are not allowed"))
}

/// Whether this is a browser asking what it may send (the Fetch standard, CORS preflight).
pub(crate) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS
        && headers.contains_key(ORIGIN)
        && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a client takes as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepts {
    pub(crate) json: bool,
    pub(crate) events: bool,
}

/// Reads `Accept`. Without the header everything is taken (RFC 9110, 12.5.1).
pub(crate) fn accepts(headers: &HeaderMap) -> Accepts {
    let mut values = headers.get_all(ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Accepts { json: true, events: true };
    }
    let mut accepts = Accepts { json: false, events: false };
    for value in values {
        for range in value.to_str().unwrap_or_default().split(',') {
            match media_type(range) {
                "*/*" => accepts = Accepts { json: true, events: true },
                range if range.eq_ignore_ascii_case("application/json") => accepts.json = true,
                range if range.eq_ignore_ascii_case("application/*") => accepts.json = true,
                range if range.eq_ignore_ascii_case("text/event-stream") => accepts.events = true,
                range if range.eq_ignore_ascii_case("text/*") => accepts.events = true,
                _ => {}
            }
        }
    }
    accepts
}

/// Refuses a client that takes neither way of answering.
pub(crate) fn check_accept(headers: &HeaderMap) -> Result<Accepts, Refusal> {
    let accepts = accepts(headers);
    if accepts.json || accepts.events {
        return Ok(accepts);
    }
    Err(refuse(Code::NotAcceptable, "`Accept` must list `application/json` and `text/event-stream`"))
}

/// Refuses a body that does not say that it is JSON, or says that it is encoded, as none is decoded (RFC 9110, section 15.5.16).
pub(crate) fn check_content_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_plain = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"identity");
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Err(refuse(
            Code::MediaType,
            "a body with a `Content-Encoding` is not taken: send it as it is",
        ));
    }
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if media_type(value).eq_ignore_ascii_case("application/json") {
        return Ok(());
    }
    Err(refuse(Code::MediaType, "`Content-Type` must be `application/json`"))
}

fn media_type(value: &str) -> &str {
    value.split(';').next().unwrap_or_default().trim()
}

/// The most that all `Mcp-*` headers of a request may have together, in bytes. Whole heads have a bound too, but a wider
/// one.
const MCP_HEADERS_BYTES_MAX: usize = 32 * 1024;

/// Headers that are decoded and compared are bounded before anything is done with them (SEP-2243, security).
pub(crate) fn check_size(headers: &HeaderMap) -> Result<(), Refusal> {
    let of_ours = headers.iter().filter(|(name, _)| name.as_str().starts_with("mcp-"));
    let bytes: usize = of_ours.map(|(name, value)| name.as_str().len() + value.len()).sum();
    if bytes <= MCP_HEADERS_BYTES_MAX {
        return Ok(());
    }
    Err(refuse(Code::HeadersTooLarge, "the `Mcp-*` headers are together larger than 32 KiB"))
}

/// A token in an address ends up in logs and histories, so that none is taken there (2026-07-28, authorization, access
/// token usage).
pub(crate) fn check_query(uri: &Uri) -> Result<(), Refusal> {
    let mut names = uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    if names.all(|name| percent_decode_str(name).ne(*b"access_token")) {
        return Ok(());
    }
    let text = "a token must not stand in the URL: send it in the `Authorization` header";
    Err(refuse(Code::InvalidRequest, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ProxySettings {
        ProxySettings {
            public_url: Some("https://tools.example.com/gate".to_owned()),
            allowed_hosts: vec!["gate.internal".to_owned(), "exact.internal:99".to_owned()],
            allowed_origins: vec!["https://app.example.com".to_owned()],
            ..ProxySettings::default()
        }
    }

    #[test]
    fn only_known_hosts() {
        let allowed = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().expect("a value"));
            check_host(&Uri::from_static("/mcp"), &headers, &settings()).is_ok()
        };
        for host in [
            "localhost:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "tools.example.com",
            "gate.internal:1",
            "exact.internal:99",
        ] {
            assert!(allowed(host), "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "exact.internal:98", "127.0.0.1.evil.example", ""]
        {
            assert!(!allowed(host), "{host}");
        }
    }

    #[test]
    fn only_known_origins() {
        let allowed = |origin: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(ORIGIN, origin.parse().expect("a value"));
            check_origin(&headers, "localhost:8080", &settings()).is_ok()
        };
        for origin in ["http://localhost:8080", "https://app.example.com", "https://tools.example.com"] {
            assert!(allowed(origin), "{origin}");
        }
        for origin in ["null", "http://evil.example", "http://localhost:9999", "http://tools.example.com", ""]
        {
            assert!(!allowed(origin), "{origin}");
        }
        assert!(check_origin(&HeaderMap::new(), "localhost", &settings()).is_ok(), "no browser, no origin");
    }

    #[test]
    fn only_json_as_it_is() {
        let taken = |kind: &'static str, encoding: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            headers.extend(encoding.map(|encoding| (CONTENT_ENCODING, HeaderValue::from_static(encoding))));
            check_content_type(&headers).is_ok()
        };
        assert!(
            taken("application/json", None) && taken("Application/JSON; charset=utf-8", Some("identity"))
        );
        assert!(!taken("application/json", Some("gzip")) && !taken("text/plain", None));
    }

    #[test]
    fn accept_is_read_as_http_reads_it() {
        let accepts = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(value));
            let accepts = accepts(&headers);
            (accepts.json, accepts.events)
        };
        assert_eq!(accepts("application/json, text/event-stream"), (true, true));
        assert_eq!(accepts("application/json;q=0.9"), (true, false));
        assert_eq!(accepts("*/*"), (true, true));
        assert_eq!(accepts("text/html"), (false, false));
    }
}
