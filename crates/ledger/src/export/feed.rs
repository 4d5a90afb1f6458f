//! What comes next: entries from the segments, chosen and furnished for an export.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_model::TenantId;

use super::cursor::Place;
use super::names::{Names, Unseal, Wanted};
use super::record::{Named, Payloads, Record};
use super::settings::ExportSettings;
use crate::reader::{Read, ReadError, Reader};
use crate::{Entry, Kind};

/// How many bytes of segments are looked at in one go: then others have their turn.
const LOOK_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// Reads on for one export. Reads files: not for threads that serve.
#[derive(Debug)]
pub(super) struct Feed {
    folder: PathBuf,
    choice: Choice,
    names: Option<Names>,
    wants_names: bool,
    payloads: bool,
    batch_bytes_max: usize,
    batch_entries_max: usize,
    /// Where it is. None: it has to be found.
    reader: Option<Reader>,
    at: Place,
    /// What was read and did not fit into the batch before.
    held: Option<Read>,
    /// The number of the first entry that is missing before the next one that goes out, if any is.
    missing_from: Option<u64>,
}

/// Which entries go out.
#[derive(Debug)]
struct Choice {
    kinds: Option<HashSet<Kind>>,
    tenants: Option<Vec<TenantId>>,
}

/// What came of a look.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// What goes out.
    pub(super) records: Vec<Record>,
    /// The last entry that was looked at.
    pub(super) to: Place,
    /// Whether there was nothing more.
    pub(super) is_all: bool,
    /// What is missing in it: it was removed before it was sent, or cannot be read.
    pub(super) lost: Vec<Lost>,
    /// Places where something stands that is no entry.
    pub(super) damaged: Vec<Damaged>,
    /// The number from which on everything comes again, where the segment is another than the cursor knew.
    pub(super) repeats_from: Option<u64>,
}

/// Something in a segment that is no entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damaged {
    /// The file.
    pub(super) path: PathBuf,
    /// The byte in it.
    pub(super) offset: u64,
}

/// Entries that an export cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    /// The first.
    pub(super) first: u64,
    /// The last.
    pub(super) last: u64,
}

impl Feed {
    /// Reads on after `at`.
    pub(super) fn new(folder: &Path, settings: &ExportSettings, unseal: &Arc<dyn Unseal>, at: Place) -> Self {
        let kinds = settings.kinds.as_ref().map(|kinds| kinds.iter().copied().collect());
        let opens = settings.names || settings.payloads;
        Self {
            folder: folder.to_owned(),
            choice: Choice { kinds, tenants: settings.tenants.clone() },
            names: opens.then(|| Names::new(Arc::clone(unseal))),
            wants_names: settings.names,
            payloads: settings.payloads,
            batch_bytes_max: settings.pace.batch_bytes_max,
            batch_entries_max: settings.pace.batch_entries_max,
            reader: None,
            at,
            held: None,
            missing_from: None,
        }
    }

    /// The next batch: what is there, up to its bounds. It goes on behind what it gives, and behind nothing else: where reading
    /// fails, what was gathered before is given, and the rest is looked for anew.
    /// `upto`: the last entry that is said to be written; what is behind it may yet be taken back.
    pub(super) fn gather(&mut self, upto: u64) -> Result<Gathered, ReadError> {
        let before = (self.at, self.missing_from);
        let mut gathered = Gathered::default();
        let mut done = self.gather_into(&mut gathered, upto);
        if done.is_err() && self.at != before.0 {
            self.find_anew();
            done = Ok(());
        }
        if done.is_ok() && self.wants_names {
            done = self.name(&mut gathered.records);
        }
        if let Err(failed) = done {
            self.find_anew();
            (self.at, self.missing_from) = before;
            return Err(failed);
        }
        gathered.to = self.at;
        Ok(gathered)
    }

    fn find_anew(&mut self) {
        self.reader = None;
        self.held = None;
    }

    fn gather_into(&mut self, gathered: &mut Gathered, upto: u64) -> Result<(), ReadError> {
        if self.reader.is_none() && !self.find(gathered)? {
            gathered.is_all = true;
            return Ok(());
        }
        let (mut bytes, mut looked) = (0, 0);
        while gathered.records.len() < self.batch_entries_max && looked < LOOK_BYTES_MAX {
            let read = match self.next() {
                Ok(Some(read)) => read,
                Ok(None) => {
                    gathered.is_all = true;
                    return Ok(());
                }
                // Somebody has damaged it: what is behind it goes out all the same.
                Err(ReadError::NoLine { path, offset }) => {
                    gathered.damaged.push(Damaged { path, offset });
                    continue;
                }
                Err(failed @ ReadError::Io { .. }) => return Err(failed),
            };
            looked += read.next.saturating_sub(read.offset);
            let Ok(entry) = serde_json::from_slice::<Entry<'static>>(&read.json) else {
                let path = Reader::new(&self.folder).path(read.segment);
                gathered.damaged.push(Damaged { path, offset: read.offset });
                continue;
            };
            if entry.seq > upto {
                if let Some(reader) = &mut self.reader {
                    reader.give_back(&read)?;
                }
                gathered.is_all = true;
                return Ok(());
            }
            let size = read.json.len() + if self.payloads { read.side_lines.len() } else { 0 };
            if !gathered.records.is_empty() && bytes + size > self.batch_bytes_max {
                self.held = Some(read);
                return Ok(());
            }
            if entry.seq > self.at.seq + 1 {
                let lost = Lost { first: self.at.seq + 1, last: entry.seq - 1 };
                self.missing_from.get_or_insert(lost.first);
                gathered.lost.push(lost);
            }
            let Read { segment, offset, next, hash, .. } = read;
            self.at = Place { segment, offset, next, seq: entry.seq, hash };
            if let Some(record) = self.record(entry, read) {
                bytes += size;
                gathered.records.push(record);
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Read>, ReadError> {
        if let Some(read) = self.held.take() {
            return Ok(Some(read));
        }
        match &mut self.reader {
            Some(reader) => reader.next_entry(),
            None => Ok(None),
        }
    }

    /// Finds the place to go on at: behind the last entry that is done, if it is still what it was. Whether there is one.
    fn find(&mut self, gathered: &mut Gathered) -> Result<bool, ReadError> {
        let segments = Reader::new(&self.folder).segments()?;
        let Some(first) = segments.first().copied() else { return Ok(false) };
        let done = self.at;
        if segments.contains(&done.segment) {
            let mut reader = Reader::at(&self.folder, done.segment, done.offset)?;
            let is_same = matches!(
                reader.next_entry(),
                Ok(Some(read)) if read.segment == done.segment && read.hash == done.hash
            );
            if is_same {
                self.reader = Some(reader);
                return Ok(true);
            }
            // What was sent is not on disk any more: power was lost. What took its place has not been sent.
            gathered.repeats_from = Some(done.segment);
            self.at =
                Place { segment: done.segment, seq: done.segment.saturating_sub(1), ..Place::default() };
            self.reader = Some(Reader::at(&self.folder, done.segment, 0)?);
            return Ok(true);
        }
        let next = segments.into_iter().find(|segment| *segment > done.segment).unwrap_or(first);
        self.reader = Some(Reader::at(&self.folder, next, 0)?);
        Ok(true)
    }

    fn record(&mut self, entry: Entry<'static>, read: Read) -> Option<Record> {
        let tenant = entry.tenant.as_deref().unwrap_or_default();
        if let Some(names) = &mut self.names {
            names.learn(tenant, &read);
        }
        if !self.choice.takes(&entry) {
            return None;
        }
        let payloads = self.names.as_ref().filter(|_| self.payloads).map(|names| {
            let (arguments, result) = names.payloads(tenant, &read);
            Payloads { arguments, result }
        });
        let missing_from = self.missing_from.take();
        let json = read.json;
        Some(Record { place: self.at, json, entry, names: None, payloads, missing_from, left_out: None })
    }

    /// Puts the names in, reading for those that stand further up in their segments.
    fn name(&mut self, records: &mut [Record]) -> Result<(), ReadError> {
        let Some(names) = &mut self.names else { return Ok(()) };
        let mut wanted: Vec<((u64, u64), HashSet<Wanted>)> = Vec::new();
        for record in records.iter() {
            let tenant = record.entry.tenant.as_deref().unwrap_or_default();
            for reference in references(&record.entry).into_iter().flatten() {
                if names.known(tenant, reference).is_some() {
                    continue;
                }
                let Place { segment, next, .. } = record.place;
                if wanted.last().is_none_or(|((last, _), _)| *last != segment) {
                    wanted.push(((segment, next), HashSet::new()));
                }
                if let Some(((_, end), set)) = wanted.last_mut() {
                    *end = next;
                    set.insert((Arc::from(tenant), Box::from(reference)));
                }
            }
        }
        for (place, set) in wanted {
            names.search(&self.folder, place, set)?;
        }
        for record in records {
            let tenant = record.entry.tenant.as_deref().unwrap_or_default();
            let [who, agent, user, source, session] = references(&record.entry)
                .map(|reference| reference.and_then(|reference| names.known(tenant, reference)?.clone()));
            record.names = Some(Named { who, agent, user, source, session });
        }
        Ok(())
    }
}

/// The references of an entry: who, agent, user, source, session.
fn references<'a>(entry: &'a Entry<'_>) -> [Option<&'a str>; 5] {
    [&entry.who, &entry.agent, &entry.user, &entry.source, &entry.session].map(|text| text.as_deref())
}

impl Choice {
    /// Whether an entry goes out. A checkpoint says nothing of anybody: with it an export vouches for the chain.
    fn takes(&self, entry: &Entry<'_>) -> bool {
        let is_kind = self.kinds.as_ref().is_none_or(|kinds| kinds.contains(&entry.kind));
        let is_tenant = match (&self.tenants, &entry.tenant) {
            (None, _) => true,
            (Some(tenants), Some(tenant)) => tenants.iter().any(|wanted| wanted.as_str() == tenant),
            (Some(_), None) => false,
        };
        entry.kind == Kind::Checkpoint || (is_kind && is_tenant)
    }
}
