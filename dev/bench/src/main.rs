//! The benchmark: what a hop through Tollgate costs beside no hop and beside nginx, in one run, on one machine.
//!
//! `targets` starts the mock upstream, nginx and Tollgate; `rows` says what is called; `load` sends and checks;
//! `measure` turns one row on one target into figures; `report` writes the Markdown.

mod again;
mod chaos;
mod client;
mod cores;
mod deciding;
mod fan;
mod figures;
mod guarding;
mod hop;
mod idle;
mod keeping;
mod knowing;
mod limiting;
mod load;
mod machine;
mod measure;
mod mock;
mod overload;
mod pages;
mod parked;
mod payload;
mod process;
mod recording;
mod report;
mod rows;
mod say;
mod searching;
mod secured;
mod soak;
mod starting;
mod stocked;
mod targets;
mod verifying;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Parser, Subcommand};

use figures::{Figures, median};
use machine::Machine;
use measure::{Durations, measure};
use report::{Measured, Report};
use rows::{
    CHAOS, DECIDING, GUARDING, IDLE, KEEPING, KNOWING, LIMITING, LISTENERS, OVERLOAD, PARKED, RECORDING,
    ROWS, Row, STARTING, VERIFYING,
};
use targets::{Target, World};

/// What a chore can fail with: it is told to a person, who reads it and acts.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Idle sessions of the whole run and of the quick one.
const SESSIONS: usize = 1_000;
const SESSIONS_QUICK: usize = 200;
/// Calls that wait for their clients at once.
const PARKED_CALLS: usize = 200;
/// Clients that listen for one resource.
const LISTENING: usize = 1_000;

/// Measures Tollgate beside nginx and beside no proxy at all, over loopback.
#[derive(Parser, Debug)]
#[command(name = "bench")]
struct Arguments {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// One short round: under 90 seconds, and only roughly right.
    #[arg(long)]
    quick: bool,
    /// Only this row; may be given several times.
    #[arg(long = "row", value_name = "NAME", value_parser = row_names())]
    rows: Vec<String>,
    /// Which targets to measure; `hop` is a bare hop on the HTTP library that Tollgate uses, the floor of its stack.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Target::Direct, Target::Nginx, Target::Tollgate])]
    targets: Vec<Target>,
    /// The gateway's binary; built with the profile `dist` when not given.
    #[arg(long, value_name = "PATH")]
    tollgate: Option<PathBuf>,
    /// Calls per second of the fixed rate, in place of each row's own.
    #[arg(long, value_name = "PER_SECOND", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Rounds in which the targets take turns.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: Option<u32>,
    /// Length of each closed loop and of each open one, in place of the usual ones: to profile while it runs.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=60))]
    seconds: Option<u32>,
    /// How long too much is offered (row `overload`), in minutes. Usually 20 seconds.
    #[arg(long, value_name = "MINUTES")]
    overload: Option<f64>,
    /// Write the table to docs/reference/benchmark.md, if every answer was right.
    #[arg(long)]
    write: bool,
    /// Instead of measuring, run a mix of calls for so many minutes and watch the gateway's memory.
    #[arg(long, value_name = "MINUTES")]
    soak: Option<f64>,
    /// Seed of the soak's mix.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Subcommand, Debug)]
enum Mode {
    /// Runs the mock upstream until it is stopped.
    #[command(hide = true)]
    Mock,
    /// Runs a bare hop in front of these addresses until it is stopped.
    #[command(hide = true)]
    Hop { upstreams: Vec<std::net::SocketAddr> },
    /// Measures the index of the ledger: what it costs, and what it takes to find something.
    Search {
        /// Among how many rows.
        #[arg(long, default_value_t = 10_000_000)]
        rows: u64,
        /// Where they are kept meanwhile: 2 GiB or so.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
    },
    /// Measures the pages of the console, with 500 servers and 10,000 tools.
    Pages {
        /// With so many calls on record, each of which is two entries.
        #[arg(long, default_value_t = 500_000)]
        rows: u64,
        /// The gateway's binary.
        #[arg(long, value_name = "PATH")]
        tollgate: PathBuf,
        /// Where its data is, and stays if it is given: the next run takes what is there.
        #[arg(long, value_name = "DIR")]
        folder: Option<PathBuf>,
        /// With a PostgreSQL server of its own instead of a file.
        #[arg(long)]
        postgres: bool,
    },
    /// Stops the processes noted on standard input when that ends.
    #[command(hide = true)]
    Keep,
}

fn row_names() -> clap::builder::PossibleValuesParser {
    ROWS.iter()
        .map(|row| row.id)
        .chain([
            IDLE, PARKED, LISTENERS, KEEPING, KNOWING, DECIDING, LIMITING, GUARDING, OVERLOAD, RECORDING,
            VERIFYING, STARTING, CHAOS,
        ])
        .collect::<Vec<_>>()
        .into()
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match &arguments.mode {
        Some(Mode::Mock) => serve_mock(),
        Some(Mode::Hop { upstreams }) => hop::serve(upstreams),
        Some(Mode::Search { rows, folder }) => searching::measure(*rows, folder.as_deref()),
        Some(Mode::Pages { rows, tollgate, folder, postgres }) => {
            pages::measure(tollgate, *rows, folder.as_deref(), *postgres)
        }
        Some(Mode::Keep) => {
            process::keep(std::io::stdin().lock(), process::GRACE);
            Ok(())
        }
        None => bench(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            say::note(&format!("bench: {why}"));
            ExitCode::FAILURE
        }
    }
}

/// The mock upstream as a process of its own.
fn serve_mock() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mock = mock::Mock::bind().await?;
        say::line(&serde_json::to_string(&mock.addresses()?)?);
        mock.serve().await
    })
}

fn bench(arguments: &Arguments) -> Result<()> {
    raise_file_limit();
    let stop = stop_on_signal()?;
    let mut wanted = arguments.targets.clone();
    wanted.sort_unstable();
    wanted.dedup();
    let nginx = wanted.contains(&Target::Nginx).then(targets::find_nginx).transpose()?;
    let tollgate = wanted.contains(&Target::Tollgate).then(|| gateway_binary(arguments)).transpose()?;
    let machine = Machine::look(nginx.as_deref(), tollgate.as_deref());
    let world = World::start(&wanted, tollgate.as_deref())?;
    if let Some(minutes) = arguments.soak {
        let target = *wanted.last().ok_or("no target")?;
        return soak::soak(&world, target, minutes, arguments.seed, &stop);
    }
    let mut report = run(arguments, &world, &wanted, machine, &stop)?;
    if chosen(arguments, IDLE) {
        // New processes: what the rows have freed would hide what sessions take.
        drop(world);
        let world = World::start(&wanted, tollgate.as_deref())?;
        report.idle = measure_idle(arguments, &world, &wanted, &stop)?;
    }
    if wanted.contains(&Target::Tollgate)
        && (arguments.rows.is_empty() || arguments.rows.iter().any(|row| row == PARKED))
    {
        let world = World::start(&[Target::Tollgate], tollgate.as_deref())?;
        if let Some(site) = world.site(Target::Tollgate, targets::Setup::ToLegacy) {
            let found = parked::measure(&site, PARKED_CALLS, &stop).map_err(|why| why.to_string());
            say::note(&format!("{PARKED}  {found:?}"));
            report.parked = Some(found);
        }
    }
    if let Some(binary) = tollgate.as_deref().filter(|_| chosen(arguments, LISTENERS)) {
        let each = Duration::from_secs(if arguments.quick { 1 } else { 3 });
        let found = fan::measure(binary, LISTENING, each, &stop).map_err(|why| why.to_string());
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        say::note(&format!("{LISTENERS}  Tollgate: {found:?}"));
        report.fan = Some(found);
    }
    if wanted.contains(&Target::Tollgate) && chosen(arguments, OVERLOAD) {
        // New processes here too: memory is looked at.
        let world = World::start(&[Target::Nginx, Target::Tollgate], tollgate.as_deref())?;
        let usual = Duration::from_secs(if arguments.quick { 3 } else { 20 });
        let duration = arguments.overload.map_or(usual, |minutes| Duration::from_secs_f64(60.0 * minutes));
        report.overload = Some(overload::measure(&world, duration, &stop).map_err(|why| why.to_string()));
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
    }
    if let Some(binary) = tollgate.as_deref().filter(|_| chosen(arguments, KEEPING)) {
        let found = keeping::measure(binary, arguments.quick, &stop).map_err(|why| why.to_string());
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        say::note(&format!("{KEEPING}  Tollgate: {found:?}"));
        report.keeping = Some(found);
    }
    if let Some(binary) = tollgate.as_deref().filter(|_| chosen(arguments, STARTING)) {
        let found = starting::measure(binary, arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{STARTING}  {found:?}"));
        report.starting = Some(found);
    }
    if let Some(binary) = tollgate.as_deref().filter(|_| chosen(arguments, CHAOS)) {
        let found = chaos::measure(binary, arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{CHAOS}  {found:?}"));
        report.chaos = Some(found);
    }
    if chosen(arguments, KNOWING) {
        let found = knowing::measure(arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{KNOWING}  {found:?}"));
        report.knowing = Some(found);
    }
    if chosen(arguments, DECIDING) {
        let again = tollgate.as_deref().map(|binary| again::measure(binary, arguments.quick)).transpose();
        let found = deciding::measure(arguments.quick).and_then(|mut lines| {
            lines.extend(again?);
            Ok(lines)
        });
        let found = found.map_err(|why| why.to_string());
        say::note(&format!("{DECIDING}  {found:?}"));
        report.deciding = Some(found);
    }
    if chosen(arguments, LIMITING) {
        let found = limiting::measure(arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{LIMITING}  {found:?}"));
        report.limiting = Some(found);
    }
    if chosen(arguments, GUARDING) {
        let found = guarding::measure(arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{GUARDING}  {found:?}"));
        report.guarding = Some(found);
    }
    if chosen(arguments, RECORDING) {
        let found = recording::measure(arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{RECORDING}  {found:?}"));
        report.recording = Some(found);
    }
    if chosen(arguments, VERIFYING) {
        let found = verifying::measure(arguments.quick).map_err(|why| why.to_string());
        say::note(&format!("{VERIFYING}  {found:?}"));
        report.verifying = Some(found);
    }
    let markdown = report.markdown();
    say::line(&markdown);
    let failures = report.failures();
    if !failures.is_empty() {
        return Err(format!("the figures are void:\n  {}", failures.join("\n  ")).into());
    }
    if arguments.write {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/benchmark.md");
        fs::write(&path, markdown)?;
        say::note("written to docs/reference/benchmark.md");
    }
    Ok(())
}

fn chosen(arguments: &Arguments, id: &str) -> bool {
    arguments.rows.is_empty() || arguments.rows.iter().any(|row| row == id)
}

/// All rounds of all rows. A target that fails a row is not tried in its further rounds.
fn run(
    arguments: &Arguments,
    world: &World,
    wanted: &[Target],
    machine: Machine,
    stop: &AtomicBool,
) -> Result<Report> {
    let quick = arguments.quick;
    let rounds = arguments.rounds.map_or(if quick { 1 } else { 3 }, |rounds| rounds as usize);
    let mut durations = if quick {
        Durations {
            warm_up: Duration::from_millis(50),
            closed: Duration::from_millis(200),
            fixed: Duration::from_millis(600),
            settling: Duration::from_millis(300),
        }
    } else {
        Durations {
            warm_up: Duration::from_millis(200),
            closed: Duration::from_millis(800),
            fixed: Duration::from_secs(3),
            settling: Duration::from_millis(1200),
        }
    };
    if let Some(seconds) = arguments.seconds {
        let seconds = Duration::from_secs(u64::from(seconds));
        durations = Durations { closed: seconds, fixed: seconds, ..durations };
    }
    let mut rows = Vec::new();
    for row in ROWS.iter().filter(|row| chosen(arguments, row.id)) {
        let mut row = *row;
        row.rate_per_s = arguments.rate.map_or(row.rate_per_s, f64::from);
        rows.push(measure_row(row, world, wanted, rounds, durations, stop)?);
    }
    Ok(Report {
        machine,
        durations,
        rounds,
        rows,
        idle: Vec::new(),
        parked: None,
        fan: None,
        keeping: None,
        knowing: None,
        deciding: None,
        verifying: None,
        limiting: None,
        overload: None,
        starting: None,
        chaos: None,
        guarding: None,
        recording: None,
    })
}

fn measure_idle(
    arguments: &Arguments,
    world: &World,
    wanted: &[Target],
    stop: &AtomicBool,
) -> Result<Vec<(Target, std::result::Result<idle::Idle, String>)>> {
    let sessions = if arguments.quick { SESSIONS_QUICK } else { SESSIONS };
    let mut measured = Vec::new();
    for &target in wanted.iter().filter(|target| **target != Target::Direct) {
        let Some(site) = world.site(target, targets::Setup::Held) else { continue };
        let found = idle::measure(&site, sessions, stop).map_err(|why| why.to_string());
        if stop.load(Ordering::Relaxed) {
            return Err("interrupted".into());
        }
        say::note(&format!("{IDLE}  {}: {found:?}", target.label()));
        measured.push((target, found));
    }
    Ok(measured)
}

fn measure_row(
    row: Row,
    world: &World,
    wanted: &[Target],
    rounds: usize,
    durations: Durations,
    stop: &AtomicBool,
) -> Result<Measured> {
    let mut seen: BTreeMap<Target, Vec<Figures>> = BTreeMap::new();
    let mut failed: BTreeMap<Target, String> = BTreeMap::new();
    for round in 0..rounds {
        // Each round begins with another target, so that none always comes first.
        for turn in 0..wanted.len() {
            let target = wanted[(round + turn) % wanted.len()];
            let Some(site) = world.site(target, row.setup).filter(|_| !failed.contains_key(&target)) else {
                continue;
            };
            let measured = measure(&row, target, &site, durations, stop);
            if stop.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            match measured {
                Ok(figures) => {
                    say::note(&format!("{}  round {}  {}: {figures:?}", row.id, round + 1, target.label()));
                    seen.entry(target).or_default().push(figures);
                }
                Err(why) => {
                    say::note(&format!("{}  round {}  {} FAILED: {why}", row.id, round + 1, target.label()));
                    failed.insert(target, why.to_string());
                }
            }
        }
    }
    let result = |target| match (failed.get(&target), seen.get(&target).and_then(|rounds| median(rounds))) {
        (None, Some(figures)) => Ok(figures),
        (Some(why), _) => Err(why.clone()),
        (None, None) => Err("it does not run".to_owned()),
    };
    Ok(Measured { row, targets: wanted.iter().map(|&target| (target, result(target))).collect() })
}

/// The gateway as it is published: profile `dist`.
fn gateway_binary(arguments: &Arguments) -> Result<PathBuf> {
    if let Some(path) = &arguments.tollgate {
        // Absolute, since it is started in a folder of its own.
        let binary = path.is_file().then(|| path.canonicalize()).transpose()?;
        return binary.ok_or_else(|| format!("{} is no file", path.display()).into());
    }
    say::note("building Tollgate with the profile dist");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let output = Command::new(cargo)
        .args([
            "build",
            "--profile",
            "dist",
            "--package",
            "tollgate",
            "--message-format",
            "json-render-diagnostics",
        ])
        .arg("--manifest-path")
        .arg(manifest)
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("Tollgate does not build; or name a binary: --tollgate PATH".into());
    }
    built_executable(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "cargo names no binary".into())
}

/// The last executable that cargo's messages name.
fn built_executable(messages: &str) -> Option<PathBuf> {
    #[derive(serde::Deserialize)]
    struct Built {
        executable: Option<PathBuf>,
    }
    messages.lines().filter_map(|line| serde_json::from_str::<Built>(line).ok()?.executable).next_back()
}

/// A thousand sessions are a thousand files, here and in each process started from here.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

/// Set by Ctrl-C and SIGTERM; whoever waits looks at it, returns, and everything started is stopped on the way out.
fn stop_on_signal() -> Result<Arc<AtomicBool>> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate) = {
        let _entered = runtime.enter();
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        seen.store(true, Ordering::Relaxed);
    });
    Ok(stop)
}
