//! The handle by which entries are written.

#![allow(clippy::unused_async, reason = "whoever writes an entry waits for it; this writer does not")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::future::ready;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::watch;
use tollgate_model::{Principal, RecordLevel, SessionId, Timestamp};

use crate::line::{self, Hash};
use crate::reader::{SEGMENTS, file_name};
use crate::{CallId, Entry, Kind, LedgerSettings, Outcome};

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
}

impl<'a> Draft<'a> {
    /// A draft that says only this.
    pub fn of(entry: Entry<'a>) -> Self {
        Self { entry, ..Self::default() }
    }
}

/// The record. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Ledger(Option<Arc<Writer>>);

#[derive(Debug)]
struct Writer {
    folder: PathBuf,
    settings: LedgerSettings,
    chain: Mutex<Chain>,
    position: watch::Sender<Position>,
}

#[derive(Debug)]
struct Chain {
    file: File,
    at: Position,
}

/// The proof that an intent is on record, and the place of its outcome. Dropping it records the outcome as
/// [`Outcome::ClientGone`].
#[derive(Debug)]
pub struct Receipt {
    ledger: Ledger,
    call: CallId,
    step: u32,
    /// The number of the intent's entry.
    intent: u64,
    is_open: bool,
}

impl Ledger {
    /// No record: only where it is configured so.
    pub fn off() -> Self {
        Self(None)
    }

    /// Opens the ledger in a folder, which is made if it is missing, as a writer of its own: in a folder of it that is no other
    /// process's. Must be called within a runtime.
    pub fn open(root: &Path, settings: LedgerSettings) -> Result<Self, OpenError> {
        let folder = root.join(CallId::new(Timestamp::now()).to_string());
        let segments = folder.join(SEGMENTS);
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| OpenError::Io { path, error }
        };
        DirBuilder::new().recursive(true).mode(0o700).create(&segments).map_err(failed(&segments))?;
        let path = segments.join(file_name(1));
        let file = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(failed(&path))?;
        let chain = Mutex::new(Chain { file, at: Position::default() });
        let position = watch::Sender::new(Position::default());
        Ok(Self(Some(Arc::new(Writer { folder, settings, chain, position }))))
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// How it is kept; none if nothing is.
    pub fn settings(&self) -> Option<&LedgerSettings> {
        self.0.as_ref().map(|writer| &writer.settings)
    }

    /// The writer's folder.
    pub fn folder(&self) -> Option<&Path> {
        self.0.as_ref().map(|writer| writer.folder.as_path())
    }

    /// How it does.
    pub fn health(&self) -> Health {
        if self.is_on() { Health::Up } else { Health::Off }
    }

    /// Tells how far it has come. None if nothing is recorded.
    pub fn position(&self) -> Option<watch::Receiver<Position>> {
        self.0.as_ref().map(|writer| writer.position.subscribe())
    }

    /// Puts an intent on record, and reserves the place of its outcome. The entry is made at once; when the future is ready,
    /// it is as durable as configured. So a draft, which is large, is never part of a future.
    pub fn intend(
        &self,
        mut draft: Draft<'_>,
    ) -> impl Future<Output = Result<Receipt, Unrecorded>> + Send + use<> {
        draft.entry.kind = Kind::Intent;
        let call = *draft.entry.call.get_or_insert_with(|| CallId::new(Timestamp::now()));
        let step = draft.entry.step;
        let written = self.write(draft);
        ready(written.map(|intent| Receipt { ledger: self.clone(), call, step, intent, is_open: true }))
    }

    /// Puts another entry on record. When the future is ready, it is as durable as configured.
    pub fn note(&self, draft: Draft<'_>) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
        ready(self.write(draft).map(drop))
    }

    /// Puts an entry on record soon, without waiting. What cannot be written is counted, and the count is recorded.
    pub fn note_later(&self, draft: Draft<'_>) {
        _ = self.write(draft);
    }

    /// Writes what is left, and ends in good order. Nothing can be written afterwards.
    pub async fn close(&self) {}

    fn write(&self, draft: Draft<'_>) -> Result<u64, Unrecorded> {
        let Some(writer) = &self.0 else { return Ok(0) };
        let mut entry = draft.entry;
        entry.tenant = draft.who.map(|who| who.tenant.as_str().to_owned().into());
        let mut chain = writer.chain.lock().unwrap_or_else(PoisonError::into_inner);
        entry.seq = chain.at.seq + 1;
        entry.time_ms = Timestamp::now().as_ms();
        let failed = |reason: String| Unrecorded { reason: reason.into() };
        let json = serde_json::to_vec(&entry).map_err(|error| failed(error.to_string()))?;
        let side = line::side(b"");
        let hash = line::chain(chain.at.hash, side.as_bytes(), &json);
        let text = [b"e ", hash.to_text().as_bytes(), b" ", side.as_bytes(), b" ", &json, b"\n"].concat();
        chain.file.write_all(&text).map_err(|error| failed(error.to_string()))?;
        chain.at = Position { seq: entry.seq, hash };
        writer.position.send_replace(chain.at);
        Ok(entry.seq)
    }
}

impl Receipt {
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
        ready(self.end(draft))
    }

    /// Puts the outcome on record soon, without waiting.
    pub fn close_later(mut self, draft: Draft<'_>) {
        _ = self.end(draft);
    }

    fn end(&mut self, mut draft: Draft<'_>) -> Result<(), Unrecorded> {
        self.is_open = false;
        draft.entry.kind = Kind::Outcome;
        draft.entry.call = Some(self.call);
        draft.entry.step = self.step;
        draft.entry.of = Some(self.intent);
        self.ledger.write(draft).map(drop)
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.is_open {
            let entry = Entry { outcome: Some(Outcome::ClientGone), ..Entry::of(Kind::Outcome) };
            _ = self.end(Draft::of(entry));
        }
    }
}
