//! What guards found, as entries of the ledger say: never the text.

use std::sync::Arc;

use tollgate_model::Timestamp;

/// Where a finding is: by time, and then by its entry.
pub type FindingAt = (Timestamp, Arc<str>, u64, u32);

/// What a guard found. A text is empty where nothing is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FindingRow {
    /// Whose entry it is in.
    pub writer: Arc<str>,
    /// The number of that entry.
    pub seq: u64,
    /// Which of the findings of that entry.
    pub nth: u32,
    /// When the entry was written.
    pub time: Timestamp,
    /// The tenant.
    pub tenant: Arc<str>,
    /// The call: its id as a number.
    pub call: Option<u128>,
    /// Reference of the agent.
    pub agent: Arc<str>,
    /// The server.
    pub server: Arc<str>,
    /// What the server calls the tool, or what was listed.
    pub tool: Arc<str>,
    /// The rule.
    pub rule: Arc<str>,
    /// How bad it is.
    pub severity: Arc<str>,
    /// Where it was found: `arguments`, `result`, `definition` …
    pub direction: Arc<str>,
    /// What became of it.
    pub action: Arc<str>,
}

impl FindingRow {
    /// Its place in the order.
    pub fn at(&self) -> FindingAt {
        (self.time, Arc::clone(&self.writer), self.seq, self.nth)
    }

    /// The day, in days since 1970-01-01.
    pub fn day(&self) -> u32 {
        u32::try_from(self.time.as_ms() / 86_400_000).unwrap_or(u32::MAX)
    }
}

/// Which findings. What is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct FindingQuery {
    /// The first day, in days since 1970-01-01.
    pub since_day: u32,
    /// The last day.
    pub until_day: u32,
    /// Only these tenants'; with what is no tenant's if `with_shared`.
    pub tenants: Option<Vec<Arc<str>>>,
    /// Whether what is no tenant's is among them.
    pub with_shared: bool,
    /// The server.
    pub server: Option<Arc<str>>,
    /// The tool.
    pub tool: Option<Arc<str>>,
    /// The rule.
    pub rule: Option<Arc<str>>,
    /// How bad.
    pub severity: Option<Arc<str>>,
    /// Where it was found.
    pub direction: Option<Arc<str>>,
    /// What became of it.
    pub action: Option<Arc<str>>,
    /// Only what is older than this one.
    pub before: Option<FindingAt>,
    /// At most so many.
    pub most: usize,
}

impl FindingQuery {
    /// Whether this is meant, but for its place in the order.
    pub fn fits(&self, row: &FindingRow) -> bool {
        let is = |wanted: &Option<Arc<str>>, found: &Arc<str>| {
            wanted.as_ref().is_none_or(|wanted| wanted == found)
        };
        let tenants = self.tenants.as_ref();
        (self.since_day..=self.until_day).contains(&row.day())
            && tenants.is_none_or(|tenants| {
                tenants.contains(&row.tenant) || (self.with_shared && row.tenant.is_empty())
            })
            && is(&self.server, &row.server)
            && is(&self.tool, &row.tool)
            && is(&self.rule, &row.rule)
            && is(&self.severity, &row.severity)
            && is(&self.direction, &row.direction)
            && is(&self.action, &row.action)
    }
}

/// By what sums are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingBy {
    /// By day.
    Day,
    /// By rule.
    Rule,
    /// By severity.
    Severity,
    /// By server.
    Server,
    /// By tool.
    Tool,
    /// By where it was found.
    Direction,
    /// By what became of it.
    Action,
}

impl FindingBy {
    /// As the column is called.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Rule => "rule",
            Self::Severity => "severity",
            Self::Server => "server",
            Self::Tool => "tool",
            Self::Direction => "direction",
            Self::Action => "action",
        }
    }

    /// What a finding is told apart by. A day is a number.
    pub fn of(self, row: &FindingRow) -> Arc<str> {
        match self {
            Self::Day => row.day().to_string().into(),
            Self::Rule => Arc::clone(&row.rule),
            Self::Severity => Arc::clone(&row.severity),
            Self::Server => Arc::clone(&row.server),
            Self::Tool => Arc::clone(&row.tool),
            Self::Direction => Arc::clone(&row.direction),
            Self::Action => Arc::clone(&row.action),
        }
    }
}
