//! One request being answered, apart from how its answer travels.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;
use tollgate_ledger::Outcome;
use tollgate_limits::Places;
use tollgate_mcp::Segments;
use tollgate_model::{Era, Principal, Refusal, Stage};

use super::headers::Accepts;
use crate::gateway::Gateway;
use crate::in_flight::Place;
use crate::inbound::Inbound;
use crate::life;
use crate::mailbox::Mailbox;
use crate::refuse;
use crate::reply::Reply;
use crate::stages::identify;
use crate::stages::record::{self, OnRecord};
use crate::standing::{Leash, Mark};

type Answering = Pin<Box<dyn Future<Output = Result<Reply, Ended>> + Send>>;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The client has cancelled the request.
    Cancelled,
    /// What the caller had proved was taken back, which is on record.
    TakenBack(OnRecord),
}

/// A request being answered. It is driven by whoever waits for the answer; if that one leaves, a modern request is
/// cancelled, and a legacy one goes on by itself (2025-11-25, transports; 2026-07-28, cancellation).
pub(crate) struct Call {
    gateway: Gateway,
    answering: Option<Answering>,
    outlet: Mailbox,
    who: Arc<Principal>,
    as_of: Mark,
    /// The reply, when it is known and notifications are still to go before it.
    reply: Option<Reply>,
    /// The places of the request among those under way, from its reply on to the end of the stream.
    places: Option<Arc<Places>>,
    goes_on_alone: bool,
}

/// How an answer begins.
pub(crate) enum First {
    /// It is known whole.
    Reply(Reply),
    /// It begins with something else, or takes long: it has to be streamed.
    Stream(Call),
    /// There is none.
    Ended(Ended),
}

impl Call {
    pub(crate) fn new(gateway: Gateway, inbound: Inbound, place: Option<Place>) -> Self {
        let outlet = inbound.outlet.clone();
        let goes_on_alone = inbound.era() == Era::Legacy;
        let answerer = gateway.clone();
        let (who, as_of) = (Arc::clone(&inbound.caller.who), inbound.as_of);
        // Whatever is taken back is looked for before anything is done, and then only while the answer is waited for.
        let answering: Answering = match place {
            _ if gateway.was_taken_back(&who, as_of) => {
                Box::pin(async move { cut_off(&answerer, &inbound, &identify::taken_back()).await })
            }
            None => Box::pin(async move {
                let why = tokio::select! {
                    biased;
                    reply = life::answer(&answerer, &inbound) => return Ok(reply),
                    why = cut(&answerer, &inbound) => why,
                };
                Box::pin(cut_off(&answerer, &inbound, &why)).await
            }),
            Some(mut place) => Box::pin(async move {
                let why = tokio::select! {
                    biased;
                    reply = life::answer(&answerer, &inbound) => return Ok(reply),
                    // Before: a session that ends with its caller cancels what is under way in it.
                    why = cut(&answerer, &inbound) => why,
                    () = cancelled(&mut place, &inbound) => return Err(Ended::Cancelled),
                };
                Box::pin(cut_off(&answerer, &inbound, &why)).await
            }),
        };
        Self {
            gateway,
            answering: Some(answering),
            outlet,
            who,
            as_of,
            reply: None,
            places: None,
            goes_on_alone,
        }
    }

    /// Holds the stream of the answer to who asked.
    pub(crate) fn leash(&self) -> Leash {
        Leash::of_answer(&self.gateway, &self.who, self.as_of)
    }

    /// Waits for the reply alone; notifications go where the outlet leads.
    pub(crate) async fn finish(mut self) -> Option<Reply> {
        let reply = match &mut self.answering {
            Some(answering) => answering.as_mut().await.ok(),
            None => None,
        };
        self.answering = None;
        reply
    }

    /// Where the notifications about the request go.
    pub(crate) fn outlet(&self) -> &Mailbox {
        &self.outlet
    }

    /// Sees the request through, whoever listens: its reply becomes the last message of its outlet.
    pub(crate) async fn run(mut self) {
        let outlet = self.outlet.clone();
        let known = self.reply.take();
        let reply = if known.is_some() { known } else { self.finish().await };
        if let Some(reply) = reply {
            let _ = outlet.push_reply(reply.body, 1);
        }
        outlet.close();
    }

    /// Waits until it is clear how the answer begins.
    pub(crate) async fn first(mut self, accepts: Accepts, patience: Duration) -> First {
        if !accepts.json {
            return First::Stream(self);
        }
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        let begin = std::future::poll_fn(|cx| {
            let polled = self.poll_reply(cx);
            if !accepts.events {
                while self.outlet.pop().is_some() {}
                return polled.map(|reply| Some(reply.map(|reply| (reply, false))));
            }
            match polled {
                Poll::Ready(reply) => {
                    let streams = self.outlet.has_messages();
                    Poll::Ready(Some(reply.map(|reply| (reply, streams))))
                }
                Poll::Pending if self.outlet.has_messages() => Poll::Ready(None),
                Poll::Pending => {
                    let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                    timer.as_mut().poll(cx).map(|()| None)
                }
            }
        })
        .await;
        match begin {
            None => First::Stream(self),
            Some(Err(ended)) => First::Ended(ended),
            Some(Ok((reply, false))) => First::Reply(reply),
            Some(Ok((reply, true))) => {
                self.reply = Some(reply);
                First::Stream(self)
            }
        }
    }

    /// The next message of the answer as a stream; none after the reply.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Segments>> {
        let now = self.gateway.standing().mark();
        if now != self.as_of && self.gateway.is_taken_back(&self.who) {
            // Not only what it says: the request itself ends.
            self.answering = None;
            return Poll::Ready(None);
        }
        self.as_of = now;
        if let Some(message) = self.outlet.pop() {
            return Poll::Ready(Some(message));
        }
        if self.reply.is_none()
            && self.answering.is_some()
            && let Poll::Ready(reply) = self.poll_reply(cx)
        {
            self.reply = reply.ok();
        }
        // What others put in while this request is being answered wakes the reader too.
        if let Poll::Ready(Some(message)) = self.outlet.poll_next(cx) {
            return Poll::Ready(Some(message));
        }
        match (self.reply.take(), &self.answering) {
            (Some(reply), _) => {
                self.places = reply.places;
                Poll::Ready(Some(reply.body))
            }
            (None, None) => Poll::Ready(None),
            (None, Some(_)) => Poll::Pending,
        }
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Result<Reply, Ended>> {
        let Some(answering) = &mut self.answering else { return Poll::Ready(Err(Ended::Cancelled)) };
        let reply = std::task::ready!(answering.as_mut().poll(cx));
        self.answering = None;
        Poll::Ready(reply)
    }
}

/// Waits until the client cancels the request. The record says so before the request is let go of.
async fn cancelled(place: &mut Place, inbound: &Inbound) {
    place.cancelled().await;
    inbound.record.is_left(Outcome::Cancelled);
}

/// Waits until the request must not go on, and says why. The record says so before the request is let go of.
async fn cut(gateway: &Gateway, inbound: &Inbound) -> Refusal {
    let why = gateway.cut(inbound).await;
    inbound.record.is_cut(why.code);
    why
}

/// Ends a request that is cut off: that is on record before it is told. Whoever is stopped by an operator is told so, and
/// nothing else that was still to be told.
async fn cut_off(gateway: &Gateway, inbound: &Inbound, why: &Refusal) -> Result<Reply, Ended> {
    let on_record = record::refused(gateway, inbound, why).await;
    if why.stage != Stage::Block {
        return Err(Ended::TakenBack(on_record));
    }
    while inbound.outlet.pop().is_some() {}
    Ok(refuse::render(why, inbound.era(), Some(&inbound.id), on_record))
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(answering) = self.answering.take()
            && self.goes_on_alone
        {
            self.outlet.close();
            self.gateway.spawn(async move {
                let _ = answering.await;
            });
        }
    }
}
