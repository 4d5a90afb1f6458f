//! On what the figures were taken: figures without that are hearsay.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What a reader must know to compare.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// `(what, value)`, in the table's order.
    pub(crate) facts: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look(nginx: Option<&Path>, tollgate: Option<&Path>) -> Machine {
        let mut facts = vec![
            ("Date", date()),
            ("CPU", format!("{}, {} cores", cpu_model(), cores())),
            ("Memory", memory()),
            ("Kernel", first_line("/proc/sys/kernel/osrelease")),
            ("rustc", output("rustc", &["--version"])),
        ];
        if let Some(nginx) = nginx {
            facts.push(("nginx", output_of(nginx, &["-v"]).trim_start_matches("nginx version: ").to_owned()));
        }
        if let Some(tollgate) = tollgate {
            let version = output_of(tollgate, &["--version"]);
            facts.push(("Tollgate", format!("{version}, {}", commit())));
        }
        facts.push(("Load average when the run began", first_line("/proc/loadavg")));
        Machine { facts }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.trim().to_owned())
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = text.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).unwrap_or(0);
    format!("{} GiB", kib.div_ceil(1024 * 1024))
}

fn first_line(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or("unknown").to_owned()
}

fn date() -> String {
    output("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

fn commit() -> String {
    let commit = output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "rev-parse", "--short=12", "HEAD"]);
    let changed =
        output("git", &["-C", env!("CARGO_MANIFEST_DIR"), "status", "--porcelain", "--", "../../crates"]);
    let suffix = if changed == "unknown" { "" } else { " with changes" };
    format!("commit {commit}{suffix}")
}

fn output(program: &str, arguments: &[&str]) -> String {
    output_of(Path::new(program), arguments)
}

/// What a program says, on whichever stream.
fn output_of(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "unknown".to_owned() };
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    if text.is_empty() { "unknown".to_owned() } else { text }
}
