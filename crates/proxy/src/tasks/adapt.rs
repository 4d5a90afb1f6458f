//! Tasks of a legacy server as a modern client follows them.
//!
//! | the client sends | the server gets |
//! |---|---|
//! | `tasks/get` | `tasks/get`; at the task's end `tasks/result` too, whose answer is put in |
//! | `tasks/get` of a task that needs input | `tasks/result`, held open: what the server asks there is put in |
//! | `tasks/update` | the answers to what it asked |
//! | `tasks/cancel` | `tasks/cancel` |

use bytes::Bytes;
use tollgate_mcp::{Kind, Message, compose, meta, methods};
use tollgate_model::{Era, Refusal, ServerId};
use tollgate_upstream::{Link, UpstreamError};

use super::ask::Speaker;
use super::{collect, id, shape};
use crate::bridge::{self, Answered};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::life;
use crate::reply::Reply;
use crate::stages::record::{self, Effect, Receipt};
use crate::stages::{Permit, Resolved, Route, guard, limits, outside};

/// The answer to a call that a legacy server made a task of.
pub(crate) fn created(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    link: &Link,
    message: &Message,
) -> Result<Reply, Refusal> {
    let bytes = message.bytes();
    let task = message.member("task").map(|span| span.slice(bytes)).unwrap_or_default();
    let native = super::native_id(message, Era::Legacy).map_err(|refusal| refusal.of(server.name()))?;
    let id = id::wrap(gateway.sealer(), &inbound.caller, server, &native)?;
    let info = guard::info(gateway, inbound, server, link.hello().info.as_ref());
    let made = shape::modern(
        &task,
        shape::Modern {
            id: &id,
            result_type: "task",
            status: None,
            payload: None,
            outer_meta: message.meta().map(|span| span.slice(bytes)),
            info: info.as_ref(),
        },
    );
    Ok(Reply::result(&inbound.id, &made))
}

/// Answers a modern client's request about a legacy server's task.
pub(crate) async fn serve(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    permit: &Permit,
    route: &Route,
) -> Result<Result<Reply, UpstreamError>, Refusal> {
    let native = resolved.native().unwrap_or_default();
    let server = resolved.server().id();
    let speaker = Speaker { gateway, server, route, client: &inbound.caller.client };
    let receipt = intend(inbound, &speaker, permit, None).await?;
    let served = match inbound.message.method() {
        methods::TASKS_GET => get(inbound, &speaker, resolved, permit, receipt).await,
        methods::TASKS_UPDATE => update(inbound, &speaker, native, receipt).await,
        _ => cancel(inbound, &speaker, resolved, permit, receipt).await,
    };
    if let Err(error) = &served {
        inbound.record.failed(error);
    }
    match served {
        Ok(reply) => reply.map(Ok).map_err(|refusal| refusal.of(server.name())),
        Err(error) => Ok(Err(error)),
    }
}

type Served = Result<Result<Reply, Refusal>, UpstreamError>;

/// Puts on record that the server is asked something, by another method than the client's if there is one.
async fn intend(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    permit: &Permit,
    method: Option<&'static str>,
) -> Result<Receipt, Refusal> {
    let link = Some(speaker.route.link());
    let effect = Effect { permit: Some(permit), link, method, ..Effect::default() };
    record::intend(speaker.gateway, inbound, effect).await
}

async fn get(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    resolved: &Resolved,
    permit: &Permit,
    receipt: Receipt,
) -> Served {
    let native = resolved.native().unwrap_or_default();
    let task = speaker.ask(methods::TASKS_GET, native, receipt).await?;
    inbound.record.answered(inbound, &task, Era::Legacy);
    let task = match outside::cleaned(speaker.gateway, inbound, resolved, task).await {
        Ok(task) => task,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if task.kind() == Kind::Error {
        return Ok(error(inbound, speaker, &task));
    }
    let status = task.text("status").unwrap_or_default();
    let (status, payload) = match &*status {
        "completed" | "failed" => {
            let receipt = match intend(inbound, speaker, permit, Some(methods::TASKS_RESULT)).await {
                Ok(receipt) => receipt,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let answer = speaker.result(native, None, receipt).await?.into_response()?;
            inbound.record.answered(inbound, &answer, Era::Legacy);
            let said = answer.clone();
            let answer = match outside::cleaned(speaker.gateway, inbound, resolved, answer).await {
                Ok(answer) => answer,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let result = answer.body().map_or(&[][..], |span| span.of(answer.bytes()));
            limits::pay_for_task(speaker.gateway, inbound, resolved, result);
            let fitting = super::fitting(speaker.gateway, inbound, resolved, (&said, answer), Message::body);
            let answer = match fitting {
                Ok(answer) => answer,
                Err(refusal) => return Ok(Err(refusal)),
            };
            let stand_ins = life::stand_ins(speaker.gateway, inbound, speaker.server, &answer);
            match stand_ins {
                Ok(stand_ins) => {
                    let (status, payload) = shape::outcome(&answer, &stand_ins);
                    (Some(status), Some(payload))
                }
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        "cancelled" => (None, None),
        // The server may say that it waits for input some time after it has asked.
        _ => match collect::questions(inbound, speaker, native, &status).await {
            Ok(Some(requests)) => (Some("input_required"), Some(("inputRequests", requests))),
            Ok(None) => (Some("working"), None),
            Err(refusal) => return Ok(Err(refusal)),
        },
    };
    let id = match id::wrap(speaker.gateway.sealer(), &inbound.caller, speaker.server, native) {
        Ok(id) => id,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let body = task.body().map(|span| task.raw(span)).unwrap_or_default();
    let info = info(inbound, speaker);
    let info = info.as_ref();
    let modern = shape::Modern { id: &id, result_type: "complete", status, payload, outer_meta: None, info };
    Ok(Ok(Reply::result(&inbound.id, &shape::modern(&body, modern))))
}

/// Brings the answers to the server's questions. What answers none that is open is ignored (tasks extension, update).
async fn update(inbound: &Inbound, speaker: &Speaker<'_>, native: &str, receipt: Receipt) -> Served {
    collect::answer(inbound, speaker, native, receipt).await?;
    Ok(Ok(acknowledged(inbound, speaker)))
}

/// A server refuses to cancel a task that has ended; to a modern client that is no error, as long as the task is known.
async fn cancel(
    inbound: &Inbound,
    speaker: &Speaker<'_>,
    resolved: &Resolved,
    permit: &Permit,
    receipt: Receipt,
) -> Served {
    let native = resolved.native().unwrap_or_default();
    collect::forget(inbound, speaker, native);
    let cancelled = speaker.ask(methods::TASKS_CANCEL, native, receipt).await?;
    inbound.record.answered(inbound, &cancelled, Era::Legacy);
    if cancelled.kind() == Kind::Error {
        let receipt = match intend(inbound, speaker, permit, Some(methods::TASKS_GET)).await {
            Ok(receipt) => receipt,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let task = speaker.ask(methods::TASKS_GET, native, receipt).await?;
        inbound.record.answered(inbound, &task, Era::Legacy);
        if task.kind() == Kind::Error {
            let task = outside::cleaned(speaker.gateway, inbound, resolved, task).await;
            return Ok(task.and_then(|task| error(inbound, speaker, &task)));
        }
    }
    Ok(Ok(acknowledged(inbound, speaker)))
}

fn acknowledged(inbound: &Inbound, speaker: &Speaker<'_>) -> Reply {
    let info = info(inbound, speaker).map(|info| compose::object(&[(meta::SERVER_INFO, &info)]));
    let mut members: Vec<(&str, &[u8])> = vec![("resultType", b"\"complete\"")];
    members.extend(info.as_ref().map(|info| ("_meta", &**info)));
    Reply::result(&inbound.id, &compose::object(&members))
}

/// What the server says of itself, as this client may get it.
fn info(inbound: &Inbound, speaker: &Speaker<'_>) -> Option<Bytes> {
    guard::info(speaker.gateway, inbound, speaker.server, speaker.route.link().hello().info.as_ref())
}

fn error(inbound: &Inbound, speaker: &Speaker<'_>, message: &Message) -> Result<Reply, Refusal> {
    bridge::response(&Answered::of(inbound, speaker.route.link(), message))
}
