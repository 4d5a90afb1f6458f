//! Servers that are registered while gateways run: their versions, and the steps of their life.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_model::{ServerName, TenantId, Timestamp};
use tollgate_store::{About, Act, List, Registration, RegistrationId};
use utoipa::{IntoParams, ToSchema};

use super::servers::{self, definitions, named};
use super::{Asked, At, Made, Page, Paging, Repeatable, Seen, Tagged, changed, once, pack, tagged, time};
use crate::acts::imports::{self, Entry, Wanted};
use crate::acts::servers::{self as acts, Own, Said, Verdict};
use crate::front::{Input, Shared};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::registry::{ImportSource, Review, ToolCallers};
use crate::roles::{ChangeReviews, ChangeServers, May, ReadKeys, ReadReviews, ReadTools};
use crate::sessions::BY_COMMAND;

/// Whom could call how many tools is said at once.
const CALLERS_MAX: usize = 100;

pub(super) fn routes() -> Router<Shared> {
    let version = |rest: &str| format!("/api/v1/servers/{{id}}/versions/{{version}}{rest}");
    Router::new()
        .route("/api/v1/servers", get(servers::list).post(register))
        .route("/api/v1/servers/{id}/callers", get(callers))
        .route("/api/v1/servers/{id}/rollback", post(roll_back))
        .route("/api/v1/server-imports", post(import))
        .route(&version(""), get(one).put(edit))
        .route(&version("/submit"), post(submit))
        .route(&version("/approve"), post(approve))
        .route(&version("/reject"), post(reject))
        .route(&version("/deprecate"), post(deprecate))
        .route(&version("/share"), post(share))
        .route(&version("/retire"), post(retire))
        .route(&version("/review"), post(review))
}

/// One version of a server, as registered.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServerVersion)]
pub(crate) struct VersionView {
    /// By what its server is named in paths.
    pub(crate) server: String,
    /// The tenant in which it is registered.
    pub(crate) tenant: String,
    /// The server.
    pub(crate) name: String,
    /// The version.
    pub(crate) version: String,
    /// `draft`, `in_review`, `approved`, `deprecated` or `retired`.
    pub(crate) life: &'static str,
    /// Its part of the server's requests in percent. With 0 it stands by.
    pub(crate) share: u8,
    /// When it retires by itself.
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
    pub(crate) tags: Vec<String>,
    /// The URL of its documentation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) documentation: Option<String>,
    /// How it is reached, as under `servers` in `tollgate.yaml`; absent for whoever may not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(crate) reach: Option<Value>,
    /// The digest of what is looked at in a review.
    pub(crate) digest: String,
    /// Where it comes from: `api`, `console`, `cli`, `import`.
    pub(crate) origin: String,
    /// Who registered, edited or submitted it.
    pub(crate) hands: Vec<String>,
    /// 1 at first, and one more with each change.
    pub(crate) revision: u64,
    /// When it was made.
    pub(crate) created: String,
    /// When it was approved last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approved: Option<String>,
    /// What was done with it last.
    pub(crate) last: StepView,
    /// What is to be seen to before it ends; only said of one that was just deprecated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) warning: Option<String>,
}

/// What was done with a version last.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ServerStep)]
pub(crate) struct StepView {
    /// What.
    pub(crate) act: &'static str,
    /// By whom.
    pub(crate) by: String,
    /// Why, in their words.
    pub(crate) reason: String,
    /// When.
    pub(crate) at: String,
    /// Whether it is the approval of somebody who had a hand in it.
    pub(crate) own_work: bool,
}

impl VersionView {
    pub(crate) fn of(one: &Registration, shows_reach: bool) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_ref().map(ToString::to_string);
        let About { description, owner, environment, risk, tags, documentation } = &one.about;
        let last = &one.last;
        Self {
            server: pack(&[one.id.tenant.as_str(), one.id.name.as_str()]),
            tenant: one.id.tenant.as_str().to_owned(),
            name: one.id.name.to_string(),
            version: one.id.version.to_string(),
            life: one.life.as_str(),
            share: one.share,
            sunset: one.sunset.map(time),
            description: text(description),
            owner: text(owner),
            environment: text(environment),
            risk: text(risk),
            tags: tags.iter().map(ToString::to_string).collect(),
            documentation: text(documentation),
            reach: shows_reach.then(|| serde_json::from_str(&one.reach).unwrap_or_default()),
            digest: one.digest().to_string(),
            origin: one.origin.to_string(),
            hands: one.hands.iter().map(ToString::to_string).collect(),
            revision: one.revision,
            created: time(one.created),
            approved: one.approved.map(time),
            last: StepView {
                act: last.act.as_str(),
                by: last.by.to_string(),
                reason: last.reason.to_string(),
                at: time(last.at),
                own_work: last.is_own,
            },
            warning: None,
        }
    }
}

/// A server that is registered, as somebody says it. Written out, since what is put together of two objects that take no others
/// has no schema that anything fits.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewServer {
    /// Whose it is.
    #[schema(example = "default")]
    tenant: String,
    /// The server.
    #[schema(min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]+$", example = "crm")]
    name: String,
    /// The version, in a word of your own: `1` if absent.
    version: Option<String>,
    /// How it is reached: what stands under its name in `tollgate.yaml`. Credentials are named, `${CRM_TOKEN}`, never in it.
    #[schema(value_type = Object)]
    reach: Value,
    /// What it is for.
    description: Option<String>,
    /// Who answers for it: a name of a person or a group.
    owner: Option<String>,
    /// Where it belongs.
    environment: Option<String>,
    /// How dangerous it is.
    risk: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    tags: Vec<String>,
    /// The URL of its documentation.
    documentation: Option<String>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

impl NewServer {
    fn into_said(self) -> Said {
        let Self { reach, description, owner, environment, risk, tags, documentation, reason, .. } = self;
        ServerSaid { reach, description, owner, environment, risk, tags, documentation, reason }.into_said()
    }
}

/// What is said of a version.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ServerSaid {
    /// How it is reached: what stands under its name in `tollgate.yaml`. Credentials are named, `${CRM_TOKEN}`, never in it.
    #[schema(value_type = Object)]
    reach: Value,
    /// What it is for.
    description: Option<String>,
    /// Who answers for it: a name of a person or a group.
    owner: Option<String>,
    /// Where it belongs.
    environment: Option<String>,
    /// How dangerous it is.
    risk: Option<String>,
    /// Words to find it by.
    #[serde(default)]
    tags: Vec<String>,
    /// The URL of its documentation.
    documentation: Option<String>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

impl ServerSaid {
    fn into_said(self) -> Said {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty()).map(Arc::from);
        let about = About {
            description: text(self.description),
            owner: text(self.owner),
            environment: text(self.environment),
            risk: text(self.risk),
            tags: self.tags.into_iter().map(Arc::from).collect(),
            documentation: text(self.documentation),
        };
        Said { reach: self.reach.to_string(), about, reason: self.reason }
    }
}

/// A server that exists by this id and version.
fn id_of(id: &str, version: &str) -> Result<RegistrationId, Problem> {
    let (tenant, name) = named(id)?;
    let missing = || Problem::not_found("no such server is registered");
    let name = ServerName::new(&name).map_err(|_| missing())?;
    Ok(RegistrationId { tenant: TenantId::new(&tenant), name, version: version.into() })
}

fn made(status: StatusCode, one: &Registration) -> Made {
    Made::new(status, &VersionView::of(one, true))
}

fn all_made(status: StatusCode, changed: &[Registration]) -> Made {
    let items = changed.iter().map(|one| VersionView::of(one, true)).collect();
    Made::new(status, &Page { items, next: None })
}

/// Registers a server, or another version of it, as a draft.
#[utoipa::path(post, path = "/api/v1/servers", tag = "servers", params(Repeatable), request_body = NewServer,
    responses((status = 201, description = "It is a draft", body = VersionView)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn register(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: new, bytes }: Input<NewServer>,
) -> Result<Response, Problem> {
    let tenant = TenantId::new(&new.tenant);
    // What is wrong with it is nobody's business who may not.
    may.over(Some(&tenant))?;
    let id = acts::id(tenant, &new.name, new.version.as_deref().unwrap_or("1"))?;
    let (reach, about, why) = acts::read(&plane, &id, new.into_said())?;
    let sure = acts::over_reach(&may, &id.tenant, &reach)?;
    let origin = if &*may.who.how == BY_COMMAND { BY_COMMAND } else { "api" };
    let act = {
        let plane = plane.clone();
        async move {
            let drafts = vec![(id, reach, about)];
            let registered = acts::register(plane, sure, drafts, origin, why).await?;
            registered.first().map(|one| made(StatusCode::CREATED, one)).ok_or_else(gone)
        }
    };
    Ok(once(&plane, &may.who, &headers, ("POST /api/v1/servers", &bytes), act).await)
}

fn gone() -> Problem {
    Problem::not_found("no such server is registered")
}

/// Shows one version of a server.
#[utoipa::path(get, path = "/api/v1/servers/{id}/versions/{version}", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Tagged), responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("reviews:read"))))]
async fn one(
    may: May<ReadReviews>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At((id, version)): At<(String, String)>,
) -> Result<Response, Problem> {
    let found = acts::one(&plane, &may, &id_of(&id, &version)?).await?;
    Ok(tagged(&headers, &VersionView::of(&found, true)))
}

/// Edits a draft: what is said takes the place of all that was said before. What is in review or served stays as it is.
#[utoipa::path(put, path = "/api/v1/servers/{id}/versions/{version}", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen), request_body = ServerSaid,
    responses((status = 200, body = VersionView,
        headers(("ETag" = String, description = "By what it is known again, as it is now")))),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn edit(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At((id, version)): At<(String, String)>,
    Input { value: said, .. }: Input<ServerSaid>,
) -> Result<Response, Problem> {
    let id = id_of(&id, &version)?;
    let before = acts::one(&plane, &may, &id).await?;
    acts::over(&may, &before)?;
    let (reach, about, why) = acts::read(&plane, &id, said.into_said())?;
    let sure = acts::over_reach(&may, &id.tenant, &reach)?;
    let edited = crate::acts::see_through(acts::edit(plane, sure, id, (reach, about, why), fits(&headers)));
    let edited = edited.await.map_err(Seen::overtaken(&headers))?;
    Ok(tagged(&HeaderMap::new(), &VersionView::of(&edited, true)))
}

/// Whether it still is what somebody has seen.
fn fits(headers: &HeaderMap) -> impl FnOnce(&Registration) -> Result<(), Problem> + Send + use<> {
    let seen = Seen::of(headers);
    move |now: &Registration| seen.fits(&VersionView::of(now, true))
}

/// Why something is done.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WhyStep)]
struct Why {
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// A step of its owner, for what is in the path.
async fn step(
    (may, plane, headers): (May<ChangeServers>, Shared, HeaderMap),
    (id, version): (String, String),
    (own, reason, bytes): (Own, String, bytes::Bytes),
) -> Result<Response, Problem> {
    let word = match own {
        Own::Submit => "submit",
        Own::Deprecate(_) => "deprecate",
        Own::Share(_) => "share",
        Own::Retire => "retire",
    };
    let what = format!("POST /api/v1/servers/{id}/versions/{version}/{word}");
    let id = id_of(&id, &version)?;
    let before = acts::one(&plane, &may, &id).await?;
    let sure = acts::over(&may, &before)?;
    let (fits, overtaken) = (fits(&headers), Seen::overtaken(&headers));
    let act = {
        let plane = plane.clone();
        async move {
            let ends = matches!(own, Own::Deprecate(_));
            let changed = acts::step(plane.clone(), sure, id.clone(), own, &reason, fits).await;
            let changed = changed.map_err(overtaken)?;
            let one = changed.iter().find(|one| one.id == id).ok_or_else(gone)?;
            let warning = if ends { acts::gap_after(&plane, &id).await } else { None };
            Ok(Made::new(StatusCode::OK, &VersionView { warning, ..VersionView::of(one, true) }))
        }
    };
    Ok(once(&plane, &may.who, &headers, (&what, &bytes), act).await)
}

/// Hands a draft in for review.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/submit", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Why,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn submit(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: why, bytes }: Input<Why>,
) -> Result<Response, Problem> {
    Box::pin(step((may, plane, headers), path, (Own::Submit, why.reason, bytes))).await
}

/// Takes a version out of service for good.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/retire", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Why,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn retire(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: why, bytes }: Input<Why>,
) -> Result<Response, Problem> {
    Box::pin(step((may, plane, headers), path, (Own::Retire, why.reason, bytes))).await
}

/// When a version ends.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Deprecation)]
struct Ending {
    /// When: `2027-03-31T00:00:00Z`.
    sunset: String,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Says when a version ends. Clients are told. The `warning` in the answer says so if others stand by, which get no requests by
/// themselves then.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/deprecate", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Ending,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn deprecate(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: ending, bytes }: Input<Ending>,
) -> Result<Response, Problem> {
    let sunset = ending.sunset.parse::<Timestamp>();
    let sunset = sunset.map_err(|_| Problem::invalid("sunset: a time such as 2027-03-31T00:00:00Z"))?;
    Box::pin(step((may, plane, headers), path, (Own::Deprecate(sunset), ending.reason, bytes))).await
}

/// A version's part of the requests.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServerShare)]
struct Part {
    /// In percent; the version that has most of the others' keeps the rest.
    #[schema(minimum = 0, maximum = 100)]
    share: u8,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Gives another part of the requests to a version that is served.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/share", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Part,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn share(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: part, bytes }: Input<Part>,
) -> Result<Response, Problem> {
    Box::pin(step((may, plane, headers), path, (Own::Share(part.share), part.reason, bytes))).await
}

/// To which version all requests go back.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Rollback)]
struct Back {
    /// The version; the one that was approved before the latest that is served if absent.
    to: Option<String>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

/// Gives all requests to the version that had them before, in one act. Gives all versions that changed.
#[utoipa::path(post, path = "/api/v1/servers/{id}/rollback", tag = "servers", params(("id" = String, Path), Seen, Repeatable),
    request_body = Back, responses((status = 200, body = Page<VersionView>)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn roll_back(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Input { value: back, bytes }: Input<Back>,
) -> Result<Response, Problem> {
    let of = id_of(&id, "")?;
    let versions = acts::versions(&plane, &may, (&of.tenant, &of.name)).await?;
    let leading = servers::leading(&versions).ok_or_else(gone)?;
    let sure = acts::over(&may, leading)?;
    // What was seen is one of its versions.
    let (seen, overtaken) = (Seen::of(&headers), Seen::overtaken(&headers));
    let fits = move |now: &[Registration]| {
        let is_seen = now.iter().any(|one| seen.fits(&VersionView::of(one, true)).is_ok());
        if is_seen { Ok(()) } else { Err(changed()) }
    };
    let act = {
        let plane = plane.clone();
        async move {
            let how = (back.to.as_deref(), &*back.reason);
            let done = acts::roll_back(plane, sure, (of.tenant, of.name), how, fits).await;
            Ok(all_made(StatusCode::OK, &done.map_err(overtaken)?))
        }
    };
    let what = format!("POST /api/v1/servers/{id}/rollback");
    Ok(once(&plane, &may.who, &headers, (&what, &bytes), act).await)
}

/// What is approved.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ApproveServer)]
struct Approved {
    /// Its part of the requests in percent: the version that has most of them now keeps the rest. Absent: all; of one that was
    /// deprecated, what it has.
    #[schema(minimum = 0, maximum = 100)]
    share: Option<u8>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
}

async fn judge(
    (may, plane, headers): (May<ChangeReviews>, Shared, HeaderMap),
    (id, version): (String, String),
    (verdict, reason, bytes): (Verdict, String, bytes::Bytes),
) -> Result<Response, Problem> {
    let word = if verdict == Verdict::Reject { "reject" } else { "approve" };
    let what = format!("POST /api/v1/servers/{id}/versions/{version}/{word}");
    let id = id_of(&id, &version)?;
    let before = acts::one(&plane, &may, &id).await?;
    let sure = acts::over(&may, &before)?;
    let (fits, overtaken) = (fits(&headers), Seen::overtaken(&headers));
    let act = {
        let plane = plane.clone();
        async move {
            let changed =
                acts::judge(plane, sure, id.clone(), verdict, &reason, fits).await.map_err(overtaken)?;
            changed.iter().find(|one| one.id == id).map(|one| made(StatusCode::OK, one)).ok_or_else(gone)
        }
    };
    Ok(once(&plane, &may.who, &headers, (&what, &bytes), act).await)
}

/// Approves what is in review: it is served from now on. Not by whoever registered, edited or submitted it.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/approve", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Approved,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("reviews:change"))))]
async fn approve(
    may: May<ChangeReviews>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: said, bytes }: Input<Approved>,
) -> Result<Response, Problem> {
    Box::pin(judge((may, plane, headers), path, (Verdict::Approve(said.share), said.reason, bytes))).await
}

/// Sends back what is in review: it is a draft again.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/reject", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Seen, Repeatable), request_body = Why,
    responses((status = 200, body = VersionView)),
    extensions(("x-tollgate-permission" = json!("reviews:change"))))]
async fn reject(
    may: May<ChangeReviews>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(path): At<(String, String)>,
    Input { value: why, bytes }: Input<Why>,
) -> Result<Response, Problem> {
    Box::pin(judge((may, plane, headers), path, (Verdict::Reject, why.reason, bytes))).await
}

/// Asks a server for its tools, with the credentials that this gateway lends it, and judges them as if it were served: what guards
/// find in them, how they compare with what is pinned, and who could call them.
#[utoipa::path(post, path = "/api/v1/servers/{id}/versions/{version}/review", tag = "servers",
    params(("id" = String, Path), ("version" = String, Path), Repeatable),
    responses((status = 200, body = Review),
        (status = 502, description = "It cannot be asked", body = Problem, content_type = "application/problem+json")),
    extensions(("x-tollgate-permission" = json!("reviews:change"))))]
async fn review(
    may: May<ChangeReviews>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At((id, version)): At<(String, String)>,
) -> Result<Response, Problem> {
    let found = acts::one(&plane, &may, &id_of(&id, &version)?).await?;
    let sure = acts::over(&may, &found)?;
    let act = {
        let plane = plane.clone();
        async move {
            let reviewed = Box::pin(acts::review(plane, sure, &found)).await?;
            Ok(Made::new(StatusCode::OK, &reviewed))
        }
    };
    let what = format!("POST /api/v1/servers/{id}/versions/{version}/review");
    Ok(once(&plane, &may.who, &headers, (&what, &[]), act).await)
}

/// Where servers are taken from: one of `document` and `url`.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ServerImport)]
struct Import {
    /// Whose they become.
    tenant: String,
    /// The file of Claude Desktop, Claude Code, Cursor or VS Code, or a `server.json`: as an object, or as its text.
    #[schema(value_type = Option<Object>)]
    document: Option<Value>,
    /// The URL of such a document, or of a registry of version 0.1.
    url: Option<String>,
    /// Only these of them; of a registry with their version behind an `@` if it is not the latest.
    #[serde(default)]
    only: Vec<String>,
    /// The name that it gets here, if it is one server.
    name: Option<String>,
    /// Who answers for them.
    owner: Option<String>,
    /// Why. It is on record.
    #[serde(default)]
    reason: String,
    /// Whether those are taken that can be. Otherwise all are, or none.
    #[serde(default)]
    each: bool,
    /// Whether a draft that is there already under the same name and version is edited. Otherwise it is in the way.
    #[serde(default)]
    replace: bool,
}

/// What became of an import.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    /// The drafts.
    items: Vec<VersionView>,
    /// What became of each server that was found.
    entries: Vec<ImportedEntry>,
}

/// What became of a server that was found.
#[derive(Debug, Serialize, ToSchema)]
struct ImportedEntry {
    /// What it is called where it was found.
    found: String,
    /// `registered`, `edited` or `refused`.
    outcome: &'static str,
    /// What it is called here.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Its version here.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

impl Imported {
    fn of(entries: &[Entry]) -> Self {
        let drafts = entries.iter().filter_map(|entry| entry.became.as_ref().ok());
        let entry = |Entry { full, became }: &Entry| ImportedEntry {
            found: full.clone(),
            outcome: match became {
                Ok(one) if one.last.act == Act::Edited => "edited",
                Ok(_) => "registered",
                Err(_) => "refused",
            },
            name: became.as_ref().ok().map(|one| one.id.name.to_string()),
            version: became.as_ref().ok().map(|one| one.id.version.to_string()),
            why: became.as_ref().err().map(|why| why.detail().to_owned()),
        };
        Self {
            items: drafts.map(|one| VersionView::of(one, true)).collect(),
            entries: entries.iter().map(entry).collect(),
        }
    }
}

/// Registers the servers of another program's file, of a `server.json`, or of a registry as drafts, in one act: all of them or
/// none, or with `each` those that can be. Says what became of each.
#[utoipa::path(post, path = "/api/v1/server-imports", tag = "servers", params(Repeatable), request_body = Import,
    responses((status = 201, description = "They are drafts", body = Imported)),
    extensions(("x-tollgate-permission" = json!("servers:change"))))]
async fn import(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Input { value: import, bytes }: Input<Import>,
) -> Result<Response, Problem> {
    let Import { tenant, document, url, only, name, owner, reason, each, replace } = import;
    let source = match (document, url) {
        (Some(Value::String(text)), None) => ImportSource::Document(text.into()),
        (Some(document), None) => ImportSource::Document(document.to_string().into()),
        (None, Some(url)) => ImportSource::Url(url.into(), only.clone()),
        _ => return Err(Problem::invalid("say `document` or `url`")),
    };
    let wanted = Wanted { source, only, name, owner, reason, each, replace };
    let who = may.who.clone();
    let act = {
        let plane = plane.clone();
        async move {
            let entries = imports::import(plane, &may, TenantId::new(&tenant), wanted).await?;
            Ok(Made::new(StatusCode::CREATED, &Imported::of(&entries)))
        }
    };
    Ok(once(&plane, &who, &headers, ("POST /api/v1/server-imports", &bytes), act).await)
}

/// Whose callers.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct Whose {
    /// The tenant whose callers are meant; needed only of a server that every tenant has.
    tenant: Option<String>,
}

/// Who could call a tool.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CallersView {
    /// The tool, by the server's own name of it.
    pub(crate) tool: String,
    /// Who; absent where no policy decides, and whoever is let in could.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) callers: Option<ToolCallers>,
}

/// The names of the tools that a server last listed.
pub(crate) fn tool_names(items: &[bytes::Bytes]) -> Vec<Arc<str>> {
    let name = |item: &bytes::Bytes| {
        let item: Value = serde_json::from_slice(item).ok()?;
        item["name"].as_str().map(Arc::from)
    };
    items.iter().filter_map(name).collect()
}

/// Who could call these tools, as far as whoever asks may know: keys only where they see keys.
pub(crate) async fn who_could(
    plane: &Plane,
    may: &May<ReadReviews>,
    (tenant, server): (&TenantId, &ServerName),
    tools: &[Arc<str>],
) -> Result<Vec<CallersView>, Problem> {
    if !may.sees(Some(tenant)) {
        return Err(Problem::not_found("there is no such tenant, or you may not see it"));
    }
    let sees_keys = May::<ReadKeys>::check(may.who.clone()).is_ok_and(|keys| keys.sees(Some(tenant)));
    let found = plane.world().callers(tenant, server, tools).await;
    let mut callers = found.map(Vec::into_iter);
    let view = |tool: &Arc<str>| {
        let mut callers = callers.as_mut().and_then(Iterator::next);
        if let Some(callers) = &mut callers
            && !sees_keys
        {
            callers.keys.clear();
        }
        CallersView { tool: tool.to_string(), callers }
    };
    Ok(tools.iter().map(view).collect())
}

/// Says of each tool that a server last listed who could call it, now and from anywhere: by which rules, and which known keys.
#[utoipa::path(get, path = "/api/v1/servers/{id}/callers", tag = "servers",
    params(("id" = String, Path), Whose, Paging, Tagged),
    responses((status = 200, body = Page<CallersView>)),
    extensions(("x-tollgate-permission" = json!("reviews:read"))))]
async fn callers(
    may: May<ReadReviews>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(id): At<String>,
    Asked(whose): Asked<Whose>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let (tenant, name) = named(&id)?;
    let (server, ..) = servers::shown(&plane, &may, (Some(&tenant), &name)).await?;
    let name = ServerName::new(&server.name).map_err(|_| gone())?;
    let whose = match (whose.tenant, &server.tenant) {
        (Some(whose), None) => whose,
        (None, Some(tenant)) => tenant.clone(),
        (Some(whose), Some(tenant)) if whose == *tenant => whose,
        _ => return Err(Problem::invalid("tenant: say whose callers are meant")),
    };
    let tools = match May::<ReadTools>::check(may.who.clone()) {
        Ok(tools) => {
            definitions(&plane, &tools, (server.tenant.as_deref(), name.as_str(), List::Tools)).await
        }
        Err(denied) => Err(denied.into()),
    };
    let tools = tools.map_or_else(|_| Vec::new(), |found| tool_names(&found.items));
    let limit = paging.limit()?.min(CALLERS_MAX);
    let page = Paging { limit: Some(limit), ..paging }.cut(tools, |tool| pack(&[tool]))?;
    let items = who_could(&plane, &may, (&TenantId::new(&whose), &name), &page.items).await?;
    Ok(tagged(&headers, &Page { items, next: page.next }))
}
