//! One configured server and its instances.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tollgate_model::{Caller, ServerName, SessionId};

use crate::{Counters, Link, Reach, ServerEvent, ServerSettings, ServerStatus, SettingsError, UpstreamError};

/// One configured server. Cheap to clone; all clones are the same. Dropping the last one stops its instances without
/// waiting for them; [`Server::stop`] waits.
#[derive(Clone, Debug)]
pub struct Server {
    settings: Arc<ServerSettings>,
}

impl Server {
    /// Takes the settings, and does nothing else yet: the server is reached when it is first asked for.
    pub fn new(settings: ServerSettings, _events: mpsc::Sender<ServerEvent>) -> Result<Self, SettingsError> {
        Ok(Self { settings: Arc::new(settings) })
    }

    /// The server's name.
    pub fn name(&self) -> &ServerName {
        &self.settings.name
    }

    /// The settings it was made from.
    pub fn settings(&self) -> &ServerSettings {
        &self.settings
    }

    /// What can be said of it without asking it.
    pub fn status(&self) -> ServerStatus {
        ServerStatus { transport: "http", reach: Reach::Unknown, instances: 0, counters: Counters::default() }
    }

    /// Finds the session or process that may serve this caller, or starts one. Concurrent calls for the same one wait
    /// for one start; a failed start is remembered until its backoff is over, and fails at once until then.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn open(&self, _caller: &Caller) -> Result<Link, UpstreamError> {
        Err(UpstreamError::unavailable("the server cannot be reached", "not built"))
    }

    /// A client's session ended: what was kept for it alone is stopped.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn close_session(&self, _session: &SessionId) {}

    /// Stops everything: calls under way get `grace` to end, then processes are stopped and reaped and sessions are
    /// deleted. [`Server::open`] refuses from the first moment on.
    #[allow(clippy::unused_async, reason = "skeleton")]
    pub async fn stop(&self, _grace: Duration) {}
}
