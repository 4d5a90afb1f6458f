//! The gateway: what is configured now, and what it remembers.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tollgate_catalog::ListKind;
use tollgate_identity::Identity;
use tollgate_ledger::{Ledger, WhenUnwritable};
use tollgate_limits::Limits;
use tollgate_mcp::{Message, Segments, methods};
use tollgate_model::{Principal, Refusal, ServerId, TenantId, Timestamp};
use tollgate_policy::PolicySet;
use tollgate_store::{Approvals, Confirmed, Store};
use tollgate_telemetry::counters;
use tollgate_upstream::{Audience, EventKind, Isolation, Question, Server, ServerEvent, ServerStatus};

use crate::approving::{self, Approvings};
use crate::aside::Aside;
use crate::cache::{Cache, Part};
use crate::connections::Connections;
use crate::handling::Hints;
use crate::index::{CutNames, Indexes, ToolIndex, UriIndex};
use crate::input::{self, ParkedCalls};
use crate::load::Load;
use crate::logging;
use crate::mailbox::{Mailbox, Topic};
use crate::mirror::Mirrors;
use crate::names::Names;
use crate::pinning::{self, Pinning};
use crate::policing::{self, Policing};
use crate::resource::Bound;
use crate::schemas::Schemas;
use crate::seal::Sealer;
use crate::session::{Session, Sessions};
use crate::setup::Setup;
use crate::shares::Room;
use crate::snapshot::{GatewayError, Snapshot, sees_other_things};
use crate::stages::block::{self, Blocks};
use crate::stages::guard::{self, Desk, Said};
use crate::stages::record::{self, Strangers};
use crate::stages::{limits, policy};
use crate::standing::Standing;
use crate::subscriptions::{self, Fanout};
use crate::tasks::{self, Tasks};

/// How many unread events of all servers together may wait. Those of one server may take up an eighth of it.
const EVENTS_MAX: usize = 8192;
/// How often it is looked whether the stored state can still be relied on.
const CONFIRM_EVERY: Duration = Duration::from_millis(500);
/// How long a question beside all calls waits for a client that only begins, or reads no stream just now.
const CLIENT_WAIT: Duration = Duration::from_secs(5);
/// How often idle sessions are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(10);
/// How long giving back what was taken of quotas may take at the end.
const GIVE_BACK_MAX: Duration = Duration::from_secs(2);
/// How long a server that is configured no more can still be reached by requests that began before.
const REACHED_MAX: Duration = Duration::from_secs(2);

/// The gateway. Cheap to clone; all clones are the same.
#[derive(Clone)]
pub struct Gateway(Arc<Inner>);

pub(crate) struct Inner {
    snapshot: ArcSwap<Snapshot>,
    sessions: Sessions,
    connections: Connections,
    sealer: Sealer,
    cut_names: CutNames,
    uri_indexes: Indexes<UriIndex>,
    tool_indexes: Indexes<ToolIndex>,
    mirrors: Mirrors,
    /// What trusted servers hint of their tools.
    hints: Hints,
    /// What tools declare that they take and give.
    schemas: Schemas,
    /// Results that are kept for their callers to read.
    aside: Aside,
    /// How much there is to do.
    load: Load,
    names: Names,
    parked: ParkedCalls,
    tasks: Tasks,
    events: mpsc::Sender<ServerEvent>,
    fanout: Arc<Fanout>,
    running: TaskTracker,
    /// Streams that only wait end.
    drain: CancellationToken,
    /// New requests are refused.
    refuses: AtomicBool,
    reloads: watch::Sender<()>,
    policing: Arc<Policing>,
    ledger: Ledger,
    strangers: Strangers,
    limits: Limits,
    local: Arc<Principal>,
    standing: Standing,
    blocks: Blocks,
    pins: Arc<Pinning>,
    bound: OnceLock<Bound>,
    cache: Cache,
    /// What guards say of servers' definitions.
    guarded: guard::Definitions,
    approvals: Approvings,
    /// What the names stand for that callers were given.
    pseudonyms: guard::PseudonymTable,
    /// Whether the client on standard input is served, which proves nothing and needs not.
    on_stdio: AtomicBool,
}

/// What operators see of a running gateway.
#[derive(Debug, Clone)]
pub struct Overview {
    /// How many legacy sessions are open.
    pub sessions: usize,
    /// How many tasks are followed on behalf of clients that cannot, or have their questions kept.
    pub tasks_followed: usize,
    /// Whether the gateway is stopping.
    pub draining: bool,
    /// Each server in the order of the configuration.
    pub servers: Vec<(ServerId, ServerStatus)>,
    /// Whether calls are refused while nothing can be recorded, where nothing else is said of their endpoint or server.
    pub refuses_unrecorded: bool,
}

impl Gateway {
    /// A gateway that serves this configuration. No server is reached yet. Must be called within a tokio runtime.
    pub fn new(setup: Setup) -> Result<Self, GatewayError> {
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let ledger = setup.ledger.clone();
        let limits = Limits::new(&setup.limits);
        let cache = Cache::new(&setup.settings.cache);
        let snapshot = Snapshot::new(setup, &[], &events)?;
        let gateway = Self(Arc::new(Inner {
            snapshot: ArcSwap::from_pointee(snapshot),
            sessions: Sessions::new(),
            connections: Connections::default(),
            sealer: Sealer::new()?,
            cut_names: CutNames::default(),
            uri_indexes: Indexes::default(),
            tool_indexes: Indexes::default(),
            mirrors: Mirrors::default(),
            hints: Hints::default(),
            schemas: Schemas::default(),
            aside: Aside::default(),
            load: Load::default(),
            names: Names::default(),
            parked: ParkedCalls::default(),
            tasks: Tasks::default(),
            events,
            fanout: Arc::default(),
            running: TaskTracker::new(),
            drain: CancellationToken::new(),
            refuses: AtomicBool::new(false),
            reloads: watch::Sender::new(()),
            policing: Arc::default(),
            ledger,
            strangers: Strangers::default(),
            limits,
            local: Arc::new(Principal::local()),
            standing: Standing::default(),
            blocks: Blocks::default(),
            pins: Arc::default(),
            bound: OnceLock::new(),
            cache,
            guarded: guard::Definitions::default(),
            approvals: Approvings::default(),
            pseudonyms: guard::PseudonymTable::default(),
            on_stdio: AtomicBool::new(false),
        }));
        tokio::spawn(follow_what_is_taken_back(Arc::downgrade(&gateway.0), gateway.reloads()));
        tokio::spawn(follow_events(Arc::downgrade(&gateway.0), inbox));
        tokio::spawn(limits::tell(Arc::downgrade(&gateway.0), gateway.limits().notices()));
        tokio::spawn(sweep(Arc::downgrade(&gateway.0)));
        tokio::spawn(record::follow_changes(Arc::downgrade(&gateway.0), gateway.reloads()));
        tokio::spawn(policing::follow(Arc::downgrade(&gateway.0)));
        tokio::spawn(policing::run(Arc::downgrade(&gateway.0)));
        tokio::spawn(pinning::run(Arc::downgrade(&gateway.0)));
        gateway.take_pins(true);
        Ok(gateway)
    }

    /// Serves another configuration from now on. Servers whose settings did not change keep their sessions and
    /// processes; requests under way on the others may end within `grace`. On an error nothing changes.
    pub fn apply(&self, setup: Setup, grace: Duration) -> Result<(), GatewayError> {
        let before = self.snapshot();
        let limits = setup.limits.clone();
        let after = Snapshot::new(setup, before.servers(), &self.0.events)?;
        self.0.limits.apply(&limits);
        self.0.cache.apply(&after.settings.cache);
        let is_kept = |server: &Server| after.servers().iter().any(|kept| kept.is(server));
        let gone: Vec<Server> = before.servers().iter().filter(|server| !is_kept(server)).cloned().collect();
        let after = Arc::new(after);
        self.0.snapshot.store(Arc::clone(&after));
        self.0.uri_indexes.clear();
        self.0.tool_indexes.clear();
        let is_judged_alike = before.guards.define_as(&after.guards);
        if !is_judged_alike {
            self.forget_definitions(&after);
        }
        for server in gone {
            self.0.cache.forget(server.number());
            let released = before.released();
            self.0.running.spawn(async move {
                // Requests that began with it may be about to reach the server.
                let _ = tokio::time::timeout(grace.min(REACHED_MAX), released).await;
                server.stop(grace).await;
            });
        }
        for session in self.0.sessions.all() {
            let (tenant, endpoint) = (session.caller.tenant(), session.endpoint.as_ref());
            if !is_judged_alike || sees_other_things(&before, &after, tenant, endpoint) {
                for kind in [ListKind::Tools, ListKind::Prompts, ListKind::Resources] {
                    tell_list(&session, kind);
                }
                if !session.subscriptions.is_empty() {
                    self.0.running.spawn(subscriptions::renew(self.clone(), session));
                }
            }
        }
        self.take_pins(true);
        self.look_again();
        self.0.reloads.send_replace(());
        record::changed(self, "configuration.applied", [("servers", after.servers().len().into())]);
        Ok(())
    }

    /// What was learnt of servers' definitions was judged by other guards.
    fn forget_definitions(&self, snapshot: &Snapshot) {
        self.0.guarded.clear();
        for server in snapshot.servers() {
            for part in [Part::Tools, Part::Prompts, Part::Resources] {
                self.0.cache.changed(server.number(), part);
            }
        }
    }

    /// Begins to stop: new requests are refused, and streams that only wait are ended, so that connections can close.
    pub fn begin_drain(&self) {
        self.0.refuses.store(true, Ordering::Release);
        self.begin_leave();
        // No retry can come any more.
        self.0.parked.clear();
        self.0.tasks.stop();
    }

    /// Another gateway serves in place of this one: streams that only wait are ended, so that clients open them there. Whoever
    /// still asks here is served.
    pub fn begin_leave(&self) {
        self.0.drain.cancel();
        for session in self.0.sessions.all() {
            session.close_when_idle();
        }
        for connection in self.0.connections.all() {
            connection.close_when_idle();
        }
    }

    /// Ends everything: requests under way get `grace`, then processes are stopped and reaped, and sessions with
    /// servers are ended.
    pub async fn stop(&self, grace: Duration) {
        self.begin_drain();
        self.0.running.close();
        let started = tokio::time::Instant::now();
        // What is not done by then is cut off below, when its server stops.
        let _ = tokio::time::timeout(grace, self.0.running.wait()).await;
        let left = grace.saturating_sub(started.elapsed());
        let snapshot = self.snapshot();
        futures_util::future::join_all(snapshot.servers().iter().map(|server| server.stop(left))).await;
        for session in self.0.sessions.all() {
            record::session_ended(self, &session, "stopped");
        }
        self.strangers().record(self.ledger(), None);
        // What does not reach the store in time is lost for its window.
        let _ = tokio::time::timeout(GIVE_BACK_MAX, self.limits().settle_up(true)).await;
    }

    /// What operators see.
    pub fn overview(&self) -> Overview {
        let snapshot = self.snapshot();
        let servers =
            snapshot.servers().iter().map(|server| (server.id().clone(), server.status())).collect();
        Overview {
            sessions: self.0.sessions.count(),
            tasks_followed: self.0.tasks.followed(),
            draining: self.refuses(),
            servers,
            refuses_unrecorded: snapshot.settings.unwritable.otherwise == WhenUnwritable::Refuse,
        }
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Self {
        Self(inner)
    }

    pub(crate) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.0.snapshot.load_full()
    }

    pub(crate) fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    pub(crate) fn connections(&self) -> &Connections {
        &self.0.connections
    }

    pub(crate) fn sealer(&self) -> &Sealer {
        &self.0.sealer
    }

    pub(crate) fn cut_names(&self) -> &CutNames {
        &self.0.cut_names
    }

    pub(crate) fn uri_indexes(&self) -> &Indexes<UriIndex> {
        &self.0.uri_indexes
    }

    pub(crate) fn tool_indexes(&self) -> &Indexes<ToolIndex> {
        &self.0.tool_indexes
    }

    pub(crate) fn names(&self) -> &Names {
        &self.0.names
    }

    pub(crate) fn load(&self) -> &Load {
        &self.0.load
    }

    pub(crate) fn aside(&self) -> &Aside {
        &self.0.aside
    }

    pub(crate) fn schemas(&self) -> &Schemas {
        &self.0.schemas
    }

    pub(crate) fn hints(&self) -> &Hints {
        &self.0.hints
    }

    pub(crate) fn mirrors(&self) -> &Mirrors {
        &self.0.mirrors
    }

    pub(crate) fn parked(&self) -> &ParkedCalls {
        &self.0.parked
    }

    pub(crate) fn policing(&self) -> &Policing {
        &self.0.policing
    }

    /// The same, for whoever must not keep the gateway.
    pub(crate) fn shared_policing(&self) -> Arc<Policing> {
        Arc::clone(&self.0.policing)
    }

    /// Whether policies decide; otherwise whoever is let in may call.
    pub fn decides_by_policies(&self) -> bool {
        self.0.policing.is_on()
    }

    /// The policies that decide on a tenant's callers just now; none where it has none, and may do nothing, or where no policy
    /// decides.
    pub fn policies_of(&self, tenant: &TenantId) -> Option<Arc<PolicySet>> {
        self.0.policing.rules().sets()?.get(tenant).cloned()
    }

    /// Where everything is recorded.
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// How often strangers were refused just now.
    pub(crate) fn strangers(&self) -> &Strangers {
        &self.0.strangers
    }

    /// How much is allowed.
    pub fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What is pinned of servers' definitions.
    pub(crate) fn pins(&self) -> &Pinning {
        &self.0.pins
    }

    /// The same, for whoever must not keep the gateway.
    pub(crate) fn shared_pins(&self) -> Arc<Pinning> {
        Arc::clone(&self.0.pins)
    }

    pub(crate) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.0.drain.is_cancelled()
    }

    /// Whether new requests are refused, as the gateway stops.
    pub(crate) fn refuses(&self) -> bool {
        self.0.refuses.load(Ordering::Acquire)
    }

    /// Waits until the gateway begins to stop.
    pub(crate) async fn draining(&self) {
        self.0.drain.cancelled().await;
    }

    /// Tells of every configuration that is applied from now on.
    pub(crate) fn reloads(&self) -> watch::Receiver<()> {
        self.0.reloads.subscribe()
    }

    pub(crate) fn fanout(&self) -> &Arc<Fanout> {
        &self.0.fanout
    }

    /// Runs a task that a stop waits for.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.running.spawn(task);
    }

    /// Says where the gateway listens, which names its endpoints where no public URL does. Only the first word counts.
    pub fn listens_at(&self, address: SocketAddr, tls: bool) {
        let _ = self.0.bound.set(Bound::new(address, tls));
    }

    pub(crate) fn bound(&self) -> Option<&Bound> {
        self.0.bound.get()
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.0.standing
    }

    /// What is kept of servers' answers.
    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// What guards say of servers' definitions.
    pub(crate) fn guarded_definitions(&self) -> &guard::Definitions {
        &self.0.guarded
    }

    /// What the names stand for that callers were given.
    pub(crate) fn pseudonyms(&self) -> &guard::PseudonymTable {
        &self.0.pseudonyms
    }

    /// What operators have stopped.
    pub(crate) fn blocks(&self) -> &Blocks {
        &self.0.blocks
    }

    /// Who waits for whose approval.
    pub(crate) fn approvals(&self) -> &Approvings {
        &self.0.approvals
    }

    /// Keeps approvals in this store. Until then whatever needs one is refused. Only the first call counts.
    pub fn approve_in(&self, store: Arc<dyn Store>) {
        self.0.approvals.keep_in(Arc::clone(&store) as Arc<dyn Approvals>);
        approving::begin_telling(self, store);
    }

    pub(crate) fn is_on_stdio(&self) -> bool {
        self.0.on_stdio.load(Ordering::Relaxed)
    }

    pub(crate) fn serves_stdio(&self) {
        self.0.on_stdio.store(true, Ordering::Relaxed);
    }

    /// Something may have been taken back: what is open, waits or is kept for whoever is no longer let in ends.
    pub(crate) fn look_again(&self) {
        let changed = self.take_blocks();
        self.limits().take_pauses(self.snapshot().identity.follower().now().pauses());
        self.take_pins(false);
        self.0.standing.look_again();
        for session in self.0.sessions.all() {
            let who = session.latest.load();
            if self.is_taken_back(&who) {
                self.end_session(&session, "taken_back");
            } else if block::admit(self, &who).is_err() {
                self.end_session(&session, "blocked");
            }
        }
        for connection in self.0.connections.all() {
            let who = connection.latest().load();
            if self.is_taken_back(&who) {
                connection.close(self);
            } else if block::admit(self, &who).is_err() {
                // Whoever waits for an answer is told first.
                connection.close_when_idle();
            }
        }
        self.0.parked.retain(|caller, about| {
            !self.is_taken_back(&caller.who) && block::stops(self, caller, Some(about)).is_none()
        });
        self.follow_blocks(&changed);
    }

    /// How callers are known now.
    pub fn identity(&self) -> Identity {
        self.snapshot().identity.clone()
    }

    /// Whoever calls while no identity is configured.
    pub(crate) fn local_caller(&self) -> Arc<Principal> {
        Arc::clone(&self.0.local)
    }

    /// Adds a session, if there is room. What its client sees now is what later views are compared with.
    pub(crate) fn add_session(&self, session: &Arc<Session>, room: Room) -> Result<(), Refusal> {
        let look = || session.sees(self.view(&session.caller, session.endpoint.as_ref()));
        let turns = self.policing().telling().turns();
        let _ = look();
        self.0.sessions.add(Arc::clone(session), room)?;
        if self.policing().telling().turns() != turns {
            // It has listed nothing yet.
            let _ = look();
        }
        Ok(())
    }

    /// Ends a session, here and at the servers that kept something for it. `why` goes on record.
    pub(crate) fn end_session(&self, session: &Arc<Session>, why: &'static str) {
        let Some(id) = &session.caller.session else { return };
        if self.0.sessions.remove(id).is_some() {
            self.forget(session, why);
        }
    }

    fn forget(&self, session: &Arc<Session>, why: &'static str) {
        let Some(id) = session.caller.session.clone() else { return };
        record::session_ended(self, session, why);
        self.0.pseudonyms.forget(&session.caller);
        session.subscriptions.clear();
        let servers: Vec<Server> = self.snapshot().servers().to_vec();
        self.0.running.spawn(async move {
            futures_util::future::join_all(servers.iter().map(|server| server.close_session(&id))).await;
        });
    }

    /// A server said something that belongs to no call.
    fn told(&self, event: ServerEvent) {
        self.outdates(&event);
        if self.0.blocks.stops(&self.snapshot(), &event.server) {
            return;
        }
        match event.kind {
            EventKind::ToolsChanged => {
                self.0.tool_indexes.changed(&event.server);
                self.0.tasks.tools_changed(&event.server);
                self.0.mirrors.changed(&event.server);
                self.0.hints.changed(&event.server);
                self.0.schemas.changed(&event.server);
                if self.0.policing.is_on() || self.0.pins.is_on() {
                    // Policies are about what the server's tools are now: that has to be known before anybody looks.
                    self.0.policing.upkeep().told(event);
                } else {
                    self.tell_changed(ListKind::Tools, &event);
                }
            }
            EventKind::PromptsChanged => {
                self.reads_again(&event.server);
                self.tell_changed(ListKind::Prompts, &event);
            }
            EventKind::ResourcesChanged => {
                self.reads_again(&event.server);
                self.0.uri_indexes.changed(&event.server);
                self.tell_changed(ListKind::Resources, &event);
            }
            EventKind::ResourceUpdated { uri, message } => {
                let told = message.as_deref().map(|message| self.inspected(&event.server, message));
                let message = match &told {
                    Some(Some(message)) => Some(&**message),
                    Some(None) => return,
                    None => None,
                };
                self.0.fanout.updated(&(event.server, event.origin), &uri, message);
            }
            EventKind::TaskUpdated { task_id, message } => {
                let Some(message) = self.inspected(&event.server, &message) else { return };
                self.0.fanout.task_updated(&(event.server, event.origin), &task_id, &message);
            }
            EventKind::Notification(message) if message.method() == methods::NOTIFICATIONS_CANCELLED => {
                if let Some(session) = self.meant(&event.audience, &event.server) {
                    input::Asking::taken_back(&session, &event.server, &message);
                }
            }
            EventKind::Notification(message) => {
                if let Some(message) = self.inspected(&event.server, &message) {
                    self.pass_on(&event.audience, &event.server, &message);
                }
            }
            EventKind::Request(question) => self.ask_beside(&event.audience, event.server, question),
        }
    }

    /// A server is read soon, where its definitions are pinned.
    fn reads_again(&self, server: &ServerId) {
        if self.0.pins.is_on() {
            self.0.policing.upkeep().is_due(server);
        }
    }

    /// What a server says that belongs to no request, as it may be told.
    fn inspected<'m>(&self, server: &ServerId, message: &'m Message) -> Option<Cow<'m, Message>> {
        let snapshot = self.snapshot();
        let tenant = server.holder().tenant().cloned().unwrap_or_default();
        // Nobody can say whose request it is about.
        let words = policy::redactions_of(self, &snapshot.guards, server.holder().tenant());
        let desk = Desk::beside(self, &snapshot.guards, (&tenant, None), (server, None)).redacting(&words);
        match desk.said(server, message) {
            Said::AsItIs => Some(Cow::Borrowed(message)),
            Said::Changed(message) => Some(Cow::Owned(*message)),
            Said::Never => None,
        }
    }

    /// What is kept of what a server says that changed is not given out any more, before anybody hears of it.
    fn outdates(&self, event: &ServerEvent) {
        let snapshot = self.snapshot();
        let Some(server) = snapshot.server_of(&event.server).map(Server::number) else { return };
        match &event.kind {
            EventKind::ToolsChanged => self.0.cache.changed(server, Part::Tools),
            EventKind::PromptsChanged => self.0.cache.changed(server, Part::Prompts),
            EventKind::ResourcesChanged => self.0.cache.changed(server, Part::Resources),
            EventKind::ResourceUpdated { uri, .. } => {
                self.0.cache.updated(server, subscriptions::whole_and_parents(uri));
            }
            EventKind::TaskUpdated { .. } | EventKind::Notification(_) | EventKind::Request(_) => {}
        }
    }

    /// A server told that one of its lists changed.
    pub(crate) fn tell_changed(&self, kind: ListKind, event: &ServerEvent) {
        let snapshot = self.snapshot();
        for session in self.0.sessions.all() {
            let (tenant, endpoint) = (session.caller.tenant(), session.endpoint.as_ref());
            if concerns(&event.audience, &session)
                && snapshot.shows(tenant, endpoint, kind, &event.server)
                && policing::sees(self, &session.caller_now(), endpoint, event.server.name())
            {
                tell_list(&session, kind);
            }
        }
        let spot = (event.server.clone(), event.origin.clone());
        self.0.fanout.list_changed(kind, method_of(kind), |caller, endpoint, spots| {
            // What everyone shares need not be the very instance that is listened to.
            (event.audience == Audience::Everyone || spots.contains(&spot))
                && snapshot.shows(caller.tenant(), endpoint, kind, &event.server)
                && policing::sees(self, caller, endpoint, event.server.name())
        });
    }

    /// Brings a legacy server's notification to the one session that it can be meant for. What an instance says that
    /// callers of several principals share may be meant for any of them, so nobody gets it.
    fn pass_on(&self, audience: &Audience, server: &ServerId, message: &Message) {
        let is_log = message.method() == methods::NOTIFICATIONS_MESSAGE;
        let send = |session: &Session| {
            if is_log && session.log_level().is_some_and(|wanted| !logging::reaches(message, wanted)) {
                return;
            }
            if tasks::speaks_of_a_task(message) {
                if let Some(told) = tasks::notification(self, &session.caller, server, message) {
                    session.send(told);
                }
            } else {
                session.send(Segments::from(Bytes::copy_from_slice(message.bytes())));
            }
        };
        if let Some(session) = self.meant(audience, server) {
            send(&session);
        }
    }

    /// Brings a legacy server's request that belongs to no call to the one session that it can be meant for.
    fn ask_beside(&self, audience: &Audience, server: ServerId, question: Arc<Question>) {
        let settings = &self.snapshot().settings;
        let (open_max, wait) = (settings.in_flight_max, settings.input_timeout);
        let (gateway, audience) = (self.clone(), audience.clone());
        tokio::spawn(async move {
            let reached = tokio::select! {
                reached = gateway.reached(&audience, &server) => reached,
                () = question.given_up() => None,
            };
            // Without anybody the server hears so as its question is dropped.
            let Some((session, stream)) = reached else { return };
            input::ask_beside(gateway, session, stream, server, question, open_max, wait).await;
        });
    }

    /// The one session whose client can be asked what belongs to no call, and the stream to ask it on. Many servers ask for
    /// roots as soon as they are greeted, which is while their client only begins: for a moment it is waited for.
    async fn reached(&self, audience: &Audience, server: &ServerId) -> Option<(Arc<Session>, Mailbox)> {
        let reaching = async {
            loop {
                let added = self.0.sessions.added();
                if let Audience::Session(id) = audience
                    && self.0.sessions.of(id).is_none()
                {
                    added.await;
                    continue;
                }
                let session = self.meant(audience, server)?;
                let reached = session.reached();
                if let Some(stream) = session.to_ask_beside_now() {
                    return Some((Arc::clone(&session), stream));
                }
                reached.await;
            }
        };
        if let Ok(reached) = tokio::time::timeout(CLIENT_WAIT, reaching).await {
            return reached;
        }
        // Its client may still come back to a stream whose connection has gone.
        let session = self.meant(audience, server)?;
        let stream = session.to_ask_beside()?;
        Some((session, stream))
    }

    /// The one session that an instance of this audience can speak to. What is one principal's serves its clients without
    /// sessions alone, unless the operator lets its sessions share it.
    fn meant(&self, audience: &Audience, server: &ServerId) -> Option<Arc<Session>> {
        let snapshot = self.snapshot();
        let is_of = |session: &Arc<Session>| {
            let tenant = session.caller.tenant();
            let endpoint = snapshot.endpoint(tenant, session.endpoint.as_ref());
            let name = snapshot.name_of(tenant, server);
            name.is_some_and(|name| endpoint.is_some_and(|endpoint| endpoint.servers().contains(name)))
                && block::server(self, &session.caller_now(), server.name()).is_ok()
        };
        match audience {
            Audience::Session(id) => self.0.sessions.of(id).filter(is_of),
            Audience::Principal(..) => {
                let settings = snapshot.server_of(server)?.settings();
                if settings.isolation != Some(Isolation::Principal) {
                    return None;
                }
                let own = |session: &Arc<Session>| concerns(audience, session) && is_of(session);
                let mut sessions = self.0.sessions.all().into_iter().filter(own);
                let first = sessions.next()?;
                sessions.next().is_none().then_some(first)
            }
            Audience::Tenant(_) | Audience::Everyone => None,
        }
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").finish_non_exhaustive()
    }
}

/// The server's tasks end with the gateway: they hold it weakly.
async fn follow_events(gateway: Weak<Inner>, mut inbox: mpsc::Receiver<ServerEvent>) {
    while let Some(event) = inbox.recv().await {
        let Some(inner) = gateway.upgrade() else { return };
        event.is_taken();
        Gateway(inner).told(event);
    }
}

/// Looks again whenever the stored state has changed, or cannot be relied on any longer.
async fn follow_what_is_taken_back(gateway: Weak<Inner>, mut reloads: watch::Receiver<()>) {
    let look_again = || gateway.upgrade().map(|inner| Gateway(inner).look_again());
    loop {
        // Another configuration may bring another follower.
        let Some(inner) = gateway.upgrade() else { return };
        let follower = Gateway(inner).snapshot().identity.follower().clone();
        let mut changes = follower.changes();
        // What came in between.
        look_again();
        let mut ticks = tokio::time::interval(CONFIRM_EVERY);
        let mut reliable = true;
        loop {
            tokio::select! {
                Ok(()) = changes.changed() => drop(look_again()),
                _ = ticks.tick() => {
                    let before = std::mem::replace(&mut reliable, follower.confirmed() != Confirmed::TooOld);
                    if before != reliable {
                        look_again();
                    }
                }
                reloaded = reloads.changed() => match reloaded {
                    Ok(()) => break,
                    Err(_) => return,
                },
            }
        }
    }
}

async fn sweep(gateway: Weak<Inner>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    loop {
        ticks.tick().await;
        let Some(inner) = gateway.upgrade() else { return };
        let gateway = Gateway(inner);
        let snapshot = gateway.snapshot();
        for session in gateway.sessions().expire(snapshot.settings.session_idle, &snapshot.settings.resume) {
            gateway.forget(&session, "idle");
        }
        gateway.strangers().record(gateway.ledger(), Some(Timestamp::now()));
        gateway.limits().settle_up(false).await;
        gateway.limits().sweep();
        gateway.pseudonyms().sweep(snapshot.guards.pseudonyms().idle);
        gateway.cache().sweep(|number| snapshot.servers().iter().any(|server| server.number() == number));
        counters::limit_counters(gateway.limits().counters(), gateway.limits().shared_count());
    }
}

fn concerns(audience: &Audience, session: &Session) -> bool {
    let caller = &session.caller;
    match audience {
        Audience::Everyone => true,
        Audience::Tenant(tenant) => tenant == caller.tenant(),
        Audience::Principal(tenant, principal) => {
            tenant == caller.tenant() && principal == caller.principal()
        }
        Audience::Session(id) => caller.session.as_ref() == Some(id),
    }
}

/// Tells a legacy session that a list has changed. News of each list waits once.
pub(crate) fn tell_list(session: &Session, kind: ListKind) {
    let topic = match kind {
        ListKind::Tools => 1,
        ListKind::Prompts => 2,
        ListKind::Resources | ListKind::Templates => 3,
    };
    session.send_latest(Topic(topic), list_changed(kind), usize::MAX);
}

fn list_changed(kind: ListKind) -> Segments {
    let method = method_of(kind);
    Segments::from(Bytes::from(format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\"}}")))
}

/// The notifications that a list has changed: tools, prompts, resources.
pub(crate) const LISTS_CHANGED: [&str; 3] = [
    methods::NOTIFICATIONS_TOOLS_LIST_CHANGED,
    methods::NOTIFICATIONS_PROMPTS_LIST_CHANGED,
    methods::NOTIFICATIONS_RESOURCES_LIST_CHANGED,
];

pub(crate) fn method_of(kind: ListKind) -> &'static str {
    match kind {
        ListKind::Tools => methods::NOTIFICATIONS_TOOLS_LIST_CHANGED,
        ListKind::Prompts => methods::NOTIFICATIONS_PROMPTS_LIST_CHANGED,
        ListKind::Resources | ListKind::Templates => methods::NOTIFICATIONS_RESOURCES_LIST_CHANGED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ProxySettings;
    use tollgate_model::{Caller, ClientProfile, Revision, ServerName, SessionId};
    use tollgate_upstream::{HttpSettings, ServerSettings, Transport};

    /// Modern clients have no sessions, and share what is their principal's. A legacy client of the same principal has
    /// its own.
    #[tokio::test]
    async fn what_is_said_to_clients_without_sessions_is_meant_for_no_session() {
        let name = ServerName::new("files").expect("a name");
        let meant = |isolation: Option<Isolation>| {
            let url = "http://127.0.0.1:9/mcp".parse().expect("a URL");
            let transport = Transport::Http(HttpSettings::new(url));
            let server = ServerSettings { isolation, ..ServerSettings::new(name.clone(), transport) };
            let id = server.id();
            let gateway =
                Gateway::new(Setup::new(ProxySettings::default(), vec![server], vec![])).expect("a gateway");
            let who = gateway.local_caller();
            let client = ClientProfile {
                revision: Revision::V2025_11_25,
                capabilities: Bytes::from_static(b"{}"),
                info: None,
            };
            let session = Some(SessionId::new("s"));
            let (tenant, principal) = (who.tenant.clone(), who.id.clone());
            let caller = Caller { who, session, client: Arc::new(client), source: None };
            gateway.sessions().add(Arc::new(Session::new(caller, None)), Room::UNBOUNDED).expect("room");
            gateway.meant(&Audience::Principal(tenant, principal), &id).is_some()
        };
        assert!(!meant(None));
        assert!(!meant(Some(Isolation::Session)));
        assert!(meant(Some(Isolation::Principal)), "here sessions share it");
    }
}
