//! Whether memory stays flat: a seeded mix of all calls, with clients that leave in the middle, for minutes.

use std::io::Write;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::Result;
use crate::figures::slope;
use crate::load::{Load, Pace};
use crate::measure::end_sessions;
use crate::process::resident_kib;
use crate::rows::{LargeArgument, ROWS, Row};
use crate::targets::{Setup, Site, Target, World};
use crate::{client, say};

/// Length of one stretch of one kind of call.
const STRETCH: Duration = Duration::from_millis(900);
/// Clients that leave in the middle of an answer, per stretch.
const LEAVERS: usize = 8;
/// Growth of more than this in the second half is a leak, in KiB per minute.
const SLOPE_KIB_PER_MIN_MAX: f64 = 256.0;

/// Runs the mix for `minutes` and says how memory went; an error if it grows, or a call fails.
pub(crate) fn soak(world: &World, target: Target, minutes: f64, seed: u64, stop: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(minutes * 60.0);
    let mut dice = Dice(seed | 1);
    let large = LargeArgument::new();
    let mut points = Vec::new();
    let mut calls = 0;
    say::note(&format!("soak of {minutes} min on {}, seed {seed}", target.label()));
    while Instant::now() < end {
        let row = &ROWS[dice.below(ROWS.len())];
        let site = world.site(target, row.setup).ok_or("the target does not run")?;
        calls += stretch(row, target, &site, &large, 1 + dice.below(32), stop)
            .map_err(|why| format!("{}: {why}", row.id))?;
        leave(row, &site, &large, &mut dice)?;
        let minutes_in = start.elapsed().as_secs_f64() / 60.0;
        let pids = every_pid(world, target);
        #[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^52 KiB")]
        let resident = resident_kib(&pids) as f64;
        points.push((minutes_in, resident));
        if points.len() % 30 == 1 {
            say::note(&format!("{minutes_in:6.2} min  {resident:9.0} KiB  {calls} calls"));
        }
    }
    let floors = floors(&points);
    for (minutes_in, floor) in &floors {
        say::note(&format!("{minutes_in:6.2} min  at least {floor:.0} KiB"));
    }
    let slope = slope(&floors[floors.len() / 2..]).ok_or("the soak was too short to say anything")?;
    let (first, last) = (points[0].1, points[points.len() - 1].1);
    say::line(&format!(
        "{calls} calls in {minutes} min: {first:.0} KiB at first, {last:.0} KiB at last; \
         slope of the floor in the second half {slope:+.1} KiB/min (at most {SLOPE_KIB_PER_MIN_MAX})"
    ));
    if slope > SLOPE_KIB_PER_MIN_MAX { Err("memory grows".into()) } else { Ok(()) }
}

/// How many stretches of time the floor is taken over.
const FLOORS: usize = 20;

/// The least memory in each stretch of time. Calls with large bodies make memory rise and fall all the time; what is
/// never given back raises the floor.
fn floors(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let length = points.len().div_ceil(FLOORS).max(1);
    points
        .chunks(length)
        .filter_map(|chunk| {
            chunk.iter().copied().reduce(|least, point| if point.1 < least.1 { point } else { least })
        })
        .collect()
}

fn stretch(
    row: &Row,
    target: Target,
    site: &Site,
    large: &LargeArgument,
    connections: usize,
    stop: &AtomicBool,
) -> Result<u64> {
    let mut opened = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let (stream, template, session) = row.open(site, large)?;
        opened.push((stream, template));
        sessions.push(session);
    }
    let mut load = Load::new(opened, row.check(target))?;
    // Half of what the fixed rate of the table asks, so that the machine keeps up whatever the mix.
    let pace = Pace::Fixed { rate_per_s: row.rate_per_s / 2.0 };
    let outcome = load.run(connections, pace, STRETCH, stop)?;
    end_sessions(load.into_streams(), &sessions, site);
    match outcome.first_error {
        Some(why) => Err(format!("{} calls: {why}", outcome.errors).into()),
        None => Ok(outcome.answered),
    }
}

/// Clients that send a part or all of a request and leave without reading the answer.
fn leave(row: &Row, site: &Site, large: &LargeArgument, dice: &mut Dice) -> Result<()> {
    for _ in 0..dice.below(LEAVERS + 1) {
        let (mut stream, template, session) = row.open(site, large)?;
        let bytes = template.to_bytes();
        let part = if dice.below(2) == 0 { bytes.len() } else { dice.below(bytes.len()) };
        // The server may hang up first; that is its right.
        let _ = stream.write_all(&bytes[..part]);
        drop(stream);
        if session.is_some() {
            let mut stream = client::connect(site.address)?;
            let request = client::legacy_request("DELETE", site.address, site.path, session.as_deref(), "");
            let _ = client::exchange(&mut stream, request.as_bytes());
        }
    }
    Ok(())
}

fn every_pid(world: &World, target: Target) -> Vec<u32> {
    let setups = [Setup::Modern, Setup::Legacy, Setup::Many];
    let mut pids: Vec<u32> =
        setups.into_iter().filter_map(|setup| world.site(target, setup)).flat_map(|site| site.pids).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// xorshift64: the same seed gives the same mix.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % end.max(1) as u64).unwrap_or(0)
    }
}
