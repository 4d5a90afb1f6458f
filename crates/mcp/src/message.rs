//! One JSON-RPC message, scanned once.

use std::borrow::Cow;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::edit::{Change, Edit};
use crate::json::{self, Fault, JsonKind, Limits, Member, ScanError, Scanner, Span, Stop};
use crate::peek::{is_id, is_integer};

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Has a method and an id.
    Request,
    /// Has a method and no id.
    Notification,
    /// A response with `result`.
    Result,
    /// A response with `error`.
    Error,
}

impl Kind {
    /// Whether it answers a request.
    pub const fn is_response(self) -> bool {
        matches!(self, Self::Result | Self::Error)
    }
}

/// One JSON-RPC message as MCP has them: never a batch, ids never null in requests, `params` and `result` always
/// objects. Members that the protocol does not know stay where they are.
///
/// Cloning is cheap: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Bytes,
    kind: Kind,
    id: Option<Span>,
    method: Method,
    body: Option<Span>,
    meta: Option<Span>,
    whole: Span,
    envelope: SmallVec<[Member; 4]>,
    members: SmallVec<[Member; 4]>,
    meta_members: SmallVec<[Member; 4]>,
}

#[derive(Clone, Debug)]
enum Method {
    /// A response.
    None,
    /// Stands in the message as it is meant, here without its quotes.
    Plain(Span),
    /// Was written with escapes.
    Unescaped(Box<str>),
}

impl Message {
    /// Reads one message in one validating pass.
    ///
    /// # Errors
    /// The first fault in reading order; see [`Fault`]. A JSON array is a [`Fault::Batch`]: only 2025-03-26 has
    /// batches, and whoever takes them splits them with [`json::elements`] (after [`json::validate`]) and parses each
    /// element for itself.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, ScanError> {
        match Draft::scan(&bytes, limits).and_then(|draft| draft.judge(&bytes)) {
            Ok(Judged { kind, id, method, body, draft }) => Ok(Self {
                kind,
                id,
                method,
                body,
                meta: draft.meta,
                whole: draft.whole,
                envelope: draft.envelope,
                members: draft.members,
                meta_members: draft.meta_members,
                bytes,
            }),
            Err(stop) => Err(ScanError::new(stop, &bytes)),
        }
    }

    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The whole message as it came.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole message as it came.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The id: a JSON string or an integer; `null` only in error responses, which may also have none.
    pub fn id(&self) -> Option<Span> {
        self.id
    }

    /// The id as raw JSON, sharing the message's bytes.
    pub fn id_raw(&self) -> Option<Bytes> {
        self.id.map(|id| self.raw(id))
    }

    /// The id, if it is an unsigned integer that fits.
    pub fn id_u64(&self) -> Option<u64> {
        self.integer(self.id?)
    }

    /// The method; empty for responses.
    pub fn method(&self) -> &str {
        match &self.method {
            Method::None => "",
            Method::Plain(span) => std::str::from_utf8(span.of(&self.bytes)).unwrap_or_default(),
            Method::Unescaped(method) => method,
        }
    }

    /// The body: the value of `params`, `result` or `error`, always an object. A request may have none.
    pub fn body(&self) -> Option<Span> {
        self.body
    }

    /// The members of the body, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The value of a member of the body.
    pub fn member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.members, key)
    }

    /// The text of a member of the body, if it is a string.
    pub fn text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.member(key)?)
    }

    /// `_meta` of the body, if it is an object.
    pub fn meta(&self) -> Option<Span> {
        self.meta
    }

    /// The members of `_meta`, in order; none if it is no object.
    pub fn meta_members(&self) -> &[Member] {
        &self.meta_members
    }

    /// The value of a member of `_meta`.
    pub fn meta_member(&self, key: &str) -> Option<Span> {
        self.value_of(&self.meta_members, key)
    }

    /// The text of a member of `_meta`, if it is a string.
    pub fn meta_text(&self, key: &str) -> Option<Cow<'_, str>> {
        json::text(&self.bytes, self.meta_member(key)?)
    }

    /// The members of the envelope, in order.
    pub fn envelope(&self) -> &[Member] {
        &self.envelope
    }

    /// The code of an error response, if it fits 64 bits.
    pub fn error_code(&self) -> Option<i64> {
        (self.kind == Kind::Error).then(|| self.integer(self.member("code")?)).flatten()
    }

    /// What the value at `span` is.
    pub fn kind_of(&self, span: Span) -> JsonKind {
        json::kind_of(&self.bytes, span)
    }

    /// A part of the message, sharing its bytes.
    pub fn raw(&self, span: Span) -> Bytes {
        span.slice(&self.bytes)
    }

    fn value_of(&self, members: &[Member], key: &str) -> Option<Span> {
        members.iter().find(|member| member.key_is(&self.bytes, key)).map(|member| member.value)
    }

    fn integer<T: std::str::FromStr>(&self, value: Span) -> Option<T> {
        std::str::from_utf8(value.of(&self.bytes)).ok()?.parse().ok()
    }
}

/// Changes to a message. Each takes the edit that collects them, so several make one splice.
impl Message {
    /// Begins an edit of this message.
    pub fn edit(&self) -> Edit<'_> {
        Edit::new(&self.bytes)
    }

    /// Gives the message this id (raw JSON), replacing the one it has.
    pub fn set_id(&self, edit: &mut Edit<'_>, raw_id: impl Into<Bytes>) {
        match self.id {
            Some(id) => edit.replace(id, raw_id),
            None => self.change_envelope(edit, &[Change::Set("id", raw_id.into())]),
        }
    }

    /// Gives a request or notification another method.
    pub fn set_method(&self, edit: &mut Edit<'_>, method: &str) {
        if !self.kind.is_response() {
            self.change_envelope(edit, &[Change::Set("method", json::quote(method))]);
        }
    }

    /// Changes members of the envelope.
    pub fn change_envelope(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        edit.members(self.whole, &self.envelope, changes);
    }

    /// Changes members of the body. A request without `params` gets them.
    pub fn change_body(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match self.body {
            Some(body) => edit.members(body, &self.members, changes),
            None => edit.nested(self.whole, &self.envelope, "params", changes),
        }
    }

    /// Changes members of the body's `_meta`, which is added (also in place of something that is no object) where it
    /// is missing.
    pub fn change_meta(&self, edit: &mut Edit<'_>, changes: &[Change<'_>]) {
        match (self.meta, self.body) {
            (Some(meta), _) => edit.members(meta, &self.meta_members, changes),
            (None, Some(body)) => edit.nested(body, &self.members, "_meta", changes),
            (None, None) => {
                let params = edit.pending(self.whole, None, "params").unwrap_or(Bytes::from_static(b"{}"));
                let body = json::whole(&params);
                let members: SmallVec<[Member; 4]> = json::members(&params, body).collect();
                let mut inner = Edit::new(&params);
                inner.nested(body, &members, "_meta", changes);
                let params = inner.finish().into_bytes();
                self.change_envelope(edit, &[Change::Set("params", params)]);
            }
        }
    }
}

/// What the scan found, not yet judged by the rules of JSON-RPC.
#[derive(Default)]
struct Draft {
    whole: Span,
    jsonrpc: Option<Span>,
    id: Option<Span>,
    method: Option<Span>,
    params: Option<Span>,
    result: Option<Span>,
    error: Option<Span>,
    meta: Option<Span>,
    envelope: SmallVec<[Member; 4]>,
    /// Members of params, result or error: of the last of them, but only one is legal.
    members: SmallVec<[Member; 4]>,
    meta_members: SmallVec<[Member; 4]>,
}

/// A message that keeps the rules.
struct Judged {
    kind: Kind,
    id: Option<Span>,
    method: Method,
    body: Option<Span>,
    draft: Draft,
}

impl Draft {
    fn scan(bytes: &[u8], limits: &Limits) -> Result<Self, Stop> {
        let mut scanner = Scanner::new(bytes, limits)?;
        if scanner.peek() != Some(b'{') {
            let is_array = scanner.peek() == Some(b'[');
            scanner.value(0)?;
            scanner.end()?;
            let fault = if is_array { Fault::Batch } else { Fault::NotAnObject };
            return Err(Stop { fault, offset: 0 });
        }
        let mut draft = Self::default();
        draft.whole = scanner.object(0, |scanner, key| draft.member(scanner, bytes, key))?;
        scanner.end()?;
        Ok(draft)
    }

    fn member(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8], key: Span) -> Result<(), Stop> {
        let name = json::text(bytes, key).unwrap_or_default();
        let is_body = matches!(&*name, "params" | "result" | "error");
        let value = if is_body && scanner.peek() == Some(b'{') {
            self.body(scanner, bytes)?
        } else {
            scanner.value(1)?
        };
        match &*name {
            "jsonrpc" => self.jsonrpc = Some(value),
            "id" => self.id = Some(value),
            "method" => self.method = Some(value),
            "params" => self.params = Some(value),
            "result" => self.result = Some(value),
            "error" => self.error = Some(value),
            _ => {}
        }
        self.envelope.push(Member { key, value });
        Ok(())
    }

    fn body(&mut self, scanner: &mut Scanner<'_>, bytes: &[u8]) -> Result<Span, Stop> {
        let Self { members, meta_members, meta, .. } = self;
        members.clear();
        meta_members.clear();
        *meta = None;
        scanner.object(1, |scanner, key| {
            let value = if scanner.peek() == Some(b'{') && json::key_is(bytes, key, "_meta") {
                let value = scanner.object(2, |scanner, key| {
                    let value = scanner.value(3)?;
                    meta_members.push(Member { key, value });
                    Ok(())
                })?;
                *meta = Some(value);
                value
            } else {
                scanner.value(2)?
            };
            members.push(Member { key, value });
            Ok(())
        })
    }

    /// Holds the members against the rules.
    fn judge(self, bytes: &[u8]) -> Result<Judged, Stop> {
        let fault = |fault, at: Span| Stop { fault, offset: at.start as usize };
        let is_object = |value| json::kind_of(bytes, value) == JsonKind::Object;

        let is_version_2 = self.jsonrpc.is_some_and(|value| json::key_is(bytes, value, "2.0"));
        let bodies = [self.params, self.result, self.error].iter().flatten().count();
        if !is_version_2 || bodies > 1 {
            return Err(fault(Fault::NotJsonRpc, self.whole));
        }
        let bad_id = self.id.filter(|id| !is_id(id.of(bytes)));
        let (kind, body) = match (self.method, self.result, self.error) {
            (Some(_), None, None) => {
                if let Some(params) = self.params.filter(|params| !is_object(*params)) {
                    return Err(fault(Fault::BadParams, params));
                }
                (if self.id.is_some() { Kind::Request } else { Kind::Notification }, self.params)
            }
            (None, Some(result), None) => {
                if !is_object(result) {
                    return Err(fault(Fault::BadResponse, result));
                }
                if self.id.is_none() {
                    return Err(fault(Fault::BadId, self.whole));
                }
                (Kind::Result, Some(result))
            }
            (None, None, Some(error)) => {
                if !is_object(error) || !self.is_error(bytes) {
                    return Err(fault(Fault::BadResponse, error));
                }
                (Kind::Error, Some(error))
            }
            _ => return Err(fault(Fault::NotJsonRpc, self.whole)),
        };
        if let Some(id) = bad_id
            && !(kind == Kind::Error && id.of(bytes) == b"null")
        {
            return Err(fault(Fault::BadId, id));
        }
        let method = match self.method {
            None => Method::None,
            Some(method) => read_method(bytes, method).ok_or(fault(Fault::BadMethod, method))?,
        };
        Ok(Judged { kind, id: self.id, method, body, draft: self })
    }

    /// Whether the recorded members are those of a JSON-RPC error.
    fn is_error(&self, bytes: &[u8]) -> bool {
        let value = |key| {
            let member = self.members.iter().find(|member| json::key_is(bytes, member.key, key));
            member.map(|member| (json::kind_of(bytes, member.value), member.value.of(bytes)))
        };
        let has_code = value("code").is_some_and(|(kind, raw)| kind == JsonKind::Number && is_integer(raw));
        has_code && value("message").is_some_and(|(kind, _)| kind == JsonKind::String)
    }
}

fn read_method(bytes: &[u8], method: Span) -> Option<Method> {
    match json::text(bytes, method)? {
        text if text.is_empty() => None,
        Cow::Borrowed(_) => Some(Method::Plain(Span { start: method.start + 1, end: method.end - 1 })),
        Cow::Owned(text) => Some(Method::Unescaped(text.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Message, ScanError> {
        Message::parse(Bytes::copy_from_slice(text.as_bytes()), &Limits::default())
    }

    fn fault(text: &str) -> Fault {
        parse(text).expect_err(text).fault
    }

    const CALL: &str = r#" {"jsonrpc":"2.0","id":"a\u0062","method":"tools/call","x":[1],"params":{
        "name":"r\u00e9ad","arguments":{"n":100000000000000000000000000000000000001},
        "_meta":{"progressToken":7,"io.modelcontextprotocol/logLevel":"info"}}} "#;

    #[test]
    fn a_request_is_read_in_place() {
        let call = parse(CALL).unwrap();
        assert_eq!((call.kind(), call.method()), (Kind::Request, "tools/call"));
        assert_eq!(call.id_raw().unwrap(), r#""a\u0062""#);
        assert_eq!(call.id_u64(), None);
        assert_eq!(call.text("name").unwrap(), "réad");
        assert_eq!(call.text("arguments"), None);
        let arguments = call.member("arguments").unwrap();
        assert_eq!(call.raw(arguments), r#"{"n":100000000000000000000000000000000000001}"#);
        assert_eq!(call.meta_text("io.modelcontextprotocol/logLevel").unwrap(), "info");
        assert_eq!(call.raw(call.meta_member("progressToken").unwrap()), "7");
        assert_eq!((call.members().len(), call.meta_members().len(), call.envelope().len()), (3, 2, 5));
        assert_eq!(call.bytes(), CALL);
    }

    #[test]
    fn every_kind_is_told_apart() {
        let kind = |text| parse(text).map(|message| message.kind());
        assert_eq!(kind(r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#), Ok(Kind::Request));
        assert_eq!(kind(r#"{"jsonrpc":"2.0","method":"n","params":{}}"#), Ok(Kind::Notification));
        assert_eq!(kind(r#"{"result":{},"jsonrpc":"2.0","id":-1}"#), Ok(Kind::Result));
        for id in ["", r#""id":null,"#, r#""id":3,"#] {
            let error =
                parse(&format!(r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-32603,"message":""}}}}"#)).unwrap();
            assert_eq!((error.kind(), error.error_code()), (Kind::Error, Some(-32603)));
        }
        let escaped =
            parse(r#"{"\u006asonrpc":"2\u002e0","\u0069d":18446744073709551615,"method":"tools\/list"}"#);
        let escaped = escaped.unwrap();
        assert_eq!((escaped.method(), escaped.id_u64()), ("tools/list", Some(u64::MAX)));
    }

    #[test]
    fn what_breaks_the_rules_of_json_rpc_is_refused() {
        for (text, expected) in [
            ("", Fault::Syntax),
            ("\u{feff}{}", Fault::Syntax),
            ("1", Fault::NotAnObject),
            ("[]", Fault::Batch),
            ("[", Fault::Syntax),
            ("{} {}", Fault::Trailing),
            ("{}", Fault::NotJsonRpc),
            (r#"{"id":1,"method":"m"}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":2.0,"id":1,"method":"m"}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.00","id":1,"method":"m"}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.0","id":1}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","result":{}}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{"code":1,"message":""}}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.0","id":1,"result":{},"params":{}}"#, Fault::NotJsonRpc),
            (r#"{"jsonrpc":"2.0","id":null,"method":"m"}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":1.0,"method":"m"}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":1e2,"method":"m"}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":true,"method":"m"}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":{},"method":"m"}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","result":{}}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Fault::BadId),
            (r#"{"jsonrpc":"2.0","id":1,"method":""}"#, Fault::BadMethod),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Fault::BadMethod),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":[]}"#, Fault::BadParams),
            (r#"{"jsonrpc":"2.0","id":1,"method":"m","params":null}"#, Fault::BadParams),
            (r#"{"jsonrpc":"2.0","id":1,"result":[]}"#, Fault::BadResponse),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1.5,"message":""}}"#, Fault::BadResponse),
            (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1}}"#, Fault::BadResponse),
            (r#"{"jsonrpc":"2.0","id":1,"error":"no"}"#, Fault::BadResponse),
        ] {
            assert_eq!(fault(text), expected, "{text}");
        }
    }

    #[test]
    fn what_could_be_read_two_ways_is_refused() {
        let with = |params: &str| format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{params}}}"#);
        for params in [
            r#"{"a":1,"a":2}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"_meta":{"x":1,"x":1}}"#,
            r#"{"a":[{"b":[{"c":1,"c":1}]}]}"#,
            r#"{"\ud83d\ude00":1,"😀":2}"#,
            r#"{"":1,"":2}"#,
        ] {
            assert_eq!(fault(&with(params)), Fault::Duplicate, "{params}");
        }
        for params in
            [r#"{"\ud800":1}"#, r#"{"a":"\udc00"}"#, r#"{"a":"\ud800\u0061"}"#, r#"{"a":["\ud83d"]}"#]
        {
            assert_eq!(fault(&with(params)), Fault::LoneSurrogate, "{params}");
        }
        assert_eq!(fault(r#"{"jsonrpc":"2.0","id":1,"method":"m","method":"n"}"#), Fault::Duplicate);
        assert!(parse(&with(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#)).is_ok());
    }

    #[test]
    fn many_members_are_told_apart_too() {
        let with = |last: &str| {
            let many: String = (0..200).map(|n| format!(r#""key{n}":{n},"#)).collect();
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{{many}"{last}":0}}}}"#)
        };
        assert!(parse(&with("key200")).is_ok());
        assert_eq!(fault(&with("key0")), Fault::Duplicate);
        assert_eq!(fault(&with(r"key\u0031")), Fault::Duplicate);
    }

    #[test]
    fn limits_hold_and_no_nesting_overflows_the_stack() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"m","params":{{"a":{open}{close}}}}}"#)
        };
        assert!(parse(&nested(126)).is_ok());
        assert_eq!(fault(&nested(127)), Fault::TooDeep);
        assert_eq!(fault(&nested(1_000_000)), Fault::TooDeep);
        let limits = Limits { depth_max: usize::MAX, bytes_max: usize::MAX };
        assert!(Message::parse(nested(1_000_000).into(), &limits).is_ok());
        let limits = Limits { bytes_max: 10, ..Limits::default() };
        assert_eq!(Message::parse(CALL.into(), &limits).unwrap_err().fault, Fault::TooLarge);
        let not_utf8 = Message::parse(Bytes::from_static(b"{\"\xff\":1}"), &Limits::default()).unwrap_err();
        assert_eq!((not_utf8.fault, not_utf8.offset), (Fault::NotUtf8, 2));
    }

    #[test]
    fn an_error_can_be_addressed_where_the_id_is_certain() {
        let ids = |text: &str| {
            let error = parse(text).unwrap_err();
            (error.id, error.response_id)
        };
        let seven = || Some(Bytes::from_static(b"7"));
        assert_eq!(ids(r#"{"jsonrpc":"1.0","method":"m","id":7}"#), (seven(), None));
        assert_eq!(ids(r#"{"jsonrpc":"2.0","method":"m","params":{"a":1,"a":2},"id":7}"#), (seven(), None));
        assert_eq!(ids(r#"{"jsonrpc":"2.0","result":[],"id":7}"#), (None, seven()));
        for text in [
            r#"{"jsonrpc":"1.0","method":"m","id":7"#,
            r#"{"jsonrpc":"1.0","method":"m","id":7}}"#,
            r#"{"jsonrpc":"2.0","method":"m","id":7,"id":8}"#,
            r#"{"jsonrpc":"2.0","method":"m","id":7.5}"#,
            r#"[{"jsonrpc":"2.0","method":"m","id":7}]"#,
        ] {
            assert_eq!(ids(text), (None, None), "{text}");
        }
    }

    fn edited(text: &str, change: impl FnOnce(&Message, &mut Edit<'_>)) -> String {
        let message = parse(text).unwrap();
        let mut edit = message.edit();
        change(&message, &mut edit);
        let edited = edit.finish().into_bytes();
        assert!(parse(std::str::from_utf8(&edited).unwrap()).is_ok());
        String::from_utf8(edited.to_vec()).unwrap()
    }

    #[test]
    fn edits_leave_the_rest_to_the_letter() {
        let raw = |text: &'static str| Bytes::from_static(text.as_bytes());
        let edited_call = edited(CALL, |call, edit| {
            call.set_id(edit, raw("5"));
            call.change_body(edit, &[Change::Set("name", raw(r#""native""#))]);
            call.change_meta(edit, &[Change::Set("progressToken", raw("5")), Change::Set("t", raw("0"))]);
            call.set_method(edit, "tools/other");
        });
        let expected = CALL
            .replace(r#""a\u0062""#, "5")
            .replace(r#""r\u00e9ad""#, r#""native""#)
            .replace("tools/call", "tools/other")
            .replace(":7", ":5")
            .replace(r#""info"}"#, r#""info","t":0}"#);
        assert_eq!(edited_call, expected);
    }

    #[test]
    fn what_is_missing_is_added() {
        let raw = |text: &'static str| Bytes::from_static(text.as_bytes());
        let edited = edited(r#"{"jsonrpc":"2.0","method":"m"}"#, |message, edit| {
            message.change_meta(edit, &[Change::Set("a", raw("1"))]);
            message.change_body(edit, &[Change::Set("b", raw("2"))]);
            message.change_meta(edit, &[Change::Set("c", raw("3"))]);
            message.set_id(edit, raw("4"));
        });
        assert_eq!(edited, r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"a":1,"c":3},"b":2},"id":4}"#);
        let edited =
            super::tests::edited(r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":null}}"#, |message, edit| {
                message.change_meta(edit, &[Change::Set("a", raw("1"))]);
                message.change_meta(edit, &[Change::Set("b", raw("2"))]);
                message.set_method(edit, "no");
            });
        assert_eq!(edited, r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"b":2}}}"#);
    }
}
