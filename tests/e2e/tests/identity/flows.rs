//! Client libraries that nobody here wrote find their own way from the first 401 to a call, with a real identity provider.

use serde_json::{Value, json};
use tollgate_e2e::clients::{Driver, Library};
use tollgate_e2e::gateway::{EVERYBODY, Gateway, http, servers, with};
use tollgate_e2e::provider::{Provider, ROBOT};
use tollgate_testkit::fake::{FakeServer, Script};

/// The libraries whose OAuth clients can be driven without a browser.
const LIBRARIES: [Library; 4] =
    [Library::PythonV1, Library::PythonV2, Library::TypeScriptV1, Library::TypeScriptV2];

/// A gateway that trusts the real provider, and is known by the address at which it listens.
async fn known_by_its_address(server: &Value) -> (Gateway, String) {
    let provider = Provider::shared();
    let address = FakeServer::free_address().await;
    let base = format!("http://{address}");
    let identity = json!({
        "issuers": [{ "issuer": provider.issuer, "allow_private_addresses": true, "clock_skew_ms": 0 }],
        "scopes": ["mcp"],
    });
    let config = servers([("there", server.clone())]);
    let config = with(
        &config,
        json!({ "public_url": base, "identity": identity, "policy": { "files": [EVERYBODY] } }),
    );
    (Gateway::start_at(&config, address).await, base)
}

fn call(tool: &str) -> Value {
    json!({ "tool": { "name": tool, "arguments": {} } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_library_finds_its_way_from_the_first_refusal_to_a_call() {
    let server = FakeServer::start(Script::legacy()).await;
    let (_gateway, base) = known_by_its_address(&http(&server.url())).await;
    for (nth, library) in LIBRARIES.into_iter().enumerate() {
        let mut driver = Driver::start(library);
        // At the merged endpoint and at the server's own: each is a resource of its own.
        for (path, tool) in [("/mcp", "there__echo"), ("/mcp/there", "echo")] {
            let url = format!("{base}{path}");
            let job = json!({
                "id": "flow", "connect": { "url": url, "oauth": { "person": format!("person-{nth}") } },
                "lists": ["tools"], "parts": { "there": call(tool) },
            });
            let seen = driver.job(&job).await;
            assert_eq!(seen["protocol"], library.revision(), "{library:?}: {seen}");
            assert_eq!(seen["parts"]["there"]["tool"]["ok"]["text"], "echo", "{library:?}: {seen}");
            let tools = seen["tools"]["ok"].as_array().unwrap_or_else(|| panic!("{library:?}: {seen}"));
            assert!(tools.iter().any(|name| name == tool), "{library:?}: {seen}");
            let requests =
                seen["oauth"]["requests"].as_array().unwrap_or_else(|| panic!("{library:?}: {seen}"));
            assert_eq!(requests.len(), 1, "{library:?}: one login is enough: {seen}");
            assert_eq!(requests[0]["resource"], url, "{library:?}");
            assert_eq!(requests[0]["code_challenge_method"], "S256", "{library:?}");
            assert!(
                requests[0]["scope"].as_str().unwrap().split(' ').any(|scope| scope == "mcp"),
                "{library:?}: {seen}"
            );
        }
    }
    // The tokens that all of them got stay here.
    for received in server.log().requests() {
        assert!(received.header("authorization").is_none(), "{received:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_acts_for_itself_needs_no_person() {
    let server = FakeServer::start(Script::modern()).await;
    let (_gateway, base) = known_by_its_address(&http(&server.url())).await;
    let (client, secret) = ROBOT;
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        let oauth = json!({ "client": client, "secret": secret, "issuer": Provider::shared().issuer, "scope": "mcp" });
        let job = json!({
            "id": "robot", "connect": { "url": format!("{base}/mcp"), "oauth": oauth },
            "parts": { "there": call("there__echo") },
        });
        let seen = driver.job(&job).await;
        assert_eq!(seen["parts"]["there"]["tool"]["ok"]["text"], "echo", "{library:?}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_do_too_little_is_sent_for_more_and_goes_on() {
    let server = FakeServer::start(Script::modern()).await;
    let tools = json!({ "count": { "scopes": ["files.write"] } });
    let entry = with(&http(&server.url()), json!({ "tools": tools, "scopes": ["files.read"] }));
    let (_gateway, base) = known_by_its_address(&entry).await;
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        let job = json!({
            "id": "step-up", "connect": { "url": format!("{base}/mcp"), "oauth": { "person": "ann" } },
            "lists": [], "parts": { "reads": call("there__echo"), "writes": call("there__count") },
        });
        let seen = driver.job(&job).await;
        assert_eq!(seen["parts"]["reads"]["tool"]["ok"]["text"], "echo", "{library:?}: {seen}");
        assert!(seen["parts"]["writes"]["tool"]["ok"]["text"].is_string(), "{library:?}: {seen}");
        let requests = seen["oauth"]["requests"].as_array().unwrap();
        let last = requests.last().unwrap()["scope"].as_str().unwrap();
        for scope in ["mcp", "files.read", "files.write"] {
            assert!(last.split(' ').any(|asked| asked == scope), "{library:?}: {scope} in {last}: {seen}");
        }
        assert!(requests.len() >= 2, "{library:?}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_is_renewed_in_mid_session() {
    let server = FakeServer::start(Script::modern()).await;
    let (_gateway, base) = known_by_its_address(&http(&server.url())).await;
    let url = format!("{base}/mcp");
    Provider::shared().resource(&url, json!({ "seconds": 4 })).await;
    for library in LIBRARIES {
        let mut driver = Driver::start(library);
        let call = json!({ "do": "call", "name": "there__echo", "arguments": {} });
        // Nothing is heard: it is the time that passes.
        let pause = json!({ "do": "hear", "what": "updated", "withinMs": 5000 });
        let job = json!({
            "id": "renew", "connect": { "url": url, "oauth": { "person": "ann", "refresh": true } },
            "script": [call, pause, call],
        });
        let seen = driver.job(&job).await;
        for step in [0, 2] {
            assert!(seen["script"][step]["ok"].is_object(), "{library:?}, step {step}: {seen}");
        }
        let requests = seen["oauth"]["requests"].as_array().unwrap();
        assert_eq!(requests.len(), 1, "{library:?} renews without a person: {seen}");
    }
}
