//! A client of any MCP endpoint, for the commands that list and call tools: one caller on the same links that the
//! gateway uses towards its servers, so that a server answers both alike.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tollgate_catalog::ListKind;
use tollgate_mcp::headers::MCP_PARAM_PREFIX;
use tollgate_mcp::{Kind, Message, Segments, codes, headers, json, meta, methods};
use tollgate_model::{Caller, ClientProfile, Era, Principal, Revision, ServerName};
use tollgate_upstream::{
    EraChoice, HttpSettings, Incoming, Link, Outbound, Server, ServerSettings, Transport, UpstreamError,
};

use crate::cli::Remote;
use crate::exit::Failure;

/// Where a merged list of Tollgate's names the servers that are missing from it.
const UNAVAILABLE: &str = "dev.tollgate/unavailable";
/// The most pages of one list.
const PAGES_MAX: usize = 1000;
/// How long the end of the session may take.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A client of one endpoint.
pub(crate) struct Client {
    server: Server,
    link: Link,
    /// Events are not read: nothing here is kept long enough to change.
    _events: mpsc::Receiver<tollgate_upstream::ServerEvent>,
}

/// An error that the other side gave.
#[derive(Debug)]
pub(crate) struct RpcError {
    /// The JSON-RPC code.
    pub(crate) code: i64,
    /// What it says.
    pub(crate) text: String,
}

/// One step of a call.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) done: f64,
    pub(crate) total: Option<f64>,
    pub(crate) text: Option<String>,
}

/// How a call ended.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The other side said no.
    Rpc(RpcError),
    /// There is no answer.
    Broken(UpstreamError),
}

impl From<UpstreamError> for CallError {
    fn from(error: UpstreamError) -> Self {
        Self::Broken(error)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Rpc(error) => Self::failed(format!("{} (code {})", error.text, error.code)),
            CallError::Broken(error) => Self::unavailable(describe(&error)),
        }
    }
}

/// What went wrong, with the detail that the person at the terminal may see: it is their own endpoint.
fn describe(error: &UpstreamError) -> String {
    match error {
        UpstreamError::Auth { status: 401 } => format!(
            "{error}: no credential came with it (--header \"Authorization: Bearer …\"), or one that is not known there, has \
             expired, or is meant for another address"
        ),
        UpstreamError::Auth { .. } => format!(
            "{error}: whoever calls may not do this, or it is blocked there (a gateway's `tollgate blocks` and `tollgate audit search` say more)"
        ),
        _ => {
            let text = error.to_string();
            let hint = HINTS.iter().find(|(said, _)| text.contains(said)).map_or("", |(_, hint)| *hint);
            format!("{text}{hint}")
        }
    }
}

/// What may be done about errors of libraries that do not say it.
const HINTS: [(&str, &str); 3] = [
    ("UnknownIssuer", "; name the authority that signed the server's certificate with --ca-file"),
    (
        "CaUsedAsEndEntity",
        "; the server shows a certificate that is made to sign others (CA:TRUE): give it one of its own, or one with CA:FALSE",
    ),
    ("invalid HTTP version", "; if it speaks TLS, try https://"),
];

/// What a page of a merged list says of the servers that are missing from it.
fn gaps_of(page: &Message) -> Vec<String> {
    let bytes = page.bytes();
    let text = |object, member| json::find(bytes, object, member).and_then(|span| json::text(bytes, span));
    let gaps = page.meta_member(UNAVAILABLE).into_iter().flat_map(|list| json::elements(bytes, list));
    gaps.filter_map(|gap| Some(format!("{}: {}", text(gap, "server")?, text(gap, "reason")?))).collect()
}

impl Client {
    /// Reaches the endpoint, and finds out which era it speaks unless that is said.
    pub(crate) async fn open(url: &str, remote: &Remote, era: EraChoice) -> Result<Self, Failure> {
        let settings = settings(url, remote, era)?;
        Self::of(settings)
            .await
            .map_err(|failure| Failure { text: format!("{url}: {}", failure.text), ..failure })
    }

    /// Reaches a server as it is configured.
    pub(crate) async fn of(settings: ServerSettings) -> Result<Self, Failure> {
        let (events, heard) = mpsc::channel(16);
        let era = settings.era;
        let server = Server::new(settings, events).map_err(|error| Failure::usage(error.to_string()))?;
        let caller = Caller {
            who: Arc::new(Principal::local()),
            session: None,
            client: Arc::new(profile(era)),
            source: None,
        };
        match server.open(&caller).await {
            Ok(link) => Ok(Self { server, link, _events: heard }),
            Err(error) => {
                server.stop(Duration::ZERO).await;
                Err(Failure::unavailable(describe(&error)))
            }
        }
    }

    /// The revision that the two agreed on.
    pub(crate) fn revision(&self) -> Revision {
        self.link.revision()
    }

    /// All tools, each as raw JSON; every page.
    pub(crate) async fn tools(&self, on_page: impl FnMut(usize)) -> Result<Vec<Bytes>, CallError> {
        Ok(self.tools_and_gaps(on_page).await?.0)
    }

    /// All tools, and what a gateway says of servers whose tools are missing.
    pub(crate) async fn tools_and_gaps(
        &self,
        on_page: impl FnMut(usize),
    ) -> Result<(Vec<Bytes>, Vec<String>), CallError> {
        self.listed(ListKind::Tools, usize::MAX, on_page).await
    }

    /// All of a list, if it has no more than so many bytes.
    pub(crate) async fn list_within(
        &self,
        kind: ListKind,
        bytes_max: usize,
    ) -> Result<Vec<Bytes>, CallError> {
        Ok(self.listed(kind, bytes_max, |_| {}).await?.0)
    }

    async fn listed(
        &self,
        kind: ListKind,
        bytes_max: usize,
        mut on_page: impl FnMut(usize),
    ) -> Result<(Vec<Bytes>, Vec<String>), CallError> {
        let mut items: Vec<Bytes> = Vec::new();
        let mut bytes_read = 0_usize;
        let mut gaps = Vec::new();
        let mut cursor: Option<Bytes> = None;
        for _ in 0..PAGES_MAX {
            let params = cursor.take().map(|cursor| ("cursor", cursor));
            let page = self.request(kind.method(), params.as_slice(), None, Vec::new(), |_| {}).await?;
            let bytes = page.bytes();
            bytes_read = bytes_read.saturating_add(bytes.len());
            if bytes_read > bytes_max {
                return Err(UpstreamError::Protocol {
                    what: Cow::Borrowed("the list is too large to be looked at"),
                    detail: format!("more than {bytes_max} bytes").into(),
                }
                .into());
            }
            if let Some(list) = page.member(kind.items_member()) {
                items.extend(json::elements(bytes, list).map(|item| page.raw(item)));
            }
            gaps.extend(gaps_of(&page));
            on_page(items.len());
            cursor = page
                .member("nextCursor")
                .filter(|at| json::text(bytes, *at).is_some())
                .map(|at| page.raw(at));
            if cursor.is_none() {
                return Ok((items, gaps));
            }
        }
        Err(UpstreamError::Protocol {
            what: Cow::Borrowed("the list does not end"),
            detail: format!("more than {PAGES_MAX} pages").into(),
        }
        .into())
    }

    /// Calls a tool with raw arguments. A modern server that wants arguments mirrored in headers says so, and is then
    /// called again with them, as the specification has it.
    pub(crate) async fn call(
        &self,
        tool: &str,
        arguments: &Bytes,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Message, CallError> {
        let params = [("name", json::quote(tool)), ("arguments", arguments.clone())];
        let first =
            self.request(methods::TOOLS_CALL, &params, Some(tool), Vec::new(), &mut on_progress).await;
        match first {
            Err(CallError::Rpc(error)) if error.code == i64::from(codes::HEADER_MISMATCH) => {
                let mirrored = self.mirrored(tool, arguments).await?;
                if mirrored.is_empty() {
                    return Err(CallError::Rpc(error));
                }
                self.request(methods::TOOLS_CALL, &params, Some(tool), mirrored, on_progress).await
            }
            ended => ended,
        }
    }

    /// The `Mcp-Param-*` headers that the tool's schema asks for (2026-07-28, Streamable HTTP): top-level properties.
    async fn mirrored(
        &self,
        tool: &str,
        arguments: &Bytes,
    ) -> Result<Vec<(HeaderName, HeaderValue)>, CallError> {
        let tools = self.tools(|_| {}).await?;
        let named = |raw: &&Bytes| {
            let all = json::Span::all(raw);
            let name = json::find(raw, all, "name").and_then(|name| json::text(raw, name));
            name.is_some_and(|name| name == tool)
        };
        let Some(raw) = tools.iter().find(named) else {
            return Ok(Vec::new());
        };
        let all = json::Span::all(raw);
        let properties =
            json::find(raw, all, "inputSchema").and_then(|schema| json::find(raw, schema, "properties"));
        let mut mirrored = Vec::new();
        for property in properties.into_iter().flat_map(|properties| json::members(raw, properties)) {
            let asked =
                json::find(raw, property.value, "x-mcp-header").and_then(|name| json::text(raw, name));
            let argument = json::find(arguments, json::Span::all(arguments), &property.key(raw));
            let (Some(asked), Some(argument)) = (asked, argument) else { continue };
            let name = HeaderName::try_from(format!("{MCP_PARAM_PREFIX}{asked}"));
            let value = headers::argument_value(arguments, argument).map(HeaderValue::try_from);
            if let (Ok(name), Some(Ok(value))) = (name, value) {
                mirrored.push((name, value));
            }
        }
        Ok(mirrored)
    }

    /// Sends one request and waits for its response. The result's members are the message's members.
    async fn request(
        &self,
        method: &'static str,
        params: &[(&str, Bytes)],
        mcp_name: Option<&str>,
        mirrored: Vec<(HeaderName, HeaderValue)>,
        mut on_progress: impl FnMut(Progress),
    ) -> Result<Message, CallError> {
        let id = self.link.mint();
        let request = Outbound {
            id,
            method: Cow::Borrowed(method),
            mcp_name: mcp_name.map(str::to_owned),
            params: mirrored,
            also: Vec::new(),
            body: body(id, method, params, self.link.era()),
            waits: tollgate_upstream::Waits::default(),
            log_level: None,
        };
        let mut exchange = self.link.request(request).await?;
        loop {
            match exchange.next().await? {
                Incoming::Notification(message) => {
                    if let Some(progress) = progress(&message) {
                        on_progress(progress);
                    }
                }
                Incoming::Request(request) => self.refuse(&request).await?,
                Incoming::Response(response) => {
                    return match response.kind() {
                        Kind::Error => Err(CallError::Rpc(rpc_error(&response))),
                        _ => Ok(response),
                    };
                }
            }
        }
    }

    /// A server's request to a client that declared no capabilities.
    async fn refuse(&self, request: &Message) -> Result<(), UpstreamError> {
        let id = request.id_raw().unwrap_or_else(|| Bytes::from_static(b"null"));
        let id = String::from_utf8_lossy(&id);
        let code = codes::METHOD_NOT_FOUND;
        let answer = if request.method() == methods::PING {
            format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{}}}}"#)
        } else {
            format!(
                r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"Not offered by this client"}}}}"#
            )
        };
        self.link.notify(Segments::from(Bytes::from(answer))).await
    }

    /// Ends the session.
    pub(crate) async fn close(self) {
        self.server.stop(STOP_GRACE).await;
    }
}

fn settings(url: &str, remote: &Remote, era: EraChoice) -> Result<ServerSettings, Failure> {
    let uri = url.parse().map_err(|error| {
        Failure::usage(format!("{url:?} is not a URL: {error}; write it whole, as http://127.0.0.1:8080/mcp"))
    })?;
    let mut http = HttpSettings::new(uri);
    http.ca_file.clone_from(&remote.ca_file);
    http.headers = crate::remote::headers(&remote.headers)?;
    let name = ServerName::new("endpoint").map_err(|error| Failure::failed(error.to_string()))?;
    let mut settings = ServerSettings::new(name, Transport::Http(http));
    settings.era = era;
    Ok(settings)
}

/// What this client says of itself.
fn profile(era: EraChoice) -> ClientProfile {
    let revision = match era {
        EraChoice::Legacy => Revision::LATEST_LEGACY,
        EraChoice::Auto | EraChoice::Modern => Revision::LATEST,
    };
    ClientProfile { revision, capabilities: Bytes::from_static(b"{}"), info: Some(Bytes::from(info())) }
}

fn info() -> String {
    format!(r#"{{"name":"tollgate","version":"{}"}}"#, env!("CARGO_PKG_VERSION"))
}

/// A request with its metadata. The id serves as the progress token.
fn body(id: u64, method: &str, params: &[(&str, Bytes)], era: Era) -> Segments {
    let mut members = String::new();
    for (key, value) in params {
        members.extend(["\"", key, "\":", &String::from_utf8_lossy(value), ","]);
    }
    let token = meta::PROGRESS_TOKEN;
    let request_meta = match era {
        Era::Legacy => format!(r#""{token}":{id}"#),
        Era::Modern => {
            let (version, revision) = (meta::PROTOCOL_VERSION, Revision::LATEST);
            let (capabilities, client) = (meta::CLIENT_CAPABILITIES, meta::CLIENT_INFO);
            format!(r#""{token}":{id},"{version}":"{revision}","{capabilities}":{{}},"{client}":{}"#, info())
        }
    };
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{{{members}"_meta":{{{request_meta}}}}}}}"#
    );
    Segments::from(Bytes::from(text))
}

fn progress(message: &Message) -> Option<Progress> {
    let number = |key: &str| {
        let raw = message.raw(message.member(key)?);
        std::str::from_utf8(&raw).ok()?.parse::<f64>().ok()
    };
    if message.method() != methods::NOTIFICATIONS_PROGRESS {
        return None;
    }
    let text = message.text("message").map(Cow::into_owned);
    Some(Progress { done: number("progress")?, total: number("total"), text })
}

fn rpc_error(response: &Message) -> RpcError {
    let text =
        response.text("message").map_or_else(|| "an error without a message".to_owned(), Cow::into_owned);
    RpcError { code: response.error_code().unwrap_or_default(), text }
}
