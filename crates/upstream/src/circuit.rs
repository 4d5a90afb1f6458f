//! Whether a replica of a server is asked anything: what fails there opens its circuit, time and a success close it.
//!
//! It is one idea for every way to fail. Where nothing can be begun (no connection, no answer to the first question) nothing
//! can be asked either: that opens the circuit at once. Requests open it when several in a row have no answer. However it
//! came, the wait is the same: it doubles from one opening to the next, and begins anew once the replica has been well for
//! a while. Then the circuit is half open: a few requests are let through, the first answer closes it, and the first failure
//! opens it for longer.
//!
//! What the [`Slot`](crate::slot::Slot) of a single session remembers beside it is only what says nothing of the replica's
//! health, such as a refused credential.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::UpstreamError;
use crate::backoff::Backoff;

/// A circuit that opens again within this time after it closed opens for longer.
const STEADY: Duration = Duration::from_mins(1);
/// A request that was let through may never have left: another one is, after this time.
const TRIAL_LIFE: Duration = Duration::from_secs(1);

/// How it stands with a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is asked.
    Closed = 0,
    /// It should not be asked; but as many others are left alone as may be.
    Failing = 1,
    /// It is left alone.
    Open = 2,
    /// It is asked a little.
    HalfOpen = 3,
}

/// Why a circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Nothing could be begun: there is nothing that could be used.
    Beginning,
    /// Requests had no answer.
    Requests,
    /// Checks beside all requests had no good answer: others will say when it is well.
    Checks,
}

/// How many of a server's replicas may be left alone at once because of their requests.
#[derive(Debug)]
pub(crate) struct Floor {
    open: AtomicUsize,
    max: usize,
}

impl Floor {
    /// Of this many replicas: at least one, but never all of several.
    pub(crate) fn new(replicas: usize, percent_max: u8) -> Self {
        let share = replicas * usize::from(percent_max.min(100)) / 100;
        let max = share.min(replicas.saturating_sub(1)).max(1);
        Self { open: AtomicUsize::new(0), max }
    }

    fn enter(&self, in_any_case: bool) -> bool {
        let more = |open: usize| (in_any_case || open < self.max).then_some(open + 1);
        self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn leave(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a circuit goes by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) failures_max: u32,
    pub(crate) trials_max: u32,
    /// The waits after failed beginnings, after failed requests, and until the next check.
    pub(crate) beginnings: Backoff,
    pub(crate) requests: Backoff,
    pub(crate) checks: Backoff,
}

/// The circuit of one replica.
#[derive(Debug)]
pub(crate) struct Circuit {
    rules: Rules,
    floor: Arc<Floor>,
    /// What `state` says, for whoever may not wait.
    standing: AtomicU8,
    /// Requests in a row that have failed.
    failures: AtomicU32,
    /// How often it was half open: what began before says nothing of now.
    epoch: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Openings one after the other, without a steady time between.
    openings: u32,
    closed_at: Option<Instant>,
    open: Option<Open>,
    trials: u32,
    trial_at: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Open {
    cause: Cause,
    error: UpstreamError,
    until: Instant,
}

impl Open {
    fn is_due(&self) -> bool {
        self.cause != Cause::Checks && Instant::now() >= self.until
    }
}

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Opened,
    Closed,
}

impl Circuit {
    pub(crate) fn new(rules: Rules, floor: Arc<Floor>) -> Self {
        Self {
            rules,
            floor,
            standing: AtomicU8::new(Standing::Closed as u8),
            failures: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            state: Mutex::default(),
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.standing.load(Ordering::Relaxed) {
            0 => Standing::Closed,
            1 => Standing::Failing,
            2 => Standing::Open,
            _ => Standing::HalfOpen,
        }
    }

    /// To be kept by a request, and given back with what becomes of it.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// A request was answered.
    pub(crate) fn succeeded(&self, epoch: u32) -> Change {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        match self.standing() {
            Standing::Failing => {
                let _state = self.state();
                if self.standing() == Standing::Failing {
                    self.set(Standing::Closed);
                }
                Change::None
            }
            Standing::HalfOpen if epoch == self.epoch() => self.close(),
            Standing::Closed | Standing::Open | Standing::HalfOpen => Change::None,
        }
    }

    /// A request had no answer, and this is why.
    pub(crate) fn failed(&self, error: &UpstreamError, epoch: u32) -> Change {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let counts = match self.standing() {
            Standing::Closed | Standing::Failing => failures >= self.rules.failures_max,
            Standing::HalfOpen => epoch == self.epoch(),
            Standing::Open => false,
        };
        if counts { self.open(Cause::Requests, error) } else { Change::None }
    }

    /// It leaves more unanswered than the others.
    pub(crate) fn is_outlier(&self, error: &UpstreamError) -> Change {
        self.open(Cause::Requests, error)
    }

    /// Checks beside all requests have failed, for the time being.
    pub(crate) fn condemn(&self, error: &UpstreamError) -> Change {
        self.open(Cause::Checks, error)
    }

    /// Checks say that it is well.
    pub(crate) fn acquit(&self) -> Change {
        let cause = self.state().open.as_ref().map(|open| open.cause);
        if cause == Some(Cause::Checks) { self.close() } else { Change::None }
    }

    /// Nothing could be begun there, and this is why.
    pub(crate) fn could_not_begin(&self, error: &UpstreamError) -> Change {
        self.open(Cause::Beginning, error)
    }

    /// A session was begun, or the server said what it is.
    pub(crate) fn begun(&self) -> Change {
        match self.standing() {
            Standing::Closed | Standing::Failing => Change::None,
            Standing::Open | Standing::HalfOpen => {
                let cause = self.state().open.as_ref().map(|open| open.cause);
                match cause {
                    Some(Cause::Beginning) => self.close(),
                    Some(Cause::Checks) => Change::None,
                    Some(Cause::Requests) | None => {
                        self.half_open();
                        Change::None
                    }
                }
            }
        }
    }

    /// Whether it was opened by what the replica said without end: what it says now is cut off sooner.
    pub(crate) fn is_wary(&self) -> bool {
        self.standing() != Standing::Closed
            && self.state().open.as_ref().is_some_and(|open| open.error.is_spew())
    }

    /// Whether it is open, and has been for long enough.
    pub(crate) fn is_due(&self) -> bool {
        self.standing() == Standing::Open && self.state().open.as_ref().is_none_or(Open::is_due)
    }

    /// Whether it is open because nothing could be begun.
    pub(crate) fn could_begin(&self) -> bool {
        self.state().open.as_ref().is_none_or(|open| open.cause != Cause::Beginning)
    }

    /// From open, after its wait, to half open.
    pub(crate) fn half_open(&self) {
        let mut state = self.state();
        let due = state.open.as_ref().is_none_or(Open::is_due);
        if due && self.standing() == Standing::Open {
            state.trials = 0;
            state.trial_at = None;
            self.epoch.fetch_add(1, Ordering::Relaxed);
            self.set(Standing::HalfOpen);
        }
    }

    /// A place among the requests that are let through while it is half open.
    pub(crate) fn take_trial(&self) -> bool {
        let mut state = self.state();
        if self.standing() != Standing::HalfOpen {
            return false;
        }
        let lost = state.trial_at.is_some_and(|at| at.elapsed() >= TRIAL_LIFE);
        if state.trials >= self.rules.trials_max && !lost {
            return false;
        }
        state.trials = if lost { 1 } else { state.trials + 1 };
        state.trial_at = Some(Instant::now());
        true
    }

    /// When it is tried again, if it is open.
    pub(crate) fn until(&self) -> Option<Instant> {
        let state = self.state();
        (self.standing() == Standing::Open).then(|| state.open.as_ref().map(|open| open.until)).flatten()
    }

    /// What whoever would have asked is told meanwhile.
    pub(crate) fn error(&self) -> UpstreamError {
        let state = self.state();
        let (what, error, until) = match &state.open {
            Some(Open { cause: Cause::Beginning, error, until }) => (error.public(), Some(error), *until),
            Some(Open { cause: Cause::Requests, error, until }) => (
                "the server has left several requests unanswered; it is asked again after a pause".into(),
                Some(error),
                *until,
            ),
            Some(Open { cause: Cause::Checks, error, until }) => {
                ("the server does not answer when it is looked at".into(), Some(error), *until)
            }
            None => ("the server is not asked for now".into(), None, Instant::now()),
        };
        UpstreamError::LeftAlone {
            what,
            detail: error.map(ToString::to_string).unwrap_or_default().into(),
            retry_after: until.saturating_duration_since(Instant::now()),
        }
    }

    fn open(&self, cause: Cause, error: &UpstreamError) -> Change {
        let mut state = self.state();
        let now = Instant::now();
        let standing = self.standing();
        match standing {
            // It is known already; but what cannot even be begun cannot be used either.
            Standing::Open if state.open.as_ref().is_some_and(|open| now < open.until) => {
                if let (Some(open), Cause::Beginning | Cause::Checks) = (&mut state.open, cause)
                    && open.cause != Cause::Checks
                {
                    open.cause = cause;
                }
                return Change::None;
            }
            // Only what condemned it says how long that lasts.
            Standing::Open
                if cause != Cause::Checks
                    && state.open.as_ref().is_some_and(|open| open.cause == Cause::Checks) =>
            {
                return Change::None;
            }
            Standing::Closed | Standing::Failing => {
                if !self.floor.enter(cause == Cause::Beginning) {
                    self.set(Standing::Failing);
                    return Change::None;
                }
                if state.closed_at.is_none_or(|at| at.elapsed() >= STEADY) {
                    state.openings = 0;
                }
            }
            Standing::Open | Standing::HalfOpen => {}
        }
        state.openings = state.openings.saturating_add(1);
        let backoff = match cause {
            Cause::Beginning => self.rules.beginnings,
            Cause::Requests => self.rules.requests,
            Cause::Checks => self.rules.checks,
        };
        let until = now + backoff.after(state.openings);
        state.open = Some(Open { cause, error: error.clone(), until });
        self.set(Standing::Open);
        if matches!(standing, Standing::Closed | Standing::Failing) { Change::Opened } else { Change::None }
    }

    fn close(&self) -> Change {
        let mut state = self.state();
        if !matches!(self.standing(), Standing::Open | Standing::HalfOpen) {
            return Change::None;
        }
        state.open = None;
        state.closed_at = Some(Instant::now());
        self.failures.store(0, Ordering::Relaxed);
        self.floor.leave();
        self.set(Standing::Closed);
        Change::Closed
    }

    fn set(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Relaxed);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rules(failures_max: u32, trials_max: u32) -> Rules {
        let backoff = Backoff::new(SECOND, SECOND * 60);
        Rules { failures_max, trials_max, beginnings: backoff, requests: backoff, checks: backoff }
    }

    fn alone(failures_max: u32, trials_max: u32) -> Circuit {
        Circuit::new(rules(failures_max, trials_max), Arc::new(Floor::new(1, 100)))
    }

    fn lost() -> UpstreamError {
        UpstreamError::closed("lost")
    }

    fn fail(circuit: &Circuit, times: u32) {
        for _ in 0..times {
            circuit.failed(&lost(), circuit.epoch());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_fail_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let circuit = alone(3, 1);
        for _ in 0..5 {
            fail(&circuit, 2);
            assert_eq!(circuit.standing(), Standing::Closed);
            circuit.succeeded(circuit.epoch());
        }
        fail(&circuit, 2);
        assert_eq!(circuit.failed(&lost(), 0), Change::Opened);
        assert_eq!(circuit.standing(), Standing::Open);
        assert!(!circuit.is_due() && !circuit.take_trial());
    }

    #[tokio::test(start_paused = true)]
    async fn half_open_lets_a_few_through_and_the_first_answer_closes_it() {
        let circuit = alone(1, 2);
        fail(&circuit, 1);
        circuit.half_open();
        assert_eq!(circuit.standing(), Standing::Open, "not before its time");
        tokio::time::advance(SECOND).await;
        assert!(circuit.is_due());
        let before = circuit.epoch();
        circuit.half_open();
        let taken = (0..5).filter(|_| circuit.take_trial()).count();
        assert_eq!(taken, 2);
        // What was sent before says nothing of now.
        circuit.succeeded(before);
        circuit.failed(&lost(), before);
        assert_eq!(circuit.standing(), Standing::HalfOpen);
        assert_eq!(circuit.succeeded(circuit.epoch()), Change::Closed);
        assert_eq!(circuit.standing(), Standing::Closed);
        fail(&circuit, 1);
        assert_eq!(circuit.standing(), Standing::Open, "it counts from nought");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trial_that_never_left_is_not_waited_for() {
        let circuit = alone(1, 1);
        fail(&circuit, 1);
        tokio::time::advance(SECOND).await;
        circuit.half_open();
        assert!(circuit.take_trial() && !circuit.take_trial());
        tokio::time::advance(TRIAL_LIFE).await;
        assert!(circuit.take_trial() && !circuit.take_trial());
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_for_longer_each_time_until_it_has_been_well_for_a_while() {
        let circuit = alone(1, 1);
        let mut waits = Vec::new();
        fail(&circuit, 1);
        for _ in 0..4 {
            let wait = circuit.until().expect("open").saturating_duration_since(Instant::now());
            waits.push(wait.as_secs_f64());
            tokio::time::advance(wait).await;
            circuit.half_open();
            assert!(circuit.take_trial());
            fail(&circuit, 1);
        }
        for (wait, most) in waits.iter().zip([1.0, 2.0, 4.0, 8.0]) {
            assert!(*wait <= most && *wait >= most * 0.74, "{waits:?}");
        }
        tokio::time::advance(SECOND * 60).await;
        circuit.half_open();
        circuit.succeeded(circuit.epoch());
        tokio::time::advance(STEADY).await;
        fail(&circuit, 1);
        let wait = circuit.until().expect("open").saturating_duration_since(Instant::now());
        assert!(wait <= SECOND, "{wait:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_beginning_opens_it_at_once_and_a_beginning_closes_it() {
        let circuit = alone(5, 1);
        assert_eq!(circuit.could_not_begin(&lost()), Change::Opened);
        assert_eq!(circuit.error().public(), lost().public());
        tokio::time::advance(SECOND).await;
        circuit.half_open();
        assert_eq!(circuit.begun(), Change::Closed);
        // Of a server that leaves requests unanswered it says too little that it can be greeted.
        fail(&circuit, 5);
        tokio::time::advance(SECOND * 60).await;
        assert_eq!(circuit.begun(), Change::None);
        assert_eq!(circuit.standing(), Standing::HalfOpen);
    }

    #[tokio::test(start_paused = true)]
    async fn what_checks_have_condemned_only_checks_acquit() {
        let circuit = alone(1, 1);
        assert_eq!(circuit.condemn(&lost()), Change::Opened);
        tokio::time::advance(SECOND * 600).await;
        assert!(!circuit.is_due());
        circuit.half_open();
        assert!(!circuit.take_trial());
        assert_eq!(circuit.begun(), Change::None);
        assert_eq!(circuit.standing(), Standing::Open);
        assert_eq!(circuit.acquit(), Change::Closed);
        // What requests have opened does not close for an answer to a check.
        fail(&circuit, 1);
        assert_eq!(circuit.acquit(), Change::None);
        assert_eq!(circuit.standing(), Standing::Open);
    }

    #[tokio::test(start_paused = true)]
    async fn never_are_all_of_several_left_alone_for_their_requests() {
        for (replicas, percent, most) in
            [(1, 0, 1), (1, 100, 1), (2, 100, 1), (3, 100, 2), (3, 0, 1), (10, 30, 3)]
        {
            let floor = Arc::new(Floor::new(replicas, percent));
            let circuits: Vec<_> =
                (0..replicas).map(|_| Circuit::new(rules(1, 1), Arc::clone(&floor))).collect();
            for circuit in &circuits {
                fail(circuit, 1);
            }
            let open = |circuits: &[Circuit]| {
                circuits.iter().filter(|circuit| circuit.standing() == Standing::Open).count()
            };
            assert_eq!(open(&circuits), most, "{replicas} {percent}");
            // One that comes back leaves room for another.
            tokio::time::advance(SECOND).await;
            circuits[0].half_open();
            circuits[0].succeeded(circuits[0].epoch());
            if let Some(other) = circuits.iter().find(|other| other.standing() == Standing::Failing) {
                fail(other, 1);
                assert_eq!(open(&circuits), most);
            }
        }
    }
}
