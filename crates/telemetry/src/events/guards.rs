//! What content guards find.

use tollgate_model::{ServerId, TenantId};
use tracing::info;

use crate::{Clean, counters};

/// A guard found something: what is never said.
#[derive(Debug)]
pub struct GuardFound<'a> {
    /// The rule.
    pub rule: &'a str,
    /// What became of it.
    pub action: &'static str,
    /// Where it stood: `result`, `arguments` or `notification`, and the way to it.
    pub place: &'static str,
    /// The way to it (a JSON pointer).
    pub path: &'a str,
    /// The server.
    pub server: &'a ServerId,
    /// The tenant whose request it is.
    pub tenant: &'a TenantId,
}

impl GuardFound<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { rule, action, place, path, server, tenant } = self;
        counters::guard_found(rule, action);
        let (server, tenant, path) = (server.label().to_string(), Clean(tenant.as_str()), Clean(path));
        info!(rule, action, place, %path, %server, %tenant, "a guard found something");
    }
}
