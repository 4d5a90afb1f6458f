//! Changes to a message, as splices.

use bytes::Bytes;
use smallvec::SmallVec;

use super::Message;
use crate::edit::{Change, Edit};
use crate::json::{self, Member};

/// Changes to a message. Each takes the edit that collects them, so several make one splice.
impl Message {
    /// Begins an edit of this message.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.bytes)
    }

    /// Gives the message this id (raw JSON), replacing the one it has.
    pub fn set_id(&self, edit: &mut Edit<'_>, raw_id: impl Into<Bytes>) {
        match self.reading.id {
            Some(id) => edit.replace(id, raw_id),
            None => self.change_envelope(edit, &[Change::Set("id", raw_id.into())]),
        }
    }

    /// Gives a request or notification another method.
    pub fn set_method(&self, edit: &mut Edit<'_>, method: &str) {
        if !self.reading.kind.is_response() {
            self.change_envelope(edit, &[Change::Set("method", json::quote(method))]);
        }
    }

    /// Changes members of the envelope.
    pub fn change_envelope(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        edit.members(self.parts.whole, &self.parts.envelope, changes);
    }

    /// Changes members of the body. A request without `params` gets them.
    pub fn change_body(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match self.reading.body {
            Some(body) => edit.members(body, &self.parts.members, changes),
            None => edit.nested(self.parts.whole, &self.parts.envelope, "params", changes),
        }
    }

    /// Changes members of the body's `_meta`, which is added (also in place of something that is no object) where it
    /// is missing.
    pub fn change_meta(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match (self.parts.meta, self.reading.body) {
            (Some(meta), _) => edit.members(meta, &self.parts.meta_members, changes),
            (None, Some(body)) => edit.nested(body, &self.parts.members, "_meta", changes),
            (None, None) => {
                let params =
                    edit.pending(self.parts.whole, None, "params").unwrap_or(Bytes::from_static(b"{}"));
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
