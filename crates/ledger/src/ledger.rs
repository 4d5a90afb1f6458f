//! The handle by which entries are written.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;
use tollgate_model::{Principal, RecordLevel, SessionId, Timestamp};
use tollgate_telemetry::events::{LedgerRecovered, LedgerUnsigned};

use crate::chain::Chain;
use crate::folder::OwnFolder;
use crate::keys::{KeyError, Keys, make_folder};
use crate::line::Hash;
use crate::prepare::{Prepared, Role};
use crate::recover::{self, Found};
use crate::thread;
use crate::vault::Vault;
use crate::writer::{Place, Submitted, Wait, Writer};
use crate::{
    CallId, Checkpoint, Durability, Entry, Kind, LedgerSettings, Outcome, OwnSignature, PublicKey, ReadError,
    Unsigned,
};

/// How long an end in good order may take.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk says no.
    #[error("{path} cannot be used: {error}")]
    Io {
        /// Which file or folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// There are no keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// What was written before cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// An entry was not written.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the ledger cannot be written: {reason}")]
pub struct Unrecorded {
    /// Why, for the operator.
    pub reason: Arc<str>,
}

/// How the ledger does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// Nothing is recorded: it is configured so.
    Off,
    /// Entries are written.
    Up,
    /// They are not, since then.
    Down {
        /// Why.
        reason: Arc<str>,
        /// Since when.
        since: Timestamp,
    },
}

/// How far a writer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The number of the last entry.
    pub seq: u64,
    /// Its hash.
    pub hash: Hash,
}

/// Bytes that an entry is about, and how much of them is to be kept.
#[derive(Debug, Clone)]
pub struct Content {
    /// The bytes, all of them: JSON.
    pub bytes: Bytes,
    /// How much is kept.
    pub level: RecordLevel,
}

/// An entry as whoever wants it written knows it. The writer adds the number, the time, references and commitments.
#[derive(Debug, Default)]
pub struct Draft<'a> {
    /// What it says; its number, time, references, arguments and result are put in by the writer.
    pub entry: Entry<'a>,
    /// Who.
    pub who: Option<&'a Principal>,
    /// From where.
    pub source: Option<IpAddr>,
    /// The client's session.
    pub session: Option<&'a SessionId>,
    /// The arguments.
    pub arguments: Option<Content>,
    /// The result.
    pub result: Option<Content>,
    /// Where many came from, and how often each. They stand in the detail, as `sources`, by reference.
    pub crowd: Vec<(String, u64)>,
}

impl<'a> Draft<'a> {
    /// A draft that says only this.
    pub fn of(entry: Entry<'a>) -> Self {
        Self { entry, ..Self::default() }
    }
}

/// The record. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Ledger(Option<Arc<Handle>>);

/// Ends the writer when the last ledger is gone.
#[derive(Debug)]
struct Handle(Arc<Writer>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// The proof that an intent is on record, and the place of its outcome. Dropping it records the outcome as
/// [`Outcome::ClientGone`].
#[derive(Debug)]
pub struct Receipt {
    call: CallId,
    step: u32,
    /// The number of the intent's entry.
    intent: u64,
    /// The place of the outcome, if there is a record.
    place: Option<Place>,
    /// What its outcome is if nobody says another.
    otherwise: Outcome,
}

/// An intent that is being written.
#[derive(Debug)]
#[must_use = "dropping it gives the call up"]
pub struct Intending(Option<Result<Submitted, Unrecorded>>);

impl Intending {
    /// Whether nobody knows yet what comes of it.
    pub fn is_pending(&self) -> bool {
        self.0.is_some()
    }
}

impl Future for Intending {
    type Output = Result<Receipt, Unrecorded>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let written = match self.0.take() {
            Some(Ok(Submitted::Intent(receipt))) => Ok(receipt),
            Some(Ok(Submitted::SoonIntent(mut receiver))) => match Pin::new(&mut receiver).poll(cx) {
                Poll::Ready(written) => written.unwrap_or_else(|_| Err(closed())),
                Poll::Pending => {
                    self.0 = Some(Ok(Submitted::SoonIntent(receiver)));
                    return Poll::Pending;
                }
            },
            Some(Err(unrecorded)) => Err(unrecorded),
            Some(Ok(Submitted::Done | Submitted::Plain(_))) | None => Err(closed()),
        };
        Poll::Ready(written.map(|mut receipt| {
            receipt.otherwise = Outcome::ClientGone;
            receipt
        }))
    }
}

/// How much the writer has done, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Work {
    /// Entries written by those who had them, or for them.
    pub entries: u64,
    /// In how many writes.
    pub writes: u64,
    /// Entries that could not be written.
    pub lost: u64,
    /// Writes that failed.
    pub failures: u64,
    /// How often the disk did not take what the operating system had.
    pub unsynced: u64,
    /// How often no new segment could begin.
    pub stuck: u64,
    /// Writes that took long.
    pub slow: u64,
    /// Intents that wait for their outcome.
    pub open: u64,
    /// How many bytes of entries wait to be written, or are being written.
    pub waiting_bytes: u64,
}

impl Ledger {
    /// No record: only where it is configured so.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the ledger in a folder, which is made if it is missing, as a writer of its own: in a folder of it that is no other
    /// process's. What processes that are gone have left behind is closed: intents without outcome get the outcome
    /// [`Outcome::Unknown`].
    ///
    /// # Errors
    /// If the folder or the keys cannot be used. A disk that is full is no error: then nothing can be written yet.
    pub fn open(root: &Path, settings: LedgerSettings) -> Result<Self, OpenError> {
        make_folder(root)?;
        let keys = Keys::open(root, &settings)?;
        let is_power = settings.durability == Durability::Power;
        let mut left = OwnFolder::all_left(root)?.into_iter();
        let own = match left.next() {
            Some(own) => own,
            None => OwnFolder::new(root)?,
        };
        // One of them is gone on with, and the others are brought to an end.
        for other in left {
            let settings = settings.clone();
            let keys = Keys::open(root, &settings)?;
            let found = match recover::find(&other.path) {
                Ok(found) => found,
                // It is not this process's own: the verifier tells what is wrong with it.
                Err(error) => {
                    tracing::warn!(folder = %other.path.display(), %error, "what another writer left cannot be read");
                    continue;
                }
            };
            if found.ended_well != Some(true) {
                Self::begin(other, settings, keys, found, is_power)?.end();
            }
        }
        let found = recover::find(&own.path)?;
        Ok(Self(Some(Arc::new(Handle(Self::begin(own, settings, keys, found, is_power)?)))))
    }

    fn begin(
        own: OwnFolder,
        settings: LedgerSettings,
        keys: Keys,
        mut found: Found,
        is_power: bool,
    ) -> Result<Arc<Writer>, OpenError> {
        if found.public_key.as_ref().is_some_and(|key| *key != keys.public.to_text()) {
            // Every segment is signed by one key.
            found.begin.segment = None;
        }
        let first = first_entries(&found)?;
        if found.ended_well == Some(false) || found.cut_bytes > 0 {
            let damage = found.damage.map(|damage| (damage.segment, damage.offset));
            let (closed, cut_bytes) = (found.begin.open.len(), found.cut_bytes);
            LedgerRecovered { folder: &own.path, closed, cut_bytes, damage }.emit();
            // They may be another's, and are signed from now on.
            if let Some(unsigned) = found.unsigned.filter(Unsigned::is_too_long) {
                let (first_seq, last_seq) = (unsigned.first.seq, unsigned.last.seq);
                LedgerUnsigned { folder: &own.path, first_seq, last_seq, spans: unsigned.spans() }.emit();
            }
        }
        let chain = Chain::new(&own.path, &own.writer, found.begin, is_power);
        let path = own.path.clone();
        let writer = Arc::new(Writer::new(own, settings, keys, chain));
        for prepared in first {
            // They stand before whatever else is written.
            _ = writer.submit(prepared, None, Wait::No);
        }
        thread::start(&writer).map_err(|error| OpenError::Io { path, error })?;
        Ok(writer)
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn writer(&self) -> Option<&Arc<Writer>> {
        self.0.as_ref().map(|handle| &handle.0)
    }

    /// How it is kept; none if nothing is.
    pub fn settings(&self) -> Option<&LedgerSettings> {
        self.writer().map(|writer| &writer.settings)
    }

    /// The writer's folder.
    pub fn folder(&self) -> Option<&Path> {
        self.writer().map(|writer| writer.own.path.as_path())
    }

    /// What seals and opens the records beside its entries.
    pub fn vault(&self) -> Option<&Vault> {
        self.writer().map(|writer| &writer.keys.vault)
    }

    /// The key by which its checkpoints are signed.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.writer().map(|writer| writer.keys.public)
    }

    /// How it does.
    pub fn health(&self) -> Health {
        self.writer().map_or(Health::Off, |writer| writer.health())
    }

    /// Why, and since when, no new segment can begin although one is due, as where no more files may be open. Entries are written
    /// all the same, into the segment that is there.
    pub fn stuck(&self) -> Option<(Arc<str>, Timestamp)> {
        self.writer()?.stuck()
    }

    /// How much it has done.
    pub fn work(&self) -> Work {
        self.writer().map(|writer| writer.work()).unwrap_or_default()
    }

    /// How far it has come now.
    pub fn reached(&self) -> Position {
        self.writer().map(|writer| writer.queue().at).unwrap_or_default()
    }

    /// Tells how far it has come, a moment after. None if nothing is recorded.
    pub fn position(&self) -> Option<watch::Receiver<Position>> {
        self.writer().map(|writer| writer.position.subscribe())
    }

    /// The last checkpoint since it was opened, to be kept elsewhere.
    pub fn checkpoint(&self) -> Option<Checkpoint> {
        self.writer().and_then(|writer| writer.chain().signed().cloned())
    }

    /// Signs a statement about this writer's chain.
    pub(crate) fn sign(&self, statement: impl FnOnce(&str) -> String) -> OwnSignature {
        let Some(writer) = self.writer() else { return OwnSignature::default() };
        let keys = &writer.keys;
        OwnSignature::of(&statement(&writer.own.writer), &keys.signing, &keys.public.id())
    }

    /// Opens all that processes which are gone have left in a folder, each as the writer that it is of: to carry out in each
    /// what was to be done by its own process. Must be closed in the end.
    ///
    /// # Errors
    /// If a folder or the keys cannot be used.
    pub fn open_left(root: &Path, settings: &LedgerSettings) -> Result<Vec<Self>, OpenError> {
        let is_power = settings.durability == Durability::Power;
        let mut left = Vec::new();
        for own in OwnFolder::all_left(root)? {
            let keys = Keys::open(root, settings)?;
            let found = recover::find(&own.path)?;
            left.push(Self(Some(Arc::new(Handle(Self::begin(
                own,
                settings.clone(),
                keys,
                found,
                is_power,
            )?)))));
        }
        Ok(left)
    }

    /// Opens a folder that no process has, as the writer that it is of. What it writes begins in a segment of its own.
    pub(crate) fn open_as(root: &Path, own: OwnFolder, settings: LedgerSettings) -> Result<Self, OpenError> {
        let keys = Keys::open(root, &settings)?;
        let mut found = recover::find(&own.path)?;
        found.begin.segment = None;
        let is_power = settings.durability == Durability::Power;
        Ok(Self(Some(Arc::new(Handle(Self::begin(own, settings, keys, found, is_power)?)))))
    }

    /// For whom, and since when, what is too old is kept all the same: whoever has not had it yet.
    pub fn retention_waits(&self) -> Option<(Arc<str>, Timestamp)> {
        self.writer()?.waits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn retention_waits_for(&self, who: Option<Arc<str>>) {
        let Some(writer) = self.writer() else { return };
        let mut waits = writer.waits.lock().unwrap_or_else(PoisonError::into_inner);
        let since = waits.as_ref().map_or_else(Timestamp::now, |(_, since)| *since);
        *waits = who.map(|who| (who, since));
    }

    /// Forgets which names the last segment has, as some of them were erased: they are written again where they are needed.
    pub fn forget_names(&self) {
        if let Some(writer) = self.writer() {
            writer.chain().forget_names();
        }
    }

    /// Puts an intent on record, and reserves the place of its outcome. The entry is made at once; when the future is ready,
    /// it is as durable as configured. So a draft, which is large, is never part of a future. Dropping the future gives the
    /// call up: if its intent is written all the same, its outcome is [`Outcome::Refused`]. Whoever has the call carried out
    /// before the intent is written keeps the future, and closes the call when it is ready.
    pub fn intend(&self, mut draft: Draft<'_>) -> Intending {
        draft.entry.kind = Kind::Intent;
        let call = *draft.entry.call.get_or_insert_with(|| CallId::new(Timestamp::now()));
        let step = draft.entry.step;
        let submitted = match self.writer() {
            Some(writer) => writer.intend(draft, call, step),
            None => Ok(Submitted::Intent(Receipt {
                call,
                step,
                intent: 0,
                place: None,
                otherwise: Outcome::ClientGone,
            })),
        };
        Intending(Some(submitted))
    }

    /// A call was carried out, or may have been, that is not on record. How many there were is recorded with what else could
    /// not be written.
    pub fn passed_by(&self) {
        if let Some(writer) = self.writer() {
            writer.queue().pass_by();
            writer.wake();
        }
    }

    /// Puts another entry on record. When the future is ready, it is as durable as configured.
    pub fn note(&self, draft: Draft<'_>) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
        let submitted = self.writer().map(|writer| writer.note(draft, None, Wait::Plain));
        async move { written(submitted.unwrap_or(Ok(Submitted::Done))?).await }
    }

    /// Puts an entry on record soon, without waiting. What cannot be written is counted, and the count is recorded.
    pub fn note_later(&self, draft: Draft<'_>) {
        if let Some(writer) = self.writer() {
            _ = writer.note(draft, None, Wait::No);
        }
    }

    /// Writes what is left, and ends in good order: intents that are open get the outcome [`Outcome::Stopped`]. Nothing can be
    /// written afterwards.
    pub async fn close(&self) {
        let Some(writer) = self.writer() else { return };
        writer.end();
        let mut is_closed = writer.is_closed.subscribe();
        // A disk that hangs does not keep the process from ending: the next start closes what is open.
        _ = tokio::time::timeout(CLOSE_MAX, is_closed.wait_for(|closed| *closed)).await;
    }
}

/// What a writer says first: that it began, after what; and that nobody knows what has become of the calls that were open.
fn first_entries(found: &Found) -> Result<Vec<Prepared>, OpenError> {
    let made = || -> io::Result<Vec<Prepared>> {
        let version = Value::from(env!("CARGO_PKG_VERSION"));
        if found.ended_well.is_none_or(|well| well) && found.cut_bytes == 0 {
            return Ok(vec![thread::entry_of(Kind::Started, [("version", version)])?]);
        }
        let outcomes = thread::outcomes(found.begin.open.values(), Outcome::Unknown)?;
        let damage = found
            .damage
            .map_or(Value::Null, |damage| json!({ "segment": damage.segment, "offset": damage.offset }));
        let detail = [
            ("version", version),
            ("cut_bytes", found.cut_bytes.into()),
            ("closed", outcomes.len().into()),
            // From here on they are signed by a process that did not write them.
            ("unsigned", found.unsigned.map_or(0, |unsigned| unsigned.entries()).into()),
            ("unsigned_from", found.unsigned.map_or(Value::Null, |unsigned| unsigned.first.seq.into())),
            ("damage", damage),
        ];
        let mut first = vec![thread::entry_of(Kind::Recovered, detail)?];
        first.extend(outcomes);
        Ok(first)
    };
    let lasting = |entry| Prepared { role: Role::Lasting, ..entry };
    let made = || {
        made().map(|first| {
            first
                .into_iter()
                .map(|entry| if entry.role == Role::Other { lasting(entry) } else { entry })
                .collect()
        })
    };
    made().map_err(|error| OpenError::Io { path: PathBuf::new(), error })
}

async fn written(submitted: Submitted) -> Result<(), Unrecorded> {
    match submitted {
        Submitted::Plain(receiver) => receiver.await.map_err(|_| closed())?,
        Submitted::Done | Submitted::Intent(_) | Submitted::SoonIntent(_) => Ok(()),
    }
}

fn closed() -> Unrecorded {
    Unrecorded { reason: "the ledger is closed".into() }
}

impl Writer {
    fn intend(self: &Arc<Self>, draft: Draft<'_>, call: CallId, step: u32) -> Result<Submitted, Unrecorded> {
        let place = self.place()?;
        self.note(draft, Some(place), Wait::Intent(call, step))
    }

    fn note(
        self: &Arc<Self>,
        draft: Draft<'_>,
        place: Option<Place>,
        wait: Wait,
    ) -> Result<Submitted, Unrecorded> {
        let prepared = Prepared::new(draft, &self.keys.vault, &self.names, self.settings.payload_bytes_max)?;
        self.submit(prepared, place, wait)
    }
}

impl Receipt {
    /// For an intent that is written, and perhaps given up before anybody has this.
    pub(crate) fn new(place: Place, call: CallId, step: u32, intent: u64) -> Self {
        Self { call, step, intent, place: Some(place), otherwise: Outcome::Refused }
    }

    /// The call.
    pub fn call(&self) -> CallId {
        self.call
    }

    /// Which step of the call.
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Puts the outcome on record. When the future is ready, the entry is as durable as configured; also when the future is
    /// dropped before, the outcome is this one.
    pub fn close(mut self, draft: Draft<'_>) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
        let submitted = self.end(draft, Wait::Plain);
        async move { written(submitted?).await }
    }

    /// Puts the outcome on record soon, without waiting.
    pub fn close_later(mut self, draft: Draft<'_>) {
        _ = self.end(draft, Wait::No);
    }

    fn end(&mut self, mut draft: Draft<'_>, wait: Wait) -> Result<Submitted, Unrecorded> {
        let Some(place) = self.place.take() else { return Ok(Submitted::Done) };
        draft.entry.kind = Kind::Outcome;
        draft.entry.call = Some(self.call);
        draft.entry.step = self.step;
        draft.entry.of = Some(self.intent);
        let writer = Arc::clone(place.writer());
        writer.note(draft, Some(place), wait)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        let outcome = self.otherwise;
        _ = self.end(Draft::of(Entry { outcome: Some(outcome), ..Entry::of(Kind::Outcome) }), Wait::No);
    }
}
