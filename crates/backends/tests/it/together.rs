//! What gateways count together, in a real server.

use std::time::Duration;

use tollgate_backends::Redis;
use tollgate_database::Redis as Server;
use tollgate_model::Secret;
use tollgate_store::{Digest, PlaceId, SharedBound, SharedCount, SharedCounters};

fn client(server: &Server) -> Redis {
    Redis::new(&Secret::new(server.url())).expect("a URL")
}

fn count(of: &str, tenant: Option<&str>, bound: SharedBound) -> SharedCount {
    SharedCount { of: Digest::of([of.as_bytes()]), tenant: tenant.map(Into::into), bound }
}

/// So many in an hour.
fn rate(of: &str, tenant: Option<&str>, burst: u32) -> SharedCount {
    let window = Duration::from_hours(1);
    count(of, tenant, SharedBound::Rate { each: window / burst, window, ahead: Duration::ZERO })
}

fn places(of: &str, tenant: Option<&str>, most: u64) -> SharedCount {
    count(of, tenant, SharedBound::Places(most))
}

/// How many of so many there is room for.
async fn room(redis: &Redis, counts: &[SharedCount], times: u128) -> usize {
    let mut done = 0;
    for id in 0..times {
        done += usize::from(redis.count(PlaceId(id), counts).await.expect("an answer").full.is_none());
    }
    done
}

async fn all_or_none(server: &Server) {
    let redis = client(server);
    let (narrow, wide) = (rate("narrow", Some("acme"), 3), rate("wide", None, 5));
    let both = [narrow.clone(), wide.clone()];
    assert_eq!(room(&redis, &both, 9).await, 3);
    let refused = redis.count(PlaceId(0), &both).await.expect("an answer");
    let (nth, wait) = refused.full.expect("no room");
    assert_eq!(nth, 0);
    assert!(wait > Duration::from_mins(19) && wait <= Duration::from_mins(20), "{wait:?}");
    assert!(refused.ahead[0] > Duration::from_mins(59), "{:?}", refused.ahead);
    assert_eq!(room(&redis, std::slice::from_ref(&wide), 9).await, 2, "what was refused counts nowhere");
    assert!(redis.count(PlaceId(0), &both).await.expect("an answer").full.is_some());
    redis.give_back(PlaceId(0), &both).await.expect("an answer");
    assert_eq!(room(&redis, &both, 9).await, 1);
    // Now the other one is full, and the first gets back what it had counted.
    let other = [rate("other", Some("acme"), 2), wide];
    assert_eq!(room(&redis, &other, 4).await, 0);
    assert_eq!(room(&redis, &other[..1], 9).await, 2);
}

#[tokio::test]
async fn rates_are_counted_in_all_or_none() {
    all_or_none(&Server::start()).await;
}

/// The same where a tenant's own and everybody's lie apart.
#[tokio::test]
async fn also_in_a_cluster() {
    all_or_none(&Server::start_cluster()).await;
}

#[tokio::test]
async fn places_are_held_until_they_are_left_or_nobody_keeps_them() {
    let server = Server::start();
    let redis = client(&server);
    let own = [places("own", Some("acme"), 2), rate("calls", Some("acme"), 100)];
    assert_eq!(room(&redis, &own, 5).await, 2);
    redis.give_back(PlaceId(0), &own).await.expect("an answer");
    assert_eq!(room(&redis, &own, 1).await, 1);
    // Whoever holds one finds it again.
    assert_eq!(room(&redis, &own, 2).await, 2);
    let keys = server.command(&["KEYS", "tollgate:{acme}:places:*"]);
    let key = keys.trim();
    let expires: i64 = server.command(&["PTTL", key]).trim().parse().expect("a time");
    assert!((1..=20_001).contains(&expires), "{expires}: nothing is left of gateways that are gone");
    // Its gateway was killed twenty seconds ago.
    for id in [PlaceId(0), PlaceId(1)] {
        server.command(&["ZINCRBY", key, "-21000000", &id.to_string()]);
    }
    redis.keep(&[(PlaceId(1), own[0].clone())]).await.expect("an answer");
    assert_eq!(
        redis.count(PlaceId(7), &own).await.expect("an answer").full,
        None,
        "one was kept, one was not"
    );
    assert!(redis.count(PlaceId(8), &own).await.expect("an answer").full.is_some());
    // A server that was started anew hears of what is held.
    server.command(&["FLUSHALL"]);
    redis.keep(&[(PlaceId(1), own[0].clone()), (PlaceId(7), own[0].clone())]).await.expect("an answer");
    assert!(redis.count(PlaceId(8), &own).await.expect("an answer").full.is_some());
}

#[tokio::test]
async fn what_is_forgotten_is_taken_from_whoever_remembers() {
    let server = Server::start();
    let redis = client(&server);
    let new = rate("calls", None, 4);
    let SharedBound::Rate { each, window, .. } = new.bound else { panic!("a rate") };
    let known = SharedCount { bound: SharedBound::Rate { each, window, ahead: each * 3 }, ..new.clone() };
    assert_eq!(room(&redis, std::slice::from_ref(&known), 4).await, 1);
    server.command(&["FLUSHALL"]);
    assert_eq!(room(&redis, &[new], 1).await, 1);
    assert_eq!(room(&redis, &[known], 9).await, 3, "what the server knows is what counts");
}

/// What another has written counts as far as it can, and for as long as a limit can last.
#[tokio::test]
async fn a_clock_that_was_put_back_and_what_is_no_time_keep_nobody_out_for_long() {
    let server = Server::start();
    let redis = client(&server);
    let calls = [rate("calls", None, 4)];
    assert_eq!(room(&redis, &calls, 9).await, 4);
    let keys = server.command(&["KEYS", "tollgate:*:rate:*"]);
    let key = keys.trim();
    // A day ahead of the server's own clock.
    server.command(&["INCRBY", key, "86400000000"]);
    let counted = redis.count(PlaceId(0), &calls).await.expect("an answer");
    let (_, wait) = counted.full.expect("no room");
    assert_eq!(wait, Duration::from_mins(15), "as a limit that was just used up");
    assert_eq!(counted.ahead, [Duration::from_hours(1)]);
    server.command(&["SET", key, "soon"]);
    assert_eq!(room(&redis, &calls, 9).await, 4);
}

#[tokio::test]
async fn a_server_that_was_restarted_or_hangs_is_away_for_a_moment() {
    let server = Server::start();
    let redis = client(&server);
    let calls = [rate("calls", Some("acme"), 100)];
    redis.keep(&[]).await.expect("it answers");
    server.stop();
    assert!(redis.count(PlaceId(0), &calls).await.expect_err("nobody is there").is_away());
    server.start_again();
    let begun = tokio::time::Instant::now();
    while redis.count(PlaceId(0), &calls).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not found again");
    }
    server.pause();
    let asked = tokio::time::Instant::now();
    assert!(redis.count(PlaceId(0), &calls).await.is_err());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    server.resume();
}

/// As one is that another has taken the place of.
#[tokio::test]
async fn a_server_that_only_reads_is_away() {
    let server = Server::start();
    let redis = client(&server);
    redis.keep(&[]).await.expect("it counts");
    server.command(&["REPLICAOF", "127.0.0.1", "1"]);
    assert!(redis.count(PlaceId(0), &[rate("calls", None, 9)]).await.expect_err("it is read only").is_away());
    assert!(redis.keep(&[]).await.expect_err("it answers, and counts nothing").is_away());
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let begun = tokio::time::Instant::now();
    while redis.keep(&[]).await.is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it is not found again");
    }
}

#[test]
fn only_such_a_server_is_one() {
    for url in
        ["http://127.0.0.1", "postgres://me:hunter2@127.0.0.1", "redis+unix:///tmp/socket", "redis", ""]
    {
        assert!(Redis::new(&Secret::new(url.to_owned())).is_err(), "{url}");
    }
    let shown = format!(
        "{:?}",
        Redis::new(&Secret::new("redis://me:hunter2@127.0.0.1:7/".to_owned())).expect("a URL")
    );
    assert!(shown.contains("127.0.0.1") && !shown.contains("hunter2"), "{shown}");
}
