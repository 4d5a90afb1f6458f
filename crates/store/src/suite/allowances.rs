//! Allowances.

#![allow(missing_docs, reason = "their names say what they show")]
#![allow(clippy::unwrap_used, reason = "these are tests")]

use tollgate_model::Timestamp;

use super::{Place, open};
use crate::{ALLOWANCES_KEPT, Allowance, Digest, TakeAllowance};

fn take(of: u8, from_ms: u64, wanted: u64) -> TakeAllowance {
    TakeAllowance {
        of: Digest([of; 32]),
        from: Timestamp::from_ms(from_ms),
        until: Timestamp::from_ms(from_ms + 1000),
        now: Timestamp::from_ms(from_ms + 500),
        allowed: 10,
        wanted,
        owed: 0,
        unused: 0,
    }
}

pub async fn no_more_is_given_than_is_allowed(place: &dyn Place) {
    let store = open(place);
    let given = |taken, used| Allowance { taken, used };
    assert_eq!(store.take_allowance(&take(1, 0, 4)).await.unwrap(), given(4, 4));
    let other = open(place);
    assert_eq!(other.take_allowance(&take(1, 0, 4)).await.unwrap(), given(4, 8));
    assert_eq!(store.take_allowance(&take(1, 0, 4)).await.unwrap(), given(2, 10));
    assert_eq!(other.take_allowance(&take(1, 0, 4)).await.unwrap(), given(0, 10));
    assert_eq!(store.take_allowance(&take(2, 0, 4)).await.unwrap(), given(4, 4), "another thing");
    assert_eq!(store.take_allowance(&take(1, 1000, 4)).await.unwrap(), given(4, 4), "another window");
    // What was taken in vain is there again; what was used beyond it is written down.
    let gives_back = TakeAllowance { unused: 3, ..take(1, 0, 0) };
    assert_eq!(other.take_allowance(&gives_back).await.unwrap(), given(0, 7));
    let owes = TakeAllowance { owed: 5, ..take(1, 0, 1) };
    assert_eq!(other.take_allowance(&owes).await.unwrap(), given(0, 12));
    let more = TakeAllowance { allowed: 13, ..take(1, 0, 5) };
    assert_eq!(store.take_allowance(&more).await.unwrap(), given(1, 13));
}

pub async fn many_take_at_once(place: &dyn Place) {
    let takers = (0..8).map(|_| {
        let store = open(place);
        tokio::spawn(async move {
            let mut taken = 0;
            for _ in 0..10 {
                let wants = TakeAllowance { allowed: 100, ..take(1, 0, 3) };
                taken += store.take_allowance(&wants).await.unwrap().taken;
            }
            taken
        })
    });
    let mut taken = 0;
    for taker in takers.collect::<Vec<_>>() {
        taken += taker.await.unwrap();
    }
    assert_eq!(taken, 100);
}

pub async fn windows_that_ended_long_ago_go(place: &dyn Place) {
    let store = open(place);
    store.take_allowance(&take(1, 0, 4)).await.unwrap();
    let late = Timestamp::from_ms(1001).after(ALLOWANCES_KEPT).as_ms();
    store.take_allowance(&take(2, late, 1)).await.unwrap();
    let again = TakeAllowance { now: Timestamp::from_ms(late), ..take(1, 0, 1) };
    assert_eq!(store.take_allowance(&again).await.unwrap().used, 1, "it is forgotten");
}
