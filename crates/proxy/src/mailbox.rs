//! A bounded queue of messages on their way to one client stream.
//!
//! It is smaller than a channel: an idle session holds one for its whole life, so an empty one must cost next to
//! nothing. There is one reader, and it may be polled from the same task as the writer. A stream that can be resumed
//! keeps what it has given out ([`crate::replay`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tollgate_mcp::Segments;

use crate::replay::History;

/// How long a client that reads slowly may hold up what a server says or asks.
pub(crate) const READER_PATIENCE: Duration = Duration::from_secs(30);

/// Both ends of the queue. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Mailbox(Arc<Mutex<State>>);

#[derive(Debug)]
pub(crate) struct State {
    /// What waits for the reader, after what the history keeps of what the reader has had.
    pub(crate) messages: VecDeque<Segments>,
    messages_max: usize,
    /// News of topics, which go after all other messages.
    latest: VecDeque<(Topic, Segments)>,
    pub(crate) closed: bool,
    pub(crate) reader: Option<Waker>,
    /// Who waits for room.
    pub(crate) writers: Vec<Waker>,
    /// Of a stream that can be resumed.
    pub(crate) history: Option<Box<History>>,
}

/// What a message is news of. Of what waits, only the latest of each is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Topic(pub(crate) u64);

/// The message was not taken: the queue is full, or the stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotTaken;

impl State {
    fn waiting(&self) -> usize {
        self.messages.len() - self.history.as_ref().map_or(0, |history| history.read)
    }

    /// Whether a message fits in, beside `beyond` more than usual.
    fn has_room(&self, message: &Segments, beyond: usize) -> bool {
        self.waiting() < self.messages_max.saturating_add(beyond)
            && self.history.as_ref().is_none_or(|history| history.has_room(message, beyond > 0))
    }

    /// Whether there may be room later: somebody reads.
    fn is_read(&self) -> bool {
        self.history.as_ref().is_none_or(|history| history.attached)
    }

    fn put(&mut self, message: Segments) {
        match &mut self.history {
            None => self.messages.push_back(message),
            Some(history) => history.put(&mut self.messages, message),
        }
    }

    /// The next message and, of a stream with a history, its number.
    pub(crate) fn take(&mut self) -> Option<(u64, Segments)> {
        if self.waiting() == 0
            && let Some((_, message)) = self.latest.pop_front()
        {
            self.put(message);
        }
        match &mut self.history {
            None => self.messages.pop_front().map(|message| (0, message)),
            Some(history) => history.take(&mut self.messages),
        }
    }
}

impl Mailbox {
    pub(crate) fn new(messages_max: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            messages: VecDeque::new(),
            messages_max,
            latest: VecDeque::new(),
            closed: false,
            reader: None,
            writers: Vec::new(),
            history: None,
        })))
    }

    /// Puts a message last.
    pub(crate) fn push(&self, message: Segments) -> Result<(), NotTaken> {
        let reader = {
            let mut state = self.lock();
            if state.closed || !state.has_room(&message, 0) {
                return Err(NotTaken);
            }
            state.put(message);
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Puts the latest news of a topic last, or in the place of older news that still waits. There is room for the news
    /// of `topics_max` topics beside the other messages, so that every topic of a client finds its place.
    pub(crate) fn push_latest(
        &self,
        topic: Topic,
        message: Segments,
        topics_max: usize,
    ) -> Result<(), NotTaken> {
        let reader = {
            let mut state = self.lock();
            if state.closed {
                return Err(NotTaken);
            }
            if let Some((_, older)) = state.latest.iter_mut().find(|(other, _)| *other == topic) {
                *older = message;
                return Ok(());
            }
            if state.latest.len() >= topics_max {
                return Err(NotTaken);
            }
            state.latest.push_back((topic, message));
            state.reader.take()
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        Ok(())
    }

    /// Puts a message last, as soon as there is room: a reader that is slower than the server slows the server down.
    /// One that has gone does not.
    pub(crate) async fn send(&self, message: Segments) -> Result<(), NotTaken> {
        let mut message = Some(message);
        std::future::poll_fn(|cx| {
            let reader = {
                let mut state = self.lock();
                let Some(next) = message.take() else { return Poll::Ready(Ok(())) };
                if state.closed {
                    return Poll::Ready(Err(NotTaken));
                }
                if !state.has_room(&next, 0) {
                    if !state.is_read() {
                        return Poll::Ready(Err(NotTaken));
                    }
                    message = Some(next);
                    if !state.writers.iter().any(|writer| writer.will_wake(cx.waker())) {
                        state.writers.push(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                state.put(next);
                state.reader.take()
            };
            if let Some(reader) = reader {
                reader.wake();
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Puts a reply last. Replies may not be lost, so there is room for `replies_max` of them beyond the limit for
    /// messages; a reader who leaves even more lying has its stream ended.
    pub(crate) fn push_reply(&self, reply: Segments, replies_max: usize) -> Result<(), NotTaken> {
        let (reader, writers) = {
            let mut state = self.lock();
            if state.closed {
                return Err(NotTaken);
            }
            if state.has_room(&reply, replies_max) {
                state.put(reply);
                (state.reader.take(), None)
            } else {
                state.lose();
                (state.reader.take(), Some(std::mem::take(&mut state.writers)))
            }
        };
        if let Some(reader) = reader {
            reader.wake();
        }
        let Some(writers) = writers else { return Ok(()) };
        writers.into_iter().for_each(Waker::wake);
        Err(NotTaken)
    }

    /// Ends the stream: the reader still gets what is queued.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            state.everyone()
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether somebody reads it, or is about to. A stream whose connection has gone is read once its client comes back.
    pub(crate) fn is_read(&self) -> bool {
        let state = self.lock();
        !state.closed && state.is_read()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Takes the first message without waiting.
    pub(crate) fn pop(&self) -> Option<Segments> {
        let (message, writers) = {
            let mut state = self.lock();
            (state.take(), std::mem::take(&mut state.writers))
        };
        writers.into_iter().for_each(Waker::wake);
        message.map(|(_, message)| message)
    }

    pub(crate) fn has_messages(&self) -> bool {
        let state = self.lock();
        state.waiting() > 0 || !state.latest.is_empty()
    }

    /// Whether both are the same queue.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The next message; `None` once the stream has ended.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Segments>> {
        if let Some(message) = self.pop() {
            return Poll::Ready(Some(message));
        }
        let mut state = self.lock();
        if let Some((_, message)) = state.take() {
            // It came in between; whoever waits for room is woken by the next look.
            return Poll::Ready(Some(message));
        }
        state.poll_end(cx).map(|()| None)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        // A poisoned queue is still a queue: nothing here panics between two consistent states.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Ready once the stream has ended; else the reader is woken by what comes.
    pub(crate) fn poll_end(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.closed {
            return Poll::Ready(());
        }
        if !self.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            self.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Whoever waits for anything.
    pub(crate) fn everyone(&mut self) -> Vec<Waker> {
        let mut waiting = std::mem::take(&mut self.writers);
        waiting.extend(self.reader.take());
        waiting
    }

    /// A message that had to be taken was not: the stream is torn, and ends. Who reads still gets what is queued; nobody
    /// can resume it.
    pub(crate) fn lose(&mut self) {
        self.closed = true;
        if let Some(history) = &mut self.history {
            history.lose(&mut self.messages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use std::future::poll_fn;

    fn message(text: &'static str) -> Segments {
        Segments::from(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn delivers_in_order_and_ends() {
        let mailbox = Mailbox::new(2);
        let reader = mailbox.clone();
        let read = tokio::spawn(async move {
            let mut seen = Vec::new();
            while let Some(message) = poll_fn(|cx| reader.poll_next(cx)).await {
                seen.push(message.into_bytes());
            }
            seen
        });
        mailbox.push(message("a")).expect("room");
        mailbox.push(message("b")).expect("room");
        mailbox.close();
        assert_eq!(mailbox.push(message("c")), Err(NotTaken));
        assert_eq!(read.await.expect("no panic"), ["a", "b"]);
    }

    #[tokio::test]
    async fn a_slow_reader_slows_the_writer_down_and_loses_nothing() {
        let mailbox = Mailbox::new(2);
        let writer = mailbox.clone();
        let write = tokio::spawn(async move {
            for _ in 0..100 {
                writer.send(message("a")).await.expect("open");
            }
            writer.close();
        });
        let mut read = 0;
        while poll_fn(|cx| mailbox.poll_next(cx)).await.is_some() {
            read += 1;
        }
        write.await.expect("no panic");
        assert_eq!(read, 100);
    }

    #[test]
    fn the_latest_news_takes_the_place_of_older_news() {
        let mailbox = Mailbox::new(1);
        mailbox.push(message("other")).expect("room");
        for text in ["a1", "b1", "a2", "a3"] {
            let topic = Topic(u64::from(text.as_bytes()[0]));
            mailbox.push_latest(topic, message(text), 2).expect("room");
        }
        assert_eq!(mailbox.push_latest(Topic(1), message("c1"), 2), Err(NotTaken));
        let read: Vec<_> = std::iter::from_fn(|| mailbox.pop()).map(Segments::into_bytes).collect();
        assert_eq!(read, ["other", "a3", "b1"]);
    }

    #[test]
    fn is_bounded() {
        let mailbox = Mailbox::new(1);
        assert_eq!(mailbox.push(message("a")), Ok(()));
        assert_eq!(mailbox.push(message("b")), Err(NotTaken));
    }
}
