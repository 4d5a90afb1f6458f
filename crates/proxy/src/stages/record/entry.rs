//! What an entry says of a request.

use std::borrow::Cow;

use bytes::Bytes;
use tollgate_ledger::{Draft, Entry, Kind, Outcome};
use tollgate_mcp::{Span, find, methods, text};
use tollgate_model::{ClientProfile, Era, Holder, Refusal, Stage};
use tollgate_telemetry::without_userinfo;

use super::call::Facts;
use super::others;
use crate::inbound::Inbound;

/// The longest of what a client says of itself that is recorded, in bytes.
const CLIENT_BYTES_MAX: usize = 200;
/// How many bytes are taken for one token. An estimate: no tokeniser is the model's own, and a better one costs more than the
/// call.
const BYTES_PER_TOKEN: u64 = 4;

/// Everything that an entry says of who wants what of whom.
pub(super) fn of<'a>(
    kind: Kind,
    inbound: &'a Inbound,
    facts: &'a Facts,
    client: Option<&'a str>,
) -> Entry<'a> {
    let message = &inbound.message;
    let revision = inbound.caller.client.revision;
    let mut entry = Entry::of(kind);
    entry.call = Some(facts.call);
    entry.method = Some(message.method().into());
    entry.revision = Some(revision.as_str().into());
    entry.era = Some(era(revision.era()).into());
    entry.client = client.map(Into::into);
    entry.endpoint = Some(inbound.endpoint.name().map_or("", |name| name.as_str()).into());
    entry.server = facts.server.as_ref().map(|server| server.name().as_str().into());
    entry.shared = facts.server.as_ref().is_some_and(|server| *server.holder() == Holder::Shared);
    // A URI may have a credential in it, which is no part of what is meant.
    entry.public_name = public_name(inbound).map(|name| match without_userinfo(&name) {
        Cow::Borrowed(_) => name,
        Cow::Owned(bare) => Cow::Owned(bare),
    });
    entry.native_name = facts.native.as_deref().map(without_userinfo);
    entry.decision = facts.judged.as_deref().map(Into::into);
    entry.element = inbound.record.element();
    entry.trace = inbound.record.trace().id().map(|id| id.to_string().into());
    entry
}

/// The draft of an entry about a request.
pub(super) fn draft<'a>(entry: Entry<'a>, inbound: &'a Inbound) -> Draft<'a> {
    let caller = &inbound.caller;
    Draft {
        who: Some(&caller.who),
        source: caller.source,
        session: caller.session.as_ref(),
        ..Draft::of(entry)
    }
}

/// What a refusal says.
pub(super) fn refusal<'a>(entry: &mut Entry<'a>, refusal: &'a Refusal) {
    entry.outcome = Some(outcome_of(refusal));
    entry.code = Some(refusal.code.row().name.into());
    entry.stage = Some(refusal.stage.as_str().into());
    if let Some(exceeded) = refusal.exceeded() {
        let (limit, of) = (exceeded.limit.as_ref().into(), exceeded.of.as_str().into());
        entry.detail.get_or_insert_default().extend(others::detail([("limit", limit), ("of", of)]));
    }
    if entry.server.is_none() {
        entry.server = refusal.server.as_ref().map(|server| server.as_str().into());
    }
    if entry.decision.is_none() {
        entry.decision = refusal.judged.as_deref().map(Into::into);
    }
}

/// Whether it was refused, or denied.
pub(super) fn outcome_of(refusal: &Refusal) -> Outcome {
    if refusal.stage == Stage::Policy { Outcome::Denied } else { Outcome::Refused }
}

/// What the client calls it.
pub(super) fn public_name(inbound: &Inbound) -> Option<Cow<'_, str>> {
    let message = &inbound.message;
    match message.method() {
        methods::COMPLETION_COMPLETE => {
            let (bytes, reference) = (message.bytes(), message.member("ref")?);
            let span = find(bytes, reference, "name").or_else(|| find(bytes, reference, "uri"))?;
            text(bytes, span)
        }
        methods::RESOURCES_SUBSCRIBE | methods::RESOURCES_UNSUBSCRIBE => message.text("uri"),
        methods::TASKS_RESULT => message.text("taskId"),
        method => message.text(methods::name_param(method)?),
    }
}

pub(super) fn era(era: Era) -> &'static str {
    match era {
        Era::Legacy => "legacy",
        Era::Modern => "modern",
    }
}

/// What the client says of itself: its name and version.
pub(super) fn client(inbound: &Inbound) -> Option<String> {
    client_of(&inbound.caller.client)
}

pub(super) fn client_of(profile: &ClientProfile) -> Option<String> {
    let info = profile.info.as_ref()?;
    let said = |member| text(info, find(info, Span::all(info), member)?);
    let (name, version) = (said("name")?, said("version"));
    let mut client = String::with_capacity(name.len() + 1 + version.as_deref().map_or(0, str::len));
    client.push_str(&name);
    if let Some(version) = version {
        client.push(' ');
        client.push_str(&version);
    }
    client.truncate(client.floor_char_boundary(CLIENT_BYTES_MAX));
    Some(client)
}

/// An estimate of the tokens of a text.
pub(super) fn tokens(bytes: Option<&Bytes>) -> u64 {
    bytes.map_or(0, |bytes| (bytes.len() as u64).div_ceil(BYTES_PER_TOKEN))
}
