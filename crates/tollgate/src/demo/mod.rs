//! `tollgate demo`: a gateway in front of two small servers, called in both eras.

pub(crate) mod calendar;
mod clients;
pub(crate) mod date;
pub(crate) mod notes;
mod story;

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tollgate_ledger::{CallId, Ledger, LedgerSettings};
use tollgate_model::{ServerName, Timestamp};
use tollgate_proxy::{Gateway, ProxySettings, Setup};
use tollgate_upstream::{HttpSettings, ServerSettings, StdioSettings, Transport};

use crate::cli::Demo;
use crate::exit::Failure;
use crate::listen::Listener;
use crate::out::{Printer, To};
use crate::running::{Cause, Running};
use crate::serve;
use crate::signals::Signals;

/// The port that a demo takes if it is free, so that a client's configuration still fits the next time.
const PORT: u16 = 8080;
/// How long a demo's server may take to start.
const START: Duration = Duration::from_secs(10);
const STOP: Duration = Duration::from_secs(2);

/// Shows what a gateway does, then stays up for the reader's own client.
pub(crate) async fn run(command: Demo) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let out = Printer::new(To::Out);
    let program = std::env::current_exe()
        .map_err(|error| Failure::failed(format!("this program cannot find itself: {error}")))?;

    let (calendar, calendar_url) = start_calendar(&program).await?;
    let scratch = Scratch::new()?;
    let ledger = Ledger::open(&scratch.0.join(serve::LEDGER), LedgerSettings::default())
        .map_err(|error| Failure::failed(format!("the demo's ledger cannot be opened: {error}")))?;
    let gateway = gateway(&program, &calendar_url, ledger.clone())?;
    let listener = bind(command.once).await?;
    let running = Running::start(gateway, listener, None)
        .map_err(|error| Failure::failed(format!("the serving threads do not start: {error}")))?;
    let url = format!("http://{}/mcp", running.address());

    story::opening(out, &url, &calendar_url);
    let told = tokio::select! {
        told = story::tell(out, &url) => told,
        signal = signals.stop() => Err(Failure::failed(format!("stopped by {signal}"))),
    };
    if told.is_ok() && !command.once {
        clients::show(out, &program, &url);
        out.line(format!("\nThe gateway stays up at {}. Stop it with Ctrl-C.", out.cyan(&url)));
        signals.stop().await;
    }
    running.drain(Cause::Asked("the end of the demo"), STOP, async { _ = signals.stop().await }).await;
    ledger.close().await;
    // Its standard input is closed with it, so it ends by itself too.
    drop(calendar);
    told
}

/// A folder for what the demo's gateway keeps, which goes with the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("tollgate-demo-{}", CallId::new(Timestamp::now())));
        // Not one that is there: it may be another's.
        DirBuilder::new().mode(0o700).create(&folder).map_err(|error| {
            Failure::failed(format!("{} cannot be made for the demo's record: {error}", folder.display()))
        })?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans up temporary files.
        _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Starts the HTTP server as a process of its own, and reads its URL from what it prints.
async fn start_calendar(program: &Path) -> Result<(Child, String), Failure> {
    let failed = |what: String| Failure::failed(format!("the demo's calendar server did not start: {what}"));
    let mut child = Command::new(program)
        .args(["demo-server", "http", "--until-stdin-ends"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let stdout = child.stdout.take().ok_or_else(|| failed("it has no output".to_owned()))?;
    let mut lines = BufReader::new(stdout).lines();
    match timeout(START, lines.next_line()).await {
        Ok(Ok(Some(url))) => Ok((child, url)),
        Ok(Ok(None)) => Err(failed("it ended".to_owned())),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed("it is silent".to_owned())),
    }
}

fn gateway(program: &Path, calendar_url: &str, ledger: Ledger) -> Result<Gateway, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::failed(format!("the demo's gateway: {error}"));
    let name = |text: &str| ServerName::new(text).map_err(|error| failed(&error));

    let mut notes = StdioSettings::new(program.to_string_lossy());
    notes.args = vec!["demo-server".to_owned(), "stdio".to_owned()];
    notes.guard = Some(program.to_owned());
    let calendar = HttpSettings::new(calendar_url.parse().map_err(|error| failed(&error))?);
    let servers = vec![
        ServerSettings::new(name("notes")?, Transport::Stdio(notes)),
        ServerSettings::new(name("calendar")?, Transport::Http(calendar)),
    ];
    let setup = Setup { ledger, ..Setup::new(ProxySettings::default(), servers, Vec::new()) };
    Gateway::new(setup).map_err(|error| failed(&error))
}

async fn bind(is_once: bool) -> Result<Listener, Failure> {
    let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if !is_once && let Ok(listener) = Listener::bind("data plane", local(PORT), None).await {
        return Ok(listener);
    }
    let failed = |error| Failure::failed(format!("the demo's gateway finds no free port: {error}"));
    Listener::bind("data plane", local(0), None).await.map_err(failed)
}
