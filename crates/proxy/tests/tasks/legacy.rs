//! A client of 2025-11-25 in front of a server of 2025-11-25.

use serde_json::{Value, json};

use crate::fake::Fake;
use crate::rig::{Client, gateway};
use crate::servers::{self, Tasks};

async fn rig() -> (Tasks, Fake) {
    let tasks = Tasks::default();
    let server = servers::legacy(tasks.clone()).await;
    (tasks, server)
}

fn call(tool: &str) -> Value {
    json!({"name": tool, "arguments": {}, "task": {"ttl": 60000}})
}

fn related(message: &Value) -> &Value {
    &message["_meta"]["io.modelcontextprotocol/related-task"]["taskId"]
}

#[tokio::test]
async fn a_task_is_followed_under_an_id_of_the_gateways() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let (client, hello) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({})).await;
    let declared = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
    assert_eq!(hello["capabilities"]["tasks"], declared);

    let created = client.ask("tools/call", call("slow")).await;
    let task = &created.result()["task"];
    assert_eq!((&task["status"], &task["ttl"]), (&json!("working"), &json!(60000)));
    let id = task["taskId"].as_str().unwrap();
    assert_ne!(id, "native-1");
    assert_eq!(old.seen("tools/call")[0].body["params"]["task"], json!({"ttl": 60000}));

    let working = client.task("tasks/get", id).await;
    assert_eq!((&working.result()["taskId"], &working.result()["x-own"]), (&json!(id), &json!([1.50])));
    assert_eq!(old.seen("tasks/get")[0].body["params"]["taskId"], "native-1");
    tasks.set("native-1", json!({"status": "completed"}));
    let result = client.task("tasks/result", id).await;
    assert_eq!((result.text(), &*result.before), ("ready", &[][..]));
    assert_eq!(related(result.result()), id);
    assert_eq!(client.task("tasks/cancel", id).await.code(), -32602, "the server's own word");
    for unknown in ["native-1", "x", ""] {
        for method in ["tasks/get", "tasks/result", "tasks/cancel"] {
            assert_eq!(client.task(method, unknown).await.code(), -32602);
        }
    }
    assert_eq!(client.task("tasks/update", id).await.code(), -32601);
}

#[tokio::test]
async fn a_list_shows_the_callers_own_tasks() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    tasks.set("of-another-gateway", json!({"status": "working"}));
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({})).await;
    let created = client.ask("tools/call", call("slow")).await;
    let id = created.result()["task"]["taskId"].clone();
    let list = client.ask("tasks/list", json!({})).await;
    let ids: Vec<&Value> =
        list.result()["tasks"].as_array().unwrap().iter().map(|task| &task["taskId"]).collect();
    assert_eq!(ids, [&id]);
    assert_eq!(list.result()["nextCursor"], "n");
    let (merged, _) = Client::legacy(&gateway, "/mcp", "2025-11-25", json!({})).await;
    assert_eq!(merged.ask("tasks/list", json!({})).await.code(), -32601);
    let (older, hello) = Client::legacy(&gateway, "/mcp/old", "2025-06-18", json!({})).await;
    assert!(hello["capabilities"]["tasks"].is_null(), "{hello}");
    assert_eq!(older.ask("tasks/list", json!({})).await.code(), -32601);
    assert_eq!(older.task("tasks/get", id.as_str().unwrap()).await.code(), -32601);
}

#[tokio::test]
async fn what_is_said_of_a_task_reaches_its_owner_under_the_owners_id() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({})).await;
    let mut params = call("slow");
    params["_meta"] = json!({"progressToken": "mine"});
    let created = client.ask("tools/call", params).await;
    let id = &created.result()["task"]["taskId"];
    let mut stream = client.listen().await;
    let token = &old.seen("tools/call")[0].body["params"]["_meta"]["progressToken"];
    let of = |native: &str| json!({"io.modelcontextprotocol/related-task": {"taskId": native}});
    for native in ["of-somebody-else", "native-1"] {
        let said = json!({"taskId": native, "status": "working", "createdAt": "c", "lastUpdatedAt": "l", "ttl": null});
        tasks.say(&json!({"jsonrpc": "2.0", "method": "notifications/tasks/status", "params": said})).await;
        let said = json!({"progressToken": token, "progress": 1, "_meta": of(native)});
        tasks.say(&json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": said})).await;
    }
    let status = stream.next().await;
    assert_eq!((&status["method"], &status["params"]["taskId"]), (&json!("notifications/tasks/status"), id));
    let progress = stream.next().await;
    assert_eq!((&progress["params"]["progressToken"], related(&progress["params"])), (&json!("mine"), id));
}

#[tokio::test]
async fn a_client_that_asks_for_no_task_gets_none() {
    let (_, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({})).await;
    assert_eq!(client.call("slow").await.text(), "done at once");
    let (older, _) = Client::legacy(&gateway, "/mcp/old", "2025-06-18", json!({})).await;
    assert_eq!(older.ask("tools/call", call("slow")).await.text(), "done at once");
}

#[tokio::test]
async fn what_the_server_asks_meanwhile_belongs_to_the_task_on_both_sides() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({"elicitation": {}})).await;
    let created = client.ask("tools/call", call("slow")).await;
    let id = &created.result()["task"]["taskId"];
    let question =
        json!({"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}});
    tasks.set("native-1", json!({"status": "input_required", "ask": question}));
    let mut result = client.begin("tasks/result", &json!({"taskId": id}));
    let asked = result.next().await;
    assert_eq!((&asked["method"], related(&asked["params"])), (&json!("elicitation/create"), id));
    let of = json!({"io.modelcontextprotocol/related-task": {"taskId": id}});
    let answer = json!({"action": "accept", "content": {"name": "Ada"}, "_meta": of});
    client.tell(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer})).await;
    let task = tasks.until("native-1", |task| task["answered"].is_object()).await;
    assert_eq!(task["answered"]["content"], json!({"name": "Ada"}));
    assert_eq!(related(&task["answered"]), "native-1");
    tasks.set("native-1", json!({"status": "completed"}));
    assert_eq!(related(&result.next().await["result"]), id);
}

#[tokio::test]
async fn a_question_and_its_answer_name_no_task_of_somebody_elses() {
    let (tasks, old) = rig().await;
    let gateway = gateway([("old", &old)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({"elicitation": {}})).await;
    let created = client.ask("tools/call", call("slow")).await;
    let id = &created.result()["task"]["taskId"];
    let of = |id: &str| json!({"k": 1, "io.modelcontextprotocol/related-task": {"taskId": id}});
    let params = json!({"message": "Name?", "requestedSchema": {}, "_meta": of("of-somebody-else")});
    let question = json!({"method": "elicitation/create", "params": params});
    tasks.set("native-1", json!({"status": "input_required", "ask": question}));
    let mut result = client.begin("tasks/result", &json!({"taskId": id}));
    let asked = result.next().await;
    assert_eq!((related(&asked["params"]), &asked["params"]["_meta"]["k"]), (&Value::Null, &json!(1)));
    let answer = json!({"action": "accept", "content": {}, "_meta": of("of-somebody-else")});
    client.tell(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": answer})).await;
    let task = tasks.until("native-1", |task| task["answered"].is_object()).await;
    assert_eq!((related(&task["answered"]), &task["answered"]["_meta"]["k"]), (&Value::Null, &json!(1)));
}

#[tokio::test]
async fn a_merged_endpoint_makes_and_cancels_tasks() {
    let (_, old) = rig().await;
    let new = servers::modern(Tasks::default()).await;
    let gateway = gateway([("old", &old), ("new", &new)]);
    let (client, hello) = Client::legacy(&gateway, "/mcp", "2025-11-25", json!({})).await;
    let declared = json!({"cancel": {}, "requests": {"tools": {"call": {}}}});
    assert_eq!(hello["capabilities"]["tasks"], declared);
    let created = client.ask("tools/call", call("old__slow")).await;
    let id = created.result()["task"]["taskId"].as_str().unwrap();
    assert_eq!(client.task("tasks/cancel", id).await.result()["status"], "cancelled");
    assert_eq!(client.task("tasks/get", id).await.result()["taskId"], *id);
    // A server without tasks of this kind takes the call as any other.
    assert_eq!(client.ask("tools/call", call("new__quick")).await.text(), "done at once");
    assert!(new.seen("tools/call")[0].body["params"]["task"].is_null());
    let (_, hello) = Client::legacy(&gateway, "/mcp", "2025-06-18", json!({})).await;
    assert!(hello["capabilities"]["tasks"].is_null(), "{hello}");
}
