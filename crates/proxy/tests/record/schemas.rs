//! Arguments and results that do not fit what their tool declares.

use serde_json::{Value, json};
use tollgate_proxy::{ProxySettings, SchemaMode, SchemaSettings, UnknownMembers};

use crate::book::Book;
use crate::rig::{Client, World, server, toolset};
use crate::shop::{Shop, tool};

const ALL: &str = r#"permit(principal in Agent::"ann", action, resource);"#;
const STRICT: SchemaSettings = SchemaSettings {
    arguments: Some(SchemaMode::Strict),
    results: Some(SchemaMode::Strict),
    unknown_members: None,
};

struct Checked {
    book: Book,
    world: World,
}

impl Checked {
    async fn new(shop: &Shop, schemas: SchemaSettings, policy: &str) -> Self {
        let (book, settings) = (Book::new(), ProxySettings { schemas, ..ProxySettings::default() });
        let kits = vec![toolset("shop", "pay", "settle")];
        let world =
            World::with(settings, vec![server("shop", shop)], kits, policy, book.ledger.clone()).await;
        Self { book, world }
    }

    /// What is on record of the last call.
    fn last(&self) -> Value {
        self.book.entries().pop().unwrap()
    }
}

/// The text of a tool that failed.
async fn failure(client: &Client, tool: &str, arguments: Value) -> String {
    let told = client.call(tool, arguments).await;
    let result = &told.body["result"];
    assert_eq!((told.status, &result["isError"]), (200, &json!(true)), "{told:?}");
    assert_eq!(result["resultType"] == "complete", client.modern, "{told:?}");
    result["content"][0]["text"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_model_is_told_what_does_not_fit_and_the_tool_is_not_called() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["pay"]).await;
        let checked = Checked::new(&shop, STRICT, ALL).await;
        let ann = checked.world.either(modern, "ann", "/mcp").await;
        let said = failure(&ann, "shop__pay", json!({"path": 7, "amount": "s3cr3t"})).await;
        assert!(said.contains("/path: ") && said.contains("/amount: ") && said.contains("integer"), "{said}");
        assert!(!said.contains("s3cr3t"), "{said}");
        assert_eq!(shop.asked("tools/call"), 0);
        let entry = checked.last();
        assert_eq!(
            (&entry["code"], &entry["kind"]),
            (&json!("invalid_arguments"), &json!("refusal")),
            "{entry}"
        );
        let found = entry["detail"]["guard"].as_array().unwrap();
        assert!(
            found.iter().any(|one| one["rule"] == "schema.type"
                && one["path"] == "/amount"
                && one["action"] == "refuse"),
            "{entry}"
        );
        assert!(ann.call("shop__pay", json!({"path": "a", "amount": 7})).await.is_ok());
    }
}

/// What is pinned counts as if the client had sent it.
#[tokio::test]
async fn arguments_are_checked_as_they_leave() {
    let shop = Shop::modern(&["pay"]).await;
    let mut needs = tool("pay");
    needs["inputSchema"]["required"] = json!(["path"]);
    shop.sells(vec![needs]).await;
    let checked = Checked::new(&shop, STRICT, ALL).await;
    let told = checked.world.modern("ann", "/mcp/kit").call("settle", json!({"amount": 1})).await;
    assert!(told.is_ok() && told.body["result"]["isError"].is_null(), "{told:?}");
    let said = failure(&checked.world.modern("ann", "/mcp"), "shop__pay", json!({"amount": 1})).await;
    assert!(said.contains("path") && said.contains("required"), "{said}");
}

#[tokio::test]
async fn what_is_only_reported_passes() {
    let shop = Shop::modern(&["pay"]).await;
    let report = SchemaSettings { arguments: Some(SchemaMode::Report), ..SchemaSettings::default() };
    let checked = Checked::new(&shop, report, ALL).await;
    let told = checked.world.modern("ann", "/mcp").call("shop__pay", json!({"amount": "x"})).await;
    assert_eq!(told.body["result"]["content"][0]["text"], r#"{"amount":"x"}"#);
    let entries = checked.book.entries();
    let mut found = entries.iter().filter_map(|entry| entry["detail"]["guard"].as_array()).flatten();
    assert!(found.any(|one| one["action"] == "report" && one["rule"] == "schema.type"), "{entries:?}");
}

/// What the tool does not know is gone before policy has its last word, and nothing else of the arguments is another byte.
#[tokio::test]
async fn unknown_arguments_are_taken_out_and_policy_decides_on_the_rest() {
    let shop = Shop::modern(&["pay"]).await;
    let strip = SchemaSettings { unknown_members: Some(UnknownMembers::Strip), ..SchemaSettings::default() };
    let few = r#"permit(principal in Agent::"ann", action, resource) unless { context.input has amount && context.input.amount > 100 };"#;
    let checked = Checked::new(&shop, strip, few).await;
    let ann = checked.world.modern("ann", "/mcp");
    let told =
        ann.call("shop__pay", json!({"x": {"path": 1}, "path": "a\u{e9}", "amount": 10, "y": 2})).await;
    assert!(told.is_ok(), "{told:?}");
    let seen = shop.fake.seen("tools/call");
    assert_eq!(seen.last().unwrap().body["params"]["arguments"], json!({"path": "a\u{e9}", "amount": 10}));
    let entries = checked.book.entries();
    let intent = entries.iter().find(|entry| entry["kind"] == "intent").unwrap();
    assert_eq!(
        checked.book.arguments(intent),
        json!({"path": "a\u{e9}", "amount": 10}),
        "what left is on record"
    );
    assert_eq!(ann.call("shop__pay", json!({"amount": 1000, "y": 2})).await.code(), "denied");

    let refuse =
        SchemaSettings { unknown_members: Some(UnknownMembers::Refuse), ..SchemaSettings::default() };
    let checked = Checked::new(&shop, refuse, ALL).await;
    let ann = checked.world.modern("ann", "/mcp");
    let said = failure(&ann, "shop__pay", json!({"path": "a", "y": 2})).await;
    assert!(said.contains("/y: "), "{said}");
    assert!(ann.call("shop__pay", json!({"path": "a"})).await.is_ok());
}

#[tokio::test]
async fn a_result_that_its_tool_did_not_promise_is_withheld() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["pay", "plain"]).await;
        let mut promises = tool("pay");
        promises["outputSchema"] = json!({"type": "object", "properties": {"path": {"type": "string", "maxLength": 3}}, "required": ["path"]});
        shop.sells(vec![promises, tool("plain")]).await;
        let checked = Checked::new(&shop, STRICT, ALL).await;
        let ann = checked.world.either(modern, "ann", "/mcp").await;
        // The shop gives back what it got.
        assert!(ann.call("shop__pay", json!({"path": "abc"})).await.is_ok());
        let told = ann.call("shop__pay", json!({"path": "secret"})).await;
        assert_eq!(
            (told.code(), &told.refusal()["source"], &told.refusal()["retry"]),
            ("invalid_result", &json!("upstream"), &json!("unsafe"))
        );
        assert!(!told.body.to_string().contains("secret"), "{told:?}");
        assert!(ann.call("shop__plain", json!({"path": "secret"})).await.is_ok(), "it promises nothing");
        let found = checked.book.entries();
        let entry = found.iter().rfind(|entry| entry["code"] == "invalid_result").expect("on record");
        assert_eq!(entry["detail"]["guard"][0]["in"], "result");
    }
}

/// A schema that would take for ever is not used: strict refuses, and nothing hangs.
#[tokio::test]
async fn a_schema_of_a_hostile_server_costs_no_more_than_is_allowed() {
    let shop = Shop::modern(&["pay"]).await;
    let mut hostile = tool("pay");
    hostile["inputSchema"] = json!({"type": "object", "properties": {"path": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"anyOf": [
        {"properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["y"]}, {"properties": {"x": {"$ref": "#/$defs/a"}}, "required": ["z"]}]}}});
    shop.sells(vec![hostile]).await;
    let checked =
        Checked::new(&shop, STRICT, r#"permit(principal in Agent::"ann", action, resource);"#).await;
    let mut deep = json!({});
    for _ in 0..50 {
        deep = json!({ "x": deep });
    }
    let ann = checked.world.modern("ann", "/mcp");
    let started = std::time::Instant::now();
    let said = failure(&ann, "shop__pay", json!({ "path": deep })).await;
    assert!(said.contains("cannot be checked"), "{said}");
    assert!(started.elapsed() < crate::LONG);
}
