//! What takes longer than a call: tasks, streams that break, conversations.

use serde_json::{Value, json};

use super::asking::{asked_once, asks};
use super::{any, raw_row, row, taskers};
use crate::features::judge::{Seen, holds, same};
use crate::features::raw;
use crate::features::{Expected, Feature, Pair, Transport, Verdict};

/// These rows.
pub(super) fn rows() -> Vec<Feature> {
    vec![
        row("tasks", task_job, task)
            .by(|way| if way.is_modern() { taskers(way) } else { any(way) })
            .only_typescript(),
        row("tasks that the client sees as tasks", seen_task_job, seen_task)
            .only_typescript()
            .by(taskers)
            .expects(
                |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                    (true, _) | (false, false) => Expected::Works,
                    (false, true) => Expected::Absent,
                },
                "a modern server alone decides what becomes a task, so none are offered to a legacy client; \
             the call waits for the task's end (row before)",
            ),
        row("tasks that ask for input", asking_task_job, asking_task).only_typescript().by(taskers),
        raw_row(
            "resumption by the client (`Last-Event-ID`)",
            |pair| {
                let can = !pair.client.is_modern() && pair.client.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the legacy era has event ids",
            raw::resumed_by_the_client,
        ),
        row("resumption towards the server", cut_job, cut).only_typescript().expects(
            |pair| {
                let can = !pair.server.is_modern() && pair.server.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the legacy era has event ids",
        ),
        raw_row(
            "state of a conversation",
            |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                (_, true) => Expected::Absent,
                (true, false) => Expected::Impossible("a modern client names no conversation"),
                (false, false) => Expected::Works,
            },
            "a modern server keeps nothing between requests",
            raw::state,
        ),
    ]
}

/// A client of tasks, where its era has them.
fn with_tasks(pair: Pair, tool: &str, as_task: bool) -> Value {
    let mut job = asks(tool, "Who are you?");
    if pair.client.is_modern() {
        job["answers"]["tasks"] = json!(true);
    }
    job["script"][0]["task"] = json!(as_task);
    job
}

/// Whoever cannot see a task waits for its end.
fn task_job(pair: Pair) -> Value {
    with_tasks(pair, "job", pair.client.is_modern())
}

fn task(pair: Pair, answer: &Value) -> Verdict {
    let text = Seen(answer).text(0)?;
    // A legacy client that does not ask for a task gets none from a legacy server.
    let without = !pair.client.is_modern() && !pair.server.is_modern();
    let wanted = if without { "done without a task" } else { "the task is done" };
    same("the result", &json!(text), &json!(wanted))
}

fn seen_task_job(pair: Pair) -> Value {
    with_tasks(pair, "job", true)
}

fn seen_task(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    same("the result", &json!(seen.text(0)?), &json!("the task is done"))?;
    let said = &seen.ok(0)?["said"];
    same("its first state", &said[0]["status"], &json!("working"))?;
    holds(said[0]["taskId"].is_string(), || format!("no task in {said}"))
}

fn asking_task_job(pair: Pair) -> Value {
    with_tasks(pair, "ask_job", pair.client.is_modern() || !pair.server.is_modern())
}

fn asking_task(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let got = json!({ "action": "accept", "content": { "name": "Ada" } });
    let mut told = seen.told(0)?;
    if let Some(told) = told.as_object_mut() {
        // To a server of 2025-11-25 an answer within a task names the task.
        told.remove("_meta");
    }
    same("what the server got", &told, &got)?;
    asked_once(pair, seen, "elicitation/create", Some("Who are you?")).map(|_| ())
}

fn cut_job(_: Pair) -> Value {
    json!({ "script": [{ "do": "call", "name": "cut", "arguments": {} }] })
}

fn cut(_: Pair, answer: &Value) -> Verdict {
    same("the answer", &json!(Seen(answer).text(0)?), &json!("after the cut"))
}
