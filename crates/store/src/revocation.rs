//! What is taken back before it ends by itself.

use std::sync::Arc;

use tollgate_model::{TenantId, Timestamp};

/// What can be taken back before it ends by itself, beside an API key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

impl Revocable {
    /// Its kind (`token`, `user`, `agent`), whose it is (issuer or tenant), and its name there: the form in which it is
    /// stored.
    pub fn parts(&self) -> (&'static str, &str, &str) {
        match self {
            Self::Token { issuer, id } => ("token", issuer, id),
            Self::User { tenant, user } => ("user", tenant.as_str(), user),
            Self::Agent { tenant, agent } => ("agent", tenant.as_str(), agent),
        }
    }

    /// The other way round; none if there is no such kind.
    pub fn from_parts(kind: &str, whose: &str, name: &str) -> Option<Self> {
        match kind {
            "token" => Some(Self::Token { issuer: whose.into(), id: name.into() }),
            "user" => Some(Self::User { tenant: TenantId::new(whose), user: name.into() }),
            "agent" => Some(Self::Agent { tenant: TenantId::new(whose), agent: name.into() }),
            _ => None,
        }
    }
}

/// Something is taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// What.
    pub what: Revocable,
    /// Since when: for people to read. It holds at once, whatever this says, since clocks differ.
    pub since: Timestamp,
    /// Until when; for good if absent.
    pub until: Option<Timestamp>,
}

impl Revocation {
    /// Whether it still holds.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}
