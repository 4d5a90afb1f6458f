//! Tokens that somebody made up, bent, found, or got for something else. None of them opens any door.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tollgate_e2e::gateway::with;
use tollgate_e2e::guarded::{Guarded, declared, resource, trusted, unthrottled};
use tollgate_e2e::provider::Provider;
use tollgate_testkit::fake::{Ask, Call, HttpPeer};
use tollgate_testkit::issuer::{Issuer, Key, api_key, parts, unsigned, with_secret};

/// A gateway that trusts one issuer.
async fn trusting(issuer: &Issuer) -> Guarded {
    Guarded::start(unthrottled(json!({ "issuers": [trusted(issuer)] }))).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A header with other members.
fn header(key: &Key, members: Value) -> Value {
    with(&key.header(), members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_signed_is_none() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    let claims = issuer.claims(&resource("/mcp"));
    let good = issuer.key().sign(&claims);
    guarded.takes("the token itself", &good).await;
    let signature = good.rsplit('.').next().unwrap();
    for alg in ["none", "None", "NONE", "nOnE", ""] {
        let header = header(issuer.key(), json!({ "alg": alg }));
        let bare = unsigned(&header, &claims);
        guarded.refuses(&format!("alg {alg:?}"), &bare).await;
        guarded.refuses(&format!("alg {alg:?} with a signature"), &format!("{bare}{signature}")).await;
    }
    guarded.refuses("no signature", &unsigned(&issuer.key().header(), &claims)).await;
    let two_parts = good.rsplit_once('.').unwrap().0;
    guarded.refuses("two parts", two_parts).await;
    guarded.refuses("four parts", &format!("{good}.{signature}")).await;
    guarded.refuses("two signatures", &format!("{two_parts}..{signature}")).await;
    guarded.refuses("no alg", &unsigned(&json!({ "typ": "at+jwt", "kid": "k1" }), &claims)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_key_is_no_shared_secret() {
    // With the key of an elliptic curve, and with the RSA key of the real provider.
    let issuer = Issuer::start().await;
    let provider = Provider::shared();
    let real = json!({ "issuer": provider.issuer, "allow_private_addresses": true, "prefix": "real:" });
    let guarded = Guarded::start(unthrottled(
        json!({ "issuers": [with(&trusted(&issuer), json!({ "prefix": "own:" })), real] }),
    ))
    .await;

    let claims = issuer.claims(&resource("/mcp"));
    let key = issuer.key();
    for (what, secret) in [
        ("the point", key.public_bytes()),
        ("x", key.public_bytes()[1..33].to_vec()),
        ("the JWK", key.public().to_string().into_bytes()),
        ("nothing", Vec::new()),
    ] {
        for alg in ["HS256", "HS384", "ES256"] {
            let header = header(key, json!({ "alg": alg }));
            guarded.refuses(&format!("{what} as {alg}"), &with_secret(&secret, &header, &claims)).await;
        }
    }

    let good = provider.token("ann", &resource("/mcp")).await;
    guarded.takes("the provider's token", &good).await;
    let (real_header, real_claims) = parts(&good);
    let public = provider.command(json!({ "do": "keys" })).await;
    let pem = public["pem"].as_str().unwrap();
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    for (what, secret) in [
        ("PEM", pem.to_owned()),
        ("PEM without its last break", pem.trim_end().to_owned()),
        ("PEM on one line", body),
        ("the JWK", public["jwk"].to_string()),
        ("the modulus", public["jwk"]["n"].as_str().unwrap().to_owned()),
    ] {
        for alg in ["HS256", "RS256"] {
            let header = with(&real_header, json!({ "alg": alg }));
            let forged = with_secret(secret.as_bytes(), &header, &real_claims);
            guarded.refuses(&format!("RSA, {what} as {alg}"), &forged).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_algorithm_than_the_keys_is_refused() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    let claims = issuer.claims(&resource("/mcp"));
    for alg in ["ES384", "ES512", "EdDSA", "RS256", "PS256", "es256", "ES256K", "HS256"] {
        let forged = issuer.key().sign_with(&header(issuer.key(), json!({ "alg": alg })), &claims);
        guarded.refuses(alg, &forged).await;
    }
    // An algorithm that the operator did not list.
    let only = with(&trusted(&issuer), json!({ "algorithms": ["EdDSA"] }));
    let strict = Guarded::start(unthrottled(json!({ "issuers": [only] }))).await;
    strict.refuses("ES256 where EdDSA is asked for", &issuer.token(&resource("/mcp"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_for_somewhere_else_is_none_here() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    let aud = |aud: Value| issuer.token_with("unused", json!({ "aud": aud }));
    for (what, audience) in [
        ("another endpoint", json!(resource("/mcp/old"))),
        ("another gateway", json!("https://other.example/mcp")),
        ("another port", json!("https://tollgate.example:8443/mcp")),
        ("another scheme", json!("http://tollgate.example/mcp")),
        ("the origin", json!("https://tollgate.example")),
        ("what begins like it", json!(resource("/mcpx"))),
        ("what is before it", json!(resource("/mc"))),
        ("another spelling", json!(resource("/MCP"))),
        ("the upstream", json!(guarded.new.url())),
        ("the issuer", json!(issuer.url())),
        ("the client", json!("desk")),
        ("everything", json!("*")),
        ("several others", json!([resource("/mcp/old"), "desk"])),
        ("nothing", json!([])),
        ("no text", json!(17)),
        ("absent", Value::Null),
    ] {
        guarded.refuses(what, &aud(audience)).await;
    }
    guarded.takes("one of several", &aud(json!(["desk", resource("/mcp")]))).await;

    // Each endpoint has its own.
    let at = async |path: &str, token: &str| {
        let mut peer = HttpPeer::modern(guarded.gateway.bearing(token), path);
        peer.request(&Call::new("tools/list", "")).await.status
    };
    let (merged, old) = (aud(json!(resource("/mcp"))), aud(json!(resource("/mcp/old"))));
    assert_eq!((at("/mcp", &merged).await, at("/mcp/old", &merged).await), (200, 401));
    assert_eq!((at("/mcp", &old).await, at("/mcp/old", &old).await), (401, 200));
    assert_eq!(at("/mcp/new", &old).await, 401);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_id_proves_no_issuer() {
    // All three have a key of the same id.
    let one = Issuer::start().await;
    let two = Issuer::start().await;
    let evil = Issuer::start().await;
    let issuers = [
        with(&trusted(&one), json!({ "prefix": "one:" })),
        with(&trusted(&two), json!({ "prefix": "two:" })),
    ];
    let guarded = Guarded::start(unthrottled(json!({ "issuers": issuers }))).await;
    let resource = resource("/mcp");
    guarded.takes("one", &one.token(&resource)).await;
    guarded.takes("two", &two.token(&resource)).await;

    guarded.refuses("an unknown issuer", &evil.token(&resource)).await;
    guarded.refuses("the other's key", &two.key().sign(&one.claims(&resource))).await;
    guarded.refuses("a stranger's key", &evil.key().sign(&one.claims(&resource))).await;
    for (what, issuer) in [
        ("with a slash", json!(format!("{}/", one.url()))),
        ("as a list", json!([one.url()])),
        ("in capitals", json!(one.url().to_uppercase())),
        ("with a path", json!(format!("{}/x", one.url()))),
        ("empty", json!("")),
        ("absent", Value::Null),
    ] {
        guarded
            .refuses(&format!("the issuer {what}"), &one.token_with(&resource, json!({ "iss": issuer })))
            .await;
    }

    // A header that says where its key is, or brings it along.
    let claims = one.claims(&resource);
    for (what, members) in [
        ("jku", json!({ "jku": format!("{}/jwks", evil.url()) })),
        ("x5u", json!({ "x5u": format!("{}/jwks", evil.url()) })),
        ("jwk", json!({ "jwk": evil.key().public() })),
        ("jwk without a kid", json!({ "jwk": evil.key().public(), "kid": null })),
        ("crit", json!({ "crit": ["exp"] })),
        ("another kid", json!({ "kid": "k2" })),
        ("a kid as a path", json!({ "kid": "../../../../dev/null" })),
        ("a kid as a query", json!({ "kid": "k1' OR '1'='1" })),
        ("a kid that is no text", json!({ "kid": 1 })),
    ] {
        let forged = evil.key().sign_with(&header(evil.key(), members), &claims);
        guarded.refuses(what, &forged).await;
    }
    assert_eq!(
        evil.asked("/jwks") + evil.asked("/.well-known/openid-configuration"),
        0,
        "nobody asks a stranger"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_is_kept() {
    let issuer = Issuer::start().await;
    let strict = with(&trusted(&issuer), json!({ "clock_skew_ms": 60_000 }));
    let guarded = Guarded::start(unthrottled(json!({ "issuers": [strict] }))).await;
    let resource = resource("/mcp");
    let now = now();
    for (what, claims) in [
        ("expired", json!({ "exp": now - 600 })),
        ("long expired", json!({ "exp": 1 })),
        ("expired before 1970", json!({ "exp": -1 })),
        ("without an end", json!({ "exp": null })),
        ("with an end that is no number", json!({ "exp": (now + 600).to_string() })),
        ("with an end that is no list", json!({ "exp": [now + 600] })),
        ("not yet valid", json!({ "nbf": now + 600 })),
        ("with a beginning that is no number", json!({ "nbf": "soon" })),
    ] {
        guarded.refuses(what, &issuer.token_with(&resource, claims)).await;
    }
    for (what, claims) in [
        ("just expired, within the skew", json!({ "exp": now - 2 })),
        ("almost valid, within the skew", json!({ "nbf": now + 5 })),
        ("valid from now on", json!({ "nbf": now })),
        ("with a fraction", json!({ "exp": 0.5 + f64::from(u32::try_from(now).unwrap()) + 600.0 })),
    ] {
        guarded.takes(what, &issuer.token_with(&resource, claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_token_is_no_access_token() {
    let provider = Provider::shared();
    let issuer = Issuer::start().await;
    // Even where the client's own id is taken for an audience, as for providers without resource indicators. This
    // provider's ID tokens have nothing that marks them as such, so there its access tokens have to be marked.
    let audiences = json!({ "audiences": ["desk"], "allow_private_addresses": true });
    let marked = json!({ "issuer": provider.issuer, "prefix": "real:", "types": ["at+jwt"] });
    let real = with(&marked, audiences.clone());
    let tiny = with(&with(&trusted(&issuer), json!({ "prefix": "own:" })), audiences);
    let guarded = Guarded::start(unthrottled(json!({ "issuers": [real, tiny] }))).await;
    let login = provider.login("ann", &resource("/mcp"), "openid mcp").await;
    guarded.takes("the access token", login["access_token"].as_str().unwrap()).await;
    guarded.refuses("the ID token", login["id_token"].as_str().unwrap()).await;

    let id_claims = json!({ "aud": "desk", "client_id": null, "scope": null, "nonce": "n", "at_hash": "h", "auth_time": now() });
    let claims = issuer.claims_with("unused", id_claims);
    for (what, typ) in [("JWT", json!("JWT")), ("nothing", Value::Null)] {
        let forged = issuer.key().sign_with(&header(issuer.key(), json!({ "typ": typ })), &claims);
        guarded.refuses(&format!("an ID token with the type {what}"), &forged).await;
    }
    for typ in ["id_token+jwt", "logout+jwt", "dpop+jwt", "secevent+jwt", "at+jwt;x", "x"] {
        let good = issuer.claims(&resource("/mcp"));
        let forged = issuer.key().sign_with(&header(issuer.key(), json!({ "typ": typ })), &good);
        guarded.refuses(&format!("the type {typ}"), &forged).await;
    }
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        let good = issuer.claims(&resource("/mcp"));
        let token = issuer.key().sign_with(&header(issuer.key(), json!({ "typ": typ })), &good);
        guarded.takes(&format!("the type {typ}"), &token).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_bound_to_a_key_needs_the_key() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    for (what, cnf) in [
        ("DPoP", json!({ "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I" })),
        ("a certificate", json!({ "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" })),
        ("something else", json!({ "x": 1 })),
    ] {
        guarded.refuses(what, &issuer.token_with(&resource("/mcp"), json!({ "cnf": cnf }))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_cannot_be_used_are_no_caller() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    for (what, claims) in [
        ("nobody", json!({ "sub": null, "client_id": null })),
        ("an empty user", json!({ "sub": "" })),
        ("a user that is no text", json!({ "sub": { "x": 1 } })),
        ("an endless user", json!({ "sub": "u".repeat(5000) })),
        ("a user with a break", json!({ "sub": "ann\nadmin" })),
    ] {
        guarded.refuses(what, &issuer.token_with(&resource("/mcp"), claims)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_one_bearer_credential_is_refused() {
    let issuer = Issuer::start().await;
    let guarded = trusting(&issuer).await;
    let token = issuer.token(&resource("/mcp"));
    let peer = HttpPeer::modern(guarded.gateway.listen, "/mcp");
    let ask = peer.ask("1", &Call::tool("new__echo", "{}"));
    let before = guarded.reached();
    for (what, values) in [
        ("nothing", vec![]),
        ("another scheme", vec![format!("Basic {token}")]),
        ("no scheme", vec![token.clone()]),
        ("an empty one", vec!["Bearer ".to_owned()]),
        ("two in one", vec![format!("Bearer {token}, Bearer {token}")]),
        ("the same twice", vec![format!("Bearer {token}"), format!("Bearer {token}")]),
        ("a good and a bad one", vec![format!("Bearer {token}"), "Bearer x".to_owned()]),
        ("quoted", vec![format!("Bearer \"{token}\"")]),
        ("a key that was never made", vec![format!("Bearer {}", api_key("nobody"))]),
        ("a key with a slip", vec![format!("Bearer {}x", &api_key("nobody")[..64])]),
        ("a huge one", vec![format!("Bearer {}", "x".repeat(20_000))]),
    ] {
        let ask = values.iter().fold(ask.clone(), |ask, value| ask.with("Authorization", value));
        let reply = peer.http.send(&ask).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.everything());
    }
    // Nor beside a good header: what stands in an address stands in logs.
    for query in [format!("access_token={token}"), format!("x=1&access%5Ftoken={token}")] {
        for path in ["/mcp", "/mcp/new", "/sse"] {
            let bare = Ask { target: format!("{path}?{query}"), ..ask.clone() };
            for ask in [bare.clone(), bare.with("Authorization", &format!("Bearer {token}"))] {
                let reply = peer.http.send(&ask).await;
                assert_eq!(reply.status, 400, "{path}?{query}: {}", reply.everything());
                assert!(!reply.everything().contains(&token), "it is repeated");
            }
        }
    }
    assert_eq!(guarded.reached(), before);
    let log = guarded.gateway.log();
    assert!(
        !log.contains(&token) && !log.contains(token.rsplit('.').next().unwrap()),
        "a token is in the log"
    );
    assert!(!log.contains(&api_key("nobody")), "a key is in the log");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_goes_no_further() {
    let issuer = Issuer::start().await;
    let identity = json!({ "issuers": [trusted(&issuer)], "keys": [declared("ci")] });
    let guarded = Guarded::start(unthrottled(identity)).await;
    for token in [issuer.token(&resource("/mcp")), api_key("ci")] {
        let mut modern = HttpPeer::modern(guarded.gateway.bearing(&token), "/mcp");
        modern.request(&Call::tool("new__echo", "{}")).await.result();
        modern.request(&Call::tool("old__echo", "{}")).await.result();
        let mut legacy = HttpPeer::legacy(guarded.gateway.bearing(&token), "/mcp").await;
        legacy.request(&Call::tool("new__echo", "{}")).await.result();
        legacy.request(&Call::tool("old__echo", "{}")).await.result();
        for server in [&guarded.new, &guarded.old] {
            for received in server.log().requests() {
                let all = format!("{} {:?} {}", received.target, received.headers, received.text());
                assert!(!all.contains(&token), "{all}");
                assert!(received.header("authorization").is_none(), "{all}");
            }
        }
        assert!(!guarded.gateway.log().contains(&token));
    }
}
