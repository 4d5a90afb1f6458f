//! More than can be done: how much of it is done all the same, how soon, and in how much memory.
//!
//! First the rate that can be kept up is found, in closed loops. Then twice as much is offered, whatever becomes of it. What the
//! gateway refuses with 503 is no failure here; what is answered counts, and how long it took from the moment at which it
//! should have been sent.

use std::fmt::Write;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Result;
use crate::cores::Apart;
use crate::load::{Load, Outcome, Pace};
use crate::process::resident_kib;
use crate::rows::{LargeArgument, ROWS, Row};
use crate::say;
use crate::targets::{Setup, Target, World};

/// Connections that offer it. Each carries one request at a time, so there have to be many: refusals are quick.
const CONNECTIONS: usize = 1_024;
/// Connections of the closed loops of which the best says what can be kept up.
const CLOSED: [usize; 3] = [64, 128, 256];
/// How much more than that is offered.
const TIMES: f64 = 2.0;
/// Into how many stretches the time is divided, at each of whose ends memory is looked at.
const STRETCHES: u32 = 10;
/// How much of what can be kept up has to be answered.
pub(crate) const GOODPUT_MIN: f64 = 0.8;
/// How much more memory there may be at the end than after the first stretches, in MiB.
pub(crate) const GROWTH_MIB_MAX: f64 = 16.0;

/// The rows whose calls are offered, and to whom. The generator and the mock upstream have cores of their own, where there are
/// several: what is to be seen is what the gateway makes of its own. What becomes of nginx says what many connections cost anybody.
const OFFERED: [(&str, Setup, Target); 3] = [
    ("small-modern", Setup::Modern, Target::Nginx),
    ("small-modern", Setup::Modern, Target::Tollgate),
    ("small-everything", Setup::Everything, Target::Tollgate),
];

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) target: Target,
    /// What can be kept up, per second.
    pub(crate) peak_per_s: f64,
    /// What was offered.
    pub(crate) offered_per_s: f64,
    /// What was answered of it, and what was refused.
    pub(crate) answered_per_s: f64,
    pub(crate) refused_per_s: f64,
    /// Of what was answered, in milliseconds.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    /// At the end of each stretch, in MiB.
    pub(crate) resident_mib: Vec<f64>,
}

impl Line {
    /// The share of what can be kept up that was answered.
    pub(crate) fn goodput(&self) -> f64 {
        self.answered_per_s / self.peak_per_s.max(1.0)
    }

    /// How much memory has grown in the second half, in MiB: before it, the gateway grows to what it needs.
    pub(crate) fn growth_mib(&self) -> f64 {
        let half = self.resident_mib.len() / 2;
        let most = |part: &[f64]| part.iter().copied().fold(0.0, f64::max);
        let (before, after) = self.resident_mib.split_at(half);
        most(after) - most(before)
    }
}

/// Offers too much for so long.
pub(crate) fn measure(world: &World, duration: Duration, stop: &AtomicBool) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (id, setup, target) in OFFERED {
        let row = ROWS.iter().find(|row| row.id == id).ok_or("no such row")?;
        let site = world.site(target, setup).ok_or_else(|| format!("{} does not run", target.label()))?;
        let _apart = Apart::put(&site.pids, &world.offering())?;
        let line = offer(id, row, target, &site, duration, stop)?;
        say::note(&format!("{}  {line:?}", crate::rows::OVERLOAD));
        lines.push(line);
    }
    Ok(lines)
}

fn offer(
    what: &'static str,
    row: &Row,
    target: Target,
    site: &crate::targets::Site,
    duration: Duration,
    stop: &AtomicBool,
) -> Result<Line> {
    let large = LargeArgument::new();
    let mut opened = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let (stream, template, _) = row.open(site, &large)?;
        opened.push((stream, template));
    }
    let mut load = Load::new(opened, row.check(target))?.taking_refusals();
    let each = (duration / STRETCHES).max(Duration::from_millis(200));
    load.run(CLOSED[0], Pace::Closed, each.min(Duration::from_secs(1)), stop)?;
    let mut peak_per_s: f64 = 0.0;
    for connections in CLOSED {
        let outcome = right(load.run(connections, Pace::Closed, each.min(Duration::from_secs(3)), stop)?)?;
        peak_per_s = peak_per_s.max(outcome.per_second());
    }
    let offered_per_s = TIMES * peak_per_s;
    let pace = Pace::Fixed { rate_per_s: offered_per_s };
    let mut latency_ns = Histogram::<u64>::new_with_bounds(1_000, 60_000_000_000, 3)?;
    let (mut answered, mut refused, mut elapsed) = (0, 0, Duration::ZERO);
    let mut resident_mib = Vec::new();
    for _ in 0..STRETCHES {
        let outcome = right(load.run(CONNECTIONS, pace, each, stop)?)?;
        latency_ns.add(&outcome.latency_ns)?;
        answered += outcome.answered;
        refused += outcome.refused;
        elapsed += outcome.elapsed.max(each);
        #[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^52 KiB")]
        resident_mib.push(resident_kib(&site.pids) as f64 / 1024.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let per_s = |count: u64| count as f64 / elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^52 ns")]
    let ms = |quantile: f64| latency_ns.value_at_quantile(quantile) as f64 / 1e6;
    Ok(Line {
        what,
        target,
        peak_per_s,
        offered_per_s,
        answered_per_s: per_s(answered),
        refused_per_s: per_s(refused),
        p50_ms: ms(0.5),
        p99_ms: ms(0.99),
        resident_mib,
    })
}

/// What is neither right nor refused is an error.
fn right(outcome: Outcome) -> Result<Outcome> {
    match &outcome.first_error {
        None => Ok(outcome),
        Some(why) => Err(format!("{} calls: {why}", outcome.errors).into()),
    }
}

/// The lines as a table.
pub(crate) fn table(text: &mut String, lines: &[Line]) {
    let _ = write!(
        text,
        "\n## Overload\n\nThe proxy has one core, and what offers the load the others. {CONNECTIONS} connections offer {TIMES} times what can be kept up in a closed loop; what is refused with 503 \
         is not tried again. The time is from the moment at which a call should have been sent.\n\n\
         | row | target | kept up /s | offered /s | answered /s | share | refused /s | p50 ms | p99 ms | memory MiB, over time |\n\
         |---|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    for line in lines {
        let memory: Vec<String> = line.resident_mib.iter().map(|mib| format!("{mib:.0}")).collect();
        let _ = writeln!(
            text,
            "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} % | {:.0} | {:.1} | {:.1} | {} |",
            line.what,
            line.target.label(),
            line.peak_per_s,
            line.offered_per_s,
            line.answered_per_s,
            100.0 * line.goodput(),
            line.refused_per_s,
            line.p50_ms,
            line.p99_ms,
            memory.join(" ")
        );
    }
}
