//! Servers with several replicas, of which each keeps its own tasks and its own state of what it asks.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_ledger::Ledger;
use tollgate_limits::Glob;
use tollgate_model::ServerName;
use tollgate_proxy::{Gateway, Handling, ProxySettings, Setup, ToolHandling};
use tollgate_upstream::{HttpSettings, ReplicaSettings, RetrySettings, ServerSettings, Transport};

use crate::book::Book;
use crate::fake::{Answer, Fake, Seen, discovery, json_answer, response, status, text};
use crate::rig::Client;

/// A replica. `slow` becomes a task that only it knows, `ask` asks for another round, which only it can answer.
async fn replica(name: &'static str) -> Fake {
    let made = Arc::new(AtomicUsize::new(0));
    Fake::start(move |request: Seen| {
        let made = Arc::clone(&made);
        async move { answer(&request, name, &made) }
    })
    .await
}

fn answer(request: &Seen, name: &str, made: &AtomicUsize) -> Answer {
    let params = &request.body["params"];
    let task = |kind: &str, id: &str| {
        json_answer(&response(
            request,
            &json!({"resultType": kind, "taskId": id, "status": "working", "ttlMs": 60000,
                    "createdAt": "2026-01-01T00:00:00Z", "lastUpdatedAt": "2026-01-01T00:00:00Z"}),
        ))
    };
    match (request.rpc(), request.tool()) {
        ("server/discover", _) => discovery(request),
        ("tools/call", "slow") => task("task", &format!("{name}-{}", made.fetch_add(1, Ordering::SeqCst))),
        ("tasks/get", _) if params["taskId"].as_str().unwrap().starts_with(name) => {
            task("complete", params["taskId"].as_str().unwrap())
        }
        ("tools/call", "ask") if params["requestState"].is_null() => {
            json_answer(&response(request, &json!({"resultType": "input_required", "requestState": name})))
        }
        ("tools/call", "ask") if params["requestState"] == name => json_answer(&text(request, name)),
        ("tools/call", "read") if name == "a" => status(502),
        ("tools/call", "who" | "read") => json_answer(&text(request, name)),
        _ => json_answer(&json!({"jsonrpc": "2.0", "id": request.body["id"],
                                 "error": {"code": -32602, "message": "unknown"}})),
    }
}

fn gateway(replicas: &[Fake], ledger: Option<Ledger>) -> Gateway {
    let places = replicas.iter().map(|fake| ReplicaSettings::new(fake.url())).collect();
    let transport = Transport::Http(HttpSettings::of(places).unwrap());
    let mut server = ServerSettings::new(ServerName::new("one").unwrap(), transport);
    server.circuit.failures_max = u32::MAX;
    server.circuit.outliers = None;
    server.retries = RetrySettings {
        percent: 100,
        wait_min: Duration::from_millis(1),
        wait_max: Duration::from_millis(1),
        ..RetrySettings::default()
    };
    let read = ToolHandling { read_only: Some(true), ..ToolHandling::default() };
    let handling = Handling { tools: vec![(Glob::new("read"), read)], ..Handling::default() };
    let handling = HashMap::from([(server.id(), Arc::new(handling))]);
    let settings = ProxySettings { handling, ..ProxySettings::default() };
    let setup = Setup::new(settings, vec![server], Vec::new());
    let ledger = ledger.unwrap_or_else(|| setup.ledger.clone());
    Gateway::new(Setup { ledger, ..setup }).unwrap()
}

async fn two() -> [Fake; 2] {
    [replica("a").await, replica("b").await]
}

/// How often each was asked this.
fn asked(replicas: &[Fake; 2], method: &str) -> [usize; 2] {
    [0, 1].map(|number| replicas[number].seen(method).len())
}

#[tokio::test]
async fn a_task_is_asked_for_where_it_runs() {
    let replicas = two().await;
    let gateway = gateway(&replicas, None);
    let client = Client::with_tasks(&gateway, "/mcp/one");
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(client.call("slow").await.result()["taskId"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        assert_eq!(client.task("tasks/get", id).await.result()["taskId"], *id);
    }
    let made = asked(&replicas, "tools/call");
    assert!(made.iter().all(|made| *made > 0), "{made:?}");
    assert_eq!(asked(&replicas, "tasks/get"), made);
}

#[tokio::test]
async fn the_next_round_goes_to_the_replica_that_asked_for_it() {
    let replicas = two().await;
    let gateway = gateway(&replicas, None);
    let modern = Client::modern(&gateway, "/mcp/one", json!({}));
    for _ in 0..20 {
        let paused = modern.call("ask").await;
        let state = paused.result()["requestState"].as_str().unwrap().to_owned();
        let again = json!({"name": "ask", "arguments": {}, "requestState": state});
        let told = modern.ask("tools/call", again).await;
        assert!(["a", "b"].contains(&told.text()), "{told:?}");
    }
    assert!(asked(&replicas, "tools/call").iter().all(|asked| *asked > 0));
    // For a legacy client the gateway makes the rounds.
    let (legacy, _) = Client::legacy(&gateway, "/mcp/one", "2025-11-25", json!({})).await;
    for _ in 0..8 {
        assert!(["a", "b"].contains(&legacy.call("ask").await.text()));
    }
}

#[tokio::test]
async fn what_failed_on_one_replica_is_tried_on_another() {
    let replicas = two().await;
    let gateway = gateway(&replicas, None);
    let client = Client::modern(&gateway, "/mcp/one", json!({}));
    for _ in 0..40 {
        assert_eq!(client.call("read").await.text(), "b");
    }
    let [failed, answered] = asked(&replicas, "tools/call");
    assert_eq!(answered, 40);
    assert!((1..=40).contains(&failed), "{failed}: no call goes twice to the one that failed it");
}

#[tokio::test]
async fn it_is_on_record_which_replica_was_asked() {
    let (book, replicas) = (Book::new(), two().await);
    let gateway = gateway(&replicas, Some(book.ledger.clone()));
    let client = Client::modern(&gateway, "/mcp/one", json!({}));
    let mut names = Vec::new();
    for _ in 0..10 {
        let name = client.call("who").await.text().to_owned();
        let number = usize::from(name == "b");
        names.push(Value::from(replicas[number].address.to_string()));
    }
    let entries = book.entries();
    let intents = entries.iter().filter(|entry| entry["kind"] == "intent");
    assert_eq!(intents.map(|entry| entry["replica"].clone()).collect::<Vec<_>>(), names);
}
