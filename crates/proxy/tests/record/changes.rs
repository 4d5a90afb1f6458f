//! Who changed what is desired.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tollgate_identity::{Identity, IdentitySettings};
use tollgate_model::{TenantId, Timestamp};
use tollgate_proxy::{Gateway, ProxySettings, Setup};
use tollgate_store::{Follower, FollowerSettings, Memory, Revocable, Revocation, Revocations as _};

use crate::book::Book;
use crate::rig::{World, server};
use crate::shop::Shop;

#[tokio::test]
async fn policies_and_configurations_that_come_into_force_are_on_record() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], "", book.ledger.clone()).await;
    let first = book.wait_for(|entry| entry["change"] == "policies.enforced").await;
    world.enforce("permit(principal, action, resource);").await.unwrap();
    book.wait_for(|entry| {
        entry["change"] == "policies.enforced" && entry["detail"]["set"] != first["detail"]["set"]
    })
    .await;
    world.gateway.apply(world.setup.clone(), Duration::ZERO).unwrap();
    let applied = book.wait_for(|entry| entry["change"] == "configuration.applied").await;
    assert_eq!(applied["detail"], json!({"servers": 1}));
}

#[tokio::test]
async fn what_is_taken_back_is_on_record_by_its_revision_and_without_names() {
    let (book, store) = (Book::new(), Arc::new(Memory::default()));
    let follower = Follower::follow(store.clone(), FollowerSettings::default());
    let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
    let identity = Identity::new(settings, follower.clone());
    let (ledger, empty) = (book.ledger.clone(), Setup::new(ProxySettings::default(), vec![], vec![]));
    let gateway = Gateway::new(Setup { identity, ledger, ..empty }).unwrap();
    crate::eventually(|| follower.age().is_some().then_some(())).await;
    let what = Revocable::User { tenant: TenantId::default(), user: Arc::from("zoe@example.com") };
    let revocation = Revocation { what, since: Timestamp::now(), until: None };
    store.revoke(revocation).await.unwrap();
    let entry = book.wait_for(|entry| entry["change"] == "user.revoked").await;
    assert!(entry["detail"]["revision"].as_u64().unwrap() > 0, "{entry}");
    assert!(entry["user"].is_string() && !entry.to_string().contains("zoe"), "{entry}");
    drop(gateway);
}
