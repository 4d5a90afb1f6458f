//! The clients that each have one lasting connection, by its id.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tollgate_model::{Code, Refusal, SessionId, Stage};

use crate::downstream::Connection;

/// All such connections.
#[derive(Default)]
pub(crate) struct Connections(RwLock<HashMap<SessionId, Arc<Connection>>>);

impl Connections {
    pub(crate) fn add(&self, connection: Arc<Connection>, connections_max: usize) -> Result<(), Refusal> {
        let mut connections = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if connections.len() >= connections_max {
            let text = "as many connections as allowed are open";
            return Err(Refusal::new(Stage::Session, Code::Capacity, text));
        }
        connections.insert(connection.id().clone(), connection);
        Ok(())
    }

    pub(crate) fn find(&self, id: &str) -> Option<Arc<Connection>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&SessionId::new(id)).cloned()
    }

    pub(crate) fn remove(&self, id: &SessionId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(id);
    }

    pub(crate) fn all(&self) -> Vec<Arc<Connection>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}
