use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;

use super::*;

fn kept(json: &str) -> String {
    String::from_utf8(redact(json.as_bytes()).kept.into_owned()).expect("text")
}

fn taken_out(json: &str) -> Vec<String> {
    redact(json.as_bytes()).taken_out
}

#[test]
fn members_are_judged_by_their_names() {
    let json = r#"{ "user":"ann", "password" : "x", "nested":{"apiKey":{"a":[1,"}"]},"max_tokens":100,"token":"t"},
        "auth":null,"secret":true,"pin":1234,"cookie":"" }"#;
    let expected = r#"{ "user":"ann", "password" : "[redacted]", "nested":{"apiKey":"[redacted]","max_tokens":100,"token":"[redacted]"},
        "auth":null,"secret":true,"pin":"[redacted]","cookie":"" }"#;
    assert_eq!(kept(json), expected);
    assert_eq!(taken_out(json), ["/password", "/nested/apiKey", "/nested/token", "/pin"]);
}

#[test]
fn texts_lose_only_what_they_should_not_hold() {
    for (text, left) in [
        (
            "mail ann@example.com, then bob.b+c@mail.example.org.",
            "mail [redacted:email], then [redacted:email].",
        ),
        ("ünal@exämple.de", "[redacted:email]"),
        ("@scope/pkg user@host pkg@1.2.3", "@scope/pkg user@host pkg@1.2.3"),
        ("card 4111 1111 1111 1111 12/28", "card [redacted:card] 12/28"),
        ("4111-1111-1111-1111", "[redacted:card]"),
        ("5500005555555559.", "[redacted:card]."),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("0.4111111111111111 and x4111111111111111", "0.4111111111111111 and x4111111111111111"),
        ("AKIAIOSFODNN7EXAMPLE!", "[redacted:token]!"),
        ("my-ghp_0123456789abcdefghijABCDEFGHIJ012345 x", "my-[redacted:token] x"),
        ("task-0123456789abcdef0123456789abcdef0123", "task-0123456789abcdef0123456789abcdef0123"),
        ("curl -H 'Authorization: Bearer abc.def-123' x", "curl -H 'Authorization: [redacted:token]' x"),
        ("a bearer of bad news, basic understanding", "a bearer of bad news, basic understanding"),
        ("Basic dXNlcjpwYXNzd29yZA==", "Basic [redacted:token]"),
        (
            "https://u:p@host/x?access_token=abc&y=1",
            "https://[redacted:token]@host/x?access_token=[redacted:token]&y=1",
        ),
        (r#"{"password":"a b","n":1}"#, r#"{"password":"[redacted:token] b","n":1}"#),
        ("PASSWORD = hunter2; x=1", "PASSWORD = [redacted:token]; x=1"),
        ("Cookie: a=b; c=d\nnext", "Cookie: [redacted:token]\nnext"),
        ("max_tokens: 100", "max_tokens: 100"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "[redacted:token]"),
        (
            "x\n-----BEGIN RSA PRIVATE KEY-----\nMII\nabc\n-----END RSA PRIVATE KEY-----\ny",
            "x\n[redacted:key]\ny",
        ),
        ("--------BEGIN PRIVATE KEY-----\nMII", "---[redacted:key]"),
        ("-----BEGIN CERTIFICATE-----\nMII", "-----BEGIN CERTIFICATE-----\nMII"),
    ] {
        let json = serde_json::to_string(text).expect("JSON");
        let found: String = serde_json::from_str(&kept(&json)).expect("JSON");
        assert_eq!(found, left);
    }
}

#[test]
fn another_spelling_in_json_hides_nothing() {
    let json =
        r#"{"p\u0061ssword":"x","note":"ann\u0040example.com \u00e9","4111111111111111":4111111111111111}"#;
    let expected =
        r#"{"p\u0061ssword":"[redacted]","note":"[redacted:email] é","[redacted 1]":"[redacted:card]"}"#;
    assert_eq!(kept(json), expected);
    assert_eq!(taken_out(json), ["/password", "/note", "/[redacted 1]"]);
}

#[test]
fn names_that_are_somebodys_stand_in_no_pointer() {
    let json = r#"{"ann@example.com":{"password":"x"},"a/b~":{"token":"y"}}"#;
    assert_eq!(taken_out(json), ["/[redacted 1]", "/[redacted 1]/password", "/a~1b~0/token"]);
    assert_eq!(kept(json), r#"{"[redacted 1]":{"password":"[redacted]"},"a/b~":{"token":"[redacted]"}}"#);
}

#[test]
fn what_is_no_json_is_taken_out_whole() {
    for text in
        ["", "{", "{\"a\"}", "[1,]x", "{\"a\":1}}", "\"a", "\u{fffd}", "{\"password\":]}", "nul l", "[1 2]"]
    {
        let redacted = redact(text.as_bytes());
        assert_eq!((&*redacted.kept, &*redacted.taken_out), (MARK, &[String::new()][..]), "{text}");
    }
    assert_eq!(redact(b"{\"a\":\"\xff\"}").taken_out, [""]);
}

#[test]
fn pointers_are_few_and_short() {
    let many = format!("[{}]", vec![r#"{"pin":1}"#; POINTERS_MAX + 10].join(","));
    let pointers = taken_out(&many);
    assert_eq!((pointers.len(), pointers.last().map(String::as_str)), (POINTERS_MAX, Some("")));
    assert!(!kept(&many).contains('1'), "all of them are taken out");
    let long = format!(r#"{{"x":{{"{}":{{"pin":1}}}}}}"#, "n".repeat(POINTER_BYTES_MAX));
    assert_eq!(taken_out(&long), ["/x"]);
    let deep = format!("{}1{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(taken_out(&deep).len(), 1);
}

/// What a text of so many bytes, all of this part, costs this thread. What else the machine does is not counted.
fn cost(part: &str, bytes: usize) -> Duration {
    let json = serde_json::to_string(&part.repeat(bytes / part.len())).expect("JSON");
    let spent = || Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).expect("a time");
    let before = spent();
    redact(json.as_bytes());
    spent().saturating_sub(before)
}

/// Sixteen times the text costs about sixteen times as much. Where each place is compared with all others, it costs 256 times
/// as much.
#[test]
fn a_hostile_text_takes_no_longer_than_another() {
    for part in [
        "plain text, ",
        "@",
        "a@a",
        "eyJa-",
        "cookie:",
        "cookie:[redacted ",
        "BEGIN ",
        "-----BEGIN PRIVATE KEY",
        "bearer ",
        "4111 ",
        "=\"",
        "://a:b",
    ] {
        let little = (0..3).map(|_| cost(part, 1 << 14)).min().expect("three");
        let much = cost(part, 1 << 18);
        assert!(much < little * 64, "{part}: {little:?}, and sixteen times as much: {much:?}");
    }
}

/// Secrets as others would write them, each of which no text holds by chance.
fn secret() -> impl Strategy<Value = String> {
    let digits = proptest::collection::vec(0_u32..10, 14).prop_map(|tail| {
        let mut digits = vec![4];
        digits.extend(tail);
        let sum: u32 = digits
            .iter()
            .rev()
            .enumerate()
            .map(|(place, digit)| {
                let value = digit * if place % 2 == 0 { 2 } else { 1 };
                if value > 9 { value - 9 } else { value }
            })
            .sum();
        digits.push((10 - sum % 10) % 10);
        digits.iter().map(ToString::to_string).collect::<String>()
    });
    prop_oneof![
        "AKIA[A-Z0-9]{16}",
        "gh[pousr]_[A-Za-z0-9]{36}",
        "github_pat_[A-Za-z0-9_]{40}",
        "glpat-[A-Za-z0-9_-]{20}",
        "xox[bp]-[0-9]{10}-[a-z0-9]{12}",
        "AIza[A-Za-z0-9_-]{35}",
        "sk_live_[A-Za-z0-9]{24}",
        "eyJ[A-Za-z0-9_-]{20}\\.eyJ[A-Za-z0-9_-]{20}\\.[A-Za-z0-9_-]{20}",
        "[a-z]{3,10}\\.[a-z]{3,10}@[a-z]{3,10}\\.(com|org|de)",
        "-----BEGIN (RSA |EC |)PRIVATE KEY-----\n[A-Za-z0-9+/]{64}\n-----END (RSA |EC |)PRIVATE KEY-----",
        digits,
    ]
}

/// Texts in which nothing of the sort stands.
fn plain_text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-zA-Z ,.!?()é\u{1f600}\"\\\\\n]{0,30}", "[0-9]{1,8}", Just(String::new())]
}

/// JSON as its writer wrote it: with spaces, escapes, and numbers of any length. With it a secret or two that stand in it.
fn planted() -> impl Strategy<Value = (String, Vec<String>)> {
    let escaped = |text: String, all: bool| {
        let units = text.encode_utf16();
        let escaped = |unit: u16| format!("\\u{unit:04x}");
        if all {
            format!("\"{}\"", units.map(escaped).collect::<String>())
        } else {
            serde_json::to_string(&text).expect("JSON")
        }
    };
    let number = "-?(0|[1-9][0-9]{0,11}|1[0-9]{25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,2})?";
    let harmless = prop_oneof![
        number.prop_map(|number| (number, vec![])),
        Just(("null".to_owned(), vec![])),
        Just(("true".to_owned(), vec![])),
        (plain_text(), any::<bool>()).prop_map(move |(text, all)| (escaped(text, all), vec![])),
    ];
    let secret = (plain_text(), secret(), plain_text(), any::<bool>()).prop_map(
        move |(before, secret, after, all)| {
            (escaped(format!("{before} {secret} {after}"), all), vec![secret])
        },
    );
    let leaf = prop_oneof![4 => harmless, 1 => secret];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let list = proptest::collection::vec(inner.clone(), 0..5).prop_map(|items| {
            let (texts, secrets): (Vec<_>, Vec<_>) = items.into_iter().unzip();
            (format!("[ {} ]", texts.join(" ,\n")), secrets.concat())
        });
        let names = prop_oneof![4 => "[a-h/~]{1,4}", 1 => "(db_password|apiKey|client-secret)"];
        let record =
            proptest::collection::btree_map(names, (inner, "S[a-z0-9]{16}"), 0..5).prop_map(move |members| {
                let mut secrets = Vec::new();
                let members = members.into_iter().map(|(name, ((value, of_value), word))| {
                    secrets.extend(of_value);
                    // Here it is the name alone that gives the secret away.
                    let value = if name.len() > 5 {
                        secrets.push(word.clone());
                        format!("{{\"any\":[{value},\"{word}\"]}}")
                    } else {
                        value
                    };
                    format!("{} : {value}", serde_json::to_string(&name).expect("JSON"))
                });
                let text = members.collect::<Vec<_>>().join(", ");
                (format!("{{{text}}}"), secrets)
            });
        prop_oneof![list, record]
    })
}

/// All of a value but what these pointers lead to.
fn without(json: &str, pointers: &[String]) -> Value {
    let mut value: Value = serde_json::from_str(json).expect("JSON");
    for pointer in pointers {
        *value.pointer_mut(pointer).expect("it is there") = Value::Null;
    }
    value
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let redacted = redact(&bytes);
        if serde_json::from_slice::<Value>(&bytes).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&redacted.kept).is_ok());
        }
    }

    #[test]
    fn no_text_is_too_strange(text in "[-a-zA-Z0-9@.:=\"\\\\ /_é\u{1f600}{}]{0,200}") {
        let json = serde_json::to_string(&text).expect("JSON");
        let redacted = redact(json.as_bytes());
        prop_assert!(serde_json::from_slice::<String>(&redacted.kept).is_ok());
        prop_assert_eq!(&*redact(&redacted.kept).kept, &*redacted.kept, "twice is as once");
    }

    #[test]
    fn nothing_planted_survives_and_everything_else_does((json, secrets) in planted()) {
        let redacted = redact(json.as_bytes());
        let kept = std::str::from_utf8(&redacted.kept).expect("text");
        let value: Value = serde_json::from_str(kept).expect("JSON");
        let all = value.to_string() + &redacted.taken_out.concat();
        for secret in &secrets {
            let quoted = serde_json::to_string(secret).expect("JSON");
            prop_assert!(!all.contains(quoted.trim_matches('"')), "{secret} in {kept}");
        }
        prop_assert_eq!(without(&json, &redacted.taken_out), without(kept, &redacted.taken_out));
        if redacted.taken_out.is_empty() {
            prop_assert_eq!(kept, &json);
        } else {
            prop_assert!(!secrets.is_empty(), "{:?} of {json}", redacted.taken_out);
        }
    }

    #[test]
    fn numbers_keep_their_digits(number in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?([eE][+-]?[0-9]{1,4})?") {
        prop_assume!(!shapes::is_card(number.as_bytes()));
        let json = format!("{{\"a\": {number} ,\"password\":\"x\",\"b\":[{number}]}}");
        prop_assert_eq!(kept(&json), json.replace("\"x\"", "\"[redacted]\""));
    }
}
