//! What policies decide, through the front door.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod again;
mod decisions;
mod digests;
mod explanations;
mod lints;
mod properties;
mod world;
