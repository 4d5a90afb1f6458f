//! Guards outside of the gateway that others wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde_json::{Value, json};
use tollgate_e2e::gateway::{Gateway, servers, with};
use tollgate_e2e::places::{installed, script};
use tollgate_e2e::upstream::{Kind, Upstream};
use tollgate_testkit::fake::{Call, Dialect, Peer, Script};

/// The analyzer of Microsoft Presidio. It ends with its input, so that it cannot outlive the test.
struct Presidio {
    _child: Child,
    _input: ChildStdin,
    url: String,
}

impl Presidio {
    fn start() -> Self {
        let mut child = Command::new(installed("python-presidio/bin/python"))
            .arg(script("servers/presidio.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 = line.trim().parse().expect("its first line is its port");
        Self { _child: child, _input: input, url: format!("http://127.0.0.1:{port}/analyze") }
    }
}

async fn echoed(peer: &mut Peer, arguments: &Value) -> Value {
    let answer = peer.request(&Call::tool("echo", &arguments.to_string())).await;
    serde_json::from_str(&answer.message).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presidio_says_where_personal_data_is_and_the_gateway_takes_it_out() {
    let presidio = Presidio::start();
    let guard = |direction: &str| {
        json!({ "guard": { "results": { "mode": "off" }, "arguments": { "mode": "off" }, "external": { "presidio": {
            "url": presidio.url, "kind": "presidio", "direction": direction, "timeout_ms": 20_000,
            "allow_private_addresses": true,
            "presidio": {
                "entities": ["EMAIL_ADDRESS", "CREDIT_CARD", "IBAN_CODE", "US_SSN"],
                "actions": { "CREDIT_CARD": "partial", "US_SSN": "block" },
            },
        } } } })
    };
    let text = "É — mail ann@example.com, card 4111 1111 1111 1111, account DE89 3704 0044 0532 0130 00.";
    let clean = "É — mail [redacted:EMAIL_ADDRESS], card **** **** **** 1111, account [redacted:IBAN_CODE].";
    let arguments = json!({ "text": text, "n": 1.0, "list": ["nothing here"] });
    for (dialect, kind) in [(Dialect::Modern, Kind::LegacyJson), (Dialect::Legacy, Kind::ModernStream)] {
        let script = if kind.dialect() == Dialect::Modern { Script::modern() } else { Script::legacy() };
        let upstream = Upstream::start(kind, script.with_tools(["echo"])).await;
        let config = servers([("there", upstream.entry())]);
        for direction in ["results", "arguments"] {
            let gateway = Gateway::start(&with(&config, guard(direction))).await;
            let mut peer = gateway.peer(dialect, "/mcp/there").await;
            let said = echoed(&mut peer, &arguments).await;
            assert_eq!(said["result"]["echo"]["arguments"]["text"], clean, "{direction}: {said}");
            assert_eq!(said["result"]["echo"]["arguments"]["list"], arguments["list"]);
            let seen = upstream.of_method("tools/call").pop().unwrap().body;
            let seen = String::from_utf8(seen).unwrap();
            assert_eq!(seen.contains("ann@example.com"), direction == "results", "{seen}");

            let said =
                echoed(&mut peer, &json!({ "text": "his social security number is 536-90-4399" })).await;
            let refusal = &said["error"]["data"]["dev.tollgate/refusal"];
            assert_eq!(refusal["code"], "guard_blocked", "{direction}: {said}");
            assert!(!said.to_string().contains("536-90"), "{said}");
        }
    }
}
