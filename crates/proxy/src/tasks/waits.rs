//! How many tasks the gateway follows itself, for callers who cannot: bounded for each principal and for all together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_model::{Caller, Code, PrincipalId, Refusal, Stage, TenantId};
use tollgate_telemetry::counters::{Keeping, Kept};

use super::TaskSettings;

type Key = (TenantId, PrincipalId);

/// The tasks that are followed now. Clones share the count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Waits(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    of: HashMap<Key, usize>,
    all: usize,
}

/// A place among them. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Wait {
    waits: Waits,
    key: Key,
    _counted: Keeping,
}

impl Waits {
    /// Takes a place, if there is one.
    pub(crate) fn enter(&self, caller: &Caller, settings: &TaskSettings) -> Result<Wait, Refusal> {
        let key = (caller.tenant.clone(), caller.principal.clone());
        let mut state = self.lock();
        let own = state.of.get(&key).copied().unwrap_or(0);
        if own >= settings.followed_per_principal_max || state.all >= settings.followed_max {
            let text = "the gateway follows as many tasks as allowed";
            return Err(Refusal::new(Stage::Dispatch, Code::Capacity, text));
        }
        state.of.insert(key.clone(), own + 1);
        state.all += 1;
        drop(state);
        Ok(Wait { waits: self.clone(), key, _counted: Keeping::new(Kept::FollowedTask) })
    }

    /// How many tasks are followed.
    pub(crate) fn count(&self) -> usize {
        self.lock().all
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.waits.lock();
        state.all = state.all.saturating_sub(1);
        match state.of.get_mut(&self.key) {
            Some(own) if *own > 1 => *own -= 1,
            _ => {
                state.of.remove(&self.key);
            }
        }
    }
}
