//! Which replica a request goes to.
//!
//! Two are drawn by weight from those that may be used, and the one with less under way, for its weight, is taken: nobody
//! keeps a list in order, and a replica that is slow gets less by itself. What may be used: the replicas of the first
//! priority, and of the next ones too as long as too few of those before are well.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;

use crate::circuit::Standing;
use crate::link::Instance;
use crate::replica::Replica;
use crate::shared::{EraFact, Shared};
use crate::site::Site;
use crate::slot::{Held, Slot};
use crate::{HttpSettings, Link, SettingsError, UpstreamError};

/// Replicas that have just failed a request, which another one is to answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Avoid(u64);

impl Avoid {
    /// These, and the one behind this link.
    #[must_use]
    pub fn and(self, link: &Link) -> Self {
        match link.0.replica() {
            Some(replica) => self.with(replica.number),
            None => self,
        }
    }

    pub(crate) fn with(self, number: usize) -> Self {
        Self(self.0 | bit(number))
    }
}

/// What a request wishes of the choice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Wish {
    pub(crate) avoid: Avoid,
    /// Where the server keeps something that it is about.
    pub(crate) prefer: Option<usize>,
    /// Whether the version that most requests go to is to answer, if it can: it says what the server has. Such a request is no
    /// trial of a replica that nobody has looked at since it was left alone: the lists of all the other servers would wait.
    pub(crate) main: bool,
    /// Whether a session is begun by it, and all that is asked in that goes where it is begun. Then the weights count, whatever is
    /// asked first: a version of little weight would have no session, since clients list before they call.
    pub(crate) settles: bool,
}

impl Wish {
    /// To hear what the server has.
    pub(crate) const MAIN: Self = Self { avoid: Avoid(0), prefer: None, main: true, settles: false };
}

/// One replica, and what is open to it for everyone.
pub(crate) struct Gate {
    pub(crate) site: Arc<Site>,
    /// The one instance of a modern server, for the hot path.
    pub(crate) modern: ArcSwapOption<Instance>,
    /// Whether it is modern.
    pub(crate) found: Arc<Slot<Option<Arc<Instance>>>>,
    /// Somebody looks whether it is back.
    pub(crate) looking: AtomicBool,
}

impl Gate {
    pub(crate) fn replica(&self) -> &Arc<Replica> {
        &self.site.replica
    }

    pub(crate) fn modern(&self) -> Option<Arc<Instance>> {
        self.modern.load_full().filter(|instance| instance.is_usable())
    }

    /// The modern instance, also of a replica that is only tried.
    pub(crate) fn greeted(&self) -> Option<Arc<Instance>> {
        if let Some(instance) = self.modern() {
            return Some(instance);
        }
        let Held::Ready(Some(instance)) = self.found.held() else { return None };
        if !instance.is_usable() {
            return None;
        }
        if self.replica().circuit.standing() == Standing::Closed {
            // From now on without a look into the slot.
            self.modern.store(Some(Arc::clone(&instance)));
        }
        Some(instance)
    }

    /// It is left alone: what is found there is found anew before it is used again.
    pub(crate) fn leave(&self) {
        if let Some(instance) = self.greeted() {
            instance.retire();
        }
    }

    pub(crate) fn forget(&self) -> Option<Arc<Instance>> {
        self.found.empty();
        self.modern.swap(None)
    }
}

/// The replicas of a server with a URL.
pub(crate) struct Replicas {
    pub(crate) gates: Box<[Gate]>,
    pub(crate) only_sse: bool,
    /// Those that may be used, by their place: first priority first.
    groups: Box<[Box<[usize]>]>,
    /// Those of the version that most requests go to, by their bits.
    main: u64,
    /// Whether all that may be used have weight 0, which then counts as 1.
    weightless: bool,
    failover_percent: usize,
}

/// What was chosen.
#[derive(Debug)]
pub(crate) struct Choice {
    /// The place of a replica; what to say if there is none.
    pub(crate) chosen: Result<usize, UpstreamError>,
    /// Replicas that have been left alone for long enough, by their bits.
    pub(crate) due: u64,
}

impl Replicas {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        http: &HttpSettings,
        only_sse: bool,
    ) -> Result<Self, SettingsError> {
        let settings = Arc::clone(&shared.settings);
        let places = http.all();
        let replicas = Replica::all(&settings, http, &places);
        let mut gates = Vec::with_capacity(places.len());
        for (place, replica) in places.iter().zip(replicas) {
            let site = Site::new(Arc::clone(shared), &settings, http, place, replica)?;
            gates.push(Gate {
                site: Arc::new(site),
                modern: ArcSwapOption::empty(),
                found: Arc::new(Slot::new()),
                looking: AtomicBool::new(false),
            });
        }
        let is_used = |gate: &&Gate| http.pinned.is_none() || gate.replica().version == http.pinned;
        let mut used: Vec<&Arc<Replica>> = gates.iter().filter(is_used).map(Gate::replica).collect();
        used.sort_by_key(|replica| replica.priority);
        let weightless = used.iter().all(|replica| replica.weight == 0);
        let groups = used
            .chunk_by(|one, other| one.priority == other.priority)
            .map(|group| group.iter().map(|replica| replica.number).collect())
            .collect();
        let main = main_version(&used);
        let failover_percent = usize::from(http.failover_percent.min(100));
        Ok(Self { gates: gates.into(), only_sse, groups, main, weightless, failover_percent })
    }

    /// The one gate of a server that has no other.
    pub(crate) fn only(&self) -> Option<&Gate> {
        match &*self.gates {
            [gate] => Some(gate),
            _ => None,
        }
    }

    /// Whether a replica may be used: the version that is pinned, if one is.
    pub(crate) fn is_used(&self, number: usize) -> bool {
        self.groups.iter().flatten().any(|used| *used == number)
    }

    /// Whether any replica may hold sessions.
    pub(crate) fn any_legacy(&self) -> bool {
        self.only_sse
            || self
                .gates
                .iter()
                .any(|gate| matches!(gate.replica().era(), EraFact::Legacy | EraFact::LegacySse))
    }

    /// Whether any replica is known to be modern, which keeps no sessions.
    pub(crate) fn any_modern(&self) -> bool {
        self.gates.iter().any(|gate| gate.replica().era() == EraFact::Modern)
    }

    /// Whether any replica but these can be asked now.
    pub(crate) fn has_other(&self, tried: Avoid) -> bool {
        let is_open = |number: &usize| {
            let standing = self.replica(*number).circuit.standing();
            tried.0 & bit(*number) == 0 && matches!(standing, Standing::Closed | Standing::Failing)
        };
        self.groups.iter().flatten().any(is_open)
    }

    pub(crate) fn choose(&self, wish: Wish) -> Choice {
        self.choose_by(wish, RandomState::new().hash_one(0_u8))
    }

    fn choose_by(&self, wish: Wish, random: u64) -> Choice {
        if let Some(number) = wish.prefer
            && wish.avoid.0 & bit(number) == 0
            && self.is_asked(number)
        {
            return Choice { chosen: Ok(number), due: 0 };
        }
        // By their bits: all that may be used, those that are, those that are otherwise, and those left alone for long enough.
        let (mut all, mut used, mut spare, mut due) = (0, 0, 0, 0);
        let (mut any_well, mut enough) = (false, false);
        for group in &self.groups {
            let mut well = 0;
            for &number in group {
                let replica = self.replica(number);
                let standing = replica.circuit.standing();
                let is_first_choice = self.weight(number) > 0 && !enough;
                all |= bit(number);
                match standing {
                    Standing::Closed | Standing::Failing => {
                        any_well |= standing == Standing::Closed;
                        well += usize::from(standing == Standing::Closed && self.weight(number) > 0);
                        if is_first_choice {
                            used |= bit(number);
                        } else {
                            spare |= bit(number);
                        }
                    }
                    Standing::HalfOpen
                        if is_first_choice
                            && wish.avoid.0 & bit(number) == 0
                            && replica.circuit.take_trial() =>
                    {
                        return Choice { chosen: Ok(number), due };
                    }
                    // If it is being looked at, there is nothing to be done.
                    Standing::Open
                        if replica.circuit.is_due()
                            && !self.gates[number].looking.load(Ordering::Relaxed) =>
                    {
                        due |= bit(number);
                    }
                    Standing::HalfOpen | Standing::Open => {}
                }
            }
            enough |= well > 0 && well * 100 >= self.weighty(group) * self.failover_percent;
        }
        let set = if any_well { used } else { used | spare | self.with_something_begun(all, used | spare) };
        let fresh = !wish.avoid.0;
        let hears_main = wish.main && !wish.settles && set & fresh & self.main != 0;
        let main = if hears_main { self.main } else { u64::MAX };
        let ranks = [set & fresh & main, spare & fresh, set | spare];
        let chosen = match ranks.into_iter().find(|set| *set != 0) {
            Some(set) => Ok(self.draw(set, random)),
            None => self.try_one(all, !wish.main),
        };
        Choice { chosen, due }
    }

    /// Where requests fail at all that may be used, and none may be left alone any more, those that are left alone are used
    /// too: one may answer yet.
    fn with_something_begun(&self, all: u64, failing: u64) -> u64 {
        let usable = |number: &usize| self.replica(*number).circuit.could_begin();
        let set = || self.numbers(all).filter(usable).fold(0, |set, number| set | bit(number));
        if failing == 0 { 0 } else { set() }
    }

    /// Where all are left alone: one whose time has come, if it may be tried unseen.
    fn try_one(&self, all: u64, unseen: bool) -> Result<usize, UpstreamError> {
        for number in self.numbers(all) {
            let circuit = &self.replica(number).circuit;
            if unseen && circuit.is_due() {
                circuit.half_open();
            }
            if circuit.take_trial() {
                return Ok(number);
            }
        }
        let first = self.numbers(all).min_by_key(|number| self.replica(*number).circuit.until());
        Err(first.map_or(UpstreamError::Stopping, |number| self.replica(number).circuit.error()))
    }

    fn numbers(&self, set: u64) -> impl Iterator<Item = usize> {
        (0..self.gates.len()).filter(move |number| set & bit(*number) != 0)
    }

    /// Whether this very replica can be asked.
    fn is_asked(&self, number: usize) -> bool {
        let circuit = &self.replica(number).circuit;
        match circuit.standing() {
            Standing::Closed | Standing::Failing => true,
            Standing::HalfOpen => circuit.take_trial(),
            Standing::Open => false,
        }
    }

    /// One of a set that is not empty: of two that are drawn by weight the first, or the second where that would be no busier for
    /// its weight with one request more. (Counted without that request, one of little weight would get whatever comes while it
    /// is idle and others are not, which is nearly always.)
    fn draw(&self, set: u64, random: u64) -> usize {
        let first = self.draw_one(set, random >> 32);
        let others = set & !bit(first);
        if others == 0 {
            return first;
        }
        let second = self.draw_one(others, random & 0xffff_ffff);
        let (one, other) = (self.replica(first), self.replica(second));
        let busy = one.in_flight() as u64 * u64::from(self.weight(second).max(1));
        let with_it = (other.in_flight() as u64 + 1) * u64::from(self.weight(first).max(1));
        if with_it <= busy { second } else { first }
    }

    /// By weight; `random` has 32 bits.
    fn draw_one(&self, set: u64, random: u64) -> usize {
        let weight = |number: usize| u64::from(self.weight(number).max(1));
        let total: u64 = self.numbers(set).map(weight).sum();
        let mut place = u64::try_from((u128::from(random) * u128::from(total)) >> 32).unwrap_or(0);
        for number in self.numbers(set) {
            match place.checked_sub(weight(number)) {
                Some(rest) => place = rest,
                None => return number,
            }
        }
        set.trailing_zeros() as usize
    }

    fn weight(&self, number: usize) -> u32 {
        if self.weightless { 1 } else { self.replica(number).weight }
    }

    /// How many of a group are used as a rule.
    fn weighty(&self, group: &[usize]) -> usize {
        group.iter().filter(|number| self.weight(**number) > 0).count()
    }

    fn replica(&self, number: usize) -> &Replica {
        self.gates[number].replica()
    }
}

/// The replicas of the version that has most weight among those of the first priority.
fn main_version(used: &[&Arc<Replica>]) -> u64 {
    let first = used.first().map(|replica| replica.priority);
    let weight = |version: &Option<Arc<str>>| -> u64 {
        let same = used.iter().filter(|replica| replica.version == *version);
        same.filter(|replica| Some(replica.priority) == first).map(|replica| u64::from(replica.weight)).sum()
    };
    // Of equals, the one that is written first.
    let main = used.iter().rev().max_by_key(|replica| weight(&replica.version));
    let is_main = |replica: &&&Arc<Replica>| main.is_some_and(|main| main.version == replica.version);
    used.iter().filter(is_main).fold(0, |set, replica| set | bit(replica.number))
}

const fn bit(number: usize) -> u64 {
    1 << (number & 63)
}
