//! The section `schemas`.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::forms::keys;

/// Whether calls are checked against the schemas that tools declare (JSON Schema, 2020-12 where a schema says nothing else).
/// Nothing is fetched for a schema, and what would take too long to check is not checked.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<SchemasSection>()))]
#[schemars(rename = "Schemas")]
pub(in crate::config) struct SchemasSection {
    /// Arguments against `inputSchema`. What does not fit is told as a tool that failed, so that a model can correct it.
    pub(in crate::config) arguments: Option<SchemaModeSection>,
    /// `structuredContent` of results against `outputSchema`.
    pub(in crate::config) results: Option<SchemaModeSection>,
    /// Arguments that `inputSchema` does not name, as far as that can be told from the top of it.
    pub(in crate::config) unknown_members: Option<UnknownMembersSection>,
}

/// Whether something is checked against a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "off"))]
#[schemars(rename = "SchemaMode")]
pub(in crate::config) enum SchemaModeSection {
    /// It is not.
    Off,
    /// What does not fit is on record, and passes.
    Report,
    /// What does not fit, or cannot be checked, is refused.
    Strict,
}

/// What becomes of arguments that a tool's schema does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "allow"))]
#[schemars(rename = "UnknownMembers")]
pub(in crate::config) enum UnknownMembersSection {
    /// They pass, unless the schema itself forbids them.
    Allow,
    /// They are taken out, and policy decides again on what is left.
    Strip,
    /// The call is refused.
    Refuse,
}
