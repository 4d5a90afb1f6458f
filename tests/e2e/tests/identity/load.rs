//! Many bad credentials, many good ones: bounded time, bounded memory, and a brake.

use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_e2e::gateway::with;
use tollgate_e2e::guarded::{Guarded, declared, resource, trusted, unthrottled};
use tollgate_testkit::fake::{Call, HttpPeer};
use tollgate_testkit::issuer::{Issuer, api_key, mutated};

/// How many mutations of a token are tried.
const MUTATIONS: u64 = 1000;
/// None of them may take longer.
const SLOW: Duration = Duration::from_secs(1);
/// How many callers fill whatever is kept of callers: more than any of it holds.
const FILLED: usize = 5000;
/// How many distinct tokens are presented, each of another caller; `TOLLGATE_TOKENS` for more.
const TOKENS: usize = 10_000;
/// By how many clients at once.
const WORKERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_mutations_of_a_token_open_nothing() {
    let issuer = Issuer::start().await;
    let guarded = Guarded::start(unthrottled(json!({ "issuers": [trusted(&issuer)] }))).await;
    let token = issuer.token(&resource("/mcp"));
    guarded.takes("the token itself", &token).await;
    let before = guarded.reached();
    let ask = HttpPeer::modern(guarded.gateway.listen, "/mcp").ask("1", &Call::tool("new__echo", "{}"));
    let mut slowest = Duration::ZERO;
    for nth in 0..MUTATIONS {
        let bent = mutated(&token, nth);
        let http = guarded.gateway.bearing(&bent);
        let mut took = Duration::MAX;
        let mut reply = None;
        // What takes long has to take long each time: the machine may have stood still.
        for _ in 0..3 {
            let started = Instant::now();
            reply = Some(http.send(&ask).await);
            took = took.min(started.elapsed());
            if took < SLOW {
                break;
            }
        }
        let reply = reply.unwrap();
        slowest = slowest.max(took);
        // A space may make a header out of it that HTTP itself refuses; all else is a credential that is not good.
        assert!((400..=401).contains(&reply.status), "{nth}: {bent}: {}", reply.everything());
    }
    assert!(slowest < SLOW, "{slowest:?}");
    assert_eq!(guarded.reached(), before);
    guarded.takes("the token itself, still", &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_fails_too_often_is_slowed_down_and_counted() {
    let issuer = Issuer::start().await;
    let identity = json!({
        "issuers": [trusted(&issuer)], "keys": [declared("ci")], "failures_max": 5, "failures_window_ms": 60_000,
    });
    let proxies = json!({ "trusted_proxies": ["127.0.0.1/32"] });
    let guarded = Guarded::start_with(identity, proxies).await;
    let ask = HttpPeer::modern(guarded.gateway.listen, "/mcp").ask("1", &Call::tool("new__echo", "{}"));
    let from = |source: &str, token: &str| guarded.gateway.bearing(token).with("X-Forwarded-For", source);
    let (bad, good) = (api_key("nobody"), api_key("ci"));
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(from("203.0.113.7", &bad).send(&ask).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 401, 401, 429, 429, 429, 429, 429]);
    let refused = from("203.0.113.7", &bad).send(&ask).await;
    let wait: u64 = refused.header("retry-after").expect("when to come back").parse().unwrap();
    assert!((1..=60).contains(&wait), "{wait}");

    // Others are not held up, nor is whoever shares the address and has a good key: a brake on guessing must not become
    // a way to lock people out.
    assert_eq!(from("203.0.113.8", &bad).send(&ask).await.status, 401);
    assert_eq!(from("203.0.113.7", &good).send(&ask).await.status, 200);
    // Of IPv6 a whole /64 counts as one.
    for nth in 0..5 {
        from(&format!("2001:db8:1:1::{nth:x}"), &bad).send(&ask).await;
    }
    assert_eq!(from("2001:db8:1:1:ffff::1", &bad).send(&ask).await.status, 429);
    assert_eq!(from("2001:db8:1:2::1", &bad).send(&ask).await.status, 401);

    let text = guarded.gateway.metrics().await;
    let counted: u64 = text
        .lines()
        .filter(|line| line.starts_with("tollgate_") && line.contains("unknown_key"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(counted >= 12, "failed logins are counted by their reason:\n{text}");
    assert!(!text.contains("203.0.113"), "no address is a label");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_of_tokens_is_not_remembered_for_ever() {
    let issuer = Issuer::start().await;
    let identity = with(&json!({ "issuers": [trusted(&issuer)] }), json!({ "remembered_max": 500 }));
    let guarded = Guarded::start(unthrottled(identity)).await;
    let count = std::env::var("TOLLGATE_TOKENS").ok().and_then(|n| n.parse().ok()).unwrap_or(TOKENS);
    let crowd = async |numbers: std::ops::Range<usize>| {
        let work = |first: usize| {
            let (guarded, issuer) = (&guarded, &issuer);
            let numbers = numbers.clone().skip(first).step_by(WORKERS);
            async move {
                for nth in numbers {
                    let claims =
                        json!({ "sub": format!("user-{nth}"), "client_id": format!("client-{}", nth % 500) });
                    let token = issuer.token_with(&resource("/mcp"), claims);
                    // What somebody sees is kept for a while too.
                    let method = if nth % 16 == 0 { "tools/list" } else { "server/discover" };
                    let mut peer = HttpPeer::modern(guarded.gateway.bearing(&token), "/mcp");
                    assert_eq!(peer.request(&Call::new(method, "")).await.status, 200, "token {nth}");
                }
            }
        };
        tokio::join!(work(0), work(1), work(2), work(3));
    };
    crowd(0..FILLED).await;
    guarded.gateway.reset_memory_peak();
    let before = guarded.gateway.memory_peak_kib();
    crowd(FILLED..count).await;
    let grown = guarded.gateway.memory_peak_kib().saturating_sub(before);
    assert!(grown < 16 * 1024, "{count} tokens took {grown} KiB more than {FILLED} of them");
}
