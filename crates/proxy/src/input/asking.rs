//! Questions of a legacy server that are with its legacy client, while the call goes on and after it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::oneshot;
use tollgate_ledger::Outcome;
use tollgate_limits::Places;
use tollgate_mcp::{Message, Segments, compose};
use tollgate_model::{Caller, ServerId};
use tollgate_upstream::{Berth, Exchange, Incoming, Question, UpstreamError};

use super::questions::{CannotAsk, Heard, Waits};
use super::{Asked, Owed};
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;
use crate::session::Session;
use crate::stages::dispatch::{self, Own};
use crate::stages::guard::{self, Desk, Said};
use crate::stages::record::{self, Behalf, Doing};
use crate::stages::{block, policy};
use crate::tasks;

/// Who may be asked while a request is served.
#[derive(Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// Nobody: the request is one that no revision lets be interrupted, or the gateway's own.
    Nobody,
    /// A legacy client, on the stream of the request.
    Session { session: &'a Arc<Session>, bounds: Bounds },
    /// A modern client of these capabilities, by the result.
    Later { capabilities: &'a Bytes },
}

/// How much a legacy client may be asked during one request.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Open questions of one client at once.
    pub(crate) open_max: usize,
    /// Questions during one request.
    pub(crate) asked_max: u32,
    /// How long the client may take for one.
    pub(crate) wait: Duration,
}

/// For which call a client is asked, and the call's places among those under way: it leaves them meanwhile.
type Whose = (Option<Behalf>, Option<Arc<Places>>, Option<Arc<Berth>>);

/// One question under way, up to its answer.
type Waiting = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The questions under way of one call. Costs nothing until there is one. Dropped, it withdraws them at the client, and their
/// server hears that they have no answer.
#[derive(Default)]
pub(crate) struct Asking {
    open: Option<Box<Open>>,
    /// How many there have been.
    asked: u32,
}

#[derive(Default)]
struct Open {
    waiting: FuturesUnordered<Waiting>,
    /// Whether the call is over, and they go on without it.
    is_over: Arc<AtomicBool>,
}

impl Asking {
    /// The next message of the exchange, while answers travel to the server beside it.
    pub(crate) async fn next(&mut self, exchange: &mut Exchange) -> Result<Incoming, UpstreamError> {
        let Some(open) = &mut self.open else { return exchange.next().await };
        let first = {
            let mut incoming = std::pin::pin!(exchange.next());
            poll_fn(|cx| {
                if let Poll::Ready(incoming) = incoming.as_mut().poll(cx) {
                    return Poll::Ready(Some(incoming));
                }
                loop {
                    match open.waiting.poll_next_unpin(cx) {
                        Poll::Ready(Some(())) => {}
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await
        };
        if let Some(incoming) = first {
            if matches!(incoming, Ok(Incoming::Response(_))) {
                self.go_on();
            }
            return incoming;
        }
        // Every question is answered: the server's clock runs on.
        self.open = None;
        exchange.resume();
        Box::pin(exchange.next()).await
    }

    /// The server has answered the call without waiting for what it asks. On a stream that all calls share it may have asked
    /// beside this one, and nowhere does it take its question back by that: the client, which has the question, may answer.
    fn go_on(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Open { waiting, is_over } = *open;
        is_over.store(true, Ordering::Relaxed);
        tokio::spawn(waiting.for_each(|()| std::future::ready(())));
    }

    /// Hands a server's request to the client of a session. Its answer goes to the server by itself.
    pub(crate) async fn ask(
        &mut self,
        request: &Message,
        server: &ServerId,
        exchange: &mut Exchange,
        (gateway, session, stream): (&Gateway, &Arc<Session>, &Mailbox),
        ((behalf, places, berth), Bounds { open_max, asked_max, wait }): (Whose, Bounds),
    ) -> Result<(), UpstreamError> {
        let (Some(raw_id), Some(behalf)) = (request.id_raw(), behalf) else { return Ok(()) };
        // Kept for longer than what it came with.
        let raw_id = Bytes::copy_from_slice(&raw_id);
        let asked = Asked::of_request(request);
        let client = &session.caller.client;
        let replies = exchange.replies();
        if asked.missing(&client.capabilities).is_some() || asked.is_too_large() {
            return dispatch::reply(&replies, Own::refusal(&raw_id, &asked)).await;
        }
        self.asked += 1;
        if self.asked > asked_max {
            let text = "the client is asked more often than allowed during one request";
            return dispatch::reply(&replies, Own::no_answer(&raw_id, text)).await;
        }
        let waits = Waits { server: server.clone(), raw_id: raw_id.clone(), token: asked.progress_token() };
        let mut owed = Owed::new(raw_id.clone(), replies.clone());
        let write = |id| asked.for_legacy(id, client.revision, server.name(), None);
        let question = match session.to_ask_on(Some(stream)) {
            Some(stream) => session.questions.ask(&stream, open_max, Some(waits), write).await,
            None => Err(CannotAsk),
        };
        let mut question = match question {
            Ok(question) => question,
            Err(CannotAsk) => {
                owed.settle();
                let answer = Own::no_answer(&raw_id, "the client cannot be asked now");
                return dispatch::reply(&replies, answer).await;
            }
        };
        question.elsewhere = session.listening();
        exchange.suspend(wait);
        if let Some(places) = &places {
            places.leave();
        }
        if let Some(berth) = &berth {
            berth.leave();
        }
        let open = self.open.get_or_insert_default();
        let is_over = Arc::clone(&open.is_over);
        let (gateway, session, server) = (gateway.clone(), Arc::clone(session), server.clone());
        let method = asked.method().to_owned();
        open.waiting.push(Box::pin(async move {
            let told = |message: Segments| {
                let replies = &replies;
                async move {
                    let _ = dispatch::reply(replies, Own::notification(message)).await.inspect_err(lost);
                }
            };
            let asks = (&session.caller, &server);
            let mut answer = tokio::select! {
                answer = answer_for(&gateway, asks, &raw_id, &mut question, wait, told) => answer,
                // Nobody is left who could be told.
                () = replies.closed() => None,
            };
            // A client whose answer is not waited for any more hears so before the server, which may answer the call at once.
            drop(question);
            if is_over.load(Ordering::Relaxed) {
                // Nobody has looked since the call was over.
                if block::server(&gateway, &session.caller_now(), server.name()).is_err() && answer.is_some()
                {
                    answer = Some(Answer::None("an operator has blocked this"));
                }
            } else {
                if let Some(berth) = berth {
                    berth.come_back();
                }
                if let Some(places) = places.filter(|_| answer.is_some())
                    && !places.come_back(wait).await
                {
                    answer = Some(Answer::None("as many requests as allowed are under way"));
                }
            }
            match answer {
                Some(Answer::Clients { message, result }) => {
                    let doing =
                        Doing { method: &method, server: &server, native: None, arguments: result.as_ref() };
                    // What cannot be put on record does not reach the server: it hears that there is no answer.
                    match record::aside(&gateway, behalf, doing).await {
                        Ok((aside, receipt)) => {
                            owed.settle();
                            let (handed, is_handed) = oneshot::channel::<()>();
                            // By itself: the server may answer the call before it is known that it has got this.
                            gateway.spawn(async move {
                                let heard = dispatch::hand_over(&replies, vec![message], receipt).await;
                                let heard = heard.map_err(|(_, error)| error).inspect_err(lost);
                                aside.heard(heard.as_ref().map(|()| None)).await;
                                drop(handed);
                            });
                            let _ = is_handed.await;
                        }
                        Err(_) => {
                            let own = Own::no_answer(&raw_id, "the client's answer cannot be put on record");
                            let _ = dispatch::reply(&replies, own).await.inspect_err(lost);
                            owed.settle();
                        }
                    }
                }
                Some(Answer::None(text)) => {
                    let _ = dispatch::reply(&replies, Own::no_answer(&raw_id, text)).await.inspect_err(lost);
                    owed.settle();
                }
                None => owed.settle(),
            }
        }));
        Ok(())
    }

    /// A server takes back a question of its own (`notifications/cancelled`): the client is told.
    pub(crate) fn taken_back(session: &Session, server: &ServerId, notification: &Message) {
        if let Some(span) = notification.member("requestId") {
            session.questions.taken_back(server, span.of(notification.bytes()));
        }
    }
}

/// Asks a session's client what a server wants to know that belongs to no call.
pub(crate) async fn ask_beside(
    gateway: Gateway,
    session: Arc<Session>,
    stream: Mailbox,
    server: ServerId,
    asks: Arc<Question>,
    open_max: usize,
    wait: Duration,
) {
    let request = tasks::question(&gateway, &session.caller, &server, None, asks.request().clone());
    let Some(raw_id) = request.id_raw() else { return };
    let (snapshot, tenant) = (gateway.snapshot(), session.caller.tenant());
    let asked = Desk::beside(&gateway, &snapshot.guards, (tenant, Some(&session.caller)), (&server, None))
        .redacting(&policy::redactions_of(&gateway, &snapshot.guards, Some(tenant)))
        .asked(&server, &request);
    drop(snapshot);
    let request = match asked {
        Said::AsItIs => request.clone(),
        Said::Changed(changed) => *changed,
        Said::Never => return asks.answer(failed(&raw_id, "a content guard keeps this from the client")),
    };
    let asked = Asked::of_request(&request);
    let client = &session.caller.client;
    if asked.missing(&client.capabilities).is_some() || asked.is_too_large() {
        return asks.answer(refuse_question(&raw_id, &asked));
    }
    let write = |id| asked.for_legacy(id, client.revision, server.name(), None);
    let waits = Waits { server: server.clone(), raw_id: Bytes::copy_from_slice(&raw_id), token: None };
    match session.questions.ask(&stream, open_max, Some(waits), write).await {
        Ok(mut question) => {
            let client = (&session.caller, &server);
            question.elsewhere = session.listening();
            let answer = tokio::select! {
                answer = answer_for(&gateway, client, &raw_id, &mut question, wait, |_| async {}) => answer,
                () = asks.given_up() => None,
            };
            match answer {
                Some(Answer::Clients { .. })
                    if block::server(&gateway, &session.caller_now(), server.name()).is_err() =>
                {
                    asks.answer(failed(&raw_id, "an operator has blocked this"));
                }
                Some(Answer::Clients { message, result }) => {
                    let behalf = Behalf::beside(session.caller_now(), session.endpoint.clone());
                    let (method, arguments) = (asked.method(), result.as_ref());
                    let doing = Doing { method, server: &server, native: None, arguments };
                    match record::aside(&gateway, behalf, doing).await {
                        Ok((aside, _)) => {
                            asks.answer(message);
                            aside.close(Outcome::Ok, None).await;
                        }
                        Err(_) => {
                            asks.answer(failed(&raw_id, "the client's answer cannot be put on record"));
                        }
                    }
                }
                Some(Answer::None(text)) => asks.answer(failed(&raw_id, text)),
                None => asks.taken_back(),
            }
        }
        Err(CannotAsk) => asks.answer(failed(&raw_id, "the client cannot be asked now")),
    }
}

fn lost(error: &UpstreamError) {
    tracing::debug!(%error, "what a client said could not be brought to the server");
}

/// What a server's question comes to.
enum Answer {
    /// The client's answer.
    Clients {
        /// As the server gets it.
        message: Segments,
        /// What it says, as raw JSON.
        result: Option<Bytes>,
    },
    /// Why there is none.
    None(&'static str),
}

/// The client's answer under the server's own id; none if the server waits for it no more. `progress` is told what the
/// client says meanwhile.
async fn answer_for<F: Future<Output = ()>>(
    gateway: &Gateway,
    (caller, server): (&Caller, &ServerId),
    raw_id: &Bytes,
    question: &mut super::questions::Question,
    wait: Duration,
    progress: impl Fn(Segments) -> F,
) -> Option<Answer> {
    let hearing = async {
        loop {
            match question.heard().await {
                Heard::Progress(message) => progress(message).await,
                Heard::Answer(response) => return Ok(response),
                Heard::TakenBack => return Err(None),
                Heard::Nothing => return Err(Some(Answer::None("the client has gone"))),
            }
        }
    };
    match tokio::time::timeout(wait, hearing).await {
        Ok(Err(none)) => none,
        Ok(Ok(response)) => {
            let Some(response) = guard::answer(gateway, caller, server, response) else {
                return Some(Answer::None("a content guard keeps the client's answer from the server"));
            };
            let mut edit = response.edit();
            response.set_id(&mut edit, raw_id.clone());
            tasks::answer_of_task(gateway, caller, server, &response, &mut edit);
            let result = response.body().map(|span| response.raw(span));
            Some(Answer::Clients { message: edit.finish(), result })
        }
        Err(_) => Some(Answer::None("the client did not answer in time")),
    }
}

/// What a server gets for a question that its client has not declared to take: a method that the client does not have.
/// One that is too large to be kept is no question.
pub(crate) fn refuse_question(raw_id: &[u8], asked: &Asked) -> Segments {
    if asked.is_too_large() {
        return failed(raw_id, "the request is larger than a client can be asked");
    }
    let text = format!("Method not found: the client does not support {}", asked.method());
    Segments::from(compose::error(Some(raw_id), tollgate_mcp::codes::METHOD_NOT_FOUND, &text, None))
}

/// What a server gets for a question that has no answer.
pub(crate) fn failed(raw_id: &[u8], text: &str) -> Segments {
    Segments::from(compose::error(Some(raw_id), tollgate_mcp::codes::INTERNAL_ERROR, text, None))
}
