//! What becomes of what is open when whoever opened it is let in no longer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tollgate_identity::{AnonymousSettings, IdentitySettings};
use tollgate_ledger::{Durability, LedgerSettings};
use tollgate_model::{TenantId, Timestamp};
use tollgate_proxy::ProxySettings;
use tollgate_store::{Revocable, Revocation, Revocations as _};

use crate::book::Book;
use crate::disk::Disk;
use crate::rig::{Client, Held, Rig, Stream, key_of, read};
use crate::servers::Server;
use crate::{LONG, SECOND};

const CHANGED: &str = "notifications/tools/list_changed";

fn changed() -> Value {
    json!({"jsonrpc": "2.0", "method": CHANGED})
}

fn wait(server: &str) -> Value {
    json!({"name": format!("{server}__wait"), "arguments": {}, "_meta": {"progressToken": 1}})
}

/// A stream for what belongs to no request.
async fn listen(client: &Client) -> Stream {
    Stream::of(client.get("/mcp").await).await
}

#[tokio::test]
async fn every_stream_of_a_revoked_key_ends_and_the_servers_are_told() {
    crate::within_a_second(every_stream_ends).await;
}

/// How long it takes until the last has ended.
async fn every_stream_ends() -> Duration {
    let (old, new) = (Server::legacy().await, Server::modern().await);
    let rig = Rig::new([("old", &old), ("new", &new)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let client = rig.client(Some(&alice));
    let session = client.clone().in_session("/mcp", json!({})).await;
    let other = rig.client(Some(&bob)).in_session("/mcp", json!({})).await;

    let mut others = listen(&other).await;
    let mut get = listen(&session).await;
    let mut sse = Stream::of(client.get("/sse/old").await).await;
    sse.some().await;
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut listener = Stream::of(client.modern("/mcp", "subscriptions/listen", filter).await).await;
    assert_eq!(listener.some().await["method"], "notifications/subscriptions/acknowledged");
    let mut calls = Vec::new();
    for server in ["old", "new"] {
        let session = client.clone().in_session("/mcp", json!({})).await;
        calls.push(Stream::of(client.modern("/mcp", "tools/call", wait(server)).await).await);
        calls.push(Stream::of(session.legacy("/mcp", "tools/call", wait(server)).await).await);
    }
    for call in &mut calls {
        assert_eq!(call.some().await["method"], "notifications/progress");
    }
    let parked =
        read(client.modern("/mcp", "tools/call", json!({"name": "old__ask", "arguments": {}})).await).await;
    assert_eq!(parked.message()["result"]["resultType"], "input_required", "{parked:?}");

    new.has_calls(2).await;
    let revoked = Instant::now();
    rig.revoke(&alice).await;
    let mut all: Vec<&mut Stream> = vec![&mut get, &mut sse, &mut listener];
    all.extend(&mut calls);
    for stream in all {
        stream.end().await;
    }
    let took = revoked.elapsed();
    // The legacy server is told of both calls and of the parked one, the modern one by the end of its streams.
    crate::eventually(|| (old.fake.seen("notifications/cancelled").len() == 3).then_some(())).await;
    new.has_calls(0).await;
    let ended = read(session.legacy("/mcp", "tools/list", json!({})).await).await;
    assert_eq!(ended.status, 401, "{ended:?}");

    old.say(&changed()).await;
    new.say(&changed()).await;
    // Another's stream goes on. It may hear first of other lists that the gateway has just read.
    while others.some().await["method"] != CHANGED {}
    took
}

#[tokio::test]
async fn a_call_that_has_said_nothing_yet_is_answered_as_a_strangers() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    let call = json!({"name": "one__wait", "arguments": {}});
    let calling = tokio::spawn(async move { read(client.modern("/mcp", "tools/call", call).await).await });
    server.fake.wait_for("tools/call").await;
    rig.revoke(&key).await;
    let answer = calling.await.unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
    assert!(answer.header("www-authenticate").contains("invalid_token"), "{answer:?}");
    server.fake.wait_for("notifications/cancelled").await;
}

/// Whoever is taken back in the midst of a call hears of it once that is on record, not before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_is_taken_back_is_told_once_that_is_on_record() {
    let Some(disk) = Disk::new() else { return };
    let settings = LedgerSettings { durability: Durability::Power, ..LedgerSettings::default() };
    let (book, server) = (Book::at(&disk.root(), settings), Server::legacy().await);
    let rig = Rig::recorded("one", &server, book.ledger.clone()).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    let call = json!({"name": "one__wait", "arguments": {}});
    let mut calling =
        tokio::spawn(async move { read(client.modern("/mcp", "tools/call", call).await).await });
    server.fake.wait_for("tools/call").await;
    disk.freeze();
    rig.revoke(&key).await;
    // The server hears of it while the disk stands still, the caller does not.
    server.fake.wait_for("notifications/cancelled").await;
    assert!(tokio::time::timeout(SECOND, &mut calling).await.is_err(), "told before it is on record");
    disk.thaw();
    let answer = calling.await.unwrap();
    assert_eq!(answer.status, 401, "{answer:?}");
    let lines = book.lines();
    let outcomes: Vec<&String> = lines.iter().filter(|line| line.starts_with("outcome")).collect();
    // With the code of what the caller is told.
    assert_eq!(outcomes, ["outcome 0 taken_back unauthenticated"], "{lines:?}");
}

/// A request may take long to arrive. What it proved at its beginning is looked at again when it is there.
#[tokio::test]
async fn a_body_that_comes_after_the_revocation_is_not_looked_at() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    let (sender, slow) = tokio::sync::mpsc::channel(1);
    let request = client.request(Method::POST, "/mcp");
    let sending = tokio::spawn({
        let client = client.clone();
        async move { read(client.send_slowly(request, slow).await).await }
    });
    sender.send("{\"jsonrpc\":\"2.0\",\"id\":1,").await.unwrap();
    // The first piece was taken: the caller is known by now.
    let place = sender.reserve().await.unwrap();
    let before = rig.follower.changes();
    rig.revoke(&key).await;
    crate::eventually(|| before.has_changed().unwrap().then_some(())).await;
    place.send("\"method\":\"initialize\"}");
    drop(sender);
    assert_eq!(sending.await.unwrap().status, 401);
}

#[tokio::test]
async fn a_session_lives_by_what_its_client_proved_last_and_each_stream_by_its_own() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let (first, second) = (rig.key("alice").await, rig.key("alice").await);
    let client = rig.client(Some(&first)).in_session("/mcp", json!({})).await;
    let mut early = listen(&client).await;
    let rotated = Client { key: Some(second.text.clone()), ..client.clone() };
    assert_eq!(read(rotated.legacy("/mcp", "tools/list", json!({})).await).await.status, 200);
    rig.revoke(&first).await;
    early.end().await;
    assert_eq!(read(rotated.legacy("/mcp", "tools/list", json!({})).await).await.status, 200, "it goes on");
    let mut late = listen(&rotated).await;
    rig.revoke(&second).await;
    late.end().await;
    let third = Client { key: Some(rig.key("alice").await.text), ..client };
    let gone = read(third.legacy("/mcp", "tools/list", json!({})).await).await;
    assert_eq!(gone.status, 404, "the session ended with who used it last: {gone:?}");
}

#[tokio::test]
async fn whoever_an_agent_is_it_can_be_taken_back_whole() {
    crate::within_a_second(what_an_agent_has_open_ends).await;
}

async fn what_an_agent_has_open_ends() -> Duration {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key)).in_session("/mcp", json!({})).await;
    let mut stream = listen(&client).await;
    let what = Revocable::Agent { tenant: TenantId::default(), agent: Arc::from("alice") };
    rig.store.revoke(Revocation { what, since: Timestamp::now(), until: None }).await.unwrap();
    stream.end().await
}

#[tokio::test]
async fn what_the_configuration_no_longer_says_ends_with_its_reload() {
    let server = Server::legacy().await;
    let (held, record) = key_of("declared", None);
    let anonymous = Some(AnonymousSettings::default());
    let settings =
        IdentitySettings { configured: true, keys: vec![record], anonymous, ..IdentitySettings::default() };
    let rig = Rig::with(settings, ProxySettings::default(), [("one", &server)]).await;
    let stored = rig.key("stored").await;
    let stream = async |key: Option<&Held>| {
        let client = rig.client(key).in_session("/mcp", json!({})).await;
        assert_eq!(read(client.legacy("/mcp", "tools/list", json!({})).await).await.status, 200);
        listen(&client).await
    };
    let mut declared = stream(Some(&held)).await;
    let mut nobody = stream(None).await;
    let client = rig.client(Some(&stored)).in_session("/mcp", json!({})).await;
    let mut kept = listen(&client).await;
    rig.reload(|settings| settings.keys.clear());
    declared.end().await;
    rig.reload(|settings| {
        settings.keys.clear();
        settings.anonymous = None;
    });
    nobody.end().await;
    let answer = read(client.legacy("/mcp", "ping", json!({})).await).await;
    assert_eq!(answer.status, 200, "who is still known goes on: {answer:?}");
    rig.reload(|settings| *settings = IdentitySettings::default());
    kept.end().await;
}

#[tokio::test]
async fn with_identity_whoever_came_in_without_is_out() {
    let server = Server::legacy().await;
    let rig = Rig::with(IdentitySettings::default(), ProxySettings::default(), [("one", &server)]).await;
    let client = rig.client(None).in_session("/mcp", json!({})).await;
    let mut stream = listen(&client).await;
    rig.reload(|settings| settings.configured = true);
    stream.end().await;
    assert_eq!(read(client.legacy("/mcp", "ping", json!({})).await).await.status, 401);
}

/// Streams that only listen end with the proof that opened them; what is under way may finish.
#[tokio::test]
async fn a_proof_that_ends_by_itself_ends_what_only_listens() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let lasts = Duration::from_secs(5);
    let key = rig.key_for("alice", Some(lasts)).await;
    let client = rig.client(Some(&key));
    let session = client.clone().in_session("/mcp", json!({})).await;
    let mut get = listen(&session).await;
    let mut sse = Stream::of(client.get("/sse/one").await).await;
    let post = sse.some().await.as_str().unwrap().to_owned();
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut listener = Stream::of(client.modern("/mcp", "subscriptions/listen", filter).await).await;
    listener.some().await;
    let mut call = Stream::of(client.modern("/mcp", "tools/call", wait("one")).await).await;
    call.some().await;
    let mut connection = Stream::of(client.get("/sse").await).await;
    let other_post = connection.some().await.as_str().unwrap().to_owned();
    // Who proves anew who it is beside its stream keeps it.
    let fresh = rig.client(Some(&rig.key("alice").await));
    assert_eq!(read(fresh.legacy(&other_post, "ping", json!({})).await).await.status, 202);
    connection.some().await;

    get.end().await;
    sse.end().await;
    let mut last = listener.some().await;
    while last["method"] == CHANGED {
        last = listener.some().await;
    }
    assert_eq!(last["result"]["resultType"], "complete", "it is ended in good order");
    listener.end().await;
    assert_eq!(read(client.legacy(&post, "ping", json!({})).await).await.status, 401);

    let id = server.fake.wait_for("tools/call").await.body["id"].clone();
    server.say(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": []}})).await;
    assert_eq!(call.some().await["result"]["content"], json!([]));
    assert_eq!(read(fresh.legacy(&other_post, "ping", json!({})).await).await.status, 202);
    let still = tokio::time::timeout(LONG, connection.some()).await;
    assert_eq!(still.unwrap(), json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
}
