//! Whether a rule has room for a request, and what is said where it has none.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tollgate_model::{Exceeded, Limited};

use crate::Limits;
use crate::admission::{Admission, Taken};
use crate::counter::{self, Counter};
use crate::gcra::{Full, Rate};
use crate::meter::{Look, Metered};
use crate::rule::Bound;
use crate::rules::{Measure, Prepared};
use crate::together::Alone;

/// After how long whoever finds no place among those under way is told to try again.
const PLACE_WAIT: Duration = Duration::from_secs(1);

/// Why a request is not counted.
pub(crate) enum Not {
    Full(Exceeded),
    /// It has to be known first what others have used.
    Known(Arc<Metered>),
}

impl Prepared {
    /// Whether there is room. What is counted together is not looked at here.
    pub(crate) fn look(
        &self,
        limits: &Limits,
        counter: &Counter,
        (now, alone): (u64, Alone),
    ) -> Result<(), Not> {
        match (&self.measure, counter) {
            (Measure::Rate(rate), Counter::Rate(at)) => match alone.rate(*rate) {
                Some(rate) => counter::has_room(at, rate, now).map_err(|full| self.full(full)),
                None => Ok(()),
            },
            (Measure::Slots(most), Counter::Slots(taken)) => {
                let is_free = taken.load(Ordering::Relaxed) < alone.places(*most);
                if is_free { Ok(()) } else { Err(Not::Full(self.occupied())) }
            }
            (Measure::Meter(metered), Counter::Meter(meter)) => match meter.look(metered, limits.both(now)) {
                Look::Room => Ok(()),
                other => Err(self.metered(metered, other)),
            },
            _ => Ok(()),
        }
    }

    /// Counts a request here.
    pub(crate) fn count(
        &self,
        limits: &Limits,
        counter: &Arc<Counter>,
        (now, alone): (u64, Alone),
        admission: &mut Admission,
    ) -> Result<(), Not> {
        match (&self.measure, &**counter) {
            (Measure::Rate(rate), Counter::Rate(_)) => {
                if let Some(rate) = alone.rate(*rate) {
                    self.take(rate, counter, now, admission).map_err(Not::Full)?;
                }
            }
            (Measure::Slots(most), Counter::Slots(taken)) => {
                if !counter::enter(taken, alone.places(*most)) {
                    return Err(Not::Full(self.occupied()));
                }
                admission.places.add(Arc::clone(counter), *most);
            }
            (Measure::Meter(metered), Counter::Meter(_)) if metered.of.is_some() => {
                admission.charge.pays(limits, Arc::clone(counter), metered);
            }
            (Measure::Meter(metered), Counter::Meter(meter)) => {
                let window = meter.count(metered, limits.both(now));
                let window = window.map_err(|other| self.metered(metered, other))?;
                admission.charge.add(Arc::clone(counter), Taken::Quota(window));
            }
            _ => {}
        }
        Ok(())
    }

    /// Counts it in a rate here.
    pub(crate) fn take(
        &self,
        rate: Rate,
        counter: &Arc<Counter>,
        now: u64,
        admission: &mut Admission,
    ) -> Result<(), Exceeded> {
        let Counter::Rate(at) = &**counter else { return Ok(()) };
        let until = counter::take(at, rate, now).map_err(|full| self.exceeds(full.wait_ns))?;
        admission.charge.add(Arc::clone(counter), Taken::Rate { each_ns: rate.each_ns(), until });
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
            currency: metered.currency(),
            retry_after: wait,
        })
    }

    fn full(&self, full: Full) -> Not {
        Not::Full(self.exceeds(full.wait_ns))
    }

    /// The rate has no room for so long.
    pub(crate) fn exceeds(&self, wait_ns: u64) -> Exceeded {
        let (allowed, window) = match &self.rule.bound {
            Bound::Rate { requests, per, .. } => (requests.get(), Some(*per)),
            _ => (0, None),
        };
        Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: Limited::Rate,
            allowed: u64::from(allowed),
            window,
            left: 0,
            currency: None,
            retry_after: Duration::from_nanos(wait_ns),
        }
    }

    /// All its places are taken.
    pub(crate) fn occupied(&self) -> Exceeded {
        let allowed = match &self.rule.bound {
            Bound::Concurrency(most) => most.get(),
            _ => 0,
        };
        Exceeded {
            limit: Arc::clone(&self.rule.name),
            of: Limited::Concurrency,
            allowed: u64::from(allowed),
            window: None,
            left: 0,
            currency: None,
            retry_after: PLACE_WAIT,
        }
    }
}
