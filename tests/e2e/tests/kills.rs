//! The gateway is killed at random moments under load, again and again. Whatever a server received has an intent on record,
//! whatever a client was answered has an outcome, and what is left of the record is whole.
//!
//! About ten seconds here for each durability; `TOLLGATE_KILLS` says how many kills instead, `TOLLGATE_SEED` from where the
//! dice roll.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails loudly")]

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_e2e::gateway::{Gateway, http, servers, with};
use tollgate_ledger::{Kind, Outcome, Reader, Verify};
use tollgate_testkit::fake::{Act, Ask, FakeServer, Http, Script};

const CLIENTS: u64 = 64;
/// How long it goes on where nothing says how often.
const LENGTH: Duration = Duration::from_secs(20);
const SEED: u64 = 0x6b69_6c6c_7365_6564;
const RESULT: &str = r#""result":{"content":[{"type":"text","text":"done"}],"resultType":"complete"}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_process_is_killed() {
    crash("process").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_process_is_killed_and_each_entry_is_on_disk() {
    crash("power").await;
}

/// What the clients know.
#[derive(Default)]
struct Answers {
    /// The names of the tools that were called, each by one call, and answered.
    answered: Mutex<HashSet<String>>,
    next: AtomicU64,
}

async fn crash(durability: &str) {
    let slow = |script: Script| script.saying("tools/call", RESULT).on("tools/call", Act::Progress(2));
    let old = FakeServer::start(slow(Script::legacy())).await;
    let new = FakeServer::start(slow(Script::modern())).await;
    let config = servers([("old", http(&old.url())), ("new", http(&new.url()))]);
    let config = with(&config, json!({ "ledger": { "durability": durability } }));
    let mut gateway = Gateway::start(&config).await;
    let answers = Arc::new(Answers::default());
    let mut dice = Dice(number("TOLLGATE_SEED").unwrap_or(SEED));
    let kills_max = number("TOLLGATE_KILLS").unwrap_or(u64::MAX);
    let (started, mut kills) = (Instant::now(), 0);
    while kills < kills_max && (kills_max != u64::MAX || started.elapsed() < LENGTH) {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(calls(gateway.listen, client, Arc::clone(&answers), Arc::clone(&over)));
        }
        tokio::time::sleep(Duration::from_micros(20_000 + dice.below(180_000))).await;
        gateway.restart().await;
        over.store(true, Ordering::Relaxed);
        clients.join_all().await;
        kills += 1;
    }
    let folder = gateway.data().join("ledger");
    let book = Book::read(&folder);
    let answered = answers.answered.lock().unwrap();
    assert!(kills >= 10 && answered.len() > 500, "{kills} kills, {} answers", answered.len());

    for (server, fake) in [("old", &old), ("new", &new)] {
        let received = fake.log().of_method("tools/call");
        assert!(received.len() > 100, "{server} received {}", received.len());
        for call in received {
            let tool = call.at(&["params", "name"]).unwrap().trim_matches('"').to_owned();
            assert!(book.intents.contains_key(&tool), "{server} received {tool}, which is not on record");
        }
    }
    for tool in answered.iter() {
        let of_tool =
            book.intents.get(tool).unwrap_or_else(|| panic!("no intent of {tool}, which was answered"));
        let told = of_tool
            .iter()
            .any(|intent| book.outcomes.get(intent).is_some_and(|outcome| *outcome != Outcome::Unknown));
        assert!(told, "{tool} was answered, and its outcome is not on record");
    }
    // Whoever was killed was closed by who came after.
    let closed = |intent: &&(PathBuf, u64)| book.outcomes.contains_key(*intent);
    let intents: Vec<&(PathBuf, u64)> = book.intents.values().flatten().collect();
    let open = intents.iter().filter(|intent| !closed(intent)).count();
    assert_eq!(open, 0, "of {} intents {open} have no outcome", intents.len());
    let report = Verify::default().all(&folder).unwrap();
    assert!(report.is_good(), "the chain is broken: {:#?}", report.faults().next());
}

/// One client, until the gateway is gone.
async fn calls(at: SocketAddr, client: u64, answers: Arc<Answers>, over: Arc<AtomicBool>) {
    let http = Http::new(at);
    let kind = client % 4;
    let session = match kind {
        0 | 1 => None,
        2 => initialize(&http, "2025-11-25").await,
        _ => initialize(&http, "2025-03-26").await,
    };
    if kind >= 2 && session.is_none() {
        return;
    }
    while !over.load(Ordering::Relaxed) {
        let number = answers.next.fetch_add(1, Ordering::Relaxed);
        let server = if number.is_multiple_of(2) { "old" } else { "new" };
        let said = match (kind, &session) {
            (0, _) => vec![modern(&http, server, number, false).await],
            (1, _) => vec![modern(&http, server, number, true).await],
            (2, Some(session)) => vec![legacy(&http, session, server, number).await],
            (_, Some(session)) => batch(&http, session, server, number).await,
            (_, None) => return,
        };
        if said.iter().all(Option::is_none) {
            return;
        }
        answers.answered.lock().unwrap().extend(said.into_iter().flatten());
    }
}

fn post(body: &str, accept: &str) -> Ask {
    Ask::new("POST", "/mcp").with("Content-Type", "application/json").with("Accept", accept).body(body)
}

async fn initialize(http: &Http, revision: &str) -> Option<String> {
    let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "kills", "version": "1"}}});
    let ask = post(&body.to_string(), "application/json, text/event-stream");
    let reply = http.open(&ask).await.ok()?.finish().await.ok()?;
    reply.header("mcp-session-id").map(str::to_owned)
}

fn call(server: &str, tool: &str, id: u64, meta: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": format!("{server}__{tool}"), "arguments": {"number": id}, "_meta": meta}})
}

/// The tool, if the call was answered to its end.
async fn modern(http: &Http, server: &str, number: u64, streams: bool) -> Option<String> {
    let tool = format!("t{number}");
    let meta = json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "progressToken": number});
    let accept = if streams { "text/event-stream" } else { "application/json, text/event-stream" };
    let ask = post(&call(server, &tool, number, &meta).to_string(), accept)
        .with("MCP-Protocol-Version", "2026-07-28")
        .with("Mcp-Method", "tools/call")
        .with("Mcp-Name", &format!("{server}__{tool}"));
    answered(http, &ask, number).await.then_some(tool)
}

async fn legacy(http: &Http, session: &str, server: &str, number: u64) -> Option<String> {
    let tool = format!("t{number}");
    let accept =
        if number.is_multiple_of(3) { "text/event-stream" } else { "application/json, text/event-stream" };
    let ask = post(&call(server, &tool, number, &json!({})).to_string(), accept)
        .with("Mcp-Session-Id", session)
        .with("MCP-Protocol-Version", "2025-11-25");
    answered(http, &ask, number).await.then_some(tool)
}

async fn batch(http: &Http, session: &str, server: &str, number: u64) -> Vec<Option<String>> {
    let tools = [format!("b{number}a"), format!("b{number}b"), format!("b{number}c")];
    let messages: Vec<Value> =
        (0..).zip(&tools).map(|(id, tool)| call(server, tool, number * 4 + id, &json!({}))).collect();
    let ask = post(&json!(messages).to_string(), "application/json, text/event-stream")
        .with("Mcp-Session-Id", session)
        .with("MCP-Protocol-Version", "2025-03-26");
    let messages = heard(http, &ask).await;
    let has = |id: u64| messages.iter().any(|message| message["id"] == id);
    (0..).zip(tools).map(|(id, tool)| has(number * 4 + id).then_some(tool)).collect()
}

async fn answered(http: &Http, ask: &Ask, id: u64) -> bool {
    heard(http, ask).await.iter().any(|message| message["id"] == id)
}

/// The messages of a response, as far as it came.
async fn heard(http: &Http, ask: &Ask) -> Vec<Value> {
    let Ok(mut live) = http.open(ask).await else { return Vec::new() };
    if live.header("content-type").is_some_and(|kind| kind.starts_with("text/event-stream")) {
        let mut messages = Vec::new();
        while let Ok(Some(event)) = live.event().await {
            messages.extend(serde_json::from_str::<Value>(&event.data));
        }
        return messages;
    }
    let Ok(reply) = live.finish().await else { return Vec::new() };
    match serde_json::from_slice(&reply.body) {
        Ok(Value::Array(messages)) => messages,
        Ok(message) => vec![message],
        Err(_) => Vec::new(),
    }
}

/// What is on record.
#[derive(Default)]
struct Book {
    /// By the server's name of the tool: which entries of which writer.
    intents: HashMap<String, Vec<(PathBuf, u64)>>,
    outcomes: HashMap<(PathBuf, u64), Outcome>,
}

impl Book {
    fn read(ledger: &Path) -> Self {
        let mut book = Self::default();
        for writer in std::fs::read_dir(ledger).unwrap() {
            let writer = writer.unwrap().path();
            if writer.is_dir() {
                book.take(&writer);
            }
        }
        book
    }

    fn take(&mut self, writer: &Path) {
        let mut reader = Reader::new(writer);
        while let Some(read) = reader.next_entry().expect("the record can be read") {
            let entry = read.entry().expect("an entry");
            match (entry.kind, entry.native_name, entry.of, entry.outcome) {
                (Kind::Intent, Some(native), ..) => {
                    let intent = (writer.to_owned(), entry.seq);
                    self.intents.entry(native.into_owned()).or_default().push(intent);
                }
                (Kind::Outcome, _, Some(of), Some(outcome)) => {
                    self.outcomes.insert((writer.to_owned(), of), outcome);
                }
                _ => {}
            }
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A small generator of pseudo-random numbers (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }
}
