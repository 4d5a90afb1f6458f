//! Who calls, as the gate knows them: what they proved, and what they act as.

use std::fmt;
use std::sync::Arc;

use crate::{PrincipalId, TenantId, Timestamp};

/// The id of an API key: what is listed and revoked. It is no secret.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Takes the text as it is.
    pub fn new(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// By what a caller proved who it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing: it reaches this machine's loopback address while no identity is configured, or is the process at the other
    /// end of standard input.
    Local,
    /// Nothing: the configuration lets callers in who prove nothing.
    Anonymous,
    /// An API key.
    Key(KeyId),
    /// An access token of an issuer.
    Token {
        /// The issuer, as it is written in `iss`.
        issuer: Arc<str>,
        /// The token's own id (`jti`), if it has one.
        id: Option<Arc<str>>,
    },
    /// A client certificate.
    Certificate {
        /// The SHA-256 digest of the certificate, in hexadecimal.
        digest: Arc<str>,
    },
}

/// One step of a chain of delegation (RFC 8693, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Whose word it is.
    pub issuer: Arc<str>,
    /// Who acted.
    pub subject: Arc<str>,
}

/// Who a call is made by: an agent, the user that it acts for, or both. Texts are as policies write them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose sessions, tasks and everything else are: the same for the same agent on behalf of the same user, and for
    /// nobody else of the tenant.
    pub id: PrincipalId,
    /// The agent: the program that calls.
    pub agent: Option<Arc<str>>,
    /// The user on whose behalf it calls.
    pub user: Option<Arc<str>>,
    /// The user's groups, in order, each once. Empty without a user.
    pub groups: Vec<Arc<str>>,
    /// The agent's groups, in order, each once. Empty without an agent.
    pub agent_groups: Vec<Arc<str>>,
    /// Roles, in order, each once.
    pub roles: Vec<Arc<str>>,
    /// What an access token was granted for; `None` where the proof has no scopes, and so is not limited by them.
    pub scopes: Option<Vec<Arc<str>>>,
    /// Who acted for whom, the latest first.
    pub act: Vec<Actor>,
    /// By what it is proved.
    pub proof: Proof,
    /// When the proof ends.
    pub expires: Option<Timestamp>,
}

impl Principal {
    /// A principal of which nothing more is known.
    pub fn new(tenant: TenantId, id: PrincipalId, proof: Proof) -> Self {
        Self {
            tenant,
            id,
            agent: None,
            user: None,
            groups: Vec::new(),
            agent_groups: Vec::new(),
            roles: Vec::new(),
            scopes: None,
            act: Vec::new(),
            proof,
            expires: None,
        }
    }

    /// Whoever reaches the loopback address of this machine, while no identity is configured.
    pub fn local() -> Self {
        Self::new(TenantId::default(), PrincipalId::local(), Proof::Local)
    }

    /// The agent as policies, limits and blocks name it. Whoever proves nothing is an agent too, so that rules can be about
    /// it: the gateway gives these two names, and nobody else can have them.
    pub fn agent_name(&self) -> Option<&str> {
        match (&self.agent, &self.proof) {
            (Some(agent), _) => Some(agent),
            (None, Proof::Local) => Some("local"),
            (None, Proof::Anonymous) => Some("anonymous"),
            (None, _) => None,
        }
    }

    /// Whether the proof has ended.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}
