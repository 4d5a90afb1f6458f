//! The real binary, driven from outside.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

pub mod bend;
pub mod book;
pub mod browser;
pub mod clients;
pub mod documents;
pub mod features;
pub mod gateway;
pub mod guarded;
pub mod places;
pub mod prompt;
pub mod provider;
pub mod samples;
pub mod upstream;
