//! `subscriptions/listen` in front of servers of either era.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_proxy::{Gateway, ProxySettings};

use crate::eventually;
use crate::rig::{Modern, gateway, servers, setup};
use crate::servers::{SUBSCRIPTION, Watched};

fn updated(id: &Value, uri: &str) -> Value {
    json!({"jsonrpc": "2.0", "method": "notifications/resources/updated",
           "params": {"uri": uri, "x-own": 1, "_meta": {SUBSCRIPTION: id}}})
}

#[tokio::test]
async fn a_modern_servers_changes_come_under_the_clients_own_id() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let client = Modern::new(&gateway, "/mcp/one");
    let id = json!("my \"id\"");
    let filter = json!({"toolsListChanged": true, "promptsListChanged": true,
                        "resourceSubscriptions": ["a:1", "a:secret"]});
    let (mut stream, granted) = client.listen(id.clone(), filter).await;
    assert_eq!(granted, json!({"toolsListChanged": true, "resourceSubscriptions": ["a:1"]}));
    server.touch("a:1").await;
    assert_eq!(stream.some().await, updated(&id, "a:1"));
    // A part of it belongs to it too.
    server.touch("a:1/part").await;
    assert_eq!(stream.some().await, updated(&id, "a:1/part"));
    server.touch("a:2").await;
    server.tell("notifications/prompts/list_changed", json!({})).await;
    server.tell("notifications/tools/list_changed", json!({})).await;
    assert_eq!(
        stream.some().await,
        json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed",
               "params": {"_meta": {SUBSCRIPTION: id}}})
    );
    // With the last who wants it, the server hears that nobody does.
    drop(stream);
    server.is_asked(&json!([{"toolsListChanged": true}])).await;
}

#[tokio::test]
async fn many_clients_share_one_stream_and_each_is_told_under_its_own_id() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let client = Modern::new(&gateway, "/mcp/one");
    let mut streams = Vec::new();
    for number in 0..100 {
        let filter = json!({"resourceSubscriptions": ["a:1"]});
        streams.push(client.listen(json!(number % 7), filter).await.0);
    }
    server.is_asked(&json!([{"resourceSubscriptions": ["a:1"], "toolsListChanged": true}])).await;
    let asked = server.fake.seen("subscriptions/listen").len();
    assert!(asked <= 2, "{asked} streams were opened");
    server.touch("a:1").await;
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(stream.some().await, updated(&json!(number % 7), "a:1"));
    }
}

#[tokio::test]
async fn a_legacy_server_is_subscribed_to_for_as_long_as_anyone_listens() {
    let server = Watched::legacy(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let client = Modern::new(&gateway, "/mcp/one");
    let filter = json!({"toolsListChanged": true, "resourcesListChanged": true,
                        "resourceSubscriptions": ["a:1", "a:secret"]});
    let (mut first, granted) = client.listen(json!(1), filter.clone()).await;
    assert_eq!(granted, json!({"toolsListChanged": true, "resourceSubscriptions": ["a:1"]}));
    let (mut second, _) = client.listen(json!(2), filter).await;
    let asked = |method: &str| {
        let uri = |seen: &crate::fake::Seen| seen.body["params"]["uri"] == "a:1";
        server.fake.seen(method).iter().filter(|seen| uri(seen)).count()
    };
    assert_eq!(asked("resources/subscribe"), 1);
    eventually(|| (!server.filters().is_empty()).then_some(())).await;
    server.touch("a:1").await;
    server.tell("notifications/tools/list_changed", json!({})).await;
    for (stream, id) in [(&mut first, 1), (&mut second, 2)] {
        assert_eq!(stream.some().await, updated(&json!(id), "a:1"));
        assert_eq!(stream.some().await["params"]["_meta"], json!({SUBSCRIPTION: id}));
    }
    drop(first);
    server.touch("a:1").await;
    assert_eq!(second.some().await, updated(&json!(2), "a:1"));
    assert_eq!(asked("resources/unsubscribe"), 0);
    drop(second);
    eventually(|| (asked("resources/unsubscribe") == 1).then_some(())).await;
}

#[tokio::test]
async fn at_a_merged_endpoint_a_uri_finds_its_server_and_keeps_the_name_the_client_knows() {
    let (one, two) = (Watched::modern(&["a:both", "a:1"]).await, Watched::legacy(&["a:both"]).await);
    let plain = Watched::plain(&["p:1"]).await;
    let gateway = gateway([("one", &one), ("two", &two), ("plain", &plain)]);
    let client = Modern::new(&gateway, "/mcp");
    let answer =
        client.send(&json!(1), "resources/list", json!({}), "application/json, text/event-stream").await;
    let body = tokio::time::timeout(crate::LONG, http_body_util::BodyExt::collect(answer.into_body()));
    let body = body.await.expect("a list in time").unwrap().to_bytes();
    let list: Value = serde_json::from_slice(&body).unwrap();
    let uris: Vec<&str> = list["result"]["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["uri"].as_str().unwrap())
        .collect();
    let [of_one, _, of_two, _] = uris[..] else { panic!("{list}") };
    let filter =
        json!({"resourceSubscriptions": [of_one, "a:1", of_two, "p:1", "b:none"], "toolsListChanged": true});
    let (mut stream, granted) = client.listen(json!(1), filter).await;
    let mut expected = vec![of_one, "a:1", of_two];
    expected.sort_unstable();
    assert_eq!(granted, json!({"toolsListChanged": true, "resourceSubscriptions": expected}));
    one.touch("a:both").await;
    assert_eq!(stream.some().await["params"]["uri"], of_one);
    eventually(|| (!two.filters().is_empty()).then_some(())).await;
    two.touch("a:both").await;
    assert_eq!(stream.some().await["params"]["uri"], of_two);
    two.tell("notifications/tools/list_changed", json!({})).await;
    assert_eq!(stream.some().await["method"], "notifications/tools/list_changed");
}

#[tokio::test]
async fn a_stream_ends_well_when_the_gateway_stops() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let (mut stream, _) =
        Modern::new(&gateway, "/mcp/one").listen(json!("x"), json!({"toolsListChanged": true})).await;
    gateway.begin_drain();
    let end = stream.some().await;
    assert_eq!(end["id"], "x");
    assert_eq!(end["result"], json!({"resultType": "complete", "_meta": {SUBSCRIPTION: "x"}}));
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn after_a_reload_what_is_still_there_goes_on_and_counts_as_changed() {
    let (old, new) = (Watched::modern(&["a:1"]).await, Watched::legacy(&["a:1"]).await);
    let gateway = gateway([("one", &old)]);
    let filter = json!({"resourceSubscriptions": ["a:1"], "toolsListChanged": true});
    let (mut stream, _) = Modern::new(&gateway, "/mcp/one").listen(json!(1), filter).await;
    gateway.apply(setup(ProxySettings::default(), servers([("one", &new)])), Duration::ZERO).unwrap();
    let told = [stream.some().await["method"].clone(), stream.some().await["method"].clone()];
    assert_eq!(told, ["notifications/tools/list_changed", "notifications/resources/updated"]);
    eventually(|| (!new.filters().is_empty()).then_some(())).await;
    new.touch("a:1").await;
    assert_eq!(stream.some().await, updated(&json!(1), "a:1"));
    // Without its endpoint there is nothing to listen to.
    gateway.apply(setup(ProxySettings::default(), servers([("two", &new)])), Duration::ZERO).unwrap();
    assert_eq!(stream.some().await["result"]["resultType"], "complete");
}

#[tokio::test]
async fn a_server_that_is_slow_after_a_reload_is_heard_once_it_answers() {
    let (old, new) = (Watched::legacy(&["a:1"]).await, Watched::legacy(&["a:1"]).await);
    let settings = || ProxySettings { listen_wait: Duration::from_millis(300), ..ProxySettings::default() };
    let gateway = Gateway::new(setup(settings(), servers([("one", &old)]))).unwrap();
    let filter = json!({"resourceSubscriptions": ["a:1"], "toolsListChanged": true});
    let (mut stream, _) = Modern::new(&gateway, "/mcp/one").listen(json!(1), filter).await;
    new.set_awake(false);
    gateway.apply(setup(settings(), servers([("one", &new)])), Duration::ZERO).unwrap();
    assert_eq!(stream.some().await["method"], "notifications/tools/list_changed");
    new.set_awake(true);
    let missed = stream.some().await;
    assert_eq!(missed["method"], "notifications/resources/updated");
    assert_eq!(missed["params"], json!({"_meta": {SUBSCRIPTION: 1}, "uri": "a:1"}));
    eventually(|| (!new.filters().is_empty()).then_some(())).await;
    new.touch("a:1").await;
    assert_eq!(stream.some().await, updated(&json!(1), "a:1"));
}

#[tokio::test]
async fn endless_names_and_ids_are_refused() {
    let server = Watched::modern(&["a:1"]).await;
    let gateway = gateway([("one", &server)]);
    let client = Modern::new(&gateway, "/mcp/one");
    let refused = async |id: Value, uri: String| {
        let params = json!({"notifications": {"resourceSubscriptions": [uri]}});
        let both = "application/json, text/event-stream";
        let response = client.send(&id, "subscriptions/listen", params, both).await;
        let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
        serde_json::from_slice::<Value>(&body).unwrap()["error"]["code"].clone()
    };
    assert_eq!(refused(json!(1), format!("a:{}", "x".repeat(8192))).await, -32602);
    assert_eq!(refused(json!("x".repeat(1024)), "a:1".to_owned()).await, -32600);
}

#[tokio::test]
async fn listeners_are_bounded_and_a_place_comes_back() {
    let server = Watched::modern(&["a:1"]).await;
    let settings = ProxySettings { listeners_max: 1, subscriptions_max: 1, ..ProxySettings::default() };
    let gateway = Gateway::new(setup(settings, servers([("one", &server)]))).unwrap();
    let client = Modern::new(&gateway, "/mcp/one");
    let filter = json!({"resourceSubscriptions": ["a:1", "a:2"]});
    let (stream, granted) = client.listen(json!(1), filter.clone()).await;
    assert_eq!(granted, json!({"resourceSubscriptions": ["a:1"]}));
    let both = "application/json, text/event-stream";
    let params = json!({"notifications": filter});
    let refused = client.send(&json!(2), "subscriptions/listen", params.clone(), both).await;
    assert_eq!(refused.headers()["content-type"], "application/json", "refused at once");
    drop(stream);
    client.listen(json!(3), filter).await;
    let refused = client.send(&json!(2), "subscriptions/listen", params, "application/json").await;
    assert_eq!(refused.status(), 406);
    for wrong in [json!({}), json!({"notifications": {"resourceSubscriptions": "a:1"}})] {
        let refused = client.send(&json!(2), "subscriptions/listen", wrong, both).await;
        assert_eq!(refused.headers()["content-type"], "application/json", "refused at once");
    }
}
