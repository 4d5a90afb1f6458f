//! Where the wishes of all who share an instance meet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_model::Caller;

use super::{Filter, Interest, Lists, Verdict};
use crate::event::Source;
use crate::hello::Hello;
use crate::link::Instance;
use crate::shared::Shared;
use crate::{EventKind, UpstreamError};

/// Who wants what of one instance, and of whatever takes its place.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) source: Source,
    pub(crate) shared: Arc<Shared>,
    /// Who finds the instance: any one of those who share it.
    pub(crate) caller: Caller,
    pub(crate) stop: CancellationToken,
    /// Something is wanted, or no longer wanted.
    pub(crate) changed: Notify,
    /// The server has answered to something.
    answered: Notify,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watchers: usize,
    uris: HashMap<Arc<str>, Wish>,
    task_ids: HashMap<Arc<str>, Wish>,
    lists: Option<Lists>,
    /// The modern instance whose lists are listened to, whoever watches.
    attended: Weak<Instance>,
}

#[derive(Debug)]
struct Wish {
    count: usize,
    verdict: Verdict,
    /// It was granted once: from then on a gap may have hidden a change.
    granted_before: bool,
}

type Wishes = HashMap<Arc<str>, Wish>;

impl Desk {
    pub(crate) fn new(source: Source, shared: Arc<Shared>, caller: Caller, stop: CancellationToken) -> Self {
        Self {
            source,
            shared,
            caller,
            stop,
            changed: Notify::new(),
            answered: Notify::new(),
            state: Mutex::default(),
        }
    }

    /// Enters wishes, if there is room.
    pub(crate) fn want(&self, interest: &Interest) -> Result<(), UpstreamError> {
        let max = self.shared.settings.limits.watched_max;
        let mut state = self.lock();
        let has = state.uris.len() + state.task_ids.len();
        let new = |texts: &[Arc<str>], known: &Wishes| {
            texts.iter().filter(|text| !known.contains_key(*text)).count()
        };
        let more = new(&interest.uris, &state.uris) + new(&interest.task_ids, &state.task_ids);
        if has + more > max {
            return Err(UpstreamError::Capacity {
                what: "too many resources of this server are subscribed to",
                max,
            });
        }
        state.watchers += 1;
        for uri in &interest.uris {
            add(&mut state.uris, uri);
        }
        for task_id in &interest.task_ids {
            add(&mut state.task_ids, task_id);
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// A watcher leaves, and takes its wishes back.
    pub(crate) fn release(&self, interest: &Interest) {
        self.lock().watchers -= 1;
        self.take_back(interest);
    }

    /// Takes wishes back.
    pub(crate) fn take_back(&self, interest: &Interest) {
        let mut state = self.lock();
        for uri in &interest.uris {
            remove(&mut state.uris, uri);
        }
        for task_id in &interest.task_ids {
            remove(&mut state.task_ids, task_id);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// This instance's lists are to be listened to while it lasts.
    pub(crate) fn attend(&self, instance: &Arc<Instance>) {
        self.lock().attended = Arc::downgrade(instance);
        self.changed.notify_one();
    }

    /// The instance that is listened to without anyone watching.
    pub(crate) fn attended(&self) -> Option<Arc<Instance>> {
        self.lock().attended.upgrade().filter(|instance| instance.is_usable())
    }

    /// Whether an instance was listened to that has ended.
    pub(crate) fn has_lost_whom_it_attends(&self) -> bool {
        let state = self.lock();
        let never = state.attended.ptr_eq(&Weak::new());
        !never && state.attended.upgrade().is_none_or(|instance| !instance.is_usable())
    }

    pub(crate) fn has_watchers(&self) -> bool {
        self.lock().watchers > 0
    }

    pub(crate) fn is_unwanted(&self) -> bool {
        !self.has_watchers() && self.attended().is_none()
    }

    /// What a modern server is to be asked for. What it does not declare is not asked for.
    pub(crate) fn filter(&self, hello: &Hello) -> Filter {
        let state = self.lock();
        let uris = if hello.may_be_watched() { state.uris.keys().cloned().collect() } else { [].into() };
        Filter { lists: Lists::declared(hello), uris, task_ids: state.task_ids.keys().cloned().collect() }
    }

    pub(crate) fn uris(&self) -> Vec<Arc<str>> {
        self.lock().uris.keys().cloned().collect()
    }

    pub(crate) fn is_wanted(&self, uri: &str) -> bool {
        self.lock().uris.contains_key(uri)
    }

    /// The server has answered to this filter by granting that much of it.
    pub(crate) fn settle(&self, asked: &Filter, granted: &Filter, hello: &Hello) {
        let mut state = self.lock();
        let undeclared = !hello.may_be_watched();
        for (uri, wish) in &mut state.uris {
            if granted.uris.contains(uri) {
                wish.grant();
            } else if undeclared {
                wish.verdict = Verdict::Undeclared;
            } else if asked.uris.contains(uri) {
                wish.verdict = Verdict::Withheld;
            }
        }
        for (task_id, wish) in &mut state.task_ids {
            if granted.task_ids.contains(task_id) {
                wish.grant();
            } else if asked.task_ids.contains(task_id) {
                wish.verdict = Verdict::Withheld;
            }
        }
        state.lists = Some(granted.lists);
        drop(state);
        self.answered.notify_waiters();
    }

    /// The lists that a legacy server declares, and what else can be known without asking it.
    pub(crate) fn settle_declared(&self, hello: &Hello) {
        let mut state = self.lock();
        state.lists = Some(Lists::declared(hello));
        for wish in state.task_ids.values_mut() {
            wish.verdict = Verdict::Undeclared;
        }
        if !hello.may_be_watched() {
            for wish in state.uris.values_mut() {
                wish.verdict = Verdict::Undeclared;
            }
        }
        drop(state);
        self.answered.notify_waiters();
    }

    /// The server has answered to the wish for one resource. Gives back whether that was granted before.
    pub(crate) fn settle_one(&self, uri: &str, verdict: Verdict) -> bool {
        let mut before = false;
        if let Some(wish) = self.lock().uris.get_mut(uri) {
            before = wish.granted_before;
            match verdict {
                Verdict::Honoured => wish.grant(),
                verdict => wish.verdict = verdict,
            }
        }
        self.answered.notify_waiters();
        before
    }

    /// The server cannot be asked now.
    pub(crate) fn fail(&self, error: &UpstreamError) {
        let mut state = self.lock();
        let State { uris, task_ids, lists, .. } = &mut *state;
        for wish in uris.values_mut().chain(task_ids.values_mut()) {
            if matches!(wish.verdict, Verdict::Pending) {
                wish.verdict = Verdict::Failed(error.clone());
            }
        }
        lists.get_or_insert_default();
        drop(state);
        self.answered.notify_waiters();
    }

    /// Waits until every wish has an answer.
    pub(crate) async fn settled(&self, interest: &Interest) {
        loop {
            let mut answered = std::pin::pin!(self.answered.notified());
            answered.as_mut().enable();
            if self.has_answered(interest) {
                return;
            }
            answered.await;
        }
    }

    fn has_answered(&self, interest: &Interest) -> bool {
        let state = self.lock();
        let pending = |wishes: &Wishes, text: &Arc<str>| {
            wishes.get(text).is_none_or(|wish| matches!(wish.verdict, Verdict::Pending))
        };
        (!interest.lists || state.lists.is_some())
            && !interest.uris.iter().any(|uri| pending(&state.uris, uri))
            && !interest.task_ids.iter().any(|task_id| pending(&state.task_ids, task_id))
    }

    pub(crate) fn resource(&self, uri: &str) -> Verdict {
        self.lock().uris.get(uri).map_or(Verdict::Pending, |wish| wish.verdict.clone())
    }

    pub(crate) fn task(&self, task_id: &str) -> Verdict {
        self.lock().task_ids.get(task_id).map_or(Verdict::Pending, |wish| wish.verdict.clone())
    }

    pub(crate) fn lists(&self) -> Lists {
        self.lock().lists.unwrap_or_default()
    }

    /// Tells everyone who shares the instance.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.shared.event(kind, &self.source);
    }

    /// Tells that a resource may have changed while nobody could hear of it.
    pub(crate) fn tell_missed(&self, uri: Arc<str>) {
        self.tell(EventKind::ResourceUpdated { uri, message: None });
    }

    /// The same of every resource that was granted, for when nothing has to be asked for again.
    pub(crate) fn tell_all_missed(&self) {
        let granted = |(uri, wish): (&Arc<str>, &Wish)| wish.granted_before.then(|| Arc::clone(uri));
        let uris: Vec<Arc<str>> = self.lock().uris.iter().filter_map(granted).collect();
        for uri in uris {
            self.tell_missed(uri);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wish {
    fn grant(&mut self) {
        self.verdict = Verdict::Honoured;
        self.granted_before = true;
    }
}

fn add(wishes: &mut Wishes, text: &Arc<str>) {
    let fresh = || Wish { count: 0, verdict: Verdict::Pending, granted_before: false };
    wishes.entry(Arc::clone(text)).or_insert_with(fresh).count += 1;
}

fn remove(wishes: &mut Wishes, text: &Arc<str>) {
    if let Some(wish) = wishes.get_mut(text) {
        wish.count -= 1;
        if wish.count == 0 {
            wishes.remove(text);
        }
    }
}
