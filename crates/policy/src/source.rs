//! Policies as they are written, and what is found of them when they are read.

use std::fmt;
use std::sync::Arc;

use tollgate_model::TenantId;

/// One file of policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The file, as messages name it.
    pub path: Arc<str>,
    /// Its text.
    pub text: Arc<str>,
}

/// All that applies to the callers of one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The tenant's own policies.
    pub tenant: Vec<Source>,
    /// The operator's forbids, which hold for every tenant. A permit here is refused.
    pub operator: Vec<Source>,
    /// All tenants that there are, which the operator's forbids may name. They are not checked where this is empty.
    pub tenants: Vec<TenantId>,
}

/// How strict to be with rules that do not fit what is known of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The text is new: a rule that names a tool, argument or entity that is not there is an error.
    New,
    /// The text was accepted before, and the servers have changed since: a permit that no longer fits is inert, a forbid
    /// that no longer fits denies its whole scope, and both are reported.
    Accepted,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The set cannot be used.
    Error,
    /// The set can be used, but a rule in it has no effect, or another than it seems.
    Warning,
}

/// Something that is to be said of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
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

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Error => "error",
            Level::Warning => "warning",
        };
        write!(f, "{}:{}:{}: {level}: {}", self.path, self.line, self.column, self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}
