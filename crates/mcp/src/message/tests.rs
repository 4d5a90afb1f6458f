//! One message of every kind, and what is refused.

use super::{Kind, Message};
use crate::edit::{Change, Edit};
use crate::json::{Fault, Limits, ScanError};
use bytes::Bytes;

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
    for params in [r#"{"\ud800":1}"#, r#"{"a":"\udc00"}"#, r#"{"a":"\ud800\u0061"}"#, r#"{"a":["\ud83d"]}"#] {
        assert_eq!(fault(&with(params)), Fault::LoneSurrogate, "{params}");
    }
    assert_eq!(fault(r#"{"jsonrpc":"2.0","id":1,"method":"m","method":"n"}"#), Fault::Duplicate);
    assert!(parse(&with(r#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#)).is_ok());
}

#[test]
fn many_members_are_told_apart_too() {
    let with = |last: &str| {
        let many = (0..200).map(|n| format!(r#""key{n}":{n},"#)).collect::<Vec<_>>().concat();
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
    let added = edited(r#"{"jsonrpc":"2.0","method":"m"}"#, |message, edit| {
        message.change_meta(edit, &[Change::Set("a", raw("1"))]);
        message.change_body(edit, &[Change::Set("b", raw("2"))]);
        message.change_meta(edit, &[Change::Set("c", raw("3"))]);
        message.set_id(edit, raw("4"));
    });
    assert_eq!(added, r#"{"jsonrpc":"2.0","method":"m","params":{"_meta":{"a":1,"c":3},"b":2},"id":4}"#);
    let replaced = edited(r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":null}}"#, |message, edit| {
        message.change_meta(edit, &[Change::Set("a", raw("1"))]);
        message.change_meta(edit, &[Change::Set("b", raw("2"))]);
        message.set_method(edit, "no");
    });
    assert_eq!(replaced, r#"{"jsonrpc":"2.0","id":1,"result":{"_meta":{"a":1,"b":2}}}"#);
}

/// Whichever key is written with escapes, each is found by what it says, and nothing by how it is written.
#[test]
fn members_are_found_by_what_their_keys_say() {
    for (params, arguments, name) in [
        (r#"{"name":"t","arguments":{}}"#, true, true),
        (r#"{"\u006eame":"t","arguments":{}}"#, true, true),
        (r#"{"name":"t","\u0061rguments":{}}"#, true, true),
        (r#"{"name":"t","arguments":{"\u0061":1}}"#, true, true),
        (r#"{"nam\\u0065":"t","arguments":{}}"#, true, false),
        (r#"{"names":"t","argument":{}}"#, false, false),
    ] {
        let text = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let message = Message::parse(Bytes::from(text), &Limits::default()).unwrap();
        assert_eq!(message.member("arguments").is_some(), arguments, "{params}");
        assert_eq!(message.text("name").is_some(), name, "{params}");
        assert_eq!(message.member(r"nam\u0065").is_some(), params.contains(r"nam\\u"), "{params}");
        assert_eq!(message.method(), "tools/call");
    }
}
