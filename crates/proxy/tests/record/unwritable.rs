//! What becomes of calls while nothing can be put on record.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_ledger::{Durability, LedgerSettings, WhenUnwritable};
use tollgate_proxy::{ProxySettings, Unwritable};

use crate::book::Book;
use crate::disk::Disk;
use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

async fn world(when: WhenUnwritable, book: &Book, shop: &Shop) -> World {
    let unwritable = Unwritable { otherwise: when, ..Unwritable::default() };
    let settings = ProxySettings { unwritable, ..ProxySettings::default() };
    let servers = vec![server("shop", shop)];
    World::with(settings, servers, vec![], ALL, book.ledger.clone()).await
}

/// What is not on record reaches no server, unless it is said that it should.
#[tokio::test]
async fn a_call_that_cannot_be_recorded_is_refused_or_served() {
    for modern in [true, false] {
        for when in [WhenUnwritable::Refuse, WhenUnwritable::Degrade] {
            let (book, shop) = (Book::new(), Shop::start(modern, &["read"]).await);
            let world = world(when, &book, &shop).await;
            let ann = world.either(modern, "ann", "/mcp").await;
            book.ledger.close().await;
            let told = ann.call("shop__read", json!({})).await;
            if when == WhenUnwritable::Degrade {
                assert!(told.is_ok(), "{told:?}");
                assert_eq!(shop.asked("tools/call"), 1);
            } else {
                assert_eq!(told.code(), "ledger_unavailable", "{told:?}");
                assert_eq!(told.refusal()["retry"], "safe", "{told:?}");
                assert_eq!(shop.asked("tools/call"), 0);
            }
        }
    }
}

/// The server has carried it out, and its outcome cannot be put on record: nobody is told the result.
#[tokio::test]
async fn a_result_whose_outcome_cannot_be_recorded_is_withheld_or_given() {
    for modern in [true, false] {
        for when in [WhenUnwritable::Refuse, WhenUnwritable::Degrade] {
            let (book, shop) = (Book::new(), Shop::start(modern, &["slow"]).await);
            let world = world(when, &book, &shop).await;
            let ann = world.either(modern, "ann", "/mcp").await;
            shop.set_awake(false);
            let calling =
                tokio::spawn(async move { ann.call("shop__slow", json!({"path": "what was done"})).await });
            crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
            book.ledger.close().await;
            shop.set_awake(true);
            let told = calling.await.unwrap();
            let says_it = told.body.to_string().contains("what was done");
            if when == WhenUnwritable::Degrade {
                assert!(told.is_ok() && says_it, "{told:?}");
            } else {
                assert_eq!(told.code(), "outcome_unrecorded", "{told:?}");
                assert_eq!(told.refusal()["retry"], "unsafe", "{told:?}");
                assert!(!told.is_ok() && !says_it, "{told:?}");
            }
        }
    }
}

/// A disk that stops in the midst of a call: served all the same, the call has its true outcome once the disk goes on, and
/// what never came on record is counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_served_while_the_disk_stands_still_is_on_record_when_it_goes_on() {
    let Some(disk) = Disk::new() else { return };
    let settings = LedgerSettings { durability: Durability::Power, ..LedgerSettings::default() };
    let (book, shop) = (Book::at(&disk.root(), settings), Shop::modern(&["read"]).await);
    let world = world(WhenUnwritable::Degrade, &book, &shop).await;
    let ann = world.modern("ann", "/mcp");
    assert!(ann.call("shop__read", json!({})).await.is_ok());
    let before = book.entries().len();

    disk.freeze();
    let began = Instant::now();
    let first = ann.call("shop__read", json!({})).await;
    assert!(first.is_ok(), "{first:?}");
    assert!(began.elapsed() > Duration::from_secs(2), "the record was waited for");
    // By now it is known that the disk does not answer.
    assert!(ann.call("shop__read", json!({})).await.is_ok());
    assert_eq!(shop.asked("tools/call"), 3);
    disk.thaw();

    book.wait_for(|entry| entry["kind"] == "gap").await;
    let late = |entry: &Value| entry["kind"] == "intent" && entry["method"] == "tools/call";
    let new = book.entries().split_off(before);
    let intent = new.iter().find(|entry| late(entry)).expect("the intent of the first").clone();
    let outcome = book.wait_for(|entry| entry["of"] == intent["seq"]).await;
    assert_eq!((&outcome["outcome"], &outcome["call"]), (&json!("ok"), &intent["call"]), "{new:#?}");
    assert!(outcome["sizes"]["received_bytes"].as_u64().unwrap() > 0, "{outcome}");
    let gaps: Vec<Value> = book.entries().into_iter().filter(|entry| entry["kind"] == "gap").collect();
    let sum = |member: &str| gaps.iter().map(|gap| gap["detail"][member].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("entries"), sum("calls")), (1, 1), "{gaps:#?}");
}
