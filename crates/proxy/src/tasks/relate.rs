//! The ids of tasks in what a legacy server says unasked: `notifications/tasks/status`, and every message that belongs
//! to a task (`_meta["io.modelcontextprotocol/related-task"]`; 2025-11-25, tasks, associating task-related messages).

use bytes::Bytes;
use tollgate_mcp::{Edit, Message, Segments, Span, find, meta, methods, quote, text};
use tollgate_model::{Caller, ServerName};

use super::id;
use crate::gateway::Gateway;

/// Whether a message speaks of a task. Costs a look at two members.
pub(crate) fn speaks_of_a_task(message: &Message) -> bool {
    message.meta_member(meta::RELATED_TASK).is_some()
        || message.method() == methods::NOTIFICATIONS_TASKS_STATUS
}

/// A notification about a task as its owner gets it; none if it is about a task that is not known to be this caller's.
/// Progress comes under the token of the call that became the task.
pub(crate) fn notification(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerName,
    message: &Message,
) -> Option<Segments> {
    let bytes = message.bytes();
    let about = match message.method() {
        methods::NOTIFICATIONS_TASKS_STATUS => message.member("taskId"),
        _ => related(message),
    }?;
    let native = text(bytes, about)?;
    let owned = gateway.tasks().owners.of(caller, server, &native)?;
    let mut edit = message.edit();
    for place in related(message).into_iter().chain([about]) {
        replace(gateway, caller, server, bytes, place, &mut edit)?;
    }
    if message.method() == methods::NOTIFICATIONS_PROGRESS {
        edit.replace(message.member(meta::PROGRESS_TOKEN)?, owned.progress?);
    }
    Some(edit.finish())
}

fn replace(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerName,
    bytes: &Bytes,
    place: Span,
    edit: &mut Edit<'_>,
) -> Option<()> {
    let native = text(bytes, place)?;
    let id = id::wrap(gateway.sealer(), caller, server, &native).ok()?;
    edit.replace(place, quote(&id));
    Some(())
}

/// The id of the task that a message says it belongs to.
pub(crate) fn related(message: &Message) -> Option<Span> {
    find(message.bytes(), message.meta_member(meta::RELATED_TASK)?, "taskId")
}
