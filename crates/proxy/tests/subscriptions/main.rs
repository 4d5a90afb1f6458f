//! Subscriptions through the gateway: clients of either era, fake servers of either era, and what each of them sees.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

#[path = "../../../upstream/tests/it/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that reaches servers")]
mod fake;
mod legacy_clients;
mod modern_clients;
mod rig;
mod servers;
mod stdio;

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
