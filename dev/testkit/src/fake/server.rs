//! A fake server over HTTP in this process: Streamable HTTP of either era, and HTTP+SSE.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use super::act::{Heard, LEAK, Step, gathered, relayed, steps};
use super::answers::{self, Memory};
use super::log::{Entry, Log, Received};
use super::script::{Eras, Script};
use super::wire::{Framing, Reader, Writer, split};
use super::{Act, json, sse_server};

/// What all connections of one fake server share.
pub(super) struct Shared {
    pub(super) script: Mutex<Script>,
    pub(super) log: Log,
    /// Legacy sessions by id, HTTP+SSE ones included.
    pub(super) sessions: Mutex<HashMap<String, Memory>>,
    /// What a modern server remembers.
    memory: Mutex<Memory>,
    /// Notifications for whoever listens.
    pub(super) pushes: broadcast::Sender<String>,
    /// Held by gated answers.
    pub(super) gate: Semaphore,
    /// The streams of HTTP+SSE, by session.
    pub(super) streams: Mutex<HashMap<String, mpsc::Sender<Vec<Step>>>>,
    /// Responses to the server's own requests.
    pub(super) heard: Heard,
    next_session: AtomicU64,
    /// Held by every open connection.
    open: Arc<()>,
}

impl Shared {
    pub(super) fn new_session(&self) -> String {
        let id = format!("upstream-session-{LEAK}-{}", self.next_session.fetch_add(1, Ordering::Relaxed));
        self.sessions.lock().unwrap().insert(id.clone(), Memory::default());
        id
    }

    /// Answers a message within a session (if it has one), and says what to perform.
    pub(super) fn perform(&self, message: &str, session: Option<&str>) -> (Act, Vec<Step>) {
        let mut script = self.script.lock().unwrap();
        let act = script.act(message);
        let said = match session {
            Some(session) => {
                let mut sessions = self.sessions.lock().unwrap();
                let memory = sessions.entry(session.to_owned()).or_default();
                answers::answer(&mut script, memory, message)
            }
            None => answers::answer(&mut script, &mut self.memory.lock().unwrap(), message),
        };
        drop(script);
        if let Some(push) = said.push {
            let _ = self.pushes.send(push);
        }
        let steps = steps(&act, message, &said.answer);
        (act, steps)
    }
}

/// A fake server that listens on loopback. It stops when it is dropped.
pub struct FakeServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    accept: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.accept.abort();
    }
}

impl FakeServer {
    /// Starts a server on a free port.
    pub async fn start(script: Script) -> Self {
        Self::start_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), script).await
    }

    /// Starts a server on a given address, as a server does that was down.
    pub async fn start_at(addr: SocketAddr, script: Script) -> Self {
        let listener = TcpListener::bind(addr).await.expect("the address is free");
        let addr = listener.local_addr().expect("bound");
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            log: Log::default(),
            sessions: Mutex::default(),
            memory: Mutex::default(),
            pushes: broadcast::channel(64).0,
            gate: Semaphore::new(0),
            streams: Mutex::default(),
            heard: Heard::default(),
            next_session: AtomicU64::new(1),
            open: Arc::default(),
        });
        let accept = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { addr, shared, accept }
    }

    /// A loopback address on which nothing listens now. Its port is none of those that the system gives to whoever asks for any, so
    /// that nobody else gets it meanwhile.
    pub async fn free_address() -> SocketAddr {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let nth = u64::from(std::process::id()) * 97 + NEXT.fetch_add(1, Ordering::Relaxed);
            let port = u16::try_from(10_000 + nth % 20_000).expect("a port");
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
                return listener.local_addr().expect("bound");
            }
        }
    }

    /// Breaks all connections and waits until nothing of it is left, as after a crash.
    pub async fn stop(&self) {
        self.accept.abort();
        let gone = async {
            while !self.accept.is_finished() || Arc::strong_count(&self.shared.open) > 1 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        super::soon("the end of the server", gone).await;
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The Streamable HTTP endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.addr)
    }

    /// The HTTP+SSE endpoint.
    pub fn sse_url(&self) -> String {
        format!("http://{}/sse", self.addr)
    }

    /// Everything that it has received.
    pub fn log(&self) -> &Log {
        &self.shared.log
    }

    /// Changes what it does from now on.
    pub fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.script.lock().unwrap());
    }

    /// Sends a notification on every open stream that is for notifications.
    pub fn push(&self, message: &str) {
        let _ = self.shared.pushes.send(message.to_owned());
    }

    /// How many streams for notifications are open.
    pub fn listeners(&self) -> usize {
        self.shared.pushes.receiver_count()
    }

    /// Lets one gated answer out.
    pub fn release(&self) {
        self.shared.gate.add_permits(1);
    }

    /// Forgets all legacy sessions, as a restarted server does.
    pub fn forget_sessions(&self) {
        self.shared.sessions.lock().unwrap().clear();
    }

    /// How many legacy sessions it holds.
    pub fn sessions(&self) -> usize {
        self.shared.sessions.lock().unwrap().len()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                connections.spawn(connection(stream, Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>) {
    let _open = Arc::clone(&shared.open);
    if shared.script.lock().unwrap().closes {
        // The answer leaves with the end of the connection: no client can send anything in between. The system holds it back for a
        // fifth of a second at most, and what came because this thread was held up for longer is answered before the end.
        let _ = rustix::net::sockopt::set_tcp_cork(&stream, true);
    }
    let (mut reader, mut writer) = split(stream);
    while let Ok(Some(head)) = reader.head().await {
        let Ok(body) = reader.body(Framing::of_request(&head)).await else { return };
        let received = shared.log.request(head.word(0), head.word(1), head.headers.clone(), body);
        match serve(&shared, &received, &mut reader, &mut writer).await {
            Ok(true) => {
                shared.log.note(Entry::Answered { seq: received.seq });
                if shared.script.lock().unwrap().closes && !reader.has_more() {
                    return;
                }
            }
            Ok(false) => return,
            Err(_) => {
                shared.log.note(Entry::Left { seq: received.seq });
                return;
            }
        }
    }
}

/// Serves one request; says whether the connection may be used again.
async fn serve(
    shared: &Arc<Shared>,
    received: &Received,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let path = received.target.split('?').next().unwrap_or_default();
    match (received.verb.as_str(), path) {
        ("POST", "/mcp") => post(shared, received, reader, writer).await,
        ("GET", "/mcp") => get(shared, received, reader, writer).await,
        ("DELETE", "/mcp") => {
            let known = received
                .header("mcp-session-id")
                .is_some_and(|id| shared.sessions.lock().unwrap().remove(id).is_some());
            plain(writer, if known { 200 } else { 404 }, &[], "").await
        }
        ("GET", "/sse") => sse_server::stream(shared, received, reader, writer).await,
        ("POST", "/messages") => sse_server::post(shared, received, writer).await,
        _ => plain(writer, 404, &[], LEAK).await,
    }
}

/// Sends a small response with a length.
pub(super) async fn plain(
    writer: &mut Writer,
    status: u16,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<bool> {
    let mut text = format!("HTTP/1.1 {status} {LEAK}\r\n");
    for (name, value) in headers {
        let _ = write!(text, "{name}: {value}\r\n");
    }
    let _ = write!(text, "content-length: {}\r\n\r\n{body}", body.len());
    writer.all(text.as_bytes()).await?;
    Ok(true)
}

async fn post(
    shared: &Arc<Shared>,
    received: &Received,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let message = received.text();
    let method = received.rpc_method();
    if method.is_empty() || json::find(message, &["id"]).is_none() {
        shared.heard.take(received.header("mcp-session-id").unwrap_or_default(), message);
        return plain(writer, 202, &[], "").await;
    }
    if let Some((status, media, answer)) = refuse(shared, received) {
        return plain(writer, status, &[("content-type", &media)], &answer).await;
    }
    if method == "subscriptions/listen" {
        return subscribe(shared, received, reader, writer).await;
    }
    let session = received.header("mcp-session-id").map(str::to_owned);
    let (act, steps) = shared.perform(message, session.as_deref());
    if let Some(done) = status_act(writer, &act).await? {
        return Ok(done);
    }
    if let Act::Bytes(bytes) = &act {
        writer.all(bytes).await?;
        return Ok(false);
    }
    let mut extra = String::new();
    if method == "initialize" && shared.script.lock().unwrap().sessions {
        extra = format!("mcp-session-id: {}\r\n", shared.new_session());
    }
    if act == Act::HugeHeaders {
        for n in 0..2048 {
            let _ = write!(extra, "x-{n}: {LEAK}{}\r\n", "h".repeat(1000));
        }
    }
    respond(shared, received, &act, steps, &extra, reader, writer).await
}

/// Performs the acts that are an HTTP status and nothing else.
pub(super) async fn status_act(writer: &mut Writer, act: &Act) -> io::Result<Option<bool>> {
    let done = match act {
        Act::Unauthorized | Act::Forbidden => {
            let status = if *act == Act::Unauthorized { 401 } else { 403 };
            let challenge = format!(
                r#"Bearer realm="{LEAK}", resource_metadata="https://{LEAK}.example/.well-known/x", scope="{LEAK}""#
            );
            plain(writer, status, &[("www-authenticate", &challenge), ("x-secret", LEAK)], LEAK).await?
        }
        Act::NotFound => plain(writer, 404, &[("content-type", "text/plain")], LEAK).await?,
        Act::ServerError => plain(writer, 500, &[("content-type", "text/html")], LEAK).await?,
        Act::Redirect => {
            plain(writer, 307, &[("location", &format!("http://127.0.0.1:9/{LEAK}"))], LEAK).await?
        }
        _ => return Ok(None),
    };
    Ok(Some(done))
}

/// What a proper server of the script's era refuses: status, media type and body.
fn refuse(shared: &Shared, received: &Received) -> Option<(u16, String, String)> {
    let message = received.text();
    let id = json::find(message, &["id"])?;
    let json = "application/json".to_owned();
    let error = |code: i64, text: &str| {
        format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{{"code":{code},"message":"{text}"}}}}"#)
    };
    let script = shared.script.lock().unwrap();
    if script.eras == Eras::Legacy {
        if !script.sessions || received.rpc_method() == "initialize" {
            return None;
        }
        let (status, media, body) = &script.no_session;
        let forgotten =
            r#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"Session not found"}}"#.to_owned();
        return match received.header("mcp-session-id") {
            None => Some((*status, media.clone(), body.replace("ID", &id))),
            Some(session) if shared.sessions.lock().unwrap().contains_key(session) => None,
            Some(_) => Some((404, json, forgotten)),
        };
    }
    if !answers::is_modern(message) {
        let error = r#"{"code":-32022,"message":"Unsupported protocol version","data":{"supported":["2026-07-28"],"requested":"legacy"}}"#;
        return Some((400, json, format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)));
    }
    let mismatch = |text: &str| Some((400, json.clone(), error(-32020, text)));
    let version = json::text_at(message, &["params", "_meta", "io.modelcontextprotocol/protocolVersion"]);
    if received.header("mcp-protocol-version").map(str::to_owned) != version {
        return mismatch("MCP-Protocol-Version");
    }
    if received.header("mcp-method") != Some(&received.rpc_method()) {
        return mismatch("Mcp-Method");
    }
    let wanted = match received.rpc_method().as_str() {
        "tools/call" | "prompts/get" => json::text_at(message, &["params", "name"]),
        "resources/read" => json::text_at(message, &["params", "uri"]),
        _ => None,
    };
    if received.rpc_method() == "tools/call" && !params_match(&script, received) {
        return mismatch("Mcp-Param");
    }
    match wanted {
        Some(wanted) if received.header("mcp-name").map(decoded) != Some(wanted.clone()) => {
            mismatch("Mcp-Name")
        }
        _ => None,
    }
}

/// Whether each annotated argument of the called tool stands in its header, and no header without its argument.
fn params_match(script: &Script, received: &Received) -> bool {
    let tool = received.at(&["params", "name"]);
    let Some(definition) = script.tools.iter().find(|t| json::find(t, &["name"]) == tool) else {
        return true;
    };
    let schema = json::find(definition, &["inputSchema"]).unwrap_or_default();
    let arguments = received.at(&["params", "arguments"]).unwrap_or_default();
    annotated(&schema, &arguments).into_iter().all(|(header, argument)| {
        let sent = received.header(&format!("mcp-param-{header}")).map(decoded);
        // Objects and arrays have no header, as if they were not there.
        let repeated = argument.filter(|raw| raw != "null" && !raw.starts_with(['{', '[']));
        let meant = repeated.map(|raw| json::text(&raw).unwrap_or(raw));
        let number = |text: &Option<String>| text.as_ref().and_then(|text| text.parse::<f64>().ok());
        sent == meant || (sent.is_some() && number(&sent).is_some() && number(&sent) == number(&meant))
    })
}

/// The annotated properties of a schema, each with the argument at its place.
fn annotated(schema: &str, arguments: &str) -> Vec<(String, Option<String>)> {
    let properties = json::find(schema, &["properties"]).unwrap_or_default();
    let mut all = Vec::new();
    for (property, definition) in json::members(&properties).0 {
        let argument = json::find(arguments, &[&property]);
        if let Some(header) = json::text_at(definition.get(), &["x-mcp-header"]) {
            all.push((header, argument.clone()));
        }
        all.extend(annotated(definition.get(), &argument.unwrap_or_default()));
    }
    all
}

/// A header value with the Base64 sentinel taken off.
fn decoded(value: &str) -> String {
    use base64::Engine as _;
    value
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="))
        .and_then(|b64| base64::engine::general_purpose::STANDARD.decode(b64).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| value.to_owned())
}

/// A message as one event. A line break in it begins another `data` line.
pub(super) fn event(message: &[u8]) -> Vec<u8> {
    let mut framed = b"event: message\n".to_vec();
    for line in message.split(|b| *b == b'\n') {
        framed.extend_from_slice(b"data: ");
        framed.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
        framed.push(b'\n');
    }
    framed.push(b'\n');
    framed
}

async fn respond(
    shared: &Arc<Shared>,
    received: &Received,
    act: &Act,
    steps: Vec<Step>,
    extra: &str,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let only_streams = matches!(
        act,
        Act::DieMidStream
            | Act::HalfEvent
            | Act::Progress(_)
            | Act::ProgressThenHang
            | Act::ProgressThenGate
            | Act::Ask(_)
            | Act::AskAlike
            | Act::AskAndAnswer
            | Act::Withdraws
    ) || steps.iter().any(|step| matches!(step, Step::Gather { .. }));
    let session = received.header("mcp-session-id").unwrap_or_default();
    let stream = only_streams || shared.script.lock().unwrap().sse_replies;
    let media = match act {
        Act::WrongType => "text/html",
        _ if stream => "text/event-stream",
        _ => "application/json",
    };
    let head =
        format!("HTTP/1.1 200 OK\r\ncontent-type: {media}\r\n{extra}transfer-encoding: chunked\r\n\r\n");
    let mut head_sent = false;
    for step in steps {
        // A silent server sends not even its head.
        if !head_sent && !matches!(step, Step::Hang | Step::Gate | Step::Die) {
            writer.all(head.as_bytes()).await?;
            head_sent = true;
        }
        match step {
            Step::Message(message) if stream => writer.chunk(&event(&message)).await?,
            Step::Message(message) => writer.chunk(&message).await?,
            Step::Half(message) => {
                let framed = if stream { event(&message) } else { message };
                writer.chunk(&framed[..framed.len() / 2]).await?;
            }
            Step::HalfEvent(message) => {
                let framed = event(&message);
                writer.chunk(&framed[..framed.len() / 2]).await?;
            }
            Step::Flood { head, bytes, tail } => flood(writer, &head, bytes, &tail, stream).await?,
            Step::Drip(message) => {
                writer.chunk(if stream { b"data: " } else { b" " }).await?;
                writer.chunk(&message).await?;
                loop {
                    tokio::select! {
                        () = reader.gone() => return Err(io::ErrorKind::ConnectionReset.into()),
                        () = tokio::time::sleep(std::time::Duration::from_millis(20)) => writer.chunk(b" ").await?,
                    }
                }
            }
            Step::Relay { own, id } => {
                let response = tokio::select! {
                    () = reader.gone() => return Err(io::ErrorKind::ConnectionReset.into()),
                    response = shared.heard.response(session, &own) => response,
                };
                writer.chunk(&event(&relayed(&id, &response))).await?;
            }
            Step::Await(owns) => {
                tokio::select! {
                    () = reader.gone() => return Err(io::ErrorKind::ConnectionReset.into()),
                    _ = shared.heard.responses(session, &owns) => {}
                }
            }
            Step::Gather { owns, id } => {
                let responses = shared.heard.responses(session, &owns).await;
                writer.chunk(&event(&gathered(&id, &responses))).await?;
            }
            Step::Gate => {
                tokio::select! {
                    () = reader.gone() => return Err(io::ErrorKind::ConnectionReset.into()),
                    permit = shared.gate.acquire() => permit.expect("never closed").forget(),
                }
            }
            Step::Hang => {
                reader.gone().await;
                shared.log.note(Entry::Left { seq: received.seq });
                return Ok(false);
            }
            Step::Die => return Ok(false),
        }
    }
    writer.last_chunk().await?;
    Ok(true)
}

async fn flood(writer: &mut Writer, head: &str, bytes: usize, tail: &str, stream: bool) -> io::Result<()> {
    if stream {
        writer.chunk(b"event: message\ndata: ").await?;
    }
    writer.chunk(head.as_bytes()).await?;
    let block = vec![b'x'; 1 << 20];
    let mut left = bytes;
    while left > 0 {
        let n = left.min(block.len());
        writer.chunk(&block[..n]).await?;
        left -= n;
    }
    writer.chunk(tail.as_bytes()).await?;
    if stream {
        writer.chunk(b"\n\n").await?;
    }
    Ok(())
}

/// The stream of a modern client that listens.
async fn subscribe(
    shared: &Arc<Shared>,
    received: &Received,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let mut pushes = shared.pushes.subscribe();
    writer
        .all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    writer.chunk(&event(answers::acknowledged(received.text()).as_bytes())).await?;
    loop {
        tokio::select! {
            () = reader.gone() => {
                shared.log.note(Entry::StreamClosed { seq: received.seq });
                return Ok(false);
            }
            pushed = pushes.recv() => match pushed {
                Ok(push) => writer.chunk(&event(answers::subscribed(&push, received.text()).as_bytes())).await?,
                Err(_) => return Ok(false),
            }
        }
    }
}

/// The stream for what belongs to no request.
async fn get(
    shared: &Arc<Shared>,
    received: &Received,
    reader: &mut Reader,
    writer: &mut Writer,
) -> io::Result<bool> {
    let known =
        received.header("mcp-session-id").is_some_and(|id| shared.sessions.lock().unwrap().contains_key(id));
    if shared.script.lock().unwrap().eras == Eras::Modern || !known {
        return plain(writer, if known { 405 } else { 404 }, &[("allow", "POST")], "").await;
    }
    let mut pushes = shared.pushes.subscribe();
    writer
        .all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    loop {
        tokio::select! {
            () = reader.gone() => {
                shared.log.note(Entry::StreamClosed { seq: received.seq });
                return Ok(false);
            }
            pushed = pushes.recv() => match pushed {
                Ok(message) => writer.chunk(&event(message.as_bytes())).await?,
                Err(_) => return Ok(false),
            }
        }
    }
}
