//! One row, one target, one round.

use std::net::TcpStream;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::Result;
use crate::client;
use crate::figures::{Figures, percentiles_us};
use crate::load::{Load, Outcome, Pace};
use crate::process::{cpu_time, resident_kib};
use crate::rows::{LargeArgument, Row};
use crate::targets::{Site, Target};

/// Connections of the closed loop, in the order of the table.
pub(crate) const CLOSED: [usize; 3] = [1, 16, 64];
/// Which of them the closed loop's CPU figure is taken from.
const CPU_AT: usize = 1;

/// How long each part of a round takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Durations {
    pub(crate) warm_up: Duration,
    pub(crate) closed: Duration,
    pub(crate) fixed: Duration,
    /// How long a proxy may still work for what was, at the end of each.
    pub(crate) settling: Duration,
}

/// Measures. Any wrong, late or missing answer is an error: figures of broken calls mean nothing.
pub(crate) fn measure(
    row: &Row,
    target: Target,
    site: &Site,
    durations: Durations,
    stop: &AtomicBool,
) -> Result<Figures> {
    let large = LargeArgument::new();
    let connections = CLOSED.into_iter().chain([row.connections]).max().unwrap_or(1);
    let mut opened = Vec::with_capacity(connections);
    let mut sessions = Vec::new();
    for _ in 0..connections {
        let (stream, template, session) = row.open(site, &large)?;
        sessions.push(session);
        opened.push((stream, template));
    }
    let mut load = Load::new(opened, row.check(target))?;
    let mut run = |connections: usize, pace: Pace, duration: Duration| -> Result<(Outcome, Option<f64>)> {
        let before = cpu_time(&site.pids);
        let outcome = load.run(connections, pace, duration, stop)?;
        // What the calls leave to be done after them is of their cost, and not of the next part's.
        if !site.pids.is_empty() {
            std::thread::sleep(durations.settling);
        }
        let spent = cpu_time(&site.pids).saturating_sub(before);
        if let Some(why) = &outcome.first_error {
            return Err(
                format!("{} of {} calls: {why}", outcome.errors, outcome.errors + outcome.answered).into()
            );
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let answered = outcome.answered.max(1) as f64;
        let per_call = (!site.pids.is_empty()).then(|| spent.as_secs_f64() * 1e6 / answered);
        Ok((outcome, per_call))
    };

    let mut figures = Figures::default();
    run(64, Pace::Closed, durations.warm_up)?;
    for (at, connections) in CLOSED.into_iter().enumerate() {
        let (outcome, cpu_us) = run(connections, Pace::Closed, durations.closed)?;
        figures.per_s[at] = outcome.per_second();
        if at == CPU_AT {
            figures.cpu_closed_us = cpu_us;
        }
    }
    let pace = Pace::Fixed { rate_per_s: row.rate_per_s };
    let (outcome, cpu_us) = run(row.connections, pace, durations.fixed)?;
    figures.latency_us = percentiles_us(&outcome.latency_ns);
    figures.cpu_fixed_us = cpu_us;
    #[expect(clippy::cast_precision_loss, reason = "a machine has less than 2^52 KiB")]
    {
        figures.resident_kib = (!site.pids.is_empty()).then(|| resident_kib(&site.pids) as f64);
    }
    end_sessions(load.into_streams(), &sessions, site);
    Ok(figures)
}

/// Ends legacy sessions, so that the next round begins as this one did. Who does not answer is left alone.
pub(crate) fn end_sessions(streams: Vec<TcpStream>, sessions: &[Option<String>], site: &Site) {
    for (mut stream, session) in streams.into_iter().zip(sessions) {
        if session.is_some() {
            let request = client::legacy_request("DELETE", site.address, site.path, session.as_deref(), "");
            let _ = client::exchange(&mut stream, request.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mock;
    use crate::rows::ROWS;
    use crate::targets::{Setup, World};

    #[test]
    fn every_row_is_answered_rightly_by_the_mock() {
        let mock = mock::tests::background();
        let world = World::of_mock(mock.addresses).unwrap();
        let millis = Duration::from_millis;
        let durations =
            Durations { warm_up: millis(1), closed: millis(10), fixed: millis(50), settling: millis(1) };
        for row in &ROWS {
            let site = world.site(Target::Direct, row.setup).unwrap();
            let figures = measure(row, Target::Direct, &site, durations, &AtomicBool::new(false)).unwrap();
            assert!(figures.per_s.iter().all(|per_s| *per_s > 0.0), "{}", row.id);
            assert!(figures.latency_us[0] > 0.0 && figures.cpu_fixed_us.is_none(), "{}", row.id);
        }
    }

    #[test]
    fn idle_sessions_open_and_end() {
        let mock = mock::tests::background();
        let world = World::of_mock(mock.addresses).unwrap();
        let site = world.site(Target::Direct, Setup::Held).unwrap();
        let idle = crate::idle::measure(&site, 10, &AtomicBool::new(false)).unwrap();
        assert_eq!(idle.sessions, 10);
        assert!(world.site(Target::Nginx, Setup::Held).is_none());
    }
}
