//! What was last known of the servers of one tenant: their tools' definitions, and what the operator says of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use tollgate_model::{EndpointName, ServerName, TenantId, Timestamp};

/// One tool as its server last listed it: what policies are written about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolDefinition {
    /// The server's own name of it.
    pub native: Arc<str>,
    /// Its `inputSchema`, as the server wrote it; none if it has none.
    pub input_schema: Option<Bytes>,
    /// `annotations.readOnlyHint`; false if the server does not say so.
    pub read_only: bool,
    /// `annotations.destructiveHint`; true unless the tool is read-only or the server says otherwise (2025-11-25, schema).
    pub destructive: bool,
}

/// What an operator says of one tool.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ToolFacts {
    /// How dangerous it is: the server's risk if absent.
    pub risk: Option<Arc<str>>,
    /// What the operator knows better than the server's own annotation.
    pub read_only: Option<bool>,
    /// What the operator knows better than the server's own annotation.
    pub destructive: Option<bool>,
    /// Scopes that an access token needs for it, beside the server's.
    pub scopes: Vec<Arc<str>>,
}

/// What an operator says of one server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ServerFacts {
    /// How dangerous it is, in the operator's own word.
    pub risk: Option<Arc<str>>,
    /// Who answers for it.
    pub owner: Option<Arc<str>>,
    /// Where it belongs, such as `production`.
    pub environment: Option<Arc<str>>,
    /// Scopes that an access token needs for anything on it.
    pub scopes: Vec<Arc<str>>,
    /// What is said of single tools, by native name.
    pub tools: BTreeMap<Arc<str>, ToolFacts>,
    /// When it will be gone, if it is deprecated. Clients are told.
    pub sunset: Option<Timestamp>,
    /// What a registry says of it, its newest version first; nothing of one that was not registered.
    pub published: Vec<Published>,
}

/// What a registry says of one version of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The version.
    pub version: Arc<str>,
    /// What the server is for.
    pub description: Option<Arc<str>>,
    /// The URL of its documentation.
    pub documentation: Option<Arc<str>>,
    /// When it was approved.
    pub since: Timestamp,
    /// When anything of it was changed last.
    pub changed: Timestamp,
    /// When it will be gone, if it is deprecated.
    pub sunset: Option<Timestamp>,
}

/// One server as policies see it.
#[derive(Debug, Clone)]
pub struct KnownServer {
    /// Its name.
    pub name: ServerName,
    /// What the operator says of it.
    pub facts: Arc<ServerFacts>,
    /// Its tools as it last listed them; none if it never has.
    pub tools: Option<Arc<[ToolDefinition]>>,
}

/// Everything that the callers of one tenant could be allowed.
#[derive(Debug, Clone)]
pub struct Known {
    /// The tenant.
    pub tenant: TenantId,
    /// Its servers, its own and shared ones, in the order of the configuration.
    pub servers: Vec<KnownServer>,
    /// The toolsets.
    pub toolsets: Vec<KnownToolset>,
    /// What can be looked for in what passes, and taken out of it, by the words that policies may write.
    pub redactions: Vec<Arc<str>>,
}

/// One toolset as policies see it.
#[derive(Debug, Clone)]
pub struct KnownToolset {
    /// Its name.
    pub name: EndpointName,
    /// The tools that it holds: the server, and the native name, or all of the server's where there is none.
    pub tools: Vec<(ServerName, Option<Arc<str>>)>,
}
