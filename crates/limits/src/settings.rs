//! What an operator says of limits, as meant.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::TenantId;

use crate::{Bound, Encoding, Rule, RunawaySettings, Zone};

/// What limits there are, and how they are counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitSettings {
    /// The limits. No two have the same name in the same plan.
    pub rules: Vec<Rule>,
    /// The tenants that are configured.
    pub tenants: Vec<TenantId>,
    /// How many counters there may be. While there are so many of which none can be forgotten without letting somebody have
    /// more than is allowed, those who are new share one counter for each rule and tenant.
    pub counters_max: usize,
    /// How many of them may be one tenant's, in percent. Means nothing where there is one tenant.
    pub tenant_share_percent: usize,
    /// Where the days of quotas and budgets begin.
    pub zone: Zone,
    /// How many processes count together. While they cannot be told what the others have used, each gives out no more than its
    /// share.
    pub replicas: NonZeroU32,
    /// How long a request that its client has left, or whose time was up, keeps its places among those under way: its server may
    /// still be at it. It gives them up before, where its server is heard to be done with it.
    pub abandoned: Duration,
    /// What budgets of money are in. Only said.
    pub currency: Arc<str>,
    /// By what tokens are counted for budgets.
    pub tokens: Encoding,
    /// When agents are taken to have run away. None watches nobody.
    pub runaway: Option<RunawaySettings>,
}

impl LimitSettings {
    /// Whether any limit counts what has to be known to all processes, and after a restart.
    pub fn are_metered(&self) -> bool {
        self.rules.iter().any(|rule| matches!(rule.bound, Bound::Quota { .. } | Bound::Budget { .. }))
    }
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            tenants: Vec::new(),
            counters_max: 100_000,
            tenant_share_percent: 50,
            zone: Zone::default(),
            replicas: NonZeroU32::MIN,
            abandoned: Duration::from_secs(10),
            currency: Arc::from(""),
            tokens: Encoding::default(),
            runaway: None,
        }
    }
}
