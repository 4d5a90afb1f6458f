//! Where clients find out by whose tokens they can come in (RFC 9728).

use http::Method;
use serde_json::{Value, json};
use tollgate_identity::{IdentitySettings, IssuerSettings};
use tollgate_proxy::ProxySettings;

use crate::rig::{Answer, Rig, read};
use crate::servers::Server;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

async fn rig(public_url: Option<&str>) -> Rig {
    let server = Server::legacy().await;
    let settings = IdentitySettings {
        configured: true,
        issuers: vec![IssuerSettings::new("https://idp.example")],
        scopes: vec!["mcp".into()],
        ..IdentitySettings::default()
    };
    let proxy = ProxySettings { public_url: public_url.map(str::to_owned), ..ProxySettings::default() };
    Rig::with(settings, proxy, [("one", &server)]).await
}

async fn ask(rig: &Rig, method: Method, path: &str) -> Answer {
    let client = rig.client(None);
    // From any web page.
    let request = client.request(method, path).header("origin", "https://elsewhere.example");
    read(client.send(request, "").await).await
}

async fn document(rig: &Rig, path: &str) -> Value {
    let answer = ask(rig, Method::GET, &format!("{WELL_KNOWN}{path}")).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("access-control-allow-origin"), "*");
    assert!(answer.header("cache-control").contains("max-age="), "{answer:?}");
    answer.message()
}

#[tokio::test]
async fn every_endpoint_has_its_own_and_none_is_revealed() {
    let rig = rig(Some("https://gate.example")).await;
    for path in ["/mcp", "/mcp/one", "/mcp/nothing", "/sse", "/sse/one"] {
        let document = document(&rig, path).await;
        assert_eq!(document["resource"], format!("https://gate.example{path}"));
        assert_eq!(document["authorization_servers"], json!(["https://idp.example"]));
        assert_eq!(document["scopes_supported"], json!(["mcp"]));
    }
    assert_eq!(document(&rig, "").await["resource"], "https://gate.example/mcp");
    for path in ["/elsewhere", "/mcp/a/b", "/messages", "/mcp/a__b"] {
        assert_eq!(ask(&rig, Method::GET, &format!("{WELL_KNOWN}{path}")).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_public_prefix_stands_behind_the_well_known_path() {
    let rig = rig(Some("https://gate.example/tools")).await;
    let behind = document(&rig, "/tools/mcp/one").await;
    assert_eq!(behind["resource"], "https://gate.example/tools/mcp/one");
    // As a proxy forwards it that strips the prefix, or forwards nothing else.
    assert_eq!(document(&rig, "/mcp/one").await, behind);
    let before = ask(&rig, Method::GET, &format!("/tools{WELL_KNOWN}/mcp/one")).await;
    assert_eq!(before.message(), behind);
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere() {
    let rig = rig(Some("https://gate.example")).await;
    let path = format!("{WELL_KNOWN}/mcp");
    let client = rig.client(None);
    let preflight = client
        .request(Method::OPTIONS, &path)
        .header("origin", "https://elsewhere.example")
        .header("access-control-request-method", "GET")
        .header("access-control-request-headers", "mcp-protocol-version");
    let answer = read(client.send(preflight, "").await).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, "*"));
    assert!(answer.header("access-control-allow-headers").contains("MCP-Protocol-Version"));
    assert_eq!(ask(&rig, Method::HEAD, &path).await.status, 200);
    let refused = ask(&rig, Method::POST, &path).await;
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD, OPTIONS"));
}

#[tokio::test]
async fn a_listener_on_loopback_goes_by_the_name_that_its_client_uses() {
    let rig = rig(None).await;
    rig.gateway.listens_at("127.0.0.1:4711".parse().unwrap(), false);
    let client = rig.client(None);
    for (host, base) in [
        ("localhost:4711", "http://localhost:4711"),
        ("127.0.0.1:4711", "http://127.0.0.1:4711"),
        ("[::1]:4711", "http://[::1]:4711"),
        // A port of somebody else's is never taken from the request.
        ("localhost:1", "http://127.0.0.1:4711"),
    ] {
        let mut request = client.request(Method::GET, &format!("{WELL_KNOWN}/mcp"));
        request.headers_mut().unwrap().insert("host", host.parse().unwrap());
        let answer = read(client.send(request, "").await).await;
        assert_eq!(answer.message()["resource"], format!("{base}/mcp"), "{host}");
        let mut request = client.request(Method::POST, "/mcp");
        request.headers_mut().unwrap().insert("host", host.parse().unwrap());
        let refused = read(client.send(request, "{}").await).await;
        let metadata = format!("resource_metadata=\"{base}{WELL_KNOWN}/mcp\"");
        assert!(refused.header("www-authenticate").contains(&metadata), "{refused:?}");
    }
}

#[tokio::test]
async fn without_an_issuer_there_is_none() {
    let server = Server::legacy().await;
    let rig = Rig::new([("one", &server)]).await;
    let answer = ask(&rig, Method::GET, &format!("{WELL_KNOWN}/mcp")).await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (404, "*"));
}
