//! What an operator says exists, as meant: the servers' names in their order, and the toolsets.

use bytes::Bytes;
use tollgate_model::{EndpointName, ServerName};

/// A named choice of tools, resources and prompts from several servers, served at `/mcp/{name}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolsetSettings {
    /// The endpoint's name. It shares one namespace with the servers.
    pub name: EndpointName,
    /// What the toolset is for. Clients see it as the endpoint's instructions.
    pub description: Option<String>,
    /// The chosen tools, in the order in which they are listed.
    pub tools: Vec<ToolChoice>,
    /// The chosen resources and resource templates.
    pub resources: Vec<ResourceChoice>,
    /// The chosen prompts, in the order in which they are listed.
    pub prompts: Vec<PromptChoice>,
}

/// Which of a server's things a choice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// Everything that the server offers of this kind. Cannot be renamed or pinned.
    All,
    /// The one with this native name.
    Native(String),
}

/// One entry of [`ToolsetSettings::tools`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolChoice {
    /// The server that has the tool.
    pub server: ServerName,
    /// Which tool.
    pub pick: Pick,
    /// The name in this toolset; the public name (`server__tool`) if absent. 1 to 64 characters of `A-Za-z0-9_.-`.
    pub rename: Option<String>,
    /// The description in this toolset; the server's own if absent.
    pub description: Option<String>,
    /// Arguments that every call gets, as raw JSON by name. They vanish from the tool's schema, and a caller cannot
    /// set them.
    pub pinned: Vec<(String, Bytes)>,
}

/// One entry of [`ToolsetSettings::prompts`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptChoice {
    /// The server that has the prompt.
    pub server: ServerName,
    /// Which prompt.
    pub pick: Pick,
    /// The name in this toolset; the public name if absent.
    pub rename: Option<String>,
    /// The description in this toolset; the server's own if absent.
    pub description: Option<String>,
}

/// One entry of [`ToolsetSettings::resources`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceChoice {
    /// The server that has the resource.
    pub server: ServerName,
    /// Which URIs (or URI templates).
    pub uris: UriPick,
}

/// Which of a server's resources a choice names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UriPick {
    /// All of them.
    All,
    /// The one with exactly this URI, or the template with exactly this text.
    Exact(String),
    /// All whose URI begins with this text.
    Prefix(String),
}

impl UriPick {
    /// Whether this choice takes in the URI.
    pub fn takes(&self, uri: &str) -> bool {
        match self {
            Self::All => true,
            Self::Exact(exact) => exact == uri,
            Self::Prefix(prefix) => uri.starts_with(prefix.as_str()),
        }
    }
}
