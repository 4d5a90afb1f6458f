//! A disk on which writes fail: calls are refused and say why, what is under way is not forgotten, and all is well by itself when
//! the disk is. The system's own limit on the size of files stands for the disk: writes beyond it fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_ledger::{Kind, Read, Reader, Verify, writers};
use tollgate_testkit::fake::{Ask, FakeServer, Http, Peer, Script, soon, until};

/// Files of the gateway may have so many bytes.
fn limit(gateway: &Gateway, bytes: Option<u64>) {
    let pid = Pid::from_raw(i32::try_from(gateway.pid()).unwrap()).unwrap();
    let Rlimit { maximum, .. } = getrlimit(Resource::Fsize);
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

fn writer(gateway: &Gateway) -> PathBuf {
    writers(&gateway.data().join("ledger")).unwrap().remove(0)
}

fn read(folder: &Path) -> Vec<Read> {
    let mut reader = Reader::new(folder);
    std::iter::from_fn(|| reader.next_entry().unwrap()).collect()
}

async fn fails_and_recovers(durability: &str) {
    let server = FakeServer::start(Script::modern().with_tools(["echo", "gate"])).await;
    // What else it keeps in files is none of this.
    let config = servers([("files", http(&server.url()))]);
    let config =
        with(&config, json!({ "ledger": { "durability": durability, "index": { "enabled": false } } }));
    let mut gateway = Gateway::start(&config).await;
    let mut peer = Peer::from(gateway.modern("/mcp"));
    // Long enough that no other file is as long.
    for _ in 0..40 {
        peer.tool("files__echo", "{}").await.value();
    }
    let mut other = Peer::from(gateway.modern("/mcp"));
    let open = tokio::spawn(async move { other.tool("files__gate", "{}").await });
    let calls = || server.log().of_method("tools/call").len();
    until("the call under way", async || (calls() == 41).then_some(())).await;

    let folder = writer(&gateway);
    let segment = Reader::new(&folder).path(1);
    limit(&gateway, Some(segment.metadata().unwrap().len()));
    for _ in 0..3 {
        assert_eq!(peer.tool("files__echo", "{}").await.refusal(), "ledger_unavailable");
    }
    assert_eq!(calls(), 41, "what is refused reaches nobody");
    let ready = Http::new(gateway.admin).send(&Ask::new("GET", "/readyz")).await;
    assert_eq!(ready.status, 503);
    let said = gateway.readiness().await;
    assert_eq!(said["ledger"]["state"], "down", "{said}");
    assert!(said["ledger"]["reason"].as_str().unwrap().contains("File too large"), "{said}");
    assert_eq!(gateway.metric("tollgate_ledger_up").await, 0);
    assert!(gateway.metric("tollgate_ledger_write_failures_total").await > 0);

    // What is under way ends meanwhile, and is answered when that is on record.
    server.release();
    limit(&gateway, None);
    let answer = soon("the answer", open).await.unwrap();
    answer.value();
    until("it is well", async || (gateway.metric("tollgate_ledger_up").await == 1).then_some(())).await;
    peer.tool("files__echo", "{}").await.value();
    gateway.signal(Signal::TERM);
    assert!(gateway.ended().await.success());

    let kinds: Vec<Kind> = read(&folder).iter().map(|read| read.entry().unwrap().kind).collect();
    let count = |wanted: Kind| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!((count(Kind::Intent), count(Kind::Outcome)), (42, 42));
    assert!(count(Kind::Gap) >= 1, "what was refused was counted");
    let report = Verify::default().all(&gateway.data().join("ledger")).unwrap();
    assert!(report.is_good(), "{:#?}", report.faults().next());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_refuses_calls_and_recovers() {
    fails_and_recovers("process").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_does_where_each_entry_has_to_reach_the_disk() {
    fails_and_recovers("power").await;
}
