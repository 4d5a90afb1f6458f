//! Work that is done once, however many wait for it, and to its end, even if all of them leave.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// What is under way, by what it is about.
#[derive(Debug)]
pub(crate) struct Flights<K, T> {
    flying: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
    max: usize,
}

/// As much as allowed is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// Something that is under way.
#[derive(Debug)]
pub(crate) struct Flight<T>(watch::Receiver<Option<T>>);

impl<T: Clone> Flight<T> {
    /// What came of it; `None` if nothing can come of it any more.
    pub(crate) async fn landed(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok()?.clone()
    }
}

impl<K: Clone + Eq + Hash + Send + 'static, T: Clone + Send + Sync + 'static> Flights<K, T> {
    /// At most so many at once.
    pub(crate) fn new(max: usize) -> Self {
        Self { flying: Arc::default(), max }
    }

    /// What is under way about this.
    pub(crate) fn find(&self, key: &K) -> Option<Flight<T>> {
        lock(&self.flying).get(key).cloned().map(Flight)
    }

    /// Joins what is under way about this, or begins it.
    pub(crate) fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Result<Flight<T>, Full>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut flying = lock(&self.flying);
        if let Some(flight) = flying.get(&key) {
            return Ok(Flight(flight.clone()));
        }
        if flying.len() >= self.max {
            return Err(Full);
        }
        let (sender, receiver) = watch::channel(None);
        flying.insert(key.clone(), receiver.clone());
        let entry = Entry { flying: Arc::clone(&self.flying), key };
        let work = work();
        tokio::spawn(async move {
            let landed = work.await;
            // First: whoever asks from now on begins anew, and finds what this one has found.
            drop(entry);
            sender.send_replace(Some(landed));
        });
        Ok(Flight(receiver))
    }
}

/// Takes the entry out, also if the work panics.
struct Entry<K: Eq + Hash, T> {
    flying: Arc<Mutex<HashMap<K, watch::Receiver<Option<T>>>>>,
    key: K,
}

impl<K: Eq + Hash, T> Drop for Entry<K, T> {
    fn drop(&mut self) {
        lock(&self.flying).remove(&self.key);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn many_wait_and_one_works() {
        let flights = Flights::<u8, u32>::new(1);
        let (done, go) = (Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        let work = || {
            let (done, go) = (Arc::clone(&done), Arc::clone(&go));
            async move {
                go.notified().await;
                done.fetch_add(1, Ordering::Relaxed) + 1
            }
        };
        let first = flights.join(1, work).expect("begun");
        let second = flights.join(1, work).expect("joined");
        assert_eq!(flights.join(2, work).map(drop), Err(Full));
        drop(first);
        go.notify_one();
        assert_eq!(second.landed().await, Some(1), "it goes on when the first has left");
        assert!(flights.find(&1).is_none());
        let third = flights.join(1, work).expect("begun anew");
        go.notify_one();
        assert_eq!(third.landed().await, Some(2));
    }

    #[tokio::test]
    async fn a_crash_leaves_nothing_behind() {
        let flights = Flights::<u8, u32>::new(1);
        let flight = flights.join(1, || async { panic!("as asked") }).expect("begun");
        assert_eq!(flight.landed().await, None);
        assert!(flights.find(&1).is_none());
    }
}
