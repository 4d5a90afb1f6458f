//! In which order a serving thread does what it has to: it goes on with what has begun before it begins more.
//!
//! A thread has its tasks come round one after the other. Where it begins whatever arrives, all of it is under way at once, and each
//! step of a request finds that the thousand others have pushed what it needs out of the processor's caches: a call among a thousand costs
//! twice what it costs among a few. So where much is under way a request waits for its turn, and each time that the thread has come
//! round (everything that could go on has gone on, and what has arrived is known) a few are begun, in the order in which they came.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::Instant;

/// How many are begun each time that the thread has come round.
const BEGUN_AT_ONCE: usize = 16;

thread_local! {
    /// Who waits on this thread.
    static TURNS: Arc<Turns> = Arc::default();
}

/// Waits until it is this one's turn on its thread. Whether that comes in time: not if it was waited for longer than this, and
/// had been for as long by those before.
pub(crate) async fn mine(lag_max: Duration) -> bool {
    let since = Instant::now();
    let (turns, turn) = TURNS.with(|turns| (Arc::clone(turns), turns.wait()));
    // Where nobody gives turns any more, it is everyone's.
    let _ = turn.await;
    turns.is_in_time(since.elapsed(), lag_max)
}

/// Whether others wait for their turn on this thread: who comes now does not pass them, also where little is under way.
pub(crate) fn are_waited_for() -> bool {
    TURNS.with(|turns| !turns.lock().queue.is_empty())
}

#[derive(Debug, Default)]
struct Turns(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    /// Those who have left are still in it, until it would be their turn.
    queue: VecDeque<oneshot::Sender<()>>,
    /// Whether somebody gives turns.
    are_given: bool,
    /// Since when everybody's turn has come too late.
    late_since: Option<Instant>,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits in the queue.
    fn wait(self: &Arc<Self>) -> oneshot::Receiver<()> {
        let (turn, mine) = oneshot::channel();
        let mut waiting = self.lock();
        waiting.queue.push_back(turn);
        let are_given = std::mem::replace(&mut waiting.are_given, true);
        drop(waiting);
        if !are_given {
            tokio::spawn(give(Giving(Some(Arc::clone(self)))));
        }
        mine
    }

    /// One pause of the machine makes all late who wait just then, and is no reason to turn them away.
    fn is_in_time(&self, waited: Duration, lag_max: Duration) -> bool {
        let mut waiting = self.lock();
        if waited <= lag_max {
            waiting.late_since = None;
            return true;
        }
        waiting.late_since.get_or_insert_with(Instant::now).elapsed() <= lag_max
    }

    /// The next who still waits. If there is none, nobody gives turns from then on.
    fn next(&self) -> Option<oneshot::Sender<()>> {
        let mut waiting = self.lock();
        while let Some(turn) = waiting.queue.pop_front() {
            if !turn.is_closed() {
                return Some(turn);
            }
        }
        waiting.are_given = false;
        None
    }
}

/// Somebody gives turns. Dropped before the end, as when its runtime stops, it is everyone's turn.
struct Giving(Option<Arc<Turns>>);

impl Drop for Giving {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            let waiting = std::mem::take(&mut *turns.lock());
            drop(waiting);
        }
    }
}

async fn give(mut giving: Giving) {
    while let Some(turns) = &giving.0 {
        for _ in 0..BEGUN_AT_ONCE {
            let Some(turn) = turns.next() else {
                giving.0 = None;
                return;
            };
            // Who leaves at this moment has had it.
            let _ = turn.send(());
        }
        yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tokio::task::JoinSet;

    use super::*;

    const LAG_MAX: Duration = Duration::from_millis(100);

    fn are_given() -> bool {
        TURNS.with(|turns| turns.lock().are_given)
    }

    #[tokio::test]
    async fn what_has_begun_goes_on_before_more_begins() {
        let log = Arc::<Mutex<Vec<&'static str>>>::default();
        let mut all = JoinSet::new();
        for _ in 0..2 * BEGUN_AT_ONCE {
            let log = Arc::clone(&log);
            all.spawn(async move {
                mine(LAG_MAX).await;
                log.lock().expect("the log").push("begins");
                yield_now().await;
                log.lock().expect("the log").push("goes on");
            });
        }
        all.join_all().await;
        let log = log.lock().expect("the log");
        let begun = |part: &[&str]| part.iter().filter(|word| **word == "begins").count();
        assert_eq!((begun(&log[..BEGUN_AT_ONCE]), log.len()), (BEGUN_AT_ONCE, 4 * BEGUN_AT_ONCE));
        let last_of_first =
            log.iter().enumerate().filter(|(_, word)| **word == "goes on").nth(BEGUN_AT_ONCE - 1);
        let (at, _) = last_of_first.expect("they go on");
        assert!(begun(&log[..at]) < 2 * BEGUN_AT_ONCE, "{log:?}");
    }

    #[tokio::test]
    async fn who_has_left_takes_nobody_s_turn() {
        let mut waiting = JoinSet::new();
        for _ in 0..10 * BEGUN_AT_ONCE {
            waiting.spawn(mine(LAG_MAX));
        }
        let last = tokio::spawn(mine(LAG_MAX));
        yield_now().await;
        waiting.shutdown().await;
        last.await.expect("its turn");
        assert!(!are_given(), "nobody waits");
    }

    #[test]
    fn nobody_waits_for_a_runtime_that_has_stopped() {
        let runtime =
            || tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let first = runtime();
        first.block_on(async {
            // Whoever gives turns never comes round.
            assert!(mine(LAG_MAX).now_or_never().is_none(), "it waits");
            assert!(are_given() && are_waited_for());
        });
        drop(first);
        assert!(!are_given() && !are_waited_for());
        runtime().block_on(async {
            tokio::time::timeout(Duration::from_secs(30), mine(LAG_MAX)).await.expect("its turn")
        });
    }

    #[tokio::test(start_paused = true)]
    async fn one_pause_makes_nobody_late_and_lasting_ones_do_until_somebody_is_in_time() {
        let (turns, too_long) = (Turns::default(), LAG_MAX + Duration::from_millis(1));
        for _ in 0..2 {
            assert!(turns.is_in_time(too_long, LAG_MAX), "it may have been a pause of the machine");
            tokio::time::advance(LAG_MAX).await;
            assert!(turns.is_in_time(too_long, LAG_MAX));
            tokio::time::advance(Duration::from_millis(1)).await;
            assert!(!turns.is_in_time(too_long, LAG_MAX));
            assert!(turns.is_in_time(LAG_MAX, LAG_MAX));
        }
    }
}
