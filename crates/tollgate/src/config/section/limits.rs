//! Rules and plans in the section `limits`, beside the bounds of the gateway itself.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use crate::config::forms::{Items, Keyed, Several, Short, keys};
use crate::config::meaning::defaults;

/// A limit. Every request that it is about is counted, once for each of what `per` tells apart. A request has to find room in
/// all limits that are about it, and is counted by none of them if one has no room.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RuleSection>()))]
#[schemars(rename = "Limit")]
pub(in crate::config) struct RuleSection {
    /// Its name, as refusals, metrics and the record say it: letters, digits, `-`, `_` and `.`, at most 64 characters.
    pub(in crate::config) name: Option<String>,
    /// What is counted apart: any of `tenant`, `agent`, `user`, `key`, `server`, `tool`, `toolset`, `endpoint` and `method`.
    /// Without it, everything that the limit is about is counted together. Agents, users, keys, toolsets and endpoints of
    /// different tenants are always counted apart; requests without an agent, user or key are counted together.
    pub(in crate::config) per: Option<Items<DimensionSection>>,
    /// Which requests it is about. Without it: all calls of tools, reads of resources and uses of prompts.
    #[serde(rename = "match")]
    pub(in crate::config) about: Option<MatchSection>,
    /// How often. A limit has exactly one of this and what follows.
    pub(in crate::config) rate: Option<RateSection>,
    /// How many may be under way at once. One that waits for its client's answer to a server's question is not under way.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) concurrency: Option<u32>,
    /// How many in an hour, a day or a month. Restarts do not begin it anew.
    pub(in crate::config) quota: Option<QuotaSection>,
    /// How many tokens, or how much money, in an hour, a day or a month. Restarts do not begin it anew.
    pub(in crate::config) budget: Option<BudgetSection>,
}

/// Which requests a limit is about: those for which all that is said holds. Each is a name, a pattern in which `*` stands for
/// anything, or a list of these of which one has to fit.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<MatchSection>()))]
#[schemars(rename = "Match")]
pub(in crate::config) struct MatchSection {
    /// Tenants.
    pub(in crate::config) tenant: Option<Several>,
    /// Agents, as policies write them.
    pub(in crate::config) agent: Option<Several>,
    /// Users, as policies write them.
    pub(in crate::config) user: Option<Several>,
    /// Ids of API keys.
    pub(in crate::config) key: Option<Several>,
    /// Servers. The limit is then about nothing that is for several, such as a merged list.
    pub(in crate::config) server: Option<Several>,
    /// Tools, as their server calls them. The limit is then about calls of tools only.
    pub(in crate::config) tool: Option<Several>,
    /// Toolsets. The limit is then about what comes at a toolset's endpoint only.
    pub(in crate::config) toolset: Option<Several>,
    /// Endpoints: the name behind `/mcp/`; empty for the merged one.
    pub(in crate::config) endpoint: Option<Several>,
    /// Methods, such as `tools/call`, `*/list`, `completion/complete` or `tasks/*`, and what servers send meanwhile:
    /// `notifications/progress` and `notifications/message`, which are dropped beyond the limit. `*` for all of them. Without it, and
    /// unless `per` has `method`: `tools/call`, `resources/read` and `prompts/get`.
    pub(in crate::config) method: Option<Several>,
}

/// How often.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RateSection>()))]
#[schemars(rename = "Rate")]
pub(in crate::config) struct RateSection {
    /// How many requests.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) requests: Option<u32>,
    /// In which time: a number and `ms`, `s`, `m` or `h`, such as `10s`. At most `24h`.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) per: Option<String>,
    /// How many may come at once after a pause. Default: as many as `requests`.
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub(in crate::config) burst: Option<u32>,
}

/// How many in a window of the calendar. A gateway takes a hundredth of it at a time, at most 1000, from what is stored, and gives
/// that out by itself: so much is lost for the window when it is killed, and never given out twice.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<QuotaSection>()))]
#[schemars(rename = "Quota")]
pub(in crate::config) struct QuotaSection {
    /// How many requests. All rounds of one are one.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub(in crate::config) calls: Option<u64>,
    /// In which window.
    #[schemars(extend("default" = "day"))]
    pub(in crate::config) every: Option<EverySection>,
}

/// How much may be used up in a window of the calendar. What a request uses is known when its server has answered: those under
/// way when the last of a budget is used up are seen through.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<BudgetSection>()))]
#[schemars(rename = "Budget")]
pub(in crate::config) struct BudgetSection {
    /// How many estimated tokens of arguments and results. This or `cost`.
    #[schemars(range(min = 1, max = 1_000_000_000_000_u64))]
    pub(in crate::config) tokens: Option<u64>,
    /// How much money, by the prices of `usage.prices`.
    #[schemars(range(min = 0.000_001, max = 1_000_000_000))]
    pub(in crate::config) cost: Option<f64>,
    /// In which window.
    #[schemars(extend("default" = "day"))]
    pub(in crate::config) every: Option<EverySection>,
    /// The share of it at which operators are told, once for each window: 0.8 is 80 percent. Of a soft budget
    /// without it: 1.
    #[schemars(range(min = 0.001, max = 1))]
    pub(in crate::config) warn_at: Option<f64>,
    /// Whether operators are only told, and nothing is refused.
    #[schemars(extend("default" = false))]
    pub(in crate::config) soft: Option<bool>,
}

/// A window of the calendar, in the time zone of `limits.timezone`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Every")]
pub(in crate::config) enum EverySection {
    Hour,
    #[default]
    Day,
    Month,
}

/// What requests are told apart by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "Dimension")]
pub(in crate::config) enum DimensionSection {
    Tenant,
    Agent,
    User,
    Key,
    Server,
    Tool,
    Toolset,
    Endpoint,
    Method,
}

/// When agents are taken to have run away: each is first slowed, then paused, and operators are told. A configuration that is taken
/// over anew ends all pauses.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RunawaySection>()))]
#[schemars(rename = "Runaway")]
pub(in crate::config) struct RunawaySection {
    /// How many of the same call, with the same arguments, an agent may make beyond `repeats_per_s` before it is paused. From
    /// half of it on each is slowed.
    #[schemars(range(min = 2, max = 1_000_000), extend("default" = defaults::runaway().repeats_max))]
    pub(in crate::config) repeats_max: Option<u32>,
    /// How often an agent may make the same call for as long as it likes, as to ask whether something is done.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::runaway().repeats_per_s))]
    pub(in crate::config) repeats_per_s: Option<u32>,
    /// How many times as many calls as in the ten minutes before an agent may make. Beyond it is slowed, at twice as many paused.
    /// An agent that began less than ten minutes ago has nothing to be compared with.
    #[schemars(range(min = 2, max = 1_000_000), extend("default" = defaults::runaway().surge))]
    pub(in crate::config) surge: Option<u32>,
    /// How many calls within ten seconds are no surge, whatever there was before.
    #[schemars(range(min = 1, max = 1_000_000_000), extend("default" = defaults::runaway().surge_min))]
    pub(in crate::config) surge_min: Option<u32>,
    /// By how much a call is slowed, in milliseconds.
    #[schemars(range(min = 1, max = 60_000), extend("default" = defaults::ms(defaults::runaway().slow)))]
    pub(in crate::config) slow_ms: Option<u64>,
    /// How long an agent is paused, in milliseconds.
    #[schemars(range(min = 1000, max = 86_400_000), extend("default" = defaults::ms(defaults::runaway().pause)))]
    pub(in crate::config) pause_ms: Option<u64>,
    /// Who is told when an agent is paused.
    pub(in crate::config) webhook: Option<RunawayWebhookSection>,
}

/// A web server that is told by POST, as Standard Webhooks describe it. No call waits for it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RunawayWebhookSection>()))]
#[schemars(rename = "RunawayWebhook")]
pub(in crate::config) struct RunawayWebhookSection {
    /// Where: `https`, or `http` on a loopback address.
    pub(in crate::config) url: Option<String>,
    /// The key of its signatures, at least 16 bytes.
    pub(in crate::config) secret: Option<Short<SecretSection>>,
    /// Whether it may be at a private or loopback address.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
}

/// A set of limits that tenants refer to by its name. Each tenant is counted apart.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PlanSection>()))]
#[schemars(rename = "Plan")]
pub(in crate::config) struct PlanSection {
    /// Its limits.
    pub(in crate::config) rules: Option<Items<RuleSection>>,
}

/// Plans by their names.
pub(in crate::config) type PlansSection = Keyed<PlanSection>;
