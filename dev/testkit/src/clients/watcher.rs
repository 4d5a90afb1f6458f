//! What the client answers when it is asked, and what it hears without asking.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::ErrorData;
use rmcp::model::{
    ClientCapabilities, ClientConfig, CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams,
    ElicitResult, Implementation, ListRootsResult, LoggingMessageNotificationParam,
    ProgressNotificationParam, ResourceUpdatedNotificationParam, ServerNotification,
};
use rmcp::service::{NotificationContext, RequestContext, RoleClient};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

const KINDS: [&str; 6] = ["asked", "logs", "updated", "changed", "completed", "progress"];

/// Keeps what arrives, and answers what is asked from what was prepared.
#[derive(Clone, Default)]
pub(crate) struct Watcher {
    answers: Value,
    heard: Arc<Mutex<Map<String, Value>>>,
    arrived: Arc<tokio::sync::Notify>,
}

impl Watcher {
    pub(crate) fn new(answers: &Value) -> Self {
        let heard = KINDS.iter().map(|kind| ((*kind).to_owned(), json!([]))).collect();
        Self { answers: answers.clone(), heard: Arc::new(Mutex::new(heard)), arrived: Arc::default() }
    }

    pub(crate) fn add(&self, kind: &str, what: Value) {
        if let Ok(mut heard) = self.heard.lock()
            && let Some(Value::Array(all)) = heard.get_mut(kind)
        {
            all.push(what);
        }
        self.arrived.notify_one();
    }

    /// Everything of a kind so far.
    pub(crate) fn of(&self, kind: &str) -> Vec<Value> {
        let heard = self.heard.lock();
        heard.ok().and_then(|heard| heard.get(kind)?.as_array().cloned()).unwrap_or_default()
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Value {
        self.heard.lock().map(|heard| Value::Object(heard.clone())).unwrap_or_default()
    }

    pub(crate) fn forget(&self, kind: &str) {
        if let Ok(mut heard) = self.heard.lock() {
            heard.insert(kind.to_owned(), json!([]));
        }
    }

    /// Everything of a kind, once there is enough of it or the time is over.
    pub(crate) async fn wait(&self, kind: &str, at_least: usize, limit: Duration) -> Vec<Value> {
        let enough = async {
            while self.of(kind).len() < at_least {
                self.arrived.notified().await;
            }
        };
        // What is missing then is seen in the answer.
        let _ = tokio::time::timeout(limit, enough).await;
        self.of(kind)
    }

    /// The answer that was prepared for a request; the request is noted.
    pub(crate) fn prepared(&self, method: &str, params: &Value) -> Value {
        self.add("asked", json!({ "method": method, "params": params }));
        match method {
            "elicitation/create" if params["mode"] == "url" => self.answers["url"].clone(),
            "elicitation/create" => self.answers["form"].clone(),
            "sampling/createMessage" if params["tools"].is_array() => self.answers["samplingTools"].clone(),
            "sampling/createMessage" => self.answers["sampling"].clone(),
            _ => json!({ "roots": self.answers["roots"] }),
        }
    }

    /// Notes what came on the stream of a subscription.
    pub(crate) fn subscribed(&self, notification: &ServerNotification) {
        match notification {
            ServerNotification::ResourceUpdatedNotification(updated) => {
                self.add("updated", json!(updated.params.uri));
            }
            ServerNotification::ToolListChangedNotification(_) => self.add("changed", json!("tools")),
            ServerNotification::PromptListChangedNotification(_) => self.add("changed", json!("prompts")),
            ServerNotification::ResourceListChangedNotification(_) => self.add("changed", json!("resources")),
            _ => {}
        }
    }
}

fn decoded<T: DeserializeOwned>(answer: Value) -> Result<T, ErrorData> {
    serde_json::from_value(answer).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// What a client can do that has these answers ready.
fn capabilities(answers: &Value) -> ClientCapabilities {
    let mut can = Map::new();
    let mut elicitation = Map::new();
    for mode in ["form", "url"] {
        if answers[mode].is_object() {
            elicitation.insert(mode.to_owned(), json!({}));
        }
    }
    if !elicitation.is_empty() {
        can.insert("elicitation".into(), Value::Object(elicitation));
    }
    if answers["sampling"].is_object() {
        let tools = if answers["samplingTools"].is_object() { json!({ "tools": {} }) } else { json!({}) };
        can.insert("sampling".into(), tools);
    }
    if answers["roots"].is_array() {
        can.insert("roots".into(), json!({ "listChanged": true }));
    }
    if answers["tasks"] == true {
        can.insert("extensions".into(), json!({ "io.modelcontextprotocol/tasks": {} }));
    }
    serde_json::from_value(Value::Object(can)).unwrap_or_default()
}

impl ClientHandler for Watcher {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(capabilities(&self.answers), Implementation::new("rmcp", "1.0.0"))
    }

    async fn create_elicitation(
        &self,
        request: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        decoded(self.prepared("elicitation/create", &json!(request)))
    }

    async fn create_message(
        &self,
        params: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        decoded(self.prepared("sampling/createMessage", &json!(params)))
    }

    async fn list_roots(&self, _: RequestContext<RoleClient>) -> Result<ListRootsResult, ErrorData> {
        decoded(self.prepared("roots/list", &json!({})))
    }

    async fn on_progress(&self, params: ProgressNotificationParam, _: NotificationContext<RoleClient>) {
        self.add("progress", json!(params.progress));
    }

    async fn on_logging_message(
        &self,
        params: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.add("logs", json!(params));
    }

    async fn on_resource_updated(
        &self,
        params: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.add("updated", json!(params.uri));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.add("changed", json!("tools"));
    }

    async fn on_prompt_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.add("changed", json!("prompts"));
    }

    async fn on_resource_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.add("changed", json!("resources"));
    }
}
