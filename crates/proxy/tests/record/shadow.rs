//! What policies that only look on would have said.

use serde_json::{Value, json};
use tollgate_policy::Level;

use crate::book::Book;
use crate::rig::{World, server};
use crate::shop::Shop;

const LIVE: &str = r#"@id("live") permit(principal in Agent::"ann", action == Action::"shop__read", resource)
    when { context.input has amount && context.input.amount < 10 };"#;

fn shadow(entry: &Value) -> &Value {
    &entry["decision"]["shadow"]
}

#[tokio::test]
async fn what_would_have_been_decided_otherwise_is_on_record_and_nothing_acts_on_it() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], "", book.ledger.clone()).await;
    let candidate = r#"@id("new") @require_approval("leads")
        permit(principal in Agent::"ann", action == Action::"shop__read", resource)
        when { context.input has amount && context.input.amount > 4 && context.input.amount < 20 };"#;
    let findings = world.enforce_with_shadow(LIVE, candidate).await;
    assert_eq!(findings, []);
    let ann = world.modern("ann", "/mcp");
    let call = async |amount: u32| {
        let before = book.entries().len();
        let told = ann.call("shop__read", json!({"amount": amount})).await;
        (told.is_ok(), book.entries().split_off(before))
    };

    let (is_ok, entries) = call(1).await;
    let [intent, outcome] = &entries[..] else { panic!("a pair: {entries:#?}") };
    assert!(is_ok && shadow(intent).is_null(), "{intent}");
    assert_eq!(shadow(outcome)["allowed"], false, "{outcome}");
    assert_eq!(outcome["decision"]["policies"], json!(["live"]));
    assert_ne!(shadow(outcome)["set"], outcome["decision"]["set"]);
    assert_eq!(shadow(outcome)["at_ms"], intent["decision"]["at_ms"]);

    let (is_ok, entries) = call(5).await;
    assert!(is_ok, "what would need approval is not asked for");
    assert_eq!(shadow(&entries[1])["policies"], json!(["new"]));
    assert_eq!(shadow(&entries[1])["obligations"]["approvals"], json!(["leads"]));

    let (is_ok, entries) = call(15).await;
    let [refusal] = &entries[..] else { panic!("a refusal: {entries:#?}") };
    assert!(!is_ok && refusal["kind"] == "refusal");
    assert_eq!(shadow(refusal)["allowed"], true, "{refusal}");

    let (is_ok, entries) = call(25).await;
    assert!(!is_ok && shadow(&entries[0]).is_null(), "both deny: {entries:#?}");
    assert_eq!(shop.asked("tools/call"), 2);
}

#[tokio::test]
async fn a_candidate_that_is_wrong_is_a_warning_and_no_more() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], "", book.ledger.clone()).await;
    for wrong in ["permit(", r#"permit(principal, action == Action::"shop__raed", resource);"#] {
        let findings = world.enforce_with_shadow(LIVE, wrong).await;
        assert!(findings.iter().all(|finding| finding.level == Level::Warning), "{findings:?}");
        assert!(findings.iter().any(|one| one.message.ends_with("the shadow policies are not used")));
        let told = world.modern("ann", "/mcp").call("shop__read", json!({"amount": 1})).await;
        assert!(told.is_ok());
        assert!(shadow(book.entries().last().unwrap()).is_null());
    }
}
