//! A server's question that has no answer yet.

use bytes::Bytes;
use tollgate_upstream::Replies;

use crate::stages::dispatch::{self, Own};

/// A question to be answered: its server may wait for as long as it likes, so it hears also that there will be no answer.
/// Dropped before it is settled, it is answered with an error.
#[derive(Debug)]
pub(crate) struct Owed {
    raw_id: Bytes,
    /// The way to who waits, if anybody does.
    replies: Option<Replies>,
}

impl Owed {
    pub(crate) fn new(raw_id: Bytes, replies: Replies) -> Self {
        Self { raw_id, replies: Some(replies) }
    }

    /// Where no request of the server's waits.
    pub(crate) fn nothing() -> Self {
        Self { raw_id: Bytes::new(), replies: None }
    }

    /// The server's id of its request, as raw JSON; empty where there is none.
    pub(crate) fn raw_id(&self) -> &Bytes {
        &self.raw_id
    }

    /// It is answered, or is about to be, or the server wants no answer any more.
    pub(crate) fn settle(&mut self) {
        self.replies = None;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        let (Some(replies), Ok(runtime)) = (self.replies.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let own = Own::no_answer(&self.raw_id, "the request that this was asked about is over");
        runtime.spawn(async move {
            if let Err(error) = dispatch::reply(&replies, own).await {
                tracing::debug!(%error, "a server could not be told that its question has no answer");
            }
        });
    }
}
