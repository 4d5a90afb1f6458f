//! Resources that are kept.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_ledger::Ledger;
use tollgate_limits::{About, Bound, Dimension, Rule};
use tollgate_proxy::{ProxySettings, ServerCache};

use crate::book::Book;
use crate::lists::{ALL, as_of, until_stale, world};
use crate::pantry::Pantry;
use crate::rig::{Told, World};

fn text(told: &Told) -> &str {
    told.body["result"]["contents"][0]["text"].as_str().unwrap_or_else(|| panic!("no content: {told:?}"))
}

#[tokio::test]
async fn what_was_read_is_kept_for_whoever_its_server_says() {
    for (scope, asked) in [("public", 1), ("private", 2)] {
        let pantry = Pantry::modern().await;
        pantry.is(|mood| mood.scope = scope);
        let world = world(&[("food", &pantry)]).await;
        for who in ["ann", "bob", "ann", "bob"] {
            let client = world.modern(who, "/mcp");
            let told = as_of(&client, who, "resources/read", json!({"uri": "memo://one"})).await;
            let expected = if scope == "public" { "ann" } else { who };
            assert_eq!(text(&told), format!("for {expected}"));
            assert!(told.body["result"]["ttlMs"].as_u64().unwrap() <= 3_600_000);
        }
        assert_eq!(pantry.asked("resources/read"), asked, "{scope}");
        as_of(&world.modern("ann", "/mcp"), "ann", "resources/read", json!({"uri": "memo://two"})).await;
        assert_eq!(pantry.asked("resources/read"), asked + 1, "another one");
    }
}

/// A call that is answered from what is kept is on record as that, and counts.
#[tokio::test]
async fn an_answer_that_is_kept_is_on_record_without_an_intent_and_counts() {
    let (book, pantry) = (Book::new(), Pantry::modern().await);
    let world = World::recorded(vec![pantry.settings("food")], vec![], ALL, book.ledger.clone()).await;
    let two = NonZeroU32::new(2).unwrap();
    world.limit(vec![Rule {
        name: Arc::from("reads"),
        plan: None,
        per: vec![Dimension::Agent],
        about: About::default(),
        bound: Bound::Rate { requests: two, per: Duration::from_hours(1), burst: two },
    }]);
    let ann = world.modern("ann", "/mcp/food");
    for _ in 0..2 {
        assert!(ann.ask("resources/read", json!({"uri": "memo://one"})).await.is_ok());
    }
    let third = ann.ask("resources/read", json!({"uri": "memo://one"})).await;
    assert_eq!(third.code(), "rate_limited");
    assert_eq!(pantry.asked("resources/read"), 1);
    let lines: Vec<String> =
        book.lines().into_iter().filter(|line| line.contains("resources/read")).collect();
    assert_eq!(
        lines,
        [
            "intent 0 resources/read",
            "outcome 0 resources/read ok",
            "refusal 0 resources/read refused rate_limited"
        ]
    );
    let kept = book.wait_for(|entry| entry["kind"] == "outcome" && entry["method"] == "resources/read").await;
    assert_eq!((&kept["detail"]["from"], &kept["of"]), (&json!("cache"), &json!(null)));
    assert!(kept["detail"]["age_ms"].is_u64() && kept["instance"].is_null() && kept["credential"].is_null());
    assert_eq!((&kept["server"], &kept["native_name"]), (&json!("food"), &json!("memo://one")));
    assert!(kept["decision"].is_object() && kept["result"].is_object(), "{kept}");
}

#[tokio::test]
async fn a_resource_that_changed_is_read_again() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp/food");
    let (mut stream, _) = ann.listen(json!({"resourceSubscriptions": ["memo://one"]})).await;
    let read = async || ann.ask("resources/read", json!({"uri": "memo://one"})).await;
    read().await;
    read().await;
    assert_eq!(pantry.asked("resources/read"), 1);
    // A part of it is another: so is the whole.
    pantry.tells("notifications/resources/updated", json!({"uri": "memo://one"})).await;
    while stream.some().await["method"] != "notifications/resources/updated" {}
    read().await;
    assert_eq!(pantry.asked("resources/read"), 2);
}

#[tokio::test]
async fn what_policy_says_counts_before_what_is_kept() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp/food");
    assert!(ann.ask("resources/read", json!({"uri": "memo://one"})).await.is_ok());
    world.enforce(r#"permit(principal in Agent::"bob", action, resource);"#).await.unwrap();
    assert!(!ann.ask("resources/read", json!({"uri": "memo://one"})).await.is_ok());
    assert!(
        world.modern("bob", "/mcp/food").ask("resources/read", json!({"uri": "memo://one"})).await.is_ok()
    );
    assert_eq!(pantry.asked("resources/read"), 1);
}

#[tokio::test]
async fn what_was_read_stands_in_while_its_server_is_away() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.ttl_ms = 1);
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp/food");
    let params = json!({"uri": "memo://one"});
    assert!(ann.ask("resources/read", params.clone()).await.is_ok());
    pantry.is(|mood| mood.down = Some(503));
    let told = until_stale(&ann, "resources/read", params.clone()).await;
    assert!(text(&told).starts_with("for"));
    assert_eq!(told.body["result"]["ttlMs"], 0);
    assert_eq!(told.body["result"]["_meta"]["dev.tollgate/stale"][0]["server"], "food");
    // What was never read does not.
    assert!(!ann.ask("resources/read", json!({"uri": "memo://two"})).await.is_ok());
    assert!(!world.modern("eve", "/mcp/food").ask("resources/read", params).await.is_ok());
}

/// A legacy server says nothing of keeping: the operator does, or nothing is kept.
#[tokio::test]
async fn what_a_legacy_server_gave_to_read_is_kept_where_the_operator_says_so() {
    for (read_ttl, asked) in [(None, 2), (Some(crate::LONG), 1)] {
        let pantry = Pantry::legacy().await;
        let server = pantry.settings("food");
        let mut settings = ProxySettings::default();
        settings.cache.servers.insert(server.id(), ServerCache { read_ttl, ..ServerCache::default() });
        let world = World::with(settings, vec![server], vec![], ALL, Ledger::off()).await;
        let ann = world.legacy("ann", "/mcp/food").await;
        for _ in 0..2 {
            assert!(ann.ask("resources/read", json!({"uri": "memo://one"})).await.is_ok());
        }
        assert_eq!(pantry.asked("resources/read"), asked);
        world.legacy("ann", "/mcp/food").await.ask("resources/read", json!({"uri": "memo://one"})).await;
        assert_eq!(pantry.asked("resources/read"), asked + 1, "another session");
    }
}
