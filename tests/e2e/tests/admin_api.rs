//! The administration API as its own document describes it: Schemathesis asks what nobody here would think of, and every answer
//! has to be one that is documented.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Command;
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::guarded::declared;
use tollgate_e2e::places::installed;
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, HttpPeer, Script, until};
use tollgate_testkit::issuer::api_key;

/// What is checked of each answer. Whoever may what is asserted elsewhere, for every operation.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance";
/// An endless stream, and what would take the key away that is asked with.
const LEFT_OUT: &str = "/events$|/admin-keys/";
const EXAMPLES: &str = "80";
const MOST: Duration = Duration::from_mins(4);

const POLICY: &str = r#"@id("pay") @require_approval("finance") permit(principal, action == Action::"crm__pay", resource);
@id("rest") permit(principal, action, resource) unless { action == Action::"crm__pay" };"#;

/// Asks for the list of something, and gives the id of its first.
async fn first(api: &Http, list: &str, id: &str) -> String {
    until(list, async || {
        let reply = api.send(&Ask::new("GET", list)).await;
        let said: Value = serde_json::from_slice(&reply.body).ok()?;
        let items = said["items"].as_array().or_else(|| said.as_array())?;
        Some(items.iter().find_map(|item| item[id].as_str())?.to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_document_names() {
    let server = FakeServer::start(Script::modern().with_tools(["echo", "pay"])).await;
    let policies = tempfile::tempdir().unwrap();
    let policy = policies.path().join("all.cedar");
    fs::write(&policy, POLICY).unwrap();
    // It has no server of its own, and so no tool that a rule could name.
    let acme = policies.path().join("acme.cedar");
    fs::write(&acme, "permit(principal, action, resource);\n").unwrap();
    let config = with(
        &servers([("crm", http(&server.url()))]),
        json!({
            "public_url": "https://tollgate.example", "identity": { "keys": [declared("ann")] }, "policy": { "files": [policy] },
            "pins": {}, "guard": {}, "registry": { "allow_private": true },
            "approvals": { "groups": { "finance": { "roles": ["approver"] } }, "wait_ms": 0 },
            "tenants": { "acme": { "policy": { "files": [acme] } } },
        }),
    );
    let gateway = Gateway::start(&config).await;
    let made =
        gateway.command(&["admin-keys", "create", "--role", "admin", "--role", "approver", "--json"]).await;
    let key = made["key"].as_str().unwrap();
    let api = Http::new(gateway.admin).bearing(key);
    // Something of each kind is there, so that not everything that is asked for is unknown.
    let peer = || HttpPeer::modern(gateway.bearing(&api_key("ann")), "/mcp");
    until("the tools", async || {
        peer().request(&Call::new("tools/list", "")).await.everything().contains("crm__pay").then_some(())
    })
    .await;
    peer().request(&Call::tool("crm__echo", "{}")).await;
    peer().request(&Call::tool("crm__pay", "{}")).await;
    let post = async |path: &str, body: Value| {
        let ask = Ask::new("POST", path).with("Content-Type", "application/json").body(body.to_string());
        let reply = api.send(&ask).await;
        assert!(reply.status < 300, "{path}: {}", reply.everything());
    };
    post(
        "/api/v1/blocks",
        json!({ "kind": "agent", "tenant": "default", "name": "eve", "reason": "looks bad" }),
    )
    .await;
    post("/api/v1/keys", json!({ "tenant": "default", "agent": "bob" })).await;
    post("/api/v1/revocations", json!({ "kind": "user", "of": "default", "name": "mallory" })).await;
    post(
        "/api/v1/pauses",
        json!({ "tenant": "default", "agent": "carl", "seconds": 3600, "reason": "asked for it" }),
    )
    .await;
    let reach = json!({ "url": "http://127.0.0.1:9/mcp" });
    post("/api/v1/servers", json!({ "tenant": "default", "name": "reg", "reach": reach })).await;
    let registered = first(&api, "/api/v1/servers?search=reg", "id").await;
    let known = [
        ("/blocks/{id}", "id", first(&api, "/api/v1/blocks", "id").await),
        ("/keys/{id}", "id", first(&api, "/api/v1/keys", "id").await),
        ("/keys/{id}/rotate", "id", first(&api, "/api/v1/keys", "id").await),
        ("/revocations/{id}", "id", first(&api, "/api/v1/revocations", "id").await),
        ("/pins/{id}", "id", first(&api, "/api/v1/pins", "id").await),
        ("/pins/{id}/approve", "id", first(&api, "/api/v1/pins", "id").await),
        ("/approvals/{id}", "id", first(&api, "/api/v1/approvals", "id").await),
        ("/approvals/{id}/approve", "id", first(&api, "/api/v1/approvals", "id").await),
        ("/approvals/{id}/deny", "id", first(&api, "/api/v1/approvals", "id").await),
        ("/ledger/calls/{call}", "call", first(&api, "/api/v1/ledger?kind=call", "call").await),
    ];
    let acts = ["", "/submit", "/review", "/approve", "/reject", "/deprecate", "/share", "/retire"];
    let versions =
        acts.map(|act| (format!("/servers/{{id}}/versions/{{version}}{act}"), "id", registered.clone()));
    let known =
        known.into_iter().map(|(path, parameter, value)| (path.to_owned(), parameter, value)).chain(versions);
    let mut settings = "[parameters]\nserver = \"crm\"\nversion = \"1\"\n".to_owned();
    for (path, parameter, value) in known {
        writeln!(
            settings,
            "[[operations]]\ninclude-path = \"/api/v1{path}\"\nparameters = {{ {parameter} = {} }}",
            json!(value)
        )
        .unwrap();
    }
    let file = policies.path().join("schemathesis.toml");
    fs::write(&file, settings).unwrap();

    let output = Command::new(installed("python-schemathesis/bin/st"))
        .arg("--no-color")
        .arg("--config-file")
        .arg(&file)
        .arg("run")
        .arg(format!("http://{}/api/v1/openapi.json", gateway.admin))
        .args(["--header", &format!("Authorization: Bearer {key}")])
        .args(["--checks", CHECKS, "--exclude-path-regex", LEFT_OUT])
        .args(["--phases", "examples,coverage,fuzzing,stateful", "--max-examples", EXAMPLES])
        // The same questions each time.
        .args(["--generation-deterministic", "--seed", "7", "--no-shrink", "--continue-on-failure"])
        .args(["--request-timeout", "20"])
        .current_dir(policies.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(MOST, output).await.expect("it ends").expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let asked = said
        .lines()
        .find_map(|line| line.trim().strip_suffix(" passed")?.split(' ').next()?.parse::<u32>().ok());
    assert!(asked.is_some_and(|asked| asked > 1000), "so many were asked: {asked:?}\n{said}");
    // The key is still good: answers were not all refusals.
    assert_eq!(api.send(&Ask::new("GET", "/api/v1/whoami")).await.status, 200);
}
