//! Calls, reads, prompts and completions.

use serde_json::{Value, json};

use crate::book::Book;
use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

#[tokio::test]
async fn everything_with_an_effect_has_an_intent_and_an_outcome() {
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let ann = world.either(modern, "ann", "/mcp").await;
        let before = book.entries().len();
        assert!(ann.call("shop__read", json!({"path": "/a"})).await.is_ok());
        assert!(ann.ask("prompts/get", json!({"name": "shop__greet"})).await.is_ok());
        assert!(ann.ask("resources/read", json!({"uri": "shop://open"})).await.is_ok());
        let reference = json!({"type": "ref/prompt", "name": "shop__greet"});
        let argument = json!({"name": "a", "value": "x"});
        assert!(
            ann.ask("completion/complete", json!({"ref": reference, "argument": argument})).await.is_ok()
        );
        let entries = book.entries().split_off(before);
        let effects: Vec<&Value> =
            entries.iter().filter(|entry| entry["kind"] == "intent" || entry["kind"] == "outcome").collect();
        let methods = ["tools/call", "prompts/get", "resources/read", "completion/complete"];
        assert_eq!(effects.len(), 2 * methods.len(), "{entries:#?}");
        for (pair, method) in effects.chunks(2).zip(methods) {
            let [intent, outcome] = pair else { panic!("a pair") };
            assert_eq!((&intent["kind"], &intent["method"]), (&json!("intent"), &json!(method)));
            assert_eq!((&outcome["kind"], &outcome["outcome"]), (&json!("outcome"), &json!("ok")));
            assert_eq!(outcome["of"], intent["seq"]);
            assert_eq!(outcome["call"], intent["call"]);
            assert_eq!(intent["era"], if modern { "modern" } else { "legacy" });
            assert_eq!(intent["server"], "shop");
            assert_eq!(intent["endpoint"], "");
            assert!(outcome["sizes"]["sent_bytes"].as_u64().unwrap() > 0, "{outcome}");
            assert!(outcome["sizes"]["received_bytes"].as_u64().unwrap() > 0, "{outcome}");
            assert!(outcome["latency"]["total_us"].as_u64().unwrap() > 0, "{outcome}");
        }
        assert_eq!(
            (&effects[0]["public_name"], &effects[0]["native_name"]),
            (&json!("shop__read"), &json!("read"))
        );
        assert_eq!(effects[4]["native_name"], "shop://open");
        assert_eq!(shop.asked("tools/call"), 1);
    }
}

/// A server that fails is answered for: that is the outcome.
#[tokio::test]
async fn an_error_and_a_server_that_is_gone_are_outcomes() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    let ann = world.modern("ann", "/mcp");
    // The shop does not sell it any more, and the gateway has not heard.
    shop.forgets(&["read"]);
    let told = ann.call("shop__read", json!({})).await;
    assert_eq!(told.body["error"]["code"], -32602);
    let lines = book.lines();
    assert_eq!(lines[lines.len() - 2..], ["intent 0 tools/call", "outcome 0 error -32602"]);

    shop.hangs_up(true);
    let told = ann.call("shop__read", json!({})).await;
    assert_eq!(told.code(), "upstream_protocol_error", "{told:?}");
    let entries = book.entries();
    let outcome = entries.last().unwrap();
    assert_eq!(
        (&outcome["outcome"], &outcome["code"]),
        (&json!("refused"), &json!("upstream_protocol_error"))
    );
    assert_eq!(outcome["stage"], "dispatch");
    assert_eq!(outcome["call"], told.refusal()["requestId"]);
}

/// The intent is there when the server sees the call, and the outcome when the client has its answer.
#[tokio::test]
async fn the_record_is_ahead_of_what_happens() {
    let (book, shop) = (Book::new(), Shop::modern(&["slow"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    shop.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    let calling = tokio::spawn(async move { ann.call("shop__slow", json!({})).await });
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    assert_eq!(book.lines().last().unwrap(), "intent 0 tools/call");
    shop.set_awake(true);
    assert!(calling.await.unwrap().is_ok());
    assert_eq!(book.lines().last().unwrap(), "outcome 0 ok");
}

#[tokio::test]
async fn a_call_whose_client_leaves_has_an_outcome() {
    for (modern, why) in [(true, "client_gone"), (false, "ok")] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["slow"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        shop.set_awake(false);
        let ann = world.either(modern, "ann", "/mcp").await;
        let calling = tokio::spawn(async move { ann.call("shop__slow", json!({})).await });
        crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
        calling.abort();
        let _ = calling.await;
        shop.set_awake(true);
        // A legacy client may come back for its answer: its call goes on.
        let outcome = book.wait_for(|entry| entry["kind"] == "outcome").await;
        assert_eq!(outcome["outcome"], why);
        assert_eq!(outcome["of"], outcome["seq"].as_u64().unwrap() - 1);
    }
}

/// Whoever cancels gets no answer; the record says why there is none.
#[tokio::test]
async fn a_cancelled_call_says_so() {
    let (book, shop) = (Book::new(), Shop::legacy(&["slow"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    shop.set_awake(false);
    let ann = world.legacy("ann", "/mcp").await;
    let caller = ann.clone();
    let calling = tokio::spawn(async move { caller.call("shop__slow", json!({})).await });
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    ann.tell("notifications/cancelled", json!({"requestId": 7})).await;
    assert_eq!(calling.await.unwrap().body, Value::Null);
    book.wait_for(|entry| entry["outcome"] == "cancelled").await;
    shop.set_awake(true);
}

#[tokio::test]
async fn a_gateway_that_stops_says_what_it_cut_off() {
    let (book, shop) = (Book::new(), Shop::modern(&["slow"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    shop.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    let calling = tokio::spawn(async move { ann.call("shop__slow", json!({})).await });
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    world.gateway.begin_drain();
    calling.abort();
    book.wait_for(|entry| entry["outcome"] == "stopped").await;
    shop.set_awake(true);
}
