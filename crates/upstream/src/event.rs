//! What servers say unasked that concerns more than one call.

use tollgate_mcp::methods;
use tollgate_model::{PrincipalId, ServerName, SessionId, TenantId};

/// A server said that something changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// Which server.
    pub server: ServerName,
    /// What happened.
    pub kind: EventKind,
    /// Whom it concerns: whoever shares the instance that said it.
    pub audience: Audience,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `notifications/tools/list_changed`.
    ToolsChanged,
    /// `notifications/prompts/list_changed`.
    PromptsChanged,
    /// `notifications/resources/list_changed`.
    ResourcesChanged,
}

/// Whom an event concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everyone who uses the server.
    Everyone,
    /// Everyone of this tenant.
    Tenant(TenantId),
    /// This principal.
    Principal(TenantId, PrincipalId),
    /// This client session.
    Session(SessionId),
}

impl EventKind {
    pub(crate) const ALL: [Self; 3] = [Self::ToolsChanged, Self::PromptsChanged, Self::ResourcesChanged];

    /// The capability whose `listChanged` declares this event.
    pub(crate) fn capability(self) -> &'static str {
        match self {
            Self::ToolsChanged => "tools",
            Self::PromptsChanged => "prompts",
            Self::ResourcesChanged => "resources",
        }
    }

    /// The event that a notification of this method is.
    pub(crate) fn of(method: &str) -> Option<Self> {
        match method {
            methods::NOTIFICATIONS_TOOLS_LIST_CHANGED => Some(Self::ToolsChanged),
            methods::NOTIFICATIONS_PROMPTS_LIST_CHANGED => Some(Self::PromptsChanged),
            methods::NOTIFICATIONS_RESOURCES_LIST_CHANGED => Some(Self::ResourcesChanged),
            _ => None,
        }
    }
}
