//! The chain on disk: segments, what was written last, and which intents are open. One writer at a time holds it.

use std::collections::{BTreeMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};
use tollgate_model::Timestamp;

use crate::keys::Keys;
use crate::line;
use crate::names::Reference;
use crate::prepare::{Prepared, Role};
use crate::reader::{SEGMENTS, file_name};
use crate::text::push_number;
use crate::{Checkpoint, FORMAT, OpenCall, Position, SegmentHead};

/// A file that keeps room on the disk. It is given up when the disk is full, so that outcomes still fit.
const RESERVE: &str = "reserve";

/// The chain on disk.
#[derive(Debug)]
pub(crate) struct Chain {
    /// The writer's folder.
    folder: PathBuf,
    /// The writer's id: what its folder is called.
    writer: String,
    segment: Option<Segment>,
    at: Position,
    /// The number of the last entry that was there when the writer began.
    found: u64,
    /// When the last entry was written. Time does not go back in a chain.
    time_ms: u64,
    open: BTreeMap<u64, OpenCall>,
    /// Whether entries have to reach the disk, or only the operating system.
    is_synced: bool,
    /// What was written before and the disk has not been asked to take yet: segments that are done.
    owed: Vec<Arc<File>>,
    /// Whether the disk has not been asked yet to take the names of segments.
    owes_folder: bool,
    /// The last checkpoint, since the writer began.
    signed: Option<Checkpoint>,
    /// What is written next, and of an entry its number and time: kept to be filled again.
    text: Vec<u8>,
    head: Vec<u8>,
}

/// The segment that is written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Arc<File>,
    /// How long it is, of what counts: what is beyond is what failed.
    pub(crate) len: u64,
    pub(crate) begun_ms: u64,
    /// The references whose names it has.
    pub(crate) names: HashSet<Reference>,
    /// Whether there may be something beyond `len`.
    pub(crate) is_torn: bool,
}

/// What the operating system has, and the disk has not been asked to take.
#[derive(Debug)]
pub(crate) struct Unsynced(Vec<Arc<File>>);

impl Unsynced {
    /// Has the disk take it: all of it, whatever fails.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.iter().map(|file| file.sync_data()).fold(Ok(()), Result::and)
    }
}

/// Where a chain goes on.
#[derive(Debug, Default)]
pub(crate) struct Begin {
    pub(crate) segment: Option<Segment>,
    pub(crate) at: Position,
    pub(crate) time_ms: u64,
    pub(crate) open: BTreeMap<u64, OpenCall>,
}

impl Chain {
    pub(crate) fn new(folder: &Path, writer: &str, begin: Begin, is_synced: bool) -> Self {
        let Begin { segment, at, time_ms, open } = begin;
        let (folder, writer) = (folder.to_owned(), writer.to_owned());
        let owed = Vec::new();
        Self {
            folder,
            writer,
            segment,
            at,
            found: at.seq,
            time_ms,
            open,
            is_synced,
            owed,
            owes_folder: true,
            signed: None,
            text: Vec::new(),
            head: Vec::new(),
        }
    }

    /// How far it has come.
    pub(crate) fn at(&self) -> Position {
        self.at
    }

    /// The intents without outcome.
    pub(crate) fn open(&self) -> impl Iterator<Item = &OpenCall> {
        self.open.values()
    }

    /// Whether there is a segment that can be written, and that readers find.
    pub(crate) fn is_begun(&self) -> bool {
        let links = |segment: &Segment| segment.file.metadata().map_or(0, |metadata| metadata.nlink());
        self.segment.as_ref().is_some_and(|segment| links(segment) > 0)
    }

    /// What the disk is to be asked to take next: the file that is written, and what is owed to it, which the caller owes from
    /// now on.
    pub(crate) fn take_owed(&mut self) -> Unsynced {
        let mut files = std::mem::take(&mut self.owed);
        files.extend(self.segment.as_ref().map(|segment| Arc::clone(&segment.file)));
        if self.owes_folder
            && let Ok(folder) = File::open(self.folder.join(SEGMENTS))
        {
            files.push(Arc::new(folder));
            self.owes_folder = false;
        }
        Unsynced(files)
    }

    /// Has a file be owed to the disk that it does not take.
    #[cfg(test)]
    pub(crate) fn owe(&mut self, file: File) {
        self.owed.push(Arc::new(file));
    }

    /// Has the disk take what is owed to it.
    fn pay(&mut self) -> io::Result<()> {
        while let Some(file) = self.owed.last() {
            file.sync_data()?;
            self.owed.pop();
        }
        if self.owes_folder {
            File::open(self.folder.join(SEGMENTS))?.sync_all()?;
            self.owes_folder = false;
        }
        Ok(())
    }

    /// Whether a new segment is to begin: there is none, or it is large or old enough.
    pub(crate) fn is_full(&self, bytes_max: u64, age_max: Duration) -> bool {
        self.segment.as_ref().is_none_or(|segment| {
            let age = Timestamp::now().since(Timestamp::from_ms(segment.begun_ms));
            segment.len >= bytes_max || age >= age_max
        })
    }

    /// Writes entries, one after the other, at once: all of them or none. Gives the number of the first.
    pub(crate) fn append<'p>(
        &mut self,
        entries: impl Iterator<Item = &'p Prepared> + Clone,
    ) -> io::Result<u64> {
        let time_ms = self.now();
        self.append_at(time_ms, entries)
    }

    fn append_at<'p>(
        &mut self,
        time_ms: u64,
        entries: impl Iterator<Item = &'p Prepared> + Clone,
    ) -> io::Result<u64> {
        let Some(segment) = &mut self.segment else { return Err(io::Error::other("no segment has begun")) };
        if segment.is_torn {
            return Err(io::Error::other("what failed before is not cut off yet"));
        }
        let (first, mut at) = (self.at.seq + 1, self.at);
        let mut names = Vec::new();
        self.text.clear();
        for entry in entries.clone() {
            at.seq += 1;
            let new = entry.names.iter().filter(|name| {
                let key = name.key();
                !segment.names.contains(&key) && !names.contains(&key)
            });
            let new: Vec<_> = new.collect();
            let side = line::side_of(entry.digests.iter().copied().chain(new.iter().map(|name| name.digest)));
            self.head.clear();
            self.head.extend_from_slice(b"{\"seq\":");
            push_number(at.seq, &mut self.head);
            self.head.extend_from_slice(b",\"time_ms\":");
            push_number(time_ms, &mut self.head);
            self.head.push(b',');
            at.hash = line::push_entry(&mut self.text, at.hash, &side, &[&self.head, &entry.rest]);
            self.text.extend_from_slice(&entry.payloads);
            for name in &new {
                self.text.extend_from_slice(&name.line);
                names.push(name.key());
            }
        }
        let mut written = (&*segment.file).write_all(&self.text);
        if written.is_ok() && self.is_synced {
            written = segment.file.sync_data();
        }
        if let Err(error) = written {
            // What is there of it does not count. If it cannot be cut off now, it is before anything else is written.
            segment.is_torn = segment.file.set_len(segment.len).is_err();
            return Err(error);
        }
        segment.len += self.text.len() as u64;
        segment.names.extend(names);
        for (seq, entry) in (first..).zip(entries) {
            match &entry.role {
                Role::Intent(open) => _ = self.open.insert(seq, OpenCall { seq, ..open.clone() }),
                Role::Outcome(intent) => _ = self.open.remove(intent),
                Role::Lasting | Role::Other => {}
            }
        }
        (self.at, self.time_ms) = (at, time_ms);
        Ok(first)
    }

    fn now(&self) -> u64 {
        Timestamp::now().as_ms().max(self.time_ms)
    }

    /// Cuts off what failed; and where entries have to reach the disk, has it take what is owed to it.
    pub(crate) fn repair(&mut self) -> io::Result<()> {
        if self.is_synced && self.segment.is_some() {
            self.pay()?;
        }
        if let Some(segment) = self.segment.as_mut().filter(|segment| segment.is_torn) {
            segment.file.set_len(segment.len)?;
            segment.is_torn = false;
        }
        Ok(())
    }

    /// Signs what was written so far.
    pub(crate) fn checkpoint(&mut self, keys: &Keys) -> io::Result<()> {
        let time_ms = self.now();
        let open_from = self.open.first_key_value().map(|(seq, _)| *seq);
        let checkpoint =
            Checkpoint::sign(&self.writer, self.at, time_ms, open_from, &keys.signing, &keys.public.id());
        let entry = plain(&checkpoint.entry())?;
        self.append_at(time_ms, std::iter::once(&entry))?;
        self.signed = Some(checkpoint);
        Ok(())
    }

    /// The last checkpoint since the writer began.
    pub(crate) fn signed(&self) -> Option<&Checkpoint> {
        self.signed.as_ref()
    }

    /// Begins a segment. The one before ends with a checkpoint, unless all of it was there when the writer began: what a crash left
    /// unsigned is signed only behind the entry that says so.
    pub(crate) fn begin_segment(&mut self, keys: &Keys) -> io::Result<()> {
        let is_signed = self.signed.as_ref().is_some_and(|signed| signed.seq + 1 == self.at.seq);
        let is_own = self.at.seq > self.found;
        if self.segment.is_some() && is_own && !is_signed {
            self.checkpoint(keys)?;
        }
        let path = self.folder.join(SEGMENTS).join(file_name(self.at.seq + 1));
        let head = plain(&self.head(keys).entry())?;
        // Left of an attempt that failed.
        if path.metadata().is_ok_and(|left| left.len() == 0) {
            std::fs::remove_file(&path)?;
        }
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?;
        let segment = Segment {
            file: Arc::new(file),
            len: 0,
            begun_ms: Timestamp::now().as_ms(),
            names: HashSet::new(),
            is_torn: false,
        };
        let before = self.segment.replace(segment);
        if let Err(error) = self.append(std::iter::once(&head)) {
            self.segment = before;
            std::fs::remove_file(&path)?;
            return Err(error);
        }
        // What is in the folder has to last as long as what is in its files.
        self.owed.extend(before.map(|before| before.file));
        self.owes_folder = true;
        if self.is_synced { self.pay() } else { Ok(()) }
    }

    fn head(&self, keys: &Keys) -> SegmentHead {
        SegmentHead {
            format: FORMAT,
            writer: self.writer.clone(),
            before: self.at.seq,
            before_hash: self.at.hash,
            public_key: keys.public.to_text(),
            open: self.open.values().cloned().collect(),
        }
    }

    /// Has everything reach the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.segment.as_ref().map_or(Ok(()), |segment| segment.file.sync_data())
    }

    /// Keeps so much room on the disk. If that cannot be, so much as before.
    pub(crate) fn make_reserve(&self, bytes: u64) -> io::Result<()> {
        let path = self.folder.join(RESERVE);
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let before = file.metadata()?.len();
        let kept = match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill(&file, bytes),
            kept => kept.map_err(Into::into),
        };
        if kept.is_err() {
            let given_back = if before == 0 { std::fs::remove_file(&path) } else { file.set_len(before) };
            _ = given_back;
        }
        kept
    }

    /// Gives the room up that is kept; whether there was any.
    pub(crate) fn release_reserve(&self) -> bool {
        std::fs::remove_file(self.folder.join(RESERVE)).is_ok()
    }

    /// Forgets which names the segment has, as some were erased: they are written again where they are needed.
    pub(crate) fn forget_names(&mut self) {
        if let Some(segment) = &mut self.segment {
            segment.names.clear();
        }
    }
}

/// Fills the reserve where the file system cannot do it by itself.
fn fill(mut file: &File, bytes: u64) -> io::Result<()> {
    let some = [0; 8 * 1024];
    let mut left = bytes.saturating_sub(file.metadata()?.len());
    io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    while left > 0 {
        file.write_all(&some)?;
        left = left.saturating_sub(some.len() as u64);
    }
    Ok(())
}

fn plain(entry: &crate::Entry<'_>) -> io::Result<Prepared> {
    Prepared::plain(entry, Role::Other).map_err(io::Error::other)
}
