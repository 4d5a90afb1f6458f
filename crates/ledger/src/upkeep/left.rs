//! The folders of writers that are gone, as after scaling down: what is too old goes there too.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tollgate_model::Timestamp;

use super::erase::{EraseError, blocking, plan};
use super::retention::{Kept, Old, Retention, RetentionSettings, done, due, is_older, longest};
use crate::folder::OwnFolder;
use crate::{Ledger, ReadError, Reader};

/// By segment: how many of the ages it had passed when nothing was found in it that is to go.
pub(super) type Looked = HashMap<(PathBuf, u64), usize>;

impl Retention {
    /// As [`Self::pass`], in each folder beside the ledger's own that no process has. What is done there stands in its chain: it
    /// is opened as the writer that it is of, and brought to an end again. A folder never goes as a whole: its last segment says
    /// what became of the others.
    ///
    /// # Errors
    /// If a folder cannot be read or written.
    pub async fn pass_left(
        &mut self,
        settings: &RetentionSettings,
        now: Timestamp,
    ) -> Result<Kept, EraseError> {
        let (Some(own), Some(how)) = (self.ledger.folder(), self.ledger.settings().cloned()) else {
            return Ok(Kept::default());
        };
        if *settings == RetentionSettings::default() {
            return Ok(Kept::default());
        }
        let root = own.parent().map(Path::to_owned).unwrap_or_default();
        let (wanted, mut looked) = (settings.clone(), std::mem::take(&mut self.looked));
        let folders = root.clone();
        let (due, looked) = blocking(move || {
            let due = due_left(&folders, &wanted, now, &mut looked)?;
            Ok::<_, EraseError>((due, looked))
        })
        .await?;
        self.looked = looked;
        let mut kept = Kept::default();
        for own in due {
            if let Some(who) = self.needs.iter().find_map(|needs| needs.needs_of(&own.path)) {
                kept.waits_for = Some(who);
                continue;
            }
            let (root, how) = (root.clone(), how.clone());
            let ledger = blocking(move || {
                Ledger::open_as(&root, own, how).map_err(|error| EraseError::Closed(error.to_string()))
            })
            .await?;
            let passed = Self::new(ledger.clone(), Vec::new()).pass(settings, now).await;
            ledger.close().await;
            let Kept { segments, bytes, records, .. } = passed?;
            kept.segments += segments;
            kept.bytes += bytes;
            kept.records += records;
        }
        Ok(kept)
    }
}

/// The folders in which something is due, kept from everybody else.
fn due_left(
    root: &Path,
    settings: &RetentionSettings,
    now: Timestamp,
    looked: &mut Looked,
) -> Result<Vec<OwnFolder>, ReadError> {
    let left = OwnFolder::all_left(root).map_err(|error| {
        let error = std::io::Error::other(error.to_string());
        ReadError::Io { path: root.to_owned(), error }
    })?;
    looked.retain(|(folder, _), _| left.iter().any(|own| own.path == *folder));
    let mut due = Vec::new();
    for own in left {
        if is_due(&own.path, settings, now, looked)? {
            due.push(own);
        }
    }
    Ok(due)
}

fn is_due(
    folder: &Path,
    settings: &RetentionSettings,
    now: Timestamp,
    looked: &mut Looked,
) -> Result<bool, ReadError> {
    let reader = Reader::new(folder);
    let (done, open_bytes) = done(folder)?;
    if due(settings, now, &done, open_bytes).0 > 0 {
        return Ok(true);
    }
    let Some(last) = reader.segments()?.last().copied() else { return Ok(false) };
    // Nothing follows on it, so it is not done; and nobody will write there.
    let last_ms = super::retention::modified_ms(&reader.path(last));
    if longest(settings).is_some_and(|age| is_older(last_ms, age, now)) {
        return Ok(true);
    }
    if settings.tenants.is_empty() {
        return Ok(false);
    }
    let all = done.iter().map(|done| (done.segment, done.newest_ms)).chain([(last, last_ms)]);
    for (segment, newest_ms) in all {
        let ages = settings.tenants.values().chain(&settings.age_max);
        let passed = ages.filter(|age| is_older(newest_ms, **age, now)).count();
        let key = (folder.to_owned(), segment);
        if passed <= looked.get(&key).copied().unwrap_or(0) {
            continue;
        }
        if plan(&reader, segment, &mut Old { settings, newest_ms, now })?.is_some() {
            return Ok(true);
        }
        looked.insert(key, passed);
    }
    Ok(false)
}
