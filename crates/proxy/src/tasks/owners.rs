//! Who has which task, where an id comes unasked.
//!
//! What a client brings back needs no memory: its id says everything. But a list of tasks, and a notification about
//! one, name tasks of whoever shares a session with the server; only those that this gateway gave to a caller may
//! reach it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tollgate_model::{Caller, PrincipalId, ServerId, TenantId};

use crate::shares;

/// What is known of tasks that servers made for callers, the newest so many of them.
#[derive(Debug)]
pub(crate) struct Owners<T = Owned>(Mutex<State<T>>);

#[derive(Debug)]
struct State<T> {
    of: HashMap<TenantId, Tasks<T>>,
    count: usize,
}

/// Those of one tenant.
#[derive(Debug)]
struct Tasks<T> {
    known: HashMap<Key, T>,
    oldest_first: VecDeque<Key>,
}

/// What is known of a caller's task.
#[derive(Debug, Clone, Default)]
pub(crate) struct Owned {
    /// The progress token of the call that became the task, as raw JSON: it lives as long as the task (2025-11-25,
    /// tasks, progress notifications).
    pub(crate) progress: Option<Bytes>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    tenant: TenantId,
    principal: PrincipalId,
    server: ServerId,
    native: String,
}

impl Key {
    pub(crate) fn new(caller: &Caller, server: &ServerId, native: &str) -> Self {
        Self {
            tenant: caller.tenant().clone(),
            principal: caller.principal().clone(),
            server: server.clone(),
            native: native.to_owned(),
        }
    }
}

impl<T> Default for Owners<T> {
    fn default() -> Self {
        Self(Mutex::new(State { of: HashMap::new(), count: 0 }))
    }
}

impl Owned {
    /// The progress token is copied, since it shares the buffer of a whole request.
    pub(crate) fn new(progress: Option<Bytes>) -> Self {
        Self { progress: progress.map(|token| Bytes::copy_from_slice(&token)) }
    }
}

impl<T: Clone> Owners<T> {
    /// Remembers a caller's task. When there are more than `known_max`, the oldest of the tenant with the most of them is
    /// forgotten: it can still be used, but no list or notification shows it.
    pub(crate) fn remember(&self, key: Key, owned: T, known_max: usize) {
        let mut state = self.lock();
        let empty = || Tasks { known: HashMap::new(), oldest_first: VecDeque::new() };
        let tasks = state.of.entry(key.tenant.clone()).or_insert_with(empty);
        if tasks.known.insert(key.clone(), owned).is_none() {
            tasks.oldest_first.push_back(key);
            state.count += 1;
        }
        while state.count > known_max {
            let most =
                shares::largest(state.of.iter().map(|(tenant, tasks)| (tenant.clone(), tasks.known.len())));
            let Some(tasks) = most.and_then(|tenant| state.of.get_mut(&tenant)) else { return };
            let Some(oldest) = tasks.oldest_first.pop_front() else { return };
            tasks.known.remove(&oldest);
            state.count -= 1;
        }
    }

    /// What is known of a caller's task; none if it is not known to be the caller's.
    pub(crate) fn of(&self, caller: &Caller, server: &ServerId, native: &str) -> Option<T> {
        self.lock().of.get(caller.tenant())?.known.get(&Key::new(caller, server, native)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tollgate_model::{ClientProfile, Holder, Principal, Proof, Revision, ServerName};

    fn server(name: &str) -> ServerId {
        ServerId::new(Holder::default(), ServerName::new(name).expect("a name"))
    }

    fn caller(principal: &str) -> Caller {
        let client = ClientProfile {
            revision: Revision::V2025_11_25,
            capabilities: Bytes::from_static(b"{}"),
            info: None,
        };
        Caller {
            who: Arc::new(Principal::new(TenantId::default(), PrincipalId::new(principal), Proof::Local)),
            session: None,
            client: Arc::new(client),
            source: None,
        }
    }

    #[test]
    fn a_task_is_its_owners_and_the_oldest_are_forgotten() {
        let owners = Owners::<Owned>::default();
        let (alice, other, server) = (caller("alice"), server("t"), server("s"));
        let remember = |native| owners.remember(Key::new(&alice, &server, native), Owned::default(), 2);
        remember("1");
        remember("1");
        remember("2");
        assert!(owners.of(&alice, &server, "1").is_some());
        assert!(owners.of(&caller("bob"), &server, "1").is_none());
        assert!(owners.of(&alice, &other, "1").is_none());
        remember("3");
        assert!(owners.of(&alice, &server, "1").is_none());
        assert!(owners.of(&alice, &server, "2").is_some() && owners.of(&alice, &server, "3").is_some());
    }
}
