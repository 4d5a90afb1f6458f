//! The exchange with the server: the only place from which requests leave the gateway.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use tollgate_mcp::{Message, Segments, methods};
use tollgate_model::{Era, ServerName};
use tollgate_upstream::{Incoming, Outbound, UpstreamError};

use super::Route;
use crate::bridge::{self, Relay};
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;

/// How long a client that reads slowly may hold a server's notification up.
const READER_PATIENCE: Duration = Duration::from_secs(30);

/// A request as it leaves.
pub(crate) struct Departure {
    /// The id that the body carries, minted by the route's link.
    pub(crate) id: u64,
    pub(crate) method: Cow<'static, str>,
    /// What `Mcp-Name` says.
    pub(crate) native: Option<String>,
    pub(crate) param_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Segments,
    pub(crate) timeout: Option<Duration>,
}

/// Where notifications about the request go.
pub(crate) struct Listener<'a> {
    pub(crate) outlet: &'a Mailbox,
    pub(crate) era: Era,
    /// The client's progress token, as raw JSON.
    pub(crate) token: Option<Bytes>,
}

/// Sends the request and sees it through to its response. Dropping the future cancels the request at the server.
pub(crate) async fn send(
    _gateway: &Gateway,
    _server: &ServerName,
    route: &Route,
    departure: Departure,
    listener: Option<&Listener<'_>>,
) -> Result<Message, UpstreamError> {
    let link = route.link();
    let outbound = Outbound {
        id: departure.id,
        method: departure.method,
        mcp_name: departure.native,
        params: departure.param_headers,
        body: departure.body,
        timeout: departure.timeout,
    };
    let mut exchange = link.request(outbound).await?;
    loop {
        match exchange.next().await? {
            Incoming::Response(message) => return Ok(message),
            Incoming::Notification(message) => {
                let Some(listener) = listener else { continue };
                match bridge::relay(&message, link.era(), listener.era, listener.token.as_ref()) {
                    // A client that reads nothing for so long loses the message, but never its reply.
                    Relay::Send(message) => {
                        drop(tokio::time::timeout(READER_PATIENCE, listener.outlet.send(message)).await);
                    }
                    Relay::Drop => {}
                }
            }
            // Sampling, elicitation and roots are not carried yet: the server hears so at once.
            Incoming::Request(request) => {
                if let Some(answer) = answer_to(&request) {
                    link.notify(answer).await?;
                }
            }
        }
    }
}

/// What a server's request gets: pings are answered, everything else is a method that this client does not have.
fn answer_to(request: &Message) -> Option<Segments> {
    let id = request.id_raw()?;
    let mut body = b"{\"jsonrpc\":\"2.0\",\"id\":".to_vec();
    body.extend_from_slice(&id);
    body.extend_from_slice(if request.method() == methods::PING {
        b",\"result\":{}}"
    } else {
        b",\"error\":{\"code\":-32601,\"message\":\"Method not found\"}}"
    });
    Some(Segments::from(Bytes::from(body)))
}
