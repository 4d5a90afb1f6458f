//! Peers for the tests: fake servers and raw clients, issuers and forgers of tokens.

pub mod fake;
pub mod issuer;
