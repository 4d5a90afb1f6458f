//! Watching servers over HTTP: once for everybody, again after a gap, and no longer than anybody wants it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_upstream::{EventKind, Interest, Isolation, Lists, ServerEvent, Verdict};

use crate::fake::{Answer, Fake, Seen, event, events, greeting, json_answer, response, status};
use crate::{LONG, anyone, caller, eventually, http, server};

fn resource(uri: &str) -> Interest {
    Interest { uris: vec![uri.into()], ..Interest::default() }
}

fn updated(uri: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": uri}})
}

/// The next event, which must be a change of this resource; gives back whether the server itself told it.
async fn told(events: &mut mpsc::Receiver<ServerEvent>, resource: &str) -> bool {
    let event = tokio::time::timeout(LONG, events.recv()).await.expect("in time").expect("an event");
    match event.kind {
        EventKind::ResourceUpdated { uri, message } if &*uri == resource => message.is_some(),
        other => panic!("{other:?}"),
    }
}

/// The streams that a fake has open, oldest first.
type Streams = Arc<Mutex<VecDeque<mpsc::Sender<String>>>>;

/// A legacy server whose resources can be subscribed to, but for one.
async fn legacy() -> (Fake, Streams, Arc<Mutex<String>>) {
    let streams = Streams::default();
    let session = Arc::new(Mutex::new("one".to_owned()));
    let (opened, current) = (Arc::clone(&streams), Arc::clone(&session));
    let fake = Fake::start(move |request: Seen| {
        let (opened, current) = (Arc::clone(&opened), current.lock().unwrap().clone());
        async move {
            match (&request.method, request.rpc()) {
                (_, "server/discover") => status(405),
                (_, "initialize") => greeting(&request, &current, &json!({"resources": {"subscribe": true}})),
                _ if request.header("mcp-session-id") != current => status(404),
                (&Method::GET, _) => {
                    let (sender, answer) = events();
                    opened.lock().unwrap().push_back(sender);
                    answer
                }
                (_, "resources/subscribe") if request.body["params"]["uri"] == "a:none" => {
                    json_answer(&json!({"jsonrpc": "2.0", "id": request.body["id"],
                                        "error": {"code": -32002, "message": "Resource not found"}}))
                }
                (_, "resources/subscribe" | "resources/unsubscribe" | "ping") => {
                    json_answer(&response(&request, &json!({})))
                }
                _ => status(202),
            }
        }
    })
    .await;
    (fake, streams, session)
}

#[tokio::test]
async fn a_legacy_server_is_asked_once_for_all_and_told_after_the_last() {
    let (fake, streams, _) = legacy().await;
    let mut settings = http(fake.url());
    settings.isolation = Some(Isolation::Shared);
    let (server, mut events) = server(settings);
    let many = futures_util::future::join_all((0..20).map(|number| {
        let who = caller(&format!("p{number}"), None, &json!({}));
        let server = server.clone();
        async move { server.watch(&who, resource("a:1")).await.unwrap() }
    }));
    let watches = many.await;
    for watch in &watches {
        watch.settled(LONG).await;
        assert!(matches!(watch.resource("a:1"), Verdict::Honoured));
    }
    assert_eq!(fake.seen("resources/subscribe").len(), 1);
    let stream = eventually(|| streams.lock().unwrap().pop_front()).await;
    stream.send(event(&updated("a:1"))).await.unwrap();
    assert!(told(&mut events, "a:1").await);

    let refused = server.watch(&anyone(), resource("a:none")).await.unwrap();
    refused.settled(LONG).await;
    let Verdict::Refused(message) = refused.resource("a:none") else { panic!("refused") };
    assert_eq!(message.error_code(), Some(-32002));

    let mut watches = watches;
    let last = watches.pop().unwrap();
    drop(watches);
    let other = server.watch(&caller("p1", None, &json!({})), resource("a:2")).await.unwrap();
    other.settled(LONG).await;
    assert!(fake.seen("resources/unsubscribe").is_empty(), "one still wants it");
    drop(last);
    let gone = fake.wait_for("resources/unsubscribe").await;
    assert_eq!(gone.body["params"], json!({"uri": "a:1"}));
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_a_legacy_server_forgot_is_asked_for_again_and_told_as_changed() {
    let (fake, streams, session) = legacy().await;
    let (server, mut events) = server(http(fake.url()));
    let watch = server.watch(&anyone(), resource("a:1")).await.unwrap();
    watch.settled(LONG).await;
    let stream = eventually(|| streams.lock().unwrap().pop_front()).await;

    // The stream alone breaks: the subscription stands, and something may have been missed.
    drop(stream);
    let stream = eventually(|| streams.lock().unwrap().pop_front()).await;
    assert!(!told(&mut events, "a:1").await);
    assert_eq!(fake.seen("resources/subscribe").len(), 1);

    // The server loses the session. Nobody calls it, and it is noticed all the same.
    *session.lock().unwrap() = "two".to_owned();
    drop(stream);
    assert!(!told(&mut events, "a:1").await);
    let asked = fake.seen("resources/subscribe");
    assert_eq!(asked.last().unwrap().header("mcp-session-id"), "two");
    let stream = eventually(|| streams.lock().unwrap().pop_front()).await;
    stream.send(event(&updated("a:1"))).await.unwrap();
    assert!(told(&mut events, "a:1").await);

    // With its session, everything is gone.
    server.close_session(&tollgate_model::SessionId::new("session-1")).await;
    eventually(|| stream.is_closed().then_some(())).await;
    drop(watch);
    server.stop(Duration::ZERO).await;
    assert!(fake.seen("resources/unsubscribe").is_empty(), "the session ends, and that says it all");
}

/// A modern server that grants what `grants` leaves of a filter; `Null` is no answer at all.
async fn modern(grants: impl Fn(&Value) -> Value + Send + Sync + 'static) -> (Fake, Streams) {
    let streams = Streams::default();
    let opened = Arc::clone(&streams);
    let grants = Arc::new(grants);
    let fake = Fake::start(move |request: Seen| {
        let (opened, grants) = (Arc::clone(&opened), Arc::clone(&grants));
        async move {
            match request.rpc() {
                "server/discover" => json_answer(&response(
                    &request,
                    &json!({"supportedVersions": ["2026-07-28"],
                            "capabilities": {"resources": {"subscribe": true, "listChanged": true}}}),
                )),
                "subscriptions/listen" => {
                    listen(&request, &opened, &grants(&request.body["params"]["notifications"])).await
                }
                _ => json_answer(&response(&request, &json!({}))),
            }
        }
    })
    .await;
    (fake, streams)
}

async fn listen(request: &Seen, opened: &Streams, granted: &Value) -> Answer {
    if granted.is_null() {
        std::future::pending::<()>().await;
    }
    let (sender, answer) = events();
    let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {"_meta": {"io.modelcontextprotocol/subscriptionId": request.body["id"]}, "notifications": granted}});
    sender.send(event(&acknowledged)).await.unwrap();
    opened.lock().unwrap().push_back(sender);
    answer
}

#[tokio::test]
async fn a_modern_server_has_one_stream_for_all_and_only_what_it_grants_is_honoured() {
    let (fake, streams) = modern(|asked| {
        let mut granted = asked.clone();
        if let Some(uris) = granted["resourceSubscriptions"].as_array_mut() {
            uris.retain(|uri| uri != "a:secret");
        }
        granted
    })
    .await;
    let (server, mut told_events) = server(http(fake.url()));
    server.open(&anyone()).await.unwrap();
    let first = eventually(|| streams.lock().unwrap().pop_front()).await;
    let watches = futures_util::future::join_all((0..50).map(|number| {
        let server = server.clone();
        let uri = format!("a:{}", number % 5);
        async move {
            server.watch(&caller(&format!("p{number}"), None, &json!({})), resource(&uri)).await.unwrap()
        }
    }))
    .await;
    for (number, watch) in watches.iter().enumerate() {
        watch.settled(LONG).await;
        assert!(matches!(watch.resource(&format!("a:{}", number % 5)), Verdict::Honoured));
        assert_eq!(watch.lists(), Lists { resources: true, ..Lists::default() });
    }
    let second = eventually(|| streams.lock().unwrap().pop_front()).await;
    eventually(|| first.is_closed().then_some(())).await;
    assert!(!second.is_closed());
    assert_eq!(
        fake.seen("subscriptions/listen").len(),
        2,
        "fifty wishes at once are one change of the filter"
    );

    let secret = server.watch(&anyone(), resource("a:secret")).await.unwrap();
    secret.settled(LONG).await;
    assert!(matches!(secret.resource("a:secret"), Verdict::Withheld));
    drop(secret);
    let third = eventually(|| streams.lock().unwrap().pop_back()).await;
    third.send(event(&updated("a:3"))).await.unwrap();
    assert!(told(&mut told_events, "a:3").await);
    drop(watches);
    let asked = || fake.seen("subscriptions/listen").pop().unwrap().body["params"]["notifications"].clone();
    eventually(|| (asked() == json!({"resourcesListChanged": true})).then_some(())).await;
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn after_a_gap_everything_counts_as_changed() {
    let (fake, streams) = modern(Clone::clone).await;
    let (server, mut events) = server(http(fake.url()));
    let watch = server.watch(&anyone(), resource("a:1")).await.unwrap();
    watch.settled(LONG).await;
    let stream = eventually(|| streams.lock().unwrap().pop_back()).await;
    streams.lock().unwrap().clear();
    drop(stream);
    assert_eq!(events.recv().await.unwrap().kind, EventKind::ResourcesChanged);
    assert!(!told(&mut events, "a:1").await);
    let stream = eventually(|| streams.lock().unwrap().pop_back()).await;
    stream.send(event(&updated("a:1"))).await.unwrap();
    assert!(told(&mut events, "a:1").await);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_server_that_lets_subscriptions_hang_is_not_waited_for_again() {
    let (fake, _) = modern(|_| Value::Null).await;
    let mut settings = http(fake.url());
    settings.timeouts.probe = Duration::from_secs(2);
    let (server, _events) = server(settings);
    let watch = server.watch(&anyone(), resource("a:1")).await.unwrap();
    watch.settled(LONG).await;
    assert!(matches!(watch.resource("a:1"), Verdict::Failed(_)));
    eventually(|| matches!(watch.resource("a:1"), Verdict::Withheld).then_some(())).await;
    let asked = fake.seen("subscriptions/listen").len();
    let another = server.watch(&anyone(), resource("a:2")).await.unwrap();
    another.settled(LONG).await;
    assert!(matches!(another.resource("a:2"), Verdict::Withheld));
    assert_eq!(fake.seen("subscriptions/listen").len(), asked);
    server.stop(Duration::ZERO).await;
}
