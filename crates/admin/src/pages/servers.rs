//! Servers: how they do, what they last listed, who could call it, and the steps of those that are registered.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;
use tollgate_model::{ServerName, TenantId, Timestamp};
use tollgate_store::{Life, List, Registration, RegistrationId, earlier, gap};

use super::{Path, Query, Shell, error, hidden, page};
use crate::acts::see_through;
use crate::acts::servers::{self as acts, Own};
use crate::api::registered::{CallersView, VersionView, tool_names, who_could};
use crate::api::servers::{Filter, ReplicaView, ServerView, definitions, judged, servers, shown};
use crate::front::{Posted, Shared};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::registry::{Judged, ToolFinding};
use crate::roles::{Act, ChangeServers, May, ReadReviews, ReadServers, ReadTools, Resource};

pub(super) const HERE: &str = "/servers";
/// How many servers are on a page.
const PAGE: usize = 50;
/// Of how many things of a server is shown what they are.
const SHOWN: usize = 25;

/// A query's part of a link.
fn query(pairs: &[(&str, &str)]) -> String {
    let said = pairs.iter().filter(|(_, value)| !value.is_empty());
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish()
}

/// Where the page of a server is.
pub(super) fn href(tenant: &str, name: &str) -> String {
    let query = query(&[("tenant", tenant)]);
    if query.is_empty() { format!("{HERE}/{name}") } else { format!("{HERE}/{name}?{query}") }
}

/// A link of somebody's, if it leads to the web.
fn web(link: Option<&String>) -> Option<String> {
    link.filter(|link| ["https://", "http://"].iter().any(|scheme| link.starts_with(scheme))).cloned()
}

#[derive(Debug, Template)]
#[template(path = "servers.html")]
struct Servers {
    shell: Shell,
    may_change: bool,
    may_review: bool,
    waiting: usize,
    filter: Filter,
    tenants: Vec<String>,
    lines: Vec<Line>,
    of: usize,
    first: usize,
    before: Option<String>,
    next: Option<String>,
}

/// A server of the list.
#[derive(Debug)]
struct Line {
    href: String,
    view: ServerView,
}

impl Line {
    fn of(view: ServerView) -> Self {
        let tenant = view.registered_in.as_deref().or(view.tenant.as_deref()).unwrap_or_default();
        Self { href: href(tenant, &view.name), view }
    }
}

/// Which part of the list.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Part {
    from: Option<usize>,
}

pub(super) async fn show(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    Query(filter): Query<Filter>,
    Query(part): Query<Part>,
) -> Response {
    let made = async {
        let all = servers(&plane, &may).await?;
        let waiting = all.iter().filter(|one| one.life == Life::InReview.as_str()).count();
        let found: Vec<ServerView> = all.into_iter().filter(|one| filter.fits(one)).collect();
        let (of, from) = (found.len(), part.from.unwrap_or_default());
        let link = |from: usize| {
            let text = |text: &Option<String>| text.clone().unwrap_or_default();
            let query = query(&[
                ("search", &text(&filter.search)),
                ("life", &text(&filter.life)),
                ("origin", &text(&filter.origin)),
                ("state", &text(&filter.state)),
                ("tenant", &text(&filter.tenant)),
                ("from", &from.to_string()),
            ]);
            format!("{HERE}?{query}")
        };
        let before = (from > 0).then(|| link(from.saturating_sub(PAGE)));
        let next = (from.saturating_add(PAGE) < of).then(|| link(from + PAGE));
        let lines: Vec<Line> = found.into_iter().skip(from).take(PAGE).map(Line::of).collect();
        Ok::<_, Problem>(Servers {
            shell: Shell::of(&may.who, HERE),
            may_change: may.who.may(Resource::Servers, Act::Change),
            may_review: may.who.may(Resource::Reviews, Act::Read),
            waiting,
            tenants: tenants(&plane, &may)?,
            filter,
            first: if lines.is_empty() { 0 } else { from + 1 },
            lines,
            of,
            before,
            next,
        })
    };
    made.await.map_or_else(|problem| error(&problem), |made| page(&made))
}

/// The tenants that whoever asks may see.
pub(super) fn tenants<P: crate::roles::Permission>(
    plane: &Plane,
    may: &May<P>,
) -> Result<Vec<String>, Problem> {
    let configured = plane.parts()?.configured;
    let seen = configured.tenants.iter().filter(|tenant| may.sees(Some(tenant)));
    Ok(seen.map(|tenant| tenant.as_str().to_owned()).collect())
}

#[derive(Debug, Template)]
#[template(path = "server.html")]
struct ServerPage {
    shell: Shell,
    here: String,
    whose: String,
    server: ServerView,
    documentation: Option<String>,
    replicas: Vec<ReplicaView>,
    versions: Vec<Version>,
    back_to: Option<String>,
    may_change: bool,
    may_review: bool,
    sees_pins: bool,
    tenants: Vec<String>,
    callers_of: String,
    /// Of its tools, prompts, resources and templates those that are known; an empty one only of tools.
    lists: Vec<Listed>,
    /// What it was asked for and has none of.
    without: Vec<&'static str>,
}

/// A version, and what can be done with it.
#[derive(Debug)]
struct Version {
    view: VersionView,
    reach: Option<String>,
    review: String,
    edit: Option<String>,
    acts: Vec<(&'static str, &'static str, &'static str)>,
    has_sunset: bool,
    has_share: bool,
    /// What is to be seen to before it ends.
    gap: Option<String>,
}

impl Version {
    fn of(one: &Registration, all: &[Registration], (reads, may_change): (bool, bool)) -> Self {
        let (tenant, name, version) = (one.id.tenant.as_str(), one.id.name.as_str(), &*one.id.version);
        let of = query(&[("tenant", tenant), ("name", name), ("version", version)]);
        let acts: &[(&str, &str, &str)] = match one.life {
            Life::Draft => &[("submit", "Submit for review", "main"), ("retire", "Retire", "danger")],
            Life::InReview => &[("retire", "Retire", "danger")],
            Life::Approved | Life::Deprecated => &[
                ("share", "Change share", ""),
                ("deprecate", "Deprecate", ""),
                ("retire", "Retire now", "danger"),
            ],
            Life::Retired => &[],
        };
        Self {
            view: VersionView::of(one, false),
            reach: reads.then(|| pretty(&one.reach)),
            review: format!("/review?{of}"),
            edit: (may_change && one.life == Life::Draft).then(|| format!("/servers-new?{of}")),
            acts: if may_change { acts.to_vec() } else { Vec::new() },
            has_sunset: one.life.is_served(),
            has_share: one.life.is_served(),
            gap: (one.life == Life::Deprecated).then(|| gap(all, version)).flatten(),
        }
    }
}

/// JSON as people read it.
pub(super) fn pretty(json: &str) -> String {
    let value = serde_json::from_str::<Value>(json).and_then(|value| serde_json::to_string_pretty(&value));
    hidden::in_json(value.unwrap_or_else(|_| json.to_owned()))
}

/// What a server last listed of one kind.
#[derive(Debug)]
struct Listed {
    title: &'static str,
    one: &'static str,
    seen: String,
    of: usize,
    first: usize,
    items: Vec<Item>,
    /// How many of those that are shown guards find something in.
    found: usize,
    more: Option<String>,
}

/// What a server says of one thing, in its own words; what guards find in it, how it is pinned, and who could call it.
#[derive(Debug)]
struct Item {
    name: String,
    title: String,
    description: String,
    whole: String,
    findings: Vec<ToolFinding>,
    pin: Option<&'static str>,
    callers: Option<CallersView>,
}

impl Item {
    fn of(list: List, item: &[u8], judged: Judged) -> Self {
        let value: Value = serde_json::from_slice(item).unwrap_or_default();
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let (name, title) = match list {
            List::Tools | List::Prompts => (text("name"), text("title")),
            List::Resources => (text("uri"), text("name")),
            List::ResourceTemplates => (text("uriTemplate"), text("name")),
        };
        Self {
            name,
            title,
            description: hidden::in_text(&text("description")),
            whole: hidden::in_json(serde_json::to_string_pretty(&value).unwrap_or_default()),
            findings: judged.findings,
            pin: judged.pin,
            callers: None,
        }
    }
}

/// The lists of a server, as a page has them.
const LISTS: [(List, &str, &str); 4] = [
    (List::Tools, "Tools", "tool"),
    (List::Prompts, "Prompts", "prompt"),
    (List::Resources, "Resources", "resource"),
    (List::ResourceTemplates, "Resource templates", "resource template"),
];

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    tenant: Option<String>,
    /// Whose callers are meant.
    callers: Option<String>,
    /// Which list is shown further on; tools if it is not said.
    list: Option<String>,
    /// From which of its items on.
    from: Option<usize>,
}

pub(super) async fn one(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    Path(name): Path<String>,
    Query(which): Query<Which>,
) -> Response {
    match Box::pin(server_page(&plane, &may, name, which)).await {
        Ok(made) => page(&made),
        Err(problem) => error(&problem),
    }
}

async fn server_page(
    plane: &Plane,
    may: &May<ReadServers>,
    name: String,
    which: Which,
) -> Result<ServerPage, Problem> {
    let whose = which.tenant.unwrap_or_default();
    let (server, replicas, registered) = shown(plane, may, (Some(&whose), &name)).await?;
    let reads = May::<ReadReviews>::check(may.who.clone()).ok();
    let tenant = TenantId::new(&whose);
    let changes = May::<ChangeServers>::check(may.who.clone()).ok();
    let may_change = changes.is_some_and(|may| may.sees(Some(&tenant)))
        && acts::may_change(&may.who, &tenant, &registered);
    let knows = |one: &Registration| reads.as_ref().is_some_and(|reads| acts::sees(reads, one));
    let mut versions: Vec<Version> =
        registered.iter().map(|one| Version::of(one, &registered, (knows(one), may_change))).collect();
    versions.sort_by_key(|version| version.view.life == Life::Retired.as_str());
    let back_to = earlier(&registered).map(|one| one.id.version.to_string()).filter(|_| may_change);
    let tenants = tenants(plane, may)?;
    let callers_of = server.tenant.clone().or(which.callers).or_else(|| tenants.first().cloned());
    let callers_of = callers_of.unwrap_or_default();
    let (mut lists, mut without) = (Vec::new(), Vec::new());
    if let Ok(may_tools) = May::<ReadTools>::check(may.who.clone()) {
        let further = which.list.as_deref().and_then(List::from_stored).unwrap_or(List::Tools);
        for (list, title, one) in LISTS {
            let of = (server.tenant.as_deref(), name.as_str(), list);
            let Ok(found) = definitions(plane, &may_tools, of).await else { continue };
            if found.items.is_empty() && list != List::Tools {
                without.push(one);
                continue;
            }
            let (seen, count) = (found.seen.to_string(), found.items.len());
            let from = if list == further { which.from.unwrap_or_default() } else { 0 };
            let part: Vec<_> = found.items.into_iter().skip(from).take(SHOWN).collect();
            let mut judged = judged(plane, &may.who, of, &part).unwrap_or_default().into_iter();
            let item = |item: &bytes::Bytes| Item::of(list, item, judged.next().unwrap_or_default());
            let mut items: Vec<Item> = part.iter().map(item).collect();
            if let (List::Tools, Some(reads), Ok(server)) = (list, &reads, ServerName::new(&name)) {
                let of = (&TenantId::new(&callers_of), &server);
                let callers = who_could(plane, reads, of, &tool_names(&part)).await.unwrap_or_default();
                for callers in callers {
                    if let Some(tool) = items.iter_mut().find(|tool| tool.name == callers.tool) {
                        tool.callers = Some(callers);
                    }
                }
            }
            let more = (from.saturating_add(SHOWN) < count).then(|| {
                let next = (from + SHOWN).to_string();
                let of =
                    [("tenant", &*whose), ("callers", &callers_of), ("list", list.as_str()), ("from", &next)];
                format!("{HERE}/{name}?{}#{}", query(&of), list.as_str())
            });
            let found = items.iter().filter(|item| !item.findings.is_empty()).count();
            let first = if items.is_empty() { 0 } else { from + 1 };
            lists.push(Listed { title, one, seen, of: count, first, items, found, more });
        }
    }
    Ok(ServerPage {
        shell: Shell::of(&may.who, HERE),
        here: href("", &name),
        documentation: web(server.documentation.as_ref()),
        whose,
        server,
        replicas,
        versions,
        back_to,
        may_change,
        may_review: may.who.may(Resource::Reviews, Act::Read),
        sees_pins: may.who.may(Resource::Pins, Act::Read),
        tenants,
        callers_of,
        lists,
        without,
    })
}

/// A step that somebody takes.
#[derive(Debug, Deserialize)]
pub(super) struct Taken {
    act: String,
    tenant: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    share: String,
    #[serde(default)]
    sunset: String,
}

/// Whether it still is what the form was made for.
pub(super) fn is_seen(revision: u64) -> impl FnOnce(&Registration) -> Result<(), Problem> + Send + use<> {
    move |now| {
        if now.revision == revision {
            return Ok(());
        }
        Err(Problem::new(
            http::StatusCode::PRECONDITION_FAILED,
            "changed",
            "somebody has changed it since the page was made: go back, load it again, and look at it anew",
        ))
    }
}

/// A part of the requests, as it is typed.
pub(super) fn share(text: &str) -> Result<Option<u8>, Problem> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| Problem::invalid("share: from 0 to 100")),
    }
}

impl Taken {
    fn own(&self) -> Result<Own, Problem> {
        match &*self.act {
            "submit" => Ok(Own::Submit),
            "retire" => Ok(Own::Retire),
            "share" => {
                let share = share(&self.share)?;
                share.map(Own::Share).ok_or_else(|| Problem::invalid("share: from 0 to 100"))
            }
            "deprecate" => {
                let day = format!("{}T00:00:00Z", self.sunset.trim());
                let day = day.parse::<Timestamp>();
                day.map(Own::Deprecate).map_err(|_| Problem::invalid("sunset: a day such as 2027-03-31"))
            }
            _ => Err(Problem::invalid("there is no such step")),
        }
    }
}

pub(super) async fn act(
    State(plane): State<Shared>,
    Path(name): Path<String>,
    Posted { may, form }: Posted<ChangeServers, Taken>,
) -> Response {
    let done = async {
        let id = acts::id(
            TenantId::new(&form.tenant),
            &name,
            if form.version.is_empty() { "1" } else { &form.version },
        )?;
        let versions = acts::versions(&plane, &may, (&id.tenant, &id.name)).await?;
        let missing = || Problem::not_found("no such server is registered");
        if form.act == "rollback" {
            let leading = crate::api::servers::leading(&versions).ok_or_else(missing)?;
            let sure = acts::over(&may, leading)?;
            let RegistrationId { tenant, name, .. } = id;
            let (to, reason) = (form.version.clone(), form.reason.clone());
            let back = async move {
                acts::roll_back(plane, sure, (tenant, name), (Some(&*to), &reason), |_| Ok(())).await
            };
            return Ok::<usize, Problem>(see_through(back).await?.len());
        }
        let own = form.own()?;
        let before = versions.iter().find(|one| one.id == id).ok_or_else(missing)?;
        let sure = acts::over(&may, before)?;
        let (reason, revision) = (form.reason.clone(), form.revision);
        let step = async move { acts::step(plane, sure, id, own, &reason, is_seen(revision)).await };
        Ok(see_through(step).await?.len())
    };
    match Box::pin(done).await {
        Ok(_) => Redirect::to(&href(&form.tenant, &name)).into_response(),
        Err(problem) => error(&problem),
    }
}

/// What is typed into a text field, or nothing.
pub(super) fn typed(text: &str) -> Option<Arc<str>> {
    Some(text.trim()).filter(|text| !text.is_empty()).map(Arc::from)
}
