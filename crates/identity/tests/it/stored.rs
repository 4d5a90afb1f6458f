//! Keys that are stored, and what is taken back.

use std::sync::Arc;
use std::time::Duration;

use tollgate_identity::IdentitySettings;
use tollgate_identity::key::{self, MintedKey};
use tollgate_model::{KeyRecord, TenantId, Timestamp};
use tollgate_store::{
    Follower, FollowerSettings, Keys as _, Memory, Revocable, Revocation, Revocations as _,
};

use crate::rig::{Gate, told};

fn record(key: &MintedKey) -> KeyRecord {
    KeyRecord {
        id: key.id.clone(),
        tenant: TenantId::default(),
        agent: Arc::from("bot"),
        groups: Vec::new(),
        hash: key.hash,
        created: Timestamp::now(),
        expires: None,
        revoked: None,
        replaced_by: None,
    }
}

fn gate(store: &Arc<Memory>) -> Gate {
    let follower = Follower::follow(store.clone(), FollowerSettings::default());
    Gate::following(IdentitySettings::default(), follower)
}

#[tokio::test]
async fn a_stored_key_is_good_until_it_is_revoked() {
    let store = Arc::new(Memory::default());
    let key = key::mint().expect("a key");
    let gate = gate(&store);
    gate.until(async || {
        gate.bearer(key.text.expose()).await.is_err_and(|e| e.refusal.code.row().name == "unauthenticated")
    })
    .await;
    store.add_key(record(&key)).await.expect("added");
    gate.until(async || gate.bearer(key.text.expose()).await.is_ok()).await;
    let who = gate.bearer(key.text.expose()).await.expect("let in");
    assert!(Arc::ptr_eq(&who, &gate.bearer(key.text.expose()).await.expect("let in")));
    store.revoke_key(&key.id, Timestamp::now()).await.expect("revoked");
    gate.until(async || !gate.identity.is_standing(&who)).await;
    assert_eq!(told(gate.bearer(key.text.expose()).await).0, "unauthenticated");
}

#[tokio::test]
async fn a_rotated_key_is_good_beside_its_successor_for_a_while() {
    let store = Arc::new(Memory::default());
    let (old, new) = (key::mint().expect("a key"), key::mint().expect("a key"));
    let gate = gate(&store);
    store.add_key(record(&old)).await.expect("added");
    gate.until(async || gate.bearer(old.text.expose()).await.is_ok()).await;
    let until = Timestamp::now().after(Duration::from_hours(1));
    store.rotate_key(&old.id, record(&new), until).await.expect("rotated");
    gate.until(async || gate.bearer(new.text.expose()).await.is_ok()).await;
    let (before, after) = (gate.bearer(old.text.expose()).await, gate.bearer(new.text.expose()).await);
    assert_eq!(
        before.expect("let in").id,
        after.expect("let in").id,
        "whatever the agent has open stays its own"
    );
    gate.clock.pass(Duration::from_mins(61));
    assert_eq!(told(gate.bearer(old.text.expose()).await).0, "unauthenticated");
    assert!(gate.bearer(new.text.expose()).await.is_ok());
}

#[tokio::test]
async fn an_agent_that_is_taken_back_is_refused_with_every_key() {
    let store = Arc::new(Memory::default());
    let key = key::mint().expect("a key");
    let gate = gate(&store);
    store.add_key(record(&key)).await.expect("added");
    gate.until(async || gate.bearer(key.text.expose()).await.is_ok()).await;
    let who = gate.bearer(key.text.expose()).await.expect("let in");
    let what = Revocable::Agent { tenant: TenantId::default(), agent: Arc::from("bot") };
    store.revoke(Revocation { what, since: Timestamp::now(), until: None }).await.expect("revoked");
    gate.until(async || !gate.identity.is_standing(&who)).await;
    assert!(told(gate.bearer(key.text.expose()).await).1.starts_with("revoked"));
}
