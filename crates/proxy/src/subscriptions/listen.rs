//! `subscriptions/listen`: one long answer, by which a modern client hears of everything that it asked for.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep_until};
use tollgate_catalog::ListKind;
use tollgate_ledger::Outcome;
use tollgate_mcp::{Segments, compose, methods};
use tollgate_model::{Caller, Code, Refusal, ServerId, Stage};
use tollgate_upstream::{Lists, Verdict, Watch};

use super::asked::{Asked, tag};
use super::fanout::{Registration, Spot, Thing, To};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::mailbox::Topic;
use crate::policing::{self, Digest};
use crate::reply::Reply;
use crate::snapshot::{Snapshot, sees_other_things};
use crate::stages::record::{self, Behalf, Doing};
use crate::stages::watch::Wishes;
use crate::stages::{block, guard, policy, resolve};
use crate::standing;
use crate::tasks::capability;

/// How many further messages may wait beside one for each thing: those about lists, and the acknowledgement.
const OTHERS_MAX: usize = 4;
/// The largest id of the request: everything that the client is told carries it.
const ID_BYTES_MAX: usize = 1 << 10;
/// How often a server is asked again that could not be reached, so that changes of its lists are heard later.
const AGAIN: Duration = Duration::from_secs(30);
/// How often it is looked whether a server has answered meanwhile to what is kept over a reload.
const LOOK: Duration = Duration::from_secs(1);
/// How often resources are looked for again that were granted before a reload and are not found after it.
const TRIES_MAX: u32 = 20;

/// Listens until the client leaves, which drops this future, or the gateway stops.
pub(crate) async fn listen(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let settings = &inbound.snapshot.settings;
    if inbound.id.len() > ID_BYTES_MAX {
        let text = "the id of a request to listen is larger than 1 KiB";
        return Err(Refusal::new(Stage::Envelope, Code::InvalidRequest, text));
    }
    if let Some(server) = inbound.endpoint.native_server() {
        // As what listens there is cut off when it is blocked.
        block::server(gateway, &inbound.caller, server)?;
    }
    let asked = Asked::read(&inbound.message, settings.subscriptions_max)?;
    if !asked.task_ids.is_empty() {
        capability::require_extension(&inbound.caller)?; // tasks extension, task status notifications
    }
    let place = gateway.fanout().enter(inbound.caller.owner(), settings)?;
    let to = To::Stream {
        outlet: inbound.outlet.clone(),
        // Copied, since it outlives what else was in the request's buffer.
        subscription: Bytes::copy_from_slice(&inbound.id),
        waiting_max: settings.subscriptions_max + OTHERS_MAX,
    };
    let (mut reloads, mut swaps) = (gateway.reloads(), gateway.policing().swaps());
    let mut blocks = gateway.blocks().changes();
    let mut stopped = gateway.stopped_at(&inbound.caller, inbound.endpoint.servers());
    if !Arc::ptr_eq(&gateway.snapshot(), &inbound.snapshot) {
        // Applied since the request came.
        reloads.mark_changed();
    }
    let mut heard = Heard::open(gateway, inbound, &asked, false).await;
    let granted = std::mem::take(&mut heard.granted);
    let acknowledgement = Segments::from(granted.acknowledgement(&inbound.id));
    heard.told = gateway.fanout().tell(&to, std::mem::take(&mut heard.things), || {
        let topic = Topic(place.number() + 3);
        let _ = inbound.outlet.push_latest(topic, acknowledgement, settings.subscriptions_max + OTHERS_MAX);
    });
    let turns = gateway.policing().telling().turns();
    place.tell_lists(&to, seen_by(gateway, inbound), inbound.endpoint.name(), granted.lists, heard.spots());
    if gateway.policing().telling().turns() != turns {
        gateway.fanout().sees(place.number(), seen_by(gateway, inbound).1);
    }
    let mut seen = Arc::clone(&inbound.snapshot);
    loop {
        tokio::select! {
            () = gateway.draining() => return Ok(ended(inbound)),
            // Whoever listens has to prove anew who it is, now and then.
            () = standing::ended(gateway, &inbound.caller.who) => return Ok(ended(inbound)),
            () = tokio::time::sleep(LOOK), if !heard.late.is_empty() => heard.look(),
            () = sleep_until(heard.ask_again), if heard.misses_something() => {
                heard.ask_again = Instant::now() + AGAIN;
                let now = at(inbound, &seen);
                if let Some(now) = now && heard.ask_missing(gateway, &now, granted.lists, &to).await {
                    place.tell_lists(&to, seen_by(gateway, inbound), inbound.endpoint.name(), granted.lists, heard.spots());
                    place.tell_missed(&[]);
                }
            }
            _ = swaps.changed() => heard.keep(gateway, inbound),
            _ = blocks.changed() => {
                heard.keep(gateway, inbound);
                let now_stopped = gateway.stopped_at(&inbound.caller, inbound.endpoint.servers());
                // The server is told that nobody listens any more.
                heard.watches.retain(|(server, _)| !now_stopped.contains(server.name()));
                let goes_on = !stopped.is_subset(&now_stopped);
                stopped = now_stopped;
                if let Some(now) = at(inbound, &seen).filter(|_| goes_on) {
                    heard = Heard::again(gateway, &now, &granted, &to).await;
                    place.tell_lists(&to, seen_by(gateway, inbound), inbound.endpoint.name(), granted.lists, heard.spots());
                    place.tell_missed(&heard.told);
                }
            }
            _ = reloads.changed() => {
                let snapshot = gateway.snapshot();
                // An endpoint that is gone says nothing more.
                let Some(now) = at(inbound, &snapshot) else { return Ok(ended(inbound)) };
                if sees_other_things(&seen, &snapshot, inbound.caller.tenant(), inbound.endpoint.name()) {
                    let again = Heard::again(gateway, &now, &granted, &to).await;
                    place.tell_lists(&to, seen_by(gateway, inbound), inbound.endpoint.name(), granted.lists, again.spots());
                    place.tell_missed(&again.told);
                    heard = again;
                }
                seen = snapshot;
            }
        }
    }
}

/// Who listens, and what it sees now.
fn seen_by<'a>(gateway: &Gateway, inbound: &'a Inbound) -> (&'a Caller, Option<Digest>) {
    (&inbound.caller, gateway.view(&inbound.caller, inbound.endpoint.name()))
}

/// The request as it would be now.
fn at(inbound: &Inbound, snapshot: &Arc<Snapshot>) -> Option<Inbound> {
    let endpoint = snapshot.endpoint(inbound.caller.tenant(), inbound.endpoint.name())?;
    Some(inbound.at(endpoint, snapshot))
}

/// What a listener hears of now.
struct Heard {
    watches: Vec<(ServerId, Watch)>,
    things: Vec<Thing>,
    /// The same things, once they are entered.
    told: Vec<Registration>,
    granted: Asked,
    /// What was granted before a reload and has no answer since. It is told as changed once it has.
    late_things: Vec<Thing>,
    late: Vec<Registration>,
    /// Servers whose lists are listened for, and that could not be reached.
    missing: Vec<ServerId>,
    /// What was granted before a reload, of servers that could not be reached since.
    left: Asked,
    tries: u32,
    ask_again: Instant,
}

/// What is wanted of one server.
struct Want {
    wishes: Wishes,
    /// Each resource and task: the client's name, the server's, and whether it is a task.
    names: Vec<(String, Arc<str>, bool)>,
    lists: bool,
}

/// What was wanted of a server that has been asked.
struct Part {
    names: Vec<(String, Arc<str>, bool)>,
    lists: bool,
}

impl Heard {
    fn new() -> Self {
        Self {
            watches: Vec::new(),
            things: Vec::new(),
            told: Vec::new(),
            granted: Asked::default(),
            late_things: Vec::new(),
            late: Vec::new(),
            missing: Vec::new(),
            left: Asked::default(),
            tries: 0,
            ask_again: Instant::now() + AGAIN,
        }
    }

    /// Asks every server for its part. What is not granted in time is left out, unless it was granted before.
    async fn open(gateway: &Gateway, inbound: &Inbound, asked: &Asked, before: bool) -> Self {
        let mut heard = Self::new();
        let (wants, unknown) = wants(gateway, inbound, asked).await;
        if before {
            heard.left.uris = unknown;
        }
        let opened = ask(gateway, inbound, wants, before).await;
        let native = inbound.endpoint.native_server().is_some();
        if !native {
            // Here the lists are the gateway's own, and it tells when its configuration changes them.
            heard.granted.lists = asked.lists;
        }
        for (server, part, watch) in opened {
            match watch {
                Some(watch) => {
                    if native {
                        heard.granted.lists = both(asked.lists, watch.lists());
                    }
                    heard.take(server, watch, part.names, before);
                }
                None => {
                    if part.lists {
                        heard.missing.push(server);
                    }
                    if before {
                        heard.leave(part.names);
                    }
                }
            }
        }
        heard
    }

    /// Asks every server anew for what was granted.
    async fn again(gateway: &Gateway, inbound: &Inbound, granted: &Asked, to: &To) -> Self {
        let mut again = Self::open(gateway, inbound, granted, true).await;
        again.enter(gateway, to);
        again
    }

    /// Lets go of what policy does not let the client hear of any more.
    fn keep(&mut self, gateway: &Gateway, inbound: &Inbound) {
        let hears = |told: &Registration| {
            let (caller, endpoint, server) = (&inbound.caller, inbound.endpoint.name(), &told.spot.0);
            if told.is_task {
                policing::sees(gateway, caller, endpoint, server.name())
            } else {
                policy::hears(gateway, caller, endpoint, server, &told.native)
            }
        };
        self.told.retain(hears);
        self.late.retain(hears);
    }

    /// Keeps in mind what could not be asked for.
    fn leave(&mut self, names: Vec<(String, Arc<str>, bool)>) {
        for (public, _, is_task) in names {
            let left = if is_task { &mut self.left.task_ids } else { &mut self.left.uris };
            left.insert(public);
        }
    }

    fn misses_something(&self) -> bool {
        let left = !self.left.uris.is_empty() || !self.left.task_ids.is_empty();
        !self.missing.is_empty() || (left && self.tries < TRIES_MAX)
    }

    /// Has the client told of what has been taken.
    fn enter(&mut self, gateway: &Gateway, to: &To) {
        self.told.extend(gateway.fanout().tell(to, std::mem::take(&mut self.things), || {}));
        self.late.extend(gateway.fanout().tell(to, std::mem::take(&mut self.late_things), || {}));
    }

    /// Tells as changed what has been granted meanwhile, and lets go of what has been refused.
    fn look(&mut self) {
        let watches = &mut self.watches;
        let mut granted = Vec::new();
        self.late = std::mem::take(&mut self.late)
            .into_iter()
            .filter_map(|told| {
                let is_here = |(server, watch): &&(ServerId, Watch)| {
                    *server == told.spot.0 && *watch.origin() == told.spot.1
                };
                // Several of a server's watches wait at one desk.
                let (_, watch) = watches.iter().find(is_here)?;
                match verdict(watch, &told.native, told.is_task) {
                    Verdict::Honoured => granted.push(told),
                    hopeful if hopeful.is_hopeful() => return Some(told),
                    _ => {}
                }
                None
            })
            .collect();
        for (_, watch) in watches.iter_mut() {
            watch.keep_hopeful();
        }
        granted.iter().for_each(Registration::missed);
        self.told.extend(granted);
    }

    /// Takes what the server grants; also what it may still grant, if that was granted before.
    fn take(&mut self, server: ServerId, watch: Watch, names: Vec<(String, Arc<str>, bool)>, before: bool) {
        for (public, native, is_task) in names {
            let things = match verdict(&watch, &native, is_task) {
                Verdict::Honoured => &mut self.things,
                hopeful if before && hopeful.is_hopeful() => &mut self.late_things,
                _ => continue,
            };
            let spot = (server.clone(), watch.origin().clone());
            let differs = *public != *native;
            let known = if is_task { &mut self.granted.task_ids } else { &mut self.granted.uris };
            let other = differs.then(|| Arc::from(public.as_str()));
            known.insert(public);
            things.push(Thing { spot, native, public: other, is_task });
        }
        self.watches.push((server, watch));
    }

    fn spots(&self) -> HashSet<Spot> {
        self.watches.iter().map(|(server, watch)| (server.clone(), watch.origin().clone())).collect()
    }

    /// Asks once more for what is missing: the lists of servers that could not be reached, and what was granted before a
    /// reload. Whether another server's lists are heard of now.
    async fn ask_missing(&mut self, gateway: &Gateway, inbound: &Inbound, lists: Lists, to: &To) -> bool {
        self.tries += 1;
        let asked = Asked { lists, ..std::mem::take(&mut self.left) };
        let (mut wants, unknown) = wants(gateway, inbound, &asked).await;
        self.left.uris = unknown;
        wants.retain(|server, want| self.missing.contains(server) || !want.names.is_empty());
        let (before, told) = (self.watches.len(), self.told.len());
        for (server, part, watch) in ask(gateway, inbound, wants, true).await {
            match watch {
                Some(watch) => {
                    self.missing.retain(|other| *other != server);
                    self.take(server, watch, part.names, true);
                }
                None => self.leave(part.names),
            }
        }
        self.enter(gateway, to);
        self.told[told..].iter().for_each(Registration::missed);
        self.watches.len() > before
    }
}

/// Asks each server for its part, all at once. What it has refused is taken back, and unless it was granted before also
/// what it has not answered.
async fn ask(
    gateway: &Gateway,
    inbound: &Inbound,
    wants: HashMap<ServerId, Want>,
    before: bool,
) -> Vec<(ServerId, Part, Option<Watch>)> {
    let deadline = Instant::now() + inbound.snapshot.settings.listen_wait;
    let wish = inbound.message.member("notifications").map(|wish| inbound.message.raw(wish));
    let asked = wants.into_iter().map(|(server, Want { wishes, names, lists })| {
        let arguments = wish.as_ref();
        async move {
            let doing =
                Doing { method: methods::SUBSCRIPTIONS_LISTEN, server: &server, native: None, arguments };
            // What cannot be put on record is not asked for.
            let mut watch = match record::aside(gateway, Behalf::of(inbound), doing).await {
                Ok((aside, receipt)) => {
                    let opening = wishes.open(&inbound.caller, receipt);
                    let opened = tokio::time::timeout_at(deadline, opening).await;
                    match &opened {
                        Ok(Ok(_)) => aside.close(Outcome::Ok, None).await,
                        Ok(Err(error)) => aside.heard(Err(error)).await,
                        Err(_) => aside.close(Outcome::Refused, Some(Code::UpstreamTimeout.row().name)).await,
                    }
                    opened.ok().and_then(Result::ok)
                }
                Err(_) => None,
            };
            if let Some(watch) = &mut watch {
                watch.settled(deadline.saturating_duration_since(Instant::now())).await;
                if before {
                    watch.keep_hopeful();
                } else {
                    watch.keep_honoured();
                }
            }
            (server, Part { names, lists }, watch)
        }
    });
    join_all(asked).await
}

fn verdict(watch: &Watch, native: &str, is_task: bool) -> Verdict {
    if is_task { watch.task(native) } else { watch.resource(native) }
}

/// What the caller may hear of, by server, and the resources that are nobody's. What it may not is left out.
async fn wants(
    gateway: &Gateway,
    inbound: &Inbound,
    asked: &Asked,
) -> (HashMap<ServerId, Want>, BTreeSet<String>) {
    let mut wants: HashMap<ServerId, Want> = HashMap::new();
    let mut unknown = BTreeSet::new();
    for uri in &asked.uris {
        let Ok(resolved) = resolve::watched(gateway, inbound, uri).await else {
            unknown.insert(uri.clone());
            continue;
        };
        let Ok(permit) = policy::decide(gateway, inbound, &resolved) else { continue };
        if guard::watches(gateway, inbound, &resolved).is_err() {
            continue;
        }
        let want = wants.entry(resolved.server().id().clone()).or_insert_with(|| Want::at(&resolved));
        let native = want.wishes.resource(&resolved, &permit);
        want.names.push((uri.clone(), native, false));
    }
    for task_id in &asked.task_ids {
        let Ok(resolved) = resolve::task_named(gateway, inbound, task_id) else { continue };
        let Ok(permit) = policy::decide(gateway, inbound, &resolved) else { continue };
        let want = wants.entry(resolved.server().id().clone()).or_insert_with(|| Want::at(&resolved));
        let native = want.wishes.task(&resolved, &permit);
        want.names.push((task_id.clone(), native, true));
    }
    if asked.wants_lists() {
        let kinds = [
            (asked.lists.tools, ListKind::Tools),
            (asked.lists.prompts, ListKind::Prompts),
            (asked.lists.resources, ListKind::Resources),
        ];
        for name in inbound.endpoint.servers() {
            let shown = |(wanted, kind)| wanted && inbound.endpoint.lists(kind, name);
            if !kinds.into_iter().any(shown) {
                continue;
            }
            let Ok(server) = inbound.server(name) else { continue };
            let seen = policy::look(gateway, &inbound.caller, inbound.endpoint.name(), name);
            let Some((permit, _)) = seen else { continue };
            let want = wants.entry(server.id().clone()).or_insert_with(|| Want {
                wishes: Wishes::at(&server),
                names: Vec::new(),
                lists: false,
            });
            want.wishes.lists(&permit);
            want.lists = true;
        }
    }
    (wants, unknown)
}

impl Want {
    fn at(resolved: &crate::stages::Resolved) -> Self {
        Self { wishes: Wishes::at(resolved.server()), names: Vec::new(), lists: false }
    }
}

fn both(one: Lists, other: Lists) -> Lists {
    Lists {
        tools: one.tools && other.tools,
        prompts: one.prompts && other.prompts,
        resources: one.resources && other.resources,
    }
}

/// The end of a subscription that ends well (2026-07-28, subscriptions, graceful closure).
fn ended(inbound: &Inbound) -> Reply {
    let result = compose::object(&[("resultType", b"\"complete\""), ("_meta", &tag(&inbound.id))]);
    Reply::result(&inbound.id, &result)
}
