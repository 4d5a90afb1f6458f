//! Two tenants behind one address: every way from one to the other, tried. What belongs to the other tenant answers exactly
//! as what does not exist.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_e2e::gateway::{Gateway, http, with};
use tollgate_testkit::fake::{
    Act, Ask, Call, FakeServer, Http, HttpPeer, Live, Peer, Reply, Script, SsePeer, json as raw, soon, until,
};

/// A key of the tenant `acme`.
const ALICE: &str = "tg_ofAliceAcme0_AliceAliceAliceAliceAliceAliceAliceAliceAli25ETiL";
const ALICE_DIGEST: &str = "7aec9e0fa8c5960fb857c3a8f96ce2f5f7b85edab4a4e73b6c2a90eadee4b7e2";
/// A key of the tenant `globex`.
const GINA: &str = "tg_ofGinaGlobex_GinaGinaGinaGinaGinaGinaGinaGinaGinaGinaGin2MA43V";
const GINA_DIGEST: &str = "724d48275d54dde62331b1d267409f9c5492272e43242526b79debf233507389";
/// A key of the tenant that is always there.
const DORA: &str = "tg_ofDoraNobody_DoraDoraDoraDoraDoraDoraDoraDoraDoraDoraDor3zpX2O";
const DORA_DIGEST: &str = "e00aaabd1ffada39b9cf7551d07ea0e4c33399fbda1e85ec38f33ccbcdc8082e";

/// A client that can be asked.
const ABLE: &str = r#"{"elicitation":{"form":{}}}"#;
const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"Your name?","requestedSchema":{"type":"object","properties":{}}}}"#;

/// Both tenants have a server `crm`, each its own; `lab` and the toolset `desk` are globex's alone, `docs` is shared.
struct World {
    gateway: Gateway,
    acme: FakeServer,
    globex: FakeServer,
    lab: FakeServer,
    docs: FakeServer,
    _policies: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(limits: Value) -> Self {
        let crm = |own: &str| {
            let mut script = Script::legacy().with_tools(["echo", own, "dialog"]);
            r#"{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true},"completions":{}}"#
                .clone_into(&mut script.capabilities);
            script.resources = vec![Script::resource(&format!("crm://{own}"))];
            script
        };
        let acme = FakeServer::start(crm("of_acme")).await;
        let globex = FakeServer::start(crm("of_globex")).await;
        let mut script = Script::modern().with_tools(["echo"]);
        script.resources = vec![Script::resource("lab://secret")];
        let lab = FakeServer::start(script).await;
        let mut script = Script::modern().with_tools(["one", "two", "three"]);
        (script.page_size, script.prompts) = (1, vec![Script::prompt("greet")]);
        r#","ttlMs":60000,"cacheScope":"public""#.clone_into(&mut script.list_members);
        let docs = FakeServer::start(script).await;
        let policies = tempfile::tempdir().unwrap();
        let policy = policies.path().join("all.cedar");
        std::fs::write(&policy, "permit (principal, action, resource);\n").unwrap();
        let bearing = |server: &FakeServer, token: &str| {
            with(&http(&server.url()), json!({ "headers": { "Authorization": token } }))
        };
        let key = |id: &str, tenant: &str, digest: &str| json!({ "id": id, "agent": id, "tenant": tenant, "sha256": digest });
        let config = json!({
            "limits": limits,
            "identity": { "keys": [
                key("alice", "acme", ALICE_DIGEST), key("gina", "globex", GINA_DIGEST), key("dora", "default", DORA_DIGEST),
            ] },
            "policy": { "files": [policy] },
            "servers": { "docs": with(&http(&docs.url()), json!({ "shared": true })) },
            "tenants": {
                "acme": { "policy": { "files": [policy] }, "servers": { "crm": bearing(&acme, "for-acme") } },
                "globex": {
                    "policy": { "files": [policy] },
                    "servers": { "crm": bearing(&globex, "for-globex"), "lab": http(&lab.url()) },
                    "toolsets": { "desk": { "tools": ["crm__of_globex"] } },
                },
            },
        });
        let gateway = Gateway::start(&config).await;
        let world = Self { gateway, acme, globex, lab, docs, _policies: policies };
        // Policies are about what the servers have, which has to be read first.
        for (key, tools) in [(ALICE, 6), (GINA, 7), (DORA, 3)] {
            let mut peer = Peer::from(world.modern(key, "/mcp"));
            until("all tools", async || (peer.tools().await.len() == tools).then_some(())).await;
        }
        world
    }

    fn http(&self, key: &str) -> Http {
        self.gateway.bearing(key)
    }

    fn modern(&self, key: &str, path: &str) -> HttpPeer {
        HttpPeer::modern(self.http(key), path)
    }

    async fn legacy(&self, key: &str, path: &str) -> HttpPeer {
        HttpPeer::legacy(self.http(key), path).await
    }
}

/// What is tried, with the other tenant's word and nobody's, and how.
type Attempt = (&'static str, [&'static str; 2], fn(&str) -> Call);

/// All that a client sees of a reply, but for what is new with every one, and with these words made one.
fn seen(reply: &Reply, words: &[&str]) -> String {
    let mut text = format!("{} {:?}\n{}", reply.status, reply.headers, reply.text());
    for word in words {
        text = text.replace(word, "WORD");
    }
    let mut parts = text.split("\"requestId\":\"");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + part.split_once('"').map_or("", |(_, rest)| rest))
}

/// Sends a request about something of another tenant's, and the same about something that nobody has, of as long a name.
async fn same(http: &Http, what: &str, words: [&str; 2], ask: impl Fn(&str) -> Ask) {
    let replies = [http.send(&ask(words[0])).await, http.send(&ask(words[1])).await];
    let [theirs, nobodys] = replies.map(|reply| seen(&reply, &words));
    assert_eq!(theirs, nobodys, "{what}");
    for word in ["globex", "acme"] {
        assert!(!theirs.contains(word), "{what} names a tenant: {theirs}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_name_is_another_server_with_its_own_credential_for_every_tenant() {
    let world = World::new().await;
    let shared = ["docs__one", "docs__two", "docs__three"];
    for (key, own) in [(ALICE, "of_acme"), (GINA, "of_globex")] {
        let legacy = world.legacy(key, "/mcp").await;
        for mut peer in [Peer::from(world.modern(key, "/mcp")), Peer::from(legacy)] {
            let tools = peer.tools().await;
            let crm = ["crm__echo".to_owned(), format!("crm__{own}"), "crm__dialog".to_owned()];
            assert!(crm.iter().all(|tool| tools.contains(tool)), "{tools:?}");
            assert!(shared.iter().all(|tool| tools.iter().any(|known| known == tool)), "{tools:?}");
            assert_eq!(peer.tool(&crm[1], "{}").await.text(), format!("called {own}"));
            assert_eq!(peer.tool("docs__one", "{}").await.text(), "called one");
            let read = peer.request(&Call::new("resources/read", format!(r#""uri":"crm://{own}""#))).await;
            assert!(read.result().contains(own), "{read:?}");
        }
    }
    for (server, own) in [(&world.acme, "for-acme"), (&world.globex, "for-globex")] {
        for received in server.log().requests() {
            assert_eq!(received.header("authorization"), Some(own), "{}", received.text());
        }
    }
    let mut dora = Peer::from(world.modern(DORA, "/mcp"));
    assert_eq!(dora.tools().await, shared, "of no tenant's own servers");
    let bare =
        world.docs.log().requests().into_iter().all(|received| received.header("authorization").is_none());
    assert!(bare, "no credential of anyone goes to what is shared");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_another_tenant_has_answers_as_what_nobody_has() {
    let world = World::new().await;
    let (http, modern) = (world.http(ALICE), world.modern(ALICE, "/mcp"));
    let legacy = world.legacy(ALICE, "/mcp").await;
    // Endpoints: of a server, of a toolset; each way of coming there.
    for words in [["lab", "bal"], ["desk", "kesd"]] {
        for (verb, root) in
            [("GET", "/mcp"), ("DELETE", "/mcp"), ("PUT", "/mcp"), ("GET", "/sse"), ("POST", "/sse")]
        {
            let ask =
                |name: &str| Ask::new(verb, &format!("{root}/{name}")).with("Accept", "text/event-stream");
            same(&http, &format!("{verb} {root}"), words, ask).await;
        }
        let call = Call::new("tools/list", "");
        let post = |name: &str| world.modern(ALICE, &format!("/mcp/{name}")).ask("1", &call);
        same(&http, "a modern request", words, post).await;
        let hello = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}}}"#;
        let post = |name: &str| {
            Ask::new("POST", &format!("/mcp/{name}"))
                .with("Content-Type", "application/json")
                .with("Accept", "application/json, text/event-stream")
                .body(hello)
        };
        same(&http, "a legacy request", words, post).await;
    }
    // Names of tools, prompts and resources, also under the other's own name of a server that the caller has too.
    let calls: [Attempt; 7] = [
        ("a tool of a server", ["lab__echo", "bal__echo"], |name| Call::tool(name, "{}")),
        ("a tool of one's server's namesake", ["crm__of_globex", "crm__of_nobody"], |name| {
            Call::tool(name, "{}")
        }),
        ("a native name", ["of_globex", "of_nobody"], |name| Call::tool(name, "{}")),
        ("a prompt", ["lab__greet", "bal__greet"], |name| {
            Call::new("prompts/get", format!(r#""name":"{name}""#))
        }),
        ("a resource", ["lab://secret", "bal://secret"], |uri| {
            Call::new("resources/read", format!(r#""uri":"{uri}""#))
        }),
        ("a resource of the namesake", ["crm://of_globex", "crm://of_nobody"], |uri| {
            Call::new("resources/read", format!(r#""uri":"{uri}""#))
        }),
        ("a completion", ["lab__greet", "bal__greet"], |name| {
            let what = format!(
                r#""ref":{{"type":"ref/prompt","name":"{name}"}},"argument":{{"name":"a","value":"b"}}"#
            );
            Call::new("completion/complete", what)
        }),
    ];
    let before = world.lab.log().requests().len();
    for (what, words, call) in calls {
        for peer in [&modern, &legacy] {
            same(&http, what, words, |name| peer.ask("7", &call(name))).await;
        }
    }
    let subscribe =
        |uri: &str| legacy.ask("8", &Call::new("resources/subscribe", format!(r#""uri":"{uri}""#)));
    same(&http, "a subscription", ["lab://secret", "bal://secret"], subscribe).await;
    assert_eq!(world.lab.log().requests().len(), before, "nothing of it reached the other tenant's server");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenants_client_holds_is_worth_nothing_to_another() {
    let world = World::new().await;
    let gina = world.http(GINA);

    // Sessions, and events of theirs.
    let alice = world.legacy(ALICE, "/mcp").await;
    let session = alice.session.clone().expect("a session");
    let unknown = "0".repeat(session.len());
    let words = [session.as_str(), unknown.as_str()];
    let call = Call::new("tools/list", "");
    let here = world.legacy(GINA, "/mcp").await;
    let post = |session: &str| here.ask("1", &call).set("Mcp-Session-Id", session);
    same(&gina, "a request in a session", words, post).await;
    let get = |session: &str| {
        Ask::new("GET", "/mcp")
            .with("Accept", "text/event-stream")
            .with("MCP-Protocol-Version", "2025-11-25")
            .with("Mcp-Session-Id", session)
            .with("Last-Event-ID", "1-1")
    };
    same(&gina, "the stream of a session, from an event on", words, get).await;
    same(&gina, "the end of a session", words, |session| {
        Ask::new("DELETE", "/mcp").with("Mcp-Session-Id", session)
    })
    .await;
    let mut alice = Peer::from(alice);
    assert_eq!(alice.tool("crm__of_acme", "{}").await.text(), "called of_acme", "it has not ended");

    // The stream of an HTTP+SSE client.
    let sse = SsePeer::connect(world.http(ALICE), "/sse").await;
    let (path, id) = sse.endpoint.rsplit_once('=').expect("an id");
    let nobodys = "0".repeat(id.len());
    let ping = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
    same(&gina, "a message to a stream", [id, &nobodys], |id| {
        Ask::new("POST", &format!("{path}={id}")).with("Content-Type", "application/json").body(ping)
    })
    .await;

    // A cursor of a merged list: of the same endpoint, and for the same list.
    let page = world.modern(ALICE, "/mcp").request(&Call::new("tools/list", "")).await.value();
    let cursor = page["nextCursor"].as_str().expect("more than a page").to_owned();
    let garbage = "x".repeat(cursor.len());
    let peer = world.modern(GINA, "/mcp");
    let list = |cursor: &str| peer.ask("1", &Call::new("tools/list", format!(r#""cursor":"{cursor}""#)));
    same(&gina, "a cursor", [&cursor, &garbage], list).await;
    let own =
        world.modern(ALICE, "/mcp").ask("1", &Call::new("tools/list", format!(r#""cursor":"{cursor}""#)));
    assert_eq!(world.http(ALICE).send(&own).await.status, 200, "it is good for its own client");

    // The state of a call that waits, at the server of the same name and in the same request.
    let ask = Call::tool("crm__dialog", &format!(r#"{{"rounds":[[{FORM}]]}}"#)).able(ABLE);
    let waiting = world.modern(ALICE, "/mcp").request(&ask).await.result();
    let state = raw::text_at(&waiting, &["requestState"]).expect("a state");
    let garbage = "x".repeat(state.len());
    let retry = |state: &str| {
        let members = format!(r#""inputResponses":{{}},"requestState":"{state}""#);
        peer.ask("1", &ask.clone().and(&members))
    };
    let before = world.globex.log().of_method("tools/call").len();
    same(&gina, "the state of a call", [&state, &garbage], retry).await;
    assert_eq!(world.globex.log().of_method("tools/call").len(), before, "nothing was called");
}

/// Waits for a notification that a list has changed, and says which.
async fn told(stream: &mut Live) -> String {
    loop {
        let event = soon("news", stream.event()).await.expect("a stream").expect("not its end");
        if let Some(method) =
            raw::text_at(&event.data, &["method"]).filter(|method| method.contains("list_changed"))
        {
            return method;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn news_of_one_tenants_server_reaches_no_other() {
    let world = World::new().await;
    let changed = |list: &str| format!(r#"{{"jsonrpc":"2.0","method":"notifications/{list}/list_changed"}}"#);
    let listen = Call::new(
        "subscriptions/listen",
        r#""notifications":{"promptsListChanged":true,"resourcesListChanged":true}"#,
    );
    for path in ["/mcp", "/mcp/crm"] {
        let mut streams = Vec::new();
        for key in [ALICE, GINA] {
            let peer = world.legacy(key, path).await;
            let legacy = peer.listen().await;
            // So that there is somebody whom the server can tell.
            Peer::from(peer).tools().await;
            let mut modern = world.modern(key, path);
            let stream = modern.open(&listen).await;
            streams.push([legacy, stream]);
        }
        for server in [&world.acme, &world.globex] {
            until("the gateway listens", async || (server.listeners() >= 1).then_some(())).await;
        }
        let [mut alice, mut gina] = <[_; 2]>::try_from(streams).expect("two");
        // What globex's server says has been heard by then, and then acme's says something else.
        world.globex.push(&changed("prompts"));
        assert_eq!(told(&mut gina[0]).await, "notifications/prompts/list_changed", "{path}");
        world.acme.push(&changed("resources"));
        assert_eq!(told(&mut alice[0]).await, "notifications/resources/list_changed", "{path}: not globex's");
        if path == "/mcp" {
            assert_eq!(
                told(&mut alice[1]).await,
                "notifications/resources/list_changed",
                "modern: not globex's"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_leaves_the_others_their_share() {
    let world = World::with(json!({ "sessions_max": 4, "tenant_share_percent": 50 })).await;
    let _alice = [world.legacy(ALICE, "/mcp").await, world.legacy(ALICE, "/mcp").await];
    let refused = HttpPeer::shake_hands(world.http(ALICE), "/mcp", "2025-11-25", "{}").await;
    assert_eq!(refused.expect_err("two are its share").refusal(), "capacity");
    let _gina = [world.legacy(GINA, "/mcp").await, world.legacy(GINA, "/mcp").await];
}

/// What a shared server calls public is not, where the same address shows another tenant something else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_public_to_caches() {
    let world = World::new().await;
    for path in ["/mcp", "/mcp/docs"] {
        let mut peer = world.modern(ALICE, path);
        for method in ["tools/list", "prompts/list", "resources/list", "server/discover"] {
            let answer = peer.request(&Call::new(method, "")).await.value();
            assert_eq!(answer["cacheScope"], "private", "{method} at {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_see_whose_a_server_is_and_callers_do_not() {
    let world = World::new().await;
    world.globex.change(|script| {
        script.acts.insert("tools/call".to_owned(), Act::ServerError);
    });
    let failed = world.modern(GINA, "/mcp").request(&Call::tool("crm__of_globex", "{}")).await;
    assert!(failed.everything().contains("crm") && !failed.everything().contains("globex/"), "{failed:?}");
    let admin = Http::new(world.gateway.admin);
    let metrics = admin.send(&Ask::new("GET", "/metrics")).await.text();
    for labels in [r#"server="crm",transport="http",tenant="globex""#, r#"server="docs",transport="http"}"#] {
        assert!(metrics.contains(labels), "{metrics}");
    }
    let ready: Value = serde_json::from_str(&admin.send(&Ask::new("GET", "/readyz")).await.text()).unwrap();
    let lines = ready["servers"].as_array().unwrap();
    let tenants: Vec<_> = lines.iter().map(|line| (line["server"].clone(), line["tenant"].clone())).collect();
    assert!(tenants.contains(&(json!("crm"), json!("acme"))), "{tenants:?}");
    assert!(tenants.contains(&(json!("docs"), Value::Null)), "{tenants:?}");
    world.gateway.logged("globex/crm").await;
    let words = ["metrics", "readyz"];
    let reply = world.http(ALICE).send(&Ask::new("GET", "/metrics")).await;
    assert_eq!(reply.status, 404, "not where clients are");
    same(&world.http(ALICE), "health", words, |path| Ask::new("GET", &format!("/{path}"))).await;
}
