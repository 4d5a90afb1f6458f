//! What travels beside a call, or after it: an answer of the client's to a server's question, news of a task, a wish to hear of
//! changes. Each is a step of its call and has an outcome of its own.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_ledger::{Content, Draft, Entry, Intending, Kind, Outcome, Sizes};
use tollgate_mcp::Message;
use tollgate_model::{Caller, EndpointName, Holder, Refusal, ServerId};
use tollgate_upstream::UpstreamError;

use super::open::{End, Open};
use super::{CallRecord, Covers, Receipt, call, entry};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::stages::block;

/// On whose behalf something is done that is not the call itself.
#[derive(Clone)]
pub(crate) struct Behalf {
    caller: Caller,
    endpoint: Option<EndpointName>,
    record: Arc<CallRecord>,
}

impl Behalf {
    /// Of the client of a request.
    pub(crate) fn of(inbound: &Inbound) -> Self {
        Self {
            caller: inbound.caller.clone(),
            endpoint: inbound.endpoint.name().cloned(),
            record: Arc::clone(&inbound.record),
        }
    }

    /// Of a client without a request of its own: what is done is a call by itself.
    pub(crate) fn beside(caller: Caller, endpoint: Option<EndpointName>) -> Self {
        Self { caller, endpoint, record: Arc::new(CallRecord::begin()) }
    }
}

/// What is done.
#[derive(Clone, Copy)]
pub(crate) struct Doing<'a> {
    pub(crate) method: &'a str,
    pub(crate) server: &'a ServerId,
    /// The server's own name, URI or id of what it is about.
    pub(crate) native: Option<&'a str>,
    /// What is sent, as raw JSON.
    pub(crate) arguments: Option<&'a Bytes>,
}

/// An effect beside a call. Dropped, its outcome is that nobody waited for one.
pub(crate) struct Aside {
    gateway: Gateway,
    behalf: Behalf,
    open: Option<Open>,
}

/// Puts an effect beside a call on record. It leaves once, by the receipt.
pub(crate) async fn aside(
    gateway: &Gateway,
    behalf: Behalf,
    doing: Doing<'_>,
) -> Result<(Aside, Receipt), Refusal> {
    let aside = |behalf, open| {
        let aside = Aside { gateway: gateway.clone(), behalf, open };
        Ok((aside, Receipt(Covers::Effect)))
    };
    if !gateway.ledger().is_on() {
        return aside(behalf, None);
    }
    let mut intending = write(gateway, &behalf, doing);
    match super::written(&mut intending).await {
        Ok(receipt) => aside(behalf, Some(Open::Written(receipt))),
        Err(failure)
            if super::degrades_at(
                gateway,
                &behalf.caller,
                behalf.endpoint.as_ref(),
                Some(doing.server),
                &failure,
            ) =>
        {
            let late = super::unwritten(gateway, intending);
            aside(behalf, late)
        }
        Err(failure) => Err(super::unavailable(&failure).of(doing.server.name())),
    }
}

fn write(gateway: &Gateway, behalf: &Behalf, doing: Doing<'_>) -> Intending {
    let caller = &behalf.caller;
    let revision = caller.client.revision;
    let client = entry::client_of(&caller.client);
    let (call, step) = behalf.record.next_step();
    let mut entry = Entry::of(Kind::Intent);
    entry.call = Some(call);
    entry.step = step;
    entry.method = Some(doing.method.into());
    entry.revision = Some(revision.as_str().into());
    entry.era = Some(entry::era(revision.era()).into());
    entry.client = client.as_deref().map(Into::into);
    entry.endpoint = Some(behalf.endpoint.as_ref().map_or("", |name| name.as_str()).into());
    entry.server = Some(doing.server.name().as_str().into());
    entry.shared = *doing.server.holder() == Holder::Shared;
    entry.native_name = doing.native.map(tollgate_telemetry::without_userinfo);
    entry.element = behalf.record.element();
    let sent_tokens = entry::tokens(doing.arguments);
    entry.sizes = doing.arguments.map(|_| Sizes { sent_tokens, ..Sizes::default() });
    let (level, _) = call::levels(gateway, None);
    let arguments = doing.arguments.map(|bytes| Content { bytes: bytes.clone(), level });
    gateway.ledger().intend(Draft {
        who: Some(&caller.who),
        source: caller.source,
        session: caller.session.as_ref(),
        arguments,
        ..Draft::of(entry)
    })
}

impl Aside {
    /// Puts its outcome on record.
    pub(crate) async fn close(mut self, outcome: Outcome, code: Option<&str>) {
        let Some(open) = self.open.take() else { return };
        let Some(writing) = open.close(&self.gateway, end(&self.behalf, outcome, code)) else { return };
        // Nobody is told of it: what cannot be recorded now is recorded as unknown at the next start.
        let _ = super::written(writing).await;
    }

    /// Puts on record what the server said, or that it could not be told.
    pub(crate) async fn heard(self, said: Result<Option<&Message>, &UpstreamError>) {
        match said {
            Ok(message) => match message.and_then(Message::error_code) {
                Some(code) => self.close(Outcome::Error, Some(&code.to_string())).await,
                None => self.close(Outcome::Ok, None).await,
            },
            Err(error) => self.close(Outcome::Refused, Some(error.code().row().name)).await,
        }
    }
}

fn end<'a>(behalf: &'a Behalf, outcome: Outcome, code: Option<&'a str>) -> End<'a> {
    let mut entry = Entry::of(Kind::Outcome);
    entry.outcome = Some(outcome);
    entry.code = code.map(Into::into);
    End { entry, who: &behalf.caller.who, result: None }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let why = why(&self.gateway, &self.behalf, None);
        open.close_later(&self.gateway, end(&self.behalf, why, None));
    }
}

/// A call that waits for its client: its last step ended with a question. Dropped before it goes on, it says that it does not.
pub(crate) struct Waiting {
    gateway: Gateway,
    behalf: Behalf,
    server: ServerId,
    goes_on: bool,
}

impl Waiting {
    /// For the client of this request.
    pub(crate) fn of(gateway: &Gateway, inbound: &Inbound, server: &ServerId) -> Self {
        let (behalf, server) = (Behalf::of(inbound), server.clone());
        Self { gateway: gateway.clone(), behalf, server, goes_on: false }
    }

    /// The client has come back: what happens next is on record by itself.
    pub(crate) fn goes_on(mut self) {
        self.goes_on = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.goes_on {
            return;
        }
        let (call, step) = self.behalf.record.next_step();
        let mut entry = Entry::of(Kind::Outcome);
        entry.call = Some(call);
        entry.step = step;
        entry.server = Some(self.server.name().as_str().into());
        entry.shared = *self.server.holder() == Holder::Shared;
        entry.outcome = Some(why(&self.gateway, &self.behalf, Some(&self.server)));
        self.gateway.ledger().note_later(Draft { who: Some(&self.behalf.caller.who), ..Draft::of(entry) });
    }
}

/// Why nobody waits for something any more.
fn why(gateway: &Gateway, behalf: &Behalf, server: Option<&ServerId>) -> Outcome {
    let (meant, native) = (behalf.record.server(), behalf.record.native());
    let server = server.or(meant.as_ref()).map(|server| (server.name(), native.as_ref()));
    let is_stopped = || block::stops(gateway, &behalf.caller, server).is_some();
    if gateway.is_taken_back(&behalf.caller.who) || is_stopped() {
        Outcome::TakenBack
    } else if gateway.is_draining() {
        Outcome::Stopped
    } else {
        Outcome::ClientGone
    }
}
