//! What operators want to be so, as of one revision of the feed.

use std::collections::HashMap;
use std::sync::Arc;

use tollgate_model::{KeyHash, KeyRecord, Principal, Proof, TenantId, Timestamp};

/// What can be taken back before it ends by itself, beside an API key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Revocable {
    /// One access token, by its issuer and its `jti`.
    Token {
        /// The issuer.
        issuer: Arc<str>,
        /// The token's `jti`.
        id: Arc<str>,
    },
    /// Everything that is done on behalf of a user.
    User {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: Arc<str>,
    },
    /// Everything that an agent does.
    Agent {
        /// The agent's tenant.
        tenant: TenantId,
        /// The agent.
        agent: Arc<str>,
    },
}

/// Something is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub what: Revocable,
    /// Since when.
    pub since: Timestamp,
    /// Until when; for good if absent.
    pub until: Option<Timestamp>,
}

/// The desired state as of one revision.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    keys: HashMap<KeyHash, Arc<KeyRecord>>,
    revocations: HashMap<Revocable, Revocation>,
}

impl Desired {
    /// The key of this digest, good or not.
    pub fn key(&self, hash: &KeyHash) -> Option<&Arc<KeyRecord>> {
        self.keys.get(hash)
    }

    /// Whether a principal that came in before is refused by now.
    pub fn is_revoked(&self, principal: &Principal, now: Timestamp) -> bool {
        let stands = |what: &Revocable| {
            self.revocations.get(what).is_some_and(|found| found.until.is_none_or(|until| now < until))
        };
        let tenant = &principal.tenant;
        let key_gone = match &principal.proof {
            Proof::Key(id) => {
                // Keys of the configuration are not here: the configuration takes them back.
                self.keys.values().any(|key| key.id == *id && !key.is_good(now))
            }
            Proof::Token { issuer, id: Some(id) } => {
                stands(&Revocable::Token { issuer: Arc::clone(issuer), id: Arc::clone(id) })
            }
            _ => false,
        };
        let of_user = || {
            principal.user.as_ref().is_some_and(|user| {
                stands(&Revocable::User { tenant: tenant.clone(), user: Arc::clone(user) })
            })
        };
        let of_agent = || {
            principal.agent.as_ref().is_some_and(|agent| {
                stands(&Revocable::Agent { tenant: tenant.clone(), agent: Arc::clone(agent) })
            })
        };
        key_gone || (!self.revocations.is_empty() && (of_user() || of_agent()))
    }
}
