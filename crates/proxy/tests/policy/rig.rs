//! The gateway in this process under a policy text, and clients that come with keys.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tollgate_catalog::{Pick, ToolChoice, ToolsetSettings};
use tollgate_guard::GuardSettings;
use tollgate_identity::{Identity, IdentitySettings, key::mint};
use tollgate_ledger::Ledger;
use tollgate_limits::{LimitSettings, Rule};
use tollgate_model::{EndpointName, KeyRecord, ServerName, TenantId, Timestamp};
use tollgate_policy::{Finding, Mode, Source, Sources};
use tollgate_proxy::{Body, Gateway, Peer, PolicySettings, ProxySettings, Setup, serve_http};
use tollgate_store::Follower;
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::LONG;
use crate::shop::Shop;

/// A gateway, what it serves, and a key of each agent.
pub(crate) struct World {
    pub(crate) gateway: Gateway,
    pub(crate) setup: Setup,
    keys: BTreeMap<String, String>,
}

pub(crate) fn server(name: &str, shop: &Shop) -> ServerSettings {
    let transport = Transport::Http(HttpSettings::new(shop.fake.url()));
    let mut settings = ServerSettings::new(ServerName::new(name).unwrap(), transport);
    settings.timeouts.backoff_min = Duration::from_millis(50);
    settings
}

/// A toolset of one tool with one argument pinned, under another name.
pub(crate) fn toolset(server: &str, native: &str, rename: &str) -> ToolsetSettings {
    ToolsetSettings {
        name: EndpointName::new("kit").unwrap(),
        description: None,
        tools: vec![ToolChoice {
            server: ServerName::new(server).unwrap(),
            pick: Pick::Native(native.to_owned()),
            rename: Some(rename.to_owned()),
            description: None,
            pinned: vec![("path".to_owned(), Bytes::from_static(b"\"/pinned\""))],
        }],
        resources: Vec::new(),
        prompts: Vec::new(),
    }
}

pub(crate) fn settings(text: &str) -> PolicySettings {
    let source = Source { path: Arc::from("test.cedar"), text: Arc::from(text) };
    let sources = Sources { tenant: vec![source], ..Sources::default() };
    PolicySettings { tenants: BTreeMap::from([(TenantId::default(), sources)]), ..PolicySettings::default() }
}

impl World {
    /// The shops, and the agents that may come.
    pub(crate) async fn new(
        servers: Vec<ServerSettings>,
        toolsets: Vec<ToolsetSettings>,
        policy: &str,
    ) -> Self {
        Self::recorded(servers, toolsets, policy, Ledger::off()).await
    }

    /// The same, with everything on record.
    pub(crate) async fn recorded(
        servers: Vec<ServerSettings>,
        toolsets: Vec<ToolsetSettings>,
        policy: &str,
        ledger: Ledger,
    ) -> Self {
        Self::with(ProxySettings::default(), servers, toolsets, policy, ledger).await
    }

    pub(crate) async fn with(
        settings: ProxySettings,
        servers: Vec<ServerSettings>,
        toolsets: Vec<ToolsetSettings>,
        policy: &str,
        ledger: Ledger,
    ) -> Self {
        Self::following(settings, servers, toolsets, policy, ledger, Follower::of_nothing()).await
    }

    /// The same with stored state.
    pub(crate) async fn following(
        settings: ProxySettings,
        servers: Vec<ServerSettings>,
        toolsets: Vec<ToolsetSettings>,
        policy: &str,
        ledger: Ledger,
        follower: Follower,
    ) -> Self {
        let mut keys = BTreeMap::new();
        let mut records = Vec::new();
        for agent in ["ann", "bob", "eve"] {
            let key = mint().unwrap();
            keys.insert(agent.to_owned(), key.text.expose().to_owned());
            records.push(KeyRecord {
                id: key.id,
                tenant: TenantId::default(),
                agent: Arc::from(agent),
                groups: Vec::new(),
                hash: key.hash,
                created: Timestamp::now(),
                expires: None,
                revoked: None,
                replaced_by: None,
            });
        }
        let identity = IdentitySettings { configured: true, keys: records, ..IdentitySettings::default() };
        let identity = Identity::new(identity, follower);
        let setup = Setup { identity, ledger, ..Setup::new(settings, servers, toolsets) };
        let gateway = Gateway::new(setup.clone()).unwrap();
        gateway.await_policies();
        gateway.learn_tools(None, LONG).await;
        let world = Self { gateway, setup, keys };
        world.enforce(policy).await.unwrap();
        world
    }

    /// Has these limits from now on.
    pub(crate) fn limit(&self, rules: Vec<Rule>) {
        let limits = LimitSettings { rules, ..LimitSettings::default() };
        self.gateway.apply(Setup { limits, ..self.setup.clone() }, LONG).unwrap();
    }

    /// Looks for this from now on.
    pub(crate) fn guard(&self, guards: GuardSettings) {
        self.gateway.apply(Setup { guards, ..self.setup.clone() }, LONG).unwrap();
    }

    /// Has another text decide, if it is good.
    pub(crate) async fn enforce(&self, policy: &str) -> Result<(), Vec<(TenantId, Finding)>> {
        self.enforce_all(settings(policy)).await.map(drop)
    }

    /// Has these texts decide, with one that only looks on. Gives back what is said of them.
    pub(crate) async fn enforce_with_shadow(&self, policy: &str, shadow: &str) -> Vec<Finding> {
        let shadow = settings(shadow).tenants;
        self.enforce_all(PolicySettings { shadow, ..settings(policy) }).await.unwrap()
    }

    async fn enforce_all(&self, settings: PolicySettings) -> Result<Vec<Finding>, Vec<(TenantId, Finding)>> {
        let compiled = self.gateway.compile(settings, &self.setup, |_| Mode::New).await?;
        let findings = compiled.findings().map(|(_, finding)| finding.clone()).collect();
        self.gateway.enforce(compiled);
        Ok(findings)
    }

    pub(crate) fn modern(&self, agent: &str, path: &str) -> Client {
        Client {
            gateway: self.gateway.clone(),
            path: path.to_owned(),
            key: self.keys[agent].clone(),
            session: None,
            modern: true,
            able: json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}),
        }
    }

    /// Somebody whom nobody knows.
    pub(crate) fn stranger(&self, path: &str) -> Client {
        Client { key: "nothing".to_owned(), ..self.modern("ann", path) }
    }

    pub(crate) async fn legacy(&self, agent: &str, path: &str) -> Client {
        let mut client = Client { modern: false, ..self.modern(agent, path) };
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
                            "clientInfo": {"name": "it", "version": "1"}});
        let response = client.send(Method::POST, Some(("initialize", params))).await;
        let session = response.headers().get("mcp-session-id").map(|id| id.to_str().unwrap().to_owned());
        client.session = Some(session.expect("a session"));
        client
    }

    /// A client of either era.
    pub(crate) async fn either(&self, modern: bool, agent: &str, path: &str) -> Client {
        if modern { self.modern(agent, path) } else { self.legacy(agent, path).await }
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    gateway: Gateway,
    path: String,
    key: String,
    session: Option<String>,
    pub(crate) modern: bool,
    /// What a modern client declares to be able to.
    able: Value,
}

/// What a request came to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Told {
    pub(crate) fn refusal(&self) -> &Value {
        &self.body["error"]["data"]["dev.tollgate/refusal"]
    }

    pub(crate) fn code(&self) -> &str {
        self.refusal()["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.body.get("result").is_some()
    }

    /// The whole of it, but for what differs from request to request, and with one name in place of another.
    pub(crate) fn alike(&self, name: &str) -> String {
        let mut body = self.body.clone();
        if let Some(refusal) = body.pointer_mut("/error/data/dev.tollgate~1refusal") {
            refusal["requestId"] = json!("?");
        }
        format!("{} {body}", self.status).replace(name, "NAME")
    }
}

impl Client {
    /// The same client, a modern one, with these capabilities.
    pub(crate) fn able(self, able: Value) -> Self {
        Self { able, ..self }
    }

    pub(crate) async fn ask(&self, method: &str, params: Value) -> Told {
        Self::told(self.send(Method::POST, Some((method, params))).await).await
    }

    /// The same client as a legacy one that has no session yet.
    pub(crate) fn without_session(self) -> Self {
        Self { modern: false, session: None, ..self }
    }

    /// The same of a legacy client, with params as they are written.
    pub(crate) async fn ask_as_written(&self, method: &str, params: &str) -> Told {
        let body = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"{method}","params":{params}}}"#);
        Self::told(self.post(Method::POST, body).await).await
    }

    async fn told(response: Response<Body>) -> Told {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body =
            tokio::time::timeout(LONG, response.into_body().collect()).await.expect("an answer in time");
        let body = body.unwrap().to_bytes();
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) => {
                let text = String::from_utf8_lossy(&body).into_owned();
                let last = text.lines().rev().find_map(|line| line.strip_prefix("data: ").map(str::to_owned));
                last.and_then(|data| serde_json::from_str(&data).ok()).unwrap_or(Value::Null)
            }
        };
        Told { status, headers, body }
    }

    pub(crate) async fn call(&self, tool: &str, arguments: Value) -> Told {
        self.ask("tools/call", json!({"name": tool, "arguments": arguments})).await
    }

    /// The names or URIs of a list.
    pub(crate) async fn list(&self, method: &str) -> Vec<String> {
        let told = self.ask(method, json!({})).await;
        let (member, key) = match method {
            "tools/list" => ("tools", "name"),
            "prompts/list" => ("prompts", "name"),
            "resources/list" => ("resources", "uri"),
            _ => ("resourceTemplates", "uriTemplate"),
        };
        let items = told.body["result"][member].as_array().unwrap_or_else(|| panic!("no list: {told:?}"));
        items.iter().map(|item| item[key].as_str().unwrap().to_owned()).collect()
    }

    pub(crate) async fn stream(&self) -> Stream {
        Stream::of(self.send(Method::GET, None).await)
    }

    /// Listens. Gives back the stream after its acknowledgement, and what that grants.
    pub(crate) async fn listen(&self, filter: Value) -> (Stream, Value) {
        let response =
            self.send(Method::POST, Some(("subscriptions/listen", json!({"notifications": filter})))).await;
        let mut stream = Stream::of(response);
        let first = stream.some().await;
        (stream, first["params"]["notifications"].clone())
    }

    /// Sends a request without a message, such as the one that ends a session.
    pub(crate) async fn ends(&self, method: Method) {
        self.post(method, String::new()).await;
    }

    /// Sends a notification.
    pub(crate) async fn tell(&self, method: &str, params: Value) {
        let body = json!({"jsonrpc": "2.0", "method": method, "params": params}).to_string();
        self.post(Method::POST, body).await;
    }

    /// Sends a request. Whoever gets the response has not read the answer yet.
    pub(crate) async fn send(&self, method: Method, message: Option<(&str, Value)>) -> Response<Body> {
        let body = message.map_or_else(String::new, |(method, mut params)| {
            if self.modern {
                params["_meta"]["io.modelcontextprotocol/protocolVersion"] = json!("2026-07-28");
                params["_meta"]["io.modelcontextprotocol/clientCapabilities"] = self.able.clone();
            }
            json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
        });
        self.post(method, body).await
    }

    async fn post(&self, method: Method, body: String) -> Response<Body> {
        let mut request = Request::builder()
            .method(method)
            .uri(&self.path)
            .header("host", "localhost")
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = &self.session {
            request = request.header("mcp-session-id", session).header("mcp-protocol-version", "2025-11-25");
        }
        if self.modern {
            let message: Value = serde_json::from_str(&body).unwrap();
            request = request.header("mcp-protocol-version", "2026-07-28");
            request = request.header("mcp-method", message["method"].as_str().unwrap());
            let params = &message["params"];
            let name = params["name"].as_str().or(params["uri"].as_str()).or(params["taskId"].as_str());
            if let Some(name) = name {
                request = request.header("mcp-name", name);
            }
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let peer = Peer::new(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1), false);
        tokio::time::timeout(LONG, serve_http(&self.gateway, peer, request)).await.expect("an answer in time")
    }
}

/// A response being read.
pub(crate) struct Stream {
    body: Body,
    pending: String,
    messages: VecDeque<Value>,
}

impl Stream {
    fn of(response: Response<Body>) -> Self {
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), pending: String::new(), messages: VecDeque::new() }
    }

    pub(crate) async fn some(&mut self) -> Value {
        tokio::time::timeout(LONG, self.read()).await.expect("a message in time")
    }

    async fn read(&mut self) -> Value {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            let data = self.body.frame().await.expect("an open stream").unwrap().into_data().unwrap();
            self.pending.push_str(std::str::from_utf8(&data).unwrap());
            while let Some(end) = self.pending.find("\n\n") {
                let event: String = self.pending.drain(..end + 2).collect();
                let data = event.lines().filter_map(|line| line.strip_prefix("data: "));
                self.messages.extend(data.filter_map(|data| serde_json::from_str(data).ok()));
            }
        }
    }
}
