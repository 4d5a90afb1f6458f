//! Limits of a configuration, as a client meets them, and as operators see them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_database::{Certificate, Redis};

use crate::support::{
    Answer, COUNTERS_AWAY, Folder, Gateway, PATIENCE, get, http, modern, modern_http, notes_config, stderr,
    tollgate, undisturbed,
};

fn call(address: SocketAddr) -> Answer {
    let message = modern(7, "tools/call", json!({ "name": "notes__read", "arguments": { "id": 1 } }));
    http(address, &modern_http(address, &message))
}

fn rules(rules: &str) -> String {
    format!("limits:\n  rules: [ {rules} ]\n{}", notes_config("notes"))
}

#[test]
fn a_limit_holds_and_goes_with_the_file() {
    let folder = Folder::new();
    let limited = rules("{ name: calls, per: [agent], rate: { requests: 2, per: 1h } }");
    let config = folder.write("tollgate.yaml", &limited);
    let gateway = Gateway::start(&config);
    for _ in 0..2 {
        let answer = call(gateway.listen);
        assert!(answer.head.starts_with("HTTP/1.1 200"), "{} {}", answer.head, answer.body);
    }
    let answer = call(gateway.listen);
    assert!(answer.head.starts_with("HTTP/1.1 429"), "{}", answer.head);
    let head = answer.head.to_ascii_lowercase();
    assert!(head.contains("\r\nretry-after: ") && head.contains("\r\nratelimit: \"calls\";r=0;t="), "{head}");
    let body: Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(body["error"]["data"]["dev.tollgate/refusal"]["limit"], "calls");
    let metrics = get(gateway.admin, "/metrics").body;
    assert!(metrics.contains("tollgate_limits_reached_total{limit=\"calls\",of=\"rate\"} 1"), "{metrics}");
    // Another rate, which begins anew.
    folder.write("tollgate.yaml", &rules("{ name: calls, per: [agent], rate: { requests: 4, per: 1h } }"));
    let begun = Instant::now();
    while call(gateway.listen).head.starts_with("HTTP/1.1 429") {
        assert!(begun.elapsed() < PATIENCE, "the change is not taken over");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A gateway that is killed gives out what is left, less the part that it had taken: never more than is allowed in all.
#[test]
fn a_quota_survives_a_kill() {
    const CALLS: usize = 300;
    let folder = Folder::new();
    let quota =
        rules(&format!("{{ name: daily, per: [tenant], quota: {{ calls: {CALLS}, every: month }} }}"));
    let config = folder.write("tollgate.yaml", &quota);
    let mut done = 0;
    for _ in 0..4 {
        let gateway = Gateway::start(&config);
        for _ in 0..25 {
            let answer = call(gateway.listen);
            assert!(answer.head.starts_with("HTTP/1.1 200"), "{} {}", answer.head, answer.body);
            done += 1;
        }
        gateway.process.signal(rustix::process::Signal::KILL);
    }
    let gateway = Gateway::start(&config);
    while call(gateway.listen).head.starts_with("HTTP/1.1 200") {
        done += 1;
        assert!(done <= CALLS, "more than is allowed");
    }
    // A hundredth of it is taken at a time.
    assert!(done >= CALLS - 4 * CALLS / 100, "{done}: more is lost than four gateways had taken");
    let answer = call(gateway.listen);
    assert!(answer.body.contains("\"code\":\"quota_exhausted\""), "{}", answer.body);
}

/// How many calls are let through of so many from each of 64 clients, half of them at each gateway.
fn rush(gateways: &[Gateway], each: usize) -> usize {
    let gateways: Vec<SocketAddr> = gateways.iter().map(|gateway| gateway.listen).collect();
    let clients = (0..64).map(|number| {
        let address = gateways[number % gateways.len()];
        std::thread::spawn(move || {
            (0..each).filter(|_| call(address).head.starts_with("HTTP/1.1 200")).count()
        })
    });
    let clients: Vec<_> = clients.collect();
    clients.into_iter().map(|client| client.join().expect("a client")).sum()
}

fn gateways(count: usize, rule: &str, variables: &[(&str, &str)]) -> (Vec<Folder>, Vec<Gateway>) {
    let text = format!("limits:\n  replicas: 2\n  rules: [ {rule} ]\n{}", notes_config("notes"));
    let folders: Vec<Folder> = (0..count).map(|_| Folder::new()).collect();
    let start = |folder: &Folder| Gateway::start_with(&folder.write("tollgate.yaml", &text), variables);
    let gateways = folders.iter().map(start).collect();
    (folders, gateways)
}

fn joint(burst: usize) -> String {
    format!("{{ name: joint, per: [tenant], rate: {{ requests: {burst}, per: 24h }} }}")
}

/// How a gateway counts, as `/readyz` has it.
fn counters(gateway: &Gateway) -> Value {
    let ready: Value = serde_json::from_str(&get(gateway.admin, "/readyz").body).expect("JSON");
    let degraded = ready["degraded"].as_array().expect("a list");
    let is_told = degraded.iter().any(|part| part["part"] == "counters");
    assert_eq!(is_told, ready["limits"]["counters"] == "away", "{ready}");
    ready["limits"]["counters"].clone()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn two_gateways_hold_a_joint_limit() {
    const BURST: usize = 50;
    let ((redis, _folders, done), mut gateways) = undisturbed(|| {
        let redis = Redis::start();
        let (folders, gateways) = gateways(2, &joint(BURST), &[("REDIS_URL", &redis.url())]);
        let done = rush(&gateways, 3);
        ((redis, folders, done), gateways)
    });
    assert_eq!(done, BURST, "as many as one gateway alone would let through");
    for gateway in &gateways {
        assert_eq!(counters(gateway), "shared");
    }
    // Both know that nothing is left, whether anybody says so or not.
    redis.stop();
    assert_eq!(rush(&gateways, 3), 0);
    for gateway in &mut gateways {
        until("that it is away", || counters(gateway) == "away");
        let metrics = get(gateway.admin, "/metrics").body;
        assert!(metrics.contains("tollgate_shared_counters_away 1"), "it is not told");
        gateway.process.wait_err(COUNTERS_AWAY);
    }
    // It has forgotten everything, and is told by those who know.
    redis.start_again();
    for gateway in &gateways {
        until("that it is back", || counters(gateway) == "shared");
    }
    assert_eq!(rush(&gateways, 3), 0);
}

/// Of what is left when the server goes away each gives out its half, and never more in all than there was.
#[test]
fn gateways_that_cannot_ask_keep_to_their_shares() {
    const BURST: usize = 60;
    let redis = Redis::start();
    let (_folders, gateways) = gateways(2, &joint(BURST), &[("REDIS_URL", &redis.url())]);
    until("that it answers", || gateways.iter().all(|gateway| counters(gateway) == "shared"));
    redis.stop();
    let alone = rush(&gateways, 3);
    assert_eq!(alone, BURST, "halves of a limit of which nothing was used");
    redis.start_again();
    until("that it is back", || gateways.iter().all(|gateway| counters(gateway) == "shared"));
    let again = rush(&gateways, 3);
    assert_eq!(again, 0, "what was given out meanwhile is told");
}

/// A server that takes connections and says nothing holds no call up for long, and nothing is let through uncounted.
#[test]
fn a_server_that_hangs_delays_nobody_for_long() {
    const BURST: usize = 20;
    let redis = Redis::start();
    let (_folders, gateways) = gateways(2, &joint(BURST), &[("REDIS_URL", &redis.url())]);
    until("that it answers", || gateways.iter().all(|gateway| counters(gateway) == "shared"));
    // Its process is started by the first call: what that takes is not looked at.
    assert!(call(gateways[0].listen).head.starts_with("HTTP/1.1 200"));
    redis.pause();
    let begun = Instant::now();
    assert!(call(gateways[0].listen).head.starts_with("HTTP/1.1 200"));
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert!(rush(&gateways, 2) < BURST);
    redis.resume();
    until("that it is back", || gateways.iter().all(|gateway| counters(gateway) == "shared"));
    assert!(rush(&gateways, 2) <= BURST);
}

#[test]
fn counters_are_shared_over_tls_with_whom_the_system_trusts() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let (certificate, key) = (folder.write("own.pem", &certificate), folder.write("own.key", &key));
    let ((redis, _folders, done), both) = undisturbed(|| {
        let redis = Redis::start_tls(Certificate { certificate: certificate.as_ref(), key: key.as_ref() });
        let url = redis.url();
        assert!(url.starts_with("rediss://"));
        let (folders, both) =
            gateways(2, &joint(10), &[("REDIS_URL", &*url), ("SSL_CERT_FILE", &*certificate)]);
        let done = rush(&both, 1);
        ((redis, folders, done), both)
    });
    assert_eq!(done, 10);
    assert!(both.iter().all(|gateway| counters(gateway) == "shared"));
    // Nothing is said to a stranger, and that is told.
    let (_folders, stranger) = gateways(1, &joint(10), &[("REDIS_URL", &*redis.url())]);
    until("that it is not trusted", || counters(&stranger[0]) == "away");
    assert_eq!(rush(&stranger, 1), 5, "its share");
}

#[test]
fn a_url_that_cannot_be_used_is_an_error_that_shows_no_password() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &rules("{ name: calls, rate: { requests: 2 } }"));
    let mut command = tollgate();
    command.args(["serve", "--config", &config, "--listen", "127.0.0.1:0"]);
    let output = command.env("REDIS_URL", "postgres://me:hunter2@127.0.0.1").output().expect("it runs");
    let text = stderr(&output);
    assert!(!output.status.success() && text.contains("REDIS_URL cannot be used"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}
