//! How much one answer may bring: a server that says more without coming to its end is cut off, and that speaks against its
//! health. Else whoever spews is read until the request's time runs out, again and again, and that is the others' time.

use tokio::time::Instant;

use crate::UpstreamError;
use crate::settings::Limits;

/// Of a replica that was left alone for what it said without end: so many bytes of an answer are read,
const WARY_BYTES_MAX: usize = 1 << 20;
/// and this share of the messages.
const WARY_SHARE: u32 = 20;
/// What may be added to the messages in a second: this share of what may come at once.
const SHARE_PER_S: u32 = 10;

/// What may come of one answer.
#[derive(Debug)]
pub(crate) struct Flow {
    pub(crate) bytes_max: usize,
    messages_max: u32,
    /// Messages that may come yet.
    left: u32,
    /// Since when there is as much left.
    since: Instant,
    /// Bytes that have come without a message among them.
    idle_bytes: usize,
}

impl Flow {
    /// Of an answer of a server, which has been left alone for what it said without end, or has not.
    pub(crate) fn new(limits: &Limits, is_wary: bool) -> Self {
        let (bytes, messages) = (limits.message_bytes_max, limits.answer_messages_max);
        let (bytes_max, messages_max) = if is_wary {
            (bytes.min(WARY_BYTES_MAX), messages.div_ceil(WARY_SHARE))
        } else {
            (bytes, messages)
        };
        Self { bytes_max, messages_max, left: messages_max, since: Instant::now(), idle_bytes: 0 }
    }

    /// A message came, or an event that is none.
    pub(crate) fn message(&mut self) -> Result<(), UpstreamError> {
        self.idle_bytes = 0;
        if self.left == 0 {
            let now = Instant::now();
            let per_s = u64::from(self.messages_max.div_ceil(SHARE_PER_S));
            let ms = u64::try_from(now.duration_since(self.since).as_millis()).unwrap_or(u64::MAX);
            let more = ms.saturating_mul(per_s) / 1000;
            self.left = u32::try_from(more).unwrap_or(u32::MAX).min(self.messages_max);
            self.since = now;
        }
        match self.left.checked_sub(1) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(UpstreamError::Flood { messages_max: self.messages_max }),
        }
    }

    /// Bytes came of a stream of events.
    pub(crate) fn bytes(&mut self, count: usize) -> Result<(), UpstreamError> {
        self.idle_bytes = self.idle_bytes.saturating_add(count);
        // The event that they may be part of is bounded by itself.
        if self.idle_bytes > self.bytes_max.saturating_mul(2) {
            return Err(UpstreamError::Endless { bytes_max: self.bytes_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(messages: u32, bytes: usize) -> Limits {
        Limits { answer_messages_max: messages, message_bytes_max: bytes, ..Limits::for_sessions() }
    }

    fn taken(flow: &mut Flow) -> u32 {
        let mut count = 0;
        while flow.message().is_ok() {
            count += 1;
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_messages_come_at_once_and_a_tenth_of_them_in_each_second_after() {
        let mut flow = Flow::new(&limits(1000, 4096), false);
        assert_eq!(taken(&mut flow), 1000);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(taken(&mut flow), 200);
        tokio::time::advance(Duration::from_hours(1)).await;
        assert_eq!(taken(&mut flow), 1000, "never more than at the first time");
        // A stream that lasts, and never says too much at once, lasts.
        for _ in 0..10_000 {
            tokio::time::advance(Duration::from_millis(10)).await;
            assert!(flow.message().is_ok());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_without_a_message_have_an_end_and_those_between_messages_do_not_count() {
        let mut flow = Flow::new(&limits(1000, 4096), false);
        for _ in 0..100 {
            assert!(flow.bytes(8192).is_ok());
            assert!(flow.message().is_ok());
        }
        assert!(flow.bytes(8192).is_ok());
        assert!(flow.bytes(1).is_err_and(|error| error.is_spew()));
    }

    #[tokio::test(start_paused = true)]
    async fn less_is_read_of_who_was_left_alone_for_it() {
        let mut flow = Flow::new(&limits(1000, 64 << 20), true);
        assert_eq!((taken(&mut flow), flow.bytes_max), (50, WARY_BYTES_MAX));
        let small = Flow::new(&limits(1, 4096), true);
        assert_eq!((small.messages_max, small.bytes_max), (1, 4096));
    }
}
