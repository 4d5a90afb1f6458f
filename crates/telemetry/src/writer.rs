//! The thread that writes log lines. A pipe that nobody reads must not stop the gateway, so lines wait in a bounded
//! queue and are counted and dropped when it is full.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

/// The most log lines that wait to be written.
const LINES_MAX: usize = 4096;
/// How long the end of the process waits for lines still in the queue.
const FLUSH_MS_MAX: u64 = 1000;

static DROPPED: AtomicU64 = AtomicU64::new(0);

enum Job {
    Line(String),
    Flush(SyncSender<()>),
}

/// The sending half, owned by the subscriber.
#[derive(Clone)]
pub(crate) struct LineWriter(SyncSender<Job>);

impl LineWriter {
    /// Starts the thread.
    pub(crate) fn start(out: impl Write + Send + 'static) -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel(LINES_MAX);
        std::thread::Builder::new().name("log".to_owned()).spawn(move || write_all(&jobs, out))?;
        Ok(Self(sender))
    }

    /// Hands one line over, which ends in a line feed. Never waits.
    pub(crate) fn line(&self, line: String) {
        if let Err(TrySendError::Full(_)) = self.0.try_send(Job::Line(line)) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// How many log lines were dropped since the process started, because nobody read them fast enough.
pub(crate) fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

fn write_all(jobs: &Receiver<Job>, mut out: impl Write) {
    while let Ok(job) = jobs.recv() {
        // There is nobody to tell when the log itself cannot be written.
        match job {
            Job::Line(line) => {
                let _ = out.write_all(line.as_bytes());
            }
            Job::Flush(done) => {
                let _ = out.flush();
                let _ = done.try_send(());
            }
        }
    }
}

/// Waits on drop, for at most a second, until what was logged is written.
#[must_use = "dropping it at once writes nothing that is logged later"]
pub struct LogGuard(pub(crate) LineWriter);

impl Drop for LogGuard {
    fn drop(&mut self) {
        let (done, written) = sync_channel(1);
        if self.0.0.try_send(Job::Flush(done)).is_ok() {
            let _ = written.recv_timeout(Duration::from_millis(FLUSH_MS_MAX));
        }
    }
}
