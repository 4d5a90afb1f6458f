//! Limits that leave no room.

use tollgate_model::{Exceeded, TenantId};
use tracing::debug;

use crate::{Clean, counters};

/// A limit left no room for a request, which is refused.
#[derive(Debug)]
pub struct LimitReached<'a> {
    /// Which.
    pub exceeded: &'a Exceeded,
    /// The tenant whose request it is.
    pub tenant: &'a TenantId,
    /// What it wanted to do.
    pub method: &'a str,
}

impl LimitReached<'_> {
    /// Logs and counts it. The refusal has a line of its own, which says more.
    pub fn emit(self) {
        let Exceeded { limit, of, retry_after, .. } = self.exceeded;
        counters::limit_reached(limit, of.as_str());
        let (tenant, method) = (Clean(self.tenant.as_str()), Clean(self.method));
        debug!(limit = &**limit, of = of.as_str(), %tenant, %method, ?retry_after, "a limit leaves no room");
    }
}
