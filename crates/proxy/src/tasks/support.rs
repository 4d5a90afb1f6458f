//! Which tools of legacy servers can become tasks: `execution.taskSupport` (2025-11-25, tasks, tool-level negotiation).
//! Learnt from every list that passes, and from the server's list when it is needed and not known.

use std::ops::Deref;
use std::time::Duration;

use tollgate_catalog::Item;
use tollgate_mcp::json::Span;
use tollgate_mcp::{find, text};
use tollgate_model::ServerId;

use crate::learnt::Learnt;

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
#[derive(Debug)]
pub(crate) struct TaskSupport(Learnt<Support>);

impl Default for TaskSupport {
    fn default() -> Self {
        Self(Learnt::reading_every(LEARN_EVERY))
    }
}

impl TaskSupport {
    /// Learns from a server's tools.
    pub(crate) fn learn(&self, server: &ServerId, items: &[Item]) {
        for item in items {
            self.0.set(server, item.key(), support(item));
        }
    }
}

impl Deref for TaskSupport {
    type Target = Learnt<Support>;

    fn deref(&self) -> &Self::Target {
        &self.0
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
