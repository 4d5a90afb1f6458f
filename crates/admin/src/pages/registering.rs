//! Servers that are registered, edited and imported.

use std::fmt::Write as _;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tollgate_model::TenantId;
use tollgate_store::{About, Life, Registration};

use super::servers::{HERE, href, is_seen, pretty, tenants, typed};
use super::{Query, Shell, error, page};
use crate::acts::imports::{self, Wanted};
use crate::acts::see_through;
use crate::acts::servers::{self as acts, Said};
use crate::api::servers::leading;
use crate::front::{Posted, Shared};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::registry::ImportSource;
use crate::roles::{ChangeServers, May, Operator};

/// What is typed of a server.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Typed {
    tenant: String,
    name: String,
    version: String,
    /// Of the draft that is edited; empty for what is registered anew.
    revision: String,
    url: String,
    /// One on each line.
    headers: String,
    reach: String,
    description: String,
    owner: String,
    environment: String,
    risk: String,
    tags: String,
    documentation: String,
    reason: String,
}

#[derive(Debug, Template)]
#[template(path = "server_new.html")]
struct New {
    shell: Shell,
    problem: Option<String>,
    tenants: Vec<String>,
    typed: Typed,
}

impl New {
    fn is_edited(&self) -> bool {
        !self.typed.revision.is_empty()
    }
}

/// From what a form begins.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Begun {
    tenant: String,
    name: String,
    /// A draft, to edit it. Without it another version is begun.
    version: String,
}

impl Typed {
    fn of(one: &Registration) -> Self {
        let text = |text: &Option<Arc<str>>| text.as_deref().unwrap_or_default().to_owned();
        let About { description, owner, environment, risk, tags, documentation } = &one.about;
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        let mut typed = Self {
            tenant: one.id.tenant.as_str().to_owned(),
            name: one.id.name.to_string(),
            version: one.id.version.to_string(),
            revision: one.revision.to_string(),
            description: text(description),
            owner: text(owner),
            environment: text(environment),
            risk: text(risk),
            tags: tags.join(", "),
            documentation: text(documentation),
            ..Self::default()
        };
        match simple(&one.reach) {
            Some((url, headers)) => (typed.url, typed.headers) = (url, headers),
            None => typed.reach = pretty(&one.reach),
        }
        typed
    }

    /// How it is reached, as it is typed.
    fn reach(&self) -> Result<String, Problem> {
        let (url, reach) = (self.url.trim(), self.reach.trim());
        match (url.is_empty(), reach.is_empty()) {
            (true, true) => {
                Err(Problem::invalid("how is it reached? Type a URL, or what stands in tollgate.yaml"))
            }
            (false, false) => {
                Err(Problem::invalid("a URL and what stands in tollgate.yaml: which of the two?"))
            }
            (true, false) => Ok(reach.to_owned()),
            (false, true) => {
                let mut headers = Map::new();
                for line in self.headers.lines().map(str::trim).filter(|line| !line.is_empty()) {
                    let header = line.split_once(':');
                    let (name, value) =
                        header.ok_or_else(|| Problem::invalid("headers: write each as `Name: value`"))?;
                    headers.insert(name.trim().to_owned(), value.trim().into());
                }
                let mut reach = json!({ "url": url });
                if !headers.is_empty() {
                    reach["headers"] = headers.into();
                }
                Ok(reach.to_string())
            }
        }
    }

    fn said(&self) -> Result<Said, Problem> {
        let tags = self.tags.split(',').filter_map(typed).collect();
        let about = About {
            description: typed(&self.description),
            owner: typed(&self.owner),
            environment: typed(&self.environment),
            risk: typed(&self.risk),
            tags,
            documentation: typed(&self.documentation),
        };
        Ok(Said { reach: self.reach()?, about, reason: self.reason.clone() })
    }
}

/// A URL and its headers, if that is all.
fn simple(reach: &str) -> Option<(String, String)> {
    let reach: Value = serde_json::from_str(reach).ok()?;
    let reach = reach.as_object()?;
    if reach.keys().any(|key| !matches!(&**key, "url" | "headers")) {
        return None;
    }
    let mut lines = String::new();
    for (name, value) in reach.get("headers").and_then(Value::as_object).into_iter().flatten() {
        writeln!(lines, "{name}: {}", value.as_str()?).ok()?;
    }
    Some((reach.get("url")?.as_str()?.to_owned(), lines))
}

pub(super) async fn begin(
    may: May<ChangeServers>,
    State(plane): State<Shared>,
    Query(begun): Query<Begun>,
) -> Response {
    let made = async {
        let mut typed = Typed { version: "1".to_owned(), ..Typed::default() };
        if !begun.name.is_empty() {
            let id = acts::id(TenantId::new(&begun.tenant), &begun.name, "1")?;
            let versions = acts::versions(&plane, &may, (&id.tenant, &id.name)).await?;
            let named =
                versions.iter().find(|one| *one.id.version == *begun.version && one.life == Life::Draft);
            if let Some(draft) = named {
                typed = Typed::of(draft);
            } else if let Some(leading) = leading(&versions) {
                typed = Typed { version: String::new(), revision: String::new(), ..Typed::of(leading) };
            }
        }
        form(&plane, &may, typed, None)
    };
    made.await.unwrap_or_else(|problem| error(&problem))
}

fn form(
    plane: &Plane,
    may: &May<ChangeServers>,
    typed: Typed,
    problem: Option<&Problem>,
) -> Result<Response, Problem> {
    let tenants = tenants(plane, may)?;
    let said = problem.map(|problem| problem.detail().to_owned());
    let mut shown = page(&New { shell: Shell::of(&may.who, HERE), problem: said, tenants, typed });
    if let Some(problem) = problem {
        *shown.status_mut() = problem.status();
    }
    Ok(shown)
}

pub(super) async fn register(
    State(plane): State<Shared>,
    Posted { may, form: typed }: Posted<ChangeServers, Typed>,
) -> Response {
    let done = async {
        let tenant = TenantId::new(&typed.tenant);
        may.over(Some(&tenant))?;
        let id = acts::id(tenant, typed.name.trim(), typed.version.trim())?;
        let (reach, about, why) = acts::read(&plane, &id, typed.said()?)?;
        let sure = acts::over_reach(&may, &id.tenant, &reach)?;
        let plane = Arc::clone(&plane);
        if typed.revision.is_empty() {
            let drafts = vec![(id, reach, about)];
            see_through(acts::register(plane, sure, drafts, "console", why)).await.map(drop)
        } else {
            let before = acts::one(&plane, &may, &id).await?;
            acts::over(&may, &before)?;
            let revision = typed.revision.parse().unwrap_or_default();
            see_through(acts::edit(plane, sure, id, (reach, about, why), is_seen(revision))).await.map(drop)
        }
    };
    match Box::pin(done).await {
        Ok(()) => Redirect::to(&href(&typed.tenant, typed.name.trim())).into_response(),
        Err(problem) => form(&plane, &may, typed, Some(&problem)).unwrap_or_else(|problem| error(&problem)),
    }
}

/// What is typed of an import.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Source {
    tenant: String,
    url: String,
    document: String,
    only: String,
    name: String,
    owner: String,
    reason: String,
}

#[derive(Debug, Template)]
#[template(path = "server_import.html")]
struct Import {
    shell: Shell,
    problem: Option<String>,
    tenants: Vec<String>,
    typed: Source,
}

pub(super) async fn begin_import(may: May<ChangeServers>, State(plane): State<Shared>) -> Response {
    let tenants = tenants(&plane, &may);
    let shown = tenants.map(|tenants| import_form(&may.who, tenants, Source::default(), None));
    shown.unwrap_or_else(|problem| error(&problem))
}

fn import_form(who: &Operator, tenants: Vec<String>, typed: Source, problem: Option<&Problem>) -> Response {
    let said = problem.map(|problem| problem.detail().to_owned());
    let mut shown = page(&Import { shell: Shell::of(who, HERE), problem: said, tenants, typed });
    if let Some(problem) = problem {
        *shown.status_mut() = problem.status();
    }
    shown
}

pub(super) async fn import(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeServers, Source>,
) -> Response {
    let (who, typed, tenants) = (may.who.clone(), form.clone(), tenants(&plane, &may));
    let done = async {
        let only: Vec<String> = form
            .only
            .split([',', '\n'])
            .map(str::trim)
            .filter(|name| !name.is_empty())
            .map(Into::into)
            .collect();
        let source = match (form.url.trim(), form.document.trim()) {
            ("", "") => return Err(Problem::invalid("paste a document, or type a URL")),
            ("", document) => ImportSource::Document(document.into()),
            (url, "") => ImportSource::Url(url.into(), only.clone()),
            _ => return Err(Problem::invalid("a document and a URL: which of the two?")),
        };
        let name = Some(form.name.trim().to_owned());
        let (owner, reason) = (Some(form.owner), form.reason);
        let wanted = Wanted { source, only, name, owner, reason, each: false, replace: false };
        let tenant = TenantId::new(&form.tenant);
        see_through(async move { imports::import(plane, &may, tenant, wanted).await }).await
    };
    match Box::pin(done).await {
        Ok(_) => Redirect::to("/servers?life=draft").into_response(),
        Err(problem) => match tenants {
            Ok(tenants) => import_form(&who, tenants, typed, Some(&problem)),
            Err(problem) => error(&problem),
        },
    }
}
