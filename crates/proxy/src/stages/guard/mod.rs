//! Is what passes clean?
//!
//! Arguments are looked at once policy has allowed them, before they count; what servers say before it becomes a message for
//! the client, and what they define when it is learnt ([`definitions`]). What is found is on record and counted, never itself. Where nothing is found no byte is changed.

mod definitions;
mod neighbours;

use std::sync::OnceLock;

use ring::rand::{SecureRandom, SystemRandom};
use serde_json::{Value, json};
use tollgate_guard::{Action, Beyond, Guard, Guards, Inspection, Noted, Reading, Subject};
use tollgate_mcp::{Limits, Message, Span, methods};
use tollgate_model::{Code, Obligations, Refusal, ServerId, Stage, TenantId};
use tollgate_telemetry::events::GuardFound;

use super::Resolved;
use super::record::{self, CallRecord};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::seal::NoRandomness;

pub(crate) use definitions::{Definitions, hello, items, page};

/// Members of results, of errors and of notifications that are the protocol's own.
const OF_PROTOCOL: &[&str] =
    &["resultType", "nextCursor", "requestState", "progressToken", "level", "logger", "code"];

/// How many findings are told one by one.
const FOUND_MAX: usize = 32;

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

/// Whose words are looked at, and where it is told what was found in them.
pub(crate) struct Desk<'a> {
    gateway: &'a Gateway,
    guards: &'a Guards,
    tenant: &'a TenantId,
    record: Option<&'a CallRecord>,
    /// What takes out of it what policy demands.
    redacting: Option<Guard>,
}

impl<'a> Desk<'a> {
    /// The words are of a request's.
    pub(crate) fn of(gateway: &'a Gateway, inbound: &'a Inbound) -> Self {
        let (guards, tenant) = (&inbound.snapshot.guards, inbound.caller.tenant());
        let words = inbound.record.redactions();
        // Whoever allowed it has seen to it that each of them stands for something.
        let redacting = if words.is_empty() { None } else { guards.redacting(&words) };
        Self { gateway, guards, tenant, record: Some(&inbound.record), redacting }
    }

    /// They belong to no request.
    pub(crate) fn beside(gateway: &'a Gateway, guards: &'a Guards, tenant: &'a TenantId) -> Self {
        Self { gateway, guards, tenant, record: None, redacting: None }
    }

    /// What looks at what servers say.
    fn of_results(&self) -> Option<&Guard> {
        self.redacting.as_ref().or(self.guards.results.as_ref())
    }

    /// Looks at a part of a message, and tells of what was found.
    fn look(
        &self,
        guard: &Guard,
        (place, server): (&'static str, &ServerId),
        (message, part): (&Message, Span),
        reading: Reading<'_>,
    ) -> Inspection {
        let bytes = part.of(message.bytes()).len();
        if bytes > self.guards.bound.bytes_max {
            return self.too_large(guard, place, server, bytes);
        }
        let subject = Subject { reading, except: OF_PROTOCOL, tenant: self.tenant.as_str() };
        let inspection = guard.inspect_as(message.bytes(), part, &subject);
        if !inspection.noted.is_empty() {
            self.tell(guard, place, server, &inspection);
        }
        inspection
    }

    fn tell(&self, guard: &Guard, place: &'static str, server: &ServerId, inspection: &Inspection) {
        for noted in &inspection.noted {
            let (rule, action) = (guard.scanner().id(noted.rule), noted.action.as_str());
            GuardFound { rule: &rule, action, place, path: &noted.path, server, tenant: self.tenant }.emit();
        }
        if !self.gateway.ledger().is_on() {
            return;
        }
        let all = inspection.noted.iter().map(|noted| found(guard, place, noted));
        if let Some(record) = self.record {
            record.guarded(all);
        } else {
            let all: Vec<Value> = all.collect();
            record::upkeep(self.gateway, server, None, [("guard", all.into())]);
        }
    }

    /// What is larger than what is looked at: on record, whatever becomes of it.
    fn too_large(&self, guard: &Guard, place: &'static str, server: &ServerId, bytes: usize) -> Inspection {
        let does_pass = !guard.acts() || self.guards.bound.beyond == Beyond::Report;
        let action = if does_pass { Action::Report } else { Action::Block }.as_str();
        let rule = "guard.too_large";
        GuardFound { rule, action, place, path: "", server, tenant: self.tenant }.emit();
        if self.gateway.ledger().is_on() {
            let found = json!({"rule": rule, "bytes": bytes, "action": action, "in": place});
            match self.record {
                Some(record) => record.guarded(std::iter::once(found)),
                None => record::upkeep(self.gateway, server, None, [("guard", vec![found].into())]),
            }
        }
        let blocked = if does_pass { None } else { Some(None) };
        Inspection { is_too_large: true, blocked, ..Inspection::default() }
    }

    /// Looks at what a server says by itself: progress, lines of its log, how a task is.
    pub(crate) fn said(&self, server: &ServerId, message: &Message) -> Said {
        let Some(guard) = self.of_results() else { return Said::AsItIs };
        self.passes(guard, ("notification", server), message, reading_of(message))
    }

    /// Looks at what a server asks.
    pub(crate) fn asked(&self, server: &ServerId, message: &Message) -> Said {
        let Some(guard) = self.of_results() else { return Said::AsItIs };
        self.passes(guard, ("question", server), message, Reading::Question)
    }

    fn passes(
        &self,
        guard: &Guard,
        place: (&'static str, &ServerId),
        message: &Message,
        reading: Reading<'_>,
    ) -> Said {
        let Some(body) = message.body() else { return Said::AsItIs };
        let inspection = self.look(guard, place, (message, body), reading);
        match changed(message, body, &inspection) {
            Ok(_) if inspection.blocked.is_some() => Said::Never,
            Ok(None) => Said::AsItIs,
            Ok(Some(changed)) => Said::Changed(changed),
            Err(()) => Said::Never,
        }
    }
}

/// Whether there is a guard that takes out what policy demands. It does so from now on.
pub(crate) fn will_redact(inbound: &Inbound, obligations: &Obligations) -> bool {
    let words = &obligations.redactions;
    if words.is_empty() {
        return true;
    }
    let will = inbound.snapshot.guards.redacting(words).is_some();
    if will {
        inbound.record.redacts(words);
    }
    will
}

/// Looks at what a call, read, prompt or completion is about, and at the arguments of a call or prompt, as the client sent them.
pub(crate) fn arguments(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    definitions::refuse_withheld(gateway, inbound, resolved)?;
    let Some(guard) = &inbound.snapshot.guards.arguments else { return Ok(()) };
    let Some(arguments) = inbound.message.member("arguments") else { return Ok(()) };
    let server = resolved.server();
    let (desk, place) = (Desk::of(gateway, inbound), ("arguments", server.id()));
    let inspection = desk.look(guard, place, (&inbound.message, arguments), Reading::Words);
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
    let (server, desk) = (resolved.server(), Desk::of(gateway, inbound));
    let Some(guard) = desk.of_results() else { return Ok(None) };
    let Some(body) = message.body() else { return Ok(None) };
    let inspection = desk.look(guard, ("result", server.id()), (message, body), reading_of(message));
    if inspection.blocked.is_some() {
        return Err(refuse("result", guard, &inspection).of(server.name()));
    }
    changed(message, body, &inspection).map_err(|()| refuse("result", guard, &inspection).of(server.name()))
}

/// How something that a server says is read: what asks something, or names something, has to stay what it is.
fn reading_of(message: &Message) -> Reading<'static> {
    let asks = match message.method() {
        "" => message.member("inputRequests").is_some(),
        methods::NOTIFICATIONS_PROGRESS
        | methods::NOTIFICATIONS_MESSAGE
        | methods::NOTIFICATIONS_TASKS_STATUS => false,
        _ => true,
    };
    if asks { Reading::Question } else { Reading::Words }
}

/// The same, with what may pass as it is given back.
pub(crate) fn cleaned(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: Message,
) -> Result<Message, Refusal> {
    Ok(result(gateway, inbound, resolved, &message)?.map_or(message, |clean| *clean))
}

/// A finding as it stands on record: never itself.
fn found(guard: &Guard, place: &'static str, noted: &Noted) -> Value {
    json!({
        "rule": guard.scanner().id(noted.rule),
        "severity": guard.scanner().severity(noted.rule).as_str(),
        "confidence": noted.confidence,
        "action": noted.action.as_str(),
        "in": place,
        "path": noted.path,
    })
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
        _ if inspection.is_too_large => format!("the {place} is larger than what content guards look at"),
        Some(Some(rule)) => format!("a content guard found `{}` in the {place}", guard.scanner().id(rule)),
        _ => format!("a content guard could not make the {place} clean"),
    };
    Refusal::new(Stage::Guard, Code::GuardBlocked, why)
}
