//! The `ledger` section.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ExportSection, IndexSection, RetentionSection, SecretSection};
use crate::config::forms::{Items, Short, keys};
use crate::config::meaning::defaults;

/// The record of everything that passes: what was called, by whom, what was decided, and what became of it. It is kept in
/// `data_dir`, which several processes on one machine may share. A change takes effect after a restart, but for
/// `when_unwritable`, `retention` and `export`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<LedgerSection>()))]
#[schemars(rename = "Ledger")]
pub(in crate::config) struct LedgerSection {
    /// Whether anything is recorded.
    #[schemars(extend("default" = true))]
    pub(in crate::config) enabled: Option<bool>,
    /// When an entry counts as written, which a call waits for before its server sees it. `process`: when the operating system
    /// has it; it survives the end of the gateway, however that comes. `power`: when the disk has it; it survives a loss of
    /// power too, and each call waits for the disk.
    pub(in crate::config) durability: Option<DurabilitySection>,
    /// How much of arguments and results is kept, where no policy says so (`@record`).
    pub(in crate::config) record: Option<RecordSection>,
    /// The largest arguments or result that are kept whole, in bytes. Of larger ones only digests are.
    #[schemars(range(min = 0, max = 16_777_216), extend("default" = defaults::ledger().payload_bytes_max))]
    pub(in crate::config) payload_bytes_max: Option<usize>,
    /// What becomes of calls while the ledger cannot be written, as on a full disk: `refuse` them, or `degrade`: serve them
    /// without a record, say so loudly, and record how many there were when it can be written again.
    pub(in crate::config) when_unwritable: Option<WhenUnwritableSection>,
    /// How many calls may be under way between their intent and their outcome at once. When full, a call is refused.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = defaults::ledger().open_max))]
    pub(in crate::config) open_max: Option<usize>,
    /// The size after which a new file begins, in bytes.
    #[schemars(range(min = 65_536, max = 4_294_967_296_u64), extend("default" = defaults::ledger().segment_bytes_max))]
    pub(in crate::config) segment_bytes_max: Option<u64>,
    /// The age after which a new file begins, in milliseconds.
    #[schemars(range(min = 1000, max = 31_536_000_000_u64), extend("default" = defaults::ms(defaults::ledger().segment_age_max)))]
    pub(in crate::config) segment_age_ms_max: Option<u64>,
    /// The key that signs the record: an Ed25519 private key, PKCS#8 in PEM. Without it the variables
    /// `TOLLGATE_LEDGER_SIGNING_KEY` or `TOLLGATE_LEDGER_SIGNING_KEY_FILE` count; without those too, one is made at the first
    /// start and kept beside the record.
    pub(in crate::config) signing_key: Option<Short<SecretSection>>,
    /// The key under which arguments, results and names are kept: 32 bytes in base64. Without it the variables
    /// `TOLLGATE_LEDGER_KEY` or `TOLLGATE_LEDGER_KEY_FILE` count; without those too, one is made at the first start and kept
    /// beside the record.
    pub(in crate::config) encryption_key: Option<Short<SecretSection>>,
    /// How long it is kept. Default: for good. A change takes effect at once.
    pub(in crate::config) retention: Option<RetentionSection>,
    /// Who receives what is recorded. A change takes effect at once.
    pub(in crate::config) export: Option<Items<ExportSection>>,
    /// The index by which it is searched.
    pub(in crate::config) index: Option<IndexSection>,
}

impl LedgerSection {
    pub(in crate::config) fn index(&self) -> Option<&IndexSection> {
        self.index.as_ref()
    }
}

/// How much of arguments and results is kept.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(extend("x-order" = keys::<RecordSection>()))]
#[schemars(rename = "Record")]
pub(in crate::config) struct RecordSection {
    /// Of arguments, and whatever else clients send. `nothing`; a `digest`, by which equal ones are found; `redacted`: without
    /// what looks like a secret or personal data; `full`.
    #[schemars(extend("default" = "redacted"))]
    pub(in crate::config) arguments: Option<RecordLevelSection>,
    /// Of results, and whatever else servers answer.
    #[schemars(extend("default" = "digest"))]
    pub(in crate::config) results: Option<RecordLevelSection>,
}

/// When an entry counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(extend("default" = "process"))]
#[schemars(rename = "Durability")]
pub(in crate::config) enum DurabilitySection {
    Process,
    Power,
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "RecordLevel")]
pub(in crate::config) enum RecordLevelSection {
    Nothing,
    Digest,
    Redacted,
    Full,
}

/// What becomes of calls while nothing can be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(rename = "WhenUnwritable")]
pub(in crate::config) enum WhenUnwritableSection {
    Refuse,
    Degrade,
}
