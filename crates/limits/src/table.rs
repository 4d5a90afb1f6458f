//! All counters: as many as allowed, and none forgotten that still says something.
//!
//! A counter goes only when a new one would say the same, and nobody holds it. So whoever comes under many names makes others
//! lose nothing: when there is no room, it is the new names that have to share.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::counter::Counter;
use crate::key::Whose;

const SHARDS: usize = 16;
/// How often a full part of the table is searched for what can be forgotten, in nanoseconds.
const SEARCH_EVERY: u64 = 100_000_000;

/// All counters.
#[derive(Debug)]
pub(crate) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    count: AtomicUsize,
    owners: Mutex<HashMap<Box<str>, usize>>,
    /// When a counter was last asked for in vain.
    full: AtomicUsize,
}

#[derive(Debug, Default)]
struct Shard {
    counters: HashMap<Box<[u8]>, Kept>,
    searched: u64,
}

#[derive(Debug)]
struct Kept {
    counter: Arc<Counter>,
    whose: Option<Box<str>>,
}

/// How many counters there may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) all: usize,
    pub(crate) tenant: usize,
}

impl Table {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            count: AtomicUsize::new(0),
            owners: Mutex::default(),
            full: AtomicUsize::new(0),
        }
    }

    /// The counter of this key, which is made if there is none. None if there is no room for one.
    pub(crate) fn get(
        &self,
        key: &[u8],
        (whose, room): (Whose<'_>, Room),
        now: u64,
        make: impl FnOnce() -> Counter,
    ) -> Option<Arc<Counter>> {
        let mut shard = self.shard(key);
        if let Some(kept) = shard.counters.get(key) {
            return Some(Arc::clone(&kept.counter));
        }
        if !self.has_room(whose, room) {
            self.full.fetch_add(1, Ordering::Relaxed);
            if now.saturating_sub(shard.searched) < SEARCH_EVERY {
                return None;
            }
            shard.searched = now;
            self.forget(&mut shard, now);
            if !self.has_room(whose, room) {
                return None;
            }
        }
        Some(self.add(&mut shard, key, whose, make()))
    }

    /// The counter of this key, if there is one.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Arc<Counter>> {
        self.shard(key).counters.get(key).map(|kept| Arc::clone(&kept.counter))
    }

    /// The same, whether there is room or not: for keys of which there are few.
    pub(crate) fn get_always(
        &self,
        key: &[u8],
        whose: Whose<'_>,
        make: impl FnOnce() -> Counter,
    ) -> Arc<Counter> {
        let mut shard = self.shard(key);
        match shard.counters.get(key) {
            Some(kept) => Arc::clone(&kept.counter),
            None => self.add(&mut shard, key, whose, make()),
        }
    }

    /// Forgets what a new counter would say as well.
    pub(crate) fn sweep(&self, now: u64) {
        for shard in &self.shards {
            self.forget(&mut lock(shard), now);
        }
    }

    /// The counters for which this is true, at this moment.
    pub(crate) fn some(&self, wanted: impl Fn(&Counter) -> bool) -> Vec<Arc<Counter>> {
        let of = |shard: &Mutex<Shard>| -> Vec<Arc<Counter>> {
            let shard = lock(shard);
            let counters = shard.counters.values().map(|kept| &kept.counter);
            counters.filter(|counter| wanted(counter)).map(Arc::clone).collect()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// How many counters there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How often there was no room for one.
    pub(crate) fn full_count(&self) -> usize {
        self.full.load(Ordering::Relaxed)
    }

    fn has_room(&self, whose: Whose<'_>, room: Room) -> bool {
        self.count() < room.all
            && whose.is_none_or(|whose| lock(&self.owners).get(whose).copied().unwrap_or(0) < room.tenant)
    }

    fn add(&self, shard: &mut Shard, key: &[u8], whose: Whose<'_>, counter: Counter) -> Arc<Counter> {
        let counter = Arc::new(counter);
        self.count.fetch_add(1, Ordering::Relaxed);
        if let Some(whose) = whose {
            *lock(&self.owners).entry(whose.into()).or_default() += 1;
        }
        let kept = Kept { counter: Arc::clone(&counter), whose: whose.map(Into::into) };
        shard.counters.insert(key.into(), kept);
        counter
    }

    fn forget(&self, shard: &mut Shard, now: u64) {
        // Whoever holds one may be about to count in it. Nobody begins to while the shard is locked.
        shard.counters.retain(|_, kept| {
            let stays = Arc::strong_count(&kept.counter) > 1 || !kept.counter.is_as_new(now);
            if !stays {
                self.count.fetch_sub(1, Ordering::Relaxed);
                self.disown(kept.whose.as_deref());
            }
            stays
        });
        shard.counters.shrink_to(shard.counters.len() * 2);
    }

    fn disown(&self, whose: Whose<'_>) {
        let Some(whose) = whose else { return };
        let mut owners = lock(&self.owners);
        if let Some(count) = owners.get_mut(whose) {
            *count -= 1;
            if *count == 0 {
                owners.remove(whose);
            }
        }
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        // The remainder is below the number of shards.
        #[expect(clippy::cast_possible_truncation, reason = "only the lowest bits count")]
        let index = self.hasher.hash_one(key) as usize % SHARDS;
        lock(&self.shards[index])
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    const ROOM: Room = Room { all: 40, tenant: 20 };

    fn until(at: u64) -> Counter {
        Counter::Rate(AtomicU64::new(at))
    }

    #[test]
    fn whoever_comes_under_many_names_puts_out_nobody() {
        let table = Table::new();
        let own = table.get(b"victim", (Some("small"), ROOM), 0, || until(1000)).expect("room");
        let name = |number: u32| [b"many".as_slice(), &number.to_be_bytes()].concat();
        let got = |numbers: std::ops::Range<u32>, now| {
            let names = numbers.map(name);
            names.filter(|name| table.get(name, (Some("large"), ROOM), now, || until(1000)).is_some()).count()
        };
        assert_eq!(got(0..1000, 1), 20, "its share, and no more");
        assert_eq!(table.count(), 21);
        assert!(table.full_count() >= 980);
        let found = table.get(b"victim", (Some("small"), ROOM), 2, || until(0)).expect("it is there");
        assert!(Arc::ptr_eq(&own, &found), "what is in force is not forgotten");
        // When they say nothing any more, they make room.
        assert!(got(2000..3000, SEARCH_EVERY * 2) > 0);
    }

    #[test]
    fn what_somebody_holds_is_not_forgotten() {
        let table = Table::new();
        let held = table.get(b"held", (None, ROOM), 0, || until(0)).expect("room");
        drop(table.get(b"idle", (None, ROOM), 0, || until(0)));
        table.sweep(10);
        assert_eq!(table.count(), 1);
        let found = table.get(b"held", (None, ROOM), 11, || until(0)).expect("it is there");
        assert!(Arc::ptr_eq(&held, &found));
    }
}
