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
    /// Policies that only look on, to be tried on live calls before they decide.
    pub(in crate::config) shadow: Option<ShadowSection>,
    /// Whether policies that are written in the console or by the API count too, beside those of files. Who may write them
    /// there (the roles `admin` and `security`) can then permit anything to the callers of the tenants that their role is about.
    #[schemars(extend("default" = false))]
    pub(in crate::config) stored: Option<bool>,
    /// Whether nobody can have a version look on or decide that they wrote themselves.
    #[schemars(extend("default" = false))]
    pub(in crate::config) four_eyes: Option<bool>,
}

/// Policies that would take the place of `files`. They are checked and decide as those do, and nothing acts on what they
/// say: where it is something else than what was decided, that is counted, logged and put on record. Whatever is wrong with
/// them, the gateway serves.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ShadowSection>()))]
#[schemars(rename = "ShadowPolicy")]
pub(in crate::config) struct ShadowSection {
    /// Files, and folders of which every `*.cedar` file is taken. `policy.operator` holds beside them.
    pub(in crate::config) files: Option<Items<String>>,
}
