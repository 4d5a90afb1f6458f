//! Finding what happened: one row for each step of a call and for each other entry, and how much was used.
//!
//! The ledger is the record; this is an index of it, which can be lost and made again. A batch moves the place up to which a
//! writer's entries are in it together with what they say, so each is in it exactly once. Rows are kept in blocks
//! ([`Block`]): small columns of what is searched by, and what is shown beside them.

mod block;
mod column;
mod finding;
mod memory;
mod query;
mod row;
mod usage;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use crate::StoreError;

pub(crate) use memory::Indexed;

pub use block::{BLOCK_ROWS_MAX, BLOCK_SPAN, Block, BrokenBlock, COLUMNS, SMALL_BLOCKS_MAX, Sieve};
pub use finding::{FindingAt, FindingBy, FindingQuery, FindingRow};
pub use query::{AuditQuery, FOUND_MAX, Filter, OPEN};
pub use row::{AuditRow, Place};
pub use usage::{Usage, UsageBy, UsageKey, UsageOrder, UsageQuery, UsageRow, UsageSum};

/// Up to where a writer's entries are in the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Followed {
    /// The segment to read on, by the number of its first entry.
    pub segment: u64,
    /// Where to read on in it.
    pub offset: u64,
    /// The number of the last entry that is in.
    pub seq: u64,
    /// The number of the last entry that is in the sums of what was used. These stay when the index is made again.
    pub used: u64,
}

/// Entries of one writer that come into the index at once.
#[derive(Debug, Default)]
pub struct AuditBatch {
    /// Whose.
    pub writer: Arc<str>,
    /// Up to where they were in it before; none if nothing of this writer is.
    pub after: Option<Followed>,
    /// Up to where they are in it with this.
    pub upto: Followed,
    /// What is complete, in the order in which it was completed.
    pub rows: Vec<AuditRow>,
    /// Intents whose outcome is not in this batch.
    pub opened: Vec<AuditRow>,
    /// The numbers of intents from earlier batches that are among `rows` now.
    pub closed: Vec<u64>,
    /// Names behind references.
    pub names: Vec<AuditName>,
    /// What was used, to be added.
    pub used: Vec<UsageRow>,
    /// What guards found. In the sums are those of entries that were in no sums before.
    pub findings: Vec<FindingRow>,
}

/// The name behind a reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditName {
    /// The reference, as it stands in entries.
    pub reference: Arc<str>,
    /// `agent` or `user`.
    pub kind: Arc<str>,
    /// Whose it is.
    pub tenant: Arc<str>,
    /// The name.
    pub text: Arc<str>,
    /// When it was last seen.
    pub seen: Timestamp,
}

/// What was found.
#[derive(Debug, Default)]
pub struct AuditFound {
    /// The rows: the newest first, but for [`AuditIndex::arrived`].
    pub rows: Vec<AuditRow>,
    /// The names behind their references, as far as they are known.
    pub names: HashMap<Arc<str>, Arc<str>>,
}

/// Up to which entry of each writer somebody has seen what arrived.
pub type Arrived = BTreeMap<Arc<str>, u64>;

/// Whose names are to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WhoseNames {
    /// All of a tenant's that were not seen since.
    Tenant {
        /// The tenant.
        tenant: Arc<str>,
        /// Since when.
        before: Timestamp,
    },
    /// A user's, of one tenant or of all, if it was not seen since.
    User {
        /// The name.
        user: Arc<str>,
        /// Whose user; none for every tenant's of this name.
        tenant: Option<Arc<str>>,
        /// Since when.
        before: Timestamp,
    },
    /// Those of a kind that were not seen since.
    SeenBefore(&'static str, Timestamp),
}

impl WhoseNames {
    /// Users that were not seen since.
    pub fn users_before(time: Timestamp) -> Self {
        Self::SeenBefore("user", time)
    }

    /// Agents that were not seen since.
    pub fn agents_before(time: Timestamp) -> Self {
        Self::SeenBefore("agent", time)
    }
}

/// The index of the ledger's entries.
#[async_trait]
pub trait AuditIndex {
    /// Up to where the entries of a writer are in; none if nothing of it is.
    async fn followed(&self, writer: &str) -> Result<Option<Followed>, StoreError>;

    /// All writers of which something is in, and the number of the last entry of each.
    async fn arrived_so_far(&self) -> Result<Arrived, StoreError>;

    /// The intents of a writer whose outcome is not in.
    async fn open_calls(&self, writer: &str) -> Result<Vec<AuditRow>, StoreError>;

    /// Takes in a batch, all or nothing. Says whether it did: it does not if the place behind which it comes is not the
    /// writer's any more, because another process was quicker or the index is made again.
    async fn add_entries(&self, batch: &AuditBatch) -> Result<bool, StoreError>;

    /// What fits, the newest first, also what is still open.
    async fn search(&self, query: &AuditQuery) -> Result<AuditFound, StoreError>;

    /// What fits of what was completed after `after`, at most so many and in the order of each writer. `after` is moved
    /// behind what was given, and behind what does not fit.
    async fn arrived(
        &self,
        after: &mut Arrived,
        query: &AuditQuery,
        most: usize,
    ) -> Result<AuditFound, StoreError>;

    /// The names behind references, as far as they are known.
    async fn names(&self, references: &[Arc<str>]) -> Result<HashMap<Arc<str>, Arc<str>>, StoreError>;

    /// What guards found, the newest first.
    async fn findings(&self, which: &FindingQuery) -> Result<Vec<FindingRow>, StoreError>;

    /// How much they found, whole days: what has most first, but days in their order. `before` does not matter.
    async fn finding_sums(
        &self,
        which: &FindingQuery,
        by: FindingBy,
    ) -> Result<Vec<(Arc<str>, u64)>, StoreError>;

    /// Forgets findings that were made before; sums stay for as long as those of usage do. Says how many, at most so many.
    async fn forget_findings(&self, before: Timestamp, most: usize) -> Result<usize, StoreError>;

    /// Forgets rows that were all completed before; at most so many blocks of them. Says how many it forgot.
    async fn forget_rows(&self, before: Timestamp, most: usize) -> Result<usize, StoreError>;

    /// Forgets names, so that nobody is found by them and references stand in their place. Says how many.
    async fn forget_names(&self, whose: &WhoseNames) -> Result<usize, StoreError>;

    /// Forgets all rows of one writer, or of all, so that they are read from the segments again. What was used stays.
    async fn forget_index(&self, writer: Option<&str>) -> Result<(), StoreError>;
}
