//! Which server is meant, and whose it is: the same name may stand for another server with every tenant.

use std::fmt;
use std::sync::Arc;

use crate::{ServerName, TenantId};

/// Whose a server is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// Every tenant's: one server for all of them.
    Shared,
    /// One tenant's, and no other's.
    Tenant(TenantId),
}

/// One configured server. Whatever is remembered or told of a server goes by this, never by its name alone. Cheap to
/// clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(Arc<Named>);

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Named {
    holder: Holder,
    name: ServerName,
}

impl Holder {
    /// The tenant whose server it is; none if it is every tenant's.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            Self::Shared => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    /// Whether this tenant's callers may see the server.
    pub fn serves(&self, tenant: &TenantId) -> bool {
        self.tenant().is_none_or(|own| own == tenant)
    }
}

/// Without tenants everything belongs to the one that is always there.
impl Default for Holder {
    fn default() -> Self {
        Self::Tenant(TenantId::default())
    }
}

impl ServerId {
    /// The server of this name that this holder has.
    pub fn new(holder: Holder, name: ServerName) -> Self {
        Self(Arc::new(Named { holder, name }))
    }

    /// Whose it is.
    pub fn holder(&self) -> &Holder {
        &self.0.holder
    }

    /// What its callers call it. This is all that they may be told.
    pub fn name(&self) -> &ServerName {
        &self.0.name
    }

    /// What operators know it by, in logs: its name, behind that of its tenant unless it is the default tenant's or shared.
    pub fn label(&self) -> Label<'_> {
        Label(self)
    }
}

/// A server as logs name it.
#[derive(Clone, Copy)]
pub struct Label<'a>(&'a ServerId);

impl fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.holder() {
            Holder::Tenant(tenant) if *tenant != TenantId::default() => {
                write!(f, "{}/{}", tenant.as_str(), self.0.name())
            }
            Holder::Tenant(_) | Holder::Shared => fmt::Display::fmt(self.0.name(), f),
        }
    }
}

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.label(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_another_server_with_every_holder() {
        let id = |holder| ServerId::new(holder, ServerName::new("crm").expect("a name"));
        let of = |tenant: &str| Holder::Tenant(TenantId::new(tenant));
        assert_eq!(id(of("acme")), id(of("acme")));
        assert_ne!(id(of("acme")), id(of("globex")));
        assert_ne!(id(of("default")), id(Holder::Shared));
        assert!(Holder::Shared.serves(&TenantId::new("acme")) && of("acme").serves(&TenantId::new("acme")));
        assert!(!of("globex").serves(&TenantId::new("acme")));
        assert_eq!(id(of("acme")).label().to_string(), "acme/crm");
        assert_eq!(id(Holder::default()).label().to_string(), "crm");
    }
}
