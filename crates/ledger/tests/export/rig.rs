//! A small ledger and its exports, as a gateway has them.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use tokio::sync::watch;
use tollgate_ledger::export::{
    ExportLine, ExportSettings, Exports, FileSettings, Format, Pace, TargetSettings, Unseal,
};
use tollgate_ledger::{Entry, Kind, Ledger, Position, chain, side};

/// How long something may take that takes no time.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Records that were never sealed: their text is in base64url.
#[derive(Debug)]
struct Open;

impl Unseal for Open {
    fn name(&self, _: &str, _: &[u8], sealed: &[u8]) -> Option<String> {
        String::from_utf8(URL_SAFE_NO_PAD.decode(sealed).ok()?).ok()
    }

    fn payload(&self, _: &str, _: bool, sealed: &[u8]) -> Option<Vec<u8>> {
        URL_SAFE_NO_PAD.decode(sealed).ok()
    }
}

/// The line of a name or a payload.
pub(crate) fn beside(what: &str, text: &str) -> String {
    format!("{what} {}\n", URL_SAFE_NO_PAD.encode(text))
}

pub(crate) struct Rig {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) scribe: Scribe,
    pub(crate) exports: Exports,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let scribe = Scribe::new(&folder.path().join("w1"));
        let exports = scribe.exports();
        Self { folder, scribe, exports }
    }

    /// The exports of a ledger.
    pub(crate) fn of(ledger: &Ledger) -> Exports {
        Exports::of(ledger).expect("something is recorded")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes so many entries that nothing stands beside.
    pub(crate) fn write(&mut self, count: u64) {
        for _ in 0..count {
            self.scribe.write(Entry { tenant: Some("acme".into()), ..Entry::of(Kind::Refusal) }, "");
        }
    }

    /// The process dies and another takes its place: the exports begin where their cursors are.
    pub(crate) fn restart(&mut self, settings: &[ExportSettings]) {
        self.exports = self.scribe.exports();
        self.exports.apply(settings);
    }

    /// Waits until an export says so of itself.
    pub(crate) async fn until(&self, wanted: impl Fn(&ExportLine) -> bool) -> ExportLine {
        until(&self.exports, wanted).await
    }
}

/// Waits until an export says so of itself.
pub(crate) async fn until(exports: &Exports, wanted: impl Fn(&ExportLine) -> bool) -> ExportLine {
    let deadline = Instant::now() + SOON;
    loop {
        let lines = exports.lines();
        if let Some(line) = lines.iter().find(|line| wanted(line)) {
            return line.clone();
        }
        assert!(Instant::now() < deadline, "it never came to that: {lines:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Writes segments to the letter, and nothing of its own: no heads, no checkpoints.
pub(crate) struct Scribe {
    folder: PathBuf,
    segment: u64,
    at: Position,
    position: watch::Sender<Position>,
    /// Whether nobody is told of what is written.
    is_silent: bool,
}

impl Scribe {
    pub(crate) fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder.join("segments")).expect("a folder");
        let (folder, at) = (folder.to_owned(), Position::default());
        Self { folder, segment: 1, at, position: watch::Sender::new(at), is_silent: false }
    }

    fn exports(&self) -> Exports {
        Exports::new(&self.folder, self.position.subscribe(), Arc::new(Open))
    }

    /// The file that is written.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(format!("segments/{:020}.log", self.segment))
    }

    /// Writes an entry, and what stands beside it.
    pub(crate) fn write(&mut self, mut entry: Entry<'_>, beside: &str) {
        entry.seq = self.at.seq + 1;
        entry.time_ms = 1_700_000_000_000 + entry.seq;
        let json = serde_json::to_vec(&entry).expect("JSON");
        let side = side(beside.as_bytes());
        let hash = chain(self.at.hash, side.as_bytes(), &json);
        let json = String::from_utf8(json).expect("text");
        let text = format!("e {} {side} {json}\n{beside}", hash.to_text());
        let mut file = OpenOptions::new().create(true).append(true).open(self.file()).expect("a segment");
        file.write_all(text.as_bytes()).expect("written");
        self.at = Position { seq: entry.seq, hash };
        if !self.is_silent {
            self.position.send_replace(self.at);
        }
    }

    /// Writes an entry whose write fails in the end: `then` looks at what is there meanwhile, and then it is cut off.
    pub(crate) async fn fail(&mut self, entry: Entry<'_>, then: impl AsyncFnOnce(&watch::Sender<Position>)) {
        let (before, len) = (self.at, std::fs::metadata(self.file()).expect("a segment").len());
        self.is_silent = true;
        self.write(entry, "");
        then(&self.position).await;
        let file = OpenOptions::new().write(true).open(self.file()).expect("a segment");
        file.set_len(len).expect("cut");
        (self.at, self.is_silent) = (before, false);
    }

    /// Begins a new segment.
    pub(crate) fn rotate(&mut self) {
        self.segment = self.at.seq + 1;
    }
}

/// A pace for tests.
pub(crate) fn quick() -> Pace {
    Pace {
        batch_wait: Duration::from_millis(5),
        timeout: Duration::from_secs(5),
        retry_min: Duration::from_millis(10),
        retry_max: Duration::from_millis(50),
        ..Pace::default()
    }
}

pub(crate) fn export(target: TargetSettings) -> ExportSettings {
    ExportSettings {
        name: "siem".into(),
        target,
        format: Format::Native,
        names: false,
        payloads: false,
        kinds: None,
        tenants: None,
        pace: quick(),
    }
}

pub(crate) fn to_file(path: &Path) -> ExportSettings {
    export(TargetSettings::File(FileSettings { path: path.to_owned(), rotate_bytes: 0, keep_files: 0 }))
}

/// The entries of a file, one a line.
pub(crate) fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

pub(crate) fn numbers(entries: &[Value]) -> Vec<u64> {
    entries.iter().map(|entry| entry["seq"].as_u64().expect("a number")).collect()
}

/// Every number up to the last is there at least once, and what came a second time says so.
pub(crate) fn assert_whole(entries: &[Value], last: u64) {
    let mut seen = std::collections::HashSet::new();
    for entry in entries {
        let seq = entry["seq"].as_u64().expect("a number");
        assert!(seen.insert(seq) || entry["redelivered"] == true, "{seq} came again unmarked");
    }
    let missing: Vec<u64> = (1..=last).filter(|seq| !seen.contains(seq)).collect();
    assert!(missing.is_empty(), "{missing:?} never came");
}
