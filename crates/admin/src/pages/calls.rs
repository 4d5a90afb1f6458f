//! The call explorer: the record searched, and one call as the way that it went.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::{Path, Query, Shell, error, hidden, page};
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
    /// Those of which one has to be chosen; none where nothing has to be.
    tenants: Vec<String>,
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
    code: String,
    policy: String,
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
            code: text(&self.code),
            policy: text(&self.policy),
            kind: text(&self.kind),
            since: text(&self.since),
            until: text(&self.until),
            call: text(&self.call),
            ..Filters::default()
        }
    }

    /// Whether anything beside the kind is asked for.
    fn is_narrow(&self) -> bool {
        let of = [&self.tenant, &self.agent, &self.user, &self.server, &self.tool, &self.outcome];
        let more = [&self.code, &self.policy, &self.since, &self.until, &self.call];
        of.into_iter().chain(more).any(|text| !text.is_empty())
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
            ("code", &self.code),
            ("policy", &self.policy),
            ("kind", &self.kind),
            ("since", &self.since),
            ("until", &self.until),
            ("call", &self.call),
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
    kind: String,
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
    /// Whether it is nothing that a client asked for, which has to be said.
    fn is_other(&self) -> bool {
        !matches!(&*self.kind, "call" | "refusal" | "list")
    }

    fn of(row: LedgerRow) -> Self {
        let outcome = outcome(&row);
        let class = class(&row);
        let what = row.public_name.or(row.change).or(row.method).unwrap_or_default();
        Self {
            time: row.time,
            kind: row.kind.replace('_', " "),
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
    Query(mut asked): Query<Asked>,
) -> Response {
    // The record is searched in one tenant, or in all.
    let tenants = may.tenants().filter(|tenants| tenants.len() > 1).unwrap_or_default();
    if let (true, Some(first)) = (asked.tenant.is_empty(), tenants.first()) {
        first.as_str().clone_into(&mut asked.tenant);
    }
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
        tenants: tenants.iter().map(|tenant| tenant.as_str().to_owned()).collect(),
        problem,
    })
}

#[derive(Debug, Template)]
#[template(path = "call.html")]
struct Call {
    shell: Shell,
    id: String,
    steps: Vec<Step>,
    entries: Vec<Entry>,
    elsewhere: usize,
}

/// One step of a call: what was asked, how it was decided, where the time went, how it ended.
#[derive(Debug)]
struct Step {
    number: u32,
    stages: Vec<Stage>,
    row: Row,
    server: String,
    native: String,
    client: String,
    stage: Option<String>,
    trace: Option<String>,
    decision: Option<Decision>,
    total: String,
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
const STAGES: [(&str, &str); 5] = [
    ("resolve_us", "finding what is meant"),
    ("policy_us", "deciding whether they may"),
    ("route_us", "getting to the server"),
    ("ledger_us", "putting it on record"),
    ("upstream_us", "waiting for the server"),
];

/// A stage, and where its bar begins and how long it is, in thousandths of the whole.
#[derive(Debug)]
struct Stage {
    said: &'static str,
    class: &'static str,
    from: u64,
    width: u64,
    ms: String,
}

impl Stage {
    /// All of them, one behind the other, and what is left of the whole.
    fn all(latency: &Value) -> Vec<Self> {
        let us = |name: &str| latency[name].as_u64().unwrap_or(0);
        let known: u64 = STAGES.iter().map(|(name, _)| us(name)).sum();
        let rest = us("total_us").saturating_sub(known);
        let whole = (known + rest).max(1);
        let mut from = 0;
        let stages = STAGES.iter().map(|(name, said)| (*said, us(name)));
        let stage = |(said, us): (&'static str, u64)| {
            let class = if said == STAGES[4].1 { "bar-2" } else { "bar" };
            // What is very short is seen all the same.
            let width = (us * 1000 / whole).max(4);
            let stage = Self { said, class, from: from.min(1000 - width.min(1000)), width, ms: fine(us) };
            from += us * 1000 / whole;
            stage
        };
        stages.chain([("everything else", rest)]).filter(|(_, us)| *us > 0).map(stage).collect()
    }
}

/// Milliseconds with what matters behind the point.
fn fine(us: u64) -> String {
    if us < 10_000 { format!("{}.{:03} ms", us / 1000, us % 1000) } else { format!("{} ms", us / 1000) }
}

/// An entry as it stands in the record, and what it is called.
#[derive(Debug)]
struct Entry {
    kind: String,
    seq: u64,
    text: String,
}

impl Entry {
    fn of(entry: &Value) -> Self {
        Self {
            kind: entry["kind"].as_str().unwrap_or_default().replace('_', " "),
            seq: entry["seq"].as_u64().unwrap_or(0),
            text: hidden::in_json(serde_json::to_string_pretty(entry).unwrap_or_default()),
        }
    }
}

impl Step {
    fn of(row: LedgerRow, entries: &[Value]) -> Self {
        let own =
            || entries.iter().filter(|entry| entry["step"].as_u64().unwrap_or(0) == u64::from(row.step));
        let decision = own().find_map(Decision::of);
        let latency = own().find_map(|entry| entry.get("latency"));
        Self {
            number: row.step + 1,
            server: row.server.clone().unwrap_or_default(),
            native: row.native_name.clone().unwrap_or_default(),
            client: row.client.clone().unwrap_or_default(),
            stage: row.stage.clone(),
            trace: row.trace.clone(),
            decision,
            stages: latency.map(Stage::all).unwrap_or_default(),
            total: latency.map(|latency| fine(latency["total_us"].as_u64().unwrap_or(0))).unwrap_or_default(),
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
    let entries = found.entries.iter().map(Entry::of).collect();
    let steps = found.steps.into_iter().map(|row| Step::of(row, &found.entries)).collect();
    page(&Call { shell: Shell::of(&may.who, HERE), id, steps, entries, elsewhere: found.elsewhere })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bars_of_stages_follow_each_other_and_stay_within_the_whole() {
        let latency = json!({ "resolve_us": 1, "policy_us": 99, "upstream_us": 800, "total_us": 1000 });
        let stages = Stage::all(&latency);
        let shown: Vec<_> =
            stages.iter().map(|stage| (stage.said, stage.from, stage.width, &*stage.ms)).collect();
        assert_eq!(
            shown,
            [
                ("finding what is meant", 0, 4, "0.001 ms"),
                ("deciding whether they may", 1, 99, "0.099 ms"),
                ("waiting for the server", 100, 800, "0.800 ms"),
                ("everything else", 900, 100, "0.100 ms"),
            ]
        );
        // Numbers that do not fit together are drawn all the same.
        let odd = Stage::all(&json!({ "resolve_us": 5_000_000, "upstream_us": 2, "total_us": 1 }));
        assert!(odd.iter().all(|stage| stage.from + stage.width <= 1000), "{odd:?}");
        assert!(Stage::all(&json!({})).is_empty());
    }
}
