//! Tokens of one tenant at another's: the caller's tenant alone says which servers there are.

use serde_json::{Value, json};
use tollgate_e2e::gateway::{EVERYBODY, Gateway, http, servers, with};
use tollgate_e2e::guarded::{BASE, resource, trusted, unthrottled};
use tollgate_testkit::fake::{Answer, Call, FakeServer, HttpPeer, Peer, Reply, Script};
use tollgate_testkit::issuer::Issuer;

/// Two tenants that both call a server `vault`; `ledger` is of one of them, and `clock` is shared.
struct Two {
    gateway: Gateway,
    of_acme: FakeServer,
    of_globex: FakeServer,
    _shared: FakeServer,
}

impl Two {
    async fn start(issuers: Value) -> Self {
        let of_acme = FakeServer::start(Script::modern()).await;
        let of_globex = FakeServer::start(Script::modern()).await;
        let shared = FakeServer::start(Script::modern()).await;
        let policy = json!({ "files": [EVERYBODY] });
        let tenants = json!({
            "acme": { "servers": { "vault": http(&of_acme.url()), "ledger": http(&of_acme.url()) }, "policy": policy },
            "globex": { "servers": { "vault": http(&of_globex.url()) }, "policy": policy },
        });
        let clock = with(&http(&shared.url()), json!({ "shared": true }));
        let config = json!({
            "public_url": BASE, "identity": unthrottled(json!({ "issuers": issuers })), "tenants": tenants,
            "policy": policy,
        });
        let gateway = Gateway::start(&with(&servers([("clock", clock)]), config)).await;
        Self { gateway, of_acme, of_globex, _shared: shared }
    }

    async fn call(&self, token: &str, tool: &str) -> Answer {
        HttpPeer::modern(self.gateway.bearing(token), "/mcp").request(&Call::tool(tool, "{}")).await
    }

    async fn ask(&self, token: &str, path: &str) -> Reply {
        let peer = HttpPeer::modern(self.gateway.bearing(token), path);
        peer.http.send(&peer.ask("7", &Call::new("tools/list", ""))).await
    }

    /// How many calls have reached the server of each tenant.
    fn reached(&self) -> (usize, usize) {
        let calls = |server: &FakeServer| server.log().of_method("tools/call").len();
        (calls(&self.of_acme), calls(&self.of_globex))
    }
}

/// What a reply says, without what is different in every reply.
fn said(reply: &Reply, name: &str) -> String {
    let text = reply.text();
    let own =
        tollgate_testkit::fake::json::text_at(&text, &["error", "data", "dev.tollgate/refusal", "requestId"]);
    let text = own.map_or(text.clone(), |own| text.replace(&own, "REQUEST"));
    let headers: Vec<_> =
        reply.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("date")).collect();
    format!("{} {headers:?} {text}", reply.status).replace(name, "NAME")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_what_is_its_tenants_alone() {
    let issuer = Issuer::start().await;
    let two = Two::start(json!([with(&trusted(&issuer), json!({ "claims": { "tenant": "org.id" } }))])).await;
    let of =
        |tenant: Value, path: &str| issuer.token_with(&resource(path), json!({ "org": { "id": tenant } }));
    let (acme, globex) = (of(json!("acme"), "/mcp"), of(json!("globex"), "/mcp"));

    two.call(&acme, "vault__echo").await.result();
    assert_eq!(two.reached(), (1, 0), "the same name, another server");
    two.call(&globex, "vault__echo").await.result();
    assert_eq!(two.reached(), (1, 1), "the same name, another server");
    let tools =
        async |token: &str| Peer::from(HttpPeer::modern(two.gateway.bearing(token), "/mcp")).tools().await;
    let (of_acme, of_globex) = (tools(&acme).await, tools(&globex).await);
    for (tool, in_acme, in_globex) in
        [("vault__echo", true, true), ("ledger__echo", true, false), ("clock__echo", true, true)]
    {
        assert_eq!(of_acme.iter().any(|name| name == tool), in_acme, "{tool} for acme: {of_acme:?}");
        assert_eq!(of_globex.iter().any(|name| name == tool), in_globex, "{tool} for globex: {of_globex:?}");
    }

    // What is another tenant's is as good as what is nobody's.
    let (taken, made_up) = (two.call(&globex, "ledger__echo").await, two.call(&globex, "nobody__echo").await);
    assert_eq!(
        (taken.status, taken.code(), taken.refusal()),
        (made_up.status, made_up.code(), made_up.refusal())
    );
    let taken = two.ask(&of(json!("globex"), "/mcp/ledger"), "/mcp/ledger").await;
    let made_up = two.ask(&of(json!("globex"), "/mcp/nobody"), "/mcp/nobody").await;
    assert_eq!(said(&taken, "ledger"), said(&made_up, "nobody"));
    assert_eq!(two.ask(&of(json!("acme"), "/mcp/ledger"), "/mcp/ledger").await.status, 200);
    assert_eq!(two.reached(), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_no_tenant_here_is_none() {
    let issuer = Issuer::start().await;
    let two = Two::start(json!([with(&trusted(&issuer), json!({ "claims": { "tenant": "tenant" } }))])).await;
    for (what, tenant) in [
        ("unknown", json!("initech")),
        ("empty", json!("")),
        ("absent", Value::Null),
        ("another spelling", json!("Acme")),
        ("with a space", json!("acme ")),
        ("several", json!(["acme", "globex"])),
        ("one in a list", json!(["acme"])),
        ("a number", json!(1)),
        ("an object", json!({ "id": "acme" })),
    ] {
        let token = issuer.token_with(&resource("/mcp"), json!({ "tenant": tenant }));
        let answer = two.call(&token, "vault__echo").await;
        assert_eq!(
            (answer.status, answer.refusal().as_str()),
            (401, "unauthenticated"),
            "{what}: {answer:?}"
        );
        let said = answer.everything();
        assert!(!said.contains("acme") && !said.contains("tenant"), "{what}: {said}");
    }
    assert_eq!(two.reached(), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_speaks_for_its_own_tenant_only() {
    let (acme, globex) = (Issuer::start().await, Issuer::start().await);
    let of = |issuer: &Issuer, tenant: &str| with(&trusted(issuer), json!({ "tenant": tenant }));
    let two = Two::start(json!([of(&acme, "acme"), of(&globex, "globex")])).await;
    // Whatever its tokens say.
    let claims = json!({ "tenant": "acme", "org": { "id": "acme" } });
    two.call(&globex.token_with(&resource("/mcp"), claims), "vault__echo").await.result();
    assert_eq!(two.reached(), (0, 1));
    let forged = globex.key().sign(&acme.claims(&resource("/mcp")));
    assert_eq!(two.call(&forged, "vault__echo").await.status, 401);
    two.call(&acme.token(&resource("/mcp")), "vault__echo").await.result();
    assert_eq!(two.reached(), (1, 1));

    // A user of the one is not the user of that name of the other: a session is the one's alone.
    let peer = HttpPeer::legacy(two.gateway.bearing(&acme.token(&resource("/mcp"))), "/mcp").await;
    let mut other = peer.clone();
    other.http = two.gateway.bearing(&globex.token(&resource("/mcp")));
    assert_eq!(other.request(&Call::new("tools/list", "")).await.status, 404);
}
