//! `retention` in the `ledger` section.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::{Keyed, keys};

/// How long the record is kept. Whole files go, the oldest first; that they went stands in the record. Nothing goes that an
/// export or the index has not had yet, unless it lies too far behind.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RetentionSection>()))]
#[schemars(rename = "Retention")]
pub(in crate::config) struct RetentionSection {
    /// The age after which entries go, in days. Default: none go for their age.
    #[schemars(range(min = 1, max = 36_500))]
    pub(in crate::config) age_days_max: Option<u64>,
    /// How many bytes are kept; beyond them the oldest go. Default: no bound.
    #[schemars(range(min = 1_048_576, max = 1_125_899_906_842_624_u64))]
    pub(in crate::config) bytes_max: Option<u64>,
    /// Tenants with an age of their own.
    pub(in crate::config) tenants: Option<Keyed<TenantRetentionSection>>,
}

/// How long the record of a tenant is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<TenantRetentionSection>()))]
#[schemars(rename = "TenantRetention")]
pub(in crate::config) struct TenantRetentionSection {
    /// The age in days. Where it is longer than that of others, files stay for so long, without the others' payloads and names;
    /// where it is shorter, this tenant's payloads and names are erased from files that stay.
    #[schemars(range(min = 1, max = 36_500))]
    pub(in crate::config) age_days_max: Option<u64>,
}
