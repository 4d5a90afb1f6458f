//! The crate through its front door.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::format_collect,
    clippy::invisible_characters,
    reason = "these are tests, and their texts have invisible characters"
)]

mod corpus;
mod fuzzed;
mod linear;
mod measured;
mod outside;
mod pseudonyms;
mod redacted;
