//! Calls that people have to approve: through the front door of a real gateway, counted at the server behind it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdout, Command};
use tollgate_e2e::gateway::{Gateway, binary, http, servers, with};
use tollgate_e2e::guarded::{BASE, declared};
use tollgate_e2e::places::{installed, script};
use tollgate_testkit::fake::{Answer, Call, Dialect, FakeServer, HttpPeer, Script, soon, until};
use tollgate_testkit::issuer::api_key;

const PAY: &str = r#"@id("pay") @require_approval("finance") permit(principal, action == Action::"bank__pay", resource);
@id("dialog") @require_approval("finance") permit(principal, action == Action::"bank__dialog", resource);
@id("free") permit(principal, action in [Action::"bank__look", Action::"bank__progress_then_hang"], resource);"#;
const TASKS: &str = r#"{"extensions":{"io.modelcontextprotocol/tasks":{}}}"#;
const URLS: &str = r#"{"elicitation":{"url":{}}}"#;
/// How soon every gateway has to know.
const AT_ONCE: Duration = Duration::from_secs(1);

/// A gateway before a bank, where a payment needs somebody of `finance`.
struct Bank {
    gateway: Gateway,
    server: FakeServer,
    config: Value,
    policies: TempDir,
}

fn write(folder: &Path, text: &str) {
    let next = folder.join("next.tmp");
    fs::write(&next, text).unwrap();
    fs::rename(next, folder.join("own.cedar")).unwrap();
}

fn pay_tool(description: &str) -> String {
    format!(
        r#"{{"name":"pay","description":"{description}","inputSchema":{{"type":"object","properties":{{"amount":{{"type":"number"}},"to":{{"type":"string"}}}}}}}}"#
    )
}

impl Bank {
    /// `approvals`: further members of that section.
    async fn open(script: Script, approvals: Value) -> Self {
        Self::open_with(script, approvals, json!({})).await
    }

    /// The same with further members of the configuration.
    async fn open_with(script: Script, approvals: Value, more: Value) -> Self {
        let mut script = script.with_tools(["look"]);
        script.tools.extend([pay_tool("Pays."), Script::tool("dialog"), Script::tool("progress_then_hang")]);
        let server = FakeServer::start(script).await;
        let policies = tempfile::tempdir().unwrap();
        write(policies.path(), PAY);
        let finance = json!({ "users": ["grace", "heidi", "ann", "cli:nobody"] });
        let approvals = with(&json!({ "groups": { "finance": finance }, "wait_ms": 0 }), approvals);
        let members = json!({
            "public_url": BASE, "identity": { "keys": [declared("ann"), declared("bob")] },
            "policy": { "files": [policies.path()] }, "approvals": approvals,
        });
        let kept = with(&http(&server.url()), json!({ "cache": { "read_ttl_ms": 600_000 } }));
        let config = with(&with(&servers([("bank", kept)]), members), more);
        let gateway = Gateway::start(&config).await;
        let bank = Self { gateway, server, config, policies };
        bank.ready(&bank.gateway).await;
        bank
    }

    async fn modern() -> Self {
        Self::open(Script::modern(), json!({})).await
    }

    /// Waits until a gateway knows the server's tools.
    async fn ready(&self, gateway: &Gateway) {
        let listed = async || {
            let answer = peer(gateway, "ann").request(&Call::new("tools/list", "")).await;
            answer.everything().contains("bank__pay").then_some(())
        };
        until("the tools", listed).await;
    }

    fn peer(&self, agent: &str) -> HttpPeer {
        peer(&self.gateway, agent)
    }

    /// Has somebody pay.
    async fn pay(&self, agent: &str, arguments: &str) -> Answer {
        self.peer(agent).request(&Call::tool("bank__pay", arguments)).await
    }

    /// How many payments the bank has made.
    fn paid(&self) -> usize {
        self.server.log().of_method("tools/call").len()
    }

    async fn say(&self, word: &str, id: &str, who: &str, more: &[&str]) -> Value {
        let words = ["approvals", word, id, "--as", who, "--reason", "looked at", "--json"];
        self.gateway.command(&[&words[..], more].concat()).await
    }

    async fn approve(&self, id: &str) -> Value {
        self.say("approve", id, "grace", &[]).await
    }

    async fn show(&self, id: &str) -> Value {
        self.gateway.command(&["approvals", "show", id, "--json"]).await
    }

    /// What becomes of a command about approvals that fails: what it says.
    async fn fails(&self, words: &[&str]) -> String {
        let folder = self.gateway.folder();
        let output = Command::new(binary())
            .args(words)
            .arg("--config")
            .arg(folder.join("tollgate.yaml"))
            .arg("--data-dir")
            .arg(self.gateway.data())
            .output();
        let output = soon("the end of a command", output).await.unwrap();
        assert!(!output.status.success(), "{words:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

fn peer(gateway: &Gateway, agent: &str) -> HttpPeer {
    HttpPeer::modern(gateway.bearing(&api_key(agent)), "/mcp")
}

/// The approval that an answer names.
fn awaited(answer: &Answer) -> String {
    assert_eq!(answer.refusal(), "approval_required", "{answer:?}");
    let error: Value = serde_json::from_str(&answer.error().unwrap()).unwrap();
    error["data"]["dev.tollgate/refusal"]["approval"].as_str().unwrap().to_owned()
}

fn is_ok(answer: &Answer) -> bool {
    answer.status == 200 && answer.error().is_none()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_is_made_once_somebody_agrees_and_once_only() {
    let bank = Bank::modern().await;
    let first = r#"{"amount":10,"to":"eve@example.com"}"#;
    let id = awaited(&bank.pay("ann", first).await);
    assert_eq!(awaited(&bank.pay("ann", first).await), id, "it is asked about once");
    assert_eq!(bank.paid(), 0);
    let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &json!(id)));
    let shown = bank.show(&id).await;
    assert_eq!(
        (&shown["state"], &shown["agent"], &shown["name"]),
        (&json!("waiting"), &json!("ann"), &json!("pay"))
    );
    assert_eq!(shown["policies"], json!(["pay"]));
    assert_eq!(shown["arguments"]["amount"], 10);
    assert!(!shown.to_string().contains("eve@example.com"), "what is private is not kept: {shown}");
    let granted = bank.approve(&id).await;
    assert_eq!((&granted["state"], &granted["votes"][0]["by"]), (&json!("granted"), &json!("grace")));
    // The same call, however it is written.
    let again = r#"{ "to" : "\u0065ve@example.com", "amount":10 }"#;
    let answer = bank.pay("ann", again).await;
    assert!(is_ok(&answer), "{answer:?}");
    assert_eq!(bank.paid(), 1);
    let used = bank.show(&id).await;
    assert_eq!(used["state"], "used");
    let next = awaited(&bank.pay("ann", first).await);
    assert_ne!(next, id, "a grant is good once");
    assert_eq!(bank.paid(), 1);
    // What needs nobody goes on meanwhile.
    let look = bank.peer("ann").request(&Call::tool("bank__look", "{}")).await;
    assert!(is_ok(&look), "{look:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_good_for_no_other_call() {
    let bank = Bank::modern().await;
    let arguments = r#"{"amount":10,"to":"x"}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    bank.approve(&id).await;
    for other in [
        r#"{"amount":11,"to":"x"}"#,
        r#"{"amount":10.0,"to":"x"}"#,
        r#"{"amount":"10","to":"x"}"#,
        r#"{"amount":10,"to":"x "}"#,
        r#"{"amount":10,"to":"X"}"#,
        r#"{"amount":10,"to":"x","more":1}"#,
        r#"{"amount":10}"#,
        r#"{"amount":10,"to":"ｘ"}"#,
    ] {
        assert_ne!(awaited(&bank.pay("ann", other).await), id, "{other}");
    }
    // A name that stands twice is one thing for one reader and another for the next.
    let twice = bank.pay("ann", r#"{"amount":10,"to":"x","amount":10000}"#).await;
    assert!(!is_ok(&twice) && twice.refusal() != "approval_required", "{twice:?}");
    // Another caller; another address; something beside the arguments.
    assert_ne!(awaited(&bank.pay("bob", arguments).await), id);
    let mut elsewhere = HttpPeer::modern(bank.gateway.bearing(&api_key("ann")), "/mcp/bank");
    let answer = elsewhere.request(&Call::tool("pay", arguments)).await;
    assert_ne!(awaited(&answer), id);
    let beside = Call::tool("bank__pay", arguments).and(r#""aside":{"amount":10000}"#);
    let answer = bank.peer("ann").request(&beside).await;
    let seen = bank.show(&awaited(&answer)).await;
    assert_eq!(seen["arguments"]["aside"]["amount"], 10_000, "nothing leaves that nobody was shown");
    assert_eq!(bank.paid(), 0);
    assert!(is_ok(&bank.pay("ann", arguments).await));
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_does_not_outlive_the_definition_or_the_policy_that_it_was_given_under() {
    let bank = Bank::modern().await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    bank.approve(&id).await;
    // Its time is not over, and nobody has used it.
    bank.server.change(|script| script.tools[1] = pay_tool("Pays twice."));
    let relisted = async || {
        let answer = bank.peer("ann").request(&Call::new("tools/list", "")).await;
        answer.everything().contains("Pays twice.").then_some(())
    };
    until("the other definition", relisted).await;
    let second = until("another approval", async || {
        let answer = bank.pay("ann", arguments).await;
        (answer.refusal() == "approval_required").then(|| awaited(&answer))
    })
    .await;
    assert_ne!(second, id, "it is another tool now");
    assert_eq!(bank.paid(), 0);
    bank.approve(&second).await;
    let shown = bank.show(&second).await;
    write(
        bank.policies.path(),
        &format!("{PAY}\n@id(\"more\") permit(principal in Agent::\"bob\", action, resource);"),
    );
    // Whichever set decides, nothing is paid by the grant of the other.
    let third = until("the other policies", async || {
        let probe = awaited(&bank.pay("bob", r#"{"amount":77}"#).await);
        let digest = bank.show(&probe).await["policy_digest"].clone();
        (digest != shown["policy_digest"]).then_some(())
    });
    third.await;
    let answer = bank.pay("ann", arguments).await;
    assert_ne!(awaited(&answer), second, "it is another policy now");
    assert_eq!(bank.paid(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_and_granted_outlives_the_gateway() {
    let mut bank = Bank::modern().await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    bank.gateway.restart().await;
    bank.ready(&bank.gateway).await;
    assert_eq!(awaited(&bank.pay("ann", arguments).await), id);
    bank.approve(&id).await;
    bank.gateway.restart().await;
    bank.ready(&bank.gateway).await;
    assert!(is_ok(&bank.pay("ann", arguments).await));
    bank.gateway.restart().await;
    bank.ready(&bank.gateway).await;
    assert_ne!(awaited(&bank.pay("ann", arguments).await), id);
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_gateways_that_race_for_one_grant_one_pays() {
    let bank = Bank::modern().await;
    let other = Gateway::start_on(&bank.config, bank.gateway.data()).await;
    bank.ready(&other).await;
    for round in 0..5 {
        let arguments = format!(r#"{{"amount":{round}}}"#);
        let id = awaited(&bank.pay("ann", &arguments).await);
        let there = peer(&other, "ann").request(&Call::tool("bank__pay", &arguments)).await;
        assert_eq!(awaited(&there), id, "both know of it");
        let before = bank.paid();
        bank.approve(&id).await;
        let racing: Vec<_> = (0..10)
            .map(|nth| {
                let mut peer = peer(if nth % 2 == 0 { &other } else { &bank.gateway }, "ann");
                let call = Call::tool("bank__pay", &arguments);
                tokio::spawn(async move { peer.request(&call).await })
            })
            .collect();
        let mut made = 0;
        for one in racing {
            let answer = one.await.unwrap();
            made += usize::from(is_ok(&answer));
            assert!(is_ok(&answer) || answer.refusal() == "approval_required", "{answer:?}");
        }
        assert_eq!((made, bank.paid() - before), (1, 1), "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_approves_their_own_call_and_only_the_group_may() {
    let bank = Bank::modern().await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    for (who, why) in [
        ("ann", "their own call"),
        ("ANN", "no group"),
        ("okta:ann", "their own call"),
        ("mallory", "no group"),
    ] {
        let said = bank.fails(&["approvals", "approve", &id, "--as", who]).await;
        assert!(said.contains(why) || said.contains("their own call"), "{who}: {said}");
        let answer = bank.pay("ann", arguments).await;
        assert_eq!(awaited(&answer), id);
    }
    let unknown =
        bank.fails(&["approvals", "approve", "apr_000000000000000000000000", "--as", "grace"]).await;
    assert!(unknown.contains("no such approval"), "{unknown}");
    let denied = bank.say("deny", &id, "grace", &[]).await;
    assert_eq!(denied["state"], "denied");
    let answer = bank.pay("ann", arguments).await;
    assert_eq!(answer.refusal(), "approval_denied", "{answer:?}");
    assert!(!answer.everything().contains("looked at"), "the reason is the approver's own");
    let late = bank.fails(&["approvals", "approve", &id, "--as", "heidi"]).await;
    assert!(late.contains("waits no more"), "{late}");
    assert_eq!(bank.paid(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_people_have_to_agree_where_several_are_asked() {
    let bank = Bank::open(Script::modern(), json!({ "approvers_min": 2 })).await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    let first = bank.approve(&id).await;
    assert_eq!((&first["state"], &first["missing"][0]["people"]), (&json!("waiting"), &json!(1)));
    let again = bank.fails(&["approvals", "approve", &id, "--as", "grace"]).await;
    assert!(again.contains("said something about it before"), "{again}");
    assert_eq!(awaited(&bank.pay("ann", arguments).await), id);
    assert_eq!(bank.say("approve", &id, "heidi", &[]).await["state"], "granted");
    assert!(is_ok(&bank.pay("ann", arguments).await));
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_held_until_somebody_agrees_and_told_of_it() {
    let bank = Bank::open(Script::modern(), json!({ "wait_ms": 20_000 })).await;
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).meta(r#""progressToken":"p""#);
    let mut legacy = HttpPeer::legacy(bank.gateway.bearing(&api_key("ann")), "/mcp").await;
    for dialect in [Dialect::Legacy, Dialect::Modern] {
        let mut tries: Vec<Duration> = Vec::new();
        // A machine that stands still for a moment does not do so each time.
        while tries.last().is_none_or(|took| *took >= AT_ONCE) {
            assert!(tries.len() < 3, "told after {tries:?}");
            let mut peer = if dialect == Dialect::Legacy { legacy.clone() } else { bank.peer("ann") };
            let before = bank.paid();
            let mut live = peer.open(&call).await;
            let told = soon("progress", live.event()).await.unwrap().expect("an event").data;
            assert!(told.contains("notifications/progress") && told.contains("by finance"), "{told}");
            let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
            let id = listed[0]["id"].as_str().unwrap();
            assert!(told.contains(id), "{told}");
            assert_eq!(bank.paid(), before);
            bank.approve(id).await;
            let granted = Instant::now();
            let answer = soon("the answer", live.event()).await.unwrap().expect("an event").data;
            tries.push(granted.elapsed());
            assert!(answer.contains("\"result\""), "{answer} {tries:?}");
            assert_eq!(bank.paid(), before + 1);
        }
    }
    // Whoever is denied while it waits hears that at once.
    let mut live = legacy.open(&call).await;
    soon("progress", live.event()).await.unwrap().expect("an event");
    let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
    bank.say("deny", listed[0]["id"].as_str().unwrap(), "grace", &[]).await;
    let answer = soon("the answer", live.event()).await.unwrap().expect("an event").data;
    assert!(answer.contains("approval_denied"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_takes_nobodys_place() {
    let limits = json!({ "limits": { "rules": [
        { "name": "one", "per": ["agent"], "concurrency": 1 },
    ] } });
    let bank = Bank::open_with(Script::modern(), json!({ "wait_ms": 20_000 }), limits).await;
    let mut peer = bank.peer("ann");
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).meta(r#""progressToken":"p""#);
    let mut live = peer.open(&call).await;
    soon("progress", live.event()).await.unwrap().expect("an event");
    for _ in 0..3 {
        let look = bank.peer("ann").request(&Call::tool("bank__look", "{}")).await;
        assert!(is_ok(&look), "{look:?}");
    }
    let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
    bank.approve(listed[0]["id"].as_str().unwrap()).await;
    let answer = soon("the answer", live.event()).await.unwrap().expect("an event").data;
    assert!(answer.contains("\"result\""), "{answer}");
    // It has left its place when its stream has ended.
    assert_eq!(soon("the end of the stream", live.event()).await.unwrap(), None);
    // One that is under way takes it.
    let under_way = Call::tool("bank__progress_then_hang", "{}").meta(r#""progressToken":"q""#);
    let mut live = bank.peer("ann").open(&under_way).await;
    soon("progress", live.event()).await.unwrap().expect("an event");
    let look = bank.peer("ann").request(&Call::tool("bank__look", "{}")).await;
    assert_eq!(look.refusal(), "concurrency_limited", "{look:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_calls_are_held_and_no_more_approvals_wait_than_may() {
    let more = json!({ "wait_ms": 3_600_000, "held_per_principal_max": 1, "waiting_per_principal_max": 3 });
    let bank = Bank::open(Script::modern(), more).await;
    let call = Call::tool("bank__pay", r#"{"amount":1}"#).meta(r#""progressToken":"p""#);
    let mut live = bank.peer("ann").open(&call).await;
    soon("progress", live.event()).await.unwrap().expect("an event");
    assert_eq!(bank.gateway.kept("held_call").await, 1);
    // Whoever comes beyond is told to come back, and not held.
    awaited(&bank.pay("ann", r#"{"amount":2}"#).await);
    let task = Call::tool("bank__pay", r#"{"amount":3}"#).able(TASKS);
    awaited(&bank.peer("ann").request(&task).await);
    let full = bank.pay("ann", r#"{"amount":4}"#).await;
    assert_eq!((full.status, full.refusal().as_str()), (429, "too_many_approvals"), "{full:?}");
    drop(live);
    bank.gateway.keeps("held_call", 0).await;
    assert_eq!(bank.paid(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_can_follow_tasks_gets_one() {
    let bank = Bank::open(Script::modern(), json!({ "wait_ms": 20_000 })).await;
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).able(TASKS);
    let mut ann = bank.peer("ann");
    let made = ann.request(&call).await.value();
    assert_eq!((&made["resultType"], &made["status"]), (&json!("task"), &json!("working")));
    let task = made["taskId"].as_str().unwrap().to_owned();
    let get = Call::new("tasks/get", format!(r#""taskId":"{task}""#)).able(TASKS);
    let state = ann.request(&get).await.value();
    assert!(
        state["status"] == "working" && state["statusMessage"].as_str().unwrap().contains("apr_"),
        "{state}"
    );
    let theirs = bank.peer("bob").request(&get).await;
    assert_eq!(theirs.refusal(), "unknown_task", "{theirs:?}");
    assert_eq!(bank.paid(), 0);
    let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
    bank.approve(listed[0]["id"].as_str().unwrap()).await;
    let done = until("the end of the task", async || {
        let state = ann.clone().request(&get).await.value();
        (state["status"] != "working").then_some(state)
    })
    .await;
    assert_eq!((&done["status"], bank.paid()), (&json!("completed"), 1), "{done}");
    assert!(done["result"]["content"].is_array(), "{done}");
    // One that is cancelled is not made, whoever agrees then.
    let made = ann.request(&call).await.value();
    let task = made["taskId"].as_str().unwrap();
    let listed = bank.gateway.command(&["approvals", "list", "--json"]).await;
    let id = listed[0]["id"].as_str().unwrap();
    let cancel = Call::new("tasks/cancel", format!(r#""taskId":"{task}""#)).able(TASKS);
    assert!(is_ok(&ann.request(&cancel).await));
    let late = bank.fails(&["approvals", "approve", id, "--as", "grace"]).await;
    assert!(late.contains("waits no more"), "{late}");
    let get = Call::new("tasks/get", format!(r#""taskId":"{task}""#)).able(TASKS);
    assert_eq!(ann.request(&get).await.value()["status"], "cancelled");
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_can_be_shown_a_page_is_shown_it_once() {
    let more = json!({ "wait_ms": 20_000, "url": "https://console.example/approvals/{id}" });
    let bank = Bank::open(Script::modern(), more).await;
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).able(URLS);
    let mut ann = bank.peer("ann");
    let asked = ann.request(&call).await.value();
    assert_eq!(asked["resultType"], "input_required", "{asked}");
    let request = &asked["inputRequests"]["approval"];
    assert_eq!(
        (&request["method"], &request["params"]["mode"]),
        (&json!("elicitation/create"), &json!("url"))
    );
    let url = request["params"]["url"].as_str().unwrap();
    let id = url.strip_prefix("https://console.example/approvals/").unwrap().to_owned();
    let state = asked["requestState"].as_str().unwrap().to_owned();
    let seen = |action: &str, arguments: &str| {
        let said =
            format!(r#""inputResponses":{{"approval":{{"action":"{action}"}}}},"requestState":"{state}""#);
        Call::tool("bank__pay", arguments).able(URLS).and(&said)
    };
    // Who turns away is not asked for again at once.
    let declined = ann.request(&seen("decline", r#"{"amount":10}"#)).await;
    assert_eq!(awaited(&declined), id);
    // What the state was given for is this call, and no other.
    let other = ann.request(&seen("accept", r#"{"amount":11}"#)).await;
    assert_eq!(other.refusal(), "invalid_request_state", "{other:?}");
    let mut waits = ann.clone();
    let accepted = seen("accept", r#"{"amount":10}"#);
    let held = tokio::spawn(async move { waits.request(&accepted).await });
    bank.approve(&id).await;
    let answer = soon("the answer", held).await.unwrap();
    assert!(is_ok(&answer) && bank.paid() == 1, "{answer:?}");
    // The state that was good for it is not good for another.
    let replayed = ann.request(&seen("decline", r#"{"amount":10}"#)).await;
    assert_ne!(awaited(&replayed), id);
    assert_eq!(bank.paid(), 1);
}

/// Also where the page was shown by a gateway that is gone, or by another one; and what its user said of it is no answer to the server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_was_shown_a_page_goes_on_at_whichever_gateway() {
    let more = json!({ "wait_ms": 20_000, "url": "https://console.example/approvals/{id}" });
    let bank = Bank::open(Script::modern(), more).await;
    let other = Gateway::start_on(&bank.config, bank.gateway.data()).await;
    bank.ready(&other).await;
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).able(URLS);
    let asked = bank.peer("ann").request(&call).await.value();
    let url = asked["inputRequests"]["approval"]["params"]["url"].as_str().unwrap();
    let seen = |action: &str, arguments: &str| {
        let said = json!({ "approval": { "action": action } });
        let said = format!(r#""inputResponses":{said},"requestState":{}"#, asked["requestState"]);
        Call::tool("bank__pay", arguments).able(URLS).and(&said)
    };
    let id = url.rsplit('/').next().unwrap();
    // It is no more than the same call: who turns away is told to come back, and other arguments are another call.
    let declined = peer(&other, "ann").request(&seen("decline", r#"{"amount":10}"#)).await;
    assert_eq!(awaited(&declined), id);
    let changed = peer(&other, "ann").request(&seen("decline", r#"{"amount":11}"#)).await;
    assert_ne!(awaited(&changed), id);
    bank.approve(id).await;
    let theirs = peer(&other, "bob").request(&seen("decline", r#"{"amount":10}"#)).await;
    assert_ne!(awaited(&theirs), id);
    assert_eq!(bank.paid(), 0);
    let answer = peer(&other, "ann").request(&seen("accept", r#"{"amount":10}"#)).await;
    assert!(is_ok(&answer) && bank.paid() == 1, "{answer:?}");
    let sent = bank.server.log().of_method("tools/call");
    assert_eq!(sent.last().unwrap().at(&["params", "inputResponses"]), None);
}

/// Not twice, nor never: what its user was shown meanwhile is no call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_user_was_shown_a_page_counts_once() {
    let more = json!({ "wait_ms": 20_000, "url": "https://console.example/approvals/{id}" });
    let limits =
        json!({ "limits": { "rules": [{ "name": "two", "quota": { "calls": 2, "every": "month" } }] } });
    let bank = Bank::open_with(Script::modern(), more, limits).await;
    let call = Call::tool("bank__pay", r#"{"amount":10}"#).able(URLS);
    let mut ann = bank.peer("ann");
    for paid in 1..=2 {
        let asked = ann.request(&call).await.value();
        let url = asked["inputRequests"]["approval"]["params"]["url"].as_str().unwrap();
        bank.approve(url.rsplit('/').next().unwrap()).await;
        let said = json!({ "approval": { "action": "accept" } });
        let said = format!(r#""inputResponses":{said},"requestState":{}"#, asked["requestState"]);
        let answer = ann.request(&call.clone().and(&said)).await;
        assert!(is_ok(&answer) && bank.paid() == paid, "{answer:?}");
    }
    let refused = ann.request(&call).await;
    assert_eq!(refused.refusal(), "quota_exhausted", "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_arguments_than_the_callers_are_decided_on_anew_and_are_what_leaves() {
    let bank = Bank::modern().await;
    let limited = r#"@id("pay") @require_approval("finance") permit(principal, action == Action::"bank__pay", resource);
    @id("cap") forbid(principal, action == Action::"bank__pay", resource) when { context.input has to && context.input.to == "mallory" };"#;
    write(bank.policies.path(), limited);
    let capped = async || {
        let answer = bank.pay("bob", r#"{"to":"mallory"}"#).await;
        (answer.refusal() == "denied").then_some(())
    };
    until("the other policies", capped).await;
    let arguments = r#"{"amount":1000,"to":"x"}"#;
    let edit = |text: &str| {
        let file = bank.gateway.folder().join("edited.json");
        fs::write(&file, text).unwrap();
        file.to_string_lossy().into_owned()
    };
    // An approver cannot have policy set aside.
    let id = awaited(&bank.pay("ann", arguments).await);
    let file = edit(r#"{"amount":5,"to":"mallory"}"#);
    let new = bank.say("approve", &id, "grace", &["--arguments", &file]).await;
    assert_eq!((&new["state"], &new["replaces"]), (&json!("granted"), &json!(id)));
    let refused = bank.pay("ann", arguments).await;
    assert_eq!((refused.refusal().as_str(), bank.paid()), ("denied", 0), "{refused:?}");
    // What was replaced is used up; it is asked for anew.
    let id = awaited(&bank.pay("ann", arguments).await);
    let own = bank.fails(&["approvals", "approve", &id, "--as", "ann", "--arguments", &file]).await;
    assert!(own.contains("their own call"), "{own}");
    let file = edit(r#"{"amount":7,"to":"x"}"#);
    let new = bank.say("approve", &id, "grace", &["--arguments", &file]).await;
    assert_eq!(bank.show(&id).await["replaced_by"], new["id"]);
    let answer = bank.pay("ann", arguments).await;
    assert!(is_ok(&answer), "{answer:?}");
    let sent = bank.server.log().of_method("tools/call");
    let sent = sent.last().unwrap();
    assert_eq!(sent.at(&["params", "arguments"]).as_deref(), Some(r#"{"amount":7,"to":"x"}"#));
    // Neither the old arguments nor the new ones go on by it again.
    assert_ne!(awaited(&bank.pay("ann", arguments).await), id);
    awaited(&bank.pay("ann", r#"{"amount":7,"to":"x"}"#).await);
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rounds_of_an_approved_call_go_on_once_each() {
    let ask = r#"{"method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}}"#;
    let bank = Bank::modern().await;
    let call = Call::tool("bank__dialog", &format!(r#"{{"rounds":[[{ask}],[{ask}]]}}"#));
    let call = call.able(r#"{"elicitation":{"form":{}}}"#);
    let mut ann = bank.peer("ann");
    let id = awaited(&ann.request(&call).await);
    bank.approve(&id).await;
    let next = |answer: &Answer| {
        let asked = answer.value();
        assert_eq!(asked["resultType"], "input_required", "{asked}");
        let key = asked["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
        let said = json!({ key: { "action": "accept", "content": {} } });
        call.clone().and(&format!(r#""inputResponses":{said},"requestState":{}"#, asked["requestState"]))
    };
    let second = next(&ann.request(&call).await);
    let third = next(&ann.request(&second).await);
    assert_eq!(bank.paid(), 2);
    let replayed = ann.request(&second).await;
    assert_ne!(awaited(&replayed), id, "a round that is sent again has to be agreed to again");
    assert_eq!(bank.paid(), 2);
    let answer = ann.request(&third).await;
    assert!(is_ok(&answer) && bank.paid() == 3, "{answer:?}");
    assert_ne!(awaited(&ann.request(&call).await), id);
    assert_eq!(bank.paid(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_operators_call_destructive_waits_whatever_policies_say() {
    let mut script = Script::modern().with_tools(["look", "wipe"]);
    script.tools.push(pay_tool("Pays."));
    let server = FakeServer::start(script).await;
    let bank = with(&http(&server.url()), json!({ "tools": { "wipe": { "destructive": true } } }));
    let members = json!({
        "public_url": BASE, "identity": { "keys": [declared("ann")] }, "policy": { "files": ["everybody.cedar"] },
        "approvals": { "groups": { "ops": { "users": ["grace"] } }, "destructive": ["ops"], "wait_ms": 0 },
    });
    let gateway = Gateway::start(&with(&servers([("bank", bank)]), members)).await;
    let call =
        async |tool: &str, arguments: &str| peer(&gateway, "ann").request(&Call::tool(tool, arguments)).await;
    until("the tools", async || is_ok(&call("bank__look", "{}").await).then_some(())).await;
    let before = server.log().of_method("tools/call").len();
    let id = awaited(&call("bank__wipe", "{}").await);
    gateway.command(&["approvals", "approve", &id, "--as", "grace", "--json"]).await;
    assert_ne!(awaited(&call("bank__wipe", r#"{"all":true}"#).await), id);
    assert!(is_ok(&call("bank__wipe", "{}").await));
    assert_ne!(awaited(&call("bank__wipe", "{}").await), id);
    assert_eq!(server.log().of_method("tools/call").len() - before, 1);
    let shown = gateway.command(&["approvals", "show", &id, "--json"]).await;
    assert_eq!(
        (&shown["risk"], &shown["policies"]),
        (&json!("destructive"), &json!(["approvals.destructive"]))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn neither_a_batch_nor_a_kept_answer_goes_past_an_approval() {
    let bank = Bank::open(Script::legacy(), json!({})).await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    bank.approve(&id).await;
    let ann = bank.gateway.bearing(&api_key("ann"));
    let old = HttpPeer::legacy_with(ann, "/mcp", "2025-03-26", "{}").await;
    let call = Call::tool("bank__pay", arguments);
    let batch: Vec<String> = ["11", "12", "13"].map(|id| call.message(id, Dialect::Legacy)).to_vec();
    let reply = old.http.send(&old.post(&format!("[{}]", batch.join(",")))).await.text();
    assert_eq!((bank.paid(), reply.matches("\"approval_required\"").count()), (1, 2), "{reply}");
    // What a server has said before is nobody's without a grant either.
    let reads = format!(
        r#"{PAY} @id("reads") @require_approval("finance") permit(principal, action == Action::"read", resource);"#
    );
    write(bank.policies.path(), &reads);
    let read = Call::new("resources/read", r#""uri":"memo://one""#);
    let first = until("the other policies", async || {
        let answer = bank.peer("ann").request(&read).await;
        (answer.refusal() == "approval_required").then(|| awaited(&answer))
    })
    .await;
    bank.approve(&first).await;
    let answer = bank.peer("ann").request(&read).await;
    assert!(is_ok(&answer), "{answer:?}");
    let second = awaited(&bank.peer("ann").request(&read).await);
    assert_ne!(second, first);
    bank.approve(&second).await;
    assert!(is_ok(&bank.peer("ann").request(&read).await));
    assert_eq!(
        bank.server.log().of_method("resources/read").len(),
        1,
        "the second is answered by what is kept"
    );
    assert_ne!(awaited(&bank.peer("ann").request(&read).await), second);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_says_who_asked_who_agreed_and_what_was_made() {
    let bank = Bank::modern().await;
    let arguments = r#"{"amount":10}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    bank.approve(&id).await;
    assert!(is_ok(&bank.pay("ann", arguments).await));
    let found = until("the entries", async || {
        let folder = bank.gateway.data().join("ledger");
        let mut changes = Vec::new();
        let mut intent = None;
        for entry in entries(&folder) {
            if entry["detail"]["approval"] == json!(id) {
                match entry["kind"].as_str() {
                    Some("change") => changes.push(entry["change"].as_str().unwrap().to_owned()),
                    Some("intent") => intent = Some(entry),
                    _ => {}
                }
            }
        }
        (changes.len() == 3).then_some((changes, intent))
    })
    .await;
    assert_eq!(found.0, ["approval.requested", "approval.granted", "approval.used"]);
    assert_eq!(found.1.expect("the call's own entry names it")["native_name"], "pay");
}

/// All entries of a ledger's folder, in their order.
fn entries(folder: &Path) -> Vec<Value> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "log") {
                files.push(path);
            }
        }
    }
    files.sort();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap_or_default());
    let lines: Vec<String> =
        texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let entry = |line: &String| serde_json::from_str(line.strip_prefix("e ")?.splitn(3, ' ').nth(2)?).ok();
    lines.iter().filter_map(entry).collect()
}

/// A mail relay of another maker's, and what it takes.
struct Relay {
    _child: Child,
    said: Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Relay {
    async fn start(tls: Option<(&Path, &Path)>) -> Self {
        let files = tls.map(|(certificate, key)| [certificate.to_owned(), key.to_owned()]);
        let mut child = Command::new(installed("python-modern/bin/python"))
            .arg(script("servers/mail.py"))
            .args(files.into_iter().flatten())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut relay = Self { _child: child, said, port: 0 };
        relay.port = u16::try_from(relay.next().await["port"].as_u64().unwrap()).unwrap();
        relay
    }

    async fn next(&mut self) -> Value {
        let line = soon("a line of the mail relay", self.said.next_line()).await.unwrap().expect("a line");
        serde_json::from_str(&line).unwrap()
    }
}

/// The next request that somebody posts: its head and its body.
async fn posted(listener: &TcpListener) -> (String, String) {
    answering(listener, "").await
}

/// The same, which is answered with this body.
async fn answering(listener: &TcpListener, answer: &str) -> (String, String) {
    let (mut stream, _) = soon("a post", listener.accept()).await.unwrap();
    let mut bytes = Vec::new();
    let (head, length) = loop {
        let mut part = [0; 4096];
        let read = soon("a part of a post", stream.read(&mut part)).await.unwrap();
        assert_ne!(read, 0, "the post ends");
        bytes.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, _)) = text.split_once("\r\n\r\n") {
            let length = header(head, "content-length").parse::<usize>().unwrap();
            if bytes.len() >= head.len() + 4 + length {
                break (head.to_owned(), length);
            }
        }
    };
    let length_of = answer.len();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length_of}\r\nconnection: close\r\n\r\n{answer}"
    );
    stream.write_all(answer.as_bytes()).await.unwrap();
    let body = bytes[head.len() + 4..][..length].to_vec();
    (head, String::from_utf8(body).unwrap())
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    });
    line.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_guard_holds_waits_for_a_person() {
    let guard = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/check", guard.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            answering(&guard, r#"{"action":"hold","reason":"odd"}"#).await;
        }
    });
    let dlp = json!({ "url": url, "allow_private_addresses": true, "direction": "arguments", "tools": ["bank/look"] });
    let more = json!({ "guard": { "external": { "dlp": dlp } } });
    let groups = json!({ "groups": { "approvers": { "users": ["grace"] } } });
    let bank = Bank::open_with(Script::modern(), groups, more).await;
    let look = Call::tool("bank__look", r#"{"at":"this"}"#);
    let id = awaited(&bank.peer("ann").request(&look).await);
    let shown = bank.show(&id).await;
    assert_eq!(shown["policies"], json!(["external.dlp"]), "{shown}");
    assert_eq!(bank.paid(), 0);
    bank.approve(&id).await;
    assert_ne!(awaited(&bank.peer("ann").request(&Call::tool("bank__look", r#"{"at":"that"}"#)).await), id);
    assert!(is_ok(&bank.peer("ann").request(&look).await));
    assert_ne!(awaited(&bank.peer("ann").request(&look).await), id);
    assert_eq!(bank.paid(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_built_in_guards_hold_waits_for_a_person() {
    let rules = json!({ "personal.email": "hold" });
    let guard = json!({ "results": { "mode": "off" }, "arguments": { "mode": "act", "personal": "off", "rules": rules } });
    let groups = json!({ "groups": { "approvers": { "users": ["grace"] } } });
    let bank = Bank::open_with(Script::modern(), groups, json!({ "guard": guard })).await;
    let look = Call::tool("bank__look", r#"{"at":"this, says ann@example.com"}"#);
    let answer = bank.peer("ann").request(&look).await;
    assert!(!answer.everything().contains("ann@example.com"), "{}", answer.everything());
    let id = awaited(&answer);
    let shown = bank.show(&id).await;
    assert_eq!(shown["policies"], json!(["personal.email"]), "{shown}");
    assert_eq!(bank.paid(), 0);
    bank.approve(&id).await;
    let other = Call::tool("bank__look", r#"{"at":"that, says ann@example.com"}"#);
    assert_ne!(awaited(&bank.peer("ann").request(&other).await), id);
    assert!(is_ok(&bank.peer("ann").request(&look).await));
    let seen = String::from_utf8(bank.server.log().of_method("tools/call").remove(0).body).unwrap();
    assert!(seen.contains("this, says ann@example.com"), "{seen}");
    assert!(is_ok(&bank.peer("ann").request(&Call::tool("bank__look", r#"{"at":"nothing"}"#)).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvers_are_told_by_signed_posts() {
    const SECRET: &str = "a key that nobody would guess";
    let (generic, slack) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let hook = |listener: &TcpListener, body: &str| {
        json!({ "url": format!("http://{}/in", listener.local_addr().unwrap()), "secret": SECRET, "body": body,
                "allow_private_addresses": true })
    };
    let webhooks = json!([hook(&generic, "generic"), hook(&slack, "slack")]);
    let bank = Bank::open(Script::modern(), json!({ "webhooks": webhooks })).await;
    let arguments = r#"{"amount":10,"to":"<!channel> eve@example.com"}"#;
    let id = awaited(&bank.pay("ann", arguments).await);
    let (head, body) = posted(&generic).await;
    let signed = format!("{}.{}.{body}", header(&head, "webhook-id"), header(&head, "webhook-timestamp"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    assert_eq!(header(&head, "webhook-signature"), format!("v1,{signature}"));
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["type"], &told["data"]["approval"]["id"]), (&json!("approval.requested"), &json!(id)));
    assert!(!body.contains("eve@example.com"), "{body}");
    let (_, body) = posted(&slack).await;
    let told: Value = serde_json::from_str(&body).unwrap();
    assert!(told["text"].as_str().unwrap().contains("pay") && told["blocks"].is_array(), "{body}");
    assert!(!body.contains("mrkdwn"), "nothing in it is markup: {body}");
    // Who asks again is not told of again.
    awaited(&bank.pay("ann", arguments).await);
    let other = awaited(&bank.pay("ann", r#"{"amount":11}"#).await);
    assert!(posted(&generic).await.1.contains(&other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_is_told_waits_for_another_who_does_not_answer() {
    let (silent, good) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let hook = |listener: &TcpListener| {
        json!({ "url": format!("http://{}/in", listener.local_addr().unwrap()), "secret": "a key that nobody would guess",
                "allow_private_addresses": true })
    };
    let bank = Bank::open(Script::modern(), json!({ "webhooks": [hook(&silent), hook(&good)] })).await;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for amount in 10..13 {
        waiting.push(awaited(&bank.pay("ann", &json!({ "amount": amount }).to_string()).await));
    }
    for id in &waiting {
        assert!(posted(&good).await.1.contains(id), "in the order in which they were asked for");
    }
    // The silent one is tried for longer than this with the first of them.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_became_of_a_call_is_told_once_by_whichever_gateway_is_first() {
    let told = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/in", told.local_addr().unwrap());
    let hook =
        json!({ "url": url, "secret": "a key that nobody would guess", "allow_private_addresses": true });
    let bank = Bank::open(Script::modern(), json!({ "webhooks": [hook.clone()] })).await;
    let other = Gateway::start_on(&bank.config, bank.gateway.data()).await;
    bank.ready(&other).await;
    let next = async || {
        let told: Value = serde_json::from_str(&posted(&told).await.1).unwrap();
        let approval = told["data"]["approval"].clone();
        (told["type"].as_str().unwrap().to_owned(), approval["id"].as_str().unwrap().to_owned(), approval)
    };
    let id = awaited(&bank.pay("ann", r#"{"amount":10}"#).await);
    assert_eq!(next().await.0, "approval.requested");
    bank.approve(&id).await;
    let (word, of, approval) = next().await;
    assert_eq!((&*word, &of), ("approval.approved", &id));
    assert_eq!(
        (&approval["votes"][0]["by"], &approval["votes"][0]["reason"]),
        (&json!("grace"), &json!("looked at"))
    );
    let id = awaited(&bank.pay("ann", r#"{"amount":11}"#).await);
    assert_eq!(next().await.0, "approval.requested", "nothing of the one before came twice");
    bank.say("deny", &id, "grace", &[]).await;
    let (word, of, _) = next().await;
    assert_eq!((&*word, &of), ("approval.denied", &id));
    let id = awaited(&bank.pay("ann", r#"{"amount":12}"#).await);
    assert_eq!(next().await.0, "approval.requested");
    let file = bank.policies.path().join("arguments.json");
    fs::write(&file, r#"{"amount":1}"#).unwrap();
    let made = bank.say("approve", &id, "grace", &["--arguments", file.to_str().unwrap()]).await;
    let (word, of, approval) = next().await;
    assert_eq!((&*word, &json!(of), &approval["replaces"]), ("approval.edited", &made["id"], &json!(id)));
    assert_eq!(next().await.0, "approval.approved");

    let short = json!({ "webhooks": [hook], "expiry_ms": 1_000 });
    let bank = Bank::open(Script::modern(), short).await;
    let id = awaited(&bank.pay("ann", r#"{"amount":10}"#).await);
    assert_eq!(next().await.0, "approval.requested");
    let (word, of, approval) = next().await;
    assert_eq!((&*word, &of, &approval["state"]), ("approval.expired", &id, &json!("expired")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approvers_are_told_by_mail() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("relay.pem"), folder.path().join("relay.key"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let mut safe = Relay::start(Some((&certificate, &key))).await;
    let smtp = json!({
        "host": "localhost", "port": safe.port, "security": "starttls", "user": "gate", "password": "opensesame",
        "ca_file": certificate, "from": "Tollgate <gate@example.com>", "to": ["finance@example.com"],
    });
    let bank = Bank::open(Script::modern(), json!({ "smtp": smtp })).await;
    let id = awaited(&bank.pay("ann", r#"{"amount":10}"#).await);
    let mail = safe.next().await;
    assert_eq!(
        (&mail["to"], &mail["tls"], &mail["user"]),
        (&json!(["finance@example.com"]), &json!(true), &json!("gate"))
    );
    assert!(mail["subject"].as_str().unwrap().contains("ann wants to use pay of bank"), "{mail}");
    let text = mail["text"].as_str().unwrap();
    assert!(text.contains(&id) && !text.contains("Arguments: {"), "arguments are not mailed unasked: {text}");
    // A relay that is not who it should be gets nothing.
    let wrong = json!({ "smtp": with(&smtp, json!({ "ca_file": null })) });
    let other = Bank::open(Script::modern(), wrong).await;
    awaited(&other.pay("ann", r#"{"amount":10}"#).await);
    other.gateway.logged("the mail relay does not take it").await;
    // One on the same machine may be spoken to in the clear.
    let mut plain = Relay::start(None).await;
    let smtp = json!({
        "host": "127.0.0.1", "port": plain.port, "security": "none", "from": "gate@example.com",
        "to": ["a@example.com", "b@example.com"], "arguments": true,
    });
    let bank = Bank::open(Script::modern(), json!({ "smtp": smtp })).await;
    awaited(&bank.pay("ann", r#"{"amount":10,"to":"x\r\nBcc: all@example.com"}"#).await);
    let mail = plain.next().await;
    assert_eq!((&mail["tls"], mail["to"].as_array().unwrap().len()), (&json!(false), 2), "{mail}");
    assert!(mail["text"].as_str().unwrap().contains("\"amount\":10"), "{mail}");
    let headers = mail["headers"].to_string();
    assert!(headers.contains("Message-ID") && !headers.contains("Bcc"), "{mail}");
}
