//! Tools of the reference server: those the conformance runner calls, and a few by which tests look inside.

use std::sync::atomic::Ordering;
use std::time::Duration;

use rmcp::ErrorData;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ClientCapabilities, JsonObject,
    ListToolsResult, LoggingLevel, LoggingMessageNotificationParam, ProgressNotificationParam, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::rounds;
use crate::server::Reference;

/// The smallest picture: one pixel.
pub(crate) const PIXEL_PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
/// The smallest sound: a WAV header with no samples.
const SILENCE_WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEARKwAAIhYAQACABAAZGF0YQAAAAA=";

/// A value of the SDK from its JSON; a mismatch is this server's own fault.
pub(crate) fn decode<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

const PLAIN: [(&str, &str); 25] = [
    ("test_simple_text", "Answers with a text"),
    ("test_image_content", "Answers with a picture"),
    ("test_audio_content", "Answers with a sound"),
    ("test_embedded_resource", "Answers with an embedded resource"),
    ("test_multiple_content_types", "Answers with a text, a picture and a resource"),
    ("test_tool_with_logging", "Logs while it works"),
    ("test_tool_with_progress", "Reports progress while it works"),
    ("test_error_handling", "Always fails"),
    ("test_missing_capability", "Needs a client that can sample"),
    ("test_elicitation_sep1034_defaults", "Asks the user with defaults filled in"),
    ("test_elicitation_sep1330_enums", "Asks the user to choose, in every way to choose"),
    ("test_input_required_result_elicitation", "Asks the user, in another round"),
    ("test_input_required_result_sampling", "Asks the model, in another round"),
    ("test_input_required_result_list_roots", "Asks for the roots, in another round"),
    ("test_input_required_result_request_state", "Asks the user and hands out a state"),
    ("test_input_required_result_multiple_inputs", "Asks for three things at once"),
    ("test_input_required_result_multi_round", "Asks twice"),
    ("test_input_required_result_tampered_state", "Refuses a state that was changed"),
    ("test_input_required_result_capabilities", "Asks only for what the client can do"),
    ("test_streaming_elicitation", "Reports progress, then answers"),
    ("test_logging_tool", "Logs if the request wants it"),
    ("test_trigger_tool_change", "Says that the list of tools has changed"),
    ("test_trigger_prompt_change", "Says that the list of prompts has changed"),
    ("test_reconnection", "Takes so long that a connection may break meanwhile"),
    ("observations", "Says how many calls came, wait and were cancelled"),
];

fn definitions() -> Vec<Value> {
    let mut tools: Vec<Value> = PLAIN
        .iter()
        .map(|(tool, description)| {
            json!({
                "name": tool,
                "description": description,
                "inputSchema": { "type": "object", "properties": {}, "additionalProperties": false },
            })
        })
        .collect();
    let one = |tool: &str, description: &str, argument: &str| {
        json!({
            "name": tool,
            "description": description,
            "inputSchema": {
                "type": "object",
                "properties": { argument: { "type": "string" } },
                "required": [argument],
            },
        })
    };
    tools.push(one("test_sampling", "Asks the client's model", "prompt"));
    tools.push(one("test_elicitation", "Asks the client's user", "message"));
    tools.push(one("touch_resource", "Changes a resource, and tells whoever wants to hear of it", "uri"));
    tools.push(one("echo", "Answers with its argument, also as structured content", "message"));
    tools.push(json!({
        "name": "test_header_parameter",
        "description": "Has an argument that is mirrored into an HTTP header",
        "inputSchema": {
            "type": "object",
            "properties": { "region": { "type": "string", "x-mcp-header": "Region" } },
            "required": ["region"],
        },
    }));
    tools.push(json!({
        "name": "wait_until_cancelled",
        "description": "Reports progress once and answers only when it is cancelled",
        "inputSchema": { "type": "object", "properties": {} },
    }));
    tools.push(json!({
        "name": "json_schema_2020_12_tool",
        "description": "Has an input schema with the newer words of JSON Schema",
        "inputSchema": {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "$defs": {
                "address": {
                    "$anchor": "addressDef",
                    "type": "object",
                    "properties": { "street": { "type": "string" }, "city": { "type": "string" } },
                },
            },
            "properties": {
                "name": { "type": "string" },
                "address": { "$ref": "#/$defs/address" },
                "contactMethod": { "type": "string", "enum": ["phone", "email"] },
                "phone": { "type": "string" },
                "email": { "type": "string" },
            },
            "allOf": [{ "anyOf": [{ "required": ["phone"] }, { "required": ["email"] }] }],
            "if": { "properties": { "contactMethod": { "const": "phone" } }, "required": ["contactMethod"] },
            "then": { "required": ["phone"] },
            "else": { "required": ["email"] },
            "additionalProperties": false,
        },
    }));
    tools
}

/// The definition of one tool, by which the SDK checks the headers that mirror arguments.
pub(crate) fn definition(tool: &str) -> Option<Tool> {
    definitions()
        .into_iter()
        .find(|definition| definition["name"] == tool)
        .and_then(|found| decode(found).ok())
}

/// One page of tools. The cursor is the index of the page's first tool.
pub(crate) fn list(reference: &Reference, cursor: Option<&str>) -> Result<ListToolsResult, ErrorData> {
    let mut all = definitions();
    all.extend((1..=reference.options.numbered_tools).map(|number| {
        json!({
            "name": format!("numbered_{number:04}"),
            "description": format!("Tool number {number}"),
            "inputSchema": { "type": "object", "properties": {} },
        })
    }));
    let start: usize = match cursor {
        None => 0,
        Some(cursor) => cursor
            .strip_prefix("from-")
            .and_then(|index| index.parse().ok())
            .filter(|index| *index < all.len())
            .ok_or_else(|| ErrorData::invalid_params("no such cursor", None))?,
    };
    let end = all.len().min(start + reference.options.page_size.max(1));
    let tools: Vec<Tool> = decode(Value::Array(all[start..end].to_vec()))?;
    let mut result =
        ListToolsResult::with_all_items(tools).with_ttl_ms(60_000).with_cache_scope(CacheScope::Public);
    if end < all.len() {
        result.next_cursor = Some(format!("from-{end}"));
    }
    Ok(result)
}

/// Runs one tool.
pub(crate) async fn call(
    reference: &Reference,
    request: CallToolRequestParams,
    context: RequestContext<RoleServer>,
) -> Result<CallToolResponse, ErrorData> {
    let tool = request.name.to_string();
    let content = match tool.as_str() {
        "test_simple_text" => json!([text("This is a simple text response for testing.")]),
        "test_image_content" => json!([{ "type": "image", "data": PIXEL_PNG, "mimeType": "image/png" }]),
        "test_audio_content" => json!([{ "type": "audio", "data": SILENCE_WAV, "mimeType": "audio/wav" }]),
        "test_embedded_resource" => json!([embedded(
            "test://embedded-resource",
            "text/plain",
            "This is an embedded resource content."
        )]),
        "test_multiple_content_types" => json!([
            text("Multiple content types test:"),
            { "type": "image", "data": PIXEL_PNG, "mimeType": "image/png" },
            embedded(
                "test://mixed-content-resource",
                "application/json",
                &json!({ "test": "data", "value": 123 }).to_string(),
            ),
        ]),
        "test_reconnection" => {
            // Longer than what is answered without a stream.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            json!([text("Reconnection test completed successfully")])
        }
        "test_tool_with_logging" => {
            log(&context, "Tool execution started").await;
            pause().await;
            log(&context, "Tool processing data").await;
            pause().await;
            log(&context, "Tool execution completed").await;
            json!([text("Tool with logging executed successfully")])
        }
        "test_logging_tool" => {
            if context.meta.contains_key("io.modelcontextprotocol/logLevel") {
                log(&context, "Logging was asked for").await;
            }
            json!([text("Logging evaluated")])
        }
        "test_tool_with_progress" | "test_streaming_elicitation" => {
            for step in [0_u32, 50, 100] {
                progress(&context, f64::from(step)).await;
                pause().await;
            }
            json!([text("Tool with progress executed successfully")])
        }
        "test_error_handling" => {
            return failed("This tool intentionally returns an error for testing");
        }
        "test_missing_capability" => {
            if context.client_capabilities().is_none_or(|capabilities| capabilities.sampling.is_none()) {
                let required: ClientCapabilities = decode(json!({ "sampling": {} }))?;
                return Err(ErrorData::missing_required_client_capability(required));
            }
            json!([text("Success")])
        }
        "test_trigger_tool_change" => {
            reference.changes.send_modify(|changes| changes.tools += 1);
            let _ = context.peer.notify_tool_list_changed().await;
            json!([text("Mutation triggered")])
        }
        "test_trigger_prompt_change" => {
            reference.changes.send_modify(|changes| changes.prompts += 1);
            let _ = context.peer.notify_prompt_list_changed().await;
            json!([text("Mutation triggered")])
        }
        "json_schema_2020_12_tool" => {
            json!([text(&format!(
                "Called with {}",
                Value::from(request.arguments.clone().unwrap_or_default())
            ))])
        }
        "echo" => {
            let message = argument(&request, "message")?;
            let result = json!({
                "content": [text(&format!("Echo: {message}"))],
                "structuredContent": { "message": message },
                "resultType": "complete",
            });
            return Ok(decode::<CallToolResult>(result)?.into());
        }
        "touch_resource" => {
            let uri = argument(&request, "uri")?;
            reference.watched.touch(uri).await;
            json!([text(&format!("{uri} has changed"))])
        }
        "test_header_parameter" => json!([text(&format!("In {}", argument(&request, "region")?))]),
        "observations" => json!([text(&observations(reference))]),
        "wait_until_cancelled" => {
            reference.observed.waiting.fetch_add(1, Ordering::Relaxed);
            progress(&context, 1.0).await;
            context.ct.cancelled().await;
            reference.observed.waiting.fetch_sub(1, Ordering::Relaxed);
            reference.observed.cancelled.fetch_add(1, Ordering::Relaxed);
            json!([text("cancelled")])
        }
        numbered if numbered.starts_with("numbered_") => json!([text(&format!("This is {numbered}"))]),
        asks if rounds::is_tool(asks) => return rounds::tool(reference, request, &context).await,
        other => return Err(ErrorData::invalid_params(format!("Unknown tool: {other}"), None)),
    };
    Ok(decode::<CallToolResult>(json!({ "content": content, "resultType": "complete" }))?.into())
}

fn observations(reference: &Reference) -> String {
    let observed = &reference.observed;
    json!({
        "calls": observed.calls.load(Ordering::Relaxed),
        "waiting": observed.waiting.load(Ordering::Relaxed),
        "cancelled": observed.cancelled.load(Ordering::Relaxed),
        "subscriptions": reference.watched.observations(),
    })
    .to_string()
}

pub(crate) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn embedded(uri: &str, mime_type: &str, text: &str) -> Value {
    json!({ "type": "resource", "resource": { "uri": uri, "mimeType": mime_type, "text": text } })
}

fn failed(message: &str) -> Result<CallToolResponse, ErrorData> {
    Ok(decode::<CallToolResult>(
        json!({ "content": [text(message)], "isError": true, "resultType": "complete" }),
    )?
    .into())
}

pub(crate) fn argument<'a>(request: &'a CallToolRequestParams, key: &str) -> Result<&'a str, ErrorData> {
    let arguments: Option<&JsonObject> = request.arguments.as_ref();
    arguments
        .and_then(|arguments| arguments.get(key))
        .and_then(Value::as_str)
        .ok_or_else(|| ErrorData::invalid_params(format!("missing argument {key}"), None))
}

/// The runner wants to see that notifications come while the tool still works.
async fn pause() {
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn log(context: &RequestContext<RoleServer>, message: &str) {
    let param = LoggingMessageNotificationParam::new(LoggingLevel::Info, message.into());
    let sent = context.peer.notify_logging_message(param).await;
    // A client that has left needs no log.
    drop(sent);
}

async fn progress(context: &RequestContext<RoleServer>, done: f64) {
    let Some(token) = context.meta.get_progress_token() else { return };
    let mut param = ProgressNotificationParam::new(token, done);
    param.total = Some(100.0);
    param.message = Some(format!("Completed step {done} of 100"));
    drop(context.peer.notify_progress(param).await);
}
