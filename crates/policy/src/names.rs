//! The words that policies write about: entity types, and the ids of what is known.

use std::str::FromStr;

use cedar_policy::{EntityId, EntityTypeName, EntityUid};

/// The entity types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    Agent,
    User,
    Group,
    AgentGroup,
    Role,
    Tenant,
    Caller,
    Server,
    Tool,
    Prompt,
    Resource,
    Action,
}

impl Kind {
    pub(crate) const ALL: [Self; 12] = [
        Self::Agent,
        Self::User,
        Self::Group,
        Self::AgentGroup,
        Self::Role,
        Self::Tenant,
        Self::Caller,
        Self::Server,
        Self::Tool,
        Self::Prompt,
        Self::Resource,
        Self::Action,
    ];

    /// What a caller can be `in`.
    pub(crate) const PARENTS: [Self; 6] =
        [Self::Agent, Self::User, Self::Group, Self::AgentGroup, Self::Role, Self::Tenant];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "Agent",
            Self::User => "User",
            Self::Group => "Group",
            Self::AgentGroup => "AgentGroup",
            Self::Role => "Role",
            Self::Tenant => "Tenant",
            Self::Caller => "Caller",
            Self::Server => "Server",
            Self::Tool => "Tool",
            Self::Prompt => "Prompt",
            Self::Resource => "Resource",
            Self::Action => "Action",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// The action of reading a resource.
pub(crate) const READ: &str = "read";
/// The action of getting a prompt.
pub(crate) const GET_PROMPT: &str = "get_prompt";
/// The group of all tools.
pub(crate) const CALL: &str = "call";
/// The group of tools that change nothing.
pub(crate) const READ_ONLY: &str = "read_only";
/// The group of tools that may destroy something.
pub(crate) const DESTRUCTIVE: &str = "destructive";

/// The id of what a server has under a native name.
pub(crate) fn of_server(server: &str, native: &str) -> String {
    format!("{server}__{native}")
}

/// The id of a resource: a server's name has no space, so that the first one ends it.
pub(crate) fn of_resource(server: &str, uri: &str) -> String {
    format!("{server} {uri}")
}

/// Cedar's own form of the types' names.
#[derive(Debug)]
pub(crate) struct Types([EntityTypeName; 12]);

impl Types {
    /// Nothing only if Cedar did not take one of the names above.
    pub(crate) fn new() -> Option<Self> {
        let names: Option<Vec<_>> =
            Kind::ALL.into_iter().map(|kind| EntityTypeName::from_str(kind.as_str()).ok()).collect();
        Some(Self(names?.try_into().ok()?))
    }

    /// The entity of a type and id.
    pub(crate) fn uid(&self, kind: Kind, id: &str) -> EntityUid {
        let name = match kind {
            Kind::Agent => &self.0[0],
            Kind::User => &self.0[1],
            Kind::Group => &self.0[2],
            Kind::AgentGroup => &self.0[3],
            Kind::Role => &self.0[4],
            Kind::Tenant => &self.0[5],
            Kind::Caller => &self.0[6],
            Kind::Server => &self.0[7],
            Kind::Tool => &self.0[8],
            Kind::Prompt => &self.0[9],
            Kind::Resource => &self.0[10],
            Kind::Action => &self.0[11],
        };
        EntityUid::from_type_name_and_id(name.clone(), EntityId::new(id))
    }
}
