//! The three shapes of an answer's body: whole, a stream of events, and a stream that stays open.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

/// Body of one answer of the mock.
pub(crate) enum Reply {
    /// All of it, with a known length.
    Whole(Option<Bytes>),
    /// One frame per event. Between two frames the body is pending once, so that each is written on its own, as a
    /// tool's progress is.
    Events { left: VecDeque<Bytes>, rest: bool },
    /// One frame, and then open until the client leaves.
    Held(Option<Bytes>),
    /// One frame, and another when somebody has it.
    Awaited { first: Option<Bytes>, second: Option<oneshot::Receiver<Bytes>> },
}

impl Reply {
    pub(crate) fn events(events: VecDeque<Bytes>) -> Reply {
        Reply::Events { left: events, rest: false }
    }
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut *self {
            Reply::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Reply::Events { left, rest } => {
                if std::mem::replace(rest, !*rest) {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(left.pop_front().map(|event| Ok(Frame::data(event))))
            }
            Reply::Held(first) => match first.take() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None => Poll::Pending,
            },
            Reply::Awaited { first, second } => {
                if let Some(bytes) = first.take() {
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                let Some(receiver) = second else { return Poll::Ready(None) };
                let received = std::task::ready!(Pin::new(receiver).poll(context)).ok();
                *second = None;
                Poll::Ready(received.map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Reply::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            Reply::Events { left, .. } => left.is_empty(),
            Reply::Held(_) | Reply::Awaited { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Reply::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
            _ => SizeHint::default(),
        }
    }
}
