//! The approvals inbox.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_approvals::show;
use tollgate_model::Timestamp;
use tollgate_store::{Approval, Needed};

use super::{Path, Query, Shell, error, hidden, page};
use crate::acts::approvals::{self, Word, decide, hindrance};
use crate::acts::see_through;
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{Act, ChangeApprovals, May, ReadApprovals, Resource};

const HERE: &str = "/approvals";

#[derive(Debug, Template)]
#[template(path = "approvals.html")]
struct Inbox {
    shell: Shell,
    are_all: bool,
    /// Whether what comes new belongs on it.
    is_live: bool,
    approvals: Vec<Line>,
    next: Option<String>,
}

/// An approval of the list.
#[derive(Debug)]
struct Line {
    id: String,
    state: &'static str,
    class: &'static str,
    tenant: String,
    caller: String,
    what: String,
    why: String,
    risk: String,
    asked: String,
    until: String,
}

impl Line {
    fn of(approval: &Approval, now: Timestamp) -> Self {
        let asked = &approval.asked;
        let state = approval.word(now);
        let names = [asked.agent.as_deref(), asked.user.as_deref()].into_iter().flatten();
        Self {
            id: approval.id.as_str().to_owned(),
            state,
            class: match state {
                "waiting" => "warn",
                "granted" | "used" => "good",
                "denied" => "bad",
                _ => "",
            },
            tenant: approval.of.tenant.as_str().to_owned(),
            caller: hidden::in_text(&names.collect::<Vec<_>>().join(" for ")),
            what: hidden::in_text(&format!("{}/{}", asked.server, asked.native)),
            why: asked.why.to_string(),
            risk: asked.risk.to_string(),
            asked: approval.at.to_string(),
            until: approval.until.to_string(),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    all: Option<String>,
    /// Only those that are older than this one.
    after: Option<String>,
}

impl Which {
    /// The page behind an approval.
    fn behind(&self, id: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        if let Some(all) = &self.all {
            query.append_pair("all", all);
        }
        format!("{HERE}?{}", query.append_pair("after", id).finish())
    }
}

pub(super) async fn show_all(
    may: May<ReadApprovals>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let now = Timestamp::now();
    let shown = async {
        // Also one that was decided meanwhile says where to go on.
        let after = match which.after.as_deref().filter(|after| !after.is_empty()) {
            Some(id) => Some(approvals::one(&plane, &may, id).await?),
            None => None,
        };
        let wanted = (after.as_ref(), approvals::SHOWN + 1);
        let mut found = approvals::some(&plane, &may, which.all.is_none(), wanted).await?;
        let has_more = found.len() > approvals::SHOWN;
        found.truncate(approvals::SHOWN);
        Ok::<_, Problem>(Inbox {
            shell: Shell::of(&may.who, HERE),
            are_all: which.all.is_some(),
            is_live: which.all.is_none() && after.is_none(),
            next: found.last().filter(|_| has_more).map(|last| which.behind(last.id.as_str())),
            approvals: found.iter().map(|approval| Line::of(approval, now)).collect(),
        })
    };
    shown.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

#[derive(Debug, Template)]
#[template(path = "approval.html")]
struct One {
    shell: Shell,
    line: Line,
    method: String,
    digest: String,
    definition: String,
    policy: String,
    rules: Vec<String>,
    call: String,
    arguments: Option<String>,
    is_edited: bool,
    needs: Vec<Need>,
    missing: Vec<Need>,
    votes: Vec<Vote>,
    replaces: Option<String>,
    replaced_by: Option<String>,
    is_waiting: bool,
    may_say: bool,
    hindrance: Option<String>,
}

#[derive(Debug)]
struct Need {
    group: String,
    people: u32,
}

impl Need {
    fn of(need: &Needed) -> Self {
        Self { group: need.group.to_string(), people: need.people }
    }
}

#[derive(Debug)]
struct Vote {
    by: String,
    via: String,
    agrees: bool,
    reason: String,
    at: String,
}

pub(super) async fn one(
    may: May<ReadApprovals>,
    State(plane): State<Shared>,
    Path(id): Path<String>,
) -> Response {
    let shown = async {
        let found = approvals::one(&plane, &may, &id).await?;
        let hindrance = hindrance(&plane, &may.who, &found).await?;
        let (asked, now) = (&found.asked, Timestamp::now());
        let arguments = show::arguments(&found, approvals::sees(&may.who, &found.of.tenant)).map(pretty);
        let is_waiting = found.word(now) == "waiting";
        let vote = |vote: &tollgate_store::Vote| Vote {
            by: vote.by.to_string(),
            via: vote.via.to_string(),
            agrees: vote.agrees,
            reason: vote.reason.to_string(),
            at: vote.at.to_string(),
        };
        Ok::<_, Problem>(One {
            shell: Shell::of(&may.who, HERE),
            line: Line::of(&found, now),
            method: asked.method.to_string(),
            digest: asked.arguments_digest.to_string(),
            definition: asked.definition.to_string(),
            policy: asked.policy.to_string(),
            rules: asked.rules.iter().map(ToString::to_string).collect(),
            call: asked.call.to_string(),
            arguments,
            is_edited: found.replaces.is_some(),
            needs: found.needs.iter().map(Need::of).collect(),
            missing: found.missing().iter().map(Need::of).collect(),
            votes: found.votes.iter().map(vote).collect(),
            replaces: found.replaces.as_ref().map(ToString::to_string),
            replaced_by: found.replaced_by.as_ref().map(ToString::to_string),
            is_waiting,
            may_say: is_waiting && may.who.may(Resource::Approvals, Act::Change),
            hindrance,
        })
    };
    shown.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

/// What was cut off is no JSON any more, and is shown as it is. Nobody agrees to what they do not see.
fn pretty(text: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(text);
    let pretty = value.ok().and_then(|value| serde_json::to_string_pretty(&value).ok());
    hidden::in_json(pretty.unwrap_or_else(|| text.to_owned()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Said {
    say: String,
    reason: String,
    arguments: Option<String>,
}

pub(super) async fn say(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangeApprovals, Said>,
) -> Response {
    let done = async {
        let before = approvals::one(&plane, &may, &id).await?;
        let sure = may.over(Some(&before.of.tenant))?;
        let arguments = match &*form.say {
            "approve" | "deny" => None,
            "edit" => Some(form.arguments.unwrap_or_default()),
            _ => return Err(Problem::invalid("say: approve, deny or edit")),
        };
        let (agrees, reason) = (form.say != "deny", form.reason);
        let word = Word { agrees, reason, arguments, named: None, via: "console" };
        let plane = Arc::clone(&plane);
        see_through(async move { decide(plane, sure, before, word, |_| Ok(())).await }).await
    };
    match done.await {
        Ok(after) => Redirect::to(&format!("{HERE}/{}", after.id)).into_response(),
        Err(problem) => error(&problem),
    }
}
