//! What a caller wants to hear of at one server: only what policy has allowed can be asked for.

use std::sync::Arc;

use tollgate_model::Caller;
use tollgate_upstream::{Interest, Server, UpstreamError, Watch};

use super::record::Receipt;
use super::{Permit, Resolved};

/// Wishes at one server. Each takes a permit to be added.
pub(crate) struct Wishes {
    server: Server,
    interest: Interest,
}

impl Wishes {
    pub(crate) fn at(server: &Server) -> Self {
        Self { server: server.clone(), interest: Interest::default() }
    }

    /// Changes of its lists.
    pub(crate) fn lists(&mut self, _permit: &Permit) {
        self.interest.lists = true;
    }

    /// Changes of a resource. Gives back the server's own URI.
    pub(crate) fn resource(&mut self, resolved: &Resolved, _permit: &Permit) -> Arc<str> {
        let native: Arc<str> = Arc::from(resolved.native().unwrap_or_default());
        self.interest.uris.push(Arc::clone(&native));
        native
    }

    /// Changes of a task. Gives back the server's own id.
    pub(crate) fn task(&mut self, resolved: &Resolved, _permit: &Permit) -> Arc<str> {
        let native: Arc<str> = Arc::from(resolved.native().unwrap_or_default());
        self.interest.task_ids.push(Arc::clone(&native));
        native
    }

    /// Asks the server, which is on record. May start a process, or a session with it.
    pub(crate) async fn open(self, caller: &Caller, _receipt: Receipt) -> Result<Watch, UpstreamError> {
        self.server.watch(caller, self.interest).await
    }
}
