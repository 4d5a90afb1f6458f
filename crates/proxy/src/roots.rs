//! `notifications/roots/list_changed` of a legacy client. It goes to the legacy servers that hold a session for it; a
//! modern server asks for roots when it needs them, and is told nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use bytes::Bytes;
use futures_util::future::join_all;
use tollgate_mcp::{Message, Segments};
use tollgate_model::Era;

use crate::gateway::Gateway;
use crate::session::Session;
use crate::stages::dispatch::{self, Own};
use crate::stages::{guard, policy, route};

const IDLE: u8 = 0;
const TELLING: u8 = 1;
const AGAIN: u8 = 2;

/// Whether the servers are being told, so that a client that changes its roots all the time keeps no more than one task
/// busy. What comes meanwhile is told once more afterwards.
#[derive(Debug, Default)]
pub(crate) struct Telling(AtomicU8);

impl Telling {
    /// Whether someone has to begin.
    fn begin(&self) -> bool {
        self.0.swap(AGAIN, Ordering::AcqRel) == IDLE
    }

    fn go(&self) {
        self.0.store(TELLING, Ordering::Release);
    }

    /// Whether nothing came meanwhile.
    fn end(&self) -> bool {
        self.0.compare_exchange(TELLING, IDLE, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// The client's roots have changed.
pub(crate) fn changed(gateway: &Gateway, session: &Arc<Session>, message: &Message) {
    if !session.telling_roots.begin() {
        return;
    }
    let (session, teller, message) = (Arc::clone(session), gateway.clone(), message.clone());
    gateway.spawn(async move {
        loop {
            session.telling_roots.go();
            tell(&teller, &session, &message).await;
            if session.telling_roots.end() {
                return;
            }
        }
    });
}

async fn tell(gateway: &Gateway, session: &Session, message: &Message) {
    let snapshot = gateway.snapshot();
    let endpoint = snapshot.endpoint(session.caller.tenant(), session.endpoint.as_ref());
    let Some(endpoint) = endpoint else { return };
    let caller = session.caller_now();
    let servers = endpoint.servers().iter().filter_map(|name| {
        let (permit, _) = policy::look(gateway, &caller, endpoint.name(), name)?;
        Some((snapshot.server(session.caller.tenant(), name)?, permit))
    });
    let routes =
        servers.filter_map(|(server, permit)| Some((server, route::opened(server, &caller, &permit)?)));
    join_all(routes.filter(|(_, route)| route.link().era() == Era::Legacy).map(|(server, route)| async move {
        // What stands in it leaves too.
        let told = guard::answer(gateway, &session.caller, server.id(), message.clone());
        let Some(text) = told.map(|told| Segments::from(Bytes::copy_from_slice(told.bytes()))) else { return };
        if let Err(error) = dispatch::say(route.link(), Own::notification(text)).await {
            tracing::debug!(server = %server.id().label(), %error, "the server did not hear that roots have changed");
        }
    }))
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_meanwhile_is_told_once_more() {
        let telling = Telling::default();
        assert!(telling.begin());
        telling.go();
        assert!(!telling.begin() && !telling.begin(), "someone is at it");
        assert!(!telling.end(), "once more");
        telling.go();
        assert!(telling.end());
        assert!(telling.begin());
    }
}
