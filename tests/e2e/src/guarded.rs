//! A gateway that knows its callers, before one fake server of each era, and every door by which one could slip in.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use serde_json::{Value, json};
use tollgate_testkit::fake::{Ask, Call, Dialect, FakeServer, Http, HttpPeer, Reply, Script, soon};
use tollgate_testkit::issuer::{Issuer, api_key, digest};

use crate::gateway::{EVERYBODY, Gateway, http, servers, with};

/// Where the gateway is, as far as the world knows.
pub const BASE: &str = "https://tollgate.example";

/// The canonical URI of an endpoint: what tokens are meant for.
pub fn resource(path: &str) -> String {
    format!("{BASE}{path}")
}

/// An issuer as the configuration has it. It is on loopback, and may be asked again soon.
pub fn trusted(issuer: &Issuer) -> Value {
    json!({ "issuer": issuer.url(), "allow_private_addresses": true, "keys_again_ms_min": 20 })
}

/// A declared key of an agent; its text is [`api_key`] of the same name.
pub fn declared(agent: &str) -> Value {
    json!({ "id": agent, "agent": agent, "sha256": digest(&api_key(agent)) })
}

/// An `identity` section with these members, where failed attempts are not slowed down.
pub fn unthrottled(members: Value) -> Value {
    with(&json!({ "failures_max": 1_000_000 }), members)
}

/// A gateway that knows its callers.
pub struct Guarded {
    /// The gateway.
    pub gateway: Gateway,
    /// The modern server behind it.
    pub new: FakeServer,
    /// The legacy server behind it.
    pub old: FakeServer,
}

impl Guarded {
    /// Starts one that knows its callers by this.
    pub async fn start(identity: Value) -> Self {
        Self::start_with(identity, json!({})).await
    }

    /// The same with further members of the configuration.
    pub async fn start_with(identity: Value, more: Value) -> Self {
        // Policies allow only what a server lists.
        let tools = ["echo", "count", "dialog", "progress_then_hang", "progress_then_gate"];
        let new = FakeServer::start(Script::modern().with_tools(tools)).await;
        let old = FakeServer::start(Script::legacy().with_tools(tools)).await;
        let config = Self::config_of(&new, &old, &identity, more);
        let gateway = Gateway::start(&config).await;
        Self { gateway, new, old }
    }

    /// The configuration with another `identity` section.
    pub fn config(&self, identity: &Value, more: Value) -> Value {
        Self::config_of(&self.new, &self.old, identity, more)
    }

    fn config_of(new: &FakeServer, old: &FakeServer, identity: &Value, more: Value) -> Value {
        let servers = servers([("new", http(&new.url())), ("old", http(&old.url()))]);
        let config = with(
            &servers,
            json!({ "public_url": BASE, "identity": identity, "policy": { "files": [EVERYBODY] } }),
        );
        with(&config, more)
    }

    /// How many requests of clients have reached a server: whatever changes or tells something there.
    pub fn reached(&self) -> usize {
        let effects = ["tools/call", "resources/read", "prompts/get", "completion/complete", "tasks/get"];
        let of = |server: &FakeServer| effects.map(|method| server.log().of_method(method).len());
        of(&self.new).iter().chain(of(&self.old).iter()).sum()
    }

    /// Tries every door with what this client presents: a name of the door, and the status and headers of the response,
    /// with the whole body where it is an error.
    pub async fn knock(&self, http: &Http) -> Vec<(&'static str, Reply)> {
        let mut replies = Vec::new();
        for (door, ask) in doors() {
            let live = soon(door, http.open(&ask)).await.expect("a response");
            let (status, headers) = (live.status, live.headers.clone());
            let body = if status >= 400 {
                soon(door, live.finish()).await.expect("a body").body
            } else {
                Vec::new()
            };
            replies.push((door, Reply { status, headers, body }));
        }
        replies
    }

    /// Asserts that nobody comes in by any door with this credential, that every door says how one would, and that no
    /// server hears of it.
    ///
    /// # Panics
    /// If one does.
    pub async fn refuses(&self, what: &str, token: &str) {
        let before = self.reached();
        for (door, reply) in self.knock(&self.gateway.bearing(token)).await {
            assert_challenged(&format!("{what}: {door}"), &reply);
            assert!(!reply.everything().contains(token), "{what}: {door}: the credential is repeated");
        }
        assert_eq!(self.reached(), before, "{what}: a server heard of it");
    }

    /// Asserts that this credential is good.
    ///
    /// # Panics
    /// If it is not.
    pub async fn takes(&self, what: &str, token: &str) {
        let mut peer = HttpPeer::modern(self.gateway.bearing(token), "/mcp");
        let answer = peer.request(&Call::tool("new__echo", "{}")).await;
        assert!(answer.status == 200 && answer.error().is_none(), "{what}: {answer:?}");
    }

    /// The status of a call with this credential.
    pub async fn status(&self, token: &str) -> u16 {
        let mut peer = HttpPeer::modern(self.gateway.bearing(token), "/mcp");
        peer.request(&Call::tool("new__echo", "{}")).await.status
    }
}

/// Asserts that a response is a 401 that says where to get a token.
///
/// # Panics
/// If it is not.
pub fn assert_challenged(what: &str, reply: &Reply) {
    assert_eq!(reply.status, 401, "{what}: {}", reply.everything());
    let challenge = reply.header("www-authenticate").unwrap_or_else(|| panic!("{what}: no challenge"));
    let metadata = format!("resource_metadata=\"{BASE}/.well-known/oauth-protected-resource/");
    assert!(challenge.starts_with("Bearer ") && challenge.contains(&metadata), "{what}: {challenge}");
}

/// One request by every door, each as a client of its kind would make it.
fn doors() -> Vec<(&'static str, Ask)> {
    // Only the shape of the requests is taken from the peers; the address is the caller's.
    let nowhere = std::net::SocketAddr::from(([127, 0, 0, 1], 9));
    let modern = |path: &str, call: Call| HttpPeer::modern(nowhere, path).ask("1", &call);
    let hello = Call::new(
        "initialize",
        r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}"#,
    );
    let mut legacy = HttpPeer::modern(nowhere, "/mcp");
    legacy.dialect = Dialect::Legacy;
    let stream = |path: &str| Ask::new("GET", path).with("Accept", "text/event-stream");
    vec![
        ("a modern call", modern("/mcp", Call::tool("new__echo", "{}"))),
        ("a modern list at a server's own endpoint", modern("/mcp/new", Call::new("tools/list", ""))),
        (
            "a modern listener",
            modern("/mcp", Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#)),
        ),
        ("a legacy handshake", legacy.ask("1", &hello).without("mcp-protocol-version")),
        (
            "a legacy stream",
            stream("/mcp").with("MCP-Protocol-Version", "2025-11-25").with("Mcp-Session-Id", "none"),
        ),
        ("the end of a legacy session", Ask::new("DELETE", "/mcp").with("Mcp-Session-Id", "none")),
        ("an HTTP+SSE stream", stream("/sse")),
        (
            "an HTTP+SSE message",
            Ask::new("POST", "/messages?sessionId=none").with("Content-Type", "application/json").body("{}"),
        ),
    ]
}
