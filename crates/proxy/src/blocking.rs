//! What follows when an operator stops something, or lets it go on, beside the refusals of [`crate::stages::block`]: servers
//! that nobody may use are halted, and whoever sees other lists than before is told.

use std::collections::HashSet;
use std::time::Duration;

use tollgate_catalog::ListKind;
use tollgate_model::{Caller, EndpointName, ServerName, TenantId};
use tollgate_store::{Blockable, Confirmed};

use crate::gateway::{Gateway, method_of, tell_list};
use crate::snapshot::Snapshot;
use crate::stages::block::Changed;
use crate::stages::{policy, record};

/// How long calls that are cut off have to leave a server that is halted: they have been told already.
const HALT: Duration = Duration::from_millis(500);
const LISTS: [ListKind; 3] = [ListKind::Tools, ListKind::Prompts, ListKind::Resources];

impl Gateway {
    /// Takes in what is stopped as of now: before anybody is served, so that nothing slips through at the start.
    pub fn begin_blocking(&self) {
        self.look_again();
        for blocking in self.blocks().all() {
            record::blocked_before(self, &blocking);
        }
    }

    /// How much of each kind operators have stopped.
    pub fn blocked(&self) -> Vec<(&'static str, u64)> {
        self.blocks().counts()
    }

    /// Takes in what is stopped now. The servers and tools of which that is another word than before.
    pub(crate) fn take_blocks(&self) -> Changed {
        let snapshot = self.snapshot();
        let follower = snapshot.identity.follower();
        // Where callers are known, nobody is let in without the stored state.
        let is_unknown = snapshot.identity.is_off() && follower.confirmed() == Confirmed::TooOld;
        self.blocks().take(follower.now().blocks(), is_unknown)
    }

    /// Does what follows, once everything under way has been told to look again.
    pub(crate) fn follow_blocks(&self, changed: &Changed) {
        let snapshot = self.snapshot();
        let mut is_woken = false;
        for server in snapshot.servers() {
            if self.blocks().stops(&snapshot, server.id()) {
                if server.is_halted() {
                    continue;
                }
                let server = server.clone();
                // At once, so that nothing is opened any more; what is open ends a little later.
                let halting = server.halt(HALT);
                self.spawn(halting);
            } else if server.is_halted() {
                server.go_on();
                is_woken = true;
            }
        }
        if is_woken {
            self.policing().upkeep().wake();
        }
        if changed.is_empty() {
            return;
        }
        self.uri_indexes().clear();
        self.tool_indexes().clear();
        self.blocks().tell();
        self.tell_of_blocks(&snapshot, changed);
    }

    /// Tells whoever is connected of lists that look otherwise now, and lets nobody hear any more of what is stopped.
    fn tell_of_blocks(&self, snapshot: &Snapshot, changed: &Changed) {
        let concerned = |caller: &Caller, endpoint: Option<&EndpointName>, kind: ListKind| {
            let Some(at) = snapshot.endpoint(caller.tenant(), endpoint) else { return false };
            changed.iter().any(|what| {
                let (tenant, server) = about(what);
                tenant.is_none_or(|tenant| tenant == caller.tenant())
                    && (kind == ListKind::Tools || matches!(what, Blockable::Server { .. }))
                    && server.is_some_and(|server| {
                        at.servers().contains(server)
                            && at.lists(kind, server)
                            && policy::sees(self, caller, endpoint, server)
                    })
            })
        };
        for session in self.sessions().all() {
            let (caller, endpoint) = (session.caller_now(), session.endpoint.as_ref());
            for kind in LISTS {
                if concerned(&caller, endpoint, kind) {
                    tell_list(&session, kind);
                }
            }
            session.subscriptions.keep(|server, uri| policy::hears(self, &caller, endpoint, server, uri));
        }
        for kind in LISTS {
            self.fanout()
                .list_changed(kind, method_of(kind), |caller, endpoint, _| concerned(caller, endpoint, kind));
        }
    }

    /// The servers of an endpoint that are stopped for a caller.
    pub(crate) fn stopped_at(&self, caller: &Caller, endpoint: &[ServerName]) -> HashSet<ServerName> {
        let is_stopped = |server: &&ServerName| crate::stages::block::server(self, caller, server).is_err();
        endpoint.iter().filter(is_stopped).cloned().collect()
    }
}

fn about(what: &Blockable) -> (Option<&TenantId>, Option<&ServerName>) {
    match what {
        Blockable::Tool { tenant, server, .. } | Blockable::Server { tenant, server } => {
            (tenant.as_ref(), Some(server))
        }
        _ => (what.tenant(), None),
    }
}
