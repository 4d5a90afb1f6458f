//! The life of one child process: started with nothing but what its settings name, and ended with everything that it
//! started in its process group.

use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use crate::{StdioSettings, UpstreamError};

/// What a guard needs to end its charge (see [`crate::guard`]), beyond the wait that its settings allow.
const GUARD_GRACE: Duration = Duration::from_secs(4);

/// A running child.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Option<Pid>,
    guarded: bool,
}

/// The ends of its pipes.
pub(super) struct Pipes {
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

impl Process {
    /// Starts the child in a process group of its own.
    pub(super) fn spawn(settings: &StdioSettings) -> Result<(Self, Pipes), UpstreamError> {
        let mut command = match &settings.guard {
            Some(guard) => {
                let mut command = Command::new(guard);
                command.arg("child-guard").arg("--").arg(&settings.command);
                command
            }
            None => Command::new(&settings.command),
        };
        command.args(&settings.args).env_clear().envs(inherited());
        command.envs(settings.env.iter().map(|(name, value)| (name, value.expose())));
        if let Some(cwd) = &settings.cwd {
            command.current_dir(cwd);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            // If the runtime ends before the owning task does. A guard sees that by itself and clears up behind it,
            // which it could not if it were killed.
            .kill_on_drop(settings.guard.is_none());
        let failed = |error: std::io::Error| {
            UpstreamError::unavailable("the server's process could not be started", error)
        };
        let mut child = command.spawn().map_err(failed)?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pipes = match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => Pipes { stdin, stdout, stderr },
            _ => return Err(failed(std::io::Error::other("no pipes"))),
        };
        Ok((Self { child, group, guarded: settings.guard.is_some() }, pipes))
    }

    pub(super) fn id(&self) -> i32 {
        self.group.map_or(0, |pid| pid.as_raw_nonzero().get())
    }

    /// Waits for the end of a child whose pipes are closed, and hurries it: SIGTERM after `patience`, SIGKILL after as
    /// much again. Whatever is left of its group is killed too. Returns when it is reaped.
    pub(super) async fn end(mut self, patience: Duration) -> Option<ExitStatus> {
        let mut status = timeout(patience, self.child.wait()).await.ok();
        if status.is_none() {
            self.signal(Signal::TERM);
            let patience = if self.guarded { patience + GUARD_GRACE } else { patience };
            status = timeout(patience, self.child.wait()).await.ok();
        }
        // Also after a peaceful end: others may be left in its group.
        if let Some(group) = self.group {
            let _ = kill_process_group(group, Signal::KILL);
        }
        if status.is_none() {
            status = Some(self.child.wait().await);
        }
        status.and_then(Result::ok)
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = self.group else { return };
        // A guard passes the signal on to its charge's group, and must outlive that.
        let _ = if self.guarded { kill_process(group, signal) } else { kill_process_group(group, signal) };
    }
}

/// What every child inherits of the gateway's environment: where programs are, whose home it is, and the locale.
fn inherited() -> impl Iterator<Item = (OsString, OsString)> {
    std::env::vars_os().filter(|(name, _)| {
        name.to_str().is_some_and(|name| matches!(name, "PATH" | "HOME" | "LANG") || name.starts_with("LC_"))
    })
}
