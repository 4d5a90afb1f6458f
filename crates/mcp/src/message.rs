//! One JSON-RPC message, scanned once.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::edit::{Change, Edit};
use crate::json::{self, Fault, JsonKind, Limits, Member, ScanError, Scanner, Span, Stop};
use crate::peek::{is_id, is_integer};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// A response with `result`.
    Result,
    /// A response with `error`.
    Error,
}

impl Kind {
    /// Whether it answers a request.
    pub const fn is_response(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }
}

/// One JSON-RPC message as MCP has them: never a batch, ids never null in requests, `params` and `result` always
/// objects. Members that the protocol does not know stay where they are.
///
/// Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    kind: Kind,
    id: Option<Span>,
    method: Method,
    body: Option<Span>,
    meta: Option<Span>,
    whole: Span,
    envelope: SmallVec<[Member; 4]>,
    members: SmallVec<[Member; 4]>,
    meta_members: SmallVec<[Member; 4]>,
}

#[derive(Clone, Debug)]
enum Method {
    /// A response.
    None,
    /// Stands in the message as it is meant, here without its quotes.
    Plain(Span),
    /// Was written with escapes.
    Unescaped(Box<str>),
}

impl Message {
    /// Reads one message in one validating pass.
    ///
    /// # Errors
    /// The first fault in reading order; see [`Fault`]. A JSON array is a [`Fault::Batch`]: only 2025-03-26 has
    /// batches, and whoever takes them splits them with [`json::elements`] (after [`json::validate`]) and parses each
    /// element for itself.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, ScanError> {
        match Draft::scan(&bytes, limits).and_then(|draft| draft.judge(&bytes)) {
            Ok(Judged { kind, id, method, body, draft }) => Ok(Self {
                kind,
                id,
                method,
                body,
                meta: draft.meta,
                whole: draft.whole,
                envelope: draft.envelope,
                members: draft.members,
                meta_members: draft.meta_members,
                bytes,
            }),
            Err(stop) => Err(ScanError::new(stop, &bytes)),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole message as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole message as it came.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The id: a JSON string or an integer; `null` only in error responses, which may also have none.
    pub fn id(&self) -> Option<Span> {
        self.id
    }

    /// The id as raw JSON, sharing the message's bytes.
    pub fn id_raw(&self) -> Option<Bytes> {
        self.id.map(|id| self.raw(id))
    }

    /// The id, if it is an unsigned integer that fits.
    pub fn id_u64(&self) -> Option<u64> {
        self.integer(self.id?)
    }

    /// The method; empty for responses.
    pub fn method(&self) -> &str {
        match &self.method {
            Method::None => "",
            Method::Plain(span) => std::str::from_utf8(span.of(&self.bytes)).unwrap_or_default(),
            Method::Unescaped(method) => method,
        }
    }

    /// The body: the value of `params`, `result` or `error`, always an object. A request may have none.
    pub fn body(&self) -> Option<Span> {
        self.body
    }

    /// The members of the body, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The value of a member of the body.
    pub fn member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.members, key)
    }

    /// The text of a member of the body, if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.member(key)?)
    }

    /// `_meta` of the body, if it is an object.
    pub fn meta(&self) -> Option<Span> {
        self.meta
    }

    /// The members of `_meta`, in order; none if it is no object.
    pub fn meta_members(&self) -> &[Member] {
        &self.meta_members
    }

    /// The value of a member of `_meta`.
    pub fn meta_member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.meta_members, key)
    }

    /// The text of a member of `_meta`, if it is a string.
    pub fn meta_text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.meta_member(key)?)
    }

    /// The members of the envelope, in order.
    pub fn envelope(&self) -> &[Member] {
        &self.envelope
    }

    /// The code of an error response, if it fits 64 bits.
    pub fn error_code(&self) -> Option<i64> {
        (self.kind == Kind::Error).then(|| self.integer(self.member("code")?)).flatten()
    }

    /// What the value at `span` is.
    pub fn kind_of(&self, span: Span) -> JsonKind {
        json::kind_of(&self.bytes, span)
    }

    /// A part of the message, sharing its bytes.
    pub fn raw(&self, span: Span) -> Bytes {
        span.slice(&self.bytes)
    }

    fn value_of(&self, members: &[Member], key: &str) -> Option<Span> {
        members.iter().find(|member| member.key_is(&self.bytes, key)).map(|member| member.value)
    }

    fn integer<T: std::str::FromStr>(&self, value: Span) -> Option<T> {
        std::str::from_utf8(value.of(&self.bytes)).ok()?.parse().ok()
    }
}

/// Changes to a message. Each takes the edit that collects them, so several make one splice.
impl Message {
    /// Begins an edit of this message.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.bytes)
    }

    /// Gives the message this id (raw JSON), replacing the one it has.
    pub fn set_id(&self, edit: &mut Edit<'_>, raw_id: impl Into<Bytes>) {
        match self.id {
            Some(id) => edit.replace(id, raw_id),
            None => self.change_envelope(edit, &[Change::Set("id", raw_id.into())]),
        }
    }

    /// Gives a request or notification another method.
    pub fn set_method(&self, edit: &mut Edit<'_>, method: &str) {
        if !self.kind.is_response() {
            self.change_envelope(edit, &[Change::Set("method", json::quote(method))]);
        }
    }

    /// Changes members of the envelope.
    pub fn change_envelope(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        edit.members(self.whole, &self.envelope, changes);
    }

    /// Changes members of the body. A request without `params` gets them.
    pub fn change_body(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match self.body {
            Some(body) => edit.members(body, &self.members, changes),
            None => edit.nested(self.whole, &self.envelope, "params", changes),
        }
    }

    /// Changes members of the body's `_meta`, which is added (also in place of something that is no object) where it
    /// is missing.
    pub fn change_meta(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match (self.meta, self.body) {
            (Some(meta), _) => edit.members(meta, &self.meta_members, changes),
            (None, Some(body)) => edit.nested(body, &self.members, "_meta", changes),
            (None, None) => {
                let params = edit.pending(self.whole, None, "params").unwrap_or(Bytes::from_static(b"{}"));
                let body = json::whole(&params);
                let members: SmallVec<[Member; 4]> = json::members(&params, body).collect();
                let mut inner = Edit::new(&params);
                inner.nested(body, &members, "_meta", changes);
                let params = inner.finish().into_bytes();
                self.change_envelope(edit, &[Change::Set("params", params)]);
            }
        }
    }
}

/// What the scan found, not yet judged by the rules of JSON-RPC.
#[derive(Default)]
struct Draft {
    whole: Span,
    jsonrpc: Option<Span>,
    id: Option<Span>,
    method: Option<Span>,
    params: Option<Span>,
    result: Option<Span>,
    error: Option<Span>,
    meta: Option<Span>,
    envelope: SmallVec<[Member; 4]>,
    /// Members of params, result or error: of the last of them, but only one is legal.
    members: SmallVec<[Member; 4]>,
    meta_members: SmallVec<[Member; 4]>,
}

/// A message that keeps the rules.
struct Judged {
    kind: Kind,
    id: Option<Span>,
    method: Method,
    body: Option<Span>,
    draft: Draft,
}

impl Draft {
    fn scan(bytes: &[u8], limits: &Limits) -> Result<Self, Stop> {
        let mut scanner = Scanner::new(bytes, limits)?;
        if scanner.peek() != Some(b'{') {
            let is_array = scanner.peek() == Some(b'[');
            scanner.value(0)?;
            scanner.end()?;
            let fault = if is_array { Fault::Batch } else { Fault::NotAnObject };
            return Err(Stop { fault, offset: 0 });
        }
        let mut draft = Self::default();
        draft.whole = scanner.object(0, |scanner, key| draft.member(scanner, bytes, key))?;
        scanner.end()?;
        Ok(draft)
    }

    fn member(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8], key: Span) -> Result<(), Stop> {
        let name = json::text(bytes, key).unwrap_or_default();
        let is_body = matches!(&*name, "params" | "result" | "error");
        let value = if is_body && scanner.peek() == Some(b'{') {
            self.body(scanner, bytes)?
        } else {
            scanner.value(1)?
        };
        match &*name {
            "jsonrpc" => self.jsonrpc = Some(value),
            "id" => self.id = Some(value),
            "method" => self.method = Some(value),
            "params" => self.params = Some(value),
            "result" => self.result = Some(value),
            "error" => self.error = Some(value),
            _ => {}
        }
        self.envelope.push(Member { key, value });
        Ok(())
    }

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

    /// Holds the members against the rules.
    fn judge(self, bytes: &[u8]) -> Result<Judged, Stop> {
        let fault = |fault, at: Span| Stop { fault, offset: at.start as usize };
        let is_object = |value| json::kind_of(bytes, value) == JsonKind::Object;

        let is_version_2 = self.jsonrpc.is_some_and(|value| json::key_is(bytes, value, "2.0"));
        let bodies = [self.params, self.result, self.error].iter().flatten().count();
        if !is_version_2 || bodies > 1 {
            return Err(fault(Fault::NotJsonRpc, self.whole));
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
                    return Err(fault(Fault::BadId, self.whole));
                }
                (Kind::Result, Some(result))
            }
            (None, None, Some(error)) => {
                if !is_object(error) || !self.is_error(bytes) {
                    return Err(fault(Fault::BadResponse, error));
                }
                (Kind::Error, Some(error))
            }
            _ => return Err(fault(Fault::NotJsonRpc, self.whole)),
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
        Ok(Judged { kind, id: self.id, method, body, draft: self })
    }

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

fn read_method(bytes: &[u8], method: Span) -> Option<Method> {
    match json::text(bytes, method)? {
        text if text.is_empty() => None,
        Cow::Borrowed(_) => Some(Method::Plain(Span { start: method.start + 1, end: method.end - 1 })),
        Cow::Owned(text) => Some(Method::Unescaped(text.into())),
    }
}
