//! What connected clients are told when policies or tools change.

use serde_json::{Value, json};
use tollgate_policy::Mode;

use crate::eventually;
use crate::rig::{World, server};
use crate::shop::{Shop, tool};

const ANN: &str = r#"permit(principal in Agent::"ann", action == Action::"shop__open", resource);"#;
const ANN_AND_BOB: &str = r#"permit(principal in Agent::"ann", action == Action::"shop__open", resource);
    permit(principal in Agent::"bob", action == Action::"shop__open", resource);"#;

fn tools_changed(message: &Value) -> bool {
    message["method"] == "notifications/tools/list_changed"
}

#[tokio::test]
async fn an_edit_is_told_to_those_whose_view_changed_and_to_nobody_else() {
    let shop = Shop::modern(&["open", "secret"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ANN).await;
    let (ann, bob) = (world.legacy("ann", "/mcp").await, world.legacy("bob", "/mcp").await);
    let (mut of_ann, mut of_bob) = (ann.stream().await, bob.stream().await);
    let wanted = json!({"toolsListChanged": true});
    let (mut ann_listens, _) = world.modern("ann", "/mcp").listen(wanted.clone()).await;
    let (mut bob_listens, _) = world.modern("bob", "/mcp").listen(wanted).await;
    assert_eq!(bob.list("tools/list").await, Vec::<String>::new());
    world.enforce(ANN_AND_BOB).await.unwrap();
    assert!(tools_changed(&of_bob.some().await) && tools_changed(&bob_listens.some().await));
    assert_eq!(bob.list("tools/list").await, ["shop__open"]);
    // Ann is told of the next change alone: the first thing that she hears.
    world
        .enforce(&format!(
            "{ANN_AND_BOB} permit(principal in Agent::\"ann\", action == Action::\"get_prompt\", resource);"
        ))
        .await
        .unwrap();
    ann.list("prompts/list").await;
    world.enforce(ANN_AND_BOB).await.unwrap();
    assert_eq!(of_ann.some().await["method"], "notifications/prompts/list_changed");
    world.enforce("").await.unwrap();
    assert!(tools_changed(&ann_listens.some().await));
}

#[tokio::test]
async fn a_new_tool_is_known_before_anyone_is_told_of_it() {
    let shop = Shop::legacy(&["open"]).await;
    let policy = r#"permit(principal in Agent::"ann", action in Action::"server:shop", resource);
        permit(principal in Agent::"bob", action == Action::"shop__open", resource);"#;
    let world = World::new(vec![server("shop", &shop)], vec![], policy).await;
    let (ann, bob) = (world.legacy("ann", "/mcp").await, world.legacy("bob", "/mcp").await);
    let (mut of_ann, mut of_bob) = (ann.stream().await, bob.stream().await);
    eventually(|| shop.is_heard().then_some(())).await;
    shop.sells(vec![tool("open"), tool("fresh")]).await;
    assert!(tools_changed(&of_ann.some().await));
    assert_eq!(ann.list("tools/list").await, ["shop__open", "shop__fresh"]);
    assert!(ann.call("shop__fresh", json!({})).await.is_ok());
    // What changed is hidden from Bob: the next thing that he hears of is what he sees.
    shop.sells(vec![tool("fresh")]).await;
    assert!(tools_changed(&of_bob.some().await));
    assert_eq!(bob.list("tools/list").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_tool_that_changed_makes_its_permits_inert_and_its_forbids_total() {
    let shop = Shop::legacy(&["pay", "open"]).await;
    let policy = r#"@id("small") permit(principal in Agent::"ann", action == Action::"shop__pay", resource)
            when { context.input has amount && context.input.amount < 10 };
        @id("all") permit(principal in Agent::"bob", action, resource);
        @id("big") forbid(principal in Agent::"bob", action == Action::"shop__pay", resource)
            when { context.input has amount && context.input.amount > 10 };"#;
    let world = World::new(vec![server("shop", &shop)], vec![], policy).await;
    let (ann, bob) = (world.legacy("ann", "/mcp").await, world.legacy("bob", "/mcp").await);
    let mut of_ann = ann.stream().await;
    assert!(ann.call("shop__pay", json!({"amount": 1})).await.is_ok());
    assert!(bob.call("shop__pay", json!({"amount": 1})).await.is_ok());
    eventually(|| shop.is_heard().then_some(())).await;
    let renamed =
        json!({"name": "pay", "inputSchema": {"type": "object", "properties": {"sum": {"type": "integer"}}}});
    shop.sells(vec![renamed, tool("open")]).await;
    assert!(tools_changed(&of_ann.some().await));
    // Until the policies are compiled again, the old ones decide.
    for (client, arguments) in [(&ann, json!({"amount": 1})), (&bob, json!({"sum": 1}))] {
        let refused = async {
            while client.call("shop__pay", arguments.clone()).await.is_ok() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(crate::LONG, refused).await.expect("a refusal");
    }
    assert!(bob.call("shop__open", json!({})).await.is_ok());
    // The same text as a new one is refused.
    let findings = world.enforce(policy).await.unwrap_err();
    assert!(findings.iter().any(|(_, finding)| finding.message.contains("amount")), "{findings:?}");
}

#[tokio::test]
async fn a_bad_text_leaves_what_holds_as_it_is() {
    let shop = Shop::modern(&["open"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ANN).await;
    let misspelt = r#"permit(principal, action == Action::"shop__opne", resource);"#;
    let findings = world.enforce(misspelt).await.unwrap_err();
    let (_, finding) = &findings[0];
    assert_eq!((&*finding.path, finding.line), ("test.cedar", 1));
    assert!(finding.suggestion.as_deref().unwrap_or_default().contains("shop__open"), "{finding:?}");
    assert!(world.modern("ann", "/mcp").call("shop__open", json!({})).await.is_ok());
    // Once accepted, it would only be inert.
    let compiled =
        world.gateway.compile(crate::rig::settings(misspelt), &world.setup, |_| Mode::Accepted).await;
    assert!(compiled.is_ok());
}

/// A legacy server says it in each of its sessions, and each of them may be shown something else.
#[tokio::test]
async fn what_a_server_says_in_many_sessions_at_once_is_told_in_all_of_them() {
    let shop = Shop::legacy(&["open"]).await;
    let world = World::new(vec![server("shop", &shop)], vec![], ANN_AND_BOB).await;
    let mut streams = Vec::new();
    for nth in 0..16 {
        let client = world.legacy(["ann", "bob"][nth % 2], "/mcp").await;
        assert_eq!(client.list("tools/list").await, ["shop__open"]);
        streams.push(client.stream().await);
    }
    // The gateway listens for itself too.
    eventually(|| (shop.listeners() > streams.len()).then_some(())).await;
    shop.sells(vec![tool("open")]).await;
    for stream in &mut streams {
        assert!(tools_changed(&stream.some().await));
    }
}
