//! What is refused before anything leaves.

use serde_json::{Value, json};

use crate::book::Book;
use crate::rig::{World, server};
use crate::shop::Shop;

const READ: &str = r#"@id("reading") permit(principal in Agent::"ann", action == Action::"shop__read", resource)
    when { context.input has path && context.input.path == "/a" };"#;

#[tokio::test]
async fn a_refusal_of_any_stage_is_one_entry_and_reaches_no_server() {
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], READ, book.ledger.clone()).await;
        let ann = world.either(modern, "ann", "/mcp").await;
        // The gateway listens to it for itself, which it begins a moment after it has read its tools.
        crate::eventually(|| shop.is_heard().then_some(())).await;
        let seen = shop.fake.seen.lock().unwrap().len();
        for (method, params, code, stage, outcome) in [
            (
                "tools/call",
                json!({"name": "shop__read", "arguments": {"path": "/b"}}),
                "denied",
                "policy",
                "denied",
            ),
            ("tools/call", json!({"name": "nowhere", "arguments": {}}), "unknown_tool", "resolve", "refused"),
            (
                "tools/call",
                json!({"name": "shop__read", "arguments": 1}),
                "invalid_params",
                "envelope",
                "refused",
            ),
            ("sleep", json!({}), "method_not_found", "envelope", "refused"),
        ] {
            let before = book.entries().len();
            let told = ann.ask(method, params).await;
            assert_eq!(told.code(), code, "{told:?}");
            let entries = book.entries().split_off(before);
            let [entry] = &entries[..] else { panic!("one entry: {entries:#?}") };
            assert_eq!(entry["kind"], "refusal");
            assert_eq!(entry["method"], method);
            assert_eq!((&entry["code"], &entry["stage"]), (&json!(code), &json!(stage)));
            assert_eq!(entry["outcome"], outcome);
            assert_eq!(entry["call"], told.refusal()["requestId"], "the client knows it by the same id");
        }
        assert_eq!(shop.fake.seen.lock().unwrap().len(), seen, "the server was asked something");
    }
}

/// What the transport refuses is on record too, if it is known who came.
#[tokio::test]
async fn what_the_transport_refuses_is_on_record() {
    let (book, shop) = (Book::new(), Shop::legacy(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], READ, book.ledger.clone()).await;
    let nowhere = world.modern("ann", "/mcp/nowhere");
    let told = nowhere.call("read", json!({})).await;
    assert_eq!(told.code(), "unknown_endpoint");
    let entry: Value = book.entries().pop().unwrap();
    assert_eq!((&entry["kind"], &entry["code"]), (&json!("refusal"), &json!("unknown_endpoint")));
    assert_eq!(entry["call"], told.refusal()["requestId"]);
}

/// A flood of strangers is a number.
#[tokio::test]
async fn strangers_are_counted_and_not_listed() {
    let (book, shop) = (Book::new(), Shop::legacy(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], READ, book.ledger.clone()).await;
    let before = book.entries().len();
    let stranger = world.stranger("/mcp");
    for _ in 0..5 {
        assert_eq!(stranger.call("shop__read", json!({})).await.status, 401);
    }
    assert_eq!(book.entries().len(), before);
    world.gateway.stop(std::time::Duration::ZERO).await;
    book.ledger.close().await;
    let entries = book.entries().split_off(before);
    let strangers: Vec<&Value> = entries.iter().filter(|entry| entry["kind"] == "strangers").collect();
    let total: u64 = strangers.iter().map(|entry| entry["strangers"]["count"].as_u64().unwrap()).sum();
    assert_eq!(total, 5, "{entries:#?}");
    assert_eq!(strangers.len(), 1, "{entries:#?}");
}
