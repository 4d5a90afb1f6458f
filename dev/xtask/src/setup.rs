//! Installing what the tests need, by package name.
//!
//! Everything but system packages goes into `target/testenv`: five Python environments (the official SDK in its legacy
//! and in its modern major version, Schemathesis, the analyzer of Presidio, and labelled texts) and one `node_modules`. What is pinned stands in `tests/e2e/python` and
//! `tests/e2e/node`; a stamp with the pins in it makes a second run free.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::steps::say;

/// Programs that only the system can provide: what is called, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 10] = [
    // The console is looked at in it.
    ("chromium", "chromium"),
    ("git", "git"),
    ("nginx", "nginx-light"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("postgres", "postgresql"),
    ("prometheus", "prometheus"),
    ("python3", "python3 python3-venv"),
    ("redis-server", "redis-server"),
    ("rsyslogd", "rsyslog rsyslog-gnutls"),
];

/// Installs everything that is missing.
///
/// # Errors
/// Names the one command to run where this user may not install, and the program that failed otherwise.
pub(crate) fn install(root: &Path) -> Result<(), String> {
    programs()?;
    let env = root.join("target/testenv");
    let pins = root.join("tests/e2e");
    fs::create_dir_all(&env).map_err(|error| format!("{}: {error}", env.display()))?;
    python(&env.join("python-legacy"), &pins.join("python/legacy.txt"))?;
    python(&env.join("python-modern"), &pins.join("python/modern.txt"))?;
    python(&env.join("python-schemathesis"), &pins.join("python/schemathesis.txt"))?;
    python(&env.join("python-presidio"), &pins.join("python/presidio.txt"))?;
    // Only what lies in these packages is read: what they would run with stays away.
    python_with(&env.join("python-corpora"), &pins.join("python/corpora.txt"), &["--no-deps"])?;
    node(&env.join("node"), &pins.join("node"))?;
    link_modules(&pins.join("node_modules"))
}

fn programs() -> Result<(), String> {
    let mut missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !exists(program)).map(|(_, packages)| *packages).collect();
    // Some distributions ship Python without what `venv` needs.
    let venv = Command::new("python3").args(["-c", "import ensurepip, venv"]).stderr(Stdio::null()).status();
    if exists("python3") && !venv.is_ok_and(|status| status.success()) {
        missing.push("python3-venv");
    }
    if exists("rsyslogd") && !rsyslog_speaks_tls() {
        missing.push("rsyslog-gnutls");
    }
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.join(" ");
    let by_hand = format!("apt-get update && apt-get install -y --no-install-recommends {packages}");
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout.trim_ascii() == b"0");
    if !root || !exists("apt-get") {
        return Err(format!(
            "programs are missing that the tests need. Run:\n\n    sudo sh -c '{by_hand}'\n"
        ));
    }
    say(&format!("=== installing {packages}"));
    run(Command::new("sh").args(["-c", &by_hand]).env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Whether the module by which rsyslogd speaks TLS is there: its folder is named after the machine.
fn rsyslog_speaks_tls() -> bool {
    let machines = fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut folders = machines.map(|machine| machine.path().join("rsyslog"));
    folders.any(|folder| folder.join("lmnsd_gtls.so").is_file())
        || Path::new("/usr/lib/rsyslog/lmnsd_gtls.so").is_file()
}

/// Whether a program is on the path, or where only root usually looks.
fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // PostgreSQL keeps its programs in a folder for each version.
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .chain(versions.map(|version| version.path().join("bin")))
        .any(|folder| folder.join(program).is_file())
}

fn python(folder: &Path, pins: &Path) -> Result<(), String> {
    python_with(folder, pins, &[])
}

fn python_with(folder: &Path, pins: &Path, options: &[&str]) -> Result<(), String> {
    let wanted = read(pins)?;
    if stamped(folder, &wanted) {
        return Ok(());
    }
    say(&format!("=== installing {} for Python", pins.display()));
    remove(folder)?;
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    let pip = folder.join("bin/pip");
    let mut install = Command::new(pip);
    install.args(["install", "--quiet", "--disable-pip-version-check"]).args(options);
    run(install.arg("-r").arg(pins))?;
    stamp(folder, &wanted)
}

fn node(folder: &Path, pins: &Path) -> Result<(), String> {
    let files = ["package.json", "package-lock.json", ".npmrc"];
    let wanted = files.iter().map(|file| read(&pins.join(file))).collect::<Result<String, String>>()?;
    if stamped(folder, &wanted) {
        return Ok(());
    }
    say(&format!("=== installing {} for Node.js", pins.display()));
    remove(folder)?;
    fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for file in files {
        let target = folder.join(file);
        fs::copy(pins.join(file), &target).map_err(|error| format!("{}: {error}", target.display()))?;
    }
    run(Command::new("npm").arg("ci").args(["--no-progress", "--loglevel", "error"]).current_dir(folder))?;
    // The conformance runner wants a newer Node.js than the one that may be installed, so one comes as a package.
    run(Command::new(folder.join("node_modules/.bin/node")).arg("--version"))?;
    stamp(folder, &wanted)
}

/// Node.js looks for modules beside the script, so the scripts' folder gets a link to what was installed.
fn link_modules(link: &Path) -> Result<(), String> {
    let target = Path::new("../../target/testenv/node/node_modules");
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    remove(link)?;
    symlink(target, link).map_err(|error| format!("{}: {error}", link.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn stamped(folder: &Path, wanted: &str) -> bool {
    fs::read_to_string(folder.join("installed")).is_ok_and(|installed| installed == wanted)
}

/// Written last: an installation that was interrupted has none and starts again.
fn stamp(folder: &Path, wanted: &str) -> Result<(), String> {
    let path = folder.join("installed");
    fs::write(&path, wanted).map_err(|error| format!("{}: {error}", path.display()))
}

fn remove(path: &Path) -> Result<(), String> {
    let removed = match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
    };
    removed.map_err(|error| format!("{}: {error}", path.display()))
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("{command:?}");
    let status = command.stdin(Stdio::null()).status().map_err(|error| format!("{shown}: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{shown} failed: {status}")) }
}
