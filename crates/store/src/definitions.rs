//! What servers last said of themselves.

use bytes::Bytes;
use tollgate_model::{ServerName, TenantId, Timestamp};

use crate::Digest;

/// How many bytes the items of one list may have to be kept.
pub const DEFINITIONS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Which list of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum List {
    /// `tools/list`.
    Tools,
    /// `prompts/list`.
    Prompts,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    ResourceTemplates,
}

impl List {
    const ALL: [Self; 4] = [Self::Tools, Self::Prompts, Self::Resources, Self::ResourceTemplates];

    /// As it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Prompts => "prompts",
            Self::Resources => "resources",
            Self::ResourceTemplates => "resource_templates",
        }
    }

    /// The other way round.
    pub fn from_stored(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|list| list.as_str() == text)
    }
}

/// Whose definitions: one list of one server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DefinitionsOf {
    /// The tenant whose server it is; none for a shared one.
    pub tenant: Option<TenantId>,
    /// The server.
    pub server: ServerName,
    /// The list.
    pub list: List,
}

/// What a server last listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definitions {
    /// Whose.
    pub of: DefinitionsOf,
    /// The items, each as the server wrote it: one JSON value.
    pub items: Vec<Bytes>,
    /// Of the items.
    pub digest: Digest,
    /// When they were first seen to be so.
    pub seen: Timestamp,
}

impl Definitions {
    /// These items, seen now.
    pub fn new(of: DefinitionsOf, items: Vec<Bytes>, seen: Timestamp) -> Self {
        let digest = Digest::of(items.iter().map(|item| &**item));
        Self { of, items, digest, seen }
    }

    /// How many bytes the items have.
    pub fn size(&self) -> usize {
        self.items.iter().map(Bytes::len).sum()
    }
}
