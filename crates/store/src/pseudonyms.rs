//! Names that stand for texts, of callers whom several gateways serve. The store sees neither whose they are nor what they stand for.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::Timestamp;

use crate::{Digest, StoreError};

/// The most names that are kept at once.
pub const NAMES_BATCH: usize = 1_000;
/// For how long after the last name of a kind its number is remembered, in milliseconds: 400 days. A name outlives what it stands for
/// wherever it was written down, and must not come to stand for anything else.
pub const NUMBERS_KEPT_MS: u64 = 400 * 24 * 3_600 * 1_000;

/// The kind and the number of a name, as they are written: `EMAIL` and 1 of `<EMAIL_1>`.
pub fn numbered(name: &str) -> Option<(&str, u64)> {
    let (kind, number) = name.strip_prefix('<')?.strip_suffix('>')?.rsplit_once('_')?;
    Some((kind, number.parse().ok()?))
}

/// The names of somebody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NamesGiven {
    /// Those that are still good, in their order.
    pub names: Vec<KeptName>,
    /// The highest number that was given of each kind, also to what is forgotten.
    pub numbers: BTreeMap<Arc<str>, u64>,
}

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
    /// Keeps further names: all of them, or none where one stands for another text, or did before. Says whether they are kept.
    async fn keep_names(&self, of: NamesOf, names: &[KeptName]) -> Result<bool, StoreError>;

    /// The names of somebody, in the order of the names. They are used, and so good for longer.
    async fn names_of(&self, of: NamesOf) -> Result<NamesGiven, StoreError>;
}

/// What the store in memory keeps.
#[derive(Debug, Default)]
pub(crate) struct Given {
    names: BTreeMap<(Digest, Arc<str>), (KeptName, Timestamp)>,
    /// The highest number of each kind, and until when it is remembered.
    numbers: BTreeMap<(Digest, Arc<str>), (u64, Timestamp)>,
}

impl Given {
    pub(crate) fn keep(&mut self, of: NamesOf, names: &[KeptName]) -> bool {
        self.names.retain(|_, (_, until)| *until >= of.now);
        self.numbers.retain(|_, (_, until)| *until >= of.now);
        let is_taken = |name: &KeptName| match self.names.get(&(of.owner, Arc::clone(&name.name))) {
            Some((kept, _)) => kept != name,
            None => numbered(&name.name).is_some_and(|(kind, number)| {
                self.numbers.get(&(of.owner, kind.into())).is_some_and(|(highest, _)| number <= *highest)
            }),
        };
        if names.iter().any(is_taken) {
            return false;
        }
        let until = Timestamp::from_ms(of.now.as_ms().saturating_add(NUMBERS_KEPT_MS));
        for name in names {
            self.names.insert((of.owner, Arc::clone(&name.name)), (name.clone(), of.until));
            if let Some((kind, number)) = numbered(&name.name) {
                let highest = self.numbers.entry((of.owner, kind.into())).or_insert((0, until));
                *highest = (highest.0.max(number), until);
            }
        }
        self.of(of);
        true
    }

    pub(crate) fn of(&mut self, of: NamesOf) -> NamesGiven {
        let theirs =
            self.names.iter_mut().filter(|((owner, _), (_, until))| *owner == of.owner && *until >= of.now);
        let used = theirs.map(|(_, (name, until))| {
            *until = (*until).max(of.until);
            name.clone()
        });
        let names = used.collect();
        let numbers = self.numbers.iter().filter(|((owner, _), _)| *owner == of.owner);
        let numbers = numbers.map(|((_, kind), (highest, _))| (Arc::clone(kind), *highest)).collect();
        NamesGiven { names, numbers }
    }
}
