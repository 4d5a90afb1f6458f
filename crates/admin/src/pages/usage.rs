//! Limits and usage.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use tollgate_store::UsageOrder;

use super::chart::{Chart, Mark};
use super::{Query, Shell, page};
use crate::api::usage::{UsageLine, Which, date, day, lines};
use crate::front::Shared;
use crate::problem::Problem;
use crate::roles::{May, ReadUsage};
use crate::world::LimitCard;

const HERE: &str = "/usage";
/// How many lines are shown at most.
const SHOWN: usize = 500;
/// How many days are read at most: more than sums are kept.
const DAYS_MAX: usize = 10_000;

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
    told: Told,
    /// Whether there are more than are shown.
    is_cut: bool,
    chart: Option<Chart>,
    limits: Vec<LimitCard>,
}

/// How many days a chart has at least, so that one of them is no wall.
const DAYS_MIN: u32 = 14;

/// Every day from the first of these lines to the last, those without calls too.
fn each_day(lines: &[UsageLine]) -> Vec<(Mark, u64, u64)> {
    let mut of: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for line in lines {
        let Some(day) = day(&line.day) else { continue };
        let sum = of.entry(day).or_default();
        // What was refused has reached no server, and is not among the calls.
        *sum = (sum.0 + line.calls + line.refused, sum.1 + line.errors + line.refused);
    }
    let (Some(first), Some(last)) = (of.keys().next(), of.keys().next_back()) else { return Vec::new() };
    let first = (*first).min(last.saturating_sub(DAYS_MIN - 1));
    let numbers = |day: u32| of.get(&day).copied().unwrap_or_default();
    (first..=*last).map(|day| (Mark::Word(date(day)), numbers(day).0, numbers(day).1)).collect()
}

/// By what lines are told apart: the columns that have something in them.
#[derive(Debug)]
struct Told {
    day: bool,
    tenant: bool,
    agent: bool,
    server: bool,
    tool: bool,
}

impl Told {
    fn of(lines: &[UsageLine]) -> Self {
        let any = |text: fn(&UsageLine) -> &str| lines.iter().any(|line| !text(line).is_empty());
        Self {
            day: any(|line| &line.day),
            tenant: any(|line| &line.tenant),
            agent: any(|line| &line.agent),
            server: any(|line| &line.server),
            tool: any(|line| &line.tool),
        }
    }
}

pub(super) async fn show(
    may: May<ReadUsage>,
    State(plane): State<Shared>,
    Query(which): Query<Which>,
) -> Response {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let by = which.by.clone().filter(|by| !by.is_empty()).unwrap_or_else(|| "day".to_owned());
    // Days are few, and all of them are drawn. Of anything else those with the most calls are shown.
    let is_of_days = by == "day";
    let wanted = if is_of_days { (UsageOrder::Keys, DAYS_MAX) } else { (UsageOrder::MostCalls, SHOWN + 1) };
    let (mut found, problem) = match lines(&plane, &may, &which, wanted).await {
        Ok(found) => (found, None),
        Err(problem) => (Vec::new(), Some(problem.detail().to_owned())),
    };
    let chart = (is_of_days && !found.is_empty())
        .then(|| Chart::of("Calls each day", ["calls", "errors and refusals"], &each_day(&found)));
    let is_cut = found.len() > SHOWN;
    if is_cut {
        found.sort_by_key(|line| std::cmp::Reverse(line.calls));
        found.truncate(SHOWN);
    } else {
        // All that there is, as its words say.
        let words = |line: &UsageLine| {
            [&line.day, &line.tenant, &line.agent, &line.server, &line.tool].map(String::clone)
        };
        found.sort_by_cached_key(words);
    }
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
        told: Told::of(&found),
        lines: found,
        is_cut,
        chart,
        limits: limits.unwrap_or_else(|_: Problem| Vec::new()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(day: &str, calls: u64, errors: u64, refused: u64) -> UsageLine {
        UsageLine { day: day.to_owned(), calls, errors, refused, ..UsageLine::default() }
    }

    fn shown(lines: &[UsageLine]) -> Vec<(String, u64, u64)> {
        let word = |mark: &Mark| match mark {
            Mark::Word(word) | Mark::Moment(word) => word.clone(),
        };
        each_day(lines).iter().map(|(mark, all, part)| (word(mark), *all, *part)).collect()
    }

    #[test]
    fn a_chart_has_every_day_once_and_two_weeks_at_least() {
        // Whoever sees some tenants only gets a line for each.
        let days =
            shown(&[line("2026-03-01", 5, 1, 2), line("2026-03-01", 3, 0, 0), line("2026-02-27", 1, 0, 0)]);
        assert_eq!(days.len(), 14);
        assert_eq!(days[13], ("2026-03-01".to_owned(), 10, 3));
        assert_eq!(days[12], ("2026-02-28".to_owned(), 0, 0));
        assert_eq!((days[11].1, &*days[0].0), (1, "2026-02-16"));
        let long = shown(&[line("2026-03-01", 1, 0, 0), line("2026-01-01", 1, 0, 0)]);
        assert_eq!((long.len(), &*long[0].0), (60, "2026-01-01"));
        assert_eq!(shown(&[]), []);
    }

    #[test]
    fn only_columns_that_say_something_are_shown() {
        let told = Told::of(&[line("2026-03-01", 1, 0, 0)]);
        assert!(told.day && !(told.tenant || told.agent || told.server || told.tool));
    }
}
