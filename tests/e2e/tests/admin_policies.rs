//! Policies that are written by the API of one gateway, and decide at every gateway on the same store.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::time::Instant;

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::prompt::at_once;
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, Reply, Script, until};

const SETS: &str = "/api/v1/policy-sets";
const PERMIT: &str = "@id(\"let-echo\")\npermit (principal, action == Action::\"crm__echo\", resource);";

/// Two gateways on one store, with nothing but stored policies, and somebody who may write them.
struct Replicas {
    gateways: Vec<Gateway>,
    crm: FakeServer,
    key: String,
    config: Value,
}

impl Replicas {
    async fn start(policy: Value) -> Self {
        let crm = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
        let config = servers([("crm", http(&crm.url()))]);
        let config = with(&config, json!({ "policy": policy, "usage": {} }));
        let first = Gateway::start(&config).await;
        let made = first.command(&["admin-keys", "create", "--role", "security", "--json"]).await;
        let key = made["key"].as_str().expect("a key").to_owned();
        let second = Gateway::start_on(&config, first.data()).await;
        Self { gateways: vec![first, second], crm, key, config }
    }

    async fn ask(&self, method: &str, target: &str, body: Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let mut ask = Ask::new(method, target)
            .with("Authorization", &format!("Bearer {}", self.key))
            .with("Content-Type", "application/json");
        if method == "PUT" {
            ask = ask.with("Content-Length", &body.len().to_string());
        }
        let ask = ask.body(body);
        Http::new(self.gateways[0].admin).send(&ask).await
    }

    async fn done(&self, method: &str, target: &str, body: Value) -> Value {
        let reply = self.ask(method, target, body).await;
        assert!((200..300).contains(&reply.status), "{method} {target}: {}", reply.everything());
        serde_json::from_slice(&reply.body).unwrap_or_default()
    }

    /// Whether a call of `echo` is let through at a gateway.
    async fn is_let(&self, gateway: &Gateway) -> bool {
        let before = self.reached();
        gateway.modern("/mcp").request(&Call::tool("crm__echo", "{}")).await;
        self.reached() > before
    }

    fn reached(&self) -> usize {
        self.crm.log().of_method("tools/call").len()
    }

    /// Waits until every gateway decides so, within a second.
    async fn everywhere(&self, is_let: bool) {
        let since = Instant::now();
        for gateway in &self.gateways {
            until("the decision", async || (self.is_let(gateway).await == is_let).then_some(())).await;
            at_once("the decision", since.elapsed());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_set_is_tried_out_looks_on_decides_everywhere_and_is_taken_back() {
    let mut replicas = Replicas::start(json!({ "stored": true })).await;
    // Nothing is allowed that no policy permits.
    replicas.everywhere(false).await;

    // A misspelt tool: it is kept as a draft, and never decides.
    let text = "permit (principal, action == Action::\"crm__ecko\", resource);";
    let body = json!({ "tenant": "default", "name": "echo", "text": text, "reason": "asked for" });
    let made = replicas.done("POST", SETS, body).await;
    let at = |what: &str| format!("{SETS}/{}{what}", made["id"].as_str().unwrap());
    let found = replicas.done("POST", &at("/validate"), json!({})).await;
    assert_eq!(found["usable"], false, "{found}");
    let wrong = &found["findings"][0];
    assert_eq!((wrong["path"].clone(), wrong["line"].clone()), (json!("store:echo@1"), json!(1)), "{found}");
    assert!(found.to_string().contains("crm__echo"), "it says what was meant: {found}");
    let refused = replicas.ask("POST", &at("/promote"), json!({ "version": 1 })).await;
    assert_eq!(refused.status, 422, "{}", refused.everything());
    assert!(refused.everything().contains("store:echo@1:1:"), "{}", refused.everything());

    let written = replicas.done("PUT", &at(""), json!({ "text": PERMIT })).await;
    assert_eq!(written["latest"], 2);
    let cases = "cases:\n  - name: echo\n    who: { agent: local }\n    tool: crm__echo\n    expect: allow\n  \
        - name: count\n    who: { agent: local }\n    tool: crm__count\n    expect: allow\n";
    let tested = replicas.done("POST", &at("/test"), json!({ "cases": cases })).await;
    assert_eq!(
        (tested["cases"][0]["passed"].clone(), tested["cases"][1]["passed"].clone()),
        (json!(true), json!(false)),
        "{tested}"
    );
    assert_eq!(tested["cases"][0]["policies"], json!(["let-echo"]), "{tested}");
    let unread = replicas.done("POST", &at("/test"), json!({ "cases": "casez: []" })).await;
    assert!(unread["problems"][0].as_str().is_some_and(|problem| problem.contains("casez")), "{unread}");

    // What was denied would have been allowed; nothing is yet.
    let simulated = replicas.done("POST", &at("/simulate"), json!({ "days": 7 })).await;
    assert!(simulated["newlyAllowed"]["count"].as_u64() >= Some(1), "{simulated}");
    assert_eq!(simulated["newlyAllowed"]["byTool"][0]["name"], "crm__echo", "{simulated}");
    assert_eq!(
        (simulated["newlyDenied"]["count"].clone(), simulated["cut"].clone()),
        (json!(0), json!(false))
    );
    replicas.done("POST", &at("/shadow"), json!({ "version": 2 })).await;
    let gateway = &replicas.gateways[0];
    until("it looks on", async || {
        assert!(!replicas.is_let(gateway).await, "what looks on allows nothing");
        (gateway.metric("tollgate_policy_shadow_total{verdict=\"allows\"}").await > 0).then_some(())
    })
    .await;

    replicas.done("POST", &at("/promote"), json!({ "version": 2, "reason": "looked good" })).await;
    replicas.everywhere(true).await;
    // The record says which version of which set decided, and by which policies.
    let rows = until("the record", async || {
        let found = replicas.done("GET", "/api/v1/ledger?policy=let-echo", Value::Null).await;
        found["items"].as_array().filter(|rows| !rows.is_empty()).cloned()
    })
    .await;
    assert_eq!(rows[0]["server"], "crm", "{rows:?}");
    let acts = until("the act on record", async || {
        let found = replicas.done("GET", "/api/v1/ledger?kind=change", Value::Null).await.to_string();
        (found.contains("admin.policies.promote") && found.contains("policies.promoted")).then_some(found)
    })
    .await;
    assert!(acts.contains("admin.policies.write"), "{acts}");

    // It outlives a restart.
    replicas.gateways[1].restart().await;
    replicas.everywhere(true).await;

    replicas.done("POST", &at("/roll-back"), json!({ "reason": "after all not" })).await;
    replicas.everywhere(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stored_forbid_of_the_operator_takes_away_and_files_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("own.cedar"), PERMIT).unwrap();
    let replicas = Replicas::start(json!({ "stored": true, "files": [folder.path()] })).await;
    replicas.everywhere(true).await;
    let permit = json!({ "name": "stop", "text": "permit (principal, action, resource);" });
    let made = replicas.done("POST", SETS, permit).await;
    let at = |what: &str| format!("{SETS}/{}{what}", made["id"].as_str().unwrap());
    let refused = replicas.ask("POST", &at("/promote"), json!({ "version": 1 })).await;
    assert!(refused.status == 422 && refused.everything().contains("forbid"), "{}", refused.everything());
    let forbid = json!({ "text": "@reason(\"closed\")\nforbid (principal, action, resource);" });
    replicas.done("PUT", &at(""), forbid).await;
    replicas.done("POST", &at("/promote"), json!({ "version": 2 })).await;
    replicas.everywhere(false).await;
    replicas.done("POST", &at("/withdraw"), json!({})).await;
    replicas.everywhere(true).await;
    let files = replicas.done("GET", "/api/v1/policies", Value::Null).await;
    assert!(files.as_array().unwrap().iter().all(|file| file["origin"] == "file"), "{files}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_in_the_configuration_stored_policies_decide_nothing() {
    let replicas = Replicas::start(json!({})).await;
    let body = json!({ "tenant": "default", "name": "echo", "text": PERMIT });
    let made = replicas.done("POST", SETS, body).await;
    let path = format!("{SETS}/{}/promote", made["id"].as_str().unwrap());
    let refused = replicas.ask("POST", &path, json!({ "version": 1 })).await;
    assert!(
        refused.status == 409 && refused.everything().contains("stored: true"),
        "{}",
        refused.everything()
    );
    replicas.everywhere(false).await;
    // Turned on, it can be put in force; turned off again, it decides no more.
    let policy = |stored: bool| with(&replicas.config, json!({ "policy": { "stored": stored } }));
    replicas.gateways.iter().for_each(|gateway| gateway.configure(&policy(true)));
    until("it is turned on", async || {
        (replicas.ask("POST", &path, json!({ "version": 1 })).await.status == 200).then_some(())
    })
    .await;
    for (stored, is_let) in [(true, true), (false, false)] {
        replicas.gateways.iter().for_each(|gateway| gateway.configure(&policy(stored)));
        for gateway in &replicas.gateways {
            until("the decision", async || (replicas.is_let(gateway).await == is_let).then_some(())).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_stored_policies_do_not_fit_says_so_and_goes_on_as_it_was() {
    let replicas = Replicas::start(json!({ "stored": true })).await;
    // Its server of this name has no such tool, and it has a policy of its own, so that nobody has accepted them together yet.
    let crm = FakeServer::start(Script::modern().with_tools(["count"])).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("own.cedar"),
        "forbid (principal, action == Action::\"crm__count\", resource);",
    )
    .unwrap();
    let policy = json!({ "stored": true, "files": [folder.path()] });
    let other = with(&servers([("crm", http(&crm.url()))]), json!({ "policy": policy, "usage": {} }));
    let other = Gateway::start_on(&other, replicas.gateways[0].data()).await;
    let api = Http::new(other.admin).bearing(&replicas.key);
    let degraded = async || {
        let said = api.send(&Ask::new("GET", "/api/v1/overview")).await;
        let said: Value = serde_json::from_slice(&said.body).unwrap();
        said["degraded"].as_array().unwrap().iter().any(|part| part["part"] == "policies")
    };
    assert!(!degraded().await);
    let made =
        replicas.done("POST", SETS, json!({ "tenant": "default", "name": "echo", "text": PERMIT })).await;
    let at = |what: &str| format!("{SETS}/{}{what}", made["id"].as_str().unwrap());
    replicas.done("POST", &at("/promote"), json!({ "version": 1 })).await;
    replicas.everywhere(true).await;
    until("it is told of", async || degraded().await.then_some(())).await;
    // Everybody may ask whether it is ready, and not everybody which policies there are.
    let ready = Http::new(other.admin).send(&Ask::new("GET", "/readyz")).await.text();
    assert!(ready.contains("\"part\":\"policies\"") && !ready.contains("store:echo"), "{ready}");
    replicas.done("POST", &at("/withdraw"), json!({})).await;
    until("it fits again", async || (!degraded().await).then_some(())).await;
}
