//! HTTP+SSE (2024-11-05): a GET opens the stream, whose first event says where to post; every answer comes on it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use tollgate_catalog::Endpoint;
use tollgate_mcp::encode_named;
use tollgate_model::{Code, Era, Refusal, SessionId, Stage};

use super::body::Body;
use super::connection::Connection;
use super::front::{empty, events, refused, served};
use super::headers;
use super::intake::{self, NotTaken};
use super::taken::Broken;
use crate::gateway::Gateway;
use crate::refuse;
use crate::resource::MESSAGES_PATH;
use crate::snapshot::Snapshot;
use crate::stages::record::Early;
use crate::stages::{Identified, block};
use crate::standing::Leash;

/// The query parameter that names the connection.
const CONNECTION: &str = "sessionId";

/// Opens a client's stream.
pub(crate) async fn open<B>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    who: &Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: &Request<B>,
) -> Response<Body> {
    let name = endpoint.as_ref().and_then(|endpoint| endpoint.name().cloned());
    let opened = (|| {
        let endpoint = served(endpoint)?;
        if !headers::accepts(request.headers()).events {
            return Err(no_events());
        }
        let id = gateway.sealer().random_id().map_err(|error| {
            Refusal::new(Stage::Session, Code::Internal, "no session id could be made")
                .because(error.to_string())
        })?;
        let settings = &snapshot.settings;
        let at = endpoint.name().cloned();
        let name = at.as_ref().map_or_else(String::new, |at| format!("/{at}"));
        let connection = Connection::new(SessionId::new(&id), who, at, settings.stream_queue_max, false);
        let connection = Arc::new(connection);
        gateway.connections().add(Arc::clone(&connection), settings.sessions_room())?;
        // The endpoint's name is in the address, so that it is known what a token must be meant for before anyone looks
        // whether there is such a connection.
        let address = format!("{}{MESSAGES_PATH}{name}?{CONNECTION}={id}", snapshot.public_prefix);
        let first = encode_named("endpoint", &address);
        let leash = Leash::of_latest(gateway, Arc::clone(connection.latest()), who.as_of());
        Ok(events(Body::connection_stream(gateway.clone(), connection, leash, first, settings.keep_alive)))
    })();
    match opened {
        Ok(response) => response,
        Err(refusal) => {
            let early = Early::known(who, Era::Legacy).at(name.as_ref());
            refused(gateway, &refusal, early, None).await
        }
    }
}

/// Takes a client's message in; whatever there is to answer goes to its stream.
pub(crate) async fn post<B>(
    gateway: &Gateway,
    who: Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Broken> + Send + 'static,
{
    let taken = async {
        // Its stream has ended, or is about to.
        block::admit(gateway, who.who())?;
        headers::check_content_type(request.headers())?;
        let id = connection_id(request.uri().query()).ok_or_else(|| {
            let text = format!("the `{CONNECTION}` parameter is missing");
            Refusal::new(Stage::Session, Code::MissingSession, text)
        })?;
        let is_of = |connection: &Arc<Connection>| {
            endpoint.as_ref().is_some_and(|endpoint| endpoint.name() == connection.endpoint())
        };
        let connection = gateway.connections().find(&id, who.who()).filter(is_of).ok_or_else(|| {
            let text = "no such connection; it may have ended: open the stream again";
            Refusal::new(Stage::Session, Code::UnknownSession, text)
        })?;
        let bytes = intake::read(request.into_body(), &gateway.snapshot().settings).await?;
        match connection.receive(gateway, &who, bytes).await {
            Ok(()) => Ok(()),
            // The answer to a request that can be named belongs on the stream, like every answer.
            Err(NotTaken { refusal, id: Some(id) }) => {
                let early = Early::known(&who, Era::Legacy).at(connection.endpoint());
                connection.reply(gateway, refuse::early(gateway, &refusal, early, Some(&id)).await);
                Ok(())
            }
            Err(not_taken) => Err(not_taken),
        }
    };
    match taken.await {
        Ok(()) => empty(StatusCode::ACCEPTED),
        Err(NotTaken { refusal, id }) => {
            let name = endpoint.as_ref().and_then(|endpoint| endpoint.name());
            let early = Early::known(&who, Era::Legacy).at(name);
            refused(gateway, &refusal, early, id.as_ref()).await
        }
    }
}

/// The client asks for a stream and takes no events.
pub(crate) fn no_events() -> Refusal {
    Refusal::new(Stage::Transport, Code::NotAcceptable, "`Accept` must list `text/event-stream`")
}

fn connection_id(query: Option<&str>) -> Option<String> {
    let pairs = query?.split('&').filter_map(|pair| pair.split_once('='));
    pairs.into_iter().find(|(name, _)| *name == CONNECTION).map(|(_, id)| id.to_owned())
}
