//! Which session or process of the server carries the request.

use std::sync::Arc;

use tokio::time::Instant;
use tollgate_model::{Caller, Refusal, Stage};
use tollgate_upstream::{Avoid, Berth, Link, Server, Traffic, UpstreamError};

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

/// On which of a server's replicas a request is best asked, if there are several.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spot<'a> {
    /// Where the server keeps what it is about.
    on: Option<&'a str>,
    avoid: Avoid,
}

impl<'a> Spot<'a> {
    pub(crate) fn on(replica: Option<&'a str>) -> Self {
        Self { on: replica, avoid: Avoid::default() }
    }

    /// The replica behind this link has just failed it.
    pub(crate) fn leave(&mut self, link: &Link) {
        self.avoid = self.avoid.and(link);
    }
}

/// Finds or opens the way. May start a process, or a session with the server.
pub(crate) async fn open(server: &Server, caller: &Caller, _permit: &Permit) -> Result<Route, Refusal> {
    match server.open(caller).await {
        Ok(link) => Ok(Route { link }),
        Err(error) => Err(unopened(server, &error)),
    }
}

/// There is no way: whatever went wrong, it was not the request.
pub(crate) fn unopened(server: &Server, error: &UpstreamError) -> Refusal {
    Refusal { stage: Stage::Route, ..error.refusal(server.name()) }
}

/// The same on a replica.
pub(crate) async fn open_at(
    server: &Server,
    caller: &Caller,
    spot: Spot<'_>,
    permit: &Permit,
) -> Result<Route, Refusal> {
    open_for(server, caller, "", spot, permit).await
}

/// The same for one request of this method, which may get a session or process to itself.
pub(crate) async fn open_for(
    server: &Server,
    caller: &Caller,
    method: &str,
    spot: Spot<'_>,
    _permit: &Permit,
) -> Result<Route, Refusal> {
    match server.open_where(caller, method, spot.on, spot.avoid).await {
        Ok(link) => Ok(Route { link }),
        Err(error) => Err(unopened(server, &error)),
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
