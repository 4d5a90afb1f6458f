//! The index of the ledger, and what calls cost: the sections `ledger.index` and `usage`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::{Items, keys};
use crate::config::meaning::defaults;

/// The index by which `tollgate audit search` and `tollgate usage` find what happened. It is kept in the store, and made again
/// from the ledger when it is lost. A change takes effect after a restart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<IndexSection>()))]
#[schemars(rename = "Index")]
pub(in crate::config) struct IndexSection {
    /// Whether there is one. Without it nothing is known of usage either.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<bool>,
    /// How long calls are found, in days. How long they are on record is another matter.
    #[schemars(range(min = 1, max = 36_500), extend("default" = defaults::days(defaults::index().age_max)))]
    pub(in crate::config) age_max_days: Option<u32>,
}

/// How much was used, and what it costs: per day, tenant, agent, server and tool. A change takes effect after a restart, and
/// for calls from then on.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<UsageSection>()))]
#[schemars(rename = "Usage")]
pub(in crate::config) struct UsageSection {
    /// What the prices are in, such as `EUR`. It is only shown.
    #[schemars(length(min = 1, max = 16))]
    pub(in crate::config) currency: Option<String>,
    /// How long the sums are kept, in days.
    #[schemars(range(min = 1, max = 36_500), extend("default" = defaults::days(defaults::index().usage_age_max)))]
    pub(in crate::config) age_max_days: Option<u32>,
    /// By what budgets count tokens: `bytes` takes one for every four bytes, `cl100k_base` and `o200k_base` count as GPT-4 and
    /// GPT-4o do. Reports of usage always take one for every four bytes.
    #[schemars(extend("default" = "bytes"))]
    pub(in crate::config) tokens: Option<TokensSection>,
    /// What calls cost. The first price that fits a call counts, and the costs are added up by the prices of their time. A
    /// call that no price fits costs nothing, and neither does one that was refused.
    pub(in crate::config) prices: Option<Items<PriceSection>>,
}

/// By what tokens are counted: a token for every four bytes, or as GPT-4 (`cl100k_base`) or GPT-4o (`o200k_base`) counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "Tokens")]
pub(in crate::config) enum TokensSection {
    Bytes,
    Cl100kBase,
    O200kBase,
}

/// What calls of something cost.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PriceSection>()))]
#[schemars(rename = "Price")]
pub(in crate::config) struct PriceSection {
    /// Only calls of this tenant.
    pub(in crate::config) tenant: Option<String>,
    /// Only calls of this server.
    pub(in crate::config) server: Option<String>,
    /// Only calls of the tool that its server calls by this name. Case is not looked at.
    pub(in crate::config) tool: Option<String>,
    /// Each call that reached its server. All rounds of one call are one.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) per_call: Option<f64>,
    /// A million estimated tokens of results.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) per_million_result_tokens: Option<f64>,
    /// A million estimated tokens of arguments.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) per_million_argument_tokens: Option<f64>,
    /// A MiB (1,048,576 bytes) of requests and responses.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub(in crate::config) per_mib: Option<f64>,
}
