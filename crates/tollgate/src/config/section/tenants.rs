//! Tenants, and what an operator says of servers and tools.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ServerSection, ShadowSection, ToolsetSection};
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

/// What an operator says of one tool.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ToolFactsSection>()))]
#[schemars(rename = "ToolFacts")]
pub(in crate::config) struct ToolFactsSection {
    /// How dangerous the tool is, in a word of your own. Default: the server's.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) risk: Option<String>,
    /// Whether the tool changes nothing. Wins over what the server says of it.
    pub(in crate::config) read_only: Option<bool>,
    /// Whether the tool may destroy something. Wins over what the server says of it.
    pub(in crate::config) destructive: Option<bool>,
    /// Scopes that an access token needs for the tool, beside the server's.
    pub(in crate::config) scopes: Option<Items<String>>,
}
