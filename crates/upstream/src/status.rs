//! What can be said of a server without asking it.

use std::borrow::Cow;
use std::sync::Arc;
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
    /// Its replicas, as configured: one where there is a single URL, none of what is started as a process.
    pub replicas: Vec<ReplicaStatus>,
    /// What happened since the gateway started.
    pub counters: Counters,
}

/// One replica of a server as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// What it goes by: host and port, with a number behind where several are the same.
    pub name: Arc<str>,
    /// Its version, as configured.
    pub version: Option<Arc<str>>,
    /// Its weight, as configured.
    pub weight: u32,
    /// Its priority, as configured.
    pub priority: u32,
    /// How it stands with it.
    pub health: ReplicaHealth,
    /// Requests under way to it.
    pub in_flight: usize,
    /// Requests that it has answered since the gateway started; not counted of an only one.
    pub answered: u64,
    /// Requests, and beginnings, that had no answer.
    pub failed: u64,
    /// How often it was left alone.
    pub ejections: u64,
}

/// How it stands with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaHealth {
    /// It is used, or would be.
    Well,
    /// It leaves requests unanswered, and is used since as many others are left alone as may be.
    Failing,
    /// It is left alone.
    Ejected {
        /// Until when, at the least.
        until: SystemTime,
    },
    /// It was left alone, and is tried with a few requests.
    Tried,
    /// Another version is pinned.
    Unused,
}

impl ReplicaHealth {
    /// As text, for logs, metrics and people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Failing => "failing",
            Self::Ejected { .. } => "ejected",
            Self::Tried => "tried",
            Self::Unused => "unused",
        }
    }
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
