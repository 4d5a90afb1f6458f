//! How long to wait before the next try.

use std::time::Duration;

use crate::random;

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause that grows by itself.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest that a receiver can ask for.
const ASKED_LONGEST: Duration = Duration::from_mins(5);

/// Pauses that double, each shortened by up to half at random, so that many senders do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    tries: u32,
}

impl Backoff {
    /// The next pause; never shorter than what the receiver asks for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = FIRST.saturating_mul(1 << self.tries.min(10)).min(LONGEST);
        self.tries += 1;
        let share = u32::try_from(random::next() % 1024).unwrap_or(0);
        let own = full / 2 + full / 2 * share / 1024;
        asked.map_or(own, |asked| asked.min(ASKED_LONGEST) + own / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_honour_what_was_asked() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..12).map(|_| backoff.next(None)).collect();
        assert!(pauses[0] >= FIRST / 2 && pauses[0] <= FIRST, "{pauses:?}");
        assert!(pauses[11] >= LONGEST / 2 && pauses[11] <= LONGEST, "{pauses:?}");
        assert!(backoff.next(Some(Duration::from_secs(90))) >= Duration::from_secs(90));
        assert!(backoff.next(Some(Duration::from_hours(2))) <= ASKED_LONGEST + LONGEST);
    }
}
