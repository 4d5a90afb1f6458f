//! Servers whose resources change when a test says so.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::eventually;
use crate::fake::{Answer, Fake, Seen, event, events, greeting, json_answer, refusal, response, status};

pub(crate) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

/// A server with these resources. `a:secret` is never granted.
pub(crate) struct Watched {
    pub(crate) fake: Fake,
    open: Arc<Mutex<Vec<Open>>>,
    /// Whether it answers to subscriptions now.
    awake: watch::Sender<bool>,
}

struct Open {
    stream: mpsc::Sender<String>,
    /// The listen request's id and filter; null for a legacy session's stream.
    id: Value,
    filter: Value,
}

impl Watched {
    pub(crate) async fn modern(uris: &'static [&'static str]) -> Self {
        Self::start(uris, true, true).await
    }

    pub(crate) async fn legacy(uris: &'static [&'static str]) -> Self {
        Self::start(uris, false, true).await
    }

    /// A legacy server that declares no subscriptions.
    pub(crate) async fn plain(uris: &'static [&'static str]) -> Self {
        Self::start(uris, false, false).await
    }

    async fn start(uris: &'static [&'static str], modern: bool, watched: bool) -> Self {
        let open = Arc::default();
        let opened = Arc::clone(&open);
        let (awake, is_awake) = watch::channel(true);
        let fake = Fake::start(move |request: Seen| {
            let opened = Arc::clone(&opened);
            let mut is_awake = is_awake.clone();
            async move {
                if request.rpc() == "resources/subscribe" {
                    let _ = is_awake.wait_for(|awake| *awake).await;
                }
                answer(&request, uris, modern, watched, &opened).await
            }
        })
        .await;
        Self { fake, open, awake }
    }

    /// From now on `resources/subscribe` is answered, or is left waiting.
    pub(crate) fn set_awake(&self, awake: bool) {
        self.awake.send_replace(awake);
    }

    /// The filters of the streams that are open now.
    pub(crate) fn filters(&self) -> Vec<Value> {
        let mut open = self.open.lock().unwrap();
        open.retain(|open| !open.stream.is_closed());
        open.iter().map(|open| open.filter.clone()).collect()
    }

    /// Waits until these are the filters of the streams that are open.
    pub(crate) async fn is_asked(&self, filters: &Value) {
        let mut last = Vec::new();
        let asked = eventually(|| {
            last = self.filters();
            (json!(last) == *filters).then_some(())
        });
        let asked = tokio::time::timeout(crate::LONG / 2, asked).await;
        assert!(asked.is_ok(), "asked for {}", json!(last));
    }

    /// Tells on every open stream, as a server of its era does.
    pub(crate) async fn tell(&self, method: &str, params: Value) {
        let streams: Vec<_> = {
            let open = self.open.lock().unwrap();
            open.iter().map(|open| (open.stream.clone(), open.id.clone())).collect()
        };
        for (stream, id) in streams {
            let mut params = params.clone();
            if !id.is_null() {
                params["_meta"][SUBSCRIPTION] = id;
            }
            let _ = stream.send(event(&json!({"jsonrpc": "2.0", "method": method, "params": params}))).await;
        }
    }

    pub(crate) async fn touch(&self, uri: &str) {
        self.tell("notifications/resources/updated", json!({"uri": uri, "x-own": 1})).await;
    }
}

async fn answer(
    request: &Seen,
    uris: &[&str],
    modern: bool,
    watched: bool,
    opened: &Mutex<Vec<Open>>,
) -> Answer {
    let capabilities = if watched {
        json!({"tools": {"listChanged": true}, "resources": {"subscribe": true}})
    } else {
        json!({"tools": {}, "resources": {}})
    };
    let result = |result: &Value| json_answer(&response(request, result));
    match (&request.method, request.rpc()) {
        (&Method::GET, _) if !modern => {
            let (stream, answer) = events();
            opened.lock().unwrap().push(Open { stream, id: Value::Null, filter: Value::Null });
            answer
        }
        (_, "server/discover") if modern => {
            result(&json!({"supportedVersions": ["2026-07-28"], "capabilities": capabilities}))
        }
        (_, "initialize") if !modern => greeting(request, "s", &capabilities),
        (_, "subscriptions/listen") if modern => {
            let mut filter = request.body["params"]["notifications"].clone();
            if let Some(uris) = filter.get_mut("resourceSubscriptions").and_then(Value::as_array_mut) {
                uris.retain(|uri| uri != "a:secret");
            }
            let (stream, answer) = events();
            let id = request.body["id"].clone();
            let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                "params": {"_meta": {SUBSCRIPTION: id}, "notifications": filter}});
            stream.send(event(&acknowledged)).await.unwrap();
            opened.lock().unwrap().push(Open { stream, id, filter });
            answer
        }
        (_, "resources/subscribe") if request.body["params"]["uri"] == "a:secret" => json_answer(
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32042, "message": "no", "data": 1.50}}),
        ),
        (_, "resources/subscribe" | "resources/unsubscribe" | "ping") if !modern => result(&json!({})),
        (_, "resources/list") => {
            let resources: Vec<Value> = uris.iter().map(|uri| json!({"uri": uri, "name": uri})).collect();
            result(
                &json!({"resultType": "complete", "resources": resources, "ttlMs": 0, "cacheScope": "private"}),
            )
        }
        (_, "resources/templates/list") => result(
            &json!({"resultType": "complete", "resourceTemplates": [], "ttlMs": 0, "cacheScope": "private"}),
        ),
        (&Method::POST, _) if !request.body["id"].is_null() => refusal(
            if modern { 404 } else { 400 },
            &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
        ),
        _ => status(if modern { 405 } else { 202 }),
    }
}
