//! What is used up of a quota or a budget.
//!
//! What all processes may use together is known to a store. A process takes a part of it, and counts within that part by
//! itself. What it has taken and not given out when it is killed is lost for that window: never more than one part. What
//! requests under way cost beyond the part is written down at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tollgate_model::Timestamp;
use tollgate_store::{Allowances, Digest, StoreError, TakeAllowance};

use crate::Zone;
use crate::rule::{Every, Unit};
use crate::window::Window;

/// The part of what is allowed that a process takes at once: a hundredth, and of requests no more than so many.
const PARTS: u64 = 100;
const PART_CALLS_MAX: u64 = 1000;
/// For how long it is believed that nothing is left, in nanoseconds: others may give something back.
const CLOSED: u64 = 1_000_000_000;

/// How much is allowed, of what, and when it begins anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Metered {
    pub(crate) limit: Arc<str>,
    pub(crate) allowed: u64,
    pub(crate) every: Every,
    /// None counts requests.
    pub(crate) of: Option<Unit>,
    pub(crate) warn_at: Option<u16>,
    pub(crate) is_soft: bool,
    pub(crate) zone: Zone,
    pub(crate) replicas: u64,
    /// What money is in.
    pub(crate) currency: Arc<str>,
}

/// What is used up of one thing that is counted.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The number of its rule.
    slot: u32,
    of: Digest,
    /// Whose it is, for operators.
    whose: Arc<str>,
    state: Mutex<State>,
    /// Held by whoever asks the store.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    window: Window,
    /// What this process may give out.
    taken: u64,
    /// How much of that no store knows of.
    borrowed: u64,
    /// What it has given out. A budget can be overdrawn.
    used: u64,
    /// What the store has last said is used up in all.
    told: u64,
    closed_until: u64,
    touched: u64,
    is_warned: bool,
}

/// Whether there is room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// There is.
    Room,
    /// There is none before the window ends.
    Full { wait: Duration },
    /// The store has to be asked.
    Unknown,
}

/// The moment, in both ways to say it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) ns: u64,
    pub(crate) wall: Timestamp,
}

impl Metered {
    fn part(&self) -> u64 {
        let part = (self.allowed / PARTS).max(1);
        if self.of.is_none() { part.min(PART_CALLS_MAX) } else { part }
    }

    /// In which currency it is, if it is of money.
    pub(crate) fn currency(&self) -> Option<Arc<str>> {
        (self.of == Some(Unit::Cost)).then(|| Arc::clone(&self.currency))
    }

    /// Whether so much is the share that operators have to hear of.
    fn warns(&self, used: u64) -> bool {
        self.warn_at
            .is_some_and(|share| u128::from(used) * 1000 >= u128::from(self.allowed) * u128::from(share))
    }

    /// Whether operators were told before this process knew of the window: so much is used up that it cannot be the part that
    /// another has taken and not given out.
    fn was_told(&self, used: u64) -> bool {
        used >= self.allowed || self.warns(used.saturating_sub(self.part()))
    }
}

impl Meter {
    pub(crate) fn new(slot: u32, of: Digest, whose: Arc<str>) -> Self {
        Self { slot, of, whose, state: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Whose it is, for operators.
    pub(crate) fn whose(&self) -> &Arc<str> {
        &self.whose
    }

    /// The number of its rule.
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Whether a new one would say the same.
    pub(crate) fn is_as_new(&self, wall: Timestamp) -> bool {
        let state = self.lock();
        let is_over = state.window.until <= wall;
        (is_over || state.taken == 0) && state.used <= state.known()
    }

    /// Whether there is room for one more.
    pub(crate) fn look(&self, metered: &Metered, now: Now) -> Look {
        self.lock().look(metered, now)
    }

    /// Counts a request. Gives the window that it is counted in.
    pub(crate) fn count(&self, metered: &Metered, now: Now) -> Result<Timestamp, Look> {
        let mut state = self.lock();
        match state.look(metered, now) {
            Look::Room => {
                state.used += 1;
                Ok(state.window.from)
            }
            other => Err(other),
        }
    }

    /// Whether the store has last said that nothing is left.
    pub(crate) fn is_known_to_be_used_up(&self, metered: &Metered) -> bool {
        let state = self.lock();
        state.told >= metered.allowed && state.used >= state.taken
    }

    /// Whether the store is being asked now. Who asks meanwhile would wait for that, and mostly in vain.
    pub(crate) fn is_being_asked(&self) -> bool {
        self.asking.try_lock().is_err()
    }

    /// Whether there is something that the store does not know of.
    pub(crate) fn owes(&self, now: Now) -> bool {
        let state = self.lock();
        state.owed() > 0 && now.wall < state.window.until
    }

    /// A request that was counted is not carried out.
    pub(crate) fn give_back(&self, window: Timestamp) {
        let mut state = self.lock();
        if state.window.from == window {
            state.used = state.used.saturating_sub(1);
        }
    }

    /// So much was used. Whether the store has to be told at once, and how much is used in all where operators have to hear it.
    pub(crate) fn spend(&self, metered: &Metered, amount: u64, now: Now) -> (bool, Option<u64>) {
        let mut state = self.lock();
        state.roll(metered, now);
        state.used = state.used.saturating_add(amount);
        let used = state.told.saturating_add(state.used).saturating_sub(state.known());
        let warns = metered.warns(used);
        let is_news = warns && !std::mem::replace(&mut state.is_warned, warns);
        (state.used > state.taken, is_news.then_some(used))
    }

    /// Asks the store for another part if that is still needed, and tells it what was used beyond what was taken. Where it does
    /// not answer, a part of this process's share of the whole is given out, and no more. Whether it was asked.
    pub(crate) async fn ask(
        &self,
        metered: &Metered,
        store: &dyn Allowances,
        now: Now,
    ) -> Result<bool, StoreError> {
        let _asking = self.asking.lock().await;
        let (take, window, is_first) = {
            let mut state = self.lock();
            let look = state.look(metered, now);
            if look != Look::Unknown && state.owed() == 0 {
                return Ok(false);
            }
            let wanted = if look == Look::Unknown { metered.part() } else { 0 };
            let is_first = (state.told, state.taken, state.used) == (0, 0, 0);
            (self.take(&state, metered, now, wanted), state.window, is_first)
        };
        let answered = store.take_allowance(&take).await;
        let mut state = self.lock();
        if state.window != window {
            return answered.map(|_| true);
        }
        let given = match &answered {
            Ok(given) => {
                // What the store has heard of counts as taken. Nobody else changes it meanwhile.
                state.taken =
                    state.known().saturating_add(take.owed).max(state.taken).saturating_add(given.taken);
                (state.borrowed, state.told) = (0, given.used);
                // Once in a window, also where this process begins in the midst of it.
                state.is_warned |= is_first && metered.was_told(given.used.saturating_sub(given.taken));
                given.taken
            }
            Err(_) => {
                let share = metered.allowed / metered.replicas.max(1);
                let lent = share.saturating_sub(state.taken).min(take.wanted);
                state.taken += lent;
                state.borrowed += lent;
                lent
            }
        };
        if given == 0 && take.wanted > 0 {
            state.closed_until = now.ns.saturating_add(CLOSED);
        }
        answered.map(|_| true)
    }

    /// Gives back what was taken in vain, unless something was counted after a moment.
    pub(crate) async fn leave(
        &self,
        metered: &Metered,
        store: &dyn Allowances,
        idle_since: u64,
        now: Now,
    ) -> Result<(), StoreError> {
        let _asking = self.asking.lock().await;
        let take = {
            let mut state = self.lock();
            if state.touched > idle_since || (state.taken == 0 && state.used == 0) {
                return Ok(());
            }
            let unused = state.known().saturating_sub(state.used);
            let owed = state.used.saturating_sub(state.known());
            let take = TakeAllowance { unused, owed, ..self.take(&state, metered, now, 0) };
            // Whoever comes meanwhile asks anew.
            *state = State { window: state.window, touched: state.touched, ..State::default() };
            take
        };
        if now.wall >= take.until {
            return Ok(());
        }
        // What does not reach the store is lost for this window, and nobody gets more for it.
        store.take_allowance(&take).await.map(drop)
    }

    fn take(&self, state: &State, metered: &Metered, now: Now, wanted: u64) -> TakeAllowance {
        TakeAllowance {
            of: self.of,
            from: state.window.from,
            until: state.window.until,
            now: now.wall,
            allowed: metered.allowed,
            wanted,
            owed: state.owed(),
            unused: 0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What of this process's the store knows of.
    fn known(&self) -> u64 {
        self.taken.saturating_sub(self.borrowed)
    }

    /// What it has taken or used that the store does not know of.
    fn owed(&self) -> u64 {
        self.used.max(self.taken).saturating_sub(self.known())
    }

    /// Another window may have begun.
    fn roll(&mut self, metered: &Metered, now: Now) {
        if now.wall >= self.window.until {
            let window = metered.zone.window(metered.every, now.wall);
            *self = Self { window, ..Self::default() };
        }
        self.touched = now.ns;
    }

    fn look(&mut self, metered: &Metered, now: Now) -> Look {
        self.roll(metered, now);
        if self.used < self.taken {
            return Look::Room;
        }
        if now.ns >= self.closed_until {
            return Look::Unknown;
        }
        if metered.is_soft { Look::Room } else { Look::Full { wait: self.window.until.since(now.wall) } }
    }
}
