//! Answers of servers that are kept for a while: pages of lists, resources, and results of tools that the operator says so of.
//!
//! | file | idea |
//! |---|---|
//! | [`key`] | what an answer depends on, and whose it is |
//! | [`entry`] | an answer as it is kept, and for how long it is fresh |
//! | [`shelves`] | the budget of memory, and who gives way |
//! | [`flights`] | one fetch for all who ask at the same time |
//! | [`patience`] | how long a list waits for each of its servers |
//! | [`pages`] | lists through the cache |
//! | [`answers`] | reads and calls through the cache |
//!
//! What is kept is what the server said, before anything that differs from caller to caller: policy, blocks and names are
//! applied to every answer, wherever it comes from. So a policy that changes shows at once.

mod answers;
mod entry;
mod flights;
mod key;
mod pages;
mod patience;
mod settings;
mod shelves;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_telemetry::counters;

pub(crate) use answers::{Taken, concerns, look_up};
pub(crate) use entry::Kept;
pub(crate) use key::Part;
pub(crate) use pages::{Found, page};
pub use settings::{CacheSettings, ServerCache};

use entry::Current;
use flights::{Flights, Seat};
use key::{Ask, Reach, What};
use patience::Patience;
use settings::Rule;
use shelves::{Shelves, Value};

/// For how long it is remembered that answers may not be kept, or are each caller's own.
const MARKED: Duration = Duration::from_mins(2);

/// How many pieces of news there were of what an answer is about when it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch {
    /// Of its whole list.
    list: u64,
    /// Of single resources.
    updates: u64,
}

impl Epoch {
    /// Of what must not be kept.
    const NEVER: Self = Self { list: u64::MAX, updates: u64::MAX };
}

/// News of one server.
#[derive(Debug, Default, Clone, Copy)]
struct News {
    tools: u64,
    prompts: u64,
    resources: u64,
    /// Of single resources.
    updates: u64,
}

impl News {
    fn of(&self, what: &What) -> Epoch {
        let list = match what.part() {
            Part::Tools => self.tools,
            Part::Prompts => self.prompts,
            Part::Resources => self.resources,
        };
        Epoch { list, updates: if matches!(what, What::Read(_)) { self.updates } else { 0 } }
    }
}

/// What is kept of all servers.
#[derive(Debug, Default)]
pub(crate) struct Cache {
    state: Mutex<State>,
    flights: Arc<Flights>,
    patience: Arc<Patience>,
    bytes_max: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    shelves: Shelves,
    /// By the number of the server.
    news: HashMap<u64, News>,
}

/// What is known of an answer.
#[derive(Debug)]
enum Look {
    Fresh(Arc<Kept>),
    /// It has to be fetched, for everyone of this reach.
    Missing(Reach),
    /// Whoever wants it fetches it, and nobody waits for another.
    Pass,
}

impl Cache {
    pub(crate) fn new(settings: &CacheSettings) -> Self {
        let cache = Self::default();
        cache.apply(settings);
        cache
    }

    /// Has other settings from now on, and begins empty: what is learnt of a list on its way may be something else now.
    pub(crate) fn apply(&self, settings: &CacheSettings) {
        let bytes_max = if settings.enabled { settings.bytes_max } else { 0 };
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
        self.lock().shelves.forget(|_, _| true);
    }

    /// What is known of an answer, if `current` would give it now.
    fn look(&self, ask: &Ask, rule: &Rule, current: Option<Current>, now: Instant) -> Look {
        let mut state = self.lock();
        let mut is_private = false;
        for reach in Reach::ALL {
            match state.find(ask, reach, now) {
                Some(Value::Kept(kept, _)) if kept.is_fresh(rule, current, now) => return Look::Fresh(kept),
                Some(Value::Pass) => return Look::Pass,
                Some(Value::Private) => is_private = true,
                Some(Value::Kept(..)) | None => {}
            }
        }
        Look::Missing(match current {
            Some(current) => ask.reach(current.era, !is_private),
            None => ask.narrowest(),
        })
    }

    /// What stands in for an answer that cannot be had.
    fn stand_in(&self, ask: &Ask, rule: &Rule, now: Instant) -> Option<Arc<Kept>> {
        self.older(ask, rule, false, now)
    }

    /// What is kept of an answer, though it is not fresh. Of a server that is late that may also be what it lets nobody keep.
    fn older(&self, ask: &Ask, rule: &Rule, is_late: bool, now: Instant) -> Option<Arc<Kept>> {
        let mut state = self.lock();
        let found = Reach::ALL.into_iter().filter_map(|reach| match state.find(ask, reach, now) {
            Some(Value::Kept(kept, _)) if kept.stands_in(rule, is_late, now) => Some(kept),
            _ => None,
        });
        found.max_by_key(|kept| kept.received)
    }

    /// How many pieces of news there were of what is asked for: to be looked at before it is fetched.
    fn epoch(&self, ask: &Ask) -> Epoch {
        self.lock().epoch(ask)
    }

    /// Whoever fetches, and for whom.
    fn board(&self, ask: &Ask, reach: Reach) -> (Seat, Epoch) {
        let epoch = self.epoch(ask);
        (self.flights.board(ask.key(reach), epoch), epoch)
    }

    /// Whether those who waited may have an answer that another has fetched, when these had waited for it under one key.
    fn may_have(ask: &Ask, kept: &Kept, rule: &Rule, waited: Reach) -> bool {
        ask.may_keep(kept.era) && !kept.ttl(rule).is_zero() && ask.reach(kept.era, kept.shared) <= waited
    }

    /// Keeps an answer, if it may be kept, and nothing was heard since it was asked for.
    fn keep(&self, ask: &Ask, epoch: Epoch, kept: &Arc<Kept>, rule: &Rule) {
        self.keep_as(ask, epoch, kept, rule, false);
    }

    /// The same; and `for_need` also one that is never fresh, to stand in where its server is late.
    fn keep_as(&self, ask: &Ask, epoch: Epoch, kept: &Arc<Kept>, rule: &Rule, for_need: bool) {
        let bytes_max = self.bytes_max.load(Ordering::Relaxed);
        let ttl = if ask.may_keep(kept.era) { kept.ttl(rule) } else { Duration::ZERO };
        let reach = ask.reach(kept.era, kept.shared);
        let mut state = self.lock();
        if state.epoch(ask) != epoch {
            return;
        }
        let marked = kept.received + MARKED;
        let mut evicted = 0;
        if reach > Reach::Tenant {
            // Next time nobody waits for what is another's.
            evicted += state.shelves.put(ask.key(Reach::Tenant), Value::Private, marked, bytes_max);
        }
        let for_need = for_need && ask.may_keep(kept.era) && kept.is_whole(rule);
        let (value, dies) = if ttl.is_zero() && !for_need {
            (Value::Pass, marked)
        } else {
            (Value::Kept(Arc::clone(kept), epoch.list), kept.received + kept.stands_in_for(rule))
        };
        evicted += state.shelves.put(ask.key(reach), value, dies, bytes_max);
        drop(state);
        counters::cache_evicted(evicted);
    }

    /// A server's lists of this kind, and what belongs to them, are others now. What was kept of them is not given out any
    /// more.
    pub(crate) fn changed(&self, server: u64, part: Part) {
        let mut state = self.lock();
        let news = state.news.entry(server).or_default();
        match part {
            Part::Tools => news.tools += 1,
            Part::Prompts => news.prompts += 1,
            Part::Resources => news.resources += 1,
        }
    }

    /// A resource of a server is another now, and so may be what it is a part of.
    pub(crate) fn updated<'a>(&self, server: u64, uris: impl Iterator<Item = &'a str>) {
        let mut state = self.lock();
        state.news.entry(server).or_default().updates += 1;
        for uri in uris {
            state.shelves.forget_read(server, uri);
        }
    }

    /// Nothing of a server counts any more.
    pub(crate) fn forget(&self, server: u64) {
        let mut state = self.lock();
        let news = state.news.entry(server).or_default();
        (news.tools, news.prompts, news.resources) = (news.tools + 1, news.prompts + 1, news.resources + 1);
        state.shelves.forget(|key, _| key.server() == server);
    }

    /// Forgets what is too old, and what is known of servers that are not there any more. Tells operators how much is left.
    pub(crate) fn sweep(&self, is_served: impl Fn(u64) -> bool) {
        let now = Instant::now();
        self.patience.retain(&is_served);
        let mut state = self.lock();
        state.shelves.forget(|key, dies| dies <= now || !is_served(key.server()));
        state.news.retain(|server, _| is_served(*server));
        counters::cache_holds(state.shelves.bytes(), state.shelves.count());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What is known of an answer of this reach, as long as nothing was heard since.
    fn find(&mut self, ask: &Ask, reach: Reach, now: Instant) -> Option<Value> {
        if reach > ask.narrowest() {
            return None;
        }
        let key = ask.key(reach);
        let value = self.shelves.get(&key, now)?;
        if let Value::Kept(kept, list) = &value {
            if *list != self.epoch(ask).list {
                self.shelves.remove(&key);
                return None;
            }
            // It was kept for others who share it. This one may not.
            if ask.reach(kept.era, kept.shared) > reach || !ask.may_keep(kept.era) {
                return None;
            }
        }
        Some(value)
    }

    fn epoch(&self, ask: &Ask) -> Epoch {
        self.news.get(&ask.server()).copied().unwrap_or_default().of(ask.what())
    }
}
