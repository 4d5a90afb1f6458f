//! What connected clients see, so that those are told whose view has changed, and nobody else.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_catalog::ListKind;
use tollgate_model::{Caller, EndpointName, Era, Principal, ServerName};

use super::Rules;
use crate::gateway::{Gateway, tell_list};
use crate::stages::policy;

/// What a client sees of tools, prompts and resources, as far as it is known: equal if it sees the same.
pub(crate) type Digest = [u64; 3];

/// The lists of a [`Digest`], in its order.
pub(crate) const LISTS: [ListKind; 3] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources];

/// Whether a caller may know that there is this server.
pub(crate) fn sees(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: &ServerName,
) -> bool {
    !gateway.policing().is_on() || policy::look(gateway, caller, endpoint, server).is_some()
}

/// Whose view it is: the same for all clients of one principal, from one place, in one era, at one endpoint.
type Whose = (*const Principal, Option<IpAddr>, Era, Option<EndpointName>);

/// By which rules views have yet to be looked at, in the order in which they came to decide. A client may have listed by any
/// of them, so none is left out, and only one is looked by at a time.
#[derive(Debug, Default)]
pub(crate) struct Telling {
    waiting: Mutex<VecDeque<Arc<Rules>>>,
    /// How often everybody was to be looked after.
    turns: AtomicU64,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Telling {
    /// How often everybody was to be looked after. Whoever comes to be among them looks once more if it is another time than
    /// before it looked at its view: the others may have been told before it was there.
    pub(crate) fn turns(&self) -> u64 {
        self.turns.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<Rules>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many rules may wait to be looked by. The oldest of more go.
const WAITING_MAX: usize = 16;

/// The views of many clients by the same rules, each looked at once.
struct Views<'a> {
    gateway: &'a Gateway,
    rules: &'a Rules,
    /// With whoever it is of, so that nobody else comes to lie at the same address meanwhile.
    known: HashMap<Whose, (Arc<Principal>, Option<Digest>)>,
}

impl Views<'_> {
    fn of(&mut self, caller: &Caller, endpoint: Option<&EndpointName>) -> Option<Digest> {
        let who = &caller.who;
        let whose = (Arc::as_ptr(who), caller.source, caller.client.revision.era(), endpoint.cloned());
        let look = || (Arc::clone(who), self.gateway.view_by(self.rules, caller, endpoint));
        self.known.entry(whose).or_insert_with(look).1
    }
}

impl Gateway {
    /// What a caller sees at an endpoint; none where the built-in policy shows everybody everything.
    pub(crate) fn view(&self, caller: &Caller, endpoint: Option<&EndpointName>) -> Option<Digest> {
        self.view_by(&self.policing().rules(), caller, endpoint)
    }

    fn view_by(&self, rules: &Rules, caller: &Caller, endpoint: Option<&EndpointName>) -> Option<Digest> {
        rules.sets()?;
        let mut digest = Digest::default();
        let (snapshot, tenant) = (self.snapshot(), caller.tenant());
        let Some(at) = snapshot.endpoint(tenant, endpoint) else { return Some(digest) };
        let definitions = self.policing().definitions();
        for name in at.servers() {
            let Some((_, view)) = policy::look_by(rules, caller, endpoint, name) else { continue };
            let Some(server) = snapshot.server(tenant, name) else { continue };
            let mut add = |place: usize, kind: ListKind| {
                let shows =
                    |native: &str| view.shows(kind, native) && !at.exposures(kind, name, native).is_empty();
                digest[place] = digest[place].wrapping_add(definitions.looks(server.id(), kind, shows));
            };
            add(0, ListKind::Tools);
            add(1, ListKind::Prompts);
            add(2, ListKind::Resources);
            add(2, ListKind::Templates);
        }
        Some(digest)
    }

    /// Has every connected client looked after whose view is another than before, by what decides now. Nobody waits for it.
    pub(crate) fn look_after_views(&self) {
        let telling = &self.policing().telling;
        telling.turns.fetch_add(1, Ordering::SeqCst);
        let mut waiting = telling.lock();
        if waiting.len() >= WAITING_MAX {
            waiting.pop_front();
        }
        waiting.push_back(Arc::clone(&self.policing().rules()));
        drop(waiting);
        let gateway = self.clone();
        self.spawn(async move {
            let policing = gateway.shared_policing();
            let _turn = policing.telling.one_at_a_time.lock().await;
            let _ = tokio::task::spawn_blocking(move || {
                let next = || gateway.policing().telling.lock().pop_front();
                while let Some(rules) = next() {
                    gateway.tell_views(&rules);
                }
            })
            .await;
        });
    }

    /// Tells every connected client whose view is another than when it was looked at last, and lets nobody hear any more of
    /// what it may not see.
    fn tell_views(&self, rules: &Rules) {
        let mut views = Views { gateway: self, rules, known: HashMap::new() };
        for session in self.sessions().all() {
            let (caller, endpoint) = (session.caller_now(), session.endpoint.as_ref());
            for kind in session.sees(views.of(&caller, endpoint)) {
                tell_list(&session, kind);
            }
            session.subscriptions.keep(|server, uri| policy::hears(self, &caller, endpoint, server, uri));
        }
        for (number, caller, endpoint) in self.fanout().listening() {
            self.fanout().sees(number, views.of(&caller, endpoint.as_ref()));
        }
    }
}

/// The lists that look otherwise than before.
pub(crate) fn differing(before: Option<Digest>, now: Option<Digest>) -> impl Iterator<Item = ListKind> {
    let differs = move |place: &usize| before.map(|view| view[*place]) != now.map(|view| view[*place]);
    (0..LISTS.len()).filter(differs).map(|place| LISTS[place])
}
