//! Tenants: what each has, may, and uses.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use http::HeaderMap;
use serde::Serialize;
use tollgate_model::{Holder, TenantId, Timestamp, money};
use tollgate_store::{UsageBy, UsageQuery, WhichApprovals};
use utoipa::ToSchema;

use super::{Tagged, tagged};
use crate::front::Shared;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, Permission, ReadTenants};

const DAY_MS: u64 = 86_400_000;
/// How many approvals that wait are counted.
const WAITING_MAX: usize = 1_000;
/// How many sums are read.
const SUMS_MAX: usize = 10_000;

pub(super) fn routes() -> Router<Shared> {
    Router::new().route("/api/v1/tenants", get(list))
}

/// A tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    /// The tenant.
    pub(crate) id: String,
    /// Its plan, if it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) plan: Option<String>,
    /// What its callers may use, in words.
    pub(crate) limits: Vec<TenantLimit>,
    /// Its own servers.
    pub(crate) servers: Vec<String>,
    /// How many servers it shares with every tenant.
    pub(crate) shared_servers: usize,
    /// How many agents have keys that are good.
    pub(crate) agents: usize,
    /// How many keys are good.
    pub(crate) keys: usize,
    /// How many calls wait for somebody to agree, 1000 at most.
    pub(crate) approvals_waiting: usize,
    /// How much of it is blocked: it itself, and what is its own.
    pub(crate) blocks: usize,
    /// Whether it is blocked as a whole.
    pub(crate) blocked: bool,
    /// Calls today (UTC).
    pub(crate) calls_today: u64,
    /// Calls in the last 30 days.
    pub(crate) calls: u64,
    /// Those of them that did not end well or were refused.
    pub(crate) failed: u64,
    /// What they cost: a decimal number as text.
    pub(crate) cost: String,
    /// In which currency.
    pub(crate) currency: String,
}

/// A limit of a tenant.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct TenantLimit {
    /// What it is called.
    pub(crate) name: String,
    /// What it says.
    pub(crate) says: String,
    /// Whether it is of the tenant's plan.
    pub(crate) plan: bool,
}

/// All tenants that whoever asks may see, in the order of the configuration.
pub(crate) async fn all<P: Permission>(plane: &Plane, may: &May<P>) -> Result<Vec<TenantView>, Problem> {
    let parts = plane.parts()?;
    let configured = &parts.configured;
    let tenants = configured.tenants.iter().filter(|tenant| may.sees(Some(tenant)));
    let desired = parts.follower.now();
    let now = Timestamp::now();
    let keys = desired.keys_by_tenant(now);
    let today = u32::try_from(now.as_ms() / DAY_MS).unwrap_or(u32::MAX);
    let used = match &parts.store {
        Some(store) => {
            let by = UsageBy { day: true, tenant: true, ..UsageBy::default() };
            let (since_day, until_day) = (today.saturating_sub(30), today);
            let which = UsageQuery { since_day, until_day, by, most: SUMS_MAX, ..UsageQuery::default() };
            store.usage(&which).await?
        }
        None => Vec::new(),
    };
    let blocks = crate::acts::blocks::all(plane, may).await?;
    let shared = configured.servers.iter().filter(|card| *card.server.holder() == Holder::Shared).count();
    let mut shown = Vec::new();
    for tenant in tenants {
        let plan = configured.plans.iter().find(|(of, _)| of == tenant).map(|(_, plan)| Arc::clone(plan));
        let is_own = |card: &&crate::world::ServerCard| card.server.holder().tenant() == Some(tenant);
        let own_blocks = blocks.iter().filter(|block| block.what.tenant() == Some(tenant));
        let (agents, keys) = keys.get(tenant).copied().unwrap_or_default();
        let mut view = TenantView {
            id: tenant.as_str().to_owned(),
            limits: configured
                .limits
                .iter()
                .filter(|limit| limit.plan.is_none() || limit.plan == plan)
                .map(|limit| TenantLimit {
                    name: limit.name.to_string(),
                    says: limit.says.clone(),
                    plan: limit.plan.is_some(),
                })
                .collect(),
            plan: plan.map(|plan| plan.to_string()),
            servers: configured
                .servers
                .iter()
                .filter(is_own)
                .map(|card| card.server.name().to_string())
                .collect(),
            shared_servers: shared,
            agents,
            keys,
            approvals_waiting: waiting(plane, tenant, now).await?,
            blocks: own_blocks.count(),
            blocked: blocks
                .iter()
                .any(|block| block.what.kind() == "tenant" && block.what.tenant() == Some(tenant)),
            calls_today: 0,
            calls: 0,
            failed: 0,
            cost: String::new(),
            currency: configured.currency.to_string(),
        };
        let mut cost = 0;
        for row in used.iter().filter(|row| *row.key.tenant == *tenant.as_str()) {
            if row.key.day == today {
                view.calls_today += row.sum.calls;
            }
            view.calls += row.sum.calls;
            view.failed += row.sum.errors + row.sum.refused;
            cost += row.sum.cost_nano;
        }
        view.cost = money(cost);
        shown.push(view);
    }
    Ok(shown)
}

async fn waiting(plane: &Plane, tenant: &TenantId, now: Timestamp) -> Result<usize, Problem> {
    let Some(store) = plane.store()? else { return Ok(0) };
    let which = WhichApprovals {
        tenant: Some(tenant.clone()),
        waiting_at: Some(now),
        most: WAITING_MAX,
        ..WhichApprovals::default()
    };
    Ok(store.approvals(&which).await?.len())
}

/// Lists the tenants: what each has, may, and uses.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants",
    params(Tagged), responses((status = 200, body = Vec<TenantView>)),
    extensions(("x-tollgate-permission" = json!("tenants:read"))))]
async fn list(
    may: May<ReadTenants>,
    State(plane): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(tagged(&headers, &all(&plane, &may).await?))
}
