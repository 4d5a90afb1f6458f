//! Who is calling, as far as a request says.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Principal, Revision};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: &str) -> Self {
                Self(Arc::from(text))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

id!(
    /// The organisation on whose behalf a call is made. Without tenants there is one, [`TenantId::default`].
    TenantId
);
id!(
    /// Who a call is made by. Without identity there is one, [`PrincipalId::local`].
    PrincipalId
);
id!(
    /// A legacy session with one client. Random and unguessable; it is a handle, never a proof of identity.
    SessionId
);

impl Default for TenantId {
    fn default() -> Self {
        Self::new("default")
    }
}

impl PrincipalId {
    /// Whoever reaches the loopback address of this machine, while no identity is configured.
    pub fn local() -> Self {
        Self::new("local")
    }
}

/// What a client said of itself: in `initialize` (legacy), or in the `_meta` of a request (modern).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientProfile {
    /// The revision that the client speaks with the gateway.
    pub revision: Revision,
    /// The client's capabilities: the JSON object as the client wrote it.
    pub capabilities: Bytes,
    /// The client's name and version: the JSON object as the client wrote it. Never a ground for a security decision.
    pub info: Option<Bytes>,
}

/// Everything that decides which upstream session or process may serve a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who calls.
    pub who: Arc<Principal>,
    /// The caller's legacy session, if there is one.
    pub session: Option<SessionId>,
    /// What the client said of itself.
    pub client: Arc<ClientProfile>,
    /// The address that this request, or the connection that it came by, is from. None for a client on standard input, and
    /// for the gateway itself. Which session or process serves a request never depends on it.
    pub source: Option<IpAddr>,
}

/// Whose something is: what bounds for each principal count by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The tenant.
    pub tenant: TenantId,
    /// The principal of that tenant.
    pub principal: PrincipalId,
}

impl Caller {
    /// The caller's tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.who.tenant
    }

    /// Who of the tenant it is.
    pub fn principal(&self) -> &PrincipalId {
        &self.who.id
    }

    /// Whose everything is that the caller makes.
    pub fn owner(&self) -> Owner {
        Owner { tenant: self.tenant().clone(), principal: self.principal().clone() }
    }
}
