//! One writer's segments, from the first line to the last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::digest::{Context, SHA256};
use serde_json::Value;

use super::glance::Glance;
use super::{FAULTS_MAX, Fault, Point, UNSIGNED_MAX_MS, Unsigned, Verified, Verify, Wrong};
use crate::line::{self, Hash, Line, NO_SIDE};
use crate::lines::{Lines, Next};
use crate::{
    Checkpoint, Entry, Erased, ErasedIn, FORMAT, Kind, Position, PublicKey, Reader, Removed, SegmentHead,
};

/// One writer, by its folder, and the keys by which it was judged.
pub(super) fn writer(verify: &Verify, folder: &Path) -> (Verified, Vec<PublicKey>) {
    let mut scan = Scan::new(verify, folder);
    let reader = Reader::new(folder);
    match reader.segments() {
        Ok(segments) => {
            let from = verify.since.map_or(0, |since| first_since(&reader, &segments, since.as_ms()));
            scan.front_is_read = from == 0;
            for (place, segment) in segments.iter().enumerate().skip(from) {
                let is_last = place + 1 == segments.len();
                scan.segment(*segment, &reader.path(*segment), is_last);
            }
        }
        Err(error) => scan.fault(None, None, Wrong::Unreadable { error: error.to_string() }),
    }
    scan.finish(&reader)
}

/// The last segment that began before a time: what came later is in it and those after it.
fn first_since(reader: &Reader, segments: &[u64], since_ms: u64) -> usize {
    let began = |segment: u64| {
        let mut lines = Lines::at(File::open(reader.path(segment)).ok()?, 0).ok()?;
        let Ok(Next::Line(line)) = lines.next() else { return None };
        let Some(Line::Entry { json, .. }) = Line::read(line.strip_suffix(b"\n")?) else { return None };
        Glance::of(json).map(|glance| glance.time_ms)
    };
    let later = |segment: &u64| began(*segment).is_some_and(|began| began < since_ms);
    segments.iter().rposition(later).unwrap_or(0)
}

struct Scan<'a> {
    verify: &'a Verify,
    /// The keys that are trusted.
    keys: Vec<PublicKey>,
    found: Verified,
    file: PathBuf,
    /// The number of the line that is read.
    line: u64,
    /// The entry before, by the hash that stands in it.
    before: Position,
    /// After a fault: the hash that the entry before ought to have.
    or_before: Option<Hash>,
    /// The entry whose side lines are read.
    beside: Option<Beside>,
    /// The anchors of this writer, in the order of what they sign.
    anchors: Vec<&'a Checkpoint>,
    anchors_seen: usize,
    front_is_read: bool,
    /// The entry that the first segment says to follow on.
    follows: u64,
    removed: Option<Removed>,
    /// The hash of the entry that the first segment says to follow on.
    follows_hash: Hash,
    /// Whether the writer ended in good order, and with its last checkpoint.
    end: End,
    /// By segment: how many erased records stand in it, and the digest over theirs.
    erased: BTreeMap<u64, (u64, Context)>,
    /// By segment: what the last entry about it says was erased.
    named: BTreeMap<u64, ErasedIn>,
    /// Since when the writer could have signed what is not signed.
    waits_since_ms: Option<u64>,
    last_ms: u64,
    /// When the last entry was written that is no head of a segment.
    last_said_ms: u64,
}

/// How far a writer is at its end.
#[derive(PartialEq, Eq)]
enum End {
    No,
    /// It said that it stops.
    Said,
    /// And signed it: nothing comes but another begin.
    Signed,
}

/// An entry beside which something stands.
struct Beside {
    seq: u64,
    line: u64,
    /// Where it begins.
    offset: u64,
    side: Vec<u8>,
    digests: Context,
}

/// Whether the rest of a segment is worth reading.
type Goes = std::ops::ControlFlow<()>;

impl<'a> Scan<'a> {
    fn new(verify: &'a Verify, folder: &Path) -> Self {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut scan = Self {
            verify,
            keys: verify.keys.clone(),
            found: Verified { writer: name, folder: folder.to_owned(), ..Verified::default() },
            file: folder.to_owned(),
            line: 0,
            before: Position::default(),
            or_before: None,
            beside: None,
            anchors: Vec::new(),
            anchors_seen: 0,
            front_is_read: true,
            follows: 0,
            removed: None,
            follows_hash: Hash::default(),
            end: End::No,
            erased: BTreeMap::new(),
            named: BTreeMap::new(),
            waits_since_ms: None,
            last_ms: 0,
            last_said_ms: 0,
        };
        // A folder is called as its writer: so anchors are missed also where nothing is left of it.
        scan.take_anchors();
        scan
    }

    fn fault(&mut self, line: Option<u64>, seq: Option<u64>, what: Wrong) {
        if self.found.faults.len() < FAULTS_MAX {
            self.found.faults.push(Fault { file: self.file.clone(), line, seq, what });
        }
    }

    /// Something is wrong with the line that is read.
    fn fault_here(&mut self, seq: u64, what: Wrong) {
        self.fault(Some(self.line), Some(seq), what);
    }

    fn segment(&mut self, segment: u64, file: &Path, is_last: bool) {
        file.clone_into(&mut self.file);
        self.line = 0;
        self.found.segments += 1;
        if let Err(error) = self.lines(segment, is_last) {
            self.fault(None, None, Wrong::Unreadable { error: error.to_string() });
        }
    }

    fn lines(&mut self, segment: u64, is_last: bool) -> io::Result<()> {
        let mut lines = Lines::at(File::open(&self.file)?, 0)?;
        loop {
            let offset = lines.offset();
            let line = match lines.next()? {
                Next::Line(line) => line,
                Next::TooLong => b"",
                Next::Part(bytes) => {
                    self.line += 1;
                    self.torn(offset, bytes, is_last);
                    break;
                }
                Next::End => break,
            };
            self.line += 1;
            self.found.bytes += line.len() as u64;
            let goes = match Line::read(line.strip_suffix(b"\n").unwrap_or(line)) {
                Some(Line::Entry { hash, side, json }) => {
                    self.end_beside();
                    self.entry(segment, offset, hash, side, json)
                }
                Some(Line::Payload { sealed, .. } | Line::Name { sealed, .. }) => {
                    self.beside(segment, line, sealed);
                    Goes::Continue(())
                }
                None => {
                    let after = self.before.seq;
                    self.fault(Some(self.line), (self.line > 1).then_some(after + 1), Wrong::NoLine);
                    Goes::Continue(())
                }
            };
            if goes.is_break() {
                break;
            }
        }
        self.end_beside();
        if self.line == 0 && !is_last {
            self.fault(None, None, Wrong::NoHead);
        }
        Ok(())
    }

    /// The file ends within a line. At the end of all, somebody may be writing it, or was killed then.
    fn torn(&mut self, offset: u64, bytes: u64, is_last: bool) {
        if !is_last {
            self.fault(Some(self.line), None, Wrong::Torn);
            return;
        }
        self.found.torn_bytes = bytes;
        // The last entry is not whole either if what is missing stands beside it.
        if let Some(beside) = self.beside.take_if(|beside| !beside.is_whole()) {
            self.found.torn_bytes += offset - beside.offset;
        }
    }

    fn entry(&mut self, segment: u64, offset: u64, hash: Hash, side: &[u8], json: &[u8]) -> Goes {
        if self.line == 1 {
            self.head(segment, json)?;
        }
        let expected = self.before.seq + 1;
        let Some(glance) = Glance::of(json) else {
            self.fault_here(expected, Wrong::Changed);
            (self.before, self.or_before) = (Position { seq: expected, hash }, None);
            return Goes::Continue(());
        };
        let computed = line::chain(self.before.hash, side, json);
        let fits =
            computed == hash || self.or_before.is_some_and(|before| line::chain(before, side, json) == hash);
        let before = self.before;
        if glance.seq != expected {
            self.fault_here(glance.seq, Wrong::Order { expected });
        } else if !fits {
            self.fault_here(expected, Wrong::Changed);
        }
        self.before = Position { seq: glance.seq, hash };
        self.or_before = (!fits).then_some(computed);
        // Nobody signed that the one before stopped: it may be another who said so.
        let is_unsigned_end = glance.kind == Kind::Started && self.end == End::Said;
        if glance.kind == Kind::Recovered || is_unsigned_end {
            self.recovered();
        }
        self.count(glance);
        self.look_for_anchor(hash, glance.seq);
        if side != NO_SIDE.as_bytes() {
            let digests = Context::new(&SHA256);
            self.beside =
                Some(Beside { seq: glance.seq, line: self.line, offset, side: side.to_vec(), digests });
        }
        match glance.kind {
            Kind::Stopped if self.end != End::Signed => self.end = End::Said,
            // The last checkpoint, or those around a new segment, which comes before it is said that a writer began.
            Kind::Checkpoint | Kind::Segment if self.end != End::No => {}
            Kind::Started | Kind::Recovered => self.end = End::No,
            _ => {
                if std::mem::replace(&mut self.end, End::No) == End::Signed {
                    self.fault_here(glance.seq, Wrong::AfterEnd);
                }
            }
        }
        match glance.kind {
            Kind::Checkpoint if fits => self.checkpoint(before, glance, json),
            Kind::Retention | Kind::Erasure if fits => self.detail(glance, json),
            Kind::Segment if self.line > 1 => self.fault_here(glance.seq, Wrong::HeadWithin),
            _ => {}
        }
        Goes::Continue(())
    }

    /// The first entry of a segment says on what it follows.
    fn head(&mut self, segment: u64, json: &[u8]) -> Goes {
        let entry: Option<Entry<'_>> = serde_json::from_slice(json).ok();
        let seq = entry.as_ref().map_or(segment, |entry| entry.seq);
        let Some(head) = entry.as_ref().and_then(SegmentHead::of) else {
            self.fault_here(seq, Wrong::NoHead);
            return Goes::Continue(());
        };
        if head.format != FORMAT {
            self.fault_here(seq, Wrong::Format { format: head.format });
            return Goes::Break(());
        }
        let is_first = self.found.first.is_none();
        if is_first {
            self.found.writer.clone_from(&head.writer);
            self.take_anchors();
            (self.follows, self.follows_hash) = (head.before, head.before_hash);
        } else if head.writer != self.found.writer {
            self.fault_here(seq, Wrong::OtherWriter { writer: head.writer });
            return Goes::Break(());
        }
        if seq != segment {
            self.fault_here(seq, Wrong::FileName);
        }
        self.trust(seq, &head.public_key);
        let follows = Position { seq: head.before, hash: head.before_hash };
        let is_next = follows == self.before
            || self.or_before.is_some_and(|hash| follows == Position { hash, ..self.before });
        if !is_first && !is_next {
            self.fault_here(seq, Wrong::NotNext { before: self.before.seq, follows: head.before });
        }
        (self.before, self.or_before) = (follows, None);
        Goes::Continue(())
    }

    /// Takes the key that a segment names, if none was given.
    fn trust(&mut self, seq: u64, key: &str) {
        let named = PublicKey::read_all(key).ok().and_then(|keys| keys.first().copied());
        match named {
            Some(key) if self.keys.contains(&key) => {}
            Some(key) if self.verify.keys.is_empty() => self.keys.push(key),
            Some(key) => self.fault_here(seq, Wrong::OtherKey { key: key.id() }),
            None => self.fault_here(seq, Wrong::NoHead),
        }
    }

    fn count(&mut self, glance: Glance) {
        let point = Point { seq: glance.seq, time_ms: glance.time_ms };
        self.found.first.get_or_insert(point);
        self.found.last = Some(point);
        self.found.entries += 1;
        self.found.unsigned += 1;
        self.found.unsigned_since_ms.get_or_insert(glance.time_ms);
        self.waits_since_ms.get_or_insert(glance.time_ms);
        if glance.time_ms < self.last_ms {
            self.fault_here(glance.seq, Wrong::TimeBack);
        }
        self.last_ms = glance.time_ms;
        if glance.kind != Kind::Segment {
            self.last_said_ms = glance.time_ms;
        }
    }

    /// A process begins after one that did not end: what is unsigned before it was found by it, and not written.
    fn recovered(&mut self) {
        let (Some(last), Some(since_ms)) = (self.found.last, self.found.unsigned_since_ms) else { return };
        let first = Point { seq: (last.seq + 1).saturating_sub(self.found.unsigned), time_ms: since_ms };
        let unsigned = Unsigned { first, last };
        if self.found.unsigned_until_recovered.len() < FAULTS_MAX {
            self.found.unsigned_until_recovered.push(unsigned);
        }
        // Where a segment was full, its successor's head is the first that the process behind a crash writes, however much later.
        let last = Point { time_ms: self.last_said_ms, ..last };
        if (Unsigned { last, ..unsigned }).is_too_long() {
            self.fault_here(first.seq, Wrong::Unsigned { since_ms });
        }
    }

    fn checkpoint(&mut self, before: Position, glance: Glance, json: &[u8]) {
        let seq = glance.seq;
        let entry: Option<Entry<'_>> = serde_json::from_slice(json).ok();
        let Some(signed) = entry.as_ref().and_then(Checkpoint::of) else {
            return self.fault_here(seq, Wrong::Detail);
        };
        let Some(key) = self.keys.iter().copied().find(|key| key.id() == signed.key) else {
            return self.fault_here(seq, Wrong::OtherKey { key: signed.key });
        };
        if !signed.is_signed_by(key) || !says_only(&signed, glance, json) {
            return self.fault_here(seq, Wrong::Signature);
        }
        if signed.writer != self.found.writer || (signed.seq, signed.hash) != (before.seq, before.hash) {
            return self.fault_here(seq, Wrong::NotSigned);
        }
        self.found.signed = Some(Point { seq: signed.seq, time_ms: signed.time_ms });
        if !self.found.keys.contains(&signed.key) {
            self.found.keys.push(signed.key);
        }
        (self.found.unsigned, self.found.unsigned_since_ms, self.waits_since_ms) = (0, None, None);
        if self.end == End::Said {
            self.end = End::Signed;
        }
    }

    /// An entry that explains why something is missing.
    fn detail(&mut self, glance: Glance, json: &[u8]) {
        let entry: Option<Entry<'_>> = serde_json::from_slice(json).ok();
        let entry = entry.unwrap_or_default();
        let (writer, keys) = (&self.found.writer, &self.keys);
        match (Removed::of(&entry), Erased::of(&entry)) {
            (Some(removed), _) if removed.signed.holds(&removed.statement(writer), keys) => {
                self.removed = Some(removed);
            }
            (_, Some(erased)) if erased.signed.holds(&erased.statement(writer), keys) => {
                self.named.extend(erased.segments.into_iter().map(|erased| (erased.segment, erased)));
            }
            (None, None) => self.fault_here(glance.seq, Wrong::Detail),
            _ => self.fault_here(glance.seq, Wrong::Signature),
        }
    }

    fn beside(&mut self, segment: u64, line: &[u8], sealed: &[u8]) {
        let digest = line::line_digest(line);
        match &mut self.beside {
            Some(beside) => beside.digests.update(&digest.0),
            None => {
                let seq = self.before.seq;
                self.fault_here(seq, Wrong::Beside);
            }
        }
        if Line::is_erased(sealed) {
            let (records, digests) = self.erased.entry(segment).or_insert_with(|| (0, Context::new(&SHA256)));
            *records += 1;
            digests.update(&digest.0);
        }
    }

    fn end_beside(&mut self) {
        let Some(beside) = self.beside.take() else { return };
        if !beside.is_whole() {
            self.fault(Some(beside.line), Some(beside.seq), Wrong::Beside);
        }
    }

    fn take_anchors(&mut self) {
        let writer = &self.found.writer;
        let mut anchors: Vec<&Checkpoint> =
            self.verify.anchors.iter().filter(|anchor| anchor.writer == *writer).collect();
        anchors.sort_by_key(|anchor| anchor.seq);
        self.anchors = anchors;
    }

    fn look_for_anchor(&mut self, hash: Hash, seq: u64) {
        while let Some(anchor) =
            self.anchors.get(self.anchors_seen).copied().filter(|anchor| anchor.seq <= seq)
        {
            self.anchors_seen += 1;
            if anchor.seq < seq || !self.is_signed(anchor) {
                continue;
            }
            if anchor.hash == hash {
                self.found.anchored = Some(Point { seq, time_ms: anchor.time_ms });
            } else {
                self.fault_here(seq, Wrong::Anchor { time_ms: anchor.time_ms });
            }
        }
    }

    fn is_signed(&self, anchor: &Checkpoint) -> bool {
        let is_good = |key: &PublicKey| key.id() == anchor.key && anchor.is_signed_by(*key);
        // Where nothing is left that names a key, an anchor is believed.
        self.keys.is_empty() || self.keys.iter().any(is_good)
    }

    fn finish(mut self, reader: &Reader) -> (Verified, Vec<PublicKey>) {
        self.line = 0;
        if let Some(first) = self.found.first.filter(|_| self.front_is_read && self.follows > 0) {
            let through = self.follows;
            let explains = |removed: &Removed| {
                removed.through > through
                    || (removed.through == through && removed.through_hash == self.follows_hash)
            };
            if !self.removed.as_ref().is_some_and(explains) {
                self.file = reader.path(first.seq);
                self.fault(Some(1), Some(first.seq), Wrong::MissingFront { through });
            }
        }
        self.found.removed = self.removed.as_ref().map(|removed| removed.through);
        self.compare_erased(reader);
        self.found.folder.clone_into(&mut self.file);
        if let Some(since_ms) = self.waits_since_ms.filter(|since| self.last_ms > since + UNSIGNED_MAX_MS) {
            // Behind the checkpoint's own entry.
            let seq = self.found.signed.map_or(1, |signed| signed.seq + 2);
            self.fault(None, Some(seq), Wrong::Unsigned { since_ms });
        }
        let last = self.found.last.map_or(0, |last| last.seq);
        // A checkpoint stands behind what it signs.
        let beyond = |anchor: &&Checkpoint| anchor.seq >= last && self.is_signed(anchor);
        if let Some(anchor) = self.anchors.iter().copied().rfind(beyond) {
            let (seq, time_ms) = (anchor.seq + 1, anchor.time_ms);
            self.fault(None, Some(last + 1), Wrong::CutOff { seq, time_ms });
        }
        (self.found, self.keys)
    }

    fn compare_erased(&mut self, reader: &Reader) {
        for (segment, (records, digests)) in std::mem::take(&mut self.erased) {
            let named = self.named.remove(&segment);
            let (count, digest) = named.map_or((0, Hash::default()), |named| (named.records, named.digest));
            let is_same = digests.finish().as_ref() == digest.0;
            if records > count || (records == count && !is_same) {
                self.file = reader.path(segment);
                self.fault(None, None, Wrong::Erased { records, named: count });
            }
            self.found.erased += records;
            self.found.not_yet_erased += count.saturating_sub(records);
        }
        let read_from = self.found.first.map_or(u64::MAX, |first| first.seq);
        let left = self.named.values().filter(|named| named.segment >= read_from);
        self.found.not_yet_erased += left.map(|named| named.records).sum::<u64>();
    }
}

impl Beside {
    /// Whether what was read beside the entry is what was written there.
    fn is_whole(&self) -> bool {
        BASE64.encode(self.digests.clone().finish().as_ref()).as_bytes() == self.side
    }
}

/// Whether the entry of a checkpoint says nothing beyond what is signed.
fn says_only(signed: &Checkpoint, glance: Glance, json: &[u8]) -> bool {
    let entry = Entry { seq: glance.seq, time_ms: signed.time_ms, ..signed.entry() };
    let found: Option<Value> = serde_json::from_slice(json).ok();
    found.is_some() && found == serde_json::to_value(entry).ok()
}
