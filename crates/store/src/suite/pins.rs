//! What is pinned of servers.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::Timestamp;

use super::{Place, open, sighting, sightings};
use crate::{
    Approved, Approving, Digest, PINS_MAX, Pin, PinKind, PinMark, PinOf, PinShape, Sighting, Store, WhichPins,
};

async fn all(store: &dyn Store) -> Vec<Pin> {
    store.pins(&WhichPins { most: 1_000, ..WhichPins::default() }).await.unwrap()
}

fn digest(text: &'static str) -> Digest {
    sighting("", text, true).shape.digest
}

pub async fn what_is_seen_first_is_pinned_and_what_differs_waits(place: &dyn Place) {
    let store = open(place);
    let seen = |text, is_trusted| sightings(None, "crm", vec![sighting("ü/search", text, is_trusted)]);
    assert_eq!(store.sight(seen("{}", true)).await.unwrap(), 1);
    assert_eq!(store.sight(seen("{}", false)).await.unwrap(), 0, "nothing is new");
    let [pin] = &all(&*open(place)).await[..] else { panic!("one pin") };
    assert_eq!(pin.mark(), PinMark { approved: Some(digest("{}")), waiting: None });
    assert_eq!((&*pin.by, pin.since, pin.seen), ("gateway", Some(Timestamp::from_ms(5)), None));
    // Trusted or not: what was approved once is the measure.
    assert_eq!(store.sight(seen("[1]", true)).await.unwrap(), 1);
    let changed = store.pin(&pin.of).await.unwrap().unwrap();
    assert_eq!(changed.mark(), PinMark { approved: Some(digest("{}")), waiting: Some(digest("[1]")) });
    assert_eq!(changed.waiting.unwrap().text.unwrap(), "[1]");
    assert_eq!((changed.approved, changed.seen), (pin.approved.clone(), Some(Timestamp::from_ms(5))));
    assert_eq!(store.sight(seen("[1]", true)).await.unwrap(), 0);
    assert_eq!(store.sight(seen("{}", true)).await.unwrap(), 1, "it is as it was");
    assert_eq!(store.pin(&pin.of).await.unwrap().as_ref(), Some(pin));
    // What nobody trusts waits.
    let acme = sightings(Some("acme"), "crm", vec![sighting("ü/search", "{}", false)]);
    assert_eq!(store.sight(acme).await.unwrap(), 1);
    let pins = all(&*store).await;
    assert_eq!(pins[1].mark(), PinMark { approved: None, waiting: Some(digest("{}")) });
    assert_eq!((&*pins[1].by, pins[1].since), ("", None));
    assert!(store.forget_pin(&pin.of, "ops", "").await.unwrap());
    assert!(!store.forget_pin(&pin.of, "ops", "").await.unwrap());
    assert_eq!(all(&*store).await, pins[1..]);
}

pub async fn only_what_was_looked_at_is_approved(place: &dyn Place) {
    let store = open(place);
    let seen = |text| sightings(None, "crm", vec![sighting("a", text, false)]);
    store.sight(seen("1")).await.unwrap();
    let of = all(&*store).await[0].of.clone();
    let approving = |text| Approving {
        of: of.clone(),
        digest: digest(text),
        by: "ada".into(),
        reason: "looked at".into(),
        at: Timestamp::from_ms(9),
    };
    // The server shows something else before the operator has made up their mind.
    store.sight(seen("2")).await.unwrap();
    assert_eq!(store.approve_pin(approving("1")).await.unwrap(), Approved::Otherwise);
    assert_eq!(store.pin(&of).await.unwrap().unwrap().mark().approved, None);
    assert_eq!(store.approve_pin(approving("2")).await.unwrap(), Approved::Now);
    assert_eq!(open(place).approve_pin(approving("2")).await.unwrap(), Approved::Before);
    let pin = store.pin(&of).await.unwrap().unwrap();
    assert_eq!(pin.mark(), PinMark { approved: Some(digest("2")), waiting: None });
    assert_eq!(
        (&*pin.by, &*pin.reason, pin.since, pin.seen),
        ("ada", "looked at", Some(Timestamp::from_ms(9)), None)
    );
    let nobody = PinOf { item: "b".into(), ..of.clone() };
    assert_eq!(
        store.approve_pin(Approving { of: nobody, ..approving("2") }).await.unwrap(),
        Approved::Unknown
    );
}

pub async fn what_is_held_takes_more_than_being_seen(place: &dyn Place) {
    let store = open(place);
    let seen = |text, is_held| {
        let sighting = Sighting { is_held, ..sighting("a", text, true) };
        sightings(None, "crm", vec![sighting])
    };
    store.sight(seen("1", false)).await.unwrap();
    // It was approved by being seen, and by nobody.
    assert_eq!(store.sight(seen("1", true)).await.unwrap(), 1);
    let pin = all(&*open(place)).await.remove(0);
    assert_eq!(pin.mark(), PinMark { approved: None, waiting: Some(digest("1")) });
    assert_eq!((&*pin.by, pin.since, pin.seen), ("", None, Some(Timestamp::from_ms(5))));
    assert_eq!(store.sight(seen("1", true)).await.unwrap(), 0);
    let approving = Approving {
        of: pin.of.clone(),
        digest: digest("1"),
        by: "ada".into(),
        reason: "".into(),
        at: Timestamp::from_ms(9),
    };
    assert_eq!(store.approve_pin(approving).await.unwrap(), Approved::Now);
    assert_eq!(store.sight(seen("1", true)).await.unwrap(), 0, "somebody has looked at it");
    assert_eq!(store.pin(&pin.of).await.unwrap().unwrap().mark().approved, Some(digest("1")));
    store.forget_pin(&pin.of, "ops", "").await.unwrap();
    store.sight(seen("1", true)).await.unwrap();
    assert_eq!(all(&*store).await[0].mark().approved, None, "nobody has this time");
}

pub async fn pins_are_listed_in_their_order(place: &dyn Place) {
    let store = open(place);
    for (tenant, server) in [(Some("acme"), "b"), (None, "b"), (None, "a")] {
        let of = |kind, item: &str, is_trusted| Sighting { kind, ..sighting(item, "1", is_trusted) };
        let seen = vec![
            of(PinKind::Tool, "z", true),
            of(PinKind::Tool, "B", false),
            of(PinKind::Instructions, "", true),
            of(PinKind::Resource, "file:///ü", true),
        ];
        store.sight(sightings(tenant, server, seen)).await.unwrap();
    }
    let pins = all(&*store).await;
    assert_eq!(pins.len(), 12);
    assert!(pins.is_sorted_by(|one, other| one.of < other.of));
    let page = WhichPins { after: Some(pins[4].of.clone()), most: 3, ..WhichPins::default() };
    assert_eq!(store.pins(&page).await.unwrap(), pins[5..8]);
    let server = Some(pins[4].of.server.clone());
    let of_b = WhichPins { server, most: 100, ..WhichPins::default() };
    assert_eq!(store.pins(&of_b).await.unwrap(), pins[4..]);
    let waiting = WhichPins { is_waiting: true, ..of_b };
    let waiting = store.pins(&waiting).await.unwrap();
    assert_eq!(waiting.iter().map(|pin| &*pin.of.item).collect::<Vec<_>>(), ["B", "B"]);
}

pub async fn no_more_is_pinned_of_a_server_than_is_allowed(place: &dyn Place) {
    let store = open(place);
    let seen = |from: usize, until: usize| {
        let items = (from..until).map(|item| sighting(&format!("{item:06}"), "1", true)).collect();
        sightings(None, "crm", items)
    };
    for from in (0..PINS_MAX - 100).step_by(PINS_MAX / 10) {
        store.sight(seen(from, (from + PINS_MAX / 10).min(PINS_MAX - 100))).await.unwrap();
    }
    assert_eq!(store.sight(seen(PINS_MAX - 100, PINS_MAX + 50)).await.unwrap(), 100);
    assert_eq!(store.sight(seen(PINS_MAX, PINS_MAX + 50)).await.unwrap(), 0);
    let other = sightings(Some("acme"), "crm", vec![sighting("a", "1", true)]);
    assert_eq!(store.sight(other).await.unwrap(), 1, "another server's are counted apart");
    let bad = [sighting("a\0b", "1", true), sighting(&"x".repeat(3000), "1", true)];
    assert_eq!(store.sight(sightings(None, "b", bad.into())).await.unwrap(), 0, "they cannot be kept");
    let large = PinShape { text: None, ..sighting("", "1", true).shape };
    let seen = Sighting { shape: large.clone(), ..sighting("large", "1", true) };
    store.sight(sightings(None, "b", vec![seen])).await.unwrap();
    let which =
        WhichPins { server: Some(sightings(None, "b", vec![]).server), most: 9, ..WhichPins::default() };
    assert_eq!(store.pins(&which).await.unwrap()[0].approved, Some(large));
}
