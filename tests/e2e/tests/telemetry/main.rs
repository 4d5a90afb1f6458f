//! What operators see of a gateway: traces, metrics, logs, and that no secret is among them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

mod scraped;
mod secrets;
mod traces;
