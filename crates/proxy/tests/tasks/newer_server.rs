//! A legacy client in front of a modern server that makes tasks.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_proxy::{ProxySettings, TaskSettings};

use crate::fake::Fake;
use crate::rig::{Client, TASKS, gateway, gateway_with};
use crate::servers::{self, Tasks};

async fn rig() -> (Tasks, Fake) {
    let tasks = Tasks::default();
    let server = servers::modern(tasks.clone()).await;
    (tasks, server)
}

fn calling(client: &Client, params: Value) -> tokio::task::JoinHandle<crate::rig::Answer> {
    let client = client.clone();
    tokio::spawn(async move { client.ask("tools/call", params).await })
}

fn slow() -> Value {
    json!({"name": "slow", "arguments": {}})
}

#[tokio::test]
async fn the_call_waits_for_the_task() {
    let (tasks, new) = rig().await;
    let gateway = gateway([("new", &new)]);
    for (nth, revision) in ["2025-11-25", "2025-06-18", "2025-03-26"].into_iter().enumerate() {
        let native = format!("native-{}", nth + 1);
        let capabilities = json!({"roots": {}});
        let (client, hello) = Client::legacy(&gateway, "/mcp/new", revision, capabilities).await;
        assert!(hello["capabilities"]["tasks"].is_null(), "{hello}");
        let call = calling(&client, slow());
        crate::eventually(|| tasks.get(&native)).await;
        let called = new.seen("tools/call").pop().unwrap();
        let declared = &called.body["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(*declared, json!({"roots": {}, "extensions": {TASKS: {}}}));
        assert!(!call.is_finished());
        let result = json!({"content": [{"type": "text", "text": "ready"}], "isError": nth == 1});
        tasks.set(&native, json!({"status": "completed", "result": result}));
        let answer = call.await.unwrap();
        assert_eq!(*answer.result(), result, "{revision}");
        assert_eq!(gateway.overview().tasks_followed, 0);
    }
}

#[tokio::test]
async fn a_failure_is_the_calls_error() {
    let (tasks, new) = rig().await;
    let gateway = gateway([("new", &new)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    for (native, end) in [
        ("native-1", json!({"status": "failed", "error": {"code": -32050, "message": "not today"}})),
        ("native-2", json!({"status": "cancelled"})),
        ("native-3", json!({"status": "imaginary"})),
    ] {
        let call = calling(&client, slow());
        crate::eventually(|| tasks.get(native)).await;
        tasks.set(native, end);
        let code = call.await.unwrap().code();
        assert_eq!(code, if native == "native-1" { -32050 } else { -32603 }, "{native}");
    }
}

#[tokio::test]
async fn what_the_server_says_of_the_task_is_progress_of_the_call() {
    let (tasks, new) = rig().await;
    let gateway = gateway([("new", &new)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    let mut params = slow();
    params["_meta"] = json!({"progressToken": "mine"});
    let call = calling(&client, params);
    crate::eventually(|| tasks.get("native-1")).await;
    for words in ["half way", "nearly there"] {
        tasks.set("native-1", json!({"status": "working", "statusMessage": words}));
        let seen = new.seen("tasks/get").len();
        crate::eventually(|| (new.seen("tasks/get").len() > seen + 1).then_some(())).await;
    }
    tasks.set("native-1", json!({"status": "completed", "result": {"content": []}}));
    let answer = call.await.unwrap();
    let told: Vec<(&Value, &Value)> = answer
        .before
        .iter()
        .map(|told| (&told["params"]["progressToken"], &told["params"]["message"]))
        .collect();
    assert_eq!(told, [(&json!("mine"), &json!("half way")), (&json!("mine"), &json!("nearly there"))]);
    let how_far = answer.before.iter().filter_map(|told| told["params"]["progress"].as_f64());
    let how_far: Vec<f64> = how_far.collect();
    assert!(how_far.len() == 2 && how_far[0] < how_far[1], "{how_far:?}");
}

#[tokio::test]
async fn the_client_is_asked_what_the_task_needs() {
    let (tasks, new) = rig().await;
    let gateway = gateway([("new", &new)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({"elicitation": {}})).await;
    let mut calling = client.begin("tools/call", &slow());
    crate::eventually(|| tasks.get("native-1")).await;
    let request =
        json!({"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}});
    tasks.set("native-1", json!({"status": "input_required", "inputRequests": {"who": request}}));
    let question = calling.next().await;
    assert_eq!(question["method"], "elicitation/create");
    let answer = json!({"action": "accept", "content": {"name": "Ada"}});
    client.tell(&json!({"jsonrpc": "2.0", "id": question["id"], "result": answer})).await;
    let update = new.wait_for("tasks/update").await;
    assert_eq!(update.body["params"]["inputResponses"], json!({"who": answer}));
    assert_eq!(update.body["params"]["taskId"], "native-1");
    // The server has heard, and does not say so yet: the client is not asked twice.
    let seen = new.seen("tasks/get").len();
    crate::eventually(|| (new.seen("tasks/get").len() > seen + 2).then_some(())).await;
    tasks.set("native-1", json!({"status": "completed", "result": {"content": []}}));
    let response = calling.next().await;
    assert_eq!(response["result"]["content"], json!([]), "{response}");
    assert_eq!(new.seen("tasks/update").len(), 1);
}

#[tokio::test]
async fn a_cancelled_call_cancels_the_task() {
    let (tasks, new) = rig().await;
    let gateway = gateway([("new", &new)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    let call = calling(&client, slow());
    new.wait_for("tasks/get").await;
    client
        .tell(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "q"}}))
        .await;
    new.wait_for("tasks/cancel").await;
    tasks.until("native-1", |task| task["status"] == "cancelled").await;
    assert_eq!(call.await.unwrap().response, Value::Null, "a cancelled request has no answer");
    crate::eventually(|| (gateway.overview().tasks_followed == 0).then_some(())).await;
}

#[tokio::test]
async fn so_many_tasks_are_followed_and_no_more() {
    let (tasks, new) = rig().await;
    let bounds = TaskSettings { followed_per_principal_max: 1, ..TaskSettings::default() };
    let settings = ProxySettings { tasks: bounds, ..ProxySettings::default() };
    let gateway = gateway_with([("new", &new)], settings, &[]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    let first = calling(&client, slow());
    new.wait_for("tasks/get").await;
    let (other, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    let refused = other.call("slow").await;
    assert_eq!(refused.response["error"]["data"]["dev.tollgate/refusal"]["code"], "given_up", "{refused:?}");
    tasks.until("native-2", |task| task["status"] == "cancelled").await;
    tasks.set("native-1", json!({"status": "completed", "result": {"content": []}}));
    assert!(first.await.unwrap().result()["content"].is_array());
    assert_eq!(gateway.overview().tasks_followed, 0);
}

#[tokio::test]
async fn asking_too_often_is_refused() {
    let (_, new) = rig().await;
    let bounds = TaskSettings { requests_per_s_max: 2, ..TaskSettings::default() };
    let settings = ProxySettings { tasks: bounds, ..ProxySettings::default() };
    let gateway = gateway_with([("new", &new)], settings, &[]);
    let client = Client::with_tasks(&gateway, "/mcp/new");
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    let began = tokio::time::Instant::now();
    let mut answered = 0;
    while !client.task("tasks/get", id).await.response["error"].is_object() {
        answered += 1;
        let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
        assert!(answered <= 2 * (seconds + 2), "{answered} in {:?}", began.elapsed());
    }
    assert!(answered >= 2, "{answered}");
    assert_eq!(new.seen("tasks/get").len(), answered);
}

#[tokio::test]
async fn a_task_that_needs_input_and_does_not_say_which_is_not_asked_at_once_again() {
    let (tasks, new) = rig().await;
    let poll_min = Duration::from_millis(200);
    let tasks_settings = TaskSettings { poll_min, ..TaskSettings::default() };
    let settings = ProxySettings { tasks: tasks_settings, ..ProxySettings::default() };
    let gateway = gateway_with([("new", &new)], settings, &[]);
    let (client, _) = Client::legacy(&gateway, "/mcp/new", "2025-11-25", json!({})).await;
    let began = std::time::Instant::now();
    let call = calling(&client, slow());
    crate::eventually(|| tasks.get("native-1")).await;
    tasks.set("native-1", json!({"status": "input_required"}));
    crate::eventually(|| (new.seen("tasks/get").len() >= 4).then_some(())).await;
    assert!(began.elapsed() >= 3 * poll_min, "{:?}", began.elapsed());
    call.abort();
}
