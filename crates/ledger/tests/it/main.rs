//! The ledger, as whoever keeps or examines one sees it.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "these are tests")]

mod disks;
mod kills;
mod reader;
mod record;
mod verify;
mod writing;
mod written;
