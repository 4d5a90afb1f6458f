//! The command line, driven as a person or a script would.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

mod audit;
mod blocks;
mod bridge;
mod cli;
mod contention;
mod demo;
mod door;
mod export;
mod guarding;
mod keys;
mod limits;
mod pauses;
mod policy;
mod policy_page;
mod policy_sets;
mod search;
mod serve;
mod servers;
mod state;
mod support;
mod tls;
