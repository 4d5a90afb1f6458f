//! `tools/list`, `prompts/list`, `resources/list` and `resources/templates/list`.
//!
//! An endpoint that serves one server passes that server's own pages on. Elsewhere the servers' lists become one: all
//! are asked at once, and one that is down, slow or talks nonsense only leaves a gap, which the result names.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use tollgate_catalog::{Caching, Exposure, Item, ListKind, MergedCursor, Page, Shape, names, uris};
use tollgate_mcp::{
    Change, JsonKind, Kind, Limits, Message, Span, codes, elements, find, kind_of, meta, methods, quote,
};
use tollgate_model::{Caller, Code, Era, Refusal, ServerId, ServerName, Stage};
use tollgate_upstream::{Hello, Reach, Server, Traffic};

use crate::again::Again;
use crate::bridge::{self, Answered, Beside, array_of};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::index::{Key, Seen, ToolIndex, UriIndex};
use crate::onward::Onward;
use crate::policing::Changed;
use crate::reply::Reply;
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::policy::View;
use crate::stages::record::{self, Receipt};
use crate::stages::{Permit, block, policy, route, scopes};

/// The `_meta` key under which a merged result names the servers that are missing from it, and why.
pub(crate) const UNAVAILABLE_KEY: &str = "dev.tollgate/unavailable";
/// What a merged cursor is sealed for.
const CURSOR: &str = "list-cursor";

/// Answers a list request.
pub(crate) async fn list(gateway: &Gateway, inbound: &Inbound, kind: ListKind) -> Result<Reply, Refusal> {
    match inbound.endpoint.native_server() {
        Some(server) => {
            let look = policy::look_at(gateway, &inbound.caller, server)?;
            scopes::check(inbound, inbound.server(server)?.id(), None)?;
            native(gateway, inbound, &look, &inbound.server(server)?, kind).await
        }
        None => merged(gateway, inbound, kind).await,
    }
}

/// One server's list as it is, page by page.
async fn native(
    gateway: &Gateway,
    inbound: &Inbound,
    (permit, view): &(Permit, View),
    server: &Server,
    kind: ListKind,
) -> Result<Reply, Refusal> {
    let mut again = Again::of_list(server);
    loop {
        let _berth = route::enter(server, Traffic::Lists, again.until()).await?;
        let route = route::open(server, &inbound.caller, permit).await?;
        let link = route.link();
        let id = link.mint();
        let log_level = inbound.log_level();
        let onward = Onward::of(&inbound.record);
        let body = bridge::request(
            &inbound.message,
            &inbound.caller.client,
            link.revision(),
            id,
            &bridge::Target::default(),
            &bridge::Round::default(),
            &Beside { log_level, onward: Some(&onward) },
        );
        let departure = Departure {
            id,
            method: Cow::Owned(inbound.message.method().to_owned()),
            native: None,
            // What is not known is forwarded (2026-07-28, Streamable HTTP, custom headers).
            param_headers: inbound.param_headers.clone().unwrap_or_default(),
            body,
            waits: again.begin(),
            log_level,
            onward: Some(onward),
        };
        let listener = Listener::of(gateway, inbound);
        let sent = dispatch::send(server.id(), &route, departure, Some(&listener), Receipt::lists()).await;
        match sent.and_then(Sent::into_response) {
            Ok(message) => {
                // It may have been stopped meanwhile.
                block::server(gateway, &inbound.caller, server.name())?;
                let sight = (view, &inbound.caller);
                let message = shown(gateway, server.id(), kind, sight, link.era(), message);
                let items = message.member(kind.items_member()).map(|span| span.of(message.bytes()));
                let items = items.unwrap_or_default();
                inbound.record.shows(elements(items, Span::all(items)).count(), items);
                let answered = Answered::of(inbound, link, &message);
                return bridge::response(&answered).map_err(|refusal| refusal.of(server.name()));
            }
            Err(error) => {
                if !Box::pin(again.pause(gateway, &error, || !listener.was_told())).await {
                    return Err(error.refusal(server.name()));
                }
            }
        }
    }
}

/// What policy lets a caller see, and who that is: operators may have stopped some of it.
type Sight<'a> = (&'a View, &'a Caller);

/// A server's own page, less what must not be shown. What there is to learn from it is learnt on the way.
fn shown(
    gateway: &Gateway,
    server: &ServerId,
    kind: ListKind,
    (view, caller): Sight<'_>,
    era: Era,
    message: Message,
) -> Message {
    if kind != ListKind::Tools && view.is_whole() {
        return message;
    }
    let Ok(page) = Page::read(&message, kind) else { return message };
    let all = page.items.len();
    let mut items = learn_from(gateway, server, kind, page.items, view);
    without_blocked(gateway, caller, server.name(), kind, &mut items);
    let mut changes = Vec::new();
    if items.len() < all {
        let array = array_of(&items.iter().map(|item| item.raw().clone()).collect::<Vec<_>>());
        changes.push(Change::Set(kind.items_member(), Bytes::from(array)));
    }
    let is_whole = view.is_whole() && gateway.blocks().are_none();
    if !is_whole && era == Era::Modern && page.caching.shared {
        // What policy shows differs from caller to caller.
        changes.push(Change::Set("cacheScope", Bytes::from_static(b"\"private\"")));
    }
    if changes.is_empty() {
        return message;
    }
    let mut edit = message.edit();
    message.change_body(&mut edit, &changes);
    // What was valid stays valid; were it not, the page goes as the server sent it.
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    Message::parse(edit.finish().into_bytes(), &limits).unwrap_or(message)
}

/// Learns from a server's items what there is to learn. Gives those that this caller may be shown.
fn learn_from(
    gateway: &Gateway,
    server: &ServerId,
    kind: ListKind,
    items: Vec<Item>,
    view: &View,
) -> Vec<Item> {
    let mut items = items;
    if matches!(kind, ListKind::Tools | ListKind::Prompts) {
        gateway.names().learn(server, items.iter().map(Item::key));
    }
    if kind == ListKind::Tools {
        gateway.tasks().learn(server, &items);
        gateway.hints().learn(&gateway.snapshot().settings, server, &items);
        items = gateway.mirrors().learn(server, items);
    }
    if gateway.policing().is_on() {
        let changed = gateway.policing().definitions().learn(server, kind, &items);
        if changed != Changed::Nothing {
            record::learnt(gateway, server);
        }
    }
    if !view.is_whole() {
        items.retain(|item| view.shows(kind, item.key()));
    }
    items
}

/// Leaves out what operators have stopped. What the gateway reads for itself has it all: policies are about that too.
fn without_blocked(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerName,
    kind: ListKind,
    items: &mut Vec<Item>,
) {
    if kind == ListKind::Tools && !gateway.blocks().are_none() {
        items.retain(|item| !block::hides(gateway, caller, server, item.key()));
    }
}

/// What one server gave for a merged page.
struct Part {
    server: ServerName,
    items: Vec<Item>,
    next_cursor: Option<String>,
    caching: Caching,
    missing: Option<Missing>,
}

impl Part {
    fn empty(server: &ServerName) -> Self {
        Self {
            server: server.clone(),
            items: Vec::new(),
            next_cursor: None,
            caching: Caching { ttl_ms: u64::MAX, shared: true },
            missing: None,
        }
    }
}

/// Why a server's items are missing, or not all there.
struct Missing {
    code: &'static str,
    reason: String,
}

impl From<Refusal> for Missing {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code.row().name, reason: refusal.public.into_owned() }
    }
}

async fn merged(gateway: &Gateway, inbound: &Inbound, kind: ListKind) -> Result<Reply, Refusal> {
    let (starts, from_start) = starts(gateway, inbound, kind)?;
    // A toolset shows a few of many, in its own order, and a URI that two servers have can be seen only when both
    // lists are whole: these lists come on one page.
    let whole = matches!(inbound.endpoint.shape(), Shape::Toolset(_))
        || matches!(kind, ListKind::Resources | ListKind::Templates);
    let read_part = |(server, cursor): (ServerName, Option<String>)| async move {
        let part = read(gateway, inbound, &server, kind, cursor, whole).await;
        part.unwrap_or_else(|refusal| Part {
            server,
            items: Vec::new(),
            next_cursor: None,
            caching: Caching::NONE,
            missing: Some(refusal.into()),
        })
    };
    let mut starts = starts.into_iter();
    let mut parts = Vec::with_capacity(starts.len());
    // A list that goes on is read to its end before the next one begins.
    if let Some((_, Some(_))) = starts.as_slice().first()
        && let Some(first) = starts.next()
    {
        parts.push(read_part(first).await);
    }
    if parts.iter().all(|part| part.next_cursor.is_none()) {
        parts.extend(join_all(starts.by_ref().map(read_part)).await);
    }
    for part in &parts {
        remember_cut_names(gateway, inbound.server(&part.server)?.id(), kind, &part.items);
    }
    let later = starts.map(|(server, _)| server).collect();
    // Every server's first page says who may keep its list, so that the first page of all can speak for the others.
    // A server that fails later shows nothing, and so changes nothing about that.
    let is_shared = |part: &Part| part.caching.shared || (from_start.is_some() && part.missing.is_some());
    let shared = !inbound.snapshot.has_tenants()
        && from_start.is_none_or(|shared| shared)
        && parts.iter().all(is_shared);
    let rest = cut_after_unfinished(&mut parts, later);
    if kind == ListKind::Tools && from_start.is_none() && rest.is_empty() {
        remember_tools(gateway, inbound, &parts);
    }
    let seen = match kind {
        ListKind::Resources => {
            let resources = Some(remember_uris(gateway, inbound, kind, &parts));
            let has_views = parts.iter().flat_map(|part| &part.items).any(|item| uris::is_ui(item.key()));
            let tools = if has_views { Some(tool_index(gateway, inbound).await?) } else { None };
            Seen { resources, tools }
        }
        ListKind::Templates => {
            Seen { resources: Some(remember_uris(gateway, inbound, kind, &parts)), tools: None }
        }
        ListKind::Tools
            if parts.iter().flat_map(|part| &part.items).any(|item| !item.ui_references().is_empty()) =>
        {
            Seen {
                resources: Some(uri_index(gateway, inbound, ListKind::Resources).await?),
                tools: Some(tool_index(gateway, inbound).await?),
            }
        }
        ListKind::Tools | ListKind::Prompts => Seen::default(),
    };
    render(gateway, inbound, kind, &Rendered { parts, rest, shared }, &seen)
}

/// What becomes one page.
struct Rendered {
    parts: Vec<Part>,
    /// What is left to list.
    rest: Vec<(String, Option<String>)>,
    /// Whether all pages of the list may be shared.
    shared: bool,
}

/// Keeps the order of the configuration, and within it each server's own, over all pages: what comes after the first
/// list that goes on waits for a later page. Gives what is left to list.
fn cut_after_unfinished(parts: &mut Vec<Part>, later: Vec<ServerName>) -> Vec<(String, Option<String>)> {
    let Some(unfinished) = parts.iter().position(|part| part.next_cursor.is_some()) else {
        return Vec::new();
    };
    let waiting = parts.split_off(unfinished + 1);
    let goes_on =
        parts.iter().skip(unfinished).map(|part| (part.server.to_string(), part.next_cursor.clone()));
    let begins =
        waiting.into_iter().map(|part| part.server).chain(later).map(|server| (server.to_string(), None));
    goes_on.chain(begins).collect()
}

/// Where a server's list is to be read on from.
type Start = (ServerName, Option<String>);

/// Which servers to ask, and from where on; and on later pages, whether the first one may be shared.
fn starts(
    gateway: &Gateway,
    inbound: &Inbound,
    kind: ListKind,
) -> Result<(Vec<Start>, Option<bool>), Refusal> {
    let endpoint = &inbound.endpoint;
    let Some(cursor) = inbound.message.member("cursor") else {
        let servers = endpoint.servers().iter().filter(|server| endpoint.lists(kind, server));
        return Ok((servers.map(|server| (server.clone(), None)).collect(), None));
    };
    let invalid = || {
        let text = "the cursor is not one that this gateway gave for this list, or it has expired: list from the start";
        Refusal::new(Stage::Resolve, Code::InvalidCursor, text)
    };
    let text = tollgate_mcp::text(inbound.message.bytes(), cursor).ok_or_else(invalid)?;
    let sealed = gateway.sealer().open(&cursor_purpose(inbound, kind), &text).ok_or_else(invalid)?;
    let cursor = MergedCursor::decode(&sealed).ok_or_else(invalid)?;
    let starts: Result<Vec<Start>, Refusal> = cursor
        .rest
        .into_iter()
        .map(|(name, cursor)| {
            // The server may have gone with a reload since.
            let server = endpoint.servers().iter().find(|server| server.as_str() == name);
            server.map(|server| (server.clone(), cursor)).ok_or_else(invalid)
        })
        .collect();
    Ok((starts?, Some(cursor.shared)))
}

/// A cursor is good for the same caller, list and endpoint only.
fn cursor_purpose(inbound: &Inbound, kind: ListKind) -> String {
    let endpoint = inbound.endpoint.name().map_or("", ServerName::as_str);
    let caller = &inbound.caller;
    // No part can hold a NUL, so no two purposes are one text.
    [CURSOR, kind.method(), endpoint, caller.tenant().as_str(), caller.principal().as_str()].join("\0")
}

/// Reads a server's list from a cursor on: one page, or all that are left. Of a server that the caller may see nothing of,
/// nothing, as if it had no such list.
async fn read(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    kind: ListKind,
    cursor: Option<String>,
    whole: bool,
) -> Result<Part, Refusal> {
    let upstream = inbound.server(server)?;
    let (caller, endpoint) = (&inbound.caller, inbound.endpoint.name());
    match policy::look(gateway, caller, endpoint, server) {
        Some(look) => {
            let part = read_by(gateway, inbound, &look, &upstream, kind, cursor, whole).await;
            // It may have been stopped meanwhile, and then nothing else counts.
            block::server(gateway, caller, server)?;
            part.map(|mut part| {
                without_blocked(gateway, caller, server, kind, &mut part.items);
                part
            })
        }
        // Whoever may see it is told why it is missing.
        None if policy::sees(gateway, caller, endpoint, server) => {
            block::server(gateway, caller, server).map(|()| Part::empty(server))
        }
        None => Ok(Part { caching: Caching { ttl_ms: u64::MAX, shared: false }, ..Part::empty(server) }),
    }
}

/// Reads a server's list for the gateway's own sake, so that policies have something to be about.
pub(crate) async fn own_reading(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &Server,
    kind: ListKind,
) -> Result<Vec<Item>, Refusal> {
    let look = policy::upkeep();
    let part = read_by(gateway, inbound, &look, server, kind, None, true).await?;
    remember_cut_names(gateway, server.id(), kind, &part.items);
    Ok(part.items)
}

async fn read_by(
    gateway: &Gateway,
    inbound: &Inbound,
    look: &(Permit, View),
    upstream: &Server,
    kind: ListKind,
    mut cursor: Option<String>,
    whole: bool,
) -> Result<Part, Refusal> {
    let settings = &inbound.snapshot.settings;
    let server = upstream.name();
    let deadline = upstream.settings().timeouts.list;
    let mut part = Part::empty(server);
    let reading = async {
        let mut pages = 0;
        loop {
            let page = page(gateway, inbound, look, upstream, kind, cursor.as_deref()).await?;
            let Some(page) = page else { return Ok(()) };
            pages += 1;
            part.items.extend(page.items);
            part.caching = Caching::merged([part.caching, page.caching]);
            let too_many = part.items.len() > settings.list_items_max;
            if too_many || (whole && pages >= settings.list_pages_max && page.next_cursor.is_some()) {
                part.items.truncate(settings.list_items_max);
                part.missing = Some(Missing {
                    code: "list_too_long",
                    reason: format!("only the first {} items are shown", part.items.len()),
                });
                return Ok(());
            }
            match page.next_cursor {
                // A server that gives the same cursor again would be read for ever.
                Some(next) if whole && cursor.as_ref() != Some(&next) => cursor = Some(next),
                Some(next) if !whole => {
                    part.next_cursor = Some(next);
                    return Ok(());
                }
                _ => return Ok(()),
            }
        }
    };
    match tokio::time::timeout(deadline, reading).await {
        Ok(Ok(())) => Ok(part),
        Ok(Err(refusal)) => Err(refusal),
        Err(_) => {
            let is_starting = matches!(upstream.status().reach, Reach::Unknown);
            let starting = if is_starting { "the server is still starting: it" } else { "the server" };
            let text = format!("{starting} did not list within {} ms", deadline.as_millis());
            Err(Refusal::new(Stage::Dispatch, Code::UpstreamTimeout, text).of(server))
        }
    }
}

/// One page; none if the server has no such list at all.
async fn page(
    gateway: &Gateway,
    inbound: &Inbound,
    (permit, view): &(Permit, View),
    server: &Server,
    kind: ListKind,
    cursor: Option<&str>,
) -> Result<Option<Page>, Refusal> {
    let params = cursor
        .map_or_else(String::new, |cursor| format!("\"cursor\":{}", String::from_utf8_lossy(&quote(cursor))));
    // A legacy server may ask its legacy client something at any time, also while it lists. What several servers report
    // of one request cannot be told apart under one token; what they log can.
    // Nothing comes on a stream of changes before its acknowledgement (2026-07-28, subscriptions).
    let listens = inbound.message.method() == methods::SUBSCRIPTIONS_LISTEN;
    let (client, log_level) = (&inbound.caller.client, inbound.log_level().filter(|_| !listens));
    let hears = inbound.session.is_some() || log_level.is_some();
    let listener = hears.then(|| Listener { token: None, ..Listener::of(gateway, inbound) });
    let mut again = Again::of_list(server);
    let (message, era) = loop {
        let _berth = route::enter(server, Traffic::Lists, again.until()).await?;
        let route = route::open(server, &inbound.caller, permit).await?;
        let link = route.link();
        if !offers(link.hello(), kind) {
            return Ok(None);
        }
        let id = link.mint();
        let departure = Departure {
            id,
            method: Cow::Borrowed(kind.method()),
            native: None,
            param_headers: Vec::new(),
            body: bridge::own_request(id, kind.method(), &params, client, link.era(), log_level),
            waits: again.begin(),
            log_level,
            onward: Some(Onward::of(&inbound.record)),
        };
        let sent = dispatch::send(server.id(), &route, departure, listener.as_ref(), Receipt::lists()).await;
        match sent.and_then(Sent::into_response) {
            Ok(message) => break (message, link.era()),
            Err(error) => {
                let was_told = || listener.as_ref().is_some_and(Listener::was_told);
                if !Box::pin(again.pause(gateway, &error, || !was_told())).await {
                    return Err(error.refusal(server.name()));
                }
            }
        }
    };
    let page = read_page(&message, server.name(), kind)?;
    Ok(page.map(|mut page| {
        if era == Era::Legacy {
            // It may depend on the session, whatever else the server says in words that its revision does not have.
            page.caching = Caching::NONE;
        }
        page.items = learn_from(gateway, server.id(), kind, page.items, view);
        if !view.is_whole() || !gateway.blocks().are_none() {
            page.caching.shared = false;
        }
        page
    }))
}

fn read_page(message: &Message, server: &ServerName, kind: ListKind) -> Result<Option<Page>, Refusal> {
    if message.kind() == Kind::Error {
        let code = message.error_code().unwrap_or_default();
        if code == i64::from(codes::METHOD_NOT_FOUND) {
            return Ok(None);
        }
        let text = format!("the server answered with error {code}");
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server));
    }
    Page::read(message, kind).map(Some).map_err(|_| {
        Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, "the server's answer is no list").of(server)
    })
}

/// Whether the server says that it has such a list.
fn offers(hello: &Hello, kind: ListKind) -> bool {
    let capabilities = &hello.capabilities;
    find(capabilities, Span::all(capabilities), kind.capability())
        .is_some_and(|span| kind_of(capabilities, span) == JsonKind::Object)
}

fn remember_cut_names(gateway: &Gateway, server: &ServerId, kind: ListKind, items: &[Item]) {
    if !matches!(kind, ListKind::Tools | ListKind::Prompts) {
        return;
    }
    for item in items {
        let public = names::public_name(server.name(), item.key());
        if matches!(names::PublicName::read(&public), names::PublicName::Cut(_)) {
            gateway.cut_names().remember(server, &public, item.key());
        }
    }
}

/// Reads a server's whole list, so that its cut names are known, and of its tools their headers and whether they can become
/// tasks.
pub(crate) async fn learn(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    kind: ListKind,
) -> Result<(), Refusal> {
    let part = read(gateway, inbound, server, kind, None, true).await?;
    remember_cut_names(gateway, inbound.server(server)?.id(), kind, &part.items);
    Ok(())
}

/// Which server has which resource or template, as this caller sees it here: remembered for a while.
pub(crate) async fn uri_index(
    gateway: &Gateway,
    inbound: &Inbound,
    kind: ListKind,
) -> Result<Arc<UriIndex>, Refusal> {
    if let Some(index) = known_uri_index(gateway, inbound, kind) {
        return Ok(index);
    }
    let parts = read_all(gateway, inbound, kind).await?;
    Ok(remember_uris(gateway, inbound, kind, &parts))
}

/// What is remembered of the URIs that a result may name.
pub(crate) fn known_uris(gateway: &Gateway, inbound: &Inbound, result: &Message) -> Seen {
    let resources = known_uri_index(gateway, inbound, ListKind::Resources);
    let tools = tollgate_mcp::json::mentions(result.bytes(), "ui:")
        .then(|| gateway.tool_indexes().get(&tools_key(inbound)))
        .flatten();
    Seen { resources, tools }
}

/// Whose the tools are that this caller sees here, and whose the views of MCP Apps are: remembered for a while.
pub(crate) async fn tool_index(gateway: &Gateway, inbound: &Inbound) -> Result<Arc<ToolIndex>, Refusal> {
    if let Some(index) = gateway.tool_indexes().get(&tools_key(inbound)) {
        return Ok(index);
    }
    let parts = read_all(gateway, inbound, ListKind::Tools).await?;
    for part in &parts {
        remember_cut_names(gateway, inbound.server(&part.server)?.id(), ListKind::Tools, &part.items);
    }
    Ok(remember_tools(gateway, inbound, &parts))
}

/// The name here of the only tool of this native name that the caller may see, as far as is known without asking anyone.
pub(crate) fn known_alias(gateway: &Gateway, inbound: &Inbound, native: &str) -> Option<String> {
    let (endpoint, definitions) = (&inbound.endpoint, gateway.policing().definitions());
    let mut index = ToolIndex::default();
    let is_known =
        |name: &&ServerName| inbound.server(name).is_ok_and(|server| definitions.has(server.id(), native));
    for server in endpoint.servers().iter().filter(is_known) {
        let seen = policy::look(gateway, &inbound.caller, endpoint.name(), server);
        // What is stopped is refused once it is known what is meant.
        if seen.is_some_and(|(_, view)| view.shows(ListKind::Tools, native)) {
            for (_, exposure) in endpoint.exposures(ListKind::Tools, server, native) {
                index.add_name(native, exposure.key.as_deref().unwrap_or(native));
            }
        }
    }
    index.only(native).map(str::to_owned)
}

fn tools_key(inbound: &Inbound) -> Key {
    Key::new(ListKind::Tools, inbound.endpoint.name(), &inbound.caller)
}

/// Only what the endpoint shows counts: what a toolset hides has no name here.
fn remember_tools(gateway: &Gateway, inbound: &Inbound, parts: &[Part]) -> Arc<ToolIndex> {
    let mut index = ToolIndex::default();
    for part in parts {
        for item in &part.items {
            let mut is_shown = false;
            for (_, exposure) in inbound.endpoint.exposures(ListKind::Tools, &part.server, item.key()) {
                is_shown = true;
                index.add_name(item.key(), exposure.key.as_deref().unwrap_or(item.key()));
            }
            if is_shown {
                for (_, uri) in item.ui_references() {
                    index.views.add(&part.server, &uri);
                }
            }
        }
    }
    let index = Arc::new(index);
    gateway.tool_indexes().put(tools_key(inbound), Arc::clone(&index));
    index
}

/// Every server's whole list. A server that does not answer has nothing for now.
async fn read_all(gateway: &Gateway, inbound: &Inbound, kind: ListKind) -> Result<Vec<Part>, Refusal> {
    let servers = inbound.endpoint.servers().iter().filter(|server| inbound.endpoint.lists(kind, server));
    let parts = join_all(servers.map(|server| read(gateway, inbound, server, kind, None, true))).await;
    Ok(parts.into_iter().flatten().collect())
}

/// The index, if it is remembered.
pub(crate) fn known_uri_index(gateway: &Gateway, inbound: &Inbound, kind: ListKind) -> Option<Arc<UriIndex>> {
    gateway.uri_indexes().get(&Key::new(kind, inbound.endpoint.name(), &inbound.caller))
}

fn remember_uris(gateway: &Gateway, inbound: &Inbound, kind: ListKind, parts: &[Part]) -> Arc<UriIndex> {
    let mut index = UriIndex::default();
    for part in parts {
        for item in &part.items {
            index.add(&part.server, item.key());
        }
    }
    let index = Arc::new(index);
    let key = Key::new(kind, inbound.endpoint.name(), &inbound.caller);
    gateway.uri_indexes().put(key, Arc::clone(&index));
    index
}

/// Puts the parts together, in the order of the configuration, then of each server; a toolset has its own order.
fn render(
    gateway: &Gateway,
    inbound: &Inbound,
    kind: ListKind,
    page: &Rendered,
    seen: &Seen,
) -> Result<Reply, Refusal> {
    let Rendered { parts, rest, shared } = page;
    let reader = inbound.caller.client.revision;
    let mut shown: Vec<(usize, Bytes)> = Vec::new();
    for part in parts {
        for item in &part.items {
            for (place, exposure) in inbound.endpoint.exposures(kind, &part.server, item.key()) {
                let is_uri = matches!(kind, ListKind::Resources | ListKind::Templates);
                let key = if is_uri && seen.collides(item.key()) {
                    Some(Cow::Owned(uris::rewrite(&part.server, item.key())))
                } else {
                    exposure.key.clone()
                };
                let exposure = Exposure {
                    key,
                    reader: (reader.era() == Era::Legacy).then_some(reader),
                    foreign: true,
                    uris: views_of(item, &part.server, seen),
                    ..exposure
                };
                shown.push((place, item.expose(&exposure)));
            }
        }
    }
    shown.sort_by_key(|(place, _)| *place);
    let items: Vec<Bytes> = shown.into_iter().map(|(_, item)| item).collect();

    let array = array_of(&items);
    inbound.record.shows(items.len(), &array);
    let mut result = format!("{{\"{}\":", kind.items_member()).into_bytes();
    result.extend_from_slice(&array);
    if !rest.is_empty() {
        let cursor = MergedCursor { rest: rest.clone(), shared: *shared }.encode();
        let sealed = gateway.sealer().seal(&cursor_purpose(inbound, kind), cursor).map_err(|error| {
            Refusal::new(Stage::Resolve, Code::Internal, "the cursor could not be sealed")
                .because(error.to_string())
        })?;
        result.extend_from_slice(format!(",\"nextCursor\":\"{sealed}\"").as_bytes());
    }
    if inbound.era() == Era::Modern {
        result.extend_from_slice(caching(parts, *shared).as_bytes());
    }
    result.extend_from_slice(&result_meta(inbound.era(), parts));
    result.push(b'}');
    Ok(Reply::result(&inbound.id, &result))
}

/// The views of MCP Apps that a tool names and another server has too, each with what stands for it here.
fn views_of(item: &Item, server: &ServerName, seen: &Seen) -> Vec<(Span, String)> {
    if seen.tools.is_none() {
        return Vec::new();
    }
    let named = item.ui_references().into_iter();
    named
        .filter(|(_, uri)| seen.collides(uri))
        .map(|(place, uri)| (place, uris::rewrite(server, &uri)))
        .collect()
}

/// The page may be kept as long as its shortest-lived part, and shared only if every part of the list may be.
fn caching(parts: &[Part], shared: bool) -> String {
    let whole = Caching::merged(parts.iter().map(|part| part.caching));
    // A server without such a list has nothing to say of it.
    let ttl_ms = if whole.ttl_ms == u64::MAX { 0 } else { whole.ttl_ms };
    let scope = Caching { shared: shared && !parts.is_empty(), ..whole }.scope();
    format!(",\"resultType\":\"complete\",\"ttlMs\":{ttl_ms},\"cacheScope\":\"{scope}\"")
}

fn result_meta(era: Era, parts: &[Part]) -> Vec<u8> {
    let missing: Vec<String> = parts
        .iter()
        .filter_map(|part| {
            let missing = part.missing.as_ref()?;
            let reason = quote(&missing.reason);
            let reason = String::from_utf8_lossy(&reason);
            Some(format!(
                "{{\"server\":\"{}\",\"code\":\"{}\",\"reason\":{reason}}}",
                part.server, missing.code
            ))
        })
        .collect();
    let mut members = Vec::new();
    if era == Era::Modern {
        members.push(format!("\"{}\":{}", meta::SERVER_INFO, crate::hello::OWN_INFO));
    }
    if !missing.is_empty() {
        members.push(format!("\"{UNAVAILABLE_KEY}\":[{}]", missing.join(",")));
    }
    if members.is_empty() { Vec::new() } else { format!(",\"_meta\":{{{}}}", members.join(",")).into_bytes() }
}
