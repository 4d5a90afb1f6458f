//! Which session or process of the server carries the request.

use std::sync::Arc;

use tokio::time::Instant;
use tollgate_model::{Caller, Refusal};
use tollgate_upstream::{Berth, Link, Server, Traffic};

use super::Permit;

/// An open way to a server, for a request that policy has allowed. Only this module makes one.
#[derive(Clone)]
pub(crate) struct Route {
    link: Link,
}

impl Route {
    pub(crate) fn link(&self) -> &Link {
        &self.link
    }
}

/// Finds or opens the way. May start a process, or a session with the server.
pub(crate) async fn open(server: &Server, caller: &Caller, _permit: &Permit) -> Result<Route, Refusal> {
    match server.open(caller).await {
        Ok(link) => Ok(Route { link }),
        Err(error) => Err(error.refusal(server.name())),
    }
}

/// The same for one request of this method, which may get a session or process to itself.
pub(crate) async fn open_for(
    server: &Server,
    caller: &Caller,
    method: &str,
    _permit: &Permit,
) -> Result<Route, Refusal> {
    match server.open_for(caller, method).await {
        Ok(link) => Ok(Route { link }),
        Err(error) => Err(error.refusal(server.name())),
    }
}

/// The way that is open already. Starts nothing.
pub(crate) fn opened(server: &Server, caller: &Caller, _permit: &Permit) -> Option<Route> {
    server.opened(caller).map(|link| Route { link })
}

/// A place among the requests under way on a server. Waits for one that is not there, if it may.
pub(crate) async fn enter(server: &Server, traffic: Traffic, until: Instant) -> Result<Arc<Berth>, Refusal> {
    match server.bulkhead().try_enter(traffic) {
        Some(berth) => Ok(berth),
        // On the heap: it is rare.
        None => {
            let waiting = Box::pin(server.bulkhead().enter(traffic, until));
            waiting.await.map_err(|error| error.refusal(server.name()))
        }
    }
}
