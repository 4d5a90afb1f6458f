//! What is kept for ledgers apart from them: anchors, by which it is found out that the end of one was cut off, and requests to
//! erase, which every gateway carries out in its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use crate::StoreError;

/// How many anchors of a writer are kept, beside the first of each hour.
pub const ANCHORS_MAX: usize = 1000;
/// How long the first anchor of each hour is kept.
pub const ANCHORS_KEPT: Duration = Duration::from_hours(400 * 24);
/// How long requests to erase are kept. A gateway that was away for longer has to be told again.
pub const ERASURES_KEPT: Duration = Duration::from_hours(90 * 24);

/// A checkpoint of a writer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Anchor {
    /// The writer.
    pub writer: Arc<str>,
    /// The number of the entry that is signed.
    pub seq: u64,
    /// When.
    pub time: Timestamp,
    /// The checkpoint, as its own crate writes it.
    pub body: Arc<str>,
}

/// Checkpoints of ledgers.
#[async_trait]
pub trait Anchors {
    /// Keeps one. What is kept of the same entry already stays: nobody replaces an anchor.
    async fn keep_anchor(&self, anchor: &Anchor) -> Result<(), StoreError>;

    /// Those of all writers, in the order of writers and numbers, after one that was given last; at most so many.
    async fn anchors(&self, after: Option<(&str, u64)>, most: usize) -> Result<Vec<Anchor>, StoreError>;
}

/// Somebody has to be erased from the ledgers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// The user; none: everything of the tenant's.
    pub user: Option<Arc<str>>,
    /// The tenant; none: the user of every tenant.
    pub tenant: Option<Arc<str>>,
    /// From entries that are older.
    pub before: Timestamp,
    /// When it was asked for.
    pub asked: Timestamp,
}

/// Requests to erase.
#[async_trait]
pub trait Erasures {
    /// Asks for it. Gives the number of the request: later ones have greater numbers.
    async fn ask_erasure(&self, erasure: &Erasure) -> Result<u64, StoreError>;

    /// The requests after a number, in their order, at most so many.
    async fn erasures(&self, after: u64, most: usize) -> Result<Vec<(u64, Erasure)>, StoreError>;
}

impl Anchor {
    /// In which hour: the first of each is kept longer.
    pub fn hour(&self) -> u64 {
        self.time.as_ms() / 3_600_000
    }
}

/// What the store in memory keeps.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    anchors: BTreeMap<Arc<str>, BTreeMap<u64, (Anchor, bool)>>,
    erasures: BTreeMap<u64, Erasure>,
}

impl Kept {
    pub(crate) fn keep_anchor(&mut self, anchor: &Anchor) {
        let old = anchor.time.as_ms().saturating_sub(Timestamp::default().after(ANCHORS_KEPT).as_ms());
        for kept in self.anchors.values_mut() {
            kept.retain(|_, (kept, _)| kept.time.as_ms() >= old);
        }
        self.anchors.retain(|_, kept| !kept.is_empty());
        let of_writer = self.anchors.entry(Arc::clone(&anchor.writer)).or_default();
        if of_writer.contains_key(&anchor.seq) {
            return;
        }
        let is_first = !of_writer.values().any(|(kept, is_first)| *is_first && kept.hour() == anchor.hour());
        of_writer.insert(anchor.seq, (anchor.clone(), is_first));
        let others = of_writer.iter().rev().filter(|(_, (_, is_first))| !is_first).skip(ANCHORS_MAX);
        let gone: Vec<u64> = others.map(|(seq, _)| *seq).collect();
        for seq in gone {
            of_writer.remove(&seq);
        }
    }

    pub(crate) fn anchors(&self, after: Option<(&str, u64)>, most: usize) -> Vec<Anchor> {
        let all = self.anchors.values().flat_map(BTreeMap::values).map(|(anchor, _)| anchor);
        let wanted = all.filter(|anchor| after.is_none_or(|after| after < (&*anchor.writer, anchor.seq)));
        wanted.take(most).cloned().collect()
    }

    pub(crate) fn ask_erasure(&mut self, erasure: &Erasure) -> u64 {
        let id = self.erasures.last_key_value().map_or(1, |(last, _)| last + 1);
        let old = erasure.asked.as_ms().saturating_sub(Timestamp::default().after(ERASURES_KEPT).as_ms());
        self.erasures.retain(|_, kept| kept.asked.as_ms() >= old);
        self.erasures.insert(id, erasure.clone());
        id
    }

    pub(crate) fn erasures(&self, after: u64, most: usize) -> Vec<(u64, Erasure)> {
        let later = self.erasures.range(after.saturating_add(1)..);
        later.take(most).map(|(id, erasure)| (*id, erasure.clone())).collect()
    }
}
