//! Peers for the tests: fake servers and raw clients.

pub mod fake;
