//! What waits to be sent.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

/// Things that wait to be sent, at most so many: one more is counted and dropped, so that nobody ever waits for a receiver.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    waiting: Mutex<Vec<T>>,
    max: usize,
    /// From how many on the sender is woken. Until then it comes by itself now and then: waking somebody costs more than
    /// keeping a span.
    enough: usize,
    is_enough: Notify,
    dropped: AtomicU64,
}

impl<T> Queue<T> {
    pub(super) fn new(max: usize, enough: usize) -> Self {
        Self {
            waiting: Mutex::default(),
            max,
            enough: enough.min(max),
            is_enough: Notify::new(),
            dropped: AtomicU64::new(0),
        }
    }

    /// Takes one more, or drops it. Never waits.
    pub(crate) fn push(&self, item: T) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= self.max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.push(item);
        if waiting.len() == self.enough {
            self.is_enough.notify_one();
        }
    }

    /// Waits until enough wait for a batch.
    pub(super) async fn filled(&self) {
        self.is_enough.notified().await;
    }

    /// The oldest, at most so many.
    pub(super) fn take(&self, max: usize) -> Vec<T> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let count = max.min(waiting.len());
        let rest = waiting.split_off(count);
        std::mem::replace(&mut waiting, rest)
    }

    /// How many were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_keeps_so_many_and_counts_the_rest() {
        let queue = Queue::new(5, 3);
        (0..7).for_each(|nth| queue.push(nth));
        queue.filled().await;
        assert_eq!(queue.take(2), [0, 1]);
        queue.push(7);
        assert_eq!((queue.take(10), queue.take(10)), (vec![2, 3, 4, 7], vec![]));
        assert_eq!(queue.dropped(), 2);
    }
}
