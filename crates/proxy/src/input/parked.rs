//! Calls of modern clients to legacy servers that wait for the client: the server has asked something, and the client
//! brings the answer with its next request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::AbortHandle;
use tollgate_ledger::Outcome;
use tollgate_mcp::{Segments, compose, find};
use tollgate_model::{Caller, Code, Refusal, ServerId, ServerName, Stage};
use tollgate_telemetry::counters::Kept;
use tollgate_upstream::{Exchange, Traffic, UpstreamError};

use super::later::{self, Later};
use super::state::{self, State};
use super::{Asked, Owed};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::places::{Places, Taken};
use crate::reply::Reply;
use crate::stages::block;
use crate::stages::dispatch::{self, Listener, Sent};
use crate::stages::record::{self, Effect, Waiting};
use crate::stages::{Admitted, Permit, Resolved, Route, guard, limits};
use crate::tasks::Followed;

/// All parked calls. Clones share the table.
#[derive(Clone, Default)]
pub(crate) struct ParkedCalls {
    table: Arc<Mutex<HashMap<Handle, Parked>>>,
    places: Places,
}

/// Names a parked call. Random, and shown to nobody but under seal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Handle([u8; 16]);

/// A call that a server has interrupted with questions.
pub(crate) struct Paused {
    pub(crate) exchange: Exchange,
    /// What the server waits for, and its questions.
    pub(crate) asked: Vec<(Owed, Asked)>,
    pub(crate) standing: Standing,
    /// The task that the call has become, if the gateway follows it.
    pub(crate) follows: Option<Box<Followed>>,
}

/// How far a call has come through its rounds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Standing {
    /// Questions asked so far: keys are unique over all rounds.
    questions: u64,
    rounds: u32,
}

/// A parked call. Dropping it cancels the call at the server.
pub(crate) struct Parked {
    /// Who made the call, by what the call itself proved.
    caller: Caller,
    server: ServerId,
    /// The tool that is called, if one is.
    tool: Option<Arc<str>>,
    exchange: Exchange,
    route: Route,
    open: Vec<Later>,
    standing: Standing,
    /// Cancels the task that the call has become, behind the call itself.
    follows: Option<Box<Followed>>,
    expiry: AbortHandle,
    place: Taken,
    waiting: Waiting,
}

impl Handle {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl ParkedCalls {
    /// Takes a call out, for the one retry that may go on with it.
    pub(crate) fn take(&self, handle: &Handle) -> Option<Parked> {
        let parked = self.lock().remove(handle)?;
        parked.expiry.abort();
        Some(parked)
    }

    /// Gives the calls up of those whom this does not keep: dropping a call cancels it at the server.
    /// Told who made each, of which server, and which tool it calls.
    pub(crate) fn retain(&self, mut keeps: impl FnMut(&Caller, (&ServerName, Option<&Arc<str>>)) -> bool) {
        let gives_up = |_: &Handle, parked: &mut Parked| {
            !keeps(&parked.caller, (parked.server.name(), parked.tool.as_ref()))
        };
        let given_up: Vec<Parked> = self.lock().extract_if(gives_up).map(|(_, parked)| parked).collect();
        for parked in &given_up {
            parked.expiry.abort();
        }
    }

    /// Gives all calls up.
    pub(crate) fn clear(&self) {
        let parked = std::mem::take(&mut *self.lock());
        for parked in parked.values() {
            parked.expiry.abort();
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Handle, Parked>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parks an interrupted call, and tells the client what the server asks.
pub(crate) fn park(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    route: Route,
    paused: Paused,
) -> Result<Reply, Refusal> {
    let settings = &inbound.snapshot.settings;
    let Paused { mut exchange, asked, mut standing, follows } = paused;
    standing.rounds += 1;
    if standing.rounds > settings.input_rounds_max {
        return Err(too_many_rounds(server));
    }
    let mut open = Vec::with_capacity(asked.len());
    for (owed, asked) in asked {
        standing.questions += 1;
        open.push(Later::new(standing.questions, owed, asked));
    }
    let handle = Handle(gateway.sealer().random().map_err(|error| {
        let text = "the call could not be parked";
        Refusal::new(Stage::Dispatch, Code::Internal, text).because(error.to_string()).of(server.name())
    })?);
    let wait = settings.input_timeout;
    let state = State::Parked(handle);
    let sealed = state::seal(gateway, inbound, server, &state, true, wait)?;
    let info = guard::info(gateway, inbound, server, route.link().hello().info.as_ref());
    let requests = later::requests(&open, server.name());
    let reply = later::interrupted(&inbound.id, &requests, &sealed, info.as_ref());

    let instances_max = inbound.server(server.name())?.settings().limits.instances_max;
    let parked = gateway.parked();
    let room = settings.room(settings.parked_max, settings.parked_per_principal_max);
    let place = parked.places.take(Kept::ParkedCall, inbound.caller.owner(), room);
    let place = place.ok_or_else(|| {
        let text = "as many calls as allowed are waiting for their clients";
        Refusal::new(Stage::Dispatch, Code::GivenUp, text).of(server.name())
    })?;
    let mut calls = parked.lock();
    // Whoever keeps a process to itself while it waits must leave some for others.
    let alone = |parked: &&Parked| parked.server == *server && parked.route.link().is_leased();
    if route.link().is_leased() && calls.values().filter(alone).count() * 2 >= instances_max {
        let text = "as many calls of this server as allowed are waiting for their clients";
        return Err(Refusal::new(Stage::Dispatch, Code::GivenUp, text).of(server.name()));
    }
    exchange.suspend(wait);
    let table = Arc::downgrade(&parked.table);
    let expiry = tokio::spawn(async move {
        tokio::time::sleep(wait).await;
        // A retry that never came: dropping the call cancels it at the server.
        let calls = table.upgrade();
        let expired =
            calls.and_then(|calls| calls.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle));
        drop(expired);
    });
    let expiry = expiry.abort_handle();
    let server = server.clone();
    let caller = inbound.caller.clone();
    let tool = inbound.record.native().filter(|_| inbound.is_tool_call());
    let waiting = Waiting::of(gateway, inbound, &server);
    let parked_call =
        Parked { caller, server, tool, exchange, route, open, standing, follows, expiry, place, waiting };
    calls.insert(handle, parked_call);
    drop(calls);
    if gateway.was_taken_back(&inbound.caller.who, inbound.as_of) || block::cuts(gateway, inbound).is_some() {
        // Whoever gave such calls up may have been here just before.
        drop(parked.take(&handle));
    }
    Ok(reply)
}

/// Goes on with a parked call: the client's answers go to the server, and the call is followed to its end or to the
/// next question. What the client left unanswered is asked once more.
pub(crate) async fn take_up(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (permit, admitted): (&Permit, &Admitted),
    parked: Parked,
) -> Result<(Route, Sent), Refusal> {
    let server = resolved.server().id();
    let Parked { mut exchange, route, open, standing, mut follows, place, waiting, .. } = parked;
    // It goes on, and makes room for another.
    drop(place);
    let bytes = inbound.message.bytes();
    let responses = inbound.message.member("inputResponses");
    let response = |later: &Later| {
        let result = find(bytes, responses?, &later.key)?;
        Some(result.of(bytes))
    };
    let (mut answered, unanswered): (Vec<Later>, Vec<Later>) =
        open.into_iter().partition(|later| response(later).is_some());
    let answers: Vec<(&Later, &[u8])> =
        answered.iter().filter_map(|later| Some((later, response(later)?))).collect();
    // What the client says to each, and nothing that answers no question, is what leaves, and is on record.
    let responses: Vec<(&str, &[u8])> = answers.iter().map(|(later, said)| (&*later.key, *said)).collect();
    let responses = Some(compose::object(&responses));
    let link = Some(route.link());
    let effect =
        Effect { permit: Some(permit), link, responses, admitted: Some(admitted), ..Effect::default() };
    let receipt = record::intend(gateway, inbound, effect).await?;
    waiting.goes_on();
    let leaving =
        answers.iter().map(|(later, said)| Segments::from(compose::result(later.owed.raw_id(), said)));
    let leaving: Vec<Segments> = leaving.collect();
    inbound.record.sends(leaving.iter().map(Segments::len).sum());
    let failed = |error: UpstreamError| {
        inbound.record.failed(&error);
        error.refusal(server.name())
    };
    for later in &mut answered {
        later.owed.settle();
    }
    let handed = dispatch::hand_over(&exchange.replies(), leaving, receipt).await;
    handed.map_err(|(_, error)| failed(error))?;
    if !unanswered.is_empty() {
        inbound.record.comes_to(Outcome::InputRequired);
        let asked = unanswered.into_iter().map(|Later { owed, asked, .. }| (owed, asked)).collect();
        let paused = Paused { exchange, asked, standing, follows };
        return Ok((route, Sent::Paused(paused)));
    }
    exchange.resume();
    let berth = resolved.server().bulkhead().go_on(Traffic::Calls);
    let listener = Listener::of(gateway, inbound).holding(admitted, &berth);
    let mut sent = dispatch::follow(server, &route, exchange, Some(&listener)).await.map_err(failed)?;
    match &mut sent {
        Sent::Paused(paused) => {
            inbound.record.comes_to(Outcome::InputRequired);
            (paused.standing, paused.follows) = (standing, follows);
        }
        Sent::Response(message) => {
            limits::pay(inbound, resolved, admitted, message);
            inbound.record.answered(inbound, message, route.link().era());
            if let Some(task) = &mut follows {
                task.end();
            }
        }
    }
    Ok((route, sent))
}

pub(crate) fn too_many_rounds(server: &ServerId) -> Refusal {
    let text = "the server asks for input more often than allowed";
    Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name())
}
