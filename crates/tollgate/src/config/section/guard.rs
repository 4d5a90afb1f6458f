//! The section `guard`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::SecretSection;
use super::external::ExternalGuardSection;
use crate::config::forms::{Items, Keyed, Several, Short, keys};
use crate::config::meaning::defaults;

/// What is looked for in arguments, results and definitions: personal data, secrets, and text that is meant for the model. What is found is
/// on record and in metrics, never itself. `docs/reference/guards.md` lists the rules with how well they do.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<GuardSection>()))]
#[schemars(rename = "Guard")]
pub(in crate::config) struct GuardSection {
    /// What is looked for in what servers answer to calls, reads, prompts and completions, and in what they say meanwhile: progress
    /// and lines of their log.
    pub(in crate::config) results: Option<ResultsGuardSection>,
    /// What is looked for in the arguments of calls and prompts.
    pub(in crate::config) arguments: Option<ArgumentsGuardSection>,
    /// What is looked for in what servers define: tools, prompts, resources and templates in lists, and instructions.
    pub(in crate::config) definitions: Option<DefinitionsGuardSection>,
    /// The most bytes of arguments, of a result or of a notification that are looked at.
    #[schemars(range(min = 1024, max = 1_073_741_824), extend("default" = defaults::guard_bound().bytes_max))]
    pub(in crate::config) inspect_bytes_max: Option<usize>,
    /// What becomes of what has more bytes, where the mode is `act`.
    pub(in crate::config) beyond: Option<BeyondSection>,
    /// Own patterns, each under its name: letters, digits, `-` and `_`, at most 32 characters. The rule of one is `own.NAME`.
    pub(in crate::config) patterns: Option<Keyed<PatternSection>>,
    /// Files of rules, relative to this file: `docs/guards.md` describes them. The rule of one is `own.ID`.
    pub(in crate::config) rule_files: Option<Items<String>>,
    /// Guards outside of the gateway that are asked over HTTP, each under its name, in this order: `docs/external-guards.md`.
    pub(in crate::config) external: Option<Keyed<ExternalGuardSection>>,
    /// What is otherwise for some tenants, servers and tools, 64 of these at most. What is more specific holds: first by `tool`, then by
    /// `server`, then by `tenant`, a name more than a pattern; and of two that are as specific the later one.
    pub(in crate::config) overrides: Option<Items<OverrideSection>>,
    /// The names that stand for texts.
    pub(in crate::config) pseudonyms: Option<PseudonymsSection>,
}

/// The names that stand for texts, each caller's apart. They are kept in the memory of one gateway, or with `key` in the store.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PseudonymsSection>()))]
#[schemars(rename = "Pseudonyms")]
pub(in crate::config) struct PseudonymsSection {
    /// A caller's names are forgotten when it has used none of them for so many seconds.
    #[schemars(range(min = 1, max = 86_400), extend("default" = 3_600))]
    pub(in crate::config) idle_s: Option<u32>,
    /// How many names one caller may have. What comes then is masked.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 10_000))]
    pub(in crate::config) texts_max: Option<u32>,
    /// A secret of 32 bytes or more that all gateways on one `store` have: then they know the names that any of them gave to a modern
    /// client. The store has them sealed by it.
    pub(in crate::config) key: Option<Short<SecretSection>>,
}

/// What is otherwise for some tenants, servers and tools.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<OverrideSection>()))]
#[schemars(rename = "GuardOverride")]
pub(in crate::config) struct OverrideSection {
    /// What it is about.
    #[serde(rename = "match")]
    pub(in crate::config) about: Option<GuardMatchSection>,
    /// What is otherwise in results: what is not said here stays as it is.
    pub(in crate::config) results: Option<ResultsGuardSection>,
    /// What is otherwise in arguments.
    pub(in crate::config) arguments: Option<ArgumentsGuardSection>,
    /// What is otherwise in definitions. Those of a server that all tenants share are the same for each of them: `tenant` does not
    /// tell them apart.
    pub(in crate::config) definitions: Option<DefinitionsGuardSection>,
    /// What is otherwise at some places. Of two the longer `path` holds, and a name more than `*`.
    pub(in crate::config) fields: Option<Items<FieldSection>>,
    /// Whether the names that stand for texts (`pseudonym`) become these texts again in arguments. Default: `false`.
    pub(in crate::config) restore: Option<bool>,
}

/// For which tenants, servers and tools something is otherwise: names, or patterns in which `*` stands for anything.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<GuardMatchSection>()))]
#[schemars(rename = "GuardMatch")]
pub(in crate::config) struct GuardMatchSection {
    /// Tenants.
    pub(in crate::config) tenant: Option<Several>,
    /// Servers.
    pub(in crate::config) server: Option<Several>,
    /// Tools, as their server calls them. It is about calls of tools then, and about their definitions.
    pub(in crate::config) tool: Option<Several>,
}

/// Where something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "GuardPlace")]
pub(in crate::config) enum GuardPlaceSection {
    /// In results, and what servers say meanwhile.
    Results,
    /// In arguments.
    Arguments,
    /// In definitions.
    Definitions,
}

/// What is otherwise at one place.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<FieldSection>()))]
#[schemars(rename = "GuardField")]
pub(in crate::config) struct FieldSection {
    /// In which direction. Default: `results`.
    #[serde(rename = "in")]
    pub(in crate::config) place: Option<GuardPlaceSection>,
    /// The way to it, as a JSON pointer (RFC 6901) from the result, the arguments or the item of a list, in which `*` is any name or
    /// number: `/structuredContent/contacts/*/email`. It is about everything beneath, too.
    pub(in crate::config) path: Option<String>,
    /// What becomes of personal data there.
    pub(in crate::config) personal: Option<GuardActionSection>,
    /// What becomes of secrets there.
    pub(in crate::config) secret: Option<GuardActionSection>,
    /// What becomes of injections there.
    pub(in crate::config) injection: Option<GuardActionSection>,
    /// What becomes of what single rules find there, by their ids.
    pub(in crate::config) rules: Option<Keyed<GuardActionSection>>,
}

/// What becomes of what is too large to be looked at. It never passes unseen without being on record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "refuse"))]
#[schemars(rename = "Beyond")]
pub(in crate::config) enum BeyondSection {
    /// It does not pass: `guard_blocked`.
    Refuse,
    /// It passes, and is on record.
    Report,
}

/// Whether it is looked, and what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "report"))]
#[schemars(rename = "GuardMode")]
pub(in crate::config) enum GuardModeSection {
    /// Nothing is looked for.
    Off,
    /// What is found is on record, and passes.
    Report,
    /// What is said of each rule is done.
    Act,
}

/// What becomes of what is found in results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "GuardAction")]
pub(in crate::config) enum GuardActionSection {
    /// It is not looked for.
    Off,
    /// It stays.
    Report,
    /// What it was stands there: `[redacted:email]`.
    Mask,
    /// Some of it stays: the last four digits, the first letter and the host of an address, the beginning of a key.
    Partial,
    /// A keyed digest stands there, the same for the same text, tenant and run of the gateway.
    Hash,
    /// A name stands there, the same for the same text and caller: `<EMAIL_1>`. Where a client passes it back to a tool that may have
    /// it (`restore`), the text itself leaves.
    Pseudonym,
    /// It goes, and nothing stands there.
    Strip,
    /// The whole text that it stands in becomes `[redacted]`.
    Drop,
    /// The whole text that it stands in is put between `<untrusted-data>` and `</untrusted-data>`.
    Fence,
    /// Arguments wait until somebody of the group `approvers` agrees to them, a definition until an operator approves it (`pins`).
    /// Nothing that can be done in results.
    Hold,
    /// The answer is withheld: `guard_blocked`.
    Block,
}

/// What becomes of what is found in arguments. Policy decides again on arguments that were changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "ArgumentsAction")]
pub(in crate::config) enum ArgumentsActionSection {
    /// It is not looked for.
    Off,
    /// It passes.
    Report,
    /// What it was stands there: `[redacted:email]`.
    Mask,
    /// Some of it stays.
    Partial,
    /// A keyed digest stands there.
    Hash,
    /// It goes, and nothing stands there.
    Strip,
    /// The whole text that it stands in becomes `[redacted]`.
    Drop,
    /// The request waits until somebody of the group `approvers` agrees to it. What nobody can be asked about is refused.
    Hold,
    /// The request is refused: `guard_blocked`.
    Block,
}

/// What becomes of what is found in definitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "DefinitionsAction")]
pub(in crate::config) enum DefinitionsActionSection {
    /// It is not looked for.
    Off,
    /// It stays.
    Report,
    /// It goes, and nothing stands there. From a name, a URI or a demand of a schema nothing can be taken: then the item is
    /// left out as by `block`.
    Strip,
    /// The whole text that it stands in is put between `<untrusted-data>` and `</untrusted-data>`.
    Fence,
    /// The item is hidden and refused until an operator approves it: `quarantined`. It needs `pins`; of a server whose definitions are
    /// not pinned it is left out as by `block`.
    Hold,
    /// The item is left out of lists, and who uses it is refused: `guard_blocked`. Instructions are left out.
    Block,
}

/// What is looked for in results.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ResultsGuardSection>()))]
#[schemars(rename = "ResultsGuard")]
pub(in crate::config) struct ResultsGuardSection {
    /// Whether it is looked, and what comes of it.
    pub(in crate::config) mode: Option<GuardModeSection>,
    /// What becomes of personal data. Default: `mask`.
    pub(in crate::config) personal: Option<GuardActionSection>,
    /// What becomes of secrets. Default: `mask`.
    pub(in crate::config) secret: Option<GuardActionSection>,
    /// What becomes of injections. Default: characters that hide are stripped (`strip`), everything else is only reported.
    pub(in crate::config) injection: Option<GuardActionSection>,
    /// What becomes of what single rules find, by their ids. One that is not on by itself is on if it is here.
    pub(in crate::config) rules: Option<Keyed<GuardActionSection>>,
}

/// What is looked for in arguments.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ArgumentsGuardSection>()))]
#[schemars(rename = "ArgumentsGuard")]
pub(in crate::config) struct ArgumentsGuardSection {
    /// Whether it is looked, and what comes of it.
    pub(in crate::config) mode: Option<GuardModeSection>,
    /// What becomes of personal data. Default: `report`.
    pub(in crate::config) personal: Option<ArgumentsActionSection>,
    /// What becomes of secrets. Default: `block`.
    pub(in crate::config) secret: Option<ArgumentsActionSection>,
    /// What becomes of injections. Default: `report`.
    pub(in crate::config) injection: Option<ArgumentsActionSection>,
    /// What becomes of what single rules find, by their ids. One that is not on by itself is on if it is here.
    pub(in crate::config) rules: Option<Keyed<ArgumentsActionSection>>,
}

/// What is looked for in definitions.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<DefinitionsGuardSection>()))]
#[schemars(rename = "DefinitionsGuard")]
pub(in crate::config) struct DefinitionsGuardSection {
    /// Whether it is looked, and what comes of it.
    pub(in crate::config) mode: Option<GuardModeSection>,
    /// What becomes of personal data. Default: `report`.
    pub(in crate::config) personal: Option<DefinitionsActionSection>,
    /// What becomes of secrets. Default: `report`.
    pub(in crate::config) secret: Option<DefinitionsActionSection>,
    /// What becomes of injections. Default: characters that hide are stripped (`strip`), everything else is only reported.
    pub(in crate::config) injection: Option<DefinitionsActionSection>,
    /// What becomes of what single rules find, by their ids. One that is not on by itself is on if it is here.
    pub(in crate::config) rules: Option<Keyed<DefinitionsActionSection>>,
}

/// A pattern.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PatternSection>()))]
#[schemars(rename = "Pattern")]
pub(in crate::config) struct PatternSection {
    /// A regular expression, without look-around and references back. What it finds is at most 512 bytes long.
    pub(in crate::config) expression: Option<String>,
    /// Words of which one has to begin a word of the 56 bytes before it, or of the name of the member that it is the value of.
    /// Without them it stands for itself.
    pub(in crate::config) words: Option<Items<String>>,
}
