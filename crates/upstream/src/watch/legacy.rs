//! Watching a legacy server: `resources/subscribe` and `resources/unsubscribe`, once per resource.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use tokio::task::JoinSet;
use tollgate_mcp::{Kind, Message, compose, methods, quote};

use super::keep::End;
use super::{Desk, Lists, Verdict};
use crate::link::{Instance, Link};
use crate::{Incoming, Outbound, UpstreamError, hello};

/// How many of these requests are under way at once on one instance.
const AT_ONCE_MAX: usize = 16;

/// What was asked for: in which generation of the session, and whether it was granted.
type Made = HashMap<Arc<str>, (u64, bool)>;

/// Keeps the subscriptions of one instance as they are wanted.
pub(super) async fn attend(desk: &Desk, instance: &Arc<Instance>, missed: bool) -> End {
    let hello = &instance.hello;
    let link = Link::of(Arc::clone(instance));
    let mut pulse = instance.pulse.listen();
    let mut gaps = pulse.borrow_and_update().gaps;
    let mut made = Made::new();
    if missed {
        Lists::declared(hello).kinds().for_each(|kind| desk.tell(kind));
    }
    loop {
        instance.set_watched(desk.has_watchers());
        if !instance.is_usable() {
            return End::Lost;
        }
        desk.settle_declared(hello);
        if hello.may_be_watched() {
            unsubscribe(desk, &link, &mut made).await;
            subscribe(desk, &link, &mut made).await;
        }
        if desk.is_unwanted() {
            return End::Unwanted;
        }
        if instance.is_forgotten() {
            // Whatever is asked begins the session again, and its stream with it.
            let _ = ask(&link, methods::PING, None).await;
        }
        tokio::select! {
            () = desk.changed.notified() => {}
            () = instance.beats(&mut pulse) => {}
        }
        let now = pulse.borrow().gaps;
        if now != gaps {
            gaps = now;
            desk.tell_all_missed();
        }
    }
}

async fn subscribe(desk: &Desk, link: &Link, made: &mut Made) {
    let generation = link.0.pulse.generation();
    // What was refused is not asked for again before the session is another, or somebody wants it anew.
    let mut wanted = desk.uris();
    wanted.retain(|uri| {
        made.get(uri).is_none_or(|(when, _)| *when != generation)
            || matches!(desk.resource(uri), Verdict::Pending)
    });
    let mut wanted = wanted.into_iter();
    let mut asking = JoinSet::new();
    loop {
        while asking.len() < AT_ONCE_MAX
            && let Some(uri) = wanted.next()
        {
            let link = link.clone();
            asking.spawn(async move {
                let answer = ask(&link, methods::RESOURCES_SUBSCRIBE, Some(&uri)).await;
                (uri, answer)
            });
        }
        let Some(asked) = asking.join_next().await else { return };
        let Ok((uri, answer)) = asked else { continue };
        let again = made.get(&uri).is_some_and(|(when, granted)| *granted && *when != generation);
        let verdict = match answer {
            Ok(message) if message.kind() == Kind::Result => Verdict::Honoured,
            Ok(message) => Verdict::Refused(Box::new(message)),
            Err(error) => Verdict::Failed(error),
        };
        let honoured = matches!(verdict, Verdict::Honoured);
        made.insert(Arc::clone(&uri), (link.0.pulse.generation(), honoured));
        let before = desk.settle_one(&uri, verdict);
        if honoured && (before || again) {
            desk.tell_missed(uri);
        }
    }
}

async fn unsubscribe(desk: &Desk, link: &Link, made: &mut Made) {
    let left: Vec<Arc<str>> = made.keys().filter(|uri| !desk.is_wanted(uri)).cloned().collect();
    let mut asking = JoinSet::new();
    for uri in left {
        if !made.remove(&uri).is_some_and(|(_, granted)| granted) {
            continue;
        }
        if asking.len() >= AT_ONCE_MAX {
            asking.join_next().await;
        }
        let link = link.clone();
        // What the server makes of it changes nothing here.
        asking.spawn(async move { drop(ask(&link, methods::RESOURCES_UNSUBSCRIBE, Some(&uri)).await) });
    }
    while asking.join_next().await.is_some() {}
}

/// A request of the gateway's own.
async fn ask(link: &Link, method: &'static str, uri: Option<&str>) -> Result<Message, UpstreamError> {
    let id = link.mint();
    let params = uri.map(|uri| compose::object(&[("uri", &quote(uri))]));
    let body: Bytes = compose::request(id.to_string().as_bytes(), method, params.as_deref());
    let request = Outbound {
        id,
        method: method.into(),
        mcp_name: None,
        params: Vec::new(),
        also: Vec::new(),
        body: body.into(),
        waits: crate::Waits::within(link.0.shared.settings.timeouts.probe),
        log_level: None,
    };
    let mut exchange = link.request(request).await?;
    loop {
        match exchange.next().await? {
            Incoming::Response(message) => return Ok(message),
            Incoming::Notification(_) => {}
            Incoming::Request(request) => {
                if let Some(raw_id) = request.id_raw() {
                    link.notify(hello::nobody(&raw_id)).await?;
                }
            }
        }
    }
}
