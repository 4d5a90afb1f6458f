//! Servers of every era and transport, well and ill behaved, reached over real sockets and pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod comeback;
mod fake;
mod guard;
mod http_faults;
mod instances;
mod leases;
mod legacy_http;
mod log_levels;
mod modern_http;
mod old_sse;
mod replicas;
mod stdio;
mod timeouts;
mod tls;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tollgate_mcp::{Message, Segments};
use tollgate_model::{
    Caller, ClientProfile, Principal, PrincipalId, Proof, Revision, ServerName, SessionId, TenantId,
};
use tollgate_upstream::{
    HttpSettings, Incoming, Link, Outbound, Server, ServerEvent, ServerSettings, StdioSettings, Transport,
    UpstreamError,
};

/// Longer than anything here should take.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn settings(transport: Transport) -> ServerSettings {
    let mut settings = ServerSettings::new(ServerName::new("under-test").unwrap(), transport);
    settings.timeouts.probe = Duration::from_secs(5);
    settings.timeouts.backoff_min = Duration::from_millis(50);
    settings.timeouts.stop = Duration::from_millis(500);
    settings
}

pub(crate) fn http(url: http::Uri) -> ServerSettings {
    settings(Transport::Http(HttpSettings::new(url)))
}

pub(crate) fn child(era: &str) -> ServerSettings {
    settings(Transport::Stdio(child_command(era)))
}

/// The interpreter itself: what is called `python3` may be a script that adds to the environment.
fn python() -> &'static str {
    static PATH: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PATH.get_or_init(|| {
        let asked =
            std::process::Command::new("python3").args(["-c", "import sys; print(sys.executable)"]).output();
        String::from_utf8(asked.expect("python3").stdout).unwrap().trim().to_owned()
    })
}

pub(crate) fn child_command(era: &str) -> StdioSettings {
    let mut stdio = StdioSettings::new(python());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/child.py");
    stdio.args = vec!["-u".to_owned(), script.to_owned(), era.to_owned()];
    stdio
}

pub(crate) fn server(settings: ServerSettings) -> (Server, mpsc::Receiver<ServerEvent>) {
    let (sender, events) = mpsc::channel(64);
    (Server::new(settings, sender).unwrap(), events)
}

pub(crate) fn caller(principal: &str, session: Option<&str>, capabilities: &Value) -> Caller {
    Caller {
        who: Arc::new(Principal::new(TenantId::default(), PrincipalId::new(principal), Proof::Local)),
        session: session.map(SessionId::new),
        client: Arc::new(ClientProfile {
            revision: Revision::LATEST_LEGACY,
            capabilities: Bytes::from(capabilities.to_string()),
            info: Some(Bytes::from_static(br#"{"name":"the-client","version":"9"}"#)),
        }),
        source: None,
    }
}

pub(crate) fn anyone() -> Caller {
    caller("someone", Some("session-1"), &json!({"roots": {}}))
}

pub(crate) fn tool_call(link: &Link, tool: &str, arguments: &Value) -> Outbound {
    let id = link.mint();
    let body = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
                      "params": {"name": tool, "arguments": arguments, "_meta": {"progressToken": id}}});
    Outbound {
        id,
        method: "tools/call".into(),
        mcp_name: Some(tool.to_owned()),
        params: Vec::new(),
        also: Vec::new(),
        body: Segments::from(Bytes::from(body.to_string())),
        waits: tollgate_upstream::Waits::default(),
        log_level: None,
    }
}

pub(crate) fn value(message: &Message) -> Value {
    serde_json::from_slice(message.bytes()).unwrap()
}

/// Calls a tool and reads everything up to the response.
pub(crate) async fn call(
    link: &Link,
    tool: &str,
    arguments: &Value,
) -> Result<(Vec<Value>, Value), UpstreamError> {
    let reading = async {
        let mut exchange = link.request(tool_call(link, tool, arguments)).await?;
        let mut before = Vec::new();
        loop {
            match exchange.next().await? {
                Incoming::Notification(message) | Incoming::Request(message) => before.push(value(&message)),
                Incoming::Response(message) => return Ok((before, value(&message))),
            }
        }
    };
    tokio::time::timeout(LONG, reading).await.expect("an answer or an error, in time")
}

/// The text of a tool's result.
pub(crate) async fn text_of(link: &Link, tool: &str, arguments: &Value) -> String {
    let (_, response) = call(link, tool, arguments).await.unwrap();
    response["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{response}")).to_owned()
}

/// Waits for something that will come about, without saying when.
pub(crate) async fn eventually<T>(mut probe: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = probe() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.expect("it should have come about by now")
}
