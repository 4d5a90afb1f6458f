//! How the ledger is kept.

use std::time::Duration;

use tollgate_model::{RecordLevel, Secret};

/// When an entry counts as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The operating system has it: it survives the end of the process, however that comes, but not a loss of power.
    #[default]
    Process,
    /// The disk has it: it survives a loss of power.
    Power,
}

/// What becomes of calls while nothing can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenUnwritable {
    /// They are refused.
    #[default]
    Refuse,
    /// They are served without a record; how many there were is recorded later.
    Degrade,
}

/// How much of arguments and results is kept, where no policy says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recording {
    /// Of arguments.
    pub arguments: RecordLevel,
    /// Of results.
    pub results: RecordLevel,
}

impl Default for Recording {
    fn default() -> Self {
        Self { arguments: RecordLevel::Redacted, results: RecordLevel::Digest }
    }
}

/// How the ledger is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSettings {
    /// When an entry counts as written.
    pub durability: Durability,
    /// How much of arguments and results is kept.
    pub recording: Recording,
    /// The largest payload that is kept whole; of a larger one only digests are.
    pub payload_bytes_max: usize,
    /// How many intents may wait for their outcome at once.
    pub open_max: usize,
    /// The size after which a new segment begins.
    pub segment_bytes_max: u64,
    /// The age after which a new segment begins.
    pub segment_age_max: Duration,
    /// The key that signs: Ed25519, PKCS#8 in PEM. Without it one is made and kept.
    pub signing_key: Option<Secret>,
    /// The key of payloads and names: 32 bytes in base64. Without it one is made and kept.
    pub encryption_key: Option<Secret>,
}

impl Default for LedgerSettings {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            recording: Recording::default(),
            payload_bytes_max: 64 * 1024,
            open_max: 65_536,
            segment_bytes_max: 64 * 1024 * 1024,
            segment_age_max: Duration::from_hours(24),
            signing_key: None,
            encryption_key: None,
        }
    }
}
