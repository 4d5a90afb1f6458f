//! The first words with a server: what the gateway sends on its own account, and what the answers mean.

use bytes::{BufMut as _, Bytes, BytesMut};
use tollgate_mcp::{Kind, LogLevel, Message, Segments, codes, elements, find, json, meta, text};
use tollgate_model::Revision;

use crate::watch::Filter;
use crate::{EventKind, UpstreamError};

/// What the gateway calls itself where it speaks for more than one client.
const OWN_INFO: &str = concat!(r#"{"name":"tollgate","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#);

/// How much of a server's reason for refusing a session is told, in characters.
const REASON_CHARS_MAX: usize = 256;

/// What a server said of itself in its answer to `server/discover` or `initialize`. All of it is raw JSON as the
/// server wrote it, and untrusted.
#[derive(Debug, Clone)]
pub struct Hello {
    /// The `capabilities` object.
    pub capabilities: Bytes,
    /// The `serverInfo` object (in `_meta` of a modern result).
    pub info: Option<Bytes>,
    /// The `instructions` string, with its quotes.
    pub instructions: Option<Bytes>,
    /// The whole result.
    pub result: Bytes,
    /// Whether it may answer calls of tools with tasks: by the extension (2026-07-28), or by the experiment
    /// (2025-11-25, `tasks.requests.tools.call`).
    pub tasks: bool,
}

impl Hello {
    /// Whether the server declares that one of its lists may change, that its resources can be subscribed to, that it
    /// logs, or that it tells of tasks: all that it could use a stream of its own for.
    pub(crate) fn may_speak_unasked(&self) -> bool {
        EventKind::LISTS.into_iter().any(|kind| self.may_change(kind.capability()))
            || self.may_be_watched()
            || ["logging", "tasks"].into_iter().any(|part| self.declares(part))
    }

    /// Whether the server declares that its resources can be subscribed to.
    pub fn may_be_watched(&self) -> bool {
        self.has_flag("resources", "subscribe")
    }

    /// Whether the server declares that it tells when this list changes.
    pub fn may_change(&self, part: &str) -> bool {
        self.has_flag(part, "listChanged")
    }

    fn has_flag(&self, part: &str, flag: &str) -> bool {
        find(&self.capabilities, json::Span::all(&self.capabilities), part)
            .and_then(|part| find(&self.capabilities, part, flag))
            .is_some_and(|value| value.of(&self.capabilities) == b"true")
    }

    /// Whether a capability is declared at all.
    pub fn declares(&self, part: &str) -> bool {
        find(&self.capabilities, json::Span::all(&self.capabilities), part).is_some()
    }
}

/// `subscriptions/listen`, on the gateway's own account.
pub(crate) fn listen(id: u64, filter: &Filter) -> Segments {
    Segments::from(Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"subscriptions/listen","params":{{"notifications":{},{}}}}}"#,
        filter.to_json(),
        own_meta(if filter.task_ids.is_empty() { "" } else { TASKS })
    )))
}

/// The extension that a client declares who wants to hear of tasks.
const TASKS: &str = r#""extensions":{"io.modelcontextprotocol/tasks":{}}"#;

/// The `_meta` of a modern request of the gateway's own.
fn own_meta(capabilities: &str) -> String {
    format!(
        r#""_meta":{{"{}":"{}","{}":{OWN_INFO},"{}":{{{capabilities}}}}}"#,
        meta::PROTOCOL_VERSION,
        Revision::LATEST,
        meta::CLIENT_INFO,
        meta::CLIENT_CAPABILITIES
    )
}

/// `server/discover`, on the gateway's own account.
pub(crate) fn discover(id: u64) -> Segments {
    Segments::from(Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"server/discover","params":{{{}}}}}"#,
        own_meta("")
    )))
}

/// `initialize` with the client's capabilities. `info` is the client's own where it is the only one served.
pub(crate) fn initialize(id: u64, capabilities: &Bytes, info: Option<&Bytes>) -> Segments {
    let mut body = BytesMut::with_capacity(256 + capabilities.len());
    body.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    body.put_slice(id.to_string().as_bytes());
    body.put_slice(br#","method":"initialize","params":{"protocolVersion":""#);
    body.put_slice(Revision::LATEST_LEGACY.as_str().as_bytes());
    body.put_slice(br#"","capabilities":"#);
    body.put_slice(if capabilities.is_empty() { b"{}" } else { capabilities });
    body.put_slice(br#","clientInfo":"#);
    body.put_slice(info.map_or(OWN_INFO.as_bytes(), |info| info));
    body.put_slice(b"}}");
    Segments::from(body.freeze())
}

/// `notifications/initialized`.
pub(crate) fn initialized() -> Segments {
    Segments::from(Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#))
}

/// `notifications/cancelled` for a request of the gateway's.
pub(crate) fn cancelled(id: u64) -> Segments {
    Segments::from(Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","method":"notifications/cancelled","params":{{"requestId":{id},"reason":"The client no longer waits for it."}}}}"#
    )))
}

/// `logging/setLevel`, on the gateway's own account.
pub(crate) fn set_level(id: u64, level: LogLevel) -> Segments {
    Segments::from(Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"logging/setLevel","params":{{"level":"{}"}}}}"#,
        level.as_str()
    )))
}

/// The answer to a server's `ping`.
pub(crate) fn pong(raw_id: &[u8]) -> Segments {
    answer(raw_id, br#""result":{}"#)
}

/// The answer to a server's request that belongs to no call.
pub(crate) fn nobody(raw_id: &[u8]) -> Segments {
    answer(
        raw_id,
        br#""error":{"code":-32601,"message":"No call is under way that this request belongs to"}"#,
    )
}

/// The answer to a server's request while as many questions of it as allowed are open.
pub(crate) fn too_many(raw_id: &[u8]) -> Segments {
    answer(raw_id, br#""error":{"code":-32603,"message":"As many questions as allowed are open"}"#)
}

fn answer(raw_id: &[u8], rest: &[u8]) -> Segments {
    let mut body = BytesMut::with_capacity(rest.len() + raw_id.len() + 32);
    body.put_slice(br#"{"jsonrpc":"2.0","id":"#);
    body.put_slice(raw_id);
    body.put_u8(b',');
    body.put_slice(rest);
    body.put_u8(b'}');
    Segments::from(body.freeze())
}

/// What the answer to `server/discover` says.
#[derive(Debug)]
pub(crate) enum Discovery {
    /// A modern server with a revision that the gateway speaks.
    Modern(Hello),
    /// Not a modern server, or one that speaks only legacy revisions with this gateway.
    Legacy,
    /// A modern server of revisions that the gateway does not speak.
    Unsupported(String),
}

/// Reads the answer to `server/discover` (2026-07-28, versioning and both transports' backward compatibility).
pub(crate) fn read_discovery(answer: &Message) -> Discovery {
    match answer.kind() {
        Kind::Result => {
            let Some(versions) = answer.member("supportedVersions") else { return Discovery::Legacy };
            let versions = texts(answer.bytes(), versions);
            if versions.iter().any(|version| version == Revision::LATEST.as_str()) {
                let result = answer.body().map(|result| answer.raw(result)).unwrap_or_default();
                let capabilities = object_member(answer, "capabilities");
                return Discovery::Modern(Hello {
                    tasks: has(&capabilities, &["extensions", meta::TASKS_EXTENSION]),
                    capabilities,
                    info: answer.meta_member(meta::SERVER_INFO).map(|info| own(&answer.raw(info))),
                    instructions: string_member(answer, "instructions"),
                    result: own(&result),
                });
            }
            fallback(&versions)
        }
        Kind::Error if answer.error_code() == Some(i64::from(codes::UNSUPPORTED_PROTOCOL_VERSION)) => {
            fallback(&supported(answer))
        }
        // Any other error means legacy, whatever its code: legacy servers answer unknown methods as they like.
        _ => Discovery::Legacy,
    }
}

/// Whether a server refused a revision that it names among its own: the client picks one of these and asks again
/// (2026-07-28, versioning).
pub(crate) fn wants_another_try(answer: &Message) -> bool {
    answer.error_code() == Some(i64::from(codes::UNSUPPORTED_PROTOCOL_VERSION))
        && supported(answer).iter().any(|version| version == Revision::LATEST.as_str())
}

/// The revisions that a refusal of the protocol version names.
fn supported(refusal: &Message) -> Vec<String> {
    let named = refusal.member("data").and_then(|data| find(refusal.bytes(), data, "supported"));
    named.map(|named| texts(refusal.bytes(), named)).unwrap_or_default()
}

/// A server that does not speak the gateway's modern revision may still share a legacy one.
fn fallback(versions: &[String]) -> Discovery {
    if versions.iter().any(|version| version.parse::<Revision>().is_ok()) {
        Discovery::Legacy
    } else {
        Discovery::Unsupported(format!("it speaks {versions:?}"))
    }
}

/// Reads the answer to `initialize`: the revision that the server chose, and what it said of itself.
pub(crate) fn read_initialize(answer: &Message) -> Result<(Revision, Hello), UpstreamError> {
    if answer.kind() != Kind::Result {
        let code = answer.error_code().unwrap_or_default();
        // For the log and for whoever tries it out at a terminal: quoted, since it is the server's own text.
        let said: String =
            answer.text("message").unwrap_or_default().chars().take(REASON_CHARS_MAX).collect();
        return Err(UpstreamError::unavailable(
            "the server refused to start a session",
            format!("initialize was answered with error {code}, {said:?}"),
        ));
    }
    let version = answer.text("protocolVersion").unwrap_or_default();
    let revision = version.parse::<Revision>().ok().filter(|revision| *revision <= Revision::LATEST_LEGACY);
    let Some(revision) = revision else {
        let version: String = version.chars().take(64).collect();
        return Err(UpstreamError::Unsupported { detail: format!("it offers {version:?}").into() });
    };
    let result = answer.body().map(|result| answer.raw(result)).unwrap_or_default();
    let capabilities = object_member(answer, "capabilities");
    let hello = Hello {
        tasks: has(&capabilities, &["tasks", "requests", "tools", "call"]),
        capabilities,
        info: answer.member("serverInfo").map(|info| own(&answer.raw(info))),
        instructions: string_member(answer, "instructions"),
        result: own(&result),
    };
    Ok((revision, hello))
}

/// Whether there is an object at this path.
fn has(object: &Bytes, path: &[&str]) -> bool {
    let start = Some(json::Span::all(object));
    path.iter()
        .fold(start, |at, key| find(object, at?, key))
        .is_some_and(|found| json::kind_of(object, found) == json::JsonKind::Object)
}

/// A copy: what is kept for long must not hold a whole read buffer.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn object_member(answer: &Message, key: &str) -> Bytes {
    match answer.member(key) {
        Some(span) if answer.kind_of(span) == json::JsonKind::Object => own(&answer.raw(span)),
        _ => Bytes::from_static(b"{}"),
    }
}

fn string_member(answer: &Message, key: &str) -> Option<Bytes> {
    let span = answer.member(key)?;
    (answer.kind_of(span) == json::JsonKind::String).then(|| own(&answer.raw(span)))
}

fn texts(bytes: &[u8], array: json::Span) -> Vec<String> {
    elements(bytes, array)
        .take(64)
        .filter_map(|span| text(bytes, span).map(std::borrow::Cow::into_owned))
        .collect()
}
