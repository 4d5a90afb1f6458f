//! Lists that are kept.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_ledger::Ledger;
use tollgate_proxy::{CacheSettings, ProxySettings};

use crate::eventually;
use crate::pantry::Pantry;
use crate::rig::{Client, Told, World};

pub(crate) const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);
    permit(principal in Agent::"bob", action, resource);"#;

/// A gateway in front of these, for ann and bob.
pub(crate) async fn world(pantries: &[(&str, &Pantry)]) -> World {
    let servers = pantries.iter().map(|(name, pantry)| pantry.settings(name)).collect();
    World::new(servers, vec![], ALL).await
}

/// Asks as a client that says who it is, which a private answer repeats.
pub(crate) async fn as_of(client: &Client, who: &str, method: &str, mut params: Value) -> Told {
    if client.modern {
        params["_meta"]["io.modelcontextprotocol/clientInfo"] = json!({"name": who, "version": "1"});
    }
    client.ask(method, params).await
}

pub(crate) fn names(told: &Told) -> Vec<String> {
    let tools = told.body["result"]["tools"].as_array().unwrap_or_else(|| panic!("no list: {told:?}"));
    tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// For whom a list was made, of the first server that has tools.
pub(crate) fn made_for(told: &Told) -> &str {
    told.body["result"]["tools"][0]["description"].as_str().unwrap_or_else(|| panic!("no list: {told:?}"))
}

#[tokio::test]
async fn what_is_everyones_is_asked_for_once_whoever_asks_and_where() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let before = pantry.asked("tools/list");
    let (ann, bob) = (world.modern("ann", "/mcp"), world.modern("bob", "/mcp/food"));
    let first = as_of(&ann, "ann", "tools/list", json!({})).await;
    assert_eq!(
        (names(&first), made_for(&first)),
        (vec!["food__find".to_owned(), "food__wipe".to_owned()], "for ann")
    );
    let native = as_of(&bob, "bob", "tools/list", json!({})).await;
    // The same answer, under the names of the endpoint.
    assert_eq!((names(&native), made_for(&native)), (vec!["find".to_owned(), "wipe".to_owned()], "for ann"));
    assert_eq!(pantry.asked("tools/list") - before, 1);
    for told in [&first, &native] {
        let result = &told.body["result"];
        // Policy may show the one what it hides from the other.
        assert_eq!(result["cacheScope"], "private");
        assert!(result["ttlMs"].as_u64().unwrap() <= 3_600_000);
        assert!(result["_meta"].get("dev.tollgate/stale").is_none());
    }
    // What the client may still keep gets less from answer to answer.
    let left = |told: &Told| told.body["result"]["ttlMs"].as_u64().unwrap();
    let mut later = as_of(&bob, "bob", "tools/list", json!({})).await;
    while left(&later) >= left(&native) {
        later = as_of(&bob, "bob", "tools/list", json!({})).await;
    }
    // A client that can do something else is another matter: what the gateway has read for itself serves it.
    let legacy = world.legacy("ann", "/mcp").await.ask("tools/list", json!({})).await;
    assert_eq!(names(&legacy), ["food__find", "food__wipe"]);
    assert_ne!(made_for(&legacy), "for ann");
    assert_eq!(pantry.asked("tools/list") - before, 1);
}

#[tokio::test]
async fn what_is_a_callers_own_is_given_to_nobody_else() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.scope = "private");
    let world = world(&[("food", &pantry)]).await;
    let before = pantry.asked("tools/list");
    for path in ["/mcp", "/mcp/food"] {
        for who in ["ann", "bob", "ann", "bob"] {
            let told = as_of(&world.modern(who, path), who, "tools/list", json!({})).await;
            assert_eq!(made_for(&told), format!("for {who}"));
        }
    }
    assert_eq!(pantry.asked("tools/list") - before, 2, "once for each of them");
}

#[tokio::test]
async fn who_asks_at_the_same_time_waits_for_one_answer() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let before = pantry.asked("tools/list");
    pantry.set_awake(false);
    let asking = ["ann", "bob"].iter().cycle().take(16).map(|who| {
        let client = world.modern(who, "/mcp");
        async move { as_of(&client, who, "tools/list", json!({})).await }
    });
    let answering = async {
        eventually(|| (pantry.asked("tools/list") > before).then_some(())).await;
        pantry.set_awake(true);
    };
    let (all, ()) = tokio::join!(join_all(asking), answering);
    assert!(all.iter().all(|told| made_for(told) == made_for(&all[0])), "{all:?}");
    assert_eq!(pantry.asked("tools/list") - before, 1);
}

#[tokio::test]
async fn a_fetch_goes_on_when_whoever_asked_first_has_left() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let before = pantry.asked("tools/list");
    pantry.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    let first = tokio::spawn(async move { as_of(&ann, "ann", "tools/list", json!({})).await });
    eventually(|| (pantry.asked("tools/list") > before).then_some(())).await;
    first.abort();
    assert!(first.await.is_err());
    let bob = world.modern("bob", "/mcp");
    let second = tokio::spawn(async move { as_of(&bob, "bob", "tools/list", json!({})).await });
    pantry.set_awake(true);
    assert_eq!(made_for(&second.await.unwrap()), "for ann");
    assert_eq!(pantry.asked("tools/list") - before, 1);
}

#[tokio::test]
async fn a_server_that_tells_of_a_change_is_asked_again_before_anybody_hears_of_it() {
    for modern in [true, false] {
        let pantry = if modern { Pantry::modern().await } else { Pantry::legacy().await };
        let world = world(&[("food", &pantry)]).await;
        let ann = world.legacy("ann", "/mcp").await;
        let mut stream = ann.stream().await;
        assert!(ann.list("tools/list").await.contains(&"food__wipe".to_owned()));
        eventually(|| pantry.is_heard().then_some(())).await;
        pantry.is(|mood| mood.tools = vec!["fresh".to_owned()]);
        assert!(ann.list("tools/list").await.contains(&"food__wipe".to_owned()), "nothing was said yet");
        pantry.tells("notifications/tools/list_changed", json!({})).await;
        // It may hear of something else first. Whatever it hears of last it can see.
        loop {
            while stream.some().await["method"] != "notifications/tools/list_changed" {}
            if ann.list("tools/list").await == ["food__fresh"] {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_policy_that_changes_shows_at_once_in_what_is_kept() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    for path in ["/mcp", "/mcp/food"] {
        world.enforce(ALL).await.unwrap();
        let ann = world.modern("ann", path);
        let all = as_of(&ann, "ann", "tools/list", json!({})).await;
        assert!(names(&all).iter().any(|name| name.ends_with("wipe")));
        let before = pantry.asked("tools/list");
        let less = format!("{ALL} forbid(principal, action == Action::\"food__wipe\", resource);");
        world.enforce(&less).await.unwrap();
        let some = as_of(&ann, "ann", "tools/list", json!({})).await;
        assert_eq!(names(&all).len(), names(&some).len() + 1, "{some:?}");
        assert!(!names(&some).iter().any(|name| name.ends_with("wipe")), "{some:?}");
        world.enforce(r#"permit(principal in Agent::"bob", action, resource);"#).await.unwrap();
        let none = as_of(&ann, "ann", "tools/list", json!({})).await;
        assert!(!none.body.to_string().contains("find"), "{none:?}");
        assert_eq!(pantry.asked("tools/list"), before);
    }
}

/// A legacy server may show each session something of its own.
#[tokio::test]
async fn a_legacy_servers_list_is_kept_for_the_session_that_asked() {
    let pantry = Pantry::legacy().await;
    let world = world(&[("food", &pantry)]).await;
    let before = pantry.asked("tools/list");
    let (one, other) = (world.legacy("ann", "/mcp").await, world.legacy("ann", "/mcp").await);
    let list = async |client: &Client| client.ask("tools/list", json!({})).await;
    let (first, second) = (list(&one).await, list(&other).await);
    assert_ne!(made_for(&first), made_for(&second), "each of a session of its own");
    assert_eq!((list(&one).await.body, list(&other).await.body), (first.body, second.body));
    assert_eq!(pantry.asked("tools/list") - before, 2);
}

/// Asks until what comes is marked as old.
pub(crate) async fn until_stale(client: &Client, method: &str, params: Value) -> Told {
    loop {
        let told = client.ask(method, params.clone()).await;
        if !told.is_ok() || !told.body["result"]["_meta"]["dev.tollgate/stale"].is_null() {
            return told;
        }
    }
}

#[tokio::test]
async fn what_is_old_stands_in_for_a_server_that_is_away_and_says_so() {
    for (path, name) in [("/mcp", "food__find"), ("/mcp/food", "find")] {
        let pantry = Pantry::modern().await;
        pantry.is(|mood| mood.ttl_ms = 1);
        let world = world(&[("food", &pantry)]).await;
        let ann = world.modern("ann", path);
        assert!(ann.list("tools/list").await.contains(&name.to_owned()));
        pantry.is(|mood| mood.down = Some(503));
        let told = until_stale(&ann, "tools/list", json!({})).await;
        assert!(names(&told).contains(&name.to_owned()), "{told:?}");
        let result = &told.body["result"];
        assert_eq!(result["_meta"]["dev.tollgate/stale"][0]["server"], "food", "{result}");
        assert!(result["_meta"].get("dev.tollgate/unavailable").is_none(), "{result}");
        assert_eq!(result["ttlMs"], 0);
        // Whoever is let in no more sees nothing of it either.
        world.enforce(r#"permit(principal in Agent::"bob", action, resource);"#).await.unwrap();
        let none = ann.ask("tools/list", json!({})).await;
        assert!(!none.body.to_string().contains("find"), "{none:?}");
    }
}

#[tokio::test]
async fn a_credential_that_is_taken_no_more_ends_all_that_it_was_given_for() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.ttl_ms = 1);
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp");
    assert!(ann.list("tools/list").await.contains(&"food__find".to_owned()));
    pantry.is(|mood| mood.down = Some(401));
    while ann.list("tools/list").await.contains(&"food__find".to_owned()) {}
    pantry.is(|mood| mood.down = Some(503));
    let told = ann.ask("tools/list", json!({})).await;
    let result = &told.body["result"];
    assert_eq!(result["tools"], json!([]), "{result}");
    assert_eq!(result["_meta"]["dev.tollgate/unavailable"][0]["server"], "food", "{result}");
}

/// A server that hangs is one that is away, as soon as a list may take no longer.
#[tokio::test]
async fn what_is_old_stands_in_for_a_server_that_hangs() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.ttl_ms = 1);
    let mut server = pantry.settings("food");
    server.timeouts.list = std::time::Duration::from_millis(300);
    server.timeouts.list_patience = crate::LONG;
    let world = World::new(vec![server], vec![], ALL).await;
    let ann = world.modern("ann", "/mcp");
    crate::in_time(async { while !ann.list("tools/list").await.contains(&"food__find".to_owned()) {} }).await;
    pantry.set_awake(false);
    let told = until_stale(&ann, "tools/list", json!({})).await;
    assert_eq!(names(&told), ["food__find", "food__wipe"]);
    assert!(told.body["result"]["_meta"]["dev.tollgate/stale"][0]["ageMs"].as_u64().unwrap() >= 300);
}

#[tokio::test]
async fn nothing_is_kept_that_the_server_or_the_operator_does_not_let_be_kept() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.ttl_ms = 0);
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp");
    let before = pantry.asked("tools/list");
    for _ in 0..3 {
        ann.list("tools/list").await;
    }
    assert_eq!(pantry.asked("tools/list") - before, 3);

    let pantry = Pantry::modern().await;
    let cache = CacheSettings { enabled: false, ..CacheSettings::default() };
    let settings = ProxySettings { cache, ..ProxySettings::default() };
    let world = World::with(settings, vec![pantry.settings("food")], vec![], ALL, Ledger::off()).await;
    let ann = world.modern("ann", "/mcp");
    let before = pantry.asked("tools/list");
    for _ in 0..3 {
        ann.list("tools/list").await;
    }
    assert_eq!(pantry.asked("tools/list") - before, 3);
    // What is set anew holds at once.
    let mut setup = world.setup.clone();
    setup.settings.cache.enabled = true;
    world.gateway.apply(setup, crate::LONG).unwrap();
    for _ in 0..3 {
        ann.list("tools/list").await;
    }
    assert_eq!(pantry.asked("tools/list") - before, 4);
}

/// A page says more than a key can tell apart: then the server is asked.
#[tokio::test]
async fn a_request_with_words_of_its_own_reaches_the_server() {
    let pantry = Pantry::modern().await;
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp/food");
    let before = pantry.asked("tools/list");
    for params in [
        json!({}),
        json!({}),
        json!({"own": 1}),
        json!({"_meta": {"v.example/own": 1}}),
        json!({"cursor": 5}),
    ] {
        ann.ask("tools/list", params).await;
    }
    assert_eq!(pantry.asked("tools/list") - before, 4);
}
