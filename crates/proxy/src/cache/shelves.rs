//! What is kept, within a budget of bytes. When it is full, whoever has most of it loses what was used longest ago, so that
//! nobody is put out by what other tenants have.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;
use tollgate_model::TenantId;

use super::entry::Kept;
use super::key::{Key, What};

/// What is counted for something that is only remembered of a key.
const MARK_BYTES: usize = 256;

/// What is known of a key.
#[derive(Debug, Clone)]
pub(super) enum Value {
    /// An answer, and how many pieces of news there had been when it was asked for.
    Kept(Arc<Kept>, u64),
    /// Answers are none that may be kept: nobody waits for another's.
    Pass,
    /// Answers are each caller's own.
    Private,
}

#[derive(Debug)]
struct Slot {
    value: Value,
    bytes: usize,
    /// When it was used last, in uses.
    used: u64,
    dies: Instant,
}

/// One tenant's.
#[derive(Debug, Default)]
struct Shelf {
    bytes: usize,
    by_use: BTreeMap<u64, Arc<Key>>,
}

#[derive(Debug, Default)]
pub(super) struct Shelves {
    slots: HashMap<Arc<Key>, Slot>,
    tenants: HashMap<TenantId, Shelf>,
    /// What was read, by server and URI: news name no callers.
    reads: HashMap<(u64, Arc<str>), Vec<Arc<Key>>>,
    bytes: usize,
    uses: u64,
}

impl Shelves {
    /// What is known of a key, which counts as used.
    pub(super) fn get(&mut self, key: &Key, now: Instant) -> Option<Value> {
        let slot = self.slots.get_mut(key)?;
        if slot.dies <= now {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        let before = std::mem::replace(&mut slot.used, self.uses);
        if let Some(shelf) = self.tenants.get_mut(key.tenant())
            && let Some(key) = shelf.by_use.remove(&before)
        {
            shelf.by_use.insert(self.uses, key);
        }
        Some(slot.value.clone())
    }

    /// Keeps something in place of what is known of the key. How many others had to go.
    pub(super) fn put(&mut self, key: Key, value: Value, dies: Instant, bytes_max: usize) -> usize {
        self.remove(&key);
        let content = match &value {
            Value::Kept(kept, _) => kept.bytes(),
            Value::Pass | Value::Private => MARK_BYTES,
        };
        let bytes = content + key.bytes();
        if bytes > bytes_max {
            return 0;
        }
        let mut evicted = 0;
        while self.bytes + bytes > bytes_max && self.evict() {
            evicted += 1;
        }
        self.uses += 1;
        let key = Arc::new(key);
        let shelf = self.tenants.entry(key.tenant().clone()).or_default();
        shelf.bytes += bytes;
        shelf.by_use.insert(self.uses, Arc::clone(&key));
        if let What::Read(uri) = key.what() {
            self.reads.entry((key.server(), Arc::clone(uri))).or_default().push(Arc::clone(&key));
        }
        self.bytes += bytes;
        self.slots.insert(key, Slot { value, bytes, used: self.uses, dies });
        evicted
    }

    /// Whoever has most loses what was used longest ago.
    fn evict(&mut self) -> bool {
        let largest = self.tenants.values().max_by_key(|shelf| shelf.bytes);
        let Some(oldest) = largest.and_then(|shelf| shelf.by_use.values().next()).cloned() else {
            return false;
        };
        self.remove(&oldest)
    }

    pub(super) fn remove(&mut self, key: &Key) -> bool {
        let Some((key, slot)) = self.slots.remove_entry(key) else { return false };
        self.bytes -= slot.bytes;
        if let Some(shelf) = self.tenants.get_mut(key.tenant()) {
            shelf.bytes -= slot.bytes;
            shelf.by_use.remove(&slot.used);
            if shelf.by_use.is_empty() {
                self.tenants.remove(key.tenant());
            }
        }
        if let What::Read(uri) = key.what() {
            let place = (key.server(), Arc::clone(uri));
            if let Some(keys) = self.reads.get_mut(&place) {
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.reads.remove(&place);
                }
            }
        }
        true
    }

    /// Forgets what was read of a server under a URI, whoever it was read for.
    pub(super) fn forget_read(&mut self, server: u64, uri: &str) {
        let keys = self.reads.get(&(server, Arc::from(uri))).cloned().unwrap_or_default();
        for key in keys {
            self.remove(&key);
        }
    }

    /// Forgets what `is_gone` says. The moment is the one at which it would go by itself.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Key, Instant) -> bool) {
        let gone = self.slots.iter().filter(|(key, slot)| is_gone(key, slot.dies));
        let gone: Vec<Arc<Key>> = gone.map(|(key, _)| Arc::clone(key)).collect();
        for key in gone {
            self.remove(&key);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn count(&self) -> usize {
        self.slots.len()
    }

    /// Whether everything that is counted is what is there.
    #[cfg(test)]
    pub(super) fn is_sound(&self) -> bool {
        let sum: usize = self.slots.values().map(|slot| slot.bytes).sum();
        let of_tenants: usize = self.tenants.values().map(|shelf| shelf.bytes).sum();
        let in_order: usize = self.tenants.values().map(|shelf| shelf.by_use.len()).sum();
        let reads = self.slots.keys().filter(|key| matches!(key.what(), What::Read(_))).count();
        let indexed: usize = self.reads.values().map(Vec::len).sum();
        sum == self.bytes && of_tenants == self.bytes && in_order == self.slots.len() && reads == indexed
    }
}
