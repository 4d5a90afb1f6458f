//! What follows when what is approved changes, or a server shows something else: clients are told, the store hears of it, and
//! it is put on record.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use tokio::time::sleep;
use tollgate_catalog::ListKind;
use tollgate_guard::pins::{Definition, Difference, compare};
use tollgate_model::{Caller, EndpointName, ServerId, Timestamp};
use tollgate_store::{Sighting, Sightings, Store};
use tollgate_telemetry::counters;
use tollgate_telemetry::events::PinTurned;

use super::known::{Standing, Turned, pin_of};
use super::{list_kind, measure};
use crate::gateway::{Gateway, Inner, method_of, tell_list};
use crate::stages::{policy, record};

/// How often the store is told of what servers show, at most: one that shows something else each time writes no more.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// How soon it is tried again after the store did not answer.
const RETRY: Duration = Duration::from_secs(5);
/// Whether something was approved by being seen.
pub(crate) fn is_first_use(by: &str) -> bool {
    by == FIRST_USE
}

/// How many items of a server the store is told of at once.
const BATCH: usize = 200;
/// Of how many items that wait it is found out at once what their changes risk.
const EXAMINED_MAX: usize = 50;
/// In whose name that is approved which is approved by being seen.
const FIRST_USE: &str = "tollgate:first-use";

impl Gateway {
    /// Keeps what is pinned in this store, and reads what servers show from now on.
    pub fn keep_pins(&self, store: Option<Arc<dyn Store>>) {
        if let Some(store) = store {
            self.policing().upkeep().keep_in(Arc::clone(&store));
            *self.pins().store.lock().unwrap_or_else(PoisonError::into_inner) = Some(store);
        }
        self.take_pins(true);
        self.pins().woken.notify_one();
        self.policing().upkeep().wake();
    }

    /// Compares anew what servers show, where something else is approved by now, or by other settings.
    pub(crate) fn take_pins(&self, is_anew: bool) {
        let (snapshot, pins) = (self.snapshot(), self.pins());
        let is_on = snapshot.settings.pins.are_on();
        let was_on = pins.is_on.swap(is_on, Ordering::Relaxed);
        if !is_on {
            return;
        }
        if !was_on {
            // What was kept meanwhile was compared with nothing.
            for server in snapshot.servers() {
                self.cache().forget(server.number());
            }
            self.policing().upkeep().wake();
        }
        if is_anew {
            pins.known.retain(|id| snapshot.server_of(id).is_some());
            counters::pins_waiting(pins.known.waiting());
        }
        let desired = snapshot.identity.follower().now();
        for server in snapshot.servers() {
            if let Some(measure) = measure(&snapshot, &desired, server.id()) {
                let turned = pins.known.measure(server.id(), measure, is_anew);
                self.turn(server.id(), &turned);
            }
        }
    }

    /// Does what follows when items of a server wait, or wait no longer.
    pub(super) fn turn(&self, server: &ServerId, turned: &[Turned]) {
        if turned.is_empty() {
            return;
        }
        for Turned { kind, standing, .. } in turned {
            let (waits, why) = match standing {
                Standing::Good => (false, "approved"),
                Standing::Waits(why) => (true, why.as_str()),
                Standing::Reported(why) => (false, why.as_str()),
            };
            PinTurned { kind: kind.as_str(), waits, why, server }.emit();
        }
        counters::pins_waiting(self.pins().known.waiting());
        self.uri_indexes().changed(server);
        self.tool_indexes().changed(server);
        let kinds: HashSet<ListKind> = turned.iter().filter_map(|turned| list_kind(turned.kind)).collect();
        for kind in kinds {
            self.tell_of_list(server, kind);
        }
    }

    /// Tells whoever is connected, and sees the server, of a list that looks otherwise now.
    pub(crate) fn tell_of_list(&self, server: &ServerId, kind: ListKind) {
        let snapshot = self.snapshot();
        let concerned = |caller: &Caller, endpoint: Option<&EndpointName>| {
            snapshot.shows(caller.tenant(), endpoint, kind, server)
                && policy::sees(self, caller, endpoint, server.name())
        };
        for session in self.sessions().all() {
            if concerned(&session.caller_now(), session.endpoint.as_ref()) {
                tell_list(&session, kind);
            }
        }
        self.fanout().list_changed(kind, method_of(kind), |caller, endpoint, _| concerned(caller, endpoint));
    }
}

/// Tells the store of what servers show, for as long as there is a gateway.
pub(crate) async fn run(gateway: Weak<Inner>) {
    loop {
        let Some(woken) = gateway.upgrade().map(Gateway::of).map(|gateway| gateway.shared_pins()) else {
            return;
        };
        woken.woken.notified().await;
        drop(woken);
        loop {
            let Some(now) = gateway.upgrade().map(Gateway::of) else { return };
            let Some(store) = now.pins().store() else { break };
            let news = now.pins().known.take_news(BATCH);
            if news.is_empty() {
                break;
            }
            let mut failed = false;
            for (server, news) in news {
                failed |= !tell(&now, &*store, &server, news).await;
            }
            drop(now);
            sleep(if failed { RETRY } else { TELL_EVERY }).await;
        }
    }
}

/// Says whether the store has heard of it.
async fn tell(gateway: &Gateway, store: &dyn Store, server: &ServerId, news: Vec<Sighting>) -> bool {
    let sightings = Sightings {
        tenant: server.holder().tenant().cloned(),
        server: server.name().clone(),
        items: news.clone(),
        at: Timestamp::now(),
        by: FIRST_USE.into(),
    };
    match store.sight(sightings).await {
        Ok(0) => true,
        Ok(changed) => {
            let trusted = news.iter().filter(|sighting| sighting.is_trusted).count();
            let said = [("pins", changed.into()), ("trusted", trusted.into())];
            record::upkeep(gateway, server, None, said);
            for sighting in news.iter().filter(|sighting| !sighting.is_trusted).take(EXAMINED_MAX) {
                examine(gateway, store, server, sighting).await;
            }
            true
        }
        Err(error) => {
            tracing::warn!(server = %server.label(), %error, "what is pinned of the server could not be kept");
            gateway.pins().known.put_back(server, news);
            false
        }
    }
}

/// Finds out what the change of an item that waits risks, and puts it on record.
async fn examine(gateway: &Gateway, store: &dyn Store, server: &ServerId, sighting: &Sighting) {
    let of = pin_of(server, sighting.kind, &sighting.item);
    let Ok(Some(pin)) = store.pin(&of).await else { return };
    let Some(waiting) = pin.waiting.filter(|waiting| waiting.digest == sighting.shape.digest) else { return };
    let read = |text: &bytes::Bytes| Definition::from_text(sighting.kind, text);
    let approved = pin.approved.and_then(|shape| shape.text).as_ref().map(read);
    let Difference { fields, risks } = match waiting.text.as_ref().map(read) {
        Some(waiting) => compare(approved.as_ref(), &waiting),
        None => Difference::default(),
    };
    let worst = risks.iter().map(|risk| risk.severity).max().map_or("unknown", |severity| severity.as_str());
    let fields: Vec<&str> = fields.iter().map(|change| &*change.field).take(32).collect();
    let ids: HashSet<&str> = risks.iter().map(|risk| risk.id).collect();
    let said = [
        ("kind", sighting.kind.as_str().into()),
        ("item", (&*sighting.item).into()),
        ("digest", waiting.digest.to_string().into()),
        ("severity", worst.into()),
        ("risks", ids.into_iter().collect::<serde_json::Value>()),
        ("fields", fields.into_iter().collect::<serde_json::Value>()),
    ];
    tracing::warn!(
        server = %server.label(), kind = sighting.kind.as_str(), severity = worst,
        "a definition is not what was approved: `tollgate pins diff` shows how, and it waits to be approved"
    );
    record::upkeep(gateway, server, Some("quarantined"), said);
}
