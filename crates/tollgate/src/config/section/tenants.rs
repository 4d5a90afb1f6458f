//! Tenants, and what an operator says of servers and tools.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{SchemasSection, ServerSection, ShadowSection, SizesSection, ToolsetSection};
use crate::config::forms::{Items, Keyed, keys};

/// What one tenant has. Beside it its callers see the servers that are `shared`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TenantSection>()))]
#[schemars(rename = "Tenant")]
pub(in crate::config) struct TenantSection {
    /// The tenant's own servers, each under its name. Another tenant may have a server of the same name, in another place
    /// and with another credential; a shared server's name is taken.
    pub(in crate::config) servers: Option<Keyed<ServerSection>>,
    /// The tenant's own toolsets, chosen from its own servers and the shared ones.
    pub(in crate::config) toolsets: Option<Keyed<ToolsetSection>>,
    /// The plan whose limits the tenant has: one of `limits.plans`. Default: `limits.plan`.
    pub(in crate::config) plan: Option<String>,
    /// The tenant's own policies.
    pub(in crate::config) policy: Option<TenantPolicySection>,
}

/// Who may do what of one tenant. Without a permit nothing is allowed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TenantPolicySection>()))]
#[schemars(rename = "TenantPolicy")]
pub(in crate::config) struct TenantPolicySection {
    /// Files, and folders of which every `*.cedar` file is taken, as in `policy.files`.
    pub(in crate::config) files: Option<Items<String>>,
    /// Policies that only look on, as in `policy.shadow`.
    pub(in crate::config) shadow: Option<ShadowSection>,
}

/// What an operator says of one tool, or of those whose names fit a pattern.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ToolFactsSection>()))]
#[schemars(rename = "ToolFacts")]
pub(in crate::config) struct ToolFactsSection {
    /// How dangerous the tool is, in a word of your own. Default: the server's.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) risk: Option<String>,
    /// Whether the tool changes nothing, so that a call of it may be made again. Wins over what the server says of it. Said by a
    /// pattern, policies do not see it.
    pub(in crate::config) read_only: Option<bool>,
    /// Whether the tool may destroy something. Wins over what the server says of it.
    pub(in crate::config) destructive: Option<bool>,
    /// Whether calling the tool again with the same arguments changes nothing further, so that a call of it may be made
    /// again. Wins over what the server says of it.
    pub(in crate::config) idempotent: Option<bool>,
    /// How long a call may take from start to response, whatever progress arrives meanwhile, in milliseconds. Default:
    /// `request_timeout_ms` of the server.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub(in crate::config) timeout_ms: Option<u64>,
    /// How long a call may take until the first of its answer is there, in milliseconds. Default: the server's.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub(in crate::config) first_byte_timeout_ms: Option<u64>,
    /// How long the server may be silent in the midst of a call, in milliseconds. Default: the server's.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub(in crate::config) idle_timeout_ms: Option<u64>,
    /// How often a call is tried again at most where it failed and may be made again. Default: the server's.
    #[schemars(range(max = 10))]
    pub(in crate::config) retries: Option<u32>,
    /// How long results of the tool are kept for whoever called it, in milliseconds, if it is known to be both `read_only` and
    /// `idempotent`. Without it none are.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub(in crate::config) cache_ttl_ms: Option<u64>,
    /// How calls are checked against the tool's schemas, where that is otherwise than for the server.
    pub(in crate::config) schemas: Option<SchemasSection>,
    /// How large the tool's arguments and results may be, where that is otherwise than for the server.
    pub(in crate::config) sizes: Option<SizesSection>,
    /// Scopes that an access token needs for the tool, beside the server's.
    pub(in crate::config) scopes: Option<Items<String>>,
}
