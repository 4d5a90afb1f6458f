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
use std::sync::{Arc, Mutex, PoisonError};
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
use crate::{Ledger, Position};

/// How often it is measured how far exports lie behind.
const MEASURE: Duration = Duration::from_secs(1);

/// The exports of one writer. Cheap to clone; all clones are the same. They end with the last one.
#[derive(Debug, Clone)]
pub struct Exports(Arc<Inner>);

struct Inner {
    folder: PathBuf,
    writer: Arc<str>,
    position: watch::Receiver<Position>,
    unseal: Arc<dyn Unseal>,
    running: Mutex<Vec<Running>>,
    /// Ends what measures.
    over: CancellationToken,
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
            over: over.clone(),
        }));
        tokio::spawn(measure(Arc::downgrade(&exports.0), over));
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

    /// Sends what is left, each export for as long as it may, and ends. Nothing more should be written meanwhile.
    pub async fn drain(&self) {
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

impl Inner {
    fn statuses(&self) -> Vec<Arc<Status>> {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.iter().map(|export| Arc::clone(&export.status)).collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.over.cancel();
        for export in self.running.get_mut().unwrap_or_else(PoisonError::into_inner) {
            export.stop.cancel();
        }
    }
}

/// Measures now and then how far exports lie behind.
async fn measure(exports: std::sync::Weak<Inner>, over: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(MEASURE) => {}
            () = over.cancelled() => return,
        }
        let Some(inner) = exports.upgrade() else { return };
        let all = inner.statuses();
        let folder = inner.folder.clone();
        drop(inner);
        let measured = tokio::task::spawn_blocking(move || {
            for status in all {
                // A folder that cannot be read is what the task itself says.
                _ = status.measure(&folder);
            }
        });
        _ = measured.await;
    }
}
