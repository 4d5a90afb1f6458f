//! The admin plane of the real binary: somebody signs in at a real identity provider, stops a tool, and an agent is refused.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_e2e::provider::Provider;
use tollgate_ledger::{Reader, writers};
use tollgate_testkit::fake::stdio::alive;
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, HttpPeer, Reply, Script, until};

/// A browser, as far as it matters: it keeps cookies for each host, and follows where it is sent.
#[derive(Default)]
struct Browser {
    jar: BTreeMap<SocketAddr, BTreeMap<String, String>>,
}

impl Browser {
    fn cookies(&self, at: SocketAddr) -> String {
        let jar = self.jar.get(&at).into_iter().flatten();
        jar.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
    }

    async fn send(&mut self, at: SocketAddr, ask: Ask) -> Reply {
        let cookies = self.cookies(at);
        let ask = if cookies.is_empty() { ask } else { ask.with("Cookie", &cookies) };
        let reply = Http::new(at).send(&ask).await;
        for (_, set) in reply.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("set-cookie")) {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let jar = self.jar.entry(at).or_default();
            if value.is_empty() || set.contains("Max-Age=0") {
                jar.remove(name);
            } else {
                jar.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    async fn get(&mut self, at: SocketAddr, target: &str) -> Reply {
        self.send(at, Ask::new("GET", target)).await
    }

    /// Follows redirects to whatever is no redirect.
    async fn follow(&mut self, at: SocketAddr, target: &str) -> Reply {
        let (mut at, mut target) = (at, target.to_owned());
        for _ in 0..12 {
            let reply = self.get(at, &target).await;
            let Some(location) = reply.header("location").map(str::to_owned) else { return reply };
            if let Some(rest) = location.strip_prefix("http://") {
                let (host, path) = rest.split_once('/').unwrap();
                (at, target) = (host.parse().unwrap(), format!("/{path}"));
            } else {
                target = location;
            }
        }
        panic!("too many redirects");
    }

    async fn post(&mut self, at: SocketAddr, target: &str, form: &[(&str, &str)]) -> Reply {
        let encode = |text: &str| {
            let byte = |byte: u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            };
            text.bytes().map(byte).collect::<String>()
        };
        let body: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let ask = Ask::new("POST", target)
            .with("Content-Type", "application/x-www-form-urlencoded")
            .with("Origin", &format!("http://{at}"))
            .with("Sec-Fetch-Site", "same-origin")
            .body(body.join("&"));
        self.send(at, ask).await
    }
}

fn csrf(page: &str) -> String {
    let mark = "name=\"csrf\" value=\"";
    let at = page.find(mark).unwrap_or_else(|| panic!("no form: {page}")) + mark.len();
    page[at..].split('"').next().unwrap().to_owned()
}

/// A client of the provider that the gateway signs people in with, and its secret.
async fn client(provider: &Provider) -> (String, String) {
    let at: SocketAddr = provider.issuer.strip_prefix("http://").unwrap().parse().unwrap();
    let wanted = json!({
        "application_type": "native", "token_endpoint_auth_method": "client_secret_basic",
        "redirect_uris": ["http://127.0.0.1/sign-in/callback"],
    });
    let ask = Ask::new("POST", "/reg").with("Content-Type", "application/json").body(wanted.to_string());
    let reply = Http::new(at).send(&ask).await;
    assert_eq!(reply.status, 201, "{}", reply.text());
    let made: Value = serde_json::from_slice(&reply.body).unwrap();
    (made["client_id"].as_str().unwrap().to_owned(), made["client_secret"].as_str().unwrap().to_owned())
}

fn config(provider: &Provider, (id, secret): &(String, String), url: &str) -> Value {
    let admin = json!({
        "sign_in": {
            "issuer": provider.issuer, "client_id": id, "client_secret": secret, "scopes": [],
            "allow_private_addresses": true,
        },
        "roles": [{ "role": "operator", "users": ["ann"] }],
    });
    with(&servers([("crm", http(url))]), json!({ "admin": admin }))
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_at_a_real_provider_and_stops_a_tool() {
    let provider = Provider::shared();
    let upstream = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let gateway = Gateway::start(&config(provider, &client(provider).await, &upstream.url())).await;
    let mut browser = Browser::default();
    let first = browser.get(gateway.admin, "/").await;
    assert_eq!((first.status, first.header("location")), (303, Some("/sign-in")));
    // Somebody else may have put a session of theirs there.
    let planted = "s.planted-by-somebody-else";
    let jar = browser.jar.entry(gateway.admin).or_default();
    jar.insert("tollgate-local".to_owned(), planted.to_owned());
    let home = browser.follow(gateway.admin, "/sign-in/oidc").await;
    assert!(home.status == 200 && home.text().contains("Overview"), "{}", home.everything());

    assert_ne!(browser.jar[&gateway.admin]["tollgate-local"], planted);
    let other = Ask::new("GET", "/").with("Cookie", &format!("tollgate-local={planted}"));
    assert_eq!(Http::new(gateway.admin).send(&other).await.status, 303, "nobody came in by it");

    let page = browser.get(gateway.admin, "/kill-switch").await.text();
    let token = csrf(&page);
    let form = [
        ("csrf", &*token),
        ("kind", "tool"),
        ("tenant", ""),
        ("name", "crm/echo"),
        ("reason", "it <b>leaks</b>"),
        ("shown", "on"),
    ];
    let blocked = browser.post(gateway.admin, "/kill-switch/block", &form).await;
    assert_eq!(blocked.status, 303, "{}", blocked.everything());
    let page = browser.get(gateway.admin, "/kill-switch").await.text();
    assert!(page.contains("crm/echo") && page.contains("it &#60;b&#62;leaks"), "{page}");

    until("the agent is refused", async || {
        let agent = HttpPeer::modern(gateway.listen, "/mcp");
        let reply = Http::from(gateway.listen).send(&agent.ask("1", &Call::tool("crm__echo", "{}"))).await;
        reply.everything().contains("leaks").then_some(())
    })
    .await;
    let out = browser.post(gateway.admin, "/sign-out", &[("csrf", &token)]).await;
    assert_eq!(out.status, 303);
    assert_eq!(browser.get(gateway.admin, "/kill-switch").await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_the_provider_says_only_when_it_is_asked_count() {
    // One of its own: it is away for a while.
    let provider = Provider::start();
    provider.person("ann", json!({ "groups": ["platform", "people"] })).await;
    let upstream = FakeServer::start(Script::modern()).await;
    let mut config = config(&provider, &client(&provider).await, &upstream.url());
    config["admin"]["sign_in"]["scopes"] = json!(["groups"]);
    config["admin"]["roles"] = json!([{ "role": "admin", "groups": ["platform"] }]);
    let gateway = Gateway::start(&config).await;
    let roles = async |browser: &mut Browser| {
        browser.follow(gateway.admin, "/sign-in/oidc").await;
        let whoami = browser.get(gateway.admin, "/api/v1/whoami").await;
        let whoami: Value = serde_json::from_slice(&whoami.body).unwrap();
        whoami["grants"].as_array().map(Vec::len)
    };
    assert_eq!(roles(&mut Browser::default()).await, Some(1));
    assert_eq!(provider.asked("/me").await, 1);
    provider.command(json!({ "do": "behave", "path": "/me", "as": "down" })).await;
    assert_eq!(roles(&mut Browser::default()).await, Some(0), "they are in, and nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_of_another_browser_and_a_stranger_sign_nobody_in() {
    let provider = Provider::shared();
    let upstream = FakeServer::start(Script::modern()).await;
    let gateway = Gateway::start(&config(provider, &client(provider).await, &upstream.url())).await;
    let (mut mine, mut other) = (Browser::default(), Browser::default());
    // The other browser goes the whole way but for the last step, which this one is made to take.
    let (mut at, mut target) = (gateway.admin, "/sign-in/oidc".to_owned());
    let stolen = loop {
        let reply = other.get(at, &target).await;
        let location =
            reply.header("location").unwrap_or_else(|| panic!("{}", reply.everything())).to_owned();
        if location.contains("/sign-in/callback") {
            break location;
        }
        if let Some((host, path)) = location.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
            (at, target) = (host.parse().unwrap(), format!("/{path}"));
        } else {
            target = location;
        }
    };
    let path = &stolen[stolen.find("/sign-in/callback").unwrap()..];
    assert_eq!(mine.get(gateway.admin, path).await.status, 403);
    assert!(mine.get(gateway.admin, "/sign-in/oidc").await.status == 303);
    assert_eq!(mine.get(gateway.admin, path).await.status, 403, "of another sign-in");
    assert_eq!(other.get(gateway.admin, path).await.status, 303, "the browser that asked");
    assert_eq!(other.get(gateway.admin, "/").await.status, 200);
    assert_ne!(other.get(gateway.admin, path).await.status, 303, "a code is good once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_administers_by_a_key_until_it_is_revoked() {
    let upstream = FakeServer::start(Script::modern().with_tools(["echo"])).await;
    let gateway = Gateway::start(&servers([("crm", http(&upstream.url()))])).await;
    let made = gateway.command(&["admin-keys", "create", "--role", "operator", "--json"]).await;
    let api = Http::new(gateway.admin).bearing(made["key"].as_str().unwrap());
    let whoami = api.send(&Ask::new("GET", "/api/v1/whoami")).await;
    assert_eq!(whoami.status, 200, "{}", whoami.text());
    let servers = api.send(&Ask::new("GET", "/api/v1/servers")).await;
    assert!(servers.text().contains("\"crm\""), "{}", servers.text());
    let id = made["id"].as_str().unwrap();
    gateway.command(&["admin-keys", "revoke", id, "--json"]).await;
    assert_eq!(api.send(&Ask::new("GET", "/api/v1/whoami")).await.status, 401);
}

/// How often a change is on record, of all processes that have written there.
fn recorded(gateway: &Gateway, change: &str) -> usize {
    let mut count = 0;
    for writer in writers(&gateway.data().join("ledger")).unwrap() {
        let mut reader = Reader::new(&writer);
        while let Some(read) = reader.next_entry().unwrap() {
            count += usize::from(read.entry().unwrap().change.as_deref() == Some(change));
        }
    }
    count
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_that_follows_does_what_commands_say() {
    let upstream = FakeServer::start(Script::modern()).await;
    let mut gateway = Gateway::start(&servers([("crm", http(&upstream.url()))])).await;
    let first = gateway.pid();
    gateway.hand_over().await;
    until("the end of the one before", async || (!alive(first)).then_some(())).await;
    assert!(gateway.data().join("admin.sock").exists(), "it takes nothing away that is not its own");
    gateway.command(&["block", "server", "crm", "--reason", "r", "--json"]).await;
    until("its entry", async || (recorded(&gateway, "admin.block") == 1).then_some(())).await;
}
