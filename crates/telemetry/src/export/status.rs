//! How sending goes: for `/readyz` and `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tollgate_model::Timestamp;

use crate::counters::Metrics;
use crate::events::{TelemetryNotSent, TelemetrySentAgain};
use crate::otlp::Signal;

/// A signal that its receiver does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotSent {
    /// Which signal.
    pub signal: Signal,
    /// Since when.
    pub since: Timestamp,
    /// Why, as of the last try.
    pub reason: String,
}

/// One signal's numbers.
#[derive(Debug)]
pub(super) struct Status {
    signal: Signal,
    /// Spans, records or points, by what became of them.
    taken: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    failures: AtomicU64,
    trouble: Mutex<Option<(Timestamp, String)>>,
}

impl Status {
    pub(super) const fn new(signal: Signal) -> Self {
        Self {
            signal,
            taken: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            trouble: Mutex::new(None),
        }
    }

    /// Everything of a batch was taken, but for so many.
    pub(super) fn taken(&self, items: usize, rejected: u64) {
        let items = (items as u64).saturating_sub(rejected);
        self.taken.fetch_add(items, Ordering::Relaxed);
        self.rejected.fetch_add(rejected, Ordering::Relaxed);
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        if trouble.is_some() {
            TelemetrySentAgain { signal: self.signal.as_str() }.emit();
        }
    }

    /// A try failed.
    pub(super) fn trouble(&self, reason: &str) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = trouble.is_none();
        let (_, last) = trouble.get_or_insert_with(|| (Timestamp::now(), String::new()));
        reason.clone_into(last);
        drop(trouble);
        if is_news {
            TelemetryNotSent { signal: self.signal.as_str(), reason }.emit();
        }
    }

    /// A batch was given up.
    pub(super) fn gave_up(&self, items: usize) {
        self.failed.fetch_add(items as u64, Ordering::Relaxed);
    }

    /// What is wrong, if anything is.
    pub(super) fn not_sent(&self) -> Option<NotSent> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        trouble.map(|(since, reason)| NotSent { signal: self.signal, since, reason })
    }

    pub(super) fn write_items(&self, metrics: &mut Metrics, name: &str, dropped: u64) {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        for (outcome, number) in [
            ("sent", load(&self.taken)),
            ("rejected", load(&self.rejected)),
            ("failed", load(&self.failed)),
            ("dropped", dropped),
        ] {
            metrics.number(name, &[("signal", self.signal.as_str()), ("outcome", outcome)], number);
        }
    }

    pub(super) fn write_failures(&self, metrics: &mut Metrics, name: &str) {
        let failures = self.failures.load(Ordering::Relaxed);
        metrics.number(name, &[("signal", self.signal.as_str())], failures);
    }
}
