//! Is what passes clean?
//!
//! Arguments are looked at once policy has allowed them, before they count; what servers say before it becomes a message for
//! the client. What is found is on record and counted, never itself. Where nothing is found no byte is changed.

use std::sync::OnceLock;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;
use tollgate_guard::{Guard, Inspection};
use tollgate_mcp::{Limits, Message, Span, methods};
use tollgate_model::{Code, Refusal, ServerId, Stage};
use tollgate_telemetry::events::GuardFound;

use super::Resolved;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::seal::NoRandomness;

/// Members of results, of errors and of notifications that are the protocol's own.
const OF_PROTOCOL: &[&str] =
    &["_meta", "resultType", "nextCursor", "requestState", "progressToken", "level", "logger", "code"];

/// What becomes of something that a server says during a request.
pub(crate) enum Said {
    /// It passes.
    AsItIs,
    /// This passes.
    Changed(Box<Message>),
    /// It does not.
    Never,
}

/// The key of this process that digests are made with: of one text the same for as long as it runs.
pub(crate) fn key() -> Result<&'static [u8], NoRandomness> {
    static KEY: OnceLock<[u8; 32]> = OnceLock::new();
    if let Some(key) = KEY.get() {
        return Ok(key);
    }
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).map_err(|_| NoRandomness)?;
    Ok(KEY.get_or_init(|| key))
}

/// Looks at the arguments of a call or prompt, as the client sent them.
pub(crate) fn arguments(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let Some(guard) = &inbound.snapshot.guards.arguments else { return Ok(()) };
    let Some(arguments) = inbound.message.member("arguments") else { return Ok(()) };
    let server = resolved.server();
    let inspection =
        inspect(gateway, inbound, guard, ("arguments", server.id()), (&inbound.message, arguments));
    if inspection.blocked.is_some() || inspection.changed.is_some() {
        return Err(refuse("arguments", guard, &inspection).of(server.name()));
    }
    Ok(())
}

/// Looks at what a server has answered. Gives back the answer as it may pass, where that is another.
pub(crate) fn result(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
) -> Result<Option<Box<Message>>, Refusal> {
    let Some(guard) = &inbound.snapshot.guards.results else { return Ok(None) };
    let Some(body) = message.body() else { return Ok(None) };
    let server = resolved.server();
    let inspection = inspect(gateway, inbound, guard, ("result", server.id()), (message, body));
    if inspection.blocked.is_some() {
        return Err(refuse("result", guard, &inspection).of(server.name()));
    }
    changed(message, body, &inspection).map_err(|()| refuse("result", guard, &inspection).of(server.name()))
}

/// Looks at progress and lines of a log.
pub(crate) fn said(gateway: &Gateway, inbound: &Inbound, server: &ServerId, message: &Message) -> Said {
    let Some(guard) = &inbound.snapshot.guards.results else { return Said::AsItIs };
    let has_text =
        matches!(message.method(), methods::NOTIFICATIONS_PROGRESS | methods::NOTIFICATIONS_MESSAGE);
    let Some(body) = message.body().filter(|_| has_text) else { return Said::AsItIs };
    let inspection = inspect(gateway, inbound, guard, ("notification", server), (message, body));
    match changed(message, body, &inspection) {
        Ok(_) if inspection.blocked.is_some() => Said::Never,
        Ok(None) => Said::AsItIs,
        Ok(Some(changed)) => Said::Changed(changed),
        Err(()) => Said::Never,
    }
}

/// Inspects a part of a message, and tells of what was found.
fn inspect(
    gateway: &Gateway,
    inbound: &Inbound,
    guard: &Guard,
    (place, server): (&'static str, &ServerId),
    (message, part): (&Message, Span),
) -> Inspection {
    let tenant = inbound.caller.tenant();
    let inspection = guard.inspect(message.bytes(), part, OF_PROTOCOL, tenant.as_str());
    if inspection.noted.is_empty() {
        return inspection;
    }
    for noted in &inspection.noted {
        let (rule, action) = (guard.scanner().id(noted.rule), noted.action.as_str());
        GuardFound { rule: &rule, action, place, path: &noted.path, server, tenant }.emit();
    }
    if gateway.ledger().is_on() {
        inbound.record.guarded(inspection.noted.iter().map(|noted| {
            json!({
                "rule": guard.scanner().id(noted.rule),
                "severity": noted.rule.severity().as_str(),
                "confidence": noted.confidence,
                "action": noted.action.as_str(),
                "in": place,
                "path": noted.path,
            })
        }));
    }
    inspection
}

/// The message with the part as it may pass; none if it may as it is. What cannot be a message does not pass.
fn changed(message: &Message, part: Span, inspection: &Inspection) -> Result<Option<Box<Message>>, ()> {
    let Some(changed) = &inspection.changed else { return Ok(None) };
    let mut edit = message.edit();
    edit.replace(part, changed.clone());
    // It was within its bounds before, and grows by the marks alone.
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    let changed = Message::parse(edit.finish().into_bytes(), &limits);
    changed.map(|message| Some(Box::new(message))).map_err(drop)
}

/// The refusal of what may not pass. It names the rule, and nothing of what it found.
fn refuse(place: &'static str, guard: &Guard, inspection: &Inspection) -> Refusal {
    let why = match inspection.blocked {
        Some(Some(rule)) => format!("a content guard found `{}` in the {place}", guard.scanner().id(rule)),
        _ => format!("a content guard could not make the {place} clean"),
    };
    Refusal::new(Stage::Guard, Code::GuardBlocked, why)
}
