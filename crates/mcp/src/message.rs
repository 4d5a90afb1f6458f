//! One JSON-RPC message, scanned once.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::edit::{Change, Edit};
use crate::json::{self, Fault, JsonKind, Limits, Member, ScanError, Span};

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

/// One JSON-RPC message. Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    kind: Kind,
    envelope: SmallVec<[Member; 5]>,
    members: SmallVec<[Member; 6]>,
    meta_members: SmallVec<[Member; 6]>,
    id: Option<Span>,
    body: Option<Span>,
    meta: Option<Span>,
}

impl Message {
    /// Reads one message in one validating pass.
    pub fn parse(bytes: Bytes, _limits: &Limits) -> Result<Self, ScanError> {
        let _ = bytes;
        Err(ScanError { fault: Fault::Syntax, offset: 0, id: None, response_id: None })
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
    /// The id as raw JSON.
    pub fn id(&self) -> Option<Span> {
        self.id
    }
    /// The id as raw JSON, sharing the message's bytes.
    pub fn id_raw(&self) -> Option<Bytes> {
        self.id.map(|id| self.raw(id))
    }
    /// The id, if it is a plain unsigned integer.
    pub fn id_u64(&self) -> Option<u64> {
        None
    }
    /// The method; empty for responses.
    pub fn method(&self) -> &str {
        ""
    }
    /// The value of params, result or error.
    pub fn body(&self) -> Option<Span> {
        self.body
    }
    /// A member of the body.
    pub fn member(&self, key: &str) -> Option<Span> {
        self.members.iter().find(|member| member.key_is(&self.bytes, key)).map(|member| member.value)
    }
    /// The members of the body, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }
    /// The members of the envelope, in order.
    pub fn envelope(&self) -> &[Member] {
        &self.envelope
    }
    /// A string member of the body.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.member(key)?)
    }
    /// `_meta` of the body, if it is an object.
    pub fn meta(&self) -> Option<Span> {
        self.meta
    }
    /// The members of `_meta`.
    pub fn meta_members(&self) -> &[Member] {
        &self.meta_members
    }
    /// A member of `_meta`.
    pub fn meta_member(&self, key: &str) -> Option<Span> {
        self.meta_members.iter().find(|member| member.key_is(&self.bytes, key)).map(|member| member.value)
    }
    /// A string member of `_meta`.
    pub fn meta_text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.meta_member(key)?)
    }
    /// What the value at `span` is.
    pub fn kind_of(&self, span: Span) -> JsonKind {
        json::kind_of(&self.bytes, span)
    }
    /// A part of the message, sharing its bytes.
    pub fn raw(&self, span: Span) -> Bytes {
        span.slice(&self.bytes)
    }
    /// The code of an error response.
    pub fn error_code(&self) -> Option<i64> {
        None
    }
    /// Begins an edit of this message.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.bytes)
    }
    /// Replaces the id, or adds one.
    pub fn set_id(&self, edit: &mut Edit<'_>, raw_id: impl Into<Bytes>) {
        let _ = (edit, raw_id.into());
    }
    /// Replaces the method.
    pub fn set_method(&self, edit: &mut Edit<'_>, method: &str) {
        let _ = (edit, method);
    }
    /// Changes members of the envelope.
    pub fn change_envelope(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        let _ = (edit, changes);
    }
    /// Changes members of the body; a request without `params` gets them.
    pub fn change_body(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        let _ = (edit, changes);
    }
    /// Changes members of `_meta`, which is added where it is missing.
    pub fn change_meta(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        let _ = (edit, changes);
    }
}
