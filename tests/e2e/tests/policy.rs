//! Policies as operators meet them: files and folders, edits, restarts, and what is refused at start.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers};
use tollgate_testkit::fake::{Dialect, FakeServer, Script, until};

const ECHO: &str =
    r#"@id("echo") permit(principal in Agent::"local", action == Action::"shop__echo", resource);"#;
const COUNT: &str = r#"@id("count") permit(principal, action == Action::"shop__count", resource);"#;

/// A folder of policies beside no configuration, and a configuration that names it.
fn configured(server: &FakeServer, policy: Option<&str>) -> (TempDir, Value) {
    let folder = tempfile::tempdir().unwrap();
    if let Some(policy) = policy {
        write(folder.path(), "own.cedar", policy);
    }
    let mut config = servers([("shop", http(&server.url()))]);
    config["policy"] = json!({ "files": [folder.path()] });
    (folder, config)
}

fn write(folder: &Path, file: &str, text: &str) {
    let next = folder.join("next.tmp");
    fs::write(&next, text).unwrap();
    fs::rename(next, folder.join(file)).unwrap();
}

/// Runs a command of the binary on this configuration to its end.
fn run(config: &Value, arguments: &[&str]) -> Output {
    let (_folder, file) = config_file(config);
    let place = if arguments[0] == "serve" { vec!["--config".into(), file] } else { vec![file] };
    Command::new(binary()).args(arguments).args(place).output().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_permit_nothing_is_allowed_and_serve_says_so() {
    let server = FakeServer::start(Script::legacy()).await;
    let (folder, config) = configured(&server, None);
    let gateway = Gateway::start(&config).await;
    gateway.logged("NOTHING IS ALLOWED").await;
    for dialect in [Dialect::Legacy, Dialect::Modern] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        assert_eq!(peer.tools().await, Vec::<String>::new());
        assert_eq!(peer.tool("shop__echo", "{}").await.code(), -32602);
    }
    assert_eq!(server.log().of_method("tools/call").len(), 0);
    // A file that comes into the folder is read.
    write(folder.path(), "more.cedar", ECHO);
    let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
    until("the new file", async || (peer.tools().await == ["shop__echo"]).then_some(())).await;
    assert!(peer.tool("shop__echo", "{}").await.result().contains("echo"));
    assert!(gateway.metric("tollgate_policy_decisions_total{verdict=\"hidden\"}").await >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_edit_changes_nothing_and_says_where_and_what_to_write() {
    let server = FakeServer::start(Script::modern()).await;
    let (folder, config) = configured(&server, Some(ECHO));
    let gateway = Gateway::start(&config).await;
    let mut peer = gateway.peer(Dialect::Legacy, "/mcp").await;
    assert_eq!(peer.tools().await, ["shop__echo"]);
    write(
        folder.path(),
        "own.cedar",
        &format!("{ECHO}\npermit(principal, action == Action::\"shop__cuont\", resource);"),
    );
    gateway.logged("shop__count").await;
    gateway.logged("own.cedar:2").await;
    assert_eq!(peer.tools().await, ["shop__echo"]);
    write(folder.path(), "own.cedar", COUNT);
    until("the good edit", async || (peer.tools().await == ["shop__count"]).then_some(())).await;
    assert_eq!(peer.tool("shop__echo", "{}").await.code(), -32602);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_down_keeps_its_definitions_over_a_restart() {
    let server = FakeServer::start(Script::legacy()).await;
    let (folder, config) = configured(&server, Some(ECHO));
    let mut gateway = Gateway::start(&config).await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
    assert_eq!(peer.tools().await, ["shop__echo"]);
    // Kept in the background.
    let data = gateway.folder().join("data");
    let holds = |file: fs::DirEntry| {
        fs::read(file.path()).is_ok_and(|bytes| bytes.windows(6).any(|window| window == b"\"echo\""))
    };
    until("the stored definitions", async || fs::read_dir(&data).ok()?.flatten().any(holds).then_some(()))
        .await;
    drop(server);
    gateway.restart().await;
    let mut peer = gateway.peer(Dialect::Modern, "/mcp").await;
    let told = peer.tool("shop__echo", "{}").await;
    assert!(told.everything().contains("upstream_unavailable"), "{}", told.everything());
    assert!(peer.tool("shop__nonsuch", "{}").await.everything().contains("unknown_tool"));
    // New text has to fit what was known last.
    write(folder.path(), "own.cedar", &ECHO.replace("shop__echo", "shop__ehco"));
    gateway.logged("shop__ehco").await;
    assert!(peer.tool("shop__echo", "{}").await.everything().contains("upstream_unavailable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_that_cannot_hold_are_no_start() {
    let server = FakeServer::start(Script::legacy()).await;
    for (policy, says) in [
        ("permit(principal, action == Action::\"shop__ehco\", resource);", "shop__echo"),
        ("permit(principal, action", "own.cedar:1"),
        ("@approve(\"x\") permit(principal, action, resource);", "approve"),
    ] {
        let (_folder, config) = configured(&server, Some(policy));
        let mut config = config;
        config["listen"] = json!("127.0.0.1:0");
        config["admin_listen"] = json!("127.0.0.1:0");
        let served = tokio::task::spawn_blocking(move || run(&config, &["serve"])).await.unwrap();
        let said = String::from_utf8_lossy(&served.stderr).into_owned();
        assert_eq!(served.status.code(), Some(78), "{said}");
        assert!(said.contains(says), "{said}");
    }
    let (_folder, config) = configured(&server, Some("permit(principal, action"));
    let checked = run(&config, &["check"]);
    assert_eq!(checked.status.code(), Some(78));
    assert!(String::from_utf8_lossy(&checked.stderr).contains("own.cedar:1"));
}
