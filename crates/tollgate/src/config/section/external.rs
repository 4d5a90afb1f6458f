//! The key `external` of the section `guard`.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{GuardActionSection, SecretSection};
use crate::config::forms::{Items, Keyed, Short, keys};
use crate::config::meaning::defaults;

/// In which words a guard is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "tollgate"))]
#[schemars(rename = "ExternalKind")]
pub(in crate::config) enum ExternalKindSection {
    /// Those of `docs/external-guards.md`.
    Tollgate,
    /// Those of the analyzer of Microsoft Presidio (`POST /analyze`).
    Presidio,
    /// Those of a service that classifies texts, as `classifier` says.
    Classifier,
}

/// What a guard is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "both"))]
#[schemars(rename = "ExternalDirection")]
pub(in crate::config) enum ExternalDirectionSection {
    /// What servers answer, and what they say meanwhile.
    Results,
    /// The arguments of calls and prompts.
    Arguments,
    Both,
}

/// What becomes of what a guard could not be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "refuse"))]
#[schemars(rename = "OnFailure")]
pub(in crate::config) enum OnFailureSection {
    /// It does not pass: `guard_unavailable`.
    Refuse,
    /// It passes as it is, which is on record.
    Pass,
}

/// A guard outside of the gateway.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ExternalGuardSection>()))]
#[schemars(rename = "ExternalGuard")]
pub(in crate::config) struct ExternalGuardSection {
    /// Where it is asked: `https`, or `http` on a loopback address, such as `http://127.0.0.1:3000/analyze`.
    pub(in crate::config) url: Option<String>,
    /// In which words it is spoken to.
    pub(in crate::config) kind: Option<ExternalKindSection>,
    /// What it is asked about.
    pub(in crate::config) direction: Option<ExternalDirectionSection>,
    /// The tenants whose requests it is asked about. Default: all.
    pub(in crate::config) tenants: Option<Items<String>>,
    /// The servers that it is asked about. Default: all.
    pub(in crate::config) servers: Option<Items<String>>,
    /// The tools that it is asked about, as `SERVER/TOOL` by the server's own names. Default: all, and prompts and resources.
    pub(in crate::config) tools: Option<Items<String>>,
    /// How long it may take for one message, in milliseconds.
    #[schemars(range(min = 1, max = 60_000), extend("default" = defaults::ms(defaults::external_guard().timeout)))]
    pub(in crate::config) timeout_ms: Option<u64>,
    /// What becomes of a message that it could not be asked about: it did not answer, or what cannot be understood, or the message
    /// has more text than `request_bytes_max`.
    pub(in crate::config) on_failure: Option<OnFailureSection>,
    /// The most bytes of text that it is asked about for one message.
    #[schemars(range(min = 1024, max = 67_108_864), extend("default" = defaults::external_guard().request_bytes_max))]
    pub(in crate::config) request_bytes_max: Option<usize>,
    /// The longest answer.
    #[schemars(range(min = 1024, max = 67_108_864), extend("default" = defaults::external_guard().answer_bytes_max))]
    pub(in crate::config) answer_bytes_max: Option<usize>,
    /// How many messages are shown to it at once; others wait, within `timeout_ms`.
    #[schemars(range(min = 1, max = 10_000), extend("default" = defaults::external_guard().concurrency_max))]
    pub(in crate::config) concurrency_max: Option<usize>,
    /// After how many failures in a row it is left alone for a while: everything is a failure then.
    #[schemars(range(min = 1, max = 1000), extend("default" = defaults::external_guard().failures_max))]
    pub(in crate::config) failures_max: Option<u32>,
    /// How long it is left alone then, in milliseconds, before one message is shown to it. It doubles, four times at most, while
    /// that fails.
    #[schemars(range(min = 100, max = 600_000), extend("default" = defaults::ms(defaults::external_guard().open)))]
    pub(in crate::config) open_ms: Option<u64>,
    /// The key that requests are signed with, at least 16 bytes: `webhook-id`, `webhook-timestamp` and `webhook-signature`, as Standard
    /// Webhooks describe them.
    pub(in crate::config) secret: Option<Short<SecretSection>>,
    /// Headers that go along, such as `Authorization`.
    pub(in crate::config) headers: Option<Keyed<Short<SecretSection>>>,
    /// Whether it may be at a private or loopback address.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_private_addresses: Option<bool>,
    /// Whether it may be asked by `http` beyond this machine. Whoever is on the way reads and changes what it is asked and says.
    #[schemars(extend("default" = false))]
    pub(in crate::config) allow_plain_http: Option<bool>,
    /// PEM file with the certificate authorities to trust instead of the platform's. Relative to this file.
    pub(in crate::config) ca_file: Option<String>,
    /// How an analyzer is asked, and what becomes of what it finds: for the kind `presidio`.
    pub(in crate::config) presidio: Option<PresidioSection>,
    /// How a classifier is asked and understood: for the kind `classifier`.
    pub(in crate::config) classifier: Option<ClassifierSection>,
}

/// How an analyzer is asked, and what becomes of what it finds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<PresidioSection>()))]
#[schemars(rename = "Presidio")]
pub(in crate::config) struct PresidioSection {
    /// The language that it is told texts are in.
    #[schemars(length(min = 2, max = 16), extend("default" = "en"))]
    pub(in crate::config) language: Option<String>,
    /// What it looks for, such as `PERSON`. Default: everything that it knows.
    pub(in crate::config) entities: Option<Items<String>>,
    /// How sure it has to be, in percent.
    #[schemars(range(min = 0, max = 100), extend("default" = 50))]
    pub(in crate::config) confidence_min: Option<u8>,
    /// What becomes of what it finds. Default: `mask`. In arguments too: what they become is decided by policy again.
    pub(in crate::config) action: Option<GuardActionSection>,
    /// What becomes of single kinds, such as `US_SSN`.
    pub(in crate::config) actions: Option<Keyed<GuardActionSection>>,
}

/// How a classifier is asked and understood.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ClassifierSection>()))]
#[schemars(rename = "Classifier")]
pub(in crate::config) struct ClassifierSection {
    /// The request: JSON with one text `{{text}}`, in place of which a text stands, or `{{texts}}`, for a list of all texts of the
    /// message.
    pub(in crate::config) request: Option<String>,
    /// Where the answer to `{{texts}}` has the list of results: a JSON pointer. Default: it is the list.
    pub(in crate::config) items: Option<String>,
    /// Where a text's result has its label: a JSON pointer.
    #[schemars(extend("default" = "/label"))]
    pub(in crate::config) label: Option<String>,
    /// Where it has its score, a number from 0 to 1 or a truth value: a JSON pointer.
    pub(in crate::config) score: Option<String>,
    /// What becomes of a text: the first rule that fits. One that none fits passes.
    pub(in crate::config) rules: Option<Items<ClassifierRuleSection>>,
}

/// What becomes of a text of which this is said.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<ClassifierRuleSection>()))]
#[schemars(rename = "ClassifierRule")]
pub(in crate::config) struct ClassifierRuleSection {
    /// Its name, on record. Default: the label.
    #[schemars(length(min = 1, max = 64))]
    pub(in crate::config) name: Option<String>,
    /// The label that it is about. Default: any.
    pub(in crate::config) label: Option<String>,
    /// Where its score is, if it has one of its own.
    pub(in crate::config) score: Option<String>,
    /// How high the score has to be, in percent.
    #[schemars(range(min = 0, max = 100), extend("default" = 50))]
    pub(in crate::config) confidence_min: Option<u8>,
    /// What becomes of the whole text. Default: `block`.
    pub(in crate::config) action: Option<GuardActionSection>,
}
