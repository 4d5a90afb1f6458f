//! Tasks: the 2026-07-28 extension `io.modelcontextprotocol/tasks`, and the experiment of 2025-11-25.
//!
//! A task outlives the request that it answers, so its id is a handle that clients keep and bring back: see [`id`].
//! Between peers of one era everything else passes as it is.

pub(crate) mod capability;
pub(crate) mod id;
mod list;
mod owners;
mod rate;
mod relate;
mod settings;

use std::borrow::Cow;

use tollgate_mcp::{JsonKind, Message, Span, find, methods, text};
use tollgate_model::{Code, Era, Refusal, Revision, ServerName, Stage};
use tollgate_upstream::UpstreamError;

use crate::bridge::{self, Answered, Round};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::life;
use crate::reply::Reply;
use crate::stages::dispatch::{self, Departure, Listener, Sent};
use crate::stages::{Resolved, Route, policy, resolve, route};

use owners::{Key, Owners};
use rate::Rate;
pub(crate) use relate::{notification, speaks_of_a_task};
pub use settings::TaskSettings;

/// What the gateway remembers of tasks. All of it is bounded.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    owners: Owners,
    rate: Rate,
}

/// Answers a request about a task.
pub(crate) async fn serve(gateway: &Gateway, inbound: &Inbound) -> Result<Reply, Refusal> {
    has_method(inbound)?;
    if inbound.era() == Era::Modern {
        capability::require_extension(&inbound.caller)?;
    }
    gateway.tasks().rate.count(&inbound.caller, inbound.snapshot.settings.tasks.requests_per_s_max)?;
    let resolved = match inbound.message.method() {
        methods::TASKS_LIST => resolve::only_server(inbound)?,
        _ => resolve::task(gateway, inbound)?,
    };
    let permit = policy::decide(&inbound.caller, &resolved)?;
    let server = resolved.server();
    let mut retried = false;
    loop {
        let route = route::open(server, &inbound.caller, &permit).await?;
        match pass(gateway, inbound, &resolved, &route).await? {
            Ok(reply) => return Ok(reply),
            // Nothing was carried out, since the server is not what it was found to be: look again, once.
            Err(error) if error.is_stale() && !retried => retried = true,
            Err(error) => return Err(error.refusal(server.name())),
        }
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
    route: &Route,
) -> Result<Result<Reply, UpstreamError>, Refusal> {
    let (link, server) = (route.link(), resolved.server().name());
    if link.era() != inbound.era() {
        return Err(id::unknown());
    }
    let id = link.mint();
    let (method, log_level) = (inbound.message.method(), inbound.log_level());
    let departure = Departure {
        id,
        method: Cow::Owned(method.to_owned()),
        native: methods::name_param(method).and(resolved.native()).map(str::to_owned),
        param_headers: Vec::new(),
        body: bridge::request(
            &inbound.message,
            &inbound.caller.client,
            link.revision(),
            id,
            resolved.target(),
            &Round::default(),
            log_level,
        ),
        timeout: None,
        log_level,
    };
    let listener = Listener::of(gateway, inbound);
    let sent = dispatch::send(server, route, departure, Some(&listener)).await;
    let message = match sent.and_then(Sent::into_response) {
        Ok(message) => message,
        Err(error) => return Ok(Err(error)),
    };
    if method == methods::TASKS_LIST
        && let Some(body) = list::owned(gateway, inbound, server, &message)?
    {
        return Ok(Ok(Reply { status: 200, body: body.into() }));
    }
    let answered = Answered {
        message: &message,
        link,
        method,
        client_id: &inbound.id,
        client: inbound.caller.client.revision,
        stand_ins: life::stand_ins(gateway, inbound, server, &message)?,
    };
    bridge::response(&answered).map(Ok).map_err(|refusal| refusal.of(server))
}

/// Whether a modern server answers a call with a task.
pub(crate) fn is_created(message: &Message, method: &str, server: Era) -> bool {
    server == Era::Modern
        && method == methods::TOOLS_CALL
        && message.text("resultType").as_deref() == Some("task")
}

/// The answer to a call that became a task.
pub(crate) fn created(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    route: &Route,
    message: &Message,
) -> Result<Reply, Refusal> {
    if !capability::declares_extension(&inbound.caller.client) {
        let text = "the server answers with a task, which this client cannot follow";
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamUnsupported, text).of(server));
    }
    bridge::created(&Answered {
        message,
        link: route.link(),
        method: inbound.message.method(),
        client_id: &inbound.id,
        client: inbound.caller.client.revision,
        stand_ins: life::stand_ins(gateway, inbound, server, message)?,
    })
    .map_err(|refusal| refusal.of(server))
}

/// Every id of a task in a server's answer, and how the client knows that task.
pub(crate) fn ids(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    message: &Message,
) -> Result<Vec<(Span, String)>, Refusal> {
    let mut ids = Vec::new();
    for place in places(message, inbound) {
        if let Some(native) = text(message.bytes(), place) {
            if is_augmented(inbound) {
                let (key, known_max) =
                    (Key::new(&inbound.caller, server, &native), inbound.snapshot.settings.tasks.known_max);
                gateway.tasks().owners.remember(key, inbound.progress_token(), known_max);
            }
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

/// Whether a client of 2025-11-25 asks for its call to become a task.
fn is_augmented(inbound: &Inbound) -> bool {
    inbound.message.method() == methods::TOOLS_CALL
        && inbound.caller.client.revision == Revision::V2025_11_25
        && inbound
            .message
            .member("task")
            .is_some_and(|task| inbound.message.kind_of(task) == JsonKind::Object)
}
