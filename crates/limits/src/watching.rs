//! Agents that are watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::counter::{self, Counter};
use crate::notice::Notice;
use crate::runaway::{Pace, RunawaySettings, Verdict, Why};
use crate::{Limits, Subject};

impl Limits {
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
        self.tell(Notice::Runaway { tenant, agent, why, pause: settings.pause });
        Verdict::Paused { wait: settings.pause, is_new: Some(why) }
    }
}
