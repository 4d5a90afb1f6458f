//! Many clients that come, call, wander off and come again, for ten seconds here and for ten minutes in
//! `cargo xtask soak`: every answer is right, no session or child outlives its client, and memory stays flat.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;
use tollgate_e2e::gateway::{Gateway, servers, with};
use tollgate_e2e::places::peer;
use tollgate_e2e::samples::listening;
use tollgate_testkit::fake::{Call, Dialect, until};

/// Change it to walk another way through the same mix.
const SEED: u64 = 0x746f_6c6c_6761_7465;
const WALKERS: u64 = 4;
/// What memory may grow by after the first third, in KiB: caches and pools fill, nothing else.
const GROWTH_KIB_MAX: u64 = 24 * 1024;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_of_clients_that_come_and_go() {
    let length = if std::env::var_os("TOLLGATE_SOAK").is_some() {
        Duration::from_mins(10)
    } else {
        Duration::from_secs(10)
    };
    let program = peer("reference-server");
    let (_modern, modern) = listening(&[&program, "--http", "127.0.0.1:0", "--era", "modern"]).await;
    let (_legacy, legacy) = listening(&[&program, "--http", "127.0.0.1:0", "--era", "legacy"]).await;
    // A legacy client that leaves does not cancel its call, so only the time allowed for it ends a call that waits.
    let patience = json!({ "request_timeout_ms": 5000, "idle_ms": 1000 });
    let config = servers([
        ("modern", with(&json!({ "url": modern }), patience.clone())),
        ("legacy", with(&json!({ "url": legacy }), patience.clone())),
        ("child", with(&json!({ "command": program, "args": ["--stdio"] }), patience)),
    ]);
    let config = with(&config, json!({ "limits": { "session_idle_ms": 5000 } }));
    let gateway = Arc::new(Gateway::start(&config).await);

    let started = Instant::now();
    let calls = Arc::new(AtomicU64::new(0));
    let mut walkers = JoinSet::new();
    for walker in 0..WALKERS {
        let (gateway, calls) = (gateway.clone(), calls.clone());
        walkers.spawn(async move {
            let mut dice = Dice(SEED ^ (walker + 1));
            while started.elapsed() < length {
                calls.fetch_add(visit(&gateway, &mut dice).await, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep_until((started + length / 3).into()).await;
    let early = memory_kib(&gateway);
    walkers.join_all().await;
    let late = memory_kib(&gateway);

    let calls = calls.load(Ordering::Relaxed);
    assert!(calls > 100, "{calls} calls in {length:?}");
    assert!(
        late <= early + GROWTH_KIB_MAX,
        "{early} KiB after a third, {late} KiB at the end, {calls} calls"
    );
    until("every child has ended", async || gateway.children().is_empty().then_some(())).await;
}

/// One client's visit: some calls, and then it leaves, in one way or another. Gives how many calls were answered.
async fn visit(gateway: &Gateway, dice: &mut Dice) -> u64 {
    let server = ["modern", "legacy", "child"][dice.below(3)];
    let dialect = if dice.below(2) == 0 { Dialect::Modern } else { Dialect::Legacy };
    let mut client = gateway.peer(dialect, &format!("/mcp/{server}")).await;
    let calls = dice.below(20);
    for _ in 0..calls {
        if dice.below(10) == 0 {
            assert!(client.tools().await.iter().any(|tool| tool == "echo"), "{server} lists its tools");
            continue;
        }
        let message = "m".repeat(1 << dice.below(16));
        let answer = client.tool("echo", &json!({ "message": message }).to_string()).await;
        assert_eq!(answer.text(), format!("Echo: {message}"), "{server}");
    }
    // Sometimes it leaves in the middle of a call.
    if dice.below(4) == 0 {
        let mut leaver = match dialect {
            Dialect::Modern => gateway.modern(&format!("/mcp/{server}")),
            Dialect::Legacy => gateway.legacy(&format!("/mcp/{server}")).await,
        };
        let waiting = Call::tool("wait_until_cancelled", "{}").meta(r#""progressToken":"soak""#);
        drop(leaver.open(&waiting).await);
    }
    u64::try_from(calls).unwrap_or_default()
}

/// A small generator of numbers that can be had again from its seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end).expect("small")).expect("small")
    }
}

fn memory_kib(gateway: &Gateway) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid())).expect("it runs");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("Linux says so");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
