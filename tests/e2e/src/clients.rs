//! Client libraries that nobody here wrote, each behind a small driver program that does what a job says.
//!
//! A **job** is one connection and what to do on it, one line of JSON on the driver's stdin:
//!
//! ```json
//! {
//!   "id": "any text", "timeoutS": 30,
//!   "connect": { "url": "http://…/mcp" },
//!   "lists": ["tools", "resources", "templates", "prompts"],
//!   "ping": true,
//!   "parts": {
//!     "any key": {
//!       "tool": { "name": "echo", "arguments": {} },
//!       "toolError": { "name": "…", "arguments": {} },
//!       "unknownTool": { "name": "…", "arguments": {} },
//!       "resource": "note://greeting",
//!       "prompt": { "name": "…", "arguments": {} },
//!       "completion": { "ref": { "type": "ref/prompt", "name": "…" }, "argument": { "name": "…", "value": "…" } },
//!       "progress": { "name": "…", "arguments": {}, "atLeast": 3 }
//!     }
//!   },
//!   "cancel": { "name": "…", "arguments": {} }
//! }
//! ```
//!
//! `connect` has one of `url` (Streamable HTTP), `sse` (HTTP+SSE) and `command` (stdio, with `env`), and may have
//! `mode: "legacy"`. The **answer** is one line of JSON too: `id`, `protocol` (the revision that was negotiated), and for
//! everything asked for either `{"ok": …}` or `{"error": {"code": …, "message": …, "data": …}}`; a connection that failed
//! as a whole has `error` at the top.
//!
//! For what needs more than one request, `connect` may have `answers`: what the client answers when a server asks. What
//! it has an answer for, it declares as a capability (`form` and `url` of elicitation, `sampling`, `samplingTools` for
//! sampling with tools, `roots`, and `tasks: true` for the extension). And a job may have a `script`, steps that are done
//! in order on the connection:
//!
//! ```json
//! {
//!   "connect": { "url": "…", "answers": {
//!     "form": { "action": "accept", "content": {} }, "url": { "action": "accept" },
//!     "sampling": { "role": "assistant", "model": "…", "content": {} }, "samplingTools": {},
//!     "roots": [{ "uri": "file:///…" }], "tasks": true } },
//!   "script": [
//!     { "do": "call", "name": "…", "arguments": {}, "progress": true, "task": true },
//!     { "do": "until", "name": "…", "contains": "…" },
//!     { "do": "page", "list": "tools", "cursor": "…" }, { "do": "whole", "list": "tools" },
//!     { "do": "readResource", "uri": "…" }, { "do": "getPrompt", "name": "…", "arguments": {} },
//!     { "do": "completed", "ref": {}, "argument": {}, "context": { "arguments": {} } },
//!     { "do": "setLevel", "level": "warning" },
//!     { "do": "watch", "uris": [], "lists": ["tools", "prompts", "resources"] }, { "do": "unwatch", "uris": [] },
//!     { "do": "hear", "what": "updated", "atLeast": 1, "withinMs": 5000 },
//!     { "do": "ping" }
//!   ]
//! }
//! ```
//!
//! A connection over Streamable HTTP may have `headers`, or `oauth`: a person who is sent to the authorization server, where
//! nobody is asked (`{"person": "ann"}`, with `"refresh": true` if the client may refresh its tokens), or a client that acts
//! for itself (`{"client": …, "secret": …, "issuer": …}`). The library finds its own way from the first 401 on. The
//! answer then has `oauth` for a person: `requests`, the query of every authorization request, `client`, as which it was
//! registered, and `scope`, what was granted last.
//!
//! `task` runs the tool as a task (its result has `said`, what was heard of the task); `until` calls a tool until its text
//! contains something; `page` is one page and `whole` a whole list, neither from the library's own cache; `setLevel` is
//! the session's level in a legacy revision, and that of all later calls in the modern one; `watch` subscribes in a legacy
//! revision and listens in the modern one; `hear` waits for what comes without being asked for. The answer then has
//! `script`, an outcome per step with the whole result in `ok`, and `heard`: `asked` (what servers asked, with method and
//! params), `logs`, `updated`, `changed`, `completed` (URL elicitations) and `progress`.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::places::{installed, node, peer, script};

/// A client library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// PyPI `mcp` 1.x.
    PythonV1,
    /// PyPI `mcp` 2.x.
    PythonV2,
    /// PyPI `fastmcp`.
    FastMcp,
    /// npm `@modelcontextprotocol/sdk` 1.x.
    TypeScriptV1,
    /// npm `@modelcontextprotocol/client` 2.x.
    TypeScriptV2,
    /// The official Rust SDK.
    Rmcp,
}

impl Library {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 6] =
        [Self::PythonV1, Self::PythonV2, Self::FastMcp, Self::TypeScriptV1, Self::TypeScriptV2, Self::Rmcp];

    /// What a reader calls it.
    pub fn title(self) -> &'static str {
        match self {
            Self::PythonV1 => "Python `mcp` 1.30",
            Self::PythonV2 => "Python `mcp` 2.3",
            Self::FastMcp => "FastMCP 4.1",
            Self::TypeScriptV1 => "TypeScript `sdk` 1.32",
            Self::TypeScriptV2 => "TypeScript `client` 2.4",
            Self::Rmcp => "Rust `rmcp` 3.9",
        }
    }

    /// Whether it speaks the modern era where the other side does.
    pub fn is_modern(self) -> bool {
        !matches!(self, Self::PythonV1 | Self::TypeScriptV1)
    }

    /// The revision that it negotiates with a gateway, which speaks all.
    pub fn revision(self) -> &'static str {
        if self.is_modern() { "2026-07-28" } else { "2025-11-25" }
    }

    fn command(self) -> Vec<String> {
        match self {
            Self::PythonV1 => vec![installed("python-legacy/bin/python"), script("clients/python_v1.py")],
            Self::PythonV2 => vec![installed("python-modern/bin/python"), script("clients/python_v2.py")],
            Self::FastMcp => vec![installed("python-modern/bin/python"), script("clients/fastmcp_v4.py")],
            Self::TypeScriptV1 => vec![node(), script("clients/typescript_v1.mjs")],
            Self::TypeScriptV2 => vec![node(), script("clients/typescript_v2.mjs")],
            Self::Rmcp => vec![peer("rmcp-client")],
        }
    }
}

/// A running driver program. It is killed when dropped.
#[derive(Debug)]
pub struct Driver {
    library: Library,
    child: Child,
    stdin: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Starts the driver of a library.
    ///
    /// # Panics
    /// If it is not installed.
    pub fn start(library: Library) -> Self {
        let command = library.command();
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command[0]));
        let stdin = child.stdin.take().expect("piped");
        let answers = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { library, child, stdin, answers }
    }

    /// Which library it drives.
    pub fn library(&self) -> Library {
        self.library
    }

    /// Does a job and gives the answer. A driver that gives none in time is replaced by a new one, and the answer says
    /// so.
    ///
    /// # Panics
    /// If the driver cannot be talked to.
    pub async fn job(&mut self, job: &Value) -> Value {
        let seconds = job["timeoutS"].as_u64().unwrap_or(30);
        let line = format!("{job}\n");
        if self.stdin.write_all(line.as_bytes()).await.is_err() {
            return self.replaced("it has ended");
        }
        // The driver keeps the time itself; this is for a driver that hangs.
        match tokio::time::timeout(Duration::from_secs(seconds + 10), self.answers.next_line()).await {
            Ok(Ok(Some(line))) => serde_json::from_str(&line)
                .unwrap_or_else(|error| panic!("{:?}: {error}: {line}", self.library)),
            Ok(_) => self.replaced("it has ended"),
            Err(_) => self.replaced("it hangs"),
        }
    }

    fn replaced(&mut self, why: &str) -> Value {
        let _ = self.child.start_kill();
        let library = self.library;
        *self = Self::start(library);
        json!({ "error": { "message": format!("the driver of {library:?} gave no answer: {why}") } })
    }
}
