//! A server's call for input as a modern client gets it, where no call has to wait here.

use bytes::Bytes;
use tollgate_mcp::{
    Edit, JsonKind, Kind, Message, Span, elements, find, kind_of, members, methods, quote, text,
};
use tollgate_model::{Code, Era, Refusal, ServerId, Stage};
use tollgate_upstream::Link;

use super::later::{self, Later};
use super::state::{self, State};
use super::{Asked, Owed};
use crate::gateway::Gateway;
use crate::inbound::Inbound;
use crate::reply::Reply;
use crate::stages::guard;

/// Whether a modern server's result asks for input.
pub(crate) fn asks_for_input(message: &Message, server: Era) -> bool {
    server == Era::Modern
        && message.kind() == Kind::Result
        && message.text("resultType").as_deref() == Some("input_required")
}

/// One entry of `inputRequests`: its key as raw JSON, and the question.
pub(crate) struct Entry {
    pub(crate) key: Bytes,
    pub(crate) place: Span,
    pub(crate) asked: Asked,
}

/// What a modern server asks for, held against the rules of the specification and what the client declared.
pub(crate) fn read(inbound: &Inbound, server: &ServerId, message: &Message) -> Result<Vec<Entry>, Refusal> {
    let breach =
        |text: &'static str| Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name());
    if !methods::may_ask_for_input(inbound.message.method()) {
        return Err(breach("the server asks for input where no request may be interrupted"));
    }
    let bytes = message.bytes();
    let requests = message.member("inputRequests");
    let state = message.member("requestState");
    if requests.is_none() && state.is_none() {
        return Err(breach("the server asks for input and does not say for which"));
    }
    // What is neither must not be taken for "nothing to ask", and tried again and again.
    if requests.is_some_and(|span| kind_of(bytes, span) != JsonKind::Object)
        || state.is_some_and(|span| kind_of(bytes, span) != JsonKind::String)
    {
        return Err(breach("the server asks for input in a form that no revision knows"));
    }
    let mut entries = Vec::new();
    for member in requests.into_iter().flat_map(|requests| members(bytes, requests)) {
        let asked = Asked::of_entry(bytes, member.value)
            .filter(Asked::is_input)
            .ok_or_else(|| breach("the server asks for input in a way that no revision knows"))?;
        if let Some(missing) = asked.missing(&inbound.caller.client.capabilities) {
            return Err(missing.refusal(server.name()));
        }
        entries.push(Entry { key: member.key.slice(bytes), place: member.value, asked });
    }
    Ok(entries)
}

/// A modern server's call for input passes; only its state is sealed, since behind a shared credential one caller could
/// bring another's. Where several servers share an address, the text that a person reads says which one asks.
pub(crate) fn pass(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    link: &Link,
    message: &Message,
) -> Result<Reply, Refusal> {
    let entries = read(inbound, server, message)?;
    let mut edit = message.edit();
    message.set_id(&mut edit, inbound.id.clone());
    if inbound.endpoint.native_server().is_none() {
        for Entry { place, asked, .. } in &entries {
            name_server(&mut edit, *place, asked, server);
        }
    }
    if let Some(span) = message.member("requestState") {
        let wait = inbound.snapshot.settings.input_timeout;
        let state = State::Server(message.raw(span), link.replica().cloned());
        let sealed = state::seal(gateway, inbound, server, &state, !entries.is_empty(), wait)?;
        edit.replace(span, quote(&sealed));
    }
    Ok(Reply::new(200, edit.finish()))
}

/// Replaces the text within an entry, whose own spans begin where the entry does.
fn name_server(edit: &mut Edit<'_>, place: Span, asked: &Asked, server: &ServerId) {
    if let Some((within, words)) = asked.message(server.name()) {
        let span = Span { start: place.start + within.start, end: place.start + within.end };
        edit.replace(span, words);
    }
}

/// A legacy server's error -32042 (the user must open URLs first), as a modern client gets it: a question, and a retry
/// that makes the call once more.
pub(crate) fn urls(
    gateway: &Gateway,
    inbound: &Inbound,
    server: &ServerId,
    link: &Link,
    message: &Message,
) -> Result<Reply, Refusal> {
    let bytes = message.bytes();
    let elicitations = message.member("data").and_then(|data| find(bytes, data, "elicitations"));
    let params: Vec<Span> = elicitations
        .into_iter()
        .flat_map(|span| elements(bytes, span))
        .filter(|span| kind_of(bytes, *span) == JsonKind::Object && text_of(bytes, *span, "url").is_some())
        .collect();
    let may_ask = methods::may_ask_for_input(inbound.message.method());
    if params.is_empty() || !may_ask {
        let text = "the server wants the user to open a URL and does not say which";
        return Err(Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text).of(server.name()));
    }
    let mut entries = Vec::with_capacity(params.len());
    for (nth, params) in (1..).zip(params) {
        let mut request = b"{\"method\":\"elicitation/create\",\"params\":".to_vec();
        request.extend_from_slice(params.of(bytes));
        request.push(b'}');
        let request = Bytes::from(request);
        let Some(asked) = Asked::of_entry(&request, Span::all(&request)) else { continue };
        if let Some(missing) = asked.missing(&inbound.caller.client.capabilities) {
            return Err(missing.refusal(server.name()));
        }
        entries.push(Later::new(nth, Owed::nothing(), asked));
    }
    let wait = inbound.snapshot.settings.input_timeout;
    let sealed = state::seal(gateway, inbound, server, &State::Again, true, wait)?;
    let requests = later::requests(&entries, server.name());
    let info = guard::info(gateway, inbound, server, link.hello().info.as_ref());
    Ok(later::interrupted(&inbound.id, &requests, &sealed, info.as_ref()))
}

fn text_of(bytes: &[u8], object: Span, member: &str) -> Option<String> {
    text(bytes, find(bytes, object, member)?).map(std::borrow::Cow::into_owned)
}
