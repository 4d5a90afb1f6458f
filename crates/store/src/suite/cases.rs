//! What is kept, and what is refused.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use bytes::Bytes;
use tollgate_model::{KeyId, KeyRecord, ServerName, TenantId, Timestamp};

use super::{Place, blocked_agent, definitions, key, open, revoked_user};
use crate::{
    ACCEPTED_MAX, Blockable, Blocking, DEFINITIONS_BYTES_MAX, Definitions, DefinitionsOf, Digest, ENDED_KEPT,
    List, Pausable, Pausing, Resuming, Revocable, Revocation, StoreError, Unblocking, WhichKeys,
};

fn ms(ms: u64) -> Timestamp {
    Timestamp::from_ms(ms)
}

pub async fn many_may_start_at_once(place: &dyn Place) {
    let starting: Vec<_> = (0..6)
        .map(|_| {
            let store = open(place);
            tokio::spawn(async move { store.prepare().await })
        })
        .collect();
    for started in starting {
        started.await.unwrap().unwrap();
    }
    assert_eq!(open(place).head().await.unwrap().revision, 0);
}

pub async fn keys_are_kept(place: &dyn Place) {
    let store = open(place);
    assert_eq!(store.key(&KeyId::new("a")).await.unwrap(), None);
    let plain = KeyRecord { groups: Vec::new(), ..key("a") };
    let full = KeyRecord {
        agent: "Ünï \u{1f511} bot's".into(),
        expires: Some(ms(5)),
        revoked: Some(ms(6)),
        replaced_by: Some(KeyId::new("c")),
        ..key("b")
    };
    for key in [plain, full] {
        store.add_key(key.clone()).await.unwrap();
        assert_eq!(store.key(&key.id).await.unwrap().as_ref(), Some(&key));
    }
    let same_id = KeyRecord { hash: key("x").hash, ..key("a") };
    let same_hash = KeyRecord { id: KeyId::new("x"), ..key("a") };
    for taken in [same_id, same_hash] {
        assert!(matches!(store.add_key(taken).await, Err(StoreError::KeyTaken)));
    }
    assert_eq!(store.key(&KeyId::new("x")).await.unwrap(), None);
}

pub async fn keys_are_listed_in_their_order(place: &dyn Place) {
    let store = open(place);
    let ids = ["b", "a-1", "B", "a_1", "ä", "a1", "_"];
    for id in ids {
        let tenant = TenantId::new(if id.len() == 1 { "one" } else { "more" });
        store.add_key(KeyRecord { tenant, agent: id.into(), ..key(id) }).await.unwrap();
    }
    let list = async |which: WhichKeys| {
        let keys = store.keys(&which).await.unwrap();
        keys.iter().map(|key| key.id.as_str().to_owned()).collect::<Vec<_>>()
    };
    let all = WhichKeys { most: 100, ..WhichKeys::default() };
    let mut sorted = ids;
    sorted.sort_unstable();
    assert_eq!(list(all.clone()).await, sorted, "by their bytes");
    let mut paged = Vec::new();
    let mut page = WhichKeys { most: 2, ..WhichKeys::default() };
    loop {
        let found = list(page.clone()).await;
        assert!(found.len() <= 2);
        let Some(last) = found.last() else { break };
        page.after = Some(KeyId::new(last));
        paged.extend(found);
    }
    assert_eq!(paged, sorted);
    let one = WhichKeys { tenant: Some(TenantId::new("one")), ..all.clone() };
    assert_eq!(list(one.clone()).await, ["B", "_", "b"]);
    assert_eq!(list(WhichKeys { agent: Some("b".into()), ..one }).await, ["b"]);
    assert_eq!(list(WhichKeys { tenant: Some(TenantId::new("none")), ..all }).await, [""; 0]);
}

pub async fn a_rotated_key_ends_when_it_is_told_to(place: &dyn Place) {
    let store = open(place);
    store.add_key(key("old")).await.unwrap();
    let short = KeyRecord { expires: Some(ms(3_000)), ..key("short") };
    store.add_key(short).await.unwrap();
    for (old, new, until, expires) in [("old", "new", 9_000, 9_000), ("short", "long", 9_000, 3_000)] {
        let old = KeyId::new(old);
        let rotated = store.rotate_key(&old, key(new), ms(until)).await.unwrap();
        assert_eq!(rotated.expires, Some(ms(expires)));
        assert_eq!(rotated.replaced_by, Some(KeyId::new(new)));
        assert_eq!(store.key(&old).await.unwrap(), Some(rotated));
        assert_eq!(store.key(&KeyId::new(new)).await.unwrap(), Some(key(new)));
    }
    let expired = KeyRecord { created: ms(9_000), ..key("next") };
    let again = store.rotate_key(&KeyId::new("old"), expired, ms(9_500)).await;
    assert!(matches!(again, Err(StoreError::KeyEnded)));
    // The new one can be rotated in its turn.
    store.rotate_key(&KeyId::new("new"), key("newer"), ms(9_000)).await.unwrap();
}

pub async fn what_cannot_be_rotated_stays_as_it_is(place: &dyn Place) {
    let store = open(place);
    store.add_key(key("a")).await.unwrap();
    store.add_key(KeyRecord { expires: Some(ms(500)), ..key("expired") }).await.unwrap();
    store.add_key(key("revoked")).await.unwrap();
    store.revoke_key(&KeyId::new("revoked"), ms(2_000)).await.unwrap();
    let before = store.snapshot().await.unwrap();
    let rotate = async |old: &str, new: KeyRecord| {
        store.rotate_key(&KeyId::new(old), new, ms(9_000)).await.unwrap_err()
    };
    assert!(matches!(rotate("nobody", key("n")).await, StoreError::NoSuchKey));
    assert!(matches!(rotate("expired", key("n")).await, StoreError::KeyEnded));
    assert!(matches!(rotate("revoked", key("n")).await, StoreError::KeyEnded));
    let other = KeyRecord { tenant: TenantId::new("other"), ..key("n") };
    assert!(matches!(rotate("a", other).await, StoreError::KeyOfAnother));
    let other = KeyRecord { agent: "other".into(), ..key("n") };
    assert!(matches!(rotate("a", other).await, StoreError::KeyOfAnother));
    assert!(matches!(rotate("a", key("expired")).await, StoreError::KeyTaken));
    assert!(matches!(rotate("a", key("a")).await, StoreError::KeyTaken));
    let after = store.snapshot().await.unwrap();
    assert_eq!((after.cursor, after.keys), (before.cursor, before.keys));
}

pub async fn a_key_is_revoked_once_and_for_good(place: &dyn Place) {
    let store = open(place);
    let id = KeyId::new("a");
    assert!(matches!(store.revoke_key(&id, ms(1)).await, Err(StoreError::NoSuchKey)));
    store.add_key(key("a")).await.unwrap();
    let revoked = store.revoke_key(&id, ms(2_000)).await.unwrap();
    assert_eq!(revoked, KeyRecord { revoked: Some(ms(2_000)), ..key("a") });
    let head = store.head().await.unwrap();
    assert_eq!(store.revoke_key(&id, ms(3_000)).await.unwrap(), revoked);
    assert_eq!(store.key(&id).await.unwrap(), Some(revoked));
    assert_eq!(store.head().await.unwrap(), head, "nothing has changed");
}

pub async fn revocations_are_kept_until_they_are_taken_back(place: &dyn Place) {
    let store = open(place);
    let token = Revocable::Token { issuer: "https://idp.example".into(), id: "jti-1".into() };
    let agent = Revocable::Agent { tenant: TenantId::new("acme"), agent: "ada".into() };
    let token = Revocation { what: token, since: ms(1), until: Some(ms(2_000)) };
    let agent = Revocation { what: agent, since: ms(1), until: None };
    let ada = revoked_user("ada");
    for revocation in [&ada, &token, &agent] {
        store.revoke(revocation.clone()).await.unwrap();
    }
    let all = store.revocations(None, 10).await.unwrap();
    assert_eq!(all, [agent.clone(), token.clone(), ada.clone()]);
    assert_eq!(store.revocations(None, 1).await.unwrap(), all[..1]);
    assert_eq!(store.revocations(Some(&agent.what), 10).await.unwrap(), all[1..]);
    assert_eq!(store.revocations(Some(&ada.what), 10).await.unwrap(), []);
    let longer = Revocation { until: Some(ms(8_000)), ..ada.clone() };
    store.revoke(longer.clone()).await.unwrap();
    assert!(store.reinstate(&token.what).await.unwrap());
    assert!(!store.reinstate(&token.what).await.unwrap());
    assert_eq!(store.revocations(None, 10).await.unwrap(), [agent, longer]);
}

pub async fn revocations_that_ended_long_ago_go(place: &dyn Place) {
    let store = open(place);
    let ended = Revocation { until: Some(ms(2_000)), ..revoked_user("ended") };
    let later = ms(2_001).after(ENDED_KEPT);
    let just = Revocation { until: Some(ms(2_001)), ..revoked_user("just ended") };
    let last = Revocation { since: later, ..revoked_user("last") };
    for revocation in [&ended, &just, &last] {
        store.revoke(revocation.clone()).await.unwrap();
    }
    assert_eq!(store.revocations(None, 10).await.unwrap(), [just, last]);
}

pub async fn pauses_are_kept_until_they_are_over_or_lifted(place: &dyn Place) {
    let store = open(place);
    let of = |tenant: &str, agent: &str, until| Pausing {
        who: Pausable { tenant: TenantId::new(tenant), agent: agent.into() },
        why: "repeats".into(),
        since: Timestamp::from_ms(1_000),
        until: Timestamp::from_ms(until),
    };
    let all = [of("acme", "Ünï", 3_000), of("acme", "b", 2_000), of("globex", "a", 2_000)];
    let mut sorted = all.to_vec();
    sorted.sort_by(|one, other| one.who.cmp(&other.who));
    for pausing in &all {
        store.pause(pausing.clone()).await.unwrap();
    }
    assert_eq!(open(place).pauses(None, 10).await.unwrap(), sorted);
    assert_eq!(store.pauses(Some(&sorted[0].who), 1).await.unwrap(), sorted[1..2]);
    let again = Pausing { why: "surge".into(), since: Timestamp::from_ms(2_500), ..of("acme", "c", 9_000) };
    store.pause(again.clone()).await.unwrap();
    let left = store.pauses(None, 10).await.unwrap();
    assert!(left.contains(&again) && left.contains(&all[0]) && left.contains(&all[2]), "{left:?}");
    assert_eq!(left.len(), 3, "one of that tenant was over");
    assert_eq!(store.snapshot().await.unwrap().pauses, left);
    for who in [&again.who, &all[0].who, &all[2].who] {
        let resuming = Resuming { who: who.clone(), reason: "".into(), by: "ops".into() };
        assert!(store.resume(resuming.clone()).await.unwrap());
        assert!(!store.resume(resuming).await.unwrap());
    }
    assert_eq!(store.pauses(None, 10).await.unwrap(), []);
}

pub async fn blocks_are_kept_until_they_are_lifted(place: &dyn Place) {
    let store = open(place);
    let server = ServerName::new("crm").unwrap();
    let of = |what: Blockable| Blocking { what, ..blocked_agent("") };
    // In the order in which they are listed: kind, whose, name.
    let all = [
        blocked_agent("bot"),
        of(Blockable::Key { id: KeyId::new("k") }),
        of(Blockable::Server { tenant: None, server: server.clone() }),
        of(Blockable::Server { tenant: Some(TenantId::new("acme")), server: server.clone() }),
        of(Blockable::Tenant { tenant: TenantId::new("acme") }),
        of(Blockable::Tool { tenant: None, server, native: "Ünï \u{1f511} a/b".into() }),
        of(Blockable::User { tenant: TenantId::new("acme"), user: "ada".into() }),
    ];
    for blocking in all.iter().rev() {
        assert!(store.block(blocking.clone()).await.unwrap());
    }
    assert_eq!(open(place).blocks(None, 10).await.unwrap(), all);
    assert_eq!(store.blocks(None, 2).await.unwrap(), all[..2]);
    for (place, blocking) in all.iter().enumerate() {
        assert_eq!(store.blocks(Some(&blocking.what), 10).await.unwrap(), all[place + 1..]);
    }
    let again = Blocking { reason: "worse".into(), is_public: true, by: "ann".into(), ..all[0].clone() };
    assert!(!store.block(again.clone()).await.unwrap(), "it was stopped before");
    assert_eq!(store.blocks(None, 1).await.unwrap(), [again]);
    for blocking in &all {
        let unblocking = Unblocking { what: blocking.what.clone(), reason: "over".into(), by: "ops".into() };
        assert!(store.unblock(unblocking.clone()).await.unwrap());
        assert!(!store.unblock(unblocking).await.unwrap());
    }
    assert_eq!(store.blocks(None, 10).await.unwrap(), []);
}

pub async fn definitions_are_kept_to_the_letter(place: &dyn Place) {
    let store = open(place);
    let items = ["{\"name\" : \"a\",\n \"n\": 1.0000000000000000001, \"u\": \"\\u00e4ä\"}", "{}", "[ ]"];
    let first = definitions(Some("acme"), "files", &items);
    assert_eq!(store.definitions(&first.of).await.unwrap(), None);
    assert!(store.keep_definitions(&first).await.unwrap());
    assert_eq!(store.definitions(&first.of).await.unwrap(), Some(first.clone()));
    let head = store.head().await.unwrap();
    let again = Definitions { seen: ms(99), ..first.clone() };
    assert!(!store.keep_definitions(&again).await.unwrap(), "it is no news");
    assert_eq!(store.definitions(&first.of).await.unwrap(), Some(first));
    assert_eq!(store.head().await.unwrap(), head);
    for items in [&items[..1], &[]] {
        let other = definitions(Some("acme"), "files", items);
        assert!(store.keep_definitions(&other).await.unwrap());
        assert_eq!(store.definitions(&other.of).await.unwrap(), Some(other));
    }
}

pub async fn definitions_are_kept_where_they_belong(place: &dyn Place) {
    let store = open(place);
    let shared = definitions(None, "files", &["1"]);
    let acme = definitions(Some("acme"), "files", &["2"]);
    let other = definitions(Some("other"), "files", &["3"]);
    let of_prompts = DefinitionsOf { list: List::Prompts, ..acme.of.clone() };
    let prompts = Definitions::new(of_prompts, vec![Bytes::from_static(b"4")], ms(1));
    for definitions in [&shared, &acme, &other, &prompts] {
        assert!(store.keep_definitions(definitions).await.unwrap());
    }
    for definitions in [&shared, &acme, &other, &prompts] {
        assert_eq!(store.definitions(&definitions.of).await.unwrap().as_ref(), Some(definitions));
    }
    let known = async |tenant: Option<&str>| store.known(tenant.map(TenantId::new).as_ref()).await.unwrap();
    assert_eq!(known(None).await, std::slice::from_ref(&shared.of));
    let mut found = known(Some("acme")).await;
    found.sort();
    assert_eq!(found, [acme.of.clone(), prompts.of]);
    assert!(store.forget_definitions(&acme.of).await.unwrap());
    assert!(!store.forget_definitions(&acme.of).await.unwrap());
    assert_eq!(store.definitions(&acme.of).await.unwrap(), None);
    assert_eq!(known(Some("other")).await, [other.of]);
}

pub async fn what_cannot_be_kept_is_refused(place: &dyn Place) {
    let store = open(place);
    let head = store.head().await.unwrap();
    for item in ["", "{", "{} {}", "1,2", "nul"] {
        let refused = store.keep_definitions(&definitions(None, "files", &[item])).await;
        assert!(matches!(refused, Err(StoreError::Broken(_))), "{item}");
    }
    let of = definitions(None, "files", &[]).of;
    let mut large = vec![b' '; DEFINITIONS_BYTES_MAX];
    large[0] = b'1';
    let items = vec![Bytes::from(large), Bytes::from_static(b"2")];
    let refused = store.keep_definitions(&Definitions::new(of.clone(), items, ms(1))).await;
    assert!(matches!(refused, Err(StoreError::TooLarge { .. })));
    assert_eq!(store.definitions(&of).await.unwrap(), None);
    assert_eq!(store.head().await.unwrap(), head);
}

pub async fn the_latest_accepted_texts_are_remembered(place: &dyn Place) {
    let store = open(place);
    let (acme, other) = (TenantId::new("acme"), TenantId::new("other"));
    let text = |number: usize| Digest::of([&number.to_be_bytes()[..]]);
    assert!(!store.was_accepted(&acme, text(0)).await.unwrap());
    let mut time = 0;
    let mut accept = async |tenant: &TenantId, number: usize| {
        time += 1;
        store.accept(tenant, text(number), ms(time)).await.unwrap();
    };
    for number in 0..ACCEPTED_MAX {
        accept(&acme, number).await;
    }
    accept(&other, 100).await;
    accept(&acme, 0).await;
    accept(&acme, 101).await;
    let is_known = async |tenant: &TenantId, number| store.was_accepted(tenant, text(number)).await.unwrap();
    assert!(is_known(&acme, 0).await, "it was said again");
    assert!(!is_known(&acme, 1).await, "the oldest is forgotten");
    for number in (2..ACCEPTED_MAX).chain([101]) {
        assert!(is_known(&acme, number).await, "{number}");
    }
    assert!(is_known(&other, 100).await && !is_known(&other, 0).await && !is_known(&acme, 100).await);
}

pub async fn a_restart_forgets_nothing(place: &dyn Place) {
    let tenant = TenantId::new("acme");
    let kept = definitions(None, "files", &["{}"]);
    let before = {
        let store = open(place);
        store.add_key(key("a")).await.unwrap();
        store.rotate_key(&KeyId::new("a"), key("b"), ms(9_000)).await.unwrap();
        store.revoke(revoked_user("ada")).await.unwrap();
        store.keep_definitions(&kept).await.unwrap();
        store.accept(&tenant, kept.digest, ms(1)).await.unwrap();
        store.snapshot().await.unwrap()
    };
    let store = open(place);
    store.prepare().await.unwrap();
    let after = store.snapshot().await.unwrap();
    assert_eq!(after.cursor, before.cursor);
    assert_eq!((&after.keys, &after.revocations), (&before.keys, &before.revocations));
    assert_eq!(after.definitions, [(kept.of.clone(), kept.digest)]);
    assert_eq!(store.definitions(&kept.of).await.unwrap(), Some(kept.clone()));
    assert!(store.was_accepted(&tenant, kept.digest).await.unwrap());
    store.add_key(key("c")).await.unwrap();
    assert_eq!(store.head().await.unwrap().revision, before.cursor.revision + 1);
}
