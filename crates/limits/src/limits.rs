//! The limits of a gateway, and what a request was counted as.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tollgate_model::{Clock, Exceeded, Limited, SystemClock};
use tollgate_store::{Allowances, Memory, StoreError};

use crate::admission::{Admission, Places, Spent};
use crate::counter::{self, Counter};
use crate::gcra::{Full, Rate};
use crate::meter::{Look, Meter, Metered, Now};
use crate::notice::Notice;
use crate::prepaid::{Prepaid, Round};
use crate::rule::{Bound, Dimension, Rule, Unit};
use crate::runaway::{Keys, Pace, RunawaySettings, Verdict, Why};
use crate::table::{Room, Table};
use crate::{LimitSettings, Subject, key};

/// How many rules about one request are looked at without memory of their own.
const USUAL: usize = 6;
/// After how long whoever finds no place among those under way is told to try again.
const PLACE_WAIT: Duration = Duration::from_secs(1);
/// How many notices may wait for whoever tells operators. What is more is in the metrics only.
const NOTICES_MAX: usize = 64;
/// After how long without a request what was taken of a quota or budget in vain is given back, in nanoseconds.
const IDLE: u64 = 600_000_000_000;

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
    clock: Box<dyn Clock>,
    /// Who knows what other processes have used of quotas and budgets.
    store: ArcSwap<Known>,
    is_away: AtomicBool,
    keys: Keys,
    notices: mpsc::Sender<Notice>,
    hears: Mutex<Option<mpsc::Receiver<Notice>>>,
}

/// Where it is known what is used up of quotas and budgets.
#[derive(Debug, Clone)]
struct Known(Arc<dyn Allowances>);

/// The rules of one configuration.
#[derive(Debug, Default)]
struct Rules {
    all: Vec<Prepared>,
    of_tenant: HashMap<Box<str>, Box<[usize]>>,
    room: Option<Room>,
    runaway: Option<RunawaySettings>,
    /// Which configuration it is.
    epoch: u64,
    /// Patterns of methods that some rule names: beside calls, only these can be limited.
    is_any_per_method: bool,
}

#[derive(Debug)]
struct Prepared {
    rule: Rule,
    slot: u32,
    measure: Measure,
}

#[derive(Debug, Clone)]
enum Measure {
    Rate(Rate),
    Slots(NonZeroU32),
    Meter(Arc<Metered>),
}

/// What became of a request.
enum Tried {
    Done(Result<Admission, Exceeded>),
    /// First it has to be known what others have used.
    Asks(Arc<Counter>, Arc<Metered>),
}

/// Why a request is not counted.
enum Not {
    Full(Exceeded),
    Known(Arc<Metered>),
}

/// The numbers that rules have in the keys of their counters: the same over reloads, as long as a rule counts the same. What is
/// known of a rate is a time, which means nothing for another rate.
#[derive(Debug, Default)]
struct Names {
    slots: HashMap<Counted, u32>,
    next: u32,
}

type Counted = (Option<Arc<str>>, Arc<str>, Vec<Dimension>, Limited, (Option<Rate>, Option<Unit>));

/// Rules about one request with their counters.
type Found = SmallVec<[(usize, Arc<Counter>); USUAL]>;

impl Default for Limits {
    fn default() -> Self {
        Self::with_clock(Box::new(SystemClock))
    }
}

impl Limits {
    /// None yet, by this clock.
    pub(crate) fn with_clock(clock: Box<dyn Clock>) -> Self {
        let (notices, hears) = mpsc::channel(NOTICES_MAX);
        Self(Arc::new(Inner {
            rules: ArcSwap::default(),
            table: Table::new(),
            prepaid: Prepaid::default(),
            names: Mutex::default(),
            waiting: AtomicUsize::new(0),
            freed: Notify::new(),
            began: Instant::now(),
            clock,
            store: ArcSwap::from_pointee(Known(Arc::new(Memory::default()))),
            is_away: AtomicBool::new(false),
            keys: Keys::default(),
            notices,
            hears: Mutex::new(Some(hears)),
        }))
    }

    /// What is used up of quotas and budgets is known there from now on. Without it, it ends with the process.
    pub fn keep_in(&self, store: Arc<dyn Allowances>) {
        self.0.store.store(Arc::new(Known(store)));
    }

    /// What operators have to be told. Only the first who asks hears of it.
    pub fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.0.hears.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether it is not known what other processes have used of quotas and budgets.
    pub fn is_away(&self) -> bool {
        self.0.is_away.load(Ordering::Relaxed)
    }

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
        let all: Vec<Prepared> = settings.rules.iter().map(|rule| names.prepare(rule, settings)).collect();
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
        let (runaway, epoch) = (settings.runaway.clone(), self.0.rules.load().epoch + 1);
        self.0.rules.store(Arc::new(Rules { all, of_tenant, room, runaway, epoch, is_any_per_method }));
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        !self.0.rules.load().all.is_empty()
    }

    /// Whether there may be any for what is no call of a tool, no read and no prompt.
    pub fn are_any_beside_calls(&self) -> bool {
        self.0.rules.load().is_any_per_method
    }

    /// Counts a request, if every rule that is about it leaves room for it. None if it has to be asked first what other
    /// processes have used: [`Self::admit`] does.
    ///
    /// # Errors
    /// The limit that leaves no room for the longest time. Nothing was counted then.
    pub fn try_admit(&self, subject: &Subject<'_>) -> Option<Result<Admission, Exceeded>> {
        match self.admit_as(subject, false) {
            Tried::Done(done) => Some(done),
            Tried::Asks(..) => None,
        }
    }

    /// The same, and asks if it has to.
    ///
    /// # Errors
    /// As [`Self::try_admit`].
    pub async fn admit(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded> {
        loop {
            match self.admit_as(subject, false) {
                Tried::Done(done) => return done,
                // Each question ends in more room, or in none for a while.
                Tried::Asks(counter, metered) => self.ask(&counter, &metered).await,
            }
        }
    }

    /// The same for a further round of a request that was counted: it only needs its place among those under way.
    ///
    /// # Errors
    /// As [`Self::try_admit`]. The round is expected still.
    pub fn try_go_on(&self, subject: &Subject<'_>, round: [u8; 20]) -> Option<Result<Admission, Exceeded>> {
        if !self.0.prepaid.is_expected(&round, self.now()) {
            return self.try_admit(subject);
        }
        let admission = match self.admit_as(subject, true) {
            Tried::Done(Ok(admission)) => admission,
            Tried::Done(Err(exceeded)) => return Some(Err(exceeded)),
            Tried::Asks(..) => return None,
        };
        if self.0.prepaid.take(&round, self.now()) {
            return Some(Ok(admission));
        }
        // Another was faster with the same round.
        drop(admission);
        self.try_admit(subject)
    }

    /// Whether agents are watched.
    pub fn watches(&self) -> bool {
        self.0.rules.load().runaway.is_some()
    }

    /// Watches a call of whoever is known by `who` in its tenant: whether it has run away. `what` says which call it is.
    pub fn watch(&self, subject: &Subject<'_>, who: &str, what: &[u8]) -> Verdict {
        let rules = self.0.rules.load();
        let (Some(settings), Some(room)) = (&rules.runaway, rules.room) else { return Verdict::Go };
        let (now, epoch) = (self.now(), rules.epoch);
        let whose = (Some(subject.tenant), room);
        let server = subject.server.map_or("", |server| server.name().as_str());
        let whole = [subject.tenant, who].map(str::as_bytes);
        let agent = [[0_u8; 4].as_slice(), &self.0.keys.digest(&whole)].concat();
        // Without room for more nobody new is watched; limits hold all the same.
        let make = || Counter::Pace(Pace::default());
        let Some(counter) = self.0.table.get(&agent, whose, now, make) else { return Verdict::Go };
        let Counter::Pace(pace) = &*counter else { return Verdict::Go };
        if let Some(wait) = pace.paused(epoch, now) {
            return Verdict::Paused { wait, is_new: None };
        }
        let surge = pace.goes(settings, now);
        let [tenant, who] = whole;
        let call = [tenant, who, server.as_bytes(), subject.tool.unwrap_or(subject.method).as_bytes(), what];
        let call = [[0_u8; 4].as_slice(), &self.0.keys.digest(&call)].concat();
        let rate = settings.repeats();
        let counter = self.0.table.get(&call, whose, now, || Counter::Rate(AtomicU64::new(0)));
        let repeats = match counter.as_deref() {
            Some(Counter::Rate(at)) if counter::take(at, rate, now).is_ok() => {
                rate.left(at.load(Ordering::Relaxed), now) < u64::from(settings.repeats_max.get() / 2)
            }
            Some(Counter::Rate(_)) => return self.pause(subject, pace, (settings, epoch), Why::Repeats, now),
            _ => false,
        };
        match (surge, repeats) {
            (2.., _) => self.pause(subject, pace, (settings, epoch), Why::Surge, now),
            (1, _) | (0, true) => Verdict::Slow(settings.slow),
            (0, false) => Verdict::Go,
        }
    }

    fn pause(
        &self,
        subject: &Subject<'_>,
        pace: &Pace,
        (settings, epoch): (&RunawaySettings, u64),
        why: Why,
        now: u64,
    ) -> Verdict {
        pace.pause(epoch, now, settings.pause);
        let (tenant, agent) = (Arc::from(subject.tenant), subject.agent.map(Arc::from));
        _ = self.0.notices.try_send(Notice::Runaway { tenant, agent, why, pause: settings.pause });
        Verdict::Paused { wait: settings.pause, is_new: Some(why) }
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

    fn admit_as(&self, subject: &Subject<'_>, is_counted: bool) -> Tried {
        let rules = self.0.rules.load();
        if rules.all.is_empty() {
            return Tried::Done(Ok(Admission::default()));
        }
        let now = self.now();
        let found = self.find(&rules, subject, is_counted, now);
        let mut admission = Admission { places: Places::of(self), ..Admission::default() };
        if is_counted {
            // All but its places were looked at when it began.
            return Tried::Done(self.go(&rules, found, now, &mut admission).map(|()| admission));
        }
        let mut worst: Option<Exceeded> = None;
        let mut unknown = None;
        for (index, counter) in &found {
            match rules.all[*index].look(self, counter, now) {
                Err(Not::Full(exceeded)) => {
                    if worst.as_ref().is_none_or(|worst| worst.retry_after < exceeded.retry_after) {
                        worst = Some(exceeded);
                    }
                }
                Err(Not::Known(metered)) => unknown = Some((Arc::clone(counter), metered)),
                Ok(()) => {}
            }
        }
        // Whoever has no room anyhow needs no more of others.
        match (worst, unknown) {
            (Some(exceeded), _) => return Tried::Done(Err(exceeded)),
            (None, Some((counter, metered))) => return Tried::Asks(counter, metered),
            (None, None) => {}
        }
        for (index, counter) in found {
            // Others may have come between: dropped, the admission gives back what this one has counted so far.
            match rules.all[index].count(self, &counter, now, &mut admission) {
                Ok(()) => {}
                Err(Not::Full(exceeded)) => return Tried::Done(Err(exceeded)),
                Err(Not::Known(metered)) => return Tried::Asks(counter, metered),
            }
        }
        Tried::Done(Ok(admission))
    }

    /// Takes the places of a request that was counted, and says from which budgets it is paid.
    fn go(&self, rules: &Rules, found: Found, now: u64, admission: &mut Admission) -> Result<(), Exceeded> {
        for (index, counter) in found {
            match &rules.all[index].measure {
                Measure::Meter(metered) if metered.of.is_some() => {
                    admission.charge.pays(self, counter, metered);
                }
                _ => match rules.all[index].count(self, &counter, now, admission) {
                    Err(Not::Full(exceeded)) => return Err(exceeded),
                    Ok(()) | Err(Not::Known(_)) => {}
                },
            }
        }
        Ok(())
    }

    /// Asks what other processes have used.
    async fn ask(&self, counter: &Counter, metered: &Metered) {
        let Counter::Meter(meter) = counter else { return };
        let store = self.0.store.load_full();
        let asked = meter.ask(metered, &*store.0, self.both(self.now())).await;
        match asked {
            Ok(true) => self.heard(None),
            // Somebody else has asked meanwhile.
            Ok(false) => {}
            Err(error) => self.heard(Some(&error)),
        }
    }

    /// Whether the store has answered. Operators are told when that changes.
    fn heard(&self, failure: Option<&StoreError>) {
        let is_away = failure.is_some();
        if self.0.is_away.swap(is_away, Ordering::AcqRel) != is_away {
            let notice = match failure {
                None => Notice::Back,
                Some(error) => Notice::Away { reason: error.to_string() },
            };
            _ = self.0.notices.try_send(notice);
        }
    }

    /// So much is used up of budgets.
    pub(crate) fn spend(&self, meters: &[(Arc<Counter>, Arc<Metered>)], spent: Spent) {
        for (counter, metered) in meters {
            let Counter::Meter(meter) = &**counter else { continue };
            let amount = match metered.of {
                Some(Unit::Tokens) => spent.tokens,
                Some(Unit::Cost) => spent.cost_nano,
                None => 0,
            };
            let (tells, used) = meter.spend(metered, amount, self.both(self.now()));
            if let Some(used) = used {
                let (limit, allowed) = (Arc::clone(&metered.limit), metered.allowed);
                _ = self.0.notices.try_send(Notice::BudgetShare { limit, used, allowed });
            }
            if tells && let Ok(runtime) = tokio::runtime::Handle::try_current() {
                let (limits, counter, metered) = (self.clone(), Arc::clone(counter), Arc::clone(metered));
                runtime.spawn(async move { limits.ask(&counter, &metered).await });
            }
        }
    }

    /// Writes down what could not be written down, and gives back what this process has taken of quotas and budgets and does not
    /// need: of those that nobody has used for a while, or of all, at the end.
    pub async fn settle_up(&self, is_end: bool) {
        let now = self.now();
        let idle_since = if is_end { u64::MAX } else { now.saturating_sub(IDLE) };
        let store = self.0.store.load_full();
        let rules = self.0.rules.load_full();
        for counter in self.0.table.some(|counter| matches!(counter, Counter::Meter(_))) {
            let Counter::Meter(meter) = &*counter else { continue };
            let Some(metered) = rules.metered(meter.slot()) else { continue };
            if !is_end && meter.owes(self.both(now)) {
                self.ask(&counter, metered).await;
                if self.is_away() {
                    return;
                }
            }
            if meter.leave(metered, &*store.0, idle_since, self.both(now)).await.is_err() {
                return;
            }
        }
    }

    fn both(&self, ns: u64) -> Now {
        Now { ns, wall: self.0.clock.now() }
    }

    /// The rules about a request, each with its counter.
    fn find(&self, rules: &Rules, subject: &Subject<'_>, is_counted: bool, now: u64) -> Found {
        let mut found = Found::new();
        let mut add = |index: usize, prepared: &Prepared| {
            let is_wanted = !is_counted || prepared.is_for_every_round();
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
        let make = |key: &[u8]| match measure {
            Measure::Rate(_) => Counter::Rate(AtomicU64::new(0)),
            Measure::Slots(_) => Counter::Slots(AtomicU64::new(0)),
            Measure::Meter(_) => Counter::Meter(Meter::new(*slot, key::stored(rule, key))),
        };
        let room = rules.room.unwrap_or(Room { all: 0, tenant: 0 });
        let own = key::of(*slot, rule, subject);
        self.0.table.get(&own, (whose, room), now, || make(&own)).unwrap_or_else(|| {
            let shared = key::shared(*slot, rule, subject);
            self.0.table.get_always(&shared, whose, || make(&shared))
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

impl Rules {
    /// How the quota or budget is counted that has this number.
    fn metered(&self, slot: u32) -> Option<&Arc<Metered>> {
        self.all.iter().find(|prepared| prepared.slot == slot).and_then(|prepared| match &prepared.measure {
            Measure::Meter(metered) => Some(metered),
            _ => None,
        })
    }
}

impl Prepared {
    /// Whether it is not over and done with when a request begins.
    fn is_for_every_round(&self) -> bool {
        match &self.measure {
            Measure::Rate(_) => false,
            Measure::Slots(_) => true,
            Measure::Meter(metered) => metered.of.is_some(),
        }
    }

    /// Whether there is room.
    fn look(&self, limits: &Limits, counter: &Counter, now: u64) -> Result<(), Not> {
        match (&self.measure, counter) {
            (Measure::Rate(rate), Counter::Rate(at)) => {
                counter::has_room(at, *rate, now).map_err(|full| self.full(full))
            }
            (Measure::Slots(most), Counter::Slots(taken)) => {
                let is_free = taken.load(Ordering::Relaxed) < u64::from(most.get());
                if is_free { Ok(()) } else { Err(self.occupied()) }
            }
            (Measure::Meter(metered), Counter::Meter(meter)) => match meter.look(metered, limits.both(now)) {
                Look::Room => Ok(()),
                other => Err(self.metered(metered, other)),
            },
            _ => Ok(()),
        }
    }

    /// Counts a request.
    fn count(
        &self,
        limits: &Limits,
        counter: &Arc<Counter>,
        now: u64,
        admission: &mut Admission,
    ) -> Result<(), Not> {
        match (&self.measure, &**counter) {
            (Measure::Rate(rate), Counter::Rate(at)) => {
                counter::take(at, *rate, now).map_err(|full| self.full(full))?;
                admission.charge.add(Arc::clone(counter), rate.each_ns());
            }
            (Measure::Slots(most), Counter::Slots(taken)) => {
                if !counter::enter(taken, u64::from(most.get())) {
                    return Err(self.occupied());
                }
                admission.places.add(Arc::clone(counter), u64::from(most.get()));
            }
            (Measure::Meter(metered), Counter::Meter(_)) if metered.of.is_some() => {
                admission.charge.pays(limits, Arc::clone(counter), metered);
            }
            (Measure::Meter(metered), Counter::Meter(meter)) => {
                let window = meter.count(metered, limits.both(now));
                let window = window.map_err(|other| self.metered(metered, other))?;
                admission.charge.add(Arc::clone(counter), window.as_ms());
            }
            _ => {}
        }
        Ok(())
    }

    fn metered(&self, metered: &Arc<Metered>, look: Look) -> Not {
        let Look::Full { wait } = look else { return Not::Known(Arc::clone(metered)) };
        Not::Full(Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: if metered.of.is_some() { Limited::Budget } else { Limited::Quota },
            allowed: metered.allowed,
            window: Some(metered.every.about()),
            left: 0,
            retry_after: wait,
        })
    }

    fn full(&self, full: Full) -> Not {
        let (allowed, window) = match &self.rule.bound {
            Bound::Rate { requests, per, .. } => (requests.get(), Some(*per)),
            _ => (0, None),
        };
        Not::Full(Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: Limited::Rate,
            allowed: u64::from(allowed),
            window,
            left: 0,
            retry_after: Duration::from_nanos(full.wait_ns),
        })
    }

    fn occupied(&self) -> Not {
        let allowed = match &self.rule.bound {
            Bound::Concurrency(most) => most.get(),
            _ => 0,
        };
        Not::Full(Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: Limited::Concurrency,
            allowed: u64::from(allowed),
            window: None,
            left: 0,
            retry_after: PLACE_WAIT,
        })
    }
}

impl Names {
    fn prepare(&mut self, rule: &Rule, settings: &LimitSettings) -> Prepared {
        let meter = |allowed, every, of, warn_at, is_soft| {
            Measure::Meter(Arc::new(Metered {
                limit: Arc::clone(&rule.name),
                allowed,
                every,
                of,
                warn_at,
                is_soft,
                zone: settings.zone.clone(),
                replicas: u64::from(settings.replicas.get()),
            }))
        };
        let (measure, of) = match &rule.bound {
            Bound::Rate { requests, per, burst } => {
                (Measure::Rate(Rate::new(*requests, *per, *burst)), Limited::Rate)
            }
            Bound::Concurrency(most) => (Measure::Slots(*most), Limited::Concurrency),
            Bound::Quota { calls, every } => (meter(*calls, *every, None, None, false), Limited::Quota),
            Bound::Budget { allowed, of, every, warn_at, is_soft } => {
                (meter(*allowed, *every, Some(*of), *warn_at, *is_soft), Limited::Budget)
            }
        };
        let plan = rule.plan.as_ref().map(|plan| Arc::clone(&plan.name));
        let what = match &measure {
            Measure::Rate(rate) => (Some(*rate), None),
            Measure::Slots(_) => (None, None),
            Measure::Meter(metered) => (None, metered.of),
        };
        let counted = (plan, Arc::clone(&rule.name), rule.per.clone(), of, what);
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
