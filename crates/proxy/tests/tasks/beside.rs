//! What a legacy server asks beside all calls.

use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::fake::{Fake, Seen, event, events, greeting, status};
use crate::rig::{Client, gateway};

type Streams = Arc<Mutex<Vec<mpsc::Sender<String>>>>;

/// A server that asks for the roots as soon as its stream is open, and the streams that were opened.
async fn curious() -> (Fake, Streams) {
    let streams = Streams::default();
    let opened = Arc::clone(&streams);
    let fake = Fake::start(move |request: Seen| {
        let opened = Arc::clone(&opened);
        async move {
            match request.rpc() {
                _ if request.method == Method::GET => {
                    let (stream, answer) = events();
                    stream.try_send(question("first")).unwrap();
                    opened.lock().unwrap().push(stream);
                    answer
                }
                "initialize" => greeting(&request, "s", &json!({"tools": {}})),
                "server/discover" => status(405),
                _ => status(202),
            }
        }
    })
    .await;
    (fake, streams)
}

fn question(id: &str) -> String {
    event(&json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"}))
}

/// What a client said to the question of this id.
async fn answer(server: &Fake, id: &str) -> Value {
    let of = |seen: &&Seen| seen.body["id"] == id && seen.rpc().is_empty();
    crate::eventually(|| server.seen.lock().unwrap().iter().find(of).map(|seen| seen.body.clone())).await
}

#[tokio::test]
async fn a_client_that_only_begins_is_asked_once_it_listens() {
    let (server, _streams) = curious().await;
    let gateway = gateway([("old", &server)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({"roots": {}})).await;
    let mut stream = client.listen().await;
    let asked = stream.next().await;
    assert_eq!(asked["method"], "roots/list", "{asked}");
    let roots = json!({"roots": [{"uri": "file:///work"}]});
    client.tell(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": roots})).await;
    assert_eq!(answer(&server, "first").await["result"], roots);
}

#[tokio::test]
async fn a_client_hears_that_a_server_has_taken_its_question_back() {
    let (server, streams) = curious().await;
    let gateway = gateway([("old", &server)]);
    let (client, _) = Client::legacy(&gateway, "/mcp/old", "2025-11-25", json!({"roots": {}})).await;
    let mut heard = client.listen().await;
    let asked = heard.next().await;
    let stream = streams.lock().unwrap()[0].clone();
    let back = |id: &str| {
        event(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}))
    };
    stream.send(back("another")).await.unwrap();
    stream.send(back("first")).await.unwrap();
    let told = heard.next().await;
    assert_eq!(told["method"], "notifications/cancelled", "{told}");
    assert_eq!(told["params"]["requestId"], asked["id"]);
}
