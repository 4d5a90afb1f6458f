//! The guard over a child process: a small process between the gateway and a server that outlives neither.
//!
//! The gateway starts `GUARD child-guard -- COMMAND ARGS`; the program behind `GUARD` calls [`run_guard`] there. The
//! guard starts the command in a process group of its own with the guard's own standard streams, and adopts what the
//! command's processes leave behind (it is their *subreaper*). It ends when the command ends, when it gets SIGTERM, or
//! when the process that started it is gone, however that died; and then so does everything below it.
//!
//! Should the guard itself be killed, the kernel kills the command: it asked for that before it was executed. That
//! step needs a process of its own between fork and exec, which is this program once more, told so by an environment
//! variable.

/// Runs a command under guard and returns what the guard should exit with: the command's own exit status, 128 and the
/// signal's number if a signal ended it, 127 if it could not be started.
///
/// Takes over the whole process: it must be the only thing that the process does, called from the main thread, with
/// no other thread running. On systems other than Linux the command is run and its process group is ended with it,
/// but what leaves that group is not found again.
pub fn run_guard(command: &str, args: &[String]) -> i32 {
    imp::run(command, args)
}

#[cfg(unix)]
mod imp {
    use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
    use std::process::{Command, ExitStatus};
    use std::time::Duration;

    use rustix::process::{Pid, Signal, WaitOptions, getppid, kill_process, kill_process_group, wait};
    use tokio::signal::unix::{SignalKind, signal};
    use tokio::time::{Instant, sleep_until, timeout};

    /// Set in the process that becomes the command: the pid of the guard that it belongs to.
    const LEASH: &str = "TOLLGATE_GUARD_LEASH";
    /// What could not be started, as shells say it.
    const NOT_STARTED: i32 = 127;
    /// How long SIGTERM may be ignored.
    const PATIENCE: Duration = Duration::from_secs(2);

    pub(super) fn run(command: &str, args: &[String]) -> i32 {
        if let Ok(guard) = std::env::var(LEASH) {
            return become_command(command, args, &guard);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        match runtime {
            Ok(runtime) => runtime.block_on(guard(command, args)),
            Err(_) => NOT_STARTED,
        }
    }

    /// The step between fork and exec.
    fn become_command(command: &str, args: &[String], guard: &str) -> i32 {
        #[cfg(target_os = "linux")]
        {
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            // The guard may have died before the kernel was asked to watch it.
            let parent = getppid().map(|pid| pid.as_raw_nonzero().get().to_string());
            if parent.as_deref() != Some(guard) {
                return NOT_STARTED;
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = guard;
        let error = Command::new(command).args(args).env_remove(LEASH).exec();
        complain(command, &error);
        NOT_STARTED
    }

    /// Standard error goes to the gateway's log under the server's name.
    fn complain(command: &str, error: &std::io::Error) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "cannot run {command}: {error}");
    }

    async fn guard(command: &str, args: &[String]) -> i32 {
        let parent = getppid();
        #[cfg(target_os = "linux")]
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
        // Before the command is started, so that nothing of what follows is missed.
        let (Ok(mut terminate), Ok(mut child_changed)) =
            (signal(SignalKind::terminate()), signal(SignalKind::child()))
        else {
            return NOT_STARTED;
        };
        let watch = parent_watch(parent);
        if getppid() != parent {
            return NOT_STARTED;
        }
        let Some(main) = start(command, args) else { return NOT_STARTED };
        let_go_of_pipes();

        let mut status = None;
        tokio::select! {
            () = watch => {}
            _ = terminate.recv() => {}
            () = reap_until(main, &mut status, &mut child_changed) => {}
        }
        if status.is_none() {
            let _ = kill_process_group(main, Signal::TERM);
            let _ = timeout(PATIENCE, reap_until(main, &mut status, &mut child_changed)).await;
        }
        let _ = kill_process_group(main, Signal::KILL);
        clear(main, &mut status).await;
        exit_code(status)
    }

    /// Starts this very program again as the command-to-be, in a process group of its own.
    fn start(command: &str, args: &[String]) -> Option<Pid> {
        let own = rustix::process::getpid().as_raw_nonzero().get().to_string();
        let program = std::env::current_exe().ok()?;
        let spawned =
            Command::new(program).args(std::env::args_os().skip(1)).env(LEASH, own).process_group(0).spawn();
        let child = match spawned {
            Ok(child) => child,
            Err(_) => match Command::new(command).args(args).process_group(0).spawn() {
                Ok(child) => child,
                Err(error) => {
                    complain(command, &error);
                    return None;
                }
            },
        };
        Pid::from_raw(i32::try_from(child.id()).ok()?)
    }

    /// The pipes are the command's now: while the guard held them too, neither side would see the other close them.
    fn let_go_of_pipes() {
        if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
            let _ = rustix::stdio::dup2_stdin(&null);
            let _ = rustix::stdio::dup2_stdout(&null);
        }
    }

    /// Ends when the process that started the guard is gone.
    #[cfg(target_os = "linux")]
    async fn parent_watch(parent: Option<Pid>) {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::process::{PidfdFlags, pidfd_open};

        let Some(parent) = parent else { return };
        let Ok(watched) = pidfd_open(parent, PidfdFlags::empty()) else {
            return poll_parent(Some(parent)).await;
        };
        if getppid() != Some(parent) {
            return;
        }
        let (gone, told) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            // Readable says that it has ended.
            while poll(&mut [PollFd::new(&watched, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
            let _ = gone.send(());
        });
        let _ = told.await;
    }

    #[cfg(not(target_os = "linux"))]
    async fn parent_watch(parent: Option<Pid>) {
        poll_parent(parent).await;
    }

    async fn poll_parent(parent: Option<Pid>) {
        while getppid() == parent {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Reaps whatever ends, until the command itself has. Its process group is killed before that is forgotten.
    async fn reap_until(
        main: Pid,
        status: &mut Option<ExitStatus>,
        child_changed: &mut tokio::signal::unix::Signal,
    ) {
        loop {
            reap(main, status);
            if status.is_some() || child_changed.recv().await.is_none() {
                return;
            }
        }
    }

    /// Reaps all that have ended; false if there are no children at all.
    fn reap(main: Pid, status: &mut Option<ExitStatus>) -> bool {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, ended))) => {
                    if pid == main {
                        *status = Some(ExitStatus::from_raw(ended.as_raw()));
                    }
                }
                Ok(None) => return true,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Kills and reaps every process below this one; those that a killed one leaves behind come here and are next.
    async fn clear(main: Pid, status: &mut Option<ExitStatus>) {
        let mut pause = Duration::from_millis(1);
        let give_up = Instant::now() + Duration::from_secs(10);
        while reap(main, status) && Instant::now() < give_up {
            for child in children() {
                let _ = kill_process(child, Signal::KILL);
            }
            if !reap(main, status) {
                return;
            }
            sleep_until(Instant::now() + pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }

    /// The processes whose parent is this one.
    #[cfg(target_os = "linux")]
    fn children() -> Vec<Pid> {
        let own = rustix::process::getpid();
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        processes
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
            .filter_map(Pid::from_raw)
            .filter(|pid| parent_of(*pid) == Some(own))
            .collect()
    }

    #[cfg(target_os = "linux")]
    fn parent_of(pid: Pid) -> Option<Pid> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        // The command's name, in parentheses, may hold anything; the state and the parent follow the last of them.
        let rest = &stat[stat.rfind(')')? + 1..];
        Pid::from_raw(rest.split_ascii_whitespace().nth(1)?.parse().ok()?)
    }

    #[cfg(not(target_os = "linux"))]
    fn children() -> Vec<Pid> {
        Vec::new()
    }

    fn exit_code(status: Option<ExitStatus>) -> i32 {
        let Some(status) = status else { return 128 + Signal::KILL.as_raw() };
        status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
    }
}

#[cfg(not(unix))]
mod imp {
    pub(super) fn run(command: &str, args: &[String]) -> i32 {
        let status = std::process::Command::new(command).args(args).status();
        status.ok().and_then(|status| status.code()).unwrap_or(127)
    }
}
