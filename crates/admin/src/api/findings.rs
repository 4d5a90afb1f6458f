//! What guards found: never the text.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use tollgate_ledger::CallId;
use tollgate_model::{TenantId, Timestamp};
use tollgate_store::{AuditIndex, FindingAt, FindingBy, FindingQuery, FindingRow};
use utoipa::{IntoParams, ToSchema};

use super::usage::date;
use super::{Asked, Page, Paging, Tagged, pack, tagged, time, unpack};
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadFindings};

const DAY_MS: u64 = 86_400_000;
/// How many days are looked at if nothing is said.
const DAYS: u64 = 30;
/// How many sums are given of a kind.
const SUMS_MAX: usize = 1_000;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/findings", get(list)).route("/api/v1/findings/sums", get(sums))
}

/// Which findings. What is not said does not matter.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The first day, as `2026-01-31`: 30 days ago if absent. Days are those of UTC.
    pub(crate) since: Option<String>,
    /// The last day: today if absent.
    pub(crate) until: Option<String>,
    /// The tenant.
    pub(crate) tenant: Option<String>,
    /// The server.
    pub(crate) server: Option<String>,
    /// The tool, as its server calls it.
    pub(crate) tool: Option<String>,
    /// The rule, as `personal.email`.
    pub(crate) rule: Option<String>,
    /// `low`, `medium` or `high`.
    pub(crate) severity: Option<String>,
    /// Where it was found: `arguments`, `result`, `definition`, `question` or `notification`.
    pub(crate) direction: Option<String>,
    /// What became of it: `report`, `mask`, `block` …
    pub(crate) action: Option<String>,
}

impl Which {
    /// What it means to somebody who may see these tenants' findings.
    pub(crate) fn query<P: Permission>(&self, may: &May<P>) -> Result<FindingQuery, Problem> {
        let today = Timestamp::now().as_ms() / DAY_MS;
        let day = |name: &str, text: &Option<String>, otherwise: u64| {
            let Some(text) = text.as_ref().filter(|text| !text.is_empty()) else {
                return Ok::<u32, Problem>(u32::try_from(otherwise).unwrap_or(u32::MAX));
            };
            let read = format!("{text}T00:00:00Z").parse::<Timestamp>();
            let read = read.map_err(|_| Problem::invalid(format!("{name}: write a day as 2026-01-31")))?;
            Ok(u32::try_from(read.as_ms() / DAY_MS).unwrap_or(u32::MAX))
        };
        let text = |text: &Option<String>| {
            text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(Arc::<str>::from)
        };
        // What no finding is would read as if nothing had been found.
        for (name, said, known) in [
            ("severity", &self.severity, &["low", "medium", "high"][..]),
            (
                "direction",
                &self.direction,
                &["arguments", "result", "definition", "question", "notification"][..],
            ),
        ] {
            if text(said).is_some_and(|said| !known.contains(&&*said)) {
                return Err(Problem::invalid(format!("{name}: one of {}", known.join(", "))));
            }
        }
        let tenants = match (text(&self.tenant), may.tenants()) {
            (Some(wanted), _) => {
                if !may.sees(Some(&TenantId::new(&wanted))) {
                    return Err(crate::roles::Denied.into());
                }
                Some(vec![wanted])
            }
            (None, Some(tenants)) => Some(tenants.iter().map(|tenant| tenant.as_str().into()).collect()),
            (None, None) => None,
        };
        Ok(FindingQuery {
            since_day: day("since", &self.since, today.saturating_sub(DAYS - 1))?,
            until_day: day("until", &self.until, today)?,
            // What is found in definitions of shared servers is no tenant's, and about all of them.
            with_shared: self.tenant.as_ref().is_none_or(String::is_empty),
            tenants,
            server: text(&self.server),
            tool: text(&self.tool),
            rule: text(&self.rule),
            severity: text(&self.severity),
            direction: text(&self.direction),
            action: text(&self.action),
            before: None,
            most: 0,
        })
    }
}

/// What a guard found.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingView {
    /// When it was put on record.
    pub(crate) time: String,
    /// The tenant; absent for what is no tenant's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// The call; absent for what is of no call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<String>,
    /// The agent: its name, or its reference where that was erased.
    pub(crate) agent: String,
    /// The server.
    pub(crate) server: String,
    /// The tool, as its server calls it, or what was listed.
    pub(crate) tool: String,
    /// The rule.
    pub(crate) rule: String,
    /// How bad it is: `low`, `medium` or `high`; empty where that is not known.
    pub(crate) severity: String,
    /// Where it was found.
    pub(crate) direction: String,
    /// What became of it.
    pub(crate) action: String,
}

impl FindingView {
    fn of(row: &FindingRow, names: &HashMap<Arc<str>, Arc<str>>) -> Self {
        let agent = names.get(&row.agent).unwrap_or(&row.agent);
        Self {
            time: time(row.time),
            tenant: Some(row.tenant.to_string()).filter(|tenant| !tenant.is_empty()),
            call: row.call.map(|call| CallId::from_bytes(call.to_be_bytes()).to_string()),
            agent: agent.to_string(),
            server: row.server.to_string(),
            tool: row.tool.to_string(),
            rule: row.rule.to_string(),
            severity: row.severity.to_string(),
            direction: row.direction.to_string(),
            action: row.action.to_string(),
        }
    }
}

fn cursor(row: &FindingRow) -> String {
    let (time, writer, seq, nth) = row.at();
    pack(&[&time.as_ms().to_string(), &writer, &seq.to_string(), &nth.to_string()])
}

fn behind(after: &str) -> Result<FindingAt, Problem> {
    let read = || {
        let [time, writer, seq, nth] = unpack::<4>(after)?;
        Some((
            Timestamp::from_ms(time.parse().ok()?),
            Arc::from(writer),
            seq.parse().ok()?,
            nth.parse().ok()?,
        ))
    };
    read().ok_or_else(|| Problem::invalid("after: no page has given this as `next`"))
}

/// A page of findings, the newest first.
pub(crate) async fn find<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: &Which,
    paging: &Paging,
) -> Result<Page<FindingView>, Problem> {
    let limit = paging.limit()?;
    let before = paging.after.as_deref().map(behind).transpose()?;
    let query = FindingQuery { before, most: limit + 1, ..which.query(may)? };
    let Some(store) = plane.store()? else { return Ok(Page { items: Vec::new(), next: None }) };
    let mut rows = store.findings(&query).await?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let mut agents: Vec<Arc<str>> = rows.iter().map(|row| Arc::clone(&row.agent)).collect();
    agents.sort();
    agents.dedup();
    let names = AuditIndex::names(&*store, &agents).await?;
    let next = more.then(|| rows.last().map(cursor)).flatten();
    Ok(Page { items: rows.iter().map(|row| FindingView::of(row, &names)).collect(), next })
}

/// Lists what guards found, the newest first: what, where, and what became of it, never the text.
#[utoipa::path(get, path = "/api/v1/findings", tag = "findings", params(Which, Paging, Tagged),
    responses((status = 200, body = Page<FindingView>)),
    extensions(("x-tollgate-permission" = json!("findings:read"))))]
async fn list(
    may: May<ReadFindings>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &find(&plane, &may, &which, &paging).await?))
}

/// How many findings there are.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FindingSum {
    /// By what it is told apart; a day is written as `2026-01-31`.
    pub(crate) name: String,
    /// How many.
    pub(crate) found: u64,
}

/// By what sums are told apart.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct By {
    /// `day`, `rule`, `severity`, `server`, `tool`, `direction` or `action`: `day` if absent.
    by: Option<String>,
}

/// How many, by something.
pub(crate) async fn summed<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: &Which,
    by: FindingBy,
) -> Result<Vec<FindingSum>, Problem> {
    let query = FindingQuery { most: SUMS_MAX, ..which.query(may)? };
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let name = |text: Arc<str>| match by {
        FindingBy::Day => date(text.parse().unwrap_or(0)),
        _ => text.to_string(),
    };
    let found = store.finding_sums(&query, by).await?;
    Ok(found.into_iter().map(|(text, found)| FindingSum { name: name(text), found }).collect())
}

/// How many each day, by days since 1970-01-01, in their order.
pub(crate) async fn days<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: &Which,
) -> Result<Vec<(u32, u64)>, Problem> {
    let query = FindingQuery { most: SUMS_MAX, ..which.query(may)? };
    let Some(store) = plane.store()? else { return Ok(Vec::new()) };
    let found = store.finding_sums(&query, FindingBy::Day).await?;
    Ok(found.into_iter().map(|(day, found)| (day.parse().unwrap_or(0), found)).collect())
}

/// Says how many findings there were, whole days (UTC).
#[utoipa::path(get, path = "/api/v1/findings/sums", tag = "findings", params(Which, By, Tagged),
    responses((status = 200, body = Vec<FindingSum>)),
    extensions(("x-tollgate-permission" = json!("findings:read"))))]
async fn sums(
    may: May<ReadFindings>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
    Asked(by): Asked<By>,
) -> Result<Response, Problem> {
    let by = match by.by.as_deref().unwrap_or("day") {
        "day" => FindingBy::Day,
        "rule" => FindingBy::Rule,
        "severity" => FindingBy::Severity,
        "server" => FindingBy::Server,
        "tool" => FindingBy::Tool,
        "direction" => FindingBy::Direction,
        "action" => FindingBy::Action,
        _ => return Err(Problem::invalid("by: day, rule, severity, server, tool, direction or action")),
    };
    Ok(tagged(&headers, &summed(&plane, &may, &which, by).await?))
}
