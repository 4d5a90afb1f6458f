//! Which era a message belongs to, and what a modern request must bring.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use tollgate_mcp::{JsonKind, Message, headers, meta, methods};
use tollgate_model::{ClientProfile, Code, Era, Refusal, Revision, Stage};

use crate::hello;
use crate::logging;

/// Made once: a name that is given as text is parsed and hashed at every look-up.
pub(crate) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static(headers::MCP_PROTOCOL_VERSION);
pub(crate) const SESSION_ID: HeaderName = HeaderName::from_static(headers::MCP_SESSION_ID);
const METHOD: HeaderName = HeaderName::from_static(headers::MCP_METHOD);
const NAME: HeaderName = HeaderName::from_static(headers::MCP_NAME);

/// The largest capabilities and client info: they are kept, and stand for their client in the keys of what is shared.
const DESCRIPTION_BYTES_MAX: usize = 64 * 1024;

/// A revision as `MCP-Protocol-Version` gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum VersionHeader<'a> {
    /// There is no such header.
    Absent,
    /// A revision that is spoken here.
    Known(Revision),
    /// Anything else.
    Unknown(&'a str),
}

impl<'a> VersionHeader<'a> {
    pub(crate) fn read(map: &'a HeaderMap) -> Self {
        let Some(value) = map.get(PROTOCOL_VERSION) else { return Self::Absent };
        let text = value.to_str().unwrap_or("?").trim();
        text.parse().map_or(Self::Unknown(text), Self::Known)
    }

    /// The era in which an error is told when there is no message to go by.
    pub(crate) fn era(self) -> Era {
        match self {
            Self::Known(revision) => revision.era(),
            Self::Absent | Self::Unknown(_) => Era::Legacy,
        }
    }
}

/// The era of a message: modern if it carries modern metadata, or comes with the header of a modern revision and does
/// not begin a legacy session (2026-07-28, versioning).
pub(crate) fn era(message: &Message, version: VersionHeader<'_>) -> Era {
    if message.meta_member(meta::PROTOCOL_VERSION).is_some() {
        return Era::Modern;
    }
    match version {
        VersionHeader::Known(revision) if message.method() != methods::INITIALIZE => revision.era(),
        _ => Era::Legacy,
    }
}

fn refuse(code: Code, text: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(Stage::Envelope, code, text)
}

/// What a modern request says of its client.
pub(crate) fn modern_profile(message: &Message) -> Result<ClientProfile, Refusal> {
    let missing = |key: &str| {
        refuse(
            Code::MissingMeta,
            format!("`params._meta[\"{key}\"]` is missing, malformed or larger than 64 KiB"),
        )
    };
    let version = message.meta_text(meta::PROTOCOL_VERSION).ok_or_else(|| missing(meta::PROTOCOL_VERSION))?;
    let revision = match version.parse::<Revision>() {
        Ok(revision) if revision.era() == Era::Modern => revision,
        _ => return Err(unsupported(&version)),
    };
    let object = |key: &str| {
        let span = message.meta_member(key)?;
        let is_object = message.kind_of(span) == JsonKind::Object && span.len() <= DESCRIPTION_BYTES_MAX;
        is_object.then(|| message.raw(span))
    };
    let capabilities = object(meta::CLIENT_CAPABILITIES).ok_or_else(|| missing(meta::CLIENT_CAPABILITIES))?;
    if let Some(level) = message.meta_member(meta::LOG_LEVEL) {
        logging::level_at(message, level, "params._meta[\"io.modelcontextprotocol/logLevel\"]")?;
    }
    Ok(ClientProfile { revision, capabilities, info: object(meta::CLIENT_INFO) })
}

/// The error for a revision that is not spoken here, as the specification shapes it (2026-07-28, versioning).
pub(crate) fn unsupported(requested: &str) -> Refusal {
    let requested = String::from_utf8_lossy(&tollgate_mcp::quote(requested)).into_owned();
    refuse(Code::UnsupportedVersion, "Unsupported protocol version")
        .with_data(format!("\"supported\":{},\"requested\":{requested}", hello::supported()))
}

/// Compares the headers of a modern request with its body (2026-07-28, Streamable HTTP, server validation).
pub(crate) fn check_headers(message: &Message, map: &HeaderMap) -> Result<(), Refusal> {
    let mismatch = |text: String| refuse(Code::HeaderMismatch, text);
    let required = |name: HeaderName| {
        let mut values = map.get_all(&name).iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.as_bytes()),
            (None, _) => Err(mismatch(format!("Header mismatch: the `{name}` header is missing"))),
            (Some(_), Some(_)) => {
                Err(mismatch(format!("Header mismatch: the `{name}` header is given twice")))
            }
        }
    };
    if let Some(version) = message.meta_text(meta::PROTOCOL_VERSION)
        && required(PROTOCOL_VERSION)? != version.as_bytes()
    {
        return Err(mismatch(
            "Header mismatch: `mcp-protocol-version` differs from the protocol version in `_meta`".to_owned(),
        ));
    }
    if required(METHOD)? != message.method().as_bytes() {
        return Err(mismatch("Header mismatch: `mcp-method` differs from the method in the body".to_owned()));
    }
    if let Some(member) = methods::name_param(message.method())
        && let Some(named) = message.text(member)
    {
        let value = required(NAME)?;
        let decoded = headers::decode_value(value)
            .map_err(|error| mismatch(format!("Header mismatch: `mcp-name`: {error}")))?;
        if decoded != named {
            return Err(mismatch(format!(
                "Header mismatch: `mcp-name` differs from `params.{member}` in the body"
            )));
        }
    }
    Ok(())
}

/// What a legacy client says of itself in `initialize`. A revision that is not spoken here, or not in this era, gets
/// the newest one that is (2025-11-25, lifecycle, version negotiation).
pub(crate) fn legacy_profile(message: &Message) -> Result<ClientProfile, Refusal> {
    let requested = message
        .text("protocolVersion")
        .ok_or_else(|| refuse(Code::InvalidParams, "`params.protocolVersion` must be a string"))?;
    let revision = match requested.parse::<Revision>() {
        Ok(revision) if revision.era() == Era::Legacy => revision,
        _ => Revision::LATEST_LEGACY,
    };
    // Kept for as long as the session: copied, so that they do not hold the whole request.
    let object = |member: &str| {
        let span = message.member(member)?;
        let is_object = message.kind_of(span) == JsonKind::Object && span.len() <= DESCRIPTION_BYTES_MAX;
        is_object.then(|| Bytes::copy_from_slice(span.of(message.bytes())))
    };
    let capabilities = object("capabilities").ok_or_else(|| {
        refuse(Code::InvalidParams, "`params.capabilities` must be an object of at most 64 KiB")
    })?;
    Ok(ClientProfile { revision, capabilities, info: object("clientInfo") })
}
