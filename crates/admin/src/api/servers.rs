//! Servers: those of the file and those that are registered, how they do, and what they last listed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tollgate_model::{Holder, ServerId, ServerName, TenantId};
use tollgate_store::{Definitions, DefinitionsOf, Life, List, Registration};
use utoipa::{IntoParams, ToSchema};

use super::registered::VersionView;
use super::{Asked, At, Page, Paging, Tagged, pack, tagged, time, unpack};
use crate::acts::servers as acts;
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::registry::Judged;
use crate::roles::{May, Operator, Permission, ReadFindings, ReadPins, ReadReviews, ReadServers, ReadTools};
use crate::{ReplicaLine, ServerCard, ServerLine, ServerReach};

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/servers/{id}", get(one)).route("/api/v1/tools", get(tools))
}

/// A server behind the gateway, or one that is to be.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Server)]
pub(crate) struct ServerView {
    /// By what it is named in paths.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Whose it is; absent if it is every tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// `http`, `sse` or `stdio`.
    pub(crate) transport: &'static str,
    /// Where it is said: `file`, where alone it can be changed, or `registered`.
    pub(crate) origin: &'static str,
    /// Where it is in its life: `draft`, `in_review`, `approved`, `deprecated` or `retired`.
    pub(crate) life: &'static str,
    /// `up`, `down` or `unknown`, as last seen.
    pub(crate) state: &'static str,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// Since when it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<String>,
    /// Why this gateway does not serve it although it is approved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) not_served: Option<String>,
    /// The revision of the protocol that is spoken with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<&'static str>,
    /// Its sessions or processes.
    pub(crate) instances: u64,
    /// How often one was started again.
    pub(crate) restarts: u64,
    /// The registered version that most requests go to, or the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// How many versions are registered that are not retired.
    pub(crate) versions: usize,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sunset: Option<String>,
    /// What it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// Who answers for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) owner: Option<String>,
    /// Where it belongs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) environment: Option<String>,
    /// How dangerous it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) risk: Option<String>,
    /// Words to find it by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    /// The URL of its documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) documentation: Option<String>,
    /// Whose it is where it is registered, also if every tenant has it.
    #[serde(skip)]
    pub(crate) registered_in: Option<String>,
}

fn text(text: Option<&Arc<str>>) -> Option<String> {
    text.map(ToString::to_string)
}

impl ServerView {
    /// As far as what is seen of it goes.
    fn seen(&mut self, line: &ServerLine) {
        let (state, reason, since, revision) = match &line.reach {
            ServerReach::Unknown => ("unknown", None, None, None),
            ServerReach::Up { revision } => ("up", None, None, Some(*revision)),
            ServerReach::Down { reason, since, .. } => {
                ("down", Some(reason.to_string()), Some(time(*since)), None)
            }
        };
        (self.state, self.reason, self.since, self.revision) = (state, reason, since, revision);
        (self.transport, self.instances, self.restarts) = (line.transport, line.instances, line.restarts);
    }

    /// Of the file.
    fn of_file(line: &ServerLine, card: Option<&ServerCard>) -> Self {
        let tenant = line.server.holder().tenant().map(|tenant| tenant.as_str().to_owned());
        let mut view = Self {
            id: pack(&[tenant.as_deref().unwrap_or_default(), line.server.name().as_str()]),
            name: line.server.name().to_string(),
            tenant,
            transport: line.transport,
            origin: "file",
            life: Life::Approved.as_str(),
            state: "unknown",
            reason: None,
            since: None,
            not_served: None,
            revision: None,
            instances: 0,
            restarts: 0,
            version: None,
            versions: 0,
            sunset: None,
            description: None,
            owner: text(card.and_then(|card| card.owner.as_ref())),
            environment: text(card.and_then(|card| card.environment.as_ref())),
            risk: text(card.and_then(|card| card.risk.as_ref())),
            tags: Vec::new(),
            documentation: None,
            registered_in: None,
        };
        view.seen(line);
        view
    }

    /// Of all its versions; none if there are none.
    fn registered(versions: &[Registration], left_out: &[(String, String)]) -> Option<Self> {
        let main = leading(versions)?;
        let about = &main.about;
        let tenant = main.id.tenant.as_str().to_owned();
        let label = label(main);
        let not_served = left_out.iter().find(|(name, _)| *name == label).map(|(_, why)| why.clone());
        let is_idle = main.life.is_served() && main.share == 0;
        let not_served =
            not_served.or_else(|| is_idle.then(|| "no version has a share of the requests".to_owned()));
        Some(Self {
            id: pack(&[&tenant, main.id.name.as_str()]),
            name: main.id.name.to_string(),
            tenant: (!acts::is_shared(main)).then(|| tenant.clone()),
            transport: transport(&main.reach),
            origin: "registered",
            life: main.life.as_str(),
            state: "unknown",
            reason: None,
            since: None,
            not_served,
            revision: None,
            instances: 0,
            restarts: 0,
            version: Some(main.id.version.to_string()),
            versions: versions.iter().filter(|one| one.life != Life::Retired).count(),
            sunset: main.sunset.map(time),
            description: text(about.description.as_ref()),
            owner: text(about.owner.as_ref()),
            environment: text(about.environment.as_ref()),
            risk: text(about.risk.as_ref()),
            tags: about.tags.iter().map(ToString::to_string).collect(),
            documentation: text(about.documentation.as_ref()),
            registered_in: Some(tenant),
        })
    }

    fn holder(&self) -> Holder {
        self.tenant.as_deref().map_or(Holder::Shared, |tenant| Holder::Tenant(TenantId::new(tenant)))
    }
}

/// As the gateway names a registration.
fn label(one: &Registration) -> String {
    let (tenant, name, version) = (&one.id.tenant, &one.id.name, &one.id.version);
    if *tenant == TenantId::default() {
        format!("{name}@{version}")
    } else {
        format!("{}/{name}@{version}", tenant.as_str())
    }
}

/// The version that stands for all: the one with most requests, else the latest that is not retired, else the latest.
pub(crate) fn leading(versions: &[Registration]) -> Option<&Registration> {
    versions
        .iter()
        .max_by_key(|one| (one.life.is_served(), one.share, one.life != Life::Retired, one.last.at))
}

/// How a server is reached, as far as its transport goes.
fn transport(reach: &str) -> &'static str {
    let reach: Value = serde_json::from_str(reach).unwrap_or_default();
    match (reach.get("command"), &reach["transport"]) {
        (Some(_), _) => "stdio",
        (None, Value::String(transport)) if transport == "sse" => "sse",
        _ => "http",
    }
}

/// The servers that whoever asks may see: those of the file first, as they stand there, then those that are registered.
pub(crate) async fn servers<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<ServerView>, Problem> {
    let snapshot = plane.snapshot();
    let cards = plane.parts()?.configured;
    let cards: HashMap<&ServerId, &ServerCard> =
        cards.servers.iter().map(|card| (&card.server, card)).collect();
    let lines: HashMap<&ServerId, &ServerLine> =
        snapshot.servers.iter().map(|line| (&line.server, line)).collect();
    let all = acts::all(plane, may).await?;
    let mut registered: BTreeMap<(&str, &str), Vec<Registration>> = BTreeMap::new();
    for one in &all {
        registered.entry((one.id.tenant.as_str(), one.id.name.as_str())).or_default().push(one.clone());
    }
    let mut registered: Vec<ServerView> = registered
        .values()
        .filter_map(|versions| ServerView::registered(versions, &snapshot.left_out))
        .collect();
    for view in &mut registered {
        let Ok(name) = ServerName::new(&view.name) else { continue };
        let server = ServerId::new(view.holder(), name);
        let is_served = matches!(view.life, "approved" | "deprecated");
        if let Some(line) = lines.get(&server)
            && is_served
            && !cards.contains_key(&server)
        {
            view.seen(line);
        }
    }
    let known: std::collections::HashSet<(Option<&str>, &str)> =
        registered.iter().map(|view| (view.tenant.as_deref(), view.name.as_str())).collect();
    let of_file = snapshot.servers.iter().filter(|line| {
        let key = (line.server.holder().tenant().map(TenantId::as_str), line.server.name().as_str());
        may.sees(line.server.holder().tenant()) && (cards.contains_key(&line.server) || !known.contains(&key))
    });
    let mut found: Vec<ServerView> =
        of_file.map(|line| ServerView::of_file(line, cards.get(&line.server).copied())).collect();
    found.extend(registered);
    Ok(found)
}

/// Which servers.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only those in whose name, owner, description or tags this stands.
    pub(crate) search: Option<String>,
    /// Only those in this part of their life; those that are not retired if absent.
    pub(crate) life: Option<String>,
    /// Only those of `file`, or those that are `registered`.
    pub(crate) origin: Option<String>,
    /// Only those that are `up`, `down` or `unknown`.
    pub(crate) state: Option<String>,
    /// Only this tenant's.
    pub(crate) tenant: Option<String>,
}

impl Filter {
    /// Whether a list of choices shows this one as chosen.
    pub(crate) fn says(&self, what: &str, value: &str) -> bool {
        let said = match what {
            "life" => &self.life,
            "origin" => &self.origin,
            "state" => &self.state,
            _ => &self.tenant,
        };
        said.as_deref() == Some(value)
    }

    /// Refuses what nothing can be: an empty list would say that there are none.
    fn check(&self) -> Result<(), Problem> {
        let lives = ["draft", "in_review", "approved", "deprecated", "retired"];
        for (name, said, known) in [
            ("life", &self.life, &lives[..]),
            ("origin", &self.origin, &["file", "registered"][..]),
            ("state", &self.state, &["up", "down", "unknown"][..]),
        ] {
            let said = said.as_deref().filter(|said| !said.is_empty());
            if said.is_some_and(|said| !known.contains(&said)) {
                return Err(Problem::invalid(format!("{name}: one of {}", known.join(", "))));
            }
        }
        Ok(())
    }

    /// Whether something is meant.
    pub(crate) fn fits(&self, view: &ServerView) -> bool {
        let said = |wanted: &Option<String>| wanted.clone().filter(|wanted| !wanted.is_empty());
        let is = |wanted: &Option<String>, is: &str| said(wanted).is_none_or(|wanted| wanted == is);
        let is_alive = match said(&self.life) {
            Some(life) => life == view.life,
            None => view.life != Life::Retired.as_str(),
        };
        let search = said(&self.search).map(|search| search.to_lowercase());
        let texts = [Some(&view.name), view.owner.as_ref(), view.description.as_ref()];
        let mut texts = texts.into_iter().flatten().chain(&view.tags);
        is_alive
            && is(&self.origin, view.origin)
            && is(&self.state, view.state)
            && is(&self.tenant, view.tenant.as_deref().unwrap_or_default())
            && search.is_none_or(|search| texts.any(|text| text.to_lowercase().contains(&search)))
    }
}

/// Lists the servers, and how they do.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", params(Filter, Paging, Tagged),
    responses((status = 200, body = Page<ServerView>)),
    extensions(("x-tollgate-permission" = json!("servers:read"))))]
pub(super) async fn list(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(filter): Asked<Filter>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    filter.check()?;
    let mut found = servers(&plane, &may).await?;
    found.retain(|view| filter.fits(view));
    let cursor = |one: &ServerView| pack(&[one.origin, &one.id]);
    Ok(tagged(&headers, &paging.cut(found, cursor)?))
}

/// A replica of a server.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Replica)]
pub(crate) struct ReplicaView {
    /// Host and port, with a number behind where several are the same.
    pub(crate) name: String,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// `well`, `failing`, `ejected`, `tried` or `unused`.
    pub(crate) health: &'static str,
    /// Until when it is left alone, at the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ejected_until: Option<String>,
    /// Requests under way.
    pub(crate) in_flight: u64,
    /// Requests that it answered; not counted of an only one.
    pub(crate) answered: u64,
    /// Requests, and beginnings, that had no answer.
    pub(crate) failed: u64,
}

impl ReplicaView {
    fn of(line: &ReplicaLine) -> Self {
        Self {
            name: line.name.to_string(),
            version: text(line.version.as_ref()),
            health: line.health,
            ejected_until: line.ejected_until.map(time),
            in_flight: line.in_flight,
            answered: line.answered,
            failed: line.failed,
        }
    }
}

/// A server, its replicas and its versions.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct ServerShown {
    /// The server.
    #[serde(flatten)]
    pub(crate) server: ServerView,
    /// Where its requests go, and how each place does; none of a process.
    pub(crate) replicas: Vec<ReplicaView>,
    /// Its registered versions. How they are reached stands in it for whoever may know.
    #[serde(rename = "registered")]
    pub(crate) versions: Vec<VersionView>,
}

/// A server that whoever asks may see, by the tenant in which it is registered or whose it is (none: of the file, and every
/// tenant's), with what is registered of it.
pub(crate) async fn shown<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    (tenant, name): (Option<&str>, &str),
) -> Result<(ServerView, Vec<ReplicaView>, Vec<Registration>), Problem> {
    let missing = || Problem::not_found("there is no such server");
    let name = ServerName::new(name).map_err(|_| missing())?;
    let tenant = tenant.filter(|tenant| !tenant.is_empty());
    let versions = match tenant {
        Some(tenant) => acts::versions(plane, may, (&TenantId::new(tenant), &name)).await?,
        None => Vec::new(),
    };
    let (snapshot, configured) = (plane.snapshot(), plane.parts()?.configured);
    let holder = tenant.map_or(Holder::Shared, |tenant| Holder::Tenant(TenantId::new(tenant)));
    let own = ServerId::new(holder, name.clone());
    let line_of = |server: &ServerId| snapshot.servers.iter().find(|line| line.server == *server);
    let card = configured.servers.iter().find(|card| card.server == own);
    let (view, line) = match ServerView::registered(&versions, &snapshot.left_out) {
        // A server of the file goes first.
        Some(mut view) if card.is_none() => {
            let line = line_of(&ServerId::new(view.holder(), name));
            let line = line.filter(|_| versions.iter().any(|one| one.life.is_served()));
            if let Some(line) = line {
                view.seen(line);
            }
            (view, line)
        }
        _ => {
            let line = line_of(&own).filter(|_| may.sees(own.holder().tenant())).ok_or_else(missing)?;
            (ServerView::of_file(line, card), Some(line))
        }
    };
    let replicas = line.iter().flat_map(|line| &line.replicas).map(ReplicaView::of).collect();
    Ok((view, replicas, versions))
}

/// The tenant and name in a server's id.
pub(crate) fn named(id: &str) -> Result<(String, String), Problem> {
    let parts = unpack(id).map(|[tenant, name]| (tenant, name));
    parts.ok_or_else(|| Problem::not_found("nothing can have this id"))
}

/// Shows one server, how it does, and its versions.
#[utoipa::path(get, path = "/api/v1/servers/{id}", tag = "servers", params(("id" = String, Path), Tagged),
    responses((status = 200, body = ServerShown)),
    extensions(("x-tollgate-permission" = json!("servers:read"))))]
async fn one(
    may: May<ReadServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
) -> Result<Response, Problem> {
    let (tenant, name) = named(&id)?;
    let (server, replicas, versions) = shown(&plane, &may, (Some(&tenant), &name)).await?;
    let reads = May::<ReadReviews>::check(may.who.clone()).ok();
    let knows = |one: &Registration| reads.as_ref().is_some_and(|reads| acts::sees(reads, one));
    let versions = versions.iter().map(|one| VersionView::of(one, knows(one))).collect();
    Ok(tagged(&headers, &ServerShown { server, replicas, versions }))
}

/// Which tools.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Which {
    /// The server.
    server: String,
    /// The tenant whose it is; every tenant's if absent.
    tenant: Option<String>,
    /// `tools`, `prompts`, `resources` or `resource_templates`: `tools` if absent.
    list: Option<String>,
}

/// What a server last listed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Listed {
    /// The digest of all that it listed.
    digest: String,
    /// Since when it lists just that.
    seen: String,
    /// Each as the server wrote it. Whatever stands in it are the server's words, and nobody else's.
    #[schema(value_type = Vec<Object>)]
    items: Vec<Box<RawValue>>,
    /// What is to be said of each, in their order; absent for whoever may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    judged: Option<Vec<Judged>>,
    /// What to ask for as `after` to have the next; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// What a server last listed, if whoever asks may see the server.
pub(crate) async fn definitions<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    (tenant, server, list): (Option<&str>, &str, List),
) -> Result<Definitions, Problem> {
    let missing = || Problem::not_found("nothing of this server is known");
    let tenant = tenant.filter(|tenant| !tenant.is_empty()).map(TenantId::new);
    if !may.sees(tenant.as_ref()) {
        return Err(missing());
    }
    let server = ServerName::new(server).map_err(|_| missing())?;
    let store = plane.store()?.ok_or_else(missing)?;
    let found = store.definitions(&DefinitionsOf { tenant, server, list }).await?;
    found.ok_or_else(missing)
}

/// What is to be said of what a server lists: for those who see what guards find, and pins.
pub(crate) fn judged(
    plane: &Plane,
    who: &Operator,
    (tenant, server, list): (Option<&str>, &str, List),
    items: &[Bytes],
) -> Option<Vec<Judged>> {
    let tenant = tenant.filter(|tenant| !tenant.is_empty()).map(TenantId::new);
    let reads = May::<ReadFindings>::check(who.clone()).is_ok_and(|may| may.sees(tenant.as_ref()));
    let reads = reads && May::<ReadPins>::check(who.clone()).is_ok_and(|may| may.sees(tenant.as_ref()));
    let server = ServerName::new(server).ok().filter(|_| reads)?;
    let server = ServerId::new(tenant.map_or(Holder::Shared, Holder::Tenant), server);
    Some(plane.world().judge(&server, list, items))
}

/// Lists what a server last listed, with what guards find in it now and how it compares with what is approved.
#[utoipa::path(get, path = "/api/v1/tools", tag = "servers", params(Which, Paging, Tagged),
    responses((status = 200, body = Listed)),
    extensions(("x-tollgate-permission" = json!("tools:read"))))]
async fn tools(
    may: May<ReadTools>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let list = List::from_stored(which.list.as_deref().unwrap_or("tools"));
    let list =
        list.ok_or_else(|| Problem::invalid("list: tools, prompts, resources or resource_templates"))?;
    let found = definitions(&plane, &may, (which.tenant.as_deref(), &which.server, list)).await?;
    let all = found
        .items
        .iter()
        .enumerate()
        .filter_map(|(at, item)| Some((at, serde_json::from_slice(item).ok()?)));
    let page = paging.cut(all.collect(), |(at, _): &(usize, Box<RawValue>)| at.to_string())?;
    let of = (which.tenant.as_deref(), &*which.server, list);
    let raw: Vec<Bytes> = page.items.iter().filter_map(|(at, _)| found.items.get(*at).cloned()).collect();
    let judged = judged(&plane, &may.who, of, &raw);
    let items = page.items.into_iter().map(|(_, item)| item).collect();
    let (digest, seen) = (found.digest.to_string(), time(found.seen));
    let shown = Listed { digest, seen, items, judged, next: page.next };
    Ok(tagged(&headers, &shown))
}
