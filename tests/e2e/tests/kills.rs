//! The gateway is killed at random moments under load, again and again. Whatever a server received has an intent on record,
//! whatever a client was answered has an outcome, and what is left of the record is whole.
//!
//! Some twenty seconds here for each durability; `TOLLGATE_KILLS` says how many kills instead, `TOLLGATE_SEED` from where the
//! dice roll.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails loudly, and says what it did"
)]

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tollgate_e2e::book::Book;
use tollgate_e2e::gateway::{Gateway, binary, http, servers, with};
use tollgate_ledger::{Outcome, Verify};
use tollgate_testkit::fake::{Act, Ask, FakeServer, Http, Live, Script};

const CLIENTS: u64 = 64;
/// Clients over standard streams: each has a gateway of its own on the same data, which is killed too.
const CHILDREN: u64 = 2;
/// How long one of them waits between its calls: the machine is not its own.
const PAUSE: Duration = Duration::from_millis(20);
/// How many calls one of them makes at once.
const AT_ONCE: u64 = 4;
/// How long it goes on where nothing says how often.
const LENGTH: Duration = Duration::from_secs(20);
/// How many kills there are at least.
const KILLS_MIN: u64 = 10;
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
    /// The names of the tools that were called, each by one call, and answered, and by which kind of client.
    answered: Mutex<HashMap<String, &'static str>>,
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
    let done = Arc::new(AtomicBool::new(false));
    let mut children = JoinSet::new();
    for nth in 0..CHILDREN {
        let child =
            Child { config: gateway.folder().join("tollgate.yaml"), data: gateway.data().to_owned(), nth };
        children.spawn(child.live(Dice(dice.0 ^ (nth + 1)), Arc::clone(&answers), Arc::clone(&done)));
    }
    let goes_on = |kills| match kills_max {
        // On a busy machine it takes longer until there is enough to look at.
        u64::MAX => {
            let is_enough = kills >= KILLS_MIN && answers.is_enough();
            started.elapsed() < LENGTH || (!is_enough && started.elapsed() < LENGTH * 4)
        }
        _ => kills < kills_max,
    };
    while goes_on(kills) {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for client in 0..CLIENTS {
            clients.spawn(calls(gateway.listen, client, Arc::clone(&answers), Arc::clone(&over)));
        }
        // Mostly in the midst of calls, also of those that take a session first, and now and then while it all begins.
        if dice.below(4) > 0 {
            answers.more_in_sessions().await;
        }
        tokio::time::sleep(Duration::from_micros(20_000 + dice.below(180_000))).await;
        gateway.restart().await;
        over.store(true, Ordering::Relaxed);
        clients.join_all().await;
        kills += 1;
    }
    done.store(true, Ordering::Relaxed);
    let child_kills: u64 = children.join_all().await.into_iter().sum();
    // Whoever was killed last is closed by who comes next.
    gateway.restart().await;
    let folder = gateway.data().join("ledger");
    let book = Book::read(&folder);
    assert!(kills >= KILLS_MIN, "{kills} kills");
    assert!(child_kills >= CHILDREN, "{child_kills} gateways over standard streams were killed");
    println!("{kills} kills, {child_kills} over standard streams; answers: {:?}", answers.by_kind());
    assert!(answers.is_enough(), "answers: {:?}", answers.by_kind());
    let answered = answers.answered.lock().unwrap();

    for (server, fake) in [("old", &old), ("new", &new)] {
        let received = fake.log().of_method("tools/call");
        assert!(received.len() > 100, "{server} received {}", received.len());
        for call in received {
            let tool = call.at(&["params", "name"]).unwrap().trim_matches('"').to_owned();
            assert!(book.intents.contains_key(&tool), "{server} received {tool}, which is not on record");
        }
    }
    for (tool, kind) in answered.iter() {
        let of_tool = book
            .intents
            .get(tool)
            .unwrap_or_else(|| panic!("no intent of {tool}, which was answered over {kind}"));
        let told = of_tool
            .iter()
            .any(|intent| book.outcomes.get(intent).is_some_and(|outcome| *outcome != Outcome::Unknown));
        assert!(told, "{tool} was answered over {kind}, and its outcome is not on record");
    }
    // Whoever was killed was closed by who came after.
    let closed = |intent: &&(PathBuf, u64)| book.outcomes.contains_key(*intent);
    let intents: Vec<&(PathBuf, u64)> = book.intents.values().flatten().collect();
    let open = intents.iter().filter(|intent| !closed(intent)).count();
    assert_eq!(open, 0, "of {} intents {open} have no outcome", intents.len());
    let report = Verify::default().all(&folder).unwrap();
    assert!(report.is_good(), "the chain is broken: {:#?}", report.faults().next());
}

/// What clients speak.
const KINDS: [&str; 6] = ["JSON", "event streams", "sessions", "batches", "HTTP+SSE", "standard streams"];

impl Answers {
    fn next(&self) -> (u64, &'static str) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number, if number.is_multiple_of(2) { "old" } else { "new" })
    }

    /// How many there were to clients of each kind.
    fn by_kind(&self) -> [(&'static str, usize); KINDS.len()] {
        let answered = self.answered.lock().unwrap();
        KINDS.map(|kind| (kind, answered.values().filter(|answered| **answered == kind).count()))
    }

    /// Waits for an answer to a client that had to begin a session, but not for ever.
    async fn more_in_sessions(&self) {
        let count = || self.by_kind()[2..5].iter().map(|(_, count)| count).sum::<usize>();
        let before = count();
        let waiting = async {
            while count() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(2), waiting).await;
    }

    fn is_enough(&self) -> bool {
        let counts = self.by_kind().map(|(_, count)| count);
        counts.iter().all(|count| *count > 10) && counts.iter().sum::<usize>() > 500
    }

    fn add(&self, kind: usize, tools: impl IntoIterator<Item = String>) {
        self.answered.lock().unwrap().extend(tools.into_iter().map(|tool| (tool, KINDS[kind])));
    }
}

/// One client, until the gateway is gone.
async fn calls(at: SocketAddr, client: u64, answers: Arc<Answers>, over: Arc<AtomicBool>) {
    let http = Http::new(at);
    let kind = usize::try_from(client % 5).unwrap();
    let session = match kind {
        0 | 1 | 4 => None,
        2 => initialize(&http, "2025-11-25").await,
        _ => initialize(&http, "2025-03-26").await,
    };
    let mut sse = if kind == 4 { Sse::open(&http).await } else { None };
    while !over.load(Ordering::Relaxed) {
        let (number, server) = answers.next();
        let said = match (kind, &session, &mut sse) {
            (0, ..) => vec![modern(&http, server, number, false).await],
            (1, ..) => vec![modern(&http, server, number, true).await],
            (2, Some(session), _) => vec![legacy(&http, session, server, number).await],
            (3, Some(session), _) => batch(&http, session, server, number).await,
            (4, _, Some(sse)) => vec![sse.call(&http, server, number).await],
            _ => return,
        };
        if said.iter().all(Option::is_none) {
            return;
        }
        answers.add(kind, said.into_iter().flatten());
    }
}

/// A client whose answers come on one stream beside its requests.
struct Sse {
    stream: Live,
    post: String,
}

impl Sse {
    async fn open(http: &Http) -> Option<Self> {
        let ask = Ask::new("GET", "/sse").with("Accept", "text/event-stream");
        let mut stream = http.open(&ask).await.ok()?;
        let post = stream.event().await.ok()??.data;
        let mut sse = Self { stream, post };
        sse.say(http, &greeting("2024-11-05")).await?;
        sse.hear(0).await?;
        Some(sse)
    }

    async fn say(&self, http: &Http, message: &Value) -> Option<()> {
        let body = message.to_string();
        let ask = Ask::new("POST", &self.post).with("Content-Type", "application/json").body(body);
        http.open(&ask).await.ok()?.finish().await.ok().map(drop)
    }

    async fn hear(&mut self, id: u64) -> Option<()> {
        loop {
            let event = self.stream.event().await.ok()??;
            let message: Value = serde_json::from_str(&event.data).ok()?;
            if message["id"] == id {
                return Some(());
            }
        }
    }

    /// The tool, if the call was answered: also where it is not known whether the request arrived.
    async fn call(&mut self, http: &Http, server: &str, number: u64) -> Option<String> {
        let tool = format!("t{number}");
        let _ = self.say(http, &call(server, &tool, number, &json!({}))).await;
        self.hear(number).await.map(|()| tool)
    }
}

/// A gateway over standard streams, and its client.
struct Child {
    config: PathBuf,
    data: PathBuf,
    nth: u64,
}

impl Child {
    /// Starts it, and kills it after a while, until all is done. Gives how often it was killed.
    async fn live(self, mut dice: Dice, answers: Arc<Answers>, done: Arc<AtomicBool>) -> u64 {
        let mut kills = 0;
        while !done.load(Ordering::Relaxed) {
            let mut child = Command::new(binary())
                .args(["serve", "--stdio", "--config"])
                .arg(&self.config)
                .arg("--data-dir")
                .arg(&self.data)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .expect("the binary starts");
            let (mut input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let mut output = BufReader::new(output).lines();
            // Of one era each. Its clock runs once it has answered.
            let is_modern = self.nth.is_multiple_of(2);
            let begun = Self::round(&mut input, &mut output, is_modern, true, &answers).await;
            let lasts = Duration::from_micros(20_000 + dice.below(500_000));
            let calling = async {
                while begun.is_some()
                    && Self::round(&mut input, &mut output, is_modern, false, &answers).await.is_some()
                {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            let _ = tokio::time::timeout(lasts, calling).await;
            child.kill().await.expect("it runs");
            kills += 1;
            // What it has said before its end was heard.
            while let Ok(Some(line)) = output.next_line().await {
                Self::heard(&line, &answers);
            }
        }
        kills
    }

    /// Says something, and hears all answers to it.
    async fn round(
        input: &mut ChildStdin,
        output: &mut Lines<BufReader<ChildStdout>>,
        is_modern: bool,
        is_first: bool,
        answers: &Answers,
    ) -> Option<()> {
        let mut said = String::new();
        let mut left = AT_ONCE;
        if is_first && !is_modern {
            said = greeting("2025-11-25").to_string() + "\n";
            left = 1;
        } else {
            for _ in 0..AT_ONCE {
                let (number, server) = answers.next();
                let meta = if is_modern { modern_meta(number) } else { json!({}) };
                said += &(call(server, &format!("t{number}"), number, &meta).to_string() + "\n");
            }
        }
        input.write_all(said.as_bytes()).await.ok()?;
        while left > 0 {
            let line = output.next_line().await.ok()??;
            left -= u64::from(Self::heard(&line, answers));
        }
        Some(())
    }

    /// Whether it was an answer.
    fn heard(line: &str, answers: &Answers) -> bool {
        let Ok(message) = serde_json::from_str::<Value>(line) else { return false };
        let Some(id) = message["id"].as_u64().filter(|_| message["method"].is_null()) else { return false };
        if message["result"]["content"].is_array() {
            answers.add(5, [format!("t{id}")]);
        }
        true
    }
}

fn post(body: &str, accept: &str) -> Ask {
    Ask::new("POST", "/mcp").with("Content-Type", "application/json").with("Accept", accept).body(body)
}

fn greeting(revision: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
        {"protocolVersion": revision, "capabilities": {}, "clientInfo": {"name": "kills", "version": "1"}}})
}

async fn initialize(http: &Http, revision: &str) -> Option<String> {
    let ask = post(&greeting(revision).to_string(), "application/json, text/event-stream");
    let reply = http.open(&ask).await.ok()?.finish().await.ok()?;
    reply.header("mcp-session-id").map(str::to_owned)
}

fn call(server: &str, tool: &str, id: u64, meta: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call",
        "params": {"name": format!("{server}__{tool}"), "arguments": {"number": id}, "_meta": meta}})
}

fn modern_meta(number: u64) -> Value {
    json!({"io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {}, "progressToken": number})
}

/// The tool, if the call was answered to its end.
async fn modern(http: &Http, server: &str, number: u64, streams: bool) -> Option<String> {
    let tool = format!("t{number}");
    let meta = modern_meta(number);
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
