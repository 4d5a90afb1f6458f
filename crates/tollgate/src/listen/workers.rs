//! The threads that serve connections: one runtime each, and a connection stays on its own.
//!
//! A call through the gateway is little work. On a runtime whose threads share their tasks, waking another thread to
//! take some of it costs more than the work itself; here nobody is woken but who has something to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The threads. Dropping them ends what runs on them.
#[derive(Debug)]
pub(crate) struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Workers {
    /// Starts as many threads as the machine runs at once.
    ///
    /// # Errors
    /// Whatever the operating system says, as when there may be no more threads.
    pub(crate) fn start() -> std::io::Result<Arc<Self>> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let mut workers = Self { handles: Vec::new(), next: AtomicUsize::new(0), threads: Vec::new() };
        for place in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let (end, ended) = oneshot::channel::<()>();
            let thread = std::thread::Builder::new().name(format!("serve-{place}")).spawn(move || {
                runtime.block_on(beat_until(ended));
                runtime.shutdown_background();
            })?;
            workers.threads.push((end, thread));
        }
        Ok(Arc::new(workers))
    }

    /// The thread for the next connection: each in turn.
    pub(crate) fn next(&self) -> &Handle {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len();
        &self.handles[place]
    }
}

/// Waits, with a timer that is always due soon. tokio wakes a runtime (a system call, and a turn for nothing) whenever
/// a timer is set that is due before all others; so the timers of a call, which are due later than a beat, never do.
async fn beat_until(ended: oneshot::Receiver<()>) {
    const BEAT: Duration = Duration::from_secs(1);
    let beats = async {
        let mut beat = tokio::time::interval(BEAT);
        loop {
            beat.tick().await;
        }
    };
    tokio::select! {
        // The sender is dropped, never used: either way it is time to end.
        _ = ended => {}
        () = beats => {}
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for (end, thread) in self.threads.drain(..) {
            drop(end);
            // A thread that panicked has nothing left to end.
            let _ = thread.join();
        }
    }
}
