//! What servers ask of clients: the user, the model, the roots.

use serde_json::{Value, json};

use super::row;
use crate::features::judge::{Seen, holds, members, same};
use crate::features::{Expected, Feature, Pair, Verdict};

/// These rows.
pub(super) fn rows() -> Vec<Feature> {
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
        row("server requests beside all calls", alone_job, alone)
            .only_typescript()
            .expects(
                |pair| match (pair.client.is_modern(), pair.server.is_modern()) {
                    (_, true) => Expected::Absent,
                    (true, false) => {
                        Expected::Impossible("a modern client can be asked only in the answer to a call")
                    }
                    (false, false) => Expected::Works,
                },
                "a modern server asks nothing outside an answer",
            )
            .alone(),
    ]
}

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
pub(super) fn asks(tool: &str, message: &str) -> Value {
    json!({
        "answers": answers(),
        "script": [{ "do": "call", "name": tool, "arguments": { "message": message } }],
    })
}

/// That the client was asked once by this method, and that the user is told by whom: in the message itself, but for what
/// goes from a modern server to a modern client, which arrives as it was sent.
pub(super) fn asked_once<'a>(
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
            said.contains(message) && said.contains(&pair.name())
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
    // A modern client hears nothing of it.
    let within_ms = if pair.client.is_modern() { 1_500 } else { 15_000 };
    json!({
        "answers": answers(),
        "script": [
            { "do": "call", "name": "ask_alone", "arguments": { "message": message } },
            // It comes a moment after the call, and would be taken for another call's that is under way then.
            { "do": "hear", "what": "asked", "atLeast": 1, "withinMs": within_ms },
            { "do": "until", "name": "observations", "contains": message, "withinMs": 30_000 },
        ],
    })
}

fn alone(pair: Pair, answer: &Value) -> Verdict {
    let seen = Seen(answer);
    let message = format!("Anyone there, {}?", pair.key());
    let observed = seen.told(2)?;
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
