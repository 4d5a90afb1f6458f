//! What a token was granted for bounds what is done with it, and a client learns what to ask for.

use serde_json::json;
use tollgate_e2e::gateway::{EVERYBODY, Gateway, with};
use tollgate_e2e::guarded::{BASE, declared, resource, trusted, unthrottled};
use tollgate_testkit::fake::{Call, FakeServer, HttpPeer, Reply, Script, soon};
use tollgate_testkit::issuer::{Issuer, api_key};

async fn reply(gateway: &Gateway, token: &str, path: &str, call: &Call) -> Reply {
    let http = gateway.bearing(token);
    let ask = HttpPeer::modern(gateway.bearing(token), path).ask("1", call);
    let live = soon("a response", http.open(&ask)).await.expect("a response");
    let (status, headers) = (live.status, live.headers.clone());
    let body = soon("a body", live.finish()).await.expect("a body").body;
    Reply { status, headers, body }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_was_not_granted_for_an_operation_is_told_all_that_it_needs() {
    let issuer = Issuer::start().await;
    let server = FakeServer::start(Script::modern().with_tools(["echo", "count"])).await;
    let tools = json!({ "echo": { "scopes": ["files.write"] } });
    let identity =
        unthrottled(json!({ "issuers": [trusted(&issuer)], "scopes": ["mcp"], "keys": [declared("bot")] }));
    let gateway = Gateway::start(&json!({
        "public_url": BASE, "identity": identity, "policy": { "files": [EVERYBODY] },
        "servers": { "files": { "url": server.url(), "scopes": ["files"], "tools": tools } },
    }))
    .await;
    let token = |scope: &str, path: &str| {
        issuer.key().sign(&with(&issuer.claims(&resource(path)), json!({ "scope": scope })))
    };
    let echo = Call::tool("files__echo", "{}");
    let count = Call::tool("files__count", "{}");

    let poor = token("mcp", "/mcp");
    let refused = reply(&gateway, &poor, "/mcp", &echo).await;
    assert_eq!(refused.status, 403, "{}", refused.everything());
    let challenge = refused.header("www-authenticate").expect("a challenge");
    for part in [
        "error=\"insufficient_scope\"",
        "scope=\"mcp files files.write\"",
        "resource_metadata=\"https://tollgate.example/.well-known/oauth-protected-resource/mcp\"",
    ] {
        assert!(challenge.contains(part), "{part} is not in {challenge}");
    }
    assert!(refused.everything().contains("\"code\":\"insufficient_scope\""), "{}", refused.everything());
    let half = token("mcp files", "/mcp");
    assert_eq!(reply(&gateway, &half, "/mcp", &echo).await.status, 403);
    assert_eq!(reply(&gateway, &half, "/mcp", &count).await.status, 200, "the tool needs no more");
    let list = Call::new("tools/list", "");
    let at_server = reply(&gateway, &token("mcp", "/mcp/files"), "/mcp/files", &list).await;
    assert_eq!(at_server.status, 403, "{}", at_server.everything());
    assert!(
        server.log().of_method("tools/call").len() == 1,
        "nothing that was refused has reached the server"
    );

    let rich = token("mcp files files.write", "/mcp");
    assert_eq!(reply(&gateway, &rich, "/mcp", &echo).await.status, 200);
    let keyed = reply(&gateway, &api_key("bot"), "/mcp", &echo).await;
    assert_eq!(keyed.status, 200, "a key has no scopes, and is not limited by them");
    // What does not exist is no matter of scopes.
    assert_eq!(reply(&gateway, &poor, "/mcp", &Call::tool("files__gone", "{}")).await.status, 200);
}
