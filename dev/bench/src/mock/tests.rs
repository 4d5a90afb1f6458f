use serde_json::{Value, json};

use super::*;
use crate::client::{self, exchange, legacy_request, open_stream};
use crate::payload::{ARGUMENT_BYTES, ARGUMENT_TEXT, LEGACY, MODERN, RESULT_TEXT, TOOLS};

/// A mock in a thread of its own, which ends when this is dropped.
pub(crate) struct Background {
    pub(crate) addresses: Addresses,
    _runtime: tokio::runtime::Runtime,
}

pub(crate) fn background() -> Background {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mock = runtime.block_on(Mock::bind()).unwrap();
    let addresses = mock.addresses().unwrap();
    runtime.spawn(mock.serve());
    Background { addresses, _runtime: runtime }
}

fn modern(address: SocketAddr, method: &str, body: &Value) -> client::Answer {
    let body = body.to_string();
    let request = format!(
        "POST /mcp HTTP/1.1\r\nHost: {address}\r\nAccept: application/json, text/event-stream\r\n\
         MCP-Protocol-Version: {MODERN}\r\nMcp-Method: {method}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    exchange(&mut client::connect(address).unwrap(), request.as_bytes()).unwrap()
}

fn call(id: u64, native_name: &str, arguments: &Value) -> Value {
    let meta = json!({"progressToken": "t", "io.modelcontextprotocol/protocolVersion": MODERN});
    let params = json!({"name": native_name, "arguments": arguments, "_meta": meta});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

fn value(answer: &client::Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap()
}

#[test]
fn the_modern_listener_discovers_lists_and_calls() {
    let mock = background();
    let at = mock.addresses.modern;
    let found = modern(
        at,
        "server/discover",
        &json!({"jsonrpc": "2.0", "id": "d", "method": "server/discover", "params": {}}),
    );
    let found = value(&found);
    assert_eq!((&found["id"], &found["result"]["supportedVersions"]), (&json!("d"), &json!([MODERN])));
    let list = modern(at, "tools/list", &json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"}));
    assert_eq!(value(&list)["result"]["tools"].as_array().unwrap().len(), TOOLS);
    let small = value(&modern(at, "tools/call", &call(3, "small", &json!({"word": "gate"}))));
    assert_eq!(small["result"]["resultType"], "complete");
    assert_eq!(small["result"]["content"][0]["text"], "heard gate");
    let large = value(&modern(at, "tools/call", &call(4, "large", &json!({}))));
    let text: String = serde_json::from_str(&format!("\"{}\"", *RESULT_TEXT)).unwrap();
    assert_eq!(large["result"]["content"][0]["text"], text);
    let swallowed = format!(
        r#"{{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{{"name":"swallow","arguments":{{"text":"{}"}}}}}}"#,
        *ARGUMENT_TEXT
    );
    let swallowed = value(&modern(at, "tools/call", &serde_json::from_str(&swallowed).unwrap()));
    assert_eq!(swallowed["id"], 5);
    assert!(
        swallowed["result"]["content"][0]["text"].as_str().unwrap().ends_with(&format!(" {ARGUMENT_BYTES}"))
    );
}

#[test]
fn progress_is_twenty_events_and_the_result() {
    let mock = background();
    let answer = modern(mock.addresses.modern, "tools/call", &call(9, "steps", &json!({"topic": "x"})));
    let text = String::from_utf8(answer.body).unwrap();
    let messages: Vec<Value> = text
        .split("\n\n")
        .filter_map(|event| serde_json::from_str(event.strip_prefix("event: message\ndata: ")?).ok())
        .collect();
    assert_eq!(messages.len(), 21);
    let progress = messages[..20].iter().map(|message| message["params"]["progress"].as_u64().unwrap());
    assert!(progress.eq(1..=20));
    assert_eq!(messages[20]["id"], 9);
}

#[test]
fn the_modern_listener_refuses_what_is_not_modern() {
    let mock = background();
    let at = mock.addresses.modern;
    let request =
        legacy_request("POST", at, "/mcp", None, r#"{"jsonrpc":"2.0","id":1,"method":"initialize"}"#);
    let answer = exchange(&mut client::connect(at).unwrap(), request.as_bytes()).unwrap();
    assert_eq!((answer.status, &value(&answer)["error"]["code"]), (400, &json!(-32022)));
    let unknown = modern(at, "no/such", &json!({"jsonrpc": "2.0", "id": 1, "method": "no/such"}));
    assert_eq!((unknown.status, &value(&unknown)["error"]["code"]), (404, &json!(-32601)));
    let get = legacy_request("GET", at, "/mcp", None, "");
    assert_eq!(exchange(&mut client::connect(at).unwrap(), get.as_bytes()).unwrap().status, 405);
}

#[test]
fn the_legacy_listener_keeps_sessions() {
    let mock = background();
    let at = mock.addresses.legacy;
    let mut stream = client::connect(at).unwrap();
    let session = client::initialize(&mut stream, at, "/mcp").unwrap();
    assert!(session.is_some());
    let body = call(7, "small", &json!({"word": "x"})).to_string();
    let post = legacy_request("POST", at, "/mcp", session.as_deref(), &body);
    let small = value(&exchange(&mut stream, post.as_bytes()).unwrap());
    assert_eq!(small["result"], json!({"content": [{"type": "text", "text": "heard x"}]}));

    let get = legacy_request("GET", at, "/mcp", session.as_deref(), "");
    assert_eq!(open_stream(&mut client::connect(at).unwrap(), get.as_bytes()).unwrap(), 200);

    let delete = legacy_request("DELETE", at, "/mcp", session.as_deref(), "");
    assert_eq!(exchange(&mut stream, delete.as_bytes()).unwrap().status, 200);
    assert_eq!(exchange(&mut stream, post.as_bytes()).unwrap().status, 400);

    let discover =
        legacy_request("POST", at, "/mcp", None, r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#);
    let refused = exchange(&mut stream, discover.as_bytes()).unwrap();
    assert_eq!((refused.status, &value(&refused)["error"]["code"]), (400, &json!(-32000)));
    assert_eq!(LEGACY, "2025-11-25");
}
