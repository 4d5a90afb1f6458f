//! Rounds of calls that people have agreed to. A call that its server interrupts with questions is asked about once; each of
//! its further rounds is good once, so that a round that is sent again has to be agreed to again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Cleared;

/// How many may be expected. Of more, the oldest have to be agreed to again.
const ROUNDS_MAX: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Rounds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    expected: HashMap<[u8; 20], (Cleared, Instant)>,
    order: VecDeque<[u8; 20]>,
}

impl Rounds {
    pub(super) fn expect(&self, round: [u8; 20], cleared: Cleared, wait: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { expected, order } = &mut *state;
        expected.insert(round, (cleared, Instant::now() + wait));
        order.push_back(round);
        let now = Instant::now();
        while let Some(first) = order.front() {
            let is_over = expected.get(first).is_none_or(|(_, until)| *until < now);
            if !is_over && order.len() <= ROUNDS_MAX {
                break;
            }
            expected.remove(first);
            order.pop_front();
        }
    }

    pub(super) fn take(&self, round: &[u8; 20]) -> Option<Cleared> {
        self.take_at(round, Instant::now())
    }

    fn take_at(&self, round: &[u8; 20], now: Instant) -> Option<Cleared> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (cleared, until) = state.expected.remove(round)?;
        (now <= until).then_some(cleared)
    }
}

#[cfg(test)]
mod tests {
    use tollgate_store::{ApprovalId, Digest};

    use super::*;

    fn cleared(id: &str) -> Cleared {
        Cleared { id: ApprovalId::new(id), call: Digest::of([]), groups: Vec::new() }
    }

    #[test]
    fn a_round_is_good_once_and_for_a_while() {
        let rounds = Rounds::default();
        let wait = Duration::from_mins(1);
        rounds.expect([1; 20], cleared("a"), wait);
        assert_eq!(rounds.take(&[2; 20]), None);
        assert_eq!(rounds.take(&[1; 20]), Some(cleared("a")));
        assert_eq!(rounds.take(&[1; 20]), None, "it was sent again");
        rounds.expect([1; 20], cleared("a"), wait);
        let late = Instant::now() + wait + Duration::from_millis(1);
        assert_eq!(rounds.take_at(&[1; 20], late), None, "it came too late");
    }

    #[test]
    fn no_more_are_kept_than_may() {
        let rounds = Rounds::default();
        for nth in 0..=ROUNDS_MAX {
            let mut round = [0; 20];
            round[..8].copy_from_slice(&nth.to_be_bytes());
            rounds.expect(round, cleared("a"), Duration::from_mins(1));
        }
        assert_eq!(rounds.take(&[0; 20]), None);
        assert_eq!(rounds.0.lock().expect("a lock").expected.len(), ROUNDS_MAX);
    }
}
