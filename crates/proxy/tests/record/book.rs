//! A ledger in a temporary folder, read as anyone may read it.

use serde_json::Value;
use tempfile::TempDir;
use tollgate_ledger::{Ledger, LedgerSettings, Reader, Recording};
use tollgate_model::RecordLevel;

use crate::eventually;

pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    _folder: TempDir,
}

impl Book {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording { arguments: RecordLevel::Full, results: RecordLevel::Full };
        let settings = LedgerSettings { recording, ..LedgerSettings::default() };
        let ledger = Ledger::open(&folder.path().join("ledger"), settings).unwrap();
        Self { ledger, _folder: folder }
    }

    /// All entries about requests, in their order.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let mut reader = Reader::new(self.ledger.folder().unwrap());
        let mut entries = Vec::new();
        while let Some(read) = reader.next_entry().unwrap() {
            entries.push(serde_json::from_slice(&read.json).unwrap());
        }
        let own = ["segment", "started", "recovered", "checkpoint", "stopped"];
        entries.retain(|entry: &Value| !own.contains(&entry["kind"].as_str().unwrap()));
        entries
    }

    /// Each entry as a line of what matters most: kind, step, method, outcome, code.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.entries().iter().map(line).collect()
    }

    /// Waits for an entry.
    pub(crate) async fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(|| self.entries().into_iter().find(&wanted)).await
    }
}

pub(crate) fn line(entry: &Value) -> String {
    let text = |member: &str| match &entry[member] {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    let step = entry["step"].as_u64().unwrap_or(0).to_string();
    let parts = [text("kind"), Some(step), text("method"), text("outcome"), text("code")];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
