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
use tollgate_testkit::fake::{Ask, Call, Event, FakeServer, Http, HttpPeer, Live, Script, soon, until};
use tollgate_testkit::issuer::api_key;

/// What is checked of each answer. Whoever may what is asserted elsewhere, for every operation.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
    response_schema_conformance";
/// An endless stream, which has a test of its own.
const LEFT_OUT: &str = "/events$";
const EXAMPLES: &str = "80";
const MOST: Duration = Duration::from_mins(10);

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
    // A server that answers at once may be read before there is a store to keep what it lists in.
    let prompts = "/api/v1/tools?server=crm&tenant=default&list=prompts";
    assert_eq!(first(&api, prompts, "name").await, "greet");
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
    // Not the key that is asked with: of those that are there only this one is named.
    let spare = json!({ "name": "spare", "grants": [{ "role": "viewer" }] });
    let made = api
        .send(
            &Ask::new("POST", "/api/v1/admin-keys")
                .with("Content-Type", "application/json")
                .body(spare.to_string()),
        )
        .await;
    let spare = serde_json::from_slice::<Value>(&made.body).unwrap()["id"].as_str().unwrap().to_owned();
    let reach = json!({ "url": "http://127.0.0.1:9/mcp" });
    post("/api/v1/servers", json!({ "tenant": "default", "name": "reg", "reach": reach })).await;
    let registered = first(&api, "/api/v1/servers?search=reg", "id").await;
    let known = [
        ("/blocks/{id}", "id", first(&api, "/api/v1/blocks", "id").await),
        ("/keys/{id}", "id", first(&api, "/api/v1/keys", "id").await),
        ("/admin-keys/{id}", "id", spare.clone()),
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
    // The key is still good: answers were not all refusals. The other one was asked for, and revoked.
    assert_eq!(api.send(&Ask::new("GET", "/api/v1/whoami")).await.status, 200);
    let spare = api.send(&Ask::new("GET", &format!("/api/v1/admin-keys/{spare}"))).await;
    let spare: Value = serde_json::from_slice(&spare.body).unwrap();
    assert!(spare["revoked"].is_string(), "{spare}");
}

/// What the document says of an event, held against one.
fn fits(schema: &Value, event: &Event) {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_else(|error| panic!("{error}: {event:?}"));
    let (data, known) = (data.as_object().expect("an object"), schema["properties"].as_object().unwrap());
    for name in schema["required"].as_array().unwrap() {
        assert!(data.contains_key(name.as_str().unwrap()), "{name} is missing: {event:?}");
    }
    for (name, value) in data {
        let kinds =
            &known.get(name).unwrap_or_else(|| panic!("the document knows no {name}: {event:?}"))["type"];
        let is = |kind: &Value| match kind.as_str() {
            Some("string") => value.is_string(),
            Some("integer") => value.is_u64(),
            Some("null") => value.is_null(),
            _ => panic!("{kind}"),
        };
        let is_one = kinds.as_array().map_or_else(|| is(kinds), |kinds| kinds.iter().any(is));
        assert!(is_one, "{name} is none of {kinds}: {event:?}");
    }
    assert_eq!(
        (&*event.event, event.id.clone()),
        (data["resource"].as_str().unwrap(), Some(data["revision"].to_string()))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_event_stream_is_as_the_document_describes_it() {
    let config = with(&servers([]), json!({ "identity": {}, "tenants": { "acme": {} } }));
    let gateway = Gateway::start(&config).await;
    let key = async |role: &str| {
        let made = gateway.command(&["admin-keys", "create", "--role", role, "--json"]).await;
        made["key"].as_str().unwrap().to_owned()
    };
    let (admin, acme, viewer) = (key("admin").await, key("operator@acme").await, key("viewer").await);
    let api = |key: &str| Http::new(gateway.admin).bearing(key);
    let document = api(&admin).send(&Ask::new("GET", "/api/v1/openapi.json")).await;
    let document: Value = serde_json::from_slice(&document.body).unwrap();
    let operation = &document["paths"]["/api/v1/events"]["get"];
    let kinds = operation["responses"]["200"]["content"].as_object().unwrap();
    let ask = Ask::new("GET", "/api/v1/events");
    let hear = async |key: &str| {
        let mut live = api(key).open(&ask).await.unwrap();
        let kind = live.header("content-type").unwrap();
        assert!(live.status == 200 && kinds.contains_key(kind), "{} {kind}", live.status);
        assert_eq!(live.header("cache-control"), Some("no-store"));
        // From here on it is heard.
        assert_eq!(live.part().await.unwrap().unwrap(), b": hearing\n\n");
        live
    };
    let (mut all, mut some, mut little) = (hear(&admin).await, hear(&acme).await, hear(&viewer).await);
    let done = async |verb: &str, path: &str, body: Value| {
        let ask = Ask::new(verb, path).with("Content-Type", "application/json").body(body.to_string());
        let reply = api(&admin).send(&ask).await;
        assert!(reply.status < 300, "{path}: {}", reply.everything());
    };
    done("POST", "/api/v1/keys", json!({ "tenant": "default", "agent": "bob" })).await;
    done("POST", "/api/v1/revocations", json!({ "kind": "user", "of": "acme", "name": "mallory" })).await;
    done(
        "POST",
        "/api/v1/blocks",
        json!({ "kind": "agent", "tenant": "acme", "name": "eve", "reason": "looks bad" }),
    )
    .await;
    done("POST", "/api/v1/blocks", json!({ "kind": "server", "name": "crm", "reason": "leaks" })).await;

    let schema = &document["components"]["schemas"]["ChangeEvent"];
    let heard = async |live: &mut Live, count: usize| {
        let mut heard = Vec::new();
        while heard.len() < count {
            let event = soon("an event", live.event()).await.unwrap().expect("the stream goes on");
            fits(schema, &event);
            let data: Value = serde_json::from_str(&event.data).unwrap();
            heard.push((event.event, data["tenant"].as_str().unwrap_or_default().to_owned()));
        }
        heard
    };
    let said = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(what, whose)| ((*what).to_owned(), (*whose).to_owned())).collect()
    };
    let every = [("keys", "default"), ("revocations", "acme"), ("blocks", "acme"), ("blocks", "")];
    assert_eq!(heard(&mut all, 4).await, said(&every));
    // Who may see little hears of little, and of nobody else's.
    assert_eq!(heard(&mut some, 2).await, said(&[("revocations", "acme"), ("blocks", "acme")]));
    assert_eq!(heard(&mut little, 2).await, said(&[("blocks", "acme"), ("blocks", "")]));
    // What is no answer of a stream is one that the document names too.
    let refused = Http::new(gateway.admin).send(&ask).await;
    assert_eq!((refused.status, refused.header("content-type")), (401, Some("application/problem+json")));
    assert!(operation["responses"]["401"].is_object(), "{operation}");
}

/// Whoever has signed out hears of nothing that comes after.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_ends_with_its_session() {
    let gateway = Gateway::start(&with(&servers([]), json!({ "identity": {} }))).await;
    let made = gateway.command(&["admin-keys", "create", "--role", "admin", "--json"]).await;
    let key = made["key"].as_str().unwrap();
    let (http, api) = (Http::new(gateway.admin), Http::new(gateway.admin).bearing(key));
    let form = |path: &str, body: String| {
        Ask::new("POST", path)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", &format!("http://{}", gateway.admin))
            .body(body)
    };
    let signed_in = http.send(&form("/sign-in/key", format!("secret={key}"))).await;
    let cookie = signed_in.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let page = http.send(&Ask::new("GET", "/kill-switch").with("Cookie", &cookie)).await.text();
    let mark = "name=\"csrf\" value=\"";
    let csrf = page[page.find(mark).unwrap() + mark.len()..].split('"').next().unwrap().to_owned();
    let mut live = http.open(&Ask::new("GET", "/api/v1/events").with("Cookie", &cookie)).await.unwrap();
    // From here on it is heard.
    assert_eq!(live.part().await.unwrap().unwrap(), b": hearing\n\n");
    let block = async |name: &str| {
        let block = json!({ "kind": "server", "name": name, "reason": "leaks" }).to_string();
        let ask = Ask::new("POST", "/api/v1/blocks").with("Content-Type", "application/json").body(block);
        let reply = api.send(&ask).await;
        assert!(reply.status < 300, "{}", reply.everything());
    };
    block("crm").await;
    assert_eq!(soon("an event", live.event()).await.unwrap().expect("it goes on").event, "blocks");
    let out = http.send(&form("/sign-out", format!("csrf={csrf}")).with("Cookie", &cookie)).await;
    assert_eq!(out.status, 303, "{}", out.everything());
    block("bank").await;
    assert!(soon("the end", live.event()).await.unwrap().is_none(), "the session is over");
}
