//! A task of 2025-11-25 as the extension of 2026-07-28 writes it.
//!
//! Members that both have, and those that nobody here knows, stay as they are.

use bytes::Bytes;
use tollgate_mcp::{Change, Edit, JsonKind, Kind, Message, Span, compose, find, kind_of, meta, quote};

/// What stands in a modern task beside what the legacy one says.
pub(crate) struct Modern<'a> {
    /// The id under which the client knows the task.
    pub(crate) id: &'a str,
    /// `task` or `complete`.
    pub(crate) result_type: &'static str,
    /// The status, where it is another than the server's.
    pub(crate) status: Option<&'static str>,
    /// The member that belongs to the status, and its raw value.
    pub(crate) payload: Option<(&'static str, Bytes)>,
    /// `_meta` of the whole result, if it stood outside of the task.
    pub(crate) outer_meta: Option<Bytes>,
    /// The server's `serverInfo`.
    pub(crate) info: Option<&'a Bytes>,
}

/// The modern result made of a legacy task object.
pub(crate) fn modern(task: &Bytes, modern: Modern<'_>) -> Bytes {
    let whole = Span::all(task);
    let member = |key: &str| find(task, whole, key);
    let mut changes = vec![
        Change::Set("taskId", quote(modern.id)),
        Change::Set("resultType", quote(modern.result_type)),
        // Without one the server keeps it for as long as it likes.
        Change::Set("ttlMs", member("ttl").map_or(Bytes::from_static(b"null"), |span| span.slice(task))),
        Change::Remove("ttl"),
        Change::Remove("pollInterval"),
    ];
    if let Some(interval) = member("pollInterval") {
        changes.push(Change::Set("pollIntervalMs", interval.slice(task)));
    }
    if let Some(status) = modern.status {
        changes.push(Change::Set("status", quote(status)));
    }
    if let Some((member, value)) = modern.payload {
        changes.push(Change::Set(member, value));
    }
    let own_meta = member("_meta").map(|span| span.slice(task));
    if let Some(meta) = meta_of(modern.outer_meta.or(own_meta), modern.info) {
        changes.push(Change::Set("_meta", meta));
    }
    let mut edit = Edit::new(task);
    edit.object(whole, &changes);
    edit.finish().into_bytes()
}

/// `_meta` without what only the older revision has, and with the server's name.
fn meta_of(meta: Option<Bytes>, info: Option<&Bytes>) -> Option<Bytes> {
    let info = info.map(|info| Change::Set(meta::SERVER_INFO, info.clone()));
    match meta.filter(|meta| kind_of(meta, Span::all(meta)) == JsonKind::Object) {
        Some(meta) => {
            let mut edit = Edit::new(&meta);
            let changes: Vec<_> = info.into_iter().chain([Change::Remove(meta::RELATED_TASK)]).collect();
            edit.object(Span::all(&meta), &changes);
            Some(edit.finish().into_bytes())
        }
        None => match info {
            Some(Change::Set(key, info)) => Some(compose::object(&[(key, &info)])),
            _ => None,
        },
    }
}

/// What came of a legacy task, by the answer to `tasks/result`: the status of the modern task, and its payload. A result
/// is one even if it says that the tool failed; only a JSON-RPC error is a failure of the task (tasks extension,
/// task execution errors).
pub(crate) fn outcome(
    answer: &Message,
    stand_ins: &[(Span, String)],
) -> (&'static str, (&'static str, Bytes)) {
    if answer.kind() == Kind::Error {
        let error = answer.body().map(|span| answer.raw(span)).unwrap_or_default();
        return ("failed", ("error", error));
    }
    let mut edit = answer.edit();
    for (place, other) in stand_ins {
        edit.replace(*place, quote(other));
    }
    if answer.meta_member(meta::RELATED_TASK).is_some() {
        answer.change_meta(&mut edit, &[Change::Remove(meta::RELATED_TASK)]);
    }
    let whole = edit.finish().into_bytes();
    let result = find(&whole, Span::all(&whole), "result").map(|span| span.slice(&whole)).unwrap_or_default();
    ("completed", ("result", result))
}

/// The answer to a call, made of what a modern task says at its end: a `result`, or an `error`.
pub(crate) fn answer(id: u64, member: &str, payload: &[u8]) -> Bytes {
    let mut answer = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"{member}\":").into_bytes();
    answer.extend_from_slice(payload);
    answer.push(b'}');
    Bytes::from(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn message(text: &'static str) -> Message {
        Message::parse(Bytes::from_static(text.as_bytes()), &Limits::default()).expect("a message")
    }

    #[test]
    fn a_legacy_task_becomes_a_modern_one_and_keeps_what_nobody_knows() {
        let task = Bytes::from_static(
            br#"{"taskId":"n","status":"failed","createdAt":"c","lastUpdatedAt":"l","ttl":60000,"pollInterval":5.0e2,"x":[1.50]}"#,
        );
        let made = modern(
            &task,
            Modern {
                id: "w",
                result_type: "complete",
                status: Some("completed"),
                payload: Some(("result", Bytes::from_static(b"{}"))),
                outer_meta: Some(Bytes::from_static(
                    br#"{"io.modelcontextprotocol/related-task":{"taskId":"n"},"k":1}"#,
                )),
                info: Some(&Bytes::from_static(br#"{"name":"s"}"#)),
            },
        );
        assert_eq!(
            made,
            r#"{"taskId":"w","status":"completed","createdAt":"c","lastUpdatedAt":"l","x":[1.50],"resultType":"complete","ttlMs":60000,"pollIntervalMs":5.0e2,"result":{},"_meta":{"k":1,"io.modelcontextprotocol/serverInfo":{"name":"s"}}}"#
        );
    }

    #[test]
    fn a_tool_that_failed_is_a_result_and_only_an_error_is_a_failure() {
        let failed = message(
            r#"{"jsonrpc":"2.0","id":1,"result":{"content":[],"isError":true,"_meta":{"io.modelcontextprotocol/related-task":{"taskId":"n"}}}}"#,
        );
        let (status, (member, payload)) = outcome(&failed, &[]);
        assert_eq!((status, member), ("completed", "result"));
        assert_eq!(payload, r#"{"content":[],"isError":true,"_meta":{}}"#);
        let error = message(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32050,"message":"no"}}"#);
        let (status, (member, payload)) = outcome(&error, &[]);
        assert_eq!((status, member), ("failed", "error"));
        assert_eq!(payload, r#"{"code":-32050,"message":"no"}"#);
        assert_eq!(
            answer(7, member, &payload),
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32050,"message":"no"}}"#
        );
    }
}
