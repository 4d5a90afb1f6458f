//! The databases, as users of a store see them.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used, reason = "these are tests")]

mod postgres;
mod sqlite;
mod together;
