//! Pinned definitions, and what waits to be approved.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tollgate_store::Pin;

use super::{Shell, error, page};
use crate::acts::{pins, see_through};
use crate::api::pins::{id, named};
use crate::front::{Posted, Shared};
use crate::problem::Problem;
use crate::roles::{Act, ChangePins, May, ReadPins, Resource};

const HERE: &str = "/pins";

#[derive(Debug, Template)]
#[template(path = "pins.html")]
struct Pinned {
    shell: Shell,
    are_all: bool,
    pins: Vec<Line>,
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
}

pub(super) async fn show(
    may: May<ReadPins>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    match pins::all(&plane, &may, which.all.is_none()).await {
        Ok(found) => {
            let is_meant =
                |pin: &&Pin| which.server.as_ref().is_none_or(|name| *name == pin.of.server.as_str());
            page(&Pinned {
                shell: Shell::of(&may.who, HERE),
                are_all: which.all.is_some(),
                pins: found.iter().filter(is_meant).map(Line::of).collect(),
            })
        }
        Err(problem) => error(&problem),
    }
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
        see_through(async move { pins::approve(plane, sure, of, digest, &form.reason).await }).await
    };
    match done.await {
        Ok(()) => Redirect::to(HERE).into_response(),
        Err(problem) => error(&problem),
    }
}
