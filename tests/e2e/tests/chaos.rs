//! A server behind a bad network, or a bad server: the others and their callers notice nothing, memory stays bounded, and
//! nothing is done twice.
//!
//! How latency fares is measured by the benchmark's row `chaos`; here is what can be counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails loudly, and says what it did"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_e2e::book::Book;
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_ledger::Verify;
use tollgate_testkit::chaos::{Chaos, Fault, Plan};
use tollgate_testkit::counter::{Counter, TOOL, storm};
use tollgate_testkit::fake::{Answer, Call, FakeServer, HttpPeer, Kept, Peer, Script, soon, until};

const SERVERS: usize = 20;
const BAD: &str = "s00";
/// How long the gateway waits for a list, and for an answer, in these tests.
const WAIT_MS: u64 = 1000;
/// How much later than that an answer may be, on a machine that is busy.
const SLACK: Duration = Duration::from_secs(10);
/// The longest message that is read of a server, in bytes.
const MESSAGE_BYTES_MAX: u64 = 4 << 20;
/// What the gateway's memory may grow by while one server is bad, in KiB: three answers at once, each held twice while it
/// grows, and what a busy gateway takes anyway.
const GROWTH_KIB_MAX: u64 = 3 * 3 * MESSAGE_BYTES_MAX / 1024 + 28 * 1024;
/// Calls to the counter, here and in `cargo xtask soak`.
const CALLS: u64 = 5_000;
const CALLS_OF_A_SOAK: u64 = 100_000;
const SEED: u64 = 0x6368_616f_7321;

fn impatient(url: &str) -> Value {
    with(
        &http(url),
        json!({ "list_timeout_ms": WAIT_MS, "request_timeout_ms": WAIT_MS, "probe_timeout_ms": WAIT_MS, "message_bytes_max": MESSAGE_BYTES_MAX }),
    )
}

/// What is seen of the gateway while one server is bad.
#[derive(Default)]
struct Seen {
    done: AtomicBool,
    /// Calls to the others, all of them answered.
    good: AtomicU64,
    /// Ends of calls to the bad one.
    bad: AtomicU64,
    lists: AtomicU64,
    /// Lists that named it.
    named: AtomicU64,
}

impl Seen {
    fn is_enough(&self) -> bool {
        self.good.load(Ordering::Relaxed) >= 200
            && self.bad.load(Ordering::Relaxed) >= 3
            && self.lists.load(Ordering::Relaxed) >= 2
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_bad_server_of_twenty_harms_nobody_else() {
    let mut fakes = Vec::new();
    for _ in 0..SERVERS {
        fakes.push(FakeServer::start(Script::modern().with_tools(["echo"])).await);
    }
    let chaos = Chaos::start(fakes[0].addr(), SEED).await;
    let names: Vec<String> = (0..SERVERS).map(|n| format!("s{n:02}")).collect();
    let urls = std::iter::once(chaos.url()).chain(fakes[1..].iter().map(FakeServer::url));
    // The others have all the time that a busy machine may stand still.
    let entries = names.iter().zip(urls).map(|(name, url)| {
        let entry = if name == BAD { impatient(&url) } else { http(&url) };
        (name.as_str(), entry)
    });
    let config = servers(entries);
    let gateway = Gateway::start(&config).await;
    // Everything is known and warm.
    let mut peer = Peer::from(gateway.modern("/mcp"));
    until("every server", async || (peer.tools().await.len() == SERVERS).then_some(())).await;

    let all = |fault| Plan::All(fault);
    let moods = [
        ("hung", all(Fault::Hole)),
        ("dead", Plan::Dead),
        ("slow", all(Fault::Delay(Duration::from_millis(WAIT_MS / 2)))),
        ("dripping", all(Fault::Throttle(100))),
        ("flapping", all(Fault::Pass)),
        ("spewing events", all(Fault::SpewEvents)),
        ("spewing bytes", all(Fault::SpewBytes)),
        ("spewing headers", all(Fault::SpewHeaders)),
        ("resetting", all(Fault::ResetWithin)),
        ("truncating", all(Fault::Truncate)),
        ("corrupting", all(Fault::Corrupt)),
    ];
    for (mood, plan) in moods {
        gateway.reset_memory_peak();
        let before = gateway.memory_peak_kib();
        chaos.set(plan);
        let flapping =
            (mood == "flapping").then(|| chaos.flap(Duration::from_millis(150), Duration::from_millis(150)));
        let seen = Arc::new(Seen::default());
        let mut clients = JoinSet::new();
        for client in 0..4 {
            clients.spawn(call_others(gateway.modern("/mcp"), client, Arc::clone(&seen), mood));
        }
        for _ in 0..2 {
            clients.spawn(call_bad(gateway.modern("/mcp"), Arc::clone(&seen), mood));
        }
        clients.spawn(list(gateway.modern("/mcp"), Arc::clone(&seen), mood));
        until(&format!("enough of {mood}"), async || seen.is_enough().then_some(())).await;
        seen.done.store(true, Ordering::Relaxed);
        while let Some(ended) = soon("the end of a client", clients.join_next()).await {
            ended.unwrap_or_else(|why| std::panic::resume_unwind(why.into_panic()));
        }
        drop(flapping);
        let grown = gateway.memory_peak_kib().saturating_sub(before);
        let (good, bad) = (seen.good.load(Ordering::Relaxed), seen.bad.load(Ordering::Relaxed));
        let (lists, named) = (seen.lists.load(Ordering::Relaxed), seen.named.load(Ordering::Relaxed));
        println!(
            "{mood}: {good} calls to others, {bad} to it, {named} of {lists} lists named it, {grown} KiB more"
        );
        assert!(grown < GROWTH_KIB_MAX, "{mood}: {grown} KiB more");
        if !matches!(mood, "slow" | "flapping" | "corrupting") {
            assert_eq!(named, lists, "{mood}: every list names it");
        }
        // As soon as it is well, it is there again.
        chaos.set(Plan::All(Fault::Pass));
        until(&format!("after {mood}, the whole list"), async || {
            let answer = gateway.modern("/mcp").request(&Call::new("tools/list", "")).await;
            (missing(&answer).is_empty() && tools(&answer).contains(&format!("{BAD}__echo"))).then_some(())
        })
        .await;
        until("it answers", async || {
            gateway
                .modern("/mcp")
                .request(&Call::tool(&format!("{BAD}__echo"), "{}"))
                .await
                .error()
                .is_none()
                .then_some(())
        })
        .await;
    }
}

/// Calls every other server by turns. Each call is answered, and in time.
async fn call_others(peer: HttpPeer, client: usize, seen: Arc<Seen>, mood: &'static str) {
    let mut kept = Kept::new(peer.http.addr);
    let mut number = client;
    while !seen.done.load(Ordering::Relaxed) {
        number += 1;
        let server = 1 + number % (SERVERS - 1);
        let call = Call::tool(&format!("s{server:02}__echo"), &format!(r#"{{"n":{number}}}"#));
        let began = Instant::now();
        let reply = soon("an answer", kept.send(&peer.ask(&number.to_string(), &call))).await.unwrap();
        let answer = Answer::of(&reply);
        assert!(answer.error().is_none(), "{mood}: s{server:02}: {answer:?}");
        assert!(answer.result().contains(&format!(r#""n":{number}}}"#)), "{mood}: {answer:?}");
        assert!(began.elapsed() < SLACK, "{mood}: s{server:02} after {:?}", began.elapsed());
        seen.good.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls the bad one. Each call has an end: an answer, or what the matter is.
async fn call_bad(peer: HttpPeer, seen: Arc<Seen>, mood: &'static str) {
    let mut kept = Kept::new(peer.http.addr);
    let mut number = 0_u64;
    while !seen.done.load(Ordering::Relaxed) {
        number += 1;
        let call = Call::tool(&format!("{BAD}__echo"), &format!(r#"{{"n":{number}}}"#));
        let began = Instant::now();
        let reply = soon("an end", kept.send(&peer.ask(&number.to_string(), &call))).await.unwrap();
        let answer = Answer::of(&reply);
        let is_told = answer.error().is_none() || !answer.refusal().is_empty();
        assert!(is_told, "{mood}: {answer:?}");
        assert!(
            began.elapsed() < Duration::from_millis(3 * WAIT_MS) + SLACK,
            "{mood}: {:?}",
            began.elapsed()
        );
        seen.bad.fetch_add(1, Ordering::Relaxed);
        if answer.error().is_some() {
            // What is refused at once is not asked for without end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Lists. All others are there each time, and the bad one is, or is named.
async fn list(peer: HttpPeer, seen: Arc<Seen>, mood: &'static str) {
    let others: BTreeSet<String> = (1..SERVERS).map(|n| format!("s{n:02}__echo")).collect();
    let mut kept = Kept::new(peer.http.addr);
    while !seen.done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let reply = soon("a list", kept.send(&peer.ask("1", &Call::new("tools/list", "")))).await.unwrap();
        let answer = Answer::of(&reply);
        let tools = tools(&answer);
        assert!(tools.is_superset(&others), "{mood}: {:?}", others.difference(&tools));
        let missing = missing(&answer);
        assert!(missing.iter().all(|name| name == BAD), "{mood}: {missing:?}");
        let own = tools.iter().any(|tool| tool.starts_with(BAD));
        assert!(own != missing.contains(BAD), "{mood}: {answer:?}");
        assert!(began.elapsed() < Duration::from_millis(WAIT_MS) + SLACK, "{mood}: {:?}", began.elapsed());
        seen.lists.fetch_add(1, Ordering::Relaxed);
        seen.named.fetch_add(u64::from(!missing.is_empty()), Ordering::Relaxed);
    }
}

fn tools(answer: &Answer) -> BTreeSet<String> {
    let tools = answer.value()["tools"].as_array().cloned().unwrap_or_default();
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

fn missing(answer: &Answer) -> BTreeSet<String> {
    let missing = answer.value()["_meta"]["dev.tollgate/unavailable"].as_array().cloned().unwrap_or_default();
    missing.iter().map(|one| one["server"].as_str().unwrap().to_owned()).collect()
}

/// A server that speaks without end is cut off where that is clear, whatever time its answer has; and then it is left alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_spews_is_cut_off_and_left_alone() {
    /// What the sockets on both sides may hold, in bytes.
    const BUFFERS: u64 = 24 << 20;
    const FAILURES_MAX: usize = 5;
    let long = 600_000;
    for (fault, code) in
        [(Fault::SpewEvents, "upstream_protocol_error"), (Fault::SpewBytes, "upstream_too_large")]
    {
        let fake = FakeServer::start(Script::modern().with_tools(["echo"])).await;
        let chaos = Chaos::start(fake.addr(), SEED).await;
        let bounds = json!({
            "request_timeout_ms": long, "idle_timeout_ms": long, "backoff_ms_min": long, "backoff_ms_max": long,
            "answer_messages_max": 2_000, "message_bytes_max": MESSAGE_BYTES_MAX,
            "circuit": { "failures_max": FAILURES_MAX }
        });
        let gateway = Gateway::start(&servers([(BAD, with(&http(&chaos.url()), bounds))])).await;
        let (mut peer, tool) = (gateway.modern("/mcp"), Call::tool(&format!("{BAD}__echo"), "{}"));
        let mut call = async || soon("an end", peer.request(&tool)).await;
        assert!(call().await.error().is_none());
        chaos.set(Plan::All(fault));
        for number in 0..FAILURES_MAX {
            assert_eq!(call().await.refusal(), code, "{fault:?}, {number}");
        }
        for _ in 0..20 {
            assert_eq!(call().await.refusal(), "upstream_unavailable", "{fault:?}");
        }
        // Beside the calls only whoever listens for its changes may have asked it for something, once.
        let exchanges = chaos.done().get(&fault).copied().unwrap_or_default();
        assert!(exchanges <= FAILURES_MAX as u64 + 1, "{fault:?}: {exchanges}");
        let bound = exchanges * (MESSAGE_BYTES_MAX + BUFFERS);
        assert!(chaos.spewed() < bound, "{fault:?}: {} bytes", chaos.spewed());
    }
}

/// Thousands of calls that must not be carried out twice, on connections that break at every point: each has one end, none
/// is carried out twice, and the record has what became of each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_of_connections_that_break_does_nothing_twice() {
    let calls = if std::env::var_os("TOLLGATE_SOAK").is_some() { CALLS_OF_A_SOAK } else { CALLS };
    let counter = Counter::start().await;
    let chaos = Chaos::start(counter.addr(), SEED).await;
    // Calls are to reach the server however many fail: its circuit would spare it most of them.
    let bearing =
        json!({ "backoff_ms_min": 1, "backoff_ms_max": 20, "circuit": { "failures_max": 1_000_000 } });
    let entry = with(&impatient(&chaos.url()), bearing);
    let gateway = Gateway::start(&servers([("counter", entry)])).await;
    let mut peer = Peer::from(gateway.modern("/mcp/counter"));
    assert_eq!(peer.tool("add_warm", "{}").await.text(), "done");
    chaos.set(Plan::faulty());
    let ends = storm(gateway.listen, "counter", calls, 32).await;
    let counts = counter.counts();
    println!(
        "{} of {calls} calls answered, {} counted; {:?}; {:?}, {} connections",
        ends.answered.len(),
        counts.len(),
        ends.codes(),
        chaos.done(),
        chaos.connections()
    );
    assert_eq!(ends.faults(calls, &counts), Vec::<String>::new());
    for fault in [Fault::ResetBefore, Fault::ResetAfter, Fault::ResetWithin, Fault::Truncate, Fault::Hole] {
        assert!(chaos.done().get(&fault).is_some_and(|times| *times > 0), "{fault:?} was never done");
    }
    let counted = counts.len() as u64;
    assert!(counted > calls / 4, "{counted} of {calls} reached the server");
    assert!(counted > ends.answered.len() as u64, "nothing was lost on the way back");

    let mut gateway = gateway;
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().await.success());
    let folder = gateway.data().join("ledger");
    let book = Book::read(&folder);
    for number in counts.keys() {
        // A call that could not leave is tried again, and each try is on record.
        let intents = book.intents.get(&format!("{TOOL}{number}"));
        assert!(intents.is_some_and(|tries| !tries.is_empty()), "the call of {number} is not on record");
    }
    for (tool, intents) in &book.intents {
        for intent in intents {
            assert!(book.outcomes.contains_key(intent), "what became of {tool} is not on record");
        }
    }
    let report = Verify::default().all(&folder).unwrap();
    assert!(report.is_good(), "the chain is broken: {:#?}", report.faults().next());
}
