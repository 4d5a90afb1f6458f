//! The store in memory says what is meant: any other does the same, whatever it is asked.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::{KeyId, KeyRecord, TenantId, Timestamp};

use super::{Place, blocked_agent, definitions, key, open, sighting, sightings};
use crate::{
    Approving, Blocking, Digest, Feed, Memory, PinKind, PinOf, Revocable, Revocation, Sightings, Store,
    Unblocking, WhichKeys, WhichPins,
};

/// Numbers that are the same in every run.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn id(&mut self) -> String {
        format!("k{}", self.below(12))
    }
}

pub async fn it_does_what_the_store_in_memory_does(place: &dyn Place) {
    let (store, memory) = (open(place), Memory::default());
    for seed in 0..300 {
        let asked = Dice(seed);
        let done = step(&*store, Dice(asked.0)).await;
        assert_eq!(done, step(&memory, asked).await, "step {seed}");
    }
    let (stored, meant) = (store.snapshot().await.unwrap(), memory.snapshot().await.unwrap());
    assert_eq!(stored.cursor.revision, meant.cursor.revision);
    assert_eq!(stored.keys, meant.keys);
    let sorted = |mut revocations: Vec<Revocation>| {
        revocations.sort_by(|a, b| a.what.cmp(&b.what));
        revocations
    };
    assert_eq!(sorted(stored.revocations), sorted(meant.revocations));
    assert_eq!(stored.blocks, meant.blocks);
    assert_eq!(stored.pins, meant.pins);
    let (mut stored, mut meant) = (stored.definitions, meant.definitions);
    stored.sort();
    meant.sort();
    assert_eq!(stored, meant);
}

/// Asks one thing, and gives back all that is said to it. The same seed asks the same.
async fn step(store: &dyn Store, mut dice: Dice) -> String {
    // The first numbers of neighbouring seeds are alike.
    dice.below(2);
    dice.below(2);
    let time = Timestamp::from_ms(1_000 + dice.below(1_000_000_000));
    let (id, other) = (dice.id(), dice.id());
    let what = Revocable::Agent { tenant: TenantId::new("acme"), agent: other.as_str().into() };
    match dice.below(17) {
        0 | 1 => {
            let expires = (dice.below(2) == 0).then_some(time);
            format!("{:?}", store.add_key(KeyRecord { expires, ..key(&id) }).await)
        }
        2 => format!("{:?}", store.rotate_key(&KeyId::new(&id), key(&other), time).await),
        3 => format!("{:?}", store.revoke_key(&KeyId::new(&id), time).await),
        4 => {
            let until = (dice.below(2) == 0).then_some(time);
            format!("{:?}", store.revoke(Revocation { what, since: time, until }).await)
        }
        5 => format!("{:?}", store.reinstate(&what).await),
        6 => {
            let items = [&[][..], &["1"], &["1", "{}"]][usize::try_from(dice.below(3)).unwrap_or(0)];
            format!("{:?}", store.keep_definitions(&definitions(None, &id, items)).await)
        }
        7 => format!("{:?}", store.forget_definitions(&definitions(None, &id, &[]).of).await),
        8 => {
            let which = WhichKeys { after: Some(KeyId::new(&id)), most: 3, ..WhichKeys::default() };
            let listed = store.keys(&which).await;
            format!("{listed:?} {:?} {:?}", store.key(&KeyId::new(&other)).await, store.known(None).await)
        }
        9 => {
            let is_public = dice.below(2) == 0;
            format!("{:?}", store.block(Blocking { is_public, ..blocked_agent(&other) }).await)
        }
        10 => {
            let what = blocked_agent(&other).what;
            let unblocking = Unblocking { what, reason: "".into(), by: "ops".into() };
            format!("{:?}", store.unblock(unblocking).await)
        }
        11 | 12 => {
            let text = ["{}", "[1]", "2"][usize::try_from(dice.below(3)).unwrap_or(0)];
            let seen = vec![sighting(&id, text, dice.below(2) == 0), sighting(&other, "{}", true)];
            format!("{:?}", store.sight(Sightings { at: time, ..sightings(None, "s", seen) }).await)
        }
        13 => {
            let of = PinOf {
                tenant: None,
                server: definitions(None, "s", &[]).of.server,
                kind: PinKind::Tool,
                item: id.into(),
            };
            let (digest, by, reason) = (Digest::of(["[1]".as_bytes()]), "ops".into(), "so".into());
            format!("{:?}", store.approve_pin(Approving { of, digest, by, reason, at: time }).await)
        }
        14 => {
            let of = PinOf {
                tenant: None,
                server: definitions(None, "s", &[]).of.server,
                kind: PinKind::Tool,
                item: id.into(),
            };
            let pin = store.pin(&of).await;
            let listed = store.pins(&WhichPins { is_waiting: true, most: 3, ..WhichPins::default() }).await;
            format!("{pin:?} {listed:?} {:?}", store.forget_pin(&of, "ops", "").await)
        }
        15 => format!("{:?}", store.blocks(Some(&blocked_agent(&other).what), 3).await),
        _ => {
            let text = Digest::of([id.as_bytes()]);
            let tenant = TenantId::new("acme");
            let was = store.was_accepted(&tenant, text).await;
            format!("{was:?} {:?}", store.accept(&tenant, text, time).await)
        }
    }
}
