//! How much was used: sums per day, tenant, agent, server and tool.

use std::sync::Arc;

use async_trait::async_trait;

use crate::StoreError;

/// What is counted apart. A text is empty where it is not known, or where sums are not told apart by it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct UsageKey {
    /// The day (UTC), in days since 1970-01-01.
    pub day: u32,
    /// The tenant.
    pub tenant: Arc<str>,
    /// Reference of the agent.
    pub agent: Arc<str>,
    /// The server.
    pub server: Arc<str>,
    /// The tool's native name; of what is no call of a tool, the method.
    pub tool: Arc<str>,
}

/// A sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageSum {
    /// Calls that reached a server. All rounds of one call are one.
    pub calls: u64,
    /// Those of them that ended in anything but a good result.
    pub errors: u64,
    /// Calls that were refused before they reached a server.
    pub refused: u64,
    /// Bytes that left for servers.
    pub sent_bytes: u64,
    /// Bytes of servers' responses.
    pub received_bytes: u64,
    /// Estimated tokens of arguments.
    pub sent_tokens: u64,
    /// Estimated tokens of results.
    pub received_tokens: u64,
    /// What it cost by the prices of its time, in billionths of the currency.
    pub cost_nano: u64,
}

impl UsageSum {
    /// Adds another to it.
    pub fn add(&mut self, other: &Self) {
        let Self {
            calls,
            errors,
            refused,
            sent_bytes,
            received_bytes,
            sent_tokens,
            received_tokens,
            cost_nano,
        } = self;
        for (sum, more) in [
            (calls, other.calls),
            (errors, other.errors),
            (refused, other.refused),
            (sent_bytes, other.sent_bytes),
            (received_bytes, other.received_bytes),
            (sent_tokens, other.sent_tokens),
            (received_tokens, other.received_tokens),
            (cost_nano, other.cost_nano),
        ] {
            *sum = sum.saturating_add(more);
        }
    }
}

/// What was used of something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UsageRow {
    /// Of what.
    pub key: UsageKey,
    /// How much.
    pub sum: UsageSum,
}

/// By what sums are told apart.
#[allow(clippy::struct_excessive_bools, reason = "each is a column, or is not")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageBy {
    /// Day by day.
    pub day: bool,
    /// By tenant.
    pub tenant: bool,
    /// By agent.
    pub agent: bool,
    /// By server.
    pub server: bool,
    /// By tool.
    pub tool: bool,
}

impl UsageBy {
    /// What of a key tells sums apart.
    pub fn of(self, key: &UsageKey) -> UsageKey {
        let kept = |is: bool, text: &Arc<str>| if is { Arc::clone(text) } else { Arc::default() };
        UsageKey {
            day: if self.day { key.day } else { 0 },
            tenant: kept(self.tenant, &key.tenant),
            agent: kept(self.agent, &key.agent),
            server: kept(self.server || self.tool, &key.server),
            tool: kept(self.tool, &key.tool),
        }
    }
}

/// Which sums are asked for.
#[derive(Debug, Clone, Default)]
pub struct UsageQuery {
    /// The first day.
    pub since_day: u32,
    /// The last day.
    pub until_day: u32,
    /// Only this tenant's.
    pub tenant: Option<Arc<str>>,
    /// By what they are told apart. A tool is told with its server.
    pub by: UsageBy,
    /// Which come first.
    pub order: UsageOrder,
    /// At most so many.
    pub most: usize,
}

/// Which sums come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UsageOrder {
    /// As their keys say.
    #[default]
    Keys,
    /// Those with the most calls; of equals, as their keys say.
    MostCalls,
}

/// How much was used. It is added up with [`crate::AuditIndex::add_entries`].
#[async_trait]
pub trait Usage {
    /// Sums, whole days.
    async fn usage(&self, which: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// Forgets the sums of days before. Says how many rows went.
    async fn forget_usage(&self, before_day: u32) -> Result<usize, StoreError>;
}
