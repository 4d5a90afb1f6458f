//! Child processes: started in a group of their own, always stopped, and what they cost.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::Result;

/// Time that a child has to end by itself.
pub(crate) const GRACE: Duration = Duration::from_secs(3);

/// A child that ends with its owner: on drop, on panic, and by the keeper even if this process is killed.
pub(crate) struct Running {
    child: Child,
    pid: Pid,
    keeper: Option<std::sync::Arc<Keeper>>,
}

impl Running {
    /// Starts `command` away from the terminal's signals, so that its owner decides when it ends.
    pub(crate) fn start(command: &mut Command, keeper: Option<&std::sync::Arc<Keeper>>) -> Result<Running> {
        let child = command.process_group(0).spawn().map_err(|error| {
            format!("{} does not start: {error}", command.get_program().to_string_lossy())
        })?;
        let pid = Pid::from_child(&child);
        let running = Running { child, pid, keeper: keeper.cloned() };
        if let Some(keeper) = keeper {
            keeper.tell('+', pid)?;
        }
        Ok(running)
    }

    /// The first line that the child prints, which says where it listens.
    pub(crate) fn first_line(&mut self) -> Result<String> {
        let stdout = self.child.stdout.take().ok_or("its output is not piped")?;
        let mut line = String::new();
        let mut reader = BufReader::new(stdout.take(64 * 1024));
        reader.read_line(&mut line)?;
        if line.is_empty() {
            let status = self.child.wait()?;
            return Err(format!("ended before it said where it listens: {status}").into());
        }
        Ok(line)
    }

    /// Whether it has ended, and how.
    pub(crate) fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The process and its children, of which nginx has some.
    pub(crate) fn family(&self) -> Vec<u32> {
        let own = self.child.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        std::iter::once(own).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = kill_process(self.pid, Signal::TERM);
        let deadline = Instant::now() + GRACE;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(keeper) = &self.keeper {
            let _ = keeper.tell('-', self.pid);
        }
    }
}

/// A process that stops what is left when this one dies without a word (SIGKILL): it holds the other end of a pipe.
pub(crate) struct Keeper {
    stdin: Mutex<Option<ChildStdin>>,
    child: Mutex<Child>,
}

impl Keeper {
    pub(crate) fn start() -> Result<Keeper> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("keep")
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let stdin = Mutex::new(child.stdin.take());
        Ok(Keeper { stdin, child: Mutex::new(child) })
    }

    fn tell(&self, sign: char, pid: Pid) -> Result<()> {
        let mut stdin = self.stdin.lock().unwrap_or_else(PoisonError::into_inner);
        let stdin = stdin.as_mut().ok_or("the keeper is gone")?;
        writeln!(stdin, "{sign}{}", pid.as_raw_nonzero())?;
        Ok(())
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.stdin.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let _ = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

/// The keeper's own life: notes pids until its input ends, then stops those that are still noted.
pub(crate) fn keep(input: impl BufRead, grace: Duration) {
    let mut noted: Vec<i32> = Vec::new();
    for line in input.lines().map_while(std::io::Result::ok) {
        let Some(pid) = line.get(1..).and_then(|pid| pid.parse().ok()) else { continue };
        noted.retain(|&other| other != pid);
        if line.starts_with('+') {
            noted.push(pid);
        }
    }
    for signal in [Signal::TERM, Signal::KILL] {
        let left: Vec<Pid> = noted.iter().filter_map(|&pid| Pid::from_raw(pid)).collect();
        if left.iter().filter(|&&pid| kill_process(pid, signal).is_ok()).count() == 0 {
            return;
        }
        std::thread::sleep(grace);
    }
}

/// User and system time that these processes have used so far: by the scheduler's own account (nanoseconds) where the
/// kernel keeps one, else utime and stime of `/proc/PID/stat` (ticks of a hundredth of a second).
pub(crate) fn cpu_time(pids: &[u32]) -> Duration {
    pids.iter().map(|&pid| precise(pid).or_else(|| ticks(pid)).unwrap_or_default()).sum()
}

/// The first figure of each thread's `schedstat`. Threads that ended are not in it; the proxies' threads do not end.
fn precise(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    (nanos > 0).then(|| Duration::from_nanos(nanos))
}

fn ticks(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The process's own name stands in brackets and may hold anything; the fields are counted from behind it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Resident memory of these processes in KiB, pages shared between them counted once (`Pss`).
pub(crate) fn resident_kib(pids: &[u32]) -> u64 {
    pids.iter().map(|&pid| pss_kib(pid).or_else(|| rss_kib(pid)).unwrap_or(0)).sum()
}

fn pss_kib(pid: u32) -> Option<u64> {
    field_kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?, "Pss:")
}

fn rss_kib(pid: u32) -> Option<u64> {
    field_kib(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmRSS:")
}

fn field_kib(text: &str, field: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(field)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_cost_is_seen() {
        let own = [std::process::id()];
        let before = cpu_time(&own);
        let start = Instant::now();
        // Spinning costs time, however little of it a busy machine gives.
        while cpu_time(&own).saturating_sub(before) < Duration::from_millis(5) {
            assert!(start.elapsed() < Duration::from_secs(20), "no cost is seen");
        }
        assert!(ticks(own[0]).is_some());
        assert!(resident_kib(&own) > 100);
        assert!(rss_kib(own[0]).unwrap() > 100);
    }

    #[test]
    fn dropping_a_child_ends_it() {
        let running = Running::start(Command::new("sleep").arg("60"), None).unwrap();
        let pid = running.pid;
        assert!(running.family().contains(&u32::try_from(pid.as_raw_nonzero().get()).unwrap()));
        drop(running);
        assert!(kill_process(pid, Signal::TERM).is_err());
    }

    #[test]
    fn the_keeper_stops_what_is_still_noted() {
        let mut left = Command::new("sleep").arg("60").process_group(0).spawn().unwrap();
        let reaper = std::thread::spawn({
            let notes = format!("+{}\n+999999999\n-999999999\n", left.id());
            move || keep(BufReader::new(notes.as_bytes()), Duration::from_millis(50))
        });
        assert!(!left.wait().unwrap().success());
        reaper.join().unwrap();
    }
}
