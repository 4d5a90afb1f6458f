//! One row of the index.

use std::sync::Arc;

use tollgate_model::Timestamp;

/// Where an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Place {
    /// Its number.
    pub seq: u64,
    /// Where its line begins in its segment.
    pub offset: u64,
}

/// One step of a call, from its intent to its outcome, or another entry. Agents, users and sessions are references.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AuditRow {
    /// Whose entry it is.
    pub writer: Arc<str>,
    /// Where its first entry is: the intent, or the only one.
    pub begin: Place,
    /// Where its last entry is; none while the outcome is not there.
    pub end: Option<Place>,
    /// When the first entry was written.
    pub time: Timestamp,
    /// `call` for intent and outcome, else the kind of the entry.
    pub kind: Arc<str>,
    /// The call: its id as a number.
    pub call: Option<u128>,
    /// Which step of it.
    pub step: u32,
    /// The place in a batch.
    pub element: Option<u32>,
    /// The tenant.
    pub tenant: Option<Arc<str>>,
    /// Reference of the agent.
    pub agent: Option<Arc<str>>,
    /// Reference of the user.
    pub user: Option<Arc<str>>,
    /// Reference of the session.
    pub session: Option<Arc<str>>,
    /// What the client says of itself.
    pub client: Option<Arc<str>>,
    /// The method.
    pub method: Option<Arc<str>>,
    /// The endpoint.
    pub endpoint: Option<Arc<str>>,
    /// The server.
    pub server: Option<Arc<str>>,
    /// What the client called it.
    pub public_name: Option<Arc<str>>,
    /// What its server calls it.
    pub native_name: Option<Arc<str>>,
    /// How it ended.
    pub outcome: Option<Arc<str>>,
    /// The name of the refusal, or the server's error.
    pub code: Option<Arc<str>>,
    /// The stage that refused.
    pub stage: Option<Arc<str>>,
    /// What was changed.
    pub change: Option<Arc<str>>,
    /// The policies that decided.
    pub policies: Vec<Arc<str>>,
    /// The trace id (W3C) as a number.
    pub trace: Option<u128>,
    /// Keyed digest of the arguments.
    pub digest: Option<Arc<str>>,
    /// How long it took, in microseconds.
    pub total_us: u64,
    /// Bytes that left for the server.
    pub sent_bytes: u64,
    /// Bytes of the server's response.
    pub received_bytes: u64,
    /// Estimated tokens of the arguments.
    pub sent_tokens: u64,
    /// Estimated tokens of the result.
    pub received_tokens: u64,
}

/// How many texts of a row are shared with other rows.
pub(super) const TEXTS: usize = 14;

impl AuditRow {
    /// The texts that many rows share, but for the kind and the policies, in the order of a block.
    pub(super) fn texts(&self) -> [Option<&str>; TEXTS] {
        [
            &self.tenant,
            &self.agent,
            &self.user,
            &self.server,
            &self.public_name,
            &self.native_name,
            &self.outcome,
            &self.code,
            &self.session,
            &self.client,
            &self.method,
            &self.endpoint,
            &self.stage,
            &self.change,
        ]
        .map(Option::as_deref)
    }

    /// The same, to be filled.
    pub(super) fn texts_mut(&mut self) -> [&mut Option<Arc<str>>; TEXTS] {
        [
            &mut self.tenant,
            &mut self.agent,
            &mut self.user,
            &mut self.server,
            &mut self.public_name,
            &mut self.native_name,
            &mut self.outcome,
            &mut self.code,
            &mut self.session,
            &mut self.client,
            &mut self.method,
            &mut self.endpoint,
            &mut self.stage,
            &mut self.change,
        ]
    }

    /// The references whose names are shown.
    pub fn references(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.agent, &self.user].into_iter().flatten()
    }

    /// The number of the entry that completed it.
    pub fn end_seq(&self) -> Option<u64> {
        self.end.map(|end| end.seq)
    }

    /// The order of what is found: the newest first.
    pub fn newest_first(&self, other: &Self) -> std::cmp::Ordering {
        let key = |row: &Self| (row.time, row.begin.seq);
        key(other).cmp(&key(self)).then_with(|| self.writer.cmp(&other.writer))
    }
}
