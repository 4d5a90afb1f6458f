//! Tasks through the gateway: a client of either era, a fake server of either era, and what each of them sees.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod beside;
#[path = "../record/book.rs"]
#[allow(dead_code, reason = "shared with the tests of the record")]
mod book;
mod budgets;
#[path = "../../../upstream/tests/it/fake.rs"]
#[allow(dead_code, reason = "shared with the tests of the crate that reaches servers")]
mod fake;
mod legacy;
mod modern;
mod newer_server;
mod older_server;
mod recorded;
mod replicas;
mod rig;
mod servers;

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
