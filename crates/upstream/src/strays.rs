//! Calls that were left before their answer, on a stream that all calls share: their server may still be at them.
//!
//! A cancellation overtakes nothing, and a server may go on for a while, or for ever. What it says then names no call. So
//! until a call that was left is answered after all, what names no call may be that one's, and is not taken for another's.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many are told apart. When there are more, they are taken to stay for as long as the stream does.
const TOLD_APART_MAX: usize = 256;

/// The calls that were left on one stream, by their ids.
#[derive(Debug, Default)]
pub(crate) struct Strays(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    left: HashSet<u64>,
    for_ever: bool,
    /// Who waits for the end of a call that is left.
    waiting: HashMap<u64, oneshot::Sender<()>>,
}

impl Strays {
    /// A call on which the server may ask something is left before its answer.
    pub(crate) fn left(&self, id: u64) {
        let mut state = self.lock();
        if state.left.len() < TOLD_APART_MAX {
            state.left.insert(id);
        } else {
            state.for_ever = true;
        }
    }

    /// The server is done with a call.
    pub(crate) fn ended(&self, id: u64) {
        let mut state = self.lock();
        state.left.remove(&id);
        if let Some(waiting) = state.waiting.remove(&id) {
            // Whoever waited may have given up.
            let _ = waiting.send(());
        }
    }

    /// Told when the server is done with a call that is about to be left. None where too many are waited for.
    pub(crate) fn end_of(&self, id: u64) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if state.waiting.len() >= TOLD_APART_MAX {
            state.waiting.retain(|_, waiting| !waiting.is_closed());
        }
        if state.waiting.len() >= TOLD_APART_MAX {
            return None;
        }
        let (ended, end) = oneshot::channel();
        state.waiting.insert(id, ended);
        Some(end)
    }

    /// Whether the server may still be at a call that was left.
    pub(crate) fn any(&self) -> bool {
        let state = self.lock();
        state.for_ever || !state.left.is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stray_is_one_until_it_is_answered_and_too_many_are_never_forgotten() {
        let strays = Strays::default();
        assert!(!strays.any());
        strays.left(1);
        strays.left(2);
        strays.ended(1);
        assert!(strays.any());
        strays.ended(2);
        assert!(!strays.any());
        let many = u64::try_from(TOLD_APART_MAX).expect("small") + 1;
        (0..many).for_each(|id| strays.left(id));
        (0..many).for_each(|id| strays.ended(id));
        assert!(strays.any(), "one was not told apart");
    }

    #[tokio::test]
    async fn who_waits_for_the_end_of_a_call_hears_of_it_and_not_too_many_wait() {
        let strays = Strays::default();
        let mut end = strays.end_of(1).expect("room");
        strays.ended(2);
        assert!(end.try_recv().is_err());
        strays.ended(1);
        end.await.expect("it has ended");
        let many: Vec<_> = (0..).map_while(|id| strays.end_of(id)).collect();
        assert_eq!(many.len(), TOLD_APART_MAX);
        drop(many);
        assert!(strays.end_of(1).is_some(), "those who have given up make room");
    }
}
