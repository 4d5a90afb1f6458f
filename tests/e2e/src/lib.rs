//! The real binary, driven from outside.

pub mod gateway;
