//! A modern client in front of a server of 2025-11-25.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_proxy::ProxySettings;

use crate::fake::Fake;
use crate::rig::{Client, TASKS, gateway, gateway_with};
use crate::servers::{self, Tasks};

async fn rig() -> (Tasks, Fake) {
    let tasks = Tasks::default();
    let server = servers::legacy(tasks.clone()).await;
    (tasks, server)
}

#[tokio::test]
async fn a_task_of_the_older_revision_is_followed_by_the_extension() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    for (path, prefix, native) in [("/mcp/old", "", "native-1"), ("/mcp", "old__", "native-2")] {
        let client = Client::with_tasks(&gateway, path);
        let said = client.ask("server/discover", json!({})).await;
        assert_eq!(said.result()["capabilities"]["extensions"][TASKS], json!({}), "{path}");
        assert!(said.result()["capabilities"]["tasks"].is_null(), "{path}");

        let created = client.call(&format!("{prefix}slow")).await;
        let task = created.result();
        assert_eq!((&task["resultType"], &task["status"]), (&json!("task"), &json!("working")));
        assert_eq!((&task["ttlMs"], &task["pollIntervalMs"]), (&json!(60000), &json!(10)));
        assert!(task["ttl"].is_null() && task["pollInterval"].is_null() && task["task"].is_null());
        assert_eq!((&task["x-own"], &task["_meta"]["k"]), (&json!([1.50]), &json!(1)));
        let called = old.seen("tools/call").pop().unwrap();
        assert_eq!(called.body["params"]["task"], json!({"ttl": 3_600_000}));
        let id = task["taskId"].as_str().unwrap();

        let working = client.task("tasks/get", id).await;
        let working = working.result();
        assert_eq!((&working["taskId"], &working["resultType"]), (&json!(id), &json!("complete")));
        assert_eq!((&working["status"], &working["ttlMs"]), (&json!("working"), &json!(60000)));
        assert_eq!(old.seen("tasks/get").pop().unwrap().body["params"]["taskId"], native);

        tasks.set(native, json!({"status": "completed"}));
        let done = client.task("tasks/get", id).await;
        assert_eq!(done.result()["status"], "completed");
        assert_eq!(done.result()["result"]["content"][0]["text"], "ready");
        assert!(done.result()["result"]["_meta"][TASKS].is_null());
        assert!(!done.response.to_string().contains(native), "{done:?}");
        assert_eq!(client.task("tasks/cancel", id).await.result()["resultType"], "complete");
    }
}

#[tokio::test]
async fn a_task_whose_id_is_no_text_is_the_servers_breach() {
    let (tasks, old) = rig().await;
    tasks.set("numbered", json!({"status": "working"}));
    let gateway = gateway([("old", &old)]);
    let refused = Client::with_tasks(&gateway, "/mcp/old").call("slow").await;
    assert_eq!(
        refused.response["error"]["data"]["dev.tollgate/refusal"]["code"], "upstream_protocol_error",
        "{refused:?}"
    );
}

#[tokio::test]
async fn only_an_error_is_a_failure() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let client = Client::with_tasks(&gateway, "/mcp/old");
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    tasks.set("native-1", json!({"status": "failed"}));
    let failed = client.task("tasks/get", id).await;
    assert_eq!(
        (&failed.result()["status"], &failed.result()["result"]["isError"]),
        (&json!("completed"), &json!(true))
    );
    let error = json!({"code": -32050, "message": "not today"});
    tasks.set("native-1", json!({"status": "failed", "error": error}));
    let failed = client.task("tasks/get", id).await;
    assert_eq!((&failed.result()["status"], &failed.result()["error"]), (&json!("failed"), &error));
}

#[tokio::test]
async fn cancelling_is_asked_of_the_server() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let client = Client::with_tasks(&gateway, "/mcp/old");
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    assert_eq!(client.task("tasks/cancel", id).await.result()["resultType"], "complete");
    assert_eq!(tasks.get("native-1").unwrap()["status"], "cancelled");
    assert_eq!(client.task("tasks/get", id).await.result()["status"], "cancelled");
}

#[tokio::test]
async fn what_the_server_asks_meanwhile_is_answered_by_updates() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let capabilities = json!({"elicitation": {}, "extensions": {TASKS: {}}});
    let client = Client::modern(&gateway, "/mcp/old", capabilities);
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    let question =
        json!({"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}});
    tasks.set("native-1", json!({"status": "input_required", "ask": question}));

    let waiting = client.task("tasks/get", id).await;
    assert_eq!(waiting.result()["status"], "input_required", "{waiting:?}");
    let requests = waiting.result()["inputRequests"].as_object().unwrap().clone();
    assert_eq!(requests.len(), 1);
    assert!(!waiting.response.to_string().contains("native-1"), "{waiting:?}");
    let (key, request) = requests.iter().next().unwrap();
    assert_eq!(request["method"], "elicitation/create");
    assert!(request["params"]["message"].as_str().unwrap().contains("Name?"));
    assert_eq!(
        client.task("tasks/get", id).await.result()["inputRequests"],
        json!(requests),
        "until it is answered"
    );

    for wrong in [json!([]), json!({key: "yes"})] {
        let given = json!({"taskId": id, "inputResponses": wrong});
        assert_eq!(client.ask("tasks/update", given).await.code(), -32602);
    }
    let answer = json!({"action": "accept", "content": {"name": "Ada"}});
    let given = json!({"taskId": id, "inputResponses": {key: answer, "never-asked": {}}});
    assert_eq!(client.ask("tasks/update", given).await.result()["resultType"], "complete");
    let task = tasks.until("native-1", |task| task["answered"].is_object()).await;
    assert_eq!(task["answered"]["content"], json!({"name": "Ada"}));
    let related = &task["answered"]["_meta"]["io.modelcontextprotocol/related-task"];
    assert_eq!(*related, json!({"taskId": "native-1"}));
    assert_eq!(client.task("tasks/get", id).await.result()["status"], "working");

    tasks.set("native-1", json!({"status": "completed"}));
    assert_eq!(client.task("tasks/get", id).await.result()["status"], "completed");
    crate::eventually(|| (gateway.overview().tasks_followed == 0).then_some(())).await;
}

#[tokio::test]
async fn who_cannot_follow_tasks_gets_the_result_of_a_tool_that_needs_one() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    for (nth, revision) in [None, Some("2025-06-18")].into_iter().enumerate() {
        let native = format!("native-{}", nth + 1);
        let client = match revision {
            None => Client::modern(&gateway, "/mcp/old", json!({})),
            Some(revision) => Client::legacy(&gateway, "/mcp/old", revision, json!({})).await.0,
        };
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.call("must").await }
        });
        crate::eventually(|| tasks.get(&native)).await;
        tasks.set(&native, json!({"status": "completed"}));
        let answer = calling.await.unwrap();
        assert_eq!(answer.text(), "ready");
        assert!(!answer.response.to_string().contains(&native), "{answer:?}");
        // What need not become a task does not.
        assert_eq!(client.call("slow").await.text(), "done at once");
        assert_eq!(client.call("quick").await.text(), "done at once");
    }
    assert_eq!(gateway.overview().tasks_followed, 0);
}

#[tokio::test]
async fn a_call_that_is_given_up_takes_its_task_along() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let client = Client::modern(&gateway, "/mcp/old", json!({}));
    let calling = tokio::spawn(async move { client.call("must").await });
    crate::eventually(|| tasks.get("native-1")).await;
    old.wait_for("tasks/get").await;
    calling.abort();
    tasks.until("native-1", |task: &Value| task["status"] == "cancelled").await;
    crate::eventually(|| (gateway.overview().tasks_followed == 0).then_some(())).await;
}

#[tokio::test]
async fn a_call_that_waits_for_its_client_takes_its_task_along_when_it_is_given_up() {
    for comes_back in [true, false] {
        let (tasks, old) = rig().await;
        let wait = Duration::from_millis(if comes_back { 20_000 } else { 200 });
        let settings = ProxySettings { input_timeout: wait, ..ProxySettings::default() };
        let gateway = gateway_with([("old", &old)], settings, &[]);
        let client = Client::modern(&gateway, "/mcp/old", json!({"elicitation": {}}));
        let calling = tokio::spawn({
            let client = client.clone();
            async move { client.call("must").await }
        });
        crate::eventually(|| tasks.get("native-1")).await;
        let question =
            json!({"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}});
        tasks.set("native-1", json!({"status": "input_required", "ask": question}));
        let asked = calling.await.unwrap();
        assert_eq!(asked.result()["resultType"], "input_required", "{asked:?}");
        if !comes_back {
            tasks.until("native-1", |task| task["status"] == "cancelled").await;
            continue;
        }
        let answer = json!({"action": "accept", "content": {}});
        let retry = json!({"name": "must", "arguments": {}, "inputResponses": {"input-1": answer},
                           "requestState": asked.result()["requestState"]});
        let retrying = tokio::spawn(async move { client.ask("tools/call", retry).await });
        tasks.until("native-1", |task| task["answered"].is_object()).await;
        tasks.set("native-1", json!({"status": "completed"}));
        assert_eq!(retrying.await.unwrap().text(), "ready");
        assert_eq!(old.seen("tasks/cancel").len(), 0);
    }
}
