//! What an operator has stopped: the kill switch.

use std::sync::Arc;

use async_trait::async_trait;
use tollgate_model::{KeyId, Principal, Proof, ServerName, TenantId, Timestamp};

use crate::StoreError;

/// What can be stopped. What a tenant's callers use is named as they know it; `tenant: None` means the callers of every
/// tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Blockable {
    /// One tool, under whatever name it is shown.
    Tool {
        /// Whose callers may not use it.
        tenant: Option<TenantId>,
        /// The server that has it.
        server: ServerName,
        /// The server's own name of it.
        native: Arc<str>,
    },
    /// Everything of a server.
    Server {
        /// Whose callers may not use it.
        tenant: Option<TenantId>,
        /// The server.
        server: ServerName,
    },
    /// Everything that an agent does.
    Agent {
        /// The agent's tenant.
        tenant: TenantId,
        /// The agent.
        agent: Arc<str>,
    },
    /// Everything that is done on behalf of a user.
    User {
        /// The user's tenant.
        tenant: TenantId,
        /// The user.
        user: Arc<str>,
    },
    /// Whoever comes by an API key, stored or declared.
    Key {
        /// The key.
        id: KeyId,
    },
    /// Every caller of a tenant.
    Tenant {
        /// The tenant.
        tenant: TenantId,
    },
}

impl Blockable {
    /// Every kind, as [`Blockable::kind`] says it.
    pub const KINDS: [&str; 6] = ["agent", "key", "server", "tenant", "tool", "user"];

    /// Its kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Tool { .. } => "tool",
            Self::Server { .. } => "server",
            Self::Agent { .. } => "agent",
            Self::User { .. } => "user",
            Self::Key { .. } => "key",
            Self::Tenant { .. } => "tenant",
        }
    }

    /// The tenant that it is about; none for a key, and for what holds for the callers of every tenant.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Tool { tenant, .. } | Self::Server { tenant, .. } => tenant.as_ref(),
            Self::Agent { tenant, .. } | Self::User { tenant, .. } | Self::Tenant { tenant } => Some(tenant),
            Self::Key { .. } => None,
        }
    }

    /// Its name: of a tool `server/tool`.
    pub fn name(&self) -> String {
        match self {
            Self::Tool { server, native, .. } => format!("{server}/{native}"),
            Self::Server { server, .. } => server.to_string(),
            Self::Agent { agent: name, .. } | Self::User { user: name, .. } => name.to_string(),
            Self::Key { id } => id.as_str().to_owned(),
            Self::Tenant { tenant } => tenant.as_str().to_owned(),
        }
    }

    /// Its kind, whose it is (empty for everybody's), and its name there: the form in which it is stored.
    pub fn parts(&self) -> (&'static str, String, String) {
        let whose = match self {
            Self::Key { .. } | Self::Tenant { .. } => "",
            _ => self.tenant().map_or("", TenantId::as_str),
        };
        (self.kind(), whose.to_owned(), self.name())
    }

    /// The other way round; none if there can be no such thing.
    pub fn from_parts(kind: &str, whose: &str, name: &str) -> Option<Self> {
        let tenant = || (!whose.is_empty()).then(|| TenantId::new(whose));
        match kind {
            "tool" => {
                let (server, native) = name.split_once('/')?;
                let server = ServerName::new(server).ok()?;
                Some(Self::Tool { tenant: tenant(), server, native: native.into() })
            }
            "server" => Some(Self::Server { tenant: tenant(), server: ServerName::new(name).ok()? }),
            "agent" => Some(Self::Agent { tenant: TenantId::new(whose), agent: name.into() }),
            "user" => Some(Self::User { tenant: TenantId::new(whose), user: name.into() }),
            "key" => Some(Self::Key { id: KeyId::new(name) }),
            "tenant" => Some(Self::Tenant { tenant: TenantId::new(name) }),
            _ => None,
        }
    }

    /// Everything whose block stops whatever this caller does.
    pub fn of_caller(who: &Principal) -> impl Iterator<Item = Self> {
        let tenant = || who.tenant.clone();
        let agent = who.agent_name().map(|agent| Self::Agent { tenant: tenant(), agent: agent.into() });
        let user = who.user.as_ref().map(|user| Self::User { tenant: tenant(), user: Arc::clone(user) });
        let key = match &who.proof {
            Proof::Key(id) => Some(Self::Key { id: id.clone() }),
            _ => None,
        };
        [Some(Self::Tenant { tenant: tenant() }), agent, user, key].into_iter().flatten()
    }
}

/// Something is stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocking {
    /// What.
    pub what: Blockable,
    /// Why, in the operator's words.
    pub reason: Arc<str>,
    /// Whether those who are stopped are told why.
    pub is_public: bool,
    /// Who did it.
    pub by: Arc<str>,
    /// When. It holds at once, whatever this says, since clocks differ.
    pub since: Timestamp,
}

/// Something is no longer stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unblocking {
    /// What.
    pub what: Blockable,
    /// Why, in the operator's words; empty if nothing was said.
    pub reason: Arc<str>,
    /// Who did it.
    pub by: Arc<str>,
}

/// What is stopped.
#[async_trait]
pub trait Blocks: Sync {
    /// Stops something; what was said of it before is replaced. Says whether it was not stopped before.
    async fn block(&self, blocking: Blocking) -> Result<bool, StoreError>;

    /// Lets it go on. Says whether it was stopped.
    async fn unblock(&self, unblocking: Unblocking) -> Result<bool, StoreError> {
        self.unblock_seen(unblocking, None).await
    }

    /// The same, if what is said of it is still what somebody has `seen`.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`].
    async fn unblock_seen(&self, unblocking: Unblocking, seen: Option<&Blocking>)
    -> Result<bool, StoreError>;

    /// What is stopped, in the order of kinds, whose they are and names, at most so many, after one that was listed last.
    async fn blocks(&self, after: Option<&Blockable>, most: usize) -> Result<Vec<Blocking>, StoreError>;
}

#[cfg(test)]
mod tests {
    use tollgate_model::PrincipalId;

    use super::*;

    #[test]
    fn what_can_be_stopped_comes_back_as_it_went() {
        let acme = || TenantId::new("acme");
        let server = ServerName::new("crm").expect("a name");
        for what in [
            Blockable::Tool { tenant: None, server: server.clone(), native: "a/b".into() },
            Blockable::Tool { tenant: Some(acme()), server: server.clone(), native: "ü".into() },
            Blockable::Server { tenant: None, server: server.clone() },
            Blockable::Server { tenant: Some(acme()), server },
            Blockable::Agent { tenant: acme(), agent: "bot".into() },
            Blockable::User { tenant: acme(), user: "okta:ada".into() },
            Blockable::Key { id: KeyId::new("k1") },
            Blockable::Tenant { tenant: acme() },
        ] {
            let (kind, whose, name) = what.parts();
            assert!(Blockable::KINDS.contains(&kind));
            assert_eq!(Blockable::from_parts(kind, &whose, &name).as_ref(), Some(&what), "{what:?}");
        }
        for (kind, name) in [("group", "a"), ("tool", "crm"), ("tool", "no name/x"), ("server", "")] {
            assert_eq!(Blockable::from_parts(kind, "", name), None, "{kind} {name}");
        }
    }

    #[test]
    fn a_caller_is_its_tenant_its_agent_its_user_and_its_key() {
        let who = Principal {
            agent: Some("bot".into()),
            user: Some("ada".into()),
            ..Principal::new(TenantId::new("acme"), PrincipalId::new("p"), Proof::Key(KeyId::new("k")))
        };
        let kinds: Vec<_> = Blockable::of_caller(&who).map(|what| what.kind()).collect();
        assert_eq!(kinds, ["tenant", "agent", "user", "key"]);
        let nobody: Vec<_> = Blockable::of_caller(&Principal::local()).collect();
        let tenant = TenantId::default();
        let local = Blockable::Agent { tenant: tenant.clone(), agent: "local".into() };
        assert_eq!(nobody, [Blockable::Tenant { tenant }, local]);
    }
}
