//! A modern client in front of a modern server.

use serde_json::json;

use crate::rig::{Client, TASKS, gateway};
use crate::servers::{self, Tasks};

#[tokio::test]
async fn a_task_is_followed_under_an_id_of_the_gateways() {
    let tasks = Tasks::default();
    let (one, two) = (servers::modern(tasks.clone()).await, servers::modern(Tasks::default()).await);
    let gateway = gateway([("one", &one), ("two", &two)]);
    for (path, tool) in [("/mcp", "one__slow"), ("/mcp/one", "slow")] {
        let client = Client::with_tasks(&gateway, path);
        let created = client.call(tool).await;
        let created = created.result();
        assert_eq!((&created["resultType"], &created["status"]), (&json!("task"), &json!("working")));
        assert_eq!(created["x-own"], json!([1.50]), "what nobody here knows stays");
        let id = created["taskId"].as_str().unwrap();
        let native = one.seen("tools/call").len();
        let native = format!("native-{native}");
        assert!(!id.contains(&native), "{id}");

        let working = client.task("tasks/get", id).await;
        assert_eq!(working.result()["taskId"], id, "a client compares ids");
        assert_eq!(working.result()["resultType"], "complete");
        let asked = one.seen("tasks/get").pop().unwrap();
        assert_eq!(
            (asked.body["params"]["taskId"].as_str(), asked.header("mcp-name")),
            (Some(&*native), &*native)
        );

        let request = json!({"method": "elicitation/create", "params": {"message": "who?"}});
        tasks.set(&native, json!({"status": "input_required", "inputRequests": {"a": request}}));
        assert_eq!(client.task("tasks/get", id).await.result()["inputRequests"]["a"], request);
        let given = json!({"taskId": id, "inputResponses": {"a": {"action": "accept"}}});
        assert_eq!(client.ask("tasks/update", given).await.result()["resultType"], "complete");
        let updated = one.seen("tasks/update").pop().unwrap();
        assert_eq!(updated.body["params"]["inputResponses"], json!({"a": {"action": "accept"}}));
        assert_eq!(updated.body["params"]["taskId"], native);

        let result = json!({"content": [{"type": "text", "text": "ready"}], "isError": true});
        tasks.set(&native, json!({"status": "completed", "result": result}));
        assert_eq!(client.task("tasks/get", id).await.result()["result"], result);
        assert_eq!(client.task("tasks/cancel", id).await.result()["resultType"], "complete");
        assert_eq!(one.seen("tasks/cancel").pop().unwrap().body["params"]["taskId"], native);
    }
    assert!(two.seen("tasks/get").is_empty(), "the id names its server");
}

#[tokio::test]
async fn an_id_is_known_where_its_server_is_and_nowhere_else() {
    let (one, two) = (servers::modern(Tasks::default()).await, servers::modern(Tasks::default()).await);
    let all = gateway([("one", &one), ("two", &two)]);
    let other = gateway([("one", &one)]);
    let created = Client::with_tasks(&all, "/mcp/one").call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap().to_owned();
    for path in ["/mcp", "/mcp/one"] {
        assert_eq!(Client::with_tasks(&all, path).task("tasks/get", &id).await.result()["taskId"], *id);
    }
    let mut forged = id.clone();
    forged.replace_range(20..21, if &id[20..21] == "A" { "B" } else { "A" });
    let asked = one.seen("tasks/get").len();
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        for (gateway, path, id) in [
            (&all, "/mcp/two", &*id),
            (&all, "/mcp", &*forged),
            (&all, "/mcp", "native-1"),
            (&other, "/mcp/one", &*id),
        ] {
            let answer = Client::with_tasks(gateway, path).task(method, id).await;
            assert_eq!((answer.status, answer.code()), (200, -32602), "{method} {path} {id}");
        }
    }
    assert_eq!(one.seen("tasks/get").len(), asked, "none of it reached a server");
}

#[tokio::test]
async fn who_does_not_declare_the_extension_may_not_use_it() {
    let one = servers::modern(Tasks::default()).await;
    let gateway = gateway([("one", &one)]);
    let created = Client::with_tasks(&gateway, "/mcp/one").call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap().to_owned();
    let plain = Client::modern(&gateway, "/mcp/one", json!({"extensions": {}}));
    for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
        let answer = plain.task(method, &id).await;
        assert_eq!((answer.status, answer.code()), (400, -32021));
        let required = &answer.response["error"]["data"]["requiredCapabilities"];
        assert_eq!(*required, json!({"extensions": {TASKS: {}}}));
    }
    let listen = json!({"notifications": {"taskIds": [id]}});
    let answer = plain.ask("subscriptions/listen", listen).await;
    assert_eq!((answer.status, answer.code()), (400, -32021), "{answer:?}");
    assert_eq!(plain.call("slow").await.text(), "done at once");
    let able = Client::with_tasks(&gateway, "/mcp/one");
    for method in ["tasks/list", "tasks/result"] {
        let answer = able.task(method, &id).await;
        assert_eq!((answer.status, answer.code()), (404, -32601), "{method} is none of this era's");
    }
    let named = able.ask_named("tasks/get", json!({"taskId": id}), Some("native-1")).await;
    assert_eq!((named.status, named.code()), (400, -32020));
    let unnamed = able.ask_named("tasks/get", json!({"taskId": id}), None).await;
    assert_eq!((unnamed.status, unnamed.code()), (400, -32020));
}

#[tokio::test]
async fn the_extension_is_declared_where_it_is_carried() {
    let one = servers::modern(Tasks::default()).await;
    let gateway = gateway([("one", &one)]);
    for path in ["/mcp", "/mcp/one"] {
        let said = Client::modern(&gateway, path, json!({})).ask("server/discover", json!({})).await;
        assert_eq!(said.result()["capabilities"]["extensions"][TASKS], json!({}), "{path}");
        let (_, hello) = Client::legacy(&gateway, path, "2025-11-25", json!({})).await;
        assert!(hello["capabilities"]["tasks"].is_null(), "{path}: {hello}");
        assert!(hello["capabilities"]["extensions"][TASKS].is_null(), "{path}: {hello}");
    }
}

#[tokio::test]
async fn what_becomes_of_a_task_is_heard_under_the_clients_id() {
    let tasks = Tasks::default();
    let one = servers::modern(tasks.clone()).await;
    let gateway = gateway([("one", &one)]);
    let client = Client::with_tasks(&gateway, "/mcp");
    let created = client.call("one__slow").await;
    let id = &created.result()["taskId"];
    let asked = json!({"notifications": {"taskIds": [id, "native-1"]}});
    let mut stream = client.begin("subscriptions/listen", &asked);
    assert_eq!(stream.next().await["params"]["notifications"], json!({"taskIds": [id]}));
    let listen = one.wait_for("subscriptions/listen").await;
    assert_eq!(listen.body["params"]["notifications"]["taskIds"], json!(["native-1"]));
    let subscription = json!({"io.modelcontextprotocol/subscriptionId": listen.body["id"]});
    let said = json!({"_meta": subscription, "taskId": "native-1", "status": "cancelled", "createdAt": "c",
                      "lastUpdatedAt": "l", "ttlMs": null});
    tasks.say(&json!({"jsonrpc": "2.0", "method": "notifications/tasks", "params": said})).await;
    let told = stream.next().await;
    assert_eq!((&told["method"], &told["params"]["taskId"]), (&json!("notifications/tasks"), id));
    assert_eq!(told["params"]["status"], "cancelled");
}
