//! A gateway that knows its callers by keys, and clients that send exactly what they are told to.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_identity::{Identity, IdentitySettings, key};
use tollgate_ledger::Ledger;
use tollgate_model::{KeyId, KeyRecord, ServerName, TenantId, Timestamp};
use tollgate_policy::{Mode, Source, Sources};
use tollgate_proxy::{Body, Gateway, Peer, PolicySettings, ProxySettings, Setup, serve_http};
use tollgate_store::{Follower, FollowerSettings, Keys as _, Memory};
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::LONG;
use crate::servers::Server;

/// Everyone may do everything: what is tested here is who comes in.
const OPEN: &str = "permit (principal, action, resource);";

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) store: Arc<Memory>,
    pub(crate) follower: Follower,
    settings: IdentitySettings,
    servers: Vec<ServerSettings>,
}

/// A key, as its holder has it.
#[derive(Clone)]
pub(crate) struct Held {
    pub(crate) text: String,
    pub(crate) id: KeyId,
}

/// A key of this agent, to be stored or declared.
pub(crate) fn key_of(agent: &str, lasts: Option<Duration>) -> (Held, KeyRecord) {
    let minted = key::mint().unwrap();
    let record = KeyRecord {
        id: minted.id.clone(),
        tenant: TenantId::default(),
        agent: Arc::from(agent),
        groups: Vec::new(),
        hash: minted.hash,
        created: Timestamp::now(),
        expires: lasts.map(|lasts| Timestamp::now().after(lasts)),
        revoked: None,
        replaced_by: None,
    };
    (Held { text: minted.text.expose().to_owned(), id: minted.id }, record)
}

impl Rig {
    pub(crate) async fn new<'a>(servers: impl IntoIterator<Item = (&'a str, &'a Server)>) -> Self {
        let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
        Self::with(settings, ProxySettings::default(), servers).await
    }

    pub(crate) async fn with<'a>(
        settings: IdentitySettings,
        proxy: ProxySettings,
        servers: impl IntoIterator<Item = (&'a str, &'a Server)>,
    ) -> Self {
        let servers = servers.into_iter().map(|(name, server)| {
            let transport = Transport::Http(HttpSettings::new(server.fake.url()));
            ServerSettings::new(ServerName::new(name).unwrap(), transport)
        });
        Self::build(settings, proxy, servers.collect(), Ledger::off()).await
    }

    /// A gateway with these servers.
    pub(crate) async fn over(servers: Vec<ServerSettings>) -> Self {
        let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
        Self::build(settings, ProxySettings::default(), servers, Ledger::off()).await
    }

    /// With everything on record.
    pub(crate) async fn recorded(name: &str, server: &Server, ledger: Ledger) -> Self {
        let transport = Transport::Http(HttpSettings::new(server.fake.url()));
        let servers = vec![ServerSettings::new(ServerName::new(name).unwrap(), transport)];
        let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
        Self::build(settings, ProxySettings::default(), servers, ledger).await
    }

    async fn build(
        settings: IdentitySettings,
        proxy: ProxySettings,
        servers: Vec<ServerSettings>,
        ledger: Ledger,
    ) -> Self {
        let store = Arc::new(Memory::default());
        let follower = Follower::follow(store.clone(), FollowerSettings::default());
        assert!(follower.settled(LONG).await);
        let setup = Setup {
            identity: Identity::new(settings.clone(), follower.clone()),
            ledger,
            ..Setup::new(proxy, servers.clone(), Vec::new())
        };
        let gateway = Gateway::new(setup.clone()).unwrap();
        let source = Source { path: Arc::from("open.cedar"), text: Arc::from(OPEN) };
        let sources = Sources { tenant: vec![source], ..Sources::default() };
        let policies =
            PolicySettings { tenants: [(TenantId::default(), sources)].into(), ..PolicySettings::default() };
        let compiled = gateway.compile(policies, &setup, |_| Mode::New).await.unwrap();
        gateway.enforce(compiled);
        let rig = Self { gateway, store, follower, settings, servers };
        rig.learn().await;
        rig
    }

    /// Waits until the tools of all servers are known: policies permit no others.
    async fn learn(&self) {
        let key = if self.settings.configured { Some(self.key("rig").await) } else { None };
        let client = self.client(key.as_ref());
        let learning = async {
            loop {
                let list = read(client.modern("/mcp", "tools/list", json!({})).await).await.message();
                let is_there = |server: &ServerSettings| {
                    let prefix = format!("{}__", server.name);
                    let tools = list["result"]["tools"].as_array();
                    tools.is_some_and(|tools| {
                        tools.iter().any(|tool| tool["name"].as_str().unwrap().starts_with(&prefix))
                    })
                };
                if self.servers.iter().all(is_there) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, learning).await.expect("tools in time");
    }

    /// A stored key of this agent, once the gateway knows it.
    pub(crate) async fn key(&self, agent: &str) -> Held {
        self.key_for(agent, None).await
    }

    /// The same, which ends by itself.
    pub(crate) async fn key_for(&self, agent: &str, lasts: Option<Duration>) -> Held {
        let (held, record) = key_of(agent, lasts);
        let hash = record.hash;
        self.store.add_key(record).await.unwrap();
        crate::eventually(|| self.follower.now().key(&hash).map(|_| ())).await;
        held
    }

    pub(crate) async fn revoke(&self, key: &Held) {
        self.store.revoke_key(&key.id, Timestamp::now()).await.unwrap();
    }

    /// Applies the same configuration with other settings of who is known.
    pub(crate) fn reload(&self, change: impl FnOnce(&mut IdentitySettings)) {
        let mut settings = self.settings.clone();
        change(&mut settings);
        let setup = Setup {
            identity: Identity::new(settings, self.follower.clone()),
            ..Setup::new(ProxySettings::default(), self.servers.clone(), Vec::new())
        };
        self.gateway.apply(setup, Duration::ZERO).unwrap();
    }

    pub(crate) fn client(&self, key: Option<&Held>) -> Client {
        Client::at(&self.gateway, key.map(|key| key.text.as_str()))
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The last message, of a stream or alone.
    pub(crate) fn message(&self) -> Value {
        let last = self.body.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
        serde_json::from_str(last.unwrap_or(&self.body)).unwrap_or(Value::Null)
    }

    /// Everything that a client could tell answers apart by: all but the random id of the request.
    pub(crate) fn shape(&self) -> (u16, Vec<(String, String)>, String) {
        let headers =
            self.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()));
        let mut body = self.body.clone();
        if let Some(at) = body.find("\"requestId\":\"") {
            let from = at + "\"requestId\":\"".len();
            let end = from + body[from..].find('"').unwrap();
            body.replace_range(from..end, "");
        }
        (self.status, headers.collect(), body)
    }
}

/// A client that shows this key, or none.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) gateway: Gateway,
    pub(crate) key: Option<String>,
    pub(crate) session: Option<String>,
}

impl Client {
    pub(crate) fn at(gateway: &Gateway, key: Option<&str>) -> Self {
        Self { gateway: gateway.clone(), key: key.map(str::to_owned), session: None }
    }

    /// A legacy client in its session.
    pub(crate) async fn in_session(mut self, path: &str, capabilities: Value) -> Self {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": capabilities,
                            "clientInfo": {"name": "it", "version": "1"}});
        let answer = read(self.legacy(path, "initialize", params).await).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        self.session = Some(answer.header("mcp-session-id").to_owned());
        self
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> http::request::Builder {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        request
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: &str) -> Response<Body> {
        self.send_from("127.0.0.1:1", request, body).await
    }

    /// Sends a request from another address.
    pub(crate) async fn send_from(
        &self,
        address: &str,
        request: http::request::Builder,
        body: &str,
    ) -> Response<Body> {
        let request = request.body(Full::new(Bytes::copy_from_slice(body.as_bytes()))).unwrap();
        let peer = Peer::new(address.parse().unwrap(), false);
        tokio::time::timeout(LONG, serve_http(&self.gateway, peer, request)).await.expect("an answer in time")
    }

    /// Sends a request whose body comes piece by piece.
    pub(crate) async fn send_slowly(
        &self,
        request: http::request::Builder,
        mut pieces: mpsc::Receiver<&'static str>,
    ) -> Response<Body> {
        let stream = futures_util::stream::poll_fn(move |cx| {
            pieces
                .poll_recv(cx)
                .map(|piece| piece.map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece)))))
        });
        let request = request.body(StreamBody::new(stream)).unwrap();
        let peer = Peer::new("127.0.0.1:1".parse().unwrap(), false);
        tokio::time::timeout(LONG, serve_http(&self.gateway, peer, request)).await.expect("an answer in time")
    }

    /// Sends a legacy request, and gives the response as it begins.
    pub(crate) async fn legacy(&self, path: &str, method: &str, params: Value) -> Response<Body> {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        self.send(self.request(Method::POST, path), &body.to_string()).await
    }

    /// Sends a modern request.
    pub(crate) async fn modern(&self, path: &str, method: &str, mut params: Value) -> Response<Body> {
        params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = json!({"elicitation": {"form": {}},
            "extensions": {"io.modelcontextprotocol/tasks": {}}});
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let mut request = self
            .request(Method::POST, path)
            .header("mcp-protocol-version", "2026-07-28")
            .header("mcp-method", method);
        if let Some(name) = params["name"].as_str().or(params["taskId"].as_str()) {
            request = request.header("mcp-name", name);
        }
        self.send(request, &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Response<Body> {
        self.send(self.request(Method::GET, path), "").await
    }
}

/// Reads a response to its end.
pub(crate) async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let body = tokio::time::timeout(LONG, body.collect()).await.expect("an end in time").unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// A stream being read.
pub(crate) struct Stream {
    body: Body,
    pending: String,
    events: VecDeque<(String, String)>,
}

impl Stream {
    pub(crate) async fn of(response: Response<Body>) -> Self {
        let is_stream = response.headers()["content-type"] == "text/event-stream";
        assert!(is_stream, "no stream: {:?}", read(response).await);
        Self { body: response.into_body(), pending: String::new(), events: VecDeque::new() }
    }

    /// The next event that says something: its id and data. None at the end.
    pub(crate) async fn event(&mut self) -> Option<(String, String)> {
        let reading = async {
            loop {
                if let Some(event) = self.events.pop_front() {
                    return Some(event);
                }
                let data = self.body.frame().await?.unwrap().into_data().unwrap();
                self.pending.push_str(std::str::from_utf8(&data).unwrap());
                while let Some(end) = self.pending.find("\n\n") {
                    let event: String = self.pending.drain(..end + 2).collect();
                    let field = |name: &str| {
                        let line = event.lines().find_map(|line| line.strip_prefix(name));
                        line.unwrap_or_default().trim_start().to_owned()
                    };
                    if !field("data:").is_empty() {
                        self.events.push_back((field("id:"), field("data:")));
                    }
                }
            }
        };
        tokio::time::timeout(LONG, reading).await.expect("an event or the end in time")
    }

    pub(crate) async fn some(&mut self) -> Value {
        let (_, data) = self.event().await.expect("an event");
        serde_json::from_str(&data).unwrap_or(Value::String(data))
    }

    /// Waits for the end, and says how long that took. Nothing may come before it but that lists have changed, which they
    /// have when a server's tools are seen for the first time.
    pub(crate) async fn end(&mut self) -> Duration {
        let started = std::time::Instant::now();
        while let Some((_, data)) = self.event().await {
            assert!(data.contains("/list_changed"), "nothing more may come: {data}");
        }
        started.elapsed()
    }
}
