//! A client's request as the server gets it.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;
use tollgate_mcp::{Change, Edit, LogLevel, Message, Segments, Span, compose, json, meta, methods};
use tollgate_model::{ClientProfile, Era, Revision};

use crate::inbound::Inbound;
use crate::onward::Onward;

/// What is put in place of what the client wrote.
#[derive(Debug, Default, Clone)]
pub(crate) struct Target {
    /// The member of `params` that names the thing, and the server's own name for it. Nested in `ref` for completion.
    pub(crate) key: Option<(&'static str, String)>,
    /// Arguments that every call gets, as raw JSON by name.
    pub(crate) pinned: Vec<(String, Bytes)>,
    /// Arguments that are left out.
    pub(crate) dropped: Vec<String>,
}

impl Target {
    /// Whether the arguments leave otherwise than they came.
    pub(crate) fn changes_arguments(&self) -> bool {
        !self.pinned.is_empty() || !self.dropped.is_empty()
    }
}

/// What a further round of a request carries that the client did not send.
#[derive(Debug, Default, Clone)]
pub(crate) struct Round {
    /// `inputResponses`, as raw JSON: what a legacy client was asked on the way.
    pub(crate) responses: Option<Bytes>,
    /// The server's own `requestState`, as the raw JSON string that it gave.
    pub(crate) state: Option<Bytes>,
    /// The replica that gave it, and may keep what it is about.
    pub(crate) replica: Option<Arc<str>>,
    /// `task`, as raw JSON: asks a legacy server to make a task of the call.
    pub(crate) task: Option<Bytes>,
    /// Whether the server declares no tasks, so that the client's own `task` must not reach it.
    pub(crate) no_task: bool,
    /// Whether what the client answers was asked by the gateway itself, so that it must not reach the server as an answer to it.
    pub(crate) no_responses: bool,
}

impl Round {
    /// Whether it goes on with what has reached the server before.
    pub(crate) fn goes_on(&self) -> bool {
        self.responses.is_some() || self.state.is_some()
    }
}

/// What goes along with a request.
#[derive(Debug, Default)]
pub(crate) struct Beside<'a> {
    /// What a legacy client set for its session.
    pub(crate) log_level: Option<LogLevel>,
    /// The trace that the request is part of.
    pub(crate) onward: Option<&'a Onward>,
}

/// The client's request for a server that speaks `to`: under a new id, with the native name, the pinned arguments, and
/// the metadata of the server's era.
pub(crate) fn request(
    message: &Message,
    client: &ClientProfile,
    to: Revision,
    id: u64,
    target: &Target,
    round: &Round,
    beside: &Beside<'_>,
) -> Segments {
    let mut edit = message.edit();
    let raw_id = Bytes::from(id.to_string());
    message.set_id(&mut edit, raw_id.clone());
    if let Some((member, native)) = &target.key {
        change_key(message, &mut edit, member, native);
    }
    if target.changes_arguments() {
        change_arguments(message, &mut edit, target);
    }
    if message.method() == methods::TOOLS_CALL {
        change_task(message, &mut edit, client, to, round);
    }
    // The arguments that are filled in already came with 2025-06-18.
    if to < Revision::V2025_06_18 && message.method() == methods::COMPLETION_COMPLETE {
        message.change_body(&mut edit, &[Change::Remove("context")]);
    }
    if methods::may_ask_for_input(message.method()) {
        change_round(message, &mut edit, (client.revision.era(), to.era()), round);
    }
    let mut changes = meta_changes(message, client, to.era(), raw_id, beside.log_level);
    changes.extend(beside.onward.into_iter().flat_map(|onward| onward.changes(message)));
    if !changes.is_empty() {
        message.change_meta(&mut edit, &changes);
    }
    edit.finish()
}

/// Only 2025-11-25 lets the client ask that its call becomes a task, and only servers that declare tasks. The others
/// get a call as any other (2025-11-25, tasks, task support and handling).
fn change_task(message: &Message, edit: &mut Edit<'_>, client: &ClientProfile, to: Revision, round: &Round) {
    if let Some(task) = &round.task {
        message.change_body(edit, &[Change::Set("task", task.clone())]);
        return;
    }
    let may_ask = client.revision == Revision::V2025_11_25 && to.era() == Era::Legacy && !round.no_task;
    if !may_ask && message.member("task").is_some() {
        message.change_body(edit, &[Change::Remove("task")]);
    }
}

/// A modern client's answers pass between two modern peers. Everyone else's request carries what the gateway puts in,
/// and nothing that the client made up: a server's state comes back only from whom it was given to.
fn change_round(message: &Message, edit: &mut Edit<'_>, eras: (Era, Era), round: &Round) {
    let own = eras == (Era::Modern, Era::Modern);
    for (member, value) in [("inputResponses", &round.responses), ("requestState", &round.state)] {
        match value {
            Some(value) => message.change_body(edit, &[Change::Set(member, value.clone())]),
            None if own && member == "inputResponses" && !round.no_responses => {}
            None if message.member(member).is_some() => message.change_body(edit, &[Change::Remove(member)]),
            None => {}
        }
    }
}

/// The answers to a server's questions that leave with a request: what the gateway puts in, or, between two modern peers,
/// what the client did.
pub(crate) fn responses(inbound: &Inbound, to: Era, round: &Round) -> Option<Bytes> {
    let message = &inbound.message;
    if round.responses.is_some() || inbound.era() != Era::Modern || to != Era::Modern {
        return round.responses.clone();
    }
    let may_ask = methods::may_ask_for_input(message.method()) && !round.no_responses;
    message.member("inputResponses").filter(|_| may_ask).map(|span| message.raw(span))
}

fn change_key(message: &Message, edit: &mut Edit<'_>, member: &str, native: &str) {
    // A completion names its prompt or template inside `ref`; everything else at the top of `params`.
    let span = if message.method() == methods::COMPLETION_COMPLETE {
        message.member("ref").and_then(|reference| json::find(message.bytes(), reference, member))
    } else {
        message.member(member)
    };
    if let Some(span) = span
        && json::text(message.bytes(), span).is_none_or(|text| text != native)
    {
        edit.replace(span, json::quote(native));
    }
}

fn change_arguments(message: &Message, edit: &mut Edit<'_>, target: &Target) {
    match object_of_arguments(message) {
        Some(arguments) => edit.object(arguments, &changes(target)),
        None => message.change_body(edit, &[Change::Set("arguments", only_pinned(&target.pinned))]),
    }
}

/// The arguments of a call as they leave: a JSON object.
pub(crate) fn arguments(message: &Message, target: &Target) -> Bytes {
    let Some(arguments) = object_of_arguments(message) else { return only_pinned(&target.pinned) };
    let arguments = arguments.slice(message.bytes());
    if !target.changes_arguments() {
        return arguments;
    }
    let mut edit = Edit::new(&arguments);
    edit.object(Span::all(&arguments), &changes(target));
    edit.finish().into_bytes()
}

fn object_of_arguments(message: &Message) -> Option<Span> {
    message.member("arguments").filter(|span| message.kind_of(*span) == json::JsonKind::Object)
}

fn changes(target: &Target) -> Vec<Change<'_>> {
    let dropped = target.dropped.iter().map(|name| Change::Remove(name));
    dropped.chain(target.pinned.iter().map(|(name, value)| Change::Set(name, value.clone()))).collect()
}

fn only_pinned(pinned: &[(String, Bytes)]) -> Bytes {
    let members: Vec<(&str, &[u8])> = pinned.iter().map(|(name, value)| (&**name, &**value)).collect();
    compose::object(&members)
}

/// The members of `_meta` that the gateway owns: the progress token, which is minted anew since tokens are unique per
/// sender, and the metadata that only one era has.
fn meta_changes<'m>(
    message: &Message,
    client: &ClientProfile,
    to: Era,
    raw_id: Bytes,
    log_level: Option<LogLevel>,
) -> SmallVec<[Change<'m>; 8]> {
    let mut changes = SmallVec::new();
    if message.meta_member(meta::PROGRESS_TOKEN).is_some() {
        changes.push(Change::Set(meta::PROGRESS_TOKEN, raw_id));
    }
    match (client.revision.era(), to) {
        (Era::Legacy, Era::Modern) => changes.extend(modern_metadata(client, log_level)),
        (Era::Modern, Era::Legacy) => {
            for key in [meta::PROTOCOL_VERSION, meta::CLIENT_CAPABILITIES, meta::CLIENT_INFO, meta::LOG_LEVEL]
            {
                if message.meta_member(key).is_some() {
                    changes.push(Change::Remove(key));
                }
            }
        }
        _ => {}
    }
    changes
}

fn modern_metadata<'m>(
    client: &ClientProfile,
    log_level: Option<LogLevel>,
) -> impl Iterator<Item = Change<'m>> {
    let version = Bytes::from(format!("\"{}\"", Revision::LATEST));
    let info = client.info.clone().map(|info| Change::Set(meta::CLIENT_INFO, info));
    [
        Change::Set(meta::PROTOCOL_VERSION, version),
        Change::Set(meta::CLIENT_CAPABILITIES, client.capabilities.clone()),
    ]
    .into_iter()
    .chain(info)
    .chain(log_level.map(|level| Change::Set(meta::LOG_LEVEL, json::quote(level.as_str()))))
}

/// A request of the gateway's own on behalf of a client, such as a list's page or one about a task. `params` is raw JSON members without braces.
pub(crate) fn own_request(
    id: u64,
    method: &str,
    params: &str,
    client: &ClientProfile,
    to: Era,
    log_level: Option<LogLevel>,
) -> Segments {
    let mut body = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"{method}\",\"params\":{{{params}")
        .into_bytes();
    if to == Era::Modern {
        if !params.is_empty() {
            body.push(b',');
        }
        body.extend_from_slice(b"\"_meta\":{");
        let mut first = true;
        for change in modern_metadata(client, log_level) {
            let Change::Set(key, value) = change else { continue };
            if !first {
                body.push(b',');
            }
            first = false;
            body.extend_from_slice(&json::quote(key));
            body.push(b':');
            body.extend_from_slice(&value);
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"}}");
    Segments::from(Bytes::from(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_mcp::Limits;

    fn profile(revision: Revision) -> ClientProfile {
        ClientProfile {
            revision,
            capabilities: Bytes::from_static(b"{\"roots\":{}}"),
            info: Some(Bytes::from_static(b"{\"name\":\"c\",\"version\":\"1\"}")),
        }
    }

    fn request(
        message: &Message,
        client: &ClientProfile,
        to: Revision,
        id: u64,
        target: &Target,
    ) -> Segments {
        super::request(message, client, to, id, target, &Round::default(), &Beside::default())
    }

    fn message(text: &'static str) -> Message {
        Message::parse(Bytes::from_static(text.as_bytes()), &Limits::default()).expect("a message")
    }

    fn text(segments: Segments) -> String {
        String::from_utf8(segments.into_bytes().to_vec()).expect("UTF-8")
    }

    fn key(native: &str) -> Target {
        Target { key: Some(("name", native.to_owned())), ..Target::default() }
    }

    #[test]
    fn the_same_era_changes_only_what_the_gateway_owns() {
        let call = message(
            r#"{"x":1,"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"s__t","arguments":{"n":1.0e400},"_meta":{"progressToken":"p","v.example/k":[]}}}"#,
        );
        let sent = request(&call, &profile(Revision::V2025_11_25), Revision::V2025_11_25, 7, &key("t"));
        assert_eq!(
            text(sent),
            r#"{"x":1,"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","arguments":{"n":1.0e400},"_meta":{"progressToken":7,"v.example/k":[]}}}"#
        );
    }

    #[test]
    fn a_legacy_request_gets_the_metadata_of_the_modern_era() {
        let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__t"}}"#);
        let sent = text(request(&call, &profile(Revision::V2025_06_18), Revision::V2026_07_28, 7, &key("t")));
        let sent = message(Box::leak(sent.into_boxed_str()));
        assert_eq!(sent.meta_text(meta::PROTOCOL_VERSION).as_deref(), Some("2026-07-28"));
        assert_eq!(
            sent.meta_member(meta::CLIENT_CAPABILITIES).map(|s| sent.raw(s)).as_deref(),
            Some(&b"{\"roots\":{}}"[..])
        );
        assert!(sent.meta_member(meta::CLIENT_INFO).is_some());
        assert_eq!(sent.text("name").as_deref(), Some("t"));
        assert!(sent.meta_member(meta::LOG_LEVEL).is_none());
    }

    #[test]
    fn the_level_of_a_legacy_session_goes_with_each_request_to_a_modern_server() {
        let call = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"s__t"}}"#);
        let client = profile(Revision::V2025_06_18);
        let level = Some(LogLevel::Notice);
        let call = text(super::request(
            &call,
            &client,
            Revision::V2026_07_28,
            7,
            &key("t"),
            &Round::default(),
            &Beside { log_level: level, onward: None },
        ));
        let list = text(own_request(8, methods::TOOLS_LIST, "", &client, Era::Modern, level));
        for sent in [call, list] {
            let sent = message(Box::leak(sent.into_boxed_str()));
            assert_eq!(sent.meta_text(meta::LOG_LEVEL).as_deref(), Some("notice"));
        }
    }

    #[test]
    fn a_modern_request_leaves_its_metadata_behind() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"k":1}}}"#,
        );
        let sent = text(request(&call, &profile(Revision::V2026_07_28), Revision::V2025_11_25, 7, &key("t")));
        assert_eq!(
            sent,
            r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"t","_meta":{"k":1}}}"#
        );
    }

    #[test]
    fn the_name_that_was_judged_is_the_name_that_leaves() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"ref":{"name":"decoy"},"name":"s__t"}}"#,
        );
        let sent = text(request(&call, &profile(Revision::V2025_11_25), Revision::V2025_11_25, 7, &key("t")));
        assert!(sent.contains(r#""ref":{"name":"decoy"},"name":"t""#), "{sent}");
    }

    #[test]
    fn a_task_is_asked_for_only_where_both_sides_know_how() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","task":{"ttl":60}}}"#,
        );
        let sent = |client, to| text(request(&call, &profile(client), to, 7, &key("t")));
        assert!(sent(Revision::V2025_11_25, Revision::V2025_11_25).contains(r#""task":{"ttl":60}"#));
        assert!(!sent(Revision::V2025_11_25, Revision::V2026_07_28).contains("task"));
        assert!(!sent(Revision::V2025_06_18, Revision::V2025_11_25).contains("task"));
        assert!(!sent(Revision::V2026_07_28, Revision::V2025_11_25).contains("task"));
        let (client, round) = (profile(Revision::V2025_11_25), Round { no_task: true, ..Round::default() });
        let to = Revision::V2025_11_25;
        assert!(
            !text(super::request(&call, &client, to, 7, &key("t"), &round, &Beside::default()))
                .contains("task")
        );
    }

    #[test]
    fn a_server_before_2025_06_18_gets_no_context_of_a_completion() {
        let complete = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"s__p"},"argument":{"name":"a","value":"b"},"context":{"arguments":{"c":"d"}}}}"#,
        );
        let sent = |to| text(request(&complete, &profile(Revision::V2025_11_25), to, 7, &key("p")));
        assert!(sent(Revision::V2025_06_18).contains(r#","context":{"arguments":{"c":"d"}}"#));
        assert_eq!(
            sent(Revision::V2025_03_26),
            r#"{"jsonrpc":"2.0","id":7,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"},"argument":{"name":"a","value":"b"}}}"#
        );
    }

    #[test]
    fn pinned_arguments_win() {
        let call = message(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":{"path":"/etc","n":1}}}"#,
        );
        let target =
            Target { pinned: vec![("path".to_owned(), Bytes::from_static(b"\"/notes\""))], ..key("t") };
        let sent = text(request(&call, &profile(Revision::V2025_11_25), Revision::V2025_11_25, 7, &target));
        assert!(sent.contains(r#""arguments":{"path":"/notes","n":1}"#), "{sent}");
        let bare = message(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t"}}"#);
        let sent = text(request(&bare, &profile(Revision::V2025_11_25), Revision::V2025_11_25, 7, &target));
        assert!(sent.contains(r#""arguments":{"path":"/notes"}"#), "{sent}");
    }
}
