//! Requests of modern clients that have a legacy server's process or session to themselves.

use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::{Value, json};
use tollgate_mcp::methods::TOOLS_CALL;
use tollgate_model::{Caller, Code};
use tollgate_upstream::{Exchange, Isolation, LegacySessions, Link, Server, ServerSettings};

use crate::{caller, child, eventually, server, text_of, tool_call};

/// A modern client, which has no session.
fn modern(principal: &str, capabilities: &Value) -> Caller {
    caller(principal, None, capabilities)
}

fn asked() -> Caller {
    modern("a", &json!({"elicitation": {}}))
}

fn with(legacy_sessions: LegacySessions) -> ServerSettings {
    ServerSettings { legacy_sessions, ..child("legacy") }
}

async fn pid(link: &Link) -> String {
    text_of(link, "pid", &json!({})).await
}

async fn open(server: &Server, caller: &Caller) -> Link {
    server.open_for(caller, TOOLS_CALL).await.unwrap()
}

/// A call that goes on without its link.
async fn hang(link: Link) -> Exchange {
    let exchange = link.request(tool_call(&link, "hang", &json!({}))).await.unwrap();
    drop(link);
    exchange
}

/// The answer to a call that hangs.
async fn answered(beside: &Link, mut hanging: Exchange) {
    text_of(beside, "release", &json!({})).await;
    while !matches!(hanging.next().await.unwrap(), tollgate_upstream::Incoming::Response(_)) {}
}

/// A server that has been seen to ask something.
async fn asking(settings: ServerSettings, instances_max: usize) -> Server {
    asking_within(settings, instances_max, Duration::from_millis(300)).await
}

/// The same, whose places are waited for so long.
async fn asking_within(mut settings: ServerSettings, instances_max: usize, capacity: Duration) -> Server {
    settings.limits.instances_max = instances_max;
    settings.timeouts.capacity = capacity;
    let (server, _events) = server(settings);
    text_of(&open(&server, &asked()).await, "ask", &json!({})).await;
    server
}

#[tokio::test]
async fn a_strict_request_has_a_process_to_itself_for_as_long_as_it_is_under_way() {
    let (server, _events) = server(with(LegacySessions::Strict));
    let link = open(&server, &asked()).await;
    let first = pid(&link).await;
    let other = open(&server, &asked()).await;
    assert_ne!(first, pid(&other).await);
    assert_eq!((server.status().instances, server.status().leased), (2, 2));
    // What is still under way keeps it; what only has the link does, too.
    let exchange = hang(link).await;
    drop(other);
    eventually(|| (server.status().instances == 1).then_some(())).await;
    assert_eq!(server.status().leased, 1);
    drop(exchange);
    eventually(|| (server.status().instances == 0).then_some(())).await;
    assert_eq!(server.status().leased, 0);
    // A legacy client has its session, and keeps it.
    let legacy = caller("a", Some("s"), &json!({}));
    let own = pid(&open(&server, &legacy).await).await;
    assert_eq!(own, pid(&open(&server, &legacy).await).await);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_strict_request_waits_for_room_and_not_for_ever() {
    for (capacity, is_refused) in [(Duration::from_millis(300), true), (crate::LONG, false)] {
        let mut settings = with(LegacySessions::Strict);
        settings.limits.instances_max = 1;
        settings.timeouts.capacity = capacity;
        let (server, _events) = server(settings);
        let exchange = hang(open(&server, &asked()).await).await;
        if is_refused {
            let refused = server.open_for(&asked(), TOOLS_CALL).await.unwrap_err();
            assert_eq!(refused.code(), Code::Capacity);
        } else {
            let caller = asked();
            let mut waiting = std::pin::pin!(server.open_for(&caller, TOOLS_CALL));
            assert!(waiting.as_mut().now_or_never().is_none());
            drop(exchange);
            pid(&waiting.await.unwrap()).await;
        }
        server.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn a_strict_server_that_does_not_start_is_not_started_for_every_request() {
    let mut settings = child("refusing");
    settings.legacy_sessions = LegacySessions::Strict;
    settings.timeouts.backoff_min = Duration::from_secs(20);
    let (server, _events) = server(settings);
    for _ in 0..5 {
        server.open_for(&asked(), TOOLS_CALL).await.unwrap_err();
    }
    assert_eq!(server.status().counters.starts, 1);
    assert_eq!(server.status().leased, 0);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_stateless_server_is_everybodys_who_is_alike() {
    let (server, _events) = server(with(LegacySessions::Stateless));
    let plain = json!({});
    let first = pid(&open(&server, &modern("a", &plain)).await).await;
    assert_eq!(first, pid(&open(&server, &modern("b", &plain)).await).await);
    assert_ne!(first, pid(&open(&server, &modern("b", &json!({"roots": {}}))).await).await);
    assert_ne!(first, pid(&open(&server, &caller("a", Some("s"), &plain)).await).await);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn who_may_be_asked_has_a_process_alone_once_the_server_has_asked() {
    let (server, _events) = server(child("legacy"));
    let before = pid(&open(&server, &asked()).await).await;
    let quiet = hang(open(&server, &asked()).await).await;
    let shared = pid(&open(&server, &asked()).await).await;
    assert_eq!(before, shared, "before it asks, everyone shares");
    answered(&open(&server, &asked()).await, quiet).await;
    text_of(&open(&server, &asked()).await, "ask", &json!({})).await;

    let first = open(&server, &asked()).await;
    assert_eq!(pid(&first).await, before);
    let parked = hang(first).await;
    let second = open(&server, &asked()).await;
    let second_pid = pid(&second).await;
    assert_ne!(second_pid, before);
    assert_eq!(server.status().leased, 2);
    // Whoever cannot be asked, or asks for what cannot ask back, shares.
    let list = server.open_for(&asked(), "tools/list").await.unwrap();
    assert_eq!(pid(&list).await, before);
    let nobody = modern("a", &json!({}));
    let alike = [open(&server, &nobody).await, open(&server, &nobody).await];
    assert!(alike[0].is_same(&alike[1]));
    // The lowest that is free comes next.
    answered(&list, parked).await;
    drop(second);
    eventually(|| (server.status().leased == 0).then_some(())).await;
    assert_eq!(pid(&open(&server, &asked()).await).await, before);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_call_from_before_the_first_question_is_not_joined() {
    let (server, _events) = server(child("legacy"));
    let early = open(&server, &asked()).await;
    let early_pid = pid(&early).await;
    let parked = hang(early).await;
    // Another client of the same server shows that it asks.
    let other = modern("b", &json!({"roots": {}}));
    text_of(&open(&server, &other).await, "ask", &json!({})).await;
    assert_ne!(pid(&open(&server, &asked()).await).await, early_pid);
    drop(parked);
    server.stop(Duration::ZERO).await;
}

/// What the server still asks about a call that was left reaches no other call, whoever's that is.
#[tokio::test]
async fn what_served_a_call_that_was_left_serves_no_other() {
    let mut settings = child("legacy");
    settings.isolation = Some(Isolation::Shared);
    let server = asking(settings, 4).await;
    let first = open(&server, &asked()).await;
    let (number, beside) = (first.number(), server.open_for(&asked(), "tools/list").await.unwrap());
    let left = hang(first).await;
    drop(left);
    eventually(|| (server.status().leased == 0).then_some(())).await;
    let other = open(&server, &modern("b", &json!({"elicitation": {}}))).await;
    assert_ne!(other.number(), number, "the server may still ask about the other call");
    // What was under way there beside it is not disturbed, and nothing new comes to it.
    let gone = beside.request(tool_call(&beside, "pid", &json!({}))).await.unwrap_err();
    assert!(gone.is_stale(), "{gone}");
    drop(beside);
    pid(&other).await;
    let (before, _) = crate::call(&other, "ask", &json!({})).await.unwrap();
    assert_eq!(before[0]["method"], "roots/list");
    assert_eq!(server.status().instances, 1);
    server.stop(Duration::ZERO).await;
}

/// A server that answers what was cancelled is done with it.
#[tokio::test]
async fn what_was_left_and_answered_all_the_same_is_no_hindrance() {
    let server = asking(child("legacy"), 4).await;
    let first = open(&server, &asked()).await;
    let first_pid = pid(&first).await;
    drop(hang(first).await);
    eventually(|| (server.status().leased == 0).then_some(())).await;
    let beside = server.open_for(&asked(), "tools/list").await.unwrap();
    text_of(&beside, "release", &json!({})).await;
    assert_eq!(pid(&open(&server, &asked()).await).await, first_pid);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn when_all_are_taken_a_request_waits_and_is_refused() {
    let server = asking(child("legacy"), 2).await;
    let one = hang(open(&server, &asked()).await).await;
    let two = hang(open(&server, &asked()).await).await;
    let refused = server.open_for(&asked(), TOOLS_CALL).await.unwrap_err();
    assert_eq!(refused.code(), Code::Capacity);
    assert!(server.status().instances <= 2);
    drop((one, two));
    server.stop(Duration::ZERO).await;

    let server = asking_within(child("legacy"), 2, crate::LONG).await;
    let one = hang(open(&server, &asked()).await).await;
    let two = hang(open(&server, &asked()).await).await;
    let caller = asked();
    let mut waiting = std::pin::pin!(server.open_for(&caller, TOOLS_CALL));
    assert!(waiting.as_mut().now_or_never().is_none());
    drop(two);
    pid(&waiting.await.unwrap()).await;
    drop(one);
    server.stop(Duration::ZERO).await;
}

/// A question that names no call goes to the one that may be asked, though a list is under way beside it.
#[tokio::test]
async fn a_list_beside_it_takes_no_question_from_a_call() {
    let server = asking(child("legacy"), 4).await;
    let link = open(&server, &asked()).await;
    let id = link.mint();
    let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"silence"}}"#);
    let list = tollgate_upstream::Outbound {
        method: "tools/list".into(),
        body: bytes::Bytes::from(body).into(),
        ..tool_call(&link, "", &json!({}))
    };
    let list = link.request(tollgate_upstream::Outbound { id, ..list }).await.unwrap();
    let (before, _) = crate::call(&link, "ask", &json!({})).await.unwrap();
    assert_eq!(before[0]["method"], "roots/list");
    drop(list);
    server.stop(Duration::ZERO).await;
}

/// However calls end, all instances are free afterwards.
#[tokio::test]
async fn no_lease_is_ever_lost() {
    for (legacy_sessions, seed) in
        [(LegacySessions::Pooled, 1), (LegacySessions::Strict, 2), (LegacySessions::Pooled, 3)]
    {
        let server = asking(with(legacy_sessions), 4).await;
        let mut random = fastrand(seed);
        let mut calls = Vec::new();
        for _ in 0..40 {
            let (server, how, soon) = (server.clone(), random() % 5, random() % 4);
            let who = modern(["a", "b"][random() % 2], &json!({"sampling": {}}));
            calls.push(tokio::spawn(async move {
                let work = async {
                    let Ok(link) = server.open_for(&who, TOOLS_CALL).await else { return };
                    let tool = ["pid", "hang", "die", "ask", "no such tool"][how];
                    let Ok(mut exchange) = link.request(tool_call(&link, tool, &json!({}))).await else {
                        return;
                    };
                    drop(link);
                    while !matches!(
                        exchange.next().await,
                        Err(_) | Ok(tollgate_upstream::Incoming::Response(_))
                    ) {}
                };
                // Some callers leave at any point.
                let patience = Duration::from_millis([1, 30, 120, 400][soon]);
                let _ = tokio::time::timeout(patience, work).await;
            }));
        }
        for call in calls {
            call.await.unwrap();
        }
        eventually(|| (server.status().leased == 0).then_some(())).await;
        assert!(server.status().instances <= 4);
        server.stop(Duration::ZERO).await;
        assert_eq!(server.status().instances, 0);
    }
}

/// A small generator, so that a failure can be repeated.
fn fastrand(seed: u64) -> impl FnMut() -> usize {
    let mut state = seed;
    move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 40).unwrap()
    }
}
