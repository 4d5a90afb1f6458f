//! Scriptable raw peers: servers that misbehave on purpose, and clients that say exactly what they are told to.
//!
//! Nothing here uses the gateway's own wire code: framing, JSON and SSE are read a second time, so that a fault in one
//! reading is not hidden by the same fault in the other. HTTP/1.1 is spoken on plain sockets, since a faulty peer must be
//! able to break it at any byte.
//!
//! * [`FakeServer`]: Streamable HTTP of both eras and HTTP+SSE in this process; [`stdio::run`] is the same server as a child.
//! * [`Script`] says what the server offers and which [`Act`] it performs on which request.
//! * [`Log`] holds everything it received.
//! * [`Http`] is a raw HTTP client; [`Peer`] an MCP client of any dialect on top of it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a peer of the tests fails loudly")]

mod act;
mod answers;
mod client;
pub mod json;
mod log;
mod peer;
mod script;
mod server;
mod sse_server;
pub mod stdio;
pub(crate) mod wire;

use std::time::Duration;

pub use act::{Act, LEAK, LEVELS};
pub use client::{Ask, Event, Http, Kept, Live, Reply};
pub use log::{Entry, Log, Received};
pub use peer::{Answer, Call, Dialect, HttpPeer, Peer, SsePeer, StdioPeer};
pub use script::{Eras, Script};
pub use server::FakeServer;

/// The longest that any wait of the tests lasts before it fails with what was waited for.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for `future`, but not longer than [`PATIENCE`].
///
/// # Panics
/// After [`PATIENCE`], naming `what` did not happen.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

/// Asks `probe` again and again until it gives something, but not longer than [`PATIENCE`].
///
/// # Panics
/// After [`PATIENCE`], naming `what` did not happen.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(value) = probe().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(what, poll).await
}
