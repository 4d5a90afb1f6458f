//! What is known of those that receive the record.

use serde_json::{Value, json};
use tollgate_telemetry::counters::Metrics;

/// An export of the ledger.
#[derive(Debug, Clone)]
pub struct ExportLine {
    /// Its name.
    pub export: String,
    /// What receives it, in one word.
    pub target: &'static str,
    /// Whose entries these are.
    pub writer: String,
    /// Why it cannot be received, and how long that has been so, in milliseconds; none while it can.
    pub away: Option<(String, u64)>,
    /// The number of the last entry that was received, or passed over.
    pub seq: u64,
    /// How many bytes it lies behind.
    pub behind_bytes: u64,
    /// How many it may.
    pub behind_bytes_max: u64,
    /// How many entries were received.
    pub sent: u64,
    /// Of these, how many perhaps not for the first time.
    pub redelivered: u64,
    /// How many tries failed.
    pub failures: u64,
    /// How many entries were removed before they were sent, or not wanted.
    pub lost: u64,
}

impl ExportLine {
    pub(crate) fn to_json(&self) -> Value {
        let is_behind = self.behind_bytes > self.behind_bytes_max;
        let state = match &self.away {
            _ if is_behind => "behind",
            Some(_) => "away",
            None => "up",
        };
        let mut object = json!({
            "export": self.export, "target": self.target, "writer": self.writer, "state": state, "seq": self.seq,
            "behindBytes": self.behind_bytes, "behindBytesMax": self.behind_bytes_max,
        });
        if let Some((reason, ms)) = &self.away {
            object["reason"] = reason.as_str().into();
            object["awayMs"] = (*ms).into();
        }
        object
    }

    /// The exports' part of `/metrics`.
    pub(crate) fn write(lines: &[Self], metrics: &mut Metrics) {
        if lines.is_empty() {
            return;
        }
        let mut family = |name: &str, kind: &str, help: &str, of: &dyn Fn(&Self) -> u64| {
            metrics.family(name, kind, help);
            for line in lines {
                let labels = [("export", &*line.export), ("target", line.target), ("writer", &*line.writer)];
                metrics.number(name, &labels, of(line));
            }
        };
        let help = "1 if the export is received.";
        family("tollgate_export_up", "gauge", help, &|line| u64::from(line.away.is_none()));
        let help = "Bytes of the ledger that the export has not had yet.";
        family("tollgate_export_behind_bytes", "gauge", help, &|line| line.behind_bytes);
        let help = "How far the export may lie behind until retention waits for it no more.";
        family("tollgate_export_behind_bytes_max", "gauge", help, &|line| line.behind_bytes_max);
        let help = "Entries that were received.";
        family("tollgate_export_entries_total", "counter", help, &|line| line.sent);
        let help = "Entries that were received, perhaps not for the first time.";
        family("tollgate_export_redelivered_total", "counter", help, &|line| line.redelivered);
        let help = "Tries to send that failed.";
        family("tollgate_export_failures_total", "counter", help, &|line| line.failures);
        let help = "Entries that were removed before they were sent, or not wanted by the receiver.";
        family("tollgate_export_lost_total", "counter", help, &|line| line.lost);
    }
}
