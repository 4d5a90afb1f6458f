//! Tasks: the 2026-07-28 extension `io.modelcontextprotocol/tasks`, and the experiment of 2025-11-25.
//!
//! A task outlives the request that it answers, so its id is a handle that clients keep and bring back: see [`id`].
//! Between peers of one era everything else passes as it is. Otherwise:
//!
//! | server | client | what happens |
//! |---|---|---|
//! | legacy | modern, with the extension | the call is made a task where the tool allows it ([`plan`]), and followed by the extension ([`adapt`]); what the server asks meanwhile is kept ([`collect`]) |
//! | legacy | any that cannot follow tasks | a tool that has to become a task does, and the call waits for it ([`follow`]) |
//! | modern | legacy | the extension is declared in the client's place, and the call waits for the task |

mod adapt;
mod ask;
pub(crate) mod capability;
mod collect;
mod follow;
pub(crate) mod id;
mod list;
mod owners;
mod plan;
mod rate;
mod relate;
mod settings;
mod shape;
mod support;
mod waits;

use std::borrow::Cow;
use std::sync::Arc;

use tollgate_catalog::Item;
use tollgate_ledger::Outcome;
use tollgate_mcp::{JsonKind, Message, Span, find, methods, text};
use tollgate_model::{Caller, Code, Era, Refusal, Revision, ServerId, Stage};
use tollgate_upstream::{Link, UpstreamError};

use crate::approving;
use crate::bridge::{self, Answered, Beside, Round};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::input;
use crate::life;
use crate::onward::Onward;
use crate::reply::Reply;
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::record::{self, Effect, Lap};
use crate::stages::route::Spot;
use crate::stages::{Permit, Resolved, Route, guard, limits, outside, policy, resolve, route, schema, size};

use collect::Collectors;
pub(crate) use follow::{Followed, to_end as follow};
use owners::{Key, Owned, Owners};
pub(crate) use plan::{Plan, plan};
use rate::Rate;
pub(crate) use relate::{answer as answer_of_task, notification, question, speaks_of_a_task};
pub use settings::TaskSettings;
use support::TaskSupport;
use waits::Waits;

/// What the gateway remembers of tasks. All of it is bounded.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    collectors: Collectors,
    owners: Owners,
    /// Which tool was called that became the task, where policies are configured.
    tools: Owners<Arc<str>>,
    /// What has to be taken out of what comes of it.
    redactions: Owners<Arc<[Arc<str>]>>,
    /// On which replica of its server a task was made: that is where it runs.
    homes: Owners<Arc<str>>,
    rate: Rate,
    support: TaskSupport,
    waits: Waits,
}

impl Tasks {
    /// Learns from a server's list which of its tools can become tasks.
    pub(crate) fn learn(&self, server: &ServerId, items: &[Item]) {
        self.support.learn(server, items);
    }

    /// A server's tools are others now.
    pub(crate) fn tools_changed(&self, server: &ServerId) {
        self.support.changed(server);
    }

    /// The tool that was called and became a caller's task, as far as it is remembered.
    pub(crate) fn tool_of(&self, caller: &Caller, server: &ServerId, native: &str) -> Option<Arc<str>> {
        self.tools.of(caller, server, native)
    }

    /// How many tasks the gateway follows, or keeps questions of.
    pub(crate) fn followed(&self) -> usize {
        self.waits.count()
    }

    /// Keeps no more questions: nobody can answer them any more.
    pub(crate) fn stop(&self) {
        self.collectors.stop();
    }
}

/// Answers a request about a task.
pub(crate) async fn serve(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    has_method(inbound)?;
    if inbound.era() == Era::Modern {
        capability::require_extension(&inbound.caller)?;
    }
    if inbound.message.method() == methods::TASKS_UPDATE
        && let Some(responses) = inbound.message.member("inputResponses")
    {
        input::check_responses(inbound.message.bytes(), responses)?;
    }
    gateway.tasks().rate.count(&inbound.caller, inbound.snapshot.settings.tasks.requests_per_s_max)?;
    if let Some(reply) = Box::pin(approving::serve(gateway, inbound)).await {
        return Ok(reply); // a call that waits for people, of which no server knows
    }
    let resolved = match inbound.message.method() {
        methods::TASKS_LIST => resolve::only_server(inbound)?,
        _ => resolve::task(gateway, inbound)?,
    };
    inbound.record.means(inbound, &resolved);
    inbound.record.lap(Lap::Resolve);
    let permit = policy::decide(gateway, inbound, &resolved)?;
    redacts(gateway, inbound, &resolved);
    // What a client answers to what its task asks leaves too. Nobody can be asked about that.
    let changed = guard::arguments(gateway, inbound, &resolved, &mut Vec::new()).await?;
    let inbound = changed.as_deref().unwrap_or(inbound);
    inbound.record.lap(Lap::Policy);
    let server = resolved.server();
    let mut retried = false;
    let home =
        resolved.native().and_then(|native| gateway.tasks().homes.of(&inbound.caller, server.id(), native));
    let spot = Spot::on(home.as_deref());
    loop {
        let route = route::open_at(server, &inbound.caller, spot, &permit).await.map_err(Refusal::unsent)?;
        let served = match (inbound.era(), route.link().era()) {
            (Era::Modern, Era::Legacy) => adapt::serve(gateway, inbound, &resolved, &permit, &route).await,
            // The extension has no list (tasks extension), so neither has a server of that era.
            (Era::Legacy, Era::Modern) if inbound.message.method() == methods::TASKS_LIST => {
                return Err(Refusal::new(Stage::Resolve, Code::MethodNotFound, "Method not found"));
            }
            (Era::Legacy, Era::Modern) => return Err(id::unknown()),
            _ => pass(gateway, inbound, &resolved, &permit, &route).await,
        };
        match served? {
            Ok(reply) => return Ok(reply),
            // Nothing was carried out, since the server is not what it was found to be: look again, once.
            Err(error) if error.is_stale() && !retried => retried = true,
            Err(error) => return Err(error.refusal(server.name())),
        }
    }
}

/// What had to be taken out of the result of the call has to be taken out of what its task comes to. Where it is not remembered
/// which call that was, everything has to be that a permit of the tenant's demands.
fn redacts(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) {
    let tool = resolved
        .native()
        .and_then(|native| gateway.tasks().tool_of(&inbound.caller, resolved.server().id(), native));
    if let Some(tool) = tool {
        inbound.record.is_about_tool(tool);
    }
    let of = |native| gateway.tasks().redactions.of(&inbound.caller, resolved.server().id(), native);
    match resolved.native().and_then(of) {
        Some(words) => inbound.record.redacts(&words),
        None => inbound.record.redacts(&policy::redactions(gateway, inbound)),
    }
}

/// Whether the client's revision has the method, and this endpoint serves it.
fn has_method(inbound: &Inbound) -> Result<(), Refusal> {
    let revision = inbound.caller.client.revision;
    let has = match inbound.message.method() {
        methods::TASKS_GET | methods::TASKS_CANCEL => revision >= Revision::V2025_11_25,
        methods::TASKS_UPDATE => revision.era() == Era::Modern,
        methods::TASKS_RESULT => revision == Revision::V2025_11_25,
        // Over several servers the list would have to hold the tasks of sessions that nobody has opened.
        methods::TASKS_LIST => {
            revision == Revision::V2025_11_25 && inbound.endpoint.native_server().is_some()
        }
        _ => false,
    };
    if has {
        return Ok(());
    }
    Err(Refusal::new(Stage::Envelope, Code::MethodNotFound, "Method not found"))
}

/// Carries the request to a server of the client's own era. The outer error is a refusal, the inner one may be worth
/// another try.
async fn pass(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    permit: &Permit,
    route: &Route,
) -> Result<Result<Reply, UpstreamError>, Refusal> {
    let (link, server) = (route.link(), resolved.server().id());
    let id = link.mint();
    let (method, log_level) = (inbound.message.method(), inbound.log_level());
    let onward = Onward::of(&inbound.record);
    let departure = Departure {
        id,
        method: Cow::Owned(method.to_owned()),
        native: resolved.native().map(str::to_owned),
        param_headers: Vec::new(),
        body: bridge::request(
            &inbound.message,
            &inbound.caller.client,
            link.revision(),
            id,
            resolved.target(),
            &Round::default(),
            &Beside { log_level, onward: Some(&onward) },
        ),
        waits: ask::patient(),
        log_level,
        onward: Some(onward),
    };
    let listener = Listener { task: resolved.native(), ..Listener::of(gateway, inbound) };
    let effect = Effect { permit: Some(permit), link: Some(link), ..Effect::default() };
    let receipt = record::intend(gateway, inbound, effect).await?;
    inbound.record.sends(departure.body.len());
    let sent = dispatch::send(server, route, departure, Some(&listener), receipt).await;
    let message = match sent.and_then(Sent::into_response) {
        Ok(message) => message,
        Err(error) => {
            inbound.record.failed(&error);
            return Ok(Err(error));
        }
    };
    inbound.record.answered(inbound, &message, link.era());
    let said = message.clone();
    let message = outside::cleaned(gateway, inbound, resolved, message).await?;
    let part: Option<size::Part> = match method {
        methods::TASKS_RESULT => Some(Message::body),
        methods::TASKS_GET => Some(|message| message.member("result")),
        _ => None,
    };
    let result = part.and_then(|part| part(&message)).map_or(&[][..], |span| span.of(message.bytes()));
    limits::pay_for_task(gateway, inbound, resolved, result);
    let message = match part {
        Some(part) => fitting(gateway, inbound, resolved, (&said, message), part)?,
        None => message,
    };
    if method == methods::TASKS_LIST
        && let Some(body) = list::owned(gateway, inbound, server, &message)?
    {
        return Ok(Ok(Reply::new(200, body.into())));
    }
    let stand_ins = life::stand_ins(gateway, inbound, server, &message)?;
    bridge::response(&Answered::of(inbound, link, &message).with(stand_ins))
        .map(Ok)
        .map_err(|refusal| refusal.of(server.name()))
}

/// What a task came to, which is a part of a message, as it may pass: as its tool declares, and no larger than allowed. Of a tool that
/// is not remembered any more nothing is known but what is said of its server.
fn fitting(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (said, message): (&Message, Message),
    part: size::Part,
) -> Result<Message, Refusal> {
    let native = resolved.native();
    let tool = native.and_then(|task| gateway.tasks().tool_of(&inbound.caller, resolved.server().id(), task));
    let left = if said.bytes() == message.bytes() {
        None
    } else {
        schema::left(gateway, inbound, resolved, tool.as_deref(), (said, &message, part))?
    };
    let message = left.map_or(message, |left| *left);
    schema::of_tool(gateway, inbound, resolved, tool.as_deref(), (&message, part(&message)))?;
    let smaller = size::of_tool(gateway, inbound, resolved, tool.as_deref(), (&message, part))?;
    Ok(smaller.map_or(message, |smaller| *smaller))
}

/// Whether a server answers a call with a task, in place of its result: a modern server by the type of the result, a
/// legacy one, if the gateway has asked for a task, by what `tools/call` gives only then.
pub(crate) fn is_created(inbound: &Inbound, message: &Message, link: &Link) -> bool {
    if inbound.message.method() != methods::TOOLS_CALL {
        return false;
    }
    match link.era() {
        Era::Modern => message.text("resultType").as_deref() == Some("task"),
        Era::Legacy => {
            link.hello().tasks
                && inbound.caller.client.revision != Revision::V2025_11_25
                && message.member("content").is_none()
                && message.member("task").is_some_and(|task| find(message.bytes(), task, "taskId").is_some())
        }
    }
}

/// Whether a call has become a task that its client cannot follow.
pub(crate) fn must_be_followed(
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
    link: &Link,
) -> bool {
    is_created(inbound, message, link)
        && match link.era() {
            Era::Modern => !capability::declares_extension(&inbound.caller.client),
            Era::Legacy => !plan::can_follow(inbound, resolved.server().settings()),
        }
}

/// The answer to a call that became a task, for a client that can follow it.
pub(crate) fn created(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    route: &Route,
    message: &Message,
) -> Result<Reply, Refusal> {
    if !capability::declares_extension(&inbound.caller.client) {
        let text = "the server answers the end of a task with another task";
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name()));
    }
    if route.link().era() == Era::Legacy {
        inbound.record.comes_to(Outcome::TaskCreated);
        return adapt::created(gateway, inbound, server, route.link(), message);
    }
    let stand_ins = life::stand_ins(gateway, inbound, server, message)?;
    bridge::created(&Answered::of(inbound, route.link(), message).with(stand_ins))
        .map_err(|refusal| refusal.of(server.name()))
}

/// Remembers where a task was made, if its server has several replicas: each may know only of its own.
pub(crate) fn remember_home(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    link: &Link,
    message: &Message,
) {
    let Some(replica) = link.replica() else { return };
    let era = if is_augmented(inbound) { Era::Legacy } else { link.era() };
    if (is_augmented(inbound) || is_created(inbound, message, link))
        && let Some(native) = created_id(message, era)
    {
        let known_max = inbound.snapshot.settings.tasks.known_max;
        let key = Key::new(&inbound.caller, server, &native);
        gateway.tasks().homes.remember(key, Arc::clone(replica), known_max);
    }
}

/// Remembers which tool a task was made by, so that whoever may use the tool no more may not use the task either.
pub(crate) fn remember_tool(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    link: &Link,
    message: &Message,
) {
    let era = if is_created(inbound, message, link) {
        link.era()
    } else if is_augmented(inbound) {
        Era::Legacy
    } else {
        return;
    };
    if let (Some(native), Some(tool)) = (created_id(message, era), resolved.native()) {
        let known_max = inbound.snapshot.settings.tasks.known_max;
        let key = Key::new(&inbound.caller, resolved.server().id(), &native);
        gateway.tasks().redactions.remember(key.clone(), inbound.record.redactions().into(), known_max);
        gateway.tasks().tools.remember(key, Arc::from(tool), known_max);
    }
}

/// Remembers the task that a client of 2025-11-25 asked for as the caller's, for the sake of lists and notifications.
pub(crate) fn remember(gateway: &Gateway, inbound: &Inbound, server: &ServerId, message: &Message) {
    if is_augmented(inbound)
        && let Some(native) = created_id(message, Era::Legacy)
    {
        inbound.record.comes_to(Outcome::TaskCreated);
        let known_max = inbound.snapshot.settings.tasks.known_max;
        let key = Key::new(&inbound.caller, server, &native);
        gateway.tasks().owners.remember(key, Owned::new(inbound.progress_token()), known_max);
    }
}

/// The server's own id of the task that it made of a call.
fn native_id(message: &Message, era: Era) -> Result<String, Refusal> {
    created_id(message, era).map(Cow::into_owned).ok_or_else(|| {
        let text = "the server made a task without an id";
        Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text)
    })
}

fn created_id(message: &Message, era: Era) -> Option<Cow<'_, str>> {
    match era {
        Era::Modern => message.text("taskId"),
        Era::Legacy => text(message.bytes(), find(message.bytes(), message.member("task")?, "taskId")?),
    }
}

/// Every id of a task in a server's answer, and how the client knows that task.
pub(crate) fn ids(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    message: &Message,
) -> Result<Vec<(Span, String)>, Refusal> {
    let mut ids = Vec::new();
    for place in places(message, inbound) {
        if let Some(native) = text(message.bytes(), place) {
            ids.push((place, id::wrap(gateway.sealer(), &inbound.caller, server, &native)?));
        }
    }
    Ok(ids)
}

fn places(message: &Message, inbound: &Inbound) -> smallvec::SmallVec<[Span; 2]> {
    let bytes = message.bytes();
    let mut places = smallvec::SmallVec::new();
    places.extend(relate::related(message));
    match inbound.message.method() {
        methods::TASKS_GET | methods::TASKS_CANCEL => places.extend(message.member("taskId")),
        _ if is_augmented(inbound) => {
            places.extend(message.member("task").and_then(|task| find(bytes, task, "taskId")));
        }
        methods::TOOLS_CALL if message.text("resultType").as_deref() == Some("task") => {
            places.extend(message.member("taskId"));
        }
        _ => {}
    }
    places
}

/// Whether a call became a task that its client asked for: what the tool declares of its results, this is none of them.
pub(crate) fn is_asked_for(inbound: &Inbound, message: &Message) -> bool {
    is_augmented(inbound)
        && ["content", "structuredContent"].iter().all(|member| message.member(member).is_none())
        && created_id(message, Era::Legacy).is_some()
}

/// Whether a client of 2025-11-25 asks for its call to become a task.
fn is_augmented(inbound: &Inbound) -> bool {
    inbound.message.method() == methods::TOOLS_CALL
        && inbound.caller.client.revision == Revision::V2025_11_25
        && inbound
            .message
            .member("task")
            .is_some_and(|task| inbound.message.kind_of(task) == JsonKind::Object)
}
