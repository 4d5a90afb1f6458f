//! Exports of a small real ledger, to receivers that come and go.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

mod files;
mod rig;
mod rsyslog;
mod syslog;
mod webhooks;
