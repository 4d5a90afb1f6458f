//! The follower and the in-memory store, as their users see them.

#![allow(missing_docs, clippy::expect_used, reason = "these are tests")]

mod follower;
mod memory;
