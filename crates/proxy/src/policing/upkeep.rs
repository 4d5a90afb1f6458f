//! What the gateway reads of servers by itself, so that policies have something to be about: each server's tools, at start,
//! when the server says that they have changed, and now and then. It does so in the background, a few servers at a time,
//! as a principal of its own, and only where policies are configured or definitions are pinned. What it read is kept in the
//! store, where operators see it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tollgate_catalog::{Item, ListKind};
use tollgate_mcp::{Limits, Message, compose, methods};
use tollgate_model::{
    Caller, ClientProfile, Code, Principal, PrincipalId, Proof, Refusal, Revision, ServerId, Stage, TenantId,
    Timestamp,
};
use tollgate_store::{Definitions as Stored, DefinitionsOf, Digest, List, Store};
use tollgate_upstream::{Audience, Origin, Server, ServerEvent};

use crate::gateway::{Gateway, Inner};
use crate::inbound::Inbound;
use crate::lists;
use crate::mailbox::Mailbox;
use crate::stages::record::{self, CallRecord};

/// How many servers are read at once.
const AT_ONCE: usize = 4;
/// How often a server is read although it says nothing of changes: it may have begun anew unheard.
const AGAIN: Duration = Duration::from_mins(5);
/// How soon a server is tried again that could not be read, at first.
const RETRY: Duration = Duration::from_secs(5);
/// How many of a server's instances are told apart of those that have said that its tools changed.
const TOLD_MAX: usize = 1024;
/// How often it is looked what is due.
const LOOK: Duration = Duration::from_secs(1);
/// How many bytes are kept of each of a server's lists that policies need not know. The rest of a longer one is left out.
const OTHERS_BYTES_MAX: usize = 4 << 20;

/// What is to be read when.
#[derive(Debug)]
pub(crate) struct Upkeep {
    servers: Mutex<HashMap<ServerId, Due>>,
    woken: Notify,
    room: Semaphore,
    store: Mutex<Option<Arc<dyn Store>>>,
    /// What was kept last of the lists that policies need not know.
    kept: Mutex<HashMap<(ServerId, List), Digest>>,
    /// Servers of which such a list was read while there was nowhere to keep it.
    unkept: Mutex<HashSet<ServerId>>,
}

#[derive(Debug, Default)]
struct Due {
    /// None while it is being read.
    at: Option<Instant>,
    failures: u32,
    /// What the server said of changes since it was read last. Whoever it concerns is told afterwards.
    told: Told,
}

/// That a server's tools have changed, as each of its instances said it: each concerns others.
type Told = HashMap<Origin, ServerEvent>;

impl Default for Upkeep {
    fn default() -> Self {
        Self {
            servers: Mutex::default(),
            woken: Notify::new(),
            room: Semaphore::new(AT_ONCE),
            store: Mutex::default(),
            kept: Mutex::default(),
            unkept: Mutex::default(),
        }
    }
}

impl Upkeep {
    /// A server says that its tools have changed.
    pub(crate) fn told(&self, event: ServerEvent) {
        let mut servers = self.lock();
        let due = servers.entry(event.server.clone()).or_default();
        due.at = Some(Instant::now());
        add(&mut due.told, event);
        drop(servers);
        self.woken.notify_one();
    }

    /// A server is to be read, though nobody waits to be told.
    pub(crate) fn is_due(&self, server: &ServerId) {
        self.lock().entry(server.clone()).or_default().at = Some(Instant::now());
        self.woken.notify_one();
    }

    /// Something may be due now.
    pub(crate) fn wake(&self) {
        self.woken.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ServerId, Due>> {
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What servers list is kept there. What was read too early for it is read again.
    pub(crate) fn keep_in(&self, store: Arc<dyn Store>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
        let unkept = std::mem::take(&mut *self.unkept());
        for server in &unkept {
            self.is_due(server);
        }
    }

    fn unkept(&self) -> MutexGuard<'_, HashSet<ServerId>> {
        self.unkept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<(ServerId, List), Digest>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is due now, of these servers. It counts as being read from then on.
    fn take(&self, servers: &[Server]) -> Vec<(Server, Told)> {
        let mut all = self.lock();
        all.retain(|id, _| servers.iter().any(|server| server.id() == id));
        self.kept().retain(|(id, _), _| all.contains_key(id));
        self.unkept().retain(|id| all.contains_key(id));
        let now = Instant::now();
        let mut taken = Vec::new();
        for server in servers {
            let due =
                all.entry(server.id().clone()).or_insert_with(|| Due { at: Some(now), ..Due::default() });
            if due.at.is_some_and(|at| at <= now) {
                due.at = None;
                taken.push((server.clone(), std::mem::take(&mut due.told)));
            }
        }
        taken
    }

    /// A server was read, or could not be.
    fn done(&self, gateway: &Gateway, server: &ServerId, ok: bool) {
        let mut all = self.lock();
        let Some(due) = all.get_mut(server) else { return };
        due.failures = if ok { 0 } else { due.failures.saturating_add(1) };
        let wait = if ok { AGAIN } else { (RETRY * 2_u32.pow(due.failures.min(6) - 1)).min(AGAIN) };
        if due.at.is_none() {
            due.at = Some(Instant::now() + jittered(gateway, wait));
        }
    }
}

/// Adds what one instance said. Of more than are told apart, what is said concerns everyone.
fn add(told: &mut Told, mut event: ServerEvent) {
    if told.len() >= TOLD_MAX && !told.contains_key(&event.origin) {
        told.clear();
        event.audience = Audience::Everyone;
    }
    // One that stands for all goes on doing so.
    told.entry(event.origin.clone()).or_insert(event);
}

/// Three to five quarters of it, so that many gateways do not ask together.
fn jittered(gateway: &Gateway, wait: Duration) -> Duration {
    let random = gateway.sealer().random().map_or(128, |bytes| bytes[0]);
    wait * 3 / 4 + wait * u32::from(random) / 512
}

impl Gateway {
    /// Keeps what is known of servers' tools in this store, takes from it what was known before, and reads what nothing is
    /// known of, waiting for it so long at most. What is missing then is read in the background.
    pub async fn learn_tools(&self, store: Option<Arc<dyn Store>>, wait: Duration) {
        let upkeep = self.policing().upkeep();
        if let Some(store) = store {
            upkeep.keep_in(store);
        }
        let taken = upkeep.take(&served(self));
        let reading = taken.into_iter().map(|(server, told)| visit(self.clone(), server, told));
        let reading: Vec<_> = reading.map(|visit| tokio::spawn(visit)).collect();
        let _ = timeout(wait, join_all(reading)).await;
    }

    /// What was known of servers' tools, from a store alone.
    pub async fn recall_tools(&self, store: &Arc<dyn Store>) {
        let snapshot = self.snapshot();
        join_all(snapshot.servers().iter().map(|server| restore(self, &**store, server.id()))).await;
    }
}

/// The servers that somebody may use. What is known of the others stays, and is read again once they may be used.
fn served(gateway: &Gateway) -> Vec<Server> {
    let snapshot = gateway.snapshot();
    let is_served = |server: &&Server| !gateway.blocks().stops(&snapshot, server.id());
    snapshot.servers().iter().filter(is_served).cloned().collect()
}

/// Reads what is due, for as long as there is a gateway.
pub(crate) async fn run(gateway: Weak<Inner>) {
    loop {
        let Some(now) = gateway.upgrade().map(Gateway::of) else { return };
        let policing = now.shared_policing();
        if (policing.is_on() || now.pins().is_on()) && !now.is_draining() {
            for (server, told) in policing.upkeep().take(&served(&now)) {
                tokio::spawn(visit(now.clone(), server, told));
            }
        }
        drop(now);
        tokio::select! {
            () = sleep(LOOK) => {}
            () = policing.upkeep().woken.notified() => {}
        }
    }
}

/// Reads one server, and tells whom it concerns what the server said of it.
async fn visit(gateway: Gateway, server: Server, told: Told) {
    let upkeep = gateway.policing().upkeep();
    let Ok(_room) = upkeep.room.acquire().await else { return };
    let (definitions, id) = (gateway.policing().definitions(), server.id());
    if let (false, Some(store)) = (definitions.has_listed(id), upkeep.store()) {
        restore(&gateway, &*store, id).await;
    }
    let read = read(&gateway, &server).await;
    upkeep.done(&gateway, id, read.is_ok());
    let changed = match read {
        Ok(items) => {
            let changed = definitions.replace(id, &items);
            record::learnt(&gateway, id);
            read_others(&gateway, &server).await;
            changed
        }
        Err(refusal) => {
            tracing::debug!(server = %id.label(), %refusal, "the tools could not be read for the sake of policies");
            if refusal.code == Code::UpstreamAuth {
                record::upkeep(&gateway, id, Some(refusal.code.row().name), []);
            }
            Changed::Nothing
        }
    };
    match changed {
        // Nobody compiles policies again, and tells of it then.
        _ if !gateway.policing().is_on() => {
            keep(&gateway).await;
            for event in told.values() {
                gateway.tell_changed(ListKind::Tools, event);
            }
        }
        Changed::Looks => gateway.look_after_views(),
        // It may be so for some callers only.
        Changed::Nothing => told.values().for_each(|event| gateway.tell_changed(ListKind::Tools, event)),
        // Whoever sees something else is told once the policies have been compiled again.
        Changed::Definitions => {}
    }
}

/// What is different of a server's tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// What policies are written about.
    Definitions,
    /// Only what policies do not see.
    Looks,
    /// Nothing.
    Nothing,
}

impl Changed {
    /// Both together.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Definitions, _) | (_, Self::Definitions) => Self::Definitions,
            (Self::Looks, _) | (_, Self::Looks) => Self::Looks,
            _ => Self::Nothing,
        }
    }
}

async fn read(gateway: &Gateway, server: &Server) -> Result<Vec<Item>, Refusal> {
    let inbound = inbound(gateway, server)
        .ok_or_else(|| Refusal::new(Stage::Resolve, Code::Internal, "nobody is served this server"))?;
    lists::own_reading(gateway, &inbound, server, ListKind::Tools).await
}

/// Reads what policies need not know, so that it is known whose view of it a change of policies changes, and operators are shown
/// it.
async fn read_others(gateway: &Gateway, server: &Server) {
    let Some(inbound) = inbound(gateway, server) else { return };
    for (kind, list) in [
        (ListKind::Prompts, List::Prompts),
        (ListKind::Resources, List::Resources),
        (ListKind::Templates, List::ResourceTemplates),
    ] {
        match lists::own_reading(gateway, &inbound, server, kind).await {
            Ok(items) => keep_other(gateway, server.id(), list, &items).await,
            Err(refusal) => {
                tracing::debug!(server = %server.id().label(), %refusal, "a list could not be read");
            }
        }
    }
}

/// Keeps a list as it was read, if it is not what was kept last.
async fn keep_other(gateway: &Gateway, server: &ServerId, list: List, items: &[Item]) {
    let upkeep = gateway.policing().upkeep();
    let store = {
        // Whoever brings the store looks at these afterwards.
        let mut unkept = upkeep.unkept();
        let store = upkeep.store();
        if store.is_none() {
            unkept.insert(server.clone());
        }
        store
    };
    let Some(store) = store else { return };
    let mut room = OTHERS_BYTES_MAX;
    let fits = |item: &&Item| {
        let left = room.checked_sub(item.original().len());
        room = left.unwrap_or(room);
        left.is_some()
    };
    let items = items.iter().take_while(fits).map(|item| item.original().clone()).collect();
    let now = Stored::new(DefinitionsOf { list, ..of(server) }, items, Timestamp::now());
    let key = (server.clone(), list);
    if upkeep.kept().get(&key) == Some(&now.digest) {
        return;
    }
    match store.keep_definitions(&now).await {
        Ok(_) => _ = upkeep.kept().insert(key, now.digest),
        Err(error) => {
            tracing::warn!(server = %server.label(), %error, "what it lists could not be kept");
        }
    }
}

/// A request for the server's tools, of the gateway's own.
pub(crate) fn inbound(gateway: &Gateway, server: &Server) -> Option<Inbound> {
    let snapshot = gateway.snapshot();
    let tenant = snapshot.tenants().find(|tenant| server.id().holder().serves(tenant))?.clone();
    let endpoint = Arc::clone(snapshot.endpoint(&tenant, Some(server.name()))?);
    let client = ClientProfile {
        revision: Revision::LATEST,
        capabilities: Bytes::from_static(b"{}"),
        info: Some(Bytes::from_static(crate::hello::OWN_INFO.as_bytes())),
    };
    let caller = Caller { who: who(tenant), session: None, client: Arc::new(client), source: None };
    let message = compose::request(b"0", methods::TOOLS_LIST, Some(b"{}"));
    let message = Message::parse(message, &Limits::default()).ok()?;
    let (id, outlet) = (Bytes::from_static(b"0"), Mailbox::new(1));
    outlet.close();
    let as_of = gateway.standing().mark();
    let (param_headers, session) = (None, None);
    let record = Arc::new(CallRecord::begin());
    Some(Inbound { message, id, caller, endpoint, snapshot, param_headers, outlet, session, as_of, record })
}

/// The gateway itself. No policy is asked about it: it reads lists of tools, and does nothing else.
fn who(tenant: TenantId) -> Arc<Principal> {
    Arc::new(Principal::new(tenant, PrincipalId::new("tollgate:upkeep"), Proof::Local))
}

fn of(server: &ServerId) -> DefinitionsOf {
    DefinitionsOf {
        tenant: server.holder().tenant().cloned(),
        server: server.name().clone(),
        list: List::Tools,
    }
}

async fn restore(gateway: &Gateway, store: &dyn Store, server: &ServerId) {
    match store.definitions(&of(server)).await {
        Ok(Some(stored)) => gateway.policing().definitions().restore(server, &stored.items),
        Ok(None) => {}
        Err(error) => {
            tracing::warn!(server = %server.label(), %error, "what was known of the tools could not be read");
        }
    }
}

/// Keeps what has changed since it was kept last.
pub(crate) async fn keep(gateway: &Gateway) {
    let Some(store) = gateway.policing().upkeep().store() else { return };
    let definitions = gateway.policing().definitions();
    for server in definitions.take_news() {
        let kept = Stored::new(of(&server), definitions.items(&server), Timestamp::now());
        if let Err(error) = store.keep_definitions(&kept).await {
            tracing::warn!(server = %server.label(), %error, "what is known of the tools could not be kept");
            definitions.is_news(&server);
        }
    }
}
