//! Legacy sessions: what the gateway remembers of a client that said `initialize`.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tollgate_catalog::ListKind;
use tollgate_mcp::{Kind, LogLevel, Message, Segments, methods};
use tollgate_model::{Caller, Code, EndpointName, Principal, Refusal, SessionId, Stage};
use tollgate_telemetry::counters;

use crate::gateway::Gateway;
use crate::in_flight::{InFlight, Place};
use crate::input::Questions;
use crate::mailbox::{Mailbox, Topic};
use crate::policing::{Digest, differing};
use crate::replay::{Reader, Streams};
use crate::roots::{self, Telling};
use crate::settings::{ProxySettings, ResumeSettings};
use crate::shares::Room;
use crate::stages::Identified;
use crate::standing::Latest;
use crate::subscriptions::Subscriptions;

/// One client's session at one endpoint.
#[derive(Debug)]
pub(crate) struct Session {
    /// The caller as of `initialize`; its `session` is this session's id. Who it is never changes.
    pub(crate) caller: Caller,
    /// What the caller proved last: groups and scopes may be others than at the beginning.
    pub(crate) latest: Latest,
    /// The endpoint that the session was opened at; none for the merged one.
    pub(crate) endpoint: Option<EndpointName>,
    /// The requests under way.
    pub(crate) in_flight: InFlight,
    /// What servers have asked the client.
    pub(crate) questions: Questions,
    /// The resources that the client wants to hear of.
    pub(crate) subscriptions: Subscriptions,
    /// Where messages go that belong to no request: the GET stream, or the stream of HTTP+SSE.
    stream: Mutex<Option<Mailbox>>,
    streams_open: AtomicU32,
    /// Whether the client has said anything since its `initialize` was answered: nobody asks it anything before.
    begun: AtomicBool,
    /// Told when the client can be reached by a way by which it could not be before.
    reached: Notify,
    /// The streams over Streamable HTTP, which can be resumed.
    streams: Streams,
    last_used_ms: AtomicU64,
    /// The place of the level in [`LogLevel::ALL`]; [`NO_LEVEL`] until the client sets one.
    log_level: AtomicU8,
    pub(crate) telling_roots: Telling,
    /// What the client saw when it was looked at last.
    view: Mutex<Option<Digest>>,
}

const NO_LEVEL: u8 = u8::MAX;

impl Session {
    pub(crate) fn new(caller: Caller, endpoint: Option<EndpointName>) -> Self {
        Self {
            latest: Arc::new(ArcSwap::new(Arc::clone(&caller.who))),
            view: Mutex::new(None),
            caller,
            endpoint,
            in_flight: InFlight::default(),
            questions: Questions::default(),
            subscriptions: Subscriptions::default(),
            stream: Mutex::new(None),
            streams_open: AtomicU32::new(0),
            begun: AtomicBool::new(false),
            reached: Notify::new(),
            streams: Streams::default(),
            last_used_ms: AtomicU64::new(0),
            log_level: AtomicU8::new(NO_LEVEL),
            telling_roots: Telling::default(),
        }
    }

    /// A request of the session has proved who sends it. Whether it is somebody of other groups or the like than before, who
    /// may see other things.
    pub(crate) fn proved(&self, who: &Identified) -> bool {
        let latest = self.latest.load();
        if Arc::ptr_eq(&latest, who.who()) {
            return false;
        }
        self.latest.store(Arc::clone(who.who()));
        **latest != **who.who()
    }

    /// The caller as of what it proved last: for what is done beside its requests.
    pub(crate) fn caller_now(&self) -> Caller {
        Caller { who: self.latest.load_full(), ..self.caller.clone() }
    }

    /// Takes what the client sees from now on. The lists that look otherwise than before.
    pub(crate) fn sees(&self, view: Option<Digest>) -> impl Iterator<Item = ListKind> + use<> {
        let before = std::mem::replace(&mut *self.view.lock().unwrap_or_else(PoisonError::into_inner), view);
        differing(before, view)
    }

    /// The least severe log message that the client wants, if it has said so.
    pub(crate) fn log_level(&self) -> Option<LogLevel> {
        LogLevel::ALL.get(usize::from(self.log_level.load(Ordering::Relaxed))).copied()
    }

    pub(crate) fn set_log_level(&self, level: LogLevel) {
        self.log_level.store(level as u8, Ordering::Relaxed);
    }

    /// Opens the stream for messages that belong to no request. An older one ends: a client that comes back after a
    /// broken connection must not be kept out by what is left of it.
    pub(crate) fn open_stream(&self, settings: &ProxySettings) -> Reader {
        let mailbox = Mailbox::new(settings.stream_queue_max);
        let reader = self.streams.open(&mailbox, &settings.resume);
        let older = self.lock_stream().replace(mailbox.clone());
        if let Some(older) = older {
            // What its client has not read, since its connection had gone, it reads here: a question would wait in vain.
            while !older.is_read()
                && let Some(message) = older.pop()
            {
                let _ = mailbox.push(message);
            }
            older.close();
        }
        self.has_begun();
        self.streams_open.fetch_add(1, Ordering::Relaxed);
        reader
    }

    /// Opens a stream for the answer to a request: what comes to this queue.
    pub(crate) fn open_answer(&self, outlet: &Mailbox, settings: &ResumeSettings) -> Reader {
        self.streams_open.fetch_add(1, Ordering::Relaxed);
        self.streams.open(outlet, settings)
    }

    /// Comes back to a stream of this session, behind the event of this id; gives its number too.
    pub(crate) fn resume_stream(&self, event_id: &[u8]) -> Result<(Reader, u64), Refusal> {
        let resumed = self.streams.resume(event_id)?;
        self.has_begun();
        self.streams_open.fetch_add(1, Ordering::Relaxed);
        Ok(resumed)
    }

    /// The connection over which a stream was read has gone. The stream waits for the client to come back.
    pub(crate) fn reader_left(&self) {
        self.streams_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Sends over a stream that is open already: the session's whole connection.
    pub(crate) fn use_stream(&self, mailbox: Mailbox) {
        *self.lock_stream() = Some(mailbox);
        self.streams_open.fetch_add(1, Ordering::Relaxed);
    }

    /// The connection that is all of the session has gone.
    pub(crate) fn stream_ended(&self, mailbox: &Mailbox) {
        mailbox.close();
        let mut stream = self.lock_stream();
        if stream.as_ref().is_some_and(|current| current.is_same(mailbox)) {
            *stream = None;
        }
        self.streams_open.fetch_sub(1, Ordering::Relaxed);
    }

    /// The stream for what belongs to no request, if the client listens.
    pub(crate) fn listening(&self) -> Option<Mailbox> {
        self.lock_stream().clone()
    }

    /// The stream on which the client can be asked something, if any: that of the request that it is about, if there is one,
    /// else the one on which it listens, else that of any request. What is read comes first; a stream whose connection has
    /// gone may be read once more.
    pub(crate) fn to_ask_on(&self, own: Option<&Mailbox>) -> Option<Mailbox> {
        let listening = self.listening();
        let streams = || own.into_iter().chain(&listening);
        let read = streams().find(|stream| stream.is_read()).cloned().or_else(|| self.in_flight.outlet());
        read.or_else(|| streams().find(|stream| !stream.is_closed()).cloned())
    }

    /// The same for what is about no request. Before the client has begun to speak it may not be asked.
    pub(crate) fn to_ask_beside(&self) -> Option<Mailbox> {
        self.begun.load(Ordering::Relaxed).then(|| self.to_ask_on(None)).flatten()
    }

    /// The same, where somebody reads it now.
    pub(crate) fn to_ask_beside_now(&self) -> Option<Mailbox> {
        self.to_ask_beside().filter(Mailbox::is_read)
    }

    /// The client has said something since its `initialize` was answered.
    pub(crate) fn has_begun(&self) {
        self.begun.store(true, Ordering::Relaxed);
        self.reached.notify_waiters();
    }

    /// The client has made a request, about which it hears on this stream.
    pub(crate) fn speaks_on(&self, place: &Place, outlet: &Mailbox) {
        place.speaks_on(outlet);
        self.has_begun();
    }

    /// Ends when the client can be reached by a way by which it could not be before.
    pub(crate) fn reached(&self) -> Notified<'_> {
        self.reached.notified()
    }

    /// Sends a message that belongs to no request, if the client listens.
    pub(crate) fn send(&self, message: Segments) {
        if let Some(stream) = self.lock_stream().as_ref() {
            // A client that reads too slowly loses hints such as list_changed, never a reply.
            let _ = stream.push(message);
        }
    }

    /// Sends news of a topic, in place of older news that still waits.
    pub(crate) fn send_latest(&self, topic: Topic, message: Segments, topics_max: usize) {
        if let Some(stream) = self.lock_stream().as_ref() {
            let _ = stream.push_latest(topic, message, topics_max);
        }
    }

    /// Takes in what is not answered: a notification, or the response to a question.
    pub(crate) fn hear(self: &Arc<Self>, gateway: &Gateway, message: Message) {
        self.has_begun();
        if message.kind() != Kind::Notification {
            self.questions.answered(message);
            return;
        }
        if message.method() == methods::NOTIFICATIONS_CANCELLED
            && let Some(id) = message.member("requestId")
        {
            self.in_flight.cancel(id.of(message.bytes()));
        }
        if message.method() == methods::NOTIFICATIONS_ROOTS_LIST_CHANGED {
            roots::changed(gateway, self, &message);
        }
        self.questions.progressed(&message);
    }

    /// Ends the session's stream once its requests are done.
    pub(crate) fn close_when_idle(&self) {
        if let Some(stream) = self.lock_stream().clone() {
            self.in_flight.close_when_idle(stream);
        }
    }

    fn lock_stream(&self) -> std::sync::MutexGuard<'_, Option<Mailbox>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_idle(&self) -> bool {
        self.streams_open.load(Ordering::Relaxed) == 0 && self.in_flight.is_empty()
    }
}

/// All sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    by_id: RwLock<HashMap<SessionId, Arc<Session>>>,
    /// Told of each that is added.
    added: Notify,
    started: Instant,
}

impl Sessions {
    pub(crate) fn new() -> Self {
        Self { by_id: RwLock::new(HashMap::new()), added: Notify::new(), started: Instant::now() }
    }

    /// Adds a session, if there is room.
    pub(crate) fn add(&self, session: Arc<Session>, room: Room) -> Result<(), Refusal> {
        let Some(id) = session.caller.session.clone() else {
            return Err(Refusal::new(Stage::Session, Code::Internal, "the session has no id"));
        };
        self.touch(&session);
        let mut by_id = self.write();
        let of_tenant = || {
            let tenant = session.caller.tenant();
            by_id.values().filter(|other| other.caller.tenant() == tenant).count()
        };
        if !room.has_place(by_id.len(), of_tenant) {
            return Err(Refusal::new(Stage::Session, Code::Capacity, "as many sessions as allowed are open"));
        }
        by_id.insert(id, session);
        drop(by_id);
        self.added.notify_waiters();
        counters::session_opened();
        Ok(())
    }

    /// Ends when a session is added.
    pub(crate) fn added(&self) -> Notified<'_> {
        self.added.notified()
    }

    /// Finds a session for the caller who may use it at this endpoint. Anyone else's is as good as unknown.
    pub(crate) fn find(
        &self,
        id: &str,
        who: &Principal,
        endpoint: Option<&EndpointName>,
    ) -> Option<Arc<Session>> {
        let by_id = self.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let session = by_id.get(&SessionId::new(id))?;
        let own = (session.caller.tenant(), session.caller.principal()) == (&who.tenant, &who.id);
        if !own || session.endpoint.as_ref() != endpoint {
            return None;
        }
        self.touch(session);
        Some(Arc::clone(session))
    }

    /// The session that a server's own instance belongs to.
    pub(crate) fn of(&self, id: &SessionId) -> Option<Arc<Session>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether the session is still open.
    pub(crate) fn has(&self, session: &Session) -> bool {
        session.caller.session.as_ref().is_some_and(|id| self.of(id).is_some())
    }

    /// Ends a session. Its requests are cancelled and its stream ends.
    pub(crate) fn remove(&self, id: &SessionId) -> Option<Arc<Session>> {
        let session = self.write().remove(id)?;
        counters::session_closed();
        session.in_flight.cancel_all();
        session.questions.close();
        session.close_when_idle();
        Some(session)
    }

    /// Ends the sessions that nobody has used for so long, and gives them back.
    /// Streams that ended long ago are forgotten on the way.
    pub(crate) fn expire(&self, idle: Duration, resume: &ResumeSettings) -> Vec<Arc<Session>> {
        let now = self.now_ms();
        let idle = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let mut expired = Vec::new();
        self.write().retain(|_, session| {
            session.streams.sweep(resume);
            if !session.is_idle() {
                session.last_used_ms.store(now, Ordering::Relaxed);
            }
            let keep = now.saturating_sub(session.last_used_ms.load(Ordering::Relaxed)) <= idle;
            if !keep {
                counters::session_closed();
                expired.push(Arc::clone(session));
            }
            keep
        });
        expired
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn touch(&self, session: &Session) {
        session.last_used_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<SessionId, Arc<Session>>> {
        self.by_id.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tollgate_model::{ClientProfile, PrincipalId, Proof, Revision, TenantId};

    fn who(principal: &str) -> Arc<Principal> {
        Arc::new(Principal::new(TenantId::default(), PrincipalId::new(principal), Proof::Local))
    }

    fn session(id: &str, principal: &str) -> Arc<Session> {
        let client = ClientProfile {
            revision: Revision::V2025_11_25,
            capabilities: Bytes::from_static(b"{}"),
            info: None,
        };
        let caller = Caller {
            who: who(principal),
            session: Some(SessionId::new(id)),
            client: Arc::new(client),
            source: None,
        };
        Arc::new(Session::new(caller, None))
    }

    #[test]
    fn another_principals_session_is_as_good_as_unknown() {
        let sessions = Sessions::new();
        sessions.add(session("a", "alice"), Room::UNBOUNDED).expect("room");
        let find = |principal: &str| sessions.find("a", &who(principal), None).is_some();
        assert!(find("alice"));
        assert!(!find("mallory"));
        let elsewhere = EndpointName::new("files").expect("a name");
        let found = sessions.find("a", &who("alice"), Some(&elsewhere));
        assert!(found.is_none(), "a session belongs to the endpoint that it was opened at");
    }

    #[test]
    fn sessions_are_bounded_and_expire() {
        let sessions = Sessions::new();
        let room = Room { all: 1, ..Room::UNBOUNDED };
        sessions.add(session("a", "p"), room).expect("room");
        assert!(sessions.add(session("b", "p"), room).is_err());
        let (settings, resume) = (ProxySettings::default(), ResumeSettings::default());
        assert!(sessions.expire(Duration::from_hours(1), &resume).is_empty());
        let open = sessions.all().remove(0);
        let reader = open.open_stream(&settings);
        std::thread::yield_now();
        assert!(sessions.expire(Duration::ZERO, &resume).is_empty(), "an open stream keeps its session");
        drop(reader);
        open.reader_left();
        while sessions.expire(Duration::ZERO, &resume).is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(sessions.count(), 0);
    }
}
