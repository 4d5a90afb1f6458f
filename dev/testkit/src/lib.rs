//! Peers for the tests: fake servers and raw clients, issuers and forgers of tokens, a receiver of telemetry.

pub mod chaos;
pub mod collector;
pub mod counter;
pub mod fake;
pub mod issuer;
