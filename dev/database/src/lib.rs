//! Servers for tests. A PostgreSQL server: one's own, or one that all tests of a process share, each with a database to itself.
//! And a Redis server.
//!
//! Each listens on a free port of 127.0.0.1 and keeps its data in a folder that goes with it. It ends with the process that
//! started it, however that ends: a shell between them waits for its own standard input to close.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

mod redis;

pub use self::redis::{Certificate, Redis};

/// The password of the server's only user. It may stand in no log and no error.
pub const PASSWORD: &str = "hunter2-never-shown";
const USER: &str = "tollgate";
const START_MAX: Duration = Duration::from_mins(1);

/// Waits for the word how to end, or for the end of whoever started it, and ends the server.
const GUARD: &str = r#"
# The system hangs up on a group of processes of which some are stopped and whose parent is gone.
trap '' HUP INT TERM
folder=$1; shift
"$@" </dev/null >>"$folder/log" 2>&1 &
server=$!
read -r word
kill -CONT $(cat /proc/$server/task/$server/children 2>/dev/null) $server 2>/dev/null
kill -${END:-QUIT} $server 2>/dev/null
wait $server
[ "$word" = keep ] || rm -rf "$folder"
"#;

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Server {
    folder: PathBuf,
    programs: PathBuf,
    port: u16,
    databases: AtomicU32,
    guard: Mutex<Option<Child>>,
}

impl Server {
    /// A server of one's own, to do harm to.
    pub fn start() -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("tollgate-postgres-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&folder).expect("a folder for the server");
        if let Some((user, group)) = account() {
            chown(&folder, Some(user), Some(group)).expect("the folder is the server's");
        }
        let programs = programs();
        let password = folder.join("password");
        fs::write(&password, PASSWORD).expect("the password's file");
        let mut initdb = unprivileged(&programs.join("initdb"));
        initdb.arg("--pgdata").arg(folder.join("data")).arg("--pwfile").arg(&password).args([
            "--username",
            USER,
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C",
            "--no-sync",
        ]);
        run(&mut initdb);
        let port = free_port();
        let databases = AtomicU32::new(0);
        let server = Self { folder, programs, port, databases, guard: Mutex::default() };
        server.start_again();
        server
    }

    /// The server that all tests of this process share.
    pub fn shared() -> &'static Self {
        static SHARED: LazyLock<Server> = LazyLock::new(Server::start);
        &SHARED
    }

    /// A database that is empty and nobody else's: its URL.
    pub fn database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Where a database is.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// Carries out statements in a database, and gives back what they print.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let mut psql = self.client("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
        run(psql.args(["--dbname", database, "--command", sql]))
    }

    /// Ends the server as a crash would. What was committed is on disk.
    pub fn stop(&self) {
        if let Some(guard) = self.guard().take() {
            end(guard, "keep");
        }
    }

    /// Starts the server again, where it was.
    pub fn start_again(&self) {
        let mut server = unprivileged(&self.programs.join("postgres"));
        server.arg("-D").arg(self.folder.join("data"));
        for setting in [
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "full_page_writes=off",
            "shared_buffers=16MB",
            "max_connections=200",
            "logging_collector=off",
            "log_statement=all",
        ] {
            server.args(["-c", setting]);
        }
        server.args(["-c", &format!("port={}", self.port)]);
        let mut guard = Command::new("sh");
        guard
            .args(["-c", GUARD, "guard"])
            .arg(&self.folder)
            .arg(server.get_program())
            .args(server.get_args());
        // In a group of its own: a signal that ends the whole test run leaves it to do its work.
        let guard = guard.process_group(0).stdin(Stdio::piped()).spawn().expect("sh starts");
        if let Some(before) = self.guard().replace(guard) {
            end(before, "keep");
        }
        self.answers();
    }

    /// The server takes connections and data and does nothing with them, until [`Server::resume`].
    pub fn pause(&self) {
        for process in self.processes() {
            // One that has ended meanwhile does nothing either.
            _ = kill_process(process, Signal::STOP);
        }
    }

    /// It goes on where it was.
    pub fn resume(&self) {
        for process in self.processes() {
            _ = kill_process(process, Signal::CONT);
        }
    }

    /// What the server has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// The server's own process, and those of its connections.
    fn processes(&self) -> Vec<Pid> {
        let file = fs::read_to_string(self.folder.join("data/postmaster.pid")).expect("the server runs");
        let first = file.lines().next().expect("its process").to_owned();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap_or_default();
        let all = std::iter::once(first.as_str()).chain(children.split_ascii_whitespace());
        all.filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    }

    fn client(&self, program: &str) -> Command {
        let mut client = Command::new(self.programs.join(program));
        client.env("PGPASSWORD", PASSWORD).env("PGHOST", "127.0.0.1").env("PGPORT", self.port.to_string());
        client.env("PGUSER", USER).env("PGCONNECT_TIMEOUT", "10");
        client
    }

    /// Waits until the server takes connections.
    fn answers(&self) {
        let deadline = Instant::now() + START_MAX;
        loop {
            let mut ready = self.client("pg_isready");
            if ready.stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
                return;
            }
            assert!(Instant::now() < deadline, "PostgreSQL does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match self.guard().take() {
            Some(guard) => end(guard, "remove"),
            None => _ = fs::remove_dir_all(&self.folder),
        }
    }
}

/// Tells a guard how to end, and waits until it has.
fn end(mut guard: Child, word: &str) {
    if let Some(mut input) = guard.stdin.take() {
        _ = writeln!(input, "{word}");
    }
    _ = guard.wait();
}

/// The folder of the newest PostgreSQL that is installed.
fn programs() -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut versions: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    let newest = versions.pop();
    newest.expect("PostgreSQL is not installed: `cargo xtask setup` does it, or says how").1
}

/// The account that the server runs under where this process is root's, as which PostgreSQL does not run.
fn account() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("the system's accounts");
    let line = passwd.lines().find(|line| line.starts_with("postgres:")).expect("the account of PostgreSQL");
    let mut fields = line.split(':').skip(2).map(|field| field.parse().expect("a number"));
    Some((fields.next().expect("a user"), fields.next().expect("a group")))
}

fn unprivileged(program: &Path) -> Command {
    let Some((user, group)) = account() else { return Command::new(program) };
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={user}")).arg(format!("--regid={group}"));
    command.args(["--clear-groups", "--"]).arg(program);
    command
}

/// None of those that the system gives to whoever asks for any, so that nobody else gets it before the server does, or while the
/// server is stopped.
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let nth = std::process::id().wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(30_000 + nth % 2_700).expect("a port");
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn run(command: &mut Command) -> String {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        _ = write!(text, "{}", String::from_utf8_lossy(&output.stderr));
        panic!("{command:?}: {}\n{text}", output.status);
    }
    text
}
