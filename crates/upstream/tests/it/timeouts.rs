//! How long a request may take in each respect, and what is never sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::mpsc;
use tollgate_upstream::{HttpSettings, Incoming, Link, Outbound, Transport, UpstreamError, Waits};

use crate::fake::{Answer, Fake, Seen, discovery, event, events, json_answer, response, status, text};
use crate::{anyone, child, http, server, settings, text_of, tool_call};

const SHORT: Duration = Duration::from_millis(150);

fn comment() -> String {
    ": still here\n\n".to_owned()
}

/// A modern server whose calls are slow in the way their tool says.
async fn slow(request: Seen) -> Answer {
    if request.rpc() == "server/discover" {
        return discovery(&request);
    }
    match request.tool() {
        "hang" => std::future::pending().await,
        // Says every so often that it is there, and answers after twenty of these.
        "comments" => streams(request, 20),
        "falls-silent" => {
            let (sender, answer) = events();
            tokio::spawn(async move {
                sender.send(comment()).await.unwrap();
                sender.closed().await;
            });
            answer
        }
        "waits" => {
            let (sender, answer) = events();
            tokio::spawn(async move {
                tokio::time::sleep(4 * SHORT).await;
                let _ = sender.send(event(&text(&request, "done"))).await;
            });
            answer
        }
        "for-ever" => streams(request, usize::MAX),
        "break" => panic!("the connection breaks: this is part of the test"),
        "strange" => {
            let mut answer = json_answer(&text(&request, "done"));
            *answer.status_mut() = StatusCode::NOT_FOUND;
            answer
        }
        _ if request.rpc() == "resources/read" => panic!("the connection breaks: this is part of the test"),
        _ => json_answer(&text(&request, "fine")),
    }
}

fn streams(request: Seen, times: usize) -> Answer {
    let (sender, answer) = events();
    tokio::spawn(async move {
        for _ in 0..times {
            tokio::time::sleep(SHORT / 5).await;
            if sender.send(comment()).await.is_err() {
                return;
            }
        }
        let _ = sender.send(event(&text(&request, "done"))).await;
    });
    answer
}

fn with(link: &Link, tool: &str, waits: Waits) -> Outbound {
    Outbound { waits, ..tool_call(link, tool, &json!({})) }
}

async fn ends(link: &Link, tool: &str, waits: Waits) -> Result<(), UpstreamError> {
    let reading = async {
        let mut exchange = link.request(with(link, tool, waits)).await?;
        loop {
            if let Incoming::Response(_) = exchange.next().await? {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(crate::LONG, reading).await.expect("in time")
}

#[tokio::test]
async fn each_timeout_over_http_says_which_it_is() {
    let fake = Fake::start(slow).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let first_byte = Waits { first_byte: Some(SHORT), ..Waits::default() };
    let idle = Waits { idle: Some(SHORT), ..Waits::default() };
    let total = Waits::within(3 * SHORT);
    for (tool, waits, words) in [
        ("hang", first_byte, "within 150 ms (first byte timeout)"),
        ("hang", total, "within 450 ms"),
        ("falls-silent", idle, "silent for 150 ms in the midst of its answer (idle timeout)"),
    ] {
        let error = ends(&link, tool, waits).await.unwrap_err();
        assert_eq!(error.code(), tollgate_model::Code::UpstreamTimeout);
        assert!(error.public().contains(words), "{tool}: {}", error.public());
    }
    // Sound is enough, be it none that means anything. While the machine stands still there is none: one time of several counts.
    let (endless, sound) = (Waits { total: total.total, ..idle }, Waits { first_byte: Some(SHORT), ..idle });
    let mut said = Vec::new();
    while !said.iter().any(|words: &String| words.contains("did not answer the request within 450 ms")) {
        assert!(said.len() < 10, "{said:?}");
        let error = ends(&link, "for-ever", endless).await.unwrap_err();
        assert_eq!(error.code(), tollgate_model::Code::UpstreamTimeout);
        said.push(error.public().to_string());
    }
    let mut failures = Vec::new();
    while let Err(error) = ends(&link, "comments", sound).await {
        failures.push(error);
        assert!(failures.len() < 10, "{failures:?}");
    }
}

#[tokio::test]
async fn a_wait_for_a_person_is_no_silence() {
    let fake = Fake::start(slow).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let waits = Waits { idle: Some(SHORT), ..Waits::default() };
    let mut exchange = link.request(with(&link, "waits", waits)).await.unwrap();
    exchange.suspend(crate::LONG);
    assert!(matches!(exchange.next().await, Ok(Incoming::Response(_))));

    let mut exchange = link.request(with(&link, "falls-silent", waits)).await.unwrap();
    exchange.suspend(crate::LONG);
    exchange.resume();
    assert!(matches!(exchange.next().await, Err(UpstreamError::Idle { .. })), "the clock runs again");
}

#[tokio::test]
async fn a_silent_child_is_given_up_and_told() {
    let (server, _events) = server(child("legacy"));
    let link = server.open(&anyone()).await.unwrap();
    let request = with(&link, "hang", Waits { first_byte: Some(SHORT), ..Waits::default() });
    let id = request.id;
    let mut exchange = link.request(request).await.unwrap();
    assert!(matches!(exchange.next().await, Err(UpstreamError::FirstByte { .. })));
    drop(exchange);
    assert_eq!(text_of(&link, "cancelled", &json!({})).await, format!("[{id}]"));
    server.stop(Duration::ZERO).await;
}

/// A connection that breaks after a request was read says nothing of what became of it.
#[tokio::test]
async fn what_is_on_record_leaves_once() {
    let fake = Fake::start(slow).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let error = ends(&link, "break", Waits::default()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }) && !error.had_no_effect(), "{error:?}");
    let read = Outbound { method: "resources/read".into(), ..with(&link, "x", Waits::default()) };
    let body =
        String::from_utf8(read.body.to_bytes().to_vec()).unwrap().replace("tools/call", "resources/read");
    let read = Outbound { body: bytes::Bytes::from(body).into(), ..read };
    let error = link.request(read).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error:?}");
    assert_eq!((fake.seen("tools/call").len(), fake.seen("resources/read").len()), (1, 1));
}

/// Whatever its status says.
#[tokio::test]
async fn an_answer_that_has_a_result_was_carried_out() {
    let fake = Fake::start(slow).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let error = ends(&link, "strange", Waits::default()).await.unwrap_err();
    assert!(!error.is_stale() && !error.had_no_effect(), "{error:?}");
}

/// A server of 2024-11-05 takes requests by POST, and answers elsewhere: that a POST broke says nothing of what became of it.
#[tokio::test]
async fn a_call_over_http_and_sse_is_posted_once() {
    let posted = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&posted);
    let stream: Arc<std::sync::Mutex<Option<mpsc::Sender<String>>>> = Arc::default();
    let fake = Fake::start(move |request: Seen| {
        let (count, stream) = (Arc::clone(&count), Arc::clone(&stream));
        async move {
            if request.method == Method::GET {
                let (sender, answer) = events();
                sender.send("event: endpoint\ndata: /messages\n\n".to_owned()).await.unwrap();
                *stream.lock().unwrap() = Some(sender);
                return answer;
            }
            match request.rpc() {
                "initialize" => {
                    let stream = stream.lock().unwrap().clone().unwrap();
                    let hello = json!({"protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "o", "version": "1"}});
                    stream.send(event(&response(&request, &hello))).await.unwrap();
                }
                "tools/call" => {
                    count.fetch_add(1, Ordering::SeqCst);
                    panic!("the connection breaks: this is part of the test");
                }
                _ => {}
            }
            status(202)
        }
    })
    .await;
    let (server, _events) = server(settings(Transport::Sse(HttpSettings::new(fake.url()))));
    let link = server.open(&anyone()).await.unwrap();
    let error = ends(&link, "count", Waits::default()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error:?}");
    assert_eq!(posted.load(Ordering::SeqCst), 1);
}
