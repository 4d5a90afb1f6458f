//! The record of one request of a client, from its first byte to its end.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use bytes::Bytes;
use http::HeaderMap;
use tollgate_ledger::{
    CallId, Content, Decided, Draft, Entry, Intending, Kind, Latency, Outcome, Sizes, Unrecorded,
};
use tollgate_mcp::{Message, compose, methods};
use tollgate_model::{Code, Era, Judged, RecordLevel, Refusal, ServerId, Timestamp};
use tollgate_telemetry::counters;
use tollgate_telemetry::trace::Trace;
use tollgate_upstream::{Link, UpstreamError};

use super::open::{End as Ended, Open};
use super::told::{self, End};
use super::{Effect, OnRecord, entry, others};
use crate::approving::Cleared;
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::onward;
use crate::policing::Question;
use crate::refuse;
use crate::reply::Reply;
use crate::stages::{Permit, Resolved};

/// How much of what guards find in one call is on record.
const GUARDED_MAX: usize = 32;

/// What is known of a request, for the record. The stages fill it.
#[derive(Debug)]
pub(crate) struct CallRecord {
    /// The place among the elements of a batch.
    element: Option<u32>,
    began: Instant,
    trace: Trace,
    facts: Mutex<Facts>,
}

#[derive(Debug)]
pub(super) struct Facts {
    pub(super) call: CallId,
    /// Which step is next.
    step: u32,
    /// How many times its client was asked something, or to come again, before this request.
    rounds: u32,
    /// The step that has left, until its outcome is on record.
    open: Option<Open>,
    /// The outcome that is being written of a step that nobody waits for any more.
    closing: Option<Closing>,
    /// What a server has said to the open step.
    came_to: Option<CameTo>,
    /// Whether nothing more is to be recorded.
    ended: bool,
    /// Why nobody waits for the answer any more, if it is known.
    left: Option<Outcome>,
    /// Whether operators were told how it ended.
    pub(super) told: bool,
    pub(super) server: Option<ServerId>,
    /// What its server calls it.
    pub(super) native: Option<Arc<str>>,
    /// What leaves of what the client sent, but for names.
    pub(super) arguments: Payload,
    /// Whether a completion is one of a prompt or of a resource.
    completes: Option<&'static str>,
    /// What policy said of what leaves.
    pub(super) judged: Option<Arc<Judged>>,
    /// By what kind of credential it goes out.
    credential: Option<&'static str>,
    /// What people have agreed to.
    cleared: Option<Box<Cleared>>,
    /// What policies that only look on would have said of it can be asked here.
    shadow: Option<Arc<Question>>,
    sent_bytes: usize,
    sent_tokens: u64,
    latency: Latency,
    /// When the last lap ended.
    lap: Instant,
    /// What guards found in it.
    guarded: Vec<serde_json::Value>,
    /// The tool that it is about.
    tool: Option<Arc<str>>,
    /// What policy demands to be taken out of its result.
    redactions: Vec<Arc<str>>,
    /// The list that the client is shown.
    pub(super) shown: Option<Shown>,
    /// The progress that the client was told last.
    progress: f64,
    /// Whether what the client says beside its trace stays here.
    goes_bare: bool,
}

/// An outcome on its way into the record.
struct Closing(Pin<Box<dyn Future<Output = Result<(), Unrecorded>> + Send>>);

impl std::fmt::Debug for Closing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Closing").finish_non_exhaustive()
    }
}

/// A list that a client is shown.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) items: usize,
    raw: Bytes,
}

impl Shown {
    /// By what it is known again. It is only worked out where it is recorded: that takes longer than all else about a list.
    pub(super) fn digest(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.raw);
        BASE64.encode(&digest.as_ref()[..16])
    }
}

/// What a step has come to.
#[derive(Debug)]
struct CameTo {
    outcome: Outcome,
    /// The code of the server's error, or why it could not answer.
    code: Option<Cow<'static, str>>,
    received_bytes: usize,
    /// The result or the error, as raw JSON.
    result: Option<Bytes>,
}

/// A part of a request's life, whose time is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lap {
    /// Resolving what is meant.
    Resolve,
    /// Deciding whether they may.
    Policy,
    /// Getting to the server.
    Route,
    /// Waiting for the record.
    Ledger,
    /// Waiting for the server.
    Upstream,
}

impl CallRecord {
    /// The record of a request of a client's that begins now.
    pub(crate) fn of(message: &Message, headers: Option<&HeaderMap>) -> Self {
        Self { trace: onward::begin(message, headers), ..Self::begin() }
    }

    /// A guard found something: each says by which rule, where, and what became of it.
    pub(crate) fn guarded(&self, found: impl Iterator<Item = serde_json::Value>) {
        let mut facts = self.lock();
        let room = GUARDED_MAX.saturating_sub(facts.guarded.len());
        facts.guarded.extend(found.take(room));
    }

    /// The tool that the request is about, or that made the task that it is about, by its server's own name.
    pub(crate) fn tool(&self) -> Option<Arc<str>> {
        self.lock().tool.clone()
    }

    /// Says so.
    pub(crate) fn is_about_tool(&self, native: Arc<str>) {
        self.lock().tool = Some(native);
    }

    /// These have to be taken out of whatever its server says, from now on.
    pub(crate) fn redacts(&self, words: &[Arc<str>]) {
        let mut facts = self.lock();
        for word in words {
            if !facts.redactions.contains(word) {
                facts.redactions.push(Arc::clone(word));
            }
        }
    }

    /// What has to be taken out of whatever its server says.
    pub(crate) fn redactions(&self) -> Vec<Arc<str>> {
        self.lock().redactions.clone()
    }

    /// The record of something of the gateway's own, outside of any trace.
    pub(crate) fn begin() -> Self {
        let began = Instant::now();
        let facts = Facts {
            call: CallId::new(Timestamp::now()),
            step: 0,
            rounds: 0,
            open: None,
            closing: None,
            came_to: None,
            ended: false,
            left: None,
            told: false,
            server: None,
            native: None,
            arguments: Payload::default(),
            completes: None,
            judged: None,
            credential: None,
            cleared: None,
            shadow: None,
            guarded: Vec::new(),
            tool: None,
            redactions: Vec::new(),
            sent_bytes: 0,
            sent_tokens: 0,
            latency: Latency::default(),
            lap: began,
            shown: None,
            progress: f64::NEG_INFINITY,
            goes_bare: false,
        };
        Self { element: None, began, trace: Trace::default(), facts: Mutex::new(facts) }
    }

    /// The same for an element of a batch.
    pub(crate) fn of_element(element: usize, message: &Message) -> Self {
        Self { element: u32::try_from(element).ok(), ..Self::of(message, None) }
    }

    /// The id of the call.
    pub(crate) fn id(&self) -> CallId {
        self.lock().call
    }

    /// Where the request stands in a trace.
    pub(crate) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// What the client says beside its trace is not passed on.
    pub(crate) fn leaves_bare(&self) {
        self.lock().goes_bare = true;
    }

    /// What is passed on as `tracestate` and `baggage`.
    pub(crate) fn beside_trace(&self) -> (Option<&str>, Option<&str>) {
        match (self.trace.tracestate(), self.trace.baggage()) {
            (None, None) => (None, None),
            _ if self.lock().goes_bare => (None, None),
            beside => beside,
        }
    }

    /// What its server calls what is meant.
    pub(crate) fn native(&self) -> Option<Arc<str>> {
        self.lock().native.clone()
    }

    /// The id of the call, and which step of it is next: what a client brings back when it goes on with it.
    pub(crate) fn to_go_on(&self) -> (CallId, u32) {
        let facts = self.lock();
        (facts.call, facts.step)
    }

    /// Takes a step that is done beside the open one.
    pub(super) fn next_step(&self) -> (CallId, u32) {
        let mut facts = self.lock();
        facts.step += 1;
        (facts.call, facts.step - 1)
    }

    /// People have agreed to this, and nothing else.
    pub(crate) fn is_cleared(&self, cleared: Cleared) {
        self.lock().cleared = Some(Box::new(cleared));
    }

    /// What people have agreed to, if anything of it had to wait for them.
    pub(crate) fn cleared(&self) -> Option<Cleared> {
        self.lock().cleared.as_deref().cloned()
    }

    /// Whether people have agreed to it.
    pub(crate) fn was_approved(&self) -> bool {
        self.lock().cleared.is_some()
    }

    /// How many rounds its call has had before.
    pub(crate) fn rounds(&self) -> u32 {
        self.lock().rounds
    }

    /// It goes on with a call whose first steps, and rounds, were another request's.
    pub(crate) fn goes_on(&self, (call, step): (CallId, u32), rounds: u32) {
        let mut facts = self.lock();
        (facts.call, facts.step, facts.rounds) = (call, step, rounds);
    }

    /// What the client means is known.
    pub(crate) fn means(&self, inbound: &Inbound, resolved: &Resolved) {
        let arguments = Payload::of(inbound, resolved);
        let completes = completes(inbound, resolved);
        let mut facts = self.lock();
        facts.server = Some(resolved.server().id().clone());
        facts.native = resolved.native().map(Arc::from);
        (facts.arguments, facts.completes) = (arguments, completes);
        facts.credential = Some(resolved.server().settings().transport.credential());
    }

    /// What leaves is another than what came.
    pub(crate) fn leaves(&self, inbound: &Inbound, resolved: &Resolved) {
        let arguments = Payload::of(inbound, resolved);
        self.lock().arguments = arguments;
    }

    /// A part of its life is over.
    pub(crate) fn lap(&self, lap: Lap) {
        let now = Instant::now();
        let mut facts = self.lock();
        let took = us(now - facts.lap);
        facts.lap = now;
        let latency = &mut facts.latency;
        let sum = match lap {
            Lap::Resolve => &mut latency.resolve_us,
            Lap::Policy => &mut latency.policy_us,
            Lap::Route => &mut latency.route_us,
            Lap::Ledger => &mut latency.ledger_us,
            Lap::Upstream => &mut latency.upstream_us,
        };
        *sum += took;
    }

    /// The server that is meant, once it is known.
    pub(crate) fn server(&self) -> Option<ServerId> {
        self.lock().server.clone()
    }

    /// The client is shown a list: so many items, as raw JSON.
    pub(crate) fn shows(&self, items: usize, raw: Bytes) {
        self.lock().shown = Some(Shown { items, raw });
    }

    /// So much leaves.
    pub(crate) fn sends(&self, sent_bytes: usize) {
        self.lock().sent_bytes += sent_bytes;
    }

    /// What leaves of what the client sent, but for names, as raw JSON.
    pub(crate) fn arguments(&self) -> Option<Bytes> {
        self.lock().arguments.bytes.clone()
    }

    /// How many bytes have left, and how many of them are arguments.
    pub(crate) fn sent(&self) -> (usize, usize) {
        let facts = self.lock();
        (facts.sent_bytes, facts.arguments.bytes.as_ref().map_or(0, Bytes::len))
    }

    /// The server has answered.
    pub(crate) fn answered(&self, inbound: &Inbound, message: &Message, era: Era) {
        self.lap(Lap::Upstream);
        let result_type = if era == Era::Modern { message.text("resultType") } else { None };
        let is_true = |member| message.member(member).is_some_and(|span| span.of(message.bytes()) == b"true");
        let code = message.error_code().map(|code| code.to_string().into());
        let outcome = match result_type.as_deref() {
            _ if message.kind() == tollgate_mcp::Kind::Error => Outcome::Error,
            Some("input_required") => Outcome::InputRequired,
            Some("task") => Outcome::TaskCreated,
            _ if inbound.message.method() == methods::TOOLS_CALL && is_true("isError") => Outcome::ToolError,
            _ => Outcome::Ok,
        };
        let result = message.body().map(|span| message.raw(span));
        let received_bytes = message.bytes().len();
        self.lock().came_to = Some(CameTo { outcome, code, received_bytes, result });
    }

    /// The server could not be asked, or did not answer.
    pub(crate) fn failed(&self, error: &UpstreamError) {
        self.lap(Lap::Upstream);
        let code = Some(error.code().row().name.into());
        self.lock().came_to =
            Some(CameTo { outcome: Outcome::Refused, code, received_bytes: 0, result: None });
    }

    /// The open step comes to this, whatever the server said.
    pub(crate) fn comes_to(&self, outcome: Outcome) {
        let mut facts = self.lock();
        match &mut facts.came_to {
            Some(came_to) => came_to.outcome = outcome,
            None => {
                facts.came_to = Some(CameTo { outcome, code: None, received_bytes: 0, result: None });
            }
        }
    }

    /// Nobody waits for the answer any more, for this reason.
    pub(crate) fn is_left(&self, why: Outcome) {
        self.lock().left = Some(why);
    }

    /// The request is cut off, with this code: whatever its server said by then.
    pub(crate) fn is_cut(&self, code: Code) {
        let mut facts = self.lock();
        facts.left = Some(Outcome::TakenBack);
        let code = Some(code.row().name.into());
        match &mut facts.came_to {
            Some(came_to) => came_to.code = code,
            None => {
                let outcome = Outcome::TakenBack;
                facts.came_to = Some(CameTo { outcome, code, received_bytes: 0, result: None });
            }
        }
    }

    /// The client is told of this progress.
    pub(crate) fn progresses(&self, progress: f64) {
        self.lock().progress = progress;
    }

    /// The progress that the client was told last, in whatever round of its request.
    pub(crate) fn progress(&self) -> f64 {
        self.lock().progress
    }

    /// The client is told that its request is alive, as progress. None if there is no more than it was told.
    pub(crate) fn ticks(&self) -> Option<f64> {
        let mut facts = self.lock();
        let next = bridge::tick(facts.progress)?;
        facts.progress = next;
        Some(next)
    }

    fn has_shown(&self) -> bool {
        self.lock().shown.is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().open.is_some()
    }

    pub(super) fn open(&self, open: Open) {
        self.lock().open = Some(open);
    }

    /// Nothing more is to be recorded.
    pub(super) fn end(&self) {
        self.lock().ended = true;
    }

    pub(super) fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn element(&self) -> Option<u32> {
        self.element
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Facts> {
        self.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Facts {
    /// More of what the request is about, for its entries. `payload` is what stands in the entry as its arguments.
    pub(super) fn detail(&self, payload: &Payload) -> Option<serde_json::Map<String, serde_json::Value>> {
        let is_plain = self.completes.is_none() && payload.members.is_empty();
        if is_plain && self.guarded.is_empty() && self.cleared.is_none() {
            return None;
        }
        let mut said = others::detail([]);
        if let Some(cleared) = &self.cleared {
            said.insert("approval".to_owned(), cleared.id.as_str().into());
        }
        if let Some(of) = self.completes {
            said.insert("ref".to_owned(), of.into());
        }
        if !payload.members.is_empty() {
            said.insert("members".to_owned(), payload.members.into());
        }
        if !self.guarded.is_empty() {
            said.insert("guard".to_owned(), self.guarded.clone().into());
        }
        Some(said)
    }

    pub(super) fn latency(&self, began: Instant) -> Latency {
        Latency { total_us: us(began.elapsed()), ..self.latency }
    }
}

/// What leaves of what a client sent, but for names, as it is recorded: the value of a member of the params, or an object of
/// several of them.
#[derive(Debug, Clone, Default)]
pub(super) struct Payload {
    /// Raw JSON.
    pub(super) bytes: Option<Bytes>,
    /// Of which members it is an object; none where it is the value of the only one.
    members: &'static [&'static str],
}

impl Payload {
    fn of(inbound: &Inbound, resolved: &Resolved) -> Self {
        let (message, target) = (&inbound.message, resolved.target());
        let value = |member| message.member(member).map(|span| message.raw(span));
        match message.method() {
            methods::TOOLS_CALL | methods::PROMPTS_GET if target.changes_arguments() => {
                Self { bytes: Some(bridge::arguments(message, target)), members: &[] }
            }
            methods::TOOLS_CALL | methods::PROMPTS_GET => Self { bytes: value("arguments"), members: &[] },
            methods::COMPLETION_COMPLETE => {
                Self::both(&["argument", "context"], value("argument"), value("context"))
            }
            methods::TASKS_UPDATE => Self { bytes: value("inputResponses"), members: &[] },
            _ => Self::default(),
        }
    }

    /// Two members, if there is the second. The first may be missing.
    fn both(members: &'static [&'static str; 2], first: Option<Bytes>, second: Option<Bytes>) -> Self {
        let [one, other] = members;
        match (first, second) {
            (first, None) => Self { bytes: first, members: &[] },
            (None, Some(second)) => {
                Self { bytes: Some(compose::object(&[(other, &second)])), members: &members[1..] }
            }
            (Some(first), Some(second)) => {
                Self { bytes: Some(compose::object(&[(one, &first), (other, &second)])), members }
            }
        }
    }

    /// With the answers to a server's questions, where some go along.
    fn with(&self, responses: Option<&Bytes>) -> Self {
        match responses {
            None => self.clone(),
            Some(said) => {
                Self::both(&["arguments", "inputResponses"], self.bytes.clone(), Some(said.clone()))
            }
        }
    }
}

/// Of what a completion is one. Policy asks, and the name alone does not say.
fn completes(inbound: &Inbound, resolved: &Resolved) -> Option<&'static str> {
    let (member, _) = resolved.target().key.as_ref()?;
    let is_one = inbound.message.method() == methods::COMPLETION_COMPLETE;
    is_one.then_some(if *member == "uri" { "resource" } else { "prompt" })
}

/// Writes the intent of the next step.
pub(super) fn write_intent(gateway: &Gateway, inbound: &Inbound, effect: &Effect<'_>) -> Intending {
    let ledger = gateway.ledger();
    let mut guard = inbound.record.lock();
    let facts = &mut *guard;
    if let Some(permit) = effect.permit {
        facts.judged = Some(Arc::clone(permit.judged()));
        facts.shadow = permit.shadow().map(Arc::clone);
    }
    // What the gateway itself asks on the way has nothing of the client's in it.
    let payload = match effect.method {
        Some(_) => Payload::default(),
        None => facts.arguments.with(effect.responses.as_ref()),
    };
    (facts.sent_bytes, facts.sent_tokens) = (0, entry::tokens(payload.bytes.as_ref()));
    let (arguments, _) = levels(gateway, facts.judged.as_deref());
    let client = entry::client(inbound);
    let step = facts.step;
    facts.step += 1;
    let facts = &*facts;
    let definition = definition(gateway, inbound, facts);
    let mut entry = entry::of(Kind::Intent, inbound, facts, client.as_deref());
    entry.step = step;
    entry.definition = definition.as_deref().map(Into::into);
    entry.instance = effect.link.map(|link| link.number().to_string().into());
    entry.replica = effect.link.and_then(Link::replica).map(|replica| (**replica).into());
    entry.credential = facts.credential.map(Into::into);
    if let Some(method) = effect.method {
        entry.method = Some(method.into());
    }
    entry.detail = facts.detail(&payload);
    let content = payload.bytes.map(|bytes| Content { bytes, level: arguments });
    ledger.intend(Draft { arguments: content, ..entry::draft(entry, inbound) })
}

/// Writes that what is kept, and so old, is the answer: an outcome without an intent.
pub(super) fn write_kept(
    gateway: &Gateway,
    inbound: &Inbound,
    permit: &Permit,
    age: Duration,
) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
    let mut guard = inbound.record.lock();
    let facts = &mut *guard;
    facts.judged = Some(Arc::clone(permit.judged()));
    facts.shadow = permit.shadow().map(Arc::clone);
    let payload = facts.arguments.clone();
    let (arguments, results) = levels(gateway, facts.judged.as_deref());
    let client = entry::client(inbound);
    let step = facts.step;
    facts.step += 1;
    let facts = &*facts;
    let definition = definition(gateway, inbound, facts);
    let mut entry = entry::of(Kind::Outcome, inbound, facts, client.as_deref());
    entry.step = step;
    entry.definition = definition.as_deref().map(Into::into);
    entry.latency = Some(facts.latency(inbound.record.began));
    let came_to = facts.came_to.as_ref();
    entry.outcome = came_to.map(|came_to| came_to.outcome);
    let result = came_to.and_then(|came_to| came_to.result.clone());
    let (sent_tokens, received_tokens) =
        (entry::tokens(payload.bytes.as_ref()), entry::tokens(result.as_ref()));
    entry.sizes = Some(Sizes { sent_tokens, received_tokens, ..Sizes::default() });
    let mut detail = facts.detail(&payload).unwrap_or_default();
    let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    detail.extend(others::detail([("from", "cache".into()), ("age_ms", age_ms.into())]));
    entry.detail = Some(detail);
    if let Some(shadow) = facts.shadow.as_deref().and_then(Question::answer)
        && let Some(judged) = &facts.judged
    {
        entry.decision = Some(Decided { shadow: Some(Box::new(shadow.into())), ..(&**judged).into() });
    }
    let arguments = payload.bytes.map(|bytes| Content { bytes, level: arguments });
    let result = result.map(|bytes| Content { bytes, level: results });
    gateway.ledger().note(Draft { arguments, result, ..entry::draft(entry, inbound) })
}

/// The digest of the called tool's definition, as far as it is known: where policies are about tools, it is.
fn definition(gateway: &Gateway, inbound: &Inbound, facts: &Facts) -> Option<Arc<str>> {
    if inbound.message.method() != methods::TOOLS_CALL || !gateway.policing().is_on() {
        return None;
    }
    gateway.policing().definitions().digest_of(facts.server.as_ref()?, facts.native.as_deref()?)
}

/// How much is kept of arguments, and of results.
pub(super) fn levels(gateway: &Gateway, judged: Option<&Judged>) -> (RecordLevel, RecordLevel) {
    let wanted = judged.and_then(|judged| judged.decision.obligations.record);
    let recording = gateway.ledger().settings().map(|settings| settings.recording).unwrap_or_default();
    (wanted.unwrap_or(recording.arguments), wanted.unwrap_or(recording.results))
}

/// Puts the outcome of the open step on record: what it came to, unless it is refused. Nothing is done where none is open.
pub(super) async fn close(
    gateway: &Gateway,
    inbound: &Inbound,
    refusal: Option<&Refusal>,
) -> Result<(), Refusal> {
    let Some(writing) = write_outcome(gateway, inbound, refusal) else { return Ok(()) };
    match super::written(writing).await {
        Err(failure) if !super::degrades(gateway, inbound, &failure) => Err(super::unrecorded(&failure)),
        _ => Ok(()),
    }
}

/// Ends the open step where no answer does: the next one is far, or nobody has sent a request.
pub(crate) async fn settle(
    gateway: &Gateway,
    inbound: &Inbound,
    refusal: Option<&Refusal>,
) -> Result<(), Refusal> {
    close(gateway, inbound, refusal).await
}

fn write_outcome(
    gateway: &Gateway,
    inbound: &Inbound,
    refusal: Option<&Refusal>,
) -> Option<impl Future<Output = Result<(), Unrecorded>> + Send + use<>> {
    let mut guard = inbound.record.lock();
    let facts = &mut *guard;
    let open = facts.open.take()?;
    let came_to = facts.came_to.take();
    let (entry, result) = outcome(gateway, inbound, facts, came_to, refusal);
    open.close(gateway, Ended { entry, who: &inbound.caller.who, result })
}

fn outcome<'a>(
    gateway: &Gateway,
    inbound: &Inbound,
    facts: &'a Facts,
    came_to: Option<CameTo>,
    refusal: Option<&'a Refusal>,
) -> (Entry<'a>, Option<Content>) {
    let mut entry = Entry::of(Kind::Outcome);
    entry.latency = Some(facts.latency(inbound.record.began));
    let (result, received_bytes) = match came_to {
        Some(came_to) => {
            entry.outcome = Some(came_to.outcome);
            entry.code = came_to.code;
            (came_to.result, came_to.received_bytes)
        }
        None => (None, 0),
    };
    match refusal {
        Some(refusal) => entry::refusal(&mut entry, refusal),
        // Whoever answers without a word of the server's has answered for it.
        None if entry.outcome.is_none() => entry.outcome = Some(Outcome::Ok),
        None => {}
    }
    let shadow = facts.shadow.as_deref().and_then(Question::answer);
    if let (Some(shadow), Some(judged), None) = (shadow, &facts.judged, &entry.decision) {
        let shadow = Some(Box::new(shadow.into()));
        entry.decision = Some(Decided { shadow, ..(&**judged).into() });
    }
    // What was found in arguments is on record with them.
    let guarded: Vec<serde_json::Value> =
        facts.guarded.iter().filter(|found| found["in"] != "arguments").cloned().collect();
    if !guarded.is_empty() {
        entry.detail.get_or_insert_default().insert("guard".to_owned(), guarded.into());
    }
    entry.sizes = Some(Sizes {
        sent_bytes: facts.sent_bytes as u64,
        received_bytes: received_bytes as u64,
        sent_tokens: facts.sent_tokens,
        received_tokens: entry::tokens(result.as_ref()),
    });
    let (_, level) = levels(gateway, facts.judged.as_deref());
    (entry, result.map(|bytes| Content { bytes, level }))
}

/// Ends a call with what its client is told: the one place where one ends that is answered. The reply is given back once it is
/// on record.
pub(crate) async fn ends(gateway: &Gateway, inbound: &Inbound, answer: Result<Reply, Refusal>) -> Reply {
    let came_to = {
        let facts = inbound.record.lock();
        facts.came_to.as_ref().map(|came_to| (came_to.outcome, came_to.code.clone()))
    };
    let answer = match answer {
        Ok(reply) if inbound.record.has_shown() => {
            Box::pin(others::shown(gateway, inbound)).await.map(|()| reply)
        }
        Ok(reply) => close(gateway, inbound, None).await.map(|()| reply),
        Err(refusal) => Err(refusal),
    };
    match answer {
        Ok(reply) => {
            let (outcome, code) = came_to.unzip();
            let mut facts = inbound.record.lock();
            facts.ended = true;
            told::tell(gateway, inbound, &mut facts, &End::of(outcome, code.flatten().as_deref()));
            drop(facts);
            counters::request(counters::Outcome::Answered);
            reply
        }
        Err(refusal) => {
            let on_record = Box::pin(super::refused(gateway, inbound, &refusal)).await;
            refuse::render(&refusal, inbound.era(), Some(&inbound.id), on_record)
        }
    }
}

/// Tells operators of a refusal.
pub(super) fn tell_refused(gateway: &Gateway, inbound: &Inbound, refusal: &Refusal) {
    let mut facts = inbound.record.lock();
    told::tell(gateway, inbound, &mut facts, &End::refused(refusal, inbound));
}

/// Puts a refusal on record as the outcome of the open step. Whether there was one.
pub(super) async fn close_refused(
    gateway: &Gateway,
    inbound: &Inbound,
    refusal: &Refusal,
) -> Option<OnRecord> {
    let (had_step, call) = {
        let facts = inbound.record.lock();
        (facts.open.is_some() || facts.ended, facts.call)
    };
    if !had_step {
        return None;
    }
    // What cannot be recorded now is recorded as unknown at the next start; a refusal tells nobody anything.
    let closing = inbound.record.lock().closing.take();
    if let Some(Closing(closing)) = closing {
        let _ = super::written(closing).await;
    }
    let _ = close(gateway, inbound, Some(refusal)).await;
    Some(OnRecord(call))
}

/// Sees to it that a call that is answered to nobody ends on record too: dropped, it says why.
pub(crate) struct Ending<'a> {
    gateway: &'a Gateway,
    inbound: &'a Inbound,
}

impl<'a> Ending<'a> {
    pub(crate) fn of(gateway: &'a Gateway, inbound: &'a Inbound) -> Self {
        Self { gateway, inbound }
    }
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        let (gateway, inbound) = (self.gateway, self.inbound);
        let mut guard = inbound.record.lock();
        let facts = &mut *guard;
        if facts.told && facts.open.is_none() {
            return;
        }
        facts.ended = true;
        let why = match facts.left {
            Some(why) => why,
            None if gateway.was_taken_back(&inbound.caller.who, inbound.as_of) => Outcome::TakenBack,
            None if gateway.is_draining() => Outcome::Stopped,
            None => Outcome::ClientGone,
        };
        told::tell(gateway, inbound, facts, &End::of(Some(why), None));
        let Some(open) = facts.open.take() else { return };
        let came_to = facts.came_to.take();
        let (mut entry, result) = outcome(gateway, inbound, facts, came_to, None);
        entry.outcome = Some(why);
        let end = Ended { entry, who: &inbound.caller.who, result };
        if why == Outcome::TakenBack {
            // Its caller is told so, once that is on record.
            let closing = open.close(gateway, end).map(|closing| Closing(Box::pin(closing)));
            facts.closing = closing;
        } else {
            open.close_later(gateway, end);
        }
    }
}

fn us(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
