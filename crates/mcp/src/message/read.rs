//! The one pass over a message, and the rules that its members are held against.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{Kind, Method};
use crate::json::{self, Fault, JsonKind, Limits, Member, Scanner, Span, Stop};
use crate::methods;
use crate::peek::{is_id, is_integer};

/// Where the parts of a message are.
#[derive(Clone, Debug, Default)]
pub(super) struct Parts {
    pub(super) whole: Span,
    pub(super) meta: Option<Span>,
    pub(super) envelope: SmallVec<[Member; 4]>,
    /// Members of params, result or error: of the last of them, but only one is legal.
    pub(super) members: SmallVec<[Member; 4]>,
    pub(super) meta_members: SmallVec<[Member; 4]>,
}

/// What they make the message.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    pub(super) kind: Kind,
    pub(super) id: Option<Span>,
    pub(super) method: Method,
    pub(super) body: Option<Span>,
    /// Whether any key is written with escapes, so that comparing bytes does not find it.
    pub(super) has_escaped_keys: bool,
}

/// Reads one message in one validating pass.
pub(super) fn read(bytes: &[u8], limits: &Limits, parts: &mut Parts) -> Result<Reading, Stop> {
    let mut scanner = Scanner::new(bytes, limits)?;
    if scanner.peek() != Some(b'{') {
        let is_array = scanner.peek() == Some(b'[');
        scanner.value(0)?;
        scanner.end()?;
        let fault = if is_array { Fault::Batch } else { Fault::NotAnObject };
        return Err(Stop { fault, offset: 0 });
    }
    let mut envelope = Envelope::default();
    parts.whole = scanner.object(0, |scanner, key| envelope.member(scanner, bytes, key, parts))?;
    scanner.end()?;
    let reading = envelope.judge(bytes, parts)?;
    Ok(Reading { has_escaped_keys: scanner.has_escaped_keys(), ..reading })
}

impl Parts {
    fn body(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8]) -> Result<Span, Stop> {
        let Self { members, meta_members, meta, .. } = self;
        members.clear();
        meta_members.clear();
        *meta = None;
        scanner.object(1, |scanner, key| {
            let value = if scanner.peek() == Some(b'{') && json::key_is(bytes, key, "_meta") {
                let value = scanner.object(2, |scanner, key| {
                    let value = scanner.value(3)?;
                    meta_members.push(Member { key, value });
                    Ok(())
                })?;
                *meta = Some(value);
                value
            } else {
                scanner.value(2)?
            };
            members.push(Member { key, value });
            Ok(())
        })
    }
}

/// The members that JSON-RPC knows.
#[derive(Default)]
struct Envelope {
    jsonrpc: Option<Span>,
    id: Option<Span>,
    method: Option<Span>,
    params: Option<Span>,
    result: Option<Span>,
    error: Option<Span>,
}

impl Envelope {
    fn member(
        &mut self,
        scanner: &mut Scanner<'_>,
        bytes: &[u8],
        key: Span,
        parts: &mut Parts,
    ) -> Result<(), Stop> {
        let (slot, is_body) = match &*json::name(bytes, key) {
            b"jsonrpc" => (Some(&mut self.jsonrpc), false),
            b"id" => (Some(&mut self.id), false),
            b"method" => (Some(&mut self.method), false),
            b"params" => (Some(&mut self.params), true),
            b"result" => (Some(&mut self.result), true),
            b"error" => (Some(&mut self.error), true),
            _ => (None, false),
        };
        let value = if is_body && scanner.peek() == Some(b'{') {
            parts.body(scanner, bytes)?
        } else {
            scanner.value(1)?
        };
        if let Some(slot) = slot {
            *slot = Some(value);
        }
        parts.envelope.push(Member { key, value });
        Ok(())
    }

    /// Holds the members against the rules.
    fn judge(&self, bytes: &[u8], parts: &Parts) -> Result<Reading, Stop> {
        let fault = |fault, at: Span| Stop { fault, offset: at.start };
        let is_object = |value| json::kind_of(bytes, value) == JsonKind::Object;

        let is_version_2 = self.jsonrpc.is_some_and(|value| json::key_is(bytes, value, "2.0"));
        let bodies = [self.params, self.result, self.error].iter().flatten().count();
        if !is_version_2 || bodies > 1 {
            return Err(fault(Fault::NotJsonRpc, parts.whole));
        }
        let bad_id = self.id.filter(|id| !is_id(id.of(bytes)));
        let (kind, body) = match (self.method, self.result, self.error) {
            (Some(_), None, None) => {
                if let Some(params) = self.params.filter(|params| !is_object(*params)) {
                    return Err(fault(Fault::BadParams, params));
                }
                (if self.id.is_some() { Kind::Request } else { Kind::Notification }, self.params)
            }
            (None, Some(result), None) => {
                if !is_object(result) {
                    return Err(fault(Fault::BadResponse, result));
                }
                if self.id.is_none() {
                    return Err(fault(Fault::BadId, parts.whole));
                }
                (Kind::Result, Some(result))
            }
            (None, None, Some(error)) => {
                if !is_object(error) || !parts.is_error(bytes) {
                    return Err(fault(Fault::BadResponse, error));
                }
                (Kind::Error, Some(error))
            }
            _ => return Err(fault(Fault::NotJsonRpc, parts.whole)),
        };
        if let Some(id) = bad_id
            && !(kind == Kind::Error && id.of(bytes) == b"null")
        {
            return Err(fault(Fault::BadId, id));
        }
        let method = match self.method {
            None => Method::None,
            Some(method) => read_method(bytes, method).ok_or(fault(Fault::BadMethod, method))?,
        };
        Ok(Reading { kind, id: self.id, method, body, has_escaped_keys: true })
    }
}

impl Parts {
    /// Whether the recorded members are those of a JSON-RPC error.
    fn is_error(&self, bytes: &[u8]) -> bool {
        let value = |key| {
            let member = self.members.iter().find(|member| json::key_is(bytes, member.key, key));
            member.map(|member| (json::kind_of(bytes, member.value), member.value.of(bytes)))
        };
        let has_code = value("code").is_some_and(|(kind, raw)| kind == JsonKind::Number && is_integer(raw));
        has_code && value("message").is_some_and(|(kind, _)| kind == JsonKind::String)
    }
}

/// The methods of most requests. The stages of a request ask for its method dozens of times.
const OFTEN: [&str; 4] =
    [methods::TOOLS_CALL, methods::TOOLS_LIST, methods::RESOURCES_READ, methods::PROMPTS_GET];

fn read_method(bytes: &[u8], method: Span) -> Option<Method> {
    match json::text(bytes, method)? {
        text if text.is_empty() => None,
        Cow::Borrowed(text) => Some(match OFTEN.iter().find(|known| **known == text) {
            Some(known) => Method::Known(known),
            None => Method::Plain(Span { start: method.start + 1, end: method.end - 1 }),
        }),
        Cow::Owned(text) => Some(Method::Unescaped(text.into())),
    }
}
