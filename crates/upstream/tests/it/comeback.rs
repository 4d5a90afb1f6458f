//! Legacy servers whose streams end before the response, on purpose or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tollgate_model::Code;
use tollgate_upstream::Incoming;

use crate::fake::{Answer, Fake, Seen, event, events, greeting, status, text};
use crate::{anyone, call, http, server, text_of, tool_call, value};

/// A stream of these chunks, which then ends.
async fn ending(chunks: impl IntoIterator<Item = String>) -> Answer {
    let (sender, answer) = events();
    for chunk in chunks {
        sender.send(chunk).await.unwrap();
    }
    answer
}

fn with_id(id: &str, message: &Value) -> String {
    format!("id: {id}\n{}", event(message))
}

fn progress(request: &Seen, step: u32) -> Value {
    let token = &request.body["params"]["_meta"]["progressToken"];
    json!({"jsonrpc": "2.0", "method": "notifications/progress",
           "params": {"progressToken": token, "progress": step}})
}

/// A legacy server that answers calls and GETs by these functions, the latter given the call and the number of the GET.
async fn legacy<C, G, A, B>(call: C, get: G) -> Fake
where
    C: Fn(Seen) -> A + Send + Sync + 'static,
    G: Fn(Seen, Seen, usize) -> B + Send + Sync + 'static,
    A: Future<Output = Answer> + Send + 'static,
    B: Future<Output = Answer> + Send + 'static,
{
    let called = Arc::new(std::sync::Mutex::new(None));
    let gets = Arc::new(AtomicUsize::new(0));
    let (on_call, on_get) = (Arc::new(call), Arc::new(get));
    Fake::start(move |request: Seen| {
        let (called, gets) = (Arc::clone(&called), Arc::clone(&gets));
        let (on_call, on_get) = (Arc::clone(&on_call), Arc::clone(&on_get));
        async move {
            match (&request.method, request.rpc()) {
                // It has no stream for what belongs to no call.
                (&Method::GET, _) if request.header("last-event-id").is_empty() => status(405),
                (&Method::GET, _) => {
                    let number = gets.fetch_add(1, Ordering::SeqCst);
                    let call: Option<Seen> = called.lock().unwrap().clone();
                    on_get(request, call.expect("a call before"), number).await
                }
                (_, "initialize") => greeting(&request, "s", &json!({})),
                (_, "server/discover") => status(400),
                (_, "tools/call") => {
                    *called.lock().unwrap() = Some(request.clone());
                    on_call(request).await
                }
                _ => status(202),
            }
        }
    })
    .await
}

fn resumed_after(fake: &Fake) -> Vec<String> {
    let gets = fake.of_method(&Method::GET);
    let ids = gets.iter().map(|get| get.header("last-event-id").to_owned());
    ids.filter(|id| !id.is_empty()).collect()
}

#[tokio::test]
async fn a_server_that_ends_the_connection_on_purpose_is_polled() {
    let fake = legacy(
        |_| ending(["id: a\nretry: 150\ndata:\n\n".to_owned()]),
        |_, call, number| async move {
            match number {
                // Nothing new yet: it primes again.
                0 => ending(["id: b\ndata: \n\n".to_owned()]).await,
                // An event that is cut in its middle has not come.
                1 => ending([with_id("c", &progress(&call, 1)), "id: d\ndata: {\"json".to_owned()]).await,
                // A server that begins with the last event itself tells it twice.
                _ => {
                    let again = with_id("c", &progress(&call, 1));
                    ending([again, with_id("d", &progress(&call, 2)), with_id("e", &text(&call, "done"))])
                        .await
                }
            }
        },
    )
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let begun = Instant::now();
    let (before, response) = call(&link, "x", &json!({})).await.unwrap();
    assert_eq!(response["result"]["content"][0]["text"], "done");
    let steps: Vec<_> = before.iter().map(|message| message["params"]["progress"].clone()).collect();
    assert_eq!(steps, [1, 2], "each once and in order");
    assert_eq!(resumed_after(&fake), ["a", "b", "c"]);
    assert!(begun.elapsed() >= Duration::from_millis(450), "the server's wait is kept");
    for get in fake.of_method(&Method::GET) {
        assert_eq!((get.header("mcp-session-id"), get.header("mcp-protocol-version")), ("s", "2025-11-25"));
        assert_eq!(get.header("accept"), "text/event-stream");
    }
    assert_eq!(fake.seen("tools/call").len(), 1);
    assert!(fake.seen("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn without_an_id_there_is_no_coming_back() {
    let fake = legacy(
        |request| async move { ending([event(&progress(&request, 1))]).await },
        |_, _, _| async { status(500) },
    )
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(call(&link, "x", &json!({})).await.unwrap_err().code(), Code::UpstreamClosed);
    assert!(resumed_after(&fake).is_empty());
    fake.wait_for("notifications/cancelled").await;
}

#[tokio::test]
async fn a_server_that_does_not_resume_is_not_asked_again_and_one_in_trouble_a_few_times() {
    for (code, asked) in [(400, 1), (404, 1), (405, 1), (500, 5), (503, 5), (429, 5)] {
        let fake = legacy(
            |request| async move { ending([with_id("a", &progress(&request, 1))]).await },
            move |_, _, _| async move { status(code) },
        )
        .await;
        let mut settings = http(fake.url());
        settings.timeouts.backoff_min = Duration::from_millis(1);
        let (server, _events) = server(settings);
        let link = server.open(&anyone()).await.unwrap();
        let failed = call(&link, "x", &json!({})).await.unwrap_err();
        assert_eq!(failed.code(), Code::UpstreamClosed, "{code}");
        assert_eq!(resumed_after(&fake).len(), asked, "{code}");
        // It may still be at work.
        fake.wait_for("notifications/cancelled").await;
    }
}

#[tokio::test]
async fn a_server_that_is_polled_for_ever_meets_the_deadline() {
    let fake = legacy(
        |_| ending(["id: 0\nretry: 1\ndata:\n\n".to_owned()]),
        |_, _, number| async move { ending([format!("id: {number}\ndata:\n\n")]).await },
    )
    .await;
    let mut settings = http(fake.url());
    settings.timeouts.request = Duration::from_millis(300);
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    // A machine that stands still leaves no time to come back.
    let mut times: Vec<usize> = Vec::new();
    while !times.iter().any(|times| *times > 1) {
        assert!(times.len() < 10, "{times:?}");
        let before = resumed_after(&fake).len();
        assert_eq!(call(&link, "x", &json!({})).await.unwrap_err().code(), Code::UpstreamTimeout);
        times.push(resumed_after(&fake).len() - before);
    }
    fake.wait_for("notifications/cancelled").await;
}

#[tokio::test]
async fn a_reader_that_stops_waiting_and_starts_again_loses_nothing() {
    let fake = legacy(
        |_| ending(["id: a\nretry: 200\ndata:\n\n".to_owned()]),
        |_, call, _| async move { ending([with_id("b", &text(&call, "done"))]).await },
    )
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let mut exchange = link.request(tool_call(&link, "x", &json!({}))).await.unwrap();
    let mut looks = 0;
    let message = loop {
        looks += 1;
        if let Ok(next) = tokio::time::timeout(Duration::from_millis(20), exchange.next()).await {
            break next.unwrap();
        }
    };
    let Incoming::Response(message) = message else { panic!("{message:?}") };
    assert_eq!(value(&message)["result"]["content"][0]["text"], "done");
    assert!(looks > 1);
    assert_eq!(fake.seen("tools/call").len(), 1);
}

#[tokio::test]
async fn who_leaves_while_there_is_no_connection_cancels() {
    let fake =
        legacy(|_| ending(["id: a\nretry: 60000\ndata:\n\n".to_owned()]), |_, _, _| async { status(500) })
            .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let mut exchange = link.request(tool_call(&link, "x", &json!({}))).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), exchange.next()).await.is_err());
    drop(exchange);
    fake.wait_for("notifications/cancelled").await;
    assert!(resumed_after(&fake).is_empty());
}

/// A server that has forgotten a session may give the same event ids to other streams.
#[tokio::test]
async fn no_stream_is_resumed_in_a_session_that_was_begun_after() {
    let has_forgotten = AtomicBool::new(false);
    let fake = legacy(
        move |call| {
            let first = call.body["params"]["name"] == "first";
            let forgets = !first && !has_forgotten.swap(true, Ordering::SeqCst);
            async move {
                if forgets {
                    return status(404);
                }
                let message = if first { progress(&call, 1) } else { text(&call, "done") };
                ending([with_id("a", &message)]).await
            }
        },
        |_, call, _| async move { ending([with_id("b", &text(&call, "another stream"))]).await },
    )
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let mut first = link.request(tool_call(&link, "first", &json!({}))).await.unwrap();
    assert!(matches!(first.next().await, Ok(Incoming::Notification(_))));
    assert_eq!(text_of(&link, "second", &json!({})).await, "done");
    let ended = tokio::time::timeout(crate::LONG, first.next()).await.expect("an end");
    assert_eq!(ended.unwrap_err().code(), Code::UpstreamClosed);
    assert!(resumed_after(&fake).is_empty());
    server.stop(Duration::ZERO).await;
}
