//! How the gateway does.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;

use super::activity::Activity;
use super::chart::Chart;
use super::{Shell, page};
use crate::acts::{approvals, blocks, pauses};
use crate::front::Shared;
use crate::problem::Problem;
use crate::roles::{May, Operator, ReadApprovals, ReadBlocks, ReadOverview, ReadPauses, ReadUsage};
use crate::{ServerLine, ServerReach, degraded};

#[derive(Debug, Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    ready: bool,
    state: &'static str,
    servers: usize,
    up: usize,
    blocked: usize,
    paused: usize,
    /// How many calls wait for people, if they may see that.
    waiting: Option<usize>,
    degraded: Vec<Degraded>,
    activity: Option<Activity>,
    chart: Option<Chart>,
}

/// Something that does not work.
#[derive(Debug)]
struct Degraded {
    part: String,
    name: Option<String>,
    reason: String,
    since: Option<String>,
}

impl Degraded {
    fn of(part: &Value) -> Self {
        let text = |name: &str| part[name].as_str().map(str::to_owned);
        Self {
            part: text("part").unwrap_or_default(),
            name: text("name"),
            reason: text("reason").unwrap_or_default(),
            since: text("since"),
        }
    }
}

pub(super) async fn show(may: May<ReadOverview>, State(plane): State<Shared>) -> Response {
    let mut snapshot = plane.snapshot();
    snapshot.servers.retain(|line| may.sees(line.server.holder().tenant()));
    let is_up = |line: &&ServerLine| !matches!(line.reach, ServerReach::Down { .. });
    let (blocked, paused) = stopped(&plane, &may.who).await.unwrap_or_default();
    let waiting = match May::<ReadApprovals>::check(may.who.clone()) {
        Ok(may) => approvals::all(&plane, &may, true).await.ok().map(|found| found.len()),
        Err(_) => None,
    };
    let activity = match May::<ReadUsage>::check(may.who.clone()) {
        Ok(may) => Activity::of(&plane, &may).await.ok(),
        Err(_) => None,
    };
    let chart = activity.as_ref().map(|activity| {
        Chart::of("Requests each minute", ["requests", "did not end well"], &activity.minutes)
    });
    page(&Overview {
        shell: Shell::of(&may.who, "/"),
        ready: snapshot.is_ready(),
        state: snapshot.standing.as_str(),
        servers: snapshot.servers.len(),
        up: snapshot.servers.iter().filter(is_up).count(),
        blocked,
        paused,
        waiting,
        degraded: degraded::of(&snapshot).iter().map(Degraded::of).collect(),
        activity,
        chart,
    })
}

/// How much is blocked and paused, of what they may see.
async fn stopped(plane: &Shared, who: &Operator) -> Result<(usize, usize), Problem> {
    let blocked = match May::<ReadBlocks>::check(who.clone()) {
        Ok(may) => blocks::all(plane, &may).await?.len(),
        Err(_) => 0,
    };
    let paused = match May::<ReadPauses>::check(who.clone()) {
        Ok(may) => pauses::all(plane, &may).await?.len(),
        Err(_) => 0,
    };
    Ok((blocked, paused))
}
