//! What the callers of nineteen servers notice of a twentieth that is hung, dead, slow, flapping or spewing: nothing, beyond
//! what differs between runs in which all are well.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tollgate_testkit::chaos::{Chaos, Fault, Plan};
use tollgate_testkit::counter::Counter;
use tollgate_testkit::fake::{Call, HttpPeer, Kept, json};

use crate::Result;
use crate::deciding::{Line, nanos};
use crate::figures::middle;
use crate::targets::Gateway;

const SERVERS: usize = 20;
/// Clients that call the others.
const CALLERS: usize = 4;
/// How often each client begins something: a load that the machine carries with ease, so that waiting shows.
const PACE: Duration = Duration::from_millis(5);
const LIST_PACE: Duration = Duration::from_millis(50);
/// Runs in which all are well.
const CALM: usize = 5;
/// A difference that is none, however alike the calm runs are.
const NOISE: f64 = 1.05;
/// What the servers may take.
const WAIT_MS: u64 = 1_000;

type Times = Histogram<u64>;

/// What the two lines are called, and what is done.
type Mood = (&'static str, &'static str, fn() -> Plan);

/// What is done to the twentieth.
const MOODS: [Mood; 5] = [
    ("calls to others, one hung", "lists, one hung", || Plan::All(Fault::Hole)),
    ("calls to others, one dead", "lists, one dead", || Plan::Dead),
    ("calls to others, one slow", "lists, one slow", || Plan::All(Fault::Throttle(2_000))),
    ("calls to others, one spewing events", "lists, one spewing events", || Plan::All(Fault::SpewEvents)),
    ("calls to others, one spewing bytes", "lists, one spewing bytes", || Plan::All(Fault::SpewBytes)),
];

/// Measures each mood beside runs in which all are well. Every answer of the others is looked at.
pub(crate) fn measure(binary: &Path, is_quick: bool) -> Result<Vec<Line>> {
    let each = Duration::from_millis(if is_quick { 800 } else { 5_000 });
    let runtime = Runtime::new()?;
    let (counters, chaos) = runtime.block_on(async {
        let mut counters = Vec::new();
        for _ in 0..SERVERS {
            counters.push(Counter::start().await);
        }
        let chaos = Chaos::start(counters[0].addr(), 1).await;
        (counters, chaos)
    });
    let mut servers = String::new();
    for (at, counter) in counters.iter().enumerate() {
        let address = if at == 0 { chaos.addr() } else { counter.addr() };
        let _ = writeln!(
            servers,
            "  s{at:02}: {{ url: \"http://{address}/mcp\", transport: http, list_timeout_ms: {WAIT_MS}, request_timeout_ms: {WAIT_MS} }}"
        );
    }
    let gateway = Gateway::start_alone(binary, &servers)?;
    let run = || runtime.block_on(run(gateway.address(), each));
    run()?;
    let (mut calls_us, mut lists_us) = (Vec::new(), Vec::new());
    for _ in 0..CALM {
        let (calls, lists) = run()?;
        calls_us.push(Line::of("", &calls, 0.0).p99_us);
        lists_us.push(Line::of("", &lists, 0.0).p50_us);
    }
    let bound = |calm: Vec<f64>| {
        let most = calm.iter().copied().fold(0.0, f64::max);
        middle(calm).map_or(most, |middle| most.max(middle * NOISE))
    };
    let (calls_max, lists_max) = (bound(calls_us), bound(lists_us));
    let mut lines = Vec::new();
    let mut disturbed = |names: (&'static str, &'static str)| -> Result<()> {
        // What is learnt in the first moments of it is not measured.
        run()?;
        let (calls, lists) = run()?;
        lines.push(Line { is_p99: true, ..Line::of(names.0, &calls, calls_max) });
        lines.push(Line::of(names.1, &lists, lists_max));
        Ok(())
    };
    for (of_calls, of_lists, plan) in MOODS {
        chaos.set(plan());
        disturbed((of_calls, of_lists))?;
    }
    let flapping = {
        let _within = runtime.enter();
        chaos.flap(Duration::from_millis(300), Duration::from_millis(300))
    };
    disturbed(("calls to others, one flapping", "lists, one flapping"))?;
    drop(flapping);
    Ok(lines)
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## One bad server of {SERVERS}\n\n{CALLERS} clients call the others every {} ms, one lists all every {} ms, one calls the bad \
         one. The aim is the worst of {CALM} runs in which all are well, or their middle and 5 %: p99 of calls, p50 of \
         lists.\n\n| what | p50 µs | p99 µs | aim |\n|---|--:|--:|--:|\n",
        PACE.as_millis(),
        LIST_PACE.as_millis()
    );
    for line in lines {
        let Line { what, p50_us, p99_us, aim_us, .. } = line;
        let _ = writeln!(text, "| {what} | {p50_us:.0} | {p99_us:.0} | {aim_us:.0} |");
    }
}

/// What the calls to the others took, and the lists.
async fn run(gateway: SocketAddr, each: Duration) -> Result<(Times, Times)> {
    let done = Arc::new(AtomicBool::new(false));
    let mut calls = JoinSet::new();
    for client in 0..CALLERS {
        calls.spawn(call_others(gateway, client, Arc::clone(&done)));
    }
    let lists = tokio::spawn(list(gateway, Arc::clone(&done)));
    let bad = tokio::spawn(call_bad(gateway, Arc::clone(&done)));
    tokio::time::sleep(each).await;
    done.store(true, Ordering::Relaxed);
    let mut times = Times::new_with_bounds(1, 60_000_000_000, 3)?;
    while let Some(of_client) = calls.join_next().await {
        times.add(of_client??)?;
    }
    bad.await??;
    Ok((times, lists.await??))
}

async fn call_others(gateway: SocketAddr, client: usize, done: Arc<AtomicBool>) -> Result<Times> {
    let (peer, mut kept) = (HttpPeer::modern(gateway, "/mcp"), Kept::new(gateway));
    let mut times = Times::new_with_bounds(1, 60_000_000_000, 3)?;
    let mut beat = tokio::time::interval(PACE);
    let mut number = client;
    while !done.load(Ordering::Relaxed) {
        let due = beat.tick().await;
        number += 1;
        let server = 1 + number % (SERVERS - 1);
        let call = Call::tool(&format!("s{server:02}__add"), "{}");
        let reply = kept.send(&peer.ask(&number.to_string(), &call)).await?;
        times.record(nanos(due.elapsed()))?;
        if reply.status != 200 || json::find(&reply.text(), &["result"]).is_none() {
            return Err(format!("s{server:02}: {}", reply.everything()).into());
        }
    }
    Ok(times)
}

async fn call_bad(gateway: SocketAddr, done: Arc<AtomicBool>) -> Result<()> {
    let (peer, mut kept) = (HttpPeer::modern(gateway, "/mcp"), Kept::new(gateway));
    while !done.load(Ordering::Relaxed) {
        kept.send(&peer.ask("1", &Call::tool("s00__add", "{}"))).await?;
        tokio::time::sleep(PACE).await;
    }
    Ok(())
}

async fn list(gateway: SocketAddr, done: Arc<AtomicBool>) -> Result<Times> {
    let (peer, mut kept) = (HttpPeer::modern(gateway, "/mcp"), Kept::new(gateway));
    let mut times = Times::new_with_bounds(1, 60_000_000_000, 3)?;
    while !done.load(Ordering::Relaxed) {
        let began = Instant::now();
        let reply = kept.send(&peer.ask("1", &Call::new("tools/list", ""))).await?;
        times.record(nanos(began.elapsed()))?;
        let text = reply.text();
        let others = (1..SERVERS).filter(|at| text.contains(&format!("\"s{at:02}__add\""))).count();
        if others != SERVERS - 1 {
            return Err(format!("{others} of {} others are listed", SERVERS - 1).into());
        }
        tokio::time::sleep(LIST_PACE).await;
    }
    Ok(times)
}
