//! What is on record of what passes through the gateway.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[allow(dead_code, reason = "shared with the tests of tasks")]
mod book;
mod busy;
mod calls;
mod changes;
mod definitions;
#[allow(dead_code, reason = "shared with the tests of identity")]
mod disk;
#[path = "../../../upstream/tests/it/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that reaches servers")]
mod fake;
mod guards;
mod holds;
mod limits;
mod older_tasks;
mod others;
mod outside;
mod pins;
mod refusals;
mod retries;
#[path = "../policy/rig.rs"]
#[allow(dead_code, reason = "shared with the tests of policies")]
mod rig;
mod schemas;
mod shadow;
#[path = "../policy/shop.rs"]
#[allow(dead_code, reason = "shared with the tests of policies")]
mod shop;
mod sizes;
mod unwritable;

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
    tokio::time::timeout(LONG, waiting).await.expect("it should have come about by now")
}
