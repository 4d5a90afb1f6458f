//! Keys of `_meta` that the specification defines.

/// The revision that a request speaks. Required in every modern request.
pub const PROTOCOL_VERSION: &str = "io.modelcontextprotocol/protocolVersion";
/// What the client can do. Required in every modern request; `{}` is allowed.
pub const CLIENT_CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// Who the client says it is. Never a basis for a security decision.
pub const CLIENT_INFO: &str = "io.modelcontextprotocol/clientInfo";
/// The least severe log message that the client wants for this one request.
pub const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";
/// Who the server says it is, in results.
pub const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";
/// The id of the listen request that a notification belongs to.
pub const SUBSCRIPTION_ID: &str = "io.modelcontextprotocol/subscriptionId";
/// 2025-11-25: the task that a message belongs to.
pub const RELATED_TASK: &str = "io.modelcontextprotocol/related-task";
/// The token under which progress of a request is reported. Unprefixed in every revision.
pub const PROGRESS_TOKEN: &str = "progressToken";
/// W3C trace context: `traceparent`.
pub const TRACEPARENT: &str = "traceparent";
/// W3C trace context: `tracestate`.
pub const TRACESTATE: &str = "tracestate";
/// W3C baggage.
pub const BAGGAGE: &str = "baggage";

/// The capability extension for tasks (2026-07-28).
pub const TASKS_EXTENSION: &str = "io.modelcontextprotocol/tasks";
/// The capability extension for MCP Apps.
pub const UI_EXTENSION: &str = "io.modelcontextprotocol/ui";
/// The prefix of every key that the specification reserves for itself.
pub const SPECIFICATION_PREFIX: &str = "io.modelcontextprotocol/";
/// The prefix of Tollgate's own keys in `_meta` and in error data.
pub const OWN_PREFIX: &str = "dev.tollgate/";
