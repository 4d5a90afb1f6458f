//! What is searched for.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_model::Timestamp;

use super::AuditRow;
use super::column::{hash, hash_of};

/// The most rows that one search gives.
pub const FOUND_MAX: usize = 10_000;
/// What stands for the outcome of a call that has none yet.
pub const OPEN: &str = "open";

/// What is searched for. What is not said does not matter.
#[derive(Debug, Clone, Default)]
pub struct AuditQuery {
    /// Begun then or later.
    pub since: Option<Timestamp>,
    /// Begun before.
    pub until: Option<Timestamp>,
    /// `call`, `refusal` or another kind.
    pub kind: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// The agent, by name or reference.
    pub agent: Option<String>,
    /// The user, by name or reference.
    pub user: Option<String>,
    /// The server.
    pub server: Option<String>,
    /// The public or native name.
    pub tool: Option<String>,
    /// How it ended; [`OPEN`] for what has not.
    pub outcome: Option<String>,
    /// The code of a refusal or error.
    pub code: Option<String>,
    /// A policy that decided.
    pub policy: Option<String>,
    /// The trace id.
    pub trace: Option<u128>,
    /// The call id.
    pub call: Option<u128>,
    /// The keyed digest of the arguments.
    pub digest: Option<String>,
    /// At most so many rows; never more than [`FOUND_MAX`].
    pub most: usize,
}

/// A column that is searched by, in the order of a block's columns: what tells most comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Call,
    Trace,
    Digest,
    User,
    Agent,
    PublicName,
    NativeName,
    Policy,
    Code,
    Server,
    Tenant,
    Outcome,
    Kind,
}

/// What a query means once names have become references. A row has to pass every test.
#[derive(Debug, Clone)]
pub struct Filter {
    query: AuditQuery,
    /// The references that the agent may have; none if it does not matter.
    agents: Option<Vec<Arc<str>>>,
    users: Option<Vec<Arc<str>>>,
}

impl Filter {
    /// `references`: gives the references behind a name of a kind.
    pub fn new(query: &AuditQuery, references: &HashMap<(&str, &str), Vec<Arc<str>>>) -> Self {
        let of = |kind: &'static str, wanted: &Option<String>| {
            wanted.as_deref().map(|wanted| {
                let mut all = references.get(&(kind, wanted)).cloned().unwrap_or_default();
                all.push(wanted.into());
                all
            })
        };
        Self { agents: of("agent", &query.agent), users: of("user", &query.user), query: query.clone() }
    }

    /// At most so many rows.
    pub fn most(&self) -> usize {
        self.query.most.min(FOUND_MAX)
    }

    /// The times that matter: from, and before.
    pub fn times(&self) -> (Timestamp, Timestamp) {
        let end = Timestamp::from_ms(u64::MAX);
        (self.query.since.unwrap_or_default(), self.query.until.unwrap_or(end))
    }

    /// Whether only what is open can fit.
    pub fn is_of_open(&self) -> bool {
        self.query.outcome.as_deref() == Some(OPEN)
    }

    /// Whether a row fits.
    pub fn fits(&self, row: &AuditRow) -> bool {
        let query = &self.query;
        let (since, until) = self.times();
        let is = |wanted: &Option<String>, found: &Option<Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| found.as_deref() == Some(wanted))
        };
        let is_one = |wanted: &Option<Vec<Arc<str>>>, found: &Option<Arc<str>>| {
            wanted.as_ref().is_none_or(|wanted| found.as_ref().is_some_and(|found| wanted.contains(found)))
        };
        since <= row.time
            && row.time < until
            && query.call.is_none_or(|call| row.call == Some(call))
            && query.trace.is_none_or(|trace| row.trace == Some(trace))
            && query.kind.as_ref().is_none_or(|kind| **kind == *row.kind)
            && is(&query.tenant, &row.tenant)
            && is_one(&self.agents, &row.agent)
            && is_one(&self.users, &row.user)
            && is(&query.server, &row.server)
            && (is(&query.tool, &row.public_name) || is(&query.tool, &row.native_name))
            && self.fits_outcome(row)
            && is(&query.code, &row.code)
            && query.policy.as_ref().is_none_or(|policy| row.policies.iter().any(|found| **found == **policy))
            && is(&query.digest, &row.digest)
    }

    fn fits_outcome(&self, row: &AuditRow) -> bool {
        match &self.query.outcome {
            None => true,
            Some(outcome) if outcome == OPEN => row.end.is_none(),
            Some(outcome) => row.outcome.as_deref() == Some(outcome),
        }
    }

    /// The columns to look at, each with the hashes of which one has to be there. The columns of one test are together: a row
    /// passes it by any of them.
    pub(super) fn tests(&self) -> Vec<(Vec<Field>, Vec<u32>)> {
        let query = &self.query;
        let mut tests = Vec::new();
        let mut test = |fields: &[Field], wanted: Vec<u32>| tests.push((fields.to_vec(), wanted));
        let number = |number: u128| vec![hash_of(&number.to_be_bytes())];
        let references = |all: &[Arc<str>]| all.iter().map(|reference| hash(reference)).collect();
        if let Some(call) = query.call {
            test(&[Field::Call], number(call));
        }
        if let Some(trace) = query.trace {
            test(&[Field::Trace], number(trace));
        }
        if let Some(digest) = &query.digest {
            test(&[Field::Digest], vec![hash(digest)]);
        }
        if let Some(users) = &self.users {
            test(&[Field::User], references(users));
        }
        if let Some(agents) = &self.agents {
            test(&[Field::Agent], references(agents));
        }
        if let Some(tool) = &query.tool {
            test(&[Field::PublicName, Field::NativeName], vec![hash(tool)]);
        }
        for (field, wanted) in [
            (Field::Policy, &query.policy),
            (Field::Code, &query.code),
            (Field::Server, &query.server),
            (Field::Tenant, &query.tenant),
            (Field::Outcome, &query.outcome),
            (Field::Kind, &query.kind),
        ] {
            if let Some(wanted) = wanted {
                test(&[field], vec![hash(wanted)]);
            }
        }
        tests
    }
}
