//! Is what passes clean, as guards outside of the gateway say?
//!
//! They are asked one after the other, once the gateway's own guards have done what they do: about arguments before anything
//! leaves, about results before their first byte reaches the client. What they cannot be asked about does not pass, unless the
//! operator says otherwise. What they say is on record, never the text.

use std::sync::Arc;

use bytes::Bytes;
use ring::hmac;
use serde_json::json;
use tollgate_approvals::Hold;
use tollgate_guard::outside::{About, Heard, OnFailure, Outcome, OutsideNoted, Stopped, Texts, apply};
use tollgate_mcp::{Limits, Message, Segments, Span, members, text};
use tollgate_model::{Code, Refusal, ServerId, Stage, TenantId};
use tollgate_telemetry::events::{GuardAsked, GuardFound, GuardUnavailable};

use super::Resolved;
use super::approve;
use super::guard;
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::outsiders::{Failure, Outsider};

/// Members of results and notifications that are the protocol's own, and metadata: nobody outside is shown them.
const NOT_SHOWN: &[&str] =
    &["_meta", "resultType", "nextCursor", "requestState", "progressToken", "level", "logger", "code"];

/// Whether any of them is asked about this.
pub(crate) fn hears(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved, heard: Heard) -> bool {
    let mut outsiders = inbound.snapshot.outsiders.iter().peekable();
    outsiders.peek().is_some() && {
        let (server, tool) = (resolved.server().id(), Tool::of(gateway, inbound, resolved));
        outsiders.any(|one| concerns(one, inbound, heard, server, &tool))
    }
}

/// What comes of a task, or asks something, as guards let it pass: the gateway's own, and those outside of it.
pub(crate) async fn cleaned(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: Message,
) -> Result<Message, Refusal> {
    let message = guard::cleaned(gateway, inbound, resolved, message).await?;
    if !hears(gateway, inbound, resolved, Heard::Result) {
        return Ok(message);
    }
    let changed = Box::pin(result(gateway, inbound, resolved, &message)).await?;
    Ok(changed.map_or(message, |changed| *changed))
}

/// Which tool it is about.
enum Tool {
    Named(Arc<str>),
    /// None, but a prompt, a resource or nothing.
    Other,
    /// A task of one that is not known any more.
    Unknown,
}

impl Tool {
    fn of(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Self {
        match (&resolved.target().key, resolved.native()) {
            (Some(("taskId", task)), _) => {
                let tool = gateway.tasks().tool_of(&inbound.caller, resolved.server().id(), task);
                tool.map_or(Self::Unknown, Self::Named)
            }
            (_, Some(native)) if inbound.is_tool_call() => Self::Named(native.into()),
            _ => Self::Other,
        }
    }

    /// The same during a request.
    fn during(inbound: &Inbound) -> Self {
        match inbound.record.native() {
            Some(native) if inbound.is_tool_call() => Self::Named(native),
            _ if inbound.message.member("taskId").is_some() => Self::Unknown,
            _ => Self::Other,
        }
    }
}

/// The same of what a server says meanwhile.
pub(crate) fn hears_said(inbound: &Inbound, server: &ServerId) -> bool {
    let mut outsiders = inbound.snapshot.outsiders.iter().peekable();
    outsiders.peek().is_some() && {
        let tool = Tool::during(inbound);
        outsiders.any(|one| concerns(one, inbound, Heard::Notification, server, &tool))
    }
}

fn concerns(outsider: &Outsider, inbound: &Inbound, heard: Heard, server: &ServerId, tool: &Tool) -> bool {
    let (settings, tenant, server) =
        (outsider.settings(), inbound.caller.tenant().as_str(), server.name().as_str());
    match tool {
        Tool::Named(tool) => settings.concerns(heard, tenant, server, Some(tool)),
        Tool::Other => settings.concerns(heard, tenant, server, None),
        Tool::Unknown => settings.may_concern(heard, tenant, server),
    }
}

/// Asks about the arguments of a call or prompt as they are to leave. Whether others leave now, on which policy has to decide. What
/// people have to agree to first is put into `held`.
pub(crate) async fn arguments(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &mut Resolved,
    held: &mut Vec<Hold>,
) -> Result<bool, Refusal> {
    let message = &inbound.message;
    let target = resolved.target();
    let before = match message.member("arguments") {
        Some(arguments) if !target.changes_arguments() => message.raw(arguments),
        None if !target.changes_arguments() => return Ok(false),
        _ => bridge::arguments(message, target),
    };
    let server = resolved.server().id();
    let tool = Tool::of(gateway, inbound, resolved);
    let asking =
        Asking { gateway, inbound, heard: Heard::Arguments, server, native: resolved.native(), tool };
    // Of what nobody can be asked about nothing waits.
    let held = approve::can_be_asked(inbound).then_some(held);
    let asked = asking.all(before.clone(), &[], held).await;
    let Some(after) = asked.map_err(|refusal| refusal.of(resolved.server().name()))? else {
        return Ok(false);
    };
    let find = |name: &str| tollgate_mcp::find(&before, Span::all(&before), name);
    let changed = members(&after, Span::all(&after)).filter_map(|member| {
        let value = member.value.of(&after);
        let name = text(&after, member.key)?;
        let is_same = find(&name).is_some_and(|span| span.of(&before) == value);
        (!is_same).then(|| (name.into_owned(), Bytes::copy_from_slice(value)))
    });
    let changed: Vec<(String, Bytes)> = changed.collect();
    resolved.set_arguments(changed);
    inbound.record.means(inbound, resolved);
    Ok(true)
}

/// Asks about what a server has answered. Gives back the answer as it may pass, where that is another.
pub(crate) async fn result(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
) -> Result<Option<Box<Message>>, Refusal> {
    let Some(body) = message.body() else { return Ok(None) };
    let server = resolved.server().id();
    let tool = Tool::of(gateway, inbound, resolved);
    let asking = Asking { gateway, inbound, heard: Heard::Result, server, native: resolved.native(), tool };
    let asked = asking.all(body.slice(message.bytes()), NOT_SHOWN, None).await;
    let changed = asked.map_err(|refusal| refusal.of(resolved.server().name()))?;
    let Some(changed) = changed else { return Ok(None) };
    let message = put(message, body, changed);
    message.map(|message| Some(Box::new(message))).ok_or_else(|| {
        let why = "what a guard has made of the result cannot be sent";
        Refusal::new(Stage::Guard, Code::GuardBlocked, why).of(resolved.server().name())
    })
}

/// Asks about a notification on its way to the client. Nothing if it may not pass.
pub(crate) async fn said(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    message: Segments,
) -> Option<Segments> {
    let bytes = message.into_bytes();
    let message = Message::parse(bytes.clone(), &unbounded()).ok()?;
    let Some(body) = message.body() else { return Some(bytes.into()) };
    let native = inbound.record.native();
    let asking = Asking {
        gateway,
        inbound,
        heard: Heard::Notification,
        server,
        native: native.as_deref(),
        tool: Tool::during(inbound),
    };
    match asking.all(body.slice(&bytes), NOT_SHOWN, None).await {
        Ok(None) => Some(bytes.into()),
        Ok(Some(changed)) => put(&message, body, changed).map(|message| message.bytes().clone().into()),
        Err(_) => None,
    }
}

/// The message with its body as it may pass.
fn put(message: &Message, body: Span, changed: Bytes) -> Option<Message> {
    let mut edit = message.edit();
    edit.replace(body, changed);
    Message::parse(edit.finish().into_bytes(), &unbounded()).ok()
}

/// It was within its bounds before, and a guard's answer has bounds of its own.
fn unbounded() -> Limits {
    Limits { bytes_max: usize::MAX, ..Limits::default() }
}

/// Asking about a part of one message.
struct Asking<'a> {
    gateway: &'a Gateway,
    inbound: &'a Inbound,
    heard: Heard,
    server: &'a ServerId,
    native: Option<&'a str>,
    tool: Tool,
}

impl Asking<'_> {
    /// Asks all guards that are there for it, each about what those before it have left. Gives back the value as it may pass,
    /// where that is another. What a guard wants a person to look at is put into `held`; where that cannot be, it does not pass.
    async fn all(
        &self,
        value: Bytes,
        except: &[&str],
        mut held: Option<&mut Vec<Hold>>,
    ) -> Result<Option<Bytes>, Refusal> {
        let mut current = value;
        let mut is_changed = false;
        for outsider in self.inbound.snapshot.outsiders.iter() {
            if !concerns(outsider, self.inbound, self.heard, self.server, &self.tool) {
                continue;
            }
            let name = &outsider.settings().name;
            let texts = Texts::of(&current, except, outsider.settings().request_bytes_max);
            let texts = match texts {
                Ok(texts) if texts.is_empty() => continue,
                Ok(texts) => texts,
                Err(_) => {
                    self.failed(outsider, &Failure::TooMuch)?;
                    continue;
                }
            };
            let opinions = match self.ask(outsider, &texts).await {
                Ok(opinions) => opinions,
                Err(failure) => {
                    self.failed(outsider, &failure)?;
                    continue;
                }
            };
            let outcome = apply(name, &current, &texts, &opinions, &|| key(self.tenant()));
            self.tell(name, &outcome);
            if let Some(stopped) = &outcome.stopped {
                let refusal = self.refuse(name, stopped);
                match &mut held {
                    Some(held) if stopped.is_held => held.push(Hold {
                        groups: Vec::new(),
                        rules: vec![format!("external.{name}").into()],
                        why: refusal.public.into(),
                    }),
                    _ => return Err(refusal),
                }
            }
            if let Some(changed) = outcome.changed {
                (current, is_changed) = (changed, true);
            }
        }
        Ok(is_changed.then_some(current))
    }

    async fn ask(
        &self,
        outsider: &Outsider,
        texts: &Texts,
    ) -> Result<Vec<tollgate_guard::outside::Opinion>, Failure> {
        let call = self.inbound.record.id().to_string();
        let about = About {
            call: &call,
            heard: self.heard,
            tenant: self.tenant().as_str(),
            server: self.server.name().as_str(),
            method: self.inbound.message.method(),
            name: match &self.tool {
                Tool::Named(tool) => Some(tool),
                Tool::Other => self.native,
                Tool::Unknown => None,
            },
            is_tool: matches!(self.tool, Tool::Named(_)),
        };
        outsider.ask(&about, texts).await
    }

    fn tenant(&self) -> &TenantId {
        self.inbound.caller.tenant()
    }

    /// A guard could not be asked. What it has not seen passes only if the operator says so.
    fn failed(&self, outsider: &Outsider, failure: &Failure) -> Result<(), Refusal> {
        let settings = outsider.settings();
        let passes = settings.on_failure == OnFailure::Pass;
        let (guard, why, detail) = (&settings.name, failure.word(), failure.detail());
        let place = self.heard.as_str();
        GuardUnavailable {
            guard,
            why,
            detail: &detail,
            passes,
            place,
            server: self.server,
            tenant: self.tenant(),
        }
        .emit();
        if self.gateway.ledger().is_on() {
            let action = if passes { "pass" } else { "block" };
            let found = json!({
                "rule": format!("external.{guard}"), "failure": why, "action": action, "in": place,
            });
            self.inbound.record.guarded(std::iter::once(found));
        }
        if passes {
            return Ok(());
        }
        let why = format!("the guard `{guard}` could not be asked about the {}", what(self.heard));
        Err(Refusal::new(Stage::Guard, Code::GuardUnavailable, why))
    }

    /// What was found, on record and counted.
    fn tell(&self, guard: &str, outcome: &Outcome) {
        let came_to = match (&outcome.stopped, &outcome.changed) {
            (Some(Stopped { is_held: true, .. }), _) => "hold",
            (Some(_), _) => "block",
            (None, Some(_)) => "change",
            (None, None) => "pass",
        };
        GuardAsked { guard, came_to }.emit();
        let (server, tenant) = (self.server, self.tenant());
        let (rule, place) = (format!("external.{guard}"), self.heard.as_str());
        for OutsideNoted { action, path, .. } in &outcome.noted {
            GuardFound { rule: &rule, action, place, path, server, tenant }.emit();
        }
        if self.gateway.ledger().is_on() {
            self.inbound.record.guarded(outcome.noted.iter().map(|noted| {
                let mut found = json!({
                    "rule": rule, "confidence": noted.confidence, "action": noted.action,
                    "in": place, "path": noted.path,
                });
                if let Some(kind) = &noted.kind {
                    found["found"] = kind.as_str().into();
                }
                found
            }));
        }
    }

    /// The refusal of what a guard does not let pass. Its reason is a word of its own, and nothing of the text.
    fn refuse(&self, guard: &str, stopped: &Stopped) -> Refusal {
        let reason = stopped.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let does = if stopped.is_held { "wants a person to look at" } else { "does not let pass" };
        let why = format!("the guard `{guard}` {does} the {}{reason}", what(self.heard));
        Refusal::new(Stage::Guard, Code::GuardBlocked, why)
    }
}

const fn what(heard: Heard) -> &'static str {
    match heard {
        Heard::Arguments => "arguments",
        Heard::Result => "result",
        Heard::Notification => "notification",
    }
}

/// The key of a tenant that digests are made with.
fn key(tenant: &TenantId) -> hmac::Key {
    // Drawn when the configuration was first served.
    let process = hmac::Key::new(hmac::HMAC_SHA256, guard::key().unwrap_or_default());
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&process, tenant.as_str().as_bytes()).as_ref())
}
