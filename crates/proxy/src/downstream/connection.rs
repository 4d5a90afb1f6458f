//! A client whose messages all come and go over one lasting connection: stdio, or HTTP+SSE.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use tollgate_catalog::Endpoint;
use tollgate_mcp::{Kind, Message, Segments, methods};
use tollgate_model::{Caller, Code, EndpointName, Era, Principal, Refusal, SessionId, Stage, TenantId};

use super::batch::{self, Answers, Batch};
use super::call::Call;
use super::classify::{self, VersionHeader};
use super::intake::{self, NotTaken};
use crate::gateway::Gateway;
use crate::hello;
use crate::in_flight::InFlight;
use crate::inbound::Inbound;
use crate::mailbox::Mailbox;
use crate::refuse;
use crate::reply::Reply;
use crate::session::Session;
use crate::snapshot::Snapshot;
use crate::stages::record::{self, CallRecord, Early};
use crate::stages::{Identified, block};
use crate::standing::{Latest, Mark};

/// One such client.
pub(crate) struct Connection {
    id: SessionId,
    /// What its client proved last. Who it is never changes.
    latest: Latest,
    endpoint: Option<EndpointName>,
    outbox: Mailbox,
    /// Requests under way, in the session or without one: a client numbers all of them together.
    in_flight: InFlight,
    session: OnceLock<Arc<Session>>,
    /// Whether modern requests may come this way. HTTP+SSE belongs to 2024-11-05 alone.
    modern: bool,
}

impl Connection {
    pub(crate) fn new(
        id: SessionId,
        who: &Identified,
        endpoint: Option<EndpointName>,
        queue_max: usize,
        modern: bool,
    ) -> Self {
        Self {
            id,
            latest: Arc::new(ArcSwap::new(Arc::clone(who.who()))),
            endpoint,
            outbox: Mailbox::new(queue_max),
            in_flight: InFlight::default(),
            session: OnceLock::new(),
            modern,
        }
    }

    pub(crate) fn outbox(&self) -> &Mailbox {
        &self.outbox
    }

    pub(crate) fn id(&self) -> &SessionId {
        &self.id
    }

    pub(crate) fn is_of_tenant(&self, tenant: &TenantId) -> bool {
        self.latest.load().tenant == *tenant
    }

    pub(crate) fn is_of(&self, who: &Principal) -> bool {
        let owner = self.latest.load();
        (&owner.tenant, &owner.id) == (&who.tenant, &who.id)
    }

    pub(crate) fn endpoint(&self) -> Option<&EndpointName> {
        self.endpoint.as_ref()
    }

    /// What its client proved last.
    pub(crate) fn latest(&self) -> &Latest {
        &self.latest
    }

    /// The client has gone: what it asked for is cancelled, and its session ends.
    pub(crate) fn close(&self, gateway: &Gateway) {
        self.outbox.close();
        self.in_flight.cancel_all();
        gateway.connections().remove(&self.id);
        if let Some(session) = self.session.get() {
            session.stream_ended(&self.outbox);
            gateway.end_session(session, "connection");
        }
    }

    /// Ends the connection once nothing is under way.
    pub(crate) fn close_when_idle(&self) {
        self.in_flight.close_when_idle(self.outbox.clone());
    }

    /// Takes a message in. Answers go to the outbox; an error says that the message was none.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        gateway: &Gateway,
        who: &Identified,
        bytes: Bytes,
    ) -> Result<(), NotTaken> {
        who.check(gateway)?;
        self.latest.store(Arc::clone(who.who()));
        let snapshot = gateway.snapshot();
        if batch::is_array(&bytes)
            && let Some(session) = self.session.get().filter(|session| batch::are_served(session))
        {
            block::admit(gateway, who.who())?;
            return self.batch(gateway, &snapshot, who, session, &bytes).await;
        }
        let message = intake::parse(bytes, &snapshot.settings)?;
        block::admit(gateway, who.who()).map_err(|refusal| NotTaken::new(refusal, message.id_raw()))?;
        let era = if self.modern { classify::era(&message, VersionHeader::Absent) } else { Era::Legacy };
        match message.kind() {
            Kind::Request => {
                let id = message.id_raw().unwrap_or_default();
                self.request(gateway, snapshot, who, message, era)
                    .map_err(|refusal| NotTaken::new(refusal, Some(id)))
            }
            Kind::Notification | Kind::Result | Kind::Error => {
                if message.method() == methods::NOTIFICATIONS_CANCELLED
                    && let Some(id) = message.member("requestId")
                {
                    self.in_flight.cancel(id.of(message.bytes()));
                }
                if let Some(session) = self.session.get() {
                    session.hear(gateway, message);
                }
                Ok(())
            }
        }
    }

    /// Takes a batch in. Its answers go out together, once all are there.
    async fn batch(
        self: &Arc<Self>,
        gateway: &Gateway,
        snapshot: &Arc<Snapshot>,
        who: &Identified,
        session: &Arc<Session>,
        bytes: &Bytes,
    ) -> Result<(), NotTaken> {
        let endpoint = self.served(snapshot)?;
        let batch = Batch::split(bytes, &snapshot.settings)?;
        // As for a single request.
        let replying = self.in_flight.replying();
        let answers = Answers::begin(gateway, snapshot, who, &endpoint, session, batch, &self.outbox).await;
        let (connection, replier) = (Arc::clone(self), gateway.clone());
        gateway.spawn(async move {
            if let Some(array) = answers.all().await {
                connection.send(&replier, array);
            }
            drop(replying);
        });
        Ok(())
    }

    fn served(&self, snapshot: &Snapshot) -> Result<Arc<Endpoint>, Refusal> {
        let endpoint = snapshot.endpoint(&self.latest.load().tenant, self.endpoint.as_ref()).cloned();
        endpoint.ok_or_else(|| {
            Refusal::new(Stage::Transport, Code::UnknownEndpoint, "this endpoint is not served any more")
        })
    }

    fn request(
        self: &Arc<Self>,
        gateway: &Gateway,
        snapshot: Arc<Snapshot>,
        identified: &Identified,
        message: Message,
        era: Era,
    ) -> Result<(), Refusal> {
        let endpoint = self.served(&snapshot)?;
        let (who, source) = (Arc::clone(identified.who()), identified.source());
        if era == Era::Modern {
            let profile = classify::modern_profile(&message)?;
            let caller = Caller { who, session: None, client: Arc::new(profile), source };
            return self.start(gateway, snapshot, endpoint, message, (caller, identified.as_of()), None);
        }
        if message.method() == methods::INITIALIZE {
            return self.initialize(gateway, snapshot, endpoint, &message, (who, source));
        }
        match self.session.get() {
            Some(session) => {
                let caller = Caller { who, source, ..session.caller.clone() };
                let session = Some(Arc::clone(session));
                self.start(gateway, snapshot, endpoint, message, (caller, identified.as_of()), session)
            }
            // Before a session there is nothing a legacy client may ask but whether anyone is there.
            None if message.method() == methods::PING => {
                self.reply(gateway, Reply::result(&message.id_raw().unwrap_or_default(), b"{}"));
                Ok(())
            }
            // A modern client that looks for the server's era sends this with its metadata: without, it is unknown.
            None if message.method() == methods::SERVER_DISCOVER => {
                Err(Refusal::new(Stage::Envelope, Code::MethodNotFound, "Method not found"))
            }
            None => {
                let text = "the session is not open: send `initialize` first";
                Err(Refusal::new(Stage::Session, Code::MissingSession, text))
            }
        }
    }

    fn start(
        self: &Arc<Self>,
        gateway: &Gateway,
        snapshot: Arc<Snapshot>,
        endpoint: Arc<Endpoint>,
        message: Message,
        (caller, as_of): (Caller, Mark),
        session: Option<Arc<Session>>,
    ) -> Result<(), Refusal> {
        let id = message.id_raw().unwrap_or_default();
        // The request's place is given back before its reply is sent, and a drain closes an idle stream.
        let replying = self.in_flight.replying();
        let place = self.in_flight.enter(&id, snapshot.settings.in_flight_max)?;
        let outlet = self.outbox.clone();
        if let Some(session) = &session {
            session.speaks_on(&place, &outlet);
        }
        let record = Arc::new(CallRecord::of(&message, None));
        let inbound = Inbound {
            message,
            id,
            caller,
            endpoint,
            snapshot,
            param_headers: None,
            outlet,
            session,
            as_of,
            record,
        };
        let call = Call::new(gateway.clone(), inbound, Some(place));
        let (connection, replier) = (Arc::clone(self), gateway.clone());
        gateway.spawn(async move {
            if let Some(reply) = call.finish().await {
                connection.reply(&replier, reply);
            }
            drop(replying);
        });
        Ok(())
    }

    fn initialize(
        self: &Arc<Self>,
        gateway: &Gateway,
        snapshot: Arc<Snapshot>,
        endpoint: Arc<Endpoint>,
        message: &Message,
        (who, source): (Arc<Principal>, Option<IpAddr>),
    ) -> Result<(), Refusal> {
        if self.session.get().is_some() {
            let text = "this connection's session is open already";
            return Err(Refusal::new(Stage::Session, Code::InvalidRequest, text));
        }
        let profile = classify::legacy_profile(message)?;
        let caller = Caller { who, session: Some(self.id.clone()), client: Arc::new(profile), source };
        let id = message.id_raw().unwrap_or_default();
        let place = self.in_flight.enter(&id, snapshot.settings.in_flight_max)?;
        let (connection, gateway) = (Arc::clone(self), gateway.clone());
        gateway.clone().spawn(async move {
            let mut session = Session::new(caller, connection.endpoint.clone());
            session.in_flight = connection.in_flight.clone();
            session.latest = Arc::clone(&connection.latest);
            let session = Arc::new(session);
            let opened = match hello::initialize(&gateway, &snapshot, &endpoint, &session.caller).await {
                Ok(result) => connection.opened(&gateway, &snapshot, &session).await.map(|()| result),
                Err(refusal) => Err(refusal),
            };
            let reply = match opened {
                Ok(result) => Reply::result(&id, &result),
                Err(refusal) => {
                    let early = Early::of(&session.caller.who, Era::Legacy).at(connection.endpoint());
                    refuse::early(&gateway, &refusal, early, Some(&id)).await
                }
            };
            connection.reply(&gateway, reply);
            drop(place);
        });
        Ok(())
    }

    async fn opened(
        &self,
        gateway: &Gateway,
        snapshot: &Snapshot,
        session: &Arc<Session>,
    ) -> Result<(), Refusal> {
        gateway.add_session(session, snapshot.settings.sessions_room())?;
        if let Err(refusal) = record::opened(gateway, session).await {
            gateway.end_session(session, "unrecorded");
            return Err(refusal);
        }
        session.use_stream(self.outbox.clone());
        if self.session.set(Arc::clone(session)).is_err() || self.outbox.is_closed() {
            gateway.end_session(session, "connection");
            let text = "this connection's session is open already";
            return Err(Refusal::new(Stage::Session, Code::InvalidRequest, text));
        }
        Ok(())
    }

    /// Sends a reply. A client that lets replies pile up beyond the bound loses its connection.
    pub(crate) fn reply(&self, gateway: &Gateway, reply: Reply) {
        self.send(gateway, reply.body);
    }

    fn send(&self, gateway: &Gateway, message: Segments) {
        let replies_max = gateway.snapshot().settings.in_flight_max;
        if self.outbox.push_reply(message, replies_max).is_err() {
            self.close(gateway);
        }
    }
}
