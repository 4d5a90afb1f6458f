//! The ids of tasks in what a legacy server says unasked: `notifications/tasks/status`, and every message that belongs
//! to a task (`_meta["io.modelcontextprotocol/related-task"]`; 2025-11-25, tasks, associating task-related messages).

use bytes::Bytes;
use tollgate_mcp::{Change, Edit, Limits, Message, Segments, Span, find, meta, methods, quote, text};
use tollgate_model::{Caller, Revision, ServerId};

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
    server: &ServerId,
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

/// A server's request that belongs to a task, as the client may see it: under the client's own id of the task, if it
/// knows tasks of that kind and this one is its own, and else without. It is known to be the client's, or is the one
/// that it asks about (`asked_about`): an id that is sealed for somebody is as good as the task.
pub(crate) fn question(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
    asked_about: Option<&str>,
    request: Message,
) -> Message {
    if request.meta_member(meta::RELATED_TASK).is_none() {
        return request;
    }
    let owns = |native: &str| {
        asked_about == Some(native) || gateway.tasks().owners.of(caller, server, native).is_some()
    };
    let place = related(&request);
    let own = place.filter(|place| text(request.bytes(), *place).is_some_and(|native| owns(&native)));
    let mut edit = request.edit();
    let known = caller.client.revision == Revision::V2025_11_25
        && own.is_some_and(|place| {
            replace(gateway, caller, server, request.bytes(), place, &mut edit).is_some()
        });
    if !known {
        request.change_meta(&mut edit, &[Change::Remove(meta::RELATED_TASK)]);
    }
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    // What was valid stays valid.
    Message::parse(edit.finish().into_bytes(), &limits).unwrap_or(request)
}

/// Gives a client's answer the server's own id of the task that it belongs to. What is no task of the client's at this
/// server is left out.
pub(crate) fn answer(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
    answer: &Message,
    edit: &mut Edit<'_>,
) {
    if answer.meta_member(meta::RELATED_TASK).is_none() {
        return;
    }
    let task = related(answer).and_then(|place| {
        let task = id::unwrap(gateway.sealer(), caller, &text(answer.bytes(), place)?)?;
        (task.server == *server).then_some((place, task.native))
    });
    match task {
        Some((place, native)) => edit.replace(place, quote(&native)),
        None => answer.change_meta(edit, &[Change::Remove(meta::RELATED_TASK)]),
    }
}

fn replace(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
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
