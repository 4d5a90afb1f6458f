//! What operators see: log lines, one struct per event, and the numbers behind `/metrics`.
//!
//! [`init`] sets up the log once per process. Everything that an operator should notice is a struct in [`events`]
//! whose `emit()` writes the line and counts it, so that a log and a metric never disagree. Text that came from a
//! client or a server is untrusted: control characters in it are escaped, and it is cut at [`TEXT_BYTES_MAX`].

mod clean;
mod clock;
pub mod counters;
pub mod events;
pub mod export;
mod line;
mod metrics;
mod operations;
pub mod otlp;
mod process;
mod random;
mod settings;
mod setup;
pub mod trace;
mod writer;

pub use clean::{Clean, TEXT_BYTES_MAX, bare_uri, without_userinfo};
pub use operations::{OTHER, OTHER_NAME, Operation, Transport};
pub use settings::{Configured, ConfiguredSignal, Sampler, SignalSettings, TelemetrySettings};
pub use setup::{Format, InitError, LogSettings, init};
pub use writer::LogGuard;
