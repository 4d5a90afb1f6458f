//! What every server has: tools, resources, prompts, completion, pages, progress, cancellation, pings, log messages.

use serde_json::{Value, json};

use super::{MODERN, any, row};
use crate::features::judge::{Seen, holds, members, names, same, texts};
use crate::features::{Expected, Feature, Pair, Verdict};

/// These rows.
pub(super) fn rows() -> Vec<Feature> {
    vec![
        row("tools: list, call, a tool's own error, an unknown tool", tools_job, tools),
        // The TypeScript client 2.x gives the code of a missing resource in the words of its own era.
        row("resources: list, templates, read, one that is not there", resources_job, resources)
            .by(|way| if way.is_modern() { &MODERN } else { &any(way)[..3] }),
        row("prompts: list, get", prompts_job, prompts),
        row("completion, with context", completion_job, completion),
        row("pagination: pages, cursors, a cursor that is none", pages_job, pages),
        row("progress", progress_job, progress),
        row("cancellation reaches the server", cancel_job, cancel),
        row("ping of the client's", ping_job, ping).expects(
            |pair| if pair.client.is_modern() { Expected::Absent } else { Expected::Works },
            "the modern era has no ping",
        ),
        row("ping of the server's", server_ping_job, server_ping).expects(
            |pair| if pair.server.is_modern() { Expected::Absent } else { Expected::Works },
            "a modern server asks nothing outside an answer",
        ),
        row("log messages at the wanted level", logs_job, logs),
    ]
}

fn tools_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "whole", "list": "tools" },
        { "do": "call", "name": "echo", "arguments": { "message": "Ada 🦊" } },
        { "do": "call", "name": "fail", "arguments": {} },
        { "do": "call", "name": "no_such_tool", "arguments": {} },
    ] })
}

fn tools(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let listed = names(seen.ok(0)?, "name");
    holds(["echo", "fail", "view"].iter().all(|tool| listed.iter().any(|one| one == tool)), || {
        format!("the list is {listed:?}")
    })?;
    let echo = seen.ok(1)?;
    same("the echo", &echo["content"][0]["text"], &json!("Echo: Ada 🦊"))?;
    same("the structured echo", &echo["structuredContent"], &json!({ "message": "Ada 🦊" }))?;
    let failed = seen.ok(2)?;
    same("isError", &failed["isError"], &json!(true))?;
    same("the tool's own error", &failed["content"][0]["text"], &json!("this tool fails on purpose"))?;
    same("the code of an unknown tool", &seen.error(3)?["code"], &json!(-32602))
}

fn resources_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "whole", "list": "resources" },
        { "do": "whole", "list": "templates" },
        { "do": "readResource", "uri": "note://greeting" },
        { "do": "readResource", "uri": "note://people/ada" },
        { "do": "readResource", "uri": "note://nowhere" },
    ] })
}

fn resources(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    texts("resources", &names(seen.ok(0)?, "uri"), &["note://greeting", "ui://contract/view"])?;
    texts("templates", &names(seen.ok(1)?, "uriTemplate"), &["note://people/{who}"])?;
    let note = json!({ "uri": "note://greeting", "mimeType": "text/plain", "text": "A greeting in a note" });
    same("the note", &seen.ok(2)?["contents"], &json!([note]))?;
    same("what the template leads to", &seen.ok(3)?["contents"][0]["text"], &json!("A note on ada"))?;
    // Codes belong to their era.
    let code = if pair.client.is_modern() { -32602 } else { -32002 };
    same("the code of a missing resource", &seen.error(4)?["code"], &json!(code))
}

fn prompts_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "whole", "list": "prompts" },
        { "do": "getPrompt", "name": "introduce", "arguments": { "who": "Ada" } },
    ] })
}

fn prompts(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    texts("prompts", &names(seen.ok(0)?, "name"), &["introduce", "ask_in_prompt"])?;
    let said = &seen.ok(1)?["messages"][0]["content"]["text"];
    same("the prompt", said, &json!("Introduce yourself to Ada"))
}

fn completion_job(_: Pair) -> Value {
    json!({ "script": [{
        "do": "completed",
        "ref": { "type": "ref/prompt", "name": "introduce" },
        "argument": { "name": "who", "value": "a" },
        "context": { "arguments": { "team": "blue" } },
    }] })
}

fn completion(_: Pair, answer: &Value) -> Verdict {
    let values = &Seen(answer).ok(0)?["completion"]["values"];
    same("what is offered", values, &json!(["ada of blue", "alan of blue"]))
}

fn pages_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "page", "list": "tools" },
        { "do": "whole", "list": "tools" },
        { "do": "page", "list": "tools", "cursor": "no such cursor" },
    ] })
}

fn pages(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let page = seen.ok(0)?;
    let (first, whole) = (names(&page["tools"], "name"), names(seen.ok(1)?, "name"));
    holds(page["nextCursor"].is_string(), || format!("no next page: {page}"))?;
    holds(whole.starts_with(&first) && whole.len() > first.len() + 10, || {
        format!("{first:?} are not the first of {whole:?}")
    })?;
    let mut once = whole.clone();
    once.sort();
    once.dedup();
    holds(once.len() == whole.len(), || format!("something comes twice in {whole:?}"))?;
    same("the code of a wrong cursor", &seen.error(2)?["code"], &json!(-32602))
}

fn progress_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "call", "name": "slow", "arguments": {}, "progress": true },
        // Some libraries forget a call's notifications once it is answered, and the last comes with the answer.
        { "do": "hear", "what": "progress", "atLeast": 2 },
    ] })
}

fn progress(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    same("the answer", &json!(seen.text(0)?), &json!("three steps done"))?;
    let steps: Vec<f64> = seen.heard("progress").iter().filter_map(Value::as_f64).collect();
    let wanted = [1.0, 2.0, 3.0];
    holds(steps.len() >= 2 && wanted.starts_with(&steps), || format!("the steps are {steps:?}"))
}

fn cancel_job(pair: Pair) -> Value {
    json!({
        "cancel": { "name": "wait", "arguments": { "key": pair.key() } },
        "script": [{ "do": "until", "name": "observations", "contains": format!("\"{}\"", pair.key()) }],
    })
}

fn cancel(_: Pair, answer: &Value) -> Verdict {
    same("the start of the call", &answer["cancel"]["ok"]["started"], &json!(true))?;
    Seen(answer).ok(0).map(|_| ())
}

fn ping_job(_: Pair) -> Value {
    json!({ "script": [{ "do": "ping" }] })
}

fn ping(_: Pair, answer: &Value) -> Verdict {
    Seen(answer).ok(0).map(|_| ())
}

fn server_ping_job(_: Pair) -> Value {
    json!({ "script": [{ "do": "call", "name": "ping_client", "arguments": {} }] })
}

fn server_ping(_: Pair, answer: &Value) -> Verdict {
    same("the answer", &json!(Seen(answer).text(0)?), &json!("the client is there"))
}

fn logs_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "setLevel", "level": "error" },
        { "do": "call", "name": "log", "arguments": {} },
        { "do": "hear", "what": "logs", "atLeast": 4 },
        { "do": "setLevel", "level": "alert" },
        { "do": "call", "name": "log", "arguments": {} },
        { "do": "hear", "what": "logs", "atLeast": 6 },
        { "do": "hear", "what": "logs", "atLeast": 7, "withinMs": 100 },
    ] })
}

fn logs(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    seen.ok(0)?;
    seen.text(1)?;
    seen.text(4)?;
    let levels = names(&json!(seen.heard("logs")), "level");
    texts("levels", &levels, &["error", "critical", "alert", "emergency", "alert", "emergency"])?;
    let first = &seen.heard("logs")[0];
    members("the first", first, &json!({ "logger": "contract", "data": "said at error" }))
}
