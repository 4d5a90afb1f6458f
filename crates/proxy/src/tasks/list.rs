//! `tasks/list` of 2025-11-25, at an endpoint that serves one server. A modern client has no such method, and one list
//! over several servers would have to hold the tasks of sessions that nobody opened yet.

use bytes::Bytes;
use tollgate_mcp::{Change, Edit, JsonKind, Kind, Message, Span, elements, find, kind_of, quote, text};
use tollgate_model::{Refusal, ServerId};

use super::id;
use crate::bridge::array_of;
use crate::gateway::Gateway;
use crate::inbound::Inbound;

/// The page with those tasks alone that this gateway gave to this caller, under the ids that it knows. Nothing to
/// change: none.
pub(crate) fn owned(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    message: &Message,
) -> Result<Option<Bytes>, Refusal> {
    let bytes = message.bytes();
    let Some(tasks) = message.member("tasks").filter(|_| message.kind() == Kind::Result) else {
        return Ok(None);
    };
    let mut shown = Vec::new();
    for task in elements(bytes, tasks).filter(|task| kind_of(bytes, *task) == JsonKind::Object) {
        let Some(native) = find(bytes, task, "taskId").and_then(|span| text(bytes, span)) else { continue };
        if gateway.tasks().owners.of(&inbound.caller, server, &native).is_none() {
            continue;
        }
        let id = id::wrap(gateway.sealer(), &inbound.caller, server, &native)?;
        let raw = task.slice(bytes);
        let mut edit = Edit::new(&raw);
        edit.object(Span::all(&raw), &[Change::Set("taskId", quote(&id))]);
        shown.push(edit.finish().into_bytes());
    }
    let mut edit = message.edit();
    message.set_id(&mut edit, inbound.id.clone());
    message.change_body(&mut edit, &[Change::Set("tasks", Bytes::from(array_of(&shown)))]);
    Ok(Some(edit.finish().into_bytes()))
}
