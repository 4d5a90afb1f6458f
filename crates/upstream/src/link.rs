//! A link: the session, process or stateless origin that serves one caller, and one request on it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_mcp::{Message, Segments};
use tollgate_model::{Era, Revision};

use crate::UpstreamError;

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
}

/// A session, process or stateless origin. Cheap to clone; all clones are the same.
#[derive(Clone, Debug)]
pub struct Link {}

impl Link {
    /// The server's era.
    pub fn era(&self) -> Era {
        self.revision().era()
    }

    /// The revision spoken with the server.
    pub fn revision(&self) -> Revision {
        Revision::LATEST
    }

    /// What the server said of itself.
    pub fn hello(&self) -> &Hello {
        unreachable!()
    }

    /// The next request id on this link; it serves as the progress token too.
    pub fn mint(&self) -> u64 {
        0
    }

    /// Sends a request. An error of [`UpstreamError::is_stale`] says that nothing was carried out and another link
    /// may do better.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn request(&self, _request: Outbound) -> Result<Exchange, UpstreamError> {
        Err(UpstreamError::unavailable("the server cannot be reached", "not built"))
    }

    /// Sends a notification, or the response to a server's request.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn notify(&self, _message: Segments) -> Result<(), UpstreamError> {
        Err(UpstreamError::unavailable("the server cannot be reached", "not built"))
    }
}

/// A request to send. Its body is sent as it is: the id (from [`Link::mint`]), the progress token (the same number)
/// and a modern request's `_meta` are already in it.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The request's id, as in the body.
    pub id: u64,
    /// The request's method, as in the body.
    pub method: Cow<'static, str>,
    /// What `Mcp-Name` must say: the native tool or prompt name, or the resource URI; not yet encoded.
    pub mcp_name: Option<String>,
    /// `Mcp-Param-*` headers to forward.
    pub params: Vec<(HeaderName, HeaderValue)>,
    /// The message.
    pub body: Segments,
    /// How long the response may take; never longer than [`crate::Timeouts::request`], which is also the default.
    pub timeout: Option<Duration>,
}

/// One request under way. Dropping it before its response cancels it: the response stream is closed (modern HTTP), or
/// `notifications/cancelled` is sent (stdio, and every legacy transport).
#[derive(Debug)]
pub struct Exchange {}

impl Exchange {
    /// The next message that belongs to this request. After [`Incoming::Response`] or an error there is nothing more.
    /// Dropping the future of this function loses nothing.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn next(&mut self) -> Result<Incoming, UpstreamError> {
        Err(UpstreamError::unavailable("the server cannot be reached", "not built"))
    }
}

/// A message that belongs to a request.
#[derive(Debug)]
pub enum Incoming {
    /// A notification: progress with this request's token, or another that belongs to it.
    Notification(Message),
    /// A request of a legacy server, to be answered through [`Link::notify`].
    Request(Message),
    /// The response, with the id that the request had upstream.
    Response(Message),
}
