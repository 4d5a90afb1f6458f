//! Batches: several messages in one JSON array, which only 2025-03-26 has. Each message is taken as if it had come by
//! itself; what is special is that their answers travel together.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::{Response, StatusCode};
use tollgate_catalog::Endpoint;
use tollgate_mcp::{Kind, Message, Segments, json, methods};
use tollgate_model::{Caller, Code, Era, Refusal, Revision, Stage};

use super::body::Body;
use super::call::Call;
use super::front::{empty, events, json as json_response, refused};
use super::headers::Accepts;
use super::intake::{self, NotTaken};
use super::resume;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::mailbox::Mailbox;
use crate::refuse;
use crate::reply::Reply;
use crate::session::Session;
use crate::settings::ProxySettings;
use crate::snapshot::Snapshot;
use crate::stages::record::{CallRecord, Early};
use crate::stages::{Identified, identify};
use crate::standing::Leash;

/// Whether these bytes can only be a batch.
pub(crate) fn is_array(bytes: &[u8]) -> bool {
    bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[')
}

/// Whether this session's revision has batches.
pub(crate) fn are_served(session: &Session) -> bool {
    session.caller.client.revision == Revision::V2025_03_26
}

/// The messages of one batch.
pub(crate) struct Batch(Vec<Result<Message, NotTaken>>);

impl Batch {
    /// Splits a batch. What is wrong with one message concerns that one alone; what is wrong with the array, with their
    /// number or with the ids of all together concerns the whole.
    pub(crate) fn split(bytes: &Bytes, settings: &ProxySettings) -> Result<Self, NotTaken> {
        let invalid = |text: String| Refusal::new(Stage::Envelope, Code::InvalidRequest, text);
        let array =
            json::validate(bytes, &intake::limits(settings)).map_err(|error| intake::fault(&error))?;
        let mut ids = HashSet::new();
        let mut messages = Vec::new();
        for element in json::elements(bytes, array) {
            if messages.len() == settings.batch_max {
                let text = format!("a batch may have at most {} messages", settings.batch_max);
                return Err(invalid(text).into());
            }
            let message = intake::parse(element.slice(bytes), settings);
            let request = message.as_ref().ok().filter(|message| message.kind() == Kind::Request);
            if let Some(id) = request.and_then(Message::id_raw)
                && !ids.insert(id)
            {
                return Err(invalid("two requests of the batch have the same id".to_owned()).into());
            }
            messages.push(message);
        }
        if messages.is_empty() {
            return Err(invalid("a batch needs at least one message".to_owned()).into());
        }
        Ok(Self(messages))
    }
}

/// The requests of a batch being answered, and the answers that are known.
pub(crate) struct Answers {
    calls: FuturesUnordered<Pin<Box<dyn Future<Output = Option<Reply>> + Send>>>,
    replies: Vec<Segments>,
    /// How many requests there were.
    requests: usize,
}

impl Answers {
    /// Takes the messages in, in their order, and begins to answer the requests, all at once. Whatever is said about them
    /// meanwhile goes to `outlet`.
    pub(crate) async fn begin(
        gateway: &Gateway,
        snapshot: &Arc<Snapshot>,
        who: &Identified,
        endpoint: &Arc<Endpoint>,
        session: &Arc<Session>,
        batch: Batch,
        outlet: &Mailbox,
    ) -> Self {
        let mut answers = Self { calls: FuturesUnordered::new(), replies: Vec::new(), requests: 0 };
        for (place, message) in batch.0.into_iter().enumerate() {
            let started = match message {
                Ok(message) if message.kind() == Kind::Request => {
                    answers.requests += 1;
                    let record = CallRecord::of_element(place, &message);
                    answers.start(gateway, snapshot, who, (endpoint, session), (message, record), outlet)
                }
                Ok(message) => {
                    session.hear(gateway, message);
                    Ok(())
                }
                Err(not_taken) => Err(not_taken),
            };
            if let Err(NotTaken { refusal, id }) = started {
                let early = Early::known(who, Era::Legacy).at(endpoint.name());
                answers.replies.push(refuse::early(gateway, &refusal, early, id.as_ref()).await.body);
            }
        }
        answers
    }

    fn start(
        &mut self,
        gateway: &Gateway,
        snapshot: &Arc<Snapshot>,
        who: &Identified,
        (endpoint, session): (&Arc<Endpoint>, &Arc<Session>),
        (message, record): (Message, CallRecord),
        outlet: &Mailbox,
    ) -> Result<(), NotTaken> {
        let id = message.id_raw().unwrap_or_default();
        let place = if message.method() == methods::INITIALIZE {
            // 2025-03-26, lifecycle, initialization.
            let text = "`initialize` must not be part of a batch";
            Err(Refusal::new(Stage::Envelope, Code::InvalidRequest, text))
        } else {
            session.in_flight.enter(&id, snapshot.settings.in_flight_max)
        };
        let place = place.map_err(|refusal| NotTaken::new(refusal, Some(id.clone())))?;
        session.speaks_on(&place, outlet);
        let inbound = Inbound {
            message,
            id,
            caller: Caller { who: Arc::clone(who.who()), source: who.source(), ..session.caller.clone() },
            endpoint: Arc::clone(endpoint),
            snapshot: Arc::clone(snapshot),
            param_headers: None,
            outlet: outlet.clone(),
            session: Some(Arc::clone(session)),
            as_of: who.as_of(),
            record: Arc::new(record),
        };
        self.calls.push(Box::pin(Call::new(gateway.clone(), inbound, Some(place)).finish()));
        Ok(())
    }

    /// Ready once everything is answered.
    fn poll_all(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(reply) = std::task::ready!(self.calls.poll_next_unpin(cx)) {
            self.replies.extend(reply.map(|reply| reply.body));
        }
        Poll::Ready(())
    }

    /// All answers as one array; none if there is nothing to answer, or everything was cancelled.
    pub(crate) async fn all(mut self) -> Option<Segments> {
        std::future::poll_fn(|cx| self.poll_all(cx)).await;
        self.array()
    }

    fn array(self) -> Option<Segments> {
        let mut array = Segments::new();
        for (index, reply) in self.replies.into_iter().enumerate() {
            array.push(Bytes::from_static(if index == 0 { b"[" } else { b"," }));
            reply.into_iter().for_each(|piece| array.push(piece));
        }
        if array.is_empty() {
            return None;
        }
        array.push(Bytes::from_static(b"]"));
        Some(array)
    }

    /// Puts each answer into the outlet as it comes, and ends it behind the last.
    async fn run(mut self, outlet: Mailbox) {
        for reply in std::mem::take(&mut self.replies) {
            let _ = outlet.push_reply(reply, self.requests);
        }
        while let Some(reply) = self.calls.next().await {
            let _ = reply.map(|reply| outlet.push_reply(reply.body, self.requests));
        }
        outlet.close();
    }
}

/// Answers a batch over Streamable HTTP: by one array if it can be, else by a stream.
pub(crate) async fn answer(
    gateway: &Gateway,
    snapshot: Arc<Snapshot>,
    who: &Identified,
    endpoint: &Arc<Endpoint>,
    session: Arc<Session>,
    accepts: Accepts,
    batch: Batch,
) -> Response<Body> {
    let settings = &snapshot.settings;
    let outlet = Mailbox::new(settings.stream_queue_max);
    if !accepts.events {
        // Nobody would read it.
        outlet.close();
    }
    let mut answers = Answers::begin(gateway, &snapshot, who, endpoint, &session, batch, &outlet).await;
    if answers.requests == 0 && answers.replies.is_empty() {
        return empty(StatusCode::ACCEPTED);
    }
    let mut patience = Box::pin(tokio::time::sleep(settings.keep_alive));
    let is_done = std::future::poll_fn(|cx| {
        if !accepts.json {
            return Poll::Ready(false);
        }
        let polled = answers.poll_all(cx);
        if !accepts.events {
            return polled.map(|()| true);
        }
        if outlet.has_messages() {
            return Poll::Ready(false);
        }
        match polled {
            Poll::Ready(()) => Poll::Ready(true),
            Poll::Pending => patience.as_mut().poll(cx).map(|()| false),
        }
    })
    .await;
    if !is_done {
        let reader = session.open_answer(&outlet, &settings.resume);
        gateway.spawn(answers.run(outlet));
        let leash = Leash::of_answer(gateway, who.who(), who.as_of());
        return resume::begin(session, reader, 0, leash, settings);
    }
    if gateway.was_taken_back(who.who(), who.as_of()) {
        let early = Early::known(who, Era::Legacy).at(endpoint.name());
        return refused(gateway, &identify::taken_back(), early, None).await;
    }
    match answers.array() {
        Some(body) => json_response(Reply::new(200, body)),
        None => events(Body::empty()),
    }
}
