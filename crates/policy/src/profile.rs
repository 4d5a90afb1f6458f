//! What was judged before, for callers whom policies cannot tell apart. Bounded, and gone with its set.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use cedar_policy::Entity;

use crate::plan::{Plan, plan};
use crate::rules::{Rules, Target, Traits};
use crate::visible::View;

/// How many kinds of callers are kept.
const PROFILES_MAX: usize = 4_096;
/// How much is kept over all kinds of callers, in units of some 64 bytes.
const WEIGHT_MAX: usize = 1_000_000;
/// Callers of one kind are found by one of so many locks.
const SHARDS: usize = 16;
/// Plans of so many tools stand side by side.
const BLOCK: usize = 64;

/// A plan that is made when it is first needed.
pub(crate) type Slot = OnceLock<Box<Plan>>;
type Shard = RwLock<HashMap<Traits, Arc<Profile>>>;

/// Callers whom the policies of a set cannot tell apart.
#[derive(Debug)]
pub(crate) struct Profile {
    pub(crate) caller: Entity,
    traits: Traits,
    /// The rules that are about these callers.
    pub(crate) about: Vec<u32>,
    /// By tool.
    plans: Box<[OnceLock<Box<[Slot]>>]>,
    /// By server: what plans for any of its resources and any of its prompts are, where no rule names a single one.
    pub(crate) reads: Box<[Slot]>,
    pub(crate) prompts: Box<[Slot]>,
    /// By server.
    pub(crate) views: Box<[Mutex<Option<Arc<View>>>]>,
}

fn slots<T>(count: usize) -> Box<[OnceLock<T>]> {
    (0..count).map(|_| OnceLock::new()).collect()
}

/// All kinds of callers that are kept.
#[derive(Debug)]
pub(crate) struct Profiles {
    shards: Box<[Shard]>,
    weight: AtomicUsize,
}

impl Default for Profiles {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(HashMap::new())).collect(),
            weight: AtomicUsize::new(0),
        }
    }
}

impl Profiles {
    /// The profile of a caller, made if there is none; nothing if Cedar does not take the caller as an entity.
    pub(crate) fn of(&self, rules: &Rules, traits: Traits) -> Option<Arc<Profile>> {
        let mix = traits.ids.iter().fold(0_usize, |mix, id| mix.wrapping_mul(31).wrapping_add(*id as usize));
        let shard = self.shards.get(mix % SHARDS)?;
        if let Some(found) = shard.read().unwrap_or_else(PoisonError::into_inner).get(&traits) {
            return Some(found.clone());
        }
        let made = Arc::new(Profile::new(rules, &traits)?);
        let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
        if shard.len() >= PROFILES_MAX / SHARDS {
            shard.clear();
        }
        Some(shard.entry(traits).or_insert(made).clone())
    }

    /// Counts what is kept, and lets go of all of it when it is too much.
    pub(crate) fn keep(&self, weight: usize) {
        if self.weight.fetch_add(weight, Ordering::Relaxed) > WEIGHT_MAX {
            self.weight.store(0, Ordering::Relaxed);
            for shard in &self.shards {
                shard.write().unwrap_or_else(PoisonError::into_inner).clear();
            }
        }
    }
}

impl Profile {
    fn new(rules: &Rules, traits: &Traits) -> Option<Self> {
        let about = (0..).zip(&rules.all).filter(|(_, rule)| rule.principal.holds(&traits.ids));
        let servers = rules.world.servers.len();
        Some(Self {
            caller: rules.caller(traits)?,
            traits: traits.clone(),
            about: about.map(|(at, _)| at).collect(),
            plans: slots(rules.targets.len().div_ceil(BLOCK)),
            reads: slots(servers),
            prompts: slots(servers),
            views: (0..servers).map(|_| Mutex::new(None)).collect(),
        })
    }

    /// Everything that policies name and these callers are, as policies write it.
    pub(crate) fn names(&self, rules: &Rules) -> Vec<String> {
        self.traits.ids.iter().filter_map(|id| rules.name(*id)).collect()
    }

    /// The plan for a tool that is known.
    pub(crate) fn plan<'a>(
        &'a self,
        rules: &Rules,
        all: &Profiles,
        tool: usize,
        target: &Target,
    ) -> Option<&'a Plan> {
        let block = self.plans.get(tool / BLOCK)?;
        let block = block.get_or_init(|| slots(BLOCK));
        Some(self.planned(rules, all, block.get(tool % BLOCK)?, target))
    }

    /// The plan of this slot.
    pub(crate) fn planned<'a>(
        &self,
        rules: &Rules,
        all: &Profiles,
        slot: &'a Slot,
        target: &Target,
    ) -> &'a Plan {
        if let Some(found) = slot.get() {
            return found;
        }
        let made = slot.get_or_init(|| Box::new(self.fresh(rules, target)));
        all.keep(made.weight());
        made
    }

    /// A plan that is not kept.
    pub(crate) fn fresh(&self, rules: &Rules, target: &Target) -> Plan {
        plan(rules, &self.caller, &self.about, target)
    }
}
