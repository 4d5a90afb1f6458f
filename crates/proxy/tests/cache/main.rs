//! What servers have said, kept: what clients are given, how often a server is asked for it, and who is given nothing of
//! another's.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[path = "../record/book.rs"]
#[allow(dead_code, reason = "shared with the tests of the record")]
mod book;
mod calls;
mod crossing;
#[path = "../../../upstream/tests/it/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that reaches servers")]
mod fake;
mod lists;
mod pantry;
mod patience;
mod reads;
#[path = "../policy/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of policies")]
mod rig;
#[path = "../policy/shop.rs"]
#[allow(dead_code, reason = "shared with the tests of policies")]
mod shop;

use std::time::Duration;

/// Longer than anything here should take.
const LONG: Duration = Duration::from_secs(20);

pub(crate) async fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    in_time(waiting).await
}

/// Waits for what should come about by itself.
pub(crate) async fn in_time<T>(coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, coming).await.expect("it should have come about by now")
}
