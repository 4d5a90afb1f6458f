//! The follower and the in-memory store, as their users see them.

#![allow(missing_docs, reason = "these are tests")]

mod follower;
