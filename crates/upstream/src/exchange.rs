//! One request under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};
use tollgate_mcp::{Kind, LogLevel, Message, methods};
use tollgate_model::Era;

use crate::comeback;
use crate::conversation::CallReceiver;
use crate::hello;
use crate::link::Instance;
use crate::pace::{Lack, Pace};
use crate::replies::Replies;
use crate::seats::Lease;
use crate::stream::Stream;
use crate::{EventKind, UpstreamError};

/// One request under way. Dropping it before its response cancels it: the response stream is closed (modern HTTP), or
/// `notifications/cancelled` is sent (stdio, and every legacy transport).
#[derive(Debug)]
pub struct Exchange {
    // Before the ticket: the stream is closed first, then the server is told, where it must be told.
    source: SourceOf,
    ticket: Ticket,
    pace: Pace,
    deadline: Instant,
    /// When the server was last heard about this request, if it was.
    heard: Option<Instant>,
    /// What was left of the time when the clock was stopped.
    left: Option<Duration>,
}

/// A message that belongs to a request.
#[derive(Debug)]
pub enum Incoming {
    /// A notification: progress with this request's token, or another that belongs to it.
    Notification(Message),
    /// A request of a legacy server, to be answered through [`Exchange::replies`].
    Request(Message),
    /// The response, with the id that the request had upstream. An error response may have the id `null` or none.
    Response(Message),
}

#[derive(Debug)]
enum SourceOf {
    Http(Box<Stream>),
    Routed(CallReceiver),
    Answer(Box<Message>),
    Nothing,
}

impl Exchange {
    pub(crate) fn http(ticket: Ticket, stream: Stream, pace: Pace) -> Self {
        Self::new(SourceOf::Http(Box::new(stream)), ticket, pace)
    }

    pub(crate) fn routed(ticket: Ticket, receiver: CallReceiver, pace: Pace) -> Self {
        Self::new(SourceOf::Routed(receiver), ticket, pace)
    }

    pub(crate) fn answered(ticket: Ticket, message: Message, pace: Pace) -> Self {
        Self::new(SourceOf::Answer(Box::new(message)), ticket, pace)
    }

    fn new(source: SourceOf, ticket: Ticket, pace: Pace) -> Self {
        Self { source, ticket, pace, deadline: pace.deadline(), heard: None, left: None }
    }

    /// The id of the request upstream.
    pub fn id(&self) -> u64 {
        self.ticket.id
    }

    /// The next message that belongs to this request. After [`Incoming::Response`] or an error there is nothing more.
    /// Dropping the future of this function loses nothing.
    pub async fn next(&mut self) -> Result<Incoming, UpstreamError> {
        loop {
            let (until, lack) = self.patience();
            let Ok(next) = timeout_at(until, self.receive()).await else {
                if self.patience().0 > until {
                    // Something was heard that is no message.
                    continue;
                }
                // The server may still be at it: the ticket stays open, so that it is told.
                let error = self.pace.runs_out(lack);
                // One that has told how it goes, or has asked something, is only slow.
                if self.heard.is_none() || lack != Lack::Time {
                    self.ticket.failed(&error);
                }
                return Err(error);
            };
            match &next {
                Ok(Incoming::Response(_)) => {
                    self.ticket.answered();
                    self.ticket.close();
                }
                Ok(_) => self.heard = Some(Instant::now()),
                Err(error) => self.ticket.failed(error),
            }
            return next;
        }
    }

    /// How long one waits for the next message. While the server waits for a person, only that wait counts.
    fn patience(&self) -> (Instant, Lack) {
        if self.left.is_some() {
            return (self.deadline, Lack::Time);
        }
        let heard = match &self.source {
            SourceOf::Http(stream) => {
                Some(self.heard.map_or(stream.heard(), |heard| heard.max(stream.heard())))
            }
            SourceOf::Routed(_) | SourceOf::Answer(_) | SourceOf::Nothing => self.heard,
        };
        self.pace.patience(self.deadline, heard)
    }

    /// The way back for what the server asks about this request.
    pub fn replies(&self) -> Replies {
        let asked_in = match &self.source {
            SourceOf::Http(stream) => stream.session.clone(),
            SourceOf::Routed(_) | SourceOf::Answer(_) | SourceOf::Nothing => None,
        };
        Replies::new(&self.ticket.instance, asked_in)
    }

    /// Stops the clock: the server waits for a person, for `wait` at most. The rest of the time is kept.
    pub fn suspend(&mut self, wait: Duration) {
        let now = Instant::now();
        let left = *self.left.get_or_insert_with(|| self.deadline.saturating_duration_since(now));
        self.deadline = now + wait + left;
    }

    /// Lets the clock run on: the server has what it waited for.
    pub fn resume(&mut self) {
        if let Some(left) = self.left.take() {
            let now = Instant::now();
            self.deadline = now + left;
            self.heard = Some(now);
        }
    }

    async fn receive(&mut self) -> Result<Incoming, UpstreamError> {
        match &mut self.source {
            SourceOf::Http(stream) => {
                let incoming = from_stream(stream, &self.ticket).await;
                match &incoming {
                    Ok(Incoming::Response(_)) => {
                        if let SourceOf::Http(stream) = std::mem::replace(&mut self.source, SourceOf::Nothing)
                        {
                            stream.finish();
                        }
                    }
                    Err(error) => self.ticket.settle_by(error),
                    Ok(_) => {}
                }
                incoming
            }
            SourceOf::Routed(receiver) => {
                let incoming = receiver
                    .recv()
                    .await
                    .unwrap_or_else(|| Err(UpstreamError::closed("the conversation ended")));
                match &incoming {
                    Ok(Incoming::Response(_)) => self.ticket.instance.seen_up(),
                    Ok(_) => {}
                    Err(_) => self.ticket.settle(),
                }
                incoming
            }
            SourceOf::Answer(_) => match std::mem::replace(&mut self.source, SourceOf::Nothing) {
                SourceOf::Answer(message) => Ok(Incoming::Response(*message)),
                _ => Err(UpstreamError::closed("the response has been read")),
            },
            SourceOf::Nothing => Err(UpstreamError::closed("the response has been read")),
        }
    }
}

/// What the server has asked on a stream that all calls share, and nobody has read, is answered: it may be about more than
/// this request, and its server would wait for ever.
impl Drop for Exchange {
    fn drop(&mut self) {
        let SourceOf::Routed(receiver) = &mut self.source else { return };
        receiver.close();
        while let Ok(incoming) = receiver.try_recv() {
            let Ok(Incoming::Request(request)) = incoming else { continue };
            let (Some(raw_id), Ok(runtime)) = (request.id_raw(), tokio::runtime::Handle::try_current())
            else {
                continue;
            };
            let replies = Replies::new(&self.ticket.instance, None);
            runtime.spawn(async move {
                // The server may have ended.
                let _ = replies.send(hello::nobody(&raw_id)).await;
            });
        }
    }
}

/// The next message of a POST's response that concerns its caller.
async fn from_stream(stream: &mut Stream, ticket: &Ticket) -> Result<Incoming, UpstreamError> {
    let instance = &ticket.instance;
    loop {
        let message = comeback::message(stream, instance).await?;
        match message.kind() {
            Kind::Result | Kind::Error => {
                // An error that answers nothing in particular can, on this stream, only answer this request.
                let addressed = message.id_u64() == Some(ticket.id)
                    || (message.kind() == Kind::Error
                        && message.id().is_none_or(|id| id.of(message.bytes()) == b"null"));
                if addressed {
                    return Ok(Incoming::Response(message));
                }
                instance.shared.protocol_error("an answer with another id", stream.is_single());
                if stream.is_single() {
                    return Err(UpstreamError::protocol(
                        "the server's answer carries another id",
                        "wrong id",
                    ));
                }
            }
            Kind::Notification => match EventKind::of(&message) {
                Some(kind) => instance.shared.event(kind, &instance.source),
                None => return Ok(Incoming::Notification(message)),
            },
            Kind::Request if instance.revision.era() == Era::Modern => {
                instance.shared.protocol_error("a request, which a modern server does not send", false);
            }
            Kind::Request if message.method() == methods::PING => {
                pong(instance, Replies::new(instance, stream.session.clone()), &message);
            }
            Kind::Request => return Ok(Incoming::Request(message)),
        }
        if stream.is_single() {
            return Err(UpstreamError::protocol(
                "the server answered with something that is not a response",
                "no response",
            ));
        }
    }
}

fn pong(instance: &Instance, replies: Replies, ping: &Message) {
    let Some(raw_id) = ping.id_raw() else { return };
    let Some(place) = instance.shared.aside() else { return };
    tokio::spawn(async move {
        let _ = replies.send(hello::pong(&raw_id)).await;
        drop(place);
    });
}

/// A request's place in its instance's books. Dropped while still open, it cancels the request.
#[derive(Debug)]
pub(crate) struct Ticket {
    instance: Arc<Instance>,
    id: u64,
    log_level: Option<LogLevel>,
    /// Whether the server may ask something about the request.
    asked: bool,
    lease: Option<Arc<Lease>>,
    /// In which time of its replica's circuit it began.
    epoch: u32,
    settled: bool,
    closed: bool,
}

impl Ticket {
    /// Of the gateway's own request.
    pub(crate) fn own(instance: &Arc<Instance>, id: u64) -> Self {
        Self::new(instance, id, "", None)
    }

    /// Of a request of this method. While it is under way, the lease is held.
    pub(crate) fn new(instance: &Arc<Instance>, id: u64, method: &str, lease: Option<Arc<Lease>>) -> Self {
        let asked = methods::may_ask_for_input(method);
        instance.begin_call();
        if asked {
            instance.begin_asked();
        }
        let epoch = instance.replica().map_or(0, |replica| {
            replica.begin_call();
            replica.circuit.epoch()
        });
        Self {
            instance: Arc::clone(instance),
            id,
            log_level: None,
            asked,
            lease,
            epoch,
            settled: false,
            closed: false,
        }
    }

    /// While the request is under way, its caller wants log messages of this level and above.
    pub(crate) fn want_log(&mut self, level: LogLevel) {
        if self.log_level.replace(level).is_none() {
            self.instance.loudness.want(level);
        }
    }

    pub(crate) fn wants_log(&self) -> bool {
        self.log_level.is_some()
    }

    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    fn answered(&self) {
        self.instance.answered(self.epoch);
    }

    fn failed(&self, error: &UpstreamError) {
        self.instance.failed(error, self.epoch);
    }

    /// The server is done with the request.
    pub(crate) fn settle(&mut self) {
        self.settled = true;
    }

    /// The request is over: its instance may be stopped, also while the response is still being handed on.
    fn close(&mut self) {
        self.settled = true;
        if !self.closed {
            self.closed = true;
            if let Some(level) = self.log_level {
                self.instance.loudness.want_no_more(level);
            }
            if self.asked {
                self.instance.end_asked();
            }
            self.instance.end_call();
            if let Some(replica) = self.instance.replica() {
                replica.end_call();
            }
            self.lease = None;
        }
    }

    /// The request is sent once more.
    pub(crate) fn reopen(&mut self) {
        self.settled = false;
    }

    /// After a broken stream a legacy server may still be at work; after an answer that cannot be read it is not.
    fn settle_by(&mut self, error: &UpstreamError) {
        self.settled = !matches!(error, UpstreamError::Closed { .. } | UpstreamError::TooLarge { .. })
            && !error.is_spew();
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.settled {
            if self.asked {
                self.instance.strays(self.id);
            }
            self.instance.cancel(self.id);
        }
        self.close();
    }
}
