//! The ledger, as whoever keeps or examines one sees it.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "these are tests")]

mod reader;
mod verify;
mod written;
