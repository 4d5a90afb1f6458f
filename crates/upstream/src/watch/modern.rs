//! Watching a modern server: one `subscriptions/listen` stream for everything that anybody wants.
//!
//! A filter cannot be changed, so when other things are wanted another stream is opened, and the old one closed once
//! that stands.

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tollgate_mcp::{Kind, Message, methods};

use super::keep::End;
use super::{Desk, Filter};
use crate::backoff::Backoff;
use crate::conversation::{CallReceiver, Conversation};
use crate::link::{Instance, Wire};
use crate::stream::Stream;
use crate::{EventKind, Incoming, hello};

/// How often the server may leave the subscription unanswered before it is taken to have no such thing.
const SILENCES_MAX: u32 = 2;
/// How long further changes of what is wanted are waited for, so that a burst of them opens one stream.
const BURST: Duration = Duration::from_millis(10);

/// For how long a stream that is replaced is still read: what was sent on it before the new one stood may arrive later
/// than the new one's acknowledgement, since they are two connections.
const LINGER: Duration = Duration::from_millis(200);

/// A stream that stood for as long ended for a reason of its own: it is soon opened again.
const STEADY: Duration = Duration::from_secs(10);

/// A stream that stands.
struct Held {
    asked: Filter,
    granted: Filter,
    messages: Messages,
}

/// A stream that another has replaced, while it is still read.
struct Fading {
    held: Box<Held>,
    until: Instant,
    /// What the new one has told since. Of the same on the old one nothing is new.
    told: HashSet<EventKind>,
}

enum Messages {
    Http { id: u64, stream: Box<Stream> },
    Shared(Box<Subscription>),
}

/// A subscription on a stream that all calls share. Dropped, it is cancelled there.
struct Subscription {
    conversation: Conversation,
    id: u64,
    receiver: CallReceiver,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.conversation.leave(self.id, true);
    }
}

/// What came of asking for a stream.
enum Opened {
    Stands(Box<Held>),
    /// Nobody was there, or nobody answered.
    Silent,
    /// The server refused it.
    Refused,
}

/// How it goes with one server.
struct Attempts {
    /// What is not asked for again, since it was refused.
    hopeless: Option<Filter>,
    /// It has let every such request hang so far.
    deaf: bool,
    failures: u32,
    silences: u32,
    stood: bool,
    /// When the last stream began to stand.
    since: Option<Instant>,
    not_before: Instant,
    backoff: Backoff,
}

/// Keeps one stream open whose filter is what is wanted.
pub(super) async fn attend(desk: &Desk, instance: &Arc<Instance>, missed: bool) -> End {
    let timeouts = &desk.shared.settings.timeouts;
    let mut attempts = Attempts {
        hopeless: None,
        deaf: false,
        failures: 0,
        silences: 0,
        stood: false,
        since: None,
        not_before: Instant::now(),
        backoff: Backoff::new(timeouts.backoff_min, timeouts.backoff_max),
    };
    let mut pulse = instance.pulse.listen();
    let mut held: Option<Box<Held>> = None;
    let mut fading: Option<Fading> = None;
    let mut gap = missed;
    loop {
        instance.set_watched(desk.has_watchers());
        if !instance.is_usable() {
            return End::Lost;
        }
        if desk.is_unwanted() {
            return End::Unwanted;
        }
        let wanted = desk.filter(&instance.hello);
        let stands = held.as_ref().is_some_and(|held| held.serves(&wanted));
        let hopeless = attempts.deaf || attempts.hopeless.as_ref() == Some(&wanted);
        if wanted.is_empty() || hopeless {
            if wanted.is_empty() {
                held = None;
            }
            let granted = held.as_ref().map(|held| held.granted.clone()).unwrap_or_default();
            desk.settle(&wanted, &granted, &instance.hello);
        } else if stands {
            let held = held.as_ref().map(|held| held.granted.clone()).unwrap_or_default();
            desk.settle(&wanted, &held, &instance.hello);
        } else if Instant::now() >= attempts.not_before {
            gather(desk, &mut held, &mut gap).await;
            let wanted = desk.filter(&instance.hello);
            match open_beside(desk, instance, &wanted, &mut held, &mut gap).await {
                Opened::Stands(new) => {
                    attempts.stands();
                    if let Some(old) = held.replace(new)
                        && matches!(old.messages, Messages::Http { .. })
                    {
                        let until = Instant::now() + LINGER;
                        attempts.not_before = until;
                        fading = Some(Fading { held: old, until, told: HashSet::new() });
                    }
                    if let Some(held) = &held {
                        desk.settle(&wanted, &held.granted, &instance.hello);
                        if std::mem::take(&mut gap) {
                            tell_missed(desk, &held.granted);
                        }
                    }
                }
                Opened::Refused => attempts.hopeless = Some(wanted),
                Opened::Silent => attempts.silent(desk, held.as_deref()),
            }
            continue;
        }
        let waits = !(stands || hopeless || wanted.is_empty());
        tokio::select! {
            heard = next(&mut held) => {
                if let (Some(fading), Some(message)) = (&mut fading, &heard) {
                    fading.told.extend(told(message));
                }
                if take(desk, heard).is_break() {
                    held = None;
                    gap = true;
                    attempts.failed();
                }
            }
            heard = fade(&mut fading) => match heard {
                Some(message) => {
                    let known = |fading: &Fading| told(&message).is_some_and(|kind| fading.told.contains(&kind));
                    if !fading.as_ref().is_some_and(known) {
                        let _ = take(desk, Some(message));
                    }
                }
                // The old stream is closed here.
                None => fading = None,
            },
            () = desk.changed.notified() => {}
            () = instance.beats(&mut pulse) => {}
            () = sleep_until(attempts.not_before), if waits => {}
        }
    }
}

impl Attempts {
    fn stands(&mut self) {
        self.hopeless = None;
        self.silences = 0;
        self.stood = true;
        self.since = Some(Instant::now());
    }

    /// One more failure in a row; the first, after a stream that stood for long.
    fn failed(&mut self) {
        if self.since.take().is_some_and(|since| since.elapsed() >= STEADY) {
            self.failures = 0;
        }
        self.failures += 1;
        self.not_before = Instant::now() + self.backoff.after(self.failures);
    }

    fn silent(&mut self, desk: &Desk, held: Option<&Held>) {
        self.failed();
        self.silences += 1;
        if self.silences >= SILENCES_MAX && !self.stood {
            self.deaf = true;
        } else if held.is_none() {
            let wait = desk.shared.settings.timeouts.probe;
            desk.fail(&crate::UpstreamError::Timeout { what: "subscriptions/listen", after: wait });
        }
    }
}

/// Waits for a burst of changes to be over.
async fn gather(desk: &Desk, held: &mut Option<Box<Held>>, gap: &mut bool) {
    let mut quiet = std::pin::pin!(sleep(BURST));
    loop {
        tokio::select! {
            () = &mut quiet => return,
            heard = next(held) => if take(desk, heard).is_break() {
                *held = None;
                *gap = true;
            },
        }
    }
}

/// Opens a stream while the old one goes on being read.
async fn open_beside(
    desk: &Desk,
    instance: &Arc<Instance>,
    wanted: &Filter,
    held: &mut Option<Box<Held>>,
    gap: &mut bool,
) -> Opened {
    let wait = desk.shared.settings.timeouts.probe;
    let mut opening = std::pin::pin!(timeout(wait, open(instance, wanted)));
    loop {
        tokio::select! {
            opened = &mut opening => return opened.unwrap_or(Opened::Silent),
            heard = next(held) => if take(desk, heard).is_break() {
                *held = None;
                *gap = true;
            },
        }
    }
}

async fn open(instance: &Arc<Instance>, wanted: &Filter) -> Opened {
    let id = instance.mint();
    let body = hello::listen(id, wanted);
    let mut messages = match &instance.wire {
        Wire::Modern(site) => {
            let Ok(reply) = site.hold_open(body).await else { return Opened::Silent };
            let status = reply.status();
            if status.is_server_error() || status == http::StatusCode::TOO_MANY_REQUESTS {
                return Opened::Silent;
            }
            if !status.is_success() {
                return Opened::Refused;
            }
            match Stream::new(reply, Arc::clone(&instance.shared), &site.replica) {
                Ok(stream) => Messages::Http { id, stream: Box::new(stream) },
                Err(_) => return Opened::Refused,
            }
        }
        Wire::Shared(conversation) => {
            let Ok(receiver) = conversation.subscribe(id, body).await else { return Opened::Silent };
            Messages::Shared(Box::new(Subscription { conversation: (**conversation).clone(), id, receiver }))
        }
        Wire::Session(_) => return Opened::Refused,
    };
    // The first message says what the server honours (2026-07-28, subscriptions).
    match messages.next().await {
        Some(first) if first.method() == methods::NOTIFICATIONS_SUBSCRIPTIONS_ACKNOWLEDGED => {
            Opened::Stands(Box::new(Held {
                asked: wanted.clone(),
                granted: wanted.granted(&first),
                messages,
            }))
        }
        _ => Opened::Refused,
    }
}

impl Messages {
    /// The next notification, or the answer that ends it all; none once it has ended. Dropping the future loses
    /// nothing.
    async fn next(&mut self) -> Option<Message> {
        loop {
            let message = match self {
                Self::Http { stream, .. } => stream.message().await.ok()?,
                Self::Shared(subscription) => match subscription.receiver.recv().await? {
                    Ok(Incoming::Notification(message) | Incoming::Request(message)) => message,
                    Ok(Incoming::Response(_)) | Err(_) => return None,
                },
            };
            let own = match self {
                Self::Http { id, .. } => *id,
                Self::Shared(subscription) => subscription.id,
            };
            match message.kind() {
                Kind::Notification => return Some(message),
                Kind::Result | Kind::Error if message.id_u64() == Some(own) => return None,
                Kind::Result | Kind::Error | Kind::Request => {}
            }
        }
    }
}

impl Held {
    /// Whether another filter would get nothing more, and nothing less.
    fn serves(&self, wanted: &Filter) -> bool {
        let fits = |asked: &BTreeSet<Arc<str>>, granted: &BTreeSet<Arc<str>>, wanted: &BTreeSet<Arc<str>>| {
            wanted.is_subset(asked) && granted.is_subset(wanted)
        };
        self.asked.lists == wanted.lists
            && fits(&self.asked.uris, &self.granted.uris, &wanted.uris)
            && fits(&self.asked.task_ids, &self.granted.task_ids, &wanted.task_ids)
    }
}

/// What a notification tells, apart from its wording.
fn told(message: &Message) -> Option<EventKind> {
    Some(match EventKind::of(message)? {
        EventKind::ResourceUpdated { uri, .. } => EventKind::ResourceUpdated { uri, message: None },
        kind => kind,
    })
}

/// The next message of a stream that is still read for a while; none when that is over.
async fn fade(fading: &mut Option<Fading>) -> Option<Message> {
    match fading {
        Some(Fading { held, until, .. }) => timeout_at(*until, held.messages.next()).await.ok().flatten(),
        None => std::future::pending().await,
    }
}

async fn next(held: &mut Option<Box<Held>>) -> Option<Message> {
    match held {
        Some(held) => held.messages.next().await,
        None => std::future::pending().await,
    }
}

/// Tells of what was heard. Breaks at the end of the stream.
fn take(desk: &Desk, heard: Option<Message>) -> ControlFlow<()> {
    let Some(message) = heard else { return ControlFlow::Break(()) };
    if let Some(kind) = EventKind::of(&message).or_else(|| EventKind::of_task(message)) {
        desk.tell(kind);
    }
    ControlFlow::Continue(())
}

/// Whatever changed while nobody listened was not heard.
fn tell_missed(desk: &Desk, granted: &Filter) {
    granted.lists.kinds().for_each(|kind| desk.tell(kind));
    granted.uris.iter().cloned().for_each(|uri| desk.tell_missed(uri));
}
