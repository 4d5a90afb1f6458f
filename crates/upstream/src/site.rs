//! The URL of a server and how requests to it look.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, RETRY_AFTER};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tollgate_mcp::{Kind, Limits, Message, Segments, headers, methods};
use tollgate_model::Revision;

use crate::http::{Client, ClientLimits, HttpError, Origin, Outgoing, Reply, Target, tls_config};
use crate::replica::Replica;
use crate::shared::Shared;
use crate::{HttpSettings, Outbound, ReplicaSettings, ServerSettings, SettingsError, UpstreamError};

pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(headers::MCP_PROTOCOL_VERSION);
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static(headers::MCP_SESSION_ID);
pub(crate) const LAST_EVENT_ID: HeaderName = HeaderName::from_static(headers::LAST_EVENT_ID);
const METHOD: HeaderName = HeaderName::from_static(headers::MCP_METHOD);
const NAME: HeaderName = HeaderName::from_static(headers::MCP_NAME);
const JSON: HeaderValue = HeaderValue::from_static(headers::APPLICATION_JSON);
const EVENTS: HeaderValue = HeaderValue::from_static(headers::TEXT_EVENT_STREAM);
const EITHER: HeaderValue = HeaderValue::from_static("application/json, text/event-stream");

/// The most that is read of a body that only explains a refusal, or that nobody asked for.
const ASIDE_BYTES_MAX: usize = 64 << 10;
/// How long a connection is kept that nobody uses: less than servers keep it. Those of Node.js and of uvicorn close it after 5 s, and
/// a call that leaves at that very moment is lost, with nobody knowing whether it was carried out.
const CONNECTION_IDLE_MAX: Duration = Duration::from_secs(4);

/// One place of a server with a URL.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    /// What is known of what is there.
    pub(crate) replica: Arc<Replica>,
    client: Arc<Client>,
    pub(crate) target: Target,
    url: url::Url,
    own_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Site {
    pub(crate) fn new(
        shared: Arc<Shared>,
        settings: &ServerSettings,
        http: &HttpSettings,
        own: &ReplicaSettings,
        replica: Arc<Replica>,
    ) -> Result<Self, SettingsError> {
        let origin = Origin::of(&own.url)?;
        let slash = PathAndQuery::from_static("/");
        let target = origin.target(own.url.path_and_query().unwrap_or(&slash))?;
        let url = url::Url::parse(&own.url.to_string()).map_err(|_| SettingsError::Url)?;
        let ca_file = own.ca_file.as_deref().or(http.ca_file.as_deref());
        let tls = if origin.secure { Some(tls_config(ca_file, http.version)?) } else { None };
        let limits = ClientLimits {
            connect: settings.timeouts.connect,
            idle: settings.timeouts.idle.min(CONNECTION_IDLE_MAX),
            idle_max: settings.limits.idle_connections_max,
            connections_max: settings.limits.connections_max,
            reach: http.reach,
        };
        let client = Arc::new(Client::new(origin, tls, http.version, limits)?);
        let own_headers = own_headers(http, own)?;
        Ok(Self { shared, replica, client, target, url, own_headers })
    }

    /// Host and port.
    pub(crate) fn address(&self) -> (&str, u16) {
        let origin = self.client.origin();
        (&origin.host, origin.port)
    }

    /// The target of an `endpoint` event: a URL of the same origin, absolute or relative to this one (2024-11-05,
    /// transports). Any other origin would send what is meant for this server elsewhere.
    pub(crate) fn endpoint(&self, reference: &str) -> Option<Target> {
        let url = self.url.join(reference.trim()).ok()?;
        if url.origin() != self.url.origin() {
            return None;
        }
        let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
        self.client.origin().target(&PathAndQuery::try_from(path).ok()?).ok()
    }

    pub(crate) fn prune(&self) {
        self.client.prune();
    }

    pub(crate) fn close(&self) {
        self.client.close();
    }

    /// Headers of a POST. `version` is absent where it is not agreed yet, or the revision has no such header.
    pub(crate) fn post_headers(&self, version: Option<Revision>, session: Option<&HeaderValue>) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(12);
        map.insert(CONTENT_TYPE, JSON);
        map.insert(ACCEPT, EITHER);
        self.add_common(&mut map, version, session);
        map
    }

    /// Headers of a GET for a stream of events.
    pub(crate) fn get_headers(&self, version: Option<Revision>, session: Option<&HeaderValue>) -> HeaderMap {
        let mut map = HeaderMap::with_capacity(8);
        map.insert(ACCEPT, EVENTS);
        self.add_common(&mut map, version, session);
        map
    }

    fn add_common(&self, map: &mut HeaderMap, version: Option<Revision>, session: Option<&HeaderValue>) {
        if let Some(version) = version.filter(|version| *version >= Revision::V2025_06_18) {
            map.insert(PROTOCOL_VERSION, HeaderValue::from_static(version.as_str()));
        }
        if let Some(session) = session {
            map.insert(SESSION_ID, session.clone());
        }
        for (name, value) in &self.own_headers {
            map.append(name.clone(), value.clone());
        }
    }

    /// What a modern request mirrors of its body (2026-07-28, Streamable HTTP).
    pub(crate) fn mirror(map: &mut HeaderMap, request: &Outbound) -> Result<(), UpstreamError> {
        let unfit = |what: &str| UpstreamError::protocol("the request cannot be sent over HTTP", what);
        let method = match &request.method {
            Cow::Borrowed(method) => HeaderValue::from_static(method),
            Cow::Owned(method) => {
                HeaderValue::try_from(method).map_err(|_| unfit("its method is no header value"))?
            }
        };
        map.insert(METHOD, method);
        if let Some(native) = &request.mcp_name {
            let encoded = headers::encode_value(native);
            let value = HeaderValue::try_from(encoded).map_err(|_| unfit("its name is no header value"))?;
            map.insert(NAME, value);
        }
        for (name, value) in request.params.iter().chain(&request.also) {
            map.append(name.clone(), value.clone());
        }
        Ok(())
    }

    pub(crate) async fn post(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Segments,
    ) -> Result<Reply, HttpError> {
        self.client.send(Method::POST, target, headers, Outgoing::from(body), false).await
    }

    /// Posts the gateway's own `subscriptions/listen`, whose response is a stream that is held for long.
    pub(crate) async fn hold_open(&self, body: Segments) -> Result<Reply, HttpError> {
        let mut headers = self.post_headers(Some(Revision::LATEST), None);
        headers.insert(METHOD, HeaderValue::from_static(methods::SUBSCRIPTIONS_LISTEN));
        self.client.send(Method::POST, &self.target, headers, Outgoing::from(body), true).await
    }

    /// Opens a stream that is held for long.
    pub(crate) async fn get(&self, headers: HeaderMap) -> Result<Reply, HttpError> {
        self.client.send(Method::GET, &self.target, headers, Outgoing::empty(), true).await
    }

    pub(crate) async fn delete(&self, headers: HeaderMap) -> Result<Reply, HttpError> {
        self.client.send(Method::DELETE, &self.target, headers, Outgoing::empty(), false).await
    }

    /// Whether what is at this path of the origin has a good status.
    pub(crate) async fn is_well(&self, path: &PathAndQuery, wait: Duration) -> Result<(), UpstreamError> {
        let asked = async {
            let unfit =
                |_| UpstreamError::unavailable("the server cannot be looked at", "a path that is none");
            let target = self.client.origin().target(path).map_err(unfit)?;
            let mut headers = HeaderMap::with_capacity(4);
            for (name, value) in &self.own_headers {
                headers.append(name.clone(), value.clone());
            }
            let sent = self.client.send(Method::GET, &target, headers, Outgoing::empty(), false).await;
            let status = status_of(sent.map_err(|error| self.error(error))?).await;
            if status.is_client_error() || status.is_server_error() {
                let detail = format!("status {}", status.as_u16());
                return Err(UpstreamError::unavailable("the server says that it is not well", detail));
            }
            Ok(())
        };
        tokio::time::timeout(wait, asked)
            .await
            .unwrap_or(Err(UpstreamError::Timeout { what: "a check", after: wait }))
    }

    /// Posts what has no answer: a notification or a response.
    pub(crate) async fn tell(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Segments,
    ) -> Result<StatusCode, UpstreamError> {
        let wait = self.shared.settings.timeouts.probe;
        let told = async {
            let mut sent = self.post(target, headers.clone(), body.clone()).await;
            if matches!(sent, Err(HttpError::Closed(_))) {
                // A kept connection may end as it is used again; whatever has no answer may come twice.
                sent = self.post(target, headers, body).await;
            }
            let reply = sent.map_err(|error| self.error(error))?;
            Ok(status_of(reply).await)
        };
        tokio::time::timeout(wait, told)
            .await
            .unwrap_or(Err(UpstreamError::Timeout { what: "a notification", after: wait }))
    }

    /// Posts a request whose answer comes another way. Once: it may have arrived where the connection ends before its status.
    pub(crate) async fn ask(
        &self,
        target: &Target,
        headers: HeaderMap,
        body: Segments,
    ) -> Result<(), UpstreamError> {
        let reply = self.post(target, headers, body).await.map_err(|error| self.error(error))?;
        if !reply.status().is_success() {
            return Err(status_error(reply.status(), reply.headers()));
        }
        status_of(reply).await;
        Ok(())
    }

    /// What an HTTP failure means for the call.
    pub(crate) fn error(&self, error: HttpError) -> UpstreamError {
        let limits = &self.shared.settings.limits;
        match error {
            HttpError::Connect(detail) => self.unreachable("the server cannot be reached", &detail),
            HttpError::ConnectTimeout => {
                let after = self.shared.settings.timeouts.connect.as_millis();
                let what = format!(
                    "the server cannot be reached: no connection within {after} ms (connect timeout)"
                );
                self.unreachable(what, "no connection in time")
            }
            HttpError::Busy => UpstreamError::Capacity {
                what: "too many connections to this server are busy",
                max: limits.connections_max,
            },
            HttpError::Closed(detail) => UpstreamError::closed(detail),
            HttpError::TooLarge => UpstreamError::TooLarge { bytes_max: limits.message_bytes_max },
            HttpError::Endless(bytes_max) => UpstreamError::Endless { bytes_max },
        }
    }

    fn unreachable(&self, what: impl Into<Cow<'static, str>>, detail: &str) -> UpstreamError {
        let error = UpstreamError::unavailable(what, detail);
        if self.replica.is_alone() {
            self.shared.is_down(&error);
        }
        error
    }
}

/// Whether the gateway sets this header itself, or HTTP does.
fn is_reserved(name: &HeaderName) -> bool {
    [ACCEPT, CONTENT_TYPE, HOST, PROTOCOL_VERSION, SESSION_ID, METHOD, NAME, LAST_EVENT_ID].contains(name)
        || matches!(
            name.as_str(),
            "content-length"
                | "transfer-encoding"
                | "connection"
                | "keep-alive"
                | "upgrade"
                | "te"
                | "trailer"
        )
        || name.as_str().starts_with(headers::MCP_PARAM_PREFIX)
}

fn own_headers(
    http: &HttpSettings,
    replica: &ReplicaSettings,
) -> Result<Vec<(HeaderName, HeaderValue)>, SettingsError> {
    let is_replaced = |name: &HeaderName| replica.headers.iter().any(|(other, _)| other == name);
    let common = http.headers.iter().filter(|(name, _)| !is_replaced(name));
    let mut own = Vec::with_capacity(http.headers.len() + replica.headers.len());
    for (name, secret) in common.chain(&replica.headers) {
        if is_reserved(name) {
            return Err(SettingsError::Header(name.clone()));
        }
        let mut value =
            HeaderValue::try_from(secret.expose()).map_err(|_| SettingsError::HeaderValue(name.clone()))?;
        // Neither shown by `Debug` nor kept in HPACK's table.
        value.set_sensitive(true);
        own.push((name.clone(), value));
    }
    Ok(own)
}

/// What a response that is not 2xx says.
pub(crate) struct Rejection {
    pub(crate) status: StatusCode,
    /// The JSON-RPC error in its body, if that is one.
    pub(crate) message: Option<Message>,
    /// Whether its body has a result, whatever the status says: the request was carried out.
    pub(crate) is_result: bool,
    retry_after: Option<Duration>,
}

impl Rejection {
    pub(crate) async fn read(mut reply: Reply, limits: &Limits) -> Self {
        let status = reply.status();
        let json = reply.is_of_type(headers::APPLICATION_JSON);
        let body = reply.collect(if json { limits.bytes_max } else { ASIDE_BYTES_MAX }).await;
        let message = match body {
            Ok(body) if json => Message::parse(body, limits).ok(),
            _ => None,
        };
        // Whatever its status says, a stream of events is an answer.
        let is_result = reply.is_of_type(headers::TEXT_EVENT_STREAM)
            || message.as_ref().is_some_and(|message| message.kind() == Kind::Result);
        let message = message.filter(|message| message.kind() == Kind::Error);
        Self { status, message, is_result, retry_after: retry_after(reply.headers()) }
    }

    /// The error, if it answers this very request.
    pub(crate) fn answers(&self, id: u64) -> bool {
        self.message.as_ref().is_some_and(|message| message.id_u64() == Some(id))
    }

    /// The error, if it carries a code that only modern servers use.
    pub(crate) fn is_modern(&self) -> bool {
        self.message.as_ref().and_then(Message::error_code).is_some_and(tollgate_mcp::codes::is_modern)
    }

    /// The error, if it carries a code of the range in which legacy servers made up their own (2026-07-28, error
    /// codes). Anyone may still say -32002: a resource is not found.
    pub(crate) fn is_legacy(&self) -> bool {
        let code = self.message.as_ref().and_then(Message::error_code);
        code.is_some_and(|code| (-32019..=-32000).contains(&code) && code != -32002)
    }

    /// Without a usable body the status is all there is.
    pub(crate) fn error(&self) -> UpstreamError {
        match status_error(self.status, &HeaderMap::new()) {
            UpstreamError::Rejected { status, .. } => {
                UpstreamError::Rejected { status, retry_after: self.retry_after }
            }
            error => error,
        }
    }
}

/// The status of a response whose body is of no interest: it is read to its end, so that the connection can be used again.
async fn status_of(mut reply: Reply) -> StatusCode {
    let _ = reply.collect(ASIDE_BYTES_MAX).await;
    reply.status()
}

/// What a status without a JSON-RPC body means.
pub(crate) fn status_error(status: StatusCode, headers: &HeaderMap) -> UpstreamError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => UpstreamError::Auth { status: status.as_u16() },
        _ => UpstreamError::Rejected { status: status.as_u16(), retry_after: retry_after(headers) },
    }
}

/// When the server wants to be asked again (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    Some(at.duration_since(SystemTime::now()).unwrap_or_default())
}

/// The first check of a response that should carry messages.
pub(crate) fn encoded(reply: &Reply) -> Option<UpstreamError> {
    let encoding = reply.headers().get(CONTENT_ENCODING)?;
    (encoding.as_bytes() != b"identity").then(|| {
        UpstreamError::protocol(
            "the server compressed its answer without being asked to",
            String::from_utf8_lossy(encoding.as_bytes()),
        )
    })
}

/// A session id as the server gave it: visible ASCII (2025-11-25, transports).
pub(crate) fn session_of(reply: &Reply) -> Result<Option<HeaderValue>, UpstreamError> {
    let Some(value) = reply.headers().get(SESSION_ID) else { return Ok(None) };
    if value.is_empty() || !value.as_bytes().iter().all(|byte| (0x21..=0x7e).contains(byte)) {
        return Err(UpstreamError::protocol(
            "the server gave a session id that may not be used",
            "not visible ASCII",
        ));
    }
    let mut value =
        HeaderValue::from_maybe_shared(Bytes::copy_from_slice(value.as_bytes())).map_err(|_| {
            UpstreamError::protocol("the server gave a session id that may not be used", "not a header value")
        })?;
    value.set_sensitive(true);
    Ok(Some(value))
}
