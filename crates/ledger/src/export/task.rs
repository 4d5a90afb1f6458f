//! The task of an export: reads on, sends, remembers.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tollgate_telemetry::events::{ExportDamaged, ExportLost, ExportRepeats, ExportStub, ExportUnwanted};

use super::backoff::Backoff;
use super::cursor::{Cursor, CursorFile, Place};
use super::feed::{Damaged, Feed, Gathered};
use super::names::Unseal;
use super::record::Record;
use super::settings::ExportSettings;
use super::status::Status;
use super::target::{self, Batch, Failure, Sent, Target, Unfit};
use crate::Position;

/// After how many tries an entry that the receiver does not take is sent as a stub.
const TRIES_BEFORE_STUB: u32 = 5;

/// The task is told to stop.
#[derive(Debug)]
pub(super) struct Stopped;

/// What follows one writer's segments for one export.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) folder: PathBuf,
    pub(super) writer: Arc<str>,
    pub(super) settings: ExportSettings,
    pub(super) unseal: Arc<dyn Unseal>,
    pub(super) status: Arc<Status>,
    /// How far the writer has come.
    pub(super) position: watch::Receiver<Position>,
    /// To end when everything is sent.
    pub(super) drain: CancellationToken,
    /// To end at once.
    pub(super) stop: CancellationToken,
}

/// What is known of what was received.
struct Progress {
    file: CursorFile,
    /// As it should be on disk.
    cursor: Cursor,
    /// As it is.
    written: Cursor,
    /// The number up to which entries may have been received.
    unclear_to: u64,
}

impl Task {
    /// Follows until it is told to stop.
    pub(super) async fn run(mut self) {
        let stop = self.stop.clone();
        let Ok(mut progress) = self.begin().await else { return };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = self.follow(&mut progress) => {}
        }
        // What was received is not sent again, and what was under way is marked when it is.
        if let Err(error) = progress.write(&self.status).await {
            self.failed(format!("its cursor cannot be written: {error}"));
        }
    }

    async fn begin(&mut self) -> Result<Progress, Stopped> {
        let mut backoff = Backoff::new(&self.settings.pace);
        let file = CursorFile::new(&self.folder, &self.settings.name);
        loop {
            let from = file.clone();
            match blocking(move || from.read()).await {
                Ok(cursor) => {
                    self.status.advance(cursor.done);
                    self.status.wrote(cursor.done.segment);
                    return Ok(Progress { file, cursor, written: cursor, unclear_to: cursor.sent_to });
                }
                Err(error) => self.failed(format!("its cursor cannot be read: {error}")),
            }
            self.pause(&mut backoff, None).await?;
        }
    }

    async fn follow(&mut self, progress: &mut Progress) -> Result<(), Stopped> {
        let mut target = self.open().await?;
        let mut backoff = Backoff::new(&self.settings.pace);
        let mut feed = Some(self.feed(progress.cursor.done));
        loop {
            let upto = self.position.borrow_and_update().seq;
            let (back, gathered) =
                gather(feed.take().unwrap_or_else(|| self.feed(progress.cursor.done)), upto).await;
            feed = back;
            let gathered = match gathered {
                Ok(gathered) => gathered,
                Err(reason) => {
                    self.failed(reason);
                    self.pause(&mut backoff, None).await?;
                    continue;
                }
            };
            self.tell(&gathered, progress);
            let Gathered { records, to, is_all, .. } = gathered;
            self.deliver(&mut *target, progress, records, to).await?;
            if is_all {
                if let Err(error) = progress.write(&self.status).await {
                    self.failed(format!("its cursor cannot be written: {error}"));
                    self.pause(&mut backoff, None).await?;
                    continue;
                }
                self.status.received(0, 0);
                if self.drain.is_cancelled() && !self.position.has_changed().unwrap_or(false) {
                    return Ok(());
                }
                self.news().await;
            }
            backoff.reset();
        }
    }

    /// Sends everything of a batch, however long that takes.
    async fn deliver(
        &mut self,
        target: &mut dyn Target,
        progress: &mut Progress,
        mut records: Vec<Record>,
        to: Place,
    ) -> Result<(), Stopped> {
        let mut backoff = Backoff::new(&self.settings.pace);
        let (mut done, mut together) = (0, records.len());
        // How often the receiver did not take the next entry, which was alone.
        let mut refused = 0;
        // What takes the place of the next entry, and why.
        let mut stub: Option<(Record, Unfit)> = None;
        while done < records.len() {
            let part = match &stub {
                Some((stub, _)) => std::slice::from_ref(stub),
                None => &records[done..records.len().min(done + together)],
            };
            let last = part[part.len() - 1].place;
            // On disk before it is sent: whoever comes after a crash knows what may have been received.
            let sent_before = progress.cursor.sent_to;
            progress.cursor.sent_to = sent_before.max(last.seq);
            if let Err(error) = progress.write(&self.status).await {
                self.failed(format!("its cursor cannot be written: {error}"));
                self.pause(&mut backoff, None).await?;
                continue;
            }
            let batch = Batch { writer: &self.writer, records: part, sent_to: progress.unclear_to };
            let again = part.iter().filter(|record| batch.is_again(record)).count();
            match self.send(target, &batch).await {
                Ok(Sent { unwanted, again: earlier }) => {
                    if unwanted > 0 {
                        self.status.missed(unwanted);
                        ExportUnwanted { export: &self.settings.name, entries: unwanted }.emit();
                    }
                    if let Some((_, unfit)) = &stub {
                        self.status.missed(1);
                        let export = &self.settings.name;
                        ExportStub { export, seq: last.seq, reason: unfit.why() }.emit();
                    }
                    self.status.received(part.len() + earlier, again + earlier);
                    done += part.len();
                    (refused, stub) = (0, None);
                    progress.cursor.done = if done == records.len() { to } else { last };
                    self.status.advance(progress.cursor.done);
                    together = together.saturating_mul(2);
                    backoff.reset();
                }
                Err(failure) => {
                    if failure.is_unclear {
                        progress.unclear_to = progress.unclear_to.max(last.seq);
                    } else {
                        progress.cursor.sent_to = sent_before;
                    }
                    if failure.unfit.is_some() && part.len() > 1 {
                        together = part.len() / 2;
                        continue;
                    }
                    if failure.unfit == Some(Unfit::TooLarge) && records[done].cut() {
                        continue;
                    }
                    // A receiver that does not take the stub either takes nothing: the entry is kept for it.
                    let was_stub = stub.take().is_some();
                    if let Some(unfit) = failure.unfit.filter(|_| !was_stub) {
                        refused += 1;
                        if refused % TRIES_BEFORE_STUB == 0 {
                            stub = Some((records[done].stub(unfit.why()), unfit));
                            continue;
                        }
                    }
                    self.failed(failure.reason);
                    self.pause(&mut backoff, failure.after).await?;
                }
            }
        }
        progress.cursor.done = to;
        self.status.advance(to);
        Ok(())
    }

    /// One try, bounded in time whatever the target does.
    async fn send(&self, target: &mut dyn Target, batch: &Batch<'_>) -> Result<Sent, Failure> {
        let bound = self.settings.pace.timeout.saturating_mul(2);
        match tokio::time::timeout(bound, target.send(batch)).await {
            Ok(sent) => sent,
            Err(_) => Err(Failure::unclear("the receiver did not take everything in time")),
        }
    }

    async fn open(&mut self) -> Result<Box<dyn Target>, Stopped> {
        let mut backoff = Backoff::new(&self.settings.pace);
        loop {
            match target::open(&self.settings) {
                Ok(target) => return Ok(target),
                Err(reason) => self.failed(reason),
            }
            self.pause(&mut backoff, None).await?;
        }
    }

    fn feed(&self, at: Place) -> Box<Feed> {
        Box::new(Feed::new(&self.folder, &self.settings, &self.unseal, at))
    }

    fn failed(&self, reason: String) {
        self.status.failed(reason);
    }

    fn tell(&self, gathered: &Gathered, progress: &mut Progress) {
        let export = &*self.settings.name;
        for Damaged { path, offset } in &gathered.damaged {
            ExportDamaged { export, path, offset: *offset }.emit();
        }
        for lost in &gathered.lost {
            self.status.missed(lost.last - lost.first + 1);
            ExportLost { export, first_seq: lost.first, last_seq: lost.last }.emit();
        }
        if let Some(first_seq) = gathered.repeats_from {
            ExportRepeats { export, first_seq }.emit();
            let Cursor { done, sent_to } = progress.cursor;
            progress.unclear_to = progress.unclear_to.max(sent_to).max(done.seq);
        }
    }

    /// Waits until there is something new, and then for as long as a batch waits for more.
    async fn news(&mut self) {
        tokio::select! {
            changed = self.position.changed() => if changed.is_err() {
                // The writer is gone: there is nothing to wait for but the word to end.
                self.drain.cancelled().await;
            },
            () = self.drain.cancelled() => return,
        }
        tokio::select! {
            () = tokio::time::sleep(self.settings.pace.batch_wait) => {}
            () = self.drain.cancelled() => {}
        }
    }

    async fn pause(&self, backoff: &mut Backoff, asked: Option<Duration>) -> Result<(), Stopped> {
        tokio::select! {
            () = tokio::time::sleep(backoff.next(asked)) => Ok(()),
            () = self.stop.cancelled() => Err(Stopped),
        }
    }
}

impl Progress {
    /// Writes the cursor, if it is another.
    async fn write(&mut self, status: &Status) -> std::io::Result<()> {
        if self.cursor == self.written {
            return Ok(());
        }
        let (file, cursor) = (self.file.clone(), self.cursor);
        blocking(move || file.write(&cursor)).await?;
        self.written = cursor;
        status.wrote(cursor.done.segment);
        Ok(())
    }
}

async fn gather(mut feed: Box<Feed>, upto: u64) -> (Option<Box<Feed>>, Result<Gathered, String>) {
    let gathered = tokio::task::spawn_blocking(move || {
        let gathered = feed.gather(upto).map_err(|error| error.to_string());
        (feed, gathered)
    });
    match gathered.await {
        Ok((feed, gathered)) => (Some(feed), gathered),
        Err(error) => (None, Err(error.to_string())),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(std::io::Error::other(error)),
    }
}
