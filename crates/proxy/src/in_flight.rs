//! The requests of one client that are under way, by the ids that the client gave them, so that it can cancel them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::oneshot;
use tollgate_model::{Code, Refusal, Stage};

use crate::mailbox::Mailbox;

/// One client's requests. Clones share the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    requests: HashMap<Bytes, Entry>,
    next_serial: u64,
    /// Replies that are still to be put into the stream.
    replies: usize,
    /// The stream to close when the last request has ended.
    on_idle: Option<Mailbox>,
}

#[derive(Debug)]
struct Entry {
    /// Tells this request from a later one of the same id.
    serial: u64,
    cancel: oneshot::Sender<()>,
    /// Where its client hears of it.
    outlet: Option<Mailbox>,
}

/// A place in the table. Dropping it gives the place back.
#[derive(Debug)]
pub(crate) struct Place {
    table: InFlight,
    id: Bytes,
    serial: u64,
    cancelled: oneshot::Receiver<()>,
}

impl InFlight {
    /// Enters a request. Refused when as many as allowed are under way, or when one of this id is.
    pub(crate) fn enter(&self, id: &Bytes, in_flight_max: usize) -> Result<Place, Refusal> {
        // The key outlives the request's buffer, which may be large.
        let id = Bytes::copy_from_slice(id);
        let (cancel, cancelled) = oneshot::channel();
        let mut table = self.lock();
        if table.requests.len() >= in_flight_max {
            return Err(Refusal::new(
                Stage::Session,
                Code::Capacity,
                "too many requests are under way in this session",
            ));
        }
        if table.requests.contains_key(&id) {
            return Err(Refusal::new(
                Stage::Session,
                Code::InvalidRequest,
                "a request of this id is under way",
            ));
        }
        let serial = table.next_serial;
        table.next_serial += 1;
        table.requests.insert(id.clone(), Entry { serial, cancel, outlet: None });
        drop(table);
        Ok(Place { table: self.clone(), id, serial, cancelled })
    }

    /// Cancels a request. An unknown id is ignored, as the specification asks (cancellation page, error handling).
    pub(crate) fn cancel(&self, id: &[u8]) {
        let request = self.lock().requests.remove(id);
        if let Some(entry) = request {
            // The request may have ended just now; then there is nothing to cancel.
            let _ = entry.cancel.send(());
        }
    }

    /// Cancels all requests.
    pub(crate) fn cancel_all(&self) {
        let requests = std::mem::take(&mut self.lock().requests);
        for entry in requests.into_values() {
            let _ = entry.cancel.send(());
        }
    }

    /// The stream of a request that the client reads, if there is one.
    pub(crate) fn outlet(&self) -> Option<Mailbox> {
        let table = self.lock();
        table
            .requests
            .values()
            .filter_map(|entry| entry.outlet.as_ref())
            .find(|outlet| outlet.is_read())
            .cloned()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().requests.is_empty()
    }

    /// Closes the stream once no request is under way: now, or when the last one ends.
    pub(crate) fn close_when_idle(&self, stream: Mailbox) {
        let mut table = self.lock();
        if table.is_idle() {
            stream.close();
        } else {
            table.on_idle = Some(stream);
        }
    }

    /// A reply is to be put into the stream after its request has left the table.
    pub(crate) fn replying(&self) -> Replying {
        self.lock().replies += 1;
        Replying(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Where the client hears of the request.
    pub(crate) fn speaks_on(&self, outlet: &Mailbox) {
        let mut table = self.table.lock();
        if let Some(entry) = table.requests.get_mut(&self.id).filter(|entry| entry.serial == self.serial) {
            entry.outlet = Some(outlet.clone());
        }
    }

    /// Waits until the client cancels the request; for ever if it does not.
    pub(crate) async fn cancelled(&mut self) {
        if (&mut self.cancelled).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        // After a cancellation the client may use the id again at once: only this very request's entry goes.
        if table.requests.get(&self.id).is_some_and(|entry| entry.serial == self.serial) {
            table.requests.remove(&self.id);
        }
        table.close_if_idle();
    }
}

/// Keeps the stream open until a reply is in it. Dropping it says that this has been done.
#[derive(Debug)]
pub(crate) struct Replying(InFlight);

impl Drop for Replying {
    fn drop(&mut self) {
        let mut table = self.0.lock();
        table.replies -= 1;
        table.close_if_idle();
    }
}

impl Table {
    fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.replies == 0
    }

    fn close_if_idle(&mut self) {
        if self.is_idle()
            && let Some(stream) = self.on_idle.take()
        {
            stream.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_can_be_cancelled_and_its_place_comes_back() {
        let table = InFlight::default();
        let id = Bytes::from_static(b"1");
        let mut place = table.enter(&id, 2).expect("room");
        assert!(table.enter(&id, 2).is_err(), "the id is taken");
        table.cancel(b"1");
        place.cancelled().await;
        let again = table.enter(&id, 1).expect("the id is free after a cancellation");
        drop(place);
        assert!(!table.is_empty(), "the first place must not give the second one's entry back");
        drop(again);
        assert!(table.is_empty());
    }

    #[test]
    fn is_bounded() {
        let table = InFlight::default();
        let _one = table.enter(&Bytes::from_static(b"1"), 1).expect("room");
        assert!(table.enter(&Bytes::from_static(b"2"), 1).is_err());
    }
}
