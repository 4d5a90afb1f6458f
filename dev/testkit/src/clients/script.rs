//! The steps of a script: each is one thing to do, and its outcome is the result as the SDK understood it.

use std::time::{Duration, Instant};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientRequest, CompleteRequestParams, CreateTaskResult,
    GetPromptRequestParams, GetTaskParams, ListPromptsRequest, ListResourceTemplatesRequest,
    ListResourcesRequest, ListToolsRequest, PaginatedRequestParams, ReadResourceRequestParams,
    SetLevelRequestParams, SubscribeRequestParams, SubscriptionFilter, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::Subscription;
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;

use crate::{Client, Outcome, failed, params, written};

const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

/// What the steps before left behind.
#[derive(Default)]
struct Ground {
    /// Wanted by each request of a modern connection.
    level: Option<Value>,
    /// Follows the stream of a subscription.
    listening: Option<JoinHandle<()>>,
}

/// Does the steps, one after the other.
pub(crate) async fn run(client: &Client, modern: bool, steps: &Value) -> Value {
    let mut ground = Ground::default();
    let mut outcomes = Vec::new();
    for wanted in steps.as_array().into_iter().flatten() {
        outcomes.push(written(step(client, modern, &mut ground, wanted).await));
    }
    if let Some(listening) = ground.listening {
        listening.abort();
    }
    Value::Array(outcomes)
}

async fn step(client: &Client, modern: bool, ground: &mut Ground, wanted: &Value) -> Outcome {
    let peer = client.running.peer();
    match wanted["do"].as_str().unwrap_or_default() {
        "call" => call(client, ground, wanted).await,
        "ping" => client.ping().await,
        "hear" => {
            let at_least = usize::try_from(wanted["atLeast"].as_u64().unwrap_or(1)).unwrap_or(1);
            let limit = Duration::from_millis(wanted["withinMs"].as_u64().unwrap_or(20_000));
            let kind = wanted["what"].as_str().unwrap_or_default();
            Ok(Value::Array(client.watcher.wait(kind, at_least, limit).await))
        }
        "until" => until(client, wanted).await,
        "page" => page(client, wanted).await,
        "whole" => whole(client, wanted).await,
        "readResource" => {
            let wanted: ReadResourceRequestParams = params(json!({ "uri": wanted["uri"] }))?;
            client.running.read_resource(wanted).await.map(|read| json!(read)).map_err(|error| failed(&error))
        }
        "getPrompt" => {
            let wanted: GetPromptRequestParams =
                params(json!({ "name": wanted["name"], "arguments": wanted["arguments"] }))?;
            client.running.get_prompt(wanted).await.map(|got| json!(got)).map_err(|error| failed(&error))
        }
        "completed" => {
            let mut asked = wanted.clone();
            if let Some(asked) = asked.as_object_mut() {
                asked.remove("do");
            }
            let wanted: CompleteRequestParams = params(asked)?;
            peer.complete(wanted).await.map(|result| json!(result)).map_err(|error| failed(&error))
        }
        "setLevel" if modern => {
            ground.level = Some(wanted["level"].clone());
            Ok(json!({}))
        }
        "setLevel" => {
            let wanted: SetLevelRequestParams = params(json!({ "level": wanted["level"] }))?;
            peer.set_level(wanted).await.map(|()| json!({})).map_err(|error| failed(&error))
        }
        "watch" if modern => listen(client, ground, wanted).await,
        "watch" => {
            for uri in wanted["uris"].as_array().into_iter().flatten() {
                let wanted: SubscribeRequestParams = params(json!({ "uri": uri }))?;
                peer.subscribe(wanted).await.map_err(|error| failed(&error))?;
            }
            Ok(json!({ "resourceSubscriptions": wanted["uris"] }))
        }
        "unwatch" => {
            if let Some(listening) = ground.listening.take() {
                listening.abort();
                // The subscription is dropped with the task, which queues its cancellation ahead of what is asked next.
                let _ = listening.await;
                return Ok(json!({}));
            }
            for uri in wanted["uris"].as_array().into_iter().flatten() {
                let wanted: UnsubscribeRequestParams = params(json!({ "uri": uri }))?;
                peer.unsubscribe(wanted).await.map_err(|error| failed(&error))?;
            }
            Ok(json!({}))
        }
        other => Err((None, format!("this client does not know the step {other}"))),
    }
}

async fn call(client: &Client, ground: &Ground, wanted: &Value) -> Outcome {
    let mut asked = json!({ "name": wanted["name"], "arguments": wanted["arguments"] });
    if let Some(level) = &ground.level {
        asked["_meta"] = json!({ LOG_LEVEL: level });
    }
    let asked: CallToolRequestParams = params(asked)?;
    if wanted["task"] != true {
        let result = client.running.call_tool(asked).await.map_err(|error| failed(&error))?;
        return Ok(json!(result));
    }
    match client.running.peer().call_tool_once(asked).await.map_err(|error| failed(&error))? {
        CallToolResponse::Task(task) => as_task(client, task).await,
        other => Err((None, format!("no task came of it: {other:?}"))),
    }
}

/// Follows a task to its end: what was said of it, and its result.
async fn as_task(client: &Client, made: CreateTaskResult) -> Outcome {
    let peer = client.running.peer();
    let id = made.task.task_id.clone();
    let pause = Duration::from_millis(made.task.poll_interval_ms.unwrap_or(100));
    let mut said = vec![json!(made)];
    loop {
        let state = peer.get_task(GetTaskParams::new(id.clone())).await.map_err(|error| failed(&error))?;
        let state = json!(state);
        said.push(state.clone());
        match state["status"].as_str().unwrap_or_default() {
            "working" => {}
            "input_required" => {
                let mut answers = Map::new();
                for (key, asked) in state["inputRequests"].as_object().into_iter().flatten() {
                    let method = asked["method"].as_str().unwrap_or_default();
                    answers.insert(key.clone(), client.watcher.prepared(method, &asked["params"]));
                }
                let update = UpdateTaskParams::new(id.clone(), params(Value::Object(answers))?);
                peer.update_task(update).await.map_err(|error| failed(&error))?;
            }
            "completed" => {
                let mut result = state["result"].clone();
                result["said"] = Value::Array(said);
                return Ok(result);
            }
            _ => return Err((None, format!("the task ended otherwise: {state}"))),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Calls a tool again and again, until what it says contains something.
async fn until(client: &Client, wanted: &Value) -> Outcome {
    let limit = Duration::from_millis(wanted["withinMs"].as_u64().unwrap_or(20_000));
    let contains = wanted["contains"].as_str().unwrap_or_default();
    let begun = Instant::now();
    loop {
        let said = client.call(&json!({ "name": wanted["name"], "arguments": {} })).await?;
        let text = said["text"].as_str().unwrap_or_default();
        if text.contains(contains) {
            return Ok(said);
        }
        if begun.elapsed() > limit {
            return Err((None, format!("no {contains} in {text}")));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One page of a list, from the server and not from the SDK's cache.
async fn page(client: &Client, wanted: &Value) -> Outcome {
    let cursor = wanted["cursor"].as_str();
    let from: Option<PaginatedRequestParams> =
        cursor.map(|cursor| params(json!({ "cursor": cursor }))).transpose()?;
    let request = match wanted["list"].as_str().unwrap_or_default() {
        "tools" => ClientRequest::ListToolsRequest(ListToolsRequest { params: from, ..Default::default() }),
        "resources" => {
            ClientRequest::ListResourcesRequest(ListResourcesRequest { params: from, ..Default::default() })
        }
        "templates" => ClientRequest::ListResourceTemplatesRequest(ListResourceTemplatesRequest {
            params: from,
            ..Default::default()
        }),
        _ => ClientRequest::ListPromptsRequest(ListPromptsRequest { params: from, ..Default::default() }),
    };
    let result = client.running.peer().send_request(request).await.map_err(|error| failed(&error))?;
    Ok(json!(result))
}

/// Every entry of a list, over all its pages.
async fn whole(client: &Client, wanted: &Value) -> Outcome {
    let list = wanted["list"].as_str().unwrap_or_default();
    let member = if list == "templates" { "resourceTemplates" } else { list };
    let mut asked = wanted.clone();
    let mut entries = Vec::new();
    loop {
        let page = page(client, &asked).await?;
        entries.extend(page[member].as_array().into_iter().flatten().cloned());
        if page["nextCursor"].is_null() {
            return Ok(Value::Array(entries));
        }
        asked["cursor"] = page["nextCursor"].clone();
    }
}

async fn listen(client: &Client, ground: &mut Ground, wanted: &Value) -> Outcome {
    let mut filter = Map::new();
    filter.insert("resourceSubscriptions".into(), wanted["uris"].clone());
    for list in wanted["lists"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        filter.insert(format!("{list}ListChanged"), json!(true));
    }
    let filter: SubscriptionFilter = params(Value::Object(filter))?;
    let subscription = client.running.peer().listen(filter).await.map_err(|error| failed(&error))?;
    let honoured = json!(subscription.acknowledged());
    let watcher = client.watcher.clone();
    ground.listening = Some(tokio::spawn(follow(subscription, watcher)));
    Ok(honoured)
}

async fn follow(mut subscription: Subscription, watcher: crate::watcher::Watcher) {
    while let Ok(Some(notification)) = subscription.next().await {
        watcher.subscribed(&notification);
    }
}
