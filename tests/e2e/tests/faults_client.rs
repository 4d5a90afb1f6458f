//! Clients that say what they must not say: each gets the status and code that the specification or the gateway's own
//! table of refusals demands, and nobody else notices.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::io;
use std::time::Duration;

use proptest::prelude::{any, prop, prop_assert};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_e2e::bend::{Bend, bent};
use tollgate_e2e::gateway::{Gateway, binary, config_file, http, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::{
    Answer, Ask, Call, Dialect, FakeServer, Http, HttpPeer, Peer, Reply, Script, StdioPeer, soon, until,
};

const PARSE: &[i64] = &[-32700];
const INVALID: &[i64] = &[-32600];
/// What could be read two ways is refused; under which of the two is left open.
const EITHER: &[i64] = &[-32700, -32600];

/// A gateway with small bounds before one well server of each era.
async fn bounded() -> (Gateway, FakeServer, FakeServer) {
    bounded_with(json!({})).await
}

/// The same with further members of its limits.
async fn bounded_with(limits: Value) -> (Gateway, FakeServer, FakeServer) {
    let old = FakeServer::start(Script::legacy()).await;
    let new = FakeServer::start(Script::modern()).await;
    let mut config = servers([("old", http(&old.url())), ("new", http(&new.url()))]);
    config["limits"] = with(&json!({ "body_bytes_max": 65536 }), limits);
    config["allowed_origins"] = json!(["https://app.example.com"]);
    (Gateway::start(&config).await, old, new)
}

fn assert_refused(reply: &Reply, status: u16, codes: &[i64], what: &str) -> Value {
    assert_eq!(reply.status, status, "{what}: {}", reply.everything());
    let body: Value = serde_json::from_slice(&reply.body)
        .unwrap_or_else(|_| panic!("{what}: no JSON: {}", reply.everything()));
    assert_eq!(body["jsonrpc"], "2.0", "{what}: {body}");
    let code = body["error"]["code"].as_i64().unwrap_or_else(|| panic!("{what}: no code: {body}"));
    assert!(codes.contains(&code), "{what}: {code} is not among {codes:?}: {body}");
    assert!(!body["error"]["message"].as_str().unwrap_or_default().is_empty(), "{what}: {body}");
    body
}

/// Whatever was done before, a proper client of either era is served.
async fn assert_well(gateway: &Gateway) {
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp").await;
        for tool in ["old__echo", "new__echo"] {
            let answer = peer.tool(tool, "{}").await;
            assert!(answer.error().is_none(), "{tool} for {dialect:?}: {answer:?}");
        }
    }
}

/// Bodies that are refused before any stage, as (what, body made from a good one, codes).
fn bad_bodies(good: &str) -> Vec<(&'static str, Vec<u8>, &'static [i64])> {
    let swap = |from: &str, to: &str| {
        assert!(good.contains(from), "{from} in {good}");
        good.replacen(from, to, 1).into_bytes()
    };
    let mut not_utf8 = good.as_bytes().to_vec();
    let at = not_utf8.windows(5).position(|w| w == b"hello").unwrap();
    not_utf8[at] = 0xff;
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let many = |unit: &str| format!("[{}{unit}]", format!("{unit},").repeat(2));
    vec![
        ("cut off", good.as_bytes()[..good.len() - 3].to_vec(), PARSE),
        ("empty", Vec::new(), PARSE),
        ("a comma too many", swap(r#""x":1"#, r#""x":1,"#), PARSE),
        ("a number that is none", swap(r#""x":1"#, r#""x":01"#), PARSE),
        ("NaN", swap(r#""x":1"#, r#""x":NaN"#), PARSE),
        ("a control character in a string", swap("hello", "hel\u{1}lo"), PARSE),
        ("an escape that is none", swap("hello", r"hel\xlo"), PARSE),
        ("a byte order mark", format!("\u{feff}{good}").into_bytes(), PARSE),
        ("not UTF-8", not_utf8, PARSE),
        ("a lone surrogate in a value", swap("hello", r"\ud800"), PARSE),
        ("a lone low surrogate in a value", swap("hello", r"a\udc00b"), PARSE),
        ("a lone surrogate in a key", swap(r#""x":1"#, r#""\ud83d":1"#), PARSE),
        ("text after it", format!("{good} x").into_bytes(), PARSE),
        ("a second message after it", format!("{good}\n{good}").into_bytes(), PARSE),
        ("a duplicate in the envelope", swap(r#""id":7"#, r#""id":7,"id":8"#), EITHER),
        ("a duplicate method", swap(r#""method":"#, r#""method":"ping","method":"#), EITHER),
        ("a duplicate, escaped", swap(r#""id":7"#, r#""id":7,"\u0069d":8"#), EITHER),
        ("a duplicate in params", swap(r#""name":"#, r#""name":"other","name":"#), EITHER),
        ("a duplicate in params, escaped", swap(r#""name":"#, r#""n\u0061me":"other","name":"#), EITHER),
        ("a duplicate in arguments", swap(r#""x":1"#, r#""x":1,"x":2"#), EITHER),
        ("a duplicate in arguments, escaped", swap(r#""x":1"#, r#""x":1,"\u0078":2"#), EITHER),
        ("a duplicate deep in arguments", swap(r#""x":1"#, r#""x":[{"a":{"b":1,"\u0062":1}}]"#), EITHER),
        ("a duplicate in _meta", swap(r#""k":"v""#, r#""k":"v","\u006b":"w""#), EITHER),
        ("a batch", many(good).into_bytes(), INVALID),
        ("an empty batch", b"[]".to_vec(), INVALID),
        ("a text", b"\"tools/list\"".to_vec(), INVALID),
        ("null", b"null".to_vec(), INVALID),
        ("another JSON-RPC", swap(r#""jsonrpc":"2.0""#, r#""jsonrpc":"1.0""#), INVALID),
        ("no JSON-RPC", swap(r#""jsonrpc":"2.0","#, ""), INVALID),
        ("a method that is no text", swap(r#""method":"tools/call""#, r#""method":5"#), INVALID),
        ("a null id", swap(r#""id":7"#, r#""id":null"#), INVALID),
        ("an id that is an object", swap(r#""id":7"#, r#""id":{}"#), INVALID),
        (
            "params that are a list",
            br#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":["a"]}"#.to_vec(),
            &[-32600, -32602],
        ),
        ("nesting without end", swap(r#""x":1"#, &format!(r#""x":{deep}"#)), EITHER),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_refused_before_any_stage() {
    let (gateway, old, new) = bounded().await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let tool = if dialect == Dialect::Modern { "new__echo" } else { "old__echo" };
        let peer = match dialect {
            Dialect::Modern => gateway.modern("/mcp"),
            Dialect::Legacy => gateway.legacy("/mcp").await,
        };
        let call = Call::tool(tool, r#"{"x":1,"greeting":"hello"}"#).meta(r#""k":"v""#);
        let ask = peer.ask("7", &call);
        let good = String::from_utf8(ask.body.clone()).unwrap();
        let seen = (old.log().of_method("tools/call").len(), new.log().of_method("tools/call").len());
        for (what, body, codes) in bad_bodies(&good) {
            let reply = peer.http.send(&ask.clone().body(body)).await;
            let what = format!("{what} from {dialect:?}");
            let body = assert_refused(&reply, 400, codes, &what);
            assert!(body["id"].is_null() || body["id"] == 7, "{what}: {body}");
        }
        let now = (old.log().of_method("tools/call").len(), new.log().of_method("tools/call").len());
        assert_eq!(seen, now, "a server was called");
        // Without this the refusals prove nothing.
        assert_eq!(peer.http.send(&ask).await.status, 200);
    }
    assert_well(&gateway).await;
}

/// The same over HTTP+SSE, where the answer to a post is its status.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_message_is_refused_over_sse_too() {
    let (gateway, old, _new) = bounded().await;
    let mut peer = gateway.sse("/sse").await;
    let call = Call::tool("old__echo", r#"{"x":1,"greeting":"hello"}"#).meta(r#""k":"v""#);
    let good = call.message("7", Dialect::Legacy);
    let http = Http::new(gateway.listen);
    let seen = old.log().of_method("tools/call").len();
    for (what, body, codes) in bad_bodies(&good) {
        let ask = Ask::new("POST", &peer.endpoint).with("Content-Type", "application/json").body(body);
        let reply = http.send(&ask).await;
        // Where the id can still be read, the error is an answer like any other and comes on the stream.
        if reply.status == 202 {
            let event = soon(what, peer.stream.event()).await.unwrap().unwrap();
            let error: Value = serde_json::from_str(&event.data).unwrap();
            assert_eq!(error["id"], 7, "{what}: {error}");
            let code = error["error"]["code"].as_i64().unwrap_or_else(|| panic!("{what}: {error}"));
            assert!(codes.contains(&code), "{what}: {error}");
        } else {
            assert_refused(&reply, 400, codes, what);
        }
    }
    assert_eq!(old.log().of_method("tools/call").len(), seen, "a server was called");
    assert!(peer.request(&call).await.error().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_must_say_what_the_body_says() {
    let (gateway, _old, new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let good = peer.ask("7", &Call::tool("new__echo", "{}"));
    let mismatches: Vec<(&str, Ask)> = vec![
        ("another Mcp-Name", good.clone().set("Mcp-Name", "new__count")),
        ("an Mcp-Name in another case", good.clone().set("Mcp-Name", "NEW__echo")),
        ("no Mcp-Name", good.clone().without("Mcp-Name")),
        ("an encoded Mcp-Name of another", good.clone().set("Mcp-Name", "=?base64?b3RoZXI=?=")),
        ("an Mcp-Name that is not Base64", good.clone().set("Mcp-Name", "=?base64?***?=")),
        ("two Mcp-Names", good.clone().with("Mcp-Name", "new__count")),
        ("another Mcp-Method", good.clone().set("Mcp-Method", "tools/list")),
        ("an Mcp-Method in another case", good.clone().set("Mcp-Method", "Tools/Call")),
        ("no Mcp-Method", good.clone().without("Mcp-Method")),
        ("another version", good.clone().set("MCP-Protocol-Version", "2025-11-25")),
        ("no version", good.clone().without("MCP-Protocol-Version")),
    ];
    let seen = new.log().of_method("tools/call").len();
    for (what, ask) in mismatches {
        let body = assert_refused(&peer.http.send(&ask).await, 400, &[-32020], what);
        assert_eq!(body["id"], 7, "{what}");
    }
    assert_eq!(new.log().of_method("tools/call").len(), seen, "a server was called");
    for (what, ask) in [
        ("header names in another case", {
            let mut ask = good.clone();
            ask.headers.iter_mut().for_each(|(name, _)| *name = name.to_ascii_uppercase());
            ask
        }),
        ("an encoded Mcp-Name of the same", good.clone().set("Mcp-Name", "=?base64?bmV3X19lY2hv?=")),
        ("an Mcp-Param that nobody knows", good.clone().with("Mcp-Param-Whatever", "x")),
        ("a session id", good.clone().with("Mcp-Session-Id", "whatever")),
    ] {
        let reply = peer.http.send(&ask).await;
        assert_eq!(reply.status, 200, "{what}: {}", reply.everything());
        assert!(reply.header("mcp-session-id").is_none(), "{what}: a modern client gets no session");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn modern_metadata_is_demanded() {
    let (gateway, _old, _new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let good = peer.ask("7", &Call::new("tools/list", ""));
    let text = String::from_utf8(good.body.clone()).unwrap();
    let without = |from: &str| {
        assert!(text.contains(from), "{from}");
        good.clone().body(text.replacen(from, "", 1))
    };
    let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","#;
    for (what, ask, codes) in [
        ("no capabilities", without(r#","io.modelcontextprotocol/clientCapabilities":{}"#), &[-32602][..]),
        ("no version in _meta", without(version), &[-32602, -32020]),
        (
            "no _meta",
            good.clone().body(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list","params":{}}"#),
            &[-32602],
        ),
        ("no params", good.clone().body(r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#), &[-32602]),
    ] {
        assert_refused(&peer.http.send(&ask).await, 400, codes, what);
    }
    for version in ["2099-01-01", "1900-01-01", "banana"] {
        let body = text.replace("2026-07-28", version);
        let reply = peer.http.send(&good.clone().set("MCP-Protocol-Version", version).body(body)).await;
        let body = assert_refused(&reply, 400, &[-32022], version);
        let data = &body["error"]["data"];
        assert_eq!(data["requested"], version);
        assert!(data["supported"].as_array().unwrap().contains(&json!("2026-07-28")), "{data}");
    }
    // A client's response or notification: the one is refused, the other accepted.
    let response = peer.post(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#);
    assert!((400..500).contains(&peer.http.send(&response).await.status));
    assert_eq!(peer.http.send(&good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_methods_endpoints_and_paths_are_told_apart() {
    let (gateway, _old, _new) = bounded().await;
    let modern = gateway.modern("/mcp");
    let reply = modern.http.send(&modern.ask("7", &Call::new("no/such", ""))).await;
    assert_refused(&reply, 404, &[-32601], "an unknown method, modern");
    let legacy = gateway.legacy("/mcp").await;
    let reply = legacy.http.send(&legacy.ask("7", &Call::new("no/such", ""))).await;
    assert_refused(&reply, 200, &[-32601], "an unknown method, legacy");
    for path in ["/", "/nothing", "/mcp/nobody", "/mcp/new/more", "/MCP", "/mcp//", "/mcp/%2e%2e/new"] {
        let mut peer = HttpPeer::modern(gateway.listen, path);
        assert_eq!(peer.request(&Call::new("tools/list", "")).await.status, 404, "{path}");
    }
    for tool in ["nobody__echo", "echo", "", "__", "new__"] {
        let mut peer = gateway.modern("/mcp");
        let answer = peer.request(&Call::tool(tool, "{}")).await;
        assert_eq!((answer.status, answer.code()), (200, -32602), "{tool}: {answer:?}");
    }
    let mut peer = gateway.modern("/mcp");
    assert_eq!(peer.request(&Call::new("prompts/get", r#""name":"nobody__x""#)).await.code(), -32602);
    assert_eq!(peer.request(&Call::new("resources/read", r#""uri":"nobody://x""#)).await.code(), -32602);
    let mut legacy = gateway.legacy("/mcp").await;
    assert_eq!(legacy.request(&Call::new("resources/read", r#""uri":"nobody://x""#)).await.code(), -32002);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_bounded_in_size_and_time() {
    let (gateway, _old, new) = bounded_with(json!({ "body_timeout_ms": 2000 })).await;
    let peer = gateway.modern("/mcp");
    let big = peer.ask("7", &Call::tool("new__echo", &format!(r#"{{"x":"{}"}}"#, "x".repeat(70_000))));
    let reply = peer.http.send(&big).await;
    assert_eq!(reply.status, 413, "{}", reply.everything());
    let announced = Ask { body: Vec::new(), ..big.clone() }.with("Content-Length", "99999999999");
    assert_eq!(peer.http.send(&announced).await.status, 413, "refused as announced");
    // Without a length, by what arrives.
    let mut chunked = big.clone().with("Transfer-Encoding", "chunked").head(gateway.listen);
    chunked.extend_from_slice(format!("{:x}\r\n", big.body.len()).as_bytes());
    chunked.extend_from_slice(&big.body);
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(peer.http.send_raw(&chunked).await.status, 413);
    // Just within the bound.
    let fits = peer.ask("7", &Call::tool("new__echo", &format!(r#"{{"x":"{}"}}"#, "x".repeat(64_000))));
    assert!(fits.body.len() < 65536);
    assert_eq!(peer.http.send(&fits).await.status, 200);
    // Half a body, and silence.
    let mut half = fits.head(gateway.listen);
    half.extend_from_slice(&fits.body[..100]);
    assert_eq!(peer.http.send_raw(&half).await.status, 408);
    // A byte now and then is no body in time either.
    let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
    stream.write_all(&fits.head(gateway.listen)).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let drip = tokio::spawn(async move {
        for byte in fits.body {
            if write.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut answer = [0; 12];
    soon("an answer to a slow body", read.read_exact(&mut answer)).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    drip.abort();
    assert_eq!(new.log().of_method("tools/call").len(), 1);
    assert_well(&gateway).await;
}

/// Refused with 431, or not answered at all.
fn assert_refused_or_closed(outcome: io::Result<tollgate_testkit::fake::Live>, statuses: &[u16], what: &str) {
    if let Ok(live) = outcome {
        assert!(statuses.contains(&live.status), "{what}: {}", live.status);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_bounded() {
    let (gateway, _old, new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let good = peer.ask("7", &Call::tool("new__echo", "{}"));
    let many = (0..10_000).fold(good.clone(), |ask, n| ask.with(&format!("X-{n}"), "y"));
    let outcome = soon("10,000 headers", peer.http.open(&many)).await;
    assert_refused_or_closed(outcome, &[431, 400], "10,000 headers");
    let long = good.clone().with("X-Long", &"y".repeat(2 << 20));
    let outcome = soon("a header of 2 MiB", peer.http.open(&long)).await;
    assert_refused_or_closed(outcome, &[431, 400], "a header of 2 MiB");
    let target = Ask { target: format!("/mcp?{}", "y".repeat(2 << 20)), ..good.clone() };
    let outcome = soon("a target of 2 MiB", peer.http.open(&target)).await;
    assert_refused_or_closed(outcome, &[414, 431, 400], "a target of 2 MiB");
    // Two readings of where the body ends.
    let both = good.clone().with("Content-Length", "5").with("Transfer-Encoding", "chunked");
    let mut bytes = both.head(gateway.listen);
    bytes.extend_from_slice(b"0\r\n\r\nPOST /mcp HTTP/1.1\r\nHost: x\r\n\r\n");
    let outcome = soon("two lengths", peer.http.open_raw(&bytes)).await;
    assert_refused_or_closed(outcome, &[400], "Content-Length and Transfer-Encoding");
    let twice = good.clone().with("Content-Length", "5").with("Content-Length", "6");
    let outcome = soon("two lengths", peer.http.open(&twice)).await;
    assert_refused_or_closed(outcome, &[400], "two lengths");
    assert!(new.log().of_method("tools/call").is_empty());
    assert_well(&gateway).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn origins_and_hosts_are_checked_on_every_path() {
    let (gateway, _old, _new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let legacy = gateway.legacy("/mcp").await;
    let session = legacy.session.clone().unwrap();
    let asks = [
        peer.ask("7", &Call::tool("new__echo", "{}")),
        HttpPeer::modern(gateway.listen, "/mcp/new").ask("7", &Call::tool("echo", "{}")),
        legacy.ask("8", &Call::new("tools/list", "")),
        Ask::new("GET", "/mcp").with("Accept", "text/event-stream").with("Mcp-Session-Id", &session),
        Ask::new("DELETE", "/mcp").with("Mcp-Session-Id", &session),
        Ask::new("GET", "/sse").with("Accept", "text/event-stream"),
    ];
    let own = gateway.listen.port();
    for ask in &asks {
        let what = format!("{} {}", ask.verb, ask.target);
        for origin in [
            "https://evil.example",
            "null",
            "http://127.0.0.1.evil.example",
            "https://app.example.com.evil.example",
            "file://",
        ] {
            let reply = peer.http.send(&ask.clone().with("Origin", origin)).await;
            assert_eq!(reply.status, 403, "{what} from {origin}: {}", reply.everything());
            assert!(reply.header("access-control-allow-origin").is_none(), "{what} from {origin}");
        }
        for host in ["evil.example", "evil.example:80", &format!("127.0.0.1.evil.example:{own}")] {
            let reply = peer.http.send(&ask.clone().with("Host", host)).await;
            assert_eq!(reply.status, 403, "{what} at {host}: {}", reply.everything());
        }
    }
    let ask = &asks[0];
    for host in [format!("127.0.0.1:{own}"), format!("localhost:{own}"), format!("LOCALHOST:{own}")] {
        assert_eq!(peer.http.send(&ask.clone().with("Host", &host)).await.status, 200, "{host}");
    }
    let reply = peer.http.send(&ask.clone().with("Origin", "https://app.example.com")).await;
    assert_eq!(reply.status, 200, "{}", reply.everything());
    // The session survived every refused DELETE.
    assert_eq!(peer.http.send(&asks[2]).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn media_types_are_checked() {
    let (gateway, _old, _new) = bounded().await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let Peer::Http(peer) = gateway.peer(dialect, "/mcp").await else { unreachable!() };
        let good = peer.ask("7", &Call::new("tools/list", ""));
        for (accept, status) in [
            ("text/html", 406),
            ("image/png, text/plain;q=0.5", 406),
            ("*/*", 200),
            ("text/event-stream, application/json;q=0.9", 200),
            ("application/*, text/*", 200),
        ] {
            let reply = peer.http.send(&good.clone().set("Accept", accept)).await;
            assert_eq!(reply.status, status, "{accept} from {dialect:?}: {}", reply.everything());
        }
        for (media, status) in [
            ("text/plain", 415),
            ("application/x-www-form-urlencoded", 415),
            ("application/json-patch+json", 415),
            ("application/json; charset=utf-8", 200),
            ("Application/JSON", 200),
        ] {
            let reply = peer.http.send(&good.clone().set("Content-Type", media)).await;
            assert_eq!(reply.status, status, "{media} from {dialect:?}: {}", reply.everything());
        }
        let reply = peer.http.send(&good.clone().without("Content-Type")).await;
        assert_eq!(reply.status, 415, "no content type from {dialect:?}: {}", reply.everything());
    }
    let legacy = gateway.legacy("/mcp").await;
    let get = Ask::new("GET", "/mcp").with("Mcp-Session-Id", legacy.session.as_deref().unwrap());
    assert_eq!(legacy.http.send(&get.clone().with("Accept", "application/json")).await.status, 406);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http_methods_follow_the_era() {
    let (gateway, _old, _new) = bounded().await;
    let http = Http::new(gateway.listen);
    for path in ["/mcp", "/mcp/new"] {
        for verb in ["PUT", "PATCH", "HEAD"] {
            let live = soon(verb, http.open(&Ask::new(verb, path))).await.unwrap();
            assert_eq!(live.status, 405, "{verb} {path}");
            assert!(
                live.header("allow").is_some_and(|allow| allow.contains("POST")),
                "{verb} {path}: {:?}",
                live.headers
            );
        }
        for verb in ["GET", "DELETE"] {
            let ask = Ask::new(verb, path)
                .with("Accept", "text/event-stream")
                .with("MCP-Protocol-Version", "2026-07-28");
            let reply = http.send(&ask).await;
            assert_eq!(reply.status, 405, "{verb} {path}: {}", reply.everything());
        }
        // A legacy client that forgot its session, or knows a wrong one.
        for verb in ["GET", "DELETE"] {
            let ask = Ask::new(verb, path)
                .with("Accept", "text/event-stream")
                .with("MCP-Protocol-Version", "2025-11-25");
            assert_eq!(http.send(&ask).await.status, 400, "{verb} {path} without a session");
            let reply = http.send(&ask.with("Mcp-Session-Id", "made-up")).await;
            assert_eq!(reply.status, 404, "{verb} {path} with a made-up session: {}", reply.everything());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_guarded_and_end() {
    let (gateway, old, _new) = bounded().await;
    let mut peer = gateway.legacy("/mcp/old").await;
    let session = peer.session.clone().unwrap();
    assert!(session.len() >= 22 && session.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{session}");
    let other = gateway.legacy("/mcp/old").await.session.unwrap();
    assert_ne!(session, other);
    assert_eq!(peer.request(&Call::tool("count", "{}")).await.text(), "1");

    let ask = peer.ask("7", &Call::tool("count", "{}"));
    assert_refused(&peer.http.send(&ask.clone().without("Mcp-Session-Id")).await, 400, INVALID, "no session");
    let mut near = session.clone().into_bytes();
    let last = near.last_mut().unwrap();
    *last = if *last == b'A' { b'B' } else { b'A' };
    let near = String::from_utf8(near).unwrap();
    for (what, id) in
        [("made up", "made-up"), ("nearly right", &near), ("empty", ""), ("upstream's", "upstream-session-1")]
    {
        let reply = peer.http.send(&ask.clone().set("Mcp-Session-Id", id)).await;
        assert!(
            matches!(reply.status, 404 | 400) && (reply.status == 404 || id.is_empty()),
            "{what}: {}",
            reply.everything()
        );
    }
    // A session belongs to the endpoint where it was opened.
    let elsewhere = Ask { target: "/mcp".to_owned(), ..ask.clone() };
    assert_refused(&peer.http.send(&elsewhere).await, 404, INVALID, "another endpoint's session");
    let unsupported = peer.http.send(&ask.clone().set("MCP-Protocol-Version", "1999-01-01")).await;
    assert_eq!(unsupported.status, 400, "{}", unsupported.everything());
    assert_eq!(peer.request(&Call::tool("count", "{}")).await.text(), "2", "none of this was carried out");

    let upstream_sessions = old.sessions();
    let delete = Ask::new("DELETE", "/mcp/old")
        .with("Mcp-Session-Id", &session)
        .with("MCP-Protocol-Version", &peer.revision);
    let stream = peer.listen().await;
    assert_eq!(stream.status, 200);
    assert!((200..300).contains(&peer.http.send(&delete).await.status));
    let rest = soon("the end of the GET stream", stream.finish()).await;
    assert!(rest.is_ok(), "{rest:?}");
    assert_refused(&peer.http.send(&ask).await, 404, INVALID, "a deleted session");
    assert_eq!(peer.http.send(&delete).await.status, 404);
    until("the server's own session ends", async || (old.sessions() < upstream_sessions).then_some(())).await;
    let mut again = gateway.legacy("/mcp/old").await;
    assert_eq!(again.request(&Call::tool("count", "{}")).await.text(), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn initialize_negotiates_and_never_refuses_a_version() {
    let (gateway, _old, _new) = bounded().await;
    for (asked, given) in [
        ("2024-11-05", "2024-11-05"),
        ("2025-03-26", "2025-03-26"),
        ("2025-06-18", "2025-06-18"),
        ("2025-11-25", "2025-11-25"),
        ("2026-07-28", "2025-11-25"),
        ("1999-01-01", "2025-11-25"),
    ] {
        let mut peer = HttpPeer::legacy_with(gateway.listen, "/mcp", asked, "{}").await;
        assert_eq!(peer.revision, given, "{asked}");
        assert!(peer.request(&Call::new("ping", "")).await.error().is_none(), "{asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ids_come_back_to_the_letter() {
    let (gateway, _old, _new) = bounded().await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let Peer::Http(peer) = gateway.peer(dialect, "/mcp").await else { unreachable!() };
        for id in [
            "0",
            "-5",
            "9007199254740993",
            "123456789012345678901234567890",
            r#""text""#,
            r#""\u0041\n""#,
            r#""""#,
        ] {
            for call in
                [Call::tool("new__echo", "{}"), Call::new("tools/list", ""), Call::tool("old__nothing", "{}")]
            {
                let answer = Answer::of(&peer.http.send(&peer.ask(id, &call)).await);
                let back = tollgate_testkit::fake::json::find(&answer.message, &["id"]);
                assert_eq!(back.as_deref(), Some(id), "{} from {dialect:?}: {answer:?}", call.method);
            }
        }
    }
}

/// A client that leaves: for a modern one that is cancellation, for a legacy one it is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_modern_client_that_leaves_cancels() {
    for kind in Kind::ALL {
        for tool in ["progress_then_hang", "hang"] {
            let what = format!("{tool} of {kind:?}");
            let server = Upstream::start(kind, Script::legacy()).await;
            let entry = with(&server.entry(), json!({ "request_timeout_ms": 120_000 }));
            let gateway = Gateway::start(&servers([("there", entry)])).await;
            let mut peer = gateway.modern("/mcp/there");
            let call = Call::tool(tool, "{}").meta(r#""progressToken":"t""#);
            let ask = peer.ask("7", &call);
            if tool == "hang" {
                let mut bytes = ask.head(gateway.listen);
                bytes.extend_from_slice(&ask.body);
                let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
                stream.write_all(&bytes).await.unwrap();
                server.wait_method("tools/call", 1).await;
                drop(stream);
            } else {
                let mut live = peer.open(&call).await;
                let event = soon("progress", live.event()).await.unwrap().unwrap();
                assert!(event.data.contains("notifications/progress"), "{what}: {event:?}");
                drop(live);
            }
            let request = server.wait_method("tools/call", 1).await;
            assert_cancelled(&server, &request, &what).await;
        }
    }
}

/// The server learns of the cancellation in its own way, about its own request id.
async fn assert_cancelled(server: &Upstream, request: &tollgate_testkit::fake::Received, what: &str) {
    if matches!(server.kind, Kind::ModernJson | Kind::ModernStream) {
        server.server().log().wait_left(request.seq).await;
    } else {
        let cancelled = server.wait_method("notifications/cancelled", 1).await;
        assert_eq!(cancelled.at(&["params", "requestId"]), request.at(&["id"]), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_that_leaves_does_not_cancel() {
    for kind in [Kind::ModernJson, Kind::ModernStream, Kind::LegacyJson, Kind::LegacyStream] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", server.entry())])).await;
        let mut peer = gateway.legacy("/mcp/there").await;
        let mut live =
            peer.open(&Call::tool("progress_then_gate", "{}").meta(r#""progressToken":"t""#)).await;
        let event = soon("progress", live.event()).await.unwrap().unwrap();
        assert!(event.data.contains("notifications/progress"), "{kind:?}: {event:?}");
        let request = server.wait_method("tools/call", 1).await;
        drop(live);
        for _ in 0..5 {
            assert!(peer.request(&Call::tool("echo", "{}")).await.error().is_none(), "{kind:?}");
        }
        server.release();
        server.server().log().wait_answered(request.seq).await;
        assert!(server.of_method("notifications/cancelled").is_empty(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_legacy_client_cancels_by_saying_so() {
    for kind in Kind::ALL {
        let what = format!("{kind:?}");
        let server = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&server.entry(), json!({ "request_timeout_ms": 120_000 }));
        let gateway = Gateway::start(&servers([("there", entry)])).await;
        let peer = gateway.legacy("/mcp/there").await;
        let ask = peer.ask(r#""mine""#, &Call::tool("hang", "{}"));
        let http = peer.http.clone();
        let waiting = tokio::spawn(async move { http.open(&ask).await?.finish().await });
        let request = server.wait_method("tools/call", 1).await;
        // Another session's client cannot cancel it.
        let stranger = gateway.legacy("/mcp/there").await;
        let cancel = r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"mine","reason":"why not"}}"#;
        assert_eq!(stranger.http.send(&stranger.post(cancel)).await.status, 202);
        assert!(server.of_method("notifications/cancelled").is_empty());
        assert_eq!(peer.http.send(&peer.post(cancel)).await.status, 202);
        assert_cancelled(&server, &request, &what).await;
        // Whatever the client is told, it is not left waiting.
        let _ = soon("the end of the cancelled request", waiting).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_in_one_packet_are_answered_in_order() {
    let (gateway, _old, _new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let mut bytes = Vec::new();
    for id in ["1", "2", "3"] {
        let ask = peer.ask(id, &Call::tool("new__echo", "{}"));
        bytes.extend_from_slice(&ask.head(gateway.listen));
        bytes.extend_from_slice(&ask.body);
    }
    let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
    stream.write_all(&bytes).await.unwrap();
    let mut text = String::new();
    let mut buffer = vec![0; 65536];
    soon("three answers", async {
        while text.matches("\"jsonrpc\"").count() < 3 {
            let n = stream.read(&mut buffer).await.unwrap();
            assert!(n > 0, "closed after {text}");
            text.push_str(&String::from_utf8_lossy(&buffer[..n]));
        }
    })
    .await;
    let at = |id: &str| text.find(&format!("\"id\":{id},")).unwrap_or_else(|| panic!("no {id} in {text}"));
    assert!(at("1") < at("2") && at("2") < at("3"), "{text}");
}

/// Clients that ask for much and read nothing, and clients that never finish their head.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_and_silent_connections_disturb_nobody() {
    let new = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&servers([("new", http(&new.url()))])).await;
    let peer = gateway.modern("/mcp");
    let mut held = Vec::new();
    for _ in 0..10 {
        let ask = peer.ask("1", &Call::tool("new__big", r#"{"bytes":4000000}"#));
        let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
        stream.write_all(&ask.head(gateway.listen)).await.unwrap();
        stream.write_all(&ask.body).await.unwrap();
        held.push(stream);
    }
    for _ in 0..300 {
        let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
        stream.write_all(b"POST /mcp HTTP/1.1\r\nHost: 127.0").await.unwrap();
        held.push(stream);
    }
    for _ in 0..20 {
        let answer = gateway.modern("/mcp").request(&Call::tool("new__echo", "{}")).await;
        assert!(answer.error().is_none(), "{answer:?}");
    }
    assert!(gateway.memory_peak_kib() < 160 * 1024, "{} KiB", gateway.memory_peak_kib());
    drop(held);
    assert!(gateway.modern("/mcp").request(&Call::tool("new__echo", "{}")).await.error().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_are_kept_alive_and_unbuffered() {
    let new = FakeServer::start(Script::modern()).await;
    let mut config = servers([("new", http(&new.url()))]);
    config["limits"] = json!({ "keep_alive_ms": 100 });
    let gateway = Gateway::start(&config).await;
    let mut peer = gateway.modern("/mcp");
    let mut legacy = gateway.legacy("/mcp").await;
    let call = Call::tool("new__progress_then_hang", "{}").meta(r#""progressToken":1"#);
    for (what, mut live) in [
        ("a modern call", peer.open(&call).await),
        ("a legacy call", legacy.open(&call).await),
        ("a GET stream", legacy.listen().await),
    ] {
        assert_eq!(live.status, 200, "{what}");
        assert!(
            live.header("content-type").is_some_and(|t| t.starts_with("text/event-stream")),
            "{what}: {:?}",
            live.headers
        );
        assert_eq!(live.header("x-accel-buffering"), Some("no"), "{what}");
        let mut seen = String::new();
        soon(what, async {
            while seen.lines().filter(|line| line.starts_with(':')).count() < 3 {
                seen.push_str(&String::from_utf8_lossy(&live.part().await.unwrap().expect("it stays open")));
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_are_bounded_idle_out_and_do_not_survive_a_restart() {
    let old = FakeServer::start(Script::legacy()).await;
    let mut config = servers([("old", http(&old.url()))]);
    config["limits"] = json!({ "sessions_max": 3, "session_idle_ms": 8000 });
    let mut gateway = Gateway::start(&config).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(gateway.legacy("/mcp/old").await);
    }
    let streams = [peers[1].listen().await, peers[2].listen().await];
    let refused =
        HttpPeer::shake_hands(gateway.listen, "/mcp/old", "2025-11-25", "{}").await.expect_err("full");
    assert_eq!(refused.refusal(), "capacity", "{refused:?}");
    // A modern client needs no session.
    assert!(gateway.modern("/mcp/old").request(&Call::tool("echo", "{}")).await.error().is_none());
    // The one without a stream idles out; an open stream keeps the others.
    let idle = peers.remove(0);
    until("room for a session", async || {
        HttpPeer::shake_hands(gateway.listen, "/mcp/old", "2025-11-25", "{}").await.ok().map(|_| ())
    })
    .await;
    assert_eq!(idle.http.send(&idle.ask("7", &Call::new("tools/list", ""))).await.status, 404);
    for peer in &mut peers {
        assert!(peer.request(&Call::tool("echo", "{}")).await.error().is_none());
    }
    drop(streams);
    let mut after = peers.remove(0);
    gateway.restart().await;
    after.http = Http::new(gateway.listen);
    assert_eq!(after.http.send(&after.ask("7", &Call::new("tools/list", ""))).await.status, 404);
}

/// An id may stand for one request at a time only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_is_in_use_is_refused() {
    let old = Upstream::start(Kind::LegacyJson, Script::legacy()).await;
    let gateway = Gateway::start(&servers([("old", old.entry())])).await;
    let peer = gateway.legacy("/mcp/old").await;
    let http = peer.http.clone();
    let first = peer.ask("7", &Call::tool("gate", "{}"));
    let waiting = tokio::spawn(async move { http.send(&first).await });
    old.wait_method("tools/call", 1).await;
    let second = peer.http.send(&peer.ask("7", &Call::tool("echo", "{}"))).await;
    assert_refused(&second, 400, INVALID, "an id in use");
    old.release();
    assert_eq!(Answer::of(&waiting.await.unwrap()).text(), "called gate");
    assert_eq!(peer.http.send(&peer.ask("7", &Call::tool("echo", "{}"))).await.status, 200, "free again");
}

/// Large uploads ask first whether they may (RFC 9110, 10.1.1).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_before_it_sends_is_told_to_go_on() {
    let (gateway, _old, _new) = bounded().await;
    let peer = gateway.modern("/mcp");
    let ask = peer.ask("7", &Call::tool("new__echo", "{}")).with("Expect", "100-continue");
    let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
    stream.write_all(&ask.head(gateway.listen)).await.unwrap();
    let mut head = [0; 25];
    soon("100 Continue", stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&ask.body).await.unwrap();
    let mut status = [0; 12];
    soon("the answer", stream.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
}

/// The rules of HTTP+SSE for the address that is posted to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn posts_over_sse_are_checked_too() {
    let (gateway, _old, _new) = bounded().await;
    let peer = gateway.sse("/sse").await;
    let http = Http::new(gateway.listen);
    let good = Ask::new("POST", &peer.endpoint)
        .with("Content-Type", "application/json")
        .body(Call::new("ping", "").message("9", Dialect::Legacy));
    assert_eq!(http.send(&good).await.status, 202);
    let mut bent = peer.endpoint.clone();
    let last = bent.pop().unwrap();
    bent.push(if last == 'A' { 'B' } else { 'A' });
    let path = peer.endpoint.split('?').next().unwrap().to_owned();
    for (what, ask, statuses) in [
        ("nearly the right session", Ask { target: bent, ..good.clone() }, &[404_u16][..]),
        ("no session", Ask { target: path, ..good.clone() }, &[400, 404]),
        ("text", good.clone().set("Content-Type", "text/plain"), &[415]),
        ("a large body", good.clone().body(vec![b' '; 70_000]), &[413]),
        ("a bad origin", good.clone().with("Origin", "https://evil.example"), &[403]),
        ("a bad host", good.clone().with("Host", "evil.example"), &[403]),
        ("another verb", Ask { verb: "PUT".to_owned(), ..good.clone() }, &[405]),
    ] {
        let reply = http.send(&ask).await;
        assert!(statuses.contains(&reply.status), "{what}: {}", reply.everything());
    }
    drop(peer);
    until("the end of the session with its stream", async || {
        (http.send(&good).await.status == 404).then_some(())
    })
    .await;
}

/// Lines that are no messages, to a bridge and to a gateway that is itself a child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_over_stdio_is_answered_and_survived() {
    let new = FakeServer::start(Script::modern()).await;
    let config = servers([("new", http(&new.url()))]);
    let gateway = Gateway::start(&config).await;
    let (_folder, file) = config_file(&config);
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let args = ["serve", "--stdio", "--config", file.to_str().unwrap()];
        let peers =
            [gateway.bridged(dialect, "/mcp").await, StdioPeer::start(&binary(), args, &[], dialect).await];
        for (which, mut peer) in peers.into_iter().enumerate() {
            for (line, codes) in [
                (&b"{\"jsonrpc\":"[..], PARSE),
                (b"\xff\xfe", PARSE),
                (b"{\"jsonrpc\":\"2.0\",\"id\":\"\\ud800\",\"method\":\"ping\"}", PARSE),
                (b"[]", INVALID),
                (b"{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}", EITHER),
            ] {
                let what = format!("{} to {which} in {dialect:?}", String::from_utf8_lossy(line));
                peer.send_raw(line).await;
                let answer: Value = serde_json::from_slice(&peer.line().await.unwrap()).unwrap();
                let code = answer["error"]["code"].as_i64().unwrap_or_else(|| panic!("{what}: {answer}"));
                assert!(codes.contains(&code), "{what}: {answer}");
            }
            // Nothing to answer.
            peer.send_raw(b"").await;
            peer.send_raw(b"   \r").await;
            peer.send_raw(br#"{"jsonrpc":"2.0","method":"notifications/nobody-knows"}"#).await;
            peer.send_raw(br#"{"jsonrpc":"2.0","id":"to nothing","result":{}}"#).await;
            let answer = peer.request(&Call::tool("new__echo", "{}")).await;
            assert!(
                answer.error().is_none() && answer.before.is_empty(),
                "{which} in {dialect:?}: {answer:?}"
            );
            assert_eq!(peer.close().await, Some(0), "{which} in {dialect:?}");
        }
    }
}

/// Whatever comes over the wire: the gateway answers or closes, goes on serving, and never panics.
#[test]
fn bent_requests_break_nothing() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    let (gateway, _old, _new) = runtime.block_on(bounded());
    let modern = gateway.modern("/mcp");
    let legacy = runtime.block_on(gateway.legacy("/mcp"));
    let seeds: Vec<Vec<u8>> = [
        modern.ask("7", &Call::tool("new__echo", r#"{"a":[1,"\u00e9"]}"#).meta(r#""progressToken":"t""#)),
        legacy.ask("7", &Call::tool("old__echo", r#"{"a":{}}"#)),
        modern.ask("7", &Call::new("resources/read", r#""uri":"memo://one""#)),
        Ask::new("GET", "/mcp").with("Accept", "text/event-stream").with("Mcp-Session-Id", "x"),
    ]
    .iter()
    .map(|ask| [ask.head(gateway.listen), ask.body.clone()].concat())
    .collect();
    let bends = prop::collection::vec(any::<Bend>(), 1..6);
    let mut runner = TestRunner::new(Config { cases: 600, failure_persistence: None, ..Config::default() });
    let answered = std::cell::Cell::new(0);
    let outcome = runner.run(&(0..seeds.len(), bends), |(seed, bends)| {
        let bytes = bent(&seeds[seed], &bends);
        runtime.block_on(async {
            let mut stream = TcpStream::connect(gateway.listen).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let mut answer = Vec::new();
            // One that is cut short waits for its rest in vain; the next one does not wait for that.
            let mut part = [0; 4096];
            if let Ok(Ok(n)) = tokio::time::timeout(Duration::from_millis(100), stream.read(&mut part)).await
            {
                answer.extend_from_slice(&part[..n]);
                answered.set(answered.get() + usize::from(n > 0));
            }
            prop_assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1."),
                "{:?}",
                String::from_utf8_lossy(&answer)
            );
            Ok(())
        })
    });
    assert!(outcome.is_ok(), "{outcome:?}");
    assert!(answered.get() > 300, "only {} were answered", answered.get());
    runtime.block_on(assert_well(&gateway));
}

/// The end of a session ends what is under way in it, on both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_session_ends_its_calls() {
    for kind in [Kind::ModernJson, Kind::LegacyStream, Kind::LegacyStdio] {
        let server = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&server.entry(), json!({ "request_timeout_ms": 120_000 }));
        let gateway = Gateway::start(&servers([("there", entry)])).await;
        // Over Streamable HTTP by DELETE.
        let peer = gateway.legacy("/mcp/there").await;
        let (http, ask) = (peer.http.clone(), peer.ask("7", &Call::tool("hang", "{}")));
        let waiting = tokio::spawn(async move { http.open(&ask).await?.finish().await });
        let request = server.wait_method("tools/call", 1).await;
        let delete =
            Ask::new("DELETE", "/mcp/there").with("Mcp-Session-Id", peer.session.as_deref().unwrap());
        assert!((200..300).contains(&peer.http.send(&delete).await.status), "{kind:?}");
        let ended = soon("the end of the call", waiting).await.unwrap();
        if let Ok(reply) = ended {
            assert!(!reply.text().contains("called"), "{kind:?}: {}", reply.everything());
        }
        if kind == Kind::ModernJson {
            server.server().log().wait_left(request.seq).await;
        }
        // Over HTTP+SSE by leaving.
        let peer = gateway.sse("/sse/there").await;
        peer.post(&Call::tool("hang", "{}").message("8", Dialect::Legacy)).await;
        let request = server.wait_method("tools/call", 2).await;
        drop(peer);
        if kind == Kind::ModernJson {
            server.server().log().wait_left(request.seq).await;
        } else if kind.is_stdio() {
            until("the end of both children", async || {
                let stage = server.stage();
                stage
                    .pids("start")
                    .iter()
                    .all(|pid| !tollgate_testkit::fake::stdio::alive(*pid))
                    .then_some(())
            })
            .await;
        } else {
            until("the end of both sessions", async || (server.server().sessions() == 0).then_some(())).await;
        }
        assert!(
            gateway.modern("/mcp/there").request(&Call::tool("echo", "{}")).await.error().is_none(),
            "{kind:?}"
        );
    }
}
