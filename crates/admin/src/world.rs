//! What the admin plane knows of the gateway that it belongs to, and of what outlives it.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_approvals::ApprovalSettings;
use tollgate_ledger::Ledger;
use tollgate_model::{ServerId, TenantId};
use tollgate_store::{Follower, Store};

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
    /// What is said of servers.
    pub servers: Vec<ServerCard>,
    /// The policies.
    pub policies: Vec<PolicyText>,
    /// How much callers may do, in words.
    pub limits: Vec<LimitCard>,
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
