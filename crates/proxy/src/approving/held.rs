//! Calls that wait for people's approval as tasks: for modern clients that can follow tasks (tasks extension of 2026-07-28).
//!
//! Such a task is the gateway's own: no server knows of it before people have agreed. Then the call is made like any other,
//! without anything in it that its client would have to answer, and what comes of it becomes the task's. A task lives as long as
//! its process; the approval behind it is stored, so that the same call again takes it up wherever it is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tollgate_mcp::{Span, compose, find, methods, quote};
use tollgate_model::{Caller, ClientProfile, Code, Era, Owner, Refusal, ServerName, Stage, Timestamp};
use tollgate_store::{Approval, ApprovalId, Standing};

use super::lock;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::life;
use crate::mailbox::Mailbox;
use crate::reply::Reply;
use crate::stages::record::CallRecord;
use crate::tasks::capability;

/// What their ids are sealed for.
const PURPOSE: &str = "held-task";
/// How often a client is asked to look.
const POLL_MS: u64 = 2_000;
/// How often the approval is looked at by itself, should no news of it arrive.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// How long a task is kept that is over.
const KEPT: Duration = Duration::from_mins(10);

/// All such tasks, by their own ids.
#[derive(Debug, Default)]
pub(super) struct HeldTasks(Arc<Mutex<HashMap<[u8; 16], HeldTask>>>);

#[derive(Debug)]
struct HeldTask {
    owner: Owner,
    approval: ApprovalId,
    created: Timestamp,
    updated: Timestamp,
    ttl_ms: u64,
    state: State,
    /// Ends its work.
    ends: CancellationToken,
}

#[derive(Debug, Clone)]
enum State {
    /// People have not decided.
    Waits,
    /// They have, and the call is made.
    Runs,
    /// What came of it: `result` or `error`, as raw JSON.
    Done(&'static str, Bytes),
    Cancelled,
}

impl State {
    fn is_over(&self) -> bool {
        matches!(self, Self::Done(..) | Self::Cancelled)
    }
}

/// Makes a task of a call that waits; none where as many wait as may: then its stream is held.
pub(crate) fn create(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerName,
    approval: &Approval,
) -> Result<Option<Reply>, Refusal> {
    let settings = &inbound.snapshot.settings;
    let internal = |error: crate::seal::NoRandomness| {
        let text = "the call could not be held";
        Refusal::new(Stage::Approval, Code::Internal, text).because(error.to_string()).of(server)
    };
    let key = gateway.sealer().random().map_err(internal)?;
    let id = gateway.sealer().seal_repeatably(&purpose(&inbound.caller), key.to_vec()).map_err(internal)?;
    let Some(place) = gateway.approvals().hold(inbound) else { return Ok(None) };
    let now = Timestamp::now();
    let ttl = settings.approvals.expiry + settings.approvals.grant;
    let task = HeldTask {
        owner: inbound.caller.owner(),
        approval: approval.id.clone(),
        created: now,
        updated: now,
        ttl_ms: ms(ttl),
        state: State::Waits,
        ends: CancellationToken::new(),
    };
    let (made, ends) = (shown(&task, &id, "task"), task.ends.clone());
    lock(&gateway.approvals().tasks.0).insert(key, task);
    let (own, alone, approval) = (gateway.clone(), alone(inbound), approval.id.clone());
    gateway.spawn(async move {
        let table = Arc::downgrade(&own.approvals().tasks.0);
        tokio::select! {
            () = run(&own, &alone, &approval, key) => {}
            () = ends.cancelled() => {}
            () = sleep(ttl) => set(&own, key, State::Cancelled),
        }
        // It keeps its place for as long as its end is kept.
        tokio::select! {
            () = sleep_until(Instant::now() + KEPT) => {}
            () = own.draining() => {}
        }
        drop(place);
        if let Some(table) = table.upgrade() {
            table.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        }
    });
    Ok(Some(Reply::result(&inbound.id, &made)))
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for people, makes the call, and keeps what comes of it.
async fn run(gateway: &Gateway, inbound: &Inbound, approval: &ApprovalId, key: [u8; 16]) {
    let mut waiter = gateway.approvals().wait_for(approval);
    while let Some(store) = gateway.approvals().store() {
        let now = Timestamp::now();
        match store.approval(approval).await {
            Ok(Some(found)) if found.standing == Standing::Waiting && !found.is_over(now) => {}
            // Nobody has decided in time.
            Ok(Some(found)) if found.is_over(now) => return set(gateway, key, State::Cancelled),
            Ok(_) => break,
            Err(error) => tracing::debug!(%error, "whether a call was approved cannot be looked up now"),
        }
        tokio::select! {
            () = waiter.news() => {}
            () = sleep(LOOK_EVERY) => {}
            // Whoever was let out is told nothing more.
            _ = gateway.cut(inbound) => return set(gateway, key, State::Cancelled),
            () = gateway.draining() => return,
        }
    }
    drop(waiter);
    set(gateway, key, State::Runs);
    // Everything is asked again, and the grant taken, as for any call.
    let reply = tokio::select! {
        biased;
        reply = life::answer(gateway, inbound) => reply,
        why = gateway.cut(inbound) => {
            inbound.record.is_cut(why.code);
            return set(gateway, key, State::Cancelled);
        }
    };
    let body = reply.body.into_bytes();
    let member = |name: &'static str| {
        find(&body, Span::all(&body), name).map(|span| State::Done(name, span.slice(&body)))
    };
    let done = member("result").or_else(|| member("error"));
    set(gateway, key, done.unwrap_or(State::Cancelled));
}

/// A call as it is made on behalf of a client that only follows its task.
fn alone(inbound: &Inbound) -> Inbound {
    let outlet = Mailbox::new(1);
    outlet.close();
    let client = ClientProfile {
        capabilities: Bytes::from_static(b"{}"),
        ..ClientProfile::clone(&inbound.caller.client)
    };
    let caller = Caller { client: Arc::new(client), ..inbound.caller.clone() };
    let record = CallRecord::of(&inbound.message, None);
    record.goes_on(inbound.record.to_go_on(), inbound.record.rounds());
    let param_headers = inbound.param_headers.clone();
    let plain = inbound.at(&inbound.endpoint, &inbound.snapshot);
    Inbound { caller, outlet, record: Arc::new(record), param_headers, ..plain }
}

/// Keeps what a task is now, unless it is over.
fn set(gateway: &Gateway, key: [u8; 16], state: State) {
    if let Some(task) = lock(&gateway.approvals().tasks.0).get_mut(&key)
        && !task.state.is_over()
    {
        let now = Timestamp::now();
        if state.is_over() {
            task.ttl_ms = ms(now.since(task.created) + KEPT);
        }
        (task.state, task.updated) = (state, now);
    }
}

/// Answers a request about such a task; none if it is about another.
pub(crate) async fn serve(gateway: &Gateway, inbound: &Inbound) -> Option<Reply> {
    let is_meant = matches!(
        inbound.message.method(),
        methods::TASKS_GET | methods::TASKS_UPDATE | methods::TASKS_CANCEL
    );
    if inbound.era() != Era::Modern || !is_meant || !capability::declares_extension(&inbound.caller.client) {
        return None;
    }
    let id = inbound.message.text("taskId")?;
    let key: [u8; 16] = gateway.sealer().open(&purpose(&inbound.caller), &id)?.try_into().ok()?;
    let tasks = &gateway.approvals().tasks.0;
    if inbound.message.method() != methods::TASKS_CANCEL {
        let tasks = lock(tasks);
        let task = tasks.get(&key).filter(|task| task.owner == inbound.caller.owner())?;
        let is_get = inbound.message.method() == methods::TASKS_GET;
        let body = if is_get { shown(task, &id, "complete") } else { acknowledged() };
        return Some(Reply::result(&inbound.id, &body));
    }
    let withdrawn = {
        let mut tasks = lock(tasks);
        let task = tasks.get_mut(&key).filter(|task| task.owner == inbound.caller.owner())?;
        let waited = matches!(task.state, State::Waits);
        if !task.state.is_over() {
            (task.state, task.updated) = (State::Cancelled, Timestamp::now());
            // Dropping a call cancels it at the server.
            task.ends.cancel();
        }
        waited.then(|| task.approval.clone())
    };
    if let (Some(approval), Some(store)) = (withdrawn, gateway.approvals().store()) {
        // Nobody has to decide on it any more. Where that cannot be said now, its time will be over.
        let _ = store.withdraw_approval(&approval, Timestamp::now()).await;
    }
    Some(Reply::result(&inbound.id, &acknowledged()))
}

fn acknowledged() -> Bytes {
    compose::object(&[("resultType", br#""complete""#)])
}

fn shown(task: &HeldTask, id: &str, result_type: &str) -> Bytes {
    let waits = format!("waiting for approval {}", task.approval);
    let (status, message) = match &task.state {
        State::Waits => ("working", Some(waits.as_str())),
        State::Runs => ("working", Some("approved")),
        State::Done("result", _) => ("completed", None),
        State::Done(..) => ("failed", None),
        State::Cancelled => ("cancelled", None),
    };
    let said = [
        ("resultType", quote(result_type)),
        ("taskId", quote(id)),
        ("status", quote(status)),
        ("createdAt", quote(&task.created.to_string())),
        ("lastUpdatedAt", quote(&task.updated.to_string())),
        ("ttlMs", Bytes::from(task.ttl_ms.to_string())),
        ("pollIntervalMs", Bytes::from(POLL_MS.to_string())),
    ];
    let mut members: Vec<(&str, Bytes)> = said.into();
    members.extend(message.map(|message| ("statusMessage", quote(message))));
    if let State::Done(member, payload) = &task.state
        && result_type == "complete"
    {
        members.push((member, payload.clone()));
    }
    let members: Vec<(&str, &[u8])> = members.iter().map(|(name, value)| (*name, &**value)).collect();
    compose::object(&members)
}

/// No part can hold a NUL, so no two purposes are one text.
fn purpose(caller: &Caller) -> String {
    [PURPOSE, caller.tenant().as_str(), caller.principal().as_str()].join("\0")
}
