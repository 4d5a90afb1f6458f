//! What guards find, take out and stop.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_guard::{
    Action, Beyond, Bound, Direction, FieldSettings, GuardSettings, Mode, Overlay, Override, Place, Rule,
    usual_of_arguments, usual_of_results,
};
use tollgate_model::{Glob, RecordLevel, Secret};
use tollgate_store::{Memory, Store};
use tollgate_upstream::ServerSettings;

use crate::book::Book;
use crate::fake::{Fake, event, events, greeting, json_answer, refusal, response, status};
use crate::rig::{Told, World, server};
use crate::shop::{Shop, tool};

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;
const TOKEN: &str = "ghp_0aB1cD2eF3gH4iJ5kL6mN7oP8qR9sT0uV1wX";

fn direction(acts: bool, usual: fn(Rule) -> Action, said: &[(Rule, Action)]) -> Direction {
    let usual = Rule::ALL.iter().filter(|rule| rule.is_default()).map(|rule| (*rule, usual(*rule)));
    Direction { acts, rules: usual.chain(said.iter().copied()).collect() }
}

fn results(acts: bool, said: &[(Rule, Action)]) -> GuardSettings {
    GuardSettings { results: Some(direction(acts, usual_of_results, said)), ..GuardSettings::default() }
}

#[tokio::test]
async fn what_a_server_answers_is_cleaned_and_on_record_without_itself() {
    for modern in [true, false] {
        let (book, shop) = (Book::keeping(RecordLevel::Digest), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let ann = world.either(modern, "ann", "/mcp").await;
        let arguments = json!({"path": format!("to ann@example.com, {TOKEN}")});
        let before = ann.call("shop__read", arguments.clone()).await;
        assert_eq!(before.body["result"]["content"][0]["text"], arguments.to_string());

        world.guard(results(true, &[(Rule::Email, Action::Partial)]));
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__read", arguments.clone()).await;
        assert_eq!(
            told.body["result"]["content"][0]["text"],
            json!({"path": "to a***@example.com, [redacted:git_token]"}).to_string()
        );
        let seen = shop.fake.seen("tools/call");
        assert_eq!(
            seen.last().unwrap().body["params"]["arguments"],
            arguments,
            "arguments leave as they are"
        );

        let entry: Value = book.entries().into_iter().rfind(|entry| entry["kind"] == "outcome").unwrap();
        assert_eq!(
            entry["detail"]["guard"],
            json!([
                {"rule": "personal.email", "severity": "medium", "confidence": 95, "action": "partial", "in": "result", "path": "/content/0/text"},
                {"rule": "secret.git_token", "severity": "high", "confidence": 97, "action": "mask", "in": "result", "path": "/content/0/text"},
            ])
        );
        assert!(!entry.to_string().contains("ann@") && !entry.to_string().contains("ghp_"), "{entry}");
    }
}

#[tokio::test]
async fn what_is_left_of_a_structured_result_fits_its_schema_or_is_left_out() {
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read", "free"]).await);
        let (mut read, mut free) = (tool("read"), tool("free"));
        read["outputSchema"] =
            json!({"type": "object", "properties": {"path": {"type": "string", "pattern": "^[a-z]+_"}}});
        free["outputSchema"] = json!({"type": "object", "properties": {"path": {"type": "string"}}});
        shop.sells(vec![read, free]).await;
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        world.guard(results(true, &[]));
        let ann = world.either(modern, "ann", "/mcp").await;
        ann.list("tools/list").await;

        let masked = json!({"path": "[redacted:git_token]"});
        let told = ann.call("shop__free", json!({"path": TOKEN})).await;
        assert_eq!(told.body["result"]["structuredContent"], masked, "{told:?}");
        assert_ne!(told.body["result"]["isError"], true, "{told:?}");
        let told = ann.call("shop__read", json!({"path": "some_path"})).await;
        assert_eq!(told.body["result"]["structuredContent"], json!({"path": "some_path"}), "{told:?}");

        // A client would take a success without its structured part, or with one that does not fit, for a fault of the server.
        let told = ann.call("shop__read", json!({"path": TOKEN})).await;
        let result = &told.body["result"];
        assert_eq!(
            (&result["structuredContent"], &result["isError"]),
            (&Value::Null, &json!(true)),
            "{told:?}"
        );
        assert_eq!(result["content"][0]["text"], masked.to_string());
        let said = result["content"][1]["text"].as_str().expect("a notice");
        assert!(said.contains("Left out by the gateway") && said.contains("output schema"), "{said}");
        assert!(!told.body.to_string().contains("ghp_"), "{told:?}");
    }
}

#[tokio::test]
async fn what_is_only_reported_passes_to_the_letter() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    world.guard(results(false, &[(Rule::Email, Action::Block)]));
    let arguments = json!({"path": "to ann@example.com"});
    let told = world.modern("ann", "/mcp").call("shop__read", arguments.clone()).await;
    assert_eq!(told.body["result"]["content"][0]["text"], arguments.to_string());
    let entry = book.entries().pop().unwrap();
    assert_eq!(entry["detail"]["guard"][0]["action"], "report");
}

#[tokio::test]
async fn a_result_that_may_not_pass_is_withheld_and_its_outcome_says_so() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    world.guard(results(true, &[(Rule::GitToken, Action::Block)]));
    let told = world.modern("ann", "/mcp").call("shop__read", json!({"path": TOKEN})).await;
    let refusal = told.refusal();
    assert_eq!(
        (&refusal["code"], &refusal["stage"], &refusal["source"], &refusal["retry"]),
        (&json!("guard_blocked"), &json!("guard"), &json!("guard"), &json!("never"))
    );
    assert!(!told.body.to_string().contains("ghp_"), "{told:?}");
    let entry = book.entries().pop().unwrap();
    assert_eq!(
        (&entry["kind"], &entry["outcome"], &entry["code"], &entry["detail"]["guard"][0]["rule"]),
        (&json!("outcome"), &json!("refused"), &json!("guard_blocked"), &json!("secret.git_token"))
    );
    assert_eq!(shop.asked("tools/call"), 1, "it was carried out");
}

/// It is looked at elsewhere, and nothing else is different.
#[tokio::test]
async fn a_large_result_is_cleaned_and_on_record_as_any_other() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    let path = |secret: &str| json!({"path": format!("{}{secret}", "word ".repeat(80_000))});
    for (action, expected) in [(Action::Mask, Some("[redacted:git_token]")), (Action::Block, None)] {
        world.guard(results(true, &[(Rule::GitToken, action)]));
        let told = world.modern("ann", "/mcp").call("shop__read", path(TOKEN)).await;
        match expected {
            Some(expected) => {
                assert_eq!(told.body["result"]["content"][0]["text"], path(expected).to_string());
            }
            None => assert_eq!(told.code(), "guard_blocked"),
        }
        let entry = book.entries().pop().unwrap();
        let found = entry["detail"]["guard"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["rule"]), (1, &json!("secret.git_token")));
        assert_eq!(found[0]["action"], action.as_str());
    }
}

#[tokio::test]
async fn large_arguments_are_cleaned_and_on_record_as_any_other() {
    let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
    let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
    let path = |secret: &str| format!("{}{secret}", "word ".repeat(80_000));
    for (action, expected) in [(Action::Mask, Some("[redacted:git_token]")), (Action::Block, None)] {
        let arguments = direction(true, usual_of_arguments, &[(Rule::GitToken, action)]);
        world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
        let told = world.modern("ann", "/mcp").call("shop__read", json!({"path": path(TOKEN)})).await;
        match expected {
            Some(expected) => {
                assert!(told.is_ok(), "it passes");
                let seen = shop.fake.seen("tools/call");
                assert_eq!(seen.last().unwrap().body["params"]["arguments"]["path"], path(expected));
            }
            None => assert_eq!(told.code(), "guard_blocked"),
        }
        // What leaves stands with the intent.
        let entries = book.entries();
        let entry = entries.iter().rfind(|entry| entry["detail"]["guard"].is_array()).unwrap();
        let found = entry["detail"]["guard"].as_array().unwrap();
        assert_eq!((found.len(), &found[0]["rule"]), (1, &json!("secret.git_token")));
        assert_eq!((&found[0]["action"], &found[0]["in"]), (&json!(action.as_str()), &json!("arguments")));
    }
    assert_eq!(shop.asked("tools/call"), 1);
}

#[tokio::test]
async fn a_secret_in_arguments_reaches_no_server() {
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let arguments = direction(true, usual_of_arguments, &[]);
        world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__read", json!({"path": format!("curl -H 'x: {TOKEN}'")})).await;
        assert_eq!(told.code(), "guard_blocked", "{told:?}");
        assert_eq!(shop.asked("tools/call"), 0);
        let entry = book.entries().pop().unwrap();
        assert_eq!((&entry["kind"], &entry["code"]), (&json!("refusal"), &json!("guard_blocked")));
        assert_eq!(
            (&entry["detail"]["guard"][0]["in"], &entry["detail"]["guard"][0]["path"]),
            (&json!("arguments"), &json!("/path"))
        );
        let told = ann.call("shop__read", json!({"path": "to ann@example.com"})).await;
        assert!(told.is_ok(), "personal data is what tools are called with: {told:?}");
    }
}

/// A caller may put what should not leave beside the arguments.
#[tokio::test]
async fn a_secret_beside_the_arguments_reaches_no_server_either() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["read"]).await;
        let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
        let arguments = direction(true, usual_of_arguments, &[(Rule::Email, Action::Mask)]);
        world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
        let ann = world.either(modern, "ann", "/mcp").await;
        for beside in [json!({"_meta": {"example.com/note": TOKEN}}), json!({"note": [TOKEN]})] {
            let mut params = json!({"name": "shop__read", "arguments": {"path": "x"}});
            params.as_object_mut().unwrap().extend(beside.as_object().unwrap().clone());
            let told = ann.ask("tools/call", params).await;
            assert_eq!(told.code(), "guard_blocked", "{told:?}");
        }
        assert_eq!(shop.asked("tools/call"), 0);

        let meta = json!({"example.com/by": "ann@example.com", "example.com/kept": "x"});
        let params = json!({"name": "shop__read", "arguments": {"path": "x"}, "_meta": meta});
        let told = ann.ask("tools/call", params).await;
        assert!(told.is_ok(), "{told:?}");
        let seen = shop.fake.seen("tools/call");
        let meta = &seen.last().unwrap().body["params"]["_meta"];
        assert_eq!(
            (&meta["example.com/by"], &meta["example.com/kept"]),
            (&json!("[redacted:email]"), &json!("x"))
        );

        // What is said beside a trace leaves as a header too.
        for (said, left, header) in
            [("by=x", "by=x", "by=x"), ("by=ann@example.com", "by=[redacted:email]", "")]
        {
            let meta = json!({"baggage": said});
            let params = json!({"name": "shop__read", "arguments": {"path": "x"}, "_meta": meta});
            assert!(ann.ask("tools/call", params).await.is_ok());
            let seen = shop.fake.seen("tools/call");
            let last = seen.last().unwrap();
            assert_eq!(last.body["params"]["_meta"]["baggage"], left);
            assert_eq!(last.header("baggage"), header);
        }
    }
}

/// To hear of a resource is to name it to its server.
#[tokio::test]
async fn a_secret_in_what_somebody_wants_to_hear_of_reaches_no_server() {
    let shop = Shop::legacy(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let arguments = direction(true, usual_of_arguments, &[]);
    world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
    let ann = world.legacy("ann", "/mcp/shop").await;
    let told = ann.ask("resources/subscribe", json!({"uri": format!("shop://open/{TOKEN}")})).await;
    assert_eq!(told.code(), "guard_blocked", "{told:?}");
    assert_eq!(shop.asked("resources/subscribe"), 0);
    assert!(ann.ask("resources/subscribe", json!({"uri": "shop://open"})).await.is_ok());
}

/// What policy hides is not even looked at: it answers as what does not exist.
#[tokio::test]
async fn what_policy_hides_no_guard_shows() {
    let shop = Shop::modern(&["read", "write"]).await;
    let text = r#"permit(principal in Agent::"ann", action == Action::"shop__read", resource);"#;
    let world = World::new(vec![server("shop", &shop)], vec![], text).await;
    let arguments = direction(true, usual_of_arguments, &[]);
    world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
    let told = world.modern("ann", "/mcp").call("shop__write", json!({"path": TOKEN})).await;
    assert_eq!(told.code(), "unknown_tool");
}

/// A server that says something while it works.
pub(crate) async fn talkative() -> (Fake, ServerSettings) {
    let fake = Fake::start(|request| async move {
        if request.rpc() != "tools/call" {
            return match request.rpc() {
                "initialize" => greeting(&request, "s", &json!({"tools": {}})),
                "tools/list" => json_answer(&response(&request, &json!({"tools": [tool("read")]}))),
                _ if request.method == http::Method::GET => status(405),
                _ if request.body["id"].is_null() => status(202),
                _ => refusal(
                    400,
                    &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
                ),
            };
        }
        let (stream, answer) = events();
        let token = &request.body["params"]["_meta"]["progressToken"];
        let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
            {"progressToken": token, "progress": 1, "message": format!("mail to ann@example.com {TOKEN}")}});
        stream.send(event(&progress)).await.unwrap();
        let result = response(&request, &json!({"content": [{"type": "text", "text": "done"}]}));
        stream.send(event(&result)).await.unwrap();
        answer
    })
    .await;
    let shop = tollgate_upstream::Transport::Http(tollgate_upstream::HttpSettings::new(fake.url()));
    let settings = ServerSettings::new(tollgate_model::ServerName::new("shop").unwrap(), shop);
    (fake, settings)
}

/// A client may show all of a message.
#[tokio::test]
async fn what_stands_beside_a_result_is_cleaned_too() {
    let fake = Fake::start(|request| async move {
        match request.rpc() {
            "initialize" => greeting(&request, "s", &json!({"tools": {}})),
            "tools/list" => {
                let mut list = response(&request, &json!({"tools": [tool("read")]}));
                list["x-note"] = TOKEN.into();
                json_answer(&list)
            }
            "tools/call" => {
                let mut answer = response(&request, &json!({"content": []}));
                answer["x-note"] = json!(["kept", TOKEN]);
                if request.body["params"]["arguments"]["path"] == "much" {
                    answer["x-much"] = "word ".repeat(60_000).into();
                }
                json_answer(&answer)
            }
            _ if request.method == http::Method::GET => status(405),
            _ if request.body["id"].is_null() => status(202),
            _ => refusal(
                400,
                &json!({"jsonrpc": "2.0", "id": request.body["id"], "error": {"code": -32601, "message": "?"}}),
            ),
        }
    })
    .await;
    let shop = tollgate_upstream::Transport::Http(tollgate_upstream::HttpSettings::new(fake.url()));
    let settings = ServerSettings::new(tollgate_model::ServerName::new("shop").unwrap(), shop);
    let world = World::new(vec![settings.clone()], vec![], ALL).await;
    let definitions = direction(true, usual_of_results, &[(Rule::GitToken, Action::Mask)]);
    world.guard(GuardSettings { definitions: Some(definitions), ..GuardSettings::default() });
    let told = world.either(false, "ann", "/mcp/shop").await.ask("tools/list", json!({})).await;
    assert!(told.is_ok() && !told.body.to_string().contains("ghp_"), "{told:?}");

    let world = World::new(vec![settings], vec![], ALL).await;
    for (action, expected) in [(Action::Mask, Some("[redacted:git_token]")), (Action::Block, None)] {
        world.guard(results(true, &[(Rule::GitToken, action)]));
        let ann = world.either(false, "ann", "/mcp").await;
        // Much is looked at elsewhere, and nothing else is different.
        for path in ["little", "much"] {
            let told = ann.call("shop__read", json!({"path": path})).await;
            assert!(!told.body.to_string().contains("ghp_"), "{path}: {told:?}");
            match expected {
                Some(expected) => assert_eq!(told.body["x-note"], json!(["kept", expected]), "{path}"),
                None => assert_eq!(told.code(), "guard_blocked", "{path}"),
            }
        }
    }
}

#[tokio::test]
async fn what_a_server_says_meanwhile_is_cleaned_or_lost() {
    for (action, expected) in [
        (Action::Mask, Some("mail to [redacted:email] [redacted:git_token]")),
        (Action::Report, Some("mail to ann@example.com [redacted:git_token]")),
        (Action::Block, None),
    ] {
        let (_fake, settings) = talkative().await;
        let world = World::new(vec![settings], vec![], ALL).await;
        world.guard(results(true, &[(Rule::Email, action)]));
        let ann = world.either(false, "ann", "/mcp").await;
        let params = json!({"name": "shop__read", "arguments": {}, "_meta": {"progressToken": "p"}});
        let response = ann.send(http::Method::POST, Some(("tools/call", params))).await;
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(text.contains("\"done\""), "{text}");
        match expected {
            Some(expected) => assert!(text.contains(expected), "{text}"),
            None => assert!(!text.contains("notifications/progress"), "{text}"),
        }
    }
}

/// It may be anything: whether it passes is for the operator to say, and it is on record either way.
#[tokio::test]
async fn what_is_too_large_to_be_looked_at_never_passes_in_silence() {
    let text = "x".repeat(2_000);
    for (acts, beyond, passes) in
        [(true, Beyond::Refuse, false), (true, Beyond::Report, true), (false, Beyond::Refuse, true)]
    {
        let (book, shop) = (Book::new(), Shop::modern(&["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], ALL, book.ledger.clone()).await;
        let ann = world.modern("ann", "/mcp");
        let bound = Bound { bytes_max: 1_024, beyond };
        let arguments = Some(direction(acts, usual_of_arguments, &[]));
        world.guard(GuardSettings { arguments, bound, ..GuardSettings::default() });
        let told = ann.call("shop__read", json!({"path": text})).await;
        assert_eq!((told.is_ok(), shop.asked("tools/call")), (passes, usize::from(passes)), "{told:?}");
        let found = |kind: &str| {
            let entry = book.entries().into_iter().rfind(|entry| entry["kind"] == kind).unwrap();
            let found = &entry["detail"]["guard"][0];
            (found["rule"].clone(), found["action"].clone(), found["in"].clone())
        };
        let action = if passes { "report" } else { "block" };
        let kind = if passes { "intent" } else { "refusal" };
        assert_eq!(found(kind), (json!("guard.too_large"), json!(action), json!("arguments")));

        world.guard(GuardSettings { bound, ..results(acts, &[]) });
        let told = ann.call("shop__read", json!({"path": text})).await;
        assert_eq!(told.is_ok(), passes, "{told:?}");
        assert_eq!(told.code(), if passes { "" } else { "guard_blocked" });
        assert_eq!(found("outcome"), (json!("guard.too_large"), json!(action), json!("result")));
        assert!(ann.call("shop__read", json!({"path": "small"})).await.is_ok());
    }
}

/// What a permit demands to be taken out is, whatever is configured, and for nobody else.
#[tokio::test]
async fn what_a_permit_demands_is_taken_out_whatever_is_configured() {
    let policy = r#"
        @redact("personal.email, secret") permit(principal in Agent::"ann", action, resource);
        permit(principal in Agent::"bob", action, resource);
    "#;
    let said = format!("ann@example.com 4111 1111 1111 1111 {TOKEN}");
    let arguments = json!({"path": said});
    for modern in [true, false] {
        let (book, shop) = (Book::keeping(RecordLevel::Digest), Shop::start(modern, &["read"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], policy, book.ledger.clone()).await;
        let text = |told: &Told| told.body["result"]["content"][0]["text"].as_str().unwrap().to_owned();
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = text(&ann.call("shop__read", arguments.clone()).await);
        let masked = json!({"path": "[redacted:email] 4111 1111 1111 1111 [redacted:git_token]"}).to_string();
        assert_eq!(told, masked, "nothing is configured");
        let entry: Value = book.entries().into_iter().rfind(|entry| entry["kind"] == "outcome").unwrap();
        assert_eq!(entry["detail"]["guard"][0]["rule"], "personal.email", "{entry}");
        let bob = world.either(modern, "bob", "/mcp").await;
        assert_eq!(text(&bob.call("shop__read", arguments.clone()).await), arguments.to_string());
        // What only reports does more for her, and what does more stays as it is.
        world.guard(results(false, &[]));
        assert_eq!(text(&ann.call("shop__read", arguments.clone()).await), masked);
        world.guard(results(true, &[(Rule::Email, Action::Partial), (Rule::Card, Action::Report)]));
        let told = text(&ann.call("shop__read", arguments.clone()).await);
        assert!(told.contains("a***@example.com 4111 1111 1111 1111 [redacted:git_token]"), "{told}");
    }
}

#[tokio::test]
async fn what_no_guard_knows_is_no_policy() {
    let shop = Shop::modern(&["read"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ALL).await;
    let text = r#"@redact("personal.emial") permit(principal in Agent::"ann", action, resource);"#;
    let wrong = world.enforce(text).await.unwrap_err();
    assert!(wrong[0].1.message.contains("`@redact` does not know `personal.emial`"), "{wrong:?}");
}

fn echoed(told: &Told) -> String {
    let text = told.body["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{told:?}"));
    let said: Value = serde_json::from_str(text).unwrap();
    said["path"].as_str().unwrap().to_owned()
}

fn over(server: &str, tool: Option<&str>) -> Override {
    let glob = |name: &str| vec![Glob::new(name)];
    Override { servers: glob(server), tools: tool.map(glob).unwrap_or_default(), ..Override::default() }
}

fn overlay(mode: Option<Mode>, rules: &[(Rule, Option<Action>)]) -> Overlay {
    Overlay { mode, rules: rules.iter().copied().collect() }
}

#[tokio::test]
async fn what_is_more_specific_holds() {
    let (shop, bank) = (Shop::modern(&["read", "read_all", "write"]).await, Shop::modern(&["read"]).await);
    let world = World::new(vec![server("shop", &shop), server("bank", &bank)], vec![], ALL).await;
    let email = |action| overlay(None, &[(Rule::Email, action)]);
    let settings = GuardSettings {
        overrides: vec![
            Override { results: email(None), ..over("shop", Some("read_*")) },
            Override { results: email(Some(Action::Strip)), ..over("shop", Some("write")) },
            Override { results: email(Some(Action::Partial)), ..over("shop", None) },
            Override {
                tenants: vec![Glob::new("acme")],
                results: overlay(Some(Mode::Off), &[]),
                ..Override::default()
            },
            Override {
                fields: vec![FieldSettings {
                    place: Place::Results,
                    path: "/content/*/text".to_owned(),
                    rules: [(Rule::Card, Some(Action::Strip)), (Rule::GitToken, None)].into(),
                }],
                ..over("bank", None)
            },
        ],
        ..results(true, &[])
    };
    world.guard(settings);
    let said = format!("ann@example.com,4111 1111 1111 1111,{TOKEN}");
    for modern in [true, false] {
        let ann = world.either(modern, "ann", "/mcp").await;
        for (tool, expected) in [
            ("shop__read", "a***@example.com,[redacted:card],[redacted:git_token]"),
            ("shop__read_all", "ann@example.com,[redacted:card],[redacted:git_token]"),
            ("shop__write", ",[redacted:card],[redacted:git_token]"),
            ("bank__read", &format!("[redacted:email],,{TOKEN}")),
        ] {
            assert_eq!(echoed(&ann.call(tool, json!({"path": said})).await), expected, "{tool}");
        }
    }
}

/// What leaves is what policy has decided on, and what is on record.
#[tokio::test]
async fn arguments_that_are_changed_are_decided_on_again() {
    let policy = r#"
        permit(principal in Agent::"ann", action, resource);
        @id("no-marks") forbid(principal, action == Action::"shop__write", resource)
            when { context.input has path && context.input.path like "*redacted*" };
    "#;
    for modern in [true, false] {
        let (book, shop) = (Book::keeping(RecordLevel::Full), Shop::start(modern, &["read", "write"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], policy, book.ledger.clone()).await;
        let arguments = direction(true, usual_of_arguments, &[(Rule::GitToken, Action::Mask)]);
        world.guard(GuardSettings { arguments: Some(arguments), ..GuardSettings::default() });
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__read", json!({"path": format!("use {TOKEN}"), "amount": 2})).await;
        assert_eq!(echoed(&told), "use [redacted:git_token]");
        let seen = shop.fake.seen("tools/call");
        assert_eq!(
            seen[0].body["params"]["arguments"],
            json!({"path": "use [redacted:git_token]", "amount": 2})
        );
        let intent = book.entries().into_iter().rfind(|entry| entry["kind"] == "intent").unwrap();
        assert_eq!(
            (&intent["detail"]["guard"][0]["action"], &intent["detail"]["guard"][0]["path"]),
            (&json!("mask"), &json!("/path"))
        );
        let kept = book.arguments(&intent).to_string();
        assert!(!kept.contains("ghp_") && kept.contains("[redacted:git_token]"), "{kept}");
        let told = ann.call("shop__write", json!({"path": format!("use {TOKEN}")})).await;
        assert_eq!(told.refusal()["policies"], json!(["no-marks"]), "{told:?}");
        assert_eq!(shop.asked("tools/call"), 1);
    }
}

#[tokio::test]
async fn names_stand_for_texts_and_become_them_again_for_whom_that_is_allowed() {
    let policy = r#"
        permit(principal, action, resource);
        @id("no-evil") forbid(principal, action == Action::"shop__send", resource)
            when { context.input has path && context.input.path like "*@evil.example*" };
    "#;
    for modern in [true, false] {
        let (book, shop) = (Book::new(), Shop::start(modern, &["read", "send"]).await);
        let world = World::recorded(vec![server("shop", &shop)], vec![], policy, book.ledger.clone()).await;
        world.guard(GuardSettings {
            overrides: vec![Override { restores: Some(true), ..over("shop", Some("send")) }],
            ..results(true, &[(Rule::Email, Action::Pseudonym)])
        });
        let ann = world.either(modern, "ann", "/mcp").await;
        let read =
            ann.call("shop__read", json!({"path": "ann@example.com x@evil.example ann@example.com"})).await;
        assert_eq!(echoed(&read), "<EMAIL_1> <EMAIL_2> <EMAIL_1>");
        let last =
            || shop.fake.seen("tools/call").last().unwrap().body["params"]["arguments"]["path"].clone();

        let sent = ann.call("shop__send", json!({"path": "to <EMAIL_1>, not <EMAIL_9>"})).await;
        assert_eq!(last(), "to ann@example.com, not <EMAIL_9>");
        // What nobody gave is no name, and gets one.
        assert_eq!(echoed(&sent), "to <EMAIL_1>, not <TEXT_1>");
        let intent = book.entries().into_iter().rfind(|entry| entry["kind"] == "intent").unwrap();
        assert_eq!(
            intent["detail"]["guard"][0],
            json!({"in": "arguments", "action": "restore", "name": "<EMAIL_1>"})
        );
        // A tool that may not have it gets the name, and so does whoever else uses it.
        ann.call("shop__read", json!({"path": "to <EMAIL_1>"})).await;
        assert_eq!(last(), "to <EMAIL_1>");
        let bob = world.either(modern, "bob", "/mcp").await;
        bob.call("shop__send", json!({"path": "to <EMAIL_1>"})).await;
        assert_eq!(last(), "to <EMAIL_1>");
        if !modern {
            let again = world.legacy("ann", "/mcp").await;
            again.call("shop__send", json!({"path": "to <EMAIL_1>"})).await;
            assert_eq!(last(), "to <EMAIL_1>", "another session");
        }
        // Policy judges what leaves.
        let asked = shop.asked("tools/call");
        let told = ann.call("shop__send", json!({"path": "to <EMAIL_2>"})).await;
        assert_eq!(told.refusal()["policies"], json!(["no-evil"]), "{told:?}");
        assert_eq!(shop.asked("tools/call"), asked);
        assert!(!told.body.to_string().contains("evil.example"), "{told:?}");
    }
}

/// Two gateways on one store, which have the same key: what one gave the other restores, for the same caller alone.
#[tokio::test]
async fn gateways_on_one_store_restore_what_the_others_gave() {
    let store: Arc<dyn Store> = Arc::new(Memory::default());
    let shop = Shop::modern(&["read", "send"]).await;
    let guards = |key: &str| GuardSettings {
        overrides: vec![Override { restores: Some(true), ..over("shop", Some("send")) }],
        pseudonym_key: Some(Secret::new(key.to_owned())),
        ..results(true, &[(Rule::Email, Action::Pseudonym)])
    };
    let start = async |key: &str| {
        let world =
            World::new(vec![server("shop", &shop)], vec![], "permit(principal, action, resource);").await;
        world.gateway.keep_pins(Some(Arc::clone(&store)));
        world.guard(guards(key));
        world
    };
    let key = "a key that both gateways have got";
    let (one, other) = (start(key).await, start(key).await);
    let last = || shop.fake.seen("tools/call").last().unwrap().body["params"]["arguments"]["path"].clone();
    let ann = (one.modern("ann", "/mcp"), other.modern("ann", "/mcp"));
    let read = ann.0.call("shop__read", json!({"path": "ann@example.com bob@example.com"})).await;
    assert_eq!(echoed(&read), "<EMAIL_1> <EMAIL_2>");
    ann.1.call("shop__send", json!({"path": "to <EMAIL_2>, not <EMAIL_3>"})).await;
    assert_eq!(last(), "to bob@example.com, not <EMAIL_3>");
    // The same text has the same name everywhere, and another one the next.
    let read = ann.1.call("shop__read", json!({"path": "eve@example.com ann@example.com"})).await;
    assert_eq!(echoed(&read), "<EMAIL_3> <EMAIL_1>");
    let read = ann.0.call("shop__read", json!({"path": "zoe@example.com eve@example.com"})).await;
    assert_eq!(echoed(&read), "<EMAIL_4> <EMAIL_3>", "the other gateway was quicker");
    // It outlives both.
    let later = start(key).await;
    later.modern("ann", "/mcp").call("shop__send", json!({"path": "to <EMAIL_4>"})).await;
    assert_eq!(last(), "to zoe@example.com");
    // To others it is a text, and so it is without the key, and where a session stays.
    other.modern("bob", "/mcp").call("shop__send", json!({"path": "to <EMAIL_1>"})).await;
    assert_eq!(last(), "to <EMAIL_1>");
    let stranger = start("another key, which is as long as that").await;
    stranger.modern("ann", "/mcp").call("shop__send", json!({"path": "to <EMAIL_1>"})).await;
    assert_eq!(last(), "to <EMAIL_1>");
    one.legacy("ann", "/mcp").await.call("shop__send", json!({"path": "to <EMAIL_1>"})).await;
    assert_eq!(last(), "to <EMAIL_1>");
}
