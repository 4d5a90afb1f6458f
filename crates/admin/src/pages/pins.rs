//! Pinned definitions, and what waits to be approved.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_model::ServerName;
use tollgate_store::{Pin, WhichPins};

use super::{Path, Query, Shell, error, page};
use crate::acts::{pins, see_through};
use crate::api::pins::{id, named};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{Act, ChangePins, May, ReadPins, Resource};

const HERE: &str = "/pins";
/// How many are on a page.
const SHOWN: usize = 200;

#[derive(Debug, Template)]
#[template(path = "pins.html")]
struct Pinned {
    shell: Shell,
    are_all: bool,
    pins: Vec<Line>,
    next: Option<String>,
}

/// A pin of the list.
#[derive(Debug)]
struct Line {
    id: String,
    tenant: String,
    server: String,
    kind: &'static str,
    item: String,
    is_new: bool,
    waiting: Option<String>,
    by: String,
    since: Option<String>,
    seen: Option<String>,
}

impl Line {
    fn of(pin: &Pin) -> Self {
        Self {
            id: id(&pin.of),
            tenant: pin.of.tenant.as_ref().map(|tenant| tenant.as_str().to_owned()).unwrap_or_default(),
            server: pin.of.server.to_string(),
            kind: pin.of.kind.as_str(),
            item: pin.of.item.to_string(),
            is_new: pin.approved.is_none(),
            waiting: pin.waiting.as_ref().map(|shape| shape.digest.to_string()),
            by: pin.by.to_string(),
            since: pin.since.map(|time| time.to_string()),
            seen: pin.seen.map(|time| time.to_string()),
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    all: Option<String>,
    /// Only this server's.
    server: Option<String>,
    /// Only those behind this one.
    after: Option<String>,
}

impl Which {
    /// The page behind a pin.
    fn behind(&self, pin: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("all", &self.all), ("server", &self.server)] {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        format!("{HERE}?{}", query.append_pair("after", pin).finish())
    }
}

pub(super) async fn show(
    may: May<ReadPins>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let shown = async {
        let server = which.server.as_deref().filter(|name| !name.is_empty()).map(ServerName::new).transpose();
        let server = server.map_err(|_| Problem::not_found("there is no such server"))?;
        let after = which.after.as_deref().filter(|after| !after.is_empty()).map(named).transpose()?;
        let wanted = WhichPins { server, is_waiting: which.all.is_none(), after, most: SHOWN + 1 };
        let mut found = pins::some(&plane, &may, wanted).await?;
        let has_more = found.len() > SHOWN;
        found.truncate(SHOWN);
        Ok::<_, Problem>(Pinned {
            shell: Shell::of(&may.who, HERE),
            are_all: which.all.is_some(),
            next: found.last().filter(|_| has_more).map(|last| which.behind(&id(&last.of))),
            pins: found.iter().map(Line::of).collect(),
        })
    };
    shown.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

#[derive(Debug, Template)]
#[template(path = "pin.html")]
struct One {
    shell: Shell,
    line: Line,
    may_approve: bool,
    /// Whether a lock file says what is approved, and nobody here.
    is_locked: bool,
    risks: Vec<(String, &'static str)>,
    diff: Vec<DiffLine>,
}

/// A line of the difference.
#[derive(Debug)]
struct DiffLine {
    kind: char,
    text: String,
}

pub(super) async fn one(may: May<ReadPins>, State(plane): State<Shared>, Path(id): Path<String>) -> Response {
    let shown = async {
        let found = pins::one(&plane, &may, &named(&id)?).await?;
        let (risks, diff) = match pins::difference(&found) {
            Some((difference, diff)) => {
                let risk = |risk: &tollgate_guard::pins::Risk| (risk.to_string(), risk.id);
                (difference.risks.iter().map(risk).collect(), diff)
            }
            None => (Vec::new(), String::new()),
        };
        let line = |line: &str| DiffLine { kind: line.chars().next().unwrap_or(' '), text: line.to_owned() };
        Ok::<_, Problem>(One {
            shell: Shell::of(&may.who, HERE),
            line: Line::of(&found),
            is_locked: plane.parts()?.configured.pins_locked,
            may_approve: may.who.may(Resource::Pins, Act::Change),
            risks,
            diff: diff.lines().map(line).collect(),
        })
    };
    shown.await.map_or_else(|problem| error(&problem), |shown| page(&shown))
}

#[derive(Debug, Deserialize)]
pub(super) struct Looked {
    digest: String,
    reason: String,
}

pub(super) async fn approve(
    State(plane): State<Shared>,
    Path(id): Path<String>,
    Posted { may, form }: Posted<ChangePins, Looked>,
) -> Response {
    let done = async {
        let of = named(&id)?;
        let sure = may.over(of.tenant.as_ref())?;
        let digest = pins::digest(&form.digest)?;
        let plane = Arc::clone(&plane);
        see_through(async move { pins::approve(plane, sure, of, (digest, &form.reason), |_| Ok(())).await })
            .await
    };
    match done.await {
        Ok(()) => Redirect::to(HERE).into_response(),
        Err(problem) => error(&problem),
    }
}
