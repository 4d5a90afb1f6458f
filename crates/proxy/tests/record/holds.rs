//! What waits for people because a guard wants it, and what cannot wait and so does not pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_guard::outside::{
    ClassifierRule, ClassifierSettings, OutsideKind, OutsideSettings, PresidioSettings,
};
use tollgate_guard::{Action, Direction, GuardSettings, Rule};
use tollgate_model::Timestamp;
use tollgate_proxy::ProxySettings;
use tollgate_store::{ApprovalId, Memory, Standing, Store, Vote};

use crate::book::Book;
use crate::fake::Fake;
use crate::outside::{guard, settings, wherever};
use crate::rig::{Client, Told, World, server};
use crate::shop::Shop;

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;

/// A gateway before a shop, with a place where approvals are kept.
pub(crate) struct Held {
    pub(crate) shop: Shop,
    pub(crate) world: World,
    pub(crate) book: Book,
    store: Arc<dyn Store>,
}

impl Held {
    pub(crate) async fn new(policy: &str) -> Self {
        let (shop, book) = (Shop::modern(&["read"]).await, Book::new());
        let mut settings = ProxySettings::default();
        Arc::make_mut(&mut settings.approvals).wait = Duration::ZERO;
        let servers = vec![server("shop", &shop)];
        let world = World::with(settings, servers, vec![], policy, book.ledger.clone()).await;
        let store: Arc<dyn Store> = Arc::new(Memory::default());
        world.gateway.approve_in(Arc::clone(&store));
        Self { shop, world, book, store }
    }

    /// A client that cannot follow tasks: it is told to come back.
    pub(crate) async fn client(&self, modern: bool) -> Client {
        self.world.either(modern, "ann", "/mcp").await.able(json!({}))
    }

    /// How many calls have reached the shop.
    pub(crate) fn called(&self) -> usize {
        self.shop.asked("tools/call")
    }

    /// The rules by which a call waits. Somebody agrees to it then.
    pub(crate) async fn agree(&self, told: &Told) -> Vec<String> {
        assert_eq!(told.code(), "approval_required", "{told:?}");
        let id = ApprovalId::new(told.refusal()["approval"].as_str().unwrap());
        let waits = self.store.approval(&id).await.unwrap().unwrap();
        assert_eq!(waits.standing, Standing::Waiting);
        let groups: Vec<Arc<str>> = waits.needs.iter().map(|need| Arc::clone(&need.group)).collect();
        assert_eq!(groups, ["approvers".into()]);
        let (by, via, reason, at) = ("grace".into(), "test".into(), "".into(), Timestamp::now());
        let vote = Vote { by, via, agrees: true, groups, reason, at };
        let voted = self.store.vote_approval(&id, vote).await.unwrap();
        assert!(voted.is_ok(), "{voted:?}");
        waits.asked.rules.iter().map(ToString::to_string).collect()
    }
}

fn arguments(said: &[(Rule, Action)]) -> GuardSettings {
    let arguments = Direction { acts: true, rules: said.iter().copied().collect() };
    GuardSettings { arguments: Some(arguments), ..GuardSettings::default() }
}

/// Nobody can be asked about a completion: it is refused, and its server never hears what was typed.
#[tokio::test]
async fn what_would_be_held_of_a_completion_does_not_leave() {
    let held = Held::new(ALL).await;
    held.world.guard(arguments(&[(Rule::Email, Action::Hold)]));
    let complete = |value: &str, beside: &str| {
        json!({"ref": {"type": "ref/prompt", "name": "shop__greet"}, "argument": {"name": "who", "value": value},
               "context": {"arguments": {"beside": beside}}})
    };
    for modern in [true, false] {
        let ann = held.client(modern).await;
        for (value, beside) in [("ann@example.com", "x"), ("x", "ann@example.com")] {
            let before = held.shop.asked("completion/complete");
            let told = ann.ask("completion/complete", complete(value, beside)).await;
            assert_eq!(told.code(), "guard_blocked", "{told:?}");
            assert!(!told.body.to_string().contains("ann@"), "{told:?}");
            assert_eq!(held.shop.asked("completion/complete"), before);
            let entry = held.book.entries().pop().unwrap();
            assert_eq!((&entry["kind"], &entry["code"]), (&json!("refusal"), &json!("guard_blocked")));
            assert_eq!(entry["detail"]["guard"][0]["rule"], "personal.email", "{entry}");
        }
        assert!(ann.ask("completion/complete", complete("an", "x")).await.is_ok());
        // A call with the same waits, since people can be asked about it.
        let told = ann.call("shop__read", json!({"path": format!("to ann@example.com {modern}")})).await;
        assert_eq!(held.agree(&told).await, ["personal.email"]);
    }
}

/// Guards of each kind that hold what has `Ann` in it.
async fn outsiders() -> Vec<(Fake, OutsideSettings)> {
    let bare = guard(wherever("Ann", json!({"action": "hold", "reason": "names"}))).await;
    let presidio = guard(|asked: &Value| match asked["text"].as_str().unwrap().find("Ann") {
        Some(at) => json!([{"entity_type": "PERSON", "start": at, "end": at + 3, "score": 0.85}]),
        None => json!([]),
    })
    .await;
    let classifier = guard(|asked: &Value| {
        let of = |text: &Value| json!({"label": if text.as_str().unwrap().contains("Ann") { "NAME" } else { "NONE" }});
        Value::Array(asked["inputs"].as_array().unwrap().iter().map(of).collect())
    })
    .await;
    let analyzer = PresidioSettings {
        actions: BTreeMap::from([("PERSON".to_owned(), Some(Action::Hold))]),
        ..PresidioSettings::default()
    };
    let rule = ClassifierRule {
        name: "name".to_owned(),
        label: Some(("/label".to_owned(), "NAME".to_owned())),
        score: None,
        score_min: 0,
        action: Action::Hold,
    };
    let classes = ClassifierSettings {
        request: r#"{"inputs":"{{texts}}"}"#.to_owned(),
        items: String::new(),
        rules: vec![rule],
    };
    let kinds = [OutsideKind::Tollgate, OutsideKind::Presidio(analyzer), OutsideKind::Classifier(classes)];
    let all = [bare, presidio, classifier].into_iter().zip(kinds);
    all.map(|(fake, kind)| {
        let settings = OutsideSettings { kind, ..settings(&fake) };
        (fake, settings)
    })
    .collect()
}

#[tokio::test]
async fn arguments_that_a_guard_outside_holds_wait_for_people_whatever_its_kind() {
    for (_fake, outside) in outsiders().await {
        let kind = format!("{:?}", outside.kind);
        let held = Held::new(ALL).await;
        held.world.guard(GuardSettings {
            outside: vec![OutsideSettings { results: false, ..outside }],
            ..GuardSettings::default()
        });
        for modern in [true, false] {
            let before = held.called();
            let ann = held.client(modern).await;
            let call = json!({"path": format!("to Ann {modern}")});
            let told = ann.call("shop__read", call.clone()).await;
            assert_eq!(held.agree(&told).await, ["external.dlp"], "{kind}");
            assert_eq!(held.called(), before, "{kind}: nobody has agreed yet");
            let told = ann.call("shop__read", call.clone()).await;
            assert_eq!(told.body["result"]["content"][0]["text"], call.to_string(), "{kind}: {told:?}");
            assert_eq!(ann.call("shop__read", call).await.code(), "approval_required", "{kind}: once");
            assert!(ann.call("shop__read", json!({"path": "to nobody"})).await.is_ok(), "{kind}");
            assert_eq!(held.called(), before + 2, "{kind}");
        }
    }
}

/// A server has carried it out already: there is nothing to agree to any more.
#[tokio::test]
async fn results_that_a_guard_outside_holds_are_withheld_whatever_its_kind() {
    for (_fake, outside) in outsiders().await {
        let kind = format!("{:?}", outside.kind);
        let held = Held::new(ALL).await;
        held.world.guard(GuardSettings {
            outside: vec![OutsideSettings { arguments: false, ..outside }],
            ..GuardSettings::default()
        });
        for modern in [true, false] {
            let before = held.called();
            let ann = held.client(modern).await;
            let told = ann.call("shop__read", json!({"path": "to Ann"})).await;
            assert_eq!(told.code(), "guard_blocked", "{kind}: {told:?}");
            assert!(!told.body.to_string().contains("Ann"), "{kind}: {told:?}");
            assert_eq!(held.called(), before + 1, "{kind}: it was carried out");
            let entry = held.book.entries().pop().unwrap();
            let found = &entry["detail"]["guard"][0];
            assert_eq!((&found["action"], &found["in"]), (&json!("hold"), &json!("result")), "{kind}");
            assert!(ann.call("shop__read", json!({"path": "to nobody"})).await.is_ok(), "{kind}");
        }
    }
}

/// A completion has no arguments that anybody outside is shown, whatever stands beside what is completed.
#[tokio::test]
async fn nobody_is_asked_to_agree_to_a_completion() {
    let held = Held::new(ALL).await;
    let (_fake, outside) = outsiders().await.remove(0);
    let outside = vec![OutsideSettings { results: false, ..outside }];
    held.world.guard(GuardSettings { outside, ..GuardSettings::default() });
    let params = json!({"ref": {"type": "ref/prompt", "name": "shop__greet"},
        "argument": {"name": "who", "value": "a"}, "arguments": {"odd": "Ann"}});
    let told = held.client(true).await.ask("completion/complete", params).await;
    assert_eq!(told.code(), "guard_blocked", "{told:?}");
    assert_eq!(held.shop.asked("completion/complete"), 0);
}

/// What one guard changes and another one holds is decided on as it is left, and agreed to as it is left.
#[tokio::test]
async fn what_is_changed_and_held_is_agreed_to_as_it_leaves() {
    let policy = r#"permit(principal in Agent::"ann", action, resource);
        @id("no-marks") forbid(principal, action == Action::"shop__read", resource)
            when { context.input has path && context.input.path like "*evil*" };"#;
    let held = Held::new(policy).await;
    let changing = guard(|asked: &Value| {
        let of = |item: &Value| {
            let text = item["text"].as_str().unwrap().replace("Bob", "Ann").replace("bad", "evil");
            json!({"action": "mutate", "text": text})
        };
        json!({"items": asked["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()})
    })
    .await;
    let (_fake, holding) = outsiders().await.remove(0);
    let first = OutsideSettings { name: "first".to_owned(), results: false, ..settings(&changing) };
    let outside = vec![first, OutsideSettings { results: false, ..holding }];
    held.world.guard(GuardSettings { outside, ..GuardSettings::default() });
    let ann = held.client(true).await;
    let told = ann.call("shop__read", json!({"path": "Bob is bad"})).await;
    assert_eq!(
        told.refusal()["policies"],
        json!(["no-marks"]),
        "policy forbids what it has become: {told:?}"
    );
    let told = ann.call("shop__read", json!({"path": "to Bob"})).await;
    assert_eq!(held.agree(&told).await, ["external.dlp"]);
    let told = ann.call("shop__read", json!({"path": "to Bob"})).await;
    assert_eq!(told.body["result"]["content"][0]["text"], json!({"path": "to Ann"}).to_string(), "{told:?}");
    assert_eq!(held.called(), 1);
}

/// A permit that wants people to agree where something is found in what leaves, whatever is configured; nobody else's waits.
#[tokio::test]
async fn a_policy_has_arguments_wait_for_people_by_what_is_in_them() {
    let policy = r#"
        @hold("personal.email, secret") permit(principal in Agent::"ann", action, resource);
        permit(principal in Agent::"bob", action, resource);
    "#;
    for configured in [None, Some(Action::Report), Some(Action::Mask), Some(Action::Block)] {
        let held = Held::new(policy).await;
        if let Some(action) = configured {
            held.world.guard(arguments(&[(Rule::Email, action), (Rule::Card, Action::Report)]));
        }
        for modern in [true, false] {
            let before = held.called();
            let ann = held.client(modern).await;
            let call = json!({"path": format!("to ann@example.com {modern}, 4111 1111 1111 1111")});
            let told = ann.call("shop__read", call.clone()).await;
            match configured {
                Some(Action::Block) => assert_eq!(told.code(), "guard_blocked", "{told:?}"),
                // Nothing of it leaves that anybody would have to agree to.
                Some(Action::Mask) => assert!(told.is_ok(), "{told:?}"),
                _ => {
                    assert_eq!(held.agree(&told).await, ["personal.email"]);
                    assert_eq!(held.called(), before);
                    let is_told = |entry: &Value| entry["detail"]["guard"].is_array();
                    let entry = held.book.entries().into_iter().rfind(is_told).unwrap();
                    let found = &entry["detail"]["guard"];
                    let holds = found.as_array().unwrap().iter().filter(|one| one["action"] == "hold");
                    assert_eq!(holds.count(), 1, "it is told once: {found}");
                    let told = ann.call("shop__read", call.clone()).await;
                    assert_eq!(told.body["result"]["content"][0]["text"], call.to_string(), "{told:?}");
                }
            }
            assert!(ann.call("shop__read", json!({"path": "4111 1111 1111 1111"})).await.is_ok());
            let bob = held.world.either(modern, "bob", "/mcp").await.able(json!({}));
            let told = bob.call("shop__read", json!({"path": "to ann@example.com"})).await;
            assert_eq!(told.code(), if configured == Some(Action::Block) { "guard_blocked" } else { "" });
            // Nobody can be asked about what is completed.
            let params = json!({"ref": {"type": "ref/prompt", "name": "shop__greet"},
                "argument": {"name": "who", "value": "ann@example.com"}});
            let told = ann.ask("completion/complete", params.clone()).await;
            let masks = configured == Some(Action::Mask);
            assert_eq!(told.code(), if masks { "" } else { "guard_blocked" }, "{told:?}");
            if configured != Some(Action::Block) {
                assert!(bob.ask("completion/complete", params).await.is_ok());
            }
            // Nor is another resource read than was asked for.
            let told = ann.ask("resources/read", json!({"uri": "shop://open/ann@example.com"})).await;
            assert_eq!(
                told.code(),
                if configured.is_some_and(|action| action != Action::Report) {
                    "guard_blocked"
                } else {
                    "approval_required"
                }
            );
        }
    }
}

/// What is pinned leaves too, and so does what guards outside have made of arguments.
#[tokio::test]
async fn a_policy_looks_at_what_leaves_in_the_end() {
    let policy = r#"@hold("personal.email") permit(principal in Agent::"ann", action, resource);"#;
    let held = Held::new(policy).await;
    let changing = guard(|asked: &Value| {
        let of = |item: &Value| {
            let text = item["text"].as_str().unwrap().replace("her", "ann@example.com");
            json!({"action": "mutate", "text": text})
        };
        json!({"items": asked["items"].as_array().unwrap().iter().map(of).collect::<Vec<_>>()})
    })
    .await;
    let outside = vec![OutsideSettings { results: false, ..settings(&changing) }];
    held.world.guard(GuardSettings { outside, ..GuardSettings::default() });
    let ann = held.client(true).await;
    assert!(ann.call("shop__read", json!({"path": "to him"})).await.is_ok());
    let told = ann.call("shop__read", json!({"path": "to her"})).await;
    assert_eq!(held.agree(&told).await, ["personal.email"]);
    let told = ann.call("shop__read", json!({"path": "to her"})).await;
    assert_eq!(told.body["result"]["content"][0]["text"], json!({"path": "to ann@example.com"}).to_string());
}

/// Policies that come meanwhile are kept too, and what no guard looks for is no policy.
#[tokio::test]
async fn what_a_policy_comes_to_demand_holds_what_waits_already() {
    let held = Held::new(ALL).await;
    let ann = held.client(true).await;
    let call = json!({"path": "to ann@example.com"});
    held.world.guard(arguments(&[(Rule::Email, Action::Hold)]));
    assert_eq!(held.agree(&ann.call("shop__read", call.clone()).await).await, ["personal.email"]);
    held.world.guard(GuardSettings::default());
    let demands = r#"@hold("pii") permit(principal in Agent::"ann", action, resource);"#;
    held.world.enforce(demands).await.unwrap();
    let told = ann.call("shop__read", call.clone()).await;
    assert_eq!(held.agree(&told).await, ["personal.email"], "what was agreed to was under other policies");
    assert!(ann.call("shop__read", call).await.is_ok());
    let text = r#"@hold("personal.emial") permit(principal in Agent::"ann", action, resource);"#;
    let wrong = held.world.enforce(text).await.unwrap_err();
    assert!(wrong[0].1.message.contains("`@hold` does not know `personal.emial`"), "{wrong:?}");
    let text = r#"@hold("pii") forbid(principal in Agent::"ann", action, resource);"#;
    let wrong = held.world.enforce(text).await.unwrap_err();
    assert!(wrong[0].1.message.contains("stands only on permits"), "{wrong:?}");
}
