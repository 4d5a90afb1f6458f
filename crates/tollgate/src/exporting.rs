//! Who receives what is recorded, while a gateway runs.

use std::sync::Arc;

use tollgate_admin::ExportLine;
use tollgate_ledger::Ledger;
use tollgate_ledger::export::{ExportSettings, Exports};
use tollgate_ledger::upkeep::Needs;
use tollgate_model::Timestamp;

/// The exports of this process. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct Exporting(Option<Exports>);

impl Exporting {
    /// Begins to export a ledger; nothing where nothing is recorded. Must be called within a runtime.
    pub(crate) fn begin(ledger: &Ledger, wanted: &[ExportSettings]) -> Self {
        let exporting = Self(Exports::of(ledger));
        exporting.apply(wanted);
        exporting
    }

    /// Takes over what is configured now.
    pub(crate) fn apply(&self, wanted: &[ExportSettings]) {
        if let Some(exports) = &self.0 {
            exports.apply(wanted);
        }
    }

    /// Sends what is left, within bounds. The ledger should be closed before.
    pub(crate) async fn drain(&self) {
        if let Some(exports) = &self.0 {
            exports.drain().await;
        }
    }

    /// Who has to have had what is removed from the record.
    pub(crate) fn needs(&self) -> Vec<Arc<dyn Needs>> {
        let needs = |exports: &Exports| -> Arc<dyn Needs> { Arc::new(exports.clone()) };
        self.0.as_ref().map(needs).into_iter().collect()
    }

    /// How they do.
    pub(crate) fn lines(&self) -> Vec<ExportLine> {
        let lines = self.0.as_ref().map(Exports::lines).unwrap_or_default();
        let now = Timestamp::now();
        let ms_since = |since| u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
        let line = |line: tollgate_ledger::export::ExportLine| ExportLine {
            export: line.name.to_string(),
            target: line.target,
            writer: line.writer.to_string(),
            away: line.away.map(|(reason, since)| (reason.to_string(), ms_since(since))),
            seq: line.seq,
            behind_bytes: line.behind_bytes,
            behind_bytes_max: line.behind_bytes_max,
            sent: line.sent,
            redelivered: line.redelivered,
            failures: line.failures,
            lost: line.lost,
        };
        lines.into_iter().map(line).collect()
    }
}
