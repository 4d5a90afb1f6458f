//! Ways in that are not Streamable HTTP, and what must cross from any client to any server: cancellation, progress, and
//! lists of many pages.

#![allow(clippy::expect_used, reason = "a test fails loudly")]

use std::fmt::Write as _;
use std::time::Instant;

use serde_json::{Value, json};
use tollgate_e2e::clients::{Driver, Library};
use tollgate_e2e::gateway::{Gateway, binary, config_file, servers};
use tollgate_e2e::places::{node, peer, script};
use tollgate_e2e::samples::listening;
use tollgate_testkit::fake::PATIENCE;

/// What every part of these tests asks of the reference server, by its own names.
fn steps(prefix: &str) -> Value {
    let named = |native: &str| format!("{prefix}{native}");
    json!({
        "tool": { "name": named("echo"), "arguments": { "message": "Ada" } },
        "toolError": { "name": named("test_error_handling"), "arguments": {} },
        "resource": "test://static-text",
        "prompt": { "name": named("test_prompt_with_arguments"), "arguments": { "arg1": "a", "arg2": "b" } },
        "completion": {
            "ref": { "type": "ref/prompt", "name": named("test_prompt_with_arguments") },
            "argument": { "name": "arg1", "value": "par" },
        },
        "progress": { "name": named("test_tool_with_progress"), "arguments": {}, "atLeast": 3 },
    })
}

fn check(what: &str, answer: &Value) -> String {
    let part = &answer["parts"]["all"];
    let said = |step: &str| part[step]["ok"]["text"].as_str().unwrap_or_default().to_owned();
    let expected = [
        (said("tool"), "Echo: Ada"),
        (said("toolError"), "intentionally returns an error"),
        (said("resource"), "static text resource"),
        (said("prompt"), "arg1='a', arg2='b'"),
        (said("progress"), "executed successfully"),
    ];
    let mut wrong = String::new();
    for (said, wanted) in expected {
        if !said.contains(wanted) {
            let _ = writeln!(wrong, "{what}: {wanted:?} was expected");
        }
    }
    if part["completion"]["ok"]["values"] != json!(["paris", "park", "party"]) {
        let _ = writeln!(wrong, "{what}: three completions were expected");
    }
    if part["progress"]["ok"]["notifications"] != 3 || part["progress"]["ok"]["increasing"] != true {
        let _ = writeln!(wrong, "{what}: three progress notifications were expected");
    }
    if !wrong.is_empty() {
        let _ = writeln!(wrong, "{what}: {answer}");
    }
    wrong
}

/// A job that asks for everything.
fn job(connect: &Value, prefix: &str, modern: bool) -> Value {
    json!({
        "id": "all",
        "timeoutS": 60,
        "connect": connect,
        "lists": ["tools", "resources", "templates", "prompts"],
        "ping": !modern,
        "parts": { "all": steps(prefix) },
    })
}

#[tokio::test]
async fn clients_of_the_oldest_transport_are_served() {
    let (_modern, modern) = reference(&["--era", "modern"]).await;
    let (_legacy, legacy) = reference(&["--era", "legacy"]).await;
    let config = servers([("modern", json!({ "url": modern })), ("legacy", json!({ "url": legacy }))]);
    let gateway = Gateway::start(&config).await;
    let mut wrong = String::new();
    // The Rust SDK has no HTTP+SSE.
    for library in Library::ALL.into_iter().filter(|library| *library != Library::Rmcp) {
        let mut driver = Driver::start(library);
        for server in ["modern", "legacy"] {
            let sse = json!({ "sse": format!("http://{}/sse/{server}", gateway.listen) });
            let answer = driver.job(&job(&sse, "", false)).await;
            wrong += &check(&format!("{library:?} over HTTP+SSE to {server}"), &answer);
        }
        let sse = json!({ "sse": format!("http://{}/sse", gateway.listen) });
        let mut merged = job(&sse, "modern__", false);
        merged["parts"]["all"]["resource"] = json!("tollgate:modern:test://static-text");
        wrong += &check(&format!("{library:?} over HTTP+SSE to all"), &driver.job(&merged).await);
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn clients_that_can_only_start_a_process_are_bridged() {
    let (_modern, modern) = reference(&["--era", "modern"]).await;
    let (_legacy, legacy) = reference(&["--era", "legacy"]).await;
    let config = servers([("modern", json!({ "url": modern })), ("legacy", json!({ "url": legacy }))]);
    let gateway = Gateway::start(&config).await;
    let mut wrong = String::new();
    for library in Library::ALL {
        let mut driver = Driver::start(library);
        for server in ["modern", "legacy"] {
            let url = format!("http://{}/mcp/{server}", gateway.listen);
            let bridge = json!({ "command": [binary(), "connect", url] });
            let answer = driver.job(&job(&bridge, "", library.is_modern())).await;
            wrong += &check(&format!("{library:?} through `connect` to {server}"), &answer);
            if answer["protocol"] != library.revision() {
                let _ = writeln!(wrong, "{library:?} speaks {} through `connect`", answer["protocol"]);
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn a_gateway_can_itself_be_a_process() {
    let entry = json!({ "command": peer("reference-server"), "args": ["--stdio"] });
    let (_folder, config) = config_file(&servers([("reference", entry)]));
    let mut wrong = String::new();
    for library in Library::ALL {
        let mut driver = Driver::start(library);
        let gateway = json!({ "command": [binary(), "serve", "--stdio", "--config", config] });
        let answer = driver.job(&job(&gateway, "reference__", library.is_modern())).await;
        wrong += &check(&format!("{library:?} and `serve --stdio`"), &answer);
        if answer["protocol"] != library.revision() {
            let _ = writeln!(wrong, "{library:?} speaks {} to `serve --stdio`", answer["protocol"]);
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_server() {
    let (_modern, modern) = reference(&["--era", "modern"]).await;
    let (_legacy, legacy) = reference(&["--era", "legacy"]).await;
    let child = |era: &str| {
        json!({
            "command": peer("reference-server"),
            "args": ["--stdio", "--era", era],
            "isolation": "shared",
        })
    };
    let typescript = json!({
        "command": node(),
        "args": [script("servers/typescript_v2.mjs"), "stdio"],
        "isolation": "shared",
    });
    let config = servers([
        ("modern-http", json!({ "url": modern })),
        ("legacy-http", json!({ "url": legacy })),
        ("modern-stdio", child("modern")),
        ("legacy-stdio", child("legacy")),
        ("typescript", typescript),
    ]);
    let gateway = Gateway::start(&config).await;
    let mut wrong = String::new();
    for library in Library::ALL {
        let mut driver = Driver::start(library);
        for server in ["modern-http", "legacy-http", "modern-stdio", "legacy-stdio", "typescript"] {
            let connect = json!({ "url": format!("http://{}/mcp/{server}", gateway.listen) });
            let tool = if server == "typescript" { "wait" } else { "wait_until_cancelled" };
            let before = cancelled(&mut driver, &connect).await;
            let call = json!({ "name": tool, "arguments": {} });
            let cancel = json!({ "id": "cancel", "connect": connect, "lists": [], "cancel": call });
            let answer = driver.job(&cancel).await;
            if answer["cancel"]["ok"]["started"] != true || answer["cancel"]["ok"]["answered"] == true {
                let _ = writeln!(
                    wrong,
                    "{library:?} to {server}: the call was not started and cancelled: {answer}"
                );
                continue;
            }
            let since = Instant::now();
            while cancelled(&mut driver, &connect).await == before {
                if since.elapsed() > PATIENCE {
                    let _ = writeln!(wrong, "{library:?} to {server}: the server was not told");
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

/// How many calls the server says were cancelled.
async fn cancelled(driver: &mut Driver, connect: &Value) -> u64 {
    let look = json!({ "tool": { "name": "observations", "arguments": {} } });
    let answer = driver
        .job(&json!({ "id": "look", "connect": connect, "lists": [], "parts": { "look": look } }))
        .await;
    let text = answer["parts"]["look"]["tool"]["ok"]["text"].as_str().unwrap_or_else(|| panic!("{answer}"));
    let seen: Value = serde_json::from_str(text).expect("JSON");
    seen["cancelled"].as_u64().expect("a count")
}

#[tokio::test]
async fn two_thousand_tools_on_ten_pages_arrive_complete() {
    let many = ["--numbered-tools", "2000", "--page-size", "203"];
    let (_modern, modern) = reference(&[&["--era", "modern"], &many[..]].concat()).await;
    let (_legacy, legacy) = reference(&[&["--era", "legacy"], &many[..]].concat()).await;
    let config = servers([("legacy", json!({ "url": legacy })), ("modern", json!({ "url": modern }))]);
    let gateway = Gateway::start(&config).await;
    let mut wrong = String::new();
    for library in Library::ALL {
        let mut driver = Driver::start(library);
        for (path, prefixes) in
            [("/mcp/modern", vec![""]), ("/mcp/legacy", vec![""]), ("/mcp", vec!["legacy__", "modern__"])]
        {
            let connect = json!({ "url": format!("http://{}{path}", gateway.listen) });
            let list = json!({ "id": path, "timeoutS": 60, "connect": connect, "lists": ["tools"] });
            let answer = driver.job(&list).await;
            let listed = answer["tools"]["ok"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let listed: Vec<&str> = listed.filter(|tool| tool.contains("numbered_")).collect();
            let expected: Vec<String> = prefixes
                .iter()
                .flat_map(|prefix| (1..=2000).map(move |number| format!("{prefix}numbered_{number:04}")))
                .collect();
            if listed != expected {
                let error = &answer["tools"]["error"];
                let _ =
                    writeln!(wrong, "{library:?} at {path}: {} tools or not in order, {error}", listed.len());
            }
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

async fn reference(args: &[&str]) -> (tokio::process::Child, String) {
    let program = peer("reference-server");
    let command: Vec<&str> = [&[program.as_str(), "--http", "127.0.0.1:0"], args].concat();
    listening(&command).await
}
