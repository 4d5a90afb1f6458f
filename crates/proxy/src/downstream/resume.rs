//! The event streams of a legacy session over Streamable HTTP: how they begin, and how a client comes back to one.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response};
use tollgate_mcp::{encode_comment, encode_priming, headers as names};
use tollgate_model::{Era, Refusal, Revision};

use super::body::Body;
use super::call::{Call, First};
use super::front::{events, json};
use super::headers::Accepts;
use super::streamable::no_answer;
use crate::gateway::Gateway;
use crate::in_flight::Place;
use crate::inbound::Inbound;
use crate::replay::Reader;
use crate::session::Session;
use crate::settings::ProxySettings;
use crate::snapshot::Snapshot;
use crate::standing::Leash;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static(names::LAST_EVENT_ID);

/// A request of a session that is being answered.
pub(crate) struct Answer {
    gateway: Gateway,
    snapshot: Arc<Snapshot>,
    session: Arc<Session>,
    call: Call,
    accepts: Accepts,
}

impl Answer {
    pub(crate) fn begin(
        gateway: Gateway,
        snapshot: Arc<Snapshot>,
        inbound: Inbound,
        place: Place,
        session: Arc<Session>,
        accepts: Accepts,
    ) -> Self {
        let call = Call::new(gateway.clone(), inbound, Some(place));
        Self { gateway, snapshot, session, call, accepts }
    }

    /// Sees it through: as one JSON message if it can be, else as a stream. A stream goes on without its client, which may
    /// come back to it.
    pub(crate) async fn see_through(self) -> Response<Body> {
        let Self { gateway, snapshot, session, call, accepts } = self;
        let settings = &snapshot.settings;
        let mut patience = settings.keep_alive;
        if is_primed(&session) {
            // From its first event on, the answer survives a broken connection.
            patience = patience.min(settings.resume.after);
        }
        match call.first(accepts, patience).await {
            First::Reply(reply) => json(reply),
            First::Stream(call) => {
                let reader = session.open_answer(call.outlet(), &settings.resume);
                let leash = call.leash();
                gateway.spawn(call.run());
                begin(session, reader, 0, leash, settings)
            }
            First::Ended(ended) => no_answer(ended, Era::Legacy),
        }
    }
}

/// Answers a GET: the stream for what belongs to no request or, if the client names the last event that it had, the
/// rest of that event's stream.
pub(crate) fn stream(
    session: Arc<Session>,
    leash: Leash,
    settings: &ProxySettings,
    headers: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    // An empty id says that there is no last event (WHATWG HTML, section 9.2.6).
    let last = headers.get(LAST_EVENT_ID).map(HeaderValue::as_bytes).filter(|id| !id.is_empty());
    let (reader, after) = match last {
        Some(id) => session.resume_stream(id)?,
        None => (session.open_stream(settings), 0),
    };
    Ok(begin(session, reader, after, leash, settings))
}

/// A stream whose client has had the event of the number `after`. A client of 2025-11-25 is first given an event
/// without data, which it can come back to before it has had any message. Older ones could take it for a message.
pub(crate) fn begin(
    session: Arc<Session>,
    reader: Reader,
    after: u64,
    leash: Leash,
    settings: &ProxySettings,
) -> Response<Body> {
    let first: Bytes = if is_primed(&session) {
        let retry_ms = u64::try_from(settings.resume.retry.as_millis()).unwrap_or(u64::MAX);
        encode_priming(&reader.event_id(after), Some(retry_ms))
    } else {
        encode_comment()
    };
    events(Body::session_stream(session, reader, leash, first, settings.keep_alive))
}

fn is_primed(session: &Session) -> bool {
    session.caller.client.revision == Revision::V2025_11_25
}
