//! Folders of writers that are gone, as after scaling down: what their exports have not had is sent by whoever is left.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{FlockOperation, flock};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::cursor::{CursorFile, Place};
use super::names::Unseal;
use super::settings::ExportSettings;
use super::status::Status;
use super::task::Task;
use crate::reader::Reader;
use crate::{CallId, Position};

/// The file whose lock says that a folder is in use.
const LOCK: &str = "lock";

/// A folder that nobody writes to, kept from everybody else.
#[derive(Debug)]
pub(super) struct Left {
    folder: PathBuf,
    _lock: std::fs::File,
}

/// The folders beside `own` that no process has, and of which some export has not had everything. Reads folders: not for
/// threads that serve.
pub(super) fn left(own: &Path, wanted: &[ExportSettings]) -> Vec<Left> {
    let folders = own.parent().and_then(|root| std::fs::read_dir(root).ok()).into_iter().flatten().flatten();
    let others = folders.map(|entry| entry.path()).filter(|folder| {
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        folder != own && name.parse::<CallId>().is_ok()
    });
    others.filter_map(|folder| take(folder, wanted)).collect()
}

fn take(folder: PathBuf, wanted: &[ExportSettings]) -> Option<Left> {
    if !wanted.iter().any(|settings| is_unsent(&folder, settings)) {
        return None;
    }
    let lock = OpenOptions::new().write(true).open(folder.join(LOCK)).ok()?;
    flock(&lock, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(Left { folder, _lock: lock })
}

/// Whether there is something behind the cursor of an export.
pub(super) fn is_unsent(folder: &Path, settings: &ExportSettings) -> bool {
    let Place { segment, next, .. } = CursorFile::new(folder, &settings.name).read().unwrap_or_default().done;
    let reader = Reader::new(folder);
    let Some(last) = reader.segments().ok().and_then(|segments| segments.last().copied()) else {
        return false;
    };
    let length = std::fs::metadata(reader.path(last)).map_or(0, |metadata| metadata.len());
    last > segment || length > next
}

impl Left {
    /// Whose it was.
    pub(super) fn writer(&self) -> Arc<str> {
        self.folder.file_name().unwrap_or_default().to_string_lossy().into()
    }

    /// Sends what is left of it to each export, until it is told to stop. Where the receivers are away it waits for them, and
    /// keeps the folder.
    pub(super) async fn send(
        self,
        wanted: Vec<ExportSettings>,
        unseal: Arc<dyn Unseal>,
        stop: CancellationToken,
        tell: impl Fn(Arc<Status>),
    ) {
        let writer = self.writer();
        let mut tasks = tokio::task::JoinSet::new();
        for settings in wanted {
            let status = Arc::new(Status::new(&settings, &writer));
            tell(Arc::clone(&status));
            // To end as soon as everything is sent.
            let drain = CancellationToken::new();
            drain.cancel();
            let task = Task {
                folder: self.folder.clone(),
                writer: Arc::clone(&writer),
                settings,
                unseal: Arc::clone(&unseal),
                status,
                // Whatever is there: nobody writes any more.
                position: watch::Sender::new(Position { seq: u64::MAX, ..Position::default() }).subscribe(),
                drain,
                stop: stop.clone(),
            };
            tasks.spawn(task.run());
        }
        while tasks.join_next().await.is_some() {}
    }
}
