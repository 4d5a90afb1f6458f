//! Who may come in, and what becomes of what is open when they no longer may: every transport, every era.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[path = "../record/book.rs"]
#[allow(dead_code, reason = "shared with the tests of the record")]
mod book;
mod cutting;
#[path = "../record/disk.rs"]
#[allow(dead_code, reason = "shared with the tests of the record")]
mod disk;
#[path = "../../../upstream/tests/it/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that reaches servers")]
mod fake;
mod metadata;
mod others;
mod rig;
mod servers;
mod strangers;

use std::time::Duration;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);
/// How long something that was taken back may still be of use.
const SECOND: Duration = Duration::from_secs(1);

/// What was taken back is of no use within a second. A machine may stand still for one: one time of several is enough.
pub(crate) async fn within_a_second(mut time: impl AsyncFnMut() -> Duration) {
    let mut took = Vec::new();
    while took.len() < 5 {
        let one = Box::pin(time()).await;
        if one < SECOND {
            return;
        }
        took.push(one);
    }
    panic!("{took:?}");
}

pub(crate) async fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it should have come about by now")
}
