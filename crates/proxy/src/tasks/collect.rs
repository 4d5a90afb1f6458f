//! What legacy servers ask while their tasks run, kept until modern clients have answered it.
//!
//! A server asks on the stream of `tasks/result` (2025-11-25, tasks, input required status), and a modern client learns
//! of it by `tasks/get` and answers by `tasks/update`. So the gateway holds that stream open, for each task that needs
//! input, until the task ends, or for as long as a client may take to answer what was asked last.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tollgate_mcp::{Change, Edit, Segments, Span, compose, find, meta, methods, quote};
use tollgate_model::{Refusal, ServerId};
use tollgate_upstream::{Replies, UpstreamError};

use super::ask::Speaker;
use super::owners::Key;
use super::waits::Wait;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::input::{self, Asked, Asker, Later, Owed};
use crate::mailbox::Mailbox;
use crate::stages::Route;
use crate::stages::dispatch::{self, Listener, Own, Sent};
use crate::stages::record::{self, Behalf, Doing, Receipt};

/// How long a client that asks how its task is waits for the questions that the server is about to ask.
const QUESTION_WAIT: Duration = Duration::from_secs(2);

/// How many questions of one task may be open.
const OPEN_MAX: usize = 64;

/// The tasks whose questions are collected.
#[derive(Debug, Default)]
pub(crate) struct Collectors(Mutex<HashMap<Key, Arc<Collector>>>);

/// The questions of one task.
struct Collector {
    questions: Mutex<Questions>,
    changed: Notify,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Questions {
    open: Vec<Later>,
    /// The way back to who asks.
    replies: Option<Replies>,
    /// Keys are unique over the life of a task.
    asked: u64,
}

impl Collectors {
    /// Ends all of them.
    pub(super) fn stop(&self) {
        for collector in std::mem::take(&mut *self.lock()).into_values() {
            collector.stop.cancel();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Collector>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Collector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collector").finish_non_exhaustive()
    }
}

impl Collector {
    fn new() -> Self {
        Self { questions: Mutex::default(), changed: Notify::new(), stop: CancellationToken::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Questions> {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps questions. Gives back what is beyond the bound.
    fn add(&self, asked: Vec<(Owed, Asked)>, replies: &Replies) -> Vec<(Owed, Asked)> {
        let mut rest = Vec::new();
        let mut questions = self.lock();
        questions.replies = Some(replies.clone());
        for (owed, asked) in asked {
            if questions.open.len() >= OPEN_MAX {
                rest.push((owed, asked));
                continue;
            }
            questions.asked += 1;
            let later = Later::new(questions.asked, owed, asked);
            questions.open.push(later);
        }
        drop(questions);
        self.changed.notify_waiters();
        rest
    }
}

/// The open questions of a task as the raw `inputRequests`; none if there are none. Collects them from now on if the
/// server says that it waits for input.
pub(crate) async fn questions(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    native: &str,
    status: &str,
) -> Result<Option<Bytes>, Refusal> {
    let key = Key::new(&inbound.caller, speaker.server, native);
    let known = speaker.gateway.tasks().collectors.lock().get(&key).cloned();
    let collector = match known {
        Some(collector) => collector,
        None if status == "input_required" => begin(inbound, speaker, native, key)?,
        None => return Ok(None),
    };
    if status == "input_required" {
        let asked = async {
            loop {
                let changed = collector.changed.notified();
                if !collector.lock().open.is_empty() {
                    return;
                }
                changed.await;
            }
        };
        let _ = tokio::time::timeout(QUESTION_WAIT, asked).await;
    }
    let open = &collector.lock().open;
    Ok((!open.is_empty()).then(|| input::requests(open, speaker.server.name())))
}

/// Brings a client's answers to the server.
pub(crate) async fn answer(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    native: &str,
    receipt: Receipt,
) -> Result<(), UpstreamError> {
    let key = Key::new(&inbound.caller, speaker.server, native);
    let Some(collector) = speaker.gateway.tasks().collectors.lock().get(&key).cloned() else {
        return Ok(());
    };
    let bytes = inbound.message.bytes();
    let Some(responses) = inbound.message.member("inputResponses") else { return Ok(()) };
    let (mut answered, replies): (Vec<Later>, _) = {
        let mut questions = collector.lock();
        let answered = |question: &mut Later| find(bytes, responses, &question.key).is_some();
        (questions.open.extract_if(.., answered).collect(), questions.replies.clone())
    };
    let Some(replies) = replies else { return Ok(()) };
    let said = answered.iter().filter_map(|question| {
        let response = find(bytes, responses, &question.key)?;
        let response = compose::result(question.owed.raw_id(), &with_related(&response.slice(bytes), native));
        Some(Segments::from(response))
    });
    let said = said.collect();
    let handed = dispatch::hand_over(&replies, said, receipt).await;
    let arrived = handed.as_ref().map_or_else(|(arrived, _)| *arrived, |()| answered.len());
    answered.iter_mut().take(arrived).for_each(|question| question.owed.settle());
    handed.map_err(|(arrived, error)| {
        // The client may bring the others once more.
        collector.lock().open.extend(answered.into_iter().skip(arrived));
        error
    })
}

/// Nobody will answer any more.
pub(crate) fn forget(inbound: &Inbound, speaker: &Speaker<'_>, native: &str) {
    let key = Key::new(&inbound.caller, speaker.server, native);
    if let Some(collector) = speaker.gateway.tasks().collectors.lock().remove(&key) {
        collector.stop.cancel();
    }
}

/// An answer that says which task it belongs to (2025-11-25, tasks, associating task-related messages).
fn with_related(response: &Bytes, native: &str) -> Bytes {
    let task = compose::object(&[("taskId", &quote(native))]);
    let mut edit = Edit::new(response);
    edit.within(Span::all(response), "_meta", &[Change::Set(meta::RELATED_TASK, task)]);
    edit.finish().into_bytes()
}

fn begin(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    native: &str,
    key: Key,
) -> Result<Arc<Collector>, Refusal> {
    let gateway = speaker.gateway;
    let wait = gateway.tasks().waits.enter(&inbound.caller, &inbound.snapshot.settings)?;
    let collector = Arc::new(Collector::new());
    match gateway.tasks().collectors.lock().entry(key.clone()) {
        // Two polls at the same moment: one of them was first.
        Entry::Occupied(earlier) => return Ok(Arc::clone(earlier.get())),
        Entry::Vacant(place) => drop(place.insert(Arc::clone(&collector))),
    }
    let collecting = Collecting {
        gateway: gateway.clone(),
        key,
        caller: inbound.caller.clone(),
        server: speaker.server.clone(),
        route: speaker.route.clone(),
        native: native.to_owned(),
        patience: inbound.snapshot.settings.input_timeout,
        behalf: Behalf::of(inbound),
        tool: inbound.record.tool(),
        redactions: inbound.record.redactions(),
        collector: Arc::clone(&collector),
        _wait: wait,
    };
    let (stop, watcher) = (collector.stop.clone(), gateway.clone());
    let (caller, server, as_of) = (inbound.caller.clone(), speaker.server.clone(), inbound.as_of);
    gateway.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = watcher.let_out(&caller, server.name(), as_of) => {}
            () = collecting.run() => {}
        }
    });
    Ok(collector)
}

/// The stream of one task's result, held open.
struct Collecting {
    gateway: Gateway,
    key: Key,
    caller: tollgate_model::Caller,
    server: ServerId,
    route: Route,
    native: String,
    patience: Duration,
    behalf: Behalf,
    /// The tool whose task it is, as far as that matters and is remembered.
    tool: Option<Arc<str>>,
    /// What has to be taken out of what the task asks.
    redactions: Vec<Arc<str>>,
    collector: Arc<Collector>,
    _wait: Wait,
}

impl Collecting {
    async fn run(self) {
        // Whatever else the server says on this stream has no request of the client's to belong to.
        let nowhere = Mailbox::new(0);
        nowhere.close();
        let client = &self.caller.client;
        let listener = Listener {
            outlet: &nowhere,
            era: client.revision.era(),
            token: None,
            log_level: None,
            gateway: &self.gateway,
            caller: &self.caller,
            task: Some(&self.native),
            inbound: None,
            asker: Asker::Later { capabilities: &client.capabilities },
            places: None,
            berth: None,
            about: (self.tool.as_deref(), &self.redactions),
            was_told: AtomicBool::new(false),
        };
        let speaker = Speaker { gateway: &self.gateway, server: &self.server, route: &self.route, client };
        let (method, native) = (methods::TASKS_RESULT, Some(&*self.native));
        let doing = Doing { method, server: &self.server, native, arguments: None };
        let behalf = self.behalf.clone();
        let Ok((aside, receipt)) = record::aside(&self.gateway, behalf, doing).await else { return };
        let mut sent = speaker.result(&self.native, Some(&listener), receipt).await;
        // The answers travel beside the stream, which goes on.
        while let Ok(Sent::Paused(paused)) = sent {
            let mut exchange = paused.exchange;
            let replies = exchange.replies();
            for (mut owed, asked) in self.collector.add(paused.asked, &replies) {
                let refused = dispatch::reply(&replies, Own::refusal(owed.raw_id(), &asked)).await;
                if refused.is_ok() {
                    owed.settle();
                }
            }
            exchange.suspend(self.patience);
            sent = dispatch::follow(&self.server, &self.route, exchange, Some(&listener)).await;
        }
        match &sent {
            Ok(Sent::Response(message)) => aside.heard(Ok(Some(message))).await,
            Ok(Sent::Paused(_)) => {}
            Err(error) => aside.heard(Err(error)).await,
        }
    }
}

impl Drop for Collecting {
    fn drop(&mut self) {
        let mut collectors = self.gateway.tasks().collectors.lock();
        if collectors.get(&self.key).is_some_and(|known| Arc::ptr_eq(known, &self.collector)) {
            collectors.remove(&self.key);
        }
        drop(collectors);
        self.collector.changed.notify_waiters();
    }
}
