//! Places that callers take for a while: so many for all of them together, so many for each.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_model::Owner;
use tollgate_telemetry::counters::{Keeping, Kept};

/// The places that are taken now. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    of: HashMap<Owner, usize>,
    all: usize,
}

/// A place that is taken. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Taken {
    places: Places,
    owner: Owner,
    _counted: Keeping,
}

impl Places {
    /// Takes a place, if fewer than `all_max` are taken, and fewer than `own_max` by this owner.
    pub(crate) fn take(&self, what: Kept, owner: Owner, all_max: usize, own_max: usize) -> Option<Taken> {
        let mut state = self.lock();
        let own = state.of.get(&owner).copied().unwrap_or(0);
        if own >= own_max || state.all >= all_max {
            return None;
        }
        state.of.insert(owner.clone(), own + 1);
        state.all += 1;
        drop(state);
        Some(Taken { places: self.clone(), owner, _counted: Keeping::new(what) })
    }

    /// How many are taken.
    pub(crate) fn count(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.all = state.all.saturating_sub(1);
        match state.of.get_mut(&self.owner) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                state.of.remove(&self.owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{PrincipalId, TenantId};

    #[test]
    fn places_are_bounded_in_all_and_for_each_owner() {
        let places = Places::default();
        let take = |who: &str| {
            let owner = Owner { tenant: TenantId::default(), principal: PrincipalId::new(who) };
            places.take(Kept::ParkedCall, owner, 3, 2)
        };
        let first = take("a").expect("room");
        let _second = take("a").expect("room");
        assert!(take("a").is_none(), "two are its own");
        let _third = take("b").expect("room");
        assert!(take("c").is_none(), "three are all");
        drop(first);
        let _fourth = take("c").expect("room again");
        assert_eq!(places.count(), 3);
        assert!(take("a").is_none(), "what was given back is another's");
    }
}
