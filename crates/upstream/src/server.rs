//! One configured server, as the rest of the gateway sees it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_model::{Caller, Era, ServerId, ServerName, SessionId};

use crate::registry::Registry;
use crate::replicas::Wish;
use crate::shared::Shared;
use crate::{
    Avoid, Bulkhead, Interest, Isolation, Link, Reach, RetryBudget, ServerEvent, ServerSettings,
    ServerStatus, SettingsError, Transport, UpstreamError, Watch,
};

/// One configured server. Cheap to clone; all clones are the same. Dropping the last one stops its instances without
/// waiting for them; [`Server::stop`] waits.
#[derive(Clone)]
pub struct Server {
    registry: Arc<Registry>,
}

impl Server {
    /// Takes the settings, and does nothing else yet: the server is reached when it is first asked for. Needs no
    /// runtime; every other function does.
    pub fn new(settings: ServerSettings, events: mpsc::Sender<ServerEvent>) -> Result<Self, SettingsError> {
        settings.check()?;
        let shared = Arc::new(Shared::new(Arc::new(settings), events));
        Ok(Self { registry: Arc::new(Registry::new(shared)?) })
    }

    /// The server's name.
    pub fn name(&self) -> &ServerName {
        &self.settings().name
    }

    /// What it goes by.
    pub fn id(&self) -> &ServerId {
        &self.registry.shared().id
    }

    /// Whether both are clones of one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.registry, &other.registry)
    }

    /// The number of the server: no two of this process have the same, also where one takes another's place under its name
    /// with other settings.
    pub fn number(&self) -> u64 {
        self.registry.shared().number
    }

    /// With whom a caller shares a session or process of the server, if the server speaks this era.
    pub fn isolation_for(&self, caller: &Caller, era: Era) -> Isolation {
        self.registry.isolation(caller, era == Era::Modern)
    }

    /// The settings it was made from.
    pub fn settings(&self) -> &ServerSettings {
        &self.registry.shared().settings
    }

    /// How often its requests may be tried again.
    pub fn retries(&self) -> &RetryBudget {
        &self.registry.shared().retries
    }

    /// Its places for requests under way.
    pub fn bulkhead(&self) -> &Bulkhead {
        &self.registry.shared().bulkhead
    }

    /// What can be said of it without asking it.
    pub fn status(&self) -> ServerStatus {
        let shared = self.registry.shared();
        let mut reach = shared.reach();
        if let Reach::Down { retry_at, .. } = &mut reach {
            let wait = self.registry.next_try().map(|at| at.saturating_duration_since(Instant::now()));
            *retry_at = wait.map(|wait| SystemTime::now() + wait);
        }
        let transport = match &shared.settings.transport {
            Transport::Http(_) => "http",
            Transport::Sse(_) => "sse",
            Transport::Stdio(_) => "stdio",
        };
        ServerStatus {
            transport,
            reach,
            instances: self.registry.live(),
            leased: self.registry.leased(),
            replicas: self.registry.replicas(),
            counters: shared.counters(),
        }
    }

    /// Finds the session or process that may serve this caller, or starts one. Concurrent calls for the same one wait
    /// for one start, which goes on when they leave; a failed start is remembered until its backoff is over, and
    /// fails at once until then.
    ///
    /// It is for hearing what the server has: of several replicas it gives one of the version that most requests go to, if
    /// one can be used.
    pub async fn open(&self, caller: &Caller) -> Result<Link, UpstreamError> {
        self.registry.open_for(caller, "", Wish::MAIN).await
    }

    /// The same for one request of this method. A modern client's request may get an instance to itself, for as long as
    /// the link or the exchange is held: on a server that is spoken with strictly (see [`crate::LegacySessions`]), and
    /// where a legacy server that shares one stream among all calls may ask something about it, once it has been seen to
    /// ask. Waits for room up to [`crate::Timeouts::capacity`] then.
    pub async fn open_for(&self, caller: &Caller, method: &str) -> Result<Link, UpstreamError> {
        self.registry.open_for(caller, method, Wish::default()).await
    }

    /// The same where it is best asked, if the server has several replicas: on the one of this name (see
    /// [`Link::replica`]), where the server keeps what the request is about, unless that is gone or left alone; and not on
    /// those that have just failed it, if there is another that can be used. A session stays where it is, whatever is asked
    /// for.
    pub async fn open_where(
        &self,
        caller: &Caller,
        method: &str,
        replica: Option<&str>,
        avoid: Avoid,
    ) -> Result<Link, UpstreamError> {
        let prefer = replica.and_then(|name| self.registry.named(name));
        let wish = Wish { avoid, prefer, ..Wish::default() };
        self.registry.open_for(caller, method, wish).await
    }

    /// Enters wishes to hear of changes, on behalf of this caller, at the instance that serves it. The server is asked in
    /// the background, once for all who want the same: [`Watch::settled`] waits for that. What changes comes as events
    /// that carry [`Watch::origin`], for as long as the watch is held, also when the instance is replaced.
    pub async fn watch(&self, caller: &Caller, interest: Interest) -> Result<Watch, UpstreamError> {
        self.registry.watch(caller, interest).await
    }

    /// The session or process that serves this caller already, if there is one. Starts nothing.
    pub fn opened(&self, caller: &Caller) -> Option<Link> {
        self.registry.opened(caller).map(Link::of)
    }

    /// A client's session ended: what was kept for it alone is stopped, in the background.
    #[allow(clippy::unused_async, reason = "part of the interface: it may come to wait")]
    pub async fn close_session(&self, session: &SessionId) {
        self.registry.close_session(session);
    }

    /// Ends everything as [`Server::stop`] does, but it may [go on](Server::go_on) later. Nothing is opened from the first
    /// moment on; the future ends what is open.
    pub fn halt(&self, grace: Duration) -> impl Future<Output = ()> + Send + 'static {
        self.registry.halt(grace)
    }

    /// Opens sessions and processes again when they are asked for.
    pub fn go_on(&self) {
        self.registry.go_on();
    }

    /// Whether it is halted.
    pub fn is_halted(&self) -> bool {
        self.registry.is_halted()
    }

    /// Stops everything: calls under way get `grace` to end, then processes are stopped and reaped and sessions are
    /// deleted. [`Server::open`] refuses from the first moment on.
    pub async fn stop(&self, grace: Duration) {
        self.registry.stop(grace).await;
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("name", self.name()).finish_non_exhaustive()
    }
}
