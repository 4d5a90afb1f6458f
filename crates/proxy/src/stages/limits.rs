//! How much?
//!
//! Asked of what policy has allowed: what a limit says of a server or tool tells nobody of one that is hidden from them. What
//! was counted is given back until the request is on record, and counts from then on, whatever becomes of it. A request that
//! a server interrupts with questions is counted once, and has no place among those under way while it waits.

use std::sync::Arc;

use tollgate_catalog::Shape;
use tollgate_limits::{Admission, Charge, Places, Subject};
use tollgate_mcp::methods;
use tollgate_model::{Code, Exceeded, Limited, Proof, Refusal, ServerId, Stage};
use tollgate_telemetry::events::LimitReached;
use tollgate_upstream::Server;

use super::Resolved;
use crate::gateway::Gateway;
use crate::inbound::Inbound;

/// The request is within its limits. Only this module makes one.
#[derive(Debug)]
pub(crate) struct Admitted {
    charge: Charge,
    places: Arc<Places>,
}

impl Admitted {
    fn new(admission: Admission) -> Self {
        Self { charge: admission.charge, places: Arc::new(admission.places) }
    }

    /// The request is on record: it counts.
    pub(crate) fn settle(&self) {
        self.charge.settle();
    }

    /// Its places among those under way: for as long as anybody holds them.
    pub(crate) fn places(&self) -> &Arc<Places> {
        &self.places
    }
}

/// Counts a call, read, prompt or completion, unless it is a round of one that was counted.
pub(crate) fn admit(
    gateway: &Gateway,
    inbound: &Inbound,
    resolved: &Resolved,
    round: Option<[u8; 20]>,
) -> Result<Admitted, Refusal> {
    let limits = gateway.limits();
    if !limits.are_any() {
        return Ok(Admitted::new(Admission::default()));
    }
    let is_call = inbound.message.method() == methods::TOOLS_CALL;
    let server = resolved.server().id();
    let subject = subject(inbound, Some(server), resolved.native().filter(|_| is_call));
    let admitted = match round {
        Some(round) => limits.go_on(&subject, round),
        None => limits.admit(&subject),
    };
    admitted.map(Admitted::new).map_err(|exceeded| refuse(inbound, exceeded).of(server.name()))
}

/// Counts what is none of these: lists, subscriptions, tasks, levels. It counts at once, since it need not come on record.
pub(crate) fn admit_beside(gateway: &Gateway, inbound: &Inbound) -> Result<Option<Admitted>, Refusal> {
    if !gateway.limits().are_any_beside_calls() {
        return Ok(None);
    }
    let server = inbound.endpoint.native_server().and_then(|name| inbound.server(name).ok());
    let subject = subject(inbound, server.as_ref().map(Server::id), None);
    let admitted = gateway.limits().admit(&subject).map_err(|exceeded| refuse(inbound, exceeded))?;
    admitted.charge.settle();
    Ok(Some(Admitted::new(admitted)))
}

/// Takes the places of a request again that it left while its client was asked, as soon as there are free ones.
pub(crate) async fn come_back(
    inbound: &Inbound,
    resolved: &Resolved,
    admitted: &Admitted,
) -> Result<(), Refusal> {
    if admitted.places.come_back(inbound.snapshot.settings.input_timeout).await {
        return Ok(());
    }
    let text = "as many requests as allowed were under way when the client had answered";
    let refusal = Refusal::new(Stage::Limits, Code::ConcurrencyLimited, text);
    Err(refusal.of(resolved.server().name()))
}

fn subject<'a>(inbound: &'a Inbound, server: Option<&'a ServerId>, tool: Option<&'a str>) -> Subject<'a> {
    let who = &inbound.caller.who;
    let endpoint = inbound.endpoint.name().map_or("", |name| name.as_str());
    Subject {
        tenant: who.tenant.as_str(),
        agent: who.agent.as_deref(),
        user: who.user.as_deref(),
        key: match &who.proof {
            Proof::Key(key) => Some(key.as_str()),
            _ => None,
        },
        server,
        tool,
        toolset: matches!(inbound.endpoint.shape(), Shape::Toolset(_)).then_some(endpoint),
        endpoint,
        method: inbound.message.method(),
    }
}

/// The refusal of what a limit leaves no room for.
fn refuse(inbound: &Inbound, exceeded: Exceeded) -> Refusal {
    LimitReached { exceeded: &exceeded, tenant: inbound.caller.tenant(), method: inbound.message.method() }
        .emit();
    let limit = &exceeded.limit;
    let text = match exceeded.of {
        Limited::Rate => format!("the limit `{limit}` leaves no room for this now"),
        Limited::Concurrency => format!("as many requests as the limit `{limit}` allows are under way"),
    };
    Refusal::new(Stage::Limits, exceeded.of.code(), text).exceeding(exceeded)
}
