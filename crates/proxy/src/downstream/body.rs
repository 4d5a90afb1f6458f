//! What the data plane answers with.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tollgate_mcp::{Segments, encode_comment, encode_event};

use super::call::Call;
use super::connection::Connection;
use crate::gateway::Gateway;
use crate::mailbox::Mailbox;
use crate::session::Session;

/// The body of a response.
pub struct Body(Shape);

enum Shape {
    Whole(Whole),
    Call(Box<CallStream>),
    Stream(Box<WaitingStream>),
}

/// A message that is known whole.
struct Whole {
    pieces: smallvec::IntoIter<[Bytes; 4]>,
    left: u64,
}

/// A request's own stream: its notifications, then its reply.
struct CallStream {
    call: Call,
    pieces: Pieces,
    keep_alive: KeepAlive,
    ended: bool,
}

/// A stream that belongs to no request and waits for what comes.
struct WaitingStream {
    mailbox: Mailbox,
    pieces: Pieces,
    keep_alive: KeepAlive,
    /// What is left behind when the client goes.
    _left: Leave,
}

enum Leave {
    Session(Arc<Session>, Mailbox),
    Connection(Gateway, Arc<Connection>),
}

impl Drop for Leave {
    fn drop(&mut self) {
        match self {
            Self::Session(session, mailbox) => session.stream_ended(mailbox),
            Self::Connection(gateway, connection) => connection.close(gateway),
        }
    }
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
    /// Nothing.
    pub fn empty() -> Self {
        Self::whole(Segments::new())
    }

    pub(crate) fn whole(segments: Segments) -> Self {
        let left = segments.len() as u64;
        Self(Shape::Whole(Whole { pieces: segments.into_iter(), left }))
    }

    pub(crate) fn call(call: Call, keep_alive: Duration) -> Self {
        let mut pieces = Pieces::default();
        // A first byte makes proxies send the headers on.
        pieces.put(Segments::from(encode_comment()));
        Self(Shape::Call(Box::new(CallStream {
            call,
            pieces,
            keep_alive: KeepAlive::new(keep_alive),
            ended: false,
        })))
    }

    pub(crate) fn session_stream(session: Arc<Session>, mailbox: Mailbox, keep_alive: Duration) -> Self {
        let left = Leave::Session(session, mailbox.clone());
        Self::waiting(mailbox, Segments::from(encode_comment()), left, keep_alive)
    }

    pub(crate) fn connection_stream(
        gateway: Gateway,
        connection: Arc<Connection>,
        first: Bytes,
        keep_alive: Duration,
    ) -> Self {
        let mailbox = connection.outbox().clone();
        Self::waiting(mailbox, Segments::from(first), Leave::Connection(gateway, connection), keep_alive)
    }

    fn waiting(mailbox: Mailbox, first: Segments, left: Leave, keep_alive: Duration) -> Self {
        let mut pieces = Pieces::default();
        pieces.put(first);
        let keep_alive = KeepAlive::new(keep_alive);
        Self(Shape::Stream(Box::new(WaitingStream { mailbox, pieces, keep_alive, _left: left })))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match &mut self.0 {
            Shape::Whole(whole) => {
                Poll::Ready(whole.pieces.next().inspect(|piece| whole.left -= piece.len() as u64))
            }
            Shape::Call(stream) => stream.poll(cx),
            Shape::Stream(stream) => stream.poll(cx),
        };
        piece.map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Shape::Whole(whole) => whole.left == 0,
            Shape::Call(_) | Shape::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Shape::Whole(whole) => SizeHint::with_exact(whole.left),
            Shape::Call(_) | Shape::Stream(_) => SizeHint::default(),
        }
    }
}

impl CallStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Poll::Ready(Some(piece));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.call.poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    self.keep_alive.reset();
                    self.pieces.put(encode_event(&message, None));
                }
                Poll::Ready(None) => self.ended = true,
                Poll::Pending => {
                    std::task::ready!(self.keep_alive.poll(cx));
                    self.pieces.put(Segments::from(encode_comment()));
                }
            }
        }
    }
}

impl WaitingStream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(piece) = self.pieces.next() {
                return Poll::Ready(Some(piece));
            }
            match self.mailbox.poll_next(cx) {
                Poll::Ready(Some(message)) => {
                    self.keep_alive.reset();
                    self.pieces.put(encode_event(&message, None));
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
