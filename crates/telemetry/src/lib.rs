//! What operators see: log lines, one struct per event, and the numbers behind `/metrics`.
//!
//! [`init`] sets up the log once per process. Everything that an operator should notice is a struct in [`events`]
//! whose `emit()` writes the line and counts it, so that a log and a metric never disagree. Text that came from a
//! client or a server is untrusted: control characters in it are escaped, and it is cut at [`TEXT_BYTES_MAX`].

mod clean;
mod clock;
pub mod counters;
pub mod events;
mod line;
pub mod otlp;
mod random;
mod settings;
mod setup;
mod writer;

pub use clean::{Clean, TEXT_BYTES_MAX};
pub use settings::Sampler;
pub use setup::{Format, InitError, LogSettings, init};
pub use writer::LogGuard;
