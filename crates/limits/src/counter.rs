//! What is known of one thing that is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_model::Timestamp;

use crate::gcra::{Full, Rate};
use crate::meter::Meter;
use crate::runaway::Pace;

/// What is known of one thing that is counted.
#[derive(Debug)]
pub(crate) enum Counter {
    /// The number of [`crate::gcra`].
    Rate(AtomicU64),
    /// How many are under way.
    Slots(AtomicU64),
    /// What is used up of a quota or a budget.
    Meter(Meter),
    /// How fast an agent goes.
    Pace(Pace),
}

impl Counter {
    /// Whether it says no more than a new one would.
    pub(crate) fn is_as_new(&self, now: u64) -> bool {
        match self {
            Self::Rate(at) => at.load(Ordering::Relaxed) <= now,
            Self::Slots(taken) => taken.load(Ordering::Relaxed) == 0,
            Self::Pace(pace) => pace.is_as_new(now),
            Self::Meter(meter) => meter.is_as_new(Timestamp::now()),
        }
    }
}

/// Whether there is room for another request at `now`, if nothing happens meanwhile.
pub(crate) fn has_room(at: &AtomicU64, rate: Rate, now: u64) -> Result<(), Full> {
    rate.take(at.load(Ordering::Relaxed), now).map(drop)
}

/// Counts a request. Gives where the number comes to lie.
pub(crate) fn take(at: &AtomicU64, rate: Rate, now: u64) -> Result<u64, Full> {
    let mut seen = at.load(Ordering::Relaxed);
    loop {
        let next = rate.take(seen, now)?;
        match at.compare_exchange_weak(seen, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return Ok(next),
            Err(other) => seen = other,
        }
    }
}

/// Takes one of so many places. Whether there was one.
pub(crate) fn enter(taken: &AtomicU64, most: u64) -> bool {
    taken
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < most).then_some(taken + 1))
        .is_ok()
}

/// Gives back what was counted.
pub(crate) fn give_back(counter: &AtomicU64, amount: u64) {
    counter.fetch_sub(amount, Ordering::Relaxed);
}
