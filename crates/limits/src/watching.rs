//! Agents that are watched, and paused at all gateways.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{Pausable, Pauses, Pausing};

use crate::counter::{self, Counter};
use crate::limits::nanos;
use crate::notice::Notice;
use crate::rules::Rules;
use crate::runaway::{Pace, RunawaySettings, Verdict, Why};
use crate::{Limits, Subject};

/// What all gateways know of pauses.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    store: ArcSwapOption<Store>,
    /// What was last known of them.
    known: Mutex<Arc<HashMap<Pausable, Pausing>>>,
}

#[derive(Debug)]
struct Store(Arc<dyn Pauses>);

impl Limits {
    /// Pauses are kept there from now on, for other gateways to hear of.
    pub fn pause_in(&self, store: Arc<dyn Pauses>) {
        self.0.pauses.store.store(Some(Arc::new(Store(store))));
    }

    /// Whether agents are watched.
    pub fn watches(&self) -> bool {
        self.0.rules.load().runaway.is_some()
    }

    /// How they are.
    pub fn runaway(&self) -> Option<RunawaySettings> {
        self.0.rules.load().runaway.clone()
    }

    /// Watches a call of whoever is known by `who` in its tenant: whether it has run away. `what` says which call it is.
    pub fn watch(&self, subject: &Subject<'_>, who: &str, what: &[u8]) -> Verdict {
        let rules = self.0.rules.load();
        let (Some(settings), Some(room)) = (&rules.runaway, rules.room) else { return Verdict::Go };
        let (now, epoch) = (self.now(), rules.epoch);
        let whose = (Some(subject.tenant), room);
        // Without room for more nobody new is watched; limits hold all the same.
        let make = || Counter::Pace(Pace::default());
        let Some(counter) = self.0.table.get(&self.agent(subject.tenant, who), whose, now, make) else {
            return Verdict::Go;
        };
        let Counter::Pace(pace) = &*counter else { return Verdict::Go };
        if let Some(wait) = pace.paused(epoch, now) {
            return Verdict::Paused { wait, is_new: None };
        }
        let surge = pace.goes(settings, now);
        let server = subject.server.map_or("", |server| server.name().as_str());
        let tool = subject.tool.unwrap_or(subject.method);
        let resumed = pace.resumed().to_be_bytes();
        let [tenant, name, server, tool] = [subject.tenant, who, server, tool].map(str::as_bytes);
        let call = self.0.keys.digest(&[tenant, name, server, tool, &resumed, what]);
        let call = [[0_u8; 4].as_slice(), &call].concat();
        let rate = settings.repeats();
        let counter = self.0.table.get(&call, whose, now, || Counter::Rate(AtomicU64::new(0)));
        let repeats = match counter.as_deref() {
            Some(Counter::Rate(at)) if counter::take(at, rate, now).is_ok() => {
                rate.left(at.load(Ordering::Relaxed), now) < u64::from(settings.repeats_max.get() / 2)
            }
            Some(Counter::Rate(_)) => {
                return self.run_away((subject.tenant, who), pace, (settings, epoch), Why::Repeats, now);
            }
            _ => false,
        };
        match (surge, repeats) {
            (2.., _) => self.run_away((subject.tenant, who), pace, (settings, epoch), Why::Surge, now),
            (1, _) | (0, true) => {
                let longer = pace.slows(now, settings.slow);
                if let (true, Some(Counter::Rate(at))) = (repeats, counter.as_deref()) {
                    at.fetch_add(longer, Ordering::Relaxed);
                }
                Verdict::Slow(settings.slow)
            }
            (0, false) => Verdict::Go,
        }
    }

    /// For how long whoever is known by `who` in its tenant is paused. What waited asks again.
    pub fn is_paused(&self, tenant: &str, who: &str) -> Option<Duration> {
        let rules = self.0.rules.load();
        rules.runaway.as_ref()?;
        match &*self.0.table.find(&self.agent(tenant, who))? {
            Counter::Pace(pace) => pace.paused(rules.epoch, self.now()),
            _ => None,
        }
    }

    /// Takes over who is paused at all gateways as of now.
    pub fn take_pauses(&self, pauses: &Arc<HashMap<Pausable, Pausing>>) {
        let mut known = self.0.pauses.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *known, Arc::clone(pauses));
        drop(known);
        if Arc::ptr_eq(&before, pauses) {
            return;
        }
        let rules = self.0.rules.load();
        let (now, wall) = (self.now(), self.0.clock.now());
        for (who, pausing) in pauses.iter().filter(|(who, new)| before.get(*who) != Some(*new)) {
            // However clocks differ, it is not paused for longer than it was to be.
            let left = pausing.until.since(wall).min(pausing.until.since(pausing.since));
            if !left.is_zero() {
                self.pause_here(&rules, who, (now, left));
            }
        }
        for (who, old) in before.iter().filter(|(who, _)| !pauses.contains_key(*who)) {
            // Of those that are over nobody said that they go on.
            if old.until > wall {
                self.resume(who);
            }
        }
    }

    /// Lets an agent go on before its pause is over, at this gateway. What it did before counts no more.
    pub fn resume(&self, who: &Pausable) {
        let counter = self.0.table.find(&self.agent(who.tenant.as_str(), &who.agent));
        if let Some(Counter::Pace(pace)) = counter.as_deref() {
            pace.resume(self.now());
        }
    }

    fn pause_here(&self, rules: &Rules, who: &Pausable, (now, left): (u64, Duration)) {
        let tenant = who.tenant.as_str();
        let make = || Counter::Pace(Pace::default());
        let counter = self.0.table.get_always(&self.agent(tenant, &who.agent), Some(tenant), make);
        if let Counter::Pace(pace) = &*counter {
            pace.pause(rules.epoch, now, left);
        }
    }

    fn run_away(
        &self,
        (tenant, who): (&str, &str),
        pace: &Pace,
        (settings, epoch): (&RunawaySettings, u64),
        why: Why,
        now: u64,
    ) -> Verdict {
        let pause = settings.pause;
        pace.pause(epoch, now, pause);
        let agent: Arc<str> = who.into();
        self.tell(Notice::Runaway { tenant: tenant.into(), agent: Arc::clone(&agent), why, pause });
        let since = self.0.clock.now();
        let until = Timestamp::from_ms(since.as_ms().saturating_add(nanos(pause) / 1_000_000));
        let who = Pausable { tenant: TenantId::new(tenant), agent };
        self.store_pause(Pausing { who, why: why.as_str().into(), since, until });
        Verdict::Paused { wait: pause, is_new: Some(why) }
    }

    /// Tells other gateways. No call waits for it.
    fn store_pause(&self, pausing: Pausing) {
        let (Some(store), Ok(runtime)) =
            (self.0.pauses.store.load_full(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let limits = self.clone();
        runtime.spawn(async move {
            if let Err(error) = store.0.pause(pausing).await {
                limits.tell(Notice::PauseNotStored { reason: error.to_string() });
            }
        });
    }

    /// What an agent is found by.
    fn agent(&self, tenant: &str, who: &str) -> Vec<u8> {
        [[0_u8; 4].as_slice(), &self.0.keys.digest(&[tenant.as_bytes(), who.as_bytes()])].concat()
    }
}
