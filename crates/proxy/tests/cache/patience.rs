//! Lists do not wait for what they can do without.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::lists::{ALL, names, until_stale, world};
use crate::pantry::Pantry;
use crate::rig::{Client, Told, World};
use crate::{eventually, in_time};

const FOOD: &str = "food__find";

fn begin(client: &Client) -> JoinHandle<Told> {
    let client = client.clone();
    tokio::spawn(async move { client.ask("tools/list", json!({})).await })
}

fn missing(told: &Told) -> Vec<&str> {
    let missing = told.body["result"]["_meta"]["dev.tollgate/unavailable"].as_array();
    missing.into_iter().flatten().map(|one| one["server"].as_str().unwrap()).collect()
}

fn stale(told: &Told) -> &Value {
    &told.body["result"]["_meta"]["dev.tollgate/stale"][0]["server"]
}

/// Its answer is held back for as long as the test likes, and its list may take very long.
#[tokio::test]
async fn what_was_kept_is_listed_while_its_server_still_works_on_the_answer() {
    let (food, tea) = (Pantry::modern().await, Pantry::modern().await);
    food.is(|mood| mood.ttl_ms = 1);
    let world = world(&[("food", &food), ("tea", &tea)]).await;
    let ann = world.modern("ann", "/mcp");
    assert_eq!(ann.list("tools/list").await.len(), 4);
    food.set_awake(false);
    let told = until_stale(&ann, "tools/list", json!({})).await;
    assert_eq!((names(&told).len(), stale(&told)), (4, &json!("food")), "{told:?}");
    assert!(missing(&told).is_empty() && told.body["result"]["ttlMs"] == 0, "{told:?}");
    // One asks for all of them meanwhile.
    let asked = food.asked("tools/list");
    for _ in 0..5 {
        assert_eq!(names(&ann.ask("tools/list", json!({})).await).len(), 4);
    }
    assert_eq!(food.asked("tools/list"), asked);
    // What comes late is not lost.
    food.is(|mood| (mood.ttl_ms, mood.tools) = (3_600_000, vec!["soup".to_owned()]));
    food.set_awake(true);
    in_time(async { while !ann.list("tools/list").await.contains(&"food__soup".to_owned()) {} }).await;
    assert_eq!(food.asked("tools/list"), asked, "it was asked for before");
}

#[tokio::test]
async fn whoever_was_told_of_a_change_is_never_given_what_was_kept_before_it() {
    for modern in [true, false] {
        let pantry = if modern { Pantry::modern().await } else { Pantry::legacy().await };
        pantry.is(|mood| mood.ttl_ms = 1);
        let mut server = pantry.settings("food");
        server.timeouts.list = crate::LONG;
        let mut world = World::new(vec![server], vec![], ALL).await;
        world.setup.settings.cache.list_ttl = Duration::from_millis(1);
        world.gateway.apply(world.setup.clone(), crate::LONG).unwrap();
        let ann = world.legacy("ann", "/mcp").await;
        let mut stream = ann.stream().await;
        assert!(ann.list("tools/list").await.contains(&FOOD.to_owned()));
        eventually(|| pantry.is_heard().then_some(())).await;
        pantry.set_awake(false);
        let told = until_stale(&ann, "tools/list", json!({})).await;
        assert!(names(&told).contains(&FOOD.to_owned()), "{told:?}");
        pantry.is(|mood| mood.tools = vec!["fresh".to_owned()]);
        let asked = pantry.asked("tools/list");
        pantry.tells("notifications/tools/list_changed", json!({})).await;
        // The gateway has heard it, and looks at what there is now before it tells whom it concerns.
        eventually(|| (pantry.asked("tools/list") > asked).then_some(())).await;
        // Only a question that was put after the news is of any use.
        let mut listed = begin(&ann);
        let early = tokio::time::timeout(Duration::from_millis(400), &mut listed).await;
        assert!(early.is_err(), "{early:?}");
        pantry.set_awake(true);
        assert_eq!(names(&listed.await.unwrap()), ["food__fresh"]);
        while stream.some().await["method"] != "notifications/tools/list_changed" {}
    }
}

#[tokio::test]
async fn what_is_permitted_no_more_is_not_shown_of_what_was_kept() {
    let pantry = Pantry::modern().await;
    pantry.is(|mood| mood.ttl_ms = 1);
    let world = world(&[("food", &pantry)]).await;
    let ann = world.modern("ann", "/mcp");
    assert_eq!(ann.list("tools/list").await, [FOOD, "food__wipe"]);
    pantry.set_awake(false);
    let told = until_stale(&ann, "tools/list", json!({})).await;
    assert_eq!(names(&told), [FOOD, "food__wipe"]);
    let less = format!("{ALL} forbid(principal, action == Action::\"food__wipe\", resource);");
    world.enforce(&less).await.unwrap();
    assert_eq!(ann.list("tools/list").await, [FOOD]);
    world.enforce(r#"permit(principal in Agent::"bob", action, resource);"#).await.unwrap();
    let none = ann.ask("tools/list", json!({})).await;
    assert!(!none.body.to_string().contains("food"), "{none:?}");
}

/// Nothing may be kept of it, so there is nothing to list in its place.
#[tokio::test]
async fn who_did_not_answer_several_times_is_named_at_once_and_asked_beside_the_lists() {
    let (food, tea) = (Pantry::modern().await, Pantry::modern().await);
    food.is(|mood| mood.ttl_ms = 0);
    let mut server = food.settings("food");
    server.timeouts.list = Duration::from_millis(300);
    server.timeouts.backoff_min = Duration::from_secs(1);
    server.circuit.failures_max = 1_000_000;
    let world = World::new(vec![server, tea.settings("tea")], vec![], ALL).await;
    let ann = world.modern("ann", "/mcp");
    let ben = world.legacy("ann", "/mcp").await;
    let mut stream = ben.stream().await;
    in_time(async { while ann.list("tools/list").await.len() < 4 {} }).await;
    food.set_awake(false);
    for _ in 0..3 {
        let told = ann.ask("tools/list", json!({})).await;
        assert_eq!((names(&told).len(), missing(&told)), (2, vec!["food"]), "{told:?}");
    }
    let (asked, began) = (food.asked("tools/list"), tokio::time::Instant::now());
    for _ in 0..40 {
        let told = ann.ask("tools/list", json!({})).await;
        assert_eq!((names(&told).len(), missing(&told)), (2, vec!["food"]), "{told:?}");
    }
    // One look after the other, the first at once, and each later than the one before.
    let looks = food.asked("tools/list") - asked;
    let looks_max = 2 + usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((1..=looks_max).contains(&looks), "{looks} looks in {:?}", began.elapsed());
    food.set_awake(true);
    in_time(async {
        while ann.list("tools/list").await.len() < 4 {
            // Such a list waits for nothing, so nothing else had its turn.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    // And whoever was shown nothing of it hears that there is something.
    while stream.some().await["method"] != "notifications/tools/list_changed" {}
}

/// Nothing may be kept of it; but what came too late for one list will do for the next, for the same caller.
#[tokio::test]
async fn what_comes_late_every_time_is_listed_by_what_came_last() {
    let food = Pantry::modern().await;
    food.is(|mood| (mood.ttl_ms, mood.scope) = (0, "private"));
    let world = world(&[("food", &food)]).await;
    let (ann, bob) = (world.modern("ann", "/mcp"), world.modern("bob", "/mcp"));
    for _ in 0..5 {
        assert_eq!(ann.list("tools/list").await.len(), 2);
    }
    let told = loop {
        food.set_awake(false);
        let asked = food.asked("tools/list");
        let listed = begin(&ann);
        eventually(|| (food.asked("tools/list") > asked || listed.is_finished()).then_some(())).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let while_asleep = listed.is_finished();
        if !while_asleep {
            food.set_awake(true);
        }
        let told = listed.await.unwrap();
        assert_eq!(names(&told), [FOOD, "food__wipe"]);
        if while_asleep {
            break told;
        }
    };
    assert_eq!(stale(&told), "food", "{told:?}");
    // What was said to her is not for him.
    let listed = begin(&bob);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!listed.is_finished());
    food.set_awake(true);
    let his = listed.await.unwrap();
    assert!(stale(&his).is_null(), "{his:?}");
    // Once it is as quick as it was, nothing is kept of it any more.
    in_time(async {
        loop {
            let asked = food.asked("tools/list");
            let told = ann.ask("tools/list", json!({})).await;
            if stale(&told).is_null() && food.asked("tools/list") > asked {
                break;
            }
        }
    })
    .await;
}
