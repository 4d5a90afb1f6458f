//! Starting the binary, and talking to it.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// A test that waits longer than this has failed.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The binary under test, with nothing of this process's settings.
pub(crate) fn tollgate() -> Command {
    let mut command = Command::new(binary());
    let own = ["TOLLGATE_LOG", "TOLLGATE_LOG_FORMAT", "TOLLGATE_CONFIG", "TOLLGATE_DATA_DIR", "DATABASE_URL"];
    for name in own {
        command.env_remove(name);
    }
    command
}

pub(crate) fn binary() -> &'static str {
    env!("CARGO_BIN_EXE_tollgate")
}

/// Runs a command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    tollgate().args(args).stdin(Stdio::null()).output().expect("the binary runs")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A running command whose output is read line by line. It is ended with the test.
pub(crate) struct Running {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    out: Receiver<String>,
    err: Receiver<String>,
    pub(crate) err_seen: VecDeque<String>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let out = lines(child.stdout.take().expect("stdout"));
        let err = lines(child.stderr.take().expect("stderr"));
        Self { stdin: child.stdin.take(), child, out, err, err_seen: VecDeque::new() }
    }

    /// The next line of standard output.
    pub(crate) fn line(&mut self) -> String {
        self.out.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line; stderr: {:#?}", self.all_err()))
    }

    /// The next line of standard output, as JSON.
    pub(crate) fn json(&mut self) -> Value {
        serde_json::from_str(&self.line()).expect("a JSON line")
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) fn wait_err(&mut self, text: &str) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(line) = self.err.recv_timeout(left) else {
                panic!("no line with {text:?} on stderr: {:#?}", self.err_seen);
            };
            self.err_seen.push_back(line.clone());
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Whether it has said this on standard error by now.
    pub(crate) fn has_said(&mut self, text: &str) -> bool {
        self.all_err().iter().any(|line| line.contains(text))
    }

    fn all_err(&mut self) -> Vec<String> {
        self.err_seen.extend(self.err.try_iter());
        self.err_seen.iter().cloned().collect()
    }

    /// Sends one line to standard input.
    pub(crate) fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("an open standard input");
        writeln!(stdin, "{message}").expect("sent");
        stdin.flush().expect("sent");
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("a signal");
    }

    /// Waits for the end.
    pub(crate) fn end(&mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        // Ends of output tell when the process ends, without polling it; reaping follows at once.
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            if self.out.recv_timeout(left).is_err() {
                break;
            }
        }
        self.child.wait().expect("the process ended")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.stdin.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn lines(from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A folder with files for one test.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a file in place at once, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let fresh = self.path(&format!(".{name}.new"));
        std::fs::write(&fresh, text).expect("a file");
        std::fs::rename(&fresh, &path).expect("a file");
        path.to_string_lossy().into_owned()
    }
}

/// A configuration with the notes server under this name.
pub(crate) fn notes_config(server: &str) -> String {
    format!("servers:\n  {server}:\n    command: {}\n    args: [demo-server, stdio]\n", json!(binary()))
}

/// What a gateway says that holds the server of shared counters for away.
pub(crate) const COUNTERS_AWAY: &str = "the server of shared counters is away";

/// Tries again where the machine stood still meanwhile for so long that a gateway held the server of shared counters for away:
/// what is counted then is another matter.
pub(crate) fn undisturbed<T>(mut trial: impl FnMut() -> (T, Vec<Gateway>)) -> (T, Vec<Gateway>) {
    let quiet = (0..5).find_map(|_| {
        let (found, mut gateways) = trial();
        let is_disturbed = gateways.iter_mut().any(|gateway| gateway.process.has_said(COUNTERS_AWAY));
        (!is_disturbed).then_some((found, gateways))
    });
    quiet.expect("a server that is asked is not away each time")
}

/// A gateway with its two addresses.
pub(crate) struct Gateway {
    pub(crate) process: Running,
    pub(crate) listen: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Gateway {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, &[])
    }

    /// The same, with these variables in its environment.
    pub(crate) fn start_with(config: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = tollgate();
        command.envs(variables.iter().copied());
        command.args(["serve", "--config", config, "--json"]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        let mut process = Running::start(command);
        let bound = process.json();
        let address = |key: &str| bound[key].as_str().and_then(|text| text.parse().ok()).expect("an address");
        Self { listen: address("listen"), admin: address("adminListen"), process }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/mcp", self.listen)
    }
}

/// The calendar server, and its URL.
pub(crate) fn calendar() -> (Running, String) {
    let mut command = tollgate();
    command.args(["demo-server", "http", "--until-stdin-ends"]);
    let mut server = Running::start(command);
    let url = server.line();
    (server, url)
}

/// An HTTP answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// One request on a connection of its own.
pub(crate) fn http(address: SocketAddr, request: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    answer(stream)
}

/// Reads an answer to the end of its connection.
pub(crate) fn answer(mut stream: impl Read) -> Answer {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Answer {
    http(address, &format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n"))
}

/// A request of a modern client.
pub(crate) fn modern(id: u32, method: &str, params: Value) -> Value {
    let mut params = params;
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
        "progressToken": id,
    });
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A modern request as HTTP.
pub(crate) fn modern_http(address: SocketAddr, message: &Value) -> String {
    let method = message["method"].as_str().expect("a method");
    let name =
        message["params"]["name"].as_str().map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
    let body = message.to_string();
    format!(
        "POST /mcp HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\nmcp-protocol-version: 2026-07-28\r\n\
         mcp-method: {method}\r\n{name}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// `initialize` of a legacy client.
pub(crate) fn initialize(id: u32) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "test", "version": "1" } } })
}
