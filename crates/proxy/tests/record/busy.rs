//! Servers and gateways with as much to do as they can.

use std::time::Duration;

use serde_json::json;
use tollgate_ledger::Ledger;
use tollgate_proxy::{LoadSettings, ProxySettings};
use tollgate_upstream::{Limits, ServerSettings, Timeouts};

use crate::rig::{World, server};
use crate::shop::Shop;

const ALL: &str = "permit(principal, action, resource);";

fn narrow(shop: &Shop, queue_max: usize, queue: Duration) -> ServerSettings {
    let settings = server("shop", shop);
    let limits = Limits { concurrency_max: 1, queue_max, ..settings.limits.clone() };
    let timeouts = Timeouts { queue, ..settings.timeouts.clone() };
    ServerSettings { timeouts, limits, ..settings }
}

/// Calls of a server that does not answer.
struct Calling(Vec<tokio::task::JoinHandle<()>>);

impl Calling {
    /// Their clients leave.
    async fn leave(self) {
        for call in self.0 {
            call.abort();
            let _ = call.await;
        }
    }
}

fn calling(client: &crate::rig::Client, tool: &'static str, count: usize) -> Calling {
    let call = || {
        let client = client.clone();
        tokio::spawn(async move { drop(client.call(tool, json!({})).await) })
    };
    Calling((0..count).map(|_| call()).collect())
}

#[tokio::test]
async fn a_server_that_is_busy_refuses_with_a_time_to_come_again_and_still_lists() {
    for modern in [true, false] {
        let (shop, other) = (Shop::start(modern, &["slow"]).await, Shop::start(modern, &["read"]).await);
        let servers = vec![narrow(&shop, 0, Duration::from_secs(2)), server("other", &other)];
        let world = World::new(servers, vec![], ALL).await;
        let ann = world.either(modern, "ann", "/mcp").await;
        shop.set_awake(false);
        let first = calling(&ann, "shop__slow", 1);
        crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
        // Another session: a legacy one knows a request of this id already.
        let bob = world.either(modern, "bob", "/mcp").await;
        let told = bob.call("shop__slow", json!({})).await;
        assert_eq!((told.code(), told.status), ("upstream_busy", if modern { 503 } else { 200 }));
        assert_eq!(told.headers["retry-after"], "1");
        let refusal = told.refusal();
        assert_eq!((&refusal["retry"], &refusal["retryAfterMs"]), (&json!("safe"), &json!(1000)));
        assert_eq!(shop.asked("tools/call"), 1, "it reached no server");
        assert_eq!(
            bob.list("tools/list").await,
            ["shop__slow", "other__read"],
            "lists have places of their own"
        );
        assert!(bob.call("other__read", json!({})).await.is_ok(), "it takes no other server's place");
        shop.set_awake(true);
        let is_free = async {
            while !bob.call("shop__slow", json!({})).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::LONG, is_free).await.expect("what has ended has freed its place");
        first.leave().await;
    }
}

#[tokio::test]
async fn who_waits_gets_the_place_that_becomes_free() {
    let shop = Shop::modern(&["slow"]).await;
    let world = World::new(vec![narrow(&shop, 1, crate::LONG)], vec![], ALL).await;
    let ann = world.modern("ann", "/mcp");
    shop.set_awake(false);
    let first = calling(&ann, "shop__slow", 1);
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    let caller = ann.clone();
    let waiting = tokio::spawn(async move { caller.call("shop__slow", json!({})).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!waiting.is_finished(), "it waits");
    assert_eq!(shop.asked("tools/call"), 1);
    first.leave().await;
    shop.set_awake(true);
    assert!(waiting.await.expect("it ends").is_ok());
}

/// A configuration that is changed drops no call: whoever waits for a server as it was reaches it still.
#[tokio::test]
async fn who_waits_while_the_server_is_configured_anew_is_served() {
    let shop = Shop::modern(&["slow"]).await;
    let world = World::new(vec![narrow(&shop, 1, crate::LONG)], vec![], ALL).await;
    let ann = world.modern("ann", "/mcp");
    shop.set_awake(false);
    let first = calling(&ann, "shop__slow", 1);
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    let caller = ann.clone();
    let waiting = tokio::spawn(async move { caller.call("shop__slow", json!({})).await });
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    let servers = vec![narrow(&shop, 2, crate::LONG)];
    world.gateway.apply(tollgate_proxy::Setup { servers, ..world.setup.clone() }, crate::LONG).unwrap();
    first.leave().await;
    shop.set_awake(true);
    let told = waiting.await.expect("it ends");
    assert!(told.is_ok(), "{}", told.body);
}

/// What goes on with something passes ahead.
#[tokio::test]
async fn a_gateway_that_is_full_begins_nothing_new() {
    for modern in [true, false] {
        let shop = Shop::start(modern, &["slow"]).await;
        let load = LoadSettings { requests_max: 4, ..LoadSettings::default() };
        let settings = ProxySettings { load, ..ProxySettings::default() };
        let servers = vec![server("shop", &shop)];
        let world = World::with(settings, servers, vec![], ALL, Ledger::off()).await;
        let mut clients = Vec::new();
        for agent in ["ann", "ann", "bob", "bob", "eve"] {
            clients.push(world.either(modern, agent, "/mcp").await);
        }
        shop.set_awake(false);
        let mut callers: Vec<_> =
            clients[..4].iter().map(|client| calling(client, "shop__slow", 1)).collect();
        crate::eventually(|| (shop.asked("tools/call") == 4).then_some(())).await;
        let last = &clients[4];
        let told = last.call("shop__slow", json!({})).await;
        assert_eq!((told.code(), told.status), ("overloaded", 503));
        assert_eq!((&told.headers["retry-after"], &told.body["id"]), (&"1".parse().unwrap(), &json!(7)));
        assert_eq!(shop.asked("tools/call"), 4, "it reached no server");
        let told = world.stranger("/mcp").call("shop__slow", json!({})).await;
        assert_eq!(told.status, 503, "nobody is asked who calls");
        if modern {
            let told = last.ask("tasks/get", json!({"taskId": "x"})).await;
            assert_eq!(told.code(), "unknown_task", "it passes ahead");
        } else {
            assert!(last.ask("ping", json!({})).await.is_ok(), "it passes ahead");
            last.tell("notifications/cancelled", json!({"requestId": 1})).await;
        }
        callers.remove(0).leave().await;
        let fits = async {
            while last.ask("prompts/list", json!({})).await.status == 503 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(crate::LONG, fits).await.expect("there is room again");
    }
}

#[tokio::test]
async fn bodies_are_bounded_together() {
    let shop = Shop::modern(&["slow"]).await;
    let load = LoadSettings { bytes_max: 10_000, ..LoadSettings::default() };
    let settings = ProxySettings { load, ..ProxySettings::default() };
    let world = World::with(settings, vec![server("shop", &shop)], vec![], ALL, Ledger::off()).await;
    shop.set_awake(false);
    let ann = world.modern("ann", "/mcp");
    let (caller, large) = (ann.clone(), json!({"path": "x".repeat(8_000)}));
    let first = tokio::spawn(async move { drop(caller.call("shop__slow", large).await) });
    crate::eventually(|| (shop.asked("tools/call") == 1).then_some(())).await;
    let told = ann.call("shop__slow", json!({"path": "x".repeat(4_000)})).await;
    assert_eq!((told.code(), told.status), ("overloaded", 503));
    first.abort();
    let _ = first.await;
    shop.set_awake(true);
    assert!(
        ann.call("shop__slow", json!({"path": "x".repeat(4_000)})).await.is_ok(),
        "its room is given back"
    );
}
