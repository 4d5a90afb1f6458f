//! A server that is not to be used for now: everything that is open to it ends, and nothing is opened.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Entry, Registry};
use crate::link::Instance;
use crate::replicas::Gate;
use crate::slot::Held;

impl Registry {
    /// Opens nothing from now on; the future ends what is open. Calls under way get `grace` to end.
    pub(crate) fn halt(self: &Arc<Self>, grace: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.halted.store(true, Ordering::Relaxed);
        let registry = Arc::clone(self);
        async move {
            registry.end_open(grace).await;
            // Whoever had looked just before may have begun something since.
            registry.end_open(Duration::ZERO).await;
        }
    }

    pub(crate) fn go_on(&self) {
        self.halted.store(false, Ordering::Relaxed);
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.load(Ordering::Relaxed)
    }

    async fn end_open(&self, grace: Duration) {
        if !self.is_halted() {
            return;
        }
        for (_, desk) in self.desks().drain() {
            desk.stop.cancel();
        }
        let modern: Vec<_> = self.gates().iter().filter_map(Gate::forget).collect();
        let entries: Vec<_> = self.instances().drain().map(|(_, entry)| entry).collect();
        self.end_all(modern, entries, grace).await;
    }

    /// Ends these, in the background, once what is under way has ended, or after `grace`.
    pub(super) async fn end_all(&self, modern: Vec<Arc<Instance>>, entries: Vec<Entry>, grace: Duration) {
        let ready = entries.iter().filter_map(|entry| match entry.held() {
            Held::Ready(instance) => Some(instance),
            _ => None,
        });
        let all: Vec<_> = ready.chain(modern).collect();
        let idle = async {
            while all.iter().any(|instance| instance.is_busy()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = tokio::time::timeout(grace, idle).await;
        for instance in all {
            self.tasks.spawn(async move { instance.end().await });
        }
        for entry in entries {
            self.retire(entry);
        }
    }
}
