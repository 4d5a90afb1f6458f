//! The exchange with the server: the only place from which requests leave the gateway.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderName, HeaderValue};
use tollgate_limits::Places;
use tollgate_mcp::{LogLevel, Message, Segments, compose, methods};
use tollgate_model::{Caller, Era, Revision, ServerId};
use tollgate_upstream::{Berth, Exchange, Incoming, Link, Outbound, Replies, UpstreamError, Waits};

use super::guard::{Desk, Said};
use super::record::{Behalf, Receipt};
use super::{Admitted, Route, limits, outside};
use crate::bridge::{self, Hearing, Relay};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::input::{Asked, Asker, Asking, Owed, Paused, Standing, failed, refuse_question};
use crate::mailbox::{Mailbox, READER_PATIENCE};
use crate::onward::{Crossing, Onward};
use crate::tasks;

/// How many questions one result may carry to a modern client.
const ASKED_AT_ONCE_MAX: usize = 64;

/// A request as it leaves.
pub(crate) struct Departure {
    /// The id that the body carries, minted by the route's link.
    pub(crate) id: u64,
    pub(crate) method: Cow<'static, str>,
    /// What `Mcp-Name` says.
    pub(crate) native: Option<String>,
    pub(crate) param_headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Segments,
    /// How long it may take.
    pub(crate) waits: Waits,
    /// The least severe log message that the client wants.
    pub(crate) log_level: Option<LogLevel>,
    /// The trace that it is part of; none of what the gateway asks by itself.
    pub(crate) onward: Option<Onward>,
}

/// Who hears of the request while it is under way.
pub(crate) struct Listener<'a> {
    /// Where notifications about the request go.
    pub(crate) outlet: &'a Mailbox,
    pub(crate) era: Era,
    /// The client's progress token, as raw JSON.
    pub(crate) token: Option<Bytes>,
    /// The least severe log message that the client wants.
    pub(crate) log_level: Option<LogLevel>,
    /// Who may be asked what the server wants to know.
    pub(crate) asker: Asker<'a>,
    pub(crate) gateway: &'a Gateway,
    /// Whose request it is.
    pub(crate) caller: &'a Caller,
    /// The server's id of the task that the request is about.
    pub(crate) task: Option<&'a str>,
    /// The request, where it is the client's own.
    pub(crate) inbound: Option<&'a Inbound>,
    /// Its places among those under way, which it leaves while the client is asked.
    pub(crate) places: Option<&'a Arc<Places>>,
    /// Its place among those under way on the server, which it leaves too.
    pub(crate) berth: Option<&'a Arc<Berth>>,
    /// The tool whose task it is about, and what has to be taken out of what comes of it, where it is not the client's own.
    pub(crate) about: (Option<&'a str>, &'a [Arc<str>]),
    /// Whether anything of the answer has reached it, or was asked of it.
    pub(crate) was_told: AtomicBool,
}

impl<'a> Listener<'a> {
    /// The client of a request.
    pub(crate) fn of(gateway: &'a Gateway, inbound: &'a Inbound) -> Self {
        Self {
            outlet: &inbound.outlet,
            era: inbound.era(),
            token: inbound.progress_token(),
            log_level: inbound.log_level(),
            asker: inbound.asker(),
            gateway,
            caller: &inbound.caller,
            task: None,
            inbound: Some(inbound),
            places: None,
            berth: None,
            about: (None, &[]),
            was_told: AtomicBool::new(false),
        }
    }

    /// Whether anything of the answer has reached it, or was asked of it: then the request is not sent again.
    pub(crate) fn was_told(&self) -> bool {
        self.was_told.load(Ordering::Relaxed)
    }

    fn is_told(&self) {
        self.was_told.store(true, Ordering::Relaxed);
    }

    /// The same, of a request that was admitted.
    pub(crate) fn holding(self, admitted: &'a Admitted, berth: &'a Arc<Berth>) -> Self {
        Self { places: Some(admitted.places()), berth: Some(berth), ..self }
    }

    /// What becomes of a notification of this server's.
    fn relay(&self, message: &Message, server: &ServerId, era: Era, hearing: &mut Hearing<'_>) -> Relay {
        let follows_tasks = self.caller.client.revision == Revision::V2025_11_25;
        if tasks::speaks_of_a_task(message) && follows_tasks {
            let Some(message) = self.said(server, message) else { return Relay::Drop };
            match tasks::notification(self.gateway, self.caller, server, &message) {
                Some(told) => return Relay::Send(told),
                // Of a call that is only about to become a task.
                None if message.method() == methods::NOTIFICATIONS_PROGRESS => {}
                None => return Relay::Drop,
            }
        }
        let method = message.method();
        if matches!(method, methods::NOTIFICATIONS_PROGRESS | methods::NOTIFICATIONS_MESSAGE)
            && self.inbound.is_some_and(|inbound| !limits::lets_pass(self.gateway, inbound, server, method))
        {
            return Relay::Drop;
        }
        // Who does not follow tasks has been given none.
        if message.method() == methods::NOTIFICATIONS_TASKS_STATUS {
            return Relay::Drop;
        }
        let Some(message) = self.said(server, message) else { return Relay::Drop };
        let relay = bridge::relay(&message, era, self.era, hearing);
        if let (methods::NOTIFICATIONS_PROGRESS, Some(inbound)) = (method, self.inbound) {
            inbound.record.progresses(hearing.progress());
        }
        relay
    }

    /// What a server says, as guards let it pass.
    fn said<'m>(&self, server: &ServerId, message: &'m Message) -> Option<Cow<'m, Message>> {
        match self.look(server, |desk| desk.said(server, message)) {
            Said::AsItIs => Some(Cow::Borrowed(message)),
            Said::Changed(changed) => Some(Cow::Owned(*changed)),
            Said::Never => None,
        }
    }

    /// The same of what it asks.
    fn asked(&self, server: &ServerId, request: Message) -> Option<Message> {
        match self.look(server, |desk| desk.asked(server, &request)) {
            Said::AsItIs => Some(request),
            Said::Changed(changed) => Some(*changed),
            Said::Never => None,
        }
    }

    fn look(&self, server: &ServerId, look: impl FnOnce(&Desk<'_>) -> Said) -> Said {
        match self.inbound {
            Some(inbound) => look(&Desk::of(self.gateway, inbound, server)),
            None => {
                let snapshot = self.gateway.snapshot();
                let ((tool, words), who) = (self.about, (self.caller.tenant(), Some(self.caller)));
                let desk = Desk::beside(self.gateway, &snapshot.guards, who, (server, tool));
                look(&desk.redacting(words))
            }
        }
    }

    /// What guards outside of the gateway leave of a notification.
    async fn ask_outside(&self, server: &ServerId, message: Segments) -> Option<Segments> {
        match self.inbound.filter(|inbound| outside::hears_said(inbound, server)) {
            Some(inbound) => Box::pin(outside::said(self.gateway, inbound, server, message)).await,
            None => Some(message),
        }
    }

    fn hearing(&self) -> Hearing<'_> {
        let before = self.inbound.map_or(f64::NEG_INFINITY, |inbound| inbound.record.progress());
        Hearing::new(self.token.as_ref(), self.log_level).after(before)
    }
}

/// What a request has come to.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly every request ends in the large one, which a box would slow down"
)]
pub(crate) enum Sent {
    /// The server has answered.
    Response(Message),
    /// A legacy server asks something that a modern client can only answer by its next request.
    Paused(Paused),
}

impl Sent {
    /// The response, of a request that cannot be interrupted.
    pub(crate) fn into_response(self) -> Result<Message, UpstreamError> {
        match self {
            Self::Response(message) => Ok(message),
            Self::Paused(_) => Err(UpstreamError::Protocol {
                what: "the server asks for input where no request may be interrupted".into(),
                detail: "a question that has to wait".into(),
            }),
        }
    }
}

/// Sends the request, which is on record, and sees it through to its response. Dropping the future cancels the request at
/// the server. The receipt is used up: whatever leaves next needs one of its own.
///
/// What leaves is made ready before there is a future, which would hold it twice.
pub(crate) fn send<'a>(
    server: &'a ServerId,
    route: &'a Route,
    departure: Departure,
    listener: Option<&'a Listener<'_>>,
    receipt: Receipt,
) -> impl Future<Output = Result<Sent, UpstreamError>> + Send {
    let is_on_record = receipt.covers(&departure.method);
    let also = departure.onward.as_ref().map(Onward::headers).unwrap_or_default();
    let id = departure.id;
    let crossing = departure.onward.map(|onward| {
        let gateway = listener.map(|listener| listener.gateway);
        Crossing::begin(gateway, onward, server, route.link(), &departure.method)
    });
    let outbound = Outbound {
        id: departure.id,
        method: departure.method,
        mcp_name: departure.native,
        params: departure.param_headers,
        also,
        body: departure.body,
        waits: departure.waits,
        log_level: departure.log_level,
    };
    async move {
        if !is_on_record {
            let what = "the request is not on record".into();
            return Err(UpstreamError::Protocol { what, detail: "a fault of the gateway's own".into() });
        }
        let mut leaving = Leaving::of(route.link(), id, listener);
        let exchange = leaving.ends(route.link().request(outbound).await);
        let sent = match exchange {
            Ok(exchange) => follow(server, route, exchange, listener).await,
            Err(error) => Err(error),
        };
        if let Some(crossing) = crossing {
            crossing.ends(&sent);
        }
        sent
    }
}

/// Follows a request from where it stands to its response, or to a question that has to wait.
pub(crate) async fn follow(
    server: &ServerId,
    route: &Route,
    mut exchange: Exchange,
    listener: Option<&Listener<'_>>,
) -> Result<Sent, UpstreamError> {
    // Dropped before the exchange: what the server says to a request that was left may come at once.
    let mut leaving = Leaving::of(route.link(), exchange.id(), listener);
    Ok(match leaving.ends(see_through(server, route, &mut exchange, listener).await)? {
        Come::Response(message) => Sent::Response(message),
        Come::Questions(asked) => {
            Sent::Paused(Paused { exchange, asked, standing: Standing::default(), follows: None })
        }
    })
}

/// What a request that is followed comes to.
#[allow(clippy::large_enum_variant, reason = "as of what was sent")]
enum Come {
    Response(Message),
    /// Questions that have to wait.
    Questions(Vec<(Owed, Asked)>),
}

async fn see_through(
    server: &ServerId,
    route: &Route,
    exchange: &mut Exchange,
    listener: Option<&Listener<'_>>,
) -> Result<Come, UpstreamError> {
    let link = route.link();
    let asker = listener.map_or(Asker::Nobody, |listener| listener.asker);
    let mut asking = Asking::default();
    // What is left here, since the server has answered all the same or has ended, is answered as it is dropped.
    let mut asked: Vec<(Owed, Asked)> = Vec::new();
    let mut hearing = listener.map(Listener::hearing);
    loop {
        let incoming = if asked.is_empty() {
            asking.next(exchange).await?
        } else {
            // What a modern client must be asked goes out together, as far as it is there already.
            match exchange.next().now_or_never() {
                Some(incoming) => incoming?,
                None => return Ok(Come::Questions(asked)),
            }
        };
        match incoming {
            Incoming::Response(message) => return Ok(Come::Response(message)),
            Incoming::Notification(message) => {
                let (Some(listener), Some(hearing)) = (listener, &mut hearing) else { continue };
                if message.method() == methods::NOTIFICATIONS_CANCELLED {
                    // The server takes a question back.
                    if let Asker::Session { session, .. } = asker {
                        Asking::taken_back(session, server, &message);
                    } else if let Some(span) = message.member("requestId") {
                        let raw_id = span.of(message.bytes());
                        asked.retain_mut(|(owed, _)| {
                            let is_it = owed.raw_id()[..] == *raw_id;
                            if is_it {
                                owed.settle();
                            }
                            !is_it
                        });
                    }
                    continue;
                }
                match listener.relay(&message, server, link.era(), hearing) {
                    // A client that reads nothing for so long loses the message, but never its reply.
                    Relay::Send(message) => {
                        let Some(message) = listener.ask_outside(server, message).await else { continue };
                        listener.is_told();
                        drop(tokio::time::timeout(READER_PATIENCE, listener.outlet.send(message)).await);
                    }
                    Relay::Drop => {}
                }
            }
            Incoming::Request(request) => {
                let Some(raw_id) = request.id_raw() else { continue };
                if request.method() == methods::PING {
                    Box::pin(reply(&exchange.replies(), Own::pong(&raw_id))).await?;
                    continue;
                }
                let request = match listener {
                    Some(listener) => {
                        listener.is_told();
                        let (gateway, caller, task) = (listener.gateway, listener.caller, listener.task);
                        let request = tasks::question(gateway, caller, server, task, request);
                        let Some(request) = listener.asked(server, request) else {
                            let own = Own::no_answer(&raw_id, "a content guard keeps this from the client");
                            Box::pin(reply(&exchange.replies(), own)).await?;
                            continue;
                        };
                        request
                    }
                    None => request,
                };
                match (asker, listener) {
                    (Asker::Session { session, bounds }, Some(listener)) => {
                        let client = (listener.gateway, session, listener.outlet);
                        let behalf = listener.inbound.map(Behalf::of);
                        let whose = (behalf, listener.places.map(Arc::clone), listener.berth.map(Arc::clone));
                        Box::pin(asking.ask(&request, server, exchange, client, (whose, bounds))).await?;
                    }
                    (Asker::Later { capabilities }, _) => {
                        let question = Asked::of_request(&request);
                        let may_ask = question.is_input()
                            && question.missing(capabilities).is_none()
                            && !question.is_too_large()
                            && asked.len() < ASKED_AT_ONCE_MAX;
                        if may_ask {
                            let owed = Owed::new(Bytes::copy_from_slice(&raw_id), exchange.replies());
                            asked.push((owed, question));
                        } else {
                            Box::pin(reply(&exchange.replies(), Own::refusal(&raw_id, &question))).await?;
                        }
                    }
                    _ => {
                        let own = Own::refusal(&raw_id, &Asked::of_request(&request));
                        Box::pin(reply(&exchange.replies(), own)).await?;
                    }
                }
            }
        }
    }
}

/// A request that is under way, and may be left. Its server may be at it for a while then, so its places among those under way
/// are not free at once: whoever only goes away would have any number of requests under way.
struct Leaving<'a> {
    link: &'a Link,
    id: u64,
    places: Option<&'a Arc<Places>>,
}

impl<'a> Leaving<'a> {
    fn of(link: &'a Link, id: u64, listener: Option<&'a Listener<'_>>) -> Self {
        let places = listener.and_then(|listener| listener.places).filter(|places| !places.are_none());
        Self { link, id, places }
    }

    /// It is seen through, unless its time was up: the server may go on then.
    fn ends<T>(&mut self, came: Result<T, UpstreamError>) -> Result<T, UpstreamError> {
        if !matches!(
            came,
            Err(UpstreamError::Timeout { .. } | UpstreamError::FirstByte { .. } | UpstreamError::Idle { .. })
        ) {
            self.places = None;
        }
        came
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        let (Some(places), Ok(runtime)) = (self.places, tokio::runtime::Handle::try_current()) else {
            return;
        };
        let stay = places.stay();
        if stay.is_zero() {
            return;
        }
        // There are no more of these than there are places.
        let (places, end) = (Arc::clone(places), self.link.end_of(self.id));
        runtime.spawn(async move {
            let _ = tokio::time::timeout(stay, end).await;
            drop(places);
        });
    }
}

/// Brings a server a client's answers to its questions, which are on record together. Where one does not arrive, says how
/// many did.
pub(crate) async fn hand_over(
    replies: &Replies,
    answers: Vec<Segments>,
    _receipt: Receipt,
) -> Result<(), (usize, UpstreamError)> {
    for (arrived, answer) in answers.into_iter().enumerate() {
        replies.send(answer).await.map_err(|error| (arrived, error))?;
    }
    Ok(())
}

/// What the gateway says for itself, which has no effect and is not on record.
pub(crate) struct Own(Segments);

impl Own {
    /// That somebody is there.
    fn pong(raw_id: &[u8]) -> Self {
        Self(Segments::from(compose::result(raw_id, b"{}")))
    }

    /// That the client cannot be asked such a thing.
    pub(crate) fn refusal(raw_id: &[u8], asked: &Asked) -> Self {
        Self(refuse_question(raw_id, asked))
    }

    /// That a question has no answer.
    pub(crate) fn no_answer(raw_id: &[u8], text: &str) -> Self {
        Self(failed(raw_id, text))
    }

    /// A notification.
    pub(crate) fn notification(message: Segments) -> Self {
        Self(message)
    }
}

/// Answers a server's question without its client, or tells how it stands with it.
pub(crate) async fn reply(replies: &Replies, own: Own) -> Result<(), UpstreamError> {
    replies.send(own.0).await
}

/// Says something to a server.
pub(crate) async fn say(link: &Link, own: Own) -> Result<(), UpstreamError> {
    link.notify(own.0).await
}

/// Tells a legacy server which log messages a client wants. Its answer; none if it has no levels to be told.
pub(crate) async fn set_log_level(
    route: &Route,
    level: LogLevel,
    _receipt: Receipt,
) -> Result<Option<Message>, UpstreamError> {
    route.link().set_log_level(level).await
}
