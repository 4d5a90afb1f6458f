//! The review: what is registered, what the server says when it is asked, and the word of whoever has looked at it.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use serde_json::Value;
use tollgate_model::TenantId;
use tollgate_store::{Life, Registration, RegistrationId};

use super::servers::{href, is_seen, pretty, share};
use super::{Query, Shell, error, hidden, page};
use crate::acts::see_through;
use crate::acts::servers::{self as acts, Verdict};
use crate::api::registered::VersionView;
use crate::front::{Posted, Shared};
use crate::plane::Plane;
use crate::problem::Problem;
use crate::registry::{Review, ReviewedItem, ReviewedList, ReviewedTool};
use crate::roles::{ChangeReviews, May, Operator, Permission, ReadReviews};

const HERE: &str = "/review";

#[derive(Debug, Template)]
#[template(path = "reviews.html")]
struct Reviews {
    shell: Shell,
    waiting: Vec<Waiting>,
}

/// A version that waits for somebody to look at it.
#[derive(Debug)]
struct Waiting {
    href: String,
    view: VersionView,
}

/// Which version; all that wait without it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Which {
    tenant: String,
    name: String,
    version: String,
}

impl Which {
    fn id(&self) -> Result<RegistrationId, Problem> {
        acts::id(TenantId::new(&self.tenant), &self.name, &self.version)
    }
}

#[derive(Debug, Template)]
#[template(path = "review.html")]
struct Page {
    shell: Shell,
    server: String,
    view: VersionView,
    reach: String,
    is_in_review: bool,
    is_deprecated: bool,
    is_asked: bool,
    may_judge: bool,
    /// Why they cannot approve it.
    hindrance: Option<&'static str>,
    /// Whether it is on record that they approve what they made.
    is_own: bool,
    problem: Option<String>,
    review: Option<Looked>,
}

/// What was seen, as people read it.
#[derive(Debug)]
struct Looked {
    revision: String,
    not_served: Option<String>,
    found: usize,
    tools: Vec<Tool>,
    lists: Vec<Other>,
}

/// What was seen of a list that is not of tools.
#[derive(Debug)]
struct Other {
    title: &'static str,
    one: &'static str,
    unread: Option<String>,
    items: Vec<OtherItem>,
}

/// A prompt, a resource or a template that was seen.
#[derive(Debug)]
struct OtherItem {
    seen: ReviewedItem,
    description: String,
    whole: String,
}

impl Other {
    fn of(list: ReviewedList) -> Self {
        let (title, one) = match list.list {
            "prompts" => ("Prompts", "prompt"),
            "resources" => ("Resources", "resource"),
            _ => ("Resource templates", "resource template"),
        };
        let item = |seen: ReviewedItem| OtherItem {
            description: described(seen.definition.get()),
            whole: pretty(seen.definition.get()),
            seen,
        };
        Self { title, one, unread: list.unread, items: list.items.into_iter().map(item).collect() }
    }
}

/// What a definition says of itself, in its server's words.
fn described(definition: &str) -> String {
    let value: Value = serde_json::from_str(definition).unwrap_or_default();
    hidden::in_text(value["description"].as_str().unwrap_or_default())
}

/// A tool that was seen.
#[derive(Debug)]
struct Tool {
    seen: ReviewedTool,
    description: String,
    hints: String,
    whole: String,
}

/// What tools say of themselves that whoever approves them should know.
const HINTS: [&str; 4] = ["readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"];

impl Looked {
    fn of(review: Review) -> Self {
        let tool = |tool: ReviewedTool| {
            let value: Value = serde_json::from_str(tool.definition.get()).unwrap_or_default();
            let says = |hint: &&str| value["annotations"][*hint] == true;
            let hints: Vec<&str> = HINTS.into_iter().filter(says).collect();
            Tool {
                description: hidden::in_text(value["description"].as_str().unwrap_or_default()),
                hints: hints.join(", "),
                whole: pretty(tool.definition.get()),
                seen: tool,
            }
        };
        Self {
            revision: review.revision,
            not_served: review.not_served,
            found: review.tools.iter().map(|tool| tool.findings.len()).sum::<usize>()
                + review
                    .lists
                    .iter()
                    .flat_map(|list| &list.items)
                    .map(|item| item.findings.len())
                    .sum::<usize>(),
            lists: review.lists.into_iter().map(Other::of).collect(),
            tools: review.tools.into_iter().map(tool).collect(),
        }
    }
}

pub(super) async fn show(
    may: May<ReadReviews>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let shown = async {
        if which.name.is_empty() {
            return all(&plane, &may).await;
        }
        let found = acts::one(&plane, &may, &which.id()?).await?;
        Ok::<_, Problem>(page(&Page::of(&plane, &may.who, &found)?))
    };
    shown.await.unwrap_or_else(|problem| error(&problem))
}

async fn all(plane: &Plane, may: &May<ReadReviews>) -> Result<Response, Problem> {
    let mut found = acts::all(plane, may).await?;
    found.retain(|one| one.life == Life::InReview);
    found.sort_by_key(|one| one.last.at);
    let waiting = found.iter().map(|one| Waiting { href: link(one), view: VersionView::of(one, false) });
    Ok(page(&Reviews { shell: Shell::of(&may.who, HERE), waiting: waiting.collect() }))
}

fn link(one: &Registration) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("tenant", one.id.tenant.as_str())
        .append_pair("name", one.id.name.as_str())
        .append_pair("version", &one.id.version)
        .finish();
    format!("/review?{query}")
}

impl Page {
    fn of(plane: &Plane, who: &Operator, one: &Registration) -> Result<Self, Problem> {
        let may_judge =
            May::<ChangeReviews>::check(who.clone()).is_ok_and(|may| acts::over(&may, one).is_ok());
        let is_in_review = one.life == Life::InReview;
        let is_own = is_in_review && one.is_made_by(&who.by);
        let hindrance = (is_own && !acts::may_own(plane, who)?).then_some(
            "you registered, edited or submitted it, and somebody else has to find it good (registry.self_approval says otherwise)",
        );
        Ok(Self {
            shell: Shell::of(who, HERE),
            server: href(one.id.tenant.as_str(), one.id.name.as_str()),
            view: VersionView::of(one, false),
            reach: pretty(&one.reach),
            is_in_review,
            is_deprecated: one.life == Life::Deprecated,
            is_asked: may_judge && one.life != Life::Retired,
            may_judge,
            is_own: is_own && hindrance.is_none(),
            hindrance,
            problem: None,
            review: None,
        })
    }
}

/// What somebody does who has looked at it.
#[derive(Debug, Deserialize)]
pub(super) struct Word {
    act: String,
    tenant: String,
    name: String,
    version: String,
    #[serde(default)]
    revision: u64,
    #[serde(default)]
    share: String,
    #[serde(default)]
    reason: String,
}

pub(super) async fn say(
    State(plane): State<Shared>,
    Posted { may, form }: Posted<ChangeReviews, Word>,
) -> Response {
    Box::pin(said(plane, may, form)).await.unwrap_or_else(|problem| error(&problem))
}

async fn said(plane: Shared, may: May<ChangeReviews>, form: Word) -> Result<Response, Problem> {
    let of = Which { tenant: form.tenant, name: form.name, version: form.version };
    let id = of.id()?;
    let found = acts::one(&plane, &may, &id).await?;
    let sure = acts::over(&may, &found)?;
    let verdict = match &*form.act {
        "ask" => return ask(&plane, &may, sure, found).await,
        "approve" => Verdict::Approve(share(&form.share)?),
        "reject" => Verdict::Reject,
        _ => return Err(Problem::invalid("there is no such step")),
    };
    let to = href(&of.tenant, &of.name);
    let (reason, revision) = (form.reason, form.revision);
    let judged = async move { acts::judge(plane, sure, id, verdict, &reason, is_seen(revision)).await };
    see_through(judged).await?;
    Ok(Redirect::to(&to).into_response())
}

async fn ask<P: Permission>(
    plane: &Shared,
    may: &May<P>,
    sure: crate::roles::Sure<ChangeReviews>,
    found: Registration,
) -> Result<Response, Problem> {
    let mut made = Page::of(plane, &may.who, &found)?;
    let reviewed = {
        let (plane, found) = (Arc::clone(plane), found.clone());
        see_through(async move { Box::pin(acts::review(plane, sure, &found)).await })
    };
    match reviewed.await {
        Ok(review) => made.review = Some(Looked::of(review)),
        Err(problem) => made.problem = Some(problem.detail().to_owned()),
    }
    Ok(page(&made))
}
