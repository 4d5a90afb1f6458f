//! What the gateway does not know, it leaves alone: random JSON in either direction on every path between peers of the
//! same era comes out byte for byte as it went in.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::cell::RefCell;
use std::fmt::Write as _;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestError, TestRunner};
use tollgate_e2e::gateway::{Gateway, servers, with};
use tollgate_e2e::upstream::{Kind, Upstream, fake_child};
use tollgate_testkit::fake::{Call, Dialect, HttpPeer, LEAK, Peer, Script, SsePeer, StdioPeer, json};

/// How a client reaches the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    Sse,
    Bridge,
}

/// Every path between a client and a server of the same era.
const PATHS: [(Way, Kind); 12] = [
    (Way::Http, Kind::ModernJson),
    (Way::Http, Kind::ModernStream),
    (Way::Http, Kind::ModernStdio),
    (Way::Bridge, Kind::ModernJson),
    (Way::Bridge, Kind::ModernStdio),
    (Way::Http, Kind::LegacyJson),
    (Way::Http, Kind::LegacyStream),
    (Way::Http, Kind::LegacySse),
    (Way::Http, Kind::LegacyStdio),
    (Way::Sse, Kind::LegacyJson),
    (Way::Sse, Kind::LegacySse),
    (Way::Bridge, Kind::LegacyStdio),
];

async fn peer(gateway: &Gateway, way: Way, kind: Kind, path: &str) -> Peer {
    match way {
        Way::Http => gateway.peer(kind.dialect(), path).await,
        Way::Sse => gateway.sse(&path.replacen("/mcp", "/sse", 1)).await.into(),
        Way::Bridge => gateway.bridged(kind.dialect(), path).await.into(),
    }
}

/// White space that is no line break: on stdio and in events a line break ends a message.
fn blank() -> impl Strategy<Value = &'static str> {
    prop_oneof![8 => Just(""), 1 => Just(" "), 1 => Just("\t  ")]
}

fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?(0|[1-9][0-9]{0,20})",
        "-?(0|[1-9][0-9]{0,5})\\.[0-9]{1,30}",
        "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?[eE][+-]?[0-9]{1,4}",
        "[1-9][0-9]{399}",
        "0\\.[0-9]{400}",
        Just("-0".to_owned()),
        Just("1E400".to_owned()),
    ]
}

/// The inside of a string, in one of the ways in which JSON lets it be spelt.
fn letters() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ -!#-\\[\\]-~]{1,8}",
        1 => Just(r#"\""#.to_owned()),
        1 => Just(r"\\".to_owned()),
        1 => Just(r"\/".to_owned()),
        1 => prop::sample::select(vec![r"\b", r"\f", r"\n", r"\r", r"\t"]).prop_map(str::to_owned),
        1 => (0_u32..0xd800).prop_map(|c| format!("\\u{c:04x}")),
        1 => (0xe000_u32..0x1_0000).prop_map(|c| format!("\\u{c:04X}")),
        1 => (0x1_0000_u32..0x11_0000).prop_map(|c| {
            let c = c - 0x1_0000;
            format!("\\u{:04x}\\u{:04X}", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff))
        }),
        2 => any::<char>().prop_filter("may stand unescaped", |c| *c >= ' ' && !matches!(c, '"' | '\\')).prop_map(String::from),
        1 => Just("\u{7f}\u{2028}\u{2029}\u{fffe}\u{1f468}\u{200d}\u{1f469}".to_owned()),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("false".to_owned()),
        number(),
        letters().prop_map(|s| format!("\"{s}\"")),
        Just("{}".to_owned()),
        Just("[]".to_owned()),
    ];
    leaf.prop_recursive(6, 60, 6, |inner| {
        prop_oneof![
            prop::collection::vec((blank(), inner.clone(), blank()), 0..6).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(a, item, b)| format!("{a}{item}{b}")).collect();
                format!("[{}]", items.join(","))
            }),
            members_of(inner).prop_map(|members| format!("{{{members}}}")),
        ]
    })
}

/// Members without braces. Their number at the end of each key keeps the keys apart, however they are spelt.
fn members_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    prop::collection::vec((letters(), value, blank(), blank(), blank()), 0..6).prop_map(|members| {
        let mut text = String::new();
        for (n, (key, value, a, b, c)) in members.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            let _ = write!(text, "{comma}{a}\"{key}#{n}\"{b}:{c}{value}");
        }
        text
    })
}

fn members() -> impl Strategy<Value = String> {
    members_of(value())
}

/// What one case sends.
#[derive(Debug, Clone)]
struct Case {
    /// Members of the result, of its only content block, and of its `_meta`.
    result: [String; 3],
    argument: String,
    extra: String,
    meta: String,
    token: bool,
}

fn case() -> impl Strategy<Value = Case> {
    ([members(), members(), members()], value(), value(), value(), any::<bool>())
        .prop_map(|(result, argument, extra, meta, token)| Case { result, argument, extra, meta, token })
}

fn comma(members: &str) -> &'static str {
    if members.is_empty() { "" } else { "," }
}

impl Case {
    fn result(&self, dialect: Dialect) -> String {
        let [own, block, meta] = &self.result;
        let kind = if dialect == Dialect::Modern { r#""resultType":"complete","# } else { "" };
        format!(
            r#"{{{kind}"content":[{{"type":"text","text":"t"{}{block}}}],"_meta":{{{meta}}}{}{own}}}"#,
            comma(block),
            comma(own)
        )
    }

    fn arguments(&self, dialect: Dialect) -> String {
        format!(r#"{{"result":{}, "argument" : {}}}"#, self.result(dialect), self.argument)
    }

    fn call(&self, tool: &str, dialect: Dialect) -> Call {
        let token = if self.token { r#","progressToken":"mine""# } else { "" };
        Call::new(
            "tools/call",
            format!(r#""name":"{tool}","arguments":{},"x-extra":{}"#, self.arguments(dialect), self.extra),
        )
        .meta(format!(r#""com.example/k":{}{token}"#, self.meta))
    }
}

/// How many cases each path gets; `PROPTEST_CASES` for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(40)
}

fn all_paths(merged: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for (way, kind) in PATHS {
        let (upstream, gateway, peer) = runtime.block_on(async {
            let upstream = Upstream::start(kind, Script::legacy()).await;
            let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
            let peer = peer(&gateway, way, kind, if merged { "/mcp" } else { "/mcp/there" }).await;
            (upstream, gateway, peer)
        });
        let tool = if merged { "there__return" } else { "return" };
        let peer = RefCell::new(peer);
        let seen = RefCell::new(0);
        let mut runner =
            TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&case(), |case| {
            let dialect = kind.dialect();
            let call = case.call(tool, dialect);
            let answer = runtime.block_on(peer.borrow_mut().request(&call));
            let received = upstream.of_method("tools/call");
            prop_assert_eq!(received.len(), *seen.borrow() + 1, "one call is one call");
            *seen.borrow_mut() += 1;
            let received = received.last().unwrap();
            let sent = call.message("0", dialect);
            for path in
                [&["params", "arguments"][..], &["params", "x-extra"], &["params", "_meta", "com.example/k"]]
            {
                prop_assert_eq!(received.at(path), json::find(&sent, path), "{:?} at the server", path);
            }
            let keys = |message: &str| -> Vec<String> {
                let params = json::find(message, &["params"]).unwrap_or_default();
                json::members(&params).keys().into_iter().map(str::to_owned).collect()
            };
            prop_assert_eq!(keys(received.text()), keys(&sent), "the members of params, in order");
            prop_assert_eq!(received.at(&["params", "name"]), Some("\"return\"".to_owned()));
            prop_assert_eq!(
                json::find(&answer.message, &["result"]),
                Some(case.result(dialect)),
                "{:?}",
                answer
            );
            Ok(())
        });
        match outcome {
            Ok(()) => {}
            Err(TestError::Fail(why, case)) => panic!(
                "{way:?} to {kind:?}: {why}\n{}",
                case.call(tool, kind.dialect()).message("1", kind.dialect())
            ),
            Err(other) => panic!("{way:?} to {kind:?}: {other}"),
        }
        drop(gateway);
    }
}

#[test]
fn calls_and_results_pass_unchanged_at_a_servers_own_endpoint() {
    all_paths(false);
}

#[test]
fn calls_and_results_pass_unchanged_at_the_merged_endpoint() {
    all_paths(true);
}

/// Without this the property would say as much about the fakes as about the gateway.
#[test]
fn the_peers_of_these_tests_change_nothing_themselves() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for kind in Kind::ALL {
        let upstream = runtime.block_on(Upstream::start(kind, Script::legacy()));
        let peer = RefCell::new(runtime.block_on(async {
            match kind {
                _ if kind.is_stdio() => {
                    let args = [upstream.stage().path()];
                    Peer::from(StdioPeer::start(fake_child().as_ref(), args, &[], kind.dialect()).await)
                }
                Kind::LegacySse => SsePeer::connect(upstream.server().addr(), "/sse").await.into(),
                _ if kind.dialect() == Dialect::Modern => {
                    HttpPeer::modern(upstream.server().addr(), "/mcp").into()
                }
                _ => HttpPeer::legacy(upstream.server().addr(), "/mcp").await.into(),
            }
        }));
        let mut runner =
            TestRunner::new(Config { cases: cases(), failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&case(), |case| {
            let call = case.call("return", kind.dialect());
            let answer = runtime.block_on(peer.borrow_mut().request(&call));
            prop_assert_eq!(json::find(&answer.message, &["result"]), Some(case.result(kind.dialect())));
            let received = upstream.of_method("tools/call").pop().unwrap();
            prop_assert_eq!(received.at(&["params", "arguments"]), Some(case.arguments(kind.dialect())));
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{kind:?}: {error}");
        }
    }
}

/// Definitions of tools, and what stands beside them in a list.
#[test]
fn lists_pass_unchanged_but_for_names() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for kind in Kind::ALL {
        let upstream = runtime.block_on(Upstream::start(kind, Script::legacy()));
        // Its lists change, and it says nothing of that.
        let entry = with(&upstream.entry(), serde_json::json!({"cache": {"enabled": false}}));
        let gateway = runtime.block_on(Gateway::start(&servers([("there", entry)])));
        let native = RefCell::new(runtime.block_on(gateway.peer(kind.dialect(), "/mcp/there")));
        let merged = RefCell::new(runtime.block_on(gateway.peer(kind.dialect(), "/mcp")));
        let definitions = prop::collection::vec((members(), members(), blank()), 1..6);
        let mut runner =
            TestRunner::new(Config { cases: cases() / 2, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&(definitions, members()), |(definitions, beside)| {
            let tools: Vec<String> = definitions
                .iter()
                .enumerate()
                .map(|(n, (own, schema, blank))| {
                    let (a, b) = (comma(own), comma(schema));
                    format!(r#"{{{own}{a}{blank}"name":{blank}"t{n}","inputSchema":{{"type":"object"{b}{schema}}}}}"#)
                })
                .collect();
            let list_members = format!("{}{beside}", comma(&beside));
            upstream.play(Script { tools: tools.clone(), list_members, ..Script::legacy() });
            let answer = runtime.block_on(native.borrow_mut().list("tools/list", None));
            let result = answer.result();
            prop_assert_eq!(json::elements(&json::find(&result, &["tools"]).unwrap_or_default()), tools.clone());
            for (key, value) in json::members(&format!("{{{beside}}}")).0 {
                prop_assert_eq!(json::find(&result, &[&key]), Some(value.get().to_owned()), "{} beside the tools", key);
            }
            let answer = runtime.block_on(merged.borrow_mut().list("tools/list", None));
            let listed = json::elements(&json::find(&answer.result(), &["tools"]).unwrap_or_default());
            prop_assert_eq!(listed.len(), tools.len());
            for (n, (listed, tool)) in listed.iter().zip(&tools).enumerate() {
                let renamed = tool.replacen(&format!("\"t{n}\""), &format!("\"there__t{n}\""), 1);
                prop_assert_eq!(listed, &renamed);
            }
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{kind:?}: {error}");
        }
    }
}

/// A server's own errors are the server's own words about the request, and pass as they are.
#[test]
fn errors_pass_unchanged() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let _entered = runtime.enter();
    for kind in Kind::ALL {
        let upstream = runtime.block_on(Upstream::start(kind, Script::legacy()));
        let gateway = runtime.block_on(Gateway::start(&servers([("there", upstream.entry())])));
        let peer = RefCell::new(runtime.block_on(gateway.peer(kind.dialect(), "/mcp/there")));
        let mut runner =
            TestRunner::new(Config { cases: cases() / 2, failure_persistence: None, ..Config::default() });
        let outcome = runner.run(&(value(), members(), letters()), |(data, own, text)| {
            let error = format!(r#"{{"code":-32050,"message":"{text}","data":{data}{}{own}}}"#, comma(&own));
            let call = Call::tool("raise", &format!(r#"{{"error":{error}}}"#));
            let answer = runtime.block_on(peer.borrow_mut().request(&call));
            prop_assert_eq!(answer.error(), Some(error), "{:?}", answer);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{kind:?}: {error}");
        }
    }
}

/// Prompts, resources and progress carry unknown members too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_methods_and_notifications_keep_what_they_carry() {
    for (way, kind) in PATHS {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = peer(&gateway, way, kind, "/mcp").await;
        let what = format!("{way:?} to {kind:?}");
        let odd = r#"{"who":"\u0061\/b","big":1e400, "n" : 0.10}"#;
        let get =
            Call::new("prompts/get", format!(r#""name":"there__greet","arguments":{odd},"x-extra":{odd}"#));
        let result = peer.request(&get).await.result();
        for member in ["arguments", "x-extra"] {
            assert_eq!(json::find(&result, &["echo", member]).as_deref(), Some(odd), "{what}");
        }
        let read = Call::new("resources/read", format!(r#""uri":"memo://one","x-extra":{odd}"#));
        assert!(peer.request(&read).await.error().is_none(), "{what}");
        let received = upstream.wait_method("resources/read", 1).await;
        assert_eq!(received.at(&["params", "x-extra"]).as_deref(), Some(odd), "{what}");
        let token = r#""to\u006ben""#;
        let answer = peer
            .request(&Call::tool("there__progress", "{}").meta(format!(r#""progressToken":{token}"#)))
            .await;
        assert_eq!(answer.before.len(), 5, "{what}: {answer:?}");
        for (n, notification) in answer.before.iter().enumerate() {
            let at = |key: &str| json::find(notification, &["params", key]);
            assert_eq!(at("x-kept").as_deref(), Some("1.00"), "{what}");
            assert_eq!(at("progress"), Some((n + 1).to_string()), "{what}");
            assert_eq!(at("progressToken").and_then(|t| json::text(&t)).as_deref(), Some("token"), "{what}");
        }
        let received = upstream.of_method("tools/call").pop().unwrap();
        assert_ne!(
            received.at(&["params", "_meta", "progressToken"]).as_deref(),
            Some(token),
            "{what}: the gateway is the sender"
        );
    }
}

/// Line breaks between tokens are no content, but on stdio and in events they would end a message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn line_breaks_between_tokens_break_nothing() {
    for (way, kind) in PATHS {
        if way == Way::Bridge {
            continue;
        }
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = peer(&gateway, way, kind, "/mcp").await;
        let pretty = "{\r\n  \"resultType\": \"complete\",\n\n  \"content\": [\r\n\t{ \"type\": \"text\",\n \"text\": \"a\\nb\" } ]\n}";
        let answer = peer.tool("there__return", &format!("{{\n\"result\":\r\n{pretty}\n}}")).await;
        assert_eq!(answer.text(), "a\nb", "{way:?} to {kind:?}");
        let received = upstream.of_method("tools/call").pop().unwrap();
        let arrived: serde_json::Value =
            serde_json::from_str(&received.at(&["params", "arguments", "result"]).unwrap()).unwrap();
        assert_eq!(
            arrived,
            serde_json::from_str::<serde_json::Value>(pretty).unwrap(),
            "{way:?} to {kind:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deep_nesting_passes_within_its_bound() {
    for kind in Kind::ALL {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = gateway.peer(kind.dialect(), "/mcp/there").await;
        let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
        let result = format!(r#"{{"resultType":"complete","content":[],"deep":{deep}}}"#);
        let answer = peer.tool("return", &format!(r#"{{"result":{result}}}"#)).await;
        assert_eq!(answer.result(), result, "{kind:?}");
    }
}

const MIB: usize = 1 << 20;

/// A large result passes in whole, and the gateway holds it once rather than several times.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_of_10_mb_is_not_held_several_times() {
    let mut all_grown = Vec::new();
    for (way, kind) in PATHS {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = peer(&gateway, way, kind, "/mcp").await;
        peer.tool("there__echo", "{}").await.result();
        gateway.reset_memory_peak();
        let before = gateway.memory_peak_kib();
        let answer = peer.tool("there__big", &format!(r#"{{"bytes":{}}}"#, 10 * MIB)).await;
        let grown = gateway.memory_peak_kib().saturating_sub(before);
        let text = answer.text();
        assert_eq!(text.len(), 10 * MIB, "{way:?} to {kind:?}");
        assert!(text.bytes().all(|b| b == b'x'), "{way:?} to {kind:?}");
        all_grown.push((grown, way, kind));
    }
    assert!(
        all_grown.iter().all(|(grown, ..)| *grown < 30 * 1024),
        "KiB more for a result of 10 MiB: {all_grown:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_argument_of_1_mib_passes() {
    for (way, kind) in PATHS {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = peer(&gateway, way, kind, "/mcp").await;
        let arguments = format!(r#"{{"text":"{}\u00e9"}}"#, "0123456789abcdef".repeat(MIB / 16));
        let answer = peer.tool("there__echo", &arguments).await;
        let echoed = json::find(&answer.result(), &["echo", "arguments"]);
        assert!(echoed.as_deref() == Some(&arguments), "{way:?} to {kind:?}");
    }
}

/// Many clients at once, all with the same request ids, on channels that they share: each gets its own answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_never_cross() {
    for kind in Kind::ALL {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&upstream.entry(), serde_json::json!({ "isolation": "shared" }));
        let gateway = Gateway::start(&servers([("there", entry)])).await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..24 {
            let mut peer: Peer = match client % 3 {
                0 => gateway.modern("/mcp/there").into(),
                1 => gateway.legacy("/mcp/there").await.into(),
                _ => gateway.sse("/sse/there").await.into(),
            };
            clients.spawn(async move {
                for n in 0..20 {
                    let arguments =
                        format!(r#"{{"client":{client},"n":{n},"pad":"{}"}}"#, "p".repeat(n * 997));
                    let call = Call::tool("echo", &arguments).meta(r#""progressToken":"same""#);
                    let echoed = peer.request(&call).await.result();
                    assert!(
                        json::find(&echoed, &["echo", "arguments"]).as_deref() == Some(&arguments),
                        "{kind:?}"
                    );
                    let progress =
                        peer.request(&Call::tool("progress", "{}").meta(r#""progressToken":"same""#)).await;
                    assert_eq!(progress.before.len(), 5, "{kind:?}: {progress:?}");
                }
            });
        }
        while let Some(outcome) = clients.join_next().await {
            outcome.unwrap();
        }
    }
}

/// Credentials, cookies and addresses of one side are none of the other's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_stay_on_their_side() {
    for kind in [Kind::ModernJson, Kind::ModernStream, Kind::LegacyJson, Kind::LegacyStream, Kind::LegacySse]
    {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&upstream.entry(), serde_json::json!({ "headers": { "X-Static": "${STATIC}-1" } }));
        let gateway = Gateway::start_with(&servers([("there", entry)]), &[("STATIC", "s3cret")]).await;
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let Peer::Http(peer) = gateway.peer(dialect, "/mcp/there").await else { unreachable!() };
            let mut ask = peer.ask("7", &Call::tool("echo", "{}"));
            for (name, value) in [
                ("Authorization", "Bearer PRIVATE"),
                ("Cookie", "PRIVATE=1"),
                ("X-Api-Key", "PRIVATE"),
                ("X-Forwarded-For", "192.0.2.77"),
                ("Forwarded", "for=192.0.2.77"),
                ("Proxy-Authorization", "PRIVATE"),
                ("X-Static", "PRIVATE"),
                ("Last-Event-ID", "PRIVATE"),
            ] {
                ask = ask.with(name, value);
            }
            let reply = peer.http.send(&ask).await;
            assert_eq!(reply.status, 200, "{}", reply.everything());
            // A session id of the server's would be in here.
            assert!(!reply.everything().contains(LEAK), "{}", reply.everything());
            let received = upstream.of_method("tools/call").pop().unwrap();
            let headers = format!("{:?}", received.headers);
            assert!(!headers.contains("PRIVATE") && !headers.contains("192.0.2.77"), "{kind:?}: {headers}");
            assert_eq!(received.header("x-static"), Some("s3cret-1"), "{kind:?}");
            if let Some(session) = &peer.session {
                assert!(
                    !headers.contains(session.as_str()) && !session.contains(LEAK),
                    "{kind:?}: {headers}"
                );
            }
            assert_eq!(received.header("host"), Some(upstream.address().as_str()), "{kind:?}");
        }
    }
}

/// A tool whose annotated arguments travel in headers too.
const REGIONAL: &str = r#"{"name":"regional","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"deep":{"type":"object","properties":{"n":{"type":"integer","x-mcp-header":"N"}}},"free":{"type":"string"}}}}"#;

/// The fake refuses a call whose headers do not say what its arguments say.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn annotated_arguments_travel_in_headers_for_every_client() {
    let script = || Script { tools: vec![REGIONAL.to_owned(), Script::tool("echo")], ..Script::modern() };
    for kind in [Kind::ModernJson, Kind::ModernStream] {
        let upstream = Upstream::start(kind, script()).await;
        let mut config = servers([("there", upstream.entry())]);
        config["toolsets"] = serde_json::json!({ "pinned": { "tools": [
            { "tool": "there__regional", "rename": "here", "arguments": { "region": "eu-\u{fc}" } } ] } });
        let gateway = Gateway::start(&config).await;
        for arguments in [
            r#"{"region":"us-1"}"#,
            r#"{"region":"\u00fc ","deep":{"n":42}}"#,
            r#"{"region":null,"free":"x"}"#,
            "{}",
        ] {
            for path in ["/mcp", "/mcp/there"] {
                let tool = if path == "/mcp" { "there__regional" } else { "regional" };
                let mut legacy = gateway.peer(Dialect::Legacy, path).await;
                let answer = legacy.tool(tool, arguments).await;
                assert!(answer.error().is_none(), "{arguments} of a legacy client at {path}: {answer:?}");
                let mut sse = Peer::from(gateway.sse(&path.replacen("/mcp", "/sse", 1)).await);
                let answer = sse.tool(tool, arguments).await;
                assert!(answer.error().is_none(), "{arguments} of an SSE client at {path}: {answer:?}");
            }
        }
        let modern = gateway.modern("/mcp");
        let ask = modern.ask("7", &Call::tool("there__regional", r#"{"region":"us-1"}"#));
        let reply = modern
            .http
            .send(&ask.clone().with("Mcp-Param-Region", "us-1").with("Mcp-Param-Unknown", "kept"))
            .await;
        assert_eq!(reply.status, 200, "{}", reply.everything());
        let received = upstream.of_method("tools/call").pop().unwrap();
        assert_eq!(received.header("mcp-param-unknown"), Some("kept"), "what nobody knows is passed on");
        for (what, ask) in [("another value", ask.clone().with("Mcp-Param-Region", "eu")), ("no header", ask)]
        {
            let reply = modern.http.send(&ask).await;
            assert_eq!(reply.status, 400, "{what}: {}", reply.everything());
            assert!(reply.text().contains("-32020"), "{what}: {}", reply.everything());
        }
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            let mut peer = gateway.peer(dialect, "/mcp/pinned").await;
            let answer = peer.tool("here", r#"{"free":"x"}"#).await;
            assert!(answer.error().is_none(), "a pinned argument for {dialect:?}: {answer:?}");
        }
    }
}

/// What a client asks for by name or URI reaches the server's header only in a form that cannot end it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_cannot_break_out_of_headers() {
    let mut script = Script::modern();
    let odd = ["a\r\nX-Evil: 1", " padded ", "=?base64?eA==?=", "tab\there", "\u{0}", "grün", "\u{7f}"];
    script.tools.extend(odd.map(Script::tool));
    let upstream = Upstream::start(Kind::ModernJson, script).await;
    let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
    for dialect in [Dialect::Modern, Dialect::Legacy] {
        let mut peer = gateway.peer(dialect, "/mcp/there").await;
        for name in odd {
            let answer = peer.tool(name, "{}").await;
            assert!(answer.error().is_none(), "{name:?} for {dialect:?}: {answer:?}");
            assert_eq!(answer.text(), format!("called {name}"), "{dialect:?}");
            let uri = format!("memo://note/{name}");
            let read = Call::new("resources/read", format!(r#""uri":{}"#, json::quote(&uri)));
            let answer = peer.request(&read).await;
            assert_eq!(answer.value()["contents"][0]["uri"], *uri, "{dialect:?}: {answer:?}");
        }
    }
    assert!(upstream.server().log().requests().iter().all(|r| r.header("x-evil").is_none()));
}

/// A server's address is used to the letter, query and all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_query_of_a_servers_address_is_kept() {
    for kind in [Kind::ModernJson, Kind::LegacyJson] {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let url = format!("{}?key=a%20b&x", upstream.server().url());
        let gateway = Gateway::start(&servers([("there", tollgate_e2e::gateway::http(&url))])).await;
        gateway.peer(kind.dialect(), "/mcp/there").await.tool("echo", "{}").await.result();
        for request in upstream.server().log().requests() {
            assert_eq!(request.target, "/mcp?key=a%20b&x", "{kind:?}: {request:?}");
        }
    }
}

/// What a legacy server is told about its client is what the client said of itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clients_own_capabilities_go_upstream() {
    for kind in [Kind::LegacyJson, Kind::LegacySse, Kind::LegacyStdio] {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let capabilities = r#"{"experimental":{"x-\u0061":{"n":1.00}}}"#;
        let peer = HttpPeer::legacy_with(gateway.listen, "/mcp/there", "2025-06-18", capabilities).await;
        Peer::from(peer).tool("echo", "{}").await.result();
        let told: Vec<_> = upstream
            .of_method("initialize")
            .iter()
            .filter_map(|r| r.at(&["params", "capabilities"]))
            .collect();
        assert!(told.contains(&capabilities.to_owned()), "{kind:?}: {told:?}");
    }
}

/// Many first calls at once are one probe and one start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_at_the_start_makes_one_start() {
    for kind in Kind::ALL {
        let upstream = Upstream::start(kind, Script::legacy()).await;
        let entry = with(&upstream.entry(), serde_json::json!({ "isolation": "shared" }));
        let gateway = Gateway::start(&servers([("there", entry)])).await;
        let mut crowd = tokio::task::JoinSet::new();
        for _ in 0..40 {
            let mut peer = gateway.modern("/mcp/there");
            crowd.spawn(async move { peer.request(&Call::tool("echo", "{}")).await });
        }
        while let Some(answer) = crowd.join_next().await {
            assert!(answer.unwrap().error().is_none(), "{kind:?}");
        }
        let starts = upstream.of_method("initialize").len();
        assert_eq!(starts, usize::from(kind.dialect() == Dialect::Legacy), "{kind:?}");
        assert!(upstream.of_method("server/discover").len() <= 1, "{kind:?}");
        if kind.is_stdio() {
            assert_eq!(upstream.stage().pids("start").len(), 1, "{kind:?}");
        }
    }
}

/// A server that closes each connection after its answer, without a word: the next call takes a new one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_its_connections_loses_no_call() {
    for kind in [Kind::ModernJson, Kind::ModernStream, Kind::LegacyJson, Kind::LegacyStream] {
        let upstream = Upstream::start(kind, Script { closes: true, ..Script::legacy() }).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = gateway.peer(kind.dialect(), "/mcp/there").await;
        for n in 0..200 {
            let answer = peer.tool("echo", "{}").await;
            assert!(answer.error().is_none(), "{kind:?}, call {n}: {answer:?}");
        }
    }
}
