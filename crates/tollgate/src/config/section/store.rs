//! Stored state, as it is written.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Short, keys};
use crate::config::meaning::defaults;

/// Where keys, revocations, what operators have blocked and what servers last listed are kept. What the command line changes
/// there (`tollgate keys`, `tollgate revocations`, `tollgate block`) every gateway on the same store knows within a second.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<StoreSection>()))]
#[schemars(rename = "Store")]
pub(in crate::config) struct StoreSection {
    /// A PostgreSQL database (14 or newer): `postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full`. Without it the
    /// variable `DATABASE_URL` of the environment counts; without that too, state is in a SQLite file in `data_dir`, which
    /// several processes on one machine may use at once.
    pub(in crate::config) url: Option<Short<SecretSection>>,
    /// For how long the last confirmed state may be used while the store does not answer, in milliseconds. What is revoked
    /// or blocked in this time is not known here.
    #[schemars(range(min = 0, max = 604_800_000), extend("default" = defaults::stale_max_ms()))]
    pub(in crate::config) stale_max_ms: Option<u64>,
    /// What becomes of calls after that: `refuse`, or `serve` by the last confirmed state until the store answers again. A
    /// gateway that has never reached its store refuses either way.
    pub(in crate::config) when_stale: Option<WhenStaleSection>,
}

/// What becomes of calls when the last confirmed state is too old.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "refuse"))]
#[schemars(rename = "WhenStale")]
pub(in crate::config) enum WhenStaleSection {
    Refuse,
    Serve,
}
