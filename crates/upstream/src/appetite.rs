//! How much of a thread's time what one server sends may take: the bodies of one origin, or the output of one process. Who sends
//! faster than it is read would else keep the thread for itself, and everybody's calls and timers with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// So many bytes are taken one after the other without anybody else having had a turn.
const AT_ONCE_MAX: usize = 128 * 1024;
/// As long as a body is no larger, it only lets others have their turns.
const MODEST_BYTES: u64 = 1 << 20;
/// After so much time without waiting for the peer, a body that is larger rests.
const RUN_MAX: Duration = Duration::from_millis(1);
/// Beyond it nobody would tell rest from a fault.
const REST_MAX: Duration = Duration::from_millis(50);

/// How many bodies of one origin are greedy now: large, and coming faster than they are read.
#[derive(Debug, Default)]
pub(crate) struct Greed(AtomicU32);

/// The appetite of one body.
pub(crate) struct Appetite {
    greed: Arc<Greed>,
    is_greedy: bool,
    /// How much came in all.
    taken: u64,
    /// How much came since it was last waited for, or somebody else had a turn.
    at_once: usize,
    /// Since when it was not waited for.
    since: Instant,
    /// Until when it rests.
    rests_until: Option<Instant>,
}

impl Appetite {
    pub(crate) fn new(greed: &Arc<Greed>, now: Instant) -> Self {
        Self {
            greed: Arc::clone(greed),
            is_greedy: false,
            taken: 0,
            at_once: 0,
            since: now,
            rests_until: None,
        }
    }

    /// Something came.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.at_once += bytes;
        self.taken += bytes as u64;
    }

    /// Nothing is there yet: whoever reads waits for the peer.
    pub(crate) fn waits(&mut self) {
        self.at_once = 0;
        self.is_full();
    }

    /// The same of what comes without an end: what came before was waited for, and is no large body's.
    pub(crate) fn waits_between(&mut self) {
        self.waits();
        self.taken = 0;
    }

    /// Lets others have their turn, where it had enough at once. All greedy bodies of an origin together have half of a
    /// thread's time at most. A rest whose future is dropped is gone on with by the next.
    pub(crate) async fn pause(&mut self) {
        if let Some(until) = self.rests_until {
            return self.rest(until).await;
        }
        if self.at_once == 0 {
            self.since = Instant::now();
        }
        if self.at_once < AT_ONCE_MAX {
            return;
        }
        self.at_once = 1; // and it has not been waited for
        let ran = self.since.elapsed();
        if self.taken <= MODEST_BYTES || ran < RUN_MAX {
            tokio::task::yield_now().await;
            return;
        }
        if !self.is_greedy {
            self.is_greedy = true;
            self.greed.0.fetch_add(1, Ordering::Relaxed);
        }
        let greedy = self.greed.0.load(Ordering::Relaxed).max(1);
        let rest = (ran * (2 * greedy - 1)).min(REST_MAX);
        self.rest(Instant::now() + rest).await;
    }

    async fn rest(&mut self, until: Instant) {
        self.rests_until = Some(until);
        sleep_until(until).await;
        self.rests_until = None;
        self.since = Instant::now();
    }

    /// It is greedy no more.
    fn is_full(&mut self) {
        if std::mem::take(&mut self.is_greedy) {
            self.greed.0.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Appetite {
    fn drop(&mut self) {
        self.is_full();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long a body that comes in parts of 64 KiB, each of which takes so long to work on, rests in all.
    async fn rests(greed: &Arc<Greed>, parts: usize, each: Duration) -> Duration {
        let mut appetite = Appetite::new(greed, Instant::now());
        let mut rested = Duration::ZERO;
        for _ in 0..parts {
            let before = Instant::now();
            appetite.pause().await;
            rested += before.elapsed();
            appetite.took(64 * 1024);
            tokio::time::advance(each).await;
        }
        rested
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_of_usual_size_does_not_rest() {
        let greed = Arc::default();
        assert_eq!(rests(&greed, 16, Duration::from_millis(1)).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_large_but_quick_to_read_does_not_rest_often() {
        let greed = Arc::default();
        // 10 MiB in 10 ms.
        let rested = rests(&greed, 160, Duration::from_micros(62)).await;
        assert!(rested <= Duration::from_millis(20), "{rested:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_ends_has_half_of_the_time() {
        let greed: Arc<Greed> = Arc::default();
        let each = Duration::from_millis(1);
        let rested = rests(&greed, 1016, each).await;
        assert!(rested >= each * 950 && rested <= each * 1100, "{rested:?}");
        assert_eq!(greed.0.load(Ordering::Relaxed), 0, "it is over");
    }

    #[tokio::test(start_paused = true)]
    async fn several_of_one_origin_share_it() {
        let greed: Arc<Greed> = Arc::default();
        greed.0.store(3, Ordering::Relaxed);
        let each = Duration::from_millis(1);
        let rested = rests(&greed, 116, each).await;
        assert!(rested >= each * 100 * 6, "with three others it has an eighth: {rested:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_rest_that_is_interrupted_is_gone_on_with() {
        let mut appetite = Appetite::new(&Arc::default(), Instant::now());
        appetite.took(1 << 21);
        tokio::time::advance(Duration::from_millis(20)).await;
        let began = Instant::now();
        let brief = tokio::time::timeout(Duration::from_millis(5), appetite.pause()).await;
        assert!(brief.is_err(), "it rests");
        appetite.pause().await;
        assert!(began.elapsed() >= Duration::from_millis(20), "{:?}", began.elapsed());
        let rested = Instant::now();
        appetite.pause().await;
        assert_eq!(rested.elapsed(), Duration::ZERO, "once");
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_for_its_peer_is_not_greedy() {
        let greed: Arc<Greed> = Arc::default();
        let mut appetite = Appetite::new(&greed, Instant::now());
        appetite.took(1 << 21);
        tokio::time::advance(Duration::from_millis(2)).await;
        appetite.pause().await;
        assert_eq!(greed.0.load(Ordering::Relaxed), 1);
        appetite.waits();
        assert_eq!(greed.0.load(Ordering::Relaxed), 0);
    }
}
