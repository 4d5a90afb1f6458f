//! Agents that seem to have run away, and are paused for a while.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{TenantId, Timestamp};

use crate::StoreError;

/// How many pauses are kept of each tenant. Beyond it the ones that end first are forgotten; the gateways that made them
/// still hold to them.
pub const PAUSES_MAX: usize = 1000;

/// Who is paused: an agent of a tenant, or whoever else calls by the name under which it is watched.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pausable {
    /// The tenant.
    pub tenant: TenantId,
    /// The agent.
    pub agent: Arc<str>,
}

/// An agent is paused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pausing {
    /// Who.
    pub who: Pausable,
    /// Why: what it was taken to have run away by.
    pub why: Arc<str>,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// An agent is let go on before its pause is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resuming {
    /// Who.
    pub who: Pausable,
    /// Why, in the operator's words; empty if nothing was said.
    pub reason: Arc<str>,
    /// Who did it.
    pub by: Arc<str>,
}

/// Who is paused.
#[async_trait]
pub trait Pauses: fmt::Debug + Send + Sync {
    /// Pauses an agent; what was said of it before is replaced. Forgets the tenant's pauses that were over before it began.
    async fn pause(&self, pausing: Pausing) -> Result<(), StoreError>;

    /// Lets it go on. Says whether it was paused, or had been.
    async fn resume(&self, resuming: Resuming) -> Result<bool, StoreError>;

    /// Who is paused, in the order of tenants and names, at most so many, after one that was listed last. Some may be over.
    async fn pauses(&self, after: Option<&Pausable>, most: usize) -> Result<Vec<Pausing>, StoreError>;
}
