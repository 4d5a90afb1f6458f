//! Issuers that are away, slow, huge or elsewhere. Callers whose keys are known already do not notice; others are told in
//! time that nobody can say who they are, and the gateway stays up.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_e2e::gateway::with;
use tollgate_e2e::guarded::{Guarded, declared, resource, trusted, unthrottled};
use tollgate_e2e::provider::{GATEWAY, Provider, access_token};
use tollgate_testkit::fake::{Call, HttpPeer, soon, until};
use tollgate_testkit::issuer::{Conduct, Issuer, Key, api_key};

const KEYS: &str = "/jwks";

/// A gateway that trusts an issuer, and a client with a key, which needs none. It waits long for the issuer, unless told otherwise.
async fn before(issuer: &Issuer, members: Value) -> Guarded {
    let trusted = with(&with(&trusted(issuer), json!({ "timeout_ms": 10_000 })), members);
    Guarded::start(unthrottled(json!({ "issuers": [trusted], "keys": [declared("ci")] }))).await
}

/// Asserts that a token is answered in time with a refusal that says that nobody is to blame here, and that others are
/// served meanwhile.
async fn cannot_be_found_out(guarded: &Guarded, what: &str, token: &str) {
    let started = Instant::now();
    let mut peer = HttpPeer::modern(guarded.gateway.bearing(token), "/mcp");
    let call = Call::tool("new__echo", "{}");
    let key = api_key("ci");
    let (answer, ()) = tokio::join!(peer.request(&call), guarded.takes("a key meanwhile", &key));
    assert_eq!(answer.status, 503, "{what}: {answer:?}");
    assert!(started.elapsed() < Duration::from_secs(15), "{what}: {:?}", started.elapsed());
    assert_eq!(answer.refusal(), "identity_unavailable", "{what}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_away_or_talks_nonsense_lets_nobody_in() {
    for (what, conduct) in [
        ("down", Conduct::Status(500)),
        ("gone", Conduct::Status(404)),
        ("silent", Conduct::Never),
        ("too slow", Conduct::After(Duration::from_secs(3))),
        ("huge", Conduct::Huge(64 * 1024 * 1024)),
        ("no JSON", Conduct::Says("<html>".to_owned())),
        ("no key set", Conduct::Says("[]".to_owned())),
        ("elsewhere", Conduct::Redirect("/other".to_owned())),
    ] {
        for path in [KEYS, "/.well-known/openid-configuration"] {
            let issuer = Issuer::start().await;
            issuer.behave(path, conduct.clone());
            if path != KEYS {
                issuer.behave("/.well-known/oauth-authorization-server", conduct.clone());
            }
            let guarded = before(&issuer, json!({ "timeout_ms": 1000 })).await;
            let token = issuer.token(&resource("/mcp"));
            cannot_be_found_out(&guarded, &format!("{what} at {path}"), &token).await;
            // It comes back, and so does the caller.
            issuer.behave(path, Conduct::Proper);
            issuer.behave("/.well-known/oauth-authorization-server", Conduct::Proper);
            until(&format!("{what} at {path} is over"), async || {
                (guarded.status(&token).await == 200).then_some(())
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_are_known_outlive_an_issuer_that_is_away() {
    let issuer = Issuer::start().await;
    let guarded = before(&issuer, json!({ "keys_fresh_ms": 1000, "timeout_ms": 6000 })).await;
    guarded.takes("at first", &issuer.token(&resource("/mcp"))).await;
    for conduct in [Conduct::Status(503), Conduct::Never, Conduct::Says("{}".to_owned())] {
        issuer.behave(KEYS, conduct.clone());
        let asked = issuer.asked(KEYS);
        // Once the keys are old, they are asked for again, in the background.
        until(&format!("a request while {conduct:?}"), async || {
            let started = Instant::now();
            guarded.takes(&format!("{conduct:?}"), &issuer.token(&resource("/mcp"))).await;
            assert!(started.elapsed() < Duration::from_secs(5), "nobody waits for {conduct:?}");
            (issuer.asked(KEYS) > asked).then_some(())
        })
        .await;
        guarded.takes(&format!("after {conduct:?}"), &issuer.token(&resource("/mcp"))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_leads_nowhere() {
    // Whatever listens there must never be asked: it stands for a service on the inside.
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = inside.local_addr().unwrap();
    let visited = tokio::spawn(async move { inside.accept().await });
    let targets = [
        format!("http://{address}/jwks"),
        format!("http://localhost:{}/jwks", address.port()),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "file:///etc/passwd".to_owned(),
    ];
    for target in targets {
        for path in [KEYS, "/.well-known/openid-configuration", "/introspect"] {
            let issuer = Issuer::start().await;
            issuer.behave(path, Conduct::Redirect(target.clone()));
            if path.starts_with("/.well-known") {
                issuer.behave("/.well-known/oauth-authorization-server", Conduct::Redirect(target.clone()));
            }
            let introspection = json!({ "introspection": { "client_id": "g", "client_secret": "s" } });
            let guarded = before(&issuer, introspection).await;
            let token =
                if path == "/introspect" { "opaque".to_owned() } else { issuer.token(&resource("/mcp")) };
            cannot_be_found_out(&guarded, &format!("{path} to {target}"), &token).await;
        }
    }
    assert!(!visited.is_finished(), "the redirect was followed");
    visited.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_on_the_inside_is_not_asked_unless_it_may_be() {
    let inside = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = inside.local_addr().unwrap().port();
    let visited = tokio::spawn(async move { inside.accept().await });
    let urls = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"]
        .map(|host| format!("https://{host}:{port}"));
    let issuers: Vec<_> = urls
        .iter()
        .enumerate()
        .map(|(nth, url)| json!({ "issuer": url, "timeout_ms": 1000, "prefix": format!("{nth}:") }))
        .collect();
    let guarded = Guarded::start(unthrottled(json!({ "issuers": issuers, "keys": [declared("ci")] }))).await;
    let (key, honest) = (Key::es256("k1"), Issuer::start().await);
    for url in urls {
        let claims = honest.claims_with(&resource("/mcp"), json!({ "iss": url }));
        cannot_be_found_out(&guarded, &url, &key.sign(&claims)).await;
    }
    assert!(!visited.is_finished(), "somebody was asked");
    visited.abort();

    // Nor where the issuer's own metadata sends the gateway on the inside.
    let metadata = json!({ "issuer": honest.url(), "jwks_uri": "http://169.254.169.254/jwks" });
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        honest.behave(path, Conduct::Says(metadata.to_string()));
    }
    let guarded = before(&honest, json!({})).await;
    cannot_be_found_out(&guarded, "link-local keys", &honest.token(&resource("/mcp"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_that_names_another_issuer_is_not_believed() {
    let issuer = Issuer::start().await;
    let evil = Issuer::start().await;
    let metadata = json!({ "issuer": evil.url(), "jwks_uri": format!("{}/jwks", evil.url()) });
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        issuer.behave(path, Conduct::Says(metadata.to_string()));
    }
    let guarded = before(&issuer, json!({})).await;
    let forged = evil.key().sign(&issuer.claims(&resource("/mcp")));
    cannot_be_found_out(&guarded, "another issuer's metadata", &forged).await;
    assert_eq!(evil.asked(KEYS), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_are_one_request_and_unknown_keys_are_no_stampede() {
    let issuer = Issuer::start().await;
    issuer.behave(KEYS, Conduct::After(Duration::from_millis(300)));
    let guarded = before(&issuer, json!({ "keys_again_ms_min": 60_000 })).await;
    let call = Call::tool("new__echo", "{}");
    let calls = (0..40).map(|_| {
        let mut peer = HttpPeer::modern(guarded.gateway.bearing(&issuer.token(&resource("/mcp"))), "/mcp");
        let call = call.clone();
        tokio::spawn(async move { peer.request(&call).await.status })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(soon("a call", call).await.unwrap(), 200);
    }
    assert_eq!(issuer.asked(KEYS), 1, "all of them waited for one request");

    let stranger = Key::es256("never-heard-of");
    for nth in 0..50 {
        let kid = format!("unknown-{nth}");
        let header = with(&stranger.header(), json!({ "kid": kid }));
        let forged = stranger.sign_with(&header, &issuer.claims(&resource("/mcp")));
        assert_eq!(guarded.status(&forged).await, 401);
    }
    assert!(issuer.asked(KEYS) <= 2, "{} requests", issuer.asked(KEYS));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_keys_are_found_and_old_ones_forgotten() {
    let mut issuer = Issuer::start().await;
    let guarded = before(&issuer, json!({ "keys_fresh_ms": 1000 })).await;
    let old = issuer.token(&resource("/mcp"));
    guarded.takes("the first key", &old).await;
    issuer.rotate(Key::ed25519("k2"));
    // Known at the first token that it has signed, or a moment later, if the keys were fetched just now.
    let new = issuer.token(&resource("/mcp"));
    until("the second key", async || (guarded.status(&new).await == 200).then_some(())).await;
    guarded.takes("the first key, still published", &old).await;
    issuer.publish(vec![issuer.key().public()]);
    until("the first key is forgotten", async || {
        guarded.takes("the second key", &issuer.token(&resource("/mcp"))).await;
        (guarded.status(&old).await == 401).then_some(())
    })
    .await;

    // The same with the real provider, which is this test's own.
    let provider = Provider::start();
    let real = json!({ "issuer": provider.issuer, "allow_private_addresses": true, "keys_again_ms_min": 20, "keys_fresh_ms": 1000 });
    let guarded = Guarded::start(unthrottled(json!({ "issuers": [real] }))).await;
    let old = provider.token("ann", &resource("/mcp")).await;
    guarded.takes("the first key", &old).await;
    provider.command(json!({ "do": "rotate" })).await;
    let new = provider.token("ann", &resource("/mcp")).await;
    until("the second key", async || (guarded.status(&new).await == 200).then_some(())).await;
    guarded.takes("the first key, still published", &old).await;
    provider.command(json!({ "do": "retire" })).await;
    until("the first key is forgotten", async || {
        guarded.takes("the second key", &new).await;
        (guarded.status(&old).await == 401).then_some(())
    })
    .await;
}

fn introspecting(issuer: &str, cache_ms: u64) -> Value {
    let (client_id, client_secret) = GATEWAY;
    json!({
        "issuer": issuer, "allow_private_addresses": true, "timeout_ms": 10_000, "clock_skew_ms": 0,
        "introspection": { "client_id": client_id, "client_secret": client_secret, "cache_ms": cache_ms },
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opaque_tokens_are_asked_about_and_remembered_no_longer_than_they_live() {
    let provider = Provider::start();
    let identity = json!({ "issuers": [introspecting(&provider.issuer, 600_000)] });
    let guarded = Guarded::start(unthrottled(identity)).await;
    provider.resource(&resource("/mcp"), json!({ "format": "opaque", "seconds": 8 })).await;
    let asked = async || provider.asked("/token/introspection").await;
    let token = provider.token("ann", &resource("/mcp")).await;
    assert!(!token.contains('.'), "opaque: {token}");
    guarded.takes("a good one", &token).await;
    guarded.takes("the same again", &token).await;
    assert_eq!(asked().await, 1, "it is remembered");
    until("its end", async || (guarded.status(&token).await == 401).then_some(())).await;

    provider.resource(&resource("/mcp/old"), json!({ "format": "opaque" })).await;
    let elsewhere = access_token(&provider.login("ann", &resource("/mcp/old"), "mcp").await);
    guarded.refuses("one for another endpoint", &elsewhere).await;
    guarded.refuses("one that nobody made", "bm9ib2R5IG1hZGUgdGhpcw").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_its_issuer_takes_back_is_refused_as_soon_as_was_configured() {
    let provider = Provider::start();
    let identity = json!({ "issuers": [introspecting(&provider.issuer, 300)] });
    let guarded = Guarded::start(unthrottled(identity)).await;
    provider.resource(&resource("/mcp"), json!({ "format": "opaque" })).await;
    let token = provider.token("ann", &resource("/mcp")).await;
    guarded.takes("a good one", &token).await;
    provider.command(json!({ "do": "revoke", "token": token })).await;
    let started = Instant::now();
    until("its end", async || (guarded.status(&token).await == 401).then_some(())).await;
    // Much sooner than it would end, or be asked about again, by itself.
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_introspection_that_is_away_lets_nobody_in() {
    let issuer = Issuer::start().await;
    let (client_id, client_secret) = GATEWAY;
    let introspection = json!({ "client_id": client_id, "client_secret": client_secret, "cache_ms": 200 });
    let guarded = before(&issuer, json!({ "introspection": introspection, "timeout_ms": 4000 })).await;
    let claims = issuer.claims(&resource("/mcp"));
    issuer.knows("known", with(&claims, json!({ "active": true })));
    guarded.takes("a good one", "known").await;
    for (what, conduct) in [
        ("down", Conduct::Status(500)),
        ("refused", Conduct::Status(401)),
        ("silent", Conduct::Never),
        ("huge", Conduct::Huge(64 * 1024 * 1024)),
        ("no JSON", Conduct::Says("yes".to_owned())),
    ] {
        issuer.behave("/introspect", conduct);
        cannot_be_found_out(&guarded, what, &format!("unknown-{}", what.len())).await;
    }
    // What is active, but not for here, not now, or not said to be.
    for (nth, says) in [
        json!({ "active": "true" }),
        json!({ "active": 1 }),
        json!({}),
        json!({ "active": true, "aud": resource("/mcp/old") }),
        json!({ "active": true, "exp": 1 }),
        json!({ "active": true, "iss": "https://elsewhere.example" }),
        json!({ "active": true, "token_type": "refresh_token" }),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.behave("/introspect", Conduct::Proper);
        let says = if says.as_object().unwrap().len() > 1 { with(&claims, says) } else { says };
        issuer.knows(&format!("bent-{nth}"), says.clone());
        guarded.refuses(&says.to_string(), &format!("bent-{nth}")).await;
    }
}
