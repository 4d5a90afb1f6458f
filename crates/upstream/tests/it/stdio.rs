use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tollgate_model::{Code, Era, Revision, Secret};
use tollgate_upstream::{
    Audience, EventKind, Incoming, Interest, Link, Reach, Server, Transport, UpstreamError, Verdict,
};

use crate::{LONG, anyone, call, caller, child, eventually, server, text_of, tool_call, value};

/// Whether a process exists; a zombie does.
pub(crate) fn exists(pid: i64) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}

pub(crate) async fn ends(pid: i64) {
    eventually(|| (!exists(pid)).then_some(())).await;
}

fn legacy() -> Server {
    server(child("legacy")).0
}

#[tokio::test]
async fn the_era_of_a_child_is_found_and_remembered() {
    for (mode, era) in [("legacy", Era::Legacy), ("modern", Era::Modern), ("fragile", Era::Legacy)] {
        let (server, _events) = server(child(mode));
        let link = server.open(&anyone()).await.unwrap_or_else(|error| panic!("{mode}: {error}"));
        assert_eq!(link.era(), era, "{mode}");
        assert_eq!(text_of(&link, "echo", &json!({"a": 1})).await, r#"{"a": 1}"#);
        assert!(matches!(server.status().reach, Reach::Up { era: known, .. } if known == era));
        if era == Era::Legacy {
            assert_eq!(link.revision(), Revision::V2025_06_18);
            let said: Value = serde_json::from_str(&text_of(&link, "initialize", &json!({})).await).unwrap();
            assert_eq!(said["protocolVersion"], "2025-11-25");
            assert_eq!(said["capabilities"], json!({"roots": {}}));
            assert_eq!(said["clientInfo"]["name"], "the-client");
            assert_eq!(link.hello().instructions.as_deref(), Some(&br#""Be kind.""#[..]));
        }
        server.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_child_that_ignores_the_probe_is_initialized_after_a_while_and_the_next_at_once() {
    let mut settings = child("silent");
    settings.timeouts.probe = Duration::from_secs(3);
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(link.era(), Era::Legacy);
    let begun = Instant::now();
    let other = server.open(&caller("other", Some("other"), &json!({}))).await.unwrap();
    assert!(!other.is_same(&link));
    assert!(begun.elapsed() < Duration::from_secs(3), "the era is known");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_child_that_cannot_serve_says_why_without_its_own_words() {
    for (mode, code) in [("refusing", Code::UpstreamUnavailable), ("strange", Code::UpstreamUnsupported)] {
        let (server, _events) = server(child(mode));
        let error = server.open(&anyone()).await.unwrap_err();
        assert_eq!(error.code(), code, "{error:?}");
        assert!(!error.public().contains("secret"));
    }
    let mut settings = child("legacy");
    let Transport::Stdio(stdio) = &mut settings.transport else { unreachable!() };
    stdio.command = "/nowhere/at-all".to_owned();
    let (server, _events) = server(settings);
    assert_eq!(server.open(&anyone()).await.unwrap_err().code(), Code::UpstreamUnavailable);
    assert!(matches!(server.status().reach, Reach::Down { .. }));
}

#[tokio::test]
async fn progress_goes_to_its_call_and_other_notifications_to_the_only_one() {
    let (server, mut events) = server(child("legacy"));
    let link = server.open(&anyone()).await.unwrap();
    let (before, _) = call(&link, "log", &json!({})).await.unwrap();
    assert_eq!(before[0]["method"], "notifications/message");

    // With another call in flight, nobody can say whose the message is; progress has its token.
    let mut hanging = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
    let (before, _) = call(&link, "log", &json!({})).await.unwrap();
    assert!(before.is_empty());
    let (before, _) = call(&link, "progress", &json!({})).await.unwrap();
    assert_eq!(before.len(), 3);
    // With two calls under way it is nobody's in particular, and the session's all the same.
    let told = events.recv().await.unwrap();
    assert!(matches!(told.kind, EventKind::Notification(_)), "{told:?}");
    assert_eq!(server.status().counters.messages_dropped, 0);
    call(&link, "release", &json!({})).await.unwrap();
    let Incoming::Response(released) = hanging.next().await.unwrap() else { panic!("a response") };
    assert_eq!(value(&released)["result"]["content"][0]["text"], "released");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn list_changes_are_events_and_requests_of_the_server_are_answered() {
    let (server, mut events) = server(child("legacy"));
    let link = server.open(&anyone()).await.unwrap();
    call(&link, "change", &json!({})).await.unwrap();
    let event = events.recv().await.unwrap();
    assert_eq!(event.kind, EventKind::ToolsChanged);
    assert!(matches!(event.audience, Audience::Session(_)));

    // The only call gets the question; with two in flight it belongs to none, and is refused if nobody takes it.
    let (before, _) = call(&link, "ask", &json!({})).await.unwrap();
    assert_eq!(before[0]["method"], "roots/list");
    let hanging = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
    let (before, _) = call(&link, "ask", &json!({})).await.unwrap();
    assert!(before.is_empty());
    let EventKind::Request(question) = events.recv().await.unwrap().kind else { panic!("no question") };
    assert_eq!(question.request().method(), "roots/list");
    drop(question);
    let refused = async {
        loop {
            let answers: Vec<Value> =
                serde_json::from_str(&text_of(&link, "answers", &json!({})).await).unwrap();
            // The refusal travels beside the calls.
            if answers.iter().any(|answer| answer["error"]["code"] == -32601) {
                return answers;
            }
        }
    };
    let answers = tokio::time::timeout(LONG, refused).await.expect("a refusal");
    let pings =
        answers.iter().filter(|answer| answer["id"] == "ping-1" && answer["result"] == json!({})).count();
    let refusals = answers.iter().filter(|answer| answer["error"]["code"] == -32601).count();
    assert_eq!((pings, refusals), (2, 1), "{answers:?}");
    drop(hanging);
    server.stop(Duration::ZERO).await;
}

/// Waits until exactly these subscriptions are open at the child.
async fn listens(link: &Link, filters: &Value) {
    let wanted = filters.to_string();
    let waiting = async {
        while text_of(link, "listening", &json!({})).await != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("these subscriptions");
}

#[tokio::test]
async fn a_modern_child_is_watched_by_one_subscription_at_a_time() {
    let (server, mut events) = server(child("modern"));
    let link = server.open(&anyone()).await.unwrap();
    listens(&link, &json!([{"toolsListChanged": true}])).await;
    let interest = |uri: &str| Interest { uris: vec![uri.into()], ..Interest::default() };
    let watch = server.watch(&anyone(), interest("a:1")).await.unwrap();
    watch.settled(LONG).await;
    assert!(matches!(watch.resource("a:1"), Verdict::Honoured));
    listens(&link, &json!([{"resourceSubscriptions": ["a:1"], "toolsListChanged": true}])).await;
    call(&link, "touch", &json!({"uri": "a:1"})).await.unwrap();
    let event = events.recv().await.unwrap();
    let updated =
        |kind: &EventKind| matches!(kind, EventKind::ResourceUpdated { uri, .. } if &**uri == "a:1");
    assert!(updated(&event.kind) && event.origin == *watch.origin(), "{event:?}");
    drop(watch);
    listens(&link, &json!([{"toolsListChanged": true}])).await;
    let cancelled: Vec<u64> = serde_json::from_str(&text_of(&link, "cancelled", &json!({})).await).unwrap();
    assert_eq!(cancelled.len(), 2, "each that was replaced, under its own id: {cancelled:?}");

    // What was wanted when it died is asked for again, and told as changed.
    let watch = server.watch(&anyone(), interest("a:1")).await.unwrap();
    watch.settled(LONG).await;
    assert!(call(&link, "die", &json!({})).await.is_err());
    let told = [events.recv().await.unwrap().kind, events.recv().await.unwrap().kind];
    assert!(told.contains(&EventKind::ToolsChanged) && told.iter().any(updated), "{told:?}");
    let link = server.open(&anyone()).await.unwrap();
    call(&link, "touch", &json!({"uri": "a:1"})).await.unwrap();
    assert!(updated(&events.recv().await.unwrap().kind));
    assert_eq!(server.status().counters.protocol_errors, 0);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_modern_child_is_listened_to() {
    let (server, mut events) = server(child("modern"));
    let link = server.open(&anyone()).await.unwrap();
    listens(&link, &json!([{"toolsListChanged": true}])).await;
    let (before, _) = call(&link, "change", &json!({})).await.unwrap();
    assert!(before.is_empty());
    let event = events.recv().await.unwrap();
    assert_eq!((event.kind, event.audience), (EventKind::ToolsChanged, Audience::Everyone));
    let counters = server.status().counters;
    assert_eq!((counters.protocol_errors, counters.messages_dropped), (0, 0));
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_dropped_call_is_cancelled_in_both_eras() {
    for mode in ["legacy", "modern"] {
        let (server, _events) = server(child(mode));
        let link = server.open(&anyone()).await.unwrap();
        let request = tool_call(&link, "hang", &json!({}));
        let id = request.id;
        drop(link.request(request).await.unwrap());
        assert_eq!(text_of(&link, "cancelled", &json!({})).await, format!("[{id}]"), "{mode}");
        // Its late answer is nobody's, and no fault either.
        call(&link, "release", &json!({})).await.unwrap();
        assert_eq!(server.status().counters.protocol_errors, 0);
        server.stop(Duration::ZERO).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_calls_finds_its_answers_while_others_leave() {
    let mut settings = child("legacy");
    settings.limits.send_queue_max = 8;
    settings.limits.instances_max = 1;
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    // Together much more than a pipe holds, both ways.
    let ballast = "x".repeat(20_000);
    let mut crowd = tokio::task::JoinSet::new();
    for number in 0..300 {
        let (link, ballast) = (link.clone(), ballast.clone());
        crowd.spawn(async move {
            let arguments = json!({"number": number, "ballast": ballast});
            if number % 3 == 0 {
                drop(link.request(tool_call(&link, "echo", &arguments)).await.unwrap());
            } else {
                let echoed: Value = serde_json::from_str(&text_of(&link, "echo", &arguments).await).unwrap();
                assert_eq!(echoed["number"], number);
            }
        });
    }
    while let Some(done) = crowd.join_next().await {
        done.unwrap();
    }
    assert_eq!(server.status().counters.protocol_errors, 0);
    // Nothing is left under way: it may make place for another.
    let other = server.open(&caller("other", Some("other"), &json!({}))).await.unwrap();
    assert_eq!(text_of(&other, "echo", &json!(1)).await, "1");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_child_that_dies_fails_its_calls_at_once_and_is_started_again() {
    let server = legacy();
    let link = server.open(&anyone()).await.unwrap();
    let mut waiting = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
    let begun = Instant::now();
    let error = call(&link, "die", &json!({})).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Closed { .. }), "{error:?}");
    assert!(matches!(waiting.next().await, Err(UpstreamError::Closed { .. })));
    assert!(begun.elapsed() < LONG);
    let error = call(&link, "echo", &json!({})).await.unwrap_err();
    assert!(error.is_stale(), "{error:?}");

    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "echo", &json!({})).await, "{}");
    assert_eq!(server.status().counters.restarts, 1);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn bad_output_fails_whom_it_concerns_and_nobody_else() {
    let mut settings = child("legacy");
    settings.limits.message_bytes_max = 100_000;
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    assert_eq!(text_of(&link, "print", &json!({})).await, "done");
    for (tool, code) in [
        ("malformed", Code::UpstreamProtocol),
        ("malformed-inside", Code::UpstreamProtocol),
        ("not-utf8", Code::UpstreamProtocol),
        ("huge", Code::UpstreamTooLarge),
    ] {
        let error = call(&link, tool, &json!({"bytes": 1_000_000})).await.unwrap_err();
        assert_eq!(error.code(), code, "{tool}");
    }
    assert_eq!(text_of(&link, "strays", &json!({})).await, "first");

    // The same with others under way: what is addressed still finds its call.
    let mut hanging = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
    for (tool, code) in [("malformed-inside", Code::UpstreamProtocol), ("huge", Code::UpstreamTooLarge)] {
        let error = call(&link, tool, &json!({"bytes": 1_000_000})).await.unwrap_err();
        assert_eq!(error.code(), code, "{tool}");
    }
    call(&link, "release", &json!({})).await.unwrap();
    assert!(matches!(hanging.next().await, Ok(Incoming::Response(_))));
    // print, four faults, three strays (the second answer among them), two faults.
    assert_eq!(server.status().counters.protocol_errors, 1 + 4 + 3 + 2);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_hanging_call_ends_in_time_and_the_child_is_told() {
    let server = legacy();
    let link = server.open(&anyone()).await.unwrap();
    let mut request = tool_call(&link, "hang", &json!({}));
    let id = request.id;
    request.waits = tollgate_upstream::Waits::within(Duration::from_millis(50));
    let mut exchange = link.request(request).await.unwrap();
    assert!(matches!(exchange.next().await, Err(UpstreamError::Timeout { .. })));
    drop(exchange);
    assert_eq!(text_of(&link, "cancelled", &json!({})).await, format!("[{id}]"));
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_child_sees_nothing_of_the_environment_but_what_it_is_given() {
    let mut settings = child("legacy");
    let Transport::Stdio(stdio) = &mut settings.transport else { unreachable!() };
    stdio.env = vec![("TOKEN".to_owned(), Secret::new("abc".to_owned()))];
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    let seen: serde_json::Map<String, Value> =
        serde_json::from_str(&text_of(&link, "environment", &json!({})).await).unwrap();
    assert_eq!(seen["TOKEN"], "abc");
    assert!(seen.contains_key("PATH"));
    let others: Vec<_> = seen
        .keys()
        .filter(|name| {
            !matches!(name.as_str(), "TOKEN" | "PATH" | "HOME" | "LANG") && !name.starts_with("LC_")
        })
        .collect();
    assert!(others.is_empty(), "{others:?}");
    assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok(), "there is something to hide");
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn stopping_leaves_neither_the_child_nor_its_group_behind() {
    let server = legacy();
    let link = server.open(&anyone()).await.unwrap();
    let family: Vec<i64> = serde_json::from_str(&text_of(&link, "family", &json!({})).await).unwrap();
    assert!(family.iter().all(|pid| exists(*pid)));
    server.stop(Duration::ZERO).await;
    assert!(!exists(family[0]), "reaped before stop returns");
    ends(family[1]).await;
    // What left the group is what the guard is for.
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(i32::try_from(family[2]).unwrap()).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
}

#[tokio::test]
async fn a_child_that_ignores_every_hint_is_killed() {
    let server = legacy();
    let link = server.open(&anyone()).await.unwrap();
    let pid: i64 = text_of(&link, "pid", &json!({})).await.parse().unwrap();
    call(&link, "stubborn", &json!({})).await.unwrap();
    server.stop(Duration::ZERO).await;
    assert!(!exists(pid));
}

#[tokio::test]
async fn dropping_the_server_stops_its_children() {
    let server = legacy();
    let link = server.open(&anyone()).await.unwrap();
    let pid: i64 = text_of(&link, "pid", &json!({})).await.parse().unwrap();
    drop(link);
    drop(server);
    ends(pid).await;
}

#[tokio::test]
async fn a_flood_on_standard_error_is_bounded() {
    let mut settings = child("legacy");
    settings.limits.stderr_lines_per_s = 1;
    let (server, _events) = server(settings);
    let link = server.open(&anyone()).await.unwrap();
    call(&link, "stderr", &json!({"lines": 500})).await.unwrap();
    eventually(|| (server.status().counters.stderr_lines_dropped > 400).then_some(())).await;
    server.stop(Duration::ZERO).await;
}

/// Whoever has left a call can still know when its server is done with it, where its answer comes on the stream of all.
#[tokio::test]
async fn it_is_heard_when_a_server_is_done_with_a_call_that_was_left() {
    for mode in ["legacy", "modern"] {
        let (server, _events) = server(child(mode));
        let link = server.open(&anyone()).await.unwrap();
        let exchange = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
        let mut end = Box::pin(link.end_of(exchange.id()));
        drop(exchange);
        assert_eq!(text_of(&link, "echo", &json!({"a": 1})).await, r#"{"a": 1}"#);
        assert!(end.as_mut().now_or_never().is_none(), "{mode}: it is still at it");
        assert_eq!(text_of(&link, "release", &json!({})).await, "done");
        tokio::time::timeout(LONG, end).await.expect("it is done");
        server.stop(Duration::ZERO).await;
    }
}
