//! One page of a server's list, asked for at the server; and what is learnt from it, once.

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;
use tollgate_catalog::{Item, ListKind, Page, names};
use tollgate_mcp::{
    JsonKind, Kind, LogLevel, Message, Span, codes, elements, find, kind_of, members, methods, quote, text,
};
use tollgate_model::{Code, Refusal, ServerId, Stage};
use tollgate_upstream::{Hello, Link, Reach, Server, Traffic, Waits};

use crate::again::Again;
use crate::bridge::{self, Beside};
use crate::cache::Kept;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::onward::Onward;
use crate::policing::Changed;
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::record::{self, Receipt};
use crate::stages::{Permit, guard, route};

/// Which page, and how it is asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) kind: ListKind,
    pub(crate) cursor: Option<&'a str>,
    pub(crate) asks: Asks,
    /// Whether what is kept will not do: something is to be learnt of the list as it is now.
    pub(crate) anew: bool,
    /// When it has to be there.
    pub(crate) until: Option<Instant>,
}

/// By whose words a server is asked for a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asks {
    /// By the client's, passed on. What comes back passes too, errors and all.
    Client,
    /// By the gateway's own.
    Own,
}

/// Why there is no page.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) refusal: Refusal,
    /// Whether the server said something, which is for whoever asked and nobody else.
    pub(crate) is_said: bool,
}

impl Fault {
    /// The page is not there in time.
    pub(crate) fn late(server: &Server) -> Self {
        let is_starting = matches!(server.status().reach, Reach::Unknown);
        let starting = if is_starting { "the server is still starting: it" } else { "the server" };
        let deadline = server.settings().timeouts.list;
        let text = format!("{starting} did not list within {} ms", deadline.as_millis());
        Self::unsaid(Refusal::new(Stage::Dispatch, Code::UpstreamTimeout, text).of(server.name()))
    }

    fn unsaid(refusal: Refusal) -> Self {
        Self { refusal, is_said: false }
    }
}

/// Asks the server. None if it has no such list at all. `keeps` says whether the answer is one that will be kept.
pub(crate) async fn page(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    server: &Server,
    wanted: Wanted<'_>,
    keeps: impl Fn(&Kept) -> bool,
) -> Result<Option<Arc<Kept>>, Fault> {
    let own = wanted.asks == Asks::Own;
    let listener = listener(gateway, inbound, own);
    let was_told = || listener.as_ref().is_some_and(Listener::was_told);
    let mut again = Again::of_list(server);
    let (message, route) = loop {
        let berth = route::enter(server, Traffic::Lists, again.until()).await.map_err(Fault::unsaid)?;
        let route = route::open(server, &inbound.caller, permit).await;
        let route = route.map_err(|refusal| Fault::unsaid(refusal.unsent()))?;
        let link = route.link();
        if own && !offers(link.hello(), wanted.kind) {
            return Ok(None);
        }
        let departure = depart(inbound, link, again.begin(), wanted);
        let sent = dispatch::send(server.id(), &route, departure, listener.as_ref(), Receipt::lists()).await;
        match sent.and_then(Sent::into_response) {
            Ok(message) => break (message, route),
            Err(error) => {
                drop(berth); // who waits for another try has none
                if !Box::pin(again.pause(gateway, &error, || !was_told())).await {
                    return Err(Fault::unsaid(error.refusal(server.name())));
                }
            }
        }
    };
    if own && message.kind() == Kind::Error {
        let code = message.error_code().unwrap_or_default();
        if code == i64::from(codes::METHOD_NOT_FOUND) {
            return Ok(None);
        }
        let text = format!("the server answered with error {code}");
        return Err(Fault { refusal: nonsense(text).of(server.name()), is_said: true });
    }
    if is_ambiguous(&message, wanted.kind) {
        let text = "the server's answer is two lists".to_owned();
        return Err(Fault { refusal: nonsense(text).of(server.name()), is_said: true });
    }
    let message = guard::page(gateway, inbound, server.id(), wanted.kind, message)
        .map_err(|refusal| Fault { refusal, is_said: true })?;
    let kept = Kept::new(message, route.link(), wanted.kind.capability());
    let is_kept = keeps(&kept);
    let kept = if is_kept { kept.compact() } else { kept };
    match Page::read(&kept.message, wanted.kind) {
        Ok(page) => {
            Ok(Some(Arc::new(learnt(gateway, inbound, server.id(), wanted.kind, (kept, is_kept), page))))
        }
        Err(_) if own => {
            let refusal = nonsense("the server's answer is no list".to_owned()).of(server.name());
            Err(Fault { refusal, is_said: true })
        }
        Err(_) => Ok(Some(Arc::new(kept))),
    }
}

/// Whether there are two lists in an answer, of which a client may read the other one.
fn is_ambiguous(message: &Message, kind: ListKind) -> bool {
    let bytes = message.bytes();
    let all = message.body().into_iter().flat_map(|body| members(bytes, body));
    all.filter(|member| text(bytes, member.key).is_some_and(|key| key == kind.items_member())).count() > 1
}

fn nonsense(text: String) -> Refusal {
    Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text)
}

/// Who hears what the server says meanwhile.
///
/// A legacy server may ask its legacy client something at any time, also while it lists. What several servers report of one
/// request cannot be told apart under one token; what they log can. Nothing comes on a stream of changes before its
/// acknowledgement (2026-07-28, subscriptions).
fn listener<'a>(gateway: &'a Gateway, inbound: &'a Inbound, own: bool) -> Option<Listener<'a>> {
    let listener = Listener::of(gateway, inbound);
    if !own {
        return Some(listener);
    }
    let hears = inbound.session.is_some() || log_level(inbound).is_some();
    hears.then_some(Listener { token: None, ..listener })
}

fn log_level(inbound: &Inbound) -> Option<LogLevel> {
    let listens = inbound.message.method() == methods::SUBSCRIPTIONS_LISTEN;
    inbound.log_level().filter(|_| !listens)
}

fn depart(inbound: &Inbound, link: &Link, waits: Waits, wanted: Wanted<'_>) -> Departure {
    let id = link.mint();
    let client = &inbound.caller.client;
    let onward = Onward::of(&inbound.record);
    match wanted.asks {
        Asks::Own => {
            let log_level = log_level(inbound);
            let cursor = |cursor| format!("\"cursor\":{}", String::from_utf8_lossy(&quote(cursor)));
            let params = wanted.cursor.map_or_else(String::new, cursor);
            let method = wanted.kind.method();
            Departure {
                id,
                method: Cow::Borrowed(method),
                native: None,
                param_headers: Vec::new(),
                body: bridge::own_request(id, method, &params, client, link.era(), log_level),
                waits,
                log_level,
                onward: Some(onward),
            }
        }
        Asks::Client => {
            let log_level = inbound.log_level();
            let body = bridge::request(
                &inbound.message,
                client,
                link.revision(),
                id,
                &bridge::Target::default(),
                &bridge::Round::default(),
                &Beside { log_level, onward: Some(&onward) },
            );
            Departure {
                id,
                method: Cow::Owned(inbound.message.method().to_owned()),
                native: None,
                // What is not known is forwarded (2026-07-28, Streamable HTTP, custom headers).
                param_headers: inbound.param_headers.clone().unwrap_or_default(),
                body,
                waits,
                log_level,
                onward: Some(onward),
            }
        }
    }
}

/// Whether the server says that it has such a list.
fn offers(hello: &Hello, kind: ListKind) -> bool {
    let capabilities = &hello.capabilities;
    find(capabilities, Span::all(capabilities), kind.capability())
        .is_some_and(|span| kind_of(capabilities, span) == JsonKind::Object)
}

/// Learns from a page what there is to learn, and leaves out what must not be shown to anyone.
fn learnt(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    kind: ListKind,
    (kept, is_kept): (Kept, bool),
    page: Page,
) -> Kept {
    let mut listed = page.items.len();
    let mut shown = page.items;
    if matches!(kind, ListKind::Tools | ListKind::Prompts) {
        gateway.names().learn(server, shown.iter().map(Item::key));
    }
    if kind == ListKind::Tools {
        gateway.tasks().learn(server, &shown);
        let snapshot = gateway.snapshot();
        gateway.hints().learn(&snapshot.settings, server, &shown);
        let may_results_change = guard::may_change_results(gateway, &snapshot);
        gateway.schemas().learn(&snapshot.settings, server, &shown, may_results_change);
        shown = gateway.mirrors().learn(server, shown);
    }
    if gateway.policing().is_on() {
        let changed = gateway.policing().definitions().learn(server, kind, &shown);
        if changed != Changed::Nothing {
            record::learnt(gateway, server);
        }
    }
    if matches!(kind, ListKind::Tools | ListKind::Prompts) {
        remember_cut_names(gateway, server, &shown);
    }
    if guard::are_judged(&inbound.snapshot, server) {
        let (judged, held) = guard::items(gateway, &inbound.snapshot, server, kind, shown);
        gateway.learn_pins(server, kind, &judged, &held);
        shown = judged;
        // What has no name is judged by nobody, and shown to nobody.
        let (message, items) = (&kept.message, kept.message.member(kind.items_member()));
        listed = items.map_or(listed, |items| elements(message.bytes(), items).count());
    } else {
        gateway.learn_pins(server, kind, &shown, &HashSet::new());
    }
    if is_kept {
        shown = shown.into_iter().map(Item::remembering).collect();
    }
    kept.with_page(Page { items: shown, ..page }, listed)
}

/// What the shortened names of tools and prompts stand for.
fn remember_cut_names(gateway: &Gateway, server: &ServerId, items: &[Item]) {
    for item in items {
        let public = names::public_name(server.name(), item.key());
        if matches!(names::PublicName::read(&public), names::PublicName::Cut(_)) {
            gateway.cut_names().remember(server, &public, item.key());
        }
    }
}
