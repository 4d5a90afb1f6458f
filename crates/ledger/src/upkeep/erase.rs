//! Erasing records: what was said is said in the chain first, then the lines are overwritten where they are.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::Deserialize;

use crate::line::{self, Hash, Line};
use crate::lines::{Lines, Next};
use crate::{Draft, Erased, ErasedIn, Ledger, NameKind, OwnSignature, ReadError, Reader, Unrecorded};

/// How many segments one entry names at most.
const SEGMENTS_MAX: usize = 64;

/// Whose records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Everything of a tenant's: payloads, and the names of its people, agents, addresses and sessions.
    Tenant(String),
    /// What is of a user: the payloads of what was done for them, their name wherever it stands, and the addresses and
    /// sessions that nobody else had.
    User {
        /// The user.
        user: String,
        /// Whose user; none for every tenant's of this name.
        tenant: Option<String>,
    },
}

/// What is to be erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasing {
    /// Whose.
    pub whose: Whose,
    /// Only from entries that are older.
    pub before_ms: Option<u64>,
    /// The id of the request.
    pub request: Option<String>,
}

/// Why something was not erased, or not all of it. It can be asked for again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// A segment cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// It cannot be overwritten.
    #[error("{path} cannot be overwritten: {error}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// It cannot be said in the chain, and so is not done.
    #[error(transparent)]
    Unrecorded(#[from] Unrecorded),
    /// The folder of a writer that is gone cannot be opened.
    #[error("{0}")]
    Closed(String),
}

/// What an erasure looks at in an entry.
#[derive(Deserialize)]
pub(super) struct About<'a> {
    pub(super) time_ms: u64,
    #[serde(borrow)]
    pub(super) tenant: Option<Cow<'a, str>>,
    #[serde(borrow)]
    who: Option<Cow<'a, str>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    source: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
}

/// Says which records go.
pub(super) trait Choice {
    /// Looks at the entries of a segment before any is judged.
    fn look(&mut self, _: &About<'_>) {}

    /// Whether the payloads beside an entry go.
    fn payload(&mut self, about: &About<'_>) -> bool;

    /// Whether a name beside an entry goes.
    fn name(&mut self, about: &About<'_>, reference: &str) -> bool;
}

/// What goes in one segment.
pub(super) struct Planned {
    path: PathBuf,
    pub(super) erased: ErasedIn,
    /// Where the lines begin, and how long they are.
    lines: Vec<(u64, usize)>,
}

/// Erases in the segments of a ledger that this process writes. Gives how many records went.
pub async fn erase(ledger: &Ledger, erasing: &Erasing) -> Result<u64, EraseError> {
    let Some(folder) = ledger.folder() else { return Ok(0) };
    let reader = Reader::new(folder);
    let mut erased = 0;
    for part in reader.segments()?.chunks(SEGMENTS_MAX) {
        let (ledger_read, erasing_read) = (ledger.clone(), erasing.clone());
        let (reader, part) = (Reader::new(folder), part.to_vec());
        let planned = blocking(move || {
            let plan = |segment| plan(&reader, segment, &mut Judge::new(&erasing_read, &ledger_read));
            part.into_iter().filter_map(|segment| plan(segment).transpose()).collect::<Result<Vec<_>, _>>()
        });
        erased += carry_out(ledger, erasing.detail(ledger), planned.await?).await?;
    }
    Ok(erased)
}

impl Erasing {
    fn detail(&self, ledger: &Ledger) -> Erased {
        // A name is never written into the chain; of one tenant's user the reference is known.
        let (why, tenant, user) = match &self.whose {
            Whose::Tenant(tenant) => ("tenant", Some(tenant), None),
            Whose::User { user, tenant } => ("user", tenant.as_ref(), Some(user)),
        };
        let reference = tenant.zip(user).zip(ledger.vault());
        let reference =
            reference.map(|((tenant, user), vault)| vault.reference(tenant, NameKind::User, user));
        Erased {
            why: why.to_owned(),
            request: self.request.clone(),
            tenant: tenant.cloned(),
            user: reference,
            before_ms: self.before_ms,
            segments: Vec::new(),
            signed: OwnSignature::default(),
        }
    }
}

/// Says in the chain what goes, and overwrites it.
pub(super) async fn carry_out(
    ledger: &Ledger,
    detail: Erased,
    planned: Vec<Planned>,
) -> Result<u64, EraseError> {
    if planned.is_empty() {
        return Ok(0);
    }
    let segments = planned.iter().map(|planned| planned.erased.clone()).collect();
    let mut detail = Erased { segments, ..detail };
    detail.signed = ledger.sign(|writer| detail.statement(writer));
    ledger.note(Draft::of(detail.entry())).await?;
    sync_last(ledger).await?;
    let erased = blocking(move || {
        for planned in &planned {
            let failed = |error| EraseError::Write { path: planned.path.clone(), error };
            overwrite(planned).map_err(failed)?;
        }
        Ok::<u64, EraseError>(planned.iter().map(|planned| planned.lines.len() as u64).sum())
    });
    let erased = erased.await;
    // What the last segment named and names no more is named again where it is needed.
    ledger.forget_names();
    erased
}

/// Waits until the disk has what was said, before what was said is done.
pub(super) async fn sync_last(ledger: &Ledger) -> Result<(), EraseError> {
    let Some(folder) = ledger.folder().map(Path::to_owned) else { return Ok(()) };
    blocking(move || {
        let reader = Reader::new(&folder);
        // The entry may stand in the one before the last, if a new one has begun since.
        for segment in reader.segments()?.into_iter().rev().take(2) {
            let path = reader.path(segment);
            let synced = File::open(&path).and_then(|file| file.sync_data());
            synced.map_err(|error| EraseError::Write { path, error })?;
        }
        Ok(())
    })
    .await
}

/// Runs what waits for the disk where nobody else waits.
pub(super) async fn blocking<T: Send + 'static, E: From<ReadError> + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let ended = tokio::task::spawn_blocking(work).await;
    ended.unwrap_or_else(|error| {
        let error = io::Error::other(error.to_string());
        Err(ReadError::Io { path: PathBuf::new(), error }.into())
    })
}

/// Finds what goes in a segment; none if nothing does.
pub(super) fn plan(
    reader: &Reader,
    segment: u64,
    choice: &mut dyn Choice,
) -> Result<Option<Planned>, ReadError> {
    let path = reader.path(segment);
    let failed = |error| ReadError::Io { path: path.clone(), error };
    // One that was removed meanwhile has nothing left to erase.
    let open = || match File::open(&path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    };
    let (Some(first), Some(second)) = (open()?, open()?) else { return Ok(None) };
    each_line(first, |_, line| {
        if let Some(Line::Entry { json, .. }) = Line::read(line)
            && let Ok(about) = serde_json::from_slice::<About<'_>>(json)
        {
            choice.look(&about);
        }
    })
    .map_err(failed)?;
    let (mut lines, mut records, mut digests) = (Vec::new(), 0, Context::new(&SHA256));
    let mut json: Vec<u8> = Vec::new();
    each_line(second, |offset, text| {
        let (sealed, goes) = match Line::read(text) {
            Some(Line::Entry { json: next, .. }) => {
                next.clone_into(&mut json);
                return;
            }
            Some(Line::Payload { sealed, .. }) => (sealed, judge(&json, |about| choice.payload(about))),
            Some(Line::Name { reference, sealed }) => {
                let reference = String::from_utf8_lossy(reference);
                (sealed, judge(&json, |about| choice.name(about, &reference)))
            }
            None => return,
        };
        let is_erased = Line::is_erased(sealed);
        if is_erased || (goes && sealed.len() >= line::SEALED_LEN_MIN) {
            records += 1;
            digests.update(&line::line_digest(text).0);
        }
        if goes && !is_erased && sealed.len() >= line::SEALED_LEN_MIN {
            lines.push((offset, text.len() + 1));
        }
    })
    .map_err(failed)?;
    let mut digest = Hash::default();
    digest.0.copy_from_slice(digests.finish().as_ref());
    let erased = ErasedIn { segment, records, digest };
    Ok((!lines.is_empty()).then_some(Planned { path, erased, lines }))
}

fn judge(json: &[u8], choose: impl FnOnce(&About<'_>) -> bool) -> bool {
    serde_json::from_slice(json).is_ok_and(|about| choose(&about))
}

/// Every whole line without its end, and where it begins.
fn each_line(file: File, mut each: impl FnMut(u64, &[u8])) -> io::Result<()> {
    let mut lines = Lines::at(file, 0)?;
    loop {
        let offset = lines.offset();
        match lines.next()? {
            Next::Line(line) => each(offset, line.strip_suffix(b"\n").unwrap_or(line)),
            Next::TooLong => {}
            Next::Part(_) | Next::End => return Ok(()),
        }
    }
}

/// Overwrites each line where it is, with as many bytes, and waits for the disk.
fn overwrite(planned: &Planned) -> io::Result<()> {
    let file = OpenOptions::new().read(true).write(true).open(&planned.path)?;
    let mut line = Vec::new();
    for (offset, len) in &planned.lines {
        line.resize(*len, 0);
        file.read_exact_at(&mut line, *offset)?;
        if let Some(erased) = line::erase(&line) {
            file.write_all_at(&erased, *offset)?;
        }
    }
    file.sync_data()
}

/// Judges by whose it is, in one segment.
struct Judge<'a> {
    erasing: &'a Erasing,
    ledger: &'a Ledger,
    /// The references of the user, by tenant.
    references: HashMap<String, String>,
    /// References of names that go.
    names: HashSet<String>,
    /// References of addresses and sessions that others have too.
    others: HashSet<String>,
}

impl<'a> Judge<'a> {
    fn new(erasing: &'a Erasing, ledger: &'a Ledger) -> Self {
        let (names, others) = <(HashSet<_>, HashSet<_>)>::default();
        Self { erasing, ledger, references: HashMap::new(), names, others }
    }

    fn is_meant(&mut self, about: &About<'_>) -> bool {
        let Some(tenant) = about.tenant.as_deref() else { return false };
        if self.erasing.before_ms.is_some_and(|before| about.time_ms >= before) {
            return false;
        }
        match &self.erasing.whose {
            Whose::Tenant(meant) => tenant == meant,
            Whose::User { user, tenant: of } => {
                let Some(found) = about.user.as_deref() else { return false };
                if of.as_ref().is_some_and(|of| of != tenant) {
                    return false;
                }
                if !self.references.contains_key(tenant) {
                    let Some(vault) = self.ledger.vault() else { return false };
                    let reference = vault.reference(tenant, NameKind::User, user);
                    self.references.insert(tenant.to_owned(), reference);
                }
                self.references.get(tenant).is_some_and(|reference| reference == found)
            }
        }
    }
}

impl Choice for Judge<'_> {
    fn look(&mut self, about: &About<'_>) {
        if !matches!(self.erasing.whose, Whose::User { .. }) {
            return;
        }
        let shared = [&about.source, &about.session].into_iter().flatten().map(ToString::to_string);
        if self.is_meant(about) {
            self.names.extend(shared);
            self.names.extend([&about.who, &about.user].into_iter().flatten().map(ToString::to_string));
        } else {
            self.others.extend(shared);
        }
    }

    fn payload(&mut self, about: &About<'_>) -> bool {
        self.is_meant(about)
    }

    fn name(&mut self, about: &About<'_>, reference: &str) -> bool {
        match self.erasing.whose {
            Whose::Tenant(_) => self.is_meant(about),
            // A name stands beside the first entry that has it, which may be another's.
            Whose::User { .. } => self.names.contains(reference) && !self.others.contains(reference),
        }
    }
}
