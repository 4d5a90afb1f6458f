//! Keys that are kept in a store: made and revoked on the command line, known to every gateway on the same store within a
//! second. And a store that is away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_database::Server;
use tollgate_e2e::gateway::{EVERYBODY, Gateway, http, servers, with};
use tollgate_e2e::guarded::unthrottled;
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, HttpPeer, Live, Script, until};

use crate::taken_back::ends;

/// How soon every gateway has to know.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Gateways before the same server and on the same store.
struct Replicas {
    gateways: Vec<Gateway>,
    server: FakeServer,
}

impl Replicas {
    /// `store` is the section of that name; without one, all keep what they know in the first one's folder.
    async fn start(count: usize, store: Option<Value>) -> Self {
        let server = FakeServer::start(Script::modern().with_tools(["echo", "progress_then_hang"])).await;
        let config = servers([("there", http(&server.url()))]);
        let config =
            with(&config, json!({ "identity": unthrottled(json!({})), "policy": { "files": [EVERYBODY] } }));
        let config = store.map_or(config.clone(), |store| with(&config, json!({ "store": store })));
        let mut gateways: Vec<Gateway> = Vec::new();
        for _ in 0..count {
            let gateway = match gateways.first() {
                Some(first) => Gateway::start_on(&config, first.data()).await,
                None => Gateway::start(&config).await,
            };
            gateways.push(gateway);
        }
        Self { gateways, server }
    }

    /// Makes a key for an agent: its id and its text.
    async fn create(&self, agent: &str) -> (String, String) {
        let said = self.gateways[0].command(&["keys", "create", "--agent", agent, "--json"]).await;
        let text = |name: &str| said[name].as_str().unwrap_or_else(|| panic!("{name} in {said}")).to_owned();
        (text("id"), text("key"))
    }

    async fn revoke(&self, id: &str) {
        self.gateways[0].command(&["keys", "revoke", id, "--json"]).await;
    }

    async fn known_everywhere(&self, key: &str) {
        for gateway in &self.gateways {
            until("a new key", async || (status(gateway, key).await == 200).then_some(())).await;
        }
    }
}

async fn status(gateway: &Gateway, key: &str) -> u16 {
    let mut peer = HttpPeer::modern(gateway.bearing(key), "/mcp");
    peer.request(&Call::tool("there__echo", "{}")).await.status
}

/// A listener and a call under way, at one gateway.
async fn open(gateway: &Gateway, key: &str) -> Vec<(&'static str, Live)> {
    let mut peer = HttpPeer::modern(gateway.bearing(key), "/mcp");
    let listen = Call::new("subscriptions/listen", r#""notifications":{"toolsListChanged":true}"#);
    let call = Call::tool("there__progress_then_hang", "{}").meta(r#""progressToken":"t""#);
    let streams = vec![("a listener", peer.open(&listen).await), ("a call", peer.open(&call).await)];
    assert!(streams.iter().all(|(_, stream)| stream.status == 200));
    streams
}

async fn a_revoked_key_is_nothing_anywhere(replicas: &Replicas) {
    let mut tries: Vec<Duration> = Vec::new();
    // A machine that stands still for a moment does not do so each time.
    while tries.last().is_none_or(|took| *took >= AT_ONCE) {
        assert!(tries.len() < 3, "what was open went on for {tries:?}");
        tries.push(revoked(replicas).await);
    }
    replicas.server.push(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#);
}

/// How long whatever a key has opened goes on after the key is revoked.
async fn revoked(replicas: &Replicas) -> Duration {
    let (id, key) = replicas.create("ann").await;
    let (_, kept) = replicas.create("bob").await;
    replicas.known_everywhere(&key).await;
    replicas.known_everywhere(&kept).await;
    let mut streams = Vec::new();
    for gateway in &replicas.gateways {
        streams.extend(open(gateway, &key).await);
    }
    replicas.revoke(&id).await;
    let mut longest = Duration::ZERO;
    for (what, took, events) in ends(streams).await {
        longest = longest.max(took);
        assert!(!events.iter().any(|event| event.data.contains("list_changed")), "{what}: {events:?}");
    }
    for gateway in &replicas.gateways {
        assert_eq!(status(gateway, &key).await, 401);
        assert_eq!(status(gateway, &kept).await, 200, "others notice nothing");
    }
    longest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_what_it_opened_at_both_gateways_on_a_database() {
    let replicas = Replicas::start(2, Some(json!({ "url": Server::shared().database() }))).await;
    a_revoked_key_is_nothing_anywhere(&replicas).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_key_ends_what_it_opened_at_both_gateways_on_a_file() {
    let replicas = Replicas::start(2, None).await;
    a_revoked_key_is_nothing_anywhere(&replicas).await;
}

/// What `/readyz` says.
async fn ready(gateway: &Gateway) -> (u16, String) {
    let reply = Http::new(gateway.admin).send(&Ask::new("GET", "/readyz")).await;
    (reply.status, reply.text())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_lived_with_for_a_while() {
    let database = Server::start();
    let url = database.database();
    let replicas = Replicas::start(1, Some(json!({ "url": url, "stale_max_ms": 6000 }))).await;
    let gateway = &replicas.gateways[0];
    let (_, key) = replicas.create("ann").await;
    replicas.known_everywhere(&key).await;
    assert_eq!(ready(gateway).await.0, 200);
    for pause in [true, false] {
        let away = Instant::now();
        if pause {
            database.pause();
        } else {
            database.stop();
        }
        // The last confirmed state is good for a while, then it is not; nobody hangs either way.
        let mut served = Duration::ZERO;
        until("the end of what is confirmed", async || {
            let asked = Instant::now();
            let status = status(gateway, &key).await;
            assert!(asked.elapsed() < Duration::from_secs(5), "a call took {:?}", asked.elapsed());
            match status {
                200 => served = away.elapsed(),
                503 => return Some(()),
                other => panic!("{other}"),
            }
            None
        })
        .await;
        assert!(served > Duration::from_millis(500), "it was served for {served:?} only");
        assert!(served < Duration::from_secs(14), "it was served for {served:?}");
        let (status_now, said) = ready(gateway).await;
        assert_eq!(status_now, 503, "{said}");
        if pause {
            database.resume();
        } else {
            database.start_again();
        }
        until("its return", async || (status(gateway, &key).await == 200).then_some(())).await;
        until("readiness", async || (ready(gateway).await.0 == 200).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_at_the_start_lets_nobody_in_until_it_is_there() {
    let database = Server::start();
    let url = database.database();
    let first = Replicas::start(1, Some(json!({ "url": url }))).await;
    let (_, key) = first.create("ann").await;
    database.stop();
    let second = Replicas::start(1, Some(json!({ "url": url, "when_stale": "serve" }))).await;
    let gateway = &second.gateways[0];
    assert_eq!(status(gateway, &key).await, 503, "what was never known is not served by");
    assert_eq!(ready(gateway).await.0, 503);
    database.start_again();
    until("the key", async || (status(gateway, &key).await == 200).then_some(())).await;
    until("readiness", async || (ready(gateway).await.0 == 200).then_some(())).await;
}
