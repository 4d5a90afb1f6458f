//! The instances of one server: who shares one, how many there are, and when they end.

mod alone;
mod desks;
mod halt;
mod health;
mod several;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tollgate_model::{Caller, Era, SessionId};

use crate::backoff::Backoff;
use crate::event::Source;
use crate::greet::{Beginning, begin_child, presumed};
use crate::key::{Canonical, Key, Scope};
use crate::link::Instance;
use crate::replica::Replica;
use crate::replicas::{Gate, Replicas, Wish};
use crate::seats::{Seat, Seats};
use crate::session::Introduction;
use crate::shared::{EraFact, Shared};
use crate::slot::{Held, Slot};
use crate::watch::Desk;
use crate::{Isolation, LegacySessions, Link, SettingsError, StdioSettings, Transport, UpstreamError};

/// How often what is found out on the way may change which instance is meant.
const TURNS_MAX: usize = 3;

type Entry = Arc<Slot<Arc<Instance>>>;
type Opened = Result<Arc<Instance>, UpstreamError>;

pub(crate) struct Registry {
    shared: Arc<Shared>,
    way: Way,
    backoff: Backoff,
    instances: Mutex<HashMap<Key, Entry>>,
    desks: Mutex<HashMap<Key, Arc<Desk>>>,
    seats: Seats,
    canonical: Canonical,
    tasks: TaskTracker,
    stop: CancellationToken,
    stopping: AtomicBool,
    halted: AtomicBool,
    sweeping: Once,
    _stop_on_drop: DropGuard,
}

/// How the server is reached.
enum Way {
    Http(Replicas),
    Child(StdioSettings),
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, SettingsError> {
        let settings = Arc::clone(&shared.settings);
        let way = match &settings.transport {
            Transport::Http(http) => Way::Http(Replicas::new(&shared, http, false)?),
            Transport::Sse(http) => Way::Http(Replicas::new(&shared, http, true)?),
            Transport::Stdio(stdio) => Way::Child(stdio.clone()),
        };
        let timeouts = &settings.timeouts;
        let own = Backoff::new(timeouts.backoff_min, timeouts.backoff_max);
        let backoff = match &way {
            // That nobody is there is remembered by the replica's circuit, for everyone.
            Way::Http(_) => own.beside_a_circuit(),
            Way::Child(_) => own,
        };
        let stop = CancellationToken::new();
        Ok(Self {
            shared,
            way,
            backoff,
            instances: Mutex::new(HashMap::new()),
            desks: Mutex::new(HashMap::new()),
            seats: Seats::default(),
            canonical: Canonical::default(),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            stopping: AtomicBool::new(false),
            halted: AtomicBool::new(false),
            sweeping: Once::new(),
            _stop_on_drop: stop.drop_guard(),
        })
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// The instance that may serve this caller. Stale: what was found out means another; ask again.
    async fn open(self: &Arc<Self>, caller: &Caller, wish: Wish) -> Opened {
        self.open_at(caller, Seat::COMMON, wish).await
    }

    /// A link for one request of this method: with an instance to itself, if it needs one.
    pub(crate) async fn open_for(
        self: &Arc<Self>,
        caller: &Caller,
        method: &str,
        mut wish: Wish,
    ) -> Result<Link, UpstreamError> {
        if let Some(instance) = self.modern_instance(&mut wish) {
            return Ok(Link::of(instance));
        }
        match self.alone(caller, method) {
            Some(how) => Box::pin(self.open_alone(caller, how, wish)).await,
            None => self.open_settled(caller, wish).await.map(Link::of),
        }
    }

    /// The instance at a seat, which only a legacy server has.
    async fn open_at(self: &Arc<Self>, caller: &Caller, seat: Seat, wish: Wish) -> Opened {
        if let Way::Http(replicas) = &self.way
            && let Some(instance) = replicas.only().and_then(Gate::modern)
        {
            return Ok(instance);
        }
        if self.stopping.load(Ordering::Relaxed) || self.is_halted() {
            return Err(UpstreamError::Stopping);
        }
        self.start_sweeping();
        match &self.way {
            Way::Http(replicas) => self.open_over_http(replicas, caller, seat, wish).await,
            Way::Child(settings) => {
                let expected = presumed(&self.shared);
                let (mut key, introduction) = self.key(caller, expected == EraFact::Modern);
                if expected != EraFact::Modern {
                    key.seat = seat;
                }
                let settings = settings.clone();
                let begin = move |beginning| begin_child(beginning, settings, expected);
                let instance = self.instance(&key, introduction, None, begin).await?;
                let instance = self.adopt(caller, &key, instance);
                self.attend(caller, &instance);
                Ok(instance)
            }
        }
    }

    /// The instance that serves this caller already.
    pub(crate) fn opened(&self, caller: &Caller) -> Option<Arc<Instance>> {
        if let Some(instance) = self.modern_instance(&mut Wish::default()) {
            return Some(instance);
        }
        let is_modern = match &self.way {
            Way::Http(_) => false,
            Way::Child(_) => presumed(&self.shared) == EraFact::Modern,
        };
        let (key, _) = self.key(caller, is_modern);
        self.held(&key).or_else(|| self.held_on_any_replica(&key))
    }

    /// The instance of this key, if it can be used.
    fn held(&self, key: &Key) -> Option<Arc<Instance>> {
        match self.instances().get(key)?.held() {
            Held::Ready(instance) if instance.is_usable() => Some(instance),
            _ => None,
        }
    }

    /// How many sessions, processes and modern origins are alive.
    pub(crate) fn live(&self) -> usize {
        let is_live = |entry: &&Entry| matches!(entry.held(), Held::Ready(instance) if instance.is_usable());
        let own = self.instances().values().filter(is_live).count();
        own + self.gates().iter().filter(|gate| gate.modern().is_some()).count()
    }

    /// The replicas, if it is reached over HTTP.
    pub(crate) fn gates(&self) -> &[Gate] {
        match &self.way {
            Way::Http(replicas) => &replicas.gates,
            Way::Child(_) => &[],
        }
    }

    /// When a failed start is tried again at the earliest.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        fn until<T>(held: &Held<T>) -> Option<Instant> {
            match held {
                Held::Failed { until } => Some(*until),
                _ => None,
            }
        }
        let instances = self.instances();
        let own = instances.values().filter_map(|entry| until(&entry.held()));
        let found = self.gates().iter().filter_map(|gate| until(&gate.found.held()));
        let now = Instant::now();
        let slots = own.chain(found).filter(|until| *until > now);
        let circuits = self.gates().iter().filter_map(|gate| gate.replica().circuit.until());
        slots.chain(circuits).chain(self.seats.next_try()).min()
    }

    pub(crate) fn close_session(&self, session: &SessionId) {
        for (_, desk) in self.desks().extract_if(|key, _| key.scope.is_session(session)) {
            desk.stop.cancel();
        }
        let ended: Vec<_> = self.instances().extract_if(|key, _| key.scope.is_session(session)).collect();
        for (_, entry) in ended {
            self.retire(entry);
        }
    }

    pub(crate) async fn stop(&self, grace: Duration) {
        self.stopping.store(true, Ordering::Relaxed);
        let modern: Vec<_> = self.gates().iter().filter_map(|gate| gate.modern.swap(None)).collect();
        let entries: Vec<_> = self.instances().drain().map(|(_, entry)| entry).collect();
        self.end_all(modern, entries, grace).await;
        self.tasks.close();
        // Sessions are deleted before what serves them is torn down; children end by this too.
        self.stop.cancel();
        self.tasks.wait().await;
        self.gates().iter().for_each(|gate| gate.site.close());
    }

    /// The instance of a modern server with a URL: nothing has to be begun. One atomic load, where there is one replica.
    fn modern_instance(&self, wish: &mut Wish) -> Option<Arc<Instance>> {
        let Way::Http(replicas) = &self.way else { return None };
        match replicas.only() {
            Some(gate) => gate.modern(),
            None => self.modern_of_several(replicas, wish),
        }
    }

    /// The instance that may serve this caller, whatever has to be found out on the way.
    pub(crate) async fn open_settled(self: &Arc<Self>, caller: &Caller, wish: Wish) -> Opened {
        let mut turns = 1;
        loop {
            match self.open(caller, wish).await {
                Err(error) if error.is_stale() && turns < TURNS_MAX => turns += 1,
                outcome => return outcome,
            }
        }
    }

    /// With whom a caller shares an instance, if the server is of this era.
    pub(crate) fn isolation(&self, caller: &Caller, modern: bool) -> Isolation {
        // A legacy server keeps state by session; a modern one keeps none, and is told the capabilities each time.
        let usual = if modern { Isolation::Shared } else { Isolation::Session };
        match self.shared.settings.legacy_sessions {
            LegacySessions::Stateless if !modern && caller.session.is_none() => Isolation::Shared,
            _ => self.shared.settings.isolation.unwrap_or(usual),
        }
    }

    /// Whose instance serves this caller, and how it is introduced to the server.
    fn key(&self, caller: &Caller, modern: bool) -> (Key, Introduction) {
        let scope = Scope::of(caller, self.isolation(caller, modern));
        let client = &caller.client;
        let info = if matches!(scope, Scope::Session(..)) { client.info.clone() } else { None };
        let introduction = Introduction { capabilities: client.capabilities.clone(), info };
        let capabilities = (!modern).then(|| self.canonical.of(&client.capabilities));
        (Key::common(scope, capabilities), introduction)
    }

    async fn instance<F>(
        &self,
        key: &Key,
        introduction: Introduction,
        replica: Option<&Arc<Replica>>,
        begin: impl FnOnce(Beginning) -> F,
    ) -> Opened
    where
        F: Future<Output = Result<Instance, UpstreamError>> + Send + 'static,
    {
        let entry = self.entry(key)?;
        let shared = Arc::clone(&self.shared);
        let replica = replica.map(Arc::clone);
        let start = |again: bool| {
            let beginning = Beginning {
                shared: Arc::clone(&shared),
                source: Source::of(key.on(None)),
                introduction,
                tasks: self.tasks.clone(),
                stop: self.stop.child_token(),
            };
            let beginning = begin(beginning);
            async move {
                shared.counters.starts.add();
                if again {
                    shared.counters.restarts.add();
                }
                match beginning.await {
                    Ok(instance) => {
                        shared.is_up(instance.revision);
                        if let Some(replica) = &replica {
                            replica.begun();
                        }
                        Ok(Arc::new(instance))
                    }
                    Err(error) => {
                        if !error.is_stale() {
                            could_not_begin(&shared, replica.as_deref(), &error);
                        }
                        Err(error)
                    }
                }
            }
        };
        let instance = entry.get(self.backoff, |instance| instance.is_usable(), start).await?;
        instance.touch();
        Ok(instance)
    }

    /// The entry of a key; a new one if there is room, or room can be made.
    fn entry(&self, key: &Key) -> Result<Entry, UpstreamError> {
        let mut instances = self.instances();
        if let Some(entry) = instances.get(key) {
            return Ok(Arc::clone(entry));
        }
        let instances_max = self.shared.settings.limits.instances_max;
        let mut evicted = Vec::new();
        if instances.len() >= instances_max {
            evicted = make_room(&mut instances);
            if evicted.is_empty() {
                let what = match &self.way {
                    Way::Http(_) => "too many sessions with this server are busy",
                    Way::Child(_) => "too many processes of this server are busy",
                };
                return Err(UpstreamError::Capacity { what, max: instances_max });
            }
        }
        let entry: Entry = Arc::new(Slot::new());
        instances.insert(key.clone(), Arc::clone(&entry));
        drop(instances);
        for old in evicted {
            if matches!(old.held(), Held::Ready(_)) {
                self.shared.counters.evictions.add();
            }
            self.retire(old);
        }
        Ok(entry)
    }

    /// A child that was started for one caller, before its era was known, and turned out to be modern may serve more.
    fn adopt(&self, caller: &Caller, key: &Key, instance: Arc<Instance>) -> Arc<Instance> {
        if instance.revision.era() == Era::Legacy {
            return instance;
        }
        let (wider, _) = self.key(caller, true);
        if wider == *key {
            return instance;
        }
        let mut instances = self.instances();
        let own = instances
            .get(key)
            .is_some_and(|entry| matches!(entry.held(), Held::Ready(held) if Arc::ptr_eq(&held, &instance)));
        if own {
            instances.remove(key);
        }
        if let Some(entry) = instances.get(&wider)
            && let Held::Ready(held) = entry.held()
            && held.is_usable()
        {
            drop(instances);
            if !Arc::ptr_eq(&held, &instance) {
                self.tasks.spawn(async move { instance.end().await });
            }
            return held;
        }
        instances.insert(wider, Arc::new(Slot::filled(Arc::clone(&instance))));
        instance
    }

    /// Ends what an entry holds, in the background, also when it is still being started.
    fn retire(&self, entry: Entry) {
        if let Held::Ready(instance) = entry.held() {
            instance.retire();
        }
        self.tasks.spawn(async move {
            if let Some(instance) = entry.settled().await {
                instance.end().await;
            }
        });
    }

    /// Ends what nobody has used for a while.
    fn start_sweeping(self: &Arc<Self>) {
        self.sweeping.call_once(|| {
            self.start_looking();
            let idle = self.shared.settings.timeouts.idle;
            let every = (idle / 4).clamp(Duration::from_millis(20), Duration::from_secs(15));
            let registry = Arc::downgrade(self);
            let stop = self.stop.clone();
            tokio::spawn(async move { stop.run_until_cancelled(sweep(registry, every)).await });
        });
    }

    fn sweep_once(&self) {
        let idle = self.shared.settings.timeouts.idle;
        let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
        let now_ms = self.shared.now_ms();
        let is_idle = |entry: &Entry| match entry.held() {
            Held::Starting => false,
            Held::Nothing => Arc::strong_count(entry) == 1,
            Held::Failed { until } => until.elapsed() >= idle,
            Held::Ready(instance) => {
                !instance.is_needed() && now_ms.saturating_sub(instance.last_used_ms()) >= idle_ms
            }
        };
        let ended: Vec<_> = self.instances().extract_if(|_, entry| is_idle(entry)).collect();
        for (_, entry) in ended {
            self.retire(entry);
        }
        self.gates().iter().for_each(|gate| gate.site.prune());
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes a failed start. A server with other replicas is not down for it.
fn could_not_begin(shared: &Shared, replica: Option<&Replica>, error: &UpstreamError) {
    shared.counters.start_failures.add();
    if let Some(replica) = replica {
        replica.could_not_begin(error);
    }
    if replica.is_none_or(Replica::is_alone) {
        shared.is_down(error);
    }
}

async fn sweep(registry: Weak<Registry>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(registry) = registry.upgrade() else { return };
        registry.sweep_once();
    }
}

/// Takes out what holds nothing alive; if there is no such thing, the least recently used that is idle.
fn make_room(instances: &mut HashMap<Key, Entry>) -> Vec<Entry> {
    let is_dead = |entry: &Entry| match entry.held() {
        Held::Starting => false,
        Held::Nothing => Arc::strong_count(entry) == 1,
        Held::Failed { .. } => true,
        Held::Ready(instance) => !instance.is_usable(),
    };
    let dead: Vec<_> = instances.extract_if(|_, entry| is_dead(entry)).map(|(_, entry)| entry).collect();
    if !dead.is_empty() {
        return dead;
    }
    let oldest = instances
        .iter()
        .filter_map(|(key, entry)| match entry.held() {
            Held::Ready(instance) if !instance.is_needed() => Some((instance.last_used_ms(), key)),
            _ => None,
        })
        .min_by_key(|(last_used_ms, _)| *last_used_ms)
        .map(|(_, key)| key.clone());
    oldest.and_then(|key| instances.remove(&key)).into_iter().collect()
}
