//! Servers that are registered, and their life.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::{TenantId, Timestamp};

use super::{Place, open, registered};
use crate::{
    About, Doing, Registration, RegistrationId, Store, StoreError, VERSIONS_MAX, WHOLE, WhichRegistrations,
    approve, shift,
};

fn doing(at: u64) -> Doing {
    Doing { by: "ops".into(), reason: "it is \"due\"".into(), at: Timestamp::from_ms(at) }
}

async fn put(store: &dyn Store, next: &Registration) -> Result<(), StoreError> {
    store.put_registrations(vec![next.clone()]).await
}

pub async fn registrations_live_as_they_may(place: &dyn Place) {
    let store = open(place);
    let draft = registered("crm", "1");
    assert_eq!(store.registration(&draft.id).await.unwrap(), None);
    let mut life = vec![draft.clone()];
    let edited = draft.edited("{}".into(), About::default(), &doing(2)).unwrap();
    let submitted = edited.submitted(&doing(3)).unwrap();
    let rejected = submitted.rejected(&doing(4)).unwrap();
    let again = rejected.submitted(&doing(5)).unwrap();
    let approved = approve(std::slice::from_ref(&again), "1", None, true, &doing(6)).unwrap().remove(0);
    let deprecated = approved.deprecated(Timestamp::from_ms(9_000), &doing(7)).unwrap();
    let retired = deprecated.retired(&doing(8)).unwrap();
    life.extend([edited, submitted, rejected, again, approved, deprecated, retired.clone()]);
    for next in &life {
        put(&*store, next).await.unwrap();
        assert_eq!(open(place).registration(&next.id).await.unwrap().as_ref(), Some(next));
        assert!(matches!(put(&*store, next).await, Err(StoreError::Overtaken)), "not twice");
    }
    // Who made it finds it good only with a word.
    let mut silent = approve(std::slice::from_ref(&life[4]), "1", None, true, &doing(6)).unwrap().remove(0);
    assert!(silent.last.is_own, "by whoever submitted it");
    silent.last.is_own = false;
    assert!(matches!(silent.check(Some(&life[4])), Err(StoreError::OwnWork)));
    // Nothing comes back, and nothing skips its review.
    let back = Registration { revision: retired.revision + 1, ..life[5].clone() };
    assert!(matches!(put(&*store, &back).await, Err(StoreError::NotInLife { .. })));
    let skipped = Registration { id: registered("other", "1").id, ..life[5].clone() };
    assert!(put(&*store, &skipped).await.is_err());
    assert_eq!(store.registration(&skipped.id).await.unwrap(), None);
    // Listed by tenant, name and version.
    let names = [("b", "2"), ("b", "10"), ("a-1", "1"), ("B", "1")];
    for (name, version) in names {
        put(&*store, &registered(name, version)).await.unwrap();
    }
    let mut other = registered("a", "1");
    other.id.tenant = TenantId::new("Other");
    put(&*store, &other).await.unwrap();
    let list = async |which: WhichRegistrations| {
        let found = store.registrations(&which).await.unwrap();
        found.iter().map(|one| format!("{}@{}", one.id.name, one.id.version)).collect::<Vec<_>>()
    };
    let all = WhichRegistrations { most: 100, ..WhichRegistrations::default() };
    assert_eq!(list(all.clone()).await, ["a@1", "B@1", "a-1@1", "b@10", "b@2", "crm@1"]);
    let acme = WhichRegistrations { tenant: Some(TenantId::new("acme")), ..all.clone() };
    assert_eq!(list(acme.clone()).await, ["B@1", "a-1@1", "b@10", "b@2", "crm@1"]);
    let b = WhichRegistrations { name: Some(registered("b", "1").id.name), ..acme };
    assert_eq!(list(b).await, ["b@10", "b@2"]);
    let page = WhichRegistrations { after: Some(registered("a-1", "1").id), most: 2, ..all };
    assert_eq!(list(page).await, ["b@10", "b@2"]);
}

pub async fn of_two_who_change_a_registration_one_is_told(place: &dyn Place) {
    let (one, two) = (open(place), open(place));
    let draft = registered("crm", "1");
    let (first, second) = tokio::join!(put(&*one, &draft), put(&*two, &draft));
    assert_eq!([&first, &second].iter().filter(|done| done.is_ok()).count(), 1, "{first:?} {second:?}");
    for _ in 0..5 {
        let now = one.registration(&draft.id).await.unwrap().unwrap();
        let edit = |text: &str| now.edited(text.into(), About::default(), &doing(2)).unwrap();
        let (mine, yours) = (edit("{\"url\":\"1\"}"), edit("{\"url\":\"2\"}"));
        let (first, second) = tokio::join!(put(&*one, &mine), put(&*two, &yours));
        let (won, lost) = if first.is_ok() { (&mine, second) } else { (&yours, first) };
        assert!(matches!(lost, Err(StoreError::Overtaken)), "{lost:?}");
        assert_eq!(two.registration(&draft.id).await.unwrap().as_ref(), Some(won));
    }
}

pub async fn registrations_change_together_or_not_at_all(place: &dyn Place) {
    let store = open(place);
    let mut versions = Vec::new();
    for version in ["1", "2"] {
        let draft = registered("crm", version);
        put(&*store, &draft).await.unwrap();
        let submitted = draft.submitted(&doing(2)).unwrap();
        put(&*store, &submitted).await.unwrap();
        versions.push(submitted);
    }
    let all = WhichRegistrations { most: 10, ..WhichRegistrations::default() };
    for version in ["1", "2"] {
        let changed = approve(&versions, version, None, true, &doing(3)).unwrap();
        store.put_registrations(changed).await.unwrap();
        versions = store.registrations(&all).await.unwrap();
    }
    let shares = |versions: &[Registration]| versions.iter().map(|one| one.share).collect::<Vec<_>>();
    assert_eq!(shares(&versions), [0, 100]);
    let head = store.head().await.unwrap();
    let mut changed = shift(&versions, "1", WHOLE, &doing(4)).unwrap();
    assert_eq!(changed.len(), 2);
    changed[1].revision += 1;
    assert!(store.put_registrations(changed.clone()).await.is_err());
    assert_eq!(store.registrations(&all).await.unwrap(), versions, "neither of the two");
    assert_eq!(store.head().await.unwrap(), head);
    changed[1].revision -= 1;
    store.put_registrations(changed).await.unwrap();
    assert_eq!(shares(&store.registrations(&all).await.unwrap()), [100, 0]);
    assert_eq!(store.head().await.unwrap().revision, head.revision + 2);
}

/// Each gives a version of its own to all requests, and has not seen what the other does.
pub async fn versions_that_are_approved_at_once_share_the_requests(place: &dyn Place) {
    let (one, two) = (open(place), open(place));
    for round in 0..6 {
        let name = format!("crm-{round}");
        let mut versions = Vec::new();
        for version in ["1", "2"] {
            let draft = registered(&name, version);
            put(&*one, &draft).await.unwrap();
            let submitted = draft.submitted(&doing(2)).unwrap();
            put(&*one, &submitted).await.unwrap();
            versions.push(submitted);
        }
        let approved = |version| approve(&versions, version, None, true, &doing(3)).unwrap();
        let (first, second) =
            tokio::join!(one.put_registrations(approved("1")), two.put_registrations(approved("2")));
        let (won, lost) = if first.is_ok() { (first, second) } else { (second, first) };
        won.unwrap();
        assert!(matches!(lost, Err(StoreError::Overtaken)), "{lost:?}");
        let which = WhichRegistrations {
            name: Some(registered(&name, "1").id.name),
            most: 9,
            ..WhichRegistrations::default()
        };
        let mut shares: Vec<_> =
            two.registrations(&which).await.unwrap().iter().map(|one| one.share).collect();
        shares.sort_unstable();
        assert_eq!(shares, [0, WHOLE]);
    }
}

pub async fn a_server_has_so_many_versions(place: &dyn Place) {
    let store = open(place);
    let draft = |number: usize| registered("crm", &format!("{number:02}"));
    let drafts = (0..VERSIONS_MAX).map(draft).collect();
    store.put_registrations(drafts).await.unwrap();
    let more = draft(VERSIONS_MAX);
    assert!(matches!(put(&*store, &more).await, Err(StoreError::Full { .. })));
    put(&*store, &registered("other", "1")).await.unwrap();
    let retired = draft(3).retired(&doing(9)).unwrap();
    put(&*store, &retired).await.unwrap();
    put(&*store, &more).await.unwrap();
    let none = RegistrationId { version: "none".into(), ..more.id };
    assert_eq!(store.registration(&none).await.unwrap(), None);
}
