//! What is on record of dialogues: calls that wait for their client, rounds, tasks, and questions over every transport.

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, duplex, split};
use tokio::sync::Notify;
use tollgate_model::RecordLevel;
use tollgate_proxy::{Body, Gateway, serve_http, serve_stdio};

use crate::LONG;
use crate::book::{Book, line};
use crate::fake::{Fake, Seen, event, events, json_answer, response, status};
use crate::rig::{Client, PEER, TASKS, recorded};
use crate::servers::{self, Tasks};

/// A legacy server whose tool asks for a name, by a question on the stream of the call.
async fn asks_meanwhile() -> Fake {
    let answered = Arc::new(Notify::new());
    Fake::start(move |request: Seen| {
        let answered = Arc::clone(&answered);
        async move {
            let tools = json!([{"name": "ask", "inputSchema": {"type": "object"}}]);
            match request.rpc() {
                "initialize" => {
                    let result = json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                                        "serverInfo": {"name": "old", "version": "1"}});
                    json_answer(&response(&request, &result))
                }
                "tools/list" => json_answer(&response(&request, &json!({"tools": tools}))),
                "tools/call" => {
                    let (sender, answer) = events();
                    let question = json!({"jsonrpc": "2.0", "id": "q-1", "method": "elicitation/create",
                                          "params": {"message": "Name?", "requestedSchema": {}}});
                    tokio::spawn(async move {
                        sender.send(event(&question)).await.unwrap();
                        answered.notified().await;
                        let result = json!({"content": [{"type": "text", "text": "thanks"}]});
                        sender.send(event(&response(&request, &result))).await.unwrap();
                    });
                    answer
                }
                _ => {
                    if request.body["result"].is_object() {
                        answered.notify_one();
                    }
                    status(if request.method == http::Method::GET { 405 } else { 202 })
                }
            }
        }
    })
    .await
}

/// A modern server whose tool asks for a name by its result.
async fn asks_by_result() -> Fake {
    Fake::start(move |request: Seen| async move {
        let params = &request.body["params"];
        let result = match request.rpc() {
            "server/discover" => json!({"resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}}, "ttlMs": 0, "cacheScope": "public"}),
            "tools/call" if params["inputResponses"].is_null() => {
                json!({"resultType": "input_required", "requestState": "own", "inputRequests": {"name":
                    {"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}}}})
            }
            _ => json!({"resultType": "complete", "content": [{"type": "text", "text": "thanks"}]}),
        };
        json_answer(&response(&request, &result))
    })
    .await
}

fn said(secret: &str) -> Value {
    json!({"action": "accept", "content": {"name": "Ada", "password": secret}})
}

/// What is about calls, in its order, all of one call.
fn steps(book: &Book) -> (Vec<Value>, Vec<String>) {
    let mut entries = book.entries();
    entries.retain(|entry| entry["kind"] == "intent" || entry["kind"] == "outcome");
    let calls: std::collections::BTreeSet<&str> =
        entries.iter().map(|entry| entry["call"].as_str().unwrap()).collect();
    assert_eq!(calls.len(), 1, "{entries:#?}");
    let lines = entries.iter().map(line).collect();
    (entries, lines)
}

/// Whatever a server got that has an effect has an intent of its own.
fn each_has_its_own(book: &Book, server: &Fake) {
    let entries = book.entries();
    for method in ["tools/call", "tasks/get", "tasks/result", "tasks/cancel", "tasks/update"] {
        let intents = entries.iter().filter(|entry| entry["kind"] == "intent" && entry["method"] == method);
        assert_eq!(intents.count(), server.seen(method).len(), "{method}: {:#?}", book.lines());
    }
}

/// A modern client brings its answer with its next request, whatever its server speaks.
#[tokio::test]
async fn what_a_modern_client_answers_is_on_record_with_the_step_that_brings_it() {
    for old in [true, false] {
        for level in [RecordLevel::Full, RecordLevel::Redacted] {
            let server = if old { asks_meanwhile().await } else { asks_by_result().await };
            let book = Book::keeping(level);
            let gateway = recorded([("s", &server)], book.ledger.clone());
            let client = Client::modern(&gateway, "/mcp/s", json!({"elicitation": {}}));
            let asked = client.ask("tools/call", json!({"name": "ask", "arguments": {"n": 1}})).await;
            assert_eq!(asked.result()["resultType"], "input_required", "{asked:?}");
            let key = asked.result()["inputRequests"].as_object().unwrap().keys().next().unwrap();
            let state = &asked.result()["requestState"];
            let mut params = json!({"name": "ask", "arguments": {"n": 1}, "requestState": state});
            params["inputResponses"] = json!({key: said("correct horse")});
            assert_eq!(client.ask("tools/call", params).await.text(), "thanks");

            let (entries, lines) = steps(&book);
            let wanted =
                ["intent 0 tools/call", "outcome 0 input_required", "intent 1 tools/call", "outcome 1 ok"];
            assert_eq!(lines, wanted);
            assert_eq!(book.arguments(&entries[0]), json!({"n": 1}));
            assert_eq!(entries[0]["detail"], Value::Null);
            assert_eq!(entries[2]["detail"], json!({"members": ["arguments", "inputResponses"]}));
            let kept = book.arguments(&entries[2]);
            let is_full = level == RecordLevel::Full;
            let secret = if is_full { "correct horse" } else { "[redacted]" };
            assert_eq!(kept, json!({"arguments": {"n": 1}, "inputResponses": {key: said(secret)}}));
            let pointer = format!("/inputResponses/{key}/content/password");
            let taken_out = if is_full { Value::Null } else { json!([pointer]) };
            assert_eq!(entries[2]["arguments"]["redacted"], taken_out);
            assert!(entries[3]["sizes"]["sent_bytes"].as_u64().unwrap() > 0, "{}", entries[3]);
        }
    }
}

/// What answers no question of a parked call does not leave, and does not stand there as if it had.
#[tokio::test]
async fn only_what_leaves_of_the_answers_is_on_record() {
    let (server, book) = (asks_meanwhile().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let client = Client::modern(&gateway, "/mcp/s", json!({"elicitation": {}}));
    let asked = client.call("ask").await;
    let state = &asked.result()["requestState"];
    let responses = json!({"input-1": said("a"), "input-9": said("b")});
    let params = json!({"name": "ask", "arguments": {}, "requestState": state, "inputResponses": responses});
    assert_eq!(client.ask("tools/call", params).await.text(), "thanks");
    let (entries, _) = steps(&book);
    assert_eq!(book.arguments(&entries[2])["inputResponses"], json!({"input-1": said("a")}));
}

/// The gateway asks a legacy client, and brings the server the answers in the next round.
#[tokio::test]
async fn the_answers_of_a_round_are_on_record_with_it() {
    let (server, book) = (asks_by_result().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let (client, _) = Client::legacy(&gateway, "/mcp/s", "2025-11-25", json!({"elicitation": {}})).await;
    let mut stream = client.begin("tools/call", &json!({"name": "ask", "arguments": {"n": 1}}));
    let question = stream.next().await;
    assert_eq!(question["method"], "elicitation/create", "{question}");
    client.tell(&json!({"jsonrpc": "2.0", "id": question["id"], "result": said("a")})).await;
    assert_eq!(stream.next().await["result"]["content"][0]["text"], "thanks");
    let (entries, lines) = steps(&book);
    assert_eq!(
        lines,
        ["intent 0 tools/call", "outcome 0 input_required", "intent 1 tools/call", "outcome 1 ok"]
    );
    assert_eq!(
        book.arguments(&entries[2]),
        json!({"arguments": {"n": 1}, "inputResponses": {"name": said("a")}})
    );
}

/// A parked call that nobody comes back for has an end on record too.
#[tokio::test]
async fn a_parked_call_that_is_given_up_ends_on_record() {
    let (server, book) = (asks_meanwhile().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let client = Client::modern(&gateway, "/mcp/s", json!({"elicitation": {}}));
    client.call("ask").await.result();
    gateway.stop(std::time::Duration::ZERO).await;
    book.wait_for(|entry| entry["outcome"] == "stopped").await;
    let (_, lines) = steps(&book);
    assert_eq!(lines, ["intent 0 tools/call", "outcome 0 input_required", "outcome 1 stopped"]);
}

/// A modern client follows a legacy server's task. Each request that leaves has an intent.
#[tokio::test]
async fn each_request_about_a_task_has_an_intent_of_its_own() {
    let tasks = Tasks::default();
    let (server, book) = (servers::legacy(tasks.clone()).await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let client = Client::with_tasks(&gateway, "/mcp/s");
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    assert_eq!(client.task("tasks/get", id).await.result()["status"], "working");
    tasks.set("native-1", json!({"status": "completed"}));
    assert_eq!(client.task("tasks/get", id).await.result()["status"], "completed");
    assert_eq!(client.task("tasks/cancel", id).await.result()["resultType"], "complete");
    let lines = book.lines();
    let wanted = [
        "intent 0 tools/call",
        "outcome 0 task_created",
        "intent 0 tasks/get",
        "outcome 0 ok",
        "intent 0 tasks/get",
        "outcome 0 ok",
        "intent 1 tasks/result",
        "outcome 1 ok",
        "intent 0 tasks/cancel",
        "outcome 0 error -32602",
        "intent 1 tasks/get",
        "outcome 1 ok",
    ];
    let effects: Vec<&String> =
        lines.iter().filter(|line| line.starts_with("intent") || line.starts_with("outcome")).collect();
    assert_eq!(effects, wanted);
    each_has_its_own(&book, &server);
}

/// A client of the task's own revision asks for it itself.
#[tokio::test]
async fn a_task_that_a_client_asked_for_is_an_outcome() {
    let (server, book) = (servers::legacy(Tasks::default()).await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let (client, _) = Client::legacy(&gateway, "/mcp/s", "2025-11-25", json!({})).await;
    let created = client.ask("tools/call", json!({"name": "slow", "arguments": {}, "task": {}})).await;
    assert!(created.result()["task"].is_object(), "{created:?}");
    assert_eq!(steps(&book).1, ["intent 0 tools/call", "outcome 0 task_created"]);
}

/// What a modern client answers to a task's question is the payload of its update; the server is asked for more beside it.
#[tokio::test]
async fn a_tasks_questions_and_their_answers_are_on_record() {
    let tasks = Tasks::default();
    let (server, book) = (servers::legacy(tasks.clone()).await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let capabilities = json!({"elicitation": {}, "extensions": {TASKS: {}}});
    let client = Client::modern(&gateway, "/mcp/s", capabilities);
    let created = client.call("slow").await;
    let id = created.result()["taskId"].as_str().unwrap();
    let question =
        json!({"method": "elicitation/create", "params": {"message": "Name?", "requestedSchema": {}}});
    tasks.set("native-1", json!({"status": "input_required", "ask": question}));
    let waiting = client.task("tasks/get", id).await;
    let key = waiting.result()["inputRequests"].as_object().unwrap().keys().next().unwrap().clone();
    let given = json!({"taskId": id, "inputResponses": {&key: said("a")}});
    client.ask("tasks/update", given).await.result();
    tasks.until("native-1", |task| task["answered"].is_object()).await;
    let update = book.wait_for(|entry| entry["method"] == "tasks/update").await;
    assert_eq!(book.arguments(&update), json!({&key: said("a")}));
    tasks.set("native-1", json!({"status": "completed"}));
    // What was asked beside the client's requests ends with the task.
    let beside = book.wait_for(|entry| entry["method"] == "tasks/result").await;
    book.wait_for(|entry| entry["of"] == beside["seq"] && entry["outcome"] == "ok").await;
}

/// A call that becomes a task, and waits for it: each look at the task is a step of the call.
#[tokio::test]
async fn a_call_that_waits_for_its_task_has_a_step_for_each_look() {
    for modern in [true, false] {
        let tasks = Tasks::default();
        let (server, book) = (servers::legacy(tasks.clone()).await, Book::new());
        let gateway = recorded([("s", &server)], book.ledger.clone());
        let client = if modern {
            Client::modern(&gateway, "/mcp/s", json!({}))
        } else {
            Client::legacy(&gateway, "/mcp/s", "2025-06-18", json!({})).await.0
        };
        let calling = tokio::spawn(async move { client.call("must").await });
        crate::eventually(|| (server.seen("tasks/get").len() >= 2).then_some(())).await;
        tasks.set("native-1", json!({"status": "completed"}));
        assert_eq!(calling.await.unwrap().text(), "ready");
        let (entries, lines) = steps(&book);
        assert_eq!(lines[..2], ["intent 0 tools/call", "outcome 0 task_created"]);
        let last = lines.len() / 2 - 1;
        assert_eq!(
            lines[lines.len() - 2..],
            [format!("intent {last} tasks/result"), format!("outcome {last} ok")]
        );
        for (step, pair) in entries.chunks(2).enumerate() {
            assert_eq!((&pair[0]["kind"], &pair[1]["of"]), (&json!("intent"), &pair[0]["seq"]));
            assert_eq!(pair[0]["step"].as_u64().unwrap_or(0), step as u64);
            // What the gateway asks by itself has none of the client's arguments in it.
            assert_eq!(pair[0]["arguments"].is_null(), step > 0, "{}", pair[0]);
        }
        each_has_its_own(&book, &server);
    }
}

/// A legacy client is asked on its stream. What it answers is a step beside its call.
async fn is_asked(book: &Book, server: &Fake, dialogue: impl Future<Output = Value>) {
    let result = tokio::time::timeout(LONG, dialogue).await.expect("an answer in time");
    assert_eq!(result["result"]["content"][0]["text"], "thanks", "{result}");
    // The server may answer before it is known that it has heard.
    book.wait_for(|entry| entry["kind"] == "outcome" && entry["step"] == 1).await;
    let (entries, lines) = steps(book);
    assert_eq!(lines[..2], ["intent 0 tools/call", "intent 1 elicitation/create"]);
    let mut ends = lines[2..].to_vec();
    ends.sort();
    assert_eq!(ends, ["outcome 0 ok", "outcome 1 ok"]);
    assert_eq!(book.arguments(&entries[1]), said("a"));
    assert_eq!(entries[0]["arguments"]["bytes"], 7);
    each_has_its_own(book, server);
}

fn initialize() -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2024-11-05",
        "capabilities": {"elicitation": {}}, "clientInfo": {"name": "it", "version": "1"}}})
}

fn call() -> Value {
    json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
        "params": {"name": "ask", "arguments": {"n": 1}}})
}

#[tokio::test]
async fn a_dialogue_over_streamable_http_is_on_record() {
    let (server, book) = (asks_meanwhile().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let (client, _) = Client::legacy(&gateway, "/mcp/s", "2025-11-25", json!({"elicitation": {}})).await;
    let dialogue = async {
        let mut stream = client.begin("tools/call", &call()["params"]);
        let question = stream.next().await;
        client.tell(&json!({"jsonrpc": "2.0", "id": question["id"], "result": said("a")})).await;
        stream.next().await
    };
    Box::pin(is_asked(&book, &server, dialogue)).await;
}

#[tokio::test]
async fn a_dialogue_over_standard_streams_is_on_record() {
    let (server, book) = (asks_meanwhile().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let (near, far) = duplex(1 << 16);
    let (input, output) = split(far);
    tokio::spawn(serve_stdio(gateway.clone(), input, output));
    let (input, mut output) = split(near);
    let mut lines = BufReader::new(input).lines();
    is_asked(&book, &server, async {
        let mut answers = 0;
        output.write_all(format!("{}\n", initialize()).as_bytes()).await.unwrap();
        loop {
            let heard = lines.next_line().await.unwrap().expect("more");
            let heard: Value = serde_json::from_str(&heard).unwrap();
            answers += 1;
            let said = match (&heard["method"], answers) {
                (Value::Null, 1) => call(),
                (Value::Null, _) => return heard,
                _ => json!({"jsonrpc": "2.0", "id": heard["id"], "result": said("a")}),
            };
            let said = said.to_string().replace("s__", "") + "\n";
            output.write_all(said.replace("\"ask\"", "\"s__ask\"").as_bytes()).await.unwrap();
        }
    })
    .await;
}

/// A client of the oldest transport: everything that it hears comes on one stream.
struct Sse {
    gateway: Gateway,
    body: Body,
    pending: String,
    post: String,
}

impl Sse {
    async fn open(gateway: &Gateway, path: &str) -> Self {
        let request = Request::get(path).header("host", "localhost").header("accept", "text/event-stream");
        let response = serve_http(gateway, PEER, request.body(Full::new(Bytes::new())).unwrap()).await;
        assert_eq!(response.status(), 200);
        let (gateway, body) = (gateway.clone(), response.into_body());
        let mut sse = Self { gateway, body, pending: String::new(), post: String::new() };
        sse.post = sse.data().await;
        sse
    }

    async fn data(&mut self) -> String {
        loop {
            if let Some((event, rest)) = self.pending.split_once("\n\n") {
                let data = event.lines().find_map(|line| line.strip_prefix("data: ")).map(str::to_owned);
                let rest = rest.to_owned();
                self.pending = rest;
                if let Some(data) = data {
                    return data;
                }
                continue;
            }
            let frame = self.body.frame().await.expect("an open stream").unwrap().into_data().unwrap();
            self.pending.push_str(std::str::from_utf8(&frame).unwrap());
        }
    }

    async fn hears(&mut self) -> Value {
        serde_json::from_str(&self.data().await).unwrap()
    }

    async fn says(&self, message: &Value) {
        let request = Request::post(&self.post)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(message.to_string())))
            .unwrap();
        assert_eq!(serve_http(&self.gateway, PEER, request).await.status(), 202);
    }
}

#[tokio::test]
async fn a_dialogue_over_http_and_sse_is_on_record() {
    let (server, book) = (asks_meanwhile().await, Book::new());
    let gateway = recorded([("s", &server)], book.ledger.clone());
    let mut client = Sse::open(&gateway, "/sse/s").await;
    let dialogue = async {
        client.says(&initialize()).await;
        assert_eq!(client.hears().await["id"], 1);
        client.says(&call()).await;
        let question = client.hears().await;
        client.says(&json!({"jsonrpc": "2.0", "id": question["id"], "result": said("a")})).await;
        client.hears().await
    };
    Box::pin(is_asked(&book, &server, dialogue)).await;
}
