//! Definitions of tools, prompts and resources, and what servers say of themselves: judged when they are learnt, once for as long
//! as they, the configuration and the names of other servers' tools stay the same.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use serde_json::{Value, json};
use tollgate_catalog::uris::template_takes;
use tollgate_catalog::{Item, ListKind};
use tollgate_guard::{Guard, Inspection, Reading, Rule, Set, Subject};
use tollgate_mcp::{Message, Span, methods};
use tollgate_model::{Refusal, ServerId};
use tollgate_telemetry::events::GuardFound;
use tollgate_upstream::Hello;

use super::neighbours::{Names, are_beside};
use super::{Desk, FOUND_MAX, OF_PROTOCOL, found};
use crate::cache::Part;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::snapshot::Snapshot;
use crate::stages::{Resolved, record};

/// How many judgements are kept, of all servers together. Beyond it those of the server that brings more are forgotten, and made
/// anew.
const JUDGED_MAX: usize = 50_000;
/// The largest definition that is kept as it is shown. A larger one is judged each time.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// How many items of one server can be withheld one by one. Beyond it all of them are.
const WITHHELD_MAX: usize = 10_000;
/// The longest name that is told of an item in which something was found.
const NAME_MAX: usize = 128;

/// What is known of the definitions of all servers.
#[derive(Debug, Default)]
pub(crate) struct Definitions {
    names: Names,
    judged: Mutex<Judgements>,
    withheld: Mutex<HashMap<ServerId, Withheld>>,
    /// Whether anything is withheld: nothing else is asked on the way of a call while nothing is.
    is_any_withheld: AtomicBool,
}

/// The rule that withholds something, if it is one alone.
type By = Option<Rule>;

/// What a judgement is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum What {
    Item(ListKind),
    Instructions,
    Info,
}

#[derive(Debug, Default)]
struct Judgements {
    keys: RandomState,
    of: HashMap<ServerId, HashMap<(What, Box<str>), Judged>>,
    count: usize,
}

#[derive(Debug)]
struct Judged {
    /// Of the server's own bytes. Its key is of this process alone.
    digest: u64,
    /// By which guards, and beside which names.
    as_of: (u64, u64),
    verdict: Verdict,
}

#[derive(Debug, Clone)]
enum Verdict {
    AsItIs,
    Changed(Bytes),
    /// Somebody has to approve it first, and then it shows so, if it is not as it is.
    Held(Option<Bytes>),
    /// Nobody is shown it.
    Never(By),
}

#[derive(Debug, Default)]
struct Withheld {
    items: HashMap<ListKind, HashMap<Box<str>, By>>,
    count: usize,
}

impl Definitions {
    /// Others judge from now on: what is withheld shows when the lists are read again.
    pub(crate) fn clear(&self) {
        self.lock_withheld().clear();
        self.is_any_withheld.store(false, Ordering::Release);
    }

    fn known(
        &self,
        server: &ServerId,
        what: What,
        key: &str,
        bytes: &[u8],
        as_of: (u64, u64),
    ) -> (u64, Option<Verdict>) {
        let judged = self.lock();
        let digest = judged.keys.hash_one(bytes);
        // The key of the map is made only where there is something to look for.
        let known = judged.of.get(server).and_then(|of| of.get(&(what, Box::from(key))));
        let verdict = known.filter(|known| known.digest == digest && known.as_of == as_of);
        (digest, verdict.map(|known| known.verdict.clone()))
    }

    fn keep(&self, server: &ServerId, what: What, key: &str, judged: Judged) {
        if matches!(&judged.verdict, Verdict::Changed(bytes) | Verdict::Held(Some(bytes)) if bytes.len() > KEPT_BYTES_MAX)
        {
            return;
        }
        let mut all = self.lock();
        if all.count >= JUDGED_MAX {
            let gone = all.of.remove(server).map_or(0, |of| of.len());
            all.count -= gone;
            if gone == 0 {
                all.of.clear();
                all.count = 0;
            }
        }
        let before = all.of.entry(server.clone()).or_default().insert((what, key.into()), judged);
        all.count += usize::from(before.is_none());
    }

    fn withhold(&self, server: &ServerId, kind: ListKind, key: &str, rule: Option<By>) {
        if rule.is_none() && !self.is_any_withheld.load(Ordering::Acquire) {
            return;
        }
        let mut all = self.lock_withheld();
        let of = all.entry(server.clone()).or_default();
        let items = of.items.entry(kind).or_default();
        match rule {
            Some(rule) if of.count < WITHHELD_MAX => {
                of.count += usize::from(items.insert(key.into(), rule).is_none());
            }
            Some(_) => of.count = WITHHELD_MAX,
            None => of.count -= usize::from(items.remove(key).is_some()),
        }
        if of.count == 0 {
            all.remove(server);
        }
        self.is_any_withheld.store(!all.is_empty(), Ordering::Release);
    }

    /// Whether a server's item is withheld, and by which rule.
    fn withheld(&self, server: &ServerId, kind: ListKind, key: &str) -> Option<By> {
        if !self.is_any_withheld.load(Ordering::Acquire) {
            return None;
        }
        let all = self.lock_withheld();
        let of = all.get(server)?;
        let rule = of.items.get(&kind).and_then(|items| items.get(key)).copied();
        rule.or_else(|| (of.count >= WITHHELD_MAX).then_some(None))
    }

    /// Whether only templates that are withheld could have made a URI, and by which rule the first of them is.
    fn template_withheld(&self, server: &ServerId, uri: &str) -> Option<By> {
        if !self.is_any_withheld.load(Ordering::Acquire) {
            return None;
        }
        let rule = {
            let all = self.lock_withheld();
            let templates = all.get(server)?.items.get(&ListKind::Templates)?;
            templates.iter().find(|(template, _)| template_takes(template, uri)).map(|(_, rule)| *rule)?
        };
        let judged = self.lock();
        let shows = |((what, key), judged): (&(What, Box<str>), &Judged)| {
            !matches!(judged.verdict, Verdict::Never(_))
                && match what {
                    What::Item(ListKind::Resources) => &**key == uri,
                    What::Item(ListKind::Templates) => template_takes(key, uri),
                    _ => false,
                }
        };
        let is_shown = judged.of.get(server).is_some_and(|of| of.iter().any(shows));
        (!is_shown).then_some(rule)
    }

    fn lock(&self) -> MutexGuard<'_, Judgements> {
        self.judged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_withheld(&self) -> MutexGuard<'_, HashMap<ServerId, Withheld>> {
        self.withheld.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Judges the items of a list as they are learnt. What may not be shown is marked as withheld, and what was changed shows so. Says
/// which somebody has to approve first.
pub(crate) fn items(
    gateway: &Gateway,
    snapshot: &Snapshot,
    server: &ServerId,
    kind: ListKind,
    items: Vec<Item>,
) -> (Vec<Item>, HashSet<Box<str>>) {
    let mut held = HashSet::new();
    if !are_judged(snapshot, server) {
        return (items, held);
    }
    let definitions = gateway.guarded_definitions();
    if kind == ListKind::Tools && definitions.names.learn(server, items.iter().map(Item::key)) {
        // What others list was held against fewer names: it is read again before it is shown again.
        for other in snapshot.servers().iter().filter(|other| are_beside(server, other.id())) {
            gateway.cache().changed(other.number(), Part::Tools);
        }
    }
    let mut judging = Judging::new(gateway, snapshot, server);
    let shown = items.into_iter().map(|item| {
        let key: Box<str> = item.key().into();
        let verdict = judging.judge(What::Item(kind), &key, item.raw());
        if matches!(verdict, Verdict::Held(..)) {
            held.insert(key.clone());
        }
        let changed = match verdict {
            Verdict::AsItIs | Verdict::Held(None) => Ok(item),
            Verdict::Changed(bytes) | Verdict::Held(Some(bytes)) => {
                item.clone().shown_as(bytes).ok_or((item, None))
            }
            Verdict::Never(rule) => Err((item, rule)),
        };
        definitions.withhold(server, kind, &key, changed.as_ref().err().map(|(_, rule)| *rule));
        changed.unwrap_or_else(|(item, _)| item.withheld())
    });
    let shown = shown.collect();
    judging.tell();
    (shown, held)
}

/// Looks at what a page says beside its items, or at what stands in its place.
pub(crate) fn page(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    kind: ListKind,
    message: Message,
) -> Result<Message, Refusal> {
    let desk = Desk::of(gateway, inbound, server);
    let Some(guard) = &desk.set.definitions else { return Ok(message) };
    let Some(body) = message.body() else { return Ok(message) };
    let except: Vec<&str> = OF_PROTOCOL.iter().copied().chain([kind.items_member()]).collect();
    let tenant = inbound.caller.tenant();
    let subject = Subject {
        except: &except,
        tenant: tenant.as_str(),
        reading: Reading::Definition(None),
        pseudonyms: None,
    };
    let inspection = guard.inspect_as(message.bytes(), body, &subject);
    let around = desk.look_around(guard, ("definition", server), &message, true);
    if inspection.noted.is_empty() && around.is_empty() {
        return Ok(message);
    }
    desk.tell(guard, "definition", server, &inspection);
    let refuse = || super::refuse("list", guard, &inspection).of(server.name());
    let around = super::changes(around).ok_or_else(refuse)?;
    if inspection.blocked.is_some() || !inspection.held.is_empty() {
        // Nobody could approve what belongs to no item.
        return Err(refuse());
    }
    match super::changed(&message, body, &inspection, around) {
        Ok(changed) => Ok(changed.map_or(message, |changed| *changed)),
        Err(()) => Err(refuse()),
    }
}

/// What a server says of itself, as it may be shown, and whether somebody has to approve its instructions first.
pub(crate) fn hello(
    gateway: &Gateway,
    snapshot: &Snapshot,
    server: &ServerId,
    mut hello: Hello,
) -> (Hello, bool) {
    if !are_judged(snapshot, server) {
        return (hello, false);
    }
    let mut is_held = false;
    let mut judging = Judging::new(gateway, snapshot, server);
    let mut shown = |what, said: Option<Bytes>| {
        let said = said?;
        match judging.judge(what, "", &said) {
            Verdict::AsItIs => Some(said),
            Verdict::Changed(bytes) => Some(bytes),
            // Nothing else that a server says of itself is pinned.
            Verdict::Held(changed) if what == What::Instructions => {
                is_held = true;
                changed.or(Some(said))
            }
            Verdict::Held(..) | Verdict::Never(_) => None,
        }
    };
    hello.instructions = shown(What::Instructions, hello.instructions.take());
    hello.info = shown(What::Info, hello.info.take());
    judging.tell();
    (hello, is_held)
}

/// What a server says of itself beside its answers, as it may be shown.
pub(super) fn info(gateway: &Gateway, snapshot: &Snapshot, server: &ServerId, info: Bytes) -> Option<Bytes> {
    if !are_judged(snapshot, server) {
        return Some(info);
    }
    let mut judging = Judging::new(gateway, snapshot, server);
    let verdict = judging.judge(What::Info, "", &info);
    judging.tell();
    match verdict {
        Verdict::AsItIs => Some(info),
        Verdict::Changed(changed) => Some(changed),
        Verdict::Held(_) | Verdict::Never(_) => None,
    }
}

/// Whether a resource is withheld, of whose changes somebody wants to hear.
pub(crate) fn hides_resource(gateway: &Gateway, server: &ServerId, uri: &str) -> bool {
    let definitions = gateway.guarded_definitions();
    definitions.withheld(server, ListKind::Resources, uri).is_some()
        || definitions.template_withheld(server, uri).is_some()
}

/// Refuses what uses an item that is withheld. Asked of what policy allows.
pub(super) fn refuse_withheld(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
) -> Result<(), Refusal> {
    let (server, Some(native)) = (resolved.server(), resolved.native()) else { return Ok(()) };
    let definitions = gateway.guarded_definitions();
    let kinds: &[ListKind] = match resolved.target().key {
        Some(("uri", _)) => &[ListKind::Resources, ListKind::Templates],
        _ if inbound.message.method() == methods::TOOLS_CALL => &[ListKind::Tools],
        _ => &[ListKind::Prompts],
    };
    let withheld = kinds.iter().find_map(|kind| definitions.withheld(server.id(), *kind, native));
    let is_uri = kinds.contains(&ListKind::Templates);
    let withheld = withheld.or_else(|| is_uri.then(|| definitions.template_withheld(server.id(), native))?);
    let Some(rule) = withheld else { return Ok(()) };
    let inspection = Inspection { blocked: Some(rule), ..Inspection::default() };
    let set = set_of(&inbound.snapshot, server.id(), Some(native));
    let Some(guard) = &set.definitions else { return Ok(()) };
    Err(super::refuse("definition", guard, &inspection).of(server.name()))
}

/// Whether anything is looked for in definitions of a server, at least in some.
pub(crate) fn are_judged(snapshot: &Snapshot, server: &ServerId) -> bool {
    snapshot.guards.tell_tools_apart() || set_of(snapshot, server, None).definitions.is_some()
}

/// The guards of a server's definitions, which are judged once for all who see them.
fn set_of(snapshot: &Snapshot, server: &ServerId, tool: Option<&str>) -> Arc<Set> {
    let tenant = server.holder().tenant().map_or("", |tenant| tenant.as_str());
    snapshot.guards.at(tenant, server.name().as_str(), tool)
}

/// Judging what one server says.
struct Judging<'a> {
    gateway: &'a Gateway,
    snapshot: &'a Snapshot,
    server: &'a ServerId,
    as_of: (u64, u64),
    found: Vec<Value>,
    more: usize,
}

impl<'a> Judging<'a> {
    fn new(gateway: &'a Gateway, snapshot: &'a Snapshot, server: &'a ServerId) -> Self {
        let as_of = (snapshot.guards.number(), gateway.guarded_definitions().names.generation());
        Self { gateway, snapshot, server, as_of, found: Vec::new(), more: 0 }
    }

    fn judge(&mut self, what: What, key: &str, bytes: &Bytes) -> Verdict {
        let definitions = self.gateway.guarded_definitions();
        let (digest, known) = definitions.known(self.server, what, key, bytes, self.as_of);
        if let Some(verdict) = known {
            return verdict;
        }
        let tool = (what == What::Item(ListKind::Tools)).then_some(key);
        let set = set_of(self.snapshot, self.server, tool);
        let Some(guard) = &set.definitions else { return Verdict::AsItIs };
        let names = definitions.names.beside(self.server, self.snapshot, what == What::Item(ListKind::Tools));
        let tenant = self.server.holder().tenant().map_or("", |tenant| tenant.as_str());
        let subject =
            Subject { except: &[], tenant, reading: Reading::Definition(Some(&names)), pseudonyms: None };
        let inspection = guard.inspect_as(bytes, Span::all(bytes), &subject);
        drop(names);
        let is_pinned = self.snapshot.settings.pins.rule(self.server).is_some();
        let verdict = match (&inspection.blocked, &inspection.changed) {
            (Some(rule), _) => Verdict::Never(*rule),
            (None, changed) => match (inspection.held.first(), changed) {
                // Who could approve it?
                (Some(rule), _) if !is_pinned => Verdict::Never(Some(*rule)),
                (Some(_), changed) => Verdict::Held(changed.clone()),
                (None, Some(bytes)) => Verdict::Changed(bytes.clone()),
                (None, None) => Verdict::AsItIs,
            },
        };
        self.note(guard, (what, key), &inspection);
        definitions.keep(
            self.server,
            what,
            key,
            Judged { digest, as_of: self.as_of, verdict: verdict.clone() },
        );
        verdict
    }

    fn note(&mut self, guard: &Guard, (what, key): (What, &str), inspection: &Inspection) {
        self.more += inspection.more;
        let is_told = |noted: &tollgate_guard::Noted| noted.path == "/name" || noted.path.starts_with("/uri");
        let item = match what {
            What::Instructions => Cow::Borrowed("instructions"),
            What::Info => Cow::Borrowed("serverInfo"),
            // Nothing that was found is told, so neither is a name in which it was.
            What::Item(_) if key.len() > NAME_MAX || inspection.noted.iter().any(is_told) => {
                Cow::Borrowed("*")
            }
            What::Item(_) => Cow::Owned(key.to_owned()),
        };
        let tenant = self.server.holder().tenant().cloned().unwrap_or_default();
        for noted in &inspection.noted {
            let (rule, action) = (guard.scanner().id(noted.rule), noted.action.as_str());
            let (path, server) = (noted.path.as_str(), self.server);
            GuardFound { rule: &rule, action, place: "definition", path, server, tenant: &tenant }.emit();
            if self.found.len() >= FOUND_MAX {
                self.more += 1;
                continue;
            }
            let mut told = found(guard, "definition", noted);
            told["item"] = json!(item);
            self.found.push(told);
        }
    }

    /// Puts on record what was found that is new.
    fn tell(self) {
        if self.found.is_empty() {
            return;
        }
        let said = [("guard", self.found.into()), ("more", self.more.into())];
        record::upkeep(self.gateway, self.server, None, said);
    }
}
