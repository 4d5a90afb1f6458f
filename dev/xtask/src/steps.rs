//! Running programs one after the other, adding up what they say, and going on after a failure so that one run shows
//! everything that is wrong.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// What has been run so far.
#[derive(Default)]
pub(crate) struct Steps {
    passed: u64,
    failed: u64,
    ignored: u64,
    broken: Vec<String>,
    failures: Failures,
}

/// A `cargo` command in the workspace.
pub(crate) fn cargo<S: AsRef<OsStr>>(root: &Path, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root).args(args).stdin(Stdio::null());
    command
}

/// Says something to whoever watches.
pub(crate) fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Says what went wrong.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "xtask: {text}");
}

impl Steps {
    /// Runs a program whose exit code is its answer.
    pub(crate) fn run(&mut self, what: &str, mut command: Command) -> bool {
        say(&format!("\n=== {what}"));
        let start = Instant::now();
        let worked = match command.status() {
            Ok(status) => status.success(),
            Err(error) => {
                complain(&format!("{}: {error}", command.get_program().display()));
                false
            }
        };
        self.ended(what, worked, start);
        worked
    }

    /// Runs `cargo test` and adds up its result lines.
    pub(crate) fn tests(&mut self, what: &str, mut command: Command) {
        say(&format!("\n=== {what}"));
        let start = Instant::now();
        let child = command.stdout(Stdio::piped()).spawn();
        let (mut child, output) = match child.map(|mut child| (child.stdout.take(), child)) {
            Ok((Some(output), child)) => (child, output),
            Ok((None, _)) => return self.ended(what, false, start),
            Err(error) => {
                complain(&format!("{}: {error}", command.get_program().display()));
                return self.ended(what, false, start);
            }
        };
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else { break };
            let line = String::from_utf8_lossy(&line);
            say(&line);
            self.failures.read(&line);
            if let Some(counts) = counts(&line) {
                self.passed += counts.passed;
                self.failed += counts.failed;
                self.ignored += counts.ignored;
            }
        }
        let worked = child.wait().is_ok_and(|status| status.success());
        self.ended(what, worked, start);
    }

    fn ended(&mut self, what: &str, worked: bool, start: Instant) {
        let seconds = start.elapsed().as_secs();
        let how = if worked { "ok" } else { "FAILED" };
        say(&format!("=== {what}: {how} ({seconds} s)"));
        if !worked {
            self.broken.push(what.to_owned());
        }
    }

    /// Whether everything worked, without counts.
    pub(crate) fn verdict(&self) -> Result<(), String> {
        if self.broken.is_empty() { Ok(()) } else { Err(format!("failed: {}", self.broken.join(", "))) }
    }

    /// Prints what failed tests said and, as the last line, the counts. A step that failed without a failed test (it did not
    /// compile, say) counts as one failure, so that zero failures means that everything worked.
    pub(crate) fn finish(self) -> Result<(), String> {
        if self.ignored > 0 {
            say(&format!("{} tests are marked as ignored", self.ignored));
        }
        self.failures.repeat();
        let verdict = self.verdict();
        if let Err(problem) = &verdict {
            complain(problem);
        }
        let failed = if verdict.is_err() { self.failed.max(1) } else { self.failed };
        say(&format!("{} passed, {failed} failed", self.passed));
        if failed == 0 { Ok(()) } else { Err("not everything works".to_owned()) }
    }
}

/// How many lines of each failed test are said again at the end, where the reason stands among the first.
const REPEATED_LINES_MAX: usize = 40;

/// What the test harness printed of tests that failed, to be said again where the reader looks: at the end.
#[derive(Default)]
struct Failures {
    names: Vec<String>,
    lines: Vec<String>,
    /// How many lines of the present one are kept; none outside of a report.
    kept: Option<usize>,
}

impl Failures {
    /// Keeps a line that stands between `---- NAME stdout ----` and the list of names that ends the harness's report.
    fn read(&mut self, line: &str) {
        let name = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" ----"));
        if let Some(name) = name {
            self.names.push(name.trim_end_matches(" stdout").to_owned());
            self.kept = Some(0);
        } else if line == "failures:" {
            self.kept = None;
        }
        if let Some(kept) = self.kept.as_mut().filter(|kept| **kept < REPEATED_LINES_MAX) {
            *kept += 1;
            self.lines.push(line.to_owned());
        }
    }

    /// All that was kept, and the names last.
    fn repeat(&self) {
        if !self.names.is_empty() {
            say("\n=== what failed");
        }
        self.lines.iter().for_each(|line| say(line));
        self.names.iter().for_each(|name| say(&format!("failed: {name}")));
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

/// Reads a result line of the test harness: `test result: ok. 3 passed; 0 failed; 1 ignored; …`.
fn counts(line: &str) -> Option<Counts> {
    let (_, figures) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let figure = |what: &str| {
        let part = figures.split(';').map(str::trim).find(|part| part.ends_with(what))?;
        part.split_whitespace().next()?.parse().ok()
    };
    Some(Counts { passed: figure("passed")?, failed: figure("failed")?, ignored: figure("ignored")? })
}

#[cfg(test)]
mod unit {
    use super::{Counts, Failures, counts};

    #[test]
    fn result_lines_are_read() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.52s";
        assert_eq!(counts(line), Some(Counts { passed: 12, failed: 3, ignored: 1 }));
    }

    #[test]
    fn what_failed_tests_said_is_kept() {
        let report = "\
test one ... ok
test two ... FAILED

failures:

---- two stdout ----
assertion failed

failures:
    two

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.52s";
        let mut failures = Failures::default();
        report.lines().for_each(|line| failures.read(line));
        assert_eq!(failures.lines, ["---- two stdout ----", "assertion failed", ""]);
        assert_eq!(failures.names, ["two"]);
    }

    #[test]
    fn other_lines_are_not_results() {
        assert_eq!(counts("test names::stay ... ok"), None);
        assert_eq!(counts("running 12 tests"), None);
    }
}
