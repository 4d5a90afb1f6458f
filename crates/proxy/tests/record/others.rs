//! Subscriptions, log levels, tasks, lists and sessions.

use http::Method;
use serde_json::{Value, json};

use crate::book::{Book, line};
use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

async fn world(modern: bool, tools: &[&str]) -> (World, Book, Shop) {
    let (book, shop) = (Book::new(), Shop::start(modern, tools).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    (world, book, shop)
}

/// What is new since, as lines.
fn since(book: &Book, before: usize) -> Vec<String> {
    book.entries().split_off(before).iter().map(line).collect()
}

#[tokio::test]
async fn subscriptions_and_their_ends_are_on_record() {
    let (world, book, _shop) = world(false, &["read"]).await;
    let ann = world.legacy("ann", "/mcp").await;
    let before = book.entries().len();
    assert!(ann.ask("resources/subscribe", json!({"uri": "shop://open"})).await.is_ok());
    assert!(ann.ask("resources/unsubscribe", json!({"uri": "shop://open"})).await.is_ok());
    let effects = since(&book, before);
    let effects: Vec<&String> = effects.iter().filter(|line| !line.starts_with("upkeep")).collect();
    assert_eq!(
        effects,
        ["intent 0 resources/subscribe", "outcome 0 ok", "intent 0 resources/unsubscribe", "outcome 0 ok"]
    );
    let entries = book.entries().split_off(before);
    assert_eq!(entries[0]["native_name"], "shop://open");
    // What was never begun is not ended at any server.
    let before = book.entries().len();
    assert!(ann.ask("resources/unsubscribe", json!({"uri": "shop://open"})).await.is_ok());
    assert_eq!(since(&book, before), Vec::<String>::new());
}

#[tokio::test]
async fn what_a_listener_asks_of_each_server_is_on_record() {
    let (world, book, _shop) = world(true, &["read"]).await;
    let ann = world.modern("ann", "/mcp");
    let before = book.entries().len();
    let (_stream, granted) =
        ann.listen(json!({"toolsListChanged": true, "resourceSubscriptions": ["shop://open"]})).await;
    assert_eq!(granted["resourceSubscriptions"], json!(["shop://open"]));
    let new = since(&book, before);
    assert_eq!(new, ["intent 0 subscriptions/listen", "outcome 0 ok"]);
    assert_eq!(book.entries()[before]["server"], "shop");
}

#[tokio::test]
async fn a_log_level_is_on_record_where_a_server_hears_of_it() {
    let (world, book, shop) = world(false, &["read"]).await;
    let ann = world.legacy("ann", "/mcp/shop").await;
    assert!(ann.call("read", json!({})).await.is_ok());
    let before = book.entries().len();
    let told = ann.ask("logging/setLevel", json!({"level": "debug"})).await;
    let new = since(&book, before);
    assert_eq!(new[0], "intent 0 logging/setLevel", "{new:?} {told:?}");
    assert!(new[1].starts_with("outcome 0"), "{new:?}");
    let _ = shop;
}

#[tokio::test]
async fn a_task_is_on_record_when_it_is_made_and_asked_after() {
    let (world, book, _shop) = world(true, &["later"]).await;
    let ann = world.modern("ann", "/mcp");
    let before = book.entries().len();
    let told = ann.call("shop__later", json!({})).await;
    let task = told.body["result"]["taskId"].as_str().expect("a task").to_owned();
    assert!(ann.ask("tasks/get", json!({"taskId": task})).await.is_ok());
    let new = since(&book, before);
    assert_eq!(new, ["intent 0 tools/call", "outcome 0 task_created", "intent 0 tasks/get", "outcome 0 ok"]);
    assert_eq!(book.entries()[before + 2]["native_name"], "t-1", "the server's own id");
}

#[tokio::test]
async fn lists_say_what_was_shown() {
    for modern in [true, false] {
        let (world, book, _shop) = world(modern, &["read", "open"]).await;
        for endpoint in ["/mcp", "/mcp/shop"] {
            let ann = world.either(modern, "ann", endpoint).await;
            let mut digests = Vec::new();
            for _ in 0..2 {
                let before = book.entries().len();
                assert_eq!(ann.list("tools/list").await.len(), 2);
                let entries = book.entries().split_off(before);
                let [list] = &entries[..] else { panic!("one entry: {entries:#?}") };
                assert_eq!((&list["kind"], &list["method"]), (&json!("list"), &json!("tools/list")));
                assert_eq!(list["detail"]["items"], 2);
                digests.push(list["detail"]["digest"].clone());
            }
            assert_eq!(digests[0], digests[1]);
        }
    }
}

#[tokio::test]
async fn sessions_open_and_end_on_record() {
    let (world, book, _shop) = world(false, &["read"]).await;
    let ann = world.legacy("ann", "/mcp").await;
    let opened = book.wait_for(|entry| entry["kind"] == "session_opened").await;
    assert_eq!((&opened["revision"], &opened["client"]), (&json!("2025-11-25"), &json!("it 1")));
    ann.ends(Method::DELETE).await;
    let ended = book.wait_for(|entry| entry["kind"] == "session_ended").await;
    assert_eq!(ended["detail"], json!({"why": "client"}));
    assert_eq!(ended["session"], opened["session"]);
}

#[tokio::test]
async fn definitions_that_change_are_on_record() {
    let (world, book, shop) = world(false, &["read"]).await;
    let first = book.wait_for(|entry| entry["kind"] == "upkeep").await;
    assert_eq!((&first["server"], &first["detail"]["tools"]), (&json!("shop"), &json!(1)));
    let ann = world.legacy("ann", "/mcp").await;
    assert!(ann.call("shop__read", json!({})).await.is_ok());
    let known = book.wait_for(|entry| entry["kind"] == "intent").await["definition"].clone();
    assert!(known.is_string());
    crate::eventually(|| shop.is_heard().then_some(())).await;
    let mut tool = crate::shop::tool("read");
    tool["description"] = json!("Reads something else.");
    shop.sells(vec![tool]).await;
    book.wait_for(|entry: &Value| {
        entry["kind"] == "upkeep" && entry["detail"]["digest"] != first["detail"]["digest"]
    })
    .await;
    assert!(ann.call("shop__read", json!({})).await.is_ok());
    let intents: Vec<Value> = book.entries().into_iter().filter(|entry| entry["kind"] == "intent").collect();
    assert_ne!(intents.last().unwrap()["definition"], known);
}
