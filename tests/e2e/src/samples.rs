//! Servers that nobody here wrote (or that were written here on somebody else's SDK), and what each must answer.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tollgate_testkit::fake::{FakeServer, soon, until};

use crate::places::{installed, node, npm, peer, script};

/// What a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// Only revisions with a handshake.
    Legacy,
    /// Only 2026-07-28.
    Modern,
    /// Whatever the client opens with.
    Both,
}

/// What a server says to a tool that it does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// A result with `isError`.
    Result,
    /// The error -32602.
    Error,
}

/// One server and what to ask of it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its name in the gateway's configuration.
    pub name: &'static str,
    /// What a reader calls it.
    pub title: &'static str,
    /// How it is reached.
    pub transport: &'static str,
    /// What it speaks.
    pub speaks: Speaks,
    /// How a client reaches it without a gateway: `connect` of a job.
    pub connect: Value,
    /// What to do, in the server's own names: a part of a job.
    pub steps: Value,
    /// For each step a text that the answer must contain; for `completion` the values.
    pub expect: Value,
    /// Its answer to an unknown tool.
    pub unknown: Unknown,
}

impl Sample {
    /// Its entry in the gateway's configuration.
    pub fn entry(&self) -> Value {
        if let Some(url) = self.connect["url"].as_str() {
            return json!({ "url": url });
        }
        if let Some(url) = self.connect["sse"].as_str() {
            return json!({ "url": url, "transport": "sse" });
        }
        let words = self.connect["command"].as_array().expect("a command");
        let mut entry = json!({ "command": words[0], "args": words[1..] });
        if self.connect["env"].is_object() {
            entry["env"] = self.connect["env"].clone();
        }
        entry
    }

    /// Which lists it offers, and so which it is asked for.
    pub fn lists(&self) -> Vec<&'static str> {
        let mut lists = vec!["tools"];
        if self.steps["resource"].is_string() {
            lists.extend(["resources", "templates"]);
        }
        if self.steps["prompt"].is_object() {
            lists.push("prompts");
        }
        lists
    }

    /// What to do at the merged endpoint, where tools and prompts have public names. `shared` says whether another
    /// server has a resource of the same URI, which is then rewritten.
    pub fn public_steps(&self, shared: bool) -> Value {
        let mut steps = self.steps.clone();
        let public =
            |native: &Value| json!(format!("{}__{}", self.name, native.as_str().unwrap_or_default()));
        for key in ["tool", "toolError", "unknownTool", "prompt", "progress"] {
            if steps[key].is_object() {
                steps[key]["name"] = public(&steps[key]["name"]);
            }
        }
        if steps["completion"].is_object() {
            steps["completion"]["ref"]["name"] = public(&steps["completion"]["ref"]["name"]);
        }
        if let (true, Some(uri)) = (shared, steps["resource"].as_str()) {
            steps["resource"] = json!(format!("tollgate:{}:{uri}", self.name));
        }
        steps
    }

    /// Compares the answers with what was expected, and says what is wrong. `exactly` says that an unknown tool must be
    /// answered as the server itself does.
    pub fn check(&self, part: &Value, exactly: bool) -> Vec<String> {
        let mut wrong = Vec::new();
        for (step, wanted) in self.expect.as_object().expect("expectations") {
            let answer = &part[step]["ok"];
            let mut fine = match wanted {
                Value::Array(_) => answer["values"] == *wanted,
                wanted => {
                    answer["text"].as_str().is_some_and(|text| text.contains(wanted.as_str().unwrap_or("?")))
                }
            };
            if matches!(step.as_str(), "tool" | "toolError") {
                fine &= answer["isError"] == (step == "toolError");
            }
            if step == "progress" {
                let enough = answer["notifications"].as_u64() >= self.steps["progress"]["atLeast"].as_u64();
                fine &= enough && answer["increasing"] == true;
            }
            if !fine {
                wrong.push(format!("{step}: {wanted} was expected, and this came: {}", part[step]));
            }
        }
        let unknown = &part["unknownTool"];
        let as_result = unknown["ok"]["isError"] == true;
        let as_error = unknown["error"]["code"] == -32602;
        let fine = match (exactly, self.unknown) {
            (true, Unknown::Result) => as_result,
            (true, Unknown::Error) => as_error,
            (false, _) => as_result || as_error,
        };
        if !fine {
            wrong.push(format!("unknownTool: {:?} was expected, and this came: {unknown}", self.unknown));
        }
        wrong
    }
}

/// The servers, running where they have to.
#[derive(Debug)]
pub struct Samples {
    /// All of them, in the order of the table.
    pub all: Vec<Sample>,
    children: Vec<Child>,
    folder: TempDir,
}

impl Samples {
    /// Starts those that are reached over HTTP and describes all.
    ///
    /// # Panics
    /// If one does not start.
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("files")).expect("the folder is ours");
        std::fs::write(folder.path().join("files/note.txt"), "A note in a file").expect("the folder is ours");
        let mut samples = Self { all: Vec::new(), children: Vec::new(), folder };
        samples.everything().await;
        samples.official().await;
        samples.modern().await;
        samples
    }

    /// The sample of this name.
    ///
    /// # Panics
    /// If there is none.
    pub fn get(&self, name: &str) -> &Sample {
        self.all.iter().find(|sample| sample.name == name).unwrap_or_else(|| panic!("no sample {name}"))
    }

    /// Whether another server has the sample's resource too.
    pub fn shares_resource(&self, sample: &Sample) -> bool {
        let uri = &sample.steps["resource"];
        uri.is_string() && self.all.iter().filter(|other| other.steps["resource"] == *uri).count() > 1
    }

    async fn everything(&mut self) {
        let server = npm("@modelcontextprotocol/server-everything/dist/index.js");
        let http = self.on_port(&server, "streamableHttp").await;
        let sse = self.on_port(&server, "sse").await;
        let ways = [
            ("everything-stdio", "stdio", json!({ "command": [node(), server, "stdio"] })),
            ("everything-sse", "HTTP+SSE", json!({ "sse": format!("http://127.0.0.1:{sse}/sse") })),
            ("everything-http", "Streamable HTTP", json!({ "url": format!("http://127.0.0.1:{http}/mcp") })),
        ];
        for (name, transport, connect) in ways {
            self.all.push(Sample {
                name,
                title: "server-everything",
                transport,
                speaks: Speaks::Legacy,
                connect,
                steps: json!({
                    "tool": { "name": "echo", "arguments": { "message": "Ada" } },
                    "toolError": { "name": "get-sum", "arguments": { "a": "x" } },
                    "unknownTool": { "name": "no_such_tool", "arguments": {} },
                    "resource": "demo://resource/static/document/architecture.md",
                    "prompt": { "name": "args-prompt", "arguments": { "city": "Bern" } },
                    "completion": {
                        "ref": { "type": "ref/prompt", "name": "completable-prompt" },
                        "argument": { "name": "department", "value": "E" },
                    },
                    // The server sends the third with the answer, and the TypeScript clients forget a call's
                    // notifications once it is answered.
                    "progress": {
                        "name": "trigger-long-running-operation",
                        "arguments": { "duration": 0.3, "steps": 3 },
                        "atLeast": 2,
                    },
                }),
                expect: json!({
                    "tool": "Echo: Ada",
                    "toolError": "expected number",
                    "resource": "Architecture",
                    "prompt": "weather in Bern",
                    "completion": ["Engineering"],
                    "progress": "Long running operation completed",
                }),
                unknown: Unknown::Result,
            });
        }
    }

    async fn official(&mut self) {
        let files = self.path("files");
        let memory = self.path("memory.jsonl");
        let repository = self.path("repository");
        let made =
            Command::new("git").args(["init", "--quiet", "--initial-branch", "trunk", &repository]).status();
        assert!(made.await.is_ok_and(|status| status.success()), "git makes a repository");
        let unknown = json!({ "name": "no_such_tool", "arguments": {} });
        self.all.push(Sample {
            name: "filesystem",
            title: "server-filesystem",
            transport: "stdio",
            speaks: Speaks::Legacy,
            connect: json!({
                "command": [node(), npm("@modelcontextprotocol/server-filesystem/dist/index.js"), files],
            }),
            steps: json!({
                "tool": { "name": "read_text_file", "arguments": { "path": format!("{files}/note.txt") } },
                "toolError": { "name": "read_text_file", "arguments": { "path": "/etc/passwd" } },
                "unknownTool": unknown,
            }),
            expect: json!({ "tool": "A note in a file", "toolError": "Access denied" }),
            unknown: Unknown::Result,
        });
        self.all.push(Sample {
            name: "memory",
            title: "server-memory",
            transport: "stdio",
            speaks: Speaks::Legacy,
            connect: json!({
                "command": [node(), npm("@modelcontextprotocol/server-memory/dist/index.js")],
                "env": { "MEMORY_FILE_PATH": memory },
            }),
            steps: json!({
                "tool": { "name": "read_graph", "arguments": {} },
                "toolError": { "name": "create_entities", "arguments": {} },
                "unknownTool": unknown,
                "resource": "memory://knowledge-graph",
            }),
            expect: json!({ "tool": "entities", "toolError": "expected array", "resource": "entities" }),
            unknown: Unknown::Result,
        });
        self.all.push(Sample {
            name: "time",
            title: "mcp-server-time",
            transport: "stdio",
            speaks: Speaks::Both,
            connect: json!({
                "command": [installed("python-modern/bin/mcp-server-time"), "--local-timezone", "UTC"],
            }),
            steps: json!({
                "tool": {
                    "name": "convert_time",
                    "arguments": { "source_timezone": "UTC", "time": "12:00", "target_timezone": "Asia/Tokyo" },
                },
                "toolError": { "name": "get_current_time", "arguments": { "timezone": "Nowhere/At_All" } },
                "unknownTool": unknown,
            }),
            expect: json!({ "tool": "T21:00:00", "toolError": "Invalid timezone" }),
            unknown: Unknown::Error,
        });
        self.all.push(Sample {
            name: "git",
            title: "mcp-server-git",
            transport: "stdio",
            speaks: Speaks::Both,
            connect: json!({ "command": [installed("python-modern/bin/mcp-server-git")] }),
            steps: json!({
                "tool": { "name": "git_status", "arguments": { "repo_path": repository } },
                "toolError": { "name": "git_status", "arguments": { "repo_path": files } },
                "unknownTool": unknown,
            }),
            expect: json!({ "tool": "On branch trunk", "toolError": "git_status" }),
            unknown: Unknown::Error,
        });
    }

    async fn modern(&mut self) {
        let typescript = script("servers/typescript_v2.mjs");
        let python = script("servers/python_v2.py");
        let interpreter = installed("python-modern/bin/python");
        let reference = peer("reference-server");
        let languages = [
            (
                "typescript",
                "TypeScript `server` 2.4",
                Speaks::Modern,
                vec![node(), typescript],
                Unknown::Error,
            ),
            ("python", "Python `mcp` 2.3", Speaks::Both, vec![interpreter, python], Unknown::Result),
        ];
        for (language, title, speaks, command, unknown) in languages {
            let stdio: Vec<&str> = command.iter().map(String::as_str).chain(["stdio"]).collect();
            let http: Vec<&str> = command.iter().map(String::as_str).chain(["http"]).collect();
            let url = self.listening(&http).await;
            let ways = [("stdio", json!({ "command": stdio })), ("Streamable HTTP", json!({ "url": url }))];
            for (transport, connect) in ways {
                self.all.push(Sample {
                    name: match (language, transport) {
                        ("typescript", "stdio") => "typescript-stdio",
                        ("typescript", _) => "typescript-http",
                        (_, "stdio") => "python-stdio",
                        _ => "python-http",
                    },
                    title,
                    transport,
                    speaks,
                    connect,
                    steps: json!({
                        "tool": { "name": "greet", "arguments": { "who": "Ada" } },
                        "toolError": { "name": "fail", "arguments": {} },
                        "unknownTool": { "name": "no_such_tool", "arguments": {} },
                        "resource": "note://greeting",
                        "prompt": { "name": "introduce", "arguments": { "who": "ada" } },
                        "completion": {
                            "ref": { "type": "ref/prompt", "name": "introduce" },
                            "argument": { "name": "who", "value": "a" },
                        },
                        "progress": { "name": "slow", "arguments": {}, "atLeast": 3 },
                    }),
                    expect: json!({
                        "tool": "Hello, Ada",
                        "toolError": "fail",
                        "resource": "A greeting in a note",
                        "prompt": "Introduce yourself to ada",
                        "completion": ["ada", "alan"],
                        "progress": "three steps done",
                    }),
                    unknown,
                });
            }
        }
        let url = self.listening(&[&reference, "--http", "127.0.0.1:0"]).await;
        let ways = [
            ("rust-stdio", "stdio", json!({ "command": [reference, "--stdio"] })),
            ("rust-http", "Streamable HTTP", json!({ "url": url })),
        ];
        for (name, transport, connect) in ways {
            self.all.push(Sample {
                name,
                title: "Rust `rmcp` 3.9",
                transport,
                speaks: Speaks::Both,
                connect,
                steps: json!({
                    "tool": { "name": "echo", "arguments": { "message": "Ada" } },
                    "toolError": { "name": "test_error_handling", "arguments": {} },
                    "unknownTool": { "name": "no_such_tool", "arguments": {} },
                    "resource": "test://static-text",
                    "prompt": { "name": "test_prompt_with_arguments", "arguments": { "arg1": "a", "arg2": "b" } },
                    "completion": {
                        "ref": { "type": "ref/prompt", "name": "test_prompt_with_arguments" },
                        "argument": { "name": "arg1", "value": "par" },
                    },
                    "progress": { "name": "test_tool_with_progress", "arguments": {}, "atLeast": 3 },
                }),
                expect: json!({
                    "tool": "Echo: Ada",
                    "toolError": "intentionally returns an error",
                    "resource": "static text resource",
                    "prompt": "arg1='a', arg2='b'",
                    "completion": ["paris", "park", "party"],
                    "progress": "executed successfully",
                }),
                unknown: Unknown::Error,
            });
        }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path that is text").to_owned()
    }

    /// Starts a server that prints its URL.
    async fn listening(&mut self, command: &[&str]) -> String {
        let (child, url) = listening(command).await;
        self.children.push(child);
        url
    }

    /// Starts `server-everything` on a free port. It takes its port from the environment and names it nowhere, so a
    /// free one is looked for first.
    async fn on_port(&mut self, server: &str, transport: &str) -> u16 {
        let port = FakeServer::free_address().await.port();
        let child = Command::new(node())
            .args([server, transport])
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("node starts");
        self.children.push(child);
        until("server-everything listens", async || TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        port
    }
}

/// Starts a server that prints `{"url": …}` once it listens. It is killed when the child is dropped.
///
/// # Panics
/// If it does not.
pub async fn listening(command: &[&str]) -> (Child, String) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .current_dir(Path::new("/"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().expect("piped"));
    soon("the server's address", output.read_line(&mut line)).await.expect("a pipe");
    let said: Value =
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{command:?}: {error}: {line:?}"));
    (child, said["url"].as_str().unwrap_or_else(|| panic!("no url in {line}")).to_owned())
}
