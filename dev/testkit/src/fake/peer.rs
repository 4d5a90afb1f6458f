//! MCP clients of every dialect, on raw connections: what they are told to say goes out to the letter.

use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::client::events;
use super::{Ask, Http, Live, json, soon};

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// 2026-07-28.
    Modern,
    /// 2025-11-25 and before.
    Legacy,
}

/// A request as its raw parts.
#[derive(Debug, Clone)]
pub struct Call {
    /// The method.
    pub method: String,
    /// The members of `params` without braces, raw; empty for none.
    pub members: String,
    /// The members of `params._meta` (beside the protocol's own) without braces, raw; empty for none.
    pub meta: String,
    /// What a modern client says that it can do, raw.
    pub capabilities: String,
}

impl Call {
    /// A request with these raw members in `params`.
    pub fn new(method: &str, members: impl Into<String>) -> Self {
        Self {
            method: method.to_owned(),
            members: members.into(),
            meta: String::new(),
            capabilities: "{}".to_owned(),
        }
    }

    /// A call of a tool with raw arguments.
    pub fn tool(tool: &str, arguments: &str) -> Self {
        Self::new("tools/call", format!(r#""name":{},"arguments":{arguments}"#, json::quote(tool)))
    }

    /// The same with these raw members in `_meta`.
    pub fn meta(mut self, meta: impl Into<String>) -> Self {
        self.meta = meta.into();
        self
    }

    /// The same with these further raw members in `params`.
    pub fn and(mut self, members: &str) -> Self {
        self.members = joined(&self.members, members);
        self
    }

    /// The same from a client that can do this.
    pub fn able(mut self, capabilities: &str) -> Self {
        capabilities.clone_into(&mut self.capabilities);
        self
    }

    /// The whole message.
    pub fn message(&self, id: &str, dialect: Dialect) -> String {
        let own = match dialect {
            Dialect::Modern => format!(
                r#""io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{{"name":"raw","version":"1"}},"io.modelcontextprotocol/clientCapabilities":{}"#,
                self.capabilities
            ),
            Dialect::Legacy => String::new(),
        };
        let meta = joined(&own, &self.meta);
        let members = if meta.is_empty() {
            self.members.clone()
        } else {
            joined(&self.members, &format!(r#""_meta":{{{meta}}}"#))
        };
        let params = if members.is_empty() { String::new() } else { format!(r#","params":{{{members}}}"#) };
        format!(r#"{{"jsonrpc":"2.0","id":{id},"method":{}{params}}}"#, json::quote(&self.method))
    }
}

fn joined(a: &str, b: &str) -> String {
    let comma = if a.is_empty() || b.is_empty() { "" } else { "," };
    format!("{a}{comma}{b}")
}

/// What came back for one request.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status; 200 where there is no HTTP.
    pub status: u16,
    /// HTTP headers.
    pub headers: Vec<(String, String)>,
    /// The JSON-RPC response as it came; empty if there was none.
    pub message: String,
    /// What came before it on the same stream.
    pub before: Vec<String>,
}

impl Answer {
    /// The raw result.
    ///
    /// # Panics
    /// If it is an error.
    pub fn result(&self) -> String {
        json::find(&self.message, &["result"]).unwrap_or_else(|| panic!("not a result: {self:?}"))
    }

    /// The result, parsed.
    pub fn value(&self) -> serde_json::Value {
        serde_json::from_str(&self.result()).expect("a result is JSON")
    }

    /// The text of the result's first content block.
    pub fn text(&self) -> String {
        self.value()["content"][0]["text"].as_str().unwrap_or_else(|| panic!("no text: {self:?}")).to_owned()
    }

    /// The raw error, if it is one.
    pub fn error(&self) -> Option<String> {
        json::find(&self.message, &["error"])
    }

    /// The JSON-RPC error code.
    ///
    /// # Panics
    /// If it is not an error.
    pub fn code(&self) -> i64 {
        let error = self.error().unwrap_or_else(|| panic!("not an error: {self:?}"));
        json::find(&error, &["code"]).and_then(|code| code.parse().ok()).expect("an error has a code")
    }

    /// The gateway's own code in the error's data; empty if there is none.
    pub fn refusal(&self) -> String {
        json::text_at(&self.message, &["error", "data", "dev.tollgate/refusal", "code"]).unwrap_or_default()
    }

    /// Everything in it as text.
    pub fn everything(&self) -> String {
        format!("{} {:?} {} {:?}", self.status, self.headers, self.message, self.before)
    }

    /// Reads an HTTP response, as one JSON body or as a stream.
    pub fn of(reply: &super::Reply) -> Self {
        let mut answer = Self {
            status: reply.status,
            headers: reply.headers.clone(),
            message: String::new(),
            before: Vec::new(),
        };
        if reply.header("content-type").is_some_and(|t| t.starts_with("text/event-stream")) {
            for event in events(&reply.body) {
                answer.take(event.data);
            }
        } else {
            answer.message = reply.text();
        }
        answer
    }

    fn take(&mut self, message: String) {
        if json::find(&message, &["method"]).is_none() && self.message.is_empty() {
            self.message = message;
        } else {
            self.before.push(message);
        }
    }
}

/// A client over Streamable HTTP.
#[derive(Debug, Clone)]
pub struct HttpPeer {
    /// The connection.
    pub http: Http,
    /// The endpoint's path.
    pub path: String,
    /// What it speaks.
    pub dialect: Dialect,
    /// The legacy session.
    pub session: Option<String>,
    /// The legacy revision.
    pub revision: String,
    next_id: u64,
}

impl HttpPeer {
    /// A modern client.
    pub fn modern(http: impl Into<Http>, path: &str) -> Self {
        Self {
            http: http.into(),
            path: path.to_owned(),
            dialect: Dialect::Modern,
            session: None,
            revision: "2026-07-28".to_owned(),
            next_id: 1,
        }
    }

    /// A legacy client that has shaken hands.
    pub async fn legacy(http: impl Into<Http>, path: &str) -> Self {
        Self::legacy_with(http, path, "2025-11-25", "{}").await
    }

    /// A legacy client of this revision with these raw capabilities.
    pub async fn legacy_with(http: impl Into<Http>, path: &str, revision: &str, capabilities: &str) -> Self {
        let outcome = Self::shake_hands(http, path, revision, capabilities).await;
        outcome.unwrap_or_else(|answer| panic!("initialize: {answer:?}"))
    }

    /// A legacy client of this revision with these raw capabilities, or what `initialize` was answered with instead.
    pub async fn shake_hands(
        http: impl Into<Http>,
        path: &str,
        revision: &str,
        capabilities: &str,
    ) -> Result<Self, Answer> {
        let mut peer =
            Self { dialect: Dialect::Legacy, revision: revision.to_owned(), ..Self::modern(http, path) };
        let hello = Call::new(
            "initialize",
            format!(
                r#""protocolVersion":"{revision}","capabilities":{capabilities},"clientInfo":{{"name":"raw","version":"1"}}"#
            ),
        );
        let reply = peer.http.send(&peer.ask("1", &hello).without("mcp-protocol-version")).await;
        let answer = Answer::of(&reply);
        if reply.status != 200 || answer.error().is_some() {
            return Err(answer);
        }
        peer.session = reply.header("mcp-session-id").map(str::to_owned);
        peer.revision = json::text_at(&answer.result(), &["protocolVersion"]).expect("a revision");
        let initialized = peer.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        let reply = peer.http.send(&initialized).await;
        assert_eq!(reply.status, 202, "initialized: {}", reply.everything());
        Ok(peer)
    }

    /// An HTTP request with this body and the headers that every POST of this client has.
    pub fn post(&self, body: &str) -> Ask {
        let mut ask = Ask::new("POST", &self.path)
            .with("Content-Type", "application/json")
            .with("Accept", "application/json, text/event-stream")
            .with("MCP-Protocol-Version", &self.revision)
            .body(body);
        if let Some(session) = &self.session {
            ask = ask.with("Mcp-Session-Id", session);
        }
        ask
    }

    /// The HTTP request that a proper client makes of this call.
    pub fn ask(&self, id: &str, call: &Call) -> Ask {
        let message = call.message(id, self.dialect);
        let mut ask = self.post(&message);
        if self.dialect == Dialect::Modern {
            ask = ask.with("Mcp-Method", &call.method);
            let name = match call.method.as_str() {
                "tools/call" | "prompts/get" => json::text_at(&message, &["params", "name"]),
                "resources/read" => json::text_at(&message, &["params", "uri"]),
                tasks if tasks.starts_with("tasks/") => json::text_at(&message, &["params", "taskId"]),
                _ => None,
            };
            if let Some(name) = name {
                ask = ask.with("Mcp-Name", &header_value(&name));
            }
        }
        ask
    }

    /// The next request id.
    pub fn mint(&mut self) -> String {
        self.next_id += 1;
        self.next_id.to_string()
    }

    /// Sends a request and waits for the end of the response.
    pub async fn request(&mut self, call: &Call) -> Answer {
        let ask = self.ask(&self.next_id.to_string(), call);
        self.next_id += 1;
        Answer::of(&self.http.send(&ask).await)
    }

    /// Sends a request and reads the head of the response.
    pub async fn open(&mut self, call: &Call) -> Live {
        let ask = self.ask(&self.next_id.to_string(), call);
        self.next_id += 1;
        soon("the head of a response", self.http.open(&ask)).await.expect("a response")
    }

    /// Posts a notification or an answer.
    ///
    /// # Panics
    /// If it is not accepted.
    pub async fn say(&self, body: &str) {
        let reply = self.http.send(&self.post(body)).await;
        assert_eq!(reply.status, 202, "{body}: {}", reply.everything());
    }

    /// Ends the session.
    pub async fn leave(self) {
        let Some(session) = &self.session else { return };
        let ask = Ask::new("DELETE", &self.path)
            .with("MCP-Protocol-Version", &self.revision)
            .with("Mcp-Session-Id", session);
        self.http.send(&ask).await;
    }

    /// Opens the stream for what belongs to no request.
    pub async fn listen(&self) -> Live {
        let mut ask = Ask::new("GET", &self.path)
            .with("Accept", "text/event-stream")
            .with("MCP-Protocol-Version", &self.revision);
        if let Some(session) = &self.session {
            ask = ask.with("Mcp-Session-Id", session);
        }
        soon("the head of the GET stream", self.http.open(&ask)).await.expect("a response")
    }
}

fn header_value(text: &str) -> String {
    let plain = text.bytes().all(|b| (0x20..0x7f).contains(&b)) && text.trim() == text;
    if plain && !(text.starts_with("=?base64?") && text.ends_with("?=")) {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", base64::engine::general_purpose::STANDARD.encode(text))
    }
}

/// A client over HTTP+SSE.
#[derive(Debug)]
pub struct SsePeer {
    http: Http,
    /// The stream.
    pub stream: Live,
    /// Where messages are posted.
    pub endpoint: String,
    next_id: u64,
}

impl SsePeer {
    /// A client that has shaken hands.
    pub async fn connect(http: impl Into<Http>, path: &str) -> Self {
        Self::connect_with(http, path, "{}").await
    }

    /// A client with these raw capabilities that has shaken hands.
    pub async fn connect_with(http: impl Into<Http>, path: &str, capabilities: &str) -> Self {
        let http = http.into();
        let ask = Ask::new("GET", path).with("Accept", "text/event-stream");
        let mut stream = soon("the SSE stream", http.open(&ask)).await.expect("a stream");
        assert_eq!(stream.status, 200, "GET {path}: {:?}", stream.headers);
        let first = soon("the endpoint event", stream.event()).await.expect("a stream").expect("an event");
        assert_eq!(first.event, "endpoint");
        let endpoint = match first.data.strip_prefix("http://") {
            Some(rest) => rest.find('/').map(|at| rest[at..].to_owned()).expect("a path"),
            None => first.data,
        };
        let mut peer = Self { http, stream, endpoint, next_id: 1 };
        let hello = Call::new(
            "initialize",
            format!(
                r#""protocolVersion":"2024-11-05","capabilities":{capabilities},"clientInfo":{{"name":"raw","version":"1"}}"#
            ),
        );
        peer.request(&hello).await.result();
        peer.post(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        peer
    }

    /// Posts a message.
    pub async fn post(&self, body: &str) {
        let ask = Ask::new("POST", &self.endpoint).with("Content-Type", "application/json").body(body);
        let reply = self.http.send(&ask).await;
        assert_eq!(reply.status, 202, "POST {}: {}", self.endpoint, reply.everything());
    }

    /// Sends a request and waits for its answer on the stream.
    pub async fn request(&mut self, call: &Call) -> Answer {
        let id = self.next_id.to_string();
        self.next_id += 1;
        self.post(&call.message(&id, Dialect::Legacy)).await;
        let mut answer =
            Answer { status: 200, headers: Vec::new(), message: String::new(), before: Vec::new() };
        loop {
            let event = soon("an event", self.stream.event()).await.expect("a stream").expect("an event");
            if json::find(&event.data, &["id"]).as_deref() == Some(&id)
                && json::find(&event.data, &["method"]).is_none()
            {
                answer.message = event.data;
                return answer;
            }
            answer.before.push(event.data);
        }
    }
}

/// A client over stdio: it owns the process that it speaks with, and kills it when it is dropped.
#[derive(Debug)]
pub struct StdioPeer {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it speaks.
    pub dialect: Dialect,
    next_id: u64,
}

impl StdioPeer {
    /// Starts a process and shakes hands if that is the dialect's way.
    pub async fn start<I: AsRef<std::ffi::OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = I>,
        env: &[(&str, &str)],
        dialect: Dialect,
    ) -> Self {
        Self::start_with(program, args, env, dialect, "2025-11-25").await
    }

    /// The same, with the revision of the handshake.
    pub async fn start_with<I: AsRef<std::ffi::OsStr>>(
        program: &Path,
        args: impl IntoIterator<Item = I>,
        env: &[(&str, &str)],
        dialect: Dialect,
        revision: &str,
    ) -> Self {
        let mut child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("the program starts");
        let input = child.stdin.take();
        let output = BufReader::with_capacity(1 << 16, child.stdout.take().expect("piped"));
        let mut peer = Self { child, input, output, dialect, next_id: 1 };
        if dialect == Dialect::Legacy {
            let hello = Call::new(
                "initialize",
                format!(
                    r#""protocolVersion":"{revision}","capabilities":{{}},"clientInfo":{{"name":"raw","version":"1"}}"#
                ),
            );
            peer.request(&hello).await.result();
            peer.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        }
        peer
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it was not waited for")
    }

    /// Sends one line.
    pub async fn send(&mut self, line: &str) {
        self.send_raw(line.as_bytes()).await;
    }

    /// Sends one line of any bytes.
    pub async fn send_raw(&mut self, line: &[u8]) {
        let input = self.input.as_mut().expect("the input is open");
        input.write_all(&[line, b"\n"].concat()).await.expect("the process reads");
        input.flush().await.expect("the process reads");
    }

    /// Closes its input and waits for its end; the exit code.
    pub async fn close(mut self) -> Option<i32> {
        drop(self.input.take());
        soon("the end of the process", self.child.wait()).await.expect("a child").code()
    }

    /// The next line; `None` at the end.
    pub async fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let n = soon("a line", self.output.read_until(b'\n', &mut line)).await.expect("a pipe");
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        (n > 0).then_some(line)
    }

    /// Sends a request and waits for its answer.
    pub async fn request(&mut self, call: &Call) -> Answer {
        let id = self.next_id.to_string();
        self.next_id += 1;
        self.send(&call.message(&id, self.dialect)).await;
        let mut answer =
            Answer { status: 200, headers: Vec::new(), message: String::new(), before: Vec::new() };
        loop {
            let line = self.line().await.expect("the process answers before it ends");
            let line = String::from_utf8(line).expect("UTF-8");
            if json::find(&line, &["id"]).as_deref() == Some(&id) && json::find(&line, &["method"]).is_none()
            {
                answer.message = line;
                return answer;
            }
            answer.before.push(line);
        }
    }
}

/// A client of any dialect.
#[derive(Debug)]
pub enum Peer {
    /// Streamable HTTP of either era.
    Http(HttpPeer),
    /// HTTP+SSE.
    Sse(Box<SsePeer>),
    /// stdio.
    Stdio(Box<StdioPeer>),
}

impl Peer {
    /// Sends a request and waits for its answer.
    pub async fn request(&mut self, call: &Call) -> Answer {
        match self {
            Self::Http(peer) => peer.request(call).await,
            Self::Sse(peer) => peer.request(call).await,
            Self::Stdio(peer) => peer.request(call).await,
        }
    }

    /// Calls a tool with raw arguments.
    pub async fn tool(&mut self, tool: &str, arguments: &str) -> Answer {
        self.request(&Call::tool(tool, arguments)).await
    }

    /// The names of all tools, page by page.
    pub async fn tools(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.list("tools/list", cursor.as_deref()).await.value();
            for tool in page["tools"].as_array().expect("tools") {
                names.push(tool["name"].as_str().expect("a name").to_owned());
            }
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                return names;
            }
        }
    }

    /// One page of a list.
    pub async fn list(&mut self, method: &str, cursor: Option<&str>) -> Answer {
        let members = cursor.map(|c| format!(r#""cursor":{}"#, json::quote(c))).unwrap_or_default();
        self.request(&Call::new(method, members)).await
    }

    /// What it speaks.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Http(peer) => peer.dialect,
            Self::Sse(_) => Dialect::Legacy,
            Self::Stdio(peer) => peer.dialect,
        }
    }
}

impl From<HttpPeer> for Peer {
    fn from(peer: HttpPeer) -> Self {
        Self::Http(peer)
    }
}

impl From<SsePeer> for Peer {
    fn from(peer: SsePeer) -> Self {
        Self::Sse(Box::new(peer))
    }
}

impl From<StdioPeer> for Peer {
    fn from(peer: StdioPeer) -> Self {
        Self::Stdio(Box::new(peer))
    }
}
