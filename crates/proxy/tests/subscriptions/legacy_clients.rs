//! `resources/subscribe` in front of servers of either era.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_proxy::ProxySettings;

use crate::eventually;
use crate::rig::{Legacy, gateway, servers, setup};
use crate::servers::Watched;

fn updated(uri: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
           "params": {"uri": uri, "x-own": 1}})
}

#[tokio::test]
async fn a_legacy_servers_updates_reach_the_session_that_asked_and_no_other() {
    let server = Watched::legacy(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let (client, other) = (Legacy::new(&gateway, "/mcp/one").await, Legacy::new(&gateway, "/mcp/one").await);
    let (mut stream, mut elsewhere) = (client.stream().await, other.stream().await);
    client.subscribe("a:1").await;
    client.subscribe("a:1").await;
    assert_eq!(server.fake.seen("resources/subscribe").len(), 1);
    eventually(|| (server.filters().len() == 2).then_some(())).await;
    server.touch("a:1").await;
    server.tell("notifications/tools/list_changed", json!({})).await;
    assert_eq!(stream.some().await, updated("a:1"));
    assert_eq!(stream.some().await["method"], "notifications/tools/list_changed");
    assert_eq!(elsewhere.some().await["method"], "notifications/tools/list_changed");

    assert_eq!(client.ask("resources/unsubscribe", "a:1").await["result"], json!({}));
    server.fake.wait_for("resources/unsubscribe").await;
    server.touch("a:1").await;
    server.tell("notifications/message", json!({"level": "info", "data": 1})).await;
    assert_eq!(stream.some().await["method"], "notifications/message", "not subscribed any more");
}

#[tokio::test]
async fn a_modern_server_is_listened_to_for_the_session() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let client = Legacy::new(&gateway, "/mcp/one").await;
    let mut stream = client.stream().await;
    client.subscribe("a:1").await;
    server.is_asked(&json!([{"resourceSubscriptions": ["a:1"], "toolsListChanged": true}])).await;
    server.touch("a:1").await;
    let told = stream.some().await;
    assert_eq!(
        (&told["method"], &told["params"]["uri"]),
        (&json!("notifications/resources/updated"), &json!("a:1"))
    );
    assert_eq!(
        told["params"]["_meta"],
        json!({}),
        "the gateway's own subscription is nobody else's business"
    );
    client.leave().await;
    assert_eq!(stream.next().await, None);
    server.is_asked(&json!([{"toolsListChanged": true}])).await;
}

#[tokio::test]
async fn a_refused_subscription_says_why() {
    let (legacy, modern) = (Watched::legacy(&["a:1", "a:secret"]).await, Watched::modern(&["b:1"]).await);
    let plain = Watched::plain(&["p:1"]).await;
    let gateway = gateway([("legacy", &legacy), ("modern", &modern), ("plain", &plain)]);
    let ask = async |path, uri| {
        let client = Legacy::new(&gateway, path).await;
        client.ask("resources/subscribe", uri).await["error"].clone()
    };
    let refused = ask("/mcp/legacy", "a:secret").await;
    assert_eq!(refused, json!({"code": -32042, "message": "no", "data": 1.50}), "the server's own words");
    assert_eq!(ask("/mcp/modern", "a:secret").await["code"], -32002);
    assert_eq!(ask("/mcp/plain", "p:1").await["code"], -32601);
    assert_eq!(ask("/mcp", "q:1").await["code"], -32002);
    assert_eq!(ask("/mcp", "p:1").await["code"], -32601);
}

#[tokio::test]
async fn subscriptions_survive_a_reload_and_are_bounded() {
    let (old, new) = (Watched::legacy(&["a:1"]).await, Watched::modern(&["a:1"]).await);
    let gateway = gateway([("one", &old)]);
    let settings = || ProxySettings { subscriptions_max: 1, ..ProxySettings::default() };
    gateway.apply(setup(settings(), servers([("one", &old)])), Duration::ZERO).unwrap();
    let client = Legacy::new(&gateway, "/mcp/one").await;
    let mut stream = client.stream().await;
    client.subscribe("a:1").await;
    assert!(client.ask("resources/subscribe", "a:2").await["error"]["code"].is_i64());
    let endless = format!("a:{}", "x".repeat(8192));
    assert_eq!(client.ask("resources/subscribe", &endless).await["error"]["code"], -32602);
    gateway.apply(setup(settings(), servers([("one", &new)])), Duration::ZERO).unwrap();
    let mut told = Vec::new();
    while told.last() != Some(&json!("notifications/resources/updated")) {
        told.push(stream.some().await["method"].clone());
    }
    new.touch("a:1").await;
    while stream.some().await["params"]["x-own"] != 1 {}
}
