//! Which instance may serve a caller.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tollgate_mcp::Span;
use tollgate_model::{Caller, PrincipalId, SessionId, TenantId};

use crate::seats::Seat;
use crate::{Audience, Isolation};

/// Whoever has the same key shares an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) scope: Scope,
    /// The canonical capabilities of the clients served; none where they travel with each request.
    pub(crate) capabilities: Option<Bytes>,
    /// Which of the instances that could serve the same callers.
    pub(crate) seat: Seat,
    /// Which replica, where one session on each may serve the same callers.
    pub(crate) replica: Option<usize>,
}

impl Key {
    /// The one instance for whoever is in the scope.
    pub(crate) fn common(scope: Scope, capabilities: Option<Bytes>) -> Self {
        Self { scope, capabilities, seat: Seat::COMMON, replica: None }
    }

    /// The same on one replica.
    pub(crate) fn on(&self, replica: Option<usize>) -> Self {
        Self { replica, ..self.clone() }
    }

    /// The same at another seat.
    pub(crate) fn at(&self, seat: Seat) -> Self {
        Self { seat, ..self.clone() }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Scope {
    Shared,
    Tenant(TenantId),
    Principal(TenantId, PrincipalId),
    /// With the caller: a session id is a handle and proves nothing.
    Session(TenantId, PrincipalId, SessionId),
}

impl Scope {
    /// A caller without a session (a modern client) falls to its principal's scope.
    pub(crate) fn of(caller: &Caller, isolation: Isolation) -> Self {
        let tenant = || caller.tenant().clone();
        let principal = || caller.principal().clone();
        match (isolation, &caller.session) {
            (Isolation::Shared, _) => Self::Shared,
            (Isolation::Tenant, _) => Self::Tenant(tenant()),
            (Isolation::Session, Some(session)) => Self::Session(tenant(), principal(), session.clone()),
            (Isolation::Session, None) | (Isolation::Principal, _) => Self::Principal(tenant(), principal()),
        }
    }

    pub(crate) fn audience(&self) -> Audience {
        match self {
            Self::Shared => Audience::Everyone,
            Self::Tenant(tenant) => Audience::Tenant(tenant.clone()),
            Self::Principal(tenant, principal) => Audience::Principal(tenant.clone(), principal.clone()),
            Self::Session(_, _, session) => Audience::Session(session.clone()),
        }
    }

    /// Whether one client session alone is in it.
    pub(crate) fn is_one_session(&self) -> bool {
        matches!(self, Self::Session(..))
    }

    /// Whether callers of several principals may be in it.
    pub(crate) fn is_several_principals(&self) -> bool {
        matches!(self, Self::Shared | Self::Tenant(_))
    }

    pub(crate) fn is_session(&self, session: &SessionId) -> bool {
        matches!(self, Self::Session(_, _, own) if own == session)
    }
}

/// How many different capability texts are remembered.
const REMEMBERED_MAX: usize = 1024;

/// The longest text that is remembered.
const REMEMBERED_BYTES_MAX: usize = 4 * 1024;

/// Canonical forms of capabilities: clients that write the same object differently are the same.
#[derive(Debug, Default)]
pub(crate) struct Canonical {
    known: Mutex<HashMap<Bytes, Bytes>>,
}

impl Canonical {
    /// The canonical form: no whitespace, members ordered by name, strings escaped one way.
    pub(crate) fn of(&self, capabilities: &Bytes) -> Bytes {
        if capabilities.len() > REMEMBERED_BYTES_MAX {
            let mut canonical = Vec::with_capacity(capabilities.len());
            tollgate_mcp::canonical(capabilities, Span::all(capabilities), &mut canonical);
            return Bytes::from(canonical);
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(canonical) = known.get(capabilities) {
            return canonical.clone();
        }
        let mut canonical = Vec::with_capacity(capabilities.len());
        tollgate_mcp::canonical(capabilities, Span::all(capabilities), &mut canonical);
        let canonical = Bytes::from(canonical);
        if known.len() >= REMEMBERED_MAX {
            known.clear();
        }
        // A copy, since the text may be a part of a much larger message.
        known.insert(Bytes::copy_from_slice(capabilities), canonical.clone());
        canonical
    }
}
