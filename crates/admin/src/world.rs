//! What the admin plane knows of the gateway that it belongs to, and of what outlives it.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_approvals::ApprovalSettings;
use tollgate_ledger::Ledger;
use tollgate_model::{ServerId, TenantId, Timestamp};
use tollgate_store::{Follower, RuleSetId, Store};

use crate::{Registry, Snapshot};

/// The gateway, as its operators are told of it. Asked anew for everything that is shown.
#[async_trait]
pub trait World: Registry + Send + Sync + 'static {
    /// How it does at this moment.
    fn snapshot(&self) -> Snapshot;

    /// The rest; none before it is known what the gateway is.
    fn parts(&self) -> Option<Parts>;

    /// The store, made if there is none yet: for what is to be changed.
    ///
    /// # Errors
    /// Why there can be none.
    fn make_store(&self) -> Result<Arc<dyn Store>, String>;

    /// What would be said of these texts if they were the policies of a tenant, in the place of its own. Nothing is changed.
    ///
    /// # Errors
    /// Why it cannot be said.
    async fn try_policies(
        &self,
        tenant: &TenantId,
        texts: Vec<PolicyText>,
    ) -> Result<Vec<PolicyRemark>, String>;

    /// What would be said of a version of a stored set if it decided. Nothing is changed.
    ///
    /// # Errors
    /// Why it cannot be said.
    async fn try_rules(&self, candidate: &RuleCandidate) -> Result<Vec<PolicyRemark>, String>;

    /// What cases come to if a version of a stored set decided: text in the format of `tollgate policy test`.
    ///
    /// # Errors
    /// Why it cannot be said.
    async fn test_rules(&self, candidate: &RuleCandidate, cases: &str) -> Result<Tested, String>;

    /// What would have been decided otherwise of what is on record, if a version of a stored set had decided.
    ///
    /// # Errors
    /// Why it cannot be said.
    async fn simulate_rules(&self, candidate: &RuleCandidate, days: u32) -> Result<Simulated, String>;
}

/// A version of a stored set of policies, or what may become one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleCandidate {
    /// The set.
    pub id: RuleSetId,
    /// The version, as messages name it.
    pub version: Arc<str>,
    /// The policies.
    pub text: Arc<str>,
}

/// What cases came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tested {
    /// What is wrong with the policies or the cases. If there is any, nothing was tried.
    pub problems: Vec<String>,
    /// Each case.
    pub cases: Vec<TestedCase>,
}

/// A case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestedCase {
    /// What it is called.
    pub name: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What is not as it was expected: what, expected, found. Nothing if it passed.
    pub differences: Vec<(&'static str, String, String)>,
    /// Which policies decided.
    pub policies: Vec<String>,
}

/// What would have been decided otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Simulated {
    /// How many decisions were looked at.
    pub found: u64,
    /// Those of them that could be made again.
    pub decided: u64,
    /// Those that would be the same.
    pub same: u64,
    /// Those that cannot be made again, by why.
    pub undecidable: Vec<(&'static str, u64)>,
    /// What would be denied that was allowed.
    pub newly_denied: Shift,
    /// What would be allowed that was denied.
    pub newly_allowed: Shift,
    /// What would be allowed under other obligations.
    pub other_obligations: Shift,
    /// When the first and the last of them was made.
    pub span: Option<(Timestamp, Timestamp)>,
    /// Whether there is more on record than was looked at.
    pub is_cut: bool,
}

/// Decisions that would be others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shift {
    /// How many.
    pub count: u64,
    /// By tool, prompt or resource; most first.
    pub by_tool: Vec<(String, u64)>,
    /// By agent.
    pub by_agent: Vec<(String, u64)>,
    /// By policy.
    pub by_policy: Vec<(String, u64)>,
    /// Some of them.
    pub examples: Vec<ShiftExample>,
}

/// A decision that would be another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShiftExample {
    /// When it was made.
    pub time: Timestamp,
    /// The call.
    pub call: String,
    /// Who called.
    pub agent: String,
    /// On whose behalf.
    pub user: String,
    /// What.
    pub what: String,
    /// Which policies decided.
    pub before: Vec<String>,
    /// Which would.
    pub after: Vec<String>,
}

/// What is known of a gateway once it is known what it is.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The store, if there is one.
    pub store: Option<Arc<dyn Store>>,
    /// What is desired, as it is followed.
    pub follower: Follower,
    /// The record.
    pub ledger: Ledger,
    /// What is configured.
    pub configured: Arc<Configured>,
}

/// What is configured, as far as operators are shown.
#[derive(Debug, Clone, Default)]
pub struct Configured {
    /// The tenants, in the order of the configuration.
    pub tenants: Vec<TenantId>,
    /// The plan of each tenant that has one.
    pub plans: Vec<(TenantId, Arc<str>)>,
    /// Whether policies that are kept in the store count.
    pub stored_policies: bool,
    /// Whether nobody may have policies decide that they wrote themselves.
    pub four_eyes: bool,
    /// What is said of servers.
    pub servers: Vec<ServerCard>,
    /// The policies.
    pub policies: Vec<PolicyText>,
    /// How much callers may do, in words.
    pub limits: Vec<LimitCard>,
    /// Whether a lock file says which definitions are approved, and nobody else.
    pub pins_locked: bool,
    /// How approvals are decided.
    pub approvals: Arc<ApprovalSettings>,
    /// Whether who made a registered server may approve it; none: only the local admin, where nobody signs in.
    pub self_approval: Option<bool>,
    /// The currency of costs; empty if none is named.
    pub currency: Arc<str>,
    /// How the gateway is set up: names, and values without secrets.
    pub settings: Vec<(&'static str, String)>,
}

/// What an operator says of a server.
#[derive(Debug, Clone)]
pub struct ServerCard {
    /// Which.
    pub server: ServerId,
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// Where it belongs.
    pub environment: Option<Arc<str>>,
    /// How dangerous it is.
    pub risk: Option<Arc<str>>,
    /// Scopes that tokens need for it.
    pub scopes: Vec<Arc<str>>,
}

/// A file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyText {
    /// Whose callers it is about; none: the operator's forbids for all.
    pub tenant: Option<TenantId>,
    /// The file, as messages name it.
    pub path: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
    /// Whether it only looks on.
    pub is_shadow: bool,
}

/// What is said of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRemark {
    /// Whether the policies cannot be used.
    pub is_error: bool,
    /// The file.
    pub path: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub suggestion: Option<String>,
}

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitCard {
    /// The plan that it belongs to; none: it holds for all.
    pub plan: Option<Arc<str>>,
    /// What it is called.
    pub name: Arc<str>,
    /// What it says.
    pub says: String,
}
