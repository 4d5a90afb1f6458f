//! What an operator writes: whom a limit is about, what it counts for each, and how much it allows.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::{TenantId, folded};

use crate::{Glob, Subject};

/// What rules are about that do not say which methods: what a tool, a resource or a prompt is used by.
pub(crate) const CALLS: [&str; 3] = ["tools/call", "resources/read", "prompts/get"];

/// A limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name: stable, and shown in refusals, metrics and the record.
    pub name: Arc<str>,
    /// The plan that it is a part of: it is about the tenants of that plan only.
    pub plan: Option<Plan>,
    /// What it counts apart: once for each combination. Without any, it counts everything that it is about together.
    ///
    /// Agents, users, keys, toolsets and endpoints belong to their tenants, so that those of different tenants are always
    /// counted apart. Requests without an agent, user or key are counted together.
    pub per: Vec<Dimension>,
    /// Which requests it is about.
    pub about: About,
    /// How much it allows.
    pub bound: Bound,
}

/// A set of rules that tenants refer to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name.
    pub name: Arc<str>,
    /// The tenants that have it.
    pub tenants: Vec<TenantId>,
}

/// Something by which requests are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The tenant.
    Tenant,
    /// The agent that calls.
    Agent,
    /// The user that it calls for.
    User,
    /// The API key.
    Key,
    /// The server. A shared one is the same server for all tenants.
    Server,
    /// The tool: a server's, by the server's own name.
    Tool,
    /// The toolset.
    Toolset,
    /// The endpoint.
    Endpoint,
    /// The method.
    Method,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Tenant,
        Self::Agent,
        Self::User,
        Self::Key,
        Self::Server,
        Self::Tool,
        Self::Toolset,
        Self::Endpoint,
        Self::Method,
    ];

    /// As the configuration writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Agent => "agent",
            Self::User => "user",
            Self::Key => "key",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Toolset => "toolset",
            Self::Endpoint => "endpoint",
            Self::Method => "method",
        }
    }
}

/// Which requests a rule is about: all for which everything that is said holds. Of several patterns one has to fit.
///
/// A rule that names or counts servers is only about what is for one server, one that names or counts tools only about calls
/// of tools, and one that names or counts toolsets only about what comes at a toolset's endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Tenants.
    pub tenant: Vec<Glob>,
    /// Agents.
    pub agent: Vec<Glob>,
    /// Users.
    pub user: Vec<Glob>,
    /// Ids of API keys.
    pub key: Vec<Glob>,
    /// Servers, by the names that their callers use.
    pub server: Vec<Glob>,
    /// Tools, by their server's own names. Case is not looked at: not every server does, and none may be asked for more under
    /// another spelling.
    pub tool: Vec<Glob>,
    /// Toolsets.
    pub toolset: Vec<Glob>,
    /// Endpoints; the merged one has the empty name.
    pub endpoint: Vec<Glob>,
    /// Methods. Without any, the rule is about `tools/call`, `resources/read` and `prompts/get`, unless it counts methods
    /// apart.
    pub method: Vec<Glob>,
}

/// How much a limit allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    /// How often.
    Rate {
        /// So many.
        requests: NonZeroU32,
        /// In this time: not none.
        per: Duration,
        /// How many at most in one moment, after a pause.
        burst: NonZeroU32,
    },
    /// How many at once.
    Concurrency(NonZeroU32),
    /// How many in a window of the calendar.
    Quota {
        /// So many.
        calls: u64,
        /// In each of these.
        every: Every,
    },
    /// How much may be used up in a window of the calendar. What a request uses is known when it is over: those under way when
    /// the last of it is used up are seen through.
    Budget {
        /// How much: tokens, or billionths of the currency's unit.
        allowed: u64,
        /// Of what.
        of: Unit,
        /// In each of these.
        every: Every,
        /// When so many thousandths of it are used up, operators are told.
        warn_at: Option<u16>,
        /// Whether operators are only told, and nothing is refused.
        is_soft: bool,
    },
}

/// A window of the calendar, in the time zone of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Every {
    /// From one full hour to the next.
    Hour,
    /// From one midnight to the next.
    Day,
    /// From the first of one month to the first of the next.
    Month,
}

impl Every {
    /// About how long one is.
    pub(crate) fn about(self) -> Duration {
        match self {
            Self::Hour => Duration::from_hours(1),
            Self::Day => Duration::from_hours(24),
            Self::Month => Duration::from_hours(30 * 24),
        }
    }
}

/// What a budget is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Estimated tokens of arguments and results.
    Tokens,
    /// Money, in billionths of the currency's unit.
    Cost,
}

impl Rule {
    /// Whether it can be about a tenant's requests.
    pub(crate) fn is_about_tenant(&self, tenant: &str) -> bool {
        self.plan.as_ref().is_none_or(|plan| plan.tenants.iter().any(|own| own.as_str() == tenant))
            && fits(&self.about.tenant, Some(tenant))
    }

    /// Whether it is about a request of a tenant that it can be about. Tools are named in it without regard to case.
    pub(crate) fn is_about(&self, subject: &Subject<'_>) -> bool {
        let About { agent, user, key, server, tool, toolset, endpoint, method, .. } = &self.about;
        let counts = |dimension| self.per.contains(&dimension);
        let is_meant = if method.is_empty() {
            counts(Dimension::Method) || CALLS.contains(&subject.method)
        } else {
            fits(method, Some(subject.method))
        };
        is_meant
            && (subject.server.is_some() || !counts(Dimension::Server))
            && (subject.tool.is_some() || !counts(Dimension::Tool))
            && (subject.toolset.is_some() || !counts(Dimension::Toolset))
            && fits(server, subject.server.map(|server| server.name().as_str()))
            && (tool.is_empty() || fits(tool, subject.tool.map(folded).as_deref()))
            && fits(toolset, subject.toolset)
            && fits(endpoint, Some(subject.endpoint))
            && fits(agent, subject.agent)
            && fits(user, subject.user)
            && fits(key, subject.key)
    }

    /// Whether tenants are counted apart.
    pub(crate) fn is_per_tenant(&self) -> bool {
        let is_tenants = |dimension: &Dimension| {
            !matches!(dimension, Dimension::Server | Dimension::Tool | Dimension::Method)
        };
        self.plan.is_some() || self.per.iter().any(is_tenants)
    }
}

/// Nothing that is said of it, or one pattern that fits.
fn fits(patterns: &[Glob], name: Option<&str>) -> bool {
    patterns.is_empty() || name.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
}
