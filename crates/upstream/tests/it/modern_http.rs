use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, Method};
use serde_json::json;
use tollgate_model::{Era, Revision};
use tollgate_upstream::{HttpVersion, Incoming, Reach, Transport};

use crate::fake::{
    Fake, Seen, discovery, event, events, greeting, json_answer, refusal, response, status, text,
};
use crate::{anyone, call, caller, eventually, http, server, settings, text_of, tool_call, value};

async fn modern(request: Seen) -> crate::fake::Answer {
    match request.rpc() {
        "server/discover" => discovery(&request),
        "tools/call" if request.tool() == "stream" => {
            let (sender, answer) = events();
            tokio::spawn(async move {
                for step in 0..3 {
                    let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                                          "params": {"progressToken": 1, "progress": step}});
                    sender.send(event(&progress)).await.unwrap();
                }
                sender.send(event(&text(&request, "done"))).await.unwrap();
            });
            answer
        }
        "tools/call" => json_answer(&text(&request, "pong")),
        _ => status(400),
    }
}

#[tokio::test]
async fn a_modern_server_is_discovered_and_called_without_state() {
    let fake = Fake::start(modern).await;
    let (server, _events) = server(http(fake.url()));
    assert_eq!(server.status().reach, Reach::Unknown);

    let link = server.open(&anyone()).await.unwrap();
    assert_eq!((link.era(), link.revision()), (Era::Modern, Revision::V2026_07_28));
    assert_eq!(&link.hello().capabilities[..], br#"{"tools":{}}"#);
    assert_eq!(link.hello().instructions.as_deref(), Some(&br#""Be kind.""#[..]));
    assert!(link.hello().info.is_some());

    let mut request = tool_call(&link, "Grüße ", &json!({"a": 1}));
    request.params.push((HeaderName::from_static("mcp-param-region"), HeaderValue::from_static("eu")));
    let mut exchange = link.request(request.clone()).await.unwrap();
    let Incoming::Response(answer) = exchange.next().await.unwrap() else { panic!("a response") };
    assert_eq!(value(&answer)["result"]["content"][0]["text"], "pong");
    assert_eq!(answer.id_u64(), Some(request.id));

    let seen = fake.seen("tools/call").remove(0);
    assert_eq!(seen.header("mcp-protocol-version"), "2026-07-28");
    assert_eq!(seen.header("mcp-method"), "tools/call");
    assert_eq!(tollgate_mcp::headers::decode_value(seen.header("mcp-name").as_bytes()).unwrap(), "Grüße ");
    assert_eq!(seen.header("mcp-param-region"), "eu");
    assert_eq!(seen.header("accept"), "application/json, text/event-stream");
    assert_eq!(seen.header("host"), fake.address.to_string());
    assert_eq!(seen.body, serde_json::from_slice::<serde_json::Value>(&request.body.into_bytes()).unwrap());

    let discover = fake.seen("server/discover");
    assert_eq!(discover.len(), 1);
    let meta = &discover[0].body["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert_eq!(meta["io.modelcontextprotocol/clientCapabilities"], json!({}));
    assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "tollgate");
}

#[tokio::test]
async fn everyone_shares_a_modern_server_whatever_their_capabilities() {
    let fake = Fake::start(modern).await;
    let (server, _events) = server(http(fake.url()));
    let one = server.open(&caller("a", Some("s1"), &json!({"roots": {}}))).await.unwrap();
    let two = server.open(&caller("b", None, &json!({}))).await.unwrap();
    assert!(one.is_same(&two));
    assert_eq!(fake.seen("server/discover").len(), 1);
    assert_eq!(server.status().instances, 1);
}

#[tokio::test]
async fn progress_arrives_before_the_response_and_the_connection_is_used_again() {
    let fake = Fake::start(modern).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    for _ in 0..5 {
        let (before, answer) = call(&link, "stream", &json!({})).await.unwrap();
        assert_eq!(
            before.iter().map(|p| p["params"]["progress"].as_i64().unwrap()).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert_eq!(answer["result"]["content"][0]["text"], "done");
        assert_eq!(text_of(&link, "ping", &json!({})).await, "pong");
    }
    // The end of a stream may come a moment after its response, so that one more may be opened meanwhile.
    assert!(fake.connections() <= 3, "{} connections", fake.connections());
}

#[tokio::test]
async fn one_connection_serves_calls_that_follow_each_other() {
    let fake = Fake::start(modern).await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    for _ in 0..20 {
        text_of(&link, "ping", &json!({})).await;
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn dropping_an_exchange_closes_its_stream() {
    let closed = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&closed);
    let fake = Fake::start(move |request: Seen| {
        let told = Arc::clone(&told);
        async move {
            if request.rpc() == "server/discover" {
                return discovery(&request);
            }
            let (sender, answer) = events();
            tokio::spawn(async move {
                sender.send(":\n\n".to_owned()).await.unwrap();
                sender.closed().await;
                told.store(true, Ordering::SeqCst);
            });
            answer
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let exchange = link.request(tool_call(&link, "stream", &json!({}))).await.unwrap();
    drop(exchange);
    eventually(|| closed.load(Ordering::SeqCst).then_some(())).await;
    assert!(fake.seen("notifications/cancelled").is_empty());
}

#[tokio::test]
async fn errors_of_a_modern_server_pass_as_they_are() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            _ => refusal(
                400,
                &json!({"jsonrpc": "2.0", "id": request.body["id"],
                        "error": {"code": -32020, "message": "Header mismatch"}}),
            ),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let (_, answer) = call(&link, "x", &json!({})).await.unwrap();
    assert_eq!(answer["error"]["code"], -32020);
}

#[tokio::test]
async fn a_modern_server_that_refuses_as_no_other_does_is_not_asked_twice() {
    let fake = Fake::start(|request: Seen| async move {
        match request.rpc() {
            "server/discover" => discovery(&request),
            _ if request.tool() == "own" => {
                let error = json!({"code": -32000, "message": "It failed half way"});
                refusal(400, &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": error}))
            }
            _ => status(404),
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let error = call(&link, "bare", &json!({})).await.unwrap_err();
    assert!(!error.is_stale() && !error.had_no_effect(), "{error:?}");
    let (_, answer) = call(&link, "own", &json!({})).await.unwrap();
    assert_eq!(answer["error"]["message"], "It failed half way");
    assert_eq!(fake.seen("tools/call").len(), 2);
    assert!(server.open(&anyone()).await.unwrap().is_same(&link), "the server is what it was");
}

#[tokio::test]
async fn the_era_is_probed_again_when_it_stops_fitting() {
    let legacy = Arc::new(AtomicBool::new(false));
    let now_legacy = Arc::clone(&legacy);
    let fake = Fake::start(move |request: Seen| {
        let legacy = now_legacy.load(Ordering::SeqCst);
        async move {
            match request.rpc() {
                "initialize" if legacy => greeting(&request, "s", &json!({})),
                "notifications/initialized" => status(202),
                "tools/call" if legacy && request.headers.contains_key("mcp-session-id") => {
                    json_answer(&text(&request, "legacy"))
                }
                _ if legacy => refusal(400, &json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "No session"}})),
                "server/discover" => discovery(&request),
                _ => json_answer(&text(&request, "modern")),
            }
        }
    })
    .await;
    let (server, _events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "x", &json!({})).await, "modern");

    legacy.store(true, Ordering::SeqCst);
    let error = call(&link, "x", &json!({})).await.unwrap_err();
    assert!(error.is_stale(), "{error:?}");
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(link.era(), Era::Legacy);
    assert_eq!(text_of(&link, "x", &json!({})).await, "legacy");
}

#[tokio::test]
async fn a_modern_server_of_other_revisions_is_unsupported_and_of_legacy_ones_is_initialized() {
    for (supported, works) in [(json!(["2031-01-01"]), false), (json!(["2031-01-01", "2025-11-25"]), true)] {
        let fake = Fake::start(move |request: Seen| {
            let supported = supported.clone();
            async move {
                match request.rpc() {
                    "server/discover" => refusal(
                        400,
                        &json!({"jsonrpc": "2.0", "id": request.body["id"],
                                "error": {"code": -32022, "message": "?", "data": {"supported": supported}}}),
                    ),
                    "initialize" => greeting(&request, "", &json!({})),
                    _ => status(202),
                }
            }
        })
        .await;
        let (server, _events) = server(http(fake.url()));
        let opened = server.open(&anyone()).await;
        assert_eq!(opened.is_ok(), works, "{opened:?}");
        assert_eq!(fake.seen("initialize").len(), usize::from(works));
    }
}

#[tokio::test]
async fn a_server_that_refuses_the_revision_that_it_names_is_asked_once_more() {
    for (refusals, era) in [(1, Era::Modern), (usize::MAX, Era::Legacy)] {
        let asked = Arc::new(AtomicUsize::new(0));
        let fake = Fake::start(move |request: Seen| {
            let refuses =
                request.rpc() == "server/discover" && asked.fetch_add(1, Ordering::SeqCst) < refusals;
            async move {
                let id = &request.body["id"];
                let data = json!({"supported": ["2026-07-28"], "requested": "?"});
                match request.rpc() {
                    "server/discover" if refuses => refusal(
                        400,
                        &json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32022, "message": "?", "data": data}}),
                    ),
                    "server/discover" => discovery(&request),
                    "initialize" => greeting(&request, "", &json!({})),
                    _ => status(202),
                }
            }
        })
        .await;
        let (server, _events) = server(http(fake.url()));
        let link = server.open(&anyone()).await.unwrap();
        assert_eq!(link.era(), era);
        assert_eq!(fake.seen("server/discover").len(), 2);
    }
}

#[tokio::test]
async fn http2_is_spoken_by_prior_knowledge() {
    let fake = Fake::start(modern).await;
    let mut with_http2 = http(fake.url());
    let Transport::Http(transport) = &mut with_http2.transport else { unreachable!() };
    transport.version = HttpVersion::Http2;
    let (server, _events) = server(settings(with_http2.transport));
    let link = server.open(&anyone()).await.unwrap();
    let nothing = json!({});
    let calls = (0..20).map(|_| text_of(&link, "ping", &nothing));
    assert!(futures_util::future::join_all(calls).await.iter().all(|text| text == "pong"));
    call(&link, "stream", &json!({})).await.unwrap();
    assert_eq!(fake.connections(), 1);
    assert_eq!(fake.of_method(&Method::POST).len(), 22);
}

#[tokio::test]
async fn a_list_change_told_on_a_calls_stream_becomes_an_event() {
    let fake = Fake::start(|request: Seen| async move {
        if request.rpc() == "server/discover" {
            return discovery(&request);
        }
        let (sender, answer) = events();
        tokio::spawn(async move {
            sender
                .send(event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})))
                .await
                .unwrap();
            sender.send(event(&response(&request, &json!({})))).await.unwrap();
        });
        answer
    })
    .await;
    let (server, mut events) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let (before, _) = call(&link, "x", &json!({})).await.unwrap();
    assert!(before.is_empty());
    let event = events.recv().await.unwrap();
    assert_eq!(event.kind, tollgate_upstream::EventKind::ToolsChanged);
    assert_eq!(event.audience, tollgate_upstream::Audience::Everyone);
}

#[tokio::test]
async fn a_modern_server_is_listened_to_and_a_gap_counts_as_a_change() {
    let streams = Arc::new(std::sync::Mutex::new(Vec::new()));
    let opened = Arc::clone(&streams);
    let fake = Fake::start(move |request: Seen| {
        let opened = Arc::clone(&opened);
        async move {
            match request.rpc() {
                "server/discover" => json_answer(&response(
                    &request,
                    &json!({"supportedVersions": ["2026-07-28"],
                            "capabilities": {"tools": {"listChanged": true}, "prompts": {"listChanged": false}}}),
                )),
                "subscriptions/listen" => {
                    let (sender, answer) = events();
                    let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                        "params": {"notifications": {"toolsListChanged": true}}});
                    sender.send(event(&acknowledged)).await.unwrap();
                    opened.lock().unwrap().push(sender);
                    answer
                }
                _ => json_answer(&text(&request, "fine")),
            }
        }
    })
    .await;
    let (server, mut told) = server(http(fake.url()));
    let link = server.open(&anyone()).await.unwrap();
    let stream = eventually(|| streams.lock().unwrap().pop()).await;
    let listen = fake.seen("subscriptions/listen").remove(0);
    assert_eq!(listen.body["params"]["notifications"], json!({"toolsListChanged": true}));
    assert_eq!(listen.header("mcp-method"), "subscriptions/listen");
    stream
        .send(event(&json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})))
        .await
        .unwrap();
    assert_eq!(told.recv().await.unwrap().kind, tollgate_upstream::EventKind::ToolsChanged);
    drop(stream);
    assert_eq!(told.recv().await.unwrap().kind, tollgate_upstream::EventKind::ToolsChanged);
    let stream = eventually(|| streams.lock().unwrap().pop()).await;
    assert_eq!(text_of(&link, "x", &json!({})).await, "fine");
    server.stop(std::time::Duration::ZERO).await;
    eventually(|| stream.is_closed().then_some(())).await;
}
