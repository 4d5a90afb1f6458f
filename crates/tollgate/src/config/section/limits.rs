//! Rules and plans in the section `limits`, beside the bounds of the gateway itself.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::{Items, Keyed, Several, keys};

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
    /// Methods, such as `tools/call`, `*/list`, `completion/complete` or `tasks/*`; `*` for all of them. Without it, and
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
