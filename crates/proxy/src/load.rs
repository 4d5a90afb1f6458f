//! How much the whole process has to do at once, and what is not begun when that is too much.
//!
//! There are three bounds: requests under way, bytes of bodies that are held for them, and how late the serving thread is. A
//! thread that has more to do than it can comes to each of its tasks later and later, which no count of requests shows: one whose
//! server is slow costs nothing while it waits. So beside the threads' tasks there is one that wants to be woken every few
//! milliseconds. Where it is overdue for longer than allowed, and was late the time before (so that one pause of the machine turns
//! nobody away), new work is refused until the thread has come round: as much is begun as can be done, and the rest costs
//! little. What goes on with something that has begun passes ahead, within a reserve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tollgate_mcp::{Kind, Message, methods};
use tollgate_model::{Code, Refusal, Stage};
use tollgate_telemetry::counters::{Keeping, Kept};

/// With fewer requests under way a thread that is late is late for another reason.
const BUSY_MIN: usize = 64;
/// How often the time is looked at.
const TICK: Duration = Duration::from_millis(10);
/// How many of those who are turned away wait for that at once at most.
const HELD_BACK_MAX: usize = 4_096;
/// When to come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

/// How much may be going on at once in the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadSettings {
    /// Requests under way. A quarter more may go on with what has begun.
    pub requests_max: usize,
    /// Bytes of the bodies of requests under way.
    pub bytes_max: usize,
    /// How late a serving thread may be before it begins nothing new. Zero: as late as it likes.
    pub lag_max: Duration,
}

impl Default for LoadSettings {
    fn default() -> Self {
        Self { requests_max: 10_000, bytes_max: 256 << 20, lag_max: Duration::from_millis(100) }
    }
}

/// What a request is to the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Begins {
    /// It begins something.
    New,
    /// It goes on with something that has begun, or ends it.
    GoesOn,
}

impl Begins {
    /// What a message is: answers and notifications, looks at tasks, and rounds of a call that was interrupted go on with
    /// something.
    pub(crate) fn of(message: &Message) -> Self {
        let goes_on = match message.kind() {
            Kind::Request => {
                let method = message.method();
                method == methods::PING
                    || method.starts_with("tasks/")
                    || message.member("requestState").is_some()
                    || message.member("inputResponses").is_some()
            }
            Kind::Notification | Kind::Result | Kind::Error => true,
        };
        if goes_on { Self::GoesOn } else { Self::New }
    }
}

/// What is under way. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Load(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    under_way: AtomicUsize,
    bytes: AtomicUsize,
    held_back: AtomicUsize,
    telling: Telling,
}

impl Load {
    /// Whether so much is under way that a request has to wait for its turn.
    pub(crate) fn is_busy(&self) -> bool {
        self.0.under_way.load(Ordering::Relaxed) >= BUSY_MIN
    }

    /// Takes a request in whose turn has come in time, or too late, if there is room for it.
    pub(crate) fn begin(&self, settings: &LoadSettings, what: Begins, in_time: bool) -> Option<Arc<Work>> {
        let counts = &self.0;
        let most = match what {
            Begins::New => settings.requests_max,
            Begins::GoesOn => settings.requests_max + settings.requests_max / 4,
        };
        let before = counts.under_way.fetch_add(1, Ordering::Relaxed);
        let may_be_late = what == Begins::GoesOn || before < BUSY_MIN;
        if before >= most || !(may_be_late || self.is_in_time(settings.lag_max, in_time)) {
            counts.under_way.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let bytes_max = settings.bytes_max;
        let (counts, bytes) = (Arc::clone(counts), AtomicUsize::new(0));
        Some(Arc::new(Work { counts, bytes, bytes_max, _counted: Keeping::new(Kept::Request) }))
    }

    /// Waits before one is turned away.
    pub(crate) async fn hold_back(&self) {
        struct HeldBack<'a>(&'a AtomicUsize);
        impl Drop for HeldBack<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::Relaxed);
            }
        }
        let before = self.0.held_back.fetch_add(1, Ordering::Relaxed);
        let _held_back = HeldBack(&self.0.held_back);
        let wait = self.0.telling.wait(now_us());
        if before < HELD_BACK_MAX && !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
    }

    /// Whether this thread has no more to do than it can.
    fn is_in_time(&self, lag_max: Duration, in_time: bool) -> bool {
        lag_max.is_zero()
            || (in_time
                && PULSE.with(|pulse| {
                    pulse.begin(self, lag_max);
                    !pulse.is_late(lag_max)
                }))
    }
}

/// A request that is under way.
#[derive(Debug)]
pub(crate) struct Work {
    counts: Arc<Counts>,
    bytes: AtomicUsize,
    bytes_max: usize,
    _counted: Keeping,
}

impl Work {
    /// So much more of its body is held. Whether there is room for it.
    pub(crate) fn holds(&self, bytes: usize) -> bool {
        let before = self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        before.saturating_add(bytes) <= self.bytes_max
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.counts.bytes.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
        self.counts.under_way.fetch_sub(1, Ordering::Relaxed);
        self.counts.telling.has_ended(now_us());
    }
}

/// When those are told who are turned away: one for every four requests that come to their end, and nobody later than after a
/// second. Who is told at once comes again at once, and telling takes a good part of what doing takes: the more came, the less
/// would be done.
#[derive(Debug, Default)]
struct Telling {
    /// Which second it is.
    second: AtomicU64,
    /// How many requests have ended in it, and how many did in the one before.
    ended: AtomicU64,
    ended_before: AtomicU64,
    /// When the next is told.
    next_us: AtomicU64,
}

impl Telling {
    const SECOND_US: u64 = 1_000_000;
    /// How many requests end in a second at least, as far as this goes.
    const ENDED_MIN: u64 = 100;

    /// A request has come to its end.
    fn has_ended(&self, now_us: u64) {
        let second = now_us / Self::SECOND_US;
        let last = self.second.load(Ordering::Relaxed);
        if second != last && self.second.swap(second, Ordering::Relaxed) != second {
            let ended = self.ended.swap(0, Ordering::Relaxed);
            self.ended_before.store(if second == last + 1 { ended } else { 0 }, Ordering::Relaxed);
        }
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// How long the next one waits who is turned away.
    fn wait(&self, now_us: u64) -> Duration {
        let every_us = 4 * Self::SECOND_US / self.ended_before.load(Ordering::Relaxed).max(Self::ENDED_MIN);
        let latest = now_us + Self::SECOND_US;
        let after = |next: u64| Some((next.max(now_us) + every_us).min(latest));
        let next = self.next_us.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after);
        Duration::from_micros(next.unwrap_or(now_us).max(now_us) - now_us)
    }
}

/// What is not begun.
pub(crate) fn overloaded() -> Refusal {
    let text = "the gateway has as much to do as it can, and begins nothing new: come again in a moment";
    Refusal::new(Stage::Transport, Code::Overloaded, text).later(COME_AGAIN)
}

thread_local! {
    /// How late this thread is.
    static PULSE: Arc<Pulse> = Arc::default();
}

/// Whether a thread comes to its tasks in time.
#[derive(Debug, Default)]
struct Pulse {
    /// When the beat is due next, in microseconds of the clock that follows.
    due_us: AtomicU64,
    /// Whether it was late the last time.
    was_late: AtomicBool,
    /// Whether somebody feels it.
    is_felt: AtomicBool,
}

impl Pulse {
    /// Whether the beat is overdue, as it was the last time.
    fn is_late(&self, lag_max: Duration) -> bool {
        let due_us = self.due_us.load(Ordering::Relaxed);
        self.was_late.load(Ordering::Relaxed) && now_us().saturating_sub(due_us) > us(lag_max)
    }

    /// Begins to feel it, if nobody does: then it is not late.
    fn begin(self: &Arc<Self>, load: &Load, lag_max: Duration) {
        if !self.is_felt.load(Ordering::Relaxed) && !self.is_felt.swap(true, Ordering::Relaxed) {
            self.was_late.store(false, Ordering::Relaxed);
            self.due_us.store(now_us() + us(TICK), Ordering::Relaxed);
            tokio::spawn(feel(Feeling(Arc::clone(self)), load.clone(), lag_max));
        }
    }
}

/// Somebody feels the pulse. Dropped, nobody does.
struct Feeling(Arc<Pulse>);

impl Drop for Feeling {
    fn drop(&mut self) {
        self.0.was_late.store(false, Ordering::Relaxed);
        self.0.is_felt.store(false, Ordering::Relaxed);
    }
}

/// Feels the pulse of a thread for as long as there is something to do.
async fn feel(feeling: Feeling, load: Load, lag_max: Duration) {
    let pulse = &feeling.0;
    while load.0.under_way.load(Ordering::Relaxed) >= BUSY_MIN {
        let due = Instant::now() + TICK;
        pulse.due_us.store(now_us() + us(TICK), Ordering::Relaxed);
        sleep_until(due).await;
        pulse.was_late.store(due.elapsed() > lag_max, Ordering::Relaxed);
    }
}

/// Microseconds since this was first asked.
fn now_us() -> u64 {
    static BEGAN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    us(BEGAN.get_or_init(std::time::Instant::now).elapsed())
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use tollgate_mcp::Limits;

    use super::*;

    /// Takes in what has not waited.
    fn begin(load: &Load, settings: &LoadSettings, what: Begins) -> Option<Arc<Work>> {
        load.begin(settings, what, true)
    }

    #[test]
    fn what_goes_on_has_a_reserve() {
        let (load, settings) = (Load::default(), LoadSettings { requests_max: 4, ..LoadSettings::default() });
        let mut held: Vec<_> = (0..4).map(|_| begin(&load, &settings, Begins::New).expect("room")).collect();
        assert!(begin(&load, &settings, Begins::New).is_none());
        held.push(begin(&load, &settings, Begins::GoesOn).expect("the reserve"));
        assert!(begin(&load, &settings, Begins::GoesOn).is_none(), "it has an end");
        held.truncate(3);
        assert!(begin(&load, &settings, Begins::New).is_some());
    }

    #[test]
    fn bodies_are_bounded_together_and_given_back() {
        let (load, settings) = (Load::default(), LoadSettings { bytes_max: 100, ..LoadSettings::default() });
        let another = || begin(&load, &settings, Begins::New).expect("room");
        let (one, other) = (another(), another());
        assert!(one.holds(60) && !other.holds(60));
        drop(other);
        let third = another();
        assert!(third.holds(40));
        drop((one, third));
        assert_eq!(load.0.bytes.load(Ordering::Relaxed), 0);
        assert_eq!(load.0.under_way.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_is_told_for_every_four_that_end_and_nobody_after_more_than_a_second() {
        let telling = Telling::default();
        let second = Telling::SECOND_US;
        let waits = |now_us| telling.wait(now_us).as_micros();
        assert_eq!([waits(second), waits(second), waits(second)], [0, 40_000, 80_000], "of 100 a second");
        (0..4_000).for_each(|nth| telling.has_ended(2 * second + nth));
        telling.has_ended(3 * second);
        let now = 3 * second;
        assert_eq!([waits(now), waits(now), waits(now)], [0, 1_000, 2_000]);
        for _ in 0..2_000 {
            waits(now);
        }
        assert_eq!(waits(now), 1_000_000);
        assert_eq!(waits(now + 5 * second), 0);
    }

    #[test]
    fn messages_say_whether_they_begin_something() {
        for (text, expected) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a"}}"#, Begins::New),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","requestState":"s"}}"#,
                Begins::GoesOn,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"requestState"}}"#,
                Begins::New,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":"tasks/get","params":{"taskId":"a"}}"#, Begins::GoesOn),
            (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Begins::GoesOn),
            (r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}"#, Begins::New),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}"#,
                Begins::GoesOn,
            ),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Begins::GoesOn),
        ] {
            let message = Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default());
            assert_eq!(Begins::of(&message.expect("a message")), expected, "{text}");
        }
    }

    /// A thread that is busy for longer than allowed, twice in a row, begins nothing new until it has come round.
    #[tokio::test]
    async fn a_thread_that_is_late_begins_nothing_new() {
        let lag_max = Duration::from_millis(30);
        let (load, settings) = (Load::default(), LoadSettings { lag_max, ..LoadSettings::default() });
        let busy = || std::thread::sleep(3 * lag_max);
        let mut held: Vec<_> =
            (0..BUSY_MIN).map(|_| begin(&load, &settings, Begins::New).expect("room")).collect();
        held.push(begin(&load, &settings, Begins::New).expect("nobody knows yet"));
        tokio::task::yield_now().await;
        busy();
        assert!(begin(&load, &settings, Begins::New).is_some(), "it may have been a pause of the machine");
        // The beat is felt, late.
        tokio::time::sleep(Duration::from_millis(1)).await;
        busy();
        assert!(begin(&load, &settings, Begins::New).is_none());
        assert!(begin(&load, &settings, Begins::GoesOn).is_some());
        // Once in time, and it is over.
        let over = async {
            while begin(&load, &settings, Begins::New).is_none() {
                tokio::time::sleep(TICK).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), over).await.expect("it has come round");
        held.truncate(BUSY_MIN - 1);
        assert!(begin(&load, &settings, Begins::New).is_some());
    }

    #[tokio::test]
    async fn whose_turn_comes_too_late_is_turned_away_while_much_is_under_way() {
        let (load, settings) = (Load::default(), LoadSettings::default());
        let mut held: Vec<_> =
            (0..BUSY_MIN).map(|_| load.begin(&settings, Begins::New, false).expect("little to do")).collect();
        assert!(load.is_busy());
        assert!(load.begin(&settings, Begins::New, false).is_none());
        assert!(load.begin(&settings, Begins::New, true).is_some());
        assert!(load.begin(&settings, Begins::GoesOn, false).is_some());
        let as_late_as_it_likes = LoadSettings { lag_max: Duration::ZERO, ..settings };
        assert!(load.begin(&as_late_as_it_likes, Begins::New, false).is_some());
        held.pop();
        assert!(!load.is_busy());
    }
}
