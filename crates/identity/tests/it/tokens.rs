//! Access tokens, good and forged, and issuers that do what no issuer should.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tollgate_identity::{
    Algorithm, ClaimPath, FailureSettings, IdentitySettings, IntrospectionSettings, IssuerSettings,
    TenantSource,
};
use tollgate_model::{Proof, Secret, TenantId};
use tollgate_testkit::issuer::{Conduct, Issuer, Key, mutated, unsigned, with_secret};

use crate::rig::{Gate, RESOURCE, told};

const JWKS: &str = "/jwks";
const ASK: &str = "/introspect";

fn of(issuer: &Issuer) -> IssuerSettings {
    IssuerSettings { allow_private_addresses: true, ..IssuerSettings::new(&issuer.url()) }
}

fn settings(issuers: Vec<IssuerSettings>) -> IdentitySettings {
    // Nobody is held up in these tests unless they say so.
    let failures = FailureSettings { max: 100_000, ..FailureSettings::default() };
    IdentitySettings { issuers, failures, scopes: vec![Arc::from("mcp")], ..IdentitySettings::default() }
}

fn gate(issuer: &Issuer) -> Gate {
    Gate::new(settings(vec![of(issuer)]))
}

/// What the log says of a token that is refused.
async fn why(gate: &Gate, token: &str) -> String {
    told(gate.bearer(token).await).1
}

#[tokio::test]
async fn a_token_says_who_calls_and_is_verified_once() {
    let issuer = Issuer::start().await;
    let gate = gate(&issuer);
    let token = issuer.token(RESOURCE);
    let who = gate.bearer(&token).await.expect("let in");
    assert_eq!(who.id.as_str(), "agent:desk user:ann");
    assert!(matches!(&who.proof, Proof::Token { issuer: named, id: Some(_) } if **named == issuer.url()));
    let again = gate.bearer(&token).await.expect("let in");
    assert!(Arc::ptr_eq(&who, &again));
    assert!(gate.bearer(&issuer.token(RESOURCE)).await.is_ok(), "another token of the same issuer");
    assert_eq!(issuer.asked(JWKS), 1);
    assert!(gate.identity.is_standing(&who));
    gate.clock.pass(Duration::from_secs(631));
    assert!(why(&gate, &token).await.starts_with("expired"));
    assert!(!gate.identity.is_standing(&who));
}

#[tokio::test]
async fn forged_and_foreign_tokens_are_refused() {
    let (issuer, other) =
        (Issuer::start_with(Key::es256("k")).await, Issuer::start_with(Key::es256("k")).await);
    let mut settings = settings(vec![of(&issuer), IssuerSettings { prefix: Arc::from("o:"), ..of(&other) }]);
    settings.issuers[0].prefix = Arc::from("i:");
    settings.issuers[1].algorithms = vec![Algorithm::Rs256];
    settings.issuers[0].tenant = TenantSource::Claim(ClaimPath::read("org").expect("a path"));
    let gate = Gate::new(settings);
    let good = |more: Value| {
        let mut claims = issuer.claims_with(RESOURCE, json!({ "org": "default" }));
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        claims
    };
    let (key, claims) = (issuer.key(), good(json!({})));
    assert!(gate.bearer(&key.sign(&claims)).await.is_ok());
    let header = |more: Value| {
        let mut header = key.header();
        for (name, value) in more.as_object().expect("a header") {
            header[name] = value.clone();
        }
        header
    };
    let now = claims["iat"].as_u64().expect("a time");
    let hmac = |word: &str| with_secret(&key.public_bytes(), &header(json!({ "alg": word })), &claims);
    let cases = [
        ("no signature", unsigned(&header(json!({ "alg": "none" })), &claims), "algorithm"),
        ("no signature, in capitals", unsigned(&header(json!({ "alg": "NONE" })), &claims), "algorithm"),
        ("no signature at all", unsigned(&header(json!({})), &claims), "signature"),
        ("the public key as a secret", hmac("HS256"), "algorithm"),
        ("the public key as a secret, under another name", hmac("ES256"), "signature"),
        (
            "an algorithm of another kind of key",
            key.sign_with(&header(json!({ "alg": "RS256" })), &claims),
            "algorithm",
        ),
        ("an algorithm that is not allowed", other.key().sign(&other.claims(RESOURCE)), "algorithm"),
        ("another issuer's key of the same name", other.key().sign(&claims), "signature"),
        (
            "an issuer that nobody knows",
            key.sign(&good(json!({ "iss": "https://evil.example" }))),
            "unknown_issuer",
        ),
        ("no issuer", key.sign(&issuer.claims_with(RESOURCE, json!({ "iss": null }))), "unknown_issuer"),
        (
            "the issuer with a slash",
            key.sign(&good(json!({ "iss": format!("{}/", issuer.url()) }))),
            "unknown_issuer",
        ),
        ("another address", key.sign(&good(json!({ "aud": "https://gate.example/mcp/files" }))), "audience"),
        ("no address", key.sign(&good(json!({ "aud": [] }))), "audience"),
        ("expired", key.sign(&good(json!({ "exp": now - 60 }))), "expired"),
        ("no end", key.sign(&good(json!({ "exp": null }))), "claims"),
        ("not yet valid", key.sign(&good(json!({ "nbf": now + 300 }))), "not_yet_valid"),
        (
            "an ID token",
            key.sign_with(&header(json!({ "typ": "JWT" })), &good(json!({ "nonce": "n" }))),
            "type",
        ),
        ("another kind of token", key.sign_with(&header(json!({ "typ": "logout+jwt" })), &claims), "type"),
        ("another tenant's", key.sign(&good(json!({ "org": "globex" }))), "tenant"),
        ("no tenant's", key.sign(&issuer.claims(RESOURCE)), "tenant"),
        (
            "extensions",
            key.sign_with(&header(json!({ "crit": ["b64"], "b64": false })), &claims),
            "malformed",
        ),
        (
            "its own key",
            key.sign_with(&header(json!({ "kid": "x", "jwk": Key::es256("x").public() })), &claims),
            "unknown_kid",
        ),
        ("no scope", key.sign(&good(json!({ "scope": "other" }))), "scope"),
        ("a word", "opaque".to_owned(), "opaque_token"),
    ];
    for (what, token, word) in cases {
        let told = why(&gate, &token).await;
        assert_eq!(told.split(':').next(), Some(word), "{what}: {told}");
    }
}

#[tokio::test]
async fn no_mutation_of_a_good_token_is_accepted() {
    let issuer = Issuer::start().await;
    let gate = gate(&issuer);
    let token = issuer.token(RESOURCE);
    assert!(gate.bearer(&token).await.is_ok());
    for nth in 0..1000 {
        let changed = mutated(&token, nth);
        assert!(gate.bearer(&changed).await.is_err(), "{changed}");
    }
    assert!(gate.bearer(&token).await.is_ok());
}

#[tokio::test]
async fn a_token_that_was_seen_is_still_only_for_its_address() {
    let issuer = Issuer::start().await;
    let gate = gate(&issuer);
    let token = issuer.token(RESOURCE);
    assert!(gate.bearer(&token).await.is_ok());
    let elsewhere =
        gate.at("https://gate.example/mcp/files", Some(&format!("Bearer {token}")), "192.0.2.1").await;
    assert!(told(elsewhere).1.starts_with("audience"));
}

#[tokio::test]
async fn changed_settings_give_no_old_answers() {
    let issuer = Issuer::start().await;
    let gate = gate(&issuer);
    let token = issuer.token(RESOURCE);
    let who = gate.bearer(&token).await.expect("let in");
    let stricter =
        IdentitySettings { scopes: vec![Arc::from("more")], configured: true, ..settings(vec![of(&issuer)]) };
    let gate = Gate { identity: gate.identity.renewed(stricter, gate.identity.follower().clone()), ..gate };
    assert!(why(&gate, &token).await.starts_with("scope"));
    assert_eq!(issuer.asked(JWKS), 1, "the keys of an issuer whose settings are the same are kept");
    let without = IdentitySettings { configured: true, ..settings(Vec::new()) };
    assert!(!gate.identity.renewed(without, gate.identity.follower().clone()).is_standing(&who));
}

#[tokio::test]
async fn keys_are_rotated_without_anybody_noticing() {
    let mut issuer = Issuer::start_with(Key::es256("one")).await;
    let gate = gate(&issuer);
    let old = issuer.token(RESOURCE);
    assert!(gate.bearer(&old).await.is_ok());
    issuer.rotate(Key::ed25519("two"));
    let new = issuer.token(RESOURCE);
    gate.clock.pass(Duration::from_secs(10));
    assert!(gate.bearer(&new).await.is_ok(), "a key of an unknown name is fetched");
    assert_eq!(issuer.asked(JWKS), 2);
    assert!(gate.bearer(&old).await.is_ok(), "the old one is published still");
    // The old key is withdrawn. What it signed ends with it, also what was seen before.
    issuer.publish(vec![issuer.key().public()]);
    gate.clock.pass(Duration::from_secs(301));
    let _ = gate.bearer(&new).await;
    issuer.wait_asked(JWKS, 3).await;
    gate.until(async || gate.bearer(&old).await.is_err()).await;
    assert!(gate.bearer(&new).await.is_ok());
}

#[tokio::test]
async fn many_who_come_at_once_ask_once() {
    let issuer = Issuer::start_with(Key::es256("one")).await;
    issuer.behave(JWKS, Conduct::After(Duration::from_millis(50)));
    let gate = gate(&issuer);
    let tokens: Vec<String> = (0..50).map(|_| issuer.token(RESOURCE)).collect();
    let found = join_all(tokens.iter().map(|token| gate.bearer(token))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(JWKS), 1);
    // Names of keys that nobody has are asked for once, and then not for a while.
    let strange: Vec<String> =
        (0..50).map(|nth| Key::es256(&format!("strange-{nth}")).sign(&issuer.claims(RESOURCE))).collect();
    gate.clock.pass(Duration::from_secs(10));
    let found = join_all(strange.iter().map(|token| gate.bearer(token))).await;
    assert!(found.iter().all(Result::is_err));
    let found = join_all(strange.iter().map(|token| gate.bearer(token))).await;
    assert!(found.iter().all(Result::is_err));
    assert_eq!(issuer.asked(JWKS), 2);
}

#[tokio::test]
async fn an_issuer_that_is_away_is_told_from_a_bad_token() {
    let issuer = Issuer::start().await;
    issuer.behave(JWKS, Conduct::Status(500));
    let gate = gate(&issuer);
    let token = issuer.token(RESOURCE);
    let refused = gate.bearer(&token).await.expect_err("refused");
    assert_eq!((refused.refusal.code.row().http_modern, refused.retry_after_s), (503, Some(1)));
    assert_eq!(refused.challenge, None, "a new token would not help");
    assert_eq!(told(gate.bearer(&token).await).0, "identity_unavailable");
    assert_eq!(issuer.asked(JWKS), 1, "it is left alone for a while");
    issuer.behave(JWKS, Conduct::Proper);
    gate.clock.pass(Duration::from_secs(10));
    assert!(gate.bearer(&token).await.is_ok());
}

#[tokio::test]
async fn keys_outlast_an_outage_but_not_for_ever() {
    let issuer = Issuer::start().await;
    let mut settings = settings(vec![of(&issuer)]);
    settings.issuers[0].fetch.stale_max = Duration::from_mins(10);
    settings.issuers[0].clock_skew = Duration::from_hours(2);
    let gate = Gate::new(settings);
    assert!(gate.bearer(&issuer.token(RESOURCE)).await.is_ok());
    issuer.behave(JWKS, Conduct::Status(503));
    gate.clock.pass(Duration::from_mins(6));
    assert!(gate.bearer(&issuer.token(RESOURCE)).await.is_ok(), "the keys are known still");
    issuer.wait_asked(JWKS, 2).await;
    gate.clock.pass(Duration::from_mins(10));
    assert_eq!(told(gate.bearer(&issuer.token(RESOURCE)).await).0, "identity_unavailable");
}

#[tokio::test]
async fn slow_huge_and_redirecting_issuers_cost_little() {
    let (issuer, inner) = (Issuer::start().await, Issuer::start().await);
    for conduct in [
        Conduct::Never,
        Conduct::Huge(512 * 1024),
        Conduct::Redirect(format!("{}/jwks", inner.url())),
        Conduct::Redirect("http://169.254.169.254/latest/meta-data".to_owned()),
        Conduct::Says("{\"keys\":7}".to_owned()),
        Conduct::Says("nonsense".to_owned()),
    ] {
        issuer.behave(JWKS, conduct.clone());
        let mut settings = settings(vec![of(&issuer)]);
        settings.issuers[0].fetch.timeout = Duration::from_millis(300);
        let gate = Gate::new(settings);
        assert_eq!(told(gate.bearer(&issuer.token(RESOURCE)).await).0, "identity_unavailable", "{conduct:?}");
    }
    assert_eq!(inner.asked(JWKS), 0, "no redirect is followed");
}

#[tokio::test]
async fn an_issuer_at_a_private_address_is_never_called_unless_allowed() {
    let issuer = Issuer::start().await;
    let private = IssuerSettings { allow_private_addresses: false, ..of(&issuer) };
    let gate = Gate::new(settings(vec![private]));
    assert!(why(&gate, &issuer.token(RESOURCE)).await.contains("no public address"));
    // Nor is where its metadata leads.
    let metadata = json!({ "issuer": issuer.url(), "jwks_uri": "http://169.254.169.254/keys" }).to_string();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        issuer.behave(path, Conduct::Says(metadata.clone()));
    }
    let gate = Gate::new(settings(vec![of(&issuer)]));
    assert!(why(&gate, &issuer.token(RESOURCE)).await.contains("no public address"));
    assert_eq!(issuer.asked(JWKS), 0);
}

#[tokio::test]
async fn metadata_of_another_issuer_brings_no_keys() {
    let (issuer, evil) = (Issuer::start().await, Issuer::start_with(Key::es256("k")).await);
    let metadata = json!({ "issuer": evil.url(), "jwks_uri": format!("{}/jwks", evil.url()) }).to_string();
    for path in ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"] {
        issuer.behave(path, Conduct::Says(metadata.clone()));
    }
    let gate = gate(&issuer);
    assert!(why(&gate, &evil.key().sign(&issuer.claims(RESOURCE))).await.contains("another issuer"));
    assert_eq!(evil.asked(JWKS), 0);
}

fn asking(issuer: &Issuer) -> IssuerSettings {
    let introspection = IntrospectionSettings {
        url: None,
        client_id: "gate".to_owned(),
        client_secret: Secret::new("hush".to_owned()),
        cache: Duration::from_mins(1),
    };
    IssuerSettings { introspection: Some(introspection), ..of(issuer) }
}

#[tokio::test]
async fn an_opaque_token_is_asked_about_and_remembered_for_a_while() {
    let issuer = Issuer::start().await;
    let gate = Gate::new(settings(vec![asking(&issuer)]));
    let mut claims = issuer.claims(RESOURCE);
    claims["active"] = true.into();
    issuer.knows("good", claims.clone());
    issuer.knows("elsewhere", {
        let mut claims = claims.clone();
        claims["aud"] = json!("https://x.example");
        claims
    });
    issuer.knows("foreign", {
        let mut claims = claims.clone();
        claims["iss"] = json!("https://x.example");
        claims
    });
    issuer.knows("endless", {
        let mut claims = claims.clone();
        claims["exp"] = Value::Null;
        claims
    });
    let found = join_all((0..20).map(|_| gate.bearer("good"))).await;
    assert!(found.iter().all(Result::is_ok));
    assert_eq!(issuer.asked(ASK), 1, "many who come at once ask once");
    assert_eq!(found[0].as_ref().expect("let in").id.as_str(), "agent:desk user:ann");
    assert!(why(&gate, "elsewhere").await.starts_with("audience"));
    assert!(why(&gate, "foreign").await.starts_with("unknown_issuer"));
    assert!(why(&gate, "endless").await.starts_with("claims"));
    let asked = issuer.asked(ASK);
    assert!(why(&gate, "unknown").await.starts_with("inactive"));
    assert!(why(&gate, "unknown").await.starts_with("inactive"));
    assert_eq!(issuer.asked(ASK), asked + 1, "that it is unknown is remembered too");
    // It was revoked at the issuer.
    issuer.knows("good", json!({ "active": false }));
    assert!(gate.bearer("good").await.is_ok());
    gate.clock.pass(Duration::from_mins(1));
    assert!(why(&gate, "good").await.starts_with("inactive"));
    issuer.behave(ASK, Conduct::Status(500));
    gate.clock.pass(Duration::from_secs(11));
    assert_eq!(told(gate.bearer("good").await).0, "identity_unavailable");
}

#[tokio::test]
async fn who_sends_bad_tokens_waits_and_a_token_that_was_seen_does_not() {
    let issuer = Issuer::start().await;
    let failures = FailureSettings { max: 3, window: Duration::from_secs(30), ..FailureSettings::default() };
    let gate = Gate::new(IdentitySettings { failures, ..settings(vec![of(&issuer)]) });
    let (good, fresh) = (issuer.token(RESOURCE), issuer.token(RESOURCE));
    assert!(gate.bearer(&good).await.is_ok());
    let forged = Key::es256(issuer.key().id()).sign(&issuer.claims(RESOURCE));
    for _ in 0..3 {
        assert!(why(&gate, &forged).await.starts_with("signature"));
    }
    assert_eq!(told(gate.bearer(&forged).await).0, "too_many_failures");
    let expired = issuer.key().sign(&issuer.claims_with(RESOURCE, json!({ "exp": 1 })));
    assert_eq!(told(gate.bearer(&expired).await).0, "too_many_failures", "whatever is wrong with it");
    let strange = Key::es256("strange").sign(&issuer.claims(RESOURCE));
    gate.clock.pass(Duration::from_secs(9));
    assert_eq!(told(gate.bearer(&strange).await).0, "too_many_failures");
    assert_eq!(issuer.asked(JWKS), 1, "nobody is asked for it");
    assert!(gate.bearer(&fresh).await.is_ok(), "a good token is not held up by others' failures");
    assert!(gate.bearer(&good).await.is_ok());
    gate.clock.pass(Duration::from_secs(30));
    assert!(why(&gate, &forged).await.starts_with("signature"));
}

#[tokio::test]
async fn many_opaque_tokens_at_once_are_not_all_asked_about() {
    let issuer = Issuer::start().await;
    issuer.behave(ASK, Conduct::After(Duration::from_millis(50)));
    let failures = FailureSettings { max: 5, window: Duration::from_secs(30), ..FailureSettings::default() };
    for (failures, most) in [(failures, 5), (FailureSettings { max: 1000, ..failures }, 8)] {
        let gate = Gate::new(IdentitySettings { failures, ..settings(vec![asking(&issuer)]) });
        let asked = issuer.asked(ASK);
        let tokens: Vec<String> = (0..300).map(|nth| format!("junk-{most}-{nth}")).collect();
        let found = join_all(tokens.iter().map(|token| gate.bearer(token))).await;
        let codes: Vec<_> = found.into_iter().map(|found| told(found).0).collect();
        assert_eq!(codes.iter().filter(|code| **code == "unauthenticated").count(), most);
        assert_eq!(codes.iter().filter(|code| **code == "too_many_failures").count(), 300 - most);
        assert_eq!(issuer.asked(ASK), asked + most);
    }
}

#[tokio::test]
async fn a_good_opaque_token_or_an_issuer_that_is_away_costs_no_failure() {
    let issuer = Issuer::start().await;
    let failures = FailureSettings { max: 2, window: Duration::from_secs(30), ..FailureSettings::default() };
    let gate = Gate::new(IdentitySettings { failures, ..settings(vec![asking(&issuer)]) });
    for nth in 0..5 {
        let mut claims = issuer.claims(RESOURCE);
        claims["active"] = true.into();
        let name = format!("good-{nth}");
        issuer.knows(&name, claims);
        assert!(gate.bearer(&name).await.is_ok(), "{name}");
    }
    issuer.behave(ASK, Conduct::Status(500));
    for nth in 0..5 {
        assert_eq!(told(gate.bearer(&format!("away-{nth}")).await).0, "identity_unavailable");
    }
}

#[tokio::test]
async fn a_token_that_has_not_begun_is_refused_for_a_moment_and_then_let_in() {
    let issuer = Issuer::start().await;
    let gate = gate(&issuer);
    let mut claims = issuer.claims(RESOURCE);
    claims["nbf"] = json!(claims["iat"].as_u64().expect("a time") + 40);
    let token = issuer.key().sign(&claims);
    assert_eq!(why(&gate, &token).await.split(':').next(), Some("not_yet_valid"));
    assert_eq!(why(&gate, &token).await, "not_yet_valid: as before", "it is not verified again");
    gate.clock.pass(Duration::from_secs(20));
    assert!(gate.bearer(&token).await.is_ok());
    gate.clock.pass(Duration::from_secs(700));
    assert_eq!(why(&gate, &token).await, "expired");
    assert_eq!(why(&gate, &token).await, "expired: as before");
}

#[tokio::test]
async fn a_tenants_tokens_are_its_own() {
    let issuer = Issuer::start().await;
    let tenant = TenantId::new("acme");
    let own = IssuerSettings { tenant: TenantSource::Fixed(tenant.clone()), ..of(&issuer) };
    let settings =
        IdentitySettings { tenants: vec![TenantId::default(), tenant.clone()], ..settings(vec![own]) };
    let gate = Gate::new(settings);
    assert_eq!(gate.bearer(&issuer.token(RESOURCE)).await.expect("let in").tenant, tenant);
}
