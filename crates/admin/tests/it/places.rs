//! Work that takes long has a place among few until it ends, whether somebody waits for it or not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_admin::{Admin, Role};
use tollgate_model::Secret;
use tollgate_store::RuleSetId;

use crate::support::{Fake, HeldUp, SET, acme, admin, ask, fake, key_of};

/// How long nothing may happen.
const NOTHING: Duration = Duration::from_millis(200);

async fn held_up() -> (Arc<Admin>, Arc<HeldUp>, Arc<tollgate_store::Memory>, Secret) {
    let held_up = HeldUp::new();
    let fake = Fake { held_up: Some(held_up.clone()), ..fake().await };
    let store = fake.store.clone();
    let key = key_of(&store, Role::Security, Some("acme")).await;
    (Arc::new(admin(fake).0), held_up, store, key)
}

fn set(what: &str) -> String {
    use base64::Engine as _;
    let of = RuleSetId::new(Some(acme()), SET).expect("a name");
    let (tenant, name) = of.parts();
    let id = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!([tenant, name]).to_string());
    format!("/api/v1/policy-sets/{id}{what}")
}

/// Asks, and leaves once it has begun.
async fn begin_and_leave(admin: &Arc<Admin>, key: &Secret, held_up: &HeldUp, path: &str) {
    let (admin, key, path) = (Arc::clone(admin), key.clone(), path.to_owned());
    let asking = tokio::spawn(async move { ask(&admin, &key, "POST", &path, Some(&json!({}))).await });
    held_up.begun.acquire().await.expect("open").forget();
    asking.abort();
    assert!(asking.await.is_err_and(|error| error.is_cancelled()));
}

#[tokio::test]
async fn simulations_have_their_places_until_they_end() {
    let (admin, held_up, _, key) = held_up().await;
    for _ in 0..2 {
        begin_and_leave(&admin, &key, &held_up, &set("/simulate")).await;
    }
    // All places are taken, although nobody waits any more.
    let (path, body) = (set("/validate"), json!({ "text": "// fine" }));
    let mut next = Box::pin(ask(&admin, &key, "POST", &path, Some(&body)));
    assert!(tokio::time::timeout(NOTHING, &mut next).await.is_err(), "it was tried out beside the two");
    // What has to be stopped at once does not wait for them, nor for somebody who waits for a place to put policies in force.
    let (path, body) = (set("/promote"), json!({ "version": 2 }));
    let mut promoted = Box::pin(ask(&admin, &key, "POST", &path, Some(&body)));
    assert!(tokio::time::timeout(NOTHING, &mut promoted).await.is_err());
    let body = json!({ "kind": "agent", "tenant": "acme", "name": "bot", "reason": "it runs amok" });
    let blocked = ask(&admin, &key, "POST", "/api/v1/blocks", Some(&body)).await;
    assert_eq!(blocked.status, 201, "{}", blocked.body);
    held_up.may_end.add_permits(2);
    let (next, promoted) = tokio::join!(next, promoted);
    assert_eq!((next.status, promoted.status), (200, 200), "{} {}", next.body, promoted.body);
}

#[tokio::test(start_paused = true)]
async fn reviews_have_their_places_until_they_end() {
    let (admin, held_up, _, key) = held_up().await;
    let draft = json!({
        "tenant": "acme", "name": "forms", "version": "1", "reach": { "url": "https://forms.example/mcp" }, "reason": "needed",
    });
    let made = ask(&admin, &key, "POST", "/api/v1/servers", Some(&draft)).await;
    assert_eq!(made.status, 201, "{}", made.body);
    let made = made.json();
    let path = format!("/api/v1/servers/{}/versions/1/review", made["server"].as_str().expect("an id"));
    for _ in 0..3 {
        begin_and_leave(&admin, &key, &held_up, &path).await;
    }
    // It takes longer than anybody waits.
    let fourth = ask(&admin, &key, "POST", &path, None).await;
    assert_eq!(
        (fourth.status, fourth.json()["code"].as_str()),
        (502, Some("not_reached")),
        "{}",
        fourth.body
    );
    let fifth = ask(&admin, &key, "POST", &path, None).await;
    assert_eq!(fifth.status, 503, "it is still asked: {}", fifth.body);
    held_up.may_end.add_permits(5);
    loop {
        let next = ask(&admin, &key, "POST", &path, None).await;
        if next.status == 200 {
            break;
        }
        assert_eq!(next.status, 503, "{}", next.body);
        tokio::task::yield_now().await;
    }
}
