//! Callers who are not known, and what little they are told.

use http::Method;
use serde_json::json;
use tollgate_identity::{FailureSettings, IdentitySettings, IssuerSettings};
use tollgate_model::ServerName;
use tollgate_proxy::{Cidr, Gateway, ProxySettings, Setup};
use tollgate_upstream::{ServerSettings, StdioSettings, Transport};

use crate::rig::{Answer, Client, Rig, Stream, read};
use crate::servers::Server;

/// Callers are known by keys and by tokens of an issuer that nobody asks here.
fn with_issuer() -> IdentitySettings {
    IdentitySettings {
        configured: true,
        issuers: vec![IssuerSettings::new("https://idp.example")],
        ..IdentitySettings::default()
    }
}

fn public() -> ProxySettings {
    let public_url = Some("https://gate.example/tools".to_owned());
    let allowed_origins = vec!["https://app.example".to_owned()];
    ProxySettings { public_url, allowed_origins, ..ProxySettings::default() }
}

async fn ask(client: &Client, method: Method, path: &str, body: &str, modern: bool) -> Answer {
    let mut request = client.request(method, path);
    if modern {
        request = request.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/list");
    }
    read(client.send(request, body).await).await
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_what_is_there() {
    let server = Server::legacy().await;
    let rig = Rig::with(with_issuer(), public(), [("one", &server)]).await;
    let client = rig.client(None);
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}).to_string();
    for (known, unknown) in [
        ("/mcp/one", "/mcp/two"),
        ("/sse/one", "/sse/two"),
        ("/messages/one?sessionId=x", "/messages/two?sessionId=x"),
    ] {
        for method in [Method::POST, Method::GET, Method::DELETE, Method::PUT, Method::OPTIONS] {
            for modern in [true, false] {
                let there = ask(&client, method.clone(), known, &call, modern).await;
                assert_eq!(there.status, 401, "{method} {known}: {there:?}");
                let (status, headers, body) =
                    ask(&client, method.clone(), unknown, &call, modern).await.shape();
                let named = |text: String| text.replace("two", "one");
                let headers = headers.into_iter().map(|(name, value)| (name, named(value))).collect();
                assert_eq!(there.shape(), (status, headers, named(body)), "{method} {known}");
            }
        }
    }
    // Nor does anybody look into what a stranger sends.
    let whole = ask(&client, Method::POST, "/mcp/one", &call, false).await.shape();
    assert_eq!(ask(&client, Method::POST, "/mcp/one", "nonsense", false).await.shape(), whole);
    let odd = ask(&client, Method::GET, "/mcp/one/two", "", false).await;
    assert_eq!(odd.status, 401, "{odd:?}");
    assert_eq!(ask(&client, Method::GET, "/elsewhere", "", false).await.status, 404);
}

#[tokio::test]
async fn a_stranger_is_told_where_to_go() {
    let server = Server::legacy().await;
    let rig = Rig::with(with_issuer(), public(), [("one", &server)]).await;
    let nobody = rig.client(None);
    let refused = ask(&nobody, Method::POST, "/tools/mcp/one", "{}", true).await;
    let metadata =
        "resource_metadata=\"https://gate.example/.well-known/oauth-protected-resource/tools/mcp/one\"";
    let challenge = refused.header("www-authenticate");
    assert!(challenge.starts_with("Bearer ") && challenge.contains(metadata), "{challenge}");
    assert!(!challenge.contains("error"), "nothing was presented: {challenge}");
    assert_eq!(refused.message()["error"]["code"], -32001);
    assert!(refused.message().get("id").is_none(), "modern: {refused:?}");

    let legacy = ask(&nobody, Method::POST, "/mcp/one", "{}", false).await;
    assert_eq!(legacy.message()["id"], json!(null));
    assert_eq!(legacy.message()["error"]["data"]["dev.tollgate/refusal"]["stage"], "identity");

    let somebody = Client { key: Some("not-a-token".to_owned()), ..rig.client(None) };
    let refused = ask(&somebody, Method::POST, "/sse/one", "{}", false).await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
    assert!(challenge.contains("/.well-known/oauth-protected-resource/tools/sse/one"), "{challenge}");
}

#[tokio::test]
async fn a_browser_may_send_what_it_needs_and_read_why_not() {
    let server = Server::legacy().await;
    let rig = Rig::with(with_issuer(), public(), [("one", &server)]).await;
    let client = rig.client(None);
    let origin = |request: http::request::Builder| request.header("origin", "https://app.example");
    let preflight = origin(client.request(Method::OPTIONS, "/mcp/one"))
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,mcp-param-region, x-other");
    let answer = read(client.send(preflight, "").await).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "https://app.example"));
    let allowed = answer.header("access-control-allow-headers");
    assert!(allowed.contains("Authorization") && allowed.contains("mcp-param-region"), "{allowed}");
    assert!(!allowed.contains("x-other"), "{allowed}");
    let refused = read(client.send(origin(client.request(Method::POST, "/mcp/one")), "{}").await).await;
    assert_eq!(refused.status, 401);
    assert!(refused.header("access-control-expose-headers").contains("WWW-Authenticate"), "{refused:?}");
}

#[tokio::test]
async fn what_could_be_read_two_ways_or_by_others_is_refused() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    for path in ["/mcp?access_token=x", "/mcp?a=b&access_token=x", "/mcp?acc%65ss_token=x"] {
        assert_eq!(ask(&client, Method::POST, path, "{}", false).await.status, 400, "{path}");
    }
    let twice = client.request(Method::POST, "/mcp").header("authorization", format!("Bearer {}", key.text));
    assert_eq!(read(client.send(twice, "{}").await).await.status, 401);
}

#[tokio::test]
async fn who_fails_too_often_is_slowed_down() {
    let server = Server::legacy().await;
    let failures = FailureSettings { max: 2, ..FailureSettings::default() };
    let settings = IdentitySettings { failures, ..with_issuer() };
    let rig = Rig::with(settings, ProxySettings::default(), [("one", &server)]).await;
    let guess = Client { key: Some(crate::rig::key_of("x", None).0.text), ..rig.client(None) };
    for _ in 0..2 {
        assert_eq!(ask(&guess, Method::POST, "/mcp", "{}", false).await.status, 401);
    }
    let refused = ask(&guess, Method::POST, "/mcp", "{}", false).await;
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds > 0), "{refused:?}");
    // Who has a good one is not kept out by others behind the same address.
    let key = rig.key("alice").await;
    let known = rig.client(Some(&key)).in_session("/mcp", json!({})).await;
    assert!(known.session.is_some());
}

/// Whoever comes in, by whatever way: nobody behind the gateway sees by what.
#[tokio::test]
async fn what_a_caller_proves_itself_by_goes_no_further() {
    let (old, new) = (Server::legacy().await, Server::modern().await);
    let rig = Rig::new([("old", &old), ("new", &new)]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    let legacy = client.clone().in_session("/mcp", json!({})).await;
    for tool in ["old__echo", "new__echo"] {
        let call = json!({"name": tool, "arguments": {}});
        let answer = read(client.modern("/mcp", "tools/call", call.clone()).await).await;
        assert_eq!(answer.message()["result"]["content"][0]["text"], "echoed", "{answer:?}");
        let answer = read(legacy.legacy("/mcp", "tools/call", call.clone()).await).await;
        assert_eq!(answer.message()["result"]["content"][0]["text"], "echoed", "{answer:?}");
    }
    for path in ["/sse/old", "/sse/new"] {
        let mut stream = Stream::of(client.get(path).await).await;
        let post = stream.some().await.as_str().unwrap().to_owned();
        assert_eq!(
            read(
                client
                    .legacy(
                        &post,
                        "initialize",
                        json!({"protocolVersion": "2024-11-05",
            "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}})
                    )
                    .await
            )
            .await
            .status,
            202
        );
        stream.some().await;
        let call = json!({"name": "echo", "arguments": {}});
        assert_eq!(read(client.legacy(&post, "tools/call", call).await).await.status, 202);
        assert_eq!(stream.some().await["result"]["content"][0]["text"], "echoed");
    }
    assert!(!old.has_seen(&key.text) && !new.has_seen(&key.text));
}

/// A child process gets neither the credential nor anything of the request's headers.
#[tokio::test]
async fn a_child_does_not_see_it_either() {
    let folder = std::env::temp_dir().join(format!("tollgate-it-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let log = folder.join("seen");
    // Answers what has an id by an empty greeting, and writes down all that it is told.
    let script = format!(
        r#"env > '{0}'; while read -r line; do printf '%s\n' "$line" >> '{0}'
        id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
        case "$line" in
          *'"initialize"'*) printf '{{"jsonrpc":"2.0","id":%s,"result":{{"protocolVersion":"2025-11-25","capabilities":{{"tools":{{}}}},"serverInfo":{{"name":"sh","version":"1"}}}}}}\n' "$id";;
          *'"tools/list"'*) printf '{{"jsonrpc":"2.0","id":%s,"result":{{"tools":[{{"name":"echo","inputSchema":{{"type":"object"}}}}]}}}}\n' "$id";;
          *'"tools/call"'*) printf '{{"jsonrpc":"2.0","id":%s,"result":{{"content":[{{"type":"text","text":"echoed"}}]}}}}\n' "$id";;
          *) [ -n "$id" ] && printf '{{"jsonrpc":"2.0","id":%s,"error":{{"code":-32601,"message":"?"}}}}\n' "$id";;
        esac; done"#,
        log.display()
    );
    let stdio = StdioSettings { args: vec!["-c".to_owned(), script], ..StdioSettings::new("sh") };
    let child = ServerSettings::new(ServerName::new("child").unwrap(), Transport::Stdio(stdio));
    let rig = Rig::over(vec![child]).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key)).in_session("/mcp", json!({})).await;
    let call = json!({"name": "child__echo", "arguments": {}});
    let answer = read(client.legacy("/mcp", "tools/call", call).await).await;
    assert_eq!(answer.message()["result"]["content"][0]["text"], "echoed", "{answer:?}");
    let seen = std::fs::read_to_string(&log).unwrap();
    assert!(seen.contains("tools/call") && !seen.contains(&key.text), "{seen}");
    std::fs::remove_dir_all(folder).unwrap();
}

/// The configuration can lose its identity while the gateway still listens where others reach it.
#[tokio::test]
async fn without_identity_nobody_comes_in_from_another_machine() {
    let setup = Setup::new(ProxySettings::default(), Vec::new(), Vec::new());
    let gateway = Gateway::new(setup).unwrap();
    for (address, status) in
        [("192.0.2.1:5", 401), ("[::ffff:192.0.2.1]:5", 401), ("[::ffff:127.0.0.1]:5", 200)]
    {
        let client = Client::at(&gateway, None);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion":
            "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}});
        let answer = client.send_from(address, client.request(Method::POST, "/mcp"), &body.to_string()).await;
        assert_eq!(read(answer).await.status, status, "{address}");
    }
}

#[tokio::test]
async fn a_key_that_came_in_the_clear_over_a_network_counts_for_nothing() {
    let proxy = ProxySettings {
        trusted_proxies: vec![Cidr::parse("10.0.0.0/8").unwrap()],
        ..ProxySettings::default()
    };
    let settings = IdentitySettings { configured: true, ..IdentitySettings::default() };
    let rig = Rig::with(settings, proxy, []).await;
    let key = rig.key("alice").await;
    let client = rig.client(Some(&key));
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion":
        "2025-11-25", "capabilities": {}, "clientInfo": {"name": "it", "version": "1"}}});
    for (address, status) in [("192.0.2.1:5", 403), ("10.1.2.3:5", 200), ("127.0.0.1:5", 200)] {
        let answer = client.send_from(address, client.request(Method::POST, "/mcp"), &body.to_string()).await;
        assert_eq!(read(answer).await.status, status, "{address}");
    }
}

#[tokio::test]
async fn without_identity_a_header_changes_nothing() {
    let setup = Setup::new(ProxySettings::default(), Vec::new(), Vec::new());
    let gateway = Gateway::new(setup).unwrap();
    let client = Client::at(&gateway, Some("anything"));
    assert!(client.in_session("/mcp", json!({})).await.session.is_some());
}
