//! Refusals on record. Of callers who are known each has an entry, written before the answer leaves; strangers are counted.

use std::net::IpAddr;

use tollgate_ledger::{CallId, Content, Draft, Entry, Kind};
use tollgate_mcp::Message;
use tollgate_model::{Code, EndpointName, Era, Principal, Refusal, Timestamp};
use tollgate_telemetry::counters;
use tollgate_telemetry::events::Refused;
use tollgate_telemetry::trace::TraceId;

use super::{OnRecord, call, entry};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::stages::Identified;

/// What is known of a request that is refused before the stages have it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Early<'a> {
    who: Option<&'a Principal>,
    source: Option<IpAddr>,
    endpoint: Option<&'a EndpointName>,
    message: Option<&'a Message>,
    era: Era,
}

impl<'a> Early<'a> {
    /// Of whoever comes from there.
    pub(crate) fn stranger(source: IpAddr, era: Era) -> Self {
        Self { who: None, source: Some(source), endpoint: None, message: None, era }
    }

    /// Of a caller who is known.
    pub(crate) fn known(who: &'a Identified, era: Era) -> Self {
        Self { source: who.source(), ..Self::of(who.who(), era) }
    }

    /// Of a caller who is known, from somewhere.
    pub(crate) fn of(who: &'a Principal, era: Era) -> Self {
        Self { who: Some(who), source: None, endpoint: None, message: None, era }
    }

    /// At this endpoint; none is the merged one.
    pub(crate) fn at(self, endpoint: Option<&'a EndpointName>) -> Self {
        Self { endpoint, ..self }
    }

    /// With this message.
    pub(crate) fn with(self, message: Option<&'a Message>) -> Self {
        Self { message, ..self }
    }

    /// What the client speaks.
    pub(crate) fn era(&self) -> Era {
        self.era
    }
}

/// Puts a refusal on record: as the outcome of what has left, or as an entry of its own.
pub(crate) async fn refused(gateway: &Gateway, inbound: &Inbound, refusal: &Refusal) -> OnRecord {
    let call = inbound.record.id();
    emit(refusal, call, inbound.record.trace().id());
    call::tell_refused(gateway, inbound, refusal);
    if let Some(on_record) = call::close_refused(gateway, inbound, refusal).await {
        return on_record;
    }
    inbound.record.end();
    if gateway.ledger().is_on() {
        let writing = write(gateway, inbound, refusal);
        // A refusal tells nobody anything: what could not be written is counted by the ledger, and told on recovery.
        let _ = super::written(writing).await;
    }
    OnRecord(call)
}

fn write(
    gateway: &Gateway,
    inbound: &Inbound,
    refusal: &Refusal,
) -> impl Future<Output = Result<(), tollgate_ledger::Unrecorded>> + Send + use<> {
    let facts = inbound.record.lock();
    let client = entry::client(inbound);
    let mut entry = entry::of(Kind::Refusal, inbound, &facts, client.as_deref());
    entry.detail = facts.detail(&facts.arguments);
    entry::refusal(&mut entry, refusal);
    entry.latency = Some(facts.latency(inbound.record.began()));
    let (level, _) = call::levels(gateway, refusal.judged.as_deref());
    let arguments = facts.arguments.bytes.clone().map(|bytes| Content { bytes, level });
    gateway.ledger().note(Draft { arguments, ..entry::draft(entry, inbound) })
}

/// Puts on record the refusal of a request that the stages never had.
pub(crate) async fn early(gateway: &Gateway, refusal: &Refusal, early: Early<'_>) -> OnRecord {
    let call = CallId::new(Timestamp::now());
    if refusal.code == Code::Overloaded {
        // What has to cost little has no line of its own.
        counters::request(counters::Outcome::Refused(refusal.code));
    } else {
        emit(refusal, call, None);
    }
    let ledger = gateway.ledger();
    if !ledger.is_on() {
        return OnRecord(call);
    }
    if early.who.is_none() {
        if let Some(source) = early.source {
            gateway.strangers().count(source);
        }
        return OnRecord(call);
    }
    let writing = ledger.note(draft(call, refusal, &early));
    let _ = super::written(writing).await;
    OnRecord(call)
}

fn draft<'a>(call: CallId, refusal: &'a Refusal, early: &Early<'a>) -> Draft<'a> {
    let mut entry = Entry::of(Kind::Refusal);
    entry.call = Some(call);
    entry.era = Some(entry::era(early.era).into());
    entry.endpoint = early.endpoint.map(|name| name.as_str().into());
    entry.method = early.message.map(Message::method).filter(|method| !method.is_empty()).map(Into::into);
    entry::refusal(&mut entry, refusal);
    Draft { who: early.who, source: early.source, ..Draft::of(entry) }
}

fn emit(refusal: &Refusal, call: CallId, trace: Option<TraceId>) {
    Refused { refusal, request_id: &call.to_string(), trace }.emit();
}
