//! Children: processes that speak on their standard input and output.

mod converse;
mod process;
mod stderr;

pub(crate) use converse::start;
