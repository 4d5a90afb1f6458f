//! Prompts of the reference server.

use rmcp::ErrorData;
use rmcp::model::{GetPromptRequestParams, GetPromptResponse, GetPromptResult, ListPromptsResult, Prompt};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::{Value, json};

use crate::rounds;
use crate::tools::{PIXEL_PNG, decode};

/// Every prompt, on one page.
pub(crate) fn list() -> Result<ListPromptsResult, ErrorData> {
    let prompts: Vec<Prompt> = decode(json!([
        { "name": "test_simple_prompt", "title": "Simple prompt", "description": "A prompt without arguments" },
        {
            "name": "test_prompt_with_arguments",
            "description": "A prompt with two arguments",
            "arguments": [
                { "name": "arg1", "description": "The first argument", "required": true },
                { "name": "arg2", "description": "The second argument", "required": true },
            ],
        },
        {
            "name": "test_prompt_with_embedded_resource",
            "description": "A prompt that embeds the resource it is given",
            "arguments": [{ "name": "resourceUri", "description": "The resource to embed", "required": true }],
        },
        { "name": "test_prompt_with_image", "description": "A prompt with a picture" },
        { "name": "test_input_required_result_prompt", "description": "A prompt that asks the user first" },
    ]))?;
    Ok(ListPromptsResult::with_all_items(prompts)
        .with_ttl_ms(60_000)
        .with_cache_scope(rmcp::model::CacheScope::Public))
}

/// One prompt with its arguments filled in.
pub(crate) async fn get(
    request: &GetPromptRequestParams,
    context: &RequestContext<RoleServer>,
) -> Result<GetPromptResponse, ErrorData> {
    let argument = |key: &str| {
        request
            .arguments
            .as_ref()
            .and_then(|arguments| arguments.get(key))
            .and_then(Value::as_str)
            .ok_or_else(|| ErrorData::invalid_params(format!("missing argument {key}"), None))
    };
    let messages = match request.name.as_str() {
        "test_simple_prompt" => json!([user(&text("This is a simple prompt for testing."))]),
        "test_prompt_with_arguments" => {
            let (first, second) = (argument("arg1")?, argument("arg2")?);
            json!([user(&text(&format!("Prompt with arguments: arg1='{first}', arg2='{second}'")))])
        }
        "test_prompt_with_embedded_resource" => {
            let uri = argument("resourceUri")?;
            let body = "Embedded resource content for testing.";
            let resource = json!({ "uri": uri, "mimeType": "text/plain", "text": body });
            json!([
                user(&json!({ "type": "resource", "resource": resource })),
                user(&text("Please process the embedded resource above.")),
            ])
        }
        "test_prompt_with_image" => json!([
            user(&json!({ "type": "image", "data": PIXEL_PNG, "mimeType": "image/png" })),
            user(&text("Please analyze the image above.")),
        ]),
        "test_input_required_result_prompt" => {
            return rounds::prompt(request.input_responses.as_ref(), context).await;
        }
        other => return Err(ErrorData::invalid_params(format!("no prompt is called {other}"), None)),
    };
    let result: GetPromptResult = decode(json!({ "messages": messages, "resultType": "complete" }))?;
    Ok(result.into())
}

pub(crate) fn text(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

pub(crate) fn user(content: &Value) -> Value {
    json!({ "role": "user", "content": content })
}
