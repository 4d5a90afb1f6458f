//! One fetch for all who ask for the same at the same time.
//!
//! The fetch of a list runs in a task of its own, so that it goes on when whoever asked first has left. What a single request
//! fetches (a read, a call) is its own request, with its own record: the others wait for it, and if it comes to nothing that
//! they may have, the next of them goes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tollgate_model::Refusal;

use super::Epoch;
use super::entry::Kept;
use super::key::Key;

/// How many fetches may be waited for at once. Beyond it everyone fetches alone.
const FLIGHTS_MAX: usize = 4096;

/// What a fetch has come to.
#[derive(Debug, Clone)]
pub(crate) enum Landed {
    /// The server's answer, whether it may be kept or not.
    Answered(Arc<Kept>),
    /// The server has no such list.
    Nothing,
    /// It could not be had; and whether the server said so itself, which is for whoever asked alone.
    Refused(Arc<Refusal>, bool),
    /// Whoever fetched it was given something for itself alone.
    Lost,
    /// Whoever fetched it has left.
    Left,
}

type Landing = watch::Receiver<Option<Landed>>;

/// All fetches that somebody may wait for.
#[derive(Debug, Default)]
pub(super) struct Flights(Mutex<HashMap<Arc<Key>, Flight>>);

#[derive(Debug)]
struct Flight {
    epoch: Epoch,
    landing: Landing,
}

/// Whoever fetches. Dropped, whoever waits hears that nothing came.
#[derive(Debug)]
pub(super) struct Pilot {
    flights: Arc<Flights>,
    key: Arc<Key>,
    landing: watch::Sender<Option<Landed>>,
}

/// Who is to fetch.
pub(super) enum Seat {
    /// Whoever asks.
    First(Pilot, Wait),
    /// Somebody does already.
    Other(Wait),
    /// Whoever asks, for itself.
    Alone,
}

/// What somebody waits for.
pub(super) struct Wait(Landing);

impl Wait {
    pub(super) async fn landed(mut self) -> Landed {
        match self.0.wait_for(Option::is_some).await {
            Ok(landed) => landed.clone().unwrap_or(Landed::Left),
            Err(_) => Landed::Left,
        }
    }
}

impl Flights {
    /// Who fetches this, as things stand since the server's last news: a fetch that began before them helps nobody who asks
    /// after them.
    pub(super) fn board(self: &Arc<Self>, key: Key, epoch: Epoch) -> Seat {
        let mut flights = self.lock();
        if let Some(flight) = flights.get(&key)
            && flight.epoch == epoch
        {
            return Seat::Other(Wait(flight.landing.clone()));
        }
        if flights.len() >= FLIGHTS_MAX {
            return Seat::Alone;
        }
        let (landing, landed) = watch::channel(None);
        let key = Arc::new(key);
        flights.insert(Arc::clone(&key), Flight { epoch, landing: landed.clone() });
        drop(flights);
        Seat::First(Pilot { flights: Arc::clone(self), key, landing }, Wait(landed))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<Key>, Flight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.lock().len()
    }
}

impl Pilot {
    /// Tells everybody who waits.
    pub(super) fn lands(self, landed: Landed) {
        self.landing.send_replace(Some(landed));
    }
}

impl Drop for Pilot {
    fn drop(&mut self) {
        let mut flights = self.flights.lock();
        // Another may have taken its place after news.
        let is_own = flights
            .get(&self.key)
            .is_some_and(|flight| flight.landing.same_channel(&self.landing.subscribe()));
        if is_own {
            flights.remove(&self.key);
        }
    }
}
