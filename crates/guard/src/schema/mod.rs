//! Do arguments and results fit the schemas that their tool declares?
//!
//! JSON Schema, 2020-12 where a schema says nothing else (2025-11-25, basic), by the crate `jsonschema`. A schema is a
//! stranger's program, so that it is looked at first: nothing is fetched, patterns that could take long are bounded, and what
//! checking an instance would cost at most is worked out before it is done. What would cost too much is not checked, and that is
//! said.

mod check;
mod cost;
mod unknown;

pub use check::{Fault, Schema, Unchecked};
