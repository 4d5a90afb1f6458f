//! Log messages, from any server to any client: a modern client says with each request what it wants, a legacy one once
//! for its session, and servers are told in the way of their own era. And what else a legacy client says for its whole session: that its roots
//! have changed.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use serde_json::json;
use tollgate_e2e::gateway::{Gateway, servers};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::{Act, Answer, Call, Dialect, LEVELS, Peer, Script, json};

const LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// The ways to reach a server over which it can say something before its answer.
const KINDS: [Kind; 5] =
    [Kind::ModernStream, Kind::ModernStdio, Kind::LegacyStream, Kind::LegacySse, Kind::LegacyStdio];

fn logging() -> Script {
    Script {
        capabilities: r#"{"tools":{},"logging":{}}"#.to_owned(),
        ..Script::legacy().with_tools(["log", "echo"])
    }
}

/// The levels of the log messages that came before the answer.
fn levels(answer: &Answer) -> Vec<String> {
    answer.before.iter().map(|message| json::text_at(message, &["params", "level"]).unwrap()).collect()
}

/// Calls the tool, at this level if there is one: of a legacy client it was set for the session before.
async fn logs(peer: &mut Peer, tool: &str, level: Option<&str>) -> Vec<String> {
    let call = Call::tool(tool, "{}");
    let call = match level {
        Some(level) if peer.dialect() == Dialect::Modern => call.meta(format!(r#""{LEVEL}":"{level}""#)),
        _ => call,
    };
    levels(&peer.request(&call).await)
}

async fn set_level(peer: &mut Peer, level: &str) -> Answer {
    peer.request(&Call::new("logging/setLevel", format!(r#""level":"{level}""#))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_gets_what_it_asked_for_and_nothing_less_severe() {
    for kind in KINDS {
        for dialect in [Dialect::Modern, Dialect::Legacy] {
            for (path, prefix) in [("/mcp/there", ""), ("/mcp", "there__")] {
                let what = format!("{dialect:?} to {kind:?} at {path}");
                let upstream = Upstream::start(kind, logging()).await;
                let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
                let mut peer = gateway.peer(dialect, path).await;
                let tool = format!("{prefix}log");

                let unasked = logs(&mut peer, &tool, None).await;
                // A modern client must get nothing that it did not ask for; to a legacy one the server says what it likes.
                let expected: &[&str] = if dialect == Dialect::Modern { &[] } else { &LEVELS };
                assert_eq!(unasked, expected, "{what}");
                assert!(upstream.of_method("logging/setLevel").is_empty(), "{what}");

                if dialect == Dialect::Legacy {
                    assert_eq!(set_level(&mut peer, "warning").await.result(), "{}", "{what}");
                }
                assert_eq!(logs(&mut peer, &tool, Some("warning")).await, LEVELS[3..], "{what}");
                let told = upstream.of_method("logging/setLevel");
                let call = upstream.of_method("tools/call").pop().unwrap();
                if kind.dialect() == Dialect::Legacy {
                    assert_eq!(told.len(), 1, "{what}");
                    assert_eq!(told[0].at(&["params", "level"]).as_deref(), Some("\"warning\""), "{what}");
                    assert!(told[0].seq < call.seq, "{what}: the level comes first");
                    assert_eq!(call.at(&["params", "_meta", LEVEL]), None, "{what}");
                } else {
                    assert!(told.is_empty(), "{what}");
                    assert_eq!(
                        call.at(&["params", "_meta", LEVEL]).as_deref(),
                        Some("\"warning\""),
                        "{what}"
                    );
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_level_of_a_session_reaches_servers_that_are_opened_later() {
    for kind in [Kind::LegacyStream, Kind::LegacyStdio] {
        let upstream = Upstream::start(kind, logging()).await;
        let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
        let mut peer = Peer::from(gateway.legacy("/mcp").await);
        // Nothing has been opened but for its instructions, if that.
        set_level(&mut peer, "error").await;
        assert_eq!(logs(&mut peer, "there__log", None).await, LEVELS[4..], "{kind:?}");
        let told = upstream.of_method("logging/setLevel");
        assert_eq!(told.last().unwrap().at(&["params", "level"]).as_deref(), Some("\"error\""), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_level_that_is_none_is_an_invalid_parameter() {
    let upstream = Upstream::start(Kind::LegacyStream, logging()).await;
    let gateway = Gateway::start(&servers([("there", upstream.entry())])).await;
    for path in ["/mcp", "/mcp/there"] {
        let mut legacy = Peer::from(gateway.legacy(path).await);
        assert_eq!(set_level(&mut legacy, "loud").await.code(), -32602, "{path}");
        assert_eq!(legacy.request(&Call::new("logging/setLevel", "")).await.code(), -32602, "{path}");
        let mut modern = Peer::from(gateway.modern(path));
        for level in [r#""loud""#, "3", "null"] {
            let call = Call::new("tools/list", "").meta(format!(r#""{LEVEL}":{level}"#));
            assert_eq!(modern.request(&call).await.code(), -32602, "{level} at {path}");
        }
    }
    assert!(upstream.of_method("logging/setLevel").is_empty());
}

/// What a server of its own endpoint says to a level is what its client hears.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_servers_own_answer_is_the_answer() {
    let refusing = logging().on("logging/setLevel", Act::NotJsonRpc);
    let upstream = Upstream::start(Kind::LegacyStream, refusing).await;
    let without = Upstream::start(Kind::LegacyStream, Script::legacy()).await;
    let modern_without = Upstream::start(Kind::ModernStream, Script::modern()).await;
    let gateway = Gateway::start(&servers([
        ("refusing", upstream.entry()),
        ("without", without.entry()),
        ("modern", modern_without.entry()),
    ]))
    .await;
    let mut peer = Peer::from(gateway.legacy("/mcp/refusing").await);
    assert_eq!(set_level(&mut peer, "info").await.refusal(), "upstream_protocol_error");
    for path in ["/mcp/without", "/mcp/modern"] {
        let mut peer = Peer::from(gateway.legacy(path).await);
        assert_eq!(set_level(&mut peer, "info").await.code(), -32601, "{path}");
    }
    // Behind the merged endpoint one such server hinders nobody.
    let mut peer = Peer::from(gateway.legacy("/mcp").await);
    assert_eq!(set_level(&mut peer, "info").await.result(), "{}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logging_is_declared_where_it_is_carried() {
    let upstream = Upstream::start(Kind::LegacyStream, logging()).await;
    let without = Upstream::start(Kind::ModernStream, Script::modern()).await;
    let gateway = Gateway::start(&servers([("with", upstream.entry()), ("without", without.entry())])).await;
    for (path, declared) in [("/mcp", true), ("/mcp/with", true), ("/mcp/without", false)] {
        let mut modern = Peer::from(gateway.modern(path));
        let discovered = modern.request(&Call::new("server/discover", "")).await.value();
        assert_eq!(discovered["capabilities"]["logging"] == json!({}), declared, "{path}");
        let initialize = Call::new(
            "initialize",
            r#""protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"c","version":"1"}"#,
        );
        let mut legacy = Peer::from(gateway.legacy(path).await);
        let greeted = legacy.request(&initialize).await.value();
        assert_eq!(greeted["capabilities"]["logging"] == json!({}), declared, "{path}");
    }
}

/// The roots of a legacy client are its own business with legacy servers; modern ones ask for them when they need them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_roots_are_told_to_legacy_servers_with_a_session_only() {
    let old = Upstream::start(Kind::LegacyStream, Script::legacy()).await;
    let child = Upstream::start(Kind::LegacyStdio, Script::legacy()).await;
    let new = Upstream::start(Kind::ModernStream, Script::modern()).await;
    let gateway =
        Gateway::start(&servers([("old", old.entry()), ("child", child.entry()), ("new", new.entry())]))
            .await;
    let http = gateway.legacy("/mcp").await;
    let mut peer = Peer::from(http.clone());
    for tool in ["old__echo", "child__echo", "new__echo"] {
        peer.tool(tool, "{}").await.result();
    }
    let changed = r#"{"jsonrpc":"2.0","method":"notifications/roots/list_changed","params":{"x-kept":1.0}}"#;
    let told = http.http.send(&http.post(changed)).await;
    assert_eq!(told.status, 202);
    for server in [&old, &child] {
        let heard = server.wait_method("notifications/roots/list_changed", 1).await;
        assert_eq!(heard.at(&["params", "x-kept"]).as_deref(), Some("1.0"));
    }
    assert!(new.of_method("notifications/roots/list_changed").is_empty());
}
