//! The instances of one server: who shares one, how many there are, and when they end.

mod alone;
mod desks;
mod halt;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tollgate_model::{Caller, Era, SessionId};

use crate::backoff::Backoff;
use crate::event::Source;
use crate::greet::{Beginning, begin_child, begin_over_http, discover_over_http, presumed};
use crate::key::{Canonical, Key, Scope};
use crate::link::Instance;
use crate::seats::{Seat, Seats};
use crate::session::Introduction;
use crate::shared::{EraFact, Shared};
use crate::site::Site;
use crate::slot::{Held, Slot};
use crate::watch::Desk;
use crate::{Isolation, LegacySessions, Link, SettingsError, StdioSettings, Transport, UpstreamError};

/// A server with a URL is asked again at least this often: a refused connection costs next to nothing.
const HTTP_BACKOFF_MAX: Duration = Duration::from_secs(5);

/// How often what is found out on the way may change which instance is meant.
const TURNS_MAX: usize = 3;

type Entry = Arc<Slot<Arc<Instance>>>;
type Opened = Result<Arc<Instance>, UpstreamError>;

pub(crate) struct Registry {
    shared: Arc<Shared>,
    way: Way,
    backoff: Backoff,
    /// The one instance of a modern server with a URL, for the hot path.
    modern: ArcSwapOption<Instance>,
    /// Whether a server with a URL is modern.
    found: Arc<Slot<Option<Arc<Instance>>>>,
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
    Http { site: Arc<Site>, only_sse: bool },
    Child(StdioSettings),
}

impl Registry {
    pub(crate) fn new(shared: Arc<Shared>) -> Result<Self, SettingsError> {
        let settings = Arc::clone(&shared.settings);
        let site = |http| Site::new(Arc::clone(&shared), &settings, http).map(Arc::new);
        let way = match &settings.transport {
            Transport::Http(http) => Way::Http { site: site(http)?, only_sse: false },
            Transport::Sse(http) => Way::Http { site: site(http)?, only_sse: true },
            Transport::Stdio(stdio) => Way::Child(stdio.clone()),
        };
        let timeouts = &settings.timeouts;
        let backoff_max = match &way {
            Way::Http { .. } => timeouts.backoff_max.min(HTTP_BACKOFF_MAX),
            Way::Child(_) => timeouts.backoff_max,
        };
        let backoff = Backoff { min: timeouts.backoff_min, max: backoff_max };
        let stop = CancellationToken::new();
        Ok(Self {
            shared,
            way,
            backoff,
            modern: ArcSwapOption::empty(),
            found: Arc::new(Slot::new()),
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
    pub(crate) async fn open(self: &Arc<Self>, caller: &Caller) -> Opened {
        self.open_at(caller, Seat::COMMON).await
    }

    /// A link for one request of this method: with an instance to itself, if it needs one.
    pub(crate) async fn open_for(
        self: &Arc<Self>,
        caller: &Caller,
        method: &str,
    ) -> Result<Link, UpstreamError> {
        if let Some(instance) = self.modern_instance() {
            return Ok(Link::of(instance));
        }
        match self.alone(caller, method) {
            Some(how) => Box::pin(self.open_alone(caller, how)).await,
            None => self.open_settled(caller).await.map(Link::of),
        }
    }

    /// The instance at a seat, which only a legacy server has.
    async fn open_at(self: &Arc<Self>, caller: &Caller, seat: Seat) -> Opened {
        if let Some(instance) = self.modern_instance() {
            return Ok(instance);
        }
        if self.stopping.load(Ordering::Relaxed) || self.is_halted() {
            return Err(UpstreamError::Stopping);
        }
        self.start_sweeping();
        match &self.way {
            Way::Http { site, only_sse } => {
                if !only_sse && let Some(instance) = self.find(site, caller).await? {
                    return Ok(instance);
                }
                let (key, introduction) = self.key(caller, false);
                let key = key.at(seat);
                let (site, only_sse) = (Arc::clone(site), *only_sse);
                self.instance(&key, introduction, move |beginning| begin_over_http(beginning, site, only_sse))
                    .await
            }
            Way::Child(settings) => {
                let expected = presumed(&self.shared);
                let (mut key, introduction) = self.key(caller, expected == EraFact::Modern);
                if expected != EraFact::Modern {
                    key.seat = seat;
                }
                let settings = settings.clone();
                let begin = move |beginning| begin_child(beginning, settings, expected);
                let instance = self.instance(&key, introduction, begin).await?;
                let instance = self.adopt(caller, &key, instance);
                self.attend(caller, &instance);
                Ok(instance)
            }
        }
    }

    /// The instance that serves this caller already.
    pub(crate) fn opened(&self, caller: &Caller) -> Option<Arc<Instance>> {
        if let Some(instance) = self.modern_instance() {
            return Some(instance);
        }
        let (key, _) = self.key(caller, presumed(&self.shared) == EraFact::Modern);
        match self.instances().get(&key)?.held() {
            Held::Ready(instance) if instance.is_usable() => Some(instance),
            _ => None,
        }
    }

    /// How many sessions, processes and modern origins are alive.
    pub(crate) fn live(&self) -> usize {
        let is_live = |entry: &&Entry| matches!(entry.held(), Held::Ready(instance) if instance.is_usable());
        let own = self.instances().values().filter(is_live).count();
        own + usize::from(self.modern_instance().is_some())
    }

    /// When a failed start is tried again at the earliest.
    pub(crate) fn next_try(&self) -> Option<Instant> {
        let instances = self.instances();
        let own = instances.values().filter_map(|entry| match entry.held() {
            Held::Failed { until } => Some(until),
            _ => None,
        });
        let found = match self.found.held() {
            Held::Failed { until } => Some(until),
            _ => None,
        };
        own.chain(found).chain(self.seats.next_try()).min()
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
        let modern = self.modern.swap(None);
        let entries: Vec<_> = self.instances().drain().map(|(_, entry)| entry).collect();
        self.end_all(modern, entries, grace).await;
        self.tasks.close();
        // Sessions are deleted before what serves them is torn down; children end by this too.
        self.stop.cancel();
        self.tasks.wait().await;
        if let Way::Http { site, .. } = &self.way {
            site.close();
        }
    }

    fn modern_instance(&self) -> Option<Arc<Instance>> {
        self.modern.load_full().filter(|instance| instance.is_usable())
    }

    /// Asks a server with a URL whether it is modern, once for everyone.
    async fn find(
        self: &Arc<Self>,
        site: &Arc<Site>,
        caller: &Caller,
    ) -> Result<Option<Arc<Instance>>, UpstreamError> {
        if matches!(presumed(&self.shared), EraFact::Legacy | EraFact::LegacySse) {
            return Ok(None);
        }
        if let Held::Ready(found) = self.found.held()
            && found.is_none_or(|instance| !instance.is_usable())
        {
            // It has stopped fitting, which is no failure of the probe's.
            self.found.empty();
        }
        let shared = Arc::clone(&self.shared);
        let site = Arc::clone(site);
        let usable =
            |found: &Option<Arc<Instance>>| found.as_ref().is_some_and(|instance| instance.is_usable());
        let found = self
            .found
            .get(self.backoff, usable, move |_| async move {
                match discover_over_http(&site).await {
                    Ok(Some(instance)) => {
                        shared.counters.starts.add();
                        shared.learn_era(EraFact::Modern);
                        shared.is_up(instance.revision);
                        Ok(Some(Arc::new(instance)))
                    }
                    Ok(None) => {
                        shared.learn_era(EraFact::Legacy);
                        Ok(None)
                    }
                    Err(error) => {
                        shared.counters.start_failures.add();
                        shared.is_down(&error);
                        Err(error)
                    }
                }
            })
            .await?;
        if let Some(instance) = &found
            && !self.stopping.load(Ordering::Relaxed)
            && !self.is_halted()
        {
            self.modern.store(Some(Arc::clone(instance)));
            self.attend(caller, instance);
        }
        Ok(found)
    }

    /// The instance that may serve this caller, whatever has to be found out on the way.
    pub(crate) async fn open_settled(self: &Arc<Self>, caller: &Caller) -> Opened {
        let mut turns = 1;
        loop {
            match self.open(caller).await {
                Err(error) if error.is_stale() && turns < TURNS_MAX => turns += 1,
                outcome => return outcome,
            }
        }
    }

    /// Whose instance serves this caller, and how it is introduced to the server.
    fn key(&self, caller: &Caller, modern: bool) -> (Key, Introduction) {
        // A legacy server keeps state by session; a modern one keeps none, and is told the capabilities each time.
        let usual = if modern { Isolation::Shared } else { Isolation::Session };
        let isolation = match self.shared.settings.legacy_sessions {
            LegacySessions::Stateless if !modern && caller.session.is_none() => Isolation::Shared,
            _ => self.shared.settings.isolation.unwrap_or(usual),
        };
        let scope = Scope::of(caller, isolation);
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
        begin: impl FnOnce(Beginning) -> F,
    ) -> Opened
    where
        F: Future<Output = Result<Instance, UpstreamError>> + Send + 'static,
    {
        let entry = self.entry(key)?;
        let shared = Arc::clone(&self.shared);
        let start = |again: bool| {
            let beginning = Beginning {
                shared: Arc::clone(&shared),
                source: Source::of(key.clone()),
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
                        Ok(Arc::new(instance))
                    }
                    Err(error) => {
                        if !error.is_stale() {
                            shared.counters.start_failures.add();
                            shared.is_down(&error);
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
                    Way::Http { .. } => "too many sessions with this server are busy",
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
        if let Way::Http { site, .. } = &self.way {
            site.prune();
        }
    }

    fn instances(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.instances.lock().unwrap_or_else(PoisonError::into_inner)
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
