//! Whose is this message? The calls in flight on one shared stream (a child's output, an HTTP+SSE session), owned by
//! the one task that reads it. No I/O.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tollgate_mcp::{Fault, Kind, Limits, Message, Segments, find, meta, methods, text};
use tollgate_model::Era;

use crate::conversation::Whose;
use crate::hello;
use crate::key::Scope;
use crate::link::FIRST_ID;
use crate::shared::Shared;
use crate::strays::Strays;
use crate::{EventKind, Incoming, UpstreamError};

/// How many answered or cancelled ids are remembered, to tell a late answer from a wrong one.
const ENDED_MAX: usize = 256;

/// Why a conversation is given up whose other side never ends a message.
pub(crate) const STUCK: &str = "the server never ended a message that it began";

pub(crate) type CallSender = mpsc::Sender<Result<Incoming, UpstreamError>>;

/// What must be done after a message.
#[derive(Debug)]
pub(crate) enum Action {
    Nothing,
    /// Send this to the server.
    Answer(Segments),
    /// Ask whom it concerns; the answer goes to the server.
    Ask(Box<Message>),
    /// Tell whom it concerns.
    Event(EventKind),
}

/// One call in flight.
struct Entry {
    sender: CallSender,
    whose: Whose,
}

/// The calls in flight.
pub(crate) struct Mux {
    shared: Arc<Shared>,
    limits: Limits,
    calls: HashMap<u64, Entry>,
    /// How many of them nothing can belong to that names no call: the gateway's own, and those about a task.
    apart: usize,
    /// The gateway's own subscriptions: open for long, and no calls of anyone's.
    subscriptions: HashMap<u64, CallSender>,
    cancelled: VecDeque<u64>,
    answered: VecDeque<u64>,
    strays: Arc<Strays>,
    /// Whether all calls are one client session's: what is meant for another call is then still its own.
    one_session: bool,
    several_principals: bool,
    /// Since when a message has been coming in that has not ended.
    unfinished_since: Option<Instant>,
}

impl Mux {
    pub(crate) fn new(shared: Arc<Shared>, scope: &Scope, strays: Arc<Strays>) -> Self {
        let limits = shared.message_limits();
        Self {
            shared,
            limits,
            calls: HashMap::new(),
            apart: 0,
            subscriptions: HashMap::new(),
            cancelled: VecDeque::new(),
            answered: VecDeque::new(),
            strays,
            one_session: scope.is_one_session(),
            several_principals: scope.is_several_principals(),
            unfinished_since: None,
        }
    }

    /// Enters a call. Its channel must have room for the whole queue and the response.
    pub(crate) fn enter(&mut self, id: u64, sender: CallSender, whose: Whose) -> bool {
        let calls_max = self.shared.settings.limits.calls_max;
        if self.calls.len() >= calls_max {
            let error = UpstreamError::Capacity {
                what: "too many requests are under way on this server",
                max: calls_max,
            };
            // The channel is new, so it has room.
            let _ = sender.try_send(Err(error));
            return false;
        }
        self.apart += usize::from(whose.is_apart());
        self.calls.insert(id, Entry { sender, whose });
        true
    }

    /// Enters a subscription of the gateway's own. Its channel must have room as that of a call.
    pub(crate) fn subscribe(&mut self, id: u64, sender: CallSender) {
        self.subscriptions.insert(id, sender);
    }

    /// Removes a call whose caller has left; false if it had ended before.
    pub(crate) fn leave(&mut self, id: u64) -> bool {
        let was = self.take(id).or_else(|| self.subscriptions.remove(&id)).is_some();
        if was {
            remember(&mut self.cancelled, id);
        } else if !self.cancelled.contains(&id) {
            // Its answer and its caller's leaving have crossed.
            self.strays.ended(id);
        }
        was
    }

    /// Something was read: whether it ended `within` a message, and whether a message was `completed` before that.
    pub(crate) fn has_read(&mut self, within: bool, completed: bool) {
        if !within {
            self.unfinished_since = None;
        } else if completed || self.unfinished_since.is_none() {
            self.unfinished_since = Some(Instant::now());
        }
    }

    /// Whether the stream is stuck within one message, so that nothing behind it can ever be read. Asked when a caller
    /// has given up: half the longest wait for a response is long enough for any message.
    pub(crate) fn is_stuck(&self) -> bool {
        let patience = self.shared.settings.timeouts.request / 2;
        self.unfinished_since.is_some_and(|since| since.elapsed() >= patience)
    }

    /// Every call gets this error.
    pub(crate) fn fail_all(&mut self, error: &UpstreamError) {
        self.apart = 0;
        let calls = self.calls.drain().map(|(id, entry)| (id, entry.sender));
        for (_, sender) in calls.chain(self.subscriptions.drain()) {
            let _ = sender.try_send(Err(error.clone()));
        }
    }

    /// One call gets this error.
    fn fail(&mut self, id: u64, error: UpstreamError) -> bool {
        let Some(sender) = self.take(id) else { return false };
        remember(&mut self.answered, id);
        let _ = sender.try_send(Err(error));
        true
    }

    /// A message too large to be read; `raw_id` is the id of the response it began with, if it did.
    pub(crate) fn oversize(&mut self, raw_id: Option<&[u8]>) {
        let bytes_max = self.limits.bytes_max;
        let known =
            raw_id.and_then(plain_id).is_some_and(|id| self.fail(id, UpstreamError::TooLarge { bytes_max }));
        self.shared.protocol_error("a message larger than allowed", known);
    }

    /// Bytes that should be one message. `era` is what is known of the server by now.
    pub(crate) fn receive(&mut self, bytes: Bytes, era: Option<Era>) -> Action {
        if !bytes.trim_ascii_start().starts_with(b"{") {
            // A stray print of the server's. It cannot be anybody's answer, so nobody's call ends with it.
            self.shared.protocol_error("something that is not JSON", false);
            return Action::Nothing;
        }
        let message = match Message::parse(bytes, &self.limits) {
            Ok(message) => message,
            Err(error) => {
                self.malformed(error.fault, error.response_id.as_deref());
                return Action::Nothing;
            }
        };
        match message.kind() {
            Kind::Result | Kind::Error => self.response(message),
            Kind::Notification => self.notification(message, era),
            Kind::Request => self.request(message, era),
        }
    }

    fn malformed(&mut self, fault: Fault, raw_id: Option<&[u8]>) {
        let error = || {
            UpstreamError::protocol(
                "the server sent an answer that cannot be read",
                format!("malformed message: {fault}"),
            )
        };
        let named = raw_id.and_then(plain_id).filter(|id| self.calls.contains_key(id));
        // With one call in flight it can only be the answer to that, or noise that its author takes for one.
        let id =
            named.or_else(|| if self.calls.len() == 1 { self.calls.keys().next().copied() } else { None });
        if named.is_none()
            && let Some(id) =
                id.filter(|id| self.calls.get(id).is_some_and(|call| call.whose == Whose::Asked))
        {
            // If it was noise, the server is still at the call.
            self.strays.left(id);
        }
        let known = id.is_some_and(|id| self.fail(id, error()));
        self.shared.protocol_error(fault_text(fault), known);
    }

    fn response(&mut self, message: Message) -> Action {
        let Some(id) = message.id_u64() else {
            self.shared.protocol_error("an answer with an id that was never used", false);
            return Action::Nothing;
        };
        if let Some(sender) = self.take(id).or_else(|| self.subscriptions.remove(&id)) {
            remember(&mut self.answered, id);
            // There is always room left for the response. An error means that the caller has left just now.
            let _ = sender.try_send(Ok(Incoming::Response(message)));
            return Action::Nothing;
        }
        self.strays.ended(id);
        if id < FIRST_ID {
            // The gateway's own greetings.
        } else if let Some(at) = self.cancelled.iter().position(|cancelled| *cancelled == id) {
            // Answers to cancelled requests are to be ignored (2025-11-25 and 2026-07-28, cancellation).
            self.cancelled.remove(at);
            remember(&mut self.answered, id);
        } else if self.answered.contains(&id) {
            self.shared.protocol_error("a second answer to the same request", false);
        } else {
            self.shared.protocol_error("an answer to nothing", false);
        }
        Action::Nothing
    }

    fn notification(&mut self, message: Message, era: Option<Era>) -> Action {
        if let Some(subscription) = message.meta_member(meta::SUBSCRIPTION_ID) {
            let id = plain_id(subscription.of(message.bytes()));
            if let Some(sender) = id.and_then(|id| self.subscriptions.get(&id)) {
                if !hand_over(sender, Incoming::Notification(message)) {
                    self.shared.counters.messages_dropped.add();
                }
                return Action::Nothing;
            }
        }
        if let Some(kind) = EventKind::of(&message) {
            return Action::Event(kind);
        }
        let call = if message.method() == methods::NOTIFICATIONS_PROGRESS {
            message.member(meta::PROGRESS_TOKEN).and_then(|token| plain_id(token.of(message.bytes())))
        } else if self.several_principals && self.strays.any() {
            // It may be about a call that somebody else has left.
            None
        } else {
            self.only_call()
        };
        let delivered = match call.and_then(|id| self.calls.get(&id)) {
            Some(entry) => hand_over(&entry.sender, Incoming::Notification(message)),
            None if era == Some(Era::Legacy) => match EventKind::beside_calls(message) {
                Some(kind) => return Action::Event(kind),
                None => false,
            },
            None => false,
        };
        if !delivered {
            self.shared.counters.messages_dropped.add();
        }
        Action::Nothing
    }

    fn request(&mut self, message: Message, era: Option<Era>) -> Action {
        let Some(raw_id) = message.id_raw() else { return Action::Nothing };
        if era == Some(Era::Modern) {
            // Modern servers never send requests, and modern clients never send responses.
            self.shared.protocol_error("a request, which a modern server does not send", false);
            return Action::Nothing;
        }
        if message.method() == methods::PING {
            return Action::Answer(hello::pong(&raw_id));
        }
        let of_task = self.of_task(&message);
        if of_task.is_none() {
            self.shared.has_asked();
        }
        // What names a task is for whoever waits for that task, and else for nobody's call.
        let call = if message.meta_member(meta::RELATED_TASK).is_some() {
            of_task
        } else if !self.one_session && self.strays.any() {
            // It may be about a call that another client has left.
            None
        } else {
            self.only_asked().or_else(|| self.only_call())
        };
        let call = call.and_then(|id| self.calls.get(&id));
        // One whose caller has left just now hears nothing more.
        let Some(entry) = call.filter(|entry| !entry.sender.is_closed()) else {
            return Action::Ask(Box::new(message));
        };
        let delivered = hand_over(&entry.sender, Incoming::Request(message));
        if delivered { Action::Nothing } else { Action::Answer(hello::too_many(&raw_id)) }
    }

    fn take(&mut self, id: u64) -> Option<CallSender> {
        let entry = self.calls.remove(&id)?;
        self.apart -= usize::from(entry.whose.is_apart());
        Some(entry.sender)
    }

    /// Who waits for the task that a message says it belongs to.
    fn of_task(&self, message: &Message) -> Option<u64> {
        let related = message.meta_member(meta::RELATED_TASK)?;
        let id = find(message.bytes(), related, "taskId").and_then(|id| text(message.bytes(), id))?;
        let waits = |entry: &Entry| matches!(&entry.whose, Whose::Task(task) if **task == *id);
        self.calls.iter().find(|(_, entry)| waits(entry)).map(|(id, _)| *id)
    }

    /// The call that an unaddressed message can only belong to.
    fn only_call(&self) -> Option<u64> {
        if self.calls.len() - self.apart != 1 {
            return None;
        }
        self.calls.iter().find(|(_, entry)| !entry.whose.is_apart()).map(|(id, _)| *id)
    }

    /// The only call in flight on which the server may ask something.
    fn only_asked(&self) -> Option<u64> {
        let mut asked = self.calls.iter().filter(|(_, entry)| entry.whose == Whose::Asked);
        match (asked.next(), asked.next()) {
            (Some((id, _)), None) => Some(*id),
            _ => None,
        }
    }
}

/// Hands a message to whoever waits for a response; one place is kept for that.
fn hand_over(sender: &CallSender, incoming: Incoming) -> bool {
    sender.capacity() > 1 && sender.try_send(Ok(incoming)).is_ok()
}

/// Ids are minted as plain unsigned integers.
fn plain_id(raw: &[u8]) -> Option<u64> {
    std::str::from_utf8(raw).ok()?.parse().ok()
}

fn remember(ids: &mut VecDeque<u64>, id: u64) {
    if ids.len() == ENDED_MAX {
        ids.pop_front();
    }
    ids.push_back(id);
}

fn fault_text(fault: Fault) -> &'static str {
    if fault.is_parse_error() {
        "something that is not JSON"
    } else {
        "something that is not a JSON-RPC message"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HttpSettings, ServerSettings, Transport};
    use tollgate_model::{PrincipalId, ServerName, SessionId, TenantId};

    fn mux(scope: &Scope) -> (Mux, Arc<Strays>) {
        let transport = Transport::Http(HttpSettings::new("http://localhost/".parse().expect("a URL")));
        let settings = ServerSettings::new(ServerName::new("s").expect("a name"), transport);
        let (events, _) = mpsc::channel(1);
        let strays = Arc::default();
        (Mux::new(Arc::new(Shared::new(Arc::new(settings), events)), scope, Arc::clone(&strays)), strays)
    }

    fn says(mux: &mut Mux, text: &str) -> Action {
        mux.receive(Bytes::copy_from_slice(text.as_bytes()), Some(Era::Legacy))
    }

    fn ask(mux: &mut Mux, meta: &str) -> Action {
        let text = format!(
            r#"{{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{{"_meta":{{{meta}}}}}}}"#
        );
        says(mux, &text)
    }

    fn log(mux: &mut Mux) -> Action {
        let text = r#"{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":1}}"#;
        says(mux, text)
    }

    /// Enters a call, and leaves it as a caller does that goes.
    fn left(mux: &mut Mux, strays: &Strays, id: u64) {
        assert!(mux.enter(id, mpsc::channel(4).0, Whose::Asked));
        strays.left(id);
        mux.leave(id);
    }

    #[test]
    fn what_names_no_call_is_taken_for_nobodys_while_one_that_was_left_may_go_on() {
        let of_principal = Scope::Principal(TenantId::default(), PrincipalId::new("p"));
        for (scope, logs) in [(&Scope::Shared, 0), (&of_principal, 1)] {
            let (mut mux, strays) = mux(scope);
            left(&mut mux, &strays, 20);
            let (call, mut calls) = mpsc::channel(4);
            assert!(mux.enter(21, call, Whose::Asked));
            assert!(matches!(ask(&mut mux, ""), Action::Ask(_)), "it may be about the call that was left");
            log(&mut mux);
            assert_eq!(calls.len(), logs, "{scope:?}: what is logged is not read by another principal");
            // An answer says that the server is done with it, wherever the answer and the leaving meet.
            says(&mut mux, r#"{"jsonrpc":"2.0","id":20,"result":{}}"#);
            assert!(matches!(ask(&mut mux, ""), Action::Nothing));
            log(&mut mux);
            assert_eq!(calls.len(), logs + 2);
            says(&mut mux, r#"{"jsonrpc":"2.0","id":21,"result":{}}"#);
            strays.left(21);
            mux.leave(21);
            assert!(!strays.any() && calls.try_recv().is_ok());
        }
    }

    #[test]
    fn a_sessions_own_questions_reach_it_whatever_it_has_left() {
        let (tenant, principal) = (TenantId::default(), PrincipalId::new("p"));
        let (mut mux, strays) = mux(&Scope::Session(tenant, principal, SessionId::new("s")));
        left(&mut mux, &strays, 20);
        let (call, calls) = mpsc::channel(4);
        assert!(mux.enter(21, call, Whose::Asked));
        assert!(matches!(ask(&mut mux, ""), Action::Nothing));
        log(&mut mux);
        assert_eq!(calls.len(), 2);
    }

    #[test]
    fn a_call_that_noise_has_ended_may_still_go_on() {
        let (mut mux, strays) = mux(&Scope::Shared);
        let (call, mut calls) = mpsc::channel(4);
        assert!(mux.enter(20, call, Whose::Asked));
        says(&mut mux, r#"{"level":"info","said":"not MCP"}"#);
        assert!(matches!(calls.try_recv(), Ok(Err(_))));
        assert!(strays.any());
        says(&mut mux, r#"{"jsonrpc":"2.0","id":20,"result":{}}"#);
        assert!(!strays.any());
    }

    #[test]
    fn a_question_that_names_a_task_is_only_for_who_waits_for_it() {
        let (mut mux, _) = mux(&Scope::Shared);
        let (call, mut calls) = mpsc::channel(4);
        assert!(mux.enter(7, call, Whose::Asked));
        let of_task = r#""io.modelcontextprotocol/related-task":{"taskId":"t"}"#;
        assert!(matches!(ask(&mut mux, of_task), Action::Ask(_)));
        assert!(calls.try_recv().is_err(), "it is about somebody's task");
        assert!(matches!(ask(&mut mux, ""), Action::Nothing));
        assert!(matches!(calls.try_recv(), Ok(Ok(Incoming::Request(_)))));

        let (wait, mut waits) = mpsc::channel(4);
        assert!(mux.enter(8, wait, Whose::Task("t".into())));
        assert!(matches!(ask(&mut mux, of_task), Action::Nothing));
        assert!(matches!(waits.try_recv(), Ok(Ok(Incoming::Request(_)))));
        assert!(calls.try_recv().is_err());
    }
}
