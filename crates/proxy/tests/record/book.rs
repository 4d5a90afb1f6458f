//! A ledger in a temporary folder, read as anyone may read it.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tollgate_ledger::{Ledger, LedgerSettings, Line, Reader, Recording};
use tollgate_model::RecordLevel;

use crate::eventually;

pub(crate) struct Book {
    pub(crate) ledger: Ledger,
    _folder: Option<TempDir>,
}

impl Book {
    pub(crate) fn new() -> Self {
        Self::keeping(RecordLevel::Full)
    }

    /// Of arguments and results this much is kept.
    pub(crate) fn keeping(level: RecordLevel) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recording = Recording { arguments: level, results: level };
        let settings = LedgerSettings { recording, ..LedgerSettings::default() };
        let ledger = Ledger::open(&folder.path().join("ledger"), settings).unwrap();
        Self { ledger, _folder: Some(folder) }
    }

    /// In a folder that is somebody else's.
    pub(crate) fn at(root: &Path, settings: LedgerSettings) -> Self {
        Self { ledger: Ledger::open(root, settings).unwrap(), _folder: None }
    }

    /// All entries about requests, in their order. What nobody waits for may come on record a moment later: it is waited for.
    pub(crate) fn entries(&self) -> Vec<Value> {
        let until = Instant::now() + crate::LONG;
        while self.ledger.work().waiting_bytes > 0 && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(1));
        }
        let mut reader = Reader::new(self.ledger.folder().unwrap());
        let mut entries = Vec::new();
        while let Some(read) = reader.next_entry().unwrap() {
            entries.push(serde_json::from_slice(&read.json).unwrap());
        }
        let own = ["segment", "started", "recovered", "checkpoint", "stopped"];
        entries.retain(|entry: &Value| !own.contains(&entry["kind"].as_str().unwrap()));
        entries
    }

    /// What is kept of the arguments of an entry.
    pub(crate) fn arguments(&self, entry: &Value) -> Value {
        let mut reader = Reader::new(self.ledger.folder().unwrap());
        let vault = self.ledger.vault().unwrap();
        let tenant = entry["tenant"].as_str().unwrap_or_default();
        while let Some(read) = reader.next_entry().unwrap() {
            if read.entry().unwrap().seq != entry["seq"] {
                continue;
            }
            for line in read.beside() {
                if let Line::Payload { is_result: false, sealed } = line {
                    let opened = vault.open_payload(tenant, false, sealed).expect("its own key opens it");
                    return serde_json::from_slice(&opened.bytes).unwrap();
                }
            }
        }
        Value::Null
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
