//! The figures as Markdown.

use std::fmt::Write;

use crate::chaos;
use crate::deciding::{self, Line};
use crate::fan::Fan;
use crate::figures::{Figures, ratio};
use crate::guarding::{self, Guarding};
use crate::idle::Idle;
use crate::keeping::Keeping;
use crate::knowing;
use crate::limiting;
use crate::machine::Machine;
use crate::measure::Durations;
use crate::overload;
use crate::parked::Parked;
use crate::recording;
use crate::rows::Row;
use crate::starting;
use crate::targets::{MANY, Target};
use crate::verifying;

/// Everything that a run found.
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) durations: Durations,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<Measured>,
    pub(crate) idle: Vec<(Target, Result<Idle, String>)>,
    pub(crate) parked: Option<Result<Parked, String>>,
    /// The crowd that listens, if it was measured.
    pub(crate) fan: Option<Result<Fan, String>>,
    pub(crate) keeping: Option<Result<Keeping, String>>,
    /// What it costs to know a caller, if it was measured.
    pub(crate) knowing: Option<Result<Vec<Line>, String>>,
    /// What policy costs, if it was measured.
    pub(crate) deciding: Option<Result<Vec<Line>, String>>,
    /// What it costs to verify a ledger, if it was measured.
    pub(crate) verifying: Option<Result<Vec<Line>, String>>,
    /// What it costs to write an intent and its outcome, if it was measured.
    pub(crate) recording: Option<Result<Vec<Line>, String>>,
    /// What limits cost, if it was measured.
    pub(crate) limiting: Option<Result<Vec<Line>, String>>,
    pub(crate) overload: Option<Result<Vec<overload::Line>, String>>,
    /// How long a start takes, if it was measured.
    pub(crate) starting: Option<Result<Vec<Line>, String>>,
    /// What a bad server does to the others, if it was measured.
    pub(crate) chaos: Option<Result<Vec<Line>, String>>,
    /// What guards cost, if it was measured.
    pub(crate) guarding: Option<Result<Guarding, String>>,
}

/// A row with its medians.
pub(crate) struct Measured {
    pub(crate) row: Row,
    pub(crate) targets: Vec<(Target, Result<Figures, String>)>,
}

/// The aims of the small call, and of an idle session.
const CPU_RATIO_MAX: f64 = 1.5;
/// The same with everything on.
const SECURED_RATIO_MAX: f64 = 2.5;
const SECURED: [&str; 2] = ["small-keyed", "small-tokened"];
/// The aim with everything on that there is so far.
const EVERYTHING: (&str, f64) = ("small-everything", 3.0);
/// What a row may cost more than the plain one: CPU per call, and p99.
const EXTRAS: [(&str, f64, Option<f64>); 2] =
    [("small-recorded", 12.0, Some(300.0)), ("small-traced", 5.0, None)];
const PLAIN: &str = "small-modern";
const ADDED_P99_MAX_US: f64 = 1_000.0;
const IDLE_KIB_MAX: f64 = 16.0;
/// The aims of bridging, beside the same client's call to a server of its own era, and of a parked call.
const BRIDGE_RATIO_MAX: f64 = 1.3;
const PARKED_KIB_MAX: f64 = 32.0;
/// Which row bridges, and which row has the same client and no bridge.
const BRIDGES: [(&str, &str); 2] = [("small-to-legacy", "small-modern"), ("small-to-modern", "small-legacy")];
const FAN_P99_MAX_MS: f64 = 50.0;

impl Measured {
    fn figures(&self, target: Target) -> Option<&Figures> {
        self.targets.iter().find(|(other, _)| *other == target).and_then(|(_, figures)| figures.as_ref().ok())
    }
}

impl Report {
    /// What failed, if anything: then the figures must not be published.
    pub(crate) fn failures(&self) -> Vec<String> {
        let rows = self.rows.iter().flat_map(|measured| {
            measured.targets.iter().filter_map(move |(target, result)| {
                let why = result.as_ref().err()?;
                Some(format!("{}, {}: {why}", measured.row.id, target.label()))
            })
        });
        let idle = self.idle.iter().filter_map(|(target, result)| {
            Some(format!("idle sessions, {}: {}", target.label(), result.as_ref().err()?))
        });
        let parked =
            self.parked.iter().filter_map(|result| Some(format!("parked calls: {}", result.as_ref().err()?)));
        let fan = self.fan.iter().filter_map(|fan| Some(format!("listeners: {}", fan.as_ref().err()?)));
        let deciding =
            self.deciding.iter().filter_map(|found| Some(format!("policy: {}", found.as_ref().err()?)));
        let verifying =
            self.verifying.iter().filter_map(|found| Some(format!("ledger: {}", found.as_ref().err()?)));
        let knowing =
            self.knowing.iter().filter_map(|found| Some(format!("identity: {}", found.as_ref().err()?)));
        let recording =
            self.recording.iter().filter_map(|found| Some(format!("ledger: {}", found.as_ref().err()?)));
        let limiting =
            self.limiting.iter().filter_map(|found| Some(format!("limits: {}", found.as_ref().err()?)));
        let overload =
            self.overload.iter().filter_map(|found| Some(format!("overload: {}", found.as_ref().err()?)));
        let keeping =
            self.keeping.iter().filter_map(|found| Some(format!("kept lists: {}", found.as_ref().err()?)));
        let starting =
            self.starting.iter().filter_map(|found| Some(format!("start: {}", found.as_ref().err()?)));
        let chaos =
            self.chaos.iter().filter_map(|found| Some(format!("one bad server: {}", found.as_ref().err()?)));
        let guarding =
            self.guarding.iter().filter_map(|found| Some(format!("guard: {}", found.as_ref().err()?)));
        let micro = overload
            .chain(knowing)
            .chain(deciding)
            .chain(verifying)
            .chain(recording)
            .chain(limiting)
            .chain(guarding)
            .chain(starting)
            .chain(chaos);
        rows.chain(idle).chain(parked).chain(fan).chain(keeping).chain(micro).collect()
    }

    pub(crate) fn markdown(&self) -> String {
        let mut text = String::from("# Benchmark\n\n");
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        let part = |text: &mut String, line: &str| {
            text.push_str(line);
            text.push_str("\n\n");
        };
        part(text, &self.preface());
        text.push_str("| machine | |\n|---|---|\n");
        for (what, value) in &self.machine.facts {
            let _ = writeln!(text, "| {what} | {} |", value.replace('|', "/"));
        }
        text.push('\n');
        let aims = self.aims();
        if !aims.is_empty() {
            part(text, "## Aims");
            text.push_str("| aim | found | |\n|---|---|---|\n");
            for (aim, found, met) in aims {
                let _ = writeln!(text, "| {aim} | {found} | {} |", if met { "met" } else { "**not met**" });
            }
            text.push('\n');
        }
        for measured in &self.rows {
            write_row(text, measured);
        }
        self.write_idle(text);
        self.write_parked(text);
        self.write_fan(text);
        self.write_keeping(text);
        if let Some(Ok(lines)) = &self.knowing {
            knowing::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.deciding {
            deciding::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.overload {
            overload::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.limiting {
            limiting::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.starting {
            starting::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.chaos {
            chaos::table(text, lines);
        }
        if let Some(Ok(found)) = &self.guarding {
            guarding::table(text, found);
        }
        if let Some(Ok(lines)) = &self.recording {
            recording::table(text, lines);
        }
        if let Some(Ok(lines)) = &self.verifying {
            verifying::table(text, lines);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }

    fn preface(&self) -> String {
        format!(
            "Written by `cargo xtask bench --write`. Everything runs on one machine over loopback: the load generator, \
             the mock upstream and the proxy share its cores. *Direct* is the generator on the mock; *nginx* is a plain \
             HTTP reverse proxy with two workers and kept-alive connections, about the least that a hop can cost; \
             *Tollgate* is `tollgate serve` with nothing configured \
             but its servers, and without a record, unless a row says otherwise. Every answer is checked (status, id, \
             result); one wrong answer fails the row.\n\n\
             The targets take turns in {} rounds; each figure is the median of the rounds. Throughput is a closed loop \
             of {} s at 1, 16 and 64 connections. Latency is an open loop of {} s at a fixed rate, counted from the \
             moment at which a request should have left, so that waiting behind a slow answer is counted (no coordinated \
             omission). CPU is user and system time of the proxy's processes per call, at the fixed rate and in the \
             closed loop at 16 connections, what they still do in the {} s after it included. Memory is resident memory after the row, shared pages counted once. \
             A ratio of 1.50 to nginx means one and a half times nginx's figure.{}",
            self.rounds,
            self.durations.closed.as_secs_f64(),
            self.durations.fixed.as_secs_f64(),
            self.durations.settling.as_secs_f64(),
            if self.has_hop() {
                " *Bare hop* moves bytes with the HTTP library that Tollgate uses and reads none of them."
            } else {
                ""
            },
        )
    }

    fn has_hop(&self) -> bool {
        self.rows.iter().any(|measured| measured.figures(Target::Hop).is_some())
    }

    fn aims(&self) -> Vec<(String, String, bool)> {
        let mut aims = Vec::new();
        for measured in self.rows.iter().filter(|measured| cpu_ratio_max(measured.row.id).is_some()) {
            let Some(own) = measured.figures(Target::Tollgate) else { continue };
            let id = measured.row.id;
            let cpu_max = cpu_ratio_max(id).unwrap_or(CPU_RATIO_MAX);
            if let Some(nginx) = measured.figures(Target::Nginx) {
                let at_fixed_rate = (own.cpu_fixed_us, nginx.cpu_fixed_us, "at the fixed rate");
                let in_closed_loop = (own.cpu_closed_us, nginx.cpu_closed_us, "in the closed loop");
                for (own, nginx, pace) in [at_fixed_rate, in_closed_loop] {
                    let Some(cpu) = ratio(own, nginx) else { continue };
                    let aim = format!("`{id}`: CPU per call at most {cpu_max} times nginx's, {pace}");
                    aims.push((aim, format!("{cpu:.2} times"), cpu <= cpu_max));
                }
            }
            if let Some(direct) = measured.figures(Target::Direct) {
                let added = own.latency_us[1] - direct.latency_us[1];
                let aim = format!(
                    "`{id}`: p99 added over direct below 1 ms at {} calls/s",
                    measured.row.rate_per_s
                );
                aims.push((aim, format!("{} µs", figure(added)), added < ADDED_P99_MAX_US));
            }
        }
        let own = |id: &str| {
            let row = self.rows.iter().find(|measured| measured.row.id == id)?;
            row.figures(Target::Tollgate)
        };
        for (id, cpu_max, p99_max) in EXTRAS {
            let (Some(with), Some(plain)) = (own(id), own(PLAIN)) else { continue };
            let paces = [
                (with.cpu_fixed_us, plain.cpu_fixed_us, "at the fixed rate"),
                (with.cpu_closed_us, plain.cpu_closed_us, "in the closed loop"),
            ];
            for (with, plain, pace) in paces {
                let (Some(with), Some(plain)) = (with, plain) else { continue };
                let added = with - plain;
                let aim = format!("`{id}`: at most {cpu_max} µs of CPU per call more than `{PLAIN}`, {pace}");
                aims.push((aim, format!("{} µs", figure(added)), added <= cpu_max));
            }
            if let Some(p99_max) = p99_max {
                let added = with.latency_us[1] - plain.latency_us[1];
                let aim = format!("`{id}`: at most {p99_max} µs more than `{PLAIN}` at p99");
                aims.push((aim, format!("{} µs", figure(added)), added <= p99_max));
            }
        }
        for (bridge, same) in BRIDGES {
            let (Some(bridged), Some(plain)) = (own(bridge), own(same)) else { continue };
            let paces = [
                (bridged.cpu_fixed_us, plain.cpu_fixed_us, "at the fixed rate"),
                (bridged.cpu_closed_us, plain.cpu_closed_us, "in the closed loop"),
            ];
            for (bridged, plain, pace) in paces {
                let Some(cpu) = ratio(bridged, plain) else { continue };
                let aim = format!(
                    "`{bridge}`: CPU per call at most {BRIDGE_RATIO_MAX} times that of `{same}`, {pace}"
                );
                aims.push((aim, format!("{cpu:.2} times"), cpu <= BRIDGE_RATIO_MAX));
            }
        }
        if let Some(Ok(parked)) = &self.parked {
            let found = parked.kib_per_call();
            let aim = format!("at most {PARKED_KIB_MAX} KiB of memory per parked call");
            aims.push((aim, format!("{found:.1} KiB"), found <= PARKED_KIB_MAX));
        }
        for (target, idle) in &self.idle {
            if let (Target::Tollgate, Ok(idle)) = (target, idle) {
                let found = idle.kib_per_session();
                let aim = format!("at most {IDLE_KIB_MAX} KiB of memory per idle session");
                aims.push((aim, format!("{found:.1} KiB"), found <= IDLE_KIB_MAX));
            }
        }
        if let Some(Ok(fan)) = &self.fan {
            let p99_ms = fan.latency_us[1] / 1_000.0;
            let aim = format!(
                "an update reaches {} listeners within {FAN_P99_MAX_MS} ms at p99, at 10 updates/s",
                fan.listeners
            );
            aims.push((aim, format!("{p99_ms:.1} ms"), p99_ms <= FAN_P99_MAX_MS));
        }
        let offered = self.overload.iter().flatten().flatten();
        for line in offered.filter(|line| line.target == Target::Tollgate) {
            let (share, least) = (100.0 * line.goodput(), 100.0 * overload::GOODPUT_MIN);
            let aim = format!(
                "{}: at least {least} % of what can be kept up while twice as much is offered",
                line.what
            );
            aims.push((aim, format!("{share:.0} %"), line.goodput() >= overload::GOODPUT_MIN));
            let (grown, most) = (line.growth_mib(), overload::GROWTH_MIB_MAX);
            let aim = format!("{}: memory grows by at most {most} MiB meanwhile", line.what);
            aims.push((aim, format!("{grown:.1} MiB"), grown <= most));
        }
        if let Some(Ok(keeping)) = &self.keeping {
            aims.extend(keeping.aims());
        }
        let knowing = self.knowing.iter().flatten().flatten().map(|line| ("identity", line));
        let deciding = self.deciding.iter().flatten().flatten().map(|line| ("policy", line));
        let verifying = self.verifying.iter().flatten().flatten().map(|line| ("ledger", line));
        let recording = self.recording.iter().flatten().flatten().map(|line| ("ledger", line));
        let limiting = self.limiting.iter().flatten().flatten().map(|line| ("limits", line));
        let starting = self.starting.iter().flatten().flatten().map(|line| ("start", line));
        let chaos = self.chaos.iter().flatten().flatten().map(|line| ("one bad server", line));
        let knowing = knowing.chain(starting).chain(chaos);
        let guarding =
            self.guarding.iter().flatten().flat_map(|found| &found.lines).map(|line| ("guard", line));
        let limiting = limiting.chain(guarding);
        for (room, line) in knowing.chain(deciding).chain(limiting).chain(recording).chain(verifying) {
            let at = if line.is_p99 { "p99" } else { "p50" };
            let aim = format!("{room}, {}: at most {} µs at {at}", line.what, figure(line.aim_us));
            aims.push((aim, format!("{} µs", figure(line.found_us())), line.found_us() <= line.aim_us));
        }
        aims.extend(self.guarding.iter().flatten().flat_map(Guarding::aims));
        aims
    }

    fn write_fan(&self, text: &mut String) {
        let Some(fan) = &self.fan else { return };
        let _ = write!(
            text,
            "\n## Listeners of one resource\n\n\
             Modern clients with a connection each, a modern server; the resource changes 10 times a second. Latency is \
             that of every update to every listener. The highest rate is the last one, of rates that double, at which every \
             listener got every update in time.\n\n\
             | target | listeners | p50 ms | p99 ms | p99.9 ms | highest updates/s | streams at the server |\n|---|--:|--:|--:|--:|--:|--:|\n"
        );
        let _ = match fan {
            Ok(fan) => {
                let [p50, p99, p999] = fan.latency_us.map(|micros| micros / 1_000.0);
                let (listeners, streams) = (fan.listeners, fan.upstream_streams);
                let rate = fan.sustained_per_s;
                writeln!(
                    text,
                    "| Tollgate | {listeners} | {p50:.1} | {p99:.1} | {p999:.1} | {rate} | {streams} |"
                )
            }
            Err(_) => writeln!(text, "| Tollgate | **failed** | | | | | |"),
        };
    }

    fn write_keeping(&self, text: &mut String) {
        let Some(keeping) = &self.keeping else { return };
        let _ = write!(
            text,
            "\n## Lists that are kept\n\n\
             A merged `tools/list` of {MANY} modern servers of ten tools each, one after the other on one connection; and an agent \
             that lists before each of its 30 calls, while a server's tools change now and then: how many requests, lists and calls, \
             reach the servers.\n\n\
             | Tollgate | list p50 µs | list p99 µs | requests to servers |\n|---|--:|--:|--:|\n"
        );
        match keeping {
            Ok(found) => {
                for (what, seen) in [("keeps nothing", found.without), ("keeps lists", found.with)] {
                    let [p50, p99, _] = seen.list_us;
                    let _ = writeln!(text, "| {what} | {p50:.0} | {p99:.0} | {} |", seen.asked);
                }
            }
            Err(_) => text.push_str("| **failed** | | | |\n"),
        }
    }

    fn write_idle(&self, text: &mut String) {
        if self.idle.is_empty() {
            return;
        }
        let sessions = self.idle.iter().find_map(|(_, idle)| Some(idle.as_ref().ok()?.sessions)).unwrap_or(0);
        let _ = write!(
            text,
            "## {sessions} idle legacy sessions, each with an open GET stream\n\n\
             One connection each, `initialize` and GET only; behind Tollgate a modern server, behind nginx the legacy mock.\n\n\
             | target | before, KiB | with the sessions, KiB | after they ended, KiB | KiB per session |\n|---|--:|--:|--:|--:|\n"
        );
        for (target, idle) in &self.idle {
            let _ = match idle {
                Ok(idle) => writeln!(
                    text,
                    "| {} | {:.0} | {:.0} | {:.0} | {:.1} |",
                    target.label(),
                    idle.before_kib,
                    idle.with_kib,
                    idle.after_kib,
                    idle.kib_per_session()
                ),
                Err(_) => writeln!(text, "| {} | **failed** | | | |", target.label()),
            };
        }
    }
}

impl Report {
    fn write_parked(&self, text: &mut String) {
        let Some(Ok(parked)) = &self.parked else { return };
        let _ = write!(
            text,
            "\n## {} calls that wait for their clients at once\n\n\
             A legacy server asks the user of a modern client; the client has the question and has not come back yet. Then \
             all are answered, one after the other.\n\n\
             | before, KiB | with the calls, KiB | KiB per call | all parked, ms | all ended, ms |\n|--:|--:|--:|--:|--:|\n\
             | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} |\n",
            parked.calls,
            parked.before_kib,
            parked.with_kib,
            parked.kib_per_call(),
            parked.parking_ms,
            parked.ending_ms,
        );
    }
}

/// At most so many times nginx's CPU, where a row has such an aim.
fn cpu_ratio_max(id: &str) -> Option<f64> {
    match id {
        _ if id == EVERYTHING.0 => Some(EVERYTHING.1),
        _ if SECURED.contains(&id) => Some(SECURED_RATIO_MAX),
        _ if BRIDGES.iter().any(|(_, plain)| *plain == id) => Some(CPU_RATIO_MAX),
        _ => None,
    }
}

fn write_row(text: &mut String, measured: &Measured) {
    let _ = write!(
        text,
        "## {}\n\n`{}`; fixed rate {} calls/s over {} connections.\n\n\
         | target | calls/s at 1 | at 16 | at 64 | p50 µs | p99 µs | p99.9 µs | CPU µs/call | CPU µs/call, closed | memory KiB |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        measured.row.title, measured.row.id, measured.row.rate_per_s, measured.row.connections,
    );
    for (target, figures) in &measured.targets {
        match figures {
            Ok(figures) => line(text, target.label(), &columns(figures), figure),
            Err(_) => line(text, target.label(), &[None; 9], |_| String::new()),
        }
        if figures.is_err() {
            text.truncate(text.trim_end().len());
            text.push_str(" **failed**\n");
        }
    }
    if let Some(own) = measured.figures(Target::Tollgate) {
        for base in [Target::Nginx, Target::Direct] {
            let Some(figures) = measured.figures(base) else { continue };
            let (own, base_columns) = (columns(own), columns(figures));
            let ratios: Vec<Option<f64>> =
                own.iter().zip(&base_columns).map(|(own, base)| ratio(*own, *base)).collect();
            line(text, &format!("Tollgate ÷ {}", base.label()), &ratios, |ratio| format!("{ratio:.2}"));
        }
    }
    text.push('\n');
}

fn columns(figures: &Figures) -> [Option<f64>; 9] {
    let [one, sixteen, many] = figures.per_s.map(Some);
    let [p50, p99, p999] = figures.latency_us.map(Some);
    [one, sixteen, many, p50, p99, p999, figures.cpu_fixed_us, figures.cpu_closed_us, figures.resident_kib]
}

fn line(text: &mut String, label: &str, columns: &[Option<f64>], format: impl Fn(f64) -> String) {
    let _ = write!(text, "| {label} |");
    for column in columns {
        let _ = write!(text, " {} |", column.map_or_else(|| "–".to_owned(), &format));
    }
    text.push('\n');
}

/// Three digits are more than such a figure is worth; large ones get their thousands apart.
fn figure(value: f64) -> String {
    if value.abs() < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::rows::ROWS;

    fn report(failed: bool) -> Report {
        let figures = |cpu: Option<f64>, p99: f64| Figures {
            per_s: [1_000.0, 20_000.0, 1_234_567.0],
            latency_us: [50.0, p99, 2_000.0],
            cpu_fixed_us: cpu,
            cpu_closed_us: cpu,
            resident_kib: Some(2_048.0),
        };
        let own = if failed { Err("no".to_owned()) } else { Ok(figures(Some(30.0), 900.0)) };
        let targets = vec![
            (Target::Direct, Ok(figures(None, 200.0))),
            (Target::Nginx, Ok(figures(Some(25.0), 300.0))),
            (Target::Tollgate, own),
        ];
        let second = Duration::from_secs(1);
        let idle = Idle { sessions: 100, before_kib: 1_000.0, with_kib: 2_700.0, after_kib: 1_100.0 };
        Report {
            machine: Machine { facts: vec![("CPU", "one | two".to_owned())] },
            durations: Durations { warm_up: second, closed: second, fixed: second, settling: second },
            rounds: 3,
            rows: vec![Measured { row: ROWS[0], targets }],
            idle: vec![(Target::Tollgate, Ok(idle))],
            parked: None,
            fan: Some(Ok(Fan {
                listeners: 1_000,
                latency_us: [9_000.0, 60_000.0, 70_000.0],
                sustained_per_s: 40,
                upstream_streams: 1,
            })),
            keeping: None,
            knowing: None,
            deciding: None,
            verifying: None,
            recording: None,
            limiting: None,
            overload: None,
            starting: None,
            chaos: None,
            guarding: None,
        }
    }

    #[test]
    fn shows_figures_ratios_and_aims() {
        let text = report(false).markdown();
        for part in [
            "| nginx | 1,000 | 20,000 | 1,234,567 | 50.0 | 300 | 2,000 | 25.0 | 25.0 | 2,048 |",
            "| Tollgate ÷ nginx | 1.00 | 1.00 | 1.00 | 1.00 | 3.00 | 1.00 | 1.20 | 1.20 | 1.00 |",
            "| Tollgate ÷ direct | 1.00 | 1.00 | 1.00 | 1.00 | 4.50 | 1.00 | – | – | 1.00 |",
            "| 1.20 times | met |",
            "| 700 µs | met |",
            "| 17.0 KiB | **not met** |",
            "| 60.0 ms | **not met** |",
            "| Tollgate | 1000 | 9.0 | 60.0 | 70.0 | 40 | 1 |",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_failed_row_is_loud() {
        let report = report(true);
        assert_eq!(report.failures(), ["small-modern, Tollgate: no"]);
        let text = report.markdown();
        assert!(text.contains("**failed**") && !text.contains("Tollgate ÷"), "{text}");
    }
}
