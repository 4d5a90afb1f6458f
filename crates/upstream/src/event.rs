//! What servers say unasked that concerns more than one call.

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
