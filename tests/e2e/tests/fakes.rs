//! The fakes, spoken to directly: what they are told to do, they do. Otherwise the tests of the gateway prove nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use tollgate_testkit::fake::stdio::{Stage, alive};
use tollgate_testkit::fake::{
    Act, Call, Dialect, FakeServer, Http, HttpPeer, LEAK, Peer, Script, SsePeer, StdioPeer, json, soon, until,
};

const CHILD: &str = env!("CARGO_BIN_EXE_fake-stdio-server");

async fn child(stage: &Stage, dialect: Dialect) -> StdioPeer {
    StdioPeer::start(CHILD.as_ref(), [stage.path()], &[], dialect).await
}

#[tokio::test]
async fn every_transport_of_either_era_lists_and_calls() {
    let legacy = FakeServer::start(Script::legacy()).await;
    let streams = FakeServer::start(Script::legacy().on_streams()).await;
    let modern = FakeServer::start(Script::modern()).await;
    let modern_streams = FakeServer::start(Script::modern().on_streams()).await;
    let old_stage = Stage::new(&Script::legacy());
    let new_stage = Stage::new(&Script::modern());
    let peers: [Peer; 7] = [
        HttpPeer::legacy(legacy.addr(), "/mcp").await.into(),
        HttpPeer::legacy(streams.addr(), "/mcp").await.into(),
        SsePeer::connect(legacy.addr(), "/sse").await.into(),
        HttpPeer::modern(modern.addr(), "/mcp").into(),
        HttpPeer::modern(modern_streams.addr(), "/mcp").into(),
        child(&old_stage, Dialect::Legacy).await.into(),
        child(&new_stage, Dialect::Modern).await.into(),
    ];
    for mut peer in peers {
        assert!(peer.tools().await.contains(&"echo".to_owned()));
        let arguments = r#"{"n":1.000000000000000000000000000000001,"s":"\u0041é"}"#;
        let echoed = peer.request(&Call::tool("echo", arguments).meta(r#""x":1.0"#)).await.result();
        assert_eq!(json::find(&echoed, &["echo", "arguments"]).as_deref(), Some(arguments));
        assert_eq!(json::find(&echoed, &["echo", "_meta", "x"]).as_deref(), Some("1.0"));
        let modern = peer.dialect() == Dialect::Modern;
        assert_eq!(json::find(&echoed, &["resultType"]).is_some(), modern);
        assert_eq!(peer.tool("count", "{}").await.text(), "1");
        assert_eq!(peer.tool("count", "{}").await.text(), "2");
        let progress = peer.request(&Call::tool("progress", "{}").meta(r#""progressToken":"t""#)).await;
        assert_eq!(progress.before.len(), 5, "{progress:?}");
        assert_eq!(peer.tool("no-such", "{}").await.code(), -32602);
    }
}

#[tokio::test]
async fn pages_are_cut_and_cursors_checked() {
    let names: Vec<String> = (0..25).map(|n| format!("t{n}")).collect();
    let mut script = Script::legacy().with_tools(names.iter().map(String::as_str));
    script.page_size = 10;
    let server = FakeServer::start(script).await;
    let mut peer = Peer::from(HttpPeer::legacy(server.addr(), "/mcp").await);
    assert_eq!(peer.tools().await, names);
    assert_eq!(server.log().of_method("tools/list").len(), 3);
    assert_eq!(peer.list("tools/list", Some("forged")).await.code(), -32602);
}

#[tokio::test]
async fn a_modern_fake_is_strict_about_headers() {
    let server = FakeServer::start(Script::modern()).await;
    let peer = HttpPeer::modern(server.addr(), "/mcp");
    let good = peer.ask("1", &Call::tool("echo", "{}"));
    assert_eq!(peer.http.send(&good).await.status, 200);
    for (header, value) in
        [("Mcp-Name", "other"), ("Mcp-Method", "tools/list"), ("MCP-Protocol-Version", "2025-11-25")]
    {
        let reply = peer.http.send(&good.clone().set(header, value)).await;
        assert_eq!(reply.status, 400, "{header}");
        assert!(reply.text().contains("-32020"), "{}", reply.text());
    }
}

#[tokio::test]
async fn sessions_are_kept_apart_forgotten_and_deleted() {
    let server = FakeServer::start(Script::legacy()).await;
    let a = HttpPeer::legacy(server.addr(), "/mcp").await;
    let mut b = HttpPeer::legacy(server.addr(), "/mcp").await;
    assert_eq!(server.sessions(), 2);
    let mut first = Peer::from(a.clone());
    assert_eq!(first.tool("count", "{}").await.text(), "1");
    assert_eq!(b.request(&Call::tool("count", "{}")).await.text(), "1");
    server.forget_sessions();
    assert_eq!(b.request(&Call::tool("count", "{}")).await.status, 404);
}

#[tokio::test]
async fn http_faults_look_like_faults() {
    let server = FakeServer::start(Script::legacy()).await;
    let mut peer = HttpPeer::legacy(server.addr(), "/mcp").await;
    let call = |act: &str| Call::tool(act, "{}");
    for (act, status) in [
        ("unauthorized", 401),
        ("forbidden", 403),
        ("not_found", 404),
        ("server_error", 500),
        ("redirect", 307),
    ] {
        let answer = peer.request(&call(act)).await;
        assert_eq!(answer.status, status, "{act}");
        assert!(answer.everything().contains(LEAK), "{act}");
    }
    assert!(peer.request(&call("wrong_id")).await.message.contains("987654321"));
    let twice = peer.request(&call("two_answers")).await.message;
    assert!(twice.contains("second") && serde_json::from_str::<serde_json::Value>(&twice).is_err());
    assert!(
        serde_json::from_str::<serde_json::Value>(&peer.request(&call("malformed")).await.message).is_err()
    );
    for act in ["die", "die_mid_message", "die_mid_stream"] {
        let ask = peer.ask("9", &call(act));
        let outcome = async { peer.http.open(&ask).await?.finish().await };
        assert!(outcome.await.is_err(), "{act}");
    }
    let ask = peer.ask("9", &call("half_event"));
    let reply = peer.http.open(&ask).await.unwrap().finish().await.unwrap();
    assert!(reply.text().starts_with("event: message\ndata: {") && !reply.text().contains("\n\n"));
    let ask = peer.ask("9", &call("flood"));
    let reply = peer.http.open(&ask).await.unwrap().finish().await.unwrap();
    assert!(reply.body.len() > 100_000_000);
    let live = peer.open(&call("hang").meta(r#""progressToken":1"#)).await_head().await;
    assert!(live.is_none());
    drop(peer.open(&call("progress_then_hang").meta(r#""progressToken":1"#)).await);
    let seq = server.log().of_method("tools/call").last().unwrap().seq;
    server.log().wait_left(seq).await;
}

/// Waits a moment for the head of a response that may never come.
trait AwaitHead: Future + Sized {
    async fn await_head(self) -> Option<Self::Output> {
        tokio::time::timeout(std::time::Duration::from_millis(300), self).await.ok()
    }
}

impl<F: Future> AwaitHead for F {}

#[tokio::test]
async fn gates_open_one_by_one() {
    let server = FakeServer::start(Script::modern()).await;
    let peer = HttpPeer::modern(server.addr(), "/mcp");
    let ask = peer.ask("1", &Call::tool("gate", "{}"));
    let http = Http::new(server.addr());
    let waiting = tokio::spawn(async move { http.send(&ask).await });
    server.log().wait_method("tools/call", 1).await;
    assert!(!waiting.is_finished());
    server.release();
    assert_eq!(waiting.await.unwrap().status, 200);
}

#[tokio::test]
async fn pushes_reach_every_kind_of_stream() {
    let server = FakeServer::start(Script::legacy()).await;
    let mut peer = HttpPeer::legacy(server.addr(), "/mcp").await;
    let mut stream = peer.listen().await;
    let mut old = SsePeer::connect(server.addr(), "/sse").await;
    until("two listeners", async || (server.listeners() == 2).then_some(())).await;
    let grown = peer.request(&Call::tool("grow", "{}")).await.text();
    assert!(stream.event().await.unwrap().unwrap().data.contains("list_changed"));
    assert!(old.stream.event().await.unwrap().unwrap().data.contains("list_changed"));
    assert!(Peer::from(peer).tools().await.contains(&grown));
}

#[tokio::test]
async fn a_child_is_directed_and_watched() {
    let stage = Stage::new(&Script { grandchild: true, ..Script::legacy() });
    let mut peer = child(&stage, Dialect::Legacy).await;
    let pid = peer.pid();
    assert_eq!(stage.pids("start"), [pid]);
    let answer = peer.request(&Call::tool("pid", "{}")).await;
    assert_eq!(answer.text(), pid.to_string());
    assert_eq!(stage.wait_method("tools/call", 1).await.at(&["params", "name"]).as_deref(), Some(r#""pid""#));
    stage.play(&Script::legacy().on("tools/call", Act::Malformed));
    peer.send(r#"{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"pid"}}"#).await;
    assert!(String::from_utf8(peer.line().await.unwrap()).unwrap().contains(LEAK));
    stage.play(&Script::legacy().on("tools/call", Act::DieMidMessage));
    peer.send(r#"{"jsonrpc":"2.0","id":78,"method":"tools/call","params":{"name":"pid"}}"#).await;
    let half = peer.line().await.unwrap();
    assert!(serde_json::from_slice::<serde_json::Value>(&half).is_err());
    assert!(peer.line().await.is_none());
    assert_eq!(peer.close().await, Some(2));
    let grandchild = stage.pids("grandchild")[0];
    assert!(alive(grandchild), "nobody ended it");
    std::process::Command::new("kill").arg(grandchild.to_string()).status().unwrap();
}

#[tokio::test]
async fn a_server_that_asks_waits_for_its_answer() {
    let server = FakeServer::start(Script::legacy()).await;
    let mut peer = HttpPeer::legacy(server.addr(), "/mcp").await;
    let mut live = peer.open(&Call::tool("ask_ping", "{}")).await;
    let asked = soon("an event", live.event()).await.unwrap().unwrap().data;
    assert_eq!(json::text_at(&asked, &["method"]).as_deref(), Some("ping"));
    let own = json::find(&asked, &["id"]).unwrap();
    let reply = peer.http.send(&peer.post(&format!(r#"{{"jsonrpc":"2.0","id":{own},"result":{{}}}}"#))).await;
    assert_eq!(reply.status, 202);
    let answer = soon("an event", live.event()).await.unwrap().unwrap().data;
    assert!(answer.contains(r#"\"result\":{}"#), "{answer}");

    let stage = Stage::new(&Script::legacy());
    let mut peer = child(&stage, Dialect::Legacy).await;
    peer.send(r#"{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":"ask_sampling"}}"#).await;
    let asked = String::from_utf8(peer.line().await.unwrap()).unwrap();
    let own = json::find(&asked, &["id"]).unwrap();
    peer.send(&format!(r#"{{"jsonrpc":"2.0","id":{own},"error":{{"code":-32601,"message":"no"}}}}"#)).await;
    assert!(String::from_utf8(peer.line().await.unwrap()).unwrap().contains("-32601"));
}
