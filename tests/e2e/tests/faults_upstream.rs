//! Servers that fail in every way: whoever called is told so with the right code and nothing of the server's own words,
//! nothing hangs, the same server works again afterwards, and the other servers notice nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::{Duration, Instant};

use proptest::prelude::{any, prop, prop_assert};
use proptest::test_runner::{Config, TestRunner};
use serde_json::json;
use tollgate_e2e::bend::{Bend, bent};
use tollgate_e2e::gateway::{Gateway, http, servers, stdio, with};
use tollgate_e2e::upstream::{Kind, Upstream, fake_child};
use tollgate_testkit::fake::stdio::Stage;
use tollgate_testkit::fake::{
    Act, Answer, Call, Dialect, FakeServer, LEAK, PATIENCE, Peer, Script, json as raw, soon, until,
};

/// How long the gateway waits for an answer that never comes in these tests. For all others it waits much longer, so that a
/// machine that stands still for a while makes none of them late.
const REQUEST_TIMEOUT: Duration = Duration::from_millis(1500);
/// How much later than that a caller may be told, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(8);

const CLOSED: &[&str] = &["upstream_closed"];
const TIMEOUT: &[&str] = &["upstream_timeout"];
const PROTOCOL: &[&str] = &["upstream_protocol_error"];
const PROTOCOL_OR_CLOSED: &[&str] = &["upstream_protocol_error", "upstream_closed"];
/// A broken message on a channel that carries the answers of many: whose it was cannot be known.
const LOST: &[&str] = &["upstream_protocol_error", "upstream_closed", "upstream_timeout"];
const TOO_LARGE: &[&str] = &["upstream_too_large"];
const AUTH: &[&str] = &["upstream_auth"];
const ANY: &[&str] = &[
    "upstream_unavailable",
    "upstream_closed",
    "upstream_protocol_error",
    "upstream_too_large",
    "upstream_timeout",
];

/// What the caller must get.
enum Want {
    /// One of these codes.
    Refusal(&'static [&'static str]),
    /// The answer, as if nothing had happened.
    Answer,
}

/// The tools that fail as they are called, and what must come of it. `None` where the transport cannot fail so.
fn want(tool: &str, kind: Kind) -> Option<Want> {
    let shared = kind.is_shared_channel();
    let json = matches!(kind, Kind::ModernJson | Kind::LegacyJson);
    let codes = match tool {
        // It blocks everyone else's answers too; see the test of its own.
        "drip" if shared => return None,
        "hang" | "drip" => TIMEOUT,
        "die_mid_message" if kind.is_stdio() => PROTOCOL_OR_CLOSED,
        "die" | "die_mid_message" | "die_mid_stream" => CLOSED,
        "malformed" | "invalid_utf8" | "not_json_rpc" if shared => LOST,
        "malformed" | "invalid_utf8" | "not_json_rpc" => PROTOCOL,
        "wrong_id" if shared => TIMEOUT,
        "wrong_id" | "half_event" => PROTOCOL_OR_CLOSED,
        "two_answers" | "unasked" if json => PROTOCOL,
        "two_answers" | "unasked" => return Some(Want::Answer),
        "flood" => TOO_LARGE,
        _ if kind.is_stdio() => return None,
        "unauthorized" | "forbidden" => AUTH,
        "not_found" | "server_error" | "redirect" => ANY,
        _ if shared => return None,
        "huge_headers" => ANY,
        "wrong_type" => PROTOCOL,
        other => panic!("{other}"),
    };
    Some(Want::Refusal(codes))
}

const FAULTS: [&str; 19] = [
    "hang",
    "die",
    "die_mid_message",
    "die_mid_stream",
    "malformed",
    "wrong_id",
    "two_answers",
    "unasked",
    "flood",
    "invalid_utf8",
    "half_event",
    "drip",
    "unauthorized",
    "forbidden",
    "not_found",
    "server_error",
    "redirect",
    "huge_headers",
    "wrong_type",
];

/// Nothing of what the server said, and nothing of where it is, may reach a client.
fn assert_nothing_leaked(answer: &Answer, upstream: &Upstream, what: &str) {
    let all = answer.everything();
    assert!(!all.contains(LEAK), "{what}: the server's own words leaked: {all}");
    assert!(!all.contains(&upstream.address()), "{what}: the server's address leaked: {all}");
    assert!(!all.to_ascii_lowercase().contains("www-authenticate"), "{what}: the challenge leaked: {all}");
}

fn assert_refused(answer: &Answer, codes: &[&str], what: &str) {
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    assert!(answer.error().is_some(), "{what}: not an error: {answer:?}");
    assert_eq!(answer.code(), -32603, "{what}: {answer:?}");
    assert!(
        codes.contains(&answer.refusal().as_str()),
        "{what}: {} is not among {codes:?}: {answer:?}",
        answer.refusal()
    );
}

/// Each fault of one kind of server, for clients of both eras.
async fn faults_of(kind: Kind) {
    let mut script = Script::legacy();
    script.tools.extend(FAULTS.map(Script::tool));
    let faulty = Upstream::start(kind, script).await;
    let well = FakeServer::start(Script::legacy()).await;
    let patient = with(&faulty.entry(), json!({ "message_bytes_max": 8 << 20 }));
    let timeout_ms = u64::try_from(REQUEST_TIMEOUT.as_millis()).unwrap();
    let hasty = with(&patient, json!({ "request_timeout_ms": timeout_ms }));
    let all = [("hasty", hasty), ("patient", patient), ("well", http(&well.url()))];
    let gateway = Gateway::start(&servers(all)).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut bystander = gateway.peer(dialect, "/mcp/well").await;
        for tool in FAULTS.into_iter().chain(["not_json_rpc"]) {
            let Some(want) = want(tool, kind) else { continue };
            let what = format!("{tool} of {kind:?} for {dialect:?}");
            let waits_in_vain = matches!(want, Want::Refusal(codes) if codes.contains(&"upstream_timeout"));
            let path = if waits_in_vain { "/mcp/hasty" } else { "/mcp/patient" };
            let mut caller = gateway.peer(dialect, path).await;
            // The server works before the fault, so that what is seen is the fault of this one call.
            works_soon(&mut caller, &what).await;
            let started = Instant::now();
            let call = Call::tool(tool, "{}").meta(r#""progressToken":"token""#);
            let (answer, undisturbed) = tokio::join!(soon(&what, caller.request(&call)), async {
                let started = Instant::now();
                for _ in 0..3 {
                    assert_eq!(bystander.tool("well-known", "{}").await.code(), -32602);
                    assert!(bystander.tool("echo", "{}").await.error().is_none());
                }
                started.elapsed()
            });
            let took = started.elapsed();
            assert!(took < REQUEST_TIMEOUT + SLACK, "{what}: told after {took:?}");
            assert!(undisturbed < REQUEST_TIMEOUT + SLACK, "{what}: another server took {undisturbed:?}");
            assert_nothing_leaked(&answer, &faulty, &what);
            match want {
                Want::Refusal(codes) => assert_refused(&answer, codes, &what),
                Want::Answer => assert_eq!(answer.text(), format!("called {tool}"), "{what}"),
            }
            works_soon(&mut caller, &format!("after {what}")).await;
        }
    }
    // 100 MB came from the server several times; the gateway never held even one of them.
    assert!(gateway.memory_peak_kib() < 96 * 1024, "{kind:?}: {} KiB", gateway.memory_peak_kib());
}

/// The server answers, at the latest after it was started again.
async fn works_soon(caller: &mut Peer, what: &str) {
    works_soon_as(caller, "echo", what).await;
}

async fn works_soon_as(caller: &mut Peer, tool: &str, what: &str) {
    let mut last = String::new();
    let works = async {
        loop {
            let answer = caller.tool(tool, "{}").await;
            if !answer.message.is_empty() && answer.error().is_none() {
                return;
            }
            last = format!("{answer:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, works).await.is_ok();
    assert!(in_time, "{what}: the server does not work; last: {last}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_http_with_json_bodies() {
    faults_of(Kind::ModernJson).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_http_with_streams() {
    faults_of(Kind::ModernStream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_children() {
    faults_of(Kind::ModernStdio).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_http_with_json_bodies() {
    faults_of(Kind::LegacyJson).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_http_with_streams() {
    faults_of(Kind::LegacyStream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_http_sse() {
    faults_of(Kind::LegacySse).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn legacy_children() {
    faults_of(Kind::LegacyStdio).await;
}

/// A list that fails leaves a gap at `/mcp`, which the result names, and is an error at `/mcp/{server}`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_fails_leaves_a_gap() {
    for kind in Kind::ALL {
        let faulty = Upstream::start(kind, Script::legacy()).await;
        let well = FakeServer::start(Script::legacy().with_tools(["echo"])).await;
        let entry = with(&faulty.entry(), json!({ "list_timeout_ms": 1000, "message_bytes_max": 1 << 20 }));
        let gateway = Gateway::start(&servers([("faulty", entry), ("well", http(&well.url()))])).await;
        let mut acts = vec![Act::Hang, Act::Die, Act::Malformed, Act::WrongId, Act::Flood, Act::InvalidUtf8];
        if !kind.is_shared_channel() {
            acts.push(Act::Drip);
        }
        if !kind.is_stdio() {
            acts.extend([Act::Unauthorized, Act::ServerError, Act::NotFound, Act::Redirect]);
        }
        for act in acts {
            let what = format!("{act:?} of {kind:?}");
            faulty.play(Script::legacy().on("tools/list", act.clone()));
            let mut merged = gateway.peer(kind.dialect(), "/mcp").await;
            let started = Instant::now();
            let answer = merged.list("tools/list", None).await;
            assert!(started.elapsed() < Duration::from_secs(1) + SLACK, "{what}: {:?}", started.elapsed());
            assert_nothing_leaked(&answer, &faulty, &what);
            let page = answer.value();
            let names: Vec<_> =
                page["tools"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["well__echo"], "{what}");
            let gaps = page["_meta"]["dev.tollgate/unavailable"]
                .as_array()
                .unwrap_or_else(|| panic!("{what}: {page}"))
                .clone();
            assert_eq!(gaps.len(), 1, "{what}: {gaps:?}");
            assert_eq!(gaps[0]["server"], "faulty", "{what}");
            assert!(gaps[0]["code"].as_str().unwrap().starts_with("upstream_"), "{what}: {gaps:?}");
            assert!(!gaps[0]["reason"].as_str().unwrap().is_empty(), "{what}");
            let mut native = gateway.peer(kind.dialect(), "/mcp/faulty").await;
            let answer = native.list("tools/list", None).await;
            assert_nothing_leaked(&answer, &faulty, &what);
            assert_eq!(answer.code(), -32603, "{what}: {answer:?}");
            faulty.play(Script::legacy());
            until(&format!("{what}: the list is whole again"), async || {
                merged.list("tools/list", None).await.value()["_meta"]["dev.tollgate/unavailable"]
                    .is_null()
                    .then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_come_up_later() {
    let addr = FakeServer::free_address().await;
    let old = FakeServer::free_address().await;
    let stage = Stage::new(&Script { exits_at_start: true, ..Script::legacy() });
    let well = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&servers([
        ("late", http(&format!("http://{addr}/mcp"))),
        ("old", tollgate_e2e::gateway::sse(&format!("http://{old}/sse"))),
        ("child", stdio(&fake_child(), &stage)),
        ("well", http(&well.url())),
    ]))
    .await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    let page = peer.list("tools/list", None).await.value();
    let mut gaps: Vec<_> = page["_meta"]["dev.tollgate/unavailable"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| (gap["server"].as_str().unwrap().to_owned(), gap["code"].as_str().unwrap().to_owned()))
        .collect();
    gaps.sort();
    let down = |server: &str| (server.to_owned(), "upstream_unavailable".to_owned());
    assert_eq!(gaps, [down("child"), down("late"), down("old")]);
    for tool in ["late__echo", "old__echo", "child__echo"] {
        let answer = peer.tool(tool, "{}").await;
        assert_refused(&answer, &["upstream_unavailable"], tool);
        assert!(!answer.everything().contains(&addr.port().to_string()), "{answer:?}");
    }
    assert!(peer.tool("well__echo", "{}").await.error().is_none());

    let _late = FakeServer::start_at(addr, Script::legacy()).await;
    let _old = FakeServer::start_at(old, Script::legacy()).await;
    stage.play(&Script::legacy());
    for tool in ["late__echo", "old__echo", "child__echo"] {
        until(tool, async || peer.tool(tool, "{}").await.error().is_none().then_some(())).await;
    }
    until("a whole list", async || {
        peer.list("tools/list", None).await.value()["_meta"]["dev.tollgate/unavailable"]
            .is_null()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_or_broken_start_is_bounded_and_told() {
    for kind in Kind::ALL {
        let hello = if kind.dialect() == Dialect::Modern { "server/discover" } else { "initialize" };
        for act in [Act::Hang, Act::Malformed, Act::Die] {
            let what = format!("{act:?} on {hello} of {kind:?}");
            let faulty = Upstream::start(kind, Script::legacy().on(hello, act)).await;
            let entry = with(&faulty.entry(), json!({ "probe_timeout_ms": 500 }));
            let gateway = Gateway::start(&servers([("faulty", entry)])).await;
            let mut peer = gateway.peer(kind.dialect(), "/mcp").await;
            let started = Instant::now();
            let answer = peer.tool("faulty__echo", "{}").await;
            assert!(started.elapsed() < Duration::from_secs(15), "{what}: {:?}", started.elapsed());
            assert_nothing_leaked(&answer, &faulty, &what);
            assert_eq!(answer.code(), -32603, "{what}: {answer:?}");
            assert!(answer.refusal().starts_with("upstream_"), "{what}: {answer:?}");
            faulty.play(Script::legacy());
            // At the address of all there is a session also while the server is left alone.
            works_soon_as(&mut gateway.peer(kind.dialect(), "/mcp").await, "faulty__echo", &what).await;
        }
    }
}

/// A legacy child that ignores what it does not know: only the time of the probe tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_is_silent_about_discover_is_legacy() {
    let stage = Stage::new(&Script { silent_probe: true, ..Script::legacy() });
    let entry = with(&stdio(&fake_child(), &stage), json!({ "probe_timeout_ms": 500 }));
    let gateway = Gateway::start(&servers([("quiet", entry)])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp/quiet").await;
        assert!(peer.tool("echo", "{}").await.error().is_none());
    }
}

/// Everybody who waits for a child that dies is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_calls_in_flight_on_a_dying_child_are_told_at_once() {
    for kind in [Kind::ModernStdio, Kind::LegacyStdio, Kind::LegacySse] {
        let faulty = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&faulty.entry(), json!({ "request_timeout_ms": 60_000, "isolation": "shared" }));
        let gateway = Gateway::start(&servers([("faulty", entry)])).await;
        let mut waiting = Vec::new();
        for _ in 0..5 {
            let mut peer = gateway.peer(kind.dialect(), "/mcp/faulty").await;
            waiting.push(tokio::spawn(async move { peer.tool("hang", "{}").await }));
        }
        faulty.wait_method("tools/call", 5).await;
        let mut killer = gateway.peer(kind.dialect(), "/mcp/faulty").await;
        assert_refused(&killer.tool("die", "{}").await, CLOSED, &format!("die of {kind:?}"));
        for call in waiting {
            let answer = soon("the other calls", call).await.unwrap();
            assert_refused(&answer, CLOSED, &format!("hang of {kind:?}"));
        }
        works_soon(&mut killer, &format!("{kind:?}")).await;
    }
}

/// A message that never ends keeps everyone else's answers from a channel that all share: once a call has waited for
/// it in vain, the channel is given up and made anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_channel_with_a_message_that_never_ends_is_given_up() {
    for kind in [Kind::LegacySse, Kind::LegacyStdio, Kind::ModernStdio] {
        let faulty = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&faulty.entry(), json!({ "request_timeout_ms": 1000 }));
        let gateway = Gateway::start(&servers([("faulty", entry)])).await;
        let mut peer = gateway.peer(kind.dialect(), "/mcp/faulty").await;
        let what = format!("drip of {kind:?}");
        let started = Instant::now();
        assert_refused(&peer.tool("drip", "{}").await, LOST, &what);
        assert!(started.elapsed() < Duration::from_secs(1) + SLACK, "{what}: {:?}", started.elapsed());
        works_soon(&mut peer, &format!("after {what}")).await;
    }
}

/// The server's session is an affair of the gateway: a modern client never learns that it was lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forgotten_upstream_session_is_made_anew() {
    for kind in [Kind::LegacyJson, Kind::LegacyStream] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("legacy", server.entry())])).await;
        let mut modern = Peer::from(gateway.modern("/mcp/legacy"));
        assert_eq!(modern.tool("count", "{}").await.text(), "1");
        server.server().forget_sessions();
        let answer = modern.tool("echo", "{}").await;
        assert!(answer.error().is_none(), "{kind:?}: {answer:?}");
        let mut legacy = gateway.peer(Dialect::Legacy, "/mcp/legacy").await;
        assert_eq!(legacy.tool("count", "{}").await.text(), "1");
        server.server().forget_sessions();
        let answer = legacy.tool("echo", "{}").await;
        // Its state is lost, so it may be told so; but not with a hanging call, and not for long.
        assert!(answer.status == 404 || answer.status == 200, "{kind:?}: {answer:?}");
        assert!(!answer.everything().contains(LEAK), "{kind:?}: {answer:?}");
        if answer.status == 200 {
            works_soon(&mut legacy, "a session made anew").await;
        }
        works_soon(&mut gateway.peer(Dialect::Legacy, "/mcp/legacy").await, "a new session").await;
    }
}

/// A server that changes its era under the same address is found out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_changes_its_era_is_probed_again() {
    let echoed = r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"Bad Request: no session"}}"#;
    let echo = (400, "application/json".to_owned(), echoed.to_owned());
    let no_session = Script::legacy().no_session;
    for (before, after, no_session) in [
        (Kind::LegacyJson, Kind::ModernJson, &no_session),
        (Kind::ModernJson, Kind::LegacyJson, &no_session),
        (Kind::ModernJson, Kind::LegacyJson, &echo),
    ] {
        let server = FakeServer::start(before.script(Script::legacy())).await;
        let gateway = Gateway::start(&servers([("changing", http(&server.url()))])).await;
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp/changing").await;
            works_soon(&mut peer, "before").await;
        }
        let no_session = no_session.clone();
        server.change(|script| *script = after.script(Script { no_session, ..Script::legacy() }));
        server.forget_sessions();
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp/changing").await;
            works_soon(&mut peer, &format!("{after:?} after {before:?} for {dialect:?}")).await;
        }
    }
}

/// What the gateway does not carry yet is refused towards the server, which can then go on; a ping is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_asks_is_answered() {
    for kind in [Kind::LegacyJson, Kind::LegacyStream, Kind::LegacySse, Kind::LegacyStdio] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp/there").await;
            let what = format!("{kind:?} for {dialect:?}");
            let response = peer.tool("ask_ping", "{}").await.text();
            assert_eq!(raw::find(&response, &["result"]).as_deref(), Some("{}"), "{what}: {response}");
            for tool in ["ask_sampling", "ask_roots"] {
                let response = peer.tool(tool, "{}").await.text();
                let code = raw::find(&response, &["error", "code"]);
                assert_eq!(code.as_deref(), Some("-32601"), "{tool} of {what}: {response}");
            }
        }
    }
}

/// Methods that come later, or never did, are refused at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn methods_of_the_other_era_and_of_no_capability_are_refused_at_once() {
    let old = FakeServer::start(Script::legacy()).await;
    let new = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&servers([("old", http(&old.url())), ("new", http(&new.url()))])).await;
    for path in ["/mcp", "/mcp/old", "/mcp/new"] {
        for (dialect, calls) in [
            (
                Dialect::Modern,
                vec![
                    Call::new("ping", ""),
                    Call::new("logging/setLevel", r#""level":"info""#),
                    Call::new("resources/subscribe", r#""uri":"memo://one""#),
                    Call::new("tasks/list", ""),
                ],
            ),
            (
                Dialect::Legacy,
                vec![
                    Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#),
                    Call::new("server/discover", ""),
                    Call::new("tasks/list", ""),
                    // Neither server declares that its resources can be subscribed to.
                    Call::new("resources/subscribe", r#""uri":"memo://one""#),
                ],
            ),
        ] {
            let mut peer = gateway.peer(dialect, path).await;
            for call in calls {
                let what = format!("{} at {path} for {dialect:?}", call.method);
                let started = Instant::now();
                let answer = peer.request(&call).await;
                // A server that is waited for in vain has more time.
                assert!(started.elapsed() < Duration::from_secs(8), "{what}: {:?}", started.elapsed());
                assert_eq!(answer.code(), -32601, "{what}: {answer:?}");
                assert_eq!(answer.status, if dialect == Dialect::Modern { 404 } else { 200 }, "{what}");
            }
        }
    }
}

/// Whatever a server puts on the wire: the caller is answered in time, and the next call works.
#[test]
fn bent_answers_break_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for kind in [Kind::ModernJson, Kind::LegacyStream, Kind::LegacyStdio, Kind::ModernStdio] {
        let upstream = runtime.block_on(Upstream::start(kind, Script::legacy()));
        let entry = with(
            &upstream.entry(),
            json!({ "request_timeout_ms": 400, "backoff_ms_min": 1, "backoff_ms_max": 5 }),
        );
        let gateway = runtime.block_on(Gateway::start(&servers([("there", entry)])));
        let mut peer = runtime.block_on(gateway.peer(kind.dialect(), "/mcp/there"));
        runtime.block_on(works_soon(&mut peer, "at first"));
        let peer = std::cell::RefCell::new(peer);
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete","content":[{"type":"text","text":"\u00e9"}]}}"#;
        let good = match kind {
            _ if kind.is_stdio() => answer.to_owned(),
            Kind::LegacyStream => {
                let event = format!(": c\nid: 7\nevent: message\ndata: {answer}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n0\r\n\r\n", event.len());
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n{chunk}"
                )
            }
            _ => {
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
                format!("{head}: {}\r\n\r\n{answer}", answer.len())
            }
        };
        let bends = prop::collection::vec(any::<Bend>(), 0..5);
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&bends, |bends| {
            let bytes = bent(good.as_bytes(), &bends);
            upstream.play(Script::legacy().on("tools/call", Act::Bytes(bytes)));
            let mut peer = peer.borrow_mut();
            let started = Instant::now();
            let answer = runtime.block_on(peer.tool("echo", "{}"));
            prop_assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
            prop_assert!(answer.status < 500, "{:?}", answer);
            prop_assert!(serde_json::from_str::<serde_json::Value>(&answer.message).is_ok(), "{:?}", answer);
            upstream.play(Script::legacy());
            runtime.block_on(works_soon(&mut peer, "after a bent answer"));
            Ok(())
        });
        assert!(outcome.is_ok(), "{kind:?}: {outcome:?}");
    }
}

/// Legacy servers refuse what they do not know in many ways; each of them says that the server is legacy
/// (2026-07-28, Streamable HTTP, backward compatibility).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_of_not_knowing_the_modern_era_is_understood() {
    let json = "application/json";
    for (status, media, body) in [
        (400, "text/plain", "Bad Request"),
        (400, json, ""),
        (400, json, "{}"),
        (400, json, r#"{"error":"no session"}"#),
        (400, json, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"no session"}}"#),
        (
            400,
            json,
            r#"{"jsonrpc":"2.0","id":"server-error","error":{"code":-32600,"message":"Missing session ID"}}"#,
        ),
        (400, json, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32000,"message":"no session"}}"#),
        (400, json, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32600,"message":"no session"}}"#),
        (404, "text/plain", ""),
        (404, json, r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#),
        (405, "text/plain", ""),
        (406, "text/plain", "Not Acceptable"),
        (415, "text/plain", ""),
        (422, "text/plain", "Unexpected message, expect initialize request"),
        (200, json, r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32601,"message":"Method not found"}}"#),
        (
            200,
            json,
            r#"{"jsonrpc":"2.0","id":ID,"error":{"code":-32602,"message":"Invalid request parameters"}}"#,
        ),
        (500, "text/plain", "Internal Server Error"),
    ] {
        let refusal = (status, media.to_owned(), body.to_owned());
        let server = FakeServer::start(Script { no_session: refusal, ..Script::legacy() }).await;
        let gateway = Gateway::start(&servers([("there", http(&server.url()))])).await;
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp").await;
            let answer = peer.tool("there__echo", "{}").await;
            assert!(answer.error().is_none(), "{status} {media} {body} for {dialect:?}: {answer:?}");
        }
    }
}
