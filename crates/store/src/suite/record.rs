//! Anchors of ledgers, and requests to erase.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::Timestamp;

use super::{Place, open};
use crate::{ANCHORS_KEPT, ANCHORS_MAX, Anchor, ERASURES_KEPT, Erasure};

fn anchor(writer: &str, seq: u64, ms: u64) -> Anchor {
    let body = format!("{{\"of\":\"{writer} {seq}\"}}").into();
    Anchor { writer: writer.into(), seq, time: Timestamp::from_ms(ms), body }
}

pub async fn anchors_are_kept_as_they_came(place: &dyn Place) {
    let store = open(place);
    let (one, two, other) = (anchor("w1", 5, 1_000), anchor("w1", 9, 2_000), anchor("w2", 1, 3_000));
    for anchor in [&two, &other, &one] {
        store.keep_anchor(anchor).await.unwrap();
    }
    // Nobody puts another in an anchor's place.
    store.keep_anchor(&Anchor { body: "forged".into(), ..one.clone() }).await.unwrap();
    let all = [one, two, other];
    assert_eq!(open(place).anchors(None, 10).await.unwrap(), all);
    assert_eq!(store.anchors(None, 2).await.unwrap(), all[..2]);
    assert_eq!(store.anchors(Some(("w1", 9)), 10).await.unwrap(), all[2..]);
    assert_eq!(store.anchors(Some(("w2", 1)), 10).await.unwrap(), []);
}

pub async fn of_old_anchors_one_an_hour_stays(place: &dyn Place) {
    const HOUR_MS: u64 = 3_600_000;
    let store = open(place);
    let many = ANCHORS_MAX as u64 + 10;
    for seq in 0..many {
        // Four an hour.
        store.keep_anchor(&anchor("w1", seq, seq * HOUR_MS / 4)).await.unwrap();
    }
    let mut found = Vec::new();
    loop {
        let after = found.last().map(|last: &Anchor| last.seq);
        let page = store.anchors(after.map(|seq| ("w1", seq)), 500).await.unwrap();
        if page.is_empty() {
            break;
        }
        found.extend(page);
    }
    let firsts = found.iter().filter(|anchor| anchor.seq % 4 == 0).count() as u64;
    assert_eq!(firsts, many.div_ceil(4), "the first of each hour");
    assert_eq!(found.len() as u64, many, "there is room for all yet");
    let mut last = anchor("w1", many, many * HOUR_MS / 4);
    for _ in 0..400 {
        last = anchor("w1", last.seq + 1, last.time.as_ms() + 1);
        store.keep_anchor(&last).await.unwrap();
    }
    let found = store.anchors(None, 10_000).await.unwrap();
    let others = found.len() as u64 - firsts;
    assert!((ANCHORS_MAX as u64..=ANCHORS_MAX as u64 + 1).contains(&others), "{others}");
    assert!(found.iter().any(|anchor| anchor.seq == 0), "the first of all is one of them");
    assert!(!found.iter().any(|anchor| anchor.seq == 1));
    // After a long time those go too, also of writers that are gone.
    let late = anchor("w2", 1, last.time.after(ANCHORS_KEPT).as_ms() + 1);
    store.keep_anchor(&late).await.unwrap();
    assert_eq!(store.anchors(None, 10).await.unwrap(), [late]);
}

pub async fn requests_to_erase_are_numbered(place: &dyn Place) {
    let store = open(place);
    let erasure = |user: Option<&str>, tenant: Option<&str>, ms: u64| Erasure {
        user: user.map(Into::into),
        tenant: tenant.map(Into::into),
        before: Timestamp::from_ms(ms),
        asked: Timestamp::from_ms(ms + 1),
    };
    assert_eq!(store.erasures(0, 10).await.unwrap(), []);
    let asked = [
        erasure(Some("ada"), None, 1_000),
        erasure(Some("ada"), Some("acme"), 2_000),
        erasure(None, Some("acme"), 3_000),
    ];
    let mut ids = Vec::new();
    for erasure in &asked {
        ids.push(store.ask_erasure(erasure).await.unwrap());
    }
    assert!(ids.is_sorted() && ids[0] > 0, "{ids:?}");
    let all: Vec<(u64, Erasure)> = ids.iter().copied().zip(asked).collect();
    assert_eq!(open(place).erasures(0, 10).await.unwrap(), all);
    assert_eq!(store.erasures(0, 1).await.unwrap(), all[..1]);
    assert_eq!(store.erasures(ids[0], 10).await.unwrap(), all[1..]);
    let late = Timestamp::from_ms(3_002).after(ERASURES_KEPT).as_ms();
    let last = store.ask_erasure(&erasure(None, Some("other"), late)).await.unwrap();
    assert!(last > ids[2]);
    let left = store.erasures(0, 10).await.unwrap();
    assert_eq!(
        left.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
        [last],
        "whom they were about is forgotten"
    );
}
