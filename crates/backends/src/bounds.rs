//! How long and how much.

use std::time::Duration;

/// The bounds of a database.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// How many connections there may be at once, beside the one that hears of news.
    pub connections_max: usize,
    /// How long a call may take: waiting for a connection, connecting, and all that it asks.
    pub call_max: Duration,
    /// How long reading the whole state may take.
    pub load_max: Duration,
    /// How long bringing the database to this program's version may take.
    pub migrate_max: Duration,
    /// How many changes the feed keeps.
    pub feed_max: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            connections_max: 4,
            call_max: Duration::from_secs(5),
            load_max: Duration::from_secs(30),
            migrate_max: Duration::from_mins(1),
            feed_max: tollgate_store::FEED_MAX,
        }
    }
}
