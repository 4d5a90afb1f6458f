//! How the index of the ledger does.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_telemetry::counters::Metrics;

/// The index of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexLine {
    /// How many entries of this process are not in it yet.
    pub behind: u64,
    /// How many entries this process has taken in.
    pub entries: u64,
    /// Why it does not go on, if it does not.
    pub failure: Option<Arc<str>>,
}

impl IndexLine {
    /// Its part of `/readyz`. Calls are served without it, so it does not say whether the gateway is ready.
    pub(crate) fn to_json(&self) -> Value {
        let mut object = json!({
            "state": if self.failure.is_some() { "away" } else { "up" },
            "behindEntries": self.behind,
        });
        if let Some(reason) = &self.failure {
            object["reason"] = json!(**reason);
        }
        object
    }

    /// Its part of `/metrics`.
    pub(crate) fn write(&self, metrics: &mut Metrics) {
        for (name, kind, help, number) in [
            (
                "tollgate_ledger_index_up",
                "gauge",
                "1 unless the index of the ledger does not go on.",
                u64::from(self.failure.is_none()),
            ),
            (
                "tollgate_ledger_index_lag_entries",
                "gauge",
                "Entries of this process that are not in the index yet.",
                self.behind,
            ),
            (
                "tollgate_ledger_index_entries_total",
                "counter",
                "Entries that this process has taken into the index.",
                self.entries,
            ),
        ] {
            metrics.family(name, kind, help);
            metrics.number(name, &[], number);
        }
    }
}
