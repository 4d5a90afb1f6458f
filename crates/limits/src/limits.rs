//! The limits of a gateway, and what a request was counted as.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::time::Instant;
use tollgate_model::{Exceeded, Limited};

use crate::admission::{Admission, Places};
use crate::counter::{self, Counter};
use crate::gcra::{Full, Rate};
use crate::prepaid::{Prepaid, Round};
use crate::rule::{Bound, Dimension, Rule};
use crate::table::{Room, Table};
use crate::{LimitSettings, Subject, key};

/// How many rules about one request are looked at without memory of their own.
const USUAL: usize = 6;
/// After how long whoever finds no place among those under way is told to try again.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// The limits of a gateway. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Limits(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    rules: ArcSwap<Rules>,
    table: Table,
    prepaid: Prepaid,
    names: Mutex<Names>,
    /// Somebody waits for a place among those under way.
    waiting: AtomicUsize,
    freed: Notify,
    began: Instant,
}

/// The rules of one configuration.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<Prepared>,
    of_tenant: HashMap<Box<str>, Box<[usize]>>,
    room: Option<Room>,
    /// Patterns of methods that some rule names: beside calls, only these can be limited.
    is_any_per_method: bool,
}

#[derive(Debug)]
struct Prepared {
    rule: Rule,
    slot: u32,
    measure: Measure,
}

#[derive(Debug, Clone, Copy)]
enum Measure {
    Rate(Rate),
    Slots(NonZeroU32),
}

/// The numbers that rules have in the keys of their counters: the same over reloads, as long as a rule counts the same. What is
/// known of a rate is a time, which means nothing for another rate.
#[derive(Debug, Default)]
struct Names {
    slots: HashMap<Counted, u32>,
    next: u32,
}

type Counted = (Option<Arc<str>>, Arc<str>, Vec<Dimension>, Limited, Option<Rate>);

/// Rules about one request with their counters.
type Found = SmallVec<[(usize, Arc<Counter>); USUAL]>;

impl Default for Limits {
    fn default() -> Self {
        Self(Arc::new(Inner {
            rules: ArcSwap::default(),
            table: Table::new(),
            prepaid: Prepaid::default(),
            names: Mutex::default(),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            began: Instant::now(),
        }))
    }
}

impl Limits {
    /// These limits. Nothing was counted yet.
    pub fn new(settings: &LimitSettings) -> Self {
        let limits = Self::default();
        limits.apply(settings);
        limits
    }

    /// Other limits from now on. A rule that counts the same as one before goes on from what was counted; another rate begins
    /// anew.
    pub fn apply(&self, settings: &LimitSettings) {
        let mut names = self.0.names.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Prepared> = settings.rules.iter().map(|rule| names.prepare(rule)).collect();
        names.slots.retain(|_, slot| all.iter().any(|prepared| prepared.slot == *slot));
        let of_tenant = settings.tenants.iter().map(|tenant| {
            let own = all.iter().enumerate().filter(|(_, own)| own.rule.is_about_tenant(tenant.as_str()));
            (tenant.as_str().into(), own.map(|(index, _)| index).collect())
        });
        let of_tenant = of_tenant.collect();
        let share = if settings.tenants.len() > 1 { settings.tenant_share_percent } else { 100 };
        let tenant = settings.counters_max.saturating_mul(share).div_ceil(100);
        let room = Some(Room { all: settings.counters_max, tenant });
        let is_any_per_method = all.iter().any(|prepared| {
            !prepared.rule.about.method.is_empty() || prepared.rule.per.contains(&Dimension::Method)
        });
        self.0.rules.store(Arc::new(Rules { all, of_tenant, room, is_any_per_method }));
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        !self.0.rules.load().all.is_empty()
    }

    /// Whether there may be any for what is no call of a tool, no read and no prompt.
    pub fn are_any_beside_calls(&self) -> bool {
        self.0.rules.load().is_any_per_method
    }

    /// Counts a request, if every rule that is about it leaves room for it.
    ///
    /// # Errors
    /// The limit that leaves no room for the longest time. Nothing was counted then.
    pub fn admit(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded> {
        self.admit_as(subject, false)
    }

    /// The same for a further round of a request that was counted: it only needs its place among those under way.
    ///
    /// # Errors
    /// As [`Self::admit`]. The round is expected still.
    pub fn go_on(&self, subject: &Subject<'_>, round: [u8; 20]) -> Result<Admission, Exceeded> {
        if !self.0.prepaid.is_expected(&round, self.now()) {
            return self.admit(subject);
        }
        let admission = self.admit_as(subject, true)?;
        if self.0.prepaid.take(&round, self.now()) {
            return Ok(admission);
        }
        // Another was faster with the same round.
        drop(admission);
        self.admit(subject)
    }

    /// A request that was counted may go on in a further round within this time.
    pub fn expect(&self, round: Round, wait: Duration) {
        let now = self.now();
        self.0.prepaid.expect(round, now.saturating_add(nanos(wait)), now);
    }

    /// Forgets what was counted and says nothing any more.
    pub fn sweep(&self) {
        self.0.table.sweep(self.now());
    }

    /// How many counters there are.
    pub fn counters(&self) -> usize {
        self.0.table.count()
    }

    /// How often a request had to share a counter, since there were too many.
    pub fn shared_count(&self) -> usize {
        self.0.table.full_count()
    }

    fn admit_as(&self, subject: &Subject<'_>, is_counted: bool) -> Result<Admission, Exceeded> {
        let rules = self.0.rules.load();
        if rules.all.is_empty() {
            return Ok(Admission::default());
        }
        let now = self.now();
        let found = self.find(&rules, subject, is_counted, now);
        let mut worst: Option<Exceeded> = None;
        for (index, counter) in &found {
            if let Err(exceeded) = rules.all[*index].look(counter, now)
                && worst.as_ref().is_none_or(|worst| worst.retry_after < exceeded.retry_after)
            {
                worst = Some(exceeded);
            }
        }
        if let Some(exceeded) = worst {
            return Err(exceeded);
        }
        let mut admission = Admission { places: Places::of(self), ..Admission::default() };
        for (index, counter) in found {
            // Others may have come between: dropped, it gives back what this one has counted so far.
            rules.all[index].count(counter, now, &mut admission)?;
        }
        Ok(admission)
    }

    /// The rules about a request, each with its counter.
    fn find(&self, rules: &Rules, subject: &Subject<'_>, is_counted: bool, now: u64) -> Found {
        let mut found = Found::new();
        let mut add = |index: usize, prepared: &Prepared| {
            let is_wanted = !is_counted || matches!(prepared.measure, Measure::Slots(_));
            if is_wanted && prepared.rule.is_about(subject) {
                found.push((index, self.counter(rules, prepared, subject, now)));
            }
        };
        match rules.of_tenant.get(subject.tenant) {
            Some(own) => {
                for index in own {
                    add(*index, &rules.all[*index]);
                }
            }
            None => {
                for (index, prepared) in rules.all.iter().enumerate() {
                    if prepared.rule.is_about_tenant(subject.tenant) {
                        add(index, prepared);
                    }
                }
            }
        }
        found
    }

    fn counter(&self, rules: &Rules, prepared: &Prepared, subject: &Subject<'_>, now: u64) -> Arc<Counter> {
        let Prepared { rule, slot, measure } = prepared;
        let whose = rule.is_per_tenant().then_some(subject.tenant);
        let make = || match measure {
            Measure::Rate(_) => Counter::Rate(AtomicU64::new(0)),
            Measure::Slots(_) => Counter::Slots(AtomicU64::new(0)),
        };
        let room = rules.room.unwrap_or(Room { all: 0, tenant: 0 });
        let own = key::of(*slot, rule, subject);
        self.0.table.get(&own, (whose, room), now, make).unwrap_or_else(|| {
            let shared = key::shared(*slot, rule, subject);
            self.0.table.get_always(&shared, whose, make)
        })
    }

    fn now(&self) -> u64 {
        nanos(self.0.began.elapsed())
    }

    /// Somebody waits for a place, until this is dropped.
    pub(crate) fn waits(&self) -> Waits<'_> {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        Waits(self)
    }

    /// There are places again.
    pub(crate) fn freed(&self) {
        if self.0.waiting.load(Ordering::Acquire) > 0 {
            self.0.freed.notify_waiters();
        }
    }
}

/// Somebody waits for a place.
pub(crate) struct Waits<'a>(&'a Limits);

impl Waits<'_> {
    /// Ends when there may be one. Hears of what is freed from this call on.
    pub(crate) fn for_one(&self) -> Notified<'_> {
        self.0.0.freed.notified()
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Prepared {
    /// Whether there is room.
    fn look(&self, counter: &Counter, now: u64) -> Result<(), Exceeded> {
        match (&self.measure, counter) {
            (Measure::Rate(rate), Counter::Rate(at)) => {
                counter::has_room(at, *rate, now).map_err(|full| self.full(full))
            }
            (Measure::Slots(most), Counter::Slots(taken)) => {
                let is_free = taken.load(Ordering::Relaxed) < u64::from(most.get());
                if is_free { Ok(()) } else { Err(self.occupied()) }
            }
            _ => Ok(()),
        }
    }

    /// Counts a request.
    fn count(&self, counter: Arc<Counter>, now: u64, admission: &mut Admission) -> Result<(), Exceeded> {
        match (&self.measure, &*counter) {
            (Measure::Rate(rate), Counter::Rate(at)) => {
                counter::take(at, *rate, now).map_err(|full| self.full(full))?;
                admission.charge.add(counter, rate.each_ns());
            }
            (Measure::Slots(most), Counter::Slots(taken)) => {
                if !counter::enter(taken, u64::from(most.get())) {
                    return Err(self.occupied());
                }
                admission.places.add(counter, u64::from(most.get()));
            }
            _ => {}
        }
        Ok(())
    }

    fn full(&self, full: Full) -> Exceeded {
        let (allowed, window) = match &self.rule.bound {
            Bound::Rate { requests, per, .. } => (requests.get(), Some(*per)),
            Bound::Concurrency(most) => (most.get(), None),
        };
        Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: Limited::Rate,
            allowed: u64::from(allowed),
            window,
            left: 0,
            retry_after: Duration::from_nanos(full.wait_ns),
        }
    }

    fn occupied(&self) -> Exceeded {
        Exceeded { of: Limited::Concurrency, retry_after: PLACE_WAIT, ..self.full(Full { wait_ns: 0 }) }
    }
}

impl Names {
    fn prepare(&mut self, rule: &Rule) -> Prepared {
        let (measure, of) = match &rule.bound {
            Bound::Rate { requests, per, burst } => {
                (Measure::Rate(Rate::new(*requests, *per, *burst)), Limited::Rate)
            }
            Bound::Concurrency(most) => (Measure::Slots(*most), Limited::Concurrency),
        };
        let plan = rule.plan.as_ref().map(|plan| Arc::clone(&plan.name));
        let rate = match measure {
            Measure::Rate(rate) => Some(rate),
            Measure::Slots(_) => None,
        };
        let counted = (plan, Arc::clone(&rule.name), rule.per.clone(), of, rate);
        let next = &mut self.next;
        let slot = *self.slots.entry(counted).or_insert_with(|| {
            *next += 1;
            *next
        });
        Prepared { rule: rule.clone(), slot, measure }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
