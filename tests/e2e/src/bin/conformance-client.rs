//! The client under test of the official conformance runner: the gateway, driven by a small client.
//!
//! The runner starts a server for a scenario and this program with the server's address. It starts the real gateway with
//! that address as its only server, and has a client library do what the scenario asks of a client. So what reaches the
//! scenario's server was said by the gateway. `TOLLGATE_CLIENT_ERA` (`modern` or `legacy`) chooses the library.

use std::process::ExitCode;

use serde_json::{Value, json};
use tollgate_e2e::clients::{Driver, Library};
use tollgate_e2e::gateway::{Gateway, http, servers};

#[tokio::main]
async fn main() -> ExitCode {
    let Some(url) = std::env::args().next_back() else { return ExitCode::from(64) };
    let scenario = std::env::var("MCP_CONFORMANCE_SCENARIO").unwrap_or_default();
    let context = std::env::var("MCP_CONFORMANCE_CONTEXT").ok();
    let context = context.and_then(|text| serde_json::from_str::<Value>(&text).ok()).unwrap_or_default();
    let legacy = std::env::var("TOLLGATE_CLIENT_ERA").is_ok_and(|era| era == "legacy");
    let library = if legacy { Library::TypeScriptV1 } else { Library::TypeScriptV2 };

    let gateway = Gateway::start(&servers([("scenario", http(&url))])).await;
    let mut client = Client { driver: Driver::start(library), base: format!("http://{}", gateway.listen) };
    for answer in client.act(&scenario, &context).await {
        say(&answer);
    }
    if std::env::var_os("TOLLGATE_SHOW_LOG").is_some() {
        say(&json!(gateway.log()));
    }
    ExitCode::SUCCESS
}

/// What happened, for whoever reads the runner's output.
#[expect(clippy::print_stderr, reason = "the runner shows it where a scenario fails")]
fn say(answer: &Value) {
    eprintln!("{answer}");
}

struct Client {
    driver: Driver,
    base: String,
}

impl Client {
    /// Does what a scenario asks of a client.
    async fn act(&mut self, scenario: &str, context: &Value) -> Vec<Value> {
        let list = json!({ "do": "whole", "list": "tools" });
        let call =
            |tool: &str, arguments: Value| json!({ "do": "call", "name": tool, "arguments": arguments });
        let steps = match scenario {
            "tools_call" => json!([list, call("add_numbers", json!({ "a": 2, "b": 3 }))]),
            "sse-retry" => json!([list, call("test_reconnection", json!({}))]),
            "elicitation-sep1034-client-defaults" => {
                json!([list, call("test_client_elicitation_defaults", json!({}))])
            }
            "sep-2322-client-request-state" => json!([
                list,
                call("test_mrtr_echo_state", json!({})),
                call("test_mrtr_unrelated", json!({})),
                call("test_mrtr_no_state", json!({})),
                call("test_mrtr_no_result_type", json!({})),
            ]),
            "http-standard-headers" => json!([
                list,
                call("test_headers", json!({})),
                call("my-hyphenated-tool", json!({})),
                { "do": "whole", "list": "resources" },
                { "do": "readResource", "uri": "file:///path/to/file%20name.txt" },
                { "do": "readResource", "uri": "https://example.com/resource?id=123" },
                { "do": "whole", "list": "prompts" },
                { "do": "getPrompt", "name": "test_prompt", "arguments": {} },
            ]),
            "http-custom-headers" => {
                let calls = context["toolCalls"].as_array().into_iter().flatten();
                let calls =
                    calls.map(|one| call(one["name"].as_str().unwrap_or_default(), one["arguments"].clone()));
                Value::Array(std::iter::once(list).chain(calls).collect())
            }
            "http-invalid-tool-headers" | "json-schema-2020-12-preservation" => {
                return self.with_what_is_listed(scenario).await;
            }
            _ => json!([list]),
        };
        vec![self.job(steps).await]
    }

    /// Scenarios in which what is listed decides what is called.
    async fn with_what_is_listed(&mut self, scenario: &str) -> Vec<Value> {
        let listed = self.job(json!([{ "do": "whole", "list": "tools" }])).await;
        let tools = listed["script"][0]["ok"].as_array().cloned().unwrap_or_default();
        let calls = if scenario == "http-invalid-tool-headers" {
            let calls = tools.iter().map(
                |tool| json!({ "do": "call", "name": tool["name"], "arguments": { "region": "us-west1" } }),
            );
            calls.collect()
        } else {
            let rich = tools.iter().find(|tool| tool["name"] == "json_schema_2020_12_tool");
            let schema = rich.map(|tool| tool["inputSchema"].clone()).unwrap_or_default();
            vec![json!({ "do": "call", "name": "json_schema_echo", "arguments": { "schema": schema } })]
        };
        let called = self.job(Value::Array(calls)).await;
        vec![listed, called]
    }

    /// One connection to the gateway. The client's user accepts what it is asked, with the values that are there already.
    async fn job(&mut self, steps: Value) -> Value {
        let given = json!({
            "name": "John Doe", "age": 30, "score": 95.5, "status": "active", "verified": true, "confirmed": true,
        });
        let answers = json!({ "form": { "action": "accept", "content": given } });
        let connect = json!({ "url": format!("{}/mcp/scenario", self.base), "answers": answers });
        self.driver.job(&json!({ "id": "scenario", "connect": connect, "script": steps })).await
    }
}
