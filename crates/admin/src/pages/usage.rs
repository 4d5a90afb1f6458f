//! Limits and usage.

use askama::Template;
use axum::extract::{Query, State};
use axum::response::Response;

use super::chart::Chart;
use super::{Shell, page};
use crate::api::usage::{UsageLine, Which, lines};
use crate::front::Shared;
use crate::problem::Problem;
use crate::roles::{May, ReadUsage};
use crate::world::LimitCard;

const HERE: &str = "/usage";

#[derive(Debug, Template)]
#[template(path = "usage.html")]
struct Usage {
    shell: Shell,
    since: String,
    until: String,
    by: String,
    query: String,
    problem: Option<String>,
    lines: Vec<UsageLine>,
    chart: Option<Chart>,
    limits: Vec<LimitCard>,
}

pub(super) async fn show(
    may: May<ReadUsage>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let by = which.by.clone().filter(|by| !by.is_empty()).unwrap_or_else(|| "day".to_owned());
    let (found, problem) = match lines(&plane, &may, &which).await {
        Ok(found) => (found, None),
        Err(problem) => (Vec::new(), Some(problem.detail().to_owned())),
    };
    // Days, whatever the table is told apart by: only where the days are the only thing.
    let chart = (by == "day" && !found.is_empty()).then(|| {
        let days: Vec<_> = found.iter().map(|line| (line.day.clone(), line.calls, line.errors)).collect();
        Chart::of("Calls each day", &days)
    });
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    for (name, value) in [("since", &which.since), ("until", &which.until), ("tenant", &which.tenant)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            query.append_pair(name, value);
        }
    }
    let query = query.append_pair("by", &by).append_pair("format", "csv").finish();
    let limits = plane.parts().map(|parts| parts.configured.limits.clone());
    page(&Usage {
        shell: Shell::of(&may.who, HERE),
        since: text(&which.since),
        until: text(&which.until),
        by,
        query,
        problem,
        lines: found,
        chart,
        limits: limits.unwrap_or_else(|_: Problem| Vec::new()),
    })
}
