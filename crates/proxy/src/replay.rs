//! What lets a client of 2025-03-26 to 2025-11-25 come back to a stream that broke: each event has an id, what was sent
//! is kept for a while, and a GET with `Last-Event-ID` goes on behind the event of that id (2025-11-25, transports,
//! resumability). Only ever on the stream that the id belongs to.
//!
//! A stream whose client is away takes what still fits into its bounds. Notifications beyond them are lost, as they are
//! for a client that reads too slowly; a reply beyond them makes the stream one that cannot be resumed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use tokio::time::Instant;
use tollgate_mcp::Segments;
use tollgate_model::{Code, Refusal, Stage};

use crate::mailbox::Mailbox;
use crate::settings::ResumeSettings;

/// Messages of one piece below this size are copied when they are kept: else they could hold a large buffer.
const COPIED_BYTES_MAX: usize = 16 * 1024;
/// How many ended streams a session keeps for clients that come back.
const ENDED_MAX: usize = 64;

/// What a stream keeps of what it has given out, and the bounds of that. The messages themselves are in the mailbox.
#[derive(Debug)]
pub(crate) struct History {
    events_max: usize,
    bytes_max: usize,
    budget: Budget,
    /// The number of the first message that is there. The first of a stream has number 1.
    first: u64,
    /// How many of the messages that are there the reader has had.
    pub(crate) read: usize,
    /// The highest number that was given out.
    given: u64,
    /// All that is there.
    bytes: usize,
    /// Of it, what waits for the reader.
    unread_bytes: usize,
    /// Whether somebody reads.
    pub(crate) attached: bool,
    /// The current reader; an older one has been replaced.
    generation: u64,
    /// Something is missing that had to be there.
    lost: bool,
}

/// How many bytes all streams of a session keep together.
#[derive(Clone, Debug)]
struct Budget {
    used: Arc<AtomicUsize>,
    max: usize,
}

impl Budget {
    fn is_over(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.max
    }

    fn has(&self, bytes: usize, beside: usize) -> bool {
        (self.used.load(Ordering::Relaxed) + bytes).saturating_sub(beside) <= self.max
    }
}

impl History {
    fn new(settings: &ResumeSettings, budget: Budget) -> Self {
        Self {
            events_max: settings.events_max,
            bytes_max: settings.bytes_max,
            budget,
            first: 1,
            read: 0,
            given: 0,
            bytes: 0,
            unread_bytes: 0,
            attached: false,
            generation: 0,
            lost: false,
        }
    }

    /// Whether a message may be taken in. While somebody reads, what waits is bounded by the queue; else by what is kept,
    /// where a reply need not share the room with the notifications before it.
    pub(crate) fn has_room(&self, message: &Segments, is_reply: bool) -> bool {
        if self.attached {
            return true;
        }
        let bytes = message.len();
        let waiting = if is_reply { 0 } else { self.unread_bytes };
        waiting + bytes <= self.bytes_max && self.budget.has(bytes, self.bytes - self.unread_bytes)
    }

    pub(crate) fn put(&mut self, messages: &mut VecDeque<Segments>, message: Segments) {
        let message = own(message);
        let bytes = message.len();
        self.bytes += bytes;
        self.unread_bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
        messages.push_back(message);
        self.trim(messages);
    }

    pub(crate) fn take(&mut self, messages: &mut VecDeque<Segments>) -> Option<(u64, Segments)> {
        let message = messages.get(self.read)?.clone();
        let number = self.first + self.read as u64;
        self.read += 1;
        self.given = self.given.max(number);
        self.unread_bytes -= message.len();
        self.trim(messages);
        Some((number, message))
    }

    /// Forgets the oldest of what was given out until the bounds are kept.
    fn trim(&mut self, messages: &mut VecDeque<Segments>) {
        while self.read > 0
            && (messages.len() > self.events_max || self.bytes > self.bytes_max || self.budget.is_over())
        {
            let Some(oldest) = messages.pop_front() else { return };
            self.read -= 1;
            self.first += 1;
            self.release(oldest.len());
        }
    }

    fn release(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Nobody can come back any more; what nobody reads is given up.
    pub(crate) fn lose(&mut self, messages: &mut VecDeque<Segments>) {
        self.lost = true;
        if !self.attached {
            messages.clear();
            (self.read, self.unread_bytes) = (0, 0);
            self.release(self.bytes);
        }
    }

    /// Makes what comes after the message of this number the next to be read. False if that is not known, or not any
    /// more.
    fn rewind(&mut self, messages: &VecDeque<Segments>, after: u64) -> bool {
        if self.lost || after > self.given {
            return false;
        }
        let Some(read) = (after + 1).checked_sub(self.first).and_then(|read| usize::try_from(read).ok())
        else {
            return false;
        };
        self.read = read;
        self.unread_bytes = messages.iter().skip(read).map(Segments::len).sum();
        true
    }

    fn attach(&mut self) -> u64 {
        self.attached = true;
        self.generation += 1;
        self.generation
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

fn own(message: Segments) -> Segments {
    let mut pieces = message.iter();
    match (pieces.next(), pieces.next()) {
        (Some(piece), None) if piece.len() < COPIED_BYTES_MAX => Bytes::copy_from_slice(piece).into(),
        _ => message,
    }
}

/// The one who reads a stream that can be resumed. When it goes, the stream waits for the next.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: u32,
    mailbox: Mailbox,
    generation: u64,
}

impl Reader {
    /// The id of the event of this number; 0 stands for the beginning of the stream.
    pub(crate) fn event_id(&self, number: u64) -> String {
        format!("{}-{number}", self.stream)
    }

    /// The next message and its number; none once the stream has ended, or another has come to read it.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<(u64, Segments)>> {
        let (next, writers) = {
            let mut state = self.mailbox.lock();
            if state.history.as_ref().is_none_or(|history| history.generation != self.generation) {
                return Poll::Ready(None);
            }
            let Some(next) = state.take() else { return state.poll_end(cx).map(|()| None) };
            (next, std::mem::take(&mut state.writers))
        };
        writers.into_iter().for_each(Waker::wake);
        Poll::Ready(Some(next))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.mailbox.lock();
            let state = &mut *state;
            let Some(history) = &mut state.history else { return };
            if history.generation != self.generation {
                return;
            }
            history.attached = false;
            history.trim(&mut state.messages);
            // What waited for a reader may be more than is kept without one.
            if history.unread_bytes > history.bytes_max || history.budget.is_over() {
                state.lose();
            }
            state.everyone()
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// The streams of one session.
#[derive(Debug, Default)]
pub(crate) struct Streams(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u32,
    streams: VecDeque<Stream>,
    used: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Stream {
    number: u32,
    mailbox: Mailbox,
    /// When it was first seen to have ended.
    ended: Option<Instant>,
}

impl Streams {
    /// Makes of a queue a stream that can be resumed, and its first reader.
    pub(crate) fn open(&self, mailbox: &Mailbox, settings: &ResumeSettings) -> Reader {
        let mut table = self.lock();
        table.forget(ENDED_MAX, settings);
        table.last += 1;
        let number = table.last;
        let budget = Budget { used: Arc::clone(&table.used), max: settings.session_bytes_max };
        let mut history = Box::new(History::new(settings, budget));
        let generation = history.attach();
        {
            let mut state = mailbox.lock();
            let mut kept = VecDeque::new();
            for message in std::mem::take(&mut state.messages) {
                history.put(&mut kept, message);
            }
            state.messages = kept;
            state.history = Some(history);
        }
        table.streams.push_back(Stream { number, mailbox: mailbox.clone(), ended: None });
        Reader { stream: number, mailbox: mailbox.clone(), generation }
    }

    /// Comes back to a stream behind the event of this id. Whoever reads it still is replaced: it may be what is left of
    /// the connection that broke.
    pub(crate) fn resume(&self, event_id: &[u8]) -> Result<(Reader, u64), Refusal> {
        let unknown = || {
            let text = "no stream can be resumed from this event: it is unknown, or kept no longer";
            Refusal::new(Stage::Session, Code::UnknownEvent, text)
        };
        let (stream, after) = parse(event_id).ok_or_else(unknown)?;
        let mailbox = self.lock().find(stream).ok_or_else(unknown)?;
        let (generation, replaced) = {
            let mut state = mailbox.lock();
            let state = &mut *state;
            let history = state.history.as_mut().ok_or_else(unknown)?;
            if !history.rewind(&state.messages, after) {
                return Err(unknown());
            }
            (history.attach(), state.reader.take())
        };
        if let Some(replaced) = replaced {
            replaced.wake();
        }
        Ok((Reader { stream, mailbox, generation }, after))
    }

    /// Forgets the streams that ended so long ago that nobody will come back to them.
    pub(crate) fn sweep(&self, settings: &ResumeSettings) {
        let mut table = self.lock();
        if table.streams.iter().any(|stream| stream.mailbox.is_closed()) {
            table.forget(usize::MAX, settings);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn find(&self, number: u32) -> Option<Mailbox> {
        self.streams.iter().find(|stream| stream.number == number).map(|stream| stream.mailbox.clone())
    }

    /// Forgets the ended streams whose time is over, and the oldest of them as long as there are too many, or too much
    /// is kept.
    fn forget(&mut self, ended_max: usize, settings: &ResumeSettings) {
        let now = Instant::now();
        let mut ended = 0;
        for stream in &mut self.streams {
            if stream.ended.is_none() && stream.mailbox.is_closed() {
                stream.ended = Some(now);
            }
            ended += usize::from(stream.ended.is_some());
        }
        let used = Arc::clone(&self.used);
        loop {
            let crowded = ended > ended_max || used.load(Ordering::Relaxed) > settings.session_bytes_max / 2;
            let is_over = |since: Instant| crowded || now.duration_since(since) > settings.keep;
            let oldest = self.streams.iter().position(|stream| stream.ended.is_some_and(is_over));
            let Some(oldest) = oldest else { return };
            // Whoever still reads it has its own hold of it.
            self.streams.remove(oldest);
            ended -= 1;
        }
    }
}

/// Reads an event id as [`Reader::event_id`] writes it.
fn parse(event_id: &[u8]) -> Option<(u32, u64)> {
    let (stream, number) = std::str::from_utf8(event_id).ok()?.split_once('-')?;
    Some((stream.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests;
