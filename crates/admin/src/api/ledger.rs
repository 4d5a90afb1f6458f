//! The record: found, shown and verified.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_ledger::{CallId, Kind, Outcome};
use tollgate_model::Timestamp;
use tollgate_store::{AuditFound, AuditQuery, AuditRow, OPEN};
use utoipa::{IntoParams, ToSchema};

use super::{Asked, At, Page, Paging, Tagged, json, pack, tagged, time, unpack};
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadLedger};
use crate::shelf;

/// More steps than any call has.
const STEPS_MAX: usize = 1000;

pub(super) fn routes() -> Router<Shared> {
    Router::new()
        .route("/api/v1/ledger", get(search))
        .route("/api/v1/ledger/calls/{call}", get(call))
        .route("/api/v1/ledger/verify", post(verify))
}

/// What is searched for. What is not said does not matter.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filters {
    /// Begun then or later, as `2026-01-31T12:00:00Z`.
    pub(crate) since: Option<String>,
    /// Begun before.
    pub(crate) until: Option<String>,
    /// `call`, `refusal` or another kind of entry.
    pub(crate) kind: Option<String>,
    /// The tenant.
    pub(crate) tenant: Option<String>,
    /// The agent, by name or reference.
    pub(crate) agent: Option<String>,
    /// The user, by name or reference.
    pub(crate) user: Option<String>,
    /// The server.
    pub(crate) server: Option<String>,
    /// The tool: the name that clients see, or the server's own.
    pub(crate) tool: Option<String>,
    /// How it ended; `open` for what has not.
    pub(crate) outcome: Option<String>,
    /// The code of a refusal or error.
    pub(crate) code: Option<String>,
    /// A policy that decided.
    pub(crate) policy: Option<String>,
    /// The trace id: 32 hexadecimal digits.
    pub(crate) trace: Option<String>,
    /// The call.
    pub(crate) call: Option<String>,
    /// The keyed digest of the arguments.
    pub(crate) digest: Option<String>,
}

impl Filters {
    /// What it means to somebody who may see these tenants' entries.
    pub(crate) fn query<P: Permission>(&self, may: &May<P>) -> Result<AuditQuery, Problem> {
        let text = |text: &Option<String>| text.clone().filter(|text| !text.trim().is_empty());
        let moment = |name: &str, given: &Option<String>| {
            let parse = |text: String| {
                let whole =
                    if text.ends_with('Z') || text.contains('+') { text } else { format!("{text}:00Z") };
                whole
                    .parse::<Timestamp>()
                    .map_err(|_| Problem::invalid(format!("{name}: write 2026-01-31T12:00:00Z")))
            };
            text(given).map(parse).transpose()
        };
        // What nothing on record can be is a mistake, and not an empty answer: that would read as if nothing had happened.
        let word = |name: &str, given: &Option<String>, words: &[&str], more: &[&str]| match text(given) {
            Some(word) if !words.iter().chain(more).any(|known| **known == *word) => {
                let words: Vec<&str> = words.iter().chain(more).copied().collect();
                Err(Problem::invalid(format!("{name}: one of {}", words.join(", "))))
            }
            word => Ok(word),
        };
        let trace = text(&self.trace).map(|trace| {
            let number = (trace.len() == 32).then(|| u128::from_str_radix(&trace, 16).ok()).flatten();
            number.ok_or_else(|| Problem::invalid("trace: 32 hexadecimal digits"))
        });
        let mut query = AuditQuery {
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            kind: word("kind", &self.kind, &Kind::ROWS, &[])?,
            tenant: text(&self.tenant),
            agent: text(&self.agent),
            user: text(&self.user),
            server: text(&self.server),
            tool: text(&self.tool),
            outcome: word("outcome", &self.outcome, &Outcome::WORDS, &[OPEN])?,
            code: text(&self.code),
            policy: text(&self.policy),
            trace: trace.transpose()?,
            call: text(&self.call).map(|call| number(&call)).transpose()?,
            digest: text(&self.digest),
            most: 0,
        };
        if query.since.is_some_and(|since| query.until.is_some_and(|until| until <= since)) {
            return Err(Problem::invalid("until: it is not after `since`"));
        }
        if let Some(tenants) = may.tenants() {
            match (&query.tenant, tenants) {
                (Some(wanted), _) if tenants.iter().any(|tenant| tenant.as_str() == wanted) => {}
                (Some(_), _) => return Err(crate::roles::Denied.into()),
                (None, [only]) => query.tenant = Some(only.as_str().to_owned()),
                (None, _) => return Err(Problem::invalid("tenant: say which, of those that you may see")),
            }
        }
        Ok(query)
    }
}

/// The number of a call.
fn number(text: &str) -> Result<u128, Problem> {
    let call: CallId = text.parse().map_err(|_| Problem::invalid("call: this is no call's id"))?;
    Ok(u128::from_be_bytes(call.to_bytes()))
}

/// One step of a call, or another entry.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LedgerRow {
    /// When.
    pub(crate) time: String,
    /// `call`, or the kind of the entry.
    pub(crate) kind: String,
    /// The call that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<String>,
    /// Which step of the call.
    pub(crate) step: u32,
    /// The tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tenant: Option<String>,
    /// The agent: its name, or its reference where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<String>,
    /// The user: their name, or their reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// What the client says of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client: Option<String>,
    /// The method.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) method: Option<String>,
    /// The server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    /// What the client called it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) public_name: Option<String>,
    /// What its server calls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) native_name: Option<String>,
    /// How it ended; absent while it has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<String>,
    /// The name of the refusal, or the server's error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<String>,
    /// The stage that refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// What was changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) change: Option<String>,
    /// The policies that decided.
    pub(crate) policies: Vec<String>,
    /// The trace id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    /// Whether its outcome is not there yet.
    pub(crate) open: bool,
    /// How long it took, in microseconds.
    pub(crate) total_us: u64,
    /// Bytes that left for the server.
    pub(crate) sent_bytes: u64,
    /// Bytes of the server's response.
    pub(crate) received_bytes: u64,
    /// Whose entry it is.
    pub(crate) writer: String,
    /// Its number.
    pub(crate) seq: u64,
}

impl LedgerRow {
    pub(crate) fn of(row: &AuditRow, found: &AuditFound) -> Self {
        let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
        let name = |reference: &Option<std::sync::Arc<str>>| {
            reference.as_ref().map(|reference| found.names.get(reference).unwrap_or(reference).to_string())
        };
        Self {
            time: time(row.time),
            kind: row.kind.to_string(),
            call: row.call.map(|call| CallId::from_bytes(call.to_be_bytes()).to_string()),
            step: row.step,
            tenant: text(&row.tenant),
            agent: name(&row.agent),
            user: name(&row.user),
            client: text(&row.client),
            method: text(&row.method),
            server: text(&row.server),
            public_name: text(&row.public_name),
            native_name: text(&row.native_name),
            outcome: text(&row.outcome),
            code: text(&row.code),
            stage: text(&row.stage),
            change: text(&row.change),
            policies: row.policies.iter().map(ToString::to_string).collect(),
            trace: row.trace.map(|trace| format!("{trace:032x}")),
            open: row.end.is_none(),
            total_us: row.total_us,
            sent_bytes: row.sent_bytes,
            received_bytes: row.received_bytes,
            writer: row.writer.to_string(),
            seq: row.begin.seq,
        }
    }

    fn cursor(row: &AuditRow) -> String {
        pack(&[&row.time.as_ms().to_string(), &row.writer, &row.begin.seq.to_string()])
    }
}

/// A page of what fits, the newest first.
pub(crate) async fn find(
    plane: &Plane,
    mut query: AuditQuery,
    paging: &Paging,
) -> Result<Page<LedgerRow>, Problem> {
    let limit = paging.limit()?;
    let Some(store) = plane.store()? else { return Ok(Page { items: Vec::new(), next: None }) };
    let after = match &paging.after {
        None => None,
        Some(after) => {
            let place = unpack::<3>(after).and_then(|[ms, writer, seq]| {
                Some((ms.parse::<u64>().ok()?, writer, seq.parse::<u64>().ok()?))
            });
            Some(place.ok_or_else(|| Problem::invalid("after: this is no `next` of a page"))?)
        }
    };
    if let Some((ms, ..)) = &after {
        // Those of the same moment that were given already are passed over below.
        let until = Timestamp::from_ms(ms.saturating_add(1));
        query.until = Some(query.until.map_or(until, |wanted| wanted.min(until)));
    }
    query.most = if after.is_some() { limit.saturating_mul(2).saturating_add(500) } else { limit + 1 };
    let found = store.search(&query).await?;
    let passed = after.as_ref().map_or(0, |(ms, writer, seq)| {
        let is_last =
            |row: &AuditRow| (row.time.as_ms(), &*row.writer, row.begin.seq) == (*ms, writer.as_str(), *seq);
        found.rows.iter().position(is_last).map_or(0, |at| at + 1)
    });
    let rest = &found.rows[passed..];
    let shown = &rest[..rest.len().min(limit)];
    let next = if rest.len() > limit { shown.last().map(LedgerRow::cursor) } else { None };
    Ok(Page { items: shown.iter().map(|row| LedgerRow::of(row, &found)).collect(), next })
}

/// Finds what happened, the newest first.
#[utoipa::path(get, path = "/api/v1/ledger", tag = "ledger", params(Filters, Paging, Tagged),
    responses((status = 200, body = Page<LedgerRow>)),
    extensions(("x-tollgate-permission" = json!("ledger:read"))))]
async fn search(
    may: May<ReadLedger>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    Asked(filters): Asked<Filters>,
    Asked(paging): Asked<Paging>,
) -> Result<Response, Problem> {
    let query = filters.query(&may)?;
    Ok(tagged(&headers, &find(&plane, query, &paging).await?))
}

/// A call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CallView {
    /// Its steps, in their order.
    pub(crate) steps: Vec<LedgerRow>,
    /// The entries themselves, as far as they are on record at this gateway: the intent and the outcome of each step.
    #[schema(value_type = Vec<Object>)]
    pub(crate) entries: Vec<Value>,
    /// How many entries are on record elsewhere.
    pub(crate) elsewhere: usize,
}

/// All that is on record of a call.
pub(crate) async fn shown<P: Permission>(
    plane: &Plane,
    may: &May<P>,
    text: &str,
) -> Result<CallView, Problem> {
    let missing = || Problem::not_found("no such call is in the index");
    let number = number(text).map_err(|_| missing())?;
    let query = AuditQuery { call: Some(number), most: STEPS_MAX, ..AuditQuery::default() };
    let mut found = plane.store()?.ok_or_else(missing)?.search(&query).await?;
    found.rows.retain(|row| {
        let tenant = row.tenant.as_deref().map(tollgate_model::TenantId::new);
        may.is_everywhere() || (tenant.is_some() && may.sees(tenant.as_ref()))
    });
    if found.rows.is_empty() {
        return Err(missing());
    }
    found.rows.sort_by_key(|row| (row.step, row.begin));
    let steps = found.rows.iter().map(|row| LedgerRow::of(row, &found)).collect();
    let (entries, elsewhere) = shelf::entries(plane, found.rows).await?;
    Ok(CallView { steps, entries, elsewhere })
}

/// Shows all that is on record of a call. Arguments and results are not among it.
#[utoipa::path(get, path = "/api/v1/ledger/calls/{call}", tag = "ledger", params(("call" = String, Path), Tagged),
    responses((status = 200, body = CallView)),
    extensions(("x-tollgate-permission" = json!("ledger:read"))))]
async fn call(
    may: May<ReadLedger>,
    State(plane): State<Shared>,
    headers: HeaderMap,
    At(call): At<String>,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &shown(&plane, &may, &call).await?))
}

/// Whether the record is what was written.
#[derive(Debug, Serialize, ToSchema)]
struct RecordVerdict {
    /// Whether nothing is wrong with it.
    good: bool,
    /// What was found.
    #[schema(value_type = Object)]
    report: Value,
}

/// Verifies the record of this gateway: every hash, and every signature against the keys beside it and the anchors of the
/// store. For keys that are kept elsewhere there is `tollgate audit verify`.
#[utoipa::path(post, path = "/api/v1/ledger/verify", tag = "ledger", responses((status = 200, body = RecordVerdict)),
    extensions(("x-tollgate-permission" = json!("ledger:read"))))]
async fn verify(may: May<ReadLedger>, State(plane): State<Shared>) -> Result<Response, Problem> {
    may.over(None)?;
    let report = shelf::verify(&plane).await?;
    let report =
        serde_json::to_value(&report).map(|value| RecordVerdict { good: report.is_good(), report: value });
    let report = report.map_err(|error| Problem::unavailable(error.to_string()))?;
    Ok(json(http::StatusCode::OK, serde_json::to_string(&report).unwrap_or_default()))
}
