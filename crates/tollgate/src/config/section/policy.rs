//! The `policy` section.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::{Items, keys};

/// Who may do what, in Cedar: see the reference of policies. With this section, and without a permit in its files, nothing
/// is allowed.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PolicySection>()))]
#[schemars(rename = "Policy")]
pub(in crate::config) struct PolicySection {
    /// The policies of the tenant `default`: files, and folders of which every `*.cedar` file is taken, also in folders
    /// below them. Relative to this file. They are read again when they change.
    pub(in crate::config) files: Option<Items<String>>,
    /// The operator's own: forbids that hold for the callers of every tenant. Files and folders, as `files`.
    pub(in crate::config) operator: Option<Items<String>>,
}
