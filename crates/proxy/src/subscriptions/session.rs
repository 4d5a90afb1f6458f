//! `resources/subscribe` and `resources/unsubscribe`: a legacy client's subscriptions belong to its session.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tollgate_mcp::{Limits, Message, compose, methods, quote};
use tollgate_model::{Code, Era, Refusal, ServerId, Stage};
use tollgate_telemetry::counters::{Keeping, Kept};
use tollgate_upstream::{Verdict, Watch};

use super::asked::check;
use super::fanout::{Registration, Thing, To};
use crate::gateway::{Gateway, LISTS_CHANGED};
use crate::inbound::Inbound;
use crate::mailbox::Mailbox;
use crate::reply::Reply;
use crate::session::Session;
use crate::snapshot::{Snapshot, sees_other_things};
use crate::stages::record::{self, Behalf, CallRecord, Doing, Effect};
use crate::stages::watch::Wishes;
use crate::stages::{guard, policy, resolve};

/// How often, after a reload, a server is asked again that could not be asked, and how many times.
const AGAIN: Duration = Duration::from_secs(5);
const TRIES_MAX: u32 = 60;

/// What one session is subscribed to, by the client's own URIs.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<String, Held>>);

#[derive(Debug)]
struct Held {
    told: Registration,
    _watch: Watch,
    _counted: Keeping,
}

impl Subscriptions {
    pub(crate) fn clear(&self) {
        let all = std::mem::take(&mut *self.lock());
        drop(all);
    }

    /// Lets go of the resources, by server and the server's own URI, that are not to be heard of any more.
    pub(crate) fn keep(&self, hears: impl Fn(&ServerId, &str) -> bool) {
        let mut held = self.lock();
        let gone: Vec<Held> = held
            .extract_if(|_, held| !hears(&held.told.spot.0, &held.told.native))
            .map(|(_, held)| held)
            .collect();
        drop(held);
        drop(gone);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn uris(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// At which server a resource is heard of, and what that calls it.
    fn at(&self, uri: &str) -> Option<(ServerId, Arc<str>)> {
        let held = self.lock();
        let told = &held.get(uri)?.told;
        Some((told.spot.0.clone(), Arc::clone(&told.native)))
    }

    fn has(&self, uri: &str) -> bool {
        self.lock().contains_key(uri)
    }

    fn check(&self, uri: &str, subscriptions_max: usize) -> Result<(), Refusal> {
        let held = self.lock();
        if held.len() < subscriptions_max || held.contains_key(uri) {
            return Ok(());
        }
        let text = "the session is subscribed to as many resources as allowed";
        Err(Refusal::new(Stage::Session, Code::Capacity, text))
    }

    fn put(&self, uri: &str, held: Held) {
        let before = self.lock().insert(uri.to_owned(), held);
        drop(before);
    }

    fn remove(&self, uri: &str) {
        let held = self.lock().remove(uri);
        drop(held);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers `resources/subscribe`, once the server has.
pub(crate) async fn subscribe(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let uri = inbound.required_text("uri")?;
    check(&uri)?;
    let session = inbound.session()?;
    session.subscriptions.check(&uri, inbound.snapshot.settings.subscriptions_max)?;
    match ask(gateway, inbound, &uri, session).await? {
        Outcome::Honoured(held) => {
            session.subscriptions.put(&uri, held);
            if !gateway.sessions().has(session) {
                // It ended meanwhile, and with it everything that it had.
                session.subscriptions.clear();
            }
            Ok(Reply::result(&inbound.id, b"{}"))
        }
        Outcome::Refused(message) => {
            let mut edit = message.edit();
            message.set_id(&mut edit, inbound.id.clone());
            Ok(Reply::new(200, edit.finish()))
        }
    }
}

/// Answers `resources/unsubscribe`. To end what was never begun is no error.
pub(crate) async fn unsubscribe(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    let uri = inbound.required_text("uri")?;
    let session = inbound.session()?;
    if let Some((server, native)) = session.subscriptions.at(&uri) {
        let method = methods::RESOURCES_UNSUBSCRIBE;
        let doing = Doing { method, server: &server, native: Some(&native), arguments: None };
        let (aside, _) = record::aside(gateway, Behalf::of(inbound), doing).await?;
        session.subscriptions.remove(&uri);
        aside.close(tollgate_ledger::Outcome::Ok, None).await;
    }
    Ok(Reply::result(&inbound.id, b"{}"))
}

/// After a change of the configuration: asks again for what the session is subscribed to, of the servers that are there
/// now, and tells it as changed. What is nobody's any more ends. A server may take long to start: what could not be asked
/// for is kept, and asked for again.
pub(crate) async fn renew(gateway: Gateway, session: Arc<Session>) {
    let mut snapshot = gateway.snapshot();
    let mut left = session.subscriptions.uris();
    for _ in 0..TRIES_MAX {
        left = renew_these(&gateway, &session, &snapshot, left).await;
        if left.is_empty() {
            return;
        }
        tokio::select! {
            () = gateway.draining() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
        let now = gateway.snapshot();
        let (tenant, endpoint) = (session.caller.tenant(), session.endpoint.as_ref());
        if !gateway.sessions().has(&session) || sees_other_things(&snapshot, &now, tenant, endpoint) {
            // It is over, or has been begun again.
            return;
        }
        snapshot = now;
    }
    for uri in &left {
        session.subscriptions.remove(uri);
    }
}

/// Gives back what could not be asked for.
async fn renew_these(
    gateway: &Gateway,
    session: &Arc<Session>,
    snapshot: &Arc<Snapshot>,
    uris: Vec<String>,
) -> Vec<String> {
    let mut left = Vec::new();
    let Some(endpoint) = snapshot.endpoint(session.caller.tenant(), session.endpoint.as_ref()) else {
        session.subscriptions.clear();
        return left;
    };
    for uri in uris {
        let params = compose::object(&[("uri", &quote(&uri))]);
        let request = compose::request(b"0", methods::RESOURCES_SUBSCRIBE, Some(&params));
        let Ok(message) = Message::parse(request, &Limits::default()) else { continue };
        let inbound = Inbound {
            message,
            id: Bytes::from_static(b"0"),
            caller: session.caller_now(),
            endpoint: Arc::clone(endpoint),
            snapshot: Arc::clone(snapshot),
            param_headers: None,
            outlet: Mailbox::new(1),
            session: Some(Arc::clone(session)),
            as_of: gateway.standing().mark(),
            record: Arc::new(CallRecord::begin()),
        };
        if !session.subscriptions.has(&uri) {
            // Unsubscribed from meanwhile.
            continue;
        }
        let asked = ask(gateway, &inbound, &uri, session).await;
        let _ = record::settle(gateway, &inbound, asked.as_ref().err()).await;
        match asked {
            Ok(Outcome::Honoured(held)) if gateway.sessions().has(session) => {
                held.told.missed();
                session.subscriptions.put(&uri, held);
            }
            Err(refusal) if !is_final(&refusal) => left.push(uri),
            _ => session.subscriptions.remove(&uri),
        }
    }
    left
}

/// Whether it is of no use to ask again soon. A resource that is not found may be that of a server that is not there yet.
fn is_final(refusal: &Refusal) -> bool {
    match refusal.code {
        Code::UnknownResource => refusal.stage == Stage::Dispatch,
        Code::MethodNotFound => true,
        _ => matches!(refusal.stage, Stage::Policy | Stage::Guard),
    }
}

/// What the server said to a subscription.
enum Outcome {
    Honoured(Held),
    Refused(Box<Message>),
}

async fn ask(
    gateway: &Gateway,
    inbound: &Inbound,
    uri: &str,
    session: &Arc<Session>,
) -> Result<Outcome, Refusal> {
    let resolved = resolve::watched(gateway, inbound, uri).await?;
    let permit = policy::decide(gateway, inbound, &resolved)?;
    let server = resolved.server();
    inbound.record.means(inbound, &resolved);
    guard::watches(gateway, inbound, &resolved)?;
    let effect = Effect { permit: Some(&permit), ..Effect::default() };
    let receipt = record::intend(gateway, inbound, effect).await?;
    let mut wishes = Wishes::at(server);
    let native = wishes.resource(&resolved, &permit);
    let watch = wishes.open(&inbound.caller, receipt).await.map_err(|error| error.refusal(server.name()))?;
    let settings = &inbound.snapshot.settings;
    let wait = server.settings().timeouts.probe;
    watch.settled(wait).await;
    let refusal = |code, text: String| Err(Refusal::new(Stage::Dispatch, code, text).of(server.name()));
    match watch.resource(&native) {
        Verdict::Honoured => {
            let waiting_max = settings.subscriptions_max + LISTS_CHANGED.len();
            let to = To::Session { session: Arc::downgrade(session), waiting_max };
            let public = (*native != *uri).then(|| Arc::from(uri));
            let spot = (server.id().clone(), watch.origin().clone());
            let thing = Thing { spot, native, public, is_task: false };
            let told = gateway.fanout().tell(&to, vec![thing], || {}).pop();
            match told {
                Some(told) => Ok(Outcome::Honoured(Held {
                    told,
                    _watch: watch,
                    _counted: Keeping::new(Kept::Subscription),
                })),
                None => refusal(Code::Internal, "the subscription could not be entered".to_owned()),
            }
        }
        Verdict::Refused(message) => {
            inbound.record.answered(inbound, &message, Era::Legacy);
            let clean = Box::pin(guard::cleaned(gateway, inbound, &resolved, *message)).await?;
            Ok(Outcome::Refused(Box::new(clean)))
        }
        Verdict::Failed(error) => Err(error.refusal(server.name())),
        Verdict::Undeclared => {
            refusal(Code::MethodNotFound, "the server's resources cannot be subscribed to".to_owned())
        }
        Verdict::Withheld => {
            let data = format!("\"uri\":{}", String::from_utf8_lossy(&quote(uri)));
            let text = format!("Resource not found, or it cannot be subscribed to: {uri}");
            Err(Refusal::new(Stage::Dispatch, Code::UnknownResource, text).of(server.name()).with_data(data))
        }
        Verdict::Pending => refusal(
            Code::UpstreamTimeout,
            format!("the server did not answer the subscription within {} ms", wait.as_millis()),
        ),
    }
}
