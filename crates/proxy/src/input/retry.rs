//! What the retry of an interrupted request brings back.

use std::sync::Arc;

use bytes::Bytes;
use tollgate_mcp::{JsonKind, Span, find, kind_of, members, methods, text};
use tollgate_model::{Code, Era, Refusal, Stage};

use super::parked::Parked;
use super::state::{self, State};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::stages::Resolved;

/// How a request stands to those before it.
pub(crate) enum Retry {
    /// It is a request of its own, or one whose server keeps no state.
    First,
    /// The retry of a call that waits here.
    Parked(Box<Parked>),
    /// The retry of a modern server's request: the server's own state, to the letter, and the replica that gave it.
    Server(Bytes, Option<Arc<str>>),
    /// The call is made once more, from the start.
    Again,
}

/// What a request brings back. Nothing is done with it yet: policy speaks first.
pub(crate) struct Brought(Result<Option<Continues>, Refusal>);

/// With what it goes on, and in which round of which call, if it is a round of one.
type Continues = (State, Option<[u8; 20]>);

impl Brought {
    /// Reads it, so that the record knows which call the request goes on with.
    pub(crate) fn read(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Self {
        let message = &inbound.message;
        if inbound.era() != Era::Modern || !methods::may_ask_for_input(message.method()) {
            return Self(Ok(None));
        }
        Self(Self::open(gateway, inbound, resolved))
    }

    /// Which round of which call it is, if it goes on with one. Whoever was asked something and answers nothing does not: he
    /// only has the server asked once more, which is a request of its own.
    pub(crate) fn round(&self) -> Option<[u8; 20]> {
        self.0.as_ref().ok()?.as_ref().and_then(|(_, round)| *round)
    }

    /// What is wrong with it, if anything is. It is told whoever may know of it otherwise.
    pub(crate) fn check(&self) -> Result<(), Refusal> {
        self.0.as_ref().map(drop).map_err(Refusal::clone)
    }

    /// Whether its user was shown that people have to agree to it first: if so, whether the user did not turn away from that.
    pub(crate) fn has_seen_approval(&self, inbound: &Inbound) -> Option<bool> {
        let is_it = matches!(self.0.as_ref().ok()?, Some((State::Approval, _)));
        let bytes = inbound.message.bytes();
        is_it.then(|| inbound.message.member("inputResponses").is_none_or(|span| all_accepted(bytes, span)))
    }

    fn open(gateway: &Gateway, inbound: &Inbound, resolved: &Resolved) -> Result<Option<Continues>, Refusal> {
        let message = &inbound.message;
        let responses = message.member("inputResponses");
        if let Some(span) = responses {
            check_responses(message.bytes(), span)?;
        }
        let Some(span) = message.member("requestState") else { return Ok(None) };
        let sealed =
            text(message.bytes(), span).ok_or_else(|| invalid("`params.requestState` must be a string"))?;
        let server = resolved.server().id();
        if state::is_of_others_approval(gateway, &inbound.caller, server, &sealed) {
            return Ok(Some((State::Approval, None)));
        }
        let opened = state::open(gateway, &inbound.caller, server, message, &sealed)?;
        inbound.record.goes_on(opened.call, opened.rounds);
        let answers = responses.is_some_and(|span| members(message.bytes(), span).next().is_some());
        let goes_on = answers || !opened.was_asked;
        Ok(Some((opened.state, goes_on.then(|| state::round(opened.call)))))
    }
}

impl Retry {
    /// Takes a parked call out: whoever comes second with the same state finds nothing.
    pub(crate) fn of(
        gateway: &Gateway,
        inbound: &Inbound,
        resolved: &Resolved,
        brought: Brought,
    ) -> Result<Self, Refusal> {
        let Some((state, _)) = brought.0? else { return Ok(Self::First) };
        let (message, server) = (&inbound.message, resolved.server().id());
        let responses = message.member("inputResponses");
        match state {
            State::Server(raw, replica) => Ok(Self::Server(raw, replica)),
            State::Approval => Ok(Self::First),
            State::Parked(handle) => {
                let parked = gateway.parked().take(&handle).ok_or_else(|| {
                    let text = "the call that `requestState` belongs to has ended, or was taken up before: send the request without it";
                    Refusal::new(Stage::Session, Code::InvalidRequestState, text).of(server.name())
                })?;
                Ok(Self::Parked(Box::new(parked)))
            }
            State::Again if responses.is_some_and(|span| all_accepted(message.bytes(), span)) => {
                Ok(Self::Again)
            }
            State::Again => {
                let text = "the user did not agree to open the URL that the server needs opened";
                Err(Refusal::new(Stage::Dispatch, Code::InputRefused, text).of(server.name()))
            }
        }
    }
}

/// Every response is a result, and every result an object.
pub(crate) fn check_responses(bytes: &[u8], responses: Span) -> Result<(), Refusal> {
    let is_object = |span| kind_of(bytes, span) == JsonKind::Object;
    if is_object(responses) && members(bytes, responses).all(|member| is_object(member.value)) {
        return Ok(());
    }
    Err(invalid("`params.inputResponses` must be an object of result objects"))
}

fn all_accepted(bytes: &[u8], responses: Span) -> bool {
    let accepted = |result| find(bytes, result, "action").and_then(|span| text(bytes, span));
    let mut responses = members(bytes, responses).peekable();
    responses.peek().is_some() && responses.all(|member| accepted(member.value).as_deref() == Some("accept"))
}

fn invalid(text: &'static str) -> Refusal {
    Refusal::new(Stage::Envelope, Code::InvalidParams, text)
}
