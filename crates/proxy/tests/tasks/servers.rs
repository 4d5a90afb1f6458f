//! Servers whose tool `slow` becomes a task.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake::{Answer, Fake, Seen, json_answer, refusal, response};
use crate::rig::TASKS;

/// The tasks of one server: what `tasks/get` says of each, beside its id.
#[derive(Clone, Default)]
pub(crate) struct Tasks(Arc<Mutex<BTreeMap<String, Value>>>);

impl Tasks {
    /// Changes what is said of a task.
    pub(crate) fn set(&self, id: &str, members: Value) {
        self.0.lock().unwrap().insert(id.to_owned(), members);
    }

    fn get(&self, id: &str) -> Option<Value> {
        self.0.lock().unwrap().get(id).cloned()
    }

    fn create(&self) -> String {
        let mut tasks = self.0.lock().unwrap();
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
        ("tools/call", "slow") if declared => {
            let id = tasks.create();
            let task = detail(&id, &tasks.get(&id).unwrap());
            json_answer(&response(request, &with(json!({"resultType": "task"}), &task)))
        }
        ("tools/call", _) => result(json!({"content": [{"type": "text", "text": "done at once"}]})),
        _ => error(404, json!({"code": -32601, "message": "Method not found"})),
    }
}
