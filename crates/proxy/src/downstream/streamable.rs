//! Streamable HTTP, every revision on one endpoint: legacy sessions (2025-03-26 to 2025-11-25) and stateless requests
//! (2026-07-28) side by side. A request's own metadata decides which it is.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tollgate_catalog::Endpoint;
use tollgate_mcp::{Kind, Limits, Message, headers as names, methods};
use tollgate_model::{Caller, Code, Era, Principal, Refusal, SessionId, Stage};

use super::batch::{self, Batch};
use super::body::Body;
use super::call::{Call, Ended, First};
use super::classify::{self, VersionHeader};
use super::front::{empty, events, json, not_allowed, refused, served};
use super::headers::{self, Accepts};
use super::intake::{self, NotTaken};
use super::resume;
use super::sse;
use super::taken::Broken;
use crate::gateway::Gateway;
use crate::hello;
use crate::inbound::Inbound;
use crate::mailbox::Mailbox;
use crate::refuse;
use crate::reply::Reply;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::stages::record::{self, CallRecord, Early};
use crate::stages::{Identified, block, identify};
use crate::standing::Leash;

/// A message from a client.
pub(crate) async fn post<B>(
    gateway: &Gateway,
    snapshot: Arc<Snapshot>,
    who: Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: Request<B>,
) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = Broken> + Send + 'static,
{
    let (parts, body) = request.into_parts();
    let version = VersionHeader::read(&parts.headers);
    let name = endpoint.as_ref().and_then(|endpoint| endpoint.name().cloned());
    let taken = async {
        let endpoint = served(endpoint)?;
        headers::check_content_type(&parts.headers)?;
        let accepts = headers::check_accept(&parts.headers)?;
        let bytes = intake::read(body, &snapshot.settings).await?;
        who.check(gateway)?;
        if batch::is_array(&bytes)
            && let Some(session) = batching_session(gateway, who.who(), &parts.headers, version, &endpoint)?
        {
            block::admit(gateway, who.who())?;
            let batch = Batch::split(&bytes, &snapshot.settings)?;
            return Ok(Err((endpoint, accepts, session, batch)));
        }
        let message = intake::parse(bytes, &snapshot.settings)?;
        block::admit(gateway, who.who()).map_err(|refusal| NotTaken::new(refusal, message.id_raw()))?;
        Ok::<_, NotTaken>(Ok((endpoint, accepts, message)))
    };
    let taken = match taken.await {
        Ok(taken) => taken,
        Err(NotTaken { refusal, id }) => {
            let early = Early::known(&who, version.era()).at(name.as_ref());
            return refused(gateway, &refusal, early, id.as_ref()).await;
        }
    };
    let (endpoint, accepts, message) = match taken {
        Ok(taken) => taken,
        Err((endpoint, accepts, session, batch)) => {
            return Box::pin(batch::answer(gateway, snapshot, &who, &endpoint, session, accepts, batch))
                .await;
        }
    };
    let era = classify::era(&message, version);
    let id = message.id_raw();
    let headers = &parts.headers;
    let (bytes, caller) = (message.bytes().clone(), who.clone());
    let post = Post { gateway, snapshot, who, endpoint, message, headers, accepts, version };
    // What it takes to begin an answer is done before anything is waited for, and so is no part of what waits.
    let begun = match era {
        Era::Modern => post.modern(),
        Era::Legacy => post.legacy(),
    };
    let answered = match begun {
        Ok(Begun::Whole(response)) => Ok(response),
        Ok(Begun::Modern(call, accepts, keep_alive)) => Ok(answer(call, accepts, keep_alive).await),
        Ok(Begun::Legacy(answer)) => Ok(answer.see_through().await),
        Ok(Begun::Session(post)) => Box::pin(post.initialize()).await,
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(response) => response,
        Err(refusal) => {
            let message = Message::parse(bytes, &Limits { bytes_max: usize::MAX, ..Limits::default() }).ok();
            let early = Early::known(&caller, era).at(name.as_ref()).with(message.as_ref());
            refused(gateway, &refusal, early, id.as_ref()).await
        }
    }
}

/// How an answer begins.
enum Begun<'a> {
    /// It is there.
    Whole(Response<Body>),
    /// A modern request is being answered: how it may be, and how long its client waits without a word.
    Modern(Call, Accepts, Duration),
    /// A legacy request is.
    Legacy(resume::Answer),
    /// A session begins.
    Session(Box<Post<'a>>),
}

struct Post<'a> {
    gateway: &'a Gateway,
    snapshot: Arc<Snapshot>,
    who: Identified,
    endpoint: Arc<Endpoint>,
    message: Message,
    headers: &'a HeaderMap,
    accepts: Accepts,
    version: VersionHeader<'a>,
}

impl<'a> Post<'a> {
    fn modern(self) -> Result<Begun<'a>, Refusal> {
        match self.message.kind() {
            Kind::Request => {}
            // This revision defines no notification over HTTP; what a client sends all the same changes nothing.
            Kind::Notification => return Ok(Begun::Whole(empty(StatusCode::ACCEPTED))),
            Kind::Result | Kind::Error => {
                let text = "a client sends requests and notifications, never responses";
                return Err(Refusal::new(Stage::Envelope, Code::InvalidRequest, text));
            }
        }
        // A version that header and body do not agree on is a mismatch, whatever else is wrong with it.
        if self.versions_differ() {
            classify::check_headers(&self.message, self.headers)?;
        }
        let profile = classify::modern_profile(&self.message)?;
        classify::check_headers(&self.message, self.headers)?;
        let (who, source) = (Arc::clone(self.who.who()), self.who.source());
        let caller = Caller { who, session: None, client: Arc::new(profile), source };
        if self.message.method() == methods::SUBSCRIPTIONS_LISTEN && !self.accepts.events {
            return Err(sse::no_events());
        }
        let param_headers = param_headers(self.headers);
        let gateway = self.gateway.clone();
        let (accepts, keep_alive) = (self.accepts, self.snapshot.settings.keep_alive);
        let inbound = self.inbound(caller, Some(param_headers), None)?;
        Ok(Begun::Modern(Call::new(gateway, inbound, None), accepts, keep_alive))
    }

    fn versions_differ(&self) -> bool {
        let body = self.message.meta_text(tollgate_mcp::meta::PROTOCOL_VERSION);
        let header = self.headers.get(classify::PROTOCOL_VERSION).map(HeaderValue::as_bytes);
        body.as_deref().map(str::as_bytes) != header
    }

    fn legacy(self) -> Result<Begun<'a>, Refusal> {
        if let VersionHeader::Unknown(version) = self.version {
            return Err(classify::unsupported(version));
        }
        if self.message.kind() == Kind::Request && self.message.method() == methods::INITIALIZE {
            return Ok(Begun::Session(Box::new(self)));
        }
        let session = find_session(self.gateway, self.who.who(), self.headers, &self.endpoint)?;
        if session.proved(&self.who) && self.gateway.policing().is_on() {
            // Somebody of other groups may see other things.
            self.gateway.look_after_views();
        }
        match self.message.kind() {
            Kind::Request => {
                let in_flight_max = self.snapshot.settings.in_flight_max;
                let id = self.message.id_raw().unwrap_or_default();
                let place = session.in_flight.enter(&id, in_flight_max)?;
                let gateway = self.gateway.clone();
                let (accepts, snapshot) = (self.accepts, Arc::clone(&self.snapshot));
                // What this request proved holds for it: groups and scopes may be others than when the session began.
                let (who, source) = (Arc::clone(self.who.who()), self.who.source());
                let caller = Caller { who, source, ..session.caller.clone() };
                let inbound = self.inbound(caller, None, Some(Arc::clone(&session)))?;
                session.speaks_on(&place, &inbound.outlet);
                Ok(Begun::Legacy(resume::Answer::begin(gateway, snapshot, inbound, place, session, accepts)))
            }
            Kind::Notification | Kind::Result | Kind::Error => {
                session.hear(self.gateway, self.message);
                Ok(Begun::Whole(empty(StatusCode::ACCEPTED)))
            }
        }
    }

    async fn initialize(self) -> Result<Response<Body>, Refusal> {
        let profile = classify::legacy_profile(&self.message)?;
        let id = self.gateway.sealer().random_id().map_err(|error| {
            Refusal::new(Stage::Session, Code::Internal, "no session id could be made")
                .because(error.to_string())
        })?;
        let (who, source) = (Arc::clone(self.who.who()), self.who.source());
        let session = Some(SessionId::new(&id));
        let caller = Caller { who, session, client: Arc::new(profile), source };
        let session = Arc::new(Session::new(caller, self.endpoint.name().cloned()));
        let result = hello::initialize(self.gateway, &self.snapshot, &self.endpoint, &session.caller).await?;
        self.gateway.add_session(&session, self.snapshot.settings.sessions_room())?;
        if let Err(refusal) = record::opened(self.gateway, &session).await {
            self.gateway.end_session(&session, "unrecorded");
            return Err(refusal);
        }
        let request_id = self.message.id_raw().unwrap_or_default();
        let reply = Reply::result(&request_id, &result);
        let mut response = if self.accepts.json {
            json(reply)
        } else {
            events(Body::whole(tollgate_mcp::encode_event(&reply.body, None)))
        };
        let value = HeaderValue::from_str(&id)
            .map_err(|_| Refusal::new(Stage::Session, Code::Internal, "the session id is no header value"))?;
        response.headers_mut().insert(classify::SESSION_ID, value);
        Ok(response)
    }

    fn inbound(
        self,
        caller: Caller,
        param_headers: Option<Vec<(HeaderName, HeaderValue)>>,
        session: Option<Arc<Session>>,
    ) -> Result<Inbound, Refusal> {
        let id = self
            .message
            .id_raw()
            .ok_or_else(|| Refusal::new(Stage::Envelope, Code::InvalidRequest, "a request needs an id"))?;
        let outlet = Mailbox::new(self.snapshot.settings.stream_queue_max);
        if !self.accepts.events {
            // Nobody would read it.
            outlet.close();
        }
        let record = Arc::new(CallRecord::of(&self.message, Some(self.headers)));
        Ok(Inbound {
            id,
            message: self.message,
            caller,
            endpoint: self.endpoint,
            outlet,
            snapshot: self.snapshot,
            param_headers,
            session,
            as_of: self.who.as_of(),
            record,
        })
    }
}

/// Sees a modern request through: as one JSON message if it can be, else as a stream.
async fn answer(call: Call, accepts: Accepts, keep_alive: Duration) -> Response<Body> {
    match call.first(accepts, keep_alive).await {
        First::Reply(reply) => json(reply),
        First::Stream(call) => events(Body::call(call, keep_alive)),
        First::Ended(ended) => no_answer(ended, Era::Modern),
    }
}

/// Where there is no answer. A client that has cancelled its request waits for nothing: it gets an empty stream.
pub(crate) fn no_answer(ended: Ended, era: Era) -> Response<Body> {
    match ended {
        Ended::Cancelled => events(Body::empty()),
        Ended::TakenBack(on_record) => json(refuse::render(&identify::taken_back(), era, None, on_record)),
    }
}

fn param_headers(map: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
    map.iter()
        .filter(|(name, _)| name.as_str().starts_with(names::MCP_PARAM_PREFIX))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The caller's session at this endpoint. Missing is 400, unknown is 404 (2025-11-25, transports, session management).
fn find_session(
    gateway: &Gateway,
    who: &Principal,
    map: &HeaderMap,
    endpoint: &Endpoint,
) -> Result<Arc<Session>, Refusal> {
    let Some(value) = map.get(classify::SESSION_ID) else {
        let text = "the `Mcp-Session-Id` header is missing; send `initialize` first";
        return Err(Refusal::new(Stage::Session, Code::MissingSession, text));
    };
    let id = value.to_str().unwrap_or_default();
    gateway.sessions().find(id, who, endpoint.name()).ok_or_else(|| {
        let text = "no such session; it may have ended: send `initialize` again";
        Refusal::new(Stage::Session, Code::UnknownSession, text)
    })
}

/// The session in which a batch may be sent; none where there are no batches.
fn batching_session(
    gateway: &Gateway,
    who: &Principal,
    map: &HeaderMap,
    version: VersionHeader<'_>,
    endpoint: &Endpoint,
) -> Result<Option<Arc<Session>>, Refusal> {
    if version.era() == Era::Modern || !map.contains_key(classify::SESSION_ID) {
        return Ok(None);
    }
    find_session(gateway, who, map, endpoint)
        .map(|session| Some(session).filter(|session| batch::are_served(session)))
}

/// The session that a GET or DELETE is about; none if the request is not of the legacy era, which alone has these.
fn legacy_session<B>(
    gateway: &Gateway,
    who: &Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: &Request<B>,
) -> Result<Option<Arc<Session>>, Refusal> {
    let endpoint = served(endpoint)?;
    let is_legacy = match VersionHeader::read(request.headers()) {
        VersionHeader::Known(revision) => revision.era() == Era::Legacy,
        VersionHeader::Absent => request.headers().contains_key(classify::SESSION_ID),
        VersionHeader::Unknown(version) => return Err(classify::unsupported(version)),
    };
    if !is_legacy {
        return Ok(None);
    }
    let session = find_session(gateway, who.who(), request.headers(), &endpoint)?;
    session.proved(who);
    Ok(Some(session))
}

/// A legacy client opens the stream for what belongs to no request, or comes back to a stream that broke.
pub(crate) async fn get<B>(
    gateway: &Gateway,
    snapshot: &Snapshot,
    who: &Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: &Request<B>,
) -> Response<Body> {
    let name = endpoint.as_ref().and_then(|endpoint| endpoint.name().cloned());
    let opened = match legacy_session(gateway, who, endpoint, request) {
        Ok(Some(session)) if headers::accepts(request.headers()).events => {
            let leash = Leash::of_listener(gateway, who);
            resume::stream(session, leash, &snapshot.settings, request.headers())
        }
        Ok(Some(_)) => Err(sse::no_events()),
        Ok(None) => {
            let era = VersionHeader::read(request.headers()).era();
            return not_allowed(gateway, Early::known(who, era).at(name.as_ref()), "POST").await;
        }
        Err(refusal) => Err(refusal),
    };
    match opened {
        Ok(response) => response,
        Err(refusal) => {
            let early = Early::known(who, Era::Legacy).at(name.as_ref());
            refused(gateway, &refusal, early, None).await
        }
    }
}

/// A legacy client ends its session.
pub(crate) async fn delete<B>(
    gateway: &Gateway,
    who: &Identified,
    endpoint: Option<Arc<Endpoint>>,
    request: &Request<B>,
) -> Response<Body> {
    let name = endpoint.as_ref().and_then(|endpoint| endpoint.name().cloned());
    match legacy_session(gateway, who, endpoint, request) {
        Ok(Some(session)) => {
            gateway.end_session(&session, "client");
            empty(StatusCode::NO_CONTENT)
        }
        Ok(None) => {
            let era = VersionHeader::read(request.headers()).era();
            not_allowed(gateway, Early::known(who, era).at(name.as_ref()), "POST").await
        }
        Err(refusal) => {
            let early = Early::known(who, Era::Legacy).at(name.as_ref());
            refused(gateway, &refusal, early, None).await
        }
    }
}
