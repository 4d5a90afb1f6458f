//! The names of every request and notification in the revisions that Tollgate speaks, and what is special about some.

/// `initialize`: legacy, opens a session.
pub const INITIALIZE: &str = "initialize";
/// `ping`: legacy, either direction.
pub const PING: &str = "ping";
/// `server/discover`: modern.
pub const SERVER_DISCOVER: &str = "server/discover";
/// `subscriptions/listen`: modern, one long stream of change notifications.
pub const SUBSCRIPTIONS_LISTEN: &str = "subscriptions/listen";
/// `tools/list`.
pub const TOOLS_LIST: &str = "tools/list";
/// `tools/call`.
pub const TOOLS_CALL: &str = "tools/call";
/// `prompts/list`.
pub const PROMPTS_LIST: &str = "prompts/list";
/// `prompts/get`.
pub const PROMPTS_GET: &str = "prompts/get";
/// `resources/list`.
pub const RESOURCES_LIST: &str = "resources/list";
/// `resources/templates/list`.
pub const RESOURCES_TEMPLATES_LIST: &str = "resources/templates/list";
/// `resources/read`.
pub const RESOURCES_READ: &str = "resources/read";
/// `resources/subscribe`: legacy.
pub const RESOURCES_SUBSCRIBE: &str = "resources/subscribe";
/// `resources/unsubscribe`: legacy.
pub const RESOURCES_UNSUBSCRIBE: &str = "resources/unsubscribe";
/// `completion/complete`.
pub const COMPLETION_COMPLETE: &str = "completion/complete";
/// `logging/setLevel`: legacy.
pub const LOGGING_SET_LEVEL: &str = "logging/setLevel";
/// `tasks/get`: 2025-11-25, and the tasks extension.
pub const TASKS_GET: &str = "tasks/get";
/// `tasks/cancel`: 2025-11-25, and the tasks extension.
pub const TASKS_CANCEL: &str = "tasks/cancel";
/// `tasks/update`: the tasks extension.
pub const TASKS_UPDATE: &str = "tasks/update";
/// `tasks/list`: 2025-11-25 only.
pub const TASKS_LIST: &str = "tasks/list";
/// `tasks/result`: 2025-11-25 only.
pub const TASKS_RESULT: &str = "tasks/result";

/// `sampling/createMessage`: from server to client; in the modern era only inside `inputRequests`.
pub const SAMPLING_CREATE_MESSAGE: &str = "sampling/createMessage";
/// `elicitation/create`: from server to client, since 2025-06-18; in the modern era only inside `inputRequests`.
pub const ELICITATION_CREATE: &str = "elicitation/create";
/// `roots/list`: from server to client; in the modern era only inside `inputRequests`.
pub const ROOTS_LIST: &str = "roots/list";

/// `notifications/initialized`: legacy.
pub const NOTIFICATIONS_INITIALIZED: &str = "notifications/initialized";
/// `notifications/cancelled`.
pub const NOTIFICATIONS_CANCELLED: &str = "notifications/cancelled";
/// `notifications/progress`.
pub const NOTIFICATIONS_PROGRESS: &str = "notifications/progress";
/// `notifications/message`: a log message.
pub const NOTIFICATIONS_MESSAGE: &str = "notifications/message";
/// `notifications/tools/list_changed`.
pub const NOTIFICATIONS_TOOLS_LIST_CHANGED: &str = "notifications/tools/list_changed";
/// `notifications/prompts/list_changed`.
pub const NOTIFICATIONS_PROMPTS_LIST_CHANGED: &str = "notifications/prompts/list_changed";
/// `notifications/resources/list_changed`.
pub const NOTIFICATIONS_RESOURCES_LIST_CHANGED: &str = "notifications/resources/list_changed";
/// `notifications/resources/updated`.
pub const NOTIFICATIONS_RESOURCES_UPDATED: &str = "notifications/resources/updated";
/// `notifications/roots/list_changed`: legacy, from client to server.
pub const NOTIFICATIONS_ROOTS_LIST_CHANGED: &str = "notifications/roots/list_changed";
/// `notifications/elicitation/complete`: 2025-11-25.
pub const NOTIFICATIONS_ELICITATION_COMPLETE: &str = "notifications/elicitation/complete";
/// `notifications/tasks/status`: 2025-11-25.
pub const NOTIFICATIONS_TASKS_STATUS: &str = "notifications/tasks/status";
/// `notifications/tasks`: the tasks extension, on a listen stream.
pub const NOTIFICATIONS_TASKS: &str = "notifications/tasks";
/// `notifications/subscriptions/acknowledged`: modern, the first message of a listen stream.
pub const NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED: &str = "notifications/subscriptions/acknowledged";

/// The member of `params` that the `Mcp-Name` header repeats, for methods that carry one (2026-07-28, Streamable
/// HTTP; for `tasks/*` the tasks extension).
pub fn name_param(method: &str) -> Option<&'static str> {
    match method {
        TOOLS_CALL | PROMPTS_GET => Some("name"),
        RESOURCES_READ => Some("uri"),
        TASKS_GET | TASKS_UPDATE | TASKS_CANCEL => Some("taskId"),
        _ => None,
    }
}

/// Whether the answer may be `input_required`, that is, whether the method takes part in multi round-trip requests
/// (2026-07-28, MRTR).
pub fn may_ask_for_input(method: &str) -> bool {
    matches!(method, TOOLS_CALL | PROMPTS_GET | RESOURCES_READ)
}

/// Whether complete results carry `ttlMs` and `cacheScope` (2026-07-28, caching).
pub fn is_cacheable(method: &str) -> bool {
    matches!(
        method,
        SERVER_DISCOVER
            | TOOLS_LIST
            | PROMPTS_LIST
            | RESOURCES_LIST
            | RESOURCES_TEMPLATES_LIST
            | RESOURCES_READ
    )
}

/// The member of a list's result that holds its items, for methods that list with cursors.
pub fn list_member(method: &str) -> Option<&'static str> {
    match method {
        TOOLS_LIST => Some("tools"),
        PROMPTS_LIST => Some("prompts"),
        RESOURCES_LIST => Some("resources"),
        RESOURCES_TEMPLATES_LIST => Some("resourceTemplates"),
        TASKS_LIST => Some("tasks"),
        _ => None,
    }
}

/// Whether a name is that of a notification.
pub fn is_notification(method: &str) -> bool {
    method.starts_with("notifications/")
}
