//! A server whose tools change when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::fake::{Answer, Fake, Seen, event, events, greeting, json_answer, refusal, response, status};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A tool with one text and one number.
pub(crate) fn tool(name: &str) -> Value {
    json!({"name": name, "x-own": 1, "inputSchema": {"type": "object", "properties":
        {"path": {"type": "string"}, "amount": {"type": "integer"}}}})
}

pub(crate) struct Shop {
    pub(crate) fake: Fake,
    tools: Arc<Mutex<Vec<Value>>>,
    open: Streams,
    /// Calls of the tool `slow` are answered once this is true.
    awake: watch::Sender<bool>,
    hangs_up: Arc<AtomicBool>,
}

type Streams = Arc<Mutex<Vec<(mpsc::Sender<String>, Value)>>>;

impl Shop {
    pub(crate) async fn start(modern: bool, tools: &[&str]) -> Self {
        let tools = Arc::new(Mutex::new(tools.iter().map(|name| tool(name)).collect::<Vec<_>>()));
        let open = Streams::default();
        let (awake, is_awake) = watch::channel(true);
        let hangs_up = Arc::new(AtomicBool::new(false));
        let closes = Arc::clone(&hangs_up);
        let (listed, opened) = (Arc::clone(&tools), Arc::clone(&open));
        let fake = Fake::start(move |request: Seen| {
            let (tools, opened, mut is_awake) =
                (listed.lock().unwrap().clone(), Arc::clone(&opened), is_awake.clone());
            let closes = closes.load(Ordering::Relaxed) && request.rpc() == "tools/call";
            async move {
                if closes {
                    return status(500);
                }
                if request.tool() == "slow" {
                    let _ = is_awake.wait_for(|awake| *awake).await;
                }
                answer(&request, &tools, modern, &opened).await
            }
        })
        .await;
        Self { fake, tools, open, awake, hangs_up }
    }

    pub(crate) async fn modern(tools: &[&str]) -> Self {
        Self::start(true, tools).await
    }

    pub(crate) async fn legacy(tools: &[&str]) -> Self {
        Self::start(false, tools).await
    }

    /// Has these tools from now on, and says so.
    pub(crate) async fn sells(&self, tools: Vec<Value>) {
        *self.tools.lock().unwrap() = tools;
        let streams = self.open.lock().unwrap().clone();
        for (stream, id) in streams {
            let params = if id.is_null() { json!({}) } else { json!({"_meta": {SUBSCRIPTION: id}}) };
            let told =
                json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": params});
            let _ = stream.send(event(&told)).await;
        }
    }

    /// Sells these no more, and says nothing of it.
    pub(crate) fn forgets(&self, names: &[&str]) {
        self.tools.lock().unwrap().retain(|tool| names.iter().all(|name| tool["name"] != *name));
    }

    /// Whether calls are answered by a status that says nothing.
    pub(crate) fn hangs_up(&self, hangs_up: bool) {
        self.hangs_up.store(hangs_up, Ordering::Relaxed);
    }

    pub(crate) fn set_awake(&self, awake: bool) {
        self.awake.send_replace(awake);
    }

    /// Whether anybody listens to it.
    pub(crate) fn is_heard(&self) -> bool {
        self.listeners() > 0
    }

    /// How many listen to it.
    pub(crate) fn listeners(&self) -> usize {
        self.open.lock().unwrap().iter().filter(|(stream, _)| !stream.is_closed()).count()
    }

    /// How many requests of this method it has got from callers, not from the gateway itself.
    pub(crate) fn asked(&self, method: &str) -> usize {
        self.fake.seen(method).len()
    }
}

async fn answer(
    request: &Seen,
    tools: &[Value],
    modern: bool,
    opened: &Mutex<Vec<(mpsc::Sender<String>, Value)>>,
) -> Answer {
    let capabilities = json!({"tools": {"listChanged": true}, "prompts": {}, "completions": {},
        "resources": {"subscribe": true}, "extensions": {"io.modelcontextprotocol/tasks": {}}});
    let result = |result: &Value| json_answer(&response(request, result));
    let task = json!({"resultType": "task", "taskId": "t-1", "status": "working",
        "createdAt": "2026-11-25T00:00:00Z", "lastUpdatedAt": "2026-11-25T00:00:00Z", "ttlMs": 60_000});
    let list = |member: &str, items: Value| {
        let mut list = json!({"resultType": "complete", "ttlMs": 60_000, "cacheScope": "public"});
        list[member] = items;
        result(&list)
    };
    match (&request.method, request.rpc()) {
        (&Method::GET, _) if !modern => {
            let (stream, answer) = events();
            opened.lock().unwrap().push((stream, Value::Null));
            answer
        }
        (_, "server/discover") if modern => result(&json!({"supportedVersions": ["2026-07-28"],
            "capabilities": capabilities, "instructions": "Shop here."})),
        (_, "initialize") if !modern => greeting(request, "s", &capabilities),
        (_, "subscriptions/listen") if modern => {
            let filter = request.body["params"]["notifications"].clone();
            let (stream, answer) = events();
            let id = request.body["id"].clone();
            let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": {SUBSCRIPTION: id}, "notifications": filter}});
            stream.send(event(&acknowledged)).await.unwrap();
            opened.lock().unwrap().push((stream, id));
            answer
        }
        (_, "resources/subscribe" | "resources/unsubscribe" | "ping" | "logging/setLevel") => {
            result(&json!({}))
        }
        (_, "tools/list") => list("tools", json!(tools)),
        (_, "prompts/list") => list("prompts", json!([{"name": "greet"}, {"name": "insult"}])),
        (_, "resources/list") => list(
            "resources",
            json!([{"uri": "shop://open", "name": "o"},
            {"uri": "shop://safe", "name": "s"}]),
        ),
        (_, "resources/templates/list") => {
            list("resourceTemplates", json!([{"uriTemplate": "shop://open/{id}", "name": "t"}]))
        }
        (_, "tools/call") if tools.iter().all(|tool| tool["name"] != request.tool()) => {
            json_answer(&json!({"jsonrpc": "2.0", "id": request.body["id"],
                "error": {"code": -32602, "message": "the shop's own words for no such tool"}}))
        }
        (_, "tools/call") if request.tool() == "later" => result(&task),
        (_, "tasks/get") => {
            let mut task = task;
            task["resultType"] = json!("complete");
            result(&task)
        }
        (_, "tools/call") => {
            let said = request.body["params"]["arguments"].to_string();
            let mut told = json!({"resultType": "complete", "content": [{"type": "text", "text": said}]});
            if tools.iter().any(|tool| tool["name"] == request.tool() && tool["outputSchema"].is_object()) {
                told["structuredContent"] = request.body["params"]["arguments"].clone();
            }
            result(&told)
        }
        (_, "prompts/get") => result(&json!({"resultType": "complete", "messages": []})),
        (_, "resources/read") => {
            result(&json!({"resultType": "complete", "contents": [], "ttlMs": 0, "cacheScope": "private"}))
        }
        (_, "completion/complete") => {
            result(&json!({"resultType": "complete", "completion": {"values": ["x"]}}))
        }
        (&Method::POST, _) if !request.body["id"].is_null() => refusal(
            if modern { 404 } else { 400 },
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
        ),
        _ => status(if modern { 405 } else { 202 }),
    }
}
