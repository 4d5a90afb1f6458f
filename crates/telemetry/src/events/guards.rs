//! What content guards find.

use tollgate_model::{ServerId, TenantId};
use tracing::{info, warn};

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

/// A guard outside of the gateway has said what it thinks.
#[derive(Debug)]
pub struct GuardAsked<'a> {
    /// Which one.
    pub guard: &'a str,
    /// What it came to: `pass`, `change`, `block` or `hold`.
    pub came_to: &'static str,
}

impl GuardAsked<'_> {
    /// Counts it.
    pub fn emit(self) {
        counters::guard_asked(self.guard, self.came_to);
    }
}

/// A guard outside of the gateway could not be asked.
#[derive(Debug)]
pub struct GuardUnavailable<'a> {
    /// Which one.
    pub guard: &'a str,
    /// Why, in a word.
    pub why: &'static str,
    /// Why, in words.
    pub detail: &'a str,
    /// Whether what it was to be asked about passes.
    pub passes: bool,
    /// What it was to be asked about: `result`, `arguments` or `notification`.
    pub place: &'static str,
    /// The server.
    pub server: &'a ServerId,
    /// The tenant whose request it is.
    pub tenant: &'a TenantId,
}

impl GuardUnavailable<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let Self { guard, why, detail, passes, place, server, tenant } = self;
        counters::guard_asked(guard, why);
        let (server, tenant, detail) = (server.label().to_string(), Clean(tenant.as_str()), Clean(detail));
        warn!(guard, why, %detail, passes, place, %server, %tenant, "a guard outside could not be asked");
    }
}
