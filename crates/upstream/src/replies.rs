//! The way back for what a legacy server has asked.

use std::sync::Arc;

use tollgate_mcp::Segments;

use crate::UpstreamError;
use crate::link::{Instance, Wire};
use crate::session::Current;

/// The way by which the answers to a server's own requests reach it: the very session or process in which it asked. A server
/// that has forgotten a session counts its requests anew, so in another session the same id is another's question.
#[derive(Debug, Clone)]
pub struct Replies {
    instance: Arc<Instance>,
    /// The session as the server knew it when it asked; none where that is the instance itself.
    asked_in: Option<Arc<Current>>,
}

impl Replies {
    pub(crate) fn new(instance: &Arc<Instance>, asked_in: Option<Arc<Current>>) -> Self {
        Self { instance: Arc::clone(instance), asked_in }
    }

    /// Ends when nothing can be answered any more: the process or session in which the server asked has ended.
    pub async fn closed(&self) {
        match (&self.instance.wire, &self.asked_in) {
            (Wire::Session(_), Some(asked_in)) => asked_in.stop.cancelled().await,
            (Wire::Shared(conversation), _) => conversation.commands.closed().await,
            (Wire::Modern(_), _) | (Wire::Session(_), None) => std::future::pending().await,
        }
    }

    /// Sends the response to a request of the server's, or a notification about one.
    pub async fn send(&self, message: Segments) -> Result<(), UpstreamError> {
        self.instance.touch();
        match (&self.instance.wire, &self.asked_in) {
            (Wire::Session(session), Some(asked_in)) => session.tell_in(asked_in, message).await,
            (Wire::Shared(conversation), _) => conversation.send(message).await,
            // A modern server asks by its results, and one message that is an answer asks nothing.
            (Wire::Modern(_), _) | (Wire::Session(_), None) => Ok(()),
        }
    }
}
