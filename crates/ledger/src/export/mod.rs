//! Export: what happens, in the tools that others already run.
//!
//! Each export is a task that follows the segments, not the calls: these never wait for it. It goes on from a cursor on disk,
//! so nothing is lost with the process; it sends in batches, at least once, and marks what may have been received before
//! (`redelivered`). A receiver tells duplicates by `writer` and `seq`.

mod backoff;
mod cursor;
mod facts;
mod feed;
mod file;
mod names;
mod ocsf;
mod others;
mod otlp;
mod record;
mod settings;
mod status;
mod syslog;
mod target;
mod task;
mod webhook;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use self::names::Unseal;
pub use self::settings::{
    Confirm, ExportSettings, FileSettings, Flavour, Format, Pace, SyslogSettings, TargetSettings,
    WebhookSettings,
};
pub use self::status::ExportLine;
use self::status::Status;
use self::task::Task;
use crate::upkeep::Needs;
use crate::{Ledger, Position};

/// How often it is measured how far exports lie behind.
const MEASURE: Duration = Duration::from_secs(1);
/// How often folders are looked for that nobody has.
const LOOK: Duration = Duration::from_secs(30);

/// The exports of one writer. Cheap to clone; all clones are the same. They end with the last one.
#[derive(Debug, Clone)]
pub struct Exports(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    writer: Arc<str>,
    position: watch::Receiver<Position>,
    unseal: Arc<dyn Unseal>,
    running: Mutex<Vec<Running>>,
    others: Mutex<Others>,
    /// Ends what measures, and looks after others.
    over: CancellationToken,
}

/// What is sent of the folders of writers that are gone.
#[derive(Debug, Default)]
struct Others {
    statuses: Vec<Arc<Status>>,
    stop: CancellationToken,
}

#[derive(Debug)]
struct Running {
    settings: ExportSettings,
    status: Arc<Status>,
    drain: CancellationToken,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exports").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Exports {
    /// The exports of a ledger, none yet; nothing where nothing is recorded. Must be called within a runtime.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        let (folder, position) = (ledger.folder()?, ledger.position()?);
        Some(Self::new(folder, position, Arc::new(ledger.clone())))
    }

    /// No exports yet, of the writer whose folder this is. Must be called within a runtime.
    pub fn new(folder: &Path, position: watch::Receiver<Position>, unseal: Arc<dyn Unseal>) -> Self {
        let writer = folder.file_name().unwrap_or_default().to_string_lossy().into();
        let over = CancellationToken::new();
        let folder = folder.to_owned();
        let exports = Self(Arc::new(Inner {
            folder,
            writer,
            position,
            unseal,
            running: Mutex::default(),
            others: Mutex::default(),
            over: over.clone(),
        }));
        tokio::spawn(look_after(Arc::downgrade(&exports.0), over));
        exports
    }

    /// Follows these exports from now on. Those that are as they were go on; others end, and begin anew where they were.
    pub fn apply(&self, wanted: &[ExportSettings]) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *running);
        for settings in wanted {
            let same = before.iter().position(|export| export.settings.name == settings.name);
            let export = match same.map(|nth| before.swap_remove(nth)) {
                Some(export) if export.settings == *settings => export,
                former => self.begin(settings, former),
            };
            running.push(export);
        }
        for export in before {
            export.stop.cancel();
        }
        drop(running);
        // They are found again, for what is wanted now.
        self.0.leave_others();
    }

    fn begin(&self, settings: &ExportSettings, former: Option<Running>) -> Running {
        let inner = &self.0;
        let status = Arc::new(Status::new(settings, &inner.writer));
        let (drain, stop) = (CancellationToken::new(), CancellationToken::new());
        let task = Task {
            folder: inner.folder.clone(),
            writer: Arc::clone(&inner.writer),
            settings: settings.clone(),
            unseal: Arc::clone(&inner.unseal),
            status: Arc::clone(&status),
            position: inner.position.clone(),
            drain: drain.clone(),
            stop: stop.clone(),
        };
        let task = tokio::spawn(async move {
            // Two that write one cursor would undo each other's work.
            if let Some(former) = former {
                former.stop.cancel();
                _ = former.task.await;
            }
            task.run().await;
        });
        Running { settings: settings.clone(), status, drain, stop, task }
    }

    /// How each export does.
    pub fn lines(&self) -> Vec<ExportLine> {
        self.0.statuses().iter().map(|status| status.line()).collect()
    }

    /// The first segment of this writer that some export still needs, by the number of its first entry: retention leaves it and
    /// those after it. None where no export needs any: there is none, or all lie further behind than they may.
    pub fn needs_from(&self) -> Option<u64> {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().filter_map(|export| export.status.needs_from()).min()
    }

    /// Sends what is left, each export for as long as it may, and ends. Nothing more should be written meanwhile.
    pub async fn drain(&self) {
        self.0.leave_others();
        let running = std::mem::take(&mut *self.0.running.lock().unwrap_or_else(PoisonError::into_inner));
        let begin = Instant::now();
        for export in &running {
            export.drain.cancel();
        }
        for Running { settings, stop, mut task, .. } in running {
            if tokio::time::timeout_at(begin + settings.pace.drain, &mut task).await.is_err() {
                stop.cancel();
                _ = task.await;
            }
        }
        self.0.over.cancel();
    }
}

impl Needs for Exports {
    /// Those that lie too far behind are not waited for.
    fn needed_from(&self) -> Option<(u64, Arc<str>)> {
        let lines = self.lines().into_iter().filter(|line| line.writer == self.0.writer && !line.is_behind());
        lines.map(|line| (line.seq + 1, line.name)).min()
    }

    fn needs_of(&self, folder: &Path) -> Option<Arc<str>> {
        let wanted = self.0.wanted();
        wanted.into_iter().find(|settings| others::is_unsent(folder, settings)).map(|settings| settings.name)
    }
}

impl Inner {
    fn statuses(&self) -> Vec<Arc<Status>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let own: Vec<_> = running.iter().map(|export| Arc::clone(&export.status)).collect();
        drop(running);
        own.into_iter().chain(self.others().statuses.iter().cloned()).collect()
    }

    fn wanted(&self) -> Vec<ExportSettings> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|export| export.settings.clone()).collect()
    }

    fn others(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_others(&self) {
        std::mem::take(&mut *self.others()).stop.cancel();
    }

    /// Takes over folders that nobody has, and of which something was not sent.
    async fn take_over(self: Arc<Self>) {
        let wanted = self.wanted();
        let stop = self.others().stop.clone();
        let (own, for_all) = (self.folder.clone(), wanted.clone());
        let left =
            tokio::task::spawn_blocking(move || others::left(&own, &for_all)).await.unwrap_or_default();
        for left in left {
            let (exports, unseal) = (Arc::downgrade(&self), Arc::clone(&self.unseal));
            let (wanted, stop) = (wanted.clone(), stop.clone());
            tokio::spawn(async move {
                let writer = left.writer();
                let tell = |status| {
                    if let Some(inner) = exports.upgrade() {
                        inner.others().statuses.push(status);
                    }
                };
                left.send(wanted, unseal, stop, tell).await;
                if let Some(inner) = exports.upgrade() {
                    inner.others().statuses.retain(|status| status.writer() != &*writer);
                }
            });
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.over.cancel();
        self.leave_others();
        for export in self.running.get_mut().unwrap_or_else(PoisonError::into_inner) {
            export.stop.cancel();
        }
    }
}

/// Measures now and then how far exports lie behind, and looks for what others have left behind.
async fn look_after(exports: Weak<Inner>, over: CancellationToken) {
    let mut next_look = Instant::now();
    loop {
        tokio::select! {
            () = tokio::time::sleep(MEASURE) => {}
            () = over.cancelled() => return,
        }
        let Some(inner) = exports.upgrade() else { return };
        if next_look <= Instant::now() {
            next_look = Instant::now() + LOOK;
            Arc::clone(&inner).take_over().await;
        }
        let all = inner.statuses();
        let root = inner.folder.parent().map(Path::to_owned).unwrap_or_default();
        drop(inner);
        let measured = tokio::task::spawn_blocking(move || {
            for status in all {
                // A folder that cannot be read is what the task itself says.
                _ = status.measure(&root.join(status.writer()));
            }
        });
        _ = measured.await;
    }
}
