//! Whether somebody who is asked again and again answers.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tollgate_model::Timestamp;

/// Whether somebody answers.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    is_away: AtomicBool,
    away: Mutex<Option<Away>>,
}

/// Somebody does not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away {
    /// Why.
    pub reason: Arc<str>,
    /// Since when.
    pub since: Timestamp,
}

impl Reach {
    /// An answer, or why there is none. Whether that is another than before.
    pub(crate) fn heard(&self, failure: Option<&str>, now: Timestamp) -> bool {
        if self.is_away.load(Ordering::Acquire) == failure.is_some() {
            return false;
        }
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        if away.is_some() == failure.is_some() {
            return false;
        }
        *away = failure.map(|reason| Away { reason: reason.into(), since: now });
        self.is_away.store(failure.is_some(), Ordering::Release);
        true
    }

    /// Whether it does not answer.
    pub(crate) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Why, and since when.
    pub(crate) fn away(&self) -> Option<Away> {
        if !self.is_away() {
            return None;
        }
        self.away.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
