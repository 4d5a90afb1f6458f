//! A server that says how long its answers keep, and for whom; and whose answers tell when they were given, and to whom.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tollgate_model::ServerName;
use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

use crate::fake::{Answer, Fake, Seen, event, events, greeting, json_answer, refusal, response, status};

const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// How the server is just now.
#[derive(Debug, Clone)]
pub(crate) struct Mood {
    pub(crate) ttl_ms: u64,
    pub(crate) scope: &'static str,
    /// Nothing but this status is to be had.
    pub(crate) down: Option<u16>,
    /// Tools say that they failed.
    pub(crate) fails: bool,
    /// The names of the tools. What each says of itself is for whom the list was made.
    pub(crate) tools: Vec<String>,
}

impl Default for Mood {
    fn default() -> Self {
        Self {
            ttl_ms: 3_600_000,
            scope: "public",
            down: None,
            fails: false,
            tools: vec!["find".to_owned(), "wipe".to_owned()],
        }
    }
}

pub(crate) struct Pantry {
    pub(crate) fake: Fake,
    pub(crate) mood: Arc<Mutex<Mood>>,
    open: Streams,
    awake: watch::Sender<bool>,
}

type Streams = Arc<Mutex<Vec<(mpsc::Sender<String>, Value)>>>;

impl Pantry {
    pub(crate) async fn modern() -> Self {
        Self::start(true).await
    }

    pub(crate) async fn legacy() -> Self {
        Self::start(false).await
    }

    async fn start(modern: bool) -> Self {
        let mood = Arc::new(Mutex::new(Mood::default()));
        let open = Streams::default();
        let (awake, is_awake) = watch::channel(true);
        let (now, opened) = (Arc::clone(&mood), Arc::clone(&open));
        let sessions = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let fake = Fake::start(move |request: Seen| {
            let (now, opened, mut is_awake) = (Arc::clone(&now), Arc::clone(&opened), is_awake.clone());
            let sessions = Arc::clone(&sessions);
            async move {
                if ["tools/list", "resources/read", "tools/call"].contains(&request.rpc()) {
                    let _ = is_awake.wait_for(|awake| *awake).await;
                }
                let mood = now.lock().unwrap().clone();
                if let Some(code) = mood.down {
                    return status(code);
                }
                if request.rpc() == "initialize" && !modern {
                    let number = sessions.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    return greeting(&request, &format!("s{number}"), &capabilities());
                }
                answer(&request, &mood, modern, &opened).await
            }
        })
        .await;
        Self { fake, mood, open, awake }
    }

    pub(crate) fn settings(&self, name: &str) -> ServerSettings {
        let transport = Transport::Http(HttpSettings::new(self.fake.url()));
        let mut settings = ServerSettings::new(ServerName::new(name).unwrap(), transport);
        settings.timeouts.backoff_min = std::time::Duration::from_millis(20);
        settings.retries.max = 0;
        settings
    }

    pub(crate) fn is(&self, change: impl FnOnce(&mut Mood)) {
        change(&mut self.mood.lock().unwrap());
    }

    /// From now on lists, reads and calls are answered, or are left waiting.
    pub(crate) fn set_awake(&self, awake: bool) {
        self.awake.send_replace(awake);
    }

    /// How often it was asked.
    pub(crate) fn asked(&self, method: &str) -> usize {
        self.fake.seen(method).len()
    }

    /// Whether anybody listens to it.
    pub(crate) fn is_heard(&self) -> bool {
        self.open.lock().unwrap().iter().any(|(stream, _)| !stream.is_closed())
    }

    /// Tells on every open stream.
    pub(crate) async fn tells(&self, method: &str, params: Value) {
        let streams = self.open.lock().unwrap().clone();
        for (stream, id) in streams {
            let mut params = params.clone();
            if !id.is_null() {
                params["_meta"][SUBSCRIPTION] = id;
            }
            let told = json!({"jsonrpc": "2.0", "method": method, "params": params});
            let _ = stream.send(event(&told)).await;
        }
    }
}

fn capabilities() -> Value {
    json!({"tools": {"listChanged": true}, "prompts": {"listChanged": true},
           "resources": {"listChanged": true, "subscribe": true}})
}

/// Whoever asks, in the client's own words, or by the session.
fn whose(request: &Seen) -> String {
    let info = &request.body["params"]["_meta"]["io.modelcontextprotocol/clientInfo"]["name"];
    info.as_str().map_or_else(|| request.header("mcp-session-id").to_owned(), str::to_owned)
}

async fn answer(request: &Seen, mood: &Mood, modern: bool, opened: &Streams) -> Answer {
    let result = |mut value: Value| {
        value["resultType"] = json!("complete");
        if modern {
            value["ttlMs"] = json!(mood.ttl_ms);
            value["cacheScope"] = json!(mood.scope);
        }
        json_answer(&response(request, &value))
    };
    let whose = whose(request);
    match (&request.method, request.rpc()) {
        (&Method::GET, _) if !modern => {
            let (stream, answer) = events();
            opened.lock().unwrap().push((stream, Value::Null));
            answer
        }
        (_, "server/discover") if modern => {
            result(json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities()}))
        }
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
        (_, "tools/list") => {
            let made_for = format!("for {whose}");
            let tool = |name: &String| {
                json!({"name": name, "description": made_for, "inputSchema": {"type": "object", "properties":
                    {"path": {"type": "string"}}}})
            };
            let tools: Vec<Value> = mood.tools.iter().map(tool).collect();
            result(json!({ "tools": tools }))
        }
        (_, "resources/list") => result(json!({"resources": [{"uri": "memo://one", "name": "one"}]})),
        (_, "resources/templates/list") => result(json!({"resourceTemplates": []})),
        (_, "prompts/list") => result(json!({"prompts": []})),
        (_, "resources/read") => {
            let uri = &request.body["params"]["uri"];
            result(json!({"contents": [{"uri": uri, "text": format!("for {whose}")}]}))
        }
        (_, "tools/call") => {
            let text = format!("{} for {whose}", request.body["params"]["arguments"]);
            let content = json!([{"type": "text", "text": text}]);
            let mut value = json!({"resultType": "complete", "content": content});
            if mood.fails {
                value["isError"] = json!(true);
            }
            json_answer(&response(request, &value))
        }
        (_, "resources/subscribe" | "resources/unsubscribe" | "ping" | "logging/setLevel") => {
            json_answer(&response(request, &json!({})))
        }
        (&Method::POST, _) if !request.body["id"].is_null() => refusal(
            if modern { 404 } else { 400 },
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
        ),
        _ => status(if modern { 405 } else { 202 }),
    }
}
