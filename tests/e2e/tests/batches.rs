//! Batches, which only a session of 2025-03-26 has: each message is taken as if it had come by itself, and the answers
//! travel together. Everywhere else an array is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers};
use tollgate_testkit::fake::{Ask, Call, Dialect, FakeServer, HttpPeer, Reply, Script, StdioPeer, soon};

async fn before_both(limits: Value) -> (Gateway, FakeServer, FakeServer) {
    let old = FakeServer::start(Script::legacy()).await;
    let new = FakeServer::start(Script::modern()).await;
    let mut config = servers([("old", http(&old.url())), ("new", http(&new.url()))]);
    config["limits"] = limits;
    (Gateway::start(&config).await, old, new)
}

async fn client(gateway: &Gateway) -> HttpPeer {
    HttpPeer::legacy_with(gateway.listen, "/mcp", "2025-03-26", "{}").await
}

fn call(id: &str, tool: &str) -> String {
    Call::tool(tool, "{}").message(id, Dialect::Legacy)
}

fn watched(id: &str, tool: &str) -> String {
    Call::tool(tool, "{}").meta(format!(r#""progressToken":{id}"#)).message(id, Dialect::Legacy)
}

fn batch(messages: &[String]) -> String {
    format!(" [{}]\n", messages.join(" , "))
}

/// The answers in an array, by their ids, as text.
fn by_id(body: &Value) -> Vec<(String, &Value)> {
    let mut answers: Vec<_> =
        body.as_array().expect("an array").iter().map(|answer| (answer["id"].to_string(), answer)).collect();
    answers.sort_by(|(a, _), (b, _)| a.cmp(b));
    answers
}

fn code_of(reply: &Reply) -> i64 {
    assert_eq!(reply.status, 400, "{}", reply.everything());
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    body["error"]["code"].as_i64().unwrap_or_else(|| panic!("{body}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answers_of_a_batch_come_as_one_array() {
    let (gateway, old, new) = before_both(json!({})).await;
    let peer = client(&gateway).await;
    let messages = [
        call("1", "old__echo"),
        r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned(),
        call("\"two\"", "new__echo"),
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/list"}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":4,"method":"no/such"}"#.to_owned(),
        r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#.to_owned(),
        "7".to_owned(),
        r#"{"jsonrpc":"2.0","id":8,"method":"initialize","params":{"protocolVersion":"2025-03-26","capabilities":{},"clientInfo":{"name":"n","version":"1"}}}"#.to_owned(),
        r#"{"jsonrpc":"2.0","id":9,"method":"ping"}"#.to_owned(),
    ];
    let reply = peer.http.send(&peer.post(&batch(&messages))).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let body: Value =
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", reply.everything()));
    let answers = by_id(&body);
    let ids: Vec<_> = answers.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["\"two\"", "1", "3", "4", "5", "8", "9", "null"], "{body}");
    let find = |id: &str| answers.iter().find(|(found, _)| found == id).unwrap().1;
    assert_eq!(find("1")["result"]["content"][0]["text"], "echo");
    assert_eq!(find("\"two\"")["result"]["content"][0]["text"], "echo");
    assert!(find("3")["result"]["tools"].as_array().is_some_and(|tools| tools.len() > 10));
    assert_eq!(find("9")["result"], json!({}));
    assert_eq!(find("4")["error"]["code"], -32601);
    for invalid in ["5", "8", "null"] {
        assert_eq!(find(invalid)["error"]["code"], -32600, "{invalid}");
    }
    assert_eq!((old.log().of_method("tools/call").len(), new.log().of_method("tools/call").len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_of_a_batch_run_at_once_on_one_stream_that_can_be_resumed() {
    let (gateway, old, new) = before_both(json!({})).await;
    let peer = client(&gateway).await;
    let messages = [
        watched("1", "old__progress_then_gate"),
        watched("2", "new__progress_then_gate"),
        call("3", "old__echo"),
    ];
    let mut live = soon("the head", peer.http.open(&peer.post(&batch(&messages)))).await.unwrap();
    assert_eq!((live.status, live.header("content-type")), (200, Some("text/event-stream")));
    let mut seen = Vec::new();
    let mut last = String::new();
    // All three are under way at once: neither of the gated ones has been let go.
    while seen.len() < 3 {
        let event = soon("an event", live.any_event()).await.unwrap().expect("the stream goes on");
        last = event.id.expect("every event has an id");
        seen.push(serde_json::from_str::<Value>(&event.data).expect("no event without a message"));
    }
    drop(live);
    old.release();
    new.release();
    let get = Ask::new("GET", "/mcp")
        .with("Accept", "text/event-stream")
        .with("Mcp-Session-Id", peer.session.as_deref().unwrap())
        .with("Last-Event-ID", &last);
    let mut live = soon("the resumed stream", peer.http.open(&get)).await.unwrap();
    while let Some(event) = soon("an event", live.event()).await.unwrap() {
        seen.push(serde_json::from_str(&event.data).unwrap());
    }
    let mut tokens: Vec<_> = seen.iter().filter_map(|m| m["params"]["progressToken"].as_i64()).collect();
    let mut ids: Vec<_> = seen.iter().filter_map(|message| message["id"].as_i64()).collect();
    tokens.sort_unstable();
    ids.sort_unstable();
    assert_eq!((tokens, ids), (vec![1, 2], vec![1, 2, 3]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_which_nothing_is_answered_is_accepted() {
    let (gateway, _old, _new) = before_both(json!({})).await;
    let mut peer = client(&gateway).await;
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}"#.to_owned();
    let response = r#"{"jsonrpc":"2.0","id":99,"result":{}}"#.to_owned();
    for messages in [vec![notification.clone(), notification], vec![response.clone(), response]] {
        let reply = peer.http.send(&peer.post(&batch(&messages))).await;
        assert_eq!((reply.status, reply.body.len()), (202, 0), "{}", reply.everything());
    }
    // One that is cancelled has no answer, here as elsewhere.
    let cancelled =
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}"#.to_owned();
    let messages = [call("5", "old__hang"), cancelled, call("6", "old__echo")];
    let reply = peer.http.send(&peer.post(&batch(&messages))).await;
    let body: Value =
        serde_json::from_slice(&reply.body).unwrap_or_else(|_| panic!("{}", reply.everything()));
    assert_eq!(by_id(&body).len(), 1, "{body}");
    assert_eq!(body[0]["id"], 6);
    assert!(peer.request(&Call::tool("old__echo", "{}")).await.error().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_is_none_is_refused_whole() {
    let (gateway, old, _new) = before_both(json!({ "batch_max": 3, "in_flight_max": 2 })).await;
    let peer = client(&gateway).await;
    let one = call("1", "old__echo");
    for (what, body, code) in [
        ("empty", "[]".to_owned(), -32600),
        ("the same id twice", batch(&[one.clone(), one.clone()]), -32600),
        (
            "too many",
            batch(&[one.clone(), call("2", "old__echo"), call("3", "old__echo"), call("4", "old__echo")]),
            -32600,
        ),
        ("cut off", format!("[{one}"), -32700),
        ("text after it", format!("[{one}] x"), -32700),
        ("a comma too many", format!("[{one},]"), -32700),
    ] {
        assert_eq!(code_of(&peer.http.send(&peer.post(&body)).await), code, "{what}");
    }
    assert!(old.log().of_method("tools/call").is_empty(), "a server was called");
    // The limit of requests under way holds within a batch.
    let messages = [call("1", "old__echo"), call("2", "old__echo"), call("3", "old__echo")];
    let reply = peer.http.send(&peer.post(&batch(&messages))).await;
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    let answers = by_id(&body);
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[2].1["error"]["data"]["dev.tollgate/refusal"]["code"], "capacity", "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_belong_to_one_revision() {
    let (gateway, old, new) = before_both(json!({})).await;
    let body = batch(&[call("1", "old__echo"), call("2", "new__echo")]);
    for revision in ["2025-06-18", "2025-11-25"] {
        let peer = HttpPeer::legacy_with(gateway.listen, "/mcp", revision, "{}").await;
        assert_eq!(code_of(&peer.http.send(&peer.post(&body)).await), -32600, "{revision}");
    }
    let modern = gateway.modern("/mcp");
    assert_eq!(code_of(&modern.http.send(&modern.post(&body)).await), -32600);
    let mut peer = client(&gateway).await;
    let ended = peer.session.replace("ended".to_owned());
    assert_eq!(peer.http.send(&peer.post(&body)).await.status, 404, "it has to begin again");
    peer.session = None;
    assert_eq!(code_of(&peer.http.send(&peer.post(&body)).await), -32600);
    assert!(old.log().of_method("tools/call").is_empty() && new.log().of_method("tools/call").is_empty());
    peer.session = ended;
    assert_eq!(peer.http.send(&peer.post(&body)).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_over_stdio_is_answered_by_one_line() {
    let old = FakeServer::start(Script::legacy()).await;
    let config = servers([("old", http(&old.url()))]);
    let (_folder, file) = config_file(&config);
    for revision in ["2025-03-26", "2025-06-18"] {
        let args = ["serve", "--stdio", "--config", file.to_str().unwrap()];
        // It shakes hands itself, below.
        let mut peer = StdioPeer::start(&binary(), args, &[], Dialect::Modern).await;
        peer.send(&format!(
            r#"{{"jsonrpc":"2.0","id":0,"method":"initialize","params":{{"protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"n","version":"1"}}}}}}"#
        ))
        .await;
        peer.line().await.expect("an answer to initialize");
        peer.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        peer.send(batch(&[watched("1", "old__progress"), call("2", "old__echo")]).trim()).await;
        let mut before = 0;
        let answer: Value = loop {
            let line: Value = serde_json::from_slice(&peer.line().await.expect("a line")).unwrap();
            if line["method"].is_null() {
                break line;
            }
            before += 1;
        };
        if revision == "2025-03-26" {
            assert_eq!(by_id(&answer).iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["1", "2"]);
            assert_eq!(before, 5, "what is told about a request is not held back");
        } else {
            assert_eq!(answer["error"]["code"], -32600, "{answer}");
        }
    }
}
