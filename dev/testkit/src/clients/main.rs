//! Runs the jobs that a test hands over on stdin through the client of the official Rust SDK, and prints what was seen
//! as JSON. Jobs and answers have the shape that `tests/e2e/src/clients.rs` documents.

#![expect(deprecated, reason = "legacy clients still use what the SDK marks as going away")]

mod script;
mod watcher;

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, CompleteRequestParams,
    GetPromptRequestParams, ProtocolVersion, ReadResourceRequestParams,
};
use rmcp::service::{PeerRequestOptions, RoleClient, RunningService, ServiceError};
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientLifecycleMode, ClientServiceExt as _};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::watcher::Watcher;

/// What a step came to: the answer's JSON, or the error's code and text.
pub(crate) type Outcome = Result<Value, (Option<i32>, String)>;

/// One thread: the SDK handles each notification in a task of its own, and only so do they stay in order.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // The SDK's HTTP client wants to know its cryptography, also where it only speaks plain HTTP.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        return ExitCode::FAILURE;
    }
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let Ok(wanted) = serde_json::from_str::<Value>(&line) else { return ExitCode::from(64) };
        let limit = Duration::from_secs(wanted["timeoutS"].as_u64().unwrap_or(30));
        let done = tokio::time::timeout(limit, job(&wanted)).await;
        let seen = match done {
            Ok(Ok(seen)) => seen,
            Ok(Err(problem)) => json!({ "id": wanted["id"], "error": { "message": problem } }),
            Err(_) => {
                json!({ "id": wanted["id"], "error": { "message": format!("no end after {limit:?}") } })
            }
        };
        if writeln!(std::io::stdout(), "{seen}").is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// A connection and what was heard on it.
struct Client {
    running: RunningService<RoleClient, Watcher>,
    watcher: Watcher,
}

async fn connect(to: &Value) -> Result<Client, String> {
    let watcher = Watcher::new(&to["answers"]);
    let lifecycle = match to["mode"].as_str() {
        Some("legacy") => ClientLifecycleMode::Initialize,
        _ => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
    };
    let running = if let Some(url) = to["url"].as_str() {
        let transport = StreamableHttpClientTransport::from_uri(url.to_owned());
        watcher.clone().serve_with_lifecycle(transport, lifecycle).await
    } else {
        let words: Vec<&str> =
            to["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let (program, args) =
            words.split_first().ok_or("neither a URL nor a command that this client can use")?;
        let mut command = tokio::process::Command::new(program);
        command.args(args);
        let transport = TokioChildProcess::new(command).map_err(|error| error.to_string())?;
        watcher.clone().serve_with_lifecycle(transport, lifecycle).await
    };
    Ok(Client { running: running.map_err(|error| error.to_string())?, watcher })
}

async fn job(wanted: &Value) -> Result<Value, String> {
    let client = connect(&wanted["connect"]).await?;
    let mut seen = Map::new();
    seen.insert("id".into(), wanted["id"].clone());
    let protocol = client.running.peer().peer_info().map(|info| info.protocol_version.to_string());
    let modern = protocol.as_deref() == Some("2026-07-28");
    seen.insert("protocol".into(), json!(protocol));
    for list in ["tools", "resources", "templates", "prompts"] {
        let asked = match wanted["lists"].as_array() {
            Some(lists) => lists.iter().any(|one| one == list),
            None => list == "tools" && wanted["script"].is_null(),
        };
        if asked {
            seen.insert(list.into(), written(client.list(list).await));
        }
    }
    if wanted["ping"] == true {
        seen.insert("ping".into(), written(client.ping().await));
    }
    let mut parts = Map::new();
    for (key, steps) in wanted["parts"].as_object().into_iter().flatten() {
        parts.insert(key.clone(), client.part(steps).await);
    }
    seen.insert("parts".into(), Value::Object(parts));
    if wanted["cancel"].is_object() {
        seen.insert("cancel".into(), written(client.cancel(&wanted["cancel"]).await));
    }
    if wanted["script"].is_array() {
        seen.insert("script".into(), script::run(&client, modern, &wanted["script"]).await);
        seen.insert("heard".into(), client.watcher.all());
    }
    client.running.cancel().await.map_err(|error| error.to_string())?;
    Ok(Value::Object(seen))
}

fn written(outcome: Outcome) -> Value {
    match outcome {
        Ok(value) => json!({ "ok": value }),
        Err((code, message)) => json!({ "error": { "code": code, "message": message } }),
    }
}

fn failed(error: &ServiceError) -> (Option<i32>, String) {
    match error {
        ServiceError::McpError(error) => (Some(error.code.0), error.message.to_string()),
        other => (None, other.to_string()),
    }
}

fn params<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, (Option<i32>, String)> {
    serde_json::from_value(value).map_err(|error| (None, error.to_string()))
}

impl Client {
    async fn list(&self, which: &str) -> Outcome {
        let peer = self.running.peer();
        let strings = match which {
            "tools" => peer
                .list_all_tools()
                .await
                .map(|all| all.into_iter().map(|tool| tool.name.to_string()).collect()),
            "prompts" => {
                peer.list_all_prompts().await.map(|all| all.into_iter().map(|prompt| prompt.name).collect())
            }
            "resources" => {
                peer.list_all_resources().await.map(|all| all.into_iter().map(|one| one.uri).collect())
            }
            _ => peer
                .list_all_resource_templates()
                .await
                .map(|all| all.into_iter().map(|template| template.uri_template).collect::<Vec<String>>()),
        };
        strings.map(|strings| json!(strings)).map_err(|error| failed(&error))
    }

    async fn ping(&self) -> Outcome {
        let request = ClientRequest::PingRequest(rmcp::model::PingRequest::default());
        self.running.peer().send_request(request).await.map(|_| json!({})).map_err(|error| failed(&error))
    }

    async fn part(&self, steps: &Value) -> Value {
        let mut done = Map::new();
        for (key, step) in steps.as_object().into_iter().flatten() {
            let outcome = match key.as_str() {
                "tool" | "toolError" | "unknownTool" => self.call(step).await,
                "resource" => self.read(step).await,
                "prompt" => self.prompt(step).await,
                "completion" => self.complete(step).await,
                "progress" => self.progress(step).await,
                other => Err((None, format!("this client does not know the step {other}"))),
            };
            done.insert(key.clone(), written(outcome));
        }
        Value::Object(done)
    }

    async fn call(&self, step: &Value) -> Outcome {
        let wanted: CallToolRequestParams =
            params(json!({ "name": step["name"], "arguments": step["arguments"] }))?;
        let result = self.running.peer().call_tool(wanted).await.map_err(|error| failed(&error))?;
        Ok(called(&result))
    }

    async fn read(&self, uri: &Value) -> Outcome {
        let wanted: ReadResourceRequestParams = params(json!({ "uri": uri }))?;
        let result = self.running.peer().read_resource(wanted).await.map_err(|error| failed(&error))?;
        Ok(json!({ "text": texts(&json!(result.contents)) }))
    }

    async fn prompt(&self, step: &Value) -> Outcome {
        let wanted: GetPromptRequestParams =
            params(json!({ "name": step["name"], "arguments": step["arguments"] }))?;
        let result = self.running.peer().get_prompt(wanted).await.map_err(|error| failed(&error))?;
        let contents: Vec<Value> = result.messages.iter().map(|message| json!(message.content)).collect();
        Ok(json!({ "text": texts(&Value::Array(contents)) }))
    }

    async fn complete(&self, step: &Value) -> Outcome {
        let wanted: CompleteRequestParams = params(step.clone())?;
        let result = self.running.peer().complete(wanted).await.map_err(|error| failed(&error))?;
        Ok(json!({ "values": result.completion.values }))
    }

    async fn progress(&self, step: &Value) -> Outcome {
        self.watcher.forget("progress");
        let mut answer = self.call(step).await?;
        let at_least = usize::try_from(step["atLeast"].as_u64().unwrap_or(1)).unwrap_or(1);
        // Notifications sent before the answer may be handled a moment after it.
        let seen = self.watcher.wait("progress", at_least, Duration::from_secs(10)).await;
        let seen: Vec<f64> = seen.iter().filter_map(Value::as_f64).collect();
        answer["notifications"] = json!(seen.len());
        answer["increasing"] = json!(seen.windows(2).all(|pair| pair[0] < pair[1]));
        Ok(answer)
    }

    /// Starts a call, and cancels it once its first progress notification shows that the server is at work.
    async fn cancel(&self, step: &Value) -> Outcome {
        self.watcher.forget("progress");
        let wanted: CallToolRequestParams =
            params(json!({ "name": step["name"], "arguments": step["arguments"] }))?;
        let request = ClientRequest::CallToolRequest(CallToolRequest::new(wanted));
        let call =
            self.running.peer().send_cancellable_request(request, PeerRequestOptions::no_options()).await;
        let call = call.map_err(|error| failed(&error))?;
        if self.watcher.wait("progress", 1, Duration::from_secs(15)).await.is_empty() {
            return Err((None, "the call reported no progress".to_owned()));
        }
        call.cancel(Some("the test says so".into())).await.map_err(|error| failed(&error))?;
        Ok(json!({ "started": true }))
    }
}

fn called(result: &CallToolResult) -> Value {
    json!({ "isError": result.is_error.unwrap_or(false), "text": texts(&json!(result.content)) })
}

/// The texts among contents, one per line.
fn texts(contents: &Value) -> String {
    let texts: Vec<&str> =
        contents.as_array().into_iter().flatten().filter_map(|one| one["text"].as_str()).collect();
    texts.join("\n")
}
