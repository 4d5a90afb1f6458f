//! API keys of the configuration, callers who present nothing, and those who fail too often.

use std::sync::Arc;
use std::time::Duration;

use tollgate_identity::key::{self, MintedKey};
use tollgate_identity::{AnonymousSettings, FailureSettings, IdentitySettings};
use tollgate_model::{KeyRecord, Proof, TenantId, Timestamp};
use tollgate_store::Follower;

use crate::rig::{Gate, told};

fn record(key: &MintedKey, agent: &str) -> KeyRecord {
    KeyRecord {
        id: key.id.clone(),
        tenant: TenantId::default(),
        agent: Arc::from(agent),
        groups: vec![Arc::from("support"), Arc::from("bots")],
        hash: key.hash,
        created: Timestamp::default(),
        expires: None,
        revoked: None,
        replaced_by: None,
    }
}

fn settings(keys: Vec<KeyRecord>) -> IdentitySettings {
    IdentitySettings { keys, ..IdentitySettings::default() }
}

#[tokio::test]
async fn a_declared_key_is_its_agent() {
    let key = key::mint().expect("a key");
    let gate = Gate::new(settings(vec![record(&key, "support bot")]));
    let who = gate.bearer(key.text.expose()).await.expect("let in");
    assert_eq!(who.id.as_str(), "agent:support%20bot");
    assert_eq!(who.agent.as_deref(), Some("support bot"));
    assert_eq!(who.agent_groups, [Arc::from("bots"), Arc::from("support")]);
    assert_eq!((who.user.as_ref(), who.scopes.as_ref()), (None, None));
    assert_eq!(who.proof, Proof::Key(key.id.clone()));
    let again = gate.bearer(key.text.expose()).await.expect("let in");
    assert!(Arc::ptr_eq(&who, &again), "one object for one caller");
    assert!(gate.identity.is_standing(&who));
}

#[tokio::test]
async fn a_key_ends_and_so_does_what_it_opened() {
    let key = key::mint().expect("a key");
    let expires = Some(Timestamp::now().after(Duration::from_mins(1)));
    let gate = Gate::new(settings(vec![KeyRecord { expires, ..record(&key, "bot") }]));
    let who = gate.bearer(key.text.expose()).await.expect("let in");
    gate.clock.pass(Duration::from_secs(61));
    assert_eq!(told(gate.bearer(key.text.expose()).await).0, "unauthenticated");
    assert!(!gate.identity.is_standing(&who));
}

#[tokio::test]
async fn a_key_that_left_the_configuration_is_gone() {
    let key = key::mint().expect("a key");
    let gate = Gate::new(settings(vec![record(&key, "bot")]));
    let who = gate.bearer(key.text.expose()).await.expect("let in");
    let other = key::mint().expect("a key");
    let identity = gate.identity.renewed(
        IdentitySettings { configured: true, ..settings(vec![record(&other, "bot")]) },
        Follower::of_nothing(),
    );
    let gate = Gate { identity, ..gate };
    assert!(!gate.identity.is_standing(&who));
    assert_eq!(told(gate.bearer(key.text.expose()).await), ("unauthenticated", "unknown_key".into()));
}

#[tokio::test]
async fn a_key_of_no_tenant_opens_nothing() {
    let key = key::mint().expect("a key");
    let gate = Gate::new(settings(vec![KeyRecord { tenant: TenantId::new("gone"), ..record(&key, "bot") }]));
    assert!(told(gate.bearer(key.text.expose()).await).1.starts_with("tenant"));
}

#[tokio::test]
async fn what_is_no_key_is_refused_without_being_looked_up() {
    let (key, unknown) = (key::mint().expect("a key"), key::mint().expect("a key"));
    let gate = Gate::new(settings(vec![record(&key, "bot")]));
    let mut mistyped = key.text.expose().to_owned();
    let last = if mistyped.ends_with('x') { 'y' } else { 'x' };
    mistyped.pop();
    mistyped.push(last);
    assert!(told(gate.bearer(&mistyped).await).1.starts_with("malformed"));
    assert_eq!(told(gate.bearer(unknown.text.expose()).await).1, "unknown_key");
    assert_eq!(
        told(gate.try_value(None, "192.0.2.1").await),
        ("unauthenticated", "nothing_presented".into())
    );
    assert_eq!(told(gate.try_value(Some("Basic eDp5"), "192.0.2.1").await).1, "scheme");
}

#[tokio::test]
async fn anonymous_is_who_presents_nothing_and_nobody_else() {
    let anonymous = AnonymousSettings { groups: vec![Arc::from("guests")], ..AnonymousSettings::default() };
    let gate = Gate::new(IdentitySettings { anonymous: Some(anonymous), ..settings(Vec::new()) });
    let who = gate.try_value(None, "192.0.2.1").await.expect("let in");
    assert_eq!((who.id.as_str(), who.agent.as_deref()), ("anonymous", Some("anonymous")));
    assert_eq!(who.agent_groups, [Arc::from("guests")]);
    assert!(gate.identity.is_standing(&who));
    let unknown = key::mint().expect("a key");
    assert_eq!(told(gate.bearer(unknown.text.expose()).await).0, "unauthenticated");
    let closed = gate
        .identity
        .renewed(IdentitySettings { configured: true, ..settings(Vec::new()) }, Follower::of_nothing());
    assert!(!closed.is_standing(&who));
}

#[tokio::test]
async fn who_fails_too_often_waits_and_a_good_key_does_not() {
    let (key, unknown) = (key::mint().expect("a key"), key::mint().expect("a key"));
    let failures = FailureSettings { max: 3, window: Duration::from_secs(30), ..FailureSettings::default() };
    let gate = Gate::new(IdentitySettings { failures, ..settings(vec![record(&key, "bot")]) });
    for _ in 0..3 {
        assert_eq!(told(gate.bearer(unknown.text.expose()).await).0, "unauthenticated");
    }
    let refused = gate.bearer(unknown.text.expose()).await.expect_err("refused");
    assert_eq!((refused.refusal.code.row().http_modern, refused.retry_after_s), (429, Some(10)));
    assert!(gate.bearer(key.text.expose()).await.is_ok(), "what is known is not held up");
    assert_eq!(told(gate.try_value(None, "192.0.2.1").await).0, "unauthenticated", "discovery is no attempt");
    assert_eq!(
        told(gate.try_value(Some(&format!("Bearer {}", unknown.text.expose())), "192.0.2.2").await).0,
        "unauthenticated"
    );
    assert_eq!(
        told(gate.bearer(unknown.text.expose()).await).0,
        "too_many_failures",
        "a success elsewhere forgives nothing"
    );
    gate.clock.pass(Duration::from_secs(10));
    assert_eq!(told(gate.bearer(unknown.text.expose()).await).0, "unauthenticated");
}
