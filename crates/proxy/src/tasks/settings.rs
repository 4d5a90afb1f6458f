//! What an operator says of tasks, as meant.

use std::time::Duration;

/// How the gateway follows tasks. The bounds are for the tasks that it follows itself, on behalf of clients that cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskSettings {
    /// How many tasks are followed at once for all callers together. One more call that becomes a task is refused, and
    /// its task cancelled.
    pub followed_max: usize,
    /// The same for one principal.
    pub followed_per_principal_max: usize,
    /// How often a server is asked about a task at most, whatever interval it suggests.
    pub poll_min: Duration,
    /// How often a server is asked about a task at least, whatever interval it suggests.
    pub poll_max: Duration,
    /// How many requests about tasks one principal may make within a second. More are refused.
    pub requests_per_s_max: u32,
    /// For how long a legacy server is asked to keep a task that a modern client's call becomes.
    pub ttl: Duration,
    /// How many tasks of 2025-11-25 servers are remembered as their callers' for the sake of lists and notifications.
    pub known_max: usize,
}

impl Default for TaskSettings {
    fn default() -> Self {
        Self {
            followed_max: 4096,
            followed_per_principal_max: 1024,
            poll_min: Duration::from_millis(100),
            poll_max: Duration::from_secs(30),
            requests_per_s_max: 1000,
            ttl: Duration::from_hours(1),
            known_max: 10_000,
        }
    }
}
