//! A ledger that is written line by line, to say exactly what stands in it.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tempfile::TempDir;
use tollgate_ledger::{Checkpoint, Entry, FORMAT, Kind, Position, PublicKey, SegmentHead, chain, side};

/// A second later with each entry.
const STEP_MS: u64 = 100;

/// What one writer writes.
pub(crate) struct Written {
    pub(crate) writer: String,
    pub(crate) key: Ed25519KeyPair,
    pub(crate) folder: PathBuf,
    pub(crate) at: Position,
    pub(crate) time_ms: u64,
    pub(crate) segment: u64,
    own: Option<TempDir>,
}

/// The key pair of a number.
pub(crate) fn key(number: u8) -> (Ed25519KeyPair, PublicKey) {
    let key = Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("a key");
    let public = PublicKey(key.public_key().as_ref().try_into().expect("32 bytes"));
    (key, public)
}

/// A line beside an entry: `p a` or `n`, and with what its record is filled.
pub(crate) fn beside(head: &str, filling: char) -> String {
    format!("{head} {}\n", filling.to_string().repeat(60))
}

impl Written {
    /// A writer in a ledger of its own.
    pub(crate) fn new() -> Self {
        let ledger = tempfile::tempdir().expect("a folder");
        Self { own: Some(ledger), ..Self::within(Path::new("/nowhere"), "w1") }.moved()
    }

    fn moved(mut self) -> Self {
        let ledger = self.own.as_ref().expect("it has one");
        self.folder = ledger.path().join(&self.writer);
        self.begun()
    }

    /// A writer in a ledger that is there.
    pub(crate) fn beside(ledger: &Path, writer: &str) -> Self {
        Self::within(ledger, writer).begun()
    }

    fn within(ledger: &Path, writer: &str) -> Self {
        Self {
            writer: writer.to_owned(),
            key: key(1).0,
            folder: ledger.join(writer),
            at: Position::default(),
            time_ms: 1_000_000,
            segment: 0,
            own: None,
        }
    }

    fn begun(mut self) -> Self {
        fs::create_dir_all(self.folder.join("segments")).expect("a folder");
        self.rotate();
        self
    }

    pub(crate) fn ledger(&self) -> &Path {
        self.folder.parent().expect("a folder")
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(self.key.public_key().as_ref().try_into().expect("32 bytes"))
    }

    pub(crate) fn file(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("segments/{segment:020}.log"))
    }

    /// Begins a segment.
    pub(crate) fn rotate(&mut self) {
        self.segment = self.at.seq + 1;
        let head = SegmentHead {
            format: FORMAT,
            writer: self.writer.clone(),
            before: self.at.seq,
            before_hash: self.at.hash,
            public_key: self.public().to_text(),
            open: Vec::new(),
        };
        self.entry(head.entry(), "");
    }

    /// Writes an entry, and what stands beside it.
    pub(crate) fn entry(&mut self, mut entry: Entry<'_>, beside: &str) -> String {
        self.time_ms += STEP_MS;
        (entry.seq, entry.time_ms) = (self.at.seq + 1, self.time_ms);
        let json = serde_json::to_string(&entry).expect("JSON");
        let side = side(beside.as_bytes());
        let hash = chain(self.at.hash, side.as_bytes(), json.as_bytes());
        self.at = Position { seq: entry.seq, hash };
        let text = format!("e {} {side} {json}\n{beside}", hash.to_text());
        self.append(&text);
        text
    }

    pub(crate) fn intent(&mut self) {
        self.entry(Entry::of(Kind::Intent), "");
    }

    /// Signs what stands there.
    pub(crate) fn sign(&mut self) -> Checkpoint {
        let id = self.public().id();
        let time_ms = self.time_ms + STEP_MS;
        let signed = Checkpoint::sign(&self.writer, self.at, time_ms, None, &self.key, &id);
        self.entry(signed.entry(), "");
        signed
    }

    pub(crate) fn append(&self, text: &str) {
        let file = OpenOptions::new().append(true).create(true).open(self.file(self.segment));
        file.expect("a file").write_all(text.as_bytes()).expect("written");
    }

    /// The lines of a segment, with their ends.
    pub(crate) fn lines(&self, segment: u64) -> Vec<String> {
        let text = fs::read_to_string(self.file(segment)).expect("a segment");
        text.split_inclusive('\n').map(str::to_owned).collect()
    }

    /// Changes the lines of a segment.
    pub(crate) fn change(&self, segment: u64, change: impl FnOnce(&mut Vec<String>)) {
        let mut lines = self.lines(segment);
        change(&mut lines);
        fs::write(self.file(segment), lines.concat()).expect("written");
    }
}
