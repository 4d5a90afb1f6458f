//! The section `sizes`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::keys;

/// How large and deep arguments and results may be, beside the bounds of whole messages (`limits`). What is not said has no
/// bound.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SizesSection>()))]
#[schemars(rename = "Sizes")]
pub(in crate::config) struct SizesSection {
    /// Arguments of calls and prompts. Of a call what is too large is told as a tool that failed, so that a model can do with
    /// less.
    pub(in crate::config) arguments: Option<BoundsSection>,
    /// Results of calls, reads and prompts.
    pub(in crate::config) results: Option<BoundsSection>,
    /// What becomes of a result that is too large.
    pub(in crate::config) when_larger: Option<WhenLargerSection>,
}

/// How large and deep something may be.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<BoundsSection>()))]
#[schemars(rename = "Bounds")]
#[expect(clippy::struct_field_names, reason = "the keys of the file, which name their unit last")]
pub(in crate::config) struct BoundsSection {
    /// How many bytes it may have.
    #[schemars(range(min = 1024, max = 1_073_741_824))]
    pub(in crate::config) bytes_max: Option<u64>,
    /// How many tokens it may have, at four bytes each.
    #[schemars(range(min = 256, max = 268_435_456))]
    pub(in crate::config) tokens_max: Option<u64>,
    /// How deeply arrays and objects may nest in it.
    #[schemars(range(min = 1, max = 128))]
    pub(in crate::config) depth_max: Option<u64>,
    /// How many values may be in it.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub(in crate::config) nodes_max: Option<u64>,
    /// How many bytes one text in it may have.
    #[schemars(range(min = 1, max = 1_073_741_824))]
    pub(in crate::config) string_bytes_max: Option<u64>,
}

/// What becomes of a result that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "refuse"))]
#[schemars(rename = "WhenLarger")]
pub(in crate::config) enum WhenLargerSection {
    /// It is refused.
    Refuse,
    /// Its texts are cut, and a notice says so. What is too large otherwise than in bytes or tokens is refused.
    Cut,
    /// The same, and all of it is kept for a while (`limits.aside_kept_ms`), for its caller to read page by page by a link.
    Aside,
}
