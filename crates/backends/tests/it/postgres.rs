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
        open(&self.0, Bounds { feed_max, ..Bounds::default() }).expect("a place")
    }
}

tollgate_store::suite!(Fresh::new());

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

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_is_missed_and_found_again() {
    let server = Server::start();
    let place = at(&server.database());
    let store = open(&place, short()).expect("a place");
    store.add_key(suite::key("a")).await.expect("added");
    let settings =
        FollowerSettings { stale_max: Some(Duration::from_secs(4)), ..FollowerSettings::default() };
    let follower = Follower::follow(open(&place, short()).expect("a place"), settings);
    assert!(follower.settled(Duration::from_secs(5)).await);

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
    until("some are written", Duration::from_secs(10), || follower.now().keys_len() > 20).await;
    server.stop();
    let added = timeout(Duration::from_secs(5), writer).await.expect("it does not hang").expect("joined");
    let error = timeout(Duration::from_secs(5), store.head()).await.expect("it does not hang");
    assert!(matches!(error, Err(StoreError::Away(_))), "{error:?}");
    let away = Duration::from_secs(5);
    until("noticed", away, || matches!(follower.confirmed(), Confirmed::Since(_))).await;
    until("too old", away, || follower.confirmed() == Confirmed::TooOld).await;

    server.start_again();
    until("confirmed", Duration::from_secs(10), || follower.confirmed() == Confirmed::Now).await;
    let desired = follower.now();
    for id in &added {
        assert!(desired.key_of(&KeyId::new(id)).is_some(), "{id} was acknowledged");
    }
    // Also the word of news comes again.
    store.revoke_key(&KeyId::new("a"), Timestamp::from_ms(1)).await.expect("revoked");
    let is_gone = || follower.now().key_of(&KeyId::new("a")).is_some_and(|key| key.revoked.is_some());
    until("known", Duration::from_secs(1), is_gone).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_hangs_nobody() {
    let server = Server::start();
    let place = at(&server.database());
    let store = open(&place, short()).expect("a place");
    store.add_key(suite::key("a")).await.expect("added");
    let follower = Follower::follow(Arc::clone(&store), FollowerSettings::default());
    assert!(follower.settled(Duration::from_secs(5)).await);
    server.pause();
    let begun = Instant::now();
    let (read, written, fresh) = tokio::join!(store.head(), store.add_key(suite::key("b")), async {
        open(&place, short()).expect("a place").prepare().await
    },);
    for answered in [read.map(drop), written, fresh] {
        assert!(matches!(answered, Err(StoreError::Away(_))), "{answered:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    let away = Duration::from_secs(4);
    until("noticed", away, || matches!(follower.confirmed(), Confirmed::Since(_))).await;
    assert!(follower.now().key_of(&KeyId::new("a")).is_some());
    server.resume();
    until("confirmed", Duration::from_secs(5), || follower.confirmed() == Confirmed::Now).await;
    store.add_key(suite::key("c")).await.expect("added");
    until("known", Duration::from_secs(1), || follower.now().key_of(&KeyId::new("c")).is_some()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_away_at_start_is_found_when_it_comes() {
    let server = Server::start();
    let place = at(&server.database());
    server.stop();
    let store = open(&place, short()).expect("a place");
    assert!(store.prepare().await.expect_err("it is away").is_away());
    let follower = Follower::follow(Arc::clone(&store), FollowerSettings::default());
    assert!(!follower.settled(Duration::from_millis(500)).await);
    assert_eq!(follower.confirmed(), Confirmed::TooOld);
    server.start_again();
    assert!(follower.settled(Duration::from_secs(10)).await);
    store.add_key(suite::key("a")).await.expect("added");
}

/// Somebody holds the feed's lock and does nothing: whoever waits for it is told, and it is taken from him in the end.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_fell_asleep_stops_nobody_for_good() {
    let fresh = Fresh::new();
    let store = open(&fresh.0, short()).expect("a place");
    store.prepare().await.expect("prepared");
    let Place::Postgres(url) = &fresh.0 else { panic!("it is PostgreSQL") };
    let name =
        url.expose().rsplit('/').next().and_then(|rest| rest.split('?').next()).expect("a name").to_owned();
    let sleeper = tokio::task::spawn_blocking(move || {
        let sql = "BEGIN; UPDATE tollgate_head SET revision = revision; SELECT pg_sleep(3); COMMIT";
        Server::shared().sql(&name, sql)
    });
    sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    let added = store.add_key(suite::key("a")).await;
    assert!(matches!(added, Err(StoreError::Away(_))), "{added:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(store.head().await.expect("readers do not wait").revision, 0);
    sleeper.await.expect("it woke up");
    store.add_key(suite::key("b")).await.expect("added");
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
