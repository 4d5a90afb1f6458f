//! JSON-RPC error codes: the general ones, and those that revisions of the protocol define.

/// The bytes are not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a request.
pub const INVALID_REQUEST: i32 = -32600;
/// No such method. Over HTTP, 2026-07-28 pairs it with status 404.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// The parameters are wrong: also an unknown tool, prompt, resource (2026-07-28) or cursor.
pub const INVALID_PARAMS: i32 = -32602;
/// The receiver failed.
pub const INTERNAL_ERROR: i32 = -32603;

/// 2026-07-28: headers and body disagree, or a required header is missing or malformed. HTTP 400.
pub const HEADER_MISMATCH: i32 = -32020;
/// 2026-07-28: the request needs a capability that the client has not declared. HTTP 400, with
/// `data.requiredCapabilities`.
pub const MISSING_REQUIRED_CLIENT_CAPABILITY: i32 = -32021;
/// 2026-07-28: the revision is not spoken here. HTTP 400, with `data.supported` and `data.requested`.
pub const UNSUPPORTED_PROTOCOL_VERSION: i32 = -32022;

/// Before 2026-07-28: no such resource. Accepted from old servers, sent to legacy clients only.
pub const RESOURCE_NOT_FOUND: i32 = -32002;
/// 2025-11-25 only: the call needs a URL elicitation first (`data.elicitations`).
pub const URL_ELICITATION_REQUIRED: i32 = -32042;

/// Whether a code is one that only a server of the modern era sends. A 4xx answer whose body carries one proves that
/// the server is modern (2026-07-28, Streamable HTTP, backward compatibility).
pub const fn is_modern(code: i64) -> bool {
    matches!(code, -32022..=-32020)
}
