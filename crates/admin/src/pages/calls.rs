//! The call explorer: the record searched, and one call as the way that it went.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::{Shell, error, page};
use crate::api::Paging;
use crate::api::ledger::{Filters, LedgerRow, find, shown};
use crate::front::Shared;
use crate::problem::Problem;
use crate::roles::{May, ReadLedger};

const HERE: &str = "/calls";
/// How many are shown on a page.
const SHOWN: usize = 50;

#[derive(Debug, Template)]
#[template(path = "calls.html")]
struct Calls {
    shell: Shell,
    asked: Asked,
    rows: Vec<Row>,
    next: Option<String>,
    problem: Option<String>,
}

/// What is searched for, as the form has it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Asked {
    tenant: String,
    agent: String,
    user: String,
    server: String,
    tool: String,
    outcome: String,
    kind: String,
    since: String,
    until: String,
    call: String,
    after: String,
}

impl Asked {
    fn filters(&self) -> Filters {
        let text = |text: &str| Some(text.trim()).filter(|text| !text.is_empty()).map(str::to_owned);
        Filters {
            tenant: text(&self.tenant),
            agent: text(&self.agent),
            user: text(&self.user),
            server: text(&self.server),
            tool: text(&self.tool),
            outcome: text(&self.outcome),
            kind: text(&self.kind),
            since: text(&self.since),
            until: text(&self.until),
            call: text(&self.call),
            ..Filters::default()
        }
    }

    /// The query of the page behind this one.
    fn next(&self, after: &str) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("tenant", &self.tenant),
            ("agent", &self.agent),
            ("user", &self.user),
            ("server", &self.server),
            ("tool", &self.tool),
            ("outcome", &self.outcome),
            ("kind", &self.kind),
            ("since", &self.since),
            ("until", &self.until),
        ] {
            if !value.is_empty() {
                query.append_pair(name, value);
            }
        }
        query.append_pair("after", after).finish()
    }
}

/// A line of the list.
#[derive(Debug)]
struct Row {
    time: String,
    tenant: String,
    agent: String,
    user: String,
    what: String,
    outcome: String,
    class: &'static str,
    ms: String,
    call: Option<String>,
}

impl Row {
    fn of(row: LedgerRow) -> Self {
        let outcome = outcome(&row);
        let class = class(&row);
        let what = match (row.public_name, row.change, row.method) {
            (Some(name), ..) => name,
            (None, Some(change), _) => change,
            (None, None, Some(method)) => method,
            (None, None, None) => row.kind.replace('_', " "),
        };
        Self {
            time: row.time,
            tenant: row.tenant.unwrap_or_default(),
            agent: row.agent.unwrap_or_default(),
            user: row.user.unwrap_or_default(),
            what,
            outcome,
            class,
            ms: ms(row.total_us),
            call: row.call,
        }
    }
}

fn outcome(row: &LedgerRow) -> String {
    match (&row.outcome, &row.code) {
        _ if row.open => "open".to_owned(),
        (Some(outcome), Some(code)) => format!("{outcome} ({code})"),
        (Some(outcome), None) => outcome.clone(),
        (None, Some(code)) => code.clone(),
        (None, None) => String::new(),
    }
}

fn class(row: &LedgerRow) -> &'static str {
    match row.outcome.as_deref() {
        _ if row.open => "warn",
        Some("ok" | "input_required" | "task_created") => "good",
        None if row.code.is_none() => "",
        _ => "bad",
    }
}

fn ms(us: u64) -> String {
    if us == 0 { String::new() } else { format!("{}.{}", us / 1000, us % 1000 / 100) }
}

pub(super) async fn show(
    may: May<ReadLedger>,
    State(plane): State<Shared>,
    Query(asked): Query<Asked>,
) -> Response {
    let found = async {
        let query = asked.filters().query(&may)?;
        let after = Some(asked.after.clone()).filter(|after| !after.is_empty());
        find(&plane, query, &Paging { after, limit: Some(SHOWN) }).await
    };
    let (rows, next, problem) = match found.await {
        Ok(found) => (found.items, found.next, None),
        Err(problem) => (Vec::new(), None, Some(problem.detail().to_owned())),
    };
    page(&Calls {
        shell: Shell::of(&may.who, HERE),
        rows: rows.into_iter().map(Row::of).collect(),
        next: next.map(|next| asked.next(&next)),
        asked,
        problem,
    })
}

#[derive(Debug, Template)]
#[template(path = "call.html")]
struct Call {
    shell: Shell,
    id: String,
    steps: Vec<Step>,
    entries: Vec<String>,
    elsewhere: usize,
}

/// One step of a call: what was asked, how it was decided, where the time went, how it ended.
#[derive(Debug)]
struct Step {
    number: u32,
    row: Row,
    server: String,
    native: String,
    client: String,
    stage: Option<String>,
    trace: Option<String>,
    decision: Option<Decision>,
    times: Vec<(&'static str, String)>,
    sent: u64,
    received: u64,
}

/// What policy said.
#[derive(Debug)]
struct Decision {
    allowed: bool,
    hidden: bool,
    policies: Vec<String>,
    set: Option<String>,
    shadow: Option<&'static str>,
}

impl Decision {
    fn of(entry: &Value) -> Option<Self> {
        let decision = entry.get("decision")?;
        let texts = |value: &Value| -> Vec<String> {
            let texts = value.as_array().into_iter().flatten();
            texts.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let shadow = decision
            .get("shadow")
            .map(|shadow| if shadow["allowed"] == true { "would allow it" } else { "would not allow it" });
        Some(Self {
            allowed: decision["allowed"] == true,
            hidden: decision["hidden"] == true,
            policies: texts(&decision["policies"]),
            set: decision["set"].as_str().map(str::to_owned),
            shadow,
        })
    }
}

/// The stages of which the time is known, in their order.
const STAGES: [(&str, &str); 6] = [
    ("resolve_us", "finding what is meant"),
    ("policy_us", "deciding whether they may"),
    ("route_us", "getting to the server"),
    ("ledger_us", "putting it on record"),
    ("upstream_us", "waiting for the server"),
    ("total_us", "in all"),
];

impl Step {
    fn of(row: LedgerRow, entries: &[Value]) -> Self {
        let own =
            || entries.iter().filter(|entry| entry["step"].as_u64().unwrap_or(0) == u64::from(row.step));
        let decision = own().find_map(Decision::of);
        let latency = own().find_map(|entry| entry.get("latency"));
        let time = |(name, said): &(&'static str, &'static str)| {
            let us = latency.and_then(|latency| latency[*name].as_u64()).filter(|us| *us > 0)?;
            Some((*said, format!("{} ms", ms(us))))
        };
        Self {
            number: row.step + 1,
            server: row.server.clone().unwrap_or_default(),
            native: row.native_name.clone().unwrap_or_default(),
            client: row.client.clone().unwrap_or_default(),
            stage: row.stage.clone(),
            trace: row.trace.clone(),
            decision,
            times: STAGES.iter().filter_map(time).collect(),
            sent: row.sent_bytes,
            received: row.received_bytes,
            row: Row::of(row),
        }
    }
}

pub(super) async fn one(
    may: May<ReadLedger>,
    State(plane): State<Shared>,
    Path(id): Path<String>,
) -> Response {
    let found = shown(&plane, &may, &id).await;
    let found = match found {
        Ok(found) => found,
        Err(problem) => return error(&problem),
    };
    let Some(_) = found.steps.first() else { return error(&Problem::not_found("There is no such call.")) };
    let entries: Vec<String> =
        found.entries.iter().map(|entry| serde_json::to_string_pretty(entry).unwrap_or_default()).collect();
    let steps = found.steps.into_iter().map(|row| Step::of(row, &found.entries)).collect();
    page(&Call { shell: Shell::of(&may.who, HERE), id, steps, entries, elsewhere: found.elsewhere })
}
