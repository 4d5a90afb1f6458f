//! Servers whose tool `slow` becomes a task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::fake::{Answer, Fake, Seen, event, events, json_answer, refusal, response, status};
use crate::rig::TASKS;

/// The tasks of one server.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// What `tasks/get` says of each, beside its id.
    tasks: Mutex<BTreeMap<String, Value>>,
    changed: watch::Sender<u64>,
    /// The GET stream of a legacy session.
    stream: Mutex<Option<mpsc::Sender<String>>>,
}

impl Tasks {
    /// Changes what is said of a task.
    pub(crate) fn set(&self, id: &str, members: Value) {
        self.0.tasks.lock().unwrap().insert(id.to_owned(), members);
        self.0.changed.send_modify(|n| *n += 1);
    }

    pub(crate) fn get(&self, id: &str) -> Option<Value> {
        self.0.tasks.lock().unwrap().get(id).cloned()
    }

    /// Waits until a task is as it should be.
    pub(crate) async fn until(&self, id: &str, is: impl Fn(&Value) -> bool) -> Value {
        let mut changes = self.0.changed.subscribe();
        loop {
            if let Some(task) = self.get(id).filter(|task| is(task)) {
                return task;
            }
            let _ = changes.changed().await;
        }
    }

    /// Says something on the GET stream.
    pub(crate) async fn say(&self, message: &Value) {
        let stream = crate::eventually(|| self.0.stream.lock().unwrap().clone()).await;
        stream.send(event(message)).await.unwrap();
    }

    fn create(&self) -> String {
        let mut tasks = self.0.tasks.lock().unwrap();
        let id = format!("native-{}", tasks.len() + 1);
        tasks.entry(id.clone()).or_insert_with(|| json!({"status": "working"}));
        id
    }
}

fn with(mut object: Value, members: &Value) -> Value {
    object.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    object
}

/// A modern server. It gives tasks only to whoever declares the extension, and insists on `Mcp-Name`.
pub(crate) async fn modern(tasks: Tasks) -> Fake {
    Fake::start(move |request| {
        let tasks = tasks.clone();
        async move { modern_answer(&tasks, &request) }
    })
    .await
}

fn modern_answer(tasks: &Tasks, request: &Seen) -> Answer {
    let params = &request.body["params"];
    let error = |status, error: Value| {
        refusal(status, &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": error}))
    };
    let result =
        |members: Value| json_answer(&response(request, &with(json!({"resultType": "complete"}), &members)));
    let declared =
        params["_meta"]["io.modelcontextprotocol/clientCapabilities"]["extensions"][TASKS].is_object();
    let detail = |id: &str, members: &Value| {
        let task = json!({"taskId": id, "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z",
                          "ttlMs": 60000, "pollIntervalMs": 10, "x-own": [1.50]});
        with(task, members)
    };
    if request.rpc().starts_with("tasks/") {
        if !declared {
            return error(
                400,
                json!({"code": -32021, "message": "no", "data": {"requiredCapabilities": {}}}),
            );
        }
        let id = params["taskId"].as_str().unwrap_or_default();
        if request.header("mcp-name") != id {
            return error(400, json!({"code": -32020, "message": "Mcp-Name"}));
        }
        let Some(members) = tasks.get(id) else {
            return error(200, json!({"code": -32602, "message": "no such task"}));
        };
        return match request.rpc() {
            "tasks/get" => result(detail(id, &members)),
            "tasks/cancel" => {
                tasks.set(id, json!({"status": "cancelled"}));
                result(json!({}))
            }
            _ => result(json!({})),
        };
    }
    match (request.rpc(), request.tool()) {
        ("server/discover", _) => result(json!({"supportedVersions": ["2026-07-28"],
            "capabilities": {"tools": {}, "extensions": {TASKS: {}}}, "ttlMs": 0, "cacheScope": "public"})),
        ("subscriptions/listen", _) => {
            let (sender, answer) = events();
            let subscription = json!({"io.modelcontextprotocol/subscriptionId": request.body["id"]});
            let granted = json!({"_meta": subscription, "notifications": params["notifications"]});
            let method = "notifications/subscriptions/acknowledged";
            sender.try_send(event(&json!({"jsonrpc": "2.0", "method": method, "params": granted}))).unwrap();
            *tasks.0.stream.lock().unwrap() = Some(sender);
            answer
        }
        ("tools/call", "slow") if declared => {
            let id = tasks.create();
            let task = detail(&id, &tasks.get(&id).unwrap());
            json_answer(&response(request, &with(json!({"resultType": "task"}), &task)))
        }
        ("tools/call", _) => result(json!({"content": [{"type": "text", "text": "done at once"}]})),
        _ => error(404, json!({"code": -32601, "message": "Method not found"})),
    }
}

/// A legacy server of 2025-11-25, whose tools `slow` and `must` can and have to become tasks.
pub(crate) async fn legacy(tasks: Tasks) -> Fake {
    Fake::start(move |request| {
        let tasks = tasks.clone();
        async move { legacy_answer(&tasks, &request) }
    })
    .await
}

fn is_over(task: &Value) -> bool {
    matches!(task["status"].as_str(), Some("completed" | "failed" | "cancelled"))
}

fn legacy_answer(tasks: &Tasks, request: &Seen) -> Answer {
    let params = &request.body["params"];
    let error = |code: i64| {
        json_answer(
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": code, "message": "no"}}),
        )
    };
    let result = |members: Value| json_answer(&response(request, &members));
    if request.method == http::Method::GET {
        let (sender, answer) = events();
        *tasks.0.stream.lock().unwrap() = Some(sender);
        return answer;
    }
    if request.body["method"].is_null() || request.body["id"].is_null() {
        if let Some(answer) = request.body["result"].as_object() {
            // The answer to a question of the server's: its id is the task's.
            let id = request.body["id"].as_str().unwrap();
            tasks.set(id, json!({"status": "working", "answered": answer}));
        }
        return status(202);
    }
    let detail = |id: &str| {
        let mut task = tasks.get(id).unwrap();
        task.as_object_mut().unwrap().retain(|key, _| matches!(&**key, "status" | "statusMessage"));
        let own = json!({"taskId": id, "createdAt": "2025-01-01T00:00:00Z", "lastUpdatedAt": "2025-01-01T00:00:00Z",
                         "ttl": 60000, "pollInterval": 10, "x-own": [1.50]});
        with(own, &task)
    };
    let id = params["taskId"].as_str().unwrap_or_default();
    if matches!(request.rpc(), "tasks/get" | "tasks/result" | "tasks/cancel") && tasks.get(id).is_none() {
        return error(-32602);
    }
    match (request.rpc(), request.tool()) {
        ("initialize", _) => {
            let mut answer = result(
                json!({"protocolVersion": "2025-11-25", "serverInfo": {"name": "old", "version": "1"},
                "capabilities": {"tools": {}, "tasks": {"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}}}}),
            );
            answer.headers_mut().insert("mcp-session-id", "the-session".parse().unwrap());
            answer
        }
        ("tools/list", _) => {
            let tool = |name: &str, support: &str| json!({"name": name, "inputSchema": {"type": "object"}, "execution": {"taskSupport": support}});
            let plain = json!({"name": "quick", "inputSchema": {"type": "object"}});
            result(json!({"tools": [tool("slow", "optional"), tool("must", "required"), plain]}))
        }
        ("tools/call", "slow") if tasks.get("numbered").is_some() => {
            result(json!({"task": {"taskId": 7, "status": "working"}}))
        }
        ("tools/call", "slow" | "must") if params["task"].is_object() => {
            let id = tasks.create();
            result(json!({"task": detail(&id), "_meta": {"k": 1}}))
        }
        ("tools/call", "must") => error(-32601),
        ("tools/call", _) => result(json!({"content": [{"type": "text", "text": "done at once"}]})),
        ("tasks/get", _) => result(detail(id)),
        ("tasks/list", _) => {
            let all: Vec<String> = tasks.0.tasks.lock().unwrap().keys().cloned().collect();
            result(json!({"tasks": all.iter().map(|id| detail(id)).collect::<Vec<_>>(), "nextCursor": "n"}))
        }
        ("tasks/cancel", _) if is_over(&tasks.get(id).unwrap()) => error(-32602),
        ("tasks/cancel", _) => {
            tasks.set(id, json!({"status": "cancelled"}));
            result(detail(id))
        }
        ("tasks/result", _) => task_result(tasks, request, id.to_owned()),
        _ => error(-32601),
    }
}

/// The stream of a task's result: a question, if the task is waiting for one, and the result at its end.
fn task_result(tasks: &Tasks, request: &Seen, id: String) -> Answer {
    let (sender, answer) = events();
    let (tasks, request) = (tasks.clone(), request.clone());
    tokio::spawn(async move {
        let related = json!({"io.modelcontextprotocol/related-task": {"taskId": id}});
        loop {
            let task = tasks.until(&id, |task| is_over(task) || task["ask"].is_object()).await;
            if task["ask"].is_object() {
                let mut question = task["ask"].clone();
                question["id"] = json!(id);
                question["jsonrpc"] = json!("2.0");
                if question["params"]["_meta"].is_null() {
                    question["params"]["_meta"] = related.clone();
                }
                tasks.set(&id, json!({"status": "input_required"}));
                let _ = sender.send(event(&question)).await;
                continue;
            }
            let message = if task["error"].is_object() {
                json!({"jsonrpc": "2.0", "id": request.body["id"], "error": task["error"]})
            } else {
                let result = json!({"content": [{"type": "text", "text": "ready"}],
                                    "isError": task["status"] == "failed", "_meta": related});
                response(&request, &result)
            };
            let _ = sender.send(event(&message)).await;
            return;
        }
    });
    answer
}
