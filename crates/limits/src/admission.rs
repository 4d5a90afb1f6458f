//! What a request was counted as, until it has ended.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::{Instant, sleep_until, timeout_at};
use tollgate_model::Timestamp;
use tollgate_store::{PlaceId, SharedBound, SharedCount};

use crate::Limits;
use crate::counter::{self, Counter};
use crate::limits::nanos;
use crate::meter::Metered;

/// How often it is looked whether other processes have left places.
const OTHERS: Duration = Duration::from_millis(250);

/// A request that its limits leave room for.
#[derive(Debug, Default)]
pub struct Admission {
    /// What it was counted as.
    pub charge: Charge,
    /// Its places among those under way.
    pub places: Places,
    /// Whether it is a further round of a request that was counted before.
    pub is_round: bool,
}

/// What a request was counted as. Given back when dropped, unless it is settled: what has left for a server was done.
#[derive(Debug, Default)]
pub struct Charge {
    counted: SmallVec<[(Arc<Counter>, Taken); 4]>,
    /// When the moments of rates began to be counted.
    began: Option<Instant>,
    budgets: Option<Box<Budgets>>,
    shared: Option<Box<Shared>>,
    is_settled: AtomicBool,
}

/// What a request has taken of something that is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Taken {
    /// So much time of a rate, up to a moment.
    Rate { each_ns: u64, until: u64 },
    /// One of the quota of the window that began then.
    Quota(Timestamp),
}

/// Budgets that a request is paid from.
#[derive(Debug)]
struct Budgets {
    limits: Limits,
    meters: Vec<(Arc<Counter>, Arc<Metered>)>,
    /// What it costs at least.
    least_nano: AtomicU64,
    is_paid: AtomicBool,
}

/// Rates that were counted together with other processes.
#[derive(Debug)]
struct Shared {
    limits: Limits,
    id: PlaceId,
    /// Each with the moment up to which it was taken.
    rates: Vec<(SharedCount, u64)>,
}

/// What a request has used up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    /// Estimated tokens of arguments and result.
    pub tokens: u64,
    /// Money, in billionths of the currency's unit.
    pub cost_nano: u64,
}

/// The places of a request among those under way. Dropped, others may have them.
#[derive(Default)]
pub struct Places {
    held: SmallVec<[(Arc<Counter>, NonZeroU32); 2]>,
    limits: Option<Limits>,
    /// What it holds together with other processes.
    shared: Option<(PlaceId, Arc<[SharedCount]>)>,
    is_away: AtomicBool,
}

impl Charge {
    pub(crate) fn since(began: Instant) -> Self {
        let mut charge = Self::default();
        charge.began = Some(began);
        charge
    }

    pub(crate) fn add(&mut self, counter: Arc<Counter>, taken: Taken) {
        self.counted.push((counter, taken));
    }

    pub(crate) fn pays(&mut self, limits: &Limits, counter: Arc<Counter>, metered: &Arc<Metered>) {
        let budgets = self.budgets.get_or_insert_with(|| {
            let (least_nano, is_paid) = (AtomicU64::new(0), AtomicBool::new(false));
            Box::new(Budgets { limits: limits.clone(), meters: Vec::new(), least_nano, is_paid })
        });
        budgets.meters.push((counter, Arc::clone(metered)));
    }

    /// It was counted in these rates together with other processes.
    pub(crate) fn shares(&mut self, limits: &Limits, id: PlaceId, rates: Vec<(SharedCount, u64)>) {
        if !rates.is_empty() {
            self.shared = Some(Box::new(Shared { limits: limits.clone(), id, rates }));
        }
    }

    /// Whether it matters what the request uses up.
    pub fn is_paid_for(&self) -> bool {
        self.budgets.is_some()
    }

    /// What the request costs at least, once it is settled: also where nobody learns what else it has used up.
    pub fn costs_at_least(&self, nano: u64) {
        if let Some(budgets) = &self.budgets {
            budgets.least_nano.store(nano, Ordering::Relaxed);
        }
    }

    /// The request has used up so much. It is the whole of it for the first time, and what is more later.
    pub fn spend(&self, spent: Spent) {
        if let Some(budgets) = &self.budgets {
            budgets.is_paid.store(true, Ordering::Release);
            budgets.limits.spend(&budgets.meters, spent);
        }
    }

    /// The request has used up these texts, whose tokens are counted now or soon; `cost` says what they cost by their numbers.
    /// It is the whole of it for the first time, and what is more later.
    pub fn pay(&self, texts: [&[u8]; 2], cost: impl FnOnce([u64; 2]) -> u64 + Send + 'static) {
        let Some(budgets) = &self.budgets else { return };
        budgets.is_paid.store(true, Ordering::Release);
        let (limits, meters) = (budgets.limits.clone(), budgets.meters.clone());
        let runtime = tokio::runtime::Handle::try_current();
        limits.encoding().count(texts, move |tokens| {
            // What is overdrawn is written down from there.
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let all = tokens[0].saturating_add(tokens[1]);
            limits.spend(&meters, Spent { tokens: all, cost_nano: cost(tokens) });
        });
    }

    /// The request is about to have its effect: it counts, whatever becomes of it.
    pub fn settle(&self) {
        self.is_settled.store(true, Ordering::Release);
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        if *self.is_settled.get_mut() {
            if let Some(budgets) = self.budgets.as_ref().filter(|own| !own.is_paid.load(Ordering::Acquire)) {
                let cost_nano = budgets.least_nano.load(Ordering::Relaxed);
                budgets.limits.spend(&budgets.meters, Spent { tokens: 0, cost_nano });
            }
            return;
        }
        let now = self.began.map_or(0, |began| nanos(began.elapsed()));
        if let Some(shared) = self.shared.take() {
            let left = shared.rates.iter().filter_map(|(count, until)| left_of(count, *until, now));
            let left: Vec<SharedCount> = left.collect();
            if !left.is_empty() {
                shared.limits.give_back_together(shared.id, left.into());
            }
        }
        for (counter, taken) in &self.counted {
            match (&**counter, *taken) {
                (Counter::Rate(at), Taken::Rate { each_ns, until }) => {
                    counter::give_back(at, left(each_ns, until, now));
                }
                (Counter::Meter(meter), Taken::Quota(window)) => meter.give_back(window),
                _ => {}
            }
        }
    }
}

/// What is left of the time that a request has taken of a rate: what is over nobody else could have now, or who waits long and
/// then leaves would have kept it for later.
fn left(each_ns: u64, until: u64, now: u64) -> u64 {
    until.saturating_sub(now).min(each_ns)
}

/// The same of a rate that is counted together; none if it is over.
fn left_of(count: &SharedCount, until: u64, now: u64) -> Option<SharedCount> {
    let SharedBound::Rate { each, window, ahead } = count.bound else { return None };
    let each = Duration::from_nanos(left(nanos(each), until, now));
    let bound = SharedBound::Rate { each, window, ahead };
    (!each.is_zero()).then(|| SharedCount { bound, ..count.clone() })
}

impl Places {
    pub(crate) fn of(limits: &Limits) -> Self {
        let mut places = Self::default();
        places.limits = Some(limits.clone());
        places
    }

    pub(crate) fn add(&mut self, counter: Arc<Counter>, most: NonZeroU32) {
        self.held.push((counter, most));
    }

    /// From now on it leaves these too.
    pub(crate) fn shares(&mut self, id: PlaceId, places: Arc<[SharedCount]>) {
        self.shared = Some((id, places)).filter(|(_, places)| !places.is_empty());
    }

    /// It holds none of these after all.
    pub(crate) fn shares_nothing(&mut self) {
        self.shared = None;
    }

    /// It holds them.
    pub(crate) fn hold(&self) {
        if let (Some(limits), Some((id, places))) = (&self.limits, &self.shared) {
            limits.hold(*id, places);
        }
    }

    /// Whether there are any to be held.
    pub fn are_none(&self) -> bool {
        self.held.is_empty()
    }

    /// How long they are held after the request was left, where it is not known when its server is done with it.
    pub fn stay(&self) -> Duration {
        self.limits.as_ref().map_or(Duration::ZERO, |limits| limits.0.rules.load().abandoned)
    }

    /// Leaves them for others while the request waits for a person.
    pub fn leave(&self) {
        if !self.held.is_empty() && !self.is_away.swap(true, Ordering::AcqRel) {
            self.free();
        }
    }

    /// Takes them again, as soon as there are free ones. Whether there were, within this time.
    pub async fn come_back(&self, wait: Duration) -> bool {
        if !self.is_away.load(Ordering::Acquire) {
            return true;
        }
        let Some(limits) = &self.limits else { return true };
        let (waits, until) = (limits.waits(), Instant::now() + wait);
        loop {
            let mut freed = std::pin::pin!(waits.for_one());
            freed.as_mut().enable();
            if self.enter(limits) {
                match &self.shared {
                    Some((id, places)) if !limits.hold_again(*id, places).await => self.leave(),
                    _ => {
                        self.hold();
                        return true;
                    }
                }
                // Nobody tells when other processes leave theirs.
                if Instant::now() >= until {
                    return false;
                }
                sleep_until(until.min(Instant::now() + OTHERS)).await;
            } else if timeout_at(until, freed).await.is_err() {
                return false;
            }
        }
    }

    /// Takes all or none here.
    fn enter(&self, limits: &Limits) -> bool {
        let alone = limits.alone();
        for (nth, (counter, most)) in self.held.iter().enumerate() {
            let Counter::Slots(taken) = &**counter else { continue };
            if !counter::enter(taken, alone.places(*most)) {
                self.free_here(nth);
                return false;
            }
        }
        self.is_away.store(false, Ordering::Release);
        true
    }

    fn free(&self) {
        self.free_here(self.held.len());
        if let (Some(limits), Some((id, places))) = (&self.limits, &self.shared) {
            limits.give_back_together(*id, Arc::clone(places));
        }
    }

    /// Leaves the first so many.
    fn free_here(&self, count: usize) {
        for (counter, _) in &self.held[..count] {
            if let Counter::Slots(taken) = &**counter {
                counter::give_back(taken, 1);
            }
        }
        if let (Some(limits), true) = (&self.limits, count > 0) {
            limits.freed();
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        if !*self.is_away.get_mut() {
            self.free();
        }
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places")
            .field("held", &self.held)
            .field("is_away", &self.is_away)
            .finish_non_exhaustive()
    }
}
