//! What is learnt of servers' tools from their lists: from every list that passes, and from a server's own when something
//! is needed that is not known.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_model::ServerId;

use crate::shares;

/// How many tools are remembered of which something is worth it. Beyond it those of whoever has most are forgotten, and
/// learnt anew.
const TOOLS_MAX: usize = 10_000;

/// What is known of the tools of all servers. A tool of which there is nothing to know takes no room.
#[derive(Debug)]
pub(crate) struct Learnt<T> {
    every: Duration,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    tools: HashMap<ServerId, HashMap<String, T>>,
    count: usize,
    /// When each server's list was last read for the sake of this.
    read: HashMap<ServerId, Instant>,
}

impl<T: Clone> Learnt<T> {
    /// Nothing yet. A server's list may be read once in so long because something is not known.
    pub(crate) fn reading_every(every: Duration) -> Self {
        Self { every, state: Mutex::new(State { tools: HashMap::new(), count: 0, read: HashMap::new() }) }
    }

    /// A server's list shows a tool, and this of it.
    pub(crate) fn set(&self, server: &ServerId, native: &str, found: Option<T>) {
        let mut state = self.lock();
        if found.is_none() && state.tools.is_empty() {
            return;
        }
        let Some(found) = found else {
            state.forget(server, native);
            return;
        };
        if state.count >= TOOLS_MAX && !state.has(server, native) {
            state.make_room();
        }
        let before = state.tools.entry(server.clone()).or_default().insert(native.to_owned(), found);
        state.count += usize::from(before.is_none());
    }

    /// What is known of a tool.
    pub(crate) fn of(&self, server: &ServerId, native: &str) -> Option<T> {
        self.lock().tools.get(server)?.get(native).cloned()
    }

    /// Whether nothing is known of any tool.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().tools.is_empty()
    }

    /// Whether the server's list may be read now. Says yes once in a while.
    pub(crate) fn may_learn(&self, server: &ServerId) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        if state.read.get(server).is_some_and(|last| now.duration_since(*last) < self.every) {
            return false;
        }
        state.read.insert(server.clone(), now);
        true
    }

    /// The server's tools are others now: its list may be read at once.
    pub(crate) fn changed(&self, server: &ServerId) {
        self.lock().read.remove(server);
    }

    /// Nothing of what was learnt of the server holds any longer.
    pub(crate) fn forget(&self, server: &ServerId) {
        let mut state = self.lock();
        let tools = state.tools.remove(server);
        state.count -= tools.map_or(0, |tools| tools.len());
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    fn has(&self, server: &ServerId, native: &str) -> bool {
        self.tools.get(server).is_some_and(|tools| tools.contains_key(native))
    }

    fn forget(&mut self, server: &ServerId, native: &str) {
        let Some(tools) = self.tools.get_mut(server) else { return };
        self.count -= usize::from(tools.remove(native).is_some());
        if tools.is_empty() {
            self.tools.remove(server);
        }
    }

    fn make_room(&mut self) {
        let sizes = self.tools.iter().map(|(server, tools)| (server.holder().clone(), tools.len()));
        let Some(largest) = shares::largest(sizes) else { return };
        self.tools.retain(|server, _| *server.holder() != largest);
        self.read.retain(|server, _| *server.holder() != largest);
        self.count = self.tools.values().map(HashMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{Holder, ServerName, TenantId};

    fn server(name: &str) -> ServerId {
        ServerId::new(Holder::default(), ServerName::new(name).expect("a name"))
    }

    #[test]
    fn a_list_is_read_once_in_a_while_or_when_it_changed() {
        let learnt = Learnt::reading_every(Duration::from_secs(10));
        let server = server("a");
        learnt.set(&server, "tool", Some(1));
        assert_eq!((learnt.of(&server, "tool"), learnt.of(&server, "other")), (Some(1), None));
        assert!(learnt.may_learn(&server) && !learnt.may_learn(&server));
        learnt.changed(&server);
        assert!(learnt.may_learn(&server) && !learnt.may_learn(&server));
        learnt.set(&server, "tool", None);
        assert!(learnt.is_empty());
        let eager = Learnt::<()>::reading_every(Duration::ZERO);
        assert!(eager.may_learn(&server) && eager.may_learn(&server));
    }

    /// A tenant whose servers have any number of tools costs the others nothing.
    #[test]
    fn when_there_are_too_many_those_of_whoever_has_most_are_forgotten_and_may_be_learnt_anew() {
        let learnt = Learnt::reading_every(Duration::from_secs(10));
        let (server, others) = (server("a"), Holder::Tenant(TenantId::new("quiet")));
        let quiet = ServerId::new(others, server.name().clone());
        learnt.set(&quiet, "0", Some(()));
        assert!(learnt.may_learn(&server) && learnt.may_learn(&quiet));
        for nth in 0..=TOOLS_MAX {
            learnt.set(&server, &nth.to_string(), Some(()));
        }
        assert_eq!((learnt.of(&server, "0"), learnt.of(&server, &TOOLS_MAX.to_string())), (None, Some(())));
        assert!(learnt.may_learn(&server));
        assert!(learnt.of(&quiet, "0").is_some() && !learnt.may_learn(&quiet));
    }
}
