//! What happened? An intent before each effect, and an outcome before its answer.
//!
//! | value | proves |
//! |---|---|
//! | [`Receipt`] | that what is about to leave is on record: without one nothing leaves ([`super::dispatch`], [`super::watch`]) |
//! | [`OnRecord`] | that what a client is told is on record: without one no refusal is rendered ([`crate::refuse`]) |
//!
//! Each request has a [`CallRecord`], which the stages fill. An effect is a *step* of it: its intent is written before it
//! leaves. A call has one step open at a time, which is closed by whatever comes first: the next step, the answer, or that
//! nobody waits for the answer any more. So there is one place where a call ends, [`ends`], and forgetting an outcome is not
//! possible. An answer that is kept has an outcome without an intent ([`from_cache`]), since nothing leaves. What travels beside the call (a client's answer to a server's question) is an [`Aside`], and closes by itself.

mod aside;
mod call;
mod changes;
mod entry;
mod open;
mod others;
mod refusal;
mod strangers;
mod told;

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tollgate_ledger::{Intending, Unrecorded, WhenUnwritable};
use tollgate_mcp::Message;
use tollgate_model::{Caller, Code, EndpointName, Era, Refusal, ServerId, Stage};
use tollgate_telemetry::events::NotRecorded;
use tollgate_upstream::Link;

pub(crate) use aside::{Behalf, Doing, Waiting, aside};
pub(crate) use call::{CallRecord, Ending, Lap, ends, settle};
pub(crate) use changes::{blocked_before, changed, follow as follow_changes};
pub(crate) use others::{learnt, opened, session_ended, upkeep};
pub(crate) use refusal::{Early, early, refused};
pub(crate) use strangers::Strangers;

use super::{Admitted, Permit};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use open::Open;

/// How long the record of an effect, or of its outcome, may take.
const RECORD_WAIT: Duration = Duration::from_secs(10);

/// The proof that what is about to leave is on record, or is none of what has to be. Only this module makes one, for one
/// intent, and whatever leaves uses it up: so nothing leaves twice by what was written once.
#[derive(Debug)]
pub(crate) struct Receipt(Covers);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Covers {
    /// Something that has an effect, and is on record.
    Effect,
    /// Reading a server's lists, which is recorded as what a client was shown.
    Lists,
}

/// The proof that what a client is told is on record: under which id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OnRecord(tollgate_ledger::CallId);

impl OnRecord {
    /// The id of the call, as the client is told it.
    pub(crate) fn call(self) -> tollgate_ledger::CallId {
        self.0
    }
}

impl Receipt {
    /// For reading lists.
    pub(crate) fn lists() -> Self {
        Self(Covers::Lists)
    }

    /// Whether a request of this method may leave by it, now and never again.
    pub(crate) fn covers(self, method: &str) -> bool {
        self.0 == Covers::Effect || tollgate_catalog::ListKind::of_method(method).is_some()
    }
}

/// Something that is about to leave for a server.
#[derive(Default)]
pub(crate) struct Effect<'a> {
    /// Its permit, where it has one of its own.
    pub(crate) permit: Option<&'a Permit>,
    /// Which session or process of the server it goes to, if it is known.
    pub(crate) link: Option<&'a Link>,
    /// The method, if it is another than the client's.
    pub(crate) method: Option<&'static str>,
    /// The answers to the server's questions that go along, as a raw JSON object.
    pub(crate) responses: Option<Bytes>,
    /// What it was counted as, if it begins something that counts: once it is on record, it does.
    pub(crate) admitted: Option<&'a Admitted>,
}

/// Puts an effect on record, as the next step of its call. The step before it, if it is open, ends.
pub(crate) async fn intend(
    gateway: &Gateway,
    inbound: &Inbound,
    effect: Effect<'_>,
) -> Result<Receipt, Refusal> {
    let record = &inbound.record;
    if record.is_open() {
        Box::pin(call::close(gateway, inbound, None)).await?;
    }
    record.lap(Lap::Route);
    let settle = || effect.admitted.into_iter().for_each(Admitted::settle);
    if !gateway.ledger().is_on() {
        settle();
        return Ok(Receipt(Covers::Effect));
    }
    let mut intending = call::write_intent(gateway, inbound, &effect);
    let written = written(&mut intending).await;
    record.lap(Lap::Ledger);
    match written {
        Ok(receipt) => record.open(Open::Written(receipt)),
        Err(failure) if degrades(gateway, inbound, &failure) => {
            if let Some(late) = unwritten(gateway, intending) {
                record.open(late);
            }
        }
        Err(failure) => return Err(unavailable(&failure)),
    }
    settle();
    Ok(Receipt(Covers::Effect))
}

/// Puts on record that a request is answered by what is kept of its server, as a step of its call that has no intent: nothing
/// leaves. It counts as one that does. The step before it, if it is open, ends.
pub(crate) async fn from_cache(
    gateway: &Gateway,
    inbound: &Inbound,
    (permit, admitted): (&Permit, &Admitted),
    message: &Message,
    (era, age): (Era, Duration),
) -> Result<(), Refusal> {
    let record = &inbound.record;
    if record.is_open() {
        call::close(gateway, inbound, None).await?;
    }
    record.lap(Lap::Route);
    record.answered(inbound, message, era);
    if gateway.ledger().is_on() {
        match written(call::write_kept(gateway, inbound, permit, age)).await {
            Err(failure) if !degrades(gateway, inbound, &failure) => return Err(unavailable(&failure)),
            _ => {}
        }
    }
    admitted.settle();
    Ok(())
}

/// What is carried out all the same, although its intent is not written: it may be yet.
fn unwritten(gateway: &Gateway, intending: Intending) -> Option<Open> {
    if intending.is_pending() {
        return Some(Open::Late(Box::new(intending)));
    }
    gateway.ledger().passed_by();
    None
}

/// Whether what cannot be put on record is served all the same.
fn degrades(gateway: &Gateway, inbound: &Inbound, failure: &Unrecorded) -> bool {
    let server = inbound.record.server();
    degrades_at(gateway, &inbound.caller, inbound.endpoint.name(), server.as_ref(), failure)
}

fn degrades_at(
    gateway: &Gateway,
    caller: &Caller,
    endpoint: Option<&EndpointName>,
    server: Option<&ServerId>,
    failure: &Unrecorded,
) -> bool {
    let unwritable = &gateway.snapshot().settings.unwritable;
    let serves = unwritable.of(caller.tenant(), endpoint, server) == WhenUnwritable::Degrade;
    if serves {
        let server = server.map(ServerId::label).map_or_else(String::new, |label| label.to_string());
        NotRecorded { server: &server, reason: &failure.reason }.emit();
    }
    serves
}

/// What is not on record reaches no server.
fn unavailable(unrecorded: &Unrecorded) -> Refusal {
    let text = "this cannot be put on record now, and what is not on record reaches no server";
    Refusal::new(Stage::Ledger, Code::LedgerUnavailable, text).because(unrecorded.to_string())
}

/// What has happened cannot be put on record.
fn unrecorded(unrecorded: &Unrecorded) -> Refusal {
    let text = "the server has or may have carried this out, and the outcome cannot be put on record: the result is withheld";
    Refusal::new(Stage::Ledger, Code::OutcomeUnrecorded, text).because(unrecorded.to_string())
}

/// Waits until an entry is written, within bounds. Mostly it is already, and then there is no timer.
async fn written<T>(writing: impl Future<Output = Result<T, Unrecorded>> + Send) -> Result<T, Unrecorded> {
    let mut writing = pin!(writing);
    let first = poll_fn(|cx| Poll::Ready(writing.as_mut().poll(cx))).await;
    if let Poll::Ready(written) = first {
        return written;
    }
    Box::pin(tokio::time::timeout(RECORD_WAIT, writing)).await.unwrap_or_else(|_| {
        let reason = format!("it took longer than {} s", RECORD_WAIT.as_secs());
        Err(Unrecorded { reason: reason.into() })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inherent functions come before those of traits: the first is found only where there is a `Clone`.
    struct Of<T>(std::marker::PhantomData<T>);

    impl<T: Clone> Of<T> {
        fn can_be_copied() -> bool {
            true
        }
    }

    trait Otherwise {
        fn can_be_copied() -> bool {
            false
        }
    }

    impl<T> Otherwise for Of<T> {}

    /// Whatever leaves uses its receipt up. So two departures by one intent do not compile, as long as there is one receipt.
    #[test]
    fn a_receipt_is_good_for_one_departure() {
        assert!(Of::<OnRecord>::can_be_copied());
        assert!(!Of::<Receipt>::can_be_copied());
    }
}
