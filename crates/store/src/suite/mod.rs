//! What every store does, whatever it is made of.

mod faults;

pub use faults::{Fault, Faulty};
