//! Several replicas of one server, over real sockets.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tollgate_model::{Code, Era};
use tollgate_upstream::{
    Avoid, HealthSettings, HttpSettings, Link, OutlierSettings, ReplicaHealth, ReplicaSettings, Server,
    ServerSettings, SettingsError, Transport, UpstreamError,
};

use crate::fake::{
    Answer, Fake, Seen, discovery, event, events, greeting, json_answer, refusal, response, status, text,
};
use crate::{LONG, anyone, call, caller, eventually, server, settings, text_of};

/// What a fake does at a call: it answers with its name, unless it is told to do worse.
#[derive(Default)]
struct Mood {
    /// Answers every request with this status alone; 0: it does not.
    status: AtomicUsize,
    /// Answers calls with an error of the tool's, or of JSON-RPC.
    complains: AtomicBool,
    /// Answers calls with this status alone; 0: it does not.
    calls: AtomicUsize,
    /// Answers every second call with status 500.
    stumbles: AtomicBool,
    stumbled: AtomicUsize,
    /// Answers checks with this status; 0: with 204.
    checks: AtomicUsize,
    /// Leaves calls unanswered until it is told otherwise.
    hangs: AtomicBool,
    /// Answers nothing at all any more.
    silent: AtomicBool,
    wakes: tokio::sync::Notify,
}

impl Mood {
    async fn call(&self, request: &Seen, name: &str) -> Answer {
        if self.hangs.load(Ordering::SeqCst) {
            self.wakes.notified().await;
        }
        if self.stumbles.load(Ordering::SeqCst)
            && self.stumbled.fetch_add(1, Ordering::SeqCst).is_multiple_of(2)
        {
            return status(500);
        }
        match self.calls.load(Ordering::SeqCst) {
            0 => {}
            code => return status(u16::try_from(code).unwrap()),
        }
        if self.complains.load(Ordering::SeqCst) {
            return match request.tool() {
                "tool" => json_answer(&response(
                    request,
                    &json!({"isError": true, "content": [{"type": "text", "text": "no"}]}),
                )),
                code => refusal(
                    code.parse().unwrap(),
                    &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32603, "message": "no"}}),
                ),
            };
        }
        json_answer(&text(request, name))
    }
}

/// A replica that tells its name.
struct Peer {
    fake: Fake,
    mood: Arc<Mood>,
}

impl Peer {
    async fn modern(name: &'static str) -> Self {
        Self::start(name, |request, _| discovery(request)).await
    }

    /// One with sessions; it refuses those that it does not know.
    async fn legacy(name: &'static str) -> Self {
        Self::start(name, |request, name| {
            if request.rpc() == "initialize" { greeting(request, name, &json!({})) } else { status(400) }
        })
        .await
    }

    async fn start(name: &'static str, greet: fn(&Seen, &str) -> Answer) -> Self {
        let mood = Arc::new(Mood::default());
        let own = Arc::clone(&mood);
        let fake = Fake::start(move |request: Seen| {
            let mood = Arc::clone(&own);
            async move {
                if mood.silent.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                match mood.status.load(Ordering::SeqCst) {
                    0 => {}
                    code => return status(u16::try_from(code).unwrap()),
                }
                if request.path == "/healthz" {
                    let code = mood.checks.load(Ordering::SeqCst);
                    return status(if code == 0 { 204 } else { u16::try_from(code).unwrap() });
                }
                match request.rpc() {
                    "server/discover" | "initialize" => greet(&request, name),
                    "notifications/initialized" => status(202),
                    _ if request.method == http::Method::GET => status(405),
                    _ if !request.header("mcp-session-id").is_empty()
                        && request.header("mcp-session-id") != name =>
                    {
                        status(404)
                    }
                    _ => mood.call(&request, name).await,
                }
            }
        })
        .await;
        Self { fake, mood }
    }

    fn at(&self) -> ReplicaSettings {
        ReplicaSettings::new(self.fake.url())
    }

    fn calls(&self) -> usize {
        self.fake.seen("tools/call").len()
    }

    fn fails_with(&self, code: usize) {
        self.mood.status.store(code, Ordering::SeqCst);
    }

    fn fails_calls_with(&self, code: usize) {
        self.mood.calls.store(code, Ordering::SeqCst);
    }
}

fn of(replicas: Vec<ReplicaSettings>) -> ServerSettings {
    settings(Transport::Http(HttpSettings::of(replicas).unwrap()))
}

fn weighing(peer: &Peer, weight: u32) -> ReplicaSettings {
    ReplicaSettings { weight, ..peer.at() }
}

async fn open(server: &Server) -> Link {
    server.open_for(&anyone(), "tools/call").await.unwrap()
}

/// Who answers one call.
async fn who(server: &Server) -> String {
    text_of(&open(server).await, "x", &json!({})).await
}

async fn tally(server: &Server, calls: usize) -> HashMap<String, usize> {
    let mut tally = HashMap::new();
    for _ in 0..calls {
        *tally.entry(who(server).await).or_default() += 1;
    }
    tally
}

/// One call, however it ends.
async fn fails(server: &Server) -> Option<UpstreamError> {
    let link = match server.open_for(&anyone(), "tools/call").await {
        Ok(link) => link,
        Err(error) => return Some(error),
    };
    call(&link, "x", &json!({})).await.err()
}

fn health(server: &Server, number: usize) -> &'static str {
    server.status().replicas[number].health.as_str()
}

#[tokio::test]
async fn requests_are_spread_by_weight_and_one_of_weight_0_gets_none() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await, Peer::modern("c").await];
    let (server, _events) =
        server(of(vec![weighing(&peers[0], 9), weighing(&peers[1], 3), weighing(&peers[2], 0)]));
    let tally = tally(&server, 600).await;
    // 450 and 150 are meant; five standard deviations are 53.
    assert!((397..=503).contains(&tally["a"]), "{tally:?}");
    assert_eq!(tally["a"] + tally["b"], 600, "{tally:?}");
    let status = server.status().replicas;
    assert_eq!(status.iter().map(|replica| replica.answered).sum::<u64>(), 600);
    assert_eq!(*status[0].name, *peers[0].fake.address.to_string());
    let link = open(&server).await;
    assert!(status[..2].iter().any(|replica| Some(&replica.name) == link.replica()));
}

/// A canary is idle nearly always, and the others nearly never are: it gets its share of the requests all the same.
#[tokio::test]
async fn one_of_little_weight_gets_no_more_while_the_others_have_something_under_way() {
    let peers = [Peer::modern("usual").await, Peer::modern("canary").await];
    let (server, _events) = server(of(vec![weighing(&peers[0], 19), weighing(&peers[1], 1)]));
    peers[0].mood.hangs.store(true, Ordering::SeqCst);
    let calling = server.clone();
    let held = tokio::spawn(async move { while who(&calling).await != "usual" {} });
    eventually(|| (peers[0].calls() == 1).then_some(())).await;
    peers[0].mood.hangs.store(false, Ordering::SeqCst);
    let tally = tally(&server, 400).await;
    // 20 are meant; five standard deviations are 22.
    assert!(tally.get("canary").is_none_or(|count| *count <= 42), "{tally:?}");
    peers[0].mood.wakes.notify_waiters();
    held.await.unwrap();
}

#[tokio::test]
async fn a_replica_with_much_under_way_gets_less() {
    let peers = [Peer::modern("slow").await, Peer::modern("quick").await];
    peers[0].mood.hangs.store(true, Ordering::SeqCst);
    let (server, _events) = server(of(vec![peers[0].at(), peers[1].at()]));
    let mut under_way = tokio::task::JoinSet::new();
    for number in 1..=40 {
        let calling = server.clone();
        under_way.spawn(async move { who(&calling).await });
        eventually(|| (peers[0].calls() + peers[1].calls() == number).then_some(())).await;
        // What the quick one has been given is answered before the next.
        eventually(|| (server.status().replicas[1].in_flight == 0).then_some(())).await;
    }
    assert!(peers[0].calls() <= 1, "{} went to the one that does not answer", peers[0].calls());
    peers[0].mood.hangs.store(false, Ordering::SeqCst);
    peers[0].mood.wakes.notify_waiters();
    while under_way.join_next().await.is_some() {}
}

#[tokio::test]
async fn a_dead_replica_is_left_alone_and_comes_back_without_a_caller_noticing() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 3;
    settings.timeouts.backoff_max = Duration::from_millis(50);
    let (server, _events) = server(settings);
    assert_eq!(tally(&server, 100).await.len(), 2);
    peers[0].fails_with(503);
    let mut failed = 0;
    while health(&server, 0) == "well" {
        failed += usize::from(fails(&server).await.is_some());
    }
    assert_eq!(failed, 3);
    // Meanwhile it is looked at again and again, by nobody's request.
    let looks = peers[0].fake.seen("server/discover").len();
    let until = std::time::Instant::now() + LONG;
    while peers[0].fake.seen("server/discover").len() < looks + 3 && std::time::Instant::now() < until {
        assert_eq!(who(&server).await, "b");
    }
    assert!(matches!(server.status().replicas[0].health, ReplicaHealth::Ejected { .. }));
    assert_eq!(server.status().replicas[0].ejections, 1);
    peers[0].fails_with(0);
    while who(&server).await != "a" {}
    assert_eq!(health(&server, 0), "well");
    let tally = tally(&server, 100).await;
    assert_eq!(tally.len(), 2, "{tally:?}");
}

/// Of a replica that is greeted, and answers no call, calls find out; each time it is tried with one.
#[tokio::test]
async fn a_replica_that_is_back_is_tried_with_one_request_before_it_is_trusted() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 2;
    let (server, _events) = server(settings);
    peers[0].fails_calls_with(500);
    while health(&server, 0) == "well" {
        let _ = fails(&server).await;
    }
    let before = peers[0].calls();
    let mut failed = 0;
    while failed < 2 {
        failed += usize::from(fails(&server).await.is_some());
        if failed == 1 {
            assert_ne!(health(&server, 0), "well", "one failure is enough while it is tried");
        }
    }
    assert_eq!(peers[0].calls() - before, 2, "each is one call that failed");
    peers[0].fails_calls_with(0);
    while who(&server).await != "a" {}
    assert_eq!(health(&server, 0), "well");
}

#[tokio::test]
async fn never_are_all_left_alone_and_where_none_is_well_all_are_used() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await, Peer::modern("c").await];
    let mut settings = of(peers.iter().map(Peer::at).collect());
    settings.circuit.failures_max = 2;
    settings.circuit.ejected_percent_max = 34;
    settings.timeouts.backoff_min = Duration::from_mins(10);
    settings.timeouts.backoff_max = Duration::from_mins(10);
    let (server, _events) = server(settings);
    assert_eq!(tally(&server, 100).await.len(), 3);
    for peer in &peers {
        peer.fails_calls_with(500);
    }
    for _ in 0..100 {
        assert!(fails(&server).await.is_some());
    }
    let healths: Vec<_> = (0..3).map(|number| health(&server, number)).collect();
    assert_eq!(healths.iter().filter(|health| **health == "ejected").count(), 1, "{healths:?}");
    assert_eq!(healths.iter().filter(|health| **health == "failing").count(), 2, "{healths:?}");
    let alone = healths.iter().position(|health| *health == "ejected").unwrap();
    let before = peers[alone].calls();
    for _ in 0..50 {
        let _ = fails(&server).await;
    }
    assert!(peers[alone].calls() > before, "where none is well, all are used");
}

#[tokio::test]
async fn the_next_priority_is_used_while_too_few_of_the_first_are_well() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await, Peer::modern("spare").await];
    let spare = ReplicaSettings { priority: 1, ..peers[2].at() };
    let mut settings = of(vec![spare, peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 1;
    settings.timeouts.backoff_max = Duration::from_millis(50);
    let (server, _events) = server(settings);
    let calm = tally(&server, 100).await;
    assert_eq!(calm.get("spare"), None, "{calm:?}");
    peers[0].fails_with(500);
    while health(&server, 1) == "well" {
        let _ = fails(&server).await;
    }
    assert_eq!(tally(&server, 30).await["b"], 30, "half of them are well, which is enough");
    peers[1].fails_with(500);
    while health(&server, 2) == "well" {
        let _ = fails(&server).await;
    }
    assert_eq!(tally(&server, 30).await["spare"], 30);
    peers[0].fails_with(0);
    while who(&server).await != "a" {}
    assert_eq!(tally(&server, 30).await["a"], 30, "back to the first as soon as enough are well");
}

#[tokio::test]
async fn a_pinned_version_is_the_only_one_that_is_used() {
    let peers = [Peer::modern("old").await, Peer::modern("new").await];
    let of_version = |peer: &Peer, version: &str, weight| ReplicaSettings {
        version: Some(version.into()),
        ..weighing(peer, weight)
    };
    let mut http =
        HttpSettings::of(vec![of_version(&peers[0], "1.2", 1), of_version(&peers[1], "1.3", 0)]).unwrap();
    let (unpinned, _events) = server(settings(Transport::Http(http.clone())));
    assert_eq!(tally(&unpinned, 20).await["old"], 20);
    http.pinned = Some("1.3".into());
    let (pinned, _events) = server(settings(Transport::Http(http.clone())));
    assert_eq!(tally(&pinned, 20).await["new"], 20, "also with no weight");
    assert_eq!(health(&pinned, 0), "unused");
    // What it cannot answer, no other version does.
    peers[1].fails_with(500);
    for _ in 0..10 {
        assert!(fails(&pinned).await.is_some());
    }
    assert_eq!(peers[0].calls(), 20);
    http.pinned = Some("1.4".into());
    let (events, _) = tokio::sync::mpsc::channel(1);
    let refused = Server::new(settings(Transport::Http(http)), events).unwrap_err();
    assert_eq!(refused, SettingsError::Pinned);
}

#[tokio::test]
async fn a_legacy_session_stays_on_its_replica_until_that_is_lost() {
    let peers = [Peer::legacy("a").await, Peer::legacy("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 1;
    let (server, _events) = server(settings);
    let mut homes = HashMap::new();
    for round in 0..4 {
        for number in 0..20 {
            let client = caller("someone", Some(&format!("session-{number}")), &json!({}));
            let link = server.open_for(&client, "tools/call").await.unwrap();
            assert_eq!(link.era(), Era::Legacy);
            let home = text_of(&link, "x", &json!({})).await;
            assert_eq!(homes.entry(number).or_insert_with(|| home.clone()), &home, "round {round}");
        }
    }
    assert!(homes.values().any(|home| home == "a") && homes.values().any(|home| home == "b"));
    assert_eq!(peers[0].fake.seen("initialize").len() + peers[1].fake.seen("initialize").len(), 20);
    peers[0].fails_with(502);
    let lost = *homes.iter().find(|(_, home)| *home == "a").unwrap().0;
    let client = caller("someone", Some(&format!("session-{lost}")), &json!({}));
    let link = server.open_for(&client, "tools/call").await.unwrap();
    assert!(call(&link, "x", &json!({})).await.is_err());
    // The replica is left alone, and the session begun anew on the other one.
    let link = server.open_for(&client, "tools/call").await.unwrap();
    assert_eq!(text_of(&link, "x", &json!({})).await, "b");
    server.stop(Duration::ZERO).await;
}

/// Clients list before they call, and lists are read from the version that most requests go to.
#[tokio::test]
async fn sessions_are_spread_over_versions_whatever_is_asked_in_them_first() {
    let peers = [Peer::legacy("usual").await, Peer::legacy("canary").await];
    let of_version =
        |peer: &Peer, version: &str| ReplicaSettings { version: Some(version.into()), ..peer.at() };
    let (server, _events) = server(of(vec![of_version(&peers[0], "1"), of_version(&peers[1], "2")]));
    let mut homes = HashMap::<_, usize>::new();
    for number in 0..40 {
        let client = caller("someone", Some(&format!("session-{number}")), &json!({}));
        let heard = server.open(&client).await.unwrap();
        let link = server.open_for(&client, "tools/call").await.unwrap();
        assert_eq!(heard.replica(), link.replica(), "it stays where it was begun");
        *homes.entry(text_of(&link, "x", &json!({})).await).or_default() += 1;
    }
    assert!(homes.contains_key("usual") && homes.contains_key("canary"), "{homes:?}");
    // Who has no session, as the gateway itself, hears of the version that most requests go to.
    let client = caller("gateway", None, &json!({}));
    assert_eq!(server.open(&client).await.unwrap().replica(), Some(&server.status().replicas[0].name));
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_legacy_server_that_keeps_nothing_is_used_on_every_replica() {
    let peers = [Peer::legacy("a").await, Peer::legacy("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.legacy_sessions = tollgate_upstream::LegacySessions::Stateless;
    let (server, _events) = server(settings);
    let client = caller("someone", None, &json!({}));
    let mut seen = HashMap::<_, usize>::new();
    for _ in 0..60 {
        let link = server.open_for(&client, "tools/call").await.unwrap();
        *seen.entry(text_of(&link, "x", &json!({})).await).or_default() += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(peers.map(|peer| peer.fake.seen("initialize").len()), [1, 1]);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn replicas_may_speak_different_eras() {
    let peers = [Peer::modern("modern").await, Peer::legacy("legacy").await];
    let (server, _events) = server(of(vec![peers[0].at(), peers[1].at()]));
    let mut eras = HashMap::new();
    for number in 0..40 {
        let client = caller("someone", Some(&format!("session-{number}")), &json!({}));
        let link = server.open_for(&client, "tools/call").await.unwrap();
        let name = text_of(&link, "x", &json!({})).await;
        eras.insert(name, link.era());
    }
    assert_eq!(eras, HashMap::from([("modern".to_owned(), Era::Modern), ("legacy".to_owned(), Era::Legacy)]));
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_a_server_says_in_mcp_never_speaks_against_its_health() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 2;
    let (server, _events) = server(settings);
    for peer in &peers {
        peer.mood.complains.store(true, Ordering::SeqCst);
    }
    for tool in ["tool", "200", "400", "404", "422", "429", "500", "503"] {
        for _ in 0..20 {
            let (_, response) = call(&open(&server).await, tool, &json!({})).await.unwrap();
            assert!(
                response["error"]["code"] == -32603 || response["result"]["isError"] == true,
                "{response}"
            );
        }
    }
    for peer in &peers {
        peer.fails_calls_with(429);
    }
    for _ in 0..20 {
        assert!(fails(&server).await.is_some());
    }
    let status = server.status().replicas;
    assert!(status.iter().all(|replica| (replica.ejections, replica.failed) == (0, 0)), "{status:?}");
}

#[tokio::test]
async fn an_only_replica_that_answers_nothing_fails_fast_until_a_trial_is_answered() {
    let peer = Peer::modern("a").await;
    let mut settings = of(vec![peer.at()]);
    settings.circuit.failures_max = 3;
    let alone = Duration::from_secs(3);
    settings.timeouts.backoff_min = alone;
    settings.timeouts.backoff_max = alone;
    let (server, _events) = server(settings);
    assert_eq!(open(&server).await.replica(), None, "there is nothing to tell apart");
    peer.fails_calls_with(500);
    for _ in 0..3 {
        assert_eq!(fails(&server).await.map(|error| error.code()), Some(Code::UpstreamProtocol));
    }
    for _ in 0..10 {
        let error = fails(&server).await.expect("it is left alone");
        assert_eq!(error.code(), Code::UpstreamUnavailable);
        assert!(error.had_no_effect());
        assert!(error.retry_after().is_some_and(|wait| wait <= alone), "{error:?}");
    }
    assert_eq!(peer.calls(), 3, "nobody asks it");
    let ReplicaHealth::Ejected { until } = server.status().replicas[0].health else {
        panic!("it is ejected")
    };
    assert!(until > std::time::SystemTime::now());
    // After the wait one request is let through, and its failure is enough.
    eventually(|| (std::time::SystemTime::now() > until).then_some(())).await;
    for _ in 0..10 {
        assert!(fails(&server).await.is_some());
    }
    assert_eq!(peer.calls(), 4);
    peer.fails_calls_with(0);
    let mut refused = 0;
    while fails(&server).await.is_some() {
        refused += 1;
        assert!(refused < 1_000_000);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(health(&server, 0), "well");
    assert_eq!(tally(&server, 10).await["a"], 10);
}

#[tokio::test]
async fn who_asks_what_a_server_has_does_not_wait_for_one_that_hangs() {
    let peer = Peer::modern("a").await;
    let mut settings = of(vec![peer.at()]);
    settings.circuit.failures_max = 2;
    settings.timeouts.backoff_min = Duration::from_millis(50);
    settings.timeouts.backoff_max = Duration::from_millis(50);
    settings.timeouts.probe = Duration::from_mins(10);
    let (server, _events) = server(settings);
    open(&server).await;
    peer.fails_calls_with(500);
    assert!(fails(&server).await.is_some() && fails(&server).await.is_some());
    peer.mood.silent.store(true, Ordering::SeqCst);
    let ReplicaHealth::Ejected { until } = server.status().replicas[0].health else {
        panic!("it is ejected")
    };
    eventually(|| (std::time::SystemTime::now() > until).then_some(())).await;
    for _ in 0..3 {
        let asked = tokio::time::timeout(Duration::from_mins(1), server.open(&anyone())).await;
        let error = asked.expect("nobody waits for the look").map(drop).expect_err("it is left alone");
        assert_eq!(error.code(), Code::UpstreamUnavailable);
    }
}

#[tokio::test]
async fn who_asks_what_a_server_has_gets_one_that_is_back_at_once() {
    let peer = Peer::modern("a").await;
    let mut settings = of(vec![peer.at()]);
    settings.circuit.failures_max = 2;
    settings.timeouts.backoff_min = Duration::from_millis(50);
    settings.timeouts.backoff_max = Duration::from_millis(50);
    let (server, _events) = server(settings);
    open(&server).await;
    peer.fails_calls_with(500);
    assert!(fails(&server).await.is_some() && fails(&server).await.is_some());
    let ReplicaHealth::Ejected { until } = server.status().replicas[0].health else {
        panic!("it is ejected")
    };
    eventually(|| (std::time::SystemTime::now() > until).then_some(())).await;
    peer.fails_calls_with(0);
    let link = server.open(&anyone()).await.expect("it is back");
    assert_eq!(text_of(&link, "x", &json!({})).await, "a");
    assert_eq!(health(&server, 0), "well");
}

#[tokio::test]
async fn what_failed_on_one_replica_can_be_asked_of_another() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let (server, _events) = server(of(vec![weighing(&peers[0], 1_000_000), weighing(&peers[1], 1)]));
    let first = open(&server).await;
    for _ in 0..20 {
        let avoid = Avoid::default().and(&first);
        let other = server.open_where(&anyone(), "tools/call", None, avoid).await.unwrap();
        assert_ne!(other.replica(), first.replica());
        // If there is no other, the same.
        let any = server.open_where(&anyone(), "tools/call", None, avoid.and(&other)).await.unwrap();
        assert!(any.replica().is_some());
    }
}

#[tokio::test]
async fn what_a_replica_keeps_is_asked_for_there_while_it_can_be() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.failures_max = 1;
    let (server, _events) = server(settings);
    let name = server.status().replicas[1].name.clone();
    for _ in 0..30 {
        let link = server.open_where(&anyone(), "tasks/get", Some(&*name), Avoid::default()).await.unwrap();
        assert_eq!(link.replica(), Some(&name));
    }
    peers[1].fails_with(503);
    let link = server.open_where(&anyone(), "tasks/get", Some(&*name), Avoid::default()).await.unwrap();
    assert!(call(&link, "x", &json!({})).await.is_err());
    let link = server.open_where(&anyone(), "tasks/get", Some(&*name), Avoid::default()).await.unwrap();
    assert_ne!(link.replica(), Some(&name));
}

#[tokio::test]
async fn a_halted_server_is_asked_on_no_replica() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let (server, _events) = server(of(vec![peers[0].at(), peers[1].at()]));
    assert_eq!(tally(&server, 60).await.len(), 2);
    server.halt(Duration::ZERO).await;
    for _ in 0..10 {
        assert_eq!(fails(&server).await.map(|error| error.code()), Some(Code::Draining));
    }
    server.go_on();
    assert_eq!(tally(&server, 60).await.len(), 2);
}

fn checking(path: Option<&'static str>) -> HealthSettings {
    HealthSettings {
        interval: Duration::from_millis(10),
        unhealthy_after: 2,
        path: path.map(http::uri::PathAndQuery::from_static),
        ..HealthSettings::default()
    }
}

#[tokio::test]
async fn a_replica_whose_checks_fail_is_left_alone_until_they_do_not() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.health = Some(checking(Some("/healthz")));
    let (server, _events) = server(settings);
    assert_eq!(tally(&server, 60).await.len(), 2);
    peers[0].mood.checks.store(503, Ordering::SeqCst);
    eventually(|| (health(&server, 0) == "ejected").then_some(())).await;
    let before = peers[0].calls();
    assert_eq!(tally(&server, 60).await["b"], 60, "though it would answer");
    assert_eq!(peers[0].calls(), before);
    peers[0].mood.checks.store(0, Ordering::SeqCst);
    eventually(|| (health(&server, 0) == "well").then_some(())).await;
    assert_eq!(tally(&server, 60).await.len(), 2);
    assert_eq!(server.status().replicas[1].ejections, 0);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn an_only_replica_that_does_not_answer_when_looked_at_is_not_asked() {
    for peer in [Peer::modern("a").await, Peer::legacy("a").await] {
        let mut settings = of(vec![peer.at()]);
        settings.health = Some(checking(None));
        let (server, _events) = server(settings);
        assert_eq!(who(&server).await, "a");
        peer.fails_with(503);
        eventually(|| (health(&server, 0) == "ejected").then_some(())).await;
        let calls = peer.calls();
        for _ in 0..10 {
            assert_eq!(fails(&server).await.map(|error| error.code()), Some(Code::UpstreamUnavailable));
        }
        assert_eq!(peer.calls(), calls);
        peer.fails_with(0);
        eventually(|| (health(&server, 0) == "well").then_some(())).await;
        assert_eq!(who(&server).await, "a");
        server.stop(Duration::ZERO).await;
    }
}

#[tokio::test]
async fn nobody_is_looked_at_unless_that_is_configured() {
    let peer = Peer::modern("a").await;
    let (server, _events) = server(of(vec![peer.at()]));
    assert_eq!(tally(&server, 100).await["a"], 100);
    assert_eq!(peer.fake.seen("server/discover").len(), 1);
    assert!(peer.fake.of_method(&http::Method::GET).is_empty());
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn a_replica_that_answers_less_than_the_others_is_left_alone() {
    let peers = [Peer::modern("a").await, Peer::modern("b").await];
    let mut settings = of(vec![peers[0].at(), peers[1].at()]);
    settings.circuit.outliers = Some(OutlierSettings {
        interval: Duration::from_millis(500),
        requests_min: 10,
        ..OutlierSettings::default()
    });
    settings.timeouts.backoff_min = Duration::from_mins(10);
    settings.timeouts.backoff_max = Duration::from_mins(10);
    let (server, _events) = server(settings);
    peers[0].mood.stumbles.store(true, Ordering::SeqCst);
    let until = std::time::Instant::now() + LONG;
    while health(&server, 0) == "well" && std::time::Instant::now() < until {
        let _ = fails(&server).await;
    }
    assert_eq!(health(&server, 0), "ejected", "it never failed twice in a row");
    assert_eq!(health(&server, 1), "well");
    assert_eq!(tally(&server, 30).await["b"], 30);
    server.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn what_the_server_has_is_heard_from_the_version_that_most_requests_go_to() {
    let peers = [Peer::modern("canary").await, Peer::modern("a").await, Peer::modern("b").await];
    let of_version = |peer: &Peer, version: &str, weight| ReplicaSettings {
        version: Some(version.into()),
        ..weighing(peer, weight)
    };
    let replicas =
        vec![of_version(&peers[0], "2", 15), of_version(&peers[1], "1", 10), of_version(&peers[2], "1", 10)];
    let mut settings = of(replicas);
    settings.circuit.failures_max = 1;
    let (server, _events) = server(settings);
    let status = server.status().replicas;
    for _ in 0..40 {
        assert_ne!(server.open(&anyone()).await.unwrap().replica(), Some(&status[0].name));
    }
    assert!(tally(&server, 60).await.contains_key("canary"), "calls go there");
    for peer in &peers[1..] {
        peer.fails_with(503);
    }
    while health(&server, 1) == "well" || health(&server, 2) == "well" {
        let _ = fails(&server).await;
    }
    assert_eq!(server.open(&anyone()).await.unwrap().replica(), Some(&status[0].name));
}

#[tokio::test]
async fn changes_of_lists_are_heard_from_another_replica_when_the_one_is_lost() {
    let streams: [Arc<std::sync::Mutex<Vec<tokio::sync::mpsc::Sender<String>>>>; 2] = Default::default();
    let dead = Arc::new(AtomicUsize::new(usize::MAX));
    let mut fakes = Vec::new();
    for number in 0..2 {
        let (streams, dead) = (Arc::clone(&streams[number]), Arc::clone(&dead));
        let answer = move |request: Seen| {
            let (streams, dead) = (Arc::clone(&streams), Arc::clone(&dead));
            async move {
                if dead.load(Ordering::SeqCst) == number {
                    return status(503);
                }
                match request.rpc() {
                    "server/discover" => json_answer(&response(
                        &request,
                        &json!({"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {"listChanged": true}}}),
                    )),
                    "subscriptions/listen" => {
                        let (sender, answer) = events();
                        let acknowledged = json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
                            "params": {"notifications": {"toolsListChanged": true}}});
                        sender.send(event(&acknowledged)).await.unwrap();
                        streams.lock().unwrap().push(sender);
                        answer
                    }
                    _ => json_answer(&text(&request, "fine")),
                }
            }
        };
        fakes.push(Fake::start(answer).await);
    }
    let mut settings = of(fakes.iter().map(|fake| ReplicaSettings::new(fake.url())).collect());
    settings.circuit.failures_max = 1;
    let (server, mut told) = server(settings);
    while fakes.iter().any(|fake| fake.seen("tools/call").is_empty()) {
        assert_eq!(who(&server).await, "fine");
    }
    let heard = eventually(|| (0..2).find(|number| !streams[*number].lock().unwrap().is_empty())).await;
    assert!(streams[1 - heard].lock().unwrap().is_empty(), "one is listened to");
    dead.store(heard, Ordering::SeqCst);
    streams[heard].lock().unwrap().clear();
    while health(&server, heard) == "well" {
        let _ = fails(&server).await;
    }
    let stream = eventually(|| streams[1 - heard].lock().unwrap().pop()).await;
    // What changed meanwhile may have been missed.
    let mut next = async || tokio::time::timeout(LONG, told.recv()).await.expect("in time").unwrap();
    let missed = next().await;
    assert_eq!(missed.kind, tollgate_upstream::EventKind::ToolsChanged);
    missed.is_taken();
    let changed = json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"});
    stream.send(event(&changed)).await.unwrap();
    assert_eq!(next().await.kind, tollgate_upstream::EventKind::ToolsChanged);
    server.stop(Duration::ZERO).await;
}
