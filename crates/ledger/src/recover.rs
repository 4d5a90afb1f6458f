//! Finds out where a chain goes on: after a good end, a crash, or damage.
//!
//! What a write left unfinished at the end of the last segment is cut off: nobody was told that it is written. A line that is
//! whole and yet not what it should be is left as it is, for [`crate::Reader`] and the verifier to find; then a new segment begins
//! behind it.

use std::collections::{BTreeMap, HashSet};
use std::fs::OpenOptions;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use crate::chain::{Begin, Segment};
use crate::line::{self, Line};
use crate::lines::LINE_BYTES_MAX;
use crate::names::Reference;
use crate::reader::{SEGMENTS, file_name};
use crate::{Entry, Kind, OpenCall, Point, Position, Read, ReadError, Reader, SegmentHead, Unsigned};

/// How far numbers may jump where lines are damaged.
const SEQ_STEP_MAX: u64 = 1 << 32;

/// What was found in a writer's folder.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Where the chain goes on.
    pub(crate) begin: Begin,
    /// Whether it ended in good order; none if it never began.
    pub(crate) ended_well: Option<bool>,
    /// How many bytes at its end were cut off.
    pub(crate) cut_bytes: u64,
    /// Where something stands that should not.
    pub(crate) damage: Option<Damage>,
    /// The key by which the last segment says that it is signed.
    pub(crate) public_key: Option<String>,
    /// The entries at its end that no checkpoint has signed, if there are any.
    pub(crate) unsigned: Option<Unsigned>,
}

/// Where something stands that should not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The segment, by the number of its first entry.
    pub(crate) segment: u64,
    /// The byte in it.
    pub(crate) offset: u64,
}

/// What has to be known of an entry.
#[derive(Deserialize)]
struct Brief<'a> {
    seq: u64,
    time_ms: u64,
    kind: Kind,
    call: Option<crate::CallId>,
    #[serde(default)]
    step: u32,
    of: Option<u64>,
    #[serde(borrow)]
    tenant: Option<std::borrow::Cow<'a, str>>,
}

/// Reads the end of the chain in a writer's folder, and cuts off what is unfinished.
pub(crate) fn find(folder: &Path) -> Result<Found, ReadError> {
    let mut segments = Reader::new(folder).segments()?;
    let mut cut_bytes = 0;
    while let Some(last) = segments.pop() {
        let mut scan = Scan::of(folder, last);
        scan.run()?;
        cut_bytes += scan.cut()?;
        if scan.entries > 0 || scan.damage.is_some() {
            return Ok(Found { cut_bytes, ..scan.found() });
        }
        // Nothing of it was finished.
        std::fs::remove_file(&scan.path).map_err(|error| ReadError::Io { path: scan.path.clone(), error })?;
    }
    Ok(Found { cut_bytes, ..Found::default() })
}

/// Reads one segment from its begin to its end.
struct Scan {
    folder: PathBuf,
    path: PathBuf,
    segment: u64,
    entries: u64,
    at: Position,
    time_ms: u64,
    begun_ms: u64,
    open: BTreeMap<u64, OpenCall>,
    names: HashSet<Reference>,
    public_key: Option<String>,
    /// Up to where everything is as it should be.
    good: u64,
    damage: Option<Damage>,
    /// Whether it said last that it stops.
    is_stopping: bool,
    ended_well: bool,
    unsigned: Option<Unsigned>,
}

impl Scan {
    fn of(folder: &Path, segment: u64) -> Self {
        let path = Reader::new(folder).path(segment);
        let before = Position { seq: segment.saturating_sub(1), ..Position::default() };
        Self {
            folder: folder.to_owned(),
            path,
            segment,
            entries: 0,
            at: before,
            time_ms: 0,
            begun_ms: 0,
            open: BTreeMap::new(),
            names: HashSet::new(),
            public_key: None,
            good: 0,
            damage: None,
            is_stopping: false,
            ended_well: false,
            unsigned: None,
        }
    }

    fn run(&mut self) -> Result<(), ReadError> {
        let mut reader = Reader::at(&self.folder, self.segment, 0)?;
        loop {
            match reader.next_entry() {
                Ok(Some(read)) if self.follows(&read) => {
                    self.take(&read);
                    self.good = read.next;
                }
                Ok(Some(read)) => return self.look_behind(read.offset, Some(&read)),
                Ok(None) => return self.take_last(),
                Err(ReadError::NoLine { offset, .. }) => return self.look_behind(offset, None),
                Err(failed @ ReadError::Io { .. }) => return Err(failed),
            }
        }
    }

    /// Takes the last entry if it is whole, and only what follows it is not: a reader cannot tell what belongs to it.
    fn take_last(&mut self) -> Result<(), ReadError> {
        let failed = |error: io::Error| ReadError::Io { path: self.path.clone(), error };
        let mut file = OpenOptions::new().read(true).open(&self.path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.good)).map_err(failed)?;
        let mut rest = Vec::new();
        io::Read::take(file, 4 * LINE_BYTES_MAX as u64).read_to_end(&mut rest).map_err(failed)?;
        let mut lines = rest.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
        let Some(first) = lines.next() else { return Ok(()) };
        let Some(Line::Entry { hash, side, json }) = Line::read(&first[..first.len() - 1]) else {
            return Ok(());
        };
        let mut read = Read { hash, side: side.to_vec(), json: json.to_vec(), ..Read::default() };
        loop {
            if self.follows(&read) {
                self.take(&read);
                self.good += (first.len() + read.side_lines.len()) as u64;
                return Ok(());
            }
            match lines.next() {
                Some(line) => read.side_lines.extend_from_slice(line),
                None => return Ok(()),
            }
        }
    }

    /// Whether an entry is what comes next, whole and unchanged.
    fn follows(&mut self, read: &Read) -> bool {
        let Ok(brief) = serde_json::from_slice::<Brief<'_>>(&read.json) else { return false };
        if self.entries == 0
            && brief.kind == Kind::Segment
            && let Some(head) = head(read)
        {
            self.at = Position { seq: head.before, hash: head.before_hash };
        }
        brief.seq == self.at.seq.saturating_add(1)
            && line::chain(self.at.hash, &read.side, &read.json) == read.hash
            && line::side(&read.side_lines).as_bytes() == read.side
    }

    /// Takes an entry into account.
    fn take(&mut self, read: &Read) {
        let Ok(brief) = serde_json::from_slice::<Brief<'_>>(&read.json) else { return };
        if self.entries == 0 {
            self.begun_ms = brief.time_ms;
        }
        self.entries += 1;
        // A number that somebody changed does not carry the chain away.
        let seq = brief.seq.clamp(self.at.seq.saturating_add(1), self.at.seq.saturating_add(SEQ_STEP_MAX));
        self.at = Position { seq, hash: read.hash };
        self.time_ms = self.time_ms.max(brief.time_ms);
        match (brief.kind, brief.call, brief.of) {
            (Kind::Intent, Some(call), _) => {
                let tenant = brief.tenant.as_deref().map(ToOwned::to_owned);
                self.open.insert(brief.seq, OpenCall { seq: brief.seq, call, step: brief.step, tenant });
            }
            (Kind::Outcome, _, Some(intent)) => _ = self.open.remove(&intent),
            (Kind::Segment, ..) => {
                if let Some(head) = head(read) {
                    self.public_key = Some(head.public_key);
                    self.open = head.open.into_iter().map(|open| (open.seq, open)).collect();
                }
            }
            _ => {}
        }
        let here = Point { seq, time_ms: brief.time_ms };
        self.unsigned = match (brief.kind, self.unsigned) {
            (Kind::Checkpoint, _) => None,
            (_, None) => Some(Unsigned { first: here, last: here }),
            (_, Some(Unsigned { first, .. })) => Some(Unsigned { first, last: here }),
        };
        // Whoever may write the files can say that it stopped. Only the last checkpoint, which follows, is the writer's own.
        (self.is_stopping, self.ended_well) = match brief.kind {
            Kind::Stopped => (true, false),
            Kind::Checkpoint => (self.is_stopping, self.is_stopping),
            _ => (false, false),
        };
        for line in read.beside() {
            if let Line::Name { reference, sealed } = line
                && !Line::is_erased(sealed)
                && let Ok(reference) = reference.try_into()
            {
                self.names.insert(reference);
            }
        }
    }

    /// Something at `offset` is not what it should be: an end that was not finished, or damage. `read` is what stands there, if
    /// it is an entry.
    fn look_behind(&mut self, offset: u64, read: Option<&Read>) -> Result<(), ReadError> {
        let path = self.path.clone();
        let failed = |error: io::Error| ReadError::Io { path: path.clone(), error };
        self.ended_well = false;
        // An entry that is itself whole, and of which only what follows it is not, was not finished if nothing comes after it.
        let unfinished = read.is_some_and(|read| {
            line::chain(self.at.hash, &read.side, &read.json) == read.hash
                && line::side(&read.side_lines).as_bytes() != read.side
        });
        let behind = read.filter(|_| unfinished).map_or(offset, |read| read.next);
        let mut file = BufReader::new(OpenOptions::new().read(true).open(&path).map_err(failed)?);
        file.seek(SeekFrom::Start(behind)).map_err(failed)?;
        let mut line = Vec::new();
        let mut is_damaged = false;
        loop {
            line.clear();
            let mut limited = io::Read::take(&mut file, LINE_BYTES_MAX as u64);
            if limited.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            let Some(text) = line.strip_suffix(b"\n") else { continue };
            // What is whole and stands behind it says that this is no end.
            if let Some(Line::Entry { hash, json, .. }) = Line::read(text)
                && serde_json::from_slice::<Entry<'_>>(json).is_ok()
            {
                is_damaged = true;
                let read = Read { hash, json: json.to_vec(), ..Read::default() };
                self.take(&read);
            }
        }
        if is_damaged {
            self.damage = Some(Damage { segment: self.segment, offset });
            self.ended_well = false;
        }
        Ok(())
    }

    /// Cuts off what is unfinished, and says how much that was. Where there is damage, nothing is.
    fn cut(&mut self) -> Result<u64, ReadError> {
        let failed = |error: io::Error| ReadError::Io { path: self.path.clone(), error };
        let len = self.path.metadata().map_err(failed)?.size();
        if self.damage.is_some() || len <= self.good {
            return Ok(0);
        }
        let file = OpenOptions::new().write(true).open(&self.path).map_err(failed)?;
        file.set_len(self.good).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(len - self.good)
    }

    fn found(self) -> Found {
        let path = self.folder.join(SEGMENTS).join(file_name(self.segment));
        // Behind damage another segment begins.
        let file = OpenOptions::new().append(true).open(path).ok().filter(|_| self.damage.is_none());
        let segment = file.map(|file| Segment {
            file: Arc::new(file),
            len: self.good,
            begun_ms: self.begun_ms,
            names: self.names,
            is_torn: false,
        });
        let begin = Begin { segment, at: self.at, time_ms: self.time_ms, open: self.open };
        Found {
            begin,
            ended_well: Some(self.ended_well),
            cut_bytes: 0,
            damage: self.damage,
            public_key: self.public_key,
            unsigned: self.unsigned,
        }
    }
}

fn head(read: &Read) -> Option<SegmentHead> {
    SegmentHead::of(&read.entry().ok()?)
}
