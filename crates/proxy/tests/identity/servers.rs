//! Servers that answer, wait for ever, or ask something first.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{
    Answer, Fake, Seen, event, events, greeting, json_answer, refusal, response, status, text,
};

/// Streams on which a server could say more, and whether each is a call's.
type Open = Arc<Mutex<Vec<(bool, mpsc::Sender<String>)>>>;

/// A server of one era. Its tool `echo` answers, `wait` says that it goes on and never ends, `ask` asks its client
/// (legacy), `task` becomes a task (modern).
pub(crate) struct Server {
    pub(crate) fake: Fake,
    open: Open,
}

impl Server {
    pub(crate) async fn modern() -> Self {
        Self::start(true).await
    }

    pub(crate) async fn legacy() -> Self {
        Self::start(false).await
    }

    async fn start(modern: bool) -> Self {
        let open: Open = Arc::default();
        let opened = Arc::clone(&open);
        let fake = Fake::start(move |request| {
            let opened = Arc::clone(&opened);
            async move { answer(&request, modern, &opened) }
        })
        .await;
        Self { fake, open }
    }

    /// Says something on every stream that is open.
    pub(crate) async fn say(&self, message: &Value) {
        let open = self.open.lock().unwrap().clone();
        for (_, stream) in open {
            let _ = stream.send(event(message)).await;
        }
    }

    /// Waits until so many calls wait for their end.
    pub(crate) async fn has_calls(&self, wanted: usize) {
        crate::eventually(|| {
            let open = self.open.lock().unwrap();
            let calls = open.iter().filter(|(is_call, stream)| *is_call && !stream.is_closed());
            (calls.count() == wanted).then_some(())
        })
        .await;
    }

    /// Whether any request ever carried this text in a header.
    pub(crate) fn has_seen(&self, text: &str) -> bool {
        let seen = self.fake.seen.lock().unwrap();
        seen.iter().any(|seen| {
            seen.headers.values().any(|value| String::from_utf8_lossy(value.as_bytes()).contains(text))
                || seen.headers.contains_key("authorization")
                || seen.body.to_string().contains(text)
        })
    }
}

/// A task that has no end.
fn task(result: &impl Fn(Value) -> Answer, kind: &str) -> Answer {
    result(json!({"resultType": kind, "taskId": "native-1", "status": "working", "ttlMs": 60000,
                  "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}))
}

fn answer(request: &Seen, modern: bool, opened: &Open) -> Answer {
    let mut capabilities = json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}});
    if modern {
        capabilities["extensions"] = json!({"io.modelcontextprotocol/tasks": {}});
    }
    let open = || {
        let (stream, answer) = events();
        opened.lock().unwrap().push((request.rpc() == "tools/call", stream.clone()));
        (stream, answer)
    };
    let result = |mut members: Value| {
        if members["resultType"].is_null() {
            members["resultType"] = json!("complete");
        }
        json_answer(&response(request, &members))
    };
    match (&request.method, request.rpc(), request.tool()) {
        (&Method::GET, ..) if !modern => open().1,
        (_, "server/discover", _) if modern => {
            result(json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities,
                          "ttlMs": 0, "cacheScope": "private"}))
        }
        (_, "initialize", _) if !modern => greeting(request, "s", &capabilities),
        (_, "subscriptions/listen", _) if modern => {
            let (stream, answer) = open();
            let subscription = json!({"io.modelcontextprotocol/subscriptionId": request.body["id"]});
            let params =
                json!({"_meta": subscription, "notifications": request.body["params"]["notifications"]});
            let method = "notifications/subscriptions/acknowledged";
            stream.try_send(event(&json!({"jsonrpc": "2.0", "method": method, "params": params}))).unwrap();
            answer
        }
        (_, "tools/list", _) => {
            let tools = ["echo", "wait", "ask", "task"]
                .map(|name| json!({"name": name, "inputSchema": {"type": "object"}}));
            result(json!({"tools": tools, "ttlMs": 0, "cacheScope": "private"}))
        }
        (_, "resources/list", _) => result(
            json!({"resources": [{"uri": "a:one", "name": "one"}], "ttlMs": 0, "cacheScope": "private"}),
        ),
        (_, "resources/templates/list", _) => {
            result(json!({"resourceTemplates": [], "ttlMs": 0, "cacheScope": "private"}))
        }
        (_, "resources/subscribe" | "ping", _) if !modern => json_answer(&response(request, &json!({}))),
        (_, "tools/call", "task") if modern => task(&result, "task"),
        (_, "tasks/get", _) if modern => task(&result, "complete"),
        (_, "tools/call", "echo") => json_answer(&text(request, "echoed")),
        (_, "tools/call", "wait") => {
            let (stream, answer) = open();
            let token = &request.body["params"]["_meta"]["progressToken"];
            if !token.is_null() {
                let params = json!({"progressToken": token, "progress": 1});
                let progress =
                    json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                stream.try_send(event(&progress)).unwrap();
            }
            answer
        }
        (_, "tools/call", "ask") if !modern => {
            let (stream, answer) = open();
            let form = json!({"type": "object", "properties": {"x": {"type": "string"}}});
            let params = json!({"message": "which?", "requestedSchema": form});
            let question =
                json!({"jsonrpc": "2.0", "id": "q1", "method": "elicitation/create", "params": params});
            stream.try_send(event(&question)).unwrap();
            answer
        }
        (&Method::POST, ..) if !request.body["id"].is_null() => refusal(
            if modern { 404 } else { 400 },
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
        ),
        (&Method::DELETE, ..) => status(200),
        _ => status(if modern { 405 } else { 202 }),
    }
}
