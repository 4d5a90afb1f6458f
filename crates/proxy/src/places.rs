//! Places that callers take for a while: so many for all of them together, so many for each tenant and each principal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_model::{Owner, TenantId};
use tollgate_telemetry::counters::{Keeping, Kept};

use crate::shares::Room;

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
    /// Takes a place, if there is one for this owner.
    pub(crate) fn take(&self, what: Kept, owner: Owner, room: Room) -> Option<Taken> {
        let mut state = self.lock();
        let own = state.of.get(&owner).copied().unwrap_or(0);
        if own >= room.own || !room.has_place(state.all, || state.of_tenant(&owner.tenant)) {
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

impl State {
    fn of_tenant(&self, tenant: &TenantId) -> usize {
        self.of.iter().filter(|(owner, _)| owner.tenant == *tenant).map(|(_, own)| own).sum()
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
    use tollgate_model::PrincipalId;

    #[test]
    fn places_are_bounded_in_all_and_for_each_owner() {
        let places = Places::default();
        let take = |who: &str| {
            let owner = Owner { tenant: TenantId::default(), principal: PrincipalId::new(who) };
            places.take(Kept::ParkedCall, owner, Room { all: 3, tenant: 3, own: 2 })
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

    /// However many principals it has.
    #[test]
    fn a_tenant_leaves_room_for_others() {
        let places = Places::default();
        let take = |tenant: &str, who: &str| {
            let owner = Owner { tenant: TenantId::new(tenant), principal: PrincipalId::new(who) };
            places.take(Kept::Listener, owner, Room { all: 4, tenant: 2, own: 4 })
        };
        let _noisy = (take("noisy", "1").expect("room"), take("noisy", "2").expect("room"));
        assert!(take("noisy", "3").is_none());
        let _quiet = (take("quiet", "1").expect("room"), take("quiet", "2").expect("room"));
        assert!(take("third", "1").is_none(), "all are taken");
    }
}
