//! `Mcp-Param-*`: arguments that a tool's schema wants repeated as HTTP headers (2026-07-28, Streamable HTTP).
//!
//! What a client sends is compared with the body, whatever is behind the gateway; for a client that sends none of its
//! own (a legacy one, or one on stdio) the headers are made from the body. Both need the tool's schema: it is learnt
//! from every list that passes, and read when it is needed and not known.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_catalog::{Item, Mirrored, mirrored};
use tollgate_mcp::json::{self, JsonKind, Span};
use tollgate_mcp::{Message, codes, headers};
use tollgate_model::{Code, Era, Refusal, ServerId, Stage};

use crate::inbound::Inbound;
use crate::learnt::Learnt;
use crate::stages::Resolved;

/// How often a server's list is read at most because of headers that fit no known schema.
const LEARN_EVERY: Duration = Duration::from_secs(10);

/// What is known of the tools of all servers.
#[derive(Debug)]
pub(crate) struct Mirrors(Learnt<Arc<[Mirrored]>>);

impl Default for Mirrors {
    fn default() -> Self {
        Self(Learnt::reading_every(LEARN_EVERY))
    }
}

impl Mirrors {
    /// Learns from a server's tools. Gives those that may be shown: a tool whose annotations break the rules must not
    /// be.
    pub(crate) fn learn(&self, server: &ServerId, items: Vec<Item>) -> Vec<Item> {
        let mut shown = Vec::with_capacity(items.len());
        for item in items {
            match mirrored(&item) {
                Ok(found) => {
                    self.0.set(server, item.key(), (!found.is_empty()).then(|| found.into()));
                    shown.push(item);
                }
                Err(error) => {
                    tracing::warn!(server = %server.label(), tool = %item.key().escape_debug(), %error, "a tool is not listed");
                }
            }
        }
        shown
    }
}

impl Deref for Mirrors {
    type Target = Learnt<Arc<[Mirrored]>>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// The headers that go with a call. What the client sent is compared with the body first.
pub(crate) fn headers_for(
    inbound: &Inbound,
    resolved: &Resolved,
    known: Option<&[Mirrored]>,
) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    if let (Some(sent), Some(known)) = (&inbound.param_headers, known) {
        compare(inbound, sent, known)?;
    }
    match &inbound.param_headers {
        // They speak of the arguments that the client sent; pinned arguments have made others of them.
        Some(sent) if resolved.target().pinned.is_empty() => Ok(sent.clone()),
        _ => Ok(make(inbound, resolved, known.unwrap_or_default())),
    }
}

fn compare(inbound: &Inbound, sent: &[(HeaderName, HeaderValue)], known: &[Mirrored]) -> Result<(), Refusal> {
    let mismatch = |header: &str, what: &str| {
        let text = format!("Header mismatch: the `{header}` header {what}");
        Err(Refusal::new(Stage::Envelope, Code::HeaderMismatch, text))
    };
    let bytes = inbound.message.bytes();
    for Mirrored { header, path } in known {
        let argument = argument(inbound, path).filter(|span| json::kind_of(bytes, *span) != JsonKind::Null);
        let mut values = sent.iter().filter(|(name, _)| name.as_str() == header).map(|(_, value)| value);
        match (argument, values.next(), values.next()) {
            (_, _, Some(_)) => return mismatch(header, "is given twice"),
            (None, None, _) => {}
            (None, Some(_), _) => return mismatch(header, "repeats an argument that is not given"),
            // It is of another kind than the schema says, and cannot be repeated: that is for the server to refuse.
            (Some(argument), None, _) if is_container(bytes, argument) => {}
            (Some(_), None, _) => return mismatch(header, "is missing"),
            (Some(argument), Some(value), _) => {
                if !headers::argument_equals(value.as_bytes(), bytes, argument) {
                    return mismatch(header, "differs from the argument in the body");
                }
            }
        }
    }
    Ok(())
}

fn is_container(bytes: &[u8], argument: Span) -> bool {
    matches!(json::kind_of(bytes, argument), JsonKind::Object | JsonKind::Array)
}

fn make(inbound: &Inbound, resolved: &Resolved, known: &[Mirrored]) -> Vec<(HeaderName, HeaderValue)> {
    let pinned = &resolved.target().pinned;
    known
        .iter()
        .filter_map(|Mirrored { header, path }| {
            let value = match pinned.iter().find(|(name, _)| Some(name) == path.first()) {
                Some((_, raw)) => pinned_value(raw, &path[1..])?,
                None => headers::argument_value(inbound.message.bytes(), argument(inbound, path)?)?,
            };
            let name = HeaderName::from_bytes(header.as_bytes()).ok()?;
            Some((name, HeaderValue::try_from(value).ok()?))
        })
        .collect()
}

fn pinned_value(raw: &Bytes, path: &[String]) -> Option<String> {
    let start = Some(Span::all(raw));
    let span = path.iter().fold(start, |span, key| json::find(raw, span?, key))?;
    headers::argument_value(raw, span)
}

/// The argument at a path in the body.
fn argument(inbound: &Inbound, path: &[String]) -> Option<Span> {
    let start = inbound.message.member("arguments");
    path.iter().fold(start, |span, key| json::find(inbound.message.bytes(), span?, key))
}

/// Whether a server's error says that headers and body disagree, so that nothing was carried out. A legacy server knows
/// no such error: what it means by the same code may come after the call had its effect.
pub(crate) fn is_mismatch(message: &Message, server: Era) -> bool {
    server == Era::Modern && message.error_code() == Some(i64::from(codes::HEADER_MISMATCH))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    #[test]
    fn a_legacy_servers_own_code_is_no_reason_to_call_again() {
        let error = br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32020,"message":"its own"}}"#;
        let error = Message::parse(Bytes::from_static(error), &Limits::default()).expect("a message");
        assert!(is_mismatch(&error, Era::Modern));
        assert!(!is_mismatch(&error, Era::Legacy));
    }
}
