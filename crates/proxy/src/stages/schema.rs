//! Do arguments and results fit what their tool declares?
//!
//! Arguments are checked as they will leave, with pinned ones in them. What does not fit is told as the result of a tool that
//! failed, so that a model can correct it (2025-11-25, tools, error handling).

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::json;
use tollgate_catalog::ListKind;
use tollgate_guard::schema::{Fault, Unchecked};
use tollgate_guard::shape::cut;
use tollgate_mcp::{Kind, Limits, Message, Span, find};
use tollgate_model::{Code, Refusal, Revision, Stage};
use tollgate_telemetry::events::SchemaFault;

use super::size::Part;
use super::{Resolved, resolve};
use crate::bridge;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::lists;
use crate::schemas::{self, SchemaMode, SchemaSettings, UnknownMembers};

/// How many unknown arguments are named.
const NAMED_MAX: usize = 8;

/// What stands in a result in place of its structured part, where guards have left of that what its tool did not promise.
const LEFT_OUT: &str = "[Left out by the gateway: of the structured result something was taken out that its output schema demands. \
                        The tool did what it was asked to; do not call it again for this.]";

/// How the arguments of a call are checked, if they are at all.
pub(crate) fn looks_at(inbound: &Inbound, resolved: &Resolved) -> Option<SchemaSettings> {
    let native = resolved.native().filter(|_| inbound.is_tool_call())?;
    let rule = schemas::of_tool(&inbound.snapshot.settings, resolved.server().id(), native);
    rule.looks_at_arguments().then_some(rule)
}

/// Checks the arguments of a call. Says whether some of them are to be left out, so that policy has to decide again.
pub(crate) async fn arguments(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &mut Resolved,
    rule: SchemaSettings,
) -> Result<bool, Refusal> {
    let Some(native) = resolved.native().map(str::to_owned) else { return Ok(false) };
    let server = resolved.server().clone();
    let known = gateway.schemas();
    if known.of(server.id(), &native).is_none() && known.may_learn(server.id()) {
        Box::pin(lists::learn(gateway, inbound, server.name(), ListKind::Tools)).await?;
    }
    let Some(declared) = known.of(server.id(), &native) else {
        // What no list shows declares nothing that anything could fit.
        let is_strict = rule.arguments == Some(SchemaMode::Strict);
        return if is_strict { Err(resolve::unknown(inbound, resolved)) } else { Ok(false) };
    };
    let told = |faults: &[Fault], action| tell(gateway, inbound, resolved, ("arguments", action), faults);
    let arguments = bridge::arguments(&inbound.message, resolved.target());
    let checked = declared.input().and_then(|schema| Ok((schema, schema.unknown_members(&arguments)?)));
    let (schema, unknown) = match checked {
        Ok(checked) => checked,
        Err(why) => return unchecked(rule, why, told).map_err(|refusal| refusal.of(server.name())),
    };
    let mut drops = false;
    let mut arguments = arguments;
    match rule.unknown_members.unwrap_or_default() {
        _ if unknown.is_empty() => {}
        UnknownMembers::Allow => {}
        UnknownMembers::Refuse => {
            let fault = |name: &String| Fault {
                place: format!("/{name}"),
                keyword: "unknown".to_owned(),
                text: "the tool has no such argument".to_owned(),
            };
            let faults: Vec<Fault> = unknown.iter().take(NAMED_MAX).map(fault).collect();
            told(&faults, "refuse");
            return Err(misfit(&faults).of(server.name()));
        }
        UnknownMembers::Strip => {
            let faults: Vec<Fault> = unknown.iter().take(NAMED_MAX).map(|_| stripped()).collect();
            told(&faults, "strip");
            resolved.drop_arguments(unknown);
            arguments = bridge::arguments(&inbound.message, resolved.target());
            drops = true;
        }
    }
    let mode = rule.arguments.unwrap_or_default();
    if mode == SchemaMode::Off {
        return Ok(drops);
    }
    let told = |faults: &[Fault], action| tell(gateway, inbound, resolved, ("arguments", action), faults);
    match schema.check(&arguments) {
        Ok(faults) if faults.is_empty() => Ok(drops),
        Ok(faults) if mode == SchemaMode::Strict => {
            told(&faults, "refuse");
            Err(misfit(&faults).of(server.name()))
        }
        Ok(faults) => {
            told(&faults, "report");
            Ok(drops)
        }
        Err(why) => unchecked(rule, why, told).map(|_| drops).map_err(|refusal| refusal.of(server.name())),
    }
}

/// Checks the result of a call that did not fail.
pub(crate) fn result(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    message: &Message,
) -> Result<(), Refusal> {
    let native = resolved.native().filter(|_| inbound.is_tool_call());
    of_tool(gateway, inbound, resolved, native, (message, message.body()))
}

/// Checks the result of a tool, which is a part of a message: what came of a call, now or as a task.
pub(crate) fn of_tool(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    tool: Option<&str>,
    (message, part): (&Message, Option<Span>),
) -> Result<(), Refusal> {
    let (Some(native), Some(part), server) = (tool, part, resolved.server()) else { return Ok(()) };
    if message.kind() == Kind::Error {
        return Ok(());
    }
    let rule = schemas::of_tool(&inbound.snapshot.settings, server.id(), native);
    let mode = rule.results.unwrap_or_default();
    if mode == SchemaMode::Off {
        return Ok(());
    }
    let member = |name| find(message.bytes(), part, name).map(|span| span.of(message.bytes()));
    if member("isError") == Some(b"true") {
        return Ok(());
    }
    let Some(declared) = gateway.schemas().of(server.id(), native) else { return Ok(()) };
    let Some(schema) = declared.output() else { return Ok(()) };
    let content = member("structuredContent");
    let faults = match (schema, content) {
        (Err(why), _) => Err(why),
        (Ok(schema), Some(content)) => schema.check(content),
        (Ok(_), None) => Ok(vec![Fault {
            place: String::new(),
            keyword: "structuredContent".to_owned(),
            text: "there is none".to_owned(),
        }]),
    };
    let faults = match faults {
        Ok(faults) if faults.is_empty() => return Ok(()),
        Ok(faults) => faults,
        Err(why) => vec![not_checked(why)],
    };
    let is_strict = mode == SchemaMode::Strict;
    tell(gateway, inbound, resolved, ("result", if is_strict { "refuse" } else { "report" }), &faults);
    if !is_strict {
        return Ok(());
    }
    let text = "the result does not fit the output schema that its tool declares";
    Err(Refusal::new(Stage::Schema, Code::InvalidResult, text).of(server.name()))
}

/// What may pass of a tool's result from which guards have taken something out; none if that is all of it. Clients hold what is
/// structured against the output schema that they were shown (2025-06-18, tools, output schema): where it fitted before, and does
/// not any more, it is left out, and said so.
pub(crate) fn left(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    tool: Option<&str>,
    (before, after, part): (&Message, &Message, Part),
) -> Result<Option<Box<Message>>, Refusal> {
    let server = resolved.server();
    let knows_structure = inbound.caller.client.revision >= Revision::V2025_06_18;
    let (Some(tool), Some(body), true) = (tool, part(after), knows_structure) else { return Ok(None) };
    let member =
        |message: &Message, name| find(message.bytes(), part(message)?, name).map(|it| message.raw(it));
    if after.kind() == Kind::Error || member(after, "isError").is_some_and(|is_error| is_error == "true") {
        return Ok(None);
    }
    let Some(declared) = gateway.schemas().of(server.id(), tool) else { return Ok(None) };
    let Some(Ok(schema)) = declared.output() else { return Ok(None) };
    let faults =
        |message: &Message| member(message, "structuredContent").and_then(|it| schema.check(&it).ok());
    if faults(before).is_none_or(|faults| !faults.is_empty()) {
        return Ok(None);
    }
    let Some(faults) = faults(after).filter(|faults| !faults.is_empty()) else { return Ok(None) };
    tell(gateway, inbound, resolved, ("result", "strip"), &faults);
    let left = cut(&after.raw(body), u64::MAX, LEFT_OUT, None).and_then(|left| {
        let mut edit = after.edit();
        edit.replace(body, left);
        let limits = Limits { bytes_max: usize::MAX, ..Limits::default() };
        Message::parse(edit.finish().into_bytes(), &limits).ok()
    });
    let text = "what guards have left of the result does not fit the output schema that its tool declares";
    let withheld = || Refusal::new(Stage::Schema, Code::InvalidResult, text).of(server.name());
    left.map(|left| Some(Box::new(left))).ok_or_else(withheld)
}

/// What cannot be checked passes where that is only told of.
fn unchecked(
    rule: SchemaSettings,
    why: Unchecked,
    told: impl Fn(&[Fault], &'static str),
) -> Result<bool, Refusal> {
    let is_strict = rule.arguments == Some(SchemaMode::Strict);
    told(&[not_checked(why)], if is_strict { "refuse" } else { "report" });
    if !is_strict {
        return Ok(false);
    }
    let text = format!("The arguments cannot be checked against the input schema of this tool: {why}.");
    Err(Refusal::new(Stage::Schema, Code::InvalidArguments, text))
}

fn not_checked(why: Unchecked) -> Fault {
    Fault { place: String::new(), keyword: "unchecked".to_owned(), text: why.to_string() }
}

fn stripped() -> Fault {
    Fault { place: String::new(), keyword: "unknown".to_owned(), text: String::new() }
}

/// What a model needs to correct its call. Values are not repeated.
fn misfit(faults: &[Fault]) -> Refusal {
    let mut text = "The arguments do not fit the input schema of this tool:".to_owned();
    for fault in faults {
        let _ = write!(text, "\n- {fault}");
    }
    text.push_str("\nThe tool was not called. Correct the arguments and call it again.");
    Refusal::new(Stage::Schema, Code::InvalidArguments, text)
}

/// Puts on record and counts what does not fit: the keyword and the place, never a value.
fn tell(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    (place, action): (&'static str, &'static str),
    faults: &[Fault],
) {
    SchemaFault { place, action, server: resolved.server().id(), count: faults.len() }.emit();
    if gateway.ledger().is_on() {
        inbound.record.guarded(faults.iter().map(|fault| {
            // Names of unknown arguments are the caller's own words.
            let path = if fault.keyword == "unknown" { "" } else { &fault.place };
            json!({"rule": format!("schema.{}", fault.keyword), "action": action, "in": place, "path": path})
        }));
    }
}

/// A result that says that a tool failed, as JSON.
pub(crate) fn tool_error(text: &str, is_modern: bool) -> Bytes {
    let content = json!([{"type": "text", "text": text}]);
    let mut result = json!({"content": content, "isError": true});
    if is_modern {
        result["resultType"] = "complete".into();
    }
    Bytes::from(result.to_string())
}
