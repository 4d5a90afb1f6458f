//! Pinned definitions: what servers show is what was approved, or nobody sees and uses it.
//!
//! Whenever a page of a server's list passes, or is read by the gateway itself, each item is compared with what was approved
//! of it: a changed one is hidden and refused, and no other. What is approved stands in the store, which every gateway
//! follows, or in a lock file and nowhere else. See `docs/pins.md`.

mod follow;
mod known;
mod live;
mod settings;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tollgate_catalog::{Item, ListKind};
use tollgate_model::{ServerId, TenantId};
use tollgate_store::{Desired, PinKind, Store};

use crate::gateway::Gateway;
use crate::snapshot::Snapshot;
pub(crate) use follow::{is_first_use, run};
pub(crate) use known::{Found, Why};
use known::{Known, Measure, Shown};
pub use live::LiveServer;
pub use settings::{FirstUse, OnChange, PinSettings, ServerPins};

/// What is known of servers' definitions, and what the store has yet to hear of them.
#[derive(Debug, Default)]
pub(crate) struct Pinning {
    is_on: AtomicBool,
    known: Known,
    store: Mutex<Option<Arc<dyn Store>>>,
    woken: Notify,
}

impl Pinning {
    /// Whether any server's definitions are pinned.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// How it stands with an item that somebody wants to use.
    pub(crate) fn find(&self, server: &ServerId, kind: PinKind, key: &str) -> Found {
        self.known.find(server, kind, key)
    }

    /// Whether a server's list was ever read to its end.
    pub(crate) fn has_read(&self, server: &ServerId, kind: PinKind) -> bool {
        self.known.has_read(server, kind)
    }

    /// A server's list was read to its end.
    pub(crate) fn was_read(&self, server: &ServerId, kind: ListKind) {
        if self.is_on() {
            self.known.was_read(server, pin_kind(kind));
        }
    }

    /// Whether only templates that wait could have made a URI.
    pub(crate) fn template_waits(&self, server: &ServerId, uri: &str) -> Option<Why> {
        self.known.template_waits(server, uri)
    }

    /// What outlives the process.
    pub(crate) fn store(&self) -> Option<Arc<dyn Store>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What of a list is pinned.
pub(crate) const fn pin_kind(kind: ListKind) -> PinKind {
    match kind {
        ListKind::Tools => PinKind::Tool,
        ListKind::Prompts => PinKind::Prompt,
        ListKind::Resources => PinKind::Resource,
        ListKind::Templates => PinKind::Template,
    }
}

/// The list in which it is shown.
const fn list_kind(kind: PinKind) -> Option<ListKind> {
    match kind {
        PinKind::Tool => Some(ListKind::Tools),
        PinKind::Prompt => Some(ListKind::Prompts),
        PinKind::Resource => Some(ListKind::Resources),
        PinKind::Template => Some(ListKind::Templates),
        PinKind::Instructions => None,
    }
}

fn measure<'a>(snapshot: &'a Snapshot, desired: &'a Desired, server: &ServerId) -> Option<Measure<'a>> {
    let settings = &snapshot.settings.pins;
    let rule = settings.rule(server)?;
    let marks = desired.pins_of(server.holder().tenant(), server.name());
    Some(Measure { settings, marks, rule })
}

impl Gateway {
    /// Takes in a page of a server's list, and which of it content guards want somebody to approve.
    pub(crate) fn learn_pins(
        &self,
        server: &ServerId,
        kind: ListKind,
        items: &[Item],
        held: &HashSet<Box<str>>,
    ) {
        if self.pins().is_on() {
            let shown = items.iter().map(|item| {
                let (key, raw) = (item.key(), item.original());
                Shown { key, raw, is_held: held.contains(key) }
            });
            self.learn_shown(server, pin_kind(kind), shown);
        }
    }

    fn learn_shown<'a>(&self, server: &ServerId, kind: PinKind, shown: impl IntoIterator<Item = Shown<'a>>) {
        let (snapshot, pins) = (self.snapshot(), self.pins());
        let desired = snapshot.identity.follower().now();
        let Some(measure) = measure(&snapshot, &desired, server) else { return };
        let turned = pins.known.learn(server, kind, shown, measure);
        if pins.known.has_news() {
            pins.woken.notify_one();
        }
        self.turn(server, &turned);
    }

    /// Leaves out what waits to be approved. What the gateway reads for itself has it all: policies are about that too.
    pub(crate) fn without_waiting(
        &self,
        tenant: &TenantId,
        server: &tollgate_model::ServerName,
        kind: ListKind,
        items: &mut Vec<Item>,
    ) {
        if !self.pins().is_on() {
            return;
        }
        let snapshot = self.snapshot();
        let Some(server) = snapshot.server(tenant, server) else { return };
        let desired = snapshot.identity.follower().now();
        let Some(measure) = measure(&snapshot, &desired, server.id()) else { return };
        let known = &self.pins().known;
        items.retain(|item| {
            let shown = Shown { key: item.key(), raw: item.original(), is_held: false };
            known.shows(server.id(), pin_kind(kind), &shown, measure)
        });
    }

    /// Whether a server's instructions, as a JSON string, are what was approved.
    pub(crate) fn allows_instructions(&self, server: &ServerId, raw: &[u8], is_held: bool) -> bool {
        if !self.pins().is_on() || self.snapshot().settings.pins.rule(server).is_none() {
            return true;
        }
        self.learn_shown(server, PinKind::Instructions, [Shown { key: "", raw, is_held }]);
        self.pins().find(server, PinKind::Instructions, "") == Found::Passes
    }
}
