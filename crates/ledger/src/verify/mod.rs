//! Whether a ledger is what its writers wrote: from files alone, whether anything is running or not.
//!
//! Every entry's hash is computed again, so the time that it takes is that of SHA-256. The JSON of an entry is read only where
//! it holds the chain together. At the first fault of a segment the search goes on as far as it makes sense.

mod fault;
mod glance;
mod scan;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tollgate_model::Timestamp;

pub use fault::{Fault, Wrong};

use crate::{Checkpoint, PublicKey, writers};

/// How many faults of one writer are listed.
const FAULTS_MAX: usize = 100;
/// How long entries may stand at the end of a chain without a checkpoint, by the entries' own times. Writers sign every
/// second.
const UNSIGNED_MAX_MS: u64 = 60_000;

/// What is asked of a ledger.
#[derive(Debug, Clone, Default)]
pub struct Verify {
    /// The keys that checkpoints are signed with. Without any, those that the segments name are taken: then nobody is found
    /// out who has rewritten everything with a key of their own.
    pub keys: Vec<PublicKey>,
    /// Checkpoints that were kept elsewhere, of any writers.
    pub anchors: Vec<Checkpoint>,
    /// Only segments that have entries since then.
    pub since: Option<Timestamp>,
    /// Whether writers may be elsewhere of which anchors know.
    pub is_part: bool,
}

/// An entry, by its number and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// The number.
    pub seq: u64,
    /// The time.
    pub time_ms: u64,
}

/// Entries that no checkpoint of the process which wrote them has signed: the next process has, without knowing whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Unsigned {
    /// The first.
    pub first: Point,
    /// The last.
    pub last: Point,
}

impl Unsigned {
    /// How many there are.
    pub const fn entries(&self) -> u64 {
        self.last.seq.saturating_sub(self.first.seq) + 1
    }

    /// The time that lies between the first and the last.
    pub const fn spans(&self) -> Duration {
        Duration::from_millis(self.last.time_ms.saturating_sub(self.first.time_ms))
    }

    /// Whether a writer would have signed some of them.
    pub const fn is_too_long(&self) -> bool {
        self.last.time_ms.saturating_sub(self.first.time_ms) > UNSIGNED_MAX_MS
    }
}

/// What was found of one writer.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verified {
    /// The writer.
    pub writer: String,
    /// Its folder.
    pub folder: PathBuf,
    /// How many segments were read.
    pub segments: u64,
    /// How many entries.
    pub entries: u64,
    /// How many bytes.
    pub bytes: u64,
    /// The first entry that was read.
    pub first: Option<Point>,
    /// The last one.
    pub last: Option<Point>,
    /// The last entry that a good checkpoint signs.
    pub signed: Option<Point>,
    /// How many entries stand after it, beside the checkpoint itself.
    pub unsigned: u64,
    /// When the first of them was written.
    pub unsigned_since_ms: Option<u64>,
    /// What stood unsigned at an end without order, and was signed by the next process: what a crash leaves, or what somebody
    /// has added between the two. Not all, if there are many.
    pub unsigned_until_recovered: Vec<Unsigned>,
    /// The ids of the keys by which they are signed.
    pub keys: Vec<String>,
    /// The last entry that an anchor knows, with the time when that was signed.
    pub anchored: Option<Point>,
    /// Up to where entries were removed for their age or size, as the chain says.
    pub removed: Option<u64>,
    /// How many records were erased, as the chain says.
    pub erased: u64,
    /// How many records are still to be erased that the chain says are.
    pub not_yet_erased: u64,
    /// How many bytes of a line stand at the end that is not whole: the writer is just writing it, or was killed then.
    pub torn_bytes: u64,
    /// What is wrong, in the order in which it stands; the first is the first bad entry. Not all, if there are many.
    pub faults: Vec<Fault>,
}

/// What was found of all writers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Writer by writer.
    pub writers: Vec<Verified>,
    /// Writers that anchors know and that are not here, with the last entry that they know.
    pub elsewhere: BTreeMap<String, Point>,
    /// Whether the keys are those that the segments name.
    pub keys_are_their_own: bool,
    /// What is wrong with no writer that is here.
    pub faults: Vec<Fault>,
}

impl Report {
    /// What is wrong, the first bad entry of each writer before its others.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.writers.iter().flat_map(|writer| &writer.faults).chain(&self.faults)
    }

    /// Whether nothing is.
    pub fn is_good(&self) -> bool {
        self.faults().next().is_none()
    }
}

impl Verify {
    /// All writers of a ledger's folder, or of one writer's own folder.
    pub fn all(&self, ledger: &Path) -> io::Result<Report> {
        let folders = if ledger.join(crate::reader::SEGMENTS).is_dir() {
            vec![ledger.to_owned()]
        } else {
            writers(ledger)?
        };
        let mut report = Report { keys_are_their_own: self.keys.is_empty(), ..Report::default() };
        let mut trusted = self.keys.clone();
        for folder in &folders {
            let (verified, keys) = self.writer(folder);
            trusted.extend(keys);
            report.writers.push(verified);
        }
        self.look_at_anchors(ledger, &trusted, &mut report);
        Ok(report)
    }

    /// One writer, by its folder, and the keys by which it was judged.
    fn writer(&self, folder: &Path) -> (Verified, Vec<PublicKey>) {
        scan::writer(self, folder)
    }

    fn look_at_anchors(&self, ledger: &Path, trusted: &[PublicKey], report: &mut Report) {
        let fault =
            |what: Wrong, seq: u64| Fault { file: ledger.to_owned(), line: None, seq: Some(seq), what };
        let mut missing: BTreeMap<&str, &Checkpoint> = BTreeMap::new();
        for anchor in &self.anchors {
            let is_ours = trusted.iter().any(|key| key.id() == anchor.key);
            let is_here = report.writers.iter().any(|writer| writer.writer == anchor.writer);
            let is_signed = || trusted.iter().any(|key| anchor.is_signed_by(*key));
            if (is_ours || is_here) && !is_signed() {
                report.faults.push(fault(Wrong::AnchorSignature, anchor.seq));
            } else if !is_here {
                let last = missing.entry(&anchor.writer).or_insert(anchor);
                if last.seq < anchor.seq {
                    *last = anchor;
                }
            }
        }
        for (writer, anchor) in missing {
            let writer = writer.to_owned();
            // One that signs with another key is another gateway's, whose folder is elsewhere.
            if !self.is_part && trusted.iter().any(|key| key.id() == anchor.key) {
                report.faults.push(fault(Wrong::NoWriter { writer, seq: anchor.seq }, anchor.seq));
            } else {
                report.elsewhere.insert(writer, Point { seq: anchor.seq, time_ms: anchor.time_ms });
            }
        }
        report.faults.truncate(FAULTS_MAX);
    }
}
