//! Entries that are no calls: lists that clients were shown, sessions, and what the gateway finds out by itself.

use tollgate_ledger::{Draft, Entry, Kind, Unrecorded};
use tollgate_model::{Holder, Refusal, ServerId};

use super::entry;
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::session::Session;

/// Puts on record what of a list a client is about to be shown.
pub(super) async fn shown(gateway: &Gateway, inbound: &Inbound) -> Result<(), Refusal> {
    if !gateway.ledger().is_on() {
        return Ok(());
    }
    match super::written(write_shown(gateway, inbound)).await {
        Err(failure) if !super::degrades(gateway, inbound, &failure) => Err(super::unavailable(&failure)),
        _ => Ok(()),
    }
}

fn write_shown(
    gateway: &Gateway,
    inbound: &Inbound,
) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
    let facts = inbound.record.lock();
    let client = entry::client(inbound);
    let mut entry = entry::of(Kind::List, inbound, &facts, client.as_deref());
    entry.server = inbound.endpoint.native_server().map(|server| server.as_str().into());
    entry.latency = Some(facts.latency(inbound.record.began()));
    if let Some(shown) = &facts.shown {
        entry.detail = Some(detail([("items", shown.items.into()), ("digest", shown.digest().into())]));
    }
    gateway.ledger().note(entry::draft(entry, inbound))
}

/// Puts on record that a session is open, before its client hears of it.
pub(crate) async fn opened(gateway: &Gateway, session: &Session) -> Result<(), Refusal> {
    if !gateway.ledger().is_on() {
        return Ok(());
    }
    let (caller, endpoint) = (&session.caller, session.endpoint.as_ref());
    match super::written(write_session(gateway, session, Kind::SessionOpened, None)).await {
        Err(failure) if !super::degrades_at(gateway, caller, endpoint, None, &failure) => {
            Err(super::unavailable(&failure))
        }
        _ => Ok(()),
    }
}

fn write_session(
    gateway: &Gateway,
    session: &Session,
    kind: Kind,
    why: Option<&str>,
) -> impl Future<Output = Result<(), Unrecorded>> + Send + use<> {
    let client = entry::client_of(&session.caller.client);
    gateway.ledger().note(session_draft(session, kind, why, client.as_deref()))
}

/// Puts on record that a session has ended, and why.
pub(crate) fn session_ended(gateway: &Gateway, session: &Session, why: &'static str) {
    if gateway.ledger().is_on() {
        gateway.ledger().note_later(session_draft(session, Kind::SessionEnded, Some(why), None));
    }
}

fn session_draft<'a>(
    session: &'a Session,
    kind: Kind,
    why: Option<&str>,
    client: Option<&'a str>,
) -> Draft<'a> {
    let caller = &session.caller;
    let revision = caller.client.revision;
    let mut entry = Entry::of(kind);
    entry.revision = Some(revision.as_str().into());
    entry.era = Some(entry::era(revision.era()).into());
    entry.endpoint = Some(session.endpoint.as_ref().map_or("", |name| name.as_str()).into());
    entry.client = client.map(Into::into);
    entry.detail = why.map(|why| detail([("why", why.into())]));
    Draft {
        who: Some(&caller.who),
        source: caller.source,
        session: caller.session.as_ref(),
        ..Draft::of(entry)
    }
}

/// Puts on record what a server's tools are now, if that is something else than before.
pub(crate) fn learnt(gateway: &Gateway, server: &ServerId) {
    if gateway.ledger().is_on()
        && let Some((tools, digest)) = gateway.policing().definitions().not_on_record(server)
    {
        upkeep(gateway, server, None, [("tools", tools.into()), ("digest", (*digest).into())]);
    }
}

/// Puts on record what the gateway found out of a server by itself.
pub(crate) fn upkeep<const N: usize>(
    gateway: &Gateway,
    server: &ServerId,
    code: Option<&str>,
    said: [(&str, serde_json::Value); N],
) {
    if !gateway.ledger().is_on() {
        return;
    }
    let mut entry = Entry::of(Kind::Upkeep);
    entry.tenant = server.holder().tenant().map(|tenant| tenant.as_str().into());
    entry.server = Some(server.name().as_str().into());
    entry.shared = *server.holder() == Holder::Shared;
    entry.code = code.map(Into::into);
    entry.detail = Some(detail(said));
    gateway.ledger().note_later(Draft::of(entry));
}

pub(super) fn detail<const N: usize>(
    members: [(&str, serde_json::Value); N],
) -> serde_json::Map<String, serde_json::Value> {
    members.into_iter().map(|(member, value)| (member.to_owned(), value)).collect()
}
