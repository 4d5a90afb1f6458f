//! Requests that need another round: the server asks, the client tries again with the answers. In the legacy era the
//! server asks by requests of its own, and makes the same rounds with the answers.

use std::sync::Arc;

use rmcp::ErrorData;
use rmcp::model::RequestStateCodec;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, GetPromptResponse, GetPromptResult,
    InputRequests, InputRequiredResult, InputResponses,
};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Map, Value, json};

use crate::prompts::user;
use crate::server::Reference;
use crate::tools::{argument, decode, text};

/// Signs the states that are handed out, so that a changed one is noticed.
#[derive(Clone)]
pub(crate) struct Seal(Arc<RequestStateCodec>);

impl Seal {
    /// The key is fixed: this server guards nothing, and a state may come back to another process of it.
    pub(crate) fn new() -> Self {
        Self(Arc::new(RequestStateCodec::new(*b"a key for tests, guarding nothing")))
    }

    fn close(&self, state: &Value) -> Result<String, ErrorData> {
        self.0.seal_json(state).map_err(|error| ErrorData::internal_error(error.to_string(), None))
    }

    fn open(&self, sealed: &str) -> Result<Value, ErrorData> {
        self.0
            .open_json(sealed)
            .map_err(|_| ErrorData::invalid_params("requestState integrity check failed", None))
    }
}

/// Whether a tool is one of those that ask something.
pub(crate) fn is_tool(tool: &str) -> bool {
    ["test_input_required_result_", "test_sampling", "test_elicitation"]
        .iter()
        .any(|own| tool.starts_with(own))
}

/// The tools that ask something: `test_input_required_result_*`, `test_sampling` and `test_elicitation*`.
pub(crate) async fn tool(
    reference: &Reference,
    mut request: CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    loop {
        match round(reference, &request, context)? {
            CallToolResponse::InputRequired(asks) if !is_modern(context) => {
                let asks = serde_json::to_value(&asks).unwrap_or_default();
                match answers_to(&asks["inputRequests"], context).await {
                    Ok(answers) => request.input_responses = Some(answers),
                    Err(why) => return done(&format!("Not supported or error: {why}")),
                }
                request.request_state = asks["requestState"].as_str().map(ToOwned::to_owned);
            }
            answer => return Ok(answer),
        }
    }
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.meta.contains_key("io.modelcontextprotocol/protocolVersion")
}

/// Asks a legacy client one thing after the other.
async fn answers_to(asks: &Value, context: &RequestContext<RoleServer>) -> Result<InputResponses, String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let mut answers = InputResponses::new();
    for (key, ask) in asks.as_object().into_iter().flatten() {
        let params = ask["params"].clone();
        let answer = match ask["method"].as_str() {
            Some("elicitation/create") => {
                let params = decode(params).map_err(|error| said(&error.message))?;
                serde_json::to_value(context.peer.create_elicitation(params).await.map_err(|e| said(&e))?)
            }
            Some("sampling/createMessage") => {
                let params = decode(params).map_err(|error| said(&error.message))?;
                serde_json::to_value(context.peer.create_message(params).await.map_err(|e| said(&e))?)
            }
            _ => serde_json::to_value(context.peer.list_roots().await.map_err(|e| said(&e))?),
        };
        answers.insert(key.clone(), answer.map_err(|error| said(&error))?);
    }
    Ok(answers)
}

fn round(
    reference: &Reference,
    request: &CallToolRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let seal = &reference.seal;
    let none = InputResponses::new();
    let answers = request.input_responses.as_ref().unwrap_or(&none);
    let state = request.request_state.as_deref().map(|sealed| seal.open(sealed)).transpose()?;
    let kind = state.as_ref().and_then(|state| state["kind"].as_str());
    let word = |key: &str, field: &str| {
        answers.get(key).and_then(|answer| answer["content"][field].as_str()).map(ToOwned::to_owned)
    };
    let elicited = |says: &str, message: &str, schema: Value| match answers.get("asked") {
        Some(answer) => {
            let action = answer["action"].as_str().unwrap_or_default();
            done(&format!("{says}: action={action}, content={}", answer["content"]))
        }
        None => ask(json!({ "asked": elicit(message, &schema) }), None),
    };
    match request.name.as_ref() {
        "test_sampling" => {
            return match answers.get("asked") {
                Some(answer) => done(&format!(
                    "LLM response: {}",
                    answer["content"]["text"].as_str().unwrap_or("no text")
                )),
                None => ask(json!({ "asked": sample(argument(request, "prompt")?) }), None),
            };
        }
        "test_elicitation" => {
            let schema = json!({
                "type": "object",
                "properties": { "response": { "type": "string", "description": "The user's response" } },
                "required": ["response"],
            });
            return elicited("User response", argument(request, "message")?, schema);
        }
        "test_elicitation_sep1034_defaults" => {
            let message = "Please review and update the form fields with defaults";
            return elicited("Elicitation completed", message, form_with_defaults());
        }
        "test_elicitation_sep1330_enums" => {
            let message = "Please select options from the enum fields";
            return elicited("Elicitation completed", message, form_with_choices());
        }
        _ => {}
    }
    match request.name.strip_prefix("test_input_required_result_").unwrap_or_default() {
        "elicitation" => match word("user_name", "name") {
            Some(given) => done(&format!("Hello, {given}!")),
            None => ask(json!({ "user_name": form("What is your name?", "name", "string") }), None),
        },
        "sampling" => match word("sample_request", "text") {
            Some(said) => done(&format!("Sampling result: {said}")),
            None => ask(json!({ "sample_request": sample("What is the capital of France?") }), None),
        },
        "list_roots" => match answers.get("roots_request").and_then(|answer| answer["roots"].as_array()) {
            Some(roots) => done(&format!("Found {} root(s)", roots.len())),
            None => ask(json!({ "roots_request": { "method": "roots/list", "params": {} } }), None),
        },
        "request_state" => {
            let confirmed = answers.get("confirm").is_some_and(|answer| answer["content"]["ok"] == true);
            if kind == Some("request-state") && confirmed {
                return done("state-ok: requestState validated");
            }
            let state = seal.close(&json!({ "kind": "request-state" }))?;
            ask(json!({ "confirm": form("Please confirm", "ok", "boolean") }), Some(state))
        }
        "multiple_inputs" => {
            let roots = answers.get("client_roots").and_then(|answer| answer["roots"].as_array());
            if let (Some(given), Some(greeting), Some(roots), Some("multiple-inputs")) =
                (word("user_name", "name"), word("greeting", "text"), roots, kind)
            {
                return done(&format!("Name: {given}; Greeting: {greeting}; Roots: {}", roots.len()));
            }
            let asks = json!({
                "user_name": form("What is your name?", "name", "string"),
                "greeting": sample("Generate a greeting"),
                "client_roots": { "method": "roots/list", "params": {} },
            });
            ask(asks, Some(seal.close(&json!({ "kind": "multiple-inputs" }))?))
        }
        "multi_round" => {
            let round = state.as_ref().and_then(|state| state["round"].as_u64());
            if let (Some(1), Some(given)) = (round, word("step1", "name")) {
                let state = seal.close(&json!({ "round": 2, "given": given }))?;
                let asks =
                    json!({ "step2": form("Step 2: What is your favorite color?", "color", "string") });
                return ask(asks, Some(state));
            }
            if let (Some(2), Some(color)) = (round, word("step2", "color")) {
                let given = state.as_ref().and_then(|state| state["given"].as_str()).unwrap_or_default();
                return done(&format!("Multi-round complete for {given} who likes {color}"));
            }
            let state = seal.close(&json!({ "round": 1 }))?;
            ask(json!({ "step1": form("Step 1: What is your name?", "name", "string") }), Some(state))
        }
        "tampered_state" => {
            if kind == Some("tamper-test") && answers.contains_key("confirm") {
                return done("integrity-ok: state verified");
            }
            let state = seal.close(&json!({ "kind": "tamper-test" }))?;
            ask(json!({ "confirm": form("Please confirm", "ok", "boolean") }), Some(state))
        }
        "capabilities" => {
            if !answers.is_empty() {
                let keys: Vec<&str> = answers.keys().map(String::as_str).collect();
                return done(&format!("capabilities-ok: received {}", keys.join(",")));
            }
            let capabilities = context.client_capabilities().unwrap_or_default();
            let mut asks = Map::new();
            if capabilities.elicitation.is_some() {
                asks.insert("elicit_input".into(), form("Elicitation input", "value", "string"));
            }
            if capabilities.sampling.is_some() {
                asks.insert("sample_input".into(), sample("Sample request"));
            }
            if asks.is_empty() {
                return done("No supported capabilities declared");
            }
            ask(Value::Object(asks), Some(seal.close(&json!({ "kind": "capabilities-test" }))?))
        }
        _ => Err(ErrorData::invalid_params(format!("Unknown tool: {}", request.name), None)),
    }
}

/// The prompt `test_input_required_result_prompt`.
pub(crate) async fn prompt(
    answers: Option<&InputResponses>,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let response = prompt_round(answers)?;
    let GetPromptResponse::InputRequired(asks) = &response else { return Ok(response) };
    if is_modern(context) {
        return Ok(response);
    }
    let asks = serde_json::to_value(asks).unwrap_or_default();
    let answers = answers_to(&asks["inputRequests"], context).await;
    prompt_round(Some(&answers.map_err(|why| ErrorData::internal_error(why, None))?))
}

fn prompt_round(answers: Option<&InputResponses>) -> Result<GetPromptResponse, ErrorData> {
    let given = answers
        .and_then(|answers| answers.get("user_context"))
        .and_then(|answer| answer["content"]["context"].as_str());
    let Some(given) = given else {
        let asks =
            json!({ "user_context": form("What context should the prompt use?", "context", "string") });
        return Ok(GetPromptResponse::InputRequired(required(asks, None)?));
    };
    let messages = json!([user(&text(&format!("Prompt with context: {given}")))]);
    Ok(decode::<GetPromptResult>(json!({ "messages": messages, "resultType": "complete" }))?.into())
}

fn done(said: &str) -> Result<CallToolResponse, ErrorData> {
    Ok(decode::<CallToolResult>(json!({ "content": [text(said)], "resultType": "complete" }))?.into())
}

fn ask(requests: Value, state: Option<String>) -> Result<CallToolResponse, ErrorData> {
    Ok(required(requests, state)?.into())
}

fn required(requests: Value, state: Option<String>) -> Result<InputRequiredResult, ErrorData> {
    Ok(InputRequiredResult::new(Some(decode::<InputRequests>(requests)?), state))
}

fn form(message: &str, field: &str, kind: &str) -> Value {
    let schema = json!({ "type": "object", "properties": { field: { "type": kind } }, "required": [field] });
    elicit(message, &schema)
}

fn elicit(message: &str, schema: &Value) -> Value {
    json!({
        "method": "elicitation/create",
        "params": { "mode": "form", "message": message, "requestedSchema": schema },
    })
}

fn sample(prompt: &str) -> Value {
    json!({
        "method": "sampling/createMessage",
        "params": { "messages": [user(&text(prompt))], "maxTokens": 100 },
    })
}

fn form_with_defaults() -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": "User name", "default": "John Doe" },
            "age": { "type": "integer", "description": "User age", "default": 30 },
            "score": { "type": "number", "description": "User score", "default": 95.5 },
            "status": {
                "type": "string",
                "description": "User status",
                "enum": ["active", "inactive", "pending"],
                "default": "active",
            },
            "verified": { "type": "boolean", "description": "Verification status", "default": true },
        },
        "required": [],
    })
}

fn form_with_choices() -> Value {
    let titled = |prefix: &str, words: [&str; 3]| -> Vec<Value> {
        (1..).zip(words).map(|(n, word)| json!({ "const": format!("{prefix}{n}"), "title": word })).collect()
    };
    json!({
        "type": "object",
        "properties": {
            "untitledSingle": { "type": "string", "enum": ["option1", "option2", "option3"] },
            "titledSingle": { "type": "string", "oneOf": titled("value", ["First", "Second", "Third"]) },
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": { "type": "string", "enum": ["option1", "option2", "option3"] },
            },
            "titledMulti": {
                "type": "array",
                "minItems": 1,
                "maxItems": 3,
                "items": { "anyOf": titled("value", ["First choice", "Second choice", "Third choice"]) },
            },
        },
        "required": [],
    })
}
