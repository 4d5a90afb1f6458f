//! Names that stand for texts.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::Timestamp;

use super::{Place, open};
use crate::{Digest, KeptName, NUMBERS_KEPT_MS, NamesOf};

fn of(owner: u8, now_ms: u64) -> NamesOf {
    let (now, until) = (Timestamp::from_ms(now_ms), Timestamp::from_ms(now_ms + 1000));
    NamesOf { owner: Digest([owner; 32]), now, until }
}

fn name(name: &str, sealed: &str) -> KeptName {
    KeptName { name: name.into(), digest: Digest::of([sealed.as_bytes()]), sealed: sealed.into() }
}

pub async fn a_name_stands_for_one_text_of_its_owners(place: &dyn Place) {
    let (store, other) = (open(place), open(place));
    let given = [name("<EMAIL_1>", "a"), name("<EMAIL_2>", "b")];
    assert!(store.keep_names(of(1, 0), &given).await.unwrap());
    assert_eq!(other.names_of(of(1, 1)).await.unwrap().names, given);
    assert_eq!(other.names_of(of(2, 1)).await.unwrap().names, []);
    // All of them, or none.
    let late = [name("<CARD_1>", "c"), name("<EMAIL_2>", "d")];
    assert!(!other.keep_names(of(1, 1), &late).await.unwrap());
    assert_eq!(store.names_of(of(1, 1)).await.unwrap().names, given);
    assert!(other.keep_names(of(1, 1), &given[..1]).await.unwrap(), "it stands for the same");
    assert!(other.keep_names(of(2, 1), &late).await.unwrap(), "it is another's name");
}

pub async fn of_gateways_that_give_a_name_at_once_one_does(place: &dyn Place) {
    let tries = (0..6_u8).map(|nth| {
        let store = open(place);
        async move { store.keep_names(of(1, 0), &[name("<EMAIL_1>", &nth.to_string())]).await.unwrap() }
    });
    let tries: Vec<_> = tries.map(tokio::spawn).collect();
    let mut kept = 0;
    for one in tries {
        kept += usize::from(one.await.unwrap());
    }
    assert_eq!((kept, open(place).names_of(of(1, 1)).await.unwrap().names.len()), (1, 1));
}

/// Each in an order of its own: none waits for the other in a circle.
pub async fn of_gateways_that_give_many_names_at_once_one_does(place: &dyn Place) {
    let tries = (0..4_u8).map(|nth| {
        let store = open(place);
        async move {
            let mut kept = 0;
            for round in 0..5_u8 {
                let text = |at: u8| name(&format!("<EMAIL_{at}>"), &format!("{nth} {at}"));
                let mut names: Vec<_> = (0..60).map(text).collect();
                if nth % 2 == 1 {
                    names.reverse();
                }
                kept += usize::from(store.keep_names(of(round, 0), &names).await.unwrap());
            }
            kept
        }
    });
    let tries: Vec<_> = tries.map(tokio::spawn).collect();
    let mut kept = 0;
    for one in tries {
        kept += one.await.unwrap();
    }
    assert_eq!(kept, 5, "one of each owner's");
}

pub async fn names_are_good_for_as_long_as_they_are_used(place: &dyn Place) {
    let store = open(place);
    let first = [name("<EMAIL_1>", "a")];
    store.keep_names(of(1, 0), &first).await.unwrap();
    store.keep_names(of(2, 0), &first).await.unwrap();
    assert_eq!(store.names_of(of(1, 900)).await.unwrap().names, first);
    // Whoever asks used them, and so did who got another.
    store.keep_names(of(1, 1_800), &[name("<EMAIL_2>", "b")]).await.unwrap();
    assert_eq!(store.names_of(of(1, 2_700)).await.unwrap().names.len(), 2);
    assert_eq!(store.names_of(of(2, 1_001)).await.unwrap().names, []);
    assert_eq!(store.names_of(of(1, 9_000)).await.unwrap().names, []);
}

/// What is forgotten may still be written down somewhere: its name stands for nothing else, at no gateway.
pub async fn numbers_are_never_given_again(place: &dyn Place) {
    let (store, other) = (open(place), open(place));
    let given = [name("<EMAIL_1>", "a"), name("<EMAIL_3>", "b"), name("<US_SSN_1>", "c")];
    store.keep_names(of(1, 0), &given).await.unwrap();
    let kept = other.names_of(of(1, 9_000)).await.unwrap();
    assert_eq!(kept.names, []);
    let numbers: Vec<(&str, u64)> = kept.numbers.iter().map(|(kind, number)| (&**kind, *number)).collect();
    assert_eq!(numbers, [("EMAIL", 3), ("US_SSN", 1)]);
    for used in ["<EMAIL_1>", "<EMAIL_2>", "<EMAIL_3>", "<US_SSN_1>"] {
        assert!(!other.keep_names(of(1, 9_000), &[name(used, "d")]).await.unwrap(), "{used}");
    }
    assert!(other.keep_names(of(1, 9_000), &[name("<EMAIL_4>", "d"), name("<CARD_1>", "e")]).await.unwrap());
    assert!(store.keep_names(of(2, 9_000), &[name("<EMAIL_1>", "d")]).await.unwrap(), "another's");
    assert_eq!(store.names_of(of(1, 9_500)).await.unwrap().numbers.get("EMAIL"), Some(&4));
    // None of a batch with one of them is kept, nor its number.
    assert!(!store.keep_names(of(1, 9_500), &[name("<CARD_2>", "f"), name("<EMAIL_2>", "g")]).await.unwrap());
    assert_eq!(other.names_of(of(1, 9_500)).await.unwrap().numbers.get("CARD"), Some(&1));
    // Not for ever: who has not been there for so long begins anew.
    assert!(store.keep_names(of(1, 9_501 + NUMBERS_KEPT_MS), &[name("<EMAIL_1>", "h")]).await.unwrap());
}
