//! `subscriptions/listen` of a modern server: the only way to hear that its lists have changed.

use std::sync::{Arc, Weak};

use tokio::time::timeout;
use tollgate_mcp::{Kind, methods};

use crate::EventKind;
use crate::backoff::Backoff;
use crate::hello::{self, Hello, LISTEN};
use crate::link::Instance;
use crate::site::Site;
use crate::stream::Stream;

/// How often the server may leave the subscription unanswered before it is taken to have no such thing.
const SILENCES_MAX: u32 = 2;

/// What a server declares that its clients can listen for.
pub(crate) fn declared(hello: &Hello) -> Vec<EventKind> {
    EventKind::LISTS.into_iter().filter(|kind| hello.may_change(kind.capability())).collect()
}

/// What came of one subscription.
enum Held {
    /// It stood, and ended.
    Ended,
    /// Nobody was there, or nobody answered.
    Silent,
    /// The server refused it.
    Refused,
}

/// Keeps a subscription to a server with a URL while its instance is in use.
pub(crate) async fn listen(site: Arc<Site>, instance: Weak<Instance>, kinds: Vec<EventKind>) {
    let timeouts = &site.shared.settings.timeouts;
    let backoff = Backoff { min: timeouts.backoff_min, max: timeouts.backoff_max };
    let mut failures = 0;
    let mut silences = 0;
    let mut stood_before = false;
    while instance.upgrade().is_some_and(|instance| instance.is_usable()) {
        match hold(&site, &instance, &kinds, stood_before).await {
            Held::Refused => return,
            Held::Ended => {
                (failures, silences) = (1, 0);
                stood_before = true;
            }
            Held::Silent => {
                failures += 1;
                silences += 1;
                if silences >= SILENCES_MAX && !stood_before {
                    return;
                }
            }
        }
        tokio::time::sleep(backoff.after(failures)).await;
    }
}

async fn hold(site: &Arc<Site>, instance: &Weak<Instance>, kinds: &[EventKind], again: bool) -> Held {
    let shared = &site.shared;
    let wait = shared.settings.timeouts.probe;
    let opening = async {
        let reply = site.hold_open(hello::listen(kinds)).await.ok()?;
        if !reply.status().is_success() {
            return Some(Err(Held::Refused));
        }
        let Ok(mut stream) = Stream::new(reply, Arc::clone(shared)) else { return Some(Err(Held::Refused)) };
        // The first message says what the server honours (2026-07-28, subscriptions).
        let first = stream.message().await.ok()?;
        let acknowledged = first.method() == methods::NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED;
        Some(if acknowledged { Ok(stream) } else { Err(Held::Refused) })
    };
    let mut stream = match timeout(wait, opening).await {
        Ok(Some(Ok(stream))) => stream,
        Ok(Some(Err(held))) => return held,
        Ok(None) | Err(_) => return Held::Silent,
    };
    let tell = |kind: EventKind| {
        if let Some(instance) = instance.upgrade() {
            shared.event(kind, &instance.source);
        }
    };
    if again {
        // Whatever changed while nobody listened was not heard.
        kinds.iter().cloned().for_each(tell);
    }
    while let Ok(message) = stream.message().await {
        match message.kind() {
            Kind::Notification => EventKind::of(&message).into_iter().for_each(tell),
            Kind::Result | Kind::Error if message.id_u64() == Some(LISTEN) => break,
            _ => {}
        }
    }
    Held::Ended
}
