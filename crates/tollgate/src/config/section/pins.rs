//! The section `pins`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::keys;

/// Pins how servers define their tools, prompts, resources and instructions: what is not as it was approved is hidden and
/// refused until somebody approves it (`tollgate pins`). Without this section nothing is pinned.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PinsSection>()))]
#[schemars(rename = "Pins")]
pub(in crate::config) struct PinsSection {
    /// Whether definitions are pinned, of servers that do not say otherwise.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<bool>,
    /// What becomes of an item that nobody has approved yet.
    pub(in crate::config) first_use: Option<FirstUseSection>,
    /// What becomes of an item that is not what was approved.
    pub(in crate::config) changes: Option<PinChangesSection>,
    /// How many items of each kind are pinned of one server. What comes beyond them is hidden.
    #[schemars(range(min = 1, max = 10_000), extend("default" = 10_000))]
    pub(in crate::config) items_max: Option<usize>,
    /// How many bytes a definition may have to be kept, so that it can be shown. Of a larger one only the digest is, which is
    /// enough to tell that it changed.
    #[schemars(range(min = 1024, max = 262_144), extend("default" = 262_144))]
    pub(in crate::config) text_bytes_max: Option<usize>,
    /// A lock file, relative to this file, as `tollgate pins lock` writes it. Then what is in it is approved, and nothing
    /// else.
    pub(in crate::config) lock: Option<String>,
}

/// How one server's definitions are pinned, where that is otherwise than for all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ServerPinsSection>()))]
#[schemars(rename = "ServerPins")]
pub(in crate::config) struct ServerPinsSection {
    /// Whether they are. Default: as `pins` says.
    pub(in crate::config) enabled: Option<bool>,
    /// What becomes of an item that nobody has approved yet. Default: `pins.first_use`.
    pub(in crate::config) first_use: Option<FirstUseSection>,
    /// What becomes of an item that is not what was approved. Default: `pins.changes`.
    pub(in crate::config) changes: Option<PinChangesSection>,
}

/// What becomes of an item that nobody has approved yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "trust"))]
#[schemars(rename = "FirstUse")]
pub(in crate::config) enum FirstUseSection {
    /// It is approved by being seen, unless its name looks like another's.
    Trust,
    /// It waits to be approved.
    Approve,
}

/// What becomes of an item that is not what was approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "quarantine"))]
#[schemars(rename = "PinChanges")]
pub(in crate::config) enum PinChangesSection {
    /// It is hidden and refused until somebody approves it.
    Quarantine,
    /// It is told of, and passes.
    Report,
}
