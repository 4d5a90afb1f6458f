use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use serde_json::json;
use tokio::sync::Semaphore;
use tollgate_mcp::{Kind, LogLevel};
use tollgate_upstream::{Incoming, Link};

use crate::fake::{Fake, Seen, greeting, json_answer, refusal, response, status, text};
use crate::{LONG, anyone, http, server, tool_call};

/// A legacy server that logs. The tool `hang` answers when it is let go.
struct Logging {
    begun: AtomicUsize,
    let_go: Semaphore,
    declares: bool,
}

impl Logging {
    fn new(declares: bool) -> Arc<Self> {
        Arc::new(Self { begun: AtomicUsize::new(0), let_go: Semaphore::new(0), declares })
    }

    async fn serve(self: &Arc<Self>) -> Fake {
        let this = Arc::clone(self);
        Fake::start(move |request: Seen| {
            let this = Arc::clone(&this);
            async move {
                let session = format!("s{}", this.begun.load(Ordering::SeqCst));
                if request.rpc() == "initialize" {
                    let session = format!("s{}", this.begun.fetch_add(1, Ordering::SeqCst) + 1);
                    let logging = if this.declares { json!({"logging": {}}) } else { json!({}) };
                    return greeting(&request, &session, &logging);
                }
                if request.header("mcp-session-id") != session {
                    let error =
                        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": ""}});
                    return refusal(if request.rpc() == "server/discover" { 400 } else { 404 }, &error);
                }
                match (&request.method, request.rpc(), request.tool()) {
                    (&Method::POST, "tools/call", "hang") => {
                        this.let_go.acquire().await.unwrap().forget();
                        json_answer(&text(&request, "let go"))
                    }
                    (&Method::POST, "tools/call", _) => json_answer(&text(&request, "done")),
                    (&Method::POST, "logging/setLevel", _) => json_answer(&response(&request, &json!({}))),
                    (&Method::POST, ..) => status(202),
                    _ => status(405),
                }
            }
        })
        .await
    }
}

/// The levels that the server was told, and the calls that it got, in order.
fn said(fake: &Fake) -> Vec<String> {
    let seen = fake.seen.lock().unwrap();
    let told = seen.iter().filter_map(|request| match request.rpc() {
        "logging/setLevel" => Some(request.body["params"]["level"].as_str().unwrap().to_owned()),
        "tools/call" => Some(request.tool().to_owned()),
        _ => None,
    });
    told.collect()
}

async fn call_at(link: &Link, tool: &str, level: Option<LogLevel>) {
    let request = tollgate_upstream::Outbound { log_level: level, ..tool_call(link, tool, &json!({})) };
    let answered = async {
        let mut exchange = link.request(request).await.unwrap();
        while !matches!(exchange.next().await.unwrap(), Incoming::Response(_)) {}
    };
    tokio::time::timeout(LONG, answered).await.expect("an answer");
}

#[tokio::test]
async fn a_server_is_told_the_most_verbose_level_of_what_is_under_way_and_only_when_it_changes() {
    let logging = Logging::new(true);
    let fake = logging.serve().await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    call_at(&link, "quiet", None).await;
    call_at(&link, "a", Some(LogLevel::Info)).await;
    call_at(&link, "b", Some(LogLevel::Info)).await;
    let hanging = tokio::spawn({
        let link = link.clone();
        async move { call_at(&link, "hang", Some(LogLevel::Debug)).await }
    });
    fake.wait_for("tools/call").await;
    crate::eventually(|| said(&fake).contains(&"hang".to_owned()).then_some(())).await;
    // Less is wanted by this one, but not by the other.
    call_at(&link, "c", Some(LogLevel::Error)).await;
    logging.let_go.add_permits(1);
    hanging.await.unwrap();
    call_at(&link, "d", Some(LogLevel::Error)).await;
    assert_eq!(said(&fake), ["quiet", "info", "a", "b", "debug", "hang", "c", "error", "d"]);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_session_that_is_begun_again_is_told_again() {
    let logging = Logging::new(true);
    let fake = logging.serve().await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    call_at(&link, "a", Some(LogLevel::Info)).await;
    logging.begun.fetch_add(1, Ordering::SeqCst);
    call_at(&link, "b", Some(LogLevel::Info)).await;
    let said = said(&fake);
    assert_eq!(said, ["info", "a", "b", "info", "b"], "the level comes before the call is sent once more");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_level_that_is_asked_for_is_sent_and_answered() {
    let logging = Logging::new(true);
    let fake = logging.serve().await;
    let (server, _events) = server(http(fake.url()));
    assert!(server.opened(&anyone()).is_none());
    let link = server.open(&anyone()).await.unwrap();
    assert!(server.opened(&anyone()).is_some_and(|opened| opened.is_same(&link)));
    let answer = link.set_log_level(LogLevel::Alert).await.unwrap().unwrap();
    assert_eq!(answer.kind(), Kind::Result);
    call_at(&link, "a", Some(LogLevel::Alert)).await;
    assert_eq!(said(&fake), ["alert", "a"]);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_server_that_declares_no_logging_is_told_nothing() {
    let fake = Logging::new(false).serve().await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert!(link.set_log_level(LogLevel::Debug).await.unwrap().is_none());
    call_at(&link, "a", Some(LogLevel::Debug)).await;
    assert_eq!(said(&fake), ["a"]);
    server.stop(Duration::ZERO).await;
}
