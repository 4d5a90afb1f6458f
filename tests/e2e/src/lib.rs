//! The real binary, driven from outside.

pub mod clients;
pub mod gateway;
pub mod places;
pub mod samples;
pub mod upstream;
