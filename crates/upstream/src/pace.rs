//! How long a request may take, in every respect.

use std::time::Duration;

use tokio::time::Instant;

use crate::{Timeouts, UpstreamError};

/// How long one request may take; where nothing is said, as long as its server's settings say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Waits {
    /// From its start to its response, whatever progress arrives meanwhile.
    pub total: Option<Duration>,
    /// From its start until the first of its answer is there: the head of a response over HTTP, else the first message that
    /// belongs to the request.
    pub first_byte: Option<Duration>,
    /// How long the server may then be silent: no message, no comment in a stream of events, no part of a body.
    pub idle: Option<Duration>,
}

impl Waits {
    /// So long from its start to its response.
    pub fn within(total: Duration) -> Self {
        Self { total: Some(total), ..Self::default() }
    }
}

/// The waits of a request that has begun.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    began: Instant,
    total: Duration,
    first_byte: Duration,
    idle: Duration,
}

/// What there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    Time,
    FirstByte,
    Sound,
}

impl Pace {
    /// It begins now.
    pub(crate) fn begin(waits: Waits, timeouts: &Timeouts) -> Self {
        let total = waits.total.unwrap_or(timeouts.request);
        Self {
            began: Instant::now(),
            total,
            first_byte: waits.first_byte.or(timeouts.first_byte).unwrap_or(total),
            idle: waits.idle.unwrap_or(timeouts.silence),
        }
    }

    /// When its response has to be there.
    pub(crate) fn deadline(&self) -> Instant {
        self.began + self.total
    }

    /// Until when one waits, and what there is too little of then. `heard`: when the server was last heard, if it was.
    pub(crate) fn patience(&self, deadline: Instant, heard: Option<Instant>) -> (Instant, Lack) {
        let (until, lack) = match heard {
            Some(heard) => (heard.checked_add(self.idle), Lack::Sound),
            None => (self.began.checked_add(self.first_byte), Lack::FirstByte),
        };
        match until.filter(|until| *until < deadline) {
            Some(until) => (until, lack),
            None => (deadline, Lack::Time),
        }
    }

    /// What the request fails with then.
    pub(crate) fn runs_out(&self, lack: Lack) -> UpstreamError {
        match lack {
            Lack::Time => UpstreamError::Timeout { what: "the request", after: self.total },
            Lack::FirstByte => UpstreamError::FirstByte { after: self.first_byte },
            Lack::Sound => UpstreamError::Idle { after: self.idle },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_has_its_turn() {
        let timeouts = Timeouts::default();
        let s = Duration::from_secs;
        let waits = Waits { total: Some(s(100)), first_byte: Some(s(20)), idle: Some(s(30)) };
        let pace = Pace::begin(waits, &timeouts);
        let (began, deadline) = (pace.began, pace.deadline());
        assert_eq!(pace.patience(deadline, None), (began + s(20), Lack::FirstByte));
        assert_eq!(pace.patience(deadline, Some(began + s(50))), (began + s(80), Lack::Sound));
        assert_eq!(pace.patience(deadline, Some(began + s(90))), (began + s(100), Lack::Time));
        let all = Pace::begin(Waits::default(), &timeouts);
        assert_eq!(all.patience(all.deadline(), None).1, Lack::Time, "an answer may come in one piece");
    }
}
