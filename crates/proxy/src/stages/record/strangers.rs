//! Refusals of callers whom nobody knows: counted by source and minute, so that a flood of them cannot fill the disk.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_ledger::{Draft, Entry, Kind, Ledger, Stranger};
use tollgate_model::Timestamp;

/// How many sources of one minute are counted each for itself. The rest are counted together.
const SOURCES_MAX: usize = 4096;
const MINUTE_MS: u64 = 60_000;

/// How often strangers were refused in the minute that runs.
#[derive(Debug, Default)]
pub(crate) struct Strangers(Mutex<Minute>);

#[derive(Debug, Default)]
struct Minute {
    begin_ms: u64,
    sources: HashMap<IpAddr, u64>,
    others: u64,
}

impl Strangers {
    /// Counts one.
    pub(super) fn count(&self, source: IpAddr) {
        let mut minute = self.lock();
        if minute.begin_ms == 0 {
            minute.begin_ms = minute_of(Timestamp::now());
        }
        if minute.sources.len() >= SOURCES_MAX && !minute.sources.contains_key(&source) {
            minute.others += 1;
        } else {
            *minute.sources.entry(source).or_default() += 1;
        }
    }

    /// Records what was counted, if its minute is over or `now` is none.
    pub(crate) fn record(&self, ledger: &Ledger, now: Option<Timestamp>) {
        let over = {
            let mut minute = self.lock();
            let runs = now.is_some_and(|now| minute_of(now) == minute.begin_ms);
            if minute.begin_ms == 0 || runs {
                return;
            }
            std::mem::take(&mut *minute)
        };
        let note = |source: Option<IpAddr>, count| {
            let mut entry = Entry::of(Kind::Strangers);
            entry.strangers = Some(Stranger { minute_ms: over.begin_ms, count });
            ledger.note_later(Draft { source, ..Draft::of(entry) });
        };
        for (source, count) in &over.sources {
            note(Some(*source), *count);
        }
        if over.others > 0 {
            note(None, over.others);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn minute_of(time: Timestamp) -> u64 {
    time.as_ms() / MINUTE_MS * MINUTE_MS
}
