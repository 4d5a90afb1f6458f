//! `requestState` as it travels through a client: sealed, and good for one caller, one server, one request and a while.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use tollgate_ledger::CallId;
use tollgate_mcp::{Message, canonical};
use tollgate_model::{Caller, Code, Refusal, ServerId, Stage, TenantId};

use super::parked::{Handle, too_many_rounds};
use crate::gateway::Gateway;
use crate::inbound::Inbound;

/// What such states are sealed for.
const PURPOSE: &str = "request-state";
/// What stands before the state of a call that people have to agree to first, so that it is known as that also to who cannot open it.
const OF_APPROVAL: &str = "approval.";
/// The id of a call, and a step of it.
const CALL_LEN: usize = 16 + 4;
/// How many rounds a call has had, and whether its client is asked something.
const ROUNDS_LEN: usize = 4 + 1;
/// Members of the params that differ from round to round.
const PER_ROUND: [&str; 3] = ["_meta", "inputResponses", "requestState"];

/// What a client brings back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// A call that waits here.
    Parked(Handle),
    /// A modern server's own state: the raw JSON string, to the letter; and the replica that gave it, if it has several.
    Server(Bytes, Option<Arc<str>>),
    /// A call that has ended and is to be made once more, when the user has opened what it asked for.
    Again,
    /// A call that has not begun, since people have to agree to it first, of which its user was shown how it stands.
    Approval,
}

/// What a client has brought back, opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) state: State,
    /// With which step of which call it goes on.
    pub(crate) call: (CallId, u32),
    /// How many rounds the call has had.
    pub(crate) rounds: u32,
    /// Whether its client was asked something.
    pub(crate) was_asked: bool,
}

/// Seals a state for the client that sent this request, with the id of its call and the step that is next. A call has so many
/// rounds and no more, whoever drives them.
pub(crate) fn seal(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    state: &State,
    is_asked: bool,
    wait: Duration,
) -> Result<String, Refusal> {
    let (call, step) = inbound.record.to_go_on();
    let rounds = inbound.record.rounds().saturating_add(1);
    if rounds > inbound.snapshot.settings.input_rounds_max {
        return Err(too_many_rounds(server));
    }
    let expires = now_s().saturating_add(wait.as_secs());
    let (kind, payload): (u8, Cow<'_, [u8]>) = match state {
        State::Parked(handle) => (0, handle.as_bytes().into()),
        State::Server(raw, None) => (1, (&raw[..]).into()),
        State::Again => (2, Cow::default()),
        State::Approval => (4, Cow::default()),
        // No replica's name has a NUL.
        State::Server(raw, Some(replica)) => (3, [replica.as_bytes(), raw].join(&0).into()),
    };
    let mut bytes = Vec::with_capacity(1 + 8 + SHA256_OUTPUT_LEN + CALL_LEN + ROUNDS_LEN + payload.len());
    bytes.push(kind);
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes.extend_from_slice(&request_digest(&inbound.message));
    bytes.extend_from_slice(&call.to_bytes());
    bytes.extend_from_slice(&step.to_be_bytes());
    bytes.extend_from_slice(&rounds.to_be_bytes());
    bytes.push(u8::from(is_asked));
    bytes.extend_from_slice(&payload);
    // The round that may follow was counted with this one. What waits for people has had no effect yet, and is given back.
    if *state != State::Approval {
        gateway.limits().expect(round((call, step)), wait);
    }
    // And what people have agreed to, they have agreed to with all its rounds.
    if let Some(cleared) = inbound.record.cleared() {
        gateway.approvals().expect(round((call, step)), cleared, wait);
    }
    let sealed = gateway.sealer().seal(&purpose(&inbound.caller, server), bytes).map_err(|error| {
        Refusal::new(Stage::Dispatch, Code::Internal, "the request state could not be sealed")
            .because(error.to_string())
            .of(server.name())
    })?;
    Ok(if *state == State::Approval { format!("{OF_APPROVAL}{sealed}") } else { sealed })
}

/// Whether another gateway has shown a user that people have to agree first, or this one before it was started again. How that stands
/// is in the store, by the call itself, so nothing is lost with what cannot be opened; and whoever makes such a state up gets no more
/// than without one.
pub(crate) fn is_of_others_approval(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
    sealed: &str,
) -> bool {
    let is_other = |sealed| gateway.sealer().open(&purpose(caller, server), sealed).is_none();
    sealed.strip_prefix(OF_APPROVAL).is_some_and(is_other)
}

/// A round of a call, as limits know it.
pub(crate) fn round((call, step): (CallId, u32)) -> [u8; 20] {
    let mut round = [0; CALL_LEN];
    round[..16].copy_from_slice(&call.to_bytes());
    round[16..].copy_from_slice(&step.to_be_bytes());
    round
}

/// Opens what [`seal`] made for this caller, server and request.
/// Whatever is wrong with it, the answer is the same.
pub(crate) fn open(
    gateway: &Gateway,
    caller: &Caller,
    server: &ServerId,
    request: &Message,
    sealed: &str,
) -> Result<Opened, Refusal> {
    let invalid = || {
        let text = "`requestState` is not one that this gateway gave for this request, or it has expired: send the request without it";
        Refusal::new(Stage::Session, Code::InvalidRequestState, text).of(server.name())
    };
    let sealed = sealed.strip_prefix(OF_APPROVAL).unwrap_or(sealed);
    let bytes = gateway.sealer().open(&purpose(caller, server), sealed).ok_or_else(invalid)?;
    let (kind, rest) = bytes.split_first().ok_or_else(invalid)?;
    let (expires, rest) = rest.split_first_chunk::<8>().ok_or_else(invalid)?;
    let (digest, rest) = rest.split_first_chunk::<SHA256_OUTPUT_LEN>().ok_or_else(invalid)?;
    let (call, rest) = rest.split_first_chunk::<16>().ok_or_else(invalid)?;
    let (step, rest) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
    let (rounds, rest) = rest.split_first_chunk::<4>().ok_or_else(invalid)?;
    let (was_asked, payload) = rest.split_first().ok_or_else(invalid)?;
    if now_s() > u64::from_be_bytes(*expires) || *digest != request_digest(request) {
        return Err(invalid());
    }
    let state = match kind {
        0 => Handle::from_bytes(payload).map(State::Parked).ok_or_else(invalid)?,
        1 => State::Server(Bytes::copy_from_slice(payload), None),
        3 => {
            let place = payload.iter().position(|byte| *byte == 0).ok_or_else(invalid)?;
            let replica = std::str::from_utf8(&payload[..place]).map_err(|_| invalid())?;
            State::Server(Bytes::copy_from_slice(&payload[place + 1..]), Some(replica.into()))
        }
        2 => State::Again,
        4 => State::Approval,
        _ => return Err(invalid()),
    };
    Ok(Opened {
        state,
        call: (CallId::from_bytes(*call), u32::from_be_bytes(*step)),
        rounds: u32::from_be_bytes(*rounds),
        was_asked: *was_asked != 0,
    })
}

/// No part can hold a NUL, so no two purposes are one text.
fn purpose(caller: &Caller, server: &ServerId) -> String {
    let holder = server.holder().tenant().map_or("", TenantId::as_str);
    let name = server.name().as_str();
    [PURPOSE, caller.tenant().as_str(), caller.principal().as_str(), holder, name].join("\0")
}

/// The digest of the method and of all params that stay the same from round to round, however the client writes them.
fn request_digest(request: &Message) -> [u8; SHA256_OUTPUT_LEN] {
    let bytes = request.bytes();
    let mut params: Vec<_> = request
        .members()
        .iter()
        .map(|member| (member.key(bytes), member.value))
        .filter(|(key, _)| !PER_ROUND.contains(&key.as_ref()))
        .collect();
    params.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut text = request.method().as_bytes().to_vec();
    for (key, value) in params {
        text.push(0);
        text.extend_from_slice(&tollgate_mcp::quote(&key));
        text.push(b':');
        canonical(bytes, value, &mut text);
    }
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(digest(&SHA256, &text).as_ref());
    out
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn message(params: &str) -> Message {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        Message::parse(Bytes::from(text), &Limits::default()).expect("a message")
    }

    #[test]
    fn the_digest_is_of_what_stays_the_same() {
        let first = request_digest(&message(r#"{"name":"t","arguments":{"a":1,"b":2},"_meta":{"k":1}}"#));
        let retry = r#"{"requestState":"s","inputResponses":{},"arguments":{ "b":2,"a":1 },"name":"\u0074"}"#;
        assert_eq!(first, request_digest(&message(retry)));
        assert_ne!(first, request_digest(&message(r#"{"name":"t","arguments":{"a":1,"b":3}}"#)));
        assert_ne!(first, request_digest(&message(r#"{"name":"u","arguments":{"a":1,"b":2}}"#)));
        assert_ne!(first, request_digest(&message(r#"{"name":"t","arguments":{"a":1,"b":2},"task":{}}"#)));
    }
}
