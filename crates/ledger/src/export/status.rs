//! How an export does.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tollgate_model::Timestamp;
use tollgate_telemetry::events::{ExportAway, ExportBack, ExportBehind};

use super::cursor::Place;
use super::settings::ExportSettings;
use crate::reader::{ReadError, Reader};

/// How an export does, for `/readyz` and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportLine {
    /// Its name.
    pub name: Arc<str>,
    /// What receives it, in one word: `file`, `syslog`, `webhook` or `otlp`.
    pub target: &'static str,
    /// Whose entries these are.
    pub writer: Arc<str>,
    /// Why it cannot be received, and since when; none while it can.
    pub away: Option<(Arc<str>, Timestamp)>,
    /// The number of the last entry that was received, or passed over.
    pub seq: u64,
    /// How many bytes of segments it lies behind.
    pub behind_bytes: u64,
    /// How many it may.
    pub behind_bytes_max: u64,
    /// How many entries were received.
    pub sent: u64,
    /// Of these, how many were marked as perhaps received before.
    pub redelivered: u64,
    /// How many tries to send failed.
    pub failures: u64,
    /// How many entries were removed before they were sent, or not wanted by the receiver.
    pub lost: u64,
}

impl ExportLine {
    /// Whether it lies further behind than it may.
    pub const fn is_behind(&self) -> bool {
        self.behind_bytes > self.behind_bytes_max
    }
}

/// What the task of an export notes, and others read.
#[derive(Debug)]
pub(super) struct Status {
    name: Arc<str>,
    target: &'static str,
    writer: Arc<str>,
    behind_bytes_max: u64,
    away: Mutex<Option<(Arc<str>, Timestamp)>>,
    done: Mutex<Place>,
    /// The segment that the cursor on disk is in.
    written: AtomicU64,
    behind_bytes: AtomicU64,
    sent: AtomicU64,
    redelivered: AtomicU64,
    failures: AtomicU64,
    lost: AtomicU64,
}

impl Status {
    pub(super) fn new(settings: &ExportSettings, writer: &Arc<str>) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            target: settings.target.label(),
            writer: Arc::clone(writer),
            behind_bytes_max: settings.pace.behind_bytes_max,
            away: Mutex::default(),
            done: Mutex::default(),
            written: AtomicU64::new(0),
            behind_bytes: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            redelivered: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        }
    }

    /// Whose entries these are.
    pub(super) fn writer(&self) -> &str {
        &self.writer
    }

    pub(super) fn line(&self) -> ExportLine {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        ExportLine {
            name: Arc::clone(&self.name),
            target: self.target,
            writer: Arc::clone(&self.writer),
            away: self.away.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            seq: self.done().seq,
            behind_bytes: load(&self.behind_bytes),
            behind_bytes_max: self.behind_bytes_max,
            sent: load(&self.sent),
            redelivered: load(&self.redelivered),
            failures: load(&self.failures),
            lost: load(&self.lost),
        }
    }

    /// The last entry that was received, or passed over.
    pub(super) fn done(&self) -> Place {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn advance(&self, done: Place) {
        *self.done.lock().unwrap_or_else(PoisonError::into_inner) = done;
    }

    /// The cursor on disk is in this segment.
    pub(super) fn wrote(&self, segment: u64) {
        self.written.store(segment, Ordering::Relaxed);
    }

    /// The segment from which on it needs them; none where it lies so far behind that nobody waits for it.
    pub(super) fn needs_from(&self) -> Option<u64> {
        let is_behind = self.behind_bytes.load(Ordering::Relaxed) > self.behind_bytes_max;
        (!is_behind).then(|| self.written.load(Ordering::Relaxed))
    }

    pub(super) fn received(&self, entries: usize, redelivered: usize) {
        self.sent.fetch_add(entries as u64, Ordering::Relaxed);
        self.redelivered.fetch_add(redelivered as u64, Ordering::Relaxed);
        let was_away = self.away.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((_, since)) = was_away {
            ExportBack { export: &self.name, away: Timestamp::now().since(since) }.emit();
        }
    }

    pub(super) fn failed(&self, reason: String) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let mut away = self.away.lock().unwrap_or_else(PoisonError::into_inner);
        let since = away.as_ref().map_or_else(Timestamp::now, |(_, since)| *since);
        if away.is_none() {
            ExportAway { export: &self.name, reason: &reason }.emit();
        }
        *away = Some((reason.into(), since));
    }

    pub(super) fn missed(&self, entries: u64) {
        self.lost.fetch_add(entries, Ordering::Relaxed);
    }

    /// Measures how far it lies behind. Reads a folder: not for threads that serve.
    pub(super) fn measure(&self, folder: &Path) -> Result<(), ReadError> {
        let done = self.done();
        let reader = Reader::new(folder);
        let mut behind = 0;
        for segment in reader.segments()?.into_iter().filter(|segment| *segment >= done.segment) {
            let length = std::fs::metadata(reader.path(segment)).map_or(0, |metadata| metadata.len());
            behind += if segment == done.segment { length.saturating_sub(done.next) } else { length };
        }
        let before = self.behind_bytes.swap(behind, Ordering::Relaxed);
        let max = self.behind_bytes_max;
        if behind > max && before <= max {
            ExportBehind { export: &self.name, behind_bytes: behind, behind_bytes_max: max }.emit();
        }
        Ok(())
    }
}
