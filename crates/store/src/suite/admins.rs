//! Who administers.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use tollgate_model::{KeyHash, KeyId, TenantId, Timestamp};

use super::{Place, open};
use crate::{
    AdminGrant, AdminKey, AdminSession, Change, Changes, Digest, ONCE_KEPT, ONCE_UNDER_WAY, Once, StoreError,
};

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

fn key(id: &str) -> AdminKey {
    AdminKey {
        id: KeyId::new(id),
        name: "deploy \"bot\"".into(),
        grants: vec![
            AdminGrant { role: "viewer".into(), tenant: None },
            AdminGrant { role: "operator".into(), tenant: Some(TenantId::new("Ünï")) },
        ],
        hash: KeyHash(Digest::of([id.as_bytes()]).0),
        created: ms(1_000),
        expires: Some(ms(9_000)),
        revoked: None,
        by: "root".into(),
    }
}

pub async fn admin_keys_are_kept_and_revoked_for_good(place: &dyn Place) {
    let store = open(place);
    let head = store.head().await.unwrap();
    for id in ["b", "a"] {
        store.add_admin_key(key(id)).await.unwrap();
    }
    assert!(matches!(store.add_admin_key(key("a")).await, Err(StoreError::KeyTaken)));
    let other = AdminKey { id: KeyId::new("c"), ..key("a") };
    assert!(matches!(store.add_admin_key(other).await, Err(StoreError::KeyTaken)), "of the same digest");
    let store = open(place);
    assert_eq!(store.admin_keys(None, 9).await.unwrap(), [key("a"), key("b")]);
    assert_eq!(store.admin_keys(Some(&KeyId::new("a")), 9).await.unwrap(), [key("b")]);
    assert_eq!(store.admin_keys(None, 1).await.unwrap(), [key("a")]);
    assert_eq!(store.admin_key(&key("b").hash).await.unwrap(), Some(key("b")));
    assert_eq!(store.admin_key(&KeyHash([7; 32])).await.unwrap(), None);
    let revoked = store.revoke_admin_key(&KeyId::new("a"), ms(5_000), "ada").await.unwrap();
    assert_eq!(revoked, AdminKey { revoked: Some(ms(5_000)), by: "ada".into(), ..key("a") });
    assert!(!revoked.is_good(ms(1)) && key("a").is_good(ms(8_999)) && !key("a").is_good(ms(9_000)));
    let again = store.revoke_admin_key(&KeyId::new("a"), ms(6_000), "eve").await.unwrap();
    assert_eq!(again, revoked);
    let nobody = store.revoke_admin_key(&KeyId::new("x"), ms(6_000), "eve").await;
    assert!(matches!(nobody, Err(StoreError::NoSuchKey)));
    let Changes::These(changes) = store.changes(head, 9).await.unwrap() else { panic!("they are there") };
    let told: Vec<_> = changes.iter().map(|numbered| &numbered.change).collect();
    let unknown = |key: AdminKey| Change::AdminKey(Arc::new(AdminKey { hash: KeyHash([0; 32]), ..key }));
    let is_told = |change: &Change, key: AdminKey| match change {
        Change::AdminKey(told) => {
            Change::AdminKey(Arc::new(AdminKey { hash: KeyHash([0; 32]), ..(**told).clone() }))
                == unknown(key)
        }
        _ => false,
    };
    assert_eq!(told.len(), 3);
    assert!(is_told(told[0], key("b")) && is_told(told[1], key("a")) && is_told(told[2], revoked));
}

fn session(name: &str, seen: u64, expires: u64) -> AdminSession {
    AdminSession {
        digest: Digest::of([name.as_bytes()]),
        how: "oidc".into(),
        proof: "https://idp.example".into(),
        subject: name.into(),
        name: "Ada \"L\"".into(),
        groups: vec!["ops".into(), "ü".into()],
        created: ms(seen),
        seen: ms(seen),
        expires: ms(expires),
    }
}

pub async fn admin_sessions_are_kept_until_they_are_over(place: &dyn Place) {
    let store = open(place);
    let (one, other) = (session("one", 1_000, 5_000), session("other", 2_000, 9_000));
    for session in [&one, &other] {
        store.begin_admin_session(session.clone()).await.unwrap();
    }
    let store = open(place);
    assert_eq!(store.admin_session(&one.digest).await.unwrap(), Some(one.clone()));
    store.see_admin_session(&one.digest, ms(3_000)).await.unwrap();
    store.see_admin_session(&one.digest, ms(2_500)).await.unwrap();
    let seen = store.admin_session(&one.digest).await.unwrap();
    assert_eq!(seen, Some(AdminSession { seen: ms(3_000), ..one.clone() }), "the latest");
    store.begin_admin_session(session("third", 5_000, 9_000)).await.unwrap();
    assert_eq!(store.admin_session(&one.digest).await.unwrap(), None, "it was over");
    assert_eq!(store.admin_session(&other.digest).await.unwrap(), Some(other.clone()));
    assert!(store.end_admin_session(&other.digest).await.unwrap());
    assert!(!store.end_admin_session(&other.digest).await.unwrap());
    assert_eq!(store.admin_session(&other.digest).await.unwrap(), None);
}

pub async fn what_is_asked_for_once_is_answered_the_same_again(place: &dyn Place) {
    let store = open(place);
    let (key, one, other) = (Digest([1; 32]), Digest([2; 32]), Digest([3; 32]));
    let at = |later: std::time::Duration| ms(1_000).after(later);
    let zero = std::time::Duration::ZERO;
    assert_eq!(store.begin_once(&key, &one, at(zero)).await.unwrap(), Once::Begun);
    let store = open(place);
    assert_eq!(store.begin_once(&key, &one, at(zero)).await.unwrap(), Once::UnderWay);
    assert_eq!(store.begin_once(&key, &other, at(zero)).await.unwrap(), Once::Another);
    store.end_once(&key, None).await.unwrap();
    assert_eq!(store.begin_once(&key, &one, at(zero)).await.unwrap(), Once::Begun, "it was not carried out");
    assert_eq!(
        store.begin_once(&key, &one, at(ONCE_UNDER_WAY)).await.unwrap(),
        Once::Begun,
        "its process died"
    );
    store.end_once(&key, Some((201, "{\"ü\":1}"))).await.unwrap();
    let answered = Once::Answered { status: 201, body: "{\"ü\":1}".into() };
    assert_eq!(store.begin_once(&key, &one, at(ONCE_UNDER_WAY * 2)).await.unwrap(), answered);
    assert_eq!(store.begin_once(&key, &other, at(ONCE_UNDER_WAY * 2)).await.unwrap(), Once::Another);
    assert_eq!(
        store.begin_once(&key, &other, at(ONCE_KEPT * 2)).await.unwrap(),
        Once::Begun,
        "it is forgotten"
    );
}
