//! Clients of the legacy era whose connections break: they come back to the stream that broke and miss nothing, whatever
//! the server behind the gateway speaks.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tollgate_e2e::clients::{Driver, Library};
use tollgate_e2e::gateway::{Gateway, http, servers};
use tollgate_testkit::fake::{
    Act, Ask, Call, Dialect, Entry, FakeServer, HttpPeer, Live, Peer, Reply, Script, soon, until,
};

const REVISIONS: [&str; 3] = ["2025-03-26", "2025-06-18", "2025-11-25"];

/// A gateway with these limits before one server of each era: `old` and `new`.
async fn before_both(limits: Value) -> (Gateway, FakeServer, FakeServer) {
    let old = FakeServer::start(Script::legacy()).await;
    let new = FakeServer::start(Script::modern()).await;
    let mut config = servers([("old", http(&old.url())), ("new", http(&new.url()))]);
    config["limits"] = limits;
    (Gateway::start(&config).await, old, new)
}

async fn client(gateway: &Gateway, revision: &str) -> HttpPeer {
    HttpPeer::legacy_with(gateway.listen, "/mcp", revision, "{}").await
}

/// A call of a tool with a progress token.
fn watched(tool: &str) -> Call {
    Call::tool(tool, "{}").meta(r#""progressToken":"watch""#)
}

fn come_back(peer: &HttpPeer, last: &str) -> Ask {
    let get = Ask::new("GET", &peer.path)
        .with("Accept", "text/event-stream")
        .with("MCP-Protocol-Version", &peer.revision)
        .with("Last-Event-ID", last);
    match &peer.session {
        Some(session) => get.with("Mcp-Session-Id", session),
        None => get,
    }
}

async fn resume(peer: &HttpPeer, last: &str) -> Live {
    let live = soon("the resumed stream", peer.http.open(&come_back(peer, last))).await.unwrap();
    assert_eq!(live.status, 200, "after {last}: {:?}", live.headers);
    assert_eq!(live.header("content-type"), Some("text/event-stream"));
    live
}

/// The data of all events up to the end of the stream.
async fn rest(mut live: Live) -> Vec<String> {
    let mut rest = Vec::new();
    while let Some(event) = soon("an event", live.event()).await.unwrap() {
        rest.push(event.data);
    }
    rest
}

fn is_told_that_it_cannot(reply: &Reply) {
    assert_eq!(reply.status, 400, "{}", reply.everything());
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(body["error"]["data"]["dev.tollgate/refusal"]["code"], "unknown_event", "{body}");
}

/// Waits until a server has answered a call.
async fn answered(server: &FakeServer) {
    let call = server.log().of_method("tools/call").remove(0).seq;
    let is_it = |entry: &Entry| matches!(entry, Entry::Answered { seq } if *seq == call);
    until("the server has answered", async || server.log().entries().iter().any(is_it).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_stream_broke_goes_on_and_is_resumed_where_it_broke() {
    for revision in REVISIONS {
        let (gateway, old, new) = before_both(json!({})).await;
        let mut peer = client(&gateway, revision).await;
        for (server, tool) in [(&old, "old__progress_then_gate"), (&new, "new__progress_then_gate")] {
            let mut live = peer.open(&watched(tool)).await;
            let mut primed = None;
            if revision == "2025-11-25" {
                let event = soon("the priming event", live.any_event()).await.unwrap().unwrap();
                assert_eq!((event.data.as_str(), event.retry), ("", Some(1000)));
                primed = event.id;
            }
            let event = soon("progress", live.any_event()).await.unwrap().unwrap();
            assert!(
                event.data.contains("notifications/progress"),
                "{revision}: nothing without data: {event:?}"
            );
            let last = event.id.expect("every event has an id");
            assert!(last.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{last}");
            drop(live);
            server.release();
            answered(server).await;

            let answer = rest(resume(&peer, &last).await).await;
            assert_eq!(answer.len(), 1, "{revision} {tool}: {answer:?}");
            assert!(answer[0].contains("\"result\""), "{revision} {tool}: {answer:?}");
            if let Some(primed) = primed {
                let all = rest(resume(&peer, &primed).await).await;
                assert_eq!(all, [event.data, answer[0].clone()], "from the beginning");
            }
            assert!(server.log().of_method("notifications/cancelled").is_empty(), "{revision} {tool}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_back_early_goes_on_live_and_replaces_the_broken_connection() {
    let (gateway, old, _new) = before_both(json!({})).await;
    let mut peer = client(&gateway, "2025-11-25").await;
    let mut live = peer.open(&watched("old__progress_then_gate")).await;
    let last = soon("progress", live.event()).await.unwrap().unwrap().id.unwrap();
    // The gateway does not know yet that the first connection is broken.
    let mut again = resume(&peer, &last).await;
    let primed = soon("the priming event", again.any_event()).await.unwrap().unwrap();
    assert_eq!(
        primed.id.as_deref(),
        Some(last.as_str()),
        "a client that breaks again comes back to the same place"
    );
    assert_eq!(rest(live).await, Vec::<String>::new(), "the older connection ends");
    old.release();
    assert_eq!(rest(again).await.len(), 1);
    assert_eq!(old.log().of_method("tools/call").len(), 1, "it was called once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_unknown_evicted_or_another_sessions_gets_nothing() {
    let (gateway, _old, _new) = before_both(json!({ "resume_events_max": 3 })).await;
    let (mut one, mut two) = (client(&gateway, "2025-11-25").await, client(&gateway, "2025-11-25").await);
    let mut live = one.open(&watched("old__progress")).await;
    let primed = soon("the priming event", live.any_event()).await.unwrap().unwrap().id.unwrap();
    let mut events = Vec::new();
    while let Some(event) = soon("an event", live.event()).await.unwrap() {
        events.push(event);
    }
    assert_eq!(events.len(), 6);
    let id = |index: usize| events[index].id.clone().unwrap();
    for unknown in [primed.as_str(), &id(0), &id(1), "999-0", "nonsense", &format!("{primed}9")] {
        is_told_that_it_cannot(&one.http.send(&come_back(&one, unknown)).await);
    }
    let kept = rest(resume(&one, &id(2)).await).await;
    assert_eq!(kept, events[3..].iter().map(|event| event.data.clone()).collect::<Vec<_>>());
    assert!(rest(resume(&one, &id(5)).await).await.is_empty(), "nothing comes after the reply");

    is_told_that_it_cannot(&two.http.send(&come_back(&two, &id(3))).await);
    // Its own stream of the same number is another one.
    let own = two.open(&Call::tool("new__progress", "{}").meta(r#""progressToken":"theirs""#)).await;
    let own = rest(own).await;
    assert!(own[0].contains("theirs"), "{own:?}");
    assert_eq!(rest(resume(&two, &id(3)).await).await, own[4..]);
    let mut nobody = two.clone();
    nobody.session = Some("nobody".to_owned());
    assert_eq!(nobody.http.send(&come_back(&nobody, &id(3))).await.status, 404);
    assert_eq!(nobody.http.send(&come_back(&gateway.modern("/mcp"), &id(3))).await.status, 405);
    assert!(one.request(&Call::tool("old__echo", "{}")).await.error().is_none(), "the session goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_belongs_to_no_request_is_kept_for_a_client_that_comes_back() {
    let (gateway, old, _new) = before_both(json!({})).await;
    let mut peer = client(&gateway, "2025-11-25").await;
    // The gateway listens to a server once it is used.
    assert!(peer.request(&Call::tool("old__echo", "{}")).await.error().is_none());
    until("the gateway listens", async || (old.listeners() > 0).then_some(())).await;
    let mut live = peer.listen().await;
    let primed = soon("the priming event", live.any_event()).await.unwrap().unwrap();
    let first = primed.id.unwrap();
    drop(live);
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
    old.push(changed);
    let mut live = resume(&peer, &first).await;
    let event = soon("what came meanwhile", live.event()).await.unwrap().unwrap();
    assert!(event.data.contains("tools/list_changed"), "{event:?}");
    old.push(r#"{"jsonrpc":"2.0","method":"notifications/prompts/list_changed"}"#);
    let event = soon("what comes now", live.event()).await.unwrap().unwrap();
    assert!(event.data.contains("prompts/list_changed"), "{event:?}");
    let last = event.id.unwrap();
    drop(live);
    let live = resume(&peer, &last).await;
    gateway.signal(rustix::process::Signal::TERM);
    assert!(rest(live).await.is_empty(), "a drain ends the stream cleanly, and nothing comes twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_takes_long_becomes_a_stream() {
    let (gateway, old, _new) = before_both(json!({ "resume_after_ms": 4000 })).await;
    let mut peer = client(&gateway, "2025-11-25").await;
    let answer = peer.request(&Call::tool("old__echo", "{}")).await;
    assert!(answer.headers.iter().any(|(_, value)| value == "application/json"), "{answer:?}");
    let mut live = peer.open(&Call::tool("old__gate", "{}")).await;
    assert_eq!(live.header("content-type"), Some("text/event-stream"));
    let primed = soon("the priming event", live.any_event()).await.unwrap().unwrap().id.unwrap();
    drop(live);
    old.release();
    assert_eq!(rest(resume(&peer, &primed).await).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_client_gets_no_event_ids() {
    let (gateway, _old, _new) = before_both(json!({})).await;
    let mut peer = gateway.modern("/mcp");
    for tool in ["old__progress", "new__progress"] {
        let reply = peer.open(&watched(tool)).await.finish().await.unwrap();
        assert_eq!(reply.header("content-type"), Some("text/event-stream"));
        assert!(!reply.text().contains("\nid:") && !reply.text().contains("retry:"), "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reply_too_large_to_keep_is_told_and_not_half_sent() {
    let limits = json!({ "resume_bytes_max": 1024, "resume_after_ms": 1 });
    let old = FakeServer::start(Script::legacy().on("tools/call", Act::ProgressThenGate)).await;
    let mut config = servers([("old", http(&old.url()))]);
    config["limits"] = limits;
    let gateway = Gateway::start(&config).await;
    let mut peer = client(&gateway, "2025-11-25").await;
    let big = Call::tool("old__echo", &format!(r#"{{"text":"{}"}}"#, "x".repeat(4096)))
        .meta(r#""progressToken":1"#);
    let mut live = peer.open(&big).await;
    let last = soon("progress", live.event()).await.unwrap().unwrap().id.unwrap();
    drop(live);
    old.release();
    answered(&old).await;
    until("the stream is given up", async || {
        let reply = soon("an answer", peer.http.open(&come_back(&peer, &last))).await.unwrap();
        (reply.status == 400).then_some(())
    })
    .await;
    let mut peer: Peer = peer.into();
    assert_eq!(peer.dialect(), Dialect::Legacy);
    old.change(|script| script.acts.clear());
    assert!(peer.tool("old__echo", "{}").await.error().is_none());
}

/// Passes bytes on between clients and the gateway, and can break all connections at once.
struct Cutter {
    addr: SocketAddr,
    /// What the gateway has said so far over it, and what clients have.
    said: Arc<Mutex<(String, String)>>,
    cut: watch::Sender<u32>,
}

impl Cutter {
    async fn start(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let addr = listener.local_addr().expect("bound");
        let said = Arc::new(Mutex::new((String::new(), String::new())));
        let cut = watch::Sender::new(0);
        let (heard, cuts) = (Arc::clone(&said), cut.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, gateway, Arc::clone(&heard), cuts.clone()));
            }
        });
        Self { addr, said, cut }
    }

    fn gateway_said(&self, text: &str) -> bool {
        self.said.lock().unwrap().0.contains(text)
    }

    fn client_said(&self, text: &str) -> bool {
        self.said.lock().unwrap().1.to_ascii_lowercase().contains(text)
    }

    fn cut(&self) {
        self.cut.send_modify(|cuts| *cuts += 1);
    }
}

async fn pass(
    mut client: TcpStream,
    gateway: SocketAddr,
    said: Arc<Mutex<(String, String)>>,
    mut cuts: watch::Receiver<u32>,
) {
    let Ok(mut server) = TcpStream::connect(gateway).await else { return };
    cuts.mark_unchanged();
    let (mut up, mut down) = ([0; 8192], [0; 8192]);
    loop {
        tokio::select! {
            // Both sockets are closed in the midst of whatever they were saying.
            _ = cuts.changed() => return,
            read = client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                said.lock().unwrap().1.push_str(&String::from_utf8_lossy(&up[..count]));
                if server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&down[..count]).await.is_err() {
                    return;
                }
                said.lock().unwrap().0.push_str(&String::from_utf8_lossy(&down[..count]));
            }
        }
    }
}

/// Client libraries that resume by themselves, over a connection that is cut while a call is under way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_libraries_resume_a_call_that_was_cut() {
    for library in [Library::TypeScriptV1, Library::PythonV1] {
        for (server, name) in [("old", "old__progress_then_gate"), ("new", "new__progress_then_gate")] {
            let (gateway, old, new) = before_both(json!({ "resume_retry_ms": 100 })).await;
            let behind = if server == "old" { &old } else { &new };
            let cutter = Cutter::start(gateway.listen).await;
            let mut driver = Driver::start(library);
            let job = json!({
                "id": "cut", "timeoutS": 60,
                "connect": { "url": format!("http://{}/mcp", cutter.addr) },
                "script": [{ "do": "call", "name": name, "arguments": {}, "progress": true }],
            });
            let run = driver.job(&job);
            let cut = async {
                until("progress arrives", async || {
                    cutter.gateway_said("notifications/progress").then_some(())
                })
                .await;
                cutter.cut();
                until("the client comes back", async || cutter.client_said("last-event-id:").then_some(()))
                    .await;
                behind.release();
            };
            let (answer, ()) = tokio::join!(run, cut);
            let what = format!("{library:?} to {server}: {answer}");
            let result = &answer["script"][0]["ok"];
            assert_eq!(result["content"][0]["text"], "called progress_then_gate", "{what}");
            assert_eq!(
                answer["heard"]["progress"].as_array().map(Vec::len),
                Some(1),
                "nothing twice: {what}"
            );
            assert_eq!(behind.log().of_method("tools/call").len(), 1, "{what}");
            assert!(behind.log().of_method("notifications/cancelled").is_empty(), "{what}");
        }
    }
}
