//! Who writes: whoever has an entry, if nobody does, and else the ledger's own thread.
//!
//! An entry is put into the queue. Where entries count as written when the operating system has them, and the disk is well, whoever
//! puts one in and finds nobody writing writes all that is queued, which is one short system call. Everybody else waits for the
//! answer, if at all. The thread writes where entries have to reach the disk, where the disk is slow or fails, and checkpoints. A runtime's thread is held up by a disk that hangs once at most: until the thread has seen that it does.

use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use tokio::sync::{oneshot, watch};
use tollgate_model::Timestamp;

use crate::chain::Chain;
use crate::folder::OwnFolder;
use crate::keys::Keys;
use crate::names::Names;
use crate::prepare::{Prepared, Role};
use crate::{CallId, Durability, Health, LedgerSettings, Position, Receipt, Unrecorded, Work};

/// How many batches somebody writes who came to write one entry. After that the thread does.
const BATCHES_MAX: usize = 4;
/// How many entries that are no outcomes may be queued.
const QUEUE_MAX: usize = 65_536;
/// How many bytes may be queued. Beyond them no entries are taken but outcomes, and of these as little as can be.
const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// After how long a write says that the disk is slow.
const SLOW: Duration = Duration::from_millis(50);
/// After how long without an answer of the disk entries are refused.
const STALLED_MS: u64 = 2000;

/// Writes a chain.
pub(crate) struct Writer {
    pub(crate) own: OwnFolder,
    pub(crate) settings: LedgerSettings,
    pub(crate) keys: Keys,
    pub(crate) names: Names,
    pub(crate) chain: Mutex<Chain>,
    pub(crate) position: watch::Sender<Position>,
    pub(crate) is_closed: watch::Sender<bool>,
    queue: Mutex<Queue>,
    thread: OnceLock<Thread>,
    began: Instant,
    /// Since when a write or a sync is under way, in milliseconds after `began` and one more; 0 if none is.
    pub(crate) writing: AtomicU64,
    pub(crate) syncing: AtomicU64,
    /// The places of outcomes that are taken.
    open: AtomicUsize,
    /// How many there are room for on the disk, as far as that is known.
    pub(crate) room: AtomicUsize,
    pub(crate) numbers: Numbers,
    /// For whom, and since when, what is too old is kept all the same.
    pub(crate) waits: Mutex<Option<(Arc<str>, Timestamp)>>,
}

/// What the writer has done so far.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    pub(crate) entries: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) unsynced: AtomicU64,
    pub(crate) stuck: AtomicU64,
    pub(crate) slow: AtomicU64,
}

/// What waits to be written.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) waiting: Vec<Job>,
    bytes: usize,
    /// How many bytes somebody has taken to write them, and may have to put back.
    taken: usize,
    /// Whether somebody writes.
    pub(crate) is_writing: bool,
    /// Whether the thread is to be the next who does.
    pub(crate) is_wanted: bool,
    /// Whether the thread looks again by itself soon.
    pub(crate) is_watched: bool,
    /// Whether those who have an entry may write it themselves.
    pub(crate) is_open_to_all: bool,
    /// When the disk was last slow.
    pub(crate) slow_at: Option<Instant>,
    pub(crate) down: Option<Down>,
    /// Why, and since when, no new segment can begin although one is due.
    pub(crate) stuck: Option<Down>,
    /// What the disk may not have, which no entry says yet.
    pub(crate) unsure: Option<Unsure>,
    /// How many entries could not be written that nobody has said yet.
    pub(crate) lost: u64,
    pub(crate) lost_since: Option<Timestamp>,
    /// How many calls were carried out without a record that nobody has said yet.
    pub(crate) passed_by: u64,
    pub(crate) end: End,
    /// How far the chain has come.
    pub(crate) at: Position,
    /// Whether a new segment is due.
    pub(crate) is_full: bool,
}

/// Why, and since when, nothing can be written.
#[derive(Debug, Clone)]
pub(crate) struct Down {
    pub(crate) reason: Arc<str>,
    pub(crate) since: Timestamp,
}

/// Entries that the operating system had, and the disk did not take: they may be gone with the power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unsure {
    /// The number of the first.
    pub(crate) first: u64,
    /// The number of the last.
    pub(crate) last: u64,
    pub(crate) since: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    No,
    Asked,
    Done,
}

/// An entry that waits.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) prepared: Prepared,
    pub(crate) answer: Answer,
    /// The place of the outcome, which is given back when it is written.
    pub(crate) place: Option<Place>,
}

/// Who waits for it.
#[derive(Debug)]
pub(crate) enum Answer {
    Nobody,
    Plain(oneshot::Sender<Result<(), Unrecorded>>),
    /// Whoever gives the call up is the reason why its receipt is never used.
    Intent(oneshot::Sender<Result<Receipt, Unrecorded>>, CallId, u32),
}

/// How somebody who has an entry waits.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wait {
    /// Not at all.
    No,
    Plain,
    Intent(CallId, u32),
}

/// What has become of an entry.
#[derive(Debug)]
pub(crate) enum Submitted {
    /// It is written, or will be without anybody waiting.
    Done,
    Intent(Receipt),
    Plain(oneshot::Receiver<Result<(), Unrecorded>>),
    SoonIntent(oneshot::Receiver<Result<Receipt, Unrecorded>>),
}

/// The place of an outcome.
#[derive(Debug)]
pub(crate) struct Place(Arc<Writer>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Place {
    /// Whose it is.
    pub(crate) fn writer(&self) -> &Arc<Writer> {
        &self.0
    }
}

impl Job {
    /// Whether it has to be written, however long that takes.
    pub(crate) fn is_vital(&self) -> bool {
        matches!(self.prepared.role, Role::Outcome(_) | Role::Lasting)
    }

    /// Whether nobody wants it any more: an intent whose call was given up before it was written.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(&self.answer, Answer::Intent(sender, ..) if sender.is_closed())
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Writer {
    pub(crate) fn new(own: OwnFolder, settings: LedgerSettings, keys: Keys, chain: Chain) -> Self {
        let at = chain.at();
        let queue = Queue {
            waiting: Vec::new(),
            bytes: 0,
            taken: 0,
            is_writing: false,
            is_wanted: false,
            is_watched: false,
            is_open_to_all: false,
            slow_at: None,
            down: None,
            stuck: None,
            unsure: None,
            lost: 0,
            lost_since: None,
            passed_by: 0,
            end: End::No,
            at,
            is_full: true,
        };
        Self {
            own,
            settings,
            keys,
            names: Names::default(),
            chain: Mutex::new(chain),
            position: watch::Sender::new(at),
            is_closed: watch::Sender::new(false),
            queue: Mutex::new(queue),
            thread: OnceLock::new(),
            began: Instant::now(),
            writing: AtomicU64::new(0),
            syncing: AtomicU64::new(0),
            open: AtomicUsize::new(0),
            room: AtomicUsize::new(usize::MAX),
            numbers: Numbers::default(),
            waits: Mutex::default(),
        }
    }

    pub(crate) fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn runs_on(&self, thread: Thread) {
        _ = self.thread.set(thread);
    }

    pub(crate) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    pub(crate) fn is_power(&self) -> bool {
        self.settings.durability == Durability::Power
    }

    /// Takes a place for an outcome.
    pub(crate) fn place(self: &Arc<Self>) -> Result<Place, Unrecorded> {
        let taken = self.open.fetch_add(1, Ordering::Relaxed);
        // Given back by its end, also where it is one too many.
        let place = Place(Arc::clone(self));
        if taken >= self.settings.open_max {
            return Err(Unrecorded { reason: "as many calls are under way as may be".into() });
        }
        if taken >= self.room.load(Ordering::Relaxed) {
            return Err(Unrecorded { reason: "the disk has no room for more outcomes".into() });
        }
        Ok(place)
    }

    /// How many outcomes may come yet.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Puts an entry into the queue, and writes it if that is for the caller to do.
    ///
    /// # Errors
    /// If it cannot be written now. Outcomes are kept until they can, or there is an end.
    pub(crate) fn submit(
        self: &Arc<Self>,
        prepared: Prepared,
        place: Option<Place>,
        wait: Wait,
    ) -> Result<Submitted, Unrecorded> {
        let mut job = Job { prepared, answer: Answer::Nobody, place };
        let mut queue = self.queue();
        if queue.end == End::Done {
            return Err(Unrecorded { reason: "the ledger is closed".into() });
        }
        if !job.is_vital()
            && let Some(reason) = self.refusal(&queue)
        {
            queue.lose(1);
            self.numbers.lost.fetch_add(1, Ordering::Relaxed);
            return Err(Unrecorded { reason });
        }
        if queue.may_be_written_by_all() {
            queue.is_writing = true;
            let jobs = queue.take();
            drop(queue);
            return self.lead(jobs, job, wait);
        }
        if queue.held() >= QUEUE_BYTES_MAX {
            job.prepared.shed();
        }
        let submitted = queue.push(job, wait);
        let wakes = !queue.is_writing && (!queue.is_watched || !queue.is_open_to_all);
        queue.is_watched |= wakes;
        drop(queue);
        // Who writes now takes it too.
        if wakes {
            self.wake();
        }
        Ok(submitted)
    }

    /// Why an entry that is no outcome is not taken.
    fn refusal(&self, queue: &Queue) -> Option<Arc<str>> {
        if let Some(down) = &queue.down {
            return Some(Arc::clone(&down.reason));
        }
        if queue.waiting.len() >= QUEUE_MAX || queue.held() >= QUEUE_BYTES_MAX {
            return Some("more waits to be written than may".into());
        }
        self.stalled().map(|stalled| format!("the disk has not answered for {} s", stalled.as_secs()).into())
    }

    /// For how long the disk has not answered, if that is too long.
    pub(crate) fn stalled(&self) -> Option<Duration> {
        let since = self.writing.load(Ordering::Relaxed);
        let stalled = if since == 0 { 0 } else { self.ms().saturating_sub(since) };
        (stalled >= STALLED_MS).then(|| Duration::from_millis(stalled))
    }

    /// Milliseconds since the writer began, and one more.
    pub(crate) fn ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Writes these entries, and behind them the one that it came to write, until nothing waits, but not for ever.
    fn lead(self: &Arc<Self>, mut jobs: Vec<Job>, job: Job, wait: Wait) -> Result<Submitted, Unrecorded> {
        let mut own = Ok(Submitted::Done);
        let mut job = Some(job);
        for batch in 0..BATCHES_MAX {
            let mine = job.take();
            jobs.retain(|job| !job.is_idle());
            let mut chain = self.chain();
            let written = self.write(&mut chain, &jobs, mine.as_ref());
            let (at, is_full) = (chain.at(), self.is_full(&chain));
            drop(chain);
            match written {
                Ok(first) => {
                    let last = first + jobs.len() as u64;
                    Self::settle(&mut jobs, first);
                    if let Some(mine) = mine {
                        own = Ok(Self::written(mine, wait, last));
                    }
                }
                Err(error) => {
                    if let Some(mine) = mine {
                        own = self.put_back(&error, &mut jobs, mine, wait);
                    } else {
                        self.fail(&error, &mut jobs);
                    }
                }
            }
            let mut queue = self.queue();
            (queue.at, queue.is_full) = (at, is_full);
            let goes_on = !queue.waiting.is_empty() && !queue.is_wanted && queue.is_open_to_all;
            if !goes_on || batch + 1 == BATCHES_MAX {
                queue.is_written();
                let wakes = !queue.is_watched || queue.is_wanted || !queue.waiting.is_empty();
                queue.is_watched = true;
                drop(queue);
                if wakes {
                    self.wake();
                }
                break;
            }
            // What was there is kept to be filled again.
            std::mem::swap(&mut jobs, &mut queue.waiting);
            queue.taken = std::mem::take(&mut queue.bytes);
        }
        own
    }

    /// Whether a new segment is due.
    pub(crate) fn is_full(&self, chain: &Chain) -> bool {
        chain.is_full(self.settings.segment_bytes_max, self.settings.segment_age_max)
    }

    /// Writes entries, and watches how long that takes. Gives the number of the first.
    pub(crate) fn write(&self, chain: &mut Chain, jobs: &[Job], last: Option<&Job>) -> io::Result<u64> {
        if jobs.is_empty() && last.is_none() {
            return Ok(chain.at().seq + 1);
        }
        self.writing.store(self.ms(), Ordering::Relaxed);
        let began = Instant::now();
        let written = chain.append(jobs.iter().chain(last).map(|job| &job.prepared));
        let took = began.elapsed();
        self.writing.store(0, Ordering::Relaxed);
        let count = (jobs.len() + usize::from(last.is_some())) as u64;
        match &written {
            Ok(_) => {
                self.numbers.entries.fetch_add(count, Ordering::Relaxed);
                self.numbers.batches.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => _ = self.numbers.failures.fetch_add(1, Ordering::Relaxed),
        }
        if took >= SLOW && !self.is_power() {
            self.numbers.slow.fetch_add(1, Ordering::Relaxed);
            let mut queue = self.queue();
            queue.slow_at = Some(Instant::now());
            queue.is_open_to_all = false;
        }
        written
    }

    /// Tells those who wait that their entries are written. The first has this number.
    pub(crate) fn settle(jobs: &mut Vec<Job>, first: u64) {
        for (seq, job) in (first..).zip(jobs.drain(..)) {
            match job.answer {
                Answer::Nobody => {}
                // Who does not wait any more has its answer in the ledger.
                Answer::Plain(sender) => _ = sender.send(Ok(())),
                Answer::Intent(sender, call, step) => {
                    let receipt = job.place.map(|place| Receipt::new(place, call, step, seq));
                    if let Some(receipt) = receipt {
                        // One that comes back is dropped, and its call closed.
                        _ = sender.send(Ok(receipt));
                    }
                }
            }
        }
    }

    fn written(job: Job, wait: Wait, seq: u64) -> Submitted {
        match (wait, job.place) {
            (Wait::Intent(call, step), Some(place)) => {
                Submitted::Intent(Receipt::new(place, call, step, seq))
            }
            _ => Submitted::Done,
        }
    }

    /// Nothing can be written: outcomes wait on, and whoever waits for anything else is told.
    pub(crate) fn fail(self: &Arc<Self>, error: &io::Error, jobs: &mut Vec<Job>) {
        let reason: Arc<str> = error.to_string().into();
        let (mut vital, others): (Vec<_>, Vec<_>) = jobs.drain(..).partition(Job::is_vital);
        let lost = others.len() as u64;
        {
            let mut queue = self.queue();
            // Who comes without any has taken none.
            if lost > 0 || !vital.is_empty() {
                queue.taken = 0;
            }
            for job in &mut vital {
                if queue.held() >= QUEUE_BYTES_MAX {
                    job.prepared.shed();
                }
                queue.bytes += job.prepared.bytes();
            }
            queue.waiting.splice(0..0, vital);
            queue.lose(lost);
            queue.is_open_to_all = false;
            if queue.down.is_none() {
                tollgate_telemetry::events::LedgerDown { reason: &reason }.emit();
                queue.down = Some(Down { reason: Arc::clone(&reason), since: Timestamp::now() });
            }
        }
        self.numbers.lost.fetch_add(lost, Ordering::Relaxed);
        for job in others {
            let unrecorded = Unrecorded { reason: Arc::clone(&reason) };
            match job.answer {
                Answer::Nobody => {}
                Answer::Plain(sender) => _ = sender.send(Err(unrecorded)),
                Answer::Intent(sender, ..) => _ = sender.send(Err(unrecorded)),
            }
        }
    }

    /// The disk did not take entries that the operating system had.
    pub(crate) fn is_unsure(self: &Arc<Self>, first: u64, last: u64, error: &io::Error) {
        let reason = error.to_string();
        tollgate_telemetry::events::LedgerUnsynced { reason: &reason, first_seq: first, last_seq: last }
            .emit();
        self.numbers.unsynced.fetch_add(1, Ordering::Relaxed);
        {
            let mut queue = self.queue();
            let before = queue.unsure;
            let first = before.map_or(first, |before| before.first.min(first));
            let since = before.map_or_else(Timestamp::now, |before| before.since);
            queue.unsure = Some(Unsure { first, last, since });
        }
        self.fail(error, &mut Vec::new());
    }

    /// As [`Self::fail`], for who wrote it: an outcome waits on, and who came with it too.
    fn put_back(
        self: &Arc<Self>,
        error: &io::Error,
        jobs: &mut Vec<Job>,
        mut mine: Job,
        wait: Wait,
    ) -> Result<Submitted, Unrecorded> {
        let is_vital = mine.is_vital();
        let submitted = mine.waits(wait);
        jobs.push(mine);
        self.fail(error, jobs);
        if is_vital { Ok(submitted) } else { Err(Unrecorded { reason: error.to_string().into() }) }
    }
}

impl Job {
    /// Has somebody wait for it.
    fn waits(&mut self, wait: Wait) -> Submitted {
        match wait {
            Wait::No => Submitted::Done,
            Wait::Plain => {
                let (sender, receiver) = oneshot::channel();
                self.answer = Answer::Plain(sender);
                Submitted::Plain(receiver)
            }
            Wait::Intent(call, step) => {
                let (sender, receiver) = oneshot::channel();
                self.answer = Answer::Intent(sender, call, step);
                Submitted::SoonIntent(receiver)
            }
        }
    }
}

impl Queue {
    /// Whether who has an entry may write it.
    fn may_be_written_by_all(&self) -> bool {
        !self.is_writing && !self.is_wanted && self.is_open_to_all && self.end == End::No
    }

    /// Puts a job at the end.
    pub(crate) fn push(&mut self, mut job: Job, wait: Wait) -> Submitted {
        let submitted = job.waits(wait);
        self.bytes += job.prepared.bytes();
        self.waiting.push(job);
        submitted
    }

    /// Whether a new segment is due.
    pub(crate) fn wants_segment(&self) -> bool {
        self.is_full || self.unsure.is_some()
    }

    /// Takes all that waits.
    pub(crate) fn take(&mut self) -> Vec<Job> {
        self.taken = std::mem::take(&mut self.bytes);
        std::mem::take(&mut self.waiting)
    }

    /// How many bytes wait, or are being written.
    fn held(&self) -> usize {
        self.bytes + self.taken
    }

    /// Whoever wrote has done so.
    pub(crate) fn is_written(&mut self) {
        (self.is_writing, self.taken) = (false, 0);
    }

    /// Whether there is something to say of what is missing.
    pub(crate) fn has_gap(&self) -> bool {
        self.lost > 0 || self.passed_by > 0
    }

    /// Counts a call that was carried out without a record.
    pub(crate) fn pass_by(&mut self) {
        self.passed_by += 1;
        self.lost_since.get_or_insert_with(Timestamp::now);
    }

    /// Counts what could not be written.
    pub(crate) fn lose(&mut self, count: u64) {
        if count > 0 {
            self.lost += count;
            self.lost_since.get_or_insert_with(Timestamp::now);
        }
    }
}

/// How it does.
impl Writer {
    /// Asks it to end in good order.
    pub(crate) fn end(&self) {
        let mut queue = self.queue();
        if queue.end == End::No {
            queue.end = End::Asked;
        }
        drop(queue);
        self.wake();
    }

    pub(crate) fn work(&self) -> Work {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let Numbers { entries, batches, lost, failures, unsynced, stuck, slow } = &self.numbers;
        Work {
            entries: load(entries),
            writes: load(batches),
            lost: load(lost),
            failures: load(failures),
            unsynced: load(unsynced),
            stuck: load(stuck),
            slow: load(slow),
            open: self.open() as u64,
            waiting_bytes: self.queue().held() as u64,
        }
    }

    /// Why, and since when, no new segment can begin although one is due.
    pub(crate) fn stuck(&self) -> Option<(Arc<str>, Timestamp)> {
        self.queue().stuck.clone().map(|Down { reason, since }| (reason, since))
    }

    pub(crate) fn health(&self) -> Health {
        if let Some(Down { reason, since }) = self.queue().down.clone() {
            return Health::Down { reason, since };
        }
        match self.stalled() {
            None => Health::Up,
            Some(stalled) => {
                let since = Timestamp::from_ms(
                    Timestamp::now()
                        .as_ms()
                        .saturating_sub(u64::try_from(stalled.as_millis()).unwrap_or(u64::MAX)),
                );
                Health::Down { reason: "the disk does not answer".into(), since }
            }
        }
    }
}
