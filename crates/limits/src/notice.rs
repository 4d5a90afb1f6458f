//! What operators have to be told of limits, beside what is refused.

use std::sync::Arc;
use std::time::Duration;

use crate::Why;

/// What operators have to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// So much of a budget is used up that they wanted to hear of it.
    BudgetShare {
        /// Which.
        limit: Arc<str>,
        /// Whose, of those that it counts apart: such as `tenant=acme agent=ann`. Empty where it counts all together.
        whose: Arc<str>,
        /// How much is used up: tokens, or billionths of the currency's unit.
        used: u64,
        /// How much there is.
        allowed: u64,
        /// In which currency, if it is of money.
        currency: Option<Arc<str>>,
    },
    /// An agent has run away, and is paused.
    Runaway {
        /// Its tenant.
        tenant: Arc<str>,
        /// Under which name it is paused: the agent's, or the caller's where that is none.
        agent: Arc<str>,
        /// Why.
        why: Why,
        /// For how long.
        pause: Duration,
    },
    /// Other gateways do not know that an agent is paused.
    PauseNotStored {
        /// Why.
        reason: String,
    },
    /// Rates and places cannot be counted together with other gateways: each gives out no more than its share.
    SharedAway {
        /// Why.
        reason: String,
    },
    /// They can again.
    SharedBack,
    /// It is not known what other processes have used: each gives out no more than its share.
    Away {
        /// Why.
        reason: String,
    },
    /// It is known again.
    Back,
}
