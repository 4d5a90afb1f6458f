//! The load generator: one thread, one epoll, requests written beforehand. Cheap, so that two cores are enough for
//! generator, proxy and mock, and it counts latency from the moment a request *should* have been sent, so that a
//! slow answer is not hidden by the requests that it held up (no coordinated omission).

mod check;
mod connection;
mod request;
mod response;

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::fd::OwnedFd;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::Result;
pub(crate) use check::{Check, excerpt};
use connection::{Answered, Connection};
pub(crate) use request::{Envelope, ID_FIRST, ID_SLOT, Template};
pub(crate) use response::{Malformed, Reader};

/// How long answers may take after the last request was sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// The timer's place among the connections.
const TIMER: u64 = u64::MAX;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// Each connection sends its next request as soon as it has its answer.
    Closed,
    /// So many requests a second at even distances, whatever the answers do.
    Fixed { rate_per_s: f64 },
}

/// What a run saw.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Right answers.
    pub(crate) answered: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Latencies in nanoseconds, from the intended moment of sending.
    pub(crate) latency_ns: Histogram<u64>,
    /// Answers with 503, where they are taken for what they are.
    pub(crate) refused: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let answered = self.answered as f64;
        answered / self.elapsed.as_secs_f64().max(1e-9)
    }

    fn fail(&mut self, why: String) {
        self.errors += 1;
        self.first_error.get_or_insert(why);
    }
}

/// What came of looking at a connection.
enum Came {
    Nothing,
    Answer(Duration),
    Refusal,
}

/// Open connections to one address, each with its own request.
pub(crate) struct Load {
    epoll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Connection>,
    check: Check,
    next_id: u64,
    /// Whether 503 is no wrong answer.
    takes_refusals: bool,
}

impl Load {
    /// Takes over connections on which nothing is under way.
    pub(crate) fn new(connections: Vec<(TcpStream, Template)>, check: Check) -> Result<Load> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        epoll::add(&epoll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let mut own = Vec::with_capacity(connections.len());
        for (place, (stream, template)) in connections.into_iter().enumerate() {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&epoll, &stream, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
            own.push(Connection::new(stream, template));
        }
        Ok(Load { epoll, timer, connections: own, check, next_id: ID_FIRST, takes_refusals: false })
    }

    /// The same, to which 503 is no wrong answer.
    pub(crate) fn taking_refusals(self) -> Load {
        Load { takes_refusals: true, ..self }
    }

    /// Sends on the first `connections` of them for `duration`, then waits for the answers that are still out.
    /// Wrong and missing answers are counted in the outcome; an error is a broken generator, or `stop`.
    pub(crate) fn run(
        &mut self,
        connections: usize,
        pace: Pace,
        duration: Duration,
        stop: &AtomicBool,
    ) -> Result<Outcome> {
        let connections = connections.min(self.connections.len());
        let mut outcome = Outcome {
            answered: 0,
            elapsed: Duration::ZERO,
            latency_ns: Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?,
            refused: 0,
            errors: 0,
            first_error: None,
        };
        let takes_refusals = self.takes_refusals;
        let start = Instant::now();
        let end = start + duration;
        let mut schedule = Schedule { pace, start, end, sent: 0 };
        let mut idle: VecDeque<usize> =
            (0..connections).filter(|&at| self.connections[at].is_open()).collect();
        let mut out = 0_usize;
        let mut events = Vec::with_capacity(256);
        let mut buffer = vec![0_u8; 256 * 1024];
        loop {
            let mut now = Instant::now();
            // Where more is offered than can be done, what is overdue at the end would take as long again.
            let is_over = |now: Instant| takes_refusals && now >= end;
            while let Some(intended) =
                (!idle.is_empty() && !is_over(now)).then(|| schedule.due(now)).flatten()
            {
                let Some(at) = idle.pop_front() else { break };
                let id = self.next_id;
                self.next_id += 1;
                match self.connections[at].send(id, intended) {
                    Ok(()) => {
                        out += 1;
                        self.watch(at)?;
                    }
                    Err(why) => {
                        let _ = epoll::delete(&self.epoll, self.connections[at].stream());
                        outcome.fail(format!("sending: {why}"));
                    }
                }
                now = Instant::now();
            }
            let next_due = if idle.is_empty() || is_over(now) { None } else { schedule.next_due(now) };
            if out == 0 && (next_due.is_none() || idle.is_empty()) {
                break;
            }
            if now > end + DRAIN_MAX {
                outcome.fail(format!("{out} calls had no answer {} s after the end", DRAIN_MAX.as_secs()));
                self.connections.iter_mut().for_each(Connection::abandon);
                break;
            }
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            self.wait(&mut events, next_due.map(|due| due.saturating_duration_since(now)))?;
            for event in events.drain(..) {
                let place = event.data.u64();
                if place == TIMER {
                    let _ = rustix::io::read(&self.timer, &mut [0_u8; 8][..]);
                    continue;
                }
                let at = usize::try_from(place)?;
                let was_out = self.connections[at].is_out();
                match self.advance(at, event.flags, &mut buffer) {
                    Ok(Came::Nothing) => {}
                    Ok(Came::Refusal) => outcome.refused += 1,
                    Ok(Came::Answer(latency)) => {
                        outcome.answered += 1;
                        outcome.elapsed = start.elapsed();
                        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                        outcome.latency_ns.saturating_record(nanos);
                    }
                    Err(why) => outcome.fail(why),
                }
                let connection = &self.connections[at];
                if was_out && !connection.is_out() {
                    out -= 1;
                    if connection.is_open() {
                        idle.push_back(at);
                    }
                }
                if connection.is_open() {
                    self.watch(at)?;
                } else {
                    // A closed socket stays readable for ever: out of the epoll with it.
                    let _ = epoll::delete(&self.epoll, connection.stream());
                    idle.retain(|&other| other != at);
                }
            }
        }
        if !self.connections[..connections].iter().any(Connection::is_open) && outcome.errors == 0 {
            outcome.fail("every connection is closed".to_owned());
        }
        Ok(outcome)
    }

    /// The connections, to end their sessions on. Blocking again.
    pub(crate) fn into_streams(self) -> Vec<TcpStream> {
        self.connections.into_iter().filter_map(Connection::into_stream).collect()
    }

    /// Goes on with a connection's request; the latency if that was its right answer. After an error the connection
    /// has no request under way, and is given up unless the answer was merely wrong.
    fn advance(
        &mut self,
        at: usize,
        flags: epoll::EventFlags,
        buffer: &mut [u8],
    ) -> std::result::Result<Came, String> {
        let connection = &mut self.connections[at];
        if flags.contains(epoll::EventFlags::OUT) {
            connection.write()?;
        }
        let Some(Answered { status, id, intended }) = connection.read(buffer)? else {
            return Ok(Came::Nothing);
        };
        let latency = intended.elapsed();
        if self.takes_refusals && status == 503 {
            connection.finish()?;
            return Ok(Came::Refusal);
        }
        let checked = self.check.check(status, connection.body(), id);
        connection.finish()?;
        checked.map(|()| Came::Answer(latency))
    }

    /// Waits for the next events, at most `until_due` and never longer than a tenth of a second.
    fn wait(&self, events: &mut Vec<epoll::Event>, until_due: Option<Duration>) -> Result<()> {
        if let Some(until_due) = until_due {
            // A timer of its own: epoll's own timeout is rounded up to whole milliseconds.
            let it_value = Timespec {
                tv_sec: i64::try_from(until_due.as_secs())?,
                tv_nsec: i64::from(until_due.subsec_nanos()).max(1),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        }
        let longest = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        match epoll::wait(&self.epoll, spare_capacity(events), Some(&longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Listens for room to write while a request is not wholly sent.
    fn watch(&mut self, at: usize) -> Result<()> {
        if let Some(wants_room) = self.connections[at].changed_interest() {
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, wants_room);
            epoll::modify(
                &self.epoll,
                self.connections[at].stream(),
                epoll::EventData::new_u64(at as u64),
                flags,
            )?;
        }
        Ok(())
    }
}

/// The moments at which requests should leave.
struct Schedule {
    pace: Pace,
    start: Instant,
    end: Instant,
    sent: u32,
}

impl Schedule {
    /// When the next request should leave, if one is left.
    fn next_due(&self, now: Instant) -> Option<Instant> {
        let due = match self.pace {
            // One at least, however late the generator itself comes to it.
            Pace::Closed if self.sent == 0 => return Some(now),
            Pace::Closed => now,
            Pace::Fixed { rate_per_s } => {
                self.start + Duration::from_secs_f64(f64::from(self.sent) / rate_per_s)
            }
        };
        (due < self.end).then_some(due)
    }

    /// Takes the next request if its time has come, and says when that was.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let due = self.next_due(now).filter(|due| *due <= now)?;
        self.sent += 1;
        Some(due)
    }
}

#[cfg(test)]
mod tests;
