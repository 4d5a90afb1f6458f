//! Questions of a legacy server that are with its legacy client, while the call goes on.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tollgate_mcp::{Message, Segments, compose};
use tollgate_model::{Caller, ServerId};
use tollgate_upstream::{Exchange, Incoming, Link, Question, UpstreamError};

use super::Asked;
use super::questions::{CannotAsk, Heard};
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;
use crate::session::Session;
use crate::stages::dispatch;
use crate::tasks;

/// Who may be asked while a request is served.
#[derive(Clone, Copy)]
pub(crate) enum Asker<'a> {
    /// Nobody: the request is one that no revision lets be interrupted, or the gateway's own.
    Nobody,
    /// A legacy client, on the stream of the request.
    Session { session: &'a Session, bounds: Bounds },
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

/// Gives the gateway's id of the question.
type Waiting<'a> = Pin<Box<dyn Future<Output = u64> + Send + 'a>>;

/// The questions under way of one call. Costs nothing until there is one.
#[derive(Default)]
pub(crate) struct Asking<'a> {
    open: Option<Box<Open<'a>>>,
    /// How many there have been.
    asked: u32,
}

#[derive(Default)]
struct Open<'a> {
    waiting: FuturesUnordered<Waiting<'a>>,
    /// The server's ids of its questions, and the gateway's.
    ids: Vec<(Bytes, u64)>,
}

impl<'a> Asking<'a> {
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
                        Poll::Ready(Some(done)) => open.ids.retain(|(_, id)| *id != done),
                        Poll::Ready(None) => return Poll::Ready(None),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await
        };
        if let Some(incoming) = first {
            return incoming;
        }
        // Every question is answered: the server's clock runs on.
        self.open = None;
        exchange.resume();
        Box::pin(exchange.next()).await
    }

    /// Hands a server's request to the client of a session. Its answer goes to the server by itself.
    pub(crate) async fn ask(
        &mut self,
        request: &Message,
        server: &'a ServerId,
        link: &Link,
        exchange: &mut Exchange,
        (gateway, session, stream): (&'a Gateway, &'a Session, &Mailbox),
        Bounds { open_max, asked_max, wait }: Bounds,
    ) -> Result<(), UpstreamError> {
        let Some(raw_id) = request.id_raw() else { return Ok(()) };
        // Kept for longer than what it came with.
        let raw_id = Bytes::copy_from_slice(&raw_id);
        let asked = Asked::of_request(request);
        let client = &session.caller.client;
        if asked.missing(&client.capabilities).is_some() || asked.is_too_large() {
            return dispatch::tell(link, refuse_question(&raw_id, &asked)).await;
        }
        self.asked += 1;
        if self.asked > asked_max {
            let answer = failed(&raw_id, "the client is asked more often than allowed during one request");
            return dispatch::tell(link, answer).await;
        }
        let write = |id| asked.for_legacy(id, client.revision, server.name(), None);
        let question = session.questions.ask(stream, open_max, asked.progress_token(), write).await;
        let mut question = match question {
            Ok(question) => question,
            Err(CannotAsk) => {
                let answer = failed(&raw_id, "the client cannot be asked now");
                return dispatch::tell(link, answer).await;
            }
        };
        exchange.suspend(wait);
        let open = self.open.get_or_insert_default();
        let id = question.id;
        open.ids.push((raw_id.clone(), id));
        let link = link.clone();
        open.waiting.push(Box::pin(async move {
            let told = |message: Segments| {
                let link = &link;
                async move {
                    if let Err(error) = dispatch::tell(link, message).await {
                        tracing::debug!(%error, "what a client said could not be brought to the server");
                    }
                }
            };
            // Without an answer the server has withdrawn its question, or is about to hear that the call is over.
            let answer =
                answer_for(gateway, (&session.caller, server), &raw_id, &mut question, wait, told).await;
            if let Some(answer) = answer {
                told(answer).await;
            }
            id
        }));
        Ok(())
    }

    /// The server withdraws a question of its own (`notifications/cancelled`): the client is told.
    pub(crate) fn withdraw(&mut self, session: &Session, notification: &Message) {
        let Some(span) = notification.member("requestId") else { return };
        let raw_id = span.of(notification.bytes());
        let known = self.open.as_ref().and_then(|open| open.ids.iter().find(|(own, _)| *own == raw_id));
        if let Some((_, id)) = known {
            session.questions.withdraw(*id);
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
    let asked = Asked::of_request(&request);
    let client = &session.caller.client;
    if asked.missing(&client.capabilities).is_some() || asked.is_too_large() {
        return asks.answer(refuse_question(&raw_id, &asked));
    }
    let write = |id| asked.for_legacy(id, client.revision, server.name(), None);
    match session.questions.ask(&stream, open_max, None, write).await {
        Ok(mut question) => {
            if let Some(answer) =
                answer_for(&gateway, (&session.caller, &server), &raw_id, &mut question, wait, |_| async {})
                    .await
            {
                asks.answer(answer);
            }
        }
        Err(CannotAsk) => asks.answer(failed(&raw_id, "the client cannot be asked now")),
    }
}

/// The client's answer under the server's own id; none if nobody waits for it any more. `progress` is told what the
/// client says meanwhile.
async fn answer_for<F: Future<Output = ()>>(
    gateway: &Gateway,
    (caller, server): (&Caller, &ServerId),
    raw_id: &Bytes,
    question: &mut super::questions::Question,
    wait: Duration,
    progress: impl Fn(Segments) -> F,
) -> Option<Segments> {
    let hearing = async {
        loop {
            match question.heard().await {
                Heard::Progress(message) => progress(message).await,
                Heard::Answer(response) => return Some(response),
                Heard::Nothing => return None,
            }
        }
    };
    match tokio::time::timeout(wait, hearing).await {
        Ok(response) => {
            let response = response?;
            let mut edit = response.edit();
            response.set_id(&mut edit, raw_id.clone());
            tasks::answer_of_task(gateway, caller, server, &response, &mut edit);
            Some(edit.finish())
        }
        Err(_) => Some(failed(raw_id, "the client did not answer in time")),
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
fn failed(raw_id: &[u8], text: &str) -> Segments {
    Segments::from(compose::error(Some(raw_id), tollgate_mcp::codes::INTERNAL_ERROR, text, None))
}
