//! What is changed only if it still is what somebody has seen.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::{KeyHash, KeyId, Timestamp};

use super::{Place, blocked_agent, key, open, sighting, sightings};
use crate::{AdminKey, Approved, Approving, Blocking, Pin, StoreError, Unblocking, WhichPins};

/// How often two race.
const ROUNDS: u64 = 12;

fn unblocking(blocking: &Blocking) -> Unblocking {
    Unblocking { what: blocking.what.clone(), reason: "over".into(), by: "ops".into() }
}

fn admin_key(id: &str) -> AdminKey {
    AdminKey {
        id: KeyId::new(id),
        name: "deploy".into(),
        grants: Vec::new(),
        hash: KeyHash(crate::Digest::of([id.as_bytes()]).0),
        created: Timestamp::from_ms(1_000),
        expires: None,
        revoked: None,
        by: "root".into(),
    }
}

/// A pin of which something waits.
async fn waiting(store: &dyn crate::Store, item: &str) -> Pin {
    for text in ["{}", "[1]"] {
        store.sight(sightings(None, "crm", vec![sighting(item, text, true)])).await.unwrap();
    }
    let pins = store.pins(&WhichPins { most: 1_000, ..WhichPins::default() }).await.unwrap();
    pins.into_iter().find(|pin| *pin.of.item == *item).unwrap()
}

fn approving(pin: &Pin) -> Approving {
    Approving {
        of: pin.of.clone(),
        digest: pin.waiting.as_ref().unwrap().digest,
        by: "ada".into(),
        reason: "looked at".into(),
        at: Timestamp::from_ms(9),
    }
}

pub async fn only_what_was_seen_is_changed(place: &dyn Place) {
    let store = open(place);
    let overtaken = |error| matches!(error, StoreError::Overtaken);

    let seen = blocked_agent("bot");
    store.block(seen.clone()).await.unwrap();
    let again = Blocking { reason: "worse".into(), ..seen.clone() };
    store.block(again.clone()).await.unwrap();
    assert!(overtaken(store.unblock_seen(unblocking(&seen), Some(&seen)).await.unwrap_err()));
    assert_eq!(store.blocks(None, 9).await.unwrap(), std::slice::from_ref(&again));
    assert!(store.unblock_seen(unblocking(&seen), Some(&again)).await.unwrap());
    assert!(!store.unblock_seen(unblocking(&seen), Some(&again)).await.unwrap(), "it is gone");

    let (id, at) = (KeyId::new("old"), Timestamp::from_ms(2_000));
    store.add_key(key("old")).await.unwrap();
    let rotated = store.rotate_key(&id, key("new"), Timestamp::from_ms(9_000)).await.unwrap();
    assert!(overtaken(store.revoke_seen_key(&id, at, Some(&key("old"))).await.unwrap_err()));
    assert_eq!(store.key(&id).await.unwrap(), Some(rotated.clone()));
    assert_eq!(store.revoke_seen_key(&id, at, Some(&rotated)).await.unwrap().revoked, Some(at));

    let (id, seen) = (KeyId::new("machine"), admin_key("machine"));
    store.add_admin_key(seen.clone()).await.unwrap();
    let revoked = store.revoke_seen_admin_key(&id, (at, "ada"), Some(&seen)).await.unwrap();
    assert!(overtaken(store.revoke_seen_admin_key(&id, (at, "bob"), Some(&seen)).await.unwrap_err()));
    assert_eq!(store.admin_keys(None, 9).await.unwrap(), [revoked]);

    let seen = waiting(&*store, "a").await;
    assert_eq!(store.approve_pin(approving(&seen)).await.unwrap(), Approved::Now);
    assert!(overtaken(store.forget_seen_pin(&seen.of, ("ops", ""), Some(&seen)).await.unwrap_err()));
    let now = store.pin(&seen.of).await.unwrap();
    assert!(now.is_some());
    assert!(store.forget_seen_pin(&seen.of, ("ops", ""), now.as_ref()).await.unwrap());
    assert_eq!(store.pin(&seen.of).await.unwrap(), None);
}

/// Two gateways that have seen the same: of what they do, one is done, and the other is told.
pub async fn of_two_gateways_that_change_the_same_one_does(place: &dyn Place) {
    let (one, two) = (open(place), open(place));
    for round in 0..ROUNDS {
        // Whoever lets an agent go on has not seen for what it was stopped anew: it stays stopped.
        let seen = blocked_agent(&format!("bot-{round}"));
        one.block(seen.clone()).await.unwrap();
        let again = Blocking { reason: "worse".into(), ..seen.clone() };
        let (blocked, unblocked) =
            tokio::join!(one.block(again.clone()), two.unblock_seen(unblocking(&seen), Some(&seen)));
        blocked.unwrap();
        assert!(matches!(unblocked, Ok(true) | Err(StoreError::Overtaken)), "{unblocked:?}");
        assert!(one.blocks(None, 99).await.unwrap().contains(&again));

        let id = KeyId::new(&format!("old-{round}"));
        one.add_key(key(id.as_str())).await.unwrap();
        let (seen, until) = (key(id.as_str()), Timestamp::from_ms(9_000));
        let new = key(&format!("new-{round}"));
        let (rotated, revoked) = tokio::join!(
            one.rotate_key(&id, new, until),
            two.revoke_seen_key(&id, Timestamp::from_ms(2_000), Some(&seen)),
        );
        match (&rotated, &revoked) {
            (Ok(_), Err(StoreError::Overtaken)) | (Err(StoreError::KeyEnded), Ok(_)) => {}
            both => panic!("{both:?}"),
        }

        let id = KeyId::new(&format!("machine-{round}"));
        let seen = admin_key(id.as_str());
        one.add_admin_key(seen.clone()).await.unwrap();
        let at = Timestamp::from_ms(2_000);
        let (first, second) = tokio::join!(
            one.revoke_seen_admin_key(&id, (at, "ada"), Some(&seen)),
            two.revoke_seen_admin_key(&id, (at, "bob"), Some(&seen)),
        );
        let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
        assert!(matches!(lost, Err(StoreError::Overtaken)), "{lost:?}");
        let keys = one.admin_keys(None, 99).await.unwrap();
        assert!(keys.contains(&won.unwrap()));

        let seen = waiting(&*one, &format!("tool-{round}")).await;
        let (approved, forgotten) = tokio::join!(
            one.approve_pin(approving(&seen)),
            two.forget_seen_pin(&seen.of, ("ops", ""), Some(&seen)),
        );
        let is_there = one.pin(&seen.of).await.unwrap().is_some();
        match (approved.unwrap(), &forgotten) {
            (Approved::Now, Err(StoreError::Overtaken)) => assert!(is_there),
            (Approved::Unknown, Ok(true)) => assert!(!is_there),
            both => panic!("{both:?}"),
        }
    }
}
