//! PostgreSQL passes the suite; and whatever becomes of the server, nothing hangs, and all is well when it is back.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tollgate_backends::{Bounds, Place, open};
use tollgate_database::{PASSWORD, Server};
use tollgate_model::{KeyId, Secret, Timestamp};
use tollgate_store::{Confirmed, Follower, FollowerSettings, Store, StoreError, suite};

fn at(url: &str) -> Place {
    Place::postgres(Secret::new(url.to_owned())).expect("a place")
}

struct Fresh(Place);

impl Fresh {
    fn new() -> Self {
        Self(at(&Server::shared().database()))
    }
}

impl suite::Place for Fresh {
    fn open(&self, feed_max: usize) -> Arc<dyn Store> {
        open(&self.0, Bounds { feed_max, call_max: LONG, ..Bounds::default() }).expect("a place")
    }
}

tollgate_store::suite!(Fresh::new());

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(30);
const SECOND: Duration = Duration::from_secs(1);

fn short() -> Bounds {
    Bounds { call_max: Duration::from_millis(1_500), ..Bounds::default() }
}

/// Waits until it is so.
async fn until(what: &str, most: Duration, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < most, "not in {most:?}: {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// What is written is known within a second. A machine may stand still for one: one key of several is enough.
async fn is_known_within_a_second(store: &Arc<dyn Store>, follower: &Follower) {
    let mut took = Vec::new();
    for number in 0..5 {
        let id = format!("soon{number}");
        store.add_key(suite::key(&id)).await.expect("added");
        let begun = Instant::now();
        until("known", LONG, || follower.now().key_of(&KeyId::new(&id)).is_some()).await;
        took.push(begun.elapsed());
        if begun.elapsed() <= SECOND {
            return;
        }
    }
    panic!("{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_missed_and_found_again() {
    let server = Server::start();
    let place = at(&server.database());
    let store = open(&place, Bounds::default()).expect("a place");
    store.add_key(suite::key("a")).await.expect("added");
    let settings =
        FollowerSettings { stale_max: Some(Duration::from_secs(4)), ..FollowerSettings::default() };
    let follower = Follower::follow(open(&place, Bounds::default()).expect("a place"), settings);
    assert!(follower.settled(LONG).await);

    // Writers go on while it dies.
    let writer = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut added = Vec::new();
            for number in 0.. {
                let id = format!("w{number}");
                if store.add_key(suite::key(&id)).await.is_err() {
                    return added;
                }
                added.push(id);
            }
            added
        })
    };
    until("some are written", LONG, || follower.now().keys_len() > 20).await;
    server.stop();
    let added = timeout(LONG, writer).await.expect("it does not hang").expect("joined");
    let error = timeout(LONG, store.head()).await.expect("it does not hang");
    assert!(matches!(error, Err(StoreError::Away(_))), "{error:?}");
    // Whoever looks late sees the end of the wait only.
    until("noticed", LONG, || follower.confirmed() != Confirmed::Now).await;
    until("too old", LONG, || follower.confirmed() == Confirmed::TooOld).await;

    server.start_again();
    until("confirmed", LONG, || follower.confirmed() == Confirmed::Now).await;
    let desired = follower.now();
    for id in &added {
        assert!(desired.key_of(&KeyId::new(id)).is_some(), "{id} was acknowledged");
    }
    // Also the word of news comes again.
    store.revoke_key(&KeyId::new("a"), Timestamp::from_ms(1)).await.expect("revoked");
    let is_gone = || follower.now().key_of(&KeyId::new("a")).is_some_and(|key| key.revoked.is_some());
    until("known", LONG, is_gone).await;
    is_known_within_a_second(&store, &follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_hangs_nobody() {
    let server = Server::start();
    let place = at(&server.database());
    let store = open(&place, Bounds::default()).expect("a place");
    store.add_key(suite::key("a")).await.expect("added");
    let follower = Follower::follow(Arc::clone(&store), FollowerSettings::default());
    assert!(follower.settled(LONG).await);
    server.pause();
    let begun = Instant::now();
    let (read, written, fresh) = tokio::join!(store.head(), store.add_key(suite::key("b")), async {
        open(&place, short()).expect("a place").prepare().await
    },);
    for answered in [read.map(drop), written, fresh] {
        assert!(matches!(answered, Err(StoreError::Away(_))), "{answered:?}");
    }
    assert!(begun.elapsed() < 3 * Bounds::default().call_max, "{:?}", begun.elapsed());
    until("noticed", LONG, || matches!(follower.confirmed(), Confirmed::Since(_))).await;
    assert!(follower.now().key_of(&KeyId::new("a")).is_some());
    server.resume();
    until("confirmed", LONG, || follower.confirmed() == Confirmed::Now).await;
    is_known_within_a_second(&store, &follower).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_start_is_found_when_it_comes() {
    let server = Server::start();
    let place = at(&server.database());
    server.stop();
    let store = open(&place, Bounds::default()).expect("a place");
    assert!(store.prepare().await.expect_err("it is away").is_away());
    let follower = Follower::follow(Arc::clone(&store), FollowerSettings::default());
    assert!(!follower.settled(Duration::from_millis(500)).await);
    assert_eq!(follower.confirmed(), Confirmed::TooOld);
    server.start_again();
    assert!(follower.settled(LONG).await);
    store.add_key(suite::key("a")).await.expect("added");
}

/// Somebody holds the feed's lock and does nothing: whoever waits for it is told, and it is taken from him in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fell_asleep_stops_nobody_for_good() {
    let fresh = Fresh::new();
    let patient = open(&fresh.0, Bounds::default()).expect("a place");
    patient.prepare().await.expect("prepared");
    let store = open(&fresh.0, short()).expect("a place");
    // It is in a hurry from its first connection on.
    let prepared = async { while store.prepare().await.is_err_and(|error| error.is_away()) {} };
    timeout(LONG, prepared).await.expect("prepared");
    let Place::Postgres(url) = &fresh.0 else { panic!("it is PostgreSQL") };
    let name =
        url.expose().rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a name").to_owned();
    let asleep =
        format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{name}' AND wait_event = 'PgSleep'");
    let sleeper = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; UPDATE tollgate_head SET revision = revision; SELECT pg_sleep(8); COMMIT";
        Server::shared().sql(&name, sql)
    });
    until("he sleeps", LONG, || Server::shared().sql("postgres", &asleep).trim() == "1").await;
    let begun = Instant::now();
    let added = store.add_key(suite::key("a")).await;
    assert!(matches!(added, Err(StoreError::Away(_))), "{added:?}");
    assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
    assert_eq!(patient.head().await.expect("readers do not wait").revision, 0);
    assert!(!sleeper.is_finished(), "it is he who was waited for");
    sleeper.await.expect("it woke up");
    patient.add_key(suite::key("b")).await.expect("added");
}

#[tokio::test]
async fn passwords_are_in_no_error() {
    let server = Server::shared();
    let url = server.database();
    let wrong = url.replace(PASSWORD, "wrong-password");
    let nowhere = server.url("no_such_database");
    let unreachable = format!("postgres://tollgate:{PASSWORD}@127.0.0.1:1/x");
    let no_tls = url.replace("sslmode=disable", "sslmode=require");
    for (url, is_away) in [(wrong, false), (nowhere, false), (unreachable, true), (no_tls, true)] {
        let store = open(&at(&url), short()).expect("a place");
        let error = store.prepare().await.expect_err("it cannot be used");
        assert_eq!(error.is_away(), is_away, "{error}");
        for secret in [PASSWORD, "wrong-password", "postgres://"] {
            assert!(!format!("{error} {error:?} {store:?}").contains(secret), "{error:?} {store:?}");
        }
    }
}
