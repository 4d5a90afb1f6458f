//! The ledger, as whoever keeps or examines one sees it.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "these are tests")]

mod by_hand;
mod disks;
mod index;
mod kills;
mod reader;
mod record;
mod schema;
mod tamper;
mod upkeep;
mod verify;
mod writing;
mod written;
