//! `tools/list`, `prompts/list`, `resources/list` and `resources/templates/list`.
//!
//! An endpoint that serves one server passes that server's own pages on. Elsewhere the servers' lists become one: all
//! are asked at once, and one that is down, slow or talks nonsense only leaves a gap, which the result names.

pub(crate) mod fetch;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use tokio::time::Instant;
use tollgate_catalog::{Caching, Exposure, Item, ListKind, MergedCursor, Shape, uris};
use tollgate_mcp::{Change, Limits, Message, Span, elements, meta, quote};
use tollgate_model::{Caller, Code, Era, Refusal, ServerName, Stage, Timestamp};
use tollgate_upstream::Server;

use crate::bridge::{self, Answered, array_of};
use crate::cache::{self, Found};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::index::{Key, Seen, ToolIndex, UriIndex};
use crate::reply::Reply;
use crate::stages::policy::View;
use crate::stages::{Permit, block, guard, policy, resolve, scopes};
use fetch::{Asks, Wanted};

/// The `_meta` key under which a merged result names the servers that are missing from it, and why.
pub(crate) const UNAVAILABLE_KEY: &str = "dev.tollgate/unavailable";
/// The `_meta` key under which a result names the servers that could not be asked, and for which something older stands in.
pub(crate) const STALE_KEY: &str = "dev.tollgate/stale";
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
    // What a client says beside what it asks for leaves too. Nobody can be asked about that.
    let only = resolve::only_server(inbound)?;
    let changed = guard::arguments(gateway, inbound, &only, &mut Vec::new()).await?;
    let inbound = changed.as_deref().unwrap_or(inbound);
    let cursor = inbound.message.text("cursor");
    let wanted = Wanted { kind, cursor: cursor.as_deref(), asks: Asks::Client, anew: false, until: None };
    let found = cache::page(gateway, inbound, permit, server, wanted).await?;
    // It may have been stopped meanwhile.
    block::server(gateway, &inbound.caller, server.name())?;
    let Some(found) = found else {
        let text = "the server has no such list";
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name()));
    };
    let sunset = inbound.snapshot.sunset(server.id());
    let message = shown(gateway, (server.name(), sunset), kind, (view, &inbound.caller), &found);
    let items = message.member(kind.items_member()).map(|span| message.raw(span)).unwrap_or_default();
    inbound.record.shows(elements(&items, Span::all(&items)).count(), items);
    let info = guard::info(gateway, inbound, server.id(), found.kept.info.as_ref());
    let answered = Answered::from(inbound, (found.kept.era, info.as_ref()), &message);
    bridge::response(&answered).map_err(|refusal| refusal.of(server.name()))
}

/// What policy lets a caller see, and who that is: operators may have stopped some of it.
type Sight<'a> = (&'a View, &'a Caller);

/// A server's own page, less what must not be shown, and with what is left of the time for which it may be kept.
fn shown(
    gateway: &Gateway,
    (server, sunset): (&ServerName, Option<Timestamp>),
    kind: ListKind,
    (view, caller): Sight<'_>,
    found: &Found,
) -> Message {
    let kept = &found.kept;
    let Some(page) = &kept.page else { return kept.message.clone() };
    let mut items = visible(&page.items, kind, view);
    without_hidden(gateway, caller, server, kind, &mut items);
    let mut changes = Vec::new();
    let is_sunset = sunset.is_some() && !items.is_empty();
    if items.len() < kept.listed || is_sunset || items.iter().any(Item::is_changed) {
        let exposure = Exposure { sunset, ..Exposure::default() };
        let array = array_of(&items.iter().map(|item| item.expose(&exposure)).collect::<Vec<_>>());
        changes.push(Change::Set(kind.items_member(), Bytes::from(array)));
    }
    let (caching, said) = (found.caching(), page.caching);
    if caching.ttl_ms != said.ttl_ms && kept.says_how_long() {
        changes.push(Change::Set("ttlMs", Bytes::from(caching.ttl_ms.to_string())));
    }
    let is_whole = view.is_whole() && gateway.blocks().are_none();
    if !is_whole && kept.era == Era::Modern && said.shared {
        // What policy shows differs from caller to caller.
        changes.push(Change::Set("cacheScope", Bytes::from_static(b"\"private\"")));
    }
    let stale = found.stale_age().map(|age| stale([(server, age)]));
    if changes.is_empty() && stale.is_none() {
        return kept.message.clone();
    }
    let message = &kept.message;
    let mut edit = message.edit();
    if let Some(stale) = stale {
        message.change_meta(&mut edit, &[Change::Set(STALE_KEY, Bytes::from(stale))]);
    }
    message.change_body(&mut edit, &changes);
    // What was valid stays valid; were it not, the page goes as the server sent it.
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    Message::parse(edit.finish().into_bytes(), &limits).unwrap_or_else(|_| message.clone())
}

/// The items that a caller may be shown.
fn visible(items: &[Item], kind: ListKind, view: &View) -> Vec<Item> {
    items.iter().filter(|item| view.shows(kind, item.key())).cloned().collect()
}

/// What is said under [`STALE_KEY`]: which servers could not be asked, and how old what stands in for them is.
pub(crate) fn stale<'a>(servers: impl IntoIterator<Item = (&'a ServerName, Duration)>) -> String {
    let one = |(server, age): (&ServerName, Duration)| {
        format!("{{\"server\":\"{server}\",\"ageMs\":{}}}", age.as_millis())
    };
    format!("[{}]", servers.into_iter().map(one).collect::<Vec<_>>().join(","))
}

/// Leaves out what guards withhold, what waits to be approved, and what operators have stopped. What the gateway reads for itself
/// has it all: policies are about that too.
fn without_hidden(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerName,
    kind: ListKind,
    items: &mut Vec<Item>,
) {
    items.retain(|item| !item.is_withheld());
    gateway.without_waiting(caller.tenant(), server, kind, items);
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
    /// How old it is, where it stands in for what could not be had.
    stale: Option<Duration>,
    /// Whether all of it was kept.
    is_kept: bool,
}

impl Part {
    fn empty(server: &ServerName) -> Self {
        Self {
            server: server.clone(),
            items: Vec::new(),
            next_cursor: None,
            caching: Caching { ttl_ms: u64::MAX, shared: true },
            missing: None,
            stale: None,
            is_kept: true,
        }
    }
}

/// How much of a list is read, and whether what is kept of it will do.
#[derive(Debug, Clone, Copy)]
struct Extent {
    whole: bool,
    anew: bool,
}

impl Extent {
    const WHOLE: Self = Self::of(true);
    const ANEW: Self = Self { whole: true, anew: true };

    const fn of(whole: bool) -> Self {
        Self { whole, anew: false }
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
        let part = read(gateway, inbound, &server, kind, cursor, Extent::of(whole)).await;
        part.unwrap_or_else(|refusal| Part {
            server,
            items: Vec::new(),
            next_cursor: None,
            caching: Caching::NONE,
            missing: Some(refusal.into()),
            stale: None,
            is_kept: false,
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
    let later = starts.map(|(server, _)| server).collect();
    // Every server's first page says who may keep its list, so that the first page of all can speak for the others.
    // A server that fails later shows nothing, and so changes nothing about that.
    let is_shared = |part: &Part| part.caching.shared || (from_start.is_some() && part.missing.is_some());
    let shared = !inbound.snapshot.has_tenants()
        && from_start.is_none_or(|shared| shared)
        && parts.iter().all(is_shared);
    let rest = cut_after_unfinished(&mut parts, later);
    if kind == ListKind::Tools && from_start.is_none() && rest.is_empty() {
        // Nothing is new of what was kept already.
        let is_known = parts.iter().all(|part| part.is_kept);
        if !is_known || gateway.tool_indexes().get(&tools_key(inbound)).is_none() {
            remember_tools(gateway, inbound, &parts);
        }
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
    let is_left_out = leave_out_blocked(gateway, inbound, kind, &mut parts);
    render(gateway, inbound, kind, &Rendered { parts, rest, shared: shared && !is_left_out }, &seen)
}

/// Leaves out what operators have stopped since each server's part was read: a list may wait long for its slowest part.
fn leave_out_blocked(gateway: &Gateway, inbound: &Inbound, kind: ListKind, parts: &mut [Part]) -> bool {
    if gateway.blocks().are_none() {
        return false;
    }
    let (caller, endpoint) = (&inbound.caller, inbound.endpoint.name());
    for part in parts {
        let stopped = block::server(gateway, caller, &part.server).err();
        match stopped.filter(|_| policy::sees(gateway, caller, endpoint, &part.server)) {
            Some(refusal) => {
                let missing = Some(refusal.into());
                *part = Part { caching: Caching::NONE, missing, ..Part::empty(&part.server) };
            }
            None => without_hidden(gateway, caller, &part.server, kind, &mut part.items),
        }
    }
    true
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
    extent: Extent,
) -> Result<Part, Refusal> {
    let upstream = inbound.server(server)?;
    let (caller, endpoint) = (&inbound.caller, inbound.endpoint.name());
    match policy::look(gateway, caller, endpoint, server) {
        Some(look) => {
            let part = read_by(gateway, inbound, &look, &upstream, kind, cursor, extent).await;
            // It may have been stopped meanwhile, and then nothing else counts.
            block::server(gateway, caller, server)?;
            part.map(|mut part| {
                without_hidden(gateway, caller, server, kind, &mut part.items);
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
    read_by(gateway, inbound, &look, server, kind, None, Extent::ANEW).await.map(|part| part.items)
}

async fn read_by(
    gateway: &Gateway,
    inbound: &Inbound,
    (permit, view): &(Permit, View),
    upstream: &Server,
    kind: ListKind,
    mut cursor: Option<String>,
    Extent { whole, anew }: Extent,
) -> Result<Part, Refusal> {
    let settings = &inbound.snapshot.settings;
    let server = upstream.name();
    // All of it, however many pages it has.
    let until = Some(Instant::now() + upstream.settings().timeouts.list);
    let mut part = Part::empty(server);
    let mut pages = 0;
    loop {
        let wanted = Wanted { kind, cursor: cursor.as_deref(), asks: Asks::Own, anew, until };
        let found = cache::page(gateway, inbound, permit, upstream, wanted).await?;
        let Some((found, page)) = found.as_ref().and_then(|found| Some((found, found.kept.page.as_ref()?)))
        else {
            if part.items.is_empty() {
                gateway.pins().was_read(upstream.id(), kind);
            }
            return Ok(part);
        };
        pages += 1;
        part.items.extend(visible(&page.items, kind, view));
        let caching = found.caching();
        let shared = caching.shared && view.is_whole() && gateway.blocks().are_none();
        part.caching = Caching::merged([part.caching, Caching { shared, ..caching }]);
        part.stale = part.stale.max(found.stale_age());
        part.is_kept &= found.was_kept();
        let too_many = part.items.len() > settings.list_items_max;
        if too_many || (whole && pages >= settings.list_pages_max && page.next_cursor.is_some()) {
            part.items.truncate(settings.list_items_max);
            part.missing = Some(Missing {
                code: "list_too_long",
                reason: format!("only the first {} items are shown", part.items.len()),
            });
            return Ok(part);
        }
        match page.next_cursor.clone() {
            // A server that gives the same cursor again would be read for ever.
            Some(next) if whole && cursor.as_ref() != Some(&next) => cursor = Some(next),
            Some(next) if !whole => {
                part.next_cursor = Some(next);
                return Ok(part);
            }
            _ => {
                if whole {
                    gateway.pins().was_read(upstream.id(), kind);
                }
                return Ok(part);
            }
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
    read(gateway, inbound, server, kind, None, Extent::ANEW).await.map(drop)
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
    let parts =
        join_all(servers.map(|server| read(gateway, inbound, server, kind, None, Extent::WHOLE))).await;
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
        let server = inbound.snapshot.server(inbound.caller.tenant(), &part.server);
        let sunset = server.and_then(|server| inbound.snapshot.sunset(server.id()));
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
                    sunset,
                    uris: views_of(item, &part.server, seen),
                    ..exposure
                };
                shown.push((place, item.expose(&exposure)));
            }
        }
    }
    shown.sort_by_key(|(place, _)| *place);
    let items: Vec<Bytes> = shown.into_iter().map(|(_, item)| item).collect();

    let array = Bytes::from(array_of(&items));
    let mut result = Vec::with_capacity(array.len() + 512);
    for part in [&b"{\""[..], kind.items_member().as_bytes(), b"\":", &array] {
        result.extend_from_slice(part);
    }
    inbound.record.shows(items.len(), array);
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
    let stale_parts: Vec<_> = parts.iter().filter_map(|part| Some((&part.server, part.stale?))).collect();
    if !stale_parts.is_empty() {
        members.push(format!("\"{STALE_KEY}\":{}", stale(stale_parts)));
    }
    if members.is_empty() { Vec::new() } else { format!(",\"_meta\":{{{}}}", members.join(",")).into_bytes() }
}
