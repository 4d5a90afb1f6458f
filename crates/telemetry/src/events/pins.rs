//! Definitions that are not what was approved.

use tollgate_model::ServerId;
use tracing::{info, warn};

use crate::counters;

/// An item of a server waits to be approved from now on, or no longer. Its name is the server's own word, and is not said.
#[derive(Debug)]
pub struct PinTurned<'a> {
    /// `tool`, `prompt`, `resource`, `template` or `instructions`.
    pub kind: &'static str,
    /// Whether it is hidden and refused.
    pub waits: bool,
    /// Why it waits, or is told of; `approved` if it is as it was approved.
    pub why: &'static str,
    /// The server.
    pub server: &'a ServerId,
}

impl PinTurned<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { kind, waits, why, server } = self;
        counters::pin_turned(kind, why);
        let server = server.label().to_string();
        if why == "approved" {
            info!(kind, %server, "a definition is as it was approved");
        } else {
            warn!(kind, waits, why, %server, "a definition is not what was approved");
        }
    }
}
