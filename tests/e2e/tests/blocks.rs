//! What an operator blocks stops everywhere within a second: on the command line of a real gateway, at two of them that share
//! a store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::Instant;

use serde_json::{Value, json};
use tokio::process::Command;
use tollgate_database::Server;
use tollgate_e2e::gateway::{EVERYBODY, Gateway, binary, http, servers, stdio, with};
use tollgate_e2e::guarded::{BASE, declared, resource, trusted, unthrottled};
use tollgate_e2e::prompt::at_once;
use tollgate_testkit::fake::stdio::Stage;
use tollgate_testkit::fake::{
    Act, Answer, Ask, Call, Dialect, Event, FakeServer, Http, HttpPeer, Live, Peer, Script, SsePeer,
    json as raw, soon, until,
};
use tollgate_testkit::issuer::{Issuer, api_key, digest};

const CHILD: &str = env!("CARGO_BIN_EXE_fake-stdio-server");
const FORM: &str = r#"{"method":"elicitation/create","params":{"message":"Your name?","requestedSchema":{"type":"object","properties":{}}}}"#;
const LISTS_CHANGED: &str = "notifications/tools/list_changed";

/// Two gateways before the same servers and on the same store.
struct Replicas {
    gateways: Vec<Gateway>,
    new: FakeServer,
    old: FakeServer,
    stage: Stage,
    issuer: Issuer,
}

impl Replicas {
    /// `store` is the section of that name; without one, both keep what they know in the first one's folder.
    async fn start(count: usize, store: Option<Value>) -> Self {
        let new =
            FakeServer::start(Script::modern().with_tools(["echo", "count", "progress_then_hang"])).await;
        let mut script = Script::legacy().with_tools(["echo", "dialog", "progress_then_hang"]);
        r#"{"tools":{"listChanged":true},"resources":{"listChanged":true,"subscribe":true}}"#
            .clone_into(&mut script.capabilities);
        script.resources = vec![Script::resource("old://one")];
        let old = FakeServer::start(script).await;
        let stage = Stage::new(&Script::legacy().with_tools(["echo"]));
        let issuer = Issuer::start().await;
        let identity = unthrottled(json!({
            "keys": [declared("ann"), declared("bob")], "issuers": [trusted(&issuer)],
        }));
        let members = json!({
            "public_url": BASE, "identity": identity, "policy": { "files": [EVERYBODY] },
        });
        let all = [("new", http(&new.url())), ("old", http(&old.url())), ("child", stdio(CHILD, &stage))];
        let config = with(&servers(all), members);
        let config = store.map_or(config.clone(), |store| with(&config, json!({ "store": store })));
        let mut gateways: Vec<Gateway> = Vec::new();
        for _ in 0..count {
            gateways.push(match gateways.first() {
                Some(first) => Gateway::start_on(&config, first.data()).await,
                None => Gateway::start(&config).await,
            });
        }
        let replicas = Self { gateways, new, old, stage, issuer };
        // Policies allow what lists have shown.
        for gateway in &replicas.gateways {
            let mut peer = Peer::from(modern(gateway, "ann"));
            until("all tools", async || (peer.tools().await.len() == 7).then_some(())).await;
        }
        replicas
    }

    async fn one() -> Self {
        Self::start(1, None).await
    }

    fn gateway(&self) -> &Gateway {
        &self.gateways[0]
    }

    async fn block(&self, kind: &str, name: &str) -> Instant {
        self.command(&["block", kind, name, "--reason", "it is out of hand"]).await;
        Instant::now()
    }

    async fn unblock(&self, kind: &str, name: &str) {
        self.command(&["unblock", kind, name, "--reason", "mended"]).await;
    }

    async fn command(&self, words: &[&str]) -> Value {
        self.gateway().command(&[words, &["--json"]].concat()).await
    }
}

fn modern(gateway: &Gateway, agent: &str) -> HttpPeer {
    HttpPeer::modern(gateway.bearing(&api_key(agent)), "/mcp")
}

async fn legacy(gateway: &Gateway, agent: &str) -> HttpPeer {
    HttpPeer::legacy(gateway.bearing(&api_key(agent)), "/mcp").await
}

async fn call(http: Http, tool: &str) -> Answer {
    HttpPeer::modern(http, "/mcp").request(&Call::tool(tool, "{}")).await
}

fn assert_blocked(answer: &Answer, what: &str) {
    assert_eq!((answer.status, answer.refusal().as_str()), (403, "blocked"), "{what}: {answer:?}");
    assert!(!answer.everything().contains("out of hand"), "the reason is the operator's own: {answer:?}");
}

/// Waits until every gateway refuses this, within a second, and then that each serves it again once it is unblocked.
async fn stopped_everywhere(replicas: &Replicas, (kind, name): (&str, &str), token: &str, tool: &str) {
    let ok = async |gateway: &Gateway| call(gateway.bearing(token), tool).await.status == 200;
    for gateway in &replicas.gateways {
        assert!(ok(gateway).await, "{kind} {name}: before");
    }
    let blocked = replicas.block(kind, name).await;
    for gateway in &replicas.gateways {
        until("a refusal", async || (!ok(gateway).await).then_some(())).await;
        at_once(&format!("{kind} {name}"), blocked.elapsed());
        let answer = call(gateway.bearing(token), tool).await;
        assert_blocked(&answer, kind);
        assert!(answer.everything().contains(&format!("\"blocked\":\"{kind}\"")), "{answer:?}");
        // Others notice nothing.
        assert_eq!(call(gateway.bearing(&api_key("bob")), "new__count").await.status, 200, "{kind} {name}");
    }
    replicas.unblock(kind, name).await;
    for gateway in &replicas.gateways {
        until("service", async || ok(gateway).await.then_some(())).await;
    }
}

async fn every_kind_is_stopped_everywhere(replicas: &Replicas) {
    let ann = api_key("ann");
    let token = replicas.issuer.token(&resource("/mcp"));
    for (what, token, tool) in [
        (("agent", "ann"), &ann, "new__echo"),
        (("key", "ann"), &ann, "new__echo"),
        (("user", "ann"), &token, "new__echo"),
        (("tool", "new__echo"), &ann, "new__echo"),
        (("server", "old"), &ann, "old__echo"),
    ] {
        stopped_everywhere(replicas, what, token, tool).await;
    }
    // A tenant is everybody.
    let blocked = replicas.block("tenant", "default").await;
    for gateway in &replicas.gateways {
        for agent in ["ann", "bob"] {
            let refused = async || call(gateway.bearing(&api_key(agent)), "new__echo").await.status == 403;
            until("a refusal", async || refused().await.then_some(())).await;
        }
        at_once("a tenant", blocked.elapsed());
    }
    replicas.unblock("tenant", "default").await;
    for gateway in &replicas.gateways {
        until("service", async || {
            (call(gateway.bearing(&ann), "new__echo").await.status == 200).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_blocked_stops_at_both_gateways_on_a_file() {
    every_kind_is_stopped_everywhere(&Replicas::start(2, None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_blocked_stops_at_both_gateways_on_a_database() {
    let store = json!({ "url": Server::shared().database() });
    every_kind_is_stopped_everywhere(&Replicas::start(2, Some(store)).await).await;
}

/// Reads a stream to its end.
async fn to_its_end(mut live: Live) -> Vec<Event> {
    let mut events = Vec::new();
    while let Ok(Some(event)) = soon("an event or the end", live.event()).await {
        events.push(event);
    }
    events
}

fn last(events: &[Event]) -> &str {
    events.last().map_or("", |event| &event.data)
}

/// What is on record of this.
async fn recorded(gateway: &Gateway, filters: &[&str]) -> Vec<Value> {
    let command = Command::new(binary())
        .args(["audit", "search", "--json"])
        .args(filters)
        .arg("--config")
        .arg(gateway.folder().join("tollgate.yaml"))
        .arg("--data-dir")
        .arg(gateway.data())
        .output();
    let output = soon("what is on record", command).await.expect("the binary starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_with_a_blocked_server_is_cut_off() {
    let replicas = Replicas::one().await;
    let gateway = replicas.gateway();
    let hang = |server: &str| {
        Call::tool(&format!("{server}__progress_then_hang"), "{}").meta(r#""progressToken":"t""#)
    };
    let mut streams = Vec::new();
    for server in ["new", "old"] {
        streams.push((server, modern(gateway, "ann").open(&hang(server)).await));
        streams.push((server, legacy(gateway, "ann").await.open(&hang(server)).await));
    }
    for (what, stream) in &mut streams {
        let first = soon("progress", stream.event()).await.unwrap().expect("an event");
        assert!(first.data.contains("progress"), "{what}: {first:?}");
    }
    let dialog = Call::tool("old__dialog", &format!(r#"{{"rounds":[[{FORM}]]}}"#))
        .able(r#"{"elicitation":{"form":{}}}"#);
    let mut asker = modern(gateway, "ann");
    let parked = asker.request(&dialog).await;
    assert_eq!(
        raw::text_at(&parked.result(), &["resultType"]).as_deref(),
        Some("input_required"),
        "{parked:?}"
    );
    let state = raw::text_at(&parked.result(), &["requestState"]).unwrap();
    assert_eq!(gateway.kept("parked_call").await, 1);
    let mut hung = Vec::new();
    for nth in [1, 2] {
        hung.push(replicas.new.log().wait_method("tools/call", nth).await.seq);
    }
    let before = replicas.old.log().of_method("notifications/cancelled").len();

    replicas.command(&["block", "server", "old", "--reason", "leaks", "--show-reason"]).await;
    let blocked = replicas.block("server", "new").await;
    let mut ended = Vec::new();
    for (server, stream) in streams {
        ended.push((server, to_its_end(stream).await));
    }
    at_once("the end of all calls", blocked.elapsed());
    for (server, events) in ended {
        let said = last(&events);
        assert!(said.contains(r#""code":"blocked","stage":"block""#), "{server}: {events:?}");
        assert_eq!(said.contains("this server: leaks"), server == "old", "{said}");
    }
    gateway.keeps("parked_call", 0).await;
    // The servers are told: the legacy one of two calls and of the one that was parked.
    for seq in hung {
        replicas.new.log().wait_left(seq).await;
    }
    let told = async || {
        let count = replicas.old.log().of_method("notifications/cancelled").len();
        (count == before + 3).then_some(())
    };
    until("three cancellations", told).await;
    // The retry of the parked call is refused, and is over for good.
    let again =
        dialog.clone().and(&format!(r#""inputResponses":{{}},"requestState":{}"#, raw::quote(&state)));
    let refused = asker.request(&again).await;
    assert_eq!((refused.status, refused.refusal().as_str()), (403, "blocked"), "{refused:?}");
    replicas.unblock("server", "old").await;
    until("service", async || {
        (call(gateway.bearing(&api_key("ann")), "old__echo").await.status == 200).then_some(())
    })
    .await;
    assert_eq!(asker.request(&again).await.refusal(), "invalid_request_state");

    // It is on record as taken back: of the legacy server the parked call too.
    for (server, wanted) in [("new", 2), ("old", 3)] {
        let filters = ["--outcome", "taken_back", "--server", server];
        until(&format!("{wanted} taken back"), async || {
            (recorded(gateway, &filters).await.len() == wanted).then_some(())
        })
        .await;
    }
    let changes = until("changes on record", async || {
        let found = recorded(gateway, &["--kind", "change"]).await;
        let words: Vec<String> =
            found.iter().filter_map(|row| row["change"].as_str().map(str::to_owned)).collect();
        words.contains(&"server.unblocked".to_owned()).then_some(words)
    })
    .await;
    assert_eq!(changes.iter().filter(|word| *word == "server.blocked").count(), 2, "{changes:?}");
    let refused = recorded(gateway, &["--kind", "refusal", "--code", "blocked"]).await;
    assert!(refused.iter().any(|row| row["stage"] == "block" && row["server"] == "old"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_blocked_agent_has_open_ends() {
    let replicas = Replicas::one().await;
    let gateway = replicas.gateway();
    let hang = Call::tool("new__progress_then_hang", "{}").meta(r#""progressToken":"t""#);
    let listen = Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let session = legacy(gateway, "ann").await;
    let mut calls =
        vec![modern(gateway, "ann").open(&hang).await, legacy(gateway, "ann").await.open(&hang).await];
    for stream in &mut calls {
        soon("progress", stream.event()).await.unwrap().expect("an event");
    }
    let get = session.listen().await;
    let mut sse = SsePeer::connect(gateway.bearing(&api_key("ann")), "/sse").await;
    sse.post(&hang.message("\"s\"", Dialect::Legacy)).await;
    soon("progress", sse.stream.event()).await.unwrap().expect("an event");
    let listener = modern(gateway, "ann").open(&listen).await;
    let kept = modern(gateway, "bob").open(&listen).await;
    assert_eq!((get.status, listener.status, kept.status), (200, 200, 200));

    let blocked = replicas.block("agent", "ann").await;
    for stream in calls {
        let events = to_its_end(stream).await;
        assert!(last(&events).contains(r#""code":"blocked""#), "{events:?}");
    }
    to_its_end(get).await;
    let events = to_its_end(sse.stream).await;
    assert!(
        last(&events).contains(r#""id":"s""#) && last(&events).contains(r#""code":"blocked""#),
        "{events:?}"
    );
    to_its_end(listener).await;
    at_once("the end of all that an agent has open", blocked.elapsed());
    // Whatever it asks next, by whatever method.
    for door in [Call::new("tools/list", ""), Call::new("server/discover", ""), listen] {
        let answer = modern(gateway, "ann").request(&door).await;
        assert_blocked(&answer, "a blocked agent");
    }
    let ask = Ask::new("POST", &sse.endpoint).with("Content-Type", "application/json");
    let ask = ask.body(Call::new("ping", "").message("1", Dialect::Legacy));
    assert_blocked(&Answer::of(&gateway.bearing(&api_key("ann")).send(&ask).await), "where SSE posts");
    let mut old_session = session;
    assert_eq!(old_session.request(&Call::new("ping", "")).await.status, 403);
    // Others go on.
    until("the gateway listens", async || (replicas.new.listeners() > 0).then_some(())).await;
    replicas.new.push(&format!(r#"{{"jsonrpc":"2.0","method":"{LISTS_CHANGED}"}}"#));
    hears(kept).await;
    assert_eq!(gateway.metric("tollgate_blocks{kind=\"agent\"}").await, 1);
    assert!(gateway.metric("tollgate_blocked_total{kind=\"agent\"}").await >= 4);
    let ready = gateway.readiness().await;
    assert_eq!(
        (&ready["ready"], &ready["blocks"]["agent"], &ready["degraded"]),
        (&json!(true), &json!(1), &json!([]))
    );
}

/// Waits until a listener hears that the tools have changed.
async fn hears(mut live: Live) -> Live {
    let heard =
        async { while !live.event().await.unwrap().expect("it is open").data.contains(LISTS_CHANGED) {} };
    soon("a changed list", heard).await;
    live
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_show_what_may_be_called_and_their_readers_are_told() {
    let replicas = Replicas::one().await;
    let gateway = replicas.gateway();
    let listen = Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let mut listener = modern(gateway, "ann").open(&listen).await;
    let session = legacy(gateway, "ann").await;
    let mut get = session.listen().await;
    let mut peer = Peer::from(modern(gateway, "ann"));
    let before = peer.tools().await;
    assert!(before.contains(&"new__echo".to_owned()), "{before:?}");
    for (kind, name, gone) in [
        ("tool", "new__echo", vec!["new__echo"]),
        ("tool", "new/count", vec!["new__count"]),
        ("server", "old", vec!["old__echo", "old__dialog", "old__progress_then_hang"]),
    ] {
        replicas.block(kind, name).await;
        (listener, get) = (hears(listener).await, hears(get).await);
        let left: Vec<_> = before.iter().filter(|tool| !gone.contains(&tool.as_str())).cloned().collect();
        // The word may still be about the one before.
        until("the list without it", async || (peer.tools().await == left).then_some(())).await;
        let listed = modern(gateway, "ann").request(&Call::new("tools/list", "")).await;
        assert_eq!(listed.everything().contains(r#""code":"blocked""#), kind == "server", "{listed:?}");
        replicas.unblock(kind, name).await;
        (listener, get) = (hears(listener).await, hears(get).await);
        until("the same list", async || (peer.tools().await == before).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blocked_server_is_left_alone_and_its_child_ends() {
    let replicas = Replicas::one().await;
    let gateway = replicas.gateway();
    assert_eq!(call(gateway.bearing(&api_key("ann")), "child__echo").await.status, 200);
    let listen = Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let _listener = modern(gateway, "ann").open(&listen).await;
    until("the server's own listeners", async || (replicas.new.listeners() > 0).then_some(())).await;
    let with_children = gateway.children().len();
    assert!(with_children > 0);

    replicas.block("server", "child").await;
    until("the end of the child", async || (gateway.children().len() < with_children).then_some(())).await;
    replicas.block("server", "new").await;
    until("the end of what listens", async || (replicas.new.listeners() == 0).then_some(())).await;
    let asked = replicas.new.log().requests().len();
    for server in ["child", "new"] {
        let answer = call(gateway.bearing(&api_key("ann")), &format!("{server}__echo")).await;
        assert_blocked(&answer, server);
        for call in [Call::new("tools/list", ""), listen.clone()] {
            let at = HttpPeer::modern(gateway.bearing(&api_key("ann")), &format!("/mcp/{server}"))
                .request(&call)
                .await;
            assert_eq!(at.refusal(), "blocked", "{at:?}");
        }
    }
    assert!(gateway.children().len() < with_children, "nothing was started");
    assert_eq!(replicas.new.log().requests().len(), asked, "nothing was asked");

    for server in ["child", "new"] {
        replicas.unblock("server", server).await;
        until("service", async || {
            let answer = call(gateway.bearing(&api_key("ann")), &format!("{server}__echo")).await;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    until("the server's own listeners", async || (replicas.new.listeners() > 0).then_some(())).await;
    assert!(!replicas.stage.received().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_survives_a_restart_and_holds_where_nothing_ran() {
    let mut replicas = Replicas::one().await;
    replicas.block("tool", "new__echo").await;
    replicas.gateways[0].restart().await;
    // From the first request on.
    assert_blocked(&call(replicas.gateway().bearing(&api_key("ann")), "new__echo").await, "after a restart");
    let in_force = async || {
        let found = recorded(replicas.gateway(), &["--kind", "change"]).await;
        found.iter().any(|row| row["change"] == "tool.blocked").then_some(())
    };
    until("what is in force on record", in_force).await;
    replicas.unblock("tool", "new__echo").await;
    until("service", async || {
        (call(replicas.gateway().bearing(&api_key("ann")), "new__echo").await.status == 200).then_some(())
    })
    .await;
}

/// Nobody is known, no policy is there: the kill switch works all the same, also where nothing was kept so far.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_identity_too() {
    let server = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
    for more in [json!({}), json!({ "ledger": { "enabled": false } })] {
        let config = with(&servers([("there", http(&server.url()))]), more);
        let gateway = Gateway::start(&config).await;
        let status = async |tool: &str| gateway.modern("/mcp").request(&Call::tool(tool, "{}")).await.status;
        assert_eq!(status("there__echo").await, 200);
        gateway.command(&["block", "tool", "there__echo", "--reason", "r", "--json"]).await;
        let blocked = Instant::now();
        until("a refusal", async || (status("there__echo").await == 403).then_some(())).await;
        at_once("a tool without identity", blocked.elapsed());
        assert_eq!(status("there__count").await, 200);
        assert_eq!(Peer::from(gateway.modern("/mcp")).tools().await, ["there__count"]);
        gateway.command(&["unblock", "tool", "there__echo", "--json"]).await;
        until("service", async || (status("there__echo").await == 200).then_some(())).await;
    }
}

/// Whoever proves nothing has a name all the same: `local`, in policies, limits and blocks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_proves_nothing_is_stopped_as_the_agent_local() {
    let server = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
    let rule = json!({ "name": "l", "match": { "agent": "local", "tool": "count" }, "rate": { "requests": 1, "per": "24h" } });
    let config = with(&servers([("there", http(&server.url()))]), json!({ "limits": { "rules": [rule] } }));
    let gateway = Gateway::start(&config).await;
    let ask = async |tool: &str| gateway.modern("/mcp").request(&Call::tool(tool, "{}")).await;
    assert_eq!(ask("there__count").await.status, 200);
    assert_eq!(ask("there__count").await.refusal(), "rate_limited");
    assert_eq!(ask("there__echo").await.status, 200);
    let mut session = gateway.legacy("/mcp").await;
    gateway.command(&["block", "agent", "local", "--reason", "it is out of hand", "--json"]).await;
    let blocked = Instant::now();
    until("a refusal", async || (ask("there__echo").await.status == 403).then_some(())).await;
    at_once("the agent local", blocked.elapsed());
    assert_blocked(&ask("there__echo").await, "the agent local");
    assert_eq!(session.request(&Call::new("ping", "")).await.status, 403);
    gateway.command(&["unblock", "agent", "local", "--json"]).await;
    until("service", async || (ask("there__echo").await.status == 200).then_some(())).await;
}

/// What a caller is told of a server that policy hides is the same whether it is blocked or not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_tells_nothing_of_a_server_that_policy_hides() {
    let (seen, hidden) = (
        FakeServer::start(Script::modern().with_tools(["echo"])).await,
        FakeServer::start(Script::legacy().with_tools(["echo"])).await,
    );
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("seen.cedar");
    let text = r#"permit(principal, action, resource) when { resource in Server::"seen" };"#;
    std::fs::write(&policy, text).expect("written");
    let config = with(
        &servers([("seen", http(&seen.url())), ("hidden", http(&hidden.url()))]),
        json!({ "identity": unthrottled(json!({ "keys": [declared("ann")] })), "policy": { "files": [policy] } }),
    );
    let gateway = Gateway::start(&config).await;
    let mut peer = Peer::from(modern(&gateway, "ann"));
    until("the tools", async || (peer.tools().await.len() == 1).then_some(())).await;
    let knock = async || {
        let mut all: Vec<(u16, String)> = Vec::new();
        for path in ["/mcp", "/mcp/hidden", "/mcp/nowhere"] {
            let mut peer = HttpPeer::modern(gateway.bearing(&api_key("ann")), path);
            for call in [
                Call::new("tools/list", ""),
                Call::new("resources/list", ""),
                Call::new("server/discover", ""),
                Call::tool("hidden__echo", "{}"),
                Call::tool("echo", "{}"),
            ] {
                let answer = peer.request(&call).await;
                all.push((answer.status, answer.refusal()));
                let said = answer.everything();
                assert!(!said.contains("hidden") || said.contains("Unknown tool"), "{path}: {said}");
            }
            let initialize = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;
            let ask = Ask::new("POST", path)
                .with("Content-Type", "application/json")
                .with("Accept", "application/json, text/event-stream")
                .body(initialize);
            let answer = Answer::of(&gateway.bearing(&api_key("ann")).send(&ask).await);
            all.push((answer.status, answer.refusal()));
        }
        all
    };
    let before = knock().await;
    assert_eq!(before[6..12], before[12..18], "as a server that there is not");
    gateway.command(&["block", "server", "hidden", "--reason", "r", "--show-reason", "--json"]).await;
    until("the block", async || {
        (gateway.metric("tollgate_blocks{kind=\"server\"}").await == 1).then_some(())
    })
    .await;
    assert_eq!(knock().await, before);
}

/// A merged list waits for its slowest server, and is put together by what is blocked then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_under_way_shows_nothing_of_what_is_blocked_meanwhile() {
    let fast = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
    let other = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
    let slow = FakeServer::start(Script::modern().with_tools(["echo"]).on("tools/list", Act::Gate)).await;
    let all = [("fast", http(&fast.url())), ("other", http(&other.url())), ("slow", http(&slow.url()))];
    let gateway = Gateway::start(&servers(all)).await;
    let mut peer = gateway.modern("/mcp");
    let listing = tokio::spawn(async move { peer.request(&Call::new("tools/list", "")).await });
    for server in [&fast, &other, &slow] {
        server.log().wait_method("tools/list", 1).await;
    }
    for what in [["server", "fast"], ["tool", "other__echo"]] {
        gateway.command(&[&["block"], &what[..], &["--reason", "r", "--json"]].concat()).await;
    }
    let status = async |tool: &str| gateway.modern("/mcp").request(&Call::tool(tool, "{}")).await.status;
    for tool in ["fast__count", "other__echo"] {
        until("a refusal", async || (status(tool).await == 403).then_some(())).await;
    }
    slow.release();
    let listed = soon("the list", listing).await.expect("it is answered").value();
    let names: Vec<&str> =
        listed["tools"].as_array().expect("tools").iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert_eq!(names, ["other__count", "slow__echo"]);
    let missing = &listed["_meta"]["dev.tollgate/unavailable"];
    assert_eq!((&missing[0]["server"], &missing[0]["code"]), (&json!("fast"), &json!("blocked")), "{listed}");
    assert_eq!(missing.as_array().map(Vec::len), Some(1), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_tenant_may_not_use_another_may() {
    let server = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let key = |id: &str, tenant: &str| json!({ "id": id, "agent": "bot", "tenant": tenant, "sha256": digest(&api_key(id)) });
    let policy = json!({ "files": [EVERYBODY] });
    let config = json!({
        "identity": unthrottled(json!({ "keys": [key("a", "acme"), key("g", "globex")] })),
        "policy": policy,
        "servers": { "docs": with(&http(&server.url()), json!({ "shared": true })) },
        "tenants": { "acme": { "policy": policy }, "globex": { "policy": policy } },
    });
    let gateway = Gateway::start(&config).await;
    let status = async |id: &str| call(gateway.bearing(&api_key(id)), "docs__echo").await.status;
    let serves = async |id: &str| until("service", async || (status(id).await == 200).then_some(())).await;
    for (what, tenant, stopped, goes_on) in [
        (["agent", "bot"], "acme", "a", "g"),
        (["tool", "docs__echo"], "globex", "g", "a"),
        (["server", "docs"], "globex", "g", "a"),
    ] {
        serves("a").await;
        serves("g").await;
        let [kind, name] = what;
        let words = [kind, name, "--tenant", tenant, "--reason", "r", "--json"];
        gateway.command(&[&["block"], &words[..]].concat()).await;
        until("a refusal", async || (status(stopped).await == 403).then_some(())).await;
        assert_eq!(status(goes_on).await, 200, "{kind} {name}");
        gateway.command(&[&["unblock"], &words[..]].concat()).await;
        serves(stopped).await;
    }
}

/// A legacy client that hears of a resource of a server that is blocked hears no more, and the server is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_session_is_subscribed_to_at_a_blocked_server_ends() {
    let replicas = Replicas::one().await;
    let mut session = legacy(replicas.gateway(), "ann").await;
    let uri = json!("old://one");
    let subscribe = Call::new("resources/subscribe", format!("\"uri\":{uri}"));
    let answer = session.request(&subscribe).await;
    assert!(answer.error().is_none(), "{answer:?}");
    let sessions = replicas.old.sessions();
    assert!(sessions > 0 && replicas.gateway().kept("subscription").await > 0);
    replicas.block("server", "old").await;
    replicas.gateway().keeps("subscription", 0).await;
    until("the end of its sessions", async || (replicas.old.sessions() == 0).then_some(())).await;
    let refused = session.request(&subscribe).await;
    assert!(refused.error().is_some(), "{refused:?}");
}
