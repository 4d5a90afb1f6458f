//! What operators are told of a request that has ended: in the words of its record.

use tollgate_ledger::Outcome;
use tollgate_mcp::methods;
use tollgate_model::Refusal;
use tollgate_telemetry::events::CallEnded;
use tollgate_telemetry::{OTHER_NAME, Operation, Transport};

use super::call::Facts;
use super::entry;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::onward::{error_of, known_method};

/// What a request has come to.
pub(super) struct End<'a> {
    outcome: Outcome,
    /// The class of the error.
    error: Option<&'a str>,
    /// The code of the JSON-RPC error that the client gets.
    code: Option<i64>,
}

impl<'a> End<'a> {
    /// What its server said, or the gateway for it.
    pub(super) fn of(outcome: Option<Outcome>, code: Option<&str>) -> Self {
        let outcome = outcome.unwrap_or(Outcome::Ok);
        let code: Option<i64> = code.filter(|_| outcome == Outcome::Error).and_then(|code| code.parse().ok());
        let error = match outcome {
            Outcome::Ok | Outcome::InputRequired | Outcome::TaskCreated => None,
            Outcome::ToolError => Some("tool_error"),
            Outcome::Error => Some(code.map_or("error", error_of)),
            other => Some(word(other)),
        };
        Self { outcome, error, code }
    }

    /// A refusal.
    pub(super) fn refused(refusal: &'a Refusal, inbound: &Inbound) -> Self {
        let row = refusal.code.row();
        Self {
            outcome: entry::outcome_of(refusal),
            error: Some(row.name),
            code: Some(i64::from(row.rpc(inbound.era()))),
        }
    }
}

/// Tells them, once.
pub(super) fn tell(gateway: &Gateway, inbound: &Inbound, facts: &mut Facts, end: &End<'_>) {
    if std::mem::replace(&mut facts.told, true) {
        return;
    }
    let (message, caller) = (&inbound.message, &inbound.caller);
    let method = known_method(message.method());
    let is_named = matches!(method, methods::TOOLS_CALL | methods::PROMPTS_GET);
    let public = if is_named { entry::public_name(inbound) } else { None };
    let is_known = end.error.is_none()
        || facts
            .server
            .as_ref()
            .zip(facts.native.as_deref())
            .is_some_and(|(server, native)| gateway.names().knows(server, native));
    let name = public.as_deref().map(|name| if is_known { name } else { OTHER_NAME });
    let resource = if method == methods::RESOURCES_READ { message.text("uri") } else { None };
    let operation = Operation {
        method,
        tool: name.filter(|_| method == methods::TOOLS_CALL),
        prompt: name.filter(|_| method == methods::PROMPTS_GET),
        error: end.error,
        code: end.code.filter(|code| error_of(*code) != tollgate_telemetry::OTHER),
        revision: caller.client.revision.as_str(),
        transport: if caller.source.is_some() { Transport::Http } else { Transport::Stdio },
        server: facts.server.as_ref().map(|server| server.name().as_str()),
    };
    CallEnded {
        call: &facts.call,
        trace: inbound.record.trace(),
        operation,
        outcome: word(end.outcome),
        tenant: caller.tenant().as_str(),
        endpoint: inbound.endpoint.name().map_or("", |name| name.as_str()),
        request_id: std::str::from_utf8(&inbound.id).unwrap_or_default(),
        resource: resource.as_deref(),
        client: caller.source,
        took: inbound.record.began().elapsed(),
    }
    .emit();
}

/// An outcome as the ledger writes it.
fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::ToolError => "tool_error",
        Outcome::Error => "error",
        Outcome::InputRequired => "input_required",
        Outcome::TaskCreated => "task_created",
        Outcome::Refused => "refused",
        Outcome::Denied => "denied",
        Outcome::Cancelled => "cancelled",
        Outcome::ClientGone => "client_gone",
        Outcome::TakenBack => "taken_back",
        Outcome::Stopped => "stopped",
        Outcome::Unknown => "unknown",
    }
}
