//! What the data plane answers with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_limits::Places;
use tollgate_mcp::{Segments, encode_comment, encode_event};

use super::call::Call;
use super::connection::Connection;
use crate::gateway::Gateway;
use crate::load::Work;
use crate::mailbox::Mailbox;
use crate::replay::Reader;
use crate::session::Session;
use crate::standing::Leash;

/// The body of a response.
pub struct Body {
    shape: Shape,
    /// The request that it answers, which is under way until the client has it all.
    #[allow(dead_code, reason = "it is there to be dropped")]
    work: Option<Arc<Work>>,
}

enum Shape {
    Whole(Whole),
    Call(Box<CallStream>),
    Session(Box<SessionStream>),
    Stream(Box<WaitingStream>),
}

/// A message that is known whole.
struct Whole {
    pieces: smallvec::IntoIter<[Bytes; 4]>,
    left: u64,
    /// What the request holds until its client has the answer.
    #[allow(dead_code, reason = "it is there to be dropped")]
    held: Option<Arc<Places>>,
}

/// A modern request's own stream: its notifications, then its reply. Nobody can come back to it, and who leaves cancels.
struct CallStream {
    call: Call,
    events: Events,
}

/// The only stream of a connection.
struct WaitingStream {
    mailbox: Mailbox,
    leash: Leash,
    events: Events,
    /// What is left behind when the client goes.
    _left: LeftConnection,
}

/// A stream of a session: a request's own, or the one for what belongs to none. A client that loses it can come back.
struct SessionStream {
    reader: Reader,
    leash: Leash,
    events: Events,
    _left: LeftSession,
}

struct LeftSession(Arc<Session>);

impl Drop for LeftSession {
    fn drop(&mut self) {
        self.0.reader_left();
    }
}

struct LeftConnection(Gateway, Arc<Connection>);

impl Drop for LeftConnection {
    fn drop(&mut self) {
        self.1.close(&self.0);
    }
}

/// Events on their way, and comments where there are none for long.
struct Events {
    pieces: Pieces,
    keep_alive: KeepAlive,
}

/// Bytes of an event that are yet to be sent.
#[derive(Default)]
struct Pieces(Option<smallvec::IntoIter<[Bytes; 4]>>);

impl Pieces {
    fn put(&mut self, segments: Segments) {
        self.0 = Some(segments.into_iter());
    }

    fn next(&mut self) -> Option<Bytes> {
        let next = self.0.as_mut()?.next();
        if next.is_none() {
            self.0 = None;
        }
        next
    }
}

/// Says when a stream has been silent for so long that proxies on the way might give it up.
struct KeepAlive {
    every: Duration,
    timer: Pin<Box<Sleep>>,
}

impl KeepAlive {
    fn new(every: Duration) -> Self {
        Self { every, timer: Box::pin(tokio::time::sleep(every)) }
    }

    fn reset(&mut self) {
        self.timer.as_mut().reset(Instant::now() + self.every);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => {
                self.reset();
                // The new deadline has to be polled, or nobody would wake for it.
                let _ = self.timer.as_mut().poll(cx);
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Body {
    fn of(shape: Shape) -> Self {
        Self { shape, work: None }
    }

    /// The same, with the request that it answers.
    pub(crate) fn keeping(self, work: Arc<Work>) -> Self {
        Self { work: Some(work), ..self }
    }

    /// Nothing.
    pub fn empty() -> Self {
        Self::whole(Segments::new())
    }

    pub(crate) fn whole(segments: Segments) -> Self {
        let left = segments.len() as u64;
        Self::of(Shape::Whole(Whole { pieces: segments.into_iter(), left, held: None }))
    }

    /// The same, with what is held until the client has it all. Only of a body that is known whole.
    pub(crate) fn holding(mut self, places: Option<Arc<Places>>) -> Self {
        if let Shape::Whole(whole) = &mut self.shape {
            whole.held = places;
        }
        self
    }

    pub(crate) fn call(call: Call, keep_alive: Duration) -> Self {
        let events = Events::new(encode_comment(), keep_alive);
        Self::of(Shape::Call(Box::new(CallStream { call, events })))
    }

    /// `first` is what the stream begins with: bytes that say nothing, or an event to come back to.
    pub(crate) fn session_stream(
        session: Arc<Session>,
        reader: Reader,
        leash: Leash,
        first: Bytes,
        keep_alive: Duration,
    ) -> Self {
        let events = Events::new(first, keep_alive);
        Self::of(Shape::Session(Box::new(SessionStream {
            reader,
            leash,
            events,
            _left: LeftSession(session),
        })))
    }

    pub(crate) fn connection_stream(
        gateway: Gateway,
        connection: Arc<Connection>,
        leash: Leash,
        first: Bytes,
        keep_alive: Duration,
    ) -> Self {
        let mailbox = connection.outbox().clone();
        let events = Events::new(first, keep_alive);
        let left = LeftConnection(gateway, connection);
        Self::of(Shape::Stream(Box::new(WaitingStream { mailbox, leash, events, _left: left })))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.shape {
            Shape::Whole(whole) => {
                Poll::Ready(whole.pieces.next().inspect(|piece| whole.left -= piece.len() as u64))
            }
            Shape::Call(stream) => {
                let CallStream { call, events } = &mut **stream;
                events.poll(cx, |cx| {
                    call.poll_next(cx).map(|next| next.map(|message| encode_event(&message, None)))
                })
            }
            Shape::Session(stream) => {
                let SessionStream { reader, leash, events, .. } = &mut **stream;
                if leash.poll_lost(cx).is_ready() {
                    return Poll::Ready(None);
                }
                events.poll(cx, |cx| {
                    let next = reader.poll_next(cx);
                    next.map(|next| {
                        next.map(|(number, message)| encode_event(&message, Some(&reader.event_id(number))))
                    })
                })
            }
            Shape::Stream(stream) => {
                let WaitingStream { mailbox, leash, events, .. } = &mut **stream;
                if leash.poll_lost(cx).is_ready() {
                    return Poll::Ready(None);
                }
                events.poll(cx, |cx| {
                    mailbox.poll_next(cx).map(|next| next.map(|message| encode_event(&message, None)))
                })
            }
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.shape {
            Shape::Whole(whole) => whole.left == 0,
            Shape::Call(_) | Shape::Session(_) | Shape::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.shape {
            Shape::Whole(whole) => SizeHint::with_exact(whole.left),
            Shape::Call(_) | Shape::Session(_) | Shape::Stream(_) => SizeHint::default(),
        }
    }
}

impl Events {
    /// A first byte makes proxies send the headers on.
    fn new(first: Bytes, keep_alive: Duration) -> Self {
        let mut pieces = Pieces::default();
        pieces.put(Segments::from(first));
        Self { pieces, keep_alive: KeepAlive::new(keep_alive) }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        mut next: impl FnMut(&mut Context<'_>) -> Poll<Option<Segments>>,
    ) -> Poll<Option<Bytes>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Poll::Ready(Some(piece));
            }
            match next(cx) {
                Poll::Ready(Some(event)) => {
                    self.keep_alive.reset();
                    self.pieces.put(event);
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => {
                    std::task::ready!(self.keep_alive.poll(cx));
                    self.pieces.put(Segments::from(encode_comment()));
                }
            }
        }
    }
}
