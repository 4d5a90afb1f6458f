//! The desired state as this process knows it, kept up with the feed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::{broadcast, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tollgate_model::Timestamp;

use crate::{Changes, Cursor, Desired, Numbered, Store, StoreError};

/// How many applied changes wait for who reads them.
const APPLIED_MAX: usize = 256;

/// How sure this process is of what it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It followed the feed a moment ago, or there is nothing to follow.
    Now,
    /// The store is away; what is known was confirmed last at this time, and may still be used.
    Since(Timestamp),
    /// The store has been away for longer than is allowed, or was never there.
    TooOld,
}

/// How the feed is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerSettings {
    /// For how long the last confirmed state may be used while the store is away; for good if absent.
    pub stale_max: Option<Duration>,
    /// How often the feed is read, however quiet it is.
    pub poll: Duration,
    /// How long the store may take to say what has changed.
    pub answer_max: Duration,
    /// How long the store may take to say everything.
    pub load_max: Duration,
    /// How many changes are read at once.
    pub batch_max: usize,
    /// The longest pause between two attempts while the store is away.
    pub pause_max: Duration,
}

impl Default for FollowerSettings {
    fn default() -> Self {
        Self {
            stale_max: Some(Duration::from_mins(5)),
            poll: Duration::from_millis(250),
            answer_max: Duration::from_secs(2),
            load_max: Duration::from_secs(30),
            batch_max: 1_000,
            pause_max: Duration::from_secs(2),
        }
    }
}

/// Follows the feed for as long as any clone of it lives. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Follower(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    known: Arc<Known>,
    task: Option<AbortHandle>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// What the follower knows, and who else reads it.
#[derive(Debug)]
struct Known {
    desired: ArcSwap<Desired>,
    changes: watch::Sender<u64>,
    /// Each change as it is applied.
    applied: broadcast::Sender<Numbered>,
    /// The same from the very first on, until somebody takes it.
    from_first: Mutex<Option<broadcast::Receiver<Numbered>>>,
    /// Whether there is anything to follow.
    follows: bool,
    stale_max: Option<Duration>,
    /// After so long without a word from the store it is away.
    fresh_max: Duration,
    begun: Instant,
    /// When the store last confirmed what is known: milliseconds after `begun`, plus one; 0 if it never has.
    confirmed: AtomicU64,
    /// What is wrong with the store; none while it answers.
    problem: watch::Sender<Option<Arc<str>>>,
}

impl Follower {
    /// Follows nothing: there is no stored state.
    pub fn of_nothing() -> Self {
        let settings = FollowerSettings::default();
        Self(Arc::new(Handle { known: Arc::new(Known::new(false, &settings)), task: None }))
    }

    /// Follows the feed of a store, which may be away. Must be called within a runtime.
    pub fn follow(store: Arc<dyn Store>, settings: FollowerSettings) -> Self {
        let known = Arc::new(Known::new(true, &settings));
        let following = Following { store, settings, known: Arc::clone(&known), cursor: None };
        let task = tokio::spawn(following.run()).abort_handle();
        Self(Arc::new(Handle { known, task: Some(task) }))
    }

    /// Whether both are clones of one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// What is desired now.
    pub fn now(&self) -> Arc<Desired> {
        self.0.known.desired.load_full()
    }

    /// Tells of every revision that is applied from now on.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.known.changes.subscribe()
    }

    /// Gives each change of the feed that is applied from now on. Who reads too slowly is told how many were missed. Where
    /// everything has to be read anew, there are no single changes.
    pub fn applied(&self) -> broadcast::Receiver<Numbered> {
        self.0.known.applied.subscribe()
    }

    /// The same from the first change on, also of what was applied already: for one who keeps account of all, and comes when it
    /// is known that somebody follows. Whoever comes after the first is given what is applied from now on.
    pub fn applied_from_first(&self) -> broadcast::Receiver<Numbered> {
        let first = self.0.known.from_first.lock().unwrap_or_else(PoisonError::into_inner).take();
        first.unwrap_or_else(|| self.applied())
    }

    /// How sure it is.
    pub fn confirmed(&self) -> Confirmed {
        let known = &*self.0.known;
        if !known.follows {
            return Confirmed::Now;
        }
        match known.age() {
            Some(age) if age <= known.fresh_max => Confirmed::Now,
            Some(age) if known.stale_max.is_none_or(|most| age <= most) => {
                let now = Timestamp::now().as_ms();
                Confirmed::Since(Timestamp::from_ms(now.saturating_sub(millis(age))))
            }
            _ => Confirmed::TooOld,
        }
    }

    /// How long ago the store confirmed what is known. None if it never has, or if there is nothing to follow.
    pub fn age(&self) -> Option<Duration> {
        self.0.known.age()
    }

    /// Whether there is a store to follow.
    pub fn follows(&self) -> bool {
        self.0.known.follows
    }

    /// What is wrong with the store; none while it answers.
    pub fn problem(&self) -> Option<Arc<str>> {
        self.0.known.problem.borrow().clone()
    }

    /// Waits until a first state was read, at most so long. Says whether it was.
    pub async fn settled(&self, wait_max: Duration) -> bool {
        if !self.follows() {
            return true;
        }
        let mut changes = self.changes();
        let known = &self.0.known;
        let read = async { while known.age().is_none() && changes.changed().await.is_ok() {} };
        timeout(wait_max, read).await.is_ok()
    }
}

impl Known {
    fn new(follows: bool, settings: &FollowerSettings) -> Self {
        let (applied, from_first) = broadcast::channel(APPLIED_MAX);
        Self {
            desired: ArcSwap::default(),
            changes: watch::Sender::new(0),
            applied,
            from_first: Mutex::new(Some(from_first)),
            follows,
            stale_max: settings.stale_max,
            fresh_max: settings.poll + settings.answer_max,
            begun: Instant::now(),
            confirmed: AtomicU64::new(0),
            problem: watch::Sender::new(None),
        }
    }

    fn age(&self) -> Option<Duration> {
        let confirmed = self.confirmed.load(Ordering::Acquire).checked_sub(1)?;
        Some(self.begun.elapsed().saturating_sub(Duration::from_millis(confirmed)))
    }

    /// The store said so when it was asked at `asked`: what happened there since is not known.
    fn confirm(&self, asked: Instant) {
        let after = millis(asked.saturating_duration_since(self.begun));
        self.confirmed.store(after.saturating_add(1), Ordering::Release);
    }

    /// What is published is confirmed only afterwards, and only then told of. `asked`: when the store said that this is all.
    fn publish(&self, desired: Desired, asked: Option<Instant>) {
        let revision = desired.revision();
        self.desired.store(Arc::new(desired));
        if let Some(asked) = asked {
            self.confirm(asked);
        }
        self.changes.send_replace(revision);
    }
}

/// The task that follows.
struct Following {
    store: Arc<dyn Store>,
    settings: FollowerSettings,
    known: Arc<Known>,
    /// How far it has come; none before the first state was read, or when the place is lost.
    cursor: Option<Cursor>,
}

impl Following {
    async fn run(mut self) {
        let mut pause = self.settings.poll;
        loop {
            match self.catch_up().await {
                Ok(at) => {
                    self.answered();
                    pause = self.settings.poll;
                    // Whichever comes first: a word from the store, or the time to ask.
                    _ = timeout(self.settings.poll, self.store.news(at)).await;
                }
                Err(error) => {
                    self.failed(&error);
                    sleep(jittered(pause)).await;
                    pause = (pause * 2).min(self.settings.pause_max);
                }
            }
        }
    }

    /// Takes in everything that is new. What was taken in before an error stays.
    async fn catch_up(&mut self) -> Result<Cursor, StoreError> {
        loop {
            let asked = Instant::now();
            let Some(cursor) = self.cursor else {
                let snapshot = within(self.settings.load_max, self.store.snapshot()).await?;
                self.cursor = Some(snapshot.cursor);
                self.known.publish(Desired::from(snapshot), Some(asked));
                continue;
            };
            let changes = self.store.changes(cursor, self.settings.batch_max);
            let changes = match within(self.settings.answer_max, changes).await? {
                Changes::These(changes) => changes,
                Changes::Lost => {
                    self.cursor = None;
                    continue;
                }
            };
            let Some(last) = changes.last() else {
                self.known.confirm(asked);
                return Ok(cursor);
            };
            let is_all = changes.len() < self.settings.batch_max;
            let cursor = last.cursor;
            self.cursor = Some(cursor);
            let mut desired = Desired::clone(&self.known.desired.load());
            for numbered in &changes {
                desired.apply(numbered.cursor.revision, numbered.change.clone());
            }
            self.known.publish(desired, is_all.then_some(asked));
            for numbered in changes {
                // Nobody need listen.
                _ = self.known.applied.send(numbered);
            }
            if is_all {
                return Ok(cursor);
            }
        }
    }

    fn answered(&self) {
        let was_away = self.known.problem.send_if_modified(|problem| std::mem::take(problem).is_some());
        if was_away {
            tracing::info!("the store answers again");
        }
    }

    fn failed(&self, error: &StoreError) {
        let text: Arc<str> = error.to_string().into();
        let is_news = self.known.problem.send_if_modified(|problem| {
            let is_news = problem.as_ref() != Some(&text);
            *problem = Some(Arc::clone(&text));
            is_news
        });
        if is_news {
            tracing::warn!(%error, "the store is away: what was known of it last is used for a while");
        }
    }
}

async fn within<T>(
    most: Duration,
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    timeout(most, asked).await.unwrap_or_else(|_| Err(StoreError::away("it does not answer in time")))
}

/// A half to the whole of it, so that replicas that lost the store together do not come back to it together.
fn jittered(pause: Duration) -> Duration {
    let mut byte = [0];
    // Without randomness it is the whole pause.
    if SystemRandom::new().fill(&mut byte).is_err() {
        return pause;
    }
    pause / 2 + pause * u32::from(byte[0]) / 512
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
