//! What a call of a tool has to say of tasks, by what its client and its server can do.

use std::borrow::Cow;

use bytes::Bytes;
use tollgate_catalog::ListKind;
use tollgate_mcp::methods;
use tollgate_model::{ClientProfile, Era, Revision};
use tollgate_upstream::{LegacySessions, Link, ServerSettings};

use super::capability;
use super::support::Support;
use crate::bridge::Round;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::lists;
use crate::stages::Resolved;

/// What a call says of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Plan {
    /// What the client says of them.
    #[default]
    Plain,
    /// Nothing, whatever the client says: the server has no tasks.
    Without,
    /// To a modern server: that tasks can be followed. The gateway does it.
    Declare,
    /// To a legacy server: that the call is to become a task, which its client follows.
    Keep,
    /// The same, and the gateway follows it.
    Follow,
}

/// What this call says. Costs next to nothing where the server has no tasks.
pub(crate) async fn plan(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved, link: &Link) -> Plan {
    if inbound.message.method() != methods::TOOLS_CALL {
        return Plan::Plain;
    }
    if !link.hello().tasks {
        return if inbound.message.member("task").is_some() { Plan::Without } else { Plan::Plain };
    }
    match (inbound.era(), link.era()) {
        (Era::Legacy, Era::Modern) => Plan::Declare,
        // A client of the server's own revision says itself what it wants.
        (_, Era::Legacy) if inbound.caller.client.revision != Revision::V2025_11_25 => {
            Box::pin(for_legacy(gateway, inbound, resolved)).await
        }
        _ => Plan::Plain,
    }
}

/// Whether the client can follow a task of this server's. One whose every request has a session or process to itself
/// loses its tasks with it.
pub(crate) fn can_follow(inbound: &Inbound, server: &ServerSettings) -> bool {
    capability::declares_extension(&inbound.caller.client) && server.legacy_sessions != LegacySessions::Strict
}

/// A tool that must become a task always does; one that may, for a client that can follow it.
async fn for_legacy(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Plan {
    let Some(native) = resolved.native() else { return Plan::Plain };
    let (support, server) = (&gateway.tasks().support, resolved.server().id());
    let mut known = support.of(server, native);
    if known.is_none() && support.may_learn(server) {
        // Without the list the call goes as it is, and the server says what it thinks of it.
        let _ = lists::learn(gateway, inbound, server.name(), ListKind::Tools).await;
        known = support.of(server, native);
    }
    let can_follow = can_follow(inbound, resolved.server().settings());
    match known {
        Some(_) if can_follow => Plan::Keep,
        Some(Support::Required) => Plan::Follow,
        Some(Support::Optional) | None => Plan::Plain,
    }
}

impl Plan {
    /// The client as the server hears of it.
    pub(crate) fn client(self, client: &ClientProfile) -> Cow<'_, ClientProfile> {
        match self {
            Self::Declare => Cow::Owned(capability::declaring(client)),
            Self::Plain | Self::Without | Self::Keep | Self::Follow => Cow::Borrowed(client),
        }
    }

    /// What the request carries beside what the client sent.
    pub(crate) fn round(self, inbound: &Inbound, round: &Round) -> Option<Round> {
        let ttl = inbound.snapshot.settings.tasks.ttl.as_millis();
        let task = || Some(Bytes::from(format!("{{\"ttl\":{ttl}}}")));
        match self {
            Self::Plain | Self::Declare => None,
            Self::Without => Some(Round { no_task: true, ..round.clone() }),
            Self::Keep | Self::Follow => Some(Round { task: task(), ..round.clone() }),
        }
    }
}
