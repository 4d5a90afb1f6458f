//! Resources that change when a test says so, and who wants to hear of it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rmcp::model::ResourceUpdatedNotificationParam;
use rmcp::service::{Peer, RoleServer};
use serde_json::{Value, json};
use tokio::sync::broadcast;

/// How many changes may wait for a subscription that is slow.
const WAITING_MAX: usize = 1024;

/// Who is subscribed to what, and how often that was asked for.
#[derive(Debug)]
pub(crate) struct Watched {
    touched: broadcast::Sender<String>,
    sessions: Mutex<Vec<(String, Peer<RoleServer>)>>,
    subscribed: AtomicU64,
    unsubscribed: AtomicU64,
    listening: AtomicU64,
    listened: AtomicU64,
}

impl Watched {
    pub(crate) fn new() -> Self {
        Self {
            touched: broadcast::Sender::new(WAITING_MAX),
            sessions: Mutex::default(),
            subscribed: AtomicU64::new(0),
            unsubscribed: AtomicU64::new(0),
            listening: AtomicU64::new(0),
            listened: AtomicU64::new(0),
        }
    }

    /// A legacy session wants to hear of a resource.
    pub(crate) fn subscribe(&self, uri: &str, peer: Peer<RoleServer>) {
        self.subscribed.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut sessions) = self.sessions.lock() {
            sessions.push((uri.to_owned(), peer));
        }
    }

    /// It does not any more. Sessions are not told apart: the newest of those who asked for the resource is meant.
    pub(crate) fn unsubscribe(&self, uri: &str) {
        self.unsubscribed.fetch_add(1, Ordering::Relaxed);
        if let Ok(mut sessions) = self.sessions.lock()
            && let Some(place) = sessions.iter().rposition(|(other, _)| other == uri)
        {
            sessions.remove(place);
        }
    }

    /// A modern client listens for as long as this is kept.
    pub(crate) fn listen(&self) -> Listening<'_> {
        self.listened.fetch_add(1, Ordering::Relaxed);
        self.listening.fetch_add(1, Ordering::Relaxed);
        Listening { watched: self, touched: self.touched.subscribe() }
    }

    /// The resource has changed: whoever wants to hear of it does.
    pub(crate) async fn touch(&self, uri: &str) {
        let _ = self.touched.send(uri.to_owned());
        let peers: Vec<_> = match self.sessions.lock() {
            Ok(sessions) => {
                sessions.iter().filter(|(other, _)| other == uri).map(|(_, peer)| peer.clone()).collect()
            }
            Err(_) => Vec::new(),
        };
        for peer in peers {
            // A client that has left needs no news.
            let _ = peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await;
        }
    }

    /// How often each was asked for, and how many listen now.
    pub(crate) fn observations(&self) -> Value {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        json!({
            "subscribed": count(&self.subscribed),
            "unsubscribed": count(&self.unsubscribed),
            "listened": count(&self.listened),
            "listening": count(&self.listening),
        })
    }
}

/// One open subscription of a modern client.
pub(crate) struct Listening<'a> {
    watched: &'a Watched,
    touched: broadcast::Receiver<String>,
}

impl Listening<'_> {
    /// The next resource that has changed.
    pub(crate) async fn next(&mut self) -> String {
        loop {
            match self.touched.recv().await {
                Ok(uri) => return uri,
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.watched.listening.fetch_sub(1, Ordering::Relaxed);
    }
}
