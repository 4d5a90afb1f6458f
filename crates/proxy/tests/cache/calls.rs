//! Results of tools that are kept.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;
use tollgate_ledger::Ledger;
use tollgate_limits::Glob;
use tollgate_proxy::{Handling, ProxySettings, ToolHandling};

use crate::eventually;
use crate::lists::{ALL, as_of};
use crate::pantry::Pantry;
use crate::rig::{Told, World};

/// Of `find` it is said that results may be kept, by somebody who knows that it is read-only and idempotent, if he does.
async fn world(pantry: &Pantry, read_only: Option<bool>, idempotent: Option<bool>) -> World {
    let server = pantry.settings("food");
    let kept =
        ToolHandling { read_only, idempotent, cache_ttl: Some(crate::LONG), ..ToolHandling::default() };
    let handling = Handling { tools: vec![(Glob::new("fin*"), kept)], ..Handling::default() };
    let mut settings = ProxySettings::default();
    settings.handling.insert(server.id(), Arc::new(handling));
    World::with(settings, vec![server], vec![], ALL, Ledger::off()).await
}

fn text(told: &Told) -> &str {
    told.body["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no content: {told:?}"))
}

#[tokio::test]
async fn results_are_kept_for_their_caller_where_the_operator_says_so() {
    let pantry = Pantry::modern().await;
    let world = world(&pantry, Some(true), Some(true)).await;
    let call = async |who: &str, tool: &str, arguments: serde_json::Value| {
        let client = world.modern(who, "/mcp");
        let told = as_of(&client, who, "tools/call", json!({"name": tool, "arguments": arguments})).await;
        assert!(text(&told).ends_with(&format!("for {who}")), "{told:?}");
        pantry.asked("tools/call")
    };
    assert_eq!(call("ann", "food__find", json!({"path": "a"})).await, 1);
    assert_eq!(call("ann", "food__find", json!({"path": "a"})).await, 1);
    assert_eq!(call("ann", "food__find", json!({"path": "b"})).await, 2, "other arguments");
    assert_eq!(call("bob", "food__find", json!({"path": "a"})).await, 3, "somebody else");
    assert_eq!(call("ann", "food__wipe", json!({"path": "a"})).await, 4);
    assert_eq!(call("ann", "food__wipe", json!({"path": "a"})).await, 5, "nothing is said of it");
}

#[tokio::test]
async fn nothing_is_kept_of_a_tool_that_may_change_something_or_answer_otherwise() {
    for (read_only, idempotent) in
        [(Some(true), None), (None, Some(true)), (Some(true), Some(false)), (None, None)]
    {
        let pantry = Pantry::modern().await;
        let world = world(&pantry, read_only, idempotent).await;
        for _ in 0..2 {
            world.modern("ann", "/mcp").call("food__find", json!({})).await;
        }
        assert_eq!(pantry.asked("tools/call"), 2, "{read_only:?} {idempotent:?}");
    }
}

#[tokio::test]
async fn what_failed_is_not_kept_and_what_changed_is_asked_for_again() {
    let pantry = Pantry::modern().await;
    let world = world(&pantry, Some(true), Some(true)).await;
    let ann = world.modern("ann", "/mcp");
    pantry.is(|mood| mood.fails = true);
    for asked in [1, 2] {
        assert_eq!(ann.call("food__find", json!({})).await.body["result"]["isError"], true);
        assert_eq!(pantry.asked("tools/call"), asked);
    }
    pantry.is(|mood| mood.fails = false);
    for _ in 0..2 {
        ann.call("food__find", json!({})).await;
    }
    assert_eq!(pantry.asked("tools/call"), 3);
    let (mut stream, _) = ann.listen(json!({"toolsListChanged": true})).await;
    eventually(|| pantry.is_heard().then_some(())).await;
    pantry.tells("notifications/tools/list_changed", json!({})).await;
    while stream.some().await["method"] != "notifications/tools/list_changed" {}
    ann.call("food__find", json!({})).await;
    assert_eq!(pantry.asked("tools/call"), 4);
}

#[tokio::test]
async fn equal_calls_at_the_same_time_are_made_once() {
    let pantry = Pantry::modern().await;
    let world = world(&pantry, Some(true), Some(true)).await;
    let ann = world.modern("ann", "/mcp");
    pantry.set_awake(false);
    let calling = (0..8).map(|_| ann.call("food__find", json!({"path": "x"})));
    let answering = async {
        eventually(|| (pantry.asked("tools/call") > 0).then_some(())).await;
        pantry.set_awake(true);
    };
    let (all, ()) = tokio::join!(join_all(calling), answering);
    assert!(all.iter().all(|told| text(told) == text(&all[0])));
    assert_eq!(pantry.asked("tools/call"), 1);
}

#[tokio::test]
async fn where_whoever_asked_first_leaves_one_of_the_others_asks_for_all() {
    let pantry = Pantry::modern().await;
    let world = world(&pantry, Some(true), Some(true)).await;
    pantry.set_awake(false);
    let call = || {
        let ann = world.modern("ann", "/mcp");
        tokio::spawn(async move { ann.call("food__find", json!({"path": "x"})).await })
    };
    let first = call();
    eventually(|| (pantry.asked("tools/call") > 0).then_some(())).await;
    let others: Vec<_> = (0..8).map(|_| call()).collect();
    // Whoever comes later than that finds somebody to wait for, too.
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    first.abort();
    eventually(|| (pantry.asked("tools/call") > 1).then_some(())).await;
    pantry.set_awake(true);
    for other in others {
        assert!(other.await.unwrap().is_ok());
    }
    assert_eq!(pantry.asked("tools/call"), 2);
}
