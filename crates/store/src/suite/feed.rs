//! What whoever follows the feed can rely on.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};

use super::{
    Place, approval, blocked_agent, definitions, key, open, registered, revoked_user, sighting, sightings,
};
use crate::{
    Asking, AskingRoom, Change, Changes, Cursor, Desired, Doing, Follower, FollowerSettings, Numbered,
    Pausable, Pausing, PinChange, PinMark, Resuming, Store, StoreError, Unblocking, WhichKeys, WhichPins,
};

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(30);

async fn these(store: &dyn Store, after: Cursor, most: usize) -> Vec<Numbered> {
    match store.changes(after, most).await.unwrap() {
        Changes::These(changes) => changes,
        Changes::Lost => panic!("{after:?} is not in the feed"),
    }
}

pub async fn the_feed_says_what_the_snapshot_says(place: &dyn Place) {
    let store = open(place);
    let start = store.head().await.unwrap();
    assert_eq!(start.revision, 0);
    assert_eq!(these(&*store, start, 10).await, []);
    store.add_key(key("a")).await.unwrap();
    let old = store.rotate_key(&KeyId::new("a"), key("b"), Timestamp::from_ms(9_000)).await.unwrap();
    let revoked = store.revoke_key(&KeyId::new("b"), Timestamp::from_ms(9_000)).await.unwrap();
    let (ada, bob) = (revoked_user("ada"), revoked_user("bob"));
    store.revoke(ada.clone()).await.unwrap();
    store.revoke(bob.clone()).await.unwrap();
    store.reinstate(&ada.what).await.unwrap();
    let (kept, gone) = (definitions(None, "kept", &["1"]), definitions(Some("acme"), "gone", &["2"]));
    store.keep_definitions(&kept).await.unwrap();
    store.keep_definitions(&gone).await.unwrap();
    store.forget_definitions(&gone.of).await.unwrap();

    let (stopped, freed) = (blocked_agent("stopped"), blocked_agent("freed"));
    store.block(stopped.clone()).await.unwrap();
    store.block(freed.clone()).await.unwrap();
    let unblocking = Unblocking { what: freed.what.clone(), reason: "".into(), by: "ops".into() };
    assert!(store.unblock(unblocking.clone()).await.unwrap());
    let paused = |agent: &str| Pausing {
        who: Pausable { tenant: TenantId::new("acme"), agent: agent.into() },
        why: "surge".into(),
        since: Timestamp::from_ms(1_000),
        until: Timestamp::from_ms(2_000),
    };
    let (waits, goes_on) = (paused("waits"), paused("goes on"));
    store.pause(waits.clone()).await.unwrap();
    store.pause(goes_on.clone()).await.unwrap();
    let resuming = Resuming { who: goes_on.who.clone(), reason: "mended".into(), by: "ops".into() };
    assert!(store.resume(resuming.clone()).await.unwrap());
    let asked = approval("a1", 1);
    let room = AskingRoom { principal_max: 9, tenant_max: 9 };
    assert_eq!(store.ask_approval(asked.clone(), room).await.unwrap(), Asking::New);
    assert!(store.withdraw_approval(&asked.id, Timestamp::from_ms(2_000)).await.unwrap());
    let withdrawn = store.approval(&asked.id).await.unwrap().unwrap();

    store.sight(sightings(None, "pinned", vec![sighting("a", "1", true)])).await.unwrap();
    store.sight(sightings(None, "pinned", vec![sighting("a", "2", true)])).await.unwrap();
    let pins = store.pins(&WhichPins { most: 9, ..WhichPins::default() }).await.unwrap();
    let (of, mark) = (pins[0].of.clone(), pins[0].mark());
    let (lives, ends) = (registered("lives", "1"), registered("ends", "1"));
    store.put_registrations(vec![lives.clone(), ends.clone()]).await.unwrap();
    let doing = Doing { by: "ops".into(), reason: "over".into(), at: Timestamp::from_ms(2_000) };
    let ended = ends.retired(&doing).unwrap();
    store.put_registrations(vec![ended.clone()]).await.unwrap();

    let changes = these(&*store, start, 100).await;
    let said: Vec<Change> = changes.iter().map(|numbered| numbered.change.clone()).collect();
    let wanted = [
        Change::Key(Arc::new(key("a"))),
        Change::Key(Arc::new(key("b"))),
        Change::Key(Arc::new(old.clone())),
        Change::Key(Arc::new(revoked.clone())),
        Change::Revoked(ada.clone()),
        Change::Revoked(bob.clone()),
        Change::Reinstated(ada.what),
        Change::Defined(kept.of.clone(), kept.digest),
        Change::Defined(gone.of.clone(), gone.digest),
        Change::Forgotten(gone.of.clone()),
        Change::Blocked(stopped.clone()),
        Change::Blocked(freed.clone()),
        Change::Unblocked(unblocking.clone()),
        Change::Paused(waits.clone()),
        Change::Paused(goes_on),
        Change::Resumed(resuming),
        Change::Approval(Arc::new(asked.without_arguments())),
        Change::Approval(Arc::new(withdrawn.without_arguments())),
        Change::Pinned(PinChange {
            of: of.clone(),
            mark: Some(PinMark { waiting: None, ..mark }),
            by: "gateway".into(),
            reason: "".into(),
        }),
        Change::Pinned(PinChange { of: of.clone(), mark: Some(mark), by: "".into(), reason: "".into() }),
        Change::Registered(Arc::new(lives.clone())),
        Change::Registered(Arc::new(ends)),
        Change::Registered(Arc::new(ended)),
    ];
    assert_eq!(said, wanted);
    let revisions: Vec<u64> = changes.iter().map(|numbered| numbered.cursor.revision).collect();
    assert_eq!(revisions, (1..=23).collect::<Vec<u64>>());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(Some(snapshot.cursor), changes.last().map(|last| last.cursor));
    assert_eq!(snapshot.cursor, store.head().await.unwrap());
    assert_eq!(snapshot.keys, [Arc::new(old), Arc::new(revoked)]);
    assert_eq!(snapshot.revocations, [bob]);
    assert_eq!(snapshot.blocks, std::slice::from_ref(&stopped));
    assert_eq!(snapshot.pauses, std::slice::from_ref(&waits));
    assert_eq!(snapshot.registrations, [Arc::new(lives.clone())], "what is retired is no more");
    assert_eq!(snapshot.definitions, [(kept.of.clone(), kept.digest)]);
    assert_eq!(snapshot.pins, [(of.clone(), mark)]);
    let desired = Desired::from(snapshot);
    let marks = desired.pins_of(None, &of.server).unwrap();
    assert_eq!(marks[&of.kind][&of.item], mark);
    assert_eq!((desired.revision(), desired.definitions(&kept.of)), (23, Some(kept.digest)));
    assert_eq!(desired.definitions(&gone.of), None);
    let blocks: Vec<_> = desired.blocks().values().map(|block| block.what.clone()).collect();
    assert_eq!(blocks, [stopped.what]);
    assert_eq!(desired.registrations().keys().collect::<Vec<_>>(), [&lives.id]);
    assert_eq!(desired.pauses().values().collect::<Vec<_>>(), [&waits]);
}

pub async fn what_was_not_done_is_not_in_the_feed(place: &dyn Place) {
    let store = open(place);
    store.add_key(key("a")).await.unwrap();
    let head = store.head().await.unwrap();
    assert!(store.add_key(key("a")).await.is_err());
    assert!(store.rotate_key(&KeyId::new("a"), key("a"), Timestamp::from_ms(1)).await.is_err());
    assert!(!store.reinstate(&revoked_user("ada").what).await.unwrap());
    assert!(!store.forget_definitions(&definitions(None, "files", &[]).of).await.unwrap());
    let nothing = Unblocking { what: blocked_agent("nobody").what, reason: "".into(), by: "ops".into() };
    assert!(!store.unblock(nothing).await.unwrap());
    assert_eq!(store.head().await.unwrap(), head);
    store.add_key(key("b")).await.unwrap();
    let changes = these(&*store, head, 10).await;
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].cursor.revision, 2, "no revision is left out");
}

pub async fn a_place_that_is_not_in_the_feed_is_lost(place: &dyn Place) {
    let store = place.open(3);
    let mut places = vec![store.head().await.unwrap()];
    for number in 0..6 {
        store.add_key(key(&number.to_string())).await.unwrap();
        places.push(store.head().await.unwrap());
    }
    let other = Cursor { mark: places[5].mark ^ 1, ..places[5] };
    let future = Cursor { revision: 7, mark: 0 };
    for lost in [places[0], places[2], other, future, Cursor::default()] {
        assert_eq!(store.changes(lost, 10).await.unwrap(), Changes::Lost, "{lost:?}");
    }
    for (at, left) in [(3, 3), (4, 2), (6, 0)] {
        assert_eq!(these(&*store, places[at], 10).await.len(), left);
    }
    assert_eq!(store.snapshot().await.unwrap().keys.len(), 6, "the state is whole");
}

pub async fn changes_come_in_portions(place: &dyn Place) {
    let store = open(place);
    let mut at = store.head().await.unwrap();
    for number in 0..7 {
        store.add_key(key(&number.to_string())).await.unwrap();
    }
    let mut seen = Vec::new();
    loop {
        let portion = these(&*store, at, 3).await;
        assert!(portion.len() <= 3);
        let Some(last) = portion.last() else { break };
        at = last.cursor;
        seen.extend(portion.iter().map(|numbered| numbered.cursor.revision));
    }
    assert_eq!(seen, (1..=7).collect::<Vec<u64>>());
}

pub async fn writers_at_once_lose_and_reorder_nothing(place: &dyn Place) {
    const WRITERS: usize = 4;
    const KEYS: usize = 15;
    let reader = open(place);
    let start = reader.head().await.unwrap();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let store = open(place);
        writers.push(tokio::spawn(async move {
            for number in 0..KEYS {
                let id = format!("{writer}-{number:02}");
                store.add_key(key(&id)).await.unwrap();
                if number % 3 == 0 {
                    store.revoke_key(&KeyId::new(&id), Timestamp::from_ms(9)).await.unwrap();
                }
            }
        }));
    }
    // The reader goes on while they write, as a follower does: what it has passed by it never sees again.
    let mut seen: Vec<Numbered> = Vec::new();
    let mut at = start;
    let deadline = Instant::now() + Duration::from_mins(1);
    let total = (WRITERS * (KEYS + KEYS / 3)) as u64;
    while at.revision < total {
        assert!(Instant::now() < deadline, "at {at:?} of {total}");
        let portion = these(&*reader, at, 7).await;
        match portion.last() {
            Some(last) => at = last.cursor,
            None => sleep(Duration::from_millis(1)).await,
        }
        seen.extend(portion);
    }
    for writer in writers {
        writer.await.unwrap();
    }
    let revisions: Vec<u64> = seen.iter().map(|numbered| numbered.cursor.revision).collect();
    assert_eq!(revisions, (1..=total).collect::<Vec<u64>>());
    // Each writer's own changes come in its own order.
    for writer in 0..WRITERS {
        let prefix = format!("{writer}-");
        let own: Vec<KeyRecord> = seen
            .iter()
            .filter_map(|numbered| match &numbered.change {
                Change::Key(key) if key.id.as_str().starts_with(&prefix) => Some(KeyRecord::clone(key)),
                _ => None,
            })
            .collect();
        let mut sorted = own.clone();
        sorted.sort_by_key(|key| (key.id.clone(), key.revoked));
        assert_eq!(own, sorted);
    }
    let mut desired = Desired::default();
    for numbered in seen {
        desired.apply(numbered.cursor.revision, numbered.change);
    }
    let all = WhichKeys { most: 1_000, ..WhichKeys::default() };
    let keys = reader.keys(&all).await.unwrap();
    assert_eq!(keys.len(), WRITERS * KEYS);
    for key in keys {
        assert_eq!(desired.key_of(&key.id).map(|key| KeyRecord::clone(key)), Some(key));
    }
}

pub async fn of_two_who_want_the_same_one_gets_it(place: &dyn Place) {
    let (one, two) = (open(place), open(place));
    one.prepare().await.unwrap();
    two.prepare().await.unwrap();
    for round in 0..5 {
        let id = format!("old-{round}");
        let (first, second) = tokio::join!(one.add_key(key(&id)), two.add_key(key(&id)));
        let won = [first, second].iter().filter(|done| done.is_ok()).count();
        assert_eq!(won, 1);
        let (id, until) = (KeyId::new(&id), Timestamp::from_ms(9_000));
        let (first, second) = tokio::join!(
            one.rotate_key(&id, key(&format!("one-{round}")), until),
            two.rotate_key(&id, key(&format!("two-{round}")), until),
        );
        let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
        assert!(matches!(lost, Err(StoreError::KeyEnded)), "{lost:?}");
        let stands = one.key(&id).await.unwrap();
        assert_eq!(stands, Some(won.unwrap()));
    }
    let snapshot = two.snapshot().await.unwrap();
    assert_eq!((snapshot.keys.len(), snapshot.cursor.revision), (10, 15));
}

pub async fn news_of_others_is_known_within_a_second(place: &dyn Place) {
    let (operator, replica) = (open(place), open(place));
    let follower = Follower::follow(replica, FollowerSettings::default());
    assert!(follower.settled(LONG).await);
    let mut changes = follower.changes();
    let mut took = Vec::new();
    // A machine may stand still for a second: one key of several is enough.
    for name in ["a", "b", "c", "d", "e"] {
        let id = KeyId::new(name);
        let mut becomes = async |is_good: bool| {
            let is_so = || {
                let now = follower.now();
                now.key_of(&id).is_some_and(|key| key.is_good(Timestamp::from_ms(1)) == is_good)
            };
            let coming = async {
                while !is_so() {
                    changes.changed().await.unwrap();
                }
            };
            timeout(LONG, coming).await.unwrap();
        };
        operator.add_key(key(name)).await.unwrap();
        becomes(true).await;
        let begun = Instant::now();
        operator.revoke_key(&id, Timestamp::from_ms(2)).await.unwrap();
        becomes(false).await;
        took.push(begun.elapsed());
        if begun.elapsed() <= Duration::from_secs(1) {
            return;
        }
    }
    panic!("a second went by each time: {took:?}");
}

pub async fn own_news_is_heard(place: &dyn Place) {
    let store = open(place);
    let at = store.head().await.unwrap();
    let quiet = timeout(Duration::from_millis(50), store.news(at)).await;
    assert!(quiet.is_err(), "there is no news");
    let (heard, added) = tokio::join!(timeout(LONG, store.news(at)), async {
        sleep(Duration::from_millis(20)).await;
        store.add_key(key("a")).await
    });
    added.unwrap();
    assert!(heard.is_ok(), "nothing was heard");
    // Whoever asks late is told at once.
    assert!(timeout(LONG, store.news(at)).await.is_ok());
}
