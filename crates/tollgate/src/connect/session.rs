//! The legacy session that the bridge holds for its client, and how it is opened anew when the gateway forgot it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::task::AbortHandle;
use tollgate_mcp::headers::{MCP_PROTOCOL_VERSION, MCP_SESSION_ID};

/// What requests of a session carry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    /// Which opening of the session this is; 0 before the first.
    pub(crate) generation: u64,
    /// The id, if the other side gives one.
    pub(crate) id: Option<HeaderValue>,
    /// The revision agreed on.
    pub(crate) revision: Option<String>,
}

impl Session {
    /// The headers of every request after `initialize`.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(id) = &self.id {
            headers.insert(HeaderName::from_static(MCP_SESSION_ID), id.clone());
        }
        if let Some(revision) = self.revision.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(HeaderName::from_static(MCP_PROTOCOL_VERSION), revision);
        }
        headers
    }
}

/// The client's session, if it began one.
#[derive(Debug, Default)]
pub(crate) struct Legacy {
    state: Mutex<State>,
    /// Held while the session is opened anew, so that many requests that find it gone open it once.
    pub(crate) reopening: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    session: Session,
    initialize: Option<Bytes>,
    initialized: Option<Bytes>,
    stream: Option<AbortHandle>,
}

impl Legacy {
    /// The session as it is now.
    pub(crate) fn session(&self) -> Session {
        self.with(|state| state.session.clone())
    }

    /// Whether the client has begun a session.
    pub(crate) fn is_begun(&self) -> bool {
        self.with(|state| state.initialize.is_some())
    }

    /// Remembers the client's `initialize`.
    pub(crate) fn begin(&self, initialize: Bytes) {
        self.with(|state| {
            state.initialize = Some(initialize);
            state.initialized = None;
        });
    }

    /// Remembers the client's `notifications/initialized`.
    pub(crate) fn confirm(&self, initialized: Bytes) {
        self.with(|state| state.initialized = Some(initialized));
    }

    /// What opens the session anew.
    pub(crate) fn opening(&self) -> (Option<Bytes>, Option<Bytes>) {
        self.with(|state| (state.initialize.clone(), state.initialized.clone()))
    }

    /// The session was opened.
    pub(crate) fn opened(&self, id: Option<HeaderValue>, revision: Option<String>) -> Session {
        self.with(|state| {
            let generation = state.session.generation + 1;
            state.session = Session { generation, id, revision };
            state.session.clone()
        })
    }

    /// Takes over the task that reads the session's own stream, and ends the one before.
    pub(crate) fn follow(&self, stream: Option<AbortHandle>) {
        let before = self.with(|state| std::mem::replace(&mut state.stream, stream));
        if let Some(before) = before {
            before.abort();
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
