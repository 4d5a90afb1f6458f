//! Sets of policies, and what becomes of them.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;

use tollgate_model::{TenantId, Timestamp};

use super::{Place, open};
use crate::{Change, Changes, Desired, RuleDoing, RuleSet, RuleSetId, Store, StoreError, WhichRules};

fn doing(at: u64) -> RuleDoing {
    RuleDoing { by: "Ünï".into(), reason: "it is \"due\"".into(), at: Timestamp::from_ms(at) }
}

fn set(tenant: Option<&str>, name: &str) -> RuleSet {
    let id = RuleSetId::new(tenant.map(TenantId::new), name).unwrap();
    RuleSet::draft(id, "permit (principal, action, resource); // ü".into(), &doing(1))
}

async fn list(store: &dyn Store, which: WhichRules) -> Vec<String> {
    let found = store.all_rules(&which).await.unwrap();
    found.iter().map(|one| format!("{}/{}", one.id.parts().0, one.id.name)).collect()
}

pub async fn rules_are_kept_with_their_versions(place: &dyn Place) {
    let store = open(place);
    let first = set(Some("acme"), "pay");
    assert_eq!(store.rules(&first.id).await.unwrap(), None);
    let written = first.written("forbid (principal, action, resource);".into(), &doing(2));
    let looking = written.shadowed(Some(2), &doing(3)).unwrap();
    let deciding = looking.promoted(1, &doing(4)).unwrap();
    let next = deciding.promoted(2, &doing(5)).unwrap();
    let back = next.rolled_back(&doing(6)).unwrap();
    for one in [&first, &written, &looking, &deciding, &next, &back] {
        store.put_rules(one.clone()).await.unwrap();
        assert_eq!(open(place).rules(&one.id).await.unwrap().as_ref(), Some(one));
        assert!(matches!(store.put_rules(one.clone()).await, Err(StoreError::Overtaken)), "not twice");
    }
    for (tenant, name) in [(None, "z"), (Some("acme"), "a-1"), (Some("acme"), "a.b"), (Some("Other"), "a")] {
        store.put_rules(set(tenant, name)).await.unwrap();
    }
    let all = WhichRules { most: 100, ..WhichRules::default() };
    assert_eq!(list(&*store, all.clone()).await, ["/z", "Other/a", "acme/a-1", "acme/a.b", "acme/pay"]);
    let two = store.all_rules(&WhichRules { most: 2, ..all.clone() }).await.unwrap();
    let rest = WhichRules { after: Some(two[1].id.clone()), ..all.clone() };
    assert_eq!(list(&*store, rest).await, ["acme/a-1", "acme/a.b", "acme/pay"]);
    let listed = store.all_rules(&all).await.unwrap().pop().unwrap();
    assert_eq!(listed, back.in_use(), "with the text that decides, and no other");
    let withdrawn = back.withdrawn(&doing(7)).unwrap();
    store.put_rules(withdrawn.clone()).await.unwrap();
    store.put_rules(withdrawn.removed(&doing(8)).unwrap()).await.unwrap();
    assert_eq!(store.rules(&back.id).await.unwrap(), None);
    assert_eq!(list(&*store, all).await.len(), 4);
}

pub async fn of_two_who_change_rules_one_is_told(place: &dyn Place) {
    let (one, other) = (open(place), open(place));
    let first = set(None, "stop");
    one.put_rules(first.clone()).await.unwrap();
    let texts = ["a", "b"].map(|text| first.written(text.into(), &doing(2)));
    let [mine, theirs] = texts.clone();
    let (mine, theirs) = tokio::join!(one.put_rules(mine), other.put_rules(theirs));
    assert!(mine.is_ok() != theirs.is_ok(), "{mine:?} {theirs:?}");
    let kept = one.rules(&first.id).await.unwrap().unwrap();
    assert!(texts.contains(&kept) && kept.revision == 2);
    // What was written is never altered.
    let mut altered = kept.promoted(1, &doing(3)).unwrap();
    altered.versions[0].text = "other".into();
    assert!(matches!(one.put_rules(altered).await, Err(StoreError::Unfit { .. })));
    assert_eq!(other.rules(&first.id).await.unwrap(), Some(kept));
}

pub async fn what_decides_is_in_the_feed_and_the_snapshot(place: &dyn Place) {
    let store = open(place);
    let start = store.head().await.unwrap();
    let first = set(Some("acme"), "pay");
    let deciding = first.promoted(1, &doing(2)).unwrap();
    let written = deciding.written("forbid (principal, action, resource);".into(), &doing(3));
    let gone = set(None, "gone");
    let removed = gone.removed(&doing(4)).unwrap();
    let all = [&first, &deciding, &written, &gone, &removed];
    for one in all {
        store.put_rules(one.clone()).await.unwrap();
    }
    let Changes::These(changes) = open(place).changes(start, 100).await.unwrap() else { panic!("lost") };
    let said: Vec<Change> = changes.into_iter().map(|change| change.change).collect();
    assert_eq!(said, all.map(|one| Change::Ruled(Arc::new(one.in_use()))));
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.rules, [Arc::new(written.in_use())]);
    let desired = Desired::from(snapshot);
    let found = desired.rules().values().next().unwrap().deciding().map(|version| version.number);
    assert_eq!(found, Some(1), "a draft beside it decides nothing");
}
