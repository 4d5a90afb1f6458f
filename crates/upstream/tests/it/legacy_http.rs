use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use tollgate_model::{Era, Revision};
use tollgate_upstream::{Audience, EventKind, Incoming};

use crate::fake::{Answer, Fake, Seen, event, events, greeting, json_answer, refusal, status, text};
use crate::{anyone, call, caller, eventually, http, server, text_of, tool_call};

/// A legacy server with sessions. It gives out `s1`, `s2`, … and knows only the latest.
struct Sessions {
    begun: AtomicUsize,
    capabilities: Value,
    /// What refuses an unknown session: the status.
    refuses_with: u16,
}

impl Sessions {
    fn new(capabilities: Value, refuses_with: u16) -> Arc<Self> {
        Arc::new(Self { begun: AtomicUsize::new(0), capabilities, refuses_with })
    }

    fn forget(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    fn answer(&self, request: &Seen) -> Answer {
        if request.rpc() == "initialize" {
            let number = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
            return greeting(request, &format!("s{number}"), &self.capabilities);
        }
        if request.header("mcp-session-id") != format!("s{}", self.begun.load(Ordering::SeqCst)) {
            let error =
                json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "No session"}});
            return if request.rpc() == "server/discover" {
                refusal(400, &error)
            } else {
                refusal(self.refuses_with, &error)
            };
        }
        match (&request.method, request.rpc()) {
            (&Method::POST, "tools/call") => json_answer(&text(request, request.header("mcp-session-id"))),
            (&Method::POST, _) => status(202),
            _ => status(405),
        }
    }

    async fn serve(self: &Arc<Self>) -> Fake {
        let sessions = Arc::clone(self);
        Fake::start(move |request: Seen| {
            let answer = sessions.answer(&request);
            async move { answer }
        })
        .await
    }
}

#[tokio::test]
async fn a_session_is_begun_with_the_clients_own_words() {
    let sessions = Sessions::new(json!({"tools": {}}), 404);
    let fake = sessions.serve().await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!((link.era(), link.revision()), (Era::Legacy, Revision::V2025_11_25));
    assert_eq!(text_of(&link, "x", &json!({})).await, "s1");

    let initialize = fake.seen("initialize").remove(0);
    let params = &initialize.body["params"];
    assert_eq!(params["protocolVersion"], "2025-11-25");
    assert_eq!(params["capabilities"], json!({"roots": {}}));
    assert_eq!(params["clientInfo"], json!({"name": "the-client", "version": "9"}));
    assert_eq!(initialize.header("mcp-protocol-version"), "");
    let initialized = fake.wait_for("notifications/initialized").await;
    let called = fake.seen("tools/call").remove(0);
    for request in [initialized, called] {
        assert_eq!(request.header("mcp-session-id"), "s1");
        assert_eq!(request.header("mcp-protocol-version"), "2025-11-25");
        assert_eq!(request.header("mcp-method"), "", "mirrored headers are modern");
    }
    // Nothing declares that it changes, but the client may be asked: many servers do so on a stream of their own.
    eventually(|| fake.of_method(&Method::GET).pop()).await;

    server.stop(crate::LONG).await;
    let deleted = fake.of_method(&Method::DELETE);
    assert_eq!(deleted.len(), 1);
    assert_eq!(deleted[0].header("mcp-session-id"), "s1");
    assert!(server.open(&anyone()).await.is_err());
}

#[tokio::test]
async fn without_a_session_of_its_own_a_client_stays_anonymous() {
    let sessions = Sessions::new(json!({}), 404);
    let fake = sessions.serve().await;
    let (server, _events) = server(http(fake.url()));
    server.open(&caller("someone", None, &json!({}))).await.unwrap();
    assert_eq!(fake.seen("initialize")[0].body["params"]["clientInfo"]["name"], "tollgate");
}

#[tokio::test]
async fn a_forgotten_session_is_begun_again_once_and_the_request_is_repeated() {
    for refuses_with in [404, 400] {
        let sessions = Sessions::new(json!({}), refuses_with);
        let fake = sessions.serve().await;
        let (server, _events) = server(http(fake.url()));
        let link = server.open(&anyone()).await.unwrap();
        assert_eq!(text_of(&link, "x", &json!({})).await, "s1");
        sessions.forget();
        let nothing = json!({});
        let calls = (0..8).map(|_| text_of(&link, "x", &nothing));
        for text in futures_util::future::join_all(calls).await {
            assert_eq!(text, "s3");
        }
        assert_eq!(fake.seen("initialize").len(), 2, "once for all of them");
        let again = server.open(&anyone()).await.unwrap();
        assert!(again.is_same(&link));
    }
}

#[tokio::test]
async fn what_is_not_found_in_a_new_session_either_is_not_sent_a_third_time() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "s", &json!({})),
            "notifications/initialized" => status(202),
            "server/discover" => status(400),
            _ if request.method == Method::GET => status(405),
            _ => status(404),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let error = call(&link, "x", &json!({})).await.unwrap_err();
    assert!(!error.is_stale() && !error.had_no_effect(), "{error:?}");
    assert_eq!((fake.seen("tools/call").len(), fake.seen("initialize").len()), (2, 2));
    assert!(server.open(&anyone()).await.unwrap().is_same(&link), "the session goes on");
}

#[tokio::test]
async fn dropping_an_exchange_tells_a_legacy_server() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "s", &json!({})),
            "tools/call" => {
                let (sender, answer) = events();
                tokio::spawn(async move { sender.closed().await });
                answer
            }
            "server/discover" => status(400),
            _ => status(202),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let request = tool_call(&link, "hang", &json!({}));
    let id = request.id;
    drop(link.request(request).await.unwrap());
    let cancelled = fake.wait_for("notifications/cancelled").await;
    assert_eq!(cancelled.body["params"]["requestId"], id);
    assert_eq!(cancelled.header("mcp-session-id"), "s");
}

#[tokio::test]
async fn a_request_of_the_server_on_a_calls_stream_reaches_the_caller_and_its_answer_goes_back() {
    let (answered, waiting) = tokio::sync::watch::channel(false);
    let answered = Arc::new(answered);
    let fake = Fake::start(move |request: Seen| {
        let (answered, mut waiting) = (Arc::clone(&answered), waiting.clone());
        async move {
            match request.rpc() {
                "initialize" => greeting(&request, "s", &json!({})),
                "server/discover" => status(404),
                "tools/call" => {
                    let (sender, answer) = events();
                    tokio::spawn(async move {
                        let ask = json!({"jsonrpc": "2.0", "id": "q", "method": "elicitation/create", "params": {}});
                        sender.send(event(&json!({"jsonrpc": "2.0", "id": "p", "method": "ping"}))).await.unwrap();
                        sender.send(event(&ask)).await.unwrap();
                        waiting.wait_for(|answered| *answered).await.unwrap();
                        sender.send(event(&text(&request, "thanks"))).await.unwrap();
                    });
                    answer
                }
                _ => {
                    if request.body["id"] == "q" {
                        answered.send_replace(true);
                    }
                    status(202)
                }
            }
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let mut exchange = link.request(tool_call(&link, "x", &json!({}))).await.unwrap();
    let Incoming::Request(question) = exchange.next().await.unwrap() else { panic!("a request") };
    assert_eq!(question.method(), "elicitation/create");
    let reply = json!({"jsonrpc": "2.0", "id": "q", "result": {"action": "decline"}});
    link.notify(tollgate_mcp::Segments::from(Bytes::from(reply.to_string()))).await.unwrap();
    assert!(matches!(exchange.next().await.unwrap(), Incoming::Response(_)));
    // The ping was answered by the gateway itself.
    eventually(|| fake.seen.lock().unwrap().iter().any(|seen| seen.body["id"] == "p").then_some(())).await;
}

#[tokio::test]
async fn what_a_server_says_and_asks_beside_all_calls_becomes_events() {
    let streams = Arc::new(Mutex::new(Vec::new()));
    let opened = Arc::clone(&streams);
    let fake = Fake::start(move |request: Seen| {
        let opened = Arc::clone(&opened);
        async move {
            match (&request.method, request.rpc()) {
                (&Method::GET, _) => {
                    let (sender, answer) = events();
                    opened.lock().unwrap().push(sender);
                    answer
                }
                (_, "initialize") => greeting(&request, "s", &json!({"tools": {"listChanged": true}})),
                (_, "server/discover") => status(405),
                _ => status(202),
            }
        }
    })
    .await;
    let (server, mut events) = server(http(fake.url()));
    let _link = server.open(&anyone()).await.unwrap();
    let stream = eventually(|| streams.lock().unwrap().pop()).await;
    let say = |value: Value| format!("id: 7\n{}", event(&value));
    stream
        .send(say(json!({"jsonrpc": "2.0", "method": "notifications/prompts/list_changed"})))
        .await
        .unwrap();
    let told = events.recv().await.unwrap();
    assert_eq!(told.kind, EventKind::PromptsChanged);
    assert!(matches!(told.audience, Audience::Session(session) if session.as_str() == "session-1"));

    // What belongs to no call is for the client whose session it is; what is nobody's business goes nowhere.
    let log = json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": 1.50}});
    let progress =
        json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": 99}});
    let updated =
        json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "a:b"}});
    for words in [&progress, &log, &updated] {
        stream.send(say(words.clone())).await.unwrap();
    }
    let told = events.recv().await.unwrap();
    let EventKind::Notification(message) = told.kind else { panic!("{:?}", told.kind) };
    assert_eq!(message.bytes(), &log.to_string());
    assert!(matches!(told.audience, Audience::Session(session) if session.as_str() == "session-1"));
    let told = events.recv().await.unwrap();
    assert!(matches!(told.kind, EventKind::ResourceUpdated { uri, message: Some(_) } if &*uri == "a:b"));

    stream.send(say(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))).await.unwrap();
    stream.send(say(json!({"jsonrpc": "2.0", "id": 2, "method": "roots/list"}))).await.unwrap();
    let answer = |id: i64| move |seen: &Seen| seen.body["id"] == id && seen.rpc().is_empty();
    let find = |id| fake.seen.lock().unwrap().iter().find(|seen| answer(id)(seen)).cloned();
    assert_eq!(eventually(|| find(1)).await.body["result"], json!({}));
    // A question is for the client whose session it is; if nobody takes it, the server hears so.
    let EventKind::Request(question) = events.recv().await.unwrap().kind else { panic!("no question") };
    assert_eq!(question.request().method(), "roots/list");
    question.answer(Bytes::from_static(br#"{"jsonrpc":"2.0","id":2,"result":{"roots":[]}}"#).into());
    assert_eq!(eventually(|| find(2)).await.body["result"], json!({"roots": []}));
    stream.send(say(json!({"jsonrpc": "2.0", "id": 3, "method": "roots/list"}))).await.unwrap();
    drop(events.recv().await.unwrap());
    assert_eq!(eventually(|| find(3)).await.body["error"]["code"], -32601);

    // While as many as may be open wait for people, the server hears of each beyond them at once, and its pings are answered.
    for id in 100..140 {
        stream.send(say(json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"}))).await.unwrap();
    }
    stream.send(say(json!({"jsonrpc": "2.0", "id": 140, "method": "ping"}))).await.unwrap();
    assert_eq!(eventually(|| find(140)).await.body["result"], json!({}));
    let refused = (100..140).filter_map(find).filter(|seen| seen.body["error"]["code"] == -32603).count();
    assert_eq!(refused, 8);
    for _ in 0..32 {
        drop(events.recv().await.unwrap());
    }

    // It ends, and is opened again where it ended.
    drop(stream);
    let again = eventually(|| streams.lock().unwrap().pop()).await;
    assert_eq!(fake.of_method(&Method::GET)[1].header("last-event-id"), "7");
    again.send(say(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))).await.unwrap();
    assert_eq!(events.recv().await.unwrap().kind, EventKind::ToolsChanged);
    server.stop(Duration::ZERO).await;
    eventually(|| again.is_closed().then_some(())).await;
}

#[tokio::test]
async fn silence_after_the_probe_means_legacy() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "", &json!({})),
            "server/discover" => std::future::pending().await,
            "tools/call" => json_answer(&text(&request, "here")),
            _ => status(202),
        }
    })
    .await;
    let mut settings = http(fake.url());
    settings.timeouts.probe = Duration::from_secs(2);
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "x", &json!({})).await, "here");
    // Found once: another session does not ask again.
    server.open(&caller("other", Some("other"), &json!({}))).await.unwrap();
    assert_eq!(fake.seen("server/discover").len(), 1);
}

#[tokio::test]
async fn a_legacy_server_may_use_codes_that_mean_something_elsewhere() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "s", &json!({})),
            "tools/call" => refusal(
                400,
                &json!({"jsonrpc": "2.0", "id": request.body["id"],
                        "error": {"code": -32022, "message": "No such account"}}),
            ),
            "server/discover" => status(400),
            _ if request.method == Method::GET => status(405),
            _ => status(202),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let (_, answer) = call(&link, "x", &json!({})).await.unwrap();
    assert_eq!(answer["error"]["message"], "No such account");
    assert_eq!(fake.seen("tools/call").len(), 1);
    assert!(server.open(&anyone()).await.unwrap().is_same(&link), "the session goes on");
}

#[tokio::test]
async fn an_error_of_a_legacy_server_passes_as_it_is() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "", &json!({})),
            "tools/call" => json_answer(&json!({"jsonrpc": "2.0", "id": request.body["id"],
                                                "error": {"code": -32602, "message": "Unknown tool"}})),
            "server/discover" => status(400),
            _ => status(202),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let (_, answer) = call(&link, "x", &json!({})).await.unwrap();
    assert_eq!(answer["error"]["message"], "Unknown tool");
}
