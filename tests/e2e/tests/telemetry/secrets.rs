//! Secrets are planted wherever a gateway meets any, and then everything that it emits is searched for them.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tollgate_e2e::gateway::{EVERYBODY, Gateway, http, servers, with};
use tollgate_e2e::guarded::{BASE, declared, resource, trusted, unthrottled};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::collector::Collector;
use tollgate_testkit::fake::{Ask, Call, FakeServer, Http, HttpPeer, Script, until};
use tollgate_testkit::issuer::{Issuer, api_key};

const UPSTREAM_HEADER: &str = "planted-upstream-header-7Qd1";
const CHILD_ENV: &str = "planted-child-env-9Zk2";
const ARGUMENT: &str = "planted-argument-4Lm3";
const PASSWORD: &str = "planted-password-8Vc4";
const RESULT: &str = "planted-result-2Hn5";
const BAD_TOKEN: &str = "planted-bad-token-6Wt6";
const USERINFO: &str = "planted-userinfo-1Rb7";
const OTLP_HEADER: &str = "planted-otlp-header-3Xs8";
const BAGGAGE: &str = "planted-baggage-5Yp9";
const ERROR_TEXT: &str = "planted-error-text-0Gj0";

/// Every file below a folder, as one heap of bytes.
fn everything(folder: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            bytes.extend(everything(&path));
        } else {
            bytes.extend(fs::read(&path).unwrap_or_default());
        }
    }
    bytes
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

/// A server's `return` tool that returns a secret, and reads that fail with one.
fn leaky() -> Script {
    let mut script = Script::modern();
    script.says.insert(
        "prompts/get".to_owned(),
        format!(r#""error":{{"code":-32603,"message":"{ERROR_TEXT}","data":"{ERROR_TEXT}"}}"#),
    );
    script.resources.push(Script::resource(&format!("https://u:{USERINFO}@h.example/x")));
    script
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_is_emitted_holds_a_secret() {
    let collector = Collector::start().await.unwrap();
    let issuer = Issuer::start().await;
    let server = FakeServer::start(leaky()).await;
    let child = Upstream::start(Kind::LegacyStdio, Script::legacy()).await;
    let folder = tempfile::tempdir().unwrap();
    let export = folder.path().join("export.jsonl");
    let there = with(&http(&server.url()), json!({ "headers": { "X-Api-Key": UPSTREAM_HEADER } }));
    let local = with(&child.entry(), json!({ "env": { "TOKEN": CHILD_ENV } }));
    let identity = unthrottled(json!({ "keys": [declared("ann")], "issuers": [trusted(&issuer)] }));
    let config = with(
        &servers([("there", there), ("local", local)]),
        json!({
            "public_url": BASE,
            "identity": identity,
            "policy": { "files": [EVERYBODY] },
            "ledger": {
                "record": { "arguments": "full", "results": "full" },
                "export": [{ "name": "siem", "file": { "path": export } }],
            },
            "telemetry": {
                "otlp": { "endpoint": collector.url(), "headers": { "X-Otlp-Key": OTLP_HEADER } },
                "traces": { "sample_ratio": 1, "respect_parent": false, "delay_ms": 20 },
                "metrics": { "interval_ms": 200 },
                "logs": { "delay_ms": 20 },
            },
        }),
    );
    let mut gateway = Gateway::start_with(&config, &[("TOLLGATE_LOG", "debug")]).await;

    let (key, token) = (api_key("ann"), issuer.token_with("unused", json!({ "aud": resource("/mcp") })));
    let mut errors = Vec::new();
    for credential in [&key, &token] {
        let mut peer = HttpPeer::modern(gateway.bearing(credential), "/mcp");
        for list in ["tools/list", "resources/list", "prompts/list"] {
            peer.request(&Call::new(list, "")).await.result();
        }
        let arguments = format!(r#"{{"note":"{ARGUMENT}","password":"{PASSWORD}","result":"{RESULT}"}}"#);
        let baggage = format!(r#""baggage":"k={BAGGAGE}""#);
        for tool in
            ["there__echo", "there__return", "there__raise", "local__echo", "local__env", "there__missing"]
        {
            let answer = peer.request(&Call::tool(tool, &arguments).meta(baggage.clone())).await;
            errors.extend(answer.error().filter(|error| error.contains("dev.tollgate/refusal")));
        }
        let uri = format!("https://u:{USERINFO}@h.example/x");
        peer.request(&Call::new("resources/read", format!(r#""uri":"{uri}""#))).await;
        peer.request(&Call::new("resources/read", r#""uri":"nowhere:x""#.to_owned())).await;
        let get = format!(r#""name":"there__greet","arguments":{{"who":"{ARGUMENT}"}}"#);
        peer.request(&Call::new("prompts/get", get)).await;
        let mut legacy = HttpPeer::legacy(gateway.bearing(credential), "/mcp").await;
        legacy.request(&Call::tool("there__echo", &arguments)).await;
    }
    let mut stranger = HttpPeer::modern(gateway.bearing(BAD_TOKEN), "/mcp");
    errors.push(stranger.request(&Call::tool("there__echo", "{}")).await.everything());
    let forged = format!("{token}x");
    let mut forger = HttpPeer::modern(gateway.bearing(&forged), "/mcp");
    errors.push(forger.request(&Call::tool("there__echo", "{}")).await.everything());
    // They did arrive where they belong.
    assert!(
        server.log().requests().iter().any(|request| request.header("x-api-key") == Some(UPSTREAM_HEADER))
    );
    assert!(server.log().of_method("tools/call").iter().any(|request| request.text().contains(PASSWORD)));

    let admin = |path: &str| {
        let (http, ask) = (Http::new(gateway.admin), Ask::new("GET", path));
        async move { http.send(&ask).await.everything() }
    };
    let emitted_here =
        [admin("/metrics").await, admin("/readyz").await, admin("/healthz").await, errors.join("\n")];
    let exported = || fs::read(&export).unwrap_or_default();
    until("the export", async || holds(&exported(), "outcome").then_some(())).await;
    gateway.signal(rustix::process::Signal::TERM);
    assert!(gateway.ended().await.success());

    let received = collector.received();
    assert!(!received.spans.is_empty() && !received.logs.is_empty() && !received.metrics.is_empty());
    assert_eq!(received.headers[0]["x-otlp-key"], OTLP_HEADER);
    let log = gateway.log();
    assert!(
        log.contains("DEBUG") && log.contains("request ended"),
        "the log is as loud as it can be asked to be"
    );
    let segments = everything(&gateway.data().join("ledger"));
    assert!(holds(&segments, "tools/call"));
    let heaps: [(&str, Vec<u8>); 5] = [
        ("the log", log.into_bytes()),
        ("what is asked for", emitted_here.concat().into_bytes()),
        ("OTLP", received.bodies.concat()),
        ("the ledger", segments),
        ("the export", exported()),
    ];
    let secrets: [&str; 12] = [
        &key,
        &token,
        UPSTREAM_HEADER,
        CHILD_ENV,
        ARGUMENT,
        PASSWORD,
        RESULT,
        BAD_TOKEN,
        USERINFO,
        OTLP_HEADER,
        BAGGAGE,
        ERROR_TEXT,
    ];
    let mut found: Vec<Value> = Vec::new();
    for (heap, bytes) in &heaps {
        for secret in secrets {
            if let Some(at) = bytes.windows(secret.len()).position(|window| window == secret.as_bytes()) {
                let around = &bytes[at.saturating_sub(300)..(at + secret.len() + 40).min(bytes.len())];
                found.push(json!({ "in": heap, "what": secret, "around": String::from_utf8_lossy(around) }));
            }
        }
    }
    assert!(found.is_empty(), "{found:#?}");
}
