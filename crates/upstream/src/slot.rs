//! Something that is started once, however many ask for it at the same time.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::UpstreamError;
use crate::backoff::Backoff;

/// What was started lived for less than this: its end counts as a failed start.
const SHORT_LIFE: Duration = Duration::from_secs(10);

type Outcome<T> = Result<T, UpstreamError>;

/// A value that takes long to make and may end by itself.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
enum State<T> {
    Empty { failures: u32 },
    Starting(watch::Receiver<Option<Outcome<T>>>),
    Ready { value: T, since: Instant, failures: u32 },
    Failed { error: UpstreamError, until: Instant, failures: u32 },
}

/// What a slot holds, for eviction and status.
#[derive(Debug)]
pub(crate) enum Held<T> {
    Nothing,
    Starting,
    Ready(T),
    Failed { until: Instant },
}

impl<T: Clone + Send + Sync + 'static> Slot<T> {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State::Empty { failures: 0 }) }
    }

    /// A slot that already holds its value.
    pub(crate) fn filled(value: T) -> Self {
        Self { state: Mutex::new(State::Ready { value, since: Instant::now(), failures: 0 }) }
    }

    pub(crate) fn held(&self) -> Held<T> {
        match &*self.state() {
            State::Empty { .. } => Held::Nothing,
            State::Starting(_) => Held::Starting,
            State::Ready { value, .. } => Held::Ready(value.clone()),
            State::Failed { until, .. } => Held::Failed { until: *until },
        }
    }

    /// The value, after waiting for a start that is under way.
    pub(crate) async fn settled(&self) -> Option<T> {
        let starting = match &*self.state() {
            State::Ready { value, .. } => return Some(value.clone()),
            State::Starting(outcome) => outcome.clone(),
            State::Empty { .. } | State::Failed { .. } => return None,
        };
        Self::wait(starting).await.ok()
    }

    /// Forgets the value, so that the next to ask starts anew.
    pub(crate) fn empty(&self) -> Option<T> {
        let mut state = self.state();
        if let State::Ready { .. } | State::Failed { .. } = &*state
            && let State::Ready { value, .. } = std::mem::replace(&mut *state, State::Empty { failures: 0 })
        {
            return Some(value);
        }
        None
    }

    /// The value: the one that is there if it is still `usable`, else one that is being started, else a new one from
    /// `start` (told whether an earlier one ended). The start runs in a task of its own, so that it does not end with
    /// the first who asked. After a failed start everyone gets its error until the backoff is over.
    pub(crate) async fn get<F>(
        self: &Arc<Self>,
        backoff: Backoff,
        usable: impl Fn(&T) -> bool,
        start: impl FnOnce(bool) -> F,
    ) -> Outcome<T>
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        match self.enter(backoff, usable, start) {
            Ok(value) => value,
            Err(starting) => Self::wait(starting).await,
        }
    }

    /// What is there, or the start to wait for.
    fn enter<F>(
        self: &Arc<Self>,
        backoff: Backoff,
        usable: impl Fn(&T) -> bool,
        start: impl FnOnce(bool) -> F,
    ) -> Result<Outcome<T>, watch::Receiver<Option<Outcome<T>>>>
    where
        F: Future<Output = Outcome<T>> + Send + 'static,
    {
        let mut state = self.state();
        let now = Instant::now();
        let (failures, again) = match &*state {
            State::Ready { value, .. } if usable(value) => return Ok(Ok(value.clone())),
            State::Starting(outcome) => return Err(outcome.clone()),
            State::Failed { error, until, .. } if now < *until => return Ok(Err(error.clone())),
            State::Failed { failures, .. } | State::Empty { failures } => (*failures, false),
            // The first early end is forgiven: a server that dies of one request is there for the next.
            State::Ready { since, failures, .. } if since.elapsed() < SHORT_LIFE => {
                let failures = failures + 1;
                let until = now + backoff.after(failures - 1);
                if now < until {
                    let error = UpstreamError::unavailable(
                        "the server ended soon after its start; it is started again after a pause",
                        "died early",
                    );
                    *state = State::Failed { error: error.clone(), until, failures };
                    return Ok(Err(error));
                }
                (failures, true)
            }
            State::Ready { .. } => (0, true),
        };
        let (sender, outcome) = watch::channel(None);
        *state = State::Starting(outcome.clone());
        let starting = start(again);
        let slot = Arc::clone(self);
        tokio::spawn(async move {
            // If the start panics, the slot must not stay in that state for ever.
            let reset = ResetOnDrop(&slot, failures);
            let result = starting.await;
            slot.settle(backoff, failures, &result);
            std::mem::forget(reset);
            sender.send_replace(Some(result));
        });
        Err(outcome)
    }

    async fn wait(mut outcome: watch::Receiver<Option<Outcome<T>>>) -> Outcome<T> {
        let settled = outcome.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        settled
            .unwrap_or_else(|| Err(UpstreamError::unavailable("the server did not start", "start abandoned")))
    }

    fn settle(&self, backoff: Backoff, failures: u32, result: &Outcome<T>) {
        *self.state() = match result {
            Ok(value) => State::Ready { value: value.clone(), since: Instant::now(), failures },
            // Found out something that makes another start worth while at once.
            Err(error) if error.is_stale() => State::Empty { failures },
            Err(error) => {
                let failures = failures.saturating_add(1);
                let until = Instant::now() + backoff.after_error(failures, error);
                State::Failed { error: error.clone(), until, failures }
            }
        };
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct ResetOnDrop<'a, T>(&'a Slot<T>, u32);

impl<T> Drop for ResetOnDrop<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Empty { failures: self.1 + 1 };
    }
}
