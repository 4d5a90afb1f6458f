//! What a request comes to: one response message, and how it looks in HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tollgate_limits::Places;
use tollgate_mcp::Segments;
use tollgate_model::Exceeded;

use crate::stages::Admitted;

/// The response to one request, with the client's own id in place.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    /// The HTTP status, where the response travels alone over HTTP.
    pub(crate) status: u16,
    /// The JSON-RPC response.
    pub(crate) body: Segments,
    /// The scopes that an access token would need, where it was not granted for the request.
    pub(crate) scopes: Vec<Arc<str>>,
    /// The limit that left no room for the request.
    pub(crate) exceeded: Option<Box<Exceeded>>,
    /// After how long there may be room for the request.
    pub(crate) retry_after: Option<Duration>,
    /// The request's places among those under way, which it has until the client has its answer.
    pub(crate) places: Option<Arc<Places>>,
}

impl Reply {
    /// A response as it is.
    pub(crate) fn new(status: u16, body: Segments) -> Self {
        Self { status, body, scopes: Vec::new(), exceeded: None, retry_after: None, places: None }
    }

    /// The same, with the places of its request.
    pub(crate) fn holding(self, admitted: Option<&Admitted>) -> Self {
        let places = admitted.map(Admitted::places).filter(|places| !places.are_none());
        Self { places: places.map(Arc::clone), ..self }
    }

    /// A result made by the gateway itself.
    pub(crate) fn result(id: &Bytes, result: &[u8]) -> Self {
        let mut body = Vec::with_capacity(result.len() + id.len() + 40);
        body.extend_from_slice(b"{\"jsonrpc\":\"2.0\",\"id\":");
        body.extend_from_slice(id);
        body.extend_from_slice(b",\"result\":");
        body.extend_from_slice(result);
        body.push(b'}');
        Self::new(200, Segments::from(Bytes::from(body)))
    }
}
