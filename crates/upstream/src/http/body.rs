//! A request body: the pieces of a message, sent as they are.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use tollgate_mcp::Segments;

/// The pieces of a message as a request body. No piece is copied.
pub(crate) struct Outgoing {
    pieces: <Segments as IntoIterator>::IntoIter,
    bytes_left: u64,
}

impl Outgoing {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::from(Segments::new())
    }
}

impl From<Segments> for Outgoing {
    fn from(message: Segments) -> Self {
        let bytes_left = message.len() as u64;
        Self { pieces: message.into_iter(), bytes_left }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.find(Buf::has_remaining);
        if let Some(piece) = &piece {
            self.bytes_left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes_left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes_left)
    }
}
