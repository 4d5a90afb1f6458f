//! Rates and places that all gateways count together.
//!
//! One question is asked of the server that counts, for all that a request is counted in; what it answers is remembered. While
//! it is away each gateway gives out its share of what was left then, and says so; once it is back and has forgotten everything
//! it is told what is remembered. Places are held for a while only, and kept while their requests are under way: those of a
//! gateway that was killed come free.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::Notify;
use tollgate_model::Exceeded;
use tollgate_store::{LEASE, PlaceId, SharedBound, SharedCount, SharedCounters, StoreError};

use crate::admission::{Admission, Taken};
use crate::counter::Counter;
use crate::gcra::Rate;
use crate::limits::{Inner, nanos};
use crate::notice::Notice;
use crate::reach::{Away, Reach};
use crate::rules::{Measure, Rules};
use crate::{Limits, Subject, key};

/// How often what is held is kept: twice may fail.
const KEEP_EVERY: Duration = Duration::from_secs(LEASE.as_secs() / 4);
/// How often a server that is away is asked whether it is back.
const AGAIN: Duration = Duration::from_millis(500);

/// Who counts for all gateways, and what is held there.
#[derive(Debug, Default)]
pub(crate) struct Together {
    by: ArcSwapOption<By>,
    reach: Reach,
    went_away: Arc<Notify>,
    ids: Ids,
    held: Mutex<HashMap<PlaceId, Arc<[SharedCount]>>>,
}

#[derive(Debug)]
struct By(Arc<dyn SharedCounters>);

/// Ids that no other process gives out.
#[derive(Debug)]
struct Ids {
    process: u64,
    next: AtomicU64,
}

/// What a process counts by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Alone {
    /// All: nobody else counts the same.
    All,
    /// No rates, and places only for as long as the others have none.
    Together,
    /// One of so many parts.
    Share(u32),
}

/// A request that still has to be counted together.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) rules: Arc<Rules>,
    pub(crate) asked: Vec<(usize, Arc<Counter>)>,
    /// What it was counted in here.
    pub(crate) admission: Admission,
}

impl Default for Ids {
    fn default() -> Self {
        Self { process: RandomState::new().hash_one(std::process::id()), next: AtomicU64::new(0) }
    }
}

impl Alone {
    /// How a rate is counted here.
    pub(crate) fn rate(self, rate: Rate) -> Option<Rate> {
        match self {
            Self::All => Some(rate),
            Self::Together => None,
            Self::Share(parts) => Some(rate.part(parts)),
        }
    }

    /// How many places there are here.
    pub(crate) fn places(self, most: NonZeroU32) -> u64 {
        match self {
            Self::All | Self::Together => u64::from(most.get()),
            Self::Share(parts) => u64::from((most.get() / parts.max(1)).max(1)),
        }
    }
}

impl Together {
    /// What this process counts by itself now.
    pub(crate) fn alone(&self, rules: &Rules) -> Alone {
        if self.by.load().is_none() {
            Alone::All
        } else if self.reach.is_away() {
            Alone::Share(rules.replicas)
        } else {
            Alone::Together
        }
    }

    fn by(&self) -> Option<Arc<By>> {
        self.by.load_full()
    }

    fn new_id(&self) -> PlaceId {
        let next = self.ids.next.fetch_add(1, Ordering::Relaxed);
        PlaceId(u128::from(self.ids.process) << 64 | u128::from(next))
    }

    fn held(&self) -> MutexGuard<'_, HashMap<PlaceId, Arc<[SharedCount]>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Limits {
    /// Rates and places are counted there from now on, together with other gateways. Must be called within a runtime.
    pub fn share_by(&self, counters: Arc<dyn SharedCounters>) {
        self.0.together.by.store(Some(Arc::new(By(counters))));
        tokio::spawn(keep_up(Arc::downgrade(&self.0)));
    }

    /// Whether rates and places are counted together with other gateways, or are meant to be.
    pub fn are_shared(&self) -> bool {
        self.0.together.by.load().is_some()
    }

    /// Why they cannot be just now.
    pub fn shared_away(&self) -> Option<Away> {
        self.0.together.reach.away()
    }

    /// Counts a request in what is counted together: in all or nothing. Where nobody answers, this process keeps to its share.
    pub(crate) async fn count_together(
        &self,
        subject: &Subject<'_>,
        pending: Pending,
    ) -> Result<Admission, Exceeded> {
        let Pending { rules, asked, mut admission } = pending;
        let together = &self.0.together;
        let Some(by) = together.by() else { return Ok(admission) };
        let (id, now) = (together.new_id(), self.now());
        let counts: Vec<SharedCount> =
            asked.iter().map(|(index, counter)| shared(&rules, *index, counter, subject, now)).collect();
        let places: Vec<SharedCount> = counts.iter().filter(|count| is_place(count)).cloned().collect();
        // Before it is asked: whoever leaves meanwhile leaves nothing behind.
        admission.places.shares(id, places.into());
        let counted = match by.0.count(id, &counts).await {
            Ok(counted) => counted,
            Err(error) => {
                self.heard_together(Some(&error));
                return self.count_share(&rules, &asked, admission);
            }
        };
        self.heard_together(None);
        let now = self.now();
        for ((_, counter), ahead) in asked.iter().zip(&counted.ahead) {
            if let Counter::Rate(at) = &**counter {
                at.fetch_max(now.saturating_add(nanos(*ahead)), Ordering::Relaxed);
            }
        }
        if let Some((nth, wait)) = counted.full {
            admission.places.shares_nothing();
            let Some((index, _)) = asked.get(nth) else { return Ok(admission) };
            let prepared = &rules.all[*index];
            return Err(match prepared.measure {
                Measure::Slots(_) => prepared.occupied(),
                _ => prepared.exceeds(nanos(wait)),
            });
        }
        let mut rates = Vec::new();
        for (nth, ((_, counter), count)) in asked.into_iter().zip(counts).enumerate() {
            if let SharedBound::Rate { each, .. } = count.bound {
                let until = now.saturating_add(counted.ahead.get(nth).copied().map_or(0, nanos));
                admission.charge.add(counter, Taken::Rate { each_ns: nanos(each), until });
                rates.push((count, until));
            }
        }
        admission.charge.shares(self, id, rates);
        admission.places.hold();
        Ok(admission)
    }

    /// The same by this process alone, up to its share.
    fn count_share(
        &self,
        rules: &Rules,
        asked: &[(usize, Arc<Counter>)],
        mut admission: Admission,
    ) -> Result<Admission, Exceeded> {
        let (now, alone) = (self.now(), Alone::Share(rules.replicas));
        for (index, counter) in asked {
            let prepared = &rules.all[*index];
            match (&prepared.measure, &**counter) {
                (Measure::Rate(rate), _) => {
                    if let Some(rate) = alone.rate(*rate) {
                        prepared.take(rate, counter, now, &mut admission)?;
                    }
                }
                // It has its own already.
                (Measure::Slots(most), Counter::Slots(taken))
                    if taken.load(Ordering::Relaxed) > alone.places(*most) =>
                {
                    return Err(prepared.occupied());
                }
                _ => {}
            }
        }
        Ok(admission)
    }

    /// Takes places again that were left. Whether there were any: where nobody answers it is up to this process.
    pub(crate) async fn hold_again(&self, id: PlaceId, places: &Arc<[SharedCount]>) -> bool {
        let Some(by) = self.0.together.by().filter(|_| !self.0.together.reach.is_away()) else { return true };
        let counted = by.0.count(id, places).await;
        self.heard_together(counted.as_ref().err());
        counted.is_ok_and(|counted| counted.full.is_none())
    }

    /// These places are held now, and kept.
    pub(crate) fn hold(&self, id: PlaceId, places: &Arc<[SharedCount]>) {
        self.0.together.held().insert(id, Arc::clone(places));
    }

    /// Rates that were counted and are given back, or places that are left.
    pub(crate) fn give_back_together(&self, id: PlaceId, counts: Arc<[SharedCount]>) {
        self.0.together.held().remove(&id);
        let together = &self.0.together;
        let Some(by) = together.by().filter(|_| !together.reach.is_away()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        // What does not get there counts as carried out, and is held no longer than it would be without this.
        runtime.spawn(async move { by.0.give_back(id, &counts).await });
    }

    /// Keeps what is held; with nothing, looks whether anybody answers.
    async fn keep(&self) {
        let together = &self.0.together;
        let Some(by) = together.by() else { return };
        let held: Vec<(PlaceId, SharedCount)> = {
            let held = together.held();
            held.iter().flat_map(|(id, all)| all.iter().map(|count| (*id, count.clone()))).collect()
        };
        let kept = by.0.keep(&held).await;
        let is_kept = kept.is_ok();
        self.heard_together(kept.err().as_ref());
        if !is_kept {
            return;
        }
        // What was left meanwhile must not be held again.
        let left: Vec<(PlaceId, SharedCount)> = {
            let now = together.held();
            held.into_iter().filter(|(id, _)| !now.contains_key(id)).collect()
        };
        for (id, count) in left {
            if by.0.give_back(id, &[count]).await.is_err() {
                return;
            }
        }
    }

    fn heard_together(&self, failure: Option<&StoreError>) {
        let reason = failure.map(ToString::to_string);
        if self.0.together.reach.heard(reason.as_deref(), self.0.clock.now()) {
            if reason.is_some() {
                self.0.together.went_away.notify_one();
            }
            self.tell(reason.map_or(Notice::SharedBack, |reason| Notice::SharedAway { reason }));
        }
    }
}

/// Keeps what is held, and asks a server that is away whether it is back. Ends with the limits.
async fn keep_up(limits: Weak<Inner>) {
    loop {
        let Some(limits) = limits.upgrade().map(Limits) else { return };
        limits.keep().await;
        let (is_away, went_away) =
            (limits.0.together.reach.is_away(), Arc::clone(&limits.0.together.went_away));
        // It is not what keeps them.
        drop(limits);
        if is_away {
            tokio::time::sleep(AGAIN).await;
        } else {
            let _ = tokio::time::timeout(KEEP_EVERY, went_away.notified()).await;
        }
    }
}

/// What a rule counts a request in.
fn shared(rules: &Rules, index: usize, counter: &Counter, subject: &Subject<'_>, now: u64) -> SharedCount {
    let prepared = &rules.all[index];
    let rule = &prepared.rule;
    let bound = match (&prepared.measure, counter) {
        (Measure::Rate(rate), Counter::Rate(at)) => SharedBound::Rate {
            each: Duration::from_nanos(rate.each_ns()),
            window: Duration::from_nanos(rate.window_ns()),
            ahead: Duration::from_nanos(at.load(Ordering::Relaxed).saturating_sub(now)),
        },
        (Measure::Slots(most), _) => SharedBound::Places(u64::from(most.get())),
        // No other rules are counted together.
        _ => SharedBound::Places(u64::MAX >> 11),
    };
    let own = key::of(prepared.slot, rule, subject);
    SharedCount {
        of: key::counted_together(rule, &own, &bound),
        tenant: rule.is_per_tenant().then(|| subject.tenant.into()),
        bound,
    }
}

fn is_place(count: &SharedCount) -> bool {
    matches!(count.bound, SharedBound::Places(_))
}
