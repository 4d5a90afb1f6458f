//! What the gateway makes of servers that are registered: what it understands of them, what they say when they are asked, and who
//! could call them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tollgate_model::{ServerId, ServerName, TenantId};
use tollgate_store::{About, List, Registration, RegistrationId};
use utoipa::ToSchema;

/// The part of a gateway that knows of registered servers.
#[async_trait]
pub trait Registry {
    /// Understands how a server is reached, and whether this gateway would serve it. Nobody is asked.
    ///
    /// # Errors
    /// All that is wrong with it, or not allowed here.
    fn read_server(&self, id: &RegistrationId, reach: &str, about: About) -> Result<ReadServer, Vec<String>>;

    /// Finds the servers of another program's file, of a `server.json`, or of a registry.
    ///
    /// # Errors
    /// Why there are none.
    async fn find_servers(&self, source: ImportSource) -> Result<Vec<FoundServer>, String>;

    /// Asks a server that is not served yet for its tools, with its credentials, and judges them as if it were served.
    ///
    /// # Errors
    /// Why it cannot be asked, fit for whoever looks at it.
    async fn review(&self, registration: &Registration) -> Result<Review, String>;

    /// What is to be said of what a server that is served lists, in the order of the items.
    fn judge(&self, server: &ServerId, list: List, items: &[Bytes]) -> Vec<Judged>;

    /// Who among the callers of a tenant could call these tools of a server, now and from anywhere. In the order of the tools.
    /// None where no policy decides: whoever is let in could.
    async fn callers(
        &self,
        tenant: &TenantId,
        server: &ServerName,
        tools: &[Arc<str>],
    ) -> Option<Vec<ToolCallers>>;
}

/// A server as it is understood.
#[derive(Debug, Clone)]
pub struct ReadServer {
    /// How it is reached, as it is kept.
    pub reach: Arc<str>,
    /// What is said of it.
    pub about: About,
}

/// Where servers are found.
#[derive(Debug, Clone)]
pub enum ImportSource {
    /// A document: a client's file, or a `server.json`.
    Document(Arc<str>),
    /// The URL of a document, or of a registry of version 0.1, and which of its servers; all if none is named.
    Url(Arc<str>, Vec<String>),
}

/// A server that was found.
#[derive(Debug, Clone)]
pub struct FoundServer {
    /// What it is called there, in whole.
    pub full: String,
    /// The same in short: what its name here is made from.
    pub label: String,
    /// Its version there.
    pub version: String,
    /// How it is reached; or why no gateway could.
    pub reach: Result<Arc<str>, String>,
    /// What is said of it there.
    pub about: About,
}

/// What a server said that is not served yet, and what would become of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Review {
    /// The revision of the protocol that was spoken with it.
    pub revision: String,
    /// Why no gateway of this configuration would serve it, were it approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_served: Option<String>,
    /// Its tools.
    pub tools: Vec<ReviewedTool>,
    /// What else it lists: `prompts`, `resources` and `resource_templates`.
    pub lists: Vec<ReviewedList>,
}

/// A list of a server that is looked at, other than that of its tools.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewedList {
    /// Which: `prompts`, `resources` or `resource_templates`.
    pub list: &'static str,
    /// Why it could not be read. A server that has no such list has an empty one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
    /// What is in it.
    pub items: Vec<ReviewedItem>,
}

/// A prompt, a resource or a template of a server that is looked at. Texts in it are the server's words.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewedItem {
    /// Its name, URI or template.
    pub name: String,
    /// Its definition, as the server wrote it.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// The digest of its definition.
    pub digest: String,
    /// What guards find in it.
    pub findings: Vec<ToolFinding>,
    /// How it compares with what was pinned of the server under this name: `same`, `other`, `waiting` or `new`.
    pub pin: &'static str,
}

/// What is to be said of something that a server lists.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Judged {
    /// What guards find in it.
    pub findings: Vec<ToolFinding>,
    /// How it compares with what is approved of the server under this name: `same`, `other`, `waiting` or `new`. Absent where
    /// its definitions are not pinned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pin: Option<&'static str>,
}

/// A tool of a server that is looked at. Texts in it are the server's words.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReviewedTool {
    /// Its name.
    pub name: String,
    /// Its definition, as the server wrote it.
    #[schema(value_type = Object)]
    pub definition: Box<RawValue>,
    /// The digest of its definition.
    pub digest: String,
    /// What guards find in it.
    pub findings: Vec<ToolFinding>,
    /// How it compares with what was pinned of the server under this name: `same`, `other`, `waiting` or `new`.
    pub pin: &'static str,
    /// Who could call it; absent where no policy decides.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<ToolCallers>,
}

/// What a guard finds in a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ToolFinding {
    /// The rule.
    pub rule: String,
    /// How sure it is, in percent.
    pub confidence: u8,
    /// Where in the definition.
    pub path: String,
}

/// Who could call a tool.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCallers {
    /// The rules that are about it, whoever calls.
    pub rules: Vec<RuleCard>,
    /// The known keys whose agents would see it. What depends on where a call comes from is not known here.
    pub keys: Vec<KeyCard>,
    /// Whether there are more keys than were looked at.
    pub has_more_keys: bool,
}

/// A rule of a policy.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleCard {
    /// Its id.
    pub id: String,
    /// Whether it permits; otherwise it forbids.
    pub is_permit: bool,
    /// Whether it is the operator's, for all tenants.
    pub is_operator: bool,
    /// Its file.
    pub path: String,
    /// The line, from 1.
    pub line: u32,
    /// What it says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whom it is about, as policies write it; absent for anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// Its conditions.
    pub conditions: Vec<String>,
}

/// A key whose agent could call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct KeyCard {
    /// Its id.
    pub id: String,
    /// Its agent.
    pub agent: String,
    /// The groups of the agent.
    pub groups: Vec<String>,
}
