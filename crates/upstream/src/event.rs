//! What servers say unasked that concerns more than one call.

use std::collections::HashSet;
use std::mem::Discriminant;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;

use tokio::sync::oneshot;
use tollgate_mcp::{Message, Segments, meta, methods};
use tollgate_model::{PrincipalId, ServerId, SessionId, TenantId};

use crate::key::{Key, Scope};

/// The longest URI of a resource that anyone can listen for.
pub const URI_BYTES_MAX: usize = 8 << 10;
/// The largest notification of a changed resource that is passed on as it is: each listener gets a copy of its own.
const UPDATE_BYTES_MAX: usize = 64 << 10;

/// A server said something that belongs to no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerEvent {
    /// Which server.
    pub server: ServerId,
    /// What happened.
    pub kind: EventKind,
    /// Whom it concerns: whoever shares the instance that said it.
    pub audience: Audience,
    /// The instance that said it, or the one that it took the place of.
    pub origin: Origin,
    /// Its place among those that wait.
    pub(crate) place: Place,
}

impl ServerEvent {
    /// Says that it waits no longer: what is told from now on is news again. To be called before anybody is told.
    pub fn is_taken(&self) {
        self.place.0.give_back();
    }
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// `notifications/tools/list_changed`.
    ToolsChanged,
    /// `notifications/prompts/list_changed`.
    PromptsChanged,
    /// `notifications/resources/list_changed`.
    ResourcesChanged,
    /// `notifications/resources/updated`, for whoever watches the resource (see [`crate::Server::watch`]).
    ResourceUpdated {
        /// The resource, by the server's own URI.
        uri: Arc<str>,
        /// The notification; none if it may have been missed and is told to be safe, or is too large to be copied for
        /// everyone.
        message: Option<Box<Message>>,
    },
    /// `notifications/tasks` of the 2026-07-28 extension, for whoever watches the task.
    TaskUpdated {
        /// The task, by the server's own id.
        task_id: Arc<str>,
        /// The notification.
        message: Box<Message>,
    },
    /// Another notification of a legacy server that belongs to no call, for the one client session whose instance
    /// said it.
    Notification(Box<Message>),
    /// A request of a legacy server that belongs to no call, for the one client session whose instance sent it.
    Request(Arc<Question>),
}

/// A server's request beside all calls, and the way for its answer. Dropped unanswered, the server hears that there is
/// nobody to ask.
#[derive(Debug)]
pub struct Question {
    request: Message,
    /// None is sent where the server wants no answer any more.
    answer: Mutex<Option<oneshot::Sender<Option<Segments>>>>,
}

impl Question {
    pub(crate) fn new(request: Message) -> (Self, oneshot::Receiver<Option<Segments>>) {
        let (answer, answered) = oneshot::channel();
        (Self { request, answer: Mutex::new(Some(answer)) }, answered)
    }

    /// What the server wants to know.
    pub fn request(&self) -> &Message {
        &self.request
    }

    /// Brings the server a response, under its own id. Only the first one counts.
    pub fn answer(&self, response: Segments) {
        self.settle(Some(response));
    }

    /// The server has taken it back: it gets no response.
    pub fn taken_back(&self) {
        self.settle(None);
    }

    /// Ends when nothing can be answered any more: the server has ended, or has forgotten that it asked.
    pub async fn given_up(&self) {
        std::future::poll_fn(|cx| {
            match self.answer.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
                Some(answer) => answer.poll_closed(cx),
                // It is answered.
                None => Poll::Pending,
            }
        })
        .await;
    }

    fn settle(&self, response: Option<Segments>) {
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(answer) = answer {
            // The server may have ended meanwhile.
            let _ = answer.send(response);
        }
    }
}

/// Two questions of the same words are still two.
impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for Question {}

impl std::hash::Hash for Question {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        std::ptr::from_ref(self).hash(state);
    }
}

/// Which of one server's events wait to be taken, so that its flood leaves room for what others say.
#[derive(Debug, Default)]
pub(crate) struct Waiting(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: usize,
    /// That a list has changed needs to be told only once until somebody looks.
    lists: HashSet<(Origin, Discriminant<EventKind>)>,
}

/// A place among the events that wait, given back at the latest when it is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Place(Arc<Held>);

#[derive(Debug)]
struct Held {
    waiting: Arc<Waiting>,
    list: Option<(Origin, Discriminant<EventKind>)>,
    is_given_back: AtomicBool,
}

/// Why an event has no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The same waits already.
    Known,
    /// As many wait as may.
    Full,
}

impl Waiting {
    /// A place for an event, if fewer than `max` wait.
    pub(crate) fn enter(
        self: &Arc<Self>,
        kind: &EventKind,
        origin: &Origin,
        max: usize,
    ) -> Result<Place, NoPlace> {
        let list = EventKind::LISTS.contains(kind).then(|| (origin.clone(), std::mem::discriminant(kind)));
        let mut state = self.lock();
        if list.as_ref().is_some_and(|list| state.lists.contains(list)) {
            return Err(NoPlace::Known);
        }
        if state.count >= max {
            return Err(NoPlace::Full);
        }
        state.count += 1;
        state.lists.extend(list.clone());
        drop(state);
        Ok(Place(Arc::new(Held { waiting: Arc::clone(self), list, is_given_back: AtomicBool::new(false) })))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn give_back(&self) {
        if self.is_given_back.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut state = self.waiting.lock();
        state.count -= 1;
        if let Some(list) = &self.list {
            state.lists.remove(list);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Where an event waits says nothing of what it is.
impl PartialEq for Place {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Place {}

/// Whom an event concerns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everyone who uses the server.
    Everyone,
    /// Everyone of this tenant.
    Tenant(TenantId),
    /// This principal.
    Principal(TenantId, PrincipalId),
    /// This client session.
    Session(SessionId),
}

/// Which of a server's instances: equal for whatever serves the same callers, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(pub(crate) Arc<Key>);

/// Who speaks, and whom it concerns.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) origin: Origin,
    pub(crate) audience: Audience,
}

impl Source {
    pub(crate) fn of(key: Key) -> Self {
        Self { audience: key.scope.audience(), origin: Origin(Arc::new(key)) }
    }

    /// Who shares the instance.
    pub(crate) fn scope(&self) -> &Scope {
        &self.origin.0.scope
    }

    /// A server that keeps nothing of anyone.
    pub(crate) fn everyone() -> Self {
        Self::of(Key::common(Scope::Shared, None))
    }
}

impl EventKind {
    /// The changes of lists.
    pub(crate) const LISTS: [Self; 3] = [Self::ToolsChanged, Self::PromptsChanged, Self::ResourcesChanged];

    /// The capability whose `listChanged` declares this event.
    pub(crate) fn capability(&self) -> &'static str {
        match self {
            Self::ToolsChanged => "tools",
            Self::PromptsChanged => "prompts",
            _ => "resources",
        }
    }

    /// The event that a notification is, wherever it comes: a change of a list or of a resource.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        match message.method() {
            methods::NOTIFICATIONS_TOOLS_LIST_CHANGED => Some(Self::ToolsChanged),
            methods::NOTIFICATIONS_PROMPTS_LIST_CHANGED => Some(Self::PromptsChanged),
            methods::NOTIFICATIONS_RESOURCES_LIST_CHANGED => Some(Self::ResourcesChanged),
            methods::NOTIFICATIONS_RESOURCES_UPDATED => {
                let uri = message.text("uri").filter(|uri| uri.len() <= URI_BYTES_MAX)?;
                let small = message.bytes().len() <= UPDATE_BYTES_MAX;
                let message = small.then(|| Box::new(message.clone()));
                Some(Self::ResourceUpdated { uri: Arc::from(&*uri), message })
            }
            _ => None,
        }
    }

    /// The event that a notification of a subscription is, if it tells of a task.
    pub(crate) fn of_task(message: Message) -> Option<Self> {
        if message.method() != methods::NOTIFICATIONS_TASKS {
            return None;
        }
        let task_id = Arc::from(&*message.text("taskId")?);
        Some(Self::TaskUpdated { task_id, message: Box::new(message) })
    }

    /// The event that a notification is which came beside all calls.
    pub(crate) fn beside_calls(message: Message) -> Option<Self> {
        match message.method() {
            methods::NOTIFICATIONS_MESSAGE
            // A server takes back what it asked, which may be beside all calls too.
            | methods::NOTIFICATIONS_CANCELLED
            | methods::NOTIFICATIONS_ELICITATION_COMPLETE
            | methods::NOTIFICATIONS_TASKS_STATUS => Some(Self::Notification(Box::new(message))),
            // A task outlives the call that it came from, and so does its progress (2025-11-25, tasks).
            methods::NOTIFICATIONS_PROGRESS if message.meta_member(meta::RELATED_TASK).is_some() => {
                Some(Self::Notification(Box::new(message)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use tollgate_mcp::Limits;

    #[test]
    fn a_large_update_is_told_in_few_words_and_one_of_an_endless_uri_not_at_all() {
        let of = |uri: &str, more: usize| {
            let more = "x".repeat(more);
            let text = format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{{"uri":"{uri}","more":"{more}"}}}}"#
            );
            let limits = Limits { bytes_max: 1 << 20, ..Limits::default() };
            EventKind::of(&Message::parse(Bytes::from(text), &limits).expect("a message"))
        };
        let own_words = |kind| match kind {
            Some(EventKind::ResourceUpdated { message, .. }) => Some(message.is_some()),
            _ => None,
        };
        assert_eq!(own_words(of("a:1", 0)), Some(true));
        assert_eq!(own_words(of("a:1", UPDATE_BYTES_MAX)), Some(false));
        let longest = "a".repeat(URI_BYTES_MAX);
        assert_eq!(own_words(of(&longest, 0)), Some(true));
        assert_eq!(of(&format!("{longest}a"), 0), None);
    }

    #[test]
    fn a_server_s_flood_waits_once_for_each_list_and_in_its_own_share() {
        let waiting = Arc::new(Waiting::default());
        let origin = Source::everyone().origin;
        let enter = |kind: &EventKind| waiting.enter(kind, &origin, 2);
        let first = enter(&EventKind::ToolsChanged).expect("room");
        assert_eq!(enter(&EventKind::ToolsChanged), Err(NoPlace::Known));
        let second = enter(&EventKind::PromptsChanged).expect("room");
        assert_eq!(enter(&EventKind::ResourcesChanged), Err(NoPlace::Full));
        first.0.give_back();
        let again = enter(&EventKind::ToolsChanged).expect("it is news again");
        drop(first);
        assert_eq!(enter(&EventKind::ResourcesChanged), Err(NoPlace::Full), "a place is given back once");
        drop((second, again));
        assert_eq!(waiting.lock().count, 0);
        assert!(waiting.lock().lists.is_empty());
    }
}
