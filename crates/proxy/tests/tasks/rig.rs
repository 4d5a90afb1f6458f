//! The gateway in this process, and clients that say exactly what they are told to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_catalog::ToolsetSettings;
use tollgate_ledger::Ledger;
use tollgate_limits::LimitSettings;
use tollgate_model::ServerName;
use tollgate_proxy::{Gateway, Peer, ProxySettings, Setup, serve_http};
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::LONG;
use crate::fake::Fake;

pub(crate) const TASKS: &str = "io.modelcontextprotocol/tasks";

pub(crate) const PEER: Peer = Peer::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1), false);

/// A gateway with these servers.
pub(crate) fn gateway<'a>(servers: impl IntoIterator<Item = (&'a str, &'a Fake)>) -> Gateway {
    gateway_with(servers, ProxySettings::default(), &[])
}

/// The same with everything on record.
pub(crate) fn recorded<'a>(
    servers: impl IntoIterator<Item = (&'a str, &'a Fake)>,
    ledger: Ledger,
) -> Gateway {
    Gateway::new(Setup { ledger, ..setup(servers, ProxySettings::default(), &[]) }).unwrap()
}

/// The same with limits.
pub(crate) fn limited<'a>(
    servers: impl IntoIterator<Item = (&'a str, &'a Fake)>,
    limits: LimitSettings,
) -> Gateway {
    Gateway::new(Setup { limits, ..setup(servers, ProxySettings::default(), &[]) }).unwrap()
}

pub(crate) fn gateway_with<'a>(
    servers: impl IntoIterator<Item = (&'a str, &'a Fake)>,
    settings: ProxySettings,
    toolsets: &[ToolsetSettings],
) -> Gateway {
    Gateway::new(setup(servers, settings, toolsets)).unwrap()
}

fn setup<'a>(
    servers: impl IntoIterator<Item = (&'a str, &'a Fake)>,
    settings: ProxySettings,
    toolsets: &[ToolsetSettings],
) -> Setup {
    let servers = servers.into_iter().map(|(name, fake)| {
        let transport = Transport::Http(HttpSettings::new(fake.url()));
        ServerSettings::new(ServerName::new(name).unwrap(), transport)
    });
    Setup::new(settings, servers.collect(), toolsets.to_vec())
}

/// What came back for one request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) session: Option<String>,
    /// What came before the response on the same stream.
    pub(crate) before: Vec<Value>,
    pub(crate) response: Value,
}

impl Answer {
    pub(crate) fn result(&self) -> &Value {
        let result = &self.response["result"];
        assert!(result.is_object(), "no result: {self:?}");
        result
    }

    pub(crate) fn code(&self) -> i64 {
        self.response["error"]["code"].as_i64().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        self.result()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {self:?}"))
    }
}

/// A client at one endpoint.
#[derive(Clone)]
pub(crate) struct Client {
    gateway: Gateway,
    path: String,
    revision: &'static str,
    capabilities: Value,
    session: Option<String>,
}

impl Client {
    pub(crate) fn modern(gateway: &Gateway, path: &str, capabilities: Value) -> Self {
        let (gateway, path) = (gateway.clone(), path.to_owned());
        Self { gateway, path, revision: "2026-07-28", capabilities, session: None }
    }

    /// A modern client that can follow tasks.
    pub(crate) fn with_tasks(gateway: &Gateway, path: &str) -> Self {
        Self::modern(gateway, path, json!({"extensions": {TASKS: {}}}))
    }

    /// A legacy client in its session, and what the gateway says of itself.
    pub(crate) async fn legacy(
        gateway: &Gateway,
        path: &str,
        revision: &'static str,
        capabilities: Value,
    ) -> (Self, Value) {
        let mut client = Self { revision, ..Self::modern(gateway, path, capabilities) };
        let params = json!({"protocolVersion": revision, "capabilities": client.capabilities,
                            "clientInfo": {"name": "it", "version": "1"}});
        let answer = client.ask("initialize", params).await;
        client.session.clone_from(&answer.session);
        (client, answer.result().clone())
    }

    pub(crate) async fn call(&self, tool: &str) -> Answer {
        self.ask("tools/call", json!({"name": tool, "arguments": {}})).await
    }

    pub(crate) async fn task(&self, method: &str, id: &str) -> Answer {
        self.ask(method, json!({"taskId": id})).await
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Answer {
        let name = params["taskId"].as_str().or(params["name"].as_str()).map(str::to_owned);
        self.ask_named(method, params, name.as_deref()).await
    }

    /// Asks with this `Mcp-Name`.
    pub(crate) async fn ask_named(&self, method: &str, params: Value, name: Option<&str>) -> Answer {
        self.send(self.request(method, params, name)).await
    }

    fn request(&self, method: &str, mut params: Value, name: Option<&str>) -> Request<Full<Bytes>> {
        let mut request = self.post();
        if self.revision == "2026-07-28" {
            params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!(self.revision);
            params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.capabilities.clone();
            request = request.header("mcp-method", method);
            if let Some(name) = name {
                request = request.header("mcp-name", name);
            }
        }
        if method != "initialize" {
            request = request.header("mcp-protocol-version", self.revision);
        }
        let body = json!({"jsonrpc": "2.0", "id": "q", "method": method, "params": params});
        request.body(Full::new(Bytes::from(body.to_string()))).unwrap()
    }

    /// Sends a message that has no answer.
    pub(crate) async fn tell(&self, message: &Value) {
        let request = self.post().header("mcp-protocol-version", self.revision);
        let sent = self.send(request.body(Full::new(Bytes::from(message.to_string()))).unwrap()).await;
        assert_eq!(sent.status, 202, "{sent:?}");
    }

    /// Asks, and gives the stream of the answer.
    pub(crate) fn begin(&self, method: &str, params: &Value) -> Listening {
        let request = self.request(method, params.clone(), None);
        let gateway = self.gateway.clone();
        let (sender, messages) = mpsc::channel(64);
        tokio::spawn(async move {
            let response = serve_http(&gateway, PEER, request).await;
            read(response.into_body(), sender).await;
        });
        Listening { messages }
    }

    fn post(&self) -> http::request::Builder {
        let mut request = Request::post(&self.path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session);
        }
        request
    }

    /// Opens the stream for what belongs to no request.
    pub(crate) async fn listen(&self) -> Listening {
        let request = Request::get(&self.path)
            .header("host", "localhost")
            .header("accept", "text/event-stream")
            .header("mcp-protocol-version", self.revision)
            .header("mcp-session-id", self.session.as_ref().unwrap())
            .body(Full::new(Bytes::new()))
            .unwrap();
        let response = serve_http(&self.gateway, PEER, request).await;
        assert_eq!(response.status(), 200);
        let (sender, messages) = mpsc::channel(64);
        tokio::spawn(read(response.into_body(), sender));
        Listening { messages }
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        let serving = async {
            let response = serve_http(&self.gateway, PEER, request).await;
            let (parts, body) = response.into_parts();
            (parts, body.collect().await.unwrap().to_bytes())
        };
        let (parts, body) = tokio::time::timeout(LONG, serving).await.expect("an answer in time");
        let header = |name| parts.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        let mut messages = messages(&header("content-type").unwrap_or_default(), &body);
        Answer {
            status: parts.status.as_u16(),
            session: header("mcp-session-id"),
            response: messages.pop().unwrap_or_default(),
            before: messages,
        }
    }
}

/// A stream being read.
pub(crate) struct Listening {
    messages: mpsc::Receiver<Value>,
}

impl Listening {
    /// The next message.
    pub(crate) async fn next(&mut self) -> Value {
        tokio::time::timeout(LONG, self.messages.recv()).await.expect("a message in time").expect("more")
    }
}

/// Reads a stream to its end, whether anyone waits for what it says or not: whoever reads drives the request.
async fn read(mut body: tollgate_proxy::Body, messages: mpsc::Sender<Value>) {
    let mut text = String::new();
    while let Some(frame) = body.frame().await {
        text.push_str(std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap());
        while let Some((event, rest)) = text.split_once("\n\n") {
            let data = event.lines().find_map(|line| line.strip_prefix("data: "));
            let message = data.and_then(|data| serde_json::from_str(data).ok());
            let rest = rest.to_owned();
            text = rest;
            if let Some(message) = message {
                let _ = messages.send(message).await;
            }
        }
    }
}

fn messages(media_type: &str, body: &[u8]) -> Vec<Value> {
    if media_type != "text/event-stream" {
        return vec![serde_json::from_slice(body).unwrap_or_default()];
    }
    let text = std::str::from_utf8(body).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        // The first event of a stream that can be resumed has no data.
        .filter(|data| !data.is_empty())
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}
