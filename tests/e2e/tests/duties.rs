//! What the specification, and good sense, ask of a gateway, one test each, in the order of the list of duties. Each
//! looks at the real binary from outside. Where a duty belongs to something that is not built yet, its test asserts what
//! holds without it, and says what is left.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers, stdio, with};
use tollgate_e2e::upstream::{Kind, Upstream, fake_child};
use tollgate_testkit::fake::stdio::{Stage, alive};
use tollgate_testkit::fake::{
    Answer, Ask, Call, Dialect, FakeServer, Http, HttpPeer, LEAK, Reply, Script, json as raw, soon, until,
};

/// A modern and a legacy server behind one gateway.
async fn both() -> (Gateway, FakeServer, FakeServer) {
    both_with(Script::modern(), Script::legacy(), json!({})).await
}

async fn both_with(new: Script, old: Script, more: Value) -> (Gateway, FakeServer, FakeServer) {
    let new = FakeServer::start(new).await;
    let old = FakeServer::start(old).await;
    let config = with(&servers([("new", http(&new.url())), ("old", http(&old.url()))]), more);
    (Gateway::start(&config).await, new, old)
}

fn echo() -> Call {
    Call::tool("new__echo", "{}")
}

fn code(reply: &Reply) -> i64 {
    Answer::of(reply).code()
}

/// A tool whose arguments are repeated in headers, one of them nested.
const MIRRORED: &str = r#"{"name":"query","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"where":{"type":"object","properties":{"zone":{"type":"integer","x-mcp-header":"Zone"}}}}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_01_origin_is_validated() {
    let (gateway, new, _old) = both_with(
        Script::modern(),
        Script::legacy(),
        json!({ "allowed_origins": ["https://app.example.com"] }),
    )
    .await;
    let modern = gateway.modern("/mcp");
    let legacy = gateway.legacy("/mcp").await;
    let asks = [
        modern.ask("7", &echo()),
        legacy.ask("7", &echo()),
        Ask::new("GET", "/sse").with("Accept", "text/event-stream"),
    ];
    for ask in &asks {
        for origin in ["https://evil.example", "null", "http://localhost.evil.example"] {
            let reply = modern.http.send(&ask.clone().with("Origin", origin)).await;
            assert_eq!(reply.status, 403, "{} from {origin}: {}", ask.target, reply.everything());
            assert!(raw::find(&reply.text(), &["error"]).is_some(), "{}", reply.text());
        }
    }
    let reply = modern.http.send(&asks[0].clone().with("Origin", "https://evil.example")).await;
    assert!(raw::find(&reply.text(), &["id"]).is_none(), "the error answers no request: {}", reply.text());
    assert!(new.log().of_method("tools/call").is_empty(), "nothing was carried out");
    let reply = modern.http.send(&asks[0].clone().with("Origin", "https://app.example.com")).await;
    assert_eq!(reply.status, 200, "{}", reply.everything());
}

/// Left for later: authentication, without which nothing beyond this machine is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_02_without_identity_only_this_machine_is_served() {
    let (_folder, config) = config_file(&servers([]));
    for listen in ["0.0.0.0:0", "[::]:0"] {
        let run = tokio::process::Command::new(binary())
            .args(["serve", "--config"])
            .arg(&config)
            .args(["--listen", listen, "--admin-listen", "127.0.0.1:0", "--json"])
            .kill_on_drop(true)
            .output();
        let output = soon("a refusal to start", run).await.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{listen} was bound");
    }
    let (gateway, _new, _old) = both().await;
    assert!(gateway.listen.ip().is_loopback() && gateway.admin.ip().is_loopback());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_03_headers_say_what_the_body_says() {
    let script = Script { tools: vec![MIRRORED.to_owned(), Script::tool("échø")], ..Script::modern() };
    let server = FakeServer::start(script).await;
    let gateway = Gateway::start(&servers([("new", http(&server.url()))])).await;
    let peer = gateway.modern("/mcp/new");
    let call = Call::tool("query", r#"{"region":"eu","where":{"zone":42}}"#);
    let good = peer.ask("7", &call).with("mCP-pARAM-rEGION", "eu").with("Mcp-Param-Zone", "42.0");
    let bad = [
        ("another method", good.clone().set("Mcp-Method", "tools/list")),
        ("a method in capitals", good.clone().set("Mcp-Method", "TOOLS/CALL")),
        ("no method", good.clone().without("Mcp-Method")),
        ("another name", good.clone().set("Mcp-Name", "other")),
        ("no name", good.clone().without("Mcp-Name")),
        ("two names", good.clone().with("Mcp-Name", "query")),
        ("a name that is no base64", good.clone().set("Mcp-Name", "=?base64?e?=")),
        ("another version", good.clone().set("MCP-Protocol-Version", "2025-11-25")),
        ("no version", good.clone().without("MCP-Protocol-Version")),
        ("another argument", good.clone().set("Mcp-Param-Region", "us")),
        ("an argument in capitals", good.clone().set("Mcp-Param-Region", "EU")),
        ("no argument", good.clone().without("Mcp-Param-Region")),
        ("an argument that is no base64", good.clone().set("Mcp-Param-Region", "=?base64?e?=")),
        ("another nested argument", good.clone().set("Mcp-Param-Zone", "43")),
        ("a nested argument twice", good.clone().with("Mcp-Param-Zone", "42")),
    ];
    for (what, ask) in &bad {
        let reply = peer.http.send(ask).await;
        assert_eq!((reply.status, code(&reply)), (400, -32020), "{what}: {}", reply.everything());
    }
    let none = peer.ask("7", &Call::tool("query", r#"{"region":null}"#)).with("Mcp-Param-Region", "null");
    assert_eq!(code(&peer.http.send(&none).await), -32020, "a header for what is not given");
    assert!(server.log().of_method("tools/call").is_empty(), "nothing was carried out");
    for ask in [
        good.clone(),
        good.set("Mcp-Param-Region", "=?base64?ZXU=?="),
        peer.ask("7", &Call::tool("query", r#"{"region":null}"#)),
        peer.ask("7", &Call::tool("query", "{}")),
        // Of another kind than the schema says: the server has to say so.
        peer.ask("7", &Call::tool("query", r#"{"region":{}}"#)),
        peer.ask("7", &Call::tool("échø", "{}")),
    ] {
        let reply = peer.http.send(&ask).await;
        assert!(Answer::of(&reply).error().is_none(), "{}", reply.everything());
    }
    assert_eq!(server.log().of_method("tools/call").len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_04_failure_is_an_http_error_and_what_is_too_long_is_not_decoded() {
    let (gateway, new, _old) = both().await;
    let peer = gateway.modern("/mcp");
    let good = peer.ask("7", &echo());
    let long = format!("=?base64?{}?=", "A".repeat(40 * 1024));
    for header in ["Mcp-Name", "Mcp-Param-Region"] {
        let reply = peer.http.send(&good.clone().set(header, &long)).await;
        assert_eq!((reply.status, code(&reply)), (431, -32600), "{header}: {}", reply.everything());
    }
    let broken = good.clone().body("{\"jsonrpc\":");
    let reply = peer.http.send(&broken).await;
    assert_eq!((reply.status, code(&reply)), (400, -32700), "{}", reply.everything());
    // Headers give nobody more than the body does: they name a tool that the body does not.
    let reply = peer.http.send(&good.clone().set("Mcp-Name", "new__count")).await;
    assert_eq!(reply.status, 400);
    // Without a version there is no rule that headers be true, so that none of them counts.
    let legacy = gateway.legacy("/mcp").await;
    let ask = legacy.ask("7", &echo()).with("Mcp-Name", "new__count").with("Mcp-Method", "tools/list");
    assert_eq!(Answer::of(&legacy.http.send(&ask).await).text(), "echo");
    assert_eq!(new.log().of_method("tools/call").len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_05_unknown_param_headers_are_forwarded() {
    let (gateway, new, old) = both().await;
    for (path, call, method) in [
        ("/mcp", echo(), "tools/call"),
        ("/mcp/new", Call::tool("echo", "{}"), "tools/call"),
        ("/mcp/new", Call::new("tools/list", ""), "tools/list"),
        ("/mcp/new", Call::new("prompts/get", r#""name":"greet""#), "prompts/get"),
    ] {
        let peer = gateway.modern(path);
        let ask = peer.ask("7", &call).with("Mcp-Param-Of-Nobody", "as it is").with("X-Other", "stays");
        let reply = peer.http.send(&ask).await;
        assert_eq!(reply.status, 200, "{}", reply.everything());
        let seen = new.log().of_method(method).pop().unwrap();
        assert_eq!(seen.header("mcp-param-of-nobody"), Some("as it is"), "{path} {method}");
        assert_eq!(seen.header("x-other"), None, "what is no header of the protocol stays here");
    }
    let peer = gateway.modern("/mcp/old");
    let ask = peer.ask("7", &Call::tool("echo", "{}")).with("Mcp-Param-Of-Nobody", "as it is");
    assert_eq!(peer.http.send(&ask).await.status, 200);
    let seen = old.log().of_method("tools/call").pop().unwrap();
    assert_eq!(seen.header("mcp-param-of-nobody"), None, "a legacy server has no such headers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_06_metadata_versions_and_capabilities_have_their_codes() {
    let needs = r#""error":{"code":-32021,"message":"no","data":{"requiredCapabilities":{"sampling":{}}}}"#;
    let (gateway, new, _old) =
        both_with(Script::modern().saying("prompts/get", needs), Script::legacy(), json!({})).await;
    let peer = gateway.modern("/mcp");
    let message = echo().message("7", Dialect::Modern);
    let capabilities = r#","io.modelcontextprotocol/clientCapabilities":{}"#;
    assert!(message.contains(capabilities));
    let reply = peer.http.send(&peer.ask("7", &echo()).body(message.replace(capabilities, ""))).await;
    assert_eq!((reply.status, code(&reply)), (400, -32602), "no capabilities: {}", reply.everything());
    let future = peer
        .ask("7", &echo())
        .set("MCP-Protocol-Version", "2030-01-01")
        .body(message.replace("2026-07-28", "2030-01-01"));
    let reply = peer.http.send(&future).await;
    assert_eq!((reply.status, code(&reply)), (400, -32022), "another version: {}", reply.everything());
    let data: Value = serde_json::from_str(&raw::find(&reply.text(), &["error", "data"]).unwrap()).unwrap();
    assert_eq!(data["requested"], "2030-01-01");
    assert!(data["supported"].as_array().unwrap().contains(&json!("2026-07-28")), "{data}");
    assert!(new.log().of_method("tools/call").is_empty(), "nothing was carried out");
    let got = gateway.modern("/mcp/new").request(&Call::new("prompts/get", r#""name":"greet""#)).await;
    assert_eq!((got.status, got.code()), (400, -32021), "{got:?}");
    assert_eq!(
        raw::find(&got.message, &["error", "data", "requiredCapabilities"]).as_deref(),
        Some(r#"{"sampling":{}}"#)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_07_streams_are_unbuffered_and_kept_alive() {
    let (gateway, _new, _old) =
        both_with(Script::modern(), Script::legacy(), json!({ "limits": { "keep_alive_ms": 100 } })).await;
    let mut peer = gateway.modern("/mcp");
    let mut live = peer.open(&Call::tool("new__progress_then_hang", "{}").meta(r#""progressToken":1"#)).await;
    assert_eq!(live.header("x-accel-buffering"), Some("no"), "{:?}", live.headers);
    let mut seen = String::new();
    soon("two comments", async {
        while seen.lines().filter(|line| line.starts_with(':')).count() < 2 {
            seen.push_str(&String::from_utf8_lossy(&live.part().await.unwrap().expect("it stays open")));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_08_leaving_cancels_for_modern_clients_only() {
    for kind in [Kind::ModernStream, Kind::LegacyStream] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        // A legacy client that leaves.
        let call = Call::tool("progress_then_gate", "{}").meta(r#""progressToken":"t""#);
        let mut legacy = gateway.legacy("/mcp/there").await;
        let mut live = legacy.open(&call).await;
        soon("progress", live.event()).await.unwrap().unwrap();
        let request = server.wait_method("tools/call", 1).await;
        drop(live);
        assert!(legacy.request(&Call::tool("echo", "{}")).await.error().is_none());
        server.release();
        server.server().log().wait_answered(request.seq).await;
        assert!(server.of_method("notifications/cancelled").is_empty(), "{kind:?}");
        // A modern one.
        let calls = server.of_method("tools/call").len();
        let call = Call::tool("progress_then_hang", "{}").meta(r#""progressToken":"t""#);
        let mut live = gateway.modern("/mcp/there").open(&call).await;
        soon("progress", live.event()).await.unwrap().unwrap();
        drop(live);
        let request = server.wait_method("tools/call", calls + 1).await;
        if kind == Kind::ModernStream {
            server.server().log().wait_left(request.seq).await;
        } else {
            let cancelled = server.wait_method("notifications/cancelled", 1).await;
            assert_eq!(cancelled.at(&["params", "requestId"]), request.at(&["id"]));
        }
    }
}

/// That a stream which is taken up again gives what belongs to it and nothing else is tested where it is resumed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_09_a_message_goes_to_one_stream() {
    for kind in [Kind::LegacyStream, Kind::LegacyJson] {
        a_message_goes_to_one_stream(kind).await;
    }
}

async fn a_message_goes_to_one_stream(kind: Kind) {
    const CHANGED: &str = "notifications/tools/list_changed";
    let server = Upstream::start(kind, Script::legacy()).await;
    let gateway = Gateway::start(&servers([("there", server.entry())])).await;
    let mut peer = gateway.legacy("/mcp/there").await;
    let streams = [peer.listen().await, peer.listen().await];
    until("the gateway listens", async || (server.server().listeners() > 0).then_some(())).await;
    let told = Arc::new(Mutex::new(String::new()));
    let collecting = streams.map(|mut stream| {
        let told = Arc::clone(&told);
        tokio::spawn(async move {
            while let Some(event) = stream.event().await.expect("a clean end") {
                told.lock().unwrap().push_str(&event.data);
            }
        })
    });
    // What answers with JSON says nothing before its answer.
    if kind == Kind::LegacyStream {
        let progress = peer.request(&Call::tool("progress", "{}").meta(r#""progressToken":"t""#)).await;
        assert_eq!(progress.before.iter().filter(|m| m.contains("notifications/progress")).count(), 5);
    }
    assert!(peer.request(&Call::tool("grow", "{}")).await.error().is_none());
    until("the news", async || told.lock().unwrap().contains(CHANGED).then_some(())).await;
    // Calls through the same server later, so that it would have come again; then the end of it all.
    for _ in 0..20 {
        assert!(peer.request(&Call::tool("echo", "{}")).await.error().is_none());
    }
    let delete = Ask::new("DELETE", "/mcp/there").with("Mcp-Session-Id", peer.session.as_deref().unwrap());
    assert!((200..300).contains(&peer.http.send(&delete).await.status));
    for stream in collecting {
        soon("the end of a stream", stream).await.unwrap();
    }
    let told = told.lock().unwrap().clone();
    assert_eq!(told.matches(CHANGED).count(), 1, "{kind:?}: told once, on one of two streams");
    assert!(!told.contains("notifications/progress"), "{told}");
}

/// Left for later: that a session is refused to another user. It is bound to its caller already, but without identity
/// there is only one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_10_session_ids_are_random_and_end() {
    let (gateway, _new, old) = both().await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        let session = gateway.legacy("/mcp/old").await.session.unwrap();
        assert!(session.len() >= 22 && session.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{session}");
        assert!(seen.insert(session));
    }
    let mut peer = gateway.legacy("/mcp/old").await;
    assert!(peer.request(&Call::tool("echo", "{}")).await.error().is_none());
    let upstream = old.log().of_method("tools/call").pop().unwrap();
    let theirs = upstream.header("mcp-session-id").unwrap().to_owned();
    assert_ne!(Some(&theirs), peer.session.as_ref(), "each side has its own");
    let ask = peer.ask("7", &Call::tool("echo", "{}"));
    for (what, id, status) in [("made up", "made-up", 404), ("the server's", theirs.as_str(), 404)] {
        assert_eq!(peer.http.send(&ask.clone().set("Mcp-Session-Id", id)).await.status, status, "{what}");
    }
    assert_eq!(peer.http.send(&ask.clone().without("Mcp-Session-Id")).await.status, 400);
    let elsewhere = Ask { target: "/mcp".to_owned(), ..ask.clone() };
    assert_eq!(peer.http.send(&elsewhere).await.status, 404, "it is bound to its endpoint");
    let delete = Ask::new("DELETE", "/mcp/old").with("Mcp-Session-Id", peer.session.as_deref().unwrap());
    assert!((200..300).contains(&peer.http.send(&delete).await.status));
    assert_eq!(peer.http.send(&ask).await.status, 404, "it has ended");
    assert_eq!(old.log().of_method("tools/call").len(), 1);
}

/// Left for later: who calls. Until then every request is held against `Host` and `Origin`, also within a session, and
/// no handle opens anything that it was not made for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_11_every_request_is_verified_and_handles_are_no_proof() {
    let paged = Script { page_size: 3, ..Script::modern() };
    let (gateway, new, _old) = both_with(paged, Script::legacy(), json!({})).await;
    let peer = gateway.legacy("/mcp").await;
    let ask = peer.ask("7", &echo());
    for (header, value) in [("Origin", "https://evil.example"), ("Host", "evil.example")] {
        assert_eq!(peer.http.send(&ask.clone().with(header, value)).await.status, 403, "{header}");
    }
    let mut modern = gateway.modern("/mcp");
    let list = |cursor: &str| Call::new("tools/list", format!(r#""cursor":{}"#, raw::quote(cursor)));
    let page = modern.request(&Call::new("tools/list", "")).await.value();
    let cursor = page["nextCursor"].as_str().expect("more than one page").to_owned();
    assert!(modern.request(&list(&cursor)).await.error().is_none());
    let elsewhere = Call::new("prompts/list", format!(r#""cursor":{}"#, raw::quote(&cursor)));
    assert_eq!(modern.request(&elsewhere).await.code(), -32602, "a cursor of another list");
    assert_eq!(modern.request(&list("from-3")).await.code(), -32602, "the server's own cursor");
    for task in ["1", "new:1", &cursor] {
        let got = modern.request(&Call::new("tasks/get", format!(r#""taskId":{}"#, raw::quote(task)))).await;
        assert!(got.error().is_some(), "{task}: {got:?}");
    }
    assert!(new.log().of_method("tasks/get").is_empty(), "no made-up handle reaches a server");
    assert!(new.log().of_method("tools/call").is_empty());
}

/// Left for later: tokens. Until then none makes a caller more than anyone else on this machine, and there is nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_12_a_token_gives_nothing() {
    let (gateway, _new, _old) = both().await;
    let peer = gateway.modern("/mcp");
    let plain = Answer::of(&peer.http.send(&peer.ask("7", &Call::new("tools/list", ""))).await).result();
    let ask = peer.ask("7", &Call::new("tools/list", "")).with("Authorization", "Bearer of-somebody-else");
    assert_eq!(Answer::of(&peer.http.send(&ask).await).result(), plain);
    let admin = Http::new(gateway.admin);
    let reply = admin.send(&Ask::new("POST", "/mcp").with("Authorization", "Bearer x")).await;
    assert!(reply.status == 404 || reply.status == 405, "{}", reply.everything());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_13_no_token_is_passed_on_or_taken_from_a_url() {
    let secret = "of-the-client-4711";
    let stage = Stage::new(&Script::legacy());
    let new = FakeServer::start(Script::modern()).await;
    let old = FakeServer::start(Script::legacy()).await;
    let own = with(&http(&old.url()), json!({ "headers": { "Authorization": "Bearer of-the-gateway" } }));
    let config = servers([("new", http(&new.url())), ("old", own), ("child", stdio(&fake_child(), &stage))]);
    let gateway = Gateway::start(&config).await;
    for server in ["new", "old", "child"] {
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let path = format!("/mcp/{server}");
            let peer = match dialect {
                Dialect::Modern => gateway.modern(&path),
                Dialect::Legacy => gateway.legacy(&path).await,
            };
            for call in [Call::tool("echo", "{}"), Call::new("tools/list", "")] {
                let ask = peer
                    .ask("7", &call)
                    .with("Authorization", &format!("Bearer {secret}"))
                    .with("Cookie", secret)
                    .with("Proxy-Authorization", secret);
                assert!(Answer::of(&peer.http.send(&ask).await).error().is_none(), "{server} {dialect:?}");
            }
        }
    }
    for received in new.log().requests().into_iter().chain(old.log().requests()).chain(stage.received()) {
        assert!(!format!("{received:?}").contains(secret), "{received:?}");
        assert!(!received.text().contains(secret), "{received:?}");
    }
    for received in old.log().requests() {
        assert_eq!(received.header("authorization"), Some("Bearer of-the-gateway"), "{received:?}");
    }
    let peer = gateway.modern("/mcp");
    for query in ["access_token=x", "a=b&access_token=x", "access%5Ftoken=x", "access_token"] {
        let ask = Ask { target: format!("/mcp?{query}"), ..peer.ask("7", &echo()) };
        let reply = peer.http.send(&ask).await;
        assert_eq!((reply.status, code(&reply)), (400, -32600), "{query}: {}", reply.everything());
    }
    assert!(!gateway.log().contains(secret));
}

/// Left for later: the metadata itself, one document for each endpoint. While nothing protects an endpoint, nothing may
/// say that something does: a client would look for an authorization server that is not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_14_no_metadata_is_invented() {
    let (gateway, _new, _old) = both().await;
    let http = Http::new(gateway.listen);
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-protected-resource/mcp/new",
        "/mcp/.well-known/oauth-protected-resource",
        "/.well-known/oauth-authorization-server",
        "/.well-known/openid-configuration",
    ] {
        let reply = http.send(&Ask::new("GET", path)).await;
        assert!(matches!(reply.status, 404 | 405), "{path}: {}", reply.everything());
        assert!(!reply.text().contains("authorization_servers"), "{path}: {}", reply.everything());
    }
}

/// Left for later: scopes. Until then the gateway challenges nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_15_nobody_is_challenged_for_scopes_that_do_not_exist() {
    let (gateway, _new, _old) = both().await;
    let peer = gateway.modern("/mcp");
    for ask in [
        peer.ask("7", &echo()),
        peer.ask("7", &echo()).with("Authorization", "Bearer x"),
        peer.ask("7", &echo()).with("Origin", "https://evil.example"),
        peer.ask("7", &Call::tool("nobody__x", "{}")),
    ] {
        let reply = peer.http.send(&ask).await;
        assert_ne!(reply.status, 401);
        assert!(reply.header("www-authenticate").is_none(), "{}", reply.everything());
    }
}

/// Left for later: to get a credential for the server. Until then the caller hears that the gateway has no good one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_16_a_servers_challenge_stays_here() {
    let (gateway, _new, _old) = both().await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        for tool in ["new__unauthorized", "new__forbidden", "old__unauthorized", "old__forbidden"] {
            let got = peer.tool(tool, "{}").await;
            assert_eq!((got.status, got.refusal().as_str()), (200, "upstream_auth"), "{tool}: {got:?}");
            let all = got.everything().to_ascii_lowercase();
            assert!(!all.contains("www-authenticate") && !all.contains("resource_metadata"), "{tool}: {all}");
            assert!(!got.everything().contains(LEAK), "{tool}: {got:?}");
        }
    }
}

/// Left for later: consent. There is no authorization server here that anybody could be confused by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_17_nothing_here_hands_out_consent() {
    let (gateway, _new, _old) = both().await;
    let http = Http::new(gateway.listen);
    for path in ["/authorize", "/token", "/register", "/oauth/callback", "/callback"] {
        for verb in ["GET", "POST"] {
            let target = format!("{path}?client_id=x&redirect_uri=https://evil.example&state=s&code=c");
            let reply = http.send(&Ask::new(verb, &target)).await;
            assert_eq!(reply.status, 404, "{verb} {path}: {}", reply.everything());
            assert!(reply.header("location").is_none() && reply.header("set-cookie").is_none());
        }
    }
}

/// Left for later: pages of the gateway's own that a user opens. What it holds for a server is shown to nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_18_a_servers_credential_is_given_to_nobody() {
    let secret = "held-for-the-server-4711";
    let server = FakeServer::start(Script::modern()).await;
    let entry = with(
        &http(&server.url()),
        json!({ "headers": { "Authorization": "Bearer ${HELD}", "X-Key": "${HELD}" } }),
    );
    let gateway = Gateway::start_with(&servers([("new", entry)]), &[("HELD", secret)]).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        for call in [
            echo(),
            Call::tool("new__unauthorized", "{}"),
            Call::tool("new__server_error", "{}"),
            Call::tool("new__malformed", "{}"),
            Call::new("tools/list", ""),
            Call::new("server/discover", ""),
        ] {
            let got = peer.request(&call).await;
            assert!(!got.everything().contains(secret), "{got:?}");
        }
    }
    assert!(server.log().of_method("tools/call").iter().all(|call| call.header("x-key") == Some(secret)));
    for path in ["/metrics", "/readyz", "/healthz"] {
        let reply = Http::new(gateway.admin).send(&Ask::new("GET", path)).await;
        assert!(!reply.everything().contains(secret), "{path}");
    }
    assert!(!gateway.log().contains(secret));
}

/// Left for later: to be an OAuth client. Until then no challenge leads the gateway anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_19_a_challenge_leads_nowhere() {
    let (gateway, new, old) = both().await;
    let mut peer = gateway.modern("/mcp");
    for tool in ["new__unauthorized", "old__unauthorized", "new__forbidden", "old__forbidden"] {
        assert_eq!(peer.request(&Call::tool(tool, "{}")).await.refusal(), "upstream_auth", "{tool}");
    }
    for received in new.log().requests().into_iter().chain(old.log().requests()) {
        assert!(
            received.target.starts_with("/mcp") || received.target.starts_with("/sse"),
            "{} {}",
            received.verb,
            received.target
        );
    }
}

/// Left for later: addresses that others name (metadata of authorization servers, documents of clients). Until then no
/// address that a server names is ever visited: not in redirects, schemas, icons or links.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_20_no_address_that_a_server_names_is_visited() {
    let bait = FakeServer::start(Script::modern()).await;
    let base = bait.url();
    let redirect =
        format!("HTTP/1.1 307 Moved\r\nLocation: {base}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let script = |script: Script| {
        Script {
            tools: vec![
                format!(
                    r#"{{"name":"t","icons":[{{"src":"{base}/i.png"}}],"inputSchema":{{"type":"object","$ref":"{base}/schema","$schema":"{base}/dialect"}},"outputSchema":{{"type":"object","$ref":"{base}/out"}}}}"#
                ),
                Script::tool("return"),
            ],
            resources: vec![format!(r#"{{"uri":"{base}/resource","name":"r"}}"#)],
            instructions: Some(format!("See {base}/instructions")),
            ..script
        }
        .on("prompts/get", tollgate_testkit::fake::Act::Bytes(redirect.clone().into_bytes()))
    };
    let (gateway, new, old) = both_with(script(Script::modern()), script(Script::legacy()), json!({})).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        for server in ["new", "old"] {
            let link = format!(
                r#"{{"result":{{"content":[{{"type":"resource_link","name":"l","uri":"{base}/link"}}],"structuredContent":{{"$ref":"{base}/x"}}}}}}"#
            );
            assert!(peer.tool(&format!("{server}__return"), &link).await.error().is_none());
            let prompt = Call::new("prompts/get", format!(r#""name":"{server}__greet""#));
            let got = peer.request(&prompt).await;
            assert_eq!(got.code(), -32603, "a redirect is no answer: {got:?}");
            assert!(!got.everything().contains(&base), "{got:?}");
        }
        for list in ["tools/list", "resources/list"] {
            assert!(peer.list(list, None).await.error().is_none());
        }
    }
    assert!(!new.log().of_method("prompts/get").is_empty() && !old.log().of_method("prompts/get").is_empty());
    assert!(bait.log().requests().is_empty(), "{:?}", bait.log().requests());
}

/// A modern request of a client that can ask its user.
fn able(peer: &HttpPeer, call: &Call) -> Ask {
    let message = call.message("7", Dialect::Modern);
    let declared = r#""io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{}}}"#;
    let message = message.replace(r#""io.modelcontextprotocol/clientCapabilities":{}"#, declared);
    peer.ask("7", call).body(message)
}

const ASKS: &str = r#""result":{"resultType":"input_required","requestState":"the server's \u0073tate","inputRequests":{"a":{"method":"elicitation/create","params":{"mode":"form","message":"Which one?","requestedSchema":{"type":"object","properties":{"b":{"type":"string"}}}}}}}"#;

/// Left for later: that another person's state is refused. It is sealed for its caller, but without identity there is
/// only one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_21_a_request_state_is_sealed_and_bound() {
    let asking = || Script::modern().saying("tools/call", ASKS);
    let one = FakeServer::start(asking()).await;
    let two = FakeServer::start(asking()).await;
    let gateway = Gateway::start(&servers([("one", http(&one.url())), ("two", http(&two.url()))])).await;
    let peer = gateway.modern("/mcp");
    let call = |tool: &str, arguments: &str, state: Option<&str>| {
        let mut call = Call::tool(tool, arguments);
        if let Some(state) = state {
            let answers = r#""inputResponses":{"a":{"action":"accept","content":{"b":"c"}}}"#;
            let members = format!(r#"{},"requestState":{},{answers}"#, call.members, raw::quote(state));
            call.members = members;
        }
        able(&peer, &call)
    };
    let first = Answer::of(&peer.http.send(&call("one__echo", "{}", None)).await);
    assert_eq!(first.value()["resultType"], "input_required", "{first:?}");
    let state = first.value()["requestState"].as_str().unwrap().to_owned();
    assert!(!state.contains("server"), "the server's own state is not shown: {state}");
    let calls = one.log().of_method("tools/call").len();
    let mut bent = state.clone().into_bytes();
    let middle = bent.len() / 2;
    bent[middle] = if bent[middle] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    for (what, ask) in [
        ("altered", call("one__echo", "{}", Some(&bent))),
        ("the server's own", call("one__echo", "{}", Some("the server's state"))),
        ("other arguments", call("one__echo", r#"{"n":1}"#, Some(&state))),
        ("another tool", call("one__count", "{}", Some(&state))),
        ("another server", call("two__echo", "{}", Some(&state))),
    ] {
        let got = Answer::of(&peer.http.send(&ask).await);
        assert_eq!(
            (got.code(), got.refusal().as_str()),
            (-32602, "invalid_request_state"),
            "{what}: {got:?}"
        );
    }
    assert_eq!(one.log().of_method("tools/call").len(), calls, "none of this reached the server");
    assert!(two.log().of_method("tools/call").is_empty());
    one.change(|script| script.says.clear());
    let done = Answer::of(&peer.http.send(&call("one__echo", "{}", Some(&state))).await);
    assert_eq!(done.text(), "echo", "{done:?}");
    let seen = one.log().of_method("tools/call").pop().unwrap();
    assert_eq!(
        seen.at(&["params", "requestState"]).as_deref(),
        Some(r#""the server's \u0073tate""#),
        "to the letter"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_22_nothing_is_kept_for_another() {
    let (gateway, new, old) = both().await;
    // Whoever asks is answered by the server itself, unless it says otherwise or is a legacy one, which tells of changes.
    for n in 1..=3 {
        for server in ["new", "old"] {
            let got = gateway.modern(&format!("/mcp/{server}")).request(&Call::new("tools/list", "")).await;
            let value = got.value();
            assert_eq!((&value["ttlMs"], &value["cacheScope"]), (&json!(0), &json!("private")), "{server}");
        }
        assert_eq!(new.log().of_method("tools/list").len(), n);
        assert_eq!(old.log().of_method("tools/list").len(), 1);
    }
    // No cache on the way may keep an answer either.
    let mut peer = gateway.modern("/mcp");
    let live = peer.open(&Call::tool("new__progress", "{}").meta(r#""progressToken":1"#)).await;
    assert!(live.header("cache-control").is_some_and(|c| c.contains("no-cache")), "{:?}", live.headers);
    // An unlisted thing is still asked of the server, however public its list may be.
    let public =
        Script { list_members: r#","ttlMs":60000,"cacheScope":"public""#.to_owned(), ..Script::modern() };
    let server = FakeServer::start(public).await;
    let gateway = Gateway::start(&servers([("new", http(&server.url()))])).await;
    for n in 1..=3 {
        gateway.modern("/mcp").request(&Call::new("tools/list", "")).await.result();
        assert_eq!(server.log().of_method("tools/list").len(), 1, "it lets everyone keep it");
        gateway.modern("/mcp").request(&Call::new("resources/read", r#""uri":"memo://one""#)).await.result();
        assert_eq!(server.log().of_method("resources/read").len(), n);
    }
}

/// Left for later: that forms are not used for secrets.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_23_a_person_is_told_which_server_asks() {
    let server = FakeServer::start(Script::modern().saying("tools/call", ASKS)).await;
    let gateway = Gateway::start(&servers([("library", http(&server.url()))])).await;
    let merged = gateway.modern("/mcp");
    let got = Answer::of(&merged.http.send(&able(&merged, &Call::tool("library__echo", "{}"))).await).value();
    let words = got["inputRequests"]["a"]["params"]["message"].as_str().unwrap();
    assert!(words.contains("library") && words.contains("Which one?"), "{words}");
    // Where one server has an address of its own, the client knows it.
    let native = gateway.modern("/mcp/library");
    let got = Answer::of(&native.http.send(&able(&native, &Call::tool("echo", "{}"))).await).value();
    assert_eq!(got["inputRequests"]["a"]["params"]["message"], "Which one?");
    // Who cannot be asked is not.
    let unable = gateway.modern("/mcp").request(&Call::tool("library__echo", "{}")).await;
    assert_eq!((unable.status, unable.code()), (400, -32021), "{unable:?}");
}

/// Left for later: rates. The time of a request has its end, whatever progress is reported.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_24_a_request_has_a_hard_end() {
    let server = FakeServer::start(Script::modern()).await;
    let entry = with(&http(&server.url()), json!({ "request_timeout_ms": 3000 }));
    let gateway = Gateway::start(&servers([("new", entry)])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        let started = Instant::now();
        let got =
            peer.request(&Call::tool("new__progress_then_hang", "{}").meta(r#""progressToken":1"#)).await;
        assert_eq!(got.refusal(), "upstream_timeout", "{got:?}");
        assert!(got.before.iter().any(|message| message.contains("notifications/progress")), "{got:?}");
        assert!((Duration::from_millis(2900)..Duration::from_secs(12)).contains(&started.elapsed()));
    }
    let request = server.log().of_method("tools/call").pop().unwrap();
    server.log().wait_left(request.seq).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_25_children_are_confined_and_ended() {
    let stage = Stage::new(&Script { stubborn: true, ..Script::legacy() });
    let entry = with(&stdio(&fake_child(), &stage), json!({ "stop_timeout_ms": 200 }));
    let mut tried = Gateway::start_with(&servers([("child", entry)]), &[("OF_THE_GATEWAY", "s3cret")]).await;
    let mut peer = tried.legacy("/mcp/child").await;
    let env: Value = serde_json::from_str(&peer.request(&Call::tool("env", "{}")).await.text()).unwrap();
    assert!(env.get("OF_THE_GATEWAY").is_none(), "it gets only what it was given: {env}");
    // Only whole messages leave: what is none ends here.
    let got = peer.request(&Call::tool("malformed", "{}")).await;
    assert!(got.error().is_some() && !got.everything().contains(LEAK), "{got:?}");
    let pid: u32 = until("a child that answers", async || {
        let got = peer.request(&Call::tool("pid", "{}")).await;
        (got.error().is_none()).then(|| got.text().parse().unwrap())
    })
    .await;
    assert!(alive(pid));
    tried.signal(rustix::process::Signal::TERM);
    assert!(tried.ended().await.success());
    until("the end of a child that does not want to end", async || (!alive(pid)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_26_schemas_are_bounded_and_not_understood_beyond_need() {
    let deep = format!("{}{}", r#"{"properties":{"a":"#.repeat(2000), "1".to_owned() + &"}}".repeat(2000));
    let deep = format!(r#"{{"name":"deep","inputSchema":{deep}}}"#);
    let odd = r#"{"name":"odd","inputSchema":{"$schema":"https://dialect.example/2099","type":"object","$dynamicRef":"x","unheardOf":[1.50]}}"#;
    let new = FakeServer::start(Script { tools: vec![odd.to_owned()], ..Script::modern() }).await;
    let bad = FakeServer::start(Script { tools: vec![deep], ..Script::modern() }).await;
    let gateway = Gateway::start(&servers([("new", http(&new.url())), ("bad", http(&bad.url()))])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        let list = peer.list("tools/list", None).await;
        assert!(list.result().contains(r#"{"$schema":"https://dialect.example/2099","type":"object","$dynamicRef":"x","unheardOf":[1.50]}"#));
        let gap = &list.value()["_meta"]["dev.tollgate/unavailable"][0];
        assert_eq!(
            (&gap["server"], &gap["code"]),
            (&json!("bad"), &json!("upstream_protocol_error")),
            "{gap}"
        );
        assert_eq!(peer.tool("new__odd", "{}").await.text(), "called odd");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_27_what_peers_say_of_themselves_gives_them_nothing() {
    let harmless = |tool: &str| {
        format!(
            r#"{{"name":"{tool}","inputSchema":{{"type":"object"}},"annotations":{{"readOnlyHint":true,"idempotentHint":true,"destructiveHint":false}}}}"#
        )
    };
    let script = |script: Script| Script {
        tools: ["die", "hang"].map(harmless).to_vec(),
        info: r#"{"name":"tollgate","version":"1"}"#.to_owned(),
        ..script
    };
    let (gateway, new, old) = both_with(script(Script::modern()), script(Script::legacy()), json!({})).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        peer.list("tools/list", None).await.result();
        for (server, log) in [("new", new.log()), ("old", old.log())] {
            let before = log.of_method("tools/call").len();
            let got = peer.tool(&format!("{server}__die"), "{}").await;
            assert_eq!(got.refusal(), "upstream_closed", "{got:?}");
            assert_eq!(log.of_method("tools/call").len(), before + 1, "not repeated on a server's word");
        }
    }
    // Nor does a client's name open anything.
    let peer = gateway.modern("/mcp");
    let message = Call::tool("nobody__x", "{}").message("7", Dialect::Modern);
    let ask = peer.ask("7", &Call::tool("nobody__x", "{}")).body(message.replace("\"raw\"", "\"tollgate\""));
    assert_eq!(code(&peer.http.send(&ask).await), -32602);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_28_bodies_and_heads_have_documented_limits() {
    let (gateway, new, _old) =
        both_with(Script::modern(), Script::legacy(), json!({ "limits": { "body_bytes_max": 100_000 } }))
            .await;
    let peer = gateway.modern("/mcp");
    let large = Call::tool("new__echo", &format!(r#"{{"s":"{}"}}"#, "x".repeat(100_000)));
    let reply = peer.http.send(&peer.ask("7", &large)).await;
    assert_eq!((reply.status, code(&reply)), (413, -32600), "{}", reply.everything());
    let reply = peer.http.send(&peer.ask("7", &echo()).with("X-Long", &"x".repeat(2 << 20))).await;
    assert_eq!(reply.status, 431);
    let reply = peer.http.send(&peer.ask("7", &echo()).with("Mcp-Param-Long", &"x".repeat(40 * 1024))).await;
    assert_eq!((reply.status, code(&reply)), (431, -32600), "{}", reply.everything());
    assert!(new.log().of_method("tools/call").is_empty());
    let reference = std::fs::read_to_string(
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/configuration.md"),
    )
    .unwrap();
    assert!(reference.contains("body_bytes_max"), "the limit is documented");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn duty_29_logs_hold_no_secrets_and_errors_name_the_versions() {
    let (gateway, _new, _old) = both().await;
    let secret = "a-person-4711";
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let peer = match dialect {
            Dialect::Modern => gateway.modern("/mcp"),
            Dialect::Legacy => gateway.legacy("/mcp").await,
        };
        for tool in ["new__echo", "old__die", "new__malformed", "nobody__x"] {
            let call = Call::tool(tool, &format!(r#"{{"mail":"{secret}"}}"#));
            let ask = peer.ask("7", &call).with("Authorization", &format!("Bearer {secret}"));
            peer.http.send(&ask).await;
        }
    }
    gateway.logged("upstream_closed").await;
    let log = gateway.log();
    assert!(!log.contains(secret) && !log.contains(LEAK), "{log}");
    // Both eras are served here, so that `initialize` is always answered; what is not spoken names what is.
    let peer = HttpPeer::legacy_with(gateway.listen, "/mcp", "2030-01-01", "{}").await;
    assert_eq!(peer.revision, "2025-11-25");
    let reply = peer.http.send(&peer.ask("7", &echo()).set("MCP-Protocol-Version", "2030-01-01")).await;
    assert_eq!(reply.status, 400);
    for version in ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"] {
        assert!(reply.text().contains(version), "{version} in {}", reply.text());
    }
}
