//! Quotas and budgets: what is asked of the store that all processes share, and what it is told.

use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Exceeded, Limited};
use tollgate_store::{Allowances, StoreError};

use crate::admission::{Admission, Charge, Spent};
use crate::counter::Counter;
use crate::meter::{Metered, Now};
use crate::notice::Notice;
use crate::rule::Unit;
use crate::rules::Measure;
use crate::{Limits, Subject};

/// After how long without a request what was taken of a quota or budget in vain is given back, in nanoseconds.
const IDLE: u64 = 600_000_000_000;
/// When there may be room again of what the store has said is used up: others may give something back.
const AGAIN: Duration = Duration::from_secs(1);

/// Where it is known what is used up of quotas and budgets.
#[derive(Debug, Clone)]
pub(crate) struct Known(pub(crate) Arc<dyn Allowances>);

impl Limits {
    /// What is used up of quotas and budgets is known there from now on. Without it, it ends with the process.
    pub fn keep_in(&self, store: Arc<dyn Allowances>) {
        self.0.store.store(Arc::new(Known(store)));
    }

    /// What pays for something that is no request of its own, such as the result of a task.
    pub fn budgets(&self, subject: &Subject<'_>) -> Charge {
        let rules = self.0.rules.load();
        let (now, mut charge) = (self.now(), Charge::default());
        rules.about(subject, |_, prepared| {
            if let Measure::Meter(metered) = &prepared.measure
                && metered.of.is_some()
            {
                charge.pays(self, self.counter(&rules, prepared, subject, now), metered);
            }
        });
        charge
    }

    /// Asks what other processes have used.
    pub(crate) async fn ask(&self, counter: &Counter, metered: &Metered) {
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

    /// Counts what nobody waits for, where the store has to be asked whether there is room, and asks it for what comes next.
    ///
    /// # Errors
    /// There was none when it last answered.
    pub(crate) fn count_unasked(
        &self,
        counter: Arc<Counter>,
        metered: Arc<Metered>,
    ) -> Result<Admission, Exceeded> {
        let Counter::Meter(meter) = &*counter else { return Ok(Admission::default()) };
        let is_used_up = meter.is_known_to_be_used_up(&metered);
        if metered.of.is_none() && !is_used_up {
            meter.spend(&metered, 1, self.both(self.now()));
        }
        let exceeded = is_used_up.then(|| Exceeded {
            limit: Arc::clone(&metered.limit),
            of: if metered.of.is_some() { Limited::Budget } else { Limited::Quota },
            allowed: metered.allowed,
            window: Some(metered.every.about()),
            left: 0,
            currency: metered.currency(),
            retry_after: AGAIN,
        });
        // Of many that come while the store is slow to answer, none is kept waiting.
        if !meter.is_being_asked()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let limits = self.clone();
            runtime.spawn(async move { limits.ask(&counter, &metered).await });
        }
        exceeded.map_or_else(|| Ok(Admission::default()), Err)
    }

    /// Whether the store has answered. Operators are told when that changes.
    fn heard(&self, failure: Option<&StoreError>) {
        let reason = failure.map(ToString::to_string);
        if self.0.allowances.heard(reason.as_deref(), self.0.clock.now()) {
            self.tell(reason.map_or(Notice::Back, |reason| Notice::Away { reason }));
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
                let (limit, whose) = (Arc::clone(&metered.limit), Arc::clone(meter.whose()));
                let (allowed, currency) = (metered.allowed, metered.currency());
                self.tell(Notice::BudgetShare { limit, whose, used, allowed, currency });
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
                if self.0.allowances.is_away() {
                    return;
                }
            }
            if meter.leave(metered, &*store.0, idle_since, self.both(now)).await.is_err() {
                return;
            }
        }
    }

    pub(crate) fn both(&self, ns: u64) -> Now {
        Now { ns, wall: self.0.clock.now() }
    }
}
