//! Starting, stopping and handing over as whoever depends on it sees it: nobody waits for a server that is down, nobody is
//! refused while a new process takes over, and what stops does so in order.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers, stdio, with};
use tollgate_e2e::upstream::fake_child;
use tollgate_testkit::fake::stdio::{Stage, alive};
use tollgate_testkit::fake::{
    Answer, Ask, Call, Dialect, FakeServer, Http, HttpPeer, Kept, Peer, Script, soon, until,
};

/// Servers in all, and of them those that take connections and say nothing.
const MANY: usize = 50;
const HUNG: usize = 10;

/// A socket that takes connections into its queue and never answers.
fn hung() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn missing(answer: &Answer) -> Vec<(String, String)> {
    let value = answer.value();
    let missing = value["_meta"]["dev.tollgate/unavailable"].as_array().cloned().unwrap_or_default();
    let text = |one: &Value, key: &str| one[key].as_str().unwrap_or_default().to_owned();
    missing.iter().map(|one| (text(one, "server"), text(one, "reason"))).collect()
}

/// Of fifty servers ten never say a word. Whoever connects is greeted while they are still waited for, and a list comes
/// when the time of their lists is over, with all that the others have, and names them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_servers_that_are_down_at_a_start() {
    const LIST_MS: u64 = 8000;
    let server = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let silent = hung();
    let silent_url = format!("http://{}/mcp", silent.local_addr().unwrap());
    let names: Vec<String> = (0..MANY).map(|n| format!("s{n:02}")).collect();
    let is_hung = |n: usize| n.is_multiple_of(MANY / HUNG);
    let entry = |n: usize| {
        let url = if is_hung(n) { silent_url.clone() } else { server.url() };
        with(&http(&url), json!({ "list_timeout_ms": LIST_MS, "probe_timeout_ms": 60_000 }))
    };
    let config = servers(names.iter().enumerate().map(|(n, name)| (name.as_str(), entry(n))));
    let gateway = Gateway::start(&config).await;

    // The first list is under way before anybody is greeted, and is answered after.
    let began = Instant::now();
    let listing = {
        let mut peer = gateway.modern("/mcp");
        tokio::spawn(async move { (peer.request(&Call::new("tools/list", "")).await, began.elapsed()) })
    };
    let mut modern = gateway.modern("/mcp");
    let hello = modern.request(&Call::new("server/discover", "")).await;
    assert!(hello.result().contains("supportedVersions"), "{hello:?}");
    let _legacy = gateway.legacy("/mcp").await;
    let greeted = began.elapsed();
    assert!(!listing.is_finished(), "the hung ones are still waited for");
    assert!(greeted < Duration::from_millis(LIST_MS), "greeted after {greeted:?}");

    let (answer, took) = soon("the list", listing).await.unwrap();
    let tools = answer.value()["tools"].as_array().unwrap().len();
    assert_eq!(tools, MANY - HUNG, "all that the others have");
    let missing = missing(&answer);
    let named: BTreeSet<&str> = missing.iter().map(|(server, _)| server.as_str()).collect();
    let down: BTreeSet<&str> =
        names.iter().enumerate().filter(|(n, _)| is_hung(*n)).map(|(_, name)| name.as_str()).collect();
    assert_eq!(named, down);
    assert!(missing.iter().all(|(_, why)| why.contains("still starting")), "{missing:?}");
    // Machines of tests are slow, but nobody waited for one after the other.
    assert!(took >= Duration::from_millis(LIST_MS) && took < Duration::from_millis(3 * LIST_MS), "{took:?}");
    drop(silent);
}

/// While the servers that new policies are about are read, operators are answered, and clients wait rather than be
/// refused. A restart with the same policies waits for no server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_are_known_wait_for_no_server() {
    let server = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let silent = hung();
    let mut config = servers([
        ("there", http(&server.url())),
        ("hung", http(&format!("http://{}/mcp", silent.local_addr().unwrap()))),
    ]);
    config["policy"] = json!({ "files": ["everybody.cedar"] });
    config["store"] = json!({});
    let mut gateway = Gateway::start(&config).await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
    assert_eq!(peer.tool("there__echo", "{}").await.error(), None);
    let read = silent_connections(&silent);
    assert!(read > 0, "at first the hung server is asked, and waited for");
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());
    let mut before = 0;
    let mut tries: Vec<Duration> = Vec::new();
    // The whole wait for what is not known would be five seconds. A machine that stands still for as long does not do so each time.
    while tries.last().is_none_or(|took| *took >= Duration::from_secs(4)) {
        assert!(tries.len() < 3, "{tries:?}");
        before = server.log().of_method("tools/list").len();
        let began = Instant::now();
        gateway.restart().await;
        let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
        assert_eq!(peer.tool("there__echo", "{}").await.error(), None);
        tries.push(began.elapsed());
    }
    until("the servers are read all the same", async || {
        (server.log().of_method("tools/list").len() > before).then_some(())
    })
    .await;
}

fn silent_connections(silent: &TcpListener) -> usize {
    silent.set_nonblocking(true).unwrap();
    let mut count = 0;
    while silent.accept().is_ok() {
        count += 1;
    }
    count
}

/// Told to stop: not ready, no new connections, waiting streams end cleanly, sessions with servers and processes end, in
/// the midst of which operators are answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_orderly() {
    let web = FakeServer::start(Script::legacy()).await;
    let stage = Stage::new(&Script::legacy());
    let mut gateway =
        Gateway::start(&servers([("web", http(&web.url())), ("child", stdio(&fake_child(), &stage))])).await;
    let legacy = gateway.legacy("/mcp").await;
    let stream = legacy.listen().await;
    let mut sse = gateway.sse("/sse").await;
    let mut modern = gateway.modern("/mcp");
    let mut listening =
        modern.open(&Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#)).await;
    soon("it listens", listening.event()).await.unwrap().expect("an acknowledgement");
    let mut caller = Peer::from(legacy.clone());
    for tool in ["web__echo", "child__echo"] {
        caller.tool(tool, "{}").await.result();
    }
    assert!(web.sessions() > 0 && !stage.pids("start").is_empty());
    let mut gated = gateway.peer(Dialect::Modern, "/mcp/web").await;
    let waiting = tokio::spawn(async move { gated.tool("gate", "{}").await });
    until("the call is under way", async || (web.log().of_method("tools/call").len() == 2).then_some(()))
        .await;

    gateway.signal(Signal::TERM);
    until("it says that it is not ready", async || {
        (gateway.readiness().await["state"] == "draining").then_some(())
    })
    .await;
    assert_eq!(gateway.readiness().await["ready"], false);
    assert_eq!(Http::new(gateway.admin).send(&Ask::new("GET", "/healthz")).await.status, 200);
    until("nobody is let in", async || TcpStream::connect(gateway.listen).await.err().map(|_| ())).await;
    // Streams end as streams do, not as broken ones.
    soon("the end of the session's stream", stream.finish()).await.expect("a clean end");
    soon("the end of the SSE stream", async {
        while sse.stream.event().await.expect("a clean end").is_some() {}
    })
    .await;
    let last = soon("the end of what listens", listening.finish()).await.expect("a clean end");
    assert!(last.text().contains("\"result\""), "it is told that it is over: {}", last.text());
    assert!(gateway.running() && !waiting.is_finished());
    web.release();
    assert_eq!(soon("the call under way", waiting).await.unwrap().text(), "called gate");
    let status = gateway.ended().await;
    assert!(status.success(), "{status}");
    assert_eq!(web.sessions(), 0, "the sessions with the server are ended");
    assert!(stage.everyone().iter().all(|pid| !alive(*pid)), "no process is left behind");
    let log = gateway.log();
    let said = |text: &str| log.find(text).unwrap_or_else(|| panic!("no `{text}` in {log}"));
    assert!(said("stopping: requests under way may finish") < said("INFO stopped"));
}

/// A store and a server that take connections and say nothing, for both of which a first start waits: whoever asks it to stop
/// does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_can_be_stopped() {
    let listens = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    for ways in [&listens[..], &["--stdio"][..]] {
        stopped_while_it_waits(ways).await;
    }
}

async fn stopped_while_it_waits(ways: &[&str]) {
    let silent = hung();
    let place = silent.local_addr().unwrap();
    let mut config = servers([("hung", http(&format!("http://{place}/mcp")))]);
    config["policy"] = json!({ "files": ["everybody.cedar"] });
    config["store"] = json!({ "url": format!("postgres://user:password@{place}/state") });
    let (folder, file) = config_file(&config);
    let mut child = tokio::process::Command::new(binary())
        .arg("serve")
        .args(ways)
        .arg("--config")
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("the store is asked", async || (silent_connections(&silent) > 0).then_some(())).await;
    let asked = Instant::now();
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::TERM).unwrap();
    assert!(soon("its end", child.wait()).await.unwrap().success());
    // It tries once more to keep the end of the record elsewhere. The start would have waited for much longer.
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
}

/// A call that never ends holds a stop up only until a second signal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_hurries() {
    let web = FakeServer::start(Script::modern()).await;
    let stage = Stage::new(&Script::legacy());
    let mut gateway =
        Gateway::start(&servers([("web", http(&web.url())), ("child", stdio(&fake_child(), &stage))])).await;
    let mut caller = gateway.peer(Dialect::Modern, "/mcp").await;
    caller.tool("child__echo", "{}").await.result();
    let ask = gateway.modern("/mcp").ask("1", &Call::tool("web__hang", "{}"));
    let to = Http::new(gateway.listen);
    let hanging = tokio::spawn(async move { to.open(&ask).await.map(|live| live.status) });
    until("the call", async || (!web.log().of_method("tools/call").is_empty()).then_some(())).await;
    gateway.signal(Signal::TERM);
    gateway.logged("stopping: requests under way may finish").await;
    assert!(gateway.running());
    let hurried = Instant::now();
    gateway.signal(Signal::INT);
    gateway.ended().await;
    // The first signal alone would have given it twenty seconds.
    assert!(hurried.elapsed() < Duration::from_secs(10), "{:?}", hurried.elapsed());
    assert!(stage.everyone().iter().all(|pid| !alive(*pid)), "no process is left behind");
    _ = soon("its client is told", hanging).await;
}

/// Clients of all kinds call without a pause while the gateway is handed over three times: every call is answered, nobody
/// is refused, and no connection ends under a request.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handing_over_under_load_fails_no_call() {
    const TIMES: usize = 3;
    let web = FakeServer::start(Script::modern()).await;
    let stage = Stage::new(&Script::legacy());
    let child = with(&stdio(&fake_child(), &stage), json!({ "isolation": "shared" }));
    let mut gateway = Gateway::start(&servers([("web", http(&web.url())), ("child", child)])).await;
    let done = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let mut clients = JoinSet::new();
    for n in 0..6 {
        let (listen, done, calls) = (gateway.listen, Arc::clone(&done), Arc::clone(&calls));
        clients.spawn(async move {
            let mut peer = HttpPeer::modern(listen, "/mcp");
            let mut kept = Kept::new(listen);
            let mut number = 0_u64;
            while !done.load(Ordering::Relaxed) {
                let tool = if number % 4 == 3 { "child__echo" } else { "web__echo" };
                number += 1;
                let id = peer.mint();
                let ask = peer.ask(&id, &Call::tool(tool, &format!(r#"{{"n":{number}}}"#)));
                if n % 2 == 1 {
                    // Half of them open a connection for each call.
                    kept = Kept::new(listen);
                }
                let reply = soon("an answer", kept.send(&ask)).await;
                let reply = reply.unwrap_or_else(|error| panic!("client {n}, call {number}: {error}"));
                let answer = Answer::of(&reply);
                assert!(
                    reply.status == 200 && answer.error().is_none(),
                    "client {n}, call {number}: {answer:?}"
                );
                assert!(answer.result().contains(&format!(r#""n":{number}}}"#)), "{answer:?}");
                calls.fetch_add(1, Ordering::Relaxed);
            }
            (number, kept.opened)
        });
    }
    let mut processes = vec![gateway.pid()];
    for _ in 0..TIMES {
        let before = calls.load(Ordering::Relaxed);
        until("some calls", async || (calls.load(Ordering::Relaxed) > before + 60).then_some(())).await;
        gateway.hand_over().await;
        processes.push(gateway.pid());
    }
    let before = calls.load(Ordering::Relaxed);
    until("some calls more", async || (calls.load(Ordering::Relaxed) > before + 60).then_some(())).await;
    let old = &processes[..TIMES];
    until("the end of all that were followed", async || old.iter().all(|pid| !alive(*pid)).then_some(()))
        .await;
    done.store(true, Ordering::Relaxed);
    while let Some(ended) = soon("the end of a client", clients.join_next()).await {
        ended.unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()));
    }
    assert_eq!(gateway.log().matches("handed over: another process serves").count(), TIMES);
    assert_eq!(gateway.log().matches("INFO stopped").count(), TIMES, "each came to its end in time");
    // What each of them did is on record, and no process of a server was left behind.
    let verified = gateway.command(&["audit", "verify", "--json"]).await;
    assert_eq!(verified["good"], true, "{verified}");
    assert_eq!(stage.pids("start").iter().filter(|pid| alive(**pid)).count(), 1);
}

/// An idle connection is not closed under its client, who is told to connect anew by the next answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kept_connections_are_told_to_connect_anew() {
    let web = FakeServer::start(Script::legacy()).await;
    let mut gateway = Gateway::start(&servers([("web", http(&web.url()))])).await;
    let first = gateway.pid();
    let peer = gateway.legacy("/mcp").await;
    let stream = peer.listen().await;
    let mut kept = Kept::new(gateway.listen);
    let mut silent = Kept::new(gateway.listen);
    silent.connect().await.unwrap();
    let ask = peer.ask("7", &Call::tool("web__echo", "{}"));
    assert_eq!(kept.send(&ask).await.unwrap().status, 200);
    assert!(kept.is_open());
    gateway.hand_over().await;
    gateway.logged("stopping: requests under way may finish").await;
    // What only waits is ended at once: the client opens it anew.
    soon("the end of the stream", stream.finish()).await.expect("a clean end");
    // The session is the old process's, which still answers on what is connected to it.
    let reply = kept.send(&ask).await.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")), "{}", reply.everything());
    assert!(!kept.is_open());
    let reply = silent.send(&ask).await.expect("one that had said nothing yet is served too");
    assert_eq!((reply.status, reply.header("connection")), (200, Some("close")));
    // Over a new connection it is unknown, which tells a legacy client to begin anew.
    assert_eq!(kept.send(&ask).await.unwrap().status, 404);
    assert_eq!(gateway.readiness().await["state"], "serving");
    let again = gateway.legacy("/mcp").await;
    assert_eq!(kept.send(&again.ask("8", &Call::tool("web__echo", "{}"))).await.unwrap().status, 200);
    until("the end of the old process", async || (!alive(first)).then_some(())).await;
}

/// A call that is under way goes on in the old process, to its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_is_not_cut_by_a_handover() {
    let web = FakeServer::start(Script::modern()).await;
    let mut gateway = Gateway::start(&servers([("web", http(&web.url()))])).await;
    let first = gateway.pid();
    let mut gated = gateway.peer(Dialect::Modern, "/mcp/web").await;
    let waiting = tokio::spawn(async move { gated.tool("gate", "{}").await });
    until("the call", async || (web.log().of_method("tools/call").len() == 1).then_some(())).await;
    gateway.hand_over().await;
    gateway.logged("stopping: requests under way may finish").await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp/web").await;
    assert!(peer.tool("echo", "{}").await.error().is_none(), "the new process serves");
    assert!(alive(first) && !waiting.is_finished());
    web.release();
    assert_eq!(soon("the call under way", waiting).await.unwrap().text(), "called gate");
    until("the end of the old process", async || (!alive(first)).then_some(())).await;
}

/// A new process that cannot start changes nothing: the old one says why, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_that_cannot_start_leaves_the_old_one_serving() {
    let web = FakeServer::start(Script::modern()).await;
    let good = servers([("web", http(&web.url()))]);
    let mut gateway = Gateway::start(&good).await;
    let first = gateway.pid();
    let mut kept = Kept::new(gateway.listen);
    let ask = gateway.modern("/mcp").ask("1", &Call::tool("web__echo", "{}"));
    assert_eq!(kept.send(&ask).await.unwrap().status, 200);
    gateway.configure_text("servers: [not, what, it, was]\n");
    gateway.signal(Signal::USR2);
    gateway.logged("not handed over: this process goes on").await;
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("not handed over")).unwrap();
    assert!(line.contains("cannot be served"), "it says why: {line}");
    assert_eq!(kept.send(&ask).await.unwrap().status, 200);
    assert!(kept.is_open() && kept.opened == 1 && gateway.running());
    // Once that is mended, it can be.
    gateway.configure(&good);
    gateway.hand_over().await;
    until("the end of the old process", async || {
        _ = kept.send(&ask).await;
        (!alive(first)).then_some(())
    })
    .await;
    assert!(fs::exists(format!("/proc/{}", gateway.pid())).unwrap());
}

/// Where the configuration names another address, the new process listens there alone. The old one is closed: whoever comes
/// there is refused, and does not wait in the queue of a socket that nobody accepts from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_left_is_closed() {
    struct Follower(Pid);
    impl Drop for Follower {
        fn drop(&mut self) {
            _ = kill_process(self.0, Signal::KILL);
        }
    }
    let (first, second) = (FakeServer::free_address().await, FakeServer::free_address().await);
    let mut config = servers([]);
    config["listen"] = json!(first.to_string());
    config["admin_listen"] = json!("127.0.0.1:0");
    let (folder, file) = config_file(&config);
    let mut child = tokio::process::Command::new(binary())
        .args(["serve", "--json", "--config"])
        .arg(&file)
        .arg("--data-dir")
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
    soon("the first address", said.next_line()).await.unwrap().expect("a line");
    TcpStream::connect(first).await.expect("it is listened there");

    config["listen"] = json!(second.to_string());
    fs::write(&file, config.to_string()).unwrap();
    kill_process(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap(), Signal::USR2).unwrap();
    let line = soon("the second address", said.next_line()).await.unwrap().expect("a line");
    let line: Value = serde_json::from_str(&line).unwrap();
    let follower = i32::try_from(line["process"].as_i64().unwrap()).unwrap();
    let _follower = Follower(Pid::from_raw(follower).unwrap());
    assert_eq!(line["listen"], second.to_string());
    assert!(soon("the end of the old process", child.wait()).await.unwrap().success());
    TcpStream::connect(second).await.expect("it is listened there");
    let left = TcpStream::connect(first).await;
    assert!(left.is_err(), "nobody would ever be answered there");
}

/// Sockets that a service manager has opened: clients may connect before there is a process and between two, and are served
/// by the next one. Where it is listened is the manager's word, and the rule for strangers holds there too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sockets_of_a_service_manager_are_served() {
    let web = FakeServer::start(Script::modern()).await;
    let mut config = servers([("web", http(&web.url()))]);
    // Nobody else can listen there.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    config["listen"] = json!(taken.local_addr().unwrap().to_string());
    let (folder, file) = config_file(&config);
    let (data, admin) =
        (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
    let (listen, operators) = (data.local_addr().unwrap(), admin.local_addr().unwrap());
    for round in 0..2 {
        // There is no process: this waits in the socket's queue.
        let ask = HttpPeer::modern(listen, "/mcp").ask("1", &Call::tool("web__echo", "{}"));
        let waiting = tokio::spawn(async move { Kept::new(listen).send(&ask).await });
        let log = fs::File::create(folder.path().join("log")).unwrap();
        let mut child = tokio::process::Command::new("sh")
            .arg("-c")
            // As a manager does: the sockets are 3 and 4, and the variables are meant for the process that gets them.
            .arg("exec 3<&1 4<&0 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=admin:data; exec \"$0\" \"$@\"")
            .arg(binary())
            .args(["serve", "--config"])
            .arg(&file)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .stdin(OwnedFd::from(data.try_clone().unwrap()))
            .stdout(OwnedFd::from(admin.try_clone().unwrap()))
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let reply = soon("an answer", waiting).await.unwrap().unwrap();
        assert_eq!(reply.status, 200, "round {round}: {}", reply.everything());
        assert_eq!(Http::new(operators).send(&Ask::new("GET", "/readyz")).await.status, 200, "round {round}");
        let pid = Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        assert!(soon("its end", child.wait()).await.unwrap().success(), "round {round}");
    }
    // Beyond loopback nobody is served without identity, whoever has opened the socket.
    let open = TcpListener::bind("0.0.0.0:0").unwrap();
    let run = tokio::process::Command::new("sh")
        .arg("-c")
        .arg("exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" \"$@\"")
        .arg(binary())
        .args(["serve", "--config"])
        .arg(&file)
        .args(["--admin-listen", "127.0.0.1:0"])
        .stdin(OwnedFd::from(open))
        .kill_on_drop(true)
        .output();
    let output = soon("a refusal to start", run).await.unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("loopback"));
}

/// A service manager hears when clients are served, who serves them in the end, and that it stops.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_manager_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("notify");
    let manager = tokio::net::UnixDatagram::bind(&place).unwrap();
    let heard = async || {
        let mut text = [0; 256];
        let bytes = soon("the gateway's word", manager.recv(&mut text)).await.unwrap();
        String::from_utf8_lossy(&text[..bytes]).trim().to_owned()
    };
    let mut gateway = Gateway::start_with(&servers([]), &[("NOTIFY_SOCKET", place.to_str().unwrap())]).await;
    assert_eq!(heard().await, "READY=1");
    gateway.hand_over().await;
    // The new process's own word and the old one's come in any order; a manager believes the process that it knows.
    let both: BTreeSet<String> = [heard().await, heard().await].into();
    let follows = format!("MAINPID={}\nREADY=1", gateway.pid());
    assert_eq!(both, BTreeSet::from(["READY=1".to_owned(), follows]));
    gateway.signal(Signal::TERM);
    assert_eq!(heard().await, "STOPPING=1");
}
