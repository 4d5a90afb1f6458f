//! Every method that has an effect asks first, on what really leaves.

use serde_json::json;

use crate::rig::{World, server, toolset};
use crate::shop::Shop;

#[tokio::test]
async fn pinned_arguments_are_what_is_judged() {
    let shop = Shop::modern(&["read"]).await;
    let pinned = r#"permit(principal in Agent::"ann", action == Action::"shop__read", resource)
        when { context.input has path && context.input.path == "/pinned" };"#;
    let other = r#"permit(principal in Agent::"ann", action == Action::"shop__read", resource)
        when { context.input has path && context.input.path == "/other" };"#;
    let world = World::new(vec![server("shop", &shop)], vec![toolset("shop", "read", "look")], pinned).await;
    let kit = world.modern("ann", "/mcp/kit");
    let told = kit.call("look", json!({"path": "/other"})).await;
    assert_eq!(told.body["result"]["content"][0]["text"], r#"{"path":"/pinned"}"#);
    assert_eq!(
        world.modern("ann", "/mcp").call("shop__read", json!({"path": "/other"})).await.code(),
        "denied"
    );
    world.enforce(other).await.unwrap();
    assert_eq!(kit.call("look", json!({"path": "/other"})).await.code(), "denied");
    assert!(world.modern("ann", "/mcp").call("shop__read", json!({"path": "/other"})).await.is_ok());
}

#[tokio::test]
async fn a_look_alike_of_a_pinned_argument_goes_nowhere() {
    let shop = Shop::modern(&["read"]).await;
    let all = r#"permit(principal in Agent::"ann", action == Action::"shop__read", resource);"#;
    let world = World::new(vec![server("shop", &shop)], vec![toolset("shop", "read", "look")], all).await;
    let kit = world.modern("ann", "/mcp/kit");
    assert!(kit.call("look", json!({"path": "/other", "depth": 1})).await.is_ok());
    for name in ["Path", "PATH"] {
        assert_eq!(kit.call("look", json!({name: "/other"})).await.code(), "invalid_params", "{name}");
    }
}

#[tokio::test]
async fn nothing_leaves_that_no_policy_permits() {
    let shop = Shop::modern(&["open"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], "").await;
    // The gateway listens to it for itself, which it begins a moment after it has read its tools.
    crate::eventually(|| shop.is_heard().then_some(())).await;
    let learnt = shop.fake.seen.lock().unwrap().len();
    for modern in [true, false] {
        let bob = world.either(modern, "bob", "/mcp").await;
        for (method, params) in [
            ("tools/call", json!({"name": "shop__open", "arguments": {}})),
            ("prompts/get", json!({"name": "shop__greet"})),
            ("resources/read", json!({"uri": "shop://open"})),
            (
                "completion/complete",
                json!({"ref": {"type": "ref/prompt", "name": "shop__greet"}, "argument": {"name": "a", "value": ""}}),
            ),
            (
                "completion/complete",
                json!({"ref": {"type": "ref/resource", "uri": "shop://open"}, "argument": {"name": "a", "value": ""}}),
            ),
        ] {
            let told = bob.ask(method, params).await;
            assert!(told.code().starts_with("unknown_"), "{method}: {told:?}");
        }
        for method in ["tools/list", "prompts/list", "resources/list", "resources/templates/list"] {
            assert_eq!(bob.list(method).await, Vec::<String>::new(), "{method}");
        }
        if modern {
            let (_stream, granted) =
                bob.listen(json!({"toolsListChanged": true, "resourceSubscriptions": ["shop://open"]})).await;
            assert_eq!(granted, json!({"toolsListChanged": true}));
            let told = bob.ask("server/discover", json!({})).await;
            assert!(told.body["result"].get("instructions").is_none(), "{told:?}");
        } else {
            let told = bob.ask("resources/subscribe", json!({"uri": "shop://open"})).await;
            assert_eq!(told.code(), "unknown_resource", "{told:?}");
            assert!(bob.ask("logging/setLevel", json!({"level": "debug"})).await.is_ok());
        }
    }
    assert_eq!(shop.fake.seen.lock().unwrap().len(), learnt, "the server was asked something");
}

#[tokio::test]
async fn only_resources_that_may_be_read_are_heard_of_and_no_longer_than_they_may() {
    let shop = Shop::legacy(&["open"]).await;
    let both = r#"permit(principal in Agent::"ann", action == Action::"read", resource);"#;
    let one = r#"permit(principal in Agent::"ann", action == Action::"read", resource) when { context.input.uri == "shop://open" };"#;
    let world = World::new(vec![server("shop", &shop)], vec![], one).await;
    let ann = world.modern("ann", "/mcp");
    let wanted = json!({"resourceSubscriptions": ["shop://open", "shop://safe"]});
    let (_stream, granted) = ann.listen(wanted.clone()).await;
    assert_eq!(granted, json!({"resourceSubscriptions": ["shop://open"]}));
    world.enforce(both).await.unwrap();
    let (_stream, granted) = ann.listen(wanted.clone()).await;
    assert_eq!(granted, wanted);
}

#[tokio::test]
async fn a_call_that_was_decided_on_goes_on_while_the_policies_change() {
    let shop = Shop::modern(&["slow"]).await;
    let all = "permit(principal, action, resource);";
    let world = World::new(vec![server("shop", &shop)], vec![], all).await;
    shop.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    let caller = ann.clone();
    let under_way = tokio::spawn(async move { caller.call("shop__slow", json!({})).await });
    shop.fake.wait_for("tools/call").await;
    world.enforce("").await.unwrap();
    assert_eq!(ann.call("shop__slow", json!({})).await.code(), "unknown_tool");
    shop.set_awake(true);
    assert!(under_way.await.unwrap().is_ok());
    assert_eq!(shop.asked("tools/call"), 1);
}

#[tokio::test]
async fn a_filtered_list_is_its_readers_alone_and_otherwise_as_the_server_wrote_it() {
    let shop = Shop::modern(&["open", "secret"]).await;
    let policy = r#"permit(principal in Agent::"ann", action == Action::"shop__open", resource);"#;
    let world = World::new(vec![server("shop", &shop)], vec![], policy).await;
    for path in ["/mcp", "/mcp/shop"] {
        let told = world.modern("ann", path).ask("tools/list", json!({})).await;
        let result = &told.body["result"];
        assert_eq!(result["cacheScope"], "private", "{told:?}");
        assert_eq!(result["tools"].as_array().unwrap().len(), 1);
        assert_eq!(result["tools"][0]["x-own"], 1);
        let told = world.modern("ann", path).ask("server/discover", json!({})).await;
        assert_eq!(told.body["result"]["cacheScope"], "private");
    }
    let nobody = world.modern("bob", "/mcp").ask("tools/list", json!({})).await;
    assert_eq!(nobody.body["result"]["cacheScope"], "private", "what is empty for one is not for another");
}

#[tokio::test]
async fn a_task_may_be_followed_for_as_long_as_its_tool_may_be_used() {
    let shop = Shop::modern(&["later", "open"]).await;
    let permit = |tool: &str| {
        format!("permit(principal in Agent::\"ann\", action == Action::\"shop__{tool}\", resource);")
    };
    let world = World::new(vec![server("shop", &shop)], vec![], &permit("later")).await;
    for path in ["/mcp", "/mcp/shop"] {
        let ann = world.modern("ann", path);
        let name = if path == "/mcp" { "shop__later" } else { "later" };
        let made = ann.call(name, json!({})).await;
        let id =
            made.body["result"]["taskId"].as_str().unwrap_or_else(|| panic!("no task: {made:?}")).to_owned();
        let get = |id: String| ann.ask("tasks/get", json!({"taskId": id}));
        assert!(get(id.clone()).await.is_ok());
        world.enforce(&permit("open")).await.unwrap();
        let asked = shop.asked("tasks/get");
        let told = get(id.clone()).await;
        assert_eq!(told.code(), "unknown_task");
        assert_eq!(told.alike(&id), get("nonsuch".to_owned()).await.alike("nonsuch"));
        assert_eq!(shop.asked("tasks/get"), asked);
        world.enforce(&permit("later")).await.unwrap();
        assert!(get(id).await.is_ok());
    }
}
