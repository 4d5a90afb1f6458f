//! The command line, driven as a person or a script would.

mod bridge;
mod cli;
mod demo;
mod serve;
mod support;
mod tls;
