use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Response;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tollgate_model::{Code, Retry, Why};
use tollgate_upstream::{Reach, UpstreamError, Waits};

use crate::fake::{Answer, Fake, Seen, discovery, event, events, full, json_answer, refusal, status, text};
use crate::{anyone, call, eventually, http, server, text_of, tool_call};

/// A modern server whose calls go wrong in the way their tool says.
async fn faulty(request: Seen) -> Answer {
    if request.rpc() == "server/discover" {
        return discovery(&request);
    }
    match request.tool() {
        "page" => {
            Response::builder().header("content-type", "text/html; charset=utf-8").body(full("<p>")).unwrap()
        }
        "nothing" => status(202),
        "malformed" => Response::builder()
            .header("content-type", "application/json")
            .body(full("{\"jsonrpc\":"))
            .unwrap(),
        "not-utf8" => {
            let body = full(&b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{\"a\":\"\xff\"}}"[..]);
            Response::builder().header("content-type", "application/json").body(body).unwrap()
        }
        "wrong-id" => json_answer(&json!({"jsonrpc": "2.0", "id": 424_242, "result": {}})),
        "large" => json_answer(&text(&request, &"x".repeat(200_000))),
        "broken" => {
            let (sender, answer) = events();
            sender.send("event: message\ndata: {\"jsonrpc\"".to_owned()).await.unwrap();
            answer
        }
        "large-event" => {
            let (sender, answer) = events();
            tokio::spawn(async move { sender.send(event(&text(&request, &"x".repeat(200_000)))).await });
            answer
        }
        "strays" => {
            let (sender, answer) = events();
            tokio::spawn(async move {
                sender.send(event(&json!({"jsonrpc": "2.0", "id": 7, "result": {}}))).await.unwrap();
                sender
                    .send(event(&json!({"jsonrpc": "2.0", "id": 8, "method": "roots/list"})))
                    .await
                    .unwrap();
                sender.send(event(&text(&request, "first"))).await.unwrap();
                let _ = sender.send(event(&text(&request, "second"))).await;
            });
            answer
        }
        "hang" => std::future::pending().await,
        "forbidden" => refusal(403, &json!({"error": "secret text"})),
        "down" => status(503),
        "failing" => status(500),
        _ => json_answer(&text(&request, "fine")),
    }
}

#[tokio::test]
async fn each_fault_is_a_clear_error_and_the_next_call_works() {
    let fake = Fake::start(faulty).await;
    let mut settings = http(fake.url());
    settings.limits.message_bytes_max = 100_000;
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    for (tool, code, words) in [
        ("page", Code::UpstreamProtocol, "text/html"),
        ("nothing", Code::UpstreamProtocol, "202"),
        ("malformed", Code::UpstreamProtocol, "cannot be read"),
        ("not-utf8", Code::UpstreamProtocol, "cannot be read"),
        ("wrong-id", Code::UpstreamProtocol, "another id"),
        ("large", Code::UpstreamTooLarge, "100000"),
        ("large-event", Code::UpstreamTooLarge, "100000"),
        ("broken", Code::UpstreamClosed, "ended"),
        ("forbidden", Code::UpstreamAuth, "403"),
        ("down", Code::UpstreamUnavailable, "503"),
        ("failing", Code::UpstreamProtocol, "500"),
    ] {
        let error = call(&link, tool, &json!({})).await.unwrap_err();
        assert_eq!(error.code(), code, "{tool}: {error:?}");
        assert!(error.public().contains(words), "{tool}: {}", error.public());
        assert!(!error.public().contains("secret"), "{tool}");
        assert_eq!(text_of(&link, "fine", &json!({})).await, "fine", "after {tool}");
    }
}

/// Callers are told when to come again, but not that it is safe where the request may have been carried out.
#[tokio::test]
async fn a_server_that_wants_no_more_says_when_to_come_again() {
    let fake = Fake::start(|request: Seen| async move {
        if request.rpc() == "server/discover" {
            return discovery(&request);
        }
        let (code, wait) = if request.tool() == "lost" { (503, "7") } else { (429, "18446744073709551615") };
        let mut answer = status(code);
        answer.headers_mut().insert("retry-after", wait.parse().unwrap());
        answer
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let day = Duration::from_hours(24);
    for (tool, retry, wait) in [("lost", Retry::Unsafe, Duration::from_secs(7)), ("many", Retry::Safe, day)] {
        let error = call(&link, tool, &json!({})).await.unwrap_err();
        let refusal = error.refusal(server.name());
        assert_eq!(refusal.retry(), retry, "{tool}");
        assert!(matches!(refusal.why.as_deref(), Some(Why::Later(after)) if *after == wait), "{refusal:?}");
        assert_eq!(refusal.unsent().retry(), Retry::Safe, "{tool}");
    }
}

#[tokio::test]
async fn what_answers_nothing_disturbs_nobody() {
    let fake = Fake::start(faulty).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "strays", &json!({})).await, "first");
    assert_eq!(server.status().counters.protocol_errors, 2);
}

/// Interim responses (RFC 9110, section 15.2) without end are no answer, and whoever sends them does not keep the thread.
#[tokio::test]
async fn an_answer_that_never_begins_is_cut_off() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = socket.read(&mut [0; 4096]).await;
                let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000);
                while socket.write_all(hints.as_bytes()).await.is_ok() {}
            });
        }
    });
    let mut settings = http(format!("http://{address}/mcp").parse().unwrap());
    settings.era = tollgate_upstream::EraChoice::Modern;
    settings.timeouts.probe = Duration::from_mins(10);
    let (server, _events) = server(settings);
    let opened = tokio::time::timeout(Duration::from_secs(20), server.open(&anyone())).await;
    let error = opened.expect("it is cut off").unwrap_err();
    assert_eq!(error.code(), Code::UpstreamClosed, "{error:?}");
}

#[tokio::test]
async fn a_hanging_call_ends_in_time() {
    let fake = Fake::start(faulty).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let mut request = tool_call(&link, "hang", &json!({}));
    request.waits = Waits::within(Duration::from_millis(100));
    let error = link.request(request).await.unwrap_err();
    assert_eq!(error.code(), Code::UpstreamTimeout);
}

#[tokio::test]
async fn a_refused_credential_never_passes_on_the_challenge() {
    let fake = Fake::start(|_| async {
        let mut answer = status(401);
        answer
            .headers_mut()
            .insert("www-authenticate", "Bearer resource_metadata=\"https://evil\"".parse().unwrap());
        answer
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let error = server.open(&anyone()).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Auth { status: 401 }));
    assert!(!format!("{error} {}", error.public()).contains("evil"));
    let refusal = error.refusal(server.name());
    assert_eq!((refusal.code, refusal.server.as_ref()), (Code::UpstreamAuth, Some(server.name())));
    assert!(fake.seen("initialize").is_empty(), "a refused credential says nothing of the era");
}

#[tokio::test]
async fn a_server_that_is_down_at_first_is_found_when_it_is_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (server, _events) = server(http(format!("http://{address}/mcp").parse().unwrap()));
    let error = server.open(&anyone()).await.unwrap_err();
    assert_eq!(error.code(), Code::UpstreamUnavailable);
    assert!(!error.public().contains(&address.port().to_string()), "{}", error.public());
    let status = server.status();
    let Reach::Down { code, retry_at, .. } = status.reach else { panic!("{status:?}") };
    assert_eq!(code, Code::UpstreamUnavailable);
    assert!(retry_at.is_some());

    let _fake = Fake::start_at(address, None, faulty).await;
    let up = async {
        loop {
            match server.open(&anyone()).await {
                Ok(link) => return link,
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    let link = tokio::time::timeout(crate::LONG, up).await.unwrap();
    assert_eq!(text_of(&link, "fine", &json!({})).await, "fine");
    assert!(matches!(server.status().reach, Reach::Up { .. }));
}

#[tokio::test]
async fn a_failed_start_is_remembered_for_its_backoff() {
    let fake = Fake::start(|_| async { status(503) }).await;
    let mut settings = http(fake.url());
    settings.timeouts.backoff_min = Duration::from_mins(1);
    settings.timeouts.backoff_max = Duration::from_mins(1);
    let (server, _events) = server(settings);
    let first = server.open(&anyone()).await.unwrap_err();
    let asked = fake.seen.lock().unwrap().len();
    let begun = Instant::now();
    for _ in 0..10 {
        let again = server.open(&anyone()).await.unwrap_err();
        assert_eq!(again.public(), first.public());
    }
    assert!(begun.elapsed() < crate::LONG);
    assert_eq!(fake.seen.lock().unwrap().len(), asked);
}

/// A server without manners: each connection answers once, with this head, and is closed.
async fn curt(head: fn(usize) -> String) -> (http::Uri, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closed = Arc::new(AtomicUsize::new(0));
    let done = Arc::clone(&closed);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let done = Arc::clone(&done);
            tokio::spawn(async move {
                let mut request = vec![0; 16 << 10];
                let read = socket.read(&mut request).await.unwrap();
                let request = String::from_utf8_lossy(&request[..read]).into_owned();
                let body: serde_json::Value =
                    serde_json::from_str(request.split("\r\n\r\n").nth(1).unwrap()).unwrap();
                let result = if body["method"] == "server/discover" {
                    json!({"supportedVersions": ["2026-07-28"], "capabilities": {}})
                } else {
                    json!({"content": [{"type": "text", "text": "once"}]})
                };
                let answer = json!({"jsonrpc": "2.0", "id": body["id"], "result": result}).to_string();
                socket.write_all((head(answer.len()) + &answer).as_bytes()).await.unwrap();
                drop(socket);
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
    });
    (format!("http://{address}/mcp").parse().unwrap(), closed)
}

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";

#[tokio::test]
async fn a_connection_that_the_server_closes_is_replaced() {
    let heads: [fn(usize) -> String; 4] = [
        // It promises to stay open.
        |length| format!("{HEAD}content-length: {length}\r\n\r\n"),
        |length| format!("{HEAD}content-length: {length}\r\nconnection: close\r\n\r\n"),
        |_| format!("{HEAD}connection: close\r\n\r\n"),
        |_| format!("{}\r\n", HEAD.replace("1.1", "1.0")),
    ];
    for head in heads {
        let (url, closed) = curt(head).await;
        let (server, _events) = server(http(url));
        let link = server.open(&anyone()).await.unwrap();
        for number in 1..=5 {
            eventually(|| (closed.load(Ordering::SeqCst) >= number).then_some(())).await;
            assert_eq!(text_of(&link, "x", &json!({})).await, "once", "{}", head(9));
        }
    }
}

#[tokio::test]
async fn a_large_answer_arrives_whole() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            _ => json_answer(&text(&request, &"y".repeat(10 << 20))),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "x", &json!({"z": "x".repeat(1 << 20)})).await.len(), 10 << 20);
    assert_eq!(text_of(&link, "x", &json!({})).await.len(), 10 << 20);
    assert_eq!(fake.connections(), 1);
}
