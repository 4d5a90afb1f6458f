//! A disk on which writes fail: calls are refused and say why, what is under way is not forgotten, and all is well by itself when
//! the disk is. The system's own limit on the size of files stands for the disk: writes beyond it fail.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::path::{Path, PathBuf};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};
use serde_json::json;
use tokio::process::Command;
use tollgate_e2e::gateway::{Gateway, binary, http, servers, with};
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

/// Runs a command against this gateway; what it says where it fails.
async fn refused(gateway: &Gateway, words: &[&str]) -> String {
    let config = gateway.folder().join("tollgate.yaml");
    let mut command = Command::new(binary());
    command.args(words).arg("--config").arg(config).arg("--data-dir").arg(gateway.data());
    let output = soon("the end of a command", command.output()).await.unwrap();
    assert!(!output.status.success(), "{words:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_changes_anything_that_could_not_be_put_on_record() {
    let server = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let ledger = json!({ "ledger": { "index": { "enabled": false } } });
    let gateway = Gateway::start(&with(&servers([("files", http(&server.url()))]), ledger)).await;
    let made = gateway.command(&["admin-keys", "create", "--role", "admin", "--json"]).await;
    let key = made["key"].as_str().unwrap();
    let form = |path: &str| {
        Ask::new("POST", path)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", &format!("http://{}", gateway.admin))
    };
    let signed_in = Http::new(gateway.admin).send(&form("/sign-in/key").body(format!("secret={key}"))).await;
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = Ask::new("GET", "/kill-switch").with("Cookie", &cookie);
    let page = Http::new(gateway.admin).send(&page).await.text();
    let mark = "name=\"csrf\" value=\"";
    let token = page[page.find(mark).unwrap() + mark.len()..].split('"').next().unwrap().to_owned();
    let mut peer = Peer::from(gateway.modern("/mcp"));
    for _ in 0..40 {
        peer.tool("files__echo", "{}").await.value();
    }

    limit(&gateway, Some(Reader::new(&writer(&gateway)).path(1).metadata().unwrap().len()));
    for _ in 0..3 {
        assert_eq!(peer.tool("files__echo", "{}").await.refusal(), "ledger_unavailable");
    }
    let api = Http::new(gateway.admin).bearing(key);
    let block = json!({ "kind": "server", "name": "files", "reason": "now" }).to_string();
    let block = Ask::new("POST", "/api/v1/blocks").with("Content-Type", "application/json").body(block);
    let reply = api.send(&block).await;
    assert_eq!((reply.status, reply.header("content-type")), (503, Some("application/problem+json")));
    assert!(reply.text().contains("\"code\":\"not_recorded\""), "{}", reply.text());
    let fields = format!("csrf={token}&kind=server&tenant=&name=files&reason=now");
    let sent = form("/kill-switch/block").with("Cookie", &cookie).body(fields);
    let reply = Http::new(gateway.admin).send(&sent).await;
    assert_eq!(reply.status, 503, "{}", reply.everything());
    assert!(reply.text().contains("nothing can be put on record"), "{}", reply.text());
    let said = refused(&gateway, &["block", "server", "files", "--reason", "now"]).await;
    assert!(said.contains("nothing can be put on record") && said.contains("--direct"), "{said}");
    let listed = api.send(&Ask::new("GET", "/api/v1/blocks")).await.text();
    assert!(listed.contains("\"items\":[]"), "nothing was changed: {listed}");

    limit(&gateway, None);
    until("it is well", async || (gateway.metric("tollgate_ledger_up").await == 1).then_some(())).await;
    assert_eq!(api.send(&block).await.status, 201);
}
