//! What guards found: over time, by rule, and each with what became of it.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use tollgate_store::FindingBy;

use super::chart::{Chart, Mark};
use super::{Query, Shell, page};
use crate::api::Paging;
use crate::api::findings::{FindingSum, FindingView, Which, days, find, summed};
use crate::api::usage::date;
use crate::front::Shared;
use crate::problem::Problem;
use crate::roles::{Act, May, ReadFindings, Resource};

const HERE: &str = "/findings";
/// How many are shown on a page.
const SHOWN: usize = 50;
/// How many days the chart has.
const DAYS_MIN: u32 = 7;
const DAYS_MAX: u32 = 366;
/// How many of the most frequent are shown.
const TOP: usize = 10;

#[derive(Debug, Template)]
#[template(path = "findings.html")]
struct Findings {
    shell: Shell,
    asked: Asked,
    problem: Option<String>,
    chart: Option<Chart>,
    tops: Vec<(&'static str, Vec<FindingSum>)>,
    rows: Vec<FindingView>,
    next: Option<String>,
    sees_calls: bool,
}

/// What is looked for, as the form has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    since: String,
    until: String,
    tenant: String,
    server: String,
    tool: String,
    rule: String,
    severity: String,
    direction: String,
    action: String,
    after: String,
}

impl Asked {
    fn which(&self) -> Which {
        let text = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        Which {
            since: text(&self.since),
            until: text(&self.until),
            tenant: text(&self.tenant),
            server: text(&self.server),
            tool: text(&self.tool),
            rule: text(&self.rule),
            severity: text(&self.severity),
            direction: text(&self.direction),
            action: text(&self.action),
        }
    }

    /// The query of the page behind this one.
    fn next(&self, after: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("since", &self.since),
            ("until", &self.until),
            ("tenant", &self.tenant),
            ("server", &self.server),
            ("tool", &self.tool),
            ("rule", &self.rule),
            ("severity", &self.severity),
            ("direction", &self.direction),
            ("action", &self.action),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("after", after).finish()
    }
}

/// What the page shows of what was found.
struct Found {
    days: Vec<(Mark, u64, u64)>,
    tops: Vec<(&'static str, Vec<FindingSum>)>,
    rows: Vec<FindingView>,
    next: Option<String>,
}

async fn found(plane: &Shared, may: &May<ReadFindings>, asked: &Asked) -> Result<Found, Problem> {
    let which = asked.which();
    let after = Some(asked.after.clone()).filter(|after| !after.is_empty());
    let listed = find(plane, may, &which, &Paging { after, limit: Some(SHOWN) }).await?;
    let all: BTreeMap<u32, u64> = days(plane, may, &which).await?.into_iter().collect();
    let high = Which { severity: Some("high".to_owned()), ..which.clone() };
    let high: BTreeMap<u32, u64> = match which.severity.as_deref() {
        None | Some("high") => days(plane, may, &high).await?.into_iter().collect(),
        Some(_) => BTreeMap::new(),
    };
    let mut tops = Vec::new();
    for (title, by) in [
        ("Rules", FindingBy::Rule),
        ("Severities", FindingBy::Severity),
        ("Servers", FindingBy::Server),
        ("Tools", FindingBy::Tool),
        ("Where", FindingBy::Direction),
        ("What became of them", FindingBy::Action),
    ] {
        let mut sums = summed(plane, may, &which, by).await?;
        sums.truncate(TOP);
        tops.push((title, sums));
    }
    Ok(Found { days: each_day(&all, &high), tops, rows: listed.items, next: listed.next })
}

/// Each day from the first to the last on which anything was found, so that the gaps are seen.
fn each_day(all: &BTreeMap<u32, u64>, high: &BTreeMap<u32, u64>) -> Vec<(Mark, u64, u64)> {
    let (Some(first), Some(last)) = (all.keys().next(), all.keys().next_back()) else { return Vec::new() };
    let first = (*first).clamp(last.saturating_sub(DAYS_MAX - 1), last.saturating_sub(DAYS_MIN - 1));
    let of = |days: &BTreeMap<u32, u64>, day: u32| days.get(&day).copied().unwrap_or(0);
    (first..=*last).map(|day| (Mark::Word(date(day)), of(all, day), of(high, day))).collect()
}

pub(super) async fn show(
    may: May<ReadFindings>,
    State(plane): State<Shared>,
    Query(asked): Query<Asked>,
) -> Response {
    let (found, problem) = match found(&plane, &may, &asked).await {
        Ok(found) => (found, None),
        Err(problem) => {
            let nothing = Found { days: Vec::new(), tops: Vec::new(), rows: Vec::new(), next: None };
            (nothing, Some(problem.detail().to_owned()))
        }
    };
    let chart = (!found.days.is_empty())
        .then(|| Chart::of("Findings each day", ["findings", "of high severity"], &found.days));
    page(&Findings {
        shell: Shell::of(&may.who, HERE),
        problem,
        chart,
        tops: found.tops,
        rows: found.rows,
        next: found.next.map(|next| asked.next(&next)),
        asked,
        sees_calls: may.who.may(Resource::Ledger, Act::Read),
    })
}
