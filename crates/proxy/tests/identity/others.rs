//! What is somebody's is as good as not there for everybody else.

use http::Method;
use serde_json::json;

use crate::rig::{Answer, Client, Rig, Stream, read};
use crate::servers::Server;

/// Asks twice, for what is another's and for what is nobody's: the answers have to be the same.
fn same(theirs: &Answer, nobodys: &Answer, status: u16) {
    assert_eq!(theirs.status, status, "{theirs:?}");
    assert_eq!(theirs.shape(), nobodys.shape());
}

#[tokio::test]
async fn a_session() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let owner = rig.client(Some(&alice)).in_session("/mcp", json!({})).await;
    let session = owner.session.clone().unwrap();
    let of = |session: &str| Client { session: Some(session.to_owned()), ..rig.client(Some(&bob)) };
    let (thief, guesser) = (of(&session), of(&"0".repeat(session.len())));
    for (method, path, body) in [
        (Method::POST, "/mcp", r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#),
        (Method::POST, "/mcp", r#"[{"jsonrpc":"2.0","id":7,"method":"tools/list"}]"#),
        (
            Method::POST,
            "/mcp",
            r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}"#,
        ),
        (Method::GET, "/mcp", ""),
        (Method::DELETE, "/mcp", ""),
    ] {
        let ask =
            async |client: &Client| read(client.send(client.request(method.clone(), path), body).await).await;
        same(&ask(&thief).await, &ask(&guesser).await, 404);
    }
    let answer = read(owner.legacy("/mcp", "tools/list", json!({})).await).await;
    assert_eq!(answer.status, 200, "it is its owner's still: {answer:?}");
    // The same agent may use it by whatever proves it.
    let rotated = Client { key: Some(rig.key("alice").await.text), ..owner };
    assert_eq!(read(rotated.legacy("/mcp", "tools/list", json!({})).await).await.status, 200);
}

#[tokio::test]
async fn an_event_to_come_back_to() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let owner = rig.client(Some(&alice)).in_session("/mcp", json!({})).await;
    let call = json!({"name": "one__wait", "arguments": {}, "_meta": {"progressToken": 1}});
    let mut stream = Stream::of(owner.legacy("/mcp", "tools/call", call).await).await;
    let (id, _) = stream.event().await.unwrap();
    drop(stream);
    let back = |client: &Client, id: &str| client.request(Method::GET, "/mcp").header("last-event-id", id);
    let thief = rig.client(Some(&bob)).in_session("/mcp", json!({})).await;
    let theirs = read(thief.send(back(&thief, &id), "").await).await;
    same(&theirs, &read(thief.send(back(&thief, "999-1"), "").await).await, 400);
    Stream::of(owner.send(back(&owner, &id), "").await).await;
}

#[tokio::test]
async fn a_connection() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server), ("two", &server)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let (owner, thief) = (rig.client(Some(&alice)), rig.client(Some(&bob)));
    let mut stream = Stream::of(owner.get("/sse/one").await).await;
    let post = stream.some().await.as_str().unwrap().to_owned();
    assert!(post.starts_with("/messages/one?sessionId="), "{post}");
    let guess = format!("{}{}", &post[..post.len() - 32], "0".repeat(32));
    let ping = async |client: &Client, post: &str| read(client.legacy(post, "ping", json!({})).await).await;
    same(&ping(&thief, &post).await, &ping(&thief, &guess).await, 404);
    // It is at one endpoint: a token for another is meant for another.
    let elsewhere = |post: &str| post.replace("/messages/one", "/messages/two");
    same(&ping(&owner, &elsewhere(&post)).await, &ping(&owner, &elsewhere(&guess)).await, 404);
    assert_eq!(ping(&owner, &post).await.status, 202);
    assert_eq!(stream.some().await, json!({"jsonrpc": "2.0", "id": 7, "result": {}}));
}

#[tokio::test]
async fn the_state_of_a_request() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let (owner, thief) = (rig.client(Some(&alice)), rig.client(Some(&bob)));
    let ask = json!({"name": "one__ask", "arguments": {}});
    let asked = read(owner.modern("/mcp", "tools/call", ask.clone()).await).await.message();
    assert_eq!(asked["result"]["resultType"], "input_required", "{asked}");
    let state = asked["result"]["requestState"].as_str().unwrap().to_owned();
    let retry = async |client: &Client, state: &str| {
        let mut params = ask.clone();
        params["requestState"] = json!(state);
        params["inputResponses"] = json!({});
        read(client.modern("/mcp", "tools/call", params).await).await
    };
    let mut altered = state.clone().into_bytes();
    let last = altered.len() / 2;
    altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
    let altered = String::from_utf8(altered).unwrap();
    let theirs = retry(&thief, &state).await;
    assert_eq!(theirs.message()["error"]["data"]["dev.tollgate/refusal"]["code"], "invalid_request_state");
    same(&theirs, &retry(&thief, &altered).await, 200);
    assert!(server.fake.seen("notifications/cancelled").is_empty(), "the call waits still");
}

#[tokio::test]
async fn a_task() {
    let server = Server::modern().await;
    let rig = Rig::new([("one", &server)]).await;
    let (alice, bob) = (rig.key("alice").await, rig.key("bob").await);
    let (owner, thief) = (rig.client(Some(&alice)), rig.client(Some(&bob)));
    let call = json!({"name": "one__task", "arguments": {}});
    let created = read(owner.modern("/mcp", "tools/call", call).await).await.message();
    let id = created["result"]["taskId"].as_str().unwrap_or_else(|| panic!("{created}")).to_owned();
    let get = async |client: &Client, id: &str| {
        read(client.modern("/mcp", "tasks/get", json!({"taskId": id})).await).await
    };
    let theirs = get(&thief, &id).await;
    assert_eq!(theirs.message()["error"]["data"]["dev.tollgate/refusal"]["code"], "unknown_task");
    same(&theirs, &get(&thief, "nonsense").await, 200);
    assert_eq!(get(&owner, &id).await.message()["result"]["status"], "working");
}
