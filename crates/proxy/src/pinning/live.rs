//! What servers show just now, for a lock file and for comparing it with one.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;
use tollgate_catalog::{Item, ListKind};
use tollgate_guard::pins::Definition;
use tollgate_model::{Code, Refusal, ServerId, Stage};
use tollgate_store::PinKind;
use tollgate_upstream::Server;

use super::pin_kind;
use crate::gateway::Gateway;
use crate::lists;
use crate::policing::own_inbound;
use crate::stages::{policy, route};

/// What a server shows.
#[derive(Debug, Clone)]
pub struct LiveServer {
    /// Which server.
    pub server: ServerId,
    /// Its items by kind and name, or why they could not be read.
    pub items: Result<Vec<(PinKind, Arc<str>, Definition)>, String>,
}

impl Gateway {
    /// Reads everything that servers show, waiting for each so long at most.
    pub async fn live(&self, wait: Duration) -> Vec<LiveServer> {
        let snapshot = self.snapshot();
        let reading = snapshot.servers().iter().map(|server| async move {
            let late = || Err(format!("it did not answer within {} seconds", wait.as_secs()));
            let items = timeout(wait, self.live_of(server)).await;
            let items =
                items.map_or_else(|_| late(), |read| read.map_err(|refusal| refusal.public.into_owned()));
            LiveServer { server: server.id().clone(), items }
        });
        join_all(reading).await
    }

    async fn live_of(&self, server: &Server) -> Result<Vec<(PinKind, Arc<str>, Definition)>, Refusal> {
        let inbound = own_inbound(self, server)
            .ok_or_else(|| Refusal::new(Stage::Resolve, Code::Internal, "nobody is served this server"))?;
        let mut all = Vec::new();
        for list in [ListKind::Tools, ListKind::Prompts, ListKind::Resources, ListKind::Templates] {
            let kind = pin_kind(list);
            let items = lists::own_reading(self, &inbound, server, list).await?;
            let read = |item: &Item| (kind, Arc::from(item.key()), Definition::read(kind, item.original()));
            all.extend(items.iter().map(read));
        }
        let (permit, _) = policy::upkeep();
        let route = route::open(server, &inbound.caller, &permit).await?;
        if let Some(raw) = &route.link().hello().instructions {
            let said = Definition::read(PinKind::Instructions, raw);
            all.push((PinKind::Instructions, "".into(), said));
        }
        Ok(all)
    }
}
