//! Limits that leave no room, and what is tried again.

use std::time::Duration;

use tollgate_model::{Code, Exceeded, ServerId, TenantId};
use tracing::{debug, info, warn};

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

/// A request that failed is tried again.
#[derive(Debug)]
pub struct TriedAgain<'a> {
    /// The server.
    pub server: &'a ServerId,
    /// Why it failed: the stable code.
    pub why: Code,
    /// How long one waits before.
    pub wait: Duration,
    /// Whether it is not tried again after all, since so many were.
    pub is_withheld: bool,
}

impl TriedAgain<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let outcome = if self.is_withheld { "withheld" } else { "tried" };
        let server = self.server.label();
        counters::tried_again(&server.to_string(), outcome);
        debug!(%server, why = self.why.row().name, wait = ?self.wait, outcome, "a request is tried again");
    }
}

/// A request is refused since as many as allowed are under way on its server.
#[derive(Debug)]
pub struct ServerBusy<'a> {
    /// The server.
    pub server: &'a ServerId,
    /// `queue_full`: as many wait as may. `too_late`: it would have to wait for longer than it can. `queue_timeout`: it has.
    pub why: &'static str,
}

impl ServerBusy<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        let server = self.server.label();
        counters::server_busy(&server.to_string(), self.why);
        debug!(%server, why = self.why, "a server has as much to do as it may");
    }
}

/// So much of a budget is used up that operators wanted to hear of it.
#[derive(Debug)]
pub struct BudgetShareUsed<'a> {
    /// Which.
    pub limit: &'a str,
    /// Whose, of those that the limit counts apart: such as `tenant=acme agent=ann`.
    pub whose: &'a str,
    /// How much is used up.
    pub used: &'a str,
    /// How much there is.
    pub allowed: &'a str,
    /// Of what: a currency, or `tokens`.
    pub unit: &'a str,
}

impl BudgetShareUsed<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::budget_warned(self.limit);
        let Self { limit, whose, used, allowed, unit } = self;
        let (whose, unit) = (Clean(whose), Clean(unit));
        warn!(limit, %whose, used, allowed, %unit, "a budget is used up to the share that was to be told");
    }
}

/// An agent has run away, and is paused: nothing of its is let through until the pause is over, an operator resumes it, or
/// the configuration is taken over anew.
#[derive(Debug)]
pub struct AgentPaused<'a> {
    /// Its tenant.
    pub tenant: &'a str,
    /// Under which name: the agent's, or the caller's where that is none.
    pub agent: &'a str,
    /// Why: `repeats` or `surge`.
    pub why: &'static str,
    /// For how long.
    pub pause: Duration,
}

impl AgentPaused<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::agent_paused(self.why);
        let (tenant, agent) = (Clean(self.tenant), Clean(self.agent));
        warn!(%tenant, %agent, why = self.why, pause = ?self.pause, "an agent has run away, and is paused");
    }
}

/// What other processes have used of quotas and budgets cannot be asked.
#[derive(Debug)]
pub struct AllowancesAway<'a> {
    /// Why.
    pub reason: &'a str,
}

impl AllowancesAway<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::allowances_away(true);
        warn!(reason = %Clean(self.reason), "quotas and budgets are counted by each process for itself, up to its share");
    }
}

/// It can be asked again.
#[derive(Debug)]
pub struct AllowancesBack;

impl AllowancesBack {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::allowances_away(false);
        info!("quotas and budgets are counted together again");
    }
}

/// Rates and concurrency cannot be counted together with other gateways.
#[derive(Debug)]
pub struct SharedCountersAway<'a> {
    /// Why.
    pub reason: &'a str,
}

impl SharedCountersAway<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::shared_counters_away(true);
        warn!(reason = %Clean(self.reason), "the server of shared counters is away: each gateway counts rates and concurrency for itself, up to its share");
    }
}

/// They can again.
#[derive(Debug)]
pub struct SharedCountersBack;

impl SharedCountersBack {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::shared_counters_away(false);
        info!("rates and concurrency are counted together again");
    }
}

/// An operator has let an agent go on before its pause was over.
#[derive(Debug)]
pub struct AgentResumed<'a> {
    /// Its tenant.
    pub tenant: &'a str,
    /// Under which name it was paused.
    pub agent: &'a str,
    /// Who did it.
    pub by: &'a str,
    /// Why; empty if nothing was said.
    pub reason: &'a str,
}

impl AgentResumed<'_> {
    /// Logs it.
    pub fn emit(self) {
        let (tenant, agent) = (Clean(self.tenant), Clean(self.agent));
        let (by, reason) = (Clean(self.by), Clean(self.reason));
        info!(%tenant, %agent, %by, %reason, "an agent that was paused goes on");
    }
}

/// Other gateways do not know that an agent is paused: the store is away.
#[derive(Debug)]
pub struct PauseNotStored<'a> {
    /// Why.
    pub reason: &'a str,
}

impl PauseNotStored<'_> {
    /// Logs it.
    pub fn emit(self) {
        warn!(reason = %Clean(self.reason), "an agent is paused at this gateway alone: it could not be stored");
    }
}

/// An alert did not reach the web server that operators have named for it.
#[derive(Debug)]
pub struct AlertLost<'a> {
    /// Why.
    pub reason: &'a str,
}

impl AlertLost<'_> {
    /// Logs and counts it.
    pub fn emit(self) {
        counters::alert_lost();
        warn!(reason = %Clean(self.reason), "an alert did not reach its receiver");
    }
}
