//! What went on in the last hour, from the index of the record: all gateways of the same store together.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tollgate_model::Timestamp;
use tollgate_store::{AuditFound, AuditQuery, AuditRow, FOUND_MAX};

use super::chart::Mark;
use crate::plane::Plane;
use crate::problem::Problem;
use crate::roles::{May, ReadUsage};

const MINUTE_MS: u64 = 60_000;
const MINUTES: u64 = 60;
/// Of how many minutes the rate is.
const RATED: usize = 5;
/// How many of the most active are shown.
const TOP: usize = 8;

/// What went on.
#[derive(Debug, Default)]
pub(super) struct Activity {
    /// Calls that ended, or were refused.
    pub(super) calls: u64,
    /// Those of them that ended in anything but a good result.
    pub(super) failed: u64,
    /// Whether there was more than is counted.
    pub(super) is_cut: bool,
    /// Each minute: when, calls, failed.
    pub(super) minutes: Vec<(Mark, u64, u64)>,
    /// How many calls a minute there were in the last five whole minutes and since.
    pub(super) rate: String,
    /// How many of a hundred calls failed.
    pub(super) failed_percent: String,
    /// How long calls took, in milliseconds: half of them, 95 and 99 of a hundred at most.
    pub(super) latency: Option<[String; 3]>,
    /// The agents that call most.
    pub(super) agents: Vec<Ranked>,
    /// The tools that are called most.
    pub(super) tools: Vec<Ranked>,
}

/// One of the most active.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) name: String,
    pub(super) calls: u64,
    pub(super) failed: u64,
    /// How many of a thousand calls of whoever is first.
    pub(super) share: u64,
}

impl Activity {
    /// Of what whoever asks may see.
    pub(super) async fn of(plane: &Plane, may: &May<ReadUsage>) -> Result<Self, Problem> {
        let Some(store) = plane.store()? else { return Ok(Self::default()) };
        let now = Timestamp::now();
        let since = Timestamp::from_ms((now.as_ms() / MINUTE_MS).saturating_sub(MINUTES - 1) * MINUTE_MS);
        let query = AuditQuery { since: Some(since), most: FOUND_MAX, ..AuditQuery::default() };
        let mut tally = Tally::new(since);
        match may.tenants() {
            None => tally.take(&store.search(&query).await?),
            Some(tenants) => {
                for tenant in tenants {
                    let query = AuditQuery { tenant: Some(tenant.as_str().to_owned()), ..query.clone() };
                    tally.take(&store.search(&query).await?);
                }
            }
        }
        Ok(tally.done())
    }
}

struct Tally {
    since: Timestamp,
    minutes: Vec<(u64, u64)>,
    latencies: Vec<u64>,
    agents: HashMap<Arc<str>, (u64, u64)>,
    tools: HashMap<String, (u64, u64)>,
    is_cut: bool,
}

impl Tally {
    fn new(since: Timestamp) -> Self {
        let minutes = vec![(0, 0); usize::try_from(MINUTES).unwrap_or(60)];
        let (agents, tools) = (HashMap::new(), HashMap::new());
        Self { since, minutes, latencies: Vec::new(), agents, tools, is_cut: false }
    }

    fn take(&mut self, found: &AuditFound) {
        self.is_cut |= found.rows.len() >= FOUND_MAX;
        for row in found.rows.iter().filter(|row| matches!(&*row.kind, "call" | "refusal")) {
            self.one(row, found);
        }
    }

    fn one(&mut self, row: &AuditRow, found: &AuditFound) {
        let failed = u64::from(row.end.is_some() && row.outcome.as_deref() != Some("ok"));
        let at = row.time.since(self.since).as_secs() / 60;
        if let Some(minute) = usize::try_from(at).ok().and_then(|at| self.minutes.get_mut(at)) {
            *minute = (minute.0 + 1, minute.1 + failed);
        }
        if row.total_us > 0 {
            self.latencies.push(row.total_us);
        }
        if let Some(agent) = &row.agent {
            let name = Arc::clone(found.names.get(agent).unwrap_or(agent));
            let sum = self.agents.entry(name).or_default();
            *sum = (sum.0 + 1, sum.1 + failed);
        }
        if let (Some(server), Some(tool)) = (&row.server, &row.native_name) {
            let sum = self.tools.entry(format!("{server}/{tool}")).or_default();
            *sum = (sum.0 + 1, sum.1 + failed);
        }
    }

    fn done(mut self) -> Activity {
        self.latencies.sort_unstable();
        let at = |percent: usize| {
            let last = self.latencies.len().saturating_sub(1);
            let us = self.latencies[(self.latencies.len() * percent / 100).min(last)];
            format!("{}.{}", us / 1000, us % 1000 / 100)
        };
        let latency = (!self.latencies.is_empty()).then(|| [at(50), at(95), at(99)]);
        let minute = |(nth, (calls, failed)): (usize, &(u64, u64))| {
            let time = self.since.after(Duration::from_secs(60 * u64::try_from(nth).unwrap_or(0)));
            (Mark::Moment(time.to_string()), *calls, *failed)
        };
        let calls = self.minutes.iter().map(|(calls, _)| calls).sum();
        let failed = self.minutes.iter().map(|(_, failed)| failed).sum();
        Activity {
            calls,
            failed,
            is_cut: self.is_cut,
            rate: tenths(
                self.minutes.iter().rev().take(RATED).map(|(calls, _)| calls * 10).sum(),
                RATED as u64,
            ),
            failed_percent: tenths(failed * 1000, calls),
            minutes: self.minutes.iter().enumerate().map(minute).collect(),
            latency,
            agents: ranked(self.agents.iter().map(|(name, sum)| (name.to_string(), *sum))),
            tools: ranked(self.tools.iter().map(|(name, sum)| (name.clone(), *sum))),
        }
    }
}

/// A number with one digit behind the point, of one in tenths that is shared.
fn tenths(tenths: u64, among: u64) -> String {
    let tenths = tenths / among.max(1);
    if tenths.is_multiple_of(10) {
        (tenths / 10).to_string()
    } else {
        format!("{}.{}", tenths / 10, tenths % 10)
    }
}

fn ranked(all: impl Iterator<Item = (String, (u64, u64))>) -> Vec<Ranked> {
    let one = |(name, (calls, failed))| Ranked { name, calls, failed, share: 0 };
    let mut all: Vec<_> = all.map(one).collect();
    all.sort_by(|one, other| other.calls.cmp(&one.calls).then_with(|| one.name.cmp(&other.name)));
    all.truncate(TOP);
    let most = all.first().map_or(1, |first| first.calls.max(1));
    for one in &mut all {
        one.share = one.calls * 1000 / most;
    }
    all
}
