//! What the gateway says of its ledger.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_telemetry::counters::Metrics;

/// What is known of the ledger.
#[derive(Debug, Clone, Default)]
pub struct LedgerLine {
    /// Why, and for how long, it cannot be written.
    pub down: Option<(Arc<str>, Duration)>,
    /// Why, and for how long, no new segment can begin although one is due.
    pub stuck: Option<(Arc<str>, Duration)>,
    /// For whom, and for how long, what is too old is kept all the same.
    pub retention_waits: Option<(Arc<str>, Duration)>,
    /// Whether calls are refused while it cannot be written.
    pub refuses: bool,
    /// Entries written.
    pub entries: u64,
    /// In how many writes.
    pub writes: u64,
    /// Entries that could not be written.
    pub lost: u64,
    /// Writes that failed.
    pub failures: u64,
    /// How often the disk did not take what the operating system had.
    pub unsynced: u64,
    /// How often no new segment could begin.
    pub segment_failures: u64,
    /// Writes that took long.
    pub slow: u64,
    /// Intents that wait for their outcome.
    pub open: u64,
    /// How many bytes of entries wait to be written.
    pub waiting_bytes: u64,
}

impl LedgerLine {
    /// Whether clients are served.
    pub(crate) fn is_ready(&self) -> bool {
        self.down.is_none() || !self.refuses
    }

    pub(crate) fn to_json(&self) -> Value {
        let ms = |since: &Duration| u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut said = match &self.down {
            None => json!({ "state": "up" }),
            Some((reason, since)) => {
                json!({ "state": "down", "reason": &**reason, "downMs": ms(since), "callsAreRefused": self.refuses })
            }
        };
        if let Some((reason, since)) = &self.stuck {
            said["newSegment"] = json!({ "state": "down", "reason": &**reason, "downMs": ms(since) });
        }
        if let Some((who, since)) = &self.retention_waits {
            said["retention"] = json!({ "state": "waiting", "waitsFor": &**who, "waitsMs": ms(since) });
        }
        said
    }

    /// The ledger's part of `/metrics`.
    pub(crate) fn write(&self, metrics: &mut Metrics) {
        let mut number = |name: &str, kind: &str, help: &str, value: u64| {
            metrics.family(name, kind, help);
            metrics.number(name, &[], value);
        };
        let up = u64::from(self.down.is_none());
        number("tollgate_ledger_up", "gauge", "1 while the ledger can be written.", up);
        number("tollgate_ledger_entries_total", "counter", "Entries written to the ledger.", self.entries);
        number("tollgate_ledger_writes_total", "counter", "Writes of one or several entries.", self.writes);
        let help = "Entries that could not be written; each time is recorded as a gap.";
        number("tollgate_ledger_lost_total", "counter", help, self.lost);
        number("tollgate_ledger_write_failures_total", "counter", "Writes that failed.", self.failures);
        let help = "Syncs that failed: entries may be lost with the power. Each is recorded as a gap.";
        number("tollgate_ledger_sync_failures_total", "counter", help, self.unsynced);
        let help = "Tries to begin a new segment that failed.";
        number("tollgate_ledger_segment_failures_total", "counter", help, self.segment_failures);
        number("tollgate_ledger_slow_writes_total", "counter", "Writes that the disk held up.", self.slow);
        number("tollgate_ledger_open", "gauge", "Intents that wait for their outcome.", self.open);
        let help = "1 while what is too old is kept since an export or the index has not had it yet.";
        let waits = u64::from(self.retention_waits.is_some());
        number("tollgate_ledger_retention_waits", "gauge", help, waits);
        let help = "Bytes of entries that wait to be written.";
        number("tollgate_ledger_waiting_bytes", "gauge", help, self.waiting_bytes);
    }
}
