//! A map of which a changed copy is cheap: only the part that changes is copied.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;

/// With 100,000 entries a change copies some 400 of them.
const SHARDS: usize = 256;

/// A map of many parts, which copies share until they change.
#[derive(Debug, Clone)]
pub(crate) struct Shards<K, V> {
    hasher: RandomState,
    /// Empty until there is an entry.
    parts: Vec<Arc<HashMap<K, V>>>,
    len: usize,
}

impl<K, V> Default for Shards<K, V> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), parts: Vec::new(), len: 0 }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Shards<K, V> {
    pub(crate) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        self.parts.iter().flat_map(|part| part.values())
    }

    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if self.len == 0 {
            return None;
        }
        self.parts.get(self.index(key))?.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.parts.is_empty() {
            self.parts = vec![Arc::default(); SHARDS];
        }
        let index = self.index(&key);
        if let Some(part) = self.parts.get_mut(index)
            && Arc::make_mut(part).insert(key, value).is_none()
        {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, key: &K) {
        let index = self.index(key);
        if let Some(part) = self.parts.get_mut(index)
            && part.contains_key(key)
            && Arc::make_mut(part).remove(key).is_some()
        {
            self.len -= 1;
        }
    }

    fn index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // The upper bits: the parts' own tables use others of other hashes anyway.
        usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default() % SHARDS
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_copies_stay_as_they_were(steps in prop::collection::vec((any::<u8>(), any::<Option<u8>>()), 0..60)) {
            let mut map: HashMap<u8, u8> = HashMap::new();
            let mut shards: Shards<u8, u8> = Shards::default();
            for (key, value) in steps {
                let (before, copy) = (map.clone(), shards.clone());
                match value {
                    Some(value) => {
                        map.insert(key, value);
                        shards.insert(key, value);
                    }
                    None => {
                        map.remove(&key);
                        shards.remove(&key);
                    }
                }
                prop_assert_eq!((shards.len(), shards.is_empty()), (map.len(), map.is_empty()));
                for key in 0..=u8::MAX {
                    prop_assert_eq!(shards.get(&key), map.get(&key));
                    prop_assert_eq!(copy.get(&key), before.get(&key));
                }
            }
        }
    }
}
