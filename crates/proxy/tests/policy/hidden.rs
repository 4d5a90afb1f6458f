//! What is hidden is as good as not there, and what is refused says why.

use serde_json::json;

use crate::rig::{World, server, toolset};
use crate::shop::Shop;

const POLICY: &str = r#"
    @id("ann-opens") permit(principal in Agent::"ann", action == Action::"shop__open", resource);
    @id("ann-pays") permit(principal in Agent::"ann", action == Action::"shop__pay", resource)
        when { context.input has amount && context.input.amount < 100 };
    @id("never-burn") @reason("it cannot be undone") forbid(principal, action == Action::"shop__burn", resource);
    @id("eve-all") permit(principal in Agent::"eve", action, resource);
    @id("ann-greets") permit(principal in Agent::"ann", action == Action::"get_prompt", resource == Prompt::"shop__greet");
    @id("ann-reads") permit(principal in Agent::"ann", action == Action::"read", resource in Server::"shop") when { context.input.uri like "shop://open*" };
"#;

async fn world() -> (World, Shop, Shop) {
    let shop = Shop::modern(&["open", "pay", "burn", "secret"]).await;
    let back = Shop::legacy(&["ledger"]).await;
    let servers = vec![server("shop", &shop), server("back", &back)];
    let world = World::new(servers, vec![toolset("shop", "secret", "sesame")], POLICY).await;
    (world, shop, back)
}

#[tokio::test]
async fn a_hidden_tool_answers_as_an_unknown_one_everywhere_and_no_server_is_asked() {
    let (world, shop, back) = world().await;
    for modern in [true, false] {
        for (path, hidden, unknown) in [
            ("/mcp", "shop__secret", "shop__nonsuch"),
            ("/mcp", "back__ledger", "noshop__ledger"),
            ("/mcp", "secret", "nonsuch"),
            ("/mcp/shop", "secret", "nonsuch"),
            ("/mcp/shop", "burn", "nonsuch"),
        ] {
            let ann = world.either(modern, "ann", path).await;
            let calls = || shop.asked("tools/call") + back.asked("tools/call") + back.asked("tools/list");
            let before = calls();
            let hidden_told = ann.call(hidden, json!({"amount": 1})).await;
            let unknown_told = ann.call(unknown, json!({"amount": 1})).await;
            assert_eq!(hidden_told.code(), "unknown_tool", "{path} {hidden}: {hidden_told:?}");
            assert_eq!(hidden_told.alike(hidden), unknown_told.alike(unknown));
            assert_eq!(calls(), before, "a server was asked");
        }
        // Nobody is told of an endpoint of which they may use nothing.
        let ann = world.modern("ann", "/mcp/kit");
        let told = ann.call("sesame", json!({})).await;
        assert_eq!(told.code(), "unknown_endpoint");
        let nowhere = world.modern("ann", "/mcp/nowhere").call("sesame", json!({})).await;
        assert_eq!(told.alike("kit"), nowhere.alike("nowhere"));
        let back = world.modern("ann", "/mcp/back").ask("server/discover", json!({})).await;
        assert_eq!(back.code(), "unknown_endpoint");
        let eve = world.either(modern, "eve", "/mcp/kit").await;
        assert!(eve.call("sesame", json!({})).await.is_ok());
    }
}

#[tokio::test]
async fn hidden_prompts_and_resources_answer_as_unknown_ones() {
    let (world, _shop, _back) = world().await;
    for modern in [true, false] {
        for (path, prefix) in [("/mcp", "shop__"), ("/mcp/shop", "")] {
            let ann = world.either(modern, "ann", path).await;
            let get = |name: String| ann.ask("prompts/get", json!({"name": name}));
            assert!(get(format!("{prefix}greet")).await.is_ok());
            let hidden = get(format!("{prefix}insult")).await;
            assert_eq!(hidden.code(), "unknown_prompt");
            assert_eq!(hidden.alike("insult"), get(format!("{prefix}nonsuch")).await.alike("nonsuch"));
            let complete = |name: String| {
                let params = json!({"ref": {"type": "ref/prompt", "name": name}, "argument": {"name": "a", "value": ""}});
                ann.ask("completion/complete", params)
            };
            assert!(complete(format!("{prefix}greet")).await.is_ok());
            let hidden = complete(format!("{prefix}insult")).await;
            assert_eq!(hidden.code(), "unknown_prompt");
            assert_eq!(hidden.alike("insult"), complete(format!("{prefix}nonsuch")).await.alike("nonsuch"));
            let read = |uri: &str| ann.ask("resources/read", json!({"uri": uri}));
            assert!(read("shop://open").await.is_ok());
            assert!(read("shop://open/7").await.is_ok());
            let hidden = read("shop://safe").await;
            assert_eq!(hidden.code(), "unknown_resource");
            assert_eq!(hidden.alike("safe"), read("shop://nonsuch").await.alike("nonsuch"));
        }
    }
}

#[tokio::test]
async fn a_denial_says_which_rules_why_and_whether_other_arguments_could_help() {
    let (world, shop, _back) = world().await;
    for modern in [true, false] {
        let ann = world.either(modern, "ann", "/mcp").await;
        let told = ann.call("shop__pay", json!({"amount": 100})).await;
        assert_eq!((told.status, told.code()), (200, "denied"), "{told:?}");
        let refusal = told.refusal();
        assert_eq!(refusal["couldDiffer"], true);
        assert_eq!(refusal["policies"], json!([]));
        assert_eq!(refusal["requestId"].as_str().unwrap().len(), 26);
        assert!(ann.call("shop__pay", json!({"amount": 99})).await.is_ok());
        let eve = world.either(modern, "eve", "/mcp").await;
        let told = eve.call("shop__burn", json!({})).await;
        assert_eq!(told.code(), "unknown_tool", "no argument could ever be allowed");
    }
    assert_eq!(shop.asked("tools/call"), 2);
    // A forbid that reads arguments hides nothing, and says why.
    let some = r#"@id("all") permit(principal, action, resource);
        @id("big") @reason("too much") forbid(principal, action == Action::"shop__pay", resource)
            when { context.input has amount && context.input.amount > 5 };"#;
    world.enforce(some).await.unwrap();
    let told = world.modern("ann", "/mcp").call("shop__pay", json!({"amount": 6})).await;
    assert_eq!(told.refusal()["policies"], json!(["big"]));
    assert_eq!(told.refusal()["reasons"], json!(["too much"]));
    assert!(told.body["error"]["message"].as_str().unwrap().contains("too much"));
}

#[tokio::test]
async fn an_obligation_that_cannot_be_kept_denies() {
    let (world, shop, _back) = world().await;
    let policy = r#"@require_approval("leads") permit(principal, action == Action::"shop__open", resource);
        @redact("pii") permit(principal, action == Action::"shop__pay", resource);
        @record("full") permit(principal, action == Action::"shop__secret", resource);"#;
    world.enforce(policy).await.unwrap();
    let ann = world.modern("ann", "/mcp");
    let told = ann.call("shop__open", json!({})).await;
    assert_eq!(told.code(), "approval_unavailable", "nothing is kept that could be approved");
    assert!(told.body["error"]["message"].as_str().unwrap().contains("approve"), "{told:?}");
    assert_eq!(shop.asked("tools/call"), 0);
    assert!(ann.call("shop__pay", json!({})).await.is_ok(), "a guard takes out what has to be");
    assert!(ann.call("shop__secret", json!({})).await.is_ok());
}
