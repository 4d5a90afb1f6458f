//! A legacy session over Streamable HTTP (2025-03-26 to 2025-11-25): begun with `initialize`, carried by
//! `Mcp-Session-Id` if the server gives one, begun again when the server forgets it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_mcp::{Kind, Message, Segments, Span, find};
use tollgate_model::Revision;

use crate::event::Source;
use crate::hello::{self, Hello, read_initialize};
use crate::http::HttpError;
use crate::listener;
use crate::pulse::Pulse;
use crate::shared::ASKED_MAX;
use crate::site::{Rejection, Site, session_of, status_error};
use crate::stream::Stream;
use crate::{Lists, UpstreamError};

/// What `initialize` says of the client.
#[derive(Debug, Clone)]
pub(crate) struct Introduction {
    pub(crate) capabilities: Bytes,
    pub(crate) info: Option<Bytes>,
}

impl Introduction {
    /// Whether the server may ask something of this client. Many servers ask on the stream that belongs to no call, also
    /// while they serve one, and wait in vain where there is none.
    fn may_be_asked(&self) -> bool {
        let whole = Span::all(&self.capabilities);
        ["sampling", "elicitation", "roots"]
            .into_iter()
            .any(|part| find(&self.capabilities, whole, part).is_some())
    }
}

/// A session with a server that has a URL.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) site: Arc<Site>,
    pub(crate) revision: Revision,
    introduction: Introduction,
    source: Source,
    current: ArcSwap<Current>,
    renewal: Mutex<()>,
    renewals: AtomicU64,
    listens: bool,
    lists: Lists,
    pub(crate) pulse: Arc<Pulse>,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Cancellations that are on their way.
    farewells: TaskTracker,
}

/// The session as the server knows it now.
#[derive(Debug)]
pub(crate) struct Current {
    pub(crate) id: Option<HeaderValue>,
    /// Set when the server no longer knows it.
    forgotten: AtomicBool,
    pulse: Arc<Pulse>,
    /// Ends with the session.
    pub(crate) stop: CancellationToken,
}

impl Current {
    pub(crate) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    pub(crate) fn forget(&self) {
        if !self.forgotten.swap(true, Ordering::Relaxed) {
            self.pulse.renewed();
        }
    }

    /// What the server said meanwhile may be lost.
    pub(crate) fn missed(&self) {
        self.pulse.gap();
    }
}

/// What came of `initialize`.
pub(crate) enum Begun {
    Session(Box<Session>, Hello),
    /// The status says that no such thing is here: it may be an HTTP+SSE server.
    NotHere(StatusCode),
}

impl Session {
    /// Begins a session.
    pub(crate) async fn begin(
        site: &Arc<Site>,
        introduction: Introduction,
        source: Source,
        tasks: &TaskTracker,
        stop: CancellationToken,
    ) -> Result<Begun, UpstreamError> {
        let (revision, hello, id) = match initialize(site, &introduction).await? {
            Initialized::Done { revision, hello, id } => (revision, hello, id),
            Initialized::NotHere(status) => return Ok(Begun::NotHere(status)),
        };
        let pulse = Arc::new(Pulse::new());
        let current = Current {
            id,
            forgotten: AtomicBool::new(false),
            pulse: Arc::clone(&pulse),
            stop: stop.child_token(),
        };
        let listens = hello.may_speak_unasked() || introduction.may_be_asked();
        let session = Self {
            site: Arc::clone(site),
            revision,
            introduction,
            source,
            current: ArcSwap::from_pointee(current),
            renewal: Mutex::new(()),
            renewals: AtomicU64::new(0),
            listens,
            lists: Lists::declared(&hello),
            pulse,
            stop,
            tasks: tasks.clone(),
            farewells: TaskTracker::new(),
        };
        session.welcome().await;
        Ok(Begun::Session(Box::new(session), hello))
    }

    pub(crate) fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Whether the session is still this one.
    pub(crate) fn is_current(&self, current: &Current) -> bool {
        std::ptr::eq(&raw const *self.current(), current)
    }

    /// Tells apart the sessions that were begun one after the other.
    pub(crate) fn number(&self) -> u64 {
        self.renewals.load(Ordering::Relaxed)
    }

    pub(crate) fn headers(&self, current: &Current) -> HeaderMap {
        self.site.post_headers(Some(self.revision), current.id.as_ref())
    }

    /// Begins again, once for everyone who noticed that `stale` is forgotten.
    pub(crate) async fn renew(&self, stale: &Arc<Current>) -> Result<Arc<Current>, UpstreamError> {
        let _one_at_a_time = self.renewal.lock().await;
        let current = self.current();
        if !Arc::ptr_eq(&current, stale) {
            return Ok(current);
        }
        stale.stop.cancel();
        match initialize(&self.site, &self.introduction).await? {
            Initialized::Done { revision, id, .. } if revision == self.revision => {
                let fresh = Current {
                    id,
                    forgotten: AtomicBool::new(false),
                    pulse: Arc::clone(&self.pulse),
                    stop: self.stop.child_token(),
                };
                self.current.store(Arc::new(fresh));
                self.pulse.renewed();
                self.renewals.fetch_add(1, Ordering::Relaxed);
                self.site.shared.counters.restarts.add();
                tracing::info!(server = %self.site.shared.id.label(), "the server forgot a session; a new one is begun");
                self.welcome().await;
                // What changed since the server forgot it was not heard.
                self.lists.kinds().for_each(|kind| self.site.shared.event(kind, &self.source));
                Ok(self.current())
            }
            Initialized::Done { revision, .. } => Err(UpstreamError::stale(format!(
                "its revision changed from {} to {revision}",
                self.revision
            ))),
            Initialized::NotHere(status) => Err(UpstreamError::stale(format!("initialize: status {status}"))),
        }
    }

    /// Sends `notifications/initialized` and opens the GET stream if the server declares anything that needs one.
    async fn welcome(&self) {
        let current = self.current();
        let told = self.site.tell(&self.site.target, self.headers(&current), hello::initialized()).await;
        if let Err(error) = told {
            tracing::debug!(server = %self.site.shared.id.label(), %error, "initialized was not accepted");
        }
        if self.listens {
            let listener = listener::Listener {
                site: Arc::clone(&self.site),
                revision: self.revision,
                session: Arc::clone(&current),
                lists: self.lists,
                source: self.source.clone(),
                asked: Arc::new(Semaphore::new(ASKED_MAX)),
            };
            let stop = current.stop.clone();
            self.tasks.spawn(async move {
                let _ = stop.run_until_cancelled(listener.listen()).await;
            });
        }
    }

    /// Sends what has no answer.
    pub(crate) async fn tell(&self, body: Segments) -> Result<(), UpstreamError> {
        self.send(&self.current(), body).await
    }

    /// Sends what belongs to a session that the server may have forgotten meanwhile.
    pub(crate) async fn tell_in(&self, asked_in: &Current, body: Segments) -> Result<(), UpstreamError> {
        if !self.is_current(asked_in) {
            return Err(UpstreamError::closed("the server forgot the session in which it asked"));
        }
        self.send(asked_in, body).await
    }

    async fn send(&self, current: &Current, body: Segments) -> Result<(), UpstreamError> {
        let status = self.site.tell(&self.site.target, self.headers(current), body).await?;
        if status == StatusCode::NOT_FOUND && current.id.is_some() {
            current.forget();
            return Err(UpstreamError::stale("the server forgot the session"));
        }
        if status.is_success() { Ok(()) } else { Err(status_error(status, &HeaderMap::new())) }
    }

    /// Tells the server that nobody waits for a request any more, while others go on. The end of the session waits for
    /// it: a server need not take the end of a session for the end of what runs in it.
    pub(crate) fn tell_cancelled(&self, told: impl Future<Output = ()> + Send + 'static) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.farewells.spawn_on(told, &runtime);
        }
    }

    /// Ends what belongs to the session on this side.
    pub(crate) fn abandon(&self) {
        self.stop.cancel();
    }

    /// Ends the session on the server's side too, if it has an id there.
    pub(crate) async fn end(&self) {
        let current = self.current();
        self.stop.cancel();
        if current.id.is_none() || current.is_forgotten() {
            return;
        }
        let headers = self.site.get_headers(Some(self.revision), current.id.as_ref());
        let wait = self.site.shared.settings.timeouts.stop;
        self.farewells.close();
        let _ = tokio::time::timeout(wait, self.farewells.wait()).await;
        // 405 says that the server keeps its sessions to itself; nothing else can be done either way.
        if let Ok(Ok(mut reply)) = tokio::time::timeout(wait, self.site.delete(headers)).await {
            let _ = tokio::time::timeout(wait, reply.collect(4096)).await;
        }
    }
}

enum Initialized {
    Done { revision: Revision, hello: Hello, id: Option<HeaderValue> },
    NotHere(StatusCode),
}

async fn initialize(site: &Site, introduction: &Introduction) -> Result<Initialized, UpstreamError> {
    let wait = site.shared.settings.timeouts.probe;
    tokio::time::timeout(wait, exchange(site, introduction))
        .await
        .unwrap_or(Err(UpstreamError::Timeout { what: "initialize", after: wait }))
}

async fn exchange(site: &Site, introduction: &Introduction) -> Result<Initialized, UpstreamError> {
    const ID: u64 = 0;
    let body = hello::initialize(ID, &introduction.capabilities, introduction.info.as_ref());
    let mut sent = site.post(&site.target, site.post_headers(None, None), body.clone()).await;
    if matches!(sent, Err(HttpError::Closed(_))) {
        // A kept connection may end as it is used again, and a session that nobody knows of does no harm.
        sent = site.post(&site.target, site.post_headers(None, None), body).await;
    }
    let reply = sent.map_err(|error| site.error(error))?;
    if !reply.status().is_success() {
        let rejection = Rejection::read(reply, &site.shared.message_limits()).await;
        return match (rejection.status, &rejection.message) {
            (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => Err(rejection.error()),
            (_, Some(message)) => read_initialize(message).and(Err(rejection.error())),
            (StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => {
                Ok(Initialized::NotHere(rejection.status))
            }
            _ => Err(rejection.error()),
        };
    }
    let id = session_of(&reply)?;
    let mut stream = Stream::new(reply, Arc::clone(&site.shared), &site.replica)?;
    let answer = answer(&mut stream, ID).await?;
    stream.finish();
    let (revision, hello) = read_initialize(&answer)?;
    Ok(Initialized::Done { revision, hello, id })
}

/// The answer to a request of the gateway's own; whatever else the stream carries is passed over.
pub(crate) async fn answer(stream: &mut Stream, id: u64) -> Result<Message, UpstreamError> {
    loop {
        let message = stream.message().await?;
        match message.kind() {
            Kind::Result | Kind::Error if message.id_u64() == Some(id) || message.kind() == Kind::Error => {
                return Ok(message);
            }
            Kind::Result | Kind::Error if stream.is_single() => {
                return Err(UpstreamError::protocol("the server's answer carries another id", "wrong id"));
            }
            _ => {}
        }
    }
}
