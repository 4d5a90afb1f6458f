//! A server's response as the client gets it.

use bytes::Bytes;
use tollgate_catalog::Caching;
use tollgate_mcp::{
    Change, Edit, JsonKind, Kind, Message, Span, codes, elements, find, kind_of, members, meta, methods,
    quote, text,
};
use tollgate_model::{Code, Era, Refusal, Revision, Stage};
use tollgate_upstream::Link;

use super::older;
use crate::inbound::Inbound;
use crate::reply::Reply;

/// A response, and what is needed to bring it to the client.
pub(crate) struct Answered<'a> {
    /// The response as the server sent it.
    pub(crate) message: &'a Message,
    /// What its server speaks.
    pub(crate) era: Era,
    /// What its server says of itself.
    pub(crate) info: Option<&'a Bytes>,
    /// The method of the request.
    pub(crate) method: &'a str,
    /// The id that the client gave the request.
    pub(crate) client_id: &'a Bytes,
    /// What the client speaks.
    pub(crate) client: Revision,
    /// URIs and ids of tasks in the result that are others for this client: each place, and what stands there instead.
    pub(crate) stand_ins: Vec<(Span, String)>,
    /// Whether another caller would get another answer at the same address, whatever the server knows of that.
    pub(crate) differs: bool,
}

impl<'a> Answered<'a> {
    /// A server's answer to a client's request, of which nothing is another for this client.
    pub(crate) fn of(inbound: &'a Inbound, link: &'a Link, message: &'a Message) -> Self {
        Self::from(inbound, (link.era(), link.hello().info.as_ref()), message)
    }

    /// The same of a server of this era that says this of itself.
    pub(crate) fn from(
        inbound: &'a Inbound,
        (era, info): (Era, Option<&'a Bytes>),
        message: &'a Message,
    ) -> Self {
        Self {
            message,
            era,
            info,
            method: inbound.message.method(),
            client_id: &inbound.id,
            client: inbound.caller.client.revision,
            stand_ins: Vec::new(),
            differs: inbound.snapshot.has_tenants(),
        }
    }

    /// The same with these places being others for this client.
    pub(crate) fn with(self, stand_ins: Vec<(Span, String)>) -> Self {
        Self { stand_ins, ..self }
    }
}

/// The response for the client: under its own id, and in the shape of its era.
pub(crate) fn response(answered: &Answered<'_>) -> Result<Reply, Refusal> {
    match answered.message.kind() {
        Kind::Error => error(answered),
        _ => result(answered),
    }
}

/// A modern server's task, in place of the result of a call, for a client that can follow it.
pub(crate) fn created(answered: &Answered<'_>) -> Result<Reply, Refusal> {
    if answered.client.era() == Era::Legacy || answered.era == Era::Legacy {
        return Err(own_fault("a task of one era cannot be another's"));
    }
    Ok(shaped(answered))
}

fn result(answered: &Answered<'_>) -> Result<Reply, Refusal> {
    if answered.era == Era::Modern {
        check_result_type(answered.message)?;
    }
    Ok(shaped(answered))
}

fn shaped(answered: &Answered<'_>) -> Reply {
    let message = answered.message;
    let mut edit = message.edit();
    message.set_id(&mut edit, answered.client_id.clone());
    for (place, other) in &answered.stand_ins {
        edit.replace_once(*place, quote(other));
    }
    match (answered.era, answered.client.era()) {
        (Era::Legacy, Era::Modern) => to_modern(answered, &mut edit),
        (Era::Modern, Era::Legacy) => to_legacy(answered, &mut edit),
        (Era::Modern, Era::Modern) => mend_caching(answered, &mut edit),
        (Era::Legacy, Era::Legacy) => {}
    }
    older::fit(answered, &mut edit);
    Reply::new(200, edit.finish())
}

/// A result says of itself what it is. Calls for input, and tasks in place of a call's result, have been told apart
/// before: here only `complete` is left.
fn check_result_type(message: &Message) -> Result<(), Refusal> {
    match message.text("resultType").as_deref() {
        Some("complete") => Ok(()),
        None if message.member("resultType").is_none() => Ok(()),
        // Calls of tools have been told apart before (tasks extension, supported methods).
        Some("task") => Err(Refusal::new(
            Stage::Dispatch,
            Code::UpstreamProtocol,
            "the server answers with a task to a request that may not become one",
        )),
        _ => Err(Refusal::new(
            Stage::Dispatch,
            Code::UpstreamProtocol,
            "the server sent a result of an unknown type",
        )),
    }
}

/// A modern result says that it is complete, for how long it may be kept, and who made it. What a legacy server says
/// may depend on its session, so it may not be kept or shared.
fn to_modern(answered: &Answered<'_>, edit: &mut Edit<'_>) {
    let message = answered.message;
    let mut changes = vec![Change::Set("resultType", Bytes::from_static(b"\"complete\""))];
    if methods::is_cacheable(answered.method) {
        changes.push(Change::Set("ttlMs", Bytes::from_static(b"0")));
        changes.push(Change::Set("cacheScope", Bytes::from_static(b"\"private\"")));
    }
    match (answered.info, message.meta()) {
        (Some(info), Some(_)) => message.change_meta(edit, &[Change::Set(meta::SERVER_INFO, info.clone())]),
        (Some(info), None) => {
            let mut object = format!("{{\"{}\":", meta::SERVER_INFO).into_bytes();
            object.extend_from_slice(info);
            object.push(b'}');
            changes.push(Change::Set("_meta", Bytes::from(object)));
        }
        (None, _) => {}
    }
    message.change_body(edit, &changes);
}

/// A server's caching hints that are missing or invalid are made the safest ones: the gateway must send valid ones
/// (2026-07-28, caching). What is public at the server is private here where another tenant's callers get another answer. A
/// result that is not complete carries none.
fn mend_caching(answered: &Answered<'_>, edit: &mut Edit<'_>) {
    let message = answered.message;
    if !methods::is_cacheable(answered.method) || message.text("resultType").is_some_and(|t| t != "complete")
    {
        return;
    }
    let Some(body) = message.body() else { return };
    let mut caching = Caching::read(message.bytes(), body);
    if Caching::is_whole(message.bytes(), body) && !(caching.shared && answered.differs) {
        return;
    }
    caching.shared &= !answered.differs;
    let scope = quote(caching.scope());
    let changes =
        [Change::Set("ttlMs", Bytes::from(caching.ttl_ms.to_string())), Change::Set("cacheScope", scope)];
    message.change_body(edit, &changes);
}

/// A legacy client knows no result types and no caching hints. What else it does not know, see [`older`].
fn to_legacy(answered: &Answered<'_>, edit: &mut Edit<'_>) {
    let message = answered.message;
    message.change_body(edit, &["resultType", "ttlMs", "cacheScope"].map(Change::Remove));
    if message.meta_member(meta::SERVER_INFO).is_some() {
        message.change_meta(edit, &[Change::Remove(meta::SERVER_INFO)]);
    }
}

/// An error keeps its code where that means the same to the client, since codes are bound to their era.
fn error(answered: &Answered<'_>) -> Result<Reply, Refusal> {
    let message = answered.message;
    let code = message.error_code().unwrap_or(i64::from(codes::INTERNAL_ERROR));
    let is_read = answered.method == methods::RESOURCES_READ;
    let other = match (answered.era, answered.client.era()) {
        // Faults between the gateway and the server: the client can mend nothing about them.
        (Era::Modern, _) if code == i64::from(codes::HEADER_MISMATCH) => {
            return Err(own_fault("the server and the gateway disagree about a request's headers"));
        }
        (Era::Modern, _) if code == i64::from(codes::UNSUPPORTED_PROTOCOL_VERSION) => {
            return Err(own_fault("the server no longer speaks the protocol revision it was found with"));
        }
        (Era::Modern, Era::Legacy) if code == i64::from(codes::INVALID_PARAMS) && is_read => {
            Some(codes::RESOURCE_NOT_FOUND)
        }
        (Era::Modern, Era::Legacy) if code == i64::from(codes::MISSING_REQUIRED_CLIENT_CAPABILITY) => {
            Some(codes::INTERNAL_ERROR)
        }
        // A legacy server's own code: a modern client would take it for the specification's, and call again.
        (Era::Legacy, Era::Modern) if codes::is_modern(code) => Some(codes::INTERNAL_ERROR),
        // What must not be sent in this era is not passed on either, whoever says it.
        (_, Era::Modern) if code == i64::from(codes::RESOURCE_NOT_FOUND) => Some(codes::INVALID_PARAMS),
        _ => None,
    };
    let mut edit = message.edit();
    message.set_id(&mut edit, answered.client_id.clone());
    if let (Some(other), Some(span)) = (other, message.member("code")) {
        edit.replace(span, other.to_string());
    }
    if code == i64::from(codes::MISSING_REQUIRED_CLIENT_CAPABILITY) && answered.client.era() == Era::Legacy {
        name_capabilities(message, &mut edit);
    }
    let code = other.map_or(code, i64::from);
    let status = match answered.client.era() {
        Era::Modern if code == i64::from(codes::METHOD_NOT_FOUND) => 404,
        Era::Modern if code == i64::from(codes::MISSING_REQUIRED_CLIENT_CAPABILITY) => 400,
        Era::Legacy | Era::Modern => 200,
    };
    Ok(Reply::new(status, edit.finish()))
}

/// A legacy client does not read `requiredCapabilities`, so that the text must say which ones are meant.
fn name_capabilities(message: &Message, edit: &mut Edit<'_>) {
    let bytes = message.bytes();
    let required = message.member("data").and_then(|data| find(bytes, data, "requiredCapabilities"));
    let names: Vec<_> = required
        .into_iter()
        .flat_map(|required| members(bytes, required))
        .map(|name| name.key(bytes))
        .collect();
    if let (Some(span), Some(said)) = (message.member("message"), message.text("message"))
        && !names.is_empty()
    {
        let names = names.join(", ");
        edit.replace(span, quote(&format!("{said} (the client has not declared: {names})")));
    }
}

fn own_fault(text: &'static str) -> Refusal {
    Refusal::new(Stage::Dispatch, Code::UpstreamProtocol, text)
}

/// Every URI in a result that names a resource: contents, links to resources, and embedded resources. URIs in prose
/// or in structured content are not told apart from other text, so they are left alone. The result of a task may
/// stand within the answer about the task.
pub(crate) fn resource_uris(message: &Message) -> Vec<(Span, String)> {
    let within = message.member("result").filter(|span| message.kind_of(*span) == JsonKind::Object);
    let bodies = message.body().into_iter().chain(within);
    bodies.flat_map(|body| uris_of(message.bytes(), body)).collect()
}

fn uris_of(bytes: &Bytes, body: Span) -> Vec<(Span, String)> {
    let mut places = Vec::new();
    let mut see = |object: Span| {
        if let Some(span) = find(bytes, object, "uri")
            && let Some(uri) = text(bytes, span)
        {
            places.push((span, uri.into_owned()));
        }
    };
    let all = |member: &str| find(bytes, body, member).into_iter().flat_map(|span| elements(bytes, span));
    for contents in all("contents") {
        see(contents);
    }
    let (content, messages) = (all("content"), all("messages"));
    let of_messages = messages.filter_map(|message| find(bytes, message, "content"));
    for block in content.chain(of_messages) {
        if kind_of(bytes, block) != JsonKind::Object {
            continue;
        }
        match find(bytes, block, "type").and_then(|span| text(bytes, span)).as_deref() {
            Some("resource_link") => see(block),
            Some("resource") => find(bytes, block, "resource").into_iter().for_each(&mut see),
            _ => {}
        }
    }
    places
}

/// The array of raw items, for lists that the gateway puts together itself.
pub(crate) fn array_of(items: &[Bytes]) -> Vec<u8> {
    let mut array = Vec::with_capacity(items.iter().map(|item| item.len() + 1).sum::<usize>() + 2);
    array.push(b'[');
    for (place, item) in items.iter().enumerate() {
        if place > 0 {
            array.push(b',');
        }
        array.extend_from_slice(item);
    }
    array.push(b']');
    array
}
