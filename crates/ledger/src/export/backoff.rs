//! How long to wait before the next try.

use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};

use super::settings::Pace;

/// Pauses that double up to a bound, each shortened by up to half at random, so that many senders do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub(super) fn new(pace: &Pace) -> Self {
        Self { min: pace.retry_min, max: pace.retry_max.max(pace.retry_min), next: pace.retry_min }
    }

    /// The next pause; never shorter than what the receiver asks for.
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let full = self.next;
        self.next = full.saturating_mul(2).min(self.max);
        let mut random = [0];
        // Without randomness the pause is the longest.
        let share = SystemRandom::new().fill(&mut random).map_or(255, |()| u32::from(random[0]));
        let own = full / 2 + full / 2 * share / 255;
        asked.map_or(own, |asked| asked.max(own))
    }

    /// Something worked: the next pause is the first one again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_honour_what_was_asked() {
        let (retry_min, retry_max) = (Duration::from_secs(1), Duration::from_secs(8));
        let mut backoff = Backoff::new(&Pace { retry_min, retry_max, ..Pace::default() });
        for full in [1, 2, 4, 8, 8] {
            let pause = backoff.next(None);
            assert!(
                pause >= Duration::from_secs(full) / 2 && pause <= Duration::from_secs(full),
                "{pause:?}"
            );
        }
        assert_eq!(backoff.next(Some(Duration::from_secs(90))), Duration::from_secs(90));
        backoff.reset();
        assert!(backoff.next(None) <= retry_min);
    }
}
