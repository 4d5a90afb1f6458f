//! The rows: what each feature is, what a pair must come to, and how that is shown.

use serde_json::{Value, json};

use super::judge::{Seen, holds, members, names, same, texts};
use super::raw;
use super::{Expected, Feature, Pair, Proof, Transport, Verdict, Way};
use crate::clients::Library;

const MODERN: [Library; 4] = [Library::TypeScriptV2, Library::PythonV2, Library::Rmcp, Library::FastMcp];
const LEGACY: [Library; 5] =
    [Library::TypeScriptV1, Library::PythonV1, Library::Rmcp, Library::TypeScriptV2, Library::PythonV2];

/// Libraries for what all of them can do.
fn any(way: Way) -> &'static [Library] {
    match (way.is_modern(), way.transport) {
        (true, _) => &MODERN,
        // The Rust SDK has no HTTP+SSE.
        (false, Transport::Sse) => &[Library::TypeScriptV1, Library::PythonV1, Library::PythonV2],
        (false, _) => &LEGACY,
    }
}

/// Libraries that can subscribe; FastMCP has no call for it.
fn listeners(way: Way) -> &'static [Library] {
    if way.is_modern() { &MODERN[..3] } else { any(way) }
}

/// Libraries that run a tool as a task: in the modern era the Rust SDK, in the legacy one those of their time.
fn taskers(way: Way) -> &'static [Library] {
    if way.is_modern() { &[Library::Rmcp] } else { &[Library::TypeScriptV1, Library::PythonV1] }
}

fn works(_: Pair) -> Expected {
    Expected::Works
}

/// A row that is shown by jobs, and that works everywhere.
fn row(title: &'static str, job: fn(Pair) -> Value, judge: fn(Pair, &Value) -> Verdict) -> Feature {
    Feature { title, expected: works, absent: "", proof: Proof::Job { by: any, job, judge }, alone: false }
}

/// A row that is shown by raw peers.
fn raw_row(
    title: &'static str,
    expected: fn(Pair) -> Expected,
    absent: &'static str,
    proof: for<'a> fn(&'a super::Ground, Pair) -> super::Proving<'a>,
) -> Feature {
    Feature { title, expected, absent, proof: Proof::Raw(proof), alone: false }
}

impl Feature {
    fn by(mut self, by: fn(Way) -> &'static [Library]) -> Self {
        if let Proof::Job { job, judge, .. } = self.proof {
            self.proof = Proof::Job { by, job, judge };
        }
        self
    }

    fn expects(mut self, expected: fn(Pair) -> Expected, absent: &'static str) -> Self {
        self.expected = expected;
        self.absent = absent;
        self
    }

    fn alone(mut self) -> Self {
        self.alone = true;
        self
    }
}

/// All rows, in the order of the page.
pub fn features() -> Vec<Feature> {
    let mut rows = plain();
    rows.extend(asking());
    rows.extend(changing());
    rows.extend(long());
    rows.extend(shapes());
    rows
}

fn plain() -> Vec<Feature> {
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

fn asking() -> Vec<Feature> {
    vec![
        row("elicitation by a form", form_job, form),
        row("elicitation in several rounds", twice_job, twice),
        row("elicitation of an address (URL mode)", url_job, url),
        row("elicitation while a prompt is got", in_prompt_job, in_prompt),
        row("elicitation that the user declines", declined_job, declined),
        row("sampling", sampling_job, sampling),
        row("sampling with tools", sampling_tools_job, sampling_tools),
        row("roots, asked within a call", roots_job, roots),
        row("a client that cannot is not asked", unable_job, unable),
        row("server requests beside all calls", alone_job, alone).expects(
            |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                (_, true) => Expected::Absent,
                (true, false) => {
                    Expected::Impossible("a modern client can be asked only in the answer to a call")
                }
                (false, false) => Expected::Works,
            },
            "a modern server asks nothing outside an answer",
        ),
    ]
}

fn changing() -> Vec<Feature> {
    vec![
        row("resource subscriptions: subscribe, update, unsubscribe", subscription_job, subscription)
            .by(listeners),
        row("changed lists of tools, prompts and resources", changed_job, changed).by(listeners).alone(),
    ]
}

fn long() -> Vec<Feature> {
    vec![
        row("tasks", task_job, task).by(|way| if way.is_modern() { taskers(way) } else { any(way) }),
        row("tasks that the client sees as tasks", seen_task_job, seen_task).by(taskers).expects(
            |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                (true, _) | (false, false) => Expected::Works,
                (false, true) => Expected::Absent,
            },
            "a modern server alone decides what becomes a task, so none are offered to a legacy client; \
             the call waits for the task's end (row before)",
        ),
        row("tasks that ask for input", asking_task_job, asking_task).by(taskers),
        raw_row(
            "resumption by the client (`Last-Event-ID`)",
            |pair| {
                let can = !pair.client.is_modern() && pair.client.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the legacy era has event ids",
            raw::resumed_by_the_client,
        ),
        row("resumption towards the server", cut_job, cut).expects(
            |pair| {
                let can = !pair.server.is_modern() && pair.server.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the legacy era has event ids",
        ),
        row("state of a conversation", state_job, state).expects(
            |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                (_, true) => Expected::Absent,
                (true, false) => Expected::Impossible("a modern client names no conversation"),
                (false, false) => Expected::Works,
            },
            "a modern server keeps nothing between requests",
        ),
    ]
}

fn shapes() -> Vec<Feature> {
    vec![
        raw_row(
            "batches of 2025-03-26",
            |pair| {
                let can = !pair.client.is_modern() && pair.client.transport == Transport::Http;
                if can { Expected::Works } else { Expected::Absent }
            },
            "only 2025-03-26 has batches, and only its Streamable HTTP is shown",
            raw::batches,
        ),
        raw_row(
            "arguments repeated in headers (`Mcp-Param-*`)",
            |pair| {
                let inbound = pair.client.is_modern() && pair.client.transport == Transport::Http;
                let outbound = pair.server.is_modern() && pair.server.transport == Transport::Http;
                if inbound || outbound { Expected::Works } else { Expected::Absent }
            },
            "only Streamable HTTP of the modern era has these headers",
            raw::headers,
        ),
        raw_row(
            "caching hints",
            |pair| if pair.client.is_modern() { Expected::Works } else { Expected::Absent },
            "the legacy era has none",
            raw::caching,
        ),
        raw_row("MCP Apps: both spellings of the view, native tool names", works, "", raw::apps),
        row("content of every kind", contents_job, contents),
        raw_row(
            "content that an older client does not know",
            |pair| if pair.client.is_modern() { Expected::Absent } else { Expected::Works },
            "the newest revision knows all",
            raw::downgraded,
        ),
    ]
}

// ---- tools, resources, prompts ----

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

// ---- what servers ask ----

/// What the clients of these rows answer.
fn answers() -> Value {
    json!({
        "form": { "action": "accept", "content": { "name": "Ada" } },
        "url": { "action": "accept" },
        "sampling": {
            "role": "assistant",
            "model": "a-model",
            "stopReason": "endTurn",
            "content": { "type": "text", "text": "Paris" },
        },
        "samplingTools": {
            "role": "assistant",
            "model": "a-model",
            "stopReason": "toolUse",
            "content": { "type": "tool_use", "id": "use-1", "name": "weather", "input": { "city": "Bern" } },
        },
        "roots": [{ "uri": "file:///work", "name": "work" }],
    })
}

/// A client with all answers calls a tool that asks.
fn asks(tool: &str, message: &str) -> Value {
    json!({
        "answers": answers(),
        "script": [{ "do": "call", "name": tool, "arguments": { "message": message } }],
    })
}

/// That the client was asked once by this method, and that the user is told by whom: in the message itself, but for what
/// goes from a modern server to a modern client, which arrives as it was sent.
fn asked_once<'a>(
    pair: Pair,
    seen: Seen<'a>,
    method: &str,
    message: Option<&str>,
) -> Result<&'a Value, String> {
    let [asked] = seen.asked() else { return Err(format!("asked {} times", seen.asked().len())) };
    same("what was asked", &asked["method"], &json!(method))?;
    if let Some(message) = message {
        let said = asked["params"]["message"].as_str().unwrap_or_default();
        let fine = if pair.client.is_modern() && pair.server.is_modern() {
            said == message
        } else {
            said.contains(message) && said.contains(pair.server.server())
        };
        holds(fine, || format!("the user reads {said:?}, and not what was asked and which server asks"))?;
    }
    Ok(&asked["params"])
}

fn form_job(_: Pair) -> Value {
    asks("ask_form", "Who are you?")
}

fn form(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let got = json!({ "action": "accept", "content": { "name": "Ada" } });
    same("what the server got", &seen.told(0)?, &got)?;
    let asked = asked_once(pair, seen, "elicitation/create", Some("Who are you?"))?;
    same("the form", &asked["requestedSchema"]["required"], &json!(["name"]))
}

fn twice_job(_: Pair) -> Value {
    asks("ask_twice", "")
}

fn twice(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let got = json!({ "action": "accept", "content": { "name": "Ada" } });
    same("what the server got", &seen.told(0)?, &json!([got, got]))?;
    let said: Vec<&str> =
        seen.asked().iter().filter_map(|asked| asked["params"]["message"].as_str()).collect();
    let [first, second] = said[..] else { return Err(format!("asked {said:?}")) };
    holds(first.contains("What is your name?") && second.contains("Who knows Ada?"), || {
        format!("asked {said:?}")
    })
}

fn url_job(_: Pair) -> Value {
    asks("ask_url", "Please agree")
}

fn url(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    same("what the server got", &seen.told(0)?["action"], &json!("accept"))?;
    let asked = asked_once(pair, seen, "elicitation/create", Some("Please agree"))?;
    members("the request", asked, &json!({ "mode": "url", "url": "https://example.com/consent" }))?;
    // The Rust SDK puts an empty one where there is none.
    let id = asked["elicitationId"].as_str().filter(|id| !id.is_empty());
    holds(id.is_some() != pair.client.is_modern(), || format!("elicitationId is {id:?}"))
}

fn in_prompt_job(_: Pair) -> Value {
    json!({
        "answers": answers(),
        "script": [{ "do": "getPrompt", "name": "ask_in_prompt", "arguments": {} }],
    })
}

fn in_prompt(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let said = &seen.ok(0)?["messages"][0]["content"]["text"];
    same("the prompt", said, &json!("Introduce yourself to Ada"))?;
    asked_once(pair, seen, "elicitation/create", Some("Who is it?")).map(|_| ())
}

fn declined_job(_: Pair) -> Value {
    let mut job = asks("ask_form", "Who are you?");
    job["answers"]["form"] = json!({ "action": "decline" });
    job
}

fn declined(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    same("what the server got", &seen.told(0)?["action"], &json!("decline"))?;
    asked_once(pair, seen, "elicitation/create", Some("Who are you?")).map(|_| ())
}

fn sampling_job(_: Pair) -> Value {
    asks("ask_model", "The capital of France?")
}

fn sampling(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    members("what the server got", &seen.told(0)?, &answers()["sampling"])?;
    let asked = asked_once(pair, seen, "sampling/createMessage", None)?;
    let said = &asked["messages"][0]["content"];
    let said = if said.is_array() { &said[0]["text"] } else { &said["text"] };
    same("what the model is asked", said, &json!("The capital of France?"))?;
    same("maxTokens", &asked["maxTokens"], &json!(64))
}

fn sampling_tools_job(_: Pair) -> Value {
    asks("ask_model_with_tools", "The weather in Bern?")
}

fn sampling_tools(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let got = seen.told(0)?;
    same("the stop reason", &got["stopReason"], &json!("toolUse"))?;
    let used = if got["content"].is_array() { &got["content"][0] } else { &got["content"] };
    members("what the server got", used, &answers()["samplingTools"]["content"])?;
    let asked = asked_once(pair, seen, "sampling/createMessage", None)?;
    same("the tool that the model may use", &asked["tools"][0]["name"], &json!("weather"))
}

fn roots_job(_: Pair) -> Value {
    asks("ask_roots", "")
}

fn roots(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    same("what the server got", &seen.told(0)?["roots"], &answers()["roots"])?;
    asked_once(pair, seen, "roots/list", None).map(|_| ())
}

fn unable_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "call", "name": "ask_form", "arguments": { "message": "Who are you?" } },
        { "do": "call", "name": "ask_model", "arguments": { "message": "What is it?" } },
        { "do": "call", "name": "ask_roots", "arguments": {} },
        { "do": "call", "name": "echo", "arguments": { "message": "still there" } },
    ] })
}

fn unable(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    for step in 0..3 {
        let outcome = &answer["script"][step];
        let refused = !outcome["error"].is_null() || outcome["ok"]["isError"] == true;
        holds(refused, || format!("step {step} was to fail: {outcome}"))?;
    }
    holds(seen.asked().is_empty(), || format!("asked {:?}", seen.asked()))?;
    same("the call after", &json!(seen.text(3)?), &json!("Echo: still there"))
}

fn alone_job(pair: Pair) -> Value {
    let message = format!("Anyone there, {}?", pair.key());
    json!({
        "answers": answers(),
        "script": [
            { "do": "call", "name": "ask_alone", "arguments": { "message": message } },
            { "do": "until", "name": "observations", "contains": message, "withinMs": 8000 },
        ],
    })
}

fn alone(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let message = format!("Anyone there, {}?", pair.key());
    let observed = seen.told(1)?;
    let mut all = observed["alone"].as_array().into_iter().flatten();
    let came = all.rfind(|one| one["for"] == message.as_str()).cloned().unwrap_or_default();
    if pair.client.is_modern() {
        // The server is told at once, and nobody is asked.
        holds(came["error"]["code"].is_i64() && came["error"]["code"] != -32001, || {
            format!("the server was told {came}")
        })?;
        return holds(seen.asked().is_empty(), || format!("asked {:?}", seen.asked()));
    }
    same("what the server got", &came["answer"]["content"], &json!({ "name": "Ada" }))?;
    asked_once(pair, seen, "elicitation/create", Some(&message)).map(|_| ())
}

// ---- what changes ----

fn subscription_job(pair: Pair) -> Value {
    let uri = format!("note://people/{}", pair.key());
    let touch = json!({ "do": "call", "name": "touch", "arguments": { "uri": uri } });
    json!({ "script": [
        { "do": "watch", "uris": [uri] },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 1 },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 2 },
        { "do": "unwatch", "uris": [uri] },
        touch,
        { "do": "hear", "what": "updated", "atLeast": 3, "withinMs": 200 },
    ] })
}

fn subscription(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let uri = format!("note://people/{}", pair.key());
    same("what is watched", &seen.ok(0)?["resourceSubscriptions"], &json!([uri]))?;
    same("the first update", &seen.ok(2)?[0], &json!(uri))?;
    same("the second update", &seen.ok(4)?[1], &json!(uri))?;
    seen.ok(5)?;
    same("all updates", &json!(seen.heard("updated")), &json!([uri, uri]))
}

fn changed_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "watch", "lists": ["tools", "prompts", "resources"] },
        { "do": "whole", "list": "tools" },
        { "do": "call", "name": "grow", "arguments": {} },
        { "do": "hear", "what": "changed", "atLeast": 3 },
        { "do": "whole", "list": "tools" },
    ] })
}

fn changed(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let watched = seen.ok(0)?;
    if pair.client.is_modern() {
        let all =
            json!({ "toolsListChanged": true, "promptsListChanged": true, "resourcesListChanged": true });
        members("what is acknowledged", watched, &all)?;
    }
    let grown = seen.text(2)?.to_owned();
    let mut heard: Vec<&str> = seen.heard("changed").iter().filter_map(Value::as_str).collect();
    heard.sort_unstable();
    heard.dedup();
    holds(heard == ["prompts", "resources", "tools"], || format!("heard {heard:?}"))?;
    let (before, after) = (names(seen.ok(1)?, "name"), names(seen.ok(4)?, "name"));
    holds(!before.contains(&grown) && after.contains(&grown), || format!("{grown} is not new in {after:?}"))
}

// ---- what takes long ----

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
    same("what the server got", &seen.told(0)?, &got)?;
    asked_once(pair, seen, "elicitation/create", Some("Who are you?")).map(|_| ())
}

fn cut_job(_: Pair) -> Value {
    json!({ "script": [{ "do": "call", "name": "cut", "arguments": {} }] })
}

fn cut(_: Pair, answer: &Value) -> Verdict {
    same("the answer", &json!(Seen(answer).text(0)?), &json!("after the cut"))
}

fn state_job(_: Pair) -> Value {
    let count = json!({ "do": "call", "name": "count", "arguments": {} });
    json!({ "script": [count, count, count] })
}

fn state(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let counted = json!([seen.text(0)?, seen.text(1)?, seen.text(2)?]);
    if pair.client.is_modern() {
        // Each call has a session of its own, so nothing of another client's is ever seen.
        return same("what was counted", &counted, &json!(["1", "1", "1"]));
    }
    same("what was counted", &counted, &json!(["1", "2", "3"]))
}

// ---- shapes ----

fn contents_job(_: Pair) -> Value {
    json!({ "script": [
        { "do": "call", "name": "contents", "arguments": {} },
        { "do": "whole", "list": "tools" },
    ] })
}

fn contents(_: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let result = seen.ok(0)?;
    texts(
        "kinds",
        &names(&result["content"], "type"),
        &["text", "image", "audio", "resource_link", "resource"],
    )?;
    same("the link", &result["content"][3]["uri"], &json!("note://greeting"))?;
    same("the embedded text", &result["content"][4]["resource"]["text"], &json!("embedded"))?;
    same("the structured content", &result["structuredContent"], &json!({ "kinds": 5 }))?;
    let tools = seen.ok(1)?.as_array().cloned().unwrap_or_default();
    let view = tools.iter().find(|tool| tool["name"] == "view").cloned().unwrap_or_default();
    holds(view["icons"][0]["src"].is_string(), || format!("no icon in {view}"))
}
