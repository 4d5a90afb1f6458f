//! How long to wait after a failure.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

/// Doubling waits between two bounds, each shortened at random by up to a quarter so that many do not come at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) min: Duration,
    max: Duration,
    beside_a_circuit: bool,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, beside_a_circuit: false }
    }

    /// The same where the circuit of a replica sees to how long it is left alone.
    pub(crate) fn beside_a_circuit(self) -> Self {
        Self { beside_a_circuit: true, ..self }
    }

    /// The wait after this many failures in a row, of which this was the last. None if a circuit remembers it.
    pub(crate) fn after_error(self, failures: u32, error: &crate::UpstreamError) -> Duration {
        if self.beside_a_circuit && error.is_ill_health() { Duration::ZERO } else { self.after(failures) }
    }

    /// The wait after this many failures in a row; none after none.
    pub(crate) fn after(self, failures: u32) -> Duration {
        self.after_by(failures, 0.25)
    }

    /// The same, shortened at random by up to this share.
    pub(crate) fn after_by(self, failures: u32, most: f64) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let whole = self.min.saturating_mul(1_u32 << doublings.min(16)).min(self.max);
        // The standard library seeds each of these from the system's randomness; that is random enough for jitter.
        let random = RandomState::new().hash_one(failures);
        let share = f64::from(u32::try_from(random & 0xffff).unwrap_or(0)) / 65_536.0;
        whole.mul_f64(1.0 - share * most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_between_their_bounds() {
        let backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30));
        assert_eq!(backoff.after(0), Duration::ZERO);
        for (failures, most) in [(1, 0.5), (2, 1.0), (3, 2.0), (8, 30.0), (4_000_000_000, 30.0)] {
            let wait = backoff.after(failures).as_secs_f64();
            assert!(wait <= most && wait >= most * 0.74, "{failures}: {wait}");
        }
    }
}
