//! What every part of one server's machinery needs: settings, counters, status, events.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tollgate_mcp::{Limits, Message, Segments};
use tollgate_model::{Revision, ServerId};
use tollgate_telemetry::events::{ServerDown, ServerUp};

use crate::appetite::Greed;
use crate::event::{NoPlace, Question, Source, Waiting};
use crate::hello;
use crate::{Bulkhead, Counters, EventKind, Reach, RetryBudget, ServerEvent, ServerSettings, UpstreamError};

/// Into how many shares the queue of events is divided: one server may fill one of them.
const SHARES: usize = 8;
/// The least share.
const SHARE_MIN: usize = 64;

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// [`Counters`], while they are counted.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) starts: Counter,
    pub(crate) restarts: Counter,
    pub(crate) start_failures: Counter,
    pub(crate) protocol_errors: Counter,
    pub(crate) messages_dropped: Counter,
    pub(crate) stderr_lines_dropped: Counter,
    pub(crate) evictions: Counter,
}

/// What is known of a server's era. It may be forgotten at any time; it is found again when it is next needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EraFact {
    Unknown,
    Modern,
    /// `server/discover` found no modern server; over HTTP, Streamable HTTP is tried first.
    Legacy,
    /// The same, and HTTP+SSE is what it speaks.
    LegacySse,
}

/// How many answers to one server's own requests beside all calls may be on their way at once.
const ASIDES_MAX: usize = 32;
/// How many questions beside all calls one session or process may have open.
pub(crate) const ASKED_MAX: usize = 32;

/// The number of the next server.
static NUMBERS: AtomicU64 = AtomicU64::new(1);

/// Shared by all instances of one server.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: ServerId,
    /// No two servers of this process have the same, also where one takes the other's place under its name.
    pub(crate) number: u64,
    pub(crate) settings: Arc<ServerSettings>,
    pub(crate) counters: Tally,
    events: mpsc::Sender<ServerEvent>,
    /// Those of this server that nobody has taken yet.
    waiting: Arc<Waiting>,
    reach: Mutex<Reach>,
    era: Mutex<EraFact>,
    /// Tasks that bring a server the gateway's own answers, such as to a ping.
    asides: Arc<Semaphore>,
    /// How many of its processes say more than can be read at once.
    pub(crate) greed: Arc<Greed>,
    /// Whether a request of the server's own was seen that names no call.
    asks: AtomicBool,
    /// Whether `reach` says anything but up: spares every call the lock.
    not_up: AtomicBool,
    born: Instant,
    pub(crate) retries: RetryBudget,
    pub(crate) bulkhead: Bulkhead,
}

impl Shared {
    pub(crate) fn new(settings: Arc<ServerSettings>, events: mpsc::Sender<ServerEvent>) -> Self {
        Self {
            id: settings.id(),
            retries: RetryBudget::new(&settings.retries),
            bulkhead: Bulkhead::new(&settings),
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            settings,
            counters: Tally::default(),
            events,
            waiting: Arc::default(),
            reach: Mutex::new(Reach::Unknown),
            era: Mutex::new(EraFact::Unknown),
            asides: Arc::new(Semaphore::new(ASIDES_MAX)),
            greed: Arc::default(),
            asks: AtomicBool::new(false),
            not_up: AtomicBool::new(true),
            born: Instant::now(),
        }
    }

    pub(crate) fn message_limits(&self) -> Limits {
        let limits = &self.settings.limits;
        Limits { depth_max: limits.message_depth_max, bytes_max: limits.message_bytes_max }
    }

    /// Milliseconds since this was made: a clock that fits into an atomic.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The server asked something on a stream that all calls share.
    pub(crate) fn has_asked(&self) {
        self.asks.store(true, Ordering::Relaxed);
    }

    /// Whether the server has been seen to ask anything on a stream that all calls share.
    pub(crate) fn asks(&self) -> bool {
        self.asks.load(Ordering::Relaxed)
    }

    pub(crate) fn era(&self) -> EraFact {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn learn_era(&self, era: EraFact) {
        *self.era.lock().unwrap_or_else(PoisonError::into_inner) = era;
    }

    /// What was believed of the era does not fit any more.
    pub(crate) fn forget_era(&self, why: &str) {
        tracing::info!(server = %self.id.label(), why, "the server's era is probed again");
        self.learn_era(EraFact::Unknown);
    }

    /// A call was answered.
    pub(crate) fn seen_up(&self, revision: Revision) {
        if self.not_up.load(Ordering::Relaxed) {
            self.is_up(revision);
        }
    }

    pub(crate) fn is_up(&self, revision: Revision) {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let era = revision.era();
        self.not_up.store(false, Ordering::Relaxed);
        if !matches!(&*reach, Reach::Up { revision: known, .. } if *known == revision) {
            ServerUp { server: &self.id, revision }.emit();
            *reach = Reach::Up { era, revision, since: SystemTime::now() };
        }
    }

    pub(crate) fn is_down(&self, error: &UpstreamError) {
        let now = SystemTime::now();
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        self.not_up.store(true, Ordering::Relaxed);
        let since = match &*reach {
            Reach::Down { since, .. } => *since,
            _ => now,
        };
        if !matches!(&*reach, Reach::Down { .. }) {
            ServerDown { server: &self.id, reason: &error.to_string() }.emit();
        }
        *reach = Reach::Down { code: error.code(), reason: error.public(), since, retry_at: None };
    }

    pub(crate) fn reach(&self) -> Reach {
        self.reach.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server sent something it should not have. The first of a kind of trouble is worth a warning, a flood of
    /// them is not: every power of two is logged.
    pub(crate) fn protocol_error(&self, what: &'static str, failed_a_call: bool) {
        let count = self.counters.protocol_errors.add() + 1;
        if count.is_power_of_two() {
            tracing::warn!(server = %self.id.label(), what, failed_a_call, count, "the server sent what is not MCP");
        }
    }

    /// Tells whom it concerns. If nobody keeps up, an event is lost: whoever lists again sees the change.
    pub(crate) fn event(&self, kind: EventKind, source: &Source) {
        // What a server may say as often as it likes leaves room for what must not be missed.
        let (all, left) = (self.events.max_capacity(), self.events.capacity());
        let droppable = matches!(kind, EventKind::Notification(_));
        let share = (all / SHARES).max(SHARE_MIN);
        let place = match self.waiting.enter(&kind, &source.origin, if droppable { share / 2 } else { share })
        {
            Ok(place) if !droppable || left >= all / 2 => place,
            Err(NoPlace::Known) => return,
            Ok(_) | Err(NoPlace::Full) => {
                self.counters.messages_dropped.add();
                return;
            }
        };
        let event = ServerEvent {
            server: self.id.clone(),
            audience: source.audience.clone(),
            origin: source.origin.clone(),
            kind,
            place,
        };
        if self.events.try_send(event).is_err() {
            self.counters.messages_dropped.add();
        }
    }

    /// A place for one more answer beside all calls; none while as many as allowed are on their way, since a server may
    /// ask without ever reading.
    pub(crate) fn aside(&self) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(&self.asides).try_acquire_owned().ok();
        if place.is_none() {
            self.counters.messages_dropped.add();
        }
        place
    }

    /// A place among the questions that one session or process has open beside all calls. People may be asked them for
    /// long, so they take nothing from the answers to others.
    pub(crate) fn to_ask(&self, asked: &Arc<Semaphore>) -> Option<OwnedSemaphorePermit> {
        let place = Arc::clone(asked).try_acquire_owned().ok();
        if place.is_none() {
            self.counters.messages_dropped.add();
        }
        place
    }

    /// Asks whom it concerns, and gives the response for the server: an error if there is nobody to ask, nothing if it wants
    /// none any more.
    pub(crate) fn ask(
        &self,
        request: Message,
        source: &Source,
    ) -> impl Future<Output = Option<Segments>> + use<> {
        let raw_id = request.id_raw().unwrap_or_default();
        let (question, answered) = Question::new(request);
        self.event(EventKind::Request(Arc::new(question)), source);
        async move { answered.await.unwrap_or_else(|_| Some(hello::nobody(&raw_id))) }
    }

    pub(crate) fn counters(&self) -> Counters {
        let tally = &self.counters;
        Counters {
            starts: tally.starts.get(),
            restarts: tally.restarts.get(),
            start_failures: tally.start_failures.get(),
            protocol_errors: tally.protocol_errors.get(),
            messages_dropped: tally.messages_dropped.get(),
            stderr_lines_dropped: tally.stderr_lines_dropped.get(),
            evictions: tally.evictions.get(),
        }
    }
}
