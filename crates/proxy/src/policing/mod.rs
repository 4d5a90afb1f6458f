//! The policies that hold now, and what they are written about.
//!
//! Policy sets are compiled off the hot path, against what is known of servers' tools ([`Definitions`]), and swapped all at
//! once; in between the old ones decide.

mod compile;
mod definitions;
mod shadow;
mod upkeep;
mod views;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tollgate_model::TenantId;
use tollgate_policy::PolicySet;

pub(crate) use compile::{About, follow};
pub use compile::{CompiledPolicies, PolicySettings};
pub(crate) use definitions::Definitions;
pub(crate) use shadow::{Looker, Question};
pub(crate) use upkeep::{Changed, Upkeep, inbound as own_inbound, run};
use views::Telling;
pub(crate) use views::{Digest, differing, sees};

/// What decides.
#[derive(Debug, Default)]
pub(crate) enum Rules {
    /// The built-in policy.
    #[default]
    BuiltIn,
    /// Each tenant's own. A tenant without any may do nothing.
    Sets {
        /// Those that decide.
        live: Sets,
        /// Those that only look on.
        shadow: Sets,
    },
}

/// The policies of tenants.
pub(crate) type Sets = HashMap<TenantId, Arc<PolicySet>>;

impl Rules {
    /// The tenants' policies; none where the built-in one holds.
    pub(crate) fn sets(&self) -> Option<&Sets> {
        match self {
            Self::BuiltIn => None,
            Self::Sets { live, .. } => Some(live),
        }
    }

    /// The policies that only look on at what is decided on a tenant's callers.
    pub(crate) fn shadow(&self, tenant: &TenantId) -> Option<&Arc<PolicySet>> {
        match self {
            Self::BuiltIn => None,
            Self::Sets { shadow, .. } => shadow.get(tenant),
        }
    }
}

/// What decides, and what is known of that which is decided on.
#[derive(Debug)]
pub(crate) struct Policing {
    rules: ArcSwap<Rules>,
    definitions: Definitions,
    upkeep: Upkeep,
    swaps: watch::Sender<()>,
    telling: Telling,
    /// What the rules were made of.
    about: Mutex<Option<Arc<About>>>,
    budget: shadow::Budget,
}

impl Default for Policing {
    fn default() -> Self {
        Self {
            rules: ArcSwap::default(),
            definitions: Definitions::default(),
            upkeep: Upkeep::default(),
            swaps: watch::Sender::new(()),
            telling: Telling::default(),
            about: Mutex::default(),
            budget: shadow::Budget::default(),
        }
    }
}

impl Policing {
    /// What decides now.
    pub(crate) fn rules(&self) -> arc_swap::Guard<Arc<Rules>> {
        self.rules.load()
    }

    /// Whether policies are configured, so that it is of use to know what they are written about.
    pub(crate) fn is_on(&self) -> bool {
        self.rules.load().sets().is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<About>>> {
        self.about.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells whenever something else decides.
    pub(crate) fn swaps(&self) -> watch::Receiver<()> {
        self.swaps.subscribe()
    }

    /// Which views have yet to be looked at.
    pub(crate) fn telling(&self) -> &Telling {
        &self.telling
    }

    /// What is read of servers when.
    pub(crate) fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// What is known of servers' tools.
    pub(crate) fn definitions(&self) -> &Definitions {
        &self.definitions
    }
}
