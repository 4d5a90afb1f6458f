//! The admin plane, asked as its listener asks it, in front of a gateway that is made up.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod bodies;
mod document;
mod heeded;
mod matrix;
mod pages;
mod places;
mod policies;
mod servers;
mod sign_in;
mod support;
