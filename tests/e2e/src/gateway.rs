//! The release binary under test: started on free ports with a configuration of its own, and killed when it is dropped.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails loudly")]

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tollgate_testkit::fake::stdio::Stage;
use tollgate_testkit::fake::{Ask, Dialect, Http, HttpPeer, Peer, SsePeer, StdioPeer, soon, until};

/// A policy that allows everything, beside every configuration: for tests of something else, where somebody has to be known.
pub const EVERYBODY: &str = "everybody.cedar";

/// Any free port of loopback.
const ANY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The binary that the tests drive: `TOLLGATE_BIN`, or the release build of this workspace.
///
/// # Panics
/// If there is none.
pub fn binary() -> PathBuf {
    let path = std::env::var_os("TOLLGATE_BIN").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/tollgate"),
        PathBuf::from,
    );
    assert!(path.exists(), "{} is missing: run `cargo build --release -p tollgate`", path.display());
    path
}

/// A server entry for a Streamable HTTP address. Waits are shorter than usual, so that faults show soon, but longer than a busy
/// machine stands still.
pub fn http(url: &str) -> Value {
    patient(&json!({ "url": url, "transport": "http" }))
}

/// A server entry for an HTTP+SSE address.
pub fn sse(url: &str) -> Value {
    patient(&json!({ "url": url, "transport": "sse" }))
}

/// A server entry for children that are directed by a stage.
pub fn stdio(fake: &str, stage: &Stage) -> Value {
    patient(&json!({ "command": fake, "args": [stage.path()] }))
}

fn patient(server: &Value) -> Value {
    with(
        server,
        json!({ "connect_timeout_ms": 10_000, "probe_timeout_ms": 10_000, "request_timeout_ms": 20_000, "list_timeout_ms": 10_000, "backoff_ms_min": 50, "backoff_ms_max": 500 }),
    )
}

/// The same entry with further members.
///
/// # Panics
/// If either is not an object.
pub fn with(server: &Value, members: Value) -> Value {
    let mut server = server.clone();
    let Value::Object(members) = members else { panic!("members are an object") };
    server.as_object_mut().expect("a server is an object").extend(members);
    server
}

/// A configuration with these servers and nothing else.
pub fn servers<'a>(servers: impl IntoIterator<Item = (&'a str, Value)>) -> Value {
    let servers: serde_json::Map<String, Value> =
        servers.into_iter().map(|(name, s)| (name.to_owned(), s)).collect();
    json!({ "servers": servers })
}

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    /// What it and those that follow it say on their output.
    said: Said,
    /// The processes that it was handed over to, one after the other.
    followers: Vec<u32>,
    folder: TempDir,
    env: Vec<(String, String)>,
    /// What it is told to listen on.
    at: SocketAddr,
    /// Where it keeps its state.
    data: PathBuf,
    /// Where clients go.
    pub listen: SocketAddr,
    /// Where operators go.
    pub admin: SocketAddr,
}

impl Gateway {
    /// Starts a gateway with this configuration.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start(config: &Value) -> Self {
        Self::start_with(config, &[]).await
    }

    /// Starts a gateway with this configuration and these environment variables beside the test's own.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_with(config: &Value, env: &[(&str, &str)]) -> Self {
        Self::start_all(config, env, ANY, None).await
    }

    /// Starts a gateway with this configuration at this address: for what has to name the address in its configuration.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_at(config: &Value, address: SocketAddr) -> Self {
        Self::start_all(config, &[], address, None).await
    }

    /// Starts a gateway with this configuration that keeps its state where another one does.
    ///
    /// # Panics
    /// If it does not come up.
    pub async fn start_on(config: &Value, data: &Path) -> Self {
        Self::start_all(config, &[], ANY, Some(data)).await
    }

    async fn start_all(config: &Value, env: &[(&str, &str)], at: SocketAddr, data: Option<&Path>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        write_config(folder.path(), config);
        let env: Vec<_> = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let data = data.map_or_else(|| folder.path().join("data"), Path::to_path_buf);
        let (child, said, Bound { listen, admin, .. }) = spawn(folder.path(), &env, at, &data).await;
        Self { child, said, followers: Vec::new(), folder, env, at, data, listen, admin }
    }

    /// Has it hand over to a new process, and waits until that serves. What is asked of this gateway is about the new process
    /// from then on.
    ///
    /// # Panics
    /// If the new process listens elsewhere.
    pub async fn hand_over(&mut self) {
        let before = self.pid();
        self.signal(Signal::USR2);
        let bound = self.said.bound(self.folder.path()).await;
        assert_eq!((bound.listen, bound.admin), (self.listen, self.admin), "the sockets are the same");
        assert_ne!(bound.process, before);
        self.followers.push(bound.process);
    }

    /// Kills it and starts it again with the same configuration and data.
    pub async fn restart(&mut self) {
        let _ = self.child.kill().await;
        let (child, said, bound) = spawn(self.folder.path(), &self.env, self.at, &self.data).await;
        (self.child, self.said, self.listen, self.admin) = (child, said, bound.listen, bound.admin);
    }

    /// Replaces the configuration file at once, as an editor does.
    pub fn configure(&self, config: &Value) {
        write_config(self.folder.path(), config);
    }

    /// Replaces the configuration file by any text.
    pub fn configure_text(&self, text: &str) {
        write_text(self.folder.path(), text);
    }

    /// Where it keeps its state.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Runs a command of the same program on the same configuration and state, and gives what it prints as JSON.
    ///
    /// # Panics
    /// If it fails.
    pub async fn command(&self, arguments: &[&str]) -> Value {
        let command = Command::new(binary())
            .args(arguments)
            .arg("--config")
            .arg(self.folder.path().join("tollgate.yaml"))
            .arg("--data-dir")
            .arg(&self.data)
            .envs(self.env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .output();
        let output = soon("the end of a command", command).await.expect("the binary starts");
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}: {complained}", output.status);
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{arguments:?}: {said}{complained}"))
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.followers.last().copied().unwrap_or_else(|| self.child.id().expect("it was not waited for"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(pid(self.pid()), signal).expect("it runs");
    }

    /// The processes that it has started.
    ///
    /// # Panics
    /// If this is not Linux.
    pub fn children(&self) -> Vec<u32> {
        let parent = self.pid().to_string();
        let processes = fs::read_dir("/proc").expect("Linux").flatten();
        let numbers = processes
            .filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()));
        numbers
            .filter(|process| {
                let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
                let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
                after_name.split_whitespace().nth(1) == Some(parent.as_str())
            })
            .collect()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        soon("the end of the gateway", self.child.wait()).await.expect("a child")
    }

    /// Whether it still runs.
    pub fn running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Waits until the log holds this text.
    pub async fn logged(&self, text: &str) {
        until(&format!("`{text}` in the log"), async || self.log().contains(text).then_some(())).await;
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its highest resident memory so far, in KiB.
    pub fn memory_peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("Linux says so");
        line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).expect("a number")
    }

    /// Sets the highest resident memory back to what is resident now.
    pub fn reset_memory_peak(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("it is ours");
    }

    /// What it says of its readiness.
    ///
    /// # Panics
    /// If that is no JSON.
    pub async fn readiness(&self) -> Value {
        let text = Http::new(self.admin).send(&Ask::new("GET", "/readyz")).await.text();
        serde_json::from_str(&text).expect("JSON")
    }

    /// Its metrics.
    pub async fn metrics(&self) -> String {
        Http::new(self.admin).send(&Ask::new("GET", "/metrics")).await.text()
    }

    /// A number among its metrics, by name and labels as they are written there.
    ///
    /// # Panics
    /// If there is none.
    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// How many things of this kind are kept for clients.
    pub async fn kept(&self, what: &str) -> u64 {
        self.metric(&format!("tollgate_kept{{what=\"{what}\"}}")).await
    }

    /// Waits until so many things of this kind are kept.
    pub async fn keeps(&self, what: &str, wanted: u64) {
        until(&format!("{wanted} of {what}"), async || (self.kept(what).await == wanted).then_some(())).await;
    }

    /// A raw HTTP client that presents this key or token with every request.
    pub fn bearing(&self, token: &str) -> Http {
        Http::new(self.listen).bearing(token)
    }

    /// A modern client of an endpoint.
    pub fn modern(&self, path: &str) -> HttpPeer {
        HttpPeer::modern(self.listen, path)
    }

    /// A legacy client of an endpoint.
    pub async fn legacy(&self, path: &str) -> HttpPeer {
        HttpPeer::legacy(self.listen, path).await
    }

    /// A client over HTTP+SSE.
    pub async fn sse(&self, path: &str) -> SsePeer {
        SsePeer::connect(self.listen, path).await
    }

    /// A client over Streamable HTTP of this dialect.
    pub async fn peer(&self, dialect: Dialect, path: &str) -> Peer {
        match dialect {
            Dialect::Modern => self.modern(path).into(),
            Dialect::Legacy => self.legacy(path).await.into(),
        }
    }

    /// A client over stdio, bridged to an endpoint by `tollgate connect`.
    pub async fn bridged(&self, dialect: Dialect, path: &str) -> StdioPeer {
        let url = format!("http://{}{path}", self.listen);
        StdioPeer::start(&binary(), ["connect", &url], &[], dialect).await
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        for follower in &self.followers {
            // Most have ended, each after it was followed itself.
            let _ = kill_process(pid(*follower), Signal::KILL);
        }
        let panicked = self.log().contains("panicked at");
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(60).collect();
            eprintln!("--- the end of the gateway's log ---");
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        } else {
            assert!(!panicked, "the gateway panicked: {}", self.log());
        }
    }
}

/// A configuration file in a folder of its own, for a gateway that is itself a stdio child.
pub fn config_file(config: &Value) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write_config(folder.path(), config);
    let path = folder.path().join("tollgate.yaml");
    (folder, path)
}

fn write_config(folder: &Path, config: &Value) {
    let everybody = folder.join(EVERYBODY);
    if !everybody.exists() {
        fs::write(everybody, "permit(principal, action, resource);\n").expect("the folder is ours");
    }
    // JSON is YAML.
    write_text(folder, &serde_json::to_string_pretty(config).expect("JSON"));
}

fn write_text(folder: &Path, text: &str) {
    let next = folder.join("next.tmp");
    fs::write(&next, text).expect("the folder is ours");
    fs::rename(next, folder.join("tollgate.yaml")).expect("the folder is ours");
}

/// What a gateway says once it serves.
#[derive(Debug, Clone, Copy)]
struct Bound {
    listen: SocketAddr,
    admin: SocketAddr,
    process: u32,
}

/// The output of a gateway, line by line.
#[derive(Debug)]
struct Said(BufReader<ChildStdout>);

impl Said {
    async fn bound(&mut self, folder: &Path) -> Bound {
        let mut line = String::new();
        soon("the bound addresses", self.0.read_line(&mut line)).await.expect("a pipe");
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let log = fs::read_to_string(folder.join("log")).unwrap_or_default();
            panic!("the line is JSON: {line:?}\n{log}")
        });
        let addr = |key: &str| {
            said[key].as_str().and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("{key} in {line}"))
        };
        let process = said["process"].as_u64().and_then(|id| u32::try_from(id).ok()).expect("a number");
        Bound { listen: addr("listen"), admin: addr("adminListen"), process }
    }
}

fn pid(number: u32) -> Pid {
    Pid::from_raw(i32::try_from(number).expect("a pid")).expect("a pid")
}

async fn spawn(folder: &Path, env: &[(String, String)], at: SocketAddr, data: &Path) -> (Child, Said, Bound) {
    let log = File::options().create(true).append(true).open(folder.join("log")).expect("the folder is ours");
    let mut child = Command::new(binary())
        .arg("serve")
        .arg("--config")
        .arg(folder.join("tollgate.yaml"))
        .args(["--listen", &at.to_string(), "--admin-listen", "127.0.0.1:0", "--json"])
        .arg("--data-dir")
        .arg(data)
        .envs(env.iter().map(|(k, v)| (k, v)))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .expect("the binary starts");
    let mut said = Said(BufReader::new(child.stdout.take().expect("piped")));
    let bound = said.bound(folder).await;
    (child, said, bound)
}
