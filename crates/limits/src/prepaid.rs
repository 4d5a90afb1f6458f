//! Rounds that were counted when their call began: a request that a server interrupts with questions is one request.
//!
//! What a client brings back to go on with a call is good for one round. Brought a second time, it counts as a request of its
//! own, so that nobody lives on one call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many rounds may be expected at once. One that is not remembered counts as a request of its own.
const ROUNDS_MAX: usize = 100_000;

/// The bytes of a round: the call, and the step.
pub(crate) type Round = [u8; 20];

/// The rounds that are expected.
#[derive(Debug, Default)]
pub(crate) struct Prepaid(Mutex<Rounds>);

#[derive(Debug, Default)]
struct Rounds {
    expected: HashMap<Round, u64>,
    /// In the order in which they were added: they wait about equally long.
    order: VecDeque<(u64, Round)>,
}

impl Prepaid {
    /// A round is expected until a moment.
    pub(crate) fn expect(&self, round: Round, until: u64, now: u64) {
        let mut rounds = self.lock();
        rounds.forget(now);
        if rounds.order.len() < ROUNDS_MAX {
            rounds.expected.insert(round, until);
            rounds.order.push_back((until, round));
        }
    }

    /// Whether it is.
    pub(crate) fn is_expected(&self, round: &Round, now: u64) -> bool {
        self.lock().expected.get(round).is_some_and(|until| now <= *until)
    }

    /// The round takes place: it is expected no more. Whether it was.
    pub(crate) fn take(&self, round: &Round, now: u64) -> bool {
        self.lock().expected.remove(round).is_some_and(|until| now <= until)
    }

    fn lock(&self) -> MutexGuard<'_, Rounds> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rounds {
    fn forget(&mut self, now: u64) {
        while let Some((until, round)) = self.order.front().copied() {
            if until >= now && self.expected.contains_key(&round) {
                return;
            }
            self.order.pop_front();
            self.expected.remove(&round);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_good_once_and_for_a_while() {
        let prepaid = Prepaid::default();
        prepaid.expect([1; 20], 100, 0);
        prepaid.expect([2; 20], 100, 0);
        assert!(prepaid.is_expected(&[1; 20], 100) && prepaid.take(&[1; 20], 100));
        assert!(!prepaid.is_expected(&[1; 20], 50) && !prepaid.take(&[1; 20], 50), "once");
        assert!(!prepaid.take(&[2; 20], 101), "not for ever");
        prepaid.expect([3; 20], 300, 200);
        assert_eq!(prepaid.lock().order.len(), 1, "what is over is forgotten");
    }
}
