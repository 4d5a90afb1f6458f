//! A link: the session, process or stateless origin that serves one caller.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::sync::watch;
use tokio::time::timeout_at;
use tollgate_mcp::{LogLevel, Message, Segments, codes, methods};
use tollgate_model::{Era, Revision};

use crate::UpstreamError;
use crate::conversation::{Conversation, Outlet, Whose};
use crate::event::Source;
use crate::exchange::{Exchange, Ticket};
use crate::greet::discover_over_http;
use crate::hello::{self, Hello};
use crate::http::HttpError;
use crate::loudness::Loudness;
use crate::pace::{Pace, Waits};
use crate::pulse::{Beat, Pulse};
use crate::replica::Replica;
use crate::seats::Lease;
use crate::session::{Current, Session};
use crate::shared::Shared;
use crate::site::{Rejection, Site};
use crate::stream::Stream;

/// A session, process or stateless origin. Cheap to clone; all clones are the same. One that was opened for a single
/// call is that call's alone until the last clone, and the last [`Exchange`] on it, are gone.
#[derive(Clone, Debug)]
pub struct Link(pub(crate) Arc<Instance>, pub(crate) Option<Arc<Lease>>);

/// A request to send. Its body is sent as it is: the id (from [`Link::mint`]), the progress token (the same number)
/// and a modern request's `_meta` are already in it.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// The request's id, as in the body.
    pub id: u64,
    /// The request's method, as in the body.
    pub method: Cow<'static, str>,
    /// What `Mcp-Name` must say: the native tool or prompt name, the resource URI, or the task's id; not yet encoded.
    pub mcp_name: Option<String>,
    /// `Mcp-Param-*` headers to forward.
    pub params: Vec<(HeaderName, HeaderValue)>,
    /// Further headers for servers that are reached over HTTP, whatever their era: the trace that the request is part of.
    pub also: Vec<(HeaderName, HeaderValue)>,
    /// The message.
    pub body: Segments,
    /// How long it may take.
    pub waits: Waits,
    /// The least severe log message that its caller wants. A legacy server, which knows levels only for a session as a
    /// whole, is told before the request if it sends too little or too much for all requests under way.
    pub log_level: Option<LogLevel>,
}

impl Link {
    /// A link that others may have too.
    pub(crate) fn of(instance: Arc<Instance>) -> Self {
        Self(instance, None)
    }

    /// The server's era.
    pub fn era(&self) -> Era {
        self.0.revision.era()
    }

    /// The revision spoken with the server.
    pub fn revision(&self) -> Revision {
        self.0.revision
    }

    /// Host and port of a server that is reached over HTTP.
    pub fn address(&self) -> Option<(&str, u16)> {
        self.0.site().map(|site| site.address())
    }

    /// Which replica of the server it leads to, if the server has several.
    pub fn replica(&self) -> Option<&Arc<str>> {
        self.0.replica().filter(|replica| !replica.is_alone()).map(|replica| &replica.label)
    }

    /// What the server said of itself.
    pub fn hello(&self) -> &Hello {
        &self.0.hello
    }

    /// The next request id on this link; it serves as the progress token too.
    pub fn mint(&self) -> u64 {
        self.0.mint()
    }

    /// Whether two links are the same session, process or origin.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The number of the session, process or origin: no two of this process have the same.
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// Whether the session or process is this link's alone, and may end with it.
    pub fn is_leased(&self) -> bool {
        self.1.is_some()
    }

    /// Sends a request. An error of [`UpstreamError::is_stale`] says that nothing was carried out and that another
    /// link may do better. Dropping the future cancels the request, as dropping the [`Exchange`] does.
    pub async fn request(&self, request: Outbound) -> Result<Exchange, UpstreamError> {
        if !self.0.is_usable() {
            return Err(UpstreamError::stale("the link was given up"));
        }
        let mut ticket = Ticket::new(&self.0, request.id, &request.method, self.1.clone());
        let pace = Pace::begin(request.waits, &self.0.shared.settings.timeouts);
        if let Some(level) = request.log_level
            && self.0.has_levels()
        {
            ticket.want_log(level);
        }
        let (until, lack) = pace.patience(pace.deadline(), None);
        let epoch = ticket.epoch();
        let sending = self.0.send(request, ticket, pace);
        timeout_at(until, sending)
            .await
            .unwrap_or_else(|_| Err(pace.runs_out(lack)))
            .inspect_err(|error| self.0.failed(error, epoch))
    }

    /// Ends when the server is done with a request, under this id, that is about to be left: where all requests share a
    /// stream, on which its answer arrives after all. Never where that is not to be known. To be called before the request is
    /// left; does not wait.
    pub fn end_of(&self, id: u64) -> impl Future<Output = ()> + Send + 'static {
        let end = match &self.0.wire {
            Wire::Shared(conversation) => conversation.strays.end_of(id),
            Wire::Modern(_) | Wire::Session(_) => None,
        };
        async move {
            let has_ended = match end {
                Some(end) => end.await.is_ok(),
                None => false,
            };
            if !has_ended {
                // Nor is it known when the stream ends.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks a legacy server for log messages of this level and above, at a client's own wish. Its answer; none if it does
    /// not do this: it is modern, or declares no logging.
    pub async fn set_log_level(&self, level: LogLevel) -> Result<Option<Message>, UpstreamError> {
        if !self.0.has_levels() {
            return Ok(None);
        }
        self.0.touch();
        self.0.ask_for_log(level).await.map(Some)
    }

    /// Sends a notification; the answer to a server's request goes by [`Exchange::replies`]. Over HTTP a modern server takes
    /// none (closing the stream is cancellation there), so nothing is sent.
    pub async fn notify(&self, message: Segments) -> Result<(), UpstreamError> {
        self.0.touch();
        match &self.0.wire {
            Wire::Modern(_) => Ok(()),
            Wire::Session(session) => session.tell(message).await,
            Wire::Shared(conversation) => conversation.send(message).await,
        }
    }
}

/// What is behind a link.
#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) shared: Arc<Shared>,
    pub(crate) hello: Hello,
    pub(crate) revision: Revision,
    pub(crate) source: Source,
    pub(crate) wire: Wire,
    number: u64,
    pub(crate) loudness: Loudness,
    next_id: AtomicU64,
    in_flight: AtomicUsize,
    /// How many of these the server may ask something about.
    asked: AtomicUsize,
    last_used_ms: AtomicU64,
    /// Who keeps something here hears by it that it is not what it was.
    pub(crate) pulse: Arc<Pulse>,
    /// Somebody hears of its changes: not idle, though nobody calls.
    watched: AtomicBool,
    attended: AtomicBool,
    gone: AtomicBool,
    ended: AtomicBool,
}

/// How messages travel.
#[derive(Debug)]
pub(crate) enum Wire {
    /// Streamable HTTP of the modern era: no state at all.
    Modern(Arc<Site>),
    /// Streamable HTTP of the legacy era.
    Session(Box<Session>),
    /// A stream that all calls share: a child, or HTTP+SSE.
    Shared(Box<Conversation>),
}

/// The number of the instance that was made last.
static LAST_NUMBER: AtomicU64 = AtomicU64::new(0);

/// Ids below this are the gateway's own: the greetings.
pub(crate) const FIRST_ID: u64 = 16;

impl Instance {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        hello: Hello,
        revision: Revision,
        source: Source,
        wire: Wire,
    ) -> Self {
        let pulse = match &wire {
            Wire::Session(session) => Arc::clone(&session.pulse),
            Wire::Modern(_) | Wire::Shared(_) => Arc::new(Pulse::new()),
        };
        Self {
            pulse,
            number: LAST_NUMBER.fetch_add(1, Ordering::Relaxed) + 1,
            watched: AtomicBool::new(false),
            attended: AtomicBool::new(false),
            shared: Arc::clone(shared),
            hello,
            revision,
            source,
            wire,
            loudness: Loudness::default(),
            next_id: AtomicU64::new(FIRST_ID),
            in_flight: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            last_used_ms: AtomicU64::new(shared.now_ms()),
            gone: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn mint(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether it can still serve.
    pub(crate) fn is_usable(&self) -> bool {
        if self.gone.load(Ordering::Relaxed) {
            return false;
        }
        match &self.wire {
            Wire::Modern(_) | Wire::Session(_) => true,
            Wire::Shared(conversation) => !conversation.has_ended(),
        }
    }

    /// It does not fit any more: the next to open gets another.
    pub(crate) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
        self.pulse.ended();
    }

    /// Waits until it may not be what it was.
    pub(crate) async fn beats(&self, pulse: &mut watch::Receiver<Beat>) {
        match &self.wire {
            Wire::Shared(conversation) => {
                tokio::select! {
                    () = conversation.commands.closed() => {}
                    _ = pulse.changed() => {}
                }
            }
            Wire::Modern(_) | Wire::Session(_) => drop(pulse.changed().await),
        }
    }

    /// Whether the server has forgotten the session, and nobody has begun it again.
    pub(crate) fn is_forgotten(&self) -> bool {
        matches!(&self.wire, Wire::Session(session) if session.current().is_forgotten())
    }

    pub(crate) fn set_watched(&self, watched: bool) {
        if self.watched.swap(watched, Ordering::Relaxed) && !watched {
            self.touch();
        }
    }

    /// Whether anyone needs it now.
    pub(crate) fn is_needed(&self) -> bool {
        self.is_busy() || self.watched.load(Ordering::Relaxed)
    }

    /// Whether this is the first time that someone asks whether its changes are attended to.
    pub(crate) fn begin_attending(&self) -> bool {
        !self.attended.load(Ordering::Relaxed) && !self.attended.swap(true, Ordering::Relaxed)
    }

    pub(crate) fn seen_up(&self) {
        self.shared.seen_up(self.revision);
    }

    pub(crate) fn touch(&self) {
        self.last_used_ms.store(self.shared.now_ms(), Ordering::Relaxed);
    }

    pub(crate) fn begin_call(&self) {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.touch();
    }

    pub(crate) fn end_call(&self) {
        self.touch();
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
    }

    /// Where it is, if it is reached over HTTP.
    pub(crate) fn site(&self) -> Option<&Arc<Site>> {
        match &self.wire {
            Wire::Modern(site) => Some(site),
            Wire::Session(session) => Some(&session.site),
            Wire::Shared(conversation) => match &conversation.outlet {
                Outlet::Post(site, _) => Some(site),
                Outlet::Pipe => None,
            },
        }
    }

    /// Which replica it is of; none of a process.
    pub(crate) fn replica(&self) -> Option<&Replica> {
        self.site().map(|site| &*site.replica)
    }

    /// A request was answered.
    pub(crate) fn answered(&self, epoch: u32) {
        if let Some(replica) = self.replica() {
            replica.succeeded(epoch);
        }
    }

    /// A request had no answer.
    pub(crate) fn failed(&self, error: &UpstreamError, epoch: u32) {
        let is_ejected = self.replica().is_some_and(|replica| replica.failed(error, epoch));
        if is_ejected && matches!(self.wire, Wire::Modern(_)) {
            // It is found anew before it is used again.
            self.retire();
        }
    }

    pub(crate) fn begin_asked(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn end_asked(&self) {
        self.asked.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether a request is under way that the server may ask something about.
    pub(crate) fn may_ask(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }

    /// A call on which the server may ask something is left before its answer. Where all calls share a stream, and a server's
    /// request names none of them, this is known before anybody else can have the call's place.
    pub(crate) fn strays(&self, id: u64) {
        if let Wire::Shared(conversation) = &self.wire
            && self.revision.era() == Era::Legacy
        {
            conversation.strays.left(id);
        }
    }

    /// Whether the server may still ask something about a call that was left, which would name no call.
    pub(crate) fn has_strays(&self) -> bool {
        matches!(&self.wire, Wire::Shared(conversation) if conversation.strays.any())
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    pub(crate) fn last_used_ms(&self) -> u64 {
        self.last_used_ms.load(Ordering::Relaxed)
    }

    /// Tells the server that nobody waits for this request any more. Does not wait.
    pub(crate) fn cancel(self: &Arc<Self>, id: u64) {
        match &self.wire {
            // Whoever held the response stream has closed it, which is all there is to say.
            Wire::Modern(_) => {}
            Wire::Session(session) => {
                // Closing the stream says nothing to a legacy server.
                let instance = Arc::clone(self);
                session.tell_cancelled(async move {
                    if let Wire::Session(session) = &instance.wire {
                        let _ = session.tell(hello::cancelled(id)).await;
                    }
                });
            }
            Wire::Shared(conversation) => conversation.leave(id, true),
        }
    }

    /// Ends what is behind it, once. The owning tasks do the rest.
    pub(crate) async fn end(&self) {
        self.retire();
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        match &self.wire {
            Wire::Modern(_) => {}
            Wire::Session(session) => session.end().await,
            Wire::Shared(conversation) => conversation.stop.cancel(),
        }
    }

    pub(crate) async fn send(
        self: &Arc<Self>,
        request: Outbound,
        ticket: Ticket,
        pace: Pace,
    ) -> Result<Exchange, UpstreamError> {
        if ticket.wants_log() {
            self.adjust_loudness().await;
        }
        match &self.wire {
            Wire::Modern(site) => self.send_modern(site, request, ticket, pace).await,
            Wire::Session(session) => self.send_in_session(session, request, ticket, pace).await,
            Wire::Shared(conversation) => {
                let whose = Whose::of(&request.method, request.mcp_name.as_deref());
                let receiver = conversation.call(request.id, request.body, whose).await?;
                Ok(Exchange::routed(ticket, receiver, pace))
            }
        }
    }

    async fn send_modern(
        &self,
        site: &Arc<Site>,
        mut request: Outbound,
        mut ticket: Ticket,
        pace: Pace,
    ) -> Result<Exchange, UpstreamError> {
        let mut headers = site.post_headers(Some(self.revision), None);
        Site::mirror(&mut headers, &request)?;
        let body = std::mem::take(&mut request.body);
        let again = is_repeatable(&request.method).then(|| body.clone());
        let mut sent = site.post(&site.target, headers, body).await;
        if let (Err(HttpError::Closed(_)), Some(body)) = (&sent, again) {
            let mut headers = site.post_headers(Some(self.revision), None);
            Site::mirror(&mut headers, &request)?;
            sent = Box::pin(site.post(&site.target, headers, body)).await;
        }
        let reply = sent.map_err(|error| site.error(error))?;
        if reply.status() == StatusCode::OK {
            self.seen_up();
            let stream = Stream::new(reply, Arc::clone(&self.shared), &site.replica)?;
            return Ok(Exchange::http(ticket, stream, pace));
        }
        let rejection = Box::pin(Rejection::read(reply, &self.shared.message_limits())).await;
        ticket.settle();
        if is_auth(rejection.status) {
            return Err(rejection.error());
        }
        let misfits = matches!(
            rejection.status,
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED
        );
        if rejection.is_result {
            return Err(rejection.error());
        }
        if misfits && !rejection.is_modern() && (!rejection.answers(request.id) || rejection.is_legacy()) {
            // No modern server says that (2026-07-28, Streamable HTTP, backward compatibility). Where it is none any more the
            // request goes to what it is now. One that still is may have carried it out, whatever it says of it.
            let names_none = rejection.message.is_some() && !rejection.answers(request.id);
            if names_none || matches!(Box::pin(discover_over_http(site)).await, Ok(None)) {
                self.retire();
                site.replica.forget_era("a modern request was refused without a modern error");
                return Err(UpstreamError::stale(format!("status {}", rejection.status.as_u16())));
            }
        }
        if self.lost_its_methods(&request.method, &rejection) {
            self.retire();
            site.replica.forget_era("the server no longer knows a method that it declared");
        }
        match rejection.message {
            Some(message) => Ok(Exchange::answered(ticket, message, pace)),
            None => Err(rejection.error()),
        }
    }

    async fn send_in_session(
        self: &Arc<Self>,
        session: &Session,
        request: Outbound,
        mut ticket: Ticket,
        pace: Pace,
    ) -> Result<Exchange, UpstreamError> {
        let site = &session.site;
        let mut current = session.current();
        if current.is_forgotten() {
            current = Box::pin(self.renewed(session, &current, &request.method)).await?;
        }
        let mut renewed = false;
        let mut repeated = !is_repeatable(&request.method);
        loop {
            let mut headers = session.headers(&current);
            headers.extend(request.also.iter().cloned());
            let sent = site.post(&site.target, headers, request.body.clone()).await;
            let reply = match sent {
                Err(HttpError::Closed(_)) if !repeated => {
                    repeated = true;
                    continue;
                }
                Err(error) => {
                    if !matches!(error, HttpError::Closed(_)) {
                        ticket.settle();
                    }
                    return Err(site.error(error));
                }
                Ok(reply) => reply,
            };
            if reply.status().is_success() {
                self.seen_up();
                let mut stream = Stream::new(reply, Arc::clone(&self.shared), &site.replica)?;
                stream.session = Some(current);
                return Ok(Exchange::http(ticket, stream, pace));
            }
            let rejection = Box::pin(Rejection::read(reply, &self.shared.message_limits())).await;
            ticket.settle();
            if is_auth(rejection.status) {
                return Err(rejection.error());
            }
            if rejection.is_result {
                return Err(rejection.error());
            }
            if forgets_session(&rejection, &current, request.id) && !renewed {
                renewed = true;
                ticket.reopen();
                current = Box::pin(self.renewed(session, &current, &request.method)).await?;
                continue;
            }
            let gone = matches!(rejection.status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
            let is_another = if rejection.is_modern() {
                // Codes of its own may be the same.
                !matches!(Box::pin(discover_over_http(site)).await, Ok(None))
            } else {
                // What has just begun a session is there, and may have carried the request out.
                gone && !renewed && rejection.message.is_none()
            };
            if is_another {
                self.retire();
                site.replica.forget_era("a legacy request was refused without an answer");
                return Err(UpstreamError::stale(format!("status {}", rejection.status.as_u16())));
            }
            return match rejection.message {
                Some(message) => Ok(Exchange::answered(ticket, message, pace)),
                None => Err(rejection.error()),
            };
        }
    }

    async fn renewed(
        self: &Arc<Self>,
        session: &Session,
        stale: &Arc<Current>,
        for_method: &str,
    ) -> Result<Arc<Current>, UpstreamError> {
        let current = session.renew(stale).await.inspect_err(|error| {
            self.retire();
            if error.is_stale() {
                session.site.replica.forget_era("the session could not be begun again");
            }
        })?;
        // The new session knows nothing of the level that the old one was told.
        if for_method != methods::LOGGING_SET_LEVEL {
            self.adjust_loudness().await;
        }
        Ok(current)
    }

    /// Whether the server refuses a method of a capability that it declared.
    fn lost_its_methods(&self, method: &str, rejection: &Rejection) -> bool {
        let code = rejection.message.as_ref().and_then(Message::error_code);
        let part = match method {
            methods::TOOLS_LIST | methods::TOOLS_CALL => "tools",
            methods::PROMPTS_LIST | methods::PROMPTS_GET => "prompts",
            methods::RESOURCES_LIST | methods::RESOURCES_READ => "resources",
            _ => return false,
        };
        code == Some(i64::from(codes::METHOD_NOT_FOUND)) && self.hello.declares(part)
    }
}

/// Whether a response says that the session is not known any more: 404 (2025-03-26 and later), or, as many servers do
/// it, 400 with an error that answers no request in particular.
fn forgets_session(rejection: &Rejection, current: &Current, id: u64) -> bool {
    current.id.is_some()
        && match rejection.status {
            StatusCode::NOT_FOUND => true,
            StatusCode::BAD_REQUEST => !rejection.answers(id),
            _ => false,
        }
}

fn is_auth(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

/// Whether a request whose connection broke before its response is sent once more from here: sending it twice does no harm, and
/// it is not put on record each time it leaves.
fn is_repeatable(method: &str) -> bool {
    let is_on_record = matches!(
        method,
        methods::TOOLS_CALL | methods::RESOURCES_READ | methods::PROMPTS_GET | methods::COMPLETION_COMPLETE
    );
    !is_on_record && !method.starts_with("tasks/")
}

impl Drop for Instance {
    fn drop(&mut self) {
        // A conversation ends with its last handle; what listens for a session must be told.
        if let Wire::Session(session) = &self.wire {
            session.abandon();
        }
    }
}
