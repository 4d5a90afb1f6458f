//! Which tools of legacy servers can become tasks: `execution.taskSupport` (2025-11-25, tasks, tool-level negotiation).
//! Learnt from every list that passes, and from the server's list when it is needed and not known.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_catalog::Item;
use tollgate_mcp::json::Span;
use tollgate_mcp::{find, text};
use tollgate_model::ServerName;

/// How many tools that can become tasks are remembered.
const TOOLS_MAX: usize = 10_000;
/// How often a server's list is read at most because a tool is not among those that can become tasks.
const LEARN_EVERY: Duration = Duration::from_mins(1);

/// How a tool can become a task. One that cannot is not remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Support {
    /// If the client wants it.
    Optional,
    /// It can be called in no other way.
    Required,
}

/// What is known of the tools of all servers.
#[derive(Debug, Default)]
pub(crate) struct TaskSupport(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    tools: HashMap<(ServerName, String), Support>,
    learnt: HashMap<ServerName, Instant>,
}

impl TaskSupport {
    /// Learns from a server's tools.
    pub(crate) fn learn(&self, server: &ServerName, items: &[Item]) {
        let mut state = self.lock();
        for item in items {
            let found = support(item);
            if found.is_none() && state.tools.is_empty() {
                continue;
            }
            let key = (server.clone(), item.key().to_owned());
            match found {
                Some(found) => {
                    if state.tools.len() >= TOOLS_MAX && !state.tools.contains_key(&key) {
                        state.tools.clear();
                        state.learnt.clear();
                    }
                    state.tools.insert(key, found);
                }
                None => {
                    state.tools.remove(&key);
                }
            }
        }
    }

    /// How a tool can become a task, as far as is known.
    pub(crate) fn of(&self, server: &ServerName, native: &str) -> Option<Support> {
        self.lock().tools.get(&(server.clone(), native.to_owned())).copied()
    }

    /// Whether the server's list may be read now. Says yes once in a while.
    pub(crate) fn may_learn(&self, server: &ServerName) -> bool {
        let mut state = self.lock();
        let now = Instant::now();
        match state.learnt.get(server) {
            Some(last) if now.duration_since(*last) < LEARN_EVERY => false,
            _ => {
                state.learnt.insert(server.clone(), now);
                true
            }
        }
    }

    /// The server's tools are others now.
    pub(crate) fn changed(&self, server: &ServerName) {
        self.lock().learnt.remove(server);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn support(item: &Item) -> Option<Support> {
    let bytes = item.raw();
    let execution = find(bytes, Span::all(bytes), "execution")?;
    match &*text(bytes, find(bytes, execution, "taskSupport")?)? {
        "required" => Some(Support::Required),
        "optional" => Some(Support::Optional),
        _ => None,
    }
}
