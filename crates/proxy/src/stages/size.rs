//! Is it small enough? Arguments as they leave, and results before anything of them reaches the client.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::json;
use tollgate_guard::shape::{Bounds, Excess, cut};
use tollgate_mcp::{Kind, Limits, Message, Span, methods};
use tollgate_model::{Code, Refusal, Revision, Stage};
use tollgate_telemetry::events::SchemaFault;

use super::Resolved;
use crate::aside;
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::sizes::{self, SizeSettings, WhenLarger};

/// Checks the arguments of a call or a prompt.
pub(crate) fn arguments(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<(), Refusal> {
    let bounds = rule(inbound, resolved).arguments;
    if !bounds.are_any() || inbound.message.member("arguments").is_none() {
        return Ok(());
    }
    let arguments = bridge::arguments(&inbound.message, resolved.target());
    let Err(excess) = bounds.check(&arguments) else { return Ok(()) };
    tell(gateway, inbound, resolved, ("arguments", "refuse"), excess);
    let text =
        format!("The arguments are too large: {excess}. The tool was not called. Call it again with less.");
    let code = if inbound.is_tool_call() { Code::InvalidArguments } else { Code::InvalidParams };
    Err(Refusal::new(Stage::Schema, code, text).of(resolved.server().name()))
}

/// Checks what a server has answered. Gives back what is left of it, where that is another.
pub(crate) fn result(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
) -> Result<Option<Box<Message>>, Refusal> {
    of_rule(gateway, inbound, resolved, rule(inbound, resolved), (message, Message::body))
}

/// The same of what a tool came to as a task, which is a part of a message.
pub(crate) fn of_tool(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    tool: Option<&str>,
    (message, part): (&Message, Part),
) -> Result<Option<Box<Message>>, Refusal> {
    let rule = sizes::of(&inbound.snapshot.settings, resolved.server().id(), tool);
    of_rule(gateway, inbound, resolved, rule, (message, part))
}

/// Where in a message a result is.
pub(crate) type Part = fn(&Message) -> Option<Span>;

fn of_rule(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    rule: SizeSettings,
    (message, part): (&Message, Part),
) -> Result<Option<Box<Message>>, Refusal> {
    let bounds = rule.results;
    if !bounds.are_any() || message.kind() == Kind::Error {
        return Ok(None);
    }
    let Some(body) = part(message) else { return Ok(None) };
    let Err(excess) = bounds.check(body.of(message.bytes())) else { return Ok(None) };
    let when = rule.when_larger.unwrap_or_default();
    let smaller = match when {
        WhenLarger::Refuse => None,
        WhenLarger::Cut | WhenLarger::Aside => {
            smaller(gateway, inbound, resolved, (message, part), (&bounds, when))
        }
    };
    let action = match (&smaller, when) {
        (None, _) => "refuse",
        (_, WhenLarger::Aside) => "aside",
        _ => "cut",
    };
    tell(gateway, inbound, resolved, ("result", action), excess);
    match smaller {
        Some(smaller) => Ok(Some(Box::new(smaller))),
        None => {
            let text = format!("the result is too large: {excess}");
            Err(Refusal::new(Stage::Schema, Code::ResultTooLarge, text).of(resolved.server().name()))
        }
    }
}

fn rule(inbound: &Inbound, resolved: &Resolved) -> SizeSettings {
    let tool = resolved.native().filter(|_| inbound.is_tool_call());
    sizes::of(&inbound.snapshot.settings, resolved.server().id(), tool)
}

/// A result that is cut to what is allowed; none if it cannot be. Only its length can be helped so.
fn smaller(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (message, part): (&Message, Part),
    (bounds, when): (&Bounds, WhenLarger),
) -> Option<Message> {
    let bytes_max = bounds.bytes_max()?;
    let body = message.raw(part(message)?);
    let mut notice = format!(
        "[Cut by the gateway: this result has {} bytes, and no more than {bytes_max} are shown. What is missing here was left out, \
         not lost by the tool.",
        body.len()
    );
    let kept = match when {
        WhenLarger::Aside => aside::keep(gateway, inbound, resolved, &body),
        _ => None,
    };
    if let Some(kept) = &kept {
        let _ = write!(
            notice,
            " All of it can be read as the resource {} for a while, page by page: it has {} pages.",
            kept.uri, kept.pages
        );
    }
    notice.push(']');
    // Older clients do not know what a link is, and read of it in the notice.
    let knows_links = inbound.caller.client.revision >= Revision::V2025_06_18;
    let is_tool =
        matches!(inbound.message.method(), methods::TOOLS_CALL | methods::TASKS_RESULT | methods::TASKS_GET);
    let link = kept.filter(|_| knows_links && is_tool).map(|kept| {
        Bytes::from(json!({"type": "resource_link", "uri": kept.uri, "name": "the whole result", "mimeType": kept.mime, "size": kept.bytes}).to_string())
    });
    let cut = cut(&body, bytes_max, &notice, link.as_ref())?;
    let mut edit = message.edit();
    edit.replace(part(message)?, cut);
    let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
    let smaller = Message::parse(edit.finish().into_bytes(), &limits).ok()?;
    // What is too deep, or has too many values, may be so still.
    bounds.check(part(&smaller)?.of(smaller.bytes())).is_ok().then_some(smaller)
}

fn tell(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (place, action): (&'static str, &'static str),
    excess: Excess,
) {
    SchemaFault { place, action, server: resolved.server().id(), count: 1 }.emit();
    if gateway.ledger().is_on() {
        let Excess { of, found, allowed } = excess;
        let said = json!({"rule": format!("size.{}", of.replace(' ', "_")), "action": action, "in": place, "path": "", "found": found, "allowed": allowed});
        inbound.record.guarded(std::iter::once(said));
    }
}
