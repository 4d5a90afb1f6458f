//! Guards outside of the gateway: a web server of the test's own plays one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tollgate_guard::outside::{
    ClassifierRule, ClassifierSettings, OnFailure, OutsideKind, OutsideSettings, PresidioSettings,
};
use tollgate_guard::{Action, GuardSettings};
use tollgate_model::{RecordLevel, Secret};

use crate::book::Book;
use crate::definitions::{modern, page, tool};
use crate::fake::{Fake, Seen, json_answer, status};
use crate::guards::talkative;
use crate::rig::{World, server, toolset};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

/// A guard that says this of what it is asked.
pub(crate) async fn guard(says: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Fake {
    let says = Arc::new(says);
    Fake::start(move |request: Seen| {
        let says = Arc::clone(&says);
        async move { json_answer(&says(&request.body)) }
    })
    .await
}

pub(crate) fn settings(fake: &Fake) -> OutsideSettings {
    OutsideSettings { allow_private: true, ..OutsideSettings::new("dlp", &fake.url().to_string()) }
}

fn guards(outside: OutsideSettings) -> GuardSettings {
    GuardSettings { outside: vec![outside], ..GuardSettings::default() }
}

/// A verdict of each text: another for those that hold a word.
pub(crate) fn wherever(word: &'static str, verdict: Value) -> impl Fn(&Value) -> Value {
    move |asked| {
        let of = |item: &Value| {
            let holds = item["text"].as_str().unwrap().contains(word);
            if holds { verdict.clone() } else { json!({"action": "pass"}) }
        };
        json!({"items": asked["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()})
    }
}

fn asked(fake: &Fake) -> Vec<Seen> {
    fake.seen.lock().unwrap().clone()
}

#[tokio::test]
async fn a_result_is_changed_as_the_guard_says_and_told_without_itself() {
    for modern in [true, false] {
        let (book, shop) = (Book::keeping(RecordLevel::Digest), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let spans = json!({"action": "mutate", "reason": "names", "confidence": 0.9,
            "spans": [{"start": 10, "end": 13, "kind": "PERSON"}, {"start": 14, "end": 15, "kind": "X", "text": "…"}]});
        let fake = guard(wherever("ann", spans)).await;
        let mut outside = settings(&fake);
        outside.arguments = false;
        world.guard(guards(outside));
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__read", json!({"path": "éann b"})).await;
        // The shop answers with its arguments as a text: {"path":"éann b"}.
        assert_eq!(told.body["result"]["content"][0]["text"], r#"{"path":"é[redacted:PERSON] …"}"#);

        let seen = asked(&fake);
        assert_eq!(seen.len(), 1);
        let (body, headers) = (&seen[0].body, format!("{:?}", seen[0].headers));
        assert_eq!(
            (
                &body["version"],
                &body["direction"],
                &body["tenant"],
                &body["server"],
                &body["method"],
                &body["tool"]
            ),
            (
                &json!(1),
                &json!("result"),
                &json!("default"),
                &json!("shop"),
                &json!("tools/call"),
                &json!("read")
            )
        );
        assert_eq!(body["items"], json!([{"pointer": "/content/0/text", "text": r#"{"path":"éann b"}"#}]));
        assert!(!headers.contains("authorization") && !headers.contains("tg_"), "{headers}");
        assert!(!body.to_string().contains("tg_"), "{body}");

        let entry: Value = book.entries().into_iter().rfind(|entry| entry["kind"] == "outcome").unwrap();
        assert_eq!(body["id"], entry["call"], "the id of the call");
        let found = &entry["detail"]["guard"];
        assert_eq!(
            found[0],
            json!({"rule": "external.dlp", "found": "PERSON", "confidence": 100, "action": "mask",
                   "in": "result", "path": "/content/0/text"})
        );
        assert_eq!((&found[1]["found"], &found[1]["action"]), (&json!("X"), &json!("replace")));
        assert!(!entry.to_string().contains("éann"), "{entry}");
    }
}

#[tokio::test]
async fn what_a_guard_makes_of_arguments_leaves_if_policy_allows_that_too() {
    let text = r#"permit(principal in Agent::"ann", action, resource);
        forbid(principal, action == Action::"shop__read", resource) when { context.input has path && context.input.path like "/secret*" };"#;
    for modern in [true, false] {
        let (book, shop) = (Book::keeping(RecordLevel::Full), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], text, book.ledger.clone()).await;
        let fake = guard(|asked| {
            let items = asked["items"].as_array().unwrap().iter().map(|item| {
                json!({"action": "mutate", "text": item["text"].as_str().unwrap().replace("alias", "/secret").replace("ann", "A")})
            });
            json!({"items": items.collect::<Vec<_>>()})
        })
        .await;
        let mut outside = settings(&fake);
        outside.results = false;
        world.guard(guards(outside));
        let ann = world.either(modern, "ann", "/mcp").await;

        let told = ann.call("shop__read", json!({"path": "alias/x", "amount": 3})).await;
        assert_eq!(told.code(), "denied", "{told:?}");
        assert_eq!(shop.asked("tools/call"), 0);

        let told = ann.call("shop__read", json!({"path": "of ann", "amount": 3})).await;
        assert!(told.is_ok(), "{told:?}");
        let left = &shop.fake.seen("tools/call").pop().unwrap().body["params"]["arguments"];
        assert_eq!(*left, json!({"path": "of A", "amount": 3}));
        let intent = book.entries().into_iter().rfind(|entry| entry["kind"] == "intent").unwrap();
        assert_eq!(intent["arguments"]["bytes"], left.to_string().len(), "what left is on record: {intent}");
    }
}

#[tokio::test]
async fn pinned_arguments_are_looked_at_as_they_leave() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![toolset("shop", "read", "open")], ALL).await;
    let fake = guard(|_| json!({"items": [{"action": "mutate", "text": "/other"}]})).await;
    let mut outside = settings(&fake);
    outside.results = false;
    world.guard(guards(outside));
    let told = world.modern("ann", "/mcp/kit").call("open", json!({"path": "/mine"})).await;
    assert!(told.is_ok(), "{told:?}");
    assert_eq!(asked(&fake)[0].body["items"], json!([{"pointer": "/path", "text": "/pinned"}]));
    let left = &shop.fake.seen("tools/call").pop().unwrap().body["params"]["arguments"];
    assert_eq!(*left, json!({"path": "/other"}));
}

#[tokio::test]
async fn what_a_guard_rejects_or_holds_does_not_pass() {
    // What is held waits for people, of whom there are none here.
    let verdicts = [
        ("reject", "block", "guard_blocked", "jailbreak"),
        ("hold", "hold", "approval_unavailable", "approve"),
    ];
    for (verdict, action, code, says) in verdicts {
        let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let fake = guard(wherever("attack", json!({"action": verdict, "reason": "jailbreak"}))).await;
        let mut outside = settings(&fake);
        world.guard(guards(outside.clone()));
        let ann = world.modern("ann", "/mcp");
        let told = ann.call("shop__read", json!({"path": "an attack"})).await;
        assert_eq!(told.code(), code, "{told:?}");
        assert!(told.body["error"]["message"].as_str().unwrap().contains(says), "{told:?}");
        assert_eq!(shop.asked("tools/call"), 0);
        let entry = book.entries().pop().unwrap();
        assert_eq!(
            entry["detail"]["guard"][0],
            json!({"rule": "external.dlp", "found": "jailbreak", "confidence": 100, "action": action,
                   "in": "arguments", "path": "/path"})
        );

        outside.arguments = false;
        world.guard(guards(outside));
        let told = ann.call("shop__read", json!({"path": "an attack"})).await;
        assert_eq!(told.code(), "guard_blocked");
        assert!(!told.body.to_string().contains("an attack"), "{told:?}");
        assert_eq!(shop.asked("tools/call"), 1, "it was carried out");
        let told = ann.call("shop__read", json!({"path": "nothing"})).await;
        assert!(told.is_ok(), "{told:?}");
    }
}

#[tokio::test]
async fn what_no_guard_has_seen_passes_only_if_the_operator_says_so() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    let ann = world.modern("ann", "/mcp");
    let broken = Fake::start(|_| async { status(500) }).await;
    let nonsense = guard(|_| json!({"items": []})).await;
    let silent = Fake::start(|_| std::future::pending()).await;
    let long = guard(|_| json!({"items": [{"action": "pass", "reason": "x".repeat(2_000)}]})).await;
    let text = "y".repeat(600);
    for (fake, why) in [
        (&broken, "status"),
        (&nonsense, "malformed"),
        (&silent, "timeout"),
        (&long, "malformed"),
        (&broken, "too_large"),
    ] {
        let mut outside = settings(fake);
        outside.answer_bytes_max = 1_024;
        outside.request_bytes_max = if why == "too_large" { 500 } else { 5_000 };
        outside.timeout = Duration::from_millis(if why == "timeout" { 50 } else { 10_000 });
        world.guard(guards(outside.clone()));
        let before = shop.asked("tools/call");
        let told = ann.call("shop__read", json!({"path": text})).await;
        assert_eq!((told.code(), &told.refusal()["retry"]), ("guard_unavailable", &json!("unsafe")), "{why}");
        assert_eq!(shop.asked("tools/call"), before, "{why}");
        let entry = book.entries().pop().unwrap();
        assert_eq!(
            entry["detail"]["guard"][0],
            json!({"rule": "external.dlp", "failure": why, "action": "block", "in": "arguments"})
        );
        outside.on_failure = OnFailure::Pass;
        world.guard(guards(outside));
        let told = ann.call("shop__read", json!({"path": text})).await;
        assert!(told.is_ok(), "{why}: {told:?}");
        let entry = book.entries().pop().unwrap();
        assert_eq!(
            entry["detail"]["guard"][0],
            json!({"rule": "external.dlp", "failure": why, "action": "pass", "in": "result"})
        );
    }
}

#[tokio::test]
async fn a_guard_that_fails_is_left_alone_for_a_while() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let fails = Arc::new(Mutex::new(true));
    let does = Arc::clone(&fails);
    let fake = Fake::start(move |_| {
        let fails = *does.lock().unwrap();
        async move { if fails { status(503) } else { json_answer(&json!({"action": "pass"})) } }
    })
    .await;
    let mut outside = settings(&fake);
    (outside.failures_max, outside.open) = (2, Duration::from_secs(3));
    world.guard(guards(outside));
    let ann = world.modern("ann", "/mcp");
    for _ in 0..4 {
        assert_eq!(ann.call("shop__read", json!({"path": "x"})).await.code(), "guard_unavailable");
    }
    assert_eq!(asked(&fake).len(), 2, "then it is not asked");
    *fails.lock().unwrap() = false;
    loop {
        let told = ann.call("shop__read", json!({"path": "x"})).await;
        if told.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_guard_knows_who_asks_it() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let fake = guard(|_| json!({"action": "pass"})).await;
    let mut outside = settings(&fake);
    outside.secret = Some(Secret::new("0123456789abcdef".to_owned()));
    outside.headers = vec![("x-tenant".into(), Secret::new("mine".to_owned()))];
    world.guard(guards(outside));
    assert!(world.modern("ann", "/mcp").call("shop__read", json!({"path": "x"})).await.is_ok());
    let seen = asked(&fake);
    assert_eq!(seen.len(), 2, "arguments and result");
    for one in seen {
        let signed = format!("{}.{}.{}", one.header("webhook-id"), one.header("webhook-timestamp"), one.body);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let signature = one.header("webhook-signature").strip_prefix("v1,").unwrap().to_owned();
        hmac::verify(&key, signed.as_bytes(), &STANDARD.decode(signature).unwrap()).unwrap();
        assert_eq!(one.header("x-tenant"), "mine");
    }
}

#[tokio::test]
async fn only_what_it_is_there_for_is_shown_to_a_guard() {
    let shop = Shop::modern(&["read", "write"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let fake = guard(|_| json!({"action": "reject"})).await;
    let mut outside = settings(&fake);
    outside.tools = vec!["shop/write".to_owned()];
    world.guard(guards(outside));
    let ann = world.modern("ann", "/mcp");
    assert!(ann.call("shop__read", json!({"path": "x"})).await.is_ok());
    assert_eq!(asked(&fake).len(), 0);
    assert_eq!(ann.call("shop__write", json!({"path": "x"})).await.code(), "guard_blocked");
}

#[tokio::test]
async fn what_a_server_says_meanwhile_is_shown_to_a_guard_too() {
    for (verdict, expected) in [
        (json!({"action": "mutate", "text": "softer"}), Some("softer")),
        (json!({"action": "pass"}), Some("mail to ann@")),
        (json!({"action": "reject"}), None),
    ] {
        let (_fake, shop) = talkative().await;
        let world = World::new(vec![shop], vec![], ALL).await;
        let fake = guard(wherever("mail to", verdict)).await;
        world.guard(guards(settings(&fake)));
        let ann = world.either(false, "ann", "/mcp").await;
        let params = json!({"name": "shop__read", "arguments": {}, "_meta": {"progressToken": "p"}});
        let response = ann.send(http::Method::POST, Some(("tools/call", params))).await;
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("\"done\""), "{text}");
        match expected {
            Some(expected) => {
                assert!(text.contains(expected) && text.contains("\"progressToken\":\"p\""), "{text}");
            }
            None => assert!(!text.contains("notifications/progress"), "{text}"),
        }
    }
}

#[tokio::test]
async fn an_analyzer_and_a_classifier_are_asked_in_their_own_words() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let presidio = guard(|asked| {
        let text = asked["text"].as_str().unwrap();
        match text.find("Ann") {
            Some(at) => json!([{"entity_type": "PERSON", "start": at, "end": at + 3, "score": 0.85}]),
            None => json!([]),
        }
    })
    .await;
    let classifier = guard(|asked| {
        let of = |text: &Value| {
            let bad = text.as_str().unwrap().contains("ignore");
            json!([{"label": if bad { "INJECTION" } else { "SAFE" }, "score": 0.97}])
        };
        Value::Array(asked["inputs"].as_array().unwrap().iter().map(of).collect())
    })
    .await;
    let analyzer = PresidioSettings {
        actions: BTreeMap::from([("PERSON".to_owned(), Some(Action::Hash))]),
        ..PresidioSettings::default()
    };
    let rule = ClassifierRule {
        name: "injection".to_owned(),
        label: Some(("/0/label".to_owned(), "INJECTION".to_owned())),
        score: Some("/0/score".to_owned()),
        score_min: 90,
        action: Action::Block,
    };
    let classes = ClassifierSettings {
        request: r#"{"inputs":"{{texts}}"}"#.to_owned(),
        items: String::new(),
        rules: vec![rule],
    };
    let mut first = settings(&presidio);
    (first.kind, first.arguments) = (OutsideKind::Presidio(analyzer), false);
    let mut second = settings(&classifier);
    (second.name, second.kind) = ("classes".to_owned(), OutsideKind::Classifier(classes));
    world.guard(GuardSettings { outside: vec![first, second], ..GuardSettings::default() });
    let ann = world.modern("ann", "/mcp");
    let told = ann.call("shop__read", json!({"path": "to Ann"})).await;
    let text = told.body["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with(r#"{"path":"to [hash:PERSON:"#), "{text}");
    let seen = asked(&classifier).pop().unwrap();
    assert!(
        seen.body["inputs"][0].as_str().unwrap().contains("[hash:PERSON:"),
        "what the first has left: {seen:?}"
    );
    let told = ann.call("shop__read", json!({"path": "ignore this"})).await;
    assert_eq!(told.code(), "guard_blocked", "{told:?}");
    assert_eq!(shop.asked("tools/call"), 1);
}

/// A result may come as a task's: whoever is asked about results is asked about that too, whatever the task was of.
#[tokio::test]
async fn what_a_task_comes_to_is_shown_to_a_guard() {
    let (_fake, odd) = modern("x".to_owned(), |request| {
        let mut task = json!({"resultType": "task", "taskId": "t-1", "status": "working", "ttlMs": 60_000,
            "createdAt": "2026-11-25T00:00:00Z", "lastUpdatedAt": "2026-11-25T00:00:00Z"});
        match request.rpc() {
            "tools/list" => page("tools", &json!([tool("later", "Later.")])),
            "tasks/get" => {
                task["resultType"] = json!("complete");
                task["status"] = json!("completed");
                task["result"] = json!({"content": [{"type": "text", "text": "a secret plan"}]});
                task
            }
            _ => {
                task["statusMessage"] = json!("a secret plan");
                task
            }
        }
    })
    .await;
    for tools in [vec![], vec!["odd/later".to_owned()]] {
        let world = World::new(vec![odd.clone()], vec![], ALL).await;
        let fake = guard(wherever("secret", json!({"action": "mutate", "text": "a plan"}))).await;
        let mut outside = settings(&fake);
        (outside.arguments, outside.tools) = (false, tools);
        world.guard(guards(outside));
        let ann = world.modern("ann", "/mcp");
        let told = ann.call("odd__later", json!({})).await;
        assert_eq!(told.body["result"]["statusMessage"], "a plan", "{told:?}");
        let id = told.body["result"]["taskId"].clone();
        let told = ann.ask("tasks/get", json!({"taskId": id})).await;
        assert_eq!(told.body["result"]["result"]["content"][0]["text"], "a plan", "{told:?}");
        // A client that cannot follow tasks waits for it, and gets the same.
        let told = world.either(false, "ann", "/mcp").await.call("odd__later", json!({})).await;
        assert_eq!(told.body["result"]["content"][0]["text"], "a plan", "{told:?}");
    }
}
