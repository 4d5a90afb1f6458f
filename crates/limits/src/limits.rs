//! The limits of a gateway, and whether they leave room for a request.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use smallvec::SmallVec;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tollgate_model::{Clock, Exceeded, SystemClock};
use tollgate_store::Memory;

use crate::admission::{Admission, Charge, Places};
use crate::counter::Counter;
use crate::meter::{Meter, Metered};
use crate::metering::Known;
use crate::notice::Notice;
use crate::prepaid::{Prepaid, Round};
use crate::reach::{Away, Reach};
use crate::room::Not;
use crate::rules::{Measure, Names, Prepared, Rules};
use crate::runaway::Keys;
use crate::table::{Room, Table};
use crate::together::{Alone, Pending, Together};
use crate::watching::Shared;
use crate::{Encoding, LimitSettings, Subject, key};

/// How many rules about one request are looked at without memory of their own.
const USUAL: usize = 6;
/// How many notices may wait for whoever tells operators. What is more is in the metrics only.
const NOTICES_MAX: usize = 64;

/// The limits of a gateway. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Limits(pub(crate) Arc<Inner>);

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) rules: ArcSwap<Rules>,
    pub(crate) table: Table,
    prepaid: Prepaid,
    names: Mutex<Names>,
    /// Somebody waits for a place among those under way.
    waiting: AtomicUsize,
    freed: Notify,
    began: Instant,
    pub(crate) clock: Box<dyn Clock>,
    /// Who knows what other processes have used of quotas and budgets.
    pub(crate) store: ArcSwap<Known>,
    pub(crate) allowances: Reach,
    /// Who counts rates and places for all processes.
    pub(crate) together: Together,
    pub(crate) keys: Keys,
    pub(crate) pauses: Shared,
    notices: mpsc::Sender<Notice>,
    hears: Mutex<Option<mpsc::Receiver<Notice>>>,
}

/// Which rules a request is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    /// All.
    All,
    /// All, but without asking anybody else about rates and places.
    Here,
    /// Those that matter to every round of a request.
    EachRound,
}

/// What became of a request.
enum Tried {
    Done(Result<Admission, Exceeded>),
    /// First it has to be known what others have used.
    Asks(Arc<Counter>, Arc<Metered>),
    /// Others have to count it too.
    Shares(Pending),
}

/// What a request lacks to be counted.
enum Lacks {
    Room(Exceeded),
    Knowledge(Arc<Counter>, Arc<Metered>),
}

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
            allowances: Reach::default(),
            together: Together::default(),
            keys: Keys::default(),
            pauses: Shared::default(),
            notices,
            hears: Mutex::new(Some(hears)),
        }))
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
        let epoch = self.0.rules.load().epoch + 1;
        self.0.rules.store(Arc::new(Rules::new(settings, &mut names, epoch)));
    }

    /// What operators have to be told. Only the first who asks hears of it.
    pub fn notices(&self) -> Option<mpsc::Receiver<Notice>> {
        self.0.hears.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn tell(&self, notice: Notice) {
        _ = self.0.notices.try_send(notice);
    }

    /// Why it is not known what other processes have used of quotas and budgets, where it is not.
    pub fn allowances_away(&self) -> Option<Away> {
        self.0.allowances.away()
    }

    /// Whether there are any.
    pub fn are_any(&self) -> bool {
        !self.0.rules.load().all.is_empty()
    }

    pub(crate) fn encoding(&self) -> Encoding {
        self.0.rules.load().tokens
    }

    /// Whether anything is paid for from budgets.
    pub fn are_budgets(&self) -> bool {
        self.0.rules.load().are_budgets
    }

    /// Whether there may be any for what is no call of a tool, no read and no prompt.
    pub fn are_any_beside_calls(&self) -> bool {
        self.0.rules.load().is_any_per_method
    }

    /// Counts a request, if every rule that is about it leaves room for it. None if somebody else has to be asked first:
    /// [`Self::admit`] does.
    ///
    /// # Errors
    /// The limit that leaves no room for the longest time. Nothing was counted then.
    pub fn try_admit(&self, subject: &Subject<'_>) -> Option<Result<Admission, Exceeded>> {
        self.admit_as(subject, Which::All).done()
    }

    /// The same by what this process has counted, for what nobody waits for. Where it is not known what others have used of a
    /// quota, it counts, and that is asked for what comes after it.
    ///
    /// # Errors
    /// As [`Self::try_admit`].
    pub fn admit_here(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded> {
        match self.admit_as(subject, Which::Here) {
            Tried::Done(done) => done,
            Tried::Asks(counter, metered) => self.count_unasked(counter, metered),
            // It is counted together with nobody.
            Tried::Shares(pending) => Ok(pending.admission),
        }
    }

    /// The same, and asks if it has to.
    ///
    /// # Errors
    /// As [`Self::try_admit`].
    pub async fn admit(&self, subject: &Subject<'_>) -> Result<Admission, Exceeded> {
        loop {
            match self.admit_as(subject, Which::All) {
                Tried::Done(done) => return done,
                Tried::Shares(pending) => return self.count_together(subject, pending).await,
                // Each question ends in more room, or in none for a while.
                Tried::Asks(counter, metered) => self.ask(&counter, &metered).await,
            }
        }
    }

    /// The same for a further round of a request that was counted: it only needs its place among those under way.
    ///
    /// # Errors
    /// As [`Self::try_admit`]. The round is expected still.
    pub fn try_go_on(&self, subject: &Subject<'_>, round: Round) -> Option<Result<Admission, Exceeded>> {
        if !self.0.prepaid.is_expected(&round, self.now()) {
            return self.try_admit(subject);
        }
        match self.admit_as(subject, Which::EachRound).done()? {
            Ok(admission) => self.takes_place(round, admission).map(Ok).or_else(|| self.try_admit(subject)),
            full => Some(full),
        }
    }

    /// The same, and asks if it has to.
    ///
    /// # Errors
    /// As [`Self::try_admit`]. The round is expected still.
    pub async fn go_on(&self, subject: &Subject<'_>, round: Round) -> Result<Admission, Exceeded> {
        if !self.0.prepaid.is_expected(&round, self.now()) {
            return self.admit(subject).await;
        }
        let admission = match self.admit_as(subject, Which::EachRound) {
            Tried::Done(done) => done?,
            Tried::Shares(pending) => self.count_together(subject, pending).await?,
            // What was counted is asked about no more.
            Tried::Asks(..) => return self.admit(subject).await,
        };
        match self.takes_place(round, admission) {
            Some(admission) => Ok(admission),
            None => self.admit(subject).await,
        }
    }

    /// A round takes place, unless another was faster with the same.
    fn takes_place(&self, round: Round, admission: Admission) -> Option<Admission> {
        let is_it = self.0.prepaid.take(&round, self.now());
        is_it.then_some(Admission { is_round: true, ..admission })
    }

    /// Whether a round is expected still. One that is not is a request of its own.
    pub fn expects(&self, round: &Round) -> bool {
        self.0.prepaid.is_expected(round, self.now())
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

    fn admit_as(&self, subject: &Subject<'_>, which: Which) -> Tried {
        let rules = self.0.rules.load();
        if rules.all.is_empty() {
            return Tried::Done(Ok(Admission::default()));
        }
        let now = self.now();
        let alone = match (self.0.together.alone(&rules), which) {
            (Alone::Together, Which::Here) => Alone::Share(rules.replicas),
            (alone, _) => alone,
        };
        let found = self.find(&rules, subject, which, now);
        let (charge, places) = (Charge::since(self.0.began), Places::of(self));
        let mut admission = Admission { charge, places, is_round: false };
        if which == Which::EachRound {
            // All but its places were looked at when it began.
            if let Err(exceeded) = self.go(&rules, &found, (now, alone), &mut admission) {
                return Tried::Done(Err(exceeded));
            }
        } else if let Err(lacks) = self.look_and_count(&rules, &found, (now, alone), &mut admission) {
            return match lacks {
                Lacks::Room(exceeded) => Tried::Done(Err(exceeded)),
                Lacks::Knowledge(counter, metered) => Tried::Asks(counter, metered),
            };
        }
        let is_shared = |index: &usize| !matches!(rules.all[*index].measure, Measure::Meter(_));
        if alone != Alone::Together || !found.iter().any(|(index, _)| is_shared(index)) {
            return Tried::Done(Ok(admission));
        }
        let asked = found.into_iter().filter(|(index, _)| is_shared(index)).collect();
        Tried::Shares(Pending { rules: Arc::clone(&rules), asked, admission })
    }

    /// Counts a request here if all have room for it.
    fn look_and_count(
        &self,
        rules: &Rules,
        found: &Found,
        at: (u64, Alone),
        admission: &mut Admission,
    ) -> Result<(), Lacks> {
        let mut worst: Option<Exceeded> = None;
        let mut unknown = None;
        for (index, counter) in found {
            match rules.all[*index].look(self, counter, at) {
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
            (Some(exceeded), _) => return Err(Lacks::Room(exceeded)),
            (None, Some((counter, metered))) => return Err(Lacks::Knowledge(counter, metered)),
            (None, None) => {}
        }
        for (index, counter) in found {
            // Others may have come between: dropped, the admission gives back what this one has counted so far.
            rules.all[*index].count(self, counter, at, admission).map_err(|not| match not {
                Not::Full(exceeded) => Lacks::Room(exceeded),
                Not::Known(metered) => Lacks::Knowledge(Arc::clone(counter), metered),
            })?;
        }
        Ok(())
    }

    /// Takes the places of a request that was counted, and says from which budgets it is paid.
    fn go(
        &self,
        rules: &Rules,
        found: &Found,
        at: (u64, Alone),
        admission: &mut Admission,
    ) -> Result<(), Exceeded> {
        for (index, counter) in found {
            match &rules.all[*index].measure {
                Measure::Meter(metered) if metered.of.is_some() => {
                    admission.charge.pays(self, Arc::clone(counter), metered);
                }
                _ => match rules.all[*index].count(self, counter, at, admission) {
                    Err(Not::Full(exceeded)) => return Err(exceeded),
                    Ok(()) | Err(Not::Known(_)) => {}
                },
            }
        }
        Ok(())
    }

    /// The rules about a request, each with its counter.
    fn find(&self, rules: &Rules, subject: &Subject<'_>, which: Which, now: u64) -> Found {
        let mut found = Found::new();
        rules.about(subject, |index, prepared| {
            if which != Which::EachRound || prepared.is_for_every_round() {
                found.push((index, self.counter(rules, prepared, subject, now)));
            }
        });
        found
    }

    pub(crate) fn counter(
        &self,
        rules: &Rules,
        prepared: &Prepared,
        subject: &Subject<'_>,
        now: u64,
    ) -> Arc<Counter> {
        let Prepared { rule, slot, measure } = prepared;
        let whose = rule.is_per_tenant().then_some(subject.tenant);
        let make = |key: &[u8]| match measure {
            Measure::Rate(_) => Counter::Rate(AtomicU64::new(0)),
            Measure::Slots(_) => Counter::Slots(AtomicU64::new(0)),
            Measure::Meter(_) => {
                Counter::Meter(Meter::new(*slot, key::stored(rule, key), key::said(rule, subject)))
            }
        };
        let room = rules.room.unwrap_or(Room { all: 0, tenant: 0 });
        let own = key::of(*slot, rule, subject);
        self.0.table.get(&own, (whose, room), now, || make(&own)).unwrap_or_else(|| {
            let shared = key::shared(*slot, rule, subject);
            self.0.table.get_always(&shared, whose, || make(&shared))
        })
    }

    /// What this process may give out of places now.
    pub(crate) fn alone(&self) -> Alone {
        self.0.together.alone(&self.0.rules.load())
    }

    pub(crate) fn now(&self) -> u64 {
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

impl Tried {
    /// What became of it without asking anybody.
    fn done(self) -> Option<Result<Admission, Exceeded>> {
        match self {
            Self::Done(done) => Some(done),
            Self::Asks(..) | Self::Shares(_) => None,
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

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
