//! Names that stand for texts, of callers whom several gateways serve. The store sees neither whose they are nor what they stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use crate::{Digest, StoreError};

/// The most names that are kept at once.
pub const NAMES_BATCH: usize = 1_000;

/// A name, and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptName {
    /// The name.
    pub name: Arc<str>,
    /// By which the text is found: a keyed digest.
    pub digest: Digest,
    /// The text, sealed by a key that the store does not have.
    pub sealed: Arc<str>,
}

/// Whose names, and for how long they are good from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamesOf {
    /// A keyed digest of whoever was given them.
    pub owner: Digest,
    /// Now, as whoever asks knows it: what ended before is forgotten.
    pub now: Timestamp,
    /// Until when all of them are good.
    pub until: Timestamp,
}

/// What is known of names.
#[async_trait]
pub trait Names: fmt::Debug + Send + Sync {
    /// Keeps further names: all of them, or none where one stands for another text already. Says whether they are kept.
    async fn keep_names(&self, of: NamesOf, names: &[KeptName]) -> Result<bool, StoreError>;

    /// The names of somebody, in the order of the names. They are used, and so good for longer.
    async fn names_of(&self, of: NamesOf) -> Result<Vec<KeptName>, StoreError>;
}

/// What the store in memory keeps.
#[derive(Debug, Default)]
pub(crate) struct Given(BTreeMap<(Digest, Arc<str>), (KeptName, Timestamp)>);

impl Given {
    pub(crate) fn keep(&mut self, of: NamesOf, names: &[KeptName]) -> bool {
        self.0.retain(|_, (_, until)| *until >= of.now);
        let is_taken = |name: &KeptName| {
            self.0.get(&(of.owner, Arc::clone(&name.name))).is_some_and(|(kept, _)| kept != name)
        };
        if names.iter().any(is_taken) {
            return false;
        }
        for name in names {
            self.0.insert((of.owner, Arc::clone(&name.name)), (name.clone(), of.until));
        }
        self.of(of);
        true
    }

    pub(crate) fn of(&mut self, of: NamesOf) -> Vec<KeptName> {
        let theirs =
            self.0.iter_mut().filter(|((owner, _), (_, until))| *owner == of.owner && *until >= of.now);
        let used = theirs.map(|(_, (name, until))| {
            *until = (*until).max(of.until);
            name.clone()
        });
        used.collect()
    }
}
