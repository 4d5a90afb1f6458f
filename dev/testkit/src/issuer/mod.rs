//! An authorization server that lies on request, and the forge for what it would never issue.
//!
//! * [`Key`] signs any header and any claims; [`unsigned`] and [`with_secret`] make the classic forgeries.
//! * [`Issuer`] publishes keys over HTTP, and can be slow, away, huge, or elsewhere.
//!
//! A real provider is among the end-to-end tests too; this one is for what no real provider does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a peer of the tests fails loudly")]

mod forge;
mod serve;

pub use forge::{Key, api_key, digest, mutated, parts, unsigned, with_secret};
pub use serve::{Conduct, Issuer};
