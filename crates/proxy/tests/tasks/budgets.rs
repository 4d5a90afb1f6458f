//! What tasks give in the end is paid for as what calls give at once.

use std::sync::Arc;

use serde_json::{Value, json};
use tollgate_limits::{About, Bound, Every, Glob, LimitSettings, Rule, Unit};
use tollgate_proxy::Gateway;

use crate::fake::Fake;
use crate::rig::{Answer, Client, limited};
use crate::servers::{self, Tasks};

/// So many tokens for the tool `slow`.
fn gateway(server: &Fake, allowed: u64) -> Gateway {
    let bound =
        Bound::Budget { allowed, of: Unit::Tokens, every: Every::Month, warn_at: None, is_soft: false };
    let about = About { tool: vec![Glob::new("slow")], ..About::default() };
    let rule = Rule { name: Arc::from("tokens"), plan: None, per: Vec::new(), about, bound };
    limited([("one", server)], LimitSettings { rules: vec![rule], ..LimitSettings::default() })
}

fn result() -> Value {
    json!({"content": [{"type": "text", "text": "word ".repeat(2000)}]})
}

async fn call(client: &Client) -> Answer {
    let called = tokio::time::timeout(crate::LONG, client.call("slow")).await;
    called.expect("it is refused, and no task is made of it")
}

fn is_exhausted(answer: &Answer) -> bool {
    answer.response["error"]["data"]["dev.tollgate/refusal"]["code"] == "budget_exhausted"
}

#[tokio::test]
async fn a_task_that_the_gateway_follows_is_paid_for() {
    let tasks = Tasks::default();
    let server = servers::modern(tasks.clone()).await;
    let gateway = gateway(&server, 1000);
    let (client, _) = Client::legacy(&gateway, "/mcp/one", "2025-06-18", json!({})).await;
    let waiting = tokio::spawn({
        let client = client.clone();
        async move { client.call("slow").await }
    });
    crate::eventually(|| tasks.get("native-1")).await;
    tasks.set("native-1", json!({"status": "completed", "result": result()}));
    assert_eq!(*waiting.await.unwrap().result(), result());
    assert!(is_exhausted(&call(&client).await));
}

#[tokio::test]
async fn a_task_that_its_client_follows_is_paid_for_when_its_result_is_fetched() {
    // The result of the older server is a few words: it takes some of them.
    for (is_modern, allowed, fetches) in [(true, 1000, 1), (false, 150, 15)] {
        let tasks = Tasks::default();
        let server = if is_modern {
            servers::modern(tasks.clone()).await
        } else {
            servers::legacy(tasks.clone()).await
        };
        let gateway = gateway(&server, allowed);
        let client = Client::with_tasks(&gateway, "/mcp/one");
        let created = client.call("slow").await;
        let id = created.result()["taskId"].as_str().unwrap().to_owned();
        assert_eq!(client.task("tasks/get", &id).await.result()["status"], "working", "which costs nothing");
        tasks.set("native-1", json!({"status": "completed", "result": result()}));
        for _ in 0..fetches {
            assert_eq!(client.task("tasks/get", &id).await.result()["status"], "completed");
        }
        assert!(is_exhausted(&call(&client).await), "modern: {is_modern}");
        assert_eq!(server.seen("tools/call").len(), 1);
    }
}
