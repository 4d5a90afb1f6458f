//! Callers and what they present: who is let in, who is not, and what each is told.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod keys;
mod rig;
mod stored;
mod tokens;
