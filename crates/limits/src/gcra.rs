//! The generic cell rate algorithm, in whole nanoseconds: one number says all that there is to know of a rate.
//!
//! The number is the moment at which the counter would be as good as new. A request moves it on by the time that one request
//! takes up. It may lie ahead of now by as many of these times as the burst has requests.

use std::num::NonZeroU32;
use std::time::Duration;

/// A rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Rate {
    /// The time that one request takes up. Rounded up: never more than allowed.
    each_ns: u64,
    burst: u32,
}

/// There is no room for another request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full {
    /// There is in so long.
    pub(crate) wait_ns: u64,
}

impl Rate {
    pub(crate) fn new(requests: NonZeroU32, per: Duration, burst: NonZeroU32) -> Self {
        let per_ns = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        Self { each_ns: per_ns.div_ceil(u64::from(requests.get())).max(1), burst: burst.get() }
    }

    /// One of so many parts of it.
    pub(crate) fn part(self, parts: u32) -> Self {
        let parts = parts.max(1);
        Self { each_ns: self.each_ns.saturating_mul(u64::from(parts)), burst: (self.burst / parts).max(1) }
    }

    /// The time that one request takes up.
    pub(crate) fn each_ns(self) -> u64 {
        self.each_ns
    }

    /// Where the number comes to lie when there is a request at `now`.
    pub(crate) fn take(self, at: u64, now: u64) -> Result<u64, Full> {
        let next = at.max(now).saturating_add(self.each_ns);
        match next.saturating_sub(now).checked_sub(self.window_ns()) {
            None | Some(0) => Ok(next),
            Some(wait_ns) => Err(Full { wait_ns }),
        }
    }

    /// How many requests there is room for at `now`.
    pub(crate) fn left(self, at: u64, now: u64) -> u64 {
        self.window_ns().saturating_sub(at.saturating_sub(now)) / self.each_ns
    }

    /// How far requests may be ahead of their time.
    ///
    /// No further than half of all time, so that nothing comes to stand at its end, where it would move on no more.
    pub(crate) fn window_ns(self) -> u64 {
        self.each_ns.saturating_mul(u64::from(self.burst)).min(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rate(requests: u32, per_ns: u64, burst: u32) -> Rate {
        let count = |count| NonZeroU32::new(count).expect("some");
        Rate::new(count(requests), Duration::from_nanos(per_ns), count(burst))
    }

    #[test]
    fn a_burst_is_taken_at_once_and_the_rest_evenly() {
        let rate = rate(10, 1_000_000_000, 3);
        let mut at = 0;
        let mut now = 5_000_000_000;
        for left in [3, 2, 1] {
            assert_eq!(rate.left(at, now), left);
            at = rate.take(at, now).expect("room");
        }
        assert_eq!(rate.take(at, now), Err(Full { wait_ns: 100_000_000 }));
        now += 99_999_999;
        assert_eq!(rate.take(at, now), Err(Full { wait_ns: 1 }));
        now += 1;
        at = rate.take(at, now).expect("room for one");
        assert_eq!(rate.left(at, now), 0);
        assert_eq!(rate.left(at, now + 1_000_000_000), 3);
    }

    #[test]
    fn a_burst_that_would_take_all_of_time_has_an_end() {
        let rate = rate(1, 86_400_000_000_000, u32::MAX);
        let (mut at, mut taken) = (0, 0_u64);
        while let Ok(next) = rate.take(at, 1_000) {
            at = next;
            taken += 1;
            assert!(u32::try_from(taken).is_ok());
        }
        assert_eq!((rate.left(at, 1_000), taken), (0, u64::MAX / 2 / 86_400_000_000_000));
    }

    proptest! {
        /// Whenever the requests come: within any stretch of time there are never more than the burst and the rate allow.
        #[test]
        fn never_more_than_allowed(
            requests in 1u32..1000,
            per_ns in 1u64..10_000_000_000,
            burst in 1u32..50,
            steps in proptest::collection::vec(0u64..200_000_000, 1..300),
        ) {
            let rate = rate(requests, per_ns, burst);
            let (mut at, mut now) = (0, 1_000);
            let mut taken: Vec<u64> = Vec::new();
            for step in steps {
                now += step;
                let left = rate.left(at, now);
                match rate.take(at, now) {
                    Ok(next) => {
                        prop_assert!(left >= 1);
                        at = next;
                        taken.push(now);
                    }
                    Err(full) => {
                        prop_assert_eq!(left, 0);
                        prop_assert!(rate.take(at, now + full.wait_ns).is_ok());
                        prop_assert!(rate.take(at, now + full.wait_ns - 1).is_err());
                    }
                }
            }
            for (first, from) in taken.iter().enumerate() {
                for (last, to) in taken.iter().enumerate().skip(first) {
                    let span = u128::from(to - from);
                    let most = u128::from(burst) + span * u128::from(requests) / u128::from(per_ns);
                    prop_assert!((last - first + 1) as u128 <= most);
                }
            }
        }
    }
}
