//! `subscriptions/listen`: one long answer, by which a modern client hears of everything that it asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate_catalog::ListKind;
use tollgate_mcp::{Segments, compose};
use tollgate_model::{Code, Refusal, ServerName, Stage};
use tollgate_upstream::{Lists, Verdict, Watch};

use super::asked::{Asked, tag};
use super::fanout::{Registration, Spot, Thing, To};
use crate::gateway::{Gateway, Snapshot, sees_other_things};
use crate::inbound::Inbound;
use crate::mailbox::Topic;
use crate::reply::Reply;
use crate::stages::watch::Wishes;
use crate::stages::{policy, resolve};
use crate::tasks::capability;

/// How many further messages may wait beside one for each thing: those about lists, and the acknowledgement.
const OTHERS_MAX: usize = 4;
/// The largest id of the request: everything that the client is told carries it.
const ID_BYTES_MAX: usize = 1 << 10;
/// How often a server is asked again that could not be reached, so that changes of its lists are heard later.
const AGAIN: Duration = Duration::from_secs(30);

/// Listens until the client leaves, which drops this future, or the gateway stops.
pub(crate) async fn listen(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let settings = &inbound.snapshot.settings;
    if inbound.id.len() > ID_BYTES_MAX {
        let text = "the id of a request to listen is larger than 1 KiB";
        return Err(Refusal::new(Stage::Envelope, Code::InvalidRequest, text));
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
    let mut reloads = gateway.reloads();
    if !Arc::ptr_eq(&gateway.snapshot(), &inbound.snapshot) {
        // Applied since the request came.
        reloads.mark_changed();
    }
    let mut heard = Heard::open(gateway, inbound, &asked).await;
    let granted = std::mem::take(&mut heard.granted);
    let acknowledgement = Segments::from(granted.acknowledgement(&inbound.id));
    heard.told = gateway.fanout().tell(&to, std::mem::take(&mut heard.things), || {
        let topic = Topic(place.number() + 3);
        let _ = inbound.outlet.push_latest(topic, acknowledgement, settings.subscriptions_max + OTHERS_MAX);
    });
    place.tell_lists(&to, inbound.endpoint.name(), granted.lists, heard.spots());
    let mut seen = Arc::clone(&inbound.snapshot);
    loop {
        tokio::select! {
            () = gateway.draining() => return Ok(ended(inbound)),
            () = tokio::time::sleep(AGAIN), if !heard.missing.is_empty() => {
                let now = at(inbound, &seen);
                if let Some(now) = now && heard.ask_missing(gateway, &now, granted.lists).await {
                    place.tell_lists(&to, inbound.endpoint.name(), granted.lists, heard.spots());
                    place.tell_missed(&[]);
                }
            }
            _ = reloads.changed() => {
                let snapshot = gateway.snapshot();
                // An endpoint that is gone says nothing more.
                let Some(now) = at(inbound, &snapshot) else { return Ok(ended(inbound)) };
                if sees_other_things(&seen, &snapshot, inbound.endpoint.name()) {
                    let mut again = Heard::open(gateway, &now, &granted).await;
                    again.told = gateway.fanout().tell(&to, std::mem::take(&mut again.things), || {});
                    place.tell_lists(&to, inbound.endpoint.name(), granted.lists, again.spots());
                    place.tell_missed(&again.told);
                    heard = again;
                }
                seen = snapshot;
            }
        }
    }
}

/// The request as it would be now.
fn at(inbound: &Inbound, snapshot: &Arc<Snapshot>) -> Option<Inbound> {
    let endpoint = snapshot.endpoint(inbound.endpoint.name())?;
    Some(inbound.at(endpoint, snapshot))
}

/// What a listener hears of now.
#[derive(Default)]
struct Heard {
    watches: Vec<(ServerName, Watch)>,
    things: Vec<Thing>,
    /// The same things, once they are entered.
    told: Vec<Registration>,
    granted: Asked,
    /// Servers whose lists are listened for, and that could not be reached.
    missing: Vec<ServerName>,
}

/// What is wanted of one server.
struct Want {
    wishes: Wishes,
    /// Each resource and task: the client's name, the server's, and whether it is a task.
    names: Vec<(String, Arc<str>, bool)>,
    lists: bool,
}

impl Heard {
    /// Asks every server for its part. What is not granted in time is left out.
    async fn open(gateway: &Gateway, inbound: &Inbound, asked: &Asked) -> Self {
        let deadline = Instant::now() + inbound.snapshot.settings.listen_wait;
        let wants = wants(gateway, inbound, asked).await;
        let opened = join_all(wants.into_iter().map(|(server, want)| async move {
            let opening = want.wishes.open(&inbound.caller);
            let mut watch = tokio::time::timeout_at(deadline, opening).await.ok().and_then(Result::ok);
            if let Some(watch) = &mut watch {
                watch.settled(deadline.saturating_duration_since(Instant::now())).await;
                watch.keep_honoured();
            }
            (server, want.names, want.lists, watch)
        }))
        .await;
        let mut heard = Self::default();
        let native = inbound.endpoint.native_server().is_some();
        if !native {
            // Here the lists are the gateway's own, and it tells when its configuration changes them.
            heard.granted.lists = asked.lists;
        }
        for (server, names, lists, watch) in opened {
            match watch {
                Some(watch) => {
                    if native {
                        heard.granted.lists = both(asked.lists, watch.lists());
                    }
                    heard.take(server, watch, names);
                }
                None if lists => heard.missing.push(server),
                None => {}
            }
        }
        heard
    }

    fn take(&mut self, server: ServerName, watch: Watch, names: Vec<(String, Arc<str>, bool)>) {
        for (public, native, is_task) in names {
            let verdict = if is_task { watch.task(&native) } else { watch.resource(&native) };
            if !matches!(verdict, Verdict::Honoured) {
                continue;
            }
            let spot = (server.clone(), watch.origin().clone());
            let differs = *public != *native;
            let known = if is_task { &mut self.granted.task_ids } else { &mut self.granted.uris };
            let other = differs.then(|| Arc::from(public.as_str()));
            known.insert(public);
            self.things.push(Thing { spot, native, public: other, is_task });
        }
        self.watches.push((server, watch));
    }

    fn spots(&self) -> HashSet<Spot> {
        self.watches.iter().map(|(server, watch)| (server.clone(), watch.origin().clone())).collect()
    }

    /// Tries once more to hear of the lists of servers that could not be reached. Whether any can be now.
    async fn ask_missing(&mut self, gateway: &Gateway, inbound: &Inbound, lists: Lists) -> bool {
        let asked = Asked { lists, ..Asked::default() };
        let mut wants = wants(gateway, inbound, &asked).await;
        wants.retain(|server, _| self.missing.contains(server));
        let opened = join_all(wants.into_iter().map(|(server, want)| async move {
            let wait = inbound.snapshot.settings.listen_wait;
            let opening = tokio::time::timeout(wait, want.wishes.open(&inbound.caller)).await;
            (server, opening.ok().and_then(Result::ok))
        }))
        .await;
        let before = self.watches.len();
        for (server, watch) in opened {
            if let Some(watch) = watch {
                self.missing.retain(|other| *other != server);
                self.watches.push((server, watch));
            }
        }
        self.watches.len() > before
    }
}

/// What the caller may hear of, by server. What it may not, or what is nobody's, is left out.
async fn wants(gateway: &Gateway, inbound: &Inbound, asked: &Asked) -> HashMap<ServerName, Want> {
    let mut wants: HashMap<ServerName, Want> = HashMap::new();
    for uri in &asked.uris {
        let Ok(resolved) = resolve::watched(gateway, inbound, uri).await else { continue };
        let Ok(permit) = policy::decide(&inbound.caller, &resolved) else { continue };
        let want = wants.entry(resolved.server().name().clone()).or_insert_with(|| Want::at(&resolved));
        let native = want.wishes.resource(&resolved, &permit);
        want.names.push((uri.clone(), native, false));
    }
    for task_id in &asked.task_ids {
        let Ok(resolved) = resolve::task_named(gateway, inbound, task_id) else { continue };
        let Ok(permit) = policy::decide(&inbound.caller, &resolved) else { continue };
        let want = wants.entry(resolved.server().name().clone()).or_insert_with(|| Want::at(&resolved));
        let native = want.wishes.task(&resolved, &permit);
        want.names.push((task_id.clone(), native, true));
    }
    let Ok(permit) = policy::decide_list(&inbound.caller) else { return wants };
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
            let want = wants.entry(name.clone()).or_insert_with(|| Want {
                wishes: Wishes::at(&server),
                names: Vec::new(),
                lists: false,
            });
            want.wishes.lists(&permit);
            want.lists = true;
        }
    }
    wants
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
