//! Who is to be told of what: found by server, instance and resource, so that a change costs what its listeners cost.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use tollgate_catalog::ListKind;
use tollgate_mcp::Message;
use tollgate_model::{Caller, Code, EndpointName, Owner, Refusal, ServerId, Stage};
use tollgate_telemetry::counters::Kept;
use tollgate_upstream::{Lists, Origin};

use super::notice::Notice;
use crate::mailbox::{Mailbox, Topic};
use crate::places::{Places, Taken};
use crate::policing::{Digest, differing};
use crate::session::Session;
use crate::settings::ProxySettings;

/// How many of the things that a changed resource may be a part of are looked for: a server may name one of a thousand
/// slashes, and everyone waits for the lock meanwhile.
const PARENTS_MAX: usize = 64;

/// Where something changes: a server, and which of its instances.
pub(crate) type Spot = (ServerId, Origin);

/// All listeners.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    state: Mutex<State>,
    places: Places,
}

#[derive(Debug, Default)]
struct State {
    resources: HashMap<Spot, Named>,
    tasks: HashMap<Spot, Named>,
    /// Modern clients that listen, by number.
    listeners: HashMap<u64, Listener>,
    next: u64,
}

/// Those who are told of one thing, by the thing's native name and their own number.
type Named = HashMap<Arc<str>, HashMap<u64, Entry>>;

#[derive(Debug)]
struct Entry {
    to: To,
    /// The name by which this client knows the thing, where that is not the server's.
    public: Option<Arc<str>>,
}

/// Who is told.
#[derive(Debug, Clone)]
pub(crate) enum To {
    /// A modern client, on the stream of its subscription, whose id is raw JSON.
    Stream { outlet: Mailbox, subscription: Bytes, waiting_max: usize },
    /// A legacy client, on its session's stream.
    Session { session: Weak<Session>, waiting_max: usize },
}

#[derive(Debug)]
struct Listener {
    to: To,
    caller: Caller,
    /// What the client saw when it was looked at last.
    view: Option<Digest>,
    endpoint: Option<EndpointName>,
    lists: Lists,
    spots: HashSet<Spot>,
    /// One per list, so that the same news twice waits only once.
    topics: u64,
}

/// One thing that somebody is told of, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Registration {
    fanout: Arc<Fanout>,
    pub(super) spot: Spot,
    pub(super) native: Arc<str>,
    number: u64,
    pub(super) is_task: bool,
}

/// A modern client's place among the listeners, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct ListenerPlace {
    fanout: Arc<Fanout>,
    number: u64,
    _taken: Taken,
}

/// A thing to be told of.
#[derive(Debug)]
pub(crate) struct Thing {
    pub(crate) spot: Spot,
    pub(crate) native: Arc<str>,
    pub(crate) public: Option<Arc<str>>,
    pub(crate) is_task: bool,
}

impl To {
    /// `alive` keeps sessions until the fan-out's lock is given back: the end of one takes that lock.
    fn send(
        &self,
        topic: u64,
        notice: &mut Notice<'_>,
        public: Option<&Arc<str>>,
        alive: &mut Vec<Arc<Session>>,
    ) {
        // A client that reads nothing for long keeps the latest news of each thing, and no more.
        match self {
            Self::Stream { outlet, subscription, waiting_max } => {
                let message = notice.told(Some(subscription), public);
                let _ = outlet.push_latest(Topic(topic), message, *waiting_max);
            }
            Self::Session { session, waiting_max } => {
                if let Some(session) = session.upgrade() {
                    session.send_latest(Topic(topic), notice.told(None, public), *waiting_max);
                    alive.push(session);
                }
            }
        }
    }
}

impl Fanout {
    /// A place for one more listener, if there is one.
    pub(crate) fn enter(
        self: &Arc<Self>,
        owner: Owner,
        settings: &ProxySettings,
    ) -> Result<ListenerPlace, Refusal> {
        let room = settings.room(settings.listeners_max, settings.listeners_per_principal_max);
        let taken = self.places.take(Kept::Listener, owner, room).ok_or_else(|| {
            let text = "as many clients as allowed listen for changes";
            Refusal::new(Stage::Session, Code::Capacity, text)
        })?;
        let number = self.lock().number();
        Ok(ListenerPlace { fanout: Arc::clone(self), number, _taken: taken })
    }

    /// Tells `to` of these things from now on. `first` is done before anything can be told.
    pub(crate) fn tell(
        self: &Arc<Self>,
        to: &To,
        things: Vec<Thing>,
        first: impl FnOnce(),
    ) -> Vec<Registration> {
        let mut state = self.lock();
        first();
        things
            .into_iter()
            .map(|Thing { spot, native, public, is_task }| {
                let number = state.number();
                let entry = Entry { to: to.clone(), public };
                let named = state.named(is_task).entry(spot.clone()).or_default();
                named.entry(Arc::clone(&native)).or_default().insert(number, entry);
                Registration { fanout: Arc::clone(self), spot, native, number, is_task }
            })
            .collect()
    }

    /// A resource changed, or may have. It may be a part of one that is listened for (2025-11-25, schema,
    /// `notifications/resources/updated`).
    pub(crate) fn updated(&self, spot: &Spot, uri: &str, message: Option<&Message>) {
        let mut alive = Vec::new();
        let state = self.lock();
        let Some(named) = state.resources.get(spot) else { return };
        let mut notice = Notice::of_resource(uri, message);
        let mut exact = true;
        for candidate in whole_and_parents(uri) {
            for (number, entry) in named.get(candidate).into_iter().flatten() {
                let public = if exact { entry.public.clone() } else { entry.part(spot, uri) };
                entry.to.send(*number, &mut notice, public.as_ref(), &mut alive);
            }
            exact = false;
        }
    }

    /// A task changed.
    pub(crate) fn task_updated(&self, spot: &Spot, task_id: &str, message: &Message) {
        let mut alive = Vec::new();
        let state = self.lock();
        let Some(entries) = state.tasks.get(spot).and_then(|named| named.get(task_id)) else { return };
        let mut notice = Notice::of_task(message);
        for (number, entry) in entries {
            entry.to.send(*number, &mut notice, entry.public.as_ref(), &mut alive);
        }
    }

    /// A list changed: everyone who listens for that is told, if `concerns` says so of its tenant, its endpoint and the places
    /// that it listens to.
    pub(crate) fn list_changed(
        &self,
        kind: ListKind,
        method: &'static str,
        concerns: impl Fn(&Caller, Option<&EndpointName>, &HashSet<Spot>) -> bool,
    ) {
        let mut alive = Vec::new();
        let state = self.lock();
        let mut notice = Notice::of_list(method);
        for listener in state.listeners.values() {
            let (wanted, offset) = listener.wants(kind);
            if wanted && concerns(&listener.caller, listener.endpoint.as_ref(), &listener.spots) {
                listener.to.send(listener.topics + offset, &mut notice, None, &mut alive);
            }
        }
    }

    /// Who listens for changes of lists, by number, and where.
    pub(crate) fn listening(&self) -> Vec<(u64, Caller, Option<EndpointName>)> {
        let state = self.lock();
        let listeners = state.listeners.iter();
        listeners.map(|(number, one)| (*number, one.caller.clone(), one.endpoint.clone())).collect()
    }

    /// Takes what a listener sees from now on, and tells it which lists look otherwise than before.
    pub(crate) fn sees(&self, number: u64, view: Option<Digest>) {
        let mut alive = Vec::new();
        let mut state = self.lock();
        let Some(listener) = state.listeners.get_mut(&number) else { return };
        let before = std::mem::replace(&mut listener.view, view);
        for kind in differing(before, view) {
            let (wanted, offset) = listener.wants(kind);
            if wanted {
                let mut notice = Notice::of_list(crate::gateway::method_of(kind));
                listener.to.send(listener.topics + offset, &mut notice, None, &mut alive);
            }
        }
    }

    /// How many modern clients listen, and how many things of how many places anyone is told of.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let state = self.lock();
        (self.places.count(), state.resources.len(), state.tasks.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Whether it wants to hear of this list, and which of its topics that is.
    fn wants(&self, kind: ListKind) -> (bool, u64) {
        match kind {
            ListKind::Tools => (self.lists.tools, 0),
            ListKind::Prompts => (self.lists.prompts, 1),
            ListKind::Resources | ListKind::Templates => (self.lists.resources, 2),
        }
    }
}

impl State {
    fn number(&mut self) -> u64 {
        // Four at a time: a listener's lists take three of them. The first four are those of a session's lists.
        self.next += 4;
        self.next
    }

    fn named(&mut self, is_task: bool) -> &mut HashMap<Spot, Named> {
        if is_task { &mut self.tasks } else { &mut self.resources }
    }
}

impl ListenerPlace {
    /// Four numbers from this one on are this listener's own.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Tells `to` of changes of lists from now on.
    pub(crate) fn tell_lists(
        &self,
        to: &To,
        (caller, view): (&Caller, Option<Digest>),
        endpoint: Option<&EndpointName>,
        lists: Lists,
        spots: HashSet<Spot>,
    ) {
        let topics = self.number;
        let (to, caller, endpoint) = (to.clone(), caller.clone(), endpoint.cloned());
        let listener = Listener { to, caller, view, endpoint, lists, spots, topics };
        self.fanout.lock().listeners.insert(self.number, listener);
    }

    /// Tells this listener alone that these lists, and these things, may have changed.
    pub(crate) fn tell_missed(&self, things: &[Registration]) {
        let mut alive = Vec::new();
        let state = self.fanout.lock();
        if let Some(listener) = state.listeners.get(&self.number) {
            for (offset, method) in crate::gateway::LISTS_CHANGED.into_iter().enumerate() {
                let told = [listener.lists.tools, listener.lists.prompts, listener.lists.resources][offset];
                if told {
                    let topic = listener.topics + offset as u64;
                    listener.to.send(topic, &mut Notice::of_list(method), None, &mut alive);
                }
            }
        }
        tell_missed(&state, things, &mut alive);
    }
}

/// Tells whoever is told of these things that they may have changed.
fn tell_missed(state: &State, things: &[Registration], alive: &mut Vec<Arc<Session>>) {
    for told in things.iter().filter(|told| !told.is_task) {
        let entries = state.resources.get(&told.spot).and_then(|named| named.get(&told.native));
        if let Some(entry) = entries.and_then(|entries| entries.get(&told.number)) {
            let mut notice = Notice::of_resource(&told.native, None);
            entry.to.send(told.number, &mut notice, entry.public.as_ref(), alive);
        }
    }
}

impl Registration {
    /// The same for one thing, of a legacy session.
    pub(crate) fn missed(&self) {
        let mut alive = Vec::new();
        tell_missed(&self.fanout.lock(), std::slice::from_ref(self), &mut alive);
    }
}

impl Entry {
    /// The name by which this client knows a part of the resource that it listens for.
    fn part(&self, (server, _): &Spot, uri: &str) -> Option<Arc<str>> {
        self.public.as_ref().map(|_| Arc::from(tollgate_catalog::uris::rewrite(server.name(), uri)))
    }
}

/// A URI, and what it may be a part of, the longest first: cut before and after each slash of its path.
pub(crate) fn whole_and_parents(uri: &str) -> impl Iterator<Item = &str> {
    let path = uri.find("://").map_or_else(|| uri.find(':').map_or(0, |at| at + 1), |at| at + 3);
    let cuts = uri[path..].rmatch_indices(['/', '#', '?']).flat_map(move |(at, mark)| {
        let (before, after) = (path + at, path + at + mark.len());
        let after = (mark == "/" && after < uri.len()).then_some(after);
        after.into_iter().chain((before > path).then_some(before))
    });
    std::iter::once(uri).chain(cuts.map(|end| &uri[..end]).take(PARENTS_MAX))
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.fanout.lock();
        let named_by_spot = state.named(self.is_task);
        let Some(named) = named_by_spot.get_mut(&self.spot) else { return };
        let Some(entries) = named.get_mut(&self.native) else { return };
        entries.remove(&self.number);
        if entries.is_empty() {
            named.remove(&self.native);
        }
        if named.is_empty() {
            named_by_spot.remove(&self.spot);
        }
    }
}

impl Drop for ListenerPlace {
    fn drop(&mut self) {
        let mut state = self.fanout.lock();
        state.listeners.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::{PrincipalId, TenantId};

    #[test]
    fn a_resource_is_a_part_of_what_stands_above_it() {
        let above = |uri| whole_and_parents(uri).collect::<Vec<_>>();
        assert_eq!(
            above("file:///a/b#c"),
            ["file:///a/b#c", "file:///a/b", "file:///a/", "file:///a", "file:///"]
        );
        assert_eq!(above("memo://x"), ["memo://x"]);
        assert_eq!(above("urn:x:y"), ["urn:x:y"]);
        assert_eq!(above("a:b/"), ["a:b/", "a:b"]);
        assert_eq!(above(""), [""]);
        let deep = format!("x://{}", "/".repeat(100_000));
        assert_eq!(whole_and_parents(&deep).count(), 1 + PARENTS_MAX);
    }

    #[test]
    fn listeners_are_bounded_in_all_and_for_each_principal() {
        let fanout = Arc::new(Fanout::default());
        let settings = ProxySettings {
            listeners_max: 3,
            listeners_per_principal_max: 2,
            tenant_share_percent: 100,
            ..ProxySettings::default()
        };
        let enter = |who: &str| {
            let owner = Owner { tenant: TenantId::default(), principal: PrincipalId::new(who) };
            fanout.enter(owner, &settings)
        };
        let first = enter("a").expect("room");
        let _second = enter("a").expect("room");
        assert_eq!(enter("a").expect_err("no room").code, Code::Capacity);
        let _third = enter("b").expect("room");
        assert!(enter("c").is_err());
        drop(first);
        assert!(enter("c").is_ok());
        assert_eq!(fanout.counts(), (2, 0, 0));
    }
}
