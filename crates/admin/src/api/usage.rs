//! How much was used, and how much may be.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::HeaderMap;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderValue};
use serde::{Deserialize, Serialize};
use tollgate_model::{Timestamp, money};
use tollgate_store::{AuditIndex, Store, UsageBy, UsageOrder, UsageQuery, UsageRow};
use utoipa::{IntoParams, ToSchema};

use super::{Asked, Tagged, tagged};
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadUsage};

const DAY_MS: u64 = 86_400_000;
/// How many lines there are at most, and in a file.
const LINES_MAX: usize = 10_000;
const FILE_LINES_MAX: usize = 100_000;
/// How many days are shown if nothing is said.
const DAYS: u64 = 30;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/usage", get(usage)).route("/api/v1/limits", get(limits))
}

/// Which sums.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// The first day, as `2026-01-31`: 30 days ago if absent. Days are those of UTC.
    pub(crate) since: Option<String>,
    /// The last day: today if absent.
    pub(crate) until: Option<String>,
    /// Only this tenant's.
    pub(crate) tenant: Option<String>,
    /// By what sums are told apart, with commas between: `day`, `tenant`, `agent`, `server`, `tool`. `day` if absent.
    pub(crate) by: Option<String>,
    /// `json` or `csv` (RFC 4180, for billing): `json` if absent.
    pub(crate) format: Option<String>,
}

/// What was used of something. A text is empty where sums are not told apart by it.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UsageLine {
    /// The day (UTC).
    pub(crate) day: String,
    /// The tenant.
    pub(crate) tenant: String,
    /// The agent: its name, or its reference where that was erased.
    pub(crate) agent: String,
    /// The server.
    pub(crate) server: String,
    /// The tool.
    pub(crate) tool: String,
    /// Calls that reached a server.
    pub(crate) calls: u64,
    /// Those of them that ended in anything but a good result.
    pub(crate) errors: u64,
    /// Calls that were refused before they reached a server.
    pub(crate) refused: u64,
    /// Bytes that left for servers.
    pub(crate) sent_bytes: u64,
    /// Bytes of servers' responses.
    pub(crate) received_bytes: u64,
    /// Estimated tokens of arguments.
    pub(crate) sent_tokens: u64,
    /// Estimated tokens of results.
    pub(crate) received_tokens: u64,
    /// What it cost: a decimal number as text, so that nobody's floating point loses any of it.
    pub(crate) cost: String,
    /// In which currency.
    pub(crate) currency: String,
}

/// All of what was used, of what whoever asks may see, in the order of its words. It is never cut: whoever bills by it would not
/// see that.
async fn all<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: &Which,
    most: usize,
) -> Result<Vec<UsageLine>, Problem> {
    let lines = lines(plane, may, which, (UsageOrder::Keys, most + 1)).await?;
    if lines.len() > most {
        return Err(Problem::invalid(format!(
            "these are more than {most} lines: ask for fewer days or one tenant, or tell them apart by less"
        )));
    }
    Ok(lines)
}

/// So many lines of how much was used, of what whoever asks may see.
pub(crate) async fn lines<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    which: &Which,
    (order, most): (UsageOrder, usize),
) -> Result<Vec<UsageLine>, Problem> {
    let parts = plane.parts()?;
    let today = Timestamp::now().as_ms() / DAY_MS;
    let day = |name: &str, text: Option<&String>, otherwise: u64| match text.filter(|text| !text.is_empty()) {
        None => Ok::<u32, Problem>(u32::try_from(otherwise).unwrap_or(u32::MAX)),
        Some(text) => {
            self::day(text).ok_or_else(|| Problem::invalid(format!("{name}: write a day as 2026-01-31")))
        }
    };
    let by = by(which.by.as_deref().filter(|by| !by.is_empty()).unwrap_or("day"))?;
    let mut query = UsageQuery {
        since_day: day("since", which.since.as_ref(), today.saturating_sub(DAYS))?,
        until_day: day("until", which.until.as_ref(), today)?,
        tenant: which.tenant.as_deref().filter(|tenant| !tenant.is_empty()).map(Arc::from),
        by,
        order,
        most,
    };
    let Some(store) = parts.store else { return Ok(Vec::new()) };
    let mut rows = Vec::new();
    match may.tenants() {
        None => rows = store.usage(&query).await?,
        Some(tenants) => {
            let wanted = |tenant: &str| query.tenant.as_deref().is_none_or(|wanted| *wanted == *tenant);
            let tenants: Vec<_> = tenants.iter().filter(|tenant| wanted(tenant.as_str())).collect();
            // Told apart, so that no sum is made over tenants that they may not see together.
            query.by.tenant = true;
            for tenant in tenants {
                query.tenant = Some(tenant.as_str().into());
                rows.extend(store.usage(&query).await?);
            }
            match order {
                UsageOrder::Keys => rows.sort_by(|one, other| one.key.cmp(&other.key)),
                UsageOrder::MostCalls => rows.sort_by_key(|row| std::cmp::Reverse(row.sum.calls)),
            }
            rows.truncate(most);
        }
    }
    named(&*store, &mut rows).await?;
    let told = |is: bool, text: &Arc<str>| if is { text.to_string() } else { String::new() };
    Ok(rows
        .iter()
        .map(|UsageRow { key, sum }| UsageLine {
            day: if by.day { date(key.day) } else { String::new() },
            tenant: told(query.by.tenant, &key.tenant),
            agent: key.agent.to_string(),
            server: key.server.to_string(),
            tool: key.tool.to_string(),
            calls: sum.calls,
            errors: sum.errors,
            refused: sum.refused,
            sent_bytes: sum.sent_bytes,
            received_bytes: sum.received_bytes,
            sent_tokens: sum.sent_tokens,
            received_tokens: sum.received_tokens,
            cost: money(sum.cost_nano),
            currency: parts.configured.currency.to_string(),
        })
        .collect())
}

/// Puts the names of agents in the place of their references.
async fn named(store: &dyn Store, rows: &mut [UsageRow]) -> Result<(), Problem> {
    let mut agents: Vec<Arc<str>> = rows.iter().map(|row| Arc::clone(&row.key.agent)).collect();
    agents.sort();
    agents.dedup();
    let names = AuditIndex::names(store, &agents).await?;
    for row in rows {
        if let Some(name) = names.get(&row.key.agent) {
            row.key.agent = Arc::clone(name);
        }
    }
    Ok(())
}

fn by(text: &str) -> Result<UsageBy, Problem> {
    let mut by = UsageBy::default();
    for word in text.split(',').map(str::trim) {
        match word {
            "day" => by.day = true,
            "tenant" => by.tenant = true,
            "agent" => by.agent = true,
            "server" => by.server = true,
            "tool" => (by.server, by.tool) = (true, true),
            _ => return Err(Problem::invalid("by: day, tenant, agent, server or tool, with commas between")),
        }
    }
    Ok(by)
}

/// A day since 1970-01-01.
pub(crate) fn date(day: u32) -> String {
    let text = Timestamp::from_ms(u64::from(day) * DAY_MS).to_string();
    text.split('T').next().unwrap_or_default().to_owned()
}

/// The same read.
pub(crate) fn day(text: &str) -> Option<u32> {
    let time: Timestamp = format!("{text}T00:00:00Z").parse().ok()?;
    u32::try_from(time.as_ms() / DAY_MS).ok()
}

/// Says how much was used, and what it cost.
#[utoipa::path(get, path = "/api/v1/usage", tag = "usage", params(Which, Tagged),
    responses((status = 200, content((Vec<UsageLine> = "application/json"), (String = "text/csv")))),
    extensions(("x-tollgate-permission" = json!("usage:read"))))]
async fn usage(
    may: May<ReadUsage>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(which): Asked<Which>,
) -> Result<Response, Problem> {
    match which.format.as_deref().unwrap_or("json") {
        "json" => Ok(tagged(&headers, &all(&plane, &may, &which, LINES_MAX).await?)),
        "csv" => Ok(csv(&all(&plane, &may, &which, FILE_LINES_MAX).await?)),
        _ => Err(Problem::invalid("format: json or csv")),
    }
}

/// The lines as a file for spreadsheets and billing.
pub(crate) fn csv(lines: &[UsageLine]) -> Response {
    let mut text = String::from(
        "day,tenant,agent,server,tool,calls,errors,refused,sent_bytes,received_bytes,sent_tokens,received_tokens,cost,\
         currency\r\n",
    );
    for line in lines {
        let names = [&line.day, &line.tenant, &line.agent, &line.server, &line.tool].map(|text| quoted(text));
        let sums = [
            line.calls,
            line.errors,
            line.refused,
            line.sent_bytes,
            line.received_bytes,
            line.sent_tokens,
            line.received_tokens,
        ]
        .map(|sum| sum.to_string());
        text.push_str(
            &[names.join(","), sums.join(","), line.cost.clone(), quoted(&line.currency)].join(","),
        );
        text.push_str("\r\n");
    }
    let kind = HeaderValue::from_static("text/csv; charset=utf-8");
    let file = HeaderValue::from_static("attachment; filename=\"tollgate-usage.csv\"");
    ([(CONTENT_TYPE, kind), (CONTENT_DISPOSITION, file)], text).into_response()
}

/// A field (RFC 4180, section 2). What a spreadsheet would take for a formula begins with an apostrophe: names are chosen by
/// servers and callers.
fn quoted(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\r', '\n']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

/// A limit.
#[derive(Debug, Serialize, ToSchema)]
struct LimitView {
    /// The plan that it belongs to; absent if it holds for all.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    /// What it is called.
    name: String,
    /// What it says.
    says: String,
}

/// Lists the limits that are configured.
#[utoipa::path(get, path = "/api/v1/limits", tag = "usage", params(Tagged), responses((status = 200, body = Vec<LimitView>)),
    extensions(("x-tollgate-permission" = json!("usage:read"))))]
async fn limits(
    _: May<ReadUsage>,
    State(plane): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let configured = plane.parts()?.configured;
    let shown = configured.limits.iter().map(|limit| LimitView {
        plan: limit.plan.as_ref().map(ToString::to_string),
        name: limit.name.to_string(),
        says: limit.says.clone(),
    });
    Ok(tagged(&headers, &shown.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_quoted_and_are_no_formulas() {
        assert_eq!(quoted("plain"), "plain");
        assert_eq!(quoted("a,b"), "\"a,b\"");
        assert_eq!(quoted("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(quoted("@SUM"), "'@SUM");
    }

    #[test]
    fn what_sums_are_told_apart_by_is_read() {
        assert!(by("day, tool").is_ok_and(|by| by.day && by.tool && by.server && !by.agent));
        assert!(by("days").is_err());
    }
}
