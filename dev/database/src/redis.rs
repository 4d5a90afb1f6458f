//! A Redis server for tests, with nothing on disk.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::{GUARD, end, free_port, run};

const START_MAX: Duration = Duration::from_mins(1);

/// The certificate of a server that is spoken to over TLS, and its key: PEM files.
#[derive(Debug, Clone, Copy)]
pub struct Certificate<'a> {
    /// The certificate.
    pub certificate: &'a Path,
    /// Its key.
    pub key: &'a Path,
}

/// A Redis server. What it knows is gone when it is stopped.
#[derive(Debug)]
pub struct Redis {
    folder: PathBuf,
    port: u16,
    is_tls: bool,
    settings: Vec<String>,
    guard: Mutex<Option<Child>>,
}

impl Redis {
    /// A server.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// A server that is a cluster by itself: what lies apart in one cannot be asked for at once.
    pub fn start_cluster() -> Self {
        let redis = Self::start_with(&["--cluster-enabled", "yes"]);
        redis.command(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
        let deadline = Instant::now() + START_MAX;
        while !redis.command(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
            assert!(Instant::now() < deadline, "the cluster does not come together");
            std::thread::sleep(Duration::from_millis(20));
        }
        redis
    }

    /// A server that speaks TLS only.
    pub fn start_tls(certificate: Certificate<'_>) -> Self {
        let path = |path: &Path| path.to_str().expect("a path").to_owned();
        let (own, key) = (path(certificate.certificate), path(certificate.key));
        Self::start_as(true, &["--tls-cert-file", &own, "--tls-key-file", &key, "--tls-auth-clients", "no"])
    }

    fn start_with(settings: &[&str]) -> Self {
        Self::start_as(false, settings)
    }

    fn start_as(is_tls: bool, settings: &[&str]) -> Self {
        let port = free_port();
        let folder = std::env::temp_dir().join(format!("tollgate-redis-{}-{port}", std::process::id()));
        fs::create_dir(&folder).expect("a folder for the server");
        let settings = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let redis = Self { folder, port, is_tls, settings, guard: Mutex::default() };
        redis.start_again();
        redis
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "rediss" } else { "redis" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Ends the server. It forgets everything.
    pub fn stop(&self) {
        if let Some(guard) = self.guard().take() {
            end(guard, "keep");
        }
    }

    /// Starts the server again, where it was.
    pub fn start_again(&self) {
        let port = self.port.to_string();
        let (plain, tls) = if self.is_tls { ("0", &*port) } else { (&*port, "0") };
        let mut guard = Command::new("sh");
        // Shells start what is in the background deaf to the signal that PostgreSQL is ended by.
        guard.env("END", "KILL");
        guard.args(["-c", GUARD, "guard"]).arg(&self.folder).arg("redis-server");
        guard.args(["--bind", "127.0.0.1", "--port", plain, "--tls-port", tls]);
        guard.args(["--save", "", "--appendonly", "no", "--loglevel", "warning"]);
        guard.arg("--dir").arg(&self.folder).arg("--pidfile").arg(self.folder.join("pid"));
        guard.args(&self.settings);
        let guard =
            guard.process_group(0).stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("sh starts");
        if let Some(before) = self.guard().replace(guard) {
            end(before, "keep");
        }
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not start:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The server takes connections and data and does nothing with them, until [`Redis::resume`].
    pub fn pause(&self) {
        _ = kill_process(self.process(), Signal::STOP);
    }

    /// It goes on where it was.
    pub fn resume(&self) {
        _ = kill_process(self.process(), Signal::CONT);
    }

    /// Has a command carried out, and gives back what it prints. Not over TLS.
    pub fn command(&self, words: &[&str]) -> String {
        let mut client = Command::new("redis-cli");
        run(client.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]).args(words))
    }

    fn process(&self) -> Pid {
        let pid = fs::read_to_string(self.folder.join("pid")).expect("the server runs");
        pid.trim().parse().ok().and_then(Pid::from_raw).expect("its process")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn guard(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.guard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        match self.guard().take() {
            Some(guard) => end(guard, "remove"),
            None => _ = fs::remove_dir_all(&self.folder),
        }
    }
}
