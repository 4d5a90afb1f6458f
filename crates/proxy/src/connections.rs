//! The clients that each have one lasting connection, by its id.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tollgate_model::{Code, Principal, Refusal, SessionId, Stage};

use crate::downstream::Connection;
use crate::shares::Room;

/// All such connections.
#[derive(Default)]
pub(crate) struct Connections(RwLock<HashMap<SessionId, Arc<Connection>>>);

impl Connections {
    pub(crate) fn add(&self, connection: Arc<Connection>, room: Room) -> Result<(), Refusal> {
        let mut connections = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = || {
            let owner = connection.latest().load();
            connections.values().filter(|other| other.is_of_tenant(&owner.tenant)).count()
        };
        if !room.has_place(connections.len(), of_tenant) {
            let text = "as many connections as allowed are open";
            return Err(Refusal::new(Stage::Session, Code::Capacity, text));
        }
        connections.insert(connection.id().clone(), connection);
        Ok(())
    }

    /// Finds a connection for the caller who may post to it. Anyone else's is as good as unknown.
    pub(crate) fn find(&self, id: &str, who: &Principal) -> Option<Arc<Connection>> {
        let connections = self.0.read().unwrap_or_else(PoisonError::into_inner);
        connections.get(&SessionId::new(id)).filter(|connection| connection.is_of(who)).cloned()
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::Identified;
    use tollgate_model::{PrincipalId, Proof, TenantId};

    #[test]
    fn a_connection_is_its_owners() {
        let who = |tenant: TenantId, id| Arc::new(Principal::new(tenant, PrincipalId::new(id), Proof::Local));
        let alice = who(TenantId::default(), "alice");
        let owner = Identified::as_if(Arc::clone(&alice));
        let connections = Connections::default();
        let connection = Arc::new(Connection::new(SessionId::new("c"), &owner, None, 1, false));
        connections.add(connection, Room::UNBOUNDED).expect("room");
        assert!(connections.find("c", &alice).is_some());
        assert!(connections.find("c", &who(TenantId::default(), "bob")).is_none());
        assert!(connections.find("c", &who(TenantId::new("other"), "alice")).is_none());
    }
}
