//! The fake server as a child process, and the folder through which a test directs and watches its children.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Stdout};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Mutex;

use super::act::{Act, Heard, Step, gathered, relayed, steps};
use super::answers::{self, Memory};
use super::log::{Log, Received};
use super::script::{Eras, Script};
use super::{json, until};

/// A folder that holds the script of the children that are started on it, and what they write down.
///
/// The script is read anew for each message, so that a test can change what running children do.
#[derive(Debug)]
pub struct Stage {
    folder: tempfile::TempDir,
}

impl Stage {
    /// A new folder with this script.
    pub fn new(script: &Script) -> Self {
        let stage = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        stage.play(script);
        stage
    }

    /// Where it is: the child's only argument.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Sets the script from now on.
    pub fn play(&self, script: &Script) {
        let text = serde_json::to_string(script).expect("a script is JSON");
        let next = self.path().join("script.next");
        fs::write(&next, text).expect("the folder is ours");
        fs::rename(next, self.path().join("script.json")).expect("the folder is ours");
    }

    /// Lets gated answers out, from now on.
    pub fn release(&self) {
        fs::write(self.path().join("release"), "").expect("the folder is ours");
    }

    /// Every line that any child has received, in order.
    pub fn received(&self) -> Vec<Received> {
        let log = Log::default();
        let bytes = fs::read(self.path().join("received")).unwrap_or_default();
        bytes
            .split_inclusive(|b| *b == b'\n')
            .filter_map(|line| line.strip_suffix(b"\n"))
            .map(|line| log.request("LINE", "", Vec::new(), line.to_vec()))
            .collect()
    }

    /// Waits for the `nth` (from 1) line with this JSON-RPC method.
    pub async fn wait_method(&self, method: &str, nth: usize) -> Received {
        until(&format!("line {nth} of {method} at the child"), async || {
            self.received().into_iter().filter(|r| r.rpc_method() == method).nth(nth - 1)
        })
        .await
    }

    /// What the children noted: `start PID`, `grandchild PID`, `eof PID`, `term PID`.
    pub fn events(&self) -> Vec<(String, u32)> {
        fs::read_to_string(self.path().join("events"))
            .unwrap_or_default()
            .lines()
            .filter_map(|line| {
                line.split_once(' ').and_then(|(what, pid)| Some((what.to_owned(), pid.parse().ok()?)))
            })
            .collect()
    }

    /// The processes that noted this.
    pub fn pids(&self, what: &str) -> Vec<u32> {
        self.events().into_iter().filter(|(w, _)| w == what).map(|(_, pid)| pid).collect()
    }

    /// All processes that were ever started here, children of the children included.
    pub fn everyone(&self) -> Vec<u32> {
        let mut all = self.pids("start");
        all.extend(self.pids("grandchild"));
        all
    }
}

/// Whether a process exists and is not a zombie.
pub fn alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// Whether a process has ended but nobody has reaped it.
pub fn zombie(pid: u32) -> bool {
    state(pid) == Some('Z')
}

fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

struct Child {
    folder: PathBuf,
    out: Mutex<Stdout>,
    memory: std::sync::Mutex<Memory>,
    heard: Heard,
    /// The `subscriptions/listen` requests that are open.
    listens: std::sync::Mutex<Vec<String>>,
}

impl Child {
    fn script(&self) -> Script {
        let text = fs::read_to_string(self.folder.join("script.json")).expect("the stage has a script");
        serde_json::from_str(&text).expect("the script is one")
    }

    fn append(&self, file: &str, line: &[u8]) {
        let mut whole = line.to_vec();
        whole.push(b'\n');
        let opened = OpenOptions::new().create(true).append(true).open(self.folder.join(file));
        opened.and_then(|mut f| f.write_all(&whole)).expect("the folder is ours");
    }

    fn note(&self, what: &str, pid: u32) {
        self.append("events", format!("{what} {pid}").as_bytes());
    }

    async fn write(&self, bytes: &[u8]) {
        let mut out = self.out.lock().await;
        // Whoever reads may be gone; then the end of the input ends this process too.
        let _ = out.write_all(bytes).await;
        let _ = out.flush().await;
    }

    async fn line(&self, message: &[u8]) {
        let mut whole = message.to_vec();
        whole.push(b'\n');
        self.write(&whole).await;
    }
}

/// Runs the child: its only argument is the folder of a [`Stage`].
pub fn run() -> ExitCode {
    let Some(folder) = std::env::args().nth(1) else { return ExitCode::from(64) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let child = Child {
        folder: PathBuf::from(folder),
        out: Mutex::new(tokio::io::stdout()),
        memory: std::sync::Mutex::default(),
        heard: Heard::default(),
        listens: std::sync::Mutex::default(),
    };
    runtime.block_on(live(Arc::new(child)));
    // Reading the input may still block a thread of the runtime.
    std::process::exit(0)
}

async fn live(child: Arc<Child>) {
    let pid = std::process::id();
    let script = child.script();
    child.note("start", pid);
    if script.exits_at_start {
        std::process::exit(3);
    }
    for line in &script.stderr {
        let mut err = std::io::stderr();
        let _ = writeln!(err, "{line}");
    }
    if script.grandchild {
        let program = if script.runaway { "setsid" } else { "sleep" };
        let args: &[&str] = if script.runaway { &["sleep", "100000"] } else { &["100000"] };
        let mut command = std::process::Command::new(program);
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        #[expect(clippy::zombie_processes, reason = "whoever ends this process must end that one too")]
        let spawned = command.spawn().expect("it is installed");
        child.note("grandchild", spawned.id());
    }
    let mut term = signal(SignalKind::terminate()).expect("a handler");
    let mut input = BufReader::with_capacity(1 << 16, tokio::io::stdin());
    let mut line = Vec::new();
    let mut open = true;
    loop {
        tokio::select! {
            _ = term.recv() => {
                child.note("term", pid);
                if !script.stubborn {
                    return;
                }
            }
            read = input.read_until(b'\n', &mut line), if open => {
                if !matches!(read, Ok(n) if n > 0) {
                    child.note("eof", pid);
                    open = false;
                    if !script.stubborn {
                        return;
                    }
                    continue;
                }
                if line.last() == Some(&b'\n') {
                    line.pop();
                }
                let message = std::mem::take(&mut line);
                child.append("received", &message);
                tokio::spawn(receive(Arc::clone(&child), message));
            }
        }
    }
}

async fn receive(child: Arc<Child>, message: Vec<u8>) {
    let Ok(message) = String::from_utf8(message) else { return };
    child.heard.take("", &message);
    if json::find(&message, &["method"]).is_none() || json::find(&message, &["id"]).is_none() {
        return;
    }
    let mut script = child.script();
    if script.eras == Eras::Modern
        && json::text_at(&message, &["method"]).as_deref() == Some("subscriptions/listen")
    {
        child.listens.lock().unwrap().push(message.clone());
        child.line(answers::acknowledged(&message).as_bytes()).await;
        return;
    }
    let act = script.act(&message);
    let tools = script.tools.len();
    let said = answers::answer(&mut script, &mut child.memory.lock().unwrap(), &message);
    if script.tools.len() != tools {
        let text = serde_json::to_string(&script).expect("a script is JSON");
        // At once: other messages, and other children, read it meanwhile.
        let _alone = child.memory.lock().unwrap();
        let next = child.folder.join(format!("script.{}", std::process::id()));
        fs::write(&next, text).expect("the folder is ours");
        fs::rename(next, child.folder.join("script.json")).expect("the folder is ours");
    }
    if let Some(push) = said.push {
        let listens = child.listens.lock().unwrap().clone();
        let pushes = match script.eras {
            Eras::Legacy => vec![push],
            Eras::Modern => listens.iter().map(|listen| answers::subscribed(&push, listen)).collect(),
        };
        for push in pushes {
            child.line(push.as_bytes()).await;
        }
    }
    for step in steps(&act, &message, &said.answer) {
        perform(&child, &act, step).await;
    }
}

async fn perform(child: &Child, act: &Act, step: Step) {
    match step {
        Step::Message(message) => child.line(&message).await,
        Step::Half(message) => child.write(&message[..message.len() / 2]).await,
        Step::HalfEvent(message) => {
            child.write(&message[..message.len() / 2]).await;
            std::process::exit(0);
        }
        Step::Flood { head, bytes, tail } => {
            let mut out = child.out.lock().await;
            let _ = out.write_all(head.as_bytes()).await;
            let block = vec![b'x'; 1 << 20];
            for _ in 0..(bytes >> 20) {
                let _ = out.write_all(&block).await;
            }
            let _ = out.write_all(tail.as_bytes()).await;
            let _ = out.write_all(b"\n").await;
            let _ = out.flush().await;
        }
        Step::Drip(message) => {
            let mut out = child.out.lock().await;
            let _ = out.write_all(&message).await;
            while out.write_all(b" ").await.is_ok() && out.flush().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Step::Relay { own, id } => {
            let response = child.heard.response("", &own).await;
            child.line(&relayed(&id, &response)).await;
        }
        Step::Await(owns) => drop(child.heard.responses("", &owns).await),
        Step::Gather { owns, id } => {
            let responses = child.heard.responses("", &owns).await;
            child.line(&gathered(&id, &responses)).await;
        }
        Step::Gate => {
            while !child.folder.join("release").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Step::Hang => {}
        Step::Die => {
            child.out.lock().await.flush().await.ok();
            std::process::exit(if *act == Act::Die { 1 } else { 2 });
        }
    }
}
