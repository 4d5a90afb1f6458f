//! How large and deep is it? And what is left of a result that is too large.
//!
//! All of it takes time in proportion to the bytes that there are.

mod cut;
mod measure;

pub use cut::{CUT_BYTES_MIN, cut};
pub use measure::{Bounds, Excess, Shape};
