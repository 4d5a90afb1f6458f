//! The desired state as this process knows it, kept up with the feed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_model::Timestamp;

use crate::Desired;

/// How sure this process is of what it knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmed {
    /// It followed the feed a moment ago, or there is nothing to follow.
    Now,
    /// The store is away; what is known was confirmed last at this time, and may still be used.
    Since(Timestamp),
    /// The store has been away for longer than is allowed, or was never there.
    TooOld,
}

/// Follows the feed. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Follower(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    desired: ArcSwap<Desired>,
    changes: watch::Sender<u64>,
}

impl Follower {
    /// Follows nothing: there is no stored state.
    pub fn of_nothing() -> Self {
        Self(Arc::new(Inner { desired: ArcSwap::default(), changes: watch::Sender::new(0) }))
    }

    /// What is desired now.
    pub fn now(&self) -> Arc<Desired> {
        self.0.desired.load_full()
    }

    /// Tells of every revision that is applied from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// How sure it is.
    pub fn confirmed(&self) -> Confirmed {
        Confirmed::Now
    }
}
