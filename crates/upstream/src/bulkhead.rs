//! How many requests to one server are under way at once, and how many wait for a place: so a server that is slow fills its own
//! places, and takes neither those of others nor the gateway's memory.
//!
//! Who waits is served in turn. Whoever would have to wait for longer than it can is turned away at the door, by what places
//! were held for lately; so nobody waits in vain, and under overload the queue stays as short as what can be served in time.
//! (Serving those who came last first would answer some sooner, and let the others wait their whole time for a refusal.)
//! Lists have places of their own: a server that is busy with calls still says what it has.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};
use tollgate_model::ServerId;
use tollgate_telemetry::events::ServerBusy;

use crate::{ServerSettings, UpstreamError};

/// What a place is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// Calls, reads, prompts and completions.
    Calls,
    /// Pages of lists.
    Lists,
}

/// The places of one server.
#[derive(Debug)]
pub struct Bulkhead {
    calls: Arc<Lane>,
    lists: Arc<Lane>,
}

impl Bulkhead {
    pub(crate) fn new(settings: &ServerSettings) -> Self {
        let (limits, wait) = (&settings.limits, settings.timeouts.queue);
        let lane = |max: usize, queue_max: usize| {
            let (server, state) = (settings.id(), Mutex::default());
            Arc::new(Lane { server, max, queue_max, wait, state })
        };
        let lists_max = (limits.concurrency_max / 8).clamp(2, 64);
        Self {
            calls: lane(limits.concurrency_max, limits.queue_max),
            lists: lane(lists_max, limits.queue_max),
        }
    }

    /// A place, if there is one that nobody waits for.
    pub fn try_enter(&self, traffic: Traffic) -> Option<Arc<Berth>> {
        self.lane(traffic).try_enter()
    }

    /// A place, as soon as there is one: within the time for which one waits, and until `until` at most.
    pub async fn enter(&self, traffic: Traffic, until: Instant) -> Result<Arc<Berth>, UpstreamError> {
        self.lane(traffic).enter(until).await
    }

    /// A place for what the server is at already. There is always one: others wait for it.
    pub fn go_on(&self, traffic: Traffic) -> Arc<Berth> {
        let lane = self.lane(traffic);
        lane.lock().under_way += 1;
        Berth::new(lane)
    }

    /// How many are under way, and how many wait.
    pub fn count(&self, traffic: Traffic) -> (usize, usize) {
        let state = self.lane(traffic).lock();
        (state.under_way, state.waiting.iter().filter(|waiter| !waiter.is_closed()).count())
    }

    fn lane(&self, traffic: Traffic) -> &Arc<Lane> {
        match traffic {
            Traffic::Calls => &self.calls,
            Traffic::Lists => &self.lists,
        }
    }
}

#[derive(Debug)]
struct Lane {
    server: ServerId,
    max: usize,
    queue_max: usize,
    wait: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// May be more than the most, where requests went on that had left their places.
    under_way: usize,
    waiting: VecDeque<oneshot::Sender<Arc<Berth>>>,
    /// For how long places were held lately, in microseconds.
    held_us: u64,
}

impl Lane {
    fn try_enter(self: &Arc<Self>) -> Option<Arc<Berth>> {
        {
            let mut state = self.lock();
            if state.under_way >= self.max || !state.waiting.is_empty() {
                return None;
            }
            state.under_way += 1;
        }
        Some(Berth::new(self))
    }

    async fn enter(self: &Arc<Self>, until: Instant) -> Result<Arc<Berth>, UpstreamError> {
        if let Some(berth) = self.try_enter() {
            return Ok(berth);
        }
        let patience = self.wait.min(until.saturating_duration_since(Instant::now()));
        let mut berth = {
            let mut state = self.lock();
            if state.waiting.len() >= self.queue_max {
                state.waiting.retain(|waiter| !waiter.is_closed());
            }
            let expected = state.expected(self.max);
            if state.waiting.len() >= self.queue_max {
                return Err(self.busy("queue_full", expected));
            }
            if expected > patience {
                return Err(self.busy("too_late", expected));
            }
            let (sender, berth) = oneshot::channel();
            state.waiting.push_back(sender);
            berth
        };
        let waited = timeout(patience, &mut berth).await;
        match waited {
            Ok(Ok(berth)) => Ok(berth),
            // It may have come just now.
            _ => berth.try_recv().map_err(|_| self.busy("queue_timeout", self.lock().expected(self.max))),
        }
    }

    /// A place is free: the next has it.
    fn release(self: &Arc<Self>, held: Option<Duration>) {
        if let Some(held) = held {
            let held_us = u64::try_from(held.as_micros()).unwrap_or(u64::MAX);
            let mut state = self.lock();
            // An eighth of what is new: a few dozen requests make the measure.
            state.held_us = state.held_us - state.held_us / 8 + held_us / 8;
        }
        loop {
            let next = {
                let mut state = self.lock();
                state.under_way -= 1;
                if state.under_way >= self.max {
                    return;
                }
                let Some(next) = state.waiting.pop_front() else { return };
                state.under_way += 1;
                next
            };
            match next.send(Berth::new(self)) {
                Ok(()) => return,
                // Nobody waits there any more.
                Err(berth) => berth.is_away.store(true, Ordering::Relaxed),
            }
        }
    }

    fn busy(&self, why: &'static str, expected: Duration) -> UpstreamError {
        ServerBusy { server: &self.server, why }.emit();
        let retry_after = expected.clamp(Duration::from_secs(1), Duration::from_mins(1));
        UpstreamError::Busy { max: self.max, retry_after }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long the next to come would wait.
    fn expected(&self, max: usize) -> Duration {
        let ahead = u64::try_from(self.waiting.len() + 1).unwrap_or(u64::MAX);
        let places = u64::try_from(max.max(1)).unwrap_or(u64::MAX);
        Duration::from_micros(self.held_us.saturating_mul(ahead) / places)
    }
}

/// A place among the requests under way. Dropped, the next has it.
#[derive(Debug)]
pub struct Berth {
    lane: Arc<Lane>,
    since: Instant,
    is_away: AtomicBool,
    /// A wait for a person says nothing of how busy the server is.
    was_away: AtomicBool,
}

impl Berth {
    fn new(lane: &Arc<Lane>) -> Arc<Self> {
        Arc::new(Self {
            lane: Arc::clone(lane),
            since: Instant::now(),
            is_away: AtomicBool::new(false),
            was_away: AtomicBool::new(false),
        })
    }

    /// Leaves the place for others while the request waits for a person.
    pub fn leave(&self) {
        if !self.is_away.swap(true, Ordering::AcqRel) {
            self.was_away.store(true, Ordering::Relaxed);
            self.lane.release(None);
        }
    }

    /// Takes it again: the server goes on with the request, whoever waits.
    pub fn come_back(&self) {
        if self.is_away.swap(false, Ordering::AcqRel) {
            self.lane.lock().under_way += 1;
        }
    }
}

impl Drop for Berth {
    fn drop(&mut self) {
        if !*self.is_away.get_mut() {
            let held = (!*self.was_away.get_mut()).then(|| self.since.elapsed());
            self.lane.release(held);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::Poll;

    use super::*;
    use crate::{HttpSettings, Limits, Timeouts, Transport};
    use tollgate_model::ServerName;

    const LONG: Duration = Duration::from_secs(20);

    fn bulkhead(concurrency_max: usize, queue_max: usize, queue: Duration) -> Bulkhead {
        let transport = Transport::Http(HttpSettings::new("http://localhost/".parse().expect("a URL")));
        let settings = ServerSettings::new(ServerName::new("s").expect("a name"), transport);
        let limits = Limits { concurrency_max, queue_max, ..settings.limits.clone() };
        let timeouts = Timeouts { queue, ..settings.timeouts.clone() };
        Bulkhead::new(&ServerSettings { timeouts, limits, ..settings })
    }

    /// What has come of it by now, if anything has.
    async fn look<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|cx| match Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    async fn enter(bulkhead: &Bulkhead) -> Result<Arc<Berth>, UpstreamError> {
        bulkhead.enter(Traffic::Calls, Instant::now() + LONG).await
    }

    #[tokio::test]
    async fn who_waits_is_served_in_turn_and_who_left_is_passed_over() {
        let bulkhead = bulkhead(1, 3, LONG);
        let held = enter(&bulkhead).await.expect("a place");
        let mut waiting: Vec<_> = (0..3).map(|_| Box::pin(enter(&bulkhead))).collect();
        for waiter in &mut waiting {
            assert!(look(waiter).await.is_none());
        }
        assert_eq!(bulkhead.count(Traffic::Calls), (1, 3));
        assert!(matches!(enter(&bulkhead).await, Err(UpstreamError::Busy { max: 1, .. })), "no more wait");
        assert!(bulkhead.try_enter(Traffic::Calls).is_none());
        drop(waiting.remove(0));
        drop(held);
        let (mut first, mut second) = (waiting.remove(0), waiting.remove(0));
        assert!(look(&mut second).await.is_none());
        let Some(Ok(berth)) = look(&mut first).await else { panic!("its turn") };
        drop(berth);
        drop(second.await.expect("its turn"));
        assert_eq!(bulkhead.count(Traffic::Calls), (0, 0));
        assert!(enter(&bulkhead).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_that_comes_to_who_has_just_left_is_another_s() {
        let bulkhead = bulkhead(1, 3, LONG);
        let held = enter(&bulkhead).await.expect("a place");
        let mut waiter = Box::pin(enter(&bulkhead));
        assert!(look(&mut waiter).await.is_none());
        drop(held);
        drop(waiter);
        assert_eq!(bulkhead.count(Traffic::Calls), (0, 0));
        assert!(bulkhead.try_enter(Traffic::Calls).is_some());
    }

    #[tokio::test]
    async fn who_cannot_wait_for_so_long_is_turned_away_at_once() {
        let bulkhead = bulkhead(1, 100, Duration::from_secs(5));
        bulkhead.calls.lock().held_us = 4_000_000;
        let _held = enter(&bulkhead).await.expect("a place");
        let soon = bulkhead.enter(Traffic::Calls, Instant::now() + Duration::from_secs(3)).await;
        let Err(UpstreamError::Busy { retry_after, .. }) = soon else { panic!("it has less time") };
        assert_eq!(retry_after, Duration::from_secs(4));
        let mut first = Box::pin(enter(&bulkhead));
        assert!(look(&mut first).await.is_none(), "four seconds are not too long");
        assert!(matches!(enter(&bulkhead).await, Err(UpstreamError::Busy { .. })), "eight are");
        assert_eq!(bulkhead.count(Traffic::Calls), (1, 1));
    }

    #[tokio::test]
    async fn nobody_waits_longer_than_allowed() {
        let bulkhead = bulkhead(1, 100, Duration::from_millis(20));
        let held = enter(&bulkhead).await.expect("a place");
        assert!(matches!(enter(&bulkhead).await, Err(UpstreamError::Busy { .. })));
        drop(held);
        assert!(bulkhead.calls.lock().held_us > 0);
        assert!(enter(&bulkhead).await.is_ok());
    }

    #[tokio::test]
    async fn a_place_is_left_while_a_person_is_asked_and_taken_again_whoever_waits() {
        let bulkhead = bulkhead(1, 3, LONG);
        let asking = enter(&bulkhead).await.expect("a place");
        asking.leave();
        let other = enter(&bulkhead).await.expect("the place that was left");
        asking.come_back();
        let gone_on = bulkhead.go_on(Traffic::Calls);
        assert_eq!(bulkhead.count(Traffic::Calls).0, 3);
        let mut waiter = Box::pin(enter(&bulkhead));
        for held in [other, asking] {
            assert!(look(&mut waiter).await.is_none());
            drop(held);
        }
        assert!(look(&mut waiter).await.is_none(), "one is still under way");
        drop(gone_on);
        assert!(waiter.await.is_ok());
        assert_eq!(bulkhead.count(Traffic::Calls), (0, 0));
    }

    #[tokio::test]
    async fn lists_have_places_of_their_own() {
        let bulkhead = bulkhead(1, 0, LONG);
        let _calls = enter(&bulkhead).await.expect("a place");
        assert!(matches!(enter(&bulkhead).await, Err(UpstreamError::Busy { .. })));
        assert!(bulkhead.try_enter(Traffic::Lists).is_some());
    }
}
