//! What servers show, each item compared with what was approved of it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use tokio::time::Instant;
use tollgate_catalog::uris::template_takes;
use tollgate_guard::pins::{Definition, Twins, skeletons};
use tollgate_model::ServerId;
use tollgate_store::{Digest, Pin, PinKind, PinMark, PinMarks, PinOf, Sighting};

use super::settings::{FirstUse, OnChange, PinSettings, Rule};

/// How soon a server's list is read again since something is asked for that it has not shown.
const AGAIN: Duration = Duration::from_secs(10);

/// Why an item waits to be approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody has approved it yet.
    New,
    /// It is not what was approved.
    Changed,
    /// Its name looks like another's.
    LookAlike,
    /// The lock file has no such item.
    NotLocked,
    /// A content guard found something in it, and nobody has approved it since.
    Held,
}

impl Why {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Changed => "changed",
            Self::LookAlike => "look_alike",
            Self::NotLocked => "not_locked",
            Self::Held => "held",
        }
    }
}

/// How it stands with an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It is as it was approved.
    Good,
    /// It waits to be approved, and nobody sees or uses it meanwhile.
    Waits(Why),
    /// It waits, and passes all the same: that is only told of.
    Reported(Why),
}

impl Standing {
    fn passes(self) -> bool {
        !matches!(self, Self::Waits(_))
    }
}

/// By what is measured: the settings, and what the store says of a server.
#[derive(Clone, Copy)]
pub(crate) struct Measure<'a> {
    pub(crate) settings: &'a PinSettings,
    pub(crate) marks: Option<&'a Arc<PinMarks>>,
    pub(crate) rule: Rule,
}

#[derive(Debug, Default)]
pub(crate) struct Known {
    hasher: RandomState,
    servers: RwLock<HashMap<ServerId, Server>>,
}

#[derive(Debug, Default)]
struct Server {
    kinds: HashMap<PinKind, Items>,
    /// What the store said when it was compared last.
    marks: Option<Arc<PinMarks>>,
    /// What is to be told to the store.
    news: BTreeMap<(PinKind, Arc<str>), Sighting>,
}

#[derive(Debug, Default)]
struct Items {
    all: HashMap<Arc<str>, Item>,
    /// When the list was last read to its end.
    read: Option<Instant>,
    /// How many of them wait.
    waiting: usize,
}

#[derive(Debug, Clone, Copy)]
struct Item {
    /// Of its bytes, under a key that no server knows.
    hash: u64,
    digest: Digest,
    standing: Standing,
    /// The definition that was approved by being seen, which the store may not have heard of yet.
    trusted: Option<Digest>,
    /// Whether a content guard wants somebody to approve it.
    is_held: bool,
}

impl Item {
    /// By what it is measured: what the store says, or else what was trusted here.
    fn measured(&self, mark: Option<PinMark>) -> Option<PinMark> {
        let trusted = self.trusted.filter(|_| !self.is_held);
        mark.or(trusted.map(|digest| PinMark { approved: Some(digest), waiting: None }))
    }
}

/// One item as a server shows it.
pub(crate) struct Shown<'a> {
    pub(crate) key: &'a str,
    pub(crate) raw: &'a [u8],
    /// Whether a content guard wants somebody to approve it.
    pub(crate) is_held: bool,
}

/// An item that waits from now on, or no longer.
#[derive(Debug, Clone)]
pub(crate) struct Turned {
    pub(crate) kind: PinKind,
    pub(crate) standing: Standing,
}

/// What is known of an item that somebody wants to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Passes,
    Waits(Why),
    /// The server has shown none such, and its list was read just now.
    Unknown,
    /// Nobody has looked yet.
    Unread,
}

impl Known {
    /// Takes in a page of a server's list. What of it waits now, or no longer.
    pub(crate) fn learn<'a>(
        &self,
        server: &ServerId,
        kind: PinKind,
        items: impl IntoIterator<Item = Shown<'a>>,
        measure: Measure<'_>,
    ) -> Vec<Turned> {
        let mut servers = self.lock();
        let mut twins = None;
        let mut turned = Vec::new();
        for Shown { key, raw, is_held } in items {
            let hash = self.hasher.hash_one(raw);
            let known = servers.get(server).and_then(|known| known.kinds.get(&kind)?.all.get(key)).copied();
            if let Some(known) = known.filter(|known| known.hash == hash && known.is_held == is_held) {
                // What is approved may have changed while it was being compared.
                let of = pin_of(server, kind, key);
                let was_twin = matches!(known.standing, Standing::Waits(Why::LookAlike));
                let standing = match known.standing {
                    Standing::Good => continue,
                    _ => {
                        let measured = known.measured(mark(measure, &of));
                        stands(measure, &of, measured, (known.digest, is_held), || was_twin)
                    }
                };
                if standing != known.standing
                    && let Some(server) = servers.get_mut(server)
                {
                    server.put(kind, &of.item, Item { standing, ..known }, measure.settings.items_max);
                    turned.push(Turned { kind, standing });
                }
                continue;
            }
            let before = known.map(|known| known.standing);
            let of = pin_of(server, kind, key);
            let definition = Definition::read(kind, raw);
            let mut shape = definition.shape();
            shape.text = shape.text.filter(|text| text.len() <= measure.settings.text_bytes_max);
            let mark = mark(measure, &of);
            let trusted = known.and_then(|known| known.trusted);
            let known = known.map(|known| Item { is_held, ..known });
            let measured = known.map_or(mark, |known| known.measured(mark));
            let is_twin = || {
                let twins = twins.get_or_insert_with(|| names(&servers, server, kind, measure));
                twins.of(key).is_some() || (!key.is_ascii() && is_twin_elsewhere(&servers, server, kind, key))
            };
            let standing = stands(measure, &of, measured, (shape.digest, is_held), is_twin);
            if let Some(twins) = &mut twins
                && standing == Standing::Good
            {
                twins.add(&of.item);
            }
            let server = servers.entry(server.clone()).or_default();
            let is_trusted = standing == Standing::Good && !is_held;
            let trusted = trusted.or(is_trusted.then_some(shape.digest));
            let item = Item { hash, digest: shape.digest, standing, trusted, is_held };
            if !server.put(kind, &of.item, item, measure.settings.items_max) {
                continue;
            }
            let is_good = standing == Standing::Good;
            let sighting = Sighting { kind, item: Arc::clone(&of.item), shape, is_trusted, is_held };
            server.is_news(sighting, mark, is_good, measure.settings.lock.is_some());
            if before.unwrap_or(Standing::Good) != standing {
                turned.push(Turned { kind, standing });
            }
        }
        turned
    }

    /// A server's list was read to its end.
    pub(crate) fn was_read(&self, server: &ServerId, kind: PinKind) {
        let mut servers = self.lock();
        let known = servers.entry(server.clone()).or_default();
        known.kinds.entry(kind).or_default().read = Some(Instant::now());
    }

    /// How it stands with an item that somebody wants to use.
    pub(crate) fn find(&self, server: &ServerId, kind: PinKind, key: &str) -> Found {
        let servers = self.look();
        let Some(items) = servers.get(server).and_then(|known| known.kinds.get(&kind)) else {
            return Found::Unread;
        };
        match items.all.get(key).map(|item| item.standing) {
            Some(Standing::Waits(why)) => Found::Waits(why),
            Some(Standing::Good | Standing::Reported(_)) => Found::Passes,
            None if items.read.is_some_and(|read| read.elapsed() < AGAIN) => Found::Unknown,
            None => Found::Unread,
        }
    }

    /// Whether a server's list was ever read to its end.
    pub(crate) fn has_read(&self, server: &ServerId, kind: PinKind) -> bool {
        let servers = self.look();
        let items = servers.get(server).and_then(|known| known.kinds.get(&kind));
        items.is_some_and(|items| items.read.is_some())
    }

    /// Whether only templates that wait could have made a URI.
    pub(crate) fn template_waits(&self, server: &ServerId, uri: &str) -> Option<Why> {
        let servers = self.look();
        let items = servers.get(server)?.kinds.get(&PinKind::Template).filter(|items| items.waiting > 0)?;
        let mut made =
            items.all.iter().filter(|(template, _)| template_takes(template, uri)).map(|(_, item)| item);
        let mut why = None;
        let all_wait = made.all(|item| match item.standing {
            Standing::Waits(found) => {
                why = Some(found);
                true
            }
            _ => false,
        });
        why.filter(|_| all_wait)
    }

    /// Whether an item of a list that may have been kept for a while is shown: as it was shown then.
    pub(crate) fn shows(
        &self,
        server: &ServerId,
        kind: PinKind,
        shown: &Shown<'_>,
        measure: Measure<'_>,
    ) -> bool {
        let hash = self.hasher.hash_one(shown.raw);
        let known =
            self.look().get(server).and_then(|known| known.kinds.get(&kind)?.all.get(shown.key).copied());
        match known {
            Some(item) if item.hash == hash => item.standing.passes(),
            Some(item) if !item.standing.passes() => false,
            Some(item) => {
                let of = pin_of(server, kind, shown.key);
                let digest = Definition::read(kind, shown.raw).digest();
                stands(measure, &of, mark(measure, &of), (digest, item.is_held), || true).passes()
            }
            None => false,
        }
    }

    /// Compares everything of a server anew, where what it is measured by is something else than before.
    pub(crate) fn measure(&self, server: &ServerId, measure: Measure<'_>, is_anew: bool) -> Vec<Turned> {
        let mut servers = self.lock();
        let Some(known) = servers.get_mut(server) else { return Vec::new() };
        let is_same = match (&known.marks, measure.marks) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        };
        if is_same && !is_anew {
            return Vec::new();
        }
        let before = std::mem::replace(&mut known.marks, measure.marks.cloned());
        let mut turned = Vec::new();
        for (kind, items) in &mut known.kinds {
            let (was, is) = (of_kind(before.as_ref(), *kind), of_kind(measure.marks, *kind));
            if measure.settings.lock.is_none()
                && items.forget(|key| {
                    was.is_some_and(|was| was.contains_key(key)) && is.is_none_or(|is| !is.contains_key(key))
                })
            {
                items.read = None;
            }
            for (key, item) in &mut items.all {
                let of = pin_of(server, *kind, key);
                let mark = mark(measure, &of);
                // What was trusted and what was not is known already, until the store has heard of it.
                let measured = item.measured(mark);
                let was_twin = matches!(item.standing, Standing::Waits(Why::LookAlike));
                let standing = stands(measure, &of, measured, (item.digest, item.is_held), || was_twin);
                if standing != item.standing {
                    items.waiting += usize::from(!standing.passes());
                    items.waiting -= usize::from(!item.standing.passes());
                    item.standing = standing;
                    turned.push(Turned { kind: *kind, standing });
                }
            }
        }
        turned
    }

    /// Forgets what servers show that are not there any more.
    pub(crate) fn retain(&self, is_there: impl Fn(&ServerId) -> bool) {
        self.lock().retain(|server, _| is_there(server));
    }

    /// What the store has yet to be told of each server, at most so many of each.
    pub(crate) fn take_news(&self, most: usize) -> Vec<(ServerId, Vec<Sighting>)> {
        let mut servers = self.lock();
        let take = |(server, known): (&ServerId, &mut Server)| {
            let keys: Vec<_> = known.news.keys().take(most).cloned().collect();
            let taken: Vec<Sighting> = keys.iter().filter_map(|key| known.news.remove(key)).collect();
            (!taken.is_empty()).then(|| (server.clone(), taken))
        };
        servers.iter_mut().filter_map(take).collect()
    }

    /// What could not be told is told later, unless something newer is to be told by then.
    pub(crate) fn put_back(&self, server: &ServerId, news: Vec<Sighting>) {
        if let Some(known) = self.lock().get_mut(server) {
            for sighting in news {
                known.news.entry((sighting.kind, Arc::clone(&sighting.item))).or_insert(sighting);
            }
        }
    }

    /// Whether there is anything to tell.
    pub(crate) fn has_news(&self) -> bool {
        self.look().values().any(|known| !known.news.is_empty())
    }

    /// How many items wait, of all servers.
    pub(crate) fn waiting(&self) -> usize {
        self.look().values().flat_map(|known| known.kinds.values()).map(|items| items.waiting).sum()
    }

    fn lock(&self) -> RwLockWriteGuard<'_, HashMap<ServerId, Server>> {
        self.servers.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every call looks here, so that it must not keep others from looking.
    fn look(&self) -> RwLockReadGuard<'_, HashMap<ServerId, Server>> {
        self.servers.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Items {
    /// Forgets those of whose names that is so: they are as if they had never been seen. Says whether there were any.
    fn forget(&mut self, is_gone: impl Fn(&str) -> bool) -> bool {
        let before = self.all.len();
        self.all.retain(|key, _| !is_gone(key));
        self.waiting = self.all.values().filter(|item| !item.standing.passes()).count();
        self.all.len() != before
    }
}

impl Server {
    /// Says whether there is room.
    fn put(&mut self, kind: PinKind, key: &Arc<str>, item: Item, items_max: usize) -> bool {
        let items = self.kinds.entry(kind).or_default();
        let is_known = items.all.contains_key(key);
        if !PinOf::can_be_kept(key) || (!is_known && items.all.len() >= items_max) {
            return false;
        }
        items.waiting += usize::from(!item.standing.passes());
        if let Some(before) = items.all.insert(Arc::clone(key), item) {
            items.waiting -= usize::from(!before.standing.passes());
        }
        true
    }

    /// Notes what the store has to hear of an item.
    fn is_news(&mut self, mut sighting: Sighting, mark: Option<PinMark>, is_good: bool, is_locked: bool) {
        let key = (sighting.kind, Arc::clone(&sighting.item));
        let is_settled = is_locked && is_good;
        sighting.is_trusted &= !is_locked;
        sighting.is_held &= !is_locked;
        // Who has approved it only the store knows.
        if !is_settled && Pin::sighted(mark, true, &sighting).is_some() {
            self.news.insert(key, sighting);
        } else {
            self.news.remove(&key);
        }
    }
}

pub(crate) fn pin_of(server: &ServerId, kind: PinKind, key: &str) -> PinOf {
    PinOf {
        tenant: server.holder().tenant().cloned(),
        server: server.name().clone(),
        kind,
        item: Arc::from(key),
    }
}

fn of_kind(marks: Option<&Arc<PinMarks>>, kind: PinKind) -> Option<&HashMap<Arc<str>, PinMark>> {
    marks?.get(&kind)
}

fn mark(measure: Measure<'_>, of: &PinOf) -> Option<PinMark> {
    measure.marks?.get(&of.kind)?.get(&of.item).copied()
}

/// How an item stands by what is approved of it.
fn stands(
    measure: Measure<'_>,
    of: &PinOf,
    mark: Option<PinMark>,
    (digest, is_held): (Digest, bool),
    mut is_twin: impl FnMut() -> bool,
) -> Standing {
    let changed = || match measure.rule.changes {
        OnChange::Quarantine => Standing::Waits(Why::Changed),
        OnChange::Report => Standing::Reported(Why::Changed),
    };
    if let Some(lock) = &measure.settings.lock {
        return match lock.item(of) {
            Some(item) if item.digest == digest => Standing::Good,
            Some(_) => changed(),
            None => Standing::Waits(Why::NotLocked),
        };
    }
    match mark {
        Some(PinMark { approved: Some(approved), .. }) if approved == digest => Standing::Good,
        _ if is_held => Standing::Waits(Why::Held),
        Some(PinMark { approved: Some(_), .. }) => changed(),
        Some(PinMark { approved: None, .. }) => Standing::Waits(Why::New),
        None if measure.rule.first_use == FirstUse::Approve => Standing::Waits(Why::New),
        None if is_twin() => Standing::Waits(Why::LookAlike),
        None => Standing::Good,
    }
}

/// The names of a server's items that are approved.
fn names(
    servers: &HashMap<ServerId, Server>,
    server: &ServerId,
    kind: PinKind,
    measure: Measure<'_>,
) -> Twins {
    let mut twins = Twins::default();
    if matches!(kind, PinKind::Instructions | PinKind::Resource | PinKind::Template) {
        // URIs are not read by eye, and differ by little.
        return twins;
    }
    let mut added = HashSet::new();
    let marks = measure.marks.and_then(|marks| marks.get(&kind)).into_iter().flatten();
    for (name, _) in marks.filter(|(_, mark)| mark.approved.is_some()) {
        added.insert(Arc::clone(name));
        twins.add(name);
    }
    let known = servers.get(server).and_then(|known| known.kinds.get(&kind));
    for (name, _) in known.into_iter().flat_map(|items| &items.all).filter(|(_, item)| item.standing.passes())
    {
        if !added.contains(name) {
            twins.add(name);
        }
    }
    twins
}

/// Whether a name with letters beyond ASCII looks like one of another server.
fn is_twin_elsewhere(servers: &HashMap<ServerId, Server>, own: &ServerId, kind: PinKind, key: &str) -> bool {
    if !matches!(kind, PinKind::Tool | PinKind::Prompt) {
        return false;
    }
    let wanted = skeletons(key);
    let others = servers.iter().filter(|(server, _)| *server != own);
    let mut names = others.filter_map(|(_, known)| known.kinds.get(&kind)).flat_map(|items| items.all.keys());
    names.any(|name| &**name != key && skeletons(name).iter().any(|one| wanted.contains(one)))
}
