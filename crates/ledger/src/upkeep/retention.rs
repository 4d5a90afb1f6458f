//! How long the record is kept: whole segments go from the front, and of tenants whose time is shorter, payloads and names.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::Timestamp;

use super::erase::{About, Choice, EraseError, blocking, carry_out, plan, sync_last};
use super::followers::Followers;
use super::left::Looked;
use crate::line::Line;
use crate::lines::{Lines, Next};
use crate::reader::SEGMENTS;
use crate::{Draft, Entry, Erased, Ledger, OwnSignature, ReadError, Reader, Removed, SegmentHead};

/// How many segments one pass looks into at most.
const SEGMENTS_MAX: usize = 64;

/// How long the record is kept. Nothing said, it is kept for good.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetentionSettings {
    /// The age after which segments go.
    pub age_max: Option<Duration>,
    /// How many bytes of segments are kept: beyond them the oldest go.
    pub bytes_max: Option<u64>,
    /// The age of tenants that have their own. What is kept longer for others is kept without these tenants' payloads and
    /// names.
    pub tenants: HashMap<String, Duration>,
}

/// Whoever has to have had segments before they are removed.
pub trait Needs: Send + Sync {
    /// The number of the first entry that somebody still needs, and who does; none if nobody needs any.
    fn needed_from(&self) -> Option<(u64, Arc<str>)>;

    /// Who still needs something of the folder of another writer, which is gone; none if nobody does. Reads files.
    fn needs_of(&self, folder: &Path) -> Option<Arc<str>> {
        _ = folder;
        None
    }
}

impl Needs for Followers {
    fn needed_from(&self) -> Option<(u64, Arc<str>)> {
        Self::needed_from(self)
    }
}

/// Sees to it that the record of one writer is kept for as long as it should be.
pub struct Retention {
    pub(super) ledger: Ledger,
    pub(super) needs: Vec<Arc<dyn Needs>>,
    /// What was looked into of writers that are gone.
    pub(super) looked: Looked,
    /// By segment: how many of the ages it had passed when it was last looked into.
    passed: HashMap<u64, usize>,
}

impl std::fmt::Debug for Retention {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Retention").field("ledger", &self.ledger).finish_non_exhaustive()
    }
}

/// What one pass has done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Kept {
    /// How many segments were removed.
    pub segments: u64,
    /// How many bytes they had.
    pub bytes: u64,
    /// How many records were erased for their tenants' age.
    pub records: u64,
    /// For whom segments are kept that would go otherwise.
    pub waits_for: Option<Arc<str>>,
}

/// A segment that nothing is written to any more.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) segment: u64,
    bytes: u64,
    /// When its last entry was written, at the latest.
    pub(super) newest_ms: u64,
    /// What the one after it says to follow on.
    next: SegmentHead,
}

impl Retention {
    /// Of the ledger that this process writes.
    pub fn new(ledger: Ledger, needs: Vec<Arc<dyn Needs>>) -> Self {
        Self { ledger, needs, looked: Looked::new(), passed: HashMap::new() }
    }

    /// Removes and erases what is due. Asked again, it goes on.
    pub async fn pass(&mut self, settings: &RetentionSettings, now: Timestamp) -> Result<Kept, EraseError> {
        let Some(folder) = self.ledger.folder().map(Path::to_owned) else { return Ok(Kept::default()) };
        let (done, open_bytes) = blocking({
            let folder = folder.clone();
            move || done(&folder)
        })
        .await?;
        let needed = self.needs.iter().filter_map(|needs| needs.needed_from()).min();
        let mut kept = Kept::default();
        let (due, why) = due(settings, now, &done, open_bytes);
        let free = |segment: &Done| needed.as_ref().is_none_or(|(from, _)| segment.next.before < *from);
        let gone = done[..due].iter().take_while(|segment| free(segment)).count();
        if gone < due {
            kept.waits_for = needed.as_ref().map(|(_, who)| Arc::clone(who));
        }
        self.ledger.retention_waits_for(kept.waits_for.clone());
        if let Some(last) = gone.checked_sub(1).and_then(|last| done.get(last)) {
            kept.segments = gone as u64;
            kept.bytes = done[..gone].iter().map(|segment| segment.bytes).sum();
            self.remove(&folder, &done[..gone], last, why, kept.bytes).await?;
        }
        let left: Vec<Done> = done[gone..].iter().filter(|segment| free(segment)).cloned().collect();
        kept.records = self.erase(settings, now, left).await?;
        Ok(kept)
    }

    async fn remove(
        &mut self,
        folder: &Path,
        gone: &[Done],
        last: &Done,
        why: &str,
        bytes: u64,
    ) -> Result<(), EraseError> {
        let mut removed = Removed {
            through: last.next.before,
            through_hash: last.next.before_hash,
            segments: gone.len() as u64,
            bytes,
            newest_ms: last.newest_ms,
            why: why.to_owned(),
            signed: OwnSignature::default(),
        };
        removed.signed = self.ledger.sign(|writer| removed.statement(writer));
        self.ledger.note(Draft::of(removed.entry())).await?;
        sync_last(&self.ledger).await?;
        let reader = Reader::new(folder);
        let (paths, folder) =
            (gone.iter().map(|gone| reader.path(gone.segment)).collect::<Vec<_>>(), folder.join(SEGMENTS));
        for segment in gone {
            self.passed.remove(&segment.segment);
        }
        blocking(move || {
            for path in paths {
                if let Err(error) = std::fs::remove_file(&path)
                    && error.kind() != std::io::ErrorKind::NotFound
                {
                    return Err(EraseError::Write { path, error });
                }
            }
            let synced = File::open(&folder).and_then(|folder| folder.sync_all());
            synced.map_err(|error| EraseError::Write { path: folder, error })
        })
        .await
    }

    /// Erases what is older than its tenant's age in segments that others still have something in.
    async fn erase(
        &mut self,
        settings: &RetentionSettings,
        now: Timestamp,
        done: Vec<Done>,
    ) -> Result<u64, EraseError> {
        if settings.tenants.is_empty() {
            return Ok(0);
        }
        let Some(folder) = self.ledger.folder().map(Path::to_owned) else { return Ok(0) };
        let mut ages: Vec<Duration> = settings.tenants.values().copied().chain(settings.age_max).collect();
        ages.sort_unstable();
        let passed =
            |segment: &Done| ages.iter().filter(|age| is_older(segment.newest_ms, **age, now)).count();
        let due = done
            .iter()
            .filter(|segment| passed(segment) > self.passed.get(&segment.segment).copied().unwrap_or(0));
        let due: Vec<Done> = due.take(SEGMENTS_MAX).cloned().collect();
        let (segments, settings) = (due.clone(), settings.clone());
        let planned = blocking(move || {
            let reader = Reader::new(&folder);
            let plan = |segment: &Done| {
                let mut old = Old { settings: &settings, newest_ms: segment.newest_ms, now };
                plan(&reader, segment.segment, &mut old)
            };
            segments.iter().filter_map(|segment| plan(segment).transpose()).collect::<Result<Vec<_>, _>>()
        })
        .await?;
        let detail = Erased {
            why: "retention".to_owned(),
            request: None,
            tenant: None,
            user: None,
            before_ms: None,
            segments: Vec::new(),
            signed: OwnSignature::default(),
        };
        let erased = carry_out(&self.ledger, detail, planned).await?;
        for segment in &due {
            self.passed.insert(segment.segment, passed(segment));
        }
        Ok(erased)
    }
}

/// How many segments are due from the front, and why.
pub(super) fn due(
    settings: &RetentionSettings,
    now: Timestamp,
    done: &[Done],
    open_bytes: u64,
) -> (usize, &'static str) {
    let longest = longest(settings);
    let old =
        done.iter().take_while(|segment| longest.is_some_and(|age| is_older(segment.newest_ms, age, now)));
    let old = old.count();
    let mut left = open_bytes + done.iter().map(|segment| segment.bytes).sum::<u64>();
    let mut large = 0;
    for segment in done {
        if settings.bytes_max.is_none_or(|max| left <= max) {
            break;
        }
        left -= segment.bytes;
        large += 1;
    }
    if large > old { (large, "size") } else { (old, "age") }
}

/// How long a segment stays: as long as anybody's time is not over.
pub(super) fn longest(settings: &RetentionSettings) -> Option<Duration> {
    settings.age_max.map(|age| settings.tenants.values().copied().fold(age, Duration::max))
}

pub(super) fn is_older(newest_ms: u64, age: Duration, now: Timestamp) -> bool {
    Timestamp::from_ms(newest_ms).after(age) < now
}

/// All segments that nothing is written to any more, and how many bytes the one has that is.
pub(super) fn done(folder: &Path) -> Result<(Vec<Done>, u64), ReadError> {
    let reader = Reader::new(folder);
    let segments = reader.segments()?;
    let bytes = |segment: u64| std::fs::metadata(reader.path(segment)).map_or(0, |metadata| metadata.len());
    let mut done = Vec::new();
    for pair in segments.windows(2) {
        // Where a head cannot be read, nothing goes by itself: somebody has to look at it.
        let Some((begun_ms, next)) = head(&reader, pair[1])? else { break };
        // Where the next one began much later, as that of another process.
        let newest_ms = begun_ms.min(modified_ms(&reader.path(pair[0])));
        done.push(Done { segment: pair[0], bytes: bytes(pair[0]), newest_ms, next });
    }
    let open_bytes = segments.last().map_or(0, |last| bytes(*last));
    Ok((done, open_bytes))
}

/// When a file was written last.
pub(super) fn modified_ms(path: &Path) -> u64 {
    let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|modified| modified.duration_since(std::time::UNIX_EPOCH).ok());
    // Of what cannot be asked it is believed that it is new.
    since.map_or(u64::MAX, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// When a segment began, and on what it follows.
fn head(reader: &Reader, segment: u64) -> Result<Option<(u64, SegmentHead)>, ReadError> {
    let path = reader.path(segment);
    let mut lines = match File::open(&path).and_then(|file| Lines::at(file, 0)) {
        Ok(lines) => lines,
        Err(error) => return Err(ReadError::Io { path, error }),
    };
    let Ok(Next::Line(line)) = lines.next() else { return Ok(None) };
    let Some(Line::Entry { json, .. }) = line.strip_suffix(b"\n").and_then(Line::read) else {
        return Ok(None);
    };
    let entry: Option<Entry<'_>> = serde_json::from_slice(json).ok();
    Ok(entry.and_then(|entry| SegmentHead::of(&entry).map(|head| (entry.time_ms, head))))
}

/// Chooses what is older than its tenant's age.
pub(super) struct Old<'a> {
    pub(super) settings: &'a RetentionSettings,
    pub(super) newest_ms: u64,
    pub(super) now: Timestamp,
}

impl Choice for Old<'_> {
    fn payload(&mut self, about: &About<'_>) -> bool {
        let own = about.tenant.as_deref().and_then(|tenant| self.settings.tenants.get(tenant));
        let age = own.copied().or(self.settings.age_max);
        age.is_some_and(|age| is_older(self.newest_ms, age, self.now))
    }

    fn name(&mut self, about: &About<'_>, _: &str) -> bool {
        self.payload(about)
    }
}
