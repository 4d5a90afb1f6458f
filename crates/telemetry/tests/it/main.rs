//! The crate against a receiver of OTLP.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod client;
