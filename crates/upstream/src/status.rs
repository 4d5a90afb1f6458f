//! What can be said of a server without asking it.

use std::borrow::Cow;
use std::time::SystemTime;

use tollgate_model::{Code, Era, Revision};

/// A server as it was last seen.
#[derive(Debug, Clone)]
pub struct ServerStatus {
    /// `http`, `sse` or `stdio`, as configured.
    pub transport: &'static str,
    /// Whether it is up.
    pub reach: Reach,
    /// Sessions or processes now; 1 for a stateless server that was found.
    pub instances: usize,
    /// Of these, how many are one call's alone just now.
    pub leased: usize,
    /// What happened since the gateway started.
    pub counters: Counters,
}

/// Whether a server is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Nobody has asked yet.
    Unknown,
    /// It answered `server/discover` or `initialize`, and nothing has failed since.
    Up {
        /// Its era.
        era: Era,
        /// The revision spoken with it.
        revision: Revision,
        /// Since when.
        since: SystemTime,
    },
    /// It could not be reached.
    Down {
        /// The stable code.
        code: Code,
        /// Why; may be shown to callers.
        reason: Cow<'static, str>,
        /// Since when.
        since: SystemTime,
        /// When it will be tried again, if it waits out a failed start.
        retry_at: Option<SystemTime>,
    },
}

/// What happened since the gateway started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes or sessions started.
    pub starts: u64,
    /// Of these, because an earlier one died or was forgotten by the server.
    pub restarts: u64,
    /// Starts that failed.
    pub start_failures: u64,
    /// Messages that were not MCP: garbage, wrong ids, second answers, answers to nothing.
    pub protocol_errors: u64,
    /// Notifications and requests that nobody could be given.
    pub messages_dropped: u64,
    /// Lines of standard error that were not logged.
    pub stderr_lines_dropped: u64,
    /// Instances stopped to make way for others.
    pub evictions: u64,
}
