//! API keys as they are kept: never the key, only its hash.

use std::fmt;
use std::sync::Arc;

use crate::{KeyId, TenantId, Timestamp};

/// The SHA-256 digest of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// In hexadecimal.
impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An API key of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// By what it is listed and revoked.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent that calls with it.
    pub agent: Arc<str>,
    /// The agent's groups, in order, each once.
    pub groups: Vec<Arc<str>>,
    /// The digest of the whole key.
    pub hash: KeyHash,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends by itself.
    pub expires: Option<Timestamp>,
    /// When it was revoked.
    pub revoked: Option<Timestamp>,
    /// The key that takes its place.
    pub replaced_by: Option<KeyId>,
}

impl KeyRecord {
    /// Whether a caller may come in with it. What is revoked is so at once, whatever the clock of whoever did it said.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}
