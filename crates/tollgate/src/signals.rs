//! The signals that a running command hears.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::Failure;

/// SIGINT and SIGTERM, heard from the moment this exists.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Heard so that it ends nobody: a write that is too long for the system's limit on files fails, as on a full disk.
    _too_long: Signal,
}

impl Signals {
    /// Starts to listen.
    pub(crate) fn new() -> Result<Self, Failure> {
        let on =
            |kind| signal(kind).map_err(|error| Failure::failed(format!("cannot hear signals: {error}")));
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            _too_long: on(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?,
        })
    }

    /// The next signal that asks to stop, by name.
    pub(crate) async fn stop(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

/// SIGHUP, which asks to read the configuration again.
pub(crate) fn reload() -> Result<Signal, Failure> {
    signal(SignalKind::hangup()).map_err(|error| Failure::failed(format!("cannot hear signals: {error}")))
}

/// SIGUSR2, which asks to hand over to a new process.
pub(crate) fn upgrade() -> Result<Signal, Failure> {
    let heard = signal(SignalKind::user_defined2());
    heard.map_err(|error| Failure::failed(format!("cannot hear signals: {error}")))
}
