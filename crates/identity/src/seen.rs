//! What was found out before, so that it need not be found out again: bounded, and never longer than it holds.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use ring::digest::{Context, SHA256};
use tollgate_model::{Principal, Timestamp};

use crate::failure::Why;

/// Requests of different callers seldom wait for each other with so many parts.
const SHARDS: usize = 64;
/// How many entries are looked at to find one that makes room.
const LOOKED_AT_MAX: usize = 8;

/// The SHA-256 digest of everything that the outcome depends on.
pub(crate) type Fingerprint = [u8; 32];

/// The fingerprint of these parts. No two lists of parts have the same: each is preceded by its length.
pub(crate) fn fingerprint(parts: &[&[u8]]) -> Fingerprint {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// What was found out.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// Who it is.
    Known(Arc<Principal>),
    /// That it is nobody.
    Refused(Why),
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    until: Timestamp,
    /// Of what state of the issuer it was found out.
    epoch: u64,
    /// Whether it was asked for since it was last passed over.
    used: bool,
}

/// What was found out before. Keys are digests already, so they are their own hashes.
#[derive(Debug)]
pub(crate) struct Seen {
    shards: Box<[Mutex<Shard>]>,
    shard_max: usize,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Fingerprint, Entry, BuildHasherDefault<FirstBytes>>,
    /// The order in which entries are passed over when room is needed.
    ring: Vec<Fingerprint>,
    hand: usize,
}

impl Seen {
    /// Keeps at most about `max` entries.
    pub(crate) fn new(max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, shard_max: max.div_ceil(SHARDS).max(1) }
    }

    /// What was found out of it in this epoch, if it still holds.
    pub(crate) fn get(&self, fingerprint: &Fingerprint, epoch: u64, now: Timestamp) -> Option<Outcome> {
        let mut shard = self.shard(fingerprint);
        let entry = shard.entries.get_mut(fingerprint)?;
        if entry.until <= now || entry.epoch != epoch {
            return None;
        }
        entry.used = true;
        Some(entry.outcome.clone())
    }

    /// Remembers an outcome. If there is no room, something that was not asked for lately makes it.
    pub(crate) fn put(&self, fingerprint: Fingerprint, epoch: u64, outcome: Outcome, until: Timestamp) {
        let mut shard = self.shard(&fingerprint);
        let entry = Entry { outcome, until, epoch, used: false };
        if let Some(known) = shard.entries.get_mut(&fingerprint) {
            *known = entry;
            return;
        }
        if shard.ring.len() < self.shard_max {
            shard.ring.push(fingerprint);
        } else {
            let place = shard.place_to_give();
            let given = std::mem::replace(&mut shard.ring[place], fingerprint);
            shard.entries.remove(&given);
        }
        shard.entries.insert(fingerprint, entry);
    }

    fn shard(&self, fingerprint: &Fingerprint) -> std::sync::MutexGuard<'_, Shard> {
        // Another byte than those that the map takes for its hash.
        let nth = usize::from(fingerprint[31]) % SHARDS;
        self.shards[nth].lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().expect("a shard").entries.len()).sum()
    }
}

impl Shard {
    fn place_to_give(&mut self) -> usize {
        for _ in 0..LOOKED_AT_MAX {
            let place = self.hand;
            self.hand = (self.hand + 1) % self.ring.len();
            match self.entries.get_mut(&self.ring[place]) {
                Some(entry) if entry.used => entry.used = false,
                _ => return place,
            }
        }
        self.hand
    }
}

/// A hasher for keys that are digests: their first bytes are as good a hash as any.
#[derive(Debug, Default)]
pub(crate) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length of the array, which is always the same.
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::Timestamp;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ms(ms)
    }

    fn known() -> Outcome {
        Outcome::Known(Arc::new(Principal::local()))
    }

    #[test]
    fn a_fingerprint_depends_on_every_part_and_where_it_ends() {
        assert_ne!(fingerprint(&[b"ab", b"c"]), fingerprint(&[b"a", b"bc"]));
        assert_ne!(fingerprint(&[b"a"]), fingerprint(&[b"a", b""]));
        assert_eq!(fingerprint(&[b"a", b"b"]), fingerprint(&[b"a", b"b"]));
    }

    #[test]
    fn an_outcome_holds_until_its_time_and_in_its_epoch() {
        let (seen, print) = (Seen::new(10), fingerprint(&[b"a"]));
        seen.put(print, 1, known(), at(10));
        assert!(matches!(seen.get(&print, 1, at(9)), Some(Outcome::Known(_))));
        assert!(seen.get(&print, 1, at(10)).is_none());
        assert!(seen.get(&print, 2, at(9)).is_none());
        seen.put(print, 2, Outcome::Refused(Why::Inactive), at(10));
        assert!(matches!(seen.get(&print, 2, at(9)), Some(Outcome::Refused(Why::Inactive))));
    }

    #[test]
    fn a_hundred_thousand_tokens_take_no_more_room_than_allowed() {
        let seen = Seen::new(1000);
        let favourite = fingerprint(&[b"favourite"]);
        seen.put(favourite, 0, known(), at(10));
        for nth in 0..100_000_u32 {
            seen.put(fingerprint(&[&nth.to_le_bytes()]), 0, known(), at(10));
            assert!(seen.get(&favourite, 0, at(1)).is_some(), "what is asked for stays, after {nth}");
        }
        assert!(seen.len() <= 1000 + SHARDS, "{}", seen.len());
    }
}
