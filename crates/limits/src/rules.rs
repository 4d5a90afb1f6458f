//! The rules of one configuration, ready to be held against requests.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{Limited, folded};

use crate::gcra::Rate;
use crate::meter::Metered;
use crate::rule::{Bound, Dimension, Rule, Unit};
use crate::runaway::RunawaySettings;
use crate::table::Room;
use crate::{Encoding, Glob, LimitSettings, Subject};

/// The rules of one configuration.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    pub(crate) all: Vec<Prepared>,
    of_tenant: HashMap<Box<str>, Box<[usize]>>,
    pub(crate) room: Option<Room>,
    pub(crate) runaway: Option<RunawaySettings>,
    /// How long a request that was left keeps its places.
    pub(crate) abandoned: Duration,
    /// By what tokens are counted.
    pub(crate) tokens: Encoding,
    /// Which configuration it is.
    pub(crate) epoch: u64,
    /// How many processes count together.
    pub(crate) replicas: u32,
    /// Whether anything is paid for.
    pub(crate) are_budgets: bool,
    /// Patterns of methods that some rule names: beside calls, only these can be limited.
    pub(crate) is_any_per_method: bool,
}

/// A rule with what it is counted by.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// Tools are named in it without regard to case.
    pub(crate) rule: Rule,
    pub(crate) slot: u32,
    pub(crate) measure: Measure,
}

/// What a rule is counted by.
#[derive(Debug, Clone)]
pub(crate) enum Measure {
    Rate(Rate),
    Slots(NonZeroU32),
    Meter(Arc<Metered>),
}

/// The numbers that rules have in the keys of their counters: the same over reloads, as long as a rule counts the same. What is
/// known of a rate is a time, which means nothing for another rate.
#[derive(Debug, Default)]
pub(crate) struct Names {
    slots: HashMap<Kind, u32>,
    next: u32,
}

type Kind = (Option<Arc<str>>, Arc<str>, Vec<Dimension>, Limited, (Option<Rate>, Option<Unit>));

impl Rules {
    /// The rules of a configuration that comes after another.
    pub(crate) fn new(settings: &LimitSettings, names: &mut Names, epoch: u64) -> Self {
        let all: Vec<Prepared> = settings.rules.iter().map(|rule| names.prepare(rule, settings)).collect();
        names.slots.retain(|_, slot| all.iter().any(|prepared| prepared.slot == *slot));
        let of_tenant = settings.tenants.iter().map(|tenant| {
            let own = all.iter().enumerate().filter(|(_, own)| own.rule.is_about_tenant(tenant.as_str()));
            (tenant.as_str().into(), own.map(|(index, _)| index).collect())
        });
        let of_tenant = of_tenant.collect();
        let share = if settings.tenants.len() > 1 { settings.tenant_share_percent } else { 100 };
        let tenant = settings.counters_max.saturating_mul(share).div_ceil(100);
        let is_any_per_method = all.iter().any(|prepared| {
            !prepared.rule.about.method.is_empty() || prepared.rule.per.contains(&Dimension::Method)
        });
        let is_budget = |prepared: &Prepared| matches!(&prepared.measure, Measure::Meter(metered) if metered.of.is_some());
        let are_budgets = all.iter().any(is_budget);
        Self {
            all,
            of_tenant,
            room: Some(Room { all: settings.counters_max, tenant }),
            runaway: settings.runaway.clone(),
            abandoned: settings.abandoned,
            tokens: settings.tokens,
            are_budgets,
            epoch,
            replicas: settings.replicas.get(),
            is_any_per_method,
        }
    }

    /// Those about a request, each with its number.
    pub(crate) fn about(&self, subject: &Subject<'_>, mut add: impl FnMut(usize, &Prepared)) {
        let mut offer = |index: usize, prepared: &Prepared| {
            if prepared.rule.is_about(subject) {
                add(index, prepared);
            }
        };
        match self.of_tenant.get(subject.tenant) {
            Some(own) => {
                for index in own {
                    offer(*index, &self.all[*index]);
                }
            }
            None => {
                for (index, prepared) in self.all.iter().enumerate() {
                    if prepared.rule.is_about_tenant(subject.tenant) {
                        offer(index, prepared);
                    }
                }
            }
        }
    }

    /// How the quota or budget is counted that has this number.
    pub(crate) fn metered(&self, slot: u32) -> Option<&Arc<Metered>> {
        self.all.iter().find(|prepared| prepared.slot == slot).and_then(|prepared| match &prepared.measure {
            Measure::Meter(metered) => Some(metered),
            _ => None,
        })
    }
}

impl Prepared {
    /// Whether it is not over and done with when a request begins.
    pub(crate) fn is_for_every_round(&self) -> bool {
        match &self.measure {
            Measure::Rate(_) => false,
            Measure::Slots(_) => true,
            Measure::Meter(metered) => metered.of.is_some(),
        }
    }
}

impl Names {
    fn prepare(&mut self, rule: &Rule, settings: &LimitSettings) -> Prepared {
        let meter = |allowed, every, of, warn_at: Option<u16>, is_soft: bool| {
            Measure::Meter(Arc::new(Metered {
                limit: Arc::clone(&rule.name),
                allowed,
                every,
                of,
                // Of one that refuses nothing nobody would hear else.
                warn_at: warn_at.or(is_soft.then_some(1000)),
                is_soft,
                zone: settings.zone.clone(),
                replicas: u64::from(settings.replicas.get()),
                currency: Arc::clone(&settings.currency),
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
        let mut rule = rule.clone();
        rule.about.tool = rule.about.tool.iter().map(|tool| Glob::new(&folded(tool.as_str()))).collect();
        Prepared { rule, slot, measure }
    }
}
