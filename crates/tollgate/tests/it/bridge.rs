//! Clients that start a process: `connect` in front of a gateway, and a gateway that is the process itself.

use serde_json::{Value, json};

use crate::support::{Folder, Gateway, Running, calendar, initialize, modern, notes_config, tollgate};

/// The next response with this id; notifications on the way are collected.
fn response(process: &mut Running, id: u32, notifications: &mut Vec<Value>) -> Value {
    loop {
        let message = process.json();
        if message["id"] == id && message.get("method").is_none() {
            return message;
        }
        notifications.push(message);
    }
}

fn ask(process: &mut Running, message: &Value) -> Value {
    process.send(message);
    let id = message["id"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("an id");
    response(process, id, &mut Vec::new())
}

fn legacy_call(id: u32, tool: &str, arguments: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": { "name": tool, "arguments": arguments, "_meta": { "progressToken": id } } })
}

/// What a client of each era does over any stdio.
fn converse(process: &mut Running, tool: &str) {
    let found = ask(process, &modern(1, "server/discover", json!({})));
    assert!(found["result"]["supportedVersions"].is_array(), "{found}");
    let call = modern(2, "tools/call", json!({ "name": tool, "arguments": { "title": "groceries" } }));
    let called = ask(process, &call);
    assert_eq!(called["result"]["content"][0]["text"], "Milk, bread, coffee.", "{called}");
    assert_eq!(called["result"]["resultType"], "complete", "{called}");
}

fn converse_legacy(process: &mut Running, tool: &str) {
    let hello = ask(process, &initialize(1));
    assert_eq!(hello["result"]["protocolVersion"], "2025-11-25", "{hello}");
    process.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
    let listed = ask(process, &json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" }));
    assert!(listed["result"]["tools"].as_array().is_some_and(|tools| tools.len() == 3), "{listed}");
    let called = ask(process, &legacy_call(3, tool, &json!({ "title": "groceries" })));
    assert_eq!(called["result"]["content"][0]["text"], "Milk, bread, coffee.", "{called}");
}

fn start_connect(url: &str) -> Running {
    let mut command = tollgate();
    command.args(["connect", url]);
    Running::start(command)
}

fn start_stdio(config: &str) -> Running {
    let mut command = tollgate();
    command.args(["serve", "--stdio", "--config", config]);
    Running::start(command)
}

/// The process ends by itself when its input ends.
fn hang_up(process: &mut Running) {
    drop(process.stdin.take());
    assert_eq!(process.end().code(), Some(0));
}

#[test]
fn connect_serves_a_modern_client() {
    let folder = Folder::new();
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &notes_config("notes")));
    let mut bridge = start_connect(&gateway.url());
    converse(&mut bridge, "notes__read");
    hang_up(&mut bridge);
}

#[test]
fn connect_serves_a_legacy_client() {
    let folder = Folder::new();
    let gateway = Gateway::start(&folder.write("tollgate.yaml", &notes_config("notes")));
    let mut bridge = start_connect(&gateway.url());
    converse_legacy(&mut bridge, "notes__read");
    hang_up(&mut bridge);
}

#[test]
fn a_gateway_on_stdio_serves_a_modern_client() {
    let folder = Folder::new();
    let mut gateway = start_stdio(&folder.write("tollgate.yaml", &notes_config("notes")));
    converse(&mut gateway, "notes__read");
    hang_up(&mut gateway);
}

#[test]
fn a_gateway_on_stdio_serves_a_legacy_client() {
    let folder = Folder::new();
    let mut gateway = start_stdio(&folder.write("tollgate.yaml", &notes_config("notes")));
    converse_legacy(&mut gateway, "notes__read");
    hang_up(&mut gateway);
}

#[test]
fn progress_comes_through_and_a_modern_call_can_be_cancelled() {
    let (_server, url) = calendar();
    let mut bridge = start_connect(&url);
    let mut progress = Vec::new();
    bridge.send(&modern(5, "tools/call", json!({ "name": "countdown", "arguments": { "steps": 3 } })));
    let done = response(&mut bridge, 5, &mut progress);
    assert_eq!(done["result"]["content"][0]["text"], "Liftoff.", "{done}");
    assert_eq!(progress.len(), 3, "{progress:?}");
    assert!(progress.iter().all(|message| message["params"]["progressToken"] == 5), "{progress:?}");

    bridge.send(&modern(6, "tools/call", json!({ "name": "countdown", "arguments": { "steps": 60 } })));
    assert_eq!(bridge.json()["method"], "notifications/progress");
    let params = json!({ "requestId": 6, "reason": "enough" });
    bridge.send(&json!({ "jsonrpc": "2.0", "method": "notifications/cancelled", "params": params }));
    bridge.send(&modern(
        7,
        "tools/call",
        json!({ "name": "weekday", "arguments": { "date": "2026-07-28" } }),
    ));
    let mut before = Vec::new();
    let next = response(&mut bridge, 7, &mut before);
    assert_eq!(next["result"]["content"][0]["text"], "Tuesday", "{next}");
    assert!(before.iter().all(|message| message["id"] != 6), "a cancelled request has no answer: {before:?}");
    // Well before the sixty steps of the cancelled call would be over, nothing is under way any more.
    let hung_up = std::time::Instant::now();
    hang_up(&mut bridge);
    assert!(hung_up.elapsed().as_secs() < 4);
}

#[test]
fn a_gateway_that_was_restarted_is_found_again() {
    let folder = Folder::new();
    let config = folder.write("tollgate.yaml", &notes_config("notes"));
    let first = Gateway::start(&config);
    let listen = first.listen;
    let mut bridge = start_connect(&first.url());
    converse_legacy(&mut bridge, "notes__read");
    drop(first);

    let refused = ask(&mut bridge, &legacy_call(10, "notes__read", &json!({ "title": "groceries" })));
    assert!(
        refused["error"]["message"].as_str().is_some_and(|text| text.contains("cannot be reached")),
        "{refused}"
    );
    bridge.wait_err("is it running?");

    let mut command = tollgate();
    command.args(["serve", "--config", &config, "--json", "--admin-listen", "127.0.0.1:0"]);
    command.args(["--listen", &listen.to_string()]);
    let mut second = Running::start(command);
    second.json();
    let called = ask(&mut bridge, &legacy_call(11, "notes__read", &json!({ "title": "groceries" })));
    assert_eq!(called["result"]["content"][0]["text"], "Milk, bread, coffee.", "{called}");
}

#[test]
fn a_gateway_on_stdio_follows_its_configuration() {
    let folder = Folder::new();
    let mut gateway = start_stdio(&folder.write("tollgate.yaml", &notes_config("notes")));
    converse_legacy(&mut gateway, "notes__read");
    folder.write("tollgate.yaml", &notes_config("renamed"));
    gateway.wait_err("configuration reloaded");
    let mut changes = Vec::new();
    gateway.send(&json!({ "jsonrpc": "2.0", "id": 20, "method": "tools/list" }));
    let listed = response(&mut gateway, 20, &mut changes);
    assert!(listed.to_string().contains("renamed__read"), "{listed}");
    assert!(
        changes.iter().any(|change| change["method"] == "notifications/tools/list_changed"),
        "{changes:?}"
    );
    hang_up(&mut gateway);
}

#[test]
fn what_the_gateway_says_unasked_reaches_the_client() {
    let folder = Folder::new();
    let mut gateway = Gateway::start(&folder.write("tollgate.yaml", &notes_config("notes")));
    let mut bridge = start_connect(&gateway.url());
    converse_legacy(&mut bridge, "notes__read");
    folder.write("tollgate.yaml", &notes_config("renamed"));
    gateway.process.wait_err("configuration reloaded");
    let mut seen = Vec::new();
    while !seen.iter().any(|method| method == "notifications/tools/list_changed") {
        seen.push(bridge.json()["method"].as_str().unwrap_or_default().to_owned());
    }
    let listed = ask(&mut bridge, &json!({ "jsonrpc": "2.0", "id": 20, "method": "tools/list" }));
    assert!(listed.to_string().contains("renamed__read"), "{listed}");
}

#[test]
fn what_is_not_a_message_is_answered_as_such() {
    let mut bridge = start_connect("http://127.0.0.1:9/mcp");
    let stdin = bridge.stdin.as_mut().expect("standard input");
    std::io::Write::write_all(stdin, b"{\"jsonrpc\":\"2.0\",\"id\":3,\n").expect("sent");
    assert_eq!(bridge.json()["error"]["code"], -32700);
    bridge.send(&json!({ "jsonrpc": "2.0", "id": 4 }));
    let refused = bridge.json();
    assert_eq!((&refused["error"]["code"], &refused["id"]), (&json!(-32600), &json!(4)), "{refused}");
}
