use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tollgate_model::{Era, Revision};
use tollgate_upstream::{EventKind, HttpSettings, Transport, UpstreamError};

use crate::fake::{Answer, Fake, Seen, event, events, response, status, text};
use crate::{anyone, call, eventually, http, server, settings, text_of, tool_call};

/// A server of 2024-11-05: GET opens the stream, POSTs to its endpoint are answered there.
#[derive(Clone, Default)]
struct Old {
    stream: Arc<Mutex<Option<mpsc::Sender<String>>>>,
    endpoint: Option<&'static str>,
}

impl Old {
    async fn answer(self, request: Seen) -> Answer {
        if request.method == Method::GET {
            let (sender, answer) = events();
            let endpoint = self.endpoint.unwrap_or("/messages?session=1");
            sender.send(format!("event: endpoint\ndata: {endpoint}\n\n")).await.unwrap();
            *self.stream.lock().unwrap() = Some(sender);
            return answer;
        }
        if request.path != "/messages?session=1" {
            return status(405);
        }
        let stream = self.stream.lock().unwrap().clone().unwrap();
        let reply = match request.rpc() {
            "initialize" => response(
                &request,
                &json!({"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "old", "version": "1"}}),
            ),
            "tools/call" if request.tool() == "echo" => {
                text(&request, &request.body["params"]["arguments"].to_string())
            }
            "tools/call" if request.tool() == "hang" => return status(202),
            "tools/call" if request.tool() == "die" => {
                *self.stream.lock().unwrap() = None;
                return status(202);
            }
            "tools/call" => {
                let change = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
                stream.send(event(&change)).await.unwrap();
                text(&request, "done")
            }
            _ => return status(202),
        };
        // Before the POST is answered: the answer may well be the first to arrive.
        stream.send(event(&reply)).await.unwrap();
        status(202)
    }

    async fn serve(&self) -> Fake {
        let old = self.clone();
        Fake::start(move |request| old.clone().answer(request)).await
    }
}

#[tokio::test]
async fn an_old_server_is_found_and_its_calls_do_not_mix() {
    let old = Old::default();
    let fake = old.serve().await;
    let (server, mut events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!((link.era(), link.revision()), (Era::Legacy, Revision::V2024_11_05));
    let calls = (0..30).map(|number| {
        let link = link.clone();
        async move { (number.to_string(), text_of(&link, "echo", &json!(number)).await) }
    });
    for (sent, received) in futures_util::future::join_all(calls).await {
        assert_eq!(sent, received);
    }
    call(&link, "change", &json!({})).await.unwrap();
    assert_eq!(events.recv().await.unwrap().kind, EventKind::ToolsChanged);
    assert!(fake.seen("tools/call").iter().all(|seen| seen.header("mcp-protocol-version").is_empty()));
}

#[tokio::test]
async fn configured_as_old_nothing_newer_is_tried() {
    let fake = Old::default().serve().await;
    let (server, _events) = server(settings(Transport::Sse(HttpSettings::new(fake.url()))));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "echo", &json!("x")).await, r#""x""#);
    assert!(fake.seen("server/discover").is_empty());
    assert_eq!(fake.of_method(&Method::GET).len(), 1);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_dropped_exchange_is_cancelled_and_a_broken_stream_ends_calls_at_once() {
    let old = Old::default();
    let fake = old.serve().await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let request = tool_call(&link, "hang", &json!({}));
    let id = request.id;
    drop(link.request(request).await.unwrap());
    assert_eq!(fake.wait_for("notifications/cancelled").await.body["params"]["requestId"], id);

    let error = call(&link, "die", &json!({})).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error:?}");
    // The next caller gets a new stream.
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "echo", &json!(1)).await, "1");
    assert_eq!(server.status().counters.restarts, 1);
}

#[tokio::test]
async fn an_endpoint_of_another_origin_is_refused() {
    let old = Old { endpoint: Some("http://127.0.0.2:9/messages"), ..Old::default() };
    let fake = old.serve().await;
    let (server, _events) = server(http(fake.url()));
    let error = server.open(&anyone()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Protocol { .. }), "{error:?}");
    eventually(|| fake.seen("initialize").len().checked_sub(1)).await;
    assert_eq!(fake.seen("initialize").len(), 1, "only the one to the configured URL");
}
