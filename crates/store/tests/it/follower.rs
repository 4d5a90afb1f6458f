//! What is known of a store that comes, goes and fails.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tollgate_model::{KeyHash, KeyId, KeyRecord, TenantId, Timestamp};
use tollgate_store::suite::{Fault, Faulty};
use tollgate_store::{
    Confirmed, Follower, FollowerSettings, Keys, Memory, Revocable, Revocation, Revocations,
};

fn key(number: u8) -> KeyRecord {
    KeyRecord {
        id: KeyId::new(&format!("key-{number}")),
        tenant: TenantId::new("acme"),
        agent: "bot".into(),
        groups: vec!["support".into()],
        hash: KeyHash([number; 32]),
        created: Timestamp::from_ms(1),
        expires: None,
        revoked: None,
        replaced_by: None,
    }
}

fn user(name: &str) -> Revocation {
    let what = Revocable::User { tenant: TenantId::new("acme"), user: name.into() };
    Revocation { what, since: Timestamp::from_ms(1), until: None }
}

fn faulty() -> (Arc<Memory>, Faulty) {
    let memory = Arc::new(Memory::with_feed(4));
    (Arc::clone(&memory), Faulty::new(memory))
}

fn follow(store: &Faulty) -> Follower {
    Follower::follow(Arc::new(store.clone()), FollowerSettings::default())
}

/// Waits until it is so; the test ends in an hour of paused time if it never is.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_hours(1), "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether it is so after at most a second.
async fn within_a_second(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    until(what, is_so).await;
    assert!(begun.elapsed() <= Duration::from_secs(1), "{what}: {:?}", begun.elapsed());
}

/// Whoever puts changes on record comes later than the follower begins, and misses none.
#[tokio::test(start_paused = true)]
async fn what_was_applied_before_anybody_listened_is_given_to_the_first_who_asks_for_all() {
    let (memory, store) = faulty();
    let follower = follow(&store);
    assert!(follower.settled(Duration::from_secs(1)).await);
    memory.revoke(user("ada")).await.expect("revoked");
    within_a_second("applied", || follower.now().revision() == 1).await;
    let (mut from_now, mut all) = (follower.applied(), follower.applied_from_first());
    assert_eq!(all.recv().await.expect("the follower lives").cursor.revision, 1);
    assert!(from_now.try_recv().is_err());
    assert!(follower.applied_from_first().try_recv().is_err(), "it is given once");
    memory.revoke(user("bob")).await.expect("revoked");
    assert_eq!(all.recv().await.expect("the follower lives").cursor.revision, 2);
    assert_eq!(from_now.recv().await.expect("the follower lives").cursor.revision, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_there_and_what_comes_is_known_within_a_second() {
    let (memory, store) = faulty();
    memory.add_key(key(1)).await.expect("added");
    let follower = follow(&store);
    assert_eq!(follower.confirmed(), Confirmed::TooOld, "nothing was read yet");
    assert!(follower.settled(Duration::from_secs(1)).await);
    assert_eq!(follower.confirmed(), Confirmed::Now);
    assert!(follower.now().key(&KeyHash([1; 32])).is_some());

    let mut changes = follower.changes();
    memory.add_key(key(2)).await.expect("added");
    changes.changed().await.expect("the follower lives");
    assert!(follower.now().key(&KeyHash([2; 32])).is_some());

    // Also where no word comes from the store.
    store.set(Fault::Silent);
    memory.revoke_key(&KeyId::new("key-1"), Timestamp::from_ms(9)).await.expect("revoked");
    let is_good =
        || follower.now().key_of(&KeyId::new("key-1")).is_some_and(|key| key.is_good(Timestamp::from_ms(1)));
    within_a_second("revoked", || !is_good()).await;
    assert_eq!(follower.now().revision(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_cut_feed_is_read_anew() {
    let (memory, store) = faulty();
    memory.revoke(user("ada")).await.expect("revoked");
    let follower = follow(&store);
    assert!(follower.settled(Duration::from_secs(1)).await);
    store.set(Fault::Away);
    until("away", || follower.problem().is_some()).await;
    memory.reinstate(&user("ada").what).await.expect("reinstated");
    for number in 1..20 {
        memory.add_key(key(number)).await.expect("added");
    }
    store.set(Fault::None);
    until("back", || follower.problem().is_none()).await;
    let desired = follower.now();
    assert_eq!((desired.revision(), desired.keys_len()), (21, 19));
    let ada = tollgate_model::Principal { user: Some("ada".into()), ..tollgate_model::Principal::local() };
    let ada = tollgate_model::Principal { tenant: TenantId::new("acme"), ..ada };
    assert!(!desired.is_revoked(&ada, Timestamp::from_ms(5)));
}

#[tokio::test(start_paused = true)]
async fn the_last_confirmed_state_is_used_for_a_bounded_time() {
    for fault in [Fault::Away, Fault::Hung] {
        let (memory, store) = faulty();
        memory.add_key(key(1)).await.expect("added");
        let follower = follow(&store);
        assert!(follower.settled(Duration::from_secs(1)).await);
        store.set(fault);
        let begun = Instant::now();
        until("noticed", || matches!(follower.confirmed(), Confirmed::Since(_))).await;
        assert!(begun.elapsed() < Duration::from_secs(3), "{fault:?}: {:?}", begun.elapsed());
        until("too old", || follower.confirmed() == Confirmed::TooOld).await;
        let bound = FollowerSettings::default().stale_max.expect("a bound");
        assert!(begun.elapsed() >= bound.saturating_sub(Duration::from_secs(1)), "{:?}", begun.elapsed());
        assert!(begun.elapsed() <= bound + Duration::from_secs(1), "{:?}", begun.elapsed());
        assert!(follower.now().key(&KeyHash([1; 32])).is_some(), "what is known stays known");
        assert!(follower.problem().is_some());

        memory.add_key(key(2)).await.expect("added");
        store.set(Fault::None);
        let begun = Instant::now();
        until("back", || follower.confirmed() == Confirmed::Now).await;
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
        assert!(follower.now().key(&KeyHash([2; 32])).is_some());
        until("the problem is over", || follower.problem().is_none()).await;
    }
}

#[tokio::test(start_paused = true)]
async fn it_may_be_used_for_good_if_so_configured() {
    let (_, store) = faulty();
    let settings = FollowerSettings { stale_max: None, ..FollowerSettings::default() };
    let follower = Follower::follow(Arc::new(store.clone()), settings);
    assert!(follower.settled(Duration::from_secs(1)).await);
    store.set(Fault::Away);
    sleep(Duration::from_hours(10)).await;
    assert!(matches!(follower.confirmed(), Confirmed::Since(_)));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_at_start_is_found_when_it_comes() {
    for fault in [Fault::Away, Fault::Hung] {
        let (memory, store) = faulty();
        store.set(fault);
        memory.add_key(key(1)).await.expect("added");
        let settings = FollowerSettings { stale_max: None, ..FollowerSettings::default() };
        let follower = Follower::follow(Arc::new(store.clone()), settings);
        assert!(!follower.settled(Duration::from_secs(40)).await);
        assert_eq!(follower.confirmed(), Confirmed::TooOld, "there is nothing to go by");
        assert!(follower.problem().is_some());
        store.set(Fault::None);
        assert!(follower.settled(Duration::from_secs(4)).await);
        assert!(follower.now().key(&KeyHash([1; 32])).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_follows_when_nobody_asks() {
    let (memory, store) = faulty();
    let follower = follow(&store);
    assert!(follower.settled(Duration::from_secs(1)).await);
    drop(follower);
    drop(store);
    // The task held the last other handle of the store.
    until("the task is over", || Arc::strong_count(&memory) == 1).await;
}

#[tokio::test]
async fn nothing_to_follow_is_no_problem() {
    let follower = Follower::of_nothing();
    assert!(follower.settled(Duration::ZERO).await);
    assert_eq!(follower.confirmed(), Confirmed::Now);
    assert_eq!((follower.age(), follower.problem(), follower.follows()), (None, None, false));
}

/// A change among 100,000 keys is taken in by copying a few of them.
#[tokio::test]
async fn many_keys_do_not_slow_a_change_down() {
    let memory = Arc::new(Memory::default());
    let key = |number: u32| {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&number.to_be_bytes());
        KeyRecord { id: KeyId::new(&number.to_string()), hash: KeyHash(hash), ..key(0) }
    };
    memory.load((0..100_000).map(key));
    let follower = Follower::follow(memory.clone(), FollowerSettings::default());
    assert!(follower.settled(Duration::from_mins(1)).await);
    let before = follower.now();
    let mut changes = follower.changes();
    let begun = Instant::now();
    for number in 0..100 {
        memory.revoke_key(&KeyId::new(&number.to_string()), Timestamp::from_ms(1)).await.expect("revoked");
        while follower.now().key_of(&KeyId::new(&number.to_string())).is_some_and(|key| key.revoked.is_none())
        {
            changes.changed().await.expect("the follower lives");
        }
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!((before.keys_len(), follower.now().keys_len()), (100_000, 100_000));
}
