//! Instances that one call has to itself.
//!
//! On a stream that all calls share, a legacy server's request names no call. So once a server has been seen to ask,
//! each call that it may ask has an instance for its whole length: the lowest seat that is free. The instance of a call that
//! was left before its answer is put away, since its server may still ask about that (see `strays.rs`). And a server that is
//! spoken with strictly gets an instance for each call, whatever it asks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::UpstreamError;
use crate::backoff::Backoff;
use crate::key::Key;
use crate::link::Instance;
use crate::registry::Registry;

/// Which of the instances with otherwise the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Seat {
    /// The one with this number; the first is whoever's has no need of one alone.
    Numbered(u32),
    /// One that serves a single call.
    Once(u64),
}

impl Seat {
    /// Where everyone sits who needs no instance alone.
    pub(crate) const COMMON: Self = Self::Numbered(0);
}

/// Which seats are taken, and how long one waits for room.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: Mutex<HashMap<Key, Vec<u32>>>,
    freed: Notify,
    next_once: AtomicU64,
    failing: Mutex<Option<Failing>>,
}

/// The last start for a single call has failed: the next one waits, as it does for those that are shared.
#[derive(Debug, Clone)]
struct Failing {
    error: UpstreamError,
    until: Instant,
    failures: u32,
}

/// How often room is looked for beside being told of it: an instance of others may have become idle.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Seats {
    /// A seat that no call has had.
    pub(crate) fn once(&self) -> Seat {
        Seat::Once(self.next_once.fetch_add(1, Ordering::Relaxed))
    }

    /// Takes the lowest seat of the key that is free, and on whose instance nothing is under way that may be asked.
    pub(crate) fn take(&self, key: &Key, is_free: impl Fn(&Key) -> bool) -> Key {
        let mut taken = self.taken();
        let seats = taken.entry(key.at(Seat::COMMON)).or_default();
        let mut number = 0;
        while seats.contains(&number) || !is_free(&key.at(Seat::Numbered(number))) {
            number += 1;
        }
        seats.push(number);
        key.at(Seat::Numbered(number))
    }

    /// Gives a seat back.
    pub(crate) fn give_back(&self, key: &Key) {
        if let Seat::Numbered(number) = key.seat {
            let base = key.at(Seat::COMMON);
            let mut taken = self.taken();
            if let Some(seats) = taken.get_mut(&base) {
                seats.retain(|other| *other != number);
                if seats.is_empty() {
                    taken.remove(&base);
                }
            }
        }
        self.freed.notify_waiters();
    }

    /// How many seats are taken.
    pub(crate) fn count(&self) -> usize {
        self.taken().values().map(Vec::len).sum()
    }

    /// Waits until there may be room.
    pub(crate) async fn some_time(&self) {
        let _ = tokio::time::timeout(LOOK_EVERY, self.freed.notified()).await;
    }

    /// Whether a start for a single call is to be left for now.
    pub(crate) fn check(&self) -> Result<(), UpstreamError> {
        match &*self.failing() {
            Some(failing) if Instant::now() < failing.until => Err(failing.error.clone()),
            _ => Ok(()),
        }
    }

    /// A start for a single call came to this.
    pub(crate) fn started(&self, backoff: Backoff, outcome: Result<(), &UpstreamError>) {
        let mut failing = self.failing();
        match outcome {
            Ok(()) => *failing = None,
            Err(error)
                if error.is_stale()
                    || matches!(error, UpstreamError::Capacity { .. } | UpstreamError::Stopping) => {}
            Err(error) => {
                let failures = failing.as_ref().map_or(0, |failing| failing.failures).saturating_add(1);
                let until = Instant::now() + backoff.after_error(failures, error);
                *failing = Some(Failing { error: error.clone(), until, failures });
            }
        }
    }

    /// When a start for a single call is tried again, if it waits.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        self.failing().as_ref().map(|failing| failing.until)
    }

    fn failing(&self) -> MutexGuard<'_, Option<Failing>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<Key, Vec<u32>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An instance is one call's alone for as long as this is held. It does not idle meanwhile, nor make way for others.
#[derive(Debug)]
pub(crate) struct Lease {
    _seat: Taken,
    instance: Arc<Instance>,
}

/// A seat that is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    registry: Weak<Registry>,
    key: Key,
}

impl Taken {
    pub(crate) fn new(registry: &Arc<Registry>, key: Key) -> Self {
        Self { registry: Arc::downgrade(registry), key }
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.give_back(&self.key);
        }
    }
}

impl Lease {
    pub(crate) fn new(seat: Taken, instance: &Arc<Instance>) -> Self {
        instance.begin_call();
        Self { _seat: seat, instance: Arc::clone(instance) }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.instance.end_call();
    }
}
