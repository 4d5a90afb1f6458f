//! How much a peer may say over HTTP/1.1 before its answer begins. Interim responses (RFC 9110, section 15.2) come before the
//! head of the answer, as many as the peer likes, and are read away without anybody else having a turn: a peer that never
//! comes to its answer would keep the thread for itself.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// So many bytes may come until the head of an answer is there: more than twice what is read at once at most, so that a head
/// of any allowed size may have a body behind it in the same read.
const BYTES_MAX: usize = 1 << 20;
/// While no head is waited for there is no bound.
const UNBOUND: usize = usize::MAX;

/// What may come yet before the head of an answer is there. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct HeadRoom(Arc<AtomicUsize>);

impl HeadRoom {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(UNBOUND)))
    }

    /// A request is sent: from now on the head of its answer is waited for.
    pub(super) fn begins(&self) {
        self.0.store(BYTES_MAX, Ordering::Relaxed);
    }

    /// The head is there.
    pub(super) fn ends(&self) {
        self.0.store(UNBOUND, Ordering::Relaxed);
    }

    /// So many bytes have come. Whether there was room for them.
    fn takes(&self, bytes: usize) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        if left == UNBOUND {
            return true;
        }
        self.0.store(left.saturating_sub(bytes), Ordering::Relaxed);
        bytes <= left
    }
}

/// A stream of which no more is read than there is room for.
pub(super) struct Roomed<S> {
    stream: S,
    room: HeadRoom,
}

impl<S> Roomed<S> {
    pub(super) fn new(stream: S, room: HeadRoom) -> Self {
        Self { stream, room }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Roomed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let is_roomy = self.room.takes(buf.filled().len() - before);
        Poll::Ready(if is_roomy { Ok(()) } else { Err(io::Error::other("an answer that never begins")) })
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Roomed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_comes_before_an_answer_has_an_end_and_the_answer_has_none() {
        let room = HeadRoom::new();
        let mut stream = Roomed::new(tokio::io::repeat(b'x'), room.clone());
        let mut buffer = vec![0; BYTES_MAX];
        room.begins();
        stream.read_exact(&mut buffer).await.expect("there is room for so much");
        assert!(stream.read_u8().await.is_err(), "and for no more");
        room.ends();
        for _ in 0..4 {
            stream.read_exact(&mut buffer).await.expect("a body is bounded elsewhere");
        }
        room.begins();
        assert!(stream.read_u8().await.is_ok(), "each answer has its own room");
    }
}
