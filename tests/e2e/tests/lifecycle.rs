//! Starting, reloading, draining and ending: no call is dropped, no process stays behind, nobody's state is another's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers, stdio, with};
use tollgate_e2e::upstream::{Kind, Upstream, fake_child};
use tollgate_testkit::fake::stdio::{Stage, alive};
use tollgate_testkit::fake::{
    Ask, Call, Dialect, FakeServer, Http, HttpPeer, Peer, Script, StdioPeer, soon, until,
};

/// Calls a gated tool in the background, and returns once the server has got the call.
async fn in_flight(
    server: &Upstream,
    mut peer: Peer,
    tool: &str,
) -> tokio::task::JoinHandle<tollgate_testkit::fake::Answer> {
    let nth = server.of_method("tools/call").len() + 1;
    let call = Call::tool(tool, "{}").meta(r#""progressToken":"t""#);
    let waiting = tokio::spawn(async move { peer.request(&call).await });
    server.wait_method("tools/call", nth).await;
    waiting
}

/// The children of a process that have ended and were not reaped.
fn zombies_of(parent: u32) -> Vec<u32> {
    let Ok(all) = fs::read_dir("/proc") else { return Vec::new() };
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
            let mut fields = rest.split(' ');
            fields.next() == Some("Z") && fields.next().and_then(|p| p.parse().ok()) == Some(parent)
        })
        .collect()
}

async fn all_gone(stage: &Stage, what: &str) {
    until(what, async || stage.everyone().iter().all(|pid| !alive(*pid)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_drops_no_call_and_keeps_what_is_unchanged() {
    for kind in Kind::ALL {
        let stays = Upstream::start(kind, Script::legacy()).await;
        let other = FakeServer::start(Script::modern()).await;
        let alone = servers([("stays", stays.entry())]);
        let both = servers([("other", http(&other.url())), ("stays", stays.entry())]);
        let gateway = Gateway::start(&alone).await;
        let mut peer = gateway.peer(kind.dialect(), "/mcp").await;
        assert_eq!(peer.tool("stays__count", "{}").await.text(), "1", "{kind:?}");
        let waiting = in_flight(&stays, gateway.peer(kind.dialect(), "/mcp").await, "stays__gate").await;
        gateway.configure(&both);
        until("the new server", async || {
            peer.tool("other__echo", "{}").await.error().is_none().then_some(())
        })
        .await;
        assert_eq!(
            peer.tool("stays__count", "{}").await.text(),
            "2",
            "{kind:?}: its process or session is the same"
        );
        gateway.configure(&alone);
        until("no new server", async || peer.tool("other__echo", "{}").await.error().map(|_| ())).await;
        assert!(!waiting.is_finished(), "{kind:?}");
        stays.release();
        let answer = soon("the call in flight", waiting).await.unwrap();
        assert_eq!(answer.text(), "called gate", "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_on_a_server_that_is_removed_ends_well() {
    for kind in Kind::ALL {
        let goes = Upstream::start(kind, Script::legacy()).await;
        let other = FakeServer::start(Script::modern()).await;
        let gateway = Gateway::start(&servers([("goes", goes.entry())])).await;
        let waiting = in_flight(&goes, gateway.peer(kind.dialect(), "/mcp").await, "goes__gate").await;
        gateway.configure(&servers([("other", http(&other.url()))]));
        let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
        until("the change", async || peer.tool("goes__echo", "{}").await.error().map(|_| ())).await;
        goes.release();
        let answer = soon("the call in flight", waiting).await.unwrap();
        assert_eq!(answer.text(), "called gate", "{kind:?}");
        if kind.is_stdio() {
            all_gone(goes.stage(), "the removed server's process ends").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_edit_keeps_the_last_good_and_says_why() {
    let one = FakeServer::start(Script::modern()).await;
    let two = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&servers([("one", http(&one.url()))])).await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    for (text, place, why) in [
        (format!("servers:\n  two:\n    urll: {}\n", two.url()), ":3:5", "urll"),
        (format!("servers:\n  two:\n    url: {}\n  broken: [\n", two.url()), ":", "tollgate.yaml"),
        (format!("servers:\n  two:\n    url: {}\n    era: sometimes\n", two.url()), ":4:10", "sometimes"),
        (
            format!(
                "servers:\n  two:\n    url: {}\n    headers: {{ X: \"${{NOT_SET_ANYWHERE}}\" }}\n",
                two.url()
            ),
            ":4:",
            "NOT_SET_ANYWHERE",
        ),
    ] {
        gateway.configure_text(&text);
        gateway.logged(why).await;
        // Where it stands may come with the next line.
        until(&format!("{why}: the place {place} in the log"), async || {
            let log = gateway.log();
            let mut lines = log.lines().filter(|line| line.contains(why));
            (lines.next_back()?.contains(place) || log.contains(&format!("tollgate.yaml{place}")))
                .then_some(())
        })
        .await;
        assert!(peer.tool("one__echo", "{}").await.error().is_none(), "{why}");
        assert_eq!(peer.tool("two__echo", "{}").await.code(), -32602, "{why}");
    }
    gateway.configure(&servers([("two", http(&two.url()))]));
    until("the good edit", async || peer.tool("two__echo", "{}").await.error().is_none().then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hup_reads_everything_again() {
    let server = FakeServer::start(Script::modern()).await;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("token");
    fs::write(&secret, "first\n").unwrap();
    let entry = with(&http(&server.url()), json!({ "headers": { "X-Token": { "file": secret } } }));
    let gateway = Gateway::start(&servers([("one", entry)])).await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    peer.tool("one__echo", "{}").await.result();
    let token =
        || server.log().of_method("tools/call").pop().and_then(|r| r.header("x-token").map(str::to_owned));
    assert_eq!(token().as_deref(), Some("first"));
    fs::write(&secret, "second\n").unwrap();
    gateway.signal(Signal::HUP);
    until("the new secret", async || {
        peer.tool("one__echo", "{}").await.result();
        (token().as_deref() == Some("second")).then_some(())
    })
    .await;
    assert!(!gateway.log().contains("second"), "a secret in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn term_drains_calls_in_flight() {
    for kind in Kind::ALL {
        for (dialect, tool) in [(Dialect::Modern, "gate"), (Dialect::Legacy, "progress_then_gate")] {
            let what = format!("{tool} of {kind:?} for {dialect:?}");
            let server = Upstream::start(kind, Script::legacy()).await;
            let mut gateway = Gateway::start(&servers([("there", server.entry())])).await;
            let waiting = in_flight(&server, gateway.peer(dialect, "/mcp/there").await, tool).await;
            let idle = gateway.legacy("/mcp/there").await.listen().await;
            gateway.signal(Signal::TERM);
            let http = Http::new(gateway.listen);
            until("no new requests", async || {
                let ask = HttpPeer::modern(gateway.listen, "/mcp/there").ask("1", &Call::tool("echo", "{}"));
                match http.open(&ask).await {
                    Ok(live) => (live.status == 503).then_some(()),
                    Err(_) => Some(()),
                }
            })
            .await;
            assert!(!waiting.is_finished(), "{what}");
            assert!(gateway.running(), "{what}");
            server.release();
            let answer = soon("the call in flight", waiting).await.unwrap();
            assert_eq!(answer.text(), format!("called {tool}"), "{what}");
            let status = gateway.ended().await;
            assert!(status.success(), "{what}: {status}");
            let _ = soon("the end of the idle stream", idle.finish()).await;
            if kind.is_stdio() {
                assert!(
                    server.stage().everyone().iter().all(|pid| !alive(*pid)),
                    "{what}: a child outlived the gateway"
                );
                assert!(!server.stage().pids("eof").is_empty(), "{what}: the child was asked first");
            } else if kind == Kind::LegacyJson || kind == Kind::LegacyStream {
                assert_eq!(server.server().sessions(), 0, "{what}: its sessions are ended");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_is_cut_when_the_time_for_it_is_over() {
    let server = FakeServer::start(Script::modern().with_tools(["gate"])).await;
    // The server has more time than the gateway.
    let patient = with(&http(&server.url()), json!({ "request_timeout_ms": 60_000 }));
    let mut gateway = Gateway::start(&servers([("slow", patient)])).await;
    let ask = gateway.modern("/mcp").ask("1", &Call::tool("slow__gate", "{}"));
    let http = Http::new(gateway.listen);
    // A client that is more patient than those of the tests.
    let waiting = tokio::spawn(async move { http.open(&ask).await?.finish().await });
    until("the call under way", async || (!server.log().of_method("tools/call").is_empty()).then_some(()))
        .await;
    let begun = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    // What docs/operations.md promises to calls under way, and to whoever waits for the process to end.
    let took = begun.elapsed();
    assert!((Duration::from_secs(19)..Duration::from_secs(28)).contains(&took), "{took:?}");
    waiting.abort();
    let writer = tollgate_ledger::writers(&gateway.data().join("ledger")).unwrap().remove(0);
    let mut reader = tollgate_ledger::Reader::new(&writer);
    let mut outcomes = Vec::new();
    while let Some(read) = reader.next_entry().unwrap() {
        outcomes.extend(read.entry().unwrap().outcome);
    }
    assert_eq!(outcomes, [tollgate_ledger::Outcome::Stopped]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_child_survives_a_killed_gateway() {
    for dialect in [Dialect::Legacy, Dialect::Modern] {
        for (stubborn, runaway) in [(false, false), (true, false), (true, true)] {
            let what = format!("{dialect:?}, stubborn: {stubborn}, runaway: {runaway}");
            let script = if dialect == Dialect::Modern { Script::modern() } else { Script::legacy() };
            let stage = Stage::new(&Script { grandchild: true, stubborn, runaway, ..script });
            let mut gateway = Gateway::start(&servers([("child", stdio(&fake_child(), &stage))])).await;
            let mut peer = gateway.peer(dialect, "/mcp/child").await;
            peer.tool("echo", "{}").await.result();
            until("the grandchild", async || (!stage.pids("grandchild").is_empty()).then_some(())).await;
            assert!(stage.everyone().iter().all(|pid| alive(*pid)), "{what}");
            gateway.signal(Signal::KILL);
            gateway.ended().await;
            all_gone(&stage, &format!("the end of all children: {what}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stubborn_child_and_its_children_are_ended_with_the_gateway() {
    for runaway in [false, true] {
        end_stubborn(runaway).await;
    }
}

async fn end_stubborn(runaway: bool) {
    let stage = Stage::new(&Script { grandchild: true, stubborn: true, runaway, ..Script::legacy() });
    let entry = with(&stdio(&fake_child(), &stage), json!({ "stop_timeout_ms": 300 }));
    let mut gateway = Gateway::start(&servers([("child", entry)])).await;
    gateway.legacy("/mcp/child").await.request(&Call::tool("echo", "{}")).await.result();
    let started = Instant::now();
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(stage.everyone().iter().all(|pid| !alive(*pid)), "something outlived the gateway");
    // In this order: the input closed, then asked, then killed.
    let noted: Vec<String> = stage.events().into_iter().map(|(what, _)| what).collect();
    let at =
        |what: &str| noted.iter().position(|w| w == what).unwrap_or_else(|| panic!("no {what} in {noted:?}"));
    assert!(at("eof") < at("term"), "{noted:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_dies_is_reaped_and_started_again() {
    for kind in [Kind::LegacyStdio, Kind::ModernStdio] {
        let runaway = kind == Kind::ModernStdio;
        let server = Upstream::start(kind, Script { grandchild: true, runaway, ..Script::legacy() }).await;
        let gateway = Gateway::start(&servers([("child", server.entry())])).await;
        let mut peer = gateway.peer(kind.dialect(), "/mcp/child").await;
        for round in 1..=3 {
            assert_eq!(peer.tool("count", "{}").await.text(), "1", "{kind:?}: a new process, {round}");
            assert_eq!(peer.tool("die", "{}").await.code(), -32603, "{kind:?}");
            until("the process works again", async || {
                peer.tool("echo", "{}").await.error().is_none().then_some(())
            })
            .await;
        }
        let stage = server.stage();
        let dead = stage.pids("start");
        let dead = &dead[..dead.len() - 1];
        assert!(dead.len() >= 3, "{kind:?}: {dead:?}");
        until("the dead are reaped", async || {
            let exist = dead.iter().any(|pid| fs::exists(format!("/proc/{pid}")).unwrap_or(true));
            (!exist && zombies_of(gateway.pid()).is_empty()).then_some(())
        })
        .await;
        let old = stage.pids("grandchild");
        let old = &old[..old.len() - 1];
        until("what they started is ended too", async || old.iter().all(|pid| !alive(*pid)).then_some(()))
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_that_cannot_start_is_not_started_without_end() {
    let stage = Stage::new(&Script { exits_at_start: true, ..Script::legacy() });
    let entry =
        with(&stdio(&fake_child(), &stage), json!({ "backoff_ms_min": 400, "backoff_ms_max": 60_000 }));
    let gateway = Gateway::start(&servers([("child", entry)])).await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp/child").await;
    let started = Instant::now();
    for _ in 0..100 {
        let answer = peer.tool("echo", "{}").await;
        assert_eq!(answer.code(), -32603);
        assert!(answer.refusal().starts_with("upstream_"), "{answer:?}");
    }
    let starts = stage.pids("start").len();
    let allowed = 2 + started.elapsed().as_millis() / 300;
    assert!(starts >= 1 && (starts as u128) <= allowed, "{starts} starts in {:?}", started.elapsed());
    // A program that does not exist is as clear.
    gateway.configure(&servers([("child", json!({ "command": "/no/such/program" }))]));
    until("the change", async || {
        let answer = peer.tool("echo", "{}").await;
        assert!(!answer.everything().contains("/no/such"), "{answer:?}");
        (answer.refusal() == "upstream_unavailable").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_gets_only_the_environment_that_it_was_given() {
    let stage = Stage::new(&Script::legacy());
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    fs::write(&key, "from-file\n").unwrap();
    let entry = with(
        &stdio(&fake_child(), &stage),
        json!({ "env": { "GIVEN": "as-it-is", "TOKEN": "${OF_THE_GATEWAY}", "KEY": { "file": key } } }),
    );
    let env = [
        ("OF_THE_GATEWAY", "s3cret"),
        ("NOBODYS_BUSINESS", "x"),
        ("LC_TIME", "C"),
        ("AWS_SECRET_ACCESS_KEY", "x"),
    ];
    let gateway = Gateway::start_with(&servers([("child", entry)]), &env).await;
    let answer = gateway.legacy("/mcp/child").await.request(&Call::tool("env", "{}")).await;
    let env: BTreeMap<String, String> = serde_json::from_str(&answer.text()).unwrap();
    for (name, value) in [("GIVEN", "as-it-is"), ("TOKEN", "s3cret"), ("KEY", "from-file"), ("LC_TIME", "C")]
    {
        assert_eq!(env.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(env.contains_key("PATH"));
    let strangers: Vec<_> = env
        .keys()
        .filter(|name| {
            !["GIVEN", "TOKEN", "KEY", "PATH", "HOME", "LANG", "LANGUAGE"].contains(&name.as_str())
        })
        .filter(|name| !name.starts_with("LC_"))
        .collect();
    assert!(strangers.is_empty(), "{strangers:?}");
    assert!(!gateway.log().contains("s3cret") && !gateway.log().contains("from-file"), "a secret in the log");
}

async fn pid_of(peer: &mut Peer) -> String {
    peer.tool("pid", "{}").await.text()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn isolation_decides_who_shares_a_child() {
    for (isolation, same) in [
        (None, false),
        (Some("session"), false),
        (Some("principal"), true),
        (Some("tenant"), true),
        (Some("shared"), true),
    ] {
        let stage = Stage::new(&Script::legacy());
        let mut entry = stdio(&fake_child(), &stage);
        if let Some(isolation) = isolation {
            entry = with(&entry, json!({ "isolation": isolation }));
        }
        let gateway = Gateway::start(&servers([("child", entry)])).await;
        let mut a = gateway.peer(Dialect::Legacy, "/mcp/child").await;
        let mut b = gateway.peer(Dialect::Legacy, "/mcp/child").await;
        let (first, second) = (pid_of(&mut a).await, pid_of(&mut b).await);
        assert_eq!(first == second, same, "{isolation:?}");
        assert_eq!(pid_of(&mut a).await, first, "{isolation:?}: a client stays where it is");
        assert_eq!(a.tool("count", "{}").await.text(), "1");
        assert_eq!(b.tool("count", "{}").await.text(), if same { "2" } else { "1" }, "{isolation:?}: state");
        // Capabilities freeze at the handshake: whoever has others gets another process.
        let capable =
            HttpPeer::legacy_with(gateway.listen, "/mcp/child", "2025-11-25", r#"{"elicitation":{}}"#).await;
        assert_ne!(pid_of(&mut capable.into()).await, first, "{isolation:?}: other capabilities");
    }
    // A modern server keeps no state: everyone shares it.
    let stage = Stage::new(&Script::modern());
    let gateway = Gateway::start(&servers([("child", stdio(&fake_child(), &stage))])).await;
    let mut pids = HashSet::new();
    for dialect in [Dialect::Modern, Dialect::Legacy, Dialect::Modern] {
        pids.insert(pid_of(&mut gateway.peer(dialect, "/mcp/child").await).await);
    }
    assert_eq!(pids.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_session_ends_its_child() {
    let stage = Stage::new(&Script { grandchild: true, ..Script::legacy() });
    let gateway = Gateway::start(&servers([("child", stdio(&fake_child(), &stage))])).await;
    let peer = gateway.legacy("/mcp/child").await;
    let mut stays = gateway.peer(Dialect::Legacy, "/mcp/child").await;
    let keeper: u32 = pid_of(&mut stays).await.parse().unwrap();
    let gone: u32 = pid_of(&mut Peer::from(peer.clone())).await.parse().unwrap();
    let delete = Ask::new("DELETE", "/mcp/child").with("Mcp-Session-Id", peer.session.as_deref().unwrap());
    assert!((200..300).contains(&peer.http.send(&delete).await.status));
    until("its end", async || (!alive(gone)).then_some(())).await;
    assert_eq!(pid_of(&mut stays).await.parse(), Ok(keeper));
    // The other transports' sessions end with their connections.
    for bridge in [false, true] {
        let mut sse = gateway.sse("/sse").await;
        let pid: u32 = if bridge {
            let mut peer = gateway.bridged(Dialect::Legacy, "/mcp/child").await;
            let pid = peer.request(&Call::tool("pid", "{}")).await.text();
            assert_eq!(peer.close().await, Some(0));
            pid
        } else {
            sse.request(&Call::tool("child__pid", "{}")).await.text()
        }
        .parse()
        .unwrap();
        drop(sse);
        until("its end", async || (!alive(pid)).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_child_is_stopped_and_comes_back() {
    for kind in [Kind::LegacyStdio, Kind::ModernStdio] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&server.entry(), json!({ "idle_ms": 1000, "request_timeout_ms": 60_000 }));
        let gateway = Gateway::start(&servers([("child", entry)])).await;
        let mut peer = gateway.peer(Dialect::Modern, "/mcp/child").await;
        // A call that lasts longer than that is not idleness.
        let waiting = in_flight(&server, gateway.peer(Dialect::Modern, "/mcp/child").await, "gate").await;
        tokio::time::sleep(Duration::from_millis(1600)).await;
        server.release();
        assert_eq!(soon("the long call", waiting).await.unwrap().text(), "called gate");
        let first: u32 = pid_of(&mut peer).await.parse().unwrap();
        until("the end of the idle child", async || (!alive(first)).then_some(())).await;
        until("it is reaped", async || zombies_of(gateway.pid()).is_empty().then_some(())).await;
        let second: u32 = pid_of(&mut peer).await.parse().unwrap();
        assert_ne!(first, second, "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_are_bounded_and_the_idle_make_way() {
    let stage = Stage::new(&Script::legacy());
    let entry = with(&stdio(&fake_child(), &stage), json!({ "instances_max": 2 }));
    let gateway = Gateway::start(&servers([("child", entry)])).await;
    let living = || stage.pids("start").into_iter().filter(|pid| alive(*pid)).count();
    for _ in 0..5 {
        let mut peer = gateway.peer(Dialect::Legacy, "/mcp/child").await;
        assert!(peer.tool("echo", "{}").await.error().is_none());
    }
    until("two processes at most", async || (living() <= 2).then_some(())).await;
    // With both busy the next one is refused rather than kept waiting.
    let mut busy = Vec::new();
    for n in 0..2 {
        let mut peer = gateway.peer(Dialect::Legacy, "/mcp/child").await;
        busy.push(tokio::spawn(async move { peer.tool("gate", "{}").await }));
        until("a busy process", async || {
            let gates = stage
                .received()
                .iter()
                .filter(|r| r.at(&["params", "name"]).as_deref() == Some(r#""gate""#))
                .count();
            (gates == n + 1).then_some(())
        })
        .await;
    }
    let hello = || HttpPeer::shake_hands(gateway.listen, "/mcp/child", "2025-11-25", "{}");
    let answer = hello().await.expect_err("no process is free for another session");
    assert_eq!((answer.code(), answer.refusal().as_str()), (-32603, "capacity"), "{answer:?}");
    stage.release();
    for call in busy {
        assert_eq!(soon("a busy call", call).await.unwrap().text(), "called gate");
    }
    let mut third = Peer::from(until("an idle process makes way", async || hello().await.ok()).await);
    assert!(third.tool("echo", "{}").await.error().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_child_says_on_its_error_output_is_logged_and_bounded() {
    let flood = "z".repeat(1 << 20);
    let stage = Stage::new(&Script {
        stderr: vec![
            "something odd happened".to_owned(),
            format!("BEGIN{flood}"),
            "after the flood".to_owned(),
        ],
        ..Script::legacy()
    });
    let gateway = Gateway::start(&servers([("talkative", stdio(&fake_child(), &stage))])).await;
    gateway.legacy("/mcp/talkative").await.request(&Call::tool("echo", "{}")).await.result();
    gateway.logged("something odd happened").await;
    gateway.logged("after the flood").await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("something odd happened")).unwrap();
    assert!(line.contains("talkative"), "{line}");
    assert!(log.contains("BEGINz") && log.len() < 200_000, "{} bytes of log", log.len());
}

/// The gateway as a child itself, for clients that can only start a process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_may_be_a_stdio_server_itself() {
    let web = FakeServer::start(Script::modern()).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let stage = Stage::new(&Script { grandchild: true, ..Script::legacy() });
        let (_folder, config) =
            config_file(&servers([("child", stdio(&fake_child(), &stage)), ("web", http(&web.url()))]));
        let args = ["serve", "--stdio", "--config", config.to_str().unwrap()];
        let peer = StdioPeer::start(&binary(), args, &[], dialect).await;
        let gateway = peer.pid();
        let mut peer = Peer::from(peer);
        let tools = peer.tools().await;
        assert!(
            tools.contains(&"child__echo".to_owned()) && tools.contains(&"web__echo".to_owned()),
            "{tools:?}"
        );
        for tool in ["child__echo", "web__echo"] {
            assert!(peer.tool(tool, r#"{"a":1.0}"#).await.result().contains(r#"{"a":1.0}"#), "{tool}");
        }
        assert!(!stage.everyone().is_empty());
        let Peer::Stdio(peer) = peer else { unreachable!() };
        assert_eq!(peer.close().await, Some(0), "the end of its input ends it");
        assert!(!alive(gateway));
        all_gone(&stage, "the end of its children").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_served_beyond_loopback_without_identity() {
    let (_folder, config) = config_file(&servers([]));
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let run = tokio::process::Command::new(binary())
            .args([
                "serve",
                "--config",
                config.to_str().unwrap(),
                "--listen",
                listen,
                "--admin-listen",
                "127.0.0.1:0",
                "--json",
            ])
            .kill_on_drop(true)
            .output();
        let output = soon("a refusal to start", run).await.unwrap();
        assert!(!output.status.success(), "{listen}");
        assert!(output.stdout.is_empty(), "{listen}: nothing was bound");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("loopback"),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Readiness follows what happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_told_on_the_other_listener_only() {
    let server = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&servers([("one", http(&server.url()))])).await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(Http::new(gateway.admin).send(&Ask::new("GET", path)).await.status, 200, "{path}");
        assert_eq!(
            Http::new(gateway.listen).send(&Ask::new("GET", path)).await.status,
            404,
            "{path} among clients"
        );
    }
    let reply = Http::new(gateway.admin).send(&Ask::new("POST", "/mcp").body("{}")).await;
    assert!(matches!(reply.status, 404 | 405), "{}", reply.everything());
}

/// Reload after reload while clients of both eras call without a pause: no call notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_drop_nothing() {
    let stage = Stage::new(&Script::legacy());
    let web = FakeServer::start(Script::modern()).await;
    let other = FakeServer::start(Script::legacy()).await;
    let child = with(&stdio(&fake_child(), &stage), json!({ "isolation": "shared" }));
    let config = |more: bool| {
        let mut all = vec![("child", child.clone()), ("web", http(&web.url()))];
        if more {
            all.push(("other", http(&other.url())));
        }
        servers(all)
    };
    let gateway = Gateway::start(&config(false)).await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..6 {
        let dialect = if n % 2 == 0 { Dialect::Modern } else { Dialect::Legacy };
        let mut peer = gateway.peer(dialect, "/mcp").await;
        let done = done.clone();
        callers.spawn(async move {
            let mut calls = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                for tool in ["child__echo", "web__echo"] {
                    let answer = peer.tool(tool, "{}").await;
                    assert!(
                        answer.error().is_none() && answer.status == 200,
                        "{tool} for {dialect:?}: {answer:?}"
                    );
                    calls += 1;
                }
            }
            calls
        });
    }
    let mut watching = gateway.peer(Dialect::Modern, "/mcp").await;
    for round in 0..10 {
        let more = round % 2 == 0;
        gateway.configure(&config(more));
        until("the change", async || {
            (watching.tool("other__echo", "{}").await.error().is_none() == more).then_some(())
        })
        .await;
    }
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    while let Some(calls) = callers.join_next().await {
        assert!(calls.unwrap() > 0);
    }
    assert_eq!(
        stage.pids("start").iter().filter(|pid| alive(**pid)).count(),
        1,
        "the child was never restarted"
    );
}

/// A bridge whose gateway goes away says so, and works again when one is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_tells_when_its_gateway_goes() {
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let server = Upstream::start(Kind::ModernJson, Script::legacy()).await;
        let mut gateway = Gateway::start(&servers([("there", server.entry())])).await;
        let mut peer = Peer::from(gateway.bridged(dialect, "/mcp/there").await);
        assert!(peer.tool("echo", "{}").await.error().is_none());
        let waiting = tokio::spawn(async move {
            let answer = peer.tool("hang", "{}").await;
            (peer, answer)
        });
        server.wait_method("tools/call", 2).await;
        gateway.signal(Signal::KILL);
        gateway.ended().await;
        let (mut peer, answer) = soon("an answer about the loss", waiting).await.unwrap();
        assert!(answer.error().is_some(), "{dialect:?}: {answer:?}");
        let answer = soon("an answer about the absence", peer.tool("echo", "{}")).await;
        assert!(answer.error().is_some(), "{dialect:?}: {answer:?}");
        let Peer::Stdio(peer) = peer else { unreachable!() };
        assert_eq!(peer.close().await, Some(0), "{dialect:?}");
    }
}

/// Whoever stands between the gateway and a child may be killed too: the kernel takes the child along.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_child_ends_with_its_guard_and_is_started_again() {
    for stubborn in [false, true] {
        let stage = Stage::new(&Script { stubborn, ..Script::legacy() });
        let mut gateway = Gateway::start(&servers([("child", stdio(&fake_child(), &stage))])).await;
        let mut peer = gateway.peer(Dialect::Modern, "/mcp/child").await;
        let child: u32 = pid_of(&mut peer).await.parse().unwrap();
        let status = fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        let guard = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim();
        assert_ne!(guard, gateway.pid().to_string());
        std::process::Command::new("kill").args(["-9", guard]).status().unwrap();
        until("the end of the child", async || (!alive(child)).then_some(())).await;
        until("a new child", async || peer.tool("echo", "{}").await.error().is_none().then_some(())).await;
        gateway.signal(Signal::TERM);
        assert!(gateway.ended().await.success());
        assert!(stage.everyone().iter().all(|pid| !alive(*pid)));
    }
}
